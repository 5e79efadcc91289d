//! Codec configurations: what the bitstream says a track is.
//!
//! A sample entry comes in as the source has it and leaves as a [`Description`]: the RFC 6381 string, the facts manifests
//! need, and a sample entry in ISO form for the CMAF header. Parameter sets are read by bounded readers of our own: those
//! of the crates at hand refuse streams that every decoder plays (a level too low for the frame size, identity matrix in
//! 4:2:0) or overflow on hostile ones; they serve as oracles in the tests.

mod aac;
pub mod audio_frame;
mod av1;
mod avc;
mod bits;
mod channels;
mod colour;
mod dolby;
mod dolby_vision;
pub mod elementary;
mod entry;
mod esds;
#[cfg(test)]
pub(crate) mod fixtures;
mod flac;
mod hevc;
pub mod make;
mod mp3;
pub mod opus;
pub mod parameter_sets;
pub(crate) mod private_data;
mod sei;
#[cfg(test)]
mod tests;
mod text;
mod vp9;

use thiserror::Error;

use crate::base::cursor::{Cursor, Short};
use crate::media::captions;
use crate::media::fragment::Start;
use crate::media::track::{Details, Kind};

pub(crate) use bits::Bits;
use entry::{Entry, fourcc};

/// What a sample entry and its first sample say about a track.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The `codecs` parameter: RFC 6381 and the codec's own specification.
    pub codec: String,
    /// `frame_rate` is (0, 1): only the samples know it.
    pub details: Details,
    /// A sample entry box in the form of ISO/IEC 14496-12, for the initialisation segment.
    pub sample_entry: Vec<u8>,
    pub framing: Framing,
    /// Samples a decoder drops at the start, in ticks of 48 kHz, where the codec says so itself (Opus pre-skip). Counts
    /// only if the container has no edit list.
    pub priming_hint: Option<u32>,
}

/// How a sample's bytes are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// NAL units, each behind its length in `length_size` bytes (1, 2 or 4).
    Nal { length_size: u8, codec: NalCodec },
    /// A temporal unit of OBUs with their sizes.
    Av1,
    /// A frame or superframe.
    Vp9,
    /// One frame of audio. `frame_length` is the number of audio samples it decodes to, at `details`' sample rate, if all
    /// frames have the same.
    Audio { frame_length: Option<u32> },
    /// Cues in boxes, or a document.
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NalCodec {
    Avc,
    Hevc,
}

/// Where in a file something was found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file}: {path} at byte {at}")]
pub struct Place {
    pub file: String,
    /// Boxes from the sample description down: `stsd/avc1/avcC`.
    pub path: String,
    /// Offset in the file.
    pub at: u64,
}

/// Why a track cannot be described. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error("{place}: {found}; expected {expected}")]
    Codec { place: Place, found: String, expected: &'static str },
    #[error("{place}: encrypted media ({found}); expected media in the clear")]
    Encrypted { place: Place, found: String },
    #[error("{place}: {found}; expected {expected}")]
    Malformed { place: Place, found: String, expected: String },
}

const VIDEO_EXPECTED: &str = "H.264, HEVC, AV1 or VP9";
const AUDIO_EXPECTED: &str = "AAC, AC-3, E-AC-3, Opus, FLAC or MP3";
const ANY_EXPECTED: &str = "H.264, HEVC, AV1, VP9, AAC, AC-3, E-AC-3, Opus, FLAC or MP3";

/// Describes a track by its sample entry, a whole box from an MP4 or MOV `stsd` which lies at `offset` in `file`, and by
/// the bytes of its first sample, for what only the bitstream says. `first_sample` may be empty or cut short: then that
/// is unknown, or an error if nothing else says it.
pub fn describe(file: &str, entry: &[u8], offset: u64, first_sample: &[u8]) -> Result<Description, Error> {
    let mut path = String::from("stsd");
    describe_entry(&mut path, entry, offset, first_sample).map_err(|fault| {
        let Fault { within, at, found, expected, kind } = fault;
        if !within.is_empty() {
            path.push('/');
            path.push_str(&within);
        }
        let place = Place { file: file.into(), path, at };
        match kind {
            FaultKind::Malformed => Error::Malformed { place, found, expected },
            FaultKind::Encrypted => Error::Encrypted { place, found },
            FaultKind::Codec(expected) => Error::Codec { place, found, expected },
        }
    })
}

