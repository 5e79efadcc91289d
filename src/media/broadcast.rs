//! A channel at one instant: the live counterpart of [`super::presentation`], and all that a packager is handed.
//!
//! # Numbers
//!
//! Media time is counted from 1970-01-01T00:00:00Z. Slot n of the [`Grid`] is `[n·S + phase, (n + 1)·S + phase)` of it, and
//! is exactly one segment in every track; a track that has nothing there has a gap. So segment numbers are functions of
//! media time, never counts of what arrived, and two servers fed by one encoder agree on them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::base::limits::LIVE_SILENCE;
use crate::base::units::{rescale_ceil, rescale_floor};
use crate::base::{Ticks, Timescale};

use super::captions::Caption;
use super::track::{Kind, Track};

/// Where segments begin; fixed when a channel first publishes, and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Of `slot` and `phase`: the reference track's, so that its key frames lie on the grid exactly.
    pub timescale: Timescale,
    /// Length of a slot, more than 0.
    pub slot: Ticks,
    /// Where slot 0 begins, at least 0 and below `slot`.
    pub phase: Ticks,
    /// `EXT-X-TARGETDURATION`, in seconds; no segment is longer when rounded. Never changes.
    pub target: u32,
    /// What parts are made to hold at most. `None`: no low latency, segments have no parts.
    pub part: Option<Duration>,
}

impl Grid {
    /// The slot that a time lies in; 0 for what is before slot 0.
    pub fn number(&self, time: Ticks, timescale: Timescale) -> u64 {
        let time = rescale_floor(time, timescale, self.timescale).unwrap_or(Ticks(i64::MAX));
        time.0.saturating_sub(self.phase.0).max(0) as u64 / self.slot.0.max(1) as u64
    }

    /// Where the slot begins: the first tick that is not before it.
    pub fn start(&self, number: u64, timescale: Timescale) -> Ticks {
        let start = i128::from(self.slot.0) * i128::from(number) + i128::from(self.phase.0);
        let start = Ticks(i64::try_from(start).unwrap_or(i64::MAX));
        rescale_ceil(start, self.timescale, timescale).unwrap_or(Ticks(i64::MAX))
    }

    /// Length of a slot, rounded down to a nanosecond.
    pub fn slot_duration(&self) -> Duration {
        self.timescale.duration(self.slot)
    }

    /// Nothing comes of a track for so long before what there is of its segment is taken for all of it, and shown.
    pub fn silence(&self) -> Duration {
        self.slot_duration().max(LIVE_SILENCE) * 2
    }
}

/// A segment that is complete, as the journal keeps it. Little endian, fixed size.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, PartialEq, Eq)]
#[repr(C)]
pub struct SegmentRow {
    /// Slot number; ascending within a track.
    pub number: U64,
    /// Of the first `moof`, from the start of the track file, in bytes.
    pub offset: U64,
    /// `baseMediaDecodeTime` of the first sample, in track ticks since 1970.
    pub time: U64,
    /// In bytes.
    pub size: U32,
    /// In track ticks.
    pub duration: U32,
    /// Discontinuities on the channel up to and with the one right before this segment: `EXT-X-DISCONTINUITY-SEQUENCE`
    /// plus the discontinuities listed before it.
    pub discontinuities: U32,
    /// [`SegmentRow::start_of`]: how the segment begins.
    pub start: U32,
    /// CRC-32 (IEEE) of the fields before: see [`SegmentRow::sealed`].
    pub check: U32,
}

impl SegmentRow {
    /// Starts with a sample that decoding can start at.
    const INDEPENDENT: u32 = 1;
    const SIZE_SHIFT: u32 = 1;

    /// `start` of a segment: the bytes of its first sample, where decoding can start at it. Rows of builds that did not keep
    /// them say 0.
    pub fn start_of(is_independent: bool, key_frame_size: u32) -> u32 {
        match is_independent {
            true => {
                key_frame_size.min(u32::MAX >> SegmentRow::SIZE_SHIFT) << SegmentRow::SIZE_SHIFT
                    | SegmentRow::INDEPENDENT
            }
            false => 0,
        }
    }

    /// The row with its checksum, as it is written.
    pub fn sealed(mut self) -> SegmentRow {
        self.check = self.checksum().into();
        self
    }

    /// Whether the row is what was sealed: not torn, and not one of the zeros that a power loss leaves.
    pub fn is_intact(&self) -> bool {
        self.check.get() == self.checksum()
    }

