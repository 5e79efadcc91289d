//! Matroska and WebM files.

use super::{Clock, Error, Spools};
use crate::library::import::candidate::SourceFile;
use crate::library::import::cues::{Found, TimedCue};
use crate::library::import::input::Labels;
use crate::library::import::{self, Event as Said, Report};
use crate::media::matroska::{Demuxer, TextTrack};

/// Bytes after which progress is told.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Takes a whole file apart; its subtitles are returned.
pub fn matroska(
    source: &SourceFile,
    spools: &mut Spools<'_>,
    report: Report<'_>,
    progress: &mut dyn FnMut(u64, Report<'_>) -> Result<(), import::Error>,
) -> Result<Vec<Found>, import::Error> {
    let mut demuxer = Demuxer::open(&source.name, source.map.bytes()).map_err(Error::from)?;
    let mut events = Vec::new();
    let mut told = 0;
    loop {
        let goes_on = demuxer.step(&mut events).map_err(Error::from)?;
        events.drain(..).try_for_each(|event| spools.take(event))?;
        demuxer.notes().iter().for_each(|note| report(Said::Note(note)));
        let position = demuxer.position();
        if !goes_on || position - told >= PROGRESS_BYTES {
            progress(position.saturating_sub(told), report)?;
            told = position;
        }
        if !goes_on {
            break;
        }
    }
    demuxer.presented().for_each(|(track, start, end)| spools.present(track, start, end));
    let found = |text: TextTrack| Found {
        name: format!("{} track {}", source.name, text.key + 1),
        labels: source.input.labels.clone().or(&Labels {
            language: Some(text.language),
            name: text.name,
            role: Some(text.role),
        }),
        clock: Clock::Presentation,
        cues: text
            .cues
            .into_iter()
            .map(|cue| TimedCue { start: cue.start, end: cue.end, settings: cue.settings, text: cue.text })
            .collect(),
    };
    Ok(demuxer.texts().into_iter().map(found).collect())
}
