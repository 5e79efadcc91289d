//! The bytes of one connection: all that a connection and its answers know of the socket below. TLS has its place here.

use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;

use crate::sys::{Pollable, socket, transfer};

/// A connection in the clear. Nothing here waits but [`Transport::readable`] and [`Transport::writable`]: what cannot be done
/// at once is `EAGAIN`.
pub(super) struct Transport(Pollable);

impl Transport {
    /// Must be called on a worker, and used only there.
    pub(super) fn new(stream: TcpStream) -> io::Result<Transport> {
        Pollable::new(stream).map(Transport)
    }

    /// Completes when receiving would not wait: bytes, the end, or an error. May be early; receiving tells.
    pub(super) async fn readable(&self) {
        self.0.readable().await;
    }

    /// Completes when sending would not wait.
    pub(super) async fn writable(&self) {
        self.0.writable().await;
    }

    /// 0 when the peer has sent its last byte.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        transfer::receive(self.0.as_fd(), buffer)
    }

    /// Sends parts in order; how many bytes were taken. `more` holds the last packet back for what follows at once.
    pub(super) fn send(&self, parts: &[IoSlice<'_>], more: bool) -> Result<usize, Errno> {
        transfer::send(self.0.as_fd(), parts, more)
    }

    /// Sends `len` bytes of a file from `offset`; how many bytes were taken. 0: the file ends at `offset`.
    pub(super) fn send_file(&self, file: BorrowedFd<'_>, offset: u64, len: usize) -> Result<usize, Errno> {
        transfer::send_file(self.0.as_fd(), file, offset, len)
    }

    /// Tells the peer that nothing more will be sent.
    pub(super) fn finish_sending(&self) {
        socket::shutdown(self.0.as_fd().as_raw_fd(), socket::Shutdown::Write);
    }

    /// The end of the connection will be a reset, so that the peer cannot take a part for the whole.
    pub(super) fn reset_on_close(&self) {
        socket::reset_on_close(self.0.as_fd());
    }
}
