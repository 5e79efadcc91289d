//! Chunks (§5.3): messages cut to pieces, those of several chunk streams in turn.
//!
//! ```text
//! basic header    2 bits format, 6 bits id (0: one more byte, 1: two more)
//! message header  format 0: timestamp 24, length 24, type 8, stream id 32 (little-endian)
//!                 format 1: timestamp delta 24, length 24, type 8
//!                 format 2: timestamp delta 24
//!                 format 3: nothing: goes on with a message, or begins one like the last
//! extended        32 bits, if timestamp or delta is 0xFFFFFF
//! data            as many bytes as are left of the message, at most the chunk size
//! ```

use bytes::{Buf, Bytes, BytesMut};

use super::Error;
use crate::base::limits::RTMP_CHUNK_STREAMS_MAX;

/// A message, put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: u8,
    /// In milliseconds, as the peer counts them.
    pub timestamp: u32,
    /// Which message stream.
    pub stream: u32,
    pub body: Bytes,
}

/// Of either direction, until a Set Chunk Size message changes it (§5.4.1).
const CHUNK_SIZE_DEFAULT: u32 = 128;
const EXTENDED: u32 = 0xFF_FFFF;
/// Messages begin with so much room: more than most are long.
const FIRST_CAPACITY: usize = 64 * 1024;

/// Puts messages together.
#[derive(Debug)]
pub struct Reader {
    chunk_size: u32,
    streams: Vec<ChunkStream>,
    /// Bytes of messages that have begun, over all chunk streams.
    partial: usize,
    /// The chunk whose data is being read: position in `streams`, and how many bytes are left of it.
    current: Option<(usize, usize)>,
}

/// What is remembered of one chunk stream.
#[derive(Debug)]
struct ChunkStream {
    id: u32,
    timestamp: u32,
    /// What a message that begins with format 3 adds: the last delta, or after format 0 its timestamp (§5.3.1.2.4).
    delta: u32,
    /// The last extended timestamp, if there was one.
    extended: Option<u32>,
    length: u32,
    kind: u8,
    stream: u32,
    /// Whether a message has begun, of which `body` is there so far.
    is_partial: bool,
    body: BytesMut,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { chunk_size: CHUNK_SIZE_DEFAULT, streams: Vec::new(), partial: 0, current: None }
    }
}

impl Reader {
    pub fn set_chunk_size(&mut self, size: u32) -> Result<(), Error> {
        // The most significant bit is reserved (§5.4.1).
        match size & 0x7FFF_FFFF {
            0 => Err(Error::ChunkSize { found: size }),
            size => {
                self.chunk_size = size;
                Ok(())
            }
        }
    }

