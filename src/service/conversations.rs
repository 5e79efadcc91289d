//! What a client sends and what it gets, for everything below one asset.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Extent, Piece};
use crate::http::{Framing, Kind, Response, request, uri};
use crate::media::fixture::Fixture;
use crate::media::{Presentation, Thumbnails, TrackView};

use super::Load;
use super::manifest::Manifest;
use super::playback::{Outcome, Playback, Source};
use super::route::Route;
use crate::store::derived;

const PUBLISHED: u64 = 784_111_777;
const PUBLISHED_TEXT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const V: &str = "0123456789abcdef";

impl Source for Fixture {
    fn presentation(&self) -> Presentation<'_> {
        Fixture::presentation(self)
    }

    fn track(&self, id: &str) -> Option<TrackView<'_>> {
        Fixture::presentation(self).track(id)
    }

    fn thumbnails(&self) -> Option<Thumbnails<'_>> {
        Fixture::presentation(self).thumbnails
    }

    fn sample_rows(&self, _: &str, _: Range<u32>) -> Option<Extent> {
        None
    }

    fn is_resident(&self, _: &Extent) -> bool {
        true
    }

    fn published(&self) -> u64 {
        PUBLISHED
    }

    fn is_damaged(&self) -> bool {
        false
    }

    fn is_whole(&self) -> bool {
        true
    }
}

struct Origin {
    playback: Playback,
    film: Fixture,
}

impl Origin {
    fn new(film: Fixture) -> Origin {
        Origin { playback: Playback::new(Duration::from_secs(5), 64 << 20, derived::Options::default()), film }
    }

    fn outcome(&self, head: &str, open: bool) -> Outcome {
        let (request, _) = request::parse(head.as_bytes()).unwrap().unwrap();
        let path = uri::decode(request.path).unwrap();
        let Some(Route::Vod { asset, resource }) = Route::of(&path) else { return Outcome::Missing };
        self.playback.answer(&request, asset, V, resource, open.then_some(&self.film))
    }

    fn ask(&self, line: &str, fields: &str) -> Response {
        let head = format!("{line} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        match self.outcome(&head, true) {
            Outcome::Ready(response) => response,
            Outcome::Missing => panic!("{line}: missing"),
            Outcome::Closed => panic!("{line}: closed"),
            Outcome::Damaged => panic!("{line}: damaged"),
            Outcome::Compress(_) => panic!("{line}: to be compressed"),
            Outcome::Read(_) => panic!("{line}: to be read"),
            Outcome::Movie(_) | Outcome::Make(_) | Outcome::Unmade => panic!("{line}: to be made"),
        }
    }
}

fn head(response: &Response) -> String {
    let mut out = Vec::new();
    response.write_head(&mut out, b"Mon, 07 Nov 1994 00:00:00 GMT", Framing::Length, true);
    String::from_utf8(out).unwrap()
}

/// Inline bytes as they are, extents as file and place.
fn body(response: &Response) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Inline(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Piece::Extent(extent) => format!("{extent:?}"),
    };
    response.body.pieces().iter().map(text).collect::<Vec<_>>().join("")
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// 20 s and 21 thumbnails, on two sheets.
fn film_with_thumbnails() -> Fixture {
    Fixture::film(20).with_thumbnails(Duration::from_secs(1))
}

