//! What an encoder does that is in no specification, one thing at a time.

use super::*;

/// Number and discontinuities of each segment of a track that is not a gap.
fn listed(world: &World, track: &str) -> Vec<(u64, u32)> {
    let snapshot = world.writer.channel().snapshot();
    let Some(broadcast) = snapshot.broadcast(None) else { return Vec::new() };
    let track = broadcast.track(track);
    track.iter().flat_map(|track| track.segments(0)).map(|segment| (segment.number, segment.discontinuities)).collect()
}

fn state(world: &World) -> State {
    world.writer.channel().snapshot().state
}

#[test]
fn another_resolution_costs_no_segment() {
    for frames in [500, 550, 600] {
        let mut world = World::new(1);
        let mut encoder = world.connect(0);
        for _ in 0..frames {
            world.step(&mut encoder, false);
        }
        encoder.is_large = true;
        world.announce(&encoder);
        for _ in 0..500 {
            world.step(&mut encoder, false);
        }
        let (video, audio) = (listed(&world, "v1"), listed(&world, "a1"));
        let first = video[0].0;
        let changed = first + frames as u64 / 50;
        for (at, &(number, discontinuities)) in video.iter().enumerate() {
            assert_eq!((number, discontinuities), (first + at as u64, u32::from(number >= changed)), "{frames}");
        }
        assert!(audio.iter().all(|(number, discontinuities)| *discontinuities == u32::from(*number >= changed)));
    }
}

#[test]
fn frames_whose_times_are_wrong_are_kept() {
    let mut world = World::new(1);
    let mut encoder = world.connect(0);
    for number in 0..500 {
        encoder.offset = if number % 7 == 3 { [-90, -700, 3_000_000][number / 7 % 3] } else { 0 };
        world.step(&mut encoder, false);
    }
    let counts = world.writer.counts();
    assert_eq!((counts.dropped, counts.jumps, counts.gaps), (0, 0, 0));
}

#[test]
fn a_channel_does_not_end_while_another_publisher_goes_on() {
    let mut world = World::with(Options { end: true, ..options() }, 1);
    let mut encoder = world.connect(0);
    let mut standby = Encoder { session: world.writer.publish(SourceName::Main, world.now).unwrap(), ..encoder };
    world.announce(&standby);
    for _ in 0..500 {
        let now = world.now;
        world.step(&mut standby, false);
        world.now = now;
        world.step(&mut encoder, false);
    }
    world.writer.feed(encoder.session, Event::End, world.now).unwrap();
    world.run_disk();
    assert_eq!(state(&world), State::Ongoing);
    world.writer.unpublish(encoder.session, world.now);
    let before = listed(&world, "v1").len();
    for _ in 0..200 {
        world.step(&mut standby, false);
    }
    assert!(listed(&world, "v1").len() >= before + 3);
    world.writer.feed(standby.session, Event::End, world.now).unwrap();
    world.run_disk();
    assert_eq!(state(&world), State::Ended);
}

#[test]
fn a_marker_that_comes_before_the_first_sample_has_its_time() {
    let mut world = World::new(1);
    let mut encoder = world.connect(5_000);
    let message = Message::Event { scheme: "urn:early".to_owned(), value: String::new(), id: 1, data: Bytes::new() };
    let marker = Marker { time: Some((Ticks(9_000), Timescale::MILLIS)), duration: None, message };
    let begun = world.now;
    world.writer.feed(encoder.session, Event::Marker(marker), world.now).unwrap();
    for _ in 0..300 {
        world.step(&mut encoder, false);
    }
    let snapshot = world.writer.channel().snapshot();
    let marks: Vec<_> = snapshot.broadcast(None).unwrap().marks.iter().map(|mark| mark.time).collect();
    assert_eq!(marks, [begun + Duration::from_secs(4)]);
}

#[test]
fn segments_that_are_sent_again_are_taken_once() {
    let mut world = World::new(1);
    let session = world.writer.publish(SourceName::Track("video".to_owned()), world.now).unwrap();
    let format = Format { timescale: Timescale::MPEG, ..format(Kind::Video, &H264) };
    world.writer.feed(session, Event::Track { track: 0, format }, world.now).unwrap();
    // Segments of two seconds, at their time; some twice, and the last two again after a lost connection.
    for segment in [0, 1, 2, 3, 3, 4, 5, 4, 5, 6, 7_i64] {
        for frame in 0..50 {
            let data = if frame == 0 { IDR } else { P };
            let data = [data, &(segment * 50 + frame).to_be_bytes()].concat();
            let sample = Sample {
                decode_time: Ticks((segment * 50 + frame) * 3_600),
                composition_offset: 0,
                duration: Some(3_600),
                is_sync: frame == 0,
                data: data.into(),
            };
            world.writer.feed(session, Event::Sample { track: 0, sample }, world.now).unwrap();
        }
        world.run_disk();
        world.now += Duration::from_secs(2);
        world.writer.tick(world.now);
        world.run_disk();
    }
    let segments = listed(&world, "video");
    assert_eq!(segments.len(), 8, "{segments:?}");
    assert!(segments.iter().all(|(_, discontinuities)| *discontinuities == 0));
    assert_eq!(world.writer.counts().dropped, 3 * 50);
}
