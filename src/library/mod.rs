//! Assets: what is in the library, which of them are open, and how they get there.

pub mod asset;
pub mod catalog;
pub mod entry;
pub mod folder;
pub mod harvest;
pub mod import;
pub mod version;
pub mod watcher;

pub use asset::Asset;
pub use catalog::{Catalog, Library, Options};
pub use entry::{Entry, State};
pub use folder::Folder;
pub use harvest::harvest;
pub use version::Version;
pub use watcher::Watcher;
