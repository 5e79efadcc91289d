//! Everything unsafe or particular to Linux, behind safe calls.

pub mod file;

pub use file::MappedFile;
