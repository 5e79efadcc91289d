//! The disk of a channel: real files, in virtual time. It can be slow, full, or broken, and the process or the power can end
//! at every point of an operation.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater::base::Stored;
use headwater::live::{Failure, FileName, FoundFile, Lane, Op, Opened, Outcome, Recovered};
use headwater::store::scan::{self, Depth};
use headwater::store::{ChannelDir, GrowingFile, Journal};

use super::random::Random;

pub struct Disk {
    directory: ChannelDir,
    open: BTreeMap<FileName, OpenFile>,
    lanes: [Option<Flight>; 2],
    pub mood: Mood,
    pub counts: Counts,
    /// The newest state was not written, and the channel went on without it.
    pub is_state_stale: bool,
    _temporary: tempfile::TempDir,
}

/// What the disk is like at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mood {
    /// Of a thousand operations, so many fail.
    pub failing: u64,
    /// An operation takes up to so many milliseconds.
    pub slow: u64,
    /// Until then, nothing is done.
    pub stuck_until: Duration,
    /// There is room for so many bytes.
    pub room: Option<u64>,
    /// Journals cannot be written, though media can.
    pub takes_no_rows: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub operations: u64,
    pub torn: u64,
    pub refused: u64,
}

struct OpenFile {
    media: Arc<GrowingFile>,
    journal: Journal,
    /// Bytes of both that survive a power loss; `None` if not even their names do.
    durable: Option<(u64, u64)>,
}

/// An operation that is under way.
struct Flight {
    op: Op,
    ends: Duration,
    /// Of a sync: what there was to sync when it began.
    lengths: Vec<(FileName, (u64, u64))>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// `kill -9`: what was written stays.
    Process,
    /// What was not synced is gone, or partly there, or zeros.
    Power,
}

const CHANNEL: &str = "simulated";

impl Disk {
    pub fn new() -> Disk {
        let temporary = tempfile::tempdir().unwrap();
        let directory = ChannelDir::new(temporary.path(), CHANNEL).unwrap();
        fs::create_dir(directory.path()).unwrap();
        Disk {
            directory,
            open: BTreeMap::new(),
            lanes: [None, None],
            mood: Mood::default(),
            counts: Counts::default(),
            is_state_stale: false,
            _temporary: temporary,
        }
    }

    pub fn begin(&mut self, op: Op, now: Duration, random: &mut Random) {
        let lane = &mut self.lanes[op.lane() as usize];
        assert!(lane.is_none(), "two operations in a lane: {op:?}");
        let takes = if self.mood.slow > 0 { random.below(self.mood.slow) } else { 0 };
        let lengths = match op {
            Op::Sync => self.open.iter().map(|(name, file)| (name.clone(), file.lengths())).collect(),
            _ => Vec::new(),
        };
        *lane = Some(Flight { op, ends: now.max(self.mood.stuck_until) + Duration::from_millis(takes), lengths });
    }

    /// What is done by now.
    pub fn completed(&mut self, now: Duration, random: &mut Random) -> Option<(Lane, Result<Outcome, Failure>)> {
        let lane = self.lanes.iter_mut().find(|lane| lane.as_ref().is_some_and(|flight| flight.ends <= now))?;
        let Flight { op, lengths, .. } = lane.take()?;
        self.counts.operations += 1;
        let lane = op.lane();
        let failure = self.failure(&op, random);
        if let Op::SaveState { .. } = op {
            self.is_state_stale = failure.is_some();
        }
        if let Some(failure) = failure {
            self.counts.refused += 1;
            return Some((lane, Err(failure)));
        }
        Some((lane, Ok(self.perform(op, lengths))))
    }

    fn failure(&self, op: &Op, random: &mut Random) -> Option<Failure> {
        if random.below(1_000) < self.mood.failing {
            return Some(if random.one_in(2) { Failure::Full } else { Failure::Broken("simulated".to_owned()) });
        }
        // As `intake::recorder` has it: only the newest file of a track is open for writing, and what a restart completes.
        if let Op::Append { file, .. } | Op::Row { file, .. } = op
            && !self.open.contains_key(file)
        {
            return Some(Failure::Broken(format!("{} is not open", file.media())));
        }
        if self.mood.takes_no_rows && matches!(op, Op::Row { .. }) {
            return Some(Failure::Broken("simulated".to_owned()));
        }
        let wanted = match op {
            Op::Create { init, .. } => init.len() as u64,
            Op::Append { bytes, .. } => bytes.iter().map(|bytes| bytes.len() as u64).sum(),
            Op::Row { .. } => 44,
            _ => return None,
        };
        let is_full = self.mood.room.is_some_and(|room| self.bytes() + wanted > room);
        is_full.then_some(Failure::Full)
    }

