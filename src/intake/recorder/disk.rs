//! A channel's files, as its recorder keeps them: open for appending, and synced when told.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use thiserror::Error;
use tokio_uring::fs::File;
use tracing::{error, info, warn};

use crate::live::{Failure, FileName, FoundFile, Op, Opened, Outcome, Recovered};
use crate::store::channel_dir::{self, Held, TrackFiles};
use crate::store::scan::{self, Depth};
use crate::store::{ChannelDir, GrowingFile, Journal};
use crate::sys::crash;

/// Cheap to clone; of one thread.
#[derive(Clone)]
pub struct Disk(Rc<Inner>);

struct Inner {
    channel: String,
    directory: ChannelDir,
    _held: Held,
    open: RefCell<HashMap<FileName, Rc<OpenFile>>>,
    /// Tracks in whose directories something was created since the last sync.
    created: RefCell<BTreeSet<Arc<str>>>,
    trouble: Cell<Trouble>,
}

/// What the log was told of failures: once, not for every part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trouble {
    #[default]
    None,
    /// When an operation failed last.
    Full(Instant),
    Broken(Instant),
}

/// What is to be said of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    None,
    Full,
    Broken,
    Over,
}

/// A file is given up, there is room for as long as it lasted, and the disk is full again: that is one trouble, not many.
const FULL_IS_OVER: Duration = Duration::from_secs(75 * 60);
const BROKEN_IS_OVER: Duration = Duration::from_secs(10);

/// A track file that is written to.
struct OpenFile {
    media: Arc<GrowingFile>,
    journal: Journal,
    /// The same files, as the ring writes to them.
    media_writer: File,
    journal_writer: File,
    media_dirty: Cell<bool>,
    journal_dirty: Cell<bool>,
}

#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Directory(#[from] channel_dir::Error),
    #[error(transparent)]
    Scan(#[from] scan::Error),
}

/// Files of a track that may have been written to within the last sync: the newest, and the one before if that was closed
/// only just.
const UNSETTLED_FILES: usize = 2;

/// Buffers that one call writes: IOV_MAX of Linux is 1024.
const BUFFERS_MAX: usize = 512;

impl Disk {
    /// Takes the channel's directory for this process, and looks what is in it.
    pub fn open(live: &Path, channel: &str) -> Result<(Disk, Recovered), Error> {
        let directory = ChannelDir::new(live, channel)?;
        let held = directory.hold()?;
        let state = directory.state()?.map(Bytes::from);
        let found = directory.all_files()?;
        let mut recovered = Recovered { state, files: Vec::with_capacity(found.len()) };
        let mut open: HashMap<FileName, Rc<OpenFile>> = HashMap::new();
        for (at, files) in found.iter().enumerate().rev() {
            let newer = found[at + 1..].iter().take_while(|other| other.track == files.track).count();
            let depth = if newer < UNSETTLED_FILES { Depth::Newest } else { Depth::Settled };
            let Some(scanned) = scan::recover(&files.media, &files.journal, depth)? else {
                warn!(channel, "{}: begins with no whole header and chunk; deleted", files.media.display());
                directory.delete(files)?;
                continue;
            };
            let name = FileName { track: files.track.as_str().into(), first: files.first, kind: files.kind };
            // The newest that is worth anything (a crash may have cut off the header of one behind it), and those whose journals
            // are to be completed.
            if !open.keys().any(|other| other.track == name.track) || !scanned.tail.is_empty() {
                let file = OpenFile::new(scanned.file.clone(), scanned.journal.clone());
                open.insert(
                    name.clone(),
                    Rc::new(file.map_err(|source| scan::Error::Io { path: files.media.clone(), source })?),
                );
            }
            recovered.files.push(found_file(name, scanned));
        }
        recovered.files.reverse();
        let disk = Inner {
            channel: channel.to_owned(),
            directory,
            _held: held,
            open: RefCell::new(open),
            created: RefCell::default(),
            trouble: Cell::default(),
        };
        Ok((Disk(Rc::new(disk)), recovered))
    }

