//! From Matroska's times, which are rounded to milliseconds as a rule, and of pictures say only when they are presented, to
//! exact ones with an order of decoding.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use bytes::Bytes;

use crate::base::Timescale;

const NANOS: i128 = 1_000_000_000;

/// Rounds to the nearest tick.
pub fn ticks(nanos: i64, timescale: Timescale) -> i64 {
    let scaled = i128::from(nanos) * i128::from(timescale.per_second());
    (scaled + NANOS / 2).div_euclid(NANOS) as i64
}

/// Times of pictures at a steady rate. One that is off by more than rounding explains says where it is, and counts anew.
#[derive(Clone, Copy, Debug)]
pub struct Pictures {
    pub timescale: Timescale,
    /// Ticks between pictures, if that is known.
    frame: Option<i64>,
    /// In ticks.
    tolerance: i64,
    anchor: Option<i64>,
}

impl Pictures {
    /// By the default duration of a frame, and the length of the file's ticks, both in nanoseconds.
    pub fn new(default_duration: Option<u64>, tick: u64) -> Pictures {
        let rate = default_duration.and_then(rate);
        // A multiple of the rate in which a millisecond is whole ticks.
        let (scale, frame) = match rate {
            Some((num, den)) => {
                let factor = 1_000 / greatest_divisor(num, 1_000);
                (num * factor, Some(i64::from(den * factor)))
            }
            None => (1_000_000_000 / tick.clamp(1, 1_000_000_000).min(1_000_000) as u32, None),
        };
        let timescale = Timescale::new(scale).unwrap_or(Timescale::MILLIS);
        let tolerance = ticks(tick.min(10_000_000) as i64, timescale).saturating_mul(11) / 10;
        Pictures { timescale, frame, tolerance: tolerance.max(1), anchor: None }
    }

    pub fn time(&mut self, nanos: i64) -> i64 {
        let time = ticks(nanos, self.timescale);
        let (Some(frame), Some(anchor)) = (self.frame, self.anchor) else {
            self.anchor = Some(time);
            return time;
        };
        let count = time.saturating_sub(anchor).saturating_add(frame / 2).div_euclid(frame);
        let snapped = anchor.saturating_add(count.saturating_mul(frame));
        if snapped.abs_diff(time) <= self.tolerance as u64 {
            return snapped;
        }
        self.anchor = Some(time);
        time
    }

    pub fn frame(&self) -> Option<u32> {
        self.frame.and_then(|frame| u32::try_from(frame).ok())
    }
}

/// Frames a second, if the duration is that of whole frames a second, or of such by 1000/1001.
fn rate(nanos: u64) -> Option<(u32, u32)> {
    let (nanos, second) = (nanos as f64, 1e9);
    let near = |num: f64, den: f64| {
        let exact = second * den / num;
        (num >= den && num / den <= 1_000.0 && (exact - nanos).abs() <= 2.0 + exact * 2e-6)
            .then_some((num as u32, den as u32))
    };
    near((second / nanos).round(), 1.0).or_else(|| near((second * 1.001 / nanos).round() * 1_000.0, 1_001.0))
}

fn greatest_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

/// Times of sound: frames follow each other without gaps. One whose time is further off than rounding explains says where
/// it is.
#[derive(Clone, Copy, Debug)]
pub struct Sound {
    pub timescale: Timescale,
    tolerance: i64,
    next: Option<i64>,
}

impl Sound {
    pub fn new(timescale: Timescale, tick: u64) -> Sound {
        let tolerance = ticks(tick.min(10_000_000) as i64, timescale).saturating_mul(11) / 10 + 1;
        Sound { timescale, tolerance, next: None }
    }

    /// Of a frame that lasts `duration` ticks; only the first of a block has a time.
    pub fn time(&mut self, nanos: Option<i64>, duration: u32) -> i64 {
        let stated = nanos.map(|nanos| ticks(nanos, self.timescale));
        let time = match (stated, self.next) {
            (Some(stated), Some(next)) if stated.abs_diff(next) <= self.tolerance as u64 => next,
            (Some(stated), _) => stated,
            (None, next) => next.unwrap_or(0),
        };
        self.next = Some(time.saturating_add(duration.into()));
        time
    }
}

