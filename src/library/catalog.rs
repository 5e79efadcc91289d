//! The catalog: every asset of a library directory, kept up to date by one watcher and read through snapshots.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tracing::{debug, error, warn};

use super::Asset;
pub use super::entry::{Entry, State};
use super::folder::{Error, Folder, Replaced};
use super::version::Version;
use crate::base::limits::{GRACE_DEFAULT, OPEN_ASSETS_DEFAULT, OPEN_TRACKS_MAX, SEGMENT_DEFAULT};

/// A library directory as one server sees it. Shared by all threads.
pub struct Library {
    folder: Folder,
    options: Options,
    catalog: ArcSwap<Catalog>,
    /// Serialises whoever makes a new catalog out of the old one.
    changing: Mutex<()>,
    /// Everything that is open, for closing the least recently used.
    open: Mutex<Vec<Arc<Entry>>>,
    /// Seconds since 1970 of the last look into every asset's directory.
    searched: AtomicU64,
}

/// How a library is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// About how long segments shall be.
    pub segment: Duration,
    /// How long a replaced version stays readable.
    pub grace: Duration,
    /// Assets open at once.
    pub open_assets_max: usize,
    /// Track files open at once, and the indexes that tell of them.
    pub open_tracks_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment: SEGMENT_DEFAULT,
            grace: GRACE_DEFAULT,
            open_assets_max: OPEN_ASSETS_DEFAULT,
            open_tracks_max: OPEN_TRACKS_MAX,
        }
    }
}

/// One consistent state of the library. Immutable.
#[derive(Clone, Default)]
pub struct Catalog {
    assets: HashMap<Box<str>, Versions>,
}

#[derive(Clone)]
struct Versions {
    current: Arc<Entry>,
    /// Within their grace time, in no order; hardly ever more than one.
    replaced: Vec<Arc<Entry>>,
}

/// Seconds between searches for versions that a killed import left in an asset's directory.
const SEARCH_SECONDS: u64 = 60 * 60;

impl Library {
    /// Reads the names of all assets and which version is current; opens none of them.
    pub fn open(root: &Path, options: Options) -> Result<Library, Error> {
        let library = Library {
            folder: Folder::open(root)?,
            options,
            catalog: ArcSwap::default(),
            changing: Mutex::new(()),
            open: Mutex::new(Vec::new()),
            searched: AtomicU64::new(0),
        };
        library.rescan()?;
        Ok(library)
    }

    pub fn root(&self) -> &Path {
        self.folder.root()
    }

    pub fn options(&self) -> Options {
        self.options
    }

    pub fn catalog(&self) -> arc_swap::Guard<Arc<Catalog>> {
        self.catalog.load()
    }

    /// Opens the asset: maps the index, verifies its checksum, opens the track files; or reads the index in again, if the
    /// asset is open. Blocks on the disk. What fails is logged once and remembered: see [`State::Damaged`].
    pub fn load(&self, entry: &Arc<Entry>) {
        let directory = self.directory(entry);
        match entry.open_with(|| Asset::open(&directory, self.options.segment, entry.served())) {
            Ok(true) => self.opened(entry),
            Ok(false) => match entry.opened() {
                Some(asset) if asset.is_whole() && asset.read_in().is_ok() => entry.seen(),
                Some(_) => self.damaged(entry),
                None => {}
            },
            Err(error) => error!(asset = entry.name(), "asset cannot be served: {error}"),
        }
    }

    /// Closes an asset whose files turned out to be damaged while it was open, so that it is opened again and maybe found
    /// mended. Logged once; of track files whoever sent from them has said so.
    pub fn damaged(&self, entry: &Entry) {
        if entry.damage().is_some_and(|asset| !asset.has_damaged_track()) {
            let index = self.directory(entry).join(crate::store::index::FILE_NAME);
            error!(asset = entry.name(), "{}: truncated or unreadable while it was open", index.display());
        }
    }

    /// Where the files of a version are.
    pub fn directory(&self, entry: &Entry) -> PathBuf {
        self.folder.version_path(entry.name(), entry.content())
    }

    /// Assets that are open, and track files of those.
    pub fn open_counts(&self) -> (usize, usize) {
        let open = lock(&self.open);
        (open.len(), open.iter().filter_map(|entry| entry.opened()).map(|asset| asset.track_count()).sum())
    }

    fn opened(&self, entry: &Arc<Entry>) {
        let mut open = lock(&self.open);
        open.retain(|other| other.opened().is_some() && !Arc::ptr_eq(other, entry));
        open.push(entry.clone());
        // With the index, which is open as well.
        let files = |entry: &Arc<Entry>| entry.opened().map_or(0, |asset| asset.track_count() + 1);
        let mut file_count: usize = open.iter().map(files).sum();
        while open.len() > 1 && (open.len() > self.options.open_assets_max || file_count > self.options.open_tracks_max)
        {
            // Never the one that was just asked for: it is the last.
            let others = open.iter().enumerate().take(open.len() - 1);
            let Some((oldest, _)) = others.min_by_key(|(_, entry)| entry.used()) else { return };
            let closed = open.swap_remove(oldest);
            file_count -= files(&closed);
            closed.close();
            // `swap_remove` moved the last one; keep the newcomer last.
            if let Some(moved) = open.iter().position(|other| Arc::ptr_eq(other, entry)) {
                let last = open.len() - 1;
                open.swap(moved, last);
            }
        }
    }

