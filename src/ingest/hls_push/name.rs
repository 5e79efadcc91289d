//! Names of pushed files.

use crate::base::limits::RENDITION_NAME_BYTES_MAX;

use super::Error;

/// A path below the channel.
pub const PATH_BYTES_MAX: usize = 512;

/// Without a query, and without steps that lead nowhere.
pub fn normal(name: &str) -> Result<String, Error> {
    let path = resolve("", name);
    if path.len() > PATH_BYTES_MAX {
        return Err(Error::LongName { len: path.len(), start: start(&path) });
    }
    Ok(path)
}

/// What a URI in a playlist refers to (RFC 3986 §5.2), as far as paths go. Steps above the channel are none.
pub fn resolve(playlist: &str, uri: &str) -> String {
    let uri = uri.split(['?', '#']).next().unwrap_or_default();
    let base = if uri.starts_with('/') { "" } else { directory(playlist) };
    let mut steps: Vec<&str> = Vec::new();
    for step in base.split('/').chain(uri.split('/')) {
        match step {
            "" | "." => {}
            ".." => _ = steps.pop(),
            step => steps.push(step),
        }
    }
    steps.join("/")
}

pub fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// Whether it is called a segment of WebVTT.
pub fn is_text(path: &str) -> bool {
    [".vtt", ".webvtt"].iter().any(|end| path.to_ascii_lowercase().ends_with(end))
}

/// The rendition of a segment, from its name alone, so that two servers that are fed by one encoder call it the same: the
/// path without extension and number.
pub fn rendition(path: &str) -> Result<String, Error> {
    let directory = directory(path);
    let stem = stem(path);
    let stem = stem.trim_end_matches(|it: char| it.is_ascii_digit()).trim_end_matches(['-', '_', '.']);
    let name = match (directory, stem) {
        ("", "") => "segments".to_owned(),
        (directory, "") => directory.to_owned(),
        ("", stem) => stem.to_owned(),
        (directory, stem) => format!("{directory}/{stem}"),
    };
    if name.len() > RENDITION_NAME_BYTES_MAX {
        return Err(Error::LongRendition { len: name.len(), start: start(&name) });
    }
    Ok(name)
}

/// The same of a segment that a playlist lists: where it is called as its playlist with a number behind it, the playlist says
/// which of the digits are the number. ffmpeg calls segments of `out_1.m3u8` `out_10.ts`.
pub fn listed_rendition(path: &str, playlist: &str) -> Result<String, Error> {
    if !is_numbered(path, playlist) {
        return rendition(path);
    }
    let name = playlist.rsplit_once('.').map_or(playlist, |(name, _)| name);
    if name.len() > RENDITION_NAME_BYTES_MAX {
        return Err(Error::LongRendition { len: name.len(), start: start(name) });
    }
    Ok(name.to_owned())
}

/// Whether a segment is called as a playlist beside it with a number behind it.
pub fn is_numbered(path: &str, playlist: &str) -> bool {
    let number = stem(path).strip_prefix(stem(playlist)).unwrap_or_default();
    directory(path) == directory(playlist) && !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit())
}

/// That number.
pub fn number(path: &str, playlist: &str) -> Option<u64> {
    stem(path).strip_prefix(stem(playlist)).filter(|_| is_numbered(path, playlist))?.parse().ok()
}

/// The digits that a segment's name ends with. The first of them may be another number, that of its rendition.
pub fn digits(path: &str) -> &str {
    let stem = stem(path);
    &stem[stem.trim_end_matches(|it: char| it.is_ascii_digit()).len()..]
}

fn stem(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or_default();
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

fn start(name: &str) -> String {
    name.chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (path, want) in [
            ("index0.ts", "index"),
            ("stream_0/seg_00017.ts", "stream_0/seg"),
            ("720p-2026.m4s", "720p"),
            ("v1/17.ts", "v1"),
            ("17.ts", "segments"),
            ("audio_eng_12.aac", "audio_eng"),
        ] {
            assert_eq!(rendition(path).unwrap(), want, "{path}");
        }
        assert!(rendition(&"x".repeat(100)).is_err());
        for (path, playlist, want) in [
            ("out_10.ts", "out_1.m3u8", "out_1"),
            ("out_110.ts", "out_1.m3u8", "out_1"),
            ("out_110.ts", "out_11.m3u8", "out_11"),
            ("a/20.ts", "a/2.m3u8", "a/2"),
            ("index12.ts", "index.m3u8", "index"),
            ("main-00012.ts", "main.m3u8", "main"),
            ("seg_012.ts", "index.m3u8", "seg"),
            ("out_10.ts", "a/out_1.m3u8", "out"),
            ("out_1.ts", "out_1.m3u8", "out"),
        ] {
            assert_eq!(listed_rendition(path, playlist).unwrap(), want, "{path} {playlist}");
        }
        let long = "x".repeat(100);
        assert!(listed_rendition(&format!("{long}10.ts"), &format!("{long}1.m3u8")).is_err());
        for (path, want) in [("out_10.ts", "10"), ("a1/x.ts", ""), ("v1/17.ts", "17"), ("", "")] {
            assert_eq!(digits(path), want, "{path}");
        }
        for (playlist, uri, want) in [
            ("a/index.m3u8", "seg1.ts?token=1", "a/seg1.ts"),
            ("a/b/index.m3u8", "../seg1.ts", "a/seg1.ts"),
            ("index.m3u8", "../../seg1.ts", "seg1.ts"),
            ("a/index.m3u8", "/seg1.ts", "seg1.ts"),
        ] {
            assert_eq!(resolve(playlist, uri), want, "{uri}");
        }
        assert!(normal(&"x/".repeat(400)).is_err());
    }
}
