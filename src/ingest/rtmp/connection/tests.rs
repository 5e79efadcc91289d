//! Conversations between encoders and a connection.

use proptest::prelude::*;

use super::*;

mod fixtures;

/// The encoder's side: writes messages as chunks.
#[derive(Default)]
struct Client {
    writer: chunk::Writer,
    bytes: Vec<u8>,
}

impl Client {
    /// With the handshake, and connected to an application.
    fn connected(app: &str) -> Client {
        let mut client = Client::default();
        client.bytes.push(3);
        client.bytes.extend_from_slice(&[7; 1536 * 2]);
        let url = format!("rtmp://127.0.0.1/{app}");
        let object = Value::object([("app", Value::string(app)), ("tcUrl", Value::string(&url))]);
        client.command(0, "connect", 1.0, object, &[]);
        client
    }

    fn message(&mut self, chunk_stream: u8, kind: u8, timestamp: u32, stream: u32, body: &[u8]) -> &mut Client {
        let message = Message { kind, timestamp, stream, body: Bytes::copy_from_slice(body) };
        self.writer.write(&mut self.bytes, chunk_stream, &message);
        self
    }

    fn command(
        &mut self,
        stream: u32,
        name: &str,
        transaction: f64,
        object: Value,
        arguments: &[Value],
    ) -> &mut Client {
        let mut values = vec![Value::string(name), Value::Number(transaction), object];
        values.extend_from_slice(arguments);
        self.message(3, COMMAND, 0, stream, &amf::write(&values))
    }

    fn publish(&mut self, stream: u32, name: &str) -> &mut Client {
        self.command(0, "releaseStream", 2.0, Value::Null, &[Value::string(name)]);
        self.command(0, "FCPublish", 3.0, Value::Null, &[Value::string(name)]);
        self.command(0, "createStream", 4.0, Value::Null, &[]);
        self.command(stream, "publish", 5.0, Value::Null, &[Value::string(name), Value::string("live")])
    }
}

/// What is answered to a whole conversation, given in pieces of these sizes: events and messages as text.
fn converse(
    bytes: &[u8],
    sizes: &[usize],
    mut answer: impl FnMut(&mut Connection, StreamId, &Target),
) -> (Vec<String>, Vec<String>) {
    let (mut connection, mut events, mut output) = (Connection::new(), Vec::new(), Vec::new());
    let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
    'conversation: loop {
        loop {
            match connection.poll_event() {
                Ok(Some(Event::Publish { stream, target })) => {
                    events.push(format!("publish {stream} {} {:?}", target.path.join("/"), target.parameter("key")));
                    assert!(connection.is_waiting());
                    assert_eq!(connection.poll_event(), Ok(None), "nothing is read before the answer");
                    answer(&mut connection, stream, &target);
                }
                Ok(Some(Event::Media { stream, event })) => events.push(match event {
                    feed::Event::Track { track, format } => {
                        format!("{stream}: track {track} {}", format.sample_entry[4..8].escape_ascii())
                    }
                    feed::Event::Sample { track, sample } => {
                        format!("{stream}: {track} {} {}", sample.decode_time.0, sample.data.escape_ascii())
                    }
                    feed::Event::Marker(_) => format!("{stream}: marker"),
                    feed::Event::Chunk { .. } => unreachable!("RTMP brings single samples"),
                    feed::Event::End => format!("{stream}: end"),
                }),
                Ok(Some(Event::Ignored { stream, error })) => events.push(format!("{stream}: ignored: {error}")),
                Ok(Some(Event::Unpublish { stream })) => events.push(format!("unpublish {stream}")),
                Ok(Some(Event::Closed)) => events.push("closed".into()),
                Ok(None) => break,
                Err(error) => {
                    events.push(error.to_string());
                    break 'conversation;
                }
            }
        }
        output.extend(connection.poll_output().into_iter().flatten());
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        connection.handle_input(piece);
        rest = tail;
    }
    output.extend(connection.poll_output().into_iter().flatten());
    (events, answers(&output))
}

