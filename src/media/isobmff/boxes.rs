//! Boxes as they lie in the file (ISO/IEC 14496-12 §4.2): a header checked against the parent, a body that is borrowed.

use std::fmt;

use crate::base::cursor::Cursor;

use super::error::{Error, Problem};

/// A box type or a code of its kind.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.strip_suffix(b" ").unwrap_or(&self.0);
        text.iter().try_for_each(|&byte| match byte {
            b' '..=b'~' => write!(f, "{}", byte as char),
            // QuickTime's user data types begin with the copyright sign in Mac Roman.
            0xa9 => write!(f, "©"),
            _ => write!(f, "\\x{byte:02x}"),
        })
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The boxes around a place, outermost first: `moov/trak[2]/mdia`. Copied along as boxes are entered, so it is small and
/// has a fixed depth; the reader goes no deeper than the boxes it knows, whatever a file nests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path {
    steps: [(FourCc, u32); Path::DEPTH_MAX],
    len: u8,
}

impl Path {
    /// `moov/trak/mdia/minf/stbl/stsd/avc1/sinf` is the deepest that is read.
    const DEPTH_MAX: usize = 8;

    pub(super) fn is_root(&self) -> bool {
        self.len == 0
    }

    /// `number` counts boxes of one name from 1; 0 where there should be only one.
    pub(super) fn enter(mut self, name: FourCc, number: u32) -> Path {
        if let Some(step) = self.steps.get_mut(usize::from(self.len)) {
            *step = (name, number);
            self.len += 1;
        }
        self
    }

    pub(super) fn numbered(mut self, number: u32) -> Path {
        if let Some((_, last)) = usize::from(self.len).checked_sub(1).and_then(|last| self.steps.get_mut(last)) {
            *last = number;
        }
        self
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, (name, number)) in self.steps.iter().take(usize::from(self.len)).enumerate() {
            let slash = if depth == 0 { "" } else { "/" };
            write!(f, "{slash}{name}")?;
            if *number > 0 {
                write!(f, "[{number}]")?;
            }
        }
        Ok(())
    }
}

/// One box.
#[derive(Clone, Debug)]
pub(super) struct Boxed<'a> {
    pub name: FourCc,
    /// Of the first byte of the header, in the file.
    pub at: u64,
    /// Header and body.
    pub whole: &'a [u8],
    pub path: Path,
    header_len: usize,
}

impl<'a> Boxed<'a> {
    pub fn body(&self) -> Cursor<'a> {
        let body = self.whole.get(self.header_len..).unwrap_or_default();
        Cursor::new(body, self.at.saturating_add(self.header_len as u64))
    }

    /// Version, flags and the rest of a full box (§4.2.2).
    pub fn full(&self) -> Result<(u8, u32, Cursor<'a>), Error> {
        let mut body = self.body();
        let version = self.read(body.u8())?;
        let flags = self.read(body.u24())?;
        Ok((version, flags, body))
    }

    pub fn children(&self) -> Boxes<'a> {
        Boxes::inside(self.body(), self.path)
    }

    /// Gives a failed read this box's name.
    pub fn read<T>(&self, result: Result<T, crate::base::cursor::Short>) -> Result<T, Error> {
        result.map_err(|short| Error::short(self.path, short))
    }

    /// One of several of its name.
    pub fn numbered(mut self, number: u32) -> Boxed<'a> {
        self.path = self.path.numbered(number);
        self
    }

    /// What is left of the box as rows of `N` bytes, `count` of them: checked against the bytes that are there.
    pub fn table<const N: usize>(&self, body: &mut Cursor<'a>, count: u32) -> Result<Table<'a, N>, Error> {
        let at = body.position();
        let bytes = self.read(body.table(u64::from(count), N))?;
        Ok(Table { rows: bytes.as_chunks().0, at })
    }
}

/// Rows of a table in the file, borrowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a, const N: usize> {
    pub rows: &'a [[u8; N]],
    /// Of the first row, in the file.
    at: u64,
}

impl<'a, const N: usize> Table<'a, N> {
    pub const fn empty() -> Table<'a, N> {
        Table { rows: &[], at: 0 }
    }

    /// Offset in the file of row `index`.
    pub fn row_at(&self, index: usize) -> u64 {
        self.at.saturating_add((index as u64).saturating_mul(N as u64))
    }
}

/// The boxes in a stretch of bytes, in order. Ends at the first error.
#[derive(Clone, Debug)]
pub(super) struct Boxes<'a> {
    cursor: Cursor<'a>,
    parent: Path,
    top_level: bool,
}

