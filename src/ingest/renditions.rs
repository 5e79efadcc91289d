//! The fragmented MP4 streams of one publisher, each under its name: what CMAF ingest and DASH push have in common.
//!
//! A stream comes in many requests, and one may begin before the one before has ended: on another connection, or because
//! the connection before is dead and nobody has noticed. Media is taken in the order in which requests began.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error as ThisError;

use crate::base::limits::{PUBLISHER_RENDITIONS_MAX, WAITING_BYTES_MAX, WAITING_REQUESTS_MAX};
use crate::media::feed::{Event, Format, TrackKey};
use crate::media::isobmff::stream::{self, Demuxer};
use crate::media::track::{Kind, Role};

use super::name::TooLong;

/// All renditions of one publisher.
#[derive(Debug, Default)]
pub struct Renditions {
    all: BTreeMap<Arc<str>, Rendition>,
    /// Of the next request.
    next: u64,
    events: VecDeque<(Arc<str>, Event)>,
}

/// A request that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    stem: Arc<str>,
    number: u64,
}

/// Why a request is refused.
#[derive(Debug, ThisError)]
pub enum Error {
    #[error(transparent)]
    Name(#[from] TooLong),
    #[error("found more than {PUBLISHER_RENDITIONS_MAX} renditions of one publisher, expected fewer")]
    TooMany,
    #[error("another request for {name} took the place of this one")]
    Superseded { name: Arc<str> },
    #[error(transparent)]
    Stream(#[from] stream::Error),
}

/// What a manifest says of a rendition, for what its header leaves open. Bit rates are not in it: ffmpeg states what it
/// measured so far, which is another with each manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// BCP 47.
    pub language: Option<String>,
    pub role: Option<Role>,
}

#[derive(Debug)]
struct Rendition {
    demuxer: Demuxer,
    /// Of its tracks.
    names: Vec<Arc<str>>,
    labels: Labels,
    /// By when they began. The first is being read, the others wait.
    requests: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    held: VecDeque<Bytes>,
    is_finished: bool,
}

impl Renditions {
    /// `stem` names the rendition, or the several of one stream; empty if the encoder gives it no name.
    pub fn begin(&mut self, stem: &str) -> Result<Request, Error> {
        if !self.all.contains_key(stem) && self.all.len() == PUBLISHER_RENDITIONS_MAX {
            return Err(Error::TooMany);
        }
        let stem: Arc<str> = stem.into();
        let new = || {
            let name = if stem.is_empty() { "the stream" } else { &*stem };
            let demuxer = Demuxer::new(name);
            Rendition { demuxer, names: Vec::new(), labels: Labels::default(), requests: VecDeque::new() }
        };
        let rendition = self.all.entry(stem.clone()).or_insert_with(new);
        let number = self.next;
        self.next += 1;
        if rendition.requests.len() > WAITING_REQUESTS_MAX {
            rendition.give_up_first();
        }
        rendition.requests.push_back(Waiting { number, held: VecDeque::new(), is_finished: false });
        // A request that was given up may have let one go on that had waited.
        rendition.go_on(&stem, &mut self.events);
        Ok(Request { stem, number })
    }

    /// The next bytes of a request's body.
    pub fn handle(&mut self, request: &Request, bytes: Bytes) -> Result<(), Error> {
        let rendition = self.all.get_mut(&request.stem).ok_or_else(|| request.superseded())?;
        rendition.handle(request, bytes, &mut self.events)
    }

    /// The body is whole.
    pub fn finish(&mut self, request: &Request) -> Result<(), Error> {
        let rendition = self.all.get_mut(&request.stem).ok_or_else(|| request.superseded())?;
        rendition.finish(request, &mut self.events)
    }

    /// The connection broke: what is not whole is forgotten, and the next request goes on.
    pub fn abandon(&mut self, request: &Request) {
        let Some(rendition) = self.all.get_mut(&request.stem) else { return };
        match rendition.requests.iter().position(|waiting| waiting.number == request.number) {
            None => {}
            Some(0) => {
                rendition.give_up_first();
                rendition.go_on(&request.stem, &mut self.events);
            }
            Some(place) => drop(rendition.requests.remove(place)),
        }
    }

    /// The next event, and the rendition it is of. A track's key counts within what one request's name brings; a marker
    /// is of the first track's rendition, and of the request's name where there is no track.
    pub fn poll(&mut self) -> Option<(Arc<str>, Event)> {
        self.events.pop_front()
    }

    /// What a manifest says of a rendition. Tracks that this changes are announced again.
    pub fn label(&mut self, stem: &str, labels: Labels) {
        let Some(rendition) = self.all.get_mut(stem) else { return };
        let before = std::mem::replace(&mut rendition.labels, labels);
        let tracks = (0..).zip(rendition.demuxer.formats()).zip(&rendition.names);
        for ((track, format), name) in tracks {
            let labelled = rendition.labels.apply(format.clone());
            if labelled != before.apply(format.clone()) {
                self.events.push_back((name.clone(), Event::Track { track, format: labelled }));
            }
        }
    }

    /// Whether no request is being read.
    pub fn is_idle(&self) -> bool {
        self.all.values().all(|rendition| rendition.requests.is_empty())
    }

