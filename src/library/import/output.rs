//! One track file being made from a source: samples are gathered into fragments, copied, hashed and described.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use zerocopy::IntoBytes;

use super::Error;
use super::candidate::{Candidate, SourceFile};
use super::follower::{BUFFER_BYTES, Chunk, Follower};
use super::slots::Slots;
use super::timeline::{Key, Retimed};
use crate::base::limits::FRAGMENT_SAMPLES_MAX;
use crate::library::asset::file_name;
use crate::library::folder::{self, Staging};
use crate::media::fragment::Start;
use crate::media::isobmff::write::{self, Header};
use crate::media::isobmff::{Samples, SourceSample};
use crate::media::track::{Details, Kind};
use crate::media::{Fragment, Sample, Track, captions};
use crate::store::TrackFile;
use crate::sys::writeback;

/// One track file and its part of the index, growing.
pub struct Output<'a> {
    pub track: Track,
    pub source_file: usize,
    pub fragments: Vec<Fragment>,
    pub init_size: u32,
    pub sample_count: u32,
    number: usize,
    source: &'a SourceFile,
    candidate: Candidate<'a>,
    /// Slot and first row of each fragment; empty unless video.
    cuts: Vec<(u32, u32)>,
    samples: Retimed<Samples<'a>>,
    /// The next sample, once read.
    ahead: Option<(u32, SourceSample)>,
    /// The next key frame of the timeline.
    key: usize,
    file: TrackFile,
    /// Its first `filled` bytes come next in the file.
    buffer: Vec<u8>,
    filled: usize,
    /// The sample table, kept in a nameless file until the index is written.
    spool: BufWriter<File>,
    /// Up to where the source was asked for.
    prefetched: u64,
    captions: captions::Found,
}

/// How far the source is read ahead of what is copied. Both directions are then busy at once.
const PREFETCH_BYTES: u64 = 8 << 20;

const FLAGS_SYNC: u32 = 0x0200_0000;
/// `sample_depends_on` 2 with `sample_is_non_sync_sample`: an intra picture that is no sync sample.
const FLAGS_OPEN: u32 = 0x0201_0000;
/// `sample_depends_on` 1 with `sample_is_non_sync_sample`.
const FLAGS_OTHER: u32 = 0x0101_0000;
const FLAG_NON_SYNC: u32 = 0x0001_0000;
/// `is_leading` and the three `sample_*` dependency fields of ISO/IEC 14496-12 §8.8.3.1.
const FLAGS_DEPENDENCY: u32 = 0x0ff0_0000;

/// A finished track file.
pub struct Finished {
    pub track: Track,
    pub fragments: Vec<Fragment>,
    pub sample_count: u32,
    pub samples: File,
    pub file_size: u64,
    pub init_size: u32,
}

