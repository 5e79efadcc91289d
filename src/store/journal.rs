//! The journal of a track file of a channel: a row for each segment that is complete, appended when it is.
//!
//! ```text
//!      0  magic       "HWSEGMNT"
//!      8  format      u16, FORMAT
//!     10  row size    u16, bytes of a row
//!     12  checksum    u32, CRC-32 (IEEE) of everything before it
//!     16  rows        media::broadcast::SegmentRow, each with a checksum of its own, 44 bytes a row
//! ```
//!
//! Little endian. Rows lie side by side, so that they are read in place while more are appended. Numbers ascend, and a
//! segment begins where the one before ends or behind it: a row that does not is where the journal ends.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::GrowingFile;
use crate::base::Stored;
use crate::base::limits::JOURNAL_ROWS_MAX;
use crate::media::broadcast::{self, SegmentRow};
use crate::sys::crash;

/// A journal, open. Cloned by those who read it.
#[derive(Clone)]
pub struct Journal {
    file: Arc<GrowingFile>,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    format: U16,
    row_size: U16,
    checksum: U32,
}

const MAGIC: [u8; 8] = *b"HWSEGMNT";
const FORMAT: u16 = 1;
const HEADER_SIZE: u64 = size_of::<Header>() as u64;
const ROW_SIZE: u64 = size_of::<SegmentRow>() as u64;
const _: () = assert!(HEADER_SIZE == 16 && ROW_SIZE == 44);
/// Addresses reserved for each.
const RESERVE_BYTES: u64 = 16 << 20;
const _: () = assert!(HEADER_SIZE + JOURNAL_ROWS_MAX as u64 * ROW_SIZE <= RESERVE_BYTES);

impl Header {
    fn current() -> Header {
        let mut header =
            Header { magic: MAGIC, format: FORMAT.into(), row_size: (ROW_SIZE as u16).into(), checksum: 0.into() };
        header.checksum = crc32fast::hash(&header.as_bytes()[..12]).into();
        header
    }
}

impl Journal {
    /// A journal without rows. The file must not exist.
    pub fn create(path: &Path) -> io::Result<Journal> {
        let file = GrowingFile::create_reserved(path, RESERVE_BYTES)?;
        crash::point("journal created");
        mapped(file)?.begun()
    }

    /// What is there after a restart, to be appended to: up to the last row that is sound. A journal that is missing, or
    /// whose header is torn, is begun anew.
    ///
    /// # Errors
    /// Those of the disk, and `Unsupported` if another build wrote it in another format.
    pub fn recover(path: &Path) -> io::Result<Journal> {
        let bytes = match bounded_read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Journal::create(path),
            Err(error) => return Err(error),
        };
        match sound_len(&bytes)? {
            None => mapped(GrowingFile::resume_reserved(path, 0, RESERVE_BYTES)?)?.begun(),
            Some(len) => mapped(GrowingFile::resume_reserved(path, len, RESERVE_BYTES)?),
        }
    }

    /// One that is only read: a channel's, by somebody else than its writer. Rows that are not sound are not there.
    pub fn open(path: &Path) -> io::Result<Vec<SegmentRow>> {
        let bytes = bounded_read(path)?;
        let len = sound_len(&bytes)?.unwrap_or(HEADER_SIZE.min(bytes.len() as u64)) as usize;
        let rows = bytes.get(HEADER_SIZE as usize..len).unwrap_or_default();
        Ok(<[SegmentRow]>::ref_from_bytes(rows).map(<[_]>::to_vec).unwrap_or_default())
    }

    /// See [`broadcast::Journal::rows`].
    pub fn rows(&self) -> &[SegmentRow] {
        let bytes = self.file.mapped().unwrap_or_default();
        let rows = bytes.get(HEADER_SIZE as usize..).unwrap_or_default();
        // The watermark stands behind a whole row.
        <[SegmentRow]>::ref_from_prefix_with_elems(rows, rows.len() / ROW_SIZE as usize)
            .map(|(rows, _)| rows)
            .unwrap_or_default()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows().len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows().is_empty()
    }

    /// Bytes of a row as they are appended, checksum included.
    pub fn encode(row: SegmentRow) -> Vec<u8> {
        row.sealed().as_bytes().to_vec()
    }

    /// The file that rows are appended to; its watermark must only ever stand behind a whole row.
    pub fn file(&self) -> &Arc<GrowingFile> {
        &self.file
    }

    /// Appends a row and waits until it is written, though not until it is on the disk.
    pub fn append(&self, row: SegmentRow) -> io::Result<()> {
        let at = self.file.len();
        let bytes = Journal::encode(row);
        self.file.writer()?.write_all_at(&bytes, at)?;
        self.file.advance(at + bytes.len() as u64);
        Ok(())
    }

    /// Cuts off all but the first `count` rows. Only before others read from it.
    pub(super) fn cut(self, path: &Path, count: usize) -> io::Result<Journal> {
        mapped(GrowingFile::resume_reserved(path, HEADER_SIZE + count as u64 * ROW_SIZE, RESERVE_BYTES)?)
    }

    fn begun(self) -> io::Result<Journal> {
        self.file.writer()?.write_all_at(Header::current().as_bytes(), 0)?;
        self.file.advance(HEADER_SIZE);
        crash::point("journal begun");
        Ok(self)
    }
}

impl broadcast::Journal for Journal {
    fn rows(&self) -> &[SegmentRow] {
        Journal::rows(self)
    }
}

