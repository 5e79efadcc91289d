//! Import: source files to a published version.
//!
//! 0. Directories and manifests become the inputs they name, and what is not ISO BMFF is rewritten ([`gather`], [`rewrite`]).
//! 1. Every source is mapped, its tracks are understood ([`candidate`]) and timed ([`timeline`]): headers and tables are
//!    read, and the first bytes of key frames.
//! 2. The instants at which all tracks are cut are chosen ([`alignment`], [`slots`]).
//! 3. Media bytes are copied in one pass over each source, fragment by fragment ([`output`]), while another thread hashes
//!    them ([`follower`]). Sample tables go to nameless files: memory holds one fragment's samples and the fragment tables, whatever the
//!    length of the input.
//! 4. Thumbnails are made of one of the track files, if they are wanted ([`thumbnails`]).
//! 5. The index is written, everything synced, and the version published by a rename ([`super::folder`]).

mod alignment;
mod candidate;
mod cues;
pub mod examine;
mod follower;
mod gather;
pub mod input;
mod lead_in;
mod manifest;
mod output;
mod rewrite;
mod slots;
mod tail;
mod text;
pub mod thumbnails;
mod timeline;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use thiserror::Error;

use candidate::{Candidate, SourceFile};
pub use examine::Examined;
use follower::{Follower, follower};
use gather::Gathered;
pub use input::Input;
use output::{Finished, Output};
use rewrite::Clock;
use slots::Slots;
pub(super) use text::Text;
use thumbnails::{Ffmpeg, Made};

use super::asset::file_name;
use super::folder::{self, Folder, Published, Staging};
use super::version::Version;
use crate::base::Ticks;
use crate::base::limits::{PRESENTATION_MAX, TRACKS_MAX};
use crate::media::isobmff::{self, Movie};
use crate::media::thumbnails::Grid;
use crate::media::track::Kind;
use crate::media::{Track, codec, subtitles};
use crate::store::index_writer::{self, Entry};
use crate::store::{TrackFile, index};

/// What to import, and where to.
#[derive(Clone, Debug)]
pub struct Options {
    /// The library's directory; created if it is missing.
    pub library: PathBuf,
    pub asset: String,
    pub inputs: Vec<Input>,
    /// Audio without video is cut every so often.
    pub segment: Duration,
    pub thumbnails: Option<thumbnails::Wanted>,
    /// Seconds since 1970: when a version that this one replaces was replaced.
    pub now: u64,
    /// Somebody may set it while the import runs: it ends with [`Error::Stopped`] then, unless it was about to be published.
    pub stop: Arc<AtomicBool>,
}

impl Options {
    fn check_stop(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Stopped) } else { Ok(()) }
    }
}

/// What an import has to say while it runs.
pub enum Event<'a> {
    /// A line for the user: what is left out, and why.
    Note(&'a str),
    /// Bytes of media copied so far, and in all.
    Progress { done: u64, total: u64 },
    /// After that, bytes of media that thumbnails were made of so far, and in all.
    Thumbnails { done: u64, total: u64 },
}