/// A picture with its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    pub decode_time: i64,
    pub presentation_time: i64,
    pub is_key: bool,
    pub data: Bytes,
}

/// Gives pictures, which come in the order of decoding with the times of their presentation, times of decoding: the n-th to
/// be decoded is decoded when the n-th is presented. What that puts behind presentation is for the reader to shift.
#[derive(Debug, Default)]
pub struct Reorder {
    waiting: VecDeque<(i64, bool, Bytes)>,
    times: BinaryHeap<Reverse<i64>>,
}

/// Pictures are presented at most so many later than they are decoded (ITU-T H.264 §A.3.1, H.265 §A.4.1: 16).
const DEPTH: usize = 16;

impl Reorder {
    pub fn push(&mut self, time: i64, is_key: bool, data: Bytes) -> Option<Ordered> {
        self.waiting.push_back((time, is_key, data));
        self.times.push(Reverse(time));
        if self.waiting.len() > DEPTH { self.pop() } else { None }
    }

    /// The next one, now that no others come before it.
    pub fn pop(&mut self) -> Option<Ordered> {
        let (presentation_time, is_key, data) = self.waiting.pop_front()?;
        let Reverse(decode_time) = self.times.pop()?;
        Some(Ordered { decode_time, presentation_time, is_key, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for (nanos, want) in [
            (33_366_667, Some((30_000, 1_001))),
            (33_366_666, Some((30_000, 1_001))),
            (33_333_333, Some((30, 1))),
            (41_708_333, Some((24_000, 1_001))),
            (41_666_666, Some((24, 1))),
            (16_683_333, Some((60_000, 1_001))),
            (40_000_000, Some((25, 1))),
            (20_000_000, Some((50, 1))),
            (66_666_666, Some((15, 1))),
            (1, None),
            (0, None),
            (u64::MAX, None),
            (37_123_456, None),
        ] {
            assert_eq!(rate(nanos), want, "{nanos}");
        }
    }

    #[test]
    fn milliseconds_are_whole_pictures() {
        let mut pictures = Pictures::new(Some(33_366_667), 1_000_000);
        assert_eq!(pictures.timescale.per_second(), 30_000);
        for frame in 0..100_000_i64 {
            let millis = (frame as f64 * 1_001.0 / 30.0).round() as i64;
            assert_eq!(pictures.time(millis * 1_000_000), frame * 1_001, "{frame}");
        }
        // A picture that comes half a frame late is where it says.
        let mut pictures = Pictures::new(Some(40_000_000), 1_000_000);
        let times = [0, 40, 81, 140, 179, 3].map(|millis| pictures.time(millis * 1_000_000));
        assert_eq!((pictures.timescale.per_second(), times), (1_000, [0, 40, 80, 140, 180, 3]));
        // Nothing is known.
        let mut pictures = Pictures::new(None, 1_000_000);
        assert_eq!([7, 40].map(|millis| pictures.time(millis * 1_000_000)), [7, 40]);
    }

    #[test]
    fn sound_follows_and_leaps() {
        let mut sound = Sound::new(Timescale::new(44_100).unwrap(), 1_000_000);
        for frame in 0..10_000_i64 {
            let millis = (frame as f64 * 1_024.0 / 44.1).round() as i64;
            assert_eq!(sound.time(Some(millis * 1_000_000), 1_024), frame * 1_024, "{frame}");
        }
        assert_eq!(sound.time(None, 1_024), 10_240_000);
        assert_eq!(sound.time(Some(300_000_000_000), 1_024), 13_230_000);
    }

    #[test]
    fn decoding_is_in_order_of_presentation() {
        let mut reorder = Reorder::default();
        let mut all = Vec::new();
        // I P B B, four times.
        for gop in 0..4 {
            for time in [0, 3, 1, 2] {
                all.extend(reorder.push(gop * 4 + time, time == 0, Bytes::new()));
            }
        }
        all.extend(std::iter::from_fn(|| reorder.pop()));
        let decoded: Vec<i64> = all.iter().map(|picture| picture.decode_time).collect();
        assert_eq!(decoded, (0..16).collect::<Vec<_>>());
        assert_eq!(all[1].presentation_time - all[1].decode_time, 2);
        assert_eq!(all[3].presentation_time - all[3].decode_time, -1);
    }
}
