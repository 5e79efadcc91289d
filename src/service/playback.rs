//! Manifests and segments of assets.

mod transport;

use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, OptionsBuilder, Weighter};

use crate::base::{Extent, Payload, Ticks};
use crate::http::{Kind, Request, Response, Status};
use crate::library::Asset;
use crate::media::track;
use crate::media::{Presentation, Thumbnails, TrackView};
use crate::package::key_frame::{self, key_frame_at};
use crate::package::ts::url::Rendition;
use crate::package::url::Resource;
use crate::package::{Addressing, Links, cmaf, dash, hls, mss, single, text, thumbnail_map, ts, wvtt};
use crate::store::derived::{self, Derived};
use crate::sys::residency;

use super::manifest::{Label, Manifest};
use super::movies::{self, Movies};
use super::representation::{Coding, Description, Representation};
use super::selection::{BadQuery, Selection, Takes};

/// What is under a version never changes.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

const HLS: &str = "application/vnd.apple.mpegurl";
const DASH: &str = "application/dash+xml";
const XML: &str = "text/xml; charset=utf-8";
const JPEG: &str = "image/jpeg";
const VTT: &str = "text/vtt; charset=utf-8";
/// RFC 4337 §2: neither pictures nor sound.
const TEXT_FRAGMENTS: &str = "application/mp4";
/// Refusals that are remembered.
const REFUSED_MAX: usize = 1_024;

/// Answers what lies below `/vod/{asset}/`, and keeps the manifests it rendered.
pub struct Playback {
    manifests: Cache<Key, Arc<Manifest>, Weight>,
    pub movies: Movies,
    /// `Cache-Control` of unversioned manifests.
    manifest_cache_control: String,
    derived: Derived,
    /// Manifests that an asset cannot have, of which the log has said why.
    refused: Cache<Key, ()>,
}

/// What is asked of an open asset here.
pub trait Source {
    fn presentation(&self) -> Presentation<'_>;

    fn track(&self, id: &str) -> Option<TrackView<'_>>;

    fn thumbnails(&self) -> Option<Thumbnails<'_>>;
    /// Where some rows of a track's sample table lie on disk, if they do.
    fn sample_rows(&self, track: &str, rows: Range<u32>) -> Option<Extent>;
    /// Whether a stretch of one of its files can be read without waiting for the disk: a system call.
    fn is_resident(&self, extent: &Extent) -> bool;

    /// Seconds since 1970.
    fn published(&self) -> u64;

    /// Whether what was read of it up to now is not what was published.
    fn is_damaged(&self) -> bool;

    /// Whether all that can be read of it is what was published: a system call more.
    fn is_whole(&self) -> bool;
}

pub enum Outcome {
    Ready(Response),
    /// The asset has nothing of that name.
    Missing,
    /// It takes the open asset to say.
    Closed,
    /// The open asset cannot be read.
    Damaged,
    Compress(Arc<Manifest>),
    /// What it would be described from is not in memory.
    Read(Vec<Extent>),
    /// A progressive file has to be described first: [`Movies::make`].
    Movie(Arc<movies::Order>),
    /// A segment has to be made, or opened.
    Make(Wanted),
    /// It was tried, and cannot be made; the log says why.
    Unmade,
}

/// A segment that is made of stored media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name for all assets: versions are hashes of what is in them.
    pub key: Box<str>,
    pub rendition: Box<str>,
    pub time: Ticks,
}

/// The version that a resource is under, if it is.
pub fn version<'a>(resource: &Resource<'a>) -> Option<&'a str> {
    match *resource {
        Resource::Multivariant
        | Resource::Mpd
        | Resource::SingleMultivariant
        | Resource::SingleMpd
        | Resource::Progressive
        | Resource::Thumbnails
        | Resource::SmoothManifest => None,
        Resource::SmoothFragment { version, .. } => version,
        Resource::MediaPlaylist { version, .. }
        | Resource::SinglePlaylist { version, .. }
        | Resource::KeyFramePlaylist { version, .. }
        | Resource::KeyFrame { version, .. }
        | Resource::File { version, .. }
        | Resource::Init { version, .. }
        | Resource::Segment { version, .. }
        | Resource::TextSegment { version, .. }
        | Resource::Sheet { version, .. }
        | Resource::Text { version, .. } => Some(version),
        Resource::Ts(resource) => resource.version(),
    }
}

