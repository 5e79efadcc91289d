//! The MPD of a channel: dynamic while it goes on, static once it has ended (ISO/IEC 23009-1 §5.3.1.2; DASH-IF low-latency
//! modes, §9 of "DASH-IF/DVB Report on Low-Latency Live Service with DASH").
//!
//! MPD time is media time (but for a microsecond, [`MPD_LATE`]) is time since 1970: the availability start is 1970-01-01, and
//! Periods only say what their start is. Whatever the window does, no segment ever changes its place on the timeline.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::base::{Ticks, Timescale};
use crate::media::breaks;
use crate::media::broadcast::{Broadcast, BroadcastTrack, Grid, Mark, State};
use crate::media::feed::Message;
use crate::package::live_timeline::{self, Entry, micros, micros_ceil};
use crate::package::live_url::{self, Stretch};
use crate::package::offer;
use crate::package::{date, live_url::SEGMENT_TEMPLATE};

use super::descriptor;
use super::mpd::{NAMESPACE, PROFILES, SCTE_NAMESPACE, has_supplemental_codecs, iso_duration};
use super::switching_set::{self, Borders};
use crate::package::xml::Xml;

const LOW_LATENCY_PROFILE: &str = ",http://www.dashif.org/guidelines/low-latency-live-v5";
const EPOCH: &str = "1970-01-01T00:00:00Z";
/// Any player may take the time from a plain request (ISO/IEC 23009-1 §5.8.5.7).
const CLOCK: &str = "urn:mpeg:dash:utc:http-xsdate:2014";
/// SCTE 214-1 §6.8.4: sections as base64 within XML.
const SCTE35_SCHEME: &str = "urn:scte:scte35:2014:xml+bin";
const SCTE35_NAMESPACE: &str = "http://www.scte.org/schemas/35/2016";

/// In microseconds: how much later MPD time is than media time. Were they equal, Shaka Player 5.2 would take the start of a
/// segment for that of each chunk of it, and show text by as much too early (`MediaSourceEngine.appendBuffer`).
const MPD_LATE: u64 = 1;

/// What comes from an encoder by the clock of the wall is older than that clock by the time it takes to encode and to come.
const LATE: Duration = Duration::from_secs(2);

/// How a player finds segments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Addressing {
    /// `$Number$` and `@duration`: by the clock, with nothing to update. A segment may be asked for while it is made.
    Clock,
    /// SegmentTimeline: what is listed is there.
    Timeline,
}

/// A stretch without discontinuities.
struct Period {
    /// The discontinuities before it, which identify it as long as any of it is in the window.
    id: u32,
    first: u64,
    /// The first number that is not in it; `None` for what goes on.
    end: Option<u64>,
    /// Microseconds of MPD time.
    start: u64,
    /// Microseconds of media time at `start`.
    media_start: u64,
}

