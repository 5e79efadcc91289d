//! A few threads that wait for the disk, so that no worker does: they read parts of files into the page cache, open
//! assets, compress large manifests, and make segments of stored media.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::Answers;
use super::inbox::{Inbox, Message};
use super::tickets::{Outcome, TicketId};
use crate::base::{Extent, Payload, Piece};
use crate::service::Load;
use crate::sys::{affinity, populate};

/// The queue that workers fill and helpers empty.
#[derive(Default)]
pub(super) struct Helpers {
    queue: Mutex<Queue>,
    filled: Condvar,
    /// What the thread waits for that does not read: a slow disk must not hold up what lies on another, or in memory.
    loads_filled: Condvar,
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
    /// Those that take the longest, and hold up nobody but who asked.
    makings: VecDeque<(LoadKey, Load)>,
    /// Who waits for a load that is queued or running: many requests for one asset wait for one load.
    waiting: HashMap<LoadKey, Vec<Reply>>,
    reads: VecDeque<Read>,
    /// What holds files open that nobody else does.
    closing: Vec<Payload>,
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
type LoadKey = (usize, u64);

fn key(load: &Load) -> LoadKey {
    let address = match load {
        Load::Open(entry) => Arc::as_ptr(entry) as usize,
        Load::Compress(manifest) => Arc::as_ptr(manifest) as usize,
        Load::Object(object) => Arc::as_ptr(object) as usize,
        Load::Make(job) => Arc::as_ptr(job) as usize,
        Load::Movie(order, _) => Arc::as_ptr(order) as usize,
        // Of one file different stretches are wanted.
        Load::Read(extents) => {
            let first = extents.first();
            return first.map_or((0, 0), |extent| (Arc::as_ptr(&extent.file) as *const () as usize, extent.offset));
        }
        // There is one, and nothing lives here.
        Load::List => 0,
    };
    (address, 0)
}

impl Helpers {
    /// Starts `count` threads that read, and one that does not, on `cpus` if there are any.
    pub(super) fn start(
        self: &Arc<Helpers>,
        count: usize,
        cpus: &[usize],
        answers: &Arc<dyn Answers>,
    ) -> std::io::Result<Vec<JoinHandle<()>>> {
        let start_one = |index| {
            let reads = index < count.max(1);
            let (helpers, answers, cpus) = (self.clone(), answers.clone(), cpus.to_vec());
            thread::Builder::new().name(format!("helper-{index}")).spawn(move || {
                // A CPU that went away: the scheduler knows better.
                let _ = cpus.is_empty() || affinity::pin(&cpus).is_ok();
                // Where they share a CPU with a worker, a hot answer must not wait for a cold one.
                affinity::yield_priority(NICE_STEPS);
                helpers.run(&*answers, reads);
            })
        };
        (0..=count.max(1)).map(start_one).collect()
    }

    pub(super) fn load(&self, load: Load, reply: Reply) {
        let mut queue = self.queue();
        let key = key(&load);
        let waiting = queue.waiting.entry(key).or_default();
        waiting.push(reply);
        if waiting.len() == 1 {
            let is_making = matches!(load, Load::Make(_) | Load::Movie(..));
            let Queue { loads, makings, .. } = &mut *queue;
            if is_making { makings } else { loads }.push_back((key, load));
            self.filled.notify_one();
            self.loads_filled.notify_one();
        }
    }

