//! Transport streams made up for tests.

use std::collections::BTreeMap;

use super::section::crc;

/// 320×176, Baseline.
pub const SPS: [u8; 8] = [0x67, 0x42, 0xC0, 0x1E, 0xDA, 0x05, 0x06, 0x64];
pub const PPS: [u8; 4] = [0x68, 0xCE, 0x38, 0x80];
pub const VIDEO: u16 = 0x100;
pub const AUDIO: u16 = 0x101;
pub const SPLICES: u16 = 0x102;
pub const METADATA: u16 = 0x103;
const MAP: u16 = 0x1000;

/// Writes packets, with the continuity counters that belong to them.
#[derive(Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
    counters: BTreeMap<u16, u8>,
}

impl Writer {
    /// Tables of one program: stream types, PIDs and descriptors.
    pub fn tables(&mut self, streams: &[(u8, u16, &[u8])]) {
        self.section(0, &[0, 0xB0, 0, 0, 1, 0xC1, 0, 0, 0, 1, 0xE0 | (MAP >> 8) as u8, MAP as u8]);
        let mut map = vec![2, 0xB0, 0, 0, 1, 0xC1, 0, 0, 0xE1, 0, 0xF0, 0];
        for (kind, pid, descriptors) in streams {
            map.extend_from_slice(&[*kind, 0xE0 | (pid >> 8) as u8, *pid as u8, 0xF0, descriptors.len() as u8]);
            map.extend_from_slice(descriptors);
        }
        self.section(MAP, &map);
    }

    /// Fills in length and CRC.
    pub fn section(&mut self, pid: u16, section: &[u8]) {
        let mut section = section.to_vec();
        let length = section.len() - 3 + 4;
        section[1] = section[1] & 0xF0 | (length >> 8) as u8;
        section[2] = length as u8;
        section.extend_from_slice(&crc(&section).to_be_bytes());
        section.insert(0, 0);
        section.resize(section.len().next_multiple_of(184), 0xFF);
        self.packets(pid, &section, false);
    }

    pub fn pes(&mut self, pid: u16, presentation: u64, decode: u64, random_access: bool, payload: &[u8]) {
        let stamp = |mark: u8, time: u64| {
            [
                mark << 4 | (time >> 29) as u8 & 0xE | 1,
                (time >> 22) as u8,
                (time >> 14) as u8 | 1,
                (time >> 7) as u8,
                (time << 1) as u8 | 1,
            ]
        };
        let is_video = pid == VIDEO;
        let length = if is_video { 0 } else { payload.len() as u16 + 13 };
        let mut pes = vec![0, 0, 1, if is_video { 0xE0 } else { 0xC0 }];
        pes.extend_from_slice(&length.to_be_bytes());
        pes.extend_from_slice(&[0x80, 0xC0, 10]);
        pes.extend_from_slice(&stamp(3, presentation));
        pes.extend_from_slice(&stamp(1, decode));
        pes.extend_from_slice(payload);
        self.packets(pid, &pes, random_access);
    }

    /// An access unit of a delimiter, parameter sets with a key picture, and one slice; gives the sample it is to become.
    pub fn picture(&mut self, presentation: u64, decode: u64, is_key: bool, size: usize) -> Vec<u8> {
        let mut unit = vec![0, 0, 0, 1, 0x09, 0xF0];
        let mut slice = vec![if is_key { 0x65 } else { 0x41 }, 0x9A];
        slice.resize(size, 0x55);
        if is_key {
            unit.extend_from_slice(&[0, 0, 0, 1]);
            unit.extend_from_slice(&SPS);
            unit.extend_from_slice(&[0, 0, 1]);
            unit.extend_from_slice(&PPS);
        }
        unit.extend_from_slice(&[0, 0, 1]);
        unit.extend_from_slice(&slice);
        self.pes(VIDEO, presentation, decode, is_key, &unit);
        [&(size as u32).to_be_bytes()[..], &slice].concat()
    }

    fn packets(&mut self, pid: u16, payload: &[u8], random_access: bool) {
        let (mut rest, mut is_first) = (payload, true);
        while !rest.is_empty() {
            let counter = self.counters.entry(pid).or_default();
            let flagged = is_first && random_access;
            let room = if flagged { 182 } else { 184 };
            let (now, later) = rest.split_at(rest.len().min(room));
            let stuffing = 184 - now.len();
            let control = if stuffing > 0 { 0x30 } else { 0x10 } | *counter;
            *counter = (*counter + 1) & 15;
            let start = if is_first { 0x40 } else { 0 };
            self.bytes.extend_from_slice(&[0x47, start | (pid >> 8) as u8, pid as u8, control]);
            if stuffing > 0 {
                self.bytes.push(stuffing as u8 - 1);
                if stuffing > 1 {
                    self.bytes.push(if flagged { 0x40 } else { 0 });
                    self.bytes.resize(self.bytes.len() + stuffing - 2, 0xFF);
                }
            }
            self.bytes.extend_from_slice(now);
            (rest, is_first) = (later, false);
        }
    }
}

/// A frame of AAC-LC, 48 kHz, stereo.
pub fn adts(data: &[u8]) -> Vec<u8> {
    let size = data.len() + 7;
    let mut frame =
        vec![0xFF, 0xF1, 0x4C, 0x80 | (size >> 11) as u8, (size >> 3) as u8, (size << 5) as u8 | 0x1F, 0xFC];
    frame.extend_from_slice(data);
    frame
}

/// The tag that a segment of packed audio begins with.
pub fn timestamp_tag(stamp: u64) -> Vec<u8> {
    let mut body = super::packed::OWNER.as_bytes().to_vec();
    body.push(0);
    body.extend_from_slice(&stamp.to_be_bytes());
    let mut tag = b"ID3\x04\0\0\0\0\0".to_vec();
    tag.push(body.len() as u8 + 10);
    tag.extend_from_slice(b"PRIV\0\0\0");
    tag.push(body.len() as u8);
    tag.extend_from_slice(&[0, 0]);
    tag.extend_from_slice(&body);
    tag
}
