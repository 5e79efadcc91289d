//! Telling the kernel early what will be read and what may be written back.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Starts writing a stretch of a file back to the disk, without waiting for it and without any promise that it arrived.
pub fn start(file: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    // SAFETY: plain numbers; the descriptor is open for as long as it is borrowed.
    let result = unsafe {
        libc::sync_file_range(
            file.as_raw_fd(),
            offset as libc::off64_t,
            len as libc::off64_t,
            libc::SYNC_FILE_RANGE_WRITE,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks for a stretch of a file to be read into the page cache, without waiting for it.
pub fn will_need(file: BorrowedFd<'_>, offset: u64, len: u64) {
    // SAFETY: as above. It is only advice, so a refusal changes nothing.
    unsafe {
        libc::posix_fadvise(file.as_raw_fd(), offset as libc::off64_t, len as libc::off64_t, libc::POSIX_FADV_WILLNEED)
    };
}
