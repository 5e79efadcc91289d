//! Bit rates, measured from the fragment table.

use crate::media::{Presentation, TrackView};

use super::timeline::spans;

/// What one rendition needs, in bits per second, rounded up. Media segments only, as RFC 8216bis counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rate {
    /// Peak segment bit rate: the largest rate of any contiguous set of segments that last between 0.5 and 1.5 times the
    /// target duration together (RFC 8216bis §4.4.6.2, BANDWIDTH).
    pub peak: u64,
    /// All bits over all seconds.
    pub average: u64,
}

impl Rate {
    /// `target` in seconds.
    pub fn of(presentation: &Presentation<'_>, view: TrackView<'_>, target: u64) -> Rate {
        let table: Vec<(u64, u64)> = spans(presentation, view).map(|span| (span.bytes(), span.micros())).collect();
        Rate::of_sizes(&table, target)
    }

    /// The same of segments with so many bytes and microseconds.
    pub fn of_sizes(table: &[(u64, u64)], target: u64) -> Rate {
        let average = rate(table.iter().fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1)));
        let (shortest, longest) = (target.saturating_mul(500_000), target.saturating_mul(1_500_000));
        let mut peak = 0;
        for first in 0..table.len() {
            let mut sum = (0, 0);
            for &(bytes, micros) in &table[first..] {
                sum = (sum.0 + bytes, sum.1 + micros);
                if sum.1 > longest {
                    break;
                }
                if sum.1 >= shortest {
                    peak = peak.max(rate(sum));
                }
            }
        }
        // A track shorter than half the target has no such set: all of it is its peak.
        Rate { peak: if peak == 0 { average } else { peak }, average }
    }

    /// The larger of each: the most that any choice out of a group needs.
    pub fn max(self, other: Rate) -> Rate {
        Rate { peak: self.peak.max(other.peak), average: self.average.max(other.average) }
    }

    pub fn plus(self, other: Rate) -> Rate {
        Rate { peak: self.peak + other.peak, average: self.average + other.average }
    }
}

/// Bytes and microseconds to bits per second, rounded up; 0 without duration.
fn rate((bytes, micros): (u64, u64)) -> u64 {
    if micros == 0 {
        return 0;
    }
    match bytes.checked_mul(8_000_000) {
        Some(scaled) => scaled.div_ceil(micros),
        None => u64::try_from((u128::from(bytes) * 8_000_000).div_ceil(u128::from(micros))).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::fixture::{Fixture, row};

    #[test]
    fn peak_is_that_of_sets_near_the_target() {
        // Seconds and bytes of each segment, target, peak, average.
        type Case<'c> = (&'c [(u64, u32)], u64, u64, u64);
        let cases: &[Case<'_>] = &[
            (&[(4, 1_000), (4, 2_000), (4, 500)], 4, 4_000, 2_334),
            // The last second alone is shorter than half the target: it counts only together with what is before it.
            (&[(4, 1_000), (4, 1_000), (1, 5_000)], 4, 9_600, 6_223),
            (&[(1, 1_000)], 4, 8_000, 8_000),
            (&[], 4, 0, 0),
        ];
        for (rows, target, peak, average) in cases {
            let mut time = 0;
            let table = rows.iter().enumerate().map(|(slot, &(seconds, bytes))| {
                let fragment = row(slot as u32, time, seconds * 90_000, bytes);
                time += seconds * 90_000;
                fragment
            });
            let fixture =
                Fixture::default().with_video("v1", table.collect()).with_cuts((0..rows.len().max(1) as u32).collect());
            let presentation = fixture.presentation();
            let rate = Rate::of(&presentation, presentation.tracks[0], *target);
            assert_eq!(rate, Rate { peak: *peak, average: *average }, "{rows:?}");
        }
    }
}
