//! H.264 (ITU-T H.264, ISO/IEC 14496-15 §5).

use crate::base::cursor::Cursor;
use crate::media::fragment::Start;
use crate::media::track::{Details, Video};

use super::bits::Bits;
use super::colour::{Colour, Triple, UNSPECIFIED, aspect_ratio, pixel_aspect};
use super::dolby_vision;
use super::entry::Entry;
use super::sei;
use super::{Description, Fault, Framing, LEADING_UNITS_MAX, NalCodec, nal_units};

// nal_unit_type (table 7-1).
const SLICE: u8 = 1;
const PARTITION_A: u8 = 2;
const IDR: u8 = 5;
const SEI: u8 = 6;
const SPS: u8 = 7;

/// What is used of a sequence parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sps {
    profile: u8,
    constraints: u8,
    level: u8,
    width: u32,
    height: u32,
    bit_depth: u8,
    vui: Vui,
}

/// What is used of video usability information, which H.264 and HEVC begin alike (annexes E).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vui {
    pub aspect: Option<(u32, u32)>,
    pub colour: Triple,
    pub full_range: Option<bool>,
}

impl Vui {
    pub const NONE: Vui = Vui { aspect: None, colour: UNSPECIFIED, full_range: None };

    /// Up to and with `matrix_coefficients`. Data that ends within is as good as none: what it would have said is optional.
    pub fn read(bits: &mut Bits<'_>) -> Option<Vui> {
        let mut vui = Vui::NONE;
        // aspect_ratio_info_present_flag
        if bits.flag()? {
            vui.aspect = match bits.byte()? {
                255 => Some((bits.take(16)?, bits.take(16)?)),
                idc => aspect_ratio(idc),
            };
        }
        // overscan_info_present_flag
        if bits.flag()? {
            bits.skip(1)?;
        }
        // video_signal_type_present_flag
        if bits.flag()? {
            bits.skip(3)?;
            vui.full_range = Some(bits.flag()?);
            if bits.flag()? {
                vui.colour = (bits.byte()?, bits.byte()?, bits.byte()?);
            }
        }
        Some(vui)
    }
}

pub fn describe(entry: &Entry<'_>, sample: &[u8]) -> Result<Description, Fault> {
    let atom = entry.configuration(b"avcC")?;
    let record = Record::read(atom.cursor()).map_err(|fault| fault.within(b"avcC"))?;
    let in_band = || nal_units(sample, record.length_size).take(LEADING_UNITS_MAX).find(|unit| unit_type(unit) == SPS);
    let (sps, at, kind) = match record.sps {
        Some((sps, at)) => (sps, at, entry.kind),
        // Parameter sets that come with the samples are what avc3 and dvav mean (ISO/IEC 14496-15 §5.4.2.1).
        None => {
            let sps = in_band().ok_or_else(|| {
                Fault::new(atom.offset, "no sequence parameter set", "one here or in the first sample").within(b"avcC")
            })?;
            let kind = if entry.kind[0] == b'd' { *b"dvav" } else { *b"avc3" };
            (sps, atom.offset, kind)
        }
    };
    let sps = Sps::read(sps).ok_or_else(|| {
        let expected = "seq_parameter_set_data (ITU-T H.264 §7.3.2.1.1)";
        Fault::new(at, "a sequence parameter set cut short or out of range", expected).within(b"avcC")
    })?;
    let preferred = nal_units(sample, record.length_size)
        .take(LEADING_UNITS_MAX)
        .filter(|unit| unit_type(unit) == SEI)
        .find_map(|unit| sei::find(unit, 1, sei::ALTERNATIVE_TRANSFER)?.byte());
    let colour = Colour::of(entry, sps.vui.colour, sps.vui.full_range);
    let name = String::from_utf8_lossy(&kind);
    let dolby = dolby_vision::Configuration::of(entry)?;
    let is_dolby = kind[0] == b'd';
    let codec = match &dolby {
        Some(dolby) if is_dolby => dolby.codec(&name),
        // RFC 6381 §3.3: the three bytes that follow the NAL unit header of the sequence parameter set.
        _ => format!("{name}.{:02x}{:02x}{:02x}", sps.profile, sps.constraints, sps.level),
    };
    Ok(Description {
        codec,
        details: Details::Video(Video {
            width: sps.width,
            height: sps.height,
            pixel_aspect: pixel_aspect(entry, sps.vui.aspect),
            frame_rate: (0, 1),
            range: colour.range(preferred),
            bit_depth: sps.bit_depth,
            colour: colour.triple,
            supplemental_codec: dolby.filter(|_| !is_dolby).and_then(|dolby| dolby.supplemental(&name)),
            captions: Vec::new(),
        }),
        sample_entry: entry.normal_visual(
            &kind,
            (sps.width, sps.height),
            "AVC Coding",
            atom.whole,
            colour.colr.as_deref(),
        ),
        framing: Framing::Nal { length_size: record.length_size, codec: NalCodec::Avc },
        priming_hint: None,
    })
}

