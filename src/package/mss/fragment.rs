//! Fragments ([MS-SSTR] §2.2.4): `moof` with times of the manifest, `mdat` header, and the stored media.
//!
//! ```text
//! moof
//!   mfhd  sequence_number
//!   traf
//!     tfhd  track_ID
//!     trun  version 1: duration, size, flags and composition offset of each sample
//!     uuid  tfxd: absolute time and duration (§2.2.4.4)
//!     uuid  tfrf: the same of the next one, of a channel (§2.2.4.5)
//! mdat
//! ```

use std::ops::Range;

use bytes::Bytes;

use crate::base::{Payload, Piece, Ticks};
use crate::media::isobmff::write::{boxed, full_boxed};
use crate::media::subtitles::{Line, ttml_document};
use crate::media::{Segment, TrackView};
use crate::package::text::{self, Span};

use super::time::Timeline;

/// 6D1D9B05-42D5-44E6-80E2-141DAFF757B2
const TFXD: [u8; 16] = [0x6D, 0x1D, 0x9B, 0x05, 0x42, 0xD5, 0x44, 0xE6, 0x80, 0xE2, 0x14, 0x1D, 0xAF, 0xF7, 0x57, 0xB2];

/// D4807EF2-CA39-4695-8E54-26CB9E46A79F
const TFRF: [u8; 16] = [0xD4, 0x80, 0x7E, 0xF2, 0xCA, 0x39, 0x46, 0x95, 0x8E, 0x54, 0x26, 0xCB, 0x9E, 0x46, 0xA7, 0x9F];

const TFHD_BASE_IS_MOOF: u32 = 0x02_0000;
const TRUN_DATA_OFFSET: u32 = 0x01;
const TRUN_COLUMNS: u32 = 0x100 | 0x200 | 0x400;
const TRUN_COMPOSITION: u32 = 0x800;
/// `sample_flags` of ISO/IEC 14496-12 §8.8.3.1.
pub(super) const FLAGS_SYNC: u32 = 0x0200_0000;
const TRACK_ID: u32 = 1;

/// The rows of the track's sample table that a fragment is described from.
pub fn sample_rows(view: &TrackView<'_>, segment: &Segment) -> Range<u32> {
    let fragments = fragments_of(view, segment);
    let first = fragments.first().map_or(0, |row| row.first_sample.get());
    let end = fragments.last().map_or(0, |row| row.first_sample.get().saturating_add(row.sample_count.get()));
    first..end
}

fn fragments_of<'a>(view: &TrackView<'a>, segment: &Segment) -> &'a [crate::media::Fragment] {
    view.fragments.get(segment.fragments.start as usize..segment.fragments.end as usize).unwrap_or_default()
}

/// Reads the sample table. `None` if it is too large for 32-bit boxes. What is longer than seven minutes, in ticks of 100 ns, a
/// sample cannot say; then it is as long as it can be, and the fragment still says when it ends.
pub fn fragment(view: &TrackView<'_>, segment: &Segment, timeline: Timeline) -> Option<Payload> {
    let fragments = fragments_of(view, segment);
    let rows = sample_rows(view, segment);
    let samples = view.samples.get(rows.start as usize..rows.end as usize)?;
    let media: u64 = fragments.iter().map(|row| u64::from(row.size.get().saturating_sub(row.media_offset.get()))).sum();
    let media = u32::try_from(media + 8).ok()?;
    let end = Ticks(segment.time.0.saturating_add(segment.duration.0));
    let (start, end) = (timeline.time(view, segment.time), timeline.time(view, end));
    let composed = samples.iter().any(|sample| view.stored_offset(sample) != 0);
    let about = About { number: segment.number, times: (start, end), following: None };
    let mut out = head(about, composed, samples.len(), |out| {
        for (at, row) in fragments.iter().enumerate() {
            let mut time = row.decode_time();
            let mut border = timeline.time(view, time);
            // Zeros are read of an index that was cut meanwhile: whoever asked finds out.
            let first = row.first_sample.get().wrapping_sub(rows.start) as usize;
            let of = samples.get(first..first.saturating_add(row.sample_count.get() as usize)).unwrap_or_default();
            for (number, sample) in of.iter().enumerate() {
                let next = Ticks(time.0.saturating_add(i64::from(sample.duration.get())));
                // Each border is rounded by itself. A hole before the next stored fragment belongs to the last sample.
                let until = match fragments.get(at + 1) {
                    Some(following) if number + 1 == of.len() => following.decode_time(),
                    _ => next,
                };
                let next_border = timeline.time(view, until);
                put(out, u32::try_from(next_border.saturating_sub(border)).unwrap_or(u32::MAX));
                put(out, sample.size.get());
                put(out, sample.flags.get());
                if composed {
                    let shown = Ticks(time.0.saturating_add(i64::from(view.stored_offset(sample))));
                    let offset = timeline.time(view, shown) as i64 - border as i64;
                    put(out, offset.clamp(i32::MIN.into(), i32::MAX.into()) as i32 as u32);
                }
                (time, border) = (until, next_border);
            }
        }
    });
    put(&mut out, media);
    out.extend_from_slice(b"mdat");
    let mut payload = Payload::from(Bytes::from(out));
    for row in fragments {
        let offset = row.offset.get() + u64::from(row.media_offset.get());
        payload.push(Piece::Extent(view.extent_of(row.file.get(), offset..row.end_offset())));
    }
    Some(payload)
}

