//! One track's time, from the source's to the track file's.
//!
//! In the source, a sample is presented at `decode time + composition offset − media_start`, plus the start delay (ISO/IEC
//! 14496-12 §8.6.6). In the asset decode times begin at 0, or later by as much as the track starts after the
//! presentation, and composition offsets are shifted by the reorder delay, so that the first picture is presented where
//! decoding starts: the decode time of a closed group of pictures is the presentation time of its key frame. What a
//! decoder needs but a listener does not hear (priming) stays in front; pictures before the cut of an edit list are
//! squeezed into the first milliseconds ([`super::lead_in`]), and those behind its end into the last ticks
//! ([`super::tail`]).
//!
//! The track file says the same with an edit list and composition offsets from 0 up. Negative ones without an edit list
//! (CMAF's `cmf2`) would mean the same, but FFmpeg's reader delays such a track by its largest negative offset (its
//! `dts_shift`), which puts picture and sound out of step by two frames or so in everything built on it.

use std::ops::Range;

use super::lead_in::{Cut, LeadIn};
use super::tail::{HIDDEN_MAX, Tail};
use crate::base::units::rescale_nearest;
use crate::base::{Ticks, Timescale};
use crate::media::fragment::Start;
use crate::media::isobmff::{Edit, SourceSample};

/// How one track's samples are numbered and timed. Times are in ticks of the track file unless a name says otherwise, and
/// these are the source's times [`Timeline::factor`], or [`LeadIn::factor`].
#[derive(Clone, Debug)]
pub struct Timeline {
    pub timescale: Timescale,
    /// Ticks of the track file in one of the source, where there is no lead-in.
    factor: i64,
    /// Source rows that are imported.
    pub rows: Range<u32>,
    /// Rows that decoding can start at, within `rows`. Empty unless video.
    pub keys: Vec<Key>,
    /// Source decode time of the first imported row.
    pub first_decode: i64,
    /// Subtracted from every composition offset, in source ticks.
    pub composition_shift: i64,
    /// Largest of what is then below 0, as a positive number: the reorder delay.
    pub reorder: i64,
    /// Hidden time at the start.
    pub priming: i64,
    /// What is done about hidden pictures.
    pub lead_in: Option<LeadIn>,
    /// What is done about pictures behind the end.
    tail: Option<Tail>,
    /// When the first presented sample is presented, on the source's clock.
    pub start_nanos: i64,
    /// How much later than the presentation the track starts; set by [`Timeline::place`].
    pub delay: i64,
    /// From the first decode time to the end of the last sample.
    pub length: i64,
    /// Of the last row, trimmed to the end of the edit list.
    pub last_duration: u32,
    pub bytes: u64,
    /// Frames a second, as [`crate::media::track::Video::frame_rate`].
    pub rate: (u32, u32),
    /// Of the largest run of one second or more, in bits a second, and the average.
    pub bits_per_second: u64,
}

/// A sample that decoding can start at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub row: u32,
    /// Source composition time.
    pub time: i64,
    pub start: Start,
}

/// When a sample is decoded and presented, in ticks of the track file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub decode_time: i64,
    pub duration: u32,
    /// Presentation time less decode time.
    pub composition_offset: i64,
}

/// What is wrong with a track's times.
#[derive(Debug, thiserror::Error)]
pub enum Error<E> {
    #[error(transparent)]
    Source(E),
    #[error("no samples")]
    Empty,
    #[error("{samples} samples, none of which is a key frame; decoding cannot start anywhere")]
    NoKeyFrame { samples: u32 },
    #[error("sample {row} (from 0): decode time {found}, expected at least {expected}, that of the sample before")]
    Backwards { row: u32, found: i64, expected: i64 },
    #[error(
        "sample {row} (from 0): decode time {found}, which is out of range or further than 2^32 ticks from the next"
    )]
    OutOfRange { row: u32, found: i64 },
    #[error("more than 2^32 samples")]
    TooMany,
    #[error("{samples} samples last {ticks} ticks together; most of them last no time at all")]
    NoTime { samples: u32, ticks: i64 },
    #[error("the edit list presents nothing of {samples} samples")]
    NothingPresented { samples: u32 },
}

