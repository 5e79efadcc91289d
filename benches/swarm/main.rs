//! A swarm of viewers: one process with thousands of low-latency HLS and DASH players beside a server with channels that the
//! swarm publishes itself. Every byte and every rule of the playlists is verified while it is measured. Prints a Markdown
//! table: `cargo bench --bench swarm -- --help`.

mod archive;
mod audience;
mod bare;
mod content;
mod encoder;
mod latency;
mod origin;
mod playlist;
mod replay;
mod response;
mod turns;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use audience::{Audience, Channel, Exchange, Figures, Kind};
use bare::Sends;
use content::{Name, Rendition};
use encoder::{Encoder, PART_FRAMES, SEGMENT_FRAMES, Stream};
use latency::{Both, Latencies, Spread};
use origin::{Origin, SWARM_CPU};
use turns::Turns;

/// Thousands of low-latency viewers beside a server with live channels.
///
/// Starts the release build of `headwater serve` with one delivery worker on CPU 0 (HEADWATER_BIN names another binary),
/// publishes channels of its own making to it over CMAF ingest in real time (segments of 2 s, parts of 500 ms), and
/// watches them from CPU 1. Every byte is compared with what was published, every playlist with the rules of RFC 8216bis
/// and with the playlists before it; what is wrong fails the work. Prints a Markdown table. Needs taskset.
#[derive(Parser)]
#[command(name = "swarm")]
struct Arguments {
    /// Which works to do; all when none is named
    #[arg(value_enum)]
    works: Vec<Work>,
    /// Seconds and small numbers, all works at once: proves that server and swarm work, and measures nothing
    #[arg(long)]
    quick: bool,
    /// Viewers of low-latency HLS, in place of a work's own number
    #[arg(long)]
    viewers: Option<usize>,
    /// How long each work measures, in seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// How often works that are compared with something take turns with it
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// A directory on the disk that channels are recorded to; default: the temporary one
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// Fail if a target is missed, too
    #[arg(long)]
    strict: bool,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Work {
    /// Low-latency HLS and DASH viewers of two renditions: bytes and rules
    Mixed,
    /// From the last byte of a 40 KB part at intake to the last byte at all of 2000 waiting viewers
    Latency,
    /// Server CPU for each gigabyte to 1000 viewers of 4 Mb/s
    Cpu,
    /// The latency of a part to one viewer, of 40 KB and of 4 Mb/s
    One,
    /// Anonymous resident memory for each waiting viewer
    Memory,
    /// 50 channels of 3 renditions at 5 Mb/s at once
    Ingest,
    /// Anonymous resident memory of 10 channels with a window of a day
    Window,
}

/// What viewers saw while they were watched.
#[derive(Default)]
struct Watched {
    figures: Figures,
    /// CPU time of the server meanwhile, in seconds.
    server: f64,
    exchanges: Vec<Exchange>,
}

struct Bench {
    quick: bool,
    viewers: Option<usize>,
    seconds: Option<u64>,
    rounds: usize,
    scratch: Option<PathBuf>,
    missed: AtomicBool,
}

/// Of 640 kb/s a part has 40 KB.
const SMALL_BITS: u64 = 640_000;
const LARGE_BITS: u64 = 4_000_000;
const INGEST_BITS: u64 = 5_000_000;
/// Until all viewers are in and wait, and what is slow at first has happened.
const SETTLE: Duration = Duration::from_secs(4);
const SETTLE_QUICK: Duration = Duration::from_secs(2);
const PLAYABLE_WITHIN: Duration = Duration::from_secs(15);
const PUBLISHED_WITHIN: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let works = if arguments.works.is_empty() { Work::value_variants() } else { &arguments.works };
    let bench = Bench {
        quick: arguments.quick,
        viewers: arguments.viewers,
        seconds: arguments.seconds,
        rounds: arguments.rounds.max(1),
        scratch: arguments.scratch,
        missed: AtomicBool::new(false),
    };
    if let Err(error) = prepare() {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    println!("| work | measured | target | met |\n| --- | --- | --- | --- |");
    let is_done = |work: &Work| match bench.work(*work) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("{work:?}: {error:#}");
            false
        }
    };
    // Works that measure have the machine for themselves.
    let passed = if bench.quick {
        std::thread::scope(|scope| {
            let all: Vec<_> = works.iter().map(|work| scope.spawn(|| is_done(work))).collect();
            all.into_iter().filter_map(|work| work.join().ok()).filter(|is_done| *is_done).count()
        })
    } else {
        works.iter().filter(|work| is_done(work)).count()
    };
    let failed = works.len() - passed;
    println!("\n{passed} passed, {failed} failed");
    let is_missed = bench.missed.load(Ordering::Relaxed);
    if failed > 0 || arguments.strict && is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn prepare() -> Result<()> {
    pin(SWARM_CPU)?;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    for (seed, bits_per_second) in (0..).zip([0, SMALL_BITS, INGEST_BITS]) {
        content::check_encoder(&Stream { rendition: String::new(), seed, bits_per_second })?;
    }
    Ok(())
}