    fn checksum(&self) -> u32 {
        let bytes = self.as_bytes();
        crc32fast::hash(&bytes[..bytes.len() - size_of::<U32>()])
    }

    /// Of the first byte behind the segment.
    pub fn end_offset(&self) -> u64 {
        self.offset.get().saturating_add(u64::from(self.size.get()))
    }

    pub fn is_independent(&self) -> bool {
        self.start.get() & SegmentRow::INDEPENDENT != 0
    }

    /// As in [`SegmentView::key_frame_size`].
    pub fn key_frame_size(&self) -> u32 {
        self.start.get() >> SegmentRow::SIZE_SHIFT
    }

    pub fn span(&self) -> Span {
        let time = Ticks(self.time.get() as i64);
        let end = Ticks(time.0.saturating_add(i64::from(self.duration.get())));
        Span { number: self.number.get(), time, end }
    }

    /// As packagers see it. `init`: see [`Run`].
    pub fn view<'a>(&self, init: &'a str) -> SegmentView<'a> {
        SegmentView {
            number: self.number.get(),
            init,
            time: Ticks(self.time.get() as i64),
            duration: Ticks(i64::from(self.duration.get())),
            discontinuities: self.discontinuities.get(),
            is_independent: self.is_independent(),
            key_frame_size: self.key_frame_size(),
            is_complete: true,
            size: u64::from(self.size.get()),
            parts: &[],
        }
    }
}

/// Rows of one track file's journal, which grows at its end and is never changed before.
pub trait Journal: Send + Sync {
    /// All that is written so far; complete rows only.
    fn rows(&self) -> &[SegmentRow];
}

/// A channel as a packager sees it: borrowed from one snapshot.
pub struct Broadcast<'a> {
    pub grid: Grid,
    /// Video by falling height, then audio, then text; never empty. Named and ordered by what the encoder calls them, never
    /// by arrival.
    pub tracks: Vec<BroadcastTrack<'a>>,
    /// First segment number a viewer may have: `EXT-X-MEDIA-SEQUENCE`. The same for all tracks.
    pub first: u64,
    /// First segment number that is not complete in every track yet.
    pub next: u64,
    /// How many segments the channel is made to list, at most: between `first` and `next` once it is old enough.
    pub window: u64,
    pub state: State,
    /// Nothing has come for so long, of no track but text, that nobody knows whether and when something follows.
    pub is_silent: bool,
    pub marks: &'a [Mark],
    /// From which segment on how many discontinuities there are, ascending: the newest. A track that has nothing where one
    /// begins agrees by it with those that come there later.
    pub discontinuities: &'a [(u64, u32)],
    /// What the operator says of captions in the pictures; empty if nothing is known of them.
    pub captions: &'a [Caption],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Ongoing,
    /// The encoder ended the stream and the channel is made to end with it, or this is a stretch of the past that is whole.
    Ended,
}

/// One track of a [`Broadcast`].
pub struct BroadcastTrack<'a> {
    pub track: &'a Track,
    /// Peak segment rate and average.
    pub rate: Bitrate,
    /// Of pictures, about the size of the largest key frame, in bytes; 0 where it is not known yet. Once it is, it changes
    /// only with what comes.
    pub key_frame_size: u32,
    /// Completed segments from the journals of the track's files, in order; older than everything in `tail`.
    pub runs: Vec<Run<'a>>,
    /// The newest segments, with their parts; the last may be open.
    pub tail: &'a [TailSegment],
    /// Of segments with the [`LEAD_SEGMENTS`] numbers below [`Broadcast::first`], as far as they are known still: what gaps at
    /// the start of the window go on from. Ascending.
    pub lead: Vec<Span>,
    /// The longest part there may be (`PART-TARGET`), in track ticks: the most whole frames that fit `Grid::part`.
    pub part_target: Ticks,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bitrate {
    /// In bits per second, both.
    pub peak: u64,
    pub average: u64,
    /// It stays so, over restarts too: the encoder states it, or it was measured in some segments. Until then it is a guess.
    pub is_settled: bool,
}

/// Where a segment lies, in track ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub number: u64,
    pub time: Ticks,
    pub end: Ticks,
}

/// How many numbers a gap may lie behind the segment that it goes on from.
pub const LEAD_SEGMENTS: u64 = 16;

/// Segments in one track file: they share its initialisation segment.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// Name of the initialisation segment: a hash of its bytes.
    pub init: &'a str,
    pub rows: &'a [SegmentRow],
}

