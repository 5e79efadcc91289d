//! One channel being made: publishers' events in, disk operations and snapshots out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::channel::Channel;
use super::grid::{self, Key};
use super::marks::Marks;
use super::op::{Failure, FileName, FoundFile, Lane, Op, Outcome, Recovered};
use super::options::{Options, Redundancy, Refusal, SessionId, SourceName};
use super::pieces::Verdict;
use super::segmenter::{Cut, Made, part_target};
use super::session::{SILENCE, Session};
use super::shelf::{Init, Shelf};
use super::snapshot::{Snapshot, TrackSnapshot, order};
use super::state::{SavedGrid, SavedMark, State, VERSION};
use super::timeline::{Anchor, Known, Nanos};
use super::track::{Taken, TrackWriter};
use crate::base::Ticks;
use crate::base::limits::{LIVE_PENDING_BYTES_MAX, LIVE_SESSIONS_MAX, LIVE_TRACKS_MAX};
use crate::base::watch::ENDED;
use crate::media::Kind;
use crate::media::broadcast::{self, Grid, Position, SegmentRow, TailSegment};
use crate::media::feed::{Event, Format, Marker, Sample, TrackKey};

/// The state machine of one channel. All times are wall-clock time since 1970, and never read here.
///
/// Whoever drives it: call [`ChannelWriter::poll`] until it gives nothing after each of the other calls, do what it says,
/// and report back through [`ChannelWriter::completed`]. Call [`ChannelWriter::tick`] a few times a second.
pub struct ChannelWriter {
    channel: Arc<Channel>,
    options: Options,
    grid: Option<Grid>,
    /// What is published comes in pieces that are too long for parts: viewers see whole segments.
    is_coarse: bool,
    /// Number of the channel's first segment.
    origin: u64,
    anchor: Option<Anchor>,
    /// From which segment on how many discontinuities there are.
    discontinuities: Vec<(u64, u32)>,
    sessions: BTreeMap<SessionId, Session>,
    last_session: u64,
    tracks: BTreeMap<Arc<str>, TrackWriter>,
    /// Of the tracks that viewers see.
    views: BTreeMap<Arc<str>, Arc<TrackSnapshot>>,
    marks: Marks,
    first: u64,
    /// The first number that is not complete, as viewers were told.
    next: u64,
    state: broadcast::State,
    /// The encoder is at its end, and the channel once all is written.
    is_ending: bool,
    /// Since when samples wait for the grid.
    waiting_since: Option<Duration>,
    jobs: VecDeque<Job>,
    /// Rows that could not be written, by track in the order of their numbers. Their segments stay in memory.
    late_rows: Vec<(FileName, SegmentRow)>,
    job_bytes: usize,
    upkeep: VecDeque<Op>,
    media_flight: Option<Flight>,
    upkeep_flight: Option<Op>,
    /// Why nothing is written at the moment.
    held_up: HeldUp,
    /// Attempts at the first job that failed.
    attempts: u32,
    is_state_new: bool,
    /// Whether the state could not be written, and is to be at the next tick.
    is_state_unsaved: bool,
    /// Files that could not be deleted; the next tick tries again.
    undeleted: Vec<FileName>,
    is_unsynced: bool,
    synced: Duration,
    counts: Counts,
}

/// What has happened to a channel since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub samples: u64,
    pub bytes: u64,
    /// Stretches that frames were missing in.
    pub gaps: u64,
    /// Clocks of publishers that were set anew.
    pub jumps: u64,
    /// Samples that were of no use.
    pub dropped: u64,
    /// Tracks whose codec configuration made no sense, counted for each sample.
    pub undescribed: u64,
    /// Parts that were made, and those of them that are done with: published, or lost. In the same order.
    pub parts_made: u64,
    pub parts_done: u64,
    /// Parts that could not be written.
    pub lost: u64,
    /// Times that another publisher stepped in.
    pub failovers: u64,
}

enum Job {
    Part { track: Arc<str>, made: Made, init: Arc<Init> },
    End { track: Arc<str>, number: u64 },
    Row { file: FileName, row: SegmentRow },
}

