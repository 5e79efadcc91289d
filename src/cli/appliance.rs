//! Both planes, started, watched over and stopped: what `serve` and `demo` have in common.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tracing::{info, warn};

use super::Failure;
use super::signals::{Order, Signals};
use super::status::{Status, Watch};
use crate::base::limits;
use crate::delivery;
use crate::intake::{self, ChannelSetup, Health, Server};
use crate::library::{self, Library};
use crate::live::Channels;
use crate::service::objects::StoreReads;
use crate::service::{self, Service};
use crate::store::objects::disk::FileSystem;
use crate::store::objects::{self, Objects};
use crate::sys::{files_limit, notify};

/// What both planes are started with.
pub struct Setup {
    pub delivery: delivery::Options,
    pub intake: intake::Options,
    pub library: library::Options,
    pub service: service::Options,
    /// `None`: there is no object store.
    pub store: Option<StoreSetup>,
}

/// The object store, as each module takes it.
pub struct StoreSetup {
    pub path: PathBuf,
    pub objects: objects::Options,
    pub reads: service::objects::Options,
    pub api: intake::objects::Options,
}

/// The running server.
pub struct Appliance {
    delivery: Arc<delivery::Plane>,
    intake: intake::Plane,
    library: Arc<Library>,
    channels: Arc<Channels>,
    store: Option<Arc<StoreReads>>,
    status: Arc<Status>,
}

#[derive(Debug, Error)]
pub enum Error {
    #[error(
        "listen on {address}: the address is in use; another server runs there (`ss -ltnp` shows which){}",
        .hint.map(|hint| format!(", or {hint}")).unwrap_or_default()
    )]
    Taken { address: SocketAddr, hint: Option<&'static str> },
    #[error("listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("limit on open files: found {found}, expected at least {least} (LimitNOFILE, ulimit -n)")]
    Files { found: u64, least: u64 },
    #[error("store.path: {path}: {source}")]
    Store { path: PathBuf, source: io::Error },
    #[error("stopped at once by a second signal, connections were cut")]
    Cut,
}

/// How often the main thread looks whether workers come round.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// How long sockets of a server that has just ended may still be there.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// How often it looks whether what is in flight is finished.
const STOP_PERIOD: Duration = Duration::from_millis(20);

impl Appliance {
    /// When this returns, connections are accepted.
    pub fn start(root: &Path, mut setup: Setup, hint: Option<&'static str>) -> Result<Appliance, Failure> {
        for &address in &setup.delivery.listeners {
            soon_free(address, hint)?;
        }
        share_descriptors(&mut setup, files_limit::raise()?.soft)?;
        let library = Arc::new(Library::open(root, setup.library)?);
        let status = Arc::new(Status::default());
        let mut service = Service::new(library.clone(), setup.service);
        let mut store_reads = None;
        if let Some(store) = setup.store {
            let reads = open_store(store.path, store.objects, store.reads)?;
            status.has_store(reads.objects());
            service = service.with_store(reads.clone());
            store_reads = Some(reads.clone());
            setup.intake.store = Some(intake::objects::Setup { reads, options: store.api });
        }
        let service = Arc::new(service);
        sweep(&service)?;
        status.answers(&service);
        let intake = intake::start(setup.intake, library.clone(), service.channels.clone(), status.clone())?;
        let channels = service.channels.clone();
        let delivery = Arc::new(delivery::start(setup.delivery, service)?);
        status.ready(&delivery);
        Ok(Appliance { delivery, intake, library, channels, store: store_reads, status })
    }

