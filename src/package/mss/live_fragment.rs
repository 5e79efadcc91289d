//! Fragments of channels: of the chunks that are stored, there being no index of their samples.

use bytes::Bytes;

use crate::base::units::rescale_nearest;
use crate::base::{Extent, Payload, Piece, Ticks};
use crate::media::isobmff::Chunk;
use crate::media::subtitles::{Line, ttml_document};
use crate::media::{Kind, Sample, Track, webvtt};
use crate::package::text;

use super::TIMESCALE;
use super::fragment::{About, head, of_document, put};
use super::live::LiveFragment;

/// `moof` of all chunks of a segment, `mdat` header, and their media as they are stored. `stored` has to be mapped and in
/// memory; there is none where a track of text has nothing. `None`: it is not what was written. Work is bounded by its bytes.
pub fn live_fragment(track: &Track, found: &LiveFragment, stored: Option<&Extent>) -> Option<Payload> {
    let about = About { number: found.number as u32, times: found.times, following: found.following };
    let media = match stored {
        Some(stored) => {
            stored.file.mapped()?.get(usize::try_from(stored.offset).ok()?..usize::try_from(stored.end()).ok()?)?
        }
        None => &[],
    };
    match (track.kind(), stored) {
        (Kind::Text, _) => of_document(about, &document(track, media)?),
        (_, Some(stored)) => of_chunks(about, found, stored, media),
        _ => None,
    }
}

/// Times count from where the first chunk begins.
fn document(track: &Track, media: &[u8]) -> Option<String> {
    let begin = if media.is_empty() { Ticks(0) } else { Chunk::read(media, 0).ok()?.time };
    let words = text::of_chunks(media, begin, track.timescale)?;
    let lines = words.cues.iter().filter_map(|cue| {
        let offset = cue.offset.get() as usize;
        let said = webvtt::said(words.text.get(offset..offset.checked_add(cue.size.get() as usize)?)?)?;
        Some(Line { start: cue.start.get(), end: cue.end.get(), said })
    });
    Some(ttml_document(&track.language, lines))
}

fn of_chunks(about: About, found: &LiveFragment, stored: &Extent, media: &[u8]) -> Option<Payload> {
    let mut chunks = Vec::new();
    let mut at = 0;
    while at < media.len() as u64 {
        let chunk = Chunk::read(media, at).ok()?;
        at = chunk.end();
        chunks.push(chunk);
    }
    let exact = |ticks: i64| {
        let shown = rescale_nearest(Ticks(ticks.saturating_sub(found.edit)), found.scale, TIMESCALE);
        shown.and_then(|ticks| u64::try_from(ticks.0).ok()).unwrap_or(0)
    };
    // When each sample begins. A hole before the next chunk belongs to the last sample of the one before, and so does what is
    // missing at the end.
    let mut begun: Vec<(i64, Sample)> = Vec::new();
    for chunk in &chunks {
        let mut time = chunk.time.0;
        for sample in chunk.samples() {
            begun.push((time, sample));
            time = time.saturating_add(i64::from(sample.duration.get()));
        }
    }
    let composed = begun.iter().any(|(_, sample)| sample.composition_offset.get() != 0);
    let bytes: u64 = begun.iter().map(|(_, sample)| u64::from(sample.size.get())).sum();
    let size = u32::try_from(bytes + 8).ok()?;
    let mut out = head(about, composed, begun.len(), |out| {
        let mut border = about.times.0;
        for (at, (time, sample)) in begun.iter().enumerate() {
            let next = begun.get(at + 1).map_or(about.times.1, |(next, _)| exact(*next));
            put(out, u32::try_from(next.saturating_sub(border)).unwrap_or(u32::MAX));
            put(out, sample.size.get());
            put(out, sample.flags.get());
            if composed {
                let shown = exact(time.saturating_add(i64::from(sample.composition_offset.get())));
                put(out, u32::try_from(shown.saturating_sub(border)).unwrap_or(u32::MAX));
            }
            border = next.max(border);
        }
    });
    put(&mut out, size);
    out.extend_from_slice(b"mdat");
    let mut payload = Payload::from(Bytes::from(out));
    for chunk in &chunks {
        let offset = stored.offset + chunk.offset + u64::from(chunk.media_offset);
        let len = stored.offset + chunk.end() - offset;
        payload.push(Piece::Extent(Extent { file: stored.file.clone(), offset, len }));
    }
    Some(payload)
}
