//! Formats, described: manifests as text, segments as payloads. Nothing here knows where files are or how bytes move.

pub mod cmaf;
pub mod dash;
pub mod hls;
pub mod url;
