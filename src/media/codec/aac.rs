//! AAC (ISO/IEC 14496-3), and whatever else an `mp4a` entry holds.

use crate::media::track::{Audio, Details};

use super::bits::Bits;
use super::channels;
use super::entry::{Entry, Fields};
use super::esds::Stream;
use super::{AUDIO_EXPECTED, Description, Fault, Framing};

const OBJECT_MPEG4: u8 = 0x40;
const OBJECT_MPEG2_MAIN: u8 = 0x66;
const OBJECT_MPEG2_SSR: u8 = 0x68;

// audioObjectType (ISO/IEC 14496-3 table 1.17).
const SBR: u8 = 5;
const PS: u8 = 29;
const ER_BSAC: u8 = 22;
const ER_LD: u8 = 23;
const ER_ELD: u8 = 39;

const SAMPLING_FREQUENCIES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// What an AudioSpecificConfig says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Config {
    /// As the `codecs` parameter has it: 5 or 29 where SBR or PS are signalled, in either way.
    object_type: u8,
    core_rate: u32,
    /// Of the decoder's output.
    sample_rate: u32,
    channels: u16,
    channel_configuration: u8,
    /// Of the decoder's output.
    frame_length: u32,
}

pub fn describe(entry: &Entry<'_>, sample: &[u8]) -> Result<Description, Fault> {
    let atom = entry.configuration(b"esds")?;
    let stream = Stream::read(atom.cursor()).map_err(|fault| fault.within(b"esds"))?;
    match stream.object_type {
        OBJECT_MPEG4 | OBJECT_MPEG2_MAIN..=OBJECT_MPEG2_SSR => {}
        0x69 | 0x6B => return super::mp3::describe(entry, Some(&stream), sample),
        other => {
            let name = match other {
                0xA5 => "AC-3 audio in MPEG-4 systems".into(),
                0xA6 => "E-AC-3 audio in MPEG-4 systems".into(),
                0xA9 | 0xAC => "DTS audio".into(),
                0xAD => "Opus audio in MPEG-4 systems".into(),
                0xDD => "Vorbis audio".into(),
                0xE1 => "QCELP audio".into(),
                _ => format!("object type 0x{other:02x}"),
            };
            return Err(Fault::codec(stream.offset, name, AUDIO_EXPECTED).within(b"esds"));
        }
    }
    let at = stream.specific_offset;
    let config = Config::read(stream.specific)
        .ok_or_else(|| {
            let expected = "AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1)";
            Fault::new(at, format!("{} bytes that are not one", stream.specific.len()), expected)
        })
        .and_then(|config| config.supported(at))
        .map_err(|fault| fault.within(b"esds"))?;
    let Fields::Audio { channels: entry_channels, .. } = entry.fields else {
        unreachable!("entries of mp4a are audio")
    };
    // A layout that is neither numbered nor spelt out: only the entry counts its channels.
    let channels = match config.channels {
        0 => entry_channels.clamp(1, 255) as u16,
        channels => channels,
    };
    Ok(Description {
        codec: match stream.object_type {
            OBJECT_MPEG4 => format!("mp4a.40.{}", config.object_type),
            other => format!("mp4a.{other:02x}"),
        },
        details: Details::Audio(Audio {
            sample_rate: config.sample_rate,
            channels,
            channel_configuration: config.channel_configuration,
            dolby_channels: None,
            joint_objects: None,
        }),
        sample_entry: entry.normal_audio(b"mp4a", channels, 16, config.core_rate, &stream.write()),
        framing: Framing::Audio { frame_length: Some(config.frame_length) },
        priming_hint: None,
    })
}

impl Config {
    fn supported(self, at: u64) -> Result<Config, Fault> {
        match self.object_type {
            1..=5 | PS | ER_LD | ER_ELD => Ok(self),
            other => {
                let name = match other {
                    22 => "BSAC audio".into(),
                    36 => "MPEG-4 ALS audio".into(),
                    42 => "USAC (xHE-AAC) audio".into(),
                    _ => format!("MPEG-4 audio object type {other}"),
                };
                Err(Fault::codec(at, name, AUDIO_EXPECTED))
            }
        }
    }

