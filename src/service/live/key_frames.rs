//! Key frames of channels by themselves: what trick play shows of the window.

use bytes::Bytes;

use crate::base::{Extent, Payload, Ticks, Watermark};
use crate::http::{Kind, Request};
use crate::live::Located;
use crate::media::broadcast::{Broadcast, BroadcastTrack, Position};
use crate::media::{self, isobmff};
use crate::package::{hls, key_frame};

use super::super::Wait;
use super::kept::{KeyRef, Text, Version};
use super::query::{BadQuery, Parameters};
use super::smooth::unread;
use super::text::damaged;
use super::{
    HLS, Live, Outcome, PATIENCE_TARGETS, Source, is_whole, range, seen, segment_cache_control, target_duration, whole,
    whole_age,
};

/// Of a segment, what its first chunk's header lies in: with sixteen bytes a sample, and a few hundred samples.
pub(super) const HEAD_BYTES: u64 = 16 * 1024;

impl Live {
    /// The I-frame playlist of a video track.
    pub(super) fn key_frame_playlist<S: Source>(
        &self,
        request: &Request<'_>,
        channel: &str,
        source: &S,
        track: &str,
    ) -> Result<Outcome, BadQuery> {
        let stretch = Parameters::of(request).stretch()?;
        let Some((broadcast, state)) = seen(source, stretch) else { return Ok(Outcome::Missing) };
        let Some(live) = pictures(&broadcast, track) else { return Ok(Outcome::Missing) };
        let mark = Position { number: broadcast.listed(live).number, parts: 0 }.mark();
        let key = KeyRef { channel, track, text: Text::KeyFrames, stretch };
        let age = whole_age(&broadcast);
        let which = hls::Whole { stretch, is_whole: is_whole(&broadcast, stretch), cues: false };
        self.keep(request, key, Version { mark, state }, || {
            let broadcast = source.broadcast(range(stretch))?;
            let text = hls::live_media_key_frames(&broadcast, broadcast.track(track)?, &which);
            Some((Kind::MediaPlaylist, HLS, text, age))
        })
    }

    /// The key frame that a segment begins with, once the segment is complete.
    pub(super) fn key_frame<S: Source>(&self, request: &Request<'_>, source: &S, track: &str, number: u64) -> Outcome {
        let Some((broadcast, _)) = source.edge() else { return Outcome::Missing };
        let Some(live) = pictures(&broadcast, track) else { return Outcome::Missing };
        let body = match source.segment(track, number) {
            Located::Whole(stored) => match source.described(track, number) {
                None => return Outcome::Missing,
                // It is shown for as long as the segment lasts, and that may change until it is told that it is complete.
                Some(segment) if !segment.is_complete => return self.once_complete(source, &broadcast, track, number),
                Some(segment) if !segment.is_independent => nothing(segment.time, segment.duration),
                Some(segment) => {
                    let head = Extent { len: stored.len.min(HEAD_BYTES), ..stored.clone() };
                    if let Some(outcome) = unread(source, std::iter::once(&head)) {
                        return outcome;
                    }
                    let Some(body) = key_frame::live_fragment(&segment, &stored) else {
                        if stored.file.mark_damaged() {
                            tracing::error!(
                                ?stored,
                                "media of a channel is not what was written: it was cut or its disk fails"
                            );
                        }
                        return Outcome::Ready(damaged());
                    };
                    body
                }
            },
            // As with segments: HLS has EXT-X-GAP there, and a player of DASH asks for it all the same.
            Located::Gap { time, duration } => nothing(time, duration),
            Located::Growing(_) => return self.once_complete(source, &broadcast, track, number),
            Located::Later(until) => return self.later(&broadcast, until),
            Located::Missing => return Outcome::Missing,
        };
        let etag = format_args!("{track}-{number}-iframe");
        Outcome::Ready(whole(Kind::Segment, live, etag, &segment_cache_control(&broadcast), body).respond(request))
    }

    /// To be asked for again once a segment that is being made is complete.
    pub(super) fn once_complete<S: Source>(
        &self,
        source: &S,
        broadcast: &Broadcast<'_>,
        track: &str,
        number: u64,
    ) -> Outcome {
        let target = Position { number: number.saturating_add(1), parts: 0 }.mark();
        match source.watch(track) {
            Some(watch) => self.later(broadcast, Watermark { watch: watch.clone(), target }),
            None => Outcome::Missing,
        }
    }

    pub(super) fn later(&self, broadcast: &Broadcast<'_>, until: Watermark) -> Outcome {
        let patience = target_duration(broadcast) * PATIENCE_TARGETS;
        Outcome::Wait(Wait { until, patience, otherwise: Box::new(self.missing.clone()) })
    }
}

fn pictures<'b, 'a>(broadcast: &'b Broadcast<'a>, track: &str) -> Option<&'b BroadcastTrack<'a>> {
    broadcast.track(track).filter(|live| live.track.kind() == media::Kind::Video)
}

/// A fragment without samples.
pub(super) fn nothing(time: Ticks, duration: Ticks) -> Payload {
    let mut bytes = Vec::new();
    let ticks = u32::try_from(duration.0).unwrap_or(u32::MAX);
    isobmff::write::empty_fragment(1, time.0.max(0) as u64, ticks, &mut bytes);
    Payload::from(Bytes::from(bytes))
}
