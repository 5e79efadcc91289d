//! Media time: a count of ticks and the number of ticks in a second.
//!
//! Ticks are only comparable within one timescale, so every conversion names both scales and its rounding.

use std::num::NonZeroU32;
use std::time::Duration;

/// A point or a length in media time, counted in units of some [`Timescale`]. May be negative (encoder priming lies before
/// the start of the presentation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(pub i64);

/// Ticks in a second, at least 1 (ISO/IEC 14496-12 §8.4.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timescale(NonZeroU32);

impl Timescale {
    pub const MILLIS: Timescale = Timescale::constant(1_000);
    pub const NANOS: Timescale = Timescale::constant(1_000_000_000);
    pub const MICROS: Timescale = Timescale::constant(1_000_000);
    /// The clock of MPEG-2 systems and of `X-TIMESTAMP-MAP`.
    pub const MPEG: Timescale = Timescale::constant(90_000);

    /// 100 ns, which Smooth Streaming counts in.
    pub const SMOOTH: Timescale = Timescale::constant(10_000_000);

    /// `None` for zero, which no track may have.
    pub fn new(ticks_per_second: u32) -> Option<Timescale> {
        NonZeroU32::new(ticks_per_second).map(Timescale)
    }

    const fn constant(ticks_per_second: u32) -> Timescale {
        match NonZeroU32::new(ticks_per_second) {
            Some(scale) => Timescale(scale),
            None => panic!("a timescale is at least 1"),
        }
    }

    pub const fn per_second(self) -> u32 {
        self.0.get()
    }

    /// Seconds, for text and for figures that need no exactness.
    pub fn seconds(self, ticks: Ticks) -> f64 {
        ticks.0 as f64 / f64::from(self.0.get())
    }

    /// The whole ticks that fit into `duration`.
    pub fn ticks_floor(self, duration: Duration) -> Ticks {
        let ticks = duration.as_nanos() * u128::from(self.0.get()) / 1_000_000_000;
        Ticks(i64::try_from(ticks).unwrap_or(i64::MAX))
    }

    /// Rounds down to a nanosecond; negative ticks are zero.
    pub fn duration(self, ticks: Ticks) -> Duration {
        let nanos = u128::from(ticks.0.max(0) as u64) * 1_000_000_000 / u128::from(self.0.get());
        Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
    }
}

/// Rounds towards the past, so a segment never starts after its first sample. `None` if the result does not fit.
pub fn rescale_floor(ticks: Ticks, from: Timescale, to: Timescale) -> Option<Ticks> {
    let scaled = i128::from(ticks.0) * i128::from(to.per_second());
    i64::try_from(scaled.div_euclid(i128::from(from.per_second()))).ok().map(Ticks)
}

/// Rounds towards the future, so an end never cuts its last sample. `None` if the result does not fit.
pub fn rescale_ceil(ticks: Ticks, from: Timescale, to: Timescale) -> Option<Ticks> {
    let scaled = i128::from(ticks.0) * i128::from(to.per_second());
    let from = i128::from(from.per_second());
    i64::try_from(-(-scaled).div_euclid(from)).ok().map(Ticks)
}

/// Rounds to the nearest tick, halves towards the future. `None` if the result does not fit.
pub fn rescale_nearest(ticks: Ticks, from: Timescale, to: Timescale) -> Option<Ticks> {
    let from = i128::from(from.per_second());
    let scaled = i128::from(ticks.0) * i128::from(to.per_second()) * 2 + from;
    i64::try_from(scaled.div_euclid(from * 2)).ok().map(Ticks)
}

/// The greatest common divisor of two numbers that are not both 0.
pub fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescaling_rounds_as_its_name_says() {
        let ms = Timescale::MILLIS;
        for (ticks, from, floor, nearest, ceil) in [
            (0, 48_000, 0, 0, 0),
            (1_024, 48_000, 21, 21, 22),
            (-1_024, 48_000, -22, -21, -21),
            (45, 90_000, 0, 1, 1),
            (-45, 90_000, -1, 0, 0),
            (90_000, 90_000, 1_000, 1_000, 1_000),
        ] {
            let from = Timescale::new(from).unwrap();
            assert_eq!(rescale_floor(Ticks(ticks), from, ms), Some(Ticks(floor)), "floor {ticks}");
            assert_eq!(rescale_nearest(Ticks(ticks), from, ms), Some(Ticks(nearest)), "nearest {ticks}");
            assert_eq!(rescale_ceil(Ticks(ticks), from, ms), Some(Ticks(ceil)), "ceil {ticks}");
        }
    }

    #[test]
    fn rescaling_reports_overflow() {
        let (small, large) = (Timescale::new(1).unwrap(), Timescale::new(u32::MAX).unwrap());
        assert_eq!(rescale_floor(Ticks(i64::MAX), small, large), None);
        assert_eq!(rescale_ceil(Ticks(i64::MIN), small, large), None);
        assert_eq!(rescale_nearest(Ticks(i64::MAX), small, large), None);
    }
}
