//! Fragmented MP4 that arrives over time (ISO/IEC 14496-12 §8.8, CMAF, Smooth): bytes in, however they are split, and the
//! events of a feed out. A sample is given on with its last byte; of a fragment only its `moof` is held.

mod clock;
mod fragment;
mod header;
mod message;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error as ThisError;

use crate::base::limits::{
    EVENT_MESSAGE_BYTES_MAX, EVENT_MESSAGES_MAX, STREAM_BOX_BYTES_MAX, STREAM_FRAGMENT_SAMPLES_MAX,
};
use crate::base::{Ticks, Timescale};
use crate::media::feed::{Event, Format, Marker, Sample};

use super::boxes::{Boxed, Boxes, FourCc, Path};
use super::error::{self, Problem};
use super::movie::{is_box, looks_like};
use fragment::Planned;
use header::{Content, Header};
use message::Due;

/// Takes apart what one encoder sends under one name, over any number of requests. A request is a run of whole boxes; the
/// header counts for those after it too.
#[derive(Debug)]
pub struct Demuxer {
    /// For messages.
    name: String,
    state: State,
    /// Of the next byte in the request.
    position: u64,
    /// The box that is being gathered, its header included.
    gathered: BytesMut,
    file_type: Bytes,
    header: Option<Header>,
    /// Samples of the last `moof` that are still to come, by their place in the stream.
    planned: VecDeque<Planned>,
    /// The first bytes of the next of them.
    partial: BytesMut,
    /// Event messages that count from the fragment to come.
    messages: Vec<message::Message>,
    /// `styp` said that the segment is the last.
    is_last: bool,
    events: VecDeque<Event>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Between boxes, or in the header of one.
    Between,
    /// In a box that is needed as a whole.
    Gather {
        end: u64,
    },
    Media {
        end: u64,
    },
    Skip {
        end: u64,
    },
}

/// Of a box that lasts as long as the request (ISO/IEC 14496-12 §4.2.2: size 0).
const ENDLESS: u64 = u64::MAX;

