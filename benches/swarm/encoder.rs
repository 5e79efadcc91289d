//! An encoder that needs no camera: video whose every byte follows from its stream and its frame number, sent over CMAF
//! ingest in real time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use headwater::base::Timescale;
use headwater::media::codec::make;
use headwater::media::fragment::Sample;
use headwater::media::isobmff::write;
use headwater::media::track::Kind;
use nix::poll::{PollFd, PollFlags, PollTimeout};

pub const FRAMES_PER_SECOND: u64 = 30;
/// Half a second.
pub const PART_FRAMES: u64 = 15;
/// Two seconds; the first frame is a key frame.
pub const SEGMENT_FRAMES: u64 = 60;
pub const PUBLISH_KEY: &str = "swarm";
const TIMESCALE: u32 = 90_000;
const FRAME_TICKS: u32 = TIMESCALE / FRAMES_PER_SECOND as u32;
/// AVCDecoderConfigurationRecord: constrained baseline, 320×180.
const AVC: [u8; 38] = [
    0x01, 0x42, 0xc0, 0x0c, 0xff, 0xe1, 0x00, 0x17, 0x67, 0x42, 0xc0, 0x0c, 0xda, 0x05, 0x06, 0x7e, 0x7c, 0x04, 0x40,
    0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0c, 0x83, 0xc5, 0x0a, 0xa8, 0x01, 0x00, 0x04, 0x68, 0xce, 0x0f, 0xc8,
];

/// One rendition of one channel.
#[derive(Clone, Debug)]
pub struct Stream {
    /// What the encoder calls it.
    pub rendition: String,
    /// Tells its bytes from all others'.
    pub seed: u64,
    pub bits_per_second: u64,
}

impl Stream {
    pub fn header(&self) -> Result<Vec<u8>> {
        let sample_entry = make::avc_entry(&AVC, 320, 180);
        Ok(write::header(&write::Header {
            timescale: Timescale::new(TIMESCALE).context("a timescale")?,
            sample_entry: &sample_entry,
            kind: Kind::Video,
            language: "und",
            name: None,
            media_start: 0,
            width: 320,
            height: 180,
            matrix: Default::default(),
            default_duration: FRAME_TICKS,
            fragment_duration_hint: None,
        }))
    }

    /// Appends the chunk of a part's frames.
    pub fn chunk(&self, first: u64, out: &mut Vec<u8>) -> Result<()> {
        let frames = first..first + PART_FRAMES;
        let samples: Vec<Sample> = frames
            .clone()
            .map(|frame| Sample {
                size: (self.frame_bytes() as u32).into(),
                duration: FRAME_TICKS.into(),
                composition_offset: 0.into(),
                flags: if is_key(frame) { 0x0200_0000 } else { 0x0101_0000 }.into(),
            })
            .collect();
        let sequence = (first / PART_FRAMES % u64::from(u32::MAX)) as u32;
        write::fragment_header(sequence, first * u64::from(FRAME_TICKS), &samples, out)?;
        for frame in frames {
            let [length, head, noise] = self.frame(frame);
            out.extend_from_slice(&length);
            out.extend_from_slice(&head);
            out.extend_from_slice(&noise);
        }
        Ok(())
    }

    /// Whether these are all bytes of the frame.
    pub fn is_frame(&self, frame: u64, data: &[u8]) -> bool {
        let [length, head, noise] = self.frame(frame);
        data.strip_prefix(&*length).and_then(|rest| rest.strip_prefix(&*head)) == Some(&*noise)
    }

    /// All frames are of one size, so that all parts are.
    fn frame_bytes(&self) -> u64 {
        (self.bits_per_second / 8 / FRAMES_PER_SECOND).clamp(64, FRAME_BYTES_MAX)
    }

    /// The length of the NAL unit, its head with the frame's number, and noise that begins at a place of its own.
    fn frame(&self, frame: u64) -> [std::borrow::Cow<'static, [u8]>; 3] {
        let size = self.frame_bytes();
        let length = (size - 4) as u32;
        let unit = if is_key(frame) { 0x65 } else { 0x41 };
        let head = [&[unit][..], format!("{:08x}{frame:016x}", self.seed as u32).as_bytes()].concat();
        let noise = size as usize - 4 - head.len();
        let place = mixed(self.seed << 32 ^ frame) as usize % NOISE_PLACES;
        [length.to_be_bytes().to_vec().into(), head.into(), (&NOISE[place..place + noise]).into()]
    }
}

