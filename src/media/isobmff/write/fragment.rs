//! `moof` and the header of its `mdat`: one fragment, one track, one run.
//!
//! ```text
//! moof
//!   mfhd  sequence_number
//!   traf
//!     tfhd  default-base-is-moof; duration, size and flags where (nearly) all samples agree
//!     tfdt  version 1
//!     trun  version 1; only the columns in which samples differ
//! mdat    the samples follow
//! ```

use thiserror::Error;

use crate::media::Sample;

use super::{put_u32, put_u64};

/// Why a fragment cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error("a fragment without samples")]
    Empty,
    #[error("a fragment of {samples} samples and {bytes} media bytes; a 32-bit mdat and trun hold less than 4 GiB")]
    TooLarge { samples: usize, bytes: u64 },
}

// ISO/IEC 14496-12 §8.8.7.1 (tfhd) and §8.8.8.1 (trun).
const TFHD_DURATION: u32 = 0x08;
const TFHD_SIZE: u32 = 0x10;
const TFHD_FLAGS: u32 = 0x20;
const TFHD_BASE_IS_MOOF: u32 = 0x02_0000;
const TRUN_DATA_OFFSET: u32 = 0x01;
const TRUN_FIRST_FLAGS: u32 = 0x04;
const TRUN_DURATION: u32 = 0x100;
const TRUN_SIZE: u32 = 0x200;
const TRUN_FLAGS: u32 = 0x400;
const TRUN_COMPOSITION: u32 = 0x800;

/// The one track of a track file.
pub(super) const TRACK_ID: u32 = 1;

/// How a fragment's samples are told to readers: what they share goes to `tfhd`, the rest is a column of `trun`.
struct Columns {
    duration: Option<u32>,
    size: Option<u32>,
    flags: Flags,
    composition: bool,
}

enum Flags {
    Shared(u32),
    /// All but the first sample agree: the usual key frame and what depends on it.
    FirstAndRest(u32, u32),
    Each,
}

impl Columns {
    fn of(first: &Sample, rest: &[Sample]) -> Columns {
        let shared = |all: bool, value: u32| all.then_some(value);
        let second = rest.first().unwrap_or(first);
        let flags = if !rest.iter().all(|sample| sample.flags == second.flags) {
            Flags::Each
        } else if second.flags == first.flags {
            Flags::Shared(first.flags.get())
        } else {
            Flags::FirstAndRest(first.flags.get(), second.flags.get())
        };
        Columns {
            duration: shared(rest.iter().all(|sample| sample.duration == first.duration), first.duration.get()),
            size: shared(rest.iter().all(|sample| sample.size == first.size), first.size.get()),
            flags,
            composition: std::iter::once(first).chain(rest).any(|sample| sample.composition_offset.get() != 0),
        }
    }

    fn tfhd_flags(&self) -> u32 {
        let mut flags = TFHD_BASE_IS_MOOF;
        flags |= if self.duration.is_some() { TFHD_DURATION } else { 0 };
        flags |= if self.size.is_some() { TFHD_SIZE } else { 0 };
        flags |= if matches!(self.flags, Flags::Each) { 0 } else { TFHD_FLAGS };
        flags
    }

    fn trun_flags(&self) -> u32 {
        let mut flags = TRUN_DATA_OFFSET;
        flags |= if self.duration.is_none() { TRUN_DURATION } else { 0 };
        flags |= if self.size.is_none() { TRUN_SIZE } else { 0 };
        flags |= match self.flags {
            Flags::Shared(_) => 0,
            Flags::FirstAndRest(..) => TRUN_FIRST_FLAGS,
            Flags::Each => TRUN_FLAGS,
        };
        flags |= if self.composition { TRUN_COMPOSITION } else { 0 };
        flags
    }
}

/// Appends a fragment that has no samples for `duration` ticks from `decode_time` on (§8.8.7.1, duration-is-empty).
pub fn empty_fragment(sequence: u32, decode_time: u64, duration: u32, out: &mut Vec<u8>) {
    const TFHD_EMPTY: u32 = 0x01_0000;
    const TFHD_BASE_IS_MOOF: u32 = 0x02_0000;
    open(out, 8 + 16 + 8 + 20 + 20, b"moof");
    open(out, 16, b"mfhd");
    put_u32(out, 0);
    put_u32(out, sequence);
    open(out, 8 + 20 + 20, b"traf");
    open(out, 20, b"tfhd");
    put_u32(out, TFHD_EMPTY | TFHD_BASE_IS_MOOF | TFHD_DURATION);
    put_u32(out, TRACK_ID);
    put_u32(out, duration);
    open(out, 20, b"tfdt");
    put_u32(out, 1 << 24);
    put_u64(out, decode_time);
    open(out, 8, b"mdat");
}

