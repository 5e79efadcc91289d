//! A channel at one instant, as readers share it: immutable.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::base::growing::Progress;
use crate::base::{Extent, Growing, Ticks, Watch, Watermark};
use crate::media::broadcast::{
    Bitrate, Broadcast, BroadcastTrack, Grid, LEAD_SEGMENTS, Mark, Position, Run, SegmentRow, SegmentView, Span, State,
    TailSegment,
};
use crate::media::captions::Caption;
use crate::media::{Kind, Track};

use super::op::Opened;

/// What viewers of a channel see.
#[derive(Clone)]
pub struct Snapshot {
    pub(super) grid: Option<Grid>,
    /// In the order of [`Broadcast::tracks`].
    pub(super) tracks: Vec<Arc<TrackSnapshot>>,
    pub(super) first: u64,
    pub(super) next: u64,
    /// As in [`Broadcast`].
    pub(super) window: u64,
    pub(super) state: State,
    /// As in [`Broadcast`].
    pub(super) is_silent: bool,
    pub(super) marks: Arc<[Mark]>,
    /// As in [`Broadcast`].
    pub(super) discontinuities: Vec<(u64, u32)>,
    pub(super) cue_tags: bool,
    pub(super) captions: Arc<[Caption]>,
    /// [`Broadcast::fingerprint`] of all of it, once somebody asked.
    pub(super) fingerprint: OnceLock<u64>,
}

/// One track of a snapshot. The track is the same for as long as its format is; what grows is beside it.
#[derive(Clone)]
pub(super) struct TrackSnapshot {
    pub track: Arc<Track>,
    pub rate: Bitrate,
    /// As in [`BroadcastTrack`].
    pub key_frame_size: u32,
    pub part_target: Ticks,
    pub watch: Arc<Watch>,
    /// In order; the newest is still written to. Their rows count up to the first segment of the tail.
    pub files: Arc<Vec<Arc<File>>>,
    pub tail: Vec<TailSegment>,
    /// Of each segment of the tail.
    pub places: Vec<Place>,
    /// Of segments that were in files that are gone.
    pub lead: Arc<Vec<Span>>,
}

/// One track file.
pub(super) struct File {
    /// Number of the first segment in it.
    pub first: u64,
    pub init: Arc<str>,
    pub init_size: u64,
    pub opened: Opened,
}

/// Where a segment of the tail is kept.
#[derive(Clone)]
pub(super) struct Place {
    pub file: Arc<File>,
    pub offset: u64,
    /// As long as the segment grows.
    pub progress: Option<Arc<Progress>>,
}

/// A stretch of media time since 1970: `?start=&end=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    pub start: Duration,
    /// `None`: up to the live edge, wherever that goes.
    pub end: Option<Duration>,
}

/// Where something of a channel is to be had.
pub enum Located {
    Whole(Extent),
    /// A segment that is being made.
    Growing(Growing),
    /// There is nothing for so many track ticks from there on, and never will be.
    Gap {
        time: Ticks,
        duration: Ticks,
    },
    /// It is next, or nearly: wait for this, and ask again.
    Later(Watermark),
    Missing,
}

/// What lies further ahead of the newest segment than this is [`Located::Missing`].
const AHEAD_SEGMENTS: u64 = 2;

impl Snapshot {
    /// Whether markers are to be written as EXT-X-CUE-OUT and EXT-X-CUE-IN as well.
    pub fn cue_tags(&self) -> bool {
        self.cue_tags
    }

    /// What the channel's files hold, those of the window and what is kept beyond it for players to finish.
    pub fn bytes(&self) -> u64 {
        let files = self.tracks.iter().flat_map(|track| track.files.iter());
        files.map(|file| file.opened.media.len()).sum()
    }

    /// Requests that wait for more of the channel: a playlist, a part, the rest of a segment.
    pub fn waiting(&self) -> u64 {
        let of_segment = |place: &Place| place.progress.as_ref().map_or(0, |progress| progress.watch().waiters());
        self.tracks.iter().map(|track| track.watch.waiters() + track.places.last().map_or(0, of_segment)).sum()
    }

    /// Of a channel that has published nothing yet.
    pub fn empty(marks: Vec<Mark>) -> Snapshot {
        Snapshot {
            grid: None,
            tracks: Vec::new(),
            first: 0,
            next: 0,
            window: 0,
            state: State::Ongoing,
            is_silent: false,
            marks: marks.into(),
            discontinuities: Vec::new(),
            cue_tags: false,
            captions: Arc::default(),
            fingerprint: OnceLock::new(),
        }
    }

