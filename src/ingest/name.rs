//! What the name of a request says: which protocol it is of, and which rendition it brings.
//!
//! A rendition's name is a function of what the encoder sends and never of the order of arrival: two servers that are fed by
//! the same encoder publish the same names.

use thiserror::Error as ThisError;

use crate::base::limits::RENDITION_NAME_BYTES_MAX;

/// How a request's body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Playlists, and MPEG transport streams.
    HlsPush,
    /// Fragmented segments of HLS are called like those of DASH: [`super::push`] tells them apart.
    DashPush,
    /// DASH-IF Live Media Ingest, interface 1.
    Cmaf,
}

/// Why no rendition can be called so.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[error("found a rendition name of {len} bytes ({start}…), expected at most {RENDITION_NAME_BYTES_MAX}")]
pub struct TooLong {
    len: usize,
    start: String,
}

/// `name` is the path below the channel, percent-decoded.
pub fn protocol(name: &str) -> Protocol {
    if streams(name).is_some() {
        return Protocol::Cmaf;
    }
    let (stem, extension) = split_extension(file(name));
    match extension.to_ascii_lowercase().as_str() {
        "m3u8" | "m3u" | "ts" | "aac" | "vtt" => Protocol::HlsPush,
        "mpd" | "m4s" | "m4i" | "m4f" | "m4v" | "m4a" | "dash" => Protocol::DashPush,
        "cmfv" | "cmfa" | "cmft" | "cmfm" => Protocol::Cmaf,
        // `init.mp4`, `v1_init.mp4`; `init0.mp4` of ffmpeg's HLS.
        _ if stem.split(SEPARATORS).any(|word| without_digits(word) == "init") => Protocol::DashPush,
        _ => Protocol::Cmaf,
    }
}

/// Whether it is called a header, of what ever.
pub fn is_header(name: &str) -> bool {
    let (stem, _) = split_extension(file(name));
    stem.split(SEPARATORS).any(|word| HEADER_WORDS.contains(&without_digits(word).to_ascii_lowercase().as_str()))
}

/// Whether it is an MPD.
pub fn is_manifest(name: &str) -> bool {
    split_extension(file(name)).1.eq_ignore_ascii_case("mpd")
}

/// The rendition of a name of CMAF ingest: what stands in `Streams(…)`, else the path without its extension. Empty if that
/// says nothing.
pub fn of_track(name: &str) -> Result<String, TooLong> {
    if let Some(name) = streams(name) {
        return sound(known_stem(name));
    }
    let stem = known_stem(file(name));
    // `video/init.cmfv`, `video/17.cmfv`: one request per segment, named as such.
    sound(&joined(directory(name), if is_generic(stem) { "" } else { stem }))
}

/// The rendition of a name that a DASH packager made of a template: what is left without what says header, segment, and
/// number. Empty if that says nothing.
pub fn of_segment(name: &str) -> Result<String, TooLong> {
    let (stem, _) = split_extension(file(name));
    if is_generic(stem) {
        return sound(directory(name));
    }
    let mut stem = stem;
    if let Some((first, rest)) = stem.split_once(SEPARATORS).filter(|(first, _)| is_word(first)) {
        let is_header = HEADER_WORDS.contains(&first.to_ascii_lowercase().as_str());
        // `init-stream0` has no number, `chunk-stream0-00001` has.
        stem = if is_header { rest } else { without_number(rest) };
    } else if let Some((rest, _)) = stem.rsplit_once(SEPARATORS).filter(|(_, last)| is_word(last)) {
        stem = rest;
    } else {
        stem = without_number(stem);
        // `720p-seg-3`
        if let Some((rest, _)) = stem.rsplit_once(SEPARATORS).filter(|(_, last)| is_word(last)) {
            stem = rest;
        }
    }
    sound(&joined(directory(name), stem))
}

/// The rendition whose header is called no more than `init`, beside a file of this name.
pub fn of_directory(name: &str) -> Result<String, TooLong> {
    sound(directory(name))
}

const SEPARATORS: [char; 3] = ['-', '_', '.'];
const HEADER_WORDS: [&str; 3] = ["init", "header", "initialization"];
const SEGMENT_WORDS: [&str; 7] = ["chunk", "seg", "segment", "frag", "fragment", "media", "part"];

fn without_digits(word: &str) -> &str {
    word.trim_end_matches(|character: char| character.is_ascii_digit())
}

fn is_word(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    HEADER_WORDS.contains(&word.as_str()) || SEGMENT_WORDS.contains(&word.as_str())
}

/// Whether it says no more than that it is a header, or which segment: `init`, `17`, `seg17`, `chunk-17`. A number behind
/// the word for a header is a name: that of the one Representation that it is the header of.
fn is_generic(stem: &str) -> bool {
    let numbered = without_digits(stem);
    let word = numbered.strip_suffix(SEPARATORS).unwrap_or(numbered).to_ascii_lowercase();
    let is_header = HEADER_WORDS.contains(&stem.to_ascii_lowercase().as_str());
    is_header || word.is_empty() || SEGMENT_WORDS.contains(&word.as_str())
}

