//! What is made of stored media on request, kept as files: made once, sent as an extent from then on.
//!
//! ```text
//! {path}/{number}.made      one file for each, by number; only this process knows what is in which
//! ```
//!
//! Nothing here is worth a sync, nor worth keeping when the process ends: it can be made again. So what an earlier process
//! left, whole or in part, is deleted, and no name is used twice. Bytes are bounded, and the least used go first; room is
//! kept for what is being written, and for what has gone and is still being sent. A disk that is full or cannot be written
//! costs no answer: what is made then is kept in memory for as long as it takes to send it. So is what the bound has no place
//! for. Files are deleted on threads that may wait for the disk, wherever their last use ends.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use crate::base::limits::{
    DERIVED_BYTES_DEFAULT, DERIVED_MEMORY_BYTES_MAX, DERIVED_OPEN_MAX, DERIVED_SENT_MEMORY_BYTES_MAX,
    DERIVED_WRITE_BYTES,
};
use crate::base::{Extent, Payload, Stored};

/// Where files are kept, and how many bytes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `None`: nowhere, everything is made anew.
    pub path: Option<PathBuf>,
    /// On disk, of all files: also those that are being written, and those that are still being sent after they had to go.
    pub bytes_max: u64,
    /// Open at once, a descriptor each; others are opened when they are asked for.
    pub open_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { path: None, bytes_max: DERIVED_BYTES_DEFAULT, open_max: DERIVED_OPEN_MAX }
    }
}

/// Makes one thing, a little at a time.
pub trait Make {
    /// Appends what comes next; `false` when there is nothing left.
    fn advance(&mut self, out: &mut Vec<u8>) -> bool;

    /// Whether all that was read to make it was what it should be. Asked at the end.
    fn is_sound(&self) -> bool;
}

/// What is known of a thing.
pub enum Found {
    Made(Payload),
    /// It cannot be made, and that was logged.
    Impossible,
}

/// Why nothing was kept.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("what it is made of is damaged")]
    Damaged,
    #[error(
        "{bytes} bytes, of which {DERIVED_MEMORY_BYTES_MAX} can be kept in memory, and {DERIVED_SENT_MEMORY_BYTES_MAX} with \
         all that is being sent from there; and on disk: {source}"
    )]
    NoRoom { bytes: u64, source: io::Error },
}

/// What is there, and what happened since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Of all files, as file systems count, and how many there may be.
    pub bytes: u64,
    pub bytes_max: u64,
    pub files: usize,
    /// Of those that could not be kept on disk, and of these also what only who sends it still holds.
    pub memory_bytes: u64,
    /// Look-ups that found it, and those that did not: then it is made or opened, and looked up again.
    pub hits: u64,
    pub misses: u64,
    pub made: u64,
    /// Bytes of these.
    pub made_bytes: u64,
    /// Opened again, of those that were kept and not open.
    pub opened: u64,
    pub evicted: u64,
    /// Those that could not be written to disk.
    pub unwritten: u64,
}

#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    made: AtomicU64,
    made_bytes: AtomicU64,
    opened: AtomicU64,
    evicted: AtomicU64,
    unwritten: AtomicU64,
}

/// Shared by all threads: workers look, helpers make.
pub struct Derived {
    directory: Option<PathBuf>,
    bytes_max: u64,
    next: AtomicU64,
    disk: Arc<Disk>,
    /// By bytes on disk.
    kept: Cache<Box<str>, Arc<Kept>, OnDisk, DefaultHashBuilder, Evicted>,
    /// Those that are open, by number.
    open: Cache<Box<str>, Arc<Opened>>,
    /// By bytes in memory: what could not be written, and what cannot be made.
    held: Cache<Box<str>, Option<Bytes>, InMemory>,
    /// Bytes in memory, those included that only who sends them still holds.
    sent: Arc<AtomicU64>,
    /// Writes that have to succeed before the log says anything again: a disk that is nearly full takes some and not others.
    owed: AtomicU32,
    counters: Counters,
}

