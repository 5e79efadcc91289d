//! H.264 and HEVC in MPEG-TS: a byte stream of NAL units (ITU-T H.264 annex B, H.265 annex B) becomes access units whose
//! NAL units stand behind their lengths.
//!
//! Delimiters, filler and parameter sets stay out of the samples; the latter go into the sample entry. SEI messages stay:
//! captions are in them.

use bytes::Bytes;
use memchr::memmem;

use crate::base::{Ticks, Timescale, limits};
use crate::media::codec::NalCodec;
use crate::media::codec::parameter_sets::ParameterSets;
use crate::media::feed::Sample;

use super::Notice;
use super::clock::Times;
use super::sink::Sink;
use super::stamps::{Stamp, Stamps};

/// One elementary stream of video.
#[derive(Debug)]
pub struct Video {
    codec: NalCodec,
    /// From behind the last start code on, or what may be the beginning of the first.
    buffer: Vec<u8>,
    /// Of `buffer`'s first byte in the elementary stream.
    position: u64,
    /// Bytes of `buffer` in which no start code begins.
    scanned: usize,
    /// Where the start code of the unit in `buffer` lies; `None` if there is none yet.
    start: Option<u64>,
    /// Whether it is known which access unit the unit in `buffer` belongs to.
    is_placed: bool,
    stamps: Stamps,
    unit: AccessUnit,
    /// Access units without time stamps, waiting for the next one that has some.
    held: Vec<AccessUnit>,
    held_bytes: usize,
    last: Option<Times>,
    sets: ParameterSets,
    /// The sample entry that was announced.
    entry: Option<Bytes>,
}

#[derive(Debug)]
struct AccessUnit {
    stamp: Stamp,
    /// Whether a unit of it has been seen.
    is_begun: bool,
    /// Whether a slice has been seen, and the first one was the first of a picture.
    slices: Slices,
    is_sync: bool,
    sets: ParameterSets,
    data: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slices {
    None,
    FromFirst,
    /// The beginning is missing.
    FromLater,
}

/// What a NAL unit is to an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Delimiter,
    ParameterSet,
    /// Filler data.
    Filler,
    Slice {
        is_first: bool,
        is_sync: bool,
    },
    /// Comes before the first slice of its access unit.
    Prefix,
    Other,
}

/// Access units in a row without time stamps.
const HELD_MAX: usize = 64;
/// Between access units, if nothing tells: 29.97 a second.
const DEFAULT_STEP: i64 = 3003;

impl AccessUnit {
    fn new(codec: NalCodec) -> AccessUnit {
        AccessUnit {
            stamp: Stamp::default(),
            is_begun: false,
            slices: Slices::None,
            is_sync: false,
            sets: ParameterSets::new(codec),
            data: Vec::new(),
        }
    }
}

impl Video {
    pub fn new(codec: NalCodec) -> Video {
        Video {
            codec,
            buffer: Vec::new(),
            position: 0,
            scanned: 0,
            start: None,
            is_placed: false,
            stamps: Stamps::default(),
            unit: AccessUnit::new(codec),
            held: Vec::new(),
            held_bytes: 0,
            last: None,
            sets: ParameterSets::new(codec),
            entry: None,
        }
    }

    /// A PES packet begins with the bytes that come next.
    pub fn begin(&mut self, stamp: Stamp) {
        self.stamps.begin(self.position + self.buffer.len() as u64, stamp);
    }

