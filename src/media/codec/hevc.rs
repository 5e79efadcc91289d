//! HEVC (ITU-T H.265, ISO/IEC 14496-15 §8 and annex E), with Dolby Vision on top.

use crate::base::cursor::Cursor;
use crate::media::fragment::Start;
use crate::media::track::{Details, Video, VideoRange};

use super::avc::Vui;
use super::bits::Bits;
use super::colour::{Colour, UNSPECIFIED, pixel_aspect};
use super::dolby_vision;
use super::entry::Entry;
use super::sei;
use super::{Description, Fault, Framing, LEADING_UNITS_MAX, NalCodec, nal_units};

// nal_unit_type (table 7-1).
const BLA_W_LP: u8 = 16;
const BLA_W_RADL: u8 = 17;
const BLA_N_LP: u8 = 18;
const IDR_W_RADL: u8 = 19;
const IDR_N_LP: u8 = 20;
const CRA: u8 = 21;
const VCL_LAST: u8 = 31;
const SPS: u8 = 33;
const PREFIX_SEI: u8 = 39;

/// What is used of `profile_tier_level` (§7.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Profile {
    space: u8,
    high_tier: bool,
    idc: u8,
    /// The first flag is the most significant bit.
    compatibility: u32,
    constraints: [u8; 6],
    level: u8,
}

/// What is used of a sequence parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sps {
    profile: Profile,
    width: u32,
    height: u32,
    bit_depth: u8,
    vui: Vui,
}

pub fn describe(entry: &Entry<'_>, sample: &[u8]) -> Result<Description, Fault> {
    let atom = entry.configuration(b"hvcC")?;
    let record = Record::read(atom.cursor()).map_err(|fault| fault.within(b"hvcC"))?;
    let in_band = || nal_units(sample, record.length_size).take(LEADING_UNITS_MAX).find(|unit| is_base_sps(unit));
    let (sps, at, kind) = match record.sps {
        Some((sps, at)) => (sps, at, entry.kind),
        // Parameter sets that come with the samples are what hev1 and dvhe mean (ISO/IEC 14496-15 §8.4.1.1).
        None => {
            let sps = in_band().ok_or_else(|| {
                Fault::new(atom.offset, "no sequence parameter set", "one here or in the first sample").within(b"hvcC")
            })?;
            (sps, atom.offset, if entry.kind[0] == b'd' { *b"dvhe" } else { *b"hev1" })
        }
    };
    let sps = Sps::read(sps).ok_or_else(|| {
        let expected = "seq_parameter_set_rbsp (ITU-T H.265 §7.3.2.2.1)";
        Fault::new(at, "a sequence parameter set cut short or out of range", expected).within(b"hvcC")
    })?;
    let preferred = nal_units(sample, record.length_size)
        .take(LEADING_UNITS_MAX)
        .chain(record.sei)
        .filter(|unit| unit_type(unit) == Some(PREFIX_SEI))
        .find_map(|unit| sei::find(unit, 2, sei::ALTERNATIVE_TRANSFER)?.byte());
    let colour = Colour::of(entry, sps.vui.colour, sps.vui.full_range);
    let dolby = dolby_vision::Configuration::of(entry)?;
    let name = String::from_utf8_lossy(&kind);
    let is_dolby = kind[0] == b'd';
    let codec = match &dolby {
        Some(dolby) if is_dolby => dolby.codec(&name),
        _ => sps.profile.codec(&name),
    };
    let range = match colour.range(preferred) {
        // Dolby Vision profile 5 is PQ throughout, and its bitstreams leave the VUI unspecified.
        VideoRange::Sdr if is_dolby && colour.triple.1 == UNSPECIFIED.1 && dolby.is_some_and(|it| it.profile == 5) => {
            VideoRange::Pq
        }
        range => range,
    };
    Ok(Description {
        codec,
        details: Details::Video(Video {
            width: sps.width,
            height: sps.height,
            pixel_aspect: pixel_aspect(entry, sps.vui.aspect),
            frame_rate: (0, 1),
            range,
            bit_depth: sps.bit_depth,
            colour: colour.triple,
            supplemental_codec: dolby.filter(|_| !is_dolby).and_then(|dolby| dolby.supplemental(&name)),
            captions: Vec::new(),
        }),
        sample_entry: entry.normal_visual(
            &kind,
            (sps.width, sps.height),
            "HEVC Coding",
            atom.whole,
            colour.colr.as_deref(),
        ),
        framing: Framing::Nal { length_size: record.length_size, codec: NalCodec::Hevc },
        priming_hint: None,
    })
}

