//! Playlists, MPDs and segments of channels: what lies below `/live/{channel}/`.
//!
//! A pure function of the request, one snapshot of the channel and the time. What is not there yet and will be soon is a
//! watermark to wait for: a playlist that was asked for by number (RFC 8216bis §6.2.5.2), a part that was hinted (§6.2.6),
//! the segment after the last.
//!
//! What a stretch (`?start=&end=`) means where the channel does not reach: a start before the window is the start of the
//! window, and one after the live edge is 404, as is a stretch of which nothing is left; an end after the live edge is
//! waited for by a playlist that grows until then.

mod kept;
mod key_frames;
mod query;
mod smooth;
mod source;
mod text;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quick_cache::OptionsBuilder;
use quick_cache::sync::Cache;

use crate::base::{Extent, Payload, Ticks, Timescale, Watermark};
use crate::http::{Kind, Request, Response, Status};
use crate::live::{Located, TimeRange};
use crate::media::broadcast::{Broadcast, BroadcastTrack, Position, State};
use crate::media::{self, track};
use crate::package::live_url::{Resource, Stretch};
use crate::package::{dash, date, hls};

use super::Wait;
use super::manifest::{Label, Manifest};
use super::representation::{Coding, Description, Representation};
use kept::{Kept, Key, KeyRef, Text, Version, Weight};
pub use query::BadQuery;
use query::{Directives, Parameters};
pub use source::Source;
pub use transport::Wanted;

const HLS: &str = "application/vnd.apple.mpegurl";
const DASH: &str = "application/dash+xml";
const NO_STORE_FIELD: &str = "Cache-Control: no-store\r\n";
/// The name of an initialisation segment is a hash of its bytes.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// In target durations: how long a blocking request waits (§6.2.5.2), and no longer.
const PATIENCE_TARGETS: u32 = 3;
/// In target durations: what was waited for has a URL of its own that is never asked for again.
const BLOCKED_AGE_TARGETS: u64 = 6;
/// Channels of which it is remembered that a format does not carry them.
const REFUSED_MAX: usize = 1_024;
/// In slots: how far ahead of the last segment a request may name (§6.2.5.2).
const AHEAD_SEGMENTS: u64 = 2;

/// Answers what lies below `/live/{channel}/`, and keeps what it rendered.
pub struct Live {
    manifests: Cache<Key, Kept, Weight>,
    /// Those that there are none of, which was logged.
    refused: Cache<Key, ()>,
    /// To who waited for a part or segment in vain: it was left out.
    missing: Response,
    /// To who waited for a playlist in vain (§6.2.5.2).
    late: Response,
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
    /// It has to be made of what is stored, if it has not been.
    Make(Box<Wanted>),
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
            refused: Cache::new(REFUSED_MAX),
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
            Resource::SmoothManifest => self.smooth(request, channel, snapshot),
            Resource::SmoothFragment { bitrate, stream, time } => {
                self.smooth_fragment(request, snapshot, bitrate, stream, time)
            }
            Resource::Transport(resource) => self.transport(request, channel, snapshot, resource),
            Resource::Init { track, init } => Ok(self::init(request, snapshot, track, init)),
            Resource::Segment { track, number } => {
                let etag = format_args!("{track}-{number}");
                let located = match snapshot.segment(track, number) {
                    Located::Missing => due(snapshot, track, number, now),
                    other => other,
                };
                Ok(self.located(request, snapshot, track, located, etag))
            }
            Resource::KeyFramePlaylist { track } => self.key_frame_playlist(request, channel, snapshot, track),
            Resource::KeyFrame { track, number } => Ok(self.key_frame(request, snapshot, track, number)),
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
            let patience = patience(&broadcast, live);
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
        let which = hls::Live { stretch, is_whole: is_whole(&broadcast, stretch), skip, cues: snapshot.cue_tags() };
        self.keep(request, key, Version { mark: position.mark(), state }, || {
            let broadcast = snapshot.broadcast(range(stretch))?;
            let text = hls::live_media(&broadcast, broadcast.track(track)?, &which);
            Some((Kind::MediaPlaylist, HLS, text, age))
        })
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
        let patience = patience(&broadcast, live);
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
                let body = key_frames::nothing(time, duration);
                Outcome::Ready(whole(Kind::Segment, live, etag, &cache_control, body).respond(request))
            }
            Located::Later(until) => Outcome::Wait(Wait { until, patience, otherwise: Box::new(self.missing.clone()) }),
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

/// A segment that should have come by now, though none of its track have for longer than a slot or two: the encoder is away.
/// dash.js asks for it by the clock, and once it was refused some times it never asks for anything again.
fn due<S: Source>(source: &S, track: &str, number: u64, now: Duration) -> Located {
    let Some((broadcast, _)) = source.edge() else { return Located::Missing };
    let Some((live, watch)) = broadcast.track(track).zip(source.watch(track)) else { return Located::Missing };
    let (grid, target) = (broadcast.grid, Position { number, parts: 1 }.mark());
    let is_due = number <= grid.number(grid.timescale.ticks_floor(now), grid.timescale);
    let is_to_come = number > broadcast.listed(live).number && watch.mark() < target;
    if is_due && is_to_come && grid.part.is_some() && broadcast.state == State::Ongoing {
        return Located::Later(Watermark { watch: watch.clone(), target });
    }
    Located::Missing
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

/// How long a request waits for more of a track. What is said is known for as long as it is shown, so text may be ahead of the
/// others, and what comes behind it is as much further off.
fn patience(broadcast: &Broadcast<'_>, live: &BroadcastTrack<'_>) -> Duration {
    let ahead = match live.track.kind() {
        media::Kind::Text => broadcast.listed(live).number.saturating_sub(broadcast.next),
        _ => 0,
    };
    let ahead = broadcast.grid.slot_duration() * u32::try_from(ahead).unwrap_or(0);
    target_duration(broadcast) * PATIENCE_TARGETS + ahead
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

/// `max-age` in seconds of what lists whole segments: half a target duration, there being nothing new before that is over. What is
/// finished stays as it is.
fn whole_age(broadcast: &Broadcast<'_>) -> u64 {
    let target = target_duration(broadcast).as_secs();
    match broadcast.state {
        State::Ended => target,
        State::Ongoing => (target / 2).max(1),
    }
}

/// As in [`hls::Live`].
fn is_whole(broadcast: &Broadcast<'_>, stretch: Stretch) -> bool {
    let number_at = |time: Duration| {
        let micros = Ticks(i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
        broadcast.grid.number(micros, Timescale::MICROS)
    };
    stretch.start.is_none_or(|start| number_at(start) >= broadcast.first)
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
