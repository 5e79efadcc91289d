//! What an operator decides about a live channel.

use std::time::Duration;

use crate::base::limits;
use crate::live;
use crate::media::captions::Caption;

/// One channel, from the configuration file or from the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSetup {
    /// In URLs and on disk: [`is_channel_name`].
    pub name: String,
    /// What an encoder has to present: [`is_publish_key`].
    pub publish_key: String,
    /// Whether encoders are let in. What was recorded stays readable either way.
    pub enabled: bool,
    pub segment: Duration,
    /// `None`: no parts, and so no low latency.
    pub part: Option<Duration>,
    /// How far back a viewer can go.
    pub window: Duration,
    /// A second publisher of the same tracks takes over from the first.
    pub takeover: bool,
    /// If it does not take over: it is let in, and counts when the first falls silent; otherwise it is refused.
    pub standby: bool,
    /// An encoder that ends the stream ends the channel.
    pub end: bool,
    /// Media time of an encoder's time 0, since 1970. `None`: found out when it begins.
    pub anchor: Option<Duration>,
    /// Write `EXT-X-CUE-OUT` and `EXT-X-CUE-IN` beside `EXT-X-DATERANGE`.
    pub cue_tags: bool,
    /// What captions there are in the pictures: [`crate::media::captions::read`].
    pub captions: Vec<Caption>,
}

impl ChannelSetup {
    /// What a channel is unless somebody says otherwise.
    pub fn named(name: &str, publish_key: &str) -> ChannelSetup {
        ChannelSetup {
            name: name.to_owned(),
            publish_key: publish_key.to_owned(),
            enabled: true,
            segment: limits::LIVE_SEGMENT_DEFAULT,
            part: Some(limits::LIVE_PART_DEFAULT),
            window: limits::LIVE_WINDOW_DEFAULT,
            takeover: false,
            standby: true,
            end: false,
            anchor: None,
            cue_tags: false,
            captions: Vec::new(),
        }
    }

    /// As the writer of the channel takes it.
    pub fn options(&self, sync: Duration) -> live::Options {
        live::Options {
            name: self.name.clone(),
            segment: self.segment,
            part: self.part,
            window: self.window,
            redundancy: match (self.takeover, self.standby) {
                (true, _) => live::Redundancy::Takeover,
                (false, true) => live::Redundancy::Standby,
                (false, false) => live::Redundancy::Refuse,
            },
            end: self.end,
            anchor: self.anchor,
            cue_tags: self.cue_tags,
            captions: self.captions.clone().into(),
            sync,
        }
    }
}

/// A channel's name is one element of URLs and of paths; it begins with a letter or a digit, so that no command takes it for
/// an option.
pub fn is_channel_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=CHANNEL_NAME_BYTES_MAX).contains(&name.len())
        && name.as_bytes()[0].is_ascii_alphanumeric()
        && name.bytes().all(allowed)
}

/// What can stand in a URL, in a header field and in an encoder's form without being escaped.
pub fn is_publish_key(key: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=PUBLISH_KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(allowed)
}

pub const CHANNEL_NAME_BYTES_MAX: usize = 64;
pub const PUBLISH_KEY_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys() {
        for (text, name, key) in [
            ("news", true, true),
            ("news-24_7", true, true),
            ("news.hd", false, false),
            ("-news", false, true),
            (".news", false, false),
            ("..", false, false),
            ("a/b", false, false),
            ("a b", false, false),
            ("ä", false, false),
            ("", false, false),
            (&"x".repeat(64), true, true),
            (&"x".repeat(65), false, true),
            (&"x".repeat(129), false, false),
        ] {
            assert_eq!((is_channel_name(text), is_publish_key(text)), (name, key), "{text:?}");
        }
    }
}
