//! Deciding where segments begin: once in the life of a channel.

use std::time::Duration;

use super::segmenter::Timed;
use crate::base::{Ticks, Timescale};
use crate::media::broadcast::Grid;
use crate::media::fragment::Start;

/// Longest usual sample: what a segment may overrun its slot by before the target has to be larger.
const SAMPLE_USUAL: Duration = Duration::from_millis(130);

/// When a key frame is decoded and presented, in track ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub decoded: Ticks,
    pub presented: Ticks,
    pub start: Start,
}

impl Key {
    /// `None`: it is none.
    pub fn of(timed: &Timed) -> Option<Key> {
        let start = timed.start?;
        let presented = Ticks(timed.time.0.saturating_add(timed.composition_offset.into()));
        Some(Key { decoded: timed.time, presented, start })
    }
}

/// What encoders that time frames by a clock are off with their key frames: a picture at 30 a second.
const JITTER: Duration = Duration::from_millis(35);

/// Pictures that the key frame of an open group may be decoded sooner or later than usual, in relation to those that are
/// decoded after it and presented before.
const REORDERED: i64 = 3;

/// How long before its slot a picture that decoding can start at may lie and be taken for its first: `frame` is the length of
/// all pictures, if they are equally long. Their key frames lie on the grid, but for those of open groups, which are equally
/// far apart as they are presented; and where every picture has a time of its own, so has every key frame. `since` is the
/// distance to the key frame before: where many come, the next one is as good.
pub fn leeway(timescale: Timescale, frame: Option<i64>, start: Start, since: Option<i64>) -> i64 {
    let usual = match (frame, start) {
        (Some(frame), Start::Open) => REORDERED * frame,
        (Some(frame), _) => return frame / 2,
        (None, _) => timescale.ticks_floor(SAMPLE_USUAL).0,
    };
    since.map_or(usual, |since| usual.min(since / 4)).max(frame.unwrap_or(0) / 2)
}

/// The distance that two key frames are meant to have. Where pictures are timed by a clock, it is not exactly what it seems;
/// and where groups are open, muxers have been seen to put the second one a picture too early (ffmpeg 5.1, HEVC in files of
/// HLS). Encoders are set to whole or half seconds, and a grid that is off by a little is left behind by and by.
fn distance(timescale: Timescale, frame: Option<i64>, first: &Key, second: &Key) -> i64 {
    let distance = second.presented.0 - first.presented.0;
    let half = i64::from(timescale.per_second().div_ceil(2));
    let near = (distance + half / 2) / half * half;
    let off = match frame {
        None => timescale.ticks_floor(JITTER).0,
        Some(frame) if second.start == Start::Open && near % frame == 0 => frame,
        Some(_) => 0,
    };
    if near > 0 && (near - distance).abs() <= off { near } else { distance }
}

/// The grid of a channel with video. `keys` are the first two key frames, in `timescale`; with one, or with a distance that
/// makes no sense, slots are as long as `segment`. `frame` is the length of all pictures, if they are equally long.
///
/// In open groups of pictures a key frame is decoded before pictures that are presented before it, but for the first of
/// all: so they are equally far apart as they are presented, and slots begin where keys after the first are decoded. With
/// which of them the channel begins makes no difference, so that twins that begin at others have the same slots.
pub fn of_video(
    timescale: Timescale,
    frame: Option<i64>,
    keys: &[Key],
    segment: Duration,
    part: Option<Duration>,
) -> Grid {
    let wanted = timescale.ticks_floor(segment).0.max(1);
    let apart = |first, second| distance(timescale, frame, first, second);
    let (slot, phase) = match keys {
        [first, second, ..] if (1..=2 * wanted).contains(&apart(first, second)) => {
            let distance = apart(first, second);
            ((wanted + distance - 1) / distance * distance, second.decoded.0.rem_euclid(distance))
        }
        [first, ..] => (wanted, first.decoded.0.rem_euclid(wanted)),
        [] => (wanted, 0),
    };
    Grid { timescale, slot: Ticks(slot), phase: Ticks(phase), target: target(timescale, slot), part }
}

/// The grid of a channel without video.
pub fn of_audio(timescale: Timescale, segment: Duration, part: Option<Duration>) -> Grid {
    let slot = timescale.ticks_floor(segment).0.max(1);
    Grid { timescale, slot: Ticks(slot), phase: Ticks(0), target: target(timescale, slot), part }
}

/// `EXT-X-TARGETDURATION`: segments are no longer when rounded (RFC 8216bis §4.4.3.1), a sample that overruns included.
fn target(timescale: Timescale, slot: i64) -> u32 {
    let longest = timescale.duration(Ticks(slot)) + SAMPLE_USUAL + Duration::from_millis(500);
    u32::try_from(longest.as_secs()).unwrap_or(u32::MAX).max(1)
}

/// The longest that a segment may be: one tick more would round to more than the target.
pub fn longest(grid: &Grid, timescale: Timescale) -> i64 {
    let half = i64::from(timescale.per_second().div_ceil(2));
    (i64::from(grid.target) * i64::from(timescale.per_second()) + half - 1).max(1)
}

