//! What the store asks of a file system: a seam at which tests put a disk that loses power.

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use nix::sys::uio::pwritev;

use crate::base::Stored;
use crate::sys::{directory, transfer, writeback};

/// A directory tree. What was written survives the process; what was synced survives the machine.
pub trait Disk: Send + Sync {
    /// One that is there already is no mistake.
    fn make_dir(&self, path: &Path) -> io::Result<()>;

    /// Says that what is made in this directory are directories that have nothing to do with each other. Advice.
    fn spread(&self, _path: &Path) {}

    /// Names of what is in a directory.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// An empty file, which must not be there.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// A file whose first `len` bytes are kept, and the rest cut off.
    fn resume(&self, path: &Path, len: u64) -> io::Result<Arc<dyn DiskFile>>;

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Only if it is empty.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes names that were created, renamed and removed survive.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// A file that is written to.
pub trait DiskFile: Send + Sync {
    /// All of them.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// The same of bytes that lie in several places.
    fn write_pieces(&self, pieces: &[Bytes], mut at: u64) -> io::Result<()> {
        for piece in pieces {
            self.write_at(piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Cuts off everything behind the first `len` bytes.
    fn cut(&self, len: u64) -> io::Result<()>;

    /// Says that the first `len` bytes will be synced soon, so that several files are written at a time.
    fn start_sync(&self, _len: u64) {}

    fn sync(&self) -> io::Result<()>;

    /// To send from, once `len` bytes are written. `None`: a disk of tests.
    fn stored(self: Arc<Self>, len: u64) -> Option<Arc<dyn Stored>>;
}

/// Buffers that one call writes: IOV_MAX of Linux is 1024.
const PIECES_MAX: usize = 512;

/// The real one.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSystem;

/// A file of an object: sent with sendfile, never mapped, so that there may be as many as descriptors.
pub struct ObjectFile {
    file: File,
    name: PathBuf,
    len: AtomicU64,
    cut: AtomicBool,
}

impl ObjectFile {
    /// For reading.
    pub fn open(path: PathBuf) -> io::Result<ObjectFile> {
        let file = File::open(&path)?;
        let len = file.metadata()?.len();
        Ok(ObjectFile { file, name: path, len: AtomicU64::new(len), cut: AtomicBool::new(false) })
    }

    /// Reads all of it.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len() as usize];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Whether it is as long as it was, so far as anybody noticed.
    pub fn is_damaged(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }
}

impl Stored for ObjectFile {
    fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    fn mapped(&self) -> Option<&[u8]> {
        None
    }

    fn name(&self) -> &str {
        self.name.to_str().unwrap_or_default()
    }

    fn mark_damaged(&self) -> bool {
        // One that is still being written may be shorter than what its watermark will be.
        !transfer::file_len(self.fd()).is_ok_and(|len| len >= self.len()) && !self.cut.swap(true, Ordering::Relaxed)
    }
}

impl DiskFile for ObjectFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    /// In one call, so that the page cache takes them in large pages.
    fn write_pieces(&self, mut pieces: &[Bytes], mut at: u64) -> io::Result<()> {
        while !pieces.is_empty() {
            let slices: Vec<IoSlice<'_>> = pieces.iter().take(PIECES_MAX).map(|piece| IoSlice::new(piece)).collect();
            let mut written = pwritev(&self.file, &slices, at as i64)?;
            at += written as u64;
            while let Some(piece) = pieces.first().filter(|piece| piece.len() <= written) {
                written -= piece.len();
                pieces = &pieces[1..];
            }
            if let (Some(piece), 1..) = (pieces.first(), written) {
                self.write_at(&piece[written..], at)?;
                at += (piece.len() - written) as u64;
                pieces = &pieces[1..];
            }
        }
        Ok(())
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn start_sync(&self, len: u64) {
        // Only haste: what fails here fails again when it is synced.
        let _ = writeback::start(self.file.as_fd(), 0, len);
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn stored(self: Arc<Self>, len: u64) -> Option<Arc<dyn Stored>> {
        self.len.fetch_max(len, Ordering::AcqRel);
        Some(self)
    }
}

impl Disk for FileSystem {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    fn spread(&self, path: &Path) {
        // Where the file system does not know it, it goes on as it does.
        let _ = File::open(path).and_then(|opened| directory::spread(opened.as_fd()));
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = File::options().create_new(true).read(true).write(true).open(path)?;
        Ok(Arc::new(ObjectFile { file, name: path.into(), len: AtomicU64::new(0), cut: AtomicBool::new(false) }))
    }

    fn resume(&self, path: &Path, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = File::options().read(true).write(true).open(path)?;
        if file.metadata()?.len() != len {
            file.set_len(len)?;
        }
        Ok(Arc::new(ObjectFile { file, name: path.into(), len: AtomicU64::new(len), cut: AtomicBool::new(false) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_written_behind_each_other() {
        let dir = tempfile::tempdir().unwrap();
        for count in [0, 1, 2, PIECES_MAX, 2 * PIECES_MAX + 3] {
            let path = dir.path().join(count.to_string());
            let file = FileSystem.create(&path).unwrap();
            let pieces: Vec<Bytes> = (0..count).map(|number| Bytes::from(vec![number as u8; number % 7])).collect();
            file.write_at(b"head", 0).unwrap();
            file.write_pieces(&pieces, 4).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), [b"head", &pieces.concat()[..]].concat(), "{count}");
        }
    }
}