/// A segment of the live edge.
#[derive(Clone, Debug)]
pub struct TailSegment {
    pub number: u64,
    /// Name of the initialisation segment.
    pub init: std::sync::Arc<str>,
    /// Decode time of the first sample, in track ticks since 1970.
    pub time: Ticks,
    /// In track ticks: of all parts so far.
    pub duration: Ticks,
    /// As in [`SegmentRow::discontinuities`].
    pub discontinuities: u32,
    pub is_independent: bool,
    /// As in [`SegmentView::key_frame_size`].
    pub key_frame_size: u32,
    pub is_complete: bool,
    pub parts: Vec<Part>,
}

impl TailSegment {
    pub fn span(&self) -> Span {
        Span { number: self.number, time: self.time, end: Ticks(self.time.0.saturating_add(self.duration.0)) }
    }

    /// As packagers see it.
    pub fn view(&self) -> SegmentView<'_> {
        SegmentView {
            number: self.number,
            init: &self.init,
            time: self.time,
            duration: self.duration,
            discontinuities: self.discontinuities,
            is_independent: self.is_independent,
            key_frame_size: self.key_frame_size,
            is_complete: self.is_complete,
            size: self.parts.iter().map(|part| u64::from(part.size)).sum(),
            parts: &self.parts,
        }
    }
}

/// A chunk of a segment: one `moof` and `mdat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// From the start of the track file, in bytes.
    pub offset: u64,
    pub size: u32,
    /// In track ticks.
    pub time: Ticks,
    pub duration: Ticks,
    pub is_independent: bool,
}

impl Part {
    /// Whether a part that others follow in its segment is long enough: 85% of the target (RFC 8216bis §4.4.4.9).
    pub fn is_long(duration: i64, target: i64) -> bool {
        duration.saturating_mul(100) >= target.saturating_mul(85)
    }
}

/// Something to be done at a time (SCTE 35 and other event messages).
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// The same on every server fed by the encoder: from scheme, identifier and time.
    pub id: String,
    /// Since 1970.
    pub time: Duration,
    pub duration: Option<Duration>,
    pub message: super::feed::Message,
}

/// One segment of a track, wherever it is kept.
#[derive(Clone, Copy)]
pub struct SegmentView<'a> {
    pub number: u64,
    pub init: &'a str,
    pub time: Ticks,
    pub duration: Ticks,
    pub discontinuities: u32,
    /// Whether decoding can start at its first sample, which of pictures is a key frame then.
    pub is_independent: bool,
    /// Bytes of that sample; 0 where there is none, or where it is not known without reading the segment.
    pub key_frame_size: u32,
    pub is_complete: bool,
    /// Bytes of a complete segment.
    pub size: u64,
    /// Known for the newest segments only.
    pub parts: &'a [Part],
}

impl<'a> Broadcast<'a> {
    pub fn track(&self, id: &str) -> Option<&BroadcastTrack<'a>> {
        self.tracks.iter().find(|track| track.track.id == id)
    }

    /// How far a track's playlist goes: up to the first number that is neither complete nor known to be a gap, and the parts of
    /// that. What the track has begun behind a hole counts once the other tracks have told what the hole is.
    pub fn listed(&self, live: &BroadcastTrack<'_>) -> Position {
        let complete = match live.tail.iter().rev().find(|segment| segment.is_complete) {
            Some(segment) => Some(segment.number),
            None => live.runs.iter().rev().find_map(|run| run.rows.last()).map(|row| row.number.get()),
        };
        let own = complete.map_or(self.first, |number| number + 1).max(self.first);
        let end = match live.track.kind() {
            // Text comes when it comes: it is no gap because the others have gone on.
            Kind::Text => own,
            // A hole is as long as what the others have there, which may be still to come.
            _ => live.follows(self.next).unwrap_or(own).max(self.next),
        };
        match live.open().filter(|open| open.number <= end) {
            Some(open) if open.number >= self.first => Position { number: open.number, parts: open.parts.len() as u32 },
            Some(_) => Position { number: self.first, parts: 0 },
            None => Position { number: end, parts: 0 },
        }
    }

    /// Changes with all that manifests say of the channel besides how far a track has come.
    pub fn fingerprint(&self) -> u64 {
        let mut state = DefaultHasher::new();
        let grid = self.grid;
        (grid.timescale, grid.slot, grid.phase, grid.target, grid.part).hash(&mut state);
        (self.first, self.next, self.window, self.state == State::Ended, self.is_silent).hash(&mut state);
        for live in &self.tracks {
            (&live.track.id, &live.track.codec, live.part_target).hash(&mut state);
            (live.rate.peak, live.rate.average, live.rate.is_settled, live.key_frame_size).hash(&mut state);
        }
        for caption in self.captions {
            (caption.channel.to_string(), &caption.language).hash(&mut state);
        }
        for mark in self.marks {
            (&mark.id, mark.time, mark.duration).hash(&mut state);
        }
        state.finish()
    }

    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &BroadcastTrack<'a>> + '_ {
        self.tracks.iter().filter(move |track| track.track.kind() == kind)
    }
}

