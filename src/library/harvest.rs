//! Harvest: a stretch of a channel's past becomes an asset, without a byte of media being copied. The channel's track files
//! are hard-linked into a new version, and an index is written over the chunks in them.
//!
//! What the chunks say stays as it is: their times count from 1970. The asset begins at 0 all the same, because each track
//! states where that is on its clock (`presentation_offset`, `presentationTimeOffset` of an MPD). HLS needs nothing: players
//! take the first time they find as the beginning (hls.js, AVPlayer and ffmpeg do).

mod text;

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use zerocopy::IntoBytes;

use super::asset::recorded_file_name;
use super::folder::{self, Folder, Published, Staging};
use super::import::{Text, write_text};
use super::version::Version;
use crate::base::limits::{TRACK_FILES_MAX, TRACKS_MAX};
use crate::base::units::rescale_nearest;
use crate::base::{Ticks, Timescale};
use crate::media::broadcast::SegmentRow;
use crate::media::codec::{self, Description};
use crate::media::fragment::Start;
use crate::media::isobmff::{self, Chunk, Movie, chunk};
use crate::media::track::{Details, Role};
use crate::media::{Fragment, Kind, Sample, Track, captions};
use crate::store::channel_dir::{self, ChannelDir, TrackFiles};
use crate::store::index_writer::{self, Entry};
use crate::store::layout::FileRecord;
use crate::store::{Journal, index};
use crate::sys::{MappedFile, crash};

/// What to harvest, and where to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of all channels.
    pub live: PathBuf,
    pub channel: String,
    /// Since 1970. The segments that any of it lies in are taken whole.
    pub start: Duration,
    pub end: Duration,
    /// The library's directory; created if it is missing. On the same file system as `live`.
    pub library: PathBuf,
    pub asset: String,
    /// Seconds since 1970: when a version that this one replaces was replaced.
    pub now: u64,
}

/// What became of it.
#[derive(Debug)]
pub struct Summary {
    pub published: Published,
    pub version: Version,
    pub tracks: Vec<Track>,
    /// Where it begins on the channel, since 1970.
    pub start: Duration,
    pub duration: Duration,
    /// Of media, none of it copied.
    pub bytes: u64,
}

