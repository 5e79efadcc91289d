//! Key frames by themselves: what trick play shows. Each is a fragment of its own, with a `moof` that is made here and tells of
//! the one picture only: the stored one promises the samples behind it as well, and players would wait for them.

use bytes::Bytes;

use crate::base::{Extent, Payload, Piece, Ticks, Timescale};
use crate::media::broadcast::{Broadcast, BroadcastTrack, SegmentView};
use crate::media::fragment::Start;
use crate::media::isobmff::Chunk;
use crate::media::isobmff::write::fragment_header;
use crate::media::{Fragment, Sample, TrackView};

use super::rate::Rate;

/// Bytes of `moof` and of the header of `mdat`, at most.
const HEADER_BYTES: u64 = 112;

/// A key frame, shown until the next one is.
#[derive(Clone, Copy, Debug)]
pub struct KeyFrame<'a> {
    pub fragment: &'a Fragment,
    /// Counted from 0, in the view.
    pub number: u32,
    /// Decode time: its name.
    pub time: Ticks,
    pub duration: Ticks,
}

impl KeyFrame<'_> {
    /// As it is sent.
    pub fn bytes(&self) -> u64 {
        sent_bytes(self.fragment.key_frame_size.get())
    }

    pub fn end(&self) -> Ticks {
        Ticks(self.time.0.saturating_add(self.duration.0))
    }
}

/// A picture of so many bytes as it is sent.
pub(super) fn sent_bytes(size: u32) -> u64 {
    u64::from(size) + HEADER_BYTES
}

fn is_key(fragment: &Fragment) -> bool {
    fragment.start() != Start::Continued && fragment.key_frame_size.get() > 0
}

/// In order.
pub fn key_frames<'a>(view: TrackView<'a>) -> impl Iterator<Item = KeyFrame<'a>> {
    let mut rows = view.fragments.iter().filter(|row| is_key(row)).peekable();
    let last = view.fragments.last().map_or(Ticks(0), Fragment::decode_end);
    let mut number = 0;
    std::iter::from_fn(move || {
        let fragment = rows.next()?;
        let time = fragment.decode_time();
        let end = rows.peek().map_or(last, |next| next.decode_time());
        number += 1;
        Some(KeyFrame { fragment, number: number - 1, time, duration: Ticks(end.0.saturating_sub(time.0)) })
    })
}

/// Whether there is anything to skip through: one picture is not.
pub fn has_trick_play(view: TrackView<'_>) -> bool {
    key_frames(view).nth(1).is_some()
}

/// The one whose fragment begins at `time`.
pub fn key_frame_at<'a>(view: TrackView<'a>, time: Ticks) -> Option<KeyFrame<'a>> {
    let at = view.fragments.binary_search_by_key(&time, Fragment::decode_time).ok()?;
    let fragment = view.fragments.get(at).filter(|row| is_key(row))?;
    let next = view.fragments[at + 1..].iter().find(|row| is_key(row)).map(Fragment::decode_time);
    let end = next.or_else(|| view.fragments.last().map(Fragment::decode_end))?;
    Some(KeyFrame { fragment, number: at as u32, time, duration: Ticks(end.0.saturating_sub(time.0)) })
}

/// The `moof` in front of the picture, and the header of its `mdat`. Reads one row of the sample table, the fragment's first.
pub fn head(view: &TrackView<'_>, frame: &KeyFrame<'_>) -> Option<Bytes> {
    let first = view.samples.get(frame.fragment.first_sample.get() as usize)?;
    let duration = u32::try_from(frame.duration.0).unwrap_or(u32::MAX);
    let offset = view.stored_offset(first);
    let sample = Sample {
        size: frame.fragment.key_frame_size,
        duration: duration.into(),
        composition_offset: offset.into(),
        ..*first
    };
    let mut out = Vec::new();
    fragment_header(frame.number.wrapping_add(1), frame.time.0.max(0) as u64, &[sample], &mut out).ok()?;
    Some(Bytes::from(out))
}

