//! Media playlists, and the segments of text that they name.

use crate::base::{Payload, Ticks};
use crate::media::presentation::boundary;
use crate::media::{Presentation, TrackView};
use crate::package::hls::{self, VERSION, VERSION_WITH_GAPS};
use crate::package::timeline;

use super::entries::{Entry, entries};
use super::url::{Rendition, push_segment};
use super::{Carriage, carriage};

/// The time stamp of presentation time 0 is that of the transport streams: [`crate::media::mpegts::mux::OFFSET`].
const TEXT_HEADER: &[u8] = b"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\n\n";
const _: () = assert!(crate::media::mpegts::mux::OFFSET == 900_000);

/// The media playlist of a track, or of pictures and sound in one. Entries, durations and names as in [`hls::media`]; links
/// are relative to `ts/{version}/`. `None`: transport streams do not carry it.
pub fn media(presentation: &Presentation<'_>, rendition: Rendition<'_>) -> Option<String> {
    let view = presentation.track(rendition.track)?;
    let sound = match rendition.sound {
        Some(id) => Some(presentation.track(id)?),
        None => None,
    };
    let listed = match (carriage(view.track)?, sound.map(|sound| carriage(sound.track))) {
        (Carriage::Video, None | Some(Some(Carriage::Audio(_)))) => entries(presentation, view, sound).collect(),
        (Carriage::Audio(_), None) => alone(presentation, view),
        (Carriage::Text, None) => text(presentation, view),
        _ => return None,
    };
    let extension = match carriage(view.track)? {
        Carriage::Video => "ts",
        Carriage::Audio(packing) => packing.extension(),
        Carriage::Text => "vtt",
    };
    let is_text = extension == "vtt";
    let has_gaps = listed.iter().any(Entry::is_gap);
    let mut out = String::with_capacity(256 + listed.len() * 64);
    out.push_str("#EXTM3U\n#EXT-X-VERSION:");
    out.push_str(if has_gaps { VERSION_WITH_GAPS } else { VERSION });
    out.push_str("\n#EXT-X-TARGETDURATION:");
    out.push_str(itoa::Buffer::new().format(timeline::target_seconds(timeline::longest(presentation))));
    out.push_str("\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n");
    if is_text || timeline::is_independent(view) {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    for entry in &listed {
        out.push_str("#EXTINF:");
        hls::push_seconds(&mut out, entry.micros());
        out.push_str(",\n");
        if entry.is_gap() {
            out.push_str("#EXT-X-GAP\n");
        }
        push_segment(&mut out, rendition, entry.time, extension);
        out.push('\n');
    }
    out.push_str("#EXT-X-ENDLIST\n");
    Some(out)
}

fn alone(presentation: &Presentation<'_>, view: TrackView<'_>) -> Vec<Entry> {
    let spans = timeline::spans(presentation, view);
    spans
        .map(|span| Entry { start: span.start, end: span.end, time: span.time, video: None, audio: span.segment })
        .collect()
}

/// Text is cut where the reference is.
fn text(presentation: &Presentation<'_>, view: TrackView<'_>) -> Vec<Entry> {
    let Some(reference) = presentation.reference() else { return Vec::new() };
    let mut listed = alone(presentation, view);
    for entry in &mut listed {
        entry.time = boundary(reference, entry.time, view.track.timescale);
    }
    listed
}

/// As [`hls::text_segment`], on the clock of the transport streams.
pub fn text_segment(presentation: &Presentation<'_>, view: &TrackView<'_>, time: Ticks) -> Option<Payload> {
    hls::text_segment_headed(presentation, view, time, TEXT_HEADER)
}
