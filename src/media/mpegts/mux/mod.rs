//! Transport streams as they go out: a segment of HLS from the samples of its tracks (RFC 8216bis §3.1.1).
//!
//! Every segment is made by itself, from nothing but its own samples and its place among the others, and continues the one
//! before: time stamps are presentation time and [`OFFSET`], continuity counters run on because each segment has a multiple
//! of 16 packets with payload of each PID ([`packets::Pid`]), the clock goes on at the pace of decode times. So any server
//! makes the same bytes, in any order.

mod access_unit;
mod packets;
mod tables;
#[cfg(test)]
mod tests;

use crate::media::codec::NalCodec;
use crate::media::codec::elementary::{Elementary, MpegLayer};

use super::packed::OWNER;
use packets::{Marks, Pid, pes_header};
use tables::{AUDIO_PID, Row, VIDEO_PID};

/// Time stamp of presentation time 0, in 90 kHz: 10 s, so that what is decoded before it (priming, reordered pictures) has
/// time stamps above 0, and the clock too.
pub const OFFSET: i64 = 900_000;
/// How long before its decode time an access unit has arrived, in 90 kHz.
const LEAD: i64 = 45_000;
/// Longest distance of clock references, in 90 kHz: 0.1 s (ISO/IEC 13818-1 §2.7.2), less what is lost by rounding.
const CLOCK_PERIOD: i64 = 8_910;
/// Where nothing happens for longer, the clock jumps: the longest segment that can be configured, many times over.
const SILENCE_MAX: i64 = 600 * 90_000;
/// Sound in a PES packet: its packets are filled well, and it does not wait long for its last frame.
const AUDIO_PES_BYTES: usize = 2_800;
const AUDIO_PES_TICKS: i64 = 18_000;

const VIDEO_STREAM: u8 = 0xE0;
const AUDIO_STREAM: u8 = 0xC0;
/// private_stream_1: Dolby (ETSI TS 101 154 annex).
const PRIVATE_STREAM: u8 = 0xBD;

/// One sample. Times are presentation time in 90 kHz; negative before its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit<'a> {
    pub decode: i64,
    pub presentation: i64,
    pub duration: i64,
    /// Whether decoding can start here.
    pub random_access: bool,
    pub data: &'a [u8],
}

/// A track, as far as the tables name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    pub elementary: Elementary,
    /// ISO 639-2, three letters.
    pub language: Option<[u8; 3]>,
}

/// One track's share of a segment.
pub struct Share<'a> {
    pub stream: Stream,
    /// By decode time. Empty where the track has nothing.
    pub units: Vec<Unit<'a>>,
}

/// Where a segment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Segments before it.
    pub ordinal: u64,
    /// Decode times it reaches from and to, for the clock.
    pub start: i64,
    pub end: i64,
    /// How much earlier than its pictures its sound begins, where the two are cut apart: 0 in most. Both arrive as if they began
    /// together, so that no sound comes after its decode time.
    pub apart: i64,
}

/// Makes one segment, a little at a time.
pub struct Muxer<'a> {
    video: Queue<'a>,
    audio: Queue<'a>,
    rows: Vec<Row>,
    place: Place,
    /// The last clock reference; `None` before the first.
    clock: Option<i64>,
    is_begun: bool,
    /// A PES packet.
    scratch: Vec<u8>,
}

struct Queue<'a> {
    stream: Option<Stream>,
    units: Vec<Unit<'a>>,
    next: usize,
    pid: Pid,
}

