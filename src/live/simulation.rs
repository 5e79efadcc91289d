//! Channels run through hours of misbehaving encoders, failing disks and crashes, in virtual time; every snapshot is checked.

mod cases;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mp4_atom::{Moof, ReadFrom};

use super::*;
use crate::base::limits::LIVE_TAIL_SEGMENTS;
use crate::base::{Stored, Ticks, Timescale};
use crate::media::Kind;
use crate::media::broadcast::{Journal, Mark, Part, SegmentRow, State};
use crate::media::codec::fixtures::{AAC, Fixture, H264, H264_1080, bytes};
use crate::media::feed::{Event, Format, Marker, Message, Sample};
use crate::media::track::Role;
use crate::package::hls::{self, rules};

struct File {
    name: FileName,
    init: Bytes,
    media: Arc<Media>,
    rows: Arc<Rows>,
    chunks: Vec<FoundChunk>,
    len: u64,
}

struct Media(std::fs::File);

impl Stored for Media {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
    fn len(&self) -> u64 {
        u64::MAX
    }
    fn mapped(&self) -> Option<&[u8]> {
        None
    }
    fn name(&self) -> &str {
        "simulated"
    }
}

/// Slices that were handed out stay: a journal of a few rows is leaked for each row.
#[derive(Default)]
struct Rows(Mutex<&'static [SegmentRow]>);

impl Journal for Rows {
    fn rows(&self) -> &[SegmentRow] {
        *self.0.lock().unwrap()
    }
}

impl Rows {
    fn of(rows: Vec<SegmentRow>) -> Rows {
        Rows(Mutex::new(rows.leak()))
    }

    fn push(&self, row: SegmentRow) {
        let mut rows = self.0.lock().unwrap();
        *rows = [*rows, &[row][..]].concat().leak();
    }
}

#[derive(Default)]
struct Disk {
    files: BTreeMap<FileName, File>,
    state: Option<Bytes>,
    /// Of a thousand operations, so many fail.
    failing: u64,
}

impl Disk {
    fn run(&mut self, op: Op, random: &mut Random) -> Result<Outcome, Failure> {
        if random.below(1_000) < self.failing {
            return Err(if random.below(2) == 0 { Failure::Full } else { Failure::Broken("simulated".to_owned()) });
        }
        match op {
            Op::Create { file, init } => {
                let media = Arc::new(Media(std::fs::File::open("/dev/null").unwrap()));
                let made = File {
                    name: file.clone(),
                    len: init.len() as u64,
                    init,
                    media,
                    rows: Arc::default(),
                    chunks: Vec::new(),
                };
                let opened = made.opened();
                if let Some(old) = self.files.insert(file, made) {
                    assert!(old.rows.rows().is_empty(), "{:?} has rows", old.name);
                }
                return Ok(Outcome::Opened(opened));
            }
            Op::Append { file, offset, bytes } => {
                let file = self.files.get_mut(&file).unwrap();
                assert_eq!(file.len, offset);
                let size = bytes.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
                let moof = Moof::read_from(&mut &bytes[0][..]).unwrap();
                let traf = &moof.traf[0];
                let samples = &traf.trun[0].samples;
                let of = |duration: Option<u32>| i64::from(duration.or(traf.tfhd.default_sample_duration).unwrap());
                let flags = samples.iter().next().unwrap().flags.or(traf.tfhd.default_sample_flags).unwrap_or(0);
                file.chunks.push(FoundChunk {
                    offset,
                    size: size as u32,
                    time: Ticks(traf.tfdt.as_ref().unwrap().base_media_decode_time as i64),
                    duration: Ticks(samples.iter().map(|sample| of(sample.duration)).sum()),
                    is_independent: flags & 0x1_0000 == 0,
                    sequence: moof.mfhd.sequence_number,
                });
                file.len += size;
            }
            Op::Row { file, row } => {
                let file = self.files.get_mut(&file).unwrap();
                assert!(file.rows.rows().last().is_none_or(|last| last.number.get() < row.number.get()));
                assert!(row.is_intact() && row.end_offset() <= file.len);
                file.rows.push(row);
            }
            Op::Delete { file } => drop(self.files.remove(&file).unwrap()),
            Op::SaveState { json } => self.state = Some(json),
            Op::Close { .. } | Op::Sync => {}
        }
        Ok(Outcome::Done)
    }

    /// What a new process finds. A power loss takes the newest rows with it.
    fn recovered(&mut self, rows_lost: usize) -> Recovered {
        let mut tracks: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for file in self.files.values_mut().rev() {
            let rows = file.rows.rows();
            let is_newest = !tracks.contains_key(&file.name.track);
            let kept = if is_newest { rows.len().saturating_sub(rows_lost) } else { rows.len() };
            file.rows = Arc::new(Rows::of(rows[..kept].to_vec()));
            *tracks.entry(file.name.track.clone()).or_default() += kept;
        }
        let files = self.files.values().map(|file| {
            let rows = file.rows.rows();
            let behind = self
                .files
                .values()
                .filter(|other| other.name.track == file.name.track && other.name.first > file.name.first);
            let rows_behind: usize = behind.map(|other| other.rows.rows().len()).sum();
            let skipped = rows.len().saturating_sub(LIVE_TAIL_SEGMENTS.saturating_sub(rows_behind));
            let from =
                rows.get(skipped).map_or_else(|| rows.last().map_or(0, SegmentRow::end_offset), |row| row.offset.get());
            FoundFile {
                name: file.name.clone(),
                opened: file.opened(),
                init: file.init.clone(),
                rows: rows.len(),
                chunks: file.chunks.iter().filter(|chunk| chunk.offset >= from).copied().collect(),
                len: file.len,
            }
        });
        Recovered { state: self.state.clone(), files: files.collect() }
    }
}

impl File {
    fn opened(&self) -> Opened {
        Opened { media: self.media.clone(), journal: self.rows.clone() }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound.max(1)
    }
}

/// Sends H.264 at 25 frames a second and AAC, with the clock of RTMP.
struct Encoder {
    session: SessionId,
    /// Real time since it was started, in milliseconds, and what is added to it for its timestamps.
    at: i64,
    offset: i64,
    audio: i64,
    frame: i64,
    is_large: bool,
}

const FRAME: i64 = 40;

fn format(kind: Kind, fixture: &Fixture) -> Format {
    Format {
        kind,
        timescale: Timescale::MILLIS,
        sample_entry: bytes(fixture.entry).into(),
        language: "und".to_owned(),
        name: None,
        role: Role::Main,
        bit_rate: None,
    }
}

fn sample(time: i64, offset: i32, data: &'static [u8], is_sync: bool) -> Sample {
    Sample {
        decode_time: Ticks(time),
        composition_offset: offset,
        duration: None,
        is_sync,
        data: Bytes::from_static(data),
    }
}

const IDR: &[u8] = &[0, 0, 0, 4, 0x65, 0x88, 0x80, 0x10];
const P: &[u8] = &[0, 0, 0, 4, 0x41, 0x9A, 0x80, 0x10];

struct World {
    writer: ChannelWriter,
    disk: Disk,
    random: Random,
    now: Duration,
    seen: BTreeMap<String, BTreeMap<u64, Vec<Part>>>,
    first: u64,
    highest: BTreeMap<String, u64>,
    /// Playlists as they were shown last.
    listed: BTreeMap<String, rules::Checked>,
    /// Marks that were sent and are to be shown, by when they take effect.
    marks: Vec<(Duration, u32)>,
}

fn options() -> Options {
    Options {
        name: "simulated".to_owned(),
        segment: Duration::from_secs(2),
        part: Some(Duration::from_millis(500)),
        window: Duration::from_secs(120),
        redundancy: Redundancy::Standby,
        end: false,
        anchor: None,
        cue_tags: false,
        captions: Arc::default(),
        sync: Duration::from_secs(1),
    }
}

impl World {
    fn new(seed: u64) -> World {
        World::with(options(), seed)
    }

    fn with(options: Options, seed: u64) -> World {
        let now = Duration::from_secs(1_800_000_000);
        World {
            writer: ChannelWriter::new(options, Recovered::default(), now),
            disk: Disk::default(),
            random: Random(seed | 1),
            now,
            seen: BTreeMap::new(),
            first: 0,
            highest: BTreeMap::new(),
            listed: BTreeMap::new(),
            marks: Vec::new(),
        }
    }

    fn run_disk(&mut self) {
        while let Some(op) = self.writer.poll() {
            let lane = op.lane();
            let outcome = self.disk.run(op, &mut self.random);
            self.writer.completed(lane, outcome);
        }
    }

    fn connect(&mut self, offset: i64) -> Encoder {
        let session = self.writer.publish(SourceName::Main, self.now).unwrap();
        let encoder = Encoder { session, at: 0, offset, audio: 0, frame: 0, is_large: false };
        self.announce(&encoder);
        encoder
    }

    fn announce(&mut self, encoder: &Encoder) {
        let video = if encoder.is_large { &H264_1080 } else { &H264 };
        for (track, format) in [(0, format(Kind::Video, video)), (1, format(Kind::Audio, &AAC))] {
            self.writer.feed(encoder.session, Event::Track { track, format }, self.now).unwrap();
        }
    }

    /// One frame of video and the audio beside it.
    fn step(&mut self, encoder: &mut Encoder, is_dropped: bool) {
        let is_key = encoder.frame % 50 == 0;
        let time = encoder.offset + encoder.at;
        if !is_dropped {
            let sample = sample(time, 40, if is_key { IDR } else { P }, is_key);
            self.feed(encoder, 0, sample);
        }
        while encoder.audio * 1_024 * 1_000 / 48_000 < encoder.at + FRAME {
            let time = encoder.offset + encoder.audio * 1_024 * 1_000 / 48_000;
            encoder.audio += 1;
            if !is_dropped {
                self.feed(encoder, 1, sample(time, 0, &[0x21, 0x10, 0x05], true));
            }
        }
        encoder.frame += 1;
        encoder.at += FRAME;
        self.now += Duration::from_millis(FRAME as u64);
        self.run_disk();
        if encoder.frame % 10 == 0 {
            self.writer.tick(self.now);
            self.run_disk();
            self.check();
        }
    }

    fn feed(&mut self, encoder: &Encoder, track: u32, sample: Sample) {
        self.writer.feed(encoder.session, Event::Sample { track, sample }, self.now).unwrap();
    }

    /// A mark that takes effect at once.
    fn mark(&mut self, encoder: &Encoder) {
        let id = self.random.below(1 << 30) as u32;
        let message =
            Message::Event { scheme: "urn:simulated".to_owned(), value: String::new(), id, data: Bytes::new() };
        let marker = Marker { time: None, duration: None, message };
        self.writer.feed(encoder.session, Event::Marker(marker), self.now).unwrap();
        self.run_disk();
        let snapshot = self.writer.channel().snapshot();
        let Some(broadcast) = snapshot.broadcast(None) else { return };
        let is_it = |mark: &&Mark| matches!(&mark.message, Message::Event { id: other, .. } if *other == id);
        if let Some(mark) = broadcast.marks.iter().find(is_it) {
            self.marks.push((mark.time, id));
        }
    }

    /// An encoder stands by with the same stream, and steps in when the other is cut off.
    fn fail_over(&mut self, encoder: &mut Encoder) {
        let mut standby = Encoder { session: self.writer.publish(SourceName::Main, self.now).unwrap(), ..*encoder };
        self.announce(&standby);
        let discontinuities = |world: &World| {
            let snapshot = world.writer.channel().snapshot();
            let found = snapshot.broadcast(None).and_then(|broadcast| {
                Some((broadcast.tracks[0].tail.last()?.discontinuities, broadcast.tracks[0].tail.last()?.number))
            });
            found.unwrap_or_default()
        };
        for _ in 0..self.random.below(300) {
            let now = self.now;
            self.step(&mut standby, false);
            self.now = now;
            self.step(encoder, false);
        }
        let before = (self.writer.counts().failovers, discontinuities(self));
        self.writer.unpublish(encoder.session, self.now);
        *encoder = standby;
        for _ in 0..200 {
            self.step(encoder, false);
        }
        let after = (self.writer.counts().failovers, discontinuities(self));
        assert_eq!(before.0 + 1, after.0);
        let is_settled = before.1.1 > 0 && self.disk.failing == 0;
        assert!(!is_settled || after.1.1 >= before.1.1 + 2, "nothing new after a failover: {before:?} {after:?}");
    }

    fn crash(&mut self, rows_lost: usize) {
        let recovered = self.disk.recovered(rows_lost);
        self.writer = ChannelWriter::new(options(), recovered, self.now);
        self.run_disk();
        // The newest segment, which had lost its row, is open again.
        self.first = if self.disk.failing > 0 { 0 } else { self.first.saturating_sub(rows_lost as u64) };
        if rows_lost > 0 || self.disk.failing > 0 {
            self.listed.clear();
        }
        self.check();
    }

    fn check(&mut self) {
        let snapshot = self.writer.channel().snapshot();
        let Some(broadcast) = snapshot.broadcast(None) else { return };
        assert!(broadcast.first >= self.first, "the window went back: {} {}", broadcast.first, self.first);
        assert!(broadcast.first <= broadcast.next && broadcast.state == State::Ongoing);
        let (edge, fingerprint) = snapshot.edge().unwrap();
        assert_eq!(fingerprint, broadcast.fingerprint());
        for (short, whole) in edge.tracks.iter().zip(&broadcast.tracks) {
            assert_eq!(edge.listed(short), broadcast.listed(whole), "{}", whole.track.id);
        }
        self.first = broadcast.first;
        for track in &broadcast.tracks {
            let scale = track.track.timescale;
            let mut before: Option<(u64, i64, u32)> = None;
            for segment in track.segments(broadcast.first) {
                let id = &track.track.id;
                let place = format!("{id} {} at {}", segment.number, segment.time.0);
                if let Some((number, end, discontinuities)) = before {
                    assert!(number < segment.number && end <= segment.time.0, "{place}: {number} ends {end}");
                    assert!(discontinuities <= segment.discontinuities, "{place}");
                }
                assert!(segment.duration.0 > 0, "{place}");
                assert!(
                    scale.seconds(segment.duration).round() as u32 <= broadcast.grid.target,
                    "{place}: {:?}",
                    segment.duration
                );
                let mut at = segment.time.0;
                for (index, part) in segment.parts.iter().enumerate() {
                    assert_eq!(part.time.0, at, "{place}.{index}");
                    at += part.duration.0;
                    let target = track.part_target.0;
                    assert!(part.duration.0 > 0 && part.duration.0 <= target, "{place}.{index}: {part:?}");
                    let is_last = index + 1 == segment.parts.len();
                    assert!(is_last || part.duration.0 * 100 >= target * 85, "{place}.{index}: {part:?} of {target}");
                }
                if !segment.parts.is_empty() {
                    assert_eq!(at, segment.time.0 + segment.duration.0, "{place}");
                    let seen = self.seen.entry(id.clone()).or_default().entry(segment.number).or_default();
                    assert!(
                        segment.parts.starts_with(seen),
                        "{place}: published parts changed: {seen:?} {:?}",
                        segment.parts
                    );
                    *seen = segment.parts.to_vec();
                }
                before = Some((segment.number, segment.time.0 + segment.duration.0, segment.discontinuities));
            }
            if let Some((number, ..)) = before {
                let highest = self.highest.entry(track.track.id.clone()).or_default();
                assert!(number >= *highest, "{} fell back from {highest} to {number}", track.track.id);
                *highest = number;
            }
        }
        let mut listed = BTreeMap::new();
        for track in &broadcast.tracks {
            let text = hls::live_media(&broadcast, track, &hls::Live::default());
            let checked = rules::check(&text).unwrap_or_else(|wrong| panic!("{wrong}"));
            if let Some(before) = self.listed.get(&track.track.id) {
                rules::check_update(before, &checked).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
            }
            if let Some((_, other)) = listed.iter().next() {
                rules::check_beside(other, &checked).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
            }
            let parts = checked.segments.iter().flat_map(|segment| &segment.parts).chain(&checked.open_parts);
            for part in parts {
                let (number, index) = part.uri.rsplit_once('/').unwrap().1.split_once('.').unwrap();
                let index = index.strip_suffix(".m4s").unwrap().parse().unwrap();
                let there = snapshot.part(&track.track.id, number.parse().unwrap(), index);
                assert_eq!(matches!(there, Located::Whole(_)), !part.is_gap, "{part:?}");
            }
            listed.insert(track.track.id.clone(), checked);
        }
        self.listed = listed;
        let from = broadcast.grid.timescale.duration(broadcast.grid.start(broadcast.first, broadcast.grid.timescale));
        self.marks.retain(|(time, _)| *time >= from);
        for (time, event) in &self.marks {
            let is_shown = |mark: &Mark| matches!(&mark.message, Message::Event { id, .. } if id == event);
            assert!(broadcast.marks.iter().any(is_shown), "the mark {event} at {time:?} is gone");
        }
        for seen in self.seen.values_mut() {
            seen.retain(|number, _| *number >= self.first);
        }
    }
}

/// What a channel goes through between one quiet stretch and the next.
fn mishap(world: &mut World, encoder: &mut Encoder) {
    let wall = world.now.as_millis() as i64;
    match world.random.below(13) {
        0 => {
            for _ in 0..1 + world.random.below(40) {
                world.step(encoder, true);
            }
        }
        1 => {
            for _ in 0..world.random.below(600) {
                world.step(encoder, true);
            }
        }
        // Reconnecting: going on, from zero, a little back.
        kind @ 2..=4 => {
            world.writer.unpublish(encoder.session, world.now);
            world.now += Duration::from_millis(world.random.below(15_000));
            let gone_on = encoder.offset + encoder.at + (world.now.as_millis() as i64 - wall);
            let back = world.random.below(30_000) as i64;
            *encoder = world.connect(match kind {
                2 => gone_on,
                3 => 0,
                _ => gone_on - back,
            });
        }
        5 => encoder.offset += world.random.below(40_000) as i64 - 20_000,
        6 => {
            let spike = encoder.offset + encoder.at + world.random.below(10_000_000) as i64 - 5_000_000;
            world.feed(encoder, 0, sample(spike, 0, P, false));
        }
        7 | 8 => {
            let rows_lost = world.random.below(4) as usize;
            let offset = encoder.offset + encoder.at;
            world.crash(rows_lost);
            *encoder = world.connect(offset);
        }
        9 => {
            encoder.is_large = !encoder.is_large;
            encoder.frame += (50 - encoder.frame % 50) % 50;
            world.announce(encoder);
        }
        10 => world.mark(encoder),
        11 => world.fail_over(encoder),
        _ => world.disk.failing = if world.disk.failing == 0 { 20 } else { 0 },
    }
}

fn simulate(seed: u64, hours: f64) {
    let mut world = World::new(seed);
    let end = world.now + Duration::from_secs_f64(hours * 3_600.0);
    let offset = if seed.is_multiple_of(2) { 0 } else { world.now.as_millis() as i64 };
    let mut encoder = world.connect(offset);
    while world.now < end {
        for _ in 0..world.random.below(1_500) {
            world.step(&mut encoder, false);
        }
        mishap(&mut world, &mut encoder);
    }
    assert!(!world.highest.is_empty());
}

#[test]
fn a_steady_encoder_is_published_steadily() {
    let mut world = World::new(1);
    let offset = world.now.as_millis() as i64;
    let mut encoder = world.connect(offset);
    for _ in 0..25 * 60 {
        world.step(&mut encoder, false);
    }
    let snapshot = world.writer.channel().snapshot();
    let broadcast = snapshot.broadcast(None).unwrap();
    assert_eq!(broadcast.grid.target, 2);
    assert_eq!(broadcast.tracks.iter().map(|track| track.track.id.as_str()).collect::<Vec<_>>(), ["v1", "a1"]);
    for track in &broadcast.tracks {
        let numbers: Vec<_> = track.segments(0).map(|segment| segment.number).collect();
        assert!(numbers.len() >= 28, "{numbers:?}");
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        assert!(track.segments(0).all(|segment| segment.is_independent && segment.discontinuities == 0));
        let part = track.tail[0].parts[0];
        assert!(
            matches!(snapshot.part(&track.track.id, track.tail[0].number, 0), Located::Whole(extent) if extent.len == u64::from(part.size))
        );
        let next = broadcast.listed(track);
        assert!(matches!(snapshot.part(&track.track.id, next.number, next.parts), Located::Later(_)));
        assert!(matches!(snapshot.segment(&track.track.id, next.number + 9), Located::Missing));
    }
    assert_eq!(world.writer.counts().lost + world.writer.counts().gaps + world.writer.counts().jumps, 0);
}

/// Cues come now and then, and for twenty seconds none does: the track has all segments nevertheless, and never as gaps.
#[test]
fn text_goes_on_where_nothing_is_said() {
    let mut world = World::new(1);
    let offset = world.now.as_millis() as i64;
    let mut encoder = world.connect(offset);
    let session = world.writer.publish(SourceName::Track("en".to_owned()), world.now).unwrap();
    let sample_entry = Bytes::from_static(b"\0\0\0\x1ewvtt\0\0\0\0\0\0\0\x01\0\0\0\x0evttCWEBVTT");
    let format = Format { sample_entry, ..format(Kind::Text, &AAC) };
    world.writer.feed(session, Event::Track { track: 0, format }, world.now).unwrap();
    for step in 0..25 * 60 {
        world.step(&mut encoder, false);
        if step % 50 == 10 && !(500..1_000).contains(&step) {
            let cue = sample(world.now.as_millis() as i64, 0, b"\0\0\0\x10vttc\0\0\0\x08payl", true);
            let cue = Sample { duration: Some(700), ..cue };
            world.writer.feed(session, Event::Sample { track: 0, sample: cue }, world.now).unwrap();
        }
        let snapshot = world.writer.channel().snapshot();
        let broadcast = snapshot.broadcast(None);
        let Some(text) = broadcast.as_ref().and_then(|broadcast| broadcast.track("en")) else { continue };
        let numbers: Vec<_> = text.segments(0).map(|segment| segment.number).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        let furthest = broadcast.as_ref().unwrap().tracks[0].tail.last().unwrap().number;
        assert!(numbers.last().is_some_and(|&last| last + 3 >= furthest), "{numbers:?} {furthest}");
    }
    let snapshot = world.writer.channel().snapshot();
    let broadcast = snapshot.broadcast(None).unwrap();
    let text = broadcast.track("en").unwrap();
    assert_eq!((text.track.codec.as_str(), world.writer.counts().dropped), ("wvtt", 0));
    assert!(text.segments(0).count() >= 26, "{}", text.segments(0).count());
    for segment in text.segments(0).filter(|segment| segment.is_complete) {
        assert_eq!(segment.time, broadcast.grid.start(segment.number, text.track.timescale));
        assert_eq!(text.track.timescale.duration(segment.duration), Duration::from_secs(2));
    }
}

#[test]
fn a_crash_while_another_format_is_learnt_keeps_what_was_recorded() {
    let mut world = World::new(1);
    let mut encoder = world.connect(0);
    for _ in 0..25 * 20 {
        world.step(&mut encoder, false);
    }
    let listed = |world: &World| -> Vec<u64> {
        let snapshot = world.writer.channel().snapshot();
        let broadcast = snapshot.broadcast(None).unwrap();
        broadcast.track("v1").map(|track| track.segments(0).map(|segment| segment.number).collect()).unwrap_or_default()
    };
    let before = listed(&world);
    assert!(before.len() >= 8, "{before:?}");
    encoder.is_large = true;
    encoder.frame = 0;
    world.announce(&encoder);
    for _ in 0..3 {
        world.step(&mut encoder, false);
    }
    // Has the state saved.
    world.mark(&encoder);
    world.writer.tick(world.now);
    world.run_disk();
    world.crash(0);
    assert!(listed(&world).starts_with(&before[..before.len() - 1]), "{before:?} {:?}", listed(&world));
}

#[test]
fn nothing_that_encoders_and_disks_do_breaks_a_channel() {
    let hours = std::env::var("HEADWATER_SIMULATION_HOURS").ok().and_then(|hours| hours.parse().ok()).unwrap_or(0.4);
    for seed in 1..=4 {
        println!("seed {seed}");
        simulate(seed * 7_919, hours / 4.0);
    }
}