/// Times are kept below this, so that sums never overflow; 1 000 years at a nanosecond a tick is 2^65.
pub const TICKS_MAX: i64 = 1 << 60;
/// Recordings count from 1970 or 1900: some 1 700 000 000 s, which leaves room in 2^62 ns.
const START_NANOS_MAX: i64 = 1 << 62;
/// Where a tick is longer than the inverse, late starts are not rounded to it: some writers count in pictures.
const FINE_TICKS: u32 = 10_000;
/// Squeezed pictures are this far apart if there is room: browsers count in microseconds, and two pictures at the same
/// one are in no order.
pub const MICROS_APART: u32 = 20;
/// Audio that is decoded before the cut of an edit list, so that a decoder has settled by then: longer than the priming
/// of every codec here (Opus asks for 80 ms, HE-AAC about 110 ms).
const AUDIO_PREROLL_DIVISOR: u32 = 4;

/// Samples with their rows, each lasting until the next one's decode time: the source's own duration does not count where
/// a fragment starts later than the one before ended. Samples without bytes are left out, so that the one before lasts as
/// long as both: writers have them for "the same picture again", and FFmpeg refuses fragments in which there are any.
pub struct Retimed<I> {
    samples: I,
    /// The next one, once known.
    ahead: Option<SourceSample>,
    /// Of the last one that was left out.
    end: i64,
    row: u32,
    duration: u32,
    started: bool,
}

impl<I: Iterator<Item = Result<SourceSample, E>>, E> Retimed<I> {
    pub fn new(samples: I) -> Retimed<I> {
        Retimed { samples, ahead: None, end: i64::MIN, row: 0, duration: 1, started: false }
    }

    /// The next sample and its row.
    pub fn next(&mut self) -> Result<Option<(u32, SourceSample)>, Error<E>> {
        if !self.started {
            self.started = true;
            self.ahead = self.next_with_bytes()?;
        }
        let Some(mut sample) = self.ahead.take() else { return Ok(None) };
        let row = self.row;
        let out_of_range = Error::OutOfRange { row, found: sample.decode_time };
        if sample.decode_time.abs() > TICKS_MAX {
            return Err(out_of_range);
        }
        if let Some(next) = self.next_with_bytes()? {
            if next.decode_time < sample.decode_time {
                let (found, expected) = (next.decode_time, sample.decode_time);
                return Err(Error::Backwards { row: row + 1, found, expected });
            }
            let duration = next.decode_time.saturating_sub(sample.decode_time);
            sample.duration = u32::try_from(duration).map_err(|_| out_of_range)?;
            self.ahead = Some(next);
        } else {
            let until = u32::try_from(self.end.saturating_sub(sample.decode_time)).unwrap_or(0);
            sample.duration = match sample.duration.max(until) {
                // Some writers do not know how long the last sample lasts.
                0 => self.duration,
                duration => duration,
            };
        }
        if sample.duration > 0 {
            self.duration = sample.duration;
        }
        self.row = row.checked_add(1).ok_or(Error::TooMany)?;
        Ok(Some((row, sample)))
    }

    fn next_with_bytes(&mut self) -> Result<Option<SourceSample>, Error<E>> {
        loop {
            let next = self.samples.next().transpose().map_err(Error::Source)?;
            match next {
                Some(empty) if empty.size == 0 => {
                    self.end = empty.decode_time.saturating_add(i64::from(empty.duration));
                }
                next => return Ok(next),
            }
        }
    }
}

/// What kind of random access point a sample is, by its bytes.
pub type RandomAccess<'a> = &'a dyn Fn(&SourceSample) -> Option<Start>;

pub fn composition_time(sample: &SourceSample) -> i64 {
    sample.decode_time + i64::from(sample.composition_offset)
}

