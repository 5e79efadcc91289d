//! How much of a track comes at once, and whether that can be offered in parts.

use std::collections::VecDeque;
use std::time::Duration;

/// What one publisher sends of one track.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    /// Whole files: how long one lasts is known only when it has come.
    are_files: bool,
    /// How long the newest fragments last.
    recent: VecDeque<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They can be published in parts as they come.
    Short,
    Long,
    /// Too few have come to tell. Most of those that have are long, or not.
    Unsure {
        long: bool,
    },
}

/// The verdict is a function of so many fragments and of nothing else: servers that had the same ones agree, whenever each of
/// them began to listen, and one that stalled is forgotten.
const RECENT: usize = 8;
/// An encoder that stalls for a moment sends one long fragment, or two. So many are how it works.
const LONG_MIN: usize = 3;

impl Pieces {
    /// What follows lasts so long; `None` is a file.
    pub fn add(&mut self, duration: Option<Duration>) {
        self.are_files = duration.is_none();
        let Some(duration) = duration else { return self.recent.clear() };
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(duration);
    }

    /// For parts of this length.
    ///
    /// PART-HOLD-BACK is three parts, so what comes at once has to be shorter by half a part at least. hls.js gives a
    /// playlist that it waits for the time of three parts, or 0.8 of a segment, and then fails.
    pub fn verdict(&self, part: Duration) -> Verdict {
        let long = self.recent.iter().filter(|duration| **duration > part * 5 / 2).count();
        let short = self.recent.len() - long;
        match () {
            () if self.are_files || long >= LONG_MIN => Verdict::Long,
            // However long those are that would make the count full.
            () if short > RECENT - LONG_MIN => Verdict::Short,
            () => Verdict::Unsure { long: long > short },
        }
    }
}

impl Verdict {
    /// Of both together: all tracks of a channel have parts, or none.
    pub fn beside(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::Long, _) | (_, Verdict::Long) => Verdict::Long,
            (Verdict::Unsure { long: a }, Verdict::Unsure { long: b }) => Verdict::Unsure { long: a || b },
            (Verdict::Unsure { long }, Verdict::Short) | (Verdict::Short, Verdict::Unsure { long }) => {
                Verdict::Unsure { long }
            }
            (Verdict::Short, Verdict::Short) => Verdict::Short,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Long, Short, Unsure};

    const PART: Duration = Duration::from_millis(500);

    fn verdict(millis: impl IntoIterator<Item = u64>) -> Verdict {
        let mut pieces = Pieces::default();
        millis.into_iter().for_each(|millis| pieces.add(Some(Duration::from_millis(millis))));
        pieces.verdict(PART)
    }

    #[test]
    fn several_long_fragments_are_needed_and_one_that_stalled_is_none() {
        for (name, millis, want) in [
            ("nothing", vec![], Unsure { long: false }),
            ("a start", vec![480; 5], Unsure { long: false }),
            ("a start of long ones", vec![1_920], Unsure { long: true }),
            ("short ones", vec![480; 6], Short),
            ("at the border", vec![1_250; 6], Short),
            ("long ones", vec![1_920; 3], Long),
            ("one that stalled first", [vec![9_000], vec![480; 6]].concat(), Short),
            ("one that stalled", [vec![480; 20], vec![9_000]].concat(), Short),
            ("two that stalled", [vec![480; 20], vec![9_000], vec![480; 2], vec![3_000]].concat(), Short),
            ("other settings", [vec![480; 20], vec![1_920; 3]].concat(), Long),
            ("and back", [vec![1_920; 20], vec![480; 6]].concat(), Short),
            ("by turns", [480, 1_920].repeat(8), Long),
        ] {
            assert_eq!(verdict(millis), want, "{name}");
        }
    }

    #[test]
    fn files_are_long_at_once() {
        let mut pieces = Pieces::default();
        (0..20).for_each(|_| pieces.add(Some(PART)));
        pieces.add(None);
        assert_eq!(pieces.verdict(PART), Long);
        (0..6).for_each(|_| pieces.add(Some(PART)));
        assert_eq!(pieces.verdict(PART), Short);
    }

    #[test]
    fn who_began_later_agrees_after_so_many_fragments() {
        // Any pattern of twelve fragments, and who came at each of the first five.
        for pattern in 0_u32..1 << 12 {
            let millis: Vec<u64> = (0..12).map(|at| if pattern >> at & 1 == 1 { 1_920 } else { 480 }).collect();
            let all = verdict(millis.iter().copied());
            for from in 0..=12 - RECENT {
                assert_eq!(verdict(millis[from..].iter().copied()), all, "{millis:?} from {from}");
            }
        }
    }

    #[test]
    fn one_track_that_is_long_is_enough() {
        let unsure = |long| Unsure { long };
        for (a, b, want) in [
            (Short, Short, Short),
            (Short, Long, Long),
            (unsure(true), Long, Long),
            (unsure(true), Short, unsure(true)),
            (unsure(true), unsure(false), unsure(true)),
        ] {
            assert_eq!((a.beside(b), b.beside(a)), (want, want), "{a:?} {b:?}");
        }
    }
}
