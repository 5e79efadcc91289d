//! The records of the mapped index: fixed size, little endian, read in place. `store::index` lays them out in its file.

use zerocopy::byteorder::little_endian::{I32, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::base::Ticks;

/// One fragment of a track file: `moof` and `mdat`, contiguous, one closed GOP (or the audio of the same stretch).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, PartialEq, Eq)]
#[repr(C)]
pub struct Fragment {
    /// Of the `moof`, from the start of the track file, in bytes.
    pub offset: U64,
    /// `baseMediaDecodeTime`, in track ticks.
    pub decode_time: U64,
    /// Sum of the sample durations, in track ticks.
    pub duration: U64,
    /// `moof` and `mdat` together, in bytes.
    pub size: U32,
    /// Of the first media byte, from `offset`: everything before it is `moof` and the header of `mdat`.
    pub media_offset: U32,
    /// Of the first sample, in bytes: what an I-frame playlist fetches.
    pub key_frame_size: U32,
    /// Row of the first sample in the track's sample table.
    pub first_sample: U32,
    pub sample_count: U32,
    /// Which of the presentation's common instants the fragment starts at: fragments of all tracks with one slot number
    /// lie side by side. Ascending within a track; a track that has nothing in a slot skips its number.
    pub slot: U32,
    /// How the fragment may be entered, see [`Start`].
    pub start: U32,
    pub reserved: U32,
}

/// How decoding can begin at a fragment (ISO/IEC 14496-12 annex I, stream access points).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Start {
    /// SAP type 1 (or 2): an IDR picture, a closed GOP, any audio sync sample.
    Closed = 1,
    /// SAP type 3: a CRA picture or recovery point whose leading pictures need the fragment before.
    Open = 3,
}

/// One sample, in decode order.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, PartialEq, Eq)]
#[repr(C)]
pub struct Sample {
    /// In bytes; the samples of a fragment follow each other without gaps.
    pub size: U32,
    /// In track ticks.
    pub duration: U32,
    /// Presentation time less decode time, in track ticks; may be negative.
    pub composition_offset: I32,
    /// `sample_flags` of ISO/IEC 14496-12 §8.8.3.1.
    pub flags: U32,
}

/// One WebVTT cue of a text track, whose stored file is the whole subtitle file in normal form.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, PartialEq, Eq)]
#[repr(C)]
pub struct Cue {
    /// Presentation times, in milliseconds.
    pub start: U64,
    pub end: U64,
    /// Where the cue's block lies in the stored file: identifier, timing line, text and the blank line after it.
    pub offset: U32,
    pub size: U32,
    /// The latest end of this cue and all before it, in milliseconds: where to stop looking back for cues that still show.
    pub end_max: U64,
}

impl Fragment {
    pub fn start(&self) -> Start {
        if self.start.get() == Start::Open as u32 { Start::Open } else { Start::Closed }
    }

    pub fn decode_time(&self) -> Ticks {
        Ticks(self.decode_time.get() as i64)
    }

    pub fn duration(&self) -> Ticks {
        Ticks(self.duration.get() as i64)
    }

    pub fn decode_end(&self) -> Ticks {
        Ticks(self.decode_time().0.saturating_add(self.duration().0))
    }

    pub fn end_offset(&self) -> u64 {
        self.offset.get().saturating_add(u64::from(self.size.get()))
    }
}
