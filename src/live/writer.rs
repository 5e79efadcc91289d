//! One channel being made: publishers' events in, disk operations and snapshots out.
//!
//! ```text
//! publishers   who sends, and what
//!   → clock    what their times are, and where a discontinuity is
//!   → tracks   which grid, which segments, where a track begins and ends
//!   → disk     what is to be written, and what comes of it
//!   → view     what viewers see of it
//! restart      what of all this is kept, and found again
//! ```

mod clock;
mod disk;
mod publishers;
mod restart;
mod tracks;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::channel::Channel;
use super::marks::Marks;
use super::op::{FileName, Op, Recovered};
use super::options::{Options, SessionId};
use super::session::Session;
use super::snapshot::{Snapshot, TrackSnapshot};
use super::timeline::Anchor;
use super::track::TrackWriter;
use crate::base::watch::ENDED;
use crate::media::broadcast::{self, Grid, SegmentRow};
use disk::{Flight, HeldUp, Job};

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
    /// All tracks were closed, as nothing came for long.
    is_silent: bool,
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
            is_silent: false,
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

    /// New options from the operator. The grid of a channel that has published stays.
    pub fn configure(&mut self, options: Options) {
        let window = std::mem::replace(&mut self.options, options).window;
        self.keep_left(window);
    }

    /// What has left a shorter window than it is now does not come back, not after a restart either (RFC 8216bis §6.2.2).
    pub(super) fn keep_left(&mut self, window: Duration) {
        if self.options.window > window {
            self.origin = self.origin.max(self.first);
        }
        if self.options.window != window && self.grid.is_some() {
            self.save_first();
        }
    }

    pub(super) fn save_first(&mut self) {
        self.is_state_new = true;
        if self.held_up == HeldUp::No {
            self.held_up = HeldUp::ByState;
        }
    }

    /// Everything is written, and nothing follows. Whoever waits for more asks again. Viewers who are told of an end do not
    /// come back, so that a crash must not take it back.
    pub(super) fn finish(&mut self) {
        if self.state != broadcast::State::Ended {
            self.state = broadcast::State::Ended;
            return self.save_first();
        }
        self.is_ending = false;
        let names: Vec<_> = self.tracks.keys().cloned().collect();
        self.show_tracks(&names);
        for track in self.tracks.values() {
            track.shelf.watch.advance(ENDED);
        }
    }

    /// An encoder begins again on a channel that was ended.
    pub(super) fn reopen(&mut self) {
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
}
