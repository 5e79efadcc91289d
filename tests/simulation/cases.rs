//! What encoders, disks and operators do, one thing at a time.

use std::time::Duration;

use bytes::Bytes;
use headwater::base::{Ticks, Timescale};
use headwater::live::{Located, Options, SourceName};
use headwater::media::Kind;
use headwater::media::broadcast::State;
use headwater::media::feed::{Event, Format, Marker, Message, Sample};
use headwater::media::track::Role;

use super::disk::{Crash, Mood};
use super::encoder::{Encoder, SAYS_NOTHING, Scene, WEBVTT};
use super::random::Random;
use super::world::{self, World};

const SCENE: Scene =
    Scene { frame: 40, group: 50, is_music: true, has_video: true, has_audio: true, has_text: false, is_exact: false };

fn plain() -> World {
    with(world::usual())
}

/// Key frames are taken at whole even seconds, which is when it begins.
fn with(options: Options) -> World {
    World::at(Duration::from_secs(1_800_000_200), Random::new(1), options, SCENE)
}

/// Numbers that a track lists.
fn listed(world: &World, track: &str) -> Vec<u64> {
    segments(world, track).into_iter().map(|(number, _)| number).collect()
}

/// Number and discontinuities of each segment of a track that is not a gap.
fn segments(world: &World, track: &str) -> Vec<(u64, u32)> {
    let snapshot = world.writer.channel().snapshot();
    let Some(broadcast) = snapshot.broadcast(None) else { return Vec::new() };
    let track = broadcast.track(track);
    track.iter().flat_map(|track| track.segments(0)).map(|segment| (segment.number, segment.discontinuities)).collect()
}

fn state(world: &World) -> State {
    world.writer.channel().snapshot().state()
}

#[test]
fn a_steady_encoder_is_published_steadily() {
    let mut world = plain();
    world.connect_all(false, 0);
    world.run(Duration::from_secs(60));
    let snapshot = world.writer.channel().snapshot();
    let broadcast = snapshot.broadcast(None).unwrap();
    assert_eq!(broadcast.grid.target, 2);
    assert_eq!(broadcast.tracks.iter().map(|track| track.track.id.as_str()).collect::<Vec<_>>(), ["v1", "a1"]);
    for track in &broadcast.tracks {
        let numbers = listed(&world, &track.track.id);
        assert!(numbers.len() >= 28, "{numbers:?}");
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        assert!(track.segments(0).all(|segment| segment.is_independent && segment.discontinuities == 0));
        let (id, newest) = (track.track.id.as_str(), &track.tail[0]);
        let size = u64::from(newest.parts[0].size);
        assert!(matches!(snapshot.part(id, newest.number, 0), Located::Whole(extent) if extent.len == size));
        let next = broadcast.listed(track);
        assert!(matches!(snapshot.part(id, next.number, next.parts), Located::Later(_)));
        assert!(matches!(snapshot.segment(id, next.number + 9), Located::Missing));
    }
    let counts = world.writer.counts();
    assert_eq!(counts.lost + counts.gaps + counts.jumps, 0);
    // What came before the first key frame.
    assert!(counts.dropped < 50, "{counts:?}");
}

#[test]
fn a_crash_while_another_format_is_learnt_keeps_what_was_recorded() {
    let mut world = plain();
    world.connect_all(false, 0);
    world.run(Duration::from_secs(20));
    let before = listed(&world, "v1");
    assert!(before.len() >= 8, "{before:?}");
    world.encoders[0].is_large = true;
    let encoder = world.encoders[0].clone();
    world.announce(&encoder);
    world.run(Duration::from_millis(100));
    // Has the state saved.
    world.mark();
    world.run(Duration::from_millis(100));
    world.crash(Crash::Process);
    let after = listed(&world, "v1");
    assert!(after.starts_with(&before[..before.len() - 1]), "{before:?} {after:?}");
}