    /// Forgets what has come of a message (§5.4.2).
    pub fn abort(&mut self, id: u32) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) {
            self.partial -= stream.body.len();
            stream.body.clear();
            stream.is_partial = false;
        }
    }

    /// The next whole message of at most `longest` bytes, taken from the front of `input`; `None` if it takes more input.
    pub fn next(&mut self, input: &mut BytesMut, longest: usize) -> Result<Option<Message>, Error> {
        loop {
            let (at, left) = match self.current {
                Some(current) => current,
                None => match self.header(input, longest)? {
                    Some(current) => current,
                    None => return Ok(None),
                },
            };
            let stream = &mut self.streams[at];
            let taken = left.min(input.len());
            // Encoders interleave audio with video.
            if self.partial + taken > 2 * longest {
                return Err(Error::Partial { max: 2 * longest });
            }
            if stream.body.is_empty() {
                stream.body.reserve((stream.length as usize).min(FIRST_CAPACITY));
            }
            stream.body.extend_from_slice(&input[..taken]);
            input.advance(taken);
            self.partial += taken;
            if taken < left {
                self.current = Some((at, left - taken));
                return Ok(None);
            }
            self.current = None;
            if stream.body.len() == stream.length as usize {
                self.partial -= stream.body.len();
                stream.is_partial = false;
                return Ok(Some(Message {
                    kind: stream.kind,
                    timestamp: stream.timestamp,
                    stream: stream.stream,
                    body: stream.body.split().freeze(),
                }));
            }
        }
    }

    /// Reads headers, if they are there whole. Gives the chunk whose data follows.
    fn header(&mut self, input: &mut BytesMut, longest: usize) -> Result<Option<(usize, usize)>, Error> {
        let mut rest = &input[..];
        let Some(header) = Header::read(&mut rest) else { return Ok(None) };
        let known = self.streams.iter().position(|stream| stream.id == header.id);
        let Header { id, format, .. } = header;
        let at = match known {
            Some(at) => at,
            // A stream cannot begin without an absolute timestamp; librtmp begins some with format 1, meaning 0.
            None if format > 1 => return Err(Error::NoHeader { id, format }),
            None if self.streams.len() == RTMP_CHUNK_STREAMS_MAX => return Err(Error::ChunkStreams),
            None => self.streams.len(),
        };
        let last = self.streams.get(at);
        let is_partial = last.is_some_and(|stream| stream.is_partial);
        let extended = match (format, header.time) {
            (0..3, EXTENDED) => match rest.try_get_u32() {
                Ok(extended) => Some(extended),
                Err(_) => return Ok(None),
            },
            (0..3, _) => None,
            // Chunks of format 3 repeat the extended timestamp (§5.3.1.3), but those of some encoders do not.
            _ => match last.and_then(|stream| stream.extended) {
                None => None,
                Some(extended) => {
                    let Some(next) = rest.first_chunk::<4>() else { return Ok(None) };
                    if u32::from_be_bytes(*next) == extended {
                        rest.advance(4);
                    }
                    Some(extended)
                }
            },
        };
        if at == self.streams.len() {
            self.streams.push(ChunkStream::new(id));
        }
        let stream = &mut self.streams[at];
        stream.extended = extended;
        // A new header while a message is unfinished takes its place.
        if format < 3 && is_partial {
            self.partial -= stream.body.len();
            stream.body.clear();
        }
        if format < 3 || !is_partial {
            stream.begin(&header, extended, longest)?;
        }
        let left = stream.length as usize - stream.body.len();
        let read = input.len() - rest.len();
        input.advance(read);
        Ok(Some((at, left.min(self.chunk_size as usize))))
    }
}

impl ChunkStream {
    fn new(id: u32) -> ChunkStream {
        ChunkStream {
            id,
            timestamp: 0,
            delta: 0,
            extended: None,
            length: 0,
            kind: 0,
            stream: 0,
            is_partial: false,
            body: BytesMut::new(),
        }
    }

    fn begin(&mut self, header: &Header, extended: Option<u32>, longest: usize) -> Result<(), Error> {
        if header.format < 3 {
            self.delta = extended.unwrap_or(header.time);
        }
        self.timestamp = match header.format {
            0 => self.delta,
            _ => self.timestamp.wrapping_add(self.delta),
        };
        if header.format < 2 {
            if header.length as usize > longest {
                return Err(Error::MessageSize { found: header.length, max: longest });
            }
            (self.length, self.kind) = (header.length, header.kind);
        }
        if header.format == 0 {
            self.stream = header.stream;
        }
        self.is_partial = true;
        Ok(())
    }
}

/// A basic and a message header. Fields that its format does not have are 0.
struct Header {
    format: u8,
    id: u32,
    time: u32,
    length: u32,
    kind: u8,
    stream: u32,
}

impl Header {
    /// `None` if it is not there whole.
    fn read(bytes: &mut &[u8]) -> Option<Header> {
        let first = bytes.try_get_u8().ok()?;
        let format = first >> 6;
        let id = match first & 63 {
            0 => 64 + u32::from(bytes.try_get_u8().ok()?),
            1 => 64 + u32::from(bytes.try_get_u16_le().ok()?),
            id => u32::from(id),
        };
        let mut header = Header { format, id, time: 0, length: 0, kind: 0, stream: 0 };
        let mut u24 = || (bytes.len() >= 3).then(|| bytes.get_uint(3) as u32);
        if format < 3 {
            header.time = u24()?;
        }
        if format < 2 {
            header.length = u24()?;
            header.kind = bytes.try_get_u8().ok()?;
        }
        if format < 1 {
            header.stream = bytes.try_get_u32_le().ok()?;
        }
        Some(header)
    }
}

/// Cuts messages into chunks. Answers are few and short: every one begins with a whole header.
#[derive(Debug)]
pub struct Writer {
    chunk_size: usize,
}

impl Default for Writer {
    fn default() -> Writer {
        Writer { chunk_size: CHUNK_SIZE_DEFAULT as usize }
    }
}

impl Writer {
    /// From the message that says so on.
    pub fn set_chunk_size(&mut self, size: u32) {
        self.chunk_size = size as usize;
    }

