//! The URLs below `/vod/{asset}/ts/`, relative to each other as those of [`crate::package::url`] are.

use crate::base::Ticks;
use crate::package::url::{name, time};

use super::Packing;

/// What a path below `/vod/{asset}/ts/` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    Multivariant,
    MediaPlaylist { version: &'a str, rendition: Rendition<'a> },
    Segment { version: &'a str, rendition: Rendition<'a>, time: Ticks },
    Packed { version: &'a str, track: &'a str, packing: Packing, time: Ticks },
    TextSegment { version: &'a str, track: &'a str, time: Ticks },
    KeyFramePlaylist { version: &'a str, track: &'a str },
    KeyFrame { version: &'a str, track: &'a str, time: Ticks },
}

/// What one media playlist is of: a track, or pictures and the sound that is in their segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rendition<'a> {
    /// `v1` or `v1-a2`.
    pub name: &'a str,
    pub track: &'a str,
    pub sound: Option<&'a str>,
}

impl<'a> Rendition<'a> {
    pub fn parse(text: &'a str) -> Option<Rendition<'a>> {
        let (track, sound) = match text.split_once('-') {
            Some((track, sound)) => (track, Some(name(sound).filter(|sound| !sound.contains('-'))?)),
            None => (text, None),
        };
        Some(Rendition { name: text, track: name(track)?, sound })
    }
}

impl<'a> Resource<'a> {
    /// The version that it is under, if it is.
    pub fn version(&self) -> Option<&'a str> {
        match *self {
            Resource::Multivariant => None,
            Resource::MediaPlaylist { version, .. }
            | Resource::Segment { version, .. }
            | Resource::Packed { version, .. }
            | Resource::TextSegment { version, .. }
            | Resource::KeyFramePlaylist { version, .. }
            | Resource::KeyFrame { version, .. } => Some(version),
        }
    }
}

/// What key frames by themselves end with.
const KEY_FRAME: &str = "iframe.ts";

/// One track alone.
fn whole(text: &str) -> Option<&str> {
    Rendition::parse(text).filter(|rendition| rendition.sound.is_none()).map(|rendition| rendition.track)
}

/// `rest` is what follows `/vod/{asset}/ts/`; each thing has exactly one spelling.
pub fn parse(rest: &str) -> Option<Resource<'_>> {
    let Some((version, below)) = rest.split_once('/') else {
        return (rest == "index.m3u8").then_some(Resource::Multivariant);
    };
    let version = name(version)?;
    let Some((stem, file)) = below.split_once('/') else {
        if let Some(track) = below.strip_suffix(".iframes.m3u8") {
            return Some(Resource::KeyFramePlaylist { version, track: whole(track)? });
        }
        let rendition = Rendition::parse(below.strip_suffix(".m3u8")?)?;
        return Some(Resource::MediaPlaylist { version, rendition });
    };
    let rendition = Rendition::parse(stem)?;
    let (at, extension) = file.split_once('.')?;
    let time = time(at)?;
    if extension == "ts" {
        return Some(Resource::Segment { version, rendition, time });
    }
    let Rendition { track, sound: None, .. } = rendition else { return None };
    match extension {
        "vtt" => Some(Resource::TextSegment { version, track, time }),
        KEY_FRAME => Some(Resource::KeyFrame { version, track, time }),
        _ => Some(Resource::Packed { version, track, packing: Packing::of_extension(extension)?, time }),
    }
}

/// Relative to the I-frame playlists.
pub fn push_key_frame(out: &mut String, track: &str, time: Ticks) {
    push_segment(out, Rendition { name: track, track, sound: None }, time, KEY_FRAME);
}

/// Relative to the media playlists.
pub fn push_segment(out: &mut String, rendition: Rendition<'_>, time: Ticks, extension: &str) {
    out.push_str(rendition.name);
    out.push('/');
    out.push_str(itoa::Buffer::new().format(time.0));
    out.push('.');
    out.push_str(extension);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_thing_has_one_name() {
        let version = "00ff00ff00ff00ff";
        let alone = Rendition { name: "v1", track: "v1", sound: None };
        let both = Rendition { name: "v1-a2", track: "v1", sound: Some("a2") };
        for (rest, want) in [
            ("index.m3u8", Some(Resource::Multivariant)),
            ("V/v1.m3u8", Some(Resource::MediaPlaylist { version, rendition: alone })),
            ("V/v1-a2.m3u8", Some(Resource::MediaPlaylist { version, rendition: both })),
            ("V/v1/0.ts", Some(Resource::Segment { version, rendition: alone, time: Ticks(0) })),
            ("V/v1-a2/360360.ts", Some(Resource::Segment { version, rendition: both, time: Ticks(360_360) })),
            ("V/a2/7.aac", Some(Resource::Packed { version, track: "a2", packing: Packing::Aac, time: Ticks(7) })),
            ("V/a2/7.ec3", Some(Resource::Packed { version, track: "a2", packing: Packing::Eac3, time: Ticks(7) })),
            ("V/v1.iframes.m3u8", Some(Resource::KeyFramePlaylist { version, track: "v1" })),
            ("V/v1/60060.iframe.ts", Some(Resource::KeyFrame { version, track: "v1", time: Ticks(60_060) })),
            ("V/v1-a2.iframes.m3u8", None),
            ("V/v1-a2/7.iframe.ts", None),
            ("V/v1/7.iframe.m4s", None),
            ("V/v1/7.iframes.ts", None),
            ("V/.iframes.m3u8", None),
            ("V/t1/4004.vtt", Some(Resource::TextSegment { version, track: "t1", time: Ticks(4_004) })),
            ("", None),
            ("index.mpd", None),
            ("V", None),
            ("V/v1.vtt", None),
            ("V/v1-.m3u8", None),
            ("V/-a1.m3u8", None),
            ("V/v1-a1-a2.m3u8", None),
            ("V/v1-a2/7.aac", None),
            ("V/v1/07.ts", None),
            ("V/v1/-7.ts", None),
            ("V/v1/7.TS", None),
            ("V/v1/7.m4s", None),
            ("V/v1/7.ts/", None),
            ("/v1/7.ts", None),
        ] {
            let rest = rest.replacen('V', version, 1);
            assert_eq!(parse(&rest), want, "{rest}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_links_come_back(
            rest in "(0123456789abcdef/)?([av][0-9]-?){0,3}.{0,60}",
            ticks in 0..=i64::MAX,
            muxed in any::<bool>(),
        ) {
            let _ = parse(&rest);
            let rendition = Rendition::parse(if muxed { "v1-a2" } else { "v1" }).unwrap();
            let mut link = String::from("0123456789abcdef/");
            push_segment(&mut link, rendition, Ticks(ticks), "ts");
            let want = Resource::Segment { version: "0123456789abcdef", rendition, time: Ticks(ticks) };
            prop_assert_eq!(parse(&link), Some(want));
        }
    }
}
