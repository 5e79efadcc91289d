//! Periods of a channel: stretches in which nothing breaks off and every track that is listed has all of its segments.
//!
//! A player that finds by the clock, or in a list, what is not there asks for it until it gives up (dash.js), or for ever
//! (Shaka). So a Period ends where a track begins to lack segments, and what was left out by all of them is between two
//! Periods (ISO/IEC 23009-1 §5.3.2.1: a Period that ends before the next one begins states its duration).

use crate::media::Kind;
use crate::media::broadcast::{Broadcast, BroadcastTrack, State};
use crate::package::live_timeline::{self, micros};

pub(super) struct Period {
    /// The discontinuities before it, which identify it for as long as any of it is in the window; where something else
    /// than a discontinuity begins it, its first number as well.
    pub id: String,
    pub first: u64,
    /// The first number that is not in it; `None` for what goes on.
    pub end: Option<u64>,
    /// Microseconds of MPD time.
    pub start: u64,
    /// In microseconds, if nothing follows where it ends.
    pub duration: Option<u64>,
    /// Microseconds of media time at `start`.
    pub media_start: u64,
    /// A bit for each of the channel's tracks.
    tracks: u64,
}

const _: () = assert!(crate::base::limits::LIVE_TRACKS_MAX <= u64::BITS as usize);

impl Period {
    pub fn has(&self, track: usize) -> bool {
        self.tracks & (1 << track) != 0
    }
}

/// Where a slot begins, in microseconds since 1970.
pub(super) fn time_of(broadcast: &Broadcast<'_>, number: u64) -> u64 {
    micros(broadcast.grid.start(number, broadcast.grid.timescale), broadcast.grid.timescale)
}

/// In order; never none.
///
/// While the channel goes on, the first reaches back to slot 0: where it really began is no longer known once that has left
/// the window, and it makes no difference to where its segments lie.
pub(super) fn periods(broadcast: &Broadcast<'_>, origin: u64) -> Vec<Period> {
    let ended = broadcast.state == State::Ended;
    let mut periods: Vec<Period> = Vec::new();
    let mut last_count = None;
    for stretch in stretches(broadcast) {
        let id = match last_count == Some(stretch.discontinuities) {
            true => format!("{}.{}", stretch.discontinuities, stretch.first),
            false => stretch.discontinuities.to_string(),
        };
        last_count = Some(stretch.discontinuities);
        let begin = if periods.is_empty() && !ended { 0 } else { stretch.first };
        let media_start = time_of(broadcast, begin);
        if let Some(before) = periods.last_mut() {
            let end = before.end.unwrap_or(stretch.first);
            before.duration = (end < stretch.first).then(|| time_of(broadcast, end).saturating_sub(before.media_start));
        }
        periods.push(Period {
            id,
            first: stretch.first,
            end: Some(stretch.end),
            start: media_start.saturating_sub(origin),
            duration: None,
            media_start,
            tracks: stretch.tracks,
        });
    }
    if let Some(last) = periods.last_mut() {
        last.end = None;
    }
    periods
}

/// Numbers in which the same tracks have segments, all after the same discontinuities.
struct Stretch {
    first: u64,
    end: u64,
    discontinuities: u32,
    tracks: u64,
}

/// Up to the first number that is not complete yet; the last one goes on from there.
fn stretches(broadcast: &Broadcast<'_>) -> Vec<Stretch> {
    let (first, next) = (broadcast.first, broadcast.next.max(broadcast.first + 1));
    // Where something begins or ends: the number, the track, whether it is there from then on.
    let mut changes: Vec<(u64, usize, bool)> = Vec::new();
    let mut breaks: Vec<(u64, u32)> = Vec::new();
    for (track, live) in broadcast.tracks.iter().enumerate() {
        for run in runs(live, first, next) {
            changes.push((run.first, track, true));
            changes.push((run.end, track, false));
            breaks.push((run.first, run.discontinuities));
        }
    }
    changes.sort_unstable();
    let mut borders: Vec<u64> = changes.iter().map(|&(number, ..)| number).collect();
    borders.dedup();
    breaks.sort_unstable();
    let mut stretches: Vec<Stretch> = Vec::new();
    let (mut tracks, mut changes) = (0_u64, changes.into_iter().peekable());
    for (at, &number) in borders.iter().enumerate() {
        // Of one number a track's end comes before its beginning.
        while let Some((_, track, begins)) = changes.next_if(|&(of, ..)| of == number) {
            if begins { tracks |= 1 << track } else { tracks &= !(1 << track) }
        }
        let Some(&end) = borders.get(at + 1).filter(|_| tracks != 0) else { continue };
        let known = breaks.partition_point(|&(from, _)| from <= number);
        let discontinuities = breaks[..known].iter().map(|&(_, count)| count).max().unwrap_or(0);
        match stretches.last_mut() {
            Some(last) if last.end == number && (last.tracks, last.discontinuities) == (tracks, discontinuities) => {
                last.end = end;
            }
            _ => stretches.push(Stretch { first: number, end, discontinuities, tracks }),
        }
    }
    // What has no sound at all, or no picture, is left out as well: nobody plays on through it, and to Shaka the whole MPD
    // makes no sense then (PERIOD_FLATTEN_FAILED). What goes on is listed, whatever there is of it.
    let kinds = |stretch: &Stretch| {
        let there = |kind| {
            let of_kind = |&(track, live): &(usize, &BroadcastTrack<'_>)| {
                live.track.kind() == kind && stretch.tracks & (1 << track) != 0
            };
            broadcast.tracks.iter().enumerate().any(|track| of_kind(&track))
        };
        (there(Kind::Video), there(Kind::Audio))
    };
    let all = stretches.iter().map(kinds).fold((false, false), |all, of| (all.0 | of.0, all.1 | of.1));
    let mut left = stretches.len();
    stretches.retain(|stretch| {
        left -= 1;
        left == 0 || kinds(stretch) == all
    });
    if stretches.is_empty() {
        // Nothing is complete yet.
        let tracks = u64::MAX >> (u64::BITS as usize - broadcast.tracks.len().clamp(1, 64));
        let discontinuities = live_timeline::discontinuities(broadcast, first);
        stretches.push(Stretch { first, end: next, discontinuities, tracks });
    }
    stretches
}

