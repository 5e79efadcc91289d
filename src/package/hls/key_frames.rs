//! I-frame playlists (RFC 8216bis §4.4.3.6, §4.4.6.3).

use crate::media::{Kind, Presentation, TrackView};
use crate::package::key_frame::{self, has_trick_play, key_frames};
use crate::package::{Links, timeline, url};

use super::VERSION;
use super::attributes::Attributes;
use super::media::push_seconds;
use super::multivariant::push_resolution;

/// Of a video track. Its links are relative to `{version}/`.
pub fn media_key_frames(view: &TrackView<'_>) -> String {
    let track = view.track.id.as_str();
    // Borders are rounded by themselves, so that errors never add up; the first entry begins with the presentation.
    let mut at = 0;
    let entries: Vec<(u64, crate::base::Ticks)> = key_frames(*view)
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
    let mut map = Attributes::new(&mut out, "#EXT-X-MAP");
    map.quoted("URI", &url::init(track));
    map.end();
    for (micros, time) in entries {
        out.push_str("#EXTINF:");
        push_seconds(&mut out, micros);
        out.push_str(",\n");
        url::push_key_frame(&mut out, track, time);
        out.push('\n');
    }
    out.push_str("#EXT-X-ENDLIST\n");
    out
}

/// One line for each video track.
pub(super) fn push_streams(out: &mut String, presentation: &Presentation<'_>, links: &Links) {
    for view in presentation.of_kind(Kind::Video).filter(|view| has_trick_play(*view)) {
        let rate = key_frame::rate(view);
        let mut line = Attributes::new(out, "#EXT-X-I-FRAME-STREAM-INF");
        line.integer("BANDWIDTH", rate.peak);
        line.integer("AVERAGE-BANDWIDTH", rate.average);
        line.quoted("CODECS", &view.track.codec);
        if let Some(video) = view.track.video() {
            push_resolution(&mut line, video);
        }
        line.quoted("URI", &links.key_frame_playlist(presentation.version, &view.track.id));
        line.end();
    }
}