    /// Does it, and says how it went.
    pub async fn perform(&self, op: Op) -> Result<Outcome, Failure> {
        let done = match op {
            Op::Create { file, init } => self.create(file, init).await,
            Op::Append { file, offset, bytes } => self.append(&file, offset, bytes).await.map(|()| Outcome::Done),
            Op::Row { file, row } => self.append_row(&file, row).await.map(|()| Outcome::Done),
            Op::Close { file } => self.close(&file).await.map(|()| Outcome::Done),
            Op::Delete { file } => self.delete(&file).await.map(|()| Outcome::Done),
            Op::SaveState { json } => self.save_state(json).await.map(|()| Outcome::Done),
            Op::Sync => self.sync().await.map(|()| Outcome::Done),
        };
        let text = done.as_ref().err().map(io::Error::to_string).unwrap_or_default();
        let done = done.map_err(failure);
        let (trouble, news) = self.0.trouble.get().after(done.as_ref().err(), Instant::now());
        self.0.trouble.set(trouble);
        let channel = self.0.channel.as_str();
        match news {
            News::Full => error!(
                channel,
                "recording: the disk is full, and the oldest media of the window is given up for what is new: {text}"
            ),
            News::Broken => error!(channel, "recording: {text}"),
            News::Over => info!(channel, "recording: the disk takes what is written again"),
            News::None => {}
        }
        done
    }

    /// Syncs everything, and closes it.
    pub async fn finish(&self) {
        if let Err(error) = self.sync().await {
            error!(channel = self.0.channel.as_str(), "recording: {error}");
        }
        self.0.open.borrow_mut().clear();
    }

    async fn create(&self, name: FileName, init: Bytes) -> io::Result<Outcome> {
        let files = self.files(&name)?;
        let directory = self.0.directory.clone();
        self.0.open.borrow_mut().remove(&name);
        let (media, journal) = blocking(move || {
            directory.create_track(&files.track).map_err(source)?;
            // What has the name is an unfinished file without rows.
            directory.delete(&files).map_err(source)?;
            let media = GrowingFile::create(&files.media)?;
            crash::point("track file created");
            media.writer()?.write_all_at(&init, 0)?;
            media.advance(init.len() as u64);
            crash::point("header written");
            Ok((Arc::new(media), Journal::create(&files.journal)?))
        })
        .await?;
        let file = OpenFile::new(media, journal)?;
        file.media_dirty.set(true);
        file.journal_dirty.set(true);
        self.0.created.borrow_mut().insert(name.track.clone());
        let opened = Opened { media: file.media.clone(), journal: Arc::new(file.journal.clone()) };
        self.0.open.borrow_mut().insert(name, Rc::new(file));
        Ok(Outcome::Opened(opened))
    }

    async fn append(&self, name: &FileName, offset: u64, bytes: Vec<Bytes>) -> io::Result<()> {
        let file = self.opened(name)?;
        file.media_dirty.set(true);
        let mut at = offset;
        let mut bytes = bytes.into_iter().filter(|piece| !piece.is_empty()).peekable();
        while bytes.peek().is_some() {
            let pieces: Vec<Bytes> = bytes.by_ref().take(BUFFERS_MAX).collect();
            let len: usize = pieces.iter().map(Bytes::len).sum();
            if let Err(error) = write_all(&file.media_writer, pieces, at).await {
                crash::point("part torn");
                // What there is of it must not be taken for the end of a chunk that is written over its beginning.
                file.media.writer()?.set_len(offset)?;
                crash::point("part cut");
                return Err(error);
            }
            at += len as u64;
        }
        crash::point("part written");
        file.media.advance(at);
        Ok(())
    }

    async fn append_row(&self, name: &FileName, row: crate::media::broadcast::SegmentRow) -> io::Result<()> {
        use crate::base::Stored;
        let file = self.opened(name)?;
        file.journal_dirty.set(true);
        let journal = file.journal.file();
        let (at, bytes) = (journal.len(), Bytes::from(Journal::encode(row)));
        let len = bytes.len() as u64;
        write_all(&file.journal_writer, vec![bytes], at).await?;
        crash::point("row written");
        journal.advance(at + len);
        Ok(())
    }

