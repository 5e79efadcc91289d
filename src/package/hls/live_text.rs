//! WebVTT segments and parts of a channel, made of the samples that are stored: HLS has no WebVTT in fragments (RFC 8216bis
//! §3.1.4). Parts, because a player that is less than a segment behind would show what it has of whole ones too late; and
//! Shaka Player 5.2, in low-latency mode, shows none of those after a discontinuity.

use crate::base::cursor::Cursor;
use crate::base::{Ticks, Timescale};
use crate::media::isobmff::{Chunk, stored};
use crate::media::webvtt::SIGNATURE;
use crate::media::{Kind, Track};
use crate::package::text;

/// Whether a track of a channel is listed as segments of WebVTT, and not as it is stored.
pub fn is_webvtt(track: &Track) -> bool {
    track.kind() == Kind::Text && track.codec == "wvtt"
}

/// The clock of MPEG-2, on which X-TIMESTAMP-MAP says where cues belong: 33 bits of it.
const CLOCK_TURN: i128 = 1 << 33;

/// A segment or part: cues count from its start. `header` is its initialisation segment and `media` its chunks, as they were
/// written; a cue that says nothing a player could show is left out. `None`: they are damaged.
pub fn live_text_segment(header: &[u8], media: &[u8], timescale: Timescale) -> Option<String> {
    let entry = stored::sample_entry(header).ok()?;
    text_from(Chunk::read(media, 0).ok()?.time, configuration(entry), media, timescale)
}

/// Where nothing was sent.
pub fn live_text_gap(time: Ticks, timescale: Timescale) -> String {
    text_from(time, None, &[], timescale).unwrap_or_default()
}

fn text_from(time: Ticks, configuration: Option<&str>, media: &[u8], timescale: Timescale) -> Option<String> {
    let clock = i128::from(time.0) * 90_000 / i128::from(timescale.per_second());
    let mut out = format!("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{},LOCAL:00:00:00.000\n\n", clock.rem_euclid(CLOCK_TURN));
    if let Some(configuration) = configuration {
        out.push_str(configuration);
        out.push_str("\n\n");
    }
    let words = text::of_chunks(media, time, timescale)?.text;
    let words = String::from_utf8_lossy(&words);
    out.push_str(words.strip_prefix(SIGNATURE).unwrap_or(&words));
    Some(out)
}

/// Styles and regions of the decoder's configuration (ISO/IEC 14496-30 §6.4).
fn configuration(entry: &[u8]) -> Option<&str> {
    let mut entry = Cursor::new(entry, 0);
    entry.skip(16).ok()?;
    while !entry.is_empty() {
        let (size, kind) = (entry.u32().ok()?, entry.u32().ok()?);
        let mut body = entry.section((size as usize).checked_sub(8)?).ok()?;
        if kind == u32::from_be_bytes(*b"vttC") {
            let text = std::str::from_utf8(body.rest()).ok()?;
            // Its first lines are the signature and what stands beside it, up to an empty one.
            let (_, styles) = text.split_once("\n\n")?;
            return (!styles.contains("-->")).then_some(styles.trim_matches('\n')).filter(|styles| !styles.is_empty());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Piece;
    use crate::media::fixture::{Fixture, row};
    use crate::package::{text, wvtt};

    fn bytes(payload: Option<crate::base::Payload>) -> Vec<u8> {
        match payload.unwrap().pieces() {
            [Piece::Inline(bytes)] => bytes.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn samples_become_cues_that_count_from_the_segment() {
        let video = (0..3).map(|at| row(at, u64::from(at) * 360_000, 360_000, 1_000)).collect();
        let cues = [(500, 5_000, "over the border"), (4_500, 6_000, "<i>b</i>"), (9_000, 9_500, "c")];
        let fixture = Fixture::default().with_video("v1", video).with_text("t1", "en", &cues).with_cuts(vec![0, 1, 2]);
        let presentation = fixture.presentation();
        let view = presentation.track("t1").unwrap();
        let header = bytes(wvtt::init(&view));
        let spans: Vec<text::Span> = text::spans(&presentation, &view).collect();
        let head = |clock: u64| format!("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{clock},LOCAL:00:00:00.000\n\n");
        let styles = "STYLE\n::cue { color: white }\n\n";
        for (span, clock, want) in [
            (spans[0], 0, "00:00:00.500 --> 00:00:04.000\nover the border\n\n"),
            (
                spans[1],
                360_000,
                "00:00:00.000 --> 00:00:01.000\nover the border\n\n00:00:00.500 --> 00:00:02.000\n<i>b</i>\n\n",
            ),
            (spans[2], 720_000, "00:00:01.000 --> 00:00:01.500\nc\n\n"),
        ] {
            let media = bytes(wvtt::segment(&view, &span));
            let got = live_text_segment(&header, &media, Timescale::MILLIS);
            assert_eq!(got, Some(format!("{}{styles}{want}", head(clock))));
            // What is cut, or reads as zeros from some byte on.
            for cut in 0..media.len() {
                let zeros = [&media[..cut], &vec![0; media.len() - cut]].concat();
                let text = |media: &[u8]| live_text_segment(&header, media, Timescale::MILLIS);
                assert_eq!(text(&media[..cut]), None, "{cut}");
                let _ = text(&zeros);
            }
            assert_eq!(live_text_segment(&header, &vec![0; media.len()], Timescale::MILLIS), None);
            assert_eq!(live_text_segment(&vec![0; header.len()], &media, Timescale::MILLIS), None);
        }
        // 33 bits of the clock, in 2026.
        let late = live_text_gap(Ticks(1_777_665_600_000), Timescale::MILLIS);
        assert_eq!(late, head(1_777_665_600 * 90_000 % (1 << 33)));
    }
}
