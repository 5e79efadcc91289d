//! AV1 (AV1 Bitstream & Decoding Process Specification; AV1 Codec ISO Media File Format Binding).

use crate::media::fragment::Start;
use crate::media::track::{Details, Video};

use super::bits::Bits;
use super::colour::{Colour, Triple, UNSPECIFIED, pixel_aspect};
use super::dolby_vision;
use super::entry::{Entry, Fields};
use super::{Description, Fault, Framing};

// obu_type (§6.2.2).
const SEQUENCE_HEADER: u8 = 1;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;

const KEY_FRAME: u32 = 0;
/// Of a temporal unit, before its first frame header.
const LEADING_OBUS_MAX: usize = 64;

/// What is used of a sequence header, or of an `av1C` without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sequence {
    profile: u8,
    level: u8,
    high_tier: bool,
    width: u32,
    height: u32,
    bit_depth: u8,
    monochrome: bool,
    subsampling: (bool, bool),
    chroma_position: u8,
    /// `None` without color_description_present_flag.
    colour: Option<Triple>,
    full_range: bool,
}

pub fn describe(entry: &Entry<'_>, sample: &[u8]) -> Result<Description, Fault> {
    let atom = entry.configuration(b"av1C")?;
    let mut cursor = atom.cursor();
    let mut read = || {
        let at = cursor.position();
        let marker = cursor.u8()?;
        if marker != 0x81 {
            return Err(Fault::new(at, format!("marker and version 0x{marker:02x}"), "0x81, version 1"));
        }
        let fields = [cursor.u8()?, cursor.u8()?];
        cursor.skip(1)?;
        Ok((fields, cursor.position(), cursor.rest()))
    };
    let (fields, at, configured) = read().map_err(|fault: Fault| fault.within(b"av1C"))?;
    let header = obus(configured).chain(obus(sample)).find(|(kind, _)| *kind == SEQUENCE_HEADER);
    let sequence = match header {
        Some((_, payload)) => Sequence::read(payload).ok_or_else(|| {
            let expected = "sequence_header_obu (AV1 §5.5.1)";
            Fault::new(at, "a sequence header cut short or out of range", expected).within(b"av1C")
        })?,
        None => Sequence::from_configuration(fields, entry.fields),
    };
    let colour = Colour::of(entry, sequence.colour.unwrap_or(UNSPECIFIED), header.map(|_| sequence.full_range));
    let dolby = dolby_vision::Configuration::of(entry)?;
    let kind = entry.kind;
    let codec = match &dolby {
        Some(dolby) if &kind == b"dav1" => dolby.codec("dav1"),
        _ => sequence.codec(colour.triple),
    };
    Ok(Description {
        codec,
        details: Details::Video(Video {
            width: sequence.width,
            height: sequence.height,
            pixel_aspect: pixel_aspect(entry, None),
            frame_rate: (0, 1),
            range: colour.range(None),
            bit_depth: sequence.bit_depth,
            colour: colour.triple,
            supplemental_codec: dolby.filter(|_| &kind == b"av01").and_then(|dolby| dolby.supplemental("av01")),
            captions: Vec::new(),
        }),
        sample_entry: entry.normal_visual(
            &kind,
            (sequence.width, sequence.height),
            "AOM Coding",
            atom.whole,
            colour.colr.as_deref(),
        ),
        framing: Framing::Av1,
        priming_hint: None,
    })
}