    async fn close(&self, name: &FileName) -> io::Result<()> {
        let Ok(file) = self.opened(name) else { return Ok(()) };
        file.sync_media().await?;
        file.sync_journal().await?;
        self.0.open.borrow_mut().remove(name);
        Ok(())
    }

    async fn delete(&self, name: &FileName) -> io::Result<()> {
        self.0.open.borrow_mut().remove(name);
        let (directory, files) = (self.0.directory.clone(), self.files(name)?);
        blocking(move || directory.delete(&files).map_err(source)).await
    }

    async fn save_state(&self, json: Bytes) -> io::Result<()> {
        let directory = self.0.directory.clone();
        blocking(move || directory.save_state(&json).map_err(source)).await
    }

    /// Media first: a row that survives tells of bytes that survived.
    async fn sync(&self) -> io::Result<()> {
        let files: Vec<Rc<OpenFile>> = self.0.open.borrow().values().cloned().collect();
        for file in &files {
            file.sync_media().await?;
        }
        for file in &files {
            file.sync_journal().await?;
        }
        let created = std::mem::take(&mut *self.0.created.borrow_mut());
        for track in created {
            let (directory, name) = (self.0.directory.clone(), track.clone());
            if let Err(error) = blocking(move || directory.sync_track(&name).map_err(source)).await {
                self.0.created.borrow_mut().insert(track);
                return Err(error);
            }
        }
        Ok(())
    }

    fn opened(&self, name: &FileName) -> io::Result<Rc<OpenFile>> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{} is not open for writing", name.media()));
        self.0.open.borrow().get(name).cloned().ok_or_else(missing)
    }

    fn files(&self, name: &FileName) -> io::Result<TrackFiles> {
        self.0.directory.files(&name.track, name.first, name.kind).map_err(io::Error::other)
    }
}

impl Trouble {
    fn after(self, failure: Option<&Failure>, now: Instant) -> (Trouble, News) {
        match (self, failure) {
            (Trouble::Full(_), Some(Failure::Full)) => (Trouble::Full(now), News::None),
            (_, Some(Failure::Full)) => (Trouble::Full(now), News::Full),
            (Trouble::None, Some(Failure::Broken(_))) => (Trouble::Broken(now), News::Broken),
            (Trouble::Broken(_), Some(Failure::Broken(_))) => (Trouble::Broken(now), News::None),
            // A full disk has failures of other kinds as well.
            (Trouble::Full(_), Some(Failure::Broken(_))) => (Trouble::Full(now), News::None),
            (Trouble::Full(last), None) if now.duration_since(last) > FULL_IS_OVER => (Trouble::None, News::Over),
            (Trouble::Broken(last), None) if now.duration_since(last) > BROKEN_IS_OVER => (Trouble::None, News::Over),
            (trouble, None) => (trouble, News::None),
        }
    }
}

impl OpenFile {
    fn new(media: Arc<GrowingFile>, journal: Journal) -> io::Result<OpenFile> {
        let (media_writer, journal_writer) = (media.writer()?, journal.file().writer()?);
        Ok(OpenFile {
            media,
            journal,
            media_writer: File::from_std(media_writer),
            journal_writer: File::from_std(journal_writer),
            media_dirty: Cell::new(false),
            journal_dirty: Cell::new(false),
        })
    }

    async fn sync_media(&self) -> io::Result<()> {
        sync(&self.media_writer, &self.media_dirty, "media synced").await
    }

    async fn sync_journal(&self) -> io::Result<()> {
        sync(&self.journal_writer, &self.journal_dirty, "journal synced").await
    }
}

