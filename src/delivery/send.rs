//! Moving one answer: head and small pieces with one call, large extents with sendfile, and never a part of a file that
//! is not in turn.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use nix::errno::Errno;

use super::access_log::Entry;
use super::bulk::Bulk;
use super::transport::Transport;
use super::warm::Warm;
use crate::base::growing::End;
use crate::base::{Extent, Growing, Payload, Piece, Watermark, limits};
use crate::http::{Framing, Kind, Status};
use crate::sys::{residency, transfer};

/// An answer on its way out.
pub(super) struct Sending {
    head: Vec<u8>,
    /// Where this answer's own head begins: what is before it belongs to answers to earlier, pipelined requests.
    own_head: usize,
    head_sent: usize,
    /// Bytes of everything.
    sent: u64,
    body: Payload,
    /// The piece to send from next, and how much of it is gone.
    piece: usize,
    piece_sent: u64,
    /// Bytes of the current extent, after what was sent, that are known to be in turn.
    resident: u64,
    /// Set when a helper has read in what was missing: it is sent now, even if the kernel has dropped it again, because a
    /// cache smaller than the window must not keep an answer from moving.
    insist: bool,
    /// Something of this answer was cold, so what follows is too, most likely.
    was_cold: bool,
    /// To be read in while the stretch before it is sent.
    ahead: Option<Extent>,
    /// The next large send may be made.
    granted: bool,
    /// What goes on behind `body`.
    following: Option<Box<Following>>,
    pub(super) record: Option<Record>,
    /// The connection goes on afterwards.
    pub(super) keep_alive: bool,
}

/// A run that is sent as it grows.
pub(super) struct Following {
    growing: Box<Growing>,
    framing: Framing,
    /// Offset in the file of the next byte to send.
    at: u64,
}

/// What is counted and logged once the answer is gone.
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) status: Status,
    pub(super) started: Instant,
    pub(super) log: Option<Box<Entry>>,
}

/// How far a call came.
#[derive(Debug)]
pub(super) enum Step {
    /// Everything is queued.
    Done,
    /// The socket takes no more for now, or the turn's budget is used up.
    Writable,
    /// A large send comes next, and it is others' turn.
    Bulk,
    /// More can be sent, and is better sent once the other connections that are ready have had their turn.
    Later,
    /// This stretch of a file has to be read in first.
    Cold(Extent),
    /// Everything there is was queued, and more is being written.
    Growth(Watermark),
    /// Whoever wrote what is followed gave up.
    GivenUp,
    /// The file ended before the extent did.
    Truncated(Extent),
    /// The client is gone.
    Broken,
}

/// The state of the worker that a step depends on.
pub(super) struct Turn<'w> {
    pub(super) bulk: &'w Bulk,
    pub(super) warm: &'w Warm,
    pub(super) tick: u32,
    /// Pages may be on their way from the disk, so that being in the page cache is not enough.
    pub(super) reading: bool,
    /// The kernel spaces out the packets of a connection (BBR).
    pub(super) paced: bool,
}

/// Parts in one send: a head and a few generated boxes and small extents.
const PARTS_MAX: usize = 8;

impl Sending {
    /// `head[own_head..]` is the head of this answer.
    pub(super) fn new(
        head: Vec<u8>,
        own_head: usize,
        body: Payload,
        record: Option<Record>,
        keep_alive: bool,
    ) -> Sending {
        Sending {
            head,
            own_head,
            head_sent: 0,
            sent: 0,
            body,
            piece: 0,
            piece_sent: 0,
            resident: 0,
            insist: false,
            was_cold: false,
            ahead: None,
            granted: false,
            following: None,
            record,
            keep_alive,
        }
    }

    /// Goes on with a run that may still grow, behind the body.
    pub(super) fn follow(&mut self, growing: Box<Growing>, framing: Framing) {
        let at = growing.start;
        self.following = Some(Box::new(Following { growing, framing, at }));
    }

    /// Sends until everything is queued or something has to be waited for. `budget` goes down by what was sent.
    pub(super) fn step(&mut self, transport: &Transport, budget: &mut u64, turn: &Turn<'_>) -> Step {
        loop {
            if self.piece == self.body.pieces().len()
                && let Some(step) = self.refill()
            {
                return step;
            }
            if self.is_done() {
                return Step::Done;
            }
            if *budget == 0 {
                return Step::Writable;
            }
            if self.resident == 0
                && let Some(step) = self.look_ahead(turn)
            {
                return step;
            }
            if !self.granted && self.next_is_bulk() {
                if !turn.bulk.try_take() {
                    return Step::Bulk;
                }
                self.granted = true;
            }
            let mut later = false;
            let result = match self.next_large() {
                Some(extent) => {
                    let offset = extent.offset + self.piece_sent;
                    // Something is resident, or `look_ahead` would have said what to do.
                    let mut len = (extent.len - self.piece_sent).min(self.resident).min(*budget);
                    if turn.paced && !self.granted && len > limits::PACED_SEND_BYTES {
                        (len, later) = (limits::PACED_SEND_BYTES, true);
                    }
                    match transport.send_file(extent.file.fd(), offset, len as usize) {
                        Ok(0) => return Step::Truncated(extent.clone()),
                        Ok(sent) => Ok((sent as u64, len)),
                        Err(errno) => Err(errno),
                    }
                }
                None => self.send_parts(transport),
            };
            match result {
                Ok((sent, wanted)) => {
                    self.advance(sent);
                    *budget = budget.saturating_sub(sent);
                    // A short count means a full socket: asking again would only say so.
                    if sent < wanted {
                        return Step::Writable;
                    }
                    if later {
                        return Step::Later;
                    }
                }
                Err(Errno::EAGAIN) => return Step::Writable,
                Err(Errno::EINTR) => continue,
                // A part in a mapping that the file no longer has, or one that the disk cannot read.
                Err(Errno::EFAULT | Errno::EIO) => match self.next_extent() {
                    Some((extent, _)) => return Step::Truncated(extent.clone()),
                    None => return Step::Broken,
                },
                Err(_) => return Step::Broken,
            }
        }
    }

