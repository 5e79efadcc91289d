//! The library directory: what lies where, and the only code that changes it.
//!
//! ```text
//! {root}/{asset}/current -> {version}              switched by rename
//! {root}/{asset}/{version}/index, v1.cmfv, …       never changed once there
//! {root}/.staging-{random}/                        an import at work: its directory is locked while it runs
//! {root}/.removed-{random}/                        a removed asset or version on its way out
//! {root}/.replaced/{asset}.{version}.{seconds}     an empty file: the version was replaced then (seconds since 1970)
//!                                                  (`.pending` behind it: an import is about to say so)
//! {root}/.lock                                     held while anything above is renamed or swept
//! ```
//!
//! Whatever instant the power goes, the next sweep finds one of these: a staging directory that nobody holds (deleted), a
//! removed one (deleted), a version that is neither current nor recorded (recorded now, deleted after the grace time).

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat2};
use thiserror::Error;

use super::asset;
use super::version::Version;
use crate::base::limits::ASSET_NAME_BYTES_MAX;
use crate::store::index::{self, Index};
use crate::sys::crash;

/// A library directory.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

/// A version being written. Dropped unpublished, it deletes itself.
pub struct Staging {
    path: PathBuf,
    /// Held until the process or this value ends: what tells an import at work from a leftover.
    _held: Flock<File>,
    published: bool,
}

/// What publishing did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    Added,
    /// The version that was current before.
    Replaced(Version),
    /// The asset has this content already.
    Unchanged,
}

/// A version that is no longer current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    pub asset: String,
    pub version: Version,
    /// Seconds since 1970.
    pub at: u64,
}

#[derive(Debug, Error)]
pub enum Error {
    #[error(
        "asset name {0:?}: letters, digits, '.', '_' and '-' are allowed, not beginning with '.', 1 to {ASSET_NAME_BYTES_MAX} of them"
    )]
    Name(String),
    #[error("{path}: no asset of this name in the library")]
    Missing { path: PathBuf },
    #[error("{path}: no library here (a directory is expected)")]
    NoLibrary { path: PathBuf },
    #[error("{path}: the disk is full")]
    Full { path: PathBuf },
    #[error("{path}: cannot {action}: {source}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl Error {
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full { path: path.to_owned() },
            _ => Error::Io { action, path: path.to_owned(), source },
        }
    }
}

/// One path element that is safe in URLs, shells and records, and never mistaken for the library's own files.
pub fn check_name(asset: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match (1..=ASSET_NAME_BYTES_MAX).contains(&asset.len()) && !asset.starts_with('.') && asset.bytes().all(plain) {
        true => Ok(()),
        false => Err(Error::Name(asset.to_owned())),
    }
}

const CURRENT: &str = "current";
const STAGING: &str = ".staging-";
const REMOVED: &str = ".removed-";
/// Directory of the records of replaced versions. A new one also announces to a running server that `current` moved.
pub const REPLACED: &str = ".replaced";
const LOCK: &str = ".lock";

impl Folder {
    /// The directory must exist.
    pub fn open(root: &Path) -> Result<Folder, Error> {
        match root.is_dir() {
            true => Ok(Folder { root: root.to_owned() }),
            false => Err(Error::NoLibrary { path: root.to_owned() }),
        }
    }

