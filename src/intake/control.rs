//! The intake thread: opens channels and listeners, and does what the admin API and SIGHUP ask for.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::channels::{Channel, Channels};
use super::exposition::Exposition;
use super::ingest::Ingest;
use super::objects::{self, ObjectApi};
use super::recorder::{self, Recorder};
use super::report;
use super::seldom::Seldom;
use super::setup::ChannelSetup;
use crate::base::limits;
use crate::live;

/// What encoders connect to, and where channels are kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// HTTP ingest; `None` is off. Port 0 takes a free one.
    pub address: Option<SocketAddr>,
    /// RTMP; as `address`.
    pub rtmp: Option<SocketAddr>,
    pub connections_max: usize,
    pub idle_timeout: Duration,
    /// The directory of all channels.
    pub live: PathBuf,
    /// What is older survives a power loss.
    pub sync: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            address: None,
            rtmp: None,
            connections_max: limits::INTAKE_CONNECTIONS_DEFAULT,
            idle_timeout: limits::INTAKE_IDLE_TIMEOUT_DEFAULT,
            live: PathBuf::from("/var/lib/headwater/live"),
            sync: limits::LIVE_SYNC_DEFAULT,
        }
    }
}

/// Who decides about a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file.
    File,
    Api,
}

impl Origin {
    pub fn name(self) -> &'static str {
        match self {
            Origin::File => "file",
            Origin::Api => "api",
        }
    }
}

/// What the rest of the server knows of the intake thread.
#[derive(Clone)]
pub struct Orders {
    commands: mpsc::Sender<Command>,
}

impl Orders {
    pub fn new() -> (Orders, mpsc::Receiver<Command>) {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        (Orders { commands }, received)
    }

    /// `None`: the server stops.
    pub async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.ok()?;
        answered.await.ok()
    }

    /// From a thread that may wait.
    pub fn reload(&self, setups: Vec<ChannelSetup>) {
        self.order(Command::Reload { setups });
    }

    /// The same.
    pub fn reload_store(&self, options: objects::Options) {
        self.order(Command::ReloadStore { options });
    }

    fn order(&self, command: Command) {
        if self.commands.blocking_send(command).is_err() {
            warn!("reload: the intake thread has ended; the log says why");
        }
    }
}

const COMMANDS_MAX: usize = 16;

