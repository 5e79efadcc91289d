//! What a channel goes through between one quiet stretch and the next.

use std::time::Duration;

use headwater::live::{Redundancy, Refusal};
use headwater::media::feed::Event;

use super::disk::{Crash, Mood};
use super::encoder::Encoder;
use super::world::World;

const MISHAPS: u64 = 25;

pub fn happen(world: &mut World, is_ladder: bool) {
    world.disturb();
    let which = world.random.below(MISHAPS);
    if super::talk() > 0 {
        println!("{:.1} mishap {which}", world.now.as_secs_f64());
    }
    let millis = |world: &mut World, bound: u64| Duration::from_millis(world.random.below(bound));
    // Clocks that are set, or are of somebody else.
    world.is_timely &= !matches!(which, 3..=5 | 12 | 20);
    let offset = world.encoders.first().map_or(0, |encoder| encoder.offset);
    match which {
        // Frames are lost: few, or many.
        0 | 1 => {
            let away = millis(world, if which == 0 { 1_600 } else { 24_000 });
            let one = world.random.below(world.encoders.len() as u64) as usize;
            world.away = world.encoders.get(one).map(|encoder| encoder.session).into_iter().collect();
            world.run(away);
            world.away.clear();
        }
        // All encoders come back: going on, from zero, a little back.
        2..=4 => {
            world.disconnect_all();
            let gone = millis(world, 15_000);
            world.run(gone);
            let back = world.random.below(30_000) as i64;
            let offset = [offset, -(world.now.as_millis() as i64), offset - back][which as usize - 2];
            world.connect_all(is_ladder, offset);
        }
        // Clocks are set anew.
        5 => {
            let by = world.random.below(40_000) as i64 - 20_000;
            let clock = world.new_clock();
            for encoder in &mut world.encoders {
                encoder.offset += by;
                encoder.clock = clock;
            }
        }
        6 => {
            let by = world.random.below(10_000_000) as i64 - 5_000_000;
            if let Some((session, event)) =
                world.encoders.first().and_then(|encoder| Some((encoder.session, encoder.stray(by)?)))
            {
                world.writer.feed(session, event, world.now).expect("it is wanted");
            }
        }
        7..=9 => {
            let crash = if which == 9 { Crash::Power } else { Crash::Process };
            if world.random.one_in(4) {
                // The operator has edited the configuration meanwhile.
                world.options.window = any_window(world);
            }
            for _ in 0..1 + world.random.below(3) {
                world.crash(crash);
                if world.random.one_in(2) {
                    world.connect_all(is_ladder, offset);
                    let up = millis(world, 5_000);
                    world.run(up);
                }
            }
            if world.encoders.is_empty() {
                let gone = millis(world, 10_000);
                world.run(gone);
                world.connect_all(is_ladder, offset);
            }
        }
        10 => {
            let one = world.random.below(world.encoders.len() as u64) as usize;
            if let Some(encoder) = world.encoders.get_mut(one) {
                encoder.is_large = !encoder.is_large;
                let encoder = encoder.clone();
                world.announce(&encoder);
            }
            // It is learnt from a few frames.
            world.run(Duration::from_secs(10));
        }
        11 => world.mark(),
        12 => rival(world),
        // The disk.
        13 => world.disk.mood.failing = if world.disk.mood.failing == 0 { 20 } else { 0 },
        14 => {
            world.disk.mood.slow = 1 + world.random.below(1_500);
            let lasts = millis(world, 40_000);
            world.run(lasts);
            world.disk.mood.slow = 0;
        }
        15 => {
            world.disk.mood.stuck_until = world.now + millis(world, 20_000);
            let lasts = world.disk.mood.stuck_until.saturating_sub(world.now) + Duration::from_secs(1);
            world.run(lasts);
            world.disk.mood.stuck_until = Duration::ZERO;
        }
        16 => {
            let full = world.disk.bytes();
            world.disk.mood.room = Some(full / 2 + world.random.below(full + 1));
            let lasts = millis(world, 200_000);
            world.run(lasts);
            world.disk.mood.room = None;
        }
        // One track says nothing.
        17 => {
            let lasts = millis(world, 20_000);
            let one = world.random.below(world.encoders.len() as u64) as usize;
            for is_muted in [true, false] {
                if let Some(feed) = world.encoders.get_mut(one).and_then(|encoder| encoder.feeds.last_mut()) {
                    feed.is_muted = is_muted;
                }
                world.run(if is_muted { lasts } else { Duration::ZERO });
            }
        }
        18 => {
            for session in world.encoders.iter().map(|encoder| encoder.session).collect::<Vec<_>>() {
                world.writer.feed(session, Event::End, world.now).expect("it is wanted");
            }
            world.disconnect_all();
            let gone = millis(world, 60_000);
            world.run(gone);
            world.connect_all(is_ladder, offset);
        }
        19 => {
            world.options.window = any_window(world);
            world.options.cue_tags = !world.options.cue_tags;
            world.writer.configure(world.options.clone());
            // What of the window is gone for good is on disk a moment later.
            world.run(Duration::from_secs(1));
        }
        // A night.
        20 => {
            world.disconnect_all();
            let gone = millis(world, 1_800_000);
            world.run(gone);
            let offset = if world.random.one_in(2) { offset } else { -(world.now.as_millis() as i64) };
            world.connect_all(is_ladder, offset);
        }
        // One of several comes back.
        21 => {
            let one = world.random.below(world.encoders.len() as u64) as usize;
            if world.encoders.get(one).is_some() {
                let gone = world.encoders.remove(one);
                world.writer.unpublish(gone.session, world.now);
                let away = millis(world, 8_000);
                world.run(away);
                world.connect(gone.source, gone.scene, gone.offset);
            }
        }
        // A crash while the disk is slow or full.
        22 => {
            world.disk.mood = match world.random.one_in(2) {
                true => Mood { slow: 3_000, ..Mood::default() },
                false => Mood { room: Some(world.disk.bytes() / 2), ..Mood::default() },
            };
            let lasts = millis(world, 10_000);
            world.run(lasts);
            world.crash(Crash::Process);
            world.disk.mood = Mood::default();
            world.connect_all(is_ladder, offset);
        }
        // Journals are on a disk that fails.
        23 => {
            world.disk.mood.takes_no_rows = true;
            let lasts = millis(world, 90_000);
            world.run(lasts);
            world.disk.mood.takes_no_rows = false;
        }
        _ => {
            for _ in 0..4 {
                world.look_back();
            }
        }
    }
    world.settle();
}

