//! A graceful stop: what is in flight is finished, what idles is closed, and it ends in time.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use headwater::delivery::Options;

use crate::origin::{BIG, Client, Origin, PATIENCE, STUCK, TEXT, get, pattern};

#[test]
fn an_answer_in_flight_is_finished() {
    let origin = Origin::start(Options::default());
    let mut client = origin.connect();
    client.send(&get("/big"));
    assert_eq!(client.head().status, 200);
    let idle = {
        let mut idle = origin.connect();
        assert_eq!(idle.get("/text").status, 200);
        idle
    };
    let address = origin.address();
    let stopped = thread::spawn(move || origin.stop());
    assert_eq!(idle.rest(), (Vec::new(), true), "an idle connection is closed at once");
    // By now nobody listens.
    assert!(TcpStream::connect(address).is_err());
    assert!(client.body(BIG) == pattern(BIG));
    assert_eq!(client.rest(), (Vec::new(), true));
    assert!(stopped.join().unwrap() < PATIENCE);
}

#[test]
fn a_request_on_a_kept_connection_gets_close() {
    let origin = Origin::start(Options::default());
    let mut client = origin.connect();
    // The answer to the first does not fit into the buffers, so the second is read when the plane is stopping.
    client.send(&[get("/big"), get("/text")].concat());
    assert!(client.head().keeps_alive());
    origin.plane().stop();
    thread::sleep(Duration::from_millis(50));
    assert_eq!(client.body(BIG).len(), BIG);
    let reply = client.reply();
    assert_eq!((reply.body.as_slice(), reply.keeps_alive()), (TEXT.as_bytes(), false));
    assert_eq!(client.rest(), (Vec::new(), true));
}

#[test]
fn what_waits_in_the_accept_queue_is_answered() {
    let origin = Origin::start(Options::default());
    let mut clients: Vec<Client> = (0..50).map(|_| origin.connect()).collect();
    for client in &mut clients {
        client.send(&get("/text"));
    }
    origin.plane().stop();
    for client in &mut clients {
        assert_eq!(client.reply().body, TEXT.as_bytes());
    }
}

#[test]
fn a_client_that_does_not_read_cannot_hold_the_stop_up() {
    let stop_timeout = Duration::from_millis(400);
    let origin = Origin::start(Options { stop_timeout, ..Options::default() });
    let mut client = origin.connect();
    client.send(&get("/big"));
    assert_eq!(client.head().status, 200);
    let took = origin.stop();
    assert!(took >= stop_timeout && took < PATIENCE, "{took:?}");
    let (body, orderly) = client.rest();
    assert!(body.len() < BIG && !orderly);
}

#[test]
fn a_disk_that_does_not_answer_cannot_hold_the_stop_up() {
    let stop_timeout = Duration::from_millis(400);
    let origin = Origin::start(Options { stop_timeout, ..Options::default() });
    let mut client = origin.connect();
    client.send(&get("/stuck"));
    origin.until("a helper waits", |totals| totals.loads > 0);
    let took = origin.stop();
    assert!(took >= stop_timeout && took < STUCK / 2, "{took:?}");
    assert!(client.rest().0.is_empty(), "there was nothing to answer with");
}

#[test]
fn an_idle_plane_stops_at_once() {
    let took = Origin::start(Options::default()).stop();
    assert!(took < Duration::from_secs(4), "{took:?}");
}
