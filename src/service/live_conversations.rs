//! What a player of a channel sends and what it gets.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::base::growing::Progress;
use mp4_atom::ReadFrom;

use crate::base::{Extent, Growing, Piece, Stored, Ticks, Timescale, Watch, Watermark};
use crate::http::{Response, request, uri};
use crate::live::{Located, TimeRange};
use crate::media::broadcast::{Broadcast, Position, SegmentView, State, TailSegment};
use crate::media::codec::make;
use crate::media::isobmff::write;
use crate::media::track::Details;
use crate::media::{Sample, Track, fixture, track};
use crate::package::fixture::{Channel, FIRST};

use super::live::{Live, Outcome, Source};
use super::route::Route;
use super::{Wait, missing};

const NOW: Duration = Duration::from_millis(1_767_225_610_250);

/// A number for which there is nothing.
const GAP: u64 = FIRST - 7;

struct Snapshot {
    channel: Channel,
    watch: Arc<Watch>,
    /// The file of the track of text, and how long its header is.
    text: Option<(Arc<dyn Stored>, u64)>,
}

/// A file that is mapped, if it is, as these bytes.
struct Null(File, Option<Vec<u8>>, AtomicBool);

impl Stored for Null {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn len(&self) -> u64 {
        1 << 40
    }

    fn mapped(&self) -> Option<&[u8]> {
        self.1.as_deref()
    }

    fn mark_damaged(&self) -> bool {
        !self.2.swap(true, Ordering::Relaxed)
    }

    fn is_damaged(&self) -> bool {
        self.2.load(Ordering::Relaxed)
    }

    fn name(&self) -> &str {
        "file"
    }
}

fn file() -> Arc<dyn Stored> {
    stored(None)
}

fn stored(mapped: Option<Vec<u8>>) -> Arc<dyn Stored> {
    Arc::new(Null(File::open("/dev/null").unwrap(), mapped, AtomicBool::new(false)))
}

impl Source for Snapshot {
    fn broadcast(&self, range: Option<TimeRange>) -> Option<Broadcast<'_>> {
        let mut broadcast = self.channel.broadcast();
        if let Some(range) = range {
            broadcast.first = broadcast.first.max(range.start.as_secs() / 2);
            if let Some(end) = range.end.filter(|end| end.as_secs() / 2 <= broadcast.next) {
                (broadcast.next, broadcast.state) = (end.as_secs() / 2, State::Ended);
            }
        }
        (broadcast.first < broadcast.next).then_some(broadcast)
    }

    fn edge(&self) -> Option<(Broadcast<'_>, u64)> {
        let edge = self.channel.broadcast();
        let fingerprint = edge.fingerprint();
        Some((edge, fingerprint))
    }

    fn init(&self, track: &str, name: &str) -> Option<Extent> {
        let (file, len) = self.text.clone().unwrap_or_else(|| (file(), 700));
        (name == format!("{track}-00")).then_some(Extent { file, offset: 0, len })
    }

    fn header(&self, track: &str, _: u64) -> Option<Extent> {
        self.init(track, &format!("{track}-00"))
    }

    fn segment(&self, track: &str, number: u64) -> Located {
        match self.channel.tracks.iter().find(|owned| owned.track.id == track) {
            Some(_) if number < self.channel.next && number >= self.channel.first => match &self.text {
                Some((file, header)) => {
                    let media = file.mapped().map_or(100, |all| all.len() as u64 - header);
                    Located::Whole(Extent { file: file.clone(), offset: *header, len: media })
                }
                None => Located::Whole(Extent { file: file(), offset: number, len: 1_000 }),
            },
            Some(_) if number == self.channel.next => {
                Located::Growing(Growing { file: file(), start: 5, progress: Arc::new(Progress::new(9)) })
            }
            Some(_) if number == self.channel.next + 1 => self.later(number, 1),
            Some(_) if number == GAP => Located::Gap { time: Ticks(96_000 * GAP as i64), duration: Ticks(96_000) },
            _ => Located::Missing,
        }
    }

    fn described(&self, track: &str, number: u64) -> Option<SegmentView<'_>> {
        let owned = self.channel.tracks.iter().find(|owned| owned.track.id == track)?;
        let row = owned.runs.iter().flat_map(|(init, rows)| rows.iter().map(move |row| row.view(init)));
        let mut all = row.chain(owned.tail.iter().map(TailSegment::view));
        all.find(|segment| segment.number == number)
    }

    fn part(&self, _: &str, number: u64, part: u32) -> Located {
        match number == self.channel.next && part < 2 {
            true => Located::Whole(Extent { file: file(), offset: 0, len: 100 }),
            false if number <= self.channel.next + 1 => self.later(number, part + 1),
            false => Located::Missing,
        }
    }

    fn watch(&self, _: &str) -> Option<&Arc<Watch>> {
        Some(&self.watch)
    }

    fn is_resident(&self, _: &Extent) -> bool {
        true
    }

    fn cue_tags(&self) -> bool {
        false
    }
}