/// Every text is one line.
#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Folder(#[from] folder::Error),
    #[error(transparent)]
    Channel(#[from] channel_dir::Error),
    #[error(transparent)]
    Container(#[from] isobmff::Error),
    #[error(transparent)]
    Codec(#[from] codec::Error),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: another file system than the library; a harvest links files, and has to be on the same")]
    OtherFileSystem { path: PathBuf },
    #[error("{live}: there is no channel {channel}")]
    NoChannel { live: PathBuf, channel: String },
    #[error("channel {channel}: nothing was recorded between {} s and {} s", .start.as_secs(), .end.as_secs())]
    Nothing { channel: String, start: Duration, end: Duration },
    #[error("end is {} s since 1970, which is not after start, {} s", .end.as_secs_f64(), .start.as_secs_f64())]
    Order { start: Duration, end: Duration },
    #[error(
        "channel {channel}, track {track}: its format changes at {} s; harvest what is before and what is after separately",
        .at.as_secs_f64()
    )]
    FormatChange { channel: String, track: String, at: Duration },
    #[error("{path}: segment {number} does not hold whole chunks; expected moof and mdat in turn")]
    Damaged { path: PathBuf, number: u64 },
    #[error("track {track}: {found} {what}, {max} at most")]
    TooMany { track: String, what: &'static str, found: usize, max: usize },
}

/// One track file of the channel, with the segments that are wanted of it.
struct Part {
    files: TrackFiles,
    map: MappedFile,
    init_size: u64,
    rows: Vec<SegmentRow>,
}

/// One track of the channel, within the stretch.
struct Recorded {
    name: String,
    kind: Kind,
    timescale: Timescale,
    parts: Vec<Part>,
}

/// Makes an asset of a stretch of a channel. On any error the library is as it was. Waits for the disk.
pub fn harvest(options: &Options) -> Result<Summary, Error> {
    folder::check_name(&options.asset)?;
    if options.end <= options.start {
        return Err(Error::Order { start: options.start, end: options.end });
    }
    let nothing = || Error::Nothing { channel: options.channel.clone(), start: options.start, end: options.end };
    let directory = ChannelDir::new(&options.live, &options.channel)?;
    if !directory.path().is_dir() {
        return Err(Error::NoChannel { live: options.live.clone(), channel: options.channel.clone() });
    }
    let mut recorded = read(&directory)?;
    let (first, next) = numbers(&recorded, options).ok_or_else(nothing)?;
    for track in &mut recorded {
        for part in &mut track.parts {
            part.rows.retain(|row| (first..next).contains(&row.number.get()));
        }
        track.parts.retain(|part| !part.rows.is_empty());
        check_format(&options.channel, track)?;
    }
    recorded.retain(|track| !track.parts.is_empty());
    check_count("tracks", &options.channel, recorded.len(), TRACKS_MAX)?;
    let (texts, recorded): (Vec<Recorded>, Vec<Recorded>) =
        recorded.into_iter().partition(|track| track.kind == Kind::Text);
    if recorded.is_empty() {
        return Err(nothing());
    }

    let folder = Folder::create(&options.library)?;
    let staging = folder.stage()?;
    let mut tracks =
        recorded.iter().map(|track| Harvested::read(track, first, &staging)).collect::<Result<Vec<_>, _>>()?;
    // As an import orders them.
    tracks.sort_by_key(|track| {
        let video = track.track.video().map_or((0, 0), |video| (video.height, video.width));
        (track.track.kind(), std::cmp::Reverse(video), track.recorded.name.clone())
    });
    let mut counts = [0; 2];
    for track in &mut tracks {
        let (letter, count) = if track.track.kind() == Kind::Video { ('v', 0) } else { ('a', 1) };
        counts[count] += 1;
        track.track.id = format!("{letter}{}", counts[count]);
    }
    let start = place(&mut tracks);
    tracks.iter().try_for_each(|track| track.link(&staging.content()))?;
    let texts: Vec<Text> =
        texts.iter().filter_map(|track| text::read(track, start).transpose()).collect::<Result<_, _>>()?;
    let named =
        |(number, text): (usize, Text)| Text { track: Track { id: format!("t{}", number + 1), ..text.track }, ..text };
    let texts: Vec<Text> = texts.into_iter().enumerate().map(named).collect();
    texts.iter().try_for_each(|text| write_text(&staging.content(), text))?;
    publish(options, &folder, staging, tracks, texts, start)
}

/// All that the channel has in complete segments.
fn read(directory: &ChannelDir) -> Result<Vec<Recorded>, Error> {
    let mut tracks: Vec<Recorded> = Vec::new();
    for files in directory.all_files()? {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { path, source }
        };
        // A file may leave the window at any time.
        let rows = match Journal::open(&files.journal) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            rows => rows.map_err(failed(&files.journal))?,
        };
        let map = match MappedFile::open(&files.media) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            map => map.map_err(failed(&files.media))?,
        };
        if rows.is_empty() {
            continue;
        }
        let init_size = chunk::header_len(map.bytes())?;
        let name = files.media.display().to_string();
        let movie = Movie::parse(&name, &map.bytes()[..init_size as usize])?;
        let timescale = movie.tracks()[0].timescale;
        let part = Part { init_size, rows, map, files };
        match tracks.last_mut().filter(|track| track.name == part.files.track) {
            Some(track) => track.parts.push(part),
            None => tracks.push(Recorded {
                name: part.files.track.clone(),
                kind: part.files.kind,
                timescale,
                parts: vec![part],
            }),
        }
    }
    Ok(tracks)
}

