//! What a client sends and what it gets, over a library on disk: the way from `answer` to `load` and back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use crate::base::Piece;
use crate::http::{Framing, Response, request};
use crate::library::{Library, catalog, import};

use super::{Answer, Load, Now, Options, Pages, Service};

pub(super) const NOW: Now = Now { unix: 1_800_000_000, millis: 0 };

pub(super) struct Origin {
    pub directory: TempDir,
    pub service: Service,
}

impl Origin {
    pub fn new() -> Origin {
        Origin::with(Options::default())
    }

    pub fn with(options: Options) -> Origin {
        let directory = tempfile::tempdir().unwrap();
        let library = Library::open(directory.path(), catalog::Options::default()).unwrap();
        let mut pages = Pages::default();
        pages.add("/", "text/html; charset=utf-8", "<!doctype html>");
        let options = Options { pages, asset_list: true, ..options };
        Origin { service: Service::new(Arc::new(library), options), directory }
    }

    pub fn import(&self, asset: &str, files: &[&str]) {
        let media = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media");
        let options = import::Options {
            library: self.directory.path().to_owned(),
            asset: asset.to_owned(),
            inputs: files.iter().map(|file| media.join(file).to_str().unwrap().parse().unwrap()).collect(),
            segment: Duration::from_secs(4),
            now: NOW.unix,
            thumbnails: None,
            stop: Default::default(),
        };
        import::import(&options, &mut |_| {}).unwrap();
        self.service.library.update([asset]).unwrap();
    }

    pub fn answer(&self, head: &str, now: Now) -> Answer {
        let (request, _) = request::parse(head.as_bytes()).unwrap().unwrap();
        self.service.answer(&request, now)
    }