fn describe_entry(path: &mut String, entry: &[u8], offset: u64, sample: &[u8]) -> Result<Description, Fault> {
    let mut cursor = Cursor::new(entry, offset);
    let size = u64::from(cursor.u32()?);
    let kind: [u8; 4] = *cursor.take(4)?.first_chunk().expect("took four bytes");
    path.push('/');
    path.push_str(&fourcc(&kind));
    if size != entry.len() as u64 {
        let found = format!("a sample entry of {size} bytes");
        return Err(Fault::new(offset, found, format!("{} bytes", entry.len())));
    }
    match &kind {
        b"avc1" | b"avc3" | b"dva1" | b"dvav" => avc::describe(&Entry::visual(kind, cursor, offset)?, sample),
        b"hvc1" | b"hev1" | b"dvh1" | b"dvhe" => hevc::describe(&Entry::visual(kind, cursor, offset)?, sample),
        b"av01" | b"dav1" => av1::describe(&Entry::visual(kind, cursor, offset)?, sample),
        b"vp09" => vp9::describe(&Entry::visual(kind, cursor, offset)?, sample),
        b"ac-3" => dolby::describe_ac3(&Entry::audio(kind, cursor, offset)?),
        b"ec-3" => dolby::describe_eac3(&Entry::audio(kind, cursor, offset)?),
        b"Opus" => opus::describe(&Entry::audio(kind, cursor, offset)?),
        b"fLaC" => flac::describe(&Entry::audio(kind, cursor, offset)?),
        b".mp3" | b"ms\0U" => mp3::describe(&Entry::audio(kind, cursor, offset)?, None, sample),
        b"mp4a" => aac::describe(&Entry::audio(kind, cursor, offset)?, sample),
        b"wvtt" => text::describe_webvtt(entry, cursor, offset),
        b"stpp" => text::describe_ttml(entry, cursor, offset),
        b"encv" | b"enca" | b"drmi" | b"drms" => Err(encrypted(kind, cursor, offset)),
        _ => {
            let (name, expected) = unsupported(&kind);
            Err(Fault { kind: FaultKind::Codec(expected), ..Fault::new(offset, name, String::new()) })
        }
    }
}

/// What a sample entry of pictures or sound states as the bit rate, in bits per second: the peak, or else the average
/// (`btrt`, ISO/IEC 14496-12 §8.5.2).
pub fn stated_bit_rate(entry: &[u8], kind: Kind) -> Option<u32> {
    let mut cursor = Cursor::new(entry, 0);
    cursor.skip(8).ok()?;
    let entry = match kind {
        Kind::Video => Entry::visual([0; 4], cursor, 0),
        Kind::Audio => Entry::audio([0; 4], cursor, 0),
        Kind::Text => return None,
    };
    let mut body = entry.ok()?.find(b"btrt")?.cursor();
    body.skip(4).ok()?; // bufferSizeDB
    let (peak, average) = (body.u32().ok()?, body.u32().ok()?);
    [peak, average].into_iter().find(|&rate| rate > 0)
}

/// Whether two sample entries differ in nothing but the bit rates they state: a decoder set up for one decodes samples of the
/// other. Writers that join files keep the entries of both.
pub fn is_same_coding(a: &[u8], b: &[u8], kind: Kind) -> bool {
    a == b || coding(a, kind).is_some_and(|a| coding(b, kind).is_some_and(|b| a == b))
}

