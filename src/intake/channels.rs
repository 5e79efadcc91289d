//! The channels of the intake thread: who may publish, who does, and how they come and go while the server runs.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{info, warn};

use super::auth::{self, Presented};
use super::encoder::{Encoder, Identity};
use super::figures::{Figures, Rate};
use super::gate::{Gate, Wrong};
use super::recorder::Entrance;
use super::refusal::Refusal;
use super::setup::ChannelSetup;
use crate::base::limits;
use crate::ingest::name::Protocol;

/// Characters of a channel's name that is none.
const NAME_SHOWN: usize = 64;

/// All channels by name.
#[derive(Default)]
pub struct Channels {
    by_name: RefCell<BTreeMap<String, Rc<Channel>>>,
    gate: RefCell<Gate>,
}

/// A channel, as far as connections of encoders are concerned.
pub struct Channel {
    setup: RefCell<ChannelSetup>,
    entrance: Entrance,
    pub figures: Arc<Figures>,
    rate: RefCell<Rate>,
    /// Who sends over HTTP.
    encoders: RefCell<BTreeMap<Identity, Rc<Encoder>>>,
    /// Who is connected otherwise.
    publishers: RefCell<BTreeMap<u64, Publisher>>,
    next_publisher: Cell<u64>,
    /// Changes when those who publish now are to be disconnected.
    cut: watch::Sender<()>,
}

/// Who publishes on a connection of its own.
#[derive(Clone, Debug)]
pub struct Publisher {
    pub protocol: &'static str,
    pub address: SocketAddr,
    /// What it asked to publish as.
    pub name: String,
    pub since: Instant,
}

/// A place in the list of publishers; gone with the value.
pub struct Listed {
    channel: Rc<Channel>,
    number: u64,
}

impl Channels {
    pub fn find(&self, name: &str) -> Option<Rc<Channel>> {
        self.by_name.borrow().get(name).cloned()
    }

    pub fn insert(&self, channel: Rc<Channel>) {
        let name = channel.setup.borrow().name.clone();
        self.by_name.borrow_mut().insert(name, channel);
    }

    pub fn remove(&self, name: &str) -> Option<Rc<Channel>> {
        self.by_name.borrow_mut().remove(name)
    }

    /// Who may publish: whoever knows the key. That a channel does not exist is told to anybody who presents a key, for
    /// names of channels are in the URLs of viewers; but it costs as much as a wrong key.
    pub fn admit(
        &self,
        name: &str,
        presented: Option<&Presented>,
        address: IpAddr,
        now: Instant,
    ) -> Result<Rc<Channel>, Refusal> {
        let presented = presented.ok_or(Refusal::NoKey)?;
        let channel = self.find(name);
        // Whoever publishes already is not locked out by others behind its address.
        let is_known = channel.as_ref().is_some_and(|channel| channel.has_publisher(address));
        let wait = self.gate.borrow_mut().wait(address, now);
        if let Some(wait) = wait.filter(|_| !is_known) {
            return Err(Refusal::Guessing { wait });
        }
        let refusal = match channel {
            // Goes into the log, and comes from anybody.
            None => {
                Refusal::NoChannel { channel: name.chars().take(NAME_SHOWN).flat_map(char::escape_debug).collect() }
            }
            Some(channel) => {
                let is_right = auth::same(&presented.key, channel.setup.borrow().publish_key.as_bytes());
                if let (Some(wait), false) = (wait, is_right) {
                    return Err(Refusal::Guessing { wait });
                }
                if is_right && channel.setup.borrow().enabled {
                    return Ok(channel);
                }
                channel.figures.refused.add(1);
                if is_right {
                    return Err(Refusal::Disabled { channel: name.to_owned() });
                }
                Refusal::WrongKey { channel: name.to_owned() }
            }
        };
        match self.gate.borrow_mut().wrong(address, now) {
            Wrong::Counted => warn!("intake: {address}: {refusal}"),
            Wrong::Last => warn!("intake: {address}: {refusal}; no more keys are taken from there for a while"),
        }
        Err(refusal)
    }

