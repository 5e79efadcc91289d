//! Renditions and the groups they form (RFC 8216bis §4.4.6.1).

use crate::media::Kind;
use crate::media::captions::Caption;
use crate::media::track::{Role, Track};
use crate::package::name;
use crate::package::offer::{self, Offer};
use crate::package::rate::Rate;

use super::attributes::Attributes;

/// From a track's identifier to the link to its media playlist.
pub(super) type Link<'l> = &'l dyn Fn(&str) -> String;

/// One line of a menu: tracks that say the same in different encodings.
struct Choice<'a> {
    name: String,
    encodings: Vec<Offer<'a>>,
}

/// One group of audio renditions. Every group has the same members under the same names (§4.4.6.1.1), each in the encoding
/// that the group is about or, where the asset has none in that, in its first one.
pub(super) struct AudioGroup<'a> {
    pub id: String,
    pub members: Vec<(String, Offer<'a>)>,
}

impl<'a> AudioGroup<'a> {
    /// What a variant needs for audio, whichever member plays.
    pub fn rate(&self) -> Rate {
        self.members.iter().map(|(_, offer)| offer.rate).fold(Rate::default(), Rate::max)
    }

    /// Each codec once.
    pub fn codecs(&self) -> Vec<&'a str> {
        let mut codecs: Vec<&str> = Vec::new();
        for (_, offer) in &self.members {
            if !codecs.contains(&offer.track.codec.as_str()) {
                codecs.push(&offer.track.codec);
            }
        }
        codecs
    }

    /// What any player with audio can decode comes first.
    pub fn is_aac(&self) -> bool {
        self.codecs().iter().all(|codec| codec.starts_with("mp4a.40"))
    }
}

/// One group per audio codec; a second one of the same codec where a language has several encodings in it (stereo and 5.1,
/// two bit rates).
pub(super) fn audio_groups<'a>(offers: &[Offer<'a>]) -> Vec<AudioGroup<'a>> {
    let choices = choices(offers, Kind::Audio);
    // How many encodings of this codec come before this one in its choice.
    let rank = |choice: &Choice<'a>, at: usize| {
        let codec = &choice.encodings[at].track.codec;
        choice.encodings[..at].iter().filter(|offer| offer.track.codec == *codec).count()
    };
    let mut keys: Vec<(&str, usize)> = Vec::new();
    for choice in &choices {
        for (at, offer) in choice.encodings.iter().enumerate() {
            let key = (offer.track.codec.as_str(), rank(choice, at));
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    let mut ids: Vec<String> = Vec::new();
    let mut groups: Vec<AudioGroup<'a>> = keys
        .iter()
        .map(|&(codec, nth)| {
            // Unique before it is spelt without spaces.
            let id = name::unique(family(codec).to_owned(), &ids);
            ids.push(id.clone());
            let id = id.replace(' ', "-");
            let member = |choice: &Choice<'a>| {
                let same = |at: &usize| choice.encodings[*at].track.codec == codec && rank(choice, *at) == nth;
                let at = (0..choice.encodings.len()).find(same).unwrap_or(0);
                (choice.name.clone(), choice.encodings[at])
            };
            AudioGroup { id, members: choices.iter().map(member).collect() }
        })
        .collect();
    groups.sort_by_key(|group| !group.is_aac());
    groups
}

pub(super) fn push_audio(out: &mut String, group: &AudioGroup<'_>, link: Link<'_>) {
    let default = group.members.iter().position(|(_, offer)| offer.track.role == Role::Main).unwrap_or(0);
    let mut selectable = Vec::new();
    for (at, (name, offer)) in group.members.iter().enumerate() {
        let mut line = Attributes::new(out, "#EXT-X-MEDIA");
        line.plain("TYPE", "AUDIO");
        line.quoted("GROUP-ID", &group.id);
        push_choice(&mut line, name, offer.track, at == default, &mut selectable);
        if let Some(audio) = offer.track.audio() {
            match audio.joint_objects {
                Some(objects) => line.quoted("CHANNELS", &format!("{objects}/JOC")),
                None => line.quoted("CHANNELS", itoa::Buffer::new().format(audio.channels)),
            }
        }
        line.quoted("URI", &link(&offer.track.id));
        line.end();
    }
}

