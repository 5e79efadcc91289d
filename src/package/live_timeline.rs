//! A channel's tracks as lists without holes: one entry for each number.

use std::time::Duration;

use crate::base::{Ticks, Timescale};
use crate::media::Kind;
use crate::media::broadcast::{Broadcast, BroadcastTrack, LEAD_SEGMENTS, Mark, SegmentView, State};

/// One number of one track: a complete segment, or a gap.
///
/// What an entry says depends on nothing that comes after it, so that it never changes once it is listed.
///
/// A gap goes on from what is before it, and lasts as long as what the other tracks have there, or to the end of its slot, so
/// that lengths add up to the hole, and to the same in all tracks: hls.js jumps over no more than the lengths of gaps say.
/// What is left of the slot that the track broke off in is too much for one gap, where the target duration is little longer
/// than a slot: the gaps behind it make up for it, as much each as they may.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub number: u64,
    /// In microseconds since 1970. Each border is rounded by itself, so rounding errors never add up.
    pub start: u64,
    pub end: u64,
    /// `None`: the track has nothing there.
    pub segment: Option<SegmentView<'a>>,
    /// As in [`crate::media::broadcast::SegmentRow`].
    pub discontinuities: u32,
    /// Whether it starts where the entry before ends.
    pub follows: bool,
}

/// In microseconds: what begins no further apart than this begins together, as near as frames let it. More than a frame of
/// any audio codec, less than two frames of video.
pub(super) const TOGETHER: u64 = 50_000;
/// In microseconds: a gap that the segment before covers is listed all the same.
const SHORTEST: u64 = 1_000;

/// The first number that is neither complete nor known to be a gap. Text comes when it comes: it is no gap because the
/// others have gone on.
pub(super) fn end(broadcast: &Broadcast<'_>, live: &BroadcastTrack<'_>) -> u64 {
    broadcast.listed(live).number
}

/// The segment that is being made.
pub(super) fn open<'a>(live: &BroadcastTrack<'a>) -> Option<SegmentView<'a>> {
    live.segments(live.open()?.number).next()
}

/// In order, from `from` up to [`end`].
pub(super) fn entries<'b, 'a>(
    broadcast: &'b Broadcast<'a>,
    live: &'b BroadcastTrack<'a>,
    from: u64,
) -> impl Iterator<Item = Entry<'a>> + 'b {
    let (scale, end) = (live.track.timescale, end(broadcast, live));
    let mut segments = live.segments(from).peekable();
    let mut number = from;
    let mut before = Before::of(broadcast, live, from);
    let slot = micros(broadcast.grid.start(from, broadcast.grid.timescale), broadcast.grid.timescale);
    let mut previous = (from > broadcast.first).then(|| before.map_or(slot, |before| before.end));
    std::iter::from_fn(move || {
        if number >= end {
            return None;
        }
        let segment = segments.next_if(|segment| segment.number == number);
        let (start, end, discontinuities) = match &segment {
            Some(segment) => (micros(segment.time, scale), end_of(segment, scale), segment.discontinuities),
            None => {
                let (start, end) = gap(broadcast, live, number, before);
                (start, end, discontinuities(broadcast, number))
            }
        };
        let follows = previous == Some(start);
        previous = Some(end);
        before = match (&segment, before) {
            (Some(_), _) => Some(Before { segment: number, end }),
            (None, before) => before.map(|before| Before { end, ..before }),
        };
        number += 1;
        Some(Entry { number: number - 1, start, end, segment, discontinuities, follows })
    })
}

/// What a gap goes on from.
#[derive(Clone, Copy)]
struct Before {
    /// The last segment that the track has.
    segment: u64,
    /// Where that ends, or the last gap behind it.
    end: u64,
}

impl Before {
    /// `None`: the last segment is unknown, or too far away for its end to make a difference.
    fn of(broadcast: &Broadcast<'_>, live: &BroadcastTrack<'_>, number: u64) -> Option<Before> {
        let near = number.saturating_sub(LEAD_SEGMENTS)..number;
        let last = |segment| Some(Before { segment, end: span(broadcast, live, segment)?.1 });
        let last = near.rev().find_map(last)?;
        let gaps = last.segment + 1..number;
        Some(gaps.fold(last, |before, number| Before { end: gap(broadcast, live, number, Some(before)).1, ..before }))
    }
}

/// Where a number begins and ends that a track has nothing for.
fn gap(broadcast: &Broadcast<'_>, live: &BroadcastTrack<'_>, number: u64, before: Option<Before>) -> (u64, u64) {
    let (grid, is_text) = (broadcast.grid, live.track.kind() == Kind::Text);
    let slot = |number| micros(grid.start(number, grid.timescale), grid.timescale);
    let others = |number| {
        // Text comes when it comes.
        let others = broadcast.tracks.iter().filter(|other| other.track.kind() != Kind::Text && !is_text);
        let spans = others.filter(|other| other.track.id != live.track.id);
        let spans = spans.filter_map(|other| span(broadcast, other, number));
        spans.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
    };
    let before = before.filter(|before| number - before.segment <= LEAD_SEGMENTS);
    let (beside, slot_end) = (others(number), slot(number + 1));
    let start = before.map_or(slot(number), |before| before.end);
    // Where the others come back behind a discontinuity, times begin anew, and what is missing before them is in no length.
    let since = before.map_or(number.saturating_sub(LEAD_SEGMENTS), |before| before.segment);
    let is_broken = broadcast.discontinuities.iter().any(|(from, _)| (since + 1..=number).contains(from));
    let comes_back = beside.filter(|(begun, _)| is_broken && *begun > start && others(number - 1).is_none());
    let start = comes_back.map_or(start, |(begun, _)| begun);
    let end = beside.map_or(slot_end, |(_, end)| if end + TOGETHER < slot_end { end } else { slot_end });
    // RFC 8216bis §4.4.3.1.
    let longest = u64::from(grid.target) * 1_000_000 + 499_999;
    (start, end.clamp(start + SHORTEST, start + longest))
}

