//! A server with one channel, in a directory of its own, that may be armed to kill itself.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::encoder::KEY;
use super::{Chance, PATIENCE, Point};

/// What lies on disk between one server and the next.
pub struct Place {
    dir: tempfile::TempDir,
    pub listen: SocketAddr,
    pub intake: SocketAddr,
    pub admin: SocketAddr,
}

pub struct Server<'a> {
    place: &'a Place,
    child: Child,
}

/// A free port of a loopback host that nobody else uses.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    TcpListener::bind(SocketAddr::from(([127, 84, high, low], 0))).unwrap().local_addr().unwrap()
}

impl Place {
    pub fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { dir, listen: free_address(), intake: free_address(), admin: free_address() };
        let root = place.dir.path().display();
        let config = format!(
            "[server]\nworkers = 1\nstate = \"{root}\"\n[[listen]]\naddress = \"{}\"\n[intake]\naddress = \"{}\"\nrtmp = \"off\"\n\
             [admin]\naddress = \"{}\"\n[library]\npath = \"{root}/library\"\n[live]\npath = \"{root}/live\"\nsync = \"100ms\"\n\
             [[channel]]\nname = \"news\"\npublish_key = \"{KEY}\"\nsegment = \"4s\"\npart = \"2s\"\nwindow = \"24s\"\nend = true\n",
            place.listen, place.intake, place.admin
        );
        fs::write(place.dir.path().join("headwater.toml"), config).unwrap();
        for name in ["library", "live"] {
            fs::create_dir(place.dir.path().join(name)).unwrap();
        }
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, word: &str, kill_at: Option<Point>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        command.arg(word).arg("--config").arg(self.path("headwater.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.env_remove("NOTIFY_SOCKET").env_remove("HEADWATER_LOG").env_remove("HEADWATER_KILL_AT");
        if let Some((point, passage)) = kill_at {
            command.env("HEADWATER_KILL_AT", format!("{passage}:{point}"));
        }
        command
    }

    /// A server that answers, or has killed itself before it could.
    pub fn serve(&self, kill_at: Option<Point>) -> Server<'_> {
        self.serve_so(kill_at, Chance::Any)
    }

    pub fn serve_so(&self, kill_at: Option<Point>, chance: Chance) -> Server<'_> {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = self.command("serve", kill_at);
        match chance {
            Chance::Any => {}
            Chance::NoRoom(bytes) => {
                // The command as it is, by way of another that takes it as arguments.
                let mut limited = Command::new("prlimit");
                limited.arg(format!("--fsize={bytes}")).arg(command.get_program()).args(command.get_args());
                for (name, value) in command.get_envs() {
                    match value {
                        Some(value) => limited.env(name, value),
                        None => limited.env_remove(name),
                    };
                }
                limited.stdin(Stdio::null()).stdout(Stdio::null());
                command = limited;
            }
            Chance::End => {
                command.env("HEADWATER_KILL_ONCE", self.path("ending"));
            }
        }
        let child = command.stderr(log).spawn().unwrap();
        let mut server = Server { place: self, child };
        let begun = Instant::now();
        while get(self.admin, "/readyz").is_none_or(|(status, _)| status != 200) && server.ended().is_none() {
            assert!(begun.elapsed() < PATIENCE, "not ready after {PATIENCE:?}: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
        server
    }

    /// Makes an asset of a stretch of the channel, since 1970.
    pub fn harvest(&self, (start, end): (Duration, Duration), kill_at: Option<Point>) -> (ExitStatus, String) {
        let mut command = self.command("harvest", kill_at);
        command.args(["--channel", "news", "--asset", "kept"]);
        command.args(["--start", &start.as_secs().to_string(), "--end", &end.as_secs().to_string()]);
        let output = command.output().unwrap();
        (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Whether what is saved of the channel under this name says that it has ended.
    pub fn says_ended(&self, name: &str) -> bool {
        let text = fs::read_to_string(self.path("live/news").join(name)).unwrap_or_default();
        serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|state| state["is_ended"] == true)
    }

    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        log.lines().rev().take(12).collect::<Vec<_>>().join("\n")
    }
}

impl Server<'_> {
    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Whether it has killed itself, as one has that is about to be gone. It ends in no other way.
    pub fn is_killed(&mut self) -> bool {
        let Some(status) = self.ended() else { return false };
        assert!(is_kill(status), "the server ended: {status}\n{}", self.place.log());
        true
    }

    /// Waits until it has killed itself.
    pub fn is_gone(&mut self) {
        assert!(is_kill(self.child.wait().unwrap()), "{}", self.place.log());
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        assert!(is_kill(self.child.wait().unwrap()));
    }

    /// The body of an answer of status 200; `None` while there is none.
    pub fn fetch(&self, path: &str) -> Option<Vec<u8>> {
        get(self.place.listen, path).filter(|(status, _)| *status == 200).map(|(_, body)| body)
    }

    pub fn text(&self, path: &str) -> Option<String> {
        self.fetch(path).map(|body| String::from_utf8(body).unwrap())
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn is_kill(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::SIGKILL as i32)
}

pub fn get(address: SocketAddr, path: &str) -> Option<(u16, Vec<u8>)> {
    ask(address, "GET", path, "").ok()
}

/// One request on a connection of its own; an error if what comes is not a whole answer.
pub fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let len = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{body}")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let torn = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or_else(torn)?;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(torn)?;
    let body = answer.split_off(end + 4);
    let said = head.lines().find_map(|line| line.strip_prefix("content-length: ")).and_then(|len| len.parse().ok());
    match said.is_none_or(|len: usize| len == body.len()) {
        true => Ok((status, body)),
        false => Err(torn()),
    }
}

/// The newest track file of a track, or its journal.
pub fn newest(directory: &Path, suffix: &str) -> PathBuf {
    let files = fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path());
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
    files.filter(|path| path.extension().is_some_and(|found| found == suffix)).max_by_key(number).unwrap()
}
