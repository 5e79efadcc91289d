//! What is sent of an asset besides its manifests: stored bytes, with a few that are generated.

use bytes::Bytes;
use quick_cache::Equivalent;
use quick_cache::sync::Cache;

use super::{IMMUTABLE, Outcome, Source, VTT};
use crate::base::{Extent, Payload, Ticks};
use crate::http::{Kind, Request};
use crate::media::{TrackView, track};
use crate::package::key_frame::{self, key_frame_at};
use crate::package::{cmaf, hls, mss, single, text, wvtt};
use crate::service::representation::{Coding, Description, Representation};

const JPEG: &str = "image/jpeg";
/// RFC 4337 §2: neither pictures nor sound.
const TEXT_FRAGMENTS: &str = "application/mp4";

pub(super) fn init<S: Source>(source: &S, version: &str, id: &str) -> Option<Representation> {
    let view = source.track(id)?;
    let content_type = media_type(&view)?;
    let etag = format_args!("{version}-{id}-init");
    Some(immutable(source, Kind::Init, content_type, etag, cmaf::init(&view)))
}

pub(super) fn segment<S: Source>(source: &S, version: &str, id: &str, time: Ticks) -> Option<Representation> {
    let view = source.track(id)?;
    let content_type = media_type(&view)?;
    let segment = view.segment_at(time)?;
    let etag = format_args!("{version}-{id}-{}", time.0);
    Some(immutable(source, Kind::Segment, content_type, etag, cmaf::segment(&view, &segment)))
}

pub(super) fn file<S: Source>(source: &S, version: &str, id: &str) -> Option<Representation> {
    let view = source.track(id)?;
    let content_type = media_type(&view)?;
    Some(immutable(source, Kind::Segment, content_type, format_args!("{version}-{id}-file"), single::file(view)?))
}

pub(super) fn sheet<S: Source>(source: &S, version: &str, id: &str, number: u32) -> Option<Representation> {
    let thumbnails = source.thumbnails().filter(|thumbnails| thumbnails.id == id)?;
    let body = Payload::from(thumbnails.sheet(number)?);
    Some(immutable(source, Kind::Image, JPEG, format_args!("{version}-{id}-{number}"), body))
}

/// What of these has to be read in first.
pub(super) fn absent<S: Source>(source: &S, extents: impl IntoIterator<Item = Extent>) -> Option<Vec<Extent>> {
    let absent: Vec<Extent> = extents.into_iter().filter(|extent| !source.is_resident(extent)).collect();
    (!absent.is_empty()).then_some(absent)
}

/// An answer that is described from the sample table.
pub enum Described {
    Ready(Representation),
    /// … at an earlier request, when all of it was whole.
    Kept(Representation),
    Missing,
    Absent(Vec<Extent>),
}

impl Described {
    pub fn answer<S: Source>(self, request: &Request<'_>, source: &S) -> Outcome {
        // What is made of an index that was cut meanwhile must not be kept by anybody.
        if source.is_damaged() || matches!(self, Described::Ready(_)) && !source.is_whole() {
            return Outcome::Damaged;
        }
        match self {
            Described::Ready(representation) | Described::Kept(representation) => {
                Outcome::Ready(representation.respond(request))
            }
            Described::Missing => Outcome::Missing,
            Described::Absent(extents) => Outcome::Read(extents),
        }
    }
}

/// What [`key_frame::head`] made: a few bytes each, and two system calls not to be made for them again.
pub(super) type KeyFrameHeads = Cache<KeyFrameKey, Bytes>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct KeyFrameKey {
    version: Box<str>,
    track: Box<str>,
    time: i64,
}

/// Hashes as [`KeyFrameKey`] does, and a hit does not allocate for it.
#[derive(Clone, Copy, Hash)]
struct KeyFrameRef<'a> {
    version: &'a str,
    track: &'a str,
    time: i64,
}

impl Equivalent<KeyFrameKey> for KeyFrameRef<'_> {
    fn equivalent(&self, key: &KeyFrameKey) -> bool {
        *self.version == *key.version && *self.track == *key.track && self.time == key.time
    }
}

pub(super) fn key_frame<S: Source>(
    source: &S,
    version: &str,
    id: &str,
    time: Ticks,
    heads: &KeyFrameHeads,
) -> Described {
    let view = source.track(id).filter(|view| view.track.kind() == track::Kind::Video);
    let Some((view, frame)) = view.and_then(|view| Some((view, key_frame_at(view, time)?))) else {
        return Described::Missing;
    };
    let etag = format_args!("{version}-{id}-iframe-{}", time.0);
    let described = |head| immutable(source, Kind::Segment, "video/mp4", etag, key_frame::segment(&view, &frame, head));
    let key = KeyFrameRef { version, track: id, time: time.0 };
    if let Some(head) = heads.get(&key) {
        return Described::Kept(described(head));
    }
    let row = frame.fragment.first_sample.get();
    if let Some(absent) = absent(source, source.sample_rows(id, row..row.saturating_add(1))) {
        return Described::Absent(absent);
    }
    let Some(head) = key_frame::head(&view, &frame) else { return Described::Missing };
    if source.is_damaged() || !source.is_whole() {
        return Described::Ready(described(head));
    }
    heads.insert(KeyFrameKey { version: version.into(), track: id.into(), time: time.0 }, head.clone());
    Described::Kept(described(head))
}

