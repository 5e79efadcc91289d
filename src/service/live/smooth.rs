//! Smooth Streaming of channels.

use crate::base::{Extent, Watermark};
use crate::http::{Kind, Request};
use crate::live::Located;
use crate::media::broadcast::{Broadcast, BroadcastTrack, Position};
use crate::media::isobmff::stored;
use crate::package::live_url::Stretch;
use crate::package::mss::{self, LiveFound};

use super::kept::{KeyRef, Text, Version};
use super::query::{BadQuery, Parameters};
use super::text::{damaged, mapped, unreadable};
use super::{Live, Outcome, Source, range, seen, segment_cache_control, whole, whole_age};

const XML: &str = "text/xml; charset=utf-8";

impl Live {
    pub(super) fn smooth<S: Source>(
        &self,
        request: &Request<'_>,
        channel: &str,
        source: &S,
    ) -> Result<Outcome, BadQuery> {
        let stretch = Parameters::of(request).stretch()?;
        let Some((_, state)) = seen(source, stretch) else { return Ok(Outcome::Missing) };
        // With all runs, which say of what format the newest segments are.
        let Some(broadcast) = source.broadcast(range(stretch)) else { return Ok(Outcome::Missing) };
        let inits: Vec<(&str, Extent)> = mss::live_tracks(&broadcast)
            .filter_map(|live| {
                let id = live.track.id.as_str();
                Some((id, source.init(id, mss::newest_init(&broadcast, live)?)?))
            })
            .collect();
        if let Some(outcome) = unread(source, inits.iter().map(|(_, init)| init)) {
            return Ok(outcome);
        }
        // Each track counts: one may come later than the others.
        let mark = broadcast.tracks.iter().map(|live| broadcast.listed(live).number).fold(0, u64::wrapping_add);
        let key = KeyRef { channel, track: "", text: Text::Smooth, stretch };
        let age = whole_age(&broadcast);
        self.keep(request, key, Version { mark, state }, || {
            let header = |live: &BroadcastTrack<'_>| {
                inits.iter().find(|(id, _)| *id == live.track.id).and_then(|(_, init)| mapped(init))
            };
            let Some(text) = mss::live_manifest(&broadcast, stretch, &header) else {
                if let Some(reason) = mss::live_refusal(&broadcast) {
                    self.refuse(KeyRef { stretch: Stretch::default(), ..key }, &reason);
                }
                return None;
            };
            Some((Kind::SmoothManifest, XML, text, age))
        })
    }

    pub(super) fn smooth_fragment<S: Source>(
        &self,
        request: &Request<'_>,
        source: &S,
        bitrate: u64,
        stream: &str,
        time: u64,
    ) -> Result<Outcome, BadQuery> {
        let stretch = Parameters::of(request).stretch()?;
        let Some(broadcast) = source.broadcast(range(stretch)) else { return Ok(Outcome::Missing) };
        let Some(live) = mss::live_level(&broadcast, bitrate, stream) else { return Ok(Outcome::Missing) };
        Ok(self.fragment_of(request, source, &broadcast, live, time))
    }

    fn fragment_of<S: Source>(
        &self,
        request: &Request<'_>,
        source: &S,
        broadcast: &Broadcast<'_>,
        live: &BroadcastTrack<'_>,
        time: u64,
    ) -> Outcome {
        let track = live.track.id.as_str();
        let inits: Vec<(&str, Extent)> = mss::live_inits(broadcast, live, time)
            .into_iter()
            .filter_map(|name| Some((name, source.init(track, name)?)))
            .collect();
        if let Some(outcome) = unread(source, inits.iter().map(|(_, init)| init)) {
            return outcome;
        }
        let edit = |name: &str| {
            let (_, init) = inits.iter().find(|(found, _)| *found == name)?;
            stored::media_start(mapped(init)?).ok()
        };
        let found = match mss::live_find(broadcast, live, time, &edit) {
            LiveFound::Fragment(found) => found,
            LiveFound::Missing => return Outcome::Missing,
            LiveFound::After(number) => {
                let target = Position { number: number.saturating_add(1), parts: 0 }.mark();
                return match source.watch(track) {
                    Some(watch) if watch.mark() < target => {
                        self.later(broadcast, Watermark { watch: watch.clone(), target })
                    }
                    _ => Outcome::Missing,
                };
            }
        };
        let stored = match source.segment(track, found.number) {
            Located::Whole(stored) => Some(stored),
            Located::Gap { .. } => None,
            _ => return Outcome::Missing,
        };
        if let Some(outcome) = unread(source, stored.iter()) {
            return outcome;
        }
        let Some(body) = mss::live_fragment(live.track, &found, stored.as_ref()) else {
            let Some(stored) = stored else { return Outcome::Missing };
            if stored.file.mark_damaged() {
                tracing::error!(?stored, "media of a channel is not what was written: it was cut or its disk fails");
            }
            return Outcome::Ready(damaged());
        };
        // A channel that was ended, and goes on, has something to follow its last one.
        let etag = format_args!("{track}-mss-{time}-{}", found.following.map_or(0, |(start, _)| start));
        Outcome::Ready(whole(Kind::Segment, live, etag, &segment_cache_control(broadcast), body).respond(request))
    }
}

/// What is to be done before all of it can be read, if it is not in memory or never will be.
pub(super) fn unread<'e, S: Source>(source: &S, extents: impl Iterator<Item = &'e Extent> + Clone) -> Option<Outcome> {
    let mut all = extents.clone();
    if all.any(|extent| extent.file.is_damaged()) {
        return Some(Outcome::Ready(damaged()));
    }
    if let Some(extent) = extents.clone().find(|extent| mapped(extent).is_none()) {
        return Some(Outcome::Ready(unreadable(extent)));
    }
    let absent: Vec<Extent> = extents.filter(|extent| !source.is_resident(extent)).cloned().collect();
    (!absent.is_empty()).then_some(Outcome::Read(absent))
}
