//! What is in the store, on disk: a journal of changes, and now and then a checkpoint of everything.
//!
//! ```text
//! {store}/journal/{number}.log     changes, in the order in which they were made
//! {store}/journal/{number}.table   every object after the journals up to that number; written under another name first
//! ```
//!
//! Numbers are 16 hexadecimal digits. Both begin with the same header and hold rows of [`super::row`]; a table ends with an end
//! row. A table may know of some changes in the journals behind it, because it is written while they are: what a journal says
//! of a path counts in any case, whatever the table had there.
//!
//! ```text
//!      0  magic       "HWOBJECT"
//!      8  format      u16, FORMAT
//!     10  reserved    u16
//!     12  checksum    u32, CRC-32 (IEEE) of everything before it
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskFile};
use super::object::Object;
use super::row::{self, Row};

/// The journal that is written to.
pub struct Ledger {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    number: u64,
    file: Arc<dyn DiskFile>,
    len: u64,
    rows: u64,
}

/// What was found at the start, to be read in this order: a table, then journals.
pub struct Found {
    pub table: Option<Vec<u8>>,
    pub journals: Vec<Vec<u8>>,
}

/// Rows that one journal holds: what is read again at the start, and how often a checkpoint is written.
pub const JOURNAL_ROWS_MAX: u64 = 200_000;

const MAGIC: [u8; 8] = *b"HWOBJECT";
const FORMAT: u16 = 1;
pub const HEADER_BYTES: usize = 16;

fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&FORMAT.to_le_bytes());
    let checksum = crc32fast::hash(&header[..12]);
    header[12..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// The rows of a file; `None` if not even its header is whole.
///
/// # Errors
/// `Unsupported` if another build wrote it in another format.
pub fn rows(bytes: &[u8]) -> io::Result<Option<&[u8]>> {
    let Some((found, rest)) = bytes.split_at_checked(HEADER_BYTES) else { return Ok(None) };
    if found[..8] != MAGIC || found[12..] != crc32fast::hash(&found[..12]).to_le_bytes() {
        return Ok(None);
    }
    match u16::from_le_bytes([found[8], found[9]]) {
        FORMAT => Ok(Some(rest)),
        other => {
            Err(io::Error::new(io::ErrorKind::Unsupported, format!("object journal format {other}, expected {FORMAT}")))
        }
    }
}

/// Bytes of sound rows that `bytes` begin with, and how many rows that is; `see` is told each.
pub fn read_rows(bytes: &[u8], mut see: impl FnMut(Row<'_>)) -> (usize, u64) {
    let (mut at, mut count) = (0, 0);
    while let Some((row, size)) = row::read(&bytes[at..]) {
        at += size;
        count += 1;
        see(row);
    }
    (at, count)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Log,
    Table,
}

fn name(number: u64, kind: Kind) -> String {
    let ending = match kind {
        Kind::Log => "log",
        Kind::Table => "table",
    };
    format!("{number:016x}.{ending}")
}

fn parse_name(text: &str) -> Option<(u64, Kind)> {
    let (number, ending) = text.split_once('.')?;
    let kind = match ending {
        "log" => Kind::Log,
        "table" => Kind::Table,
        _ => return None,
    };
    let number = u64::from_str_radix(number, 16).ok().filter(|&value| number == format!("{value:016x}"))?;
    Some((number, kind))
}

/// Rows could not be appended.
#[derive(Debug)]
pub enum AppendError {
    /// None of them is there.
    Nothing(io::Error),
    /// Some may be there after the next start.
    Doubtful(io::Error),
}

/// A journal without rows, in place of one whose header never got to the disk.
fn begin(disk: &dyn Disk, directory: &Path, number: u64) -> io::Result<Arc<dyn DiskFile>> {
    let path = directory.join(name(number, Kind::Log));
    let file = match disk.create(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => disk.resume(&path, 0)?,
        created => created?,
    };
    file.write_at(&header(), 0)?;
    file.sync()?;
    disk.sync_dir(directory)?;
    Ok(file)
}

impl Ledger {
    /// Reads what is in the directory, which is made if it is missing, and opens the last journal behind its last sound row.
    pub fn open(disk: Arc<dyn Disk>, directory: &Path) -> io::Result<(Ledger, Found)> {
        disk.make_dir(directory)?;
        let mut files: Vec<(u64, Kind)> = Vec::new();
        for text in disk.list(directory)? {
            match parse_name(&text) {
                Some(file) => files.push(file),
                None if text.ends_with(".new") => disk.remove(&directory.join(text))?,
                None => {}
            }
        }
        files.sort_unstable();
        let mut found = Found { table: None, journals: Vec::new() };
        let mut from = 0;
        for &(number, kind) in files.iter().rev().filter(|(_, kind)| *kind == Kind::Table) {
            let bytes = disk.read(&directory.join(name(number, kind)))?;
            if rows(&bytes)?.and_then(row::end_of).is_some() {
                found.table = Some(bytes);
                from = number + 1;
                break;
            }
        }
        let logs: Vec<u64> =
            files.iter().filter(|(number, kind)| *kind == Kind::Log && *number >= from).map(|f| f.0).collect();
        let mut last = None;
        for &number in &logs {
            let bytes = disk.read(&directory.join(name(number, Kind::Log)))?;
            last = Some(match rows(&bytes)? {
                Some(rows) => {
                    let (len, count) = read_rows(rows, |_| {});
                    (number, (HEADER_BYTES + len) as u64, count)
                }
                None => (number, 0, 0),
            });
            found.journals.push(bytes);
        }
        let (number, len, rows) = last.unwrap_or((from, 0, 0));
        let (file, len) = match len {
            0 => (begin(&*disk, directory, number)?, HEADER_BYTES as u64),
            len => (disk.resume(&directory.join(name(number, Kind::Log)), len)?, len),
        };
        let ledger = Ledger { disk, directory: directory.to_owned(), number, file, len, rows };
        for &(number, kind) in &files {
            let is_read = match kind {
                Kind::Log => number >= from,
                Kind::Table => found.table.is_some() && number + 1 == from,
            };
            if !is_read {
                ledger.disk.remove(&ledger.directory.join(name(number, kind)))?;
            }
        }
        Ok((ledger, found))
    }

    /// Appends rows, written but not synced.
    ///
    /// # Errors
    /// Of what was written in part nothing is left, or [`AppendError::Doubtful`].
    pub fn append(&mut self, bytes: &[u8], rows: u64) -> Result<(), AppendError> {
        if let Err(error) = self.file.write_at(bytes, self.len) {
            // Some of the rows may be whole, and would be read at the next start.
            return Err(match self.file.cut(self.len).and_then(|()| self.file.sync()) {
                Ok(()) => AppendError::Nothing(error),
                Err(_) => AppendError::Doubtful(error),
            });
        }
        self.len += bytes.len() as u64;
        self.rows += rows;
        Ok(())
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// Whether it is time for a checkpoint.
    pub fn is_long(&self) -> bool {
        self.rows >= JOURNAL_ROWS_MAX
    }

    /// Goes on in a new journal; the number of the one before, which a checkpoint from now on covers.
    pub fn rotate(&mut self) -> io::Result<u64> {
        self.file.sync()?;
        let before = self.number;
        self.file = begin(&*self.disk, &self.directory, before + 1)?;
        (self.number, self.len, self.rows) = (before + 1, HEADER_BYTES as u64, 0);
        Ok(before)
    }

    /// What writes a checkpoint, without the ledger.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints { disk: self.disk.clone(), directory: self.directory.clone() }
    }
}

/// Writes checkpoints beside a ledger that goes on.
pub struct Checkpoints {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
}

/// Written at a time.
const CHUNK_BYTES: usize = 1 << 20;

impl Checkpoints {
    /// Writes the table that stands for the journals up to `number`, and deletes them and older tables.
    pub fn write(&self, number: u64, objects: impl Iterator<Item = Arc<Object>>) -> io::Result<()> {
        let new = self.directory.join(format!("{number:016x}.new"));
        self.write_rows(&new, objects).inspect_err(|_| {
            // Where there was no room for it, it takes none.
            let _ = self.disk.remove(&new);
        })?;
        self.disk.rename(&new, &self.directory.join(name(number, Kind::Table)))?;
        self.disk.sync_dir(&self.directory)?;
        for text in self.disk.list(&self.directory)? {
            let is_covered = parse_name(&text).is_some_and(|(other, kind)| match kind {
                Kind::Log => other <= number,
                Kind::Table => other < number,
            });
            if is_covered {
                self.disk.remove(&self.directory.join(text))?;
            }
        }
        Ok(())
    }

    fn write_rows(&self, path: &Path, objects: impl Iterator<Item = Arc<Object>>) -> io::Result<()> {
        let file = match self.disk.create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.disk.resume(path, 0)?,
            created => created?,
        };
        let (mut chunk, mut at, mut rows) = (header().to_vec(), 0, 0);
        for object in objects {
            row::write_put(&object, &mut chunk);
            rows += 1;
            if chunk.len() >= CHUNK_BYTES {
                file.write_at(&chunk, at)?;
                at += chunk.len() as u64;
                chunk.clear();
            }
        }
        row::write_end(rows, &mut chunk);
        file.write_at(&chunk, at)?;
        file.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::objects::disk::FileSystem;
    use crate::store::objects::object::{Digest, Meta, NEVER};
    use crate::store::objects::path::ObjectPath;

    fn object(id: u64) -> Arc<Object> {
        let path = ObjectPath::new("c", &format!("{id}.ts")).unwrap();
        let meta = Arc::new(Meta::default());
        Arc::new(Object {
            id,
            path,
            len: 1,
            modified: 2,
            digest: Digest([3; 32]),
            meta,
            lifetime: 0,
            expires: NEVER.into(),
        })
    }

    fn put(ledger: &mut Ledger, id: u64) {
        let mut bytes = Vec::new();
        row::write_put(&object(id), &mut bytes);
        ledger.append(&bytes, 1).unwrap();
    }

    /// Ids in the table, then in the journals.
    fn ids(found: &Found) -> (Vec<u64>, Vec<u64>) {
        let read = |bytes: &Vec<u8>| {
            let mut ids = Vec::new();
            read_rows(rows(bytes).unwrap().unwrap_or_default(), |row| {
                if let Row::Put(put) = row {
                    ids.push(put.id);
                }
            });
            ids
        };
        (found.table.iter().flat_map(read).collect(), found.journals.iter().flat_map(read).collect())
    }

    #[test]
    fn a_checkpoint_stands_for_the_journals_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Ledger::open(Arc::new(FileSystem), dir.path()).unwrap();
        let (mut ledger, found) = open();
        assert_eq!(ids(&found), (vec![], vec![]));
        (1..4).for_each(|id| put(&mut ledger, id));
        let covered = ledger.rotate().unwrap();
        put(&mut ledger, 4);
        assert_eq!(ids(&open().1), (vec![], vec![1, 2, 3, 4]), "without its checkpoint");
        ledger.checkpoints().write(covered, (1..4).map(object)).unwrap();
        let (mut ledger, found) = open();
        assert_eq!(ids(&found), (vec![1, 2, 3], vec![4]));
        put(&mut ledger, 5);
        let covered = ledger.rotate().unwrap();
        ledger.checkpoints().write(covered, (1..6).map(object)).unwrap();
        assert_eq!(ids(&open().1), (vec![1, 2, 3, 4, 5], vec![]));
        let mut names = FileSystem.list(dir.path()).unwrap();
        names.sort();
        assert_eq!(names, ["0000000000000001.table", "0000000000000002.log"]);
    }

    /// Cut off anywhere: what is left is what was whole, and more can be appended.
    #[test]
    fn a_torn_journal_ends_at_its_last_sound_row() {
        let dir = tempfile::tempdir().unwrap();
        let (mut ledger, _) = Ledger::open(Arc::new(FileSystem), dir.path()).unwrap();
        (1..4).for_each(|id| put(&mut ledger, id));
        let path = dir.path().join(name(0, Kind::Log));
        let whole = std::fs::read(&path).unwrap();
        let row = (whole.len() - HEADER_BYTES) / 3;
        for len in 0..=whole.len() {
            let mut torn = whole[..len].to_vec();
            torn.resize(whole.len() + 7, 0);
            std::fs::write(&path, &torn).unwrap();
            let (mut ledger, found) = Ledger::open(Arc::new(FileSystem), dir.path()).unwrap();
            let want: Vec<u64> = (1..=len.saturating_sub(HEADER_BYTES) as u64 / row as u64).collect();
            assert_eq!(ids(&found).1, want, "{len}");
            put(&mut ledger, 9);
            let found = Ledger::open(Arc::new(FileSystem), dir.path()).unwrap().1;
            assert_eq!(ids(&found).1, [want, vec![9]].concat(), "{len}");
        }
    }

    #[test]
    fn a_table_without_its_end_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let (mut ledger, _) = Ledger::open(Arc::new(FileSystem), dir.path()).unwrap();
        put(&mut ledger, 1);
        let covered = ledger.rotate().unwrap();
        std::fs::copy(dir.path().join(name(0, Kind::Log)), dir.path().join("log")).unwrap();
        ledger.checkpoints().write(covered, [object(1)].into_iter()).unwrap();
        let path = dir.path().join(name(0, Kind::Table));
        let whole = std::fs::read(&path).unwrap();
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            std::fs::copy(dir.path().join("log"), dir.path().join(name(0, Kind::Log))).unwrap();
            assert_eq!(ids(&Ledger::open(Arc::new(FileSystem), dir.path()).unwrap().1), (vec![], vec![1]), "{len}");
        }
    }
}