impl<'a> Muxer<'a> {
    pub fn new(video: Share<'a>, audio: Option<Share<'a>>, place: Place) -> Muxer<'a> {
        let mut rows = vec![row(VIDEO_PID, &video.stream)];
        rows.extend(audio.as_ref().map(|audio| row(AUDIO_PID, &audio.stream)));
        Muxer {
            video: Queue::new(Some(video), VIDEO_PID),
            audio: Queue::new(audio, AUDIO_PID),
            rows,
            place,
            clock: None,
            is_begun: false,
            scratch: Vec::new(),
        }
    }

    /// Appends what comes next: the tables, a clock reference or a PES packet. `false` when there is nothing left.
    pub fn advance(&mut self, out: &mut Vec<u8>) -> bool {
        if !self.is_begun {
            self.is_begun = true;
            tables::write(out, &self.rows, self.place.ordinal);
            return true;
        }
        let video = self.video.peek().map(|unit| unit.decode);
        let audio = self.audio.peek().map(|unit| unit.presentation.saturating_add(self.place.apart));
        let next = video.unwrap_or(self.place.end);
        let due = match self.clock {
            // A segment that begins with a picture has its first clock reference there.
            None => {
                let is_late = |decode: i64| decode > self.place.start || audio.is_some_and(|audio| audio < decode);
                video.is_none_or(is_late).then_some(self.place.start)
            }
            Some(last) if next.saturating_sub(last) > SILENCE_MAX => None,
            Some(last) => (next.saturating_sub(last) > CLOCK_PERIOD).then(|| last.saturating_add(CLOCK_PERIOD)),
        };
        let is_next = |time: i64, other: Option<i64>| other.is_none_or(|other| time <= other);
        match (due, video, audio) {
            (Some(time), _, _) if self.clock.is_none() || is_next(time, video) && is_next(time, audio) => {
                let arrives = self.arrives(time);
                self.video.pid.clock(out, arrives);
                self.clock = Some(time);
            }
            (_, Some(time), _) if is_next(time, audio) => self.push_video(out),
            (_, _, Some(_)) => self.push_audio(out),
            _ => return false,
        }
        true
    }

    /// What the clock says where pictures with that decode time come.
    fn arrives(&self, decode: i64) -> i64 {
        decode.saturating_sub(self.place.apart).saturating_add(OFFSET - LEAD)
    }

    fn push_video(&mut self, out: &mut Vec<u8>) {
        let Some((unit, is_last)) = self.video.take() else { return };
        let next = self.video.peek().map_or(self.place.end, |next| next.decode);
        let is_due = self.clock.is_none_or(|last| next.saturating_sub(last) > CLOCK_PERIOD);
        let marks = Marks { clock: is_due.then(|| self.arrives(unit.decode)), random_access: unit.random_access };
        if is_due {
            self.clock = Some(unit.decode);
        }
        let (presentation, decode) = (unit.presentation.saturating_add(OFFSET), unit.decode.saturating_add(OFFSET));
        self.scratch.clear();
        pes_header(&mut self.scratch, VIDEO_STREAM, presentation, (decode != presentation).then_some(decode), None);
        if let Some(Stream { elementary: Elementary::Nal(config), .. }) = &self.video.stream {
            access_unit::write(&mut self.scratch, config, unit.data, unit.random_access);
        }
        self.video.pid.pes(out, &self.scratch, marks, is_last);
    }

    /// Frames that follow each other at the pace of the first, in one PES packet: only its first time is written.
    fn push_audio(&mut self, out: &mut Vec<u8>) {
        let Some(stream) = self.audio.stream.take() else { return };
        let (first, count, size) = self.audio.frames(&stream.elementary);
        let presentation = first.presentation.saturating_add(OFFSET);
        self.scratch.clear();
        let stream_id = match stream.elementary {
            Elementary::Ac3 | Elementary::Eac3 => PRIVATE_STREAM,
            _ => AUDIO_STREAM,
        };
        pes_header(&mut self.scratch, stream_id, presentation, None, Some(size));
        let mut is_last = false;
        for _ in 0..count {
            let Some((unit, last)) = self.audio.take() else { break };
            push_frame(&mut self.scratch, &stream.elementary, unit.data);
            is_last = last;
        }
        self.audio.pid.pes(out, &self.scratch, Marks { clock: None, random_access: true }, is_last);
        self.audio.stream = Some(stream);
    }
}

impl<'a> Queue<'a> {
    fn new(share: Option<Share<'a>>, pid: u16) -> Queue<'a> {
        let (stream, mut units) = match share {
            Some(share) => (Some(share.stream), share.units),
            None => (None, Vec::new()),
        };
        if let Some(Stream { elementary, .. }) = &stream {
            units.retain(|unit| frame_size(elementary, unit.data).is_some());
        }
        Queue { stream, units, next: 0, pid: Pid::new(pid) }
    }

    fn peek(&self) -> Option<&Unit<'a>> {
        self.units.get(self.next)
    }

