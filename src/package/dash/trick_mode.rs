//! Trick mode: an AdaptationSet of key frames beside the one it is of (DASH-IF IOP part 5, §3.2.9).

use crate::media::{Presentation, TrackView};
use crate::package::key_frame::{self, KeyFrame, key_frames};
use crate::package::offer::Offer;
use crate::package::url;

use super::timeline::push_runs;
use super::{descriptor, switching_set};
use crate::package::xml::Xml;

const TRICK_MODE: &str = "http://dashif.org/guidelines/trickmode";

/// `main` is the id of the AdaptationSet whose key frames these are.
pub(super) fn push(
    xml: &mut Xml,
    presentation: &Presentation<'_>,
    id: usize,
    main: usize,
    offers: &[Offer<'_>],
    set: &[usize],
) {
    let views: Vec<(usize, TrackView<'_>)> = set.iter().map(|&at| (at, presentation.tracks[at])).collect();
    xml.open("AdaptationSet", |tag| {
        tag.integer("id", id).set("contentType", "video").set("mimeType", "video/mp4");
        tag.set("segmentAlignment", "true").integer("startWithSAP", 1).set("codingDependency", "false");
    });
    descriptor::push(xml, "EssentialProperty", TRICK_MODE, &main.to_string());
    for (at, view) in views {
        let offer = Offer { rate: key_frame::rate(view, KeyFrame::bytes), ..offers[at] };
        let content = |xml: &mut Xml| {
            xml.open("SegmentTemplate", |tag| {
                tag.integer("timescale", view.track.timescale.per_second());
                super::timeline::push_offset(tag, view);
                let version = presentation.version;
                tag.set("initialization", &url::versioned(version, &url::init(&view.track.id)));
                tag.set("media", &url::versioned(version, &url::key_frame_template(&view.track.id)));
            });
            push_runs(xml, key_frames(view).map(|frame| (frame.time.0.max(0) as u64, frame.duration.0.max(0) as u64)));
            xml.close("SegmentTemplate");
        };
        let name = format!("{}-key", view.track.id);
        switching_set::push_named(xml, &name, offer, Some(&view.track.codec), Some(&content));
    }
    xml.close("AdaptationSet");
}