/// `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §8.3.3.1).
struct Record<'a> {
    length_size: u8,
    /// The first of the base layer, if any, and where it lies.
    sps: Option<(&'a [u8], u64)>,
    /// The first prefix SEI unit, if any.
    sei: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    fn read(cursor: Cursor<'a>) -> Result<Record<'a>, Fault> {
        let mut cursor = cursor;
        let at = cursor.position();
        // Version 0 comes from encoders that were there before the standard was.
        let version = cursor.u8()?;
        if version > 1 {
            return Err(Fault::new(at, format!("configuration version {version}"), "version 1"));
        }
        cursor.skip(20)?;
        let at = cursor.position();
        let length_size = (cursor.u8()? & 3) + 1;
        if length_size == 3 {
            return Err(Fault::new(at, "NAL unit lengths of 3 bytes", "1, 2 or 4"));
        }
        let (mut sps, mut sei) = (None, None);
        for _ in 0..cursor.u8()? {
            cursor.skip(1)?;
            for _ in 0..cursor.u16()? {
                let size = usize::from(cursor.u16()?);
                let at = cursor.position();
                let unit = cursor.take(size)?;
                if is_base_sps(unit) {
                    sps = sps.or(Some((unit, at)));
                }
                if unit_type(unit) == Some(PREFIX_SEI) {
                    sei = sei.or(Some(unit));
                }
            }
        }
        Ok(Record { length_size, sps, sei })
    }
}

impl Profile {
    fn read(bits: &mut Bits<'_>, sub_layers: u32) -> Option<Profile> {
        let space = bits.take(2)? as u8;
        let high_tier = bits.flag()?;
        let idc = bits.take(5)? as u8;
        let compatibility = bits.take(32)?;
        let mut constraints = [0; 6];
        for byte in &mut constraints {
            *byte = bits.byte()?;
        }
        let level = bits.byte()?;
        let mut present = [(false, false); 8];
        if sub_layers > 0 {
            for (index, sub_layer) in present.iter_mut().enumerate() {
                // Flags for all eight, of which those beyond the last are reserved bits.
                let flags = (bits.flag()?, bits.flag()?);
                if (index as u32) < sub_layers {
                    *sub_layer = flags;
                }
            }
        }
        for (profile, level) in present {
            bits.skip(if profile { 88 } else { 0 })?;
            bits.skip(if level { 8 } else { 0 })?;
        }
        Some(Profile { space, high_tier, idc, compatibility, constraints, level })
    }

    /// ISO/IEC 14496-15 annex E.3: profile space and profile, compatibility flags in reverse bit order, tier and level,
    /// constraint bytes without the trailing zeros.
    fn codec(&self, name: &str) -> String {
        let space = ["", "A", "B", "C"][usize::from(self.space & 3)];
        let tier = if self.high_tier { 'H' } else { 'L' };
        let compatibility = self.compatibility.reverse_bits();
        let mut codec = format!("{name}.{space}{}.{compatibility:X}.{tier}{}", self.idc, self.level);
        let used = self.constraints.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        for byte in self.constraints.iter().take(used) {
            codec.push_str(&format!(".{byte:X}"));
        }
        codec
    }
}

impl Sps {
    /// A NAL unit, header included. Up to the colour description, the rest is not needed.
    fn read(unit: &[u8]) -> Option<Sps> {
        let mut bits = Bits::of_nal(unit.get(2..)?);
        bits.skip(4)?; // sps_video_parameter_set_id
        let sub_layers = bits.take(3)?; // sps_max_sub_layers_minus1
        bits.skip(1)?; // sps_temporal_id_nesting_flag
        let profile = Profile::read(&mut bits, sub_layers)?;
        bits.ue_max(15)?; // sps_seq_parameter_set_id
        let chroma_format = bits.ue_max(3)?;
        let separate_planes = chroma_format == 3 && bits.flag()?;
        let (width, height) = (bits.ue_max(0xFFFF)?, bits.ue_max(0xFFFF)?);
        let (mut cropped_width, mut cropped_height) = (width, height);
        // conformance_window_flag
        if bits.flag()? {
            let subsampled = |by: &[u32]| if !separate_planes && by.contains(&chroma_format) { 2 } else { 1 };
            let (unit_x, unit_y) = (subsampled(&[1, 2]), subsampled(&[1]));
            let (left, right) = (bits.ue_max(0xFFFF)?, bits.ue_max(0xFFFF)?);
            let (top, bottom) = (bits.ue_max(0xFFFF)?, bits.ue_max(0xFFFF)?);
            cropped_width = width.checked_sub((left + right) * unit_x)?;
            cropped_height = height.checked_sub((top + bottom) * unit_y)?;
        }
        if cropped_width == 0 || cropped_height == 0 {
            return None;
        }
        let bit_depth = 8 + bits.ue_max(8)? as u8;
        bits.ue_max(8)?; // bit_depth_chroma_minus8
        let vui = Sps::read_to_vui(&mut bits, sub_layers).unwrap_or(Vui::NONE);
        Some(Sps { profile, width: cropped_width, height: cropped_height, bit_depth, vui })
    }

    /// From `log2_max_pic_order_cnt_lsb_minus4` to the colour description. What cannot be read says nothing about colour.
    fn read_to_vui(bits: &mut Bits<'_>, sub_layers: u32) -> Option<Vui> {
        let order_count_bits = bits.ue_max(12)? + 4;
        // sps_sub_layer_ordering_info_present_flag
        let ordered = if bits.flag()? { sub_layers + 1 } else { 1 };
        for _ in 0..3 * ordered {
            bits.ue()?;
        }
        // Block sizes and transform hierarchy depths.
        for _ in 0..6 {
            bits.ue()?;
        }
        // scaling_list_enabled_flag, sps_scaling_list_data_present_flag
        if bits.flag()? && bits.flag()? {
            skip_scaling_lists(bits)?;
        }
        bits.skip(2)?; // amp_enabled_flag, sample_adaptive_offset_enabled_flag
        // pcm_enabled_flag
        if bits.flag()? {
            bits.skip(4 + 4)?;
            bits.ue()?;
            bits.ue()?;
            bits.skip(1)?;
        }
        skip_reference_picture_sets(bits)?;
        // long_term_ref_pics_present_flag
        if bits.flag()? {
            for _ in 0..bits.ue_max(32)? {
                bits.skip(order_count_bits + 1)?;
            }
        }
        bits.skip(2)?; // sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
        // vui_parameters_present_flag
        if bits.flag()? { Vui::read(bits) } else { None }
    }
}

/// `scaling_list_data` (§7.3.4).
fn skip_scaling_lists(bits: &mut Bits<'_>) -> Option<()> {
    for size in 0..4 {
        for _ in (0..6).step_by(if size == 3 { 3 } else { 1 }) {
            // scaling_list_pred_mode_flag
            if !bits.flag()? {
                bits.ue()?;
                continue;
            }
            if size > 1 {
                bits.se()?;
            }
            for _ in 0..64.min(1 << (4 + (size << 1))) {
                bits.se()?;
            }
        }
    }
    Some(())
}

/// All `st_ref_pic_set`s (§7.3.7).
fn skip_reference_picture_sets(bits: &mut Bits<'_>) -> Option<()> {
    let mut pictures_before = 0;
    for set in 0..bits.ue_max(64)? {
        // inter_ref_pic_set_prediction_flag
        pictures_before = if set != 0 && bits.flag()? {
            bits.skip(1)?; // delta_rps_sign
            bits.ue()?; // abs_delta_rps_minus1
            let mut pictures = 0;
            for _ in 0..=pictures_before {
                // used_by_curr_pic_flag, use_delta_flag
                if bits.flag()? || bits.flag()? {
                    pictures += 1;
                }
            }
            pictures
        } else {
            let pictures = bits.ue_max(16)? + bits.ue_max(16)?;
            for _ in 0..pictures {
                bits.ue()?;
                bits.skip(1)?;
            }
            pictures
        };
    }
    Some(())
}

fn unit_type(unit: &[u8]) -> Option<u8> {
    unit.first().map(|header| header >> 1 & 0x3F)
}

/// Of the layer every decoder decodes (nuh_layer_id 0).
fn is_base_sps(unit: &[u8]) -> bool {
    matches!(unit, [header, layer, ..] if header >> 1 & 0x3F == SPS && header & 1 == 0 && layer >> 3 == 0)
}

/// IDR pictures and BLA pictures without leading pictures are closed; CRA and BLA pictures may have leading pictures that
/// need what came before.
pub fn random_access(sample: &[u8], length_size: u8) -> Option<Start> {
    let first =
        nal_units(sample, length_size).take(LEADING_UNITS_MAX).filter_map(unit_type).find(|&it| it <= VCL_LAST)?;
    match first {
        IDR_W_RADL | IDR_N_LP | BLA_N_LP => Some(Start::Closed),
        CRA | BLA_W_LP | BLA_W_RADL => Some(Start::Open),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::bits::tests::Writer;
    use crate::media::codec::fixtures::{self as from, bytes};

    #[test]
    fn codec_strings() {
        let main = Profile {
            space: 0,
            high_tier: false,
            idc: 1,
            compatibility: 0x6000_0000,
            constraints: [0xB0, 0, 0, 0, 0, 0],
            level: 93,
        };
        let cases = [
            // The example of ISO/IEC 14496-15 §E.3.
            (Profile { constraints: [0xB0, 0, 0, 0, 0, 0], ..main }, "hvc1.1.6.L93.B0"),
            (Profile { constraints: [0; 6], ..main }, "hvc1.1.6.L93"),
            (Profile { constraints: [0x90, 0, 4, 0, 0, 0], ..main }, "hvc1.1.6.L93.90.0.4"),
            (Profile { idc: 2, compatibility: 0x2000_0000, high_tier: true, level: 153, ..main }, "hvc1.2.4.H153.B0"),
            (Profile { space: 1, compatibility: 0x8000_0001, ..main }, "hvc1.A1.80000001.L93.B0"),
        ];
        for (profile, want) in cases {
            assert_eq!(profile.codec("hvc1"), want);
        }
    }

    #[test]
    fn another_reader_reads_the_same() {
        for fixture in [from::HEVC, from::HEVC_PQ, from::HEVC_HLG] {
            let entry = bytes(fixture.entry);
            let at = entry.windows(4).position(|window| window == b"hvcC").unwrap() + 4;
            let (unit, _) = Record::read(Cursor::new(&entry[at..], 0)).unwrap().sps.unwrap();
            let ours = Sps::read(unit).unwrap();
            let theirs = scuffle_h265::SpsNALUnit::parse(unit).unwrap().rbsp;
            assert_eq!(
                (u64::from(ours.width), u64::from(ours.height)),
                (theirs.cropped_width(), theirs.cropped_height())
            );
            assert_eq!(ours.bit_depth, theirs.bit_depth_y());
            let signal = theirs.vui_parameters.unwrap().video_signal_type;
            let theirs = (signal.colour_primaries, signal.transfer_characteristics, signal.matrix_coeffs);
            assert_eq!(ours.vui.colour, theirs);
        }
    }

    #[test]
    fn everything_before_the_colour_is_read_past() {
        // 4:2:2 with a conformance window, sub-layers, scaling lists, PCM, predicted and explicit reference picture sets,
        // long-term pictures.
        let mut bits = Writer::default();
        bits.put(SPS.into(), 7).put(1, 9).put(0, 4).put(2, 3).put(1, 1);
        bits.put(0, 2).put(1, 1).put(4, 5).put(0x0800_0000, 32).put(0x9D08_0000_0000, 48).put(120, 8);
        bits.put(0b11_01, 4).put(0, 12).put(0, 44).put(0, 44).put(90, 8).put(93, 8);
        bits.ue(0).ue(2).ue(1928).ue(1088).put(1, 1).ue(2).ue(2).ue(0).ue(8).ue(4).ue(4).ue(4);
        bits.put(0, 1).ue(4).ue(0).ue(0);
        bits.ue(0).ue(3).ue(0).ue(3).ue(1).ue(1);
        bits.put(1, 1).put(1, 1);
        for size in 0..4 {
            for matrix in (0..6).step_by(if size == 3 { 3 } else { 1 }) {
                if matrix == 0 {
                    bits.put(0, 1).ue(0);
                    continue;
                }
                bits.put(1, 1);
                let count = [16, 64, 65, 65][size];
                (0..count).for_each(|_| _ = bits.se(-1));
            }
        }
        bits.put(3, 2).put(1, 1).put(7, 4).put(7, 4).ue(0).ue(2).put(0, 1);
        bits.ue(3).ue(1).ue(1).ue(0).put(1, 1).ue(0).put(1, 1);
        bits.put(1, 1).put(0, 1).ue(0).put(1, 1).put(0b01, 2).put(0b00, 2);
        bits.put(0, 1).ue(0).ue(2).ue(0).put(1, 1).ue(0).put(1, 1);
        bits.put(1, 1).ue(2).put(5, 8).put(1, 1).put(6, 8).put(0, 1);
        bits.put(3, 2).put(1, 1);
        bits.put(1, 1)
            .put(14, 8)
            .put(1, 1)
            .put(0, 1)
            .put(1, 1)
            .put(5, 3)
            .put(0, 1)
            .put(1, 1)
            .put(9, 8)
            .put(16, 8)
            .put(9, 8);
        let sps = Sps::read(&bits.escaped()).unwrap();
        assert_eq!((sps.width, sps.height, sps.bit_depth), (1920, 1080, 12));
        assert_eq!(sps.vui, Vui { aspect: Some((4, 3)), colour: (9, 16, 9), full_range: Some(false) });
        assert_eq!(sps.profile.codec("hvc1"), "hvc1.4.10.H120.9D.8");
    }
}