impl Sequence {
    /// The payload of a sequence header OBU (§5.5).
    fn read(payload: &[u8]) -> Option<Sequence> {
        let mut bits = Bits::new(payload);
        let profile = bits.take(3)? as u8;
        bits.skip(1)?; // still_picture
        let reduced = bits.flag()?;
        let (mut level, mut high_tier) = (0, false);
        if reduced {
            level = bits.take(5)? as u8;
        } else {
            let mut delay_bits = None;
            // timing_info_present_flag
            if bits.flag()? {
                bits.skip(32 + 32)?;
                // equal_picture_interval: num_ticks_per_picture_minus_1
                if bits.flag()? {
                    skip_uvlc(&mut bits)?;
                }
                // decoder_model_info_present_flag
                if bits.flag()? {
                    delay_bits = Some(bits.take(5)? + 1);
                    bits.skip(32 + 5 + 5)?;
                }
            }
            let initial_delays = bits.flag()?;
            for point in 0..=bits.take(5)? {
                bits.skip(12)?; // operating_point_idc
                let point_level = bits.take(5)? as u8;
                let point_tier = point_level > 7 && bits.flag()?;
                // The first operating point is the whole stream.
                if point == 0 {
                    (level, high_tier) = (point_level, point_tier);
                }
                if let Some(delay_bits) = delay_bits {
                    // decoder_model_present_for_this_op
                    if bits.flag()? {
                        bits.skip(2 * delay_bits + 1)?;
                    }
                }
                if initial_delays && bits.flag()? {
                    bits.skip(4)?;
                }
            }
        }
        let (width_bits, height_bits) = (bits.take(4)? + 1, bits.take(4)? + 1);
        let (width, height) = (bits.take(width_bits)? + 1, bits.take(height_bits)? + 1);
        // frame_id_numbers_present_flag
        if !reduced && bits.flag()? {
            bits.skip(4 + 3)?;
        }
        bits.skip(3)?; // use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
        if !reduced {
            bits.skip(4)?; // interintra, masked compound, warped motion, dual filter
            let order_hint = bits.flag()?;
            if order_hint {
                bits.skip(2)?; // enable_jnt_comp, enable_ref_frame_mvs
            }
            // seq_choose_screen_content_tools, or seq_force_screen_content_tools; then the same for integer_mv
            let screen_content = bits.flag()? || bits.flag()?;
            if screen_content && !bits.flag()? {
                bits.skip(1)?;
            }
            if order_hint {
                bits.skip(3)?;
            }
        }
        bits.skip(3)?; // enable_superres, enable_cdef, enable_restoration
        let mut sequence = Sequence {
            profile,
            level,
            high_tier,
            width,
            height,
            bit_depth: 8,
            monochrome: false,
            subsampling: (true, true),
            chroma_position: 0,
            colour: None,
            full_range: false,
        };
        sequence.read_colour(&mut bits)?;
        Some(sequence)
    }

    /// `color_config` (§5.5.2).
    fn read_colour(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        let high = bits.flag()?;
        self.bit_depth = match (self.profile, high) {
            (_, false) => 8,
            (2, true) if bits.flag()? => 12,
            (_, true) => 10,
        };
        self.monochrome = self.profile != 1 && bits.flag()?;
        if bits.flag()? {
            self.colour = Some((bits.byte()?, bits.byte()?, bits.byte()?));
        }
        if self.monochrome {
            self.full_range = bits.flag()?;
            return Some(());
        }
        // sRGB: BT.709 primaries, its own transfer, identity matrix.
        if self.colour == Some((1, 13, 0)) {
            self.full_range = true;
            self.subsampling = (false, false);
            return Some(());
        }
        self.full_range = bits.flag()?;
        self.subsampling = match (self.profile, self.bit_depth) {
            (0, _) => (true, true),
            (1, _) => (false, false),
            (_, 12) => {
                let x = bits.flag()?;
                (x, x && bits.flag()?)
            }
            _ => (true, false),
        };
        if self.subsampling == (true, true) {
            self.chroma_position = bits.take(2)? as u8;
        }
        Some(())
    }

    /// From `av1C` alone (§2.3.3 of the binding), when no sequence header is to be had.
    fn from_configuration([first, second]: [u8; 2], fields: Fields) -> Sequence {
        let (width, height) = match fields {
            Fields::Visual { width, height } => (u32::from(width), u32::from(height)),
            Fields::Audio { .. } => (0, 0),
        };
        let flag = |bit: u8| second >> bit & 1 == 1;
        Sequence {
            profile: first >> 5,
            level: first & 0x1F,
            high_tier: flag(7),
            width,
            height,
            bit_depth: match (flag(6), flag(5)) {
                (false, _) => 8,
                (true, false) => 10,
                (true, true) => 12,
            },
            monochrome: flag(4),
            subsampling: (flag(3), flag(2)),
            chroma_position: second & 3,
            colour: None,
            full_range: false,
        }
    }