    /// The encoder says that nothing follows.
    pub fn end(&mut self) {
        for rendition in self.all.values() {
            rendition.end(&mut self.events);
        }
    }
}

impl Request {
    fn superseded(&self) -> Error {
        Error::Superseded { name: self.stem.clone() }
    }
}

impl Labels {
    fn apply(&self, mut format: Format) -> Format {
        if let ("und", Some(language)) = (format.language.as_str(), &self.language) {
            format.language.clone_from(language);
        }
        if let (Role::Main, Some(role)) = (format.role, self.role) {
            format.role = role;
        }
        format
    }
}

type Events = VecDeque<(Arc<str>, Event)>;

impl Rendition {
    fn handle(&mut self, request: &Request, bytes: Bytes, events: &mut Events) -> Result<(), Error> {
        let place = self.place(request)?;
        if place == 0 {
            let result = self.demuxer.handle(bytes);
            self.drain(&request.stem, events);
            return Ok(result?);
        }
        let Some(waiting) = self.requests.get_mut(place) else { return Err(request.superseded()) };
        waiting.held.push_back(bytes);
        let begins_anew = waiting.begins_anew();
        let held: usize = self.requests.iter().flat_map(|waiting| &waiting.held).map(Bytes::len).sum();
        if begins_anew {
            // The encoder starts over: nobody waits for the rest of what was before.
            (0..place).for_each(|_| self.give_up_first());
            self.go_on(&request.stem, events);
        } else if held > WAITING_BYTES_MAX {
            self.give_up_first();
            self.go_on(&request.stem, events);
        }
        Ok(())
    }

    fn finish(&mut self, request: &Request, events: &mut Events) -> Result<(), Error> {
        let place = self.place(request)?;
        if let Some(waiting) = self.requests.get_mut(place) {
            waiting.is_finished = true;
        }
        if place > 0 {
            return Ok(());
        }
        let result = self.demuxer.finish();
        self.drain(&request.stem, events);
        self.requests.pop_front();
        self.go_on(&request.stem, events);
        Ok(result?)
    }

    fn place(&self, request: &Request) -> Result<usize, Error> {
        let place = self.requests.iter().position(|waiting| waiting.number == request.number);
        place.ok_or_else(|| request.superseded())
    }

    fn give_up_first(&mut self) {
        self.demuxer.abandon();
        self.requests.pop_front();
    }

    /// Reads what the first request held while it waited, and what follows if it is whole. It was answered already, so that
    /// nobody is there to be told what is wrong with it.
    fn go_on(&mut self, stem: &Arc<str>, events: &mut Events) {
        while let Some(first) = self.requests.front_mut() {
            let is_finished = first.is_finished;
            for bytes in std::mem::take(&mut first.held) {
                let _ = self.demuxer.handle(bytes);
            }
            if is_finished {
                let _ = self.demuxer.finish();
                self.requests.pop_front();
            }
            self.drain(stem, events);
            if !is_finished {
                break;
            }
        }
    }

    fn drain(&mut self, stem: &Arc<str>, events: &mut Events) {
        while let Some(event) = self.demuxer.poll() {
            match event {
                Event::Track { track, format } => {
                    self.names = names(stem, &self.demuxer);
                    events
                        .push_back((self.name(stem, track), Event::Track { track, format: self.labels.apply(format) }));
                }
                Event::Sample { track, .. } | Event::Chunk { track, .. } => {
                    events.push_back((self.name(stem, track), event))
                }
                // It is of all tracks of the stream, or there are none.
                Event::Marker(_) => events.push_back((self.name(stem, 0), event)),
                Event::End => self.end(events),
            }
        }
    }

    fn name(&self, stem: &Arc<str>, track: TrackKey) -> Arc<str> {
        self.names.get(track as usize).unwrap_or(stem).clone()
    }

    /// Every track ends.
    fn end(&self, events: &mut Events) {
        events.extend(self.names.iter().map(|name| (name.clone(), Event::End)));
    }
}

impl Waiting {
    /// Whether it begins with a header.
    fn begins_anew(&self) -> bool {
        let mut start = self.held.iter().flatten().copied().skip(4).take(4);
        let name = [start.next(), start.next(), start.next(), start.next()].map(Option::unwrap_or_default);
        matches!(&name, b"ftyp" | b"moov")
    }
}

/// Of the tracks of one stream, which are told apart by their kind and their place among those of the kind.
fn names(stem: &Arc<str>, demuxer: &Demuxer) -> Vec<Arc<str>> {
    let kinds: Vec<Kind> = demuxer.formats().map(|format| format.kind).collect();
    if kinds.len() == 1 && !stem.is_empty() {
        return vec![stem.clone()];
    }
    let separator = if stem.is_empty() { "" } else { "-" };
    let name = |(place, kind): (usize, &Kind)| {
        let number = kinds.iter().take(place + 1).filter(|other| *other == kind).count();
        let letter = match kind {
            Kind::Video => 'v',
            Kind::Audio => 'a',
            Kind::Text => 't',
        };
        format!("{stem}{separator}{letter}{number}").into()
    };
    kinds.iter().enumerate().map(name).collect()
}
