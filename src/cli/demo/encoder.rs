//! What stands in for an encoder: the imported sample, played over and over as if it were live, over CMAF ingest.

use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cli::Failure;
use crate::library::{Library, State, asset};
use crate::media::isobmff::write::fragment_header;
use crate::media::{Kind, Sample, TrackView};

/// Publishes until it is dropped.
pub struct Encoder {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// One track, as it is played over and over.
pub struct Tape {
    /// As the request names it, with the suffix of its kind.
    name: String,
    header: Vec<u8>,
    timescale: u64,
    /// Ticks after which it begins anew: the same time for all tracks, so that they stay side by side however long it takes.
    length: u64,
    frames: Vec<Frame>,
}

struct Frame {
    /// From the start of the tape.
    time: u64,
    sample: Sample,
    data: Vec<u8>,
}

/// A track's place: how often its tape was played, and what comes next of it.
#[derive(Clone, Copy, Default)]
struct Place {
    round: u64,
    frame: usize,
    fragment: u32,
}

/// Two are enough to see that renditions are switched.
const RENDITIONS: usize = 2;
/// What is sent at once.
const FRAGMENT: Duration = Duration::from_millis(200);
/// So far in the past it begins, so that there is something to go back to at once.
const HEAD_START: Duration = Duration::from_secs(12);
const RETRY_PERIOD: Duration = Duration::from_millis(500);
/// How soon a thread that waits notices that it is to stop.
const STOP_PERIOD: Duration = Duration::from_millis(50);
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

impl Encoder {
    /// A connection and a thread for each track, as CMAF ingest has it.
    pub fn start(ingest: SocketAddr, channel: &str, key: &str, tapes: Vec<Tape>) -> io::Result<Encoder> {
        let mut encoder = Encoder { stop: Arc::default(), threads: Vec::new() };
        let begin = Duration::from_secs(since_1970().saturating_sub(HEAD_START).as_secs());
        for tape in tapes {
            let request = format!(
                "PUT /ingest/{channel}/{} HTTP/1.1\r\nHost: {ingest}\r\nAuthorization: Bearer {key}\r\n\
                 Transfer-Encoding: chunked\r\n\r\n",
                tape.name
            );
            let stop = encoder.stop.clone();
            let run = move || tape.publish(ingest, &request, begin, &stop);
            encoder.threads.push(std::thread::Builder::new().name("encoder".to_owned()).spawn(run)?);
        }
        Ok(encoder)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that has panicked has said so.
            let _ = thread.join();
        }
    }
}

/// The best renditions and all languages of an asset.
pub fn tapes(library: &Library, name: &str) -> Result<Vec<Tape>, Failure> {
    let entry = library.catalog().find(name).cloned().ok_or("the sample is not in the library")?;
    library.load(&entry);
    let State::Open(asset) = entry.state(since_1970().as_secs()) else {
        return Err("the sample cannot be opened".into());
    };
    let presentation = asset.presentation();
    let of = |kind: Kind| presentation.tracks.iter().filter(move |view| view.track.kind() == kind);
    let reference = of(Kind::Video).next().ok_or("the sample has no video")?;
    let length: u64 = reference.samples.iter().map(|sample| u64::from(sample.duration.get())).sum();
    let length = (length, u64::from(reference.track.timescale.per_second()));
    let directory = library.directory(&entry);
    of(Kind::Video)
        .take(RENDITIONS)
        .chain(of(Kind::Audio))
        .map(|view| {
            let path = directory.join(asset::file_name(view.track));
            let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            Tape::new(view, &bytes, length).ok_or_else(|| format!("{}: not as it was imported", path.display()).into())
        })
        .collect()
}

impl Tape {
    /// `length` in ticks of another timescale, which stands behind it. `None`: `bytes` are not the track's file.
    fn new(view: &TrackView<'_>, bytes: &[u8], (length, timescale): (u64, u64)) -> Option<Tape> {
        let own = u64::from(view.track.timescale.per_second());
        let length = length * own / timescale;
        let mut frames = Vec::new();
        for fragment in view.fragments {
            let (mut time, mut at) = (fragment.decode_time.get(), fragment.offset.get() as usize);
            at += fragment.media_offset.get() as usize;
            let first = fragment.first_sample.get() as usize;
            for &sample in view.samples.get(first..first + fragment.sample_count.get() as usize)? {
                let end = at + sample.size.get() as usize;
                // Audio ends a frame or two after the picture: what does not fit is left out.
                if time + u64::from(sample.duration.get()) <= length {
                    frames.push(Frame { time, sample, data: bytes.get(at..end)?.to_vec() });
                }
                (time, at) = (time + u64::from(sample.duration.get()), end);
            }
        }
        let header = bytes.get(..view.init_size as usize)?.to_vec();
        let suffix = if view.track.kind() == Kind::Video { "cmfv" } else { "cmfa" };
        let name = format!("{}.{suffix}", view.track.id);
        (!frames.is_empty()).then_some(Tape { name, header, timescale: own, length, frames })
    }

