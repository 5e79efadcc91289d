//! What a Matroska file says of its tracks (RFC 9559 §5.1.4), and the sample entries that follow from it.

use std::borrow::Cow;
use std::io::Read;

use bytes::Bytes;

use crate::base::limits::ACCESS_UNIT_BYTES_MAX;
use crate::media::codec::make;
use crate::media::isobmff::language;
use crate::media::track::{Kind, Role};

use super::Error;
use super::element::Region;

/// A TrackEntry.
#[derive(Clone, Debug)]
pub struct Entry {
    pub number: u64,
    /// By its type.
    pub kind: Option<Kind>,
    pub codec: String,
    pub private: Bytes,
    pub language: String,
    pub name: Option<String>,
    pub role: Role,
    pub is_default: bool,
    /// Nanoseconds between frames.
    pub default_duration: Option<u64>,
    /// Nanoseconds that every time is late by, and that are hidden at the start.
    pub codec_delay: u64,
    size: (u16, u16),
    /// Primaries, transfer, matrix, and whether the range is full.
    colour: (u8, u8, u8, bool),
    channels: u16,
    compression: Compression,
}

/// What was done to every frame (§5.1.4.1.31).
#[derive(Clone, Debug, PartialEq, Eq)]
enum Compression {
    None,
    /// Every frame begins with these bytes, which are not there.
    Header(Bytes),
    Zlib,
    Unsupported(String),
}

const NAME_BYTES_MAX: usize = 800;

impl Entry {
    pub fn read(region: Region<'_>) -> Result<Entry, Error> {
        let mut entry = Entry {
            number: 0,
            kind: None,
            codec: String::new(),
            private: Bytes::new(),
            // §5.1.4.1.19: what is not said is English.
            language: "en".to_owned(),
            name: None,
            role: Role::Main,
            is_default: true,
            default_duration: None,
            codec_delay: 0,
            size: (0, 0),
            colour: (2, 2, 2, false),
            channels: 1,
            compression: Compression::None,
        };
        let mut bcp47 = None;
        for field in region.children() {
            let (id, field) = field?;
            let flag = |role: Role, now: Role| Ok::<_, Error>(if field.unsigned()? == 1 { role } else { now });
            match id {
                0xD7 => entry.number = field.unsigned()?,
                0x83 => {
                    entry.kind = match field.unsigned()? {
                        1 => Some(Kind::Video),
                        2 => Some(Kind::Audio),
                        0x11 => Some(Kind::Text),
                        _ => None,
                    }
                }
                0x86 => entry.codec = field.text(),
                0x63A2 => entry.private = Bytes::copy_from_slice(field.bytes),
                0x22_B59C => entry.language = language::from_elng(&field.text()).unwrap_or_else(|| "und".to_owned()),
                0x22_B59D => bcp47 = language::from_elng(&field.text()),
                0x536E => entry.name = Some(field.text()).filter(|it| !it.is_empty() && it.len() <= NAME_BYTES_MAX),
                0x88 => entry.is_default = field.unsigned()? == 1,
                0x55AA => entry.role = flag(Role::Forced, entry.role)?,
                0x55AB => entry.role = flag(Role::Caption, entry.role)?,
                0x55AC => entry.role = flag(Role::Description, entry.role)?,
                0x55AF => entry.role = flag(Role::Commentary, entry.role)?,
                0x23_E383 => entry.default_duration = Some(field.unsigned()?),
                0x56AA => entry.codec_delay = field.unsigned()?,
                0xE0 => entry.video(field)?,
                0xE1 => entry.audio(field)?,
                0x6D80 => entry.encodings(field)?,
                _ => {}
            }
        }
        entry.language = bcp47.unwrap_or(entry.language);
        Ok(entry)
    }

