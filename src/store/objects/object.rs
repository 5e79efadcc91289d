//! An object: what is known of it while it lies in the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::path::ObjectPath;

/// One version of what has a path. An overwrite is another object; only when it ends may change, with the rules.
#[derive(Debug)]
pub struct Object {
    /// Names its file; ascends with the time at which uploads begin.
    pub id: u64,
    pub path: ObjectPath,
    /// In bytes.
    pub len: u64,
    /// When it was complete, in milliseconds since 1970.
    pub modified: u64,
    pub digest: Digest,
    pub meta: Arc<Meta>,
    /// How long a manifest lasts after it was written, in milliseconds; 0 is for ever.
    pub lifetime: u32,
    /// From when on it is not shown any more, in milliseconds since 1970; [`NEVER`] unless a rule or its lifetime says so.
    pub(super) expires: AtomicU64,
}

/// An object as whoever wrote it knows it; when it ends is for its container to say.
#[derive(Debug)]
pub struct Written {
    pub id: u64,
    pub path: ObjectPath,
    pub len: u64,
    pub modified: u64,
    pub digest: Digest,
    pub meta: Arc<Meta>,
    pub lifetime: u32,
}

pub const NEVER: u64 = u64::MAX;

/// SHA-256 of the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// In lower-case hexadecimal digits.
impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut digits = [0; 64];
        let _ = hex::encode_to_slice(self.0, &mut digits);
        f.write_str(str::from_utf8(&digits).unwrap_or_default())
    }
}

/// What an uploader says of its object. The same value is shared by many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Meta {
    /// Empty: it said nothing.
    pub content_type: Box<str>,
    /// Empty: it said nothing.
    pub cache_control: Box<str>,
}

/// Of either field of [`Meta`], in bytes.
pub const META_BYTES_MAX: usize = 1_024;

impl Object {
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires() <= now
    }

    /// In milliseconds since 1970, or [`NEVER`].
    pub fn expires(&self) -> u64 {
        self.expires.load(Ordering::Relaxed)
    }

    /// What a container counts against its capacity: whole blocks of the file system, and what an entry takes.
    pub fn weight(&self) -> u64 {
        self.len.next_multiple_of(BLOCK_BYTES)
    }
}

const BLOCK_BYTES: u64 = 4_096;
