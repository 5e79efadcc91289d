//! The media presentation description.

use std::time::Duration;

use crate::media::{Kind, Presentation};
use crate::package::key_frame::has_trick_play;
use crate::package::offer::{self, Offer};
use crate::package::{Addressing, Links, timeline};

use super::{switching_set, thumbnails, trick_mode};
use crate::package::xml::Xml;

pub(super) const NAMESPACE: &str = "urn:mpeg:dash:schema:mpd:2011";
pub(super) const SCTE_NAMESPACE: &str = "urn:scte:dash:scte214-extensions";
/// The ISO BMFF live profile (segments of their own behind a template), and its extension to CMAF (§8.12).
pub(super) const PROFILES: &str = "urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019";

/// One indexed file for each track (§8.3).
const ON_DEMAND_PROFILE: &str = "urn:mpeg:dash:profile:isoff-on-demand:2011";

/// A static MPD of one Period; its links are relative to `/vod/{asset}/`, or to `single/` below it.
pub fn mpd(presentation: &Presentation<'_>, links: &Links) -> String {
    stretch_mpd(presentation, presentation, links)
}

/// The same of a stretch of `whole`: an indexed file is always of all of it.
pub fn stretch_mpd(presentation: &Presentation<'_>, whole: &Presentation<'_>, links: &Links) -> String {
    let longest = timeline::longest(presentation);
    let target = timeline::target_seconds(longest);
    let offers = offer::of_presentation(presentation, target);
    let sets = switching_set::switching_sets(&offers);
    // Audio segments differ in length by a frame, so their runs are short: about one S for two segments.
    let segments = presentation.cuts.len();
    let mut xml = Xml::new(1_024 + presentation.tracks.len() * (512 + segments * 20));
    xml.open("MPD", |tag| {
        tag.set("xmlns", NAMESPACE);
        if has_supplemental_codecs(&offers) {
            tag.set("xmlns:scte214", SCTE_NAMESPACE);
        }
        let profiles = match links.addressing {
            Addressing::Segments => PROFILES,
            Addressing::SingleFile => ON_DEMAND_PROFILE,
        };
        tag.set("profiles", profiles).set("type", "static");
        tag.set("mediaPresentationDuration", &iso_duration(presentation.duration));
        tag.set("minBufferTime", &iso_duration(Duration::from_secs(target)));
        tag.set("maxSegmentDuration", &iso_duration(Duration::from_micros(longest)));
    });
    xml.open("Period", |tag| {
        tag.set("id", "0").set("start", "PT0S");
    });
    for (at, set) in sets.iter().enumerate() {
        switching_set::push(&mut xml, presentation, whole, links.addressing, at, &offers, set);
    }
    let mut count = sets.len();
    if links.addressing == Addressing::Segments {
        // The tracks of a set have the same key frames.
        let has_trick_play = |set: &[usize]| has_trick_play(presentation.tracks[set[0]]);
        let videos = sets
            .iter()
            .enumerate()
            .filter(|(_, set)| offers[set[0]].track.kind() == Kind::Video && has_trick_play(set));
        for (main, set) in videos {
            trick_mode::push(&mut xml, presentation, count, main, &offers, set);
            count += 1;
        }
    }
    if let Some(shown) = &presentation.thumbnails {
        let micros = u64::try_from(presentation.duration.as_micros()).unwrap_or(u64::MAX);
        thumbnails::push(&mut xml, presentation.version, links.addressing, count, shown, micros);
    }
    xml.close("Period");
    xml.close("MPD");
    xml.finish()
}

/// What takes the namespace of `scte214:supplementalCodecs`.
pub(super) fn has_supplemental_codecs(offers: &[Offer<'_>]) -> bool {
    offers.iter().filter_map(|offer| offer.track.video()).any(|video| video.supplemental_codec.is_some())
}

/// Seconds only, which is allowed to any number and the least to get wrong (XML Schema §3.2.6).
pub(super) fn iso_duration(duration: Duration) -> String {
    let mut text = format!("PT{}", duration.as_secs());
    if duration.subsec_nanos() > 0 {
        let fraction = format!("{:09}", duration.subsec_nanos());
        text.push('.');
        text.push_str(fraction.trim_end_matches('0'));
    }
    text.push('S');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact() {
        for (duration, want) in [
            (Duration::ZERO, "PT0S"),
            (Duration::from_secs(7_200), "PT7200S"),
            (Duration::from_millis(5_500), "PT5.5S"),
            (Duration::new(5, 1), "PT5.000000001S"),
        ] {
            assert_eq!(iso_duration(duration), want);
        }
    }
}
