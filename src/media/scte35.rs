//! What a `splice_info_section` of ANSI/SCTE 35 says, as far as a playlist needs to know: when, for how long, which event.

use std::time::Duration;

use thiserror::Error;

use crate::base::{Ticks, Timescale};

/// A splice command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Splice {
    /// `splice_command_type` (§9.6.1, table 7).
    pub command: u8,
    /// A heartbeat that means nothing.
    pub is_null: bool,
    /// `splice_event_id`, or that of the first segmentation descriptor.
    pub event: Option<u32>,
    /// On the encoder's 90 kHz clock, `pts_adjustment` added: 33 bits. `None`: at once.
    pub time: Option<Ticks>,
    pub duration: Option<Duration>,
    /// Whether the programme is left, or come back to; `None` where the command says neither.
    pub is_out: Option<bool>,
    /// Whether what a `splice_insert` leaves for is over after its duration, and no other command has to say so
    /// (`auto_return`, §9.8.2). Not of one whose components are spliced at times of their own: those end at several.
    pub returns_by_itself: bool,
    pub is_cancelled: bool,
}

/// Why a section cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error("a splice section of {found} bytes; expected {expected} or more")]
    Short { found: usize, expected: usize },
    #[error("table {found:#04x}; expected a splice section, 0xfc")]
    Table { found: u8 },
    #[error("an encrypted splice section; expected one in the clear")]
    Encrypted,
}

const NULL: u8 = 0;
const INSERT: u8 = 5;
const TIME_SIGNAL: u8 = 6;
/// Bytes up to the command.
const HEAD: usize = 14;
const PTS: u64 = (1 << 33) - 1;

pub fn read(section: &[u8]) -> Result<Splice, Error> {
    let short = |expected| Error::Short { found: section.len(), expected };
    let head: &[u8; HEAD] = section.first_chunk().ok_or(short(HEAD))?;
    if head[0] != 0xFC {
        return Err(Error::Table { found: head[0] });
    }
    if head[4] & 0x80 != 0 {
        return Err(Error::Encrypted);
    }
    let length = 3 + usize::from(u16::from_be_bytes([head[1] & 0x0F, head[2]]));
    let section = section.get(..length).ok_or(short(length))?;
    // It may say that it is shorter than its head.
    let rest = section.get(HEAD..).ok_or(Error::Short { found: length, expected: HEAD })?;
    let adjustment = u64::from(head[4] & 1) << 32 | number(&head[5..9]);
    let command_length = usize::from(u16::from_be_bytes([head[11] & 0x0F, head[12]]));
    let mut splice = Splice { command: head[13], is_null: head[13] == NULL, ..Splice::default() };
    let mut bytes = Bytes { rest, short: Error::Short { found: length, expected: length + 1 } };
    // 0xfff: not stated, as it was once allowed; then the command is not skipped but read.
    let descriptors = (command_length != 0xFFF).then(|| section.get(HEAD + command_length..)).flatten();
    match splice.command {
        INSERT => insert(&mut bytes, &mut splice)?,
        TIME_SIGNAL => splice.time = bytes.time()?,
        _ => {}
    }
    splice.time = splice.time.map(|time| Ticks(((time.0 as u64).wrapping_add(adjustment) & PTS) as i64));
    if splice.command == TIME_SIGNAL {
        segmentation(descriptors.unwrap_or(bytes.rest), &mut splice);
    }
    Ok(splice)
}

/// `splice_insert` (§9.7.3).
fn insert(bytes: &mut Bytes<'_>, splice: &mut Splice) -> Result<(), Error> {
    splice.event = Some(number(bytes.take(4)?) as u32);
    splice.is_cancelled = bytes.take(1)?[0] & 0x80 != 0;
    if splice.is_cancelled {
        return Ok(());
    }
    let flags = bytes.take(1)?[0];
    let (is_program, has_duration, is_immediate) = (flags & 0x40 != 0, flags & 0x20 != 0, flags & 0x10 != 0);
    splice.is_out = Some(flags & 0x80 != 0);
    if is_program && !is_immediate {
        splice.time = bytes.time()?;
    }
    if !is_program {
        for component in 0..bytes.take(1)?[0] {
            bytes.take(1)?;
            if !is_immediate {
                let time = bytes.time()?;
                splice.time = if component == 0 { time } else { splice.time };
            }
        }
    }
    if has_duration {
        let duration = number(bytes.take(5)?);
        splice.returns_by_itself = flags & 0x80 != 0 && is_program && duration >> 39 & 1 != 0;
        let duration = duration & PTS;
        splice.duration = Some(Timescale::MPEG.duration(Ticks(duration as i64)));
    }
    Ok(())
}

