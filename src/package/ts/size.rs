//! What segments are long, before they are made: from the fragment table, which is in memory, and not from the samples.
//!
//! Exact but for what the last packet of an access unit leaves free. That is spread evenly, so over a segment it is half a
//! packet each, and hardly ever more than four standard deviations above.

use crate::media::{Segment, Track, TrackView};

use super::Packing;
use super::live::samples_per_second;

const PACKET: u64 = 188;
const ROOM: u64 = 184;
/// Header of a PES packet with both times, access unit delimiter, and a clock reference with every other picture.
const PICTURE_BYTES: u64 = 19 + 7 + 4;
/// The whole of a clock reference with the first, and its random access indicator.
const FIRST_BYTES: u64 = 8;
const FRAME_BYTES: u64 = 7;
const PES_BYTES: u64 = 14 + 2;
/// Least that two PES packets of sound in a row hold, halved; and longest that one lasts (`media::mpegts::mux`).
const SOUND_BYTES: u64 = 1_400;
const SOUND_MICROS: u64 = 200_000;
const CLOCK_MICROS: u64 = 99_000;
/// A cycle of the continuity counter, less one.
const PADDING: u64 = 15;
const TAG_BYTES: u64 = 73;
/// Parameter sets of a channel's pictures: an allowance, for headers of channels are not read for a playlist.
const SETS_BYTES: u64 = 192;

/// Samples, fragments and media bytes of a segment.
fn content(view: TrackView<'_>, segment: &Segment) -> (u64, u64, u64) {
    let range = segment.fragments.start as usize..segment.fragments.end as usize;
    let fragments = view.fragments.get(range).unwrap_or_default();
    fragments.iter().fold((0, 0, 0), |(samples, count, bytes), fragment| {
        let media = fragment.size.get().saturating_sub(fragment.media_offset.get());
        (samples + u64::from(fragment.sample_count.get()), count + 1, bytes + u64::from(media))
    })
}

/// Half a packet each, and four standard deviations: 4/√12 √n.
fn unfilled(units: u64) -> u64 {
    units.div_ceil(2) + (units * 4 / 3).isqrt()
}

/// Of a segment's pictures, with its tables and clock. `sets`: bytes of the parameter sets.
pub(super) fn pictures(view: TrackView<'_>, segment: Option<&Segment>, micros: u64, sets: u64) -> u64 {
    let clocks = micros / CLOCK_MICROS + 1;
    let Some(segment) = segment else { return PACKET * (2 + clocks) };
    let (samples, fragments, bytes) = content(view, segment);
    let payload = bytes + samples * PICTURE_BYTES + fragments * (FIRST_BYTES + sets);
    PACKET * (2 + payload.div_ceil(ROOM) + unfilled(samples) + PADDING + clocks.saturating_sub(samples))
}

/// Of the sound in a segment with pictures.
pub(super) fn sound(view: TrackView<'_>, segment: &Segment, micros: u64) -> u64 {
    let (samples, _, bytes) = content(view, segment);
    let bytes = bytes + samples * FRAME_BYTES;
    let packets = (bytes / SOUND_BYTES + micros / SOUND_MICROS + 1).min(samples);
    PACKET * ((bytes + packets * PES_BYTES).div_ceil(ROOM) + unfilled(packets) + PADDING)
}

/// Of a key frame by itself, whose packets fill a cycle of the continuity counter; of that many bytes in its track file.
pub(super) fn key_frame(bytes: u32, sets: u64) -> u64 {
    let payload = u64::from(bytes) + PICTURE_BYTES + FIRST_BYTES + sets;
    PACKET * (2 + payload.div_ceil(ROOM).next_multiple_of(PADDING + 1))
}

/// Of a segment of packed audio.
pub(super) fn packed(view: TrackView<'_>, packing: Packing, segment: &Segment) -> u64 {
    let (samples, _, bytes) = content(view, segment);
    let headers = if packing == Packing::Aac { samples * FRAME_BYTES } else { 0 };
    TAG_BYTES + bytes + headers
}

/// Of a channel, in bits per second: what a rate of track files becomes in segments of so many microseconds with pictures.
/// What headers of their chunks take is still in it.
pub(super) fn live_pictures(track: &Track, rate: u64, micros: u64) -> u64 {
    /// A key picture a second at most, but one in each segment.
    const KEYS: u64 = 1;
    let samples = per_segment(samples_per_second(track), micros);
    let payload =
        bytes_of(rate, micros) + samples * PICTURE_BYTES + (KEYS + micros / 1_000_000) * (FIRST_BYTES + SETS_BYTES);
    let clocks = (micros / CLOCK_MICROS + 1).saturating_sub(samples);
    rate_of(PACKET * (2 + payload.div_ceil(ROOM) + unfilled(samples) + PADDING + clocks), micros)
}

/// The same as [`key_frame`] of a channel.
pub(super) fn live_key_frame(bytes: u32) -> u64 {
    key_frame(bytes, SETS_BYTES)
}

/// The same of sound in segments with pictures.
pub(super) fn live_sound(track: &Track, rate: u64, micros: u64) -> u64 {
    let samples = per_segment(samples_per_second(track), micros);
    let bytes = bytes_of(rate, micros) + samples * FRAME_BYTES;
    let packets = (bytes / SOUND_BYTES + micros / SOUND_MICROS + 1).min(samples);
    rate_of(PACKET * ((bytes + packets * PES_BYTES).div_ceil(ROOM) + unfilled(packets) + PADDING), micros)
}

/// The same of packed audio.
pub(super) fn live_packed(track: &Track, packing: Packing, rate: u64, micros: u64) -> u64 {
    let samples = per_segment(samples_per_second(track), micros);
    let headers = if packing == Packing::Aac { samples * FRAME_BYTES } else { 0 };
    rate_of(TAG_BYTES + bytes_of(rate, micros) + headers, micros)
}

fn per_segment(per_second: u64, micros: u64) -> u64 {
    per_second.saturating_mul(micros).div_ceil(1_000_000)
}

fn bytes_of(rate: u64, micros: u64) -> u64 {
    per_segment(rate.div_ceil(8), micros)
}

fn rate_of(bytes: u64, micros: u64) -> u64 {
    (u128::from(bytes) * 8_000_000).div_ceil(u128::from(micros.max(1))).try_into().unwrap_or(u64::MAX)
}
