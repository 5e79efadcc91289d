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
    let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
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
