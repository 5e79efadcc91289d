//! What is asked of a channel.

use std::sync::Arc;

use crate::base::{Extent, Watch};
use crate::live::{Located, Snapshot, TimeRange};
use crate::media::broadcast::{Broadcast, SegmentView};
use crate::sys::residency;

/// What is asked of a channel here.
pub trait Source {
    fn broadcast(&self, range: Option<TimeRange>) -> Option<Broadcast<'_>>;

    /// The live edge, of which everybody asks: [`Source::broadcast`] of everything, and its fingerprint. Runs may be missing
    /// where the tail tells how far the track has come.
    fn edge(&self) -> Option<(Broadcast<'_>, u64)>;

    fn init(&self, track: &str, name: &str) -> Option<Extent>;

    /// The CMAF header that a segment is decoded with; where the track has none of that number, of one beside it.
    fn header(&self, track: &str, number: u64) -> Option<Extent>;

    fn segment(&self, track: &str, number: u64) -> Located;

    /// What is known of a segment. `None`: the track has none of that number.
    fn described(&self, track: &str, number: u64) -> Option<SegmentView<'_>>;

    fn part(&self, track: &str, number: u64, part: u32) -> Located;

    fn watch(&self, track: &str) -> Option<&Arc<Watch>>;

    /// Whether a stretch of one of its files can be read without waiting for the disk: a system call.
    fn is_resident(&self, extent: &Extent) -> bool;

    /// EXT-X-CUE-OUT and EXT-X-CUE-IN beside EXT-X-DATERANGE.
    fn cue_tags(&self) -> bool;
}

impl Source for Snapshot {
    fn broadcast(&self, range: Option<TimeRange>) -> Option<Broadcast<'_>> {
        Snapshot::broadcast(self, range)
    }

    fn edge(&self) -> Option<(Broadcast<'_>, u64)> {
        Snapshot::edge(self)
    }

    fn init(&self, track: &str, name: &str) -> Option<Extent> {
        Snapshot::init(self, track, name)
    }

    fn header(&self, track: &str, number: u64) -> Option<Extent> {
        Snapshot::header(self, track, number)
    }

    fn segment(&self, track: &str, number: u64) -> Located {
        Snapshot::segment(self, track, number)
    }

    fn described(&self, track: &str, number: u64) -> Option<SegmentView<'_>> {
        Snapshot::described(self, track, number)
    }

    fn part(&self, track: &str, number: u64, part: u32) -> Located {
        Snapshot::part(self, track, number, part)
    }

    fn is_resident(&self, extent: &Extent) -> bool {
        residency::is_resident(extent.file.fd(), extent.offset, extent.len)
    }

    fn watch(&self, track: &str) -> Option<&Arc<Watch>> {
        Snapshot::watch(self, track)
    }

    fn cue_tags(&self) -> bool {
        Snapshot::cue_tags(self)
    }
}