/// An order to the intake thread.
pub enum Command {
    /// Makes a channel, or changes one that the admin API made.
    Put {
        setup: Box<ChannelSetup>,
        answer: oneshot::Sender<Result<Put, Error>>,
    },
    /// These are the channels of the configuration file now.
    Reload {
        setups: Vec<ChannelSetup>,
    },
    /// This is what the object store's API goes by now.
    ReloadStore {
        options: objects::Options,
    },
    /// Disconnects everybody who publishes there.
    Stop {
        name: String,
        answer: oneshot::Sender<Result<(), Error>>,
    },
    Remove {
        name: String,
        answer: oneshot::Sender<Result<(), Error>>,
    },
    Describe {
        name: String,
        answer: oneshot::Sender<Result<Value, Error>>,
    },
    List {
        answer: oneshot::Sender<Value>,
    },
    Metrics {
        answer: oneshot::Sender<Exposition>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Made,
    Changed,
}

#[derive(Debug, Error)]
pub enum Error {
    #[error("no such channel")]
    Unknown,
    #[error("the channel stands in the configuration file: change it there, and send SIGHUP")]
    OfFile,
    #[error("found {} channels, expected no more", limits::CHANNELS_MAX)]
    TooMany,
    #[error("{key}: listen on {address}: {source}")]
    Listen { key: &'static str, address: SocketAddr, source: io::Error },
    #[error("{0}")]
    Open(#[from] recorder::Error),
}

/// Everything that lives on the intake thread.
pub struct Control {
    options: Options,
    /// What viewers are shown.
    live: Arc<live::Channels>,
    ingest: Rc<Ingest>,
    open: BTreeMap<String, Open>,
    listens: Listens,
    /// Where HTTP ingest really listens.
    address: Option<SocketAddr>,
    listeners: Vec<JoinHandle<()>>,
}

struct Open {
    origin: Origin,
    channel: Rc<Channel>,
    readers: Arc<live::Channel>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What is listened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Listens {
    Nothing,
    /// There is a store.
    Http,
    /// There are channels, or have been.
    All,
}

const TICK: Duration = Duration::from_secs(1);
/// How long channels have to write what they hold, when the server stops.
const CLOSE_TIME: Duration = Duration::from_secs(5);

impl Control {
    pub fn new(options: Options, live: Arc<live::Channels>, store: Option<ObjectApi>) -> Control {
        let ingest = Ingest {
            channels: Rc::new(Channels::default()),
            places: Arc::new(Semaphore::new(options.connections_max)),
            connections_max: options.connections_max,
            idle_timeout: options.idle_timeout,
            too_many: Seldom::default(),
            unknown: Seldom::default(),
            store,
        };
        Control {
            options,
            live,
            ingest: Rc::new(ingest),
            open: BTreeMap::new(),
            listens: Listens::Nothing,
            address: None,
            listeners: Vec::new(),
        }
    }

    /// Where HTTP ingest really listens, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Until `stop` changes; then what was received is written, and channels are closed.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>, mut stop: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => break,
                },
                _ = ticks.tick() => self.ingest.channels.tick(self.options.idle_timeout, Instant::now()),
                _ = stop.changed() => break,
            }
        }
        self.listeners.iter().for_each(JoinHandle::abort);
        let closing: Vec<String> = self.open.keys().cloned().collect();
        let tasks: Vec<JoinHandle<()>> = closing.iter().filter_map(|name| self.close(name)).collect();
        let deadline = tokio::time::Instant::now() + CLOSE_TIME;
        for task in tasks {
            if tokio::time::timeout_at(deadline, task).await.is_err() {
                warn!("intake: a channel was not written to its end within {} s", CLOSE_TIME.as_secs());
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        // Nobody may be left who wants to know.
        match command {
            Command::Put { setup, answer } => {
                let _ = answer.send(self.put(*setup, Origin::Api).await);
            }
            Command::Reload { setups } => self.reload(setups).await,
            Command::ReloadStore { options } => {
                if let Some(store) = &self.ingest.store {
                    store.reload(options);
                    info!("reload: the store has other settings");
                }
            }
            Command::Stop { name, answer } => {
                let _ = answer.send(self.stop(&name));
            }
            Command::Remove { name, answer } => {
                let _ = answer.send(self.remove(&name).await);
            }
            Command::Describe { name, answer } => {
                let found = self.open.get(&name).ok_or(Error::Unknown);
                let _ = answer.send(found.map(|open| report::channel(open.origin, &open.channel, &open.readers)));
            }
            Command::List { answer } => {
                let all = self.open.values().map(|open| report::summary(open.origin, &open.channel, &open.readers));
                let _ = answer.send(json!({ "channels": all.collect::<Vec<Value>>() }));
            }
            Command::Metrics { answer } => {
                let mut out = Exposition::default();
                report::write_metrics(self.open.values().map(|open| (&*open.channel, &*open.readers)), &mut out);
                let _ = answer.send(out);
            }
        }
    }

    /// The channels that the server starts with. A channel of the file that cannot be opened keeps it from starting.
    pub async fn start(&mut self, of_file: Vec<ChannelSetup>, of_api: Vec<ChannelSetup>) -> Result<(), Error> {
        if self.ingest.store.is_some() {
            self.listen(Listens::Http)?;
        }
        for setup in of_file {
            self.put(setup, Origin::File).await?;
        }
        for setup in of_api {
            let name = setup.name.clone();
            match self.open.get(&name) {
                Some(_) => warn!("channel {name}: the configuration file counts, not what the admin API made"),
                None => self.put(setup, Origin::Api).await.map(|_| ())?,
            }
        }
        Ok(())
    }

    /// Opens a channel, or changes one that is open.
    async fn put(&mut self, setup: ChannelSetup, origin: Origin) -> Result<Put, Error> {
        if let Some(open) = self.open.get_mut(&setup.name) {
            if origin == Origin::Api && open.origin == Origin::File {
                return Err(Error::OfFile);
            }
            open.origin = origin;
            if open.channel.setup() != setup {
                let before = open.channel.setup();
                open.channel.configure(setup.clone());
                // A task that has ended said why.
                let _ = open.channel.entrance().configure(setup.options(self.options.sync)).await;
                info!("channel {}: changed", setup.name);
                if (before.segment, before.part, before.anchor) != (setup.segment, setup.part, setup.anchor) {
                    warn!(
                        "channel {}: segment, part and anchor stay what they were when it first published; remove {} to begin anew",
                        setup.name,
                        self.options.live.join(&setup.name).display()
                    );
                }
            }
            return Ok(Put::Changed);
        }
        if self.open.len() >= limits::CHANNELS_MAX {
            return Err(Error::TooMany);
        }
        self.listen(Listens::All)?;
        let name = setup.name.clone();
        let (recorder, entrance) = Recorder::open(&self.options.live, setup.options(self.options.sync))?;
        let readers = recorder.channel().clone();
        let (stop, stopped) = watch::channel(false);
        let task = tokio_uring::spawn(recorder.run(stopped));
        let channel = Rc::new(Channel::new(setup, entrance, Instant::now()));
        self.live.insert(readers.clone());
        self.ingest.channels.insert(channel.clone());
        self.open.insert(name, Open { origin, channel, readers, stop, task });
        Ok(Put::Made)
    }

    async fn reload(&mut self, setups: Vec<ChannelSetup>) {
        let of_file = self.open.iter().filter(|(_, open)| open.origin == Origin::File).map(|(name, _)| name.clone());
        let gone: Vec<String> = of_file.filter(|name| !setups.iter().any(|setup| setup.name == *name)).collect();
        for name in gone {
            self.close(&name);
            info!("reload: channel {name} is closed; what it recorded stays on disk");
        }
        for setup in setups {
            let name = setup.name.clone();
            match self.put(setup, Origin::File).await {
                Ok(Put::Made) => info!("reload: channel {name} is open"),
                Ok(Put::Changed) => {}
                Err(error) => warn!("reload: channel {name}: {error}"),
            }
        }
    }

    fn stop(&mut self, name: &str) -> Result<(), Error> {
        let open = self.open.get(name).ok_or(Error::Unknown)?;
        open.channel.cut();
        info!("channel {name}: publishers were disconnected by the admin API");
        Ok(())
    }

    async fn remove(&mut self, name: &str) -> Result<(), Error> {
        match self.open.get(name) {
            None => return Err(Error::Unknown),
            Some(open) if open.origin == Origin::File => return Err(Error::OfFile),
            Some(_) => {}
        }
        if let Some(task) = self.close(name) {
            // So that a channel of this name that is made next finds everything written.
            let _ = tokio::time::timeout(CLOSE_TIME, task).await;
        }
        info!("channel {name}: removed by the admin API; what it recorded stays on disk");
        Ok(())
    }

    /// What was received is written before the task ends.
    fn close(&mut self, name: &str) -> Option<JoinHandle<()>> {
        let open = self.open.remove(name)?;
        self.live.remove(name);
        self.ingest.channels.remove(name);
        open.channel.cut();
        open.stop.send_replace(true);
        Some(open.task)
    }

    /// With the first channel, or with a store: a server without any has no port for encoders.
    fn listen(&mut self, wanted: Listens) -> Result<(), Error> {
        let bind = |key: &'static str, address: Option<SocketAddr>| {
            let bound = address.map(|address| {
                TcpListener::bind(address)
                    .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
                    .map_err(|source| Error::Listen { key, address, source })
            });
            bound.transpose()
        };
        let is_due = |what: Listens, listens: Listens| listens < what && what <= wanted;
        let http =
            if is_due(Listens::Http, self.listens) { bind("intake.address", self.options.address)? } else { None };
        let rtmp = if is_due(Listens::All, self.listens) { bind("intake.rtmp", self.options.rtmp)? } else { None };
        if let Some(listener) = http {
            self.address = listener.local_addr().ok();
            info!("intake: HTTP on {}", shown(&listener));
            self.listeners.push(tokio_uring::spawn(self.ingest.clone().serve(listener)));
        }
        if let Some(listener) = rtmp {
            info!("intake: RTMP on {}", shown(&listener));
            self.listeners.push(tokio_uring::spawn(self.ingest.clone().serve_rtmp(listener)));
        }
        self.listens = self.listens.max(wanted);
        Ok(())
    }
}

fn shown(listener: &TcpListener) -> String {
    listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string())
}
