//! Who publishes a channel, and what comes of what they send.

use std::time::Duration;

use super::ChannelWriter;
use crate::base::limits::{LIVE_PENDING_BYTES_MAX, LIVE_SESSIONS_MAX, LIVE_SILENCE, LIVE_TRACKS_MAX};
use crate::live::options::{Redundancy, Refusal, SessionId, SourceName};
use crate::live::pieces::Verdict;
use crate::live::session::Session;
use crate::live::timeline::to_nanos;
use crate::live::track::TrackWriter;
use crate::media::feed::{Event, Format, Marker, Sample, TrackKey};
use crate::media::{Kind, broadcast};

impl ChannelWriter {
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

    fn keep_time(&self) -> Duration {
        let slot = self.grid.map_or(self.options.segment, |grid| grid.slot_duration());
        let ahead = self.sessions.values().map(Session::ahead).max().unwrap_or_default();
        LIVE_SILENCE + ahead + slot * 3
    }

    fn stand_down(&mut self, id: SessionId) {
        if self.options.redundancy != Redundancy::Standby {
            self.sessions.remove(&id);
        } else if let Some(session) = self.sessions.get_mut(&id) {
            session.is_active = false;
        }
    }

    /// Lets those who stand by step in where nobody publishes, or who does is silent.
    pub(super) fn step_in(&mut self, now: Duration) {
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
            // Encoders that stand in for each other have one clock: it stays where it was brought to, which need not be where that of
            // the channel is. Brought there, what both have sent would come again.
            let track = self.tracks.get(&name);
            let before = track.and_then(TrackWriter::anchor);
            let newest = newest.map(|newest| to_nanos(newest.decode_time, format.timescale));
            let goes_on = newest.is_some_and(|newest| track.is_some_and(|track| track.is_near(newest)));
            self.enter(id, key, format, now);
            let Some(newest) = newest else { continue };
            match (self.tracks.get_mut(&name), before) {
                (Some(track), Some(before)) if goes_on => track.anchor_at(before),
                _ => self.set_clock(&name, newest, before, now),
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
        self.is_silent &= track.format.kind == Kind::Text;
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
        if is_resent && track.is_sent_again(&sample, now) {
            self.counts.dropped += 1;
            return;
        }
        let (samples, is_new_clock) = track.judge(sample, now);
        if is_new_clock && let Some(first) = samples.first() {
            let (time, before) = (track.nanos(first), track.anchor());
            self.set_clock(&name, time, before, now);
        }
        let begin = self.tracks.get(&name).and_then(|track| track.begins_anew(samples.first()?));
        if let Some(begin) = begin {
            self.begin_anew(begin);
        }
        for sample in samples {
            self.take(&name, sample, now);
        }
        if self.grid.is_none() {
            self.waiting_since.get_or_insert(now);
            self.decide(false, now);
        }
    }

    pub(super) fn marker(&mut self, id: SessionId, marker: Marker, now: Duration) {
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
        let has_ended = self.state == broadcast::State::Ended;
        self.is_ending |= self.options.end && !has_ended && !self.sessions.values().any(goes_on);
    }
}

/// Markers of one publisher that wait for its first sample.
const EARLY_MARKERS_MAX: usize = 64;
