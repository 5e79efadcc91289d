//! Where the renditions of a video may all be cut: the key frames they have in common.
//!
//! Two key frames are common if they are presented less than half a frame apart (half a frame of the faster of the two).
//! A player switches at these instants only, so they must not be rare. An asset is refused where
//!
//! - the renditions do not begin with a common key frame, or end more than a second apart, or
//! - between two common key frames lie more than 10 seconds and more than twice the usual distance of key frames in the
//!   rendition where they are rarest, although a rendition has a key frame in between that others lack.

use std::fmt;

/// The key frames of one rendition.
#[derive(Clone, Debug)]
pub struct Rendition<'a> {
    /// For messages: file and track.
    pub name: &'a str,
    /// Presentation times of its key frames in nanoseconds, ascending.
    pub keys: Vec<i64>,
    /// Half the time of a frame, in nanoseconds.
    pub half_frame: i64,
    /// When its last frame ends, in nanoseconds.
    pub end: i64,
}

/// Why renditions do not make one presentation. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "{a} begins at {} and {b} at {}: renditions of one video must begin with the same frame",
        Seconds(*.a_start), Seconds(*.b_start)
    )]
    Start { a: String, a_start: i64, b: String, b_start: i64 },
    #[error(
        "{a} ends at {} and {b} at {}: renditions of one video must be equally long (to within a second)",
        Seconds(*.a_end), Seconds(*.b_end)
    )]
    End { a: String, a_end: i64, b: String, b_end: i64 },
    #[error(
        "renditions share too few key frames, none between {} and {} (at most {} allowed): {partings}; encode all \
         renditions with key frames at the same times",
        Seconds(*.from), Seconds(*.to), Seconds(*.allowed)
    )]
    Apart { from: i64, to: i64, allowed: i64, partings: String },
}

/// Nanoseconds, written as seconds.
struct Seconds(i64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.0 as f64 / 1e9)
    }
}

/// Every fragment between two common key frames may last this long, whatever the renditions' own distances are.
const DISTANCE_ALLOWED: i64 = 10_000_000_000;
const END_TOLERANCE: i64 = 1_000_000_000;
/// Common key frames closer than this are not all cut at: a rendition of key frames only would get a fragment a frame.
const FRAGMENT_MIN: i64 = 240_000_000;
/// How many times a message lists.
const PARTINGS_LISTED: usize = 3;

/// For each common instant, the number of the key frame in each rendition: `common[instant][rendition]`. The first is each
/// rendition's first key frame.
pub fn common(renditions: &[Rendition<'_>]) -> Result<Vec<Vec<usize>>, Error> {
    let Some((first, others)) = renditions.split_first() else { return Ok(Vec::new()) };
    for other in others {
        let (a, b) = (first.keys.first().copied().unwrap_or(0), other.keys.first().copied().unwrap_or(0));
        if (a - b).abs() > first.half_frame.min(other.half_frame) {
            return Err(Error::Start { a: first.name.into(), a_start: a, b: other.name.into(), b_start: b });
        }
        if (first.end - other.end).abs() > END_TOLERANCE {
            let (a, b) = (first.name.into(), other.name.into());
            return Err(Error::End { a, a_end: first.end, b, b_end: other.end });
        }
    }
    let mut common: Vec<Vec<usize>> = Vec::new();
    let mut at = vec![0; renditions.len()];
    for (number, &time) in first.keys.iter().enumerate() {
        at[0] = number;
        let mut all = true;
        for (other, at) in renditions.iter().zip(&mut at).skip(1) {
            let tolerance = first.half_frame.min(other.half_frame);
            while other.keys.get(*at).is_some_and(|&key| key < time - tolerance) {
                *at += 1;
            }
            all &= other.keys.get(*at).is_some_and(|&key| (key - time).abs() <= tolerance);
        }
        if all {
            common.push(at.clone());
        }
    }
    check_distances(renditions, &common)?;
    let mut last = i64::MIN;
    common.retain(|instant| {
        let time = first.keys[instant[0]];
        let far = last == i64::MIN || time - last >= FRAGMENT_MIN;
        if far {
            last = time;
        }
        far
    });
    Ok(common)
}

fn check_distances(renditions: &[Rendition<'_>], common: &[Vec<usize>]) -> Result<(), Error> {
    let usual = renditions.iter().map(|rendition| median_distance(&rendition.keys)).max().unwrap_or(0);
    let allowed = DISTANCE_ALLOWED.max(usual.saturating_mul(2));
    let first = &renditions[0];
    for (number, instant) in common.iter().enumerate() {
        let next = common.get(number + 1);
        let from = first.keys[instant[0]];
        let to = next.map_or(first.end, |next| first.keys[next[0]]);
        if to - from <= allowed {
            continue;
        }
        let between = |number: usize| {
            let end = next.map_or(renditions[number].keys.len(), |next| next[number]);
            renditions[number].keys.get(instant[number] + 1..end).unwrap_or_default()
        };
        if (0..renditions.len()).any(|number| !between(number).is_empty()) {
            return Err(Error::Apart { from, to, allowed, partings: partings(renditions, between) });
        }
    }
    Ok(())
}

/// The first times at which one rendition has a key frame and another has none.
fn partings<'a>(renditions: &[Rendition<'_>], between: impl Fn(usize) -> &'a [i64]) -> String {
    let mut texts = Vec::new();
    for (number, rendition) in renditions.iter().enumerate() {
        let lacks = |time: i64, other: &Rendition<'_>| {
            let tolerance = rendition.half_frame.min(other.half_frame);
            let near = other.keys.partition_point(|&key| key < time - tolerance);
            other.keys.get(near).is_none_or(|&key| key > time + tolerance)
        };
        for (_, other) in renditions.iter().enumerate().filter(|(other, _)| *other != number) {
            let times: Vec<String> = between(number)
                .iter()
                .filter(|&&time| lacks(time, other))
                .take(PARTINGS_LISTED)
                .map(|&time| Seconds(time).to_string())
                .collect();
            if !times.is_empty() {
                texts.push(format!(
                    "{} has key frames at {} where {} has none",
                    rendition.name,
                    times.join(", "),
                    other.name
                ));
            }
        }
    }
    texts.truncate(PARTINGS_LISTED);
    texts.join(", ")
}