impl Snapshot {
    /// `segments` complete ones, and two parts of the next.
    fn news(segments: u64, part: Option<Duration>) -> Snapshot {
        Snapshot { channel: Channel::news(segments, 2, part), watch: Arc::new(Watch::new(0)), text: None }
    }

    fn later(&self, number: u64, parts: u32) -> Located {
        Located::Later(Watermark { watch: self.watch.clone(), target: Position { number, parts }.mark() })
    }
}

struct Origin {
    live: Live,
    snapshot: Snapshot,
}

impl Origin {
    fn new(segments: u64) -> Origin {
        let snapshot = Snapshot::news(segments, Some(Duration::from_millis(520)));
        Origin { live: Live::new(8 << 20, missing(Duration::from_secs(3))), snapshot }
    }

    fn ask(&self, path: &str, fields: &str) -> Outcome {
        self.send("GET", path, fields)
    }

    fn send(&self, method: &str, path: &str, fields: &str) -> Outcome {
        let head = format!("{method} /live/news/{path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let (request, _) = request::parse(head.as_bytes()).unwrap().unwrap();
        let path = uri::decode(request.path).unwrap();
        let Some(Route::Live { channel, resource }) = Route::of(&path) else { return Outcome::Missing };
        self.live.answer(&request, channel, &self.snapshot, resource, NOW)
    }

    fn ready(&self, path: &str, fields: &str) -> Response {
        match self.ask(path, fields) {
            Outcome::Ready(response) => response,
            Outcome::Compress(manifest) => {
                manifest.compress();
                self.ready(path, fields)
            }
            other => panic!("{path}: {}", name(&other)),
        }
    }
}

fn name(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ready(response) if response.growing.is_some() => "follow".into(),
        Outcome::Ready(response) => response.status.0.to_string(),
        Outcome::Missing => "missing".into(),
        Outcome::Wait(Wait { until, patience, otherwise }) => {
            let mark = until.target;
            let (number, parts) = (mark >> 12, mark & 0xFFF);
            format!("wait {}.{parts} {}s {}", number - FIRST, patience.as_secs(), otherwise.status.0)
        }
        Outcome::Compress(_) => "compress".into(),
        Outcome::Read(_) => "read".into(),
        Outcome::Make(wanted) => format!("make {}", wanted.key.split(' ').next().unwrap_or_default()),
    }
}

fn body(response: &Response) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Inline(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Piece::Extent(extent) => format!("{extent:?}"),
    };
    response.body.pieces().iter().map(text).collect()
}

fn field<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    let fields = std::str::from_utf8(&response.fields).unwrap();
    fields.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Ten segments are complete (0 to 9 after the first), and two parts of the next (10.0, 10.1). Parts last 0.52 s: the