    /// Of all files there are.
    pub fn bytes(&self) -> u64 {
        let files = self.directory.all_files().unwrap();
        let len = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
        files.iter().map(|files| len(&files.media) + len(&files.journal)).sum()
    }

    fn perform(&mut self, op: Op, lengths: Vec<(FileName, (u64, u64))>) -> Outcome {
        match op {
            Op::Create { file: name, init } => {
                let files = self.directory.files(&name.track, name.first, name.kind).unwrap();
                self.directory.create_track(&files.track).unwrap();
                if let Some(old) = self.open.remove(&name) {
                    assert!(old.journal.is_empty(), "{name:?} has rows");
                }
                self.directory.delete(&files).unwrap();
                let media = GrowingFile::create(&files.media).unwrap();
                media.writer().unwrap().write_all_at(&init, 0).unwrap();
                media.advance(init.len() as u64);
                let file = OpenFile {
                    media: Arc::new(media),
                    journal: Journal::create(&files.journal).unwrap(),
                    durable: None,
                };
                let opened = file.opened();
                self.open.insert(name, file);
                return Outcome::Opened(opened);
            }
            Op::Append { file, offset, bytes } => {
                let file = &self.open[&file];
                assert_eq!(file.media.len(), offset, "an append that leaves a hole, or writes over what is published");
                let bytes = bytes.concat();
                file.media.writer().unwrap().write_all_at(&bytes, offset).unwrap();
                file.media.advance(offset + bytes.len() as u64);
            }
            Op::Row { file, row } => {
                let file = &self.open[&file];
                assert!(file.journal.rows().last().is_none_or(|last| last.number.get() < row.number.get()));
                assert!(row.is_intact() && row.end_offset() <= file.media.len());
                file.journal.append(row).unwrap();
            }
            // It survives a power loss: nothing of it is kept in mind.
            Op::Close { file } => drop(self.open.remove(&file)),
            Op::Delete { file: name } => {
                self.open.remove(&name);
                let files = self.directory.files(&name.track, name.first, name.kind).unwrap();
                assert!(files.media.exists(), "{name:?} is deleted twice");
                self.directory.delete(&files).unwrap();
            }
            Op::SaveState { json } => self.directory.save_state(&json).unwrap(),
            Op::Sync => {
                for (name, lengths) in lengths {
                    if let Some(file) = self.open.get_mut(&name) {
                        file.durable = Some(lengths);
                    }
                }
            }
        }
        Outcome::Done
    }

    /// Some of the bytes of an append, from the first on.
    fn write_some(&mut self, name: &FileName, offset: u64, bytes: &[Bytes], random: &mut Random) {
        let bytes = bytes.concat();
        let len = random.below(bytes.len() as u64 + 1) as usize;
        if let Some(file) = self.open.get(name) {
            file.media.writer().unwrap().write_all_at(&bytes[..len], offset).unwrap();
        }
    }

