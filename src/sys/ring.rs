//! Waiting for descriptors through the ring of the current worker.
#![allow(unsafe_code)]

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A descriptor whose readiness a task can await. monoio offers polling for TCP streams only, but asks nothing of the
/// descriptor that an eventfd, a timer or a listener would not do as well.
#[derive(Debug)]
pub struct Pollable(monoio::net::TcpStream);

impl Pollable {
    /// Must be called inside a runtime of monoio, and used only there.
    pub fn new(fd: impl Into<OwnedFd>) -> io::Result<Pollable> {
        monoio::net::TcpStream::from_std(TcpStream::from(fd.into())).map(Pollable)
    }

    /// Completes when reading would not wait: bytes, the end, or an error. May be early; reading tells.
    pub async fn readable(&self) {
        let _ = self.0.readable(true).await;
    }

    /// Completes when writing would not wait.
    pub async fn writable(&self) {
        let _ = self.0.writable(true).await;
    }
}

impl AsFd for Pollable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream owns the descriptor and closes it when it is dropped, which the borrow of `self` excludes.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}