/// The calling thread, and those that it starts.
fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

impl Bench {
    fn work(&self, work: Work) -> Result<()> {
        match work {
            Work::Mixed => self.mixed(),
            Work::Latency => self.latency(),
            Work::Cpu => self.cpu(),
            Work::One => self.one(),
            Work::Memory => self.memory(),
            Work::Ingest => self.ingest(),
            Work::Window => self.window(),
        }
    }

    fn mixed(&self) -> Result<()> {
        let count = self.viewers.unwrap_or(if self.quick { 40 } else { 400 });
        let seconds = self.seconds(6, 30);
        let origin = self.origin(&["mixed".to_owned()], "20s")?;
        let streams = vec![stream("high", 1, LARGE_BITS), stream("low", 2, SMALL_BITS)];
        let encoder = publish(&origin, "mixed", streams)?;
        let mut audience = Audience::new(origin.delivery, vec![Channel::of("mixed", &encoder)])?;
        audience.admit(Kind::Hls, count)?;
        audience.admit(Kind::Dash, count)?;
        said(&origin, audience.run(self.settle()))?;
        audience.reset();
        said(&origin, audience.run(seconds))?;
        let verified = audience.verified();
        let figures = audience.figures();
        let whole = figures.parts.len() > 0 && figures.segments.len() > 0 && verified.joined > 0;
        let all = [&mut figures.parts, &mut figures.segments, &mut figures.segment_ends];
        let [part, segment, end] = all.map(|all| format!("{:.1}/{:.1} ms", all.percentile(50.0), all.percentile(99.0)));
        self.row(
            &format!("{count} LL-HLS and {count} LL-DASH viewers of 2 renditions, {seconds:?}"),
            &format!(
                "{} playlists, {} parts, {} segments ({} beside their parts), {} frames verified; part {part}, last byte of a \
                 segment {segment}, end of its response {end} (p50/p99)",
                verified.playlists, verified.parts, verified.segments, verified.joined, verified.frames
            ),
            "nothing wrong",
            whole,
        );
        ensure!(whole, "parts, segments and both together were not all seen: {verified:?}");
        drop(audience);
        said(&origin, encoder.stop())
    }