    /// Once a second or so: encoders that are gone are let go, and rates are counted.
    pub fn tick(&self, idle: Duration, now: Instant) {
        for channel in self.by_name.borrow().values() {
            channel.tick(idle, now);
        }
    }
}

impl Channel {
    pub fn new(setup: ChannelSetup, entrance: Entrance, now: Instant) -> Channel {
        Channel {
            setup: RefCell::new(setup),
            entrance,
            figures: Arc::default(),
            rate: RefCell::new(Rate::new(now)),
            encoders: RefCell::default(),
            publishers: RefCell::default(),
            next_publisher: Cell::new(0),
            cut: watch::Sender::new(()),
        }
    }

    pub fn name(&self) -> String {
        self.setup.borrow().name.clone()
    }

    pub fn setup(&self) -> ChannelSetup {
        self.setup.borrow().clone()
    }

    pub fn entrance(&self) -> &Entrance {
        &self.entrance
    }

    /// Whether what comes is lost because the disk is full.
    pub fn is_full(&self) -> bool {
        self.entrance.figures().full.value() > 0
    }

    /// Whoever publishes with a key that is no longer right, or where nobody is let in any more, is disconnected.
    pub fn configure(&self, setup: ChannelSetup) {
        let before = self.setup.replace(setup);
        let now = self.setup.borrow();
        if now.publish_key != before.publish_key || !now.enabled {
            self.cut();
        }
    }

    /// Disconnects everybody who publishes.
    pub fn cut(&self) {
        self.cut.send_replace(());
        for encoder in std::mem::take(&mut *self.encoders.borrow_mut()).into_values() {
            info!("channel {}: {} was disconnected", self.setup.borrow().name, encoder.identity());
        }
        self.count();
    }

