//! One worker: a thread with its ring, its listeners and its connections, and the state they share.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use monoio::IoUringDriver;
use monoio::task::JoinHandle;
use pin_project_lite::pin_project;

use super::access_log::AccessLog;
use super::buffer::BufferPool;
use super::bulk::Bulk;
use super::clock::Clock;
use super::connection::Connection;
use super::helpers::{Helpers, Reply};
use super::inbox::{Inbox, Message};
use super::listener::Listener;
use super::metrics::WorkerMetrics;
use super::readiness::Readiness;
use super::slots::{Expired, Phase, Slot, Slots};
use super::tickets::{Outcome, TicketId, Tickets};
use super::waits::Waits;
use super::warm::Warm;
use super::{Answers, Options, balance};
use crate::base::{Extent, Watermark, limits};
use crate::service::Load;
use crate::sys::{Pollable, Ticker, probe, socket, transfer};

/// What all workers of a plane see.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) answers: Arc<dyn Answers>,
    pub(super) helpers: Arc<Helpers>,
    pub(super) siblings: Vec<Sibling>,
    /// Connections of all workers. Changed per connection, never per request.
    pub(super) connections: AtomicUsize,
    pub(super) ring: probe::Ring,
    /// The kernel spaces out the packets of a connection.
    pub(super) paced: bool,
}

/// What of a worker others may touch.
pub(super) struct Sibling {
    pub(super) inbox: Arc<Inbox>,
    pub(super) metrics: Arc<WorkerMetrics>,
}

/// The state of one worker; its tasks hold it.
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: Arc<WorkerMetrics>,
    pub(super) clock: Clock,
    pub(super) buffers: BufferPool,
    pub(super) readiness: Rc<Readiness>,
    pub(super) slots: Slots,
    pub(super) tickets: Tickets,
    waits: Waits,
    pub(super) warm: Warm,
    pub(super) bulk: Bulk,
    pub(super) log: Option<AccessLog>,
    /// Connections that are only told 503.
    pub(super) refusing: Cell<usize>,
    inbox: Arc<Inbox>,
    /// Where heads are written, kept for its allocation.
    head: Cell<Vec<u8>>,
    /// The tick at which stopping began.
    stopping: Cell<Option<u32>>,
    next_tick: RefCell<Vec<Waker>>,
    /// Releases that go on.
    releasing: Cell<usize>,
    /// Who is heard again behind them.
    unhurried: RefCell<VecDeque<Waker>>,
}

/// Runs until the plane stops and the last connection is gone. Called on the thread that becomes the worker.
pub(super) fn run(
    index: usize,
    shared: Arc<Shared>,
    listeners: Vec<TcpListener>,
    log: Option<SyncSender<String>>,
) -> std::io::Result<()> {
    /// Submission entries; completions have twice as many, and the kernel keeps what does not fit.
    const ENTRIES: u32 = 4096;
    let mut runtime = monoio::RuntimeBuilder::<IoUringDriver>::new()
        .uring_builder(probe::builder(&shared.ring))
        .with_entries(ENTRIES)
        .build()?;
    let tick = shared.options.tick();
    let Sibling { inbox, metrics } = &shared.siblings[index];
    let worker = Rc::new(Worker {
        index,
        metrics: metrics.clone(),
        clock: Clock::new(tick),
        buffers: BufferPool::default(),
        readiness: Rc::new(Readiness::new()?),
        slots: Slots::default(),
        tickets: Tickets::default(),
        waits: Waits::new(inbox.clone()),
        warm: Warm::default(),
        bulk: Bulk::default(),
        log: log.map(AccessLog::new),
        refusing: Cell::new(0),
        inbox: inbox.clone(),
        head: Cell::default(),
        stopping: Cell::new(None),
        next_tick: RefCell::default(),
        releasing: Cell::new(0),
        unhurried: RefCell::default(),
        shared: shared.clone(),
    });
    runtime.block_on(worker.work(listeners, Ticker::new(tick)?))
}

