//! Deciding where segments begin: once in the life of a channel.

use std::time::Duration;

use crate::base::{Ticks, Timescale};
use crate::media::broadcast::Grid;

/// Longest usual sample: what a segment may overrun its slot by before the target has to be larger.
const SAMPLE_USUAL: Duration = Duration::from_millis(130);

/// The grid of a channel with video. `keys` are the first two key frames, in `timescale`; with one, or with a distance that
/// makes no sense, slots are as long as `segment`.
pub fn of_video(timescale: Timescale, keys: &[Ticks], segment: Duration, part: Option<Duration>) -> Grid {
    let wanted = timescale.ticks_floor(segment).0.max(1);
    let slot = match keys {
        [first, second, ..] if second > first && second.0 - first.0 <= 2 * wanted => {
            let distance = second.0 - first.0;
            (wanted + distance - 1) / distance * distance
        }
        _ => wanted,
    };
    let phase = keys.first().map_or(0, |key| key.0.rem_euclid(slot));
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
        for (timescale, keys, segment_ms, slot, phase, target) in [
            (mpeg, &[0, 180_000][..], 2_000, 180_000, 0, 2),
            (mpeg, &[90_000, 180_000], 2_000, 180_000, 90_000, 2),
            (mpeg, &[45_000, 180_000], 2_000, 270_000, 45_000, 3),
            (ntsc, &[1_001, 61_061], 2_000, 60_060, 1_001, 2),
            (ntsc, &[0, 1_001 * 250], 6_000, 250_250, 0, 8),
            // A distance of more than twice the segment is not waited for.
            (mpeg, &[0, 900_000], 2_000, 180_000, 0, 2),
            (mpeg, &[7], 2_000, 180_000, 7, 2),
            (mpeg, &[], 500, 45_000, 0, 1),
            (mpeg, &[0, 216_000], 2_000, 216_000, 0, 3),
        ] {
            let keys: Vec<_> = keys.iter().map(|&key| Ticks(key)).collect();
            let grid = of_video(timescale, &keys, Duration::from_millis(segment_ms), None);
            assert_eq!((grid.slot.0, grid.phase.0, grid.target), (slot, phase, target), "{keys:?}");
            let longest = timescale.seconds(Ticks(longest(&grid, timescale)));
            assert_eq!(longest.round() as u32, grid.target);
            let overrun = timescale.seconds(Ticks(grid.slot.0 + patience(&grid, timescale, 3_000)));
            assert!(overrun.round() as u32 <= grid.target, "{overrun}");
        }
    }
}
