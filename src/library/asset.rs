//! An open asset: its index mapped, its track files open.

use crate::media::{Presentation, TrackView};

/// Immutable; whoever holds it can serve it, whatever happens to the catalog meanwhile.
pub struct Asset {
    _fields: (),
}

impl Asset {
    pub fn presentation(&self) -> Presentation<'_> {
        todo!()
    }

    /// The track of this id, without building a [`Presentation`].
    pub fn track(&self, id: &str) -> Option<TrackView<'_>> {
        let _ = id;
        todo!()
    }

    /// When the version was published, in seconds since 1970: `Last-Modified`.
    pub fn published(&self) -> u64 {
        todo!()
    }
}