    /// What is listened on.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.delivery.addresses()
    }

    /// Where HTTP ingest is listened for.
    pub fn ingest(&self) -> Option<SocketAddr> {
        self.intake.ingest()
    }

    pub fn library(&self) -> &Arc<Library> {
        &self.library
    }

    /// What viewers find, as of now.
    pub fn channels(&self) -> &Arc<Channels> {
        &self.channels
    }

    /// The channels of the configuration file, from now on.
    pub fn reload_channels(&self, channels: Vec<ChannelSetup>) {
        self.intake.reload(channels);
    }

    /// What of the store's setup may change while it runs: not where it is, nor how it syncs.
    pub fn reload_store(&self, setup: StoreSetup) {
        if let Some(store) = &self.store {
            store.reconfigure(setup.objects.settings, setup.reads.ages);
            self.intake.reload_store(setup.api);
        }
    }

    pub fn workers(&self) -> usize {
        self.delivery.workers().count()
    }

    /// Until a signal says stop, and what is in flight then is finished or out of time.
    ///
    /// # Errors
    /// A second signal does not wait for that. A worker that ended by itself ends the server.
    pub fn run(self, signals: &Signals, mut reload: impl FnMut(&Appliance)) -> Result<(), Failure> {
        let mut watch = Watch::new(self.workers(), Instant::now());
        let watchdog = notify::watchdog_period().map(|period| period / 2);
        let mut told = Instant::now();
        tell(notify::State::Ready);
        loop {
            let timeout = watchdog.map_or(LOOK_PERIOD, |period| period.min(LOOK_PERIOD));
            match signals.wait(timeout)? {
                Some(Order::Stop) => break,
                Some(Order::Reload) => reload(&self),
                None => {}
            }
            let now = Instant::now();
            watch.look(&self.status, self.delivery.workers().map(|worker| worker.progress()), now);
            if !self.delivery.is_alive() {
                return Err("a delivery worker has ended; the log says why".into());
            }
            // A stuck worker is not reported as alive: the service manager will restart the server.
            if self.status.health() == Health::Working && watchdog.is_some_and(|period| now - told >= period) {
                told = now;
                tell(notify::State::Watchdog);
            }
        }
        self.stop(signals)
    }

    fn stop(self, signals: &Signals) -> Result<(), Failure> {
        tell(notify::State::Stopping);
        self.status.stopping();
        self.intake.stop_upkeep();
        let open: u64 = self.delivery.workers().map(|worker| worker.open()).sum();
        info!("stopping; {open} connections finish what is in flight");
        self.delivery.stop();
        while !self.delivery.has_ended() {
            if signals.wait(STOP_PERIOD)? == Some(Order::Stop) {
                return Err(Error::Cut.into());
            }
        }
        self.intake.stop();
        // The admin API may have been reading figures a moment ago; it has ended now.
        if let Some(delivery) = Arc::into_inner(self.delivery) {
            delivery.join();
        }
        info!("stopped");
        Ok(())
    }
}

fn open_store(
    path: PathBuf,
    options: objects::Options,
    reads: service::objects::Options,
) -> Result<Arc<StoreReads>, Failure> {
    let started = Instant::now();
    let opened = Objects::open(Arc::new(FileSystem), &path, options);
    let objects = opened.map_err(|source| Error::Store { path: path.clone(), source })?;
    let (count, seconds) = (objects.table().len(), started.elapsed().as_secs_f64());
    info!("store: {count} objects of {} in {seconds:.3} s", path.display());
    Ok(Arc::new(StoreReads::new(Arc::new(objects), reads)))
}

/// Delivery's listeners share their address with other sockets of this user, so a second server would not notice the
/// first; one that does not share does.
pub fn free(address: SocketAddr, hint: Option<&'static str>) -> Result<(), Error> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(Error::Taken { address, hint }),
        Err(source) => Err(Error::Listen { address, source }),
    }
}

/// The kernel takes io_uring down a moment after its process has ended, however that ended, and listeners with it: a server
/// that is restarted waits for that.
fn soon_free(address: SocketAddr, hint: Option<&'static str>) -> Result<(), Error> {
    let deadline = Instant::now() + LINGER_MAX;
    loop {
        match free(address, hint) {
            Err(Error::Taken { .. }) if Instant::now() < deadline => std::thread::sleep(STOP_PERIOD),
            result => return result,
        }
    }
}

/// How the limit on open files is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    pub connections: usize,
    pub tracks: usize,
}

/// Part of the descriptors that is for open tracks: the rest is for connections.
const TRACKS_SHARE: u64 = 8;
const CONNECTIONS_LEAST: u64 = 16;
/// Part of the connections' descriptors that open objects may have.
const DERIVED_SHARE: usize = 16;
/// The same for objects.
const OBJECTS_SHARE: usize = 4;
/// Part of the connections that encoders may have.
const ENCODERS_SHARE: usize = 8;

