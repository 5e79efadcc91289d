//! HTTP Live Streaming (RFC 8216bis).

use crate::base::{Payload, Ticks};
use crate::media::{Presentation, TrackView};

pub fn multivariant(_: &Presentation<'_>) -> String {
    todo!()
}

pub fn media(_: &Presentation<'_>, _: &TrackView<'_>) -> String {
    todo!()
}

pub fn text_segment(_: &Presentation<'_>, _: &TrackView<'_>, _: Ticks) -> Option<Payload> {
    todo!()
}
