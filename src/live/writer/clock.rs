//! The clock that a channel goes by, and the discontinuities where it was set anew or a track's format changed.

use std::sync::Arc;
use std::time::Duration;

use super::ChannelWriter;
use crate::base::limits::LIVE_SILENCE;
use crate::base::{Ticks, Timescale};
use crate::live::timeline::{Anchor, Known, Nanos, to_nanos};
use crate::live::track::TrackWriter;
use crate::media::Kind;
use crate::media::broadcast::Grid;

impl ChannelWriter {
    /// The publisher's clock begins at `time`. `before` is the anchor that the track went by until now.
    pub(super) fn set_clock(&mut self, name: &Arc<str>, time: Nanos, before: Option<Anchor>, now: Duration) {
        let Some(track) = self.tracks.get(name) else { return };
        let configured = self.options.anchor.map(Anchor::of);
        let channel_end = self.tracks.values().filter_map(TrackWriter::end).max();
        let was = self.anchor;
        let goes_on = |other: &&TrackWriter| now.saturating_sub(other.heard) <= LIVE_SILENCE;
        let others = self.tracks.values().filter(|other| other.id != track.id && other.anchor().is_some());
        let is_in_use = was
            .is_some_and(|was| before == Some(was) || others.filter(goes_on).any(|other| other.anchor() == Some(was)));
        // Publishers of one encoder may be several; that of this track, and those whose clocks show the same, have its clock. Where
        // they go by it is not always where the channel does: a first sample whose time was wrong has set that, and nothing else.
        let beside = self.tracks.values().filter(|other| other.id != track.id).filter(goes_on).filter(|other| {
            let is_one = other.owner == track.owner;
            (is_one || before.is_none()) && (other.is_at(time) || (is_one && before.is_none() && other.anchor() == was))
        });
        let beside = beside.filter_map(TrackWriter::anchor).max_by_key(|anchor| Some(*anchor) == was);
        let known = match (was, beside) {
            (None, _) => Known::None,
            (Some(_), Some(beside)) => Known::Beside(beside),
            (Some(was), None) if is_in_use => Known::InUse(was),
            (Some(was), None) => Known::Old(was),
        };
        let anchor = Anchor::choose(time, now, known, configured, track.end(), channel_end);
        let mut owner = None;
        if let Some(track) = self.tracks.get_mut(name) {
            track.anchor_at(anchor);
            owner = Some(track.owner);
        }
        if was != Some(anchor) {
            self.anchor = Some(anchor);
            self.is_state_new = true;
            if was.is_some() {
                self.counts.jumps += 1;
                self.break_up(anchor.on(time));
            }
        }
        if let Some(before) = before {
            self.text_follows(before, anchor, now);
        }
        let early = owner.and_then(|owner| Some((owner, std::mem::take(&mut self.sessions.get_mut(&owner)?.early))));
        if let Some((owner, early)) = early {
            early.into_iter().for_each(|marker| self.marker(owner, marker, now));
        }
    }

    /// Text goes by the clock of what is sent beside it: where nothing is said for a while, its own times do not show that the
    /// clock was set anew, and by the time that the next is said, what was held back of it lies far behind.
    fn text_follows(&mut self, before: Anchor, anchor: Anchor, now: Duration) {
        let others = self.tracks.values().filter(|other| other.format.kind != Kind::Text);
        let others: Vec<_> = others
            .filter(|other| now.saturating_sub(other.heard) <= LIVE_SILENCE)
            .map(|other| (other.owner, other.anchor()))
            .collect();
        let follows = |text: &&mut TrackWriter| {
            let is_beside = others.iter().any(|(owner, _)| *owner == text.owner);
            let mut beside = others.iter().filter(|(owner, _)| !is_beside || *owner == text.owner);
            text.format.kind == Kind::Text
                && text.anchor() == Some(before)
                && beside.all(|(_, other)| *other == Some(anchor))
        };
        let texts = self.tracks.values_mut().filter(follows);
        let kept: Vec<_> = texts.map(|text| (text.id.clone(), text.follow(anchor))).collect();
        for (name, samples) in kept {
            for sample in samples {
                self.take(&name, sample, now);
            }
        }
    }

    /// The encoder of a track was started anew and begins at `begin`, media time: a discontinuity, if nothing came of any track for
    /// as long as an encoder takes to start. Where another goes on, the encoder of this one has dropped frames.
    pub(super) fn begin_anew(&mut self, begin: Nanos) {
        let Some((grid, unbegun)) = self.grid.zip(self.unbegun()) else { return };
        let chunk = self.options.part.unwrap_or(Duration::from_secs(1));
        let hole =
            self.tracks.values().filter(|track| track.format.kind != Kind::Text).filter_map(TrackWriter::made).max();
        let is_hole = hole.is_some_and(|end| begin - end >= 2 * chunk.as_nanos() as Nanos);
        if is_hole && unbegun <= slot_at(&grid, begin) {
            self.break_up(begin);
        }
    }

