//! The access log: one line a request, written off the workers.
//!
//! The line is the combined format with the duration in microseconds at its end:
//!
//! ```text
//! 192.0.2.7 - - [22/Nov/2026:19:30:05 +0000] "GET /vod/a/index.m3u8 HTTP/1.1" 200 1312 "-" "AppleCoreMedia/1.0" 184
//! ```
//!
//! Bytes are those of head and body that were queued. Whatever a client sent is in quotes, and in it everything but printable
//! ASCII, and quotes and backslashes, is written `\xHH`: no request can end a line or a field.
//!
//! A worker gathers lines and hands them over once a tick, or when there are many. If the writer cannot keep up, lines are
//! dropped and counted; workers never wait for it. The file is opened anew when it was moved away.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use crate::base::limits;
use crate::http::request::{Method, Version};
use crate::http::{Request, Status};

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Stdout,
    /// Appended to.
    File(PathBuf),
}

/// The part of a line that is known when the request is read.
pub(super) struct Entry {
    peer: IpAddr,
    /// `"GET /path?query HTTP/1.1"`, quoted.
    request: String,
    /// `"referer" "user agent"`, quoted.
    client: String,
}

impl Entry {
    pub(super) fn new(peer: IpAddr, request: &Request<'_>) -> Entry {
        let method = match request.method {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
            Method::Other(other) => other,
        };
        let version = match request.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        };
        let mut line = String::with_capacity(64 + request.path.len());
        let query = request.query.map_or([""; 2], |query| ["?", query]);
        quote(&mut line, &[method, " ", request.path, query[0], query[1], " ", version]);
        let mut client = String::new();
        quote(&mut client, &[request.referer.unwrap_or("-")]);
        client.push(' ');
        quote(&mut client, &[request.user_agent.unwrap_or("-")]);
        Entry { peer, request: line, client }
    }

    /// For a head that could not be read.
    pub(super) fn unreadable(peer: IpAddr) -> Entry {
        Entry { peer, request: "\"-\"".to_owned(), client: "\"-\" \"-\"".to_owned() }
    }

    fn write(&self, out: &mut String, date: &[u8], status: Status, bytes: u64, micros: u64) {
        let Entry { peer, request, client } = self;
        let _ = write!(out, "{peer} - - [");
        write_time(out, date);
        let _ = writeln!(out, "] {request} {} {bytes} {client} {micros}", status.0);
    }
}

fn quote(out: &mut String, parts: &[&str]) {
    out.push('"');
    for byte in parts.iter().flat_map(|part| part.bytes()) {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                let _ = write!(out, "\\x{byte:02X}");
            }
            _ => out.push(char::from(byte)),
        }
    }
    out.push('"');
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as `06/Nov/1994:08:49:37 +0000`.
fn write_time(out: &mut String, date: &[u8]) {
    let field = |range: std::ops::Range<usize>| std::str::from_utf8(date.get(range).unwrap_or_default()).unwrap_or("-");
    let _ = write!(out, "{}/{}/{}:{} +0000", field(5..7), field(8..11), field(12..16), field(17..25));
}

/// One worker's end.
pub(super) struct AccessLog {
    sender: SyncSender<String>,
    lines: RefCell<String>,
    dropped: Cell<u64>,
}

impl AccessLog {
    /// Handed over when so much has come together.
    const BATCH_BYTES: usize = 32 * 1024;

    pub(super) fn new(sender: SyncSender<String>) -> AccessLog {
        AccessLog { sender, lines: RefCell::default(), dropped: Cell::new(0) }
    }

    /// `date` is the value of a `Date` field.
    pub(super) fn write(&self, entry: &Entry, date: &[u8], status: Status, bytes: u64, micros: u64) {
        let mut lines = self.lines.borrow_mut();
        if lines.len() >= limits::ACCESS_LOG_BYTES_MAX {
            self.dropped.set(self.dropped.get() + 1);
            return;
        }
        entry.write(&mut lines, date, status, bytes, micros);
        let full = lines.len() >= Self::BATCH_BYTES;
        drop(lines);
        if full {
            self.hand_over();
        }
    }

