//! The relative URLs of a channel, as manifests link to them and the service routes them.
//!
//! Below `/live/{channel}/`:
//!
//! | URL | what |
//! | --- | --- |
//! | `index.m3u8`, `index.mpd` | manifests |
//! | `time` | what the server's clock says, for DASH players |
//! | `index.ism/Manifest` | Smooth Streaming client manifest |
//! | `index.ism/QualityLevels({bitrate})/Fragments({stream}={time})` | a fragment of it |
//! | `{track}.m3u8` | HLS media playlist |
//! | `{track}/{init}.mp4` | CMAF header, by a hash of its bytes |
//! | `{track}/{number}.m4s` | CMAF segment, by slot number |
//! | `{track}.iframes.m3u8` | HLS I-frame playlist |
//! | `{track}/{number}.iframe.m4s` | the key frame that a segment begins with, by itself |
//! | `{track}/{number}.{part}.m4s` | CMAF chunk (an HLS part), counted from 0 within the segment |
//! | `ts/…` | HLS with MPEG-TS segments: [`ts::live_url`] |
//! | `{track}/{number}.vtt`, `{track}/{number}.{part}.vtt` | the same of a track of WebVTT, as WebVTT |
//!
//! Manifests and media playlists take `?start=…&end=…`: a [`Stretch`].

use std::fmt::Write;
use std::time::Duration;

use super::{ts, url};

