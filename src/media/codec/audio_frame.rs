//! Audio that frames itself: ADTS (ISO/IEC 13818-7 §6.2), AC-3 and E-AC-3 syncframes (ETSI TS 102 366), MPEG audio frames
//! (ISO/IEC 11172-3 §2.4.2.3). What a header says, and the sample entry that follows from it.

use bytes::Bytes;

use crate::media::isobmff::write::boxed;

use super::bits::Bits;
use super::esds::Stream;
use super::{Error, describe};

/// Which kind of frames to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed {
    Adts,
    /// AC-3 and E-AC-3: every syncframe says which it is.
    Dolby,
    Mpeg,
}

/// One frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Of the whole frame, in bytes.
    pub size: usize,
    /// Bytes at the start that do not go into a sample.
    pub stripped: usize,
    pub sample_rate: u32,
    /// Audio samples the frame decodes to, at `sample_rate`; 0 if it only adds to the frame before it (substreams of
    /// E-AC-3).
    pub samples: u32,
    pub config: Config,
}

/// What decoders must know beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Config {
    /// Object type, index of the sampling frequency, channelConfiguration.
    Aac {
        object_type: u8,
        rate: u8,
        channels: u8,
    },
    Ac3 {
        rate: u8,
        bsid: u8,
        bsmod: u8,
        acmod: u8,
        low: bool,
        bit_rate: u8,
    },
    /// `locations` is `chan_loc` (annex F.6) of what the dependent substreams add.
    Eac3 {
        rate: u8,
        bsid: u8,
        acmod: u8,
        low: bool,
        dependents: u8,
        locations: u16,
    },
    /// The first four bytes of a frame, without what differs from frame to frame.
    Mpeg {
        header: [u8; 4],
    },
    /// RFC 7845; families 0 and 1 only.
    Opus {
        channels: u8,
        pre_skip: u16,
    },
}

/// What stands at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Too few bytes to tell.
    More,
    Frame(Header),
    /// No frame begins here.
    Junk,
    Unsupported(&'static str),
}

const SAMPLING_FREQUENCIES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
const DOLBY_RATES: [u32; 3] = [48_000, 44_100, 32_000];
/// Kilobits a second by half of `frmsizecod` (ETSI TS 102 366 table 4.13).
const AC3_BIT_RATES: [usize; 19] =
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
/// Kilobits a second of layer III by `bitrate_index`, MPEG-1 and MPEG-2.
const LAYER3_BIT_RATES: [[usize; 15]; 2] = [
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];
/// A syncframe of E-AC-3 has one to six blocks of 256 samples; a sample of the file format has six (annex F.1).
pub const EAC3_SAMPLES: u32 = 6 * 256;

impl Framed {
    /// Looks at the header at the start of `bytes`.
    pub fn find(self, bytes: &[u8]) -> Found {
        match self {
            Framed::Adts => adts(bytes),
            Framed::Dolby => dolby(bytes),
            Framed::Mpeg => mpeg(bytes),
        }
    }
}

fn adts(bytes: &[u8]) -> Found {
    match *bytes {
        [first, ..] if first != 0xFF => return Found::Junk,
        // syncword, layer
        [_, second, ..] if second & 0xF6 != 0xF0 => return Found::Junk,
        [_, _, _, _, _, _, _, ..] => {}
        _ => return Found::More,
    }
    let stripped = if bytes[1] & 1 == 1 { 7 } else { 9 };
    let rate = bytes[2] >> 2 & 15;
    let channels = (bytes[2] & 1) << 2 | bytes[3] >> 6;
    let size = usize::from(bytes[3] & 3) << 11 | usize::from(bytes[4]) << 3 | usize::from(bytes[5]) >> 5;
    let Some(&sample_rate) = SAMPLING_FREQUENCIES.get(usize::from(rate)) else { return Found::Junk };
    if size <= stripped {
        return Found::Junk;
    }
    if bytes[6] & 3 != 0 {
        return Found::Unsupported("ADTS frames of several raw data blocks");
    }
    if channels == 0 {
        return Found::Unsupported("AAC with its channel layout spelt out in the frames (channel_configuration 0)");
    }
    let config = Config::Aac { object_type: (bytes[2] >> 6) + 1, rate, channels };
    Found::Frame(Header { size, stripped, sample_rate, samples: 1024, config })
}

