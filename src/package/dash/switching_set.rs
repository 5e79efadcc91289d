//! AdaptationSets: tracks that a player may switch between without a break.

use crate::media::track::Track;
use crate::media::{Kind, Presentation, TrackView};
use crate::package::offer::{self, Offer};
use crate::package::{Addressing, timeline, url, wvtt};

use super::{descriptor, timeline as segments};
use crate::package::xml::{Tag, Xml};

/// What is true of all segments of an AdaptationSet.
#[derive(Clone, Copy)]
pub(super) struct Borders {
    /// Whether segments are those of the MPD, or subsegments of one file.
    pub addressing: Addressing,
    /// Segments of one number never overlap (`segmentAlignment`).
    pub aligned: bool,
    /// Decoding can begin at each of them, with nothing from the one before.
    pub closed: bool,
}

/// In the order of the tracks, as indexes into `offers`.
pub(super) fn switching_sets(offers: &[Offer<'_>]) -> Vec<Vec<usize>> {
    let mut sets: Vec<Vec<usize>> = Vec::new();
    for (at, offer) in offers.iter().enumerate() {
        match sets.iter_mut().find(|set| switchable(offers[set[0]].track, offer.track)) {
            Some(set) => set.push(at),
            None => sets.push(vec![at]),
        }
    }
    sets
}

/// Same content, and one decoder can play on without being set up anew: video of one codec, range and depth; audio of one
/// codec string, language, role, name, rate and layout. Text is never switched.
///
/// Renditions of the video were given as one ladder, whatever language and name ("1080p") their files state.
fn switchable(a: &Track, b: &Track) -> bool {
    let said = |track: &Track| (track.language.clone(), track.role, track.name.clone());
    match (a.video(), b.video(), a.audio(), b.audio()) {
        (Some(video), Some(other), _, _) => {
            (video.range, video.bit_depth, video.colour) == (other.range, other.bit_depth, other.colour)
                && video.supplemental_codec.is_some() == other.supplemental_codec.is_some()
                && sample_entry(a) == sample_entry(b)
                && a.role == b.role
        }
        (_, _, Some(audio), Some(other)) => audio == other && a.codec == b.codec && said(a) == said(b),
        _ => false,
    }
}

fn sample_entry(track: &Track) -> &str {
    track.codec.split('.').next().unwrap_or_default()
}

/// The AdaptationSet of some tracks of an asset, or of a stretch of it: `whole` is all of it.
pub(super) fn push(
    xml: &mut Xml,
    presentation: &Presentation<'_>,
    whole: &Presentation<'_>,
    addressing: Addressing,
    id: usize,
    offers: &[Offer<'_>],
    set: &[usize],
) {
    let views: Vec<TrackView<'_>> = set.iter().map(|&at| presentation.tracks[at]).collect();
    let Some(&head) = views.first() else { return };
    let is_text = head.track.kind() == Kind::Text;
    // There is no file of fragments of text: as one file it is WebVTT.
    let is_text_file = is_text && addressing == Addressing::SingleFile;
    let borders = Borders {
        addressing,
        aligned: views.iter().all(|view| segments::aligned(head, *view)),
        closed: views.iter().all(|view| timeline::is_independent(*view)),
    };
    let tracks: Vec<&Track> = views.iter().map(|view| view.track).collect();
    // A whole subtitle file has no segments that could be aligned.
    let mime = if is_text_file { "text/vtt" } else { mime(head.track) };
    open(xml, id, &tracks, mime, (!is_text_file).then_some(borders), |xml| {
        let of_set: Vec<Offer<'_>> = set.iter().map(|&at| offers[at]).collect();
        descriptor::push_captions(xml, &offer::captions(&of_set));
    });
    let shared = addressing == Addressing::Segments && views.iter().all(|view| segments::same(head, *view));
    if shared && is_text {
        segments::push_text(xml, presentation, whole, head);
    } else if shared {
        segments::push(xml, presentation.version, head);
    }
    for (view, &at) in views.iter().zip(set) {
        let (version, id) = (presentation.version, &view.track.id);
        if is_text_file {
            // A file of WebVTT is its media type, and has no codec.
            let content = |xml: &mut Xml| {
                xml.text("BaseURL", &url::from_single(&url::versioned(version, &url::text(id))));
                segments::push_text_base(xml, *view);
            };
            push_representation(xml, offers[at], None, Some(&content));
        } else if shared {
            let mut offer = offers[at];
            if is_text {
                offer.rate.peak = wvtt::bit_rate(whole, view);
            }
            push_representation(xml, offer, Some(&view.track.codec), None);
        } else {
            let content = |xml: &mut Xml| match addressing {
                Addressing::Segments => segments::push(xml, version, *view),
                Addressing::SingleFile => {
                    segments::push_base(xml, version, *view, whole.track(id).unwrap_or(*view));
                }
            };
            push_representation(xml, offers[at], Some(&view.track.codec), Some(&content));
        }
    }
    xml.close("AdaptationSet");
}

/// Of ISO files.
pub(super) fn mime(track: &Track) -> &'static str {
    match track.kind() {
        Kind::Video => "video/mp4",
        Kind::Audio => "audio/mp4",
        Kind::Text => "application/mp4",
    }
}

/// Opens the AdaptationSet and describes what its tracks have in common. `more` adds what stands between `Label` and
/// `Accessibility` (§5.3.7.2 fixes the order).
pub(super) fn open(
    xml: &mut Xml,
    id: usize,
    tracks: &[&Track],
    mime: &str,
    borders: Option<Borders>,
    more: impl FnOnce(&mut Xml),
) {
    let head = tracks[0];
    xml.open("AdaptationSet", |tag| push_attributes(tag, id, tracks, mime, borders));
    if let Some(audio) = head.audio() {
        descriptor::push_channels(xml, audio);
        descriptor::push_joint_objects(xml, audio);
    }
    if let Some(video) = head.video() {
        descriptor::push_colour(xml, video);
    }
    if let Some(name) = head.name.as_ref().filter(|name| all(tracks, |track| track.name.as_ref() == Some(name))) {
        xml.text("Label", name);
    }
    more(xml);
    descriptor::push_accessibility(xml, head);
    descriptor::push_role(xml, head);
}

fn all(tracks: &[&Track], holds: impl Fn(&Track) -> bool) -> bool {
    tracks.iter().all(|track| holds(track))
}

fn push_attributes(tag: &mut Tag<'_>, id: usize, tracks: &[&Track], mime: &str, borders: Option<Borders>) {
    let track = tracks[0];
    tag.integer("id", id);
    let content = match track.kind() {
        Kind::Video => "video",
        Kind::Audio => "audio",
        Kind::Text => "text",
    };
    tag.set("contentType", content).set("mimeType", mime);
    let stated = track.language != "und" && !track.language.is_empty();
    if stated && all(tracks, |other| other.language == track.language) {
        tag.set("lang", &track.language);
    }
    let Some(borders) = borders else { return };
    let (alignment, access) = match borders.addressing {
        Addressing::Segments => ("segmentAlignment", "startWithSAP"),
        Addressing::SingleFile => ("subsegmentAlignment", "subsegmentStartsWithSAP"),
    };
    tag.set(alignment, if borders.aligned { "true" } else { "false" });
    // Segments may begin with a CRA picture or a recovery point: stream access point type 3.
    tag.integer(access, if borders.closed { 1 } else { 3 });
    push_video_extent(tag, tracks);
    if let Some(audio) = track.audio() {
        tag.integer("audioSamplingRate", audio.sample_rate);
    }
}

fn push_video_extent(tag: &mut Tag<'_>, tracks: &[&Track]) {
    let videos = || tracks.iter().filter_map(|track| track.video());
    let rate = |rate: (u32, u32)| f64::from(rate.0) / f64::from(rate.1.max(1));
    let Some(tallest) = videos().max_by_key(|video| video.height) else { return };
    tag.integer("maxWidth", videos().map(|video| video.width).max().unwrap_or(0));
    tag.integer("maxHeight", tallest.height);
    let known = videos().map(|video| video.frame_rate).filter(|(frames, _)| *frames > 0);
    if let Some(fastest) = known.max_by(|a, b| rate(*a).total_cmp(&rate(*b))) {
        tag.set("maxFrameRate", &fraction(fastest));
    }
    // Scaling to whole pixels bends the ratio a little (854×480): one ratio is stated if all are within 1%.
    let ratio = |video: &crate::media::track::Video| {
        let (x, y) = video.pixel_aspect;
        (u64::from(video.width) * u64::from(x.max(1)), u64::from(video.height) * u64::from(y.max(1)))
    };
    let (width, height) = ratio(tallest);
    let near = |(w, h): (u64, u64)| {
        let (a, b) = (u128::from(w) * u128::from(height), u128::from(width) * u128::from(h));
        a.abs_diff(b) * 100 <= a.max(b)
    };
    if height > 0 && videos().map(ratio).all(near) {
        let divisor = common_divisor(width, height).max(1);
        tag.set("par", &format!("{}:{}", width / divisor, height / divisor));
    }
}

/// `content` writes what stands inside, if anything does.
pub(super) fn push_representation(
    xml: &mut Xml,
    offer: Offer<'_>,
    codec: Option<&str>,
    content: Option<&dyn Fn(&mut Xml)>,
) {
    push_named(xml, &offer.track.id, offer, codec, content);
}

/// The same under another id than the track's.
pub(super) fn push_named(
    xml: &mut Xml,
    id: &str,
    offer: Offer<'_>,
    codec: Option<&str>,
    content: Option<&dyn Fn(&mut Xml)>,
) {
    let track = offer.track;
    // With minBufferTime of one target duration the peak segment rate is enough: a client that has received so many seconds
    // at that rate has the segment it plays (§5.3.5.2, @bandwidth).
    let bandwidth = offer.rate.peak.max(1);
    let attributes = |tag: &mut Tag<'_>| {
        tag.set("id", id).integer("bandwidth", bandwidth);
        if let Some(codec) = codec {
            tag.set("codecs", codec);
        }
        if let Some(video) = track.video() {
            if let Some(supplemental) = &video.supplemental_codec {
                tag.set("scte214:supplementalCodecs", supplemental);
            }
            tag.integer("width", video.width).integer("height", video.height);
            // Of a live track whose frames come unevenly it is not known.
            if video.frame_rate.0 > 0 {
                tag.set("frameRate", &fraction(video.frame_rate));
            }
            tag.set("sar", &format!("{}:{}", video.pixel_aspect.0.max(1), video.pixel_aspect.1.max(1)));
        }
    };
    match content {
        None => xml.empty("Representation", attributes),
        Some(content) => {
            xml.open("Representation", attributes);
            content(xml);
            xml.close("Representation");
        }
    }
}

/// `25` or `30000/1001` (FrameRateType, §5.3.7.2).
fn fraction((frames, seconds): (u32, u32)) -> String {
    if seconds <= 1 { frames.to_string() } else { format!("{frames}/{seconds}") }
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::fixture::{Fixture, row, video};

    #[test]
    fn a_ladder_is_one_set_whatever_its_files_are_called() {
        let mut fixture = Fixture::default();
        for (id, height, name, language) in
            [("v1", 1080, Some("1080p"), "en"), ("v2", 720, Some("720p"), "und"), ("v3", 360, None, "en")]
        {
            let mut track = video(id, "avc1.64001f", height * 16 / 9, height);
            (track.name, track.language) = (name.map(str::to_owned), language.to_owned());
            fixture = fixture.with_track(track, vec![row(0, 0, 90_000, 1_000)]);
        }
        let presentation = fixture.presentation();
        let sets = switching_sets(&crate::package::offer::of_presentation(&presentation, 1));
        assert_eq!(sets.iter().map(Vec::len).collect::<Vec<_>>(), [3]);
        let mpd = crate::package::dash::mpd(&presentation, &Default::default());
        assert!(!mpd.contains("<Label>") && !mpd.contains("lang="), "{mpd}");
    }
}
