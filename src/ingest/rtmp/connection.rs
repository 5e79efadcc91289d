//! One encoder's connection.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::chunk::{self, Message};
use super::handshake::Handshake;
use super::target::Target;
use super::{Error, amf};
use crate::base::limits::{RTMP_COMMAND_BYTES_MAX, RTMP_MESSAGE_BYTES_MAX, RTMP_OUTPUT_BYTES_MAX, RTMP_STREAMS_MAX};
use crate::media::feed;
use crate::media::flv::{self, Demuxer, TagKind};

use amf::Value;

/// A message stream within a connection: encoders may publish several.
pub type StreamId = u32;

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The encoder wants to publish. Nothing more is read until [`Connection::accept`] or [`Connection::refuse`].
    Publish { stream: StreamId, target: Target },
    /// A step of an accepted publisher's feed.
    Media { stream: StreamId, event: feed::Event },
    /// A part of an accepted publisher's stream said nothing that is understood, and was left out.
    Ignored { stream: StreamId, error: flv::Error },
    /// The encoder says that it has done publishing. Its feed has ended just before.
    Unpublish { stream: StreamId },
    /// Nothing more is read: the connection is to be closed as soon as the output is written.
    Closed,
}

/// Why somebody may not publish, as RTMP tells the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such name, or it is taken.
    BadName,
    /// The key is missing or wrong.
    Unauthorized,
}

/// The server's side of a connection, without socket and clock.
///
/// Give what was read to [`handle_input`](Self::handle_input), take events until there is none, then write what
/// [`poll_output`](Self::poll_output) gives. Nothing is parsed before it is asked for, so memory is bounded by what was
/// given, one message, and the limits in [`crate::base::limits`].
#[derive(Debug, Default)]
pub struct Connection {
    handshake: Handshake,
    input: BytesMut,
    output: Vec<u8>,
    reader: chunk::Reader,
    writer: chunk::Writer,
    acknowledgement: Acknowledgement,
    /// `app` and `tcUrl` of the connect command.
    application: Option<(String, String)>,
    streams: Vec<Stream>,
    next_stream: StreamId,
    events: VecDeque<Event>,
    was_accepted: bool,
    is_closed: bool,
}

#[derive(Debug)]
struct Stream {
    id: StreamId,
    /// As the encoder has it, to know it by in FCUnpublish.
    name: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle,
    /// Publish awaits an answer.
    Asked,
    Publishing(Box<Demuxer>),
}

/// When to tell the peer how much has come (§5.4.3).
#[derive(Debug)]
struct Acknowledgement {
    window: u32,
    /// Bytes since the connection began, and those the peer was told of.
    received: u64,
    told: u64,
}

impl Default for Acknowledgement {
    fn default() -> Acknowledgement {
        Acknowledgement { window: WINDOW, received: 0, told: 0 }
    }
}

/// Bytes until an acknowledgement, in either direction, where the peer says nothing else.
const WINDOW: u32 = 2_500_000;
/// A smaller window than this would have us answer more than we read.
const WINDOW_MIN: u32 = 4096;
/// Of our own chunks: every answer fits.
const CHUNK_SIZE: u32 = 4096;

// Message types (§5.4, §7.1).
const SET_CHUNK_SIZE: u8 = 1;
const ABORT: u8 = 2;
const ACKNOWLEDGEMENT: u8 = 3;
const USER_CONTROL: u8 = 4;
const WINDOW_SIZE: u8 = 5;
const SET_PEER_BANDWIDTH: u8 = 6;
const AUDIO: u8 = 8;
const VIDEO: u8 = 9;
const DATA_AMF3: u8 = 15;
const COMMAND_AMF3: u8 = 17;
const DATA: u8 = 18;
const COMMAND: u8 = 20;
const AGGREGATE: u8 = 22;

// User control events (§7.1.7).
const STREAM_BEGIN: u16 = 0;
const PING_REQUEST: u16 = 6;
const PING_RESPONSE: u16 = 7;