fn dolby(bytes: &[u8]) -> Found {
    match *bytes {
        [first, ..] if first != 0x0B => return Found::Junk,
        [_, second, ..] if second != 0x77 => return Found::Junk,
        _ if bytes.len() < 16 => return Found::More,
        _ => {}
    }
    let found = match bytes[5] >> 3 {
        0..=8 => ac3(bytes),
        11..=16 => eac3(bytes),
        _ => None,
    };
    found.map_or(Found::Junk, Found::Frame)
}

/// `syncinfo` and `bsi` (§4.3.1, §4.3.2).
fn ac3(bytes: &[u8]) -> Option<Header> {
    let mut bits = Bits::new(bytes.get(4..)?);
    let (rate, size_code) = (bits.take(2)? as usize, bits.take(6)? as usize);
    let (sample_rate, bit_rate) = (*DOLBY_RATES.get(rate)?, *AC3_BIT_RATES.get(size_code / 2)?);
    let size = match rate {
        0 => 4 * bit_rate,
        1 => 2 * (bit_rate * 96_000 / 44_100 + size_code % 2),
        _ => 6 * bit_rate,
    };
    let (bsid, bsmod, acmod) = (bits.take(5)? as u8, bits.take(3)? as u8, bits.take(3)? as u8);
    if acmod & 1 != 0 && acmod != 1 {
        bits.skip(2)?; // cmixlev
    }
    if acmod & 4 != 0 {
        bits.skip(2)?; // surmixlev
    }
    if acmod == 2 {
        bits.skip(2)?; // dsurmod
    }
    let low = bits.flag()?;
    let config = Config::Ac3 { rate: rate as u8, bsid, bsmod, acmod, low, bit_rate: (size_code / 2) as u8 };
    Some(Header { size, stripped: 0, sample_rate, samples: 1536, config })
}

/// `syncinfo` and the beginning of `bsi` (§E.1.2).
fn eac3(bytes: &[u8]) -> Option<Header> {
    let mut bits = Bits::new(bytes.get(2..)?);
    let (kind, substream) = (bits.take(2)?, bits.take(3)?);
    let size = (bits.take(11)? as usize + 1) * 2;
    let rate = bits.take(2)? as u8;
    let (sample_rate, blocks) = match rate {
        // Half the rate, always six blocks.
        3 => (DOLBY_RATES.get(bits.take(2)? as usize)? / 2, 6),
        _ => (DOLBY_RATES[usize::from(rate)], [1, 2, 3, 6][bits.take(2)? as usize]),
    };
    let (acmod, low, bsid) = (bits.take(3)? as u8, bits.flag()?, bits.take(5)? as u8);
    let is_first = kind != 1 && substream == 0;
    let mut locations = 0;
    if kind == 1 {
        bits.skip(5)?; // dialnorm
        // compre
        if bits.flag()? {
            bits.skip(8)?;
        }
        if acmod == 0 {
            bits.skip(5)?;
            if bits.flag()? {
                bits.skip(8)?;
            }
        }
        // chanmape: table E.1.4 counts from the most significant bit, chan_loc from the least.
        if bits.flag()? {
            let map = bits.take(16)?;
            let known = (0..8).filter(|location| map >> (15 - (5 + location)) & 1 == 1);
            locations = known.fold(0, |locations, location| locations | 1 << location) | (map >> 1 & 1) << 8;
        }
    }
    if size < 16 || kind == 3 {
        return None;
    }
    let dependents = u8::from(kind == 1);
    let config = Config::Eac3 { rate, bsid, acmod, low, dependents, locations: locations as u16 };
    Some(Header { size, stripped: 0, sample_rate, samples: if is_first { blocks * 256 } else { 0 }, config })
}

fn mpeg(bytes: &[u8]) -> Found {
    let Some(&header) = bytes.first_chunk::<4>() else {
        return if bytes.first().is_some_and(|&first| first != 0xFF) { Found::Junk } else { Found::More };
    };
    let word = u32::from_be_bytes(header);
    let (version, layer) = (word >> 19 & 3, word >> 17 & 3);
    let (index, rate) = ((word >> 12 & 15) as usize, (word >> 10 & 3) as usize);
    if word >> 21 != 0x7FF || version == 1 || layer == 0 || index == 15 || rate == 3 {
        return Found::Junk;
    }
    if layer != 1 {
        return Found::Unsupported("MPEG audio layer I or II (MP2)");
    }
    if index == 0 {
        return Found::Unsupported("MPEG audio of free format");
    }
    let is_mpeg1 = version == 3;
    let halvings = if is_mpeg1 { 0 } else { 2 - version / 2 };
    let sample_rate = [44_100_u32, 48_000, 32_000][rate] >> halvings;
    let bit_rate = LAYER3_BIT_RATES[usize::from(!is_mpeg1)][index] * 1000;
    let samples = if is_mpeg1 { 1152 } else { 576 };
    let size = samples as usize / 8 * bit_rate / sample_rate as usize + (word >> 9 & 1) as usize;
    // Version, layer, sampling frequency and whether there is one channel.
    let mode = if word >> 6 & 3 == 3 { 0xC0 } else { 0 };
    let config = Config::Mpeg { header: [0xFF, header[1] | 1, header[2] & 0x0C | 0x10, mode] };
    Found::Frame(Header { size, stripped: 0, sample_rate, samples, config })
}