    /// In turns with loops, part by part, so that what the machine is like at the moment is in all of them.
    fn latency(&self) -> Result<()> {
        let count = self.viewers.unwrap_or(if self.quick { 100 } else { 2000 });
        let (rounds, parts) =
            if self.quick { (1, 3) } else { (self.rounds, 2 * self.seconds(6, 6).as_secs() as usize) };
        // What one viewer is told in the same time.
        let time = Duration::from_secs(parts as u64 / 2 + 2);
        let exchanges = self.watched(1, SMALL_BITS, time, true)?.exchanges;
        let mut all = Turns::default();
        for _ in 0..rounds {
            let origin = self.origin(&["watched".to_owned()], "20s")?;
            let encoder = publish(&origin, "watched", vec![stream("video", 1, SMALL_BITS)])?;
            let mut audience = Audience::new(origin.delivery, vec![Channel::of("watched", &encoder)])?;
            audience.admit(Kind::Hls, count)?;
            said(&origin, audience.run(self.settle()))?;
            let taken = Turns::take(&mut audience, || origin.cpu_seconds(), exchanges.clone(), (count, parts));
            let round = said(&origin, taken)?;
            drop(audience);
            said(&origin, encoder.stop())?;
            eprintln!("{round}");
            all.add(round);
        }
        let [over_sends, over_replay] = [&all.over_sends, &all.over_replay].map(|all| Spread::of(all.clone()));
        let p99 = all.server.parts.percentile(99.0);
        self.row(
            &format!(
                "a part of {} bytes to {count} waiting viewers, behind a playlist of {}, p50/p99; CPU for each of them",
                all.server.part_bytes, all.server.playlist_bytes
            ),
            &format!(
                "{all}; p99 of each part over the same of sends {over_sends}, over that of the loop that is asked {over_replay} \
                 (lowest tenth, median, highest tenth of {})",
                all.over_sends.len()
            ),
            "p99 ≤ 1.3 × sends, < 150 ms",
            over_sends.median <= 1.3 && p99 < 150.0,
        );
        Ok(())
    }

    fn cpu(&self) -> Result<()> {
        let count = self.viewers.unwrap_or(if self.quick { 20 } else { 1000 });
        let Watched { figures, server: spent, .. } = self.watched(count, LARGE_BITS, self.seconds(3, 20), false)?;
        let gigabytes = figures.bytes as f64 / 1e9;
        let each = spent / gigabytes;
        let [p50, p99] = [50.0, 99.0].map(|percent| figures.parts.clone().percentile(percent));
        self.row(
            &format!("server CPU for each GB to {count} waiting viewers of a 4 Mb/s channel"),
            &format!("{each:.3} s ({spent:.2} s, {gigabytes:.2} GB); part {p50:.1}/{p99:.1} ms (p50/p99)"),
            "≤ 0.30 s",
            each <= 0.3,
        );
        Ok(())
    }

    /// In turns with a loop that only sends, part by part.
    fn one(&self) -> Result<()> {
        for bits in [SMALL_BITS, LARGE_BITS] {
            let origin = self.origin(&["watched".to_owned()], "20s")?;
            let encoder = publish(&origin, "watched", vec![stream("video", 1, bits)])?;
            let mut audience = Audience::new(origin.delivery, vec![Channel::of("watched", &encoder)])?;
            audience.admit(Kind::Hls, 1)?;
            said(&origin, audience.run(self.settle()))?;
            let Figures { part_bytes, playlist_bytes, .. } = said(&origin, audience.take_part(|| {}))?;
            let mut sends = Sends::start(1, (playlist_bytes + part_bytes) as usize)?;
            sends.round()?;
            let (mut parts, mut playlists, mut alone) = <(Latencies, Latencies, Latencies)>::default();
            for _ in 0..2 * self.seconds(3, 60).as_secs() {
                let figures = said(&origin, audience.take_part(|| {}))?;
                parts.extend(figures.parts);
                playlists.extend(figures.playlists);
                alone.extend(sends.round()?);
            }
            sends.stop()?;
            drop(audience);
            said(&origin, encoder.stop())?;
            let p99 = parts.percentile(99.0);
            let [part, playlist, sent] = [&parts, &playlists, &alone].map(Both);
            self.row(
                &format!("a part of {part_bytes} bytes to 1 waiting viewer"),
                &format!("{part:.2}, its playlist {playlist:.2} (p50/p99 of {}); sends alone {sent:.2}", parts.len()),
                "p99 < 2 ms",
                p99 < 2.0,
            );
        }
        Ok(())
    }