/// Why a stream is refused. What came before stays good.
#[derive(Debug, ThisError)]
pub enum Error {
    #[error("{name}: found media at byte {at} without a header, expected ftyp and moov before it")]
    NoHeader { name: String, at: u64 },
    #[error(transparent)]
    Malformed(#[from] error::Error),
    #[error("{name}: the request ended after {at} bytes in the middle of {inside}, expected whole boxes")]
    Cut { name: String, at: u64, inside: &'static str },
}

impl Demuxer {
    /// `name` is what messages call the stream.
    pub fn new(name: impl Into<String>) -> Demuxer {
        Demuxer {
            name: name.into(),
            state: State::Between,
            position: 0,
            gathered: BytesMut::new(),
            file_type: Bytes::new(),
            header: None,
            planned: VecDeque::new(),
            partial: BytesMut::new(),
            messages: Vec::new(),
            is_last: false,
            events: VecDeque::new(),
        }
    }

    /// Takes the next bytes of the request. After an error the rest of the request is ignored.
    pub fn handle(&mut self, input: Bytes) -> Result<(), Error> {
        let result = self.advance(input);
        if result.is_err() {
            self.abandon();
            self.state = State::Skip { end: ENDLESS };
        }
        result
    }

    /// The next event of what was taken so far.
    pub fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The request ends; what comes next is another one. An error says that something is missing.
    pub fn finish(&mut self) -> Result<(), Error> {
        let inside = match self.state {
            State::Skip { end: ENDLESS } => None,
            State::Between if self.gathered.is_empty() && self.planned.is_empty() => None,
            State::Media { end: ENDLESS } if self.planned.is_empty() => None,
            State::Between if self.gathered.is_empty() => Some("a fragment"),
            State::Between | State::Gather { .. } | State::Skip { .. } => Some("a box"),
            State::Media { .. } => Some("a fragment's media"),
        };
        let at = self.position;
        for message in std::mem::take(&mut self.messages) {
            self.events.push_back(Event::Marker(message.marker(None)));
        }
        if inside.is_none() && self.is_last {
            self.events.push_back(Event::End);
        }
        self.abandon();
        match inside {
            None => Ok(()),
            Some(inside) => Err(Error::Cut { name: self.name.clone(), at, inside }),
        }
    }

    /// The request breaks off: what is not whole is forgotten, the header is not.
    pub fn abandon(&mut self) {
        self.state = State::Between;
        self.position = 0;
        self.gathered.clear();
        self.planned.clear();
        self.partial.clear();
        self.messages.clear();
        self.is_last = false;
    }

    /// The tracks of the header: a [`TrackKey`](crate::media::feed::TrackKey) is an index into them. Empty before the header.
    pub fn formats(&self) -> impl Iterator<Item = &Format> {
        self.header.iter().flat_map(Header::formats)
    }

    fn advance(&mut self, mut input: Bytes) -> Result<(), Error> {
        while !input.is_empty() {
            match self.state {
                State::Between => self.box_header(&mut input)?,
                State::Gather { end } => {
                    self.gather(&mut input, end);
                    if self.position == end {
                        self.whole_box()?;
                    }
                }
                State::Skip { end } => {
                    self.skip(&mut input, end);
                    if self.position == end {
                        self.state = State::Between;
                    }
                }
                State::Media { end } => self.media(&mut input, end)?,
            }
        }
        Ok(())
    }

    fn skip(&mut self, input: &mut Bytes, end: u64) {
        let len = input.len().min(usize::try_from(end - self.position).unwrap_or(usize::MAX));
        input.advance(len);
        self.position += len as u64;
    }

    fn gather(&mut self, input: &mut Bytes, end: u64) {
        let len = input.len().min(usize::try_from(end - self.position).unwrap_or(usize::MAX));
        self.gathered.extend_from_slice(&input[..len]);
        input.advance(len);
        self.position += len as u64;
    }

    /// §4.2.2. Reads what is there of a header, and decides what to do with the box when it is known.
    fn box_header(&mut self, input: &mut Bytes) -> Result<(), Error> {
        let start = self.position - self.gathered.len() as u64;
        self.gather(input, start + 8);
        let Some((&[s0, s1, s2, s3, n0, n1, n2, n3], _)) = self.gathered.split_first_chunk() else { return Ok(()) };
        let name = FourCc([n0, n1, n2, n3]);
        // What is no box is told by its first bytes, and not by how much of it there would be.
        let known = if start == 0 { is_box(&name.0) } else { name.0.iter().all(|byte| (b' '..=b'~').contains(byte)) };
        if !known {
            let problem = Problem::NotMp4 { found: looks_like(&self.gathered) };
            return Err(self.malformed(error::Error::new(Path::default(), start, problem)));
        }
        let (size, header_len) = match u32::from_be_bytes([s0, s1, s2, s3]) {
            0 => (ENDLESS - start, 8),
            1 => {
                self.gather(input, start + 16);
                let Some(size) = self.gathered.get(8..).and_then(|size| size.first_chunk()) else { return Ok(()) };
                (u64::from_be_bytes(*size), 16)
            }
            size => (u64::from(size), 8),
        };
        let path = Path::default().enter(name, 0);
        let refused = |found: std::fmt::Arguments<'_>, expected: std::fmt::Arguments<'_>| {
            error::Error::unexpected(path, start, found, expected)
        };
        if size < header_len {
            return Err(
                self.malformed(refused(format_args!("a box of {size} bytes"), format_args!("{header_len} or more")))
            );
        }
        let Some(end) = start.checked_add(size) else {
            return Err(self.malformed(refused(format_args!("a box of {size} bytes"), format_args!("less"))));
        };
        let limit = match &name.0 {
            b"ftyp" | b"styp" | b"moov" | b"moof" => STREAM_BOX_BYTES_MAX,
            b"emsg" => EVENT_MESSAGE_BYTES_MAX,
            b"mdat" => {
                self.begin_media(start, end)?;
                return Ok(());
            }
            b"mfra" => {
                // The index of a file (§8.8.9), which nothing follows.
                self.events.push_back(Event::End);
                0
            }
            _ => 0,
        };
        if limit == 0 {
            self.gathered.clear();
            self.state = if self.position == end { State::Between } else { State::Skip { end } };
            return Ok(());
        }
        if size > limit {
            let expected = format_args!("at most {limit}");
            return Err(self.malformed(refused(format_args!("a box of {size} bytes"), expected)));
        }
        self.state = State::Gather { end };
        if self.position == end { self.whole_box() } else { Ok(()) }
    }

    fn malformed(&self, error: error::Error) -> Error {
        Error::Malformed(error.in_file(&self.name))
    }

    fn whole_box(&mut self) -> Result<(), Error> {
        self.state = State::Between;
        let bytes = self.gathered.split().freeze();
        let at = self.position - bytes.len() as u64;
        self.read_box(&bytes, at).map_err(|error| match error {
            Error::Malformed(error) => self.malformed(error),
            other => other,
        })
    }

    fn read_box(&mut self, bytes: &Bytes, at: u64) -> Result<(), Error> {
        let cursor = crate::base::cursor::Cursor::new(bytes, at);
        let Some(found) = Boxes::inside(cursor, Path::default()).next().transpose()? else { return Ok(()) };
        match &found.name.0 {
            b"ftyp" => self.file_type = bytes.clone(),
            // ISO/IEC 23009-1 §6.3.4.2: the brand of the last segment.
            b"styp" => self.is_last = brands(&found).any(|brand| brand == b"lmsg"),
            b"moov" => {
                let next = Header::read(&self.name, &self.file_type, bytes, self.header.as_ref(), &mut self.events)?;
                self.header = Some(next);
            }
            b"emsg" => self.message(&found)?,
            b"moof" => self.fragment(&found)?,
            _ => {}
        }
        Ok(())
    }

    fn message(&mut self, emsg: &Boxed<'_>) -> Result<(), Error> {
        let message = message::Message::read(emsg)?;
        match message.due {
            Due::At(_) => self.events.push_back(Event::Marker(message.marker(None))),
            Due::After(_) if self.messages.len() == EVENT_MESSAGES_MAX => {
                let found = format_args!("more than {EVENT_MESSAGES_MAX} event messages before one fragment");
                return Err(error::Error::unexpected(emsg.path, emsg.at, found, "fewer").into());
            }
            Due::After(_) => self.messages.push(message),
        }
        Ok(())
    }

    fn fragment(&mut self, moof: &Boxed<'_>) -> Result<(), Error> {
        let Some(header) = &mut self.header else {
            return Err(Error::NoHeader { name: self.name.clone(), at: moof.at });
        };
        if let Some(missing) = self.planned.front() {
            let found = format_args!("the next fragment before the media of the last, at byte {}", missing.offset);
            return Err(error::Error::unexpected(moof.path, moof.at, found, "all of its samples").into());
        }
        self.planned = fragment::plan(moof, header, STREAM_FRAGMENT_SAMPLES_MAX)?.into();
        header.measure(&self.planned, &mut self.events);
        let earliest = header.earliest(&self.planned);
        for message in std::mem::take(&mut self.messages) {
            self.events.push_back(Event::Marker(message.marker(earliest)));
        }
        self.empty_samples();
        Ok(())
    }

    fn begin_media(&mut self, start: u64, end: u64) -> Result<(), Error> {
        self.gathered.clear();
        if self.header.is_none() {
            return Err(Error::NoHeader { name: self.name.clone(), at: start });
        }
        if let Some(sample) = self.planned.front().filter(|sample| sample.offset < self.position) {
            return Err(self.outside(sample.offset, sample.size, end));
        }
        self.state = State::Media { end };
        self.end_of_media(end)
    }

    fn outside(&self, offset: u64, size: u32, end: u64) -> Error {
        let path = Path::default().enter(FourCc(*b"mdat"), 0);
        let found = format_args!("a sample of {size} bytes at byte {offset}");
        let expected = format_args!("it in the media, which ends at byte {end}");
        self.malformed(error::Error::unexpected(path, self.position, found, expected))
    }

    fn media(&mut self, input: &mut Bytes, end: u64) -> Result<(), Error> {
        while !input.is_empty() && self.position < end {
            let Some(next) = self.planned.front().filter(|next| next.offset < end).copied() else {
                self.skip(input, end);
                break;
            };
            if next.offset > self.position && self.partial.is_empty() {
                self.skip(input, next.offset);
                continue;
            }
            let Some(sample_end) = next.end().filter(|&sample_end| sample_end <= end) else {
                return Err(self.outside(next.offset, next.size, end));
            };
            let wanted = usize::try_from(sample_end - self.position).unwrap_or(usize::MAX);
            if wanted > input.len() {
                self.position += input.len() as u64;
                self.partial.extend_from_slice(&input.split_to(input.len()));
                break;
            }
            let last = input.split_to(wanted);
            self.position += wanted as u64;
            let data = if self.partial.is_empty() {
                last
            } else {
                self.partial.extend_from_slice(&last);
                self.partial.split().freeze()
            };
            self.planned.pop_front();
            self.sample(&next, data);
            self.empty_samples();
        }
        self.end_of_media(end)
    }

    fn end_of_media(&mut self, end: u64) -> Result<(), Error> {
        if self.position < end {
            return Ok(());
        }
        if let Some(sample) = self.planned.front().filter(|sample| sample.offset < end) {
            return Err(self.outside(sample.offset, sample.size, end));
        }
        self.state = State::Between;
        Ok(())
    }

    /// Samples without bytes are whole as soon as it is their turn.
    fn empty_samples(&mut self) {
        while let Some(next) = self.planned.front().filter(|next| next.size == 0).copied() {
            self.planned.pop_front();
            self.sample(&next, Bytes::new());
        }
    }

    fn sample(&mut self, planned: &Planned, data: Bytes) {
        let Some(track) = self.header.as_ref().and_then(|header| header.tracks.get(planned.track)) else { return };
        let due = planned.decode_time.saturating_add(planned.composition_offset.into());
        match &track.content {
            Content::Media { key, .. } => {
                let sample = Sample {
                    decode_time: Ticks(planned.decode_time),
                    composition_offset: planned.composition_offset,
                    duration: planned.duration,
                    is_sync: planned.is_sync,
                    data,
                };
                self.events.push_back(Event::Sample { track: *key, sample });
            }
            // A sample without bytes is the time between two events (DASH-IF Live Media Ingest, timed metadata tracks).
            Content::Uri { .. } if data.is_empty() => {}
            Content::Uri { scheme } => {
                let duration = planned.duration.map(|duration| (Ticks(duration.into()), track.timescale));
                let message = message::content(scheme, "", 0, &data);
                self.events.push_back(Event::Marker(Marker {
                    time: Some((Ticks(due), track.timescale)),
                    duration,
                    message,
                }));
            }
            Content::Events => {
                let markers = message::instances(&data, Ticks(due), track.timescale);
                self.events.extend(markers.into_iter().map(Event::Marker));
            }
            Content::Other => {}
        }
    }
}

/// Of `styp` (§8.16.2): the major one and the compatible ones.
fn brands<'a>(styp: &Boxed<'a>) -> impl Iterator<Item = &'a [u8; 4]> {
    let (words, _) = styp.body().rest().as_chunks();
    words.iter().enumerate().filter(|(index, _)| *index != 1).map(|(_, brand)| brand)
}

/// A time and what it counts in.
type At = (Ticks, Timescale);