#[test]
fn whole_answers() {
    let origin = Origin::new(film_with_thumbnails());
    let manifest = body(&origin.ask("GET /vod/a/index.ism/Manifest", ""));
    let bitrate = manifest.split_once("Bitrate=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
    for (path, kind, content_type, cache_control, etag, vary) in [
        ("index.m3u8", Kind::Multivariant, "application/vnd.apple.mpegurl", "max-age=5", "-hls-", true),
        ("index.mpd", Kind::Mpd, "application/dash+xml", "max-age=5", "-dash-", true),
        ("{v}/v1.m3u8", Kind::MediaPlaylist, "application/vnd.apple.mpegurl", "immutable", "-v1-", true),
        ("{v}/t1.m3u8", Kind::MediaPlaylist, "application/vnd.apple.mpegurl", "immutable", "-t1-", true),
        ("{v}/v1/init.mp4", Kind::Init, "video/mp4", "immutable", "-v1-init", false),
        ("{v}/a1/init.mp4", Kind::Init, "audio/mp4", "immutable", "-a1-init", false),
        ("{v}/v1/0.m4s", Kind::Segment, "video/mp4", "immutable", "-v1-0", false),
        ("{v}/a2/0.m4s", Kind::Segment, "audio/mp4", "immutable", "-a2-0", false),
        ("{v}/v2/120120.m4s", Kind::Segment, "video/mp4", "immutable", "-v2-120120", false),
        ("{v}/t1/0.vtt", Kind::Text, "text/vtt; charset=utf-8", "immutable", "-t1-0", false),
        ("{v}/t1/init.mp4", Kind::Init, "application/mp4", "immutable", "-t1-init", false),
        ("{v}/t1/4004.m4s", Kind::Segment, "application/mp4", "immutable", "-t1-4004-wvtt", false),
        ("{v}/t1.vtt", Kind::Text, "text/vtt; charset=utf-8", "immutable", "-t1", false),
        ("single/index.m3u8", Kind::Multivariant, "application/vnd.apple.mpegurl", "max-age=5", "-single-hls-", true),
        ("single/index.mpd", Kind::Mpd, "application/dash+xml", "max-age=5", "-single-dash-", true),
        ("{v}/v1.single.m3u8", Kind::MediaPlaylist, "application/vnd.apple.mpegurl", "immutable", "-v1-single-", true),
        ("{v}/t1.single.m3u8", Kind::MediaPlaylist, "application/vnd.apple.mpegurl", "immutable", "-t1-single-", true),
        ("index.ism/Manifest", Kind::SmoothManifest, "text/xml; charset=utf-8", "max-age=5", "-mss-", true),
        (
            "index.ism/{v}/QualityLevels({b})/Fragments(video=213333)",
            Kind::Segment,
            "video/mp4",
            "immutable",
            "-v1-mss-",
            false,
        ),
        (
            "index.ism/QualityLevels({b})/Fragments(video=213333)",
            Kind::Segment,
            "video/mp4",
            "max-age=5",
            "-v1-mss-",
            false,
        ),
        (
            "{v}/v1.iframes.m3u8",
            Kind::MediaPlaylist,
            "application/vnd.apple.mpegurl",
            "immutable",
            "-v1-iframes-",
            true,
        ),
        ("{v}/v1/60060.iframe.m4s", Kind::Segment, "video/mp4", "immutable", "-v1-iframe-60060", false),
        ("{v}/v1.mp4", Kind::Segment, "video/mp4", "immutable", "-v1-file", false),
        ("{v}/a2.mp4", Kind::Segment, "audio/mp4", "immutable", "-a2-file", false),
        ("thumbnails.vtt", Kind::Text, "text/vtt; charset=utf-8", "max-age=5", "-thumbnails-", true),
        ("{v}/i1.m3u8", Kind::MediaPlaylist, "application/vnd.apple.mpegurl", "immutable", "-i1-", true),
        ("{v}/i1/1.jpg", Kind::Image, "image/jpeg", "immutable", "-i1-1", false),
    ] {
        let path = path.replace("{v}", V).replace("{b}", &bitrate);
        for method in ["GET", "HEAD"] {
            let response = origin.ask(&format!("{method} /vod/big%20buck/{path}"), "");
            let head = head(&response);
            assert_eq!((response.status.0, response.kind), (200, kind), "{path}");
            assert_eq!(field(&head, "Content-Type"), Some(content_type), "{path}");
            assert_eq!(field(&head, "Content-Length"), Some(response.body.len().to_string().as_str()), "{path}");
            assert_eq!(field(&head, "Accept-Ranges"), Some("bytes"), "{path}");
            assert_eq!(field(&head, "Last-Modified"), Some(PUBLISHED_TEXT), "{path}");
            assert_eq!(field(&head, "Access-Control-Allow-Origin"), Some("*"), "{path}");
            assert!(field(&head, "Access-Control-Expose-Headers").unwrap().contains("Content-Range"), "{path}");
            assert_eq!(field(&head, "Vary"), vary.then_some("Accept-Encoding"), "{path}");
            assert!(field(&head, "ETag").unwrap().starts_with(&format!("\"{V}{etag}")), "{path}: {head}");
            match cache_control {
                "immutable" => {
                    assert_eq!(field(&head, "Cache-Control"), Some("public, max-age=31536000, immutable"), "{path}");
                }
                other => assert_eq!(field(&head, "Cache-Control"), Some(other), "{path}"),
            }
            assert!(!response.body.is_empty(), "{path}");
        }
    }
}

#[test]
fn names_that_nothing_has() {
    let origin = Origin::new(film_with_thumbnails());
    for path in [
        "{v}/v9.m3u8",
        "{v}/v9.single.m3u8",
        "{v}/a1.iframes.m3u8",
        "{v}/v1/1.iframe.m4s",
        "index.ism/QualityLevels(1)/Fragments(video=213333)",
        "index.ism/{v}/QualityLevels(1)/Fragments(audio=0)",
        "{v}/v9.mp4",
        "{v}/t1.mp4", // there is no file of text in fragments
        "{v}/v9/init.mp4",
        "{v}/v9/0.m4s",
        "{v}/v1/1.m4s",
        "{v}/v1/60060.m4s", // a fragment, but not the first of a segment
        "{v}/v1/9223372036854775807.m4s",
        "{v}/v1/0.vtt",
        "{v}/v1.vtt",
        "{v}/t9/init.mp4",
        "{v}/t1/1.m4s",
        "index.ism/{v}/QualityLevels(1)/Fragments(text_en=0)",
        "{v}/t1/1.vtt",
        "{v}/i1/2.jpg", // behind the last sheet
        "{v}/i2/0.jpg",
        "{v}/i2.m3u8",
        "{v}/i1.single.m3u8",
        "{v}/i1.iframes.m3u8",
        "{v}/i1.mp4",
        "{v}/i1/init.mp4",
        "{v}/i1/0.m4s",
        "{v}/v1/0.jpg",
        "index.html",
    ] {
        let path = path.replace("{v}", V);
        let outcome = origin.outcome(&format!("GET /vod/a/{path} HTTP/1.0\r\n\r\n"), true);
        assert!(matches!(outcome, Outcome::Missing), "{path}");
    }
}

#[test]
fn thumbnails_of_an_asset_that_has_none() {
    let origin = Origin::new(Fixture::film(20));
    for path in ["thumbnails.vtt", "{v}/i1.m3u8", "{v}/i1/0.jpg"] {
        let outcome = origin.outcome(&format!("GET /vod/a/{} HTTP/1.0\r\n\r\n", path.replace("{v}", V)), true);
        assert!(matches!(outcome, Outcome::Missing), "{path}");
    }
}

/// Every format names the same sheets, by URLs that are relative to itself.
#[test]
fn every_sheet_is_found_from_every_manifest() {
    let origin = Origin::new(film_with_thumbnails());
    let get = |path: &str| body(&origin.ask(&format!("GET /vod/a/{path}"), ""));
    let between = |text: &str, from: &str, to: &str| {
        let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from} in {text}"));
        rest.split_once(to).unwrap().0.to_owned()
    };
    let mut sheets = vec![];
    for (manifest, above) in [("index.mpd", ""), ("single/index.mpd", "../")] {
        let tiles = between(&get(manifest), "mimeType=\"image/jpeg\"", "</AdaptationSet>");
        let template = between(&tiles, "media=\"", "\"");
        let template = template.strip_prefix(above).unwrap();
        sheets.push([0, 1].map(|number| template.replace("$Number$", &number.to_string())));
    }
    for (manifest, above) in [("index.m3u8", ""), ("single/index.m3u8", "../"), ("ts/index.m3u8", "../")] {
        let multivariant = get(manifest);
        let line = multivariant.lines().find(|line| line.starts_with("#EXT-X-IMAGE-STREAM-INF:")).unwrap();
        let playlist = between(line, "URI=\"", "\"");
        assert_eq!(playlist, format!("{above}{V}/i1.m3u8"), "{manifest}");
        let playlist = get(playlist.strip_prefix(above).unwrap());
        let links: Vec<_> = playlist.lines().filter(|line| !line.starts_with('#')).collect();
        sheets.push([format!("{V}/{}", links[0]), format!("{V}/{}", links[1])]);
    }
    let map = get("thumbnails.vtt");
    let cues: Vec<_> = map.lines().filter_map(|line| line.split_once("#xywh=")).collect();
    assert_eq!(cues.len(), 21);
    sheets.push([cues[17].0.to_owned(), cues[18].0.to_owned()]);
    assert!(sheets.iter().all(|found| *found == sheets[0]), "{sheets:?}");
    let whole = |sheet: &str| origin.ask(&format!("GET /vod/a/{sheet}"), "").body.len();
    assert!(sheets[0].iter().all(|sheet| whole(sheet) > 0));
    let sheet = format!("GET /vod/a/{}", sheets[0][1]);
    let etag = field(&head(&origin.ask(&sheet, "")), "ETag").unwrap().to_owned();
    assert_eq!(origin.ask(&sheet, &format!("If-None-Match: {etag}\r\n")).status.0, 304);
    let part = origin.ask(&sheet, "Range: bytes=2-9\r\n");
    assert_eq!((part.status.0, part.body.len()), (206, 8));
}