/// All files of the directory.
#[derive(Default)]
pub struct Disk {
    /// As file systems count.
    bytes: AtomicU64,
    gone: Mutex<Gone>,
    more: Condvar,
}

/// What is to be deleted.
#[derive(Default)]
struct Gone {
    /// Of this process, with their bytes.
    files: Vec<(PathBuf, u64)>,
    /// Of an earlier one.
    leftovers: Vec<PathBuf>,
    /// The process does not need the directory any more.
    is_over: bool,
}

impl Disk {
    fn gone(&self) -> MutexGuard<'_, Gone> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the disk.
    fn bury(&self) {
        let files = std::mem::take(&mut self.gone().files);
        for (path, bytes) in files {
            // What is gone already needs no deleting.
            let _ = fs::remove_file(path);
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Deletes what an earlier process left. Waits for the disk.
    fn sweep(&self) {
        let leftovers = std::mem::take(&mut self.gone().leftovers);
        for path in leftovers {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!("{}: {error}", path.display());
            }
        }
    }

    /// For a thread of its own: deletes what an earlier process left, and from then on what this one needs no more, for as
    /// long as there is a [`Derived`].
    pub fn run(&self) {
        self.sweep();
        let nothing = |gone: &mut Gone| gone.files.is_empty() && !gone.is_over;
        loop {
            let gone = self.more.wait_while(self.gone(), nothing).unwrap_or_else(PoisonError::into_inner);
            let is_over = gone.is_over;
            drop(gone);
            self.bury();
            if is_over {
                return;
            }
        }
    }
}

/// A file that is deleted when nobody needs it any more.
struct Kept {
    path: PathBuf,
    len: u64,
    /// Whether a look-up has found it.
    is_found: AtomicBool,
    /// Whether it could not be read once: it is made anew then.
    is_bad: AtomicBool,
    disk: Arc<Disk>,
}

impl Kept {
    /// As file systems count.
    fn disk_bytes(&self) -> u64 {
        on_disk(self.len)
    }
}

impl Drop for Kept {
    /// Perhaps on a worker, which does not wait for the disk: it is deleted elsewhere.
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        let mut gone = self.disk.gone();
        gone.files.push((path, self.disk_bytes()));
        let is_over = gone.is_over;
        drop(gone);
        if is_over {
            self.disk.bury();
        } else {
            self.disk.more.notify_one();
        }
    }
}

fn on_disk(len: u64) -> u64 {
    len.max(1).next_multiple_of(4_096)
}

/// Sent with sendfile, never mapped, so that there may be as many as descriptors.
struct Opened {
    /// Closed before it is deleted, so that closing it frees no blocks.
    file: File,
    kept: Arc<Kept>,
}

const SUFFIX: &str = ".made";
/// See [`Derived::owed`].
const CALM: u32 = 16;
/// Names are shorter, with what keeping them takes.
const KEY_BYTES_MAX: usize = 4_096;

impl Derived {
    /// Reads what is in the directory, if it is there; it is made when it is needed. What an earlier process left is out of
    /// use; [`Derived::sweep`] deletes it.
    pub fn open(options: Options) -> Derived {
        let mut owed = 0;
        let (mut leftovers, mut next) = (Vec::new(), 0);
        if let Some(path) = &options.path {
            match list(path) {
                Ok(found) => {
                    next = found.iter().map(|(number, _)| number + 1).max().unwrap_or(0);
                    leftovers = found.into_iter().map(|(_, path)| path).collect();
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    owed = CALM;
                    tracing::error!("{}: {error}; segments that have to be made are not kept", path.display());
                }
            }
        }
        let disk = Arc::new(Disk::default());
        disk.gone().leftovers = leftovers;
        // One shard each: what is as large as all that may be kept can still be kept.
        let sized = |items: usize, weight: u64| {
            let options =
                OptionsBuilder::new().shards(1).estimated_items_capacity(items).weight_capacity(weight).build();
            options.expect("both capacities are given")
        };
        let bytes_max = if options.path.is_some() { options.bytes_max } else { 0 };
        Derived {
            directory: options.path,
            bytes_max,
            next: AtomicU64::new(next),
            disk,
            kept: Cache::with_options(
                sized((bytes_max / BYTES_TYPICAL).clamp(1, 1 << 20) as usize, bytes_max - reserve(bytes_max)),
                OnDisk,
                Default::default(),
                Evicted,
            ),
            open: Cache::new(options.open_max),
            held: Cache::with_options(
                sized(1_024, DERIVED_MEMORY_BYTES_MAX as u64),
                InMemory,
                Default::default(),
                DefaultLifecycle::default(),
            ),
            sent: Arc::default(),
            owed: AtomicU32::new(owed),
            counters: Counters::default(),
        }
    }

