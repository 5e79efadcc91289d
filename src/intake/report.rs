//! What the admin API says of a channel. Its publish key is not among it.

use std::time::Instant;

use serde_json::{Value, json};

use super::catalog;
use super::channels::Channel;
use super::control::Origin;
use super::exposition::Exposition;
use super::figures::Recorded;
use crate::live;
use crate::media::broadcast::{Broadcast, BroadcastTrack, State};
use crate::media::captions;

/// One line of a list.
pub fn summary(origin: Origin, channel: &Channel, readers: &live::Channel) -> Value {
    json!({
        "name": readers.name(),
        "origin": origin.name(),
        "state": state(channel, readers),
        "publishers": channel.figures.publishers.value(),
        "bit_rate": channel.figures.bit_rate.value(),
    })
}

pub fn channel(origin: Origin, channel: &Channel, readers: &live::Channel) -> Value {
    let (setup, figures, now) = (channel.setup(), &channel.figures, Instant::now());
    let over_http = channel.encoders().into_iter().map(|encoder| {
        let identity = encoder.identity();
        let tracks = encoder.tracks();
        json!({
            "protocol": identity.protocol,
            "address": identity.address.to_string(),
            "user": identity.user,
            "seconds": now.duration_since(encoder.since()).as_secs(),
            "names": tracks.iter().map(|name| &**name).collect::<Vec<_>>(),
        })
    });
    let connected = channel.publishers().into_iter().map(|publisher| {
        json!({
            "protocol": publisher.protocol,
            "address": publisher.address.to_string(),
            "seconds": now.duration_since(publisher.since).as_secs(),
            "names": [publisher.name],
        })
    });
    let publishers: Vec<Value> = over_http.chain(connected).collect();
    let snapshot = readers.snapshot();
    let published = snapshot.broadcast(None);
    json!({
        "name": setup.name,
        "origin": origin.name(),
        "state": state(channel, readers),
        "enabled": setup.enabled,
        "segment": setup.segment.as_secs_f64(),
        "part": setup.part.map(|part| part.as_secs_f64()),
        "window": setup.window.as_secs_f64(),
        "takeover": setup.takeover,
        "standby": setup.standby,
        "end": setup.end,
        "cue_tags": setup.cue_tags,
        "captions": captions::write(&setup.captions),
        "publishers": publishers,
        "bit_rate": figures.bit_rate.value(),
        "bytes": figures.bytes.value(),
        "samples": figures.samples.value(),
        "refused": figures.refused.value(),
        "waiting": snapshot.waiting(),
        "window_bytes": snapshot.bytes(),
        "published": published.as_ref().map(described),
    })
}

