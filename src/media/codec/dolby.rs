//! AC-3 and E-AC-3 (ETSI TS 102 366, annex F: sample entries), with joint object coding (ETSI TS 103 420).

use crate::media::track::{Audio, Details};

use super::bits::Bits;
use super::channels;
use super::entry::Entry;
use super::{Description, Fault, Framing};

const SAMPLE_RATES: [u32; 3] = [48_000, 44_100, 32_000];
/// Of a syncframe: six blocks of 256. E-AC-3 may have fewer in a syncframe, but a sample has six.
const FRAME_LENGTH: u32 = 1536;

// Bits of the `chan` word (annex E, table E.1.4); bit 0 there is the most significant here.
const LEFT: u16 = 1 << 15;
const CENTRE: u16 = 1 << 14;
const RIGHT: u16 = 1 << 13;
const LEFT_SURROUND: u16 = 1 << 12;
const RIGHT_SURROUND: u16 = 1 << 11;
const CENTRE_FRONT_PAIR: u16 = 1 << 10;
const REAR_PAIR: u16 = 1 << 9;
const REAR_CENTRE: u16 = 1 << 8;
const TOP: u16 = 1 << 7;
const DIRECT_PAIR: u16 = 1 << 6;
const WIDE_PAIR: u16 = 1 << 5;
const HEIGHT_PAIR: u16 = 1 << 4;
const HEIGHT_CENTRE: u16 = 1 << 3;
const TOP_SURROUND_PAIR: u16 = 1 << 2;
const LOW_2: u16 = 1 << 1;
const LOW: u16 = 1;
const PAIRS: u16 = CENTRE_FRONT_PAIR | REAR_PAIR | DIRECT_PAIR | WIDE_PAIR | HEIGHT_PAIR | TOP_SURROUND_PAIR;

/// `chan_loc` from its least significant bit on (table F.6.1): what dependent substreams add.
const DEPENDENT: [u16; 9] =
    [CENTRE_FRONT_PAIR, REAR_PAIR, REAR_CENTRE, TOP, DIRECT_PAIR, WIDE_PAIR, HEIGHT_PAIR, HEIGHT_CENTRE, LOW_2];

/// What the programme's first independent substream and its dependents say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Programme {
    sample_rate: u32,
    /// acmod 0: two independent channels.
    dual_mono: bool,
    chan: u16,
    joint_objects: Option<u8>,
}

pub fn describe_ac3(entry: &Entry<'_>) -> Result<Description, Fault> {
    let atom = entry.configuration(b"dac3")?;
    let programme = || {
        let mut bits = Bits::new(atom.body);
        let sample_rate = sample_rate(&mut bits)?;
        bits.skip(5 + 3)?; // bsid, bsmod
        let (mode, low) = (bits.take(3)?, bits.flag()?);
        Some(Programme { sample_rate, dual_mono: mode == 0, chan: chan(mode, low), joint_objects: None })
    };
    let programme = programme().ok_or_else(|| malformed(atom.offset, atom.body, "AC3SpecificBox").within(b"dac3"))?;
    Ok(programme.describe(entry, b"ac-3", "ac-3", atom.whole))
}

pub fn describe_eac3(entry: &Entry<'_>) -> Result<Description, Fault> {
    let atom = entry.configuration(b"dec3")?;
    let programme = Programme::read_eac3(atom.body)
        .ok_or_else(|| malformed(atom.offset, atom.body, "EC3SpecificBox").within(b"dec3"))?;
    Ok(programme.describe(entry, b"ec-3", "ec-3", atom.whole))
}

fn malformed(at: u64, body: &[u8], expected: &str) -> Fault {
    let expected = format!("{expected} (ETSI TS 102 366 annex F)");
    Fault::new(at, format!("{} bytes cut short or out of range", body.len()), expected)
}

impl Programme {
    /// `EC3SpecificBox` (annex F.6).
    fn read_eac3(body: &[u8]) -> Option<Programme> {
        let mut bits = Bits::new(body);
        bits.skip(13)?; // data_rate
        let mut first = None;
        for _ in 0..=bits.take(3)? {
            let sample_rate = sample_rate(&mut bits)?;
            bits.skip(5 + 1 + 1 + 3)?; // bsid, reserved, asvc, bsmod
            let (mode, low) = (bits.take(3)?, bits.flag()?);
            bits.skip(3)?;
            let mut chan = chan(mode, low);
            if bits.take(4)? > 0 {
                let locations = bits.take(9)?;
                let added = DEPENDENT.iter().enumerate().filter(|(bit, _)| locations >> bit & 1 == 1);
                chan |= added.fold(0, |chan, (_, location)| chan | location);
            } else {
                bits.skip(1)?;
            }
            // Decoders play the first programme.
            first.get_or_insert(Programme { sample_rate, dual_mono: mode == 0, chan, joint_objects: None });
        }
        // ETSI TS 103 420 annex C.3.1: flag_ec3_extension_type_a, complexity_index_type_a.
        let mut extension = || {
            bits.skip(7)?;
            if bits.flag()? { bits.byte() } else { None }
        };
        let joint_objects = extension();
        first.map(|programme| Programme { joint_objects, ..programme })
    }

