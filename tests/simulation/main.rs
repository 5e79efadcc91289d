//! Channels run through hours of misbehaving encoders, bad disks, crashes and power losses, in virtual time, with viewers
//! who wait, follow and look back. Every snapshot, playlist and MPD is held against the rules and against what was said
//! before, and every byte of media against what was sent. Nothing here knows how any of it is made: it drives what the server
//! consists of, segmenter, window, waiters and recovery, through the same interfaces as the server does, on real files.
//!
//! Simulated are encoders of pictures, sound and text ([`encoder`]), alone, as a ladder of several connections or as rivals; what
//! befalls them, the disk and the process ([`mishaps`], [`disk`]); viewers of HLS with and without parts, of DASH and of
//! transport streams ([`viewer`], [`transport`]); and two origins of one encoder ([`twins`]). Checked are the rules of RFC 8216bis
//! for every media playlist, by itself, after the one before it and beside those of the other tracks; that nobody who waits is
//! forgotten, nor waits in vain while all is well; that nothing published changes, is lost in a crash or ends up elsewhere, and
//! that while all is well every frame is there once and in order; and that MPDs can be read, name the segment that is being
//! made, and go on from each other.
//!
//! Not simulated, and so to be tested elsewhere, are protocols of ingest and what is wrong in them (a frame comes here as
//! [`headwater::media::feed`] has it), connections, threads and the ring (one thread turns everything, so there are no races but
//! those of operations of the disk), the clock of the server itself, which only goes forward, pictures that are shown in
//! another order than they are decoded in, rates other than 5 and 25 Hz, captions within pictures, text in TTML, channels
//! that have no memory left, and edges and their caches. Not checked are what pictures show, DATERANGE beyond that no mark is
//! lost, the times that EXT-X-PROGRAM-DATE-TIME says but for those of twins and transport streams, what multivariant playlists
//! say of codecs and rates, MPDs against their schema, and Smooth Streaming.
//!
//! `cargo test` runs minutes of it. Thousands of hours, in parallel:
//!
//! ```console
//! $ HEADWATER_SIMULATION_HOURS=4000 cargo test --release --test simulation -- --nocapture
//! ```
//!
//! They are seeds from 0 or `HEADWATER_SIMULATION_FROM` on, of half an hour each, on `HEADWATER_SIMULATION_THREADS` CPUs or
//! all. `HEADWATER_SIMULATION_SEED` runs one seed alone, and `HEADWATER_SIMULATION_TALK` says what happens (2: and what is
//! published). A channel in four has text; `HEADWATER_SIMULATION_TEXT` gives it to all (1) or none (0).

mod books;
mod cases;
mod disk;
mod encoder;
mod mishaps;
mod random;
mod transport;
mod twins;
mod viewer;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use twins::Compared;
use world::World;

/// Of virtual time, in `cargo test`.
const HOURS: f64 = 2.0;
/// Of each seed.
const HOURS_EACH: f64 = 0.5;
fn number(name: &str) -> Option<f64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: expected a number")))
}

/// Whether to say what happens: 1, and what is published: 2.
fn talk() -> u32 {
    static TALK: OnceLock<u32> = OnceLock::new();
    *TALK.get_or_init(|| number("HEADWATER_SIMULATION_TALK").map_or(0, |talk| talk as u32))
}

#[test]
fn nothing_that_encoders_disks_and_crashes_do_breaks_a_channel() {
    let hours = number("HEADWATER_SIMULATION_HOURS").unwrap_or(HOURS);
    if let Some(seed) = number("HEADWATER_SIMULATION_SEED") {
        simulate(seed as u64, hours.min(HOURS_EACH));
        return;
    }
    let total = Mutex::new(Total::default());
    let started = Instant::now();
    in_parallel((hours / HOURS_EACH).ceil() as u64, |seed| {
        let of_seed = simulate(seed, HOURS_EACH);
        total.lock().expect("no seed fails").add(&of_seed);
    });
    let total = total.into_inner().expect("no seed fails");
    println!("{total:?}\n{:.0} simulated hours in {:.0} s", total.hours, started.elapsed().as_secs_f64());
    assert!(total.playlists > 0 && total.parts > 0 && total.waits > 0 && total.torn > 0, "{total:?}");
}

