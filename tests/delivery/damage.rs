//! Files that somebody truncates under the server.

use std::fs::File;
use std::thread;
use std::time::Duration;

use headwater::delivery::Options;

use crate::origin::{BIG, Origin, get};

fn truncate(origin: &Origin, name: &str, len: u64) {
    File::options().write(true).open(origin.file(name)).unwrap().set_len(len).unwrap();
}

#[test]
fn found_before_the_head_it_is_500() {
    let origin = Origin::start(Options::default());
    truncate(&origin, "big", 1_000);
    truncate(&origin, "small", 1_000);
    for path in ["/big", "/unmapped", "/small", "/part", "/mixed"] {
        let mut client = origin.connect();
        client.send(&get(path));
        let reply = client.reply();
        assert_eq!((reply.status, reply.keeps_alive()), (500, false), "{path}");
        assert_eq!(client.rest(), (Vec::new(), true), "{path}");
    }
    let totals = origin.totals();
    assert_eq!((totals.damaged, totals.requests_of_class(5)), (5, 5));
    assert_eq!(origin.ask(&get("/text")).status, 200, "nothing else is affected");
}

#[test]
fn found_later_the_connection_is_reset() {
    let origin = Origin::start(Options::default());
    for path in ["/unmapped", "/big"] {
        let mut client = origin.connect();
        client.send(&get(path));
        assert_eq!(client.head().status, 200);
        // The rest does not fit into the socket's buffers.
        thread::sleep(Duration::from_millis(100));
        truncate(&origin, "big", 1_000);
        let (body, orderly) = client.rest();
        assert!(body.len() < BIG && !orderly, "{path}: {} bytes", body.len());
        std::fs::write(origin.file("big"), crate::origin::pattern(BIG)).unwrap();
    }
    origin.until("counted", |totals| totals.damaged == 2 && totals.open == 0);
    assert_eq!(origin.ask(&get("/text")).status, 200);
}
