//! EBML elements (RFC 8794): an identifier, a size, a body; and the fields of a master element.

use super::Error;

/// An element's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// With its length marker, as registries write it.
    pub id: u32,
    /// Of its header, in the file.
    pub at: usize,
    /// Of its body.
    pub start: usize,
    /// `None`: it lasts until an element that cannot be in it (§6.2).
    pub size: Option<u64>,
}

/// Some bytes of the file.
#[derive(Clone, Copy, Debug)]
pub struct Region<'a> {
    pub file: &'a str,
    pub bytes: &'a [u8],
    /// In the file.
    pub at: usize,
}

/// Identifier and size take so many bytes at most (§11.2.4, §11.2.5: as Matroska leaves them).
const ID_BYTES_MAX: usize = 4;
const SIZE_BYTES_MAX: usize = 8;

impl Element {
    /// Reads the header at `at`. `None` if the bytes end in it.
    pub fn read(file: &str, bytes: &[u8], at: usize) -> Result<Option<Element>, Error> {
        let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { return Ok(None) };
        let length = rest[0].leading_zeros() as usize + 1;
        if length > ID_BYTES_MAX {
            let found = format!("0x{:02x}, which begins no element", rest[0]);
            return Err(Error::unexpected(file, at, found, "an EBML identifier of 1 to 4 bytes"));
        }
        let Some(id) = rest.get(..length) else { return Ok(None) };
        let id = id.iter().fold(0, |id, &byte| id << 8 | u32::from(byte));
        let Some((size, size_length)) = number(file, &rest[length..], at + length)? else { return Ok(None) };
        let size = (size != u64::MAX >> (64 - 7 * size_length)).then_some(size);
        Ok(Some(Element { id, at, start: at + length + size_length, size }))
    }

    /// Where it ends, if that is within `end`.
    pub fn end(&self, end: usize) -> Option<usize> {
        let size = usize::try_from(self.size?).ok()?;
        self.start.checked_add(size).filter(|&own| own <= end)
    }
}

/// An unsigned number of variable length (§4), and how many bytes it takes. `None` if the bytes end in it.
pub fn number(file: &str, bytes: &[u8], at: usize) -> Result<Option<(u64, usize)>, Error> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let length = first.leading_zeros() as usize + 1;
    if length > SIZE_BYTES_MAX {
        return Err(Error::unexpected(file, at, "a number that begins 0x00", "an EBML number of 1 to 8 bytes"));
    }
    let Some(bytes) = bytes.get(..length) else { return Ok(None) };
    let value =
        bytes[1..].iter().fold(u64::from(first) & (0xFF >> length), |value, &byte| value << 8 | u64::from(byte));
    Ok(Some((value, length)))
}

impl<'a> Region<'a> {
    /// The elements that lie in these bytes; each must end in them.
    pub fn children(self) -> impl Iterator<Item = Result<(u32, Region<'a>), Error>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            if at >= self.bytes.len() {
                return None;
            }
            let child = self.child(at);
            at = match &child {
                Ok((_, _, end)) => *end,
                Err(_) => self.bytes.len(),
            };
            Some(child.map(|(id, region, _)| (id, region)))
        })
    }

    fn child(self, at: usize) -> Result<(u32, Region<'a>, usize), Error> {
        let cut = || Error::unexpected(self.file, self.at + at, "an element that is cut short", "a whole one");
        let header = Element::read(self.file, self.bytes, at).map_err(|error| error.moved(self.at))?.ok_or_else(cut)?;
        let end = header.end(self.bytes.len()).ok_or_else(|| {
            let size = header.size.map_or("unknown size".to_owned(), |size| format!("{size} bytes"));
            let found = format!("element 0x{:X} of {size}", header.id);
            Error::unexpected(self.file, self.at + at, found, "one that ends within its parent")
        })?;
        let region = Region { bytes: &self.bytes[header.start..end], at: self.at + header.start, ..self };
        Ok((header.id, region, end))
    }

    fn wrong<T>(self, expected: &str) -> Result<T, Error> {
        Err(Error::unexpected(self.file, self.at, format!("a value of {} bytes", self.bytes.len()), expected))
    }

    /// §7.2; no bytes are 0.
    pub fn unsigned(self) -> Result<u64, Error> {
        if self.bytes.len() > 8 {
            return self.wrong("an unsigned integer of 8 bytes at most");
        }
        Ok(self.bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// §7.1.
    pub fn signed(self) -> Result<i64, Error> {
        let unused = 64 - 8 * self.bytes.len().min(8) as u32;
        let value = self.unsigned()?;
        Ok(if unused == 64 { 0 } else { (value << unused) as i64 >> unused })
    }

    /// §7.4 and §7.5; what follows a zero is padding.
    pub fn text(self) -> String {
        let end = self.bytes.iter().position(|&byte| byte == 0).unwrap_or(self.bytes.len());
        String::from_utf8_lossy(&self.bytes[..end]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let read = |bytes: &[u8]| Element::read("f", bytes, 0).map(|found| found.map(|it| (it.id, it.start, it.size)));
        for (bytes, want) in [
            (&[0xEC, 0x81][..], Some((0xEC, 2, Some(1)))),
            (&[0xEC, 0x40, 0x02], Some((0xEC, 3, Some(2)))),
            (&[0x1A, 0x45, 0xDF, 0xA3, 0xFF], Some((0x1A45_DFA3, 5, None))),
            (&[0x1F, 0x43, 0xB6, 0x75, 1, 255, 255, 255, 255, 255, 255, 255], Some((0x1F43_B675, 12, None))),
            (&[0xEC], None),
            (&[0x1A, 0x45], None),
            (&[], None),
        ] {
            assert_eq!(read(bytes).unwrap(), want, "{bytes:?}");
        }
        assert!(read(&[0, 1]).is_err());
        assert!(read(&[0xEC, 0]).is_err());
    }

    #[test]
    fn values() {
        let region = |bytes| Region { file: "f", bytes, at: 0 };
        assert_eq!(region(&[][..]).unsigned().unwrap(), 0);
        assert_eq!(region(&[1, 0]).unsigned().unwrap(), 256);
        assert_eq!(region(&[0xFF, 0xFE]).signed().unwrap(), -2);
        assert_eq!(region(&[0x7F]).signed().unwrap(), 127);
        assert_eq!(region(&[]).signed().unwrap(), 0);
        assert_eq!(region(b"en\0\0").text(), "en");
        assert!(region(&[0; 9]).unsigned().is_err());
    }
}
