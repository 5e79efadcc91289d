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
mod tests {
    use super::*;

    type Failure = std::convert::Infallible;

    fn sample(decode_time: i64, duration: u32, composition_offset: i32, sync: bool) -> SourceSample {
        SourceSample { offset: 0, size: 10, decode_time, duration, composition_offset, sync, flags: 0, recovery: None }
    }

    fn survey(samples: &[SourceSample], edit: Edit, scale: u32, video: bool) -> Result<Timeline, Error<Failure>> {
        let closed: &dyn Fn(&SourceSample) -> Option<Start> = &|sample| sample.sync.then_some(Start::Closed);
        let source = || samples.iter().map(|sample| Ok(*sample));
        Timeline::survey(source, edit, Timescale::new(scale).unwrap(), video.then_some(closed))
    }

    fn edit(media_start: i64, start_delay_nanos: i64, presented: Option<i64>) -> Edit {
        Edit { media_start, start_delay_nanos, presented }
    }

    /// A GOP of I B P in decode order I P B, every 1000 ticks, as encoders write it: shifted by one frame.
    fn gops(count: i64) -> Vec<SourceSample> {
        gops_of(count, 1_000)
    }

    fn gops_of(count: i64, ticks: i64) -> Vec<SourceSample> {
        let picture = |number: i64, offset, sync| sample(number * ticks, ticks as u32, offset * ticks as i32, sync);
        (0..count * 3)
            .step_by(3)
            .flat_map(|at| [picture(at, 1, true), picture(at + 1, 2, false), picture(at + 2, 0, false)])
            .collect()
    }

    #[test]
    fn reorder_delay_is_shifted_away() {
        let timeline = survey(&gops(2), edit(1_000, 0, None), 25_000, true).unwrap();
        assert_eq!((timeline.composition_shift, timeline.priming, timeline.start_nanos), (1_000, 0, 0));
        assert_eq!((timeline.rows.clone(), timeline.length, timeline.rate), (0..6, 6_000, (25, 1)));
        assert_eq!(timeline.presented_nanos(4_000), 120_000_000);
        // Without an edit list the first picture is late on the source's clock, and still first in the track file.
        let timeline = survey(&gops(2), Edit::default(), 25_000, true).unwrap();
        assert_eq!((timeline.composition_shift, timeline.priming, timeline.start_nanos), (1_000, 0, 40_000_000));
        assert_eq!(timeline.reorder, 1_000);
    }

    #[test]
    fn negative_offsets_mean_the_same() {
        let mut signed = gops(2);
        signed.iter_mut().for_each(|sample| sample.composition_offset -= 1_000);
        let timeline = survey(&signed, Edit::default(), 25_000, true).unwrap();
        assert_eq!((timeline.composition_shift, timeline.reorder), (0, 1_000));
        assert_eq!((timeline.priming, timeline.start_nanos), (0, 0));
    }

    /// (decode time, duration, presentation time) of every imported row.
    fn written(timeline: &Timeline, samples: &[SourceSample]) -> Vec<(i64, u32, i64)> {
        let mut rows = Retimed::new(samples.iter().map(|sample| Ok::<_, Failure>(*sample)));
        let mut written = Vec::new();
        while let Some((row, sample)) = rows.next().unwrap() {
            if timeline.rows.contains(&row) {
                let times = timeline.times(row, &sample);
                written.push((times.decode_time, times.duration, times.decode_time + times.composition_offset));
            }
        }
        written
    }

    #[test]
    fn an_edit_list_that_cuts_into_a_group_squeezes_what_decoding_needs() {
        // Presentation begins with the second picture of the third GOP; the first two GOPs are not needed.
        let timeline = survey(&gops(4), edit(8_000, 0, None), 25_000, true).unwrap();
        assert_eq!(timeline.rows, 6..12);
        assert_eq!((timeline.priming, timeline.length, timeline.rate), (0, 5_000, (25, 1)));
        assert_eq!((timeline.start_nanos, timeline.keys.len()), (0, 2));
        assert_eq!((timeline.presented_nanos(7_000), timeline.presented_nanos(10_000)), (0, 80_000_000));
        assert_eq!(
            written(&timeline, &gops(4)),
            [
                // I, P and B, of which B is seen before P and only a tick late; the fourth GOP is where it was.
                (0, 1, 0),
                (1, 999, 1_000),
                (1_000, 1_000, 1),
                (2_000, 1_000, 2_000),
                (3_000, 1_000, 4_000),
                (4_000, 1_000, 3_000),
            ]
        );
    }