/// The media operation that is under way; it is of the first job.
enum Flight {
    Create(FileName),
    Append,
    Row,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeldUp {
    No,
    /// What was decided has to be on disk before what rests on it is published.
    ByState,
    /// Room is being made.
    BySpace,
    /// After a failure, until the next tick.
    ByFailure,
}

const ATTEMPTS_MAX: u32 = 3;

impl ChannelWriter {
    /// Goes on with what was found on disk. The channel's snapshot has the recovered window at once.
    pub fn new(options: Options, recovered: Recovered, now: Duration) -> ChannelWriter {
        let channel = Arc::new(Channel::new(&options.name, Snapshot::empty(Vec::new())));
        let mut writer = ChannelWriter {
            channel,
            options,
            grid: None,
            is_coarse: false,
            origin: 0,
            anchor: None,
            discontinuities: Vec::new(),
            sessions: BTreeMap::new(),
            last_session: 0,
            tracks: BTreeMap::new(),
            views: BTreeMap::new(),
            marks: Marks::default(),
            first: 0,
            next: 0,
            state: broadcast::State::Ongoing,
            is_ending: false,
            waiting_since: None,
            jobs: VecDeque::new(),
            late_rows: Vec::new(),
            job_bytes: 0,
            upkeep: VecDeque::new(),
            media_flight: None,
            upkeep_flight: None,
            held_up: HeldUp::No,
            attempts: 0,
            is_state_new: false,
            is_state_unsaved: false,
            undeleted: Vec::new(),
            is_unsynced: false,
            synced: now,
            counts: Counts::default(),
        };
        writer.recover(recovered, now);
        writer
    }

    /// What readers hold; the same for as long as the writer lives.
    pub fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// A publisher wants in.
    ///
    /// # Errors
    /// Another one publishes the same already, or there are too many.
    pub fn publish(&mut self, source: SourceName, now: Duration) -> Result<SessionId, Refusal> {
        if self.sessions.len() >= LIVE_SESSIONS_MAX {
            return Err(Refusal::TooMany {
                channel: self.options.name.clone(),
                found: self.sessions.len() + 1,
                max: LIVE_SESSIONS_MAX,
            });
        }
        let rival = self.sessions.values().find(|session| session.is_active && session.source == source);
        let rival = rival.map(|session| (session.id, session.is_silent(now)));
        let is_active = match rival {
            None => true,
            Some((id, true)) => {
                self.stand_down(id);
                true
            }
            Some((id, false)) => match self.options.redundancy {
                Redundancy::Refuse => return Err(Refusal::Busy { channel: self.options.name.clone() }),
                Redundancy::Standby => false,
                Redundancy::Takeover => {
                    self.sessions.remove(&id);
                    true
                }
            },
        };
        self.last_session += 1;
        let id = SessionId(self.last_session);
        self.sessions.insert(id, Session::new(id, source, is_active, now));
        Ok(id)
    }

    /// What a publisher sends.
    ///
    /// # Errors
    /// It is no longer wanted, and its connection is to be closed.
    pub fn feed(&mut self, id: SessionId, event: Event, now: Duration) -> Result<(), Refusal> {
        let keep = self.keep_time();
        let Some(session) = self.sessions.get_mut(&id) else {
            return Err(Refusal::Displaced { channel: self.options.name.clone() });
        };
        if let Event::Track { track, format } = &event {
            session.track_id(*track, format);
        }
        session.hear(&event, now);
        if !session.is_active {
            if !matches!(event, Event::End) {
                session.kept.push(event, now, keep);
            }
            self.step_in(now);
            return Ok(());
        }
        self.regard_pieces();
        self.event(id, event, now);
        Ok(())
    }

    /// A publisher is gone, whether it said goodbye or not.
    pub fn unpublish(&mut self, id: SessionId, now: Duration) {
        self.sessions.remove(&id);
        self.step_in(now);
        self.regard_pieces();
    }

    /// Time passes: silent tracks are closed, standbys step in, old files go, syncs are due.
    pub fn tick(&mut self, now: Duration) {
        if matches!(self.held_up, HeldUp::ByFailure) {
            self.held_up = HeldUp::No;
        }
        if self.jobs.is_empty() {
            self.jobs.extend(self.late_rows.drain(..).map(|(file, row)| Job::Row { file, row }));
        }
        self.is_state_new |= std::mem::take(&mut self.is_state_unsaved);
        self.upkeep.extend(self.undeleted.drain(..).map(|file| Op::Delete { file }));
        self.step_in(now);
        if self.grid.is_none()
            && self.waiting_since.is_some_and(|since| now.saturating_sub(since) > self.options.segment * 3)
        {
            self.decide(true, now);
        }
        self.close_silent(now);
        self.keep_text_up(now);
        self.expire();
        if self.is_unsynced && now.saturating_sub(self.synced) >= self.options.sync && self.upkeep.len() < 8 {
            self.synced = now;
            self.is_unsynced = false;
            self.upkeep.push_back(Op::Sync);
        }
        self.work();
    }

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

