//! A stored sample entry as CodecPrivateData of Smooth Streaming ([MS-SSTR] §2.2.2.5), from which clients make a header.

use crate::base::cursor::Cursor;

use super::Fault;
use super::entry::Entry;
use super::esds::Stream;

/// What a QualityLevel says of its codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateData {
    pub four_cc: &'static str,
    pub bytes: Vec<u8>,
    pub media: Media,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// Bytes of a NAL unit's length.
    Video {
        length_size: u8,
    },
    /// Of WAVEFORMATEX.
    Audio {
        tag: u16,
    },
    Text,
}

const WAVE_FORMAT_RAW_AAC: u16 = 255;
const WAVE_FORMAT_EXTENSIBLE: u16 = 65_534;
/// MEDIASUBTYPE_DOLBY_DDPLUS and MEDIASUBTYPE_DOLBY_AC3, as they lie in a WAVEFORMATEXTENSIBLE.
const DOLBY_DIGITAL_PLUS: [u8; 16] =
    [0xAF, 0x87, 0xFB, 0xA7, 0x02, 0x2D, 0xFB, 0x42, 0xA4, 0xD4, 0x05, 0xCD, 0x93, 0x84, 0x3B, 0xDD];
const DOLBY_DIGITAL: [u8; 16] =
    [0x2C, 0x80, 0x6D, 0xE0, 0x46, 0xDB, 0xCF, 0x11, 0xB4, 0xD1, 0x00, 0x80, 0x5F, 0x6C, 0xBB, 0xEA];
/// Samples of a frame, which the extension begins with.
const DOLBY_FRAME_SAMPLES: u16 = 1_536;

const START_CODE: [u8; 4] = [0, 0, 0, 1];
/// Of H.264 (ITU-T H.264 table 7-1) and HEVC (ITU-T H.265 table 7-1).
const HEVC_PARAMETER_SETS: [u8; 3] = [32, 33, 34];

/// Whether there may be any, from the `codecs` parameter alone.
pub fn is_expressible(codec: &str) -> bool {
    let entry = codec.split('.').next().unwrap_or_default();
    matches!(entry, "avc1" | "hvc1" | "hev1" | "ac-3" | "ec-3") || is_aac(codec)
}

/// AAC-LC, HE-AAC and HE-AACv2: what FourCC has names for.
fn is_aac(codec: &str) -> bool {
    matches!(codec, "mp4a.40.2" | "mp4a.40.5" | "mp4a.40.29")
}

/// `codec` is the `codecs` parameter of the track, `entry` its whole sample entry box; `None` where the protocol has no name
/// for the codec.
///
/// # Errors
/// An entry without what the codec needs: parameter sets, an AudioSpecificConfig.
pub fn private_data(codec: &str, entry: &[u8], channels: u16) -> Result<Option<PrivateData>, Fault> {
    if !is_expressible(codec) {
        return Ok(None);
    }
    let mut cursor = Cursor::new(entry, 0);
    cursor.skip(4)?;
    let kind: [u8; 4] = *cursor.take(4)?.first_chunk().expect("took four bytes");
    let length_size = |byte: u8| Media::Video { length_size: (byte & 3) + 1 };
    let found = match &kind {
        b"avc1" => {
            let entry = Entry::visual(kind, cursor, 0)?;
            let record = entry.configuration(b"avcC")?;
            let (bytes, length) = avc(record.cursor())?;
            PrivateData { four_cc: "H264", bytes, media: length_size(length) }
        }
        b"hvc1" | b"hev1" => {
            let entry = Entry::visual(kind, cursor, 0)?;
            let record = entry.configuration(b"hvcC")?;
            let (bytes, length) = hevc(record.cursor())?;
            let four_cc = if &kind == b"hvc1" { "HVC1" } else { "HEV1" };
            PrivateData { four_cc, bytes, media: length_size(length) }
        }
        b"mp4a" => {
            let entry = Entry::audio(kind, cursor, 0)?;
            let stream = Stream::read(entry.configuration(b"esds")?.cursor())?;
            if stream.specific.is_empty() {
                return Err(Fault::new(stream.specific_offset, "nothing", "an AudioSpecificConfig"));
            }
            let four_cc = if codec == "mp4a.40.2" { "AACL" } else { "AACH" };
            let media = Media::Audio { tag: WAVE_FORMAT_RAW_AAC };
            PrivateData { four_cc, bytes: stream.specific.to_vec(), media }
        }
        b"ac-3" | b"ec-3" => {
            let (four_cc, guid, name) = match &kind {
                b"ac-3" => ("AC-3", DOLBY_DIGITAL, b"dac3"),
                _ => ("EC-3", DOLBY_DIGITAL_PLUS, b"dec3"),
            };
            let entry = Entry::audio(kind, cursor, 0)?;
            let specific = entry.configuration(name)?.body;
            let mut bytes = DOLBY_FRAME_SAMPLES.to_le_bytes().to_vec();
            bytes.extend_from_slice(&speakers(channels).to_le_bytes());
            bytes.extend_from_slice(&guid);
            bytes.extend_from_slice(specific);
            PrivateData { four_cc, bytes, media: Media::Audio { tag: WAVE_FORMAT_EXTENSIBLE } }
        }
        _ => return Ok(None),
    };
    Ok(Some(found))
}