/// A track's segments of which each follows the one before, without a discontinuity.
struct Run {
    first: u64,
    end: u64,
    discontinuities: u32,
}

fn runs(live: &BroadcastTrack<'_>, first: u64, next: u64) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for segment in live.segments(first).take_while(|segment| segment.number < next) {
        match runs.last_mut() {
            Some(run) if run.end == segment.number && run.discontinuities == segment.discontinuities => run.end += 1,
            _ => runs.push(Run {
                first: segment.number,
                end: segment.number + 1,
                discontinuities: segment.discontinuities,
            }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::package::fixture::{Channel, FIRST};

    /// Periods as `id first..end tracks`, and how long they last if they say so.
    fn told(channel: &Channel) -> Vec<String> {
        let broadcast = channel.broadcast();
        let told = periods(&broadcast, 0).into_iter().map(|period| {
            let end = period.end.map(|end| (end - FIRST).to_string()).unwrap_or_default();
            let tracks = broadcast.tracks.iter().enumerate().filter(|&(at, _)| period.has(at));
            let tracks: Vec<_> = tracks.map(|(_, live)| live.track.id.as_str()).collect();
            let stated = period.duration.map(|micros| (period.start + micros) / 1_000_000 - FIRST * 2);
            let stated = stated.map(|seconds| format!(" until {seconds} s")).unwrap_or_default();
            format!("{} {}..{end} {}{stated}", period.id, period.first - FIRST, tracks.join("+"))
        });
        told.collect()
    }

    #[test]
    fn what_is_missing_is_between_periods() {
        let news = || Channel::news(20, 2, Some(Duration::from_millis(520)));
        let without = |removed: &[(&[usize], std::ops::Range<u64>)]| {
            let mut channel = news();
            for (tracks, numbers) in removed {
                for number in numbers.clone() {
                    tracks.iter().for_each(|&track| channel.remove(track, FIRST + number));
                }
            }
            channel
        };
        let changed = |mut channel: Channel, number: u64| {
            channel.change(FIRST + number);
            channel
        };
        for (name, channel, want) in [
            ("all there", news(), &["3 0.. v1+v2+a1"][..]),
            ("a discontinuity", changed(news(), 7), &["3 0..7 v1+v2+a1", "4 7.. v1+v2+a1"]),
            (
                "an encoder that was away",
                without(&[(&[0, 1, 2], 5..9)]),
                &["3 0..5 v1+v2+a1 until 10 s", "3.9 9.. v1+v2+a1"],
            ),
            (
                "an encoder that came back with another clock",
                changed(without(&[(&[0, 1, 2], 5..9)]), 9),
                &["3 0..5 v1+v2+a1 until 10 s", "4 9.. v1+v2+a1"],
            ),
            (
                "a rendition that was away",
                without(&[(&[1], 5..9)]),
                &["3 0..5 v1+v2+a1", "3.5 5..9 v1+a1", "3.9 9.. v1+v2+a1"],
            ),
            ("no sound", without(&[(&[2], 5..9)]), &["3 0..5 v1+v2+a1 until 10 s", "3.9 9.. v1+v2+a1"]),
            ("no sound any more", without(&[(&[2], 12..20)]), &["3 0..12 v1+v2+a1", "3.12 12.. v1+v2"]),
            ("begins later", without(&[(&[2], 0..3)]), &["3 3.. v1+v2+a1"]),
        ] {
            let want: Vec<String> = want
                .iter()
                .map(|text| {
                    let (id, rest) = text.split_once(' ').unwrap();
                    let number = |number: &str| number.parse::<u64>().unwrap();
                    match id.split_once('.') {
                        Some((count, first)) if number(first) < FIRST => {
                            format!("{count}.{} {rest}", FIRST + number(first))
                        }
                        _ => (*text).to_owned(),
                    }
                })
                .collect();
            assert_eq!(told(&channel), want, "{name}");
        }
    }
}