/// The MPD; its links are relative to `/live/{channel}/`.
pub fn live_mpd(broadcast: &Broadcast<'_>, stretch: Stretch) -> String {
    let offers = offer::of_broadcast(broadcast);
    let sets = switching_set::switching_sets(&offers);
    let grid = broadcast.grid;
    let slot = grid.slot_duration();
    let target = Duration::from_secs(u64::from(grid.target.max(1)));
    let ended = broadcast.state == State::Ended;
    let chunk = chunk(broadcast);
    let (start, end) = (time_of(broadcast, broadcast.first), time_of(broadcast, broadcast.next));
    // What somebody cut out and that is finished begins at 0. Anything else stays where it was while it was live.
    let origin = if ended && !stretch.is_live() { start } else { 0 };
    let periods = periods(broadcast, origin);
    // Of what goes on. A Period keeps what it has, so that an encoder that comes back off the grid changes none before.
    let addressing = periods.last().map_or(Addressing::Timeline, |last| addressing(broadcast, last));

    let mut xml = Xml::new(4_096);
    xml.open("MPD", |tag| {
        tag.set("xmlns", NAMESPACE);
        if has_supplemental_codecs(&offers) {
            tag.set("xmlns:scte214", SCTE_NAMESPACE);
        }
        let low_latency = if addressing == Addressing::Clock { LOW_LATENCY_PROFILE } else { "" };
        tag.set("profiles", &[PROFILES, low_latency].concat());
        tag.set("type", if ended { "static" } else { "dynamic" });
        if ended {
            tag.set("mediaPresentationDuration", &iso_duration(Duration::from_micros(end.saturating_sub(origin))));
        } else {
            tag.set("availabilityStartTime", EPOCH);
            // Of the media, not of the rendering: every server says the same.
            tag.set("publishTime", &date::iso(end));
            // By the clock nothing changes but marks and Periods.
            let update = if addressing == Addressing::Clock { 2 * target } else { target };
            tag.set("minimumUpdatePeriod", &iso_duration(update));
            let window = Duration::from_micros(end.saturating_sub(start)).max(slot);
            tag.set("timeShiftBufferDepth", &iso_duration(window));
            tag.set("suggestedPresentationDelay", &iso_duration(delay(addressing, chunk, target)));
        }
        let buffer = if addressing == Addressing::Clock { chunk } else { target };
        tag.set("minBufferTime", &iso_duration(buffer));
        tag.set("maxSegmentDuration", &iso_duration(target.max(slot)));
    });
    if addressing == Addressing::Clock {
        push_service_description(&mut xml, delay(addressing, chunk, target), chunk, &grid);
    }
    for period in &periods {
        xml.open("Period", |tag| {
            tag.set("id", &period.id.to_string());
            tag.set("start", &iso_duration(Duration::from_micros(period.start)));
        });
        push_events(&mut xml, broadcast, period);
        for (at, set) in sets.iter().enumerate() {
            push_set(&mut xml, broadcast, period, at, &offers, set);
        }
        xml.close("Period");
    }
    if !ended {
        xml.empty("UTCTiming", |tag| {
            tag.set("schemeIdUri", CLOCK).set("value", live_url::TIME);
        });
    }
    xml.close("MPD");
    xml.finish()
}

/// Segments can be found by the clock where the channel has parts and they lie on the grid. The standard lets them begin
/// up to half a duration off (§7.2.1); more than an eighth is not what players expect.
fn addressing(broadcast: &Broadcast<'_>, period: &Period) -> Addressing {
    let reference = &broadcast.tracks[0];
    let (grid, scale) = (broadcast.grid, reference.track.timescale);
    if grid.part.is_none() || broadcast.state == State::Ended {
        return Addressing::Timeline;
    }
    // Without a conversion for each segment where the reference's clock is that of the grid, as it is for video.
    let start = |number: u64| match scale == grid.timescale {
        true => grid.slot.0.wrapping_mul(number as i64).wrapping_add(grid.phase.0),
        false => grid.start(number, scale).0,
    };
    let allowed = scale.ticks_floor(grid.slot_duration()).0 / 8;
    let end = period.end.unwrap_or(u64::MAX);
    let mut segments = reference.segments(period.first).take_while(|segment| segment.number < end);
    let near = segments.all(|segment| (segment.time.0 - start(segment.number)).abs() <= allowed);
    if near { Addressing::Clock } else { Addressing::Timeline }
}

/// What a chunk lasts at most.
fn chunk(broadcast: &Broadcast<'_>) -> Duration {
    let parts = broadcast.tracks.iter().map(|live| micros_ceil(live.part_target, live.track.timescale));
    Duration::from_micros(parts.max().unwrap_or(0))
}

/// Behind the live edge: three chunks, as PART-HOLD-BACK is three parts, but not less than a second; three segments where whole
/// ones are waited for.
fn delay(addressing: Addressing, chunk: Duration, target: Duration) -> Duration {
    match addressing {
        Addressing::Clock => (3 * chunk).max(Duration::from_secs(1)),
        Addressing::Timeline => 3 * target,
    }
}

/// Where a slot begins, in microseconds since 1970.
fn time_of(broadcast: &Broadcast<'_>, number: u64) -> u64 {
    micros(broadcast.grid.start(number, broadcast.grid.timescale), broadcast.grid.timescale)
}

