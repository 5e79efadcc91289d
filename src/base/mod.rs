//! The words every other module speaks in: units of time, pieces of answers, bounded reading, limits, counters.

pub mod counters;
pub mod cursor;
pub mod limits;
pub mod payload;
pub mod units;

pub use payload::{Extent, Payload, Piece, Stored};
pub use units::{Ticks, Timescale};