    pub fn push(&mut self, bytes: &[u8], sink: &mut Sink<'_>) {
        self.buffer.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut self.buffer);
        let (mut rest, mut scanned) = (&buffer[..], self.scanned);
        loop {
            let found = memmem::find(&rest[scanned..], &[0, 0, 1]).map(|at| scanned + at);
            let (unit, is_whole) = match found {
                Some(at) => (&rest[..at], true),
                None => (rest, false),
            };
            self.place(unit, is_whole, sink);
            let Some(at) = found else { break };
            self.complete(unit);
            self.start = Some(self.position + at as u64);
            self.is_placed = false;
            self.position += at as u64 + 3;
            (rest, scanned) = (&rest[at + 3..], 0);
        }
        self.scanned = rest.len().saturating_sub(2);
        let used = buffer.len() - rest.len();
        self.buffer = buffer;
        self.buffer.drain(..used);
        if self.buffer.len() + self.unit.data.len() > limits::ACCESS_UNIT_BYTES_MAX {
            sink.refuse(format!("an access unit of more than {} bytes", limits::ACCESS_UNIT_BYTES_MAX));
            self.lose();
        }
    }

    /// Nothing follows for now: what has arrived is complete.
    pub fn flush(&mut self, sink: &mut Sink<'_>) {
        let buffer = std::mem::take(&mut self.buffer);
        self.place(&buffer, true, sink);
        self.complete(&buffer);
        self.finish(sink);
        self.release(None, sink);
        self.restart(buffer.len());
    }

    /// Something is missing: the access unit in progress is given up.
    pub fn lose(&mut self) {
        self.unit = AccessUnit::new(self.codec);
        self.restart(self.buffer.len());
    }

    fn restart(&mut self, skipped: usize) {
        self.position += skipped as u64;
        self.buffer.clear();
        (self.scanned, self.start, self.is_placed) = (0, None, false);
        self.stamps.clear();
    }

    /// As soon as it can be told, decides whether the unit begins another access unit.
    fn place(&mut self, unit: &[u8], is_whole: bool, sink: &mut Sink<'_>) {
        let Some(start) = self.start.filter(|_| !self.is_placed) else { return };
        // Header and the first bit of a slice.
        let needed = if self.codec == NalCodec::Avc { 2 } else { 3 };
        if unit.len() < needed && !is_whole {
            return;
        }
        self.is_placed = true;
        let role = self.role(unit);
        let begins = match role {
            Role::Delimiter => true,
            Role::ParameterSet | Role::Prefix | Role::Slice { is_first: true, .. } => self.unit.slices != Slices::None,
            Role::Slice { .. } | Role::Filler | Role::Other => false,
        };
        if begins {
            self.finish(sink);
        }
        if !self.unit.is_begun {
            (self.unit.is_begun, self.unit.stamp) = (true, self.stamps.take(start));
        }
    }

    /// Puts a whole unit into the access unit.
    fn complete(&mut self, unit: &[u8]) {
        if self.start.is_none() {
            return;
        }
        // trailing_zero_8bits and the zero_byte of the next start code.
        let end = unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let unit = &unit[..end];
        match self.role(unit) {
            _ if unit.is_empty() => return,
            Role::Delimiter | Role::Filler => return,
            Role::ParameterSet => return self.unit.sets.add(unit),
            Role::Slice { is_first, is_sync } => {
                self.unit.is_sync |= is_sync;
                if self.unit.slices == Slices::None {
                    self.unit.slices = if is_first { Slices::FromFirst } else { Slices::FromLater };
                }
            }
            Role::Prefix | Role::Other => {}
        }
        // At most ACCESS_UNIT_BYTES_MAX.
        self.unit.data.extend_from_slice(&(unit.len() as u32).to_be_bytes());
        self.unit.data.extend_from_slice(unit);
    }

    fn finish(&mut self, sink: &mut Sink<'_>) {
        let unit = std::mem::replace(&mut self.unit, AccessUnit::new(self.codec));
        if unit.slices != Slices::FromFirst {
            self.sets.update(unit.sets);
            return;
        }
        match unit.stamp.times {
            Some(times) => {
                self.release(Some(times), sink);
                self.emit(unit, times, sink);
            }
            // Without a time to count from there is nothing to go by.
            None if self.last.is_none() => {}
            None => {
                self.held_bytes += unit.data.len();
                self.held.push(unit);
                if self.held.len() == HELD_MAX || self.held_bytes > limits::ACCESS_UNIT_BYTES_MAX {
                    self.release(None, sink);
                }
            }
        }
    }

    /// Spreads the access units without time stamps evenly up to the next that has one. They are shown as late after
    /// decoding as the one before them.
    fn release(&mut self, next: Option<Times>, sink: &mut Sink<'_>) {
        let held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        let Some(last) = self.last.filter(|_| !held.is_empty()) else { return };
        let steps = held.len() as i64 + 1;
        let span = next.map(|next| next.decode.saturating_sub(last.decode));
        let span = span.filter(|span| (steps..=steps * 90_000).contains(span)).unwrap_or(steps * DEFAULT_STEP);
        for (at, unit) in (1..).zip(held) {
            let shift = span * at / steps;
            let times = Times {
                decode: last.decode.saturating_add(shift),
                presentation: last.presentation.saturating_add(shift),
            };
            self.emit(unit, times, sink);
        }
    }

    fn emit(&mut self, unit: AccessUnit, times: Times, sink: &mut Sink<'_>) {
        self.last = Some(times);
        if !unit.sets.is_empty() {
            let before = self.sets.clone();
            self.sets.update(unit.sets);
            if self.sets != before && self.sets.is_complete() {
                self.announce(sink);
            }
        }
        if self.entry.is_none() {
            return;
        }
        sink.sample(Sample {
            decode_time: Ticks(times.decode),
            composition_offset: i32::try_from(times.presentation - times.decode).unwrap_or(0),
            duration: None,
            is_sync: unit.is_sync || unit.stamp.random_access,
            data: unit.data.into(),
        });
    }

    fn announce(&mut self, sink: &mut Sink<'_>) {
        match self.sets.sample_entry() {
            Ok(entry) if self.entry.as_deref() == Some(&entry) => {}
            Ok(entry) => {
                let entry = Bytes::from(entry);
                self.entry = Some(entry.clone());
                sink.track(Timescale::MPEG, entry);
            }
            Err(error) => {
                self.entry = None;
                sink.notices.add(Notice::ParameterSets { pid: sink.track.pid, error });
            }
        }
    }

    fn role(&self, unit: &[u8]) -> Role {
        let Some(&header) = unit.first() else { return Role::Other };
        match self.codec {
            // ITU-T H.264 §7.4.1.2.3: what begins an access unit; table 7-1. A prefix unit (14) may stand before any slice.
            NalCodec::Avc => match header & 0x1F {
                kind @ (1 | 2 | 5) => {
                    // first_mb_in_slice is 0: one bit.
                    let is_first = unit.get(1).is_some_and(|byte| byte >> 7 == 1);
                    Role::Slice { is_first, is_sync: kind == 5 }
                }
                6 | 15..=18 => Role::Prefix,
                7 | 8 => Role::ParameterSet,
                9 => Role::Delimiter,
                12 => Role::Filler,
                _ => Role::Other,
            },
            // ITU-T H.265 §7.4.2.4.4; units of other layers belong to the access unit of the base layer.
            NalCodec::Hevc => {
                let is_base = header & 1 == 0 && unit.get(1).is_some_and(|byte| byte >> 3 == 0);
                match header >> 1 & 0x3F {
                    _ if !is_base => Role::Other,
                    kind @ 0..=31 => {
                        // first_slice_segment_in_pic_flag
                        let is_first = unit.get(2).is_some_and(|byte| byte >> 7 == 1);
                        Role::Slice { is_first, is_sync: (16..=23).contains(&kind) }
                    }
                    32..=34 => Role::ParameterSet,
                    35 => Role::Delimiter,
                    38 => Role::Filler,
                    39 | 41..=44 | 48..=55 => Role::Prefix,
                    _ => Role::Other,
                }
            }
        }
    }
}