/// One for each count of discontinuities in the window, by the first track.
///
/// While the channel goes on, the first reaches back to slot 0: where it really began is no longer known once that has left
/// the window, and it makes no difference to where its segments lie.
fn periods(broadcast: &Broadcast<'_>, origin: u64) -> Vec<Period> {
    let reference = &broadcast.tracks[0];
    let ended = broadcast.state == State::Ended;
    let first_start = if ended { time_of(broadcast, broadcast.first) } else { time_of(broadcast, 0) };
    // What begins at 0 is somewhere else anyway.
    let late = if origin == 0 { MPD_LATE } else { 0 };
    let period = |id, first, start: u64| Period {
        id,
        first,
        end: None,
        start: start.saturating_sub(origin) + late,
        media_start: start,
    };
    let count = live_timeline::discontinuities(broadcast, broadcast.first);
    let mut periods = vec![period(count, broadcast.first, first_start)];
    let mut last = count;
    for segment in reference.segments(broadcast.first).filter(|segment| segment.is_complete || !ended) {
        if segment.discontinuities > last {
            last = segment.discontinuities;
            if let Some(before) = periods.last_mut() {
                before.end = Some(segment.number);
            }
            periods.push(period(last, segment.number, time_of(broadcast, segment.number)));
        }
    }
    // The very first segment came after a discontinuity that others do not have yet.
    periods.retain(|period| period.end != Some(period.first));
    periods
}

/// A player that is further behind than `max` is to jump to the live edge, and one that is nearer to be faster for a while.
///
/// Nothing may make a player jump while an encoder is away. What came last is shown when nothing has followed for a while:
/// dash.js 5.2 looks where it is with everything that it appends, and one that jumps then, with nothing at the live edge,
/// goes to the end of what it has and takes itself for seeking for ever, without jumping over holes.
fn push_service_description(xml: &mut Xml, target: Duration, chunk: Duration, grid: &Grid) {
    let max = target + grid.silence() + LATE;
    xml.open("ServiceDescription", |tag| {
        tag.set("id", "0");
    });
    xml.empty("Latency", |tag| {
        tag.integer("referenceId", 0).integer("target", target.as_millis() as u64);
        tag.integer("min", (2 * chunk).as_millis() as u64).integer("max", max.as_millis() as u64);
    });
    xml.empty("PlaybackRate", |tag| {
        // A player that begins a second too late has made up for it in ten.
        tag.set("min", "0.95").set("max", "1.1");
    });
    xml.close("ServiceDescription");
}

fn push_set(
    xml: &mut Xml,
    broadcast: &Broadcast<'_>,
    period: &Period,
    id: usize,
    offers: &[offer::Offer<'_>],
    set: &[usize],
) {
    let tracks: Vec<_> = set.iter().map(|&at| offers[at].track).collect();
    let lives = || set.iter().map(|&at| &broadcast.tracks[at]);
    let addressing = addressing(broadcast, period);
    let end = period.end.unwrap_or(u64::MAX);
    let closed = |live: &BroadcastTrack<'_>| {
        live.segments(period.first).take_while(|segment| segment.number < end).all(|segment| segment.is_independent)
    };
    // Slots are the same for all tracks.
    let borders = Borders { addressing: Default::default(), aligned: true, closed: lives().all(closed) };
    switching_set::open(xml, id, &tracks, switching_set::mime(tracks[0]), Some(borders), |xml| {
        if addressing == Addressing::Clock {
            push_reference_time(xml, broadcast, period);
        }
        if tracks[0].video().is_some() {
            descriptor::push_captions(xml, broadcast.captions);
        }
    });
    for (live, &at) in lives().zip(set) {
        let content = |xml: &mut Xml| match addressing {
            Addressing::Clock => push_clock_template(xml, broadcast, live, period),
            Addressing::Timeline => push_timeline(xml, broadcast, live, period),
        };
        switching_set::push_representation(xml, offers[at], Some(&live.track.codec), Some(&content));
    }
    xml.close("AdaptationSet");
}