    /// As a connection does: loads what has to be loaded, and asks again.
    pub fn ask(&self, line: &str, fields: &str) -> Response {
        self.ask_at(NOW, &format!("{line} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
    }

    fn ask_at(&self, now: Now, head: &str) -> Response {
        for _ in 0..3 {
            match self.answer(head, now) {
                Answer::Ready(response) => return response,
                Answer::Load(load) => self.service.load(load),
                Answer::Wait(_) => panic!("nothing of an asset grows"),
            }
        }
        panic!("{head}: still not loaded");
    }

    pub fn text(&self, path: &str) -> String {
        let response = self.ask(&format!("GET {path}"), "");
        assert_eq!(response.status.0, 200, "{path}");
        body(&response)
    }

    /// The files of the current version of an asset.
    pub fn files(&self, asset: &str) -> PathBuf {
        self.directory.path().join(asset).join("current")
    }
}

fn body(response: &Response) -> String {
    match response.body.pieces() {
        [] => String::new(),
        [Piece::Inline(bytes)] => String::from_utf8(bytes.to_vec()).unwrap(),
        pieces => panic!("{pieces:?}"),
    }
}

pub(super) fn head(response: &Response) -> String {
    let mut out = Vec::new();
    response.write_head(&mut out, b"Mon, 07 Nov 1994 00:00:00 GMT", Framing::Length, true);
    String::from_utf8(out).unwrap()
}

pub(super) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The first line that is no tag.
pub(super) fn first_link(playlist: &str) -> &str {
    playlist.lines().find(|line| !line.starts_with('#')).expect("a link")
}

#[test]
fn an_asset_is_opened_when_it_is_first_asked_for() {
    let origin = Origin::new();
    origin.import("film", &["video-180p.mp4", "audio-en.mp4", "subtitles.en.vtt"]);
    let manifest = "GET /vod/f%69lm/index.m3u8 HTTP/1.0\r\n\r\n";
    assert!(matches!(origin.answer(manifest, NOW), Answer::Load(Load::Open(entry)) if entry.name() == "film"));
    let multivariant = origin.text("/vod/f%69lm/index.m3u8");
    assert!(matches!(origin.answer(manifest, NOW), Answer::Ready(_)));
    let playlist = format!("/vod/f%69lm/{}", first_link(&multivariant));
    let media = origin.text(&playlist);
    let segment = format!("{}/{}", playlist.rsplit_once('/').unwrap().0, first_link(&media));
    let response = origin.ask(&format!("GET {segment}"), "Range: bytes=0-7\r\n");
    assert_eq!(response.status.0, 206);
    let [Piece::Extent(extent)] = response.body.pieces() else { panic!("{:?}", response.body) };
    let stored = &extent.file.mapped().unwrap()[extent.offset as usize..extent.end() as usize];
    assert_eq!(&stored[4..], b"moof");
    assert!(origin.text("/vod/f%69lm/index.mpd").starts_with("<?xml"));
}

/// However it is asked for: in another order, twice, with what is usual anyhow, escaped.
#[test]
fn what_is_the_same_has_one_etag() {
    let origin = Origin::new();
    origin.import("film", &["video-180p.mp4", "video-270p.mp4", "audio-en.mp4", "audio-de.mp4"]);
    let manifests =
        ["index.m3u8", "single/index.m3u8", "ts/index.m3u8", "index.mpd", "single/index.mpd", "index.ism/Manifest"];
    let movies: &[&[&str]] = &[
        &[
            "",
            "?",
            "?x=1&_=2",
            "?tracks=a1,v1",
            "?tracks=v1,a1,v1",
            "?tracks=v1%2Ca1",
            "?%74racks=%611,v1",
            "?start=0",
            "?end=99999.0&start=0.000",
            "?aws.manifestfilter=video_height:1-4000",
            "?aws.manifestfilter=audio_language:en,de&tracks=v1,a1",
        ],
        &[
            "?tracks=v1,v2,a1,a2",
            "?tracks=a2,a1,v2,v1&start=0",
            "?aws.manifestfilter=video_height:1-9000&tracks=v2,v1,a2,a1",
        ],
        &["?tracks=a1", "?tracks=a1&aws.manifestfilter=video_height:1-2"],
        &["?tracks=v1&start=4.1&end=7", "?end=7.0&start=04.10&tracks=v1", "?start=%34.2&tracks=v1&end=6.9"],
    ];
    let texts: &[&[&str]] = &[
        &["", "?", "?x=1", "?tracks=v1", "?start=0", "?start=0.0&end=99999", "?aws.manifestfilter=video_height:1-4000"],
        &[
            "?aws.manifestfilter=video_height:1-200",
            "?aws.manifestfilter=VIDEO_HEIGHT:%20180",
            "?aws%2Emanifestfilter=video_height:100-150,120-200",
            "?aws.manifestfilter=audio_language:de,en,de;video_height:180",
            "?aws.manifestfilter=video_height%3a180%3Baudio_language:EN,de&start=0",
        ],
        &["?start=4.1&end=7", "?end=7.0&start=4.10", "?s%74art=4%2e2&end=6.9"],
    ];
    let mut seen = Vec::new();
    for (file, groups) in manifests.map(|file| (file, texts)).into_iter().chain([("index.mp4", movies)]) {
        for group in groups {
            let answers = group.iter().map(|query| {
                let response = origin.ask(&format!("GET /vod/film/{file}{query}"), "");
                assert_eq!(response.status.0, 200, "{file}{query}");
                (field(&head(&response), "ETag").unwrap().to_owned(), response.body.len())
            });
            let answers: Vec<_> = answers.collect();
            for (query, answer) in group.iter().zip(&answers) {
                assert_eq!(*answer, answers[0], "{file}{query}");
            }
            assert!(!seen.contains(&answers[0].0), "{file}{}", group[0]);
            seen.push(answers[0].0.clone());
        }
    }
}

#[test]
fn a_replaced_version_stays_readable_and_the_manifest_changes() {
    let origin = Origin::new();
    origin.import("film", &["video-180p.mp4"]);
    let before = origin.text("/vod/film/index.m3u8");
    let etag = field(&head(&origin.ask("GET /vod/film/index.m3u8", "")), "ETag").unwrap().to_owned();
    origin.import("film", &["video-180p.mp4", "audio-en.mp4"]);
    let after = origin.text("/vod/film/index.m3u8");
    assert_ne!(first_link(&before), first_link(&after));
    for multivariant in [&before, &after] {
        let media = origin.text(&format!("/vod/film/{}", first_link(multivariant)));
        assert!(media.contains("#EXT-X-ENDLIST"), "{media}");
    }
    let changed = origin.ask("GET /vod/film/index.m3u8", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!(changed.status.0, 200);
}

#[test]
fn a_damaged_asset_is_its_own_problem() {
    let origin = Origin::new();
    origin.import("good", &["video-180p.mp4"]);
    origin.import("bad", &["video-180p.mp4"]);
    let path = origin.files("bad").join("v1.cmfv");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let response = origin.ask("GET /vod/bad/index.m3u8", "");
    assert_eq!((response.status.0, body(&response).as_str()), (500, "the files of this asset are damaged\n"));
    assert_eq!(field(&head(&response), "Cache-Control"), Some("no-store"));
    assert_eq!(origin.ask("GET /vod/good/index.m3u8", "").status.0, 200);
}

#[test]
fn an_index_that_is_truncated_while_open_makes_no_wrong_manifest() {
    let origin = Origin::new();
    origin.import("good", &["video-180p.mp4"]);
    origin.import("bad", &["video-180p.mp4"]);
    let multivariant = origin.text("/vod/bad/index.m3u8");
    let playlist = format!("/vod/bad/{}", first_link(&multivariant));
    let segments = playlist.strip_suffix(".m3u8").unwrap();
    let path = origin.files("bad").join("index");
    let whole = fs::read(&path).unwrap();
    // Within a page, so that no fault tells of it.
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(300).unwrap();
    for path in [playlist.as_str(), "/vod/bad/index.mpd", &format!("{segments}/0.m4s")] {
        let response = origin.ask(&format!("GET {path}"), "");
        assert_eq!(
            (response.status.0, body(&response).as_str()),
            (500, "the files of this asset are damaged\n"),
            "{path}"
        );
    }
    assert_eq!(origin.ask("GET /vod/good/index.m3u8", "").status.0, 200);
    // Somebody puts it back: it is tried again after a while.
    fs::write(&path, whole).unwrap();
    let later = Now { unix: NOW.unix + 60, ..NOW };
    assert_eq!(origin.ask_at(later, &format!("GET {playlist} HTTP/1.0\r\n\r\n")).status.0, 200);
}

#[test]
fn an_open_asset_is_looked_at_once_a_second() {
    let origin = Origin::new();
    origin.import("film", &["video-180p.mp4"]);
    let media = format!("/vod/film/{}", first_link(&origin.text("/vod/film/index.m3u8")));
    let segment = format!("GET {}/0.m4s HTTP/1.0\r\n\r\n", media.strip_suffix(".m3u8").unwrap());
    assert_eq!(origin.ask_at(NOW, &segment).status.0, 200);
    let index = fs::OpenOptions::new().write(true).open(origin.files("film").join("index")).unwrap();
    index.set_len(index.metadata().unwrap().len() - 1).unwrap();
    let later = Now { unix: NOW.unix + 1, ..NOW };
    assert!(matches!(origin.answer(&segment, later), Answer::Load(_)), "a helper sees to it");
    for now in [later, later, NOW] {
        assert_eq!(origin.ask_at(now, &segment).status.0, 500);
    }
}

#[test]
fn refusals() {
    let origin = Origin::new();
    origin.import("film", &["video-180p.mp4"]);
    for (line, status, cache_control) in [
        ("GET /vod/none/index.m3u8", 404, "max-age=1"),
        ("HEAD /vod/none/index.m3u8", 404, "max-age=1"),
        ("GET /vod/film/0000000000000000/v1.m3u8", 404, "max-age=1"),
        ("GET /vod/film", 404, "max-age=1"),
        ("GET /vod/film/../film/index.m3u8", 404, "max-age=1"),
        ("GET /vod/film%2Findex.m3u8", 404, "max-age=1"),
        ("GET /favicon.ico", 404, "max-age=1"),
        ("GET /vod/%/index.m3u8", 400, "no-store"),
        ("GET /vod/%00/index.m3u8", 400, "no-store"),
        ("GET /vod/%ff/index.m3u8", 400, "no-store"),
        ("POST /vod/film/index.m3u8", 405, "no-store"),
        ("get /vod/film/index.m3u8", 405, "no-store"),
        ("DELETE /", 405, "no-store"),
    ] {
        let response = origin.ask(line, "");
        let text = head(&response);
        assert_eq!(response.status.0, status, "{line}");
        assert_eq!(field(&text, "Cache-Control"), Some(cache_control), "{line}");
        assert_eq!(field(&text, "Content-Type"), Some("text/plain; charset=utf-8"), "{line}");
        assert_eq!(field(&text, "Access-Control-Allow-Origin"), Some("*"), "{line}");
        assert_eq!(field(&text, "Allow"), (status == 405).then_some("GET, HEAD, OPTIONS"), "{line}");
        let body = body(&response);
        assert!(body.len() > 1 && body.find('\n') == Some(body.len() - 1), "{line}: {body:?}");
    }
}

#[test]
fn preflights_are_allowed_what_players_send() {
    let origin = Origin::new();
    for line in ["OPTIONS *", "OPTIONS /vod/film/index.m3u8", "OPTIONS /none"] {
        let response =
            origin.ask(line, "Origin: http://player\r\nAccess-Control-Request-Headers: range,cmcd-session\r\n");
        let text = head(&response);
        assert_eq!(response.status.0, 204, "{line}");
        assert_eq!(field(&text, "Access-Control-Allow-Origin"), Some("*"), "{line}");
        assert_eq!(field(&text, "Access-Control-Allow-Methods"), Some("GET, HEAD, OPTIONS"), "{line}");
        assert_eq!(field(&text, "Access-Control-Max-Age"), Some("86400"), "{line}");
        assert_eq!(field(&text, "Content-Length"), None, "{line}");
        let allowed = field(&text, "Access-Control-Allow-Headers").unwrap();
        for name in ["Range", "If-None-Match", "CMCD-Session"] {
            assert!(allowed.split(", ").any(|allowed| allowed == name), "{allowed}");
        }
    }
}

#[test]
fn the_page_and_its_list() {
    let origin = Origin::new();
    origin.import("film", &["video-180p.mp4"]);
    assert_eq!(origin.text("/"), "<!doctype html>");
    assert_eq!(origin.text("/?film"), "<!doctype html>");
    let list = "GET /assets.json HTTP/1.0\r\n\r\n";
    assert!(matches!(origin.answer(list, NOW), Answer::Load(Load::List)), "there may be many");
    assert!(origin.text("/assets.json").contains("\"name\":\"film\""));
    assert!(matches!(origin.answer(list, NOW), Answer::Ready(_)), "written once");
    origin.import("other", &["video-180p.mp4"]);
    assert!(origin.text("/assets.json").contains("\"name\":\"other\""));
    assert_eq!(origin.text("/channels.json"), r#"{"channels":[]}"#);
    let plain = Service::new(origin.service.library.clone(), Options::default());
    for path in ["/", "/assets.json", "/channels.json"] {
        let head = format!("GET {path} HTTP/1.0\r\n\r\n");
        let (request, _) = request::parse(head.as_bytes()).unwrap().unwrap();
        assert!(matches!(plain.answer(&request, NOW), Answer::Ready(response) if response.status.0 == 404), "{path}");
    }
}

#[test]
fn any_path_is_answered() {
    let origin = Origin::new();
    origin.import("film", &["video-180p.mp4", "subtitles.en.vtt"]);
    let multivariant = origin.text("/vod/film/index.m3u8");
    let version = first_link(&multivariant).split_once('/').unwrap().0.to_owned();
    const PIECES: &str = "/ /vod /film /index /{v} /v1 /t1 /init /0 .m3u8 .mpd .mp4 .m4s .vtt % %2f %66 %00 .. . -1 ? // \
        9223372036854775807 9223372036854775808 assets.json";
    let piece = prop::sample::select(PIECES.split(' ').collect::<Vec<_>>());
    let path = prop::collection::vec(piece, 0..8).prop_map(|pieces| format!("/{}", pieces.concat()));
    let fields =
        prop::sample::select(vec!["", "Range: bytes=1-\r\n", "Accept-Encoding: gzip\r\n", "If-None-Match: *\r\n"]);
    proptest!(|(path in path, below in any::<bool>(), fields in fields)| {
        let path = path.replace("{v}", &version);
        let path = if below { format!("/vod/film/{version}{path}") } else { path };
        let response = origin.ask(&format!("GET {path}"), fields);
        prop_assert!(matches!(response.status.0, 200 | 206 | 304 | 400 | 404 | 416), "{path}: {}", response.status.0);
    });
}