impl Timeline {
    /// `samples` begins anew with every call. `random_access` looks at a video sample's bytes and is `None` for audio,
    /// where decoding can start anywhere.
    pub fn survey<I, E>(
        samples: impl Fn() -> I,
        edit: Edit,
        timescale: Timescale,
        random_access: Option<RandomAccess<'_>>,
    ) -> Result<Timeline, Error<E>>
    where
        I: Iterator<Item = Result<SourceSample, E>>,
    {
        let end = edit.presented.map_or(i64::MAX, |presented| edit.media_start.saturating_add(presented));
        let preroll = i64::from(timescale.per_second() / AUDIO_PREROLL_DIVISOR);
        // First pass: where decoding has to start, and which sample is the last one that is presented.
        let mut keys: Vec<Key> = Vec::new();
        let (mut first, mut last, mut count) = (None, None, 0);
        let mut walk = Retimed::new(samples());
        while let Some((row, sample)) = walk.next()? {
            let time = composition_time(&sample);
            count = row + 1;
            if time < end {
                last = Some(row);
            }
            match random_access {
                Some(random_access) => {
                    if let Some(start) =
                        (sample.sync || sample.recovery.is_some()).then(|| random_access(&sample)).flatten()
                    {
                        // Pictures cannot be cut where time goes back: only a broken table says so.
                        if keys.last().is_none_or(|last| last.time < time) {
                            if first.is_none() || time <= edit.media_start {
                                first = Some(row);
                            }
                            keys.push(Key { row, time, start });
                        }
                    }
                }
                None => {
                    let ends = time.saturating_add(i64::from(sample.duration));
                    if first.is_none() && ends > edit.media_start.saturating_sub(preroll) {
                        first = Some(row);
                    }
                }
            }
        }
        let first = match (first, count) {
            (_, 0) => return Err(Error::Empty),
            (None, samples) if random_access.is_some() => return Err(Error::NoKeyFrame { samples }),
            (None, samples) => return Err(Error::NothingPresented { samples }),
            (Some(first), _) => first,
        };
        let Some(last) = last.filter(|&last| last >= first) else {
            return Err(Error::NothingPresented { samples: count });
        };
        keys.retain(|key| (first..=last).contains(&key.row));
        // The leading pictures of an open start cannot be decoded: what is presented begins with the key frame.
        let visible = match keys.first() {
            Some(key) if key.start == Start::Open => edit.media_start.max(key.time),
            _ => edit.media_start,
        };
        let sums = Sums::of(&samples, first, last, visible, end)?;
        if sums.decode_end - sums.first_decode < i64::from(last - first) {
            return Err(Error::NoTime { samples: last - first + 1, ticks: sums.decode_end - sums.first_decode });
        }
        let start = match (random_access, sums.visible_min) {
            (Some(_), None) => return Err(Error::NothingPresented { samples: count }),
            // Nothing to be seen at the cut: the picture comes later.
            (Some(_), Some(seen)) if seen - visible >= i64::from(sums.duration_max) => seen,
            (Some(_), Some(seen)) if sums.composition_min >= visible => seen,
            // The cut lies within a picture, which is seen for the rest of its time; or within a frame of sound.
            _ => sums.composition_min.max(visible),
        };
        let priming = start - sums.composition_min;
        let mut length = sums.decode_end - sums.first_decode;
        let mut last_duration = sums.last_duration;
        let excess = length.saturating_sub(priming).saturating_sub(end.saturating_sub(start));
        if end != i64::MAX && excess > 0 && excess < i64::from(last_duration) {
            last_duration -= excess as u32;
            length -= excess;
        }
        let on_clock = start.saturating_sub(edit.media_start);
        let start_nanos = rescale_nearest(Ticks(on_clock), timescale, Timescale::NANOS)
            .and_then(|nanos| nanos.0.checked_add(edit.start_delay_nanos))
            .filter(|nanos| nanos.abs() < START_NANOS_MAX)
            .ok_or(Error::OutOfRange { row: first, found: on_clock })?;
        let timeline = Timeline {
            timescale,
            factor: 1,
            rows: first..last + 1,
            keys,
            first_decode: sums.first_decode,
            composition_shift: sums.composition_min - sums.first_decode,
            reorder: sums.composition_min - sums.first_decode - sums.offset_min,
            priming,
            lead_in: None,
            tail: None,
            start_nanos,
            delay: 0,
            length,
            last_duration,
            bytes: sums.bytes,
            rate: sums.rate(timescale, last_duration),
            bits_per_second: (u128::from(sums.bytes) * 8 * u128::from(timescale.per_second())
                / u128::try_from(length.max(1)).unwrap_or(1)) as u64,
        };
        let last_decode = sums.decode_end - i64::from(sums.last_duration);
        let end = (random_access.is_some() && !sums.hidden.is_empty()).then_some((end, last_decode, &sums.hidden));
        let finished = |timeline: Timeline| match end {
            Some((end, last_decode, hidden)) if hidden.len() < HIDDEN_MAX => {
                timeline.ended(end, last_decode, hidden.clone())
            }
            _ => timeline,
        };
        if random_access.is_none() || priming == 0 {
            return Ok(finished(timeline));
        }
        // Leading pictures of an open start, decoded without the group they need, end playback in Chromium with an error. They
        // stay before time 0, where it drops them and waits for the next key frame.
        if timeline.keys.first().is_some_and(|key| key.start == Start::Open && sums.composition_min < key.time) {
            return Ok(finished(timeline));
        }
        let cut = Cut {
            rows: timeline.rows.clone(),
            timescale,
            first_decode: timeline.first_decode,
            composition_shift: timeline.composition_shift,
            start,
            hidden: priming,
            reorder: timeline.reorder.max(0),
            duration_max: sums.duration_max.max(sums.last_duration),
            length,
        };
        let lead_in = LeadIn::plan(samples(), &cut)?;
        Ok(finished(lead_in.and_then(|lead_in| timeline.squeezed(lead_in, last_decode)).unwrap_or(timeline)))
    }