    /// What a packager is handed. `None`: nothing was published yet, or nothing in the range.
    pub fn broadcast(&self, range: Option<TimeRange>) -> Option<Broadcast<'_>> {
        let grid = self.grid?;
        let number_at = |time: Duration| grid.number(grid.timescale.ticks_floor(time), grid.timescale);
        let (mut first, mut next, mut state) = (self.first, self.next, self.state);
        // Segments from here on are none of the range's.
        let mut end = u64::MAX;
        if let Some(range) = range {
            first = first.max(number_at(range.start));
            if let Some(until) = range.end {
                // The slot that the end lies in is part of it, unless it is its very beginning.
                let until = grid.timescale.ticks_floor(until);
                end = grid.number(Ticks(until.0.saturating_sub(1)), grid.timescale) + 1;
                if end <= next {
                    (next, state) = (end, State::Ended);
                }
            }
            if first >= end.min(next.max(first + 1)) {
                return None;
            }
        }
        let tracks: Vec<_> = self.tracks.iter().map(|track| track.view(first, end)).collect();
        let anything = tracks.iter().any(|track| !track.runs.is_empty() || !track.tail.is_empty());
        anything.then(|| Broadcast {
            grid,
            tracks,
            first,
            next: next.max(first),
            window: self.window,
            state,
            is_silent: self.is_silent,
            marks: &self.marks,
            discontinuities: &self.discontinuities,
            captions: &self.captions,
        })
    }

    /// What is asked for thousands of times whenever something is published: [`Snapshot::broadcast`] of everything, with rows of
    /// the journals only for tracks whose tail does not tell how far they have come; and its [`Broadcast::fingerprint`].
    pub fn edge(&self) -> Option<(Broadcast<'_>, u64)> {
        let grid = self.grid?;
        let tracks: Vec<_> = self.tracks.iter().map(|track| track.edge(self.first)).collect();
        let anything = tracks.iter().any(|track| !track.runs.is_empty() || !track.tail.is_empty());
        let edge = anything.then(|| Broadcast {
            grid,
            tracks,
            first: self.first,
            next: self.next.max(self.first),
            window: self.window,
            state: self.state,
            is_silent: self.is_silent,
            marks: &self.marks,
            discontinuities: &self.discontinuities,
            captions: &self.captions,
        })?;
        let fingerprint = *self.fingerprint.get_or_init(|| edge.fingerprint());
        Some((edge, fingerprint))
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// How far the playlist of each track goes, for its watch.
    pub(super) fn reached(&self) -> Vec<(Arc<Watch>, Position)> {
        let Some((broadcast, _)) = self.edge() else { return Vec::new() };
        let tracks = self.tracks.iter().zip(&broadcast.tracks);
        tracks.map(|(track, live)| (track.watch.clone(), broadcast.listed(live))).collect()
    }

    /// What a track's progress is waited on: its mark is [`Position::mark`] of [`Broadcast::listed`].
    pub fn watch(&self, track: &str) -> Option<&Arc<Watch>> {
        Some(&self.track(track)?.watch)
    }

    /// An initialisation segment by its name.
    pub fn init(&self, track: &str, name: &str) -> Option<Extent> {
        let file = self.track(track)?.files.iter().find(|file| &*file.init == name)?;
        Some(Extent { file: file.opened.media.clone(), offset: 0, len: file.init_size })
    }

    /// The initialisation segment of the file that holds a segment, or would.
    pub fn header(&self, track: &str, number: u64) -> Option<Extent> {
        let track = self.track(track)?;
        let file = match track.of_tail(number) {
            Some((_, place)) => &place.file,
            None => {
                let begun = track.files.partition_point(|file| file.first <= number);
                track.files.get(begun.saturating_sub(1))?
            }
        };
        Some(Extent { file: file.opened.media.clone(), offset: 0, len: file.init_size })
    }

    /// What is known of a segment, wherever it is kept and as long as it is there.
    pub fn described(&self, track: &str, number: u64) -> Option<SegmentView<'_>> {
        let track = self.track(track)?;
        let of_tail = track.of_tail(number).map(|(segment, _)| segment.view());
        of_tail.or_else(|| track.row(number).map(|(file, row)| row.view(&file.init)))
    }

    pub fn segment(&self, track: &str, number: u64) -> Located {
        let Some(track) = self.track(track) else { return Located::Missing };
        // What has left the window stays available for as long as its file does.
        if let Some((segment, place)) = track.of_tail(number) {
            let file = place.file.opened.media.clone();
            return match &place.progress {
                Some(progress) => Located::Growing(Growing { file, start: place.offset, progress: progress.clone() }),
                None => Located::Whole(Extent { file, offset: place.offset, len: size(segment) }),
            };
        }
        match track.row(number) {
            Some((file, row)) => Located::Whole(Extent {
                file: file.opened.media.clone(),
                offset: row.offset.get(),
                len: u64::from(row.size.get()),
            }),
            None => self.gap(track, number).unwrap_or_else(|| self.later(track, Position { number, parts: 1 })),
        }
    }

    /// A number that the track has passed, or all others have, and that the track has nothing for.
    fn gap(&self, track: &TrackSnapshot, number: u64) -> Option<Located> {
        let newest = track.tail.last()?.number;
        let next = match track.track.kind() {
            // What has not come yet may come.
            Kind::Text => newest,
            _ => newest.max(self.next),
        };
        let grid = self.grid.filter(|_| (self.first..next).contains(&number))?;
        let time = grid.start(number, track.track.timescale);
        let end = grid.start(number + 1, track.track.timescale);
        Some(Located::Gap { time, duration: Ticks(end.0 - time.0) })
    }

    /// `part` counts from 0.
    pub fn part(&self, track: &str, number: u64, part: u32) -> Located {
        let Some(track) = self.track(track) else { return Located::Missing };
        let later = || self.later(track, Position { number, parts: part.saturating_add(1) });
        let Some((segment, place)) = track.of_tail(number) else {
            // It may have been hinted.
            let gap = if track.row(number).is_none() { self.gap(track, number) } else { None };
            return gap.unwrap_or_else(later);
        };
        match segment.parts.get(part as usize) {
            // A stretch for which nothing came.
            Some(part) if part.size == 0 => Located::Gap { time: part.time, duration: part.duration },
            Some(part) => Located::Whole(Extent {
                file: place.file.opened.media.clone(),
                offset: part.offset,
                len: u64::from(part.size),
            }),
            // It was hinted at, and the segment ended without it.
            None if segment.is_complete && part as usize == segment.parts.len() => {
                Located::Gap { time: Ticks(segment.time.0 + segment.duration.0), duration: track.part_target }
            }
            None => later(),
        }
    }

    fn later(&self, track: &TrackSnapshot, wanted: Position) -> Located {
        let Some(newest) = track.tail.last() else { return Located::Missing };
        let ahead = newest.number.saturating_add(AHEAD_SEGMENTS);
        let target = wanted.mark();
        if self.state == State::Ended || wanted.number > ahead || track.watch.mark() >= target {
            return Located::Missing;
        }
        Located::Later(Watermark { watch: track.watch.clone(), target })
    }

    fn track(&self, id: &str) -> Option<&TrackSnapshot> {
        self.tracks.iter().find(|track| track.track.id == id).map(|track| &**track)
    }
}

