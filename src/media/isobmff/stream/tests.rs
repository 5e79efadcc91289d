//! Streams of every form, in pieces of every size.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::fixture::{
    Node, add, bytes, fragment, fragmented, full, hdlr, leaf, remove, replace, sample_entry, stsd, tree, words,
};
use super::*;
use crate::base::limits::STREAM_SAMPLE_BYTES_MAX;
use crate::media::feed;

/// What comes of one request that arrives `step` bytes at a time.
fn request(demuxer: &mut Demuxer, stream: &[u8], step: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for piece in stream.chunks(step) {
        let result = demuxer.handle(Bytes::copy_from_slice(piece));
        lines.extend(said(demuxer));
        if let Err(error) = result {
            lines.push(error.to_string());
        }
    }
    let result = demuxer.finish();
    lines.extend(said(demuxer));
    lines.extend(result.err().map(|error| error.to_string()));
    lines
}

fn events(file: &[Node], step: usize) -> Vec<String> {
    request(&mut Demuxer::new("f"), &bytes(file), step)
}

/// What there is, but for how much of it came at once.
fn said(demuxer: &mut Demuxer) -> Vec<String> {
    let events = std::iter::from_fn(|| demuxer.poll());
    events.filter(|event| !matches!(event, Event::Chunk { .. })).map(line).collect()
}

fn line(event: Event) -> String {
    let scaled = |at: Option<At>| at.map_or("-".to_owned(), |(at, scale)| format!("{}/{}", at.0, scale.per_second()));
    match event {
        Event::Track { track, format } => format!(
            "track {track} {:?} {} {} {} {:?}",
            format.kind,
            format.timescale.per_second(),
            format.language,
            format.sample_entry[4..8].escape_ascii(),
            format.role,
        ),
        Event::Sample { track, sample } => format!(
            "{track} @{}+{} {:?} {}{}",
            sample.decode_time.0,
            sample.composition_offset,
            sample.duration,
            sample.data.len(),
            if sample.is_sync { " sync" } else { "" },
        ),
        Event::Marker(marker) => {
            let what = match marker.message {
                feed::Message::Scte35(data) => format!("scte35 {data:?}"),
                feed::Message::Event { scheme, value, id, data } => format!("{scheme} {value} {id} {data:?}"),
            };
            format!("marker {} for {} {what}", scaled(marker.time), scaled(marker.duration))
        }
        Event::Chunk { .. } => unreachable!("they are left out"),
        Event::End => "end".to_owned(),
    }
}

const TRACKS: [&str; 2] = ["track 0 Video 1000 und avc1 Main", "track 1 Audio 48000 de mp4a Main"];

/// Of [`fragment`]: the samples of both tracks.
fn samples(video: i64, audio: i64) -> Vec<String> {
    let mut lines = vec![
        format!("0 @{video}+200 Some(100) 10 sync"),
        format!("0 @{}+100 Some(100) 20", video + 100),
        format!("0 @{}+-100 Some(100) 30", video + 200),
    ];
    lines.extend((0..4).map(|number| format!("1 @{}+0 Some(1024) 4 sync", audio + number * 1_024)));
    lines
}

fn lines(parts: &[&[String]]) -> Vec<String> {
    parts.concat()
}

fn tracks() -> Vec<String> {
    TRACKS.map(str::to_owned).to_vec()
}

#[test]
fn any_split_gives_the_same_events() {
    let file = fragmented();
    let want = lines(&[&tracks(), &samples(0, 0), &samples(300, 4_096)]);
    let len = bytes(&file).len();
    for step in [1, 2, 3, 7, 8, 9, 64, 1_000, len] {
        assert_eq!(events(&file, step), want, "{step}");
    }
}