impl Playback {
    pub fn new(manifest_age: Duration, cache_bytes: u64, derived: derived::Options) -> Playback {
        // Each shard takes its share of the bytes and keeps nothing larger, so they are few: a hit takes a shared lock only.
        const SHARDS: usize = 8;
        const MANIFEST_BYTES_TYPICAL: u64 = 16 * 1024;
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .estimated_items_capacity((cache_bytes / MANIFEST_BYTES_TYPICAL).max(1) as usize)
            .weight_capacity(cache_bytes)
            .build()
            .expect("both capacities are given");
        Playback {
            manifests: Cache::with_options(options, Weight, Default::default(), Default::default()),
            movies: Movies::default(),
            manifest_cache_control: format!("max-age={}", manifest_age.as_secs()),
            derived: Derived::open(derived),
            refused: Cache::new(REFUSED_MAX),
        }
    }

    pub fn derived(&self) -> &Derived {
        &self.derived
    }

    /// The answer to a GET or HEAD. `open` is the asset if it is open; a manifest that was rendered before does without.
    pub fn answer<S: Source>(
        &self,
        request: &Request<'_>,
        asset: &str,
        version: &str,
        resource: Resource<'_>,
        open: Option<&S>,
    ) -> Outcome {
        let manifest =
            |text, track| self.manifest(request, KeyRef { asset, version, text, track, selection: "" }, open);
        let whole = open;
        let open = || open.ok_or(Outcome::Closed);
        let described = match resource {
            Resource::Multivariant => return manifest(Text::Hls, ""),
            Resource::Mpd => return manifest(Text::Dash, ""),
            Resource::MediaPlaylist { track, .. } => return manifest(Text::Media, track),
            Resource::SingleMultivariant => return manifest(Text::SingleHls, ""),
            Resource::SingleMpd => return manifest(Text::SingleDash, ""),
            Resource::SinglePlaylist { track, .. } => return manifest(Text::SingleMedia, track),
            Resource::SmoothManifest => return manifest(Text::Smooth, ""),
            Resource::Thumbnails => return manifest(Text::Thumbnails, ""),
            Resource::KeyFramePlaylist { track, .. } => return manifest(Text::KeyFrames, track),
            Resource::KeyFrame { track, time, .. } => {
                let answer = |source: &S| key_frame(source, version, track, time).answer(request, source);
                return open().map_or_else(|outcome| outcome, answer);
            }
            Resource::SmoothFragment { version: named, bitrate, stream, time } => {
                let age = if named.is_some() { IMMUTABLE } else { &self.manifest_cache_control };
                let name = (bitrate, stream, time);
                let answer = |source: &S| smooth_fragment(source, version, name, age).answer(request, source);
                return open().map_or_else(|outcome| outcome, answer);
            }
            Resource::Progressive => {
                return open().map_or_else(|outcome| outcome, |source| self.movie(request, asset, version, source));
            }
            Resource::Init { track, .. } if is_text(track) => {
                let answer = |source: &S| made_init(source, version, track).answer(request, source);
                return open().map_or_else(|outcome| outcome, answer);
            }
            Resource::Segment { track, time, .. } if is_text(track) => {
                let answer = |source: &S| made_segment(source, version, track, time).answer(request, source);
                return open().map_or_else(|outcome| outcome, answer);
            }
            Resource::Init { track, .. } => open().map(|source| (source, init(source, version, track))),
            Resource::Segment { track, time, .. } => {
                open().map(|source| (source, segment(source, version, track, time)))
            }
            Resource::File { track, .. } => open().map(|source| (source, file(source, version, track))),
            Resource::TextSegment { track, time, .. } => {
                open().map(|source| (source, text_segment(source, version, track, time)))
            }
            Resource::Text { track, .. } => open().map(|source| (source, text(source, version, track))),
            Resource::Sheet { thumbnails, number, .. } => {
                open().map(|source| (source, sheet(source, version, thumbnails, number)))
            }
            Resource::Ts(resource) => return self.transport(request, asset, version, resource, whole),
        };
        let (source, described) = match described {
            Ok(described) => described,
            Err(outcome) => return outcome,
        };
        if source.is_damaged() {
            return Outcome::Damaged;
        }
        match described {
            Some(representation) => Outcome::Ready(representation.respond(request)),
            None => Outcome::Missing,
        }
    }

