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

use super::playback::Wanted;

/// One segment to be made; it holds its asset open meanwhile.
pub struct Job {
    wanted: Wanted,
    entry: Arc<Entry>,
    asset: Arc<Asset>,
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
        let mut open = self.open();
        if let Some(job) = open.get(&wanted.key) {
            self.joined.fetch_add(1, Ordering::Relaxed);
            return job.clone();
        }
        let job = Arc::new(Job { wanted, entry: entry.clone(), asset: asset.clone() });
        open.insert(job.wanted.key.clone(), job.clone());
        job
    }

    /// Runs on the helper pool.
    pub fn run(&self, job: &Job, derived: &Derived, library: &Library) {
        // However it ends, nobody may join it any more.
        let _end = End { jobs: self, key: &job.wanted.key };
        match job.make(derived) {
            Ok(()) => {}
            Err(Error::Damaged) => library.damaged(&job.entry),
            Err(Error::Impossible(reason)) => {
                error!(asset = job.entry.name(), "segment {}: {reason}", job.wanted.key);
                derived.refuse(&job.wanted.key);
            }
            Err(Error::NotKept(reason)) => error!(asset = job.entry.name(), "segment {}: {reason}", job.wanted.key),
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
        let presentation = self.asset.presentation();
        let plan = ts::url::parse(&self.wanted.key).and_then(|resource| ts::plan(&presentation, resource));
        // It was there a moment ago: the index reads as zeros now.
        let plan = plan.ok_or(Error::Damaged)?;
        let sources = plan.sources();
        if !sources.iter().all(read_in) {
            return Err(Error::Damaged);
        }
        let first = plan.making().map_err(|error| match self.is_sound(&sources) {
            true => Error::Impossible(error.to_string()),
            false => Error::Damaged,
        })?;
        let first = RefCell::new(Some(first));
        let begin = || Work { job: self, sources: &sources, making: first.take().or_else(|| plan.making().ok()) };
        derived.keep(&self.wanted.key, begin).map_err(|failure| match failure {
            Failure::Damaged => Error::Damaged,
            failure @ Failure::NoRoom { .. } => Error::NotKept(failure),
        })
    }

    fn is_sound(&self, sources: &[Extent]) -> bool {
        // The page in which a truncated file ends reads as zeros behind its end, and no fault tells.
        let is_whole = |source: &Extent| transfer::file_len(source.file.fd()).is_ok_and(|len| len >= source.file.len());
        for source in sources.iter().filter(|source| !is_whole(source)) {
            complain(source);
        }
        !self.asset.is_damaged() && self.asset.is_whole()
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