/// What decoding depends on: the type, the fields, and the boxes with what they say.
#[derive(PartialEq)]
struct Coding<'a> {
    kind: [u8; 4],
    data_reference: u16,
    fields: entry::Fields,
    boxes: Vec<([u8; 4], &'a [u8])>,
    stream: Option<(u8, &'a [u8])>,
}

fn coding(entry: &[u8], kind: Kind) -> Option<Coding<'_>> {
    let mut cursor = Cursor::new(entry, 0);
    cursor.skip(4).ok()?;
    let name = *cursor.take(4).ok()?.first_chunk()?;
    let mut fields = cursor.clone();
    fields.skip(6).ok()?;
    let data_reference = fields.u16().ok()?;
    let entry = match kind {
        Kind::Video => Entry::visual(name, cursor, 0),
        Kind::Audio => Entry::audio(name, cursor, 0),
        Kind::Text => return None,
    }
    .ok()?;
    let stream = match entry.find(b"esds") {
        Some(esds) => Some(esds::Stream::read(esds.cursor()).ok().map(|stream| (stream.object_type, stream.specific))?),
        None => None,
    };
    // The boxes in a `wave` are among the others.
    let states = |atom: &&entry::Atom<'_>| !matches!(&atom.kind, b"btrt" | b"esds" | b"wave");
    let boxes = entry.atoms.iter().filter(states).map(|atom| (atom.kind, atom.body)).collect();
    Some(Coding { kind: name, data_reference, fields: entry.fields, boxes, stream })
}

/// What is protected, and with which scheme, as far as `sinf` tells.
fn encrypted(kind: [u8; 4], body: Cursor<'_>, offset: u64) -> Fault {
    let entry = match kind {
        [b'e', b'n', b'c', b'v'] | [.., b'i'] => Entry::visual(kind, body, offset),
        _ => Entry::audio(kind, body, offset),
    };
    let found = entry.ok().and_then(|entry| {
        let sinf = entry.find(b"sinf")?;
        let find = |name: &[u8; 4], skip: usize| {
            let at = sinf.body.windows(4).position(|window| window == name)?;
            Some(fourcc(sinf.body.get(at + 4 + skip..)?.first_chunk()?))
        };
        let format = find(b"frma", 0)?;
        Some(find(b"schm", 4).map_or(format.clone(), |scheme| format!("{format}, scheme {scheme}")))
    });
    Fault {
        kind: FaultKind::Encrypted,
        ..Fault::new(offset, found.unwrap_or_else(|| "format not stated".into()), String::new())
    }
}

/// What a sample entry that is not supported is called, and what would have been in its place.
fn unsupported(kind: &[u8; 4]) -> (String, &'static str) {
    let video = |name: &str| (name.to_owned(), VIDEO_EXPECTED);
    let audio = |name: &str| (name.to_owned(), AUDIO_EXPECTED);
    match kind {
        b"mp4v" => video("MPEG-4 Part 2 video"),
        b"s263" | b"h263" => video("H.263 video"),
        b"vp08" => video("VP8 video"),
        b"vvc1" | b"vvi1" => video("VVC video"),
        b"avc2" | b"avc4" | b"svc1" | b"mvc1" | b"mvc2" => video("layered or multiview H.264"),
        b"lhv1" | b"lhe1" | b"hvc2" | b"hev2" => video("layered HEVC"),
        b"apch" | b"apcn" | b"apcs" | b"apco" | b"ap4h" | b"ap4x" => video("Apple ProRes video"),
        b"AVdn" | b"AVdh" => video("Avid DNxHD video"),
        b"jpeg" | b"mjpa" | b"mjpb" | b"mjp2" => video("Motion JPEG video"),
        b"png " => video("PNG images"),
        b"raw " | b"2vuy" | b"v210" | b"yuv2" => video("uncompressed media"),
        b"SVQ3" | b"SVQ1" => video("Sorenson video"),
        b"m1v " | b"m2v1" | b"xdv1" | b"xdv2" | b"xdvc" => video("MPEG-1 or MPEG-2 video"),
        b"sowt" | b"twos" | b"lpcm" | b"ipcm" | b"fpcm" | b"in24" | b"in32" | b"fl32" | b"fl64" | b"NONE" => {
            audio("PCM audio")
        }
        b"alaw" | b"ulaw" => audio("G.711 audio"),
        b"alac" => audio("Apple Lossless audio"),
        b"apac" => audio("Apple Positional Audio (APAC)"),
        b"samr" | b"sawb" => audio("AMR audio"),
        b"ac-4" => audio("AC-4 audio"),
        b"mlpa" => audio("Dolby TrueHD audio"),
        b"dtsc" | b"dtsh" | b"dtsl" | b"dtse" | b"dtsx" => audio("DTS audio"),
        b"mhm1" | b"mha1" => audio("MPEG-H audio"),
        b"iamf" => audio("IAMF audio"),
        _ => (format!("sample entry {}", fourcc(kind)), ANY_EXPECTED),
    }
}

