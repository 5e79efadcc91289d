//! The intake plane: admin API, library upkeep; everything that may wait for a disk.
//!
//! One thread runs tokio-uring (disk writes through io_uring, and tokio's sockets, so that hyper works as it is). What
//! only waits for the file system, the watcher and the upkeep of the library, has plain threads.

mod admin;
mod auth;
mod catalog;
mod channels;
mod encoder;
mod exposition;
mod feed;
mod figures;
mod gate;
mod ingest;
mod process;
mod refusal;
mod rtmp;
mod setup;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tokio::sync::watch;
use tracing::{error, warn};

use crate::library::{Library, Watcher};
use admin::Admin;
pub use exposition::{Exposition, Labels};
pub use setup::{ChannelSetup, is_channel_name, is_publish_key};

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the admin API listens; port 0 takes a free one. None: there is no admin API.
    pub admin: Option<SocketAddr>,
    /// What a request to it has to present.
    pub token: Option<String>,
}

/// What the rest of the server is asked for by the admin API: the planes do not know each other.
pub trait Server: Send + Sync + 'static {
    fn health(&self) -> Health;

    fn readiness(&self) -> Readiness;

    fn write_metrics(&self, out: &mut Exposition);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Working,
    /// A delivery worker has not come round for long.
    Stuck {
        worker: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    Starting,
    Ready,
    Stopping,
}

#[derive(Debug, Error)]
pub enum Error {
    #[error("admin.address: listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("intake: {0}")]
    Thread(io::Error),
}

/// The running plane; stops when told to or dropped.
pub struct Plane {
    admin: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    upkeep_stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Between two rounds of [`Library::maintain`]: a fraction of the grace time, so that it is kept to, within these bounds.
const UPKEEP_PERIOD_MIN: Duration = Duration::from_secs(1);
const UPKEEP_PERIOD_MAX: Duration = Duration::from_secs(60);
/// How soon an idle thread notices that it is to stop.
const STOP_PERIOD: Duration = Duration::from_millis(200);

pub fn start(options: Options, library: Arc<Library>, server: Arc<dyn Server>) -> Result<Plane, Error> {
    let (stop, stopped) = watch::channel(false);
    let upkeep_stop = Arc::new(AtomicBool::new(false));
    let mut plane = Plane { admin: None, stop, upkeep_stop: upkeep_stop.clone(), threads: Vec::new() };
    if let Some(address) = options.admin {
        let listen_error = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen_error)?;
        listener.set_nonblocking(true).map_err(listen_error)?;
        plane.admin = Some(listener.local_addr().map_err(listen_error)?);
        let admin = Admin { token: options.token, library: library.clone(), server };
        plane.spawn("admin", move || run_admin(admin, listener, stopped))?;
    }
    let watcher = Watcher::new(library.clone());
    let stop = upkeep_stop.clone();
    plane.spawn("watcher", move || watcher.run(&stop))?;
    plane.spawn("upkeep", move || upkeep(&library, &upkeep_stop))?;
    Ok(plane)
}

impl Plane {
    /// Where the admin API really listens.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The watcher and the upkeep begin to end; the admin API goes on.
    pub fn stop_upkeep(&self) {
        self.upkeep_stop.store(true, Ordering::Relaxed);
    }

    /// Waits until the plane's threads have ended: within about a second.
    pub fn stop(mut self) {
        self.tell();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                error!("a thread of the intake plane had panicked");
            }
        }
    }

    fn tell(&self) {
        self.stop.send_replace(true);
        self.stop_upkeep();
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(Error::Thread)?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.tell();
    }
}

fn run_admin(admin: Admin, listener: TcpListener, stopped: watch::Receiver<bool>) {
    let served = tokio_uring::Runtime::new(&tokio_uring::builder())
        .and_then(|runtime| runtime.block_on(admin.serve(listener, stopped)));
    if let Err(error) = served {
        error!("admin: {error}");
    }
}

/// Deletes what killed imports left behind and versions whose grace time is over.
fn upkeep(library: &Library, stop: &AtomicBool) {
    let period = (library.options().grace / 4).clamp(UPKEEP_PERIOD_MIN, UPKEEP_PERIOD_MAX);
    while !stop.load(Ordering::Relaxed) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if let Err(error) = library.maintain(now) {
            warn!("library: {error}");
        }
        let mut waited = Duration::ZERO;
        while waited < period && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(STOP_PERIOD);
            waited += STOP_PERIOD;
        }
    }
}

#[cfg(test)]
mod tests;