    /// Groups of 48 pictures, I b B b P b B b P …, decoded as I P B b b P B b b …: reordered by two.
    fn pyramids(groups: i64, ticks: i64, open: bool) -> Vec<SourceSample> {
        let mut order: Vec<i64> = Vec::new();
        for group in 0..groups {
            let at = group * 48;
            order.push(at);
            // The leading pictures of an open group are decoded after its key frame.
            if open && group > 0 {
                order.extend([at - 2, at - 3, at - 1]);
            }
            order.extend((1..12).flat_map(|number| [4, 2, 1, 3].map(|display| at + (number - 1) * 4 + display)));
            if !open || group + 1 == groups {
                order.extend([at + 47, at + 45, at + 46]);
            }
        }
        order
            .iter()
            .enumerate()
            .map(|(number, display)| {
                let offset = (display + 2 - number as i64) * ticks;
                sample(number as i64 * ticks, ticks as u32, offset as i32, display % 48 == 0)
            })
            .collect()
    }

    #[test]
    fn squeezed_lead_ins_hold_whatever_is_cut() {
        for (scale, ticks) in [(12_800, 512), (25, 1), (600, 24), (90_000, 3_600), (10_000_000, 400_000), (1_000, 1)] {
            let samples = pyramids(4, ticks, false);
            for cut in (0..100).map(|cut| cut * ticks / 2 + 60 * ticks).chain([99 * ticks - 1, 99 * ticks + 1]) {
                let what = format!("{ticks} ticks of 1/{scale} s, cut at {cut}");
                let timeline = survey(&samples, edit(cut, 0, None), scale, true).unwrap();
                let scale = Timescale::new(scale).unwrap();
                let rows = written(&timeline, &samples);
                let factor = i64::from(timeline.timescale.per_second() / scale.per_second());
                assert_eq!(timeline.priming, 0, "{what}");
                assert_eq!(timeline.rate.0 / timeline.rate.1, scale.per_second() / ticks as u32, "{what}");
                // Decode times ascend, and durations say so.
                assert_eq!(rows[0].0, 0, "{what}");
                for pair in rows.windows(2) {
                    assert!(pair[0].0 < pair[1].0, "{what}");
                    assert_eq!(pair[0].0 + i64::from(pair[0].1), pair[1].0, "{what}");
                }
                let end = rows.last().unwrap();
                assert_eq!(end.0 + i64::from(end.1), timeline.length, "{what}");
                // Nothing is presented before time 0 or before it is decoded, and the order is the source's.
                assert!(rows.iter().all(|row| row.2 >= 0 && row.2 - row.0 + timeline.reorder >= 0), "{what}");
                let source = &samples[timeline.rows.start as usize..timeline.rows.end as usize];
                let mut order: Vec<(i64, i64)> =
                    source.iter().map(composition_time).zip(rows.iter().map(|row| row.2)).collect();
                order.sort_unstable();
                assert!(order.windows(2).all(|pair| pair[0].1 < pair[1].1), "{what}: {order:?}");
                // What is hidden is squeezed, and everything behind the first visible picture is exact.
                let limit = i64::from(timeline.timescale.per_second()) * 4 / 1_000;
                let first = order.partition_point(|(time, _)| *time <= cut) - 1;
                for &(time, presented) in &order {
                    let exact = (time - cut) * factor;
                    let squeezed = exact <= limit;
                    assert!(if squeezed { presented <= limit } else { presented == exact }, "{what}: {time}");
                }
                assert!(order[first].1 <= limit, "{what}");
                assert_eq!(timeline.start_nanos, 0, "{what}");
            }
        }
    }