/// A rendition that was silent for long holds nobody up, whether or not it has begun to come back: the window does not go back
/// (seed 504313).
#[test]
fn a_crash_while_a_rendition_comes_back_leaves_the_window_where_it_is() {
    for tenths in 0..30 {
        let mut world = with(Options { window: Duration::from_secs(20), ..world::usual() });
        world.is_timely = false;
        world.connect_all(true, 0);
        world.run(Duration::from_secs(30));
        world.disturb();
        world.away = vec![world.encoders[0].session];
        world.run(Duration::from_secs(12));
        world.away.clear();
        // At some time it has begun a segment of which nothing is shown yet.
        world.run(Duration::from_millis(tenths * 100));
        world.crash(Crash::Process);
    }
}

/// Whoever follows a segment as it grows is told its end once nothing can be added to it, after a crash neither (seed 11748).
#[test]
fn a_crash_before_a_row_is_written_changes_no_segment() {
    for tenths in 0..20 {
        let mut world = plain();
        world.connect_all(false, 0);
        world.run(Duration::from_millis(10_000 + tenths * 100));
        // What follows of a segment is lost, and so is that it ended.
        world.disk.mood.room = Some(0);
        world.run(Duration::from_millis(1_000));
        world.crash(Crash::Process);
        world.disk.mood = Mood::default();
        // It repeats a little of what it sent before.
        world.connect_all(false, -500);
        world.is_timely = false;
        // What is behind a URL is compared with what was.
        world.run(Duration::from_secs(6));
        assert!(listed(&world, "a1").len() >= 6);
    }
}

/// The first picture of a publisher that comes back, behind its first sound, is far off; and its clock was set back: sound and
/// pictures go on side by side (seed 10053).
#[test]
fn a_first_picture_that_is_far_off_parts_no_tracks() {
    for (back, off) in [(4_000, 100_000), (13_000, 100_000), (13_000, -100_000), (20_000, 3_000_000)] {
        let mut world = plain();
        world.is_timely = false;
        let offset = -(world.now.as_millis() as i64);
        world.connect_all(false, offset);
        world.run(Duration::from_secs(20));
        world.disconnect_all();
        world.run(Duration::from_secs(14));
        world.connect_all(false, offset - back);
        let (session, stray) = (world.encoders[0].session, world.encoders[0].stray(off).expect("it has pictures"));
        world.now += Duration::from_millis(100);
        let events = world.encoders[0].film(world.now, false);
        let is_sound = |event: &Event| matches!(event, Event::Sample { track: 1, .. });
        let (sound, pictures): (Vec<_>, Vec<_>) = events.into_iter().partition(is_sound);
        for event in sound.into_iter().chain([stray]).chain(pictures) {
            world.writer.feed(session, event, world.now).expect("it is wanted");
        }
        world.disturb();
        world.run(Duration::from_secs(40));
        let [video, audio] = ["v1", "a1"].map(|track| listed(&world, track).last().copied().unwrap_or(0));
        assert!(video.abs_diff(audio) <= 1, "{back} {off}: {video} {audio}");
    }
}

#[test]
fn another_resolution_costs_no_segment() {
    for seconds in [20, 22, 24] {
        let mut world = plain();
        world.connect_all(false, 0);
        world.run(Duration::from_secs(seconds));
        world.encoders[0].is_large = true;
        let encoder = world.encoders[0].clone();
        world.announce(&encoder);
        world.run(Duration::from_secs(20));
        let (video, audio) = (segments(&world, "v1"), segments(&world, "a1"));
        let first = video[0].0;
        let changed = first + seconds / 2;
        for (at, &(number, discontinuities)) in video.iter().enumerate() {
            assert_eq!((number, discontinuities), (first + at as u64, u32::from(number >= changed)), "{seconds}");
        }
        assert!(audio.iter().all(|(number, discontinuities)| *discontinuities == u32::from(*number >= changed)));
    }
}