    /// Shows `hidden`, what is presented from source composition time `end` on, for next to no time. Unchanged if that
    /// would leave nothing of the track.
    fn ended(self, end: i64, last_decode: i64, hidden: Vec<(i64, u32)>) -> Timeline {
        let mut ended = self.clone();
        // A step has to be short.
        ended.refine();
        let (last, end) = (self.rows.end - 1, ended.exact_presentation(end));
        let tail = Tail::new(end, ended.timescale, self.rows.end, hidden);
        let last_decode = tail.decode_time(last, ended.exact_decode(last, last_decode));
        let first_of_tail = tail.decode_time(self.rows.start, i64::MAX);
        match u32::try_from(tail.length() - last_decode) {
            Ok(last_duration) if first_of_tail >= 0 && tail.length() <= ended.length => {
                Timeline { length: tail.length(), last_duration, tail: Some(tail), ..ended }
            }
            _ => self,
        }
    }

    /// Of a row and its source decode time, and of a source composition time, if the end is not squeezed: from the first
    /// decode time.
    fn exact_decode(&self, row: u32, source: i64) -> i64 {
        match &self.lead_in {
            None => source.saturating_sub(self.first_decode).saturating_mul(self.factor),
            Some(lead_in) => lead_in.decode_time(row, source),
        }
    }

    fn exact_presentation(&self, source: i64) -> i64 {
        match &self.lead_in {
            None => source
                .saturating_sub(self.first_decode)
                .saturating_sub(self.composition_shift)
                .saturating_mul(self.factor),
            Some(lead_in) => lead_in.unsqueezed_time(source),
        }
    }

