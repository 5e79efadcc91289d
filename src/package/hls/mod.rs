//! HTTP Live Streaming (draft-pantos-hls-rfc8216bis, "RFC 8216bis" in comments).

mod attributes;
mod key_frames;
mod live;
mod marks;
mod media;
mod multivariant;
mod rendition;
#[doc(hidden)]
pub mod rules;
mod text;
mod thumbnails;

pub use key_frames::media_key_frames;
pub use live::{Live, advance_part_limit, can_skip, live_media};
pub(super) use media::push_seconds;
pub use media::{media, media_single};
pub(super) use multivariant::{Sound, sound, transport_multivariant};
pub use multivariant::{live_multivariant, multivariant};
pub use text::text_segment;
pub(super) use text::text_segment_headed;
pub use thumbnails::media_thumbnails;
pub(super) use thumbnails::push_thumbnail_stream;

/// What fMP4 without I-frame playlists takes: EXT-X-MAP and a target duration that is rounded, not the maximum
/// (RFC 8216bis §8). Nothing the multivariant playlist uses asks for more.
pub(super) const VERSION: &str = "6";
/// EXT-X-GAP came with version 8.
pub(super) const VERSION_WITH_GAPS: &str = "8";
/// EXT-X-SKIP came with version 9.
const VERSION_WITH_SKIP: &str = "9";
