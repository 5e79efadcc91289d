//! Colour as ITU-T H.273 counts it, and who is believed when bitstream and container differ.

use crate::media::isobmff::write::boxed;
use crate::media::track::VideoRange;

use super::entry::Entry;

/// Colour primaries, transfer characteristics, matrix coefficients (ITU-T H.273); 2 is unspecified.
pub type Triple = (u8, u8, u8);

pub const UNSPECIFIED: Triple = (2, 2, 2);

const TRANSFER_PQ: u8 = 16;
const TRANSFER_HLG: u8 = 18;

/// What the picture's colours mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Colour {
    pub triple: Triple,
    /// A `colr` box for the normalised entry: there if the source has one.
    pub colr: Option<Vec<u8>>,
}

impl Colour {
    /// The bitstream is believed first, number by number; what it leaves unspecified comes from `colr`.
    ///
    /// QuickTime's `nclc` is written as the `nclx` of ISO/IEC 14496-12 §12.1.5, whose range flag it lacks: that is the
    /// bitstream's. Profiles (`rICC`, `prof`) are kept as they are.
    pub fn of(entry: &Entry<'_>, bitstream: Triple, full_range: Option<bool>) -> Colour {
        let mut container = UNSPECIFIED;
        let mut kept = None;
        for atom in entry.atoms.iter().filter(|atom| &atom.kind == b"colr") {
            let Some((kind, rest)) = atom.body.split_first_chunk::<4>() else { continue };
            match kind {
                b"nclx" | b"nclc" => {
                    let &[_, primaries, _, transfer, _, matrix, ref rest @ ..] = rest else { continue };
                    container = (primaries, transfer, matrix);
                    let flagged = kind == b"nclx" && rest.first().is_some_and(|&flags| flags & 0x80 != 0);
                    let full = full_range.unwrap_or(flagged);
                    let mut colr = Vec::with_capacity(19);
                    boxed(&mut colr, b"colr", |out| {
                        out.extend_from_slice(b"nclx");
                        out.extend_from_slice(&[0, primaries, 0, transfer, 0, matrix, u8::from(full) << 7]);
                    });
                    kept = Some(colr);
                }
                b"rICC" | b"prof" if kept.is_none() => kept = Some(atom.whole.to_vec()),
                _ => {}
            }
        }
        let pick = |bitstream, container| if bitstream == UNSPECIFIED.0 { container } else { bitstream };
        let triple = (pick(bitstream.0, container.0), pick(bitstream.1, container.1), pick(bitstream.2, container.2));
        Colour { triple, colr: kept }
    }

    /// RFC 8216bis §4.4.6.2: by the transfer characteristics alone.
    pub fn range(&self) -> VideoRange {
        match self.triple.1 {
            TRANSFER_PQ => VideoRange::Pq,
            TRANSFER_HLG => VideoRange::Hlg,
            _ => VideoRange::Sdr,
        }
    }
}

/// Sample aspect ratio: `pasp`, which an author may set without touching the bitstream, else the bitstream's.
pub fn pixel_aspect(entry: &Entry<'_>, bitstream: Option<(u32, u32)>) -> (u32, u32) {
    let pasp = entry.find(b"pasp").and_then(|atom| {
        let mut cursor = atom.cursor();
        Some((cursor.u32().ok()?, cursor.u32().ok()?))
    });
    let usable = |&(width, height): &(u32, u32)| width != 0 && height != 0;
    let (width, height) = pasp.filter(usable).or(bitstream.filter(usable)).unwrap_or((1, 1));
    let divisor = gcd(width, height);
    (width / divisor, height / divisor)
}

/// `aspect_ratio_idc` (ITU-T H.273 table "SampleAspectRatio"); `None` for 0, unspecified, and for reserved values.
pub fn aspect_ratio(idc: u8) -> Option<(u32, u32)> {
    const TABLE: [(u32, u32); 16] = [
        (1, 1),
        (12, 11),
        (10, 11),
        (16, 11),
        (40, 33),
        (24, 11),
        (20, 11),
        (32, 11),
        (80, 33),
        (18, 11),
        (15, 11),
        (64, 33),
        (160, 99),
        (4, 3),
        (3, 2),
        (2, 1),
    ];
    TABLE.get(usize::from(idc).checked_sub(1)?).copied()
}

/// Of two numbers that are not both 0.
fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