/// §5.12: media time is the encoder's wall-clock time, so any pair says it.
fn push_reference_time(xml: &mut Xml, broadcast: &Broadcast<'_>, period: &Period) {
    xml.open("ProducerReferenceTime", |tag| {
        tag.set("id", "0").set("type", "encoder");
        tag.set("wallClockTime", &date::iso(period.media_start));
        tag.integer("presentationTime", offset(period, broadcast.grid.timescale));
    });
    xml.empty("UTCTiming", |tag| {
        tag.set("schemeIdUri", CLOCK).set("value", live_url::TIME);
    });
    xml.close("ProducerReferenceTime");
}

/// `@presentationTimeOffset`: the media time at the start of the Period, to the nearest tick.
fn offset(period: &Period, scale: Timescale) -> i64 {
    let start = Ticks(i64::try_from(period.media_start).unwrap_or(i64::MAX));
    crate::base::units::rescale_nearest(start, Timescale::MICROS, scale).map_or(0, |ticks| ticks.0)
}

/// The name of the initialisation segment that the period's last segments need.
fn init<'a>(live: &BroadcastTrack<'a>, period: &Period) -> Option<&'a str> {
    live_timeline::last_before(live, period.end.unwrap_or(u64::MAX)).map(|segment| segment.init)
}

/// All tracks count in the grid's timescale here, in which a slot is a whole number of ticks.
fn push_clock_template(xml: &mut Xml, broadcast: &Broadcast<'_>, live: &BroadcastTrack<'_>, period: &Period) {
    let Some(init) = init(live, period) else { return };
    let grid = broadcast.grid;
    // From the end of the first chunk on, instead of the end of the segment (§5.3.9.5.1).
    let chunk = Duration::from_micros(micros_ceil(live.part_target, live.track.timescale));
    let early = grid.slot_duration().saturating_sub(chunk);
    // Counted from where the Period says it starts.
    let start_number = if period.media_start == time_of(broadcast, 0) { 0 } else { period.first };
    xml.empty("SegmentTemplate", |tag| {
        tag.integer("timescale", grid.timescale.per_second()).integer("duration", grid.slot.0);
        tag.integer("startNumber", start_number).integer("presentationTimeOffset", offset(period, grid.timescale));
        tag.set("availabilityTimeOffset", &seconds(early)).set("availabilityTimeComplete", "false");
        tag.set("initialization", &live_url::init_template(init)).set("media", SEGMENT_TEMPLATE);
    });
}

/// Seconds, rounded down to a millisecond: a segment must not be promised before it is there.
fn seconds(duration: Duration) -> String {
    format!("{}.{:03}", duration.as_secs(), duration.subsec_millis())
}

fn push_timeline(xml: &mut Xml, broadcast: &Broadcast<'_>, live: &BroadcastTrack<'_>, period: &Period) {
    let Some(init) = init(live, period) else { return };
    let scale = live.track.timescale;
    xml.open("SegmentTemplate", |tag| {
        tag.integer("timescale", scale.per_second()).integer("startNumber", period.first);
        tag.integer("presentationTimeOffset", offset(period, scale));
        tag.set("initialization", &live_url::init_template(init)).set("media", SEGMENT_TEMPLATE);
    });
    xml.open("SegmentTimeline", |_| ());
    let end = period.end.unwrap_or(u64::MAX);
    let mut run: Option<Run> = None;
    let mut next: Option<i64> = None;
    for entry in live_timeline::entries(broadcast, live, period.first).take_while(|entry| entry.number < end) {
        let (mut time, mut duration) = span(broadcast, live, &entry);
        // A slot that its neighbours cover is numbered all the same: it takes a tick of what comes after it.
        if let Some(end) = next.filter(|end| *end > time) {
            (time, duration) = (end, (duration - (end - time)).max(1));
        }
        let follows = next == Some(time);
        next = Some(time + duration);
        match &mut run {
            Some(run) if follows && run.duration == duration => run.repeat += 1,
            _ => {
                run.into_iter().for_each(|run| run.push(xml));
                run = Some(Run { time: (!follows).then_some(time), duration, repeat: 0 });
            }
        }
    }
    run.into_iter().for_each(|run| run.push(xml));
    xml.close("SegmentTimeline");
    xml.close("SegmentTemplate");
}

