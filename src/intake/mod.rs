//! The intake plane: encoders, live channels, admin API, library upkeep; everything that may wait for a disk.
//!
//! ```text
//! ingest, rtmp     sockets of encoders; auth, gate, channels: who is let in
//!   → objects        the object store, for what comes to /store
//!   → encoder        crate::ingest: bytes to media::feed
//!   → recorder       a task for each channel: live::ChannelWriter, and its files
//! control          opens and closes channels and listeners, for SIGHUP and the admin API
//! ```
//!
//! One thread runs tokio-uring for encoders and channels (disk writes through io_uring, and tokio's sockets, so that hyper
//! works as it is), another for the admin API, which answers however much comes in. What only waits for the file system,
//! the watcher and the upkeep of the library, has plain threads.

mod admin;
mod auth;
mod catalog;
mod channel_api;
mod channels;
mod control;
mod encoder;
mod exposition;
mod figures;
mod gate;
mod harvest_api;
mod ingest;
pub mod objects;
mod process;
mod recorder;
mod refusal;
mod report;
mod rtmp;
mod seldom;
mod setup;
mod stored;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tokio::sync::watch;
use tracing::{error, warn};

use crate::library::{Library, Watcher};
use crate::live;
use crate::sys::affinity;
use admin::Admin;
use channel_api::ChannelApi;
pub use control::Options as IngestOptions;
use control::{Command, Control, Orders};
pub use exposition::{Exposition, Labels};
use harvest_api::HarvestApi;
pub use setup::{ChannelSetup, is_channel_name, is_publish_key};
use stored::Stored;

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the admin API listens; port 0 takes a free one. None: there is no admin API.
    pub admin: Option<SocketAddr>,
    /// What a request to it has to present.
    pub token: Option<String>,
    pub ingest: control::Options,
    /// The channels of the configuration file.
    pub channels: Vec<ChannelSetup>,
    /// Where channels that the admin API makes are remembered; `None`: nowhere.
    pub state: Option<PathBuf>,
    /// `None`: there is no object store.
    pub store: Option<objects::Setup>,
}

