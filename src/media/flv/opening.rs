//! The first pictures of a track, as muxers give them times that have none below 0.
//!
//! Where pictures are presented in another order than they are decoded in, and the first is presented when time begins, some
//! are decoded before that: at -80, -40, 0, 40 ms. Muxers add the delay to all times, as ffmpeg does; GStreamer's flvmux
//! writes 0 where the time is negative, with the composition offset that gives the right time of presentation: 0, 0, 0, 40.

use crate::base::Ticks;
use crate::media::feed::Sample;

/// Pictures of a track from the first one on, until it is known when they are decoded.
#[derive(Debug, Default)]
pub struct Opening {
    pictures: Vec<Sample>,
}

/// Pictures at the start that may be decoded before time begins: encoders do with four (a pyramid of B-frames in HEVC).
const EARLY_MAX: usize = 8;
/// The longest that a picture may last for those before it to be taken for as long, in milliseconds.
const PICTURE_MAX: i64 = 1_000;

impl Opening {
    /// Takes the next picture. Returns whether it is known by now when all are decoded: at once in a stream that does not
    /// begin at 0, with the second picture where that is a later one and the first is presented at 0, and otherwise with the
    /// second that is later.
    pub fn take(&mut self, picture: Sample) -> bool {
        self.pictures.push(picture);
        let early = self.early();
        let later = self.pictures.len() - early;
        match &self.pictures[..early] {
            [] => true,
            [first] if first.composition_offset <= 0 => later > 0,
            _ => later > 1 || early > EARLY_MAX,
        }
    }

    pub fn bytes(&self) -> usize {
        self.pictures.iter().map(|picture| picture.data.len()).sum()
    }

    /// All pictures, in order. Those that were given 0 for a time are decoded one after the other before the first that was
    /// not, and presented when they were.
    pub fn finish(mut self) -> Vec<Sample> {
        let early = self.early();
        let (early, later) = self.pictures.split_at_mut(early);
        if let [one, other, ..] = later {
            let picture = other.decode_time.0 - one.decode_time.0;
            let is_wrong = match early {
                [first] => first.composition_offset > 0 && one.decode_time.0 < picture / 2,
                _ => is_reordered(early),
            };
            // What is rounded to milliseconds may be one off. The time of none was raised by less than nothing.
            if is_wrong && (1..=PICTURE_MAX).contains(&picture) && (1..=picture + 1).contains(&one.decode_time.0) {
                for (count, sample) in (1..).zip(early.iter_mut().rev()) {
                    let time = (one.decode_time.0 - count * picture).min(0);
                    sample.composition_offset = sample.composition_offset.saturating_sub(time as i32);
                    sample.decode_time = Ticks(time);
                }
            }
        }
        self.pictures
    }

    /// How many there are at time 0, before any other.
    fn early(&self) -> usize {
        self.pictures.iter().take_while(|picture| picture.decode_time.0 == 0).count()
    }
}

