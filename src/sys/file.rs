//! Files that are only read: open, mapped, and shared by everybody who serves from them.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use memmap2::Mmap;

use crate::base::Stored;

/// A whole file, open and mapped read-only.
pub struct MappedFile {
    file: File,
    map: Option<Mmap>,
    name: String,
}

impl MappedFile {
    /// An empty file has no mapping, and reads as no bytes.
    pub fn open(path: &Path) -> io::Result<MappedFile> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        // SAFETY: the mapping is private to this value and only ever read. Published files are never written again
        // (`library` replaces them by rename); bytes of a file that somebody truncates raise SIGBUS, which the process
        // handles by mapping zeros.
        let map = if len == 0 { None } else { Some(unsafe { Mmap::map(&file)? }) };
        Ok(MappedFile { file, map, name: path.display().to_string() })
    }

    pub fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
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
}
