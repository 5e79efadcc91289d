//! The tables that every segment begins with: one program of at most two streams.

use super::super::packet::{SIZE, SYNC};
use super::super::section::crc;

pub const VIDEO_PID: u16 = 0x100;
pub const AUDIO_PID: u16 = 0x101;
const MAP_PID: u16 = 0x1000;
const PROGRAM: u8 = 1;

/// One row of the program map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub pid: u16,
    pub stream_type: u8,
    /// format_identifier of a registration descriptor (ISO/IEC 13818-1 §2.6.8).
    pub registration: Option<[u8; 4]>,
    /// ISO 639-2, three letters.
    pub language: Option<[u8; 3]>,
}

/// Appends both tables, a packet each. `ordinal` is the segment's: there is one of each a segment, so it is what the
/// continuity counters count.
pub fn write(out: &mut Vec<u8>, rows: &[Row], ordinal: u64) {
    let mut association = vec![0, 0xB0, 0, 0, 1, 0xC1, 0, 0, 0, PROGRAM];
    association.extend_from_slice(&(0xE000 | MAP_PID).to_be_bytes());
    section(out, 0, association, ordinal);

    let mut map = vec![2, 0xB0, 0, 0, PROGRAM, 0xC1, 0, 0];
    map.extend_from_slice(&(0xE000 | VIDEO_PID).to_be_bytes()); // PCR_PID
    map.extend_from_slice(&[0xF0, 0]);
    for row in rows {
        let mut descriptors = Vec::new();
        if let Some(identifier) = row.registration {
            descriptors.extend_from_slice(&[5, 4]);
            descriptors.extend_from_slice(&identifier);
        }
        if let Some(language) = row.language {
            descriptors.extend_from_slice(&[10, 4]);
            descriptors.extend_from_slice(&language);
            descriptors.push(0); // audio_type: undefined
        }
        map.push(row.stream_type);
        map.extend_from_slice(&(0xE000 | row.pid).to_be_bytes());
        map.extend_from_slice(&(0xF000 | descriptors.len() as u16).to_be_bytes());
        map.extend_from_slice(&descriptors);
    }
    section(out, MAP_PID, map, ordinal);
}

/// Fills in length and CRC. Sections of a program of two streams fit one packet.
fn section(out: &mut Vec<u8>, pid: u16, mut section: Vec<u8>, ordinal: u64) {
    let end = out.len() + SIZE;
    section[2] = (section.len() - 3 + 4) as u8;
    let code = crc(&section).to_be_bytes();
    out.extend_from_slice(&[SYNC, 0x40 | (pid >> 8) as u8, pid as u8, 0x10 | (ordinal % 16) as u8, 0]);
    out.extend_from_slice(&section);
    out.extend_from_slice(&code);
    out.resize(end, 0xFF);
}