impl Config {
    /// With what a substream adds to the frame.
    pub fn with(self, substream: Config) -> Config {
        match (self, substream) {
            (
                Config::Eac3 { rate, bsid, acmod, low, dependents, locations },
                Config::Eac3 { dependents: 1, locations: added, .. },
            ) => Config::Eac3 {
                rate,
                bsid,
                acmod,
                low,
                dependents: dependents.saturating_add(1).min(15),
                locations: locations | added,
            },
            _ => self,
        }
    }

    /// A whole sample entry. `bit_rate` is in bits a second and goes where an entry must state one.
    pub fn sample_entry(self, bit_rate: u32) -> Result<Bytes, Error> {
        let mpeg4 = |object_type, specific: &[u8]| {
            let (buffer_size, bitrate_max, bitrate_average) = (0, 0, 0);
            let (offset, specific_offset) = (0, 0);
            Stream { object_type, offset, buffer_size, bitrate_max, bitrate_average, specific, specific_offset }.write()
        };
        let mut first = Vec::new();
        let (kind, channels, configuration) = match self {
            Config::Aac { object_type, rate, channels } => {
                let config = u16::from(object_type) << 11 | u16::from(rate) << 7 | u16::from(channels) << 3;
                (b"mp4a", channels, mpeg4(0x40, &config.to_be_bytes()))
            }
            Config::Ac3 { rate, bsid, bsmod, acmod, low, bit_rate } => {
                // AC3SpecificBox (annex F.4): 24 bits.
                let fields = [(rate, 2), (bsid, 5), (bsmod, 3), (acmod, 3), (u8::from(low), 1), (bit_rate, 5)];
                let word = fields.iter().fold(0_u32, |word, &(value, bits)| word << bits | u32::from(value)) << 5;
                (b"ac-3", 2, leaf(b"dac3", &word.to_be_bytes()[1..]))
            }
            Config::Eac3 { rate, bsid, acmod, low, dependents, locations } => {
                // EC3SpecificBox (annex F.6): one independent substream.
                let bit_rate = (bit_rate / 1000).min(0x1FFF) as u16;
                let mut body = (bit_rate << 3).to_be_bytes().to_vec();
                body.push(rate << 6 | bsid << 1);
                body.push(acmod << 1 | u8::from(low));
                match dependents {
                    0 => body.push(0),
                    _ => body.extend_from_slice(&(u16::from(dependents) << 9 | locations & 0x1FF).to_be_bytes()),
                }
                (b"ec-3", 2, leaf(b"dec3", &body))
            }
            Config::Mpeg { header } => {
                first.extend_from_slice(&header);
                (b"mp4a", 2, mpeg4(if header[1] & 0x18 == 0x18 { 0x6B } else { 0x69 }, &[]))
            }
            Config::Opus { channels, pre_skip } => {
                // OpusSpecificBox: version 0, no gain.
                let mut body = vec![0, channels];
                body.extend_from_slice(&pre_skip.to_be_bytes());
                body.extend_from_slice(&48_000_u32.to_be_bytes());
                body.extend_from_slice(&[0, 0]);
                match channels {
                    0..=2 => body.push(0),
                    _ => {
                        let at = usize::from(channels.min(8)) - 1;
                        body.extend_from_slice(&[1, OPUS_STREAMS[at].0, OPUS_STREAMS[at].1]);
                        body.extend_from_slice(OPUS_MAPPING[at]);
                    }
                }
                (b"Opus", channels, leaf(b"dOps", &body))
            }
        };
        let mut entry = Vec::with_capacity(36 + configuration.len());
        boxed(&mut entry, kind, |out| {
            out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]); // reserved, data_reference_index
            out.extend_from_slice(&[0; 8]);
            out.extend_from_slice(&[0, channels, 0, 16, 0, 0, 0, 0]); // channelcount, samplesize
            out.extend_from_slice(&[0; 4]); // The rate is filled in from the configuration.
            out.extend_from_slice(&configuration);
        });
        Ok(describe("frame header", &entry, 0, &first)?.sample_entry.into())
    }
}

