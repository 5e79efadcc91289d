//! PES packets (ISO/IEC 13818-1 §2.4.3.6): their headers, and where their payload ends.

/// What a PES header says of the access unit that begins in its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Presentation and decode time stamp, 33 bits in 90 kHz.
    pub stamps: Option<(u64, u64)>,
    pub is_scrambled: bool,
}

/// Takes the payload of the transport packets of one PID, gives the payload of its PES packets as it arrives.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// Nothing is known until a PES packet begins.
    #[default]
    Idle,
    Header(Vec<u8>),
    /// With the bytes that are still to come, where the header says it.
    Payload(Option<usize>),
}

/// What [`Reader::push`] finds in a transport packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    Nothing,
    /// The PES packet's header is complete, and this is the beginning of its payload.
    Start(Header, Vec<u8>),
    More(&'a [u8]),
}

/// packet_start_code_prefix, stream_id, PES_packet_length, flags, PES_header_data_length.
const FIXED: usize = 9;

impl Reader {
    pub fn lose(&mut self) {
        self.state = State::Idle;
    }

    /// Whether the end of the packet has been seen, by its length.
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Payload(Some(0)))
    }

    pub fn push<'a>(&mut self, unit_start: bool, payload: &'a [u8]) -> Found<'a> {
        if unit_start {
            self.state = State::Header(Vec::new());
        }
        match &mut self.state {
            State::Idle => Found::Nothing,
            State::Payload(None) => Found::More(payload),
            State::Payload(Some(left)) => {
                let taken = payload.len().min(*left);
                *left -= taken;
                Found::More(&payload[..taken])
            }
            State::Header(buffer) => {
                // At most 9 + 255 bytes and one packet.
                buffer.extend_from_slice(payload);
                match read(buffer) {
                    Read::More => Found::Nothing,
                    Read::Other => {
                        self.state = State::Idle;
                        Found::Nothing
                    }
                    Read::Header { header, size, left } => {
                        let mut payload = buffer.split_off(size);
                        payload.truncate(left.unwrap_or(usize::MAX));
                        self.state = State::Payload(left.map(|left| left - payload.len()));
                        Found::Start(header, payload)
                    }
                }
            }
        }
    }
}

enum Read {
    More,
    /// Not a PES packet, or one of those that carry no time stamps and no media.
    Other,
    Header {
        header: Header,
        size: usize,
        left: Option<usize>,
    },
}

fn read(bytes: &[u8]) -> Read {
    let Some(fixed) = bytes.first_chunk::<FIXED>() else {
        let is_prefix = bytes.iter().zip([0, 0, 1]).all(|(found, wanted)| *found == wanted);
        return if is_prefix { Read::More } else { Read::Other };
    };
    // program_stream_map, padding, private_stream_2, ECM, EMM, directory, DSMCC, H.222.1 type E (table 2-21).
    let is_bare = matches!(fixed[3], 0xBC | 0xBE | 0xBF | 0xF0 | 0xF1 | 0xFF | 0xF2 | 0xF8);
    if fixed[..3] != [0, 0, 1] || is_bare || fixed[6] & 0xC0 != 0x80 {
        return Read::Other;
    }
    let size = FIXED + usize::from(fixed[8]);
    let Some(fields) = bytes.get(FIXED..size) else { return Read::More };
    let left = match usize::from(u16::from_be_bytes([fixed[4], fixed[5]])) {
        0 => None,
        length => match (6 + length).checked_sub(size) {
            Some(left) => Some(left),
            None => return Read::Other,
        },
    };
    let presentation = (fixed[7] & 0x80 != 0).then(|| fields.first_chunk().and_then(stamp)).flatten();
    let decode = (fixed[7] & 0x40 != 0).then(|| fields.get(5..)?.first_chunk().and_then(stamp)).flatten();
    let stamps = presentation.map(|presentation| (presentation, decode.unwrap_or(presentation)));
    Read::Header { header: Header { stamps, is_scrambled: fixed[6] & 0x30 != 0 }, size, left }
}

/// A time stamp in five bytes with marker bits. One without the markers is none.
fn stamp(bytes: &[u8; 5]) -> Option<u64> {
    let [a, b, c, d, e] = bytes.map(u64::from);
    let is_marked = a & c & e & 1 == 1;
    is_marked.then_some((a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1)
}
