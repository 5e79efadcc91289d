//! `sidx`: where the parts of a track lie in a file (ISO/IEC 14496-12 §8.16.3).

use crate::base::Timescale;

use super::fragment::TRACK_ID;
use super::{full_boxed, put_u16, put_u32, put_u64};

/// One stretch of media, right behind the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// 31 bits.
    pub bytes: u32,
    /// In track ticks.
    pub duration: u32,
    /// Type of the stream access point that it begins with, 1 to 6.
    pub access_point: u8,
}

const FIXED_BYTES: u64 = 40;
const REFERENCE_BYTES: u64 = 12;

/// Bytes of the box.
pub fn segment_index_len(references: usize) -> u64 {
    FIXED_BYTES + references as u64 * REFERENCE_BYTES
}

/// Appends the box; the media begins right behind it, at `time` in track ticks. At most 65 535 references.
pub fn segment_index(timescale: Timescale, time: u64, references: &[Reference], out: &mut Vec<u8>) {
    full_boxed(out, b"sidx", 1, 0, |out| {
        put_u32(out, TRACK_ID);
        put_u32(out, timescale.per_second());
        put_u64(out, time);
        put_u64(out, 0);
        put_u16(out, 0);
        put_u16(out, references.len().min(usize::from(u16::MAX)) as u16);
        for reference in references {
            put_u32(out, reference.bytes & 0x7FFF_FFFF);
            put_u32(out, reference.duration);
            put_u32(out, 1 << 31 | u32::from(reference.access_point & 7) << 28);
        }
    });
}
