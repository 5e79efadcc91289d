//! Lines of the access log.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use headwater::delivery::{Destination, Options};

use crate::origin::{Origin, SMALL, get};

#[test]
fn one_line_a_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let origin = Origin::start(Options { access_log: Some(Destination::File(path.clone())), ..Options::default() });
    let mut client = origin.connect();
    client.send("GET /small?a=1 HTTP/1.1\r\nHost: a\r\nUser-Agent: \"quoted\" \\ agent\r\nReferer: http://a/\r\n\r\n");
    assert_eq!(client.reply().status, 200);
    client.send(&[get("/text"), get("/nothing")].concat());
    assert_eq!([client.reply().status, client.reply().status], [200, 404]);
    client.send("nonsense\r\n\r\n");
    assert_eq!(client.reply().status, 400);
    drop(client);
    origin.stop();
    let log = std::fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    let shape = |line: &str| {
        let (client, rest) = line.split_once(" - - [").unwrap();
        assert_eq!(client, "127.0.0.1");
        let (time, rest) = rest.split_once("] ").unwrap();
        assert_eq!(time.len(), "06/Nov/1994:08:49:37 +0000".len(), "{time}");
        let (rest, micros) = rest.rsplit_once(' ').unwrap();
        assert!(micros.parse::<u64>().unwrap() < 60_000_000);
        rest.to_owned()
    };
    let lines: Vec<String> = lines.into_iter().map(shape).collect();
    let [small, text, nothing, nonsense] = lines.as_slice() else { panic!("{log}") };
    let (start, end) = small.split_once(" 200 ").unwrap();
    assert_eq!(start, "\"GET /small?a=1 HTTP/1.1\"");
    let (bytes, end) = end.split_once(' ').unwrap();
    assert!((SMALL..SMALL + 500).contains(&bytes.parse().unwrap()), "{bytes}");
    assert_eq!(end, r#""http://a/" "\x22quoted\x22 \x5C agent""#);
    assert!(text.starts_with("\"GET /text HTTP/1.1\" 200 ") && text.ends_with(" \"-\" \"-\""), "{text}");
    assert!(nothing.starts_with("\"GET /nothing HTTP/1.1\" 404 "), "{nothing}");
    assert!(nonsense.starts_with("\"-\" 400 "), "{nonsense}");
}

/// Whatever is still there when a stop begins, nothing of a worker is left behind that holds its end of the log.
#[test]
fn a_stop_ends_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    for is_open in [true, false] {
        let origin = Origin::start(Options { access_log: Some(Destination::File(path.clone())), ..Options::default() });
        let mut client = origin.connect();
        client.send(&get("/text"));
        assert_eq!(client.reply().status, 200);
        let client = is_open.then_some(client);
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || {
            origin.stop();
            let _ = sender.send(());
        });
        assert!(ended.recv_timeout(Duration::from_secs(20)).is_ok(), "{is_open}");
        drop(client);
    }
    assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 2);
}