#[test]
fn every_link_of_every_playlist_is_answered() {
    let origin = Origin::new(Fixture::film(30));
    let multivariant = body(&origin.ask("GET /vod/a/index.m3u8", ""));
    let quoted = |line: &str| Some(line.split_once("URI=\"")?.1.split_once('"')?.0.to_owned());
    let links = |text: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| if line.starts_with('#') { quoted(line) } else { Some(line.to_owned()) })
            .collect()
    };
    let playlists = links(&multivariant);
    assert!(playlists.len() >= 6, "{multivariant}");
    for playlist in playlists {
        let media = body(&origin.ask(&format!("GET /vod/a/{playlist}"), ""));
        let segments = links(&media);
        assert!(segments.len() >= 7, "{media}");
        for segment in segments {
            let response = origin.ask(&format!("GET /vod/a/{V}/{segment}"), "");
            assert_eq!(response.status.0, 200, "{segment}");
        }
    }
}

#[test]
fn ranges_of_a_segment() {
    let origin = Origin::new(Fixture::film(20));
    let line = format!("GET /vod/a/{V}/v3/120120.m4s");
    let whole = origin.ask(&line, "");
    let len = whole.body.len();
    let start: u64 = body(&whole).split(['[', '.']).nth(1).unwrap().parse().unwrap();
    let extent = |from: u64, to: u64| format!("v3[{}..{}]", start + from, start + to);
    assert_eq!(body(&whole), extent(0, len));
    let etag = field(&head(&whole), "ETag").unwrap().to_owned();
    for (fields, status, content_range, want) in [
        ("Range: bytes=0-0".to_owned(), 206, Some(format!("bytes 0-0/{len}")), extent(0, 1)),
        ("Range: bytes=100-".into(), 206, Some(format!("bytes 100-{}/{len}", len - 1)), extent(100, len)),
        ("Range: bytes=-5".into(), 206, Some(format!("bytes {}-{}/{len}", len - 5, len - 1)), extent(len - 5, len)),
        (
            format!("Range: bytes={len}-"),
            416,
            Some(format!("bytes */{len}")),
            "the range asked for lies outside\n".into(),
        ),
        ("Range: bytes=x".into(), 200, None, extent(0, len)),
        ("Range: lines=0-1".into(), 200, None, extent(0, len)),
        (format!("If-Range: {etag}\r\nRange: bytes=0-0"), 206, Some(format!("bytes 0-0/{len}")), extent(0, 1)),
        ("If-Range: \"other\"\r\nRange: bytes=0-0".into(), 200, None, extent(0, len)),
        (
            format!("If-Range: {PUBLISHED_TEXT}\r\nRange: bytes=0-0"),
            206,
            Some(format!("bytes 0-0/{len}")),
            extent(0, 1),
        ),
        (format!("If-None-Match: {etag}\r\nRange: bytes=0-0"), 304, None, String::new()),
        (
            "If-Match: \"other\"\r\nRange: bytes=0-0".into(),
            412,
            None,
            "a precondition of the request is not met\n".into(),
        ),
    ] {
        let response = origin.ask(&line, &format!("{fields}\r\n"));
        let head = head(&response);
        assert_eq!(response.status.0, status, "{fields}");
        assert_eq!(field(&head, "Content-Range"), content_range.as_deref(), "{fields}");
        assert_eq!(body(&response), want, "{fields}");
        assert_eq!(field(&head, "Access-Control-Allow-Origin"), Some("*"), "{fields}");
    }
    let several = origin.ask(&line, "Range: bytes=0-1,10-19\r\n");
    let several_head = head(&several);
    assert_eq!(several.status.0, 206);
    assert_eq!(field(&several_head, "Content-Range"), None);
    assert!(field(&several_head, "Content-Type").unwrap().starts_with("multipart/byteranges; boundary="));
    assert_eq!(several_head.matches("Content-Type").count(), 1);
    assert_eq!(field(&several_head, "ETag"), Some(etag.as_str()));
    let parts = body(&several);
    for part in [
        format!("Content-Type: video/mp4\r\nContent-Range: bytes 0-1/{len}\r\n\r\n{}\r\n--", extent(0, 2)),
        format!("Content-Type: video/mp4\r\nContent-Range: bytes 10-19/{len}\r\n\r\n{}\r\n--", extent(10, 20)),
    ] {
        assert!(parts.contains(&part), "{parts}");
    }
    // A range is for GET only.
    let response = origin.ask(&line.replace("GET", "HEAD"), "Range: bytes=0-0\r\n");
    assert_eq!((response.status.0, response.body.len()), (200, len));
}

