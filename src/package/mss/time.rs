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
        Timeline { shift: i64::try_from(lead_in(presentation)).unwrap_or(i64::MAX) }
    }

    /// Of a decode time, or one with the composition offset that the stored file has: there are no negative ones, which older
    /// clients do not know.
    pub fn time(self, view: &TrackView<'_>, time: Ticks) -> u64 {
        u64::try_from(presented(view, time).saturating_add(self.shift)).unwrap_or(0)
    }
}

/// How much there is before a presentation, or a stretch of one, begins: in 100 ns, 0 if everything begins later.
pub fn lead_in(presentation: &Presentation<'_>) -> u64 {
    let early = presentation.tracks.iter().filter_map(|view| {
        let first = view.fragments.first()?.decode_time();
        u64::try_from(at(view, first, view.presentation_offset()).saturating_neg()).ok()
    });
    early.max().unwrap_or(0)
}

/// On the timeline of the whole, of which the view may be a stretch.
fn presented(view: &TrackView<'_>, time: Ticks) -> i64 {
    at(view, time, view.track.presentation_offset)
}

fn at(view: &TrackView<'_>, time: Ticks, offset: Ticks) -> i64 {
    let ticks = Ticks(time.0.saturating_add(offset.0).saturating_sub(view.reorder.0));
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
