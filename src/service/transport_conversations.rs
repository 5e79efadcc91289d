//! What a client sends and what it gets of MPEG-TS segments, over a library on disk.

use std::fs::{self, File};
use std::sync::Arc;

use super::library_conversations::{NOW, Origin, field, first_link, head};
use super::{Answer, Load, Options};
use crate::base::Piece;
use crate::http::Response;
use crate::media::feed::Event;
use crate::media::mpegts::Demuxer;
use crate::store::derived;

const FILM: [&str; 3] = ["video-180p.mp4", "audio-en.mp4", "subtitles.en.vtt"];

/// The library on disk, and a cache beside it.
fn origin() -> (tempfile::TempDir, Origin) {
    let place = tempfile::tempdir().unwrap();
    let derived = derived::Options { path: Some(place.path().join("derived")), ..derived::Options::default() };
    let origin = Origin::with(Options { derived, ..Options::default() });
    origin.import("film", &FILM);
    (place, origin)
}

/// The first media playlist's path and text.
fn playlist(origin: &Origin) -> (String, String) {
    let multivariant = origin.text("/vod/film/ts/index.m3u8");
    let path = format!("/vod/film/ts/{}", first_link(&multivariant));
    let text = origin.text(&path);
    (path, text)
}

fn beside(path: &str, link: &str) -> String {
    format!("{}/{link}", path.rsplit_once('/').unwrap().0)
}

