//! The plane as its owner sees it: started, watched, stopped.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Once};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::helpers::Helpers;
use super::inbox::{Inbox, Message};
use super::metrics::{Totals, WorkerMetrics};
use super::worker::{self, Shared, Sibling};
use super::{Answers, Error, Options, access_log};
use crate::base::limits;
use crate::sys::{affinity, probe, socket};

/// Running workers. Dropping it stops them as [`Plane::stop`] does, without waiting.
pub struct Plane {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    helpers: Vec<JoinHandle<()>>,
    log: Option<JoinHandle<()>>,
}

/// Starts the workers; when this returns, connections are accepted.
///
/// # Errors
/// An address that cannot be listened on, no io_uring, no descriptors or threads.
pub fn start(options: Options, answers: Arc<dyn Answers>) -> Result<Plane, Error> {
    log_panics();
    let system = |what| move |source| Error::System { what, source };
    let ring = match probe::ring() {
        probe::Ring::Unavailable(reason) => return Err(Error::Ring(reason)),
        ring => ring,
    };
    let allowed = affinity::allowed().map_err(system("CPUs this process may use"))?;
    let cpus = match options.workers.as_slice() {
        [] => allowed.cpus().iter().copied().map(Some).collect(),
        workers => workers.to_vec(),
    };
    let spare: Vec<usize> = allowed.cpus().iter().copied().filter(|&cpu| !cpus.contains(&Some(cpu))).collect();

    let (addresses, mut listeners) = listen(&options, cpus.len())?;
    let (log, log_writer) = match &options.access_log {
        Some(destination) => {
            let (sender, writer) = access_log::start(destination).map_err(system("open the access log"))?;
            (Some(sender), Some(writer))
        }
        None => (None, None),
    };
    let sibling = |_| Ok(Sibling { inbox: Arc::new(Inbox::new()?), metrics: Arc::default() });
    let siblings = (0..cpus.len()).map(sibling).collect::<Result<_, _>>().map_err(system("make an eventfd"))?;
    let helpers = Arc::<Helpers>::default();
    // BBR, in all its versions, sends by the clock; the others when something was acknowledged.
    let paced = socket::congestion_control(&listeners[0][0]).is_ok_and(|name| name.starts_with("bbr"));
    let connections = AtomicUsize::new(0);
    let shared = Arc::new(Shared { options, answers, helpers, siblings, connections, ring, paced });
    let mut plane =
        Plane { addresses, shared: shared.clone(), workers: Vec::new(), helpers: Vec::new(), log: log_writer };
    plane.helpers =
        shared.helpers.start(shared.options.helpers, &spare, &shared.answers).map_err(system("start a helper"))?;
    for (index, &cpu) in cpus.iter().enumerate() {
        let (shared, listeners, log) = (shared.clone(), std::mem::take(&mut listeners[index]), log.clone());
        plane.workers.push(start_worker(index, cpu, shared, listeners, log)?);
    }
    Ok(plane)
}

/// Every worker's own listeners: the first finds the ports, the others share them.
fn listen(options: &Options, workers: usize) -> Result<(Vec<SocketAddr>, Vec<Vec<TcpListener>>), Error> {
    if options.listeners.is_empty() {
        return Err(Error::NoListeners);
    }
    let mut addresses = options.listeners.clone();
    let mut listeners = Vec::with_capacity(workers);
    for _ in 0..workers {
        let mut own = Vec::with_capacity(addresses.len());
        for address in &mut addresses {
            let error = |source| Error::Listen { address: *address, source };
            let listener = socket::listen(*address, options.congestion_control.as_deref()).map_err(error)?;
            *address = listener.local_addr().map_err(error)?;
            own.push(listener);
        }
        listeners.push(own);
    }
    Ok((addresses, listeners))
}

fn start_worker(
    index: usize,
    cpu: Option<usize>,
    shared: Arc<Shared>,
    listeners: Vec<TcpListener>,
    log: Option<SyncSender<String>>,
) -> Result<JoinHandle<()>, Error> {
    let (pinned, is_pinned) = std::sync::mpsc::sync_channel(1);
    let body = move || {
        IS_WORKER.set(true);
        let result = cpu.map_or(Ok(()), |cpu| affinity::pin(&[cpu]));
        let failed = result.is_err();
        let _ = pinned.send(result);
        if failed {
            return;
        }
        affinity::take_short_turns();
        if let Err(error) = worker::run(index, shared, listeners, log) {
            tracing::error!(worker = index, %error, "a delivery worker ended");
        }
    };
    let handle = thread::Builder::new()
        .name(format!("delivery-{index}"))
        .spawn(body)
        .map_err(|source| Error::System { what: "start a worker", source })?;
    match (is_pinned.recv(), cpu) {
        (Ok(Err(source)), Some(cpu)) => Err(Error::Pin { index, cpu, source }),
        _ => Ok(handle),
    }
}

impl Plane {
    /// What is listened on, in the order of the options, with the ports that were found for port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What all workers have counted since the start.
    pub fn totals(&self) -> Totals {
        Totals::of(self.workers())
    }

    /// Each worker's own counters.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerMetrics> {
        self.shared.siblings.iter().map(|sibling| &*sibling.metrics)
    }

    /// Whether every worker thread is running. One that runs but does no work shows in [`WorkerMetrics::progress`].
    pub fn is_alive(&self) -> bool {
        !self.workers.iter().any(JoinHandle::is_finished)
    }

    /// Whether every worker has ended: nothing is in flight any more, and [`Plane::join`] does not wait for clients.
    pub fn has_ended(&self) -> bool {
        self.workers.iter().all(JoinHandle::is_finished)
    }

    /// Begins to stop: what waits in the accept queues is taken, requests in flight are finished, and connections are
    /// closed after that, at the latest after the stop timeout. Returns at once.
    pub fn stop(&self) {
        for sibling in &self.shared.siblings {
            sibling.inbox.post(Message::Stop);
        }
    }

    /// Waits until everything has ended, which it does after [`Plane::stop`].
    pub fn join(mut self) {
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        self.shared.helpers.stop();
        // One that waits for a disk which does not answer is left to the end of the process.
        let deadline = Instant::now() + limits::HELPERS_STOP;
        while Instant::now() < deadline && !self.helpers.iter().all(JoinHandle::is_finished) {
            thread::sleep(limits::HELPERS_STOP / 100);
        }
        let stuck = self.helpers.iter().filter(|helper| !helper.is_finished()).count();
        if stuck > 0 {
            tracing::warn!("{stuck} threads still wait for the disk");
        }
        if let Some(log) = self.log.take() {
            let _ = log.join();
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop();
        self.shared.helpers.stop();
    }
}

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// A panic on a worker ends one connection, so it is a line in the log, with its backtrace, and not text on stderr.
fn log_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if IS_WORKER.get() {
                let backtrace = std::backtrace::Backtrace::force_capture();
                tracing::error!(%panic, %backtrace, "a connection's code panicked; the connection is closed");
            } else {
                before(panic);
            }
        }));
    });
}