/// limit is six.
#[test]
fn blocking_reload() {
    let origin = Origin::new(10);
    for (query, want) in [
        ("_HLS_msn=0", "200"),
        ("_HLS_msn={9}", "200"),
        ("_HLS_msn={10}", "wait 11.0 6s 503"),
        ("_HLS_msn={11}", "wait 12.0 6s 503"),
        ("_HLS_msn={12}", "400"),
        ("_HLS_msn={10}&_HLS_part=1", "200"),
        ("_HLS_msn={10}&_HLS_part=2", "wait 10.3 6s 503"),
        ("_HLS_msn={10}&_HLS_part=8", "wait 10.9 6s 503"),
        ("_HLS_msn={10}&_HLS_part=9", "400"),
        ("_HLS_msn={11}&_HLS_part=0", "wait 11.1 6s 503"),
        ("_HLS_msn={11}&_HLS_part=7", "400"),
        // A part that the segment does not have is the first of the next.
        ("_HLS_msn={9}&_HLS_part=3", "200"),
        ("_HLS_msn={9}&_HLS_part=4", "200"),
        ("_HLS_msn={1}&_HLS_part=4", "200"),
        ("_HLS_msn={10}&_HLS_part=1&_HLS_skip=YES", "200"),
        ("_HLS_msn={10}&_HLS_skip=v2&_HLS_part=2", "wait 10.3 6s 503"),
        ("%5FHLS_msn={12}", "400"),
        ("_HLS_part=1", "400"),
        ("_HLS_msn=", "400"),
        ("_HLS_msn=-1", "400"),
        ("_HLS_msn=x", "400"),
        ("_HLS_msn=99999999999999999999", "400"),
        ("_HLS_msn=2251799813685248", "400"),
        ("_HLS_msn={10}&_HLS_part=99999999999", "400"),
        ("_HLS_skip=no", "400"),
        ("_HLS_msn={9}&_HLS_msn={10}", "400"),
        ("_HLS_msn={9}&_HLS_part=1&_HLS_part=1", "400"),
        ("_HLS_skip=YES&_HLS_skip=v2", "400"),
        ("unknown=1", "200"),
    ] {
        let mut path = format!("v1.m3u8?{query}");
        for number in [0, 1, 9, 10, 11, 12] {
            path = path.replace(&format!("{{{number}}}"), &(FIRST + number).to_string());
        }
        assert_eq!(name(&origin.ask(&path, "")), want, "{query}");
    }
    // What is refused is named.
    let refused = body(&origin.ready("v1.m3u8?_HLS_msn=x", ""));
    assert!(refused.contains("_HLS_msn") && refused.contains("\"x\""), "{refused}");
    // Where the first part of the next segment is not there yet, it is what is waited for.
    let mut origin = Origin::new(10);
    origin.snapshot.channel = Channel::news(10, 0, Some(Duration::from_millis(520)));
    let path = format!("v1.m3u8?_HLS_msn={}&_HLS_part=4", FIRST + 9);
    assert_eq!(name(&origin.ask(&path, "")), "wait 10.1 6s 503");
    // §6.2.5.2: ignored once it has ended.
    origin.snapshot.channel.end();
    assert_eq!(name(&origin.ask(&format!("v1.m3u8?_HLS_msn={}", FIRST + 100), "")), "200");
}

#[test]
fn segments_and_parts() {
    let origin = Origin::new(10);
    for (path, want) in [
        ("v1/{9}.m4s", "200"),
        ("v1/{10}.m4s", "follow"),
        ("v1/{11}.m4s", "wait 11.1 6s 404"),
        ("v1/{12}.m4s", "missing"),
        ("v1/1.m4s", "missing"),
        ("v1/{10}.1.m4s", "200"),
        ("v1/{10}.2.m4s", "wait 10.3 6s 404"),
        ("v1/{12}.0.m4s", "missing"),
        ("v1/v1-00.mp4", "200"),
        ("v1/other.mp4", "missing"),
        ("v9/{9}.m4s", "missing"),
        ("v9.m3u8", "missing"),
        ("index.html", "missing"),
    ] {
        let mut at = path.to_owned();
        for number in [9, 10, 11, 12] {
            at = at.replace(&format!("{{{number}}}"), &(FIRST + number).to_string());
        }
        assert_eq!(name(&origin.ask(&at, "")), want, "{path}");
    }
    let line = format!("a1/{}.m4s", FIRST + 9);
    // In vain: as long as any 404.
    let Outcome::Wait(wait) = origin.ask(&format!("v1/{}.2.m4s", FIRST + 10), "") else { panic!("it is there") };
    assert_eq!(field(&wait.otherwise, "Cache-Control"), Some("max-age=3"));
    let whole = origin.ready(&line, "");
    assert_eq!(field(&whole, "Content-Type"), Some("audio/mp4"));
    assert_eq!(field(&whole, "Cache-Control"), Some("public, max-age=20, immutable"));
    assert_eq!(origin.ready(&line, "Range: bytes=0-9\r\n").status.0, 206);
    let etag = format!("If-None-Match: {}\r\n", field(&whole, "ETag").unwrap());
    assert_eq!(origin.ready(&line, &etag).status.0, 304);
    assert_eq!(field(&origin.ready("v1/v1-00.mp4", ""), "Cache-Control"), Some("public, max-age=31536000, immutable"));
    // A gap is a segment without samples.
    let gap = origin.ready(&format!("a1/{GAP}.m4s"), "");
    assert_eq!((gap.status.0, field(&gap, "Content-Type")), (200, Some("audio/mp4")));
    let [Piece::Inline(bytes)] = gap.body.pieces() else { panic!("{:?}", gap.body) };
    let moof = mp4_atom::Moof::read_from(&mut &bytes[..]).unwrap();
    let traf = &moof.traf[0];
    assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, 96_000 * GAP);
    assert_eq!((traf.tfhd.default_sample_duration, traf.trun.len()), (Some(96_000), 0));
    assert!(bytes.ends_with(b"\0\0\0\x08mdat"), "{bytes:?}");
    // Of what grows there are no ranges.
    assert_eq!(name(&origin.ask(&format!("v1/{}.m4s", FIRST + 10), "Range: bytes=0-9\r\n")), "follow");
}

