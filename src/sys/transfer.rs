//! Bytes between sockets and files. No call waits: what cannot be done at once is `EAGAIN`.
#![allow(unsafe_code)]

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockaddrStorage, recv, send as send_one, sendmsg};
use nix::sys::stat::fstat;

/// 0 when the peer has sent its last byte.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)
}

/// Sends parts in order; how many bytes the socket took. `more` holds the last packet back for what follows at once.
///
/// Parts may lie in mappings: bytes that the disk cannot give are `EFAULT` here and not SIGBUS.
pub fn send(socket: BorrowedFd<'_>, parts: &[IoSlice<'_>], more: bool) -> Result<usize, Errno> {
    let mut flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    if more {
        flags |= MsgFlags::from_bits_retain(libc::MSG_MORE);
    }
    if let [part] = parts {
        return send_one(socket.as_raw_fd(), part, flags);
    }
    sendmsg::<SockaddrStorage>(socket.as_raw_fd(), parts, &[], flags, None)
}

/// `len` bytes of a file from `offset`, without copying them; how many the socket took. 0: the file ends at `offset`.
///
/// The socket must be non-blocking; reading the file waits for the disk when it is not in the page cache.
pub fn send_file(socket: BorrowedFd<'_>, file: BorrowedFd<'_>, offset: u64, len: usize) -> Result<usize, Errno> {
    let mut offset = libc::off_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: both descriptors are open for the length of the call (they are borrowed), and `offset` is a valid place for
    // the kernel to read and write.
    let sent = unsafe { libc::sendfile(socket.as_raw_fd(), file.as_raw_fd(), &mut offset, len) };
    usize::try_from(sent).map_err(|_| Errno::last())
}

/// How long the file is now.
pub fn file_len(file: BorrowedFd<'_>) -> Result<u64, Errno> {
    Ok(u64::try_from(fstat(file)?.st_size).unwrap_or(0))
}

/// Bytes queued on the socket that the peer has not acknowledged (SIOCOUTQ): the difference between what was sent and
/// what arrived. Any descriptor may be asked; one that is no socket gives an error.
pub fn unacknowledged(socket: RawFd) -> Result<u64, Errno> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (the value of TIOCOUTQ) writes one int, and `bytes` is one.
    Errno::result(unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &mut bytes) })?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}
