//! Deciding where segments begin: once in the life of a channel.

use std::time::Duration;

use super::segmenter::Timed;
use crate::base::{Ticks, Timescale};
use crate::media::broadcast::Grid;

/// Longest usual sample: what a segment may overrun its slot by before the target has to be larger.
const SAMPLE_USUAL: Duration = Duration::from_millis(130);

/// When a key frame is decoded and presented, in track ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub decoded: Ticks,
    pub presented: Ticks,
}

impl Key {
    /// `None`: it is none.
    pub fn of(timed: &Timed) -> Option<Key> {
        timed.start?;
        let presented = Ticks(timed.time.0.saturating_add(timed.composition_offset.into()));
        Some(Key { decoded: timed.time, presented })
    }
}

/// The grid of a channel with video. `keys` are the first two key frames, in `timescale`; with one, or with a distance that
/// makes no sense, slots are as long as `segment`.
///
/// In open groups of pictures a key frame is decoded before pictures that are presented before it, but for the first of
/// all: so they are equally far apart as they are presented, and slots begin where keys after the first are decoded. With
/// which of them the channel begins makes no difference, so that twins that begin at others have the same slots.
pub fn of_video(timescale: Timescale, keys: &[Key], segment: Duration, part: Option<Duration>) -> Grid {
    let wanted = timescale.ticks_floor(segment).0.max(1);
    let (slot, phase) = match keys {
        [first, second, ..] if (1..=2 * wanted).contains(&(second.presented.0 - first.presented.0)) => {
            let distance = second.presented.0 - first.presented.0;
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

/// How long after the start of a slot a key frame still begins its segment, while the segment before goes on.
pub fn patience(grid: &Grid, timescale: Timescale, frame: i64) -> i64 {
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
            let key = |&(decoded, later)| Key { decoded: Ticks(decoded), presented: Ticks(decoded + later) };
            let keys: Vec<_> = keys.iter().map(key).collect();
            let grid = of_video(timescale, &keys, Duration::from_millis(segment_ms), None);
            assert_eq!((grid.slot.0, grid.phase.0, grid.target), (slot, phase, target), "{keys:?}");
            let longest = timescale.seconds(Ticks(longest(&grid, timescale)));
            assert_eq!(longest.round() as u32, grid.target);
            let overrun = timescale.seconds(Ticks(grid.slot.0 + patience(&grid, timescale, 3_000)));
            assert!(overrun.round() as u32 <= grid.target, "{overrun}");
        }
    }
}
