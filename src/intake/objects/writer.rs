//! The thread that writes objects and makes changes survive, a batch at a time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::now_millis;
use crate::base::limits::{STORE_BATCH_MAX, STORE_INLINE_BYTES_MAX};
use crate::service::objects::StoreReads;
use crate::store::objects::disk::DiskFile;
use crate::store::objects::{
    Change, CommitError, Digest, Durability, Meta, Object, ObjectPath, Objects, Upload, Written,
};

/// What connections ask the thread for. There is no more of it than there are connections.
pub enum Command {
    Put(Box<Put>),
    Delete { id: u64, answer: Answer<()> },
}

pub type Answer<T> = oneshot::Sender<Result<T, CommitError>>;

/// An upload that is complete.
pub struct Put {
    pub id: u64,
    pub path: ObjectPath,
    pub len: u64,
    pub digest: Digest,
    pub meta: Arc<Meta>,
    /// Milliseconds; 0 is for ever.
    pub lifetime: u32,
    pub content: Content,
    /// Where it was shown while it came.
    pub shown: Option<Arc<Upload>>,
    pub answer: Answer<Arc<Object>>,
}

pub enum Content {
    /// All of it, still to be written.
    Memory(Vec<Bytes>),
    Written(Arc<dyn DiskFile>),
}

/// A change with whom to tell.
struct Prepared {
    change: Change,
    bytes: Option<Bytes>,
    shown: Option<Arc<Upload>>,
    answer: Told,
}

enum Told {
    Put(Arc<Object>, Answer<Arc<Object>>),
    Delete(Answer<()>),
}

/// Until nobody is left who could ask.
pub fn run(reads: &StoreReads, commands: &Receiver<Command>) {
    let objects = reads.objects();
    let wait = match objects.durability() {
        Durability::Batched(wait) => wait,
        Durability::Each | Durability::None => Duration::ZERO,
    };
    while let Ok(first) = commands.recv() {
        let deadline = Instant::now() + wait;
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(command) = next.take() {
            batch.extend(prepare(objects, command));
            if batch.len() < STORE_BATCH_MAX {
                let left = deadline.saturating_duration_since(Instant::now());
                next = match left.is_zero() {
                    true => commands.try_recv().ok(),
                    false => commands.recv_timeout(left).ok(),
                };
            }
        }
        let changes: Vec<&Change> = batch.iter().map(|prepared| &prepared.change).collect();
        let results = objects.commit(&changes);
        for (prepared, result) in batch.into_iter().zip(results) {
            finish(reads, prepared, result);
        }
        // At once, so that what comes next finds their pages free, and nothing that is gone takes room on the disk.
        remove_garbage(reads);
    }
}

/// Files that nobody is shown any more are closed and deleted.
fn remove_garbage(reads: &StoreReads) {
    for id in reads.objects().remove_garbage() {
        reads.forget(id);
    }
}

/// Writes what is still in memory. `None`: that failed, and was said.
fn prepare(objects: &Objects, command: Command) -> Option<Prepared> {
    let put = match command {
        Command::Delete { id, answer } => {
            return Some(Prepared {
                change: Change::Delete(id),
                bytes: None,
                shown: None,
                answer: Told::Delete(answer),
            });
        }
        Command::Put(put) => *put,
    };
    let (written, bytes) = match put.content {
        Content::Written(file) => (Ok(file), None),
        Content::Memory(pieces) => {
            let written = objects.create(put.id).and_then(|file| file.write_pieces(&pieces, 0).map(|()| file));
            let bytes = (put.len <= STORE_INLINE_BYTES_MAX).then(|| Bytes::from(pieces.concat()));
            (written, bytes)
        }
    };
    match written {
        Ok(file) => {
            let Put { id, path, len, digest, meta, lifetime, .. } = put;
            let object = objects.object(Written { id, path, len, modified: now_millis(), digest, meta, lifetime });
            let change = Change::Put(object.clone(), file);
            Some(Prepared { change, bytes, shown: put.shown, answer: Told::Put(object, put.answer) })
        }
        Err(error) => {
            objects.abandon(put.id);
            let _ = put.answer.send(Err(CommitError::Disk(Arc::new(error))));
            None
        }
    }
}

/// Nobody may be left who wants to know.
fn finish(reads: &StoreReads, prepared: Prepared, result: Result<(), CommitError>) {
    if let (Err(_), Some(shown)) = (&result, &prepared.shown) {
        reads.objects().table().hide(shown);
    }
    match prepared.answer {
        Told::Delete(answer) => drop(answer.send(result)),
        Told::Put(object, answer) => {
            if let (Ok(()), Change::Put(_, file)) = (&result, prepared.change)
                && let Some(stored) = file.stored(object.len)
            {
                reads.opened(object.clone(), stored, prepared.bytes);
            }
            let _ = answer.send(result.map(|()| object));
        }
    }
}

/// Between two looks at what is due.
const UPKEEP_PERIOD: Duration = Duration::from_millis(250);

/// Deletes what has expired and what nobody is shown any more, and writes checkpoints.
pub fn upkeep(reads: &StoreReads, stop: &AtomicBool) {
    let objects = reads.objects();
    match objects.remove_leftovers() {
        Ok((0, 0)) => {}
        Ok((removed, missing)) => {
            if removed > 0 {
                info!("store: {removed} files of uploads that were not complete are deleted");
            }
            if missing > 0 {
                error!(
                    "store: {missing} objects are without their files: somebody deleted them, or the disk lost them"
                );
            }
        }
        Err(error) => warn!("store: {error}"),
    }
    let mut failing = false;
    while !stop.load(Ordering::Relaxed) {
        let done = round(reads, stop);
        if let (Err(error), false) = (&done, failing) {
            error!("store: upkeep: {error}");
        }
        failing = done.is_err();
        std::thread::sleep(UPKEEP_PERIOD);
    }
    remove_garbage(reads);
}

fn round(reads: &StoreReads, stop: &AtomicBool) -> io::Result<()> {
    let objects = reads.objects();
    loop {
        let now = now_millis();
        let ids = objects.expired(now, STORE_BATCH_MAX);
        for id in &ids {
            if let Some(object) = objects.table().by_id(*id) {
                objects.table().usage_of(object.path.container()).expired.fetch_add(1, Ordering::Relaxed);
            }
        }
        let changes: Vec<Change> = ids.iter().map(|&id| Change::Delete(id)).collect();
        for result in objects.commit(&changes.iter().collect::<Vec<_>>()) {
            if let Err(error) = result {
                objects.expire_again(&ids);
                return Err(io::Error::other(error));
            }
        }
        remove_garbage(reads);
        if ids.len() < STORE_BATCH_MAX || stop.load(Ordering::Relaxed) {
            break;
        }
    }
    objects.checkpoint_if_due().map(drop)
}

/// The end of the thread that `commands` go to.
#[derive(Clone)]
pub struct Writer(pub Sender<Command>);

impl Writer {
    pub async fn put(&self, put: impl FnOnce(Answer<Arc<Object>>) -> Put) -> Option<Result<Arc<Object>, CommitError>> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Command::Put(Box::new(put(answer)))).ok()?;
        answered.await.ok()
    }

    pub async fn delete(&self, id: u64) -> Option<Result<(), CommitError>> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Command::Delete { id, answer }).ok()?;
        answered.await.ok()
    }
}
