//! Sample entries for protocols that have none: made from the configuration records they carry instead (RTMP, MPEG-TS).
//!
//! [`super::describe`] reads what is made here, as it reads the entries of files, and is the one that checks records. The
//! fields of an entry that a record repeats (sizes, channels) are therefore hints, and may be 0.

use crate::media::isobmff::write::{boxed, full_boxed};

use super::bits::Bits;
use super::entry::{put_audio, put_visual};
use super::esds::Stream;
use super::mp3::FrameHeader;
use super::vp9::{KeyFrame, level_of_picture};

const OBJECT_MPEG4_AUDIO: u8 = 0x40;

/// `avc1` of an AVCDecoderConfigurationRecord (ISO/IEC 14496-15 §5.3.3.1).
pub fn avc_entry(record: &[u8], width: u16, height: u16) -> Vec<u8> {
    visual(b"avc1", (width, height), b"avcC", record)
}

/// `hvc1` of an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 §8.3.3.1).
pub fn hevc_entry(record: &[u8], width: u16, height: u16) -> Vec<u8> {
    visual(b"hvc1", (width, height), b"hvcC", record)
}

/// `av01` of an AV1CodecConfigurationRecord (AV1 Codec ISO Media File Format Binding §2.3.3).
pub fn av1_entry(record: &[u8], width: u16, height: u16) -> Vec<u8> {
    visual(b"av01", (width, height), b"av1C", record)
}

/// `vp09` of a VPCodecConfigurationRecord, with or without version and flags of the box before it (VP Codec ISO Media File
/// Format Binding §2.2): encoders send either. A record that begins like the box would be of bit depth 0.
pub fn vp9_entry(record: &[u8], width: u16, height: u16) -> Vec<u8> {
    match record.strip_prefix(&[1, 0, 0, 0]) {
        Some(_) => visual(b"vp09", (width, height), b"vpcC", record),
        None => visual(b"vp09", (width, height), b"vpcC", &[&[1, 0, 0, 0], record].concat()),
    }
}

/// `vp09` of a key frame, where nothing else says what the stream is (Matroska): profile, bit depth and size are the
/// frame's, `colour` is primaries, transfer and matrix of ITU-T H.273, and whether the range is full. `None` if it is none.
pub fn vp9_entry_of_frame(frame: &[u8], colour: (u8, u8, u8, bool)) -> Option<Vec<u8>> {
    let key = KeyFrame::read(frame)?;
    let (primaries, transfer, matrix, is_full) = colour;
    let level = level_of_picture(key.width, key.height);
    // 4:2:0 beside luma, or 4:4:4: profiles 1 and 3 have more, which only decoders need to tell apart.
    let chroma = if key.profile & 1 == 0 { 1 } else { 3 };
    let packed = key.bit_depth << 4 | chroma << 1 | u8::from(is_full);
    let record = [key.profile, level, packed, primaries, transfer, matrix, 0, 0];
    let side = |side: u32| u16::try_from(side).unwrap_or(0);
    Some(vp9_entry(&record, side(key.width), side(key.height)))
}

/// `mp4a` of an AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1). `channels` counts only where the configuration leaves them
/// to others.
pub fn aac_entry(config: &[u8], channels: u16) -> Vec<u8> {
    audio(b"mp4a", channels, 0, &esds(OBJECT_MPEG4_AUDIO, config))
}

/// `mp4a` of MPEG audio layer III, by its first frame. `None` if that is not a frame's beginning.
pub fn mp3_entry(frame: &[u8]) -> Option<Vec<u8>> {
    let header = FrameHeader::read(frame)?;
    Some(audio(b"mp4a", header.channels, header.sample_rate, &esds(header.object_type(), &[])))
}

/// `Opus` of an identification header (RFC 7845 §5.1), whose fields are little-endian there and big-endian in `dOps`
/// (Encapsulation of Opus in ISO Base Media File Format §4.3.2). `None` if it is cut short or of another version.
pub fn opus_entry(head: &[u8]) -> Option<Vec<u8>> {
    let body = head.strip_prefix(b"OpusHead")?;
    let (&[version, channels, skip_low, skip_high, a, b, c, d, gain_low, gain_high, family], mapping) =
        body.split_first_chunk()?;
    // The upper half of the version is the incompatible one.
    if version >> 4 != 0 || family != 0 && mapping.len() < 2 + usize::from(channels) {
        return None;
    }
    let mut configuration = Vec::new();
    boxed(&mut configuration, b"dOps", |out| {
        out.extend_from_slice(&[0, channels, skip_high, skip_low, d, c, b, a, gain_high, gain_low, family]);
        if family != 0 {
            out.extend_from_slice(&mapping[..2 + usize::from(channels)]);
        }
    });
    Some(audio(b"Opus", u16::from(channels), 48_000, &configuration))
}

