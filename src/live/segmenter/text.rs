//! Text covers its segments without a hole: what a sample says is shown for as long as the sample lasts (ISO/IEC 14496-30 §5),
//! so a sample that crosses the end of a part or a segment is repeated behind it, and where nothing is to be shown there is
//! a sample that shows nothing. So text has parts and segments where video has them, whenever its encoder sends something.

use bytes::Bytes;

use super::{Cut, Segmenter, Timed};
use crate::base::Ticks;
use crate::media::Sample;

/// No text is shown for longer, in seconds: what a sample says is repeated for so long, and all of that is written at once.
const SAMPLE_SECONDS_MAX: i64 = 60;
/// A longer stretch of which nothing is known, in seconds, is a gap: all of it would be written at once. Where there is none, there
/// is nothing that depends on when somebody looked, and servers that are fed alike have the same.
const BRIDGED_SECONDS_MAX: i64 = 600;

/// A sample that shows nothing, by the type of the sample entry.
pub fn nothing(sample_entry: &[u8]) -> Bytes {
    match sample_entry.get(4..8) {
        Some(b"stpp") => Bytes::from_static(br#"<tt xmlns="http://www.w3.org/ns/ttml" xml:lang=""/>"#),
        // §6.6: `VTTEmptyCueBox`.
        _ => Bytes::from_static(b"\0\0\0\x08vtte"),
    }
}

impl Segmenter {
    /// False if all of what it says comes too late.
    pub(super) fn push_text(&mut self, sample: Timed, cuts: &mut Vec<Cut>) -> bool {
        let time = sample.time.0;
        let scale = self.pace.timescale;
        self.settle_text(Some(time), cuts);
        let slot = self.grid.number(sample.time, scale);
        if self.covered.is_none() || self.is_far_behind(time) {
            self.skip_to(slot, cuts);
        }
        self.cover(time, &self.nothing.clone(), cuts);
        let is_late = sample.duration.is_some_and(|duration| self.covered >= Some(time + duration));
        self.pending = Some(sample);
        if self.pending.as_ref().is_some_and(|sample| sample.duration.is_some()) {
            self.settle_text(None, cuts);
        }
        !is_late
    }

    /// Nothing is to be shown before `number`, but for what was sent already. Where that is too much, the track goes on at the first
    /// of `others`: the newest numbers that there are of other tracks.
    pub fn keep_up(&mut self, number: u64, others: impl Iterator<Item = u64>, cuts: &mut Vec<Cut>) {
        let scale = self.pace.timescale;
        let start = self.grid.start(number, scale).0;
        if self.covered.is_some_and(|covered| covered < start) {
            self.settle_text(Some(start), cuts);
            if self.is_far_behind(start) {
                let known = self.covered.map_or(0, |covered| self.grid.number(Ticks(covered), scale));
                self.skip_to(others.filter(|other| *other > known).min().unwrap_or(number), cuts);
            }
            self.cover(start, &self.nothing.clone(), cuts);
        }
    }

    fn is_far_behind(&self, time: i64) -> bool {
        let longest = BRIDGED_SECONDS_MAX * i64::from(self.pace.timescale.per_second());
        self.covered.is_some_and(|covered| time - covered > longest)
    }

    /// Of what lies between nothing is known.
    fn skip_to(&mut self, slot: u64, cuts: &mut Vec<Cut>) {
        self.finish_text(cuts);
        self.covered = Some(self.grid.start(slot.max(self.next), self.pace.timescale).0);
    }

    /// The segment that is being made ends with its slot.
    pub(super) fn finish_text(&mut self, cuts: &mut Vec<Cut>) {
        self.settle_text(None, cuts);
        if let Some(open) = &self.open {
            let due = self.grid.start(open.number + 1, self.pace.timescale).0;
            self.cover(due, &self.nothing.clone(), cuts);
            // After a restart it may have been full before.
            self.end(cuts);
        }
    }

    /// The newest sample lasts as long as it says or, if it does not say, until the next one or for a part.
    fn settle_text(&mut self, next: Option<i64>, cuts: &mut Vec<Cut>) {
        let Some(sample) = self.pending.take() else { return };
        let time = sample.time.0;
        let length = sample.duration.or(next.map(|next| next - time)).unwrap_or(self.part);
        let longest = SAMPLE_SECONDS_MAX * i64::from(self.pace.timescale.per_second());
        self.cover(time + length.clamp(1, longest), &sample.data, cuts);
    }

    /// From where text is known up to `until`, `data` is what there is.
    fn cover(&mut self, until: i64, data: &Bytes, cuts: &mut Vec<Cut>) {
        let scale = self.pace.timescale;
        while let Some(at) = self.covered.filter(|&at| at < until) {
            if self.open.is_none() {
                let number = self.grid.number(Ticks(at), scale);
                if number < self.next {
                    // Viewers were told that there is nothing.
                    self.covered = Some(self.grid.start(self.next, scale).0.min(until));
                    continue;
                }
                self.resume(number, Ticks(at), true, Ticks(at), 0);
            }
            let part = self.part;
            let Some(open) = &mut self.open else { return };
            let due = self.grid.start(open.number + 1, scale).0;
            if at >= due {
                self.end(cuts);
                continue;
            }
            let full = due.min(open.part_start + part);
            let end = until.min(full).max(at + 1);
            if open.rows.is_empty() {
                open.first_time = at;
                open.is_part_independent = true;
            }
            open.rows.push(Sample {
                size: (data.len() as u32).into(),
                duration: ((end - at) as u32).into(),
                flags: super::FLAGS_SYNC.into(),
                ..Sample::default()
            });
            open.data.push(data.clone());
            open.end = end;
            self.covered = Some(end);
            if end >= full {
                open.close_part(cuts);
            }
            if end >= due {
                self.end(cuts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::grid;
    use super::super::super::timeline::Pace;
    use super::*;
    use crate::base::Timescale;
    use crate::media::Kind;
    use crate::media::isobmff::Chunk;

    const CUE: &[u8] = b"cue";

    fn segmenter() -> Segmenter {
        let part = Some(Duration::from_millis(500));
        let grid = grid::of_audio(Timescale::new(48_000).unwrap(), Duration::from_secs(2), part);
        let pace = Pace { timescale: Timescale::MILLIS, frame: None };
        Segmenter::new(Kind::Text, pace, grid, 5).with_nothing(nothing(b"\0\0\0\0wvtt"))
    }

    /// Parts as `number.index:` and their samples as start+duration, those that say something with a star; ends as
    /// `number.`.
    fn told(cuts: &[Cut]) -> Vec<String> {
        let told = cuts.iter().map(|cut| match cut {
            Cut::End(number) => format!("{number}."),
            Cut::Part(made) => {
                let bytes = made.bytes.concat();
                let chunk = Chunk::read(&bytes, 0).unwrap();
                assert_eq!((chunk.end(), chunk.duration), (bytes.len() as u64, made.duration.0 as u64));
                let (mut at, mut offset) = (chunk.time.0, chunk.media_offset as usize);
                assert_eq!(at, made.time.0);
                let samples = chunk.samples().map(|sample| {
                    let data = &bytes[offset..offset + sample.size.get() as usize];
                    let star = if data == CUE { "*" } else { "" };
                    let text = format!(" {at}+{}{star}", sample.duration.get());
                    (at, offset) = (at + i64::from(sample.duration.get()), offset + data.len());
                    text
                });
                format!("{}.{}:{}", made.number, made.index, samples.collect::<String>())
            }
        });
        told.collect()
    }

    fn timed(time: i64, duration: Option<i64>) -> Timed {
        let data = Bytes::from_static(CUE);
        Timed { time: Ticks(time), duration, composition_offset: 0, start: None, data }
    }

    #[test]
    fn text_is_shown_as_long_as_it_lasts() {
        for (name, samples, kept_up, want) in [
            (
                "over a part's end, and a segment's",
                &[(10_300, Some(400)), (11_800, Some(700))][..],
                None,
                &[
                    "5.0: 10000+300 10300+200*",
                    "5.1: 10500+200* 10700+300",
                    "5.2: 11000+500",
                    "5.3: 11500+300 11800+200*",
                    "5.",
                    "6.0: 12000+500*",
                    "6.1: 12500+500",
                    "6.2: 13000+500",
                    "6.3: 13500+500",
                    "6.",
                ][..],
            ),
            (
                "without durations",
                &[(10_000, None), (11_750, None)],
                None,
                &[
                    "5.0: 10000+500*",
                    "5.1: 10500+500*",
                    "5.2: 11000+500*",
                    "5.3: 11500+250* 11750+250*",
                    "5.",
                    "6.0: 12000+250* 12250+250",
                    "6.1: 12500+500",
                    "6.2: 13000+500",
                    "6.3: 13500+500",
                    "6.",
                ],
            ),
            (
                "nothing more is said",
                &[(10_000, Some(100))],
                Some(6),
                &["5.0: 10000+100* 10100+400", "5.1: 10500+500", "5.2: 11000+500", "5.3: 11500+500", "5."],
            ),
            (
                "too late, in part",
                &[(10_000, Some(2_000)), (11_000, Some(500)), (11_900, Some(200))],
                Some(6),
                &[
                    "5.0: 10000+500*",
                    "5.1: 10500+500*",
                    "5.2: 11000+500*",
                    "5.3: 11500+500*",
                    "5.",
                    "6.0: 12000+100* 12100+400",
                    "6.1: 12500+500",
                    "6.2: 13000+500",
                    "6.3: 13500+500",
                    "6.",
                ],
            ),
            (
                "before what the channel begins with",
                &[(9_000, Some(1_400))],
                Some(6),
                &["5.0: 10000+400* 10400+100", "5.1: 10500+500", "5.2: 11000+500", "5.3: 11500+500", "5."],
            ),
        ] {
            let (mut segmenter, mut cuts) = (segmenter(), Vec::new());
            for &(time, duration) in samples {
                segmenter.push(timed(time, duration), &mut cuts);
            }
            if let Some(number) = kept_up {
                segmenter.keep_up(number, [5, 6].into_iter(), &mut cuts);
            }
            segmenter.finish(&mut cuts);
            assert_eq!(told(&cuts), want, "{name}");
        }
    }

    /// After a restart, or in another format.
    #[test]
    fn text_keeps_up_with_the_others_though_nothing_was_said_yet() {
        // Numbers that the others have, with what it keeps up with, segments that are full by then, and the first that is not.
        for (name, others, number, want, unbegun) in [
            ("the next", [5, 6], 6, 1, 6),
            ("an outage of a few minutes", [4, 250], 250, 245, 250),
            ("a night without encoders, which is not filled up", [4, 10_000], 10_001, 1, 10_001),
            ("the others are known later than from where they go on", [4, 10_000], 9_999, 0, 10_000),
        ] {
            let (mut segmenter, mut cuts) = (segmenter(), Vec::new());
            segmenter.follow(Ticks(10_000));
            segmenter.keep_up(number, others.into_iter(), &mut cuts);
            let ends = cuts.iter().filter(|cut| matches!(cut, Cut::End(_))).count();
            let covered = segmenter.grid.number(Ticks(segmenter.covered.unwrap_or(0)), segmenter.pace.timescale);
            assert_eq!((ends, covered), (want, unbegun), "{name}");
        }
    }

    /// A crash came between its last part and its end.
    #[test]
    fn a_segment_that_was_full_ends_before_anything_follows() {
        for (slot, want) in [(6, "6.0: 12000+500*"), (400, "400.0: 800000+500*")] {
            let (mut segmenter, mut cuts) = (segmenter(), Vec::new());
            segmenter.resume(5, Ticks(10_000), true, Ticks(12_000), 4);
            segmenter.push(timed(slot * 2_000, Some(500)), &mut cuts);
            assert_eq!(told(&cuts), ["5.", want]);
        }
    }

    #[test]
    fn a_very_long_silence_is_a_gap_and_a_long_sample_has_an_end() {
        let (mut segmenter, mut cuts) = (segmenter(), Vec::new());
        assert!(segmenter.push(timed(10_000, Some(500)), &mut cuts));
        assert!(segmenter.push(timed(3_600_000, Some(3_600_000)), &mut cuts));
        assert!(!segmenter.push(timed(3_600_500, Some(500)), &mut cuts));
        let ends = cuts.iter().filter(|cut| matches!(cut, Cut::End(_))).count();
        assert_eq!(ends, 1 + 30);
        assert_eq!(segmenter.unbegun(), 1_830);
    }
}
