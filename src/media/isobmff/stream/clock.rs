//! When the fragments of a track begin: 32-bit times that start over go on, and times that are not stated follow.

use crate::base::Timescale;

/// Of one track, in its ticks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Where the last fragment ended.
    next: Option<i64>,
    /// What was added to a 32-bit time, as often as it started over.
    lap: i64,
}

/// A time as a fragment states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stated {
    Short(u32),
    Long(i64),
}

const LAP: i64 = 1 << 32;
/// A time that starts over continues the last; one that is further off is a jump, which is not for us to judge.
const SLACK_SECS: i64 = 60;

impl Clock {
    pub fn begin(&mut self, stated: Option<Stated>, timescale: Timescale) -> i64 {
        match stated {
            None => self.next.unwrap_or_default(),
            Some(Stated::Long(time)) => time,
            Some(Stated::Short(time)) => {
                let time = self.lap + i64::from(time);
                let slack = SLACK_SECS * i64::from(timescale.per_second());
                // At 2^32 / 60 ticks a second and above there would be two answers.
                let near = |time: i64| self.next.is_some_and(|next| time.abs_diff(next) <= slack.min(LAP / 4) as u64);
                let lap = match () {
                    () if near(time) => 0,
                    () if near(time + LAP) => LAP,
                    () if near(time - LAP) && self.lap > 0 => -LAP,
                    () => 0,
                };
                // No stream lasts 2^31 laps.
                self.lap += lap;
                time + lap
            }
        }
    }

    pub fn end(&mut self, at: i64) {
        self.next = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_times_start_over_and_jumps_stay_jumps() {
        use Stated::{Long, Short};
        const TOP: i64 = 1 << 32;
        let scale = Timescale::new(90_000).unwrap();
        // What is stated, and where the fragment begins.
        type Steps = [(Option<Stated>, i64)];
        let cases: &[(&str, &Steps)] = &[
            ("none", &[(None, 0), (None, 100)]),
            ("some", &[(Some(Short(500)), 500), (None, 600), (Some(Short(600)), 600)]),
            (
                "over the end",
                &[
                    (Some(Short(u32::MAX - 49)), TOP - 50),
                    (Some(Short(50)), TOP + 50),
                    (Some(Short(u32::MAX)), TOP - 1),
                    (Some(Short(7)), TOP + 7),
                    (Some(Short(1 << 31)), TOP + (1 << 31)),
                ],
            ),
            ("a restart", &[(Some(Short(3_000_000_000)), 3_000_000_000), (Some(Short(0)), 0)]),
            ("a leap", &[(Some(Short(0)), 0), (Some(Short(4_000_000_000)), 4_000_000_000)]),
            ("long", &[(Some(Long(TOP * 3)), TOP * 3), (Some(Long(5)), 5)]),
        ];
        for (name, steps) in cases {
            let mut clock = Clock::default();
            for (stated, want) in *steps {
                let begin = clock.begin(*stated, scale);
                assert_eq!(begin, *want, "{name} {stated:?}");
                clock.end(begin + 100);
            }
        }
    }
}
