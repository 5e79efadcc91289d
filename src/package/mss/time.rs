//! The manifest's timeline: presentation time, in ticks of 100 ns, moved so far that nothing begins before 0.

use crate::base::units::rescale_nearest;
use crate::base::{Ticks, Timescale};
use crate::media::{Presentation, TrackView};

use super::TIMESCALE;

/// How far everything is moved. There are no edit lists, so priming lies at the beginning of the timeline, and everything else
/// is as much later: sound and picture stay together, and every sample is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    shift: i64,
}

impl Timeline {
    pub fn of(presentation: &Presentation<'_>) -> Timeline {
        let early = presentation.tracks.iter().filter_map(|view| {
            let first = view.fragments.first()?.decode_time();
            Some(presented(view, first).saturating_neg())
        });
        Timeline { shift: early.max().unwrap_or(0).max(0) }
    }

    /// Of a decode time, or one with the composition offset that the stored file has: there are no negative ones, which older
    /// clients do not know.
    pub fn time(self, view: &TrackView<'_>, time: Ticks) -> u64 {
        u64::try_from(presented(view, time).saturating_add(self.shift)).unwrap_or(0)
    }

    /// In 100 ns.
    pub fn shift(self) -> u64 {
        self.shift as u64
    }
}

fn presented(view: &TrackView<'_>, time: Ticks) -> i64 {
    let ticks = Ticks(time.0.saturating_add(view.track.presentation_offset.0).saturating_sub(view.reorder.0));
    rescale(ticks, view.track.timescale)
}

/// To the nearest, in 64 bits where they do.
fn rescale(ticks: Ticks, from: Timescale) -> i64 {
    let (scale, half) = (i64::from(from.per_second()), i64::from(from.per_second()) / 2);
    match ticks.0.checked_mul(i64::from(TIMESCALE.per_second())).and_then(|scaled| scaled.checked_add(half)) {
        Some(scaled) => scaled.div_euclid(scale),
        None => rescale_nearest(ticks, from, TIMESCALE).map_or(i64::MAX, |ticks| ticks.0),
    }
}