    /// Creates the directory if it is missing.
    pub fn create(root: &Path) -> Result<Folder, Error> {
        fs::create_dir_all(root).map_err(|error| Error::io("create the library", root, error))?;
        Folder::open(root)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn version_path(&self, asset: &str, version: Version) -> PathBuf {
        self.root.join(asset).join(version.as_str())
    }

    /// The version that `current` names, if there is one.
    pub fn current(&self, asset: &str) -> Option<Version> {
        let target = fs::read_link(self.root.join(asset).join(CURRENT)).ok()?;
        Version::parse(target.to_str()?)
    }

    /// Names of everything that may be an asset, in no order.
    pub fn assets(&self) -> Result<Vec<String>, Error> {
        let failed = |error| Error::io("list", &self.root, error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Ok(name) = entry.file_name().into_string()
                && check_name(&name).is_ok()
                && entry.file_type().is_ok_and(|kind| !kind.is_file())
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Every record of a replaced version, in no order.
    pub fn replaced(&self) -> Result<Vec<Replaced>, Error> {
        let path = self.root.join(REPLACED);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("list", &path, error)),
        };
        Ok(entries.flatten().filter_map(|entry| Replaced::parse(entry.file_name().to_str()?)).collect())
    }

    /// Begins an import: an empty directory of its own.
    pub fn stage(&self) -> Result<Staging, Error> {
        let _lock = self.lock()?;
        let path = self.root.join(format!("{STAGING}{}", random()));
        let failed = |error| Error::io("create", &path, error);
        DirBuilder::new().create(&path).map_err(failed)?;
        crash::point("staging made");
        let held = File::open(&path).map_err(failed).and_then(|directory| {
            Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| failed(errno.into()))
        });
        let staging = Staging { path: path.clone(), _held: held?, published: false };
        fs::create_dir(staging.content()).map_err(failed)?;
        Ok(staging)
    }

    /// Makes the staged content the current version of the asset, durably and in one step: before this returns, a crash
    /// leaves the old state; after it, the new one.
    pub fn publish(&self, mut staging: Staging, asset: &str, version: Version, now: u64) -> Result<Published, Error> {
        check_name(asset)?;
        let _lock = self.lock()?;
        let (content, home) = (staging.content(), self.root.join(asset));
        self.give_to_owner(&content)?;
        sync(&content)?;
        let staged = staging.path.join(version.as_str());
        rename(&content, &staged)?;
        crash::point("content named");
        let before = self.current(asset);
        if before.is_none() && !home.join(version.as_str()).exists() && fs::remove_dir(&home).is_ok() {
            // An empty directory of that name was in the way.
        }
        if !home.exists() {
            symlink(version.as_str(), staging.path.join(CURRENT))
                .map_err(|error| Error::io("link", &staging.path.join(CURRENT), error))?;
            self.give_to_owner(&staging.path)?;
            sync(&staging.path)?;
            rename(&staging.path, &home)?;
            crash::point("asset named");
            staging.published = true;
            sync(&self.root)?;
            return Ok(Published::Added);
        }
        // What may fail for want of space comes before the first change that anybody sees.
        let replaced = before.filter(|old| *old != version);
        let replaced = replaced.map(|old| Replaced { asset: asset.to_owned(), version: old, at: now });
        let pending = replaced.as_ref().map(|record| self.prepare(record)).transpose()?;
        let place = home.join(version.as_str());
        let is_new = !place.exists();
        if is_new {
            rename(&staged, &place)?;
            crash::point("version named");
        } else if !is_whole(&place) {
            // The same content, but somebody damaged the copy: the fresh one takes its place, the bad one goes with the
            // staging directory.
            renameat2(AT_FDCWD, &staged, AT_FDCWD, &place, RenameFlags::RENAME_EXCHANGE)
                .map_err(|errno| Error::io("replace", &place, errno.into()))?;
        }
        sync(&home)?;
        if before == Some(version) {
            return Ok(Published::Unchanged);
        }
        if let Err(error) = self.switch(asset, version) {
            if is_new && self.current(asset) != Some(version) {
                // Nothing names it: it goes with the staging directory.
                let _ = rename(&place, &staged);
            }
            return Err(error);
        }
        // It is published: what fails from here on is no failure. In this order: a version without a record is found by the
        // sweep, a record of the current version does no harm.
        let records = self.replaced().unwrap_or_default();
        for record in records.into_iter().filter(|record| record.asset == asset && record.version == version) {
            let _ = self.forget(&record);
        }
        match (replaced, pending) {
            (Some(record), Some(pending)) => {
                let _ = self.complete(&record, &pending);
                Ok(Published::Replaced(record.version))
            }
            _ => Ok(Published::Added),
        }
    }

