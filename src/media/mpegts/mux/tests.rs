use super::*;
use crate::media::codec::elementary::Nal;
use crate::media::codec::make;
use crate::media::feed::Event;
use crate::media::mpegts::Demuxer;
use crate::media::mpegts::fixture::{PPS, SPS};
use crate::media::mpegts::packet::{Continuity, Counter, Packet, SIZE};
use proptest::prelude::*;

const FRAME: i64 = 3_600;
/// 1024 samples at 48 kHz.
const SOUND: i64 = 1_920;

fn video() -> Stream {
    let sets = [&[0, 0, 0, 1][..], &SPS, &[0, 0, 0, 1], &PPS].concat();
    Stream {
        elementary: Elementary::Nal(Nal { codec: NalCodec::Avc, length_size: 4, parameter_sets: sets }),
        language: None,
    }
}

fn audio() -> Stream {
    let elementary = Elementary::of_entry(&make::aac_entry(&[0x11, 0x90], 2)).unwrap();
    Stream { elementary, language: Some(*b"ger") }
}

/// A slice that is a picture of its own.
fn picture(is_key: bool, number: usize, size: usize) -> Vec<u8> {
    let mut unit = vec![if is_key { 0x65 } else { 0x41 }, 0x9A, number as u8];
    // None ends in a zero: that would be of the byte stream, not of the unit (ISO/IEC 14496-10 §7.4.1).
    unit.resize(size.max(4), 0x55);
    [&(unit.len() as u32).to_be_bytes()[..], &unit].concat()
}

fn segment(video: Share<'_>, audio: Option<Share<'_>>, place: Place) -> Vec<u8> {
    let (mut out, mut muxer) = (Vec::new(), Muxer::new(video, audio, place));
    while muxer.advance(&mut out) {}
    out
}

/// Two segments of 25 pictures each, in the order I P B B, with the sound beside them.
struct Film {
    pictures: Vec<Vec<u8>>,
    sounds: Vec<Vec<u8>>,
    start: i64,
}

const PICTURES: usize = 25;

impl Film {
    fn new(start: i64, sizes: &[usize]) -> Film {
        let size = |at: usize| sizes[at % sizes.len()];
        Film {
            pictures: (0..2 * PICTURES).map(|at| picture(at % PICTURES == 0, at, size(at))).collect(),
            sounds: (0..94).map(|at| vec![at as u8; 20 + size(at) % 500]).collect(),
            start,
        }
    }

    fn decode(&self, at: usize) -> i64 {
        self.start + (at as i64 - 2) * FRAME
    }

    fn presentation(&self, at: usize) -> i64 {
        let in_group = at % PICTURES;
        let shown = if in_group == 0 { 0 } else { [3, -1, -1][(in_group - 1) % 3] };
        self.start + (at as i64 + shown) * FRAME
    }

    fn sound(&self, at: usize) -> i64 {
        self.start - SOUND + at as i64 * SOUND
    }

    fn segments(&self, video: &Stream, audio: Option<&Stream>) -> Vec<Vec<u8>> {
        let make = |number: usize| {
            let pictures = number * PICTURES..(number + 1) * PICTURES;
            let units = pictures.clone().map(|at| Unit {
                decode: self.decode(at),
                presentation: self.presentation(at),
                duration: FRAME,
                random_access: at % PICTURES == 0,
                data: &self.pictures[at],
            });
            let share = Share { stream: video.clone(), units: units.collect() };
            let border = self.start + PICTURES as i64 * FRAME;
            let sounds = (0..self.sounds.len()).filter(|&at| (self.sound(at) >= border) == (number == 1));
            let sound = audio.map(|stream| Share {
                stream: stream.clone(),
                units: sounds
                    .map(|at| Unit {
                        decode: self.sound(at),
                        presentation: self.sound(at),
                        duration: SOUND,
                        random_access: true,
                        data: &self.sounds[at],
                    })
                    .collect(),
            });
            let (start, end) = (self.decode(pictures.start), self.decode(pictures.end));
            segment(share, sound, Place { ordinal: number as u64, start, end, apart: 0 })
        };
        vec![make(0), make(1)]
    }
}

