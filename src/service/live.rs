//! Playlists, MPDs and segments of channels: what lies below `/live/{channel}/`.
//!
//! A pure function of the request, one snapshot of the channel and the time. What is not there yet and will be soon is a
//! watermark to wait for: a playlist that was asked for by number (RFC 8216bis §6.2.5.2), a part that was hinted (§6.2.6),
//! the segment after the last.
//!
//! What a stretch (`?start=&end=`) means where the channel does not reach: a start before the window is the start of the
//! window, and one after the live edge is 404, as is a stretch of which nothing is left; an end after the live edge is
//! waited for by a playlist that grows until then.

use std::borrow::Cow;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, OptionsBuilder, Weighter};
use thiserror::Error;

use crate::base::instant;
use crate::base::{Extent, Payload, Ticks, Timescale, Watch, Watermark};
use crate::http::{Kind, Request, Response, Status, uri};
use crate::live::{Located, Snapshot, TimeRange};
use crate::media::broadcast::{Broadcast, BroadcastTrack, Position, State};
use crate::media::{isobmff, track};
use crate::package::live_url::{Resource, Stretch};
use crate::package::{dash, date, hls};

use crate::sys::residency;

use super::Wait;
use super::manifest::{Label, Manifest};
use super::representation::{Coding, Description, Representation};

const HLS: &str = "application/vnd.apple.mpegurl";
const DASH: &str = "application/dash+xml";
const VTT: &str = "text/vtt; charset=utf-8";
const NO_STORE_FIELD: &str = "Cache-Control: no-store\r\n";
/// The name of an initialisation segment is a hash of its bytes.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// In target durations: how long a blocking request waits (§6.2.5.2), and no longer.
const PATIENCE_TARGETS: u32 = 3;
/// In target durations: what was waited for has a URL of its own that is never asked for again.
const BLOCKED_AGE_TARGETS: u64 = 6;
/// In slots: how far ahead of the last segment a request may name (§6.2.5.2).
const AHEAD_SEGMENTS: u64 = 2;

/// Answers what lies below `/live/{channel}/`, and keeps what it rendered.
pub struct Live {
    manifests: Cache<Key, Kept, Weight>,
    /// To who waited for a part or segment in vain: it was left out.
    missing: Response,
    /// To who waited for a playlist in vain (§6.2.5.2).
    late: Response,
}

/// What is asked of a channel here.
pub trait Source {
    fn broadcast(&self, range: Option<TimeRange>) -> Option<Broadcast<'_>>;

