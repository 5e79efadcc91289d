//! Track files being written: appended to in large writes, handed to the disk as they grow, synced once.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::sys::writeback;

/// A file that grows at its end. Dropping it without `finish` leaves the bytes unsynced.
pub struct TrackFile {
    file: File,
    path: PathBuf,
    len: u64,
    /// Up to where the kernel was told to write back.
    flushed: u64,
}

/// Bytes after which the kernel is told to start writing. Without it, dirty pages pile up until the final sync, which then
/// takes as long as the copy itself.
const FLUSH_BYTES: u64 = 8 << 20;

impl TrackFile {
    /// The file must not exist.
    pub fn create(path: &Path) -> io::Result<TrackFile> {
        let file = File::create_new(path)?;
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

    /// Appends all pieces in as few system calls as the kernel allows.
    pub fn append(&mut self, mut pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
        while pieces.iter().any(|piece| !piece.is_empty()) {
            match self.file.write_vectored(pieces) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.len += written as u64;
                    IoSlice::advance_slices(&mut pieces, written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.len - self.flushed >= FLUSH_BYTES {
            // A file system without it loses nothing but the head start.
            let _ = writeback::start(self.file.as_fd(), self.flushed, self.len - self.flushed);
            self.flushed = self.len;
        }
        Ok(())
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
    fn pieces_are_appended_whole_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("v1.cmfv");
        let mut file = TrackFile::create(&path).unwrap();
        assert!(file.is_empty());
        let many: Vec<Vec<u8>> = (0..3_000_u32).map(|number| number.to_le_bytes().repeat(1_000)).collect();
        // More pieces than one writev takes, and more bytes than one flush.
        let mut pieces: Vec<IoSlice<'_>> = many.iter().map(|piece| IoSlice::new(piece)).collect();
        file.append(&mut pieces).unwrap();
        file.append(&mut [IoSlice::new(b""), IoSlice::new(b"end")]).unwrap();
        file.append(&mut []).unwrap();
        assert_eq!(file.finish().unwrap(), 12_000_003);
        assert_eq!(std::fs::read(&path).unwrap(), [many.concat(), b"end".to_vec()].concat());
        assert!(TrackFile::create(&path).is_err());
    }
}
