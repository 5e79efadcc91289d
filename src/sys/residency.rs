//! Is this part of a file in the page cache, so that sending it will not wait for the disk?
//!
//! The kernel answers only to those it trusts: since 6.13 `cachestat` gives EPERM, and `mincore` calls everything
//! resident, to a process that neither owns the file nor may write it. Reading with RWF_NOWAIT always tells the truth,
//! but only about the bytes it reads.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;

/// What the kernel was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `cachestat(2)`, Linux 6.5: every page counted.
    Cachestat,
    /// One byte read every [`SAMPLE_STRIDE`], without waiting.
    Samples,
}

/// Pages come and go in runs (readahead, large folios), so a few looks tell enough.
const SAMPLE_STRIDE: u64 = 64 * 1024;
const SYS_CACHESTAT: libc::c_long = 451;
const RWF_NOWAIT: libc::c_int = 0x8;

/// Set when the kernel does not have the call, so that it is not made again.
static NO_CACHESTAT: AtomicBool = AtomicBool::new(false);

/// Whether `len` bytes from `offset` are in the page cache. Bytes beyond the end of the file never are. A page that is
/// still being read in may count: see [`has_arrived`].
pub fn is_resident(file: BorrowedFd<'_>, offset: u64, len: u64) -> bool {
    match cached_pages(file, offset, len) {
        Ok(pages) => pages >= pages_spanned(offset, len),
        Err(_) => samples(offset, len).all(|at| is_readable(file, at)),
    }
}

/// How [`is_resident`] finds out for this file: what `check` reports.
pub fn source(file: BorrowedFd<'_>) -> Source {
    match cached_pages(file, 0, 1) {
        Ok(_) => Source::Cachestat,
        Err(_) => Source::Samples,
    }
}

/// As [`is_resident`], for a stretch that may be on its way from the disk just now: pages in the cache whose bytes have not
/// arrived do not count, as far as a look every [`SAMPLE_STRIDE`] can tell.
pub fn has_arrived(file: BorrowedFd<'_>, offset: u64, len: u64) -> bool {
    is_resident(file, offset, len) && samples(offset, len).all(|at| is_readable(file, at))
}

/// Whether the byte at `offset` can be read without waiting: it is in the page cache and its read has finished.
pub fn is_readable(file: BorrowedFd<'_>, offset: u64) -> bool {
    let Ok(offset) = libc::off_t::try_from(offset) else { return false };
    let mut byte = 0u8;
    let part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: `part` describes the one byte of `byte`, which outlives the call; the descriptor is borrowed.
    let read = unsafe { libc::preadv2(file.as_raw_fd(), &part, 1, offset, RWF_NOWAIT) };
    match Errno::result(read) {
        Ok(read) => read == 1,
        // A file system that cannot read without waiting: nothing can be known, and waiting is all that is left.
        Err(Errno::EOPNOTSUPP | Errno::EINVAL) => true,
        Err(_) => false,
    }
}

fn samples(offset: u64, len: u64) -> impl Iterator<Item = u64> {
    let last = offset + len.saturating_sub(1);
    (offset..last).step_by(SAMPLE_STRIDE as usize).chain(std::iter::once(last))
}

fn pages_spanned(offset: u64, len: u64) -> u64 {
    const PAGE: u64 = 4096;
    if len == 0 { 0 } else { (offset + len - 1) / PAGE - offset / PAGE + 1 }
}

fn cached_pages(file: BorrowedFd<'_>, offset: u64, len: u64) -> Result<u64, Errno> {
    #[repr(C)]
    struct Range {
        offset: u64,
        len: u64,
    }
    #[derive(Default)]
    #[repr(C)]
    struct Stat {
        cached: u64,
        dirty: u64,
        writeback: u64,
        evicted: u64,
        recently_evicted: u64,
    }
    if NO_CACHESTAT.load(Ordering::Relaxed) {
        return Err(Errno::ENOSYS);
    }
    let (range, mut stat) = (Range { offset, len }, Stat::default());
    // SAFETY: `struct cachestat_range` and `struct cachestat` (linux/mman.h) are these; both live through the call, and
    // the kernel writes only the second.
    let result = unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &range, &mut stat, 0) };
    match Errno::result(result) {
        Ok(_) => Ok(stat.cached),
        Err(errno) => {
            if errno == Errno::ENOSYS {
                NO_CACHESTAT.store(true, Ordering::Relaxed);
            }
            Err(errno)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;

    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

    #[test]
    fn tells_warm_from_cold() {
        // Not in /tmp: a memory file system has no cold pages.
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = dir.path().join("file");
        let mut file = File::create_new(&path).unwrap();
        file.write_all(&vec![1; 1 << 20]).unwrap();
        file.sync_all().unwrap();
        let file = File::open(&path).unwrap();
        assert!(is_resident(file.as_fd(), 0, 1 << 20));
        assert!(is_resident(file.as_fd(), 4_095, 2));
        assert!(!is_resident(file.as_fd(), (1 << 20) - 10, 8_192), "beyond the end");
        assert!(samples(0, 1 << 20).all(|at| is_readable(file.as_fd(), at)));
        assert!(!is_readable(file.as_fd(), 1 << 20));

        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        if source(file.as_fd()) == Source::Cachestat {
            assert!(!is_resident(file.as_fd(), 0, 1 << 20));
        }
        super::super::populate::read_in(file.as_fd(), 0, 1 << 20).unwrap();
        assert!(is_resident(file.as_fd(), 0, 1 << 20));
    }

    #[test]
    fn pages_and_samples() {
        for (offset, len, pages) in [(0, 0, 0), (0, 1, 1), (4_095, 2, 2), (4_096, 4_096, 1), (1, 8_192, 3)] {
            assert_eq!(pages_spanned(offset, len), pages, "{offset} {len}");
        }
        for (offset, len, want) in
            [(0, 1, vec![0]), (10, 65_536, vec![10, 65_545]), (0, 65_538, vec![0, 65_536, 65_537])]
        {
            assert_eq!(samples(offset, len).collect::<Vec<_>>(), want, "{offset} {len}");
        }
    }
}
