//! An encoder of two renditions whose every byte is known, over CMAF ingest: a request for each that lasts.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use headwater::base::Timescale;
use headwater::media::codec::make;
use headwater::media::fragment::Sample;
use headwater::media::isobmff::write;
use headwater::media::track::Kind;

pub const KEY: &str = "crash-test";
pub const TRACKS: [&str; 2] = ["high", "low"];
pub const CHUNK_SECONDS: u64 = 2;
/// A key frame begins each.
pub const SEGMENT_CHUNKS: u64 = 2;
const FRAMES: u64 = 8;
const TIMESCALE: u32 = 90_000;
const CHUNK_TICKS: u64 = CHUNK_SECONDS * TIMESCALE as u64;
const FRAME_TICKS: u32 = (CHUNK_TICKS / FRAMES) as u32;
const FRAME_BYTES: u32 = 700;
const LEVELS: [u8; 2] = [12, 13];

/// AVCDecoderConfigurationRecord: constrained baseline, 320×180, of a level that is put in twice.
const AVC: [u8; 38] = [
    0x01, 0x42, 0xc0, 0x00, 0xff, 0xe1, 0x00, 0x17, 0x67, 0x42, 0xc0, 0x00, 0xda, 0x05, 0x06, 0x7e, 0x7c, 0x04, 0x40,
    0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0c, 0x83, 0xc5, 0x0a, 0xa8, 0x01, 0x00, 0x04, 0x68, 0xce, 0x0f, 0xc8,
];

fn header(level: u8) -> Vec<u8> {
    let mut avc = AVC;
    (avc[3], avc[11]) = (level, level);
    write::header(&write::Header {
        timescale: Timescale::new(TIMESCALE).unwrap(),
        sample_entry: &make::avc_entry(&avc, 320, 180),
        kind: Kind::Video,
        language: "und",
        name: None,
        media_start: 0,
        width: 320,
        height: 180,
        matrix: Default::default(),
        default_duration: FRAME_TICKS,
        fragment_duration_hint: None,
    })
}

/// Chunk `number` of all time.
fn chunk(track: usize, number: u64) -> Vec<u8> {
    let is_key = |frame: u64| frame == 0 && number.is_multiple_of(SEGMENT_CHUNKS);
    let samples: Vec<Sample> = (0..FRAMES)
        .map(|frame| Sample {
            size: FRAME_BYTES.into(),
            duration: FRAME_TICKS.into(),
            composition_offset: 0.into(),
            flags: if is_key(frame) { 0x0200_0000 } else { 0x0101_0000 }.into(),
        })
        .collect();
    let mut bytes = Vec::new();
    write::fragment_header(number as u32, number * CHUNK_TICKS, &samples, &mut bytes).unwrap();
    for frame in 0..FRAMES {
        bytes.extend_from_slice(&(FRAME_BYTES - 4).to_be_bytes());
        bytes.push(if is_key(frame) { 0x65 } else { 0x41 });
        let seed = (number << 8 | frame << 4 | track as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Without zeros: no start codes and nothing to escape.
        bytes.extend((0..FRAME_BYTES as u64 - 5).map(|at| (seed.rotate_left(at as u32) ^ at) as u8 | 1));
    }
    bytes
}

/// A connection for each track; none that has broken.
pub struct Encoder {
    intake: SocketAddr,
    /// What the first track's header says.
    level: u8,
    requests: [Option<TcpStream>; TRACKS.len()],
}

impl Encoder {
    pub fn new(intake: SocketAddr) -> Encoder {
        Encoder { intake, level: LEVELS[0], requests: [None, None] }
    }

    /// Sends chunk `number` of a track, in a new request if there is none.
    pub fn send(&mut self, track: usize, number: u64) -> io::Result<()> {
        let sent = self.begun(track).and_then(|socket| frame(socket, &chunk(track, number)));
        if sent.is_err() {
            self.requests[track] = None;
        }
        sent
    }

    /// The next request of the first track has another header.
    pub fn change(&mut self) {
        self.level = LEVELS[1];
        // Its end is told before the next one begins, or the two would be of two encoders.
        if let Some(mut socket) = self.requests[0].take() {
            let _ = finish(&mut socket);
        }
    }

    /// Forgets connections to a server that is gone.
    pub fn hang_up(&mut self) {
        self.requests = [None, None];
    }

    /// Ends the channel: an empty `mfra` (DASH-IF Live Media Ingest §6.2), and the requests.
    pub fn end(&mut self, tracks: usize) -> io::Result<()> {
        for track in 0..tracks {
            let socket = self.begun(track)?;
            frame(socket, b"\0\0\0\x08mfra")?;
        }
        self.requests.iter_mut().flatten().try_for_each(finish)
    }

    fn begun(&mut self, track: usize) -> io::Result<&mut TcpStream> {
        let level = if track == 0 { self.level } else { LEVELS[0] };
        if self.requests[track].is_none() {
            let mut socket = TcpStream::connect(self.intake)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(super::PATIENCE))?;
            write!(
                socket,
                "POST /ingest/news/{}.cmfv HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\
                 Transfer-Encoding: chunked\r\n\r\n",
                TRACKS[track]
            )?;
            frame(&mut socket, &header(level))?;
            self.requests[track] = Some(socket);
        }
        Ok(self.requests[track].as_mut().unwrap())
    }
}

fn frame(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    socket.write_all(&framed)
}

fn finish(socket: &mut TcpStream) -> io::Result<()> {
    socket.write_all(b"0\r\n\r\n")?;
    let mut answer = [0; 512];
    let len = socket.read(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer[..len]);
    match answer.starts_with("HTTP/1.1 2") {
        true => Ok(()),
        false => Err(io::Error::other(format!("the encoder's request was answered {answer:?}"))),
    }
}
