//! The object store: files by id, and a table of what is where.
//!
//! ```text
//! {store}/objects/{id / 512}/{id}    the bytes of one object, hexadecimal; never changed once it is complete
//! {store}/journal/                   what is where: see [`ledger`]
//! ```
//!
//! An object is there when its row is in the journal, and not before: [`Objects::commit`] makes a batch of changes survive (the
//! files first, then the rows), shows them in the [`Table`], and only then says so. What a change replaced is deleted after
//! that; readers that have it open keep it. Files without a row are what broken uploads and crashes left behind, and are
//! deleted after the next start. Names of objects never become names of files, so no name can climb out of the store, and
//! an object and a folder may have the same one.

pub mod container;
pub mod disk;
pub mod ledger;
pub mod lifecycle;
pub mod manifest;
pub mod object;
pub mod path;
mod row;
#[cfg(test)]
mod simulation;
pub mod table;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use thiserror::Error;

use crate::base::limits::STORE_METAS_MAX;
use disk::{Disk, DiskFile};
use ledger::{AppendError, Ledger};
use lifecycle::Due;
use row::{Put, Row};

pub use container::Container;
pub use object::{Digest, Meta, Object, Written};
pub use path::ObjectPath;
pub use table::{Found, Item, Table, Upload};

pub struct Objects {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    durability: Durability,
    settings: ArcSwap<Settings>,
    table: Table,
    commit: Mutex<Commit>,
    next: AtomicU64,
    made: Mutex<Option<u64>>,
    /// Directories in which files were created since they were last synced.
    created: Mutex<BTreeSet<u64>>,
    due: Mutex<Due>,
    metas: Mutex<HashSet<Arc<Meta>>>,
    /// Ids of files that nobody is shown any more.
    garbage: Mutex<Vec<u64>>,
    /// Ids below this may have been left behind by what ran before.
    first: u64,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub durability: Durability,
    pub settings: Settings,
}

/// What an operator may change while the store is open.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What all objects may weigh together, in bytes.
    capacity: Option<u64>,
    when_full: WhenFull,
    containers: HashMap<String, Container>,
}

impl Settings {
    /// No two containers of the same name. Of names that are not here there are none, unless there is one called `*`.
    pub fn new(capacity: Option<u64>, when_full: WhenFull, containers: Vec<Container>) -> Settings {
        let containers = containers.into_iter().map(|container| (container.name.clone(), container)).collect();
        Settings { capacity, when_full, containers }
    }

    /// The settings of a container; `None`: there is none of that name.
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.get(name).or_else(|| self.containers.get(EVERY_CONTAINER))
    }

    pub fn capacity(&self) -> Option<u64> {
        self.capacity
    }

    /// When an object ends, in milliseconds since 1970.
    fn expires(&self, path: &ObjectPath, modified: u64, lifetime: u32) -> u64 {
        let container = self.container(path.container()).filter(|container| container.expires_any());
        container.map_or(object::NEVER, |container| container.expires(path, modified, lifetime))
    }

    fn expire_any(&self) -> bool {
        self.containers.values().any(Container::expires_any)
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            durability: Durability::Batched(crate::base::limits::STORE_SYNC_DEFAULT),
            settings: Settings::new(None, WhenFull::default(), vec![Container::new(EVERY_CONTAINER)]),
        }
    }
}

/// The settings of containers that have none of their own.
pub const EVERY_CONTAINER: &str = "*";

/// What an acknowledged change survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A power loss. Each change is synced as soon as it comes.
    Each,
    /// A power loss. Changes are gathered for so long, and synced together.
    Batched(Duration),
    /// The end of the process, but not of the machine.
    None,
}

/// What happens when an object does not fit the capacity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest objects go.
    ExpireOldest,
    /// It is refused.
    #[default]
    Refuse,
}

/// What is written one after the other.
struct Commit {
    ledger: Ledger,
    /// The journal may end in rows that were not acknowledged and may survive: a checkpoint has to come first.
    is_suspect: bool,
    /// Files of such rows.
    doubtful: Vec<u64>,
}

/// One change of what is in the store.
pub enum Change {
    /// The file holds the whole object.
    Put(Arc<Object>, Arc<dyn DiskFile>),
    /// An object that is not there is no mistake.
    Delete(u64),
}

#[derive(Debug, Error)]
pub enum CommitError {
    #[error("the store is full: {capacity} bytes")]
    Full { capacity: u64 },
    #[error("{0}")]
    Disk(Arc<io::Error>),
}

