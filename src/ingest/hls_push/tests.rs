use proptest::prelude::*;

use super::*;
use crate::ingest::cmaf::tests::{header, media};
use crate::media::mpegts::fixture::{AUDIO, VIDEO, Writer, adts, timestamp_tag};

/// A segment of five pictures, with audio.
fn segment(number: u64) -> Bytes {
    let mut writer = Writer::default();
    writer.tables(&[(0x1B, VIDEO, &[]), (0x0F, AUDIO, &[])]);
    let start = 90_000 + number * 18_000;
    for at in 0..5 {
        writer.picture(start + at * 3600, start + at * 3600, at == 0, 300);
    }
    writer.pes(AUDIO, start, start, false, &adts(&[7; 60]));
    writer.bytes.into()
}

fn put(publisher: &mut Publisher, name: &str, body: impl Into<Bytes>) -> Result<(), Error> {
    let mut request = publisher.begin(name)?;
    let body = body.into();
    for piece in body.chunks(700) {
        publisher.handle(&mut request, Bytes::copy_from_slice(piece))?;
    }
    publisher.finish(request)
}

/// A line for each output but samples, which are counted.
fn outputs(publisher: &mut Publisher) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut count = 0;
    while let Some((name, output)) = publisher.poll() {
        let line = match output {
            Output::Event(Event::Sample { .. }) => {
                count += 1;
                continue;
            }
            Output::Event(Event::Track { track, format }) => {
                format!("{name} track {track} {:?} {} {:?}", format.kind, format.language, format.name)
            }
            // Of each track, behind it.
            Output::Event(Event::Chunk { track, duration }) => {
                assert_eq!(duration, None);
                let announced = format!("{name} track {track} ");
                assert!(lines.last().is_some_and(|last| last.starts_with(&announced)), "{lines:?}");
                continue;
            }
            Output::Event(Event::Marker(_)) => format!("{name} marker"),
            Output::Event(Event::End) => format!("{name} end"),
            Output::Notice(notice) => format!("{name} {notice}"),
        };
        lines.push(line);
    }
    lines.push(format!("{count} samples"));
    lines
}

#[test]
fn segments_need_not_wait_for_their_playlist() {
    let mut publisher = Publisher::default();
    put(&mut publisher, "720p/seg_0.ts", segment(0)).unwrap();
    let want = ["720p/seg track 0 Video und None", "720p/seg track 1 Audio und None", "6 samples"];
    assert_eq!(outputs(&mut publisher), want);
    let playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:04:05.678Z\n\
        #EXTINF:0.2,\nseg_0.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:0.2,\nseg_1.ts\n";
    put(&mut publisher, "720p/index.m3u8", playlist).unwrap();
    assert_eq!(outputs(&mut publisher), ["0 samples"]);
    let multivariant = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"Deutsch\",LANGUAGE=\"deu\",URI=\"720p/index.m3u8\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=1000,AUDIO=\"a\"\n720p/index.m3u8\n";
    put(&mut publisher, "master.m3u8", multivariant).unwrap();
    let want =
        ["720p/seg track 0 Video de Some(\"Deutsch\")", "720p/seg track 1 Audio de Some(\"Deutsch\")", "0 samples"];
    assert_eq!(outputs(&mut publisher), want);
    put(&mut publisher, "720p/seg_1.ts", segment(1)).unwrap();
    assert_eq!(outputs(&mut publisher), ["6 samples"]);
    put(&mut publisher, "720p/index.m3u8", format!("{playlist}#EXT-X-ENDLIST\n")).unwrap();
    assert_eq!(outputs(&mut publisher), ["720p/seg end", "0 samples"]);
}