    /// §1.6.2.1; unsupported object types are read as far as is common to all.
    fn read(specific: &[u8]) -> Option<Config> {
        let mut bits = Bits::new(specific);
        let mut object_type = object_type(&mut bits)?;
        let core_rate = sampling_frequency(&mut bits)?;
        let number = bits.take(4)? as u8;
        let mut sample_rate = core_rate;
        let signalled = object_type;
        if matches!(object_type, SBR | PS) {
            sample_rate = sampling_frequency(&mut bits)?;
            object_type = self::object_type(&mut bits)?;
            if object_type == ER_BSAC {
                bits.skip(4)?;
            }
        }
        let (mut channels, mut channel_configuration) = numbered_layout(number)?;
        let mut frame_length = 1024;
        match object_type {
            1..=4 | 6 | 7 | 17 | 19..=23 => {
                // GASpecificConfig (§4.4.1). Files exist that end before it: its flags are 0 then.
                let short_frame = bits.flag().unwrap_or(false);
                frame_length = match (object_type == ER_LD, short_frame) {
                    (false, false) => 1024,
                    (false, true) => 960,
                    (true, false) => 512,
                    (true, true) => 480,
                };
                if bits.flag().unwrap_or(false) {
                    bits.skip(14)?; // coreCoderDelay
                }
                let extension = bits.flag().unwrap_or(false);
                if number == 0 {
                    (channels, channel_configuration) = program_config_element(&mut bits)?;
                }
                if matches!(object_type, 6 | 20) {
                    bits.skip(3)?;
                }
                if extension {
                    match object_type {
                        ER_BSAC => bits.skip(5 + 11)?,
                        17 | 19 | 20 | 23 => bits.skip(3)?,
                        _ => {}
                    }
                    bits.skip(1)?;
                }
                if matches!(object_type, 17 | 19..=23) {
                    bits.skip(2)?; // epConfig
                }
            }
            // ELDSpecificConfig (§4.6.20.4)
            ER_ELD => {
                frame_length = if bits.flag()? { 480 } else { 512 };
                bits.skip(3)?;
                if bits.flag()? && bits.flag()? {
                    sample_rate = core_rate.saturating_mul(2);
                    frame_length *= 2;
                }
            }
            _ => {}
        }
        let mut config = Config {
            object_type: if matches!(signalled, SBR | PS) { signalled } else { object_type },
            core_rate,
            sample_rate,
            channels,
            channel_configuration,
            frame_length,
        };
        if !matches!(signalled, SBR | PS) && object_type != ER_ELD {
            config.read_sync_extension(bits);
        }
        if matches!(config.object_type, SBR | PS) && config.sample_rate == config.core_rate.saturating_mul(2) {
            config.frame_length *= 2;
        }
        // Parametric stereo makes two channels of one (§8.6.4).
        if config.object_type == PS && config.channels == 1 {
            (config.channels, config.channel_configuration) = (2, 2);
        }
        Some(config)
    }

    /// Backward compatible signalling of SBR and PS behind the configuration (§1.6.6.2).
    fn read_sync_extension(&mut self, bits: Bits<'_>) -> Option<()> {
        let mut bits = bits;
        if bits.remaining() < 16 || bits.take(11)? != 0x2B7 || object_type(&mut bits)? != SBR || !bits.flag()? {
            return None;
        }
        self.sample_rate = sampling_frequency(&mut bits)?;
        self.object_type = SBR;
        if bits.remaining() >= 12 && bits.take(11)? == 0x548 && bits.flag()? {
            self.object_type = PS;
        }
        Some(())
    }
}

/// What ADTS headers say (§1.A.2.2), the same for all frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adts {
    /// profile, sampling_frequency_index and channel_configuration.
    profile: u8,
    frequency: u8,
    channels: u8,
    /// What frames begin with where the channels have no number: a program_config_element, which decoders find nowhere else.
    element: Vec<u8>,
}

/// aac_frame_length has 13 bits.
const ADTS_FRAME_BYTES_MAX: usize = (1 << 13) - 1;
const ADTS_HEADER_BYTES: usize = 7;

