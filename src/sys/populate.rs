//! Reading parts of files into the page cache: for threads that may wait.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::OnceLock;
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Asked for, and looked at, in one call where it is small pages. Asking takes 400 µs of CPU and more for each MB then, and
/// many kernels let nobody else run before a call ends.
const STEP_BYTES: usize = 256 * 1024;

/// A page of the next size, on the machines that there are (with other sizes the kernel rounds as it likes).
const BLOCK_BYTES: u64 = 2 * 1024 * 1024;
/// From this length on, whole blocks are read in for a stretch. What lies around it is what players ask for next.
const BLOCKS_FROM_BYTES: u64 = 512 * 1024;

/// Reads `len` bytes from `offset` into the page cache and waits until they are there; for a long stretch, the blocks of
/// 2 MiB that it touches. In between it gives way to others that can run on this CPU.
///
/// # Errors
/// `UnexpectedEof` when the file ends before, or what the disk said.
pub fn read_in(file: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    let out_of_range = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut from = libc::off_t::try_from(offset).map_err(out_of_range)?;
    let mut left = usize::try_from(len).map_err(out_of_range)?;
    if len < BLOCKS_FROM_BYTES || !ask_for_blocks(file, offset, len) {
        // All is asked for first: what follows would read in the small steps of sequential readahead.
        for at in (0..left).step_by(STEP_BYTES) {
            let (start, len) = (from.saturating_add(at as libc::off_t), STEP_BYTES.min(left - at) as libc::off_t);
            let _ = posix_fadvise(file, start, len, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
            thread::yield_now();
        }
    }
    // Sending to /dev/null looks at every page, waits for those on their way, and copies nothing.
    let nowhere = nowhere()?;
    while left > 0 {
        // SAFETY: both descriptors are open for the length of the call, and `from` is a valid place for the kernel to read
        // and write.
        let sent = unsafe { libc::sendfile(nowhere.as_raw_fd(), file.as_raw_fd(), &mut from, left.min(STEP_BYTES)) };
        match Errno::result(sent) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(sent) => {
                left -= sent as usize;
                thread::yield_now();
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Has every block that the stretch touches read in as one large page; `false` where the kernel has none. Each costs a fifth
/// of the CPU that the same bytes cost in pages of 4 KiB, and sending from it is cheaper ever after.
///
/// The only way to ask for large pages is through a mapping. It is gone again before the call ends: a library of terabytes
/// would fill page tables, and pages that stay mapped are harder to evict. What failed is found out by who looks.
fn ask_for_blocks(file: BorrowedFd<'_>, offset: u64, len: u64) -> bool {
    let end = offset.saturating_add(len);
    let mut block = offset - offset % BLOCK_BYTES;
    while block < end {
        if !ask_for_block(file, block) {
            return false;
        }
        thread::yield_now();
        block += BLOCK_BYTES;
    }
    true
}

fn ask_for_block(file: BorrowedFd<'_>, offset: u64) -> bool {
    const MADV_POPULATE_READ: libc::c_int = 22;
    let len = BLOCK_BYTES as usize;
    // SAFETY: a new mapping, at an address of the kernel's choice; the descriptor is borrowed.
    let map = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            offset as libc::off_t,
        )
    };
    if map == libc::MAP_FAILED {
        return false;
    }
    // SAFETY: all three are about the mapping just made, which nobody else knows of; nothing is read through it, so a file
    // that ends before it is an error of the call and no signal. MADV_RANDOM: this block and not the next one as well.
    unsafe {
        let large = libc::madvise(map, len, libc::MADV_HUGEPAGE) == 0;
        if large {
            libc::madvise(map, len, libc::MADV_RANDOM);
            libc::madvise(map, len, MADV_POPULATE_READ);
        }
        libc::munmap(map, len);
        large
    }
}

fn nowhere() -> io::Result<&'static File> {
    static NOWHERE: OnceLock<File> = OnceLock::new();
    if let Some(file) = NOWHERE.get() {
        return Ok(file);
    }
    let file = File::options().write(true).open("/dev/null")?;
    Ok(NOWHERE.get_or_init(|| file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Stored;
    use crate::sys::{MappedFile, residency};

    #[test]
    fn reads_in_or_says_that_the_file_is_short() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![1; 3_000_000]).unwrap();
        let file = MappedFile::open(&path).unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
        posix_fadvise(file.fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        read_in(file.fd(), 1_000_001, 1_000_000).unwrap();
        assert!(residency::is_resident(file.fd(), 1_000_001, 1_000_000));
        read_in(file.fd(), 2_999_999, 1).unwrap();
        read_in(file.fd(), 3_000_000, 0).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(4_096).unwrap();
        read_in(file.fd(), 0, 4_096).unwrap();
        assert_eq!(read_in(file.fd(), 4_000, 10_000).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(!file.is_damaged(), "the kernel was asked, nothing was read through the mapping");
    }
}