    /// Answers for a manifest of what the request selects.
    fn manifest<S: Source>(&self, request: &Request<'_>, key: KeyRef<'_>, open: Option<&S>) -> Outcome {
        let takes = match key.text {
            _ if key.track.is_empty() => Takes::ClipAndFilter,
            _ => Takes::Clip,
        };
        let selection = match Selection::parse(request.query, takes) {
            Ok(selection) => selection,
            Err(bad) => return Outcome::Ready(refused(&bad)),
        };
        let written = selection.canonical();
        let key = KeyRef { selection: &written, ..key };
        if let Some(kept) = self.kept(request, key) {
            return kept;
        }
        let Some(source) = open else { return Outcome::Closed };
        // What is cut alike is kept once, however it was asked for.
        let selection = selection.on_borders(&source.presentation());
        let written = selection.canonical();
        let key = KeyRef { selection: &written, ..key };
        if let Some(kept) = self.kept(request, key) {
            return kept;
        }
        if key.text == Text::Smooth
            && let Some(absent) = absent(source, mss::headers(&source.presentation()))
        {
            return Outcome::Read(absent);
        }
        let rendered = self.render(key, &selection, source);
        // Before it is kept: the next version may hold the same content, and have the same key.
        if !source.is_whole() {
            return Outcome::Damaged;
        }
        let Some(manifest) = rendered else { return Outcome::Missing };
        let manifest = Arc::new(manifest);
        self.manifests.insert(key.to_owned(), manifest.clone());
        match manifest.form(request) {
            Some(form) => Outcome::Ready(form.respond(request)),
            // What the cache does not keep would be compressed anew for every request: it goes out as it is.
            None if self.manifests.peek(&key).is_none() => Outcome::Ready(manifest.plain().respond(request)),
            None => Outcome::Compress(manifest),
        }
    }

    /// What was rendered before.
    fn kept(&self, request: &Request<'_>, key: KeyRef<'_>) -> Option<Outcome> {
        let manifest = self.manifests.get(&key)?;
        Some(match manifest.form(request) {
            Some(form) => Outcome::Ready(form.respond(request)),
            None => Outcome::Compress(manifest),
        })
    }

    fn movie<S: Source>(&self, request: &Request<'_>, asset: &str, version: &str, source: &S) -> Outcome {
        if source.is_damaged() {
            return Outcome::Damaged;
        }
        let selection = match Selection::parse(request.query, Takes::All) {
            Ok(selection) => selection,
            Err(bad) => return Outcome::Ready(refused(&bad)),
        };
        let selection = selection.on_borders(&source.presentation());
        let written = selection.canonical();
        let key = movies::Key { asset: asset.into(), version: version.into(), selection: written.as_str().into() };
        let movie = match self.movies.find(&key) {
            None => return Outcome::Movie(self.movies.order(key, selection)),
            Some(None) => return Outcome::Missing,
            Some(Some(movie)) => movie,
        };
        let views: Vec<TrackView<'_>> = movie.tracks().iter().filter_map(|track| source.track(track)).collect();
        if views.len() != movie.tracks().len() {
            return Outcome::Missing;
        }
        let description = Description {
            kind: Kind::Movie,
            content_type: movie.content_type(),
            coding: Coding::Only,
            etag: format_args!("{version}-mp4-{written}"),
            last_modified: Some(source.published()),
            cache_control: &self.manifest_cache_control,
        };
        Outcome::Ready(Representation::new(description, movie.over(views)).respond(request))
    }

