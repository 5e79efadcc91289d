//! Text of a channel, as an asset has it: one file of WebVTT.

use std::time::Duration;

use super::{Error, Recorded};
use crate::library::import::Text;
use crate::media::isobmff::{Chunk, Movie, TrackRole};
use crate::media::subtitles::{Coding, Samples};

/// What is said in the stretch, in time since `start`. `None` if nothing is, or if it is not of a kind that is read. A sample
/// that makes no sense says nothing, as it did on air.
pub fn read(recorded: &Recorded, start: Duration) -> Result<Option<Text>, Error> {
    let Some(first) = recorded.parts.first() else { return Ok(None) };
    let name = first.files.media.display().to_string();
    let movie = Movie::parse(&name, first.init())?;
    let source = &movie.tracks()[0];
    let Some(coding) = Coding::of(source.sample_entry.fourcc) else { return Ok(None) };
    let scale = i128::from(recorded.timescale.per_second());
    let zero = i128::try_from(start.as_nanos()).unwrap_or(i128::MAX);
    let millis = |ticks: i64| {
        let nanos = i128::from(ticks) * 1_000_000_000 / scale - zero;
        i64::try_from((nanos + 500_000).div_euclid(1_000_000)).unwrap_or(i64::MAX)
    };
    let mut gathered = Samples::new(coding, millis(0));
    for part in &recorded.parts {
        for row in &part.rows {
            let mut at = row.offset.get();
            while at < row.end_offset() {
                let whole = Chunk::read(part.map.bytes(), at).ok().filter(|chunk| chunk.end() <= row.end_offset());
                let damaged = || Error::Damaged { path: part.files.media.clone(), number: row.number.get() };
                let chunk = whole.ok_or_else(damaged)?;
                let (mut time, mut offset) = (chunk.time.0, (at + u64::from(chunk.media_offset)) as usize);
                for sample in chunk.samples() {
                    let end = time.saturating_add(i64::from(sample.duration.get()));
                    let behind = offset + sample.size.get() as usize;
                    let data = part.map.bytes().get(offset..behind).ok_or_else(damaged)?;
                    if let (from, Ok(to)) = (millis(time), u64::try_from(millis(end))) {
                        let _ = gathered.push(&name, u64::try_from(from).unwrap_or(0), to, data);
                    }
                    (time, offset) = (end, behind);
                }
                at = chunk.end();
            }
        }
    }
    // More than a file of subtitles may have.
    let Ok(subtitles) = gathered.finish(&name) else { return Ok(None) };
    let language = Some(source.language.clone()).filter(|tag| tag != "und");
    let role = source.roles.iter().find_map(TrackRole::role).unwrap_or_default();
    let text = Text::new(subtitles, language, source.name.clone(), role);
    Ok((!text.cues.is_empty()).then_some(text))
}
