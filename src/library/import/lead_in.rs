//! Pictures that decoding needs and nobody is to see: those before an edit that begins inside a group of pictures.
//!
//! An edit list could hide them, but Media Source Extensions drop what is presented before time 0, the key frame with it,
//! and then wait for the next key frame; and FFmpeg hides nothing in fragmented files. So they are shown, for no time that
//! anybody notices: the first at 0, the others a few ticks apart, all within [`ALLOWANCE_MILLIS`]. The first picture that
//! is meant to be seen follows, shortened by what they take, and everything after it keeps its exact time:
//!
//! ```text
//! source     K  h  h  h |V |w  x   …      presented; the edit begins at the bar
//! track file Khhh V |w  x   …             presented, and decoded likewise
//! ```
//!
//! Decode times are squeezed in the same way, in decode order, until the source's have caught up.

use std::ops::Range;

use super::timeline::{Error, MICROS_APART, Retimed, TICKS_MAX, composition_time};
use crate::base::Timescale;
use crate::base::limits::FRAGMENT_SAMPLES_MAX;
use crate::media::isobmff::SourceSample;

/// The squeezed times of a track's beginning. Source times are in source ticks, all others in ticks of the track file.
#[derive(Clone, Debug)]
pub struct LeadIn {
    /// Ticks of the track file in one of the source: coarse timescales have no room for the hidden pictures.
    pub factor: i64,
    /// The reorder delay: source offsets and squeezed ones.
    pub reorder: i64,
    /// Between two squeezed pictures.
    step: i64,
    /// Source composition time, and source decode time, of time 0.
    start: i64,
    decode_start: i64,
    first_row: u32,
    /// From this row on decode times are the source's.
    caught_up: u32,
    /// In presentation order: the hidden pictures, and last the first visible one.
    border: Vec<Picture>,
}

/// Ordered by presentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Picture {
    time: i64,
    row: u32,
    decode_time: i64,
}

/// What [`LeadIn::plan`] has to know of the track. Times are in source ticks.
pub struct Cut {
    pub rows: Range<u32>,
    pub timescale: Timescale,
    pub first_decode: i64,
    /// Subtracted from composition offsets where nothing is squeezed.
    pub composition_shift: i64,
    /// The composition time that is presented first.
    pub start: i64,
    /// How much earlier the first picture would be presented.
    pub hidden: i64,
    pub reorder: i64,
    pub duration_max: u32,
    pub length: i64,
}

/// What all hidden pictures take at most: less than a picture lasts at any usual rate, and out of step with sound by less
/// than anybody hears.
pub const ALLOWANCE_MILLIS: i64 = 4;
const STEPS_PER_SECOND: i64 = 1_000_000 / MICROS_APART as i64;

impl LeadIn {
    /// `None` where times would not fit their fields: very long samples at a very fine timescale.
    pub fn plan<I, E>(samples: I, cut: &Cut) -> Result<Option<LeadIn>, Error<E>>
    where
        I: Iterator<Item = Result<SourceSample, E>>,
    {
        let scale = i64::from(cut.timescale.per_second());
        let decode_start = cut.first_decode.saturating_add(cut.hidden);
        let allows = |ticks: i64| i128::from(ticks) * 1_000 <= i128::from(ALLOWANCE_MILLIS * scale);
        let mut border: Vec<Picture> = Vec::new();
        // Decode times of rows that are to be decoded within the allowance or before.
        let mut early: Vec<i64> = Vec::new();
        let mut offset_max = cut.reorder;
        let mut walk = Retimed::new(samples);
        while let Some((row, sample)) = walk.next()? {
            if row < cut.rows.start {
                continue;
            }
            if row >= cut.rows.end {
                break;
            }
            let time = composition_time(&sample);
            offset_max = offset_max.max(i64::from(sample.composition_offset).saturating_sub(cut.composition_shift));
            if allows(time.saturating_sub(cut.start)) {
                border.push(Picture { time, row, decode_time: sample.decode_time });
            }
            if allows(sample.decode_time.saturating_sub(decode_start)) {
                early.push(sample.decode_time);
            }
            if border.len().max(early.len()) > FRAGMENT_SAMPLES_MAX {
                return Ok(None);
            }
        }
        border.sort_unstable();

        // Neither order needs more steps than this.
        let steps = border.len().max(early.len()) as i64;
        let factor = ceil(steps * 1_000, ALLOWANCE_MILLIS * scale).max(1);
        let fits = |value: i64, max: i64| i128::from(value) * i128::from(factor) <= i128::from(max);
        let longest = offset_max.saturating_add(cut.reorder);
        if !(fits(scale, u32::MAX.into())
            && fits(cut.duration_max.into(), u32::MAX.into())
            && fits(longest, i32::MAX.into())
            && fits(cut.length.max(cut.hidden), TICKS_MAX))
        {
            return Ok(None);
        }
        let allowance = scale * factor * ALLOWANCE_MILLIS / 1_000;
        let step = ceil(scale * factor, STEPS_PER_SECOND).min(allowance / steps.max(1)).max(1);
        let caught_up = early
            .iter()
            .enumerate()
            .position(|(number, decode_time)| (decode_time - decode_start) * factor >= number as i64 * step)
            .unwrap_or(early.len());
        let mut lead_in = LeadIn {
            factor,
            reorder: cut.reorder * factor,
            step,
            start: cut.start,
            decode_start,
            first_row: cut.rows.start,
            caught_up: cut.rows.start + caught_up as u32,
            border,
        };
        let early = lead_in.border.iter().map(|picture| {
            lead_in.decode_time(picture.row, picture.decode_time) - lead_in.presentation_time(picture.row, picture.time)
        });
        lead_in.reorder = early.fold(lead_in.reorder, i64::max);
        Ok(Some(lead_in))
    }

    /// From 0, of a row and its source decode time. Ascends with both, and strictly while it is squeezed.
    pub fn decode_time(&self, row: u32, source: i64) -> i64 {
        if row < self.caught_up {
            return i64::from(row.saturating_sub(self.first_row)) * self.step;
        }
        source.saturating_sub(self.decode_start).saturating_mul(self.factor)
    }

    /// What the source has for a composition time: negative for hidden pictures.
    pub fn unsqueezed_time(&self, source: i64) -> i64 {
        source.saturating_sub(self.start).saturating_mul(self.factor)
    }

    /// From 0, of a row and its source composition time.
    pub fn presentation_time(&self, row: u32, source: i64) -> i64 {
        let exact = self.unsqueezed_time(source);
        let place = self.border.binary_search_by_key(&(source, row), |picture| (picture.time, picture.row));
        match place {
            Ok(place) if place + 1 < self.border.len() => place as i64 * self.step,
            Ok(place) => exact.max(place as i64 * self.step),
            Err(_) => exact,
        }
    }
}

fn ceil(ticks: i64, of: i64) -> i64 {
    (ticks + of - 1) / of
}