/// Players of DASH ask by the clock, though the encoder is away: they are not refused what should have come by now.
#[test]
fn segments_that_are_due() {
    for (part_ms, ended, track, number, want) in [
        (Some(520), false, "v1", 3, "wait 3.1 6s 404"),
        (Some(520), false, "v1", 5, "wait 5.1 6s 404"),
        (Some(520), false, "v1", 6, "missing"),
        (Some(520), false, "v9", 5, "missing"),
        (Some(520), true, "v1", 5, "missing"),
        // Nobody asks by the clock.
        (None, false, "v1", 5, "missing"),
    ] {
        let mut origin = Origin::new(2);
        origin.snapshot = Snapshot::news(2, part_ms.map(Duration::from_millis));
        if ended {
            origin.snapshot.channel.end();
        }
        let line = format!("{track}/{}.m4s", FIRST + number);
        assert_eq!(name(&origin.ask(&line, "")), want, "{line} {part_ms:?} {ended}");
    }
}

/// What cannot be read is not made of, and no cache keeps that.
#[test]
fn transport_streams() {
    let made = |name: &str, number: u64| {
        format!("make live/news/{name}/{}.{}", FIRST + number, &"aacts"[if name == "a1" { 0..3 } else { 3..5 }])
    };
    for (mapped, path, want) in [
        (true, "ts/index.m3u8", "200".to_owned()),
        (true, "ts/v1.a1.m3u8", "200".to_owned()),
        (true, "ts/v2.m3u8", "200".to_owned()),
        (true, "ts/a1.m3u8", "200".to_owned()),
        (true, "ts/a1.v1.m3u8", "missing".to_owned()),
        (true, "ts/v1.v2.m3u8", "missing".to_owned()),
        (true, "ts/v1.a9.m3u8", "missing".to_owned()),
        (true, "ts/v1.a1/{9}.ts", made("v1.a1", 9)),
        (true, "ts/v2/{9}.ts", made("v2", 9)),
        (true, "ts/a1/{9}.aac", made("a1", 9)),
        (true, "ts/a1/{9}.ac3", "missing".to_owned()),
        (true, "ts/a1/{9}.ts", "missing".to_owned()),
        (true, "ts/v1.a1/{10}.ts", "wait 11.0 6s 404".to_owned()),
        (true, "ts/v1.a1/{11}.ts", "wait 11.1 6s 404".to_owned()),
        (true, "ts/v1.a1/{12}.ts", "missing".to_owned()),
        (true, "ts/v1.a1/1.ts", "missing".to_owned()),
        (false, "ts/v1.a1/{9}.ts", "503".to_owned()),
    ] {
        let mut origin = Origin::new(10);
        origin.snapshot.text = mapped.then(|| (stored(Some(vec![0; 900])), 700));
        let path = (9..=12)
            .fold(path.to_owned(), |path: String, at| path.replace(&format!("{{{at}}}"), &(FIRST + at).to_string()));
        assert_eq!(name(&origin.ask(&path, "")), want, "{path}");
    }
    // Nothing that transport streams carry, and nothing but what EXT-X-GAP stands for.
    let mut origin = Origin::new(10);
    assert_eq!(name(&origin.ask(&format!("ts/v1.a1/{GAP}.ts"), "")), "missing");
    origin.snapshot.channel.tracks.iter_mut().for_each(|owned| owned.track.codec = "av01.0.04M.08".into());
    assert_eq!(name(&origin.ask("ts/index.m3u8", "")), "missing");
    assert_eq!(name(&origin.ask("ts/v1.m3u8", "")), "missing");
    let playlist = |origin: &Origin, path: &str| body(&origin.ready(path, ""));
    let origin = Origin::new(10);
    assert_eq!(field(&origin.ready("ts/v1.a1.m3u8", ""), "Cache-Control"), Some("max-age=1"));
    let text = playlist(&origin, "ts/v1.a1.m3u8");
    for unknown in ["PART", "SERVER-CONTROL", "PRELOAD", "MAP", "ENDLIST"] {
        assert!(!text.contains(unknown), "{unknown} in {text}");
    }
    let stretch = format!("ts/v1.a1.m3u8?start={}&end={}", FIRST * 2, FIRST * 2 + 4);
    assert!(playlist(&origin, &stretch).ends_with("#EXT-X-ENDLIST\n"));
    assert!(playlist(&origin, "ts/index.m3u8?start=7").contains("\nv1.a1.m3u8?start=7\n"));
}