/// What the rest of the server is asked for by the admin API: the planes do not know each other.
pub trait Server: Send + Sync + 'static {
    fn health(&self) -> Health;

    fn readiness(&self) -> Readiness;

    fn write_metrics(&self, out: &mut Exposition);

    /// Reads a channel as it is written in JSON. An error is every mistake, a line each.
    fn channel(&self, keys: &serde_json::Map<String, serde_json::Value>) -> Result<ChannelSetup, Vec<String>>;
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
    #[error("{path}: {source}")]
    Stored { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Channels(#[from] control::Error),
}

/// The running plane; stops when told to or dropped.
pub struct Plane {
    admin: Option<SocketAddr>,
    ingest: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    upkeep_stop: Arc<AtomicBool>,
    orders: Orders,
    threads: Vec<JoinHandle<()>>,
}

/// Between two rounds of [`Library::maintain`]: a fraction of the grace time, so that it is kept to, within these bounds.
const UPKEEP_PERIOD_MIN: Duration = Duration::from_secs(1);
const UPKEEP_PERIOD_MAX: Duration = Duration::from_secs(60);
/// How soon an idle thread notices that it is to stop.
const STOP_PERIOD: Duration = Duration::from_millis(200);

/// When this returns, channels are open and listened for.
pub fn start(
    options: Options,
    library: Arc<Library>,
    live: Arc<live::Channels>,
    server: Arc<dyn Server>,
) -> Result<Plane, Error> {
    let (stop, stopped) = watch::channel(false);
    let upkeep_stop = Arc::new(AtomicBool::new(false));
    let (orders, commands) = Orders::new();
    let mut plane = Plane {
        admin: None,
        ingest: None,
        stop,
        upkeep_stop: upkeep_stop.clone(),
        orders: orders.clone(),
        threads: Vec::new(),
    };
    let stored = options
        .state
        .as_deref()
        .map(|state| Stored::load(state).map_err(|source| Error::Stored { path: state.to_owned(), source }));
    let stored = stored.transpose()?;
    let of_api = stored.iter().flat_map(Stored::channels).filter_map(|(name, keys)| {
        let setup = server.channel(keys);
        setup.map_err(|mistakes| warn!("channel {name} of the admin API: {}", mistakes.join("; "))).ok()
    });
    let setups = (options.channels, of_api.collect());
    let (opened, told) = std::sync::mpsc::channel();
    let recordings = options.ingest.live.clone();
    let (ingest, ingest_stopped) = (options.ingest, stopped.clone());
    let store = match options.store {
        None => None,
        Some(setup) => {
            let (writer, write) = objects::writer(setup.reads.clone());
            plane.spawn("store", write)?;
            let (kept, stop) = (setup.reads.clone(), upkeep_stop.clone());
            plane.spawn("store-upkeep", move || objects::upkeep(&kept, &stop))?;
            Some((setup, writer))
        }
    };
    plane.spawn("intake", move || run_channels((ingest, store), live, setups, commands, ingest_stopped, &opened))?;
    match told.recv() {
        Ok(opened) => plane.ingest = opened?,
        Err(_) => return Err(Error::Thread(io::Error::other("the thread of the channels did not start"))),
    }
    if let Some(address) = options.admin {
        let listen_error = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen_error)?;
        listener.set_nonblocking(true).map_err(listen_error)?;
        plane.admin = Some(listener.local_addr().map_err(listen_error)?);
        let channels = ChannelApi { orders, stored: tokio::sync::Mutex::new(stored) };
        let harvests = HarvestApi { live: recordings, library: library.clone(), turn: tokio::sync::Mutex::default() };
        let admin = Admin { token: options.token, library: library.clone(), server, channels, harvests };
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

    /// Where HTTP ingest really listens. `None`: it is off, or there was no channel at the start.
    pub fn ingest(&self) -> Option<SocketAddr> {
        self.ingest
    }

    /// These are the channels of the configuration file now: others of it are closed, new ones opened, changed ones changed.
    pub fn reload(&self, channels: Vec<ChannelSetup>) {
        self.orders.reload(channels);
    }

    /// What the object store's API goes by, from now on.
    pub fn reload_store(&self, options: objects::Options) {
        self.orders.reload_store(options);
    }

    /// The watcher and the upkeep begin to end; the admin API goes on.
    pub fn stop_upkeep(&self) {
        self.upkeep_stop.store(true, Ordering::Relaxed);
    }

    /// Waits until the plane's threads have ended: within about a second.
    pub fn stop(mut self) {
        self.tell();
        // The store's thread waits for the intake thread, which comes later.
        for thread in self.threads.drain(..).rev() {
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

type Setups = (Vec<ChannelSetup>, Vec<ChannelSetup>);

fn run_channels(
    (options, store): (control::Options, Option<(objects::Setup, objects::WriterEnd)>),
    live: Arc<live::Channels>,
    (of_file, of_api): Setups,
    commands: tokio::sync::mpsc::Receiver<Command>,
    stopped: watch::Receiver<bool>,
    opened: &std::sync::mpsc::Sender<Result<Option<SocketAddr>, control::Error>>,
) {
    // Between an encoder's last byte and its viewers there is this thread.
    affinity::take_short_turns();
    let served = tokio_uring::Runtime::new(&tokio_uring::builder()).map(|runtime| {
        runtime.block_on(async move {
            let idle_timeout = options.idle_timeout;
            let store = store.map(|(setup, writer)| objects::ObjectApi::new(setup, writer, idle_timeout));
            let mut control = Control::new(options, live, store);
            let started = control.start(of_file, of_api).await;
            let is_open = started.is_ok();
            // Nobody waits for it if the server is stopping already.
            let _ = opened.send(started.map(|()| control.address()));
            if is_open {
                control.run(commands, stopped).await;
            }
        });
    });
    if let Err(error) = served {
        error!("intake: {error}");
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