/// `fLaC` of a stream's header: the signature and metadata blocks (RFC 9639 §6), or STREAMINFO alone. `None` if STREAMINFO
/// is not there.
pub fn flac_entry(header: &[u8]) -> Option<Vec<u8>> {
    let blocks = header.strip_prefix(b"fLaC").unwrap_or(header);
    let info: &[u8; STREAMINFO_SIZE] = match blocks.len() {
        STREAMINFO_SIZE => blocks.first_chunk()?,
        _ => {
            let (&[kind, high, middle, low], rest) = blocks.split_first_chunk()?;
            ((kind & 0x7F, [high, middle, low]) == (0, [0, 0, STREAMINFO_SIZE as u8])).then_some(())?;
            rest.first_chunk()?
        }
    };
    let mut configuration = Vec::new();
    full_boxed(&mut configuration, b"dfLa", 0, 0, |out| {
        out.extend_from_slice(&[0x80, 0, 0, STREAMINFO_SIZE as u8]); // the last block
        out.extend_from_slice(info);
    });
    Some(audio(b"fLaC", 2, 0, &configuration))
}

const STREAMINFO_SIZE: usize = 34;

/// `ac-3` of a syncframe (ETSI TS 102 366 §4.3 and annex F.4). `None` if that is not a syncframe of AC-3.
pub fn ac3_entry(frame: &[u8]) -> Option<Vec<u8>> {
    let mut bits = Bits::new(frame);
    (bits.take(16)? == SYNCWORD).then_some(())?;
    bits.skip(16)?; // crc1
    let (fscod, frame_size) = (bits.take(2)?, bits.take(6)?);
    let (bsid, bsmod, acmod) = (bits.take(5)?, bits.take(3)?, bits.take(3)?);
    (fscod < 3 && frame_size < 38 && bsid <= 10).then_some(())?;
    if acmod & 1 != 0 && acmod != 1 {
        bits.skip(2)?; // cmixlev
    }
    if acmod & 4 != 0 {
        bits.skip(2)?; // surmixlev
    }
    if acmod == 2 {
        bits.skip(2)?; // dsurmod
    }
    let low = bits.take(1)?;
    let packed = fscod << 22 | bsid << 17 | bsmod << 14 | acmod << 11 | low << 10 | (frame_size / 2) << 5;
    let mut configuration = Vec::new();
    boxed(&mut configuration, b"dac3", |out| out.extend_from_slice(&packed.to_be_bytes()[1..]));
    Some(audio(b"ac-3", 2, 0, &configuration))
}

/// `ec-3` of a sample: the syncframes of one independent substream and what depends on it (ETSI TS 102 366 annexes E.1 and
/// F.6). `None` if it does not begin with a syncframe of E-AC-3. The data rate is left at 0, which is unknown: it would
/// have to change with every sample.
pub fn eac3_entry(sample: &[u8]) -> Option<Vec<u8>> {
    let first = Eac3Frame::read(sample)?;
    let (mut dependents, mut locations) = (0, 0);
    let mut rest = sample.get(first.size..).unwrap_or_default();
    while let Some(frame) = Eac3Frame::read(rest).filter(|frame| frame.dependent) {
        dependents = (dependents + 1).min(15);
        locations |= frame.locations;
        rest = rest.get(frame.size..).unwrap_or_default();
    }
    // data_rate 13, num_ind_sub 3 | fscod 2, bsid 5, reserved 1, asvc 1, bsmod 3, acmod 3, lfeon 1, reserved 3,
    // num_dep_sub 4 | chan_loc 9 or reserved 1
    let mut packed = first.fscod << 22 | first.bsid << 17 | first.acmod << 9 | first.low << 8 | dependents << 1;
    if dependents > 0 {
        packed |= locations >> 8;
    }
    let mut configuration = Vec::new();
    boxed(&mut configuration, b"dec3", |out| {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&packed.to_be_bytes()[1..]);
        if dependents > 0 {
            out.push(locations as u8);
        }
    });
    Some(audio(b"ec-3", 2, 0, &configuration))
}

