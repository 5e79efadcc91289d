//! Channels made up for tests and benches.

use std::sync::Arc;
use std::time::Duration;

use crate::base::units::rescale_ceil;
use crate::base::{Ticks, Timescale};
use crate::media::broadcast::{
    Bitrate, Broadcast, BroadcastTrack, Grid, LEAD_SEGMENTS, Mark, Part, Run, SegmentRow, SegmentView, Span, State,
    TailSegment,
};
use crate::media::captions::Caption;
use crate::media::{Kind, Track, fixture};

/// Owns what a [`Broadcast`] borrows.
pub struct Channel {
    pub grid: Grid,
    pub tracks: Vec<ChannelTrack>,
    pub first: u64,
    pub next: u64,
    pub state: State,
    pub is_silent: bool,
    pub marks: Vec<Mark>,
    pub captions: Vec<Caption>,
}

pub struct ChannelTrack {
    pub track: Track,
    /// Files: the name of the initialisation segment, and rows.
    pub runs: Vec<(String, Vec<SegmentRow>)>,
    pub tail: Vec<TailSegment>,
    pub part_target: Ticks,
    /// Of what is not video.
    pub rate: Bitrate,
    /// As in [`BroadcastTrack`].
    pub key_frame_size: u32,
    /// Length of a sample in track ticks.
    sample: i64,
}

/// The slot that the made-up channel begins with: 2026-01-01, slots of 2 s.
pub const FIRST: u64 = 883_612_800;
/// Segments that a channel is made to list: ten minutes.
pub const WINDOW: u64 = 300;
/// Segments of the tail, the open one included.
const TAIL: u64 = 8;

impl Channel {
    /// Two renditions of video (25 frames a second) and one of audio (AAC, 48 kHz), slots of 2 s, `segments` complete ones
    /// and `parts` parts of the next. `part` as in [`Grid`].
    pub fn news(segments: u64, parts: usize, part: Option<Duration>) -> Channel {
        let video_scale = Timescale::new(12_800).expect("not zero");
        let grid = Grid { timescale: video_scale, slot: Ticks(25_600), phase: Ticks(0), target: 2, part };
        let mut channel = Channel {
            grid,
            tracks: Vec::new(),
            first: FIRST,
            next: FIRST + segments,
            state: State::Ongoing,
            is_silent: false,
            marks: Vec::new(),
            captions: Vec::new(),
        };
        for (id, codec, width, height) in [("v1", "avc1.640028", 1920, 1080), ("v2", "avc1.64001f", 1280, 720)] {
            let mut track = fixture::video(id, codec, width, height);
            track.timescale = video_scale;
            if let crate::media::track::Details::Video(video) = &mut track.details {
                video.frame_rate = (25, 1);
            }
            channel.add(track, 512, segments, parts);
        }
        channel.add(fixture::audio("a1", "mp4a.40.2", "en", 2), 1_024, segments, parts);
        channel
    }

    /// Adds a track whose samples are `sample` ticks long and lie on multiples of that.
    pub fn add(&mut self, track: Track, sample: i64, segments: u64, parts: usize) {
        let scale = track.timescale;
        let part = scale.ticks_floor(self.grid.part.unwrap_or(Duration::from_secs(1)));
        let part_target = Ticks((part.0 / sample).max(1) * sample);
        let mut owned = ChannelTrack {
            runs: vec![(format!("{}-00", track.id), Vec::new())],
            track,
            tail: Vec::new(),
            part_target,
            rate: Bitrate { peak: 130_000, average: 128_000, is_settled: true },
            key_frame_size: 50_000,
            sample,
        };
        let mut offset = fixture::INIT_SIZE;
        for number in FIRST..=FIRST + segments {
            let last = number == FIRST + segments;
            let segment = owned.segment(&self.grid, number, &mut offset, if last { parts } else { usize::MAX });
            if number + TAIL > FIRST + segments {
                if !(last && segment.parts.is_empty()) {
                    owned.tail.push(TailSegment { is_complete: !last, ..segment });
                }
            } else {
                owned.runs[0].1.push(row(&segment));
            }
        }
        self.tracks.push(owned);
    }

