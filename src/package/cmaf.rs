//! CMAF headers and segments: extents of the stored track file.

use crate::base::Payload;
use crate::media::{Segment, TrackView};

pub fn init(view: &TrackView<'_>) -> Payload {
    Payload::from(view.extent(0..view.init_size))
}

pub fn segment(view: &TrackView<'_>, segment: &Segment) -> Payload {
    Payload::from(view.extent(segment.bytes.clone()))
}
