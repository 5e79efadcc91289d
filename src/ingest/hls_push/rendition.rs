//! One rendition: its segments one after the other, whatever the order in which their bytes come.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::base::Timescale;
use crate::base::limits::{WAITING_BYTES_MAX, WAITING_REQUESTS_MAX};
use crate::base::units::rescale_floor;
use crate::media::feed::{Event, Format, TrackKey};
use crate::media::isobmff::stream;
use crate::media::mpegts::{self, PackedAudio};
use crate::media::track;

use super::playlist::{Labels, Media, SEGMENTS_MAX};
use super::{Error, Output};

/// What a segment is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Transport,
    Fragmented,
    Packed,
}

impl Kind {
    /// By the first bytes of a segment.
    pub fn of(bytes: &[u8]) -> Option<Kind> {
        let name = bytes.get(4..8).unwrap_or_default();
        match bytes {
            _ if matches!(name, b"ftyp" | b"styp" | b"moov" | b"moof" | b"sidx" | b"emsg" | b"prft" | b"free") => {
                Some(Kind::Fragmented)
            }
            _ if PackedAudio::is_begun_by(bytes) => Some(Kind::Packed),
            [0x47, ..] | [_, _, _, _, 0x47, ..] => Some(Kind::Transport),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub struct Rendition {
    name: Arc<str>,
    /// The path of the media playlist that lists its segments, once one does.
    pub playlist: Option<String>,
    labels: Labels,
    demuxer: Demuxer,
    /// The path of the header in force, of fragmented MP4, and what it says.
    header: Option<(String, Bytes)>,
    /// What was announced, before labels.
    formats: BTreeMap<TrackKey, Format>,
    /// By when they began. The first is being read, the others wait.
    segments: VecDeque<Segment>,
    /// Paths of those that were read.
    past: VecDeque<String>,
    outputs: Vec<Output>,
    /// When the newest sample is due, in milliseconds.
    newest: Option<i64>,
    is_ending: bool,
    is_ended: bool,
}

#[derive(Debug)]
enum Demuxer {
    None,
    Transport(Box<mpegts::Demuxer>),
    Fragmented(Box<stream::Demuxer>),
    Packed(Box<PackedAudio>),
}

/// What has to be read before a segment.
#[derive(Debug)]
pub enum Header {
    /// It has its own, or needs none.
    Own,
    /// A file, by its path.
    Of(String, Bytes),
    /// There are several, and the playlist that says which is still to come.
    Awaited,
}

/// A segment that is being read, or waits.
#[derive(Debug)]
pub struct Segment {
    number: u64,
    path: String,
    kind: Kind,
    header: Header,
    held: VecDeque<Bytes>,
    is_begun: bool,
    is_finished: bool,
}

impl Segment {
    pub fn new(number: u64, path: String, kind: Kind, header: Header) -> Segment {
        Segment { number, path, kind, header, held: VecDeque::new(), is_begun: false, is_finished: false }
    }

    fn awaits(&self) -> bool {
        matches!(self.header, Header::Awaited)
    }
}

impl Rendition {
    pub fn new(name: Arc<str>) -> Rendition {
        Rendition {
            name,
            playlist: None,
            labels: Labels::default(),
            demuxer: Demuxer::None,
            header: None,
            formats: BTreeMap::new(),
            segments: VecDeque::new(),
            past: VecDeque::new(),
            outputs: Vec::new(),
            newest: None,
            is_ending: false,
            is_ended: false,
        }
    }

    /// The path of the header in force.
    pub fn header(&self) -> Option<&str> {
        self.header.as_ref().map(|(path, _)| path.as_str())
    }

    /// Whether a segment of that name came, as far as is remembered.
    pub fn has(&self, path: &str) -> bool {
        let held = self.segments.iter().map(|segment| &segment.path);
        self.past.iter().chain(held).any(|known| known == path)
    }

    /// When the newest sample is due, in milliseconds of its clock.
    pub fn newest(&self) -> Option<i64> {
        self.newest
    }

    pub fn outputs(&mut self) -> impl Iterator<Item = Output> + '_ {
        self.outputs.drain(..)
    }

    /// A playlist turns out to be the rendition's. Tracks that labels change are announced again.
    pub fn bind(&mut self, playlist: &str, labels: Option<&Labels>) {
        self.playlist = Some(playlist.to_owned());
        let Some(labels) = labels.filter(|labels| **labels != self.labels) else { return };
        let before = std::mem::replace(&mut self.labels, labels.clone());
        for (&track, format) in &self.formats {
            let format = label(format, &self.labels);
            if format != label(&self.formats[&track], &before) {
                self.outputs.push(Output::Event(Event::Track { track, format }));
            }
        }
    }

    /// What its playlist says.
    pub fn list(&mut self, media: &Media) {
        self.is_ending = media.is_ended;
        self.end_when_idle();
    }

    pub fn begin(&mut self, segment: Segment) {
        (self.is_ending, self.is_ended) = (false, false);
        if self.segments.len() > WAITING_REQUESTS_MAX {
            self.give_up_first();
        }
        self.segments.push_back(segment);
        self.go_on();
    }

    /// It has become known which header a segment needs.
    pub fn found(&mut self, path: &str, header: Header) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.awaits() && segment.path == path) {
            segment.header = header;
            self.go_on();
        }
    }

