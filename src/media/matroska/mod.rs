//! Matroska and WebM (RFC 9559), from a whole file: its blocks one after the other, as events of a feed.
//!
//! No index is used and sizes may be unknown, so what a recorder left behind is read as well. Times become exact
//! ([`clock`]); subtitles are gathered as cues.

mod block;
mod clock;
mod element;
#[cfg(test)]
mod tests;
mod text;
mod tracks;

use std::collections::BTreeMap;

use bytes::Bytes;
use thiserror::Error as ThisError;

use crate::base::limits::{ACCESS_UNIT_BYTES_MAX, SUBTITLE_BYTES_MAX, TRACKS_MAX};
use crate::base::{Ticks, Timescale};
use crate::media::codec::{self, Framing, opus};
use crate::media::feed::{Event, Format, Sample, TrackKey};
use crate::media::track::{Details, Kind, Role};

use block::Block;
use clock::{Ordered, Pictures, Reorder, Sound};
use element::{Element, Region};
use text::cue;
pub use text::{TextCue, TextTrack};
use tracks::Entry;

/// Why a file is refused. One line.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum Error {
    #[error("{file}: byte {at}: found {found}, expected {expected}")]
    Unexpected { file: String, at: u64, found: String, expected: String },
    #[error(transparent)]
    Codec(#[from] codec::Error),
}

impl Error {
    fn unexpected(file: &str, at: usize, found: impl Into<String>, expected: impl Into<String>) -> Error {
        Error::Unexpected { file: file.to_owned(), at: at as u64, found: found.into(), expected: expected.into() }
    }

    /// The place was counted from `by`.
    fn moved(self, by: usize) -> Error {
        match self {
            Error::Unexpected { file, at, found, expected } => {
                Error::Unexpected { file, at: at + by as u64, found, expected }
            }
            other => other,
        }
    }
}

// Element identifiers (RFC 9559 §5.1).
const EBML: u32 = 0x1A45_DFA3;
const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_A966;
const TRACKS: u32 = 0x1654_AE6B;
const CLUSTER: u32 = 0x1F43_B675;
const CUES: u32 = 0x1C53_BB6B;
const CHAPTERS: u32 = 0x1043_A770;
const TAGS: u32 = 0x1254_C367;
const ATTACHMENTS: u32 = 0x1941_A469;
const SEEK_HEAD: u32 = 0x114D_9B74;
const CLUSTER_TIME: u32 = 0xE7;
const SIMPLE_BLOCK: u32 = 0xA3;
const BLOCK_GROUP: u32 = 0xA0;

/// A file that begins so is one of these.
pub const SIGNATURE: [u8; 4] = EBML.to_be_bytes();

/// A millisecond, in nanoseconds (TimestampScale).
const TICK_DEFAULT: u64 = 1_000_000;

/// Takes a file apart.
pub struct Demuxer<'a> {
    file: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Of the Segment.
    end: usize,
    /// Nanoseconds a tick.
    tick: u64,
    cluster_time: u64,
    tracks: BTreeMap<u64, Track>,
    text_bytes: u64,
    notes: Vec<String>,
}

struct Track {
    key: TrackKey,
    entry: Entry,
    state: State,
    /// Presented stretch in ticks, once something is known of it.
    start: Option<i64>,
    end: Option<i64>,
}

enum State {
    LeftOut,
    /// Until the first frame.
    Waiting,
    Video(Pictures, Reorder),
    Audio {
        sound: Sound,
        frame: FrameLength,
    },
    Text(Vec<TextCue>),
}

/// How long a frame of sound lasts, in ticks.
#[derive(Clone, Copy)]
enum FrameLength {
    Fixed(u32),
    Opus,
    Flac(u32),
}

/// What a block is, together with the elements around it.
struct Whole<'a> {
    block: Block<'a>,
    at: usize,
    is_key: bool,
    /// In ticks of the file.
    duration: Option<u64>,
    /// Nanoseconds at its end that are not presented.
    padding: i64,
    /// Cue settings (BlockAdditional).
    addition: &'a [u8],
}

