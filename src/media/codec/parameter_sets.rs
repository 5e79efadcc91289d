//! Decoder configuration records and sample entries from parameter sets that come in band (ISO/IEC 14496-15 §5.3.3.1 and
//! §8.3.3.1): MPEG-TS has no others.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::media::isobmff::write::boxed;

use super::bits::Bits;
use super::{Error, NalCodec, describe};

/// The parameter sets of a bitstream, by kind and identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSets {
    codec: NalCodec,
    /// NAL unit type and identifier.
    units: BTreeMap<(u8, u32), Bytes>,
}

/// Larger ones are not parameter sets: with all scaling lists and both HRDs given, real ones stay below 1 KB.
const UNIT_BYTES_MAX: usize = 8 * 1024;
/// Of one kind; a record counts H.264's sequence parameter sets in five bits.
const UNITS_MAX: usize = 31;

// nal_unit_type of ITU-T H.264 table 7-1.
const AVC_SPS: u8 = 7;
const AVC_PPS: u8 = 8;
// nal_unit_type of ITU-T H.265 table 7-1.
const HEVC_VPS: u8 = 32;
const HEVC_SPS: u8 = 33;
const HEVC_PPS: u8 = 34;

/// Names the place in messages: there is no file.
const IN_BAND: &str = "parameter sets";

impl ParameterSets {
    pub fn new(codec: NalCodec) -> ParameterSets {
        ParameterSets { codec, units: BTreeMap::new() }
    }

    /// Takes a NAL unit, header included, if it is a parameter set of the base layer that can be told from others. One with
    /// the same identifier is replaced.
    pub fn add(&mut self, unit: &[u8]) {
        let Some(key) = identify(self.codec, unit).filter(|_| unit.len() <= UNIT_BYTES_MAX) else { return };
        if self.units.get(&key).is_some_and(|known| known == unit) {
            return;
        }
        if self.units.contains_key(&key) || self.of(key.0).count() < UNITS_MAX {
            self.units.insert(key, Bytes::copy_from_slice(unit));
        }
    }

    /// Takes over what stands in `later`. A whole set takes the place of what was there: decoding begins anew with it, and
    /// sets of an earlier configuration under other identifiers would stay for ever.
    pub fn update(&mut self, later: ParameterSets) {
        if later.is_complete() {
            *self = later;
        } else {
            self.units.extend(later.units);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Whether a picture can be decoded with them.
    pub fn is_complete(&self) -> bool {
        let needed: &[u8] = match self.codec {
            NalCodec::Avc => &[AVC_SPS, AVC_PPS],
            NalCodec::Hevc => &[HEVC_VPS, HEVC_SPS, HEVC_PPS],
        };
        needed.iter().all(|&kind| self.of(kind).next().is_some())
    }

    /// A sample entry `avc1` or `hvc1`, lengths of NAL units in four bytes.
    pub fn sample_entry(&self) -> Result<Vec<u8>, Error> {
        let (kind, configuration) = match self.codec {
            NalCodec::Avc => (b"avc1", self.avcc()),
            NalCodec::Hevc => (b"hvc1", self.hvcc()),
        };
        let configuration = configuration.unwrap_or_default();
        let mut entry = Vec::with_capacity(86 + configuration.len());
        boxed(&mut entry, kind, |out| {
            out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]); // reserved, data_reference_index
            out.extend_from_slice(&[0; 70]); // What stands in these fields is filled in from the sequence parameter set.
            let name = if self.codec == NalCodec::Avc { b"avcC" } else { b"hvcC" };
            boxed(out, name, |out| out.extend_from_slice(&configuration));
        });
        Ok(describe(IN_BAND, &entry, 0, &[])?.sample_entry)
    }

    fn of(&self, kind: u8) -> impl Iterator<Item = &Bytes> {
        self.units.range((kind, 0)..=(kind, u32::MAX)).map(|(_, unit)| unit)
    }