    /// New options from the operator. The grid of a channel that has published stays.
    pub fn configure(&mut self, options: Options) {
        let window = std::mem::replace(&mut self.options, options).window;
        self.keep_left(window);
    }

    /// What has left a shorter window than it is now does not come back, not after a restart either (RFC 8216bis §6.2.2).
    fn keep_left(&mut self, window: Duration) {
        if self.options.window > window {
            self.origin = self.origin.max(self.first);
        }
        if self.options.window != window && self.grid.is_some() {
            self.save_first();
        }
    }

    fn keep_time(&self) -> Duration {
        let slot = self.grid.map_or(self.options.segment, |grid| grid.slot_duration());
        let ahead = self.sessions.values().map(Session::ahead).max().unwrap_or_default();
        SILENCE + ahead + slot * 3
    }

    // Publishers.

    fn stand_down(&mut self, id: SessionId) {
        if self.options.redundancy != Redundancy::Standby {
            self.sessions.remove(&id);
        } else if let Some(session) = self.sessions.get_mut(&id) {
            session.is_active = false;
        }
    }

    /// Lets those who stand by step in where nobody publishes, or who does is silent.
    fn step_in(&mut self, now: Duration) {
        let ready = self.sessions.values().find_map(|standby| {
            if standby.is_active || standby.is_silent(now) {
                return None;
            }
            let active = self.sessions.values().find(|other| other.is_active && other.source == standby.source);
            match active {
                None => Some((standby.id, None)),
                Some(active) if active.is_silent(now) => Some((standby.id, Some(active.id))),
                Some(_) => None,
            }
        });
        let Some((id, silent)) = ready else { return };
        if let Some(silent) = silent {
            self.stand_down(silent);
        }
        self.counts.failovers += 1;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.is_active = true;
        self.regard_pieces();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let tracks: Vec<_> =
            session.tracks.iter().map(|(key, (name, format))| (*key, name.clone(), format.clone())).collect();
        let events: Vec<Event> = session.kept.take().collect();
        for (key, name, format) in tracks {
            // Its clock goes by what came last: what was kept begins long before the end of what is published.
            let newest = events.iter().rev().find_map(|event| match event {
                Event::Sample { track, sample } if *track == key => Some(sample),
                _ => None,
            });
            // Encoders that stand in for each other have one clock.
            let before = self.tracks.get(&name).and_then(TrackWriter::anchor);
            self.enter(id, key, format, now);
            let time = newest.and_then(|newest| Some(self.tracks.get(&name)?.nanos(newest)));
            if let Some(time) = time {
                self.set_clock(&name, time, before, now);
            }
        }
        for event in events {
            self.event(id, event, now);
        }
    }

    /// Whether there are parts is for those to say who publish, and it stays so while nobody does.
    fn regard_pieces(&mut self) {
        let Some(part) = self.options.part else { return };
        let active = self.sessions.values().filter(|session| session.is_active);
        let verdict = active.filter_map(|session| session.brings_parts(part)).reduce(Verdict::beside);
        let is_coarse = match verdict {
            Some(Verdict::Short) => false,
            Some(Verdict::Long) => true,
            // Nothing has been published.
            Some(Verdict::Unsure { long }) if self.grid.is_none() => long,
            Some(Verdict::Unsure { .. }) | None => self.is_coarse,
        };
        if self.is_coarse != is_coarse {
            self.is_coarse = is_coarse;
            self.save_first();
        }
    }

    fn event(&mut self, id: SessionId, event: Event, now: Duration) {
        match event {
            Event::Track { track, format } => self.enter(id, track, format, now),
            Event::Sample { track, sample } => self.sample(id, track, sample, now),
            Event::Chunk { .. } => {}
            Event::Marker(marker) => self.marker(id, marker, now),
            Event::End => self.end(id, now),
        }
        self.work();
    }