    #[test]
    fn what_cannot_be_squeezed_stays_hidden_by_an_edit_list() {
        // A timescale that leaves no factor.
        let samples = [sample(0, u32::MAX, 0, true), sample(i64::from(u32::MAX), 1, 0, false)];
        let timeline = survey(&samples, edit(i64::from(u32::MAX), 0, None), 1, true).unwrap();
        assert_eq!((timeline.priming, timeline.timescale.per_second()), (i64::from(u32::MAX), 1));
        // The leading pictures of an open start: three before the key frame, which is the fourth; 12 more are hidden.
        let samples = pyramids(4, 512, true);
        let open: &dyn Fn(&SourceSample) -> Option<Start> = &|sample| sample.sync.then_some(Start::Open);
        let source = || samples.iter().map(|sample| Ok::<_, Failure>(*sample));
        let scale = Timescale::new(12_800).unwrap();
        let timeline = Timeline::survey(source, edit(62 * 512, 0, None), scale, Some(open)).unwrap();
        assert_eq!((timeline.priming, timeline.timescale), (15 * 512, scale));
    }

    #[test]
    fn what_is_decoded_before_the_end_and_presented_behind_it_is_squeezed() {
        for (scale, ticks, presented) in
            [(12_800, 512, 100), (25, 1, 99), (600, 24, 98), (90_000, 3_600, 97), (1_000, 40, 60)]
        {
            let what = format!("{presented} pictures of {ticks} ticks of 1/{scale} s");
            let samples = pyramids(4, ticks, false);
            let start = 2 * ticks;
            let timeline = survey(&samples, edit(start, 0, Some(presented * ticks)), scale, true).unwrap();
            let rows = written(&timeline, &samples);
            let factor = i64::from(timeline.timescale.per_second() / scale);
            let end = presented * ticks * factor;
            assert_eq!((timeline.rows.start, timeline.priming), (0, 0), "{what}");
            let hidden: Vec<i64> = rows.iter().map(|row| row.2).filter(|&presented| presented >= end).collect();
            assert_eq!(rows.len() - hidden.len(), presented as usize, "{what}");
            // Less than a millisecond is added, and every visible picture is exact.
            assert!(
                (0..=i64::from(timeline.timescale.per_second()) / 1_000).contains(&(timeline.length - end)),
                "{what}"
            );
            assert!(hidden.iter().all(|&presented| presented < timeline.length), "{what}");
            for (row, sample) in rows.iter().zip(&samples) {
                let exact = (composition_time(sample) - start) * factor;
                assert!(row.2 == exact || exact >= end, "{what}: {row:?}");
                assert!(row.2 - row.0 + timeline.reorder >= 0, "{what}: {row:?}");
            }
            for pair in rows.windows(2) {
                assert!(pair[0].0 < pair[1].0 && pair[0].0 + i64::from(pair[0].1) == pair[1].0, "{what}: {pair:?}");
            }
            let last = rows.last().unwrap();
            assert_eq!(last.0 + i64::from(last.1), timeline.length, "{what}");
        }
    }

    #[test]
    fn late_starts_are_not_rounded_to_coarse_ticks() {
        // Half a second is twelve and a half pictures.
        let mut timeline = survey(&gops_of(4, 1), edit(1, 500_000_000, None), 25, true).unwrap();
        timeline.place(0);
        assert_eq!((timeline.timescale.per_second(), timeline.delay, timeline.length), (10_000, 5_000, 4_800));
        assert_eq!(
            written(&timeline, &gops_of(4, 1))[..3],
            [(5_000, 400, 5_000), (5_400, 400, 5_800), (5_800, 400, 5_400)]
        );
        assert_eq!((timeline.nanos(timeline.delay), timeline.presented_nanos(4)), (500_000_000, 620_000_000));
        // What is not rounded stays.
        let mut timeline = survey(&gops_of(4, 1), edit(1, 480_000_000, None), 25, true).unwrap();
        timeline.place(0);
        assert_eq!((timeline.timescale.per_second(), timeline.delay), (25, 12));
    }

    #[test]
    fn recordings_count_from_1970_or_1900() {
        for seconds in [1_800_000_000, 4_000_000_000_i64] {
            for scale in [48_000, 10_000_000] {
                let at = seconds * i64::from(scale);
                let frames: Vec<SourceSample> = (0..4).map(|number| sample(at + number * 100, 100, 0, true)).collect();
                let mut timeline = survey(&frames, Edit::default(), scale, true).unwrap();
                assert_eq!(timeline.start_nanos, seconds * 1_000_000_000);
                timeline.place(timeline.start_nanos - 1_000_000_000);
                assert_eq!(timeline.delay, i64::from(scale));
            }
        }
    }