/// Appends `moof` and the header of `mdat` for one fragment; the samples' bytes go right behind.
///
/// `sequence` counts fragments from 1, `decode_time` is in track ticks. Nothing is allocated once `out` has grown to the
/// size of the largest header. On an error `out` is as it was.
pub fn fragment_header(sequence: u32, decode_time: u64, samples: &[Sample], out: &mut Vec<u8>) -> Result<(), Error> {
    let (first, rest) = samples.split_first().ok_or(Error::Empty)?;
    let bytes = samples.iter().map(|sample| u64::from(sample.size.get())).sum::<u64>();
    let columns = Columns::of(first, rest);
    let (tfhd_flags, trun_flags) = (columns.tfhd_flags(), columns.trun_flags());

    let row = 4 * (trun_flags & (TRUN_DURATION | TRUN_SIZE | TRUN_FLAGS | TRUN_COMPOSITION)).count_ones() as u64;
    let first_flags = if trun_flags & TRUN_FIRST_FLAGS != 0 { 4 } else { 0 };
    let trun = 20 + first_flags + row * samples.len() as u64;
    let tfhd = 16 + 4 * (tfhd_flags & (TFHD_DURATION | TFHD_SIZE | TFHD_FLAGS)).count_ones() as u64;
    let traf = 8 + tfhd + 20 + trun;
    let moof = 8 + 16 + traf;
    let too_large = Error::TooLarge { samples: samples.len(), bytes };
    // data_offset is signed (§8.8.8.2), the size of mdat is not.
    if i32::try_from(moof + 8).is_err() || u32::try_from(bytes + 8).is_err() {
        return Err(too_large);
    }

    out.reserve(moof as usize + 8);
    open(out, moof, b"moof");
    open(out, 16, b"mfhd");
    put_u32(out, 0);
    put_u32(out, sequence);
    open(out, traf, b"traf");

    open(out, tfhd, b"tfhd");
    put_u32(out, tfhd_flags);
    put_u32(out, TRACK_ID);
    columns.duration.iter().for_each(|&duration| put_u32(out, duration));
    columns.size.iter().for_each(|&size| put_u32(out, size));
    match columns.flags {
        Flags::Shared(flags) | Flags::FirstAndRest(_, flags) => put_u32(out, flags),
        Flags::Each => {}
    }

    open(out, 20, b"tfdt");
    put_u32(out, 1 << 24);
    put_u64(out, decode_time);

    open(out, trun, b"trun");
    put_u32(out, 1 << 24 | trun_flags);
    put_u32(out, samples.len() as u32);
    put_u32(out, (moof + 8) as u32);
    if let Flags::FirstAndRest(flags, _) = columns.flags {
        put_u32(out, flags);
    }
    if row > 0 {
        for sample in samples {
            if columns.duration.is_none() {
                put_u32(out, sample.duration.get());
            }
            if columns.size.is_none() {
                put_u32(out, sample.size.get());
            }
            if matches!(columns.flags, Flags::Each) {
                put_u32(out, sample.flags.get());
            }
            if columns.composition {
                put_u32(out, sample.composition_offset.get() as u32);
            }
        }
    }
    open(out, bytes + 8, b"mdat");
    Ok(())
}

/// Sizes are known beforehand here: nothing is patched.
fn open(out: &mut Vec<u8>, size: u64, kind: &[u8; 4]) {
    put_u32(out, size as u32);
    out.extend_from_slice(kind);
}

#[cfg(test)]
mod tests {
    use mp4_atom::{DecodeMaybe, Header, Moof, ReadFrom};
    use proptest::prelude::*;

    use super::*;

    fn sample(size: u32, duration: u32, composition_offset: i32, flags: u32) -> Sample {
        Sample {
            size: size.into(),
            duration: duration.into(),
            composition_offset: composition_offset.into(),
            flags: flags.into(),
        }
    }

    const KEY: u32 = 0x0200_0000;
    const INTER: u32 = 0x0101_0000;