#[test]
fn revalidation() {
    let origin = Origin::new(Fixture::film(20));
    for path in ["index.m3u8".to_owned(), "index.mpd".into(), format!("{V}/v1.m3u8"), format!("{V}/v1/0.m4s")] {
        let line = format!("GET /vod/a/{path}");
        let first = head(&origin.ask(&line, ""));
        let etag = field(&first, "ETag").unwrap();
        for (fields, status) in [
            (format!("If-None-Match: {etag}"), 304),
            (format!("If-None-Match: W/{etag}, \"other\""), 304),
            ("If-None-Match: \"other\"".into(), 200),
            (format!("If-Modified-Since: {PUBLISHED_TEXT}"), 304),
            ("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT".into(), 200),
        ] {
            let response = origin.ask(&line, &format!("{fields}\r\n"));
            assert_eq!(response.status.0, status, "{path} {fields}");
            if status == 304 {
                let again = head(&response);
                // RFC 9110 §15.4.5: these as in the 200, and no description of a body that is not there.
                for name in ["ETag", "Cache-Control", "Vary", "Last-Modified", "Access-Control-Allow-Origin"] {
                    assert_eq!(field(&again, name), field(&first, name), "{path} {name}");
                }
                for name in ["Content-Type", "Content-Length", "Content-Encoding", "Accept-Ranges"] {
                    assert_eq!(field(&again, name), None, "{path} {name}");
                }
                assert!(response.body.is_empty());
            }
        }
    }
}

