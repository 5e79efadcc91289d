//! FLV tags: what RTMP messages hold (Adobe Flash Video File Format 10.1, annex E; Enhanced RTMP v1 and v2).
//!
//! A [`Demuxer`] takes the bodies of audio, video and script data tags with their timestamps, and gives a feed. Times are in
//! milliseconds, as they come, but for those that no tag can have.

pub mod amf;
mod audio;
mod cue;
mod demuxer;
mod enhanced;
mod metadata;
mod opening;
mod video;

use thiserror::Error;

use crate::base::limits::{FLV_SCRIPT_BYTES_MAX, FLV_TRACKS_MAX};

pub use demuxer::Demuxer;

/// What the body of a tag is (annex E.4.1), and of an RTMP message of that type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagKind {
    Audio,
    Video,
    Script,
}

/// Why a tag gave nothing. The next may be good again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error("{tag} tag of {length} bytes: cut short")]
    Short { tag: &'static str, length: usize },
    #[error("{tag} tag: {found}; expected {expected}")]
    Malformed { tag: &'static str, found: String, expected: &'static str },
    /// Said once of audio and once of video: the other goes on.
    #[error("{found}; expected {expected}")]
    Codec { found: String, expected: &'static str },
    #[error("script data: {0}")]
    Script(#[from] amf::Error),
    #[error("script data of {found} bytes; at most {FLV_SCRIPT_BYTES_MAX} are taken")]
    ScriptSize { found: usize },
    #[error("track {id} of a message with several; at most {FLV_TRACKS_MAX} are taken")]
    Tracks { id: u8 },
}
