//! The multivariant playlist.

use crate::base::Extent;
use crate::media::codec::elementary::Elementary;
use crate::media::{Presentation, Track, TrackView};
use crate::package::Links;
use crate::package::hls::{self, Sound};
use crate::package::offer::Offer;
use crate::package::rate::Rate;
use crate::package::{timeline, url};

use super::entries::entries;
use super::segment::header;
use super::{Carriage, carriage, key_frames, size};

/// What has to be in memory to write it: the headers of the pictures, for how long their parameter sets are.
pub fn headers(presentation: &Presentation<'_>) -> Vec<Extent> {
    let views = presentation.tracks.iter().filter(|view| carriage(view.track) == Some(Carriage::Video));
    views.map(|view| view.extent(0..view.init_size)).collect()
}

/// Of the tracks that transport streams carry; its links are relative to `/vod/{asset}/ts/`. `None` if there is nothing left
/// but text.
pub fn multivariant(presentation: &Presentation<'_>, links: &Links) -> Option<String> {
    let carried: Vec<(TrackView<'_>, Carriage, Track)> = presentation
        .tracks
        .iter()
        .filter_map(|view| {
            let mut track = view.track.clone();
            // Dolby Vision has a descriptor of its own in transport streams, which is not written.
            if let crate::media::track::Details::Video(video) = &mut track.details {
                video.supplemental_codec = None;
            }
            Some((*view, carriage(view.track)?, track))
        })
        .collect();
    if carried.iter().all(|(_, carriage, _)| *carriage == Carriage::Text) {
        return None;
    }
    let unrated: Vec<Offer<'_>> =
        carried.iter().map(|(_, _, track)| Offer { track, rate: Rate::default(), is_settled: true }).collect();
    let sound = hls::sound(&unrated);
    let target = timeline::target_seconds(timeline::longest(presentation));
    let offers: Vec<Offer<'_>> = carried
        .iter()
        .map(|(view, carriage, track)| {
            let rate = rate(presentation, *view, *carriage, sound, target);
            Offer { track, rate, is_settled: true }
        })
        .collect();
    let independent = carried.iter().all(|(view, ..)| timeline::is_independent(*view));
    let link = |name: &str| links.media_playlist(presentation.version, &name.replace('.', "-"));
    let mut out = hls::transport_multivariant(&offers, &link, independent, sound);
    for (view, ..) in carried.iter().filter(|(_, carriage, _)| *carriage == Carriage::Video) {
        let sets = parameter_sets(*view);
        key_frames::push_stream(&mut out, view, sets, &links.key_frame_playlist(presentation.version, &view.track.id));
    }
    // It is the same as without transport streams, and lies beside them.
    let beside = |id: &str| url::from_single(&links.thumbnail_playlist(presentation.version, id));
    hls::push_thumbnail_stream(&mut out, presentation, beside);
    Some(out)
}

/// Bytes that come with every key picture; of a header that cannot be read, nothing.
fn parameter_sets(view: TrackView<'_>) -> u64 {
    match header(view) {
        Some((Elementary::Nal(config), _)) => config.parameter_sets.len() as u64,
        _ => 0,
    }
}

fn rate(presentation: &Presentation<'_>, view: TrackView<'_>, carriage: Carriage, sound: Sound, target: u64) -> Rate {
    let sizes: Vec<(u64, u64)> = match (carriage, sound) {
        (Carriage::Video, _) => {
            let sets = parameter_sets(view);
            entries(presentation, view, None)
                .map(|entry| (size::pictures(view, entry.video.as_ref(), entry.micros(), sets), entry.micros()))
                .collect()
        }
        (Carriage::Audio(packing), _) => timeline::spans(presentation, view)
            .map(|span| {
                let size = span.segment.as_ref().map_or(0, |segment| match sound {
                    Sound::Muxed => size::sound(view, segment, span.micros()),
                    Sound::Renditions => size::packed(view, packing, segment),
                });
                (size, span.micros())
            })
            .collect(),
        (Carriage::Text, _) => return Rate::default(),
    };
    Rate::of_sizes(&sizes, target)
}