    /// Shows what is hidden for next to no time. `None` if nothing would be left of the last picture.
    fn squeezed(&self, lead_in: LeadIn, last_decode: i64) -> Option<Timeline> {
        let length = self.length.saturating_sub(self.priming) * lead_in.factor;
        let last_duration = length.saturating_sub(lead_in.decode_time(self.rows.end - 1, last_decode));
        Some(Timeline {
            timescale: Timescale::new(u32::try_from(lead_in.factor).ok()?.checked_mul(self.timescale.per_second())?)?,
            length,
            last_duration: u32::try_from(last_duration).ok().filter(|&duration| duration > 0)?,
            reorder: lead_in.reorder,
            priming: 0,
            lead_in: Some(lead_in),
            ..self.clone()
        })
    }

    /// Places the track in a presentation that begins at `zero_nanos` of the source's clock.
    pub fn place(&mut self, zero_nanos: i64) {
        let late = self.start_nanos.saturating_sub(zero_nanos).max(0);
        let ticks = |track: &Timeline| {
            rescale_nearest(Ticks(late), Timescale::NANOS, track.timescale).map_or(0, |ticks| ticks.0).min(TICKS_MAX)
        };
        self.delay = ticks(self);
        if self.nanos(self.delay) != late && self.refine() {
            self.delay = ticks(self);
        }
    }

    /// Counts in finer ticks, if they are coarse and all times still fit their fields.
    fn refine(&mut self) -> bool {
        let coarse = self.timescale.per_second();
        let factor = FINE_TICKS.div_ceil(coarse);
        let fine = factor.checked_mul(coarse).and_then(Timescale::new);
        let fits = self.length.saturating_mul(factor.into()) <= i32::MAX.into();
        let whole = self.lead_in.is_none() && self.tail.is_none();
        let (Some(fine), true) = (fine, factor > 1 && fits && whole) else { return false };
        let by = i64::from(factor);
        self.timescale = fine;
        self.factor = by;
        self.reorder *= by;
        self.priming *= by;
        self.length *= by;
        self.last_duration *= factor;
        true
    }

    /// The times of one of `rows` in the track file.
    pub fn times(&self, row: u32, sample: &SourceSample) -> Times {
        let is_last = row + 1 == self.rows.end;
        let source = composition_time(sample);
        let mut decode_time = self.exact_decode(row, sample.decode_time);
        let mut end = self.exact_decode(row + 1, sample.decode_time + i64::from(sample.duration));
        let mut presented = match &self.lead_in {
            None => self.exact_presentation(source),
            Some(lead_in) => lead_in.presentation_time(row, source),
        };
        if let Some(tail) = &self.tail {
            decode_time = tail.decode_time(row, decode_time);
            end = tail.decode_time(row + 1, end);
            presented = tail.presentation_time(row, source, presented);
        }
        Times {
            decode_time: decode_time.saturating_add(self.delay),
            // `end` is the next row's decode time: less than 2^32 ticks away, as `Retimed` and `LeadIn::plan` check.
            duration: if is_last { self.last_duration } else { u32::try_from(end - decode_time).unwrap_or(u32::MAX) },
            composition_offset: presented.saturating_sub(decode_time),
        }
    }

    /// Presentation time, in nanoseconds, of a source composition time; of a hidden picture, that of the first visible one.
    pub fn presented_nanos(&self, composition_time: i64) -> i64 {
        let ticks = self.exact_presentation(composition_time).saturating_sub(self.priming);
        let ticks = if self.lead_in.is_some() { ticks.max(0) } else { ticks };
        self.nanos(ticks.saturating_add(self.delay))
    }

    pub fn nanos(&self, ticks: i64) -> i64 {
        let saturated = if ticks < 0 { -TICKS_MAX } else { TICKS_MAX };
        let found = rescale_nearest(Ticks(ticks), self.timescale, Timescale::NANOS).map_or(saturated, |ticks| ticks.0);
        found.clamp(-TICKS_MAX, TICKS_MAX)
    }

    /// When the last sample ends, in nanoseconds of the presentation.
    pub fn end_nanos(&self) -> i64 {
        self.nanos(self.delay.saturating_add(self.length).saturating_sub(self.priming))
    }

    pub fn sample_count(&self) -> u32 {
        self.rows.end - self.rows.start
    }
}