impl TrackSnapshot {
    /// Segments with numbers from `first` up to `end`, not with it.
    fn view(&self, first: u64, end: u64) -> BroadcastTrack<'_> {
        let end_of_runs = end.min(self.tail.first().map_or(u64::MAX, |segment| segment.number));
        // The file before the first that begins behind `first` may hold it.
        let skipped = self.files.partition_point(|file| file.first <= first).saturating_sub(1);
        let mut runs: Vec<Run<'_>> = Vec::new();
        for file in self.files[skipped..].iter().take_while(|file| file.first < end_of_runs) {
            let rows = file.opened.journal.rows();
            let start = rows.partition_point(|row| row.number.get() < first);
            let stop = rows.partition_point(|row| row.number.get() < end_of_runs);
            if start < stop {
                runs.push(Run { init: &file.init, rows: &rows[start..stop] });
            }
        }
        let start = self.tail.partition_point(|segment| segment.number < first);
        let stop = self.tail.partition_point(|segment| segment.number < end);
        BroadcastTrack {
            track: &self.track,
            rate: self.rate,
            key_frame_size: self.key_frame_size,
            runs,
            tail: &self.tail[start.min(stop)..stop],
            lead: self.lead(first),
            part_target: self.part_target,
        }
    }

    /// The same from `first` on, without runs if something of the tail is complete.
    fn edge(&self, first: u64) -> BroadcastTrack<'_> {
        let tail = &self.tail[self.tail.partition_point(|segment| segment.number < first)..];
        if !tail.iter().any(|segment| segment.is_complete) {
            return self.view(first, u64::MAX);
        }
        let TrackSnapshot { track, rate, key_frame_size, part_target, .. } = self;
        BroadcastTrack {
            track,
            rate: *rate,
            key_frame_size: *key_frame_size,
            runs: Vec::new(),
            tail,
            lead: Vec::new(),
            part_target: *part_target,
        }
    }

    fn of_tail(&self, number: u64) -> Option<(&TailSegment, &Place)> {
        let at = self.tail.binary_search_by_key(&number, |segment| segment.number).ok()?;
        Some((&self.tail[at], &self.places[at]))
    }

    /// Segments right below a number, wherever they are kept.
    fn lead(&self, first: u64) -> Vec<Span> {
        let span = |number| {
            let of_tail = self.of_tail(number).map(|(segment, _)| segment.span());
            let of_files = of_tail.or_else(|| self.row(number).map(|(_, row)| row.span()));
            of_files.or_else(|| self.lead.iter().find(|span| span.number == number).copied())
        };
        (first.saturating_sub(LEAD_SEGMENTS)..first).filter_map(span).collect()
    }

    /// A segment that is older than the tail.
    fn row(&self, number: u64) -> Option<(&File, &SegmentRow)> {
        let file = self.files.get(self.files.partition_point(|file| file.first <= number).checked_sub(1)?)?;
        let rows = file.opened.journal.rows();
        let at = rows.binary_search_by_key(&number, |row| row.number.get()).ok()?;
        (number < self.tail.first()?.number).then(|| (&**file, &rows[at]))
    }
}

pub(super) fn size(segment: &TailSegment) -> u64 {
    segment.parts.iter().map(|part| u64::from(part.size)).sum()
}

/// Video by falling height, then audio, then text; of equals by name.
pub(super) fn order(track: &Track) -> (Kind, std::cmp::Reverse<u32>, String) {
    (track.kind(), std::cmp::Reverse(track.video().map_or(0, |video| video.height)), track.id.clone())
}