/// The counters of all channels.
pub fn write_metrics<'a>(all: impl Iterator<Item = (&'a Channel, &'a live::Channel)>, out: &mut Exposition) {
    let (channels, readers): (Vec<_>, Vec<_>) =
        all.map(|(channel, readers)| ((channel.name(), channel), readers)).unzip();
    let labels: Vec<[(&str, &str); 1]> = channels.iter().map(|(name, _)| [("channel", name.as_str())]).collect();
    let of = |figure: fn(&super::figures::Figures) -> u64| {
        labels.iter().zip(&channels).map(move |(labels, (_, channel))| (&labels[..], figure(&channel.figures)))
    };
    out.counter("headwater_channel_input_bytes_total", "Bytes of encoders.", of(|figures| figures.bytes.value()));
    out.counter("headwater_channel_samples_total", "Samples received.", of(|figures| figures.samples.value()));
    out.counter(
        "headwater_channel_publishers_total",
        "Publishers that were let in.",
        of(|figures| figures.accepted.value()),
    );
    out.counter(
        "headwater_channel_refused_total",
        "Publishers and uploads that were refused.",
        of(|figures| figures.refused.value()),
    );
    let recorded = |figure: fn(&Recorded) -> u64| {
        labels
            .iter()
            .zip(&channels)
            .map(move |(labels, (_, channel))| (&labels[..], figure(channel.entrance().figures())))
    };
    type Count = (&'static str, &'static str, fn(&Recorded) -> u64);
    let counts: [Count; 5] = [
        ("headwater_channel_gaps_total", "Stretches in which frames were missing.", |figures| figures.gaps.value()),
        ("headwater_channel_jumps_total", "Clocks of publishers that were set anew.", |figures| figures.jumps.value()),
        ("headwater_channel_samples_dropped_total", "Samples that were of no use.", |figures| figures.dropped.value()),
        ("headwater_channel_parts_lost_total", "Parts that could not be written.", |figures| figures.lost.value()),
        ("headwater_channel_failovers_total", "Times that another publisher stepped in.", |figures| {
            figures.failovers.value()
        }),
    ];
    for (name, help, figure) in counts {
        out.counter(name, help, recorded(figure));
    }
    let parts: Vec<(Vec<u64>, u64)> = channels
        .iter()
        .map(|(_, channel)| &channel.entrance().figures().parts)
        .map(|parts| (parts.buckets().collect(), parts.sum_micros()))
        .collect();
    out.latencies(
        "headwater_channel_part_seconds",
        "From the arrival of the sample that completed a part to its publication.",
        labels.iter().zip(&parts).map(|(labels, (buckets, sum))| (&labels[..], &buckets[..], *sum)),
    );
    out.gauge(
        "headwater_channel_disk_full",
        "1 while what comes is lost because the disk is full.",
        recorded(|figures| figures.full.value()).map(|(labels, value)| (labels, value as f64)),
    );
    out.gauge(
        "headwater_channel_window_bytes",
        "Bytes of the channel's recording on disk.",
        labels.iter().zip(&readers).map(|(labels, readers)| (&labels[..], readers.snapshot().bytes() as f64)),
    );
    out.gauge(
        "headwater_channel_waiting",
        "Requests that wait for a playlist, a part, or the rest of a segment of the channel.",
        labels.iter().zip(&readers).map(|(labels, readers)| (&labels[..], readers.snapshot().waiting() as f64)),
    );
    type Gauge = (&'static str, &'static str, fn(&super::figures::Figures) -> u64);
    let gauges: [Gauge; 2] = [
        ("headwater_channel_input_bits_per_second", "Over the last seconds.", |figures| figures.bit_rate.value()),
        ("headwater_channel_publishers", "Encoders that publish, or stand by.", |figures| figures.publishers.value()),
    ];
    for (name, help, figure) in gauges {
        out.gauge(name, help, of(figure).map(|(labels, value)| (labels, value as f64)));
    }
}

fn state(channel: &Channel, readers: &live::Channel) -> &'static str {
    match (readers.snapshot().state(), channel.figures.publishers.value()) {
        (State::Ended, _) => "ended",
        (State::Ongoing, 0) => "waiting",
        (State::Ongoing, _) => "publishing",
    }
}

fn described(broadcast: &Broadcast<'_>) -> Value {
    json!({
        "slot": broadcast.grid.slot_duration().as_secs_f64(),
        "target": broadcast.grid.target,
        "first": broadcast.first,
        "next": broadcast.next,
        "marks": broadcast.marks.len(),
        "tracks": broadcast.tracks.iter().map(track).collect::<Vec<Value>>(),
    })
}

fn track(view: &BroadcastTrack<'_>) -> Value {
    let track = view.track;
    let latest = view.tail.last();
    let bytes: u64 = view.segments(0).map(|segment| segment.size).sum();
    let mut value = json!({
        "id": track.id,
        "codec": track.codec,
        "language": track.language,
        "peak": view.rate.peak,
        "average": view.rate.average,
        "bytes": bytes,
        "latest": latest.map(|segment| segment.number),
        "end": latest.map(|segment| track.timescale.seconds(segment.time) + track.timescale.seconds(segment.duration)),
    });
    let details = catalog::details(&track.details);
    if let (Value::Object(value), Value::Object(details)) = (&mut value, details) {
        value.extend(details);
    }
    value
}