    /// Gives up what an answer was made of. A file that nobody else has open is closed here and not on the worker: that
    /// unmaps it, and frees its blocks if it was deleted.
    pub(super) fn let_go(&self, body: Payload) {
        let pieces = body.pieces();
        let is_last = |piece: &Piece| match piece {
            Piece::Extent(extent) => Arc::strong_count(&extent.file) <= pieces.len(),
            Piece::Inline(_) => false,
        };
        if pieces.iter().any(is_last) {
            self.queue().closing.push(body);
            self.loads_filled.notify_one();
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
        self.loads_filled.notify_all();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, answers: &dyn Answers, reads: bool) {
        let filled = if reads { &self.filled } else { &self.loads_filled };
        let mut queue = self.queue();
        loop {
            // Opening an asset holds up every request for it, so it goes first.
            let is_free = !reads || queue.reads.is_empty();
            let load = queue.loads.pop_front().or_else(|| is_free.then(|| queue.makings.pop_front()).flatten());
            if let Some((key, load)) = load {
                drop(queue);
                if catch_unwind(AssertUnwindSafe(|| answers.load(load))).is_err() {
                    tracing::error!("loading panicked; requests that need it get 500");
                }
                queue = self.queue();
                for reply in queue.waiting.remove(&key).unwrap_or_default() {
                    reply.inbox.post(Message::Done(reply.ticket, Outcome::Done));
                }
            } else if let Some(read) = reads.then(|| queue.reads.pop_front()).flatten() {
                drop(queue);
                let outcome = read_in(&read.extent);
                self.reading.fetch_sub(1, Ordering::Relaxed);
                if let Some(reply) = read.reply {
                    reply.inbox.post(Message::Done(reply.ticket, outcome));
                }
                queue = self.queue();
            } else if !queue.closing.is_empty() {
                let closing = std::mem::take(&mut queue.closing);
                drop(queue);
                drop(closing);
                queue = self.queue();
            } else if queue.stopped {
                return;
            } else {
                queue = filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

fn read_in(extent: &Extent) -> Outcome {
    match populate::read_in(extent.file.fd(), extent.offset, extent.len) {
        Ok(()) => Outcome::Done,
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Outcome::Truncated,
        Err(error) => {
            if extent.file.mark_damaged() {
                tracing::error!(extent = ?extent, %error, "reading failed");
            }
            Outcome::Truncated
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Stored;
    use crate::service::{Answer, Now, Pages};
    use crate::sys::MappedFile;
    use std::os::fd::BorrowedFd;
    use std::path::Path;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Says so when it is loaded.
    struct Loads(Mutex<Sender<()>>);

    impl Answers for Loads {
        fn answer(&self, _: &crate::http::Request<'_>, _: Now) -> Answer {
            unreachable!("helpers do not answer")
        }
        fn load(&self, _: Load) {
            self.0.lock().unwrap().send(()).unwrap();
        }
    }

    /// A file on a disk that does not answer until it is told to, and that says which thread closed it.
    struct Slow {
        file: MappedFile,
        disk: Mutex<Receiver<()>>,
        closed: Sender<Option<String>>,
    }

    impl Stored for Slow {
        fn fd(&self) -> BorrowedFd<'_> {
            let _ = self.disk.lock().unwrap().recv_timeout(PATIENCE);
            self.file.fd()
        }
        fn len(&self) -> u64 {
            self.file.len()
        }
        fn mapped(&self) -> Option<&[u8]> {
            None
        }
        fn name(&self) -> &str {
            "slow"
        }
    }

    impl Drop for Slow {
        fn drop(&mut self) {
            let _ = self.closed.send(thread::current().name().map(str::to_owned));
        }
    }

    fn slow() -> (Extent, Sender<()>, Receiver<Option<String>>) {
        let ((disk, asked), (closed, told)) = (channel(), channel());
        let file = MappedFile::open(Path::new("/dev/null")).unwrap();
        let file = Arc::new(Slow { file, disk: Mutex::new(asked), closed });
        (Extent { file, offset: 0, len: 0 }, disk, told)
    }

    #[test]
    fn a_slow_disk_does_not_hold_up_what_is_not_on_it() {
        let (loaded, is_loaded) = channel();
        let answers: Arc<dyn Answers> = Arc::new(Loads(Mutex::new(loaded)));
        let helpers = Arc::<Helpers>::default();
        let threads = helpers.start(2, &[], &answers).unwrap();
        let (disks, extents): (Vec<_>, Vec<_>) = (0..8).map(|_| slow()).map(|(extent, disk, _)| (disk, extent)).unzip();
        for extent in extents {
            helpers.read(extent, None);
        }
        let inbox = Arc::new(Inbox::new().unwrap());
        let mut pages = Pages::default();
        // One each: what is asked for again while it is loaded is loaded once.
        for (ticket, path) in ["/a", "/b", "/c"].into_iter().enumerate() {
            pages.add(path, "text/html", "text");
            let manifest = pages.find(path).unwrap().clone();
            helpers.load(Load::Compress(manifest), Reply { inbox: inbox.clone(), ticket: ticket as TicketId });
            is_loaded.recv_timeout(PATIENCE / 2).expect("loaded while every reader waits");
        }
        drop(disks);
        helpers.stop();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn the_last_use_of_a_file_ends_on_a_helper() {
        let (loaded, _) = channel();
        let answers: Arc<dyn Answers> = Arc::new(Loads(Mutex::new(loaded)));
        let helpers = Arc::<Helpers>::default();
        let threads = helpers.start(1, &[], &answers).unwrap();
        let (extent, _disk, closed) = slow();
        let elsewhere = extent.file.clone();
        helpers.let_go(Payload::One(Piece::Extent(extent.clone())));
        drop(extent);
        assert!(closed.recv_timeout(Duration::from_millis(50)).is_err(), "somebody else has it open");
        let extent = Extent { file: elsewhere, offset: 0, len: 1 };
        helpers.let_go(Payload::One(Piece::Extent(extent)));
        let thread = closed.recv_timeout(PATIENCE).unwrap().unwrap();
        assert!(thread.starts_with("helper-"), "{thread}");
        helpers.stop();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