impl<'a> Demuxer<'a> {
    /// Reads the beginning: that it is such a file, and what it says of its tracks.
    pub fn open(file: &'a str, bytes: &'a [u8]) -> Result<Demuxer<'a>, Error> {
        let cut = |at: usize| Error::unexpected(file, at, "the end of the file", "an EBML header and a Segment");
        let header = Element::read(file, bytes, 0)?.ok_or_else(|| cut(0))?;
        let end = header.end(bytes.len()).filter(|_| header.id == EBML).ok_or_else(|| {
            Error::unexpected(file, 0, format!("element 0x{:X}", header.id), "an EBML header (0x1A45DFA3)")
        })?;
        let fields = Region { file, bytes: &bytes[header.start..end], at: header.start };
        for field in fields.children() {
            let (id, field) = field?;
            match id {
                0x4282 if !matches!(field.text().as_str(), "matroska" | "webm") => {
                    let found = format!("a document of type {:?}", field.text());
                    return Err(Error::unexpected(file, field.at, found, "matroska or webm"));
                }
                0x42F7 if field.unsigned()? > 1 => {
                    return Err(Error::unexpected(file, field.at, "a later version of EBML", "version 1"));
                }
                _ => {}
            }
        }
        let mut at = end;
        let segment = loop {
            let element = Element::read(file, bytes, at)?.ok_or_else(|| cut(at))?;
            if element.id == SEGMENT {
                break element;
            }
            at = element.end(bytes.len()).ok_or_else(|| cut(at))?;
        };
        let mut demuxer = Demuxer {
            file,
            bytes,
            at: segment.start,
            end: segment.end(bytes.len()).unwrap_or(bytes.len()),
            tick: TICK_DEFAULT,
            cluster_time: 0,
            tracks: BTreeMap::new(),
            text_bytes: 0,
            notes: Vec::new(),
        };
        if segment.size.is_some_and(|size| size > (bytes.len() - segment.start) as u64) {
            demuxer.notes.push(format!("{file}: ends at byte {} before it should", bytes.len()));
        }
        demuxer.find_head()?;
        Ok(demuxer)
    }

    /// Info and Tracks may stand behind the media; then sizes of clusters must be known.
    fn find_head(&mut self) -> Result<(), Error> {
        let mut at = self.at;
        let (mut has_info, mut has_tracks) = (false, false);
        while let Some(element) = Element::read(self.file, &self.bytes[..self.end], at)? {
            let Some(end) = element.end(self.end) else { break };
            let body = Region { file: self.file, bytes: &self.bytes[element.start..end], at: element.start };
            match element.id {
                INFO if !has_info => {
                    has_info = true;
                    for field in body.children() {
                        if let (0x2AD7B1, field) = field? {
                            self.tick = field.unsigned()?.max(1);
                        }
                    }
                }
                TRACKS if !has_tracks => {
                    has_tracks = true;
                    self.read_tracks(body)?;
                }
                _ => {}
            }
            if has_info && has_tracks {
                break;
            }
            at = end;
        }
        match has_tracks {
            true => Ok(()),
            false => Err(Error::unexpected(self.file, at, "no Tracks", "an element that says what the tracks are")),
        }
    }

    fn read_tracks(&mut self, body: Region<'_>) -> Result<(), Error> {
        let mut key = 0;
        for entry in body.children() {
            let (0xAE, entry) = entry? else { continue };
            let at = entry.at;
            let entry = Entry::read(entry)?;
            if key as usize == TRACKS_MAX {
                let found = format!("more than {TRACKS_MAX} tracks");
                return Err(Error::unexpected(self.file, at, found, "fewer"));
            }
            let label = format!("{} track {}", self.file, key + 1);
            let state = match (entry.refusal(), entry.kind) {
                (Some(found), Some(Kind::Video)) => {
                    return Err(Error::unexpected(self.file, at, found, "H.264, HEVC, AV1 or VP9"));
                }
                (Some(found), _) => {
                    self.notes.push(format!("{label} left out: {found}; supported are {SUPPORTED}"));
                    State::LeftOut
                }
                (None, Some(Kind::Text)) => State::Text(Vec::new()),
                (None, _) => State::Waiting,
            };
            self.tracks.insert(entry.number, Track { key, entry, state, start: None, end: None });
            key += 1;
        }
        self.tell_alternates();
        Ok(())
    }

    /// Sound that is not the default where other sound of its language is, is an alternate to it.
    fn tell_alternates(&mut self) {
        let of = |track: &Track| (track.entry.kind == Some(Kind::Audio)).then(|| track.entry.language.clone());
        let defaults: Vec<String> =
            self.tracks.values().filter(|track| track.entry.is_default).filter_map(of).collect();
        for track in self.tracks.values_mut() {
            let is_other = !track.entry.is_default && of(track).is_some_and(|language| defaults.contains(&language));
            if is_other && track.entry.role == Role::Main {
                track.entry.role = Role::Alternate;
            }
        }
    }

    /// Of what comes next in the file.
    pub fn position(&self) -> u64 {
        self.at as u64
    }

    /// What was left out since the last time, as lines.
    pub fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Takes the next element. `false` at the end: then everything has been given.
    pub fn step(&mut self, events: &mut Vec<Event>) -> Result<bool, Error> {
        let Some(element) = Element::read(self.file, &self.bytes[..self.end], self.at)? else {
            return self.finish(events);
        };
        match element.id {
            // Its children come next, to its end or to the next of its kind.
            CLUSTER => {
                self.at = element.start;
                return Ok(true);
            }
            // Another recording behind this one.
            EBML | SEGMENT => {
                self.notes.push(format!("{}: only what is before byte {} is taken", self.file, element.at));
                return self.finish(events);
            }
            _ => {}
        }
        let Some(end) = element.end(self.end) else {
            let is_cut = element.size.is_some() && matches!(element.id, SIMPLE_BLOCK | BLOCK_GROUP);
            if is_cut || matches!(element.id, CUES | CHAPTERS | TAGS | ATTACHMENTS | SEEK_HEAD) {
                let text = format!("{}: cut short at byte {}; what is before is taken", self.file, element.at);
                self.notes.push(text);
                return self.finish(events);
            }
            let size = element.size.map_or("unknown size".to_owned(), |size| format!("{size} bytes"));
            let found = format!("element 0x{:X} of {size}", element.id);
            return Err(Error::unexpected(self.file, element.at, found, "one that ends within the file"));
        };
        let body = Region { file: self.file, bytes: &self.bytes[element.start..end], at: element.start };
        self.at = end;
        match element.id {
            CLUSTER_TIME => self.cluster_time = body.unsigned()?,
            SIMPLE_BLOCK => {
                let block = Block::read(body)?;
                let is_key = block.is_key;
                let whole = Whole { block, at: body.at, is_key, duration: None, padding: 0, addition: &[] };
                self.block(whole, events)?;
            }
            BLOCK_GROUP => {
                if let Some(whole) = group(body)? {
                    self.block(whole, events)?;
                }
            }
            _ => {}
        }
        Ok(true)
    }

    fn block(&mut self, whole: Whole<'_>, events: &mut Vec<Event>) -> Result<(), Error> {
        let Some(track) = self.tracks.get_mut(&whole.block.track) else { return Ok(()) };
        let out_of_range = || Error::unexpected(self.file, whole.at, "a time of more than 2^62 nanoseconds", "less");
        let tick = i64::try_from(self.tick).map_err(|_| out_of_range())?;
        let ticks = i64::try_from(self.cluster_time).ok().and_then(|time| time.checked_add(whole.block.time.into()));
        let nanos = ticks.and_then(|ticks| ticks.checked_mul(tick)).filter(|nanos| nanos.abs() < 1 << 62);
        let nanos = nanos.ok_or_else(out_of_range)?;
        let delay = i64::try_from(track.entry.codec_delay).unwrap_or(0).min(10_000_000_000);
        if matches!(track.state, State::LeftOut) {
            return Ok(());
        }
        let label = format!("{} track {}", self.file, track.key + 1);
        if let State::Text(cues) = &mut track.state {
            let Some(frame) = whole.block.frames.first().and_then(|frame| track.entry.decode(frame)) else {
                return Ok(());
            };
            let duration = whole.duration.and_then(|it| i64::try_from(it).ok()?.checked_mul(tick));
            self.text_bytes += (frame.len() + whole.addition.len()) as u64 + 64;
            if self.text_bytes > SUBTITLE_BYTES_MAX {
                let found = format!("more than {SUBTITLE_BYTES_MAX} bytes of subtitles");
                return Err(Error::unexpected(self.file, whole.at, found, "fewer"));
            }
            cues.extend(cue(&track.entry.codec, &frame, whole.addition, nanos, duration));
            return Ok(());
        }
        // Laced frames are together no larger than one may be.
        let mut room = ACCESS_UNIT_BYTES_MAX;
        for (number, frame) in whole.block.frames.iter().enumerate() {
            let Some(frame) = track.entry.decode(frame) else {
                return Err(Error::unexpected(self.file, whole.at, "a frame that cannot be decompressed", "zlib"));
            };
            let Some(left) = room.checked_sub(frame.len()) else {
                let found = format!("a block of more than {ACCESS_UNIT_BYTES_MAX} bytes");
                return Err(Error::unexpected(self.file, whole.at, found, "a smaller one"));
            };
            room = left;
            if matches!(track.state, State::Waiting) {
                track.begin(self.file, &label, whole.at, self.tick, &frame, events)?;
            }
            match &mut track.state {
                State::LeftOut | State::Waiting | State::Text(_) => {}
                State::Video(pictures, reorder) => {
                    let time = pictures.time(nanos - delay);
                    let data = Bytes::copy_from_slice(&frame);
                    let ordered = reorder.push(time, whole.is_key, data);
                    let frame = pictures.frame();
                    events.extend(ordered.map(|ordered| picture(track.key, ordered, frame)));
                }
                State::Audio { sound, frame: length } => {
                    let duration = length.of(&frame);
                    let stated = (number == 0).then_some(nanos - delay);
                    let time = sound.time(stated, duration);
                    let delay = clock::ticks(delay, sound.timescale);
                    track.start.get_or_insert(time.saturating_add(delay));
                    let padding = clock::ticks(whole.padding.clamp(0, 10_000_000_000), sound.timescale);
                    track.end = (padding > 0).then_some(time + i64::from(duration) - padding);
                    let sample = Sample {
                        decode_time: Ticks(time),
                        composition_offset: 0,
                        duration: Some(duration),
                        is_sync: true,
                        data: Bytes::copy_from_slice(&frame),
                    };
                    events.push(Event::Sample { track: track.key, sample });
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<bool, Error> {
        self.at = self.end;
        for track in self.tracks.values_mut() {
            if let State::Video(pictures, reorder) = &mut track.state {
                let frame = pictures.frame();
                let rest = std::iter::from_fn(|| reorder.pop());
                events.extend(rest.map(|ordered| picture(track.key, ordered, frame)));
            }
        }
        Ok(false)
    }

    /// Of tracks that hide something: where presentation starts, and where it ends if that is before the last sample does.
    pub fn presented(&self) -> impl Iterator<Item = (TrackKey, i64, Option<i64>)> {
        let tracks = self.tracks.values();
        tracks.filter_map(|track| {
            let hides = track.entry.codec_delay > 0 || track.end.is_some();
            hides.then_some((track.key, track.start?, track.end))
        })
    }

    /// The subtitles that were found.
    pub fn texts(&mut self) -> Vec<TextTrack> {
        let tracks = std::mem::take(&mut self.tracks).into_values();
        tracks
            .filter_map(|track| match track.state {
                State::Text(cues) if !cues.is_empty() => {
                    let Entry { language, name, role, .. } = track.entry;
                    Some(TextTrack { key: track.key, language, name, role, cues })
                }
                _ => None,
            })
            .collect()
    }
}

const SUPPORTED: &str = "AAC, AC-3, E-AC-3, Opus, FLAC and MP3, and subtitles in UTF-8 text and WebVTT";

impl Track {
    fn begin(
        &mut self,
        file: &str,
        label: &str,
        at: usize,
        tick: u64,
        frame: &[u8],
        events: &mut Vec<Event>,
    ) -> Result<(), Error> {
        let wrong = || {
            let found = format!("codec data or a first frame that does not fit {}", self.entry.codec);
            Error::unexpected(file, at, found, "what the codec says")
        };
        let entry = self.entry.sample_entry(frame).ok_or_else(wrong)?;
        let description = codec::describe(label, &entry, 0, frame)?;
        let timescale = match &description.details {
            Details::Audio(audio) => {
                let timescale = Timescale::new(audio.sample_rate).ok_or_else(wrong)?;
                let frame = match (self.entry.codec.as_str(), description.framing) {
                    ("A_OPUS", _) => FrameLength::Opus,
                    ("A_FLAC", Framing::Audio { frame_length }) => FrameLength::Flac(frame_length.unwrap_or(4_096)),
                    (_, Framing::Audio { frame_length: Some(length) }) => FrameLength::Fixed(length),
                    _ => return Err(wrong()),
                };
                self.state = State::Audio { sound: Sound::new(timescale, tick), frame };
                timescale
            }
            _ => {
                let pictures = Pictures::new(self.entry.default_duration, tick);
                self.state = State::Video(pictures, Reorder::default());
                pictures.timescale
            }
        };
        let format = Format {
            kind: self.entry.kind.unwrap_or(Kind::Video),
            timescale,
            sample_entry: entry.into(),
            language: self.entry.language.clone(),
            name: self.entry.name.clone(),
            role: self.entry.role,
            bit_rate: None,
        };
        events.push(Event::Track { track: self.key, format });
        Ok(())
    }
}

impl FrameLength {
    fn of(self, frame: &[u8]) -> u32 {
        match self {
            FrameLength::Fixed(length) => length,
            FrameLength::Opus => opus::packet_samples(frame).unwrap_or(960),
            FrameLength::Flac(usual) => flac_samples(frame).unwrap_or(usual),
        }
    }
}

/// Of a FLAC frame's header (RFC 9639 §9.1).
fn flac_samples(frame: &[u8]) -> Option<u32> {
    let code = frame.get(2)? >> 4;
    // The coded number in front is as long as its first byte says, as in UTF-8.
    let coded = frame.get(4)?.leading_ones().max(1) as usize;
    let behind = || frame.get(4 + coded..);
    match code {
        1 => Some(192),
        2..=5 => Some(144 << code),
        6 => Some(u32::from(*behind()?.first()?) + 1),
        7 => Some(u32::from(u16::from_be_bytes(*behind()?.first_chunk()?)) + 1),
        8..=15 => Some(1 << code),
        _ => None,
    }
}

fn picture(track: TrackKey, ordered: Ordered, frame: Option<u32>) -> Event {
    let Ordered { decode_time, presentation_time, is_key, data } = ordered;
    let offset = presentation_time.saturating_sub(decode_time);
    let sample = Sample {
        decode_time: Ticks(decode_time),
        composition_offset: i32::try_from(offset).unwrap_or(0),
        duration: frame,
        is_sync: is_key,
        data,
    };
    Event::Sample { track, sample }
}

/// A BlockGroup (§5.1.3.5).
fn group(body: Region<'_>) -> Result<Option<Whole<'_>>, Error> {
    let (mut block, mut is_key, mut duration, mut padding, mut addition) = (None, true, None, 0, &[][..]);
    for field in body.children() {
        let (id, field) = field?;
        match id {
            0xA1 => block = Some((Block::read(field)?, field.at)),
            0xFB => is_key = false,
            0x9B => duration = Some(field.unsigned()?),
            0x75A2 => padding = field.signed()?,
            // BlockAdditions, BlockMore, BlockAdditional
            0x75A1 => {
                for more in field.children() {
                    let (0xA6, more) = more? else { continue };
                    for field in more.children() {
                        if let (0xA5, field) = field? {
                            addition = field.bytes;
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok(block.map(|(block, at)| Whole { block, at, is_key, duration, padding, addition }))
}
