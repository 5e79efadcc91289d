//! One track's samples become parts, and parts segments, on the channel's grid.
//!
//! A video segment begins at the first key frame of its slot; the segment before goes on until it comes, for as long as the
//! target duration allows. What else there is is cut at its first sample of the slot. Parts hold as many whole frames as fit
//! and lie side by side from the segment's start: what is missing for longer than a part is a part without bytes.

mod text;

use std::time::Duration;

use bytes::Bytes;

use super::grid::{leeway, longest, patience};
use super::timeline::Pace;
use crate::base::Ticks;
use crate::base::units::rescale_ceil;
use crate::media::broadcast::{Grid, Part, Position};
use crate::media::fragment::Start;
use crate::media::isobmff::write;
use crate::media::{Kind, Sample};

pub use text::nothing;

/// A sample on the channel's timeline.
#[derive(Clone, Debug)]
pub struct Timed {
    /// Decode time in track ticks since 1970, ascending.
    pub time: Ticks,
    /// In track ticks, if it is known without the next sample.
    pub duration: Option<i64>,
    pub composition_offset: i32,
    /// `None` if decoding cannot start at it.
    pub start: Option<Start>,
    pub data: Bytes,
}

/// What came of samples, in order.
#[derive(Clone, Debug)]
pub enum Cut {
    Part(Made),
    /// The segment is complete.
    End(u64),
}

/// One part: a chunk to be written, or a hole.
#[derive(Clone, Debug)]
pub struct Made {
    pub number: u64,
    /// Within its segment.
    pub index: u32,
    /// Decode time of the segment's first sample.
    pub segment_time: Ticks,
    /// Whether the segment begins with a sample that decoding can start at.
    pub segment_is_independent: bool,
    pub time: Ticks,
    pub duration: Ticks,
    pub is_independent: bool,
    /// In bytes.
    pub first_sample_size: u32,
    /// `moof`, the header of `mdat`, samples. Empty for a hole.
    pub bytes: Vec<Bytes>,
    pub size: u32,
}

pub struct Segmenter {
    kind: Kind,
    pace: Pace,
    grid: Grid,
    /// The longest part.
    part: i64,
    /// Segments of lower numbers are over.
    next: u64,
    /// Where the newest of them ends: what follows begins no sooner, though a clock may have slipped.
    ended: Ticks,
    open: Option<Open>,
    /// The newest sample, until its duration is known.
    pending: Option<Timed>,
    /// From the one before to it.
    step: Option<i64>,
    /// Whether samples are of no use before the next key frame.
    needs_key: bool,
    /// The newest key frame of pictures, and how far behind the start of its slot it lay.
    last_key: Option<(i64, i64)>,
    /// Of text: up to where it is known what is shown, and what stands where nothing is.
    covered: Option<i64>,
    nothing: Bytes,
}

/// The segment that is being made.
struct Open {
    number: u64,
    time: i64,
    is_independent: bool,
    /// Of all that is in it.
    end: i64,
    part_index: u32,
    part_start: i64,
    /// Of the part: decode time of its first sample, rows and bytes of all.
    first_time: i64,
    is_part_independent: bool,
    rows: Vec<Sample>,
    data: Vec<Bytes>,
}

/// `sample_flags` of ISO/IEC 14496-12 §8.8.3.1: as `library::import` writes them.
const FLAGS_SYNC: u32 = 0x0200_0000;
const FLAGS_OPEN: u32 = 0x0201_0000;
const FLAGS_OTHER: u32 = 0x0101_0000;

/// What comes of sound before the first picture, at most: 5 058 samples of HE-AAC at 48 kHz, and what a clock is off.
const PRIMING: Duration = Duration::from_millis(110);

/// Chunks of a channel without parts.
const CHUNK_SECONDS: i64 = 1;

/// `sequence_number` of a chunk's `mfhd`: recovery reads from it which segment and part the chunk is.
pub fn sequence(number: u64, index: u32) -> u32 {
    Position { number, parts: index }.mark() as u32
}