/// Whether a rate, or the half of it that the core of SBR has, is one of those that ADTS counts.
pub fn has_index(sample_rate: u32) -> bool {
    SAMPLING_FREQUENCIES.iter().any(|&rate| rate == sample_rate || rate * 2 == sample_rate)
}

/// `None`: not an AudioSpecificConfig, or of a kind that ADTS has no place for. SBR and PS are found by decoders, whether
/// the configuration signals them or not (§1.6.5).
pub fn adts(specific: &[u8]) -> Option<Adts> {
    let mut bits = Bits::new(specific);
    let mut object_type = object_type(&mut bits)?;
    let core_rate = sampling_frequency(&mut bits)?;
    let channels = bits.take(4)? as u8;
    if matches!(object_type, SBR | PS) {
        sampling_frequency(&mut bits)?;
        object_type = self::object_type(&mut bits)?;
    }
    let frequency = SAMPLING_FREQUENCIES.iter().position(|&rate| rate == core_rate)? as u8;
    if !(1..=4).contains(&object_type) || channels > 7 {
        return None;
    }
    let mut element = Vec::new();
    if channels == 0 {
        bits.skip(1)?; // frameLengthFlag
        if bits.flag()? {
            bits.skip(14)?;
        }
        bits.skip(1)?;
        element = copy_program_config_element(&mut bits)?;
    }
    Some(Adts { profile: object_type - 1, frequency, channels, element })
}

impl Adts {
    /// Appends a frame; nothing if it is too long for one.
    pub fn push_frame(&self, out: &mut Vec<u8>, sample: &[u8]) {
        let Some(size) = self.frame_size(sample.len()) else { return };
        out.extend_from_slice(&[
            // syncword, MPEG-4, layer 0, protection_absent; adts_buffer_fullness: variable rate.
            0xFF,
            0xF1,
            self.profile << 6 | self.frequency << 2 | self.channels >> 2,
            self.channels << 6 | (size >> 11) as u8,
            (size >> 3) as u8,
            (size << 5) as u8 | 0x1F,
            0xFC,
        ]);
        out.extend_from_slice(&self.element);
        out.extend_from_slice(sample);
    }

    /// Bytes of a frame with a sample of so many; `None` if that is too long for one.
    pub fn frame_size(&self, sample: usize) -> Option<usize> {
        let size = (ADTS_HEADER_BYTES + self.element.len()).checked_add(sample)?;
        (size <= ADTS_FRAME_BYTES_MAX).then_some(size)
    }
}

/// As it stands in a raw_data_block (§4.4.2.1), where it begins elsewhere in a byte.
fn copy_program_config_element(bits: &mut Bits<'_>) -> Option<Vec<u8>> {
    const ID_PCE: u32 = 5;
    let mut source = bits.clone();
    let start = bits.remaining();
    program_config_fields(bits)?;
    let (mut out, mut current, mut filled) = (Vec::new(), ID_PCE, 3);
    for _ in bits.remaining()..start {
        current = current << 1 | source.take(1)?;
        filled += 1;
        if filled == 8 {
            out.push(current as u8);
            (current, filled) = (0, 0);
        }
    }
    if filled > 0 {
        out.push((current << (8 - filled)) as u8);
    }
    source.align();
    let comment = source.byte().unwrap_or(0);
    out.push(comment);
    for _ in 0..comment {
        out.push(source.byte()?);
    }
    Some(out)
}

fn object_type(bits: &mut Bits<'_>) -> Option<u8> {
    match bits.take(5)? as u8 {
        31 => Some(32 + bits.take(6)? as u8),
        object_type => Some(object_type),
    }
}

fn sampling_frequency(bits: &mut Bits<'_>) -> Option<u32> {
    let frequency = match bits.take(4)? as usize {
        15 => bits.take(24)?,
        index => *SAMPLING_FREQUENCIES.get(index)?,
    };
    (frequency > 0).then_some(frequency)
}

