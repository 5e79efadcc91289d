//! Manifests of a film of three hours: six tracks, 5 400 fragments each. `cargo bench --bench packagers`.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, criterion_group, criterion_main};
use headwater::base::Ticks;
use headwater::media::fixture::Fixture;
use headwater::package::fixture::Channel;
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

/// A window of a day, as it is rendered for every part.
fn channels(criterion: &mut Criterion<CpuTime>) {
    const SEGMENTS_A_DAY: u64 = 43_200;
    let channel = Channel::news(SEGMENTS_A_DAY, 2, Some(Duration::from_millis(500)));
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
    targets = packagers, channels
}
criterion_main!(benches);