impl<'a> Output<'a> {
    /// Creates the track file and writes its header. `cuts` are of [`Slots::video`].
    pub fn create(
        number: usize,
        id: String,
        candidate: Candidate<'a>,
        source: &'a SourceFile,
        cuts: Vec<(u32, u32)>,
        staging: &Staging,
        follower: &Follower,
    ) -> Result<Output<'a>, Error> {
        let track = candidate.track(id);
        let path = staging.content().join(file_name(&track));
        let file = TrackFile::create(&path).map_err(|error| folder::Error::io("create", &path, error))?;
        let spool_path = staging.path().join(format!("{}.samples", track.id));
        let spool = File::options().read(true).write(true).create_new(true).open(&spool_path);
        let spool = spool.map_err(|error| folder::Error::io("create", &spool_path, error))?;
        // It lives as long as it is open, and leaves nothing behind.
        std::fs::remove_file(&spool_path).map_err(|error| folder::Error::io("delete", &spool_path, error))?;
        let init = header(&track, &candidate);
        let samples = Retimed::new(candidate.source.samples());
        let mut output = Output {
            track,
            source_file: candidate.file,
            fragments: Vec::new(),
            init_size: init.len() as u32,
            sample_count: 0,
            number,
            source,
            candidate,
            cuts,
            samples,
            ahead: None,
            key: 0,
            file,
            buffer: follower.buffer(),
            filled: 0,
            spool: BufWriter::with_capacity(1 << 16, spool),
            prefetched: 0,
            captions: captions::Found::default(),
        };
        output.write(&init, follower)?;
        output.advance()?;
        while output.ahead.as_ref().is_some_and(|(row, _)| *row < output.candidate.timeline.rows.start) {
            output.advance()?;
        }
        Ok(output)
    }

    /// Writes the fragment of this slot, if the track has one. Returns the media bytes copied.
    pub fn write_slot(&mut self, slots: &Slots, slot: u32, follower: &Follower) -> Result<u64, Error> {
        let end_row = match self.track.kind() {
            Kind::Video => {
                let at = self.fragments.len();
                if self.cuts.get(at).is_none_or(|(cut, _)| *cut != slot) {
                    return Ok(0);
                }
                self.cuts.get(at + 1).map_or(u32::MAX, |(_, row)| *row)
            }
            _ => u32::MAX,
        };
        let mut gathered = Gathered {
            samples: Vec::new(),
            runs: Vec::new(),
            bytes: 0,
            decode_time: 0,
            duration: 0,
            start: Start::Closed,
        };
        while let Some((row, sample)) = self.ahead {
            let rows = &self.candidate.timeline.rows;
            if row >= end_row || row >= rows.end {
                break;
            }
            if self.track.kind() != Kind::Video {
                let time = sample.decode_time.saturating_add(i64::from(sample.composition_offset));
                if slots.is_behind(slot, self.candidate.timeline.presented_nanos(time)) {
                    break;
                }
            }
            self.gather(&mut gathered, row, &sample)?;
            self.advance()?;
        }
        if gathered.samples.is_empty() { Ok(0) } else { self.write_fragment(gathered, slot, follower) }
    }

    fn advance(&mut self) -> Result<(), Error> {
        let wrong = |error: super::timeline::Error<_>| match error {
            super::timeline::Error::Source(error) => Error::Demux(error),
            other => Error::Times {
                file: self.source.name.clone(),
                track: self.candidate.source.id,
                at: self.candidate.source.sample_entry.offset,
                reason: other.to_string(),
            },
        };
        self.ahead = self.samples.next().map_err(wrong)?;
        Ok(())
    }

    fn gather(&mut self, gathered: &mut Gathered, row: u32, sample: &SourceSample) -> Result<(), Error> {
        let timeline = &self.candidate.timeline;
        let key = timeline.keys.get(self.key).filter(|key| key.row == row).copied();
        self.key += usize::from(key.is_some());
        let times = timeline.times(row, sample);
        let composition_offset = times.composition_offset;
        let composition_offset = i32::try_from(composition_offset).map_err(|_| Error::Times {
            file: self.source.name.clone(),
            track: self.candidate.source.id,
            at: self.candidate.source.sample_entry.offset,
            reason: format!("sample {row} (from 0): composition offset {composition_offset}, more than 2^31 ticks"),
        })?;
        if gathered.samples.is_empty() {
            gathered.decode_time = times.decode_time.max(0) as u64;
            gathered.start = key.map_or(Start::Closed, |key| key.start);
        }
        gathered.duration += u64::from(times.duration);
        if gathered.samples.len() >= FRAGMENT_SAMPLES_MAX {
            return Err(Error::Times {
                file: self.source.name.clone(),
                track: self.candidate.source.id,
                at: sample.offset,
                reason: format!(
                    "sample {row} (from 0): {FRAGMENT_SAMPLES_MAX} samples without a place to cut; expected key frames in between"
                ),
            });
        }
        gathered.samples.push(Sample {
            size: sample.size.into(),
            duration: times.duration.into(),
            composition_offset: composition_offset.into(),
            flags: flags(self.track.kind(), sample, key).into(),
        });
        let range = sample.offset..sample.offset + u64::from(sample.size);
        match gathered.runs.last_mut() {
            // Samples of one chunk follow each other in the source.
            Some(run) if run.end == range.start => run.end = range.end,
            _ => gathered.runs.push(range),
        }
        gathered.bytes += u64::from(sample.size);
        Ok(())
    }

    fn write_fragment(&mut self, gathered: Gathered, slot: u32, follower: &Follower) -> Result<u64, Error> {
        let sequence = self.fragments.len() as u32 + 1;
        let mut head = Vec::new();
        let mut stored = gathered.samples.clone();
        for sample in &mut stored {
            let offset = i64::from(sample.composition_offset.get()) + reorder(&self.candidate);
            sample.composition_offset = i32::try_from(offset).unwrap_or(i32::MAX).into();
        }
        let too_large = |reason: String| Error::Times {
            file: self.source.name.clone(),
            track: self.candidate.source.id,
            at: gathered.runs.first().map_or(0, |run| run.start),
            reason,
        };
        write::fragment_header(sequence, gathered.decode_time, &stored, &mut head)
            .map_err(|error| too_large(error.to_string()))?;
        let size = u32::try_from(head.len() as u64 + gathered.bytes)
            .map_err(|_| too_large(format!("a fragment of {} bytes, 4 GiB at most", gathered.bytes)))?;
        let offset = self.file.len() + self.filled as u64;
        self.fragments.push(Fragment {
            offset: offset.into(),
            decode_time: gathered.decode_time.into(),
            duration: gathered.duration.into(),
            size: size.into(),
            media_offset: (head.len() as u32).into(),
            key_frame_size: gathered.samples[0].size,
            first_sample: self.sample_count.into(),
            sample_count: (gathered.samples.len() as u32).into(),
            slot: slot.into(),
            start: (gathered.start as u32).into(),
            file: 0.into(),
        });
        self.sample_count += gathered.samples.len() as u32;
        self.spool.write_all(gathered.samples.as_bytes()).map_err(|error| self.failed(error))?;
        if let (Some(first), Some(last)) = (gathered.runs.first(), gathered.runs.last()) {
            self.prefetch(first.start, last.end);
        }
        self.write(&head, follower)?;
        for run in &gathered.runs {
            self.copy(run.clone(), follower)?;
        }
        self.read_captions(&gathered);
        Ok(gathered.bytes)
    }

    /// Looks at the beginning of each picture, which was read to be copied a moment ago.
    fn read_captions(&mut self, gathered: &Gathered) {
        if self.track.kind() != Kind::Video {
            return;
        }
        let source = self.source.map.bytes();
        let mut sizes = gathered.samples.iter().map(|sample| sample.size.get() as usize);
        for run in &gathered.runs {
            let mut rest = source.get(run.start as usize..run.end as usize).unwrap_or_default();
            while !rest.is_empty() {
                let Some((picture, behind)) = sizes.next().and_then(|size| rest.split_at_checked(size)) else { return };
                self.candidate.description.read_captions(picture, &mut self.captions);
                rest = behind;
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8], follower: &Follower) -> Result<(), Error> {
        while !bytes.is_empty() {
            let room = self.room(follower)?;
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
        }
        Ok(())
    }

    /// Appends a run of the source.
    fn copy(&mut self, mut run: Range<u64>, follower: &Follower) -> Result<(), Error> {
        let source = self.source;
        while !run.is_empty() {
            let room = self.room(follower)?;
            let len = (run.end - run.start).min(room.len() as u64) as usize;
            source.file.read_exact_at(&mut room[..len], run.start).map_err(|error| Error::Read {
                file: source.name.clone(),
                at: run.start,
                source: error,
            })?;
            self.filled += len;
            run.start += len as u64;
        }
        Ok(())
    }

    /// What is free of the buffer: never nothing.
    fn room(&mut self, follower: &Follower) -> Result<&mut [u8], Error> {
        if self.filled == BUFFER_BYTES {
            self.flush(follower)?;
        }
        Ok(&mut self.buffer[self.filled..])
    }

    fn flush(&mut self, follower: &Follower) -> Result<(), Error> {
        let mut bytes = std::mem::replace(&mut self.buffer, follower.buffer());
        bytes.truncate(std::mem::take(&mut self.filled));
        let writeback = self.file.append(&bytes).map_err(|error| self.failed(error))?;
        follower.send(Chunk { output: self.number, bytes, writeback });
        Ok(())
    }

    /// Asks for what comes next in the source when half of what was asked for is used up.
    fn prefetch(&mut self, start: u64, end: u64) {
        let jumped = end > self.prefetched || start.saturating_add(4 * PREFETCH_BYTES) < self.prefetched;
        if jumped || end + PREFETCH_BYTES / 2 > self.prefetched {
            let from = if jumped { end } else { self.prefetched };
            writeback::will_need(self.source.file.as_fd(), from, PREFETCH_BYTES);
            self.prefetched = from + PREFETCH_BYTES;
        }
    }

    fn failed(&self, error: io::Error) -> Error {
        folder::Error::io("write", self.file.path(), error).into()
    }

    /// Writes what is left. All outputs are completed before the first is synced, so that hashing ends meanwhile.
    pub fn complete(&mut self, follower: &Follower) -> Result<(), Error> {
        self.flush(follower)
    }

    /// Syncs the file.
    pub fn finish(self) -> Result<Finished, Error> {
        let path: PathBuf = self.file.path().to_owned();
        let failed = |error| Error::from(folder::Error::io("write", &path, error));
        let mut samples = self.spool.into_inner().map_err(|error| failed(error.into_error()))?;
        samples.rewind().map_err(failed)?;
        let mut track = self.track;
        if let Details::Video(video) = &mut track.details {
            video.captions = self.captions.captions();
        }
        Ok(Finished {
            track,
            fragments: self.fragments,
            sample_count: self.sample_count,
            samples,
            file_size: self.file.finish().map_err(failed)?,
            init_size: self.init_size,
        })
    }
}

