//! Files that are only read: open, mapped, and shared by everybody who serves from them.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use memmap2::Mmap;

use super::fault::Guard;
use super::transfer;
use crate::base::Stored;

/// A whole file, open and mapped read-only.
pub struct MappedFile {
    // Dropped in this order: the guard stops answering for the addresses before they are unmapped and reused.
    guard: Option<Guard>,
    /// Found to be shorter than it was when it was opened.
    cut: AtomicBool,
    map: Option<Mmap>,
    file: File,
    name: String,
}

impl MappedFile {
    /// An empty file has no mapping, and reads as no bytes.
    ///
    /// # Errors
    /// Those of open and mmap, and `OutOfMemory` when more files are mapped than [`super::fault`] can watch over.
    pub fn open(path: &Path) -> io::Result<MappedFile> {
        MappedFile::of(File::open(path)?, path.display().to_string())
    }

    /// Of a file that is open already, and may have no name of its own: `name` is for messages.
    ///
    /// # Errors
    /// Those of mmap, and `OutOfMemory` as for [`MappedFile::open`].
    pub fn of(file: File, name: String) -> io::Result<MappedFile> {
        let len = file.metadata()?.len();
        if len == 0 {
            return Ok(MappedFile { guard: None, cut: AtomicBool::new(false), map: None, file, name });
        }
        // SAFETY: the mapping is private to this value and only ever read. Published files are never written again
        // (`library` replaces them by rename); bytes of a file that somebody truncates raise SIGBUS, which `fault`
        // answers with zeros.
        let map = unsafe { Mmap::map(&file)? };
        let guard = Guard::new(&map)?;
        Ok(MappedFile { guard: Some(guard), cut: AtomicBool::new(false), map: Some(map), file, name })
    }

    pub fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }

    /// Whether bytes were read through the mapping that the disk could not give (the file was truncated, or a read
    /// failed): they read as zeros. Ask after reading; what was made from them must be thrown away.
    pub fn is_damaged(&self) -> bool {
        self.cut.load(Ordering::Relaxed) || self.guard.as_ref().is_some_and(Guard::is_damaged)
    }

    /// Whether the file is as long as it was when it was opened, and nothing that was read of it was damaged. Costs a system
    /// call, and sees what no fault tells of: the page in which a truncated file ends reads as zeros behind its end.
    pub fn is_whole(&self) -> bool {
        !self.is_damaged() && transfer::file_len(self.fd()).is_ok_and(|len| len >= self.len())
    }
}

impl Stored for MappedFile {
    fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn len(&self) -> u64 {
        self.bytes().len() as u64
    }

    fn mapped(&self) -> Option<&[u8]> {
        self.map.as_deref()
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn mark_damaged(&self) -> bool {
        !self.cut.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
impl MappedFile {
    /// Drops the file from memory, as far as nobody else uses it.
    pub fn forget(&self) {
        use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
        if let Some(map) = &self.map {
            // SAFETY: a read-only mapping of a file is read again from that file.
            unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) }.unwrap();
        }
        posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_file_reads_as_zeros_and_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v1.cmfv");
        std::fs::write(&path, vec![7; 40_000]).unwrap();
        let file = MappedFile::open(&path).unwrap();
        let whole = MappedFile::open(&path).unwrap();
        assert_eq!(file.bytes().iter().map(|&byte| u64::from(byte)).sum::<u64>(), 280_000);
        assert!(!file.is_damaged() && file.is_whole());

        File::options().write(true).open(&path).unwrap().set_len(4_096).unwrap();
        assert!(!file.is_whole() && !file.is_damaged(), "nothing was read yet");
        assert_eq!((file.bytes()[0], file.bytes()[39_999], file.bytes()[20_000]), (7, 0, 0));
        assert!(file.is_damaged());
        assert!(!whole.is_damaged(), "only the mapping that was read is marked");
        assert!(file.mark_damaged() && !file.mark_damaged(), "news once");
        drop(file);
        assert_eq!(whole.bytes()[8_192], 0);
        assert!(whole.is_damaged());
    }

    #[test]
    fn an_empty_file_has_no_bytes() {
        let file = MappedFile::open(Path::new("/dev/null")).unwrap();
        assert_eq!((file.len(), file.mapped(), file.is_damaged(), file.is_whole()), (0, None, false, true));
    }
}