    /// The live edge, of which everybody asks: [`Source::broadcast`] of everything, and its fingerprint. Runs may be missing
    /// where the tail tells how far the track has come.
    fn edge(&self) -> Option<(Broadcast<'_>, u64)>;

    fn init(&self, track: &str, name: &str) -> Option<Extent>;

    fn segment(&self, track: &str, number: u64) -> Located;

    fn part(&self, track: &str, number: u64, part: u32) -> Located;

    fn watch(&self, track: &str) -> Option<&Arc<Watch>>;

    /// Whether a stretch of one of its files can be read without waiting for the disk: a system call.
    fn is_resident(&self, extent: &Extent) -> bool;

    /// EXT-X-CUE-OUT and EXT-X-CUE-IN beside EXT-X-DATERANGE.
    fn cue_tags(&self) -> bool;
}

pub enum Outcome {
    Ready(Response),
    /// The channel has nothing of that name.
    Missing,
    /// Ask again when it has come so far.
    Wait(Wait),
    Compress(Arc<Manifest>),
    /// What it would be made of is not in memory.
    Read(Vec<Extent>),
}

/// Why a query is refused; the display is the body of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadQuery {
    #[error("{name} is a decimal number without sign, not {found:?}")]
    Number { name: &'static str, found: String },
    #[error("{name} is given more than once")]
    Repeated { name: &'static str },
    #[error("_HLS_part needs _HLS_msn beside it")]
    PartAlone,
    #[error("_HLS_skip is YES or v2, not {found:?}")]
    Skip { found: String },
    #[error("_HLS_msn is {found}, which is more than two segments after the last one, {last}")]
    SegmentAhead { found: u64, last: u64 },
    #[error("_HLS_part is {found}, which is more than {limit} parts after the last one of that segment")]
    PartAhead { found: u32, limit: u32 },
    #[error("{name} is a date and time of ISO 8601 with a time zone, or seconds since 1970, not {found:?}")]
    Time { name: &'static str, found: String },
    #[error("end is not after start")]
    Order,
}

/// Directives of a playlist request (§6.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Directives {
    number: Option<u64>,
    part: Option<u32>,
    skip: bool,
}

impl Live {
    /// `missing` is the answer for names that nothing has.
    pub fn new(cache_bytes: u64, missing: Response) -> Live {
        const SHARDS: usize = 8;
        const MANIFEST_BYTES_TYPICAL: u64 = 8 * 1024;
        let cache = OptionsBuilder::new()
            .shards(SHARDS)
            .estimated_items_capacity((cache_bytes / MANIFEST_BYTES_TYPICAL).max(1) as usize)
            .weight_capacity(cache_bytes)
            .build()
            .expect("both capacities are given");
        let reason = "what the playlist is to contain did not come in time";
        Live {
            manifests: Cache::with_options(cache, Weight, Default::default(), Default::default()),
            missing,
            late: Response::error(Status::SERVICE_UNAVAILABLE, reason, NO_STORE_FIELD),
        }
    }

    /// The answer to a GET or HEAD. `now` is the time since 1970.
    pub fn answer<S: Source>(
        &self,
        request: &Request<'_>,
        channel: &str,
        snapshot: &S,
        resource: Resource<'_>,
        now: Duration,
    ) -> Outcome {
        let answered = match resource {
            Resource::Time => Ok(Outcome::Ready(time(now))),
            Resource::Multivariant => self.manifest(request, channel, snapshot, Text::Hls),
            Resource::Mpd => self.manifest(request, channel, snapshot, Text::Dash),
            Resource::MediaPlaylist { track } => self.media_playlist(request, channel, snapshot, track),
            Resource::Init { track, init } => Ok(self::init(request, snapshot, track, init)),
            Resource::Segment { track, number } => {
                let etag = format_args!("{track}-{number}");
                Ok(self.located(request, snapshot, track, snapshot.segment(track, number), etag))
            }
            Resource::TextSegment { track, number } => {
                let (located, etag) = (snapshot.segment(track, number), format_args!("{track}-{number}-vtt"));
                Ok(self.text(request, snapshot, (track, number), located, etag))
            }
            Resource::TextPart { track, number, part } => {
                let (located, etag) = (snapshot.part(track, number, part), format_args!("{track}-{number}.{part}-vtt"));
                Ok(self.text(request, snapshot, (track, number), located, etag))
            }
            Resource::Part { track, number, part } => {
                let etag = format_args!("{track}-{number}.{part}");
                Ok(self.located(request, snapshot, track, snapshot.part(track, number, part), etag))
            }
        };
        answered.unwrap_or_else(|refused| {
            Outcome::Ready(Response::error(Status::BAD_REQUEST, &refused.to_string(), NO_STORE_FIELD))
        })
    }

    /// The multivariant playlist or the MPD.
    fn manifest<S: Source>(
        &self,
        request: &Request<'_>,
        channel: &str,
        snapshot: &S,
        text: Text,
    ) -> Result<Outcome, BadQuery> {
        let stretch = Parameters::of(request).stretch()?;
        let Some((broadcast, state)) = seen(snapshot, stretch) else { return Ok(Outcome::Missing) };
        // What the multivariant playlist says hardly changes, but rates settle in the first segments.
        let mark = Position { number: broadcast.next, parts: 0 }.mark();
        let key = KeyRef { channel, track: "", text, stretch };
        let age = playlist_age(&broadcast, None);
        self.keep(request, key, Version { mark, state }, || {
            let broadcast = snapshot.broadcast(range(stretch))?;
            let (kind, content_type, text) = match text {
                Text::Dash => (Kind::Mpd, DASH, dash::live_mpd(&broadcast, stretch)),
                _ => (Kind::Multivariant, HLS, hls::live_multivariant(&broadcast, stretch)),
            };
            Some((kind, content_type, text, age))
        })
    }

    fn media_playlist<S: Source>(
        &self,
        request: &Request<'_>,
        channel: &str,
        snapshot: &S,
        track: &str,
    ) -> Result<Outcome, BadQuery> {
        let parameters = Parameters::of(request);
        let (stretch, directives) = (parameters.stretch()?, parameters.directives()?);
        let Some((broadcast, state)) = seen(snapshot, stretch) else { return Ok(Outcome::Missing) };
        let Some(live) = broadcast.track(track) else { return Ok(Outcome::Missing) };
        let position = broadcast.listed(live);
        let is_blocking = directives.number.is_some() && broadcast.state == State::Ongoing;
        if is_blocking && let Some(target) = wanted(&broadcast, live, position, directives)? {
            let Some(watch) = snapshot.watch(track) else { return Ok(Outcome::Missing) };
            let patience = target_duration(&broadcast) * PATIENCE_TARGETS;
            let until = Watermark { watch: watch.clone(), target: target.mark() };
            return Ok(Outcome::Wait(Wait { until, patience, otherwise: Box::new(self.late.clone()) }));
        }
        // §6.2.5.1: ignored where it is not offered, so that two URLs share one text.
        let skip = directives.skip && hls::can_skip(&broadcast);
        let text = match (skip, is_blocking) {
            (false, false) => Text::Media,
            (true, false) => Text::Delta,
            (false, true) => Text::BlockedMedia,
            (true, true) => Text::BlockedDelta,
        };
        let key = KeyRef { channel, track, text, stretch };
        let age = playlist_age(&broadcast, Some(is_blocking));
        let began = stretch.start.is_none_or(|start| number_at(&broadcast, start) >= broadcast.first);
        let which = hls::Live { stretch, is_whole: began, skip, cues: snapshot.cue_tags() };
        self.keep(request, key, Version { mark: position.mark(), state }, || {
            let broadcast = snapshot.broadcast(range(stretch))?;
            let text = hls::live_media(&broadcast, broadcast.track(track)?, &which);
            Some((Kind::MediaPlaylist, HLS, text, age))
        })
    }

    /// A segment or part of WebVTT, made of the one that is stored.
    fn text<S: Source>(
        &self,
        request: &Request<'_>,
        source: &S,
        (track, number): (&str, u64),
        located: Located,
        etag: std::fmt::Arguments<'_>,
    ) -> Outcome {
        let Some((broadcast, _)) = source.broadcast(None).zip(source.edge()) else { return Outcome::Missing };
        let found = broadcast.track(track).filter(|live| hls::is_webvtt(live.track));
        let Some(live) = found else { return Outcome::Missing };
        let (scale, target) = (live.track.timescale, target_duration(&broadcast));
        let wait = |until| {
            Outcome::Wait(Wait {
                until,
                patience: target * PATIENCE_TARGETS,
                otherwise: Box::new(self.missing.clone()),
            })
        };
        let text = match located {
            Located::Whole(extent) => {
                // What has left the window is still there, and of the same format as what comes after it.
                let init = live.segments(number).next().and_then(|segment| source.init(track, segment.init));
                let Some(init) = init else { return Outcome::Missing };
                let absent: Vec<Extent> =
                    [&init, &extent].into_iter().filter(|extent| !source.is_resident(extent)).cloned().collect();
                if !absent.is_empty() {
                    return Outcome::Read(absent);
                }
                hls::live_text_segment(mapped(&init), mapped(&extent), scale)
            }
            Located::Gap { time, .. } => hls::live_text_gap(time, scale),
            // It is asked for before it is listed: when it is whole.
            Located::Growing(_) => {
                let target = Position { number: number.saturating_add(1), parts: 0 }.mark();
                let Some(watch) = source.watch(track) else { return Outcome::Missing };
                return wait(Watermark { watch: watch.clone(), target });
            }
            Located::Later(until) => return wait(until),
            Located::Missing => return Outcome::Missing,
        };
        let cache_control = segment_cache_control(&broadcast);
        let description = Description {
            kind: Kind::Text,
            content_type: VTT,
            coding: Coding::Only,
            etag,
            last_modified: None,
            cache_control: &cache_control,
        };
        let body = Payload::from(Bytes::from(text));
        Outcome::Ready(Representation::new(description, body).respond(request))
    }

    fn located<S: Source>(
        &self,
        request: &Request<'_>,
        source: &S,
        track: &str,
        located: Located,
        etag: std::fmt::Arguments<'_>,
    ) -> Outcome {
        let Some((broadcast, _)) = source.edge() else { return Outcome::Missing };
        let Some(live) = broadcast.track(track) else { return Outcome::Missing };
        let target = target_duration(&broadcast);
        let cache_control = segment_cache_control(&broadcast);
        match located {
            Located::Whole(extent) => {
                let body = Payload::from(extent);
                Outcome::Ready(whole(Kind::Segment, live, etag, &cache_control, body).respond(request))
            }
            Located::Growing(growing) => {
                // Its length is not known, so there are no ranges of it.
                let request = Request { range: None, ..request.clone() };
                let mut response = whole(Kind::Segment, live, etag, &cache_control, Payload::Empty).respond(&request);
                if response.status == Status::OK {
                    response.growing = Some(Box::new(growing));
                }
                Outcome::Ready(response)
            }
            // A player of DASH asks for a segment that is not there until it gives up, or for ever. In HLS it is EXT-X-GAP.
            Located::Gap { time, duration } => {
                let mut bytes = Vec::new();
                let ticks = u32::try_from(duration.0).unwrap_or(u32::MAX);
                isobmff::write::empty_fragment(1, time.0.max(0) as u64, ticks, &mut bytes);
                let body = Payload::from(Bytes::from(bytes));
                Outcome::Ready(whole(Kind::Segment, live, etag, &cache_control, body).respond(request))
            }
            Located::Later(until) => Outcome::Wait(Wait {
                until,
                patience: target * PATIENCE_TARGETS,
                otherwise: Box::new(self.missing.clone()),
            }),
            Located::Missing => Outcome::Missing,
        }
    }

    /// Renders once for all who ask for the same. The text before goes: of a window of days it is megabytes.
    fn keep(
        &self,
        request: &Request<'_>,
        key: KeyRef<'_>,
        version: Version,
        render: impl FnOnce() -> Option<(Kind, &'static str, String, u64)>,
    ) -> Result<Outcome, BadQuery> {
        let kept = self.manifests.get(&key).filter(|kept| kept.version == version);
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let Some((kind, content_type, text, age)) = render() else { return Ok(Outcome::Missing) };
                let label = Label {
                    kind,
                    content_type,
                    source: format!("{}{}", if key.track.is_empty() { "index" } else { key.track }, key.text.suffix()),
                    last_modified: None,
                    cache_control: format!("max-age={age}"),
                };
                let kept = Kept { version, manifest: Arc::new(Manifest::new(label, text)) };
                self.manifests.insert(key.to_owned(), kept.clone());
                kept
            }
        };
        Ok(match kept.manifest.form(request) {
            Some(form) => Outcome::Ready(form.respond(request)),
            // What the cache does not keep would be compressed anew for every request: it goes out as it is.
            None if self.manifests.peek(&key).is_none() => Outcome::Ready(kept.manifest.plain().respond(request)),
            None => Outcome::Compress(kept.manifest),
        })
    }
}

/// What a playlist of this stretch is made from, but for runs that only its text needs; and its fingerprint.
fn seen<S: Source>(source: &S, stretch: Stretch) -> Option<(Broadcast<'_>, u64)> {
    match range(stretch) {
        None => source.edge(),
        range => source.broadcast(range).map(|broadcast| {
            let fingerprint = broadcast.fingerprint();
            (broadcast, fingerprint)
        }),
    }
}

fn init<S: Source>(request: &Request<'_>, source: &S, track: &str, init: &str) -> Outcome {
    let Some((extent, (broadcast, _))) = source.init(track, init).zip(source.edge()) else {
        return Outcome::Missing;
    };
    let Some(live) = broadcast.track(track) else { return Outcome::Missing };
    let etag = format_args!("{track}-{init}");
    Outcome::Ready(whole(Kind::Init, live, etag, IMMUTABLE, Payload::from(extent)).respond(request))
}

/// The server's clock as `xs:dateTime`, never from a cache (ISO/IEC 23009-1 §5.8.5.7, http-xsdate).
fn time(now: Duration) -> Response {
    let text = date::iso(u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
    let mut response = Response::error(Status::OK, "", NO_STORE_FIELD);
    // Without the line end: not every player's parser of dates expects one.
    response.body = Payload::from(Bytes::from(text));
    response
}

fn whole(
    kind: Kind,
    live: &BroadcastTrack<'_>,
    etag: std::fmt::Arguments<'_>,
    cache_control: &str,
    body: Payload,
) -> Representation {
    // RFC 4337 §2.
    let content_type = match live.track.kind() {
        track::Kind::Video => "video/mp4",
        track::Kind::Audio => "audio/mp4",
        track::Kind::Text => "application/mp4",
    };
    let description =
        Description { kind, content_type, coding: Coding::Only, etag, last_modified: None, cache_control };
    Representation::new(description, body)
}

/// A number never means other bytes, but it is gone with the window: nobody need keep it for longer than that.
fn segment_cache_control(broadcast: &Broadcast<'_>) -> String {
    let window = broadcast.next.saturating_sub(broadcast.first) as u128 * broadcast.grid.slot_duration().as_nanos();
    let window = u64::try_from(window / 1_000_000_000).unwrap_or(u64::MAX);
    let age = window.max(target_duration(broadcast).as_secs() * BLOCKED_AGE_TARGETS);
    format!("public, max-age={age}, immutable")
}

/// Zeros where the file was cut; nothing where it is not mapped.
fn mapped(extent: &Extent) -> &[u8] {
    let file = extent.file.mapped().unwrap_or_default();
    file.get(extent.offset as usize..extent.end() as usize).unwrap_or_default()
}

fn target_duration(broadcast: &Broadcast<'_>) -> Duration {
    Duration::from_secs(u64::from(broadcast.grid.target.max(1)))
}

/// `max-age` in seconds. Plain requests find something newer after a part, or half a target duration without parts; caches
/// count whole seconds. Finished playlists stay as they are, except that their segments leave the window.
fn playlist_age(broadcast: &Broadcast<'_>, is_blocking: Option<bool>) -> u64 {
    let target = u64::from(broadcast.grid.target.max(1));
    match (broadcast.state, is_blocking) {
        (State::Ended, _) => target,
        (State::Ongoing, Some(true)) => BLOCKED_AGE_TARGETS * target,
        (State::Ongoing, Some(false)) if broadcast.grid.part.is_some() => 1,
        (State::Ongoing, _) => (target / 2).max(1),
    }
}

fn number_at(broadcast: &Broadcast<'_>, time: Duration) -> u64 {
    let micros = Ticks(i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
    broadcast.grid.number(micros, Timescale::MICROS)
}

fn range(stretch: Stretch) -> Option<TimeRange> {
    (!stretch.is_live()).then(|| TimeRange { start: stretch.start.unwrap_or_default(), end: stretch.end })
}

/// What a blocking request has to wait for; `None` if it is there.
fn wanted(
    broadcast: &Broadcast<'_>,
    live: &BroadcastTrack<'_>,
    position: Position,
    directives: Directives,
) -> Result<Option<Position>, BadQuery> {
    let Some(number) = directives.number else { return Ok(None) };
    // `position.number` is the first that is not complete; the last one of the playlist is before it.
    let last = position.number.saturating_sub(1);
    if number > last.saturating_add(AHEAD_SEGMENTS) {
        return Err(BadQuery::SegmentAhead { found: number, last });
    }
    let target = match directives.part.filter(|_| broadcast.grid.part.is_some()) {
        None => Position { number: number + 1, parts: 0 },
        Some(part) => {
            let limit = hls::advance_part_limit(live);
            let there = if number == position.number { position.parts } else { 0 };
            if number >= position.number && part > there.saturating_add(limit) {
                return Err(BadQuery::PartAhead { found: part, limit });
            }
            // A part after the last one of a segment is the first of the next (§6.2.5.2): whichever comes first.
            Position { number, parts: part.saturating_add(1) }
        }
    };
    // A complete segment of which that part does not exist: the first of the next is meant.
    let target = match directives.part {
        Some(part) if number < position.number && part >= parts_of(live, number) => {
            Position { number: number + 1, parts: 1 }
        }
        _ => target,
    };
    Ok((position < target).then_some(target))
}

/// As far as they are known; a segment that has none to show is old enough to have all.
fn parts_of(live: &BroadcastTrack<'_>, number: u64) -> u32 {
    let segment = live.tail.iter().find(|segment| segment.number == number);
    segment.map_or(u32::MAX, |segment| segment.parts.len() as u32)
}

/// What may be asked in a query; names that mean nothing here are left out.
#[derive(Default)]
struct Parameters<'q>([Given<'q>; NAMES.len()]);

/// RFC 8216bis §6.2.5, and our own.
const NAMES: [&str; 5] = ["start", "end", "_HLS_msn", "_HLS_part", "_HLS_skip"];
const START: usize = 0;
const END: usize = 1;
const MSN: usize = 2;
const PART: usize = 3;
const SKIP: usize = 4;

#[derive(Clone, Copy, Default)]
enum Given<'q> {
    #[default]
    Not,
    Once(&'q str),
    Repeatedly,
}

impl<'q> Parameters<'q> {
    fn of(request: &Request<'q>) -> Parameters<'q> {
        let mut parameters = Parameters::default();
        for (name, value) in request.query.into_iter().flat_map(uri::parameters) {
            if let Some(at) = NAMES.iter().position(|known| uri::is_named(name, known)) {
                parameters.0[at] = match parameters.0[at] {
                    Given::Not => Given::Once(value),
                    _ => Given::Repeatedly,
                };
            }
        }
        parameters
    }

    /// Of two values one would be ignored, and caches keep the answers apart.
    fn value(&self, at: usize) -> Result<Option<Cow<'q, str>>, BadQuery> {
        match self.0[at] {
            Given::Not => Ok(None),
            // What cannot be decoded means nothing below.
            Given::Once(value) => Ok(Some(uri::decode(value).unwrap_or(Cow::Borrowed(value)))),
            Given::Repeatedly => Err(BadQuery::Repeated { name: NAMES[at] }),
        }
    }

