//! What the store tells Prometheus, for each container.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::intake::{Exposition, Labels};
use crate::store::objects::Objects;
use crate::store::objects::table::Usage;

/// One figure of a container.
type Of = fn(&Usage) -> &AtomicU64;

pub fn write_metrics(objects: &Objects, out: &mut Exposition) {
    let mut all = objects.table().usage();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let labels: Vec<[(&str, &str); 1]> = all.iter().map(|(name, _)| [("container", name.as_str())]).collect();
    let values = |of: Of| {
        labels.iter().zip(&all).map(move |(labels, (_, usage))| (&labels[..], of(usage).load(Ordering::Relaxed)))
    };
    let gauges: [(&str, &str, Of); 3] = [
        ("headwater_store_objects", "Objects.", |usage| &usage.objects),
        ("headwater_store_bytes", "What objects take on disk, in whole blocks.", |usage| &usage.bytes),
        ("headwater_store_uploads", "Uploads under way.", |usage| &usage.uploading),
    ];
    for (name, help, of) in gauges {
        out.gauge(name, help, values(of).map(|(labels, value)| (labels, value as f64)));
    }
    let counters: [(&str, &str, Of); 4] = [
        ("headwater_store_received_bytes_total", "Bytes of uploads that came.", |usage| &usage.received),
        ("headwater_store_uploads_broken_total", "Uploads that broke off or were refused.", |usage| &usage.broken),
        ("headwater_store_refused_total", "Requests that were not allowed or not understood.", |usage| &usage.refused),
        ("headwater_store_expired_total", "Objects whose time was over.", |usage| &usage.expired),
    ];
    for (name, help, of) in counters {
        out.counter(name, help, values(of));
    }
    let operations: [(&str, Of); 4] = [
        ("get", |usage| &usage.reads),
        ("put", |usage| &usage.writes),
        ("delete", |usage| &usage.deletes),
        ("list", |usage| &usage.lists),
    ];
    let samples: Vec<([(&str, &str); 2], u64)> = operations
        .iter()
        .flat_map(|(operation, of)| {
            let labels = |name| [("container", name), ("operation", *operation)];
            all.iter().map(move |(name, usage)| (labels(name.as_str()), of(usage).load(Ordering::Relaxed)))
        })
        .collect();
    let samples = samples.iter().map(|(labels, value)| (&labels[..] as Labels<'_>, *value));
    out.counter("headwater_store_requests_total", "Requests that were answered, at delivery and intake.", samples);
    let capacity = objects.settings().capacity().map(|capacity| (&[][..] as Labels<'_>, capacity as f64));
    out.gauge("headwater_store_capacity_bytes", "What all containers may take; none is unlimited.", capacity);
}
