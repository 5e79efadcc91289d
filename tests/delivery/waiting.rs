//! Requests for what is not there yet, and answers that follow what is being written.

use std::thread;
use std::time::{Duration, Instant};

use headwater::base::growing::End;
use headwater::delivery::Options;

use crate::origin::{BIG, Client, Origin, PATIENCE, RUN_START, TEXT, WAIT, get, pattern};

#[test]
fn requests_wait_until_what_they_ask_for_has_come() {
    // Two workers share one watch.
    let origin = Origin::start(Options { workers: vec![None, None], ..Options::default() });
    let mut clients: Vec<Client> = (0..100).map(|_| origin.connect()).collect();
    for client in &mut clients {
        client.send(&get("/wait"));
    }
    origin.until("everybody waits", |totals| totals.waits >= 100);
    origin.live.watch.advance(4);
    thread::sleep(Duration::from_millis(30));
    assert_eq!(origin.totals().requests(), 0, "4 is not 5");
    let asked = origin.asked.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(asked, 100, "nobody was asked again for nothing");
    origin.live.watch.advance(5);
    for client in &mut clients {
        let reply = client.reply();
        assert_eq!((reply.status, reply.body.as_slice(), reply.keeps_alive()), (200, &b"there"[..], true));
        assert_eq!(client.get("/text").body, TEXT.as_bytes(), "the connection goes on");
    }
}

#[test]
fn who_waits_in_vain_is_told_so() {
    let origin = Origin::start(Options { idle_timeout: Duration::from_millis(200), ..Options::default() });
    let started = Instant::now();
    let mut client = origin.connect();
    // What was asked before is answered before the wait.
    client.send(&[get("/text"), get("/wait"), get("/text")].concat());
    assert_eq!(client.reply().body, TEXT.as_bytes());
    assert!(started.elapsed() < WAIT);
    let reply = client.reply();
    assert_eq!((reply.status, reply.body.as_slice()), (503, &b"not in time\n"[..]));
    assert!((WAIT..PATIENCE).contains(&started.elapsed()), "{:?}", started.elapsed());
    assert_eq!(client.reply().body, TEXT.as_bytes());
}

#[test]
fn a_stop_does_not_wait_for_the_future() {
    let origin = Origin::start(Options::default());
    let mut client = origin.connect();
    client.send(&get("/wait"));
    origin.until("it waits", |totals| totals.waits == 1);
    origin.plane().stop();
    let reply = client.reply();
    assert_eq!((reply.status, reply.keeps_alive()), (503, false));
    assert_eq!(client.rest(), (Vec::new(), true));
}

#[test]
fn a_growing_run_is_followed_to_its_end() {
    let origin = Origin::start(Options::default());
    let bytes = pattern(BIG);
    let run = |from: u64, to: u64| bytes[from as usize..to as usize].to_vec();
    let mut client = origin.connect();
    let mut old = origin.connect();
    client.send(&get("/growing"));
    old.send("GET /growing HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let (head, old_head) = (client.head(), old.head());
    assert_eq!((head.field("transfer-encoding"), head.field("content-length")), (Some("chunked"), None));
    assert_eq!((old_head.field("transfer-encoding"), old_head.keeps_alive()), (None, false));
    let mut at = RUN_START;
    for reached in [RUN_START + 1, 5_000, 50_000, 4_000_000] {
        origin.live.run.advance(reached);
        assert!(chunk(&mut client) == run(at, reached), "up to {reached}");
        assert!(old.body((reached - at) as usize) == run(at, reached));
        at = reached;
    }
    origin.live.run.finish(End::Complete(at + 7));
    assert!(chunk(&mut client) == run(at, at + 7));
    assert_eq!(chunk(&mut client), b"");
    assert_eq!(client.get("/text").body, TEXT.as_bytes(), "the connection goes on");
    assert_eq!(old.rest(), (run(at, at + 7), true));

    // From now on it is complete, and sent at once.
    let mut late = origin.connect();
    late.send("HEAD /growing HTTP/1.1\r\nHost: origin\r\n\r\n");
    assert_eq!(late.head().field("transfer-encoding"), Some("chunked"));
    late.send(&get("/growing"));
    late.head();
    assert!(chunk(&mut late) == run(RUN_START, at + 7));
    assert_eq!(chunk(&mut late), b"");
}

#[test]
fn what_breaks_off_is_reset() {
    let origin = Origin::start(Options::default());
    let mut client = origin.connect();
    client.send(&get("/growing"));
    client.head();
    origin.live.run.advance(RUN_START + 10);
    assert_eq!(chunk(&mut client).len(), 10);
    origin.live.run.finish(End::Broken);
    assert_eq!(client.rest(), (Vec::new(), false));
    origin.until("it is counted", |totals| totals.aborted == 1);
}

/// The next chunk of a body in chunked coding.
fn chunk(client: &mut Client) -> Vec<u8> {
    let mut size = Vec::new();
    while !size.ends_with(b"\r\n") {
        size.extend(client.body(1));
    }
    let size = std::str::from_utf8(&size).unwrap().trim_end().to_owned();
    let bytes = client.body(usize::from_str_radix(&size, 16).unwrap());
    assert_eq!(client.body(2), b"\r\n");
    bytes
}