    /// Appends a message on chunk stream `id`, from 2 to 63. Its timestamp is below 0xFFFFFF.
    pub fn write(&self, out: &mut Vec<u8>, id: u8, message: &Message) {
        out.push(id);
        out.extend_from_slice(&message.timestamp.to_be_bytes()[1..]);
        out.extend_from_slice(&(message.body.len() as u32).to_be_bytes()[1..]);
        out.push(message.kind);
        out.extend_from_slice(&message.stream.to_le_bytes());
        for (at, piece) in message.body.chunks(self.chunk_size).enumerate() {
            if at > 0 {
                out.push(0xC0 | id);
            }
            out.extend_from_slice(piece);
        }
    }
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::limits::RTMP_MESSAGE_BYTES_MAX as LONGEST;

    /// Reads in pieces of the given sizes, in turn.
    fn read_split(bytes: &[u8], sizes: &[usize]) -> (Vec<Message>, Option<Error>) {
        let (mut reader, mut input, mut messages) = (Reader::default(), BytesMut::new(), Vec::new());
        let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
        loop {
            match reader.next(&mut input, LONGEST) {
                Ok(Some(message)) => messages.push(message),
                Err(error) => return (messages, Some(error)),
                Ok(None) if rest.is_empty() => return (messages, None),
                Ok(None) => {
                    let (piece, tail) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                    input.extend_from_slice(piece);
                    rest = tail;
                }
            }
        }
    }

    fn read(bytes: &[u8]) -> (Vec<Message>, Option<Error>) {
        let whole = read_split(bytes, &[bytes.len().max(1)]);
        for sizes in [&[1][..], &[3], &[7, 1, 130]] {
            assert_eq!(read_split(bytes, sizes), whole, "in pieces of {sizes:?}");
        }
        whole
    }

    fn message(kind: u8, timestamp: u32, stream: u32, body: &[u8]) -> Message {
        Message { kind, timestamp, stream, body: Bytes::copy_from_slice(body) }
    }

    #[test]
    fn headers_of_all_formats() {
        let bytes = [
            &b"\x03\0\0\x0A\0\0\x02\x08\x01\0\0\0ab"[..], // 0: at 10, two bytes, audio, stream 1
            b"\x43\0\0\x14\0\0\x01\x09c",                 // 1: 20 later, one byte, video
            b"\x83\0\0\x05d",                             // 2: 5 later
            b"\xC3e",                                     // 3: another 5 later
            b"\x00\x01\0\0\0\0\0\x01\x12\x02\0\0\0f",     // id of two bytes: 65
            b"\x01\x00\x01\0\0\0\0\0\x01\x12\x02\0\0\0g", // id of three: 320
            b"\xC0\x01h",
        ]
        .concat();
        let want = vec![
            message(8, 10, 1, b"ab"),
            message(9, 30, 1, b"c"),
            message(9, 35, 1, b"d"),
            message(9, 40, 1, b"e"),
            message(18, 0, 2, b"f"),
            message(18, 0, 2, b"g"),
            message(18, 0, 2, b"h"),
        ];
        assert_eq!(read(&bytes), (want, None));
    }

    #[test]
    fn chunks_of_several_streams_in_turn() {
        let (audio, video) = ([7; 130], [9; 300]);
        let bytes = [
            &b"\x04\0\0\0\0\x01\x2C\x09\x01\0\0\0"[..],
            &video[..128],
            b"\x05\0\0\0\0\0\x82\x08\x01\0\0\0",
            &audio[..128],
            b"\xC4",
            &video[..128],
            b"\xC5",
            &audio[..2],
            b"\xC4",
            &video[..44],
        ]
        .concat();
        assert_eq!(read(&bytes), (vec![message(8, 0, 1, &audio), message(9, 0, 1, &video)], None));
    }

