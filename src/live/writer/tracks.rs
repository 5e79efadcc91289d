//! The tracks of a channel: where they begin, on which grid, and where they end.

use std::sync::Arc;
use std::time::Duration;

use super::ChannelWriter;
use crate::base::Ticks;
use crate::live::grid::{self, Key};
use crate::live::session::Session;
use crate::live::track::{Taken, TrackWriter};
use crate::media::feed::Sample;
use crate::media::{Kind, broadcast};

impl ChannelWriter {
    pub(super) fn take(&mut self, name: &Arc<str>, sample: Sample, now: Duration) {
        let hold = self.options.segment * 2;
        let Some(track) = self.tracks.get_mut(name) else { return };
        let (had_learnt, off) = (track.learnt.is_some(), track.off());
        let mut cuts = Vec::new();
        // A format that is new to a track with segments is learnt first, and what it held goes where the new format begins.
        let is_new = !had_learnt && track.segmenter.is_some();
        let segmenter = if is_new { track.segmenter.take() } else { None };
        let taken = track.take(sample, hold, &mut cuts);
        let learnt_now = !had_learnt && track.learnt.is_some();
        self.is_state_new |= self.grid.is_some() && track.off() != off;
        if let Some(mut segmenter) = segmenter {
            if learnt_now {
                segmenter.finish(&mut cuts);
                self.file_cuts_of(name, cuts);
                self.renew(name, segmenter.unbegun(), segmenter.ended());
                cuts = Vec::new();
            } else if let Some(track) = self.tracks.get_mut(name) {
                track.segmenter = Some(segmenter);
            }
        } else if learnt_now && self.grid.is_some() {
            self.begin(name, now);
        }
        match taken {
            Ok(Taken::Fine) => {}
            Ok(Taken::Gap) => self.counts.gaps += 1,
            Ok(Taken::Dropped) => self.counts.dropped += 1,
            Err(_) => self.counts.undescribed += 1,
        }
        self.file_cuts_of(name, cuts);
    }

    /// A track goes on in another format, from a segment on that no track has begun.
    fn renew(&mut self, name: &Arc<str>, next: u64, ended: Ticks) {
        let Some(grid) = self.grid else { return };
        let from = next.max(self.unbegun().unwrap_or(0));
        let same = self.tracks.get(name).is_some_and(|track| {
            let of_shelf = track.shelf.files.last().map(|file| file.init.clone());
            track.learnt.as_ref().is_some_and(|learnt| Some(&learnt.init.name) == of_shelf.as_ref())
        });
        let from = if same { next } else { self.break_up_at(from) };
        let mut cuts = Vec::new();
        if let Some(track) = self.tracks.get_mut(name) {
            track.begin(grid, from, ended, &mut cuts);
        }
        self.file_cuts_of(name, cuts);
        self.is_state_new = true;
    }

    /// A track that appears after the grid was decided.
    fn begin(&mut self, name: &Arc<str>, now: Duration) {
        let (Some(grid), origin) = (self.grid, self.origin) else { return };
        let next = origin.max(self.first).max(self.next);
        let mut cuts = Vec::new();
        if let Some(track) = self.tracks.get_mut(name) {
            track.begin(grid, next, Ticks::default(), &mut cuts);
            track.heard = now;
        }
        self.file_cuts_of(name, cuts);
        self.is_state_new = true;
    }

    /// Begins a track with the samples there are.
    pub(super) fn make_do(&mut self, name: &Arc<str>, now: Duration) {
        let Some(track) = self.tracks.get_mut(name).filter(|track| track.segmenter.is_none() && track.could_learn())
        else {
            return;
        };
        track.learn(&mut Vec::new());
        self.begin(name, now);
    }

