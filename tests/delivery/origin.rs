//! A plane that answers from a few fixed paths, and a client that talks to it byte by byte.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater::base::growing::Progress;
use headwater::base::{Extent, Growing, Payload, Piece, Stored, Watch, Watermark};
use headwater::delivery::{self, Answers, Options, Plane, Totals};
use headwater::http::{Kind, Request, Response, Status};
use headwater::service::{Answer, Load, Now, Wait};
use headwater::sys::MappedFile;
use tempfile::TempDir;

/// Nothing in these tests takes longer, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Origin {
    plane: Option<Plane>,
    pub dir: TempDir,
    pub asked: Arc<AtomicUsize>,
    pub live: Live,
}

/// What grows: `/wait` answers when the watch has reached 5, `/growing` follows a run of `big` from byte 1 000 on.
#[derive(Clone)]
pub struct Live {
    pub watch: Arc<Watch>,
    pub run: Arc<Progress>,
}

/// How long `/wait` waits.
pub const WAIT: Duration = Duration::from_millis(400);
/// How long a helper that loads `/stuck` takes.
pub const STUCK: Duration = Duration::from_secs(10);
/// Where the run that `/growing` follows begins.
pub const RUN_START: u64 = 1_000;

/// Bytes that tell their position.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()[7]).collect()
}

pub const BIG: usize = 9_000_001;
pub const SMALL: usize = 10_000;
pub const TEXT: &str = "#EXTM3U\n#EXT-X-VERSION:7\n";

impl Origin {
    /// One worker, not pinned, and short ticks.
    pub fn start(options: Options) -> Origin {
        // Not in /tmp, which may be memory: nothing there is ever cold.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let asked = Arc::<AtomicUsize>::default();
        let workers = if options.workers.is_empty() { vec![None] } else { options.workers.clone() };
        let options = Options { workers, listeners: vec!["127.0.0.1:0".parse().unwrap()], ..options };
        let live = Live { watch: Arc::new(Watch::new(0)), run: Arc::new(Progress::new(RUN_START)) };
        let fixed = Fixed::new(dir.path(), asked.clone(), live.clone());
        let plane = delivery::start(options, Arc::new(fixed)).unwrap();
        Origin { plane: Some(plane), dir, asked, live }
    }

    pub fn plane(&self) -> &Plane {
        self.plane.as_ref().unwrap()
    }

    pub fn address(&self) -> SocketAddr {
        self.plane().addresses()[0]
    }

