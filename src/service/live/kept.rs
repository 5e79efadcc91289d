//! Manifests that were rendered: of each text the newest.

use std::hash::Hash;
use std::sync::Arc;

use quick_cache::{Equivalent, Weighter};

use super::super::manifest::Manifest;
use crate::package::live_url::Stretch;

/// Which text: of each the newest is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    channel: Box<str>,
    track: Box<str>,
    text: Text,
    stretch: Stretch,
}

#[derive(Clone)]
pub(super) struct Kept {
    pub version: Version,
    pub manifest: Arc<Manifest>,
}

/// What a text is made from: the same for all who ask at the same point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// [`Position::mark`](crate::media::broadcast::Position::mark) of the track.
    pub mark: u64,
    /// [`Broadcast::fingerprint`](crate::media::broadcast::Broadcast::fingerprint).
    pub state: u64,
}

/// A [`Key`] that a hit does not allocate for. Hashes as `Key` does: the fields are the same in the same order, and a `Box`
/// hashes as what it holds.
#[derive(Clone, Copy, Hash)]
pub(super) struct KeyRef<'a> {
    pub channel: &'a str,
    pub track: &'a str,
    pub text: Text,
    pub stretch: Stretch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Text {
    Hls,
    Dash,
    Media,
    Delta,
    /// With the longer life of what was waited for.
    BlockedMedia,
    BlockedDelta,
    KeyFrames,
    /// Of MPEG-TS segments; the track of a media playlist is a rendition.
    Transport,
    TransportMedia,
    TransportKeyFrames,
    Smooth,
}

impl Text {
    pub fn suffix(self) -> &'static str {
        match self {
            Text::Hls => "-hls",
            Text::Dash => "-dash",
            Text::Media | Text::BlockedMedia => "",
            Text::Delta | Text::BlockedDelta => "-delta",
            Text::KeyFrames => "-iframes",
            Text::Transport => "-transport",
            Text::TransportMedia => "-ts",
            Text::TransportKeyFrames => "-ts-iframes",
            Text::Smooth => "-mss",
        }
    }
}

impl KeyRef<'_> {
    pub fn to_owned(self) -> Key {
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
pub(super) struct Weight;

impl Weighter<Key, Kept> for Weight {
    fn weight(&self, key: &Key, kept: &Kept) -> u64 {
        kept.manifest.weight() + (key.channel.len() + key.track.len()) as u64
    }
}