    /// Takes what has been written meanwhile as the next pieces; the step to take if there is nothing.
    fn refill(&mut self) -> Option<Step> {
        let following = self.following.as_mut()?;
        let progress = &following.growing.progress;
        let (reached, end) = progress.reached();
        let mut pieces = Payload::Empty;
        let len = reached.saturating_sub(following.at);
        let chunked = following.framing == Framing::Chunked;
        match end {
            Some(End::Broken) => return Some(Step::GivenUp),
            None if len == 0 => {
                // The head goes first.
                let watermark = Watermark { watch: progress.watch().clone(), target: following.at + 1 };
                return (self.head_sent == self.head.len()).then_some(Step::Growth(watermark));
            }
            _ => {}
        }
        if len > 0 {
            if chunked {
                pieces.push(Piece::Inline(format!("{len:x}\r\n").into()));
            }
            let file = following.growing.file.clone();
            pieces.push(Piece::Extent(Extent { file, offset: following.at, len }));
            following.at = reached;
        }
        if chunked {
            // RFC 9112 §7.1: the end of the chunk, and the last chunk of no bytes.
            pieces.push(Piece::Inline(Bytes::from_static(match (len > 0, end.is_some()) {
                (true, true) => b"\r\n0\r\n\r\n",
                (true, false) => b"\r\n",
                (false, _) => b"0\r\n\r\n",
            })));
        }
        if end.is_some() {
            self.following = None;
        }
        (self.body, self.piece, self.piece_sent, self.resident) = (pieces, 0, 0, 0);
        None
    }

    /// A helper has read in the stretch that [`Step::Cold`] named.
    pub(super) fn warmed(&mut self) {
        self.insist = true;
    }

    /// What should be read in while the client takes what was queued.
    pub(super) fn take_ahead(&mut self) -> Option<Extent> {
        self.ahead.take()
    }

    /// It is this answer's turn to make a large send.
    pub(super) fn granted(&mut self) {
        self.granted = true;
    }

    /// Time has passed: what was in memory need not be any more.
    pub(super) fn resumed(&mut self) {
        self.resident = 0;
        self.granted = false;
    }

    /// Whether no byte of this answer has left yet, so that another can be sent instead.
    pub(super) fn is_untouched(&self) -> bool {
        self.head_sent <= self.own_head
    }

    /// Sends another answer instead of this untouched one; then the connection is closed.
    pub(super) fn replace(&mut self, write_head: impl FnOnce(&mut Vec<u8>), body: Payload, status: Status) {
        self.head.truncate(self.own_head);
        write_head(&mut self.head);
        (self.body, self.piece, self.piece_sent) = (body, 0, 0);
        self.following = None;
        self.keep_alive = false;
        if let Some(record) = &mut self.record {
            record.status = status;
        }
    }

    /// Bytes of this answer that are queued.
    pub(super) fn bytes(&self) -> u64 {
        self.sent.saturating_sub(self.own_head as u64)
    }

    /// What was sent, or was to be sent; nothing is left to send.
    pub(super) fn take_body(&mut self) -> Payload {
        std::mem::take(&mut self.body)
    }

    /// The allocation of the head, for the next answer.
    pub(super) fn into_head(self) -> Vec<u8> {
        self.head
    }

    fn is_done(&self) -> bool {
        self.head_sent == self.head.len() && self.piece == self.body.pieces().len() && self.following.is_none()
    }

    /// An extent that its file is too short for. The page cache may keep bytes beyond the end in a large folio, so asking
    /// what is in memory does not find it.
    fn shortened(&self) -> Option<&Extent> {
        let mut last: Option<(&Extent, u64)> = None;
        self.body.pieces().iter().find_map(|piece| {
            let Piece::Extent(extent) = piece else { return None };
            let len = match last {
                Some((before, len)) if Arc::ptr_eq(&before.file, &extent.file) => len,
                _ => transfer::file_len(extent.file.fd()).unwrap_or(u64::MAX),
            };
            last = Some((extent, len));
            (len < extent.end()).then_some(extent)
        })
    }