/// What is written while it runs makes the file dirty again.
async fn sync(file: &File, dirty: &Cell<bool>, done: &'static str) -> io::Result<()> {
    if !dirty.replace(false) {
        return Ok(());
    }
    let synced = file.sync_data().await;
    match synced {
        Ok(()) => crash::point(done),
        Err(_) => dirty.set(true),
    }
    synced
}

/// All of it, in as few calls as the kernel likes. (tokio-uring's `writev_at_all` panics where a call writes less than it was
/// given, as the last one before a disk is full does.)
pub(in crate::intake) async fn write_all(file: &File, mut pieces: Vec<Bytes>, mut at: u64) -> io::Result<()> {
    while !pieces.is_empty() {
        let (written, given) = file.writev_at(pieces, at).await;
        pieces = given;
        let mut written = written?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        at += written as u64;
        let mut whole = 0;
        while let Some(len) = pieces.get(whole).map(Bytes::len).filter(|len| *len <= written) {
            (written, whole) = (written - len, whole + 1);
        }
        pieces.drain(..whole);
        if let Some(first) = pieces.first_mut() {
            first.advance(written);
        }
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

/// The kind of the error is what matters; its text names the path.
fn source(error: channel_dir::Error) -> io::Error {
    let kind = match &error {
        channel_dir::Error::Io { source, .. } => source.kind(),
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

fn failure(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::Full,
        _ => Failure::Broken(error.to_string()),
    }
}

fn found_file(name: FileName, scanned: scan::Recovered) -> FoundFile {
    use crate::base::Stored;
    FoundFile {
        name,
        init: scanned.init,
        rows: scanned.journal.len(),
        chunks: scanned.newest.into_iter().chain(scanned.tail).collect(),
        len: scanned.file.len(),
        opened: Opened { media: scanned.file, journal: Arc::new(scanned.journal) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::broadcast::SegmentRow;
    use crate::media::isobmff::write::fragment_header;
    use crate::media::{Kind, Sample};
    use std::fs;

    const INIT: &[u8] = b"\0\0\0\x0cftypiso6\0\0\0\x0cmoov\0\0\0\0";

    fn name(track: &str, first: u64) -> FileName {
        FileName { track: track.into(), first, kind: Kind::Video }
    }

    fn chunk(number: u64) -> Vec<Bytes> {
        let sample = Sample { size: 900.into(), duration: 3_000.into(), ..Default::default() };
        let mut head = Vec::new();
        fragment_header(number as u32, number * 3_000 * 600, &[sample; 600], &mut head).unwrap();
        // More pieces than one call writes.
        std::iter::once(Bytes::from(head)).chain((0..600).map(|at| Bytes::from(vec![at as u8 | 1; 900]))).collect()
    }

    fn len(pieces: &[Bytes]) -> u64 {
        pieces.iter().map(|piece| piece.len() as u64).sum()
    }

    async fn done(disk: &Disk, op: Op) {
        assert!(matches!(disk.perform(op).await, Ok(Outcome::Done)));
    }

    async fn create(disk: &Disk, file: FileName) -> Opened {
        match disk.perform(Op::Create { file, init: Bytes::from_static(INIT) }).await {
            Ok(Outcome::Opened(opened)) => opened,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_done_is_found_again() {
        let live = tempfile::tempdir().unwrap();
        tokio_uring::start(async {
            let (disk, found) = Disk::open(live.path(), "news").unwrap();
            assert!(found.files.is_empty() && found.state.is_none());
            assert!(Disk::open(live.path(), "news").is_err(), "it is taken");
            let opened = create(&disk, name("v1", 7)).await;
            let opened = match opened.journal.rows().len() {
                0 => create(&disk, name("v1", 7)).await,
                _ => panic!("rows in a new file"),
            };
            assert_eq!(opened.media.len(), 24);
            let mut at = 24;
            for number in 0..4 {
                let bytes = chunk(number);
                let (offset, size) = (at, len(&bytes));
                done(&disk, Op::Append { file: name("v1", 7), offset, bytes }).await;
                at += size;
                assert_eq!(opened.media.len(), at);
                if number < 2 {
                    let row = SegmentRow {
                        number: (7 + number).into(),
                        offset: offset.into(),
                        size: (size as u32).into(),
                        ..SegmentRow::default()
                    };
                    done(&disk, Op::Row { file: name("v1", 7), row }).await;
                    assert_eq!(opened.journal.rows().len() as u64, number + 1);
                }
            }
            done(&disk, Op::Sync).await;
            done(&disk, Op::SaveState { json: Bytes::from_static(b"{}") }).await;
            create(&disk, name("a1", 7)).await;
            create(&disk, name("a2", 7)).await;
            done(&disk, Op::Delete { file: name("a2", 7) }).await;
            done(&disk, Op::Close { file: name("a1", 7) }).await;
            let append = Op::Append { file: name("a1", 7), offset: 24, bytes: chunk(0) };
            assert!(matches!(disk.perform(append).await, Err(Failure::Broken(_))));
            let stored = opened.media.mapped().unwrap();
            assert_eq!(stored[24..], (0..4).flat_map(chunk).flatten().collect::<Vec<u8>>());
            disk.finish().await;
        });
        // A write that a crash cut off.
        let path = live.path().join("news/v1/7.cmfv");
        let whole = fs::metadata(&path).unwrap().len();
        fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"\0\0\x10\0moof", whole).unwrap();
        fs::create_dir(live.path().join("news/v9")).unwrap();
        for name in ["v9/1.cmfv", "v1/9.cmfv"] {
            fs::write(live.path().join("news").join(name), b"half a hea").unwrap();
        }
        tokio_uring::start(async {
            let (disk, found) = Disk::open(live.path(), "news").unwrap();
            assert_eq!(found.state.as_deref(), Some(&b"{}"[..]));
            let names: Vec<&FileName> = found.files.iter().map(|file| &file.name).collect();
            // Of the other there is a header alone.
            assert_eq!(names, [&name("v1", 7)]);
            let video = &found.files[0];
            assert_eq!((video.rows, video.len, &video.init[..]), (2, whole, INIT));
            let sequences: Vec<u32> = video.chunks.iter().map(|chunk| chunk.sequence).collect();
            assert_eq!(sequences, [0, 1, 2, 3]);
            done(&disk, Op::Append { file: name("v1", 7), offset: video.len, bytes: chunk(4) }).await;
            assert_eq!(video.opened.media.len(), whole + len(&chunk(4)));
            assert!(!live.path().join("news/v9/1.cmfv").exists());
        });
    }

    #[test]
    fn trouble_is_told_once() {
        let (full, broken) = (Failure::Full, Failure::Broken("torn".into()));
        let begun = Instant::now();
        let mut trouble = Trouble::default();
        for (seconds, failure, news) in [
            (0, None, News::None),
            (1, Some(&broken), News::Broken),
            (2, None, News::None),
            (3, Some(&broken), News::None),
            (20, None, News::Over),
            (30, Some(&full), News::Full),
            (31, None, News::None),
            (3_600, Some(&full), News::None),
            (3_700, Some(&broken), News::None),
            (7_200, None, News::None),
            (9_000, None, News::Over),
            (9_001, Some(&broken), News::Broken),
            (9_002, Some(&full), News::Full),
        ] {
            let (next, told) = trouble.after(failure, begun + Duration::from_secs(seconds));
            assert_eq!(told, news, "at {seconds}");
            trouble = next;
        }
    }

    #[test]
    fn the_kind_of_a_failure_survives() {
        let full = || io::Error::from_raw_os_error(nix::libc::ENOSPC);
        let inner = channel_dir::Error::Io { action: "write", path: "x".into(), source: full() };
        for (error, want) in [
            (full(), Failure::Full),
            (source(inner), Failure::Full),
            (io::Error::from_raw_os_error(nix::libc::EDQUOT), Failure::Full),
            (io::Error::other("torn"), Failure::Broken("torn".into())),
        ] {
            assert_eq!(failure(error), want);
        }
    }
}