/// An encoder that comes back by the clock it had: as it was, its frames lie where they did; started anew, they do not.
#[test]
fn an_encoder_that_was_started_anew_is_a_discontinuity_though_its_clock_goes_on() {
    for (is_restarted, first, off, want) in [
        (false, 0, 0, 0),
        (false, 0, 1, 0),
        (false, 0, 13, 1),
        (false, 0, 1_991, 1),
        // What is known of it survives a crash, beside the lattice that an encoder before it has left.
        (true, 0, 0, 0),
        (true, 0, 13, 1),
        (true, 13, 13, 0),
        (true, 13, 0, 1),
    ] {
        let mut world = plain();
        world.connect_all(false, 0);
        world.run(Duration::from_millis(20_700));
        world.disconnect_all();
        if first > 0 {
            world.run(Duration::from_millis(500));
            world.connect_all(false, first);
            world.run(Duration::from_secs(10));
            world.disconnect_all();
        }
        let begun = segments(&world, "v1").last().map_or(0, |segment| segment.1);
        if is_restarted {
            world.run(Duration::from_millis(700));
            world.crash(Crash::Process);
        }
        world.run(Duration::from_millis(7_100));
        world.connect_all(false, off);
        world.run(Duration::from_secs(12));
        let want = begun + want;
        for track in ["v1", "a1"] {
            let segments = segments(&world, track);
            let hole = segments.windows(2).rposition(|pair| pair[1].0 > pair[0].0 + 1).expect("something is missing");
            let (before, behind) = segments.split_at(hole + 1);
            let name = format!("{is_restarted} {first} {off} {track}");
            assert!(before.last().is_some_and(|segment| segment.1 == begun), "{name}: {segments:?}");
            assert!(behind.len() > 4 && behind.iter().all(|segment| segment.1 == want), "{name}: {segments:?}");
        }
    }
}

/// Of cameras that take a picture or two a second, by a clock that is some milliseconds off each time after a while.
#[test]
fn pictures_far_apart_whose_times_jitter_are_of_one_encoder() {
    for frame in [500, 1_000, 2_000] {
        let mut world = plain();
        world.scene = Scene { frame, group: 2_000 / frame, has_audio: false, ..SCENE };
        world.is_timely = false;
        world.connect_all(false, 0);
        let session = world.encoders[0].session;
        let mut jitter = [0, 9, -7, 4, -9, 6, 11].into_iter().cycle();
        for tenths in 0..900 {
            world.now += Duration::from_millis(100);
            for mut event in world.encoders[0].film(world.now, false) {
                if let Event::Sample { sample, .. } = &mut event
                    && tenths > 300
                {
                    sample.decode_time.0 += jitter.next().unwrap_or(0);
                }
                world.writer.feed(session, event, world.now).expect("it is wanted");
            }
            world.pump();
        }
        let segments = segments(&world, "v1");
        assert!(segments.len() >= 30, "{frame}: {segments:?}");
        assert!(segments.iter().all(|(_, discontinuities)| *discontinuities == 0), "{frame}: {segments:?}");
    }
}

/// As many ticks a second as there can be, but for a few.
#[test]
fn the_finest_clock_is_one_as_any() {
    let mut world = plain();
    world.is_timely = false;
    let rate = u32::MAX / 25 * 25;
    let timescale = Timescale::new(rate).expect("it is not 0");
    let session = world.writer.publish(SourceName::Main, world.now).expect("nobody else does");
    let scene = Scene { has_audio: false, ..SCENE };
    let encoder = Encoder::new(session, SourceName::Main, scene, 0, 1, world.now);
    for mut event in encoder.formats() {
        if let Event::Track { format, .. } = &mut event {
            format.timescale = timescale;
        }
        world.writer.feed(session, event, world.now).expect("it is wanted");
    }
    let mut encoder = encoder;
    for tenths in 0..300 {
        world.now += Duration::from_millis(100);
        for mut event in encoder.film(world.now, (150..220).contains(&tenths)) {
            if let Event::Sample { sample, .. } = &mut event {
                sample.decode_time.0 = sample.decode_time.0 / 40 * i64::from(rate / 25);
            }
            world.writer.feed(session, event, world.now).expect("it is wanted");
        }
        world.pump();
    }
    assert!(segments(&world, "v1").len() >= 8);
}