impl<'a> BroadcastTrack<'a> {
    /// In order, from number `from` on. Numbers the track has nothing for are left out.
    pub fn segments(&self, from: u64) -> impl Iterator<Item = SegmentView<'a>> + '_ {
        let of_runs = self.runs.iter().flat_map(move |run| {
            let skipped = run.rows.partition_point(|row| row.number.get() < from);
            run.rows[skipped..].iter().map(|row| row.view(run.init))
        });
        let skipped = self.tail.partition_point(|segment| segment.number < from);
        of_runs.chain(self.tail[skipped..].iter().map(TailSegment::view))
    }

    /// The first number from `next` on that is not complete, as far as the tail tells.
    fn follows(&self, next: u64) -> Option<u64> {
        let from = self.tail.partition_point(|segment| segment.number < next);
        let known = from > 0 || self.tail.first().is_some_and(|segment| segment.number == next);
        let complete = self.tail[from..].iter().filter(|segment| segment.is_complete).zip(next..);
        known.then(|| next + complete.take_while(|(segment, number)| segment.number == *number).count() as u64)
    }

    /// The segment that is being made.
    pub fn open(&self) -> Option<&'a TailSegment> {
        self.tail.last().filter(|segment| !segment.is_complete)
    }
}

/// How far a track has come: everything before segment `number` is complete, and so are `parts` parts of it. Ordered, and
/// packed into one number for [`crate::base::Watch`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub number: u64,
    pub parts: u32,
}

impl Position {
    /// Parts of one segment, at most.
    pub const PARTS_MAX: u32 = (1 << Position::PART_BITS) - 1;
    const PART_BITS: u32 = 12;

    /// Keeps the order. Numbers are below 2⁵² for any time in this era.
    pub fn mark(self) -> u64 {
        (self.number << Position::PART_BITS) | u64::from(self.parts.min(Position::PARTS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_holds_what_begins_in_it() {
        let video = Timescale::new(30_000).unwrap();
        let audio = Timescale::new(48_000).unwrap();
        let grid = Grid {
            timescale: video,
            slot: Ticks(60_060),
            phase: Ticks(17),
            target: 2,
            part: Some(Duration::from_millis(500)),
        };
        for number in [0, 1, 7, 849_150_849] {
            let start = grid.start(number, video);
            assert_eq!(grid.number(start, video), number);
            assert_eq!(grid.number(Ticks(start.0 + 60_059), video), number);
            assert_eq!(grid.number(Ticks(start.0 + 60_060), video), number + 1);
            let start = grid.start(number, audio);
            assert_eq!(grid.number(start, audio), number);
            assert_eq!(grid.number(Ticks(start.0 - 1), audio), number.saturating_sub(1));
        }
        assert_eq!(grid.number(Ticks(-5), audio), 0);
    }

    #[test]
    fn rows_say_how_segments_begin() {
        for (is_independent, size, want) in [
            (true, 0, (true, 0)),
            (true, 47_000, (true, 47_000)),
            (true, u32::MAX, (true, u32::MAX >> 1)),
            (false, 47_000, (false, 0)),
        ] {
            let row = SegmentRow { start: SegmentRow::start_of(is_independent, size).into(), ..SegmentRow::default() };
            assert_eq!((row.is_independent(), row.key_frame_size()), want);
        }
        // What was written before sizes were kept.
        let row = SegmentRow { start: 1.into(), ..SegmentRow::default() };
        assert_eq!((row.is_independent(), row.key_frame_size()), (true, 0));
    }

    #[test]
    fn marks_are_ordered_as_positions_are() {
        let positions = [(0, 0), (0, 1), (0, 400), (1, 0), (900_000_000, 3), (900_000_001, 0)];
        let marks = positions.map(|(number, parts)| Position { number, parts }.mark());
        assert!(marks.is_sorted_by(|a, b| a < b), "{marks:?}");
    }
}