#[test]
fn twins_publish_the_same() {
    // They are as good as the channels above, and cost as much.
    let hours = number("HEADWATER_SIMULATION_HOURS").unwrap_or(HOURS) / 4.0;
    if let Some(seed) = number("HEADWATER_SIMULATION_SEED") {
        twins::simulate(seed as u64, hours.min(HOURS_EACH));
        return;
    }
    let total = Mutex::new(Compared::default());
    in_parallel((hours / HOURS_EACH).ceil() as u64, |seed| {
        let of_seed = twins::simulate(seed, HOURS_EACH);
        let mut total = total.lock().expect("no seed fails");
        total.hours += of_seed.hours;
        total.crashes += of_seed.crashes;
        total.changes += of_seed.changes;
        total.whole += of_seed.whole;
        total.segments += of_seed.segments;
    });
    let total = total.into_inner().expect("no seed fails");
    println!("{total:?}");
    assert!(total.crashes > 0 && total.whole > 0 && total.segments > 0, "{total:?}");
}

/// So many seeds on `HEADWATER_SIMULATION_THREADS` CPUs, or all. The first that fails fails the test, and is named.
fn in_parallel(seeds: u64, run: impl Fn(u64) + Sync) {
    let first = number("HEADWATER_SIMULATION_FROM").unwrap_or(0.0) as u64;
    let next = AtomicU64::new(first);
    let end = first + seeds;
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = number("HEADWATER_SIMULATION_THREADS").map_or_else(all, |threads| threads as usize);
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return;
                }
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(seed)));
                if let Err(panic) = result {
                    next.store(end, Ordering::Relaxed);
                    println!("HEADWATER_SIMULATION_SEED={seed} runs the one that failed alone");
                    std::panic::resume_unwind(panic);
                }
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let failed = threads.into_iter().filter_map(|thread| thread.join().err()).next();
        if let Some(panic) = failed {
            std::panic::resume_unwind(panic);
        }
    });
}

#[derive(Debug, Default)]
struct Total {
    hours: f64,
    crashes: u64,
    torn: u64,
    refused: u64,
    operations: u64,
    snapshots: u64,
    playlists: u64,
    mpds: u64,
    parts: u64,
    segments: u64,
    frames: u64,
    waits: u64,
    stretches: u64,
}

impl Total {
    fn add(&mut self, other: &Total) {
        self.hours += other.hours;
        self.crashes += other.crashes;
        self.torn += other.torn;
        self.refused += other.refused;
        self.operations += other.operations;
        self.snapshots += other.snapshots;
        self.playlists += other.playlists;
        self.mpds += other.mpds;
        self.parts += other.parts;
        self.segments += other.segments;
        self.frames += other.frames;
        self.waits += other.waits;
        self.stretches += other.stretches;
    }
}

fn simulate(seed: u64, hours: f64) -> Total {
    let mut world = World::new(seed);
    let begun = world.now;
    let end = begun + Duration::from_secs_f64(hours * 3_600.0);
    let is_ladder = world.random.one_in(3);
    let offset = if world.random.one_in(2) { 0 } else { -(world.now.as_millis() as i64) };
    world.connect_all(is_ladder, offset);
    while world.now < end {
        let quiet = Duration::from_millis(world.random.below(90_000));
        world.run(quiet);
        mishaps::happen(&mut world, is_ladder);
    }
    let (verified, counts) = (world.books.verified, world.disk.counts);
    Total {
        hours: (world.now - begun).as_secs_f64() / 3_600.0,
        crashes: world.crashes,
        torn: counts.torn,
        refused: counts.refused,
        operations: counts.operations,
        snapshots: verified.snapshots,
        playlists: verified.playlists,
        mpds: verified.mpds,
        parts: verified.parts,
        segments: verified.segments,
        frames: verified.frames,
        waits: verified.waits,
        stretches: verified.stretches,
    }
}
