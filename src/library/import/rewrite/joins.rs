//! Discontinuities: what is behind one goes on where all of what is before it has ended, in every rendition by as much, so
//! that they stay together (RFC 8216bis §4.4.4.3: the same timestamps mean the same time in all of them).

use std::collections::BTreeMap;

use super::pieces::{Demuxer, Files};
use crate::base::units::rescale_nearest;
use crate::base::{Ticks, Timescale};
use crate::library::import::manifest::{Named, Piece, Rendition, Shift};
use crate::library::import::{self, Event as Said, Report};
use crate::media::feed::{Event, TrackKey};
use crate::media::track::Kind;

/// From when to when the media of one kind lasts, in nanoseconds of its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    kind: Kind,
    start: i64,
    end: i64,
}

/// Finds out how the clocks behind discontinuities continue those before them, in the renditions of one manifest.
pub fn measure_joins(named: &mut [Named], report: Report<'_>) -> Result<(), import::Error> {
    let joins = |named: &Named| match named {
        Named::Media(rendition) if rendition.joins.iter().any(|join| join.shift.is_none()) => {
            Some(rendition.joins.len())
        }
        Named::Media(_) => Some(0),
        Named::Text(_) | Named::File(_) => None,
    };
    let counts: Vec<usize> = named.iter().filter_map(joins).collect();
    let Some(&count) = counts.iter().max().filter(|count| **count > 0) else { return Ok(()) };
    if counts.iter().any(|other| *other != count) {
        let fewest = counts.iter().min().unwrap_or(&0);
        let text = format!(
            "renditions have {fewest} to {count} discontinuities (EXT-X-DISCONTINUITY); times are taken as they are"
        );
        report(Said::Note(&text));
        named.iter_mut().filter_map(rendition).for_each(|rendition| rendition.joins.clear());
        return Ok(());
    }
    let mut spans = Vec::new();
    for named in named.iter() {
        if let Named::Media(rendition) = named {
            spans.push(measure(rendition)?);
        }
    }
    let shifts = shifts(&spans);
    for rendition in named.iter_mut().filter_map(rendition) {
        // Subtitles without discontinuities are on the clock of the presentation.
        for (join, by) in rendition.joins.iter_mut().zip(&shifts) {
            join.shift = Some(Shift { by: *by, from: None });
        }
    }
    Ok(())
}

fn rendition(named: &mut Named) -> Option<&mut Rendition> {
    match named {
        Named::Media(rendition) | Named::Text(rendition) => Some(rendition),
        Named::File(_) => None,
    }
}

/// What is added to the times behind each join. `spans`: of each rendition, of each of its stretches.
fn shifts(spans: &[Vec<Vec<Span>>]) -> Vec<i64> {
    let count = spans.iter().map(Vec::len).min().unwrap_or(0);
    let mut by = 0_i64;
    (1..count)
        .map(|number| {
            let ends = spans.iter().flat_map(|stretches| {
                let (before, behind) = (&stretches[number - 1], &stretches[number]);
                let pairs = before.iter().flat_map(move |one| behind.iter().map(move |other| (one, other)));
                pairs.filter(|(one, other)| one.kind == other.kind)
            });
            let longest = ends.map(|(one, other)| one.end.saturating_sub(other.start)).max();
            by = by.saturating_add(longest.unwrap_or(0));
            by
        })
        .collect()
}