    #[test]
    fn extended_timestamps_repeated_or_not() {
        let body: Vec<u8> = (0..200).collect();
        for repeated in [&b"\x01\0\0\0"[..], b""] {
            let bytes = [
                &b"\x04\xFF\xFF\xFF\0\0\xC8\x09\x01\0\0\0\x01\0\0\0"[..],
                &body[..128],
                b"\xC4",
                repeated,
                &body[128..],
                // Then a delta that is not extended, and a message without a header of its own.
                b"\x44\0\0\x05\0\0\x01\x09x\xC4y",
            ]
            .concat();
            let want = vec![
                message(9, 1 << 24, 1, &body),
                message(9, (1 << 24) + 5, 1, b"x"),
                message(9, (1 << 24) + 10, 1, b"y"),
            ];
            assert_eq!(read(&bytes), (want, None), "{repeated:?}");
        }
        // Extended deltas, and a message that begins with format 3 and repeats it. The clock starts over.
        let bytes = b"\x04\xFF\xFF\xFF\0\0\x01\x09\x01\0\0\0\xFF\xFF\xFF\xF0a\x84\0\0\x20b\x84\xFF\xFF\xFF\x01\0\0\0c\xC4\x01\0\0\0d";
        let want = vec![
            message(9, u32::MAX - 15, 1, b"a"),
            message(9, 16, 1, b"b"),
            message(9, 16 + (1 << 24), 1, b"c"),
            message(9, 16 + (2 << 24), 1, b"d"),
        ];
        assert_eq!(read(bytes), (want, None));
    }

    #[test]
    fn hostile_chunks_are_refused() {
        let many: Vec<u8> = (0..65).flat_map(|id| [&[0, id][..], b"\0\0\0\0\0\x01\x08\0\0\0\0x"].concat()).collect();
        for (bytes, want) in [
            (&b"\x04\0\0\0\xFF\xFF\xFF\x09\0\0\0\0"[..], Error::MessageSize { found: 0xFF_FFFF, max: LONGEST }),
            (b"\xC4", Error::NoHeader { id: 4, format: 3 }),
            (b"\x84\0\0\0", Error::NoHeader { id: 4, format: 2 }),
            (&many, Error::ChunkStreams),
        ] {
            assert_eq!(read(bytes).1, Some(want));
        }
        // Messages that begin and never end.
        let (mut reader, mut error) = (Reader::default(), None);
        reader.set_chunk_size(1 << 22).unwrap();
        for id in 3..8 {
            let mut input = BytesMut::from(&[&[id][..], b"\0\0\0\x7F\xFF\xFF\x09\0\0\0\0"].concat()[..]);
            input.resize(12 + (1 << 22), 0);
            error = reader.next(&mut input, LONGEST).err();
            assert!(reader.partial <= 2 * LONGEST);
            if error.is_some() {
                break;
            }
        }
        assert_eq!(error, Some(Error::Partial { max: 2 * LONGEST }));
        assert_eq!(Reader::default().set_chunk_size(1 << 31), Err(Error::ChunkSize { found: 1 << 31 }));
    }

    #[test]
    fn an_unfinished_message_is_forgotten_when_told_or_replaced() {
        let (mut reader, mut input) = (Reader::default(), BytesMut::new());
        input.extend_from_slice(b"\x04\0\0\0\0\0\xC8\x09\x01\0\0\0");
        input.extend_from_slice(&[1; 128]);
        assert_eq!(reader.next(&mut input, LONGEST), Ok(None));
        assert_eq!(reader.partial, 128);
        reader.abort(4);
        assert_eq!(reader.partial, 0);
        input.extend_from_slice(b"\x44\0\0\x01\0\0\x81\x09");
        input.extend_from_slice(&[2; 128]);
        input.extend_from_slice(b"\x44\0\0\x01\0\0\x01\x09x");
        assert_eq!(reader.next(&mut input, LONGEST), Ok(Some(message(9, 2, 1, b"x"))));
        assert_eq!(reader.partial, 0);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            messages in proptest::collection::vec(
                (2u8..64, 0u8..30, 0u32..EXTENDED, any::<u32>(), proptest::collection::vec(any::<u8>(), 0..400)), 0..8),
            sizes in proptest::collection::vec(1usize..300, 1..5),
        ) {
            let (writer, mut bytes, mut want) = (Writer::default(), Vec::new(), Vec::new());
            for (id, kind, timestamp, stream, body) in messages {
                let message = Message { kind, timestamp, stream, body: body.into() };
                writer.write(&mut bytes, id, &message);
                want.push(message);
            }
            prop_assert_eq!(read_split(&bytes, &sizes), (want, None));
        }

        #[test]
        fn random_bytes_give_the_same_however_they_are_split(
            bytes in proptest::collection::vec(prop_oneof![0u8..6, 0xC0u8..0xC6, any::<u8>()], 0..600),
            sizes in proptest::collection::vec(1usize..50, 1..5),
        ) {
            prop_assert_eq!(read_split(&bytes, &sizes), read_split(&bytes, &[usize::MAX]));
        }
    }
}
