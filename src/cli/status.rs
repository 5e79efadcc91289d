//! How the server is: what the admin API and the service manager are told.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use crate::config;
use crate::delivery::{self, Totals};
use crate::http::Kind;
use crate::intake::{self, ChannelSetup, Exposition, Health, Readiness, Server};
use crate::service::Service;
use crate::store::Objects;
use crate::store::derived::Figures;

/// A worker counts up about once a second; one that has not for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Status {
    readiness: AtomicU8,
    /// 0: none; otherwise the number of a stuck worker, plus one.
    stuck: AtomicUsize,
    delivery: OnceLock<Weak<delivery::Plane>>,
    service: OnceLock<Weak<Service>>,
    store: OnceLock<Arc<Objects>>,
}

const STARTING: u8 = 0;
const READY: u8 = 1;
const STOPPING: u8 = 2;

impl Status {
    /// Listeners are open and the library has been read.
    pub fn ready(&self, plane: &Arc<delivery::Plane>) {
        let _ = self.delivery.set(Arc::downgrade(plane));
        self.readiness.store(READY, Ordering::Release);
    }

    pub fn answers(&self, service: &Arc<Service>) {
        let _ = self.service.set(Arc::downgrade(service));
    }

    pub fn has_store(&self, objects: &Arc<Objects>) {
        let _ = self.store.set(objects.clone());
    }

    pub fn stopping(&self) {
        self.readiness.store(STOPPING, Ordering::Release);
    }
}

impl Server for Status {
    fn health(&self) -> Health {
        match self.stuck.load(Ordering::Acquire).checked_sub(1) {
            None => Health::Working,
            Some(worker) => Health::Stuck { worker },
        }
    }

    fn readiness(&self) -> Readiness {
        match self.readiness.load(Ordering::Acquire) {
            STARTING => Readiness::Starting,
            READY => Readiness::Ready,
            _ => Readiness::Stopping,
        }
    }

    fn channel(&self, keys: &serde_json::Map<String, serde_json::Value>) -> Result<ChannelSetup, Vec<String>> {
        config::channel(keys)
    }

    fn write_metrics(&self, out: &mut Exposition) {
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        out.gauge("headwater_build_info", "What is running.", [(&build[..], 1.0)]);
        if let Some(plane) = self.delivery.get().and_then(Weak::upgrade) {
            let workers = plane.workers().count();
            out.gauge("headwater_workers", "Delivery workers.", [(&[][..], workers as f64)]);
            write_delivery(&plane.totals(), out);
        }
        if let Some(service) = self.service.get().and_then(Weak::upgrade) {
            write_derived(&service.derived().figures(), service.jobs(), out);
        }
        if let Some(objects) = self.store.get() {
            intake::objects::write_metrics(objects, out);
        }
    }
}

fn write_delivery(totals: &Totals, out: &mut Exposition) {
    const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
    let kinds = || Kind::ALL.iter().zip(&totals.kinds);
    let labels: Vec<([(&str, &str); 2], u64)> = kinds()
        .flat_map(|(kind, figures)| {
            let labels = |class| [("kind", kind.name()), ("status", class)];
            CLASSES.iter().zip(figures.statuses).map(move |(class, count)| (labels(*class), count))
        })
        .collect();
    let requests = labels.iter().filter(|(_, count)| *count > 0).map(|(labels, count)| (&labels[..], *count));
    out.counter("headwater_requests_total", "Answers by kind and status class.", requests);

    let labels: Vec<[(&str, &str); 1]> = kinds().map(|(kind, _)| [("kind", kind.name())]).collect();
    let latencies = labels
        .iter()
        .zip(&totals.kinds)
        .map(|(labels, figures)| (&labels[..], &figures.latency[..], figures.latency_sum_micros));
    out.latencies(
        "headwater_request_duration_seconds",
        "From the end of the request to the last byte of the answer in the socket.",
        latencies,
    );

    out.gauge("headwater_connections", "Open connections.", [(&[][..], totals.open as f64)]);
    out.gauge(
        "headwater_live_waiting",
        "Requests that wait for a part or a playlist of a channel.",
        [(&[][..], totals.waiting as f64)],
    );
    for (name, help, count) in [
        ("headwater_live_waits_total", "Requests that waited for a part or a playlist of a channel.", totals.waits),
        ("headwater_sent_bytes_total", "Bytes that sockets took, heads included.", totals.bytes),
        ("headwater_connections_accepted_total", "Connections accepted.", totals.accepted),
        ("headwater_connections_refused_total", "Connections refused with 503 above the limit.", totals.refused),
        ("headwater_connections_moved_total", "Connections handed to a worker with fewer.", totals.handed_over),
        ("headwater_cold_waits_total", "Waits for parts of files that were not in memory.", totals.cold_waits),
        ("headwater_loads_total", "Waits for an asset to be opened or a manifest to be compressed.", totals.loads),
        ("headwater_answers_aborted_total", "Answers that the client did not wait for.", totals.aborted),
        ("headwater_answers_damaged_total", "Answers cut short by a damaged file.", totals.damaged),
        ("headwater_panics_total", "Connections closed because their code panicked.", totals.panics),
        ("headwater_access_log_dropped_total", "Lines that the access log could not keep up with.", totals.log_dropped),
    ] {
        out.counter(name, help, [(&[][..], count)]);
    }
    let reasons = [
        ([("reason", "head")], totals.head_timeouts),
        ([("reason", "idle")], totals.idle_timeouts),
        ([("reason", "slow_reader")], totals.slow_readers),
    ];
    out.counter(
        "headwater_connections_timed_out_total",
        "Connections closed because the client took too long.",
        reasons.iter().map(|(labels, count)| (&labels[..], *count)),
    );
}

