//! The binary as its users meet it: exit status, one line on stderr, signals, and what a service manager is told.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const DEADLINE: Duration = Duration::from_secs(60);

fn headwater(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.args(arguments).stdin(Stdio::null()).env_remove("NOTIFY_SOCKET").env_remove("HEADWATER_LOG");
    command
}

fn run(arguments: &[&str]) -> Output {
    headwater(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A free port of a loopback host that nobody else uses: what tests beside this one connect or listen to takes none of its.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    TcpListener::bind(SocketAddr::from(([127, 83, high, low], 0))).unwrap().local_addr().unwrap()
}

/// A process that does not outlive its test.
struct Running(Child);

impl Running {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    fn exit_code(&mut self) -> Option<i32> {
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("still running after {DEADLINE:?}");
    }

    fn stderr(&mut self) -> String {
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Place {
    dir: tempfile::TempDir,
    listen: SocketAddr,
    admin: SocketAddr,
}

impl Place {
    fn new() -> Place {
        let place = Place { dir: tempfile::tempdir().unwrap(), listen: free_address(), admin: free_address() };
        let config = format!(
            "[server]\nworkers = 1\npage = \"player\"\nstop_timeout = \"10s\"\n[[listen]]\naddress = \"{}\"\n\
             [admin]\naddress = \"{}\"\n[library]\npath = \"{}/library\"\n",
            place.listen,
            place.admin,
            place.dir.path().display()
        );
        fs::write(place.config(), config).unwrap();
        place
    }

    fn config(&self) -> String {
        self.dir.path().join("headwater.toml").display().to_string()
    }

    fn serve(&self) -> Command {
        let mut command = headwater(&["serve", "--config", &self.config()]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn started(&self, command: &mut Command) -> Running {
        let running = Running(command.spawn().unwrap());
        let start = Instant::now();
        while status(self.admin, "/readyz") != Some(200) {
            assert!(start.elapsed() < DEADLINE, "not ready after {DEADLINE:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        running
    }
}

/// The status of one request; none if nobody answers.
fn status(address: SocketAddr, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    text(answer.split(|&byte| byte == b'\r').next()?).split(' ').nth(1)?.parse().ok()
}

#[test]
fn exit_status_and_the_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.toml").display().to_string();
    fs::write(&bad, "[server]\nwrokers = 1\n").unwrap();
    for (arguments, code, stderr) in [
        (&["--help"][..], 0, ""),
        (&["serve", "--help"], 0, ""),
        (&["--version"], 0, ""),
        (&["frobnicate"], 2, "error: unrecognized subcommand 'frobnicate'"),
        (&["serve", "--config"], 2, "error: a value is required"),
        (&["serve", "--config", "/nonexistent.toml"], 1, "headwater: /nonexistent.toml: No such file or directory"),
        (
            &["serve", "--config", &bad],
            1,
            "bad.toml: line 2: server.wrokers: unknown key; did you mean \"server.workers\"?",
        ),
        (&["check", "--config", &bad], 1, "would keep the server from running"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains(stderr), "{arguments:?}: {said}");
        if code == 1 {
            assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
            assert!(said.starts_with("headwater: "), "{arguments:?}: {said}");
        }
        if code == 0 {
            assert!(said.is_empty() && !output.stdout.is_empty(), "{arguments:?}: {said}");
        }
    }
}

#[test]
fn every_mistake_in_the_configuration_is_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.toml").display().to_string();
    fs::write(&bad, "[server]\nworkers = 0\nidle_timeout = 75\n[library]\ngrace = \"soon\"\n").unwrap();
    let serve = run(&["serve", "--config", &bad]);
    assert_eq!((serve.status.code(), text(&serve.stderr).lines().count()), (Some(1), 3), "{serve:?}");
    let check = run(&["check", "--config", &bad]);
    let report = text(&check.stdout);
    for key in ["server.workers", "server.idle_timeout", "library.grace"] {
        assert!(report.lines().any(|line| line.starts_with("problem ") && line.contains(key)), "{key} in {report}");
    }
    assert!(!report.contains('\x1b'), "colours in a pipe: {report}");
}

#[test]
fn nobody_reads_the_output() {
    let mut child = Running(headwater(&["--help"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    drop(child.0.stdout.take());
    child.0.wait().unwrap();
    assert_eq!(child.stderr(), "");
}

#[test]
fn serve_runs_until_it_is_told_to_stop() {
    let place = Place::new();
    let log = place.dir.path().join("log");
    let mut server = place.started(place.serve().stderr(fs::File::create(&log).unwrap()));
    for (address, path, want) in [
        (place.listen, "/", 200),
        (place.listen, "/assets.json", 200),
        (place.listen, "/vod/none/index.m3u8", 404),
        (place.admin, "/healthz", 200),
        (place.admin, "/metrics", 200),
    ] {
        assert_eq!(status(address, path), Some(want), "{path}");
    }

    let second = place.serve().output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(text(&second.stderr).lines().count(), 1, "{}", text(&second.stderr));
    assert!(text(&second.stderr).contains("another headwater is running"), "{}", text(&second.stderr));

    server.signal(Signal::SIGHUP);
    let start = Instant::now();
    while !fs::read_to_string(&log).unwrap().contains(" is unchanged") {
        assert!(start.elapsed() < DEADLINE, "not reloaded after {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(status(place.listen, "/"), Some(200));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit_code(), Some(0));
    let said = fs::read_to_string(&log).unwrap();
    for part in [" serves 0 assets of ", "reload: ", " is unchanged", "stopping; ", "stopped"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(status(place.listen, "/"), None);
}

#[test]
fn a_taken_address_is_refused() {
    let place = Place::new();
    let taken = TcpListener::bind(place.listen).unwrap();
    let output = place.serve().output().unwrap();
    drop(taken);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr).lines().last().unwrap();
    assert!(said.starts_with(&format!("headwater: listen on {}: the address is in use", place.listen)), "{said}");
}

#[test]
fn the_service_manager_is_told() {
    let place = Place::new();
    let socket = place.dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let heard = || {
        let mut buffer = [0; 256];
        let len = manager.recv(&mut buffer).unwrap();
        text(&buffer[..len]).to_owned()
    };
    let mut server = place
        .started(place.serve().env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "400000").env_remove("WATCHDOG_PID"));
    assert_eq!(heard(), "READY=1");
    let start = Instant::now();
    for _ in 0..3 {
        assert_eq!(heard(), "WATCHDOG=1");
    }
    assert!(start.elapsed() < Duration::from_secs(3), "three pings took {:?}", start.elapsed());
    server.signal(Signal::SIGTERM);
    while heard() != "STOPPING=1" {}
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn a_second_signal_does_not_wait() {
    let place = Place::new();
    let mut server = place.started(&mut place.serve());
    // Far more than the socket's buffers take, and nobody reads: an answer in flight until the stop timeout.
    let mut busy = TcpStream::connect(place.listen).unwrap();
    nix::sys::socket::setsockopt(&busy, nix::sys::socket::sockopt::RcvBuf, &16_384).unwrap();
    busy.write_all("GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2_000).as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    server.signal(Signal::SIGINT);
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(server.0.try_wait().unwrap().is_none(), "what is in flight was not waited for");
    assert_eq!(status(place.admin, "/readyz"), Some(503));
    server.signal(Signal::SIGINT);
    assert_eq!(server.exit_code(), Some(1));
    assert!(server.stderr().ends_with("headwater: stopped at once by a second signal, connections were cut\n"));
    // The stop timeout is 10 s.
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
}

#[test]
fn demo_shows_itself_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let listen = free_address();
    let demo = || {
        let mut command = headwater(&["demo", "--listen", &listen.to_string()]);
        command.env("TMPDIR", dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut running = Running(demo().spawn().unwrap());
    let start = Instant::now();
    while status(listen, "/") != Some(200) {
        assert!(start.elapsed() < DEADLINE, "not there after {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    for path in ["/assets.json", "/vod/sample/index.m3u8", "/vod/sample/index.mpd"] {
        assert_eq!(status(listen, path), Some(200), "{path}");
    }

    let second = demo().output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = text(&second.stderr);
    assert!(said.contains("the address is in use") && said.contains("--listen"), "{said}");

    running.signal(Signal::SIGINT);
    assert_eq!(running.exit_code(), Some(0));
    let mut said = String::new();
    running.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains(&format!("http://{listen}/vod/sample/index.mpd")), "{said}");
    assert_eq!(running.stderr(), "");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "left in {}", dir.path().display());
}

#[test]
fn demo_keeps_what_it_is_told_to_keep() {
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("library");
    let listen = free_address();
    for _ in 0..2 {
        let mut command = headwater(&["demo", "--listen", &listen.to_string(), "--keep", library.to_str().unwrap()]);
        let mut running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let start = Instant::now();
        while status(listen, "/vod/sample/index.mpd") != Some(200) {
            assert!(start.elapsed() < DEADLINE, "not there after {DEADLINE:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        running.signal(Signal::SIGTERM);
        assert_eq!(running.exit_code(), Some(0));
    }
    assert!(Path::new(&library).join("sample/current/index").is_file());
}
