use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;

use super::*;
use crate::library;

struct Fake(Health, Readiness);

impl Server for Fake {
    fn health(&self) -> Health {
        self.0
    }

    fn readiness(&self) -> Readiness {
        self.1
    }

    fn write_metrics(&self, out: &mut Exposition) {
        out.gauge("fake", "A figure of the server's.", [(&[][..], 7.0)]);
    }

    fn channel(&self, keys: &serde_json::Map<String, serde_json::Value>) -> Result<ChannelSetup, Vec<String>> {
        match (keys.get("name"), keys.get("publish_key")) {
            (Some(Value::String(name)), Some(Value::String(key))) => Ok(ChannelSetup::named(name, key)),
            _ => Err(vec!["name: missing".to_owned(), "publish_key: missing".to_owned()]),
        }
    }
}

fn plane(root: &Path, token: Option<&str>, server: Fake) -> Plane {
    let library = Arc::new(Library::open(root, library::Options::default()).unwrap());
    let options =
        Options { admin: Some("127.0.0.1:0".parse().unwrap()), token: token.map(str::to_owned), ..Options::default() };
    start(options, library, Arc::default(), Arc::new(server)).unwrap()
}

/// The status and the whole answer.
fn ask(plane: &Plane, method: &str, path: &str, field: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(plane.admin().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{field}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

#[test]
fn admin_answers() {
    let dir = tempfile::tempdir().unwrap();
    let plane = plane(dir.path(), None, Fake(Health::Working, Readiness::Ready));
    for (method, path, status, part) in [
        ("GET", "/healthz", 200, "\r\n\r\nok\n"),
        ("HEAD", "/healthz", 200, "content-length: 3\r\n"),
        ("GET", "/readyz", 200, "\r\n\r\nready\n"),
        ("GET", "/metrics", 200, "content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        ("GET", "/metrics", 200, "\nfake 7\n"),
        ("GET", "/metrics", 200, "\nheadwater_library_assets 0\n"),
        ("GET", "/metrics?x=y", 200, "\nprocess_open_fds "),
        ("GET", "/api/assets", 200, "\r\n\r\n{\"assets\":[]}\n"),
        ("GET", "/api/assets/none", 404, "no such asset"),
        ("GET", "/", 404, "/metrics"),
        ("POST", "/metrics", 405, "allow: GET, HEAD\r\n"),
        ("DELETE", "/api/assets/none", 405, "allow: GET, HEAD\r\n"),
    ] {
        let (got, answer) = ask(&plane, method, path, "");
        assert!(got == status && answer.contains(part), "{method} {path}: {answer}");
        assert!(answer.contains("cache-control: no-store\r\n"), "{method} {path}: {answer}");
    }
    plane.stop();
}

#[test]
fn health_and_readiness_are_the_servers() {
    let dir = tempfile::tempdir().unwrap();
    for (health, readiness, alive, ready, part) in [
        (Health::Stuck { worker: 3 }, Readiness::Ready, 503, 200, "worker 3"),
        (Health::Working, Readiness::Starting, 200, 503, "ok"),
        (Health::Working, Readiness::Stopping, 200, 503, "ok"),
    ] {
        let plane = plane(dir.path(), None, Fake(health, readiness));
        let (status, answer) = ask(&plane, "GET", "/healthz", "");
        assert!(status == alive && answer.contains(part), "{answer}");
        assert_eq!(ask(&plane, "GET", "/readyz", "").0, ready);
        plane.stop();
    }
}

#[test]
fn a_token_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let plane = plane(dir.path(), Some("0123456789abcdef"), Fake(Health::Working, Readiness::Ready));
    for (field, status) in [
        ("", 401),
        ("Authorization: Bearer 0123456789abcdeX\r\n", 403),
        ("Authorization: Bearer 0123456789abcdef\r\n", 200),
    ] {
        for path in ["/healthz", "/metrics", "/api/assets"] {
            let (got, answer) = ask(&plane, "GET", path, field);
            assert_eq!(got, status, "{path} {field}");
            assert_eq!(status == 401, answer.contains("www-authenticate: Bearer\r\n"));
        }
    }
    plane.stop();
}

#[test]
fn silent_connections_do_not_hold_up_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let plane = plane(dir.path(), None, Fake(Health::Working, Readiness::Ready));
    // More than are served at once.
    let silent: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(plane.admin().unwrap()).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(300));
    let start = std::time::Instant::now();
    plane.stop();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    drop(silent);
}