#[test]
fn a_sample_is_there_with_its_last_byte() {
    let stream = bytes(&fragmented());
    let media = stream.windows(4).position(|window| window == b"mdat").unwrap() + 4;
    let mut demuxer = Demuxer::new("f");
    demuxer.handle(Bytes::copy_from_slice(&stream[..media + 9])).unwrap();
    assert_eq!(said(&mut demuxer), TRACKS);
    demuxer.handle(Bytes::copy_from_slice(&stream[media + 9..media + 10])).unwrap();
    assert!(matches!(demuxer.poll(), Some(Event::Sample { .. })));
    assert_eq!(demuxer.poll(), None);
}

#[test]
fn how_much_comes_at_once_is_told() {
    let mut demuxer = Demuxer::new("f");
    let mut chunks = |stream: &[Node]| {
        demuxer.handle(bytes(stream).into()).unwrap();
        let events: Vec<Event> = std::iter::from_fn(|| demuxer.poll()).collect();
        let chunk = |event: &Event| match event {
            Event::Chunk { track, duration } => Some((*track, duration.map_or(0, |duration| duration.as_micros()))),
            _ => None,
        };
        // Before the samples of each fragment.
        let mut steps: Vec<_> = events.iter().map(std::mem::discriminant).collect();
        steps.dedup();
        let place = |event: fn(&Event) -> bool| events.iter().find(|it| event(it)).map(std::mem::discriminant);
        let fragment = [place(|it| matches!(it, Event::Chunk { .. })), place(|it| matches!(it, Event::Sample { .. }))];
        let begin = usize::from(matches!(events[0], Event::Track { .. }));
        assert!(steps[begin..].chunks(2).all(|pair| pair.iter().copied().map(Some).eq(fragment)), "{events:?}");
        events.iter().filter_map(chunk).collect::<Vec<_>>()
    };
    assert_eq!(chunks(&fragmented()), [[(0, 300_000), (1, 85_333)]; 2].concat());
    assert_eq!(chunks(&fragment(600, 8_192)), [(0, 300_000), (1, 85_333)]);
    // By another default duration; the tracks are the same.
    let mut header = fragmented();
    replace(&mut header, "moov/mvex/trex[1]", full(b"trex", &[0, 1, 1, 200, 0, 0x0101_0000]));
    let [moof, media] = fragment(900, 12_288);
    assert_eq!(chunks(&[&header[..2], &[moof, media]].concat()), [(0, 600_000), (1, 85_333)]);
}

#[test]
fn headers_and_media_come_in_requests_of_their_own() {
    let file = fragmented();
    let (header, media) = (bytes(&file[..2]), bytes(&file[2..]));
    let mut demuxer = Demuxer::new("f");
    assert_eq!(
        request(&mut demuxer, &media, 50).first().map(String::as_str),
        Some("f: found media at byte 16 without a header, expected ftyp and moov before it")
    );
    assert_eq!(request(&mut demuxer, &header, 50), TRACKS);
    // Again, as after a reconnection: nothing new.
    assert_eq!(request(&mut demuxer, &header, 11), [""; 0]);
    let want = lines(&[&samples(0, 0), &samples(300, 4_096)]);
    assert_eq!(request(&mut demuxer, &media, 50), want);
    assert_eq!(request(&mut demuxer, &[], 1), [""; 0]);
    // Cut in the middle of the last sample, and again from the start.
    let cut = request(&mut demuxer, &media[..media.len() - 1], 13);
    let error = format!(
        "f: the request ended after {} bytes in the middle of a fragment's media, expected whole boxes",
        media.len() - 1
    );
    assert_eq!(cut, lines(&[&want[..want.len() - 1], &[error]]));
    assert_eq!(request(&mut demuxer, &media, 50), want);
    // Another header: what changed is announced, the rest is not.
    let mut other = fragmented();
    replace(
        &mut other,
        "moov/trak[1]/mdia/minf/stbl/stsd",
        stsd(&[sample_entry(b"hvc1", 70, &[leaf(b"hvcC", [0; 23])])]),
    );
    assert_eq!(request(&mut demuxer, &bytes(&other[..2]), 50), ["track 0 Video 1000 und hvc1 Main"]);
}

