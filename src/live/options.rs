//! What an operator decides about a channel, and how publishers are told apart.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::media::captions::Caption;

/// One channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub name: String,
    /// Segments are as long as this or, with video, the smallest multiple of the key-frame distance that is not shorter.
    pub segment: Duration,
    /// What a part holds at most. `None`: no parts are listed, no low latency.
    pub part: Option<Duration>,
    /// How far back viewers can go.
    pub window: Duration,
    pub redundancy: Redundancy,
    /// An encoder that says it is at its end ends the channel.
    pub end: bool,
    /// Media time of an encoder's time 0, since 1970: the same on twin servers. `None`: found out when it begins.
    pub anchor: Option<Duration>,
    /// Whether viewers are told of markers with EXT-X-CUE-OUT and EXT-X-CUE-IN as well.
    pub cue_tags: bool,
    /// What captions there are in the pictures.
    pub captions: Arc<[Caption]>,
    /// How often what was written is synced.
    pub sync: Duration,
}

/// What happens to a second publisher of what is being published already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redundancy {
    Refuse,
    /// It is let in, and what it sends counts as soon as the first one falls silent.
    #[default]
    Standby,
    /// It replaces the first one.
    Takeover,
}

/// What a publisher calls what it sends. Publishers of one name are alternatives to each other, and track identifiers are
/// made of it, so that they are the same whichever connection comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceName {
    /// `live/{channel}`: tracks are `v1`, `a1`, …
    Main,
    /// `live/{channel}/{rendition}`: tracks are `{rendition}-v1`, `{rendition}-a1`, …
    Rendition(String),
    /// A single track that has a name already; were there more, they are `{name}-2`, …
    Track(String),
}

/// A publisher's hold on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Why a publisher is sent away, or its events are not wanted any longer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error(
        "channel {channel} is being published already; expected one publisher, or standby or takeover in its configuration"
    )]
    Busy { channel: String },
    #[error("channel {channel}: another publisher took over")]
    Displaced { channel: String },
    #[error("channel {channel}: {found} publishers at once; expected at most {max}")]
    TooMany { channel: String, found: usize, max: usize },
    #[error("channel {channel}: the stream was ended by its encoder")]
    Ended { channel: String },
}