/// Messages of the server, in short.
fn answers(output: &[u8]) -> Vec<String> {
    let Some(chunks) = output.get(1 + 2 * 1536..) else { return Vec::new() };
    let (mut reader, mut input, mut answers) = (chunk::Reader::default(), BytesMut::from(chunks), Vec::new());
    while let Some(message) = reader.next(&mut input, RTMP_MESSAGE_BYTES_MAX).unwrap() {
        if message.kind == SET_CHUNK_SIZE {
            reader.set_chunk_size(word(SET_CHUNK_SIZE, &message.body).unwrap()).unwrap();
        }
        answers.push(match message.kind {
            COMMAND => {
                let values = amf::read(&message.body).unwrap();
                let code = values[3].property("code").and_then(Value::text).map(str::to_owned);
                let number = values[3].number().map(|number| number.to_string());
                let (name, transaction) = (values[0].text().unwrap(), values[1].number().unwrap());
                format!("{} {name} {transaction} {}", message.stream, code.or(number).unwrap_or_default())
            }
            kind => format!("{kind} {:02x?}", &message.body[..]),
        });
    }
    answers
}

fn accept(connection: &mut Connection, stream: StreamId, _: &Target) {
    connection.accept(stream);
}

const HEADER: &[u8] = b"\x17\0\0\0\0\x01record";

/// A whole conversation as OBS and ffmpeg have it.
fn conversation() -> Client {
    let mut client = Client::connected("live");
    client.publish(1, "news?key=s3cret");
    client.message(
        4,
        DATA,
        0,
        1,
        &amf::write(&[Value::string("@setDataFrame"), Value::string("onMetaData"), Value::Null]),
    );
    client.message(6, VIDEO, 0, 1, HEADER).message(4, AUDIO, 0, 1, b"\xAF\0\x12\x10");
    client.message(6, VIDEO, 0, 1, b"\x17\x01\0\0\0key").message(4, AUDIO, 0, 1, b"\xAF\x01one");
    client.message(6, VIDEO, 40, 1, &[&b"\x27\x01\0\0\0"[..], &[b'x'; 300]].concat());
    client.message(2, USER_CONTROL, 0, 0, &[0, 6, 1, 2, 3, 4]);
    client.command(0, "FCUnpublish", 6.0, Value::Null, &[Value::string("news?key=s3cret")]);
    client.command(0, "deleteStream", 7.0, Value::Null, &[Value::Number(1.0)]);
    client
}

#[test]
fn a_publisher_comes_and_goes() {
    let (events, answers) = converse(&conversation().bytes, &[usize::MAX], accept);
    let long = format!("1: 0 40 {}", "x".repeat(300));
    assert_eq!(
        events,
        [
            "publish 1 live/news Some(\"s3cret\")",
            "1: track 0 avc1",
            "1: track 1 mp4a",
            "1: 1 0 one",
            "1: 0 0 key",
            &long,
            "1: end",
            "unpublish 1",
        ]
    );
    assert_eq!(
        answers,
        [
            "5 [00, 26, 25, a0]",
            "6 [00, 26, 25, a0, 02]",
            "1 [00, 00, 10, 00]",
            "0 _result 1 NetConnection.Connect.Success",
            "0 _result 2 ",
            "0 _result 3 ",
            "0 _result 4 1",
            "4 [00, 00, 00, 00, 00, 01]",
            "1 onStatus 0 NetStream.Publish.Start",
            "4 [00, 07, 01, 02, 03, 04]",
            "1 onStatus 0 NetStream.Unpublish.Success",
            "0 _result 6 ",
        ]
    );
}