/// Of neighbouring key frames; 0 if there are not two.
pub fn median_distance(keys: &[i64]) -> i64 {
    let mut distances: Vec<i64> = keys.windows(2).map(|pair| pair[1] - pair[0]).collect();
    distances.sort_unstable();
    distances.get(distances.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn rendition(name: &str, keys: impl IntoIterator<Item = i64>, rate: i64, end: i64) -> Rendition<'_> {
        let keys = keys.into_iter().map(|key| key * MS).collect();
        Rendition { name, keys, half_frame: 500_000_000 / rate, end: end * MS }
    }

    fn instants(renditions: &[Rendition<'_>]) -> Result<Vec<i64>, String> {
        let common = common(renditions).map_err(|error| error.to_string())?;
        Ok(common.iter().map(|instant| renditions[0].keys[instant[0]] / MS).collect())
    }

    #[test]
    fn instants_are_what_all_share() {
        let every = |step: usize, end: i64| (0..end).step_by(step);
        for (renditions, want) in [
            (vec![rendition("a", [0, 1_700, 9_000], 25, 60_000)], vec![0, 1_700, 9_000]),
            // 25 and 50 frames a second, a key frame more in one of them, times off by less than half a frame.
            (
                vec![rendition("a", [0, 2_000, 3_000, 4_000], 25, 6_000), rendition("b", [0, 2_009, 4_001], 50, 6_020)],
                vec![0, 2_000, 4_000],
            ),
            (
                vec![
                    rendition("a", every(2_000, 20_000), 25, 20_000),
                    rendition("b", every(4_000, 20_000), 25, 20_000),
                    rendition("c", every(8_000, 20_000), 25, 20_000),
                ],
                vec![0, 8_000, 16_000],
            ),
            // Half a frame of the faster one is too much.
            (vec![rendition("a", [0, 2_000], 25, 4_000), rendition("b", [0, 2_011], 50, 4_000)], vec![0]),
            // Key frames only.
            (vec![rendition("a", every(40, 1_000), 25, 1_000)], vec![0, 240, 480, 720, 960]),
        ] {
            assert_eq!(instants(&renditions).map_err(|error| error.replace("allowed", "")), Ok(want));
        }
    }

    #[test]
    fn renditions_that_part_are_refused() {
        let every = |step: usize| (0..60_000).step_by(step);
        let cases = [
            (
                vec![
                    rendition("a.mp4", every(2_000), 25, 60_000),
                    rendition("b.mp4", every(2_500).map(|key| key + i64::from(key > 0) * 100), 25, 60_000),
                ],
                "none between 0.000 s and 60.000 s (at most 10.000 s allowed): a.mp4 has key frames at 2.000 s, 4.000 s, \
                 6.000 s where b.mp4 has none",
            ),
            (
                vec![rendition("a", [0], 25, 10_000), rendition("b", [0], 25, 7_200_000)],
                "a ends at 10.000 s and b at 7200.000 s",
            ),
            (
                vec![rendition("a", [0], 25, 10_000), rendition("b", [80], 25, 10_000)],
                "a begins at 0.000 s and b at 0.080 s",
            ),
        ];
        for (renditions, want) in &cases {
            let error = instants(renditions).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
        // Long distances are no fault where the renditions agree on them.
        assert!(instants(&[rendition("a", [0, 40_000], 25, 60_000), rendition("b", [0, 40_000], 25, 60_000)]).is_ok());
    }
}