/// What [`sequence`] was made of; `near` is a number that is less than 2¹⁹ segments away.
pub fn of_sequence(sequence: u32, near: u64) -> (u64, u32) {
    let index = sequence & Position::PARTS_MAX;
    let bits = Position { number: 1, parts: 0 }.mark();
    let (low, span) = (u64::from(sequence) / bits, (1_u64 << 32) / bits);
    let base = near - near % span + low;
    let candidates = [base.checked_sub(span), Some(base), base.checked_add(span)];
    let number = candidates.into_iter().flatten().min_by_key(|number| number.abs_diff(near)).unwrap_or(base);
    (number, index)
}

impl Segmenter {
    /// Segments from number `next` on.
    pub fn new(kind: Kind, pace: Pace, grid: Grid, next: u64) -> Segmenter {
        let part = part_target(&grid, &pace).0;
        let needs_key = kind == Kind::Video;
        Segmenter {
            kind,
            pace,
            grid,
            part,
            next,
            ended: Ticks(0),
            open: None,
            pending: None,
            step: None,
            needs_key,
            last_key: None,
            covered: None,
            nothing: Bytes::new(),
        }
    }

    /// For text: a sample that shows nothing.
    pub fn with_nothing(self, nothing: Bytes) -> Segmenter {
        Segmenter { nothing, ..self }
    }

    /// Goes on with a segment that has parts up to `end` already, of which the last had the index before `part_index`.
    pub fn resume(&mut self, number: u64, time: Ticks, is_independent: bool, end: Ticks, part_index: u32) {
        self.covered = (self.kind == Kind::Text).then_some(end.0);
        if is_independent && self.last_key.is_none() {
            self.last_key = Some((time.0, self.behind(number, time.0)));
        }
        self.open = Some(Open {
            number,
            time: time.0,
            is_independent,
            end: end.0,
            part_index,
            part_start: end.0,
            first_time: end.0,
            is_part_independent: false,
            rows: Vec::new(),
            data: Vec::new(),
        });
    }

    /// What was published before goes up to there.
    pub fn follow(&mut self, ended: Ticks) {
        self.ended = self.ended.max(ended);
        // Of text, what follows is known to be nothing, until something is said.
        if self.kind == Kind::Text && ended > Ticks(0) {
            self.covered = self.covered.max(Some(ended.0));
        }
    }

    pub fn ended(&self) -> Ticks {
        self.ended
    }

    /// Where the newest part ends.
    pub fn made(&self) -> Ticks {
        self.open.as_ref().map_or(self.ended, |open| Ticks(open.part_start)).max(self.ended)
    }

