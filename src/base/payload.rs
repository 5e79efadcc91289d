//! What an answer is made of: a few inline bytes and extents of files. Packagers describe payloads; the delivery plane
//! moves them.

use std::fmt;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use bytes::Bytes;

/// A file whose bytes below `len` never change: published track files, finished objects.
///
/// `sys` implements it; the layers between only pass it on.
pub trait Stored: Send + Sync {
    fn fd(&self) -> BorrowedFd<'_>;

    /// Bytes that may be sent. The file on disk can only be shorter if somebody truncated it under the server.
    fn len(&self) -> u64;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole file mapped into memory, if it is. Touching these bytes may wait for the disk, and gives zeros where the
    /// file was truncated; hand the addresses to the kernel rather than reading them on a delivery worker.
    fn mapped(&self) -> Option<&[u8]>;

    /// For log lines: the path it was opened by.
    fn name(&self) -> &str;

    /// Says that the file turned out to be shorter than `len`, or cannot be read, when it was sent. Returns whether that is news. Whoever holds
    /// the file asks for the mark, and opens it again.
    fn mark_damaged(&self) -> bool {
        true
    }

    /// Whether that is known of the file, by the mark or because bytes of the mapping were missing when they were read.
    fn is_damaged(&self) -> bool {
        false
    }
}

/// A run of bytes of one stored file.
#[derive(Clone)]
pub struct Extent {
    pub file: Arc<dyn Stored>,
    pub offset: u64,
    pub len: u64,
}

impl Extent {
    pub fn end(&self) -> u64 {
        self.offset + self.len
    }
}

impl fmt::Debug for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}..{}]", self.file.name(), self.offset, self.end())
    }
}

#[derive(Clone, Debug)]
pub enum Piece {
    Inline(Bytes),
    Extent(Extent),
}

impl Piece {
    pub fn len(&self) -> u64 {
        match self {
            Piece::Inline(bytes) => bytes.len() as u64,
            Piece::Extent(extent) => extent.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `range` is relative to the piece and lies within it.
    fn slice(&self, range: Range<u64>) -> Piece {
        match self {
            Piece::Inline(bytes) => Piece::Inline(bytes.slice(range.start as usize..range.end as usize)),
            Piece::Extent(extent) => Piece::Extent(Extent {
                file: extent.file.clone(),
                offset: extent.offset + range.start,
                len: range.end - range.start,
            }),
        }
    }
}

/// The body of an answer, in order. Most are one piece, so one is kept without allocating.
#[derive(Clone, Debug, Default)]
pub enum Payload {
    #[default]
    Empty,
    One(Piece),
    Many(Vec<Piece>),
}

impl Payload {
    pub fn pieces(&self) -> &[Piece] {
        match self {
            Payload::Empty => &[],
            Payload::One(piece) => std::slice::from_ref(piece),
            Payload::Many(pieces) => pieces,
        }
    }

    pub fn len(&self) -> u64 {
        self.pieces().iter().map(Piece::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a piece; empty ones are dropped, and an extent that continues the last one is merged into it.
    pub fn push(&mut self, piece: Piece) {
        if piece.is_empty() {
            return;
        }
        *self = match std::mem::take(self) {
            Payload::Empty => Payload::One(piece),
            Payload::One(first) => Self::joined(vec![first], piece),
            Payload::Many(pieces) => Self::joined(pieces, piece),
        }
    }

    fn joined(mut pieces: Vec<Piece>, piece: Piece) -> Payload {
        match (pieces.last_mut(), &piece) {
            (Some(Piece::Extent(last)), Piece::Extent(next))
                if Arc::ptr_eq(&last.file, &next.file) && last.end() == next.offset =>
            {
                last.len += next.len;
            }
            _ => pieces.push(piece),
        }
        if pieces.len() == 1 { Payload::One(pieces.remove(0)) } else { Payload::Many(pieces) }
    }

    /// The bytes of `range` (clamped to the payload), as a payload of their own: how byte ranges are served.
    pub fn slice(&self, range: Range<u64>) -> Payload {
        let mut sliced = Payload::Empty;
        let mut at = 0;
        for piece in self.pieces() {
            let (start, end) = (range.start.max(at), range.end.min(at + piece.len()));
            if start < end {
                sliced.push(piece.slice(start - at..end - at));
            }
            at += piece.len();
        }
        sliced
    }
}

/// What can be sent in part: a payload, or the description of one that is made as far as it is asked for.
pub trait Body {
    fn len(&self) -> u64;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of `range`, which is clamped.
    fn slice(&self, range: Range<u64>) -> Payload;

    /// All of it.
    fn whole(&self) -> Payload {
        self.slice(0..self.len())
    }
}

impl Body for Payload {
    fn len(&self) -> u64 {
        Payload::len(self)
    }

    fn slice(&self, range: Range<u64>) -> Payload {
        Payload::slice(self, range)
    }

    fn whole(&self) -> Payload {
        self.clone()
    }
}

impl From<Vec<Piece>> for Payload {
    /// None of them is empty.
    fn from(mut pieces: Vec<Piece>) -> Payload {
        match pieces.len() {
            0 => Payload::Empty,
            1 => Payload::One(pieces.remove(0)),
            _ => Payload::Many(pieces),
        }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Payload {
        let mut payload = Payload::Empty;
        payload.push(Piece::Inline(bytes));
        payload
    }
}

impl From<Extent> for Payload {
    fn from(extent: Extent) -> Payload {
        let mut payload = Payload::Empty;
        payload.push(Piece::Extent(extent));
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    struct Null(std::fs::File);
    impl Stored for Null {
        fn fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
        fn len(&self) -> u64 {
            1_000
        }
        fn mapped(&self) -> Option<&[u8]> {
            None
        }
        fn name(&self) -> &str {
            "file"
        }
    }

    fn text(payload: &Payload) -> String {
        payload
            .pieces()
            .iter()
            .map(|piece| match piece {
                Piece::Inline(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Piece::Extent(extent) => format!("{extent:?}"),
            })
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn adjacent_extents_merge_and_slices_cut() {
        let file: Arc<dyn Stored> = Arc::new(Null(std::fs::File::open("/dev/null").unwrap()));
        let extent = |offset, len| Piece::Extent(Extent { file: file.clone(), offset, len });
        let mut payload = Payload::from(Bytes::from_static(b"head"));
        payload.push(extent(100, 50));
        payload.push(extent(150, 50));
        payload.push(Piece::Inline(Bytes::new()));
        payload.push(extent(500, 1));
        assert_eq!(text(&payload), "head file[100..200] file[500..501]");
        assert_eq!(payload.len(), 105);
        for (range, want) in [
            (0..0, ""),
            (0..4, "head"),
            (3..5, "d file[100..101]"),
            (104..200, "file[500..501]"),
            (0..u64::MAX, "head file[100..200] file[500..501]"),
            (200..300, ""),
        ] {
            assert_eq!(text(&payload.slice(range.clone())), want, "{range:?}");
        }
    }
}
