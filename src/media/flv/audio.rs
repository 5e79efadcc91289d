//! Audio tags (annex E.4.2, and "Enhanced Audio" of Enhanced RTMP v2).

use bytes::Bytes;

use super::Error;
use super::enhanced::{self, CODED_FRAMES, SEQUENCE_END, SEQUENCE_START, take};
use crate::media::codec::{make, opus};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// With the channels of the tag's header, for configurations that leave them to others.
    Aac {
        channels: u16,
    },
    Opus,
    Flac,
    Mp3,
    Ac3,
    Eac3,
}

/// What a tag says about one track.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Configuration(Codec, Bytes),
    Frame(Codec, Bytes),
    /// Nothing, or silence.
    Nothing,
}

const TAG: &str = "audio";
const EXPECTED: &str = "AAC, MP3, Opus, FLAC, AC-3 or E-AC-3";

// SoundFormat.
const MP3: u8 = 2;
const ENHANCED: u8 = 9;
const AAC: u8 = 10;
const MP3_8K: u8 = 14;
// AudioPacketType, beyond those that video has as well.
const MULTICHANNEL_CONFIG: u8 = 4;
const MULTITRACK: u8 = 5;

/// Takes a tag apart into the steps of its tracks. An empty one is silence.
pub fn read(body: Bytes) -> Result<Vec<(u8, Step)>, Error> {
    let mut body = body;
    let first = take(TAG, &mut body, 1)?[0];
    let step = match first >> 4 {
        ENHANCED => return enhanced(first & 15, body),
        AAC => {
            let codec = Codec::Aac { channels: 1 + u16::from(first & 1) };
            match take(TAG, &mut body, 1)?[0] {
                SEQUENCE_START => Step::Configuration(codec, body),
                _ => frame(codec, body),
            }
        }
        MP3 | MP3_8K => frame(Codec::Mp3, body),
        other => {
            let found = match other {
                0 | 3 => "PCM audio".into(),
                1 => "ADPCM audio".into(),
                4..=6 => "Nellymoser audio".into(),
                7 | 8 => "G.711 audio".into(),
                11 => "Speex audio".into(),
                _ => format!("sound format {other}"),
            };
            return Err(Error::Codec { found, expected: EXPECTED });
        }
    };
    Ok(vec![(0, step)])
}

fn enhanced(kind: u8, body: Bytes) -> Result<Vec<(u8, Step)>, Error> {
    let mut steps = Vec::new();
    for packet in enhanced::packets(TAG, kind, MULTITRACK, body)? {
        let codec = match &packet.fourcc {
            b"mp4a" => Codec::Aac { channels: 2 },
            b"Opus" => Codec::Opus,
            b"fLaC" => Codec::Flac,
            b".mp3" => Codec::Mp3,
            b"ac-3" => Codec::Ac3,
            b"ec-3" => Codec::Eac3,
            other => return Err(Error::Codec { found: format!("audio {}", other.escape_ascii()), expected: EXPECTED }),
        };
        let step = match packet.kind {
            SEQUENCE_START => Step::Configuration(codec, packet.body),
            CODED_FRAMES => frame(codec, packet.body),
            // The layout is in the bitstream of every codec here.
            SEQUENCE_END | MULTICHANNEL_CONFIG => Step::Nothing,
            kind => {
                let found = format!("packet type {kind}");
                return Err(Error::Malformed { tag: TAG, found, expected: "a sequence start or coded frames" });
            }
        };
        steps.push((packet.track, step));
    }
    Ok(steps)
}

fn frame(codec: Codec, data: Bytes) -> Step {
    if data.is_empty() { Step::Nothing } else { Step::Frame(codec, data) }
}

/// A sample entry of a configuration, where the codec has one. `None` if it is not one.
pub fn configured_entry(codec: Codec, record: &[u8]) -> Option<Vec<u8>> {
    match codec {
        Codec::Aac { channels } => (!record.is_empty()).then(|| make::aac_entry(record, channels)),
        Codec::Opus => make::opus_entry(record),
        Codec::Flac => make::flac_entry(record),
        Codec::Mp3 | Codec::Ac3 | Codec::Eac3 => None,
    }
}

/// How long a frame lasts, where every frame says so, in whole milliseconds (all of Opus' lengths but 2.5 ms).
pub fn frame_millis(codec: Codec, frame: &[u8]) -> Option<u32> {
    let samples = match codec {
        Codec::Opus => opus::packet_samples(frame)?,
        _ => return None,
    };
    (samples % opus::SAMPLES_PER_MILLI == 0).then_some(samples / opus::SAMPLES_PER_MILLI)
}

/// A sample entry by the frame, where codecs have no configuration.
pub fn frame_entry(codec: Codec, frame: &[u8]) -> Option<Vec<u8>> {
    match codec {
        Codec::Mp3 => make::mp3_entry(frame),
        Codec::Ac3 => make::ac3_entry(frame),
        Codec::Eac3 => make::eac3_entry(frame),
        Codec::Aac { .. } | Codec::Opus | Codec::Flac => None,
    }
}