    /// Takes an asset away, with all its versions. What players have open they can read on.
    pub fn remove(&self, asset: &str) -> Result<(), Error> {
        check_name(asset)?;
        let _lock = self.lock()?;
        let (home, gone) = (self.root.join(asset), self.root.join(format!("{REMOVED}{}", random())));
        if !home.join(CURRENT).is_symlink() {
            return Err(Error::Missing { path: home });
        }
        rename(&home, &gone)?;
        sync(&self.root)?;
        for record in self.replaced()?.into_iter().filter(|record| record.asset == asset) {
            self.forget(&record)?;
        }
        delete(&gone)
    }

    /// Deletes what imports and removals left behind when they were killed. Returns how many directories went.
    pub fn sweep(&self) -> Result<usize, Error> {
        let _lock = self.lock()?;
        let mut swept = 0;
        for entry in fs::read_dir(&self.root).map_err(|error| Error::io("list", &self.root, error))?.flatten() {
            let name = entry.file_name();
            // Only directories are ours; a link or a pipe of such a name is somebody else's.
            let leftover = match name.to_str().filter(|_| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                Some(name) if name.starts_with(REMOVED) => true,
                Some(name) if name.starts_with(STAGING) => File::open(entry.path())
                    .is_ok_and(|directory| Flock::lock(directory, FlockArg::LockExclusiveNonblock).is_ok()),
                _ => false,
            };
            if leftover {
                delete(&entry.path())?;
                swept += 1;
            }
        }
        // The lock says that none of them is of an import at work.
        for entry in fs::read_dir(self.root.join(REPLACED)).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.ends_with(PENDING)) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(swept)
    }

    /// Deletes versions that were replaced at least `grace` ago. Returns the assets that lost one.
    pub fn expire(&self, now: u64, grace: Duration) -> Result<Vec<String>, Error> {
        let _lock = self.lock()?;
        let mut changed = Vec::new();
        for record in self.replaced()? {
            let path = self.version_path(&record.asset, record.version);
            let current = self.current(&record.asset) == Some(record.version);
            if current || !path.exists() {
                self.forget(&record)?;
            } else if record.at.saturating_add(grace.as_secs()) <= now {
                let gone = self.root.join(format!("{REMOVED}{}", random()));
                rename(&path, &gone)?;
                self.forget(&record)?;
                delete(&gone)?;
                changed.push(record.asset);
            }
        }
        Ok(changed)
    }

    /// Records versions that are not current and have no record, as an import leaves them when it is killed between two
    /// renames: they live on for the grace time, in case they were being played.
    pub fn adopt_orphans(&self, now: u64) -> Result<usize, Error> {
        let _lock = self.lock()?;
        let known: HashSet<(String, Version)> =
            self.replaced()?.into_iter().map(|record| (record.asset, record.version)).collect();
        let mut found = 0;
        for asset in self.assets()? {
            let (home, current) = (self.root.join(&asset), self.current(&asset));
            for entry in fs::read_dir(&home).into_iter().flatten().flatten() {
                let name = entry.file_name().into_string().unwrap_or_default();
                if name.starts_with(LINK) {
                    let _ = fs::remove_file(entry.path());
                }
                if let Some(version) = Version::parse(&name)
                    && Some(version) != current
                    && !known.contains(&(asset.clone(), version))
                {
                    self.record(&Replaced { asset: asset.clone(), version, at: now })?;
                    found += 1;
                }
            }
        }
        Ok(found)
    }

    fn switch(&self, asset: &str, version: Version) -> Result<(), Error> {
        let home = self.root.join(asset);
        let link = home.join(format!("{LINK}{}", random()));
        symlink(version.as_str(), &link).map_err(|error| Error::io("link", &link, error))?;
        self.give_one_to_owner(&link)?;
        crash::point("link made");
        rename(&link, &home.join(CURRENT))?;
        crash::point("version switched");
        sync(&home)
    }

    fn record(&self, record: &Replaced) -> Result<(), Error> {
        let pending = self.prepare(record)?;
        self.complete(record, &pending)
    }

    /// Takes the space of a record, under a name that is none.
    fn prepare(&self, record: &Replaced) -> Result<PathBuf, Error> {
        let directory = self.root.join(REPLACED);
        match DirBuilder::new().create(&directory) {
            Ok(()) => self.give_one_to_owner(&directory)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io("create", &directory, error)),
        }
        let path = directory.join(format!("{}{PENDING}", record.file_name()));
        File::create(&path).map_err(|error| Error::io("create", &path, error))?;
        crash::point("record made");
        self.give_one_to_owner(&path)?;
        sync(&self.root)?;
        Ok(path)
    }

    fn complete(&self, record: &Replaced, pending: &Path) -> Result<(), Error> {
        let directory = self.root.join(REPLACED);
        rename(pending, &directory.join(record.file_name()))?;
        crash::point("record named");
        sync(&directory)
    }

    fn forget(&self, record: &Replaced) -> Result<(), Error> {
        let path = self.root.join(REPLACED).join(record.file_name());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("delete", &path, error)),
            _ => Ok(()),
        }
    }

    /// Renames and sweeps of all processes take turns. Held for milliseconds, never while media is copied.
    fn lock(&self) -> Result<Flock<File>, Error> {
        let path = self.root.join(LOCK);
        let failed = |error| Error::io("lock", &path, error);
        let existed = path.exists();
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        if !existed {
            self.give_one_to_owner(&path)?;
        }
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))
    }

    /// An import run by root gives what it wrote to the owner of the library: the server may otherwise neither delete it
    /// nor ask the kernel which of its pages are in memory (`cachestat` answers only to the owner or a writer).
    fn give_to_owner(&self, path: &Path) -> Result<(), Error> {
        self.give_one_to_owner(path)?;
        if path.is_dir() && !path.is_symlink() {
            for entry in fs::read_dir(path).map_err(|error| Error::io("list", path, error))?.flatten() {
                self.give_to_owner(&entry.path())?;
            }
        }
        Ok(())
    }

    fn give_one_to_owner(&self, path: &Path) -> Result<(), Error> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(());
        }
        let root = fs::metadata(&self.root).map_err(|error| Error::io("read", &self.root, error))?;
        let mine = fs::symlink_metadata(path).map_err(|error| Error::io("read", path, error))?;
        if (mine.uid(), mine.gid()) == (root.uid(), root.gid()) {
            return Ok(());
        }
        lchown(path, Some(root.uid()), Some(root.gid())).map_err(|error| Error::io("change the owner of", path, error))
    }
}