    /// Waiting viewers of one channel.
    fn watched(&self, count: usize, bits: u64, time: Duration, keep_exchanges: bool) -> Result<Watched> {
        let origin = self.origin(&["watched".to_owned()], "20s")?;
        let encoder = publish(&origin, "watched", vec![stream("video", 1, bits)])?;
        let mut audience = Audience::new(origin.delivery, vec![Channel::of("watched", &encoder)])?;
        if keep_exchanges {
            audience.keep_exchanges();
        }
        audience.admit(Kind::Hls, count)?;
        let watched = said(&origin, self.watch(&mut audience, count, time, || origin.cpu_seconds()))?;
        drop(audience);
        said(&origin, encoder.stop())?;
        Ok(watched)
    }

    /// What viewers who were let in see in a while, once they have settled.
    fn watch(
        &self,
        audience: &mut Audience<'_>,
        count: usize,
        time: Duration,
        server: impl Fn() -> Result<f64>,
    ) -> Result<Watched> {
        audience.run(self.settle())?;
        audience.rest()?;
        audience.reset();
        let before = server()?;
        audience.run(time)?;
        audience.rest()?;
        let server = server()? - before;
        let figures = std::mem::take(audience.figures());
        ensure!(figures.parts.len() >= count, "{} parts for {count} viewers", figures.parts.len());
        Ok(Watched { figures, server, exchanges: audience.exchanges() })
    }

    fn memory(&self) -> Result<()> {
        let count = self.viewers.unwrap_or(if self.quick { 200 } else { 5000 });
        let origin = self.origin(&["memory".to_owned()], "20s")?;
        let encoder = publish(&origin, "memory", vec![stream("video", 1, 200_000)])?;
        let mut audience = Audience::new(origin.delivery, vec![Channel::of("memory", &encoder)])?;
        audience.admit(Kind::Hls, 10)?;
        said(&origin, audience.run(self.settle()))?;
        let before = resident(&origin, &mut audience)?;
        audience.admit(Kind::Hls, count)?;
        said(&origin, audience.run(self.settle()))?;
        let after = resident(&origin, &mut audience)?;
        let each = after.saturating_sub(before) / count as u64;
        self.row(
            &format!("a waiting viewer, {count} of them"),
            &format!("{each} bytes resident ({} KB before, {} KB with them)", before / 1024, after / 1024),
            "≤ 2048 bytes",
            each <= 2048,
        );
        drop(audience);
        said(&origin, encoder.stop())
    }

    fn ingest(&self) -> Result<()> {
        let count = if self.quick { 5 } else { 50 };
        let seconds = self.seconds(6, 20);
        let names: Vec<String> = (0..count).map(|number| format!("ingest-{number}")).collect();
        // All that is sent is there at the end.
        let origin = self.origin(&names, "2m")?;
        let encoders: Vec<Encoder> = (0..)
            .zip(&names)
            .map(|(number, name)| {
                let streams = (0..3).map(|rendition| {
                    stream(["high", "middle", "low"][rendition as usize], number * 3 + rendition, INGEST_BITS)
                });
                Encoder::start(origin.intake, name, streams.collect(), Duration::from_millis(number * 500 / count))
            })
            .collect();
        for (name, encoder) in names.iter().zip(&encoders) {
            said(&origin, playable(&origin, name, encoder.streams.len()))?;
        }
        let before = (origin.cpu_seconds()?, Instant::now());
        std::thread::sleep(seconds);
        let cores = (origin.cpu_seconds()? - before.0) / before.1.elapsed().as_secs_f64();
        let late = encoders.iter().map(|encoder| encoder.log.late()).max().unwrap_or_default();
        let published: Vec<_> = encoders.iter().map(|encoder| (encoder.streams.clone(), encoder.log.clone())).collect();
        said(&origin, encoder::stop_all(encoders))?;
        let mut frames = 0;
        for (name, (streams, log)) in names.iter().zip(&published) {
            for track in tracks(&origin, &format!("/live/{name}/"))? {
                let rendition = Rendition::new(name, streams, log);
                let recorded = recorded(&origin, rendition, &track, log.frames());
                frames += recorded.with_context(|| format!("{name}, at {cores:.2} cores and {late:?} late"))?;
            }
        }
        self.row(
            &format!("{count} channels of 3 renditions at 5 Mb/s each, ingested at once"),
            &format!("{cores:.2} cores; chunks at most {} ms late; {frames} frames verified", late.as_millis()),
            "< 1 core, nothing dropped",
            cores < 1.0,
        );
        Ok(())
    }