    /// Decides the grid once enough is known, or in any case if `forced`.
    pub(super) fn decide(&mut self, forced: bool, now: Duration) {
        if forced {
            for track in self.tracks.values_mut() {
                if track.could_learn() {
                    track.learn(&mut Vec::new());
                }
            }
        }
        let is_video = |track: &&TrackWriter| track.format.kind == Kind::Video;
        let (segment, part) = (self.options.segment, self.options.part);
        // Tracks that have a format but no samples yet may still come, until waiting is over.
        let unheard = self.tracks.values().filter(is_video).any(|track| track.learnt.is_none());
        if !forced && unheard {
            return;
        }
        self.tracks.values_mut().for_each(TrackWriter::even_out);
        let of = |track: &TrackWriter| Some((track.learnt.as_ref()?.pace.timescale, track.queue.first()?.time));
        let video = self.tracks.values().filter(is_video).find(|track| of(track).is_some());
        let reference = video.or_else(|| self.tracks.values().find(|track| of(track).is_some()));
        let Some(track) = reference else { return };
        let Some((timescale, first)) = of(track) else { return };
        let (grid, origin) = match track.format.kind {
            Kind::Video => {
                let keys: Vec<Key> = track.queue.iter().filter_map(Key::of).collect();
                let frame = track.learnt.as_ref().and_then(|learnt| learnt.pace.frame);
                let grid = grid::of_video(timescale, frame, &keys, segment, part);
                let start = track.queue.iter().find_map(|timed| Some((timed.time, timed.start?)));
                let begin = start.map_or(first, |(time, start)| {
                    Ticks(time.0.saturating_add(grid::leeway(timescale, frame, start, None)))
                });
                (grid, grid.number(begin, timescale))
            }
            _ => {
                let span = track.queue.last().map_or(0, |last| last.time.0 - first.0);
                if !forced && timescale.duration(Ticks(span)) < segment * 2 {
                    return;
                }
                let grid = grid::of_audio(timescale, segment, part);
                // The slot that its first sample lies in is seldom whole.
                (grid, grid.number(first, timescale) + 1)
            }
        };
        self.grid = Some(grid);
        (self.origin, self.first) = (origin, origin);
        self.waiting_since = None;
        self.save_first();
        let names: Vec<_> = self.tracks.keys().cloned().collect();
        for name in names {
            self.begin(&name, now);
        }
    }

    pub(super) fn close(&mut self, name: &Arc<str>) {
        let mut cuts = Vec::new();
        if let Some(segmenter) = self.tracks.get_mut(name).and_then(|track| track.segmenter.as_mut()) {
            segmenter.finish(&mut cuts);
            segmenter.need_key();
        }
        self.file_cuts_of(name, cuts);
    }

    /// Completes segments of tracks that have fallen silent: the others are far ahead of them, or nothing came for long.
    pub(super) fn close_silent(&mut self, now: Duration) {
        let Some(grid) = self.grid else { return };
        let patience = grid.silence();
        let is_silent = |track: &&TrackWriter| {
            let ahead = self.sessions.get(&track.owner).map(Session::ahead).unwrap_or_default();
            now.saturating_sub(track.heard) > patience + ahead
        };
        // Text is silent whenever nobody speaks.
        let others = || self.tracks.values().filter(|track| track.format.kind != Kind::Text);
        let are_all = others().next().is_some() && others().all(|track| is_silent(&track));
        let is_open = |track: &&TrackWriter| track.segmenter.as_ref().is_some_and(|segmenter| segmenter.is_open());
        let open: Vec<_> = others().filter(is_silent).filter(is_open).map(|track| track.id.clone()).collect();
        for name in open {
            self.close(&name);
        }
        if self.is_silent != are_all {
            self.is_silent = are_all;
            self.show();
        }
    }

    /// Where a track of text says nothing, nothing is shown: it keeps up with the others, as long as somebody may send it.
    pub(super) fn keep_text_up(&mut self, now: Duration) {
        // What has ended has no more segments, of text neither.
        if self.is_ending || self.state == broadcast::State::Ended {
            return;
        }
        let others = || self.views.values().filter(|view| view.track.kind() != Kind::Text);
        let ends = others().filter_map(|view| view.tail.last()).map(|last| last.number + u64::from(last.is_complete));
        let Some(furthest) = ends.max() else { return };
        let window = self.options.window;
        let may_come =
            |track: &TrackWriter| self.sessions.contains_key(&track.owner) || now.saturating_sub(track.heard) < window;
        let texts = self.tracks.values().filter(|track| track.format.kind == Kind::Text && may_come(track));
        let names: Vec<_> = texts.map(|track| track.id.clone()).collect();
        if names.is_empty() {
            return;
        }
        let begun: Vec<u64> = others().flat_map(|view| &view.tail).map(|segment| segment.number).collect();
        for name in names {
            let mut cuts = Vec::new();
            if let Some(segmenter) = self.tracks.get_mut(&name).and_then(|track| track.segmenter.as_mut()) {
                segmenter.keep_up(furthest.saturating_sub(TEXT_BEHIND_SLOTS), begun.iter().copied(), &mut cuts);
            }
            self.file_cuts_of(&name, cuts);
        }
    }
}

/// Text that has not come when the others are so many slots further on is taken to be none.
const TEXT_BEHIND_SLOTS: u64 = 1;
