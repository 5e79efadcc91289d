//! SegmentTemplate with SegmentTimeline (ISO/IEC 23009-1 §5.3.9.4, §5.3.9.6).

use std::ops::Range;

use crate::media::{Presentation, Segment, TrackView};
use crate::package::{single, text, url};

use crate::package::xml::{Tag, Xml};

/// Consecutive segments of one duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    /// Given where it does not follow from the run before: at the start and after a hole.
    time: Option<u64>,
    duration: u64,
    /// Segments after the first.
    repeat: u64,
}

/// `$Time$` is the decode time of the segment's first sample, as is its name in HLS.
///
/// There is no presentationTimeOffset but that of a recorded track, whose times count from 1970, although a track with priming begins before presentation time 0. MPD times are
/// presentation times of the ISO BMFF track (§7.2.1: TM = TP − TO), that is after its edit list, and the edit list of the
/// initialisation segment already moves the priming before 0. Media Source Extensions apply it too (Chromium buffers 6 s of
/// AAC as 0 to 6.000 s with the edit list and to 6.021 s without), so an offset on top, which dash.js and Shaka turn into
/// `timestampOffset`, would move the audio a second time. What remains is that S@t is later than the earliest presentation
/// time by the priming (21 ms for AAC), well within what players allow for in choosing segments; and the append window at
/// the start of the Period cuts the priming off.
pub(super) fn push(xml: &mut Xml, version: &str, view: TrackView<'_>) {
    let rows = view.segments().map(|segment| (segment.time.0 as u64, segment.duration.0 as u64));
    push_template(xml, version, view, rows);
}

/// Text is cut where the reference is, and named by presentation time. `presentation` may be a stretch of `whole`.
pub(super) fn push_text(xml: &mut Xml, presentation: &Presentation<'_>, whole: &Presentation<'_>, view: TrackView<'_>) {
    let first = presentation.cuts.first().map_or(0, |first| whole.cuts.partition_point(|cut| cut < first));
    let numbers = first..first + presentation.cuts.len();
    let spans = text::spans(whole, &view).filter(|span| numbers.contains(&(span.number as usize)));
    let rows = spans.map(|span| (span.start.0 as u64, span.end.0.saturating_sub(span.start.0) as u64));
    push_template(xml, presentation.version, view, rows);
}

fn push_template(xml: &mut Xml, version: &str, view: TrackView<'_>, rows: impl Iterator<Item = (u64, u64)>) {
    xml.open("SegmentTemplate", |tag| {
        tag.integer("timescale", view.track.timescale.per_second());
        push_offset(tag, view);
        tag.set("initialization", &url::init_template(version)).set("media", &url::segment_template(version));
    });
    push_runs(xml, rows);
    xml.close("SegmentTemplate");
}

/// SegmentTimeline, of times and durations in track ticks.
pub(super) fn push_runs(xml: &mut Xml, rows: impl Iterator<Item = (u64, u64)>) {
    xml.open("SegmentTimeline", |_| ());
    let mut run: Option<Run> = None;
    let mut end = None;
    for (time, duration) in rows {
        let follows = end == Some(time);
        end = Some(time.saturating_add(duration));
        match &mut run {
            Some(run) if follows && run.duration == duration => run.repeat += 1,
            _ => {
                run.into_iter().for_each(|run| push_run(xml, run));
                run = Some(Run { time: (!follows).then_some(time), duration, repeat: 0 });
            }
        }
    }
    run.into_iter().for_each(|run| push_run(xml, run));
    xml.close("SegmentTimeline");
}

/// SegmentBase (§5.3.9.2): all of the track is one indexed file. `view` may be a stretch of `whole`, whose file it is.
pub(super) fn push_base(xml: &mut Xml, version: &str, view: TrackView<'_>, whole: TrackView<'_>) {
    xml.text("BaseURL", &url::from_single(&url::versioned(version, &url::file(&view.track.id))));
    let index = single::index_range(whole);
    xml.open("SegmentBase", |tag| {
        tag.integer("timescale", view.track.timescale.per_second());
        push_offset(tag, view);
        tag.set("indexRange", &inclusive(&index)).set("indexRangeExact", "true");
    });
    xml.empty("Initialization", |tag| {
        tag.set("range", &inclusive(&(0..index.start)));
    });
    xml.close("SegmentBase");
}

/// A text that is one file, where it does not begin with the presentation.
pub(super) fn push_text_base(xml: &mut Xml, view: TrackView<'_>) {
    if view.start().0 > 0 {
        xml.empty("SegmentBase", |tag| {
            tag.integer("timescale", view.track.timescale.per_second());
            push_offset(tag, view);
        });
    }
}

pub(super) fn push_offset(tag: &mut Tag<'_>, view: TrackView<'_>) {
    if view.start().0 > 0 {
        tag.integer("presentationTimeOffset", view.start().0 as u64);
    }
}

/// As in RFC 9110 §14.1.2.
fn inclusive(range: &Range<u64>) -> String {
    format!("{}-{}", range.start, range.end.saturating_sub(1))
}

fn push_run(xml: &mut Xml, run: Run) {
    xml.empty("S", |tag| {
        if let Some(time) = run.time {
            tag.integer("t", time);
        }
        tag.integer("d", run.duration);
        if run.repeat > 0 {
            tag.integer("r", run.repeat);
        }
    });
}

/// Whether one SegmentTemplate describes both.
pub(super) fn same(a: TrackView<'_>, b: TrackView<'_>) -> bool {
    let rows = |segment: Segment| (segment.time, segment.duration);
    (a.track.timescale, a.start()) == (b.track.timescale, b.start())
        && a.segments().map(rows).eq(b.segments().map(rows))
}

/// Whether segments of one number never overlap in the two (ISO/IEC 23009-1 §5.3.3.2, segmentAlignment): true where each
/// starts at the same instant of presentation time.
pub(super) fn aligned(a: TrackView<'_>, b: TrackView<'_>) -> bool {
    let (scale_a, scale_b) = (i128::from(a.track.timescale.per_second()), i128::from(b.track.timescale.per_second()));
    let start = |view: TrackView<'_>, time: i64| i128::from(time) + i128::from(view.presentation_offset().0);
    let (mut rows_a, mut rows_b) = (a.segments(), b.segments());
    loop {
        match (rows_a.next(), rows_b.next()) {
            (Some(row_a), Some(row_b)) => {
                let same_start = start(a, row_a.time.0) * scale_b == start(b, row_b.time.0) * scale_a;
                if row_a.number != row_b.number || !same_start {
                    return false;
                }
            }
            // One that ends earlier overlaps nothing.
            _ => return true,
        }
    }
}
