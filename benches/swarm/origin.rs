//! The server that is measured: a process of its own, on a CPU of its own.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::encoder::PUBLISH_KEY;

pub const SERVER_CPU: usize = 0;
/// Of the swarm and its encoders.
pub const SWARM_CPU: usize = 1;
const READY_WITHIN: Duration = Duration::from_secs(30);
const STOPPED_WITHIN: Duration = Duration::from_secs(20);

/// A running `headwater serve` with one delivery worker. Stopped when it goes.
pub struct Origin {
    pub delivery: SocketAddr,
    pub intake: SocketAddr,
    admin: SocketAddr,
    process: Child,
    directory: tempfile::TempDir,
}

impl Origin {
    /// `scratch`: where the channels are recorded; the temporary directory if there is none.
    pub fn start(channels: &[String], window: &str, scratch: Option<&PathBuf>) -> Result<Origin> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("headwater-swarm-");
        let directory = match scratch {
            Some(scratch) => builder.tempdir_in(scratch)?,
            None => builder.tempdir()?,
        };
        let [delivery, intake, admin] = free_addresses()?;
        let root = directory.path().display();
        let mut config = format!(
            "[server]\nworkers = 1\nstate = \"{root}\"\nidle_timeout = \"10m\"\n[[listen]]\naddress = \"{delivery}\"\n\
             [intake]\naddress = \"{intake}\"\nrtmp = \"off\"\n[admin]\naddress = \"{admin}\"\n\
             [library]\npath = \"{root}/library\"\n[live]\npath = \"{root}/live\"\n"
        );
        for channel in channels {
            write!(
                config,
                "[[channel]]\nname = \"{channel}\"\npublish_key = \"{PUBLISH_KEY}\"\nsegment = \"2s\"\npart = \"500ms\"\n\
                 window = \"{window}\"\n"
            )?;
        }
        std::fs::write(directory.path().join("headwater.toml"), config)?;
        for name in ["library", "live"] {
            std::fs::create_dir(directory.path().join(name))?;
        }
        let process = spawn(directory.path())?;
        let mut origin = Origin { delivery, intake, admin, process, directory };
        origin.ready()?;
        Ok(origin)
    }

    /// Stops the server, has something done to what it recorded, and starts it again.
    pub fn restart(&mut self, between: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        self.stop();
        between(&self.directory.path().join("live"))?;
        self.process = spawn(self.directory.path())?;
        self.ready()
    }

    fn ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while !matches!(fetch(self.admin, "/readyz"), Ok((200, _))) {
            if let Some(status) = self.process.try_wait()? {
                bail!("the server ended with {status}: {}", self.log());
            }
            if Instant::now() > deadline {
                bail!("not ready after {READY_WITHIN:?}: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn stop(&mut self) {
        let deadline = Instant::now() + STOPPED_WITHIN;
        let _ = kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM);
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.process.kill();
                let _ = self.process.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The end of what the server said.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// User and system time so far, in seconds. The scheduler's own count, in nanoseconds; threads that ended are missing
    /// from it, so the kernel's ticks are the lower bound.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let process = PathBuf::from(format!("/proc/{}", self.process.id()));
        let mut exact = 0;
        for task in std::fs::read_dir(process.join("task"))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            exact += text.split(' ').next().and_then(|run| run.parse::<u64>().ok()).unwrap_or(0);
        }
        let stat = std::fs::read_to_string(process.join("stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("CLK_TCK")?;
        Ok((exact as f64 / 1e9).max(ticks as f64 / per_second as f64 - 0.02))
    }

    /// `RssAnon`, in bytes.
    pub fn memory_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("RssAnon")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    pub fn fetch(&self, path: &str) -> Result<(u16, Vec<u8>)> {
        fetch(self.delivery, path)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The server on the configuration in a directory, which its log goes to as well.
fn spawn(directory: &Path) -> Result<Child> {
    let log = File::options().create(true).append(true).open(directory.join("log"))?;
    let binary = std::env::var_os("HEADWATER_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_headwater").into());
    Command::new("taskset")
        .args(["-c", &SERVER_CPU.to_string()])
        .arg(&binary)
        .args(["serve", "--config"])
        .arg(directory.join("headwater.toml"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("taskset")
}

/// On a loopback address of their own: nobody else, viewers of other servers least of all, is given one of these ports before
/// the server listens.
fn free_addresses<const COUNT: usize>() -> Result<[SocketAddr; COUNT]> {
    static HOSTS: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id().to_le_bytes();
    let host = Ipv4Addr::new(127, 64 | process[1] & 63, process[0], HOSTS.fetch_add(1, Ordering::Relaxed));
    let listeners: Vec<TcpListener> = (0..COUNT).map(|_| TcpListener::bind((host, 0))).collect::<Result<_, _>>()?;
    let addresses: Vec<SocketAddr> = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    Ok(addresses.try_into().expect("one for each"))
}

/// One request on a connection of its own: status and body, which ends with the connection.
fn fetch(address: SocketAddr, path: &str) -> Result<(u16, Vec<u8>)> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("a response head")?;
    let status = std::str::from_utf8(&answer[..end])?.split(' ').nth(1).context("a status line")?.parse()?;
    answer.drain(..end + 4);
    Ok((status, answer))
}
