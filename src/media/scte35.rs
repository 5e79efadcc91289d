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
    /// Whether the programme is left; `None` where the command does not say.
    pub is_out: Option<bool>,
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
        let duration = number(bytes.take(5)?) & PTS;
        splice.duration = Some(Timescale::MPEG.duration(Ticks(duration as i64)));
    }
    Ok(())
}

/// The first `segmentation_descriptor` (§10.3.3) of the descriptor loop; one that makes no sense says nothing.
fn segmentation(descriptors: &[u8], splice: &mut Splice) {
    let Some((length, rest)) = descriptors.split_first_chunk::<2>() else { return };
    let mut rest = &rest[..rest.len().min(usize::from(u16::from_be_bytes(*length)))];
    while let Some((&[tag, length], behind)) = rest.split_first_chunk::<2>() {
        let Some((body, behind)) = behind.split_at_checked(usize::from(length)) else { return };
        rest = behind;
        if tag != 2 || !body.starts_with(b"CUEI") || body.len() < 9 {
            continue;
        }
        splice.event = Some(number(&body[4..8]) as u32);
        splice.is_cancelled = body[8] & 0x80 != 0;
        let Some(&flags) = body.get(9).filter(|_| !splice.is_cancelled) else { return };
        let components =
            if flags & 0x80 == 0 { body.get(10).map_or(0, |count| 1 + 6 * usize::from(*count)) } else { 0 };
        if flags & 0x40 != 0
            && let Some(duration) = body.get(10 + components..15 + components)
        {
            splice.duration = Some(Timescale::MPEG.duration(Ticks(number(duration) as i64)));
        }
        return;
    }
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
