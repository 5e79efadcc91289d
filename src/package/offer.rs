//! Tracks as manifests list them, whether they are of an asset or of a channel.

use crate::media::broadcast::Broadcast;
use crate::media::captions::Caption;
use crate::media::{Kind, Presentation, Track};

use super::filter::Filter;
use super::rate::Rate;
use super::timeline;

/// A track and what a connection needs for it.
#[derive(Clone, Copy)]
pub(super) struct Offer<'a> {
    pub track: &'a Track,
    pub rate: Rate,
    /// Of a channel, whether the rate stays as it is.
    pub is_settled: bool,
}

/// In the order of the presentation's tracks. `target` is the target duration in seconds.
pub(super) fn of_presentation<'a>(presentation: &Presentation<'a>, target: u64) -> Vec<Offer<'a>> {
    let offer = |view: &crate::media::TrackView<'a>| {
        let rate = match view.track.kind() {
            Kind::Video | Kind::Audio => Rate::of(presentation, *view, target),
            // A subtitle file is loaded whole, or a few cues at a time.
            Kind::Text => {
                let millis = presentation.duration.as_millis().max(1) as u64;
                let rate = (view.size() * 8_000).div_ceil(millis);
                Rate { peak: rate, average: rate }
            }
        };
        Offer { track: view.track, rate, is_settled: true }
    };
    presentation.tracks.iter().map(offer).collect()
}

/// The ids of the tracks that a filter keeps. Of the whole presentation, so that a stretch of it has the same tracks.
pub fn kept<'a>(presentation: &Presentation<'a>, filter: &Filter) -> Vec<&'a str> {
    let target = timeline::target_seconds(timeline::longest(presentation));
    let offers = of_presentation(presentation, target);
    let kept = offers.iter().filter(|offer| filter.keeps(offer.track, offer.rate.peak));
    kept.map(|offer| offer.track.id.as_str()).collect()
}

/// What is in the pictures of any of them: playlists have one list for all (RFC 8216bis §4.4.6.2, CLOSED-CAPTIONS).
pub(super) fn captions(offers: &[Offer<'_>]) -> Vec<Caption> {
    let mut captions: Vec<Caption> = Vec::new();
    for caption in offers.iter().filter_map(|offer| offer.track.video()).flat_map(|video| &video.captions) {
        if captions.iter().all(|other| other.channel != caption.channel) {
            captions.push(caption.clone());
        }
    }
    captions.sort_by_key(|caption| caption.channel);
    captions
}

/// In the order of the channel's tracks.
pub(super) fn of_broadcast<'a>(broadcast: &Broadcast<'a>) -> Vec<Offer<'a>> {
    let offer = |live: &crate::media::broadcast::BroadcastTrack<'a>| Offer {
        track: live.track,
        rate: Rate { peak: live.rate.peak.max(live.rate.average), average: live.rate.average },
        is_settled: live.rate.is_settled,
    };
    broadcast.tracks.iter().map(offer).collect()
}

pub(super) fn of_kind<'o, 'a>(offers: &'o [Offer<'a>], kind: Kind) -> impl Iterator<Item = Offer<'a>> + 'o {
    offers.iter().filter(move |offer| offer.track.kind() == kind).copied()
}