#[test]
fn frames_whose_times_are_wrong_are_kept() {
    let mut world = plain();
    world.connect_all(false, 0);
    let session = world.encoders[0].session;
    // Of each track, how many there were.
    let mut counts = [0_usize; 2];
    for _ in 0..200 {
        world.now += Duration::from_millis(100);
        for mut event in world.encoders[0].film(world.now, false) {
            if let Event::Sample { track, sample } = &mut event {
                let count = &mut counts[*track as usize];
                let number = *count;
                *count += 1;
                let off = [-90, -700, 3_000_000][number / 7 % 3];
                sample.decode_time.0 += if number % 7 == 3 { off } else { 0 };
            }
            world.writer.feed(session, event, world.now).expect("it is wanted");
        }
        world.pump();
    }
    let counts = world.writer.counts();
    assert_eq!((counts.dropped, counts.jumps, counts.gaps), (0, 0, 0));
}

#[test]
fn a_channel_does_not_end_while_another_publisher_goes_on() {
    let mut world = with(Options { end: true, ..world::usual() });
    world.connect_all(false, 0);
    let session = world.writer.publish(SourceName::Main, world.now).expect("it stands by");
    let standby = Encoder { session, ..world.encoders[0].clone() };
    world.announce(&standby);
    world.encoders.push(standby);
    world.run(Duration::from_secs(20));
    let first = world.encoders.remove(0).session;
    world.writer.feed(first, Event::End, world.now).expect("it is wanted");
    world.pump();
    assert_eq!(state(&world), State::Ongoing);
    world.writer.unpublish(first, world.now);
    let before = listed(&world, "v1").len();
    world.run(Duration::from_secs(8));
    assert!(listed(&world, "v1").len() >= before + 3);
    world.writer.feed(session, Event::End, world.now).expect("it is wanted");
    world.pump();
    assert_eq!(state(&world), State::Ended);
}

/// Two encoders of one clock, whose milliseconds are rounded differently: what both have sent is there once, and no sound is
/// missing.
#[test]
fn who_steps_in_repeats_nothing() {
    for off in [-1, 0, 1] {
        let mut world = plain();
        world.connect_all(false, 0);
        let first = world.encoders[0].session;
        let session = world.writer.publish(SourceName::Main, world.now).expect("it stands by");
        let standby = Encoder { session, offset: off, ..world.encoders[0].clone() };
        world.announce(&standby);
        world.encoders.push(standby);
        world.run(Duration::from_millis(21_300));
        world.encoders.remove(0);
        world.writer.unpublish(first, world.now);
        // Media is compared frame by frame by those who watch.
        world.run(Duration::from_secs(10));
        assert_eq!(world.writer.counts().failovers, 1);
        // Pictures begin again with a key frame.
        let (first, last, before) = world.books.unbroken("a1").expect("somebody has watched it");
        assert!(last - first > 20 * 46, "{off}: from {first:x} to {last:x}: {before}");
    }
}

#[test]
fn a_marker_that_comes_before_the_first_sample_has_its_time() {
    let mut world = plain();
    let offset = -(world.now.as_millis() as i64) + 5_000;
    world.connect_all(false, offset);
    let message = Message::Event { scheme: "urn:early".to_owned(), value: String::new(), id: 1, data: Bytes::new() };
    let marker = Marker { time: Some((Ticks(9_000), Timescale::MILLIS)), duration: None, message };
    let begun = world.now;
    world.writer.feed(world.encoders[0].session, Event::Marker(marker), world.now).expect("it is wanted");
    world.run(Duration::from_secs(12));
    let snapshot = world.writer.channel().snapshot();
    let marks: Vec<_> = snapshot.broadcast(None).expect("it is published").marks.iter().map(|mark| mark.time).collect();
    // A first tick passes before the first sample comes, and counts as now.
    assert_eq!(marks, [begun + Duration::from_millis(4_100)]);
}