    pub fn handle(&mut self, number: u64, bytes: Bytes) -> Result<(), Error> {
        let place = self.place(number)?;
        if place == 0 && !self.segments[0].awaits() {
            return self.read(bytes);
        }
        self.segments[place].held.push_back(bytes);
        let held: usize = self.segments.iter().flat_map(|segment| &segment.held).map(Bytes::len).sum();
        if held > WAITING_BYTES_MAX {
            self.give_up_first();
            self.go_on();
        }
        Ok(())
    }

    pub fn finish(&mut self, number: u64) -> Result<(), Error> {
        let place = self.place(number)?;
        self.segments[place].is_finished = true;
        if place > 0 || self.segments[0].awaits() {
            return Ok(());
        }
        let result = self.end_first();
        self.go_on();
        result
    }

    pub fn abandon(&mut self, number: u64) {
        match self.segments.iter().position(|segment| segment.number == number) {
            None => {}
            Some(0) => {
                self.give_up_first();
                self.go_on();
            }
            Some(place) => drop(self.segments.remove(place)),
        }
    }

    fn place(&self, number: u64) -> Result<usize, Error> {
        let place = self.segments.iter().position(|segment| segment.number == number);
        place.ok_or_else(|| Error::Superseded { path: self.name.to_string() })
    }

    /// Reads bytes of the first segment.
    fn read(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.enter()?;
        let mut events = Vec::new();
        let result = match &mut self.demuxer {
            Demuxer::None => Ok(()),
            Demuxer::Transport(demuxer) => demuxer.push(&bytes, &mut events).map_err(|error| self.transport(error)),
            Demuxer::Packed(demuxer) => demuxer.push(&bytes, &mut events).map_err(|error| self.transport(error)),
            Demuxer::Fragmented(demuxer) => {
                let result = demuxer.handle(bytes);
                events.extend(std::iter::from_fn(|| demuxer.poll()));
                result.map_err(Error::from)
            }
        };
        self.give_out(events);
        result
    }

    /// Makes the demuxer ready for the first segment, if it is not.
    fn enter(&mut self) -> Result<(), Error> {
        let Some(segment) = self.segments.front_mut().filter(|segment| !segment.is_begun) else { return Ok(()) };
        segment.is_begun = true;
        let header = match std::mem::replace(&mut segment.header, Header::Own) {
            Header::Of(path, bytes) => Some((path, bytes)),
            Header::Own | Header::Awaited => None,
        };
        match (segment.kind, &self.demuxer) {
            (Kind::Transport, Demuxer::Transport(_))
            | (Kind::Packed, Demuxer::Packed(_))
            | (Kind::Fragmented, Demuxer::Fragmented(_)) => {}
            (Kind::Transport, _) => self.demuxer = Demuxer::Transport(Box::default()),
            (Kind::Packed, _) => self.demuxer = Demuxer::Packed(Box::default()),
            (Kind::Fragmented, _) => {
                self.header = None;
                self.demuxer = Demuxer::Fragmented(Box::new(stream::Demuxer::new(&*self.name)));
            }
        }
        let Some(header) = header.filter(|header| self.header.as_ref() != Some(header)) else { return Ok(()) };
        let mut events = Vec::new();
        let mut result = Ok(());
        if let Demuxer::Fragmented(demuxer) = &mut self.demuxer {
            result = demuxer.handle(header.1.clone()).and_then(|()| demuxer.finish());
            events.extend(std::iter::from_fn(|| demuxer.poll()));
        }
        self.header = Some(header);
        self.give_out(events);
        Ok(result?)
    }