/// What any player relies on, over consecutive segments. Returns the clock references.
fn check(segments: &[Vec<u8>]) -> Vec<i64> {
    let mut counters: std::collections::BTreeMap<u16, Counter> = Default::default();
    let mut clocks: Vec<i64> = Vec::new();
    for bytes in segments {
        for (at, chunk) in bytes.chunks(SIZE).enumerate() {
            let packet = Packet::read(chunk.first_chunk().unwrap()).unwrap();
            let tables = [0, 0x1000].get(at).copied();
            assert_eq!(tables.unwrap_or(packet.pid), packet.pid, "tables come first");
            if !packet.payload.is_empty() {
                let continuity = counters.entry(packet.pid).or_default().next(&packet);
                assert_eq!(continuity, Continuity::Next, "PID {} packet {at}", packet.pid);
            }
            if chunk[3] & 0x20 != 0 && chunk[4] > 0 && chunk[5] & 0x10 != 0 {
                let base = chunk[6..11].iter().fold(0, |sum, &byte| sum << 8 | i64::from(byte)) >> 7;
                if let Some(&last) = clocks.last() {
                    let step = (base - last).rem_euclid(1 << 33);
                    assert!((1..=CLOCK_PERIOD).contains(&step), "from clock {last} to {base}");
                }
                clocks.push(base);
            }
        }
    }
    clocks
}

fn samples(segments: &[Vec<u8>]) -> Vec<(u32, i64, i64, bool, Vec<u8>)> {
    let (mut demuxer, mut events) = (Demuxer::default(), Vec::new());
    demuxer.push(&segments.concat(), &mut events).unwrap();
    demuxer.flush(&mut events).unwrap();
    assert_eq!((demuxer.losses(), demuxer.notices()), (0, vec![]));
    let sample = |event: Event| match event {
        Event::Sample { track, sample } => {
            let offset = i64::from(sample.composition_offset);
            Some((track, sample.decode_time.0, sample.decode_time.0 + offset, sample.is_sync, sample.data.to_vec()))
        }
        _ => None,
    };
    events.into_iter().filter_map(sample).collect()
}

proptest! {
    #[test]
    fn what_goes_in_comes_out_of_the_demuxer(
        sizes in proptest::collection::vec(4..4_000_usize, 1..20),
        start in prop_oneof![Just(0_i64), 0..1_i64 << 35],
    ) {
        let film = Film::new(start, &sizes);
        let (picture, sound) = (video(), audio());
        let segments = film.segments(&picture, Some(&sound));
        check(&segments);
        let found = samples(&segments);
        let low = |time: i64| time & ((1 << 33) - 1);
        let pictures: Vec<_> = found.iter().filter(|sample| sample.0 == 0).collect();
        prop_assert_eq!(pictures.len(), film.pictures.len());
        for (at, found) in pictures.into_iter().enumerate() {
            let want = (film.decode(at) + OFFSET, film.presentation(at) + OFFSET);
            prop_assert_eq!((low(found.1), low(found.2)), (low(want.0), low(want.1)), "picture {}", at);
            prop_assert_eq!((found.3, &found.4), (at % PICTURES == 0, &film.pictures[at]), "picture {}", at);
        }
        let sounds: Vec<_> = found.iter().filter(|sample| sample.0 == 1).collect();
        prop_assert_eq!(sounds.len(), film.sounds.len());
        for (at, found) in sounds.iter().enumerate() {
            prop_assert_eq!(&found.4, &film.sounds[at], "frame {}", at);
            prop_assert_eq!(found.1 - sounds[0].1, 1_024 * at as i64, "frame {}", at);
        }
    }

    /// Times and sizes that no track has, as a damaged index might.
    #[test]
    fn nothing_panics(
        units in proptest::collection::vec((any::<i64>(), any::<i64>(), any::<i64>(), any::<bool>(), 0..300_usize), 0..20),
        sounds in proptest::collection::vec((any::<i64>(), any::<i64>(), 0..9_000_usize), 0..20),
        bytes in proptest::collection::vec(any::<u8>(), 9_000),
        place in any::<(u64, i64, i64)>(),
        kind in 0..4_usize,
    ) {
        let picture = video();
        let mut sound = audio();
        if let Some(other) = [Elementary::Ac3, Elementary::Eac3, Elementary::Mpeg(MpegLayer::Two)].get(kind) {
            sound.elementary = other.clone();
        }
        let units = units.iter().map(|&(decode, presentation, duration, random_access, size)| {
            Unit { decode, presentation, duration, random_access, data: &bytes[..size] }
        });
        let sounds = sounds.iter().map(|&(time, duration, size)| {
            Unit { decode: time, presentation: time, duration, random_access: true, data: &bytes[..size] }
        });
        let place = Place { ordinal: place.0, start: place.1, end: place.2, apart: 0 };
        let shares = (
            Share { stream: picture.clone(), units: units.collect() },
            Share { stream: sound.clone(), units: sounds.collect() },
        );
        let out = segment(shares.0, Some(shares.1), place);
        prop_assert_eq!(out.len() % SIZE, 0);
    }
}