/// `jobs`: those under way, and requests that joined one.
fn write_derived(figures: &Figures, (making, joined): (usize, u64), out: &mut Exposition) {
    for (name, help, value) in [
        (
            "headwater_derived_bytes",
            "Segments that were made: bytes of their files, also of those that are being written or still sent.",
            figures.bytes,
        ),
        ("headwater_derived_bytes_max", "How many there may be (library.derived_cache).", figures.bytes_max),
        ("headwater_derived_files", "Files these are in.", figures.files as u64),
        (
            "headwater_derived_memory_bytes",
            "Of those that could not be kept on disk: bytes in memory.",
            figures.memory_bytes,
        ),
        ("headwater_derived_making", "Segments that are being made, or wait for it.", making as u64),
    ] {
        out.gauge(name, help, [(&[][..], value as f64)]);
    }
    let results = [([("result", "hit")], figures.hits), ([("result", "miss")], figures.misses)];
    out.counter(
        "headwater_derived_lookups_total",
        "Look-ups of segments that have to be made. Who waited for one looks it up again, and finds it.",
        results.iter().map(|(labels, count)| (&labels[..], *count)),
    );
    for (name, help, count) in [
        ("headwater_derived_made_total", "Segments that were made.", figures.made),
        ("headwater_derived_made_bytes_total", "Bytes of these.", figures.made_bytes),
        ("headwater_derived_joined_total", "Requests that waited for a segment that was being made already.", joined),
        ("headwater_derived_opened_total", "Kept segments that had to be opened again.", figures.opened),
        ("headwater_derived_evicted_total", "Segments that made room for others.", figures.evicted),
        ("headwater_derived_unwritten_total", "Segments that could not be written to disk.", figures.unwritten),
    ] {
        out.counter(name, help, [(&[][..], count)]);
    }
}

/// Watches whether workers come round, on behalf of the thread that looks at it now and then.
pub struct Watch {
    seen: Vec<(u64, Instant)>,
}

impl Watch {
    pub fn new(workers: usize, now: Instant) -> Watch {
        Watch { seen: vec![(0, now); workers] }
    }

    /// `progress` is what each worker has counted up to.
    pub fn look(&mut self, status: &Status, progress: impl Iterator<Item = u64>, now: Instant) {
        let mut stuck = 0;
        for (number, (seen, progress)) in self.seen.iter_mut().zip(progress).enumerate() {
            if seen.0 != progress {
                *seen = (progress, now);
            } else if now.duration_since(seen.1) >= STUCK_AFTER && stuck == 0 {
                stuck = number + 1;
            }
        }
        status.stuck.store(stuck, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_does_not_come_round_is_stuck() {
        let status = Status::default();
        let start = Instant::now();
        let mut watch = Watch::new(2, start);
        for (second, progress, want) in [
            (1, [1, 1], Health::Working),
            (9, [2, 1], Health::Working),
            (12, [3, 1], Health::Stuck { worker: 1 }),
            (13, [4, 2], Health::Working),
            (24, [4, 3], Health::Stuck { worker: 0 }),
        ] {
            watch.look(&status, progress.into_iter(), start + Duration::from_secs(second));
            assert_eq!(status.health(), want, "after {second} s");
        }
    }

    #[test]
    fn every_figure_has_a_name() {
        let mut totals = Totals { bytes: 5, open: 3, slow_readers: 2, ..Totals::default() };
        totals.kinds[Kind::Segment as usize].statuses[1] = 7;
        totals.kinds[Kind::Segment as usize].latency[0] = 7;
        let mut out = Exposition::default();
        write_delivery(&totals, &mut out);
        let figures = Figures { bytes: 4_096, misses: 2, evicted: 9, ..Figures::default() };
        write_derived(&figures, (1, 6), &mut out);
        let text = out.into_text();
        for line in [
            "headwater_requests_total{kind=\"segment\",status=\"2xx\"} 7",
            "headwater_request_duration_seconds_bucket{kind=\"segment\",le=\"+Inf\"} 7",
            "headwater_request_duration_seconds_count{kind=\"mpd\"} 0",
            "headwater_sent_bytes_total 5",
            "headwater_connections 3",
            "headwater_derived_bytes 4096",
            "headwater_derived_making 1",
            "headwater_derived_lookups_total{result=\"miss\"} 2",
            "headwater_derived_joined_total 6",
            "headwater_derived_evicted_total 9",
            "headwater_connections_timed_out_total{reason=\"slow_reader\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn readiness_follows_the_life_of_the_server() {
        let status = Status::default();
        assert_eq!(status.readiness(), Readiness::Starting);
        status.stopping();
        assert_eq!(status.readiness(), Readiness::Stopping);
    }
}