const SYNCWORD: u32 = 0x0B77;

/// What is used of an E-AC-3 syncframe (§E.1.2).
struct Eac3Frame {
    dependent: bool,
    /// In bytes, at least 2.
    size: usize,
    fscod: u32,
    bsid: u32,
    acmod: u32,
    low: u32,
    /// `chan_loc` of annex F.6.2.14: of `chanmap`, what is not in the independent substream already.
    locations: u32,
}

impl Eac3Frame {
    fn read(bytes: &[u8]) -> Option<Eac3Frame> {
        let mut bits = Bits::new(bytes);
        (bits.take(16)? == SYNCWORD).then_some(())?;
        let stream_type = bits.take(2)?;
        bits.skip(3)?; // substreamid
        let size = (bits.take(11)? as usize + 1) * 2;
        let fscod = bits.take(2)?;
        bits.skip(2)?; // numblkscod, or fscod2
        let (acmod, low, bsid) = (bits.take(3)?, bits.take(1)?, bits.take(5)?);
        (stream_type < 2 && fscod < 3 && (11..=16).contains(&bsid)).then_some(())?;
        for _ in 0..if acmod == 0 { 2 } else { 1 } {
            bits.skip(5)?; // dialnorm
            if bits.flag()? {
                bits.skip(8)?; // compr
            }
        }
        let mut locations = 0;
        if stream_type == 1 && bits.flag()? {
            // Bit 0 of chanmap is the most significant: 5 to 12 are the first eight locations, 14 is the ninth.
            let map = bits.take(16)?;
            let at = |bit: u32| map >> (15 - bit) & 1;
            locations = (0..8).fold(at(14) << 8, |locations, location| locations | at(5 + location) << location);
        }
        Some(Eac3Frame { dependent: stream_type == 1, size, fscod, bsid, acmod, low, locations })
    }
}

fn visual(kind: &[u8; 4], size: (u16, u16), configuration: &[u8; 4], record: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(96 + record.len());
    put_visual(&mut out, kind, size, "", |out| boxed(out, configuration, |out| out.extend_from_slice(record)));
    out
}

fn audio(kind: &[u8; 4], channels: u16, sample_rate: u32, configuration: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(36 + configuration.len());
    put_audio(&mut out, kind, channels, 16, sample_rate, |out| out.extend_from_slice(configuration));
    out
}