#[test]
fn segments_that_are_sent_again_are_taken_once() {
    let mut world = plain();
    let session = world.writer.publish(SourceName::Track("video".to_owned()), world.now).expect("nobody else does");
    let scene = Scene { has_audio: false, is_exact: true, ..SCENE };
    let offset = -(world.now.as_millis() as i64);
    let begun = Encoder::new(session, SourceName::Track("video".to_owned()), scene, offset, 1, world.now);
    world.announce(&begun);
    // Segments of two seconds, at their time; some twice, and the last two again after a lost connection.
    for segment in [0, 1, 2, 3, 3, 4, 5, 4, 5, 6, 7_u32] {
        let mut encoder = begun.clone();
        encoder.feeds[0].next += u64::from(segment) * 50;
        let end = Duration::from_secs(1_800_000_200) + Duration::from_secs(2) * (segment + 1);
        for event in encoder.film(end, false) {
            world.writer.feed(session, event, world.now).expect("it is wanted");
        }
        world.pump();
        world.run(Duration::from_secs(2));
    }
    let segments = segments(&world, "video");
    assert_eq!(segments.len(), 8, "{segments:?}");
    assert!(segments.iter().all(|(_, discontinuities)| *discontinuities == 0));
    assert_eq!(world.writer.counts().dropped, 3 * 50);
}

/// A cue that lasts is written at once as far as it goes: pictures and sound that break off meanwhile, and come back, are as far as
/// they are.
#[test]
fn text_that_is_far_ahead_makes_no_gaps_of_the_others() {
    let mut world = plain();
    world.scene.has_text = true;
    world.connect_all(false, 0);
    world.run(Duration::from_secs(20));
    let cue = Sample {
        decode_time: Ticks(world.now.as_millis() as i64 + 3_000),
        composition_offset: 0,
        duration: Some(50_000),
        is_sync: true,
        data: Bytes::from_static(SAYS_NOTHING),
    };
    let session = world.encoders[0].session;
    world.writer.feed(session, Event::Sample { track: 2, sample: cue }, world.now).expect("it is wanted");
    world.disturb();
    world.away = vec![session];
    world.run(Duration::from_secs(7));
    world.away.clear();
    world.settle();
    world.run(Duration::from_secs(12));
    for track in ["v1", "a1"] {
        let numbers = listed(&world, track);
        let missing = numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).sum::<u64>();
        assert!(missing <= 4 && numbers.last() >= Some(&900_000_118), "{track}: {numbers:?}");
    }
}

/// Cues come now and then, and for twenty seconds none does: the track has all segments nevertheless, and never as gaps.
#[test]
fn text_goes_on_where_nothing_is_said() {
    let mut world = plain();
    world.connect_all(false, 0);
    let session = world.writer.publish(SourceName::Track("en".to_owned()), world.now).expect("nobody else does");
    let format = Format {
        kind: Kind::Text,
        timescale: Timescale::MILLIS,
        sample_entry: Bytes::from_static(WEBVTT),
        language: "und".to_owned(),
        name: None,
        role: Role::Main,
        bit_rate: None,
    };
    world.writer.feed(session, Event::Track { track: 0, format }, world.now).expect("it is wanted");
    // What it holds is no scene of this file.
    world.viewers.clear();
    let mut before = 0;
    for step in 0..600 {
        world.step();
        if step == 100 {
            before = world.writer.counts().dropped;
        }
        if step % 20 == 4 && !(200..400).contains(&step) {
            let cue = Sample {
                decode_time: Ticks(world.now.as_millis() as i64),
                composition_offset: 0,
                duration: Some(700),
                is_sync: true,
                data: Bytes::from_static(b"\0\0\0\x10vttc\0\0\0\x08payl"),
            };
            world.writer.feed(session, Event::Sample { track: 0, sample: cue }, world.now).expect("it is wanted");
        }
        let snapshot = world.writer.channel().snapshot();
        let broadcast = snapshot.broadcast(None);
        let Some(text) = broadcast.as_ref().and_then(|broadcast| broadcast.track("en")) else { continue };
        let numbers: Vec<_> = text.segments(0).map(|segment| segment.number).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        let furthest = broadcast.as_ref().and_then(|broadcast| Some(broadcast.tracks[0].tail.last()?.number));
        assert!(numbers.last().is_some_and(|&last| Some(last + 3) >= furthest), "{numbers:?} {furthest:?}");
    }
    let snapshot = world.writer.channel().snapshot();
    let broadcast = snapshot.broadcast(None).expect("it is published");
    let text = broadcast.track("en").expect("it is published");
    assert_eq!(text.track.codec, "wvtt");
    assert!(text.segments(0).count() >= 26, "{}", text.segments(0).count());
    for segment in text.segments(0).filter(|segment| segment.is_complete) {
        assert_eq!(segment.time, broadcast.grid.start(segment.number, text.track.timescale));
        assert_eq!(text.track.timescale.duration(segment.duration), Duration::from_secs(2));
    }
    assert_eq!(world.writer.counts().dropped, before, "a cue was dropped");
}