    fn window(&self) -> Result<()> {
        let names: Vec<String> = (0..10).map(|number| format!("window-{number}")).collect();
        let mut origin = self.origin(&names, "24h")?;
        let mut found = Vec::new();
        for is_aged in [false, true] {
            if is_aged {
                origin.restart(|live| names.iter().try_for_each(|name| archive::age(live, name)))?;
            }
            let start = |(seed, name): (u64, &String)| {
                Encoder::start(origin.intake, name, vec![stream("video", seed, SMALL_BITS)], Duration::ZERO)
            };
            let encoders: Vec<Encoder> = (0..).zip(&names).map(start).collect();
            for name in &names {
                said(&origin, playable(&origin, name, 1))?;
            }
            std::thread::sleep(self.settle());
            found.push(origin.memory_bytes()?);
            for name in names.iter().filter(|_| is_aged) {
                let track = tracks(&origin, &format!("/live/{name}/"))?.remove(0);
                let listed = text(&origin, &format!("/live/{name}/{track}.m3u8"))?.matches("#EXTINF").count() as u64;
                ensure!(
                    listed >= archive::segments(),
                    "{name} lists {listed} segments, recorded are {}",
                    archive::segments()
                );
            }
            if is_aged {
                found.push(origin.memory_bytes()?);
            }
            said(&origin, encoder::stop_all(encoders))?;
        }
        let [young, aged, listed] = found[..] else { anyhow::bail!("measured {} times", found.len()) };
        let growth = aged.saturating_sub(young);
        let kb = |bytes: u64| bytes / 1024;
        self.row(
            &format!("10 channels with a window of 24 h ({} segments in it)", 10 * archive::segments()),
            &format!(
                "{} KB with nothing in the window, {} KB with all of it; {} KB while all playlists are kept whole",
                kb(young),
                kb(aged),
                kb(listed)
            ),
            "≤ 1 byte more for each segment",
            growth <= 10 * archive::segments(),
        );
        Ok(())
    }

    fn origin(&self, channels: &[String], window: &str) -> Result<Origin> {
        Origin::start(channels, window, self.scratch.as_ref())
    }

    fn settle(&self) -> Duration {
        if self.quick { SETTLE_QUICK } else { SETTLE }
    }

    fn seconds(&self, quick: u64, full: u64) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.quick { quick } else { full }))
    }

    fn row(&self, work: &str, measured: &str, target: &str, is_met: bool) {
        self.missed.fetch_or(!is_met, Ordering::Relaxed);
        println!("| {work} | {measured} | {target} | {} |", if is_met { "yes" } else { "no" });
    }
}

fn stream(rendition: &str, seed: u64, bits_per_second: u64) -> Stream {
    Stream { rendition: rendition.to_owned(), seed, bits_per_second }
}

/// With what the server said, if it failed.
fn said<T>(origin: &Origin, result: Result<T>) -> Result<T> {
    result.with_context(|| format!("the server's log ends with:\n{}\n", origin.log()))
}

/// Starts an encoder, and waits until its channel can be watched.
fn publish(origin: &Origin, channel: &str, streams: Vec<Stream>) -> Result<Encoder> {
    let encoder = Encoder::start(origin.intake, channel, streams, Duration::ZERO);
    match playable(origin, channel, encoder.streams.len()) {
        Ok(()) => Ok(encoder),
        // What the encoder was told says more.
        Err(error) => said(origin, encoder.stop().and(Err(error))),
    }
}

