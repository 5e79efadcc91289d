//! Splice information sections (ANSI/SCTE 35 §9): when a splice is to happen. The section goes on whole.

use crate::media::codec::Bits;

/// What a mark needs to know of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splice {
    /// pts_time and pts_adjustment, 33 bits in 90 kHz; `None` is at once.
    pub stamp: Option<u64>,
    /// In 90 kHz.
    pub duration: Option<u64>,
}

const TABLE: u8 = 0xFC;
// splice_command_type (table 7).
const INSERT: u32 = 5;
const TIME_SIGNAL: u32 = 6;
const PRIVATE: u32 = 0xFF;
// splice_descriptor_tag
const SEGMENTATION: u8 = 2;

impl Splice {
    /// `None` for what is no mark: heartbeats (splice_null), schedules by wall clock, sections cut short or encrypted.
    pub fn read(section: &[u8]) -> Option<Splice> {
        if section.first() != Some(&TABLE) {
            return None;
        }
        let mut bits = Bits::new(section.get(3..section.len().checked_sub(4)?)?);
        bits.skip(8)?; // protocol_version
        if bits.flag()? {
            return None; // encrypted_packet
        }
        bits.skip(6)?;
        let adjustment = stamp(&mut bits)?;
        bits.skip(8 + 12)?; // cw_index, tier
        let length = bits.take(12)?;
        let command = bits.take(8)?;
        let mut after = bits.clone();
        let (time, mut duration) = match command {
            INSERT => insert(&mut bits)?,
            TIME_SIGNAL => (splice_time(&mut bits)?, None),
            PRIVATE => (None, None),
            _ => return None,
        };
        // Until 2013 the length of the command could be left open.
        if length != 0xFFF {
            after.skip(length * 8)?;
        } else {
            after = bits;
            after.align();
        }
        duration = duration.or_else(|| segmentation_duration(after));
        Some(Splice { stamp: time.map(|time| (time + adjustment) & 0x1_FFFF_FFFF), duration })
    }
}

/// `splice_insert` (§9.7.3): time and duration.
fn insert(bits: &mut Bits<'_>) -> Option<(Option<u64>, Option<u64>)> {
    bits.skip(32)?; // splice_event_id
    // splice_event_cancel_indicator
    let is_cancelled = bits.flag()?;
    bits.skip(7)?;
    if is_cancelled {
        return Some((None, None));
    }
    bits.skip(1)?; // out_of_network_indicator
    let (program, has_duration, immediate) = (bits.flag()?, bits.flag()?, bits.flag()?);
    bits.skip(4)?;
    let mut time = None;
    if program {
        if !immediate {
            time = splice_time(bits)?;
        }
    } else {
        // Components that are spliced at times of their own: the first counts.
        for _ in 0..bits.take(8)? {
            bits.skip(8)?;
            if !immediate {
                let component = splice_time(bits)?;
                time = time.or(component);
            }
        }
    }
    let mut duration = None;
    if has_duration {
        bits.skip(1 + 6)?; // auto_return
        duration = Some(stamp(bits)?);
    }
    bits.skip(16 + 8 + 8)?; // unique_program_id, avail_num, avails_expected
    Some((time, duration))
}

fn splice_time(bits: &mut Bits<'_>) -> Option<Option<u64>> {
    // time_specified_flag
    if bits.flag()? {
        bits.skip(6)?;
        return Some(Some(stamp(bits)?));
    }
    bits.skip(7)?;
    Some(None)
}

/// The first that a segmentation descriptor (§10.3.3) states.
fn segmentation_duration(bits: Bits<'_>) -> Option<u64> {
    let mut bits = bits;
    let mut left = bits.take(16)? as usize;
    while left >= 2 {
        let (tag, length) = (bits.byte()?, u32::from(bits.byte()?));
        left = left.checked_sub(2 + length as usize)?;
        let mut body = bits.clone();
        bits.skip(8 * length)?;
        if tag == SEGMENTATION {
            let mut read = || {
                body.skip(32 + 32)?; // identifier, segmentation_event_id
                if body.flag()? {
                    return None; // segmentation_event_cancel_indicator
                }
                body.skip(7)?;
                let (program, has_duration) = (body.flag()?, body.flag()?);
                body.skip(6)?;
                if !program {
                    let components = body.take(8)?;
                    body.skip(48 * components)?;
                }
                if !has_duration {
                    return None;
                }
                Some(u64::from(body.take(8)?) << 32 | u64::from(body.take(32)?))
            };
            if let Some(duration) = read() {
                return Some(duration);
            }
        }
    }
    None
}

fn stamp(bits: &mut Bits<'_>) -> Option<u64> {
    Some(u64::from(bits.take(1)?) << 32 | u64::from(bits.take(32)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::mpegts::section;

    fn section(base64ish: &str) -> Vec<u8> {
        let digits = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        base64ish.as_bytes().chunks(2).map(digits).collect()
    }

    #[test]
    fn sections() {
        // The examples of ANSI/SCTE 35 §14: time_signal with a placement opportunity of 307 s, splice_insert of 60.293 s.
        let time_signal = "fc3034000000000000fffff00506fe72bd0050001e021c435545494800008e7fcf0001a599b00808000000002ca0a18a3402009ac9d17e";
        let insert =
            "fc302f000000000000fffff014054800008f7feffe7369c02efe0052ccf500000000000a0008435545490000013562dba30a";
        for (hex, stamp, duration) in
            [(time_signal, Some(0x72BD_0050), Some(0x1A5_99B0)), (insert, Some(0x7369_C02E), Some(0x52_CCF5))]
        {
            let section = section(hex);
            assert_eq!(section::crc(&section), 0);
            assert_eq!(Splice::read(&section), Some(Splice { stamp, duration }));
        }
        let null = section("fc301100000000000000fffff0000000007a4fbf00");
        assert_eq!(Splice::read(&null), None);
    }

    #[test]
    fn the_adjustment_wraps() {
        let mut section = section(
            "fc302f000000000000fffff014054800008f7feffe7369c02efe0052ccf500000000000a0008435545490000013562dba30a",
        );
        section[4] |= 1; // 2^32 …
        section[14 + 6] |= 1; // … on a time of 2^32 and more.
        assert_eq!(Splice::read(&section).unwrap().stamp, Some(0x7369_C02E));
    }

    proptest! {
        #[test]
        fn nothing_from_outside_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), command in 0..8_u8) {
            let _ = Splice::read(&bytes);
            if bytes.len() > 14 {
                (bytes[0], bytes[4], bytes[13]) = (TABLE, 0, command);
                let _ = Splice::read(&bytes);
            }
        }
    }
}