#[test]
fn compressed_manifests() {
    let origin = Origin::new(Fixture::film(20));
    let plain = origin.ask("GET /vod/a/index.mpd", "");
    let gzip = "Accept-Encoding: gzip\r\n";
    let compressed = match origin.outcome(&format!("GET /vod/a/index.mpd HTTP/1.0\r\n{gzip}\r\n"), true) {
        Outcome::Compress(manifest) => {
            manifest.compress();
            origin.ask("GET /vod/a/index.mpd", gzip)
        }
        Outcome::Ready(response) => response,
        _ => panic!("neither answered nor to be compressed"),
    };
    assert!(compressed.body.len() < plain.body.len());
    let (plain, compressed) = (head(&plain), head(&compressed));
    assert_eq!(field(&compressed, "Content-Encoding"), Some("gzip"));
    assert_eq!(field(&plain, "Content-Encoding"), None);
    assert_ne!(field(&plain, "ETag"), field(&compressed, "ETag"));
    // Each form is revalidated by its own tag.
    let etag = field(&compressed, "ETag").unwrap();
    assert_eq!(origin.ask("GET /vod/a/index.mpd", &format!("{gzip}If-None-Match: {etag}\r\n")).status.0, 304);
    assert_eq!(origin.ask("GET /vod/a/index.mpd", &format!("If-None-Match: {etag}\r\n")).status.0, 200);
    // A range is of the plain form.
    let range = origin.ask("GET /vod/a/index.mpd", &format!("{gzip}Range: bytes=0-4\r\n"));
    assert_eq!((range.status.0, body(&range).as_str()), (206, "<?xml"));
}

