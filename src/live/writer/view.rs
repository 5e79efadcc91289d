//! What viewers see of a channel.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::ChannelWriter;
use super::disk::Job;
use crate::live::snapshot::{Snapshot, TrackSnapshot, order};
use crate::media::Kind;
use crate::media::broadcast::{self, Grid, Position, TailSegment};

impl ChannelWriter {
    /// It has ended when that is on disk.
    fn shown_state(&self) -> broadcast::State {
        match self.is_ending {
            true => broadcast::State::Ongoing,
            false => self.state,
        }
    }

    pub(super) fn show_track(&mut self, name: &Arc<str>) {
        self.show_tracks(std::slice::from_ref(name));
    }

    /// All of them at once: what is complete in every track is not known from some.
    pub(super) fn show_tracks(&mut self, names: &[Arc<str>]) {
        let Some(grid) = self.grid else { return };
        let is_over = self.shown_state() == broadcast::State::Ended;
        for name in names {
            let Some(track) = self.tracks.get_mut(name) else { continue };
            track.shelf.settle(is_over);
            match track.snapshot(&grid, is_over) {
                Some(view) => drop(self.views.insert(name.clone(), view)),
                None => drop(self.views.remove(name)),
            }
        }
        self.show();
    }

    pub(super) fn show(&mut self) {
        let Some(grid) = self.grid else { return };
        // Text tells nothing of the others: of what is said for long, and where nothing is, much is written at once.
        let others = || self.views.values().filter(|view| view.track.kind() != Kind::Text);
        let end = |view: &Arc<TrackSnapshot>| view.tail.last().map(|last| last.number);
        let furthest = others().filter_map(end).max().or_else(|| self.views.values().filter_map(end).max());
        let Some(furthest) = furthest else { return };
        // The first number that is not complete in every track, of those that have not fallen silent. One that comes back
        // after a hole has begun a segment before a part of it can be shown, and that is no gap. Nor is the slot before the
        // one that is being made yet: the key frame that ends the hole may lie late in it, and come after the others' sound.
        let nexts = self.views.iter().filter(|(_, view)| view.track.kind() != Kind::Text).filter_map(|(name, view)| {
            let last = view.tail.last()?;
            // Where all have broken off, those that come back first wait for the others: a gap with nothing behind it is the
            // end of the track to Shaka Player.
            let is_heard = others().all(|other| !is_far_ahead(&other.tail, last.number));
            Some(match is_heard {
                true => last.number + u64::from(last.is_complete),
                false => self.begun(name).unwrap_or(furthest.saturating_sub(1)),
            })
        });
        // One that has begun a segment of which nothing is shown yet holds the others up, too.
        let unseen = self.tracks.values().filter(|track| track.format.kind != Kind::Text);
        let unseen =
            unseen.filter(|track| !self.views.contains_key(&track.id)).filter_map(|track| self.begun(&track.id));
        self.next = self.next.max(nexts.chain(unseen).min().unwrap_or(furthest));
        let next = self.next;
        let window = slots(&grid, self.options.window);
        let left = next.saturating_sub(window);
        self.first = self.first.max(left).max(self.origin);
        let from = grid.timescale.duration(grid.start(self.first, grid.timescale));
        self.marks.forget_before(from);
        let first = self.first;
        self.views.retain(|_, view| view.tail.last().is_some_and(|last| last.number >= first));
        let mut tracks: Vec<_> = self.views.values().cloned().collect();
        tracks.sort_by_cached_key(|view| order(&view.track));
        let snapshot = Snapshot {
            cue_tags: self.options.cue_tags,
            captions: self.options.captions.clone(),
            grid: Some(Grid { part: grid.part.filter(|_| !self.is_coarse), ..grid }),
            tracks,
            first: self.first,
            next,
            window,
            state: self.shown_state(),
            is_silent: self.is_silent,
            marks: self.marks.shared(),
            discontinuities: self.discontinuities.clone(),
            fingerprint: OnceLock::new(),
        };
        let reached = snapshot.reached();
        self.channel.publish(snapshot);
        // What one track publishes may tell of another that it has a gap.
        for (watch, position) in reached {
            watch.advance(position.mark());
        }
        // What silent tracks have left out is a gap by now, and stays one.
        let passed = Position { number: next, parts: 0 };
        for track in self.tracks.values_mut().filter(|track| track.format.kind != Kind::Text) {
            if track.shelf.position() < passed
                && let Some(segmenter) = &mut track.segmenter
            {
                segmenter.not_before(next);
            }
        }
    }

    /// The first segment that a track has begun and that is not shown yet.
    fn begun(&self, name: &Arc<str>) -> Option<u64> {
        let waiting = self.jobs.iter().find_map(|job| match job {
            Job::Part { track, made, .. } if track == name => Some(made.number),
            Job::End { track, number } if track == name => Some(*number),
            _ => None,
        });
        waiting.or_else(|| self.tracks.get(name)?.segmenter.as_ref()?.open_number())
    }
}

/// How many slots a window has.
pub(super) fn slots(grid: &Grid, window: Duration) -> u64 {
    window.as_nanos().div_ceil(grid.slot_duration().as_nanos().max(1)) as u64
}

/// Whether a track that has come to this number has fallen silent beside another.
pub(super) fn is_far_ahead(other: &[TailSegment], number: u64) -> bool {
    other.iter().rev().take_while(|segment| segment.number > number).count() >= SILENT_SLOTS
}

/// A track that another one is so many segments ahead of holds nobody up.
const SILENT_SLOTS: usize = 3;