    fn video(&mut self, region: Region<'_>) -> Result<(), Error> {
        for field in region.children() {
            let (id, field) = field?;
            let side = || Ok::<_, Error>(u16::try_from(field.unsigned()?).unwrap_or(0));
            match id {
                0xB0 => self.size.0 = side()?,
                0xBA => self.size.1 = side()?,
                0x55B0 => {
                    for field in field.children() {
                        let (id, field) = field?;
                        let value = || Ok::<_, Error>(u8::try_from(field.unsigned()?).unwrap_or(2));
                        match id {
                            0x55BB => self.colour.0 = value()?,
                            0x55BA => self.colour.1 = value()?,
                            0x55B1 => self.colour.2 = value()?,
                            0x55B9 => self.colour.3 = value()? == 2,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn audio(&mut self, region: Region<'_>) -> Result<(), Error> {
        for field in region.children() {
            if let (0x9F, field) = field? {
                self.channels = u16::try_from(field.unsigned()?).unwrap_or(0);
            }
        }
        Ok(())
    }

    fn encodings(&mut self, region: Region<'_>) -> Result<(), Error> {
        for encoding in region.children() {
            let (0x6240, encoding) = encoding? else { continue };
            let (mut scope, mut algorithm, mut settings, mut is_encrypted) = (1, 0, Bytes::new(), false);
            for field in encoding.children() {
                let (id, field) = field?;
                match id {
                    0x5032 => scope = field.unsigned()?,
                    0x5033 => is_encrypted |= field.unsigned()? == 1,
                    0x5034 => {
                        for field in field.children() {
                            let (id, field) = field?;
                            match id {
                                0x4254 => algorithm = field.unsigned()?,
                                0x4255 => settings = Bytes::copy_from_slice(field.bytes),
                                _ => {}
                            }
                        }
                    }
                    _ => {}
                }
            }
            let now = match (is_encrypted, algorithm) {
                (true, _) => Compression::Unsupported("encryption".to_owned()),
                (false, 0) if scope == 1 => Compression::Zlib,
                // A few bytes that all frames begin with.
                (false, 3) if scope == 1 && settings.len() <= 64 => Compression::Header(settings),
                (false, 0 | 3) => Compression::Unsupported("compression of codec data".to_owned()),
                (false, other) => Compression::Unsupported(format!("compression of type {other}")),
            };
            let is_first = self.compression == Compression::None;
            self.compression = if is_first { now } else { Compression::Unsupported("several encodings".to_owned()) };
        }
        Ok(())
    }

    /// Why nothing can be made of it, by name.
    pub fn refusal(&self) -> Option<String> {
        if let Compression::Unsupported(found) = &self.compression {
            return Some(found.clone());
        }
        let known = match (self.kind, self.codec.as_str()) {
            (None, _) => return Some("neither video, audio nor subtitles".to_owned()),
            (_, "V_MPEG4/ISO/AVC" | "V_MPEGH/ISO/HEVC" | "V_AV1" | "V_VP9") => self.kind == Some(Kind::Video),
            (_, "A_AC3" | "A_EAC3" | "A_OPUS" | "A_FLAC" | "A_MPEG/L3") => self.kind == Some(Kind::Audio),
            (Some(Kind::Audio), codec) => codec == "A_AAC" || codec.starts_with("A_AAC/"),
            (Some(Kind::Text), codec) => {
                matches!(codec, "S_TEXT/UTF8" | "S_TEXT/WEBVTT" | "D_WEBVTT/SUBTITLES" | "D_WEBVTT/CAPTIONS")
            }
            _ => false,
        };
        let codec: String = self.codec.chars().filter(|it| !it.is_control()).take(40).collect();
        (!known).then(|| match codec.as_str() {
            "V_VP8" => "VP8 (V_VP8)".to_owned(),
            "A_VORBIS" => "Vorbis (A_VORBIS)".to_owned(),
            "A_DTS" => "DTS (A_DTS)".to_owned(),
            _ => codec,
        })
    }

    /// Undoes what was done to a frame. `None` if it cannot be, or if it would be larger than any frame is.
    pub fn decode<'a>(&self, frame: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        match &self.compression {
            Compression::None => Some(Cow::Borrowed(frame)),
            Compression::Header(header) => Some(Cow::Owned([header, frame].concat())),
            Compression::Zlib => {
                let mut out = Vec::new();
                let limit = ACCESS_UNIT_BYTES_MAX as u64;
                flate2::read::ZlibDecoder::new(frame).take(limit + 1).read_to_end(&mut out).ok()?;
                (out.len() as u64 <= limit).then_some(Cow::Owned(out))
            }
            Compression::Unsupported(_) => None,
        }
    }

    /// `None` if the codec's data, or the first frame, is not what it should be.
    pub fn sample_entry(&self, first: &[u8]) -> Option<Vec<u8>> {
        let (width, height) = self.size;
        let private = &self.private[..];
        match self.codec.as_str() {
            "V_MPEG4/ISO/AVC" => Some(make::avc_entry(private, width, height)),
            "V_MPEGH/ISO/HEVC" => Some(make::hevc_entry(private, width, height)),
            "V_AV1" => Some(make::av1_entry(private, width, height)),
            "V_VP9" => make::vp9_entry_of_frame(first, self.colour),
            "A_AC3" => make::ac3_entry(first),
            "A_EAC3" => make::eac3_entry(first),
            "A_OPUS" => make::opus_entry(private),
            "A_FLAC" => make::flac_entry(private),
            "A_MPEG/L3" => make::mp3_entry(first),
            _ => Some(make::aac_entry(private, self.channels)),
        }
    }
}