    /// In real time; `begin` is the media time of the first frame. A connection that breaks is opened again.
    fn publish(&self, ingest: SocketAddr, request: &str, begin: Duration, stop: &AtomicBool) {
        let mut place = Place::default();
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = self.connection(ingest, request, begin, &mut place, stop) {
                tracing::warn!("the sample's encoder: {}: {error}", self.name);
                pause(RETRY_PERIOD, stop);
            }
        }
    }

    /// One request, which lasts until the end or until it breaks; `place` is behind what was sent then.
    fn connection(
        &self,
        ingest: SocketAddr,
        request: &str,
        begin: Duration,
        place: &mut Place,
        stop: &AtomicBool,
    ) -> io::Result<()> {
        let mut stream = TcpStream::connect(ingest)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        stream.write_all(request.as_bytes())?;
        send(&mut stream, &self.header)?;
        let mut fragment = Vec::new();
        loop {
            let mut next = *place;
            let end = self.fragment(begin, &mut next, &mut fragment)?;
            // A frame is there when it has been shown.
            pause(end.saturating_sub(since_1970()), stop);
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            send(&mut stream, &fragment)?;
            *place = next;
        }
    }

    /// What comes next, and when it ends.
    fn fragment(&self, begin: Duration, place: &mut Place, out: &mut Vec<u8>) -> io::Result<Duration> {
        let frames = &self.frames[place.frame..];
        let (start, most) = (frames[0].time, FRAGMENT.as_millis() as u64 * self.timescale / 1000);
        let count = frames.iter().take_while(|frame| frame.time < start + most).count();
        let samples: Vec<Sample> = frames[..count].iter().map(|frame| frame.sample).collect();
        let passed = place.round * self.length;
        place.fragment = place.fragment.wrapping_add(1);
        out.clear();
        fragment_header(place.fragment, begin.as_secs() * self.timescale + passed + start, &samples, out)
            .map_err(io::Error::other)?;
        frames[..count].iter().for_each(|frame| out.extend_from_slice(&frame.data));
        place.frame += count;
        let end = frames.get(count).map_or(self.length, |frame| frame.time);
        if place.frame == self.frames.len() {
            (place.round, place.frame) = (place.round + 1, 0);
        }
        Ok(begin + Duration::from_micros((passed + end) * 1_000_000 / self.timescale))
    }
}

/// A chunk of a request (RFC 9112 §7.1).
fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    stream.write_all(&chunk)
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn pause(time: Duration, stop: &AtomicBool) {
    let mut left = time;
    while !left.is_zero() && !stop.load(Ordering::Relaxed) {
        let step = left.min(STOP_PERIOD);
        std::thread::sleep(step);
        left -= step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_stay_side_by_side_over_thousands_of_rounds() {
        let scratch = super::super::Scratch::new().unwrap();
        let root = scratch.path.join("library");
        super::super::build(&root, &scratch.path.join("media")).unwrap();
        let library = Library::open(&root, crate::library::Options::default()).unwrap();
        let tapes = tapes(&library, super::super::ASSET).unwrap();
        assert_eq!(tapes.len(), 4);
        for tape in &tapes {
            assert_eq!(tape.length, 24 * tape.timescale, "{}", tape.name);
            let duration: u64 = tape.frames.iter().map(|frame| u64::from(frame.sample.duration.get())).sum();
            assert_eq!((tape.frames[0].time, duration), (0, tape.length), "{}: no gap where it begins anew", tape.name);
            let mut place = Place { round: 4_000, ..Place::default() };
            let mut out = Vec::new();
            let mut end = Duration::ZERO;
            while place.round == 4_000 {
                end = tape.fragment(Duration::from_secs(1), &mut place, &mut out).unwrap();
            }
            assert_eq!(end, Duration::from_secs(1 + 4_001 * 24), "{}", tape.name);
        }
    }
}