fn esds(object_type: u8, specific: &[u8]) -> Vec<u8> {
    let stream = Stream {
        object_type,
        offset: 0,
        buffer_size: 0,
        bitrate_max: 0,
        bitrate_average: 0,
        specific,
        specific_offset: 0,
    };
    stream.write()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixtures::{self, Fixture, bytes};
    use super::super::{Description, describe};
    use super::*;
    use crate::media::track::Details;

    /// The body of the first box of a kind in an entry.
    fn configuration(entry: &[u8], kind: &[u8; 4]) -> Vec<u8> {
        let at = entry.windows(4).position(|window| window == kind).unwrap();
        let size = u32::from_be_bytes(*entry[at - 4..].first_chunk().unwrap()) as usize;
        entry[at + 4..at - 4 + size].to_vec()
    }

    /// Without what only files have: buffer sizes and bit rates, and parameter sets in the samples as well.
    fn essence(entry: &[u8], sample: &[u8]) -> Description {
        let description = describe("test", entry, 0, sample).unwrap();
        let codec = description.codec.replace("hev1", "hvc1");
        Description { codec, sample_entry: Vec::new(), ..description }
    }

    #[test]
    fn entries_describe_as_those_of_files_do() {
        type Make = fn(&[u8]) -> Option<Vec<u8>>;
        let cases: [(&Fixture, &[u8; 4], Make); 8] = [
            (&fixtures::H264, b"avcC", |record| Some(avc_entry(record, 0, 0))),
            (&fixtures::HEVC, b"hvcC", |record| Some(hevc_entry(record, 0, 0))),
            (&fixtures::AV1, b"av1C", |record| Some(av1_entry(record, 0, 0))),
            (&fixtures::VP9, b"vpcC", |record| Some(vp9_entry(record, 0, 0))),
            (&fixtures::VP9, b"vpcC", |record| Some(vp9_entry(&record[4..], 0, 0))),
            (&fixtures::FLAC, b"dfLa", |record| flac_entry(&[b"fLaC", &record[4..]].concat())),
            (&fixtures::FLAC, b"dfLa", |record| flac_entry(&record[8..])),
            (&fixtures::AAC51, b"esds", |esds| {
                let at = esds.windows(2).position(|window| window == [0x80, 0x05]).unwrap();
                Some(aac_entry(&esds[at + 2..at + 7], 2))
            }),
        ];
        for (fixture, kind, make) in cases {
            let (entry, sample) = (bytes(fixture.entry), bytes(fixture.sample));
            let made = make(&configuration(&entry, kind)).unwrap();
            assert_eq!(essence(&made, &sample), essence(&entry, &sample), "{}", kind.escape_ascii());
        }
        for (fixture, make) in [
            (&fixtures::AC3, ac3_entry as Make),
            (&fixtures::EAC3, eac3_entry),
            (&fixtures::MP3, mp3_entry),
            (&fixtures::MP3_22, mp3_entry),
        ] {
            let (entry, sample) = (bytes(fixture.entry), bytes(fixture.sample));
            assert_eq!(essence(&make(&sample).unwrap(), &sample), essence(&entry, &sample));
            assert_eq!(make(&sample[1..]), None);
        }
    }

    #[test]
    fn opus_headers_turn_their_bytes() {
        let mut head = b"OpusHead\x01\x02\x38\x01\x80\xBB\0\0\x01\x02\0".to_vec();
        let entry = opus_entry(&head).unwrap();
        assert_eq!(configuration(&entry, b"dOps"), b"\0\x02\x01\x38\0\0\xBB\x80\x02\x01\0");
        let description = describe("test", &entry, 0, &[]).unwrap();
        assert_eq!((description.codec.as_str(), description.priming_hint), ("Opus", Some(312)));
        head[18] = 1;
        assert_eq!(opus_entry(&head), None, "a mapping that is not there");
        head.extend_from_slice(&[1, 1, 0, 1]);
        assert!(describe("test", &opus_entry(&head).unwrap(), 0, &[]).is_ok());
    }

    #[test]
    fn dependent_substreams_add_channels() {
        // 7.1: an independent substream of 5.1, and a dependent one with the rear pair in place of the surrounds.
        let frame = |dependent: bool, acmod: u32, low: u32, map: Option<u32>| {
            let mut bits = super::super::bits::tests::Writer::default();
            bits.put(u64::from(SYNCWORD), 16).put(u64::from(dependent), 2).put(0, 3).put(15, 11).put(0, 2).put(3, 2);
            bits.put(u64::from(acmod), 3).put(u64::from(low), 1).put(16, 5).put(31, 5).put(0, 1);
            if let Some(map) = map {
                bits.put(1, 1).put(u64::from(map), 16);
            }
            let mut frame = bits.bytes();
            frame.resize(32, 0);
            frame
        };
        let sample = [frame(false, 7, 1, None), frame(true, 6, 0, Some(1 << 12 | 1 << 11 | 1 << 9))].concat();
        let description = describe("test", &eac3_entry(&sample).unwrap(), 0, &[]).unwrap();
        let Details::Audio(audio) = description.details else { panic!("not audio") };
        assert_eq!((audio.channels, audio.dolby_channels), (8, Some(0xFA01)));
    }

    proptest! {
        #[test]
        fn random_frames_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), head: bool) {
            let dolby = if head { [&[0x0B, 0x77], &bytes[..]].concat() } else { bytes.clone() };
            let opus = [b"OpusHead", &bytes[..]].concat();
            for entry in [ac3_entry(&dolby), eac3_entry(&dolby), mp3_entry(&bytes), opus_entry(&opus), flac_entry(&bytes),
                Some(avc_entry(&bytes, 1, 1)), Some(vp9_entry(&bytes, 1, 1)), Some(aac_entry(&bytes, 2))].into_iter().flatten() {
                let _ = describe("test", &entry, 0, &bytes);
            }
        }
    }
}
