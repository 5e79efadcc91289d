//! One stream of a program, from its packets to its events.

use bytes::Bytes;

use crate::base::{Ticks, Timescale, limits};
use crate::media::codec::NalCodec;
use crate::media::codec::audio_frame::Framed;
use crate::media::feed::{Event, Marker, Message};
use crate::media::isobmff::language;
use crate::media::track::{Kind, Role};

use super::Notice;
use super::audio::{Audio, Framing};
use super::clock::Clock;
use super::packet::{Continuity, Counter, Packet};
use super::pes;
use super::section::{Assembler, MapStream};
use super::sink::{Notices, Sink, TrackFacts};
use super::splice::Splice;
use super::stamps::Stamp;
use super::video::Video;

/// What a program map says a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Video(NalCodec),
    Audio(Framing),
    /// ID3 tags.
    Metadata,
    Splices,
    Unsupported(String),
}

/// The scheme of ID3 tags in event messages (Carriage of ID3 Timed Metadata in the Common Media Application Format).
const ID3_SCHEME: &str = "https://aomedia.org/emsg/ID3";

// descriptor_tag (ISO/IEC 13818-1 table 2-45, ETSI EN 300 468 table 12).
const REGISTRATION: u8 = 0x05;
const LANGUAGE: u8 = 0x0A;
const DVB_AC3: u8 = 0x6A;
const DVB_EAC3: u8 = 0x7A;
const DVB_EXTENSION: u8 = 0x7F;
/// descriptor_tag_extension of Opus (ETSI TS 103 491 table 4-2).
const OPUS_EXTENSION: u8 = 0x80;

/// By stream_type (ISO/IEC 13818-1 table 2-34, and what ATSC, SCTE and Apple added) and descriptors.
pub fn identify(stream: &MapStream) -> Found {
    let registration = stream.descriptor(REGISTRATION).and_then(|body| body.first_chunk::<4>());
    let unsupported = |name: &str| Found::Unsupported(format!("{name} (stream type 0x{:02x})", stream.stream_type));
    match (stream.stream_type, registration) {
        (0x1B, _) => Found::Video(NalCodec::Avc),
        (0x24, _) | (0x06, Some(b"HEVC")) => Found::Video(NalCodec::Hevc),
        (0x0F, _) => Found::Audio(Framing::Own(Framed::Adts)),
        (0x03 | 0x04, _) => Found::Audio(Framing::Own(Framed::Mpeg)),
        (0x81 | 0x87, _) | (0x06, Some(b"AC-3" | b"EAC3")) => Found::Audio(Framing::Own(Framed::Dolby)),
        (0x06, Some(b"Opus")) => match opus_channels(stream) {
            Some(channels) => Found::Audio(Framing::Opus { channels }),
            None => unsupported("Opus without a number of channels from 1 to 8"),
        },
        (0x06, _) if stream.descriptor(DVB_AC3).or(stream.descriptor(DVB_EAC3)).is_some() => {
            Found::Audio(Framing::Own(Framed::Dolby))
        }
        (0x15, _) => Found::Metadata,
        (0x86, None | Some(b"CUEI")) => Found::Splices,
        (0x86, _) | (0x82 | 0x85 | 0x8A, _) => unsupported("DTS audio"),
        (0x11, _) => unsupported("AAC in LATM"),
        (0x1C, _) => unsupported("AAC without ADTS"),
        (0x01 | 0x02, _) => unsupported("MPEG-1 or MPEG-2 video"),
        (0x10, _) => unsupported("MPEG-4 Part 2 video"),
        (0x1F | 0x20 | 0x25..=0x2B, _) => unsupported("layered or multiview video"),
        (0x33, _) => unsupported("VVC video"),
        (0x42 | 0xD2 | 0xD4, _) => unsupported("AVS video"),
        (0xC1 | 0xC2 | 0xCF | 0xDB, _) => unsupported("media encrypted with SAMPLE-AES"),
        (0x06, _) => unsupported("private data"),
        _ => unsupported("a stream"),
    }
}

