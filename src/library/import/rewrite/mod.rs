//! Inputs that are not ISO BMFF, rewritten before anything else looks at them: each track becomes a nameless file of
//! fragmented MP4 in the staging directory, in one pass over the input, so that the rest of import knows one container.
//!
//! ```text
//! bytes of a file, or of a rendition's segments one after the other ([`pieces`])
//!   media::{mpegts,matroska}, media::isobmff::stream      feed events: tracks, samples
//!     → Spools → Spool (one a track)                      fragments of a megabyte or so
//!       → Rewritten                                       labels and times that the file itself does not say
//! ```
//!
//! Times stay those of the source's clock, with [`ZERO_SECS`] added so that none is negative. Memory holds a fragment for
//! each track, whatever the length of the input; the files vanish with the process.

mod joins;
mod matroska;
mod pieces;
mod spool;
mod transport;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error as ThisError;

use super::Error as ImportError;
use super::input::Labels;
use super::manifest::Shift;
use crate::base::limits::SUBTITLE_BYTES_MAX;
use crate::media::feed::{Event, TrackKey};
use crate::media::isobmff::Edit;
use crate::media::track::Kind;
use crate::media::{codec, matroska as media_matroska, mpegts};
use spool::Spool;

pub use joins::measure_joins;
pub use matroska::matroska;
pub use pieces::{pieces, texts};
pub use transport::transport;

/// Added to every time: more than the 33-bit clock of MPEG-2 can go back by, and whole seconds, so that it is exact in any
/// timescale.
pub const ZERO_SECS: i64 = 1 << 17;

/// What a track's file does not say of it.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// Of the source's tracks, from 1.
    pub id: u32,
    /// As the source has them.
    pub labels: Labels,
    pub edit: Edit,
    pub clock: Clock,
    /// Of the source's audio tracks, from 0.
    pub audio_number: usize,
}

/// What a source's times count from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The beginning of the presentation.
    #[default]
    Presentation,
    /// Anywhere: the clock of the encoder, which all its renditions share.
    Encoder,
}

/// A track that was rewritten.
pub struct Track {
    /// For messages: the source's name, and which of its tracks.
    pub name: String,
    pub file: File,
    pub rewritten: Rewritten,
}

/// Why an input cannot be rewritten. One line.
#[derive(Debug, ThisError)]
pub enum Error {
    #[error("{file}: byte {at}: {source}")]
    Transport { file: String, at: u64, source: mpegts::Error },
    #[error(
        "{track}: after {at:.3} s it goes on as {found}; expected {expected} to the end, since a track of an asset has one format"
    )]
    Changed { track: String, at: f64, found: String, expected: String },
    #[error("{track}: after {before:.3} s comes {found:.3} s; expected time to go on, as in one continuous recording")]
    Backwards { track: String, before: f64, found: f64 },
    #[error("{track}: a Period begins at {at:.3} s, inside of a group of pictures; expected a key frame there")]
    Inside { track: String, at: f64 },
    #[error("{track}: a sample at {found} ticks; expected a time less than {} s from 0", ZERO_SECS)]
    OutOfRange { track: String, found: i64 },
    #[error("{track}: a sample of {found} bytes; expected less than 4 GiB")]
    TooLarge { track: String, found: u64 },
    #[error("{file}: {reason}")]
    Piece { file: String, reason: String },
    #[error("{file}: byte {at}: found 0x{found}, expected a segment of MPEG-TS, fragmented MP4, WebM or packed audio")]
    Segment { file: String, at: u64, found: String },
    #[error("{file}: found {len} bytes, expected byte {} to {} in it, which the manifest names", .range.start, .range.end)]
    Range { file: String, range: Range<u64>, len: u64 },
    #[error("{name}: found more than {SUBTITLE_BYTES_MAX} bytes of subtitles, expected fewer")]
    Subtitles { name: String },
    #[error(transparent)]
    Matroska(#[from] media_matroska::Error),
    #[error(transparent)]
    Codec(#[from] codec::Error),
    #[error("{directory}: cannot write media that is being rewritten: {source}")]
    Write { directory: PathBuf, source: io::Error },
}

/// The tracks of one input, being written.
pub struct Spools<'a> {
    /// Where the files are made.
    directory: &'a Path,
    /// Of the input.
    name: &'a str,
    clock: Clock,
    tracks: BTreeMap<TrackKey, Spool>,
    /// Of what comes now, with its end.
    shift: (Shift, Option<i64>),
}

impl<'a> Spools<'a> {
    pub fn new(directory: &'a Path, name: &'a str, clock: Clock) -> Spools<'a> {
        let shift = (Shift { by: 0, from: None }, None);
        Spools { directory, name, clock, tracks: BTreeMap::new(), shift }
    }

    /// What comes next is on another clock, up to a time of the first one.
    pub fn join(&mut self, shift: Shift, to: Option<i64>) {
        self.shift = (shift, to);
        self.tracks.values_mut().for_each(|spool| spool.join(shift, to));
    }

    pub fn take(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Track { track, format } => match self.tracks.get_mut(&track) {
                Some(spool) => spool.go_on_as(format),
                None => {
                    let name = format!("{} track {}", self.name, track + 1);
                    let mut spool = Spool::create(self.directory, name, format)?;
                    spool.join(self.shift.0, self.shift.1);
                    self.tracks.insert(track, spool);
                    Ok(())
                }
            },
            Event::Sample { track, sample } => match self.tracks.get_mut(&track) {
                Some(spool) => spool.push(sample),
                None => Ok(()),
            },
            Event::Chunk { .. } | Event::Marker(_) | Event::End => Ok(()),
        }
    }

    /// Nothing of a track before `start` is presented, and nothing from `end` on, in its ticks.
    pub fn present(&mut self, track: TrackKey, start: i64, end: Option<i64>) {
        if let Some(spool) = self.tracks.get_mut(&track) {
            spool.present(start, end);
        }
    }

    /// Where the files are made.
    fn directory(&self) -> &'a Path {
        self.directory
    }

    /// Time 0 of the presentation is this time of the media.
    pub fn zero_at(&mut self, nanos: i64) {
        self.tracks.values_mut().for_each(|spool| spool.zero_at(nanos));
    }

    /// The presentation begins at this time of the media, and what is before it is hidden.
    pub fn begin_at(&mut self, nanos: i64) {
        self.tracks.values_mut().for_each(|spool| spool.begin_at(nanos));
    }

    /// The tracks in the order of their numbers.
    pub fn finish(self) -> Result<Vec<Track>, Error> {
        let mut audio_number = 0;
        self.tracks
            .into_iter()
            .map(|(key, spool)| {
                let number = audio_number;
                audio_number += usize::from(spool.kind() == Kind::Audio);
                spool.finish(key + 1, number, self.clock)
            })
            .collect()
    }
}

impl Error {
    /// A segment that its demuxer refuses; what it says may name another place than the file.
    fn in_piece(source: &super::candidate::SourceFile, error: impl std::fmt::Display) -> Error {
        Error::Piece { file: source.name.clone(), reason: error.to_string() }
    }
}

impl From<Error> for ImportError {
    fn from(error: Error) -> ImportError {
        match error {
            Error::Write { directory, source } => {
                super::folder::Error::io("write media that is being rewritten in", &directory, source).into()
            }
            other => ImportError::Rewrite(other),
        }
    }
}
