//! CMAF headers and fragment headers (ISO/IEC 23000-19), written.

mod edit;
mod fragment;
mod header;
mod index;
mod movie;

pub use fragment::{Error, empty_fragment, fragment_header};
pub use header::{Header, header, three_letters};
pub use index::{Reference, segment_index, segment_index_len};
pub use movie::{MovieChunk, MovieTrack, movie};

/// Appends a box whose body `fill` writes.
pub(crate) fn boxed(out: &mut Vec<u8>, kind: &[u8; 4], fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(kind);
    fill(out);
    // Everything written here is a header: nowhere near 4 GB.
    let size = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// Appends a full box: a box with version and flags.
pub(crate) fn full_boxed(out: &mut Vec<u8>, kind: &[u8; 4], version: u8, flags: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    boxed(out, kind, |out| {
        put_u32(out, u32::from(version) << 24 | flags & 0xFF_FFFF);
        fill(out);
    });
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}