/// A fragment of text: one sample, which is a document whose times count from its beginning.
pub fn text_fragment(view: &TrackView<'_>, span: &Span, timeline: Timeline) -> Option<Payload> {
    let begin = span.start.0 as u64;
    let lines = text::words(view, span).into_iter().map(|words| Line {
        start: words.start - begin,
        end: words.end - begin,
        said: words.said,
    });
    let document = ttml_document(&view.track.language, lines);
    let (start, end) = (timeline.time(view, span.start), timeline.time(view, span.end));
    of_document(About { number: span.number, times: (start, end), following: None }, &document)
}

/// The document is the one sample. `None` if it is too large for 32-bit boxes.
pub(super) fn of_document(about: About, document: &str) -> Option<Payload> {
    let size = u32::try_from(document.len() + 8).ok()?;
    let (start, end) = about.times;
    let mut out = head(about, false, 1, |out| {
        put(out, u32::try_from(end.saturating_sub(start)).unwrap_or(u32::MAX));
        put(out, document.len() as u32);
        put(out, FLAGS_SYNC);
    });
    put(&mut out, size);
    out.extend_from_slice(b"mdat");
    out.extend_from_slice(document.as_bytes());
    Some(Payload::from(Bytes::from(out)))
}

/// What a fragment says of itself.
#[derive(Clone, Copy)]
pub(super) struct About {
    pub number: u32,
    /// From when to when, in ticks of the manifest.
    pub times: (u64, u64),
    /// The same of the next one of a channel.
    pub following: Option<(u64, u64)>,
}

/// `moof`; `rows` writes those of `trun`.
pub(super) fn head(about: About, composed: bool, samples: usize, rows: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let About { number, times, following } = about;
    let mut out = Vec::with_capacity(160 + samples * 16);
    let mut offset_at = 0;
    boxed(&mut out, b"moof", |out| {
        full_boxed(out, b"mfhd", 0, 0, |out| put(out, number.wrapping_add(1)));
        boxed(out, b"traf", |out| {
            full_boxed(out, b"tfhd", 0, TFHD_BASE_IS_MOOF, |out| put(out, TRACK_ID));
            let flags = TRUN_DATA_OFFSET | TRUN_COLUMNS | if composed { TRUN_COMPOSITION } else { 0 };
            full_boxed(out, b"trun", 1, flags, |out| {
                put(out, samples as u32);
                offset_at = out.len();
                put(out, 0);
                rows(out);
            });
            boxed(out, b"uuid", |out| {
                out.extend_from_slice(&TFXD);
                put(out, 1 << 24);
                out.extend_from_slice(&times.0.to_be_bytes());
                out.extend_from_slice(&times.1.saturating_sub(times.0).to_be_bytes());
            });
            let Some((start, end)) = following else { return };
            boxed(out, b"uuid", |out| {
                out.extend_from_slice(&TFRF);
                put(out, 1 << 24);
                out.push(1);
                out.extend_from_slice(&start.to_be_bytes());
                out.extend_from_slice(&end.saturating_sub(start).to_be_bytes());
            });
        });
    });
    let data_offset = out.len() as u32 + 8;
    out[offset_at..offset_at + 4].copy_from_slice(&data_offset.to_be_bytes());
    out
}

pub(super) fn put(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}
