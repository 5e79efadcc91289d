//! Everything unsafe or particular to Linux, behind safe calls.

pub mod affinity;
pub mod crash;
pub mod directory;
pub mod fault;
pub mod file;
pub mod files_limit;
pub mod growing;
pub mod notify;
pub mod pipe;
pub mod populate;
pub mod probe;
pub mod residency;
pub mod ring;
pub mod socket;
pub mod transfer;
pub mod wake;
pub mod writeback;

pub use affinity::CpuList;
pub use file::MappedFile;
pub use growing::GrowingMap;
pub use ring::Pollable;
pub use wake::{Ticker, Wake};