/// channelConfiguration (table 1.19): channels and ISO/IEC 23091-3, whose numbers are the same as far as both have one.
/// (0, 0) is spelt out elsewhere; reserved numbers are `None`.
fn numbered_layout(number: u8) -> Option<(u16, u8)> {
    let channels = match number {
        0 => return Some((0, channels::NONE)),
        1..=6 => u16::from(number),
        7 | 12 | 14 => 8,
        11 => 7,
        13 => 24,
        _ => return None,
    };
    Some((channels, number))
}

/// §4.4.1.1: counts the channels by where their loudspeakers are.
fn program_config_element(bits: &mut Bits<'_>) -> Option<(u16, u8)> {
    let counted = program_config_fields(bits)?;
    bits.align();
    let comment = u32::from(bits.byte().unwrap_or(0));
    bits.skip(8 * comment)?;
    Some(counted)
}

/// The same, up to byte_alignment.
fn program_config_fields(bits: &mut Bits<'_>) -> Option<(u16, u8)> {
    bits.skip(4 + 2 + 4)?; // element_instance_tag, object_type, sampling_frequency_index
    let (front, side, back) = (bits.take(4)?, bits.take(4)?, bits.take(4)?);
    let (low, data, coupling) = (bits.take(2)?, bits.take(3)?, bits.take(4)?);
    for mixdown in [4, 4, 3] {
        if bits.flag()? {
            bits.skip(mixdown)?;
        }
    }
    let mut counted = [front, side, back];
    for count in &mut counted {
        for _ in 0..*count {
            *count += bits.take(1)?; // is_cpe: a pair
            bits.skip(4)?;
        }
    }
    bits.skip(4 * low + 4 * data + 5 * coupling)?;
    let [front, side, back] = counted;
    let channels = (front + side + back + low) as u16;
    (channels > 0).then(|| (channels, channels::configuration(front, side, back, low)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::bits::tests::Writer;

    #[test]
    fn configurations() {
        // audioObjectType, core and output rate, channels, ChannelConfiguration, frame length
        type Row<'a> = (&'a str, &'a [u8], (u8, u32, u32, u16, u8, u32));
        let cases: &[Row] = &[
            ("LC 44.1 kHz stereo", &[0x12, 0x10], (2, 44_100, 44_100, 2, 2, 1024)),
            ("LC, flags missing", &[0x11, 0x90], (2, 48_000, 48_000, 2, 2, 1024)),
            ("LC, frames of 960", &[0x11, 0x94], (2, 48_000, 48_000, 2, 2, 960)),
            ("LC 7.1 with rear pairs", &[0x11, 0xE0], (2, 48_000, 48_000, 8, 12, 1024)),
            ("LC 6.1", &[0x11, 0xD8], (2, 48_000, 48_000, 7, 11, 1024)),
            ("LC 22.2", &[0x11, 0xE8], (2, 48_000, 48_000, 24, 13, 1024)),
            ("HE, explicit", &[0x2B, 0x11, 0x88, 0x00], (5, 24_000, 48_000, 2, 2, 2048)),
            ("HE v2, explicit", &[0xEB, 0x09, 0x88, 0x00], (29, 24_000, 48_000, 2, 2, 2048)),
            ("HE, backward compatible", &[0x13, 0x10, 0x56, 0xE5, 0x98], (5, 24_000, 48_000, 2, 2, 2048)),
            (
                "HE v2, backward compatible",
                &[0x13, 0x08, 0x56, 0xE5, 0x9D, 0x48, 0x80],
                (29, 24_000, 48_000, 2, 2, 2048),
            ),
            ("SBR signalled as absent", &[0x13, 0x10, 0x56, 0xE5, 0x00], (2, 24_000, 24_000, 2, 2, 1024)),
            ("rate spelt out", &[0x17, 0x80, 0x5D, 0xC0, 0x10], (2, 48_000, 48_000, 2, 2, 1024)),
            ("ELD", &[0xF8, 0xE6, 0x20, 0x00], (39, 48_000, 48_000, 1, 1, 512)),
        ];
        for (name, specific, (object_type, core_rate, sample_rate, channels, channel_configuration, frame_length)) in
            cases
        {
            let want = Config {
                object_type: *object_type,
                core_rate: *core_rate,
                sample_rate: *sample_rate,
                channels: *channels,
                channel_configuration: *channel_configuration,
                frame_length: *frame_length,
            };
            assert_eq!(Config::read(specific), Some(want), "{name}");
        }
        for bad in [&[][..], &[0x12], &[0x16, 0x90], &[0x12, 0x40], &[0x17, 0x80, 0, 0, 0x10]] {
            assert_eq!(Config::read(bad), None, "{bad:x?}");
        }
    }

    #[test]
    fn program_config_elements() {
        // Pairs and singles in front, at the sides, at the back, and low-frequency channels.
        type Row<'a> = (&'a [u64], &'a [u64], &'a [u64], u64, (u16, u8));
        let cases: &[Row] = &[
            (&[1], &[], &[], 0, (2, 2)),
            (&[0, 1], &[], &[1], 1, (6, 6)),
            (&[0, 1], &[1], &[1], 1, (8, 12)),
            (&[0, 1, 1], &[], &[1], 1, (8, 7)),
            (&[0, 1], &[], &[0, 1], 1, (7, 11)),
            (&[1, 1], &[], &[], 0, (4, 0)),
        ];
        for (front, side, back, low, want) in cases {
            let mut bits = Writer::default();
            bits.put(2, 5).put(3, 4).put(0, 4).put(0, 3);
            bits.put(0, 4).put(1, 2).put(3, 4);
            bits.put(front.len() as u64, 4).put(side.len() as u64, 4).put(back.len() as u64, 4);
            bits.put(*low, 2).put(0, 3).put(0, 4).put(1, 1).put(0, 4).put(0, 1).put(1, 1).put(0, 3);
            for pair in [front, side, back].into_iter().copied().flatten() {
                bits.put(*pair, 1).put(0, 4);
            }
            bits.put(0, 4 * *low as u32);
            let config = Config::read(&bits.bytes()).unwrap();
            assert_eq!((config.channels, config.channel_configuration), *want, "{front:?} {side:?} {back:?} {low}");

            // The same element in a frame, behind its identifier.
            let mut frame = Vec::new();
            adts(&bits.bytes()).unwrap().push_frame(&mut frame, &[0xAB]);
            let mut copied = Bits::new(&frame[ADTS_HEADER_BYTES..]);
            assert_eq!((frame[2], frame[3] >> 6, copied.take(3)), (0x4C, 0, Some(5)));
            assert_eq!(program_config_element(&mut copied), Some(*want));
            assert_eq!((copied.byte(), copied.byte()), (Some(0xAB), None));
        }
    }

    #[test]
    fn frames_of_adts() {
        type Row<'a> = (&'a str, &'a [u8], Option<[u8; 3]>);
        let cases: &[Row<'_>] = &[
            ("LC 44.1 kHz stereo", &[0x12, 0x10], Some([0xF1, 0x50, 0x80])),
            ("LC 48 kHz 7.1", &[0x11, 0xB8], Some([0xF1, 0x4D, 0xC0])),
            ("HE, explicit: its core", &[0x2B, 0x11, 0x88, 0x00], Some([0xF1, 0x58, 0x80])),
            ("HE, backward compatible", &[0x13, 0x10, 0x56, 0xE5, 0x98], Some([0xF1, 0x58, 0x80])),
            ("a rate without number", &[0x17, 0x80, 0x5D, 0xC1, 0x10], None),
            ("channels of four bits", &[0x11, 0xE0], None),
            ("ELD", &[0xF8, 0xE6, 0x20, 0x00], None),
            ("nothing", &[], None),
        ];
        for (name, specific, want) in cases {
            let found = adts(specific).map(|adts| {
                let mut frame = Vec::new();
                adts.push_frame(&mut frame, &[7; 1_000]);
                adts.push_frame(&mut frame, &[0; 8_185]);
                assert_eq!((frame.len(), &frame[4..7]), (1_007, &[0x7D, 0xFF, 0xFC][..]), "{name}");
                [frame[1], frame[2], frame[3]]
            });
            assert_eq!(found, *want, "{name}");
        }
    }
}
