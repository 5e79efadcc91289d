//! The 33-bit clock of a program, unwrapped.

use crate::base::Ticks;

/// Time stamps count modulo this, in 90 kHz (ISO/IEC 13818-1 §2.4.3.7).
const MODULUS: i64 = 1 << 33;

/// The reference that all tracks of a program share, so that they stay together when the counter starts over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    last: Option<i64>,
}

/// When an access unit is decoded and presented, unwrapped, in 90 kHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub decode: i64,
    pub presentation: i64,
}

impl Clock {
    /// The time nearest to the last one whose low 33 bits are these; it becomes the reference.
    pub fn advance(&mut self, stamp: u64) -> i64 {
        let Ticks(time) = self.at(stamp);
        self.last = Some(time);
        time
    }

    /// As [`Clock::advance`], for a time that lies ahead and is no reference.
    pub fn at(&self, stamp: u64) -> Ticks {
        let stamp = stamp as i64 % MODULUS;
        Ticks(self.last.map_or(stamp, |last| last.saturating_add(difference(last, stamp))))
    }

    pub fn times(&mut self, presentation: u64, decode: u64) -> Times {
        let time = self.advance(decode);
        Times { decode: time, presentation: time.saturating_add(difference(decode as i64, presentation as i64)) }
    }
}

/// From one time stamp to another, the shorter way round.
fn difference(from: i64, to: i64) -> i64 {
    let forward = to.wrapping_sub(from).rem_euclid(MODULUS);
    if forward < MODULUS / 2 { forward } else { forward - MODULUS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_goes_on_when_it_starts_over() {
        let mut clock = Clock::default();
        let end = (MODULUS - 3000) as u64;
        for (presentation, decode, want) in [
            (end, end, (MODULUS - 3000, MODULUS - 3000)),
            (6000, 0, (MODULUS, MODULUS + 6000)),
            // Another track, a little behind.
            (end + 1000, end + 1000, (MODULUS - 2000, MODULUS - 2000)),
            (3000, 3000, (MODULUS + 3000, MODULUS + 3000)),
            // Presented before it is decoded, as some encoders have it.
            (2000, 4000, (MODULUS + 4000, MODULUS + 2000)),
        ] {
            let times = clock.times(presentation, decode);
            assert_eq!((times.decode, times.presentation), want);
        }
        assert_eq!(clock.at(10_000), Ticks(MODULUS + 10_000));
        assert_eq!(clock.times(3000, 3000).decode, MODULUS + 3000, "a time ahead is no reference");
    }
}
