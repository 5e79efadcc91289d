//! What a channel writes and deletes, one thing after the other, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use super::ChannelWriter;
use crate::live::op::{Failure, FileName, Lane, Op, Outcome};
use crate::live::segmenter::{Cut, Made};
use crate::live::shelf::Init;
use crate::media::broadcast::{LEAD_SEGMENTS, SegmentRow};

pub(super) enum Job {
    Part { track: Arc<str>, made: Made, init: Arc<Init> },
    End { track: Arc<str>, number: u64 },
    Row { file: FileName, row: SegmentRow },
}

/// The media operation that is under way; it is of the first job.
pub(super) enum Flight {
    Create(FileName),
    Append,
    Row,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeldUp {
    No,
    /// What was decided has to be on disk before what rests on it is published.
    ByState,
    /// Room is being made.
    BySpace,
    /// After a failure, until the next tick.
    ByFailure,
}

impl ChannelWriter {
    /// The next thing to do on disk that may be begun now.
    pub fn poll(&mut self) -> Option<Op> {
        if self.upkeep_flight.is_none() {
            if self.is_state_new {
                self.is_state_new = false;
                self.upkeep.push_front(Op::SaveState { json: self.saved().write().into() });
            }
            if let Some(op) = self.upkeep.pop_front() {
                self.upkeep_flight = Some(op.clone());
                return Some(op);
            }
        }
        if self.media_flight.is_some() || self.held_up != HeldUp::No {
            return None;
        }
        self.work();
        let (op, flight) = match self.jobs.front()? {
            Job::Row { file, row } => (Op::Row { file: file.clone(), row: *row }, Flight::Row),
            Job::Part { track, made, init } => {
                let files_each = self.files_each();
                let track = self.tracks.get(track)?;
                match track.shelf.place(made, init, files_each) {
                    Some((file, offset)) => (Op::Append { file, offset, bytes: made.bytes.clone() }, Flight::Append),
                    None => {
                        let file = FileName { track: track.id.clone(), first: made.number, kind: track.format.kind };
                        let op = Op::Create { file: file.clone(), init: init.bytes.clone() };
                        (op, Flight::Create(file))
                    }
                }
            }
            Job::End { .. } => return None,
        };
        self.media_flight = Some(flight);
        Some(op)
    }

    /// How the operation of this lane went. What it made visible is published before this returns.
    pub fn completed(&mut self, lane: Lane, outcome: Result<Outcome, Failure>) {
        match lane {
            Lane::Media => self.media_completed(outcome),
            Lane::Upkeep => self.upkeep_completed(outcome),
        }
        self.work();
    }

    /// Bytes that wait to be written. A driver stops reading from its publishers while this is high.
    pub fn pending_bytes(&self) -> usize {
        self.job_bytes + self.tracks.values().map(|track| track.waiting_bytes).sum::<usize>()
    }

    pub(super) fn file_cuts_of(&mut self, name: &Arc<str>, cuts: Vec<Cut>) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        self.is_state_new |= track.measure(&cuts);
        let Some(shown) = &track.shown else { return };
        let init = shown.init.clone();
        for cut in cuts {
            self.jobs.push_back(match cut {
                Cut::Part(made) => {
                    self.job_bytes += made.size as usize;
                    self.counts.parts_made += 1;
                    Job::Part { track: name.clone(), made, init: init.clone() }
                }
                Cut::End(number) => Job::End { track: name.clone(), number },
            });
        }
    }

    /// Does the jobs that need no disk.
    pub(super) fn work(&mut self) {
        while self.media_flight.is_none() && self.held_up == HeldUp::No {
            let (name, is_lost) = match self.jobs.front() {
                Some(Job::End { track, .. }) => (track.clone(), false),
                Some(Job::Part { track, made, .. }) => {
                    let is_lost = self.tracks.get(track).is_none_or(|track| track.shelf.is_lost(made));
                    if !is_lost && made.size > 0 {
                        return;
                    }
                    (track.clone(), is_lost)
                }
                // Its file has left the window meanwhile.
                Some(Job::Row { file, row }) => {
                    if self.tracks.get(&file.track).is_some_and(|track| track.shelf.wants(file, row)) {
                        return;
                    }
                    (file.track.clone(), true)
                }
                None if self.is_ending => return self.finish(),
                None => return,
            };
            match self.jobs.pop_front() {
                Some(Job::Part { made, .. }) => {
                    self.job_bytes -= made.size as usize;
                    self.counts.parts_done += 1;
                    if !is_lost {
                        self.written(&name, &made);
                    }
                }
                Some(Job::End { number, .. }) => self.ended(&name, number),
                _ => {}
            }
        }
    }

