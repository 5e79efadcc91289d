//! Audio in MPEG-TS: frames that say how long they are, several of them in a PES packet and across its borders.
//!
//! Times count in audio samples, not in 90 kHz: time stamps are rounded to 1/90 000 s, while frames follow each other
//! without gaps. A frame whose time stamp is within a millisecond of where the frame before it ends follows it exactly;
//! any other says where it is. So nothing is lost, and nothing drifts.

use crate::base::units::rescale_nearest;
use crate::base::{Ticks, Timescale};
use crate::media::codec::audio_frame::{Config, EAC3_SAMPLES, Found, Framed, Header};
use crate::media::codec::opus::packet_samples;
use crate::media::feed::Sample;

use super::Notice;
use super::sink::Sink;
use super::stamps::{Stamp, Stamps};

/// How frames are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Own(Framed),
    /// Behind the control headers of Opus in MPEG-TS (ETSI TS 103 491 §4); only the program map says how many channels.
    Opus {
        channels: u8,
    },
}

/// One elementary stream of audio.
#[derive(Debug)]
pub struct Audio {
    framing: Framing,
    buffer: Vec<u8>,
    /// Of `buffer`'s first byte in the elementary stream.
    position: u64,
    /// Whether `buffer` begins where a frame ended.
    is_aligned: bool,
    stamps: Stamps,
    /// Of the next frame if it follows the last, in audio samples.
    next: Option<Ticks>,
    /// What was announced.
    announced: Option<(Config, Timescale)>,
    /// Syncframes of E-AC-3 that make one sample together.
    group: Option<Group>,
    is_refused: bool,
}

#[derive(Debug)]
struct Group {
    header: Header,
    stamp: Stamp,
    data: Vec<u8>,
}

/// How far a time stamp may be from where the last frame ends, in 90 kHz: time stamps that came through milliseconds are
/// off by as much.
const JITTER_MAX: u64 = 91;
/// What is looked at to confirm that a frame begins, where none ended.
const HEADER_BYTES: usize = 16;

impl Audio {
    pub fn new(framing: Framing) -> Audio {
        Audio {
            framing,
            buffer: Vec::new(),
            position: 0,
            is_aligned: false,
            stamps: Stamps::default(),
            next: None,
            announced: None,
            group: None,
            is_refused: false,
        }
    }

    /// A PES packet begins with the bytes that come next.
    pub fn begin(&mut self, stamp: Stamp) {
        self.stamps.begin(self.position + self.buffer.len() as u64, stamp);
    }

    pub fn push(&mut self, bytes: &[u8], sink: &mut Sink<'_>) {
        self.walk(bytes, false, sink);
    }

    /// Nothing follows for now: what has arrived is complete.
    pub fn flush(&mut self, sink: &mut Sink<'_>) {
        self.walk(&[], true, sink);
        self.release(sink);
        self.restart();
    }

    /// Something is missing: the frame in progress is given up, and the next needs a time stamp.
    pub fn lose(&mut self) {
        (self.next, self.group) = (None, None);
        self.restart();
    }

    fn restart(&mut self) {
        self.position += self.buffer.len() as u64;
        self.buffer.clear();
        self.is_aligned = false;
        self.stamps.clear();
    }

    fn walk(&mut self, bytes: &[u8], is_last: bool, sink: &mut Sink<'_>) {
        if self.is_refused {
            return;
        }
        self.buffer.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = &buffer[..];
        while !rest.is_empty() {
            let is_expected = self.is_aligned || self.stamps.begins_at(self.position);
            let header = match self.find(rest) {
                Found::More => break,
                Found::Frame(header) => header,
                Found::Unsupported(found) if is_expected => {
                    self.is_refused = true;
                    sink.refuse(found);
                    return;
                }
                Found::Junk | Found::Unsupported(_) => {
                    self.is_aligned = false;
                    (rest, self.position) = (&rest[1..], self.position + 1);
                    continue;
                }
            };
            if !is_expected {
                // Any bytes may look like a header: another must follow.
                match rest.get(header.size..).filter(|next| next.len() >= HEADER_BYTES) {
                    Some(next) if !matches!(self.find(next), Found::Frame(_)) => {
                        (rest, self.position) = (&rest[1..], self.position + 1);
                        continue;
                    }
                    None if !is_last => break,
                    _ => {}
                }
            }
            let Some((frame, tail)) = rest.split_at_checked(header.size) else { break };
            let stamp = self.stamps.take(self.position);
            self.frame(header, stamp, &frame[header.stripped..], sink);
            self.is_aligned = true;
            (rest, self.position) = (tail, self.position + frame.len() as u64);
        }
        // What stays is less than a frame, or, where none is confirmed yet, a frame and a header.
        self.buffer = rest.to_vec();
    }

