//! ISO base media files (ISO/IEC 14496-12): reading sources and writing CMAF track files.
//!
//! Reading borrows everything from the file, which the caller has mapped: [`Movie::parse`] checks the structure and
//! [`SourceTrack::samples`] walks the tables or fragments in place, so memory does not grow with the input.

mod boxes;
pub mod chunk;
mod edit;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod fragments;
mod groups;
pub mod language;
mod matrix;
mod moof;
mod movie;
mod samples;
mod source_track;
pub mod stored;
pub mod stream;
mod tables;
mod user_data;
pub mod write;

pub use boxes::{FourCc, Path};
pub use chunk::Chunk;
pub use edit::Edit;
pub use error::{Error, Problem};
pub use matrix::Matrix;
pub use movie::Movie;
pub use samples::{Samples, SourceSample};
pub use source_track::{Handler, SampleEntry, SourceTrack};
pub use user_data::TrackRole;