/// What a path below `/live/{channel}/` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    Multivariant,
    Mpd,
    Time,
    SmoothManifest,
    SmoothFragment { bitrate: u64, stream: &'a str, time: u64 },
    Transport(ts::live_url::Resource<'a>),
    MediaPlaylist { track: &'a str },
    Init { track: &'a str, init: &'a str },
    Segment { track: &'a str, number: u64 },
    Part { track: &'a str, number: u64, part: u32 },
    KeyFramePlaylist { track: &'a str },
    KeyFrame { track: &'a str, number: u64 },
    TextSegment { track: &'a str, number: u64 },
    TextPart { track: &'a str, number: u64, part: u32 },
}

/// Part of a channel's timeline, in time since 1970. Without both: the live edge and its window. With a start alone:
/// from there to the live edge, and growing. With an end: what lies between, finished once the end has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stretch {
    pub start: Option<Duration>,
    pub end: Option<Duration>,
}

/// What I-frame playlists end with, and key frames by themselves.
pub(super) const KEY_FRAME_PLAYLIST: &str = ".iframes.m3u8";
const KEY_FRAME: &str = ".iframe.m4s";

/// Longest track identifier or name of an initialisation segment in bytes.
const NAME_BYTES_MAX: usize = 32;

/// `rest` is what follows `/live/{channel}/`. `None`: nothing has that name. Each thing has exactly one spelling, so that a
/// cache holds one copy of it.
pub fn parse(rest: &str) -> Option<Resource<'_>> {
    // A track may be called so too: its files end otherwise.
    if let Some(resource) = rest.strip_prefix("ts/").and_then(ts::live_url::parse) {
        return Some(Resource::Transport(resource));
    }
    let Some((track, file)) = rest.split_once('/') else {
        return match rest {
            "index.m3u8" => Some(Resource::Multivariant),
            "index.mpd" => Some(Resource::Mpd),
            "time" => Some(Resource::Time),
            _ => match rest.strip_suffix(KEY_FRAME_PLAYLIST) {
                Some(track) => Some(Resource::KeyFramePlaylist { track: name(track)? }),
                None => Some(Resource::MediaPlaylist { track: name(rest.strip_suffix(".m3u8")?)? }),
            },
        };
    };
    if track == url::SMOOTH {
        let below = &rest[track.len() + 1..];
        if url::is_smooth_manifest(below) {
            return Some(Resource::SmoothManifest);
        }
        let (bitrate, stream, time) = url::smooth_fragment(below)?;
        return Some(Resource::SmoothFragment { bitrate, stream, time });
    }
    let track = name(track)?;
    if let Some(init) = file.strip_suffix(".mp4") {
        return Some(Resource::Init { track, init: name(init)? });
    }
    if let Some(number) = file.strip_suffix(KEY_FRAME) {
        return Some(Resource::KeyFrame { track, number: decimal(number)? });
    }
    let (stem, extension) = file.rsplit_once('.')?;
    let (number, part) = match stem.split_once('.') {
        None => (decimal(stem)?, None),
        Some((number, part)) => (decimal(number)?, Some(u32::try_from(decimal(part)?).ok()?)),
    };
    match (extension, part) {
        ("m4s", None) => Some(Resource::Segment { track, number }),
        ("m4s", Some(part)) => Some(Resource::Part { track, number, part }),
        ("vtt", None) => Some(Resource::TextSegment { track, number }),
        ("vtt", Some(part)) => Some(Resource::TextPart { track, number, part }),
        _ => None,
    }
}

pub(super) fn name(text: &str) -> Option<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    ((1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)).then_some(text)
}

/// Canonical decimal, at most `i64::MAX`.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = canonical && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|&number| i64::try_from(number).is_ok())
}

/// Relative to the channel, as are all the others.
pub fn media_playlist(track: &str, stretch: Stretch) -> String {
    let mut link = format!("{track}.m3u8");
    stretch.push_query(&mut link);
    link
}

pub fn key_frame_playlist(track: &str, stretch: Stretch) -> String {
    let mut link = format!("{track}{KEY_FRAME_PLAYLIST}");
    stretch.push_query(&mut link);
    link
}

pub fn push_key_frame(out: &mut String, track: &str, number: u64) {
    push_number(out, track, number);
    out.push_str(KEY_FRAME);
}

pub fn push_init(out: &mut String, track: &str, init: &str) {
    out.push_str(track);
    out.push('/');
    out.push_str(init);
    out.push_str(".mp4");
}

pub fn push_segment(out: &mut String, track: &str, number: u64) {
    push_number(out, track, number);
    out.push_str(".m4s");
}

pub fn push_part(out: &mut String, track: &str, number: u64, part: u32) {
    push_numbers(out, track, number, part);
    out.push_str(".m4s");
}

pub fn push_text_segment(out: &mut String, track: &str, number: u64) {
    push_number(out, track, number);
    out.push_str(".vtt");
}

pub fn push_text_part(out: &mut String, track: &str, number: u64, part: u32) {
    push_numbers(out, track, number, part);
    out.push_str(".vtt");
}

fn push_number(out: &mut String, track: &str, number: u64) {
    out.push_str(track);
    out.push('/');
    out.push_str(itoa::Buffer::new().format(number));
}

fn push_numbers(out: &mut String, track: &str, number: u64, part: u32) {
    push_number(out, track, number);
    out.push('.');
    out.push_str(itoa::Buffer::new().format(part));
}

/// `StreamIndex@Url`, relative to `index.ism/`. What ends at some time has fragments of its own: the last one names none that
/// follows.
pub fn smooth_template(stream: &str, end: Option<Duration>) -> String {
    let mut link = url::smooth_levels(stream);
    Stretch { start: None, end }.push_query(&mut link);
    link
}

/// `SegmentTemplate@initialization`; Representation ids are track ids.
pub fn init_template(init: &str) -> String {
    format!("$RepresentationID$/{init}.mp4")
}

/// `SegmentTemplate@media`.
pub const SEGMENT_TEMPLATE: &str = "$RepresentationID$/$Number$.m4s";

/// The same of key frames by themselves, whose Representation has another id than the track.
pub fn key_frame_init(track: &str, init: &str) -> String {
    format!("{track}/{init}.mp4")
}

pub fn key_frame_template(track: &str) -> String {
    format!("{track}/$Number${KEY_FRAME}")
}

/// `UTCTiming@value`, which players resolve against the MPD (DASH-IF IOP part 3 §4.8).
pub const TIME: &str = "time";

impl Stretch {
    pub fn is_live(self) -> bool {
        self == Stretch::default()
    }

    /// `?start=…&end=…` in the one form that links use: seconds, with as many decimals as are needed.
    fn push_query(self, out: &mut String) {
        let mut separator = '?';
        for (name, value) in [("start", self.start), ("end", self.end)] {
            let Some(time) = value else { continue };
            let _ = write!(out, "{separator}{name}={}", time.as_secs());
            if time.subsec_nanos() > 0 {
                let fraction = format!("{:09}", time.subsec_nanos());
                out.push('.');
                out.push_str(fraction.trim_end_matches('0'));
            }
            separator = '&';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_thing_has_one_name() {
        let track = "v1";
        let long = format!("{}.m3u8", "a".repeat(NAME_BYTES_MAX + 1));
        for (rest, want) in [
            ("index.m3u8", Some(Resource::Multivariant)),
            ("index.mpd", Some(Resource::Mpd)),
            ("time", Some(Resource::Time)),
            ("v1.m3u8", Some(Resource::MediaPlaylist { track })),
            ("1080-v1.m3u8", Some(Resource::MediaPlaylist { track: "1080-v1" })),
            ("v1/00ff00ff00ff00ff.mp4", Some(Resource::Init { track, init: "00ff00ff00ff00ff" })),
            ("v1/0.m4s", Some(Resource::Segment { track, number: 0 })),
            ("v1/849150849.m4s", Some(Resource::Segment { track, number: 849_150_849 })),
            ("1080-v1.iframes.m3u8", Some(Resource::KeyFramePlaylist { track: "1080-v1" })),
            ("v1/849150849.iframe.m4s", Some(Resource::KeyFrame { track, number: 849_150_849 })),
            ("v1/849150849.0.m4s", Some(Resource::Part { track, number: 849_150_849, part: 0 })),
            ("v1/7.12.m4s", Some(Resource::Part { track, number: 7, part: 12 })),
            ("v1/9223372036854775807.m4s", Some(Resource::Segment { track, number: i64::MAX as u64 })),
            ("t1/7.vtt", Some(Resource::TextSegment { track: "t1", number: 7 })),
            ("t1/7.12.vtt", Some(Resource::TextPart { track: "t1", number: 7, part: 12 })),
            ("ts/index.m3u8", Some(Resource::Transport(ts::live_url::Resource::Multivariant))),
            ("index.ism/Manifest", Some(Resource::SmoothManifest)),
            ("index.ism/manifest", Some(Resource::SmoothManifest)),
            (
                "index.ism/QualityLevels(374348)/Fragments(video=17672256000000000)",
                Some(Resource::SmoothFragment { bitrate: 374_348, stream: "video", time: 17_672_256_000_000_000 }),
            ),
            ("index.ism/00ff00ff00ff00ff/QualityLevels(1)/Fragments(video=0)", None),
            ("index.ism/QualityLevels(1)/Fragments(video=00)", None),
            ("index.ism/7.m4s", None),
            ("index.ism", None),
            ("ts/7.m4s", Some(Resource::Segment { track: "ts", number: 7 })),
            ("ts/v1/7.m4s", None),
            ("t1/7.12.mp4", None),
            ("t1/07.vtt", None),
            ("t1/7", None),
            ("", None),
            ("/", None),
            (".m3u8", None),
            ("v1", None),
            ("v1/", None),
            ("v1.m3u8/", None),
            ("v1.x.m3u8", None),
            (".iframes.m3u8", None),
            ("v1.iframes", None),
            ("v1.iframes.m3u8/", None),
            ("v1.x.iframes.m3u8", None),
            ("v1/07.iframe.m4s", None),
            ("v1/7.0.iframe.m4s", None),
            ("v1/.iframe.m4s", None),
            ("v1/7.iframe.ts", None),
            ("v1/7.iframe", None),
            ("v1.M3U8", None),
            ("v1/.mp4", None),
            ("v1/x.y.mp4", None),
            ("v1/.m4s", None),
            ("v1/01.m4s", None),
            ("v1/1.01.m4s", None),
            ("v1/1..m4s", None),
            ("v1/.1.m4s", None),
            ("v1/1.2.3.m4s", None),
            ("v1/+1.m4s", None),
            ("v1/-1.m4s", None),
            ("v1/1.4294967296.m4s", None),
            ("v1/9223372036854775808.m4s", None),
            ("v1/x/1.m4s", None),
            ("../1.m4s", None),
            (long.as_str(), None),
        ] {
            assert_eq!(parse(rest), want, "{rest}");
        }
    }

    #[test]
    fn stretches_are_carried_in_links() {
        let at = |millis| Some(Duration::from_millis(millis));
        for (start, end, want) in [
            (None, None, "v1.m3u8"),
            (at(1_000), None, "v1.m3u8?start=1"),
            (at(1_500), at(2_000), "v1.m3u8?start=1.5&end=2"),
            (None, at(2_050), "v1.m3u8?end=2.05"),
        ] {
            assert_eq!(media_playlist("v1", Stretch { start, end }), want);
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_links_come_back(rest in ".{0,60}", number in 0..=i64::MAX as u64, part: u32) {
            let _ = parse(&rest);
            let track = "a2";
            let mut link = String::new();
            push_segment(&mut link, track, number);
            prop_assert_eq!(parse(&link), Some(Resource::Segment { track, number }));
            link.clear();
            push_part(&mut link, track, number, part);
            prop_assert_eq!(parse(&link), Some(Resource::Part { track, number, part }));
            link.clear();
            push_key_frame(&mut link, track, number);
            prop_assert_eq!(parse(&link), Some(Resource::KeyFrame { track, number }));
            link.clear();
            push_text_segment(&mut link, track, number);
            prop_assert_eq!(parse(&link), Some(Resource::TextSegment { track, number }));
            link.clear();
            push_text_part(&mut link, track, number, part);
            prop_assert_eq!(parse(&link), Some(Resource::TextPart { track, number, part }));
            link.clear();
            push_init(&mut link, track, "0123456789abcdef");
            prop_assert_eq!(parse(&link), Some(Resource::Init { track, init: "0123456789abcdef" }));
        }
    }
}