impl CommitError {
    /// Whether there is no room for it.
    pub fn is_full(&self) -> bool {
        match self {
            CommitError::Full { .. } => true,
            CommitError::Disk(error) => {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
        }
    }
}

/// Files in one directory. ext4 walks over those that were deleted lately whenever it creates one beside them, so they are few.
const DIRECTORY_FILES: u64 = 512;

impl Objects {
    /// Reads what is in a directory, which has to be there. `now` and other times are milliseconds since 1970.
    pub fn open(disk: Arc<dyn Disk>, root: &Path, options: Options) -> io::Result<Objects> {
        let Options { durability, settings } = options;
        let directory = root.join("objects");
        disk.make_dir(&directory)?;
        disk.spread(&directory);
        let (ledger, found) = Ledger::open(disk.clone(), &root.join("journal"))?;
        disk.sync_dir(root)?;
        let mut reader = Reader { settings: &settings, metas: HashSet::new(), last: Arc::default() };
        let mut objects = Vec::new();
        if let Some(rows) = found.table.as_deref().map(ledger::rows).transpose()?.flatten() {
            let wanted = row::end_of(rows).unwrap_or_default();
            // No more than there can be, whatever the end row says.
            objects.reserve_exact((wanted as usize).min(rows.len() / row::PUT_BYTES_MIN));
            ledger::read_rows(rows, |row| {
                if let Row::Put(put) = row {
                    objects.push(reader.object(put));
                }
            });
            if objects.len() as u64 != wanted {
                let text = format!("the checkpoint has {} sound rows of {wanted}: the disk lost some", objects.len());
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        drop(found.table);
        let table = Table::filled(objects);
        for bytes in &found.journals {
            ledger::read_rows(ledger::rows(bytes)?.unwrap_or_default(), |row| match row {
                Row::Put(put) => drop(table.insert(reader.object(put))),
                Row::Delete { id } => drop(table.remove(id)),
                Row::End { .. } => {}
            });
        }
        let metas = reader.metas;
        let directories = disk.list(&directory)?;
        let newest = directories.iter().filter_map(|name| u64::from_str_radix(name, 16).ok()).max();
        // Ids are never given twice, whatever was left behind of uploads that did not get to the journal.
        let first = newest.map_or(1, |newest| newest.saturating_add(1).saturating_mul(DIRECTORY_FILES));
        // Nor those of objects whose directories somebody deleted.
        let last = table.all().map(|object| object.id / DIRECTORY_FILES).max();
        let first = last.map_or(first, |last| first.max(last.saturating_add(1).saturating_mul(DIRECTORY_FILES)));
        let mut due = Due::default();
        if settings.expire_any() {
            table.all().for_each(|object| due.insert(object.id, object.expires()));
        }
        Ok(Objects {
            disk,
            root: root.to_owned(),
            durability,
            settings: ArcSwap::from_pointee(settings),
            table,
            commit: Mutex::new(Commit { ledger, is_suspect: false, doubtful: Vec::new() }),
            next: AtomicU64::new(first),
            made: Mutex::new(None),
            created: Mutex::default(),
            due: Mutex::new(due),
            metas: Mutex::new(metas),
            garbage: Mutex::default(),
            first,
        })
    }

    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// As they are now. To be held for a moment, not kept.
    pub fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// Other settings from now on, also for what is there: some hundred nanoseconds for each object, in which nothing is
    /// committed.
    pub fn reconfigure(&self, settings: Settings) {
        let _commit = lock(&self.commit);
        let mut due = Due::default();
        for object in self.table.all() {
            let expires = settings.expires(&object.path, object.modified, object.lifetime);
            object.expires.store(expires, Ordering::Relaxed);
            due.insert(object.id, expires);
        }
        self.settings.store(Arc::new(settings));
        *lock(&self.due) = due;
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Whether a container is there to be read from: one that has settings, or holds something.
    pub fn has_container(&self, name: &str) -> bool {
        let settings = self.settings();
        settings.containers.contains_key(name) || (settings.container(name).is_some() && self.table.has_container(name))
    }

    /// What has this path at this time.
    pub fn find(&self, path: &ObjectPath, now: u64) -> Option<Found> {
        self.table.find(path).filter(|found| match found {
            Found::Object(object) => !object.is_expired(now),
            Found::Growing(_) => true,
        })
    }

    /// An id for a new object.
    pub fn allot(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The empty file of an object that is to come.
    pub fn create(&self, id: u64) -> io::Result<Arc<dyn DiskFile>> {
        let number = id / DIRECTORY_FILES;
        {
            let mut made = lock(&self.made);
            if *made != Some(number) {
                self.make_directory(number)?;
                *made = Some(number);
            }
        }
        let file = match self.disk.create(&self.file(id)) {
            // Its directory was empty for a moment, and deleted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_directory(number)?;
                self.disk.create(&self.file(id))?
            }
            created => created?,
        };
        if self.durability != Durability::None {
            lock(&self.created).insert(number);
        }
        Ok(file)
    }

    fn make_directory(&self, number: u64) -> io::Result<()> {
        self.disk.make_dir(&self.directory(number))?;
        match self.durability {
            Durability::None => Ok(()),
            Durability::Each | Durability::Batched(_) => self.disk.sync_dir(&self.root.join("objects")),
        }
    }

    /// The bytes of an object, by its id.
    pub fn file(&self, id: u64) -> PathBuf {
        self.directory(id / DIRECTORY_FILES).join(format!("{id:x}"))
    }

    fn directory(&self, number: u64) -> PathBuf {
        self.root.join("objects").join(format!("{number:x}"))
    }

    /// The same value for what was said before.
    pub fn meta(&self, meta: Meta) -> Arc<Meta> {
        intern(&mut lock(&self.metas), meta)
    }

    /// An object as it will be shown.
    pub fn object(&self, written: Written) -> Arc<Object> {
        Arc::new(object(&self.settings(), written))
    }

    /// Whether an object of `len` bytes may be taken, as far as that can be told before it comes.
    pub fn has_room(&self, path: &ObjectPath, len: u64) -> Result<(), CommitError> {
        let settings = self.settings();
        let Some(capacity) = settings.capacity else { return Ok(()) };
        let is_full = match settings.when_full {
            WhenFull::Refuse => {
                self.table.bytes().saturating_add(len) > capacity.saturating_add(self.replaced_by(path))
            }
            WhenFull::ExpireOldest => len > capacity,
        };
        if is_full { Err(CommitError::Full { capacity }) } else { Ok(()) }
    }

    /// Makes changes in this order: when this returns, those that succeeded are shown, and survive as [`Durability`] says. Of
    /// those that failed nothing is left. May wait for the disk.
    pub fn commit(&self, changes: &[&Change]) -> Vec<Result<(), CommitError>> {
        let mut results: Vec<Result<(), CommitError>> = changes.iter().map(|_| Ok(())).collect();
        let mut commit = lock(&self.commit);
        let room = self.make_room(changes, &mut results);
        let written =
            self.sync_files(changes, &mut results).and_then(|()| self.append(&mut commit, changes, &room, &results));
        let failed = match written {
            Ok(()) => None,
            Err(error) => Some(Arc::new(error)),
        };
        if let Some(error) = &failed {
            for result in results.iter_mut().filter(|result| result.is_ok()) {
                *result = Err(CommitError::Disk(error.clone()));
            }
        }
        let settings = self.settings();
        let mut garbage = lock(&self.garbage);
        for (change, result) in changes.iter().zip(&results) {
            match (change, result) {
                (Change::Put(object, _), Ok(())) => {
                    // The rules may be others than when it was made.
                    let expires = settings.expires(&object.path, object.modified, object.lifetime);
                    object.expires.store(expires, Ordering::Relaxed);
                    lock(&self.due).insert(object.id, expires);
                    garbage.extend(self.table.insert(object.clone()).map(|replaced| replaced.id));
                }
                (Change::Delete(id), Ok(())) => garbage.extend(self.table.remove(*id).map(|removed| removed.id)),
                (Change::Put(object, _), Err(_)) if commit.is_suspect => commit.doubtful.push(object.id),
                (Change::Put(object, _), Err(_)) => garbage.push(object.id),
                (Change::Delete(_), Err(_)) => {}
            }
        }
        if failed.is_none() {
            garbage.extend(room.into_iter().filter_map(|id| self.table.remove(id)).map(|removed| removed.id));
        }
        results
    }

    /// What an object weighs that one with this path would take the place of.
    fn replaced_by(&self, path: &ObjectPath) -> u64 {
        match self.table.find(path) {
            Some(Found::Object(replaced)) => replaced.weight(),
            Some(Found::Growing(_)) | None => 0,
        }
    }

    /// Ids of the oldest objects that have to go for the changes; refuses what does not fit at all.
    fn make_room(&self, changes: &[&Change], results: &mut [Result<(), CommitError>]) -> Vec<u64> {
        let settings = self.settings();
        let Some(capacity) = settings.capacity else { return Vec::new() };
        let mut bytes = self.table.bytes();
        let (mut going, mut last) = (Vec::new(), None);
        for (change, result) in changes.iter().zip(results) {
            let Change::Put(object, _) = change else { continue };
            let wanted = (bytes + object.weight()).saturating_sub(self.replaced_by(&object.path));
            if wanted > capacity && (settings.when_full == WhenFull::Refuse || object.weight() > capacity) {
                *result = Err(CommitError::Full { capacity });
                continue;
            }
            bytes = wanted;
            while bytes > capacity {
                let Some(oldest) = self.table.oldest(last) else { break };
                last = Some(oldest.id);
                bytes = bytes.saturating_sub(oldest.weight());
                going.push(oldest.id);
            }
        }
        going
    }

    /// A file that cannot be synced fails its own change; a directory, all of them.
    fn sync_files(&self, changes: &[&Change], results: &mut [Result<(), CommitError>]) -> io::Result<()> {
        if self.durability == Durability::None {
            return Ok(());
        }
        let puts = || {
            changes.iter().zip(0..).filter_map(|(change, number)| match change {
                Change::Put(object, file) => Some((number as usize, object, file)),
                Change::Delete(_) => None,
            })
        };
        for (number, object, file) in puts() {
            if results[number].is_ok() {
                file.start_sync(object.len);
            }
        }
        for (number, _, file) in puts() {
            if results[number].is_ok()
                && let Err(error) = file.sync()
            {
                results[number] = Err(CommitError::Disk(Arc::new(error)));
            }
        }
        if puts().next().is_none() {
            return Ok(());
        }
        let created = std::mem::take(&mut *lock(&self.created));
        for &number in &created {
            match self.disk.sync_dir(&self.directory(number)) {
                // Everything in it was given up meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    lock(&self.created).extend(created);
                    return Err(error);
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn append(
        &self,
        commit: &mut Commit,
        changes: &[&Change],
        room: &[u64],
        results: &[Result<(), CommitError>],
    ) -> io::Result<()> {
        if commit.is_suspect {
            self.settle(commit)?;
        }
        let (mut bytes, mut rows) = (Vec::new(), 0);
        for id in room {
            row::write_delete(*id, &mut bytes);
            rows += 1;
        }
        for (change, _) in changes.iter().zip(results).filter(|(_, result)| result.is_ok()) {
            match change {
                Change::Put(object, _) => row::write_put(object, &mut bytes),
                Change::Delete(id) => row::write_delete(*id, &mut bytes),
            }
            rows += 1;
        }
        if rows == 0 {
            return Ok(());
        }
        commit.ledger.append(&bytes, rows).map_err(|error| match error {
            AppendError::Nothing(error) => error,
            AppendError::Doubtful(error) => {
                commit.is_suspect = true;
                error
            }
        })?;
        if self.durability != Durability::None {
            commit.ledger.sync().inspect_err(|_| commit.is_suspect = true)?;
        }
        Ok(())
    }

    /// After rows that may or may not have got to the disk: a checkpoint says what is true.
    fn settle(&self, commit: &mut Commit) -> io::Result<()> {
        let covered = commit.ledger.rotate()?;
        commit.ledger.checkpoints().write(covered, self.table.all())?;
        commit.is_suspect = false;
        lock(&self.garbage).append(&mut commit.doubtful);
        Ok(())
    }

    /// Writes a checkpoint if the journal has become long. Changes go on meanwhile.
    pub fn checkpoint_if_due(&self) -> io::Result<bool> {
        let (covered, checkpoints) = {
            let mut commit = lock(&self.commit);
            if !commit.ledger.is_long() {
                return Ok(false);
            }
            (commit.ledger.rotate()?, commit.ledger.checkpoints())
        };
        checkpoints.write(covered, self.table.all())?;
        Ok(true)
    }

    /// A checkpoint of all there is, for a quick start the next time.
    pub fn checkpoint(&self) -> io::Result<()> {
        let mut commit = lock(&self.commit);
        self.settle(&mut commit)
    }

    /// Up to `max` ids of objects whose time is over.
    pub fn expired(&self, now: u64, max: usize) -> Vec<u64> {
        let ids = lock(&self.due).take(now, max);
        let is_over = |id: &u64| self.table.by_id(*id).is_some_and(|object| object.is_expired(now));
        ids.into_iter().filter(is_over).collect()
    }

    /// What was taken as expired could not be deleted: it is due again.
    pub fn expire_again(&self, ids: &[u64]) {
        let mut due = lock(&self.due);
        for object in ids.iter().filter_map(|&id| self.table.by_id(id)) {
            due.insert(object.id, object.expires());
        }
    }

    /// Gives up the file of an upload that will not be committed.
    pub fn abandon(&self, id: u64) {
        lock(&self.garbage).push(id);
    }

    /// Deletes files that nobody is shown any more, and the directories that they were the last in; their ids.
    pub fn remove_garbage(&self) -> Vec<u64> {
        let ids = std::mem::take(&mut *lock(&self.garbage));
        let mut directories = BTreeSet::new();
        for &id in &ids {
            // One that was never created, or that the file system does not let go of: the next start tries again.
            let _ = self.disk.remove(&self.file(id));
            directories.insert(id / DIRECTORY_FILES);
        }
        let current = self.next.load(Ordering::Relaxed) / DIRECTORY_FILES;
        for number in directories.into_iter().filter(|&number| number < current) {
            // Most are not empty. Who still creates a file in one that was makes it again.
            let _ = self.disk.remove_dir(&self.directory(number));
        }
        ids
    }

    /// Deletes what an earlier process left behind, and directories that are empty. Some seconds of work for a million files.
    /// How many files it deleted, and how many objects are without theirs.
    pub fn remove_leftovers(&self) -> io::Result<(usize, usize)> {
        let mut removed = 0;
        let mut there = HashSet::new();
        for name in self.disk.list(&self.root.join("objects"))? {
            let Ok(number) = u64::from_str_radix(&name, 16) else { continue };
            if number >= self.first / DIRECTORY_FILES {
                continue;
            }
            let directory = self.root.join("objects").join(&name);
            let mut left = 0;
            for file in self.disk.list(&directory)? {
                match u64::from_str_radix(&file, 16) {
                    Ok(id) if self.table.by_id(id).is_some() => {
                        there.insert(id);
                        left += 1;
                    }
                    Ok(id) if id < self.first => match self.disk.remove(&directory.join(file)) {
                        Ok(()) => removed += 1,
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    },
                    _ => left += 1,
                }
            }
            if left == 0 {
                // Somebody may have created a file there just now.
                let _ = self.disk.remove_dir(&directory);
            }
        }
        let missing = self.table.all().filter(|object| object.id < self.first && !there.contains(&object.id));
        // One that was deleted meanwhile is not missing.
        let missing = missing.filter(|object| self.table.by_id(object.id).is_some()).count();
        Ok((removed, missing))
    }
}

/// Makes objects of rows.
struct Reader<'s> {
    settings: &'s Settings,
    metas: HashSet<Arc<Meta>>,
    /// Most objects have what the one before has.
    last: Arc<Meta>,
}

impl Reader<'_> {
    fn object(&mut self, put: Put<'_>) -> Arc<Object> {
        let Put { id, modified, len, digest, lifetime, path, content_type, cache_control } = put;
        if *self.last.content_type != *content_type || *self.last.cache_control != *cache_control {
            let meta = Meta { content_type: content_type.into(), cache_control: cache_control.into() };
            self.last = intern(&mut self.metas, meta);
        }
        let meta = self.last.clone();
        Arc::new(object(self.settings, Written { id, path, len, modified, digest, meta, lifetime }))
    }
}

fn object(settings: &Settings, written: Written) -> Object {
    let Written { id, path, len, modified, digest, meta, lifetime } = written;
    let expires = settings.expires(&path, modified, lifetime).into();
    Object { id, path, len, modified, digest, meta, lifetime, expires }
}

fn intern(metas: &mut HashSet<Arc<Meta>>, meta: Meta) -> Arc<Meta> {
    if let Some(known) = metas.get(&meta) {
        return known.clone();
    }
    let meta = Arc::new(meta);
    if metas.len() >= STORE_METAS_MAX {
        metas.retain(|meta| Arc::strong_count(meta) > 1);
    }
    if metas.len() < STORE_METAS_MAX {
        metas.insert(meta.clone());
    }
    meta
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
