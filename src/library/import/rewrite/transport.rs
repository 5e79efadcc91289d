//! MPEG-TS files.

use super::{Error, Spools};
use crate::library::import::candidate::SourceFile;
use crate::library::import::{self, Event as Said, Report};
use crate::media::mpegts::{Demuxer, Notice};

/// Takes a whole file apart. `progress` is told how many bytes were read each time.
pub fn transport(
    source: &SourceFile,
    spools: &mut Spools<'_>,
    report: Report<'_>,
    progress: &mut dyn FnMut(u64, Report<'_>) -> Result<(), import::Error>,
) -> Result<(), import::Error> {
    let mut demuxer = Demuxer::default();
    let mut events = Vec::new();
    let mut at = 0;
    source.read(0..source.len(), &mut |bytes| {
        let pushed = demuxer.push(bytes, &mut events);
        events.drain(..).try_for_each(|event| spools.take(event))?;
        notes(&source.name, demuxer.notices(), report);
        pushed.map_err(|error| Error::Transport { file: source.name.clone(), at, source: error })?;
        at += bytes.len() as u64;
        progress(bytes.len() as u64, report)
    })?;
    let flushed = demuxer.flush(&mut events);
    events.drain(..).try_for_each(|event| spools.take(event))?;
    notes(&source.name, demuxer.notices(), report);
    flushed.map_err(|error| Error::Transport { file: source.name.clone(), at, source: error })?;
    if demuxer.losses() > 0 {
        let text = format!("{}: packets are missing in {} places", source.name, demuxer.losses());
        report(Said::Note(&text));
    }
    Ok(())
}

/// What a demuxer left out. Each loss is not worth a line; there is one with their number.
pub fn notes(name: &str, notices: Vec<Notice>, report: Report<'_>) {
    for notice in notices.into_iter().filter(|notice| !matches!(notice, Notice::Lost { .. })) {
        report(Said::Note(&format!("{name}: {notice}")));
    }
}
