//! What was in the page cache a moment ago still is: hot segments are asked about once a tick and not once a request.

use std::cell::Cell;

use crate::base::Extent;

/// Stretches of files that were whole and in memory at some tick. A fixed table; newcomers push others out.
///
/// Being wrong costs little: the kernel drops what nobody used for long, so a worker waits for the disk where it should not
/// only if memory is so short that a segment just sent is gone.
pub(super) struct Warm(Vec<Cell<Option<Stretch>>>);

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stretch {
    /// Address of the file, which another may get later: see above.
    file: usize,
    offset: u64,
    len: u64,
    tick: u32,
}

impl Stretch {
    fn of(extent: &Extent, tick: u32) -> Stretch {
        let file = std::sync::Arc::as_ptr(&extent.file).cast::<()>() as usize;
        Stretch { file, offset: extent.offset, len: extent.len, tick }
    }
}

impl Default for Warm {
    fn default() -> Warm {
        Warm(vec![Cell::new(None); Self::STRETCHES])
    }
}

impl Warm {
    const STRETCHES: usize = 4096;

    fn place(&self, stretch: &Stretch) -> &Cell<Option<Stretch>> {
        // Fibonacci hashing: the high bits are the well mixed ones.
        let mixed = (stretch.file as u64 ^ stretch.offset.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        &self.0[(mixed >> 32) as usize % self.0.len()]
    }

    /// Whether exactly this was [`Warm::insert`]ed at the same tick.
    pub(super) fn contains(&self, extent: &Extent, tick: u32) -> bool {
        let stretch = Stretch::of(extent, tick);
        self.place(&stretch).get() == Some(stretch)
    }

    pub(super) fn insert(&self, extent: &Extent, tick: u32) {
        let stretch = Stretch::of(extent, tick);
        self.place(&stretch).set(Some(stretch));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Stored;
    use crate::sys::MappedFile;
    use std::path::Path;
    use std::sync::Arc;

    #[test]
    fn a_stretch_is_warm_for_its_tick() {
        let open = || Arc::new(MappedFile::open(Path::new("/dev/null")).unwrap());
        let (one, other): (Arc<dyn Stored>, Arc<dyn Stored>) = (open(), open());
        let extent = |file: &Arc<dyn Stored>, offset, len| Extent { file: file.clone(), offset, len };
        let warm = Warm::default();
        warm.insert(&extent(&one, 100, 50), 7);
        for (file, offset, len, tick, want) in [
            (&one, 100, 50, 7, true),
            (&one, 100, 50, 8, false),
            (&one, 100, 51, 7, false),
            (&one, 101, 50, 7, false),
            (&other, 100, 50, 7, false),
        ] {
            assert_eq!(warm.contains(&extent(file, offset, len), tick), want, "{offset} {len} {tick}");
        }
    }
}
