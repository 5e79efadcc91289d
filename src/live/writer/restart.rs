//! What is kept of a channel for the time after a restart, and how it goes on with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::ChannelWriter;
use super::disk::Job;
use super::view::{is_far_ahead, slots};
use crate::base::Ticks;
use crate::live::marks::Marks;
use crate::live::op::{FoundFile, Recovered};
use crate::live::segmenter::part_target;
use crate::live::shelf::Shelf;
use crate::live::state::{SavedGrid, SavedMark, State, VERSION};
use crate::live::timeline::Anchor;
use crate::live::track::TrackWriter;
use crate::media::Kind;
use crate::media::broadcast;

impl ChannelWriter {
    pub(super) fn saved(&self) -> State {
        State {
            version: VERSION,
            grid: self.grid.as_ref().map(SavedGrid::of),
            anchor: self.anchor.map(|anchor| anchor.0),
            is_coarse: self.is_coarse,
            origin: self.origin,
            window: Some(self.options.window),
            discontinuities: self.discontinuities.clone(),
            tracks: self.tracks.values().filter_map(TrackWriter::save).collect(),
            marks: self.marks.shared().iter().map(SavedMark::of).collect(),
            is_ended: self.state == broadcast::State::Ended,
        }
    }

    pub(super) fn recover(&mut self, recovered: Recovered, now: Duration) {
        let Some(state) = recovered.state.as_deref().and_then(State::read) else { return };
        let Some(grid) = state.grid.and_then(|grid| grid.grid(self.options.part)) else { return };
        self.grid = Some(grid);
        self.is_coarse = state.is_coarse;
        self.anchor = state.anchor.map(Anchor);
        (self.origin, self.first) = (state.origin, state.origin);
        self.discontinuities = state.discontinuities;
        self.marks = Marks::restore(state.marks.iter().filter_map(SavedMark::mark).collect());
        let mut files: BTreeMap<Arc<str>, Vec<FoundFile>> = BTreeMap::new();
        for file in recovered.files {
            files.entry(file.name.track.clone()).or_default().push(file);
        }
        for saved in &state.tracks {
            let Some(mut track) = TrackWriter::restore(saved, now) else { continue };
            if let (Some(found), Some(learnt)) = (files.remove(&track.id), &track.learnt) {
                let timescale = learnt.pace.timescale;
                let slot_of = |time: Ticks| grid.number(time, timescale);
                let discontinuities = |number| self.discontinuities_at(number);
                let (shelf, rows) = Shelf::recover(found, slot_of, discontinuities, part_target(&grid, &learnt.pace));
                track.shelf = shelf;
                self.jobs.extend(rows.into_iter().map(|(file, row)| Job::Row { file, row }));
            }
            track.shelf.lead = saved.lead().into();
            track.resume(grid, self.origin);
            self.tracks.insert(track.id.clone(), track);
        }
        // What a full disk has taken is no gap.
        let oldest = self.tracks.values().filter_map(|track| track.shelf.oldest()).min();
        self.first = self.first.max(oldest.unwrap_or(0));
        let others = || self.tracks.values().filter(|track| track.format.kind != Kind::Text);
        let furthest = others().filter_map(|track| track.shelf.tail.last()).map(|segment| segment.number).max();
        // Those that had fallen silent held nobody up.
        let nexts = others().filter_map(|track| {
            let last = track.shelf.tail.last()?;
            let is_heard = others().all(|other| !is_far_ahead(&other.shelf.tail, last.number));
            is_heard.then(|| last.number + u64::from(last.is_complete))
        });
        self.next = nexts.min().unwrap_or(0);
        // What a track had not begun when another was further on may have been listed as a gap, and stays one.
        let others = self.tracks.values_mut().filter(|track| track.format.kind != Kind::Text);
        for segmenter in others.filter_map(|track| track.segmenter.as_mut()) {
            segmenter.not_before(furthest.unwrap_or(0));
        }
        if let Some(window) = state.window {
            self.first = self.first.max(self.next.saturating_sub(slots(&grid, window)));
            self.keep_left(window);
        }
        let names: Vec<_> = self.tracks.keys().cloned().collect();
        if !state.is_ended {
            return self.show_tracks(&names);
        }
        // Viewers know of it. What a loss of power has left open ends here, too: as that will be found again, it is shown before
        // its rows are on disk; but not before parts are.
        self.state = broadcast::State::Ended;
        names.iter().for_each(|name| self.close(name));
        if self.jobs.iter().any(|job| matches!(job, Job::Part { .. })) {
            self.is_ending = true;
            self.show_tracks(&names);
            return self.work();
        }
        while let Some(at) = self.jobs.iter().position(|job| matches!(job, Job::End { .. })) {
            if let Some(Job::End { track, number }) = self.jobs.remove(at) {
                self.ended(&track, number);
            }
        }
        self.finish();
    }
}
