//! HLS playlists (RFC 8216bis): the renditions of a multivariant playlist, or the one that a media playlist is.

use std::sync::Arc;

use m3u8_rs::{AlternativeMedia, AlternativeMediaType, KeyMethod, MediaPlaylist, Playlist};

use super::{Error, Event, Join, Labels, Manifest, Named, PIECES_MAX, Part, Piece, Rendition, Report, directory_of};
use crate::media::isobmff::language;
use crate::media::track::Role;

pub fn read(manifest: &Manifest, report: Report<'_>) -> Result<Vec<Named>, Error> {
    let playlist = match parse(manifest)? {
        Playlist::MediaPlaylist(playlist) => {
            let rendition = media(manifest, "", &playlist, Labels::default(), report)?;
            return Ok(vec![Named::Media(rendition)]);
        }
        Playlist::MasterPlaylist(playlist) => playlist,
    };
    // Media playlists by their paths, each once: variants share renditions, and groups do.
    let mut seen: Vec<String> = Vec::new();
    let mut named = Vec::new();
    let mut muxed: Vec<(String, Labels)> = Vec::new();
    for alternative in &playlist.alternatives {
        let is_text = match alternative.media_type {
            AlternativeMediaType::Audio | AlternativeMediaType::Video => false,
            AlternativeMediaType::Subtitles => true,
            // In the pictures.
            _ => continue,
        };
        match &alternative.uri {
            Some(uri) => {
                let labels = labels(alternative);
                named.extend(rendition(manifest, uri, labels, is_text, &mut seen, report)?);
            }
            None => muxed.push((alternative.group_id.clone(), labels(alternative))),
        }
    }
    let mut variants = Vec::new();
    for variant in playlist.variants.iter().filter(|variant| !variant.is_i_frame) {
        // What says of a group that it is in the variant's own segments.
        let own = muxed.iter().find(|(group, _)| Some(group) == variant.audio.as_ref());
        let labels = own.map(|(_, labels)| labels.clone()).unwrap_or_default();
        variants.extend(rendition(manifest, &variant.uri, labels, false, &mut seen, report)?);
    }
    variants.append(&mut named);
    Ok(variants)
}

fn parse(manifest: &Manifest) -> Result<Playlist, Error> {
    m3u8_rs::parse_playlist_res(manifest.text.as_bytes()).map_err(|error| {
        // The parser's messages show its whole input.
        let reason: String = error.to_string().chars().filter(|it| !it.is_control()).take(80).collect();
        manifest.unexpected(format!("a playlist that cannot be read ({reason})"), "an HLS playlist")
    })
}

fn labels(media: &AlternativeMedia) -> Labels {
    let characteristics = media.characteristics.as_deref().unwrap_or_default();
    let role = if characteristics.contains("public.accessibility.describes-video") {
        Some(Role::Description)
    } else if media.forced {
        Some(Role::Forced)
    } else if characteristics.contains("public.accessibility.describes-music-and-sound") {
        Some(Role::Caption)
    } else {
        None
    };
    let is_name = |name: &String| !name.is_empty() && name.len() <= 200 && !name.contains(char::is_control);
    Labels {
        language: media.language.as_deref().and_then(language::from_elng),
        name: Some(media.name.clone()).filter(is_name),
        role,
    }
}

/// `None` if it is there already.
fn rendition(
    top: &Manifest,
    uri: &str,
    labels: Labels,
    is_text: bool,
    seen: &mut Vec<String>,
    report: Report<'_>,
) -> Result<Option<Named>, Error> {
    let below = top.path_below("", uri)?;
    if seen.contains(&below) {
        return Ok(None);
    }
    let path = top.resolve("", uri)?;
    let manifest = Manifest::of_file(&path)?.ok_or_else(|| Error::Unexpected {
        path: path.clone(),
        found: if path.exists() { "no playlist" } else { "no such file" }.to_owned(),
        expected: format!("the media playlist that {} names", top.path.display()),
    })?;
    let Playlist::MediaPlaylist(playlist) = parse(&manifest)? else {
        return Err(manifest.unexpected("a multivariant playlist", "a media playlist"));
    };
    // Its names count from where it is, and none may lead out of the directory of the playlist above it.
    let directory = directory_of(&below).to_owned();
    let named = Manifest { path: top.path.clone(), format: manifest.format, text: String::new() };
    let mut rendition = media(&named, &directory, &playlist, labels, report)?;
    rendition.name = path.display().to_string();
    seen.push(below);
    Ok(Some(if is_text { Named::Text(rendition) } else { Named::Media(rendition) }))
}