/// channel_config_code.
fn opus_channels(stream: &MapStream) -> Option<u8> {
    let mut bodies = stream.descriptors().filter(|(tag, _)| *tag == DVB_EXTENSION).map(|(_, body)| body);
    bodies.find_map(|body| match *body {
        [OPUS_EXTENSION, channels @ 1..=8, ..] => Some(channels),
        _ => None,
    })
}

/// Of ISO_639_language_descriptor (§2.6.18): the first language, and what its audio_type makes of it.
pub fn language(stream: &MapStream) -> Option<(String, Role)> {
    let body = stream.descriptor(LANGUAGE)?;
    let (code, kind) = body.split_first_chunk::<3>()?;
    let role = match kind.first() {
        Some(2) => Role::Caption,
        Some(3) => Role::Description,
        _ => Role::Main,
    };
    let code = str::from_utf8(code).ok().and_then(language::from_elng);
    Some((code.unwrap_or_else(|| "und".to_owned()), role))
}

#[derive(Debug)]
pub struct Stream {
    counter: Counter,
    reader: pes::Reader,
    /// Of the transport packet in which the PES packet begins.
    random_access: bool,
    is_scrambled: bool,
    body: Body,
    /// Video and audio are tracks.
    pub track: Option<TrackFacts>,
}

#[derive(Debug)]
enum Body {
    Video(Box<Video>),
    Audio(Box<Audio>),
    /// The PES packet so far, with its time stamp.
    Metadata(Option<u64>, Vec<u8>),
    Splices(Assembler),
}

impl Stream {
    pub fn new(found: &Found, track: Option<TrackFacts>) -> Stream {
        let body = match found {
            Found::Video(codec) => Body::Video(Box::new(Video::new(*codec))),
            Found::Audio(framing) => Body::Audio(Box::new(Audio::new(*framing))),
            Found::Metadata | Found::Unsupported(_) => Body::Metadata(None, Vec::new()),
            Found::Splices => Body::Splices(Assembler::default()),
        };
        Stream {
            counter: Counter::default(),
            reader: pes::Reader::default(),
            random_access: false,
            is_scrambled: false,
            body,
            track,
        }
    }

    /// Whether packets were missing before this one.
    pub fn packet(
        &mut self,
        packet: &Packet<'_>,
        clock: &mut Clock,
        events: &mut Vec<Event>,
        notices: &mut Notices,
    ) -> bool {
        if packet.payload.is_empty() {
            return false;
        }
        if packet.is_scrambled {
            self.scrambled(packet.pid, notices);
            return false;
        }
        let mut is_lost = false;
        match self.counter.next(packet) {
            Continuity::Repeated => return false,
            Continuity::Next => {}
            Continuity::Lost => {
                // Where a jump is signalled nothing need be missing, yet what is in progress may not go on.
                is_lost = !packet.discontinuity;
                if is_lost {
                    notices.add(Notice::Lost { pid: Some(packet.pid) });
                }
                // A PES packet that was complete is not touched by what is missing after it.
                if self.reader.is_complete() {
                    self.finish(clock, events, notices);
                } else {
                    self.give_up();
                }
            }
        }
        if let Body::Splices(assembler) = &mut self.body {
            assembler.push(packet.unit_start, packet.payload, |section| {
                let Some(splice) = Splice::read(section) else { return };
                events.push(Event::Marker(Marker {
                    time: splice.stamp.map(|stamp| (clock.at(stamp), Timescale::MPEG)),
                    duration: splice.duration.map(|duration| (Ticks(duration as i64), Timescale::MPEG)),
                    message: Message::Scte35(Bytes::copy_from_slice(section)),
                }));
            });
            return is_lost;
        }
        if packet.unit_start {
            self.random_access = packet.random_access;
        }
        match self.reader.push(packet.unit_start, packet.payload) {
            pes::Found::Nothing => {}
            pes::Found::More(bytes) => self.body(bytes, clock, events, notices),
            pes::Found::Start(header, _) if header.is_scrambled => {
                self.reader.lose();
                self.scrambled(packet.pid, notices);
            }
            pes::Found::Start(header, payload) => {
                self.begin(header, clock, events);
                self.body(&payload, clock, events, notices);
            }
        }
        is_lost
    }