    /// `None`: the asset has nothing of that name, or nothing is left of it.
    fn render<S: Source>(&self, key: KeyRef<'_>, selection: &Selection, source: &S) -> Option<Manifest> {
        let whole = source.presentation();
        let presentation = selection.of(&whole)?;
        // Links carry where the stretch begins and ends exactly: the selection is by its borders.
        let query = selection.clip.query();
        let single = Links { addressing: Addressing::SingleFile, query: query.clone() };
        let links = Links { addressing: Addressing::Segments, query };
        let (kind, content_type, text) = match key.text {
            Text::Hls => (Kind::Multivariant, HLS, hls::multivariant(&presentation, &links)),
            Text::Dash => (Kind::Mpd, DASH, dash::mpd(&presentation, &links)),
            Text::SingleHls => (Kind::Multivariant, HLS, hls::multivariant(&presentation, &single)),
            Text::SingleDash => (Kind::Mpd, DASH, dash::stretch_mpd(&presentation, &whole, &single)),
            Text::Smooth => {
                let Some(text) = mss::manifest(&whole, &presentation) else {
                    self.refuse(key, "no Smooth Streaming: none of the tracks can be expressed in it");
                    return None;
                };
                (Kind::SmoothManifest, XML, text)
            }
            Text::KeyFrames => {
                let view = presentation.track(key.track).filter(|view| view.track.kind() == track::Kind::Video)?;
                (Kind::MediaPlaylist, HLS, hls::media_key_frames(&view))
            }
            Text::Media if presentation.thumbnails.is_some_and(|thumbnails| thumbnails.id == key.track) => {
                (Kind::MediaPlaylist, HLS, hls::media_thumbnails(&presentation)?)
            }
            Text::Thumbnails => (Kind::Text, VTT, thumbnail_map(&presentation)?),
            Text::Media => {
                let view = presentation.track(key.track)?;
                (Kind::MediaPlaylist, HLS, hls::media(&presentation, &view))
            }
            Text::SingleMedia => {
                let view = presentation.track(key.track)?;
                (Kind::MediaPlaylist, HLS, hls::media_single(&presentation, &view, whole.track(key.track)?))
            }
            Text::Transport => {
                let Some(text) = ts::multivariant(&presentation, &links) else {
                    self.refuse(key, &ts::refusal(&presentation));
                    return None;
                };
                (Kind::Multivariant, HLS, text)
            }
            Text::TransportMedia => {
                let text = ts::media(&presentation, Rendition::parse(key.track)?)?;
                (Kind::MediaPlaylist, HLS, text)
            }
        };
        // Media playlists lie below a version, the others do not.
        let cache_control = match kind {
            Kind::MediaPlaylist => IMMUTABLE.to_owned(),
            _ => self.manifest_cache_control.clone(),
        };
        let dash = if key.track.is_empty() { "" } else { "-" };
        let label = Label {
            kind,
            content_type,
            source: format!("{}{dash}{}{}", key.version, key.track, key.text.suffix()),
            last_modified: Some(source.published()),
            cache_control,
        };
        Some(Manifest::new(label, text))
    }

    /// Says once why there is no such manifest.
    fn refuse(&self, key: KeyRef<'_>, reason: &str) {
        if self.refused.get(&key).is_none() {
            self.refused.insert(key.to_owned(), ());
            tracing::warn!(asset = key.asset, "not found: {reason}");
        }
    }
}