#[test]
fn what_is_around_the_media_is_tolerated_or_read() {
    let message = |numbers: &[u32], version: u8| {
        let texts = b"urn:scte:scte35:2013:bin\0\0";
        let version = [version, 0, 0, 0];
        match version[0] {
            0 => leaf(b"emsg", [&version[..], texts, &words(numbers), b"DATA"].concat()),
            _ => leaf(b"emsg", [&version[..], &words(numbers), texts, b"DATA"].concat()),
        }
    };
    type Change = Box<dyn Fn(&mut Vec<Node>)>;
    let insert =
        |at: usize, node: Node| -> Change { Box::new(move |file: &mut Vec<Node>| file.insert(at, node.clone())) };
    // Places: ftyp, moov, styp, moof, mdat, styp, moof, mdat.
    let cases: Vec<(&str, Change, usize, &str)> = vec![
        ("sidx", insert(2, full(b"sidx", &[0; 8])), 0, ""),
        ("prft", insert(3, full(b"prft", &[0; 6])), 0, ""),
        ("uuid", insert(5, leaf(b"uuid", [7; 40])), 0, ""),
        ("unknown", insert(2, leaf(b"abcd", [7; 40])), 0, ""),
        ("mfra", insert(8, leaf(b"mfra", [7; 40])), 16, "end"),
        ("no mfra but lmsg", Box::new(|file| file[5] = leaf(b"styp", *b"msdh\0\0\0\0lmsg")), 16, "end"),
        ("lmsg, and still another", Box::new(|file| file[2] = leaf(b"styp", *b"msdh\0\0\0\0lmsg")), 0, ""),
        // The earliest of the second fragment is its last: 500 less 100.
        (
            "emsg 0",
            insert(5, message(&[90_000, 9_000, 90_000, 5], 0)),
            9,
            "marker 45000/90000 for 90000/90000 scte35 b\"DATA\"",
        ),
        (
            "emsg 1",
            insert(5, message(&[1_000, 1, 7, u32::MAX, 5], 1)),
            9,
            "marker 4294967303/1000 for - scte35 b\"DATA\"",
        ),
        ("emsg 0 at the end", insert(8, message(&[1_000, 1, 2, 5], 0)), 16, "marker - for 2/1000 scte35 b\"DATA\""),
    ];
    for (name, change, at, line) in cases {
        let mut file = fragmented();
        change(&mut file);
        let mut want = lines(&[&tracks(), &samples(0, 0), &samples(300, 4_096)]);
        if !line.is_empty() {
            want.insert(at, line.to_owned());
        }
        assert_eq!(events(&file, 17), want, "{name}");
    }
}

/// A `moof` with the boxes of one `traf`, which are told where the media begins, and the media.
fn video(traf: impl Fn(u32) -> Vec<Node>, media: Vec<u8>) -> [Node; 2] {
    let moof = |at: u32| tree(b"moof", [full(b"mfhd", &[0, 1]), tree(b"traf", traf(at))]);
    let len = bytes(&[moof(0)]).len() as u32;
    [moof(len + 8), leaf(b"mdat", media)]
}

