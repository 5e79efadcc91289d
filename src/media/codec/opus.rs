//! Opus (RFC 7845; Encapsulation of Opus in ISO Base Media File Format).

use crate::base::cursor::Cursor;
use crate::media::track::{Audio, Details};

use super::channels;
use super::entry::Entry;
use super::{Description, Fault, Framing};

/// Whatever the source had: Opus decodes to this.
const SAMPLE_RATE: u32 = 48_000;
pub const SAMPLES_PER_MILLI: u32 = SAMPLE_RATE / 1_000;
/// 120 ms.
const PACKET_SAMPLES_MAX: u32 = 120 * SAMPLES_PER_MILLI;

/// What a packet decodes to, by its first two bytes (RFC 6716 §3.1, §3.2.5). `None` if it is none.
pub fn packet_samples(packet: &[u8]) -> Option<u32> {
    let contents = *packet.first()?;
    let frame = match contents >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)],
        config @ 12..=15 => [480, 960][usize::from(config & 1)],
        config => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let count = match contents & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 63),
    };
    (1..=PACKET_SAMPLES_MAX).contains(&(count * frame)).then_some(count * frame)
}

pub(super) fn describe(entry: &Entry<'_>) -> Result<Description, Fault> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_say_how_long_they_are() {
        for (packet, want) in [
            (&[0x00][..], Some(480)), // SILK, 10 ms
            (&[0x18], Some(2_880)),   // SILK, 60 ms
            (&[0x78], Some(960)),     // hybrid, 20 ms
            (&[0xE0], Some(120)),     // CELT, 2.5 ms
            (&[0xFC], Some(960)),     // CELT, 20 ms
            (&[0xFD], Some(1_920)),   // two of them
            (&[0xFF, 0x06], Some(5_760)),
            (&[0xFF, 0x07], None),
            (&[0xFF, 0x80], None),
            (&[0xFF], None),
            (&[], None),
        ] {
            assert_eq!(packet_samples(packet), want, "{packet:02x?}");
        }
    }
}
