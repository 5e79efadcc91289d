//! One version of an asset in the catalog, open or not.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use super::Asset;
use super::version::Version;

/// An asset in the catalog, open or not.
pub struct Entry {
    name: Box<str>,
    /// The directory on disk.
    content: Version,
    /// What URLs name.
    served: Version,
    asset: ArcSwapOption<Asset>,
    /// When a worker last asked for it, in seconds of the workers' clock.
    used: AtomicU64,
    /// The second in which the open asset was last found whole and in memory.
    looked: AtomicU64,
    /// Not tried again before this second; 0 unless it is damaged.
    damaged_until: AtomicU64,
    /// Whether what is wrong with it was said: once, until it can be opened again.
    complained: AtomicBool,
    /// Held by whoever opens it, so that others wait instead of doing the same.
    opening: Mutex<()>,
}

/// What is known of an asset without touching the disk.
pub enum State {
    Open(Arc<Asset>),
    /// Not open, closed to stay within the limits, or no longer whole and in memory: [`super::Library::load`] sees to it, off
    /// the workers.
    Closed,
    /// It could not be opened, or was damaged while open, and was logged: 500 until it is replaced (tried again after a while).
    Damaged,
}

/// Seconds after which an asset that could not be opened is tried again.
const RETRY_SECONDS: u64 = 10;

impl Entry {
    pub(super) fn new(name: &str, content: Version, served: Version) -> Entry {
        Entry {
            name: name.into(),
            content,
            served,
            asset: ArcSwapOption::empty(),
            used: AtomicU64::new(0),
            looked: AtomicU64::new(0),
            damaged_until: AtomicU64::new(0),
            complained: AtomicBool::new(false),
            opening: Mutex::new(()),
        }
    }

    /// Lock-free, and cheap but for once a second, when a few system calls tell whether the open asset is still whole and in
    /// memory. `now` is the worker's coarse clock in seconds.
    pub fn state(&self, now: u64) -> State {
        // Most calls come within the same second: do not fight over the cache line.
        if self.used.load(Ordering::Relaxed) != now {
            self.used.store(now, Ordering::Relaxed);
        }
        if let Some(asset) = self.asset.load_full() {
            if self.looked.load(Ordering::Relaxed) != now {
                if !asset.is_whole() || !asset.is_resident() {
                    return State::Closed;
                }
                self.looked.store(now, Ordering::Relaxed);
            }
            return State::Open(asset);
        }
        match self.damaged_until.load(Ordering::Acquire) {
            until if until > now => State::Damaged,
            _ => State::Closed,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// As in [`crate::media::Presentation::version`]: known without opening the asset.
    pub fn version(&self) -> &str {
        self.served.as_str()
    }

    pub(super) fn content(&self) -> Version {
        self.content
    }

    pub(super) fn served(&self) -> Version {
        self.served
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn opened(&self) -> Option<Arc<Asset>> {
        self.asset.load_full()
    }

    /// Opens it with `open` unless somebody else did, or failed, while this waited. Returns whether it is newly open; an error
    /// only if it is the first since it could be opened.
    pub(super) fn open_with<E>(&self, open: impl FnOnce() -> Result<Asset, E>) -> Result<bool, E> {
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if self.asset.load().is_some() || self.damaged_until.load(Ordering::Acquire) > self.used() {
            return Ok(false);
        }
        match open() {
            Ok(asset) => {
                self.seen();
                self.asset.store(Some(Arc::new(asset)));
                self.damaged_until.store(0, Ordering::Release);
                self.complained.store(false, Ordering::Relaxed);
                Ok(true)
            }
            Err(error) => {
                // The worker that asked left its clock here; at least 1, as 0 means not damaged.
                self.damaged_until.store(self.used().saturating_add(RETRY_SECONDS), Ordering::Release);
                if self.complained.swap(true, Ordering::Relaxed) { Ok(false) } else { Err(error) }
            }
        }
    }

    /// Everything of it has just been read: the request that waits for it is answered, however short memory is.
    pub(super) fn seen(&self) {
        self.looked.store(self.used(), Ordering::Relaxed);
    }

    /// Closes it, not to be tried again for a while. Returns what was open, to the first who says so.
    pub(super) fn damage(&self) -> Option<Arc<Asset>> {
        self.damaged_until.store(self.used().saturating_add(RETRY_SECONDS), Ordering::Release);
        self.complained.store(true, Ordering::Relaxed);
        self.asset.swap(None)
    }

    /// Whoever serves from it holds it on.
    pub(super) fn close(&self) {
        self.asset.store(None);
    }
}
