//! Playlists of channels that list whole segments, or what is in them: no parts, no blocking reload, no delta updates.

use crate::media::broadcast::{Broadcast, State};
use crate::package::date;
use crate::package::live_timeline::{self, Entry};
use crate::package::live_url::{self, Stretch};

use super::live::{DATES_EVERY, push_number, push_type};
use super::marks::{self, Cues};
use super::media::push_seconds;
use super::{VERSION, VERSION_WITH_GAPS};

/// Which of a rendition's playlists: as [`super::Live`], of which there is less to choose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whole {
    pub stretch: Stretch,
    pub is_whole: bool,
    pub cues: bool,
}

/// What is in the segments.
#[derive(Clone, Copy)]
pub(in crate::package) enum Content<'a> {
    Media,
    /// A picture each (RFC 8216bis §4.4.3.6): of a track's initialisation segments, unless each has its own.
    KeyFrames {
        maps_of: Option<&'a str>,
    },
}

/// A number of a playlist.
pub(in crate::package) struct Listed<'a> {
    pub entry: Entry<'a>,
    /// Up to it, of all that is in it.
    pub discontinuities: u32,
    pub is_gap: bool,
}

/// `push_link` takes the number. The first of `listed` is [`Broadcast::first`]; `init` is the name of the initialisation
/// segment that holds there.
pub(in crate::package) fn whole_playlist<'a>(
    broadcast: &Broadcast<'_>,
    which: &Whole,
    content: Content<'_>,
    mut init: Option<&'a str>,
    listed: impl Iterator<Item = Listed<'a>>,
    push_link: impl Fn(&mut String, u64),
) -> String {
    let (first, ended) = (broadcast.first, broadcast.state == State::Ended);
    let is_media = matches!(content, Content::Media);
    let cues = (which.cues && is_media).then(|| Cues::of(broadcast.marks));
    let mut body = String::with_capacity(1_024);
    let push_map = |body: &mut String, init: &str| {
        if let Content::KeyFrames { maps_of: Some(track) } = content {
            body.push_str("#EXT-X-MAP:URI=\"");
            live_url::push_init(body, track, init);
            body.push_str("\"\n");
        }
    };
    if let Some(init) = init {
        push_map(&mut body, init);
    }
    let (mut has_gaps, mut is_independent) = (false, true);
    let (mut sequence, mut discontinuities) = (None, 0);
    for Listed { entry, discontinuities: count, is_gap } in listed {
        let Entry { number, start, end, follows, segment, .. } = entry;
        if sequence.is_none() {
            sequence = Some(count);
            discontinuities = count;
        }
        let broken = count > discontinuities;
        while discontinuities < count {
            body.push_str("#EXT-X-DISCONTINUITY\n");
            discontinuities += 1;
        }
        is_independent &= segment.is_none_or(|segment| segment.is_independent);
        if let Some(segment) = segment.filter(|segment| !is_gap && init != Some(segment.init)) {
            push_map(&mut body, segment.init);
            init = Some(segment.init);
        }
        if broken || !follows || (which.stretch.is_live() && number.is_multiple_of(DATES_EVERY)) {
            let live = which.stretch.is_live();
            let shown = if live { start } else { live_timeline::together(broadcast, number, start) };
            body.push_str("#EXT-X-PROGRAM-DATE-TIME:");
            body.push_str(&date::iso(shown));
            body.push('\n');
        }
        if let Some(cues) = &cues {
            cues.push(&mut body, start, end);
        }
        if is_gap {
            body.push_str("#EXT-X-GAP\n");
            has_gaps = true;
        }
        body.push_str("#EXTINF:");
        push_seconds(&mut body, end - start);
        body.push_str(",\n");
        push_link(&mut body, number);
        body.push('\n');
    }

    let mut out = String::with_capacity(body.len() + 512);
    out.push_str("#EXTM3U\n#EXT-X-VERSION:");
    out.push_str(if has_gaps { VERSION_WITH_GAPS } else { VERSION });
    // The same as in all the others, of key frames too: they may differ only once all is there (§6.2.4).
    push_number(&mut out, "\n#EXT-X-TARGETDURATION:", u64::from(broadcast.grid.target));
    out.push('\n');
    push_type(&mut out, which.stretch, which.is_whole, ended);
    let sequence = sequence.unwrap_or_else(|| live_timeline::discontinuities(broadcast, first));
    push_number(&mut out, "#EXT-X-MEDIA-SEQUENCE:", first);
    push_number(&mut out, "\n#EXT-X-DISCONTINUITY-SEQUENCE:", u64::from(sequence));
    out.push('\n');
    match content {
        Content::Media => {
            if is_independent {
                out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
            }
            marks::push_date_ranges(&mut out, broadcast);
        }
        Content::KeyFrames { .. } => out.push_str("#EXT-X-I-FRAMES-ONLY\n"),
    }
    out.push_str(&body);
    if ended {
        out.push_str("#EXT-X-ENDLIST\n");
    }
    out
}