const LINK: &str = ".current-";
/// Of a record that is not yet one.
const PENDING: &str = ".pending";

impl Staging {
    /// Where the version's files are written.
    pub fn content(&self) -> PathBuf {
        self.path.join("content")
    }

    /// Where other files may be written, which do not become part of the version.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be deleted now is deleted by the next sweep.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl Replaced {
    fn file_name(&self) -> String {
        format!("{}.{}.{}", self.asset, self.version, self.at)
    }

    /// The inverse of `file_name`; `None` for anything else.
    pub fn parse(name: &str) -> Option<Replaced> {
        let mut parts = name.rsplitn(3, '.');
        let (at, version, asset) = (parts.next()?, parts.next()?, parts.next()?);
        check_name(asset).ok()?;
        Some(Replaced { asset: asset.to_owned(), version: Version::parse(version)?, at: at.parse().ok()? })
    }
}

/// Whether a version can be opened and its files have their lengths.
fn is_whole(path: &Path) -> bool {
    Index::open(&path.join(index::FILE_NAME)).is_ok_and(|index| asset::is_whole(path, &index))
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|error| Error::io("rename to", to, error))
}

fn sync(directory: &Path) -> Result<(), Error> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(|error| Error::io("sync", directory, error))
}

fn delete(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("delete", path, error)),
        _ => Ok(()),
    }
}

/// The standard library seeds its hash tables from the kernel's random numbers.
fn random() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}