#[test]
fn places_and_times_are_found_however_they_are_written() {
    let run = |at: u32| full(b"trun", &[0x0000_0301, 2, at, 40, 3, 60, 5]);
    let uuid = |version: u8, numbers: &[u32]| {
        let kind = b"\x6d\x1d\x9b\x05\x42\xd5\x44\xe6\x80\xe2\x14\x1d\xaf\xf7\x57\xb2";
        leaf(b"uuid", [&kind[..], &[version, 0, 0, 0], &words(numbers)].concat())
    };
    let tfhd = || full(b"tfhd", &[0x2_0000, 1]);
    let media = || vec![0x55; 8];
    let two = |time: i64| vec![format!("0 @{time}+0 Some(40) 3"), format!("0 @{}+0 Some(60) 5", time + 40)];
    let cases: Vec<(&str, [Node; 2], Vec<String>)> = vec![
        ("no time: goes on", video(|at| vec![tfhd(), run(at)], media()), two(600)),
        ("32 bits", video(|at| vec![tfhd(), full(b"tfdt", &[0, 7]), run(at)], media()), two(7)),
        ("64 bits", video(|at| vec![tfhd(), full(b"tfdt", &[0x0100_0000, 2, 0]), run(at)], media()), two(1 << 33)),
        (
            "64 bits, before 0",
            video(
                |at| vec![tfhd(), full(b"tfdt", &[0x0100_0000, u32::MAX, 1_024_u32.wrapping_neg()]), run(at)],
                media(),
            ),
            two(-1_024),
        ),
        ("Smooth", video(|at| vec![tfhd(), run(at), uuid(1, &[1, 0, 0, 9])], media()), two(1 << 32)),
        ("Smooth, 32 bits", video(|at| vec![tfhd(), run(at), uuid(0, &[1_000, 9])], media()), two(1_000)),
        (
            "no offset",
            video(|_| vec![full(b"tfhd", &[0, 1]), full(b"trun", &[0x300, 2, 40, 3, 60, 5])], media()),
            two(600),
        ),
        (
            "the moof of a file that this is not",
            video(|at| vec![leaf(b"tfhd", words(&[1, 1, 7, 7_777])), run(at)], media()),
            two(600),
        ),
        ("its media", video(|_| vec![leaf(b"tfhd", words(&[1, 1, 7, 7_777])), run(0)], media()), two(600)),
        (
            "a gap in the media",
            video(|at| vec![tfhd(), run(at), full(b"trun", &[0x0000_0201, 1, at + 10, 2])], vec![0x55; 12]),
            [two(600), vec!["0 @700+0 Some(100) 2".to_owned()]].concat(),
        ),
        (
            "samples without bytes",
            video(|at| vec![tfhd(), full(b"trun", &[0x0000_0201, 3, at, 0, 4, 0])], vec![0x55; 4]),
            vec!["0 @600+0 Some(100) 0".into(), "0 @700+0 Some(100) 4".into(), "0 @800+0 Some(100) 0".into()],
        ),
    ];
    for (name, next, want) in cases {
        let mut file = fragmented();
        file.extend(next);
        let got = events(&file, 10);
        assert_eq!(got[16..], want, "{name}");
    }
}

#[test]
fn edit_lists_move_all_times() {
    let mut file = fragmented();
    let edits = |numbers: &[u32]| tree(b"edts", [full(b"elst", numbers)]);
    add(&mut file, "moov/trak[1]", edits(&[0, 1, 0, 200, 0x1_0000]));
    add(&mut file, "moov/trak[2]", edits(&[0, 2, 500, u32::MAX, 0x1_0000, 0, 0, 0x1_0000]));
    assert_eq!(events(&file, 99), lines(&[&tracks(), &samples(-200, 24_000), &samples(100, 28_096)]));
}

#[test]
fn tracks_of_messages_become_marks() {
    let mut file = fragmented();
    let uri = leaf(b"uri ", *b"\0\0\0\0urn:x\0");
    replace(&mut file, "moov/trak[2]/mdia/minf/stbl/stsd", stsd(&[sample_entry(b"urim", 0, &[uri])]));
    replace(&mut file, "moov/trak[2]/mdia/hdlr", hdlr(b"meta", b"\0"));
    let got = events(&file, 30);
    assert_eq!(got[0], TRACKS[0]);
    assert_eq!(got[4], "marker 0/48000 for 1024/48000 urn:x  0 b\"UUUU\"");
    let instance =
        leaf(b"emib", [&words(&[0, 0, 0, 48_000, 96_000, 3])[..], b"urn:scte:scte35:2013:bin\0\0DATA"].concat());
    let instance = bytes(&[instance]);
    replace(&mut file, "moov/trak[2]/mdia/minf/stbl/stsd", stsd(&[sample_entry(b"evte", 0, &[])]));
    let size = instance.len() as u32;
    file.truncate(2);
    let traf =
        |at| vec![full(b"tfhd", &[0x2_0000, 2]), full(b"tfdt", &[0, 48_000]), full(b"trun", &[0x201, 1, at, size])];
    file.extend(video(traf, instance));
    assert_eq!(events(&file, 30)[1..], ["marker 96000/48000 for 96000/48000 scte35 b\"DATA\""]);
}

