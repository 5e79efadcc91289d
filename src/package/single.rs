//! A track as one file: header, index of its segments, media (the DASH on-demand profile, ISO/IEC 23009-1 §8.3).
//!
//! The file is nowhere stored as such: only the index is made, and stands between extents of the stored file.

use bytes::Bytes;

use crate::base::{Payload, Piece};
use crate::media::fragment::Start;
use crate::media::isobmff::write::{Reference, segment_index, segment_index_len};
use crate::media::{Segment, TrackView};

/// What one reference of the index covers: a segment, or some where there are more than an index can tell of.
fn stride(segments: usize) -> usize {
    segments.div_ceil(usize::from(u16::MAX)).max(1)
}

/// Where the index lies in the file.
pub fn index_range(view: TrackView<'_>) -> std::ops::Range<u64> {
    let segments = view.segments().count();
    let rows = segments.div_ceil(stride(segments));
    view.init_size..view.init_size + segment_index_len(rows)
}

/// The whole file; `None` if some stretch of it is too long for an index (2 GiB, or 2^32 ticks).
pub fn file(view: TrackView<'_>) -> Option<Payload> {
    let mut payload = Payload::from(view.extent(0..view.init_size));
    payload.push(Piece::Inline(Bytes::from(index(view)?)));
    for segment in view.segments() {
        payload.push(Piece::Extent(view.extent_of(segment.file, segment.bytes)));
    }
    Some(payload)
}

/// Segments in order, each with where it begins in the file.
pub fn positions<'a>(view: TrackView<'a>) -> impl Iterator<Item = (u64, Segment)> + 'a {
    let mut at = index_range(view).end;
    view.segments().map(move |segment| {
        let start = at;
        at += segment.bytes.end - segment.bytes.start;
        (start, segment)
    })
}

/// `sidx` (ISO/IEC 14496-12 §8.16.3). Times are decode times, as in the names of segments (see `dash::timeline`); a hole
/// belongs to what is before it, as references follow each other without any.
fn index(view: TrackView<'_>) -> Option<Vec<u8>> {
    let segments: Vec<Segment> = view.segments().collect();
    let first = segments.first()?;
    let mut references = Vec::with_capacity(segments.len());
    let stride = stride(segments.len());
    for (at, run) in segments.chunks(stride).enumerate() {
        let (head, last) = (&run[0], &run[run.len() - 1]);
        let next = segments.get((at + 1) * stride);
        let end = next.map_or(last.time.0.saturating_add(last.duration.0), |next| next.time.0);
        let bytes = run.iter().map(|segment| segment.bytes.end - segment.bytes.start).sum::<u64>();
        references.push(Reference {
            bytes: u32::try_from(bytes).ok().filter(|bytes| bytes >> 31 == 0)?,
            duration: u32::try_from(end.saturating_sub(head.time.0)).ok()?,
            // §8.16.3.3: of the first access point, at the very start.
            access_point: if head.start == Start::Open { 3 } else { 1 },
        });
    }
    let mut out = Vec::with_capacity(segment_index_len(references.len()) as usize);
    segment_index(view.track.timescale, first.time.0.max(0) as u64, &references, &mut out);
    Some(out)
}

#[cfg(test)]
mod tests {
    use mp4_atom::{ReadFrom, Sidx};

    use super::*;
    use crate::media::fixture::{Fixture, row};

    #[test]
    fn the_index_tells_where_segments_are() {
        let fixture = Fixture::film(20);
        for view in fixture.presentation().tracks.iter().filter(|view| !view.fragments.is_empty()) {
            let payload = file(*view).unwrap();
            let [Piece::Extent(header), Piece::Inline(index), Piece::Extent(media)] = payload.pieces() else {
                panic!("{payload:?}");
            };
            assert_eq!((header.offset, header.len, media.offset), (0, view.init_size, view.init_size));
            assert_eq!(index_range(*view), view.init_size..view.init_size + index.len() as u64);
            let sidx = Sidx::read_from(&mut &index[..]).unwrap();
            assert_eq!((sidx.timescale, sidx.first_offset), (view.track.timescale.per_second(), 0));
            let mut at = index_range(*view).end;
            for (row, (position, segment)) in sidx.references.iter().zip(positions(*view)) {
                assert_eq!(position, at, "{}", view.track.id);
                assert_eq!(u64::from(row.subsegment_duration), segment.duration.0 as u64);
                assert!(row.starts_with_sap && row.sap_type == 1 && !row.reference_type);
                at += u64::from(row.referenced_size);
            }
            assert_eq!((at, sidx.references.len()), (payload.len(), view.segments().count()));
        }
    }

    #[test]
    fn holes_belong_to_what_is_before_them() {
        let rows = vec![row(0, 0, 90_000, 1_000), row(2, 180_000, 90_000, 1_000)];
        let fixture = Fixture::default().with_video("v1", rows).with_cuts(vec![0, 1, 2]);
        let bytes = index(fixture.presentation().tracks[0]).unwrap();
        let sidx = Sidx::read_from(&mut bytes.as_slice()).unwrap();
        assert_eq!(sidx.references.iter().map(|row| row.subsegment_duration).collect::<Vec<_>>(), [180_000, 90_000]);
    }

    #[test]
    fn more_segments_than_an_index_holds_are_taken_together() {
        let rows: Vec<_> = (0..150_000).map(|at| row(at, u64::from(at) * 90, 90, 100)).collect();
        let fixture = Fixture::default().with_video("v1", rows).with_cuts((0..150_000).collect());
        let view = fixture.presentation().tracks[0];
        let sidx = Sidx::read_from(&mut index(view).unwrap().as_slice()).unwrap();
        assert_eq!(sidx.references.len(), 50_000);
        assert_eq!(index_range(view).end, positions(view).next().unwrap().0);
    }
}