impl Worker {
    async fn work(self: Rc<Worker>, listeners: Vec<TcpListener>, ticker: Ticker) -> std::io::Result<()> {
        let inbox = Pollable::new(self.inbox.wake().descriptor()?)?;
        let listeners = listeners.into_iter().map(Listener::new).collect::<Result<Rc<[Listener]>, _>>()?;
        let mut tasks = Vec::new();
        for index in 0..listeners.len() {
            let (worker, listeners) = (self.clone(), listeners.clone());
            tasks.push(self.spawn(async move { listeners[index].accept(&worker).await }));
        }
        let always_writable = Rc::new(Pollable::new(self.inbox.wake().descriptor()?)?);
        let (worker, ready) = (self.clone(), always_writable.clone());
        tasks.push(self.spawn(async move { worker.read_inbox(&inbox, &listeners, &ready).await }));
        let worker = self.clone();
        tasks.push(self.spawn(async move { worker.bulk.run(&always_writable).await }));
        let (readiness, told) = (self.readiness.clone(), Pollable::new(self.readiness.descriptor()?)?);
        tasks.push(self.spawn(async move { readiness.run(&told).await }));
        self.keep_time(&ticker).await?;
        // A task that still waits for the ring when that goes is never dropped, nor is what it holds: the access log would not end.
        for task in tasks {
            task.await;
        }
        Ok(())
    }

    /// Looks at deadlines once a tick, until there is nothing left to do.
    async fn keep_time(&self, ticker: &Ticker) -> std::io::Result<()> {
        let ticks = Pollable::new(ticker.descriptor()?)?;
        loop {
            ticks.readable().await;
            ticker.clear();
            self.clock.advance();
            self.clock.now();
            self.metrics.progress.add(1);
            self.waits.expire(self.clock.ticks(), &self.tickets);
            self.metrics.waiting.set(self.waits.len() as u64);
            self.sweep();
            // A disk that does not answer does not hold the stop up.
            if self.stopped_for().is_some_and(|age| age > self.clock.ticks_ceil(self.shared.options.stop_timeout)) {
                self.tickets.close_all(Outcome::Overdue);
            }
            if let Some(log) = &self.log {
                log.hand_over();
                self.metrics.log_dropped.add(log.take_dropped());
            }
            for waker in self.next_tick.take() {
                waker.wake();
            }
            // One tick later than the last connection, so that what it left in the ring has been submitted.
            let is_idle = self.slots.is_empty() && !self.is_releasing();
            if is_idle && self.stopping.get().is_some_and(|since| since != self.clock.ticks()) {
                self.inbox.wake().wake();
                self.bulk.end();
                self.readiness.end();
                return Ok(());
            }
        }
    }

    async fn read_inbox(self: &Rc<Worker>, wake: &Pollable, listeners: &[Listener], always_writable: &Rc<Pollable>) {
        loop {
            wake.readable().await;
            for message in self.inbox.take() {
                match message {
                    Message::Done(ticket, outcome) => self.tickets.close(ticket, outcome),
                    Message::Moved(key) => self.release(self.waits.moved(key), always_writable),
                    Message::Connection(stream, peer) => self.admit(stream, peer),
                    Message::Stop if self.is_stopping() => {}
                    Message::Stop => {
                        self.stopping.set(Some(self.clock.ticks()));
                        self.waits.expire_all(&self.tickets);
                        // Closing a listener resets what waits in its queue, so that is taken first.
                        for listener in listeners {
                            listener.drain(self);
                            listener.close();
                        }
                    }
                }
            }
            if self.is_stopping() && self.slots.is_empty() {
                return;
            }
        }
    }

    /// Lets requests go on that waited, a few at a time. In between the worker looks at its ring: who has the playlist already
    /// gets the part while what belongs to that connection is still in the CPU's caches, and nobody else waits for all of them.
    /// Whoever has the part is not in a hurry any more, and is heard again afterwards ([`Worker::released`]).
    fn release(self: &Rc<Worker>, reached: Vec<TicketId>, always_writable: &Rc<Pollable>) {
        let close = |worker: &Worker, some: &[TicketId]| {
            some.iter().for_each(|&ticket| worker.tickets.close(ticket, Outcome::Done));
        };
        if reached.len() <= limits::TURN_RELEASED {
            return close(self, &reached);
        }
        let (worker, always_writable) = (self.clone(), always_writable.clone());
        let releasing = Releasing::new(self.clone());
        self.spawn(async move {
            for some in reached.chunks(limits::TURN_RELEASED) {
                close(&worker, some);
                always_writable.writable().await;
            }
            while !worker.unhurried.borrow().is_empty() {
                for _ in 0..limits::TURN_RELEASED {
                    let Some(waker) = worker.unhurried.borrow_mut().pop_front() else { break };
                    waker.wake();
                }
                always_writable.writable().await;
            }
            drop(releasing);
        });
    }