/// A key frame is there once its segment is complete, and nothing where there is none. What cannot be read is not made of, and
/// no cache keeps that.
#[test]
fn key_frames() {
    let sample = Sample { size: 9.into(), duration: 512.into(), ..Sample::default() };
    let mut media = vec![1; 40];
    write::fragment_header(1, FIRST * 25_600, &[sample, sample], &mut media).unwrap();
    media.extend([9; 18]);
    let cut = [&media[..60], &vec![0; media.len() - 60]].concat();
    let origin = |mapped: Option<Vec<u8>>| {
        let mut origin = Origin::new(10);
        origin.snapshot.text = Some((stored(mapped), 40));
        origin.snapshot.channel.begin_dependent(0, FIRST + 4);
        origin
    };
    let path = |path: &str| {
        (0..=12).fold(path.to_owned(), |path: String, at| path.replace(&format!("{{{at}}}"), &(FIRST + at).to_string()))
    };
    let made = |number: u64| format!("make live/news/v1/{}.iframe.ts", FIRST + number);
    for (mapped, name_of, want) in [
        (Some(media.clone()), "v1.iframes.m3u8", "200"),
        (Some(media.clone()), "v1.iframes.m3u8?start=1&end=0", "400"),
        (Some(media.clone()), "v1.iframes.m3u8?start=99999999999", "missing"),
        (Some(media.clone()), "v1.iframes.m3u8?_HLS_msn=99999999999", "200"),
        (Some(media.clone()), "a1.iframes.m3u8", "missing"),
        (Some(media.clone()), "v9.iframes.m3u8", "missing"),
        (Some(media.clone()), "v1/{9}.iframe.m4s", "200"),
        (Some(media.clone()), "v1/{4}.iframe.m4s", "200"),
        (Some(media.clone()), "v1/{10}.iframe.m4s", "wait 11.0 6s 404"),
        (Some(media.clone()), "v1/{11}.iframe.m4s", "wait 11.1 6s 404"),
        (Some(media.clone()), "v1/{12}.iframe.m4s", "missing"),
        (Some(media.clone()), "v1/1.iframe.m4s", "missing"),
        (Some(media.clone()), "a1/{9}.iframe.m4s", "missing"),
        (None, "v1/{9}.iframe.m4s", "503"),
        (None, "v1/{4}.iframe.m4s", "200"),
        (Some(cut), "v1/{9}.iframe.m4s", "500"),
        (Some(media.clone()), "ts/v1.iframes.m3u8", "200"),
        (Some(media.clone()), "ts/a1.iframes.m3u8", "missing"),
        (Some(media.clone()), "ts/v1.a1.iframes.m3u8", "missing"),
        (Some(media.clone()), "ts/v1/{9}.iframe.ts", &made(9)),
        (Some(media.clone()), "ts/v1/{4}.iframe.ts", "missing"),
        (Some(media.clone()), "ts/v1/{10}.iframe.ts", "wait 11.0 6s 404"),
        (Some(media.clone()), "ts/a1/{9}.iframe.ts", "missing"),
        (None, "ts/v1/{9}.iframe.ts", "503"),
    ] {
        assert_eq!(name(&origin(mapped.clone()).ask(&path(name_of), "")), want, "{name_of}");
    }
    let origin = origin(Some(media.clone()));
    let one = origin.ready(&path("v1/{9}.iframe.m4s"), "");
    assert_eq!(field(&one, "Content-Type"), Some("video/mp4"));
    assert_eq!(field(&one, "Cache-Control"), Some("public, max-age=20, immutable"));
    let [Piece::Inline(head), Piece::Extent(picture)] = one.body.pieces() else { panic!("{:?}", one.body) };
    assert_eq!((picture.offset, picture.len), (media.len() as u64 - 18, 9));
    assert!(head.len() as u64 + picture.len < media.len() as u64 - 40);
    let etag = format!("If-None-Match: {}\r\n", field(&one, "ETag").unwrap());
    assert_eq!(origin.ready(&path("v1/{9}.iframe.m4s"), &etag).status.0, 304);
    assert_eq!(origin.ready(&path("v1/{9}.iframe.m4s"), "Range: bytes=4-7\r\n").status.0, 206);
    // A fragment without samples, as a gap has.
    for nothing in [path("v1/{4}.iframe.m4s"), format!("v1/{GAP}.iframe.m4s")] {
        let Outcome::Ready(nothing) = origin.ask(&nothing, "") else { panic!("{nothing}") };
        let [Piece::Inline(bytes)] = nothing.body.pieces() else { panic!("{:?}", nothing.body) };
        let moof = mp4_atom::Moof::read_from(&mut &bytes[..]).unwrap();
        assert!(moof.traf[0].trun.is_empty());
    }
    assert_eq!(name(&origin.ask(&format!("ts/v1/{GAP}.iframe.ts"), "")), "missing");
    let playlist = origin.ready("v1.iframes.m3u8", "");
    assert_eq!(field(&playlist, "Cache-Control"), Some("max-age=1"));
    assert_eq!(body(&playlist).matches(".iframe.m4s").count(), 10);
    let stretch = format!("v1.iframes.m3u8?start={}&end={}", FIRST * 2, FIRST * 2 + 4);
    let text = body(&origin.ready(&stretch, ""));
    assert!(text.ends_with("#EXT-X-ENDLIST\n") && text.contains("#EXT-X-PLAYLIST-TYPE:VOD"), "{text}");
    let text = body(&origin.ready("index.m3u8?start=7", ""));
    assert!(text.contains("URI=\"v1.iframes.m3u8?start=7\""), "{text}");
}

