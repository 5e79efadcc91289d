//! A few threads that wait for the disk, so that no worker does: they read parts of files into the page cache, open
//! assets, and compress large manifests.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::Answers;
use super::inbox::{Inbox, Message};
use super::tickets::{Outcome, TicketId};
use crate::base::Extent;
use crate::service::Load;
use crate::sys::{affinity, populate};

/// The queue that workers fill and helpers empty.
#[derive(Default)]
pub(super) struct Helpers {
    queue: Mutex<Queue>,
    filled: Condvar,
    /// Reads queued or under way: while there are any, a page in the cache may still be on its way from the disk.
    reading: AtomicUsize,
}

/// Whom to tell.
pub(super) struct Reply {
    pub(super) inbox: Arc<Inbox>,
    pub(super) ticket: TicketId,
}

#[derive(Default)]
struct Queue {
    loads: VecDeque<(LoadKey, Load)>,
    /// Who waits for a load that is queued or running: many requests for one asset wait for one load.
    waiting: HashMap<LoadKey, Vec<Reply>>,
    reads: VecDeque<Read>,
    stopped: bool,
}

struct Read {
    extent: Extent,
    /// `None`: read ahead of the client, nobody waits.
    reply: Option<Reply>,
}

const NICE_STEPS: i32 = 5;

/// Where the thing that is loaded lives: unique as long as the queue holds it. (One that is asked for between the end of a
/// load and its announcement waits for nothing and is asked for again.)
type LoadKey = usize;

fn key(load: &Load) -> LoadKey {
    match load {
        Load::Open(entry) => Arc::as_ptr(entry) as usize,
        Load::Compress(manifest) => Arc::as_ptr(manifest) as usize,
    }
}

impl Helpers {
    /// Starts the threads, on `cpus` if there are any.
    pub(super) fn start(
        self: &Arc<Helpers>,
        count: usize,
        cpus: &[usize],
        answers: &Arc<dyn Answers>,
    ) -> std::io::Result<Vec<JoinHandle<()>>> {
        let start_one = |index| {
            let (helpers, answers, cpus) = (self.clone(), answers.clone(), cpus.to_vec());
            thread::Builder::new().name(format!("helper-{index}")).spawn(move || {
                // A CPU that went away: the scheduler knows better.
                let _ = cpus.is_empty() || affinity::pin(&cpus).is_ok();
                // Where they share a CPU with a worker, a hot answer must not wait for a cold one.
                affinity::yield_priority(NICE_STEPS);
                helpers.run(&*answers);
            })
        };
        (0..count.max(1)).map(start_one).collect()
    }

    pub(super) fn load(&self, load: Load, reply: Reply) {
        let mut queue = self.queue();
        let key = key(&load);
        let waiting = queue.waiting.entry(key).or_default();
        waiting.push(reply);
        if waiting.len() == 1 {
            queue.loads.push_back((key, load));
            self.filled.notify_one();
        }
    }

    /// Has `extent`, which is not longer than the read-ahead window, read into the page cache.
    pub(super) fn read(&self, extent: Extent, reply: Option<Reply>) {
        self.reading.fetch_add(1, Ordering::Relaxed);
        self.queue().reads.push_back(Read { extent, reply });
        self.filled.notify_one();
    }

    /// Whether pages may be in the page cache whose bytes are not there yet.
    pub(super) fn are_reading(&self) -> bool {
        self.reading.load(Ordering::Relaxed) > 0
    }

    /// The threads end when the queue is empty.
    pub(super) fn stop(&self) {
        self.queue().stopped = true;
        self.filled.notify_all();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, answers: &dyn Answers) {
        let mut queue = self.queue();
        loop {
            // Opening an asset holds up every request for it, so it goes first.
            if let Some((key, load)) = queue.loads.pop_front() {
                drop(queue);
                if catch_unwind(AssertUnwindSafe(|| answers.load(load))).is_err() {
                    tracing::error!("loading panicked; requests that need it get 500");
                }
                queue = self.queue();
                for reply in queue.waiting.remove(&key).unwrap_or_default() {
                    reply.inbox.post(Message::Done(reply.ticket, Outcome::Done));
                }
            } else if let Some(read) = queue.reads.pop_front() {
                drop(queue);
                let outcome = read_in(&read.extent);
                self.reading.fetch_sub(1, Ordering::Relaxed);
                if let Some(reply) = read.reply {
                    reply.inbox.post(Message::Done(reply.ticket, outcome));
                }
                queue = self.queue();
            } else if queue.stopped {
                return;
            } else {
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

fn read_in(extent: &Extent) -> Outcome {
    match populate::read_in(extent.file.fd(), extent.offset, extent.len) {
        Ok(()) => Outcome::Done,
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Outcome::Truncated,
        Err(error) => {
            tracing::error!(extent = ?extent, %error, "reading failed");
            Outcome::Truncated
        }
    }
}