    /// Removes a segment from a track, as if the encoder had sent nothing there.
    pub fn remove(&mut self, track: usize, number: u64) {
        let owned = &mut self.tracks[track];
        for (_, rows) in &mut owned.runs {
            rows.retain(|row| row.number.get() != number);
        }
        owned.tail.retain(|segment| segment.number != number);
    }

    /// A segment of a track has no key frame at its start, as of groups of pictures that are longer than its slot.
    pub fn begin_dependent(&mut self, track: usize, number: u64) {
        let owned = &mut self.tracks[track];
        let rows = owned.runs.iter_mut().flat_map(|(_, rows)| rows);
        for row in rows.filter(|row| row.number.get() == number) {
            row.start = SegmentRow::start_of(false, 0).into();
        }
        for segment in owned.tail.iter_mut().filter(|segment| segment.number == number) {
            (segment.is_independent, segment.key_frame_size) = (false, 0);
            segment.parts.iter_mut().for_each(|part| part.is_independent = false);
        }
    }

    /// Of the newest segment, one part came.
    pub fn break_off(&mut self, track: usize) {
        if let Some(segment) = self.tracks[track].tail.last_mut() {
            segment.parts.truncate(1);
            segment.duration = segment.parts[0].duration;
        }
    }

    /// What is whole of a segment begins and ends so many milliseconds after its slot begins.
    pub fn cut(&mut self, track: usize, number: u64, begin: i64, end: i64) {
        let (grid, track) = (self.grid, &mut self.tracks[track]);
        let scale = track.track.timescale;
        let at = |millis: i64| grid.start(number, scale).0 + millis * i64::from(scale.per_second()) / 1_000;
        let (time, duration) = (at(begin), at(end) - at(begin));
        for row in track.runs.iter_mut().flat_map(|(_, rows)| rows).filter(|row| row.number.get() == number) {
            (row.time, row.duration) = ((time as u64).into(), (duration as u32).into());
        }
        for segment in track.tail.iter_mut().filter(|segment| segment.number == number) {
            (segment.time, segment.duration) = (Ticks(time), Ticks(duration));
        }
    }

    /// From `number` on everything comes in another format, after a discontinuity.
    pub fn change(&mut self, number: u64) {
        for owned in &mut self.tracks {
            let changed = format!("{}-01", owned.track.id);
            let at = owned.runs[0].1.partition_point(|row| row.number.get() < number);
            let mut rest = owned.runs[0].1.split_off(at);
            rest.iter_mut().for_each(|row| row.discontinuities = (row.discontinuities.get() + 1).into());
            owned.runs.push((changed.clone(), rest));
            for segment in owned.tail.iter_mut().filter(|segment| segment.number >= number) {
                segment.init = Arc::from(changed.as_str());
                segment.discontinuities += 1;
            }
        }
    }

    /// From `number` on everything comes so many milliseconds later, as from an encoder whose key frames lie elsewhere.
    pub fn delay(&mut self, number: u64, millis: i64) {
        for owned in &mut self.tracks {
            let ticks = millis * i64::from(owned.track.timescale.per_second()) / 1_000;
            for (_, rows) in &mut owned.runs {
                for row in rows.iter_mut().filter(|row| row.number.get() >= number) {
                    row.time = ((row.time.get() as i64 + ticks) as u64).into();
                }
            }
            for segment in owned.tail.iter_mut().filter(|segment| segment.number >= number) {
                segment.time.0 += ticks;
                segment.parts.iter_mut().for_each(|part| part.time.0 += ticks);
            }
        }
    }