/// A fragment is there with what it says of the next one. What cannot be read is not made of, and no cache keeps that.
#[test]
fn smooth_streaming() {
    let record = [1, 0x42, 0xC0, 0x1E, 0xFF, 0xE1, 0, 4, 0x67, 0x42, 0xC0, 0x1E, 1, 0, 4, 0x68, 0xCE, 0x38, 0x80];
    let scale = Timescale::new(12_800).unwrap();
    let header =
        write::header(&write::Header::new(track::Kind::Video, scale, &make::avc_entry(&record, 320, 180), "und"));
    let sample = Sample { size: 9.into(), duration: 25_600.into(), ..Sample::default() };
    let mut media = Vec::new();
    write::fragment_header(1, FIRST * 25_600, &[sample], &mut media).unwrap();
    media.extend([9; 9]);
    let whole = [&header[..], &media[..]].concat();
    let cut = |at: usize| [&whole[..at], &vec![0; whole.len() - at]].concat();
    let origin = |mapped: Option<Vec<u8>>| {
        let mut origin = Origin::new(10);
        origin.snapshot.channel.tracks.truncate(1);
        origin.snapshot.text = Some((stored(mapped), header.len() as u64));
        origin
    };
    let path = |path: &str| {
        (0..=12).fold(format!("index.ism/{path}"), |path: String, at| {
            path.replace(&format!("{{{at}}}"), &((FIRST + at) * 20_000_000).to_string())
        })
    };
    let first = "QualityLevels(4000000)/Fragments(video={0})";
    for (mapped, name_of, want) in [
        (Some(whole.clone()), "Manifest", "200"),
        (Some(whole.clone()), "Manifest?start=1&end=0", "400"),
        (Some(whole.clone()), "Manifest?start=99999999999", "missing"),
        (Some(whole.clone()), first, "200"),
        (Some(whole.clone()), "QualityLevels(4000000)/Fragments(video_2={8})", "200"),
        (Some(whole.clone()), "QualityLevels(4000000)/Fragments(video={9})", "wait 11.0 6s 404"),
        (Some(whole.clone()), "QualityLevels(4000000)/Fragments(video={10})", "wait 11.0 6s 404"),
        (Some(whole.clone()), "QualityLevels(4000000)/Fragments(video={11})", "missing"),
        (Some(whole.clone()), "QualityLevels(4000000)/Fragments(video=1)", "missing"),
        (Some(whole.clone()), "QualityLevels(4000000)/Fragments(video={0})?end=x", "400"),
        (Some(whole.clone()), "QualityLevels(4000001)/Fragments(video={0})", "missing"),
        (Some(whole.clone()), "QualityLevels(4000000)/Fragments(videos={0})", "missing"),
        (None, "Manifest", "503"),
        (None, first, "503"),
        (Some(cut(header.len())), "Manifest", "200"),
        (Some(cut(header.len())), first, "500"),
    ] {
        assert_eq!(name(&origin(mapped.clone()).ask(&path(name_of), "")), want, "{name_of}");
    }
    let origin = origin(Some(whole.clone()));
    let one = origin.ready(&path(first), "");
    assert_eq!(field(&one, "Content-Type"), Some("video/mp4"));
    assert_eq!(field(&one, "Cache-Control"), Some("public, max-age=20, immutable"));
    let etag = format!("If-None-Match: {}\r\n", field(&one, "ETag").unwrap());
    assert_eq!(origin.ready(&path(first), &etag).status.0, 304);
    let manifest = origin.ready(&path("Manifest"), "");
    assert_eq!(field(&manifest, "Content-Type"), Some("text/xml; charset=utf-8"));
    assert_eq!(field(&manifest, "Cache-Control"), Some("max-age=1"));
    // Nothing that the protocol has a name for.
    let mut origin = origin;
    origin.snapshot.channel.tracks[0].track.codec = "av01.0.04M.08".into();
    assert_eq!(name(&origin.ask(&path("Manifest"), "")), "missing");
}

