//! An encoder that sends over HTTP: many requests, often on many connections, that belong together.
//!
//! What they have in common is the protocol, the address they come from and the user name they present; so two encoders
//! behind one address are told apart by giving them different names. Its publishers' clocks and headers outlive requests,
//! and connections.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::recorder::{Entrance, Publication};
use super::refusal::Refusal;
use super::seldom::Remarks;
use crate::ingest::name::Protocol;
use crate::ingest::{cmaf, push};
use crate::live::SourceName;
use crate::media::feed::{Event, TrackKey};

/// By what the requests of one encoder are known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    pub protocol: &'static str,
    pub address: IpAddr,
    /// Of basic authentication; may be empty.
    pub user: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.protocol, self.address)?;
        if self.user.is_empty() { Ok(()) } else { write!(f, " ({:?})", self.user) }
    }
}

pub struct Encoder {
    channel: String,
    identity: Identity,
    since: Instant,
    /// Held while events are on their way to the channel, so that they arrive in order.
    state: Mutex<State>,
    /// Requests that are being read.
    open: Cell<usize>,
    last_heard: Cell<Instant>,
    /// The last request did not end but break.
    is_broken: Cell<bool>,
    /// Names of what is being published, for who looks at the channel.
    tracks: RefCell<Vec<Arc<str>>>,
    remarks: Remarks,
}

struct State {
    publisher: Publisher,
    entrance: Entrance,
    /// By the name of what they publish.
    publications: BTreeMap<Arc<str>, Publication>,
    /// What was said of the tracks that each name has: a publication that begins in the middle needs it.
    announced: BTreeMap<Arc<str>, BTreeMap<TrackKey, Vec<Event>>>,
}

enum Publisher {
    Cmaf(cmaf::Publisher),
    Push(Box<push::Publisher>),
}

/// One request being read; the encoder forgets it when it is dropped without [`Upload::finish`].
pub struct Upload {
    encoder: Rc<Encoder>,
    request: Option<Request>,
}

enum Request {
    Cmaf(cmaf::Request),
    Push(push::Request),
}

impl Encoder {
    pub fn new(channel: &str, identity: Identity, protocol: Protocol, entrance: Entrance, now: Instant) -> Encoder {
        let publisher = match protocol {
            Protocol::Cmaf => Publisher::Cmaf(cmaf::Publisher::default()),
            Protocol::DashPush | Protocol::HlsPush => Publisher::Push(Box::default()),
        };
        Encoder {
            channel: channel.to_owned(),
            identity,
            since: now,
            state: Mutex::new(State { publisher, entrance, publications: BTreeMap::new(), announced: BTreeMap::new() }),
            open: Cell::new(0),
            last_heard: Cell::new(now),
            is_broken: Cell::new(false),
            tracks: RefCell::default(),
            remarks: Remarks::default(),
        }
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn since(&self) -> Instant {
        self.since
    }

    /// Names of what it publishes.
    pub fn tracks(&self) -> Vec<Arc<str>> {
        self.tracks.borrow().clone()
    }

    /// Whether nothing is to be expected of it: silent for so long between requests, or its connection broke and none has
    /// followed.
    pub fn is_gone(&self, now: Instant, idle: Duration) -> bool {
        let silence = now.duration_since(self.last_heard.get());
        self.open.get() == 0 && silence >= if self.is_broken.get() { RETURN_TIME.min(idle) } else { idle }
    }

    /// A request for `name`, the path below the channel.
    pub async fn begin(self: Rc<Self>, name: &str, now: Instant) -> Result<Upload, Refusal> {
        let request = match &mut self.state.lock().await.publisher {
            Publisher::Cmaf(publisher) => Request::Cmaf(publisher.begin(name)?),
            Publisher::Push(publisher) => Request::Push(publisher.begin(name, now)?),
        };
        self.open.set(self.open.get() + 1);
        self.last_heard.set(now);
        self.is_broken.set(false);
        Ok(Upload { encoder: self, request: Some(request) })
    }
}

/// An encoder whose connection broke comes back within a moment, or another should step in.
const RETURN_TIME: Duration = Duration::from_secs(1);

impl Upload {
    /// The next bytes of the body. Waits until the channel has taken what they held. The count of samples in them.
    pub async fn handle(&mut self, bytes: Bytes, now: Instant) -> Result<u64, Refusal> {
        self.encoder.last_heard.set(now);
        let mut state = self.encoder.state.lock().await;
        let handled = match (&mut state.publisher, &mut self.request) {
            (Publisher::Cmaf(publisher), Some(Request::Cmaf(request))) => {
                publisher.handle(request, bytes).map_err(Refusal::from)
            }
            (Publisher::Push(publisher), Some(Request::Push(request))) => {
                publisher.handle(request, bytes).map_err(Refusal::from)
            }
            _ => Ok(()),
        };
        // What was whole before the mistake counts.
        let samples = self.encoder.pass_on(&mut state).await?;
        handled.map(|()| samples)
    }