/// `tracks_max` are never more than a part of them.
pub fn descriptors(limit: u64, tracks_max: usize) -> Result<Descriptors, Error> {
    let (reserve, tracks_least) = (limits::DESCRIPTOR_RESERVE as u64, limits::TRACKS_MAX as u64);
    let least = reserve + tracks_least + CONNECTIONS_LEAST;
    if limit < least {
        return Err(Error::Files { found: limit, least });
    }
    let tracks = ((limit - reserve) / TRACKS_SHARE).max(tracks_least).min(tracks_max as u64);
    Ok(Descriptors { connections: (limit - reserve - tracks) as usize, tracks: tracks as usize })
}

/// Nobody waits for what an earlier process left to be gone, nor a worker for what was made and is needed no more.
fn sweep(service: &Arc<Service>) -> io::Result<()> {
    let disk = service.derived().disk().clone();
    std::thread::Builder::new().name("sweep".to_owned()).spawn(move || disk.run()).map(drop)
}

/// Lowers what was configured to what the limit on open files allows.
fn share_descriptors(setup: &mut Setup, limit: u64) -> Result<(), Error> {
    let mut shares = descriptors(limit, setup.library.open_tracks_max)?;
    let ingest = &mut setup.intake.ingest;
    if ingest.address.is_some() || ingest.rtmp.is_some() {
        let encoders = (shares.connections / ENCODERS_SHARE).max(1);
        if ingest.connections_max > encoders {
            warn!(
                "intake.connections_max lowered from {} to {encoders}: the limit on open files is {limit}",
                ingest.connections_max
            );
            ingest.connections_max = encoders;
        }
        shares.connections -= ingest.connections_max;
    }
    if let Some(store) = &mut setup.store {
        let objects = (shares.connections / OBJECTS_SHARE).max(1);
        if store.reads.open_max > objects {
            warn!(
                "store.open_objects_max lowered from {} to {objects}: the limit on open files is {limit}",
                store.reads.open_max
            );
            store.reads.open_max = objects;
        }
        shares.connections -= store.reads.open_max;
    }
    let derived = &mut setup.service.derived;
    if derived.path.is_some() {
        derived.open_max = derived.open_max.min(shares.connections / DERIVED_SHARE).max(1);
        shares.connections -= derived.open_max;
    }
    setup.library.open_tracks_max = shares.tracks;
    if setup.delivery.connections_max > shares.connections {
        warn!(
            "server.connections_max lowered from {} to {}: the limit on open files is {limit}, of which {} are for tracks \
             and {} in reserve",
            setup.delivery.connections_max,
            shares.connections,
            shares.tracks,
            limits::DESCRIPTOR_RESERVE,
        );
        setup.delivery.connections_max = shares.connections;
    }
    Ok(())
}

fn tell(state: notify::State<'_>) {
    if let Err(error) = notify::notify(state) {
        warn!("service manager: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(connections_max: usize) -> Setup {
        Setup {
            delivery: delivery::Options { connections_max, ..delivery::Options::default() },
            intake: intake::Options::default(),
            library: library::Options::default(),
            service: service::Options::default(),
            store: None,
        }
    }

    #[test]
    fn connections_fit_the_limit_on_open_files() {
        for (wanted, limit, connections, tracks) in [
            (100_000, 1 << 20, 100_000, 8_000),
            (100_000, 20_000, 17_052, 2_436),
            (10_000, 20_000, 10_000, 2_436),
            (100, 2_048, 100, 192),
            (100_000, 1_024, 448, 64),
            (100_000, 592, 16, 64),
        ] {
            let mut setup = setup(wanted);
            share_descriptors(&mut setup, limit).unwrap();
            assert_eq!(setup.delivery.connections_max, connections, "{wanted} {limit}");
            assert_eq!(setup.library.open_tracks_max, tracks, "{wanted} {limit}");
            assert!((connections + tracks + limits::DESCRIPTOR_RESERVE) as u64 <= limit);
        }
        let error = share_descriptors(&mut setup(100), 591).unwrap_err();
        assert!(error.to_string().starts_with("limit on open files: found 591, expected at least 592"), "{error}");
    }

    #[test]
    fn a_taken_address_is_noticed() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = free(address, Some("choose another with --listen")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "listen on {address}: the address is in use; another server runs there (`ss -ltnp` shows which), or \
                 choose another with --listen"
            )
        );
        drop(taken);
        free(address, None).unwrap();
    }
}