/// Where a track's segment begins and ends, if it has one of that number, listed or right before what is.
fn span(broadcast: &Broadcast<'_>, live: &BroadcastTrack<'_>, number: u64) -> Option<(u64, u64)> {
    let scale = live.track.timescale;
    if number >= broadcast.first {
        let segment = live.segments(number).next().filter(|segment| segment.number == number)?;
        return Some((micros(segment.time, scale), end_of(&segment, scale)));
    }
    let at = live.lead.binary_search_by_key(&number, |span| span.number).ok()?;
    Some((micros(live.lead[at].time, scale), micros(live.lead[at].end, scale)))
}

/// Discontinuities up to a number that a track lacks: as in the other tracks, so that all agree (RFC 8216bis §6.2.4).
pub(super) fn discontinuities(broadcast: &Broadcast<'_>, number: u64) -> u32 {
    // Another track may come there later.
    let begun = broadcast.discontinuities.partition_point(|(from, _)| *from <= number);
    if let Some((_, count)) = begun.checked_sub(1).and_then(|newest| broadcast.discontinuities.get(newest)) {
        return *count;
    }
    let nearest =
        |live: &BroadcastTrack<'_>| live.segments(number).next().map(|next| (next.number, next.discontinuities));
    let next = broadcast.tracks.iter().filter_map(nearest).min();
    // Gaps before the first that is known of are not behind it, though what follows them may be.
    let before = broadcast.discontinuities.first().map_or(u32::MAX, |(_, count)| count.saturating_sub(1));
    // Nothing follows anywhere: as before.
    next.map(|(_, count)| count.min(before)).unwrap_or_else(|| {
        let newest = broadcast.tracks.iter().filter_map(|live| {
            let row = live.runs.iter().rev().find_map(|run| run.rows.last()).map(|row| row.discontinuities.get());
            live.tail.last().map(|segment| segment.discontinuities).or(row)
        });
        newest.max().unwrap_or(0)
    })
}

/// What all renditions of a stretch say of where an entry begins that begins at `start`, in microseconds.
///
/// Sound may begin a part of a frame beside the picture: Shaka Player moves each rendition by its date after it has cut all to
/// one length, and where dates differ by a millisecond it waits at the end for what it moved away. For the same reason a
/// stretch has no dates but where it begins or breaks.
pub(super) fn together(broadcast: &Broadcast<'_>, number: u64, start: u64) -> u64 {
    // Tracks are in an order of their own, video first.
    let mut segments = broadcast.tracks.iter().filter_map(|live| {
        let segment = live.segments(number).next().filter(|segment| segment.number == number)?;
        Some(micros(segment.time, live.track.timescale))
    });
    segments.find(|other| other.abs_diff(start) < TOGETHER).unwrap_or(start)
}

/// The last segment below a number.
pub(super) fn last_before<'a>(live: &BroadcastTrack<'a>, number: u64) -> Option<SegmentView<'a>> {
    let of_tail = live.tail.iter().rev().map(|segment| segment.number).find(|&before| before < number);
    let of_runs = || {
        live.runs.iter().rev().find_map(|run| {
            let below = run.rows.partition_point(|row| row.number.get() < number);
            run.rows[..below].last().map(|row| row.number.get())
        })
    };
    let last = of_tail.or_else(of_runs)?;
    live.segments(last).next()
}

/// Whether any of a mark's range lies in what manifests list. What goes on may still come to those ahead of it.
/// `range`: see [`crate::media::breaks::ranges`].
pub(super) fn is_within(broadcast: &Broadcast<'_>, mark: &Mark, (_, end): (Duration, Duration)) -> bool {
    let (grid, ended) = (broadcast.grid, broadcast.state == State::Ended);
    let start = |number| Duration::from_micros(micros(grid.start(number, grid.timescale), grid.timescale));
    end >= start(broadcast.first) && !(ended && mark.time >= start(broadcast.next))
}

fn end_of(segment: &SegmentView<'_>, scale: Timescale) -> u64 {
    micros(Ticks(segment.time.0.saturating_add(segment.duration.0)), scale)
}

/// To the nearest microsecond.
pub(super) fn micros(time: Ticks, scale: Timescale) -> u64 {
    let (ticks, scale) = (time.0.max(0) as u64, u64::from(scale.per_second()));
    let rest = ticks % scale * 1_000_000;
    (ticks / scale).saturating_mul(1_000_000).saturating_add((rest + scale / 2) / scale)
}

/// The next microsecond that is not before: a length that no rounded difference of two borders exceeds.
pub(super) fn micros_ceil(length: Ticks, scale: Timescale) -> u64 {
    let (ticks, scale) = (length.0.max(0) as u128, u128::from(scale.per_second()));
    u64::try_from((ticks * 1_000_000).div_ceil(scale)).unwrap_or(u64::MAX)
}
