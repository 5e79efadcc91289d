//! What a channel has done on disk, and what it finds there.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::Stored;
use crate::media::Kind;
use crate::media::broadcast::{Journal, SegmentRow};
use crate::store::scan::FoundChunk;

/// One operation of [`super::ChannelWriter::poll`]. The writer gives out one at a time for each [`Lane`], and waits for
/// [`super::ChannelWriter::completed`] before it gives out the next.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Makes a track file whose first bytes are `init`, and its journal. What has the name already is an unfinished file
    /// without rows: it is replaced. Done when it may be appended to: [`Outcome::Opened`].
    Create { file: FileName, init: Bytes },
    /// Writes behind what is there: `offset` is the length of the file so far. One that fails leaves nothing behind `offset`.
    Append { file: FileName, offset: u64, bytes: Vec<Bytes> },
    /// Appends to the file's journal.
    Row { file: FileName, row: SegmentRow },
    /// Nothing more is written to the file: it is synced, and what is kept open for writing is closed.
    Close { file: FileName },
    /// Unlinks the file and its journal. Who has them open reads on.
    Delete { file: FileName },
    /// Replaces the channel's state by write, fsync and rename.
    SaveState { json: Bytes },
    /// Makes what was completed before survive a power loss: the media of files written to since the last time, then their
    /// journals.
    Sync,
}

/// Operations of one lane are done one after the other; the lanes go on beside each other, so that a slow sync does not hold
/// up the live edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Create, Append, Row.
    Media,
    /// Close, Delete, SaveState, Sync.
    Upkeep,
}

impl Op {
    pub fn lane(&self) -> Lane {
        match self {
            Op::Create { .. } | Op::Append { .. } | Op::Row { .. } => Lane::Media,
            Op::Close { .. } | Op::Delete { .. } | Op::SaveState { .. } | Op::Sync => Lane::Upkeep,
        }
    }
}

/// How an operation went well.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Of [`Op::Create`].
    Opened(Opened),
    /// Of every other.
    Done,
}

/// A track file as readers hold it.
#[derive(Clone)]
pub struct Opened {
    pub media: Arc<dyn Stored>,
    pub journal: Arc<dyn Journal>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.media.name())
    }
}

/// Why an operation failed, as far as it matters what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No space, or no quota, is left.
    Full,
    /// Anything else, in words.
    Broken(String),
}

/// A track file of a channel: `{track}/{first}.cmfv`, `.cmfa` or `.cmft`, with its journal `{track}/{first}.idx` beside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    pub track: Arc<str>,
    /// Number of the first segment in it.
    pub first: u64,
    pub kind: Kind,
}

impl FileName {
    /// Relative to the channel's directory.
    pub fn media(&self) -> String {
        let extension = match self.kind {
            Kind::Video => "cmfv",
            Kind::Audio => "cmfa",
            Kind::Text => "cmft",
        };
        format!("{}/{}.{extension}", self.track, self.first)
    }

    /// Relative to the channel's directory.
    pub fn journal(&self) -> String {
        format!("{}/{}.idx", self.track, self.first)
    }
}

/// What a channel finds on disk when it starts: files whose journals and chunks were checked, and cut off where they no
/// longer make sense.
#[derive(Default)]
pub struct Recovered {
    /// The last [`Op::SaveState`].
    pub state: Option<Bytes>,
    /// By track, then by first number.
    pub files: Vec<FoundFile>,
}

/// One track file that was found, open for reading; the newest of a track, and those with chunks behind their last row, also for
/// appending.
pub struct FoundFile {
    pub name: FileName,
    pub opened: Opened,
    /// `ftyp` and `moov`: the first bytes of the file.
    pub init: Bytes,
    /// Rows of the journal.
    pub rows: usize,
    /// Chunks of the last [`crate::base::limits::LIVE_TAIL_SEGMENTS`] rows, and those behind the last row: in order.
    pub chunks: Vec<FoundChunk>,
    /// Where an append goes: behind the last whole chunk.
    pub len: u64,
}
