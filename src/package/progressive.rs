//! Progressive MP4: one file of some tracks that any player and any download takes.
//!
//! The header is made of the sample tables, and the media are extents of the stored track files, without the `moof` and `mdat`
//! headers between them, interleaved by segment.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use crate::base::limits::PROGRESSIVE_HEAD_BYTES_MAX;
use crate::base::payload::Body;
use crate::base::{Extent, Payload, Piece, Timescale};
use crate::media::isobmff;
use crate::media::isobmff::write::{MovieChunk, MovieTrack, movie};
use crate::media::{Kind, Presentation, Track, TrackView};

/// Where everything is in the file. Holds no file open.
#[derive(Debug)]
pub struct Movie {
    head: Bytes,
    /// In order, right behind each other from the end of the head on.
    runs: Vec<Run>,
    /// Ids.
    tracks: Vec<String>,
    has_video: bool,
}

/// The media of one fragment.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// In the progressive file.
    end: u64,
    /// In the stored file.
    offset: u64,
    len: u32,
    file: u32,
    track: u16,
}

/// Why there is no such file.
#[derive(Debug, Error)]
pub enum Error {
    #[error("a head of up to {bytes} bytes, {PROGRESSIVE_HEAD_BYTES_MAX} allowed: too long for one file")]
    TooLong { bytes: u64 },
    #[error("the header of {track} is not in memory")]
    Unmapped { track: String },
    #[error("the stored header of {track}: {source}")]
    Header { track: String, source: isobmff::Error },
}

/// What anybody expects of a file: the first video and the first audio.
pub fn default_tracks(presentation: &Presentation<'_>) -> Vec<String> {
    let first = |kind| presentation.of_kind(kind).next().map(|view| view.track.id.clone());
    [first(Kind::Video), first(Kind::Audio)].into_iter().flatten().collect()
}

impl Movie {
    /// Of all tracks of the presentation that have samples. Reads their headers and sample tables: may wait for the disk, and
    /// takes some milliseconds for each hour.
    pub fn new(presentation: &Presentation<'_>) -> Result<Movie, Error> {
        /// Of a sample: its size, and rows of durations, composition offsets and key frames where no two are alike.
        const SAMPLE_BYTES: u64 = 4 + 8 + 8 + 4;
        const FRAGMENT_BYTES: u64 = 12 + 8;
        let views: Vec<TrackView<'_>> =
            presentation.tracks.iter().filter(|view| !view.fragments.is_empty()).copied().collect();
        let rows =
            |view: &TrackView<'_>| view.fragments.iter().map(|row| u64::from(row.sample_count.get())).sum::<u64>();
        let bytes =
            views.iter().map(|view| rows(view) * SAMPLE_BYTES + view.fragments.len() as u64 * FRAGMENT_BYTES).sum();
        if bytes > PROGRESSIVE_HEAD_BYTES_MAX {
            return Err(Error::TooLong { bytes });
        }
        let mut tracks: Vec<MovieTrack<'_>> = Vec::with_capacity(views.len());
        for view in &views {
            let kind = view.track.kind();
            let file = view.files[0].mapped().and_then(|file| file.get(..view.init_size as usize));
            tracks.push(MovieTrack {
                header: file.ok_or_else(|| Error::Unmapped { track: view.track.id.clone() })?,
                timescale: view.track.timescale,
                clock: clock(view.track),
                fragments: view.fragments,
                samples: view.samples,
                presentation_offset: view.presentation_offset(),
                reorder: view.reorder,
                enabled: views
                    .iter()
                    .find(|other| other.track.kind() == kind)
                    .is_some_and(|first| first.track.id == view.track.id),
                alternate_group: if kind == Kind::Video { 1 } else { 2 },
            });
        }
        let runs = runs(&views);
        let chunks: Vec<MovieChunk> =
            runs.iter().map(|run| MovieChunk { track: usize::from(run.track), bytes: u64::from(run.len) }).collect();
        let head = movie(&tracks, &chunks).map_err(|source| Error::Header {
            track: views.iter().map(|view| view.track.id.as_str()).collect::<Vec<_>>().join(","),
            source,
        })?;
        let start = head.len() as u64;
        Ok(Movie {
            head: Bytes::from(head),
            runs: runs.into_iter().map(|run| Run { end: run.end + start, ..run }).collect(),
            tracks: views.iter().map(|view| view.track.id.clone()).collect(),
            has_video: views.iter().any(|view| view.track.kind() == Kind::Video),
        })
    }

