//! I-frame playlists (RFC 8216bis §4.4.3.6, §4.4.6.3).

use crate::base::Ticks;
use crate::media::broadcast::{Broadcast, BroadcastTrack};
use crate::media::{Kind, Presentation, Track, TrackView};
use crate::package::key_frame::{self, KeyFrame, has_trick_play, key_frames};
use crate::package::live_url::{self, Stretch};
use crate::package::{Links, live_timeline, timeline, url};

use super::VERSION;
use super::attributes::Attributes;
use super::media::push_seconds;
use super::multivariant::push_resolution;
use super::whole::{Content, Listed, Whole, whole_playlist};

/// Of a video track. Its links are relative to `{version}/`.
pub fn media_key_frames(view: &TrackView<'_>) -> String {
    let track = view.track.id.as_str();
    key_frame_playlist(view, Some(&url::init(track)), |out, time| url::push_key_frame(out, track, time))
}

/// `map`: where the initialisation section is, if it is not in each segment; `push_link` takes the time that names a key
/// frame.
pub(in crate::package) fn key_frame_playlist(
    view: &TrackView<'_>,
    map: Option<&str>,
    push_link: impl Fn(&mut String, Ticks),
) -> String {
    // Borders are rounded by themselves, so that errors never add up; the first entry begins with the presentation.
    let mut at = 0;
    let entries: Vec<(u64, Ticks)> = key_frames(*view)
        .map(|frame| {
            let end = timeline::presented(*view, frame.end()).max(at);
            let micros = end - at;
            at = end;
            (micros, frame.time)
        })
        .collect();
    let longest = entries.iter().map(|entry| entry.0).max().unwrap_or(0);
    let mut out = String::with_capacity(256 + entries.len() * 48);
    out.push_str("#EXTM3U\n#EXT-X-VERSION:");
    out.push_str(VERSION);
    out.push_str("\n#EXT-X-TARGETDURATION:");
    out.push_str(itoa::Buffer::new().format(timeline::target_seconds(longest)));
    out.push_str("\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-I-FRAMES-ONLY\n");
    if let Some(map) = map {
        let mut line = Attributes::new(&mut out, "#EXT-X-MAP");
        line.quoted("URI", map);
        line.end();
    }
    for (micros, time) in entries {
        out.push_str("#EXTINF:");
        push_seconds(&mut out, micros);
        out.push_str(",\n");
        push_link(&mut out, time);
        out.push('\n');
    }
    out.push_str("#EXT-X-ENDLIST\n");
    out
}

/// One line for each video track.
pub(super) fn push_streams(out: &mut String, presentation: &Presentation<'_>, links: &Links) {
    for view in presentation.of_kind(Kind::Video).filter(|view| has_trick_play(*view)) {
        let rate = key_frame::rate(view, KeyFrame::bytes);
        push_key_frame_stream(
            out,
            view.track,
            rate.peak,
            Some(rate.average),
            &links.key_frame_playlist(presentation.version, &view.track.id),
        );
    }
}

/// The I-frame playlist of a channel's video track; its links are relative to `/live/{channel}/`. An entry for each segment,
/// with the same number, time and length as in the track's other playlists: what has no key frame at its start is a gap.
pub fn live_media_key_frames(broadcast: &Broadcast<'_>, live: &BroadcastTrack<'_>, which: &Whole) -> String {
    let track = live.track.id.as_str();
    live_key_frame_playlist(broadcast, live, which, Some(track), |out, number| {
        live_url::push_key_frame(out, track, number);
    })
}

/// `maps_of`: see [`Content::KeyFrames`]; `push_link` takes the number of the segment.
pub(in crate::package) fn live_key_frame_playlist(
    broadcast: &Broadcast<'_>,
    live: &BroadcastTrack<'_>,
    which: &Whole,
    maps_of: Option<&str>,
    push_link: impl Fn(&mut String, u64),
) -> String {
    let listed = live_timeline::entries(broadcast, live, broadcast.first).map(|entry| Listed {
        discontinuities: entry.discontinuities,
        is_gap: !entry.segment.is_some_and(|segment| segment.is_independent),
        entry,
    });
    // A gap at the start is of the same format as what comes after it.
    let init = live.segments(broadcast.first).next().map(|segment| segment.init);
    whole_playlist(broadcast, which, Content::KeyFrames { maps_of }, init, listed, push_link)
}

/// One line for each video track of a channel.
pub(super) fn push_live_streams(out: &mut String, broadcast: &Broadcast<'_>, stretch: Stretch) {
    for live in broadcast.of_kind(Kind::Video) {
        if let Some(peak) = key_frame::live_peak(broadcast, live, key_frame::sent_bytes) {
            push_key_frame_stream(out, live.track, peak, None, &live_url::key_frame_playlist(&live.track.id, stretch));
        }
    }
}

/// In bits per second.
pub(in crate::package) fn push_key_frame_stream(
    out: &mut String,
    track: &Track,
    peak: u64,
    average: Option<u64>,
    link: &str,
) {
    let mut line = Attributes::new(out, "#EXT-X-I-FRAME-STREAM-INF");
    line.integer("BANDWIDTH", peak);
    if let Some(average) = average {
        line.integer("AVERAGE-BANDWIDTH", average);
    }
    line.quoted("CODECS", &track.codec);
    if let Some(video) = track.video() {
        push_resolution(&mut line, video);
    }
    line.quoted("URI", link);
    line.end();
}