    fn directives(&self) -> Result<Directives, BadQuery> {
        let number = |at: usize| match self.value(at)? {
            None => Ok(None),
            Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                match text.parse::<u64>() {
                    // Far beyond anything there will be; more than that is refused as malformed.
                    Ok(number) if number < 1 << 51 => Ok(Some(number)),
                    _ => Err(BadQuery::Number { name: NAMES[at], found: excerpt(&text) }),
                }
            }
            Some(text) => Err(BadQuery::Number { name: NAMES[at], found: excerpt(&text) }),
        };
        let (msn, part) = (number(MSN)?, number(PART)?);
        if msn.is_none() && part.is_some() {
            return Err(BadQuery::PartAlone);
        }
        let skip = match self.value(SKIP)?.as_deref() {
            None => false,
            Some("YES" | "v2") => true,
            Some(text) => return Err(BadQuery::Skip { found: excerpt(text) }),
        };
        let part = part.map(|part| u32::try_from(part).unwrap_or(u32::MAX));
        Ok(Directives { number: msn, part, skip })
    }

    fn stretch(&self) -> Result<Stretch, BadQuery> {
        let time = |at: usize| match self.value(at)? {
            None => Ok(None),
            Some(text) => match moment(&text) {
                Some(time) => Ok(Some(time)),
                None => Err(BadQuery::Time { name: NAMES[at], found: excerpt(&text) }),
            },
        };
        let stretch = Stretch { start: time(START)?, end: time(END)? };
        match (stretch.start, stretch.end) {
            (Some(start), Some(end)) if end <= start => Err(BadQuery::Order),
            _ => Ok(stretch),
        }
    }
}