/// What cannot be read is never taken for text without words, and no cache keeps it.
#[test]
fn text_that_cannot_be_read_is_an_error() {
    let entry = b"\0\0\0\x10wvtt\0\0\0\0\0\0\0\x01";
    let header = write::header(&write::Header::new(track::Kind::Text, Timescale::MILLIS, entry, "en"));
    let cue = b"\0\0\0\x15vttc\0\0\0\x0dpayl hear";
    let sample = Sample { size: (cue.len() as u32).into(), duration: 2_000.into(), ..Sample::default() };
    let mut media = Vec::new();
    write::fragment_header(1, FIRST * 2_000, &[sample], &mut media).unwrap();
    media.extend_from_slice(cue);
    let whole = [&header[..], &media[..]].concat();
    let line = format!("t1/{}.vtt", FIRST + 9);
    let cut = |at: usize| [&whole[..at], &vec![0; whole.len() - at]].concat();
    for (name, mapped, status, lives) in [
        ("whole", Some(whole.clone()), 200, "public, max-age=20, immutable"),
        ("not mapped", None, 503, "no-store"),
        ("all zeros", Some(cut(0)), 500, "no-store"),
        ("zeros behind the header", Some(cut(header.len())), 500, "no-store"),
    ] {
        let mut origin = Origin::new(10);
        let text =
            Track { timescale: Timescale::MILLIS, details: Details::Text, ..fixture::audio("t1", "wvtt", "en", 2) };
        origin.snapshot.channel.add(text, 2_000, 10, 2);
        let file = stored(mapped);
        origin.snapshot.text = Some((file.clone(), header.len() as u64));
        for round in ["", ", again"] {
            let answer = origin.ready(&line, "");
            assert_eq!(answer.status.0, status, "{name}{round}: {}", body(&answer));
            assert_eq!(field(&answer, "Cache-Control"), Some(lives), "{name}{round}");
            assert_eq!(field(&answer, "Retry-After").is_some(), status == 503, "{name}{round}");
            assert_eq!(body(&answer).contains("hear"), status == 200, "{name}{round}");
        }
        // It was said once, and whoever harvests knows it.
        assert_eq!(file.is_damaged(), status == 500, "{name}");
    }
}