    /// `AVCDecoderConfigurationRecord`, if there is a sequence parameter set that reaches as far as it needs.
    fn avcc(&self) -> Option<Vec<u8>> {
        let first = self.of(AVC_SPS).next()?;
        let [_, profile, compatibility, level, ..] = first[..] else { return None };
        let mut record = vec![1, profile, compatibility, level, 0xFC | 3];
        record.push(0xE0 | self.of(AVC_SPS).count() as u8);
        self.of(AVC_SPS).for_each(|unit| put_unit(&mut record, unit));
        record.push(self.of(AVC_PPS).count() as u8);
        self.of(AVC_PPS).for_each(|unit| put_unit(&mut record, unit));
        if matches!(profile, 100 | 110 | 122 | 144) {
            let mut bits = Bits::of_nal(&first[4..]);
            bits.ue_max(31)?; // seq_parameter_set_id
            let chroma_format = bits.ue_max(3)?;
            if chroma_format == 3 {
                bits.skip(1)?; // separate_colour_plane_flag
            }
            let (luma, chroma) = (bits.ue_max(6)?, bits.ue_max(6)?);
            // No sequence parameter set extensions.
            record.extend_from_slice(&[0xFC | chroma_format as u8, 0xF8 | luma as u8, 0xF8 | chroma as u8, 0]);
        }
        Some(record)
    }

    /// `HEVCDecoderConfigurationRecord`, if there is a sequence parameter set that reaches as far as it needs.
    fn hvcc(&self) -> Option<Vec<u8>> {
        let mut bits = Bits::of_nal(self.of(HEVC_SPS).next()?.get(2..)?);
        bits.skip(4)?; // sps_video_parameter_set_id
        let sub_layers = bits.take(3)?; // sps_max_sub_layers_minus1
        let nesting = bits.take(1)?;
        let mut record = vec![1];
        // general_profile_space to general_level_idc, as they stand in profile_tier_level (ITU-T H.265 §7.3.3).
        for _ in 0..12 {
            record.push(bits.byte()?);
        }
        skip_sub_layers(&mut bits, sub_layers)?;
        bits.ue_max(15)?; // sps_seq_parameter_set_id
        let chroma_format = bits.ue_max(3)?;
        if chroma_format == 3 {
            bits.skip(1)?;
        }
        bits.ue()?; // pic_width_in_luma_samples
        bits.ue()?; // pic_height_in_luma_samples
        // conformance_window_flag
        if bits.flag()? {
            for _ in 0..4 {
                bits.ue()?;
            }
        }
        let (luma, chroma) = (bits.ue_max(8)?, bits.ue_max(8)?);
        record.extend_from_slice(&[0xF0, 0]); // min_spatial_segmentation_idc: unknown
        record.push(0xFC); // parallelismType: unknown
        record.extend_from_slice(&[0xFC | chroma_format as u8, 0xF8 | luma as u8, 0xF8 | chroma as u8]);
        record.extend_from_slice(&[0, 0]); // avgFrameRate: unspecified
        // constantFrameRate 0, numTemporalLayers, temporalIdNested, lengthSizeMinusOne
        record.push(((sub_layers + 1) << 3 | nesting << 2 | 3) as u8);
        let kinds = [HEVC_VPS, HEVC_SPS, HEVC_PPS].map(|kind| (kind, self.of(kind).count()));
        record.push(kinds.iter().filter(|(_, count)| *count > 0).count() as u8);
        for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
            record.push(0x80 | kind); // array_completeness: none stay in the samples
            record.extend_from_slice(&(count as u16).to_be_bytes());
            self.of(kind).for_each(|unit| put_unit(&mut record, unit));
        }
        Some(record)
    }
}

fn put_unit(record: &mut Vec<u8>, unit: &[u8]) {
    // At most UNIT_BYTES_MAX.
    record.extend_from_slice(&(unit.len() as u16).to_be_bytes());
    record.extend_from_slice(unit);
}

/// Type and identifier of a parameter set.
fn identify(codec: NalCodec, unit: &[u8]) -> Option<(u8, u32)> {
    match codec {
        NalCodec::Avc => {
            let kind = unit.first()? & 0x1F;
            match kind {
                AVC_SPS => Some((kind, Bits::of_nal(unit.get(4..)?).ue_max(31)?)),
                AVC_PPS => Some((kind, Bits::of_nal(unit.get(1..)?).ue_max(255)?)),
                _ => None,
            }
        }
        NalCodec::Hevc => {
            let [header, layer, ..] = *unit else { return None };
            if header & 1 != 0 || layer >> 3 != 0 {
                return None;
            }
            let (kind, mut bits) = (header >> 1, Bits::of_nal(&unit[2..]));
            match kind {
                HEVC_VPS => Some((kind, bits.take(4)?)),
                HEVC_SPS => {
                    bits.skip(4)?;
                    let sub_layers = bits.take(3)?;
                    bits.skip(1 + 96)?;
                    skip_sub_layers(&mut bits, sub_layers)?;
                    Some((kind, bits.ue_max(15)?))
                }
                HEVC_PPS => Some((kind, bits.ue_max(63)?)),
                _ => None,
            }
        }
    }
}