/// `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §5.3.3.1).
struct Record<'a> {
    length_size: u8,
    /// The first, if any, and where it lies.
    sps: Option<(&'a [u8], u64)>,
}

impl<'a> Record<'a> {
    fn read(cursor: Cursor<'a>) -> Result<Record<'a>, Fault> {
        let mut cursor = cursor;
        let at = cursor.position();
        let version = cursor.u8()?;
        if version != 1 {
            return Err(Fault::new(at, format!("configuration version {version}"), "version 1"));
        }
        cursor.skip(3)?;
        let at = cursor.position();
        let length_size = (cursor.u8()? & 3) + 1;
        if length_size == 3 {
            return Err(Fault::new(at, "NAL unit lengths of 3 bytes", "1, 2 or 4"));
        }
        let mut sps = None;
        for _ in 0..cursor.u8()? & 31 {
            let size = usize::from(cursor.u16()?);
            let at = cursor.position();
            let unit = cursor.take(size)?;
            if unit_type(unit) == SPS {
                sps = sps.or(Some((unit, at)));
            }
        }
        for _ in 0..cursor.u8()? {
            let size = usize::from(cursor.u16()?);
            cursor.skip(size)?;
        }
        Ok(Record { length_size, sps })
    }
}

impl Sps {
    /// A NAL unit, header included. Up to the colour description, the rest is not needed.
    fn read(unit: &[u8]) -> Option<Sps> {
        let mut bits = Bits::of_nal(unit.get(1..)?);
        let (profile, constraints, level) = (bits.byte()?, bits.byte()?, bits.byte()?);
        bits.ue_max(31)?; // seq_parameter_set_id
        let (mut chroma_format, mut separate_planes, mut bit_depth) = (1, false, 8);
        if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
            chroma_format = bits.ue_max(3)?;
            if chroma_format == 3 {
                separate_planes = bits.flag()?;
            }
            bit_depth = 8 + bits.ue_max(6)? as u8;
            bits.ue_max(6)?; // bit_depth_chroma_minus8
            bits.skip(1)?; // qpprime_y_zero_transform_bypass_flag
            if bits.flag()? {
                for list in 0..if chroma_format == 3 { 12 } else { 8 } {
                    if bits.flag()? {
                        skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        bits.ue_max(12)?; // log2_max_frame_num_minus4
        match bits.ue_max(2)? {
            0 => {
                bits.ue_max(12)?; // log2_max_pic_order_cnt_lsb_minus4
            }
            1 => {
                bits.skip(1)?; // delta_pic_order_always_zero_flag
                bits.se()?; // offset_for_non_ref_pic
                bits.se()?; // offset_for_top_to_bottom_field
                for _ in 0..bits.ue_max(255)? {
                    bits.se()?; // offset_for_ref_frame
                }
            }
            _ => {}
        }
        bits.ue()?; // max_num_ref_frames
        bits.skip(1)?; // gaps_in_frame_num_value_allowed_flag
        let width = (bits.ue_max(0xFFF)? + 1) * 16;
        let map_units = bits.ue_max(0xFFF)? + 1;
        let frames_only = bits.flag()?;
        if !frames_only {
            bits.skip(1)?; // mb_adaptive_frame_field_flag
        }
        let fields = if frames_only { 1 } else { 2 };
        let height = map_units * 16 * fields;
        bits.skip(1)?; // direct_8x8_inference_flag
        let (mut cropped_width, mut cropped_height) = (width, height);
        if bits.flag()? {
            // Equations 7-19 to 7-22: units of chroma samples, and of both fields.
            let subsampled = |by: &[u32]| if !separate_planes && by.contains(&chroma_format) { 2 } else { 1 };
            let (unit_x, unit_y) = (subsampled(&[1, 2]), subsampled(&[1]) * fields);
            let (left, right) = (bits.ue_max(0xFFFF)?, bits.ue_max(0xFFFF)?);
            let (top, bottom) = (bits.ue_max(0xFFFF)?, bits.ue_max(0xFFFF)?);
            cropped_width = width.checked_sub((left + right) * unit_x).filter(|&width| width > 0)?;
            cropped_height = height.checked_sub((top + bottom) * unit_y).filter(|&height| height > 0)?;
        }
        let vui = if bits.flag()? { Vui::read(&mut bits).unwrap_or(Vui::NONE) } else { Vui::NONE };
        Some(Sps { profile, constraints, level, width: cropped_width, height: cropped_height, bit_depth, vui })
    }
}

/// §7.3.2.1.1.1
fn skip_scaling_list(bits: &mut Bits<'_>, size: usize) -> Option<()> {
    let (mut last, mut next) = (8_i64, 8_i64);
    for _ in 0..size {
        if next != 0 {
            next = (last + bits.se()?).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |header| header & 0x1F)
}

/// An IDR picture is closed. An I picture whose recovery point SEI says that output is right from itself on begins an open
/// GOP. So does an I picture without that message which the container calls a sync sample: nothing says that the
/// pictures shown before it do not refer back.
pub fn random_access(sample: &[u8], length_size: u8, flagged_sync: bool) -> Option<Start> {
    let mut recovery = false;
    for unit in nal_units(sample, length_size).take(LEADING_UNITS_MAX) {
        match unit_type(unit) {
            IDR => return Some(Start::Closed),
            // recovery_frame_cnt
            SEI => recovery |= sei::find(unit, 1, sei::RECOVERY_POINT).and_then(|mut bits| bits.ue()) == Some(0),
            SLICE | PARTITION_A => {
                let mut bits = Bits::of_nal(unit.get(1..)?);
                bits.ue()?; // first_mb_in_slice
                // slice_type: 2 and 7 are I, 4 and 9 SI (table 7-6).
                let intra = matches!(bits.ue()?, 2 | 7 | 4 | 9);
                return ((recovery || flagged_sync) && intra).then_some(Start::Open);
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use h264_reader::nal::sps::SeqParameterSet;
    use h264_reader::rbsp::{BitReader, ByteReader};

    use super::*;
    use crate::media::codec::fixtures::{self as from, bytes};

    #[test]
    fn another_reader_reads_the_same() {
        for fixture in [from::H264, from::H264_1080, from::H264_HI10, from::H264_MOV] {
            let entry = bytes(fixture.entry);
            let at = entry.windows(4).position(|window| window == b"avcC").unwrap() + 4;
            let (unit, _) = Record::read(Cursor::new(&entry[at..], 0)).unwrap().sps.unwrap();
            let ours = Sps::read(unit).unwrap();
            let theirs = SeqParameterSet::from_bits(BitReader::new(ByteReader::skipping_h264_header(unit))).unwrap();
            assert_eq!((ours.width, ours.height), theirs.pixel_dimensions().unwrap());
            assert_eq!(ours.bit_depth, theirs.chroma_info.bit_depth_luma_minus8 + 8);
            let vui = theirs.vui_parameters.unwrap();
            let aspect = vui.aspect_ratio_info.and_then(|info| info.get());
            assert_eq!(ours.vui.aspect, aspect.map(|(width, height)| (width.into(), height.into())));
            let colour = vui.video_signal_type.and_then(|signal| signal.colour_description);
            let colour = colour.map(|it| (it.colour_primaries, it.transfer_characteristics, it.matrix_coefficients));
            assert_eq!(ours.vui.colour, colour.unwrap_or(UNSPECIFIED));
        }
    }

    #[test]
    fn scaling_lists_field_order_counts_and_cropping_are_read_past() {
        use crate::media::codec::bits::tests::Writer;
        // High 4:2:2, interlaced, all scaling lists given, picture order count type 1, cropped by 2 and 6 units.
        let mut bits = Writer::default();
        bits.put(0x67, 8).put(122, 8).put(0, 8).put(40, 8).ue(0);
        bits.ue(2).ue(2).ue(2).put(0, 1).put(1, 1);
        for list in 0..8 {
            bits.put(1, 1);
            match list {
                // A first delta of -8 ends the list: the default is used.
                0 => _ = bits.se(-8),
                _ => (0..if list < 6 { 16 } else { 64 }).for_each(|_| _ = bits.se(1)),
            }
        }
        bits.ue(0).ue(1).put(0, 1).se(-3).se(4).ue(2).se(1).se(-1);
        bits.ue(4).put(0, 1).ue(119).ue(33).put(0, 1).put(1, 1).put(1, 1);
        bits.put(1, 1).ue(0).ue(2).ue(0).ue(6);
        bits.put(1, 1).put(1, 1).put(255, 8).put(640, 16).put(480, 16).put(0, 1);
        bits.put(1, 1).put(5, 3).put(1, 1).put(1, 1).put(9, 8).put(18, 8).put(9, 8);
        let want = Sps {
            profile: 122,
            constraints: 0,
            level: 40,
            width: 1916,
            height: 1076,
            bit_depth: 10,
            vui: Vui { aspect: Some((640, 480)), colour: (9, 18, 9), full_range: Some(true) },
        };
        assert_eq!(Sps::read(&bits.escaped()), Some(want));
    }
}