fn playable(origin: &Origin, channel: &str, renditions: usize) -> Result<()> {
    let (base, deadline) = (format!("/live/{channel}/"), Instant::now() + PLAYABLE_WITHIN);
    loop {
        let found = tracks(origin, &base).unwrap_or_default();
        let has_parts = |track: &String| {
            origin
                // Not the whole window: what is rendered is kept.
                .fetch(&format!("{base}{track}.m3u8?_HLS_skip=YES"))
                .is_ok_and(|(status, body)| status == 200 && String::from_utf8_lossy(&body).contains("#EXT-X-PART:"))
        };
        if found.len() == renditions && found.iter().all(has_parts) {
            return Ok(());
        }
        let index =
            || origin.fetch(&format!("{base}index.m3u8")).map(|(status, body)| (status, String::from_utf8(body)));
        ensure!(Instant::now() < deadline, "{channel} was not there after {PLAYABLE_WITHIN:?}: {:?}", index());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Names of a channel's tracks.
fn tracks(origin: &Origin, base: &str) -> Result<Vec<String>> {
    let text = text(origin, &format!("{base}index.m3u8"))?;
    Ok(text.lines().filter_map(|line| line.strip_suffix(".m3u8")).map(str::to_owned).collect())
}

fn text(origin: &Origin, path: &str) -> Result<String> {
    let (status, body) = origin.fetch(path)?;
    ensure!(status == 200, "{path}: status {status}");
    Ok(String::from_utf8(body)?)
}

/// Anonymous memory when all viewers wait: the median of several times.
fn resident(origin: &Origin, audience: &mut Audience<'_>) -> Result<u64> {
    let mut found = Vec::new();
    for _ in 0..400 {
        audience.run(Duration::from_millis(10))?;
        if audience.is_all_waiting() {
            found.push(origin.memory_bytes()?);
        }
    }
    ensure!(!found.is_empty(), "the viewers never waited all at once");
    found.sort_unstable();
    Ok(found[found.len() / 2])
}

/// That everything between two frames was recorded, and is what was sent. How many frames that is.
fn recorded(origin: &Origin, mut rendition: Rendition, track: &str, frames: (u64, u64)) -> Result<u64> {
    let base = rendition.base.clone();
    let path = format!("{base}{track}.m3u8");
    // What was acknowledged is published a moment later.
    let deadline = Instant::now() + PUBLISHED_WITHIN;
    let playlist = loop {
        let playlist = rendition.playlist(text(origin, &path)?.as_bytes())?;
        let (number, parts) = playlist.next();
        let end = number * SEGMENT_FRAMES + parts * PART_FRAMES;
        if end == frames.1 {
            break playlist;
        }
        ensure!(Instant::now() < deadline, "{track} ends before frame {end}, sent was up to {}", frames.1);
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut take = |name: Name, uri: &str| {
        let (status, bytes) = origin.fetch(&format!("{base}{uri}"))?;
        ensure!(status == 200, "{uri}: status {status}");
        let body = rendition.body(&name);
        body.borrow_mut().take(0, &bytes)?;
        rendition.finish(&name, &body, bytes.len()).with_context(|| uri.to_owned())
    };
    take(Name::Header(playlist.map.clone()), &playlist.map)?;
    ensure!(playlist.media_sequence * SEGMENT_FRAMES == frames.0, "{track} begins with {}", playlist.media_sequence);
    for (number, segment) in (playlist.media_sequence..).zip(&playlist.segments) {
        ensure!(!segment.is_gap, "{} is a gap", segment.uri);
        take(Name::Segment(number), &segment.uri)?;
    }
    let open = playlist.media_sequence + playlist.segments.len() as u64;
    for (position, part) in playlist.parts.iter().filter(|((number, _), _)| *number == open) {
        take(Name::Part(*position), &part.uri)?;
    }
    Ok(frames.1 - frames.0)
}
