//! Opus (RFC 7845; Encapsulation of Opus in ISO Base Media File Format).

use crate::base::cursor::Cursor;
use crate::media::track::{Audio, Details};

use super::channels;
use super::entry::Entry;
use super::{Description, Fault, Framing};

/// Whatever the source had: Opus decodes to this.
const SAMPLE_RATE: u32 = 48_000;

pub fn describe(entry: &Entry<'_>) -> Result<Description, Fault> {
    let atom = entry.configuration(b"dOps")?;
    let (channels, pre_skip, family) = read(atom.cursor()).map_err(|fault| fault.within(b"dOps"))?;
    let channels = u16::from(channels);
    Ok(Description {
        // The sample entry, as RFC 6381 §3.3 has it; `opus` is what some browsers took before, and Safari never.
        codec: "Opus".into(),
        details: Details::Audio(Audio {
            sample_rate: SAMPLE_RATE,
            channels,
            channel_configuration: match family {
                0 | 1 => channels::vorbis_configuration(channels),
                _ => channels::NONE,
            },
            dolby_channels: None,
            joint_objects: None,
        }),
        sample_entry: entry.normal_audio(b"Opus", channels, 16, SAMPLE_RATE, atom.whole),
        // Every packet may choose its own length.
        framing: Framing::Audio { frame_length: None },
        priming_hint: Some(u32::from(pre_skip)),
    })
}

/// `OpusSpecificBox` (§4.3.2): channels, pre-skip, mapping family.
fn read(body: Cursor<'_>) -> Result<(u8, u16, u8), Fault> {
    let mut cursor = body;
    let at = cursor.position();
    let version = cursor.u8()?;
    if version != 0 {
        return Err(Fault::new(at, format!("version {version}"), "version 0"));
    }
    let at = cursor.position();
    let channels = cursor.u8()?;
    if channels == 0 {
        return Err(Fault::new(at, "0 channels", "at least 1"));
    }
    let pre_skip = cursor.u16()?;
    cursor.skip(4 + 2)?; // InputSampleRate, OutputGain
    let at = cursor.position();
    let family = cursor.u8()?;
    if family == 0 && channels > 2 {
        return Err(Fault::new(at, format!("mapping family 0 with {channels} channels"), "1 or 2 channels"));
    }
    if family != 0 {
        cursor.skip(1 + 1 + usize::from(channels))?; // StreamCount, CoupledCount, ChannelMapping
    }
    Ok((channels, pre_skip, family))
}
