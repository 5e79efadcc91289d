//! The catalog: every asset of a library directory, kept up to date by one watcher and read through snapshots.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::Asset;

/// A library directory as one server sees it. Shared by all threads.
pub struct Library {
    _root: PathBuf,
    _segment: Duration,
    catalog: ArcSwap<Catalog>,
}

/// One consistent state of the library. Immutable.
#[derive(Default)]
pub struct Catalog {
    _assets: HashMap<Box<str>, Arc<Entry>>,
}

/// An asset in the catalog, open or not.
pub struct Entry {
    _fields: (),
}

/// What is known of an asset without touching the disk.
pub enum State {
    Open(Arc<Asset>),
    /// Not open, or closed to stay within the limits: [`Library::load`] opens it, off the workers.
    Closed,
    /// It could not be opened, and was logged: 500 until it is replaced (tried again after a while).
    Damaged,
}

impl Library {
    pub fn catalog(&self) -> arc_swap::Guard<Arc<Catalog>> {
        self.catalog.load()
    }

    /// Opens the asset: maps the index, verifies its checksum, opens the track files. Blocks on the disk.
    pub fn load(&self, entry: &Arc<Entry>) {
        let _ = entry;
        todo!()
    }
}

impl Catalog {
    /// The current version of an asset.
    pub fn find(&self, asset: &str) -> Option<&Arc<Entry>> {
        let _ = asset;
        todo!()
    }

    /// The version that a versioned URL names: the current one, or one replaced less than the grace time ago. `None`: no
    /// such version (or an asset opened under another segment length).
    pub fn find_version(&self, asset: &str, version: &str) -> Option<&Arc<Entry>> {
        let _ = (asset, version);
        todo!()
    }

    /// Names in order.
    pub fn names(&self) -> Vec<&str> {
        todo!()
    }
}

impl Entry {
    /// Cheap and lock-free. `now` is the worker's coarse clock in seconds, for least-recently-used.
    pub fn state(&self, now: u64) -> State {
        let _ = now;
        todo!()
    }

    pub fn name(&self) -> &str {
        todo!()
    }

    /// As in [`crate::media::Presentation::version`]: known without opening the asset.
    pub fn version(&self) -> &str {
        todo!()
    }
}