// Chunk streams of answers: that of control messages is fixed (§5.4), the others are as customary.
const ON_CONTROL: u8 = 2;
const ON_COMMAND: u8 = 3;
const ON_STATUS: u8 = 5;

const AUDIO_FOURCCS: [&str; 6] = ["mp4a", "Opus", "fLaC", ".mp3", "ac-3", "ec-3"];
const VIDEO_FOURCCS: [&str; 4] = ["avc1", "hvc1", "av01", "vp09"];
/// FourCcInfoMask: neither decoded nor encoded here, but passed on.
const CAN_FORWARD: f64 = 4.0;
/// CapsExMask: several tracks, modifiers, and offsets in nanoseconds.
const CAPABILITIES: f64 = (0x02 | 0x04 | 0x08) as f64;

impl Connection {
    pub fn new() -> Connection {
        Connection::default()
    }

    /// Takes what was read from the socket. While [`is_waiting`](Self::is_waiting) it is kept as it is, so rather leave it
    /// in the socket.
    pub fn handle_input(&mut self, bytes: &[u8]) {
        if self.is_closed {
            return;
        }
        self.input.extend_from_slice(bytes);
        let Acknowledgement { window, received, told } = &mut self.acknowledgement;
        *received += bytes.len() as u64;
        if *received - *told >= u64::from(*window) && self.handshake == Handshake::Done {
            *told = *received;
            // It starts over after 4 GB.
            let sequence = (*received as u32).to_be_bytes();
            self.control(ACKNOWLEDGEMENT, &sequence);
        }
    }

    /// Whether an answer to [`Event::Publish`] is due.
    pub fn is_waiting(&self) -> bool {
        self.streams.iter().any(|stream| matches!(stream.state, State::Asked))
    }

    /// The next event, if there is one in what was given. An error is the end of the connection.
    pub fn poll_event(&mut self) -> Result<Option<Event>, Error> {
        let event = self.next_event();
        if event.is_err() {
            self.close();
        }
        event
    }