    fn enter(&mut self, id: SessionId, key: TrackKey, format: Format, now: Duration) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let name = session.track_id(key, &format);
        let has_room = self.tracks.len() < LIVE_TRACKS_MAX;
        match self.tracks.get_mut(&name) {
            Some(track) if track.owner == id => track.change(format),
            Some(track) => track.enter(id, format),
            None if has_room => {
                self.tracks.insert(name.clone(), TrackWriter::new(name, format, id, now));
            }
            None => self.counts.dropped += 1,
        }
    }

    fn sample(&mut self, id: SessionId, key: TrackKey, sample: Sample, now: Duration) {
        let Some(session) = self.sessions.get(&id) else { return };
        let is_resent = matches!(session.source, SourceName::Track(_));
        let Some((name, format)) = session.tracks.get(&key).cloned() else { return };
        // One that stood by named its tracks before they were its own.
        if self.tracks.get(&name).is_none_or(|track| track.owner != id) {
            self.enter(id, key, format, now);
        }
        let pending = self.pending_bytes();
        let Some(track) = self.tracks.get_mut(&name) else { return };
        self.counts.samples += 1;
        self.counts.bytes += sample.data.len() as u64;
        track.heard = now;
        self.reopen();
        let Some(track) = self.tracks.get_mut(&name) else { return };
        if pending + sample.data.len() > LIVE_PENDING_BYTES_MAX {
            self.counts.dropped += 1;
            if let Some(segmenter) = &mut track.segmenter {
                segmenter.need_key();
            }
            return;
        }
        // Whoever sends segments sends one again that was not answered (DASH-IF Live Media Ingest §5.2), and after a lost
        // connection the last ones.
        if is_resent && track.has_had(&sample) {
            self.counts.dropped += 1;
            return;
        }
        let (samples, is_new_clock) = track.judge(sample);
        if is_new_clock && let Some(first) = samples.first() {
            let (time, before) = (track.nanos(first), track.anchor());
            self.set_clock(&name, time, before, now);
        }
        for sample in samples {
            self.take(&name, sample, now);
        }
        if self.grid.is_none() {
            self.waiting_since.get_or_insert(now);
            self.decide(false, now);
        }
    }