impl Description {
    /// Adds the captions that a picture carries. Looks at what comes before its first slice only.
    pub fn read_captions(&self, sample: &[u8], found: &mut captions::Found) {
        let Framing::Nal { length_size, codec } = self.framing else { return };
        // H.264 table 7-1, H.265 table 7-1.
        let kind = |header: u8| match codec {
            NalCodec::Avc => header & 0x1F,
            NalCodec::Hevc => header >> 1 & 0x3F,
        };
        let (slices, message, header_size) = match codec {
            NalCodec::Avc => (1..=5, 6, 1),
            NalCodec::Hevc => (0..=31, 39, 2),
        };
        for unit in nal_units(sample, length_size).take(LEADING_UNITS_MAX) {
            let Some(kind) = unit.first().map(|&header| kind(header)).filter(|kind| !slices.contains(kind)) else {
                return;
            };
            if kind == message {
                let messages = sei::messages(unit, header_size);
                messages.filter(|(kind, _)| *kind == sei::REGISTERED_USER_DATA).for_each(|(_, data)| found.read(data));
            }
        }
    }

    /// What kind of random access point a sample is, by its bitstream. `flagged_sync` is what the container says, which
    /// counts only where the bitstream leaves it open. `None` for a sample that decoding cannot start at.
    ///
    /// Looks at the first NAL units or OBUs only, so that the beginning of a sample is enough, and allocates nothing.
    pub fn random_access(&self, sample: &[u8], flagged_sync: bool) -> Option<Start> {
        match self.framing {
            Framing::Nal { length_size, codec: NalCodec::Avc } => avc::random_access(sample, length_size, flagged_sync),
            Framing::Nal { length_size, codec: NalCodec::Hevc } => hevc::random_access(sample, length_size),
            Framing::Av1 => av1::random_access(sample),
            Framing::Vp9 => vp9::random_access(sample),
            Framing::Audio { .. } | Framing::Text => Some(Start::Closed),
        }
    }
}

/// What is wrong, before it is known in which file.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Boxes inside the sample entry.
    within: String,
    at: u64,
    found: String,
    expected: String,
    kind: FaultKind,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}at byte {}: {}, expected {}", self.within, self.at, self.found, self.expected)
    }
}

#[derive(Debug)]
pub(crate) enum FaultKind {
    Malformed,
    Encrypted,
    Codec(&'static str),
}

impl Fault {
    fn new(at: u64, found: impl Into<String>, expected: impl Into<String>) -> Fault {
        Fault { within: String::new(), at, found: found.into(), expected: expected.into(), kind: FaultKind::Malformed }
    }

    /// The codec inside the sample entry is not one that is supported.
    fn codec(at: u64, found: impl Into<String>, expected: &'static str) -> Fault {
        Fault { kind: FaultKind::Codec(expected), ..Fault::new(at, found, "") }
    }

    fn within(self, atom: &[u8; 4]) -> Fault {
        let within = match self.within.as_str() {
            "" => fourcc(atom),
            inner => format!("{}/{inner}", fourcc(atom)),
        };
        Fault { within, ..self }
    }
}

impl From<Short> for Fault {
    fn from(short: Short) -> Fault {
        Fault::new(short.at, format!("{} bytes left", short.left), format!("{} more", short.wanted))
    }
}

/// NAL units of a sample: each behind its length. The last may be cut short: the beginning of a sample is enough.
fn nal_units(sample: &[u8], length_size: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = sample;
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_at_checked(usize::from(length_size))?;
        let length = length.iter().fold(0_usize, |length, &byte| length << 8 | usize::from(byte));
        let (unit, tail) = tail.split_at_checked(length).unwrap_or((tail, &[]));
        rest = tail;
        Some(unit)
    })
}

/// How many NAL units of a sample are looked at for what precedes its first slice: delimiter, parameter sets, SEI.
const LEADING_UNITS_MAX: usize = 64;
