//! Manifests of a film of three hours: six tracks, 5 400 fragments each. `cargo bench --bench packagers`.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use headwater::base::Ticks;
use headwater::base::limits::LIVE_MARKS_MAX;
use headwater::media::broadcast::Mark;
use headwater::media::codec::elementary::Elementary;
use headwater::media::codec::make;
use headwater::media::feed::Message;
use headwater::media::fixture::{Fixture, splice_insert};
use headwater::media::mpegts::mux::{Muxer, Place, Share, Stream, Unit};
use headwater::package::fixture::{Channel, FIRST};
use headwater::package::live_url::Stretch;
use headwater::package::{Links, cmaf, dash, hls, url};
use nix::time::{ClockId, clock_gettime};

const SECONDS: u32 = 5_400 * 2;

/// The thread's own CPU time, so that what else the machine does counts as little as it can.
struct CpuTime(WallTime);

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has it").into()
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        self.0.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self.0.formatter()
    }
}

fn packagers(criterion: &mut Criterion<CpuTime>) {
    // One fragment a segment, which is the most work, and the default length.
    for (name, segment) in [("2s", Duration::from_secs(2)), ("4s", Duration::from_secs(4))] {
        let fixture = Fixture::film_of(SECONDS, segment);
        let presentation = fixture.presentation();
        let (video, audio, text) = (presentation.tracks[0], presentation.tracks[3], presentation.tracks[5]);
        let mut group = criterion.benchmark_group(format!("three hours, {name} segments"));
        group.bench_function("hls multivariant", |bench| {
            bench.iter(|| hls::multivariant(black_box(&presentation), &Links::default()))
        });
        for (kind, view) in [("video", video), ("audio", audio), ("text", text)] {
            group.bench_function(format!("hls media playlist, {kind}"), |bench| {
                bench.iter(|| hls::media(black_box(&presentation), black_box(&view)))
            });
        }
        group.bench_function("dash mpd", |bench| bench.iter(|| dash::mpd(black_box(&presentation), &Links::default())));
        let last = video.segments().last().expect("a film has segments").time;
        group.bench_function("segment: url, lookup, payload", |bench| {
            let path = format!("{}/v1/{}.m4s", presentation.version, last.0);
            bench.iter(|| match url::parse(black_box(&path)) {
                Some(url::Resource::Segment { time, .. }) => {
                    video.segment_at(time).map(|segment| cmaf::segment(&video, &segment))
                }
                _ => None,
            })
        });
        group.bench_function("hls text segment", |bench| {
            bench.iter(|| hls::text_segment(black_box(&presentation), black_box(&text), black_box(Ticks(0))))
        });
        group.finish();
    }
}

/// Segments of 4 s in memory, H.264 and AAC of 128 kb/s: where pictures are large, and where packets are hardly filled.
fn muxing(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("transport stream, 4 s");
    for (name, key_bytes, bytes) in [("4 Mb/s", 80_000, 18_000), ("400 kb/s", 8_000, 1_700)] {
        let mut make = maker(key_bytes, bytes);
        group.throughput(Throughput::Bytes(make() as u64));
        group.bench_function(name, |bench| bench.iter(&mut make));
    }
    group.finish();
}

/// Makes the same segment over and over, of key pictures of so many bytes and others; returns how long it is.
fn maker(key_bytes: usize, bytes: usize) -> impl FnMut() -> usize {
    let avc = [1, 0x42, 0xC0, 0x1E, 0xFF, 0xE1, 0, 4, 0x67, 0x42, 0xC0, 0x1E, 1, 0, 4, 0x68, 0xCE, 0x38, 0x80];
    let stream =
        |entry: Vec<u8>| Stream { elementary: Elementary::of_entry(&entry).expect("written here"), language: None };
    let video = stream(make::avc_entry(&avc, 1280, 720));
    let audio = stream(make::aac_entry(&[0x11, 0x90], 2));
    let sample = |at: usize| {
        let size = if at.is_multiple_of(50) { key_bytes } else { bytes + at % 7 * 100 };
        [&(size as u32).to_be_bytes()[..], &vec![if at.is_multiple_of(50) { 0x65 } else { 0x41 }; size]].concat()
    };
    let pictures: Vec<Vec<u8>> = (0..100).map(sample).collect();
    let sound = vec![0x21; 341];
    let mut out = Vec::new();
    move || {
        let unit = |time: i64, duration, random_access, data| Unit {
            decode: time,
            presentation: time,
            duration,
            random_access,
            data,
        };
        let units = pictures
            .iter()
            .enumerate()
            .map(|(at, data)| unit(at as i64 * 3_600, 3_600, at.is_multiple_of(50), &data[..]));
        let sounds = (0..187).map(|at| unit(at * 1_920, 1_920, true, &sound[..]));
        let share = Share { stream: audio.clone(), units: sounds.collect() };
        let place = Place { ordinal: 0, start: 0, end: 360_000, apart: 0 };
        let mut muxer = Muxer::new(Share { stream: video.clone(), units: units.collect() }, Some(share), place);
        out.clear();
        while muxer.advance(&mut out) {}
        black_box(&out).len()
    }
}

/// As many splices out of the network and back as a channel keeps, over so many seconds.
fn breaks(seconds: u64) -> Vec<Mark> {
    let section = |at: usize| {
        let flags = if at.is_multiple_of(2) { 0xEF } else { 0x6F };
        let command = [0, 0, 0, 1, 0x7F, flags, 0xFE, 0, 0, 0, 0, 0xFE, 0, 0x52, 0xCC, 0xF5, 0, 1, 0, 0];
        splice_insert(&command)
    };
    let mark = |at: usize| Mark {
        id: format!("scte35-{at}"),
        time: Duration::from_secs(FIRST * 2 + seconds * at as u64 / LIVE_MARKS_MAX as u64),
        duration: at.is_multiple_of(2).then_some(Duration::from_secs(30)),
        message: Message::Scte35(section(at)),
    };
    (0..LIVE_MARKS_MAX).map(mark).collect()
}

/// A window of a day with as many marks as there may be, as it is rendered for every part.
fn channels(criterion: &mut Criterion<CpuTime>) {
    const SEGMENTS_A_DAY: u64 = 43_200;
    let mut channel = Channel::news(SEGMENTS_A_DAY, 2, Some(Duration::from_millis(500)));
    let mut group = criterion.benchmark_group("a day with marks, 2s segments");
    channel.marks = breaks(SEGMENTS_A_DAY * 2);
    let broadcast = channel.broadcast();
    for (name, cues) in [("", false), (", with cue tags", true)] {
        group.bench_function(format!("hls media playlist{name}"), |bench| {
            let which = hls::Live { cues, ..hls::Live::default() };
            bench.iter(|| hls::live_media(black_box(&broadcast), &broadcast.tracks[0], black_box(&which)))
        });
    }
    group.finish();
    channel.marks.clear();
    let broadcast = channel.broadcast();
    let mut group = criterion.benchmark_group("a day, 2s segments");
    for (name, skip) in [("whole", false), ("delta", true)] {
        group.bench_function(format!("hls media playlist, {name}"), |bench| {
            let which = hls::Live { skip, ..hls::Live::default() };
            bench.iter(|| hls::live_media(black_box(&broadcast), &broadcast.tracks[0], black_box(&which)))
        });
    }
    group.bench_function("dash mpd", |bench| {
        bench.iter(|| dash::live_mpd(black_box(&broadcast), black_box(Stretch::default())))
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime(WallTime));
    targets = packagers, muxing, channels
}
criterion_main!(benches);