fn media(
    manifest: &Manifest,
    directory: &str,
    playlist: &MediaPlaylist,
    labels: Labels,
    report: Report<'_>,
) -> Result<Rendition, Error> {
    let name = manifest.path.display().to_string();
    if playlist.segments.len() > PIECES_MAX {
        return Err(manifest.too_many());
    }
    if playlist.i_frames_only {
        return Err(manifest.unexpected("a playlist of I-frames", "one of whole segments"));
    }
    if !playlist.end_list {
        let text = format!("{name}: has no EXT-X-ENDLIST; what its playlists list now is taken");
        report(Event::Note(&text));
    }
    let mut header: Option<Arc<Part>> = None;
    let mut pieces: Vec<Piece> = Vec::with_capacity(playlist.segments.len());
    let mut joins = Vec::new();
    for (number, segment) in playlist.segments.iter().enumerate() {
        let what = || format!("segment {number} (from 0, {:?})", segment.uri);
        if segment.key.as_ref().is_some_and(|key| key.method != KeyMethod::None) {
            return Err(manifest.unexpected(format!("{} encrypted (EXT-X-KEY)", what()), "segments in the clear"));
        }
        if segment.unknown_tags.iter().any(|tag| tag.tag == "X-GAP") {
            return Err(manifest.unexpected(format!("{} missing (EXT-X-GAP)", what()), "all segments"));
        }
        if segment.discontinuity && number > 0 {
            joins.push(Join { piece: number, shift: None });
        }
        if let Some(map) = &segment.map {
            let path = manifest.resolve(directory, &map.uri)?;
            let start = map.byte_range.as_ref().map(|range| (range.offset.unwrap_or(0), range.length));
            let part = Arc::new(Part { path, range: start.map(|(start, length)| start..start.saturating_add(length)) });
            header = Some(header.filter(|before| *before == part).unwrap_or(part));
        }
        let path = manifest.resolve(directory, &segment.uri)?;
        let range = match &segment.byte_range {
            None => None,
            Some(range) => {
                // Without an offset it follows the one before it in the same file (§4.4.4.2).
                let before = pieces.last().filter(|before| before.part.path == path);
                let follows = before.and_then(|before| before.part.range.as_ref()).map(|range| range.end);
                let start = range.offset.or(follows).ok_or_else(|| {
                    manifest.unexpected(format!("{} without an offset of its byte range", what()), "one")
                })?;
                Some(start..start.saturating_add(range.length))
            }
        };
        pieces.push(Piece { part: Part { path, range }, header: header.clone() });
    }
    Ok(Rendition { name, labels, pieces, start: 0, joins })
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::*;

    fn pieces(text: &str) -> Result<Vec<String>, String> {
        let manifest = Manifest { path: "/x/v.m3u8".into(), format: Format::Hls, text: text.to_owned() };
        let found = read(&manifest, &mut |_| {}).map_err(|error| error.to_string())?;
        let [Named::Media(rendition)] = &found[..] else { panic!("{found:?}") };
        let part = |part: &Part| match &part.range {
            None => part.path.display().to_string(),
            Some(range) => format!("{} {}-{}", part.path.display(), range.start, range.end),
        };
        let piece = |piece: &Piece| {
            let header = piece.header.as_ref().map(|header| format!("{} + ", part(header)));
            format!("{}{}", header.unwrap_or_default(), part(&piece.part))
        };
        Ok(rendition.pieces.iter().map(piece).collect())
    }

    #[test]
    fn segments_ranges_and_headers() {
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI=\"v.mp4\",BYTERANGE=\"100@0\"\n\
                    #EXT-X-BYTERANGE:50@100\n#EXTINF:4,\nv.mp4\n#EXT-X-BYTERANGE:60\n#EXTINF:4,\nv.mp4\n\
                    #EXTINF:4,\nw.mp4\n#EXT-X-ENDLIST\n";
        let header = "/x/v.mp4 0-100 + ";
        let want = ["/x/v.mp4 100-150", "/x/v.mp4 150-210", "/x/w.mp4"].map(|piece| format!("{header}{piece}"));
        assert_eq!(pieces(text).unwrap(), want);
    }

    #[test]
    fn refusals() {
        for (tag, want) in [
            ("#EXT-X-KEY:METHOD=AES-128,URI=\"k\"", "segment 0 (from 0, \"1.ts\") encrypted (EXT-X-KEY)"),
            ("#EXT-X-GAP", "missing (EXT-X-GAP)"),
            ("#EXT-X-BYTERANGE:60", "without an offset"),
            ("#EXT-X-I-FRAMES-ONLY", "a playlist of I-frames"),
        ] {
            let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n{tag}\n#EXTINF:4,\n1.ts\n#EXT-X-ENDLIST\n");
            let error = pieces(&text).unwrap_err();
            assert!(error.starts_with("/x/v.m3u8: found ") && error.contains(want), "{error}");
        }
    }
}
