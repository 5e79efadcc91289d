//! `headwater serve`: the appliance.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;
use tracing::{info, warn};

use super::appliance::{Appliance, Setup, StoreSetup};
use super::signals::Signals;
use super::{Failure, logging, player};
use crate::config::{self, AccessLog, Config, Page, Workers};
use crate::delivery::{self, Destination};
use crate::service::{self, Pages};
use crate::store::objects;
use crate::sys::affinity;
use crate::{intake, library};

/// Run the appliance: serve the library and live channels to players and CDNs
///
/// Runs until SIGTERM or SIGINT, then finishes what is in flight (a second signal does not wait for that). The library is
/// watched: what is imported, replaced or removed meanwhile is served, or gone, within a second. SIGHUP reads the library
/// and the configuration again: channels that were added, removed or changed are applied at once, without touching the
/// others; what else was changed needs a restart, and the log says so.
///
/// The environment variable HEADWATER_LOG chooses what is logged: error, warn, info (the default), debug or trace, or a
/// list such as "warn,headwater::library=debug".
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

#[derive(Debug, Error)]
pub enum Error {
    #[error("{path}: another headwater is running with this state directory; stop it, or set server.state to another")]
    Locked { path: PathBuf },
    #[error("server.state: {path}: {source}")]
    State { path: PathBuf, source: io::Error },
    #[error("library.path: {path}: {source}")]
    Library { path: PathBuf, source: io::Error },
    #[error("live.path: {path}: {source}")]
    Live { path: PathBuf, source: io::Error },
    #[error("store.path: {path}: {source}")]
    Store { path: PathBuf, source: io::Error },
    #[error("server.page: {path}: {source}")]
    Page { path: PathBuf, source: io::Error },
    #[error("server.workers: CPU {cpu} is not one that this process may use ({allowed})")]
    Cpu { cpu: usize, allowed: affinity::CpuList },
    #[error("server.workers: found {found}, expected at most {allowed}, the number of CPUs this process may use")]
    Count { found: usize, allowed: usize },
}

impl Error {
    /// Whether it is because a server is running.
    pub fn is_locked(&self) -> bool {
        matches!(self, Error::Locked { .. })
    }
}

pub fn run(args: Args) -> Result<(), Failure> {
    let config = config::load(&args.config)?;
    logging::start("info")?;
    let signals = Signals::take()?;
    create(&config.library.path).map_err(|source| Error::Library { path: config.library.path.clone(), source })?;
    create(&config.server.state).map_err(|source| Error::State { path: config.server.state.clone(), source })?;
    let _lock = lock(&config.server.state)?;
    if let Some(store) = &config.store {
        create(&store.path).map_err(|source| Error::Store { path: store.path.clone(), source })?;
    }
    if !config.channels.is_empty() {
        create(&config.live.path).map_err(|source| Error::Live { path: config.live.path.clone(), source })?;
    }
    let appliance = Appliance::start(&config.library.path, setup(&config)?, None)?;
    let addresses: Vec<String> = appliance.addresses().iter().map(ToString::to_string).collect();
    info!(
        "headwater {} serves {} assets of {} on {} with {} workers; admin API on {}",
        env!("CARGO_PKG_VERSION"),
        appliance.library().catalog().len(),
        config.library.path.display(),
        addresses.join(", "),
        appliance.workers(),
        config.admin.address,
    );
    let mut running = config;
    appliance.run(&signals, |appliance| reload(&args.config, &mut running, appliance))
}

/// A directory that is missing is made, but not those above it: a path that is mistyped should fail rather than be there
/// and empty.
fn create(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if directory.is_dir() {
                Ok(())
            } else {
                Err(io::ErrorKind::NotADirectory.into())
            }
        }
        created => created,
    }
}

/// Held as long as the value lives, and no longer than the process does, however it ends.
pub fn lock(state: &Path) -> Result<Flock<File>, Error> {
    let path = state.join(".headwater.lock");
    let file = File::create(&path).map_err(|source| Error::State { path: path.clone(), source })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => Error::Locked { path: state.to_owned() },
        errno => Error::State { path, source: errno.into() },
    })
}

/// The file's options as each module takes them.
fn setup(config: &Config) -> Result<Setup, Failure> {
    let allowed = affinity::allowed()?;
    let (mut pages, mut asset_list) = (Pages::default(), false);
    match &config.server.page {
        Page::Off => {}
        Page::Player => {
            pages.add("/", player::CONTENT_TYPE, player::page());
            asset_list = true;
        }
        Page::File(path) => {
            let text = fs::read(path).map_err(|source| Error::Page { path: path.clone(), source })?;
            pages.add("/", player::CONTENT_TYPE, text);
        }
    }
    Ok(Setup {
        delivery: delivery::Options {
            workers: workers(&config.server.workers, allowed)?,
            listeners: config.listen.clone(),
            connections_max: config.server.connections_max,
            head_timeout: config.server.head_timeout,
            idle_timeout: config.server.idle_timeout,
            read_rate_min: config.server.read_rate_min,
            stop_timeout: config.server.stop_timeout,
            congestion_control: config.server.congestion_control.clone(),
            access_log: match &config.server.access_log {
                AccessLog::Off => None,
                AccessLog::Stdout => Some(Destination::Stdout),
                AccessLog::File(path) => Some(Destination::File(path.clone())),
            },
            ..delivery::Options::default()
        },
        intake: intake::Options {
            admin: Some(config.admin.address),
            token: config.admin.token.clone(),
            ingest: intake::IngestOptions {
                address: config.intake.address,
                rtmp: config.intake.rtmp,
                connections_max: config.intake.connections_max,
                idle_timeout: config.intake.idle_timeout,
                live: config.live.path.clone(),
                sync: config.live.sync,
            },
            channels: config.channels.clone(),
            state: Some(config.server.state.clone()),
            store: None,
        },
        library: library::Options {
            segment: config.library.segment,
            grace: config.library.grace,
            open_assets_max: config.library.open_assets_max,
            ..library::Options::default()
        },
        service: service::Options {
            pages,
            asset_list,
            manifest_age: config.library.manifest_age,
            missing_age: config.library.missing_age,
            manifest_cache_bytes: config.library.manifest_cache,
        },
        store: config.store.as_ref().map(store),
    })
}

