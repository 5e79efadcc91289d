//! WebVTT segments (RFC 8216bis §3.1.4).

use bytes::Bytes;

use crate::base::{Payload, Piece, Ticks};
use crate::media::presentation::boundary;
use crate::media::{Cue, Presentation, TrackView};

/// The media timeline starts at 0 in every track, so cue times need no shift.
const HEADER: &[u8] = b"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n";

/// The segment whose name is `time` (in ticks of the text track): every cue that shows at some instant of it, so a cue that
/// crosses a border is in both segments. The last segment also takes what comes after the end of the reference track.
/// `None`: no segment begins there.
pub fn text_segment(presentation: &Presentation<'_>, view: &TrackView<'_>, time: Ticks) -> Option<Payload> {
    let reference = presentation.reference()?;
    let scale = view.track.timescale;
    let start_of = |at: usize| boundary(reference, reference.fragments[at].decode_time(), scale);
    // Fragments shorter than a tick of the text track may share a boundary; only the first can begin a segment.
    let fragments = 0..reference.fragments.len();
    let at = reference.fragments.partition_point(|fragment| boundary(reference, fragment.decode_time(), scale) < time);
    let segment = (at..fragments.end)
        .take_while(|&at| start_of(at) == time)
        .find_map(|at| reference.segment_at(reference.fragments[at].decode_time()))?;
    let next = segment.fragments.end as usize;
    let end = if next < fragments.end { start_of(next) } else { Ticks(i64::MAX) };

    let mut payload = Payload::from(Bytes::from_static(HEADER));
    for cue in showing(view.cues, time.0 as u64, end.0 as u64) {
        let offset = u64::from(cue.offset.get());
        payload.push(Piece::Extent(view.extent(offset..offset + u64::from(cue.size.get()))));
    }
    Some(payload)
}

/// The cues that show at some instant of `start..end`; one without length shows at its start.
fn showing(cues: &[Cue], start: u64, end: u64) -> impl Iterator<Item = &Cue> {
    let first = cues.partition_point(|cue| cue.end_max.get() < start);
    let last = cues.partition_point(|cue| cue.start.get() < end);
    let cues = cues.get(first..last).unwrap_or_default();
    cues.iter().filter(move |cue| cue.end.get() > start || cue.start.get() == start)
}