    /// Where a thread deletes what is not needed any more: see [`Disk::run`].
    pub fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    /// For workers: touches no disk. `None`: it has to be made, or opened.
    pub fn find(&self, key: &str) -> Option<Found> {
        let found = self.look(key);
        let counter = if found.is_some() { &self.counters.hits } else { &self.counters.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    fn look(&self, key: &str) -> Option<Found> {
        if let Some(opened) = self.open.get(key) {
            // That it is used counts where bytes are counted.
            self.kept.get(key);
            if !opened.kept.is_bad.load(Ordering::Relaxed) {
                if !opened.kept.is_found.load(Ordering::Relaxed) {
                    opened.kept.is_found.store(true, Ordering::Relaxed);
                }
                let len = opened.kept.len;
                return Some(Found::Made(Payload::from(Extent { file: opened, offset: 0, len })));
            }
        }
        Some(match self.held.get(key)? {
            Some(bytes) => Found::Made(Payload::from(bytes)),
            None => Found::Impossible,
        })
    }

    /// Remembers that it cannot be made.
    pub fn refuse(&self, key: &str) {
        self.held.insert(key.into(), None);
    }

    /// Makes it, unless it is there and only has to be opened. Waits for the disk. `begin` is called again where what was
    /// written at first cannot be kept.
    pub fn keep<M: Make>(&self, key: &str, begin: impl Fn() -> M) -> Result<(), Failure> {
        self.disk.bury();
        let kept = self.keep_somewhere(key, begin);
        self.disk.bury();
        kept
    }

    fn keep_somewhere<M: Make>(&self, key: &str, begin: impl Fn() -> M) -> Result<(), Failure> {
        if let Some(kept) = self.kept.get(key) {
            match Opened::open(kept) {
                Ok(opened) => {
                    self.counters.opened.fetch_add(1, Ordering::Relaxed);
                    self.open.insert(key.into(), Arc::new(opened));
                    // Evicted meanwhile, it would stay open, and on disk, without being counted.
                    if self.kept.peek(key).is_none() {
                        self.open.remove(key);
                    }
                    return Ok(());
                }
                // Somebody deleted or cut it, or the disk cannot read it.
                Err(_) => self.forget(key),
            }
        }
        let mut why = io::Error::other("nothing is kept on disk");
        if let Some(directory) = &self.directory {
            match self.write(directory, begin()) {
                Ok(opened) => {
                    let owed = self.owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |owed| owed.checked_sub(1));
                    if owed == Ok(1) {
                        tracing::warn!("{}: can be written again", directory.display());
                    }
                    self.count_made(opened.kept.len);
                    match self.admit(key, opened) {
                        Ok(()) => return Ok(()),
                        Err(error) => why = error,
                    }
                }
                Err(Unwritten::Damaged) => return Err(Failure::Damaged),
                Err(Unwritten::NoPlace) => why = io::ErrorKind::QuotaExceeded.into(),
                Err(Unwritten::Io(error)) => {
                    self.counters.unwritten.fetch_add(1, Ordering::Relaxed);
                    if self.owed.swap(CALM, Ordering::Relaxed) == 0 {
                        tracing::error!("{}: {error}; segments that have to be made are not kept", directory.display());
                    }
                    why = error;
                }
            }
        }
        let (mut making, mut out) = (begin(), Vec::new());
        while making.advance(&mut out) {
            if !self.has_memory(out.len()) {
                return Err(Failure::NoRoom { bytes: out.len() as u64, source: why });
            }
        }
        if !making.is_sound() {
            return Err(Failure::Damaged);
        }
        self.count_made(out.len() as u64);
        self.held.insert(key.into(), Some(self.sent(out)));
        Ok(())
    }

    fn has_memory(&self, bytes: usize) -> bool {
        let all = self.sent.load(Ordering::Relaxed).saturating_add(bytes as u64);
        bytes.saturating_add(KEY_BYTES_MAX) <= DERIVED_MEMORY_BYTES_MAX && all <= DERIVED_SENT_MEMORY_BYTES_MAX
    }

    fn sent(&self, bytes: Vec<u8>) -> Bytes {
        self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Bytes::from_owner(Sent { bytes, all: self.sent.clone() })
    }

    /// Gives a file that was written its place among the others. What goes before anybody has found it, as it is larger than
    /// all that may be kept or others were faster, is read back into memory: somebody waits for it.
    fn admit(&self, key: &str, opened: Opened) -> io::Result<()> {
        let opened = Arc::new(opened);
        // First, so that who evicts it finds it there.
        self.open.insert(key.into(), opened.clone());
        let mut evicted = Vec::new();
        self.kept.insert_with_lifecycle(key.into(), opened.kept.clone(), &mut evicted);
        self.counters.evicted.fetch_add(evicted.len() as u64, Ordering::Relaxed);
        let mut own = Ok(());
        for (gone, kept) in evicted {
            let held = if kept.is_found.load(Ordering::Relaxed) { Ok(()) } else { self.hold(&gone, &kept) };
            drop(self.open.remove(&*gone));
            if *gone == *key {
                own = held;
            }
        }
        own
    }

    fn hold(&self, key: &str, kept: &Kept) -> io::Result<()> {
        if !self.has_memory(usize::try_from(kept.len).unwrap_or(usize::MAX)) {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let bytes = fs::read(&kept.path)?;
        if bytes.len() as u64 != kept.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.held.insert(key.into(), Some(self.sent(bytes)));
        Ok(())
    }

    fn count_made(&self, bytes: u64) {
        self.counters.made.fetch_add(1, Ordering::Relaxed);
        self.counters.made_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn figures(&self) -> Figures {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            bytes: self.disk.bytes.load(Ordering::Relaxed),
            bytes_max: self.bytes_max,
            files: self.kept.len(),
            memory_bytes: self.sent.load(Ordering::Relaxed),
            hits: count(&self.counters.hits),
            misses: count(&self.counters.misses),
            made: count(&self.counters.made),
            made_bytes: count(&self.counters.made_bytes),
            opened: count(&self.counters.opened),
            evicted: count(&self.counters.evicted),
            unwritten: count(&self.counters.unwritten),
        }
    }

    fn forget(&self, key: &str) {
        self.kept.remove(key);
        self.open.remove(key);
    }

    fn write(&self, directory: &Path, mut making: impl Make) -> Result<Opened, Unwritten> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(file_name(number));
        let create = || File::options().create_new(true).read(true).write(true).open(&path);
        let file = match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::create_dir(directory) {
                // Another helper may have been faster.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => create(),
            },
            created => created,
        };
        let file = file.map_err(Unwritten::Io)?;
        // From here on the file goes when this does.
        self.disk.bytes.fetch_add(on_disk(0), Ordering::Relaxed);
        let mut kept = Kept {
            path,
            len: 0,
            is_found: AtomicBool::new(false),
            is_bad: AtomicBool::new(false),
            disk: self.disk.clone(),
        };
        let mut out = Vec::with_capacity(DERIVED_WRITE_BYTES + DERIVED_WRITE_BYTES / 4);
        let mut goes_on = true;
        while goes_on {
            goes_on = making.advance(&mut out);
            if out.len() >= DERIVED_WRITE_BYTES || !goes_on {
                let len = kept.len + out.len() as u64;
                let more = on_disk(len) - kept.disk_bytes();
                let at = kept.len;
                // Counted first, so that all who write see it.
                kept.len = len;
                if self.disk.bytes.fetch_add(more, Ordering::Relaxed) + more > self.bytes_max {
                    return Err(Unwritten::NoPlace);
                }
                file.write_all_at(&out, at).map_err(Unwritten::Io)?;
                out.clear();
            }
        }
        if !making.is_sound() {
            return Err(Unwritten::Damaged);
        }
        Ok(Opened { file, kept: Arc::new(kept) })
    }
}