/// Second pass: what is known once the rows are.
struct Sums {
    first_decode: i64,
    decode_end: i64,
    last_duration: u32,
    composition_min: i64,
    /// Smallest composition offset.
    offset_min: i64,
    /// Earliest composition time that is presented.
    visible_min: Option<i64>,
    /// Composition time and row of what is presented behind the end, [`HIDDEN_MAX`] at most.
    hidden: Vec<(i64, u32)>,
    bytes: u64,
    count: u64,
    duration_min: u32,
    duration_max: u32,
}

impl Sums {
    fn of<I, E>(samples: &impl Fn() -> I, first: u32, last: u32, visible: i64, end: i64) -> Result<Sums, Error<E>>
    where
        I: Iterator<Item = Result<SourceSample, E>>,
    {
        let mut sums = Sums {
            first_decode: 0,
            decode_end: 0,
            last_duration: 0,
            composition_min: i64::MAX,
            offset_min: i64::MAX,
            visible_min: None,
            hidden: Vec::new(),
            bytes: 0,
            count: 0,
            duration_min: u32::MAX,
            duration_max: 0,
        };
        let mut walk = Retimed::new(samples());
        while let Some((row, sample)) = walk.next()? {
            if row < first {
                continue;
            }
            if row == first {
                sums.first_decode = sample.decode_time;
            }
            let time = composition_time(&sample);
            sums.composition_min = sums.composition_min.min(time);
            sums.offset_min = sums.offset_min.min(i64::from(sample.composition_offset));
            if time >= visible {
                sums.visible_min = Some(sums.visible_min.map_or(time, |min| min.min(time)));
            }
            if time >= end && sums.hidden.len() < HIDDEN_MAX {
                sums.hidden.push((time, row));
            }
            sums.bytes += u64::from(sample.size);
            sums.count += 1;
            sums.decode_end = sample.decode_time + i64::from(sample.duration);
            sums.last_duration = sample.duration;
            if row == last {
                break;
            }
            // The last one may be cut short or made up, and says nothing about the rate.
            sums.duration_min = sums.duration_min.min(sample.duration);
            sums.duration_max = sums.duration_max.max(sample.duration);
        }
        Ok(sums)
    }

    /// Exact where all durations are equal, or as equal as whole ticks allow for a rate in common use.
    fn rate(&self, timescale: Timescale, last_duration: u32) -> (u32, u32) {
        let scale = u64::from(timescale.per_second());
        if self.count == 1 {
            return reduced(scale, u64::from(last_duration.max(1)));
        }
        if self.duration_min == self.duration_max && self.duration_min > 0 {
            return reduced(scale, u64::from(self.duration_min));
        }
        let ticks = (self.decode_end - self.first_decode - i64::from(self.last_duration)).max(1);
        let average = (self.count - 1) as f64 * scale as f64 / ticks as f64;
        if self.duration_max - self.duration_min <= 1 {
            let near = COMMON_RATES.iter().find(|(num, den)| {
                let rate = f64::from(*num) / f64::from(*den);
                // Within what one tick of rounding at either end makes of the whole.
                (average - rate).abs() / rate <= (2.0 / ticks as f64).max(1e-6)
            });
            if let Some(&rate) = near {
                return rate;
            }
        }
        reduced((average * 1_000.0).round().clamp(1.0, 4e9) as u64, 1_000)
    }
}

const COMMON_RATES: [(u32, u32); 12] = [
    (24_000, 1_001),
    (24, 1),
    (25, 1),
    (30_000, 1_001),
    (30, 1),
    (48, 1),
    (50, 1),
    (60_000, 1_001),
    (60, 1),
    (100, 1),
    (120_000, 1_001),
    (120, 1),
];

fn reduced(num: u64, den: u64) -> (u32, u32) {
    let (mut a, mut b) = (num, den);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let part = |value: u64| u32::try_from(value / a.max(1)).unwrap_or(u32::MAX).max(1);
    (part(num), part(den))
}

#[cfg(test)]
mod tests;