pub(super) fn smooth_fragment<S: Source>(
    source: &S,
    version: &str,
    name: (u64, &str, u64),
    cache_control: &str,
) -> Described {
    let (bitrate, stream, time) = name;
    let presentation = source.presentation();
    let Some((view, content, timeline)) = mss::find(&presentation, bitrate, stream, time) else {
        return Described::Missing;
    };
    let needed = match &content {
        mss::Content::Media(segment) => source.sample_rows(&view.track.id, mss::sample_rows(&view, segment)),
        mss::Content::Text(span) => text::source(&view, span),
    };
    if let Some(absent) = absent(source, needed) {
        return Described::Absent(absent);
    }
    let body = match &content {
        mss::Content::Media(segment) => mss::fragment(&view, segment, timeline),
        mss::Content::Text(span) => mss::text_fragment(&view, span, timeline),
    };
    let Some(body) = body else { return Described::Missing };
    let content_type = media_type(&view).unwrap_or(TEXT_FRAGMENTS);
    let description = Description {
        kind: Kind::Segment,
        content_type,
        coding: Coding::Only,
        etag: format_args!("{version}-{}-mss-{time}", view.track.id),
        last_modified: Some(source.published()),
        cache_control,
    };
    Described::Ready(Representation::new(description, body))
}

/// The initialisation segment of text in fragments, of which only the words are stored.
pub(super) fn made_init<S: Source>(source: &S, version: &str, id: &str) -> Described {
    let Some(view) = text_track(source, id) else { return Described::Missing };
    if let Some(absent) = absent(source, [wvtt::header_source(&view)]) {
        return Described::Absent(absent);
    }
    let Some(body) = wvtt::init(&view) else { return Described::Missing };
    Described::Ready(immutable(source, Kind::Init, TEXT_FRAGMENTS, format_args!("{version}-{id}-init"), body))
}

pub(super) fn made_segment<S: Source>(source: &S, version: &str, id: &str, time: Ticks) -> Described {
    let presentation = source.presentation();
    let found = text_track(source, id).and_then(|view| Some((view, text::span_at(&presentation, &view, time)?)));
    let Some((view, span)) = found else { return Described::Missing };
    if let Some(absent) = absent(source, text::source(&view, &span)) {
        return Described::Absent(absent);
    }
    let Some(body) = wvtt::segment(&view, &span) else { return Described::Missing };
    // Unlike the WebVTT segment of that name.
    let etag = format_args!("{version}-{id}-{}-wvtt", time.0);
    Described::Ready(immutable(source, Kind::Segment, TEXT_FRAGMENTS, etag, body))
}

pub(super) fn text_segment<S: Source>(source: &S, version: &str, id: &str, time: Ticks) -> Option<Representation> {
    let presentation = source.presentation();
    let view = text_track(source, id)?;
    let body = hls::text_segment(&presentation, &view, time)?;
    Some(immutable(source, Kind::Text, VTT, format_args!("{version}-{id}-{}", time.0), body))
}

pub(super) fn text<S: Source>(source: &S, version: &str, id: &str) -> Option<Representation> {
    let view = text_track(source, id)?;
    let body = Payload::from(view.extent(0..view.size()));
    Some(immutable(source, Kind::Text, VTT, format_args!("{version}-{id}"), body))
}

pub(super) fn text_track<'s, S: Source>(source: &'s S, id: &str) -> Option<TrackView<'s>> {
    source.track(id).filter(|view| view.track.kind() == track::Kind::Text)
}

/// Tracks are named by what they are.
pub(super) fn is_text(id: &str) -> bool {
    id.starts_with('t')
}

/// RFC 4337 §2; `None` for text, which is not stored in ISO files.
fn media_type(view: &TrackView<'_>) -> Option<&'static str> {
    match view.track.kind() {
        track::Kind::Video => Some("video/mp4"),
        track::Kind::Audio => Some("audio/mp4"),
        track::Kind::Text => None,
    }
}

pub(super) fn immutable<S: Source>(
    source: &S,
    kind: Kind,
    content_type: &str,
    etag: std::fmt::Arguments<'_>,
    body: Payload,
) -> Representation {
    let last_modified = Some(source.published());
    let description =
        Description { kind, content_type, coding: Coding::Only, etag, last_modified, cache_control: IMMUTABLE };
    Representation::new(description, body)
}