    /// The lowest number that no part was made for yet.
    pub fn unbegun(&self) -> u64 {
        let made = |open: &Open| open.number + u64::from(open.part_index > 0);
        self.open.as_ref().map_or(self.next, |open| self.next.max(made(open)))
    }

    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The segment that is being made, though no part of it need be complete.
    pub fn open_number(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.number)
    }

    /// Viewers were told that there is nothing in segments with lower numbers.
    pub fn not_before(&mut self, number: u64) {
        self.next = self.next.max(number);
    }

    /// Samples from another encoder, or after a loss, follow.
    pub fn need_key(&mut self) {
        self.needs_key = self.kind == Kind::Video;
    }

    /// Takes a sample; false if it is of no use.
    pub fn push(&mut self, sample: Timed, cuts: &mut Vec<Cut>) -> bool {
        if self.kind == Kind::Text {
            return self.push_text(sample, cuts);
        }
        let (time, is_key) = (sample.time.0, sample.start.is_some());
        let frame = self.pace.frame.or(sample.duration).unwrap_or(0);
        let early = match sample.start.filter(|_| self.kind == Kind::Video) {
            Some(start) => {
                leeway(self.pace.timescale, self.pace.frame, start, self.last_key.map(|(last, _)| time - last))
            }
            // The first sound of an encoder comes before its first picture, by what its decoder has to be primed with: alone in the
            // slot before, it would be a segment of one frame.
            None if self.is_behind_hole(time) => self.pace.timescale.ticks_floor(PRIMING).0,
            None => frame / 2,
        };
        let slot = self.grid.number(Ticks(time + early), self.pace.timescale);
        if self.needs_key && !is_key {
            return false;
        }
        if let Some(open) = &self.open {
            let due = self.grid.start(open.number + 1, self.pace.timescale).0;
            // Key frames that lie later in every slot than the grid has them begin their segments all the same: where the
            // newest one lay, the next is waited for, but not beyond its slot. Where none comes for long, segments do not
            // fall behind the slots by more and more.
            let slot_ticks = due - self.grid.start(open.number, self.pace.timescale).0;
            let patience = patience(&self.grid, self.pace.timescale, self.pace.frame);
            let behind = self.last_key.map_or(0, |(_, behind)| behind);
            let latest = (open.time + slot_ticks).min(due + behind) + patience;
            let late = time >= latest.clamp(due, due + slot_ticks - self.pace.frame.unwrap_or(0).min(slot_ticks));
            if slot > open.number && (self.kind != Kind::Video || is_key || late) {
                self.settle(Some(time), cuts);
                self.end(cuts);
            } else {
                self.settle(Some(time), cuts);
                self.bridge(time, cuts);
            }
        }
        if self.open.is_none() {
            if slot < self.next {
                self.need_key();
                return false;
            }
            self.begin(slot, &sample);
        }
        if is_key {
            self.last_key = Some((time, self.behind(slot, time)));
        }
        self.needs_key = false;
        self.pending = Some(sample);
        self.settle_early(cuts);
        true
    }

    /// Whether more is missing before `time` than a few frames.
    fn is_behind_hole(&self, time: i64) -> bool {
        let end = self.pending.as_ref().map(|newest| newest.time.0);
        let end = end.or(self.open.as_ref().map(|open| open.end)).unwrap_or(self.ended.0);
        self.kind == Kind::Audio && time - end > 2 * self.pace.timescale.ticks_floor(PRIMING).0
    }

    /// How far behind the start of its slot a time lies.
    fn behind(&self, number: u64, time: i64) -> i64 {
        (time - self.grid.start(number, self.pace.timescale).0).max(0)
    }

    /// Nothing follows for the time being: what there is becomes a complete segment.
    pub fn finish(&mut self, cuts: &mut Vec<Cut>) {
        if self.kind == Kind::Text {
            return self.finish_text(cuts);
        }
        self.settle(None, cuts);
        self.end(cuts);
    }

    fn begin(&mut self, number: u64, sample: &Timed) {
        let time = sample.time.max(self.ended);
        self.resume(number, time, sample.start.is_some(), time, 0);
    }

    /// A clock of milliseconds is not to make two parts of one, nor are frames that slipped by a tick.
    fn slack(&self) -> i64 {
        i64::from(self.pace.timescale.per_second()) / 1_000
    }

    /// The newest sample lasts until the next one, or as long as samples do; over a hole as far as its part goes.
    fn settle(&mut self, next: Option<i64>, cuts: &mut Vec<Cut>) {
        let Some(sample) = self.pending.take() else { return };
        let (part, slack, limit) = (self.part, self.slack(), longest(&self.grid, self.pace.timescale));
        let Some(open) = &mut self.open else { return };
        let time = sample.time.0;
        // The next one may come sooner than they usually do; and the last one is as long as the one before.
        self.step = next.map(|next| next - time).or(self.step);
        let usual = self.pace.frame.or(sample.duration).into_iter();
        let length = usual.chain(self.step).min().unwrap_or(part).clamp(1, part);
        // Not before the one in front of it ends: durations in a chunk add up to its own.
        let begin = time.max(open.free_from());
        let (part_end, segment_end) = (open.part_start + part, open.time + limit);
        // Behind the last part that a segment can have there is no time for another.
        let has_room =
            begin < part_end.min(segment_end) && (begin + length <= part_end + slack || part_end >= segment_end);
        if !open.rows.is_empty() && !has_room {
            // The sample that follows is not to begin behind the one after it.
            if self.kind == Kind::Video && next.is_none_or(|next| next > open.part_start + part) {
                open.fill_part(part.min(segment_end - open.part_start));
            }
            open.close_part(cuts);
        }
        let time = time.max(open.free_from());
        if time >= segment_end {
            return;
        }
        let room = (open.part_start + part).min(segment_end);
        let end = next.unwrap_or(time + length).min(room).max(time + 1);
        if open.rows.is_empty() {
            open.first_time = time;
            open.is_part_independent = sample.start.is_some();
        }
        open.rows.push(Sample {
            size: (sample.data.len() as u32).into(),
            duration: ((end - time) as u32).into(),
            composition_offset: sample.composition_offset.into(),
            flags: match (self.kind, sample.start) {
                (Kind::Video, None) => FLAGS_OTHER,
                (Kind::Video, Some(Start::Open)) => FLAGS_OPEN,
                _ => FLAGS_SYNC,
            }
            .into(),
        });
        open.data.push(sample.data);
        open.end = end;
    }

    /// Writes at once what no later sample can change: a part that no other frame fits in; a segment after which the next
    /// slot begins. A video segment that itself began with a key frame where its slot does is followed by another such:
    /// who follows it, and has all of it, is not to wait for the next chunk to be told so.
    fn settle_early(&mut self, cuts: &mut Vec<Cut>) {
        let (Some(sample), Some(open)) = (&self.pending, &self.open) else { return };
        let sure = if self.kind == Kind::Audio { self.pace.frame } else { None };
        let Some(duration) = sure.or(sample.duration) else { return };
        let end = sample.time.0 + duration;
        let frame = self.pace.frame.map_or(duration, |frame| frame.min(duration));
        let due = self.grid.start(open.number + 1, self.pace.timescale).0;
        let begun = self.grid.start(open.number, self.pace.timescale).0;
        let is_regular = open.is_independent && (open.time - begun).abs() <= frame / 2;
        let is_last = (self.kind != Kind::Video || is_regular) && end + frame / 2 >= due;
        let part_end = open.part_start + self.part + self.slack();
        // One that would be too short may have to be filled once it is known when the next one comes.
        let is_long = Part::is_long(end - open.part_start, self.part);
        let is_full = end <= part_end && end + frame > part_end && is_long;
        if is_last || is_full {
            self.settle(Some(end), cuts);
            if let Some(open) = &mut self.open {
                open.close_part(cuts);
            }
        }
        if is_last {
            self.end(cuts);
        }
    }

    /// Parts without bytes up to the one that a sample at `time` falls in.
    fn bridge(&mut self, time: i64, cuts: &mut Vec<Cut>) {
        let part = self.part;
        let Some(open) = &mut self.open else { return };
        if time <= open.end {
            return;
        }
        open.close_part(cuts);
        while time - open.part_start >= part && open.part_index < Position::PARTS_MAX - 1 {
            open.end += part;
            open.is_part_independent = false;
            open.emit(Vec::new(), 0, 0, cuts);
        }
    }

    fn end(&mut self, cuts: &mut Vec<Cut>) {
        let Some(mut open) = self.open.take() else { return };
        open.close_part(cuts);
        self.next = self.next.max(open.number + 1);
        self.follow(Ticks(open.end));
        cuts.push(Cut::End(open.number));
    }
}

