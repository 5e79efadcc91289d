//! Answers arrive whole, whatever they are made of and however they are asked for.

use std::io::Write;
use std::thread;
use std::time::Duration;

use headwater::delivery::Options;

use crate::origin::{BIG, Client, Origin, SMALL, TEXT, get, pattern};

#[test]
fn every_make_of_body_arrives_byte_exact() {
    let origin = Origin::start(Options::default());
    let big = pattern(BIG);
    let mut mixed = b"moof".to_vec();
    for (offset, len) in [(0, 100), (5_000, 1_000), (100_000, 400_000), (50, 7)] {
        mixed.extend_from_slice(&big[offset..offset + len]);
        mixed.extend_from_slice(b"mdat");
    }
    let mut client = origin.connect();
    for (path, want) in [
        ("/text", TEXT.as_bytes().to_vec()),
        ("/empty", Vec::new()),
        ("/large-text", pattern(3_000_000)),
        ("/small", pattern(SMALL)),
        ("/part", big[1_234_567..1_234_567 + 2_345_678].to_vec()),
        ("/mixed", mixed),
        ("/unmapped", big.clone()),
        ("/big", big.clone()),
    ] {
        let reply = client.get(path);
        assert_eq!(reply.status, 200, "{path}");
        assert!(reply.body == want, "{path}: other bytes");
    }
    let totals = origin.totals();
    assert_eq!((totals.requests_of_class(2), totals.open, totals.accepted), (8, 1, 1));
    assert!(totals.bytes > 2 * BIG as u64);
}

#[test]
fn cold_files_arrive_byte_exact_and_are_waited_for() {
    let origin = Origin::start(Options::default());
    for path in ["/big", "/unmapped", "/mixed"] {
        let before = origin.totals().cold_waits;
        let file = std::fs::File::open(origin.file("big")).unwrap();
        file.sync_all().unwrap();
        nix::fcntl::posix_fadvise(&file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        let reply = origin.ask(&get(path));
        if path == "/mixed" {
            assert_eq!(reply.body.len(), 4 + 401_107 + 16);
        } else {
            assert!(reply.body == pattern(BIG), "{path}");
        }
        // Mapped pages are not dropped, so only the first round is sure to find the disk.
        if path == "/big"
            && headwater::sys::residency::source(std::os::fd::AsFd::as_fd(&file))
                == headwater::sys::residency::Source::Cachestat
        {
            assert!(origin.totals().cold_waits > before, "{path}");
        }
    }
}

#[test]
fn head_has_the_length_and_no_body() {
    let origin = Origin::start(Options::default());
    let mut client = origin.connect();
    for path in ["/big", "/text"] {
        client.send(&get(path).replace("GET", "HEAD"));
        let head = client.head();
        assert_eq!(head.status, 200);
        assert_ne!(head.field("content-length"), Some("0"));
    }
    assert_eq!(client.get("/text").body, TEXT.as_bytes(), "nothing came between");
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    let origin = Origin::start(Options::default());
    let mut client = origin.connect();
    client.send(&get("/big"));
    let reply = client.head();
    assert_eq!(reply.status, 200);
    let mut body = Vec::new();
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(20));
        body.extend_from_slice(&client.body(50_000));
    }
    body.extend_from_slice(&client.body(BIG - 500_000));
    assert!(body == pattern(BIG));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(Options::default());
    let paths = ["/text", "/text", "/small", "/nothing", "/mixed", "/text", "/part", "/empty", "/text"];
    for chunk in [1, 7, 100, 10_000] {
        let mut client = origin.connect();
        let requests: String = paths.iter().map(|path| get(path)).collect();
        for part in requests.as_bytes().chunks(chunk) {
            client.stream.write_all(part).unwrap();
        }
        for path in paths {
            let reply = client.reply();
            let want = match path {
                "/text" => (200, TEXT.len()),
                "/small" => (200, SMALL),
                "/mixed" => (200, 4 + 401_107 + 16),
                "/part" => (200, 2_345_678),
                "/empty" => (200, 0),
                _ => (404, "nothing here\n".len()),
            };
            assert_eq!((reply.status, reply.body.len()), want, "{path} in chunks of {chunk}");
        }
    }
}

#[test]
fn thousands_of_pipelined_requests_are_answered() {
    let origin = Origin::start(Options::default());
    let client = origin.connect();
    let mut writer = client.stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        for _ in 0..50 {
            writer.write_all(get("/text").repeat(100).as_bytes()).unwrap();
        }
    });
    let mut client: Client = client;
    for _ in 0..5_000 {
        assert_eq!(client.reply().body, TEXT.as_bytes());
    }
    sender.join().unwrap();
    assert_eq!(origin.totals().requests_of_class(2), 5_000);
}

#[test]
fn many_connections_at_once() {
    let origin = Origin::start(Options { workers: vec![None, None], ..Options::default() });
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = origin.connect();
                for _ in 0..5 {
                    assert_eq!(client.get("/text").body, TEXT.as_bytes());
                    assert_eq!(client.get("/part").body.len(), 2_345_678);
                }
            });
        }
    });
    assert_eq!(origin.totals().requests_of_class(2), 160);
}