/// The segments that the stretch lies in, by the track that the others are cut like: the first one of video, else of audio.
fn numbers(tracks: &[Recorded], options: &Options) -> Option<(u64, u64)> {
    let reference = tracks.iter().min_by_key(|track| track.kind)?;
    let scale = reference.timescale;
    let begin = |row: &SegmentRow| scale.duration(Ticks(row.time.get() as i64));
    let end = |row: &SegmentRow| scale.duration(Ticks(row.time.get().saturating_add(row.duration.get().into()) as i64));
    let rows = reference.parts.iter().flat_map(|part| &part.rows);
    let wanted = rows.filter(|row| end(row) > options.start && begin(row) < options.end).map(|row| row.number.get());
    let (first, last) = wanted.fold((u64::MAX, 0), |(first, last), number| (first.min(number), last.max(number)));
    (first <= last).then(|| (first, last.saturating_add(1)))
}

fn check_count(what: &'static str, track: &str, found: usize, max: usize) -> Result<(), Error> {
    if found <= max { Ok(()) } else { Err(Error::TooMany { track: track.to_owned(), what, found, max }) }
}

/// One initialisation segment stands for all files.
fn check_format(channel: &str, track: &Recorded) -> Result<(), Error> {
    check_count("files", &track.name, track.parts.len(), TRACK_FILES_MAX)?;
    let Some(first) = track.parts.first() else { return Ok(()) };
    match track.parts.iter().find(|part| part.init() != first.init()) {
        None => Ok(()),
        Some(part) => Err(Error::FormatChange {
            channel: channel.to_owned(),
            track: track.name.clone(),
            at: track.timescale.duration(Ticks(part.rows[0].time.get() as i64)),
        }),
    }
}

impl Part {
    fn init(&self) -> &[u8] {
        &self.map.bytes()[..self.init_size as usize]
    }
}

/// A track of the asset.
struct Harvested<'a> {
    recorded: &'a Recorded,
    track: Track,
    fragments: Vec<Fragment>,
    sample_count: u32,
    samples: File,
    /// Of the first sample that is shown, on the clock of the channel.
    start: Ticks,
}

