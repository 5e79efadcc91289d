//! What an import would make of one source file, without making it.

use std::path::Path;
use std::time::Duration;

use super::alignment::{self, Rendition};
use super::candidate::Candidate;
use super::gather::{Gathered, gather};
use super::text::Text;
use super::{Error, Event, Input};
use crate::base::Ticks;
use crate::media::Track;
use crate::media::fragment::Start;
use crate::media::isobmff::Movie;
use crate::media::track::Kind;

/// How a source keeps its media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Fragmented,
    Progressive,
    /// In another container, which import rewrites.
    Rewritten,
}

/// A source file, in facts.
#[derive(Debug)]
pub struct Examined {
    pub form: Form,
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
    /// Reads whatever import takes. What import would rewrite is rewritten to a nameless file in the directory for such.
    pub fn read(path: &Path) -> Result<Examined, Error> {
        let input = Input { path: path.to_owned(), labels: Default::default(), audio: Vec::new() };
        let mut notes = Vec::new();
        let mut report = |event: Event<'_>| {
            if let Event::Note(text) = event {
                notes.push(text.to_owned());
            }
        };
        let mut place = || Ok(std::env::temp_dir());
        let Gathered { sources, mut texts, cues, .. } = gather(&[input], &mut place, &|| Ok(()), &mut report)?;
        let (mut candidates, mut movies) = (Vec::new(), Vec::new());
        let mut form = Form::Rewritten;
        for (number, source) in sources.iter().enumerate() {
            let movie = Movie::parse(&source.name, source.map.bytes())?;
            if source.rewritten.is_none() {
                form = if movie.is_fragmented() { Form::Fragmented } else { Form::Progressive };
            }
            candidates.extend(Candidate::all(number, source, &movie, &mut report)?);
            movies.push(movie);
        }
        let zeros = super::place(&mut candidates)?;
        Text::gather(&mut texts, cues, &sources, &movies, &zeros, &mut report)?;
        let many = sources.iter().any(|source| source.given > 0);
        let renditions: Vec<Rendition<'_>> =
            candidates.iter().filter(|track| track.kind() == Kind::Video).map(Candidate::rendition).collect();
        Ok(Examined {
            form,
            common: alignment::common(&renditions).map(|common| common.len()).map_err(|error| error.to_string()),
            tracks: candidates
                .iter()
                .map(|track| ExaminedTrack::of(track, many))
                .chain(texts.iter().map(Text::examined))
                .collect(),
            notes,
        })
    }
}

impl ExaminedTrack {
    /// Of one of many sources, the name says more than the number.
    fn of(candidate: &Candidate<'_>, many: bool) -> ExaminedTrack {
        let timeline = &candidate.timeline;
        let nanos = |nanos: i64| Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
        let late = timeline.nanos(timeline.delay);
        ExaminedTrack {
            track: candidate.track(if many { candidate.label.clone() } else { candidate.id.to_string() }),
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