    /// Makes sure that the next stretch of a file is there and in memory, at most the read-ahead window of it; the step to
    /// take if not. Done before the bytes in front of it are sent, so that they go out together, or 500 instead of them.
    fn look_ahead(&mut self, turn: &Turn<'_>) -> Option<Step> {
        let (extent, sent) = self.next_extent()?;
        let len = (extent.len - sent).min(limits::READ_AHEAD_BYTES);
        let stretch = Extent { file: extent.file.clone(), offset: extent.offset + sent, len };
        if !turn.warm.contains(&stretch, turn.tick) {
            if self.sent == 0
                && let Some(shortened) = self.shortened()
            {
                return Some(Step::Truncated(shortened.clone()));
            }
            let file = stretch.file.fd();
            let resident = if turn.reading {
                residency::has_arrived(file, stretch.offset, len)
            } else {
                residency::is_resident(file, stretch.offset, len)
            };
            if resident {
                turn.warm.insert(&stretch, turn.tick);
            } else if !self.insist {
                self.was_cold = true;
                return Some(Step::Cold(stretch));
            }
            if self.was_cold {
                self.ahead = Self::after(&stretch, extent.end());
            }
        }
        (self.resident, self.insist) = (len, false);
        None
    }

    /// The window that follows `stretch` in an extent with that end.
    fn after(stretch: &Extent, end: u64) -> Option<Extent> {
        let len = end.saturating_sub(stretch.end()).min(limits::READ_AHEAD_BYTES);
        (len > 0).then(|| Extent { file: stretch.file.clone(), offset: stretch.end(), len })
    }

    /// The first extent that is not sent to its end, and how much of it is.
    fn next_extent(&self) -> Option<(&Extent, u64)> {
        self.body.pieces().get(self.piece..)?.iter().enumerate().find_map(|(index, piece)| match piece {
            Piece::Extent(extent) => Some((extent, if index == 0 { self.piece_sent } else { 0 })),
            Piece::Inline(_) => None,
        })
    }

    /// The same, if it is the very next thing to send and goes by sendfile.
    fn next_large(&self) -> Option<&Extent> {
        match self.body.pieces().get(self.piece)? {
            Piece::Extent(extent) if self.head_sent == self.head.len() && is_large(extent) => Some(extent),
            _ => None,
        }
    }

    /// Whether what is left of the extent that is next makes a large send. The head is held back for it too, or the client
    /// would get it in a packet of its own.
    fn next_is_bulk(&self) -> bool {
        self.next_extent().is_some_and(|(extent, sent)| extent.len - sent > limits::BULK_BYTES_MIN)
    }

    /// Sends the rest of the head and the small pieces after it in one call; bytes sent and bytes offered.
    fn send_parts(&self, transport: &Transport) -> Result<(u64, u64), Errno> {
        let mut parts = [IoSlice::new(&[]); PARTS_MAX];
        let (mut count, mut offered) = (0, 0);
        let mut offer = |bytes| {
            parts[count] = IoSlice::new(bytes);
            count += 1;
            offered += bytes.len() as u64;
            count < PARTS_MAX
        };
        let mut room = true;
        if self.head_sent < self.head.len() {
            room = offer(&self.head[self.head_sent..]);
        }
        let mut skip = self.piece_sent as usize;
        let mut extents = 0;
        let mut pieces = self.body.pieces()[self.piece..].iter();
        for piece in &mut pieces {
            let bytes = match piece {
                Piece::Inline(bytes) => Some(&bytes[..]),
                // Only one: whether the next is in memory has not been looked at.
                Piece::Extent(extent) if !is_large(extent) && extents == 0 => {
                    extents += 1;
                    extent.file.mapped().and_then(|map| map.get(extent.offset as usize..extent.end() as usize))
                }
                Piece::Extent(_) => None,
            };
            match bytes {
                Some(bytes) if room => room = offer(&bytes[std::mem::take(&mut skip)..]),
                _ => {
                    return Ok((transport.send(&parts[..count], true)? as u64, offered));
                }
            }
        }
        Ok((transport.send(&parts[..count], false)? as u64, offered))
    }

    fn advance(&mut self, sent: u64) {
        self.sent += sent;
        let of_head = sent.min((self.head.len() - self.head_sent) as u64);
        self.head_sent += of_head as usize;
        let mut left = sent - of_head;
        while let Some(piece) = self.body.pieces().get(self.piece) {
            let of_piece = left.min(piece.len() - self.piece_sent);
            left -= of_piece;
            self.piece_sent += of_piece;
            if matches!(piece, Piece::Extent(_)) {
                self.resident = self.resident.saturating_sub(of_piece);
            }
            if self.piece_sent < piece.len() {
                break;
            }
            (self.piece, self.piece_sent) = (self.piece + 1, 0);
            if matches!(piece, Piece::Extent(_)) {
                self.resident = 0;
            }
        }
    }
}

/// Sent with sendfile: it is too large to be worth copying, or not mapped.
fn is_large(extent: &Extent) -> bool {
    extent.len > limits::MAPPED_SEND_BYTES_MAX
        || extent.file.mapped().is_none_or(|map| (map.len() as u64) < extent.end())
}
