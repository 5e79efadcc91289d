//! Video tags (annex E.4.3, and "Enhanced Video" of Enhanced RTMP v2).

use bytes::{Buf, Bytes};

use super::Error;
use super::enhanced::{self, CODED_FRAMES, SEQUENCE_END, SEQUENCE_START, take};
use crate::media::codec::make;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    Avc,
    Hevc,
    Av1,
    Vp9,
}

/// What a tag says about one track.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The codec's configuration record.
    Configuration(Codec, Bytes),
    Frame {
        composition_offset: i32,
        is_sync: bool,
        data: Bytes,
    },
    /// Nothing, or what only players act upon.
    Nothing,
}

const TAG: &str = "video";
const EXPECTED: &str = "H.264, HEVC, AV1 or VP9";

// FrameType.
const KEY_FRAME: u8 = 1;
const COMMAND: u8 = 5;
// VideoPacketType, beyond those that audio has as well.
const CODED_FRAMES_X: u8 = 3;
const METADATA: u8 = 4;
const MULTITRACK: u8 = 6;

/// Takes a tag apart into the steps of its tracks.
pub fn read(body: Bytes) -> Result<Vec<(u8, Step)>, Error> {
    let mut body = body;
    let first = take(TAG, &mut body, 1)?[0];
    let is_enhanced = first & 0x80 != 0;
    let frame_type = first >> 4 & 7;
    let is_sync = frame_type == KEY_FRAME;
    if !is_enhanced {
        return Ok(vec![(0, legacy(first & 15, frame_type, body)?)]);
    }
    // A command of a player's server stands in place of the codec; metadata of colour is in the bitstream too.
    if frame_type == COMMAND && first & 15 != METADATA {
        return Ok(Vec::new());
    }
    let mut steps = Vec::new();
    for packet in enhanced::packets(TAG, first & 15, MULTITRACK, body)? {
        let codec = match &packet.fourcc {
            b"avc1" => Codec::Avc,
            b"hvc1" => Codec::Hevc,
            b"av01" => Codec::Av1,
            b"vp09" => Codec::Vp9,
            other => return Err(Error::Codec { found: format!("video {}", other.escape_ascii()), expected: EXPECTED }),
        };
        steps.push((packet.track, coded(packet.kind, codec, is_sync, packet.body)?));
    }
    Ok(steps)
}

fn coded(kind: u8, codec: Codec, is_sync: bool, body: Bytes) -> Result<Step, Error> {
    let mut body = body;
    let composition_offset = match (kind, codec) {
        (SEQUENCE_START, _) => return Ok(Step::Configuration(codec, body)),
        // Only these two reorder pictures between samples.
        (CODED_FRAMES, Codec::Avc | Codec::Hevc) => signed(take(TAG, &mut body, 3)?),
        (CODED_FRAMES | CODED_FRAMES_X, _) => 0,
        (SEQUENCE_END | METADATA, _) => return Ok(Step::Nothing),
        _ => {
            let found = format!("packet type {kind}");
            return Err(Error::Malformed { tag: TAG, found, expected: "a sequence start or coded frames" });
        }
    };
    Ok(frame(composition_offset, is_sync, body))
}

/// `VIDEODATA` of annex E.4.3.1. HEVC under number 12, with H.264's packet header, is what came before Enhanced RTMP, and
/// encoders that send it are still about.
fn legacy(number: u8, frame_type: u8, body: Bytes) -> Result<Step, Error> {
    let mut body = body;
    if frame_type == COMMAND {
        return Ok(Step::Nothing);
    }
    let codec = match number {
        7 => Codec::Avc,
        12 => Codec::Hevc,
        _ => {
            let found = match number {
                2 => "Sorenson H.263 video".into(),
                3 | 6 => "screen video".into(),
                4 | 5 => "VP6 video".into(),
                _ => format!("video codec {number}"),
            };
            return Err(Error::Codec { found, expected: EXPECTED });
        }
    };
    let kind = take(TAG, &mut body, 1)?[0];
    let composition_offset = signed(take(TAG, &mut body, 3)?);
    match kind {
        SEQUENCE_START => Ok(Step::Configuration(codec, body)),
        CODED_FRAMES => Ok(frame(composition_offset, frame_type == KEY_FRAME, body)),
        SEQUENCE_END => Ok(Step::Nothing),
        _ => Err(Error::Malformed {
            tag: TAG,
            found: format!("AVCPacketType {kind}"),
            expected: "a sequence header or NAL units",
        }),
    }
}

/// Encoders send tags without data to keep a connection alive.
fn frame(composition_offset: i32, is_sync: bool, data: Bytes) -> Step {
    match data.is_empty() {
        true => Step::Nothing,
        false => Step::Frame { composition_offset, is_sync, data },
    }
}

/// SI24.
fn signed(bytes: Bytes) -> i32 {
    let mut bytes = bytes;
    bytes.get_int(3) as i32
}

/// A sample entry; `None` if the record is empty, which encoders send that have no parameter sets yet.
pub fn entry(codec: Codec, record: &[u8], (width, height): (u16, u16)) -> Option<Vec<u8>> {
    let make = match codec {
        Codec::Avc => make::avc_entry,
        Codec::Hevc => make::hevc_entry,
        Codec::Av1 => make::av1_entry,
        Codec::Vp9 => make::vp9_entry,
    };
    (!record.is_empty()).then(|| make(record, width, height))
}
