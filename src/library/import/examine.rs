//! What an import would make of one source file, without making it.

use std::path::Path;
use std::time::Duration;

use super::alignment::{self, Rendition};
use super::candidate::{Candidate, SourceFile};
use super::text::Text;
use super::{Error, Event, Input};
use crate::base::Ticks;
use crate::media::Track;
use crate::media::fragment::Start;
use crate::media::isobmff::Movie;
use crate::media::track::Kind;

/// A source file, in facts.
#[derive(Debug)]
pub struct Examined {
    pub fragmented: bool,
    pub tracks: Vec<ExaminedTrack>,
    /// What would be left out, and why.
    pub notes: Vec<String>,
    /// Key frames common to all video tracks, or why they do not make one presentation.
    pub common: Result<usize, String>,
}

#[derive(Debug)]
pub struct ExaminedTrack {
    /// Its `id` is that of the source.
    pub track: Track,
    pub samples: u32,
    pub bytes: u64,
    /// Presented length, and how much later than the earliest track it starts.
    pub duration: Duration,
    pub late: Duration,
    pub priming: Duration,
    /// Presentation times of what decoding can start at, in nanoseconds; empty unless video.
    pub key_frames: Vec<i64>,
    /// How many of them begin open groups of pictures.
    pub open_starts: usize,
}

impl Examined {
    /// Reads an MP4, MOV or CMAF file.
    pub fn read(path: &Path) -> Result<Examined, Error> {
        let source = SourceFile::open(path)?;
        let movie = Movie::parse(&source.name, source.map.bytes())?;
        let input = Input { path: path.to_owned(), labels: Default::default(), audio: Vec::new() };
        let mut notes = Vec::new();
        let mut candidates = Candidate::all(0, &source, &movie, &input, &mut |event| {
            if let Event::Note(text) = event {
                notes.push(text.to_owned());
            }
        })?;
        let zero = super::place(&mut candidates)?;
        let texts = Text::all(&source, &movie, zero, &mut |event| {
            if let Event::Note(text) = event {
                notes.push(text.to_owned());
            }
        });
        let renditions: Vec<Rendition<'_>> =
            candidates.iter().filter(|track| track.kind() == Kind::Video).map(Candidate::rendition).collect();
        Ok(Examined {
            fragmented: movie.is_fragmented(),
            common: alignment::common(&renditions).map(|common| common.len()).map_err(|error| error.to_string()),
            tracks: candidates.iter().map(ExaminedTrack::of).chain(texts.iter().map(Text::examined)).collect(),
            notes,
        })
    }
}

impl ExaminedTrack {
    fn of(candidate: &Candidate<'_>) -> ExaminedTrack {
        let timeline = &candidate.timeline;
        let nanos = |nanos: i64| Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
        let late = timeline.nanos(timeline.delay);
        ExaminedTrack {
            track: candidate.track(candidate.source.id.to_string()),
            samples: timeline.sample_count(),
            bytes: timeline.bytes,
            duration: nanos(timeline.end_nanos().saturating_sub(late)),
            late: nanos(late),
            priming: timeline.timescale.duration(Ticks(timeline.priming)),
            key_frames: candidate.rendition().keys,
            open_starts: timeline.keys.iter().filter(|key| key.start == Start::Open).count(),
        }
    }
}