pub type Report<'a> = &'a mut dyn FnMut(Event<'_>);

/// What became of it.
#[derive(Debug)]
pub struct Summary {
    pub published: Published,
    pub version: Version,
    pub tracks: Vec<TrackSummary>,
    pub thumbnails: Option<ThumbnailSummary>,
    pub duration: Duration,
    /// Of all files of the version.
    pub bytes: u64,
}

#[derive(Debug)]
pub struct TrackSummary {
    pub track: Track,
    pub bytes: u64,
    pub fragments: usize,
    pub duration: Duration,
}

#[derive(Debug)]
pub struct ThumbnailSummary {
    pub id: String,
    pub grid: Grid,
    pub bytes: u64,
}

/// Every text is one line.
#[derive(Debug, Error)]
pub enum Error {
    #[error("{path}: {source}")]
    Source { path: PathBuf, source: std::io::Error },
    #[error("{file}: media at byte {at} cannot be read: {source}")]
    Read { file: String, at: u64, source: std::io::Error },
    #[error(transparent)]
    Demux(#[from] isobmff::Error),
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    #[error(transparent)]
    Rewrite(rewrite::Error),
    #[error(transparent)]
    Codec(#[from] codec::Error),
    #[error(transparent)]
    Subtitles(#[from] subtitles::Error),
    #[error("{file}: track {track} (at byte {at}): {reason}")]
    Times { file: String, track: u32, at: u64, reason: String },
    #[error(transparent)]
    Alignment(#[from] alignment::Error),
    #[error("{label}: begins {} s after everything else has ended", .late.as_secs())]
    Detached { label: String, late: Duration },
    #[error("nothing to import: no video and no audio track in {files}")]
    Nothing { files: String },
    #[error("{found} tracks, an asset has {TRACKS_MAX} at most")]
    TooManyTracks { found: usize },
    #[error("{label}: lasts {} hours, {} at most", .length.as_secs() / 3_600, PRESENTATION_MAX.as_secs() / 3_600)]
    TooLong { label: String, length: Duration },
    #[error("stopped; the library is as it was")]
    Stopped,
    #[error("{file}: was changed while it was imported; import it again when nobody writes to it")]
    Changed { file: String },
    #[error(transparent)]
    Thumbnails(#[from] thumbnails::Error),
    #[error(transparent)]
    Folder(#[from] folder::Error),
}

/// Imports the inputs as one asset and publishes it. On any error the library is as it was.
pub fn import(options: &Options, report: Report<'_>) -> Result<Summary, Error> {
    folder::check_name(&options.asset)?;
    let ffmpeg = options
        .thumbnails
        .map(|wanted| Ok::<_, Error>((Ffmpeg::find(&mut || options.check_stop())?, wanted)))
        .transpose()?;
    let mut staging = None;
    let mut directory = || stage(options, &mut staging);
    let gathered = gather::gather(&options.inputs, &mut directory, &|| options.check_stop(), report)?;
    let Gathered { sources, mut texts, cues, read } = gathered;
    let (mut candidates, mut movies) = (Vec::new(), Vec::with_capacity(sources.len()));
    for (number, source) in sources.iter().enumerate() {
        options.check_stop()?;
        let movie = Movie::parse(&source.name, source.map.bytes())?;
        candidates.extend(Candidate::all(number, source, &movie, report)?);
        movies.push(movie);
    }
    if candidates.is_empty() {
        let files: Vec<String> = options.inputs.iter().map(|input| input.path.display().to_string()).collect();
        return Err(Error::Nothing { files: files.join(", ") });
    }
    let mut candidates = candidate::without_duplicates(candidates, &sources, report);
    candidates.sort_by(slots::by_quality);
    candidate::tell_apart(&mut candidates, report);
    let zeros = place(&mut candidates)?;
    Text::gather(&mut texts, cues, &sources, &movies, &zeros, report)?;
    let found = candidates.len() + texts.len();
    if found > TRACKS_MAX {
        return Err(Error::TooManyTracks { found });
    }
    let of_kind = |kind: Kind| candidates.iter().filter(move |track| track.kind() == kind).collect::<Vec<_>>();
    let slots = Slots::plan(&of_kind(Kind::Video), &of_kind(Kind::Audio), options.segment)?;

    stage(options, &mut staging)?;
    let Some(Staged { folder, staging }) = staging else { return Err(Error::Stopped) };
    // Leftovers of an import by another user, say, are the server's to delete: no reason not to import.
    if let Err(error) = folder.sweep() {
        report(Event::Note(&format!("leftovers of other imports stay: {error}")));
    }
    let copied = copy(&sources, candidates, &slots, &staging, read, options, report);
    sources.iter().try_for_each(SourceFile::check_unchanged)?;
    let copied = copied?;
    let mut made = None;
    if let Some((ffmpeg, wanted)) = ffmpeg {
        let duration = copied.finished.iter().map(|finished| summary(finished).duration).max().unwrap_or_default();
        let content = staging.content();
        made = thumbnails::make(&ffmpeg, wanted, &copied.finished, &content, duration, options, report)?;
    }
    finish(&folder, staging, copied, texts, made, options)
}

/// Where an import writes.
struct Staged {
    folder: Folder,
    staging: Staging,
}

/// The staging directory, made when it is first needed: what is refused before leaves the library as it was, or not there.
fn stage(options: &Options, staged: &mut Option<Staged>) -> Result<PathBuf, Error> {
    if staged.is_none() {
        let folder = Folder::create(&options.library)?;
        let staging = folder.stage()?;
        *staged = Some(Staged { folder, staging });
    }
    Ok(staged.as_ref().map_or_else(PathBuf::new, |staged| staged.staging.path().to_owned()))
}

/// When the presentation begins on each of the clocks, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zeros {
    presentation: Option<i64>,
    encoder: Option<i64>,
}

impl Zeros {
    fn of(candidates: &[Candidate<'_>]) -> Zeros {
        let earliest = |clock| {
            let tracks = candidates.iter().filter(|track| track.clock == clock);
            tracks.map(|track| track.timeline.start_nanos).min()
        };
        Zeros { presentation: earliest(Clock::Presentation), encoder: earliest(Clock::Encoder) }
    }

    fn on(&self, clock: Clock) -> i64 {
        match clock {
            Clock::Presentation => self.presentation.unwrap_or(0),
            Clock::Encoder => self.encoder.unwrap_or(0),
        }
    }
}

/// Puts all tracks on one clock, on which the first thing presented is at 0. What counts from anywhere begins with what
/// counts from the beginning.
fn place(candidates: &mut [Candidate<'_>]) -> Result<Zeros, Error> {
    let zeros = Zeros::of(candidates);
    candidates.iter_mut().for_each(|track| track.timeline.place(zeros.on(track.clock)));
    // Files of different origin, of which one counts from the epoch, do not make one presentation.
    for track in candidates.iter() {
        let others = candidates.iter().filter(|other| !std::ptr::eq(*other, track));
        let end = others.map(|other| other.timeline.end_nanos()).max();
        let late = track.timeline.nanos(track.timeline.delay) - end.unwrap_or(i64::MAX);
        if late > 0 {
            return Err(Error::Detached { label: track.label.clone(), late: Duration::from_nanos(late as u64) });
        }
        let length = Duration::from_nanos(u64::try_from(track.timeline.end_nanos()).unwrap_or(0));
        if length > PRESENTATION_MAX {
            return Err(Error::TooLong { label: track.label.clone(), length });
        }
    }
    Ok(zeros)
}

struct Copied {
    finished: Vec<Finished>,
    digests: Vec<[u8; 32]>,
}

fn copy(
    sources: &[SourceFile],
    candidates: Vec<Candidate<'_>>,
    slots: &Slots,
    staging: &Staging,
    read: u64,
    options: &Options,
    report: Report<'_>,
) -> Result<Copied, Error> {
    let total = read + candidates.iter().map(|track| track.timeline.bytes).sum::<u64>();
    let count = candidates.len();
    let (follower, following) = follower();
    let hashing = thread::spawn(move || following.run(count));
    let finished = write(sources, candidates, slots, staging, follower, &mut |done| {
        report(Event::Progress { done: read + done, total });
        options.check_stop()
    })?;
    let digests = hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    Ok(Copied { finished, digests })
}

fn write<'a>(
    sources: &'a [SourceFile],
    candidates: Vec<Candidate<'a>>,
    slots: &Slots,
    staging: &Staging,
    follower: Follower,
    progress: &mut dyn FnMut(u64) -> Result<(), Error>,
) -> Result<Vec<Finished>, Error> {
    let mut ids = Ids::default();
    let mut video_cuts = slots.video.iter();
    let mut outputs = Vec::with_capacity(candidates.len());
    for (number, candidate) in candidates.into_iter().enumerate() {
        let source = &sources[candidate.file];
        let cuts = match candidate.kind() {
            Kind::Video => video_cuts.next().cloned().unwrap_or_default(),
            _ => Vec::new(),
        };
        let id = ids.next(candidate.kind());
        outputs.push(Output::create(number, id, candidate, source, cuts, staging, &follower)?);
    }
    let mut done = 0;
    progress(done)?;
    for file in 0..sources.len() {
        for slot in 0..slots.times.len() as u32 {
            for output in outputs.iter_mut().filter(|output| output.source_file == file) {
                done += output.write_slot(slots, slot, &follower)?;
            }
            progress(done)?;
        }
    }
    for output in &mut outputs {
        output.complete(&follower)?;
    }
    drop(follower);
    outputs.into_iter().map(Output::finish).collect()
}

/// `v1`, `v2`, `a1`, …
#[derive(Default)]
struct Ids(HashMap<Kind, usize>);

impl Ids {
    fn next(&mut self, kind: Kind) -> String {
        let number = self.0.entry(kind).or_default();
        *number += 1;
        let letter = match kind {
            Kind::Video => 'v',
            Kind::Audio => 'a',
            Kind::Text => 't',
        };
        format!("{letter}{number}")
    }
}

fn finish(
    folder: &Folder,
    staging: Staging,
    copied: Copied,
    texts: Vec<Text>,
    thumbnails: Option<Made>,
    options: &Options,
) -> Result<Summary, Error> {
    let content = staging.content();
    let mut ids = Ids::default();
    let texts: Vec<Text> = texts
        .into_iter()
        .map(|text| Text { track: Track { id: ids.next(Kind::Text), ..text.track }, ..text })
        .collect();
    let mut tracks: Vec<TrackSummary> = Vec::new();
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for (finished, digest) in copied.finished.iter().zip(copied.digests) {
        tracks.push(summary(finished));
        entries.push(Entry {
            track: &finished.track,
            file_size: finished.file_size,
            init_size: finished.init_size,
            digest,
            fragments: &finished.fragments,
            samples: Box::new(&finished.samples),
            sample_count: finished.sample_count,
            cues: &[],
            files: &[],
        });
    }
    for text in &texts {
        write_text(&content, text)?;
        let last = text.cues.last().map_or(0, |cue| cue.end_max.get());
        tracks.push(TrackSummary {
            track: text.track.clone(),
            bytes: text.bytes.len() as u64,
            fragments: 0,
            duration: Duration::from_millis(last),
        });
        entries.push(text.entry());
    }
    let path = content.join(index::FILE_NAME);
    let entry = thumbnails.as_ref().map(Made::entry);
    let digest = index_writer::write(&path, &mut entries, entry);
    let digest = digest.map_err(|error| folder::Error::io("write", &path, error))?;
    drop(entries);
    let thumbnails =
        entry.map(|entry| ThumbnailSummary { id: entry.id.to_owned(), grid: entry.grid, bytes: entry.file_size });
    let version = Version::of(&digest);
    options.check_stop()?;
    let published = folder.publish(staging, &options.asset, version, options.now)?;
    let index_size = std::fs::metadata(folder.version_path(&options.asset, version).join(index::FILE_NAME));
    let media = |track: &&TrackSummary| track.track.kind() != Kind::Text;
    Ok(Summary {
        published,
        version,
        duration: tracks.iter().filter(media).map(|track| track.duration).max().unwrap_or_default(),
        bytes: tracks.iter().map(|track| track.bytes).sum::<u64>()
            + thumbnails.as_ref().map_or(0, |thumbnails| thumbnails.bytes)
            + index_size.map_or(0, |file| file.len()),
        tracks,
        thumbnails,
    })
}

fn summary(finished: &Finished) -> TrackSummary {
    let end = finished.fragments.last().map_or(0, |fragment| fragment.decode_end().0);
    let track = finished.track.clone();
    TrackSummary {
        bytes: finished.file_size,
        fragments: finished.fragments.len(),
        duration: track.timescale.duration(Ticks(end + track.presentation_offset.0)),
        track,
    }
}

/// The file of a text, with its id.
pub(super) fn write_text(content: &Path, text: &Text) -> Result<(), folder::Error> {
    let path = content.join(file_name(&text.track));
    let failed = |error| folder::Error::io("write", &path, error);
    let mut file = TrackFile::create(&path).map_err(failed)?;
    // Synced at once.
    let _ = file.append(&text.bytes).map_err(failed)?;
    file.finish().map_err(failed)?;
    Ok(())
}
