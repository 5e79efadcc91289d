//! The delivery plane: pinned workers that answer players and CDNs.
//!
//! The way of a request: [`listener`] accepts, [`connection`] reads and parses, [`Answers`] decides, [`send`] moves the
//! bytes. A worker ([`worker`]) is one thread with one io_uring and shares nothing it writes to; whatever may wait for the
//! disk goes to the [`helpers`] and comes back through the worker's [`inbox`].

mod access_log;
mod balance;
mod buffer;
mod bulk;
mod clock;
mod connection;
mod helpers;
mod inbox;
mod listener;
mod metrics;
mod plane;
mod readiness;
mod refusal;
mod send;
mod slots;
mod tickets;
mod transport;
mod waits;
mod warm;
mod worker;

use std::net::SocketAddr;
use std::time::Duration;

pub use access_log::Destination;
pub use metrics::{KindTotals, Totals, WorkerMetrics};
pub use plane::{Plane, start};

use crate::base::limits;
use crate::http::Request;
use crate::service::{Answer, Load, Now, Service};

/// What decides about requests. [`Service`] does; tests bring their own.
pub trait Answers: Send + Sync + 'static {
    /// Called on a delivery worker: must not wait.
    fn answer(&self, request: &Request<'_>, now: Now) -> Answer;

    /// Called on a helper: may wait for the disk. Afterwards the request is asked again.
    fn load(&self, load: Load);
}

impl Answers for Service {
    fn answer(&self, request: &Request<'_>, now: Now) -> Answer {
        Service::answer(self, request, now)
    }

    fn load(&self, load: Load) {
        Service::load(self, load);
    }
}

/// How the plane is set up. The limits' defaults are those of [`limits`].
#[derive(Clone, Debug)]
pub struct Options {
    /// One worker each, pinned to that CPU, or not pinned. Empty: one per CPU the process may use.
    pub workers: Vec<Option<usize>>,
    /// Port 0 takes a free one, the same for all workers.
    pub listeners: Vec<SocketAddr>,
    /// Over all workers. More get 503.
    pub connections_max: usize,
    /// For a whole request head, from its first byte.
    pub head_timeout: Duration,
    /// Between requests.
    pub idle_timeout: Duration,
    /// Bytes a second a client must take, averaged over `read_rate_window`.
    pub read_rate_min: u64,
    pub read_rate_window: Duration,
    /// What is in flight when stopping has so long to finish.
    pub stop_timeout: Duration,
    /// Of accepted connections; the system's default if none is named.
    pub congestion_control: Option<String>,
    pub access_log: Option<Destination>,
    /// Threads that wait for the disk on behalf of the workers.
    pub helpers: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            workers: Vec::new(),
            listeners: Vec::new(),
            connections_max: limits::CONNECTIONS_DEFAULT,
            head_timeout: limits::HEAD_TIMEOUT_DEFAULT,
            idle_timeout: limits::IDLE_TIMEOUT_DEFAULT,
            read_rate_min: limits::READ_RATE_MIN_DEFAULT,
            read_rate_window: limits::READ_RATE_WINDOW,
            stop_timeout: limits::STOP_TIMEOUT_DEFAULT,
            congestion_control: None,
            access_log: None,
            helpers: limits::HELPERS,
        }
    }
}

impl Options {
    /// How often deadlines are looked at: once a second, or more often when a timeout is shorter than that.
    fn tick(&self) -> Duration {
        let shortest = self.head_timeout.min(self.idle_timeout).min(self.read_rate_window).min(self.stop_timeout);
        (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }
}

/// Why the plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("no address to listen on")]
    NoListeners,
    #[error("io_uring: {0}")]
    Ring(String),
    #[error("worker {index} on CPU {cpu}: {source}")]
    Pin { index: usize, cpu: usize, source: std::io::Error },
    #[error("{what}: {source}")]
    System { what: &'static str, source: std::io::Error },
}