    #[test]
    fn layout_byte_by_byte() {
        let samples = [sample(0x300, 512, 1024, KEY), sample(0x20, 512, -512, INTER)];
        let mut out = vec![0xEE];
        fragment_header(7, 0x1_0000_0002, &samples, &mut out).unwrap();
        let rows: &[(&str, &[u8])] = &[
            ("what was there", &[0xEE]),
            ("moof", &[0, 0, 0, 116, b'm', b'o', b'o', b'f']),
            ("mfhd", &[0, 0, 0, 16, b'm', b'f', b'h', b'd', 0, 0, 0, 0]),
            ("sequence_number", &[0, 0, 0, 7]),
            ("traf", &[0, 0, 0, 92, b't', b'r', b'a', b'f']),
            ("tfhd: base is moof, flags, duration", &[0, 0, 0, 24, b't', b'f', b'h', b'd', 0, 2, 0, 0x28]),
            ("track_ID", &[0, 0, 0, 1]),
            ("default_sample_duration", &[0, 0, 2, 0]),
            ("default_sample_flags", &[1, 1, 0, 0]),
            ("tfdt version 1", &[0, 0, 0, 20, b't', b'f', b'd', b't', 1, 0, 0, 0]),
            ("baseMediaDecodeTime", &[0, 0, 0, 1, 0, 0, 0, 2]),
            (
                "trun version 1: offset, first flags, size, composition",
                &[0, 0, 0, 40, b't', b'r', b'u', b'n', 1, 0, 10, 5],
            ),
            ("sample_count", &[0, 0, 0, 2]),
            ("data_offset", &[0, 0, 0, 124]),
            ("first_sample_flags", &[2, 0, 0, 0]),
            ("sample 1", &[0, 0, 3, 0, 0, 0, 4, 0]),
            ("sample 2", &[0, 0, 0, 0x20, 0xFF, 0xFF, 0xFE, 0]),
            ("mdat", &[0, 0, 3, 0x28, b'm', b'd', b'a', b't']),
        ];
        let mut at = 0;
        for (name, want) in rows {
            assert_eq!(out.get(at..at + want.len()), Some(*want), "{name}");
            at += want.len();
        }
        assert_eq!(out.len(), at);
    }

    #[test]
    fn columns_in_which_samples_agree_are_left_out() {
        let cases: &[(&str, &[Sample], usize)] = &[
            ("one sample", &[sample(10, 1024, 0, KEY)], 108),
            ("equal samples", &[sample(10, 1024, 0, KEY); 500], 108),
            ("sizes differ", &[sample(10, 1024, 0, KEY), sample(11, 1024, 0, KEY)], 104 + 8),
            ("flags differ", &[sample(1, 1, 0, KEY), sample(1, 1, 0, INTER), sample(1, 1, 0, KEY)], 104 + 12),
            ("last shorter", &[sample(1, 9, 0, KEY), sample(1, 9, 0, KEY), sample(1, 8, 0, KEY)], 104 + 12),
        ];
        for (name, samples, want) in cases {
            let mut out = Vec::new();
            fragment_header(1, 0, samples, &mut out).unwrap();
            assert_eq!(out.len(), *want, "{name}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut out = vec![1];
        assert_eq!(fragment_header(1, 0, &[], &mut out), Err(Error::Empty));
        let large = [sample(u32::MAX, 1, 0, KEY), sample(1, 1, 0, KEY)];
        assert_eq!(fragment_header(1, 0, &large, &mut out), Err(Error::TooLarge { samples: 2, bytes: 1 << 32 }));
        assert_eq!(out, [1]);
    }

    proptest! {
        #[test]
        fn another_reader_reads_what_was_written(
            decode_time: u64,
            sequence: u32,
            rows in prop::collection::vec((0_u32..3, 0_u32..3, -1_i32..2, 0_u32..2), 1..20),
        ) {
            let samples: Vec<Sample> = rows.iter().map(|&(a, b, c, d)| sample(a, b, c, d)).collect();
            let mut out = Vec::new();
            fragment_header(sequence, decode_time, &samples, &mut out).unwrap();
            let mut rest = out.as_slice();
            let moof = Moof::read_from(&mut rest).unwrap();
            let mdat = Header::decode_maybe(&mut rest).unwrap().unwrap();
            prop_assert_eq!(mdat.size.unwrap() as u64, samples.iter().map(|sample| u64::from(sample.size.get())).sum::<u64>());
            prop_assert!(rest.is_empty());
            prop_assert_eq!(moof.mfhd.sequence_number, sequence);
            let traf = &moof.traf[0];
            let (tfhd, trun) = (&traf.tfhd, &traf.trun[0]);
            prop_assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, decode_time);
            prop_assert_eq!(trun.data_offset, Some(out.len() as i32));
            prop_assert_eq!(trun.samples.len(), samples.len());
            for (read, sample) in trun.samples.iter().zip(&samples) {
                prop_assert_eq!(read.size.or(tfhd.default_sample_size), Some(sample.size.get()));
                prop_assert_eq!(read.duration.or(tfhd.default_sample_duration), Some(sample.duration.get()));
                prop_assert_eq!(read.flags.or(tfhd.default_sample_flags), Some(sample.flags.get()));
                prop_assert_eq!(read.cts.unwrap_or(0), i64::from(sample.composition_offset.get()));
            }
        }
    }
}