    /// Nothing follows for now: what has arrived is complete. Packets that follow may count from anywhere.
    pub fn flush(&mut self, clock: &mut Clock, events: &mut Vec<Event>, notices: &mut Notices) {
        self.finish(clock, events, notices);
        self.counter = Counter::default();
        self.reader.lose();
    }

    pub fn lose(&mut self) {
        self.counter = Counter::default();
        self.give_up();
    }

    fn scrambled(&mut self, pid: u16, notices: &mut Notices) {
        if !self.is_scrambled {
            self.is_scrambled = true;
            notices.add(Notice::Refused { pid: Some(pid), found: "scrambled media".to_owned() });
        }
        self.lose();
    }

    fn begin(&mut self, header: pes::Header, clock: &mut Clock, events: &mut Vec<Event>) {
        if let Body::Metadata(stamp, tag) = &mut self.body {
            release(stamp, tag, clock, events);
            *stamp = header.stamps.map(|(presentation, _)| presentation);
            return;
        }
        let times = header.stamps.map(|(presentation, decode)| clock.times(presentation, decode));
        let stamp = Stamp { times, random_access: self.random_access };
        match &mut self.body {
            Body::Video(video) => video.begin(stamp),
            Body::Audio(audio) => audio.begin(stamp),
            Body::Metadata(..) | Body::Splices(_) => {}
        }
    }

    fn body(&mut self, bytes: &[u8], clock: &mut Clock, events: &mut Vec<Event>, notices: &mut Notices) {
        match (&mut self.body, &self.track) {
            (Body::Video(video), Some(track)) => video.push(bytes, &mut Sink { events, notices, track }),
            (Body::Audio(audio), Some(track)) => audio.push(bytes, &mut Sink { events, notices, track }),
            (Body::Metadata(stamp, tag), _) => {
                tag.extend_from_slice(bytes);
                if tag.len() > limits::TS_METADATA_BYTES_MAX {
                    tag.clear();
                    self.reader.lose();
                } else if self.reader.is_complete() {
                    release(stamp, tag, clock, events);
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, clock: &mut Clock, events: &mut Vec<Event>, notices: &mut Notices) {
        match (&mut self.body, &self.track) {
            (Body::Video(video), Some(track)) => video.flush(&mut Sink { events, notices, track }),
            (Body::Audio(audio), Some(track)) => audio.flush(&mut Sink { events, notices, track }),
            (Body::Metadata(stamp, tag), _) => release(stamp, tag, clock, events),
            (Body::Splices(assembler), _) => assembler.lose(),
            _ => {}
        }
    }

    fn give_up(&mut self) {
        self.reader.lose();
        match &mut self.body {
            Body::Video(video) => video.lose(),
            Body::Audio(audio) => audio.lose(),
            Body::Metadata(stamp, tag) => {
                *stamp = None;
                tag.clear();
            }
            Body::Splices(assembler) => assembler.lose(),
        }
    }
}

/// A tag goes on as an event. Its identifier is the low half of its time stamp: the same at every receiver.
fn release(stamp: &mut Option<u64>, tag: &mut Vec<u8>, clock: &Clock, events: &mut Vec<Event>) {
    let (stamp, data) = (stamp.take(), std::mem::take(tag));
    if !data.starts_with(b"ID3") {
        return;
    }
    events.push(Event::Marker(Marker {
        time: stamp.map(|stamp| (clock.at(stamp), Timescale::MPEG)),
        duration: None,
        message: Message::Event {
            scheme: ID3_SCHEME.to_owned(),
            value: String::new(),
            id: stamp.unwrap_or(0) as u32,
            data: data.into(),
        },
    }));
}

impl TrackFacts {
    /// Of a stream that no program map describes.
    pub fn packed() -> TrackFacts {
        TrackFacts { key: 0, pid: None, kind: Kind::Audio, language: "und".to_owned(), role: Role::Main }
    }
}