    /// The publisher's clock begins at `time`. `before` is the anchor that the track went by until now.
    fn set_clock(&mut self, name: &Arc<str>, time: Nanos, before: Option<Anchor>, now: Duration) {
        let Some(track) = self.tracks.get(name) else { return };
        let configured = self.options.anchor.map(Anchor::of);
        let channel_end = self.tracks.values().filter_map(TrackWriter::end).max();
        let was = self.anchor;
        let goes_on = |other: &&TrackWriter| now.saturating_sub(other.heard) <= SILENCE;
        let others = self.tracks.values().filter(|other| other.id != track.id && other.anchor().is_some());
        let is_in_use = was
            .is_some_and(|was| before == Some(was) || others.filter(goes_on).any(|other| other.anchor() == Some(was)));
        let known = match was {
            None => Known::None,
            Some(was) if is_in_use => Known::InUse(was),
            Some(was) => Known::Old(was),
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
                self.break_up();
            }
        }
        let early = owner.and_then(|owner| Some((owner, std::mem::take(&mut self.sessions.get_mut(&owner)?.early))));
        if let Some((owner, early)) = early {
            early.into_iter().for_each(|marker| self.marker(owner, marker, now));
        }
    }

    /// From the next segment that no track has begun, a discontinuity more. Returns its number.
    fn break_up(&mut self) -> Option<u64> {
        self.grid?;
        let from = self.tracks.values().filter_map(|track| track.segmenter.as_ref()).map(|s| s.unbegun()).max()?;
        match self.discontinuities.last_mut() {
            // Nothing was published since: it is the same one.
            Some((last, _)) if *last >= from => return Some(*last),
            last => {
                let count = last.map_or(0, |(_, count)| *count) + 1;
                self.discontinuities.push((from, count));
            }
        }
        // Far below what a window holds, segments say themselves how many there were.
        if self.discontinuities.len() > DISCONTINUITIES_KEPT {
            self.discontinuities.remove(0);
        }
        self.save_first();
        Some(from)
    }

    fn save_first(&mut self) {
        self.is_state_new = true;
        if self.held_up == HeldUp::No {
            self.held_up = HeldUp::ByState;
        }
    }

    fn take(&mut self, name: &Arc<str>, sample: Sample, now: Duration) {
        let hold = self.options.segment * 2;
        let Some(track) = self.tracks.get_mut(name) else { return };
        let had_learnt = track.learnt.is_some();
        let mut cuts = Vec::new();
        // A format that is new to a track with segments is learnt first, and what it held goes where the new format begins.
        let is_new = !had_learnt && track.segmenter.is_some();
        let segmenter = if is_new { track.segmenter.take() } else { None };
        let taken = track.take(sample, hold, &mut cuts);
        let learnt_now = !had_learnt && track.learnt.is_some();
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
        let begun = self.tracks.values().filter_map(|track| track.segmenter.as_ref()).map(|s| s.unbegun()).max();
        let from = next.max(begun.unwrap_or(0));
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

    fn break_up_at(&mut self, from: u64) -> u64 {
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
    fn make_do(&mut self, name: &Arc<str>, now: Duration) {
        let Some(track) = self.tracks.get_mut(name).filter(|track| track.segmenter.is_none() && track.could_learn())
        else {
            return;
        };
        track.learn(&mut Vec::new());
        self.begin(name, now);
    }

    /// Decides the grid once enough is known, or in any case if `forced`.
    fn decide(&mut self, forced: bool, now: Duration) {
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
        let of = |track: &TrackWriter| Some((track.learnt.as_ref()?.pace.timescale, track.queue.first()?.time));
        let video = self.tracks.values().filter(is_video).find(|track| of(track).is_some());
        let reference = video.or_else(|| self.tracks.values().find(|track| of(track).is_some()));
        let Some(track) = reference else { return };
        let Some((timescale, first)) = of(track) else { return };
        let (grid, origin) = match track.format.kind {
            Kind::Video => {
                let keys: Vec<Key> = track.queue.iter().filter_map(Key::of).collect();
                let grid = grid::of_video(timescale, &keys, segment, part);
                (grid, grid.number(keys.first().map_or(first, |key| key.decoded), timescale))
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

    fn marker(&mut self, id: SessionId, marker: Marker, now: Duration) {
        // Of the publisher's clock, which may be another than that of the one who publishes beside it.
        let anchor = self.tracks.values().filter(|track| track.owner == id).find_map(TrackWriter::anchor);
        let Some(anchor) = anchor else {
            // It came before the first sample: nobody knows yet when that is.
            if let Some(session) = self.sessions.get_mut(&id)
                && session.early.len() < EARLY_MARKERS_MAX
            {
                session.early.push(marker);
            }
            return;
        };
        let at_once = self.tracks.values().filter_map(TrackWriter::end).max();
        let at_once = at_once.map_or(now, |end| Duration::from_nanos(u64::try_from(end.max(0)).unwrap_or(0)));
        let time = marker.time.map(|(time, timescale)| {
            let micros = crate::base::Timescale::new(1_000_000).unwrap_or(timescale);
            let time = anchor.media_time(time, timescale, micros);
            Duration::from_micros(u64::try_from(time.0).unwrap_or(0))
        });
        if self.marks.add(&marker, time, at_once) {
            self.is_state_new = true;
            self.show();
        }
    }

    fn end(&mut self, id: SessionId, now: Duration) {
        // Nothing more comes to learn from.
        if self.grid.is_none() {
            self.decide(true, now);
        }
        let names: Vec<_> = self.tracks.values().filter(|track| track.owner == id).map(|t| t.id.clone()).collect();
        for name in names {
            self.make_do(&name, now);
            self.close(&name);
        }
        let goes_on = |session: &Session| !session.has_ended && (session.is_active || !session.is_silent(now));
        self.is_ending |= self.options.end && !self.sessions.values().any(goes_on);
    }

    /// Everything is written, and nothing follows. Whoever waits for more asks again.
    fn finish(&mut self) {
        self.is_ending = false;
        self.state = broadcast::State::Ended;
        self.is_state_new = true;
        let names: Vec<_> = self.tracks.keys().cloned().collect();
        self.show_tracks(&names);
        for track in self.tracks.values() {
            track.shelf.watch.advance(ENDED);
        }
    }

    /// An encoder begins again on a channel that was ended.
    fn reopen(&mut self) {
        self.is_ending = false;
        if self.state != broadcast::State::Ended {
            return;
        }
        self.state = broadcast::State::Ongoing;
        self.is_state_new = true;
        // Watches that have ended stay so.
        for track in self.tracks.values_mut() {
            track.shelf.watch = Arc::default();
        }
        let names: Vec<_> = self.tracks.keys().cloned().collect();
        self.show_tracks(&names);
    }

    fn close(&mut self, name: &Arc<str>) {
        let mut cuts = Vec::new();
        if let Some(segmenter) = self.tracks.get_mut(name).and_then(|track| track.segmenter.as_mut()) {
            segmenter.finish(&mut cuts);
            segmenter.need_key();
        }
        self.file_cuts_of(name, cuts);
    }

    /// Completes segments of tracks that have fallen silent: the others are far ahead of them, or nothing came for long.
    fn close_silent(&mut self, now: Duration) {
        let Some(grid) = self.grid else { return };
        let patience = grid.slot_duration().max(SILENCE) * 2;
        let silent: Vec<_> = self
            .tracks
            .values()
            .filter(|track| track.segmenter.as_ref().is_some_and(|segmenter| segmenter.is_open()))
            // Text is silent whenever nobody speaks.
            .filter(|track| track.format.kind != Kind::Text)
            .filter(|track| {
                let ahead = self.sessions.get(&track.owner).map(Session::ahead).unwrap_or_default();
                now.saturating_sub(track.heard) > patience + ahead
            })
            .map(|track| track.id.clone())
            .collect();
        for name in silent {
            self.close(&name);
        }
    }

    /// Where a track of text says nothing, nothing is shown: it keeps up with the others, as long as somebody may send it.
    fn keep_text_up(&mut self, now: Duration) {
        let others = self.views.values().filter(|view| view.track.kind() != Kind::Text);
        let Some(furthest) = others.filter_map(|view| view.tail.last()).map(|last| last.number).max() else { return };
        let window = self.options.window;
        let may_come =
            |track: &TrackWriter| self.sessions.contains_key(&track.owner) || now.saturating_sub(track.heard) < window;
        let texts = self.tracks.values().filter(|track| track.format.kind == Kind::Text && may_come(track));
        let names: Vec<_> = texts.map(|track| track.id.clone()).collect();
        for name in names {
            let mut cuts = Vec::new();
            if let Some(segmenter) = self.tracks.get_mut(&name).and_then(|track| track.segmenter.as_mut()) {
                segmenter.keep_up(furthest.saturating_sub(TEXT_BEHIND_SLOTS), &mut cuts);
            }
            self.file_cuts_of(&name, cuts);
        }
    }

    // The disk.

    fn file_cuts_of(&mut self, name: &Arc<str>, cuts: Vec<Cut>) {
        let Some(track) = self.tracks.get(name) else { return };
        let Some(learnt) = &track.shown else { return };
        let init = learnt.init.clone();
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
    fn work(&mut self) {
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

    fn ended(&mut self, name: &Arc<str>, number: u64) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        let Some((file, row)) = track.shelf.end(number) else { return };
        let settled = track.measure();
        self.is_state_new |= settled;
        // Rows ascend.
        let late = self.late_rows.extract_if(.., |(other, _)| other.track == file.track);
        let rows: Vec<_> = late.chain([(file.clone(), row)]).collect();
        // Viewers are told once it is on disk: a segment that was complete does not become one that is being made.
        for (at, (file, row)) in rows.into_iter().enumerate() {
            self.jobs.insert(at, Job::Row { file, row });
        }
    }

    fn discontinuities_at(&self, number: u64) -> u32 {
        let at = self.discontinuities.partition_point(|(from, _)| *from <= number);
        at.checked_sub(1).map_or(0, |at| self.discontinuities[at].1)
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
    /// a playlist to its first segment.
    fn expire(&mut self) {
        let Some(grid) = self.grid else { return };
        let slot = grid.slot_duration().max(Duration::from_nanos(1));
        let available = self.options.window.min(AVAILABLE_MAX).max(Duration::from_secs(3 * u64::from(grid.target)));
        let from = self.first.saturating_sub(available.as_nanos().div_ceil(slot.as_nanos()) as u64 + 1);
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

    // What viewers see.

    fn show_track(&mut self, name: &Arc<str>) {
        self.show_tracks(std::slice::from_ref(name));
    }

    /// All of them at once: what is complete in every track is not known from some.
    fn show_tracks(&mut self, names: &[Arc<str>]) {
        let Some(grid) = self.grid else { return };
        for name in names {
            let Some(track) = self.tracks.get(name) else { continue };
            match track.snapshot(&grid, self.state == broadcast::State::Ended) {
                Some(view) => drop(self.views.insert(name.clone(), view)),
                None => drop(self.views.remove(name)),
            }
        }
        self.show();
    }

    fn show(&mut self) {
        let Some(grid) = self.grid else { return };
        let furthest = self.views.values().filter_map(|view| view.tail.last()).map(|last| last.number).max();
        let Some(furthest) = furthest else { return };
        // The first number that is not complete in every track, of those that have not fallen silent. One that comes back
        // after a hole has begun a segment before a part of it can be shown, and that is no gap. Nor is the slot before the
        // one that is being made yet: the key frame that ends the hole may lie late in it, and come after the others' sound.
        let nexts = self.views.iter().filter(|(_, view)| view.track.kind() != Kind::Text).filter_map(|(name, view)| {
            let last = view.tail.last()?;
            // Where all have broken off, those that come back first wait for the others: a gap with nothing behind it is the
            // end of the track to Shaka Player.
            let is_heard = self.views.values().all(|other| !is_far_ahead(&other.tail, last.number));
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
        let oldest = self.tracks.values().filter_map(|track| track.shelf.oldest()).min().unwrap_or(self.origin);
        let left = next.saturating_sub(slots(&grid, self.options.window));
        self.first = self.first.max(left).max(oldest).max(self.origin);
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
            state: self.state,
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

    // Restarts.

    fn saved(&self) -> State {
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

    fn recover(&mut self, recovered: Recovered, now: Duration) {
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
            track.resume(grid, self.origin);
            self.tracks.insert(track.id.clone(), track);
        }
        // What a track had not begun when another was further on may have been listed as a gap, and stays one.
        let furthest =
            self.tracks.values().filter_map(|track| track.shelf.tail.last()).map(|segment| segment.number).max();
        for segmenter in self.tracks.values_mut().filter_map(|track| track.segmenter.as_mut()) {
            segmenter.not_before(furthest.unwrap_or(0));
        }
        // Those that had fallen silent held nobody up.
        let nexts = self.tracks.values().filter(|track| track.format.kind != Kind::Text).filter_map(|track| {
            let last = track.shelf.tail.last()?;
            let is_heard = self.tracks.values().all(|other| !is_far_ahead(&other.shelf.tail, last.number));
            Some(if is_heard { last.number + u64::from(last.is_complete) } else { furthest? })
        });
        self.next = nexts.min().unwrap_or(0);
        if let Some(window) = state.window {
            self.first = self.first.max(self.next.saturating_sub(slots(&grid, window)));
            self.keep_left(window);
        }
        let names: Vec<_> = self.tracks.keys().cloned().collect();
        self.show_tracks(&names);
        if state.is_ended {
            self.is_ending = true;
            names.iter().for_each(|name| self.close(name));
            self.work();
        }
    }
}

/// How many slots a window has.
fn slots(grid: &Grid, window: Duration) -> u64 {
    window.as_nanos().div_ceil(grid.slot_duration().as_nanos().max(1)) as u64
}

/// Whether a track that has come to this number has fallen silent beside another.
fn is_far_ahead(other: &[TailSegment], number: u64) -> bool {
    other.iter().rev().take_while(|segment| segment.number > number).count() >= SILENT_SLOTS
}

/// A track that another one is so many segments ahead of holds nobody up.
const SILENT_SLOTS: usize = 3;
/// Text that has not come when the others are so many slots further on is taken to be none.
const TEXT_BEHIND_SLOTS: u64 = 1;
const AVAILABLE_MAX: Duration = Duration::from_secs(10 * 60);
const DISCONTINUITIES_KEPT: usize = 1_000;
/// Markers of one publisher that wait for its first sample.
const EARLY_MARKERS_MAX: usize = 64;
const FILE_MIN: Duration = Duration::from_secs(60);
const FILE_MAX: Duration = Duration::from_secs(60 * 60);