#[test]
fn a_refused_publisher_is_told_why() {
    for (refusal, code) in
        [(Refusal::Unauthorized, "NetStream.Publish.Denied"), (Refusal::BadName, "NetStream.Publish.BadName")]
    {
        let refuse = |connection: &mut Connection, stream, _: &Target| connection.refuse(stream, refusal, "no");
        let (events, answers) = converse(&conversation().bytes, &[1000], refuse);
        assert_eq!(events, ["publish 1 live/news Some(\"s3cret\")", "closed"]);
        assert_eq!(answers.last().unwrap(), &format!("1 onStatus 0 {code}"));
    }
}

#[test]
fn commands_that_real_servers_tolerate() {
    let mut client = Client::connected("live");
    client.command(0, "_checkbw", 9.0, Value::Null, &[]);
    client.command(0, "getStreamLength", 0.0, Value::Null, &[]);
    client.command(1, "play", 0.0, Value::Null, &[Value::string("news")]);
    // AMF 3 messages begin with a zero.
    let publish = amf::write(&[Value::string("publish"), Value::Number(0.0), Value::Null, Value::string("news")]);
    client.message(3, COMMAND_AMF3, 0, 1, &[&[0][..], &publish, b"\x11\x04\x01"].concat());
    let cue = amf::write(&[Value::string("onAdCue"), Value::object([("cue", Value::string("SpliceOut"))])]);
    client.message(3, DATA_AMF3, 0, 1, &[&[0][..], &cue].concat());
    client.command(1, "publish", 0.0, Value::Null, &[Value::string("twice")]);
    client.message(6, 99, 0, 1, b"?").message(6, AUDIO, 0, 1, b"").message(6, AUDIO, 0, 5, b"\xAF\0\x12\x10");
    client.command(1, "closeStream", 0.0, Value::Null, &[]);
    client.command(1, "publish", 0.0, Value::Null, &[Value::string("again")]);
    let (events, answers) = converse(&client.bytes, &[usize::MAX], accept);
    let want = ["publish 1 live/news None", "1: marker", "1: end", "unpublish 1", "publish 1 live/again None"];
    assert_eq!(events, want);
    let commands: Vec<_> = answers.iter().filter(|answer| answer.contains(" on") || answer.contains(" _")).collect();
    assert_eq!(
        commands,
        [
            "0 _result 1 NetConnection.Connect.Success",
            "0 _result 9 ",
            "1 onStatus 0 NetStream.Play.Failed",
            "1 onStatus 0 NetStream.Publish.Start",
            "1 onStatus 0 NetStream.Publish.BadName",
            "1 onStatus 0 NetStream.Unpublish.Success",
            "1 onStatus 0 NetStream.Publish.Start",
        ]
    );
}

#[test]
fn several_publishers_on_one_connection() {
    let mut client = Client::connected("live/news");
    client.publish(1, "v1").publish(2, "v2");
    client.message(6, VIDEO, 0, 2, HEADER).message(6, VIDEO, 0, 1, HEADER);
    client.message(6, VIDEO, 5, 2, b"\x17\x01\0\0\0two").message(6, VIDEO, 9, 1, b"\x17\x01\0\0\0one");
    client.command(0, "FCUnpublish", 0.0, Value::Null, &[Value::string("v1")]);
    client.message(6, VIDEO, 10, 2, b"\x27\x01\0\0\0on").message(6, VIDEO, 10, 1, b"\x27\x01\0\0\0off");
    let (events, _) = converse(&client.bytes, &[100], accept);
    assert_eq!(
        events,
        [
            "publish 1 live/news/v1 None",
            "publish 2 live/news/v2 None",
            "2: track 0 avc1",
            "1: track 0 avc1",
            "2: 0 5 two",
            "1: 0 9 one",
            "1: end",
            "unpublish 1",
            "2: 0 10 on",
        ]
    );
}