    fn transport(&self, error: mpegts::Error) -> Error {
        let path = self.segments.front().map_or_else(|| self.name.to_string(), |first| first.path.clone());
        Error::Transport { path, error }
    }

    /// The first segment is whole.
    fn end_first(&mut self) -> Result<(), Error> {
        let mut events = Vec::new();
        let mut notices = Vec::new();
        let result = match &mut self.demuxer {
            Demuxer::None => Ok(()),
            Demuxer::Transport(demuxer) => {
                let result = demuxer.flush(&mut events);
                notices = demuxer.notices();
                result.map_err(|error| self.transport(error))
            }
            Demuxer::Packed(demuxer) => {
                demuxer.flush(&mut events);
                notices = demuxer.notices();
                Ok(())
            }
            Demuxer::Fragmented(demuxer) => {
                let result = demuxer.finish();
                events.extend(std::iter::from_fn(|| demuxer.poll()));
                result.map_err(Error::from)
            }
        };
        self.give_out(events);
        self.outputs.extend(notices.into_iter().map(Output::Notice));
        self.pass_first();
        result
    }

    fn give_up_first(&mut self) {
        match &mut self.demuxer {
            Demuxer::None => {}
            Demuxer::Transport(demuxer) => demuxer.lose(),
            Demuxer::Packed(demuxer) => demuxer.lose(),
            Demuxer::Fragmented(demuxer) => demuxer.abandon(),
        }
        self.pass_first();
    }

    fn pass_first(&mut self) {
        self.past.extend(self.segments.pop_front().map(|segment| segment.path));
        if self.past.len() > SEGMENTS_MAX {
            self.past.pop_front();
        }
        self.end_when_idle();
    }

    /// Reads what the first segment held while it waited, and what follows if it is whole. It was answered already, so that
    /// nobody is there to be told what is wrong with it.
    fn go_on(&mut self) {
        while let Some(first) = self.segments.front_mut().filter(|first| !first.awaits()) {
            let (is_finished, held) = (first.is_finished, std::mem::take(&mut first.held));
            for bytes in held {
                let _ = self.read(bytes);
            }
            if !is_finished {
                break;
            }
            let _ = self.end_first();
        }
    }

    fn end_when_idle(&mut self) {
        // The playlist may overtake the segments it lists, which are on connections of their own.
        if self.is_ending && !self.is_ended && self.segments.is_empty() {
            self.is_ended = true;
            self.outputs.push(Output::Event(Event::End));
        }
    }

    fn give_out(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Track { track, format } => {
                    let labelled = label(&format, &self.labels);
                    self.formats.insert(track, format);
                    self.outputs.push(Output::Event(Event::Track { track, format: labelled }));
                    self.outputs.push(Output::Event(Event::Chunk { track, duration: None }));
                }
                Event::Chunk { .. } => {}
                Event::Sample { track, sample } => {
                    let scale = self.formats.get(&track).map_or(Timescale::MILLIS, |format| format.timescale);
                    let millis = rescale_floor(sample.decode_time, scale, Timescale::MILLIS).map(|time| time.0);
                    self.newest = millis.or(self.newest);
                    self.outputs.push(Output::Event(Event::Sample { track, sample }));
                }
                // One stream's end is the rendition's only if the playlist says so too.
                Event::End => {}
                Event::Marker(_) => self.outputs.push(Output::Event(event)),
            }
        }
    }
}

fn label(format: &Format, labels: &Labels) -> Format {
    let mut format = format.clone();
    if let ("und", Some(language)) = (format.language.as_str(), &labels.language) {
        format.language.clone_from(language);
    }
    format.name = format.name.or_else(|| labels.name.clone());
    if let (track::Role::Main, Some(role)) = (format.role, labels.role) {
        format.role = role;
    }
    format
}