/// As much of a value as belongs into an answer.
fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

/// What [`instant::read`] takes, to a millisecond, so that few URLs name the same stretch.
fn moment(text: &str) -> Option<Duration> {
    const LEN_MAX: usize = 48;
    if text.len() > LEN_MAX {
        return None;
    }
    instant::read(text).and_then(|time| u64::try_from(time.as_millis()).ok()).map(Duration::from_millis)
}

impl Source for Snapshot {
    fn broadcast(&self, range: Option<TimeRange>) -> Option<Broadcast<'_>> {
        Snapshot::broadcast(self, range)
    }

    fn edge(&self) -> Option<(Broadcast<'_>, u64)> {
        Snapshot::edge(self)
    }

    fn init(&self, track: &str, name: &str) -> Option<Extent> {
        Snapshot::init(self, track, name)
    }

    fn segment(&self, track: &str, number: u64) -> Located {
        Snapshot::segment(self, track, number)
    }

    fn part(&self, track: &str, number: u64, part: u32) -> Located {
        Snapshot::part(self, track, number, part)
    }

    fn is_resident(&self, extent: &Extent) -> bool {
        residency::is_resident(extent.file.fd(), extent.offset, extent.len)
    }

    fn watch(&self, track: &str) -> Option<&Arc<Watch>> {
        Snapshot::watch(self, track)
    }

    fn cue_tags(&self) -> bool {
        Snapshot::cue_tags(self)
    }
}