/// Streams and coupled streams of mapping family 1 by channels, and the mapping (Opus in MPEG-TS, table 4-3 of ETSI TS 103
/// 491; RFC 7845 §5.1.1.2).
const OPUS_STREAMS: [(u8, u8); 8] = [(1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (4, 2), (5, 2), (5, 3)];
const OPUS_MAPPING: [&[u8]; 8] = [
    &[0],
    &[0, 1],
    &[0, 2, 1],
    &[0, 1, 2, 3],
    &[0, 4, 1, 2, 3],
    &[0, 4, 1, 2, 3, 5],
    &[0, 4, 1, 2, 3, 5, 6],
    &[0, 6, 1, 2, 3, 4, 5, 7],
];

fn leaf(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + body.len());
    boxed(&mut out, kind, |out| out.extend_from_slice(body));
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::codec::fixtures::{self as from, bytes};

    fn header(framed: Framed, bytes: &[u8]) -> Header {
        match framed.find(bytes) {
            Found::Frame(header) => header,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn headers() {
        // AAC-LC, 44.1 kHz, stereo, 371 bytes.
        let adts = [0xFF, 0xF1, 0x50, 0x80, 0x2E, 0x7F, 0xFC];
        let found = header(Framed::Adts, &adts);
        assert_eq!((found.size, found.stripped, found.sample_rate, found.samples), (371, 7, 44_100, 1024));
        let entry = describe("entry", &found.config.sample_entry(0).unwrap(), 0, &[]).unwrap();
        assert_eq!(entry.codec, "mp4a.40.2");
        assert_eq!(Framed::Adts.find(&adts[..6]), Found::More);
        assert_eq!(Framed::Adts.find(&[0xFF, 0xF3]), Found::Junk);
        // MPEG-1 layer III, 128 kb/s, 44.1 kHz, joint stereo; MPEG-2 layer III, 64 kb/s, 22.05 kHz, mono.
        for (frame, size, rate, samples, codec) in [
            ([0xFF, 0xFB, 0x90, 0x64], 417, 44_100, 1152, "mp4a.6B"),
            ([0xFF, 0xF3, 0x80, 0xC4], 208, 22_050, 576, "mp4a.69"),
        ] {
            let found = header(Framed::Mpeg, &frame);
            assert_eq!((found.size, found.sample_rate, found.samples), (size, rate, samples));
            let entry = found.config.sample_entry(0).unwrap();
            assert!(entry.windows(4).any(|window| window == b"esds"));
            assert_eq!(describe("entry", &entry, 0, &frame).unwrap().codec, codec);
        }
        assert!(matches!(Framed::Mpeg.find(&[0xFF, 0xFD, 0x90, 0x64]), Found::Unsupported(_)));
    }

    #[test]
    fn dolby_entries_say_what_the_source_said() {
        for (fixture, name) in [(from::AC3, b"dac3"), (from::EAC3, b"dec3")] {
            let entry = bytes(fixture.entry);
            let found = header(Framed::Dolby, &bytes(fixture.sample));
            let bit_rate = (found.size as u64 * 8 * u64::from(found.sample_rate) / 1536) as u32;
            let made = found.config.sample_entry(bit_rate).unwrap();
            let part = |entry: &[u8]| {
                let at = entry.windows(4).position(|window| window == name).unwrap();
                let size = u32::from_be_bytes(*entry[at - 4..].first_chunk().unwrap()) as usize;
                entry[at..at - 4 + size].to_vec()
            };
            assert_eq!(part(&made), part(&entry), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn opus_layouts_are_described() {
        for channels in 1..=8 {
            let entry = Config::Opus { channels, pre_skip: 312 }.sample_entry(0).unwrap();
            assert_eq!(describe("entry", &entry, 0, &[]).unwrap().codec, "Opus");
        }
    }

    proptest! {
        #[test]
        fn nothing_from_outside_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..40), sync in 0..4) {
            let start: &[u8] = [&[][..], &[0x0B, 0x77], &[0xFF, 0xF1], &[0xFF, 0xFB]][sync as usize];
            bytes.splice(0..0, start.iter().copied());
            for framed in [Framed::Adts, Framed::Dolby, Framed::Mpeg] {
                if let Found::Frame(header) = framed.find(&bytes) {
                    prop_assert!(header.size > header.stripped);
                    let _ = header.config.sample_entry(u32::MAX);
                }
            }
        }
    }
}