/// Who pushes whole files is followed at the latency of whole segments, over crashes and while nobody publishes, until somebody
/// else brings frame by frame.
#[test]
fn there_are_parts_only_of_what_is_sent_in_small_pieces() {
    let has_parts = |world: &World| {
        let snapshot = world.writer.channel().snapshot();
        let broadcast = snapshot.broadcast(None).expect("it is published");
        broadcast.grid.part.is_some()
    };
    let mut world = plain();
    world.connect_all(false, 0);
    let push = |world: &mut World, at: usize| {
        for track in 0..2 {
            let chunk = Event::Chunk { track, duration: None };
            world.writer.feed(world.encoders[at].session, chunk, world.now).expect("it is wanted");
        }
    };
    push(&mut world, 0);
    world.run(Duration::from_secs(20));
    assert!(!has_parts(&world));
    world.crash(Crash::Process);
    world.disturb();
    assert!(!has_parts(&world));
    world.run(Duration::from_secs(3));
    assert!(!has_parts(&world));
    world.connect_all(false, 0);
    world.run(Duration::from_secs(10));
    assert!(has_parts(&world));
    world.crash(Crash::Process);
    world.disturb();
    assert!(has_parts(&world));
    // One that stands by does not count before it steps in.
    world.connect_all(false, 0);
    let session = world.writer.publish(SourceName::Main, world.now).expect("it stands by");
    let standby = Encoder { session, ..world.encoders[0].clone() };
    world.announce(&standby);
    world.encoders.push(standby);
    push(&mut world, 1);
    world.run(Duration::from_secs(10));
    assert!(has_parts(&world));
    let first = world.encoders.remove(0).session;
    world.writer.unpublish(first, world.now);
    world.disturb();
    world.run(Duration::from_secs(10));
    assert!(!has_parts(&world));
}

/// One fragment that is far too long is a stall, whether the encoder has published for long, the server has just started, or
/// a twin hears of the encoder from then on. Several are how the encoder works.
#[test]
fn a_fragment_that_stalls_takes_no_parts_away() {
    let has_parts = |world: &World| {
        let snapshot = world.writer.channel().snapshot();
        snapshot.broadcast(None).map(|broadcast| broadcast.grid.part.is_some())
    };
    let send = |world: &mut World, millis: &[u64]| {
        for millis in millis {
            for track in 0..2 {
                let chunk = Event::Chunk { track, duration: Some(Duration::from_millis(*millis)) };
                world.writer.feed(world.encoders[0].session, chunk, world.now).expect("it is wanted");
            }
            world.run(Duration::from_millis(*millis));
        }
    };
    let mut world = plain();
    world.connect_all(false, 0);
    send(&mut world, &[400; 20]);
    assert_eq!(has_parts(&world), Some(true));
    send(&mut world, &[6_000, 400, 400]);
    assert_eq!(has_parts(&world), Some(true), "it stalled");
    world.crash(Crash::Process);
    world.disturb();
    world.connect_all(false, 0);
    send(&mut world, &[6_000, 400]);
    assert_eq!(has_parts(&world), Some(true), "it stalled when the server had started");
    send(&mut world, &[2_000, 2_000]);
    assert_eq!(has_parts(&world), Some(false), "it sends whole segments");
    world.crash(Crash::Process);
    world.disturb();
    world.connect_all(false, 0);
    send(&mut world, &[400]);
    assert_eq!(has_parts(&world), Some(false), "a short one is not enough");
    send(&mut world, &[400; 5]);
    assert_eq!(has_parts(&world), Some(true));
    // A twin that is new.
    let mut world = plain();
    world.connect_all(false, 0);
    send(&mut world, &[6_000, 400, 400, 400, 400, 400, 400, 400]);
    assert_eq!(has_parts(&world), Some(true), "it stalled when the twin began to listen");
}

