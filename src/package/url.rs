//! The relative URLs that manifests link to and the service routes: one set of names for every format.
//!
//! Below `/vod/{asset}/`:
//!
//! | URL | what |
//! | --- | --- |
//! | `index.m3u8`, `index.mpd` | unversioned manifests |
//! | `single/index.m3u8`, `single/index.mpd` | the same, of byte ranges of one file per track |
//! | `index.ism/Manifest` | Smooth Streaming client manifest |
//! | `index.ism/{version}/QualityLevels({bitrate})/Fragments({stream}={time})` | a fragment of it; without the version, of the current one |
//! | `index.mp4` | progressive MP4 of some of the tracks |
//! | `{version}/{track}.m3u8` | HLS media playlist |
//! | `{version}/{track}/init.mp4` | CMAF header |
//! | `{version}/{track}/{time}.m4s` | CMAF segment, by decode time of its first sample in track ticks; of text, by presentation time of its start |
//! | `{version}/{track}/{time}.vtt` | WebVTT segment, by presentation time of its start in track ticks |
//! | `{version}/{track}.iframes.m3u8` | HLS I-frame playlist |
//! | `{version}/{track}/{time}.iframe.m4s` | a key frame by itself |
//! | `{version}/{track}.vtt` | a whole subtitle file |
//! | `{version}/{thumbnails}.m3u8` | HLS image playlist |
//! | `{version}/{thumbnails}/{number}.jpg` | a sheet of thumbnails |
//! | `thumbnails.vtt` | where in the sheets each thumbnail is, as WebVTT |
//! | `{version}/{track}.mp4` | a whole track as one indexed file |
//! | `{version}/{track}.single.m3u8` | HLS media playlist of byte ranges of that file |
//! | `ts/index.m3u8` | the same with MPEG-TS segments |
//! | `ts/{version}/{track}.m3u8`, `ts/{version}/{video}-{audio}.m3u8` | HLS media playlist of one track, or of two in one |
//! | `ts/{version}/{track}/{time}.ts`, `ts/{version}/{video}-{audio}/{time}.ts` | segment, by decode time of its first picture |
//! | `ts/{version}/{track}.iframes.m3u8` | HLS I-frame playlist |
//! | `ts/{version}/{track}/{time}.iframe.ts` | a key frame by itself, by decode time |
//! | `ts/{version}/{track}/{time}.aac`, `.ac3`, `.ec3`, `.mp3` | packed audio, by decode time |
//! | `ts/{version}/{track}/{time}.vtt` | WebVTT segment on the clock of those |

use crate::base::Ticks;
use crate::package::ts;

/// What a path below `/vod/{asset}/` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    Multivariant,
    Mpd,
    SingleMultivariant,
    SingleMpd,
    Progressive,
    SmoothManifest,
    SmoothFragment {
        version: Option<&'a str>,
        bitrate: u64,
        stream: &'a str,
        time: u64,
    },
    MediaPlaylist {
        version: &'a str,
        track: &'a str,
    },
    Init {
        version: &'a str,
        track: &'a str,
    },
    Segment {
        version: &'a str,
        track: &'a str,
        time: Ticks,
    },
    TextSegment {
        version: &'a str,
        track: &'a str,
        time: Ticks,
    },
    Text {
        version: &'a str,
        track: &'a str,
    },
    KeyFramePlaylist {
        version: &'a str,
        track: &'a str,
    },
    KeyFrame {
        version: &'a str,
        track: &'a str,
        time: Ticks,
    },
    File {
        version: &'a str,
        track: &'a str,
    },
    SinglePlaylist {
        version: &'a str,
        track: &'a str,
    },
    /// The map of thumbnails.
    Thumbnails,
    /// Counted from 0.
    Sheet {
        version: &'a str,
        thumbnails: &'a str,
        number: u32,
    },
    /// With MPEG-TS segments.
    Ts(ts::url::Resource<'a>),
}

/// What the manifests of single files lie under. No version is so called: versions are hexadecimal.
const SINGLE: &str = "single";

/// What Smooth Streaming lies under, by its clients' custom.
pub(super) const SMOOTH: &str = "index.ism";