fn bytes(response: &Response) -> Vec<u8> {
    let mut all = Vec::new();
    for piece in response.body.pieces() {
        match piece {
            Piece::Inline(bytes) => all.extend_from_slice(bytes),
            Piece::Extent(extent) => {
                let file = fs::read(extent.file.name()).unwrap();
                all.extend_from_slice(&file[extent.offset as usize..extent.end() as usize]);
            }
        }
    }
    all
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

#[test]
fn a_segment_is_made_once_and_sent_from_its_file() {
    let (place, origin) = origin();
    let (path, text) = playlist(&origin);
    let segment = beside(&path, first_link(&text));
    // Whoever asks while it is being made waits for the same.
    let jobs: Vec<Arc<super::Job>> = (0..3)
        .map(|_| match origin.answer(&request(&segment), NOW) {
            Answer::Load(Load::Make(job)) => job,
            _ => panic!("not to be made"),
        })
        .collect();
    assert!(jobs.iter().all(|job| Arc::ptr_eq(job, &jobs[0])));
    jobs.into_iter().for_each(|job| origin.service.load(Load::Make(job)));
    let files = || fs::read_dir(place.path().join("derived")).unwrap().count();
    assert_eq!(files(), 1);

    let Answer::Ready(whole) = origin.answer(&request(&segment), NOW) else { panic!("not made") };
    let fields = head(&whole);
    assert!(matches!(whole.body.pieces(), [Piece::Extent(_)]));
    assert_eq!(field(&fields, "Content-Type"), Some("video/mp2t"));
    assert_eq!(field(&fields, "Cache-Control"), Some("public, max-age=31536000, immutable"));
    let etag = field(&fields, "ETag").unwrap().to_owned();
    let content = bytes(&whole);
    assert_eq!(origin.ask(&format!("HEAD {segment}"), "").body.len(), content.len() as u64);
    assert_eq!(origin.ask(&format!("GET {segment}"), &format!("If-None-Match: {etag}\r\n")).status.0, 304);
    let part = origin.ask(&format!("GET {segment}"), "Range: bytes=188-375\r\n");
    assert_eq!((part.status.0, bytes(&part)), (206, content[188..376].to_vec()));
    assert_eq!(files(), 1);
}

#[test]
fn every_link_of_every_playlist_is_answered() {
    let (_place, origin) = origin();
    for asset in ["film", "choice"] {
        if asset == "choice" {
            origin.import("choice", &["video-180p.mp4", "audio-en.mp4", "audio-de.mp4", "subtitles.en.vtt"]);
        }
        let multivariant = origin.text(&format!("/vod/{asset}/ts/index.m3u8"));
        let quoted = |line: &str| Some(line.split_once("URI=\"")?.1.split_once('"')?.0.to_owned());
        let links = multivariant
            .lines()
            .filter_map(|line| if line.starts_with('#') { quoted(line) } else { Some(line.to_owned()) });
        let links: Vec<String> = links.collect();
        assert_eq!(links.len(), if asset == "film" { 3 } else { 5 }, "{multivariant}");
        for link in links {
            let path = format!("/vod/{asset}/ts/{link}");
            let media = origin.text(&path);
            let is_key_frames = media.contains("#EXT-X-I-FRAMES-ONLY");
            let (mut demuxer, mut events) = (Demuxer::default(), Vec::new());
            let mut segments = 0;
            for link in media.lines().filter(|line| !line.starts_with('#')) {
                let response = origin.ask(&format!("GET {}", beside(&path, link)), "");
                let fields = head(&response);
                let content = bytes(&response);
                assert_eq!((response.status.0, content.len() as u64), (200, response.body.len()), "{link}");
                match link.rsplit_once('.').unwrap().1 {
                    "ts" => demuxer.push(&content, &mut events).unwrap(),
                    "aac" => {
                        assert_eq!(field(&fields, "Content-Type"), Some("audio/aac"));
                        assert!(content.starts_with(b"ID3"));
                    }
                    _ => assert!(content.starts_with(b"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,"), "{link}"),
                }
                segments += 1;
            }
            let key_frames = 12;
            assert_eq!(segments, if is_key_frames { key_frames } else { 6 }, "{media}");
            demuxer.flush(&mut events).unwrap();
            let pictures = events.iter().filter(|event| matches!(event, Event::Sample { track: 0, .. })).count();
            let want = if is_key_frames {
                key_frames
            } else if link.contains("/v") {
                600
            } else {
                0
            };
            assert_eq!((pictures, demuxer.losses()), (want, 0), "{link}");
        }
    }
}

#[test]
fn names_that_nothing_has() {
    let (_place, origin) = origin();
    let (path, _) = playlist(&origin);
    let version = path.split('/').nth(4).unwrap();
    for rest in [
        "ts/V/v1/1.ts",
        "ts/V/v9/0.ts",
        "ts/V/a1/0.ts",
        "ts/V/v1-v1/0.ts",
        "ts/V/v1-t1/0.ts",
        "ts/V/v1-a9/0.ts",
        "ts/V/v1-a1/9223372036854775807.ts",
        "ts/V/a1/0.ac3",
        "ts/V/a1/1.aac",
        "ts/V/v1/0.aac",
        "ts/V/v1/0.vtt",
        "ts/V/t1/1.vtt",
        "ts/V/t1/0.ts",
        "ts/V/v1/1.iframe.ts",
        "ts/V/v9/0.iframe.ts",
        "ts/V/a1/0.iframe.ts",
        "ts/V/v1-a1/0.iframe.ts",
        "ts/V/a1.iframes.m3u8",
        "ts/V/t1.iframes.m3u8",
        "ts/V/v9.iframes.m3u8",
        "ts/V/v9.m3u8",
        "ts/V/v1-v1.m3u8",
        "ts/0123456789abcdef/v1/0.ts",
        "ts/index.mpd",
    ] {
        let path = format!("/vod/film/{}", rest.replace('V', version));
        assert_eq!(origin.ask(&format!("GET {path}"), "").status.0, 404, "{path}");
    }
}

#[test]
fn a_source_that_is_damaged_is_500_and_leaves_nothing() {
    let (place, origin) = origin();
    let (path, text) = playlist(&origin);
    let links: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(origin.ask(&format!("GET {}", beside(&path, links[0])), "").status.0, 200);
    let track = fs::read_dir(origin.files("film")).unwrap().map(|entry| entry.unwrap().path());
    let track = track.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "cmfv")).unwrap();
    let len = track.metadata().unwrap().len();
    File::options().write(true).open(track).unwrap().set_len(len - 100).unwrap();
    let last = beside(&path, links[links.len() - 1]);
    assert_eq!(origin.ask(&format!("GET {last}"), "").status.0, 500);
    assert_eq!(fs::read_dir(place.path().join("derived")).unwrap().count(), 1);
}

#[test]
fn answers_work_where_nothing_can_be_kept() {
    let place = tempfile::tempdir().unwrap();
    for path in [None, Some(place.path().join("not/there")), Some("/proc/derived".into())] {
        let derived = derived::Options { path, ..derived::Options::default() };
        let origin = Origin::with(Options { derived, ..Options::default() });
        origin.import("film", &FILM);
        let (path, text) = playlist(&origin);
        for link in text.lines().filter(|line| !line.starts_with('#')) {
            let response = origin.ask(&format!("GET {}", beside(&path, link)), "");
            assert_eq!((response.status.0, bytes(&response).len() % 188), (200, 0), "{link}");
        }
    }
}
