//! Media playlists.

use crate::media::presentation::boundary;
use crate::media::{Kind, Presentation, TrackView};
use crate::package::{single, timeline, url};

use super::attributes::Attributes;
use super::{VERSION, VERSION_WITH_GAPS};

/// The media playlist of any track. Its links are relative to `{version}/`.
///
/// Entry n of every rendition covers segment n of the presentation; an entry in which the track has nothing is a gap, so that
/// media sequence numbers and times agree over all renditions (RFC 8216bis §6.2.4).
pub fn media(presentation: &Presentation<'_>, view: &TrackView<'_>) -> String {
    let track = view.track.id.as_str();
    // Text is cut where the reference is; without any other track there is nothing to cut it by.
    let reference = presentation.reference();
    let is_text = view.track.kind() == Kind::Text;
    let target = timeline::target_seconds(timeline::longest(presentation));
    let mut out = opening(*view, target, |map| map.quoted("URI", &url::init(track)));
    for span in timeline::spans(presentation, *view) {
        push_duration(&mut out, &span);
        match reference {
            Some(reference) if is_text => {
                let start = boundary(reference, span.time, view.track.timescale);
                url::push_text_segment(&mut out, track, start);
            }
            _ => url::push_segment(&mut out, track, span.time),
        }
        out.push('\n');
    }
    out.push_str("#EXT-X-ENDLIST\n");
    out
}

/// The same, of byte ranges of the track's one file (RFC 8216bis §4.4.4.2); text is one entry, the whole file. Of a stretch it is
/// in segments: GStreamer 1.22 (hlsdemux2) ends itself over cues that are far outside of their segment.
///
/// `whole` is the track of which `view` may be a stretch: positions are those in the whole file.
pub fn media_single(presentation: &Presentation<'_>, view: &TrackView<'_>, whole: TrackView<'_>) -> String {
    let track = view.track.id.as_str();
    let file = url::file(track);
    if view.track.kind() == Kind::Text && view.cuts.len() < whole.cuts.len() {
        return media(presentation, view);
    }
    if view.track.kind() == Kind::Text {
        let micros = u64::try_from(presentation.duration.as_micros()).unwrap_or(u64::MAX);
        let mut out = opening(*view, timeline::target_seconds(micros), |_| ());
        out.push_str("#EXTINF:");
        push_seconds(&mut out, micros);
        out.push_str(",\n");
        out.push_str(&url::text(track));
        out.push_str("\n#EXT-X-ENDLIST\n");
        return out;
    }
    let target = timeline::target_seconds(timeline::longest(presentation));
    let mut out = opening(*view, target, |map| {
        map.quoted("URI", &file);
        map.quoted("BYTERANGE", &format!("{}@0", view.init_size));
    });
    let mut positions = single::positions(whole);
    for span in timeline::spans(presentation, *view) {
        push_duration(&mut out, &span);
        let found = span.segment.and_then(|segment| positions.find(|(_, other)| other.time == segment.time));
        if let Some((at, segment)) = found {
            out.push_str("#EXT-X-BYTERANGE:");
            out.push_str(itoa::Buffer::new().format(segment.bytes.end - segment.bytes.start));
            out.push('@');
            out.push_str(itoa::Buffer::new().format(at));
            out.push('\n');
        }
        out.push_str(&file);
        out.push('\n');
    }
    out.push_str("#EXT-X-ENDLIST\n");
    out
}

/// Everything before the entries. `map` says where the initialisation segment is.
fn opening(view: TrackView<'_>, target: u64, map: impl FnOnce(&mut Attributes<'_>)) -> String {
    let is_text = view.track.kind() == Kind::Text;
    let mut out = String::with_capacity(256 + view.cuts.len() * (2 * view.track.id.len() + 48));
    out.push_str("#EXTM3U\n#EXT-X-VERSION:");
    out.push_str(if has_gaps(view) { VERSION_WITH_GAPS } else { VERSION });
    out.push_str("\n#EXT-X-TARGETDURATION:");
    out.push_str(itoa::Buffer::new().format(target));
    out.push_str("\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n");
    if is_text || timeline::is_independent(view) {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    if !is_text {
        let mut line = Attributes::new(&mut out, "#EXT-X-MAP");
        map(&mut line);
        line.end();
    }
    out
}

fn push_duration(out: &mut String, span: &timeline::Span) {
    out.push_str("#EXTINF:");
    push_seconds(out, span.micros());
    out.push_str(",\n");
    if span.segment.is_none() {
        out.push_str("#EXT-X-GAP\n");
    }
}

/// Whether a segment that others have before the track's last one is missing.
fn has_gaps(view: TrackView<'_>) -> bool {
    view.segments().enumerate().any(|(at, segment)| segment.number as usize != at)
}

/// Seconds with up to six decimals, without zeros at the end: RFC 8216bis §4.4.4.1 asks for enough accuracy that no
/// perceptible error is made when durations are added up.
pub fn push_seconds(out: &mut String, micros: u64) {
    out.push_str(itoa::Buffer::new().format(micros / 1_000_000));
    let fraction = (micros % 1_000_000) as u32;
    if fraction == 0 {
        return;
    }
    let mut digits = itoa::Buffer::new();
    // The leading 1 keeps the zeros after the point.
    let digits = digits.format(1_000_000 + fraction).trim_end_matches('0');
    out.push('.');
    out.push_str(&digits[1..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_as_short_as_they_can_be() {
        for (micros, want) in [
            (0, "0"),
            (1, "0.000001"),
            (10, "0.00001"),
            (4_000_000, "4"),
            (4_004_000, "4.004"),
            (4_010_667, "4.010667"),
            (10_800_000_500, "10800.0005"),
        ] {
            let mut out = String::new();
            push_seconds(&mut out, micros);
            assert_eq!(out, want);
        }
    }
}
