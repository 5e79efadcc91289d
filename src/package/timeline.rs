//! Where the segments of a track lie on the presentation timeline: what EXTINF, gaps and bit rates are computed from.

use crate::base::{Ticks, Timescale};
use crate::media::fragment::Start;
use crate::media::{Presentation, Segment, TrackView};

/// One entry of a track's playlist. Entries follow each other without holes from presentation time 0, one for each segment
/// number up to the track's last, so that entries of one number lie side by side in all renditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// In microseconds of presentation time. Each border is rounded by itself and used for both its neighbours, so rounding
    /// errors never add up.
    pub start: u64,
    pub end: u64,
    /// `None` where the track has nothing.
    pub segment: Option<Segment>,
    /// What the segment is named by: decode time, or the border in track ticks if there is no segment.
    pub time: Ticks,
}

impl Span {
    pub fn micros(&self) -> u64 {
        self.end - self.start
    }

    pub fn bytes(&self) -> u64 {
        self.segment.as_ref().map_or(0, |segment| segment.bytes.end.saturating_sub(segment.bytes.start))
    }
}

/// For text tracks the segments of the reference track are given, as text is cut where the reference is.
///
/// A segment ends with its last sample, where the track's next one begins. Where the track has a hole the border is that of
/// the reference, so that a late or broken track stays side by side with the others.
pub(super) fn spans<'a>(presentation: &Presentation<'a>, view: TrackView<'a>) -> impl Iterator<Item = Span> + 'a {
    let reference = presentation.reference();
    let view = if view.fragments.is_empty() { reference.unwrap_or(view) } else { view };
    let mut segments = view.segments().peekable();
    let (mut number, mut at) = (0_u32, 0_u64);
    std::iter::from_fn(move || {
        let start = at;
        let span = if segments.peek()?.number > number {
            at = border(reference, number + 1).unwrap_or(start).max(start);
            Span { start, end: at, segment: None, time: ticks(start, view.track.timescale) }
        } else {
            let segment = segments.next()?;
            let end = Ticks(segment.time.0.saturating_add(segment.duration.0));
            at = presented(view, end).max(start);
            if let Some(next) = segments.peek().filter(|next| next.time != end) {
                // A hole in the track: the border lies in it, where the reference has it.
                let begin = presented(view, next.time).max(at);
                at = border(reference, number + 1).unwrap_or(begin).clamp(at, begin);
            }
            Span { start, end: at, time: segment.time, segment: Some(segment) }
        };
        number += 1;
        Some(span)
    })
}

/// The whole number of seconds that no rendition's EXTINF, rounded, exceeds, from [`longest`]: one value for all renditions,
/// as switching wants (RFC 8216bis §4.4.3.1).
pub(super) fn target_seconds(longest: u64) -> u64 {
    (longest.saturating_add(500_000) / 1_000_000).max(1)
}

/// The longest entry of any rendition, in microseconds. Every media playlist needs it, so it walks the tables of all tracks
/// with as few divisions as it can.
pub(super) fn longest(presentation: &Presentation<'_>) -> u64 {
    // Text has the reference's entries.
    let tracks = presentation.tracks.iter().filter(|view| !view.fragments.is_empty());
    tracks.fold(0, |longest, view| {
        longest_without_holes(*view, longest)
            .or_else(|| spans(presentation, *view).map(|span| span.micros()).max())
            .map_or(longest, |micros| micros.max(longest))
    })
}

/// The same as the longest of [`spans`], or `longest` if that is longer; `None` if the track has holes.
fn longest_without_holes(view: TrackView<'_>, mut longest: u64) -> Option<u64> {
    let scale = u128::from(view.track.timescale.per_second());
    // What a length in ticks must reach to be longer, roundings of both its ends included.
    let reach = |longest: u64| i64::try_from(u128::from(longest) * scale / 1_000_000).unwrap_or(i64::MAX);
    let mut enough = reach(longest);
    let mut start = Ticks(view.presentation_offset().0.saturating_neg());
    let mut check = |start: Ticks, end: Ticks| {
        if end.0.saturating_sub(start.0) >= enough {
            let micros = presented(view, end).saturating_sub(presented(view, start));
            if micros > longest {
                (longest, enough) = (micros, reach(micros));
            }
        }
    };
    let mut end = None;
    for (at, segment) in view.segments().enumerate() {
        if segment.number as usize != at || end.is_some_and(|end| end != segment.time.0) {
            return None;
        }
        if end.is_some() {
            check(start, segment.time);
            start = segment.time;
        }
        end = Some(segment.time.0.saturating_add(segment.duration.0));
    }
    check(start, view.fragments.last()?.decode_end());
    Some(longest)
}

/// Whether every segment can be decoded by itself. (A fragment inside a segment may well depend on the one before.)
pub(super) fn is_independent(view: TrackView<'_>) -> bool {
    view.is_independent() || view.segments().all(|segment| segment.start == Start::Closed)
}

/// Where the segment of that number begins on the reference track, in microseconds.
fn border(reference: Option<TrackView<'_>>, number: u32) -> Option<u64> {
    let reference = reference?;
    let Some(&slot) = reference.cuts.get(number as usize) else {
        return reference.fragments.last().map(|last| presented(reference, last.decode_end()));
    };
    let at = reference.fragments.partition_point(|fragment| fragment.slot.get() < slot);
    reference.fragments.get(at).map(|fragment| presented(reference, fragment.decode_time()))
}

/// Decode time to microseconds of presentation time, to the nearest; what lies before 0 (priming) is not presented.
pub(super) fn presented(view: TrackView<'_>, time: Ticks) -> u64 {
    let ticks = time.0.saturating_add(view.presentation_offset().0).max(0) as u64;
    let scale = u64::from(view.track.timescale.per_second());
    match ticks.checked_mul(1_000_000) {
        Some(scaled) => scaled.saturating_add(scale / 2) / scale,
        None => u64::try_from((u128::from(ticks) * 1_000_000 + u128::from(scale / 2)) / u128::from(scale))
            .unwrap_or(u64::MAX),
    }
}

fn ticks(micros: u64, scale: Timescale) -> Ticks {
    let ticks = u128::from(micros) * u128::from(scale.per_second()) / 1_000_000;
    Ticks(i64::try_from(ticks).unwrap_or(i64::MAX))
}
