//! Rows of the journal and of checkpoints.
//!
//! ```text
//!      0  checksum       u32, CRC-32 (IEEE) of the rest of the row
//!      4  size           u16, of the whole row in bytes
//!      6  kind           u8: 1 put, 2 delete, 3 end of a checkpoint
//!      7  reserved       u8
//!      8  id             u64, of the object; of an end: how many rows there are before it
//!         of a put:
//!     16  modified       u64, milliseconds since 1970
//!     24  length         u64, of the object in bytes
//!     32  digest         SHA-256
//!     64  lifetime       u32, milliseconds
//!     68  path           u16, length in bytes
//!     70  content type   u16, likewise
//!     72  cache control  u16, likewise
//!     74  reserved       u16
//!     76  path, content type, cache control, in UTF-8
//! ```
//!
//! Little endian. The first row that is not sound is where a journal ends.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::object::{Digest, META_BYTES_MAX, Meta, Object};
use super::path::ObjectPath;

/// What a row says.
#[derive(Debug, PartialEq, Eq)]
pub enum Row<'a> {
    /// The object is at its path, in place of any other.
    Put(Put<'a>),
    /// The object is gone; another that is at its path stays.
    Delete {
        id: u64,
    },
    End {
        rows: u64,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub struct Put<'a> {
    pub id: u64,
    pub modified: u64,
    pub len: u64,
    pub digest: Digest,
    pub lifetime: u32,
    pub path: ObjectPath,
    pub content_type: &'a str,
    pub cache_control: &'a str,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    checksum: U32,
    size: U16,
    kind: u8,
    reserved: u8,
    id: U64,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Body {
    modified: U64,
    len: U64,
    digest: [u8; 32],
    lifetime: U32,
    path: U16,
    content_type: U16,
    cache_control: U16,
    reserved: U16,
}

const HEAD_BYTES: usize = size_of::<Head>();
const BODY_BYTES: usize = size_of::<Body>();
const _: () = assert!(HEAD_BYTES == 16 && HEAD_BYTES + BODY_BYTES == 76);
const _: () = assert!(76 + 255 + 1 + super::path::PATH_BYTES_MAX + 2 * META_BYTES_MAX <= u16::MAX as usize);

/// A row of a put is at least so long.
pub const PUT_BYTES_MIN: usize = HEAD_BYTES + BODY_BYTES;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const END: u8 = 3;

/// Appends the row of a put.
pub fn write_put(object: &Object, out: &mut Vec<u8>) {
    let Meta { content_type, cache_control } = &*object.meta;
    let path = object.path.as_str();
    let texts = [path, content_type, cache_control];
    let size = HEAD_BYTES + BODY_BYTES + texts.iter().map(|text| text.len()).sum::<usize>();
    let start = begin(PUT, object.id, size, out);
    let body = Body {
        modified: object.modified.into(),
        len: object.len.into(),
        digest: object.digest.0,
        lifetime: object.lifetime.into(),
        path: (path.len() as u16).into(),
        content_type: (content_type.len() as u16).into(),
        cache_control: (cache_control.len() as u16).into(),
        reserved: 0.into(),
    };
    out.extend_from_slice(body.as_bytes());
    texts.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
    seal(start, out);
}

pub fn write_delete(id: u64, out: &mut Vec<u8>) {
    let start = begin(DELETE, id, HEAD_BYTES, out);
    seal(start, out);
}

pub fn write_end(rows: u64, out: &mut Vec<u8>) {
    let start = begin(END, rows, HEAD_BYTES, out);
    seal(start, out);
}

fn begin(kind: u8, id: u64, size: usize, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    let head = Head { checksum: 0.into(), size: (size as u16).into(), kind, reserved: 0, id: id.into() };
    out.extend_from_slice(head.as_bytes());
    start
}

fn seal(start: usize, out: &mut [u8]) {
    let checksum = crc32fast::hash(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// Whether they end in an end row, which a table that was written to its end does; how many rows there are before it.
pub fn end_of(bytes: &[u8]) -> Option<u64> {
    match read(bytes.get(bytes.len().checked_sub(HEAD_BYTES)?..)?)? {
        (Row::End { rows }, HEAD_BYTES) => Some(rows),
        _ => None,
    }
}

/// The row that `bytes` begin with, and its size. `None`: there is no sound one.
pub fn read(bytes: &[u8]) -> Option<(Row<'_>, usize)> {
    let (head, _) = Head::read_from_prefix(bytes).ok()?;
    let size = usize::from(head.size.get());
    let row = bytes.get(..size).filter(|_| size >= HEAD_BYTES)?;
    if crc32fast::hash(&row[4..]) != head.checksum.get() {
        return None;
    }
    let id = head.id.get();
    let row = match head.kind {
        PUT => Row::Put(put(id, &row[HEAD_BYTES..])?),
        DELETE if size == HEAD_BYTES => Row::Delete { id },
        END if size == HEAD_BYTES => Row::End { rows: id },
        _ => return None,
    };
    Some((row, size))
}

fn put(id: u64, bytes: &[u8]) -> Option<Put<'_>> {
    let (body, mut rest) = Body::ref_from_prefix(bytes).ok()?;
    let mut text = |len: U16| {
        let (text, after) = rest.split_at_checked(usize::from(len.get()))?;
        rest = after;
        str::from_utf8(text).ok()
    };
    let (path, content_type, cache_control) = (text(body.path)?, text(body.content_type)?, text(body.cache_control)?);
    rest.is_empty().then_some(())?;
    Some(Put {
        id,
        modified: body.modified.get(),
        len: body.len.get(),
        digest: Digest(body.digest),
        lifetime: body.lifetime.get(),
        path: ObjectPath::stored(path)?,
        content_type,
        cache_control,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::objects::object::NEVER;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn object(id: u64, path: &str, content_type: &str) -> Object {
        Object {
            id,
            path: ObjectPath::parse(path).unwrap(),
            len: id * 1_000,
            modified: 1_700_000_000_000 + id,
            digest: Digest([id as u8; 32]),
            meta: Arc::new(Meta { content_type: content_type.into(), cache_control: "max-age=3".into() }),
            lifetime: 3_000,
            expires: NEVER.into(),
        }
    }

    #[test]
    fn rows_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        write_put(&object(7, "live/a/b.ts", "video/mp2t"), &mut bytes);
        write_delete(6, &mut bytes);
        write_end(2, &mut bytes);
        let (row, size) = read(&bytes).unwrap();
        let want = Put {
            id: 7,
            modified: 1_700_000_000_007,
            len: 7_000,
            digest: Digest([7; 32]),
            lifetime: 3_000,
            path: ObjectPath::new("live", "a/b.ts").unwrap(),
            content_type: "video/mp2t",
            cache_control: "max-age=3",
        };
        assert_eq!((row, size), (Row::Put(want), 76 + 11 + 10 + 9));
        assert_eq!(read(&bytes[size..]), Some((Row::Delete { id: 6 }, 16)));
        assert_eq!(read(&bytes[size + 16..]), Some((Row::End { rows: 2 }, 16)));
        assert_eq!(read(&bytes[size + 32..]), None);
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_noticed(at in 0_usize..106, bit in 0_u8..8) {
            let mut bytes = Vec::new();
            write_put(&object(7, "live/a/b.ts", "video/mp2t"), &mut bytes);
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(read(&bytes), None);
        }

        #[test]
        fn any_bytes_do_no_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..200), sound: bool) {
            if sound && bytes.len() >= 6 {
                let size = bytes.len() as u16;
                bytes[4..6].copy_from_slice(&size.to_le_bytes());
                seal(0, &mut bytes);
            }
            if let Some((_, size)) = read(&bytes) {
                prop_assert!(size <= bytes.len());
            }
        }
    }
}
