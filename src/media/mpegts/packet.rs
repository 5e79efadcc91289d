//! Transport stream packets (ISO/IEC 13818-1 §2.4.3): where they begin in a run of bytes, and what their headers say.

use crate::base::limits;

use super::Error;

/// Bytes of a packet without what some systems put before or behind it.
pub const SIZE: usize = 188;
pub const SYNC: u8 = 0x47;
/// Distances from packet to packet: plain, with four bytes of arrival time before it (Blu-ray), with 16 of Reed-Solomon code
/// behind it.
const STRIDES: [usize; 3] = [188, 192, 204];
/// What is looked at before a place is taken for the beginning of a packet: three sync bytes at the largest distance.
const WINDOW: usize = 2 * 204 + 1;

/// Finds packets in bytes that arrive in pieces of any size.
#[derive(Debug, Default)]
pub struct Framing {
    buffer: Vec<u8>,
    /// Distance to the next packet, once it is known.
    stride: Option<usize>,
    /// Bytes between this packet and the next that have not arrived yet.
    skip: usize,
    /// Bytes thrown away in search of packets, since the last was found.
    garbage: usize,
}

/// What [`Framing`] finds.
pub enum Step<'a> {
    Packet(&'a [u8; SIZE]),
    /// Packets do not follow each other any more: some are lost.
    Lost,
}

impl Framing {
    /// Calls `step` for each packet that is complete.
    pub fn push(&mut self, bytes: &[u8], mut step: impl FnMut(Step<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.buffer.extend_from_slice(&bytes[skipped..]);
        let buffer = std::mem::take(&mut self.buffer);
        let mut at = 0;
        let result = self.walk(&buffer, &mut at, WINDOW, &mut step);
        self.keep(buffer, at);
        result
    }

    /// Nothing follows for now: what is left is taken for packets if it looks like some.
    pub fn flush(&mut self, mut step: impl FnMut(Step<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let buffer = std::mem::take(&mut self.buffer);
        let mut at = 0;
        let result = self.walk(&buffer, &mut at, SIZE, &mut step);
        *self = Framing::default();
        result
    }

    /// Walks as far as `buffer` reaches, where a beginning is only searched for if `window` bytes are there.
    fn walk(
        &mut self,
        buffer: &[u8],
        at: &mut usize,
        window: usize,
        step: &mut impl FnMut(Step<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        while let Some(rest) = buffer.get(*at..) {
            let Some(stride) = self.stride else {
                if rest.len() < window {
                    break;
                }
                self.stride = stride_at(rest);
                if self.stride.is_none() {
                    if self.garbage == limits::TS_GARBAGE_BYTES_MAX {
                        let found = rest.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
                        return Err(Error::NoPackets { searched: self.garbage, found });
                    }
                    (*at, self.garbage) = (*at + 1, self.garbage + 1);
                }
                continue;
            };
            if rest.first().is_some_and(|&first| first != SYNC) {
                self.stride = None;
                step(Step::Lost)?;
                continue;
            }
            let Some(packet) = rest.first_chunk::<SIZE>() else { break };
            self.garbage = 0;
            *at += stride;
            step(Step::Packet(packet))?;
        }
        Ok(())
    }

    fn keep(&mut self, mut buffer: Vec<u8>, at: usize) {
        self.skip += at.saturating_sub(buffer.len());
        buffer.drain(..at.min(buffer.len()));
        self.buffer = buffer;
    }
}

/// The distance of packets, if one begins here: as many sync bytes as there are places for in the window.
fn stride_at(bytes: &[u8]) -> Option<usize> {
    let is_sync = |at: usize| bytes.get(at).is_none_or(|&byte| byte == SYNC);
    let mut strides = STRIDES.into_iter().filter(|_| bytes.len() >= SIZE && bytes.first() == Some(&SYNC));
    strides.find(|stride| is_sync(*stride) && is_sync(2 * stride))
}

/// A packet's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    pub pid: u16,
    /// The first byte of a PES packet, or a section, begins in the payload.
    pub unit_start: bool,
    pub is_scrambled: bool,
    pub counter: u8,
    /// The continuity counter, and perhaps the clock, may jump here.
    pub discontinuity: bool,
    pub random_access: bool,
    /// Empty if there is none: counters do not advance then.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// `None` if the receiver that wrote it found it damaged (transport_error_indicator), or if its fields contradict each
    /// other.
    pub fn read(bytes: &'a [u8; SIZE]) -> Option<Packet<'a>> {
        let [sync, high, low, control, rest @ ..] = bytes;
        if *sync != SYNC || high & 0x80 != 0 {
            return None;
        }
        let mut payload = &rest[..];
        let mut flags = 0;
        if control & 0x20 != 0 {
            let (&length, tail) = payload.split_first()?;
            let (field, tail) = tail.split_at_checked(usize::from(length))?;
            flags = field.first().copied().unwrap_or(0);
            payload = tail;
        }
        if control & 0x10 == 0 {
            payload = &[];
        }
        Some(Packet {
            pid: u16::from(high & 0x1F) << 8 | u16::from(*low),
            unit_start: high & 0x40 != 0,
            is_scrambled: control & 0xC0 != 0,
            counter: control & 15,
            discontinuity: flags & 0x80 != 0,
            random_access: flags & 0x40 != 0,
            payload,
        })
    }
}

/// What the continuity counter says of a packet (§2.4.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    Next,
    /// Sent twice; the second is to be ignored.
    Repeated,
    Lost,
}

/// The continuity counter of one PID.
#[derive(Debug, Default)]
pub struct Counter {
    last: Option<u8>,
}

impl Counter {
    /// Of a packet with a payload.
    pub fn next(&mut self, packet: &Packet<'_>) -> Continuity {
        let last = self.last.replace(packet.counter);
        match last {
            Some(last) if packet.counter != (last + 1) & 15 => {
                if packet.counter == last && !packet.discontinuity {
                    Continuity::Repeated
                } else {
                    Continuity::Lost
                }
            }
            _ => Continuity::Next,
        }
    }
}
