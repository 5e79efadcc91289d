//! PES packets, cut into transport stream packets.

use super::super::packet::{SIZE, SYNC};

/// A packet without its header.
const ROOM: usize = SIZE - 4;
/// Continuity counters count modulo this.
const CYCLE: usize = 16;
/// Time stamps are modulo this (ISO/IEC 13818-1 §2.4.3.7).
pub const STAMP_MASK: i64 = (1 << 33) - 1;
/// Bytes that the last PES packet of a run has at least: each of a full cycle of packets needs one.
const PES_BYTES_MIN: usize = CYCLE;

/// The packets of one PID, counted from the start of a segment.
///
/// A segment has a multiple of 16 packets with payload in each PID: so counters begin with 0 in every segment and go on
/// from each to the next, although each is made by itself.
#[derive(Clone, Copy, Debug)]
pub struct Pid {
    number: u16,
    counter: usize,
}

/// What stands in the adaptation field of a PES packet's first transport packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// program_clock_reference, in 90 kHz.
    pub clock: Option<i64>,
    /// random_access_indicator
    pub random_access: bool,
}

impl Pid {
    pub fn new(number: u16) -> Pid {
        Pid { number, counter: 0 }
    }

    /// Appends a PES packet; `is_last` is of the segment, and rounds the count of packets up: what the last of them would
    /// hold is spread over more.
    pub fn pes(&mut self, out: &mut Vec<u8>, pes: &[u8], marks: Marks, is_last: bool) {
        let field = marks.size();
        let mut count = (pes.len() + field).div_ceil(ROOM);
        if is_last {
            count = (self.counter + count).next_multiple_of(CYCLE) - self.counter;
        }
        out.reserve(count * SIZE);
        let (mut rest, mut marks, mut unit_start) = (pes, marks, 0x40);
        for left in (0..count).rev() {
            let field = marks.size();
            // Those behind it get a byte each.
            let size = (ROOM - field).min(rest.len().saturating_sub(left));
            let (now, later) = rest.split_at(size);
            let control = if size == ROOM { 0x10 } else { 0x30 };
            self.header(out, unit_start, control | (self.counter % CYCLE) as u8);
            if size < ROOM {
                marks.write(out, ROOM - size);
            }
            out.extend_from_slice(now);
            self.counter += 1;
            (rest, marks, unit_start) = (later, Marks::default(), 0);
        }
    }

    /// Appends a packet without payload, which continuity counters do not count (§2.4.3.3).
    pub fn clock(self, out: &mut Vec<u8>, clock: i64) {
        self.header(out, 0, 0x20 | (self.counter.wrapping_sub(1) % CYCLE) as u8);
        Marks { clock: Some(clock), random_access: false }.write(out, ROOM);
    }

    fn header(self, out: &mut Vec<u8>, unit_start: u8, control: u8) {
        out.extend_from_slice(&[SYNC, unit_start | (self.number >> 8) as u8, self.number as u8, control]);
    }
}

impl Marks {
    /// Of the adaptation field they need.
    fn size(self) -> usize {
        match self.clock {
            Some(_) => 8,
            None if self.random_access => 2,
            None => 0,
        }
    }

    /// An adaptation field of `size` bytes, which is enough.
    fn write(self, out: &mut Vec<u8>, size: usize) {
        let end = out.len() + size;
        out.push(size as u8 - 1);
        if size > 1 {
            let random_access = u8::from(self.random_access) << 6;
            out.push(random_access | u8::from(self.clock.is_some()) << 4);
        }
        if let Some(clock) = self.clock {
            // 33 bits in 90 kHz, six reserved ones, nine in 27 MHz.
            let base = (clock & STAMP_MASK) as u64;
            out.extend_from_slice(&(base >> 1).to_be_bytes()[4..]);
            out.extend_from_slice(&[(base as u8) << 7 | 0x7E, 0]);
        }
        out.resize(end, 0xFF);
    }
}

/// Appends the header of a PES packet (§2.4.3.6), aligned to the access unit in it. Times in 90 kHz, wrapped here;
/// `decode` only where it differs. `payload`: bytes that follow, `None` if that is not said, as only video may.
pub fn pes_header(out: &mut Vec<u8>, stream_id: u8, presentation: i64, decode: Option<i64>, payload: Option<usize>) {
    let stamps = if decode.is_some() { 10 } else { 5 };
    let stuffing = payload.map_or(0, |payload| PES_BYTES_MIN.saturating_sub(9 + stamps + payload));
    let length = payload.map_or(0, |payload| 3 + stamps + stuffing + payload);
    out.extend_from_slice(&[0, 0, 1, stream_id]);
    out.extend_from_slice(&u16::try_from(length).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&[0x84, if decode.is_some() { 0xC0 } else { 0x80 }, (stamps + stuffing) as u8]);
    match decode {
        Some(decode) => {
            stamp(out, 3, presentation);
            stamp(out, 1, decode);
        }
        None => stamp(out, 2, presentation),
    }
    out.resize(out.len() + stuffing, 0xFF);
}

fn stamp(out: &mut Vec<u8>, mark: u8, time: i64) {
    let time = time & STAMP_MASK;
    out.extend_from_slice(&[
        mark << 4 | (time >> 29) as u8 & 0x0E | 1,
        (time >> 22) as u8,
        (time >> 14) as u8 | 1,
        (time >> 7) as u8,
        (time << 1) as u8 | 1,
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::mpegts::packet::Packet;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn payloads_come_back_and_counters_end_a_cycle(
            sizes in proptest::collection::vec(16..2_000_usize, 1..12),
            marks in any::<(Option<u32>, bool)>(),
        ) {
            let marks = Marks { clock: marks.0.map(i64::from), random_access: marks.1 };
            let (mut out, mut pid) = (Vec::new(), Pid::new(0x1ABC));
            for (at, &size) in sizes.iter().enumerate() {
                pid.pes(&mut out, &vec![at as u8; size], marks, at + 1 == sizes.len());
            }
            let mut found: Vec<Vec<u8>> = Vec::new();
            for (at, packet) in out.chunks(SIZE).enumerate() {
                let packet = Packet::read(packet.first_chunk().unwrap()).unwrap();
                prop_assert_eq!((packet.pid, usize::from(packet.counter)), (0x1ABC, at % CYCLE));
                prop_assert!(!packet.payload.is_empty());
                if packet.unit_start {
                    prop_assert_eq!(packet.random_access, marks.random_access);
                    found.push(Vec::new());
                }
                found.last_mut().unwrap().extend_from_slice(packet.payload);
            }
            prop_assert_eq!(out.len() / SIZE % CYCLE, 0);
            let want: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(at, &size)| vec![at as u8; size]).collect();
            prop_assert_eq!(found, want);
        }
    }

    #[test]
    fn clocks_do_not_count() {
        let (mut out, mut pid) = (Vec::new(), Pid::new(0x100));
        pid.clock(&mut out, -1);
        assert_eq!(out[..12], [0x47, 0x01, 0x00, 0x2F, 183, 0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0]);
        pid.pes(&mut out, &[0; 16], Marks::default(), false);
        pid.clock(&mut out, 1);
        let counters: Vec<u8> = out.chunks(SIZE).map(|packet| packet[3] & 15).collect();
        assert_eq!((out.len(), counters), (3 * SIZE, vec![15, 0, 0]));
    }
}