/// What lies below it ([MS-SSTR] §2.2.3).
fn smooth(below: &str) -> Option<Resource<'_>> {
    if is_smooth_manifest(below) {
        return Some(Resource::SmoothManifest);
    }
    let (version, levels) = match below.split_once('/')? {
        (levels, _) if levels.starts_with("QualityLevels(") => (None, below),
        (version, levels) => (Some(name(version)?), levels),
    };
    let (bitrate, stream, time) = smooth_fragment(levels)?;
    Some(Resource::SmoothFragment { version, bitrate, stream, time })
}

/// Clients add the name to a URL without it, in either spelling.
pub(super) fn is_smooth_manifest(name: &str) -> bool {
    name == "Manifest" || name == "manifest"
}

/// Bit rate, stream and time of `QualityLevels(…)/Fragments(…=…)`.
pub(super) fn smooth_fragment(levels: &str) -> Option<(u64, &str, u64)> {
    let (level, fragment) = levels.split_once('/')?;
    let bitrate = level.strip_prefix("QualityLevels(")?.strip_suffix(')')?;
    let (stream, time) = fragment.strip_prefix("Fragments(")?.strip_suffix(')')?.split_once('=')?;
    let number = |text| self::time(text).and_then(|ticks| u64::try_from(ticks.0).ok());
    let stream = (stream.len() <= STREAM_BYTES_MAX).then_some(stream)?;
    Some((number(bitrate)?, stream, number(time)?))
}

/// `audio_` and a language tag of 64 bytes.
const STREAM_BYTES_MAX: usize = 80;

/// Longest version or track identifier in bytes.
const NAME_BYTES_MAX: usize = 32;

/// `rest` is what follows `/vod/{asset}/`. `None`: nothing has that name. Each thing has exactly one spelling, so that a
/// cache holds one copy of it: no percent escapes, no leading zeros or signs, no empty path elements.
pub fn parse(rest: &str) -> Option<Resource<'_>> {
    if let Some(below) = rest.strip_prefix("ts/") {
        return ts::url::parse(below).map(Resource::Ts);
    }
    let Some((version, below)) = rest.split_once('/') else {
        return match rest {
            "index.m3u8" => Some(Resource::Multivariant),
            "index.mpd" => Some(Resource::Mpd),
            "index.mp4" => Some(Resource::Progressive),
            "thumbnails.vtt" => Some(Resource::Thumbnails),
            _ => None,
        };
    };
    if version == SINGLE {
        return match below {
            "index.m3u8" => Some(Resource::SingleMultivariant),
            "index.mpd" => Some(Resource::SingleMpd),
            _ => None,
        };
    }
    if version == SMOOTH {
        return smooth(below);
    }
    let version = name(version)?;
    let Some((track, file)) = below.split_once('/') else {
        let (track, extension) = below.split_once('.')?;
        let track = name(track)?;
        return match extension {
            "m3u8" => Some(Resource::MediaPlaylist { version, track }),
            "vtt" => Some(Resource::Text { version, track }),
            "mp4" => Some(Resource::File { version, track }),
            "iframes.m3u8" => Some(Resource::KeyFramePlaylist { version, track }),
            "single.m3u8" => Some(Resource::SinglePlaylist { version, track }),
            _ => None,
        };
    };
    let track = name(track)?;
    let (stem, extension) = file.split_once('.')?;
    match extension {
        "mp4" if stem == "init" => Some(Resource::Init { version, track }),
        "iframe.m4s" => Some(Resource::KeyFrame { version, track, time: time(stem)? }),
        "m4s" => Some(Resource::Segment { version, track, time: time(stem)? }),
        "vtt" => Some(Resource::TextSegment { version, track, time: time(stem)? }),
        "jpg" => {
            let number = u32::try_from(time(stem)?.0).ok()?;
            Some(Resource::Sheet { version, thumbnails: track, number })
        }
        _ => None,
    }
}

/// Whether it may be a version or a track.
pub fn is_name(text: &str) -> bool {
    name(text).is_some()
}

pub(super) fn name(text: &str) -> Option<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    ((1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)).then_some(text)
}

/// Canonical decimal, at most `i64::MAX`.
pub(super) fn time(text: &str) -> Option<Ticks> {
    let canonical = text == "0" || !text.starts_with('0');
    // `i64::from_str` takes a sign, which the digit check refuses, and reports overflow.
    (canonical && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok().map(Ticks))?
}

/// Relative to the unversioned manifests.
pub fn media_playlist(version: &str, track: &str) -> String {
    format!("{version}/{track}.m3u8")
}

