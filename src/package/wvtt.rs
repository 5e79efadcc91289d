//! WebVTT in fragments (ISO/IEC 14496-30 §6, in CMAF ISO/IEC 23000-19 §11.2): made of the stored file, on the presentation's
//! segments. Samples follow each other without a hole, each with all that is shown during it; a cue that is shown during
//! several is in all of them, and says that it is the same one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bytes::Bytes;

use crate::base::limits::{CUES_AT_ONCE_MAX, SEGMENT_TEXT_BYTES_MAX};
use crate::base::{Extent, Payload};
use crate::media::isobmff::write::{self, Header, boxed, fragment_header};
use crate::media::webvtt;
use crate::media::{Kind, Presentation, Sample, TrackView};

use super::text::{self, Span, Words};

/// `sample_flags` of ISO/IEC 14496-12 §8.8.3.1: every sample stands by itself.
const FLAGS_SYNC: u32 = 0x0200_0000;

/// What has to be in memory to write the initialisation segment: what stands before the first cue.
pub fn header_source(view: &TrackView<'_>) -> Extent {
    view.extent(0..header_len(view))
}

fn header_len(view: &TrackView<'_>) -> u64 {
    view.cues.first().map_or_else(|| view.size(), |cue| u64::from(cue.offset.get()))
}

/// The initialisation segment: the header of the file, with its styles and regions, is the decoder's configuration (§6.4).
pub fn init(view: &TrackView<'_>) -> Option<Payload> {
    let file = view.files.first()?.mapped()?;
    let configuration = std::str::from_utf8(file.get(..header_len(view) as usize)?).ok()?.trim_end_matches('\n');
    let mut entry = Vec::with_capacity(32 + configuration.len());
    boxed(&mut entry, b"wvtt", |out| {
        out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]); // data reference
        boxed(out, b"vttC", |out| out.extend_from_slice(configuration.as_bytes()));
    });
    let track = view.track;
    let header = Header::new(Kind::Text, track.timescale, &entry, &track.language);
    let header = write::header(&Header { name: track.name.as_deref(), ..header });
    Some(Payload::from(Bytes::from(header)))
}

/// The segment. `None` if it cannot be said in 32 bits.
pub fn segment(view: &TrackView<'_>, span: &Span) -> Option<Payload> {
    let (samples, data) = samples(&text::words(view, span), span.start.0 as u64, span.end.0 as u64);
    let mut out = Vec::with_capacity(128 + samples.len() * 16 + data.len());
    fragment_header(span.number.wrapping_add(1), span.start.0 as u64, &samples, &mut out).ok()?;
    out.extend_from_slice(&data);
    Some(Payload::from(Bytes::from(out)))
}

/// Of the headers of a fragment; of a sample, with the box that says that nothing is shown; and of the boxes of a cue, all
/// that there can be, less the line of its times: in bytes.
const FRAGMENT_BYTES: u64 = 128;
const SAMPLE_BYTES: u64 = 16 + 8;
const CUE_BYTES: u64 = 30;

/// What loading each segment in its time needs, in bits per second: never less, and at most 50 bytes more for each cue of a
/// sample, as it is not read which boxes it has. Looks at each cue once.
pub fn bit_rate(presentation: &Presentation<'_>, view: &TrackView<'_>) -> u64 {
    let mut cues = view.cues.iter().filter(|cue| cue.start < cue.end).peekable();
    // Those shown, by their ends, and their bytes together.
    let (mut ends, mut shown) = (BinaryHeap::new(), 0_u64);
    let bits = |span: Span| {
        let (mut time, end) = (span.start.0 as u64, span.end.0 as u64);
        let (mut samples, mut said) = (0_u64, 0_u64);
        while time < end {
            while let Some(cue) = cues.next_if(|cue| cue.start.get() <= time) {
                let bytes = u64::from(cue.size.get()) + CUE_BYTES;
                ends.push((Reverse(cue.end.get()), bytes));
                shown += bytes;
            }
            while let Some(&(_, bytes)) = ends.peek().filter(|(Reverse(until), _)| *until <= time) {
                shown -= bytes;
                ends.pop();
            }
            (samples, said) = (samples + 1, said + shown);
            let border = ends.peek().map_or(end, |&(Reverse(until), _)| until.min(end));
            time = cues.peek().map_or(border, |cue| cue.start.get().min(border));
        }
        let bytes = FRAGMENT_BYTES + samples * SAMPLE_BYTES + said.min(SEGMENT_TEXT_BYTES_MAX as u64 + CUE_BYTES);
        let ticks = span.end.0.saturating_sub(span.start.0).max(1) as u64;
        (bytes * 8).saturating_mul(u64::from(view.track.timescale.per_second())).div_ceil(ticks)
    };
    text::spans(presentation, view).map(bits).max().unwrap_or(0)
}

