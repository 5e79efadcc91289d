//! CMAF headers and segments: extents of the stored track file.