#[test]
fn the_clock_goes_on_where_there_are_no_pictures() {
    let (picture, sound) = (video(), audio());
    let data = picture_of(1_000);
    let still =
        |decode: i64, duration: i64| Unit { decode, presentation: decode, duration, random_access: true, data: &data };
    // A picture that stands for two seconds, then sound alone, then neither.
    let first = Share { stream: picture.clone(), units: vec![still(0, 180_000)] };
    let frame = vec![1; 100];
    let sounds = (0..94).map(|at| {
        let time = 180_000 + at * SOUND;
        Unit { decode: time, presentation: time, duration: SOUND, random_access: true, data: &frame }
    });
    let nothing = || Share { stream: picture.clone(), units: vec![] };
    let segments = [
        segment(
            first,
            Some(Share { stream: sound.clone(), units: vec![] }),
            Place { ordinal: 0, start: 0, end: 180_000, apart: 0 },
        ),
        segment(
            nothing(),
            Some(Share { stream: sound.clone(), units: sounds.collect() }),
            Place { ordinal: 1, start: 180_000, end: 360_480, apart: 0 },
        ),
        segment(nothing(), None, Place { ordinal: 2, start: 360_480, end: 400_000, apart: 0 }),
    ];
    let clocks = check(&segments);
    assert_eq!((clocks[0], *clocks.last().unwrap()), (OFFSET - LEAD, OFFSET - LEAD + 360_480 + 4 * CLOCK_PERIOD));
    assert_eq!(samples(&segments).len(), 95);
}

fn picture_of(size: usize) -> Vec<u8> {
    picture(true, 0, size)
}

#[test]
fn streams_are_named() {
    let hevc = Nal { codec: NalCodec::Hevc, length_size: 4, parameter_sets: Vec::new() };
    for (elementary, stream_type, registration) in [
        (video().elementary, 0x1B, None),
        (Elementary::Nal(hevc), 0x24, Some(*b"HEVC")),
        (audio().elementary, 0x0F, None),
        (Elementary::Ac3, 0x81, Some(*b"AC-3")),
        (Elementary::Eac3, 0x87, Some(*b"EAC3")),
        (Elementary::Mpeg(MpegLayer::One), 3, None),
        (Elementary::Mpeg(MpegLayer::Two), 4, None),
    ] {
        let row = row(7, &Stream { elementary, language: None });
        assert_eq!((row.stream_type, row.registration), (stream_type, registration));
    }
}
