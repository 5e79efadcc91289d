//! The bytes of one connection: all that a connection and its answers know of the socket below. TLS has its place here.

use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::rc::Rc;

use nix::errno::Errno;

use super::readiness::{Key, Readiness};
use crate::sys::{Pollable, socket, transfer};

/// A connection in the clear. Nothing here waits but [`Transport::readable`] and [`Transport::writable`]: what cannot be done
/// at once is `EAGAIN`.
pub(super) struct Transport {
    socket: Pollable,
    readiness: Rc<Readiness>,
    key: Key,
}

impl Transport {
    /// Must be called on a worker, and used only there.
    pub(super) fn new(stream: TcpStream, readiness: Rc<Readiness>) -> io::Result<Transport> {
        let socket = Pollable::new(stream)?;
        let key = readiness.add(&socket)?;
        Ok(Transport { socket, readiness, key })
    }

    /// Completes when receiving would not wait: bytes, the end, or an error. May be early; receiving tells.
    pub(super) async fn readable(&self) {
        match self.readiness.is_ready(self.key) {
            // More than was taken: others go first.
            true => self.socket.readable().await,
            false => self.readiness.ready(self.key).await,
        }
    }

    /// Completes when sending would not wait.
    pub(super) async fn writable(&self) {
        self.socket.writable().await;
    }

    /// 0 when the peer has sent its last byte.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let result = transfer::receive(self.socket.as_fd(), buffer);
        // A short count: there is no more.
        if matches!(result, Ok(len) if len < buffer.len()) || result == Err(Errno::EAGAIN) {
            self.readiness.drained(self.key);
        }
        result
    }

    /// Sends parts in order; how many bytes were taken. `more` holds the last packet back for what follows at once.
    pub(super) fn send(&self, parts: &[IoSlice<'_>], more: bool) -> Result<usize, Errno> {
        transfer::send(self.socket.as_fd(), parts, more)
    }

    /// Sends `len` bytes of a file from `offset`; how many bytes were taken. 0: the file ends at `offset`.
    pub(super) fn send_file(&self, file: BorrowedFd<'_>, offset: u64, len: usize) -> Result<usize, Errno> {
        transfer::send_file(self.socket.as_fd(), file, offset, len)
    }

    /// Tells the peer that nothing more will be sent.
    pub(super) fn finish_sending(&self) {
        socket::shutdown(self.socket.as_fd().as_raw_fd(), socket::Shutdown::Write);
    }

    /// The end of the connection will be a reset, so that the peer cannot take a part for the whole.
    pub(super) fn reset_on_close(&self) {
        socket::reset_on_close(self.socket.as_fd());
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.readiness.remove(self.key);
    }
}
