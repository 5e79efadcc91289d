//! The URLs below `/live/{channel}/ts/`, relative to it.
//!
//! | URL | what |
//! | --- | --- |
//! | `index.m3u8` | multivariant playlist |
//! | `{track}.m3u8`, `{track}.{track}.m3u8` | media playlist, of pictures with the sound that is in their segments |
//! | `{track}/{number}.ts`, `{track}.{track}/{number}.ts` | segment, by slot number |
//! | `{track}.iframes.m3u8` | I-frame playlist |
//! | `{track}/{number}.iframe.ts` | the key frame that a segment begins with, by itself |
//! | `{track}/{number}.aac`, `.ac3`, `.ec3`, `.mp3` | packed audio |
//!
//! Segments of WebVTT are those that lie beside them: `../{track}/{number}.vtt`. Tracks of channels have names with hyphens,
//! so that a full stop joins two of them.

use crate::package::live_url::{self, Stretch, decimal, name};

use super::Packing;
use super::url::Rendition;

/// What a path below `/live/{channel}/ts/` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    Multivariant,
    MediaPlaylist { rendition: Rendition<'a> },
    Segment { rendition: Rendition<'a>, number: u64 },
    Packed { track: &'a str, packing: Packing, number: u64 },
    KeyFramePlaylist { track: &'a str },
    KeyFrame { track: &'a str, number: u64 },
}

/// What key frames by themselves end with.
const KEY_FRAME: &str = "iframe.ts";

/// `rest` is what follows `/live/{channel}/ts/`; each thing has exactly one spelling.
pub fn parse(rest: &str) -> Option<Resource<'_>> {
    let Some((stem, file)) = rest.split_once('/') else {
        return match rest {
            "index.m3u8" => Some(Resource::Multivariant),
            _ => match rest.strip_suffix(live_url::KEY_FRAME_PLAYLIST) {
                Some(track) => Some(Resource::KeyFramePlaylist { track: name(track)? }),
                None => Some(Resource::MediaPlaylist { rendition: rendition(rest.strip_suffix(".m3u8")?)? }),
            },
        };
    };
    let rendition = rendition(stem)?;
    let (number, extension) = file.split_once('.')?;
    let number = decimal(number)?;
    match (extension, rendition.sound) {
        ("ts", _) => Some(Resource::Segment { rendition, number }),
        (_, Some(_)) => None,
        (KEY_FRAME, None) => Some(Resource::KeyFrame { track: rendition.track, number }),
        (_, None) => {
            Some(Resource::Packed { track: rendition.track, packing: Packing::of_extension(extension)?, number })
        }
    }
}

fn rendition(text: &str) -> Option<Rendition<'_>> {
    let (track, sound) = match text.split_once('.') {
        Some((track, sound)) => (track, Some(name(sound)?)),
        None => (text, None),
    };
    Some(Rendition { name: text, track: name(track)?, sound })
}

/// Relative to the media playlists.
pub fn push_segment(out: &mut String, rendition: &str, number: u64, extension: &str) {
    out.push_str(rendition);
    out.push('/');
    out.push_str(itoa::Buffer::new().format(number));
    out.push('.');
    out.push_str(extension);
}

/// Relative to the I-frame playlists.
pub fn push_key_frame(out: &mut String, track: &str, number: u64) {
    push_segment(out, track, number, KEY_FRAME);
}

/// Relative to the media playlists.
pub fn push_text_segment(out: &mut String, track: &str, number: u64) {
    out.push_str("../");
    live_url::push_text_segment(out, track, number);
}

/// Relative to the multivariant playlist, as is the next.
pub fn media_playlist(rendition: &str, stretch: Stretch) -> String {
    live_url::media_playlist(rendition, stretch)
}

pub fn key_frame_playlist(track: &str, stretch: Stretch) -> String {
    live_url::key_frame_playlist(track, stretch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_thing_has_one_name() {
        let alone = Rendition { name: "v1", track: "v1", sound: None };
        let both = Rendition { name: "1080-v.a_1", track: "1080-v", sound: Some("a_1") };
        for (rest, want) in [
            ("index.m3u8", Some(Resource::Multivariant)),
            ("v1.m3u8", Some(Resource::MediaPlaylist { rendition: alone })),
            ("1080-v.a_1.m3u8", Some(Resource::MediaPlaylist { rendition: both })),
            ("v1/7.ts", Some(Resource::Segment { rendition: alone, number: 7 })),
            ("1080-v.a_1/890000000.ts", Some(Resource::Segment { rendition: both, number: 890_000_000 })),
            ("1080-v.iframes.m3u8", Some(Resource::KeyFramePlaylist { track: "1080-v" })),
            ("v1/7.iframe.ts", Some(Resource::KeyFrame { track: "v1", number: 7 })),
            ("a1/7.aac", Some(Resource::Packed { track: "a1", packing: Packing::Aac, number: 7 })),
            ("a1/7.ec3", Some(Resource::Packed { track: "a1", packing: Packing::Eac3, number: 7 })),
            ("", None),
            ("index.mpd", None),
            ("v1", None),
            ("v1/07.ts", None),
            ("v1/-7.ts", None),
            ("v1/7.TS", None),
            ("v1/7.m4s", None),
            ("t1/7.vtt", None),
            ("v1.a1/7.aac", None),
            ("v1.a1.iframes.m3u8", None),
            ("v1.a1/7.iframe.ts", None),
            ("v1/07.iframe.ts", None),
            ("v1/7.iframe.m4s", None),
            ("v1.a1.a2/7.ts", None),
            (".a1/7.ts", None),
            ("v1./7.ts", None),
            ("v1/7.0.ts", None),
            ("v1/x/7.ts", None),
            ("/v1/7.ts", None),
        ] {
            assert_eq!(parse(rest), want, "{rest}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_links_come_back(
            rest in "([av][0-9]\\.?){0,3}.{0,60}",
            number in 0..=i64::MAX as u64,
            muxed in any::<bool>(),
        ) {
            let _ = parse(&rest);
            let rendition = rendition(if muxed { "v1.a2" } else { "v1" }).unwrap();
            let mut link = String::new();
            push_segment(&mut link, rendition.name, number, "ts");
            prop_assert_eq!(parse(&link), Some(Resource::Segment { rendition, number }));
        }
    }
}