#[test]
fn aggregates_are_taken_apart() {
    let mut client = Client::connected("live");
    client.publish(1, "news");
    let tag = |kind: u8, timestamp: u32, body: &[u8]| {
        let time = timestamp.to_be_bytes();
        let length = (body.len() as u32).to_be_bytes();
        [&[kind], &length[1..], &time[1..], &time[..1], &[0, 0, 0], body, &[0, 0, 0, 1]].concat()
    };
    let body = [tag(9, 1000, HEADER), tag(9, 1000, b"\x17\x01\0\0\0a"), tag(9, 1040, b"\x27\x01\0\0\0b")].concat();
    client.message(6, AGGREGATE, 500, 1, &body);
    client.message(6, AGGREGATE, 600, 1, &body[..body.len() - 6]);
    let (events, _) = converse(&client.bytes, &[usize::MAX], accept);
    assert_eq!(
        events[1..],
        [
            "1: track 0 avc1",
            "1: 0 500 a",
            "1: 0 540 b",
            "1: 0 600 a",
            "1: ignored: aggregate tag of 4 bytes: cut short",
        ]
    );
}

#[test]
fn enhanced_clients_are_told_what_is_taken() {
    let mut client = Client::connected("live");
    let capabilities =
        Value::object([("app", Value::string("live")), ("fourCcList", Value::Array(vec![Value::string("*")]))]);
    client.command(0, "connect", 1.0, capabilities, &[]);
    let mut connection = Connection::new();
    connection.handle_input(&client.bytes);
    assert_eq!(connection.poll_event(), Ok(None));
    let output = connection.poll_output().unwrap();
    let mut informations = Vec::new();
    let (mut reader, mut input) = (chunk::Reader::default(), BytesMut::from(&output[1 + 2 * 1536..]));
    while let Some(message) = reader.next(&mut input, RTMP_MESSAGE_BYTES_MAX).unwrap() {
        match message.kind {
            SET_CHUNK_SIZE => reader.set_chunk_size(4096).unwrap(),
            COMMAND => informations.push(amf::read(&message.body).unwrap().remove(3)),
            _ => {}
        }
    }
    let [plain, enhanced] = &informations[..] else { panic!("{informations:?}") };
    assert_eq!(plain.property("fourCcList"), None);
    let Some(Value::Array(list)) = enhanced.property("fourCcList") else { panic!("{enhanced:?}") };
    assert_eq!(list.len(), 10);
    assert_eq!(enhanced.property("videoFourCcInfoMap").and_then(|map| map.property("hvc1")), Some(&Value::Number(4.0)));
    assert_eq!(enhanced.property("capsEx"), Some(&Value::Number(14.0)));
}

#[test]
fn what_has_come_is_acknowledged() {
    let mut client = Client::connected("live");
    client.message(2, WINDOW_SIZE, 0, 0, &5000_u32.to_be_bytes());
    client.message(6, VIDEO, 0, 1, &[0; 12_000]);
    let (_, answers) = converse(&client.bytes, &[1000], accept);
    let told: Vec<_> = answers.iter().filter(|answer| answer.starts_with("3 ")).collect();
    // Of 15 400 bytes, in pieces of 1000.
    assert_eq!(told, ["3 [00, 00, 13, 88]", "3 [00, 00, 27, 10]", "3 [00, 00, 3a, 98]"]);
}