/// Whether pictures of one decode time are all presented at times of their own: the time of decoding is wrong then, and no
/// picture is sent twice, or with a time of a coarse clock.
fn is_reordered(pictures: &[Sample]) -> bool {
    let mut offsets: Vec<_> = pictures.iter().map(|picture| picture.composition_offset).collect();
    offsets.sort_unstable();
    offsets.windows(2).all(|pair| pair[0] < pair[1])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decode times and composition offsets of all that was taken, and how many were taken at once.
    fn run(pictures: &[(i64, i32)]) -> (Vec<(i64, i32)>, usize) {
        let mut opening = Opening::default();
        let picture = |&(time, composition_offset): &(i64, i32)| Sample {
            decode_time: Ticks(time),
            composition_offset,
            duration: None,
            is_sync: false,
            data: bytes::Bytes::new(),
        };
        let waited = pictures.iter().take_while(|&given| !opening.take(picture(given))).count();
        let found = opening.finish();
        (found.iter().map(|sample| (sample.decode_time.0, sample.composition_offset)).collect(), waited)
    }

    #[test]
    fn pictures_without_a_time_are_decoded_one_after_the_other() {
        for (name, pictures, want) in [
            (
                "flvmux, B-frames that refer to B-frames",
                &[(0, 0), (0, 160), (0, 80), (40, 0), (80, 40)][..],
                &[(-80, 80), (-40, 200), (0, 80), (40, 0), (80, 40)][..],
            ),
            ("flvmux, B-frames", &[(0, 0), (0, 120), (40, 0), (80, 0)], &[(-40, 40), (0, 120), (40, 0), (80, 0)]),
            (
                "30000/1001 a second, in milliseconds",
                &[(0, 0), (0, 133), (0, 67), (33, 0), (67, 33)],
                &[(-69, 69), (-35, 168), (-1, 68), (33, 0), (67, 33)],
            ),
            (
                "presented 21 ms after time begins",
                &[(0, 21), (0, 181), (21, 80), (61, 0)],
                &[(-59, 80), (-19, 200), (21, 80), (61, 0)],
            ),
            (
                "so late that one alone is decoded before",
                &[(0, 41), (1, 200), (41, 80)],
                &[(-39, 80), (1, 200), (41, 80)],
            ),
        ] {
            assert_eq!(run(pictures), (want.to_vec(), pictures.len() - 1), "{name}");
        }
    }

    #[test]
    fn all_others_keep_their_times() {
        let many: Vec<_> = (0..=EARLY_MAX as i32 + 1).map(|at| (0, at)).collect();
        for (name, pictures, waited) in [
            ("each at its time", &[(0, 80), (40, 160), (80, 0)][..], 2),
            ("each at its time, and none before another", &[(0, 0), (40, 0)], 1),
            ("a clock of its own for every picture", &[(0, 80), (30, 160), (80, 0)], 2),
            ("not from 0 on", &[(7, 0)], 0),
            ("a coarse clock", &[(0, 0), (0, 0), (40, 0), (80, 0)], 3),
            ("one presented with another", &[(0, 40), (0, 0), (0, 40), (40, 0), (80, 0)], 4),
            ("a hole", &[(0, 0), (0, 120), (400, 0), (440, 0)], 3),
            ("a hole behind", &[(0, 0), (0, 120), (40, 0), (4_000, 0)], 3),
            ("a clock that goes back", &[(0, 0), (0, 120), (40, 0), (20, 0)], 3),
            ("a clock that is set anew", &[(0, 0), (0, 120), (-40, 0), (0, 0)], 3),
            ("a clock that stands", &many[..=EARLY_MAX], EARLY_MAX),
            ("an end", &[(0, 0), (0, 120)], 2),
        ] {
            assert_eq!(run(pictures), (pictures.to_vec(), waited), "{name}");
        }
    }

    proptest! {
        /// Whatever times pictures have, few wait, none is lost, and each is presented when it was.
        #[test]
        fn pictures_stay_what_they_are(
            pictures in proptest::collection::vec(
                (
                    prop_oneof![4 => Just(0), 2 => -10i64..2_000, 1 => any::<u32>().prop_map(i64::from)],
                    prop_oneof![3 => 0..400, 1 => -0x80_0000..0x80_0000],
                ),
                1..20,
            ),
        ) {
            let (found, waited) = run(&pictures);
            prop_assert!(waited <= EARLY_MAX + 1);
            let presented = |all: &[(i64, i32)]| -> Vec<i64> {
                all.iter().map(|&(time, offset)| time + i64::from(offset)).collect()
            };
            prop_assert_eq!(presented(&found), presented(&pictures[..pictures.len().min(waited + 1)]));
            let is_in_order = |all: &[(i64, i32)]| all.is_sorted_by_key(|&(time, _)| time);
            prop_assert!(is_in_order(&found) || !is_in_order(&pictures));
        }
    }
}
