//! Read buffers: a connection has one only while it has something to read.

use std::cell::RefCell;

use nix::errno::Errno;

use super::transport::Transport;
use crate::base::limits;

/// Bytes that were read and not yet used.
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new() -> Buffer {
        Buffer { bytes: vec![0; limits::READ_BUFFER_BYTES].into(), start: 0, end: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Throws away up to `len` bytes from the front; how many there were.
    pub(super) fn consume(&mut self, len: usize) -> usize {
        let len = len.min(self.end - self.start);
        self.start += len;
        len
    }

    /// Appends what has come in, as far as there is room. Only for a buffer that was just taken.
    pub(super) fn receive(&mut self, transport: &Transport) -> Result<usize, Errno> {
        let read = transport.receive(&mut self.bytes[self.end..])?;
        self.end += read;
        Ok(read)
    }

    /// What is left, in an allocation of its size.
    pub(super) fn rest(&self) -> Box<[u8]> {
        self.bytes().into()
    }
}

/// The buffers of one worker: as many as were in use at once, up to a few.
#[derive(Default)]
pub(super) struct BufferPool(RefCell<Vec<Buffer>>);

impl BufferPool {
    const KEPT: usize = 16;

    /// A buffer that begins with `rest`, which came from [`Buffer::rest`].
    pub(super) fn take(&self, rest: &[u8]) -> Buffer {
        let mut buffer = self.0.borrow_mut().pop().unwrap_or_else(Buffer::new);
        buffer.start = 0;
        buffer.end = rest.len();
        buffer.bytes[..rest.len()].copy_from_slice(rest);
        buffer
    }

    pub(super) fn give_back(&self, buffer: Buffer) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < Self::KEPT {
            kept.push(buffer);
        }
    }
}