/// What becomes one fragment.
struct Gathered {
    samples: Vec<Sample>,
    /// Where their bytes lie in the source, neighbours joined.
    runs: Vec<Range<u64>>,
    bytes: u64,
    decode_time: u64,
    duration: u64,
    start: Start,
}

fn flags(kind: Kind, sample: &SourceSample, key: Option<Key>) -> u32 {
    match (kind, key) {
        (Kind::Video, Some(key)) if key.start == Start::Closed || sample.sync => FLAGS_SYNC,
        (Kind::Video, Some(_)) => FLAGS_OPEN,
        (Kind::Video, None) if sample.sync || sample.flags & FLAGS_DEPENDENCY == 0 => FLAGS_OTHER,
        (Kind::Video, None) => sample.flags & FLAGS_DEPENDENCY | FLAG_NON_SYNC,
        _ => FLAGS_SYNC,
    }
}

/// Added to every composition offset in the track file, and taken away again by its edit list: see [`super::timeline`].
fn reorder(candidate: &Candidate<'_>) -> i64 {
    match candidate.kind() {
        Kind::Video => candidate.timeline.reorder.max(0),
        _ => 0,
    }
}

fn header(track: &Track, candidate: &Candidate<'_>) -> Vec<u8> {
    let timeline = &candidate.timeline;
    // As coded: `track` has it as it is shown.
    let (width, height) = match &candidate.description.details {
        Details::Video(video) => {
            let (across, down) = video.pixel_aspect;
            // Stretched, never shrunk (ISO/IEC 14496-12 §8.3.2: `tkhd` holds the size as it is shown).
            let stretch = |size: u32, by: u32, of: u32| {
                u32::try_from(u64::from(size) * u64::from(by) / u64::from(of.max(1))).unwrap_or(size)
            };
            match across >= down {
                true => (stretch(video.width, across, down), video.height),
                false => (video.width, stretch(video.height, down, across)),
            }
        }
        _ => (0, 0),
    };
    let usual = timeline.length / i64::from(timeline.sample_count().max(1));
    write::header(&Header {
        timescale: timeline.timescale,
        sample_entry: &candidate.description.sample_entry,
        kind: track.kind(),
        language: &track.language,
        name: track.name.as_deref(),
        media_start: (timeline.priming + reorder(candidate)) as u64,
        width,
        height,
        matrix: candidate.source.matrix,
        default_duration: u32::try_from(usual).unwrap_or(0),
        fragment_duration_hint: u64::try_from(timeline.delay + timeline.length).ok(),
    })
}