    /// Reads the whole directory again. Entries of versions that are still there stay as they are, open or not.
    pub fn rescan(&self) -> Result<(), Error> {
        let _changing = lock(&self.changing);
        let before = self.catalog.load_full();
        let mut replaced: HashMap<String, Vec<Replaced>> = HashMap::new();
        for record in self.folder.replaced()? {
            replaced.entry(record.asset.clone()).or_default().push(record);
        }
        let names = self.folder.assets()?;
        let mut assets = HashMap::with_capacity(names.len());
        for name in names {
            let records = replaced.remove(&name).unwrap_or_default();
            if let Some(versions) = self.versions(&before, &name, &records) {
                assets.insert(name.into_boxed_str(), versions);
            }
        }
        self.swap(&before, Catalog { assets });
        Ok(())
    }

    /// Looks at these assets again, and takes in what changed.
    pub fn update<'a>(&self, assets: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
        let _changing = lock(&self.changing);
        let before = self.catalog.load_full();
        let replaced = self.folder.replaced()?;
        let mut after = Catalog::clone(&before);
        for name in assets {
            let records: Vec<Replaced> = replaced.iter().filter(|record| record.asset == name).cloned().collect();
            match self.versions(&before, name, &records) {
                Some(versions) => after.assets.insert(name.into(), versions),
                None => after.assets.remove(name),
            };
        }
        self.swap(&before, after);
        Ok(())
    }

    /// What has to be done from time to time, by one thread: leftovers of killed imports and expired versions are deleted.
    /// `now` is in seconds since 1970. A library that this process may not write is left alone.
    pub fn maintain(&self, now: u64) -> Result<(), Error> {
        let swept = self.folder.sweep()?;
        if swept > 0 {
            debug!(swept, "deleted leftovers of imports");
        }
        let searched = self.searched.load(Ordering::Relaxed);
        if searched == 0 || now.saturating_sub(searched) >= SEARCH_SECONDS {
            self.searched.store(now, Ordering::Relaxed);
            self.folder.adopt_orphans(now)?;
        }
        let expired = self.folder.expire(now, self.options.grace)?;
        if !expired.is_empty() {
            self.update(expired.iter().map(String::as_str))?;
        }
        Ok(())
    }

    /// `None`: there is no such asset (any more).
    fn versions(&self, before: &Catalog, name: &str, records: &[Replaced]) -> Option<Versions> {
        let current = self.folder.current(name)?;
        let known = before.assets.get(name);
        let entry = |content: Version| {
            let same = known.and_then(|versions| versions.all().find(|entry| entry.content() == content));
            let new = || Arc::new(Entry::new(name, content, content.served(self.options.segment)));
            same.cloned().unwrap_or_else(new)
        };
        let mut replaced: Vec<Arc<Entry>> = Vec::new();
        for record in records {
            let there = replaced.iter().any(|entry| entry.content() == record.version);
            if record.version != current && !there && self.folder.version_path(name, record.version).is_dir() {
                replaced.push(entry(record.version));
            }
        }
        Some(Versions { current: entry(current), replaced })
    }

    /// Publishes a catalog, unless nothing changed, and closes what is no longer in it.
    fn swap(&self, before: &Catalog, after: Catalog) {
        if before.same_as(&after) {
            return;
        }
        for (name, versions) in &before.assets {
            let kept = after.assets.get(name);
            for entry in versions.all() {
                if !kept.is_some_and(|kept| kept.all().any(|other| Arc::ptr_eq(other, entry))) {
                    entry.close();
                }
            }
        }
        self.catalog.store(Arc::new(after));
        lock(&self.open).retain(|entry| entry.opened().is_some());
    }

    /// For a watcher that cannot tell more than that something failed.
    pub(super) fn rescan_logged(&self) {
        if let Err(error) = self.rescan() {
            warn!("library cannot be read: {error}");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Versions {
    fn all(&self) -> impl Iterator<Item = &Arc<Entry>> {
        std::iter::once(&self.current).chain(&self.replaced)
    }
}

impl Catalog {
    /// The current version of an asset.
    pub fn find(&self, asset: &str) -> Option<&Arc<Entry>> {
        self.assets.get(asset).map(|versions| &versions.current)
    }

    /// The version that a versioned URL names: the current one, or one replaced less than the grace time ago. `None`: no
    /// such version (or an asset opened under another segment length).
    pub fn find_version(&self, asset: &str, version: &str) -> Option<&Arc<Entry>> {
        self.assets.get(asset)?.all().find(|entry| entry.version() == version)
    }

    /// Names in order.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.assets.keys().map(|name| &**name).collect();
        names.sort_unstable();
        names
    }

    pub fn len(&self) -> usize {
        self.assets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.assets.is_empty()
    }

    fn same_as(&self, other: &Catalog) -> bool {
        let same = |a: &Versions, b: &Versions| {
            Arc::ptr_eq(&a.current, &b.current)
                && a.replaced.len() == b.replaced.len()
                && a.replaced.iter().all(|entry| b.replaced.iter().any(|other| Arc::ptr_eq(entry, other)))
        };
        self.len() == other.len()
            && self
                .assets
                .iter()
                .all(|(name, versions)| other.assets.get(name).is_some_and(|other| same(versions, other)))
    }
}
