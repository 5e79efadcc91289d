use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

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
    let options = Options {
        admin: Some("127.0.0.1:0".parse().unwrap()),
        token: token.map(str::to_owned),
        ..Options::default()
    };
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
    let error = start(options, library, Arc::default(), Arc::new(Fake(Health::Working, Readiness::Ready))).err().unwrap();
    assert_eq!(error.to_string(), format!("admin.address: listen on {address}: Address already in use (os error 98)"));
}
