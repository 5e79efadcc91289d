//! Track files being written: appended to in large writes, handed to the disk as they grow, synced once.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::sys::writeback;

/// A file that grows at its end. Dropping it without `finish` leaves the bytes unsynced.
pub struct TrackFile {
    file: Arc<File>,
    path: PathBuf,
    len: u64,
    /// Up to where the kernel was told to write back.
    flushed: u64,
}

/// A stretch of a track file that is due to be written back. Starting that may wait for the disk's queue, so whoever
/// appends leaves it to another thread.
#[must_use]
pub struct Writeback {
    file: Arc<File>,
    offset: u64,
    len: u64,
}

impl Writeback {
    /// A file system that cannot do it loses nothing but the head start.
    pub fn start(self) {
        let _ = writeback::start(self.file.as_fd(), self.offset, self.len);
    }
}

/// Bytes after which the kernel is told to start writing. Without it, dirty pages pile up until the final sync, which then
/// takes as long as the copy itself.
const FLUSH_BYTES: u64 = 8 << 20;

impl TrackFile {
    /// The file must not exist.
    pub fn create(path: &Path) -> io::Result<TrackFile> {
        let file = File::create_new(path)?.into();
        Ok(TrackFile { file, path: path.to_owned(), len: 0, flushed: 0 })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// In bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends all of it. Now and then a stretch is due to be written back.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<Option<Writeback>> {
        (&*self.file).write_all(bytes)?;
        self.len += bytes.len() as u64;
        let (offset, len) = (self.flushed, self.len - self.flushed);
        if len < FLUSH_BYTES {
            return Ok(None);
        }
        self.flushed = self.len;
        Ok(Some(Writeback { file: self.file.clone(), offset, len }))
    }

    /// Makes the bytes survive a power loss. Returns the length.
    pub fn finish(self) -> io::Result<u64> {
        self.file.sync_all()?;
        Ok(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_appended_whole_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("v1.cmfv");
        let mut file = TrackFile::create(&path).unwrap();
        assert!(file.is_empty());
        let mut due = Vec::new();
        let piece = |number: u8| vec![number; 1_000_003];
        for number in 0..20 {
            if let Some(writeback) = file.append(&piece(number)).unwrap() {
                due.push((writeback.offset, writeback.len));
                writeback.start();
            }
        }
        assert!(file.append(b"").unwrap().is_none());
        assert_eq!(due, [(0, 9 * 1_000_003), (9 * 1_000_003, 9 * 1_000_003)]);
        assert_eq!(file.finish().unwrap(), 20 * 1_000_003);
        assert_eq!(std::fs::read(&path).unwrap(), (0..20).flat_map(piece).collect::<Vec<u8>>());
        assert!(TrackFile::create(&path).is_err());
    }
}
