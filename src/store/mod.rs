//! Files: track files and their mapped index; what is made of them; growing ones and their journal; objects.

pub mod channel_dir;
pub mod derived;
pub mod growing_file;
pub mod index;
pub mod index_writer;
pub mod journal;
pub mod layout;
pub mod objects;
pub mod scan;
pub mod track_file;

pub use channel_dir::ChannelDir;
pub use growing_file::GrowingFile;
pub use index::Index;
pub use journal::Journal;
pub use objects::Objects;
pub use track_file::TrackFile;