    fn find(&self, bytes: &[u8]) -> Found {
        match self.framing {
            Framing::Own(framed) => framed.find(bytes),
            Framing::Opus { channels } => opus(bytes, channels),
        }
    }

    fn frame(&mut self, header: Header, stamp: Stamp, data: &[u8], sink: &mut Sink<'_>) {
        if !matches!(header.config, Config::Eac3 { .. }) {
            self.release(sink);
            return self.emit(Group { header, stamp, data: data.to_vec() }, sink);
        }
        let is_full = self.group.as_ref().is_some_and(|group| group.header.samples >= EAC3_SAMPLES);
        if header.samples > 0 && is_full {
            self.release(sink);
        }
        match &mut self.group {
            Some(group) => {
                group.header.samples += header.samples;
                group.header.config = group.header.config.with(header.config);
                group.data.extend_from_slice(data);
                // Substreams without end; real ones are sixteen at most.
                if group.data.len() > 64 * 1024 {
                    self.group = None;
                }
            }
            None if header.samples > 0 => self.group = Some(Group { header, stamp, data: data.to_vec() }),
            None => {}
        }
    }

    fn release(&mut self, sink: &mut Sink<'_>) {
        if let Some(group) = self.group.take() {
            self.emit(group, sink);
        }
    }

    fn emit(&mut self, group: Group, sink: &mut Sink<'_>) {
        let Group { header: Header { sample_rate, samples, config, .. }, stamp, data } = group;
        let Some(scale) = Timescale::new(sample_rate) else { return };
        if self.announced != Some((config, scale)) {
            if self.announced.is_some_and(|(_, before)| before != scale) {
                self.next = None;
            }
            let bit_rate = data.len() as u64 * 8 * u64::from(sample_rate) / u64::from(samples.max(1));
            match config.sample_entry(bit_rate.min(u32::MAX.into()) as u32) {
                Ok(entry) => sink.track(scale, entry),
                Err(error) => {
                    self.is_refused = true;
                    return sink.notices.add(Notice::ParameterSets { pid: sink.track.pid, error });
                }
            }
            self.announced = Some((config, scale));
        }
        let stamped = stamp.times.map(|times| Ticks(times.presentation));
        let decode_time = match (stamped, self.next) {
            (None, None) => return,
            (None, Some(next)) => next,
            (Some(stamped), next) => {
                let follows = next.filter(|&next| {
                    let expected = rescale_nearest(next, scale, Timescale::MPEG);
                    expected.is_some_and(|expected| expected.0.abs_diff(stamped.0) <= JITTER_MAX)
                });
                let Some(time) = follows.or_else(|| rescale_nearest(stamped, Timescale::MPEG, scale)) else { return };
                time
            }
        };
        self.next = Some(Ticks(decode_time.0.saturating_add(samples.into())));
        sink.sample(Sample {
            decode_time,
            composition_offset: 0,
            duration: Some(samples),
            is_sync: true,
            data: data.into(),
        });
    }
}

/// `opus_control_header` (ETSI TS 103 491 §4.3) and the first byte of the packet behind it.
fn opus(bytes: &[u8], channels: u8) -> Found {
    let mut header = bytes.iter().copied();
    let (Some(first), Some(flags)) = (header.next(), header.next()) else { return Found::More };
    if first != 0x7F || flags & 0xE0 != 0xE0 {
        return Found::Junk;
    }
    let (mut size, mut stripped) = (0, 2);
    loop {
        let Some(byte) = header.next() else { return Found::More };
        (size, stripped) = (size + usize::from(byte), stripped + 1);
        if byte != 0xFF {
            break;
        }
        // A packet of 120 ms at the highest rate is below 8 KB, a multistream below 64 KB.
        if size > 64 * 1024 {
            return Found::Junk;
        }
    }
    stripped += [0, 2][usize::from(flags >> 4 & 1)] + [0, 2][usize::from(flags >> 3 & 1)];
    if flags & 4 != 0 {
        let Some(&length) = bytes.get(stripped) else { return Found::More };
        stripped += 1 + usize::from(length);
    }
    let Some(start) = bytes.get(stripped..stripped + 2) else { return Found::More };
    let Some(samples) = packet_samples(start).filter(|_| size > 0) else { return Found::Junk };
    let config = Config::Opus { channels, pre_skip: 0 };
    Found::Frame(Header { size: stripped + size, stripped, sample_rate: 48_000, samples, config })
}