/// Relative to the versioned media playlists.
pub fn text(track: &str) -> String {
    format!("{track}.vtt")
}

/// Relative to the versioned media playlists.
pub fn file(track: &str) -> String {
    format!("{track}.mp4")
}

/// From the unversioned manifests, what is relative to the versioned media playlists.
pub fn versioned(version: &str, link: &str) -> String {
    format!("{version}/{link}")
}

/// From the manifests below `single/` or `ts/`, what is relative to the unversioned manifests.
pub fn from_single(link: &str) -> String {
    format!("../{link}")
}

/// Relative to the unversioned manifests.
pub fn key_frame_playlist(version: &str, track: &str) -> String {
    format!("{version}/{track}.iframes.m3u8")
}

/// `SegmentTemplate@media`, relative to the versioned media playlists.
pub fn key_frame_template(track: &str) -> String {
    format!("{track}/$Time$.iframe.m4s")
}

/// Relative to the versioned media playlists.
pub fn push_key_frame(out: &mut String, track: &str, time: Ticks) {
    push_timed(out, track, time, ".iframe.m4s");
}

/// `StreamIndex@Url`, relative to `index.ism/`.
pub fn smooth_template(version: &str, stream: &str) -> String {
    format!("{version}/{}", smooth_levels(stream))
}

pub(super) fn smooth_levels(stream: &str) -> String {
    format!("QualityLevels({{bitrate}})/Fragments({stream}={{start time}})")
}

/// Relative to the unversioned manifests.
pub fn single_playlist(version: &str, track: &str) -> String {
    format!("{version}/{track}.single.m3u8")
}

/// `SegmentTemplate@initialization` of an unversioned MPD; Representation ids are track ids.
pub fn init_template(version: &str) -> String {
    format!("{version}/$RepresentationID$/init.mp4")
}

/// `SegmentTemplate@media` of an unversioned MPD.
pub fn segment_template(version: &str) -> String {
    format!("{version}/$RepresentationID$/$Time$.m4s")
}

/// Relative to the versioned media playlists.
pub fn init(track: &str) -> String {
    format!("{track}/init.mp4")
}

/// Relative to the versioned media playlists.
pub fn push_segment(out: &mut String, track: &str, time: Ticks) {
    push_timed(out, track, time, ".m4s");
}

/// Relative to the versioned media playlists.
pub fn push_text_segment(out: &mut String, track: &str, time: Ticks) {
    push_timed(out, track, time, ".vtt");
}

/// `SegmentTemplate@media`, relative to the versioned media playlists.
pub fn sheet_template(id: &str) -> String {
    format!("{id}/$Number$.jpg")
}

/// Relative to the versioned media playlists.
pub fn push_sheet(out: &mut String, id: &str, number: u32) {
    push_timed(out, id, Ticks(number.into()), ".jpg");
}