/// How long after the start of a slot a key frame still begins its segment, while the segment before goes on. `frame`:
/// length of all pictures, if they are equally long.
pub fn patience(grid: &Grid, timescale: Timescale, frame: Option<i64>) -> i64 {
    let frame = frame.unwrap_or(timescale.ticks_floor(SAMPLE_USUAL).0);
    let slot = crate::base::units::rescale_ceil(grid.slot, grid.timescale, timescale).map_or(0, |slot| slot.0);
    (longest(grid, timescale) - slot - frame * 3 / 2).clamp(0, slot / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_whole_groups_of_pictures() {
        let mpeg = Timescale::MPEG;
        let ntsc = Timescale::new(30_000).unwrap();
        // Keys by when they are decoded, and how much later they are presented.
        for (timescale, keys, segment_ms, slot, phase, target) in [
            (mpeg, &[(0, 0), (180_000, 0)][..], 2_000, 180_000, 0, 2),
            (mpeg, &[(90_000, 3_600), (180_000, 3_600)], 2_000, 180_000, 0, 2),
            (mpeg, &[(45_000, 0), (180_000, 0)], 2_000, 270_000, 45_000, 3),
            (mpeg, &[(180_000, 0), (315_000, 0)], 2_000, 270_000, 45_000, 3),
            (ntsc, &[(1_001, 0), (61_061, 0)], 2_000, 60_060, 1_001, 2),
            (ntsc, &[(0, 0), (1_001 * 250, 0)], 6_000, 250_250, 0, 8),
            // An open group: three pictures that are decoded after the second key are presented before it.
            (mpeg, &[(0, 7_200), (169_200, 18_000)], 2_000, 180_000, 169_200, 2),
            (mpeg, &[(169_200, 18_000), (349_200, 18_000)], 2_000, 180_000, 169_200, 2),
            // A distance of more than twice the segment is not waited for.
            (mpeg, &[(0, 0), (900_000, 0)], 2_000, 180_000, 0, 2),
            (mpeg, &[(7, 0)], 2_000, 180_000, 7, 2),
            (mpeg, &[], 500, 45_000, 0, 1),
            (mpeg, &[(0, 0), (216_000, 0)], 2_000, 216_000, 0, 3),
        ] {
            let key = |&(decoded, later)| Key {
                decoded: Ticks(decoded),
                presented: Ticks(decoded + later),
                start: Start::Closed,
            };
            let keys: Vec<_> = keys.iter().map(key).collect();
            let grid = of_video(timescale, Some(3_600), &keys, Duration::from_millis(segment_ms), None);
            assert_eq!((grid.slot.0, grid.phase.0, grid.target), (slot, phase, target), "{keys:?}");
            let longest = timescale.seconds(Ticks(longest(&grid, timescale)));
            assert_eq!(longest.round() as u32, grid.target);
            let overrun = timescale.seconds(Ticks(grid.slot.0 + patience(&grid, timescale, Some(3_000))));
            assert!(overrun.round() as u32 <= grid.target, "{overrun}");
        }
    }

    #[test]
    fn key_frames_are_meant_to_be_half_seconds_apart_if_they_do_not_lie_exactly() {
        let mpeg = Timescale::MPEG;
        let (closed, open) = (Start::Closed, Start::Open);
        for (frame_ms, start, keys_ms, segment_ms, slot_ms, phase_ms) in [
            (None, closed, (0, 2_033), 2_000, 2_000, 33),
            (None, closed, (0, 1_970), 2_000, 2_000, 1_970),
            (None, closed, (0, 1_001), 2_000, 2_000, 1),
            (None, closed, (0, 490), 2_000, 2_000, 490),
            (None, open, (7, 4_027), 2_000, 4_000, 27),
            (None, closed, (0, 1_920), 2_000, 3_840, 0),
            (None, closed, (0, 12), 2_000, 2_004, 0),
            (Some(40), closed, (0, 1_960), 2_000, 3_920, 0),
            (Some(40), open, (0, 1_960), 2_000, 2_000, 1_960),
            (Some(40), open, (0, 1_920), 2_000, 3_840, 0),
            (Some(7), open, (0, 1_995), 2_000, 3_990, 0),
        ] {
            let key = |ms: i64| Key { decoded: Ticks(ms * 90), presented: Ticks(ms * 90), start };
            let keys = [key(keys_ms.0), key(keys_ms.1)];
            let frame = frame_ms.map(|ms: i64| ms * 90);
            let grid = of_video(mpeg, frame, &keys, Duration::from_millis(segment_ms), None);
            let found = (grid.slot.0 / 90, grid.phase.0 / 90);
            assert_eq!(found, (slot_ms, phase_ms), "{frame_ms:?} {start:?} {keys_ms:?}");
        }
    }

    #[test]
    fn key_frames_that_cannot_be_exact_have_some_leeway() {
        let mpeg = Timescale::MPEG;
        for (frame, start, since, want) in [
            (Some(3_600), Start::Closed, None, 1_800),
            (Some(3_600), Start::Open, None, 10_800),
            (Some(3_600), Start::Open, Some(28_800), 7_200),
            (Some(3_600), Start::Open, Some(3_600), 1_800),
            (None, Start::Closed, None, 11_700),
            (None, Start::Closed, Some(180_000), 11_700),
            (None, Start::Closed, Some(3_600), 900),
        ] {
            assert_eq!(leeway(mpeg, frame, start, since), want, "{frame:?} {start:?} {since:?}");
        }
    }
}
