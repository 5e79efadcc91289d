//! Sections (ISO/IEC 13818-1 §2.4.4): put together from packets, checked, and read as far as programs need it.

/// Sections of private tables; those of the standard's own are at most 1021 bytes behind the length.
const BYTES_MAX: usize = 3 + 4093;

const PROGRAM_ASSOCIATION: u8 = 0;
const PROGRAM_MAP: u8 = 2;

/// Puts sections together.
#[derive(Debug, Default)]
pub struct Assembler {
    buffer: Vec<u8>,
    /// Whether the beginning of a section is known; until then everything is skipped.
    aligned: bool,
}

impl Assembler {
    /// Calls `section` for each section that ends in this payload, if its CRC is right.
    pub fn push(&mut self, unit_start: bool, payload: &[u8], mut section: impl FnMut(&[u8])) {
        let mut payload = payload;
        if unit_start {
            // pointer_field: what comes before it belongs to the section that began earlier.
            let Some((before, after)) =
                payload.split_first().and_then(|(&pointer, rest)| rest.split_at_checked(pointer.into()))
            else {
                return self.lose();
            };
            self.take(before, &mut section);
            self.buffer.clear();
            self.aligned = true;
            payload = after;
        }
        self.take(payload, &mut section);
    }

    pub fn lose(&mut self) {
        *self = Assembler::default();
    }

    fn take(&mut self, bytes: &[u8], section: &mut impl FnMut(&[u8])) {
        if !self.aligned {
            return;
        }
        self.buffer.extend_from_slice(bytes);
        let mut rest = &self.buffer[..];
        loop {
            let size = match *rest {
                // Stuffing up to the end of the packet (§2.4.4).
                [0xFF, ..] => {
                    self.aligned = false;
                    rest = &[];
                    break;
                }
                [_, high, low, ..] => 3 + usize::from(u16::from_be_bytes([high & 15, low])),
                _ => break,
            };
            if size > BYTES_MAX {
                self.aligned = false;
                rest = &[];
                break;
            }
            let Some((whole, tail)) = rest.split_at_checked(size) else { break };
            if crc(whole) == 0 {
                section(whole);
            }
            rest = tail;
        }
        let used = self.buffer.len() - rest.len();
        self.buffer.drain(..used);
    }
}

/// CRC_32 of annex A. Over a section together with its CRC: 0.
pub fn crc(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let (mut value, mut bit) = ((at as u32) << 24, 0);
            while bit < 8 {
                value = if value >> 31 == 1 { value << 1 ^ 0x04C1_1DB7 } else { value << 1 };
                bit += 1;
            }
            table[at] = value;
            at += 1;
        }
        table
    };
    bytes.iter().fold(u32::MAX, |crc, &byte| crc << 8 ^ TABLE[usize::from((crc >> 24) as u8 ^ byte)])
}

/// One section of the program association table (§2.4.4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Association {
    pub number: u8,
    /// Program numbers and the PIDs of their maps, without the network's.
    pub programs: Vec<(u16, u16)>,
}

/// A program map (§2.4.4.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    pub program: u16,
    pub streams: Vec<MapStream>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapStream {
    pub pid: u16,
    pub stream_type: u8,
    pub descriptors: Vec<u8>,
}

impl Association {
    /// `None` if the section is of another table, not yet valid or malformed.
    pub fn read(section: &[u8]) -> Option<Association> {
        let (_, number, body) = long_form(section, PROGRAM_ASSOCIATION)?;
        let rows = body
            .chunks_exact(4)
            .map(|row| (u16::from_be_bytes([row[0], row[1]]), u16::from_be_bytes([row[2] & 0x1F, row[3]])));
        Some(Association { number, programs: rows.filter(|(program, _)| *program != 0).collect() })
    }
}

impl Map {
    /// `None` if the section is of another table, not yet valid or malformed.
    pub fn read(section: &[u8]) -> Option<Map> {
        let (program, _, body) = long_form(section, PROGRAM_MAP)?;
        let (header, rest) = body.split_at_checked(4)?;
        let (_, mut rest) = rest.split_at_checked(length(header, 2))?;
        let mut streams = Vec::new();
        while let Some((row, tail)) = rest.split_at_checked(5) {
            let (descriptors, tail) = tail.split_at_checked(length(row, 3))?;
            let pid = u16::from_be_bytes([row[1] & 0x1F, row[2]]);
            streams.push(MapStream { pid, stream_type: row[0], descriptors: descriptors.to_vec() });
            rest = tail;
        }
        Some(Map { program, streams })
    }
}

impl MapStream {
    /// The body of the first descriptor with that tag.
    pub fn descriptor(&self, tag: u8) -> Option<&[u8]> {
        self.descriptors().find(|(found, _)| *found == tag).map(|(_, body)| body)
    }

    pub fn descriptors(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = &self.descriptors[..];
        std::iter::from_fn(move || {
            let [tag, size, tail @ ..] = rest else { return None };
            let (body, tail) = tail.split_at_checked(usize::from(*size))?;
            rest = tail;
            Some((*tag, body))
        })
    }
}

fn length(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at] & 15, bytes[at + 1]]))
}

/// table_id_extension, section_number and what stands between the header and the CRC, of a section that is in force
/// (current_next_indicator).
fn long_form(section: &[u8], table: u8) -> Option<(u16, u8, &[u8])> {
    let (header, rest) = section.split_at_checked(8)?;
    let body = rest.get(..rest.len().checked_sub(4)?)?;
    let is_current = header[5] & 1 == 1;
    let fits = header[0] == table && header[1] & 0x80 != 0 && is_current;
    fits.then(|| (u16::from_be_bytes([header[3], header[4]]), header[6], body))
}
