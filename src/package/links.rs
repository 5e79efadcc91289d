//! How manifests of an asset link to what it has.

use super::url;

/// What the manifests of one request have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    pub addressing: Addressing,
    /// What media playlists are asked with, so that they show the same stretch: empty, or a query with its question mark.
    pub query: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addressing {
    /// Each segment has a URL.
    #[default]
    Segments,
    /// A track has one URL, and a segment is a range of its bytes; text is loaded whole.
    SingleFile,
}

impl Links {
    /// From a multivariant playlist to an I-frame playlist, which is the same for both.
    pub(super) fn key_frame_playlist(&self, version: &str, track: &str) -> String {
        let link = url::key_frame_playlist(version, track);
        let link = if self.addressing == Addressing::SingleFile { url::from_single(&link) } else { link };
        link + &self.query
    }

    /// From a multivariant playlist to an image playlist, which is the same for both.
    pub(super) fn thumbnail_playlist(&self, version: &str, id: &str) -> String {
        let link = url::media_playlist(version, id);
        let link = if self.addressing == Addressing::SingleFile { url::from_single(&link) } else { link };
        link + &self.query
    }

    /// From a multivariant playlist to a media playlist.
    pub(super) fn media_playlist(&self, version: &str, track: &str) -> String {
        let link = match self.addressing {
            Addressing::Segments => url::media_playlist(version, track),
            Addressing::SingleFile => url::from_single(&url::single_playlist(version, track)),
        };
        link + &self.query
    }
}