/// A sample for each stretch of `start..end` in which the same cues are shown.
fn samples(words: &[Words<'_>], start: u64, end: u64) -> (Vec<Sample>, Vec<u8>) {
    let mut borders: Vec<u64> = words.iter().flat_map(|word| [word.start, word.end]).chain([start, end]).collect();
    borders.sort_unstable();
    borders.dedup();
    let (mut samples, mut data) = (Vec::with_capacity(borders.len()), Vec::new());
    let (mut next, mut active): (usize, Vec<&Words<'_>>) = (0, Vec::new());
    for (&from, &to) in borders.iter().zip(borders.iter().skip(1)) {
        active.retain(|word| word.end > from);
        while let Some(word) = words.get(next).filter(|word| word.start <= from) {
            if active.len() < CUES_AT_ONCE_MAX {
                active.push(word);
            }
            next += 1;
        }
        let at = data.len();
        for word in &active {
            if data.len() + word.said.text.len() < SEGMENT_TEXT_BYTES_MAX {
                let goes_on = (word.start, word.end) != (from, to) || word.start == start || word.end == end;
                push_cue(&mut data, word, from, goes_on);
            }
        }
        if data.len() == at {
            boxed(&mut data, b"vtte", |_| {});
        }
        samples.push(Sample {
            size: ((data.len() - at) as u32).into(),
            duration: u32::try_from(to - from).unwrap_or(u32::MAX).into(),
            flags: FLAGS_SYNC.into(),
            ..Sample::default()
        });
    }
    (samples, data)
}

/// §6.6: `goes_on` says that other samples may have it too.
fn push_cue(out: &mut Vec<u8>, word: &Words<'_>, time: u64, goes_on: bool) {
    boxed(out, b"vttc", |out| {
        if goes_on {
            boxed(out, b"vsid", |out| out.extend_from_slice(&word.number.to_be_bytes()));
        }
        if let Some(identifier) = word.said.identifier {
            boxed(out, b"iden", |out| out.extend_from_slice(identifier.as_bytes()));
        }
        // What is timed within the cue counts from when the sample begins.
        if has_timestamps(word.said.text) {
            let mut clock = String::new();
            webvtt::write_timestamp(&mut clock, time);
            boxed(out, b"ctim", |out| out.extend_from_slice(clock.as_bytes()));
        }
        if !word.said.settings.is_empty() {
            boxed(out, b"sttg", |out| out.extend_from_slice(word.said.settings.as_bytes()));
        }
        boxed(out, b"payl", |out| out.extend_from_slice(word.said.text.as_bytes()));
    });
}

/// `<00:00:01.000>`: no other tag begins with a digit (WebVTT §4.2.2).
fn has_timestamps(text: &str) -> bool {
    text.as_bytes().windows(2).any(|pair| pair[0] == b'<' && pair[1].is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::{Piece, Ticks};
    use crate::media::codec;
    use crate::media::fixture::{Fixture, row};
    use crate::media::isobmff::Chunk;
    use crate::media::subtitles::{Coding, Samples};

    fn bytes(payload: &Payload) -> Vec<u8> {
        let [Piece::Inline(bytes)] = payload.pieces() else { panic!("one piece is made") };
        bytes.to_vec()
    }

    /// Segments of four seconds, three of them.
    fn fixture(cues: &[(u64, u64, &str)]) -> Fixture {
        let video = (0..3).map(|at| row(at, u64::from(at) * 360_000, 360_000, 1_000)).collect();
        Fixture::default().with_video("v1", video).with_text("t1", "en", cues).with_cuts(vec![0, 1, 2])
    }

    /// Start and duration of a sample, and what is in the boxes of its cues.
    type Told = (i64, u32, Vec<Vec<([u8; 4], Vec<u8>)>>);

    fn atoms(mut data: &[u8]) -> Vec<([u8; 4], Vec<u8>)> {
        let mut atoms = Vec::new();
        while let Some((size, _)) = data.split_first_chunk() {
            let (atom, rest) = data.split_at(u32::from_be_bytes(*size) as usize);
            atoms.push((*atom[4..].first_chunk().unwrap(), atom[8..].to_vec()));
            data = rest;
        }
        atoms
    }

    fn told(fixture: &Fixture) -> Vec<Vec<Told>> {
        let presentation = fixture.presentation();
        let view = presentation.track("t1").unwrap();
        let segment = |span: Span| {
            let bytes = bytes(&super::segment(&view, &span).unwrap());
            let chunk = Chunk::read(&bytes, 0).unwrap();
            assert_eq!((chunk.time, chunk.duration as i64), (span.start, span.end.0 - span.start.0));
            assert_eq!(chunk.end(), bytes.len() as u64);
            let (mut at, mut offset) = (chunk.time.0, chunk.media_offset as usize);
            let sample = |sample: Sample| {
                let cues = atoms(&bytes[offset..offset + sample.size.get() as usize]);
                let is_empty = cues == [(*b"vtte", Vec::new())];
                assert!(is_empty || cues.iter().all(|(kind, _)| kind == b"vttc"));
                let cues = cues.iter().filter(|_| !is_empty).map(|(_, body)| atoms(body)).collect();
                let told = (at, sample.duration.get(), cues);
                (at, offset) = (at + i64::from(sample.duration.get()), offset + sample.size.get() as usize);
                told
            };
            chunk.samples().map(sample).collect()
        };
        text::spans(&presentation, &view).map(segment).collect()
    }

    #[test]
    fn samples_hold_what_is_shown() {
        let got = told(&fixture(&[
            (500, 1_500, "a"),
            (1_000, 9_000, "long"),
            (4_000, 4_000, "an instant is not shown"),
            (10_000, 20_000, "b <00:00:11.000>c"),
        ]));
        let (vsid, long) = (|at: u32| (*b"vsid", at.to_be_bytes().to_vec()), (*b"payl", b"long".to_vec()));
        let timed = vec![(*b"ctim", b"00:00:10.000".to_vec()), (*b"payl", b"b <00:00:11.000>c".to_vec())];
        let want: [Vec<Told>; 3] = [
            vec![
                (0, 500, vec![]),
                (500, 500, vec![vec![vsid(0), (*b"payl", b"a".to_vec())]]),
                (1_000, 500, vec![vec![vsid(0), (*b"payl", b"a".to_vec())], vec![vsid(1), long.clone()]]),
                (1_500, 2_500, vec![vec![vsid(1), long.clone()]]),
            ],
            vec![(4_000, 4_000, vec![vec![vsid(1), long.clone()]])],
            vec![
                (8_000, 1_000, vec![vec![vsid(1), long]]),
                (9_000, 1_000, vec![]),
                (10_000, 2_000, vec![[vec![vsid(3)], timed].concat()]),
            ],
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn the_header_is_the_configuration() {
        let fixture = fixture(&[(0, 1, "a")]);
        let presentation = fixture.presentation();
        let init = bytes(&init(&presentation.track("t1").unwrap()).unwrap());
        let entry = crate::media::isobmff::stored::sample_entry(&init).unwrap();
        assert!(entry.ends_with(b"vttCWEBVTT\n\nSTYLE\n::cue { color: white }"), "{}", entry.escape_ascii());
        assert_eq!(codec::describe("t1", entry, 0, &[]).unwrap().codec, "wvtt");
    }

    /// As many as there can be, all at once: what is made stays small.
    #[test]
    fn a_segment_is_bounded() {
        let words = "w".repeat(1_000);
        let cues: Vec<(u64, u64, &str)> = (0..3_000).map(|at| (at, 20_000 - at, words.as_str())).collect();
        let fixture = fixture(&cues);
        let presentation = fixture.presentation();
        let view = presentation.track("t1").unwrap();
        for span in text::spans(&presentation, &view) {
            let len = segment(&view, &span).unwrap().len();
            assert!(len < SEGMENT_TEXT_BYTES_MAX as u64 + 200_000, "{len}");
        }
    }

    /// A cue of the whole film is in each of its segments, and costs no more for it.
    #[test]
    fn a_rate_looks_at_each_cue_once() {
        const SEGMENTS: u64 = 5_000;
        let others = (0..100_000).map(|at| (at * 200, at * 200 + 100, "w"));
        let cues: Vec<(u64, u64, &str)> = [(0, SEGMENTS * 4_000, "long")].into_iter().chain(others).collect();
        let video = (0..SEGMENTS as u32).map(|at| row(at, u64::from(at) * 360_000, 360_000, 1_000)).collect();
        let cuts = (0..SEGMENTS as u32).collect();
        let fixture = Fixture::default().with_video("v1", video).with_text("t1", "en", &cues).with_cuts(cuts);
        let presentation = fixture.presentation();
        let view = presentation.track("t1").unwrap();
        // 40 samples in 4 s, each with one cue of 33 bytes for a `w` and one of 36.
        let bytes = FRAGMENT_BYTES + 40 * (SAMPLE_BYTES + 36 + CUE_BYTES) + 20 * (33 + CUE_BYTES);
        assert_eq!(bit_rate(&presentation, &view), bytes * 2);
    }

    /// As said, and as the segments are.
    fn rates(fixture: &Fixture) -> (u64, u64) {
        let presentation = fixture.presentation();
        let view = presentation.track("t1").unwrap();
        let actual = text::spans(&presentation, &view)
            .map(|span| (segment(&view, &span).unwrap().len() * 8_000).div_ceil((span.end.0 - span.start.0) as u64));
        (bit_rate(&presentation, &view), actual.max().unwrap())
    }

    proptest! {
        #[test]
        fn rates_are_those_of_the_segments(
            times in prop::collection::vec((0_u64..14_000, 0_u64..14_000, "[a-z]{0,200}(<00:00:11.000>)?[a-z]"), 0..80),
        ) {
            let mut cues: Vec<(u64, u64, &str)> =
                times.iter().map(|(start, length, text)| (*start, start + length, text.as_str())).collect();
            cues.sort_by_key(|cue| cue.0);
            let (got, actual) = rates(&fixture(&cues));
            prop_assert!(got >= actual && got < actual * 2, "{}, {}", got, actual);
        }

        /// What is read of the segments, as import reads it, is what was written.
        #[test]
        fn segments_say_what_the_file_says(times in prop::collection::vec((0_u64..12_000, 1_u64..6_000), 0..12)) {
            let mut cues: Vec<(u64, u64, String)> =
                times.iter().enumerate().map(|(at, &(start, length))| (start, (start + length).min(12_000), format!("cue {at}"))).collect();
            cues.sort_by_key(|cue| cue.0);
            let given: Vec<(u64, u64, &str)> = cues.iter().map(|(start, end, text)| (*start, *end, text.as_str())).collect();
            let fixture = fixture(&given);
            let presentation = fixture.presentation();
            let view = presentation.track("t1").unwrap();
            let mut read = Samples::new(Coding::WebVtt, 0);
            let mut at = 0;
            for span in text::spans(&presentation, &view) {
                prop_assert_eq!(Some(span), text::span_at(&presentation, &view, span.start));
                let bytes = bytes(&segment(&view, &span).unwrap());
                let chunk = Chunk::read(&bytes, 0).unwrap();
                prop_assert_eq!(chunk.time, Ticks(at));
                let mut offset = chunk.media_offset as usize;
                for sample in chunk.samples() {
                    let end = at + i64::from(sample.duration.get());
                    let size = sample.size.get() as usize;
                    read.push("t1", at as u64, end as u64, &bytes[offset..offset + size]).unwrap();
                    (at, offset) = (end, offset + size);
                }
            }
            prop_assert_eq!(at, 12_000);
            let blocks = |text: &str| {
                let mut blocks: Vec<String> = text.split("\n\n").skip(1).map(str::to_owned).collect();
                blocks.sort();
                blocks
            };
            let got = String::from_utf8(read.finish("t1").unwrap().normalised.text).unwrap();
            let mut want = String::from("WEBVTT\n\n");
            for (start, end, text) in &cues {
                webvtt::write_timestamp(&mut want, *start);
                want.push_str(" --> ");
                webvtt::write_timestamp(&mut want, *end);
                want.push_str(&format!("\n{text}\n\n"));
            }
            prop_assert_eq!(blocks(&got), blocks(&want));
        }
    }
}
