//! Manifests: rendered once for each thing, version and selection, and kept.

use std::sync::Arc;

use quick_cache::{Equivalent, Weighter};

use super::segments::absent;
use super::{IMMUTABLE, Outcome, Playback, Source, VTT, refused};
use crate::http::{Kind, Request};
use crate::media::track;
use crate::package::ts::url::Rendition;
use crate::package::{Addressing, Links, dash, hls, mss, thumbnail_map, ts};
use crate::service::manifest::{Label, Manifest};
use crate::service::selection::{Selection, Takes};

const HLS: &str = "application/vnd.apple.mpegurl";
const DASH: &str = "application/dash+xml";
const XML: &str = "text/xml; charset=utf-8";

impl Playback {
    /// Answers for a manifest of what the request selects.
    pub(super) fn manifest<S: Source>(&self, request: &Request<'_>, key: KeyRef<'_>, open: Option<&S>) -> Outcome {
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
        let needed = match key.text {
            Text::Smooth => mss::headers(&source.presentation()),
            Text::Transport => ts::headers(&source.presentation()),
            _ => Vec::new(),
        };
        if let Some(absent) = absent(source, needed) {
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
            Text::TransportKeyFrames => {
                let view = presentation.track(key.track)?;
                (Kind::MediaPlaylist, HLS, ts::media_key_frames(&view)?)
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

/// Two assets may hold the same version, published at different times.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
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
pub(super) struct KeyRef<'a> {
    pub asset: &'a str,
    pub version: &'a str,
    pub text: Text,
    pub track: &'a str,
    pub selection: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Text {
    Hls,
    Dash,
    Media,
    Transport,
    TransportMedia,
    TransportKeyFrames,
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
            Text::TransportKeyFrames => "-ts-iframes",
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
pub(super) struct Weight;

impl Weighter<Key, Arc<Manifest>> for Weight {
    fn weight(&self, key: &Key, manifest: &Arc<Manifest>) -> u64 {
        manifest.weight() + (key.asset.len() + key.version.len() + key.track.len() + key.selection.len()) as u64
    }
}