/// A gap is listed like a segment, so that `$Number$` goes on counting slots; what players get there has no samples.
fn span(broadcast: &Broadcast<'_>, live: &BroadcastTrack<'_>, entry: &Entry<'_>) -> (i64, i64) {
    match &entry.segment {
        Some(segment) => (segment.time.0, segment.duration.0),
        None => {
            let start = broadcast.grid.start(entry.number, live.track.timescale).0;
            let before = live_timeline::last_before(live, entry.number).map(|before| before.time.0 + before.duration.0);
            let start = before.map_or(start, |end| start.max(end));
            let end = broadcast.grid.start(entry.number + 1, live.track.timescale).0;
            // What follows may begin half a frame early, and the timeline must not go back (ISO/IEC 23009-1 §5.3.9.6.3).
            let after = live.segments(entry.number + 1).next().filter(|next| next.number == entry.number + 1);
            let end = after.map_or(end, |next| end.min(next.time.0));
            (start, (end - start).max(1))
        }
    }
}

/// Consecutive segments of one duration.
#[derive(Clone, Copy)]
struct Run {
    time: Option<i64>,
    duration: i64,
    repeat: u64,
}

impl Run {
    fn push(self, xml: &mut Xml) {
        xml.empty("S", |tag| {
            if let Some(time) = self.time {
                tag.integer("t", time);
            }
            tag.integer("d", self.duration);
            if self.repeat > 0 {
                tag.integer("r", self.repeat);
            }
        });
    }
}

/// Event streams (§5.10.2): one for each scheme, in order of appearance.
fn push_events(xml: &mut Xml, broadcast: &Broadcast<'_>, period: &Period) {
    let end = period.end.map_or(u64::MAX, |end| time_of(broadcast, end));
    let start = time_of(broadcast, period.first);
    let ranges = breaks::ranges(broadcast.marks, &breaks::splices(broadcast.marks));
    let inside = |(mark, range): &(&Mark, &(Duration, Duration))| {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        micros(mark.time) < end && micros(range.1) >= start && live_timeline::is_within(broadcast, mark, **range)
    };
    let marks: Vec<&Mark> = broadcast.marks.iter().zip(&ranges).filter(inside).map(|(mark, _)| mark).collect();
    let scheme = |mark: &Mark| match &mark.message {
        Message::Scte35(_) => (SCTE35_SCHEME.to_owned(), String::new()),
        Message::Event { scheme, value, .. } => (scheme.clone(), value.clone()),
    };
    let mut schemes: Vec<(String, String)> = Vec::new();
    for mark in &marks {
        let scheme = scheme(mark);
        if !schemes.contains(&scheme) {
            schemes.push(scheme);
        }
    }
    for of in schemes {
        xml.open("EventStream", |tag| {
            tag.set("schemeIdUri", &of.0);
            if !of.1.is_empty() {
                tag.set("value", &of.1);
            }
            tag.integer("timescale", Timescale::MPEG.per_second());
            tag.integer("presentationTimeOffset", offset(period, Timescale::MPEG));
        });
        for mark in marks.iter().filter(|mark| scheme(mark) == of) {
            push_event(xml, mark);
        }
        xml.close("EventStream");
    }
}

fn push_event(xml: &mut Xml, mark: &Mark) {
    let id = match &mark.message {
        Message::Scte35(_) => crc32fast::hash(mark.id.as_bytes()),
        Message::Event { id, .. } => *id,
    };
    xml.open("Event", |tag| {
        tag.integer("presentationTime", Timescale::MPEG.ticks_floor(mark.time).0);
        if let Some(duration) = mark.duration {
            tag.integer("duration", Timescale::MPEG.ticks_floor(duration).0);
        }
        tag.integer("id", id);
        if matches!(mark.message, Message::Event { .. }) {
            tag.set("contentEncoding", "base64");
        }
    });
    match &mark.message {
        Message::Scte35(section) => {
            xml.open("Signal", |tag| {
                tag.set("xmlns", SCTE35_NAMESPACE);
            });
            xml.text("Binary", &BASE64_STANDARD.encode(section));
            xml.close("Signal");
        }
        Message::Event { data, .. } => xml.content(&BASE64_STANDARD.encode(data)),
    }
    xml.close("Event");
}