/// RFC 8216bis §6.2.2: EXT-X-MEDIA-SEQUENCE does not decrease, whatever the operator writes into the configuration while the
/// server is down.
#[test]
fn a_window_that_is_longer_after_a_restart_begins_where_it_did() {
    let mut world = with(Options { window: Duration::from_secs(30), ..world::usual() });
    world.connect_all(false, 0);
    world.run(Duration::from_secs(90));
    let first = |world: &World| world.writer.channel().snapshot().broadcast(None).map_or(0, |found| found.first);
    let before = first(&world);
    for (window, is_longer) in [(600, true), (600, true), (30, false), (600, true)] {
        world.options.window = Duration::from_secs(window);
        world.crash(Crash::Process);
        let again = first(&world);
        assert!(again >= before && (!is_longer || again <= before + 15), "{before} {again} {window}");
        world.connect_all(false, 0);
        world.run(Duration::from_secs(3));
    }
}

/// A journal that a crash took is written again, though its file is not the newest.
#[test]
fn a_restart_completes_the_journals_of_closed_files() {
    let mut world = plain();
    world.connect_all(false, 0);
    world.run(Duration::from_secs(110));
    let before = listed(&world, "v1");
    assert!(world.disk.lose_journal("v1"), "there are two files");
    world.crash(Crash::Process);
    assert_eq!(listed(&world, "v1"), before);
    world.crash(Crash::Process);
    assert_eq!(listed(&world, "v1"), before);
    assert_eq!(world.writer.counts().lost, 0);
}

/// Where a second key frame is waited for, all tracks have much to write at once, and one is shown before the others.
#[test]
fn tracks_that_begin_together_are_listed_from_one_number_on() {
    let mut world = plain();
    world.connect_all(true, 0);
    let silent = world.encoders.iter_mut().find(|encoder| encoder.source == SourceName::Rendition("high".to_owned()));
    silent.expect("it is one of the ladder").feeds[0].is_muted = true;
    // What was listed is compared part by part.
    world.run(Duration::from_secs(12));
    let (low, sound) = (listed(&world, "low-v1"), listed(&world, "sound-a1"));
    assert!(low.len() >= 5 && low[0] == sound[0], "{low:?} {sound:?}");
}

/// One rendition has missed a segment that another is still being made of (seed 40300): what is listed as a gap is one to all who
/// ask for it.
#[test]
fn a_gap_of_one_track_is_known_before_the_others_have_passed_it() {
    let mut world = plain();
    world.scene.is_exact = true;
    world.connect_all(true, 0);
    world.run(Duration::from_millis(20_000));
    for (high, low, millis) in [(false, true, 1_300), (true, true, 800), (true, false, 4_000)] {
        world.encoders[0].feeds[0].is_muted = high;
        world.encoders[1].feeds[0].is_muted = low;
        // What is listed is compared with what is there.
        world.run(Duration::from_millis(millis));
    }
    let missing = |track| listed(&world, track).windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert_eq!(["high-v1", "low-v1", "sound-a1"].map(missing), [0, 1, 0]);
}

#[test]
fn an_encoder_that_ends_at_once_is_published() {
    for ladder in [false, true] {
        let mut world = with(Options { end: true, ..world::usual() });
        world.connect_all(ladder, 0);
        world.run(Duration::from_secs(1));
        for session in world.encoders.iter().map(|encoder| encoder.session).collect::<Vec<_>>() {
            world.writer.feed(session, Event::End, world.now).expect("it is wanted");
        }
        world.disconnect_all();
        world.pump();
        assert_eq!(state(&world), State::Ended);
        let names = if ladder { ["high-v1", "sound-a1"] } else { ["v1", "a1"] };
        let before = names.map(|track| listed(&world, track));
        assert!(before.iter().all(|numbers| !numbers.is_empty()), "{before:?}");
        world.run(Duration::from_secs(20));
        assert_eq!(names.map(|track| listed(&world, track)), before);
    }
}

