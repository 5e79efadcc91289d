//! MPEG-DASH (ISO/IEC 23009-1).

mod descriptor;
mod element;
mod mpd;
mod switching_set;
mod timeline;

pub use mpd::mpd;
