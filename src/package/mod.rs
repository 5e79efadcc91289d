//! Formats, described: manifests as text, segments as payloads. Nothing here knows where files are or how bytes move.

pub mod cmaf;
pub mod dash;
pub mod date;
pub mod filter;
#[doc(hidden)]
pub mod fixture;
pub mod hls;
pub mod key_frame;
pub mod links;
pub mod live_url;
pub mod mss;
pub mod progressive;
pub mod single;
pub mod text;
pub mod ts;
pub mod url;
pub mod wvtt;

pub use filter::{BadFilter, Filter};
pub use links::{Addressing, Links};
pub use offer::kept;
pub use thumbnails::thumbnail_map;

#[cfg(test)]
mod live_tests;
mod live_timeline;
mod name;
mod offer;
mod rate;
mod thumbnails;
mod timeline;
mod xml;

/// Raised whenever the same index would give different bytes under a versioned URL, so that no cache mixes old and new: it
/// is part of the URL version.
pub const REVISION: u32 = 1;

#[cfg(test)]
mod tests;