#[test]
fn a_taken_address_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let library = Arc::new(Library::open(dir.path(), library::Options::default()).unwrap());
    let options = Options { admin: Some(address), ..Options::default() };
    let error =
        start(options, library, Arc::default(), Arc::new(Fake(Health::Working, Readiness::Ready))).err().unwrap();
    assert_eq!(error.to_string(), format!("admin.address: listen on {address}: Address already in use (os error 98)"));
}

/// A plane with a channel of the file, its library and recordings below `root`.
fn with_channel(root: &Path, http: SocketAddr, rtmp: SocketAddr) -> Plane {
    let library = Arc::new(Library::open(root, library::Options::default()).unwrap());
    let options = Options {
        admin: Some("127.0.0.1:0".parse().unwrap()),
        ingest: IngestOptions {
            address: Some(http),
            rtmp: Some(rtmp),
            live: root.join("live"),
            connections_max: 8,
            ..IngestOptions::default()
        },
        channels: vec![ChannelSetup::named("news", "s3cret")],
        state: Some(root.to_owned()),
        ..Options::default()
    };
    std::fs::create_dir_all(root.join("live")).unwrap();
    start(options, library, Arc::default(), Arc::new(Fake(Health::Working, Readiness::Ready))).unwrap()
}

/// An address nobody listens on, and on a host of its own: on 127.0.0.1 another test may be given its port meanwhile.
fn free_address() -> SocketAddr {
    static HOSTS: AtomicU16 = AtomicU16::new(1);
    let [high, low] = HOSTS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    TcpListener::bind((Ipv4Addr::new(127, 1, high, low), 0)).unwrap().local_addr().unwrap()
}

