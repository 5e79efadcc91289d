//! MPEG-1 and MPEG-2 audio, layer III (ISO/IEC 11172-3, ISO/IEC 13818-3).
//!
//! In MP4 it is an `mp4a` entry with object type 0x6B (MPEG-1: 32 kHz and up) or 0x69 (MPEG-2: below), and the string
//! names that, `mp4a.6B` or `mp4a.69`, in the one spelling that Chromium knows (it takes neither `mp4a.6b` nor
//! `mp4a.40.34`). Its Media Source Extensions have no MP3 in MP4 under any name: it plays as a file and in native HLS
//! players. QuickTime's `.mp3` and `ms\0U` entries become the same.

use crate::media::track::{Audio, Details};

use super::entry::Entry;
use super::esds::Stream;
use super::{Description, Fault, Framing};

const OBJECT_MPEG2: u8 = 0x69;
const OBJECT_MPEG1: u8 = 0x6B;

/// What is used of a frame header (ISO/IEC 11172-3 §2.4.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    mpeg1: bool,
    pub sample_rate: u32,
    pub channels: u16,
}

/// `stream` is there if the entry has an `esds`.
pub fn describe(entry: &Entry<'_>, stream: Option<&Stream<'_>>, sample: &[u8]) -> Result<Description, Fault> {
    let header = FrameHeader::read(sample).ok_or_else(|| {
        let found = match sample.first_chunk::<4>() {
            Some(bytes) => format!("first sample begins 0x{:08x}", u32::from_be_bytes(*bytes)),
            None => format!("first sample of {} bytes", sample.len()),
        };
        Fault::new(entry.offset, found, "an MPEG audio layer III frame")
    })?;
    let object_type = header.object_type();
    let esds = Stream {
        object_type,
        offset: 0,
        buffer_size: stream.map_or(0, |stream| stream.buffer_size),
        bitrate_max: stream.map_or(0, |stream| stream.bitrate_max),
        bitrate_average: stream.map_or(0, |stream| stream.bitrate_average),
        specific: &[],
        specific_offset: 0,
    };
    Ok(Description {
        codec: format!("mp4a.{object_type:02X}"),
        details: Details::Audio(Audio {
            sample_rate: header.sample_rate,
            channels: header.channels,
            channel_configuration: header.channels as u8,
            dolby_channels: None,
            joint_objects: None,
        }),
        sample_entry: entry.normal_audio(b"mp4a", header.channels, 16, header.sample_rate, &esds.write()),
        framing: Framing::Audio { frame_length: Some(if header.mpeg1 { 1152 } else { 576 }) },
        priming_hint: None,
    })
}

impl FrameHeader {
    /// As `esds` and the `codecs` parameter have it.
    pub fn object_type(&self) -> u8 {
        if self.mpeg1 { OBJECT_MPEG1 } else { OBJECT_MPEG2 }
    }

    pub fn read(frame: &[u8]) -> Option<FrameHeader> {
        let header = u32::from_be_bytes(*frame.first_chunk()?);
        let (sync, version, layer) = (header >> 21, header >> 19 & 3, header >> 17 & 3);
        // Layer III is 1; version 0 is MPEG-2.5, which is not ISO's but everywhere.
        let halvings = match version {
            3 => 0,
            2 => 1,
            0 => 2,
            _ => return None,
        };
        if sync != 0x7FF || layer != 1 || header >> 12 & 15 == 15 {
            return None;
        }
        let sample_rate = [44_100, 48_000, 32_000].get((header >> 10 & 3) as usize)? >> halvings;
        Some(FrameHeader { mpeg1: version == 3, sample_rate, channels: if header >> 6 & 3 == 3 { 1 } else { 2 } })
    }
}
