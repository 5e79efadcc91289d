//! Playlists of channels with MPEG-TS segments: for old players, so without parts, blocking reload and delta updates. Numbers,
//! times, gaps, discontinuities and marks are those of the channel's other playlists ([`hls::live_media`]).

use crate::base::units::rescale_nearest;
use crate::base::{Ticks, Timescale};
use crate::media::broadcast::{Broadcast, BroadcastTrack};
use crate::media::{Kind, Track};
use crate::package::live_timeline;
use crate::package::live_url::Stretch;
use crate::package::offer::{self, Offer};
use crate::package::{hls, key_frame, rate::Rate};

use super::live_url::{key_frame_playlist, media_playlist, push_key_frame, push_segment, push_text_segment};
use super::url::Rendition;
use super::{Carriage, carriage, size};

/// The tracks of one of a channel's playlists.
#[derive(Clone, Copy)]
pub enum LiveTracks<'b, 'a> {
    Pictures { video: &'b BroadcastTrack<'a>, sound: Option<&'b BroadcastTrack<'a>> },
    Sound(&'b BroadcastTrack<'a>, super::Packing),
    Text(&'b BroadcastTrack<'a>),
}

/// How transport streams, and the playlists that name them, carry a track of a channel. Text goes in segments of WebVTT.
pub fn live_carriage(track: &Track) -> Option<Carriage> {
    carriage(track).filter(|carriage| *carriage != Carriage::Text || hls::is_webvtt(track))
}

impl<'b, 'a> LiveTracks<'b, 'a> {
    /// `None`: the channel has no such tracks, or transport streams do not carry them so.
    pub fn of(broadcast: &'b Broadcast<'a>, rendition: Rendition<'_>) -> Option<LiveTracks<'b, 'a>> {
        let live = broadcast.track(rendition.track)?;
        let sound = match rendition.sound {
            Some(id) => Some(broadcast.track(id)?),
            None => None,
        };
        match (live_carriage(live.track)?, sound.map(|sound| live_carriage(sound.track))) {
            (Carriage::Video, None | Some(Some(Carriage::Audio(_)))) => {
                Some(LiveTracks::Pictures { video: live, sound })
            }
            (Carriage::Audio(packing), None) => Some(LiveTracks::Sound(live, packing)),
            (Carriage::Text, None) => Some(LiveTracks::Text(live)),
            _ => None,
        }
    }

    fn extension(self) -> &'static str {
        match self {
            LiveTracks::Pictures { .. } => "ts",
            LiveTracks::Sound(_, packing) => packing.extension(),
            LiveTracks::Text(_) => "vtt",
        }
    }

    fn main(self) -> (&'b BroadcastTrack<'a>, Option<&'b BroadcastTrack<'a>>) {
        match self {
            LiveTracks::Pictures { video, sound } => (video, sound),
            LiveTracks::Sound(live, _) | LiveTracks::Text(live) => (live, None),
        }
    }

    /// The first number that is not listed: what all tracks of it have, or have passed.
    pub fn end(self, broadcast: &Broadcast<'_>) -> u64 {
        let (live, sound) = self.main();
        let end = live_timeline::end(broadcast, live);
        sound.map_or(end, |sound| end.min(live_timeline::end(broadcast, sound)))
    }
}

