//! FLAC (RFC 9639; Encapsulation of FLAC in ISO Base Media File Format).

use crate::base::cursor::Cursor;
use crate::media::track::{Audio, Details};

use super::channels;
use super::entry::Entry;
use super::{Description, Fault, Framing};

const STREAMINFO: u8 = 0;
const STREAMINFO_SIZE: usize = 34;

/// What is used of STREAMINFO (RFC 9639 §8.2).
struct StreamInfo {
    block_min: u16,
    block_max: u16,
    sample_rate: u32,
    channels: u16,
    sample_size: u16,
}

pub fn describe(entry: &Entry<'_>) -> Result<Description, Fault> {
    let atom = entry.configuration(b"dfLa")?;
    let info = StreamInfo::read(atom.cursor()).map_err(|fault| fault.within(b"dfLa"))?;
    Ok(Description {
        codec: "fLaC".into(),
        details: Details::Audio(Audio {
            sample_rate: info.sample_rate,
            channels: info.channels,
            channel_configuration: channels::vorbis_configuration(info.channels),
            dolby_channels: None,
            joint_objects: None,
        }),
        sample_entry: entry.normal_audio(b"fLaC", info.channels, info.sample_size, info.sample_rate, atom.whole),
        framing: Framing::Audio {
            frame_length: (info.block_min == info.block_max).then_some(u32::from(info.block_max)),
        },
        priming_hint: None,
    })
}

impl StreamInfo {
    /// The first metadata block of a `FLACSpecificBox` (§3.3.2).
    fn read(body: Cursor<'_>) -> Result<StreamInfo, Fault> {
        let mut cursor = body;
        cursor.skip(4)?;
        let at = cursor.position();
        let (kind, size) = (cursor.u8()? & 0x7F, cursor.u24()? as usize);
        if (kind, size) != (STREAMINFO, STREAMINFO_SIZE) {
            let found = format!("metadata block {kind} of {size} bytes");
            return Err(Fault::new(at, found, "STREAMINFO of 34 bytes first"));
        }
        let (block_min, block_max) = (cursor.u16()?, cursor.u16()?);
        cursor.skip(3 + 3)?; // frame sizes
        let at = cursor.position();
        let packed = cursor.u64()?;
        cursor.skip(16)?; // MD5
        let sample_rate = (packed >> 44) as u32;
        if sample_rate == 0 {
            return Err(Fault::new(at, "sample rate 0", "1 to 1048575 Hz"));
        }
        Ok(StreamInfo {
            block_min,
            block_max,
            sample_rate,
            channels: (packed >> 41 & 7) as u16 + 1,
            sample_size: (packed >> 36 & 31) as u16 + 1,
        })
    }
}
