//! MPEG-DASH (ISO/IEC 23009-1).

mod descriptor;
mod live;
mod mpd;
mod switching_set;
mod thumbnails;
mod timeline;
mod trick_mode;

pub use live::live_mpd;
pub use mpd::{mpd, stretch_mpd};