pub fn is_key(frame: u64) -> bool {
    frame.is_multiple_of(SEGMENT_FRAMES)
}

/// When a frame is taken, since 1970.
fn time_of(frame: u64) -> Duration {
    Duration::from_secs(frame / FRAMES_PER_SECOND)
        + Duration::from_secs(frame % FRAMES_PER_SECOND) / FRAMES_PER_SECOND as u32
}

/// The frame that a decode time is of, if it is the time of one.
pub fn frame_at(ticks: i64, timescale: Timescale) -> Option<u64> {
    let (ticks, scale) = (u128::try_from(ticks).ok()?, u128::from(timescale.per_second()));
    let frames = ticks * u128::from(FRAMES_PER_SECOND);
    frames.is_multiple_of(scale).then(|| (frames / scale) as u64)
}

const FRAME_BYTES_MAX: u64 = 1 << 18;
const NOISE_PLACES: usize = 1 << 20;
/// Without zeros: no start codes and nothing to escape.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0..(NOISE_PLACES as u64 + FRAME_BYTES_MAX) / 8)
        .flat_map(|word| mixed(word).to_le_bytes())
        .map(|byte| byte.max(1))
        .collect()
});

/// The finaliser of SplitMix64.
fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// A channel being published, until it is stopped.
pub struct Encoder {
    pub streams: Vec<Stream>,
    pub log: Arc<Log>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// When what was sent.
#[derive(Default)]
pub struct Log(Mutex<Sent>);

#[derive(Default)]
struct Sent {
    /// Of the first chunk: which part of all time it is.
    first: u64,
    /// Of each stream and part: right before the last bytes of its chunk were written.
    parts: Vec<Vec<Instant>>,
    /// How much later than due a round of chunks was written, at worst.
    late: Duration,
}

impl Log {
    /// The first chunk is of this part of all time.
    pub fn begin(&self, first: u64, streams: usize) {
        let mut sent = self.0.lock().expect("no holder panics");
        (sent.first, sent.parts) = (first, vec![Vec::new(); streams]);
    }

    /// The next chunk of a stream.
    pub fn push(&self, stream: usize, at: Instant) {
        self.0.lock().expect("no holder panics").parts[stream].push(at);
    }

    /// When the chunk that ends with this frame was handed to the kernel.
    pub fn sent(&self, stream: usize, last_frame: u64) -> Option<Instant> {
        let sent = self.0.lock().expect("no holder panics");
        let part = (last_frame / PART_FRAMES).checked_sub(sent.first)?;
        sent.parts.get(stream)?.get(part as usize).copied()
    }

    pub fn late(&self) -> Duration {
        self.0.lock().expect("no holder panics").late
    }

    /// The first frame, and the one behind the last.
    pub fn frames(&self) -> (u64, u64) {
        let sent = self.0.lock().expect("no holder panics");
        let count = sent.parts.iter().map(Vec::len).min().unwrap_or(0) as u64;
        (sent.first * PART_FRAMES, (sent.first + count) * PART_FRAMES)
    }
}

impl Encoder {
    /// `stagger` is how long after a chunk's last frame it is sent: encoders are not all of one clock.
    pub fn start(intake: SocketAddr, channel: &str, streams: Vec<Stream>, stagger: Duration) -> Encoder {
        let (log, stop) = (Arc::<Log>::default(), Arc::<AtomicBool>::default());
        let run = {
            let (channel, streams, log, stop) = (channel.to_owned(), streams.clone(), log.clone(), stop.clone());
            move || publish(intake, &channel, &streams, stagger, &log, &stop)
        };
        let thread = Some(std::thread::spawn(run));
        Encoder { streams, log, stop, thread }
    }

    /// Ends all requests; what the server said of them, if it is not that all is well.
    pub fn stop(mut self) -> Result<()> {
        self.end();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => bail!("the encoder panicked"),
        }
    }

