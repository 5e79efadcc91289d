//! What an SCTE 35 section asks for, as far as the two manifests name it (ANSI/SCTE 35 §9.6, §9.7, §10.3.3).

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Splice {
    /// Out of the network: an opportunity begins.
    Out,
    /// Back into the network: an opportunity ends.
    In,
    /// Anything else, and what is malformed or encrypted.
    Other,
}

const SPLICE_INSERT: u8 = 0x05;
const TIME_SIGNAL: u8 = 0x06;
const SEGMENTATION_DESCRIPTOR: u8 = 0x02;
const CUEI: [u8; 4] = *b"CUEI";

/// `section` is a whole `splice_info_section`.
pub(super) fn splice(section: &[u8]) -> Splice {
    parse(section).unwrap_or(Splice::Other)
}

/// Whether the opportunity that a `splice_insert` begins ends after its duration, and no other command has to say so
/// (`auto_return`, §9.8.2).
pub(super) fn returns_by_itself(section: &[u8]) -> bool {
    splice(section) == Splice::Out && auto_return(section).unwrap_or(false)
}

fn auto_return(section: &[u8]) -> Option<bool> {
    let command = section.get(14..)?;
    let flags = *command.get(5)?;
    let (is_program, has_duration, is_immediate) = (flags & 0x40 != 0, flags & 0x20 != 0, flags & 0x10 != 0);
    // One whose components are spliced at times of their own ends at several.
    if section[13] != SPLICE_INSERT || !has_duration || !is_program {
        return None;
    }
    let time = match is_immediate {
        true => 0,
        false if command.get(6)? & 0x80 != 0 => 5,
        false => 1,
    };
    Some(command.get(6 + time)? & 0x80 != 0)
}

fn parse(section: &[u8]) -> Option<Splice> {
    let encrypted = section.get(4)? & 0x80 != 0;
    if *section.first()? != 0xFC || encrypted {
        return None;
    }
    let length = usize::from(section.get(11)? & 0x0F) << 8 | usize::from(*section.get(12)?);
    let command = section.get(14..)?;
    match *section.get(13)? {
        SPLICE_INSERT => {
            let cancelled = command.get(4)? & 0x80 != 0;
            let out = command.get(5)? & 0x80 != 0;
            (!cancelled).then_some(if out { Splice::Out } else { Splice::In })
        }
        TIME_SIGNAL => {
            // 0xFFF is what old encoders say who leave the length open.
            let timed = command.first()? & 0x80 != 0;
            let length = if length == 0xFFF { if timed { 5 } else { 1 } } else { length };
            let size = command.get(length..length + 2)?;
            let size = usize::from(size[0]) << 8 | usize::from(size[1]);
            descriptors(command.get(length + 2..)?.get(..size)?)
        }
        _ => None,
    }
}

fn descriptors(mut rest: &[u8]) -> Option<Splice> {
    while let [tag, length, after @ ..] = rest {
        let body = after.get(..usize::from(*length))?;
        rest = &after[usize::from(*length)..];
        if *tag == SEGMENTATION_DESCRIPTOR
            && let Some(splice) = body.strip_prefix(&CUEI).and_then(segmentation)
        {
            return Some(splice);
        }
    }
    None
}

/// After the identifier: event id (4), cancel, flags, components, duration (5), upid, type.
fn segmentation(body: &[u8]) -> Option<Splice> {
    if body.get(4)? & 0x80 != 0 {
        return None;
    }
    let flags = *body.get(5)?;
    let mut at = 6;
    if flags & 0x80 == 0 {
        at += 1 + 6 * usize::from(*body.get(at)?);
    }
    if flags & 0x40 != 0 {
        at += 5;
    }
    at += 2 + usize::from(*body.get(at + 1)?);
    // §10.3.3.1: breaks, advertisements and placement opportunities; even begins, odd ends.
    match *body.get(at)? {
        0x22 | 0x30 | 0x32 | 0x34 | 0x36 | 0x38 | 0x3A => Some(Splice::Out),
        0x23 | 0x31 | 0x33 | 0x35 | 0x37 | 0x39 | 0x3B => Some(Splice::In),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn sections() {
        for (section, want) in [
            // The examples of ANSI/SCTE 35 §14: time_signal with placement opportunity start and end, splice_insert.
            (
                "fc3034000000000000fffff00506fe72bd0050001e021c435545494800008e7fcf0001a599b00808000000002ca0a18a3402009ac9d17e",
                Splice::Out,
            ),
            (
                "fc302f000000000000fffff00506fe7a4d88b60019021743554549480000087f9f0808000000002ccbc344230000c5cc3d6f",
                Splice::In,
            ),
            (
                "fc302f000000000000fffff014054800008f7feffe7369c02efe0052ccf500000000000a0008435545490000013562dba30a",
                Splice::Out,
            ),
            (
                "fc302f000000000000fffff014054800008f7f6ffe7369c02efe0052ccf500000000000a0008435545490000013562dba30a",
                Splice::In,
            ),
            ("fc30", Splice::Other),
            ("", Splice::Other),
        ] {
            let section = bytes(section);
            assert_eq!(splice(&section), want, "{section:02x?}");
            for cut in 0..section.len() {
                let _ = splice(&section[..cut]);
            }
        }
    }

    #[test]
    fn breaks_that_end_by_themselves() {
        for (section, want) in [
            // splice_insert: with auto_return, without, at once, without a duration, back into the network.
            (
                "fc302f000000000000fffff014054800008f7feffe7369c02efe0052ccf500000000000a0008435545490000013562dba30a",
                true,
            ),
            (
                "fc302f000000000000fffff014054800008f7feffe7369c02e7e0052ccf500000000000a0008435545490000013562dba30a",
                false,
            ),
            ("fc302000000000000000fff00f05000000077ffffe00041eb00000000000008c5ae9b5", true),
            ("fc301b000000000000fffff00a05000000077fdf000000000000000000", false),
            (
                "fc302f000000000000fffff014054800008f7f6ffe7369c02efe0052ccf500000000000a0008435545490000013562dba30a",
                false,
            ),
            (
                "fc3034000000000000fffff00506fe72bd0050001e021c435545494800008e7fcf0001a599b00808000000002ca0a18a3402009ac9d17e",
                false,
            ),
        ] {
            assert_eq!(returns_by_itself(&bytes(section)), want, "{section}");
        }
    }

    proptest! {
        #[test]
        fn anything_may_come(mut section in proptest::collection::vec(any::<u8>(), 0..80), command in 0_u8..8) {
            let _ = splice(&section);
            for (at, byte) in [(0, 0xFC), (4, 0), (13, command)] {
                if let Some(place) = section.get_mut(at) {
                    *place = byte;
                }
            }
            let _ = (splice(&section), returns_by_itself(&section));
        }
    }
}
