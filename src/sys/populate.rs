//! Reading parts of files into the page cache: for threads that may wait.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::mman::{MmapAdvise, madvise};

/// Starts reading `len` bytes from `offset` and does not wait for them. Failure only means that nothing is faster.
pub fn start_reading(file: BorrowedFd<'_>, offset: u64, len: u64) {
    if let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) {
        let _ = posix_fadvise(file, offset, len, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
    }
}

/// Reads `len` bytes from `offset` into the page cache and waits for them. With `map`, the whole file mapped, they are
/// mapped too, and a later read through the mapping does not even fault.
///
/// # Errors
/// `UnexpectedEof` when the file ends before, or what the disk said.
pub fn read_in(file: BorrowedFd<'_>, map: Option<&[u8]>, offset: u64, len: u64) -> io::Result<()> {
    // One large request first: page faults alone would read in small steps.
    start_reading(file, offset, len);
    let wanted = map.and_then(|map| map.get(usize::try_from(offset).ok()?..)?.get(..usize::try_from(len).ok()?));
    if let Some(bytes) = wanted.filter(|bytes| !bytes.is_empty()) {
        match populate(bytes) {
            // EFAULT: beyond the end of the file; EINVAL: before Linux 5.14; ENOMEM: the page tables found no room.
            Err(Errno::EINVAL | Errno::ENOMEM) => {}
            Err(Errno::EFAULT) => return Err(io::ErrorKind::UnexpectedEof.into()),
            done => return Ok(done?),
        }
    }
    touch(file, offset, len)
}

fn populate(bytes: &[u8]) -> Result<(), Errno> {
    const PAGE: usize = 4096;
    let start = bytes.as_ptr() as usize & !(PAGE - 1);
    let len = bytes.as_ptr() as usize + bytes.len() - start;
    let Some(start) = NonNull::new(start as *mut libc::c_void) else { return Err(Errno::EINVAL) };
    // SAFETY: the range is that of `bytes`, rounded down to the page its first byte lies in, so it is mapped for as long as
    // `bytes` is borrowed. MADV_POPULATE_READ only reads: it fills page tables and changes no byte, and reports what
    // would be SIGBUS as EFAULT.
    unsafe { madvise(start, len, MmapAdvise::MADV_POPULATE_READ) }
}

/// One byte of every page read and forgotten; pages that are being read are waited for.
fn touch(file: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    const STEP: u64 = 4096;
    let last = offset + len.saturating_sub(1);
    for at in (offset..last).step_by(STEP as usize).chain(std::iter::once(last)) {
        let mut byte = 0u8;
        let at = libc::off_t::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: one byte is read into `byte`, which is one byte long.
        match Errno::result(unsafe { libc::pread(file.as_raw_fd(), (&raw mut byte).cast(), 1, at) })? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => continue,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Stored;
    use crate::sys::MappedFile;

    #[test]
    fn reads_in_or_says_that_the_file_is_short() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![1; 20_000]).unwrap();
        let file = MappedFile::open(&path).unwrap();
        for map in [file.mapped(), None] {
            assert!(read_in(file.fd(), map, 0, 20_000).is_ok());
            assert!(read_in(file.fd(), map, 19_999, 1).is_ok());
        }
        std::fs::File::options().write(true).open(&path).unwrap().set_len(4_096).unwrap();
        for map in [file.mapped(), None] {
            assert!(read_in(file.fd(), map, 0, 4_096).is_ok());
            let error = read_in(file.fd(), map, 4_000, 10_000).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
        assert!(!file.is_damaged(), "the kernel was asked, nothing was read through the mapping");
    }
}
