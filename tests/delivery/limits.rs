//! Timeouts and limits, each short enough to watch.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use headwater::base::limits;
use headwater::delivery::Options;

use crate::origin::{Origin, get};

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_head_that_does_not_arrive_is_408() {
    let origin = Origin::start(Options { head_timeout: SHORT, ..Options::default() });
    let mut client = origin.connect();
    client.send("GET /text HTTP/1.1\r\nHost:");
    let start = Instant::now();
    let reply = client.reply();
    assert_eq!((reply.status, reply.keeps_alive()), (408, false));
    assert!(start.elapsed() >= SHORT);
    assert_eq!(client.rest().0, Vec::<u8>::new());
    origin.until("counted", |totals| totals.head_timeouts == 1 && totals.open == 0);
}

#[test]
fn bytes_one_by_one_do_not_extend_the_time_for_a_head() {
    let origin = Origin::start(Options { head_timeout: SHORT, ..Options::default() });
    let mut client = origin.connect();
    let mut stream = client.stream.try_clone().unwrap();
    let drip = thread::spawn(move || {
        for byte in get("/text").bytes() {
            thread::sleep(Duration::from_millis(40));
            if stream.write_all(&[byte]).is_err() {
                return;
            }
        }
    });
    assert_eq!(client.reply().status, 408);
    drip.join().unwrap();
}

#[test]
fn an_idle_connection_is_closed() {
    let origin = Origin::start(Options { idle_timeout: SHORT, ..Options::default() });
    let silent = origin.connect();
    let mut client = origin.connect();
    assert_eq!(client.get("/text").status, 200);
    let start = Instant::now();
    assert_eq!(client.rest(), (Vec::new(), true));
    assert!(start.elapsed() >= SHORT);
    assert_eq!(silent.rest(), (Vec::new(), true));
    origin.until("counted", |totals| totals.idle_timeouts == 2 && totals.open == 0);
}

#[test]
fn a_connection_that_is_used_is_not_idle() {
    let origin = Origin::start(Options { idle_timeout: SHORT, ..Options::default() });
    let mut client = origin.connect();
    let start = Instant::now();
    while start.elapsed() < 4 * SHORT {
        let reply = client.get("/text");
        assert_eq!((reply.status, reply.keeps_alive()), (200, true), "after {:?}", start.elapsed());
        thread::sleep(SHORT / 10);
    }
    assert_eq!(origin.totals().idle_timeouts, 0);
}

#[test]
fn every_head_has_its_own_time() {
    let origin = Origin::start(Options { head_timeout: SHORT, ..Options::default() });
    let mut client = origin.connect();
    let request = get("/text");
    let (begin, end) = request.split_at(20);
    client.send(begin);
    let start = Instant::now();
    while start.elapsed() < 4 * SHORT {
        thread::sleep(SHORT / 10);
        // There is always the beginning of another head.
        client.send(&[end, begin].concat());
        assert_eq!(client.reply().status, 200, "after {:?}", start.elapsed());
    }
    assert_eq!(client.reply().status, 408);
}

#[test]
fn bytes_one_by_one_do_not_extend_the_time_for_a_body() {
    let origin = Origin::start(Options { head_timeout: SHORT, ..Options::default() });
    let mut client = origin.connect();
    client.send("GET /text HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    assert_eq!(client.reply().status, 200);
    let start = Instant::now();
    while origin.totals().head_timeouts == 0 {
        assert!(start.elapsed() < 10 * SHORT, "still waits for the body");
        let _ = client.stream.write_all(b"x");
        thread::sleep(SHORT / 10);
    }
    origin.until("closed", |totals| totals.open == 0);
}

#[test]
fn a_client_that_goes_on_after_its_last_answer_is_left() {
    let origin = Origin::start(Options { head_timeout: SHORT, ..Options::default() });
    let mut client = origin.connect();
    client.send("nonsense\r\n\r\n");
    assert_eq!(client.reply().status, 400);
    let start = Instant::now();
    while origin.totals().open > 0 {
        assert!(start.elapsed() < 3 * limits::LINGER, "still lingers");
        let _ = client.stream.write_all(b"x");
        thread::sleep(SHORT / 10);
    }
    assert!(start.elapsed() > limits::LINGER / 2);
}

#[test]
fn a_client_that_does_not_read_is_disconnected() {
    let options = Options { read_rate_window: SHORT, read_rate_min: 100_000, ..Options::default() };
    let origin = Origin::start(options);
    let mut stuck = origin.connect();
    stuck.send(&get("/big"));
    // This one reads, at several times the minimum.
    let mut steady = origin.connect();
    steady.send(&get("/big"));
    let start = Instant::now();
    let mut read = 0;
    while start.elapsed() < 8 * SHORT {
        let mut chunk = vec![0; 40_000];
        steady.stream.read_exact(&mut chunk).unwrap();
        read += chunk.len();
        thread::sleep(Duration::from_millis(25));
    }
    assert!(read > 1_000_000);
    origin.until("disconnected", |totals| totals.slow_readers == 1 && totals.open == 1);
    let (got, orderly) = stuck.rest();
    assert!(got.len() < 9_000_000 && !orderly, "a reset tells that this is not all");
}

#[test]
fn connections_above_the_limit_get_503() {
    let origin = Origin::start(Options { connections_max: 2, ..Options::default() });
    let mut kept = [origin.connect(), origin.connect()];
    for client in &mut kept {
        assert_eq!(client.get("/text").status, 200);
    }
    for _ in 0..3 {
        let mut client = origin.connect();
        client.send(&get("/text"));
        let reply = client.reply();
        assert_eq!((reply.status, reply.keeps_alive()), (503, false));
        assert!(reply.field("retry-after").unwrap().parse::<u32>().unwrap() > 0);
        assert_eq!(client.rest(), (Vec::new(), true));
    }
    let mut client = origin.connect();
    client.send(&get("/text").replace("GET", "HEAD"));
    assert_eq!(client.head().status, 503);
    assert_eq!(client.rest(), (Vec::new(), true), "HEAD is told nothing but the head");
    let totals = origin.totals();
    assert_eq!((totals.refused, totals.open), (4, 2));
    drop(kept);
    origin.until("room", |totals| totals.open == 0);
    assert_eq!(origin.ask(&get("/text")).status, 200);
}
