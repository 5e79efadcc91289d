//! ISO base media files (ISO/IEC 14496-12): reading sources and writing CMAF track files.

pub mod write;