/// The first `segmentation_descriptor` (§10.3.3) of the descriptor loop that says what begins or ends, or else the first; one
/// that makes no sense says nothing.
fn segmentation(descriptors: &[u8], splice: &mut Splice) {
    let Some((length, rest)) = descriptors.split_first_chunk::<2>() else { return };
    let mut rest = &rest[..rest.len().min(usize::from(u16::from_be_bytes(*length)))];
    let mut is_first = true;
    while let Some((&[tag, length], behind)) = rest.split_first_chunk::<2>() {
        let Some((body, behind)) = behind.split_at_checked(usize::from(length)) else { return };
        rest = behind;
        if tag != 2 || !body.starts_with(b"CUEI") || body.len() < 9 {
            continue;
        }
        let mut found = Splice { is_cancelled: body[8] & 0x80 != 0, ..*splice };
        (found.event, found.duration, found.is_out) = (Some(number(&body[4..8]) as u32), None, None);
        if !found.is_cancelled {
            described(body, &mut found);
        }
        if is_first || found.is_out.is_some() {
            *splice = found;
        }
        if splice.is_out.is_some() {
            return;
        }
        is_first = false;
    }
}

/// What a `segmentation_descriptor` that is not cancelled says from its flags on.
fn described(body: &[u8], splice: &mut Splice) {
    let Some(&flags) = body.get(9) else { return };
    let mut at = 10;
    if flags & 0x80 == 0 {
        at += 1 + body.get(at).map_or(0, |count| 6 * usize::from(*count));
    }
    if flags & 0x40 != 0 {
        let Some(duration) = body.get(at..at + 5) else { return };
        splice.duration = Some(Timescale::MPEG.duration(Ticks(number(duration) as i64)));
        at += 5;
    }
    let Some(upid) = body.get(at + 1) else { return };
    // §10.3.3.1: breaks, advertisements and placement opportunities; even begins, odd ends.
    splice.is_out = match body.get(at + 2 + usize::from(*upid)) {
        Some(0x22 | 0x30 | 0x32 | 0x34 | 0x36 | 0x38 | 0x3A) => Some(true),
        Some(0x23 | 0x31 | 0x33 | 0x35 | 0x37 | 0x39 | 0x3B) => Some(false),
        _ => None,
    };
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

struct Bytes<'a> {
    rest: &'a [u8],
    short: Error,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(self.short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// `splice_time` (§9.8.1).
    fn time(&mut self) -> Result<Option<Ticks>, Error> {
        let first = self.take(1)?[0];
        if first & 0x80 == 0 {
            return Ok(None);
        }
        Ok(Some(Ticks((u64::from(first & 1) << 32 | number(self.take(4)?)) as i64)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A section of a command and its descriptors, after §9.6.
    fn section(adjustment: u32, command: u8, body: &[u8], descriptors: &[u8]) -> Vec<u8> {
        let length = 11 + body.len() + 2 + descriptors.len() + 4;
        let mut section = vec![0xFC, 0x30, length as u8, 0, 0];
        section.extend(adjustment.to_be_bytes());
        section.extend([0, 0xFF, 0xF0, body.len() as u8, command]);
        section.extend(body);
        section.extend((descriptors.len() as u16).to_be_bytes());
        section.extend(descriptors);
        section.extend([0; 4]);
        section
    }

    #[test]
    fn commands_are_read() {
        let out = [0, 0, 0, 1, 0x7F, 0xEF, 0xFE, 0, 0, 0xAF, 0xC8, 0xFE, 0, 0x52, 0x65, 0xC0, 0, 1, 0, 0];
        let at_once = [0, 0, 0, 2, 0x7F, 0x5F, 0, 1, 0, 0];
        let segmentation =
            [2, 20, b'C', b'U', b'E', b'I', 0, 0, 0, 7, 0x7F, 0xFF, 0, 0, 0x29, 0x32, 0xE0, 0, 0, 0x34, 0, 0];
        for (name, section, want) in [
            ("null", section(0, 0, &[], &[]), Splice { is_null: true, ..Splice::default() }),
            (
                "insert, out for a minute",
                section(90_000, 5, &out, &[]),
                Splice {
                    command: 5,
                    event: Some(1),
                    time: Some(Ticks(45_000 + 90_000)),
                    duration: Some(Duration::from_secs(60)),
                    is_out: Some(true),
                    returns_by_itself: true,
                    ..Splice::default()
                },
            ),
            (
                "insert, back at once",
                section(0, 5, &at_once, &[]),
                Splice { command: 5, event: Some(2), is_out: Some(false), ..Splice::default() },
            ),
            (
                "insert, cancelled",
                section(0, 5, &[0, 0, 0, 3, 0xFF], &[]),
                Splice { command: 5, event: Some(3), is_cancelled: true, ..Splice::default() },
            ),
            (
                "time signal with a segmentation of thirty seconds",
                section(0, 6, &[0xFE, 0, 0, 0xAF, 0xC8], &segmentation),
                Splice {
                    command: 6,
                    event: Some(7),
                    time: Some(Ticks(45_000)),
                    duration: Some(Duration::from_secs(30)),
                    is_out: Some(true),
                    ..Splice::default()
                },
            ),
        ] {
            assert_eq!(read(&section), Ok(want), "{name}");
            for cut in 0..section.len() {
                assert!(read(&section[..cut]).is_err(), "{name} cut at {cut}");
            }
        }
        assert_eq!(read(&[0x47; 20]), Err(Error::Table { found: 0x47 }));
        let mut brief = [0; 20];
        brief[..3].copy_from_slice(&[0xFC, 0x70, 0]);
        assert_eq!(read(&brief), Err(Error::Short { found: 3, expected: HEAD }));
    }

    #[test]
    fn what_leaves_the_programme_and_what_comes_back() {
        let bytes = |hex: &str| -> Vec<u8> {
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
        };
        for (section, is_out, returns_by_itself) in [
            // The examples of §14: time_signal with placement opportunity start and end, splice_insert out and in.
            (
                "fc3034000000000000fffff00506fe72bd0050001e021c435545494800008e7fcf0001a599b00808000000002ca0a18a3402009ac9d17e",
                Some(true),
                false,
            ),
            (
                "fc302f000000000000fffff00506fe7a4d88b60019021743554549480000087f9f0808000000002ccbc344230000c5cc3d6f",
                Some(false),
                false,
            ),
            (
                "fc302f000000000000fffff014054800008f7feffe7369c02efe0052ccf500000000000a0008435545490000013562dba30a",
                Some(true),
                true,
            ),
            (
                "fc302f000000000000fffff014054800008f7f6ffe7369c02efe0052ccf500000000000a0008435545490000013562dba30a",
                Some(false),
                false,
            ),
            // Out: without auto_return, at once, without a duration.
            (
                "fc302f000000000000fffff014054800008f7feffe7369c02e7e0052ccf500000000000a0008435545490000013562dba30a",
                Some(true),
                false,
            ),
            ("fc302000000000000000fff00f05000000077ffffe00041eb00000000000008c5ae9b5", Some(true), true),
            ("fc301a000000000000fffff00a05000000077fdf000000000000000000", Some(true), false),
        ] {
            let splice = read(&bytes(section)).unwrap();
            assert_eq!((splice.is_out, splice.returns_by_itself), (is_out, returns_by_itself), "{section}");
        }
    }

    #[test]
    fn of_several_segmentations_the_one_that_begins_or_ends_something_counts() {
        let descriptor = |event, kind| [2, 15, b'C', b'U', b'E', b'I', 0, 0, 0, event, 0x7F, 0x9F, 0, 0, kind, 0, 0];
        let both = [descriptor(1, 0x10), descriptor(2, 0x35)].concat();
        let splice = read(&section(0, 6, &[0xFE, 0, 0, 0, 1], &both)).unwrap();
        assert_eq!((splice.event, splice.is_out), (Some(2), Some(false)));
        let neither = [descriptor(1, 0x10), descriptor(2, 0x11)].concat();
        let splice = read(&section(0, 6, &[0xFE, 0, 0, 0, 1], &neither)).unwrap();
        assert_eq!((splice.event, splice.is_out), (Some(1), None));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
            let mut section = vec![0xFC, 0x30, bytes.len() as u8];
            section.extend(&bytes);
            let _ = read(&section);
        }
    }
}