impl Open {
    /// Where the next sample of the part may begin.
    fn free_from(&self) -> i64 {
        if self.rows.is_empty() { self.part_start } else { self.end }
    }

    /// After a clock was set anew, frames lie elsewhere between the borders of parts, and a part may have no room for the next
    /// one though it is too short: its last one is shown for longer.
    fn fill_part(&mut self, part: i64) {
        let missing = (self.part_start + part - self.end).max(0);
        if let Some(last) = self.rows.last_mut().filter(|_| !Part::is_long(self.end - self.part_start, part)) {
            last.duration = last.duration.get().saturating_add(missing as u32).into();
            self.end += missing;
        }
    }

    fn close_part(&mut self, cuts: &mut Vec<Cut>) {
        if self.rows.is_empty() {
            return;
        }
        let mut head = Vec::with_capacity(160 + 12 * self.rows.len());
        let (rows, data) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.data));
        let written = write::fragment_header(
            sequence(self.number, self.part_index),
            self.first_time.max(0) as u64,
            &rows,
            &mut head,
        );
        let size = head.len() as u64 + data.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        match (written, u32::try_from(size)) {
            (Ok(()), Ok(size)) => {
                let first = data.first().map_or(0, |first| first.len() as u32);
                let mut bytes = vec![Bytes::from(head)];
                bytes.extend(data);
                self.emit(bytes, size, first, cuts);
            }
            // 4 GiB in a part: what waits is bounded far below.
            _ => self.emit(Vec::new(), 0, 0, cuts),
        }
    }

    fn emit(&mut self, bytes: Vec<Bytes>, size: u32, first_sample_size: u32, cuts: &mut Vec<Cut>) {
        cuts.push(Cut::Part(Made {
            number: self.number,
            index: self.part_index,
            segment_time: Ticks(self.time),
            segment_is_independent: self.is_independent,
            time: Ticks(self.part_start),
            duration: Ticks(self.end - self.part_start),
            is_independent: self.is_part_independent && size > 0,
            first_sample_size,
            bytes,
            size,
        }));
        self.part_index += 1;
        self.part_start = self.end;
    }
}

