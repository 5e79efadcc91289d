//! Many times, and their percentiles.

use std::fmt;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    pub fn push(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In milliseconds: the smallest that so many percent do not exceed. 0 if there are none.
    pub fn percentile(&mut self, percent: f64) -> f64 {
        self.0.sort_unstable();
        let rank = (percent / 100.0 * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    }
}

impl IntoIterator for Latencies {
    type Item = Duration;
    type IntoIter = std::vec::IntoIter<Duration>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Extend<Duration> for Latencies {
    fn extend<T: IntoIterator<Item = Duration>>(&mut self, latencies: T) {
        self.0.extend(latencies);
    }
}

/// The median and the 99th percentile, with one decimal or as many as are asked for.
pub struct Both<'l>(pub &'l Latencies);

impl fmt::Display for Both<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99] = [50.0, 99.0].map(|percent| self.0.clone().percentile(percent));
        let decimals = out.precision().unwrap_or(1);
        write!(out, "{p50:.decimals$}/{p99:.decimals$} ms")
    }
}

/// Of what was measured many times: a tenth is at least as small as the first, and a tenth at least as large as the last.
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    /// At least one.
    pub fn of(mut rounds: Vec<f64>) -> Spread {
        rounds.sort_by(f64::total_cmp);
        let tenth = rounds.len() / 10;
        Spread { low: rounds[tenth], median: rounds[rounds.len() / 2], high: rounds[rounds.len() - 1 - tenth] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.2} / **{:.2}** / {:.2}", self.low, self.median, self.high)
    }
}
