//! What is used of pushed playlists.

use std::collections::BTreeMap;

use crate::base::limits::PUBLISHER_RENDITIONS_MAX;
use crate::media::isobmff::language;
use crate::media::track::Role;

use super::{Error, name};

#[derive(Clone, Debug, PartialEq)]
pub enum Playlist {
    /// Labels by the path of the media playlist they are of.
    Multivariant(BTreeMap<String, Labels>),
    Media(Media),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Media {
    /// The last of them.
    pub segments: Vec<Listed>,
    /// EXT-X-ENDLIST
    pub is_ended: bool,
}

/// A segment in a media playlist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    pub path: String,
    /// What EXT-X-MAP names.
    pub header: Option<String>,
}

/// What EXT-X-MEDIA says of a rendition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// BCP 47.
    pub language: Option<String>,
    pub name: Option<String>,
    pub role: Option<Role>,
}

/// How many segments are remembered, in a playlist and of those that came.
pub const SEGMENTS_MAX: usize = 64;

impl Playlist {
    pub fn read(path: &str, body: &[u8]) -> Result<Playlist, Error> {
        let parsed = m3u8_rs::parse_playlist_res(body)
            .map_err(|error| Error::NotPlaylist { path: path.to_owned(), reason: reason(&error) })?;
        match parsed {
            m3u8_rs::Playlist::MasterPlaylist(playlist) => Ok(Playlist::Multivariant(labels(path, &playlist))),
            m3u8_rs::Playlist::MediaPlaylist(playlist) => media(path, playlist).map(Playlist::Media),
        }
    }
}

/// The parser's messages show its whole input.
fn reason(error: &impl ToString) -> String {
    error.to_string().chars().filter(|it| !it.is_control()).take(80).collect()
}

fn labels(path: &str, playlist: &m3u8_rs::MasterPlaylist) -> BTreeMap<String, Labels> {
    let named = playlist.alternatives.iter().take(PUBLISHER_RENDITIONS_MAX).filter_map(|media| {
        let characteristics = media.characteristics.as_deref().unwrap_or_default();
        let role = if characteristics.contains("public.accessibility.describes-video") {
            Some(Role::Description)
        } else if media.forced {
            Some(Role::Forced)
        } else {
            None
        };
        let labels = Labels {
            language: media.language.as_deref().and_then(language::from_elng),
            name: Some(media.name.clone()).filter(|name| !name.is_empty() && name.len() <= 200),
            role,
        };
        Some((name::resolve(path, media.uri.as_deref()?), labels))
    });
    named.collect()
}

fn media(path: &str, playlist: m3u8_rs::MediaPlaylist) -> Result<Media, Error> {
    let unsupported = |found| Error::Unsupported { path: path.to_owned(), found };
    let is_encrypted = |segment: &m3u8_rs::MediaSegment| {
        segment.key.as_ref().is_some_and(|key| key.method != m3u8_rs::KeyMethod::None)
    };
    if playlist.segments.iter().any(is_encrypted) {
        return Err(unsupported("encrypted segments (EXT-X-KEY)"));
    }
    if playlist.segments.iter().any(|segment| segment.byte_range.is_some()) {
        return Err(unsupported("segments that are byte ranges (EXT-X-BYTERANGE)"));
    }
    if playlist.i_frames_only {
        return Err(unsupported("a playlist of I-frames"));
    }
    // A header is in force until the next (RFC 8216 §4.3.2.5).
    let mut header = None;
    let mut segments: Vec<Listed> = playlist
        .segments
        .iter()
        .map(|segment| {
            header = segment.map.as_ref().map(|map| name::resolve(path, &map.uri)).or(header.take());
            Listed { path: name::resolve(path, &segment.uri), header: header.clone() }
        })
        .collect();
    segments.drain(..segments.len().saturating_sub(SEGMENTS_MAX));
    Ok(Media { segments, is_ended: playlist.end_list })
}