    /// The process ends in the middle of whatever is under way.
    pub fn crash(&mut self, crash: Crash, random: &mut Random) {
        for lane in 0..self.lanes.len() {
            let Some(Flight { op, lengths, .. }) = self.lanes[lane].take() else { continue };
            self.counts.torn += 1;
            match op {
                // Done, though nobody was told; or never begun.
                _ if random.one_in(4) => drop(self.perform(op, lengths)),
                _ if random.one_in(4) => {}
                Op::Append { file, offset, bytes } => self.write_some(&file, offset, &bytes, random),
                Op::Row { file, row } => {
                    let journal = self.open[&file].journal.file();
                    let bytes = Journal::encode(row);
                    let len = random.below(bytes.len() as u64 + 1) as usize;
                    journal.writer().unwrap().write_all_at(&bytes[..len], journal.len()).unwrap();
                }
                Op::Create { file, init } => {
                    let files = self.directory.files(&file.track, file.first, file.kind).unwrap();
                    self.directory.create_track(&files.track).unwrap();
                    self.directory.delete(&files).unwrap();
                    fs::write(&files.media, &init[..random.below(init.len() as u64 + 1) as usize]).unwrap();
                    if random.one_in(2) {
                        fs::write(&files.journal, &b"HWSEGMNT"[..random.below(9) as usize]).unwrap();
                    }
                    self.open.remove(&file);
                }
                Op::Delete { file } => {
                    let files = self.directory.files(&file.track, file.first, file.kind).unwrap();
                    fs::remove_file(&files.journal).unwrap();
                }
                Op::SaveState { json } => {
                    let half = &json[..random.below(json.len() as u64) as usize];
                    fs::write(self.directory.path().join("state.json.new"), half).unwrap();
                }
                Op::Close { .. } | Op::Sync => {}
            }
        }
        if crash == Crash::Power {
            self.lose_power(random);
        }
        self.open.clear();
    }

    /// Deletes the journal of a track's oldest file; false if that is being written to.
    pub fn lose_journal(&mut self, track: &str) -> bool {
        let found = self.directory.all_files().unwrap();
        let of_track: Vec<_> = found.iter().filter(|files| files.track == track).collect();
        if of_track.len() > 1 {
            fs::remove_file(&of_track[0].journal).unwrap();
        }
        of_track.len() > 1
    }

    fn lose_power(&mut self, random: &mut Random) {
        for (name, file) in &self.open {
            let files = self.directory.files(&name.track, name.first, name.kind).unwrap();
            if file.durable.is_none() && random.one_in(2) {
                self.directory.delete(&files).unwrap();
                continue;
            }
            let (media, journal) = file.durable.unwrap_or_default();
            lose(&files.media, media, random);
            lose(&files.journal, journal, random);
        }
    }

    /// What a new process finds: as `intake::recorder` looks for it.
    pub fn recover(&mut self) -> Recovered {
        let state = self.directory.state().unwrap().map(Bytes::from);
        let found = self.directory.all_files().unwrap();
        let mut recovered = Recovered { state, files: Vec::new() };
        for (at, files) in found.iter().enumerate().rev() {
            let newer = found[at + 1..].iter().take_while(|other| other.track == files.track).count();
            let depth = if newer < 2 { Depth::Newest } else { Depth::Settled };
            let Some(scanned) = scan::recover(&files.media, &files.journal, depth).unwrap() else {
                self.directory.delete(files).unwrap();
                continue;
            };
            let name = FileName { track: files.track.as_str().into(), first: files.first, kind: files.kind };
            let is_incomplete = !scanned.tail.is_empty();
            let file = OpenFile { media: scanned.file.clone(), journal: scanned.journal.clone(), durable: None };
            recovered.files.push(FoundFile {
                name: name.clone(),
                opened: file.opened(),
                init: scanned.init,
                rows: scanned.journal.len(),
                chunks: scanned.newest.into_iter().chain(scanned.tail).collect(),
                len: scanned.file.len(),
            });
            // What survived one power loss survives the next.
            let lengths = file.lengths();
            if is_incomplete || !self.open.keys().any(|other| other.track == name.track) {
                self.open.insert(name, OpenFile { durable: Some(lengths), ..file });
            }
        }
        recovered.files.reverse();
        recovered
    }
}

impl OpenFile {
    fn opened(&self) -> Opened {
        Opened { media: self.media.clone(), journal: Arc::new(self.journal.clone()) }
    }

    fn lengths(&self) -> (u64, u64) {
        (self.media.len(), self.journal.file().len())
    }
}

/// What lies behind the first `durable` bytes is there, or not, or is zeros.
fn lose(path: &Path, durable: u64, random: &mut Random) {
    let Ok(file) = OpenOptions::new().write(true).open(path) else { return };
    let len = file.metadata().unwrap().len();
    let kept = durable + random.below(len.saturating_sub(durable) + 1);
    let written = durable + random.below(kept - durable + 1);
    file.set_len(written).unwrap();
    // Blocks that are not written are zeros; whole ones, or the scan could not tell.
    file.set_len(if kept - written >= 4096 { kept } else { written }).unwrap();
}