#[test]
fn a_long_playlist_is_compressed_off_the_worker_once() {
    let origin = Origin::new(Fixture::film(3 * 3_600));
    let ask = format!("GET /vod/a/{V}/v1.m3u8 HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
    let manifests: Vec<Arc<Manifest>> = (0..2)
        .map(|_| match origin.outcome(&ask, true) {
            Outcome::Compress(manifest) => manifest,
            _ => panic!("too large to be compressed in place"),
        })
        .collect();
    assert!(Arc::ptr_eq(&manifests[0], &manifests[1]));
    manifests[0].compress();
    assert!(matches!(origin.outcome(&ask, true), Outcome::Ready(response) if response.status.0 == 200));
}

#[test]
fn what_the_cache_cannot_hold_is_still_answered() {
    let film = Fixture::film(3 * 3_600);
    let origin =
        Origin { playback: Playback::new(Duration::from_secs(5), 64 * 1024, derived::Options::default()), film };
    let ask = format!("GET /vod/a/{V}/v1.m3u8 HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
    for _ in 0..3 {
        match origin.outcome(&ask, true) {
            Outcome::Ready(response) => assert_eq!(field(&head(&response), "Content-Encoding"), None),
            _ => panic!("a manifest that is not kept would be compressed for ever"),
        }
    }
}

#[test]
fn a_manifest_that_the_cache_loses_again_and_again_goes_out_as_it_is() {
    let origin = Origin::new(Fixture::film(3 * 3_600));
    let head = format!("GET /vod/a/{V}/v1.m3u8 HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
    let Outcome::Compress(manifest) = origin.outcome(&head, true) else {
        panic!("too large to be compressed in place")
    };
    let (request, _) = request::parse(head.as_bytes()).unwrap().unwrap();
    let response = Load::Compress(manifest).without(&request).unwrap();
    assert_eq!((response.status.0, field(&self::head(&response), "Content-Encoding")), (200, None));
}

#[test]
fn a_rendered_manifest_needs_no_open_asset_and_nothing_else_does_without() {
    let origin = Origin::new(Fixture::film(20));
    let manifest = "GET /vod/a/index.m3u8 HTTP/1.0\r\n\r\n";
    let segment = format!("GET /vod/a/{V}/v1/0.m4s HTTP/1.0\r\n\r\n");
    assert!(matches!(origin.outcome(manifest, false), Outcome::Closed));
    assert!(matches!(origin.outcome(manifest, true), Outcome::Ready(_)));
    assert!(matches!(origin.outcome(manifest, false), Outcome::Ready(_)));
    assert!(matches!(origin.outcome(&segment, false), Outcome::Closed));
    // Another asset's manifest is another's, whatever its version.
    assert!(matches!(origin.outcome(&manifest.replace("/a/", "/b/"), false), Outcome::Closed));
}

#[test]
fn a_hit_shares_what_was_rendered() {
    let origin = Origin::new(Fixture::film(20));
    let (first, second) = (origin.ask("GET /vod/a/index.m3u8", ""), origin.ask("GET /vod/a/index.m3u8?x=y", ""));
    assert_eq!(first.fields.as_ptr(), second.fields.as_ptr());
    let inline = |response: &Response| match response.body.pieces() {
        [Piece::Inline(bytes)] => bytes.as_ptr(),
        pieces => panic!("{pieces:?}"),
    };
    assert_eq!(inline(&first), inline(&second));
}

#[test]
fn queries_select_and_links_carry_the_borders() {
    let origin = Origin::new(film_with_thumbnails());
    for (path, want) in [
        ("index.m3u8?start=5&end=9", 200),
        ("index.mpd?start=5&end=9&cdn=1", 200),
        ("single/index.mpd?aws.manifestfilter=video_height:720-720%3Baudio_language:de", 200),
        ("index.ism/Manifest?aws.manifestfilter=video_height:0-720", 200),
        ("{v}/v1.m3u8?start=4.004&end=8.008", 200),
        ("{v}/v1.iframes.m3u8?start=4.004", 200),
        ("{v}/v1.m3u8?start=30", 404),
        ("thumbnails.vtt?start=5&end=9", 200),
        ("thumbnails.vtt?start=30", 404),
        ("thumbnails.vtt?start=x", 400),
        ("thumbnails.vtt?aws.manifestfilter=video_height:1-2", 404),
        ("{v}/i1.m3u8?end=9", 200),
        ("{v}/i1.m3u8?start=5", 404), // among the tiles of a sheet
        ("index.mpd?start=30", 404),
        ("index.mpd?aws.manifestfilter=video_height:1-2;audio_language:fr", 404),
        ("index.ism/Manifest?aws.manifestfilter=video_height:1-2;audio_language:fr", 404),
        ("index.mpd?start=x", 400),
        ("index.mpd?start=9&end=5", 400),
        ("{v}/v1.m3u8?end=x", 400),
        ("index.mpd?aws.manifestfilter=nonsense", 400),
        ("index.ism/Manifest?start=1&end=9", 200),
        ("index.ism/Manifest?start=30", 404),
        ("index.ism/Manifest?start=x", 400),
        ("index.mp4?tracks=", 400),
    ] {
        let head = format!("GET /vod/a/{} HTTP/1.1\r\nHost: h\r\n\r\n", path.replace("{v}", V));
        let status = match origin.outcome(&head, true) {
            Outcome::Ready(response) => response.status.0,
            Outcome::Missing => 404,
            _ => panic!("{path}"),
        };
        assert_eq!(status, want, "{path}");
    }
    let clip = |query| origin.ask(&format!("GET /vod/a/index.m3u8?{query}"), "");
    let (one, other) = (clip("start=5&end=9"), clip("end=12.012&start=4.004"));
    assert!(body(&one).contains(&format!("\n{V}/v1.m3u8?start=4.004&end=12.012\n")), "{}", body(&one));
    assert_eq!(field(&head(&one), "ETag"), field(&head(&other), "ETag"));
}

#[test]
fn a_clip_of_smooth_streaming_names_the_fragments_of_the_whole() {
    let origin = Origin::new(Fixture::film(20));
    let manifest = |query| body(&origin.ask(&format!("GET /vod/a/index.ism/Manifest{query}"), ""));
    let (whole, clip) = (manifest(""), manifest("?start=5&end=9"));
    let links = |text: &str| -> Vec<String> {
        text.split_whitespace()
            .filter(|word| word.starts_with("Url=") || word.starts_with("Bitrate="))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(links(&whole), links(&clip));
    // Of five fragments the second and third. Sound has priming before time 0, by which all of the timeline is later.
    let value = |text: &str, name: &str| -> u64 {
        let found = text.split_once(&format!(" {name}=\"")).unwrap().1;
        found.split_once('"').unwrap().0.parse().unwrap()
    };
    assert_eq!(value(&clip, "t"), value(&whole, "t") + 40_040_000);
    assert_eq!((value(&whole, "Chunks"), value(&clip, "Chunks")), (5, 2));
    let lead_in = value(&clip, "Duration") - 80_080_000;
    assert!(lead_in < 500_000, "{lead_in}");
    let bitrate = value(&clip, "Bitrate");
    let time = value(&clip, "t");
    origin.ask(&format!("GET /vod/a/index.ism/{V}/QualityLevels({bitrate})/Fragments(video={time})"), "");
}
