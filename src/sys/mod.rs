//! Everything unsafe or particular to Linux, behind safe calls.

pub mod file;
pub mod writeback;

pub use file::MappedFile;
