//! Key frames by themselves: what trick play shows (RFC 8216bis §4.4.3.6). Each is a transport stream of its own with its
//! tables in front, so a player may load any of them, in any order. Ranges of the segments would not do: where a key frame
//! lies in one is known when all that goes before it has been muxed, and not from the index.

use crate::base::{Extent, Ticks};
use crate::media::TrackView;
use crate::package::hls;
use crate::package::key_frame::{self, KeyFrame, has_trick_play, key_frame_at};

use super::url::push_key_frame;
use super::{Carriage, carriage, size};

/// The I-frame playlist of a video track; links are relative to `ts/{version}/`. `None`: it is not carried, or no video.
pub fn media_key_frames(view: &TrackView<'_>) -> Option<String> {
    let track = view.track.id.as_str();
    let link = |out: &mut String, time| push_key_frame(out, track, time);
    (carriage(view.track)? == Carriage::Video).then(|| hls::key_frame_playlist(view, None, link))
}

/// What the multivariant playlist says of it.
pub(super) fn push_stream(out: &mut String, view: &TrackView<'_>, sets: u64, link: &str) {
    if has_trick_play(*view) {
        let rate = key_frame::rate(*view, |frame| size::key_frame(frame.fragment.key_frame_size.get(), sets));
        hls::push_key_frame_stream(out, view.track, rate.peak, Some(rate.average), link);
    }
}

/// The one of that name, and where it lies.
pub(super) fn find<'a>(view: TrackView<'a>, time: Ticks) -> Option<(KeyFrame<'a>, Extent)> {
    let frame = key_frame_at(view, time).filter(|_| carriage(view.track) == Some(Carriage::Video))?;
    let start = frame.fragment.offset.get().saturating_add(u64::from(frame.fragment.media_offset.get()));
    let end = start.saturating_add(u64::from(frame.fragment.key_frame_size.get()));
    Some((frame, view.extent_of(frame.fragment.file.get(), start..end)))
}

/// Whether there is one of that name, before anything of it is read.
pub fn has_key_frame(view: &TrackView<'_>, time: Ticks) -> bool {
    find(*view, time).is_some()
}
