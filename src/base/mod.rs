//! The words every other module speaks in: units of time, instants, pieces of answers, bounded reading, limits, counters,
//! watermarks.

pub mod calendar;
pub mod counters;
pub mod cursor;
pub mod growing;
pub mod instant;
pub mod limits;
pub mod payload;
pub mod units;
pub mod watch;
pub mod xml;

pub use growing::Growing;
pub use payload::{Extent, Payload, Piece, Stored};
pub use units::{Ticks, Timescale};
pub use watch::{Watch, Watermark};