impl Source for Asset {
    fn presentation(&self) -> Presentation<'_> {
        Asset::presentation(self)
    }

    fn track(&self, id: &str) -> Option<TrackView<'_>> {
        Asset::track(self, id)
    }

    fn thumbnails(&self) -> Option<Thumbnails<'_>> {
        Asset::thumbnails(self)
    }

    fn sample_rows(&self, track: &str, rows: Range<u32>) -> Option<Extent> {
        Asset::sample_rows(self, track, rows)
    }

    fn is_resident(&self, extent: &Extent) -> bool {
        residency::is_resident(extent.file.fd(), extent.offset, extent.len)
    }

    fn published(&self) -> u64 {
        Asset::published(self)
    }

    fn is_damaged(&self) -> bool {
        Asset::is_damaged(self)
    }

    fn is_whole(&self) -> bool {
        Asset::is_whole(self)
    }
}

/// To a query that means nothing.
fn refused(reason: &BadQuery) -> Response {
    Response::error(Status::BAD_REQUEST, &reason.to_string(), "Cache-Control: no-store\r\n")
}

fn init<S: Source>(source: &S, version: &str, id: &str) -> Option<Representation> {
    let view = source.track(id)?;
    let content_type = media_type(&view)?;
    let etag = format_args!("{version}-{id}-init");
    Some(immutable(source, Kind::Init, content_type, etag, cmaf::init(&view)))
}

fn segment<S: Source>(source: &S, version: &str, id: &str, time: Ticks) -> Option<Representation> {
    let view = source.track(id)?;
    let content_type = media_type(&view)?;
    let segment = view.segment_at(time)?;
    let etag = format_args!("{version}-{id}-{}", time.0);
    Some(immutable(source, Kind::Segment, content_type, etag, cmaf::segment(&view, &segment)))
}

fn file<S: Source>(source: &S, version: &str, id: &str) -> Option<Representation> {
    let view = source.track(id)?;
    let content_type = media_type(&view)?;
    Some(immutable(source, Kind::Segment, content_type, format_args!("{version}-{id}-file"), single::file(view)?))
}

fn sheet<S: Source>(source: &S, version: &str, id: &str, number: u32) -> Option<Representation> {
    let thumbnails = source.thumbnails().filter(|thumbnails| thumbnails.id == id)?;
    let body = Payload::from(thumbnails.sheet(number)?);
    Some(immutable(source, Kind::Image, JPEG, format_args!("{version}-{id}-{number}"), body))
}

/// What of these has to be read in first.
fn absent<S: Source>(source: &S, extents: impl IntoIterator<Item = Extent>) -> Option<Vec<Extent>> {
    let absent: Vec<Extent> = extents.into_iter().filter(|extent| !source.is_resident(extent)).collect();
    (!absent.is_empty()).then_some(absent)
}

/// An answer that is described from the sample table.
enum Described {
    Ready(Representation),
    Missing,
    Absent(Vec<Extent>),
}

impl Described {
    fn answer<S: Source>(self, request: &Request<'_>, source: &S) -> Outcome {
        // What is made of an index that was cut meanwhile must not be kept by anybody.
        if source.is_damaged() || matches!(self, Described::Ready(_)) && !source.is_whole() {
            return Outcome::Damaged;
        }
        match self {
            Described::Ready(representation) => Outcome::Ready(representation.respond(request)),
            Described::Missing => Outcome::Missing,
            Described::Absent(extents) => Outcome::Read(extents),
        }
    }
}

fn key_frame<S: Source>(source: &S, version: &str, id: &str, time: Ticks) -> Described {
    let view = source.track(id).filter(|view| view.track.kind() == track::Kind::Video);
    let Some((view, frame)) = view.and_then(|view| Some((view, key_frame_at(view, time)?))) else {
        return Described::Missing;
    };
    let row = frame.fragment.first_sample.get();
    if let Some(absent) = absent(source, source.sample_rows(id, row..row.saturating_add(1))) {
        return Described::Absent(absent);
    }
    let Some(body) = key_frame::segment(&view, &frame) else { return Described::Missing };
    let etag = format_args!("{version}-{id}-iframe-{}", time.0);
    Described::Ready(immutable(source, Kind::Segment, "video/mp4", etag, body))
}