/// `out_1.m3u8` has `out_10.ts`, as ffmpeg calls it.
#[test]
fn digits_before_the_number_are_the_renditions() {
    let playlist = |rendition: u32, numbers: std::ops::RangeInclusive<u64>| {
        let listed: String = numbers.map(|number| format!("#EXTINF:0.2,\nout_{rendition}{number}.ts\n")).collect();
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n{listed}")
    };
    let tracks = |rendition: u32| {
        [0, 1].map(|track| format!("out_{rendition} track {track} {} und None", ["Video", "Audio"][track]))
    };
    let mut publisher = Publisher::default();
    // All first segments, and then all playlists; or each with its own.
    for rendition in 0..2 {
        put(&mut publisher, &format!("out_{rendition}0.ts"), segment(0)).unwrap();
        assert_eq!(outputs(&mut publisher), ["0 samples"]);
    }
    for rendition in 0..2 {
        put(&mut publisher, &format!("out_{rendition}.m3u8"), playlist(rendition, 0..=0)).unwrap();
        assert_eq!(outputs(&mut publisher)[..2], tracks(rendition));
    }
    put(&mut publisher, "out_20.ts", segment(0)).unwrap();
    put(&mut publisher, "out_2.m3u8", playlist(2, 0..=0)).unwrap();
    assert_eq!(outputs(&mut publisher)[..2], tracks(2));
    // Not the eleventh of another.
    put(&mut publisher, "out_110.ts", segment(0)).unwrap();
    assert_eq!(outputs(&mut publisher), ["0 samples"]);
    put(&mut publisher, "out_11.m3u8", playlist(11, 0..=0)).unwrap();
    assert_eq!(outputs(&mut publisher)[..2], tracks(11));
    // What follows does not wait.
    for number in 1..10 {
        for rendition in 0..3 {
            put(&mut publisher, &format!("out_{rendition}{number}.ts"), segment(number)).unwrap();
            assert_eq!(outputs(&mut publisher), ["6 samples"], "{rendition} {number}");
            put(&mut publisher, &format!("out_{rendition}.m3u8"), playlist(rendition, 0..=number)).unwrap();
        }
    }
}

#[test]
fn segments_without_playlists_wait_for_the_next() {
    let mut publisher = Publisher::default();
    put(&mut publisher, "a/seg_009.ts", segment(9)).unwrap();
    put(&mut publisher, "b/seg_019.ts", segment(9)).unwrap();
    assert_eq!(outputs(&mut publisher), ["0 samples"]);
    put(&mut publisher, "a/seg_010.ts", segment(10)).unwrap();
    let want = ["a/seg track 0 Video und None", "a/seg track 1 Audio und None", "12 samples"];
    assert_eq!(outputs(&mut publisher)[..2], want[..2]);
    put(&mut publisher, "a/seg_011.ts", segment(11)).unwrap();
    assert_eq!(outputs(&mut publisher), ["6 samples"]);
    // What is none is refused at once.
    assert!(matches!(put(&mut publisher, "c/seg_10.ts", vec![0; 400]), Err(Error::Unknown { .. })));
    assert!(matches!(put(&mut publisher, "c/seg_10.m4s", media(0)), Err(Error::NoHeader { .. })));
    // More than is kept is taken for what it is called.
    let mut request = publisher.begin("d/seg_10.ts").unwrap();
    publisher.handle(&mut request, segment(0)).unwrap();
    let filler: Vec<u8> = std::iter::once(0x47).chain([0x1F, 0xFF, 0x10]).chain([0xFF; 184]).collect();
    let mega: Bytes = filler.repeat(1024).into();
    for _ in 0..UNNAMED_BYTES_MAX / mega.len() + 1 {
        publisher.handle(&mut request, mega.clone()).unwrap();
    }
    publisher.finish(request).unwrap();
    assert_eq!(outputs(&mut publisher)[..2], ["d/seg track 0 Video und None", "d/seg track 1 Audio und None"]);
}

#[test]
fn where_there_are_several_headers_the_playlist_says_which() {
    let mut publisher = Publisher::default();
    for name in ["init0.mp4", "init1.mp4"] {
        put(&mut publisher, name, header()).unwrap();
    }
    let playlist = |name: &str, number: u32| {
        let segments: String = (0..=number).map(|number| format!("#EXTINF:1,\n{name}_{number}.m4s\n")).collect();
        let map = if name == "s0" { "init0.mp4" } else { "init1.mp4" };
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MAP:URI=\"{map}\"\n{segments}")
    };
    for (number, want) in [
        (
            0,
            [
                "0 samples",
                "s1 track 0 Video und None",
                "3 samples",
                // The other header is the only one left.
                "s0 track 0 Video und None",
                "3 samples",
                "0 samples",
            ],
        ),
        (1, ["3 samples", "", "0 samples", "3 samples", "", "0 samples"]),
    ] {
        let mut got = Vec::new();
        for name in ["s1", "s0"] {
            put(&mut publisher, &format!("{name}_{number}.m4s"), media(number * 300)).unwrap();
            got.extend(outputs(&mut publisher));
            put(&mut publisher, &format!("{name}.m3u8"), playlist(name, number)).unwrap();
            got.extend(outputs(&mut publisher));
        }
        assert_eq!(got, want.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>(), "{number}");
    }
    // A playlist whose header never came.
    put(&mut publisher, "init2.mp4", header()).unwrap();
    put(&mut publisher, "init3.mp4", header()).unwrap();
    put(&mut publisher, "x_0.m4s", media(0)).unwrap();
    put(&mut publisher, "x.m3u8", playlist("x", 0).replace("init1", "none")).unwrap();
    assert_eq!(outputs(&mut publisher), ["0 samples"]);
    assert!(put(&mut publisher, "x_1.m4s", media(300)).is_ok());
}