/// What `profile_tier_level` says of all sub-layers but the highest (ITU-T H.265 §7.3.3).
fn skip_sub_layers(bits: &mut Bits<'_>, sub_layers: u32) -> Option<()> {
    if sub_layers > 0 {
        let flags = bits.take(16)?;
        for layer in 0..sub_layers {
            let (profile, level) = (flags >> (15 - 2 * layer) & 1, flags >> (14 - 2 * layer) & 1);
            bits.skip(88 * profile + 8 * level)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::codec::fixtures::{self as from, bytes};

    /// The units of a record in a sample entry that ffmpeg wrote.
    fn units(codec: NalCodec, record: &[u8]) -> Vec<Vec<u8>> {
        let mut units = Vec::new();
        let mut at = if codec == NalCodec::Avc { 5 } else { 22 };
        let mut unit = |at: &mut usize| {
            let size = usize::from(u16::from_be_bytes([record[*at], record[*at + 1]]));
            units.push(record[*at + 2..*at + 2 + size].to_vec());
            *at += 2 + size;
        };
        match codec {
            NalCodec::Avc => {
                for mask in [31, 255] {
                    let count = record[at] & mask;
                    at += 1;
                    (0..count).for_each(|_| unit(&mut at));
                }
            }
            NalCodec::Hevc => {
                let arrays = record[at];
                at += 1;
                for _ in 0..arrays {
                    let count = u16::from_be_bytes([record[at + 1], record[at + 2]]);
                    at += 3;
                    (0..count).for_each(|_| unit(&mut at));
                }
            }
        }
        units
    }

    #[test]
    fn entries_say_what_the_source_said() {
        for (fixture, codec, name) in [
            (from::H264, NalCodec::Avc, b"avcC"),
            (from::H264_1080, NalCodec::Avc, b"avcC"),
            (from::H264_HI10, NalCodec::Avc, b"avcC"),
            (from::HEVC, NalCodec::Hevc, b"hvcC"),
            (from::HEVC_PQ, NalCodec::Hevc, b"hvcC"),
        ] {
            let entry = bytes(fixture.entry);
            let at = entry.windows(4).position(|window| window == name).unwrap();
            let size = u32::from_be_bytes(*entry[at - 4..].first_chunk().unwrap()) as usize;
            let record = &entry[at + 4..at - 4 + size];
            let mut sets = ParameterSets::new(codec);
            let units = units(codec, record);
            units.iter().for_each(|unit| sets.add(unit));
            assert!(sets.is_complete());
            let made = if codec == NalCodec::Avc { sets.avcc() } else { sets.hvcc() }.unwrap();
            match codec {
                NalCodec::Avc => assert_eq!(made, record),
                // Parallelism and array completeness are the writer's choice; SEI may stand in the source's record.
                NalCodec::Hevc => assert_eq!(made[..13], record[..13]),
            }
            let ours = describe("ours", &sets.sample_entry().unwrap(), 0, &[]).unwrap();
            let theirs = describe("theirs", &entry, 0, &[]).unwrap();
            assert_eq!((ours.codec, ours.framing), (theirs.codec.replace("hev1", "hvc1"), theirs.framing));
        }
    }

    #[test]
    fn without_a_sequence_parameter_set_the_error_says_so() {
        for codec in [NalCodec::Avc, NalCodec::Hevc] {
            assert!(ParameterSets::new(codec).sample_entry().is_err());
        }
        let mut sets = ParameterSets::new(NalCodec::Avc);
        sets.add(&[0x67, 100, 0, 31, 0xFF]);
        sets.add(&[0x68, 0xFF]);
        let error = sets.sample_entry().unwrap_err().to_string();
        assert!(error.starts_with("parameter sets: stsd/avc1/avcC"), "{error}");
    }

    proptest! {
        #[test]
        fn nothing_from_outside_panics(units in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..40)) {
            for codec in [NalCodec::Avc, NalCodec::Hevc] {
                let mut sets = ParameterSets::new(codec);
                for unit in &units {
                    sets.add(unit);
                    for kind in [AVC_SPS, AVC_PPS, HEVC_VPS << 1, HEVC_SPS << 1, HEVC_PPS << 1] {
                        sets.add(&[&[kind, 1], &unit[..]].concat());
                    }
                }
                let _ = sets.sample_entry();
            }
        }
    }
}
