//! Manifests and segments of assets.

mod manifests;
mod segments;
mod transport;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::OptionsBuilder;
use quick_cache::sync::Cache;

use manifests::{Key, KeyRef, Text, Weight};
use segments::{
    file, immutable, init, is_text, key_frame, made_init, made_segment, segment, sheet, smooth_fragment, text,
    text_segment, text_track,
};

use super::manifest::Manifest;
use super::movies::{self, Movies};
use super::representation::{Coding, Description, Representation};
use super::selection::{BadQuery, Selection, Takes};
use crate::base::Extent;
use crate::http::{Kind, Request, Response, Status};
use crate::library::Asset;
use crate::media::{Presentation, Thumbnails, TrackView};
use crate::package::progressive;
use crate::package::url::Resource;
use crate::store::derived::{self, Derived};
use crate::sys::residency;

/// What is under a version never changes.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
const VTT: &str = "text/vtt; charset=utf-8";
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
    /// Its name for all assets, as versions are hashes of what is in them: what `ts::url` knows.
    pub key: Box<str>,
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

    fn movie<S: Source>(&self, request: &Request<'_>, asset: &str, version: &str, source: &S) -> Outcome {
        if source.is_damaged() {
            return Outcome::Damaged;
        }
        let selection = match Selection::parse(request.query, Takes::All) {
            Ok(selection) => selection,
            Err(bad) => return Outcome::Ready(refused(&bad)),
        };
        let whole = source.presentation();
        let selection = selection.on_borders(&whole).by_tracks(&whole, progressive::default_tracks);
        let Some(selection) = selection else {
            return if source.is_whole() { Outcome::Missing } else { Outcome::Damaged };
        };
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