#[test]
fn segments_are_read_in_the_order_in_which_they_began() {
    let mut publisher = Publisher::default();
    let (first, second) = (segment(0), segment(1));
    let mut one = publisher.begin("s0.ts").unwrap();
    publisher.handle(&mut one, first.slice(..1000)).unwrap();
    let mut two = publisher.begin("s1.ts").unwrap();
    publisher.handle(&mut two, second.clone()).unwrap();
    publisher.finish(two).unwrap();
    publisher.handle(&mut one, first.slice(1000..)).unwrap();
    publisher.finish(one).unwrap();
    let mut times = Vec::new();
    while let Some((_, output)) = publisher.poll() {
        if let Output::Event(Event::Sample { track: 0, sample }) = output {
            times.push(sample.decode_time.0);
        }
    }
    assert_eq!(times, (0..10).map(|at| 90_000 + at * 3600).collect::<Vec<_>>());
}

#[test]
fn a_segment_gives_events_as_it_arrives() {
    let mut publisher = Publisher::default();
    let body = segment(0);
    let mut request = publisher.begin("s0.ts").unwrap();
    publisher.handle(&mut request, body.slice(..188 * 8)).unwrap();
    assert!(outputs(&mut publisher).len() > 1);
    publisher.abandon(request);
    put(&mut publisher, "s1.ts", segment(1)).unwrap();
    assert_eq!(outputs(&mut publisher).last().unwrap(), "6 samples");
}

#[test]
fn packed_audio_is_a_rendition() {
    let mut publisher = Publisher::default();
    put(&mut publisher, "a/1.aac", [timestamp_tag(90_000), adts(&[1; 50]), adts(&[2; 50])].concat()).unwrap();
    assert_eq!(outputs(&mut publisher), ["a track 0 Audio und None", "2 samples"]);
}

#[test]
fn what_is_wrong_is_said() {
    for (name, body, want) in [
        ("a.ts", vec![0; 100], "begins 0x0000000000000000"),
        ("a1.m4s", b"\0\0\0\x08moof".to_vec(), "media without a header"),
        ("a.m3u8", b"hello".to_vec(), "no playlist"),
        ("a.m3u8", vec![b'#'; PUSHED_MANIFEST_BYTES_MAX + 1], "a playlist of more than"),
        (
            "a.m3u8",
            b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXTINF:1,\na1.ts\n".to_vec(),
            "encrypted segments",
        ),
    ] {
        let error = put(&mut Publisher::default(), name, body).unwrap_err().to_string();
        assert!(error.contains(want), "{name}: {error}");
    }
}

#[test]
fn renditions_are_bounded() {
    let mut publisher = Publisher::default();
    let body = segment(0);
    let results: Vec<bool> = (0..PUBLISHER_RENDITIONS_MAX + 1)
        .map(|at| put(&mut publisher, &format!("r{at}/1.ts"), body.clone()).is_ok())
        .collect();
    assert_eq!(results.iter().filter(|is_taken| !**is_taken).count(), 1);
}

proptest! {
    #[test]
    fn nothing_from_outside_panics(
        requests in proptest::collection::vec(("[a-c]{1,2}[0-9]{0,2}(\\.ts|\\.m3u8|\\.mp4)", 0..5_u8, proptest::collection::vec(any::<u8>(), 0..400)), 0..12),
        lines in proptest::collection::vec("(#EXT-X-MAP:URI=\"[a-c].mp4\"|#EXTINF:1,|[a-c]{1,2}[0-9]\\.ts|#EXT-X-DISCONTINUITY|#EXT-X-ENDLIST|#EXT-X-[A-Z]{3,9}:[ -~]{0,20})", 0..12),
    ) {
        let mut publisher = Publisher::default();
        let _ = put(&mut publisher, "a.m3u8", format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n{}\n", lines.join("\n")));
        for (name, kind, body) in requests {
            let start: &[u8] = [&b""[..], b"#EXTM3U\n", b"\0\0\0\x08moof", b"\0\0\0\x10ftypisom\0\0\0\0", b"\x47"][usize::from(kind)];
            let _ = put(&mut publisher, &name, [start, &body].concat());
        }
        while publisher.poll().is_some() {}
    }
}