/// Of each stretch, by its first and its last segment.
fn measure(rendition: &Rendition) -> Result<Vec<Vec<Span>>, import::Error> {
    let mut files = Files::default();
    let borders = rendition.joins.iter().map(|join| join.piece).chain([rendition.pieces.len()]);
    let (mut spans, mut first) = (Vec::new(), 0);
    for border in borders {
        let stretch = rendition.pieces.get(first..border).unwrap_or_default();
        let (Some(head), Some(tail)) = (stretch.first(), stretch.last()) else {
            spans.push(Vec::new());
            continue;
        };
        let mut demuxer = files.demuxer(&rendition.name, head)?;
        let mut formats = Formats::new();
        let mut found = of_piece(&mut files, &mut demuxer, &mut formats, head)?;
        if stretch.len() > 1 {
            let ends = of_piece(&mut files, &mut demuxer, &mut formats, tail)?;
            for span in &mut found {
                let end = ends.iter().find(|end| end.kind == span.kind);
                span.end = end.map_or(span.end, |end| end.end.max(span.end));
            }
        }
        // What an edit list hides is before 0.
        if matches!(demuxer, Demuxer::Fragmented(..)) {
            found.iter_mut().for_each(|span| span.start = span.start.max(0));
        }
        spans.push(found);
        first = border;
    }
    files.close()?;
    Ok(spans)
}

/// Of the tracks that were announced so far.
type Formats = BTreeMap<TrackKey, (Kind, Timescale)>;

fn of_piece(
    files: &mut Files,
    demuxer: &mut Demuxer,
    formats: &mut Formats,
    piece: &Piece,
) -> Result<Vec<Span>, import::Error> {
    // When each is presented and, where that is known, how long.
    let mut samples: BTreeMap<TrackKey, Vec<(i64, Option<u32>)>> = BTreeMap::new();
    files.feed(
        piece,
        demuxer,
        &mut |event| {
            match event {
                Event::Track { track, format } => {
                    formats.insert(track, (format.kind, format.timescale));
                }
                Event::Sample { track, sample } => {
                    let time = sample.decode_time.0.saturating_add(sample.composition_offset.into());
                    samples.entry(track).or_default().push((time, sample.duration));
                }
                Event::Chunk { .. } | Event::Marker(_) | Event::End => {}
            }
            Ok(())
        },
        &mut |_| Ok(()),
    )?;
    let mut spans: Vec<Span> = Vec::new();
    for (track, mut times) in samples {
        let Some(&(kind, timescale)) = formats.get(&track) else { continue };
        times.sort_unstable();
        let (Some(&(start, _)), Some(&(last, length))) = (times.first(), times.last()) else { continue };
        let step = || times.len().checked_sub(2).map_or(0, |before| last - times[before].0);
        let end = last.saturating_add(length.map_or_else(step, i64::from));
        let nanos = |time| rescale_nearest(Ticks(time), timescale, Timescale::NANOS).map_or(0, |it| it.0);
        let (start, end) = (nanos(start), nanos(end));
        match spans.iter_mut().find(|span| span.kind == kind) {
            Some(span) => (span.start, span.end) = (span.start.min(start), span.end.max(end)),
            None => spans.push(Span { kind, start, end }),
        }
    }
    Ok(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_decides_and_all_stay_together() {
        let span = |kind, start, end| Span { kind, start, end };
        let video = |start, end| span(Kind::Video, start, end);
        let audio = |start, end| span(Kind::Audio, start, end);
        for (name, spans, want) in [
            ("one stretch", vec![vec![vec![video(5, 10)]]], vec![]),
            ("none", vec![], vec![]),
            ("goes on", vec![vec![vec![video(0, 10)], vec![video(10, 20)]]], vec![0]),
            ("starts over", vec![vec![vec![video(0, 10)], vec![video(0, 20)], vec![video(3, 5)]]], vec![10, 27]),
            ("a hole is closed", vec![vec![vec![video(0, 10)], vec![video(100, 120)]]], vec![-90]),
            (
                "the sound is longer",
                vec![vec![vec![video(0, 10), audio(0, 12)], vec![video(0, 10), audio(1, 10)]]],
                vec![11],
            ),
            (
                "in a rendition of its own",
                vec![vec![vec![video(0, 10)], vec![video(0, 10)]], vec![vec![audio(0, 9)], vec![audio(0, 10)]]],
                vec![10],
            ),
            ("something else", vec![vec![vec![video(0, 10)], vec![audio(4, 10)]]], vec![0]),
        ] {
            assert_eq!(shifts(&spans), want, "{name}");
        }
    }
}
