//! The clock that a channel goes by, and the discontinuities where it was set anew or a track's format changed.

use std::sync::Arc;
use std::time::Duration;

use super::ChannelWriter;
use crate::live::session::SILENCE;
use crate::live::timeline::{Anchor, Known, Nanos};
use crate::live::track::TrackWriter;
use crate::media::Kind;

impl ChannelWriter {
    /// The publisher's clock begins at `time`. `before` is the anchor that the track went by until now.
    pub(super) fn set_clock(&mut self, name: &Arc<str>, time: Nanos, before: Option<Anchor>, now: Duration) {
        let Some(track) = self.tracks.get(name) else { return };
        let configured = self.options.anchor.map(Anchor::of);
        let channel_end = self.tracks.values().filter_map(TrackWriter::end).max();
        let was = self.anchor;
        let goes_on = |other: &&TrackWriter| now.saturating_sub(other.heard) <= SILENCE;
        let others = self.tracks.values().filter(|other| other.id != track.id && other.anchor().is_some());
        let is_in_use = was
            .is_some_and(|was| before == Some(was) || others.filter(goes_on).any(|other| other.anchor() == Some(was)));
        // Publishers of one encoder may be several; that of this track, and those whose clocks show the same, have its clock.
        let is_beside = before.is_none() && {
            let others = self.tracks.values().filter(|other| other.id != track.id && other.anchor() == was);
            others.filter(goes_on).any(|other| other.owner == track.owner || other.is_at(time))
        };
        let known = match was {
            None => Known::None,
            Some(was) if is_beside => Known::Beside(was),
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
        if let Some(before) = before.filter(|before| *before != anchor) {
            self.text_follows(before, anchor, now);
        }
        let early = owner.and_then(|owner| Some((owner, std::mem::take(&mut self.sessions.get_mut(&owner)?.early))));
        if let Some((owner, early)) = early {
            early.into_iter().for_each(|marker| self.marker(owner, marker, now));
        }
    }

    /// Text goes by the clock of what is sent beside it: where nothing is said for a while, its own times do not show that the
    /// clock was set anew.
    fn text_follows(&mut self, before: Anchor, anchor: Anchor, now: Duration) {
        let others = self.tracks.values().filter(|other| other.format.kind != Kind::Text);
        let others: Vec<_> = others
            .filter(|other| now.saturating_sub(other.heard) <= SILENCE)
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

const DISCONTINUITIES_KEPT: usize = 1_000;