/// The multivariant playlist of what transport streams carry of a channel, or of a stretch of it; its links are relative to
/// `/live/{channel}/ts/`. `None` if there is nothing left but text.
pub fn live_multivariant(broadcast: &Broadcast<'_>, stretch: Stretch) -> Option<String> {
    let carried: Vec<(Carriage, Track, Offer<'_>)> = offer::of_broadcast(broadcast)
        .into_iter()
        .filter_map(|offer| {
            let mut track = offer.track.clone();
            // Dolby Vision has a descriptor of its own in transport streams, which is not written.
            if let crate::media::track::Details::Video(video) = &mut track.details {
                video.supplemental_codec = None;
            }
            Some((live_carriage(offer.track)?, track, offer))
        })
        .collect();
    if carried.iter().all(|(carriage, ..)| *carriage == Carriage::Text) {
        return None;
    }
    let stored: Vec<Offer<'_>> = carried.iter().map(|(_, track, offer)| Offer { track, ..*offer }).collect();
    let sound = hls::sound(&stored);
    let slot = u64::try_from(broadcast.grid.slot_duration().as_micros()).unwrap_or(u64::MAX);
    let offers: Vec<Offer<'_>> = stored
        .iter()
        .zip(&carried)
        .map(|(stored, (carriage, track, _))| {
            let of = |rate: u64| match carriage {
                Carriage::Video => size::live_pictures(track, rate, slot),
                Carriage::Audio(_) if sound == hls::Sound::Muxed => size::live_sound(track, rate, slot),
                Carriage::Audio(packing) => size::live_packed(track, *packing, rate, slot),
                Carriage::Text => 0,
            };
            let Rate { peak, average } = stored.rate;
            Offer { rate: Rate { peak: of(peak), average: of(average) }, ..*stored }
        })
        .collect();
    let link = |name: &str| media_playlist(name, stretch);
    let mut out = hls::live_transport_multivariant(broadcast, &offers, &link, sound);
    for live in broadcast.of_kind(Kind::Video).filter(|live| live_carriage(live.track) == Some(Carriage::Video)) {
        if let Some(peak) = key_frame::live_peak(broadcast, live, size::live_key_frame) {
            hls::push_key_frame_stream(&mut out, live.track, peak, None, &key_frame_playlist(&live.track.id, stretch));
        }
    }
    Some(out)
}

/// Why nothing of a channel can be played from transport streams, for the log: what there is instead.
pub fn live_refusal(broadcast: &Broadcast<'_>) -> String {
    super::refused(broadcast.tracks.iter().map(|live| live.track))
}

/// The media playlist of a track, or of pictures and sound in one; links are relative to `/live/{channel}/ts/`.
pub fn live_media(
    broadcast: &Broadcast<'_>,
    rendition: Rendition<'_>,
    tracks: LiveTracks<'_, '_>,
    which: &hls::Whole,
) -> String {
    let (live, sound) = tracks.main();
    let first = broadcast.first;
    let mut sounds = sound.map(|sound| live_timeline::entries(broadcast, sound, first));
    let listed = live_timeline::entries(broadcast, live, first)
        .map(|entry| {
            let sound = sounds.as_mut().and_then(Iterator::next);
            hls::Listed {
                discontinuities: entry.discontinuities.max(sound.as_ref().map_or(0, |sound| sound.discontinuities)),
                // Sound goes on where there are no pictures.
                is_gap: entry.segment.is_none() && sound.is_none_or(|sound| sound.segment.is_none()),
                entry,
            }
        })
        .take(usize::try_from(tracks.end(broadcast).saturating_sub(first)).unwrap_or(usize::MAX));
    hls::whole_playlist(broadcast, which, hls::Content::Media, None, listed, |out, number| match tracks {
        LiveTracks::Text(live) => push_text_segment(out, &live.track.id, number),
        _ => push_segment(out, rendition.name, number, tracks.extension()),
    })
}

/// The I-frame playlist of pictures; links are relative to `/live/{channel}/ts/`. `None`: it is not carried, or no video.
pub fn live_media_key_frames(
    broadcast: &Broadcast<'_>,
    live: &BroadcastTrack<'_>,
    which: &hls::Whole,
) -> Option<String> {
    let link = |out: &mut String, number| push_key_frame(out, &live.track.id, number);
    (live_carriage(live.track)? == Carriage::Video)
        .then(|| hls::live_key_frame_playlist(broadcast, live, which, None, link))
}

/// How often a track has a sample, of what is known of it.
pub(super) fn samples_per_second(track: &Track) -> u64 {
    /// Of video whose frames come unevenly, and of AAC.
    const FRAMES: u64 = 60;
    const FRAME_SAMPLES: u64 = 1_024;
    match (track.kind(), track.video(), track.audio()) {
        (Kind::Video, Some(video), _) if video.frame_rate.0 > 0 => {
            u64::from(video.frame_rate.0).div_ceil(u64::from(video.frame_rate.1.max(1)))
        }
        (Kind::Audio, _, Some(audio)) => u64::from(audio.sample_rate).div_ceil(FRAME_SAMPLES),
        _ => FRAMES,
    }
}

/// A time of the track, on the clock of MPEG-2. [`crate::media::mpegts::mux`] counts presentation time, and adds its offset to
/// it; that of a channel is time since 1970 as it is, as [`hls::live_text_segment`] has it.
pub(super) fn clock(time: Ticks, scale: Timescale) -> i64 {
    let ticks = rescale_nearest(time, scale, Timescale::MPEG).map_or(i64::MAX, |ticks| ticks.0);
    ticks.saturating_sub(crate::media::mpegts::mux::OFFSET)
}