fn any_window(world: &mut World) -> Duration {
    Duration::from_secs([30, 60, 120, 600][world.random.below(4) as usize])
}

/// A second publisher of what is being published: it stands by and steps in, takes over, or is refused.
fn rival(world: &mut World) {
    let one = world.random.below(world.encoders.len() as u64) as usize;
    let Some(first) = world.encoders.get(one).cloned() else { return };
    let published = world.writer.publish(first.source.clone(), world.now);
    let session = match (world.options.redundancy, published) {
        (Redundancy::Refuse, Err(Refusal::Busy { .. })) => return,
        (Redundancy::Refuse, other) => panic!("a second publisher gets {other:?}"),
        (_, Ok(session)) => session,
        (_, Err(refusal)) => panic!("a second publisher is refused: {refusal}"),
    };
    let mut second = Encoder { session, ..first.clone() };
    if world.random.one_in(3) && world.encoders.len() == 1 {
        // It is of another make, and its clock of its own.
        second.offset = -(world.now.as_millis() as i64);
        second.clock = world.new_clock();
    }
    world.announce(&second);
    if world.options.redundancy == Redundancy::Takeover {
        let displaced = world.writer.feed(first.session, Event::End, world.now);
        assert!(matches!(displaced, Err(Refusal::Displaced { .. })), "who was taken over from gets {displaced:?}");
        world.encoders[one] = second;
        return;
    }
    let failovers = world.writer.counts().failovers;
    world.encoders.push(second);
    let both = Duration::from_millis(world.random.below(12_000));
    world.run(both);
    assert_eq!(world.writer.counts().failovers, failovers, "a standby stepped in while the first was there");
    world.encoders.remove(one);
    match world.random.one_in(2) {
        true => world.writer.unpublish(first.session, world.now),
        // It hangs.
        false => world.run(Duration::from_secs(4)),
    }
    world.run(Duration::from_secs(4));
    assert_eq!(world.writer.counts().failovers, failovers + 1, "the standby did not step in");
    world.writer.unpublish(first.session, world.now);
}
