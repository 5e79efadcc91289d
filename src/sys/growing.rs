//! A file that grows, mapped before it has grown: addresses are reserved beyond its end, so that what is appended can be read
//! without mapping anything anew.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions};

use super::fault::Guard;

/// A read-only mapping of the first `reserve` bytes of a file, whether it has them yet or not.
pub struct GrowingMap {
    // Dropped in this order: the guard stops answering for the addresses before they are unmapped and reused.
    guard: Guard,
    map: Mmap,
}

impl GrowingMap {
    /// Takes addresses, not memory. `reserve` is at least 1.
    ///
    /// # Errors
    /// Those of mmap, and `OutOfMemory` when more files are mapped than [`super::fault`] can watch over.
    pub fn new(file: &File, reserve: usize) -> io::Result<GrowingMap> {
        // SAFETY: the mapping is private to this value, only ever read, and lent out by `below` alone: bytes that the
        // one writer of the file has written and never changes again. A shared mapping of a file shows what is written to the
        // file (mmap(2)), also in pages mapped before. Bytes of a file that somebody truncates raise SIGBUS, which
        // `fault` answers with zeros.
        let map = unsafe { MmapOptions::new().len(reserve).map(file)? };
        let guard = Guard::new(&map)?;
        Ok(GrowingMap { guard, map })
    }

    /// The first `len` bytes, or as many as are reserved. The caller says that they are written and never change again.
    pub fn below(&self, len: u64) -> &[u8] {
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(self.map.len());
        &self.map[..len]
    }

    /// Whether bytes were read that the file does not have: they read as zeros.
    pub fn is_damaged(&self) -> bool {
        self.guard.is_damaged()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_written_later_is_seen_and_what_was_cut_off_reads_as_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v1.cmfv");
        let mut file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        let map = GrowingMap::new(&file, 1 << 20).unwrap();
        assert!(map.below(0).is_empty());
        let mut len = 0;
        for (number, size) in [(1_u8, 100_usize), (2, 4_000), (3, 60_000), (4, 1)] {
            file.write_all(&vec![number; size]).unwrap();
            let before = len;
            len += size as u64;
            let new = &map.below(len)[before as usize..];
            assert!(new.len() == size && new.iter().all(|&byte| byte == number), "{number}");
        }
        assert_eq!(map.below(1 << 40).len(), 1 << 20);
        assert!(!map.is_damaged());
        file.set_len(4_096).unwrap();
        assert_eq!(map.below(len)[50_000], 0);
        assert!(map.is_damaged());
    }
}
