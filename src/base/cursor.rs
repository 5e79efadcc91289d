//! Reading bytes that came from outside: every read is checked against what is there, and a failure knows its offset.

use thiserror::Error;

/// A read past the end of what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{wanted} bytes wanted at byte {at}, {left} left")]
pub struct Short {
    /// Absolute offset, counted from where the outermost reader began.
    pub at: u64,
    pub wanted: u64,
    pub left: u64,
}

/// A big-endian reader over borrowed bytes which remembers where in the file they lie.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    start: u64,
    at: usize,
}

macro_rules! read_int {
    ($($name:ident: $int:ty),*) => {$(
        pub fn $name(&mut self) -> Result<$int, Short> {
            let (bytes, _) = self.take(size_of::<$int>())?.split_first_chunk().expect("took as many bytes as it has");
            Ok(<$int>::from_be_bytes(*bytes))
        }
    )*};
}

impl<'a> Cursor<'a> {
    /// `start` is the offset of the first byte in the file, for error messages.
    pub fn new(bytes: &'a [u8], start: u64) -> Cursor<'a> {
        Cursor { bytes, start, at: 0 }
    }

    /// Absolute offset of the next byte.
    pub fn position(&self) -> u64 {
        self.start + self.at as u64
    }

    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Short> {
        match self.bytes[self.at..].get(..len) {
            Some(bytes) => {
                self.at += len;
                Ok(bytes)
            }
            None => Err(Short { at: self.position(), wanted: len as u64, left: self.remaining() as u64 }),
        }
    }

    pub fn skip(&mut self, len: usize) -> Result<(), Short> {
        self.take(len).map(drop)
    }

    /// The next `len` bytes as a reader of their own.
    pub fn section(&mut self, len: usize) -> Result<Cursor<'a>, Short> {
        let start = self.position();
        self.take(len).map(|bytes| Cursor::new(bytes, start))
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    /// `count` rows of `row_size` bytes, borrowed: a count from outside is checked against the bytes before anything is
    /// allocated for it.
    pub fn table(&mut self, count: u64, row_size: usize) -> Result<&'a [u8], Short> {
        let wanted = count.saturating_mul(row_size as u64);
        match usize::try_from(wanted) {
            Ok(len) => self.take(len),
            Err(_) => Err(Short { at: self.position(), wanted, left: self.remaining() as u64 }),
        }
    }

    read_int!(u8: u8, u16: u16, u32: u32, u64: u64, i16: i16, i32: i32, i64: i64);

    pub fn u24(&mut self) -> Result<u32, Short> {
        let bytes = self.take(3)?;
        Ok(u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_bounded_and_errors_say_where() {
        let mut cursor = Cursor::new(&[0, 1, 2, 3, 4, 5, 6, 7, 8], 100);
        assert_eq!(cursor.u16(), Ok(1));
        assert_eq!(cursor.u24(), Ok(0x020304));
        assert_eq!(cursor.position(), 105);
        assert_eq!(cursor.u64(), Err(Short { at: 105, wanted: 8, left: 4 }));
        assert_eq!(cursor.table(u64::MAX, 16), Err(Short { at: 105, wanted: u64::MAX, left: 4 }));
        assert_eq!(cursor.table(2, 2), Ok(&[5, 6, 7, 8][..]));
        assert!(cursor.is_empty());
    }
}
