//! Files: track files and their mapped index.

pub mod index;
pub mod index_writer;
pub mod layout;
pub mod track_file;

pub use index::Index;
pub use track_file::TrackFile;
