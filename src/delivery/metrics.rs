//! What a worker counts. Each has its own counters; a scrape sums them.

use crate::base::counters::{Counter, Histogram, LATENCY_BOUNDS_MICROS};
use crate::http::{Kind, Status};

const KINDS: usize = Kind::ALL.len();
/// Status classes 1xx to 5xx.
const CLASSES: usize = 5;
const BUCKETS: usize = LATENCY_BOUNDS_MICROS.len() + 1;

/// Counted by one worker alone, readable by anybody.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    requests: [[Counter; CLASSES]; KINDS],
    latency: [Histogram; KINDS],
    /// Bytes that sockets took, heads included.
    pub(super) bytes: Counter,
    pub(super) accepted: Counter,
    /// Accepted above the limit, and closed.
    pub(super) refused: Counter,
    /// Accepted here and handed to a worker with fewer connections.
    pub(super) handed_over: Counter,
    pub(super) open: Counter,
    /// Waits for parts of files that were not in the page cache.
    pub(super) cold_waits: Counter,
    /// Waits for an asset to be opened or a manifest to be compressed.
    pub(super) loads: Counter,
    /// Waits for something to grow: blocked playlist reloads, parts that were asked for early, runs that are followed.
    pub(super) waits: Counter,
    /// Requests waiting so at the last tick.
    pub(super) waiting: Counter,
    /// Answers the client did not wait for.
    pub(super) aborted: Counter,
    /// Answers cut short by a damaged file.
    pub(super) damaged: Counter,
    pub(super) head_timeouts: Counter,
    pub(super) idle_timeouts: Counter,
    pub(super) slow_readers: Counter,
    pub(super) panics: Counter,
    pub(super) log_dropped: Counter,
    /// Goes up about once a second while the worker works.
    pub(super) progress: Counter,
}

impl WorkerMetrics {
    /// An answer whose last byte was queued `micros` after its request was read.
    pub(super) fn answered(&self, kind: Kind, status: Status, micros: u64) {
        self.counted(kind, status);
        self.latency[kind as usize].record(micros);
    }

    /// An answer that was not sent to its end.
    pub(super) fn counted(&self, kind: Kind, status: Status) {
        let class = usize::from(status.0 / 100).clamp(1, CLASSES) - 1;
        self.requests[kind as usize][class].add(1);
    }

    /// Connections open on this worker.
    pub fn open(&self) -> u64 {
        self.open.value()
    }

    /// A number that grows while the worker is alive, for a watchdog.
    pub fn progress(&self) -> u64 {
        self.progress.value()
    }
}

/// The sum over workers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// In the order of [`Kind::ALL`].
    pub kinds: [KindTotals; KINDS],
    pub bytes: u64,
    pub accepted: u64,
    pub refused: u64,
    pub handed_over: u64,
    pub open: u64,
    pub cold_waits: u64,
    pub loads: u64,
    pub waits: u64,
    pub waiting: u64,
    pub aborted: u64,
    pub damaged: u64,
    pub head_timeouts: u64,
    pub idle_timeouts: u64,
    pub slow_readers: u64,
    pub panics: u64,
    pub log_dropped: u64,
}

/// Answers of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindTotals {
    /// By status class, 1xx first.
    pub statuses: [u64; CLASSES],
    /// Observations per bucket of [`LATENCY_BOUNDS_MICROS`], not cumulated; the last is above every bound.
    pub latency: [u64; BUCKETS],
    pub latency_sum_micros: u64,
}

impl Totals {
    pub(super) fn of<'m>(workers: impl IntoIterator<Item = &'m WorkerMetrics>) -> Totals {
        let mut totals = Totals::default();
        for worker in workers {
            totals.add(worker);
        }
        totals
    }

    fn add(&mut self, worker: &WorkerMetrics) {
        for (kind, (requests, latency)) in self.kinds.iter_mut().zip(worker.requests.iter().zip(&worker.latency)) {
            for (sum, counter) in kind.statuses.iter_mut().zip(requests) {
                *sum += counter.value();
            }
            for (sum, count) in kind.latency.iter_mut().zip(latency.buckets()) {
                *sum += count;
            }
            kind.latency_sum_micros += latency.sum_micros();
        }
        for (sum, counter) in [
            (&mut self.bytes, &worker.bytes),
            (&mut self.accepted, &worker.accepted),
            (&mut self.refused, &worker.refused),
            (&mut self.handed_over, &worker.handed_over),
            (&mut self.open, &worker.open),
            (&mut self.cold_waits, &worker.cold_waits),
            (&mut self.loads, &worker.loads),
            (&mut self.waits, &worker.waits),
            (&mut self.waiting, &worker.waiting),
            (&mut self.aborted, &worker.aborted),
            (&mut self.damaged, &worker.damaged),
            (&mut self.head_timeouts, &worker.head_timeouts),
            (&mut self.idle_timeouts, &worker.idle_timeouts),
            (&mut self.slow_readers, &worker.slow_readers),
            (&mut self.panics, &worker.panics),
            (&mut self.log_dropped, &worker.log_dropped),
        ] {
            *sum += counter.value();
        }
    }

    /// Answers of every kind and status.
    pub fn requests(&self) -> u64 {
        self.kinds.iter().flat_map(|kind| kind.statuses).sum()
    }

    /// Answers of one status class (2 for 2xx).
    pub fn requests_of_class(&self, class: usize) -> u64 {
        self.kinds.iter().map(|kind| kind.statuses[class.clamp(1, CLASSES) - 1]).sum()
    }
}

const _: () = assert!(Kind::Other as usize == KINDS - 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_summed() {
        let workers = [WorkerMetrics::default(), WorkerMetrics::default()];
        for worker in &workers {
            worker.answered(Kind::Segment, Status(206), 70);
            worker.counted(Kind::Other, Status(503));
            worker.bytes.add(1_000);
        }
        workers[0].counted(Kind::Segment, Status(999));
        let totals = Totals::of(&workers);
        assert_eq!((totals.requests(), totals.requests_of_class(2), totals.requests_of_class(5)), (5, 2, 3));
        assert_eq!(totals.bytes, 2_000);
        let segments = &totals.kinds[Kind::Segment as usize];
        assert_eq!((segments.latency[1], segments.latency_sum_micros), (2, 140));
    }
}