fn without_number(stem: &str) -> &str {
    match stem.rsplit_once(SEPARATORS) {
        Some((rest, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => stem,
    }
}

/// What stands in the last `Streams(…)`.
fn streams(name: &str) -> Option<&str> {
    let (_, rest) = name.rsplit_once("Streams(")?;
    rest.split_once(')').map(|(inner, _)| inner)
}

fn file(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or_default()
}

fn directory(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(directory, _)| directory)
}

fn split_extension(file: &str) -> (&str, &str) {
    file.rsplit_once('.').unwrap_or((file, ""))
}

/// Without the extension, if it is one: a name may have a point.
fn known_stem(file: &str) -> &str {
    const KNOWN: [&str; 11] = ["cmfv", "cmfa", "cmft", "cmfm", "mp4", "ismv", "isma", "ismt", "m4s", "m4v", "m4a"];
    let (stem, extension) = split_extension(file);
    if KNOWN.contains(&extension.to_ascii_lowercase().as_str()) { stem } else { file }
}

fn joined(directory: &str, stem: &str) -> String {
    format!("{directory}/{stem}")
}

/// Fit for a path element and a file name: what is neither letter nor digit becomes a hyphen, and ends with one nowhere.
fn sound(text: &str) -> Result<String, TooLong> {
    let plain = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' => character,
        _ => '-',
    };
    let name: String = text.trim_matches('/').chars().map(plain).collect();
    let name = name.trim_matches(['-', '.']);
    if name.len() > RENDITION_NAME_BYTES_MAX {
        return Err(TooLong { len: name.len(), start: name.chars().take(16).collect() });
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_tell_the_protocol() {
        use Protocol::{Cmaf, DashPush, HlsPush};
        for (name, want) in [
            ("index.m3u8", HlsPush),
            ("720p/seg_1.ts", HlsPush),
            ("manifest.mpd", DashPush),
            ("init-stream0.m4s", DashPush),
            ("chunk-stream0-00001.m4s", DashPush),
            ("init-stream1.webm", DashPush),
            ("720p/init.mp4", DashPush),
            ("720p/init0.mp4", DashPush),
            ("Streams(video-1.cmfv)", Cmaf),
            ("ch.isml/Streams(init)", Cmaf),
            ("video/init.cmfv", Cmaf),
            ("video.mp4", Cmaf),
            ("initial.mp4", Cmaf),
            ("video.ismv", Cmaf),
            ("video", Cmaf),
            ("", Cmaf),
        ] {
            assert_eq!(protocol(name), want, "{name}");
        }
    }

    #[test]
    fn tracks_are_called_as_the_encoder_does() {
        for (name, want) in [
            ("Streams(video-1.cmfv)", "video-1"),
            ("live.isml/Streams(audio_eng=128000)", "audio_eng-128000"),
            ("Streams()", ""),
            ("video-2.cmfv", "video-2"),
            ("video-2", "video-2"),
            ("/sub/en.v1.cmft", "sub-en.v1"),
            ("v1/init.cmfv", "v1"),
            ("v1/17.cmfv", "v1"),
            ("v1/seg-17.cmfv", "v1"),
            ("stream.mp4", "stream"),
            (".mp4", ""),
            ("", ""),
            ("/", ""),
            ("../../etc", "etc"),
            ("ä b.mp4", "b"),
        ] {
            assert_eq!(of_track(name).as_deref(), Ok(want), "{name}");
        }
        assert!(of_track(&"x".repeat(RENDITION_NAME_BYTES_MAX)).is_ok());
        assert!(of_track(&"x".repeat(RENDITION_NAME_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn headers_and_segments_have_one_name() {
        for (header, segment, want) in [
            ("init-stream0.m4s", "chunk-stream0-00001.m4s", "stream0"),
            ("init-0.m4s", "chunk-0-12.m4s", "0"),
            ("init_v720.mp4", "v720_17.m4s", "v720"),
            ("v720_init.mp4", "v720_1700000.m4s", "v720"),
            ("720p/init.mp4", "720p/1.m4s", "720p"),
            ("720p/init.mp4", "720p/seg_1.m4s", "720p"),
            ("a/v-init.mp4", "a/v-seg-3.m4s", "a-v"),
            ("init.mp4", "seg1.m4s", ""),
        ] {
            assert_eq!(of_segment(header).as_deref(), Ok(want), "{header}");
            assert_eq!(of_segment(segment).as_deref(), Ok(want), "{segment}");
        }
    }

    proptest! {
        #[test]
        fn any_name_becomes_a_path_element(name in ".{0,80}") {
            for name in [of_track(&name), of_segment(&name)].into_iter().flatten() {
                prop_assert!(name.len() <= RENDITION_NAME_BYTES_MAX);
                prop_assert!(!name.starts_with('.') && !name.contains('/'));
            }
            protocol(&name);
        }
    }
}