    /// §5 of the binding. The last six fields go together, and are left out when they would say what their absence says:
    /// 4:2:0 in BT.709, or a colour that nobody specified.
    fn codec(&self, colour: Triple) -> String {
        let tier = if self.high_tier { 'H' } else { 'M' };
        let short = format!("av01.{}.{:02}{tier}.{:02}", self.profile, self.level, self.bit_depth);
        let (x, y) = self.subsampling;
        let position = if x && y { self.chroma_position } else { 0 };
        let usual_colour = colour == (1, 1, 1) || colour == UNSPECIFIED;
        if usual_colour && !self.monochrome && (x, y, position) == (true, true, 0) && !self.full_range {
            return short;
        }
        let (primaries, transfer, matrix) = colour;
        format!(
            "{short}.{}.{}{}{position}.{primaries:02}.{transfer:02}.{matrix:02}.{}",
            u8::from(self.monochrome),
            u8::from(x),
            u8::from(y),
            u8::from(self.full_range)
        )
    }
}

/// §4.10.3
fn skip_uvlc(bits: &mut Bits<'_>) -> Option<()> {
    let mut zeros = 0;
    while !bits.flag()? {
        zeros += 1;
    }
    // From 32 zeros on, the value is 2^32 - 1 and has no bits of its own.
    if zeros < 32 { bits.skip(zeros) } else { Some(()) }
}

/// OBUs with their types and payloads (§5.3), as far as their sizes hold.
fn obus(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (&header, tail) = rest.split_first()?;
        let extension = usize::from(header >> 2 & 1);
        let mut tail = tail.get(extension..)?;
        // The last OBU of a sample may have no size of its own.
        let size = if header & 2 != 0 { leb128(&mut tail)? } else { tail.len() };
        let (payload, tail) = tail.split_at_checked(size).unwrap_or((tail, &[]));
        rest = tail;
        Some((header >> 3 & 15, payload))
    })
}

/// §4.10.5
fn leb128(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0_u64;
    for index in 0..8 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return usize::try_from(value).ok();
        }
    }
    None
}