    /// RFC 4337 §2.
    pub fn content_type(&self) -> &'static str {
        if self.has_video { "video/mp4" } else { "audio/mp4" }
    }

    /// Ids, in the order of the presentation.
    pub fn tracks(&self) -> &[String] {
        &self.tracks
    }

    /// In memory, in bytes.
    pub fn weight(&self) -> u64 {
        (self.head.len() + self.runs.len() * size_of::<Run>() + 256) as u64
    }

    /// The file itself: `views` are those of [`Movie::tracks`].
    pub fn over<'m>(&'m self, views: Vec<TrackView<'m>>) -> File<'m> {
        File { movie: self, views }
    }
}

/// What a track's time is counted in: sound in its samples, because readers take what an edit list hides of it for a number of
/// samples (FFmpeg's does). HE-AAC's rate may be half of what is heard.
fn clock(track: &Track) -> Timescale {
    let rate = track.audio().map_or(0, |audio| audio.sample_rate);
    let ticks = track.timescale.per_second();
    match Timescale::new(rate) {
        Some(samples) if rate != ticks && rate / 2 != ticks => samples,
        _ => track.timescale,
    }
}

/// By segment, and in a segment by track.
fn runs(views: &[TrackView<'_>]) -> Vec<Run> {
    let mut runs = Vec::with_capacity(views.iter().map(|view| view.fragments.len()).sum());
    let mut segments: Vec<_> = views.iter().map(|view| view.segments().peekable()).collect();
    let mut end = 0;
    while let Some(number) = segments.iter_mut().filter_map(|track| track.peek().map(|next| next.number)).min() {
        for (track, (segments, view)) in segments.iter_mut().zip(views).enumerate() {
            let Some(segment) = segments.next_if(|next| next.number == number) else { continue };
            for row in &view.fragments[segment.fragments.start as usize..segment.fragments.end as usize] {
                let len = row.size.get().saturating_sub(row.media_offset.get());
                end += u64::from(len);
                let offset = row.offset.get() + u64::from(row.media_offset.get());
                runs.push(Run { end, offset, len, file: row.file.get(), track: track as u16 });
            }
        }
    }
    runs
}

/// A [`Movie`] and the files that it is made of.
pub struct File<'m> {
    movie: &'m Movie,
    views: Vec<TrackView<'m>>,
}

impl Body for File<'_> {
    fn len(&self) -> u64 {
        self.movie.runs.last().map_or(self.movie.head.len() as u64, |last| last.end)
    }

    fn slice(&self, range: Range<u64>) -> Payload {
        let head = self.movie.head.len() as u64;
        let mut pieces = Vec::new();
        if range.start < head.min(range.end) {
            pieces.push(Piece::Inline(self.movie.head.slice(range.start as usize..range.end.min(head) as usize)));
        }
        let first = self.movie.runs.partition_point(|run| run.end <= range.start);
        for run in &self.movie.runs[first..] {
            let start = run.end - u64::from(run.len);
            if start >= range.end {
                break;
            }
            let (from, to) = (range.start.max(start), range.end.min(run.end));
            let file = self.views.get(usize::from(run.track)).and_then(|view| view.files.get(run.file as usize));
            let Some(file) = file.filter(|_| from < to) else { continue };
            let extent = Extent { file: Arc::clone(file), offset: run.offset + (from - start), len: to - from };
            pieces.push(Piece::Extent(extent));
        }
        Payload::from(pieces)
    }
}
