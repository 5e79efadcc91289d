//! I-frame playlists (RFC 8216bis §4.4.3.6, §4.4.6.3).

use crate::base::Ticks;
use crate::media::{Kind, Presentation, TrackView};
use crate::package::key_frame::{self, KeyFrame, has_trick_play, key_frames};
use crate::package::rate::Rate;
use crate::package::{Links, timeline, url};

use super::VERSION;
use super::attributes::Attributes;
use super::media::push_seconds;
use super::multivariant::push_resolution;

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
        push_key_frame_stream(out, &view, rate, &links.key_frame_playlist(presentation.version, &view.track.id));
    }
}

pub(in crate::package) fn push_key_frame_stream(out: &mut String, view: &TrackView<'_>, rate: Rate, link: &str) {
    let mut line = Attributes::new(out, "#EXT-X-I-FRAME-STREAM-INF");
    line.integer("BANDWIDTH", rate.peak);
    line.integer("AVERAGE-BANDWIDTH", rate.average);
    line.quoted("CODECS", &view.track.codec);
    if let Some(video) = view.track.video() {
        push_resolution(&mut line, video);
    }
    line.quoted("URI", link);
    line.end();
}