/// What [`head`] made, and the picture as it is stored.
pub fn segment(view: &TrackView<'_>, frame: &KeyFrame<'_>, head: Bytes) -> Payload {
    let mut payload = Payload::from(head);
    let start = frame.fragment.offset.get() + u64::from(frame.fragment.media_offset.get());
    let end = start + u64::from(frame.fragment.key_frame_size.get());
    payload.push(Piece::Extent(view.extent_of(frame.fragment.file.get(), start..end)));
    payload
}

/// What showing all of them in their time needs, where one is so many bytes.
pub(super) fn rate<'a>(view: TrackView<'a>, size: impl Fn(&KeyFrame<'a>) -> u64) -> Rate {
    let scale = view.track.timescale;
    let (mut peak, mut bytes, mut ticks) = (0, 0, 0);
    for frame in key_frames(view) {
        let size = size(&frame);
        peak = bit_rate(size, frame.duration, scale).max(peak);
        (bytes, ticks) = (bytes + size, ticks + frame.duration.0);
    }
    Rate { peak, average: bit_rate(bytes, Ticks(ticks), scale) }
}

fn bit_rate(bytes: u64, duration: Ticks, scale: Timescale) -> u64 {
    let scaled = u128::from(bytes) * 8 * u128::from(scale.per_second());
    u64::try_from(scaled.div_ceil(duration.0.max(1) as u128)).unwrap_or(u64::MAX)
}

/// The most that showing those of a channel needs, at the usual distance of one from the next; `size` as it is sent, from the
/// size of the picture. `None`: there are not two of them in the window, so there is nothing to skip through.
pub(super) fn live_peak(
    broadcast: &Broadcast<'_>,
    live: &BroadcastTrack<'_>,
    size: impl Fn(u32) -> u64,
) -> Option<u64> {
    // Whatever else of the track is there already: it is the same on every server that has come so far.
    let listed = live.segments(broadcast.first).take_while(|segment| segment.number < broadcast.next);
    listed.filter(|segment| segment.is_complete && segment.is_independent).nth(1)?;
    Some(match live.key_frame_size {
        // They are parts of the segments that they begin.
        0 => live.rate.peak.max(live.rate.average),
        bytes => bit_rate(size(bytes), broadcast.grid.slot, broadcast.grid.timescale),
    })
}