fn push_timed(out: &mut String, track: &str, time: Ticks, extension: &str) {
    out.push_str(track);
    out.push('/');
    out.push_str(itoa::Buffer::new().format(time.0));
    out.push_str(extension);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_thing_has_one_name() {
        let (version, track) = ("00ff00ff00ff00ff", "v1");
        let long = format!("{}/v1.m3u8", "a".repeat(NAME_BYTES_MAX + 1));
        for (rest, want) in [
            ("index.m3u8", Some(Resource::Multivariant)),
            ("index.mpd", Some(Resource::Mpd)),
            ("index.mp4", Some(Resource::Progressive)),
            ("00ff00ff00ff00ff/v1.m3u8", Some(Resource::MediaPlaylist { version, track })),
            ("00ff00ff00ff00ff/v1.vtt", Some(Resource::Text { version, track })),
            ("00ff00ff00ff00ff/v1/init.mp4", Some(Resource::Init { version, track })),
            ("00ff00ff00ff00ff/v1/0.m4s", Some(Resource::Segment { version, track, time: Ticks(0) })),
            ("00ff00ff00ff00ff/v1/360360.m4s", Some(Resource::Segment { version, track, time: Ticks(360_360) })),
            (
                "00ff00ff00ff00ff/v1/9223372036854775807.m4s",
                Some(Resource::Segment { version, track, time: Ticks(i64::MAX) }),
            ),
            ("00ff00ff00ff00ff/v1/4004.vtt", Some(Resource::TextSegment { version, track, time: Ticks(4_004) })),
            ("thumbnails.vtt", Some(Resource::Thumbnails)),
            ("00ff00ff00ff00ff/i1.m3u8", Some(Resource::MediaPlaylist { version, track: "i1" })),
            ("00ff00ff00ff00ff/i1/0.jpg", Some(Resource::Sheet { version, thumbnails: "i1", number: 0 })),
            ("00ff00ff00ff00ff/i1/4294967296.jpg", None),
            ("00ff00ff00ff00ff/i1/01.jpg", None),
            ("00ff00ff00ff00ff/thumbnails.vtt", Some(Resource::Text { version, track: "thumbnails" })),
            ("00ff00ff00ff00ff/v1.mp4", Some(Resource::File { version, track })),
            ("00ff00ff00ff00ff/v1.single.m3u8", Some(Resource::SinglePlaylist { version, track })),
            ("single/index.m3u8", Some(Resource::SingleMultivariant)),
            ("single/index.mpd", Some(Resource::SingleMpd)),
            ("single/index.mp4", None),
            ("single/v1.m3u8", None),
            ("single", None),
            ("", None),
            ("/", None),
            ("index.M3U8", None),
            ("index.m3u8/", None),
            ("index.ism/Manifest", Some(Resource::SmoothManifest)),
            ("index.ism/manifest", Some(Resource::SmoothManifest)),
            (
                "index.ism/00ff00ff00ff00ff/QualityLevels(374348)/Fragments(video=20000000)",
                Some(Resource::SmoothFragment {
                    version: Some(version),
                    bitrate: 374_348,
                    stream: "video",
                    time: 20_000_000,
                }),
            ),
            (
                "index.ism/QualityLevels(1)/Fragments(audio_pt-BR=0)",
                Some(Resource::SmoothFragment { version: None, bitrate: 1, stream: "audio_pt-BR", time: 0 }),
            ),
            ("index.ism", None),
            ("index.ism/", None),
            ("index.ism/MANIFEST", None),
            ("index.ism/QualityLevels(01)/Fragments(video=0)", None),
            ("index.ism/QualityLevels(1)/Fragments(video=-1)", None),
            ("index.ism/QualityLevels(1)/Fragments(video)", None),
            ("index.ism/QualityLevels(1)/Fragments(video=0)/", None),
            ("index.ism/a/b/QualityLevels(1)/Fragments(video=0)", None),
            ("00ff00ff00ff00ff/v1.iframes.m3u8", Some(Resource::KeyFramePlaylist { version, track })),
            ("00ff00ff00ff00ff/v1/90.iframe.m4s", Some(Resource::KeyFrame { version, track, time: Ticks(90) })),
            ("00ff00ff00ff00ff", None),
            ("00ff00ff00ff00ff/", None),
            ("00ff00ff00ff00ff//v1.m3u8", None),
            ("/v1.m3u8", None),
            ("00ff/v1.m3u8.gz", None),
            ("00ff/.m3u8", None),
            ("00ff/v1", None),
            ("00ff/v1/", None),
            ("00ff/v1/.m4s", None),
            ("00ff/v1/01.m4s", None),
            ("00ff/v1/00.m4s", None),
            ("00ff/v1/+1.m4s", None),
            ("00ff/v1/-1.m4s", None),
            ("00ff/v1/1 .m4s", None),
            ("00ff/v1/1.m4s/", None),
            ("00ff/v1/1.M4S", None),
            ("00ff/v1/9223372036854775808.m4s", None),
            ("00ff/v1/99999999999999999999999999999999.m4s", None),
            ("00ff/../1.m4s", None),
            ("00ff/%761/1.m4s", None),
            ("00ff/v1/x/1.m4s", None),
            (long.as_str(), None),
        ] {
            assert_eq!(parse(rest), want, "{rest}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_links_come_back(rest in ".{0,60}", ticks in 0..=i64::MAX) {
            let _ = parse(&rest);
            for (push, text) in [(push_segment as fn(&mut String, &str, Ticks), false), (push_text_segment, true)] {
                let mut link = String::from("0123456789abcdef/");
                push(&mut link, "a2", Ticks(ticks));
                let (version, track, time) = ("0123456789abcdef", "a2", Ticks(ticks));
                let want = match text {
                    true => Resource::TextSegment { version, track, time },
                    false => Resource::Segment { version, track, time },
                };
                prop_assert_eq!(parse(&link), Some(want));
            }
        }
    }
}
