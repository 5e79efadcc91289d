//! CMAF headers and segments: extents of the stored track file.

use crate::base::Payload;
use crate::media::{Segment, TrackView};

/// The initialisation segment (ISO/IEC 23000-19 §7.3.1); empty for text, which has none.
pub fn init(view: &TrackView<'_>) -> Payload {
    Payload::from(view.extent(0..view.init_size))
}

/// One stored run: nothing is generated.
pub fn segment(view: &TrackView<'_>, segment: &Segment) -> Payload {
    Payload::from(view.extent_of(segment.file, segment.bytes.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::fixture::Fixture;

    #[test]
    fn header_and_segments_tile_the_track_file() {
        let fixture = Fixture::film(20);
        let presentation = fixture.presentation();
        for view in presentation.tracks.iter().filter(|view| !view.fragments.is_empty()) {
            let mut whole = init(view);
            assert_eq!(whole.len(), view.init_size);
            for part in view.segments() {
                for piece in segment(view, &part).pieces() {
                    whole.push(piece.clone());
                }
            }
            assert_eq!((whole.pieces().len(), whole.len()), (1, view.files[0].len()), "{}", view.track.id);
        }
    }
}