    /// At the end of the segment.
    fn end(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Stops all of them at once.
pub fn stop_all(encoders: Vec<Encoder>) -> Result<()> {
    encoders.iter().for_each(Encoder::end);
    encoders.into_iter().try_for_each(Encoder::stop)
}

impl Drop for Encoder {
    fn drop(&mut self) {
        self.end();
    }
}

fn publish(
    intake: SocketAddr,
    channel: &str,
    streams: &[Stream],
    stagger: Duration,
    log: &Log,
    stop: &AtomicBool,
) -> Result<()> {
    let mut requests = Vec::new();
    for stream in streams {
        requests
            .push(Request::begin(intake, channel, stream).with_context(|| format!("{channel}/{}", stream.rendition))?);
    }
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let started = Instant::now();
    let now = (wall.as_nanos() * u128::from(FRAMES_PER_SECOND) / 1_000_000_000) as u64;
    let mut frame = (now / SEGMENT_FRAMES + 1) * SEGMENT_FRAMES;
    log.begin(frame / PART_FRAMES, streams.len());
    let mut chunk = Vec::new();
    // Whole segments: a server completes what an encoder leaves behind, however short.
    while !(stop.load(Ordering::Relaxed) && frame.is_multiple_of(SEGMENT_FRAMES)) {
        let end = time_of(frame + PART_FRAMES) + stagger;
        let due = started + end.saturating_sub(wall);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        for (number, (stream, request)) in streams.iter().zip(&mut requests).enumerate() {
            chunk.clear();
            stream.chunk(frame, &mut chunk)?;
            let at = request.chunk(&chunk).with_context(|| format!("{channel}/{}", stream.rendition))?;
            log.push(number, at);
        }
        let late = due.elapsed();
        let mut sent = log.0.lock().expect("no holder panics");
        sent.late = sent.late.max(late);
        frame += PART_FRAMES;
    }
    requests.into_iter().try_for_each(Request::finish)
}

/// One POST that lasts (DASH-IF Live Media Ingest, interface 1).
struct Request {
    socket: TcpStream,
    /// What goes out next, in the chunked transfer coding.
    framed: Vec<u8>,
}

/// How much of a chunk goes out by itself, at its end: the last bytes of a part.
const LAST_BYTES: usize = 1024;

impl Request {
    fn begin(intake: SocketAddr, channel: &str, stream: &Stream) -> Result<Request> {
        let mut socket = TcpStream::connect(intake)?;
        socket.set_nodelay(true)?;
        let rendition = &stream.rendition;
        write!(
            socket,
            "POST /ingest/{channel}/{rendition}.cmfv HTTP/1.1\r\nHost: {intake}\r\nAuthorization: Bearer {PUBLISH_KEY}\r\n\
             Content-Type: video/mp4\r\nTransfer-Encoding: chunked\r\n\r\n"
        )?;
        let mut request = Request { socket, framed: Vec::new() };
        request.chunk(&stream.header()?)?;
        Ok(request)
    }

    /// Returns when the last bytes were handed to the kernel.
    fn chunk(&mut self, bytes: &[u8]) -> Result<Instant> {
        let readable = &mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        if nix::poll::poll(readable, PollTimeout::ZERO)? > 0 {
            bail!("the request was answered before its end: {}", self.answer()?);
        }
        self.framed.clear();
        write!(self.framed, "{:x}\r\n", bytes.len())?;
        self.framed.extend_from_slice(bytes);
        self.framed.extend_from_slice(b"\r\n");
        let (most, last) = self.framed.split_at(self.framed.len().saturating_sub(LAST_BYTES));
        self.socket.write_all(most)?;
        let at = Instant::now();
        self.socket.write_all(last)?;
        Ok(at)
    }

    fn finish(mut self) -> Result<()> {
        self.socket.write_all(b"0\r\n\r\n")?;
        let answer = self.answer()?;
        ensure!(answer.starts_with("HTTP/1.1 2"), "the encoder's request was answered {answer:?}");
        Ok(())
    }

    fn answer(&mut self) -> Result<String> {
        self.socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut answer = [0; 2048];
        let len = self.socket.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..len]).into_owned())
    }
}