fn store(config: &config::Store) -> StoreSetup {
    StoreSetup {
        path: config.path.clone(),
        objects: objects::Options {
            durability: config.durability,
            settings: objects::Settings::new(config.capacity, config.when_full, config.containers.clone()),
        },
        reads: service::objects::Options {
            open_max: config.open_max,
            ages: service::objects::Ages { manifest: config.manifest_age, object: config.object_age },
        },
        api: intake::objects::Options {
            credentials: config.credentials.clone(),
            object_max: config.object_max,
            write_rate_min: config.write_rate_min,
            is_streaming_default: config.is_streaming_default,
        },
    }
}

/// The CPU of each worker.
pub fn workers(workers: &Workers, allowed: affinity::CpuList) -> Result<Vec<Option<usize>>, Error> {
    let cpus = match workers {
        Workers::All => allowed.cpus(),
        Workers::Count(count) => {
            allowed.cpus().get(..*count).ok_or(Error::Count { found: *count, allowed: allowed.cpus().len() })?
        }
        Workers::Cpus(cpus) => match cpus.iter().find(|cpu| !allowed.cpus().contains(cpu)) {
            Some(&cpu) => return Err(Error::Cpu { cpu, allowed }),
            None => cpus,
        },
    };
    Ok(cpus.iter().copied().map(Some).collect())
}

/// SIGHUP. Channels come and go, and the store gets other credentials, containers and limits; workers keep the options they
/// were started with, so what else changed is named rather than half applied.
fn reload(path: &Path, running: &mut Config, appliance: &Appliance) {
    match appliance.library().rescan() {
        Ok(()) => info!("reload: {} assets in the library", appliance.library().catalog().len()),
        Err(error) => warn!("reload: library: {error}"),
    }
    match config::load(path) {
        Ok(config) if config == *running => info!("reload: {} is unchanged", path.display()),
        Ok(config) => {
            if config.channels != running.channels {
                appliance.reload_channels(config.channels.clone());
                running.channels.clone_from(&config.channels);
            }
            if let (Some(old), Some(new)) = (&running.store, &config.store)
                && old != new
                && (&old.path, old.durability, old.open_max) == (&new.path, new.durability, new.open_max)
            {
                appliance.reload_store(store(new));
                running.store.clone_from(&config.store);
            }
            let sections = [
                ("server", config.server != running.server),
                ("listen", config.listen != running.listen),
                ("intake", config.intake != running.intake),
                ("admin", config.admin != running.admin),
                ("library", config.library != running.library),
                ("live", config.live != running.live),
                ("store", config.store != running.store),
            ];
            let changed: Vec<&str> =
                sections.into_iter().filter_map(|(name, changed)| changed.then_some(name)).collect();
            if !changed.is_empty() {
                warn!("reload: {}: [{}] changed; restart to apply it", path.display(), changed.join("], ["));
            }
        }
        Err(error) => {
            for line in error.to_string().lines() {
                warn!("reload: {line}; the server keeps running with what it was started with");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_of_workers() {
        let allowed = || "0-3,6".parse::<affinity::CpuList>().unwrap();
        for (wanted, want) in [
            (Workers::All, Ok(vec![0, 1, 2, 3, 6])),
            (Workers::Count(2), Ok(vec![0, 1])),
            (Workers::Count(5), Ok(vec![0, 1, 2, 3, 6])),
            (Workers::Cpus(vec![2, 6]), Ok(vec![2, 6])),
            (
                Workers::Count(6),
                Err("server.workers: found 6, expected at most 5, the number of CPUs this process may use"),
            ),
            (Workers::Cpus(vec![3, 4]), Err("server.workers: CPU 4 is not one that this process may use (0-3,6)")),
        ] {
            let got = workers(&wanted, allowed()).map_err(|error| error.to_string());
            let want = want.map(|cpus| cpus.into_iter().map(Some).collect()).map_err(str::to_owned);
            assert_eq!(got, want, "{wanted:?}");
        }
    }

    #[test]
    fn a_state_directory_is_locked_once() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        let error = lock(dir.path()).unwrap_err();
        assert!(error.to_string().contains("another headwater is running"), "{error}");
        drop(held);
        lock(dir.path()).unwrap();
    }

    #[test]
    fn directories_are_made_one_deep() {
        let dir = tempfile::tempdir().unwrap();
        create(&dir.path().join("new")).unwrap();
        create(&dir.path().join("new")).unwrap();
        assert_eq!(create(&dir.path().join("none/new")).unwrap_err().kind(), io::ErrorKind::NotFound);
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(create(&file).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn the_reference_can_be_served() {
        let setup = setup(&Config::default()).unwrap();
        assert_eq!(setup.delivery.listeners, ["0.0.0.0:8080".parse().unwrap()]);
        assert_eq!(setup.intake.token, None);
        assert!(!setup.service.asset_list);
    }
}
