//! What an encoder sends, whichever protocol brought it: tracks, samples and marks, in the order of arrival.
//!
//! A demuxer turns bytes into [`Event`]s; `live` turns them into segments. Times are those of the publisher's own clock,
//! unwrapped (a 32-bit or 33-bit counter that starts over goes on), but otherwise as they came: what they mean on the
//! channel's timeline, and what to do about jumps, is for `live` to decide.

use std::time::Duration;

use bytes::Bytes;

use crate::base::{Ticks, Timescale};

use super::track::{Kind, Role};

/// One step of a feed.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A track begins, or goes on with another format: the samples that follow are in it.
    Track {
        track: TrackKey,
        format: Format,
    },
    Sample {
        track: TrackKey,
        sample: Sample,
    },
    /// The samples of a track that follow come together, not one by one: none of what lasts so long comes before all of it
    /// was made. `None`: files, each sent when it is whole, and said once for all of them. Where samples come one by one,
    /// or nobody states how long they last, it is not said.
    Chunk {
        track: TrackKey,
        duration: Option<Duration>,
    },
    /// Something to be done at a time: an advertisement, a programme border.
    Marker(Marker),
    /// The encoder says that nothing follows in any track. A connection that merely ends does not say so.
    End,
}

/// Which of a publisher's tracks: counted by the demuxer from 0 in order of appearance.
pub type TrackKey = u32;

/// What the samples of a track are.
#[derive(Clone, Debug, PartialEq)]
pub struct Format {
    pub kind: Kind,
    /// Of all times in the track's samples.
    pub timescale: Timescale,
    /// A whole sample entry box, as [`super::codec::describe`] takes it. Where a protocol has none (RTMP, MPEG-TS), the
    /// demuxer makes one from the parameter sets.
    pub sample_entry: Bytes,
    /// BCP 47, `und` if unknown.
    pub language: String,
    pub name: Option<String>,
    pub role: Role,
    /// In bits per second, if the encoder states it.
    pub bit_rate: Option<u32>,
}

/// One sample, in decode order.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// On the publisher's clock, unwrapped.
    pub decode_time: Ticks,
    /// Presentation time less decode time, in track ticks.
    pub composition_offset: i32,
    /// In track ticks, if the container states it; otherwise the time of the next sample tells.
    pub duration: Option<u32>,
    /// Whether the container marks it as a sync sample. The bitstream is asked as well.
    pub is_sync: bool,
    /// In the form ISO/IEC 14496-15 and its siblings give it in a file: NAL units behind their lengths, raw frames of
    /// audio, OBUs.
    pub data: Bytes,
}

/// A mark on the publisher's clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Marker {
    /// When it takes effect, with its scale; `None` is at once.
    pub time: Option<(Ticks, Timescale)>,
    pub duration: Option<(Ticks, Timescale)>,
    pub message: Message,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A `splice_info_section` of ANSI/SCTE 35, whole.
    Scte35(Bytes),
    /// An event message of another scheme (ISO/IEC 23009-1 §5.10.3.3).
    Event { scheme: String, value: String, id: u32, data: Bytes },
}
