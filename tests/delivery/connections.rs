//! Keeping connections, ending them, and what must not end them.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use headwater::delivery::Options;

use crate::origin::{Origin, TEXT, get};

#[test]
fn a_connection_is_kept_as_long_as_both_want_it() {
    let origin = Origin::start(Options::default());
    for (head, kept) in [
        ("GET /text HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("GET /text HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false),
        ("GET /text HTTP/1.0\r\n\r\n", false),
        ("GET /text HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        ("GET /text HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", true),
        ("GET /text HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\nhello", false),
        ("GET /text HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true),
        ("GET /text HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", false),
    ] {
        let mut client = origin.connect();
        client.send(head);
        let reply = client.reply();
        assert_eq!((reply.status, reply.body.as_slice()), (200, TEXT.as_bytes()), "{head}");
        assert_eq!(reply.keeps_alive(), kept, "{head}");
        if kept {
            assert_eq!(client.get("/text").status, 200, "{head}");
        } else {
            assert_eq!(client.rest(), (Vec::new(), true), "{head}: closed, and not reset");
        }
    }
}

#[test]
fn a_body_is_thrown_away_however_it_arrives() {
    let origin = Origin::start(Options::default());
    let mut client = origin.connect();
    client.send("GET /text HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n");
    assert_eq!(client.reply().status, 200);
    for _ in 0..60 {
        client.stream.write_all(&[b'G'; 1_000]).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.get("/text").body, TEXT.as_bytes());
}

#[test]
fn a_refused_request_ends_the_connection() {
    let origin = Origin::start(Options::default());
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9_000));
    let long_head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(20_000));
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(200_000));
    for (head, status) in [
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\x7f\x03\x03\r\n\r\n", 400),
        (&long_target, 414),
        (&long_head, 431),
        (&endless, 431),
    ] {
        let name = &head[..head.len().min(70)];
        let mut client = origin.connect();
        client.send(head);
        let reply = client.reply();
        assert_eq!((reply.status, reply.keeps_alive()), (status, false), "{name:?}");
        assert_eq!(client.rest(), (Vec::new(), true), "{name:?}: the answer arrives, and no reset");
    }
    assert_eq!(origin.asked.load(Ordering::Relaxed), 0, "none was given to the service");
    assert_eq!(origin.totals().requests_of_class(4), 9);
}

#[test]
fn what_was_asked_before_a_bad_request_is_answered() {
    let origin = Origin::start(Options::default());
    let mut client = origin.connect();
    client.send(&[get("/text"), get("/small"), "nonsense\r\n\r\n".to_owned(), get("/text")].concat());
    assert_eq!([client.reply().status, client.reply().status, client.reply().status], [200, 200, 400]);
    assert_eq!(client.rest(), (Vec::new(), true));
}

#[test]
fn a_head_may_come_one_byte_at_a_time() {
    let origin = Origin::start(Options::default());
    let mut client = origin.connect();
    for _ in 0..2 {
        for byte in get("/text").bytes() {
            client.stream.write_all(&[byte]).unwrap();
            thread::sleep(Duration::from_micros(300));
        }
        assert_eq!(client.reply().body, TEXT.as_bytes());
    }
}

#[test]
fn a_client_may_close_its_half() {
    let origin = Origin::start(Options::default());
    let mut client = origin.connect();
    client.send(&get("/part"));
    client.finish_sending();
    assert_eq!(client.reply().body.len(), 2_345_678);
    assert_eq!(client.rest(), (Vec::new(), true));
    origin.until("closed", |totals| totals.open == 0);
}

#[test]
fn a_client_that_leaves_is_forgotten() {
    let origin = Origin::start(Options::default());
    // In the middle of an answer, of a head, and without a word.
    for head in [get("/big"), "GET /te".to_owned(), String::new()] {
        let mut client = origin.connect();
        client.send(&head);
        if !head.is_empty() {
            thread::sleep(Duration::from_millis(30));
        }
        drop(client);
    }
    origin.until("closed", |totals| totals.open == 0 && totals.aborted == 1);
    assert_eq!(origin.ask(&get("/text")).status, 200);
}

#[test]
fn a_panic_ends_one_connection() {
    let origin = Origin::start(Options::default());
    let mut bystander = origin.connect();
    assert_eq!(bystander.get("/text").status, 200);
    let mut client = origin.connect();
    client.send(&get("/panic"));
    assert_eq!(client.rest().0, Vec::<u8>::new());
    assert_eq!(bystander.get("/text").status, 200);
    origin.until("counted", |totals| totals.panics == 1 && totals.open == 1);
    assert!(origin.plane().is_alive());
}

#[test]
fn a_worker_with_far_more_connections_hands_them_over() {
    let origin = Origin::start(Options { workers: vec![None, None], ..Options::default() });
    let open = || -> Vec<u64> { origin.plane().workers().map(|worker| worker.open()).collect() };
    // The kernel chooses the worker: only those on the first are kept.
    let mut kept = Vec::new();
    while origin.totals().handed_over == 0 {
        assert!(kept.len() < 100, "{:?}", open());
        let mut client = origin.connect();
        let before = open();
        assert_eq!(client.get("/text").body, TEXT.as_bytes());
        if open()[0] > before[0] || open()[0] > kept.len() as u64 {
            kept.push(client);
        } else {
            drop(client);
            origin.until("closed", |_| open()[1] == 0 || origin.totals().handed_over > 0);
        }
    }
    assert!(kept.len() >= 64, "{}", kept.len());
    for client in &mut kept {
        assert_eq!(client.get("/text").body, TEXT.as_bytes());
    }
}