#[test]
fn hostile_peers_are_refused() {
    let connected = |act: &dyn Fn(&mut Client)| {
        let mut client = Client::connected("live");
        act(&mut client);
        client.bytes
    };
    for (bytes, want) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "handshake begins 0x47; expected version 3 of RTMP, in the clear"),
        (b"\x16\x03\x01".to_vec(), "handshake begins 0x16; expected version 3 of RTMP, in the clear"),
        ([&[3][..], &[0; 3072], &Client::default().publish(1, "news").bytes].concat(), "createStream before connect"),
        (
            connected(&|client| {
                for _ in 0..20 {
                    client.command(0, "createStream", 1.0, Value::Null, &[]);
                }
            }),
            "more than 16 message streams",
        ),
        (
            connected(&|client| {
                client.message(2, SET_CHUNK_SIZE, 0, 0, &[0; 4]);
            }),
            "chunk size 0; expected at least 1",
        ),
        (
            connected(&|client| {
                client.message(2, ABORT, 0, 0, &[0; 2]);
            }),
            "control message 2 of 2 bytes; expected 4",
        ),
        (
            connected(&|client| {
                client.message(3, COMMAND, 0, 0, &[0x11, 0]);
            }),
            "a command that is none: AMF value at byte 0: marker 0x11; expected one of AMF 0",
        ),
        (
            connected(&|client| {
                client.message(3, COMMAND, 0, 0, &[0; 70_000]);
            }),
            "a message of 70000 bytes; at most 65536 are taken",
        ),
        (
            connected(&|client| {
                let video = [0; 70_000];
                client.message(6, VIDEO, 0, 1, &video);
            }),
            "a message of 70000 bytes; at most 65536 are taken",
        ),
        (
            connected(&|client| {
                for _ in 0..4000 {
                    client.message(2, USER_CONTROL, 0, 0, &[0, 6, 0, 0, 0, 0]);
                }
            }),
            "more than 65536 bytes of answers not taken",
        ),
    ] {
        let (events, _) = converse(&bytes, &[usize::MAX], accept);
        assert_eq!(events, [want]);
    }
    // Who publishes may send key frames, but no commands of their size.
    let mut client = Client::connected("live");
    client.publish(1, "news").message(6, VIDEO, 0, 1, &[0x17; 70_000]).message(3, COMMAND, 0, 0, &[0; 70_000]);
    let (events, _) = converse(&client.bytes, &[usize::MAX], accept);
    assert_eq!(events[0], "publish 1 live/news None");
    assert_eq!(events.last().unwrap(), "a command of 70000 bytes; at most 65536 are taken");
}

#[test]
fn real_encoders() {
    for (encoder, want) in [
        (fixtures::FFMPEG, ["1: track 0 avc1", "1: track 1 mp4a"]),
        (fixtures::GSTREAMER, ["1: track 0 avc1", "1: track 1 mp4a"]),
        (fixtures::LIBRTMP, ["1: track 0 avc1", "1: track 1 mp4a"]),
        (fixtures::ENHANCED, ["1: track 0 av01", "1: track 1 ac-3"]),
    ] {
        let bytes = [&[3][..], &[0; 2 * 1536], &fixtures::bytes(encoder)].concat();
        let (events, _) = converse(&bytes, &[1000], accept);
        assert_eq!(events[0], "publish 1 live/news Some(\"s3cret\")");
        assert_eq!(events[1..3], want);
        // Changed somewhere, it is refused or read.
        for at in (3073..bytes.len()).step_by(7) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x55;
            converse(&bytes, &[usize::MAX], accept);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_split_gives_the_same(sizes in proptest::collection::vec(1usize..2000, 1..6)) {
        let bytes = conversation().bytes;
        prop_assert_eq!(converse(&bytes, &sizes, accept), converse(&bytes, &[usize::MAX], accept));
    }

    #[test]
    fn random_messages_never_panic(
        messages in proptest::collection::vec((
            2u8..8,
            prop_oneof![0u8..24, Just(COMMAND), Just(VIDEO), Just(AGGREGATE)],
            any::<u32>(),
            0u32..3,
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                Just(amf::write(&[Value::string("deleteStream"), Value::Number(1.0), Value::Null, Value::Number(f64::NAN)])),
                Just(amf::write(&[Value::string("publish"), Value::Number(1.0), Value::Null, Value::string("%")])),
            ],
        ), 0..20),
        cut in 0usize..4000,
    ) {
        let mut client = Client::connected("live");
        client.publish(1, "news");
        for (chunk_stream, kind, timestamp, stream, body) in messages {
            client.message(chunk_stream, kind, timestamp & 0xFF_FFFF, stream, &body);
        }
        converse(&client.bytes, &[997], accept);
        converse(&client.bytes[..cut.min(client.bytes.len())], &[usize::MAX], accept);
    }
}
