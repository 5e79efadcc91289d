//! WebVTT segments (RFC 8216bis §3.1.4).

use bytes::Bytes;

use crate::base::{Payload, Piece, Ticks};
use crate::media::webvtt::SIGNATURE;
use crate::media::{Presentation, TrackView};
use crate::package::text;

/// The media timeline starts at 0 in every track, so cue times need no shift.
const HEADER: &[u8] = b"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n";

/// The segment whose name is `time` (in ticks of the text track): every cue that shows at some instant of it, so a cue that
/// crosses a border is in both segments. The last segment also takes what comes after the end of the reference track.
/// `None`: no segment begins there.
pub fn text_segment(presentation: &Presentation<'_>, view: &TrackView<'_>, time: Ticks) -> Option<Payload> {
    text_segment_headed(presentation, view, time, HEADER)
}

/// The same with another header: signature and X-TIMESTAMP-MAP.
pub fn text_segment_headed(
    presentation: &Presentation<'_>,
    view: &TrackView<'_>,
    time: Ticks,
    header: &'static [u8],
) -> Option<Payload> {
    let span = text::span_at(presentation, view, time)?;
    let end = if span.is_last { u64::MAX } else { span.end.0 as u64 };
    let mut payload = Payload::from(Bytes::from_static(header));
    // Styles and regions stand between the signature and the first cue, and every segment needs them.
    if let Some(first) = view.cues.first().map(|cue| u64::from(cue.offset.get())) {
        payload.push(Piece::Extent(view.extent(SIGNATURE.len() as u64..first)));
    }
    for cue in text::showing(view.cues, span.start.0 as u64, end) {
        let offset = u64::from(cue.offset.get());
        payload.push(Piece::Extent(view.extent(offset..offset + u64::from(cue.size.get()))));
    }
    Some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Kind;
    use crate::media::fixture::{Fixture, row};

    /// The words of the cues in every segment of the first text track, by segment name.
    fn words(fixture: &Fixture) -> Vec<(i64, String)> {
        let presentation = fixture.presentation();
        let view = presentation.of_kind(Kind::Text).next().unwrap();
        let mut starts =
            crate::media::presentation::boundaries(presentation.reference().unwrap(), view.track.timescale);
        starts.pop();
        let text = |time| {
            let payload = text_segment(&presentation, &view, time).unwrap();
            let (header, cues) = payload.pieces().split_first().unwrap();
            assert!(matches!(header, Piece::Inline(bytes) if bytes.starts_with(b"WEBVTT\nX-TIMESTAMP-MAP=")));
            let cues = cues.iter().map(|piece| match piece {
                Piece::Extent(extent) => {
                    let file = extent.file.mapped().unwrap();
                    String::from_utf8_lossy(&file[extent.offset as usize..extent.end() as usize]).into_owned()
                }
                Piece::Inline(bytes) => panic!("cues are stored, not {bytes:?}"),
            });
            let cues = cues.collect::<String>();
            let cues = cues.strip_prefix("STYLE\n::cue { color: white }\n\n").unwrap();
            cues.lines().filter(|line| !line.is_empty() && !line.contains("-->")).collect::<Vec<_>>().join(" ")
        };
        starts.into_iter().map(|time| (time.0, text(time))).collect()
    }

    #[test]
    fn cues_are_in_every_segment_they_show_in() {
        let cues: &[(u64, u64, &str)] = &[
            (0, 1_000, "a"),
            (500, 9_000, "long"),
            (3_999, 4_000, "ends-at-border"),
            (4_000, 4_500, "starts-at-border"),
            (7_000, 8_001, "crosses"),
            (8_000, 8_000, "instant"),
            (11_500, 13_000, "past-the-end"),
            (20_000, 21_000, "after"),
        ];
        let video = (0..3).map(|at| row(at, u64::from(at) * 360_000, 360_000, 1_000)).collect();
        let fixture = Fixture::default().with_video("v1", video).with_text("t1", "en", cues).with_cuts(vec![0, 1, 2]);
        let want = [
            (0, "a long ends-at-border"),
            (4_000, "long starts-at-border crosses"),
            (8_000, "long crosses instant past-the-end after"),
        ];
        assert_eq!(words(&fixture), want.map(|(time, text)| (time, text.to_owned())));
    }

    #[test]
    fn only_starts_of_segments_are_names() {
        let fixture = Fixture::film(20);
        let presentation = fixture.presentation();
        let view = presentation.track("t1").unwrap();
        // Key frames are 2.002 s apart, segments 4.004 s.
        for (time, found) in [(0, true), (4_004, true), (16_016, true), (2_002, false), (4_003, false), (20_020, false)]
        {
            assert_eq!(text_segment(&presentation, &view, Ticks(time)).is_some(), found, "{time}");
        }
        assert!(text_segment(&presentation, &view, Ticks(-1)).is_none());
    }

    /// Video that begins 0.7 s after the sound: text before it is in the first segment, which begins at 0.
    #[test]
    fn a_late_reference_loses_no_cue() {
        let video = (0..2).map(|at| row(at, 63_000 + u64::from(at) * 360_000, 360_000, 1_000)).collect();
        let fixture = Fixture::default().with_video("v1", video).with_text(
            "t1",
            "en",
            &[(0, 500, "early"), (4_700, 5_000, "next")],
        );
        let want = [(0, "early".to_owned()), (4_700, "next".to_owned())];
        assert_eq!(words(&fixture.with_cuts(vec![0, 1])), want);
    }
}
