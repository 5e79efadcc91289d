//! Manifests and segments of assets.
/// One rendered manifest, in plain and compressed form, with its ETag.
pub struct Manifest {}