    /// Ends the stream after the last complete segment.
    pub fn end(&mut self) {
        self.state = State::Ended;
        for owned in &mut self.tracks {
            owned.tail.retain(|segment| segment.is_complete);
        }
    }

    pub fn broadcast(&self) -> Broadcast<'_> {
        let track = |owned| view(owned, self.first);
        Broadcast {
            grid: self.grid,
            tracks: self.tracks.iter().map(track).collect(),
            first: self.first,
            next: self.next,
            window: WINDOW,
            state: self.state,
            is_silent: self.is_silent,
            marks: &self.marks,
            discontinuities: &[],
            captions: &self.captions,
        }
    }
}

impl ChannelTrack {
    fn segment(&self, grid: &Grid, number: u64, offset: &mut u64, parts: usize) -> TailSegment {
        let scale = self.track.timescale;
        // The first sample at or after half a sample before the border.
        let border = |number: u64| {
            let start = rescale_ceil(grid.start(number, grid.timescale), grid.timescale, scale).expect("fits");
            (start.0 - self.sample / 2).div_euclid(self.sample) * self.sample
                + if (start.0 - self.sample / 2).rem_euclid(self.sample) > 0 { self.sample } else { 0 }
        };
        let (start, end) = (border(number), border(number + 1));
        let mut segment = TailSegment {
            number,
            init: Arc::from(self.runs[0].0.as_str()),
            time: Ticks(start),
            duration: Ticks(0),
            discontinuities: 3,
            is_independent: true,
            key_frame_size: 0,
            is_complete: true,
            parts: Vec::new(),
        };
        let mut at = start;
        while at < end && segment.parts.len() < parts {
            let duration = self.part_target.0.min(end - at);
            let size = (duration / 8 + 100 + (number % 7) as i64) as u32;
            let is_independent = self.track.kind() != Kind::Video || at == start;
            segment.parts.push(Part {
                offset: *offset,
                size,
                time: Ticks(at),
                duration: Ticks(duration),
                is_independent,
            });
            *offset += u64::from(size);
            at += duration;
        }
        segment.duration = Ticks(at - start);
        segment.key_frame_size = segment.parts.first().map_or(0, |part| part.size / 2);
        segment
    }
}

fn row(segment: &TailSegment) -> SegmentRow {
    SegmentRow {
        number: segment.number.into(),
        offset: segment.parts.first().map_or(0, |part| part.offset).into(),
        time: (segment.time.0 as u64).into(),
        size: segment.parts.iter().map(|part| part.size).sum::<u32>().into(),
        duration: (segment.duration.0 as u32).into(),
        discontinuities: segment.discontinuities.into(),
        start: SegmentRow::start_of(segment.is_independent, segment.key_frame_size).into(),
        ..SegmentRow::default()
    }
}

fn view(owned: &ChannelTrack, first: u64) -> BroadcastTrack<'_> {
    let rows = owned.runs.iter().flat_map(|(_, rows)| rows).map(|row| row.view(""));
    let lead = rows.chain(owned.tail.iter().map(TailSegment::view));
    let lead = lead.filter(|segment| segment.number < first && segment.number + LEAD_SEGMENTS >= first);
    let span = |segment: SegmentView<'_>| Span {
        number: segment.number,
        time: segment.time,
        end: Ticks(segment.time.0 + segment.duration.0),
    };
    BroadcastTrack {
        lead: lead.map(span).collect(),
        track: &owned.track,
        rate: if owned.track.kind() == Kind::Video {
            Bitrate { peak: 4_200_000, average: 4_000_000, is_settled: true }
        } else {
            owned.rate
        },
        key_frame_size: owned.key_frame_size,
        runs: owned
            .runs
            .iter()
            .map(|(init, rows)| Run { init, rows: &rows[rows.partition_point(|row| row.number.get() < first)..] })
            .collect(),
        tail: &owned.tail[owned.tail.partition_point(|segment| segment.number < first)..],
        part_target: owned.part_target,
    }
}