fn smooth_fragment<S: Source>(source: &S, version: &str, name: (u64, &str, u64), cache_control: &str) -> Described {
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
fn made_init<S: Source>(source: &S, version: &str, id: &str) -> Described {
    let Some(view) = text_track(source, id) else { return Described::Missing };
    if let Some(absent) = absent(source, [wvtt::header_source(&view)]) {
        return Described::Absent(absent);
    }
    let Some(body) = wvtt::init(&view) else { return Described::Missing };
    Described::Ready(immutable(source, Kind::Init, TEXT_FRAGMENTS, format_args!("{version}-{id}-init"), body))
}

fn made_segment<S: Source>(source: &S, version: &str, id: &str, time: Ticks) -> Described {
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

fn text_segment<S: Source>(source: &S, version: &str, id: &str, time: Ticks) -> Option<Representation> {
    let presentation = source.presentation();
    let view = text_track(source, id)?;
    let body = hls::text_segment(&presentation, &view, time)?;
    Some(immutable(source, Kind::Text, VTT, format_args!("{version}-{id}-{}", time.0), body))
}

fn text<S: Source>(source: &S, version: &str, id: &str) -> Option<Representation> {
    let view = text_track(source, id)?;
    let body = Payload::from(view.extent(0..view.size()));
    Some(immutable(source, Kind::Text, VTT, format_args!("{version}-{id}"), body))
}

fn text_track<'s, S: Source>(source: &'s S, id: &str) -> Option<TrackView<'s>> {
    source.track(id).filter(|view| view.track.kind() == track::Kind::Text)
}

/// Tracks are named by what they are.
fn is_text(id: &str) -> bool {
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

fn immutable<S: Source>(
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

/// Two assets may hold the same version, published at different times.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    asset: Box<str>,
    version: Box<str>,
    text: Text,
    track: Box<str>,
    /// [`Selection::canonical`].
    selection: Box<str>,
}

/// A [`Key`] that a hit does not allocate for. Hashes as `Key` does: the fields are the same in the same order, and a `Box`
/// hashes as what it holds.
#[derive(Clone, Copy, Hash)]
struct KeyRef<'a> {
    asset: &'a str,
    version: &'a str,
    text: Text,
    track: &'a str,
    selection: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Text {
    Hls,
    Dash,
    Media,
    Transport,
    TransportMedia,
    SingleHls,
    SingleDash,
    SingleMedia,
    Smooth,
    KeyFrames,
    Thumbnails,
}

impl Text {
    /// What ends an ETag's source.
    fn suffix(self) -> &'static str {
        match self {
            Text::Hls => "-hls",
            Text::Dash => "-dash",
            Text::Media => "",
            Text::SingleHls => "-single-hls",
            Text::SingleDash => "-single-dash",
            Text::SingleMedia => "-single",
            Text::Smooth => "-mss",
            Text::KeyFrames => "-iframes",
            Text::Thumbnails => "-thumbnails",
            Text::Transport => "-transport",
            Text::TransportMedia => "-ts",
        }
    }
}

impl KeyRef<'_> {
    fn to_owned(self) -> Key {
        Key {
            asset: self.asset.into(),
            version: self.version.into(),
            text: self.text,
            track: self.track.into(),
            selection: self.selection.into(),
        }
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.asset == *key.asset
            && *self.version == *key.version
            && self.text == key.text
            && *self.track == *key.track
            && *self.selection == *key.selection
    }
}

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Arc<Manifest>> for Weight {
    fn weight(&self, key: &Key, manifest: &Arc<Manifest>) -> u64 {
        manifest.weight() + (key.asset.len() + key.version.len() + key.track.len() + key.selection.len()) as u64
    }
}
