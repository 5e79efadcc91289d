//! Colour as ITU-T H.273 counts it, and who is believed when bitstream and container differ.

use crate::base::units::gcd;
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

    /// RFC 8216bis §4.4.6.2: by the transfer characteristics alone. Broadcast HLG is coded as BT.2020 (14) for receivers
    /// that know no better, and names HLG in an alternative transfer characteristics SEI, which is `preferred`.
    pub fn range(&self, preferred: Option<u8>) -> VideoRange {
        match preferred.unwrap_or(self.triple.1) {
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

#[cfg(test)]
mod tests {
    use crate::base::cursor::Cursor;

    use super::*;

    fn with_entry<T>(children: &[u8], check: impl FnOnce(&Entry<'_>) -> T) -> T {
        let mut body = vec![0; 78];
        body.extend_from_slice(children);
        check(&Entry::visual(*b"avc1", Cursor::new(&body, 8), 0).unwrap())
    }

    fn colr(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        boxed(&mut out, b"colr", |out| out.extend_from_slice(body));
        out
    }

    #[test]
    fn the_bitstream_is_believed_where_it_says_something() {
        let nclx = colr(b"nclx\0\x09\0\x10\0\x09\x80");
        let nclc = colr(b"nclc\0\x01\0\x01\0\x06");
        let profile = colr(b"prof....");
        let short = colr(b"nclx\0\x09");
        type Row<'a> = (&'a str, &'a [u8], Triple, Option<bool>, Triple, VideoRange, Option<&'a [u8]>);
        let limited_nclc = colr(b"nclx\0\x01\0\x01\0\x06\x00");
        let full_nclc = colr(b"nclx\0\x01\0\x01\0\x06\x80");
        let cases: &[Row] = &[
            ("nothing", &[], UNSPECIFIED, None, UNSPECIFIED, VideoRange::Sdr, None),
            ("bitstream alone", &[], (9, 18, 9), None, (9, 18, 9), VideoRange::Hlg, None),
            ("container alone", &nclx, UNSPECIFIED, None, (9, 16, 9), VideoRange::Pq, Some(&nclx)),
            ("they differ", &nclx, (1, 1, 1), Some(true), (1, 1, 1), VideoRange::Sdr, Some(&nclx)),
            ("each a part", &nclx, (2, 18, 2), Some(true), (9, 18, 9), VideoRange::Hlg, Some(&nclx)),
            ("QuickTime", &nclc, UNSPECIFIED, None, (1, 1, 6), VideoRange::Sdr, Some(&limited_nclc)),
            ("QuickTime, full range", &nclc, UNSPECIFIED, Some(true), (1, 1, 6), VideoRange::Sdr, Some(&full_nclc)),
            ("ICC profile", &profile, UNSPECIFIED, None, UNSPECIFIED, VideoRange::Sdr, Some(&profile)),
            ("cut short", &short, UNSPECIFIED, None, UNSPECIFIED, VideoRange::Sdr, None),
        ];
        for (name, children, bitstream, full_range, triple, range, kept) in cases {
            let colour = with_entry(children, |entry| Colour::of(entry, *bitstream, *full_range));
            assert_eq!(colour.triple, *triple, "{name}");
            assert_eq!(colour.range(None), *range, "{name}");
            assert_eq!(colour.colr.as_deref(), *kept, "{name}");
        }
        let broadcast = Colour { triple: (9, 14, 9), colr: None };
        assert_eq!((broadcast.range(None), broadcast.range(Some(18))), (VideoRange::Sdr, VideoRange::Hlg));
    }

    #[test]
    fn pixel_aspects() {
        let pasp = |width: u32, height: u32| {
            let mut out = Vec::new();
            boxed(&mut out, b"pasp", |out| {
                out.extend_from_slice(&[width.to_be_bytes(), height.to_be_bytes()].concat());
            });
            out
        };
        let cases = [
            (vec![], None, (1, 1)),
            (vec![], Some((640, 480)), (4, 3)),
            (vec![], Some((0, 3)), (1, 1)),
            (pasp(64, 45), Some((4, 3)), (64, 45)),
            (pasp(8, 8), Some((4, 3)), (1, 1)),
            (pasp(0, 1), Some((4, 3)), (4, 3)),
        ];
        for (children, bitstream, want) in cases {
            assert_eq!(with_entry(&children, |entry| pixel_aspect(entry, bitstream)), want);
        }
        assert_eq!((aspect_ratio(0), aspect_ratio(14), aspect_ratio(17)), (None, Some((4, 3)), None));
    }
}
