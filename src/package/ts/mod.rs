//! HLS with MPEG-TS segments: the same tracks, cut at the same instants, for players that know no ISO files (RFC 8216bis
//! §3.1.1, §3.1.3).
//!
//! Where there is one line of sound, it is in the segments with the pictures, so that any player has it. Several are
//! renditions beside the pictures, and so is sound without pictures: packed audio, which needs no container. AC-3, E-AC-3 and
//! MP3 lie in the track files as packed audio has them, so their segments are extents behind a tag; only AAC needs a header
//! on each frame.
//!
//! Key frames for trick play are transport streams of their own.

mod entries;
mod key_frames;
mod live;
mod live_segment;
pub mod live_url;
mod media;
mod multivariant;
mod segment;
mod size;
#[cfg(test)]
mod tests;
pub mod url;

use crate::media::codec::elementary::adts_carries;
use crate::media::{Kind, Presentation, Track};

pub use key_frames::{has_key_frame, media_key_frames};
pub use live::{LiveTracks, live_carriage, live_media, live_media_key_frames, live_multivariant, live_refusal};
pub use live_segment::{LivePart, live_key_frame, live_muxed, live_packed};
pub use media::{media, text_segment};
pub use multivariant::{headers, multivariant};
pub use segment::{Error, Making, Plan, carries, has_segment, packed, plan};

/// How transport streams, and the playlists that name them, carry a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    Video,
    Audio(Packing),
    Text,
}

/// Formats of packed audio (RFC 8216bis §3.1.3), of which each frame says what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Aac,
    Ac3,
    Eac3,
    Mp3,
}

impl Packing {
    /// Of file names.
    pub fn extension(self) -> &'static str {
        match self {
            Packing::Aac => "aac",
            Packing::Ac3 => "ac3",
            Packing::Eac3 => "ec3",
            Packing::Mp3 => "mp3",
        }
    }

    pub fn of_extension(extension: &str) -> Option<Packing> {
        let all = [Packing::Aac, Packing::Ac3, Packing::Eac3, Packing::Mp3];
        all.into_iter().find(|packing| packing.extension() == extension)
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Packing::Aac => "audio/aac",
            Packing::Ac3 => "audio/ac3",
            Packing::Eac3 => "audio/eac3",
            Packing::Mp3 => "audio/mpeg",
        }
    }
}

/// `None`: transport streams have no place for its codec, or none that HLS players know: AV1, VP9, Opus, FLAC, AAC of low
/// delay, and Dolby Vision that is nothing without its own decoder.
pub fn carriage(track: &Track) -> Option<Carriage> {
    let codec = track.codec.as_str();
    let is = |names: &[&str]| names.iter().any(|name| codec.split('.').next() == Some(name));
    match track.kind() {
        Kind::Video => is(&["avc1", "avc3", "hvc1", "hev1"]).then_some(Carriage::Video),
        Kind::Text => Some(Carriage::Text),
        Kind::Audio if is(&["ac-3"]) => Some(Carriage::Audio(Packing::Ac3)),
        Kind::Audio if is(&["ec-3"]) => Some(Carriage::Audio(Packing::Eac3)),
        // RFC 6381 §3.3: object type indications of MPEG audio, in either case.
        Kind::Audio if ["mp4a.6b", "mp4a.69"].iter().any(|mpeg| mpeg.eq_ignore_ascii_case(codec)) => {
            Some(Carriage::Audio(Packing::Mp3))
        }
        Kind::Audio => {
            track.audio().is_some_and(|audio| adts_carries(codec, audio)).then_some(Carriage::Audio(Packing::Aac))
        }
    }
}

/// Why nothing of it can be played from transport streams, for the log: what there is instead.
pub fn refusal(presentation: &Presentation<'_>) -> String {
    refused(presentation.tracks.iter().map(|view| view.track))
}

fn refused<'t>(tracks: impl Iterator<Item = &'t Track>) -> String {
    let media = tracks.filter(|track| track.kind() != Kind::Text);
    let found: Vec<String> = media.map(|track| format!("{} in {}", track.id, track.codec)).collect();
    format!("MPEG-TS carries H.264, HEVC, AAC, AC-3, E-AC-3 and MP3; found {}", found.join(", "))
}