    pub fn totals(&self) -> Totals {
        self.plane().totals()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address()).unwrap())
    }

    /// What one request gets, on a connection of its own.
    pub fn ask(&self, head: &str) -> Reply {
        let mut client = self.connect();
        client.send(head);
        client.reply()
    }

    /// Waits until the counters say so.
    pub fn until(&self, what: &str, holds: impl Fn(&Totals) -> bool) {
        let start = Instant::now();
        while !holds(&self.totals()) {
            assert!(start.elapsed() < PATIENCE, "{what}: {:?}", self.totals());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops and waits; how long that took.
    pub fn stop(mut self) -> Duration {
        let start = Instant::now();
        let plane = self.plane.take().unwrap();
        plane.stop();
        plane.join();
        start.elapsed()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(plane) = self.plane.take() {
            plane.stop();
            if !thread::panicking() {
                plane.join();
            }
        }
    }
}

struct Fixed {
    payloads: HashMap<&'static str, Payload>,
    asked: Arc<AtomicUsize>,
    live: Live,
    big: Arc<dyn Stored>,
}

impl Fixed {
    fn new(dir: &Path, asked: Arc<AtomicUsize>, live: Live) -> Fixed {
        let stored = |name: &str, len: usize| -> Arc<dyn Stored> {
            let path = dir.join(name);
            std::fs::write(&path, pattern(len)).unwrap();
            Arc::new(MappedFile::open(&path).unwrap())
        };
        let (big, small) = (stored("big", BIG), stored("small", SMALL));
        let unmapped: Arc<dyn Stored> = Arc::new(Unmapped(MappedFile::open(&dir.join("big")).unwrap()));
        let extent = |file: &Arc<dyn Stored>, offset, len| Extent { file: file.clone(), offset, len };
        // A segment with a generated box in front, small runs of samples and a large one.
        let mut mixed = Payload::from(Bytes::from_static(b"moof"));
        for (offset, len) in [(0, 100), (5_000, 1_000), (100_000, 400_000), (50, 7)] {
            mixed.push(Piece::Extent(extent(&big, offset, len)));
            mixed.push(Piece::Inline(Bytes::from_static(b"mdat")));
        }
        let payloads = HashMap::from([
            ("/text", Payload::from(Bytes::from_static(TEXT.as_bytes()))),
            ("/wait", Payload::from(Bytes::from_static(b"there"))),
            ("/empty", Payload::Empty),
            ("/large-text", Payload::from(Bytes::from(pattern(3_000_000)))),
            ("/big", Payload::from(extent(&big, 0, BIG as u64))),
            ("/unmapped", Payload::from(extent(&unmapped, 0, BIG as u64))),
            ("/small", Payload::from(extent(&small, 0, SMALL as u64))),
            ("/part", Payload::from(extent(&big, 1_234_567, 2_345_678))),
            ("/mixed", mixed),
        ]);
        Fixed { payloads, asked, live, big }
    }
}

impl Answers for Fixed {
    fn answer(&self, request: &Request<'_>, _now: Now) -> Answer {
        self.asked.fetch_add(1, Ordering::Relaxed);
        assert_ne!(request.path, "/panic", "this is what a bug looks like");
        if request.path == "/wait" && self.live.watch.mark() < 5 {
            let until = Watermark { watch: self.live.watch.clone(), target: 5 };
            let otherwise = Box::new(Response::error(Status::SERVICE_UNAVAILABLE, "not in time", ""));
            return Answer::Wait(Wait { until, patience: WAIT, otherwise });
        }
        if request.path == "/stuck" {
            return Answer::Load(Load::List);
        }
        if request.path == "/growing" {
            let run = Growing { file: self.big.clone(), start: RUN_START, progress: self.live.run.clone() };
            let mut response = Response::error(Status::OK, "", "");
            (response.body, response.growing) = (Payload::Empty, Some(Box::new(run)));
            return Answer::Ready(response);
        }
        let kind = if request.path == "/text" { Kind::MediaPlaylist } else { Kind::Segment };
        Answer::Ready(match self.payloads.get(request.path) {
            Some(body) => Response {
                status: Status::OK,
                kind,
                fields: Bytes::from_static(b"ETag: \"1\"\r\n"),
                body: body.clone(),
                growing: None,
            },
            None => Response::error(Status::NOT_FOUND, "nothing here", ""),
        })
    }

    fn load(&self, _load: Load) {
        thread::sleep(STUCK);
    }
}

/// A file that is not mapped, as objects in the store will be.
struct Unmapped(MappedFile);

impl Stored for Unmapped {
    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.fd()
    }
    fn len(&self) -> u64 {
        self.0.len()
    }
    fn mapped(&self) -> Option<&[u8]> {
        None
    }
    fn name(&self) -> &str {
        self.0.name()
    }
}

pub struct Client {
    pub stream: TcpStream,
    read: Vec<u8>,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn keeps_alive(&self) -> bool {
        self.field("connection") != Some("close")
    }
}

impl Client {
    pub fn new(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, read: Vec::new() }
    }

    /// Appends the empty line if `head` is only lines.
    pub fn send(&mut self, head: &str) {
        self.stream.write_all(head.as_bytes()).unwrap();
    }

    pub fn get(&mut self, path: &str) -> Reply {
        self.send(&get(path));
        self.reply()
    }

    fn more(&mut self) -> usize {
        let mut chunk = [0; 64 * 1024];
        match uninterrupted(|| self.stream.read(&mut chunk)) {
            Ok(read) => {
                self.read.extend_from_slice(&chunk[..read]);
                read
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => 0,
            Err(error) => panic!("no answer in time: {error}"),
        }
    }

    /// The next head alone.
    pub fn head(&mut self) -> Reply {
        loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
                let status = head.get(9..12).and_then(|status| status.parse().ok());
                return Reply { status: status.unwrap_or_else(|| panic!("{head}")), head, body: Vec::new() };
            }
            assert!(self.more() > 0, "closed within a head: {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    pub fn reply(&mut self) -> Reply {
        let mut reply = self.head();
        let len = reply.field("content-length").map_or(0, |len| len.parse().unwrap());
        reply.body = self.body(len);
        reply
    }

    pub fn body(&mut self, len: usize) -> Vec<u8> {
        while self.read.len() < len {
            assert!(self.more() > 0, "closed after {} of {len} bytes", self.read.len());
        }
        self.read.drain(..len).collect()
    }

    /// Everything until the server closes, and whether it did so with FIN.
    pub fn rest(mut self) -> (Vec<u8>, bool) {
        let mut chunk = [0; 64 * 1024];
        loop {
            match uninterrupted(|| self.stream.read(&mut chunk)) {
                Ok(0) => return (self.read, true),
                Ok(read) => self.read.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return (self.read, false),
                Err(error) => panic!("not closed in time: {error}"),
            }
        }
    }

    pub fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

/// A signal to the test's process is no answer.
fn uninterrupted(mut read: impl FnMut() -> std::io::Result<usize>) -> std::io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: origin\r\n\r\n")
}