    /// And whether it is the last.
    fn take(&mut self) -> Option<(Unit<'a>, bool)> {
        let unit = *self.units.get(self.next)?;
        self.next += 1;
        Some((unit, self.next == self.units.len()))
    }

    /// The next frame, how many go into a PES packet with it, and their bytes.
    fn frames(&self, elementary: &Elementary) -> (Unit<'a>, usize, usize) {
        let rest = self.units.get(self.next..).unwrap_or_default();
        let Some(first) = rest.first() else { return (Unit::EMPTY, 0, 0) };
        let (mut count, mut size) = (0, 0);
        for unit in rest {
            let bytes = frame_size(elementary, unit.data).unwrap_or(0);
            let elapsed = unit.presentation.saturating_sub(first.presentation);
            // One tick less or more is how lengths round.
            let follows = elapsed.abs_diff(first.duration.saturating_mul(count as i64)) <= count as u64;
            if count > 0 && (size + bytes > AUDIO_PES_BYTES || elapsed > AUDIO_PES_TICKS || !follows) {
                break;
            }
            (count, size) = (count + 1, size + bytes);
        }
        (*first, count, size)
    }
}

impl Unit<'_> {
    const EMPTY: Unit<'static> = Unit { decode: 0, presentation: 0, duration: 0, random_access: false, data: &[] };
}

/// Bytes of a frame of audio as it is carried; `None` if it cannot be: one that is empty, or longer than its header or a
/// PES packet can say. Video has no such limits.
fn frame_size(elementary: &Elementary, sample: &[u8]) -> Option<usize> {
    const PES_PAYLOAD_MAX: usize = u16::MAX as usize - 3 - 10;
    let size = match elementary {
        Elementary::Nal(_) => return Some(sample.len()),
        Elementary::Aac(adts) if !sample.is_empty() => adts.frame_size(sample.len())?,
        _ => sample.len(),
    };
    (1..=PES_PAYLOAD_MAX).contains(&size).then_some(size)
}

/// Appends a frame of audio as it stands in a transport stream, and in packed audio (RFC 8216bis §3.1.3).
pub fn push_frame(out: &mut Vec<u8>, elementary: &Elementary, sample: &[u8]) {
    match elementary {
        Elementary::Aac(adts) => adts.push_frame(out, sample),
        _ => out.extend_from_slice(sample),
    }
}

/// The tag that a segment of packed audio begins with (RFC 8216bis §3.1.3); `time` as in [`Unit`].
pub fn timestamp_tag(time: i64) -> Vec<u8> {
    const BODY: u8 = OWNER.len() as u8 + 1 + 8;
    let stamp = (time.saturating_add(OFFSET) & packets::STAMP_MASK) as u64;
    let mut tag = Vec::with_capacity(20 + usize::from(BODY));
    tag.extend_from_slice(&[b'I', b'D', b'3', 4, 0, 0, 0, 0, 0, 10 + BODY]);
    tag.extend_from_slice(&[b'P', b'R', b'I', b'V', 0, 0, 0, BODY, 0, 0]);
    tag.extend_from_slice(OWNER.as_bytes());
    tag.push(0);
    tag.extend_from_slice(&stamp.to_be_bytes());
    tag
}

/// stream_type (ISO/IEC 13818-1 table 2-34; of Dolby's, those of ATSC A/53 part 3, as HLS wants them).
fn row(pid: u16, stream: &Stream) -> Row {
    let (stream_type, registration) = match &stream.elementary {
        Elementary::Nal(nal) if nal.codec == NalCodec::Avc => (0x1B, None),
        Elementary::Nal(_) => (0x24, Some(*b"HEVC")),
        Elementary::Aac(_) => (0x0F, None),
        Elementary::Ac3 => (0x81, Some(*b"AC-3")),
        Elementary::Eac3 => (0x87, Some(*b"EAC3")),
        Elementary::Mpeg(MpegLayer::One) => (0x03, None),
        Elementary::Mpeg(MpegLayer::Two) => (0x04, None),
    };
    Row { pid, stream_type, registration, language: stream.language }
}