#[test]
fn other_tracks_are_passed_over() {
    let mut file = fragmented();
    replace(&mut file, "moov/trak[1]/mdia/hdlr", hdlr(b"tmcd", b"\0"));
    let got = events(&file, 30);
    assert_eq!(got[..2], ["track 0 Audio 48000 de mp4a Main", "0 @0+0 Some(1024) 4 sync"]);
    assert_eq!(got.len(), 9);
}

#[test]
fn damage_is_named_and_ends_the_request() {
    type Change = fn(&mut Vec<Node>);
    let huge: u32 = STREAM_SAMPLE_BYTES_MAX + 1;
    let cases: &[(&str, Change, &str)] = &[
        (
            "not a box",
            |file| *file = vec![leaf(b"what", [0; 8])],
            "f: at byte 0: not an MP4 or MOV file: found bytes \"\\x00\\x00\\x00\\x10what\", expected a box such as ftyp or moov",
        ),
        (
            "no header",
            |file| drop(file.drain(..2)),
            "f: found media at byte 16 without a header, expected ftyp and moov before it",
        ),
        (
            "only media",
            |file| drop(file.drain(..4)),
            "f: found media at byte 0 without a header, expected ftyp and moov before it",
        ),
        ("a plain file", |file| remove(file, "moov/mvex"), "f: moov: found no mvex box, expected one"),
        (
            "encrypted",
            |file| replace(file, "moov/trak[1]/mdia/minf/stbl/stsd", stsd(&[sample_entry(b"encv", 70, &[])])),
            "found encrypted media (encv), expected it in the clear",
        ),
        (
            "another track",
            |file| replace(file, "moof[1]/traf[2]/tfhd", full(b"tfhd", &[0x2_0000, 9])),
            "found track_ID 9, expected one of the header's",
        ),
        (
            "too many samples",
            |file| replace(file, "moof[1]/traf[2]/trun", full(b"trun", &[0, u32::MAX])),
            "found 4294967295 samples more, expected at most 65536 in one fragment",
        ),
        (
            "media too short",
            |file| replace(file, "mdat[1]", leaf(b"mdat", [0x55; 75])),
            "found a sample of 4 bytes at byte",
        ),
        ("media missing", |file| remove(file, "mdat[1]"), "found the next fragment before the media of the last"),
        (
            "one in another",
            |file| replace(file, "moof[1]/traf[2]/trun", full(b"trun", &[1, 4, 190])),
            "expected samples one behind the other",
        ),
        (
            "in the moof",
            |file| replace(file, "moof[1]/traf[2]/trun", full(b"trun", &[1, 4, 8])),
            "expected one behind the moof",
        ),
    ];
    for (name, change, want) in cases {
        let mut file = fragmented();
        change(&mut file);
        let got = events(&file, 23);
        let errors: Vec<&String> = got.iter().filter(|line| line.starts_with("f: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains(want), "{name}: {got:?}");
    }
    let mut file = fragmented();
    file.truncate(2);
    file.extend(video(|at| vec![full(b"tfhd", &[0x2_0000, 1]), full(b"trun", &[0x201, 1, at, huge])], vec![0; 8]));
    assert!(events(&file, 23)[2].contains("found a sample of 16777217 bytes, expected at most 16777216"));
}

#[test]
fn sizes_are_bounded_before_anything_is_held() {
    for (name, start) in [
        ("moov", &b"\x7f\0\0\0moov"[..]),
        ("moof", b"\0\0\0\x01moof\0\0\0\x7f\0\0\0\0"),
        ("emsg", b"\0\x02\0\0emsg"),
        ("endless", b"\0\0\0\0moov"),
        ("wrapping", b"\0\0\0\x01moof\xff\xff\xff\xff\xff\xff\xff\xff"),
    ] {
        let mut demuxer = Demuxer::new("f");
        let ftyp = bytes(&[leaf(b"ftyp", *b"iso6\0\0\0\0")]);
        let error = demuxer.handle([&ftyp[..], start].concat().into()).unwrap_err();
        assert!(error.to_string().contains("found a box of"), "{name}: {error}");
        demuxer.handle(vec![0; 1 << 20].into()).unwrap();
        assert!(demuxer.gathered.capacity() < 4_096);
    }
    // What is not needed may be as large as it likes.
    let mut demuxer = Demuxer::new("f");
    demuxer.handle(b"\0\0\0\x01free\xff\0\0\0\0\0\0\0".as_slice().into()).unwrap();
    demuxer.handle(vec![0; 1 << 20].into()).unwrap();
    assert!(demuxer.gathered.capacity() < 4_096);
}

#[test]
fn an_endless_mdat_lasts_as_long_as_the_request() {
    let mut stream = bytes(&fragmented()[..5]);
    let at = stream.len() - 84;
    stream[at..at + 4].fill(0);
    assert_eq!(request(&mut Demuxer::new("f"), &stream, 5), lines(&[&tracks(), &samples(0, 0)]));
}

proptest! {
    #[test]
    fn hostile_streams_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        steps in prop::collection::vec(1_usize..200, 1..40),
    ) {
        let mut file = fragmented();
        file.insert(5, leaf(b"emsg", [&[0; 4][..], b"urn:x\0\0", &words(&[1_000, 0, 0, 0])].concat()));
        let mut stream = bytes(&file);
        for (at, value) in changes {
            let at = at.index(stream.len());
            stream[at] = value;
        }
        stream.truncate(cut.index(stream.len() + 1));
        let whole = request(&mut Demuxer::new("f"), &stream, usize::MAX);
        let mut demuxer = Demuxer::new("f");
        let mut split = Vec::new();
        let mut rest = &stream[..];
        for step in steps.iter().cycle() {
            let (piece, left) = rest.split_at((*step).min(rest.len()));
            let result = demuxer.handle(Bytes::copy_from_slice(piece));
            split.extend(said(&mut demuxer));
            split.extend(result.err().map(|error| error.to_string()));
            rest = left;
            if rest.is_empty() {
                break;
            }
        }
        let result = demuxer.finish();
        split.extend(said(&mut demuxer));
        split.extend(result.err().map(|error| error.to_string()));
        // What an error was found with depends on how much of the box was there.
        let good = |lines: &[String]| lines.iter().filter(|line| !line.starts_with("f: ")).cloned().collect::<Vec<_>>();
        prop_assert_eq!(good(&whole), good(&split));
    }

    #[test]
    fn random_bytes_do_no_harm(stream in prop::collection::vec(any::<u8>(), 0..2_000), step in 1_usize..300) {
        request(&mut Demuxer::new("f"), &stream, step);
        let mut demuxer = Demuxer::new("f");
        request(&mut demuxer, &bytes(&fragmented()[..2]), 1_000);
        let [moof, _] = fragment(0, 0);
        let mut boxed = bytes(&[moof]);
        let len = boxed.len();
        for (at, byte) in stream.iter().enumerate().take(len.saturating_sub(8)) {
            // A moof of which every word is likely to be wrong.
            if byte % 16 == 0 {
                boxed[8 + at] = *byte;
            }
        }
        request(&mut demuxer, &boxed, step);
    }
}