/// Parameter sets in Annex B form, and the byte that ends in lengthSizeMinusOne (ISO/IEC 14496-15 §5.3.3.1).
fn avc(record: Cursor<'_>) -> Result<(Vec<u8>, u8), Fault> {
    let mut record = record;
    record.skip(4)?;
    let length = record.u8()?;
    let mut bytes = Vec::new();
    let sequences = record.u8()? & 0x1F;
    put_units(&mut bytes, &mut record, u16::from(sequences))?;
    let pictures = record.u8()?;
    put_units(&mut bytes, &mut record, u16::from(pictures))?;
    if sequences == 0 || pictures == 0 {
        return Err(Fault::new(record.position(), "no parameter sets", "some"));
    }
    Ok((bytes, length))
}

/// The same of HEVC (§8.3.3.1): VPS, SPS and PPS, in this order.
fn hevc(record: Cursor<'_>) -> Result<(Vec<u8>, u8), Fault> {
    let mut record = record;
    record.skip(21)?;
    let length = record.u8()?;
    let mut sets = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..record.u8()? {
        let kind = record.u8()? & 0x3F;
        let count = record.u16()?;
        let mut unwanted = Vec::new();
        let place = HEVC_PARAMETER_SETS.iter().position(|&set| set == kind);
        let out = place.and_then(|at| sets.get_mut(at)).unwrap_or(&mut unwanted);
        put_units(out, &mut record, count)?;
    }
    if sets.iter().any(Vec::is_empty) {
        return Err(Fault::new(record.position(), "not all kinds of parameter sets", "VPS, SPS and PPS"));
    }
    Ok((sets.concat(), length))
}

fn put_units(out: &mut Vec<u8>, record: &mut Cursor<'_>, count: u16) -> Result<(), Fault> {
    for _ in 0..count {
        let size = record.u16()?;
        out.extend_from_slice(&START_CODE);
        out.extend_from_slice(record.take(usize::from(size))?);
    }
    Ok(())
}

