//! AdaptationSets: tracks that a player may switch between without a break.

use crate::media::track::Track;
use crate::media::{Kind, Presentation, TrackView};
use crate::package::rate::Rate;
use crate::package::{timeline, url};

use super::element::{Tag, Xml};
use super::{descriptor, timeline as segments};

/// In the order of the presentation's tracks.
pub(super) fn switching_sets<'a>(presentation: &Presentation<'a>) -> Vec<Vec<TrackView<'a>>> {
    let mut sets: Vec<Vec<TrackView<'a>>> = Vec::new();
    for view in &presentation.tracks {
        match sets.iter_mut().find(|set| switchable(set[0].track, view.track)) {
            Some(set) => set.push(*view),
            None => sets.push(vec![*view]),
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

pub(super) fn push(xml: &mut Xml, presentation: &Presentation<'_>, id: usize, set: &[TrackView<'_>], target: u64) {
    let Some(&head) = set.first() else { return };
    let kind = head.track.kind();
    xml.open("AdaptationSet", |tag| push_attributes(tag, id, set));
    if let Some(audio) = head.track.audio() {
        descriptor::push_channels(xml, audio);
        descriptor::push_joint_objects(xml, audio);
    }
    if let Some(video) = head.track.video() {
        descriptor::push_colour(xml, video);
    }
    if let Some(name) = head.track.name.as_ref().filter(|name| all(set, |track| track.name.as_ref() == Some(name))) {
        xml.text("Label", name);
    }
    descriptor::push_accessibility(xml, head.track);
    descriptor::push_role(xml, head.track);
    let shared = kind != Kind::Text && set.iter().all(|view| segments::same(head, *view));
    if shared {
        segments::push(xml, presentation.version, head);
    }
    for view in set {
        push_representation(xml, presentation, *view, shared, target);
    }
    xml.close("AdaptationSet");
}

fn all(set: &[TrackView<'_>], holds: impl Fn(&Track) -> bool) -> bool {
    set.iter().all(|view| holds(view.track))
}

fn push_attributes(tag: &mut Tag<'_>, id: usize, set: &[TrackView<'_>]) {
    let head = set[0];
    let track = head.track;
    tag.integer("id", id);
    let (content, mime) = match track.kind() {
        Kind::Video => ("video", "video/mp4"),
        Kind::Audio => ("audio", "audio/mp4"),
        Kind::Text => ("text", "text/vtt"),
    };
    tag.set("contentType", content).set("mimeType", mime);
    let stated = track.language != "und" && !track.language.is_empty();
    if stated && all(set, |other| other.language == track.language) {
        tag.set("lang", &track.language);
    }
    if track.kind() == Kind::Text {
        return;
    }
    let aligned = set.iter().all(|view| segments::aligned(head, *view));
    tag.set("segmentAlignment", if aligned { "true" } else { "false" });
    // Segments may begin with a CRA picture or a recovery point: stream access point type 3.
    let closed = set.iter().all(|view| timeline::is_independent(*view));
    tag.integer("startWithSAP", if closed { 1 } else { 3 });
    push_video_extent(tag, set);
    if let Some(audio) = track.audio() {
        tag.integer("audioSamplingRate", audio.sample_rate);
    }
}

fn push_video_extent(tag: &mut Tag<'_>, set: &[TrackView<'_>]) {
    let videos = || set.iter().filter_map(|view| view.track.video());
    let rate = |rate: (u32, u32)| f64::from(rate.0) / f64::from(rate.1.max(1));
    let Some(tallest) = videos().max_by_key(|video| video.height) else { return };
    tag.integer("maxWidth", videos().map(|video| video.width).max().unwrap_or(0));
    tag.integer("maxHeight", tallest.height);
    if let Some(fastest) = videos().map(|video| video.frame_rate).max_by(|a, b| rate(*a).total_cmp(&rate(*b))) {
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

fn push_representation(xml: &mut Xml, presentation: &Presentation<'_>, view: TrackView<'_>, shared: bool, target: u64) {
    let track = view.track;
    if track.kind() == Kind::Text {
        let millis = presentation.duration.as_millis().max(1) as u64;
        xml.open("Representation", |tag| {
            tag.set("id", &track.id).integer("bandwidth", (view.size() * 8_000).div_ceil(millis).max(1));
        });
        xml.text("BaseURL", &url::text(presentation.version, &track.id));
        xml.close("Representation");
        return;
    }
    // With minBufferTime of one target duration the peak segment rate is enough: a client that has received so many seconds
    // at that rate has the segment it plays (§5.3.5.2, @bandwidth).
    let bandwidth = Rate::of(presentation, view, target).peak.max(1);
    let attributes = |tag: &mut Tag<'_>| {
        tag.set("id", &track.id).integer("bandwidth", bandwidth).set("codecs", &track.codec);
        if let Some(video) = track.video() {
            if let Some(supplemental) = &video.supplemental_codec {
                tag.set("scte214:supplementalCodecs", supplemental);
            }
            tag.integer("width", video.width).integer("height", video.height);
            tag.set("frameRate", &fraction(video.frame_rate));
            tag.set("sar", &format!("{}:{}", video.pixel_aspect.0.max(1), video.pixel_aspect.1.max(1)));
        }
    };
    if shared {
        xml.empty("Representation", attributes);
    } else {
        xml.open("Representation", attributes);
        segments::push(xml, presentation.version, view);
        xml.close("Representation");
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
        let sets = switching_sets(&presentation);
        assert_eq!(sets.iter().map(Vec::len).collect::<Vec<_>>(), [3]);
        let mpd = crate::package::dash::mpd(&presentation);
        assert!(!mpd.contains("<Label>") && !mpd.contains("lang="), "{mpd}");
    }
}
