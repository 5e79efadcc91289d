//! HTTP Live Streaming (draft-pantos-hls-rfc8216bis, "RFC 8216bis" in comments).

mod attributes;
mod key_frames;
mod live;
mod live_text;
mod marks;
mod media;
mod multivariant;
mod rendition;
#[doc(hidden)]
pub mod rules;
mod text;
mod thumbnails;
mod whole;

pub(super) use key_frames::{key_frame_playlist, live_key_frame_playlist, push_key_frame_stream};
pub use key_frames::{live_media_key_frames, media_key_frames};
pub use live::{Live, advance_part_limit, can_skip, live_media};
pub use live_text::{is_webvtt, live_text_gap, live_text_segment};
pub(super) use media::push_seconds;
pub use media::{media, media_single};
pub(super) use multivariant::{Sound, live_transport_multivariant, sound, transport_multivariant};
pub use multivariant::{live_multivariant, multivariant};
pub use text::text_segment;
pub(super) use text::text_segment_headed;
pub use thumbnails::media_thumbnails;
pub(super) use thumbnails::push_thumbnail_stream;
pub use whole::Whole;
pub(super) use whole::{Content, Listed, whole_playlist};

/// What fMP4 without I-frame playlists takes: EXT-X-MAP and a target duration that is rounded, not the maximum
/// (RFC 8216bis §8). Of what the multivariant playlist uses, only services of CEA-708 ask for more.
pub(super) const VERSION: &str = "6";
/// INSTREAM-ID knows services from version 7 on.
const VERSION_WITH_SERVICES: &str = "7";
/// EXT-X-GAP came with version 8.
pub(super) const VERSION_WITH_GAPS: &str = "8";
/// EXT-X-SKIP came with version 9.
const VERSION_WITH_SKIP: &str = "9";
