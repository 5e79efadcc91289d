//! The byte layout of an index. One file of this form describes every track of one version of an asset; it is mapped and
//! read in place. All numbers are little endian, all records have a fixed size and no alignment is needed.
//!
//! ```text
//!      0  magic                 "HWINDEX\n"
//!      8  format                u16, READ_VERSION
//!     10  tracks                u16
//!     12  checksum              u32, CRC-32 (IEEE) of everything behind it
//!     16  length                u64, of the whole index in bytes
//!     24  strings               u32, bytes of the string area
//!     28  reserved              u32
//!     32  records               tracks × TrackRecord, the last of which may be a ThumbnailRecord
//!         string area           UTF-8, referred to by (offset within the area, length)
//!         per track             fragment table   count × media::Fragment   56 bytes a row
//!                               sample table     count × media::Sample     16 bytes a row
//!                               cue table        count × media::Cue        32 bytes a row
//!                               file table       count × FileRecord        40 bytes a row, of recorded tracks only
//!         of thumbnails         sheet table      count × media::Sheet      16 bytes a row
//! ```
//!
//! The tables follow each other without gaps in the order of the records; records hold their offsets all the same, so that
//! a reader needs no arithmetic over other tracks. The index holds no time of publication and no path: equal content gives
//! equal bytes, and the hash of the index, which holds the hash of every track file, names the version.

use zerocopy::byteorder::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::media::thumbnails::Sheet;
use crate::media::{Cue, Fragment, Sample};

pub const MAGIC: [u8; 8] = *b"HWINDEX\n";
/// What this build writes and reads; an index without file tables and thumbnails is the same to builds before there were any,
/// and captions are nothing to those that do not know of them. Another format: the asset has to be imported again.
pub const READ_VERSION: u16 = 1;
/// First byte that the checksum covers.
pub const CHECKED_FROM: usize = 16;

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    pub magic: [u8; 8],
    pub format: U16,
    pub tracks: U16,
    pub checksum: U32,
    pub length: U64,
    pub strings: U32,
    pub reserved: U32,
}

#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TrackRecord {
    /// Of the track file, in bytes: a shorter file on disk was truncated.
    pub file_size: U64,
    /// BLAKE3 of the track file.
    pub digest: [u8; 32],
    pub fragments: Table,
    pub samples: Table,
    pub cues: Table,
    pub presentation_offset: I64,
    pub timescale: U32,
    pub init_size: U32,
    pub id: Text,
    pub codec: Text,
    pub language: Text,
    pub name: Text,
    pub supplemental_codec: Text,
    pub width: U32,
    pub height: U32,
    pub pixel_aspect: [U32; 2],
    pub frame_rate: [U32; 2],
    pub sample_rate: U32,
    pub channels: U16,
    pub dolby_channels: U16,
    pub kind: u8,
    pub role: u8,
    pub range: u8,
    pub bit_depth: u8,
    pub colour: [u8; 3],
    pub channel_configuration: u8,
    pub joint_objects: u8,
    /// Which of the optional fields hold something: the bits of `present`.
    pub present: u8,
    /// Empty for an imported track, which has the one file of `file_size` and `digest`.
    pub files: Table,
    /// Of the pictures, as [`crate::media::captions::write`] writes them; empty if there are none.
    pub captions: ShortText,
}

/// What stands in the place of a track record if its kind is [`THUMBNAILS`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ThumbnailRecord {
    /// Of the file of sheets, as in [`TrackRecord`].
    pub file_size: U64,
    pub digest: [u8; 32],
    pub sheets: Table,
    /// Of one thumbnail, in pixels.
    pub width: U32,
    pub height: U32,
    /// Of a sheet.
    pub columns: U32,
    pub rows: U32,
    pub interval_millis: U32,
    pub count: U32,
    pub id: Text,
    pub reserved: [u8; 80],
    pub kind: u8,
    pub reserved_too: [u8; 27],
}

/// The kind of a [`ThumbnailRecord`]; those of tracks are below.
pub const THUMBNAILS: u8 = 3;

/// One file of a track that was recorded to several, as a channel does. They may hold more than the track: fragments lie
/// in ascending order in each, but the first need not follow the header, nor the last end the file.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, PartialEq, Eq)]
#[repr(C)]
pub struct FileRecord {
    /// Bytes of it that are known never to change: it is at least so long.
    pub size: U64,
    /// BLAKE3 of its header. What follows is known by the sample table, and not read again to be hashed.
    pub digest: [u8; 32],
}

/// Bits of [`TrackRecord::present`].
pub mod present {
    pub const NAME: u8 = 1;
    pub const SUPPLEMENTAL_CODEC: u8 = 2;
    pub const DOLBY_CHANNELS: u8 = 4;
    pub const JOINT_OBJECTS: u8 = 8;
    pub const ALL: u8 = NAME | SUPPLEMENTAL_CODEC | DOLBY_CHANNELS | JOINT_OBJECTS;
}

/// Where a table lies in the index.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Table {
    pub offset: U64,
    pub rows: U32,
}

/// A string in the string area.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Text {
    pub offset: U32,
    pub len: U32,
}

/// The same, of less than 64 KiB.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ShortText {
    pub offset: U32,
    pub len: U16,
}

const _: () = assert!(size_of::<Header>() == 32);
const _: () = assert!(std::mem::offset_of!(Header, length) == CHECKED_FROM);
const _: () = assert!(size_of::<TrackRecord>() == 192 && size_of::<FileRecord>() == 40);
const _: () = assert!(size_of::<ThumbnailRecord>() == size_of::<TrackRecord>() && size_of::<Sheet>() == 16);
const _: () = assert!(std::mem::offset_of!(ThumbnailRecord, kind) == std::mem::offset_of!(TrackRecord, kind));
const _: () = assert!(std::mem::offset_of!(ThumbnailRecord, file_size) == std::mem::offset_of!(TrackRecord, file_size));
const _: () = assert!(size_of::<Fragment>() == 56 && size_of::<Sample>() == 16 && size_of::<Cue>() == 32);