#[test]
fn lives_of_answers() {
    let origin = Origin::new(10);
    let blocking = format!("v1.m3u8?_HLS_msn={}&_HLS_part=1", FIRST + 10);
    for (path, content_type, cache_control) in [
        ("index.m3u8", "application/vnd.apple.mpegurl", "max-age=1"),
        ("index.mpd", "application/dash+xml", "max-age=1"),
        ("v1.m3u8", "application/vnd.apple.mpegurl", "max-age=1"),
        (blocking.as_str(), "application/vnd.apple.mpegurl", "max-age=12"),
        ("time", "text/plain; charset=utf-8", "no-store"),
    ] {
        for fields in ["", "Accept-Encoding: gzip\r\n"] {
            let response = origin.ready(path, fields);
            assert_eq!(response.status.0, 200, "{path}");
            assert_eq!(field(&response, "Content-Type"), Some(content_type), "{path}");
            assert_eq!(field(&response, "Cache-Control"), Some(cache_control), "{path}");
            assert_eq!(field(&response, "Set-Cookie"), None, "{path}");
            assert_eq!(field(&response, "Access-Control-Allow-Origin"), Some("*"), "{path}");
            let Some(etag) = field(&response, "ETag").filter(|_| path != "time") else { continue };
            let again = origin.ready(path, &format!("{fields}If-None-Match: {etag}\r\n"));
            assert_eq!(again.status.0, 304, "{path}");
        }
        assert!(matches!(origin.send("HEAD", path, ""), Outcome::Ready(response) if !response.body.is_empty()));
    }
    assert_eq!(body(&origin.ready("time", "")), "2026-01-01T00:00:10.250Z");
    // The same text for all who ask at the same point, whichever way.
    assert_eq!(body(&origin.ready("v1.m3u8", "")), body(&origin.ready(&blocking, "")));
}

#[test]
fn stretches() {
    let origin = Origin::new(10);
    let at = |slots: u64| (FIRST + slots) * 2;
    for (query, want) in [
        (format!("start={}", at(2)), "200"),
        (format!("start={}&end={}", at(2), at(5)), "200"),
        (format!("start={}&end={}", at(2), at(500)), "200"),
        ("start=2026-01-01T00:00:04Z".into(), "200"),
        ("start=2026-01-01T01:00:04.5%2B01:00".into(), "200"),
        ("start=2025-12-31T19:00-05:00".into(), "200"),
        ("st%61rt=2026%2D01%2d01T01%3A00%3a04%2E5%2B01:00".into(), "200"),
        (format!("start={}&s%74art={}", at(2), at(3)), "400"),
        ("start=%zz".into(), "400"),
        // Before the window: from where it begins.
        ("start=1".into(), "200"),
        (format!("start={}", at(100)), "missing"),
        (format!("start=1&end={}", at(0)), "missing"),
        (format!("start={}&end={}", at(5), at(5)), "400"),
        ("start=".into(), "400"),
        (format!("start={}&start={}", at(2), at(3)), "400"),
        ("start=now".into(), "400"),
        ("start=-5".into(), "400"),
        ("start=1e9".into(), "400"),
        ("start=1.x".into(), "400"),
        ("start=2026-02-30T00:00:00Z".into(), "400"),
        ("start=2026-01-01T00:00:04".into(), "400"),
        ("start=1969-01-01T00:00:00Z".into(), "400"),
        ("end=2026-01-01T25:00:00Z".into(), "400"),
        ("end=99999999999999999999".into(), "400"),
    ] {
        for file in ["index.m3u8", "index.mpd", "v1.m3u8"] {
            assert_eq!(name(&origin.ask(&format!("{file}?{query}"), "")), want, "{query}");
        }
    }
    let index = body(&origin.ready("index.m3u8?start=2026-01-01T00:00:04Z&end=2026-01-01T00:00:10Z", ""));
    assert!(index.contains(&format!("v1.m3u8?start={}&end={}\n", at(2), at(5))), "{index}");
    let finished = body(&origin.ready(&format!("v1.m3u8?start={}&end={}", at(2), at(5)), ""));
    assert!(finished.contains("PLAYLIST-TYPE:VOD\n") && finished.contains("ENDLIST"), "{finished}");
    let growing = body(&origin.ready(&format!("v1.m3u8?start={}", at(2)), ""));
    assert!(growing.contains("PLAYLIST-TYPE:EVENT\n") && !growing.contains("ENDLIST"), "{growing}");
    let clamped = body(&origin.ready("v1.m3u8?start=1", ""));
    assert!(!clamped.contains("PLAYLIST-TYPE") && clamped.contains(&format!("SEQUENCE:{FIRST}\n")), "{clamped}");
    let refused = body(&origin.ready("v1.m3u8?start=now", ""));
    assert!(refused.contains("start") && refused.contains("\"now\""), "{refused}");
}
