//! Pictures that decoding needs and nobody is to see: those after the end of an edit list. The last visible pictures are
//! predicted from one that is presented behind the edit's end, so it is there, and shown for no time that anybody notices:
//!
//! ```text
//! source     …  v  v |h      decoded …  h  v  v;  the edit ends at the bar
//! track file …  v  v |h      decoded …  h vv
//! ```
//!
//! What is seen keeps its exact time, and the track ends with the edit, but for a few ticks. See [`super::lead_in`] for
//! the other end.

use super::timeline::MICROS_APART;
use crate::base::Timescale;

/// The squeezed times of a track's end, in ticks of the track file from its first decode time.
#[derive(Clone, Debug)]
pub struct Tail {
    /// When the last visible picture ends.
    end: i64,
    /// Between two squeezed pictures, and two decode times.
    step: i64,
    rows_end: u32,
    /// Source composition time and row, ascending.
    hidden: Vec<(i64, u32)>,
}

/// Decoders reorder by 16 pictures at most (ISO/IEC 14496-10 §A.3.1, ISO/IEC 23008-2 §A.4.2); more than these are no tail.
pub const HIDDEN_MAX: usize = 32;

impl Tail {
    /// `hidden` are those behind `end` by source composition time.
    pub fn new(end: i64, timescale: Timescale, rows_end: u32, mut hidden: Vec<(i64, u32)>) -> Tail {
        hidden.sort_unstable();
        let step = i64::from(timescale.per_second().div_ceil(1_000_000 / MICROS_APART));
        Tail { end, step, rows_end, hidden }
    }

    /// When the last of all ends.
    pub fn length(&self) -> i64 {
        self.end.saturating_add(self.step * self.hidden.len() as i64)
    }

    /// Of a row, given its decode time if nothing were squeezed.
    pub fn decode_time(&self, row: u32, exact: i64) -> i64 {
        let last = self.length() - i64::from(self.rows_end.saturating_sub(row)).saturating_mul(self.step);
        exact.min(last)
    }

    /// Of a row and its source composition time, given what it would be if nothing were squeezed.
    pub fn presentation_time(&self, row: u32, source: i64, exact: i64) -> i64 {
        match self.hidden.binary_search(&(source, row)) {
            Ok(place) => self.end.saturating_add(self.step * place as i64),
            Err(_) => exact,
        }
    }
}