/// The whole answer to what is sent as it is.
fn converse(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn encoders_are_let_in_by_their_key() {
    let dir = tempfile::tempdir().unwrap();
    let address = free_address();
    let plane = with_channel(dir.path(), address, free_address());
    // Base64 of ":s3cret" and of "x:wrong".
    let (right, wrong) = ("Authorization: Basic OnMzY3JldA==\r\n", "Authorization: Basic eDp3cm9uZw==\r\n");
    for (line, field, status, part) in [
        ("POST /ingest/news/video.cmfv", "", 401, "www-authenticate: Basic realm=\"ingest\""),
        ("PUT /ingest/none/video.cmfv", "", 401, "a publish key is needed"),
        ("PUT /ingest/news/video.cmfv", wrong, 403, "not the publish key of channel news"),
        ("PUT /ingest/news/video.cmfv?key=S3cret", "", 403, "not the publish key"),
        ("PUT /ingest/none/video.cmfv", right, 404, "there is no channel none"),
        ("PUT /", right, 404, "/ingest/"),
        ("GET /ingest/news/video.cmfv", right, 405, "allow: POST, PUT, DELETE\r\n"),
        ("HEAD /ingest/news/video.cmfv", right, 405, "allow: POST, PUT, DELETE\r\n"),
        ("DELETE /ingest/news/1.m4s", right, 204, "cache-control: no-store"),
        ("DELETE /ingest/news/1.m4s", "", 401, ""),
        ("PUT /ingest/news/empty.mpd", right, 400, ""),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{field}Content-Length: 0\r\n\r\n");
        let answer = converse(address, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(part), "{line}: {answer}");
    }
    plane.stop();
}

#[test]
fn a_refusal_comes_before_the_upload() {
    let dir = tempfile::tempdir().unwrap();
    let address = free_address();
    let plane = with_channel(dir.path(), address, free_address());
    let head =
        "POST /ingest/news/video.cmfv HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n";
    let answer = converse(address, &format!("{head}Connection: close\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    // Let in, it is told to go on; and media before its header is 412.
    let body = "10\r\n\0\0\0\x08moof\0\0\0\x08mdat\r\n0\r\n\r\n";
    let answer = converse(address, &format!("{head}Connection: close\r\nAuthorization: Bearer s3cret\r\n\r\n{body}"));
    assert!(answer.starts_with("HTTP/1.1 100 ") && answer.contains("HTTP/1.1 412 "), "{answer}");
    plane.stop();
}

#[test]
fn who_closes_behind_a_request_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    let address = free_address();
    let plane = with_channel(dir.path(), address, free_address());
    let head = "PUT /ingest/news/main.mpd HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3cret\r\nTransfer-Encoding: chunked\r\n\r\n";
    for round in 0..20 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        // It is being read when the rest comes, and the end with it.
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(b"14\r\n<MPD type='static'/>\r\n0\r\n\r\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{round}: {answer:?}");
    }
    plane.stop();
}

#[test]
fn guessing_is_slowed_down() {
    let dir = tempfile::tempdir().unwrap();
    let address = free_address();
    let plane = with_channel(dir.path(), address, free_address());
    let ask = |key: &str| {
        let line = format!("DELETE /ingest/news/x?key={key} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        converse(address, &line)
    };
    for number in 0..crate::base::limits::INTAKE_WRONG_KEYS_MAX {
        let answer = ask(&format!("guess{number}"));
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    for key in ["another", "s3cret"] {
        let answer = ask(key);
        assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: "), "{answer}");
    }
    plane.stop();
}

#[test]
fn connections_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let address = free_address();
    let plane = with_channel(dir.path(), address, free_address());
    let held: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(300));
    let answer = converse(address, "");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: "), "{answer}");
    drop(held);
    plane.stop();
}

#[test]
fn what_is_not_rtmp_is_hung_up_on() {
    let dir = tempfile::tempdir().unwrap();
    let rtmp = free_address();
    let plane = with_channel(dir.path(), free_address(), rtmp);
    assert_eq!(converse(rtmp, "GET / HTTP/1.1\r\n\r\n"), "");
    plane.stop();
}

#[test]
fn channels_are_made_changed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let plane = with_channel(dir.path(), free_address(), free_address());
    let sport = "{\"publish_key\": \"k\"}";
    for (line, body, status, part) in [
        ("GET /api/channels", "", 200, "\"name\":\"news\""),
        ("GET /api/channels/news", "", 200, "\"origin\":\"file\""),
        ("GET /api/channels/sport", "", 404, "no such channel"),
        ("PUT /api/channels/sport", "{", 400, "not JSON"),
        ("PUT /api/channels/sport", "[]", 400, "expected one"),
        ("PUT /api/channels/sport", "{\"name\": \"x\"}", 400, "expected \"sport\""),
        ("PUT /api/channels/sport", "{}", 400, "name: missing\npublish_key: missing\n"),
        ("PUT /api/channels/sport", sport, 201, "made"),
        ("PUT /api/channels/sport", sport, 200, "changed"),
        ("GET /api/channels/sport", "", 200, "\"origin\":\"api\""),
        ("GET /metrics", "", 200, "headwater_channel_publishers{channel=\"sport\"} 0\n"),
        ("PUT /api/channels/news", sport, 409, "configuration file"),
        ("DELETE /api/channels/news", "", 409, "configuration file"),
        ("POST /api/channels/sport/stop", "", 200, "disconnected"),
        ("GET /api/channels/sport/stop", "", 405, "allow: POST\r\n"),
        ("DELETE /api/assets/x", "", 405, "allow: GET, HEAD\r\n"),
    ] {
        let request =
            format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = converse(plane.admin().unwrap(), &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(part), "{line} {body}: {answer}");
        assert!(!answer.contains("s3cret"), "{line}: {answer}");
    }
    plane.stop();
    // What the API made is there again, until it is removed.
    for (method, status) in [("GET", 200), ("DELETE", 200), ("GET", 404)] {
        let plane = with_channel(dir.path(), free_address(), free_address());
        assert_eq!(ask(&plane, method, "/api/channels/sport", "").0, status, "{method}");
        plane.stop();
    }
}

#[test]
fn a_reload_touches_what_changed() {
    let dir = tempfile::tempdir().unwrap();
    let plane = with_channel(dir.path(), free_address(), free_address());
    plane.reload(vec![ChannelSetup::named("news", "s3cret"), ChannelSetup::named("music", "k")]);
    assert_eq!(ask(&plane, "GET", "/api/channels/music", "").0, 200);
    plane.reload(vec![ChannelSetup::named("music", "k")]);
    assert_eq!(ask(&plane, "GET", "/api/channels/news", "").0, 404);
    assert_eq!(ask(&plane, "GET", "/api/channels/music", "").0, 200);
    plane.stop();
}