    /// The lowest number that no track has made a part for yet.
    pub(super) fn unbegun(&self) -> Option<u64> {
        self.tracks.values().filter_map(|track| track.segmenter.as_ref()).map(|s| s.unbegun()).max()
    }

    /// A discontinuity more, between what was published and what begins at `begin`, media time.
    fn break_up(&mut self, begin: Nanos) {
        let Some((grid, unbegun)) = self.grid.zip(self.unbegun()) else { return };
        match self.discontinuities.last() {
            // Nothing was published since: it is the same one.
            Some(&(last, _)) if last >= unbegun => return,
            last => {
                let count = last.map_or(0, |(_, count)| *count) + 1;
                let others = || self.tracks.values().filter(|track| track.format.kind != Kind::Text);
                let end = others().filter_map(TrackWriter::end).min().unwrap_or(begin);
                let held = others().filter_map(|track| track.segmenter.as_ref()?.open_number()).max();
                self.discontinuities.push((seam(&grid, unbegun, held, end, begin), count));
            }
        }
        // Far below what a window holds, segments say themselves how many there were.
        if self.discontinuities.len() > DISCONTINUITIES_KEPT {
            self.discontinuities.remove(0);
        }
        self.save_first();
    }

    pub(super) fn break_up_at(&mut self, from: u64) -> u64 {
        match self.discontinuities.last() {
            Some(&(last, _)) if last >= from => last,
            last => {
                let count = last.map_or(0, |(_, count)| *count) + 1;
                self.discontinuities.push((from, count));
                self.save_first();
                from
            }
        }
    }

    pub(super) fn discontinuities_at(&self, number: u64) -> u32 {
        let at = self.discontinuities.partition_point(|(from, _)| *from <= number);
        at.checked_sub(1).map_or(0, |at| self.discontinuities[at].1)
    }
}

/// Which segment a discontinuity is told at, of those between what ended at `end` and what begins at `begin`; all below
/// `unbegun` have been begun, and `held` is the last that something came of.
///
/// Never before what came of the old, where the new has a segment of its own: less than a part of it may be all there is.
///
/// Where nothing is missing, as far as that can be had. Times go on over it, and dates tell of the hole; but Shaka Player 5.2
/// takes a second that is missing at a discontinuity out of its own time, of each track by itself and each time that it
/// loads the playlist anew, until sound, pictures and what it asks for lie seconds apart.
fn seam(grid: &Grid, unbegun: u64, held: Option<u64>, end: Nanos, begin: Nanos) -> u64 {
    let start = |number| to_nanos(grid.start(number, grid.timescale), grid.timescale);
    let first = slot_at(grid, begin);
    let unbegun = held.filter(|held| *held < first).map_or(unbegun, |held| unbegun.max(held + 1));
    match first.saturating_sub(unbegun) {
        0 => unbegun,
        // One gap, with a piece of a slot missing on either side.
        1 if start(unbegun) - end <= begin - start(first) => unbegun,
        1 => first,
        // Between two gaps.
        _ => unbegun + 1,
    }
}

fn slot_at(grid: &Grid, time: Nanos) -> u64 {
    grid.number(Ticks(i64::try_from(time / 1_000).unwrap_or(i64::MAX)), Timescale::MICROS)
}

const DISCONTINUITIES_KEPT: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discontinuity_is_told_where_the_least_is_missing() {
        let slot = Ticks(2_000);
        let grid = Grid { timescale: Timescale::MILLIS, slot, phase: Ticks(0), target: 2, part: None };
        for (name, held, end_ms, begin_ms, seam_at) in [
            ("no hole", Some(4), 9_000, 9_000, 5),
            ("in the next slot", None, 9_000, 10_500, 5),
            ("one gap, more missing before it", None, 8_300, 12_500, 6),
            ("one gap, more missing behind it", None, 9_700, 13_500, 5),
            ("between two gaps", None, 8_300, 14_100, 6),
            ("after a minute", Some(4), 9_000, 69_000, 6),
            ("less than a part, and the rest in the same slot", Some(5), 10_300, 11_000, 5),
            ("less than a part, and then another slot", Some(5), 10_300, 12_500, 6),
            ("less than a part, and one gap", Some(5), 10_300, 14_500, 7),
            ("less than a part, and a minute", Some(5), 10_300, 69_000, 7),
        ] {
            let nanos = |millis: i64| Nanos::from(millis) * 1_000_000;
            assert_eq!(seam(&grid, 5, held, nanos(end_ms), nanos(begin_ms)), seam_at, "{name}");
        }
    }
}