impl<'a> Boxes<'a> {
    /// The boxes of the file itself from byte `start`. Only there may a box run to the end (§4.2.2: size 0).
    pub fn top_level(bytes: &'a [u8], start: u64) -> Boxes<'a> {
        let tail = usize::try_from(start).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
        Boxes { cursor: Cursor::new(tail, start), parent: Path::default(), top_level: true }
    }

    pub fn inside(body: Cursor<'a>, parent: Path) -> Boxes<'a> {
        Boxes { cursor: body, parent, top_level: false }
    }

    fn read(&mut self) -> Result<Option<Boxed<'a>>, Error> {
        let mut ahead = self.cursor.clone();
        let at = ahead.position();
        let room = ahead.remaining() as u64;
        if room < 8 {
            // Writers pad, and QuickTime ends user data with a zero word.
            return if ahead.rest().iter().all(|&byte| byte == 0) {
                Ok(None)
            } else if self.top_level {
                Err(Error::new(self.parent, at, Problem::Truncated { size: 8, room }))
            } else {
                Err(Error::new(self.parent, at, Problem::Short { wanted: 8, left: room }))
            };
        }
        let parent = self.parent;
        let in_parent = |short| Error::short(parent, short);
        let size = ahead.u32().map_err(in_parent)?;
        let name = FourCc(*ahead.take(4).map_err(in_parent)?.first_chunk().unwrap_or(&[0; 4]));
        let path = self.parent.enter(name, 0);
        let (size, header_len) = match size {
            0 if self.top_level => (room, 8),
            // QuickTime ends a list of atoms with a zero word here and there.
            0 if name == FourCc([0; 4]) => return Ok(None),
            1 => (ahead.u64().map_err(|short| Error::short(path, short))?, 16),
            size => (u64::from(size), 8),
        };
        if size < header_len {
            return Err(Error::unexpected(
                path,
                at,
                format_args!("a box of {size} bytes"),
                format_args!("{header_len} or more"),
            ));
        }
        if size > room {
            let problem =
                if self.top_level { Problem::Truncated { size, room } } else { Problem::Oversized { size, room } };
            return Err(Error::new(path, at, problem));
        }
        let whole = self.cursor.take(size as usize).map_err(|short| Error::short(path, short))?;
        Ok(Some(Boxed { name, at, whole, path, header_len: header_len as usize }))
    }
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Result<Boxed<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.read();
        if result.is_err() {
            self.cursor.rest();
        }
        result.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_checked_against_what_is_there() {
        let cases: &[(&str, &[u8], bool, &str)] = &[
            ("plain", b"\0\0\0\x0cfree\x01\x02\x03\x04", true, "free 0+12"),
            ("64-bit size", b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x11\xff", true, "mdat 0+17"),
            ("to the end", b"\0\0\0\x08wide\0\0\0\0mdat\x01\x02", true, "wide 0+8, mdat 8+10"),
            (
                "size 0 inside",
                b"\0\0\0\0mdat\x01\x02",
                false,
                "f: moov/mdat at byte 0: found a box of 0 bytes, expected 8 or more",
            ),
            ("terminator inside", b"\0\0\0\x08name\0\0\0\0", false, "name 0+8"),
            ("long terminator", b"\0\0\0\x08name\0\0\0\0\0\0\0\0", false, "name 0+8"),
            ("padding", b"\0\0\0\x08free\0\0", true, "free 0+8"),
            (
                "debris",
                b"\0\0\0\x08free\0\x01",
                true,
                "free 0+8, f: at byte 8: the file is truncated: found 2 bytes to its end, expected a box of 8 bytes",
            ),
            ("too small", b"\0\0\0\x04free", true, "f: free at byte 0: found a box of 4 bytes, expected 8 or more"),
            (
                "64-bit too small",
                b"\0\0\0\x01free\0\0\0\0\0\0\0\x08",
                true,
                "f: free at byte 0: found a box of 8 bytes, expected 16 or more",
            ),
            (
                "64-bit cut",
                b"\0\0\0\x01free\0\0\0\0\0",
                true,
                "f: free at byte 8: found 5 bytes left in the box, expected 8",
            ),
            (
                "truncated",
                b"\0\0\0\x10mdat\0",
                true,
                "f: mdat at byte 0: the file is truncated: found 9 bytes to its end, expected a box of 16 bytes",
            ),
            (
                "larger than parent",
                b"\x7f\0\0\x10trak\0",
                false,
                "f: moov/trak at byte 0: found a box of 2130706448 bytes, expected at most the 9 left in its parent",
            ),
            (
                "huge",
                b"\0\0\0\x01mdat\xff\xff\xff\xff\xff\xff\xff\xff",
                true,
                "f: mdat at byte 0: the file is truncated: found 16 bytes to its end, expected a box of 18446744073709551615 bytes",
            ),
        ];
        for (name, bytes, top_level, want) in cases {
            let boxes = if *top_level {
                Boxes::top_level(bytes, 0)
            } else {
                Boxes::inside(Cursor::new(bytes, 0), Path::default().enter(FourCc(*b"moov"), 0))
            };
            let got: Vec<String> = boxes
                .map(|result| match result {
                    Ok(found) => format!("{} {}+{}", found.name, found.at, found.whole.len()),
                    Err(error) => error.in_file("f").to_string(),
                })
                .collect();
            assert_eq!(got.join(", "), *want, "{name}");
        }
    }

    #[test]
    fn paths_read_as_they_nest() {
        let path = Path::default().enter(FourCc(*b"moov"), 0).enter(FourCc(*b"trak"), 2).enter(FourCc(*b"rap "), 0);
        assert_eq!(path.to_string(), "moov/trak[2]/rap");
        assert_eq!(FourCc(*b"\xa9n\0m").to_string(), "©n\\x00m");
        let deep = (0..100).fold(Path::default(), |path, _| path.enter(FourCc(*b"deep"), 0));
        assert_eq!(deep.to_string().len(), 8 * 5 - 1);
    }
}
