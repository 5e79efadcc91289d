//! Assets: what is in the library, which of them are open, and how they get there.

pub mod asset;
pub mod catalog;
pub mod import;

pub use asset::Asset;
pub use catalog::{Catalog, Entry, Library};