    fn written(&mut self, name: &Arc<str>, made: &Made) {
        let discontinuities = self.discontinuities_at(made.number);
        if let Some(track) = self.tracks.get_mut(name) {
            track.shelf.written(made, discontinuities);
        }
        self.show_track(name);
    }

    pub(super) fn ended(&mut self, name: &Arc<str>, number: u64) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        let Some((file, row)) = track.shelf.end(number) else { return };
        // Rows ascend.
        let late = self.late_rows.extract_if(.., |(other, _)| other.track == file.track);
        let rows: Vec<_> = late.chain([(file.clone(), row)]).collect();
        // Viewers are told once it is on disk: a segment that was complete does not become one that is being made.
        for (at, (file, row)) in rows.into_iter().enumerate() {
            self.jobs.insert(at, Job::Row { file, row });
        }
    }

    fn media_completed(&mut self, outcome: Result<Outcome, Failure>) {
        let Some(flight) = self.media_flight.take() else { return };
        match (flight, outcome) {
            (_, Err(failure)) => return self.failed(failure),
            (Flight::Create(name), Ok(Outcome::Opened(opened))) => {
                if let Some(Job::Part { track, init, .. }) = self.jobs.front()
                    && let Some(track) = self.tracks.get_mut(track)
                {
                    track.shelf.created(name, opened, init);
                    if let Some(previous) = track.shelf.previous().cloned()
                        && !self.lacks_rows(&previous)
                    {
                        self.upkeep.push_back(Op::Close { file: previous });
                    }
                }
            }
            (Flight::Create(_), Ok(Outcome::Done)) => {}
            (Flight::Append, Ok(_)) => {
                if let Some(Job::Part { track, made, .. }) = self.jobs.pop_front() {
                    self.job_bytes -= made.size as usize;
                    self.counts.parts_done += 1;
                    self.written(&track, &made);
                }
            }
            (Flight::Row, Ok(_)) => {
                if let Some(Job::Row { file, .. }) = self.jobs.pop_front() {
                    self.show_track(&file.track);
                    self.close_completed(file);
                }
                self.expire();
            }
        }
        self.attempts = 0;
        self.is_unsynced = true;
    }

    /// Closes a file that had not all of its rows when the next one was begun, or when a restart found it.
    fn close_completed(&mut self, file: FileName) {
        let is_newest = self.tracks.get(&file.track).is_some_and(|track| track.shelf.newest() == Some(&file));
        if !is_newest && !self.lacks_rows(&file) {
            self.upkeep.push_back(Op::Close { file });
        }
    }

    fn lacks_rows(&self, file: &FileName) -> bool {
        self.jobs.iter().any(|job| matches!(job, Job::Row { file: other, .. } if other == file))
            || self.late_rows.iter().any(|(other, _)| other == file)
    }

    fn failed(&mut self, failure: Failure) {
        self.attempts += 1;
        if failure == Failure::Full && self.make_room() {
            self.held_up = HeldUp::BySpace;
            return;
        }
        if self.attempts < ATTEMPTS_MAX {
            self.held_up = HeldUp::ByFailure;
            return;
        }
        // The live edge lives on: what cannot be written is left out.
        self.attempts = 0;
        match self.jobs.pop_front() {
            Some(Job::Part { track, made, .. }) => {
                self.counts.lost += 1;
                self.job_bytes -= made.size as usize;
                self.counts.parts_done += 1;
                if let Some(track) = self.tracks.get_mut(&track) {
                    track.shelf.lose(made.number);
                }
            }
            // The live edge does not wait for it: it is tried again when there is nothing else to do, and before the track's
            // next one. Nor do those behind it go before it.
            Some(Job::Row { file, row }) => {
                self.late_rows.push((file.clone(), row));
                let late_rows = &mut self.late_rows;
                self.jobs.retain(|job| match job {
                    Job::Row { file: other, row } if *other == file => {
                        late_rows.push((other.clone(), *row));
                        false
                    }
                    _ => true,
                });
            }
            Some(Job::End { .. }) | None => {}
        }
    }

    fn upkeep_completed(&mut self, outcome: Result<Outcome, Failure>) {
        let Some(op) = self.upkeep_flight.take() else { return };
        match &op {
            Op::SaveState { .. } => self.is_state_unsaved |= outcome.is_err(),
            Op::Delete { file } if outcome.is_err() => self.undeleted.push(file.clone()),
            _ => {}
        }
        match (op, self.held_up) {
            // Without it the channel would have to stand still: what is lost is lost only if there is a crash as well.
            (Op::SaveState { .. }, HeldUp::ByState) if !self.is_state_new => self.held_up = HeldUp::No,
            (Op::Delete { .. }, HeldUp::BySpace) if !self.upkeep.iter().any(|op| matches!(op, Op::Delete { .. })) => {
                self.held_up = HeldUp::No;
            }
            (Op::Sync, _) if outcome.is_err() => self.is_unsynced = true,
            _ => {}
        }
    }

    /// Segments in one file: files last a twenty-fourth of the window, between a minute and an hour.
    fn files_each(&self) -> u64 {
        let slot = self.grid.map_or(self.options.segment, |grid| grid.slot_duration());
        let long = (self.options.window / 24).clamp(FILE_MIN, FILE_MAX);
        (long.as_nanos() / slot.as_nanos().max(1)).max(1) as u64
    }

    /// Deletes files of which nothing is available any more: a segment that has left the window stays for its own duration
    /// and that of the longest playlist it was in (RFC 8216bis §6.2.2), but nobody takes longer than [`AVAILABLE_MAX`] from
    /// a playlist to its first segment. What gaps at the start of the window go on from stays, too.
    pub(super) fn expire(&mut self) {
        let Some(grid) = self.grid else { return };
        let slot = grid.slot_duration().max(Duration::from_nanos(1));
        let available = self.options.window.min(AVAILABLE_MAX).max(Duration::from_secs(3 * u64::from(grid.target)));
        let available = available.as_nanos().div_ceil(slot.as_nanos()) as u64 + 1;
        let from = self.first.saturating_sub(available.max(LEAD_SEGMENTS));
        let mut changed = Vec::new();
        for track in self.tracks.values_mut() {
            while let Some(file) = track.shelf.expire(from) {
                self.upkeep.push_back(Op::Delete { file });
                changed.push(track.id.clone());
            }
        }
        for name in changed {
            self.show_track(&name);
        }
    }

    /// Gives up the oldest file of the window; false if only those are left that are being written.
    fn make_room(&mut self) -> bool {
        let oldest = self.tracks.values().filter_map(|track| Some((track.shelf.oldest()?, track.id.clone())));
        let mut oldest: Vec<_> = oldest.collect();
        oldest.sort();
        for (_, name) in oldest {
            let Some(track) = self.tracks.get_mut(&name) else { continue };
            if let Some(file) = track.shelf.expire(u64::MAX) {
                self.upkeep.push_back(Op::Delete { file });
                // What was listed does not become a gap: the window of all tracks is shorter.
                self.first = self.first.max(track.shelf.oldest().unwrap_or(0));
                self.show_track(&name);
                // The window does not come back after a restart, whether or not the file was deleted by then.
                self.origin = self.origin.max(self.first);
                self.is_state_new = true;
                return true;
            }
        }
        false
    }
}

const ATTEMPTS_MAX: u32 = 3;
const AVAILABLE_MAX: Duration = Duration::from_secs(10 * 60);
const FILE_MIN: Duration = Duration::from_secs(60);
const FILE_MAX: Duration = Duration::from_secs(60 * 60);