/// Which text: of each the newest is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    channel: Box<str>,
    track: Box<str>,
    text: Text,
    stretch: Stretch,
}

#[derive(Clone)]
struct Kept {
    version: Version,
    manifest: Arc<Manifest>,
}

/// What a text is made from: the same for all who ask at the same point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    /// [`Position::mark`] of the track.
    mark: u64,
    /// [`Broadcast::fingerprint`].
    state: u64,
}

/// A [`Key`] that a hit does not allocate for. Hashes as `Key` does: the fields are the same in the same order, and a `Box`
/// hashes as what it holds.
#[derive(Clone, Copy, Hash)]
struct KeyRef<'a> {
    channel: &'a str,
    track: &'a str,
    text: Text,
    stretch: Stretch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Text {
    Hls,
    Dash,
    Media,
    Delta,
    /// With the longer life of what was waited for.
    BlockedMedia,
    BlockedDelta,
}

impl Text {
    fn suffix(self) -> &'static str {
        match self {
            Text::Hls => "-hls",
            Text::Dash => "-dash",
            Text::Media | Text::BlockedMedia => "",
            Text::Delta | Text::BlockedDelta => "-delta",
        }
    }
}

impl KeyRef<'_> {
    fn to_owned(self) -> Key {
        Key { channel: self.channel.into(), track: self.track.into(), text: self.text, stretch: self.stretch }
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.channel == *key.channel
            && *self.track == *key.track
            && (self.text, self.stretch) == (key.text, key.stretch)
    }
}

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Kept> for Weight {
    fn weight(&self, key: &Key, kept: &Kept) -> u64 {
        kept.manifest.weight() + (key.channel.len() + key.track.len()) as u64
    }
}