/// dwChannelMask: front left and right, centre, low frequency, back left and right, side left and right.
fn speakers(channels: u16) -> u32 {
    match channels {
        1 => 0x4,
        2 => 0x3,
        3 => 0x7,
        4 => 0x33,
        5 => 0x37,
        6 => 0x3F,
        7 => 0x13F,
        _ => 0x63F,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::make;
    use proptest::prelude::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02X}")).collect()
    }

    #[test]
    fn configurations_become_private_data() {
        let avcc = [1, 0x4D, 0x40, 0x1E, 0xFF, 0xE1, 0, 3, 0x67, 0x4D, 0x40, 1, 0, 2, 0x68, 0xEE];
        let entry = make::avc_entry(&avcc, 640, 360);
        let data = private_data("avc1.4d401e", &entry, 0).unwrap().unwrap();
        assert_eq!((data.four_cc, data.media), ("H264", Media::Video { length_size: 4 }));
        assert_eq!(hex(&data.bytes), "00000001674D400000000168EE");

        let mut hvcc = vec![1; 21];
        hvcc.extend_from_slice(&[0xFF, 4]);
        for (kind, unit) in [(34, 0x44), (39, 0x4E), (32, 0x40), (33, 0x42)] {
            hvcc.extend_from_slice(&[0x80 | kind, 0, 1, 0, 2, unit, 1]);
        }
        let entry = make::hevc_entry(&hvcc, 640, 360);
        let data = private_data("hvc1.1.6.L60.90", &entry, 0).unwrap().unwrap();
        assert_eq!((data.four_cc, data.media), ("HVC1", Media::Video { length_size: 4 }));
        assert_eq!(hex(&data.bytes), "000000014001000000014201000000014401");

        let data = private_data("mp4a.40.2", &make::aac_entry(&[0x11, 0x90], 2), 2).unwrap().unwrap();
        assert_eq!((data.four_cc, hex(&data.bytes).as_str()), ("AACL", "1190"));
        assert_eq!(data.media, Media::Audio { tag: 255 });
        let data = private_data("mp4a.40.5", &make::aac_entry(&[0x2B, 0x11, 0x88, 0], 2), 2).unwrap().unwrap();
        assert_eq!((data.four_cc, hex(&data.bytes).as_str()), ("AACH", "2B118800"));

        let mut entry = Vec::new();
        super::super::entry::put_audio(&mut entry, b"ec-3", 2, 16, 48_000, |out| {
            crate::media::isobmff::write::boxed(out, b"dec3", |out| out.extend_from_slice(&[7, 0, 0x20, 0x0F, 0]));
        });
        let data = private_data("ec-3", &entry, 6).unwrap().unwrap();
        assert_eq!(hex(&data.bytes), "00063F000000AF87FBA7022DFB42A4D405CD93843BDD0700200F00");
        assert_eq!((data.four_cc, data.media), ("EC-3", Media::Audio { tag: 65_534 }));
    }

    #[test]
    fn what_has_no_name_or_is_broken() {
        for codec in ["vp09.00.10.08", "av01.0.00M.08", "opus", "fLaC", "mp4a.40.34", "mp4a.40.42", "wvtt", ""] {
            assert_eq!(private_data(codec, &[], 2).unwrap(), None, "{codec}");
        }
        let empty = make::avc_entry(&[1, 0x4D, 0x40, 0x1E, 0xFF, 0xE0, 0], 640, 360);
        assert!(private_data("avc1.4d401e", &empty, 0).is_err());
        assert!(private_data("mp4a.40.2", &make::aac_entry(&[], 2), 2).is_err());
        assert!(private_data("avc1.4d401e", &[], 0).is_err());
    }

    proptest! {
        #[test]
        fn anything_may_come(
            entry in prop::collection::vec(any::<u8>(), 0..200),
            kind in prop::sample::select(vec![("avc1.4d401e", *b"avc1", *b"avcC"), ("hvc1.1", *b"hvc1", *b"hvcC"), ("mp4a.40.2", *b"mp4a", *b"esds"), ("ec-3", *b"ec-3", *b"dec3")]),
        ) {
            let (codec, name, configuration) = kind;
            let mut whole = Vec::new();
            let inner = |out: &mut Vec<u8>| crate::media::isobmff::write::boxed(out, &configuration, |out| out.extend_from_slice(&entry));
            if codec.starts_with("mp4a") || codec == "ec-3" {
                super::super::entry::put_audio(&mut whole, &name, 2, 16, 48_000, inner);
            } else {
                super::super::entry::put_visual(&mut whole, &name, (1, 1), "", inner);
            }
            let _ = private_data(codec, &whole, 2);
            let _ = private_data(codec, &entry, 2);
        }
    }
}
