//! VP9 (VP9 Bitstream & Decoding Process Specification; VP Codec ISO Media File Format Binding).

use crate::media::fragment::Start;
use crate::media::track::{Details, Video};

use super::bits::Bits;
use super::colour::{Colour, Triple, pixel_aspect};
use super::entry::{Entry, Fields};
use super::{Description, Fault, Framing};

/// What is used of `vpcC`, corrected by the first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Configuration {
    profile: u8,
    level: u8,
    bit_depth: u8,
    chroma_subsampling: u8,
    full_range: bool,
    colour: Triple,
}

/// What is used of the uncompressed header of a key frame (§6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyFrame {
    pub profile: u8,
    pub bit_depth: u8,
    pub width: u32,
    pub height: u32,
}

pub fn describe(entry: &Entry<'_>, sample: &[u8]) -> Result<Description, Fault> {
    let atom = entry.configuration(b"vpcC")?;
    let mut configuration = Configuration::read(entry).map_err(|fault| fault.within(b"vpcC"))?;
    let (mut width, mut height) = match entry.fields {
        Fields::Visual { width, height } => (u32::from(width), u32::from(height)),
        Fields::Audio { .. } => (0, 0),
    };
    if let Some(frame) = KeyFrame::read(sample) {
        (width, height) = (frame.width, frame.height);
        (configuration.profile, configuration.bit_depth) = (frame.profile, frame.bit_depth);
    }
    // Muxers that were not told a frame rate leave the level at 0, which is none.
    if configuration.level == 0 {
        configuration.level = level_of_picture(width, height);
    }
    let colour = Colour::of(entry, configuration.colour, Some(configuration.full_range));
    Ok(Description {
        codec: configuration.codec(colour.triple),
        details: Details::Video(Video {
            width,
            height,
            pixel_aspect: pixel_aspect(entry, None),
            frame_rate: (0, 1),
            range: colour.range(None),
            bit_depth: configuration.bit_depth,
            colour: colour.triple,
            supplemental_codec: None,
            captions: Vec::new(),
        }),
        sample_entry: entry.normal_visual(b"vp09", (width, height), "VPC Coding", atom.whole, colour.colr.as_deref()),
        framing: Framing::Vp9,
        priming_hint: None,
    })
}

impl Configuration {
    fn read(entry: &Entry<'_>) -> Result<Configuration, Fault> {
        let mut cursor = entry.configuration(b"vpcC")?.cursor();
        let at = cursor.position();
        let version = cursor.u8()?;
        cursor.skip(3)?;
        // Version 0 is of a draft that packed its fields differently.
        if version != 1 {
            return Err(Fault::new(at, format!("configuration version {version}"), "version 1"));
        }
        let (profile, level, packed) = (cursor.u8()?, cursor.u8()?, cursor.u8()?);
        Ok(Configuration {
            profile,
            level,
            bit_depth: packed >> 4,
            chroma_subsampling: packed >> 1 & 7,
            full_range: packed & 1 == 1,
            colour: (cursor.u8()?, cursor.u8()?, cursor.u8()?),
        })
    }

    /// Section "Codecs Parameter String" of the binding. The optional fields go together, and are left out when they would
    /// say what their absence says: 4:2:0 colocated with luma, BT.709, limited range; or nothing, unspecified.
    fn codec(&self, colour: Triple) -> String {
        let short = format!("vp09.{:02}.{:02}.{:02}", self.profile, self.level, self.bit_depth);
        let usual_colour = colour == (1, 1, 1) || colour == (2, 2, 2);
        if usual_colour && self.chroma_subsampling <= 1 && !self.full_range {
            return short;
        }
        let (primaries, transfer, matrix) = colour;
        let (chroma, range) = (self.chroma_subsampling, u8::from(self.full_range));
        format!("{short}.{chroma:02}.{primaries:02}.{transfer:02}.{matrix:02}.{range:02}")
    }
}

impl KeyFrame {
    pub(super) fn read(sample: &[u8]) -> Option<KeyFrame> {
        let mut bits = Bits::new(sample);
        let profile = key_frame_profile(&mut bits)?;
        bits.skip(2)?; // show_frame, error_resilient_mode
        if bits.take(24)? != 0x49_83_42 {
            return None;
        }
        let bit_depth = match profile >= 2 {
            true if bits.flag()? => 12,
            true => 10,
            false => 8,
        };
        const RGB: u32 = 7;
        if bits.take(3)? != RGB {
            bits.skip(1)?; // color_range
            if profile & 1 == 1 {
                bits.skip(3)?; // subsampling_x, subsampling_y, reserved
            }
        } else if profile & 1 == 1 {
            bits.skip(1)?;
        }
        Some(KeyFrame { profile, bit_depth, width: bits.take(16)? + 1, height: bits.take(16)? + 1 })
    }
}

/// The profile, if a key frame's header begins here.
fn key_frame_profile(bits: &mut Bits<'_>) -> Option<u8> {
    const FRAME_MARKER: u32 = 2;
    if bits.take(2)? != FRAME_MARKER {
        return None;
    }
    let profile = (bits.take(1)? | bits.take(1)? << 1) as u8;
    if profile == 3 {
        bits.skip(1)?;
    }
    let (show_existing, inter) = (bits.flag()?, bits.flag()?);
    (!show_existing && !inter).then_some(profile)
}

/// The lowest level whose picture size is large enough (annex A), frame rate aside.
pub(super) fn level_of_picture(width: u32, height: u32) -> u8 {
    const LUMA_PICTURE_SIZE_MAX: [(u8, u32); 10] = [
        (10, 36_864),
        (11, 73_728),
        (20, 122_880),
        (21, 245_760),
        (30, 552_960),
        (31, 983_040),
        (40, 2_228_224),
        (50, 8_912_896),
        (60, 35_651_584),
        (62, u32::MAX),
    ];
    let size = width.saturating_mul(height);
    LUMA_PICTURE_SIZE_MAX.iter().find(|(_, max)| size <= *max).map_or(62, |(level, _)| *level)
}

/// A key frame needs nothing before it. In a superframe it is the first.
pub fn random_access(sample: &[u8]) -> Option<Start> {
    key_frame_profile(&mut Bits::new(sample)).map(|_| Start::Closed)
}