impl<'a> Harvested<'a> {
    fn read(recorded: &'a Recorded, first: u64, staging: &Staging) -> Result<Harvested<'a>, Error> {
        let part = &recorded.parts[0];
        let name = part.files.media.display().to_string();
        let movie = Movie::parse(&name, part.init())?;
        let source = &movie.tracks()[0];
        let shift = i32::try_from(source.edit.media_start).unwrap_or(0);
        let spool_path = staging.path().join(format!("{}.samples", recorded.name));
        let failed = |error| Error::from(folder::Error::io("write", &spool_path, error));
        let spool = File::options().read(true).write(true).create_new(true).open(&spool_path).map_err(failed)?;
        // It lives as long as it is open, and leaves nothing behind.
        fs::remove_file(&spool_path).map_err(failed)?;
        let mut spool = BufWriter::with_capacity(1 << 16, spool);
        let (mut fragments, mut sample_count, mut description) = (Vec::new(), 0_u32, None);
        let (mut length, mut start) = (0_u64, None);
        let mut captions = captions::Found::default();
        for (file, part) in recorded.parts.iter().enumerate() {
            for row in &part.rows {
                let slot = (row.number.get() - first) as u32;
                let mut at = row.offset.get();
                while at < row.end_offset() {
                    let whole = Chunk::read(part.map.bytes(), at).ok().filter(|chunk| chunk.end() <= row.end_offset());
                    let damaged = || Error::Damaged { path: part.files.media.clone(), number: row.number.get() };
                    let chunk = whole.ok_or_else(damaged)?;
                    for sample in chunk.samples() {
                        let offset = sample.composition_offset.get().saturating_sub(shift);
                        start.get_or_insert(Ticks(chunk.time.0.saturating_add(offset.into())));
                        let sample = Sample { composition_offset: offset.into(), ..sample };
                        spool.write_all(sample.as_bytes()).map_err(failed)?;
                    }
                    // Lies beside the header that was read; the others would have to be read from the disk.
                    let bytes = chunk.first_sample;
                    if description.is_none() {
                        let entry = source.sample_entry;
                        description = Some(codec::describe(&name, entry.bytes, entry.offset, bytes)?);
                    }
                    if let Some(description) = &description {
                        description.read_captions(bytes, &mut captions);
                    }
                    let begins = at == row.offset.get();
                    fragments.push(Fragment {
                        offset: at.into(),
                        decode_time: (chunk.time.0 as u64).into(),
                        duration: chunk.duration.into(),
                        size: u32::try_from(chunk.size).map_err(|_| damaged())?.into(),
                        media_offset: chunk.media_offset.into(),
                        // The first picture of a segment that begins with none to start at is no key frame.
                        key_frame_size: if begins && !row.is_independent() { 0 } else { bytes.len() as u32 }.into(),
                        first_sample: sample_count.into(),
                        sample_count: chunk.sample_count.into(),
                        slot: slot.into(),
                        start: (match (begins, row.is_independent()) {
                            (false, _) => Start::Continued,
                            (true, true) => Start::Closed,
                            (true, false) => Start::Open,
                        } as u32)
                            .into(),
                        file: (file as u32).into(),
                    });
                    length += chunk.duration;
                    sample_count = sample_count.checked_add(chunk.sample_count).ok_or_else(damaged)?;
                    at = chunk.end();
                }
            }
        }
        let mut description: Description = description
            .ok_or_else(|| Error::Damaged { path: part.files.media.clone(), number: part.rows[0].number.get() })?;
        if let Details::Video(video) = &mut description.details {
            video.frame_rate = frame_rate(u64::from(sample_count), length, recorded.timescale);
            video.captions = captions.captions();
        }
        let mut samples = spool.into_inner().map_err(|error| failed(error.into_error()))?;
        samples.rewind().map_err(failed)?;
        let track = Track {
            id: String::new(),
            timescale: recorded.timescale,
            codec: description.codec,
            language: source.language.clone(),
            name: source.name.clone(),
            role: Role::Main,
            presentation_offset: Ticks(0),
            details: description.details,
        };
        Ok(Harvested { recorded, track, fragments, sample_count, samples, start: start.unwrap_or_default() })
    }

    /// Links the files, after what is wanted of them is on the disk.
    fn link(&self, content: &Path) -> Result<(), Error> {
        for (number, part) in self.recorded.parts.iter().enumerate() {
            let path = &part.files.media;
            let failed = |source: io::Error| match source.kind() {
                io::ErrorKind::CrossesDevices => Error::OtherFileSystem { path: path.clone() },
                _ => Error::Io { path: path.clone(), source },
            };
            File::open(path).and_then(|file| file.sync_data()).map_err(failed)?;
            fs::hard_link(path, content.join(recorded_file_name(&self.track, number))).map_err(failed)?;
            crash::point("recording linked");
        }
        Ok(())
    }

    fn files(&self) -> Vec<FileRecord> {
        let record = |part: &Part| FileRecord {
            size: part.rows.last().map_or(0, SegmentRow::end_offset).into(),
            digest: blake3::hash(part.init()).into(),
        };
        self.recorded.parts.iter().map(record).collect()
    }

    fn bytes(&self) -> u64 {
        self.fragments.iter().map(|fragment| u64::from(fragment.size.get())).sum()
    }
}

/// The most usual rate: samples by time, which is exact where all last equally long; otherwise rounded to 1/1000.
fn frame_rate(samples: u64, length: u64, timescale: Timescale) -> (u32, u32) {
    let scale = u64::from(timescale.per_second());
    let (mut num, mut den) = (samples.saturating_mul(scale), length.max(1));
    let (mut a, mut b) = (num, den);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    (num, den) = (num / a.max(1), den / a.max(1));
    match (u32::try_from(num), u32::try_from(den)) {
        (Ok(num), Ok(den)) if den <= 1_001 && num > 0 => (num, den),
        _ => {
            let milli = u128::from(samples) * u128::from(scale) * 1_000 / u128::from(length.max(1));
            (u32::try_from(milli).unwrap_or(u32::MAX).max(1), 1_000)
        }
    }
}

/// Puts presentation time 0 where the first thing is shown. Returns when that was.
fn place(tracks: &mut [Harvested<'_>]) -> Duration {
    let seconds = |track: &Harvested<'_>| {
        i128::from(track.start.0) * 1_000_000_000 / i128::from(track.track.timescale.per_second())
    };
    let Some(zero) = tracks.iter().min_by_key(|track| seconds(track)).map(|track| (track.start, track.track.timescale))
    else {
        return Duration::ZERO;
    };
    for track in tracks {
        let offset = rescale_nearest(zero.0, zero.1, track.track.timescale).unwrap_or_default();
        track.track.presentation_offset = Ticks(-offset.0);
    }
    zero.1.duration(zero.0)
}

fn publish(
    options: &Options,
    folder: &Folder,
    staging: Staging,
    tracks: Vec<Harvested<'_>>,
    texts: Vec<Text>,
    start: Duration,
) -> Result<Summary, Error> {
    let files: Vec<Vec<FileRecord>> = tracks.iter().map(Harvested::files).collect();
    let mut entries: Vec<Entry<'_>> = tracks
        .iter()
        .zip(&files)
        .map(|(track, files)| Entry {
            track: &track.track,
            file_size: files[0].size.get(),
            init_size: track.recorded.parts[0].init_size as u32,
            digest: files[0].digest,
            fragments: &track.fragments,
            samples: Box::new(&track.samples),
            sample_count: track.sample_count,
            cues: &[],
            files,
        })
        .chain(texts.iter().map(Text::entry))
        .collect();
    let path = staging.content().join(index::FILE_NAME);
    let digest =
        index_writer::write(&path, &mut entries, None).map_err(|error| folder::Error::io("write", &path, error))?;
    crash::point("index written");
    drop(entries);
    for part in tracks.iter().flat_map(|track| &track.recorded.parts) {
        if part.map.is_damaged() {
            let source = io::Error::other("was truncated while it was read");
            return Err(Error::Io { path: part.files.media.clone(), source });
        }
    }
    let version = Version::of(&digest);
    let published = folder.publish(staging, &options.asset, version, options.now)?;
    let duration = tracks.iter().filter_map(|track| {
        let end = track.fragments.last()?.decode_end().0;
        Some(track.track.timescale.duration(Ticks(end + track.track.presentation_offset.0)))
    });
    Ok(Summary {
        published,
        version,
        start,
        duration: duration.max().unwrap_or_default(),
        bytes: tracks.iter().map(Harvested::bytes).sum(),
        tracks: tracks.into_iter().map(|track| track.track).chain(texts.into_iter().map(|text| text.track)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Asset;
    use super::*;
    use crate::media::isobmff::write::{self, Header, fragment_header};

    /// 2026-05-01T20:00:00Z, in slots of 2 s.
    const FIRST: u64 = 1_777_665_600 / 2;

    fn init(language: &str) -> Vec<u8> {
        let mut entry = b"\0\0\0\x37Opus\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\x02\0\x10\0\0\0\0\xbb\x80\0\0".to_vec();
        entry.extend_from_slice(b"\0\0\0\x13dOps\0\x02\x01\x38\0\0\xbb\x80\0\0\0");
        write::header(&Header {
            default_duration: 960,
            ..Header::new(Kind::Audio, Timescale::new(48_000).unwrap(), &entry, language)
        })
    }

    /// Segments of 2 s in two chunks each, in a file of their own every four.
    fn record(directory: &ChannelDir, track: &str, segments: u64, init_of: impl Fn(u64) -> Vec<u8>) {
        directory.create_track(track).unwrap();
        for first in (0..segments).step_by(4) {
            let files = directory.files(track, FIRST + first, Kind::Audio).unwrap();
            let mut media = init_of(first);
            let journal = Journal::create(&files.journal).unwrap();
            for number in first..segments.min(first + 4) {
                let (offset, time) = (media.len(), (FIRST + number) * 96_000);
                for part in 0..2 {
                    let sample = Sample {
                        size: 100.into(),
                        duration: 960.into(),
                        flags: 0x0200_0000.into(),
                        ..Default::default()
                    };
                    fragment_header(number as u32, time + part * 48_000, &[sample; 50], &mut media).unwrap();
                    media.extend(std::iter::repeat_n(number as u8 + 1, 5_000));
                }
                let row = SegmentRow {
                    number: (FIRST + number).into(),
                    offset: (offset as u64).into(),
                    time: time.into(),
                    size: ((media.len() - offset) as u32).into(),
                    duration: 96_000.into(),
                    start: SegmentRow::start_of(true, 0).into(),
                    ..SegmentRow::default()
                };
                journal.append(row).unwrap();
            }
            // And half a chunk of the next.
            media.extend_from_slice(b"\0\0\x02\0moof");
            fs::write(&files.media, media).unwrap();
        }
    }

    fn options(root: &Path, start: f64, end: f64) -> Options {
        let at = |seconds: f64| Duration::from_secs(FIRST * 2) + Duration::from_secs_f64(seconds);
        Options {
            live: root.join("live"),
            channel: "news".into(),
            start: at(start),
            end: at(end),
            library: root.join("library"),
            asset: "evening".into(),
            now: 0,
        }
    }

    #[test]
    fn a_stretch_over_several_files_is_an_asset_that_begins_at_zero() {
        let root = tempfile::tempdir().unwrap();
        let directory = ChannelDir::new(&root.path().join("live"), "news").unwrap();
        let _held = directory.hold().unwrap();
        record(&directory, "a1", 11, |_| init("en"));
        record(&directory, "commentary", 11, |_| init("de"));
        // From within segment 2 to the very end of segment 9.
        let options = options(root.path(), 5.5, 20.0);
        let summary = harvest(&options).unwrap();
        assert_eq!((summary.published, summary.tracks.len()), (Published::Added, 2));
        assert_eq!((summary.start.as_secs(), summary.duration.as_secs()), (FIRST * 2 + 4, 16));
        let path = options.library.join("evening").join(summary.version.as_str());
        let asset = Asset::open(&path, Duration::from_secs(4), summary.version).unwrap();
        let presentation = asset.presentation();
        assert_eq!(presentation.duration, Duration::from_secs(16));
        for view in &presentation.tracks {
            assert_eq!((view.files.len(), view.time_offset.0 as u64), (3, (FIRST + 2) * 96_000));
            let segments: Vec<_> = view.segments().collect();
            // About 4 s, but never over the end of a file.
            let lengths: Vec<(u32, i64)> = segments.iter().map(|part| (part.file, part.duration.0 / 48_000)).collect();
            assert_eq!(lengths, [(0, 4), (1, 4), (1, 4), (2, 4)]);
            assert!(view.is_independent());
            for segment in &segments {
                assert_eq!(view.segment_at(segment.time).as_ref(), Some(segment));
                let extent = view.extent_of(segment.file, segment.bytes.clone());
                let bytes = extent.file.mapped().unwrap();
                let mut at = extent.offset;
                while at < extent.end() {
                    at = Chunk::read(bytes, at).unwrap().end();
                }
                assert_eq!(at, extent.end());
            }
        }
        // The channel goes on without them: the asset keeps its files.
        fs::remove_dir_all(&options.live).unwrap();
        assert!(Asset::open(&path, Duration::from_secs(4), summary.version).is_ok());
    }

    /// A cue a second, of which every other goes on into the next segment of 2 s.
    fn record_text(directory: &ChannelDir, segments: u64) {
        directory.create_track("subtitles").unwrap();
        let files = directory.files("subtitles", FIRST, Kind::Text).unwrap();
        let mut entry = Vec::new();
        write::boxed(&mut entry, b"wvtt", |out| {
            out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
            write::boxed(out, b"vttC", |out| out.extend_from_slice(b"WEBVTT"));
        });
        let mut media = write::header(&Header::new(Kind::Text, Timescale::MILLIS, &entry, "fr"));
        let journal = Journal::create(&files.journal).unwrap();
        for number in 0..segments {
            let (offset, time) = (media.len(), (FIRST + number) * 2_000);
            let mut cues = [number, number + 1].map(|said| {
                let mut cue = Vec::new();
                write::boxed(&mut cue, b"vttc", |out| {
                    write::boxed(out, b"payl", |out| out.extend_from_slice(format!("cue {said}").as_bytes()));
                });
                cue
            });
            if number == 4 {
                cues[1] = b"\0\0\0\x08vtte".to_vec();
            }
            let samples = cues.each_ref().map(|cue| Sample {
                size: (cue.len() as u32).into(),
                duration: 1_000.into(),
                flags: 0x0200_0000.into(),
                ..Sample::default()
            });
            fragment_header(1, time, &samples, &mut media).unwrap();
            cues.iter().for_each(|cue| media.extend_from_slice(cue));
            let row = SegmentRow {
                number: (FIRST + number).into(),
                offset: (offset as u64).into(),
                time: time.into(),
                size: ((media.len() - offset) as u32).into(),
                duration: 2_000.into(),
                start: SegmentRow::start_of(true, 0).into(),
                ..SegmentRow::default()
            };
            journal.append(row).unwrap();
        }
        fs::write(&files.media, media).unwrap();
    }

    #[test]
    fn text_becomes_a_file_that_counts_from_the_beginning() {
        let root = tempfile::tempdir().unwrap();
        let directory = ChannelDir::new(&root.path().join("live"), "news").unwrap();
        let _held = directory.hold().unwrap();
        record(&directory, "a1", 8, |_| init("en"));
        record_text(&directory, 8);
        let options = options(root.path(), 4.0, 12.0);
        let summary = harvest(&options).unwrap();
        assert_eq!(summary.tracks.iter().map(|track| track.id.as_str()).collect::<Vec<_>>(), ["a1", "t1"]);
        let path = options.library.join("evening").join(summary.version.as_str());
        let words = [(0, 1, 2), (1, 3, 3), (3, 5, 4), (6, 7, 5), (7, 8, 6)]
            .map(|(start, end, said)| format!("00:00:0{start}.000 --> 00:00:0{end}.000\ncue {said}\n\n"));
        assert_eq!(fs::read_to_string(path.join("t1.vtt")).unwrap(), format!("WEBVTT\n\n{}", words.concat()));
        let asset = Asset::open(&path, Duration::from_secs(4), summary.version).unwrap();
        let track = asset.track("t1").unwrap();
        assert_eq!((track.track.language.as_str(), track.cues.len()), ("fr", 5));
    }

    #[test]
    fn what_cannot_be_harvested_is_refused_and_leaves_the_library_as_it_was() {
        let root = tempfile::tempdir().unwrap();
        let directory = ChannelDir::new(&root.path().join("live"), "news").unwrap();
        let _held = directory.hold().unwrap();
        record(&directory, "a1", 8, |first| init(if first == 0 { "en" } else { "de" }));
        let whole = options(root.path(), 0.0, 16.0);
        let error = harvest(&whole).unwrap_err().to_string();
        let at = FIRST * 2 + 8;
        assert!(error.contains(&format!("track a1: its format changes at {at} s")), "{error}");
        assert!(!whole.library.join("evening").exists());
        assert!(harvest(&options(root.path(), 0.0, 8.0)).is_ok());
        assert!(matches!(harvest(&options(root.path(), 16.0, 20.0)), Err(Error::Nothing { .. })));
        assert!(matches!(harvest(&options(root.path(), 8.0, 8.0)), Err(Error::Order { .. })));
        let missing = Options { channel: "sport".into(), ..whole.clone() };
        assert!(matches!(harvest(&missing), Err(Error::NoChannel { .. })));
        // A chunk that is not one.
        let files = &directory.all_files().unwrap()[1];
        let mut bytes = fs::read(&files.media).unwrap();
        let moof = bytes.windows(4).position(|window| window == b"moof").unwrap();
        bytes[moof] = 0;
        fs::write(&files.media, bytes).unwrap();
        assert!(matches!(harvest(&options(root.path(), 8.0, 16.0)), Err(Error::Damaged { .. })));
    }
}
