//! An HLS packager that puts its files to a server: segments (MPEG-TS, fragmented MP4, packed audio), headers and playlists
//! of RFC 8216, WebVTT among the segments, as ffmpeg `-f hls -method PUT` and cloud encoders send them.
//!
//! A segment's name says which rendition it is of, so that it need not wait for its playlist, which ffmpeg sends after it; a
//! playlist that lists it knows better. Only the first of a rendition waits, where its name ends with two digits or more: those
//! before the last may be the rendition's. Playlists say what names leave open: languages and the end. Their wall clock and
//! discontinuities come after what they are about was published; the channel goes by the timestamps.

mod name;
mod playlist;
mod rendition;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use thiserror::Error as ThisError;

use crate::base::limits::{
    PUBLISHER_RENDITIONS_MAX, PUSHED_MANIFEST_BYTES_MAX, RENDITION_NAME_BYTES_MAX, STREAM_BOX_BYTES_MAX,
    WAITING_BYTES_MAX,
};
use crate::media::feed::Event;
use crate::media::isobmff::stream;
use crate::media::mpegts;
use crate::media::webvtt;

use playlist::{Labels, Listed, Media, Playlist};
use rendition::{Header, Rendition, Segment};
use text::Text;

/// What one encoder sends to one channel. Requests may overlap. That it deletes old segments says nothing about the feed,
/// and is not for this module to know.
#[derive(Debug, Default)]
pub struct Publisher {
    renditions: BTreeMap<Arc<str>, Rendition>,
    /// Those of WebVTT, whose segments are called like those that they belong to.
    texts: BTreeMap<Arc<str>, Text>,
    /// The newest time in the other renditions, in milliseconds.
    now: Option<i64>,
    /// Media playlists by path.
    playlists: BTreeMap<String, Media>,
    /// What multivariant playlists say of media playlists, by their path.
    labels: BTreeMap<String, Labels>,
    /// Headers of fragmented MP4 by path.
    headers: BTreeMap<String, Bytes>,
    /// Whole segments, of which only a playlist can say which rendition they are of.
    unnamed: VecDeque<(String, Bytes)>,
    /// Of the next request.
    next: u64,
    outputs: VecDeque<(Arc<str>, Output)>,
}

/// A request that was begun.
#[derive(Debug)]
pub struct Request {
    path: String,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Playlist(BytesMut),
    /// What it is is not known yet, or it is a header as far as can be seen.
    Start(BytesMut),
    /// In which rendition, and its number.
    Segment(Arc<str>, u64),
    /// Of which rendition is not known yet.
    Unnamed(BytesMut),
    /// Of WebVTT, which is read when it is whole.
    Text(BytesMut),
    Refused,
}

/// What comes of a rendition.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Event(Event),
    /// Something was left out: for the log.
    Notice(mpegts::Notice),
}

