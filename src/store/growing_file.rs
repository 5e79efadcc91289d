//! Files that grow: one writer appends, readers read what lies below the watermark.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::base::Stored;
use crate::base::limits::LIVE_FILE_BYTES_MAX;
use crate::sys::{GrowingMap, crash, transfer};

/// A track file of a channel, or its journal. Shared by its writer and all who read from it.
///
/// The watermark is [`Stored::len`]: bytes below it are written and never change. Whoever appends writes at the watermark
/// first, through [`GrowingFile::writer`], and calls [`GrowingFile::advance`] then.
pub struct GrowingFile {
    file: File,
    name: String,
    len: AtomicU64,
    /// `None` where the file is only to be sent with sendfile.
    map: Option<GrowingMap>,
    cut: AtomicBool,
}

/// Addresses reserved for each track file: what is made of its segments is made from the mapping. The last segment begins
/// below the limit, and is less than 4 GiB. All the files that can be mapped at once (`sys::fault`) take half of the addresses
/// there are.
const RESERVE_BYTES: u64 = 8 << 30;
const _: () = assert!(LIVE_FILE_BYTES_MAX + u32::MAX as u64 <= RESERVE_BYTES);

impl GrowingFile {
    /// The file must not exist.
    pub fn create(path: &Path) -> io::Result<GrowingFile> {
        GrowingFile::create_reserved(path, RESERVE_BYTES)
    }

    /// The same of a file of which so many bytes are read through its mapping, at most.
    pub(super) fn create_reserved(path: &Path, reserve: u64) -> io::Result<GrowingFile> {
        let file = File::options().create_new(true).read(true).write(true).open(path)?;
        Ok(GrowingFile::new(file, path, 0, reserve))
    }

    /// A file that nobody appends to any more.
    pub fn open(path: &Path) -> io::Result<GrowingFile> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(GrowingFile::new(file, path, len, len.min(RESERVE_BYTES)))
    }

    /// A file that is to be appended to behind its first `len` bytes; what lies behind them is cut off.
    ///
    /// # Errors
    /// `UnexpectedEof` if it is shorter.
    pub fn resume(path: &Path, len: u64) -> io::Result<GrowingFile> {
        GrowingFile::resume_reserved(path, len, RESERVE_BYTES)
    }

    /// See [`GrowingFile::create_reserved`].
    pub(super) fn resume_reserved(path: &Path, len: u64, reserve: u64) -> io::Result<GrowingFile> {
        let file = File::options().read(true).write(true).open(path)?;
        let found = file.metadata()?.len();
        if found < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if found > len {
            file.set_len(len)?;
            crash::point("file cut");
        }
        Ok(GrowingFile::new(file, path, len, reserve))
    }

    fn new(file: File, path: &Path, len: u64, reserve: u64) -> GrowingFile {
        let reserve = usize::try_from(reserve).unwrap_or(usize::MAX);
        // Without a mapping it is sent from all the same.
        let map = (reserve > 0).then(|| GrowingMap::new(&file, reserve).ok()).flatten();
        let name = path.display().to_string();
        GrowingFile { file, name, len: AtomicU64::new(len), map, cut: AtomicBool::new(false) }
    }

    /// For the one writer: to append with, at the watermark.
    pub fn writer(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Bytes below `len` are written. A lower watermark changes nothing.
    pub fn advance(&self, len: u64) {
        self.len.fetch_max(len, Ordering::AcqRel);
    }

    /// Whether the file is as long as its watermark, asking the file system.
    pub fn is_whole(&self) -> bool {
        !self.is_damaged() && transfer::file_len(self.fd()).is_ok_and(|len| len >= self.len())
    }
}

impl Stored for GrowingFile {
    fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// The first bytes of it, which may be fewer than [`Stored::len`].
    fn mapped(&self) -> Option<&[u8]> {
        self.map.as_ref().map(|map| map.below(self.len()))
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn mark_damaged(&self) -> bool {
        !self.cut.swap(true, Ordering::Relaxed)
    }

    fn is_damaged(&self) -> bool {
        self.cut.load(Ordering::Relaxed) || self.map.as_ref().is_some_and(GrowingMap::is_damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    #[test]
    fn readers_see_what_lies_below_the_watermark() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.cmfv");
        let file = GrowingFile::create(&path).unwrap();
        assert!(GrowingFile::create(&path).is_err());
        let mut writer = file.writer().unwrap();
        writer.write_all(b"whole").unwrap();
        assert_eq!((file.len(), file.mapped()), (0, Some(&b""[..])));
        file.advance(5);
        file.advance(3);
        assert_eq!((file.len(), file.mapped()), (5, Some(&b"whole"[..])));
        writer.write_all(b"half").unwrap();
        drop((writer, file));

        let whole = GrowingFile::open(&path).unwrap();
        assert_eq!((whole.len(), whole.mapped(), whole.is_whole()), (9, Some(&b"wholehalf"[..]), true));
        let file = GrowingFile::resume(&path, 5).unwrap();
        assert_eq!(file.mapped(), Some(&b"whole"[..]));
        file.writer().unwrap().write_all_at(b"!", file.len()).unwrap();
        file.advance(6);
        assert_eq!(std::fs::read(&path).unwrap(), b"whole!");
        assert!(!whole.is_whole() && file.is_whole());
        assert!(GrowingFile::resume(&path, 7).is_err());
    }

    #[test]
    fn readers_never_see_a_byte_that_was_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = Arc::new(GrowingFile::create(&dir.path().join("1.cmfa")).unwrap());
        let reader = file.clone();
        let reading = std::thread::spawn(move || {
            let mut seen = 0;
            while seen < 2_000_000 {
                let bytes = reader.mapped().unwrap();
                assert!(bytes[seen..].iter().all(|&byte| byte == 7));
                seen = bytes.len();
            }
        });
        let writer = file.writer().unwrap();
        while file.len() < 2_000_000 {
            let at = file.len();
            writer.write_all_at(&vec![7; 1 + (at as usize * 7) % 5_000], at).unwrap();
            file.advance(at + 1 + (at * 7) % 5_000);
        }
        reading.join().unwrap();
    }
}