    /// The body is whole.
    pub async fn finish(mut self, now: Instant) -> Result<(), Refusal> {
        let encoder = self.encoder.clone();
        encoder.last_heard.set(now);
        let mut state = encoder.state.lock().await;
        let finished = match (&mut state.publisher, self.request.take()) {
            (Publisher::Cmaf(publisher), Some(Request::Cmaf(request))) => {
                publisher.finish(&request).map_err(Refusal::from)
            }
            (Publisher::Push(publisher), Some(Request::Push(request))) => {
                publisher.finish(request).map_err(Refusal::from)
            }
            _ => Ok(()),
        };
        encoder.pass_on(&mut state).await?;
        finished
    }

    /// The connection broke, or what it brought makes no sense.
    pub async fn abandon(mut self, why: &Refusal) -> Result<(), Refusal> {
        let encoder = self.encoder.clone();
        let mut state = encoder.state.lock().await;
        match (&mut state.publisher, self.request.take()) {
            (Publisher::Cmaf(publisher), Some(Request::Cmaf(request))) => publisher.abandon(&request),
            (Publisher::Push(publisher), Some(Request::Push(request))) => publisher.abandon(request),
            _ => {}
        }
        // Who was refused is still there, and so is what it sent before.
        encoder.is_broken.set(matches!(why, Refusal::Broken(_) | Refusal::Silent { .. }));
        encoder.pass_on(&mut state).await.map(|_| ())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.encoder.open.set(self.encoder.open.get() - 1);
    }
}

impl Encoder {
    /// Gives the channel what the publisher has made of the bytes so far.
    async fn pass_on(&self, state: &mut State) -> Result<u64, Refusal> {
        let passed = self.pass_on_all(state).await;
        // Who is refused does not begin again with what is left of it: where publishers are taken over from, it would take
        // the channel back from the one that was let in.
        if passed.is_err() {
            while self.poll(&mut state.publisher).is_some() {}
        }
        passed
    }

    async fn pass_on_all(&self, state: &mut State) -> Result<u64, Refusal> {
        let mut samples = 0;
        while let Some((name, event)) = self.poll(&mut state.publisher) {
            samples += u64::from(matches!(event, Event::Sample { .. }));
            let is_end = event == Event::End;
            let announced = state.announced.entry(name.clone()).or_default();
            match event {
                Event::Track { track, .. } => drop(announced.insert(track, vec![event.clone()])),
                Event::Chunk { track, .. } => {
                    // What comes next is as long as what came last, as far as anybody knows.
                    let said = announced.entry(track).or_default();
                    said.retain(|before| !matches!(before, Event::Chunk { .. }));
                    said.push(event.clone());
                }
                _ => {}
            }
            let publication = match state.publications.entry(name.clone()) {
                Entry::Occupied(found) => found.into_mut(),
                Entry::Vacant(place) => {
                    let publication = state.entrance.publish(SourceName::Track(name.to_string())).await?;
                    self.tracks.borrow_mut().push(name.clone());
                    for said in announced.values().flatten() {
                        publication.feed(said.clone()).await?;
                    }
                    place.insert(publication)
                }
            };
            let fed = publication.feed(event).await;
            if is_end || fed.is_err() {
                state.publications.remove(&name);
                self.tracks.borrow_mut().retain(|other| *other != name);
            }
            fed?;
        }
        Ok(samples)
    }

    fn poll(&self, publisher: &mut Publisher) -> Option<(Arc<str>, Event)> {
        match publisher {
            Publisher::Cmaf(publisher) => publisher.poll(),
            Publisher::Push(publisher) => loop {
                match publisher.poll()? {
                    (name, push::Output::Event(event)) => return Some((name, event)),
                    // Every file says it again.
                    (name, push::Output::Notice(push::Notice::Transport(notice))) => {
                        if self.remarks.is_new(format!("{name}: {notice}")) {
                            warn!("channel {}: {}: {name}: {notice}", self.channel, self.identity);
                        }
                    }
                    (_, push::Output::Notice(notice)) => info!("channel {}: {}: {notice}", self.channel, self.identity),
                }
            },
        }
    }
}