    #[test]
    fn audio_keeps_its_priming_and_loses_its_padding() {
        let frames: Vec<SourceSample> = (0..10).map(|number| sample(number * 1_024, 1_024, 0, true)).collect();
        let timeline = survey(&frames, edit(1_024, 0, Some(8_700)), 48_000, false).unwrap();
        assert_eq!((timeline.priming, timeline.rows.clone(), timeline.length), (1_024, 0..10, 9_724));
        assert_eq!(timeline.last_duration, 1_024 - 516);
        // A late start moves it on the clock; frames after the end go.
        let mut timeline = survey(&frames, edit(0, 10_000_000, Some(2_048)), 48_000, false).unwrap();
        assert_eq!((timeline.rows.clone(), timeline.start_nanos), (0..2, 10_000_000));
        timeline.place(4_000_000);
        assert_eq!((timeline.delay, timeline.times(1, &frames[1]).decode_time), (288, 1_312));
        // Far into the track, the decoder gets a quarter of a second to settle.
        let long: Vec<SourceSample> = (0..1_000).map(|number| sample(number * 1_024, 1_024, 0, true)).collect();
        let timeline = survey(&long, edit(500_000, 0, None), 48_000, false).unwrap();
        assert_eq!(timeline.rows, 476..1_000);
        assert_eq!(timeline.priming, 500_000 - 476 * 1_024);
    }

    #[test]
    fn gaps_are_filled_and_the_last_duration_is_found() {
        let samples = [sample(900, 500, 0, true), sample(2_900, 1_000, 0, false), sample(3_900, 0, 0, false)];
        let timeline = survey(&samples, Edit::default(), 1_000, true).unwrap();
        assert_eq!((timeline.length, timeline.last_duration), (4_000, 1_000));
    }

    #[test]
    fn samples_without_bytes_lengthen_the_one_before() {
        let mut samples: Vec<SourceSample> = (0..8).map(|number| sample(number * 40, 40, 0, number == 1)).collect();
        for empty in [0, 3, 4, 7] {
            samples[empty].size = 0;
        }
        let timeline = survey(&samples, Edit::default(), 1_000, true).unwrap();
        assert_eq!((timeline.rows.clone(), timeline.length, timeline.start_nanos), (0..4, 280, 40_000_000));
        assert_eq!(written(&timeline, &samples), [(0, 40, 0), (40, 120, 40), (160, 40, 160), (200, 80, 200)]);
        let error = survey(&samples[3..5], Edit::default(), 1_000, true).unwrap_err();
        assert_eq!(error.to_string(), "no samples");
    }

    #[test]
    fn frame_rates() {
        for (scale, durations, want) in [
            (30_000, vec![1_001; 50], (30_000, 1_001)),
            (90_000, [3_003, 3_004].repeat(40), (29_965, 1_000)),
            (90_000, [3_754, 3_754, 3_753, 3_754].repeat(200), (23_976, 1_000)),
            (1_000, [33, 33, 34].repeat(100), (30, 1)),
            (1_000, [40, 80].repeat(50), (16_723, 1_000)),
            (12_800, vec![512], (25, 1)),
        ] {
            let mut at = 0;
            let samples: Vec<SourceSample> = durations
                .iter()
                .map(|&duration| {
                    at += i64::from(duration);
                    sample(at - i64::from(duration), duration, 0, true)
                })
                .collect();
            let rate = survey(&samples, Edit::default(), scale, true).unwrap().rate;
            let close = (f64::from(rate.0) / f64::from(rate.1) - f64::from(want.0) / f64::from(want.1)).abs() < 0.01;
            assert!(close, "{scale}: {rate:?}, expected {want:?}");
            if want.1 != 1_000 {
                assert_eq!(rate, want);
            }
        }
    }

    #[test]
    fn tracks_that_cannot_be_timed() {
        let cases: [(&[SourceSample], Edit, &str); 5] = [
            (&[], Edit::default(), "no samples"),
            (&[sample(0, 1, 0, false)], Edit::default(), "1 samples, none of which is a key frame"),
            (&[sample(5, 1, 0, true), sample(4, 1, 0, true)], Edit::default(), "sample 1 (from 0): decode time 4"),
            (&[sample(i64::MAX, 1, 0, true)], Edit::default(), "out of range"),
            (&[sample(0, 10, 0, true)], edit(0, 0, Some(-5)), "presents nothing"),
        ];
        for (samples, edit, want) in cases {
            let error = survey(samples, edit, 1_000, true).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
