//! One rendition: its segments one after the other, whatever the order in which their bytes come.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::base::limits::{WAITING_BYTES_MAX, WAITING_REQUESTS_MAX};
use crate::base::{Ticks, Timescale};
use crate::media::feed::{Event, Format, TrackKey};
use crate::media::isobmff::stream;
use crate::media::mpegts::{self, PackedAudio};
use crate::media::track;

use super::playlist::{Labels, Listed, Media, SEGMENTS_MAX};
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
    /// Those that were read.
    past: VecDeque<Past>,
    outputs: Vec<Output>,
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

/// A segment that is being read, or waits.
#[derive(Debug)]
pub struct Segment {
    number: u64,
    kind: Kind,
    header: Option<(String, Bytes)>,
    held: VecDeque<Bytes>,
    is_begun: bool,
    is_finished: bool,
    facts: Past,
}

/// What is remembered of a segment.
#[derive(Clone, Debug)]
struct Past {
    path: String,
    /// When its first picture, or else its first sound, is presented.
    start: Option<(Ticks, Timescale)>,
    unix_millis: Option<i64>,
    discontinuity: bool,
    /// Whether its wall clock time was given out.
    is_timed: bool,
    /// Whether its discontinuity was given out.
    is_broken: bool,
}

impl Segment {
    pub fn new(
        number: u64,
        path: String,
        kind: Kind,
        header: Option<(String, Bytes)>,
        listed: Option<&Listed>,
    ) -> Segment {
        let facts = Past {
            path,
            start: None,
            unix_millis: listed.and_then(|listed| listed.unix_millis),
            discontinuity: listed.is_some_and(|listed| listed.discontinuity),
            is_timed: false,
            is_broken: false,
        };
        Segment { number, kind, header, held: VecDeque::new(), is_begun: false, is_finished: false, facts }
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
        self.facts().any(|facts| facts.path == path)
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
        for listed in &media.segments {
            let facts = self.past.iter_mut().chain(self.segments.iter_mut().map(|segment| &mut segment.facts));
            for facts in facts.filter(|facts| facts.path == listed.path) {
                facts.unix_millis = listed.unix_millis.or(facts.unix_millis);
                facts.discontinuity |= listed.discontinuity;
                facts.give_out(&mut self.outputs);
            }
        }
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

    pub fn handle(&mut self, number: u64, bytes: Bytes) -> Result<(), Error> {
        let place = self.place(number)?;
        if place == 0 {
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
        if place > 0 {
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

    fn facts(&self) -> impl Iterator<Item = &Past> {
        self.past.iter().chain(self.segments.iter().map(|segment| &segment.facts))
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
        segment.facts.give_out(&mut self.outputs);
        let header = segment.header.take();
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
        let path = self.segments.front().map_or_else(|| self.name.to_string(), |first| first.facts.path.clone());
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
        self.past.extend(self.segments.pop_front().map(|segment| segment.facts));
        if self.past.len() > SEGMENTS_MAX {
            self.past.pop_front();
        }
        self.end_when_idle();
    }

    /// Reads what the first segment held while it waited, and what follows if it is whole. It was answered already, so that
    /// nobody is there to be told what is wrong with it.
    fn go_on(&mut self) {
        while let Some(first) = self.segments.front_mut() {
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
                }
                Event::Sample { track, sample } => {
                    if let Some(segment) = self.segments.front_mut() {
                        let has_video = self.formats.values().any(|format| format.kind == track::Kind::Video);
                        let format = self.formats.get(&track);
                        let counts = format.filter(|format| format.kind == track::Kind::Video || !has_video);
                        if let (None, Some(format)) = (segment.facts.start, counts) {
                            let time = sample.decode_time.0.saturating_add(sample.composition_offset.into());
                            segment.facts.start = Some((Ticks(time), format.timescale));
                            segment.facts.give_out(&mut self.outputs);
                        }
                    }
                    self.outputs.push(Output::Event(Event::Sample { track, sample }));
                }
                // One stream's end is the rendition's only if the playlist says so too.
                Event::End => {}
                Event::Marker(_) => self.outputs.push(Output::Event(event)),
            }
        }
    }
}

impl Past {
    /// What the playlist says of it, once, as soon as it is known of what time.
    fn give_out(&mut self, outputs: &mut Vec<Output>) {
        if self.discontinuity && !self.is_broken {
            self.is_broken = true;
            outputs.push(Output::Discontinuity { media: self.start });
        }
        if let (Some(media), Some(unix_millis), false) = (self.start, self.unix_millis, self.is_timed) {
            self.is_timed = true;
            outputs.push(Output::WallClock { media, unix_millis });
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
