//! What a channel's input has come to, in numbers.

use std::time::{Duration, Instant};

use crate::base::counters::{Counter, Histogram};
use crate::live::Counts;

/// Counted by the intake thread, read by anybody.
#[derive(Debug, Default)]
pub struct Figures {
    /// Of media, protocols included.
    pub bytes: Counter,
    pub samples: Counter,
    pub publishers: Counter,
    /// Since the start: publishers that were let in.
    pub accepted: Counter,
    /// Wrong keys, second publishers, nonsense.
    pub refused: Counter,
    /// Bits a second, as of the last look.
    pub bit_rate: Counter,
}

/// What a channel's recorder has come to. Counted by it, read by anybody.
#[derive(Debug, Default)]
pub struct Recorded {
    pub gaps: Counter,
    pub jumps: Counter,
    pub dropped: Counter,
    pub lost: Counter,
    pub failovers: Counter,
    /// From when the sample came that completed a part, to when viewers were shown the part.
    pub parts: Histogram,
    /// 1 while what comes is lost because the disk is full.
    pub full: Counter,
}

impl Recorded {
    pub fn count(&self, counts: &Counts) {
        self.gaps.set(counts.gaps);
        self.jumps.set(counts.jumps);
        self.dropped.set(counts.dropped + counts.undescribed);
        self.lost.set(counts.lost);
        self.failovers.set(counts.failovers);
    }
}

/// A rate over the last few seconds, for figures that are looked at once a second or so.
#[derive(Debug)]
pub struct Rate {
    /// When was looked, and how much had come by then; the oldest first.
    looks: std::collections::VecDeque<(Instant, u64)>,
}

const RATE_SPAN: Duration = Duration::from_secs(5);

impl Rate {
    pub fn new(now: Instant) -> Rate {
        Rate { looks: [(now, 0)].into() }
    }

    /// Bits a second, of a count of bytes.
    pub fn look(&mut self, bytes: u64, now: Instant) -> u64 {
        while self.looks.get(1).is_some_and(|(then, _)| now.duration_since(*then) >= RATE_SPAN) {
            self.looks.pop_front();
        }
        let (since, before) = self.looks.front().copied().unwrap_or((now, bytes));
        self.looks.push_back((now, bytes));
        let millis = now.duration_since(since).as_millis().max(1);
        u64::try_from(u128::from(bytes.saturating_sub(before)) * 8_000 / millis).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_seconds() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        for (second, bytes, want) in [
            (1, 1_000, 8_000),
            (2, 2_000, 8_000),
            (5, 5_000, 8_000),
            (6, 5_000, 6_400),
            (20, 5_000, 0),
            (21, 6_000, 533),
        ] {
            let got = rate.look(bytes, start + Duration::from_secs(second));
            assert_eq!(got, want, "at {second}");
        }
    }
}