/// A key frame that is shown starts a closed GOP. One that is not shown yet is a forward key frame, a delayed random
/// access point: frames shown before it may need what came before (§7.6.3, and §2.5 of the binding).
pub fn random_access(sample: &[u8]) -> Option<Start> {
    let mut reduced = false;
    for (kind, payload) in obus(sample).take(LEADING_OBUS_MAX) {
        match kind {
            // seq_profile, still_picture, reduced_still_picture_header
            SEQUENCE_HEADER => reduced = payload.first().is_some_and(|&byte| byte >> 3 & 1 == 1),
            FRAME_HEADER | FRAME => {
                if reduced {
                    return Some(Start::Closed);
                }
                let mut bits = Bits::new(payload);
                let show_existing = bits.flag()?;
                if show_existing || bits.take(2)? != KEY_FRAME {
                    return None;
                }
                return Some(if bits.flag()? { Start::Closed } else { Start::Open });
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::bits::tests::Writer;
    use crate::media::codec::fixtures::{self as from, bytes};

    #[test]
    fn another_reader_reads_the_same() {
        for fixture in [from::AV1, from::AV1_PQ, from::AV1_SVT] {
            let sample = bytes(fixture.sample);
            let (_, payload) = obus(&sample).find(|(kind, _)| *kind == SEQUENCE_HEADER).unwrap();
            let ours = Sequence::read(payload).unwrap();
            let header = scuffle_av1::ObuHeader::parse(&mut &sample[..]).unwrap();
            let theirs = scuffle_av1::seq::SequenceHeaderObu::parse(header, &mut &*payload).unwrap();
            assert_eq!(
                (u64::from(ours.width), u64::from(ours.height)),
                (theirs.max_frame_width, theirs.max_frame_height)
            );
            let point = theirs.operating_points[0];
            assert_eq!((ours.level, ours.high_tier), (point.seq_level_idx, point.seq_tier));
            let colour = theirs.color_config;
            assert_eq!(i32::from(ours.bit_depth), colour.bit_depth);
            let triple = (colour.color_primaries, colour.transfer_characteristics, colour.matrix_coefficients);
            assert_eq!(ours.colour.unwrap_or(UNSPECIFIED), triple);
            assert_eq!(ours.full_range, colour.full_color_range);
            assert_eq!(ours.subsampling, (colour.subsampling_x, colour.subsampling_y));
        }
    }

    #[test]
    fn everything_before_the_colour_is_read_past() {
        // Professional profile, 4:2:0 in 12 bit, timing and decoder models, two operating points, frame ids.
        let mut bits = Writer::default();
        bits.put(2, 3).put(0, 2).put(1, 1).put(1, 32).put(50, 32).put(1, 1).put(0b011, 3);
        bits.put(1, 1).put(9, 5).put(1, 32).put(9, 5).put(9, 5).put(1, 1).put(1, 5);
        for level in [13, 5] {
            bits.put(0x101, 12).put(level, 5);
            if level > 7 {
                bits.put(1, 1);
            }
            bits.put(1, 1).put(0, 21).put(1, 1).put(3, 4);
        }
        bits.put(11, 4).put(11, 4).put(3839, 12).put(2159, 12).put(1, 1).put(0, 7).put(0, 3).put(15, 4);
        bits.put(1, 1).put(3, 2).put(0, 1).put(1, 1).put(0, 1).put(1, 1).put(6, 3).put(7, 3);
        bits.put(1, 1)
            .put(1, 1)
            .put(0, 1)
            .put(1, 1)
            .put(9, 8)
            .put(16, 8)
            .put(9, 8)
            .put(1, 1)
            .put(1, 1)
            .put(1, 1)
            .put(2, 2);
        let sequence = Sequence::read(&bits.bytes()).unwrap();
        assert_eq!((sequence.width, sequence.height), (3840, 2160));
        assert_eq!(sequence.codec(sequence.colour.unwrap()), "av01.2.13H.12.0.112.09.16.09.1");
    }

    #[test]
    fn codec_strings() {
        let main = Sequence {
            profile: 0,
            level: 4,
            high_tier: false,
            width: 1280,
            height: 720,
            bit_depth: 8,
            monochrome: false,
            subsampling: (true, true),
            chroma_position: 0,
            colour: None,
            full_range: false,
        };
        let cases = [
            (main, (1, 1, 1), "av01.0.04M.08"),
            (main, UNSPECIFIED, "av01.0.04M.08"),
            // The example of the binding, §5.
            (Sequence { bit_depth: 10, chroma_position: 2, ..main }, (9, 16, 9), "av01.0.04M.10.0.112.09.16.09.0"),
            (Sequence { monochrome: true, ..main }, (1, 1, 1), "av01.0.04M.08.1.110.01.01.01.0"),
            (Sequence { full_range: true, ..main }, UNSPECIFIED, "av01.0.04M.08.0.110.02.02.02.1"),
            (
                Sequence { profile: 1, subsampling: (false, false), chroma_position: 1, ..main },
                (1, 13, 0),
                "av01.1.04M.08.0.000.01.13.00.0",
            ),
        ];
        for (sequence, colour, want) in cases {
            assert_eq!(sequence.codec(colour), want);
        }
    }

    #[test]
    fn sizes_are_followed_and_bounded() {
        let cases: &[(&[u8], usize)] = &[
            (&[0x12, 0, 0x0A, 1, 9, 0x32, 1, 7], 3),
            (&[0x12, 0, 0x0A, 0x81, 0, 9, 0x30, 7, 7, 7], 3),
            (&[0x16, 0, 1, 5, 0x32, 9, 1], 2),
            (&[0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80], 0),
            (&[0x16], 0),
            (&[], 0),
        ];
        for (sample, count) in cases {
            assert_eq!(obus(sample).count(), *count, "{sample:x?}");
        }
    }
}