/// The longest part there may be: the most whole frames that fit what was asked for and do not leave a sliver at the end of
/// the segment. Two playlists within a few frames, the last part and the segment's end, overtake players: hls.js takes a
/// segment whose last part it has not loaded for complete and stalls.
pub fn part_target(grid: &Grid, pace: &Pace) -> Ticks {
    let wanted = grid
        .part
        .map_or(i64::from(pace.timescale.per_second()) * CHUNK_SECONDS, |part| pace.timescale.ticks_floor(part).0);
    let Some(frame) = pace.frame else { return Ticks(wanted.max(1)) };
    let most = (wanted / frame).max(1);
    let slot = rescale_ceil(grid.slot, grid.timescale, pace.timescale).map_or(0, |slot| slot.0);
    let frames = (slot + frame - 1) / frame;
    let is_even = |&count: &i64| 3 * ((frames - 1).rem_euclid(count) + 1) >= 2 * count;
    Ticks((most / 2 + 1..=most).rev().find(is_even).unwrap_or(most) * frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timescale;

    fn segmenter(kind: Kind, frame: i64) -> Segmenter {
        let grid = Grid {
            timescale: Timescale::MILLIS,
            slot: Ticks(2_000),
            phase: Ticks(0),
            target: 2,
            part: Some(Duration::from_millis(500)),
        };
        Segmenter::new(kind, Pace { timescale: Timescale::MILLIS, frame: Some(frame) }, grid, 0)
    }

    /// Parts as `number.index time+duration`, holes in brackets, independent ones with a star; ends as `number.`.
    fn run(mut segmenter: Segmenter, samples: impl IntoIterator<Item = (i64, bool)>) -> Vec<String> {
        let mut cuts = Vec::new();
        for (time, is_key) in samples {
            let start = is_key.then_some(Start::Closed);
            let data = Bytes::from_static(b"x");
            let sample = Timed { time: Ticks(time), duration: None, composition_offset: 0, start, data };
            segmenter.push(sample, &mut cuts);
        }
        segmenter.finish(&mut cuts);
        let text = cuts.iter().map(|cut| match cut {
            Cut::End(number) => format!("{number}."),
            Cut::Part(made) if made.size == 0 => {
                format!("[{}.{} {}+{}]", made.number, made.index, made.time.0, made.duration.0)
            }
            Cut::Part(made) => {
                let bytes = made.bytes.concat();
                let chunk = crate::media::isobmff::Chunk::read(&bytes, 0).unwrap();
                // Recovery knows of a part what its chunk says.
                assert_eq!(
                    chunk.time.0 + chunk.duration as i64,
                    made.time.0 + made.duration.0,
                    "{}.{}",
                    made.number,
                    made.index
                );
                let star = if made.is_independent { "*" } else { "" };
                format!("{}.{} {}+{}{star}", made.number, made.index, made.time.0, made.duration.0)
            }
        });
        text.collect()
    }

    #[test]
    fn segments_begin_with_key_frames() {
        let steady = (0..101).map(|at| (at * 40, at % 50 == 0));
        let got = run(segmenter(Kind::Video, 40), steady);
        let want = [
            "0.0 0+400*",
            "0.1 400+400",
            "0.2 800+400",
            "0.3 1200+400",
            "0.4 1600+400",
            "0.",
            "1.0 2000+400*",
            "1.1 2400+400",
            "1.2 2800+400",
            "1.3 3200+400",
            "1.4 3600+400",
            "1.",
            "2.0 4000+40*",
            "2.",
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn a_late_key_frame_is_waited_for_and_a_missing_one_is_not() {
        // 2 s + 0.5 s rounds to 3 s: there are less than 0.5 s to wait.
        let late = (0..75).map(|at| (at * 40, at == 0 || at == 55));
        let got = run(segmenter(Kind::Video, 40), late);
        assert!(got.contains(&"1.0 2200+400*".to_owned()), "{got:?}");
        let never = (0..75).map(|at| (at * 40, at == 0));
        let got = run(segmenter(Kind::Video, 40), never);
        assert!(got.contains(&"1.0 2440+400".to_owned()), "{got:?}");
    }

    /// An encoder that comes back with its key frames 1.2 s after the grid's slots begin.
    #[test]
    fn segments_begin_with_key_frames_that_are_off_the_grid() {
        let frames = (0..30).map(|at| (at * 40, at == 0)).chain((30..230).map(|at| (at * 40, (at - 30) % 50 == 0)));
        let got = run(segmenter(Kind::Video, 40), frames);
        let starts: Vec<_> = got.iter().filter(|part| part.contains(".0 ")).map(String::as_str).collect();
        // Segments last as long as they may until a key frame comes before that.
        assert_eq!(starts, ["0.0 0+400*", "1.0 2440+400", "2.0 4880+400", "3.0 7200+400*"], "{got:?}");
        let begins_late = (0..200).map(|at| (1_200 + at * 40, at % 50 == 0));
        let got = run(segmenter(Kind::Video, 40), begins_late);
        let starts: Vec<_> = got.iter().filter(|part| part.contains(".0 ")).map(String::as_str).collect();
        assert_eq!(starts, ["0.0 1200+400*", "1.0 3200+400*", "2.0 5200+400*", "3.0 7200+400*"], "{got:?}");
    }

    /// Segments of groups that are longer than a slot do not fall behind the slots by more and more, so that one would be empty.
    #[test]
    fn long_groups_are_cut_side_by_side_with_the_slots() {
        let got = run(segmenter(Kind::Video, 40), (0..500).map(|at| (at * 40, at % 200 == 0)));
        let starts: Vec<_> = got.iter().filter(|part| part.contains(".0 ")).map(String::as_str).collect();
        let want = [
            "0.0 0+400*",
            "1.0 2440+400",
            "2.0 4440+400",
            "3.0 6440+400",
            "4.0 8000+400*",
            "5.0 10440+400",
            "6.0 12440+400",
            "7.0 14440+400",
            "8.0 16000+400*",
            "9.0 18440+400",
        ];
        assert_eq!(starts, want, "{got:?}");
    }

    /// As those of an encoder that tells the time of each picture by a clock, and of open groups.
    #[test]
    fn key_frames_a_little_before_their_slots_begin_their_segments() {
        let jitter = |at: i64| at * 40 + [0, -17, 9, 3][at as usize % 4];
        let mut segmenter = segmenter(Kind::Video, 40);
        segmenter.pace.frame = None;
        let got = run(segmenter, (0..250).map(|at| (jitter(at), at % 50 == 0)));
        let starts: Vec<_> = got.iter().filter(|part| part.contains(".0 ")).map(String::as_str).collect();
        let starts: Vec<_> = starts.iter().map(|start| start.split_once('+').unwrap().0).collect();
        assert_eq!(starts, ["0.0 0", "1.0 2009", "2.0 4000", "3.0 6009", "4.0 8000"], "{got:?}");
    }

    #[test]
    fn a_regular_segment_ends_with_its_last_frame_where_durations_are_stated() {
        for (keys, ends) in [([0, 50], true), ([5, 50], false)] {
            let mut segmenter = segmenter(Kind::Video, 40);
            let mut cuts = Vec::new();
            for at in keys[0]..50 {
                let start = keys.contains(&at).then_some(Start::Closed);
                let data = Bytes::from_static(b"x");
                let time = Ticks(at * 40);
                segmenter.push(Timed { time, duration: Some(40), composition_offset: 0, start, data }, &mut cuts);
            }
            let ended = matches!(cuts.last(), Some(Cut::End(0)));
            assert_eq!(ended, ends, "{keys:?}: {cuts:?}");
        }
    }

    /// Samples 200 ms long of which one came early, as after a clock was set: the parts that it leaves short are filled, and
    /// what is complete by the durations stated is not overlapped.
    #[test]
    fn a_clock_that_slips_makes_no_short_part_and_no_overlap() {
        let stated = |times: &[i64]| {
            let mut segmenter = segmenter(Kind::Video, 200);
            let mut cuts = Vec::new();
            for &time in times {
                let start = (time == 0 || time > 1_850).then_some(Start::Closed);
                let data = Bytes::from_static(b"x");
                let sample = Timed { time: Ticks(time), duration: Some(200), composition_offset: 0, start, data };
                segmenter.push(sample, &mut cuts);
            }
            let parts = cuts.into_iter().filter_map(|cut| match cut {
                Cut::Part(made) => Some((made.number, made.time.0, made.duration.0)),
                Cut::End(_) => None,
            });
            parts.collect::<Vec<_>>()
        };
        let early = stated(&[0, 200, 400, 506, 706, 906, 1_106]);
        assert_eq!(early, [(0, 0, 400), (0, 400, 400)]);
        let squeezed = stated(&[0, 200, 400, 600, 800, 1_000, 1_200, 1_400, 1_600, 1_800, 1_920, 2_120, 2_320, 2_520]);
        assert_eq!(squeezed[4..], [(0, 1_600, 400), (1, 2_000, 400)]);
    }

    #[test]
    fn samples_that_come_at_once_follow_each_other() {
        let times = (0..24).map(|at| at * 20).chain([499, 499, 499, 500, 520, 540]);
        let got = run(segmenter(Kind::Video, 20), times.map(|time| (time, time == 0)));
        assert_eq!(got, ["0.0 0+500*", "0.1 500+60", "0."]);
    }

    #[test]
    fn holes_are_bridged() {
        let samples = (0..100).filter(|at| !(15..60).contains(at)).map(|at| (at * 20, at == 0));
        let got = run(segmenter(Kind::Video, 20), samples);
        assert_eq!(got, ["0.0 0+500*", "[0.1 500+500]", "0.2 1000+500", "0.3 1500+500", "0."]);
        // One frame that is missing only makes the one before last longer.
        let samples = (0..100).filter(|&at| at != 24).map(|at| (at * 20, at == 0));
        let got = run(segmenter(Kind::Video, 20), samples);
        assert_eq!(got, ["0.0 0+500*", "0.1 500+500", "0.2 1000+500", "0.3 1500+500", "0."]);
    }

    #[test]
    fn audio_is_cut_at_the_sample_nearest_to_the_grid() {
        let got = run(segmenter(Kind::Audio, 30), (0..70).map(|at| (at * 30, true)));
        let want = [
            "0.0 0+420*",
            "0.1 420+420*",
            "0.2 840+420*",
            "0.3 1260+420*",
            "0.4 1680+330*",
            "0.",
            "1.0 2010+90*",
            "1.",
        ];
        assert_eq!(got, want);
    }

    /// Sound that comes back a little before a slot, as that which is before the first picture of an encoder, begins the slot's
    /// segment; where nothing is missing, every slot has its own.
    #[test]
    fn sound_just_before_a_slot_is_of_the_slot_where_it_comes_back() {
        for (name, last, first, want) in [
            ("after a hole", 60, 197, &["0.0 0", "3.0 5910"][..]),
            ("after a hole, too early", 60, 195, &["0.0 0", "2.0 5850", "3.0 6000"]),
            ("within a slot", 30, 65, &["0.0 0", "1.0 1950"]),
            ("after a few frames", 60, 66, &["0.0 0", "1.0 2010"]),
        ] {
            let frames = (0..last).chain(first..first + 10).map(|at| (at * 30, true));
            let got = run(segmenter(Kind::Audio, 30), frames);
            let starts: Vec<_> = got.iter().filter(|part| part.contains(".0 ")).collect();
            let starts: Vec<_> = starts.iter().map(|start| start.split_once('+').unwrap().0).collect();
            assert_eq!(starts, want, "{name}: {got:?}");
        }
    }

    #[test]
    fn sequences_tell_segment_and_part() {
        for number in [0_u64, 1, 900_000_000, (1 << 20) - 1, 1 << 20, 7 << 20] {
            for near in [number, number + 400_000, number.saturating_sub(400_000)] {
                assert_eq!(of_sequence(sequence(number, 17), near), (number, 17));
            }
        }
    }
}
