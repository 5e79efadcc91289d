//! What a playlist request costs before a byte is sent: the head read, the answer decided, the head written.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use headwater::http::{Framing, request};
use headwater::media::fixture::Fixture;
use headwater::media::{Presentation, TrackView};
use headwater::package::url;
use headwater::service::playback::{Outcome, Playback, Source};

const WRK: &str = "GET /vod/film/index.m3u8 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

const BROWSER: &str = "GET /vod/film/index.m3u8 HTTP/1.1\r\nHost: origin.example.com\r\nConnection: keep-alive\r\n\
    sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Accept: */*\r\nOrigin: https://player.example.com\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\n\
    Sec-Fetch-Dest: empty\r\nReferer: https://player.example.com/watch\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\r\n";

const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";

struct Film(Fixture);

impl Source for Film {
    fn presentation(&self) -> Presentation<'_> {
        self.0.presentation()
    }

    fn track(&self, id: &str) -> Option<TrackView<'_>> {
        self.0.presentation().track(id)
    }

    fn thumbnails(&self) -> Option<headwater::media::Thumbnails<'_>> {
        None
    }

    fn sample_rows(&self, _: &str, _: std::ops::Range<u32>) -> Option<headwater::base::Extent> {
        None
    }

    fn is_resident(&self, _: &headwater::base::Extent) -> bool {
        true
    }

    fn published(&self) -> u64 {
        784_111_777
    }

    fn is_damaged(&self) -> bool {
        false
    }

    fn is_whole(&self) -> bool {
        true
    }
}

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request head");
    for (name, head) in [("wrk", WRK), ("browser", BROWSER)] {
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| request::parse(black_box(head.as_bytes()))));
    }
}

fn answers(criterion: &mut Criterion) {
    let film = Film(Fixture::film(600));
    let playback = Playback::new(Duration::from_secs(5), 64 << 20, Default::default());
    let version = film.0.version.clone();
    let mut out = Vec::with_capacity(4_096);
    let mut group = criterion.benchmark_group("answer");
    for (name, head, rest) in [
        ("playlist, plain", WRK, "index.m3u8".to_owned()),
        ("playlist, gzip", BROWSER, "index.m3u8".to_owned()),
        ("segment", WRK, format!("{version}/v1/120120.m4s")),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let (request, _) = request::parse(black_box(head.as_bytes())).expect("a request").expect("a whole one");
                let resource = url::parse(black_box(&rest)).expect("a resource");
                let Outcome::Ready(response) = playback.answer(&request, "film", &version, resource, Some(&film))
                else {
                    panic!("not answered");
                };
                out.clear();
                response.write_head(&mut out, DATE, Framing::Length, request.keep_alive);
                black_box(&out);
                response
            });
        });
    }
}

criterion_group!(benches, heads, answers);
criterion_main!(benches);