    /// What is to be written to the socket.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        match self.output.is_empty() {
            true => None,
            false => Some(std::mem::take(&mut self.output).into()),
        }
    }

    /// The encoder may begin.
    pub fn accept(&mut self, stream: StreamId) {
        let Some(asked) = self.asked(stream) else { return };
        asked.state = State::Publishing(Box::default());
        self.was_accepted = true;
        let mut begin = STREAM_BEGIN.to_be_bytes().to_vec();
        begin.extend_from_slice(&stream.to_be_bytes());
        self.control(USER_CONTROL, &begin);
        self.status(stream, "status", "NetStream.Publish.Start", "publishing");
    }

    /// The encoder may not, and is told why. The connection ends.
    pub fn refuse(&mut self, stream: StreamId, refusal: Refusal, reason: &str) {
        let Some(asked) = self.asked(stream) else { return };
        asked.state = State::Idle;
        let code = match refusal {
            Refusal::BadName => "NetStream.Publish.BadName",
            // OBS and GStreamer know this one; ffmpeg shows the reason of any.
            Refusal::Unauthorized => "NetStream.Publish.Denied",
        };
        self.status(stream, "error", code, reason);
        self.close();
        self.events.push_back(Event::Closed);
    }

    fn asked(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.id == id && matches!(stream.state, State::Asked))
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.input = BytesMut::new();
        self.streams.clear();
    }

    fn next_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.is_closed || self.is_waiting() {
                return Ok(None);
            }
            if self.handshake != Handshake::Done {
                self.handshake.advance(&mut self.input, &mut self.output)?;
                if self.handshake != Handshake::Done {
                    return Ok(None);
                }
            }
            // Nobody who has not been let in is given memory for a key frame.
            let longest = if self.was_accepted { RTMP_MESSAGE_BYTES_MAX } else { RTMP_COMMAND_BYTES_MAX };
            match self.reader.next(&mut self.input, longest)? {
                Some(message) => self.message(message)?,
                None => return Ok(None),
            }
            if self.output.len() > RTMP_OUTPUT_BYTES_MAX {
                return Err(Error::Output);
            }
        }
    }

    fn message(&mut self, message: Message) -> Result<(), Error> {
        let Message { kind, timestamp, stream, body } = message;
        match kind {
            SET_CHUNK_SIZE => self.reader.set_chunk_size(word(kind, &body)?)?,
            ABORT => self.reader.abort(word(kind, &body)?),
            ACKNOWLEDGEMENT => {}
            USER_CONTROL => self.user_control(&body),
            WINDOW_SIZE => self.acknowledgement.window = word(kind, &body)?.max(WINDOW_MIN),
            // How much we may have on the way: our answers are nowhere near it.
            SET_PEER_BANDWIDTH => {}
            AUDIO => self.tag(stream, TagKind::Audio, timestamp, body),
            VIDEO => self.tag(stream, TagKind::Video, timestamp, body),
            DATA => self.tag(stream, TagKind::Script, timestamp, body),
            // AMF 3 messages are of AMF 0 values behind a byte, until one of them says otherwise, which no encoder does.
            DATA_AMF3 => self.tag(stream, TagKind::Script, timestamp, body.slice(body.len().min(1)..)),
            COMMAND => self.command(stream, &body)?,
            COMMAND_AMF3 => self.command(stream, &body[body.len().min(1)..])?,
            AGGREGATE => self.aggregate(stream, timestamp, body),
            // Shared objects, and what is yet to come.
            _ => {}
        }
        Ok(())
    }

    fn user_control(&mut self, body: &[u8]) {
        if let Some((kind, data)) = body.split_first_chunk::<2>()
            && u16::from_be_bytes(*kind) == PING_REQUEST
            && data.len() == 4
        {
            self.control(USER_CONTROL, &[&PING_RESPONSE.to_be_bytes(), data].concat());
        }
    }

    /// FLV tags one after the other (§7.1.6). Their timestamps count from the first, which is at the message's.
    fn aggregate(&mut self, stream: StreamId, timestamp: u32, body: Bytes) {
        let (mut body, mut first) = (body, None);
        while body.len() >= TAG_HEADER_BYTES {
            let mut header = body.split_to(TAG_HEADER_BYTES);
            let kind = header.get_u8();
            let length = header.get_uint(3) as usize;
            let time = header.get_uint(3) as u32 | u32::from(header.get_u8()) << 24;
            let since = time.wrapping_sub(*first.get_or_insert(time));
            if length > body.len() {
                let error = flv::Error::Short { tag: "aggregate", length: body.len() };
                self.events.push_back(Event::Ignored { stream, error });
                return;
            }
            let data = body.split_to(length);
            body.advance(body.len().min(4)); // back pointer
            let kind = match kind & 31 {
                AUDIO => TagKind::Audio,
                VIDEO => TagKind::Video,
                DATA => TagKind::Script,
                _ => continue,
            };
            self.tag(stream, kind, timestamp.wrapping_add(since), data);
        }
    }

    /// Media of a stream that is not published has nobody it could go to.
    fn tag(&mut self, id: StreamId, kind: TagKind, timestamp: u32, body: Bytes) {
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) else { return };
        let State::Publishing(demuxer) = &mut stream.state else { return };
        let result = demuxer.tag(kind, timestamp, body);
        let media = std::iter::from_fn(|| demuxer.poll_event());
        self.events.extend(media.map(|event| Event::Media { stream: id, event }));
        if let Err(error) = result {
            self.events.push_back(Event::Ignored { stream: id, error });
        }
    }

    fn command(&mut self, stream: StreamId, body: &[u8]) -> Result<(), Error> {
        if body.len() > RTMP_COMMAND_BYTES_MAX {
            return Err(Error::CommandSize { found: body.len() });
        }
        let values = amf::read_front(body)?;
        let mut values = values.iter();
        let name = values.next().and_then(Value::text).unwrap_or_default();
        let transaction = values.next().and_then(Value::number).unwrap_or_default();
        let object = values.next().unwrap_or(&Value::Null);
        let argument = values.next().unwrap_or(&Value::Null);
        match name {
            "connect" => self.connect(transaction, object),
            "createStream" => self.create_stream(transaction)?,
            "publish" => self.publish(stream, argument.text().unwrap_or_default())?,
            "FCUnpublish" => {
                let name = argument.text().unwrap_or_default();
                if let Some(id) = self.named(name) {
                    self.unpublish(id);
                }
                self.result(transaction, Value::Null);
            }
            "closeStream" => self.unpublish(stream),
            "deleteStream" => {
                // Casts of floats saturate.
                let id = argument.number().map_or(stream, |id| id as StreamId);
                self.unpublish(id);
                self.streams.retain(|stream| stream.id != id);
            }
            "play" | "play2" => {
                self.status(stream, "error", "NetStream.Play.Failed", "this server takes streams and plays none")
            }
            // Answers to what we never asked.
            "_result" | "_error" | "onStatus" => {}
            // releaseStream, FCPublish, _checkbw, getStreamLength and whatever else: whoever waits for an answer gets one.
            _ => self.result(transaction, Value::Null),
        }
        Ok(())
    }

    fn connect(&mut self, transaction: f64, object: &Value) {
        let text = |name: &str| object.property(name).and_then(Value::text).unwrap_or_default().to_owned();
        self.application = Some((text("app"), text("tcUrl")));
        self.control(WINDOW_SIZE, &WINDOW.to_be_bytes());
        let dynamic = 2;
        self.control(SET_PEER_BANDWIDTH, &[&WINDOW.to_be_bytes()[..], &[dynamic]].concat());
        self.control(SET_CHUNK_SIZE, &CHUNK_SIZE.to_be_bytes());
        self.writer.set_chunk_size(CHUNK_SIZE);
        // The version that clients compare with: the first Flash Media Server that took H.264.
        let server = Value::object([("fmsVer", Value::string("FMS/3,0,1,123")), ("capabilities", Value::Number(31.0))]);
        let mut information = vec![
            ("level".to_owned(), Value::string("status")),
            ("code".to_owned(), Value::string("NetConnection.Connect.Success")),
            ("description".to_owned(), Value::string("connected")),
            ("objectEncoding".to_owned(), Value::Number(0.0)),
        ];
        // Told to those who ask: others were written before there was anything to tell.
        let is_enhanced = ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"]
            .iter()
            .any(|name| object.property(name).is_some());
        if is_enhanced {
            let map = |fourccs: &[&str]| {
                Value::Object(fourccs.iter().map(|name| ((*name).to_owned(), Value::Number(CAN_FORWARD))).collect())
            };
            let all = VIDEO_FOURCCS.iter().chain(&AUDIO_FOURCCS).map(|name| Value::string(name)).collect();
            information.extend([
                ("fourCcList".to_owned(), Value::Array(all)),
                ("videoFourCcInfoMap".to_owned(), map(&VIDEO_FOURCCS)),
                ("audioFourCcInfoMap".to_owned(), map(&AUDIO_FOURCCS)),
                ("capsEx".to_owned(), Value::Number(CAPABILITIES)),
            ]);
        }
        let answer = [Value::string("_result"), Value::Number(transaction), server, Value::Object(information)];
        self.send(ON_COMMAND, COMMAND, 0, amf::write(&answer));
    }

    fn create_stream(&mut self, transaction: f64) -> Result<(), Error> {
        if self.application.is_none() {
            return Err(Error::NotConnected { what: "createStream".into() });
        }
        // Counted from 1: 0 is the connection itself. Some encoders do not read the answer, and publish on 1.
        self.next_stream += 1;
        let id = self.next_stream;
        self.stream(id)?;
        self.result(transaction, Value::Number(f64::from(id)));
        Ok(())
    }

    fn publish(&mut self, id: StreamId, name: &str) -> Result<(), Error> {
        let Some((app, tc_url)) = &self.application else {
            return Err(Error::NotConnected { what: "publish".into() });
        };
        let target = Target::new(tc_url, app, name);
        let stream = self.stream(id)?;
        if !matches!(stream.state, State::Idle) {
            self.status(id, "error", "NetStream.Publish.BadName", "this stream is being published already");
            return Ok(());
        }
        stream.name = name.to_owned();
        stream.state = State::Asked;
        self.events.push_back(Event::Publish { stream: id, target });
        Ok(())
    }

    /// The stream that FCUnpublish means, which names no number.
    fn named(&self, name: &str) -> Option<StreamId> {
        let mut publishing = self.streams.iter().filter(|stream| matches!(stream.state, State::Publishing(_)));
        publishing.find(|stream| stream.name == name).map(|stream| stream.id)
    }

    /// The encoder says that it has done: the one case in which its feed ends. A sequence that ends may be followed by
    /// another, and a connection that ends may come again.
    fn unpublish(&mut self, id: StreamId) {
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) else { return };
        if let State::Publishing(mut demuxer) = std::mem::replace(&mut stream.state, State::Idle) {
            demuxer.finish();
            let media = std::iter::from_fn(|| demuxer.poll_event());
            self.events.extend(media.map(|event| Event::Media { stream: id, event }));
            self.events.push_back(Event::Media { stream: id, event: feed::Event::End });
            self.events.push_back(Event::Unpublish { stream: id });
            self.status(id, "status", "NetStream.Unpublish.Success", "no longer publishing");
        }
    }

    /// The stream of that number, which begins here if it is not there.
    fn stream(&mut self, id: StreamId) -> Result<&mut Stream, Error> {
        let at = match self.streams.iter().position(|stream| stream.id == id) {
            Some(at) => at,
            None if self.streams.len() == RTMP_STREAMS_MAX => return Err(Error::Streams),
            None => {
                self.streams.push(Stream { id, name: String::new(), state: State::Idle });
                self.streams.len() - 1
            }
        };
        Ok(&mut self.streams[at])
    }

    /// Commands that nobody waits for have transaction 0 (§7.2).
    fn result(&mut self, transaction: f64, value: Value) {
        if transaction != 0.0 {
            let answer = [Value::string("_result"), Value::Number(transaction), Value::Null, value];
            self.send(ON_COMMAND, COMMAND, 0, amf::write(&answer));
        }
    }

    fn status(&mut self, stream: StreamId, level: &str, code: &str, description: &str) {
        let information = Value::object([
            ("level", Value::string(level)),
            ("code", Value::string(code)),
            ("description", Value::string(description)),
        ]);
        let status = [Value::string("onStatus"), Value::Number(0.0), Value::Null, information];
        self.send(ON_STATUS, COMMAND, stream, amf::write(&status));
    }

    fn control(&mut self, kind: u8, body: &[u8]) {
        self.send(ON_CONTROL, kind, 0, body.to_vec());
    }

    fn send(&mut self, chunk_stream: u8, kind: u8, stream: StreamId, body: Vec<u8>) {
        let message = Message { kind, timestamp: 0, stream, body: body.into() };
        self.writer.write(&mut self.output, chunk_stream, &message);
    }
}

/// Type, length, timestamp with its upper byte, stream number.
const TAG_HEADER_BYTES: usize = 11;

/// The value of a control message.
fn word(kind: u8, body: &[u8]) -> Result<u32, Error> {
    let first = body.first_chunk().ok_or(Error::Control { kind, found: body.len(), expected: 4 })?;
    Ok(u32::from_be_bytes(*first))
}

#[cfg(test)]
mod tests;