/// The room kept for what is being written, and for what has gone and is still being sent: enough for the longest segment,
/// unless that is half of all.
fn reserve(bytes_max: u64) -> u64 {
    (bytes_max / 8).max((DERIVED_MEMORY_BYTES_MAX as u64).min(bytes_max / 2))
}

impl Drop for Derived {
    fn drop(&mut self) {
        self.open.clear();
        self.kept.clear();
        self.disk.gone().is_over = true;
        self.disk.bury();
        self.disk.more.notify_all();
    }
}

/// Counted for as long as anybody holds it.
struct Sent {
    bytes: Vec<u8>,
    all: Arc<AtomicU64>,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
    }
}

enum Unwritten {
    Damaged,
    /// Of the bytes that there may be, others have too many.
    NoPlace,
    Io(io::Error),
}

impl Opened {
    fn open(kept: Arc<Kept>) -> io::Result<Opened> {
        let file = File::open(&kept.path)?;
        match file.metadata()?.len() == kept.len && !kept.is_bad.load(Ordering::Relaxed) {
            true => Ok(Opened { file, kept }),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Stored for Opened {
    fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn len(&self) -> u64 {
        self.kept.len
    }

    fn mapped(&self) -> Option<&[u8]> {
        None
    }

    fn name(&self) -> &str {
        self.kept.path.to_str().unwrap_or_default()
    }

    fn mark_damaged(&self) -> bool {
        !self.kept.is_bad.swap(true, Ordering::Relaxed)
    }
}

fn file_name(number: u64) -> String {
    format!("{number}{SUFFIX}")
}

/// Files that this wrote, by number; nothing else is touched. No process counts to where another could not count on.
fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
        let is_own = |number: &u64| *number < 1 << 63 && name.to_str() == Some(&file_name(*number));
        found.extend(number.filter(is_own).map(|number| (number, entry.path())));
    }
    Ok(found)
}

/// For tables; a segment of 4 s at 4 Mb/s.
const BYTES_TYPICAL: u64 = 2 << 20;

#[derive(Clone)]
struct OnDisk;

impl Weighter<Box<str>, Arc<Kept>> for OnDisk {
    fn weight(&self, _: &Box<str>, kept: &Arc<Kept>) -> u64 {
        kept.disk_bytes()
    }
}

#[derive(Clone)]
struct InMemory;

impl Weighter<Box<str>, Option<Bytes>> for InMemory {
    fn weight(&self, key: &Box<str>, bytes: &Option<Bytes>) -> u64 {
        (key.len() + 128 + bytes.as_ref().map_or(0, Bytes::len)) as u64
    }
}

/// Collects what goes, so that it is closed as well, and deleted when the lock that workers look with is free again.
#[derive(Clone)]
struct Evicted;

impl Lifecycle<Box<str>, Arc<Kept>> for Evicted {
    type RequestState = Vec<(Box<str>, Arc<Kept>)>;

    fn on_evict(&self, state: &mut Self::RequestState, key: Box<str>, kept: Arc<Kept>) {
        state.push((key, kept));
    }
}

#[cfg(test)]
mod tests;