/// RFC 8216bis §6.2.1: what was listed as a segment is not listed as a gap later, nor the other way round after a restart.
#[test]
fn a_journal_that_cannot_be_written_costs_no_segment() {
    let mut world = plain();
    world.connect_all(false, 0);
    world.run(Duration::from_secs(50));
    world.disk.mood.takes_no_rows = true;
    // The next file is begun meanwhile.
    world.run(Duration::from_secs(40));
    world.disk.mood.takes_no_rows = false;
    world.run(Duration::from_secs(30));
    let before = listed(&world, "v1");
    assert!(before.len() >= 56 && before.windows(2).all(|pair| pair[1] == pair[0] + 1), "{before:?}");
    world.disk.mood.takes_no_rows = true;
    world.run(Duration::from_secs(10));
    world.crash(Crash::Process);
    world.disk.mood.takes_no_rows = false;
    world.connect_all(false, 0);
    world.run(Duration::from_secs(20));
    let after = listed(&world, "v1");
    assert!(after.windows(2).all(|pair| pair[1] == pair[0] + 1), "{after:?}");
    assert_eq!(world.writer.counts().lost, 0);
}

/// Where the disk is full, the window begins behind a file that gaps at its start go on from (seeds 300100, 300882 and 301008):
/// as long as they are listed, they say the same.
#[test]
fn a_gap_stays_as_it_is_though_the_file_before_it_makes_room() {
    let mut world = plain();
    world.connect_all(false, 0);
    world.run(Duration::from_secs(37));
    world.disturb();
    // Pictures are away over the end of the first file, and sound from right before it on.
    let session = world.encoders[0].session;
    for (is_muted, away, millis) in [(true, vec![], 2_200), (true, vec![session], 800), (true, vec![], 6_000)] {
        world.encoders[0].feeds[0].is_muted = is_muted;
        world.away = away;
        world.run(Duration::from_millis(millis));
    }
    world.encoders[0].feeds[0].is_muted = false;
    world.run(Duration::from_secs(30));
    let begins = |world: &World| world.writer.channel().snapshot().broadcast(None).map(|broadcast| broadcast.first);
    let before = begins(&world);
    // What is listed is compared with what was.
    world.disk.mood.room = Some(world.disk.bytes());
    world.run(Duration::from_secs(10));
    let first = begins(&world);
    assert!(first > before && !listed(&world, "v1").contains(&first.unwrap_or(0)), "{before:?} {first:?}");
    world.disk.mood.room = None;
    world.crash(Crash::Process);
    world.connect_all(false, 0);
    world.run(Duration::from_secs(10));
    assert_eq!(begins(&world), first);
}

/// The window begins where it does whether or not there is a file that far back (seed 301506): it would go back after a crash before
/// the file is deleted.
#[test]
fn a_window_that_begins_with_gaps_begins_there_without_the_files_before_them() {
    let mut world = with(Options { window: Duration::from_secs(30), ..world::usual() });
    world.connect_all(false, 0);
    world.run(Duration::from_secs(30));
    world.disturb();
    world.disconnect_all();
    let before = listed(&world, "v1").last().copied();
    world.run(Duration::from_secs(300));
    world.connect_all(false, 0);
    world.settle();
    let window =
        |world: &World| world.writer.channel().snapshot().broadcast(None).map(|found| (found.first, found.next));
    let mut begun = None;
    for _ in 0..240 {
        world.step();
        let (first, next) = window(&world).expect("it is published");
        begun = begun.or_else(|| listed(&world, "v1").into_iter().find(|&number| Some(number) > before));
        assert!(begun.is_none() || first == next - 15, "{first} {next}");
    }
    assert!(begun > window(&world).map(|(first, _)| first), "the gaps are listed still");
    world.crash(Crash::Process);
}