    /// Whether many who waited for the same thing are being answered.
    pub(super) fn is_releasing(&self) -> bool {
        self.releasing.get() > 0
    }

    /// Ends when they have been, a few at a time.
    pub(super) async fn released(&self) {
        let mut waited = false;
        poll_fn(|context| {
            if std::mem::replace(&mut waited, true) || !self.is_releasing() {
                return Poll::Ready(());
            }
            self.unhurried.borrow_mut().push_back(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// A connection that was just accepted, counted in `Shared::connections`: served here, or by a worker with far fewer.
    pub(super) fn place(self: &Rc<Worker>, stream: TcpStream, peer: IpAddr) {
        let open = self.shared.siblings.iter().map(|sibling| sibling.metrics.open());
        match balance::lighter(self.index, open) {
            Some(other) if !self.is_stopping() => {
                self.metrics.handed_over.add(1);
                self.shared.siblings[other].inbox.post(Message::Connection(stream, peer));
            }
            _ => self.admit(stream, peer),
        }
    }

    fn admit(self: &Rc<Worker>, stream: TcpStream, peer: IpAddr) {
        match Connection::new(self.clone(), stream, peer) {
            Ok(connection) => drop(self.spawn(connection.run())),
            Err(error) => {
                self.shared.connections.fetch_sub(1, Ordering::Relaxed);
                tracing::error!(%error, "connection lost");
            }
        }
    }

    /// Answers 503 to a connection above the limit.
    pub(super) fn refuse(self: &Rc<Worker>, stream: TcpStream, peer: IpAddr) {
        self.metrics.refused.add(1);
        if self.refusing.get() < (limits::REFUSALS_MAX / self.shared.siblings.len()).max(1)
            && let Ok(connection) = Connection::refused(self.clone(), stream, peer)
        {
            self.spawn(connection.run());
        }
    }

    /// A task whose panic ends that task and nothing else.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
        monoio::spawn(Guarded { task, metrics: self.metrics.clone() })
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.get().is_some()
    }

    /// Ticks since stopping began.
    fn stopped_for(&self) -> Option<u32> {
        self.stopping.get().map(|since| self.clock.ticks().wrapping_sub(since))
    }

    /// An empty buffer for a head.
    pub(super) fn take_head(&self) -> Vec<u8> {
        let mut head = self.head.take();
        head.clear();
        head
    }

    /// `head` will be written over.
    pub(super) fn give_back_head(&self, head: Vec<u8>) {
        if head.capacity() <= 2 * limits::GATHER_BYTES_MAX {
            self.head.set(head);
        }
    }

    pub(super) fn load(&self, load: Load) -> TicketId {
        self.metrics.loads.add(1);
        let ticket = self.tickets.open();
        self.shared.helpers.load(load, Reply { inbox: self.inbox.clone(), ticket });
        ticket
    }

    /// Has a stretch of a file read into the page cache.
    pub(super) fn read_in(&self, extent: Extent) -> TicketId {
        self.metrics.cold_waits.add(1);
        let ticket = self.tickets.open();
        self.shared.helpers.read(extent, Some(Reply { inbox: self.inbox.clone(), ticket }));
        ticket
    }

    /// Waits until `mark` is reached, for `patience` at most (and up to a tick more).
    pub(super) fn wait_for(&self, mark: Watermark, patience: Duration) -> TicketId {
        self.metrics.waits.add(1);
        let ticket = self.tickets.open();
        let until = self.clock.ticks().wrapping_add(self.clock.ticks_ceil(patience));
        self.waits.wait(mark, until, ticket, &self.tickets);
        ticket
    }

    pub(super) async fn next_tick(&self) {
        let tick = self.clock.ticks();
        poll_fn(|context| {
            if self.clock.ticks() != tick {
                return Poll::Ready(());
            }
            self.next_tick.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Shuts down the connections whose time is up; their tasks see why.
    fn sweep(&self) {
        let tick = self.clock.ticks();
        let options = &self.shared.options;
        let ticks = |duration| self.clock.ticks_ceil(duration);
        let (head, idle, window) =
            (ticks(options.head_timeout), ticks(options.idle_timeout), ticks(options.read_rate_window));
        let (linger, fresh, stop) = (ticks(limits::LINGER), ticks(FRESH_GRACE), ticks(options.stop_timeout));
        let stopping = self.stopped_for();
        self.slots.for_each(|slot| {
            if slot.expired.is_some() {
                return;
            }
            let age = tick.wrapping_sub(slot.since);
            let expired = match slot.phase {
                _ if stopping.is_some_and(|age| age > stop) => Some(Expired::Stop),
                // One that was taken from the accept queue while stopping may still ask once.
                Phase::Idle if stopping.is_some_and(|age| slot.served || age > fresh) => Some(Expired::Idle),
                Phase::Idle => (age > idle).then_some(Expired::Idle),
                Phase::Head => (age > head).then_some(Expired::Head),
                Phase::Lingering => (age > linger).then_some(Expired::Linger),
                Phase::Sending => (age > window && is_slow(slot, tick, age, options)).then_some(Expired::SlowReader),
                Phase::Helper | Phase::Waiting => None,
            };
            let Some(reason) = expired else { return };
            slot.expired = Some(reason);
            let how = match reason {
                // The task reads once more: a request may have come in at this moment.
                Expired::Idle | Expired::Head => socket::Shutdown::Read,
                Expired::SlowReader | Expired::Linger | Expired::Stop => socket::Shutdown::Both,
            };
            socket::shutdown(slot.fd, how);
            if stopping.is_none() {
                match reason {
                    Expired::Idle => self.metrics.idle_timeouts.add(1),
                    Expired::Head => self.metrics.head_timeouts.add(1),
                    Expired::SlowReader => self.metrics.slow_readers.add(1),
                    Expired::Linger | Expired::Stop => {}
                }
            }
        });
    }
}

/// A release that goes on, until it is dropped.
struct Releasing(Rc<Worker>);

impl Releasing {
    fn new(worker: Rc<Worker>) -> Releasing {
        worker.releasing.update(|count| count + 1);
        Releasing(worker)
    }
}

impl Drop for Releasing {
    fn drop(&mut self) {
        self.0.releasing.update(|count| count - 1);
        if !self.0.is_releasing() {
            self.0.unhurried.take().into_iter().for_each(Waker::wake);
        }
    }
}

pin_project! {
    /// Ends when its task panics. A future by hand: an `async` block would hold the task twice, once as it was handed in and
    /// once as it is polled, and tasks are most of what a connection takes.
    struct Guarded<F> {
        #[pin]
        task: F,
        metrics: Arc<WorkerMetrics>,
    }
}

impl<F: Future<Output = ()>> Future for Guarded<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        catch_unwind(AssertUnwindSafe(|| this.task.poll(context))).unwrap_or_else(|_| {
            this.metrics.panics.add(1);
            Poll::Ready(())
        })
    }
}

/// A connection without a request yet is given so long when the plane stops.
const FRESH_GRACE: Duration = Duration::from_millis(500);

/// Whether less than the minimum arrived since the rate was last looked at; looks at it. What the socket took says little:
/// with a large send buffer it takes a lot at once, and then nothing for long.
fn is_slow(slot: &mut Slot, tick: u32, age: u32, options: &Options) -> bool {
    let Ok(on_its_way) = transfer::unacknowledged(slot.fd) else { return false };
    let arrived = slot.sent - on_its_way as i64;
    let before = slot.arrived.replace(arrived);
    slot.since = tick;
    let Some(before) = before else { return false };
    let wanted = options.read_rate_min as f64 * options.tick().as_secs_f64() * f64::from(age);
    ((arrived - before) as f64) < wanted
}