/// Returns whether there are any. None is DEFAULT: subtitles are what a viewer, or the system's settings, ask for.
pub(super) fn push_subtitles(out: &mut String, offers: &[Offer<'_>], group: &str, link: Link<'_>) -> bool {
    let mut names = Vec::new();
    let mut selectable = Vec::new();
    for Offer { track, .. } in offer::of_kind(offers, Kind::Text) {
        let name = name::unique(name::display(track), &names);
        let mut line = Attributes::new(out, "#EXT-X-MEDIA");
        line.plain("TYPE", "SUBTITLES");
        line.quoted("GROUP-ID", group);
        push_choice(&mut line, &name, track, false, &mut selectable);
        if track.role == Role::Forced {
            line.plain("FORCED", "YES");
        }
        line.quoted("URI", &link(&track.id));
        line.end();
        names.push(name);
    }
    !names.is_empty()
}

/// Captions in the pictures, which have no playlist of their own.
pub(super) fn push_captions(out: &mut String, captions: &[Caption], group: &str) {
    let mut names = Vec::new();
    let mut languages: Vec<&str> = Vec::new();
    for Caption { channel, language } in captions {
        // Nothing but the channel is known of some.
        let is_known = language != "und";
        let name = if is_known { name::of_language(language).to_owned() } else { channel.to_string() };
        let name = name::unique(name, &names);
        let mut line = Attributes::new(out, "#EXT-X-MEDIA");
        line.plain("TYPE", "CLOSED-CAPTIONS");
        line.quoted("GROUP-ID", group);
        line.quoted("NAME", &name);
        if is_known {
            line.quoted("LANGUAGE", language);
        }
        line.plain("DEFAULT", "NO");
        // One of a language (§4.4.6.1.1).
        line.plain("AUTOSELECT", if languages.contains(&language.as_str()) { "NO" } else { "YES" });
        line.quoted("INSTREAM-ID", &channel.to_string());
        line.end();
        names.push(name);
        languages.push(language);
    }
}

/// `selectable` holds what the AUTOSELECT=YES members of the group so far are chosen by: one combination of language and
/// characteristics may be chosen automatically only once (§4.4.6.1.1). Commentary never is.
fn push_choice<'t>(
    line: &mut Attributes<'_>,
    name: &str,
    track: &'t Track,
    default: bool,
    selectable: &mut Vec<(&'t str, Option<&'static str>, bool)>,
) {
    let characteristics = match track.role {
        Role::Description => Some("public.accessibility.describes-video"),
        Role::Caption => {
            Some("public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound")
        }
        _ => None,
    };
    let key = (track.language.as_str(), characteristics, track.role == Role::Forced);
    let auto = default || (track.role != Role::Commentary && !selectable.contains(&key));
    if auto {
        selectable.push(key);
    }
    line.quoted("NAME", name);
    if track.language != "und" && !track.language.is_empty() {
        line.quoted("LANGUAGE", &track.language);
    }
    line.plain("DEFAULT", if default { "YES" } else { "NO" });
    line.plain("AUTOSELECT", if auto { "YES" } else { "NO" });
    if let Some(characteristics) = characteristics {
        line.quoted("CHARACTERISTICS", characteristics);
    }
}

/// Tracks of one language, role and name are encodings of one choice; the same sound once more is not. A ladder over several
/// connections brings its sound with every one of them.
fn choices<'a>(offers: &[Offer<'a>], kind: Kind) -> Vec<Choice<'a>> {
    let mut choices: Vec<Choice<'a>> = Vec::new();
    let mut names = Vec::new();
    for offer in offer::of_kind(offers, kind) {
        let track = offer.track;
        let same =
            |other: &Track| (&other.language, other.role, &other.name) == (&track.language, track.role, &track.name);
        match choices.iter_mut().find(|choice| same(choice.encodings[0].track)) {
            Some(choice) if choice.encodings.iter().any(|other| is_same_sound(other, &offer)) => {}
            Some(choice) => choice.encodings.push(offer),
            None => {
                let name = name::unique(name::display(track), &names);
                names.push(name.clone());
                choices.push(Choice { name, encodings: vec![offer] });
            }
        }
    }
    choices
}

/// By format and average rate. What is stated is compared as it is stated; what was measured, after a while and once. Before
/// that nobody knows: then a ladder has its sound once, so that nothing that was offered is taken back.
fn is_same_sound(a: &Offer<'_>, b: &Offer<'_>) -> bool {
    let (Some(one), Some(other)) = (a.track.audio(), b.track.audio()) else { return false };
    let (low, high) = (a.rate.average.min(b.rate.average), a.rate.average.max(b.rate.average));
    let is_settled = a.is_settled && b.is_settled;
    a.track.codec == b.track.codec && one == other && (!is_settled || high - low <= high / SAME_RATE)
}

/// What was measured differs by how much of the stream it was measured in: two encodings of one rate by less than this part
/// of it, and those of a ladder by more.
const SAME_RATE: u64 = 8;

/// What people call the codec: the group's identifier.
fn family(codec: &str) -> &'static str {
    let starts = |prefix: &str| codec.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    match codec {
        "mp4a.40.34" | "mp4a.69" | "mp4a.6B" | "mp3" => "mp3",
        _ if starts("mp4a.40") => "aac",
        _ if starts("ac-3") => "ac3",
        _ if starts("ec-3") => "eac3",
        _ if starts("opus") => "opus",
        _ if starts("flac") => "flac",
        _ => "audio",
    }
}