/// Rows are read through the mapping, and nowhere else.
fn mapped(file: GrowingFile) -> io::Result<Journal> {
    match file.mapped() {
        Some(_) => Ok(Journal { file: Arc::new(file) }),
        None => Err(io::Error::new(io::ErrorKind::OutOfMemory, "the journal cannot be mapped")),
    }
}

fn bounded_read(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(HEADER_SIZE + JOURNAL_ROWS_MAX as u64 * ROW_SIZE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How many bytes of a journal are sound; `None` if not even its header is.
fn sound_len(bytes: &[u8]) -> io::Result<Option<u64>> {
    let Ok((header, rest)) = Header::ref_from_prefix(bytes) else { return Ok(None) };
    if header.magic != MAGIC || header.checksum.get() != crc32fast::hash(&bytes[..12]) {
        return Ok(None);
    }
    if (header.format.get(), u64::from(header.row_size.get())) != (FORMAT, ROW_SIZE) {
        let (format, size) = (header.format, header.row_size);
        let text = format!("journal format {format} with rows of {size} bytes, expected {FORMAT} and {ROW_SIZE}");
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    let rows = <[SegmentRow]>::ref_from_prefix_with_elems(rest, rest.len() / ROW_SIZE as usize);
    let rows = rows.map(|(rows, _)| rows).unwrap_or_default();
    let (mut count, mut next, mut end) = (0, 0, 0);
    for row in rows {
        if !row.is_intact() || row.number.get() < next || row.offset.get() < end || row.size.get() == 0 {
            break;
        }
        (next, end) = (row.number.get().saturating_add(1), row.end_offset());
        count += 1;
    }
    Ok(Some(HEADER_SIZE + count * ROW_SIZE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(number: u64) -> SegmentRow {
        SegmentRow {
            number: (900_000 + number).into(),
            offset: (700 + number * 1_000).into(),
            time: (number * 180_000).into(),
            size: 1_000.into(),
            duration: 180_000.into(),
            start: SegmentRow::start_of(true, 300).into(),
            ..SegmentRow::default()
        }
    }

    #[test]
    fn rows_are_there_once_appended_and_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("900000.idx");
        let journal = Journal::create(&path).unwrap();
        let reader = journal.clone();
        assert!(reader.is_empty());
        for number in 0..500 {
            journal.append(row(number)).unwrap();
            assert_eq!(reader.rows().last(), Some(&row(number).sealed()));
            assert_eq!(reader.len(), number as usize + 1);
        }
        drop((journal, reader));
        let journal = Journal::recover(&path).unwrap();
        assert_eq!(journal.len(), 500);
        journal.append(row(500)).unwrap();
        assert_eq!(Journal::open(&path).unwrap(), journal.rows());
    }

    /// Cut off anywhere, and with zeros where the rest was: what is left is what was whole.
    #[test]
    fn a_torn_journal_ends_at_its_last_sound_row() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.idx");
        let journal = Journal::create(&path).unwrap();
        (0..4).for_each(|number| journal.append(row(number)).unwrap());
        let whole = std::fs::read(&path).unwrap();
        for len in 0..=whole.len() {
            for zeros in [0, whole.len() - len] {
                let mut torn = whole[..len].to_vec();
                torn.resize(len + zeros, 0);
                std::fs::write(&path, &torn).unwrap();
                let journal = Journal::recover(&path).unwrap();
                let want = len.saturating_sub(16) / 44;
                assert_eq!(journal.len(), want, "{len} + {zeros}");
                journal.append(row(want as u64)).unwrap();
                assert_eq!(Journal::recover(&path).unwrap().len(), want + 1, "{len} + {zeros}");
            }
        }
        std::fs::remove_file(&path).unwrap();
        assert!(Journal::recover(&path).unwrap().is_empty());
    }

    #[test]
    fn rows_out_of_order_and_other_formats_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.idx");
        let journal = Journal::create(&path).unwrap();
        for number in [0, 1, 1, 2] {
            journal.append(row(number)).unwrap();
        }
        assert_eq!(Journal::recover(&path).unwrap().len(), 2);
        let mut newer = Header { format: 2.into(), ..Header::current() };
        newer.checksum = crc32fast::hash(&newer.as_bytes()[..12]).into();
        std::fs::write(&path, newer.as_bytes()).unwrap();
        let error = Journal::recover(&path).err().unwrap();
        assert_eq!(error.to_string(), "journal format 2 with rows of 44 bytes, expected 1 and 44");
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), begun: bool) {
            let mut all = if begun { Header::current().as_bytes().to_vec() } else { Vec::new() };
            all.extend(bytes);
            if let Ok(Some(len)) = sound_len(&all) {
                prop_assert!(len <= all.len() as u64 && (len - HEADER_SIZE).is_multiple_of(ROW_SIZE));
            }
        }

        #[test]
        fn a_changed_byte_ends_the_journal_there(at in 0_usize..16 + 5 * 44, bit in 0_u8..8) {
            let mut bytes = Header::current().as_bytes().to_vec();
            (0..5).for_each(|number| bytes.extend(Journal::encode(row(number))));
            bytes[at] ^= 1 << bit;
            let want = at.checked_sub(16).map(|at| 16 + (at / 44 * 44) as u64);
            prop_assert_eq!(sound_len(&bytes).unwrap(), want);
        }
    }
}