/// The key frame that a complete segment of a channel begins with, for as long as the segment lasts. `stored`: the segment, mapped;
/// the header of its first chunk is read. `None`: it is not what was written.
pub fn live_fragment(segment: &SegmentView<'_>, stored: &Extent) -> Option<Payload> {
    let media = stored.file.mapped()?.get(usize::try_from(stored.offset).ok()?..usize::try_from(stored.end()).ok()?)?;
    let chunk = Chunk::read(media, 0).ok()?;
    let first = chunk.samples().next()?;
    let sample = Sample { duration: u32::try_from(segment.duration.0).unwrap_or(u32::MAX).into(), ..first };
    let mut out = Vec::new();
    fragment_header(segment.number as u32, chunk.time.0.max(0) as u64, &[sample], &mut out).ok()?;
    let mut payload = Payload::from(Bytes::from(out));
    payload.push(Piece::Extent(Extent {
        file: stored.file.clone(),
        offset: stored.offset + u64::from(chunk.media_offset),
        len: u64::from(first.size.get()),
    }));
    Some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::fixture::{Fixture, row};

    #[test]
    fn a_key_frame_is_a_fragment_until_the_next() {
        let mut rows =
            vec![row(0, 0, 90, 1_000), row(0, 90, 90, 1_000), row(1, 200, 90, 1_000), row(2, 290, 80, 1_000)];
        rows[1].start = (Start::Continued as u32).into();
        for (at, row) in rows.iter_mut().enumerate() {
            row.first_sample = (at as u32).into();
        }
        let mut fixture = Fixture::default().with_video("v1", rows).with_cuts(vec![0, 1, 2]);
        let sample =
            Sample { size: 900.into(), duration: 90.into(), composition_offset: 7.into(), flags: 0x0200_0000.into() };
        fixture.tracks[0].samples = vec![sample; 4];
        let view = fixture.presentation().tracks[0];
        let found: Vec<_> = key_frames(view).map(|frame| (frame.time.0, frame.duration.0)).collect();
        // With the hole, and what goes on after the frame.
        assert_eq!(found, [(0, 200), (200, 90), (290, 80)]);
        for frame in key_frames(view) {
            let same = key_frame_at(view, frame.time).unwrap();
            assert_eq!((same.time, same.duration), (frame.time, frame.duration));
            let payload = segment(&view, &frame, head(&view, &frame).unwrap());
            let [Piece::Inline(head), Piece::Extent(extent)] = payload.pieces() else { panic!("{payload:?}") };
            let mut rest = &head[..];
            let moof = <mp4_atom::Moof as mp4_atom::ReadFrom>::read_from(&mut rest).unwrap();
            let traf = &moof.traf[0];
            assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, frame.time.0 as u64);
            let samples: Vec<_> = traf.trun[0].samples.iter().collect();
            assert_eq!((samples.len(), samples[0].cts), (1, Some(7)));
            assert_eq!(traf.tfhd.default_sample_duration, Some(frame.duration.0 as u32));
            assert_eq!((extent.offset, extent.len), (frame.fragment.offset.get() + 100, 200));
            assert!(payload.len() <= frame.bytes());
        }
        assert!(key_frame_at(view, Ticks(90)).is_none() && key_frame_at(view, Ticks(1)).is_none());
        // The last, of 200 bytes and a header, has the least time; all together have 370 ticks.
        let want =
            Rate { peak: (312_u64 * 8 * 90_000).div_ceil(80), average: (3_u64 * 312 * 8 * 90_000).div_ceil(370) };
        assert_eq!(rate(view, |frame| frame.bytes()), want);
    }

    #[test]
    fn a_key_frame_of_a_channel_lasts_as_long_as_its_segment() {
        let sample = |size: u32, flags: u32, offset: i32| Sample {
            size: size.into(),
            duration: 512.into(),
            composition_offset: offset.into(),
            flags: flags.into(),
        };
        let mut chunk = Vec::new();
        let samples = [sample(700, 0x0200_0000, 1_024), sample(90, 0x0101_0000, 512), sample(80, 0x0101_0000, 0)];
        fragment_header(9, 25_600, &samples, &mut chunk).unwrap();
        let media_offset = chunk.len() as u64;
        chunk.extend([7; 870]);
        let (header, whole) = (vec![1; 40], chunk.len());
        let segment = SegmentView {
            number: (1 << 33) + 7,
            init: "init",
            time: Ticks(25_600),
            duration: Ticks(25_600),
            discontinuities: 0,
            is_independent: true,
            key_frame_size: 700,
            is_complete: true,
            size: whole as u64,
            parts: &[],
        };
        let extent = |bytes: Vec<u8>| {
            let file = crate::media::fixture::memory([header.clone(), bytes].concat());
            Extent { file, offset: 40, len: whole as u64 }
        };
        let payload = live_fragment(&segment, &extent(chunk.clone())).unwrap();
        let [Piece::Inline(head), Piece::Extent(picture)] = payload.pieces() else { panic!("{payload:?}") };
        assert_eq!((picture.offset, picture.len), (40 + media_offset, 700));
        let mut rest = &head[..];
        let moof = <mp4_atom::Moof as mp4_atom::ReadFrom>::read_from(&mut rest).unwrap();
        let traf = &moof.traf[0];
        assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, 25_600);
        assert_eq!((traf.tfhd.default_sample_duration, traf.tfhd.default_sample_size), (Some(25_600), Some(700)));
        let rows: Vec<_> = traf.trun[0].samples.iter().collect();
        assert_eq!((rows.len(), rows[0].cts), (1, Some(1_024)));
        assert!(payload.len() <= sent_bytes(700));
        // Cut off, it reads as zeros.
        for len in [0, 20, media_offset as usize - 4] {
            let cut = [&chunk[..len], &vec![0; whole - len]].concat();
            assert!(live_fragment(&segment, &extent(cut)).is_none(), "{len}");
        }
    }
}
