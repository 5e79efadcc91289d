//! Files: track files and their mapped index.

pub mod index;
pub mod track_file;