/// Why a request is refused.
#[derive(Debug, ThisError)]
pub enum Error {
    #[error("found a name of {len} bytes ({start}…), expected at most {}", name::PATH_BYTES_MAX)]
    LongName { len: usize, start: String },
    #[error("found a rendition name of {len} bytes ({start}…), expected at most {RENDITION_NAME_BYTES_MAX}")]
    LongRendition { len: usize, start: String },
    #[error("found more than {PUBLISHER_RENDITIONS_MAX} {what} of one publisher, expected fewer")]
    TooMany { what: &'static str },
    #[error("{path}: found a playlist of more than {PUSHED_MANIFEST_BYTES_MAX} bytes, expected a smaller one")]
    LongPlaylist { path: String },
    #[error("{path}: found no playlist of RFC 8216 ({reason})")]
    NotPlaylist { path: String, reason: String },
    #[error("{path}: found {found}, expected whole segments in the clear")]
    Unsupported { path: String, found: &'static str },
    #[error("{path}: found a header of more than {STREAM_BOX_BYTES_MAX} bytes, expected a smaller one")]
    LongHeader { path: String },
    #[error("{path}: found media without a header, expected the file that EXT-X-MAP names before it")]
    NoHeader { path: String },
    #[error("{path}: found a body that begins 0x{found}, expected MPEG-TS, fragmented MP4 or packed audio")]
    Unknown { path: String, found: String },
    #[error("{path}: found a segment of WebVTT of more than {} bytes, expected a smaller one", text::SEGMENT_BYTES_MAX)]
    LongText { path: String },
    #[error(transparent)]
    Text(#[from] webvtt::Error),
    #[error("another request took the place of {path}")]
    Superseded { path: String },
    #[error("{path}: {error}")]
    Transport { path: String, error: mpegts::Error },
    #[error(transparent)]
    Fragmented(#[from] stream::Error),
}

/// Bytes that tell one kind of segment from another.
const SNIFFED_BYTES: usize = 8;
/// Of all segments that wait to be told which rendition they are of: the first of each.
const UNNAMED_BYTES_MAX: usize = 4 * WAITING_BYTES_MAX;

impl Publisher {
    /// `name` is the path below the channel, percent-decoded.
    pub fn begin(&mut self, name: &str) -> Result<Request, Error> {
        let path = name::normal(name)?;
        let is_playlist = [".m3u8", ".m3u"].iter().any(|end| path.to_ascii_lowercase().ends_with(end));
        let body = if is_playlist { Body::Playlist(BytesMut::new()) } else { Body::Start(BytesMut::new()) };
        Ok(Request { path, body })
    }

    /// The next bytes of a request's body. After an error the request's other bytes are ignored.
    pub fn handle(&mut self, request: &mut Request, bytes: Bytes) -> Result<(), Error> {
        let result = self.take(request, bytes);
        if result.is_err() {
            let body = std::mem::replace(&mut request.body, Body::Refused);
            if let Body::Segment(rendition, number) = body {
                self.give_up(&rendition, number);
            }
        }
        result
    }

    /// The body is whole.
    pub fn finish(&mut self, request: Request) -> Result<(), Error> {
        let mut request = request;
        if let Body::Start(start) = &mut request.body {
            let start = start.split().freeze();
            if start.is_empty() {
                return Ok(());
            }
            if text::is_begun_by(&start) {
                return self.text(&request.path, &start);
            }
            if is_fragmented(&start) && !has_media(&start) {
                return self.header(request.path, start);
            }
            self.segment(&mut request, start)?;
        }
        match request.body {
            Body::Playlist(body) => self.playlist(&request.path, &body),
            Body::Text(body) => self.text(&request.path, &body),
            Body::Unnamed(body) => {
                self.unnamed.push_back((request.path, body.freeze()));
                self.name_segments();
                Ok(())
            }
            Body::Segment(rendition, number) => {
                let known = self.renditions.get_mut(&rendition);
                let superseded = || Error::Superseded { path: request.path.clone() };
                let result = known.ok_or_else(superseded)?.finish(number);
                self.drain(&rendition);
                result
            }
            Body::Start(_) | Body::Refused => Ok(()),
        }
    }

    /// The connection broke before the body was whole.
    pub fn abandon(&mut self, request: Request) {
        if let Body::Segment(rendition, number) = request.body {
            self.give_up(&rendition, number);
        }
    }

    /// The next of what came of the requests, and the rendition it is of.
    pub fn poll(&mut self) -> Option<(Arc<str>, Output)> {
        self.outputs.pop_front()
    }

    fn take(&mut self, request: &mut Request, bytes: Bytes) -> Result<(), Error> {
        match &mut request.body {
            Body::Refused => Ok(()),
            Body::Playlist(body) => {
                if body.len() + bytes.len() > PUSHED_MANIFEST_BYTES_MAX {
                    return Err(Error::LongPlaylist { path: request.path.clone() });
                }
                body.extend_from_slice(&bytes);
                Ok(())
            }
            Body::Start(start) => {
                start.extend_from_slice(&bytes);
                if start.len() < SNIFFED_BYTES {
                    return Ok(());
                }
                if text::is_begun_by(start) {
                    request.body = Body::Text(start.split());
                    return self.take(request, Bytes::new());
                }
                // A header stays until it is whole: nothing but the boxes behind it tell it from a segment.
                if is_fragmented(start) && !has_media(start) {
                    let is_long = start.len() as u64 > STREAM_BOX_BYTES_MAX;
                    return if is_long { Err(Error::LongHeader { path: request.path.clone() }) } else { Ok(()) };
                }
                let start = start.split().freeze();
                self.segment(request, start)
            }
            Body::Unnamed(body) => {
                body.extend_from_slice(&bytes);
                let held = body.len() + self.unnamed.iter().map(|(_, body)| body.len()).sum::<usize>();
                if held <= UNNAMED_BYTES_MAX {
                    return Ok(());
                }
                let start = body.split().freeze();
                match self.rendition_of(&request.path, false)? {
                    Some(rendition) => self.segment_of(request, rendition, start),
                    None => Ok(()),
                }
            }
            Body::Text(body) if body.len() + bytes.len() > text::SEGMENT_BYTES_MAX => {
                Err(Error::LongText { path: request.path.clone() })
            }
            Body::Text(body) => {
                body.extend_from_slice(&bytes);
                Ok(())
            }
            Body::Segment(rendition, number) => {
                let (rendition, number) = (rendition.clone(), *number);
                let known = self.renditions.get_mut(&rendition);
                let superseded = || Error::Superseded { path: request.path.clone() };
                let result = known.ok_or_else(superseded)?.handle(number, bytes);
                self.drain(&rendition);
                result
            }
        }
    }

    /// It has become clear that the request is a segment, which begins with `start`.
    fn segment(&mut self, request: &mut Request, start: Bytes) -> Result<(), Error> {
        match self.rendition_of(&request.path, true)? {
            Some(rendition) => self.segment_of(request, rendition, start),
            None => {
                // What is none is to be told so.
                self.header_for(&request.path, kind_of(&request.path, &start)?, None, &start)?;
                request.body = Body::Unnamed(start.into());
                Ok(())
            }
        }
    }

    fn segment_of(&mut self, request: &mut Request, rendition: Arc<str>, start: Bytes) -> Result<(), Error> {
        let path = request.path.clone();
        let kind = kind_of(&path, &start)?;
        let header = self.header_for(&path, kind, Some(&rendition), &start)?;
        if !self.renditions.contains_key(&rendition) && self.renditions.len() == PUBLISHER_RENDITIONS_MAX {
            return Err(Error::TooMany { what: "renditions" });
        }
        let number = self.next;
        self.next += 1;
        let playlist = self.listed(&path).map(|(playlist, _)| playlist.to_owned());
        let known = self.renditions.entry(rendition.clone()).or_insert_with(|| Rendition::new(rendition.clone()));
        if let Some(playlist) = &playlist {
            known.bind(playlist, self.labels.get(playlist));
        }
        known.begin(Segment::new(number, path, kind, header));
        request.body = Body::Segment(rendition.clone(), number);
        let result = known.handle(number, start);
        self.drain(&rendition);
        result
    }

    /// The playlist that lists a segment, and how.
    fn listed(&self, path: &str) -> Option<(&str, &Listed)> {
        self.playlists.iter().find_map(|(playlist, media)| {
            Some((playlist.as_str(), media.segments.iter().find(|listed| listed.path == path)?))
        })
    }

    /// `None`: a playlist has to say so, which has not come yet. If it is not to be waited for, the likeliest.
    fn rendition_of(&self, path: &str, waits: bool) -> Result<Option<Arc<str>>, Error> {
        let of = |playlist: &str| {
            let bound = self.renditions.iter().find(|(_, it)| it.playlist.as_deref() == Some(playlist));
            bound.map_or_else(|| name::listed_rendition(path, playlist).map(Arc::from), |(name, _)| Ok(name.clone()))
        };
        if let Some((playlist, _)) = self.listed(path) {
            return of(playlist).map(Some);
        }
        let is_next = |playlist: &str, media: &Media| {
            let last = media.segments.last().and_then(|last| name::number(&last.path, playlist));
            name::number(path, playlist) == last.and_then(|last| last.checked_add(1))
        };
        let mut numbered = self.playlists.iter().filter(|(playlist, _)| name::is_numbered(path, playlist)).peekable();
        if numbered.peek().is_some() {
            let mut likely = numbered.filter(|(playlist, media)| !waits || is_next(playlist, media));
            return match (likely.next(), likely.next()) {
                (Some((playlist, _)), None) => of(playlist).map(Some),
                _ if waits => Ok(None),
                _ => Ok(Some(name::rendition(path)?.into())),
            };
        }
        let name: Arc<str> = name::rendition(path)?.into();
        let is_sure = name::digits(path).len() < 2 || self.renditions.contains_key(&name);
        Ok((is_sure || !waits).then_some(name))
    }

    /// Segments go to their renditions as soon as these are known: when a playlist lists them, or when there is obviously none
    /// to come. They were answered, so that nobody is there to be told what is wrong with them.
    fn name_segments(&mut self) {
        let follows = |(path, _): &(String, Bytes), (next, _): &(String, Bytes)| {
            let number = |path: &str| name::digits(path).parse::<u64>().ok();
            let step = number(next).zip(number(path)).and_then(|(next, number)| next.checked_sub(number));
            // Of two renditions, the digits before the last are others.
            step.is_some_and(|step| (1..10).contains(&step)) && name::rendition(path).ok() == name::rendition(next).ok()
        };
        let mut waiting = std::mem::take(&mut self.unnamed);
        let has_no_playlist = waiting.len() > PUBLISHER_RENDITIONS_MAX
            || waiting.back().is_some_and(|last| waiting.iter().any(|before| follows(before, last)));
        while let Some((path, body)) = waiting.pop_front() {
            match self.rendition_of(&path, !has_no_playlist) {
                Ok(None) => self.unnamed.push_back((path, body)),
                Ok(Some(name)) => {
                    let mut request = Request { path, body: Body::Refused };
                    if self.segment_of(&mut request, name, body).is_ok() {
                        let _ = self.finish(request);
                    } else {
                        self.abandon(request);
                    }
                }
                Err(_) => {}
            }
        }
    }

    fn header_for(
        &self,
        path: &str,
        kind: rendition::Kind,
        rendition: Option<&Arc<str>>,
        start: &[u8],
    ) -> Result<Header, Error> {
        if kind != rendition::Kind::Fragmented || has_header(start) {
            return Ok(Header::Own);
        }
        let known = rendition.and_then(|name| self.renditions.get(name)?.header());
        let listed = self.listed(path).and_then(|(_, listed)| listed.header.as_deref());
        match listed.or(known) {
            Some(name) => self.header_of(name, path),
            None => self.likely_header(path),
        }
    }

    fn header_of(&self, name: &str, path: &str) -> Result<Header, Error> {
        match self.headers.get(name) {
            Some(header) => Ok(Header::Of(name.to_owned(), header.clone())),
            None => Err(Error::NoHeader { path: path.to_owned() }),
        }
    }

    /// Of a segment that no playlist has listed yet: the only header beside it that is not another rendition's. Where there
    /// are several, it waits for the playlist.
    fn likely_header(&self, path: &str) -> Result<Header, Error> {
        let taken = |header: &str| self.renditions.values().any(|rendition| rendition.header() == Some(header));
        let beside = |header: &&String| name::directory(header) == name::directory(path);
        let mut free = self.headers.keys().filter(beside).filter(|header| !taken(header));
        match (free.next(), free.next()) {
            (None, _) => Err(Error::NoHeader { path: path.to_owned() }),
            (Some(only), None) => self.header_of(only, path),
            (Some(_), Some(_)) => Ok(Header::Awaited),
        }
    }

    fn header(&mut self, path: String, header: Bytes) -> Result<(), Error> {
        if !self.headers.contains_key(&path) && self.headers.len() == PUBLISHER_RENDITIONS_MAX {
            // An encoder that restarts may name its headers anew: those that are in no use go.
            let renditions = &self.renditions;
            self.headers.retain(|path, _| renditions.values().any(|it| it.header() == Some(path)));
            if self.headers.len() == PUBLISHER_RENDITIONS_MAX {
                return Err(Error::TooMany { what: "headers" });
            }
        }
        self.headers.insert(path, header);
        Ok(())
    }

    /// A segment of WebVTT.
    fn text(&mut self, path: &str, body: &[u8]) -> Result<(), Error> {
        let name: Arc<str> = format!("{}-text", name::rendition(path)?).into();
        let is_new = !self.texts.contains_key(&name);
        if is_new && self.renditions.len() + self.texts.len() >= PUBLISHER_RENDITIONS_MAX {
            return Err(Error::TooMany { what: "renditions" });
        }
        let text = self.texts.entry(name.clone()).or_default();
        if is_new {
            let lists = |media: &Media| media.segments.iter().any(|listed| listed.path == path);
            let playlist = self.playlists.iter().find(|(_, media)| lists(media)).map(|(playlist, _)| playlist);
            text.label(playlist.and_then(|playlist| self.labels.get(playlist)));
        }
        let events = text.read(path, body, self.now)?;
        self.outputs.extend(events.into_iter().map(|event| (name.clone(), Output::Event(event))));
        Ok(())
    }

    /// What playlists say of WebVTT: labels, and the end. Its segments are known by their names.
    fn tell_texts(&mut self) {
        for (path, media) in &self.playlists {
            let of = media.segments.last().and_then(|listed| name::rendition(&listed.path).ok());
            let Some((name, text)) =
                of.and_then(|of| self.texts.iter_mut().find(|(name, _)| ***name == *format!("{of}-text")))
            else {
                continue;
            };
            let is_its = media.segments.iter().any(|listed| name::is_text(&listed.path));
            let labels = self.labels.get(path).filter(|_| is_its);
            let labelled = labels.and_then(|labels| text.label(Some(labels)));
            let ended = if is_its && media.is_ended { text.finish() } else { None };
            self.outputs.extend(labelled.into_iter().chain(ended).map(|event| (name.clone(), Output::Event(event))));
        }
    }

    fn give_up(&mut self, rendition: &Arc<str>, number: u64) {
        if let Some(known) = self.renditions.get_mut(rendition) {
            known.abandon(number);
            self.drain(rendition);
        }
    }

    fn playlist(&mut self, path: &str, body: &[u8]) -> Result<(), Error> {
        match Playlist::read(path, body)? {
            Playlist::Multivariant(labels) => {
                for rendition in self.renditions.values_mut() {
                    let playlist = rendition.playlist.clone();
                    if let Some((playlist, labels)) = playlist.as_ref().and_then(|it| labels.get_key_value(it)) {
                        rendition.bind(playlist, Some(labels));
                    }
                }
                self.labels = labels;
            }
            Playlist::Media(media) => {
                if !self.playlists.contains_key(path) && self.playlists.len() == PUBLISHER_RENDITIONS_MAX {
                    return Err(Error::TooMany { what: "media playlists" });
                }
                self.playlists.insert(path.to_owned(), media);
                self.name_segments();
                let media = &self.playlists[path];
                let is_its = |it: &Rendition| {
                    it.playlist.as_deref() == Some(path) || media.segments.iter().any(|listed| it.has(&listed.path))
                };
                if let Some(rendition) = self.renditions.values_mut().find(|it| is_its(it)) {
                    rendition.bind(path, self.labels.get(path));
                    for listed in &media.segments {
                        let header = listed.header.as_ref().and_then(|name| self.headers.get_key_value(name));
                        if let Some((name, header)) = header {
                            rendition.found(&listed.path, Header::Of(name.clone(), header.clone()));
                        }
                    }
                    rendition.list(media);
                }
            }
        }
        self.tell_texts();
        let names: Vec<Arc<str>> = self.renditions.keys().cloned().collect();
        names.iter().for_each(|name| self.drain(name));
        Ok(())
    }

    fn drain(&mut self, name: &Arc<str>) {
        let Some(rendition) = self.renditions.get_mut(name) else { return };
        self.outputs.extend(rendition.outputs().map(|output| (name.clone(), output)));
        self.now = rendition.newest().or(self.now);
    }
}

fn kind_of(path: &str, start: &[u8]) -> Result<rendition::Kind, Error> {
    rendition::Kind::of(start).ok_or_else(|| {
        let found = start.iter().take(SNIFFED_BYTES).map(|byte| format!("{byte:02x}")).collect();
        Error::Unknown { path: path.to_owned(), found }
    })
}

/// Whether the first box is one that fragmented MP4 begins with.
fn is_fragmented(bytes: &[u8]) -> bool {
    rendition::Kind::of(bytes) == Some(rendition::Kind::Fragmented)
}

fn has_media(bytes: &[u8]) -> bool {
    has_box(bytes, &[b"moof", b"mdat", b"styp", b"sidx"])
}

fn has_header(bytes: &[u8]) -> bool {
    has_box(bytes, &[b"moov"])
}

/// Whether one of these boxes begins on the top level, as far as the bytes reach.
fn has_box(bytes: &[u8], wanted: &[&[u8; 4]]) -> bool {
    let mut rest = bytes;
    while let Some((header, _)) = rest.split_first_chunk::<8>() {
        if wanted.iter().any(|wanted| header[4..] == wanted[..]) {
            return true;
        }
        let size = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(tail) = rest.get(size..).filter(|_| size >= 8) else { return false };
        rest = tail;
    }
    false
}