    /// Lines dropped since the last call.
    pub(super) fn take_dropped(&self) -> u64 {
        self.dropped.take()
    }

    pub(super) fn hand_over(&self) {
        let mut lines = self.lines.borrow_mut();
        if lines.is_empty() {
            return;
        }
        match self.sender.try_send(std::mem::take(&mut *lines)) {
            Ok(()) => {}
            // Kept, up to the limit: the next tick tries again.
            Err(TrySendError::Full(unsent)) => *lines = unsent,
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}

/// Starts the writer; it ends when every sender is gone.
pub(super) fn start(destination: &Destination) -> io::Result<(SyncSender<String>, JoinHandle<()>)> {
    /// Batches on their way.
    const QUEUED: usize = 64;
    let (sender, receiver) = sync_channel(QUEUED);
    let mut sink = Sink::open(destination)?;
    let writer = thread::Builder::new().name("access-log".to_owned()).spawn(move || write_all(&mut sink, &receiver))?;
    Ok((sender, writer))
}

fn write_all(sink: &mut Sink, batches: &Receiver<String>) {
    let mut failing = false;
    for batch in batches {
        let result = sink.write(batch.as_bytes());
        if let (Err(error), false) = (&result, failing) {
            tracing::error!(%error, "access log: lines are lost");
        }
        failing = result.is_err();
    }
}

enum Sink {
    Stdout,
    File { path: PathBuf, file: File },
}

impl Sink {
    fn open(destination: &Destination) -> io::Result<Sink> {
        Ok(match destination {
            Destination::Stdout => Sink::Stdout,
            Destination::File(path) => Sink::File { path: path.clone(), file: append(path)? },
        })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Sink::Stdout => io::stdout().lock().write_all(lines),
            Sink::File { path, file } => {
                // logrotate moves the file away and expects a new one.
                let here = std::fs::metadata(&*path).ok().map(|found| (found.dev(), found.ino()));
                let ours = file.metadata()?;
                if here != Some((ours.dev(), ours.ino())) {
                    *file = append(path)?;
                }
                file.write_all(lines)
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

    #[test]
    fn no_request_can_break_a_line() {
        let mut out = String::new();
        quote(&mut out, &["a\"b", "\\", "c\nd\u{7f}é "]);
        assert_eq!(out, r#""a\x22b\x5Cc\x0Ad\x7F\xC3\xA9 ""#);
    }

    #[test]
    fn a_line() {
        let mut out = String::new();
        Entry::unreadable("2001:db8::1".parse().unwrap()).write(&mut out, DATE, Status(400), 120, 37);
        assert_eq!(out, "2001:db8::1 - - [06/Nov/1994:08:49:37 +0000] \"-\" 400 120 \"-\" \"-\" 37\n");
    }

    #[test]
    fn a_slow_writer_loses_lines_and_not_time() {
        let (sender, receiver) = sync_channel(1);
        let log = AccessLog::new(sender);
        let entry = Entry::unreadable("127.0.0.1".parse().unwrap());
        let mut written = 0;
        while log.dropped.get() == 0 {
            log.write(&entry, DATE, Status(400), 1, 1);
            written += 1;
            assert!(written < 100_000);
        }
        assert_eq!(log.take_dropped(), 1);
        let first = receiver.recv().unwrap();
        log.hand_over();
        let lines = first.lines().count() + receiver.recv().unwrap().lines().count();
        assert_eq!(lines, written - 1);
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
        let mut sink = Sink::open(&Destination::File(path.clone())).unwrap();
        sink.write(b"one\n").unwrap();
        std::fs::rename(&path, &moved).unwrap();
        sink.write(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    }
}