    fn channels(&self) -> u16 {
        (self.chan.count_ones() + (self.chan & PAIRS).count_ones()) as u16
    }

    fn channel_configuration(&self) -> u8 {
        const FRONT: u16 = LEFT | CENTRE | RIGHT;
        const KNOWN: u16 = FRONT | LEFT_SURROUND | RIGHT_SURROUND | CENTRE_FRONT_PAIR | REAR_PAIR | REAR_CENTRE | LOW;
        if self.dual_mono {
            return if self.chan & LOW == 0 { 8 } else { channels::NONE };
        }
        if self.chan & !KNOWN != 0 {
            return channels::NONE;
        }
        let count = |of: u16| (self.chan & of).count_ones();
        channels::configuration(
            count(FRONT) + 2 * count(CENTRE_FRONT_PAIR),
            count(LEFT_SURROUND | RIGHT_SURROUND),
            2 * count(REAR_PAIR) + count(REAR_CENTRE),
            count(LOW),
        )
    }

    fn describe(&self, entry: &Entry<'_>, kind: &[u8; 4], codec: &str, configuration: &[u8]) -> Description {
        let channels = self.channels();
        Description {
            codec: codec.into(),
            details: Details::Audio(Audio {
                sample_rate: self.sample_rate,
                channels,
                channel_configuration: self.channel_configuration(),
                dolby_channels: Some(self.chan),
                joint_objects: self.joint_objects,
            }),
            sample_entry: entry.normal_audio(kind, channels, 16, self.sample_rate, configuration),
            framing: Framing::Audio { frame_length: Some(FRAME_LENGTH) },
            priming_hint: None,
        }
    }
}

fn sample_rate(bits: &mut Bits<'_>) -> Option<u32> {
    SAMPLE_RATES.get(bits.take(2)? as usize).copied()
}

/// `acmod` and `lfeon` (table 4.3). A single surround channel is a rear centre.
fn chan(mode: u32, low: bool) -> u16 {
    let full = match mode {
        1 => CENTRE,
        0 | 2 => LEFT | RIGHT,
        3 => LEFT | CENTRE | RIGHT,
        4 => LEFT | RIGHT | REAR_CENTRE,
        5 => LEFT | CENTRE | RIGHT | REAR_CENTRE,
        6 => LEFT | RIGHT | LEFT_SURROUND | RIGHT_SURROUND,
        _ => LEFT | CENTRE | RIGHT | LEFT_SURROUND | RIGHT_SURROUND,
    };
    full | if low { LOW } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `dec3` with one independent substream of 48 kHz.
    fn dec3(mode: u64, low: u64, locations: Option<u64>, complexity: Option<u64>) -> Vec<u8> {
        let mut bits: Vec<bool> = Vec::new();
        let mut put = |value: u64, count: u32| bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        put(448, 13);
        put(0, 3);
        put(0, 2);
        put(16, 5);
        put(0, 2 + 3);
        put(mode, 3);
        put(low, 1);
        put(0, 3);
        match locations {
            Some(locations) => {
                put(1, 4);
                put(locations, 9);
            }
            None => put(0, 5),
        }
        if let Some(complexity) = complexity {
            put(1, 8);
            put(complexity, 8);
        }
        bits.chunks(8).map(|byte| byte.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit))).collect()
    }

    #[test]
    fn layouts() {
        // acmod, lfeon, chan_loc -> chan, channels, ChannelConfiguration
        let cases = [
            (1, 0, None, 0x4000, 1, 1),
            (2, 0, None, 0xA000, 2, 2),
            (0, 0, None, 0xA000, 2, 8),
            (3, 0, None, 0xE000, 3, 3),
            (4, 0, None, 0xA100, 3, 9),
            (5, 0, None, 0xE100, 4, 4),
            (6, 0, None, 0xB800, 4, 10),
            (7, 0, None, 0xF800, 5, 5),
            (7, 1, None, 0xF801, 6, 6),
            (2, 1, None, 0xA001, 3, 0),
            (7, 1, Some(0b10), 0xFA01, 8, 12),
            (7, 1, Some(0b1), 0xFC01, 8, 7),
            (7, 1, Some(0b100), 0xF901, 7, 11),
            (7, 1, Some(0b1_0000_0000), 0xF803, 7, 0),
            (7, 1, Some(0b100_0000), 0xF811, 8, 0),
        ];
        for (mode, low, locations, chan, channels, configuration) in cases {
            let programme = Programme::read_eac3(&dec3(mode, low, locations, None)).unwrap();
            let got = (programme.chan, programme.channels(), programme.channel_configuration());
            assert_eq!(got, (chan, channels, configuration), "{mode} {low} {locations:?}: {:#x}", programme.chan);
            assert_eq!(programme.joint_objects, None);
        }
    }

    #[test]
    fn joint_object_coding() {
        let programme = Programme::read_eac3(&dec3(7, 1, None, Some(16))).unwrap();
        assert_eq!((programme.joint_objects, programme.channels()), (Some(16), 6));
        let programme = Programme::read_eac3(&dec3(7, 1, Some(2), Some(12))).unwrap();
        assert_eq!((programme.joint_objects, programme.channels()), (Some(12), 8));
    }
}
