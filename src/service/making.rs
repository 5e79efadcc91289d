//! Segments that have to be made of stored media: once, however many ask for one at the same time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::error;

use crate::base::Extent;
use crate::library::{Asset, Entry, Library};
use crate::package::ts::{self, Making};
use crate::store::derived::{Derived, Failure, Make};
use crate::sys::{populate, residency, transfer};

use super::live;
use super::playback::Wanted;

/// One segment to be made; it holds what it is made of open meanwhile.
pub struct Job {
    key: Box<str>,
    of: Of,
}

enum Of {
    Asset { entry: Arc<Entry>, asset: Arc<Asset> },
    Channel { name: String, wanted: Box<live::Wanted> },
}

/// Those that are under way or waiting for a helper.
#[derive(Default)]
pub struct Jobs {
    open: Mutex<HashMap<Box<str>, Arc<Job>>>,
    joined: AtomicU64,
}

impl Jobs {
    /// The job for that segment: the one that somebody waits for already, or a new one.
    pub fn join(&self, wanted: Wanted, entry: &Arc<Entry>, asset: &Arc<Asset>) -> Arc<Job> {
        self.join_key(wanted.key, || Of::Asset { entry: entry.clone(), asset: asset.clone() })
    }

    /// The same of a segment of a channel.
    pub fn join_live(&self, wanted: Box<live::Wanted>, channel: &str) -> Arc<Job> {
        self.join_key(wanted.key.clone(), || Of::Channel { name: channel.to_owned(), wanted })
    }

    fn join_key(&self, key: Box<str>, of: impl FnOnce() -> Of) -> Arc<Job> {
        let mut open = self.open();
        if let Some(job) = open.get(&key) {
            self.joined.fetch_add(1, Ordering::Relaxed);
            return job.clone();
        }
        let job = Arc::new(Job { key: key.clone(), of: of() });
        open.insert(key, job.clone());
        job
    }

    /// Runs on the helper pool.
    pub fn run(&self, job: &Job, derived: &Derived, library: &Library) {
        // However it ends, nobody may join it any more.
        let _end = End { jobs: self, key: &job.key };
        match job.make(derived) {
            Ok(()) => {}
            Err(Error::Damaged) => match &job.of {
                Of::Asset { entry, .. } => library.damaged(entry),
                // Files are marked, each by itself.
                Of::Channel { .. } => {}
            },
            Err(Error::Impossible(reason)) => {
                job.complain(&reason);
                derived.refuse(&job.key);
            }
            Err(Error::NotKept(failure)) => job.complain(&failure),
        }
    }

    /// How many there are, and how many requests waited for one that was there.
    pub fn figures(&self) -> (usize, u64) {
        (self.open().len(), self.joined.load(Ordering::Relaxed))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Job>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct End<'j> {
    jobs: &'j Jobs,
    key: &'j str,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut open = self.jobs.open();
        open.remove(self.key);
        // Those that a connection gave up before a helper had them: nobody else holds them.
        let given_up: Vec<_> = open.extract_if(|_, job| Arc::strong_count(job) == 1).collect();
        drop(open);
        // Assets are closed without the lock.
        drop(given_up);
    }
}

enum Error {
    /// A file is not what was published.
    Damaged,
    /// The same whenever it is tried.
    Impossible(String),
    NotKept(Failure),
}

impl Job {
    fn make(&self, derived: &Derived) -> Result<(), Error> {
        match &self.of {
            Of::Asset { asset, .. } => {
                let presentation = asset.presentation();
                let plan = ts::url::parse(&self.key).and_then(|resource| ts::plan(&presentation, resource));
                // It was there a moment ago: the index reads as zeros now.
                let plan = plan.ok_or(Error::Damaged)?;
                self.make_of(derived, &plan.sources(), || plan.making())
            }
            Of::Channel { wanted, .. } => self.make_of(derived, &wanted.sources(), || wanted.making()),
        }
    }

    fn make_of<'a>(
        &self,
        derived: &Derived,
        sources: &[Extent],
        making: impl Fn() -> Result<Making<'a>, ts::Error>,
    ) -> Result<(), Error> {
        if !sources.iter().all(read_in) {
            return Err(Error::Damaged);
        }
        let first = making().map_err(|error| match self.is_sound(sources) {
            true => Error::Impossible(error.to_string()),
            false => Error::Damaged,
        })?;
        let first = RefCell::new(Some(first));
        let begin = || Work { job: self, sources, making: first.take().or_else(|| making().ok()) };
        derived.keep(&self.key, begin).map_err(|failure| match failure {
            Failure::Damaged => Error::Damaged,
            failure @ Failure::NoRoom { .. } => Error::NotKept(failure),
        })
    }

    fn is_sound(&self, sources: &[Extent]) -> bool {
        // The page in which a truncated file ends reads as zeros behind its end, and no fault tells.
        let is_whole = |source: &Extent| {
            let len = match &self.of {
                Of::Asset { .. } => source.file.len(),
                // Its files grow.
                Of::Channel { .. } => source.end(),
            };
            transfer::file_len(source.file.fd()).is_ok_and(|found| found >= len)
        };
        for source in sources.iter().filter(|source| !is_whole(source)) {
            complain(source);
        }
        match &self.of {
            Of::Asset { asset, .. } => !asset.is_damaged() && asset.is_whole(),
            Of::Channel { .. } => !sources.iter().any(|source| source.file.is_damaged()),
        }
    }

    fn complain(&self, reason: &dyn std::fmt::Display) {
        match &self.of {
            Of::Asset { entry, .. } => error!(asset = entry.name(), "segment {}: {reason}", self.key),
            Of::Channel { name, .. } => error!(channel = name, "segment {}: {reason}", self.key),
        }
    }
}

/// Whether all of it could be read.
fn read_in(source: &Extent) -> bool {
    if residency::is_resident(source.file.fd(), source.offset, source.len) {
        return true;
    }
    let read = populate::read_in(source.file.fd(), source.offset, source.len);
    if read.is_err() {
        complain(source);
    }
    read.is_ok()
}

fn complain(source: &Extent) {
    if source.file.mark_damaged() {
        error!("{}: truncated or unreadable", source.file.name());
    }
}

struct Work<'a> {
    job: &'a Job,
    sources: &'a [Extent],
    /// `None`: what could be begun before cannot any more.
    making: Option<Making<'a>>,
}

impl Make for Work<'_> {
    fn advance(&mut self, out: &mut Vec<u8>) -> bool {
        self.making.as_mut().is_some_and(|making| making.advance(out))
    }

    fn is_sound(&self) -> bool {
        self.making.is_some() && self.job.is_sound(self.sources)
    }
}
