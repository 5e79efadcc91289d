//! What an elementary stream has of its own where a container does not hold its configuration: parameter sets in the byte
//! stream, headers on audio frames.

use crate::base::cursor::{Cursor, Short};

use super::aac::{self, Adts};
use super::entry::{Atom, Entry};
use super::esds::Stream;
use super::{Fault, NalCodec};
use crate::media::track::Audio;

/// How samples become an elementary stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elementary {
    Nal(Nal),
    Aac(Adts),
    Ac3,
    Eac3,
    Mpeg(MpegLayer),
}

/// Samples of NAL units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nal {
    pub codec: NalCodec,
    /// Bytes of the length before each.
    pub length_size: u8,
    /// Of the configuration, behind start codes of four bytes.
    pub parameter_sets: Vec<u8>,
}

/// MPEG-1 (ISO/IEC 11172-3), or its extension to lower rates (ISO/IEC 13818-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MpegLayer {
    One,
    Two,
}

impl Elementary {
    /// From a sample entry of a CMAF header. `None`: the codec has no elementary stream that transport streams carry, or the
    /// entry is damaged.
    pub fn of_entry(entry: &[u8]) -> Option<Elementary> {
        let mut cursor = Cursor::new(entry, 0);
        cursor.skip(4).ok()?;
        let kind: [u8; 4] = *cursor.take(4).ok()?.first_chunk()?;
        match &kind {
            b"avc1" | b"avc3" => nal(&Entry::visual(kind, cursor, 8).ok()?, b"avcC", avc),
            b"hvc1" | b"hev1" => nal(&Entry::visual(kind, cursor, 8).ok()?, b"hvcC", hevc),
            b"ac-3" => Some(Elementary::Ac3),
            b"ec-3" => Some(Elementary::Eac3),
            b"mp4a" => mpeg4_audio(&Entry::audio(kind, cursor, 8).ok()?).ok()?,
            _ => None,
        }
    }
}

/// Whether ADTS has a place for it, as far as that is known of a track: AAC Main, LC, SSR and LTP, also under SBR and PS; of
/// layouts, those with a number of three bits, and those that are spelt out.
pub fn adts_carries(codec: &str, audio: &Audio) -> bool {
    let is_plain = match codec.strip_prefix("mp4a.") {
        Some("66" | "67" | "68") => true,
        Some(object) => matches!(object.strip_prefix("40."), Some("1" | "2" | "3" | "4" | "5" | "29")),
        None => false,
    };
    is_plain && audio.channel_configuration < 8 && aac::has_index(audio.sample_rate)
}

fn nal(entry: &Entry<'_>, name: &[u8; 4], read: fn(&Atom<'_>) -> Result<Nal, Short>) -> Option<Elementary> {
    entry.find(name).and_then(|atom| read(&atom).ok()).map(Elementary::Nal)
}

/// `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §5.3.3.1).
fn avc(atom: &Atom<'_>) -> Result<Nal, Short> {
    let mut cursor = atom.cursor();
    cursor.skip(4)?;
    let length_size = (cursor.u8()? & 3) + 1;
    let mut parameter_sets = Vec::new();
    let sequence_sets = cursor.u8()? & 31;
    put_units(&mut cursor, sequence_sets.into(), &mut parameter_sets)?;
    let picture_sets = cursor.u8()?;
    put_units(&mut cursor, picture_sets.into(), &mut parameter_sets)?;
    Ok(Nal { codec: NalCodec::Avc, length_size, parameter_sets })
}

/// `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §8.3.3.1).
fn hevc(atom: &Atom<'_>) -> Result<Nal, Short> {
    let mut cursor = atom.cursor();
    cursor.skip(21)?;
    let length_size = (cursor.u8()? & 3) + 1;
    let mut parameter_sets = Vec::new();
    for _ in 0..cursor.u8()? {
        cursor.skip(1)?;
        let count = cursor.u16()?;
        put_units(&mut cursor, count, &mut parameter_sets)?;
    }
    Ok(Nal { codec: NalCodec::Hevc, length_size, parameter_sets })
}

/// The cursor bounds what is appended: a count alone allocates nothing.
fn put_units(cursor: &mut Cursor<'_>, count: u16, out: &mut Vec<u8>) -> Result<(), Short> {
    for _ in 0..count {
        let length = usize::from(cursor.u16()?);
        let unit = cursor.take(length)?;
        out.extend_from_slice(&[0, 0, 0, 1]);
        out.extend_from_slice(unit);
    }
    Ok(())
}

fn mpeg4_audio(entry: &Entry<'_>) -> Result<Option<Elementary>, Fault> {
    let atom = entry.configuration(b"esds")?;
    let stream = Stream::read(atom.cursor())?;
    Ok(match stream.object_type {
        0x69 => Some(Elementary::Mpeg(MpegLayer::Two)),
        0x6B => Some(Elementary::Mpeg(MpegLayer::One)),
        _ => aac::adts(stream.specific).map(Elementary::Aac),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::make;
    use proptest::prelude::*;

    #[test]
    fn configurations_become_elementary() {
        let avc = [&[1, 0x42, 0xC0, 0x1E, 0xFF, 0xE1, 0, 2, 0x67, 1][..], &[1, 0, 1, 0x68]].concat();
        let sets = vec![0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68];
        let nal = Nal { codec: NalCodec::Avc, length_size: 4, parameter_sets: sets };
        assert_eq!(Elementary::of_entry(&make::avc_entry(&avc, 16, 16)), Some(Elementary::Nal(nal)));

        let mut hevc = vec![0; 21];
        hevc.extend_from_slice(&[1, 2, 32, 0, 1, 0, 2, 0x40, 1, 33, 0, 1, 0, 1, 0x42]);
        let sets = vec![0, 0, 0, 1, 0x40, 1, 0, 0, 0, 1, 0x42];
        let nal = Nal { codec: NalCodec::Hevc, length_size: 2, parameter_sets: sets };
        assert_eq!(Elementary::of_entry(&make::hevc_entry(&hevc, 16, 16)), Some(Elementary::Nal(nal)));

        let entry = make::aac_entry(&[0x11, 0x90], 2);
        assert!(matches!(Elementary::of_entry(&entry), Some(Elementary::Aac(_))));
        assert_eq!(Elementary::of_entry(&make::av1_entry(&[0x81, 0, 0, 0], 16, 16)), None);
        // Cut short: nothing that could be decoded.
        assert_eq!(Elementary::of_entry(&make::avc_entry(&avc[..8], 16, 16)), None);
    }

    proptest! {
        #[test]
        fn nothing_from_outside_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..6_usize) {
            let mut entry = bytes;
            let kinds = [b"avc1", b"hvc1", b"mp4a", b"avc3", b"ac-3", b"hev1"];
            if let Some(place) = entry.get_mut(4..8) {
                place.copy_from_slice(kinds[kind]);
            }
            let _ = Elementary::of_entry(&entry);
            let _ = Elementary::of_entry(&make::avc_entry(&entry, 1, 1));
            let _ = Elementary::of_entry(&make::hevc_entry(&entry, 1, 1));
            let _ = Elementary::of_entry(&make::aac_entry(&entry, 1));
        }
    }
}