    /// Changes when the connection is to be given up.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.cut.subscribe()
    }

    /// The encoder that a request is of.
    pub fn encoder(&self, identity: Identity, protocol: Protocol, now: Instant) -> Result<Rc<Encoder>, Refusal> {
        let mut encoders = self.encoders.borrow_mut();
        if let Some(known) = encoders.get(&identity) {
            return Ok(known.clone());
        }
        if encoders.len() >= limits::CHANNEL_ENCODERS_MAX {
            return Err(Refusal::Connections { max: limits::CHANNEL_ENCODERS_MAX });
        }
        info!("channel {}: {identity} begins to publish", self.setup.borrow().name);
        let encoder = {
            let setup = self.setup.borrow();
            Rc::new(Encoder::new(&setup.name, identity.clone(), protocol, self.entrance.clone(), now))
        };
        encoders.insert(identity, encoder.clone());
        drop(encoders);
        self.figures.accepted.add(1);
        self.count();
        Ok(encoder)
    }

    /// Lists a publisher that has a connection of its own.
    pub fn list(self: &Rc<Self>, publisher: Publisher) -> Listed {
        let number = self.next_publisher.get();
        self.next_publisher.set(number + 1);
        self.publishers.borrow_mut().insert(number, publisher);
        self.figures.accepted.add(1);
        self.count();
        Listed { channel: self.clone(), number }
    }

    pub fn encoders(&self) -> Vec<Rc<Encoder>> {
        self.encoders.borrow().values().cloned().collect()
    }

    pub fn publishers(&self) -> Vec<Publisher> {
        self.publishers.borrow().values().cloned().collect()
    }

    fn has_publisher(&self, address: IpAddr) -> bool {
        self.encoders.borrow().keys().any(|identity| identity.address == address)
            || self.publishers.borrow().values().any(|publisher| publisher.address.ip() == address)
    }

    fn tick(&self, idle: Duration, now: Instant) {
        self.encoders.borrow_mut().retain(|identity, encoder| {
            let is_gone = encoder.is_gone(now, idle);
            if is_gone {
                info!("channel {}: {identity} is gone", self.setup.borrow().name);
            }
            !is_gone
        });
        self.count();
        let rate = self.rate.borrow_mut().look(self.figures.bytes.value(), now);
        self.figures.bit_rate.set(rate);
    }

    fn count(&self) {
        let count = self.encoders.borrow().len() + self.publishers.borrow().len();
        self.figures.publishers.set(count as u64);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.channel.publishers.borrow_mut().remove(&self.number);
        self.channel.count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::recorder::Recorder;

    fn setup(enabled: bool) -> ChannelSetup {
        ChannelSetup { enabled, ..ChannelSetup::named("news", "s3cret") }
    }

    fn channel(live: &std::path::Path, setup: ChannelSetup, now: Instant) -> Channel {
        let (_, entrance) = Recorder::open(live, setup.options(Duration::from_secs(1))).unwrap();
        Channel::new(setup, entrance, now)
    }

    fn presented(key: &str) -> Option<Presented> {
        Some(Presented { user: String::new(), key: key.as_bytes().to_vec() })
    }

    #[test]
    fn who_is_let_in() {
        let (channels, now) = (Channels::default(), Instant::now());
        let dir = tempfile::tempdir().unwrap();
        for setup in [setup(true), ChannelSetup { name: "off".to_owned(), ..setup(false) }] {
            channels.insert(Rc::new(channel(dir.path(), setup, now)));
        }
        let address: IpAddr = [10, 0, 0, 1].into();
        let status = |channel: &str, presented: Option<Presented>, address: IpAddr| {
            channels
                .admit(channel, presented.as_ref(), address, now)
                .map_or_else(|refusal| refusal.status().as_u16(), |_| 200)
        };
        // A missing key is no attempt at anything, however often.
        for _ in 0..100 {
            assert_eq!(status("news", None, address), 401);
            assert_eq!(status("none", None, address), 401);
        }
        for (channel, key, want) in [
            ("news", "s3cret", 200),
            ("news", "S3cret", 403),
            ("news", "", 403),
            ("off", "s3cret", 403),
            ("none", "x", 404),
        ] {
            assert_eq!(status(channel, presented(key), address), want, "{channel} {key}");
        }
        for _ in 0..limits::INTAKE_WRONG_KEYS_MAX {
            status("news", presented("x"), address);
        }
        assert_eq!(status("news", presented("s3cret"), address), 429);
        assert_eq!(status("news", presented("s3cret"), [10, 0, 0, 2].into()), 200);
        let long = "x\n".repeat(1_000);
        let refusal = channels.admit(&long, presented("x").as_ref(), [10, 0, 0, 3].into(), now).err().unwrap();
        assert_eq!(refusal.to_string(), format!("there is no channel {}", "x\\n".repeat(32)));
        // Who publishes from there already goes on.
        let channel = channels.find("news").unwrap();
        let at = SocketAddr::new(address, 1);
        let listed =
            channel.list(Publisher { protocol: "RTMP", address: at, name: "live/news".to_owned(), since: now });
        assert_eq!(status("news", presented("s3cret"), address), 200);
        assert_eq!(status("news", presented("x"), address), 429);
        assert_eq!(channel.figures.publishers.value(), 1);
        drop(listed);
        assert_eq!(channel.figures.publishers.value(), 0);
        assert_eq!(status("news", presented("s3cret"), address), 429);
    }

    #[test]
    fn another_key_disconnects() {
        let dir = tempfile::tempdir().unwrap();
        let channel = channel(dir.path(), setup(true), Instant::now());
        let mut watch = channel.watch();
        channel.configure(ChannelSetup { window: Duration::from_secs(99), ..setup(true) });
        assert!(!watch.has_changed().unwrap());
        channel.configure(ChannelSetup { publish_key: "other".to_owned(), ..setup(true) });
        assert!(watch.has_changed().unwrap());
        watch.mark_unchanged();
        channel.configure(ChannelSetup { publish_key: "other".to_owned(), ..setup(false) });
        assert!(watch.has_changed().unwrap());
    }
}
