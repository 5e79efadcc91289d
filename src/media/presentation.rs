//! Tracks that belong together, and the segments their fragments are grouped into: all that a packager is handed.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::base::units::rescale_nearest;
use crate::base::{Extent, Stored, Ticks, Timescale};

use super::fragment::{Cue, Fragment, Sample, Start};
use super::thumbnails::Thumbnails;
use super::track::{Kind, Track};

/// One asset as a packager sees it: borrowed from the open index.
#[derive(Clone)]
pub struct Presentation<'a> {
    /// Path element that holds everything immutable: a hash of content, segment length and packager revision.
    pub version: &'a str,
    /// Video by falling height, then audio, then text; never empty.
    pub tracks: Vec<TrackView<'a>>,
    /// First slot of each segment, ascending, from [`group`]; starts with 0.
    pub cuts: &'a [u32],
    /// Presented length of the longest track.
    pub duration: Duration,
    /// For scrubbing, if there are any.
    pub thumbnails: Option<Thumbnails<'a>>,
}

/// One track with its index.
#[derive(Clone, Copy)]
pub struct TrackView<'a> {
    pub track: &'a Track,
    /// The track file, or those it was recorded to, which all begin with the same initialisation segment; for text the whole
    /// WebVTT file.
    pub files: &'a [Arc<dyn Stored>],
    /// Bytes of the initialisation segment at the start of each track file, 0 for text.
    pub init_size: u64,
    /// Presentation time 0 on the clock of the track file, after its edit list: 0 unless the track was recorded from the
    /// middle of a stream, whose times count from 1970. Then it is what `presentation_offset` takes away.
    pub time_offset: Ticks,
    /// What the stored file adds to every composition offset, so that none is negative, and takes away again by its edit list;
    /// the sample table has them without. In track ticks, 0 but for video whose frames are reordered.
    pub reorder: Ticks,
    /// How much of the presentation before the first fragment was cut off, in track ticks: 0 unless it is a stretch of another
    /// (see [`Presentation::stretch`]).
    pub cut_off: Ticks,
    /// Empty for text.
    pub fragments: &'a [Fragment],
    pub samples: &'a [Sample],
    /// Text only.
    pub cues: &'a [Cue],
    /// As in [`Presentation`].
    pub cuts: &'a [u32],
}

/// A run of fragments of one track: what a player asks for at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Counted from 0 over the presentation: segments of one number lie side by side in all tracks.
    pub number: u32,
    pub fragments: Range<u32>,
    /// Decode time of the first sample, in track ticks: the segment's name, and `S@t` in an MPD.
    pub time: Ticks,
    /// In track ticks.
    pub duration: Ticks,
    /// Which of the track's files it is in.
    pub file: u32,
    /// In that file.
    pub bytes: Range<u64>,
    pub start: Start,
}

impl<'a> Presentation<'a> {
    pub fn track(&self, id: &str) -> Option<TrackView<'a>> {
        self.tracks.iter().find(|view| view.track.id == id).copied()
    }

    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = TrackView<'a>> + '_ {
        self.tracks.iter().filter(move |view| view.track.kind() == kind).copied()
    }

    /// The track whose fragments every cut was taken from: the first video track, else the first audio track.
    pub fn reference(&self) -> Option<TrackView<'a>> {
        self.of_kind(Kind::Video).next().or_else(|| self.of_kind(Kind::Audio).next())
    }

    /// The segments that show anything between two instants, in microseconds of presentation time, as a presentation that begins
    /// with the first of them. `None` if there are none.
    pub fn stretch(&self, start: u64, end: u64) -> Option<Presentation<'a>> {
        let reference = self.reference()?;
        let times = self.times(reference);
        let numbers = within(&times, start, end)?;
        let (&from, &until) = (times.get(numbers.start)?, times.get(numbers.end)?);
        let slots = *self.cuts.get(numbers.start)?..self.cuts.get(numbers.end).copied().unwrap_or(u32::MAX);
        // To the tick of the reference, as its segments begin; of the others to the nearest.
        let first = reference.fragments.partition_point(|row| row.slot.get() < slots.start);
        let begins = reference.fragments.get(first).filter(|_| numbers.start > 0).map_or(Ticks(0), |row| {
            Ticks(row.decode_time().0.saturating_add(reference.presentation_offset().0).max(0))
        });
        let tracks = self.tracks.iter().filter_map(|view| {
            let cut = rescale_nearest(begins, reference.track.timescale, view.track.timescale)?;
            let at = |slot: u32| view.fragments.partition_point(|row| row.slot.get() < slot);
            let fragments = &view.fragments[at(slots.start)..at(slots.end)];
            let cuts = &self.cuts[numbers.clone()];
            let view = TrackView { cut_off: Ticks(view.cut_off.0.saturating_add(cut.0)), fragments, cuts, ..*view };
            // Nothing of a track is left where it has nothing.
            (view.track.kind() == Kind::Text || !fragments.is_empty()).then_some(view)
        });
        let duration = Duration::from_micros(until.saturating_sub(from));
        Some(Presentation {
            version: self.version,
            tracks: tracks.collect(),
            cuts: &self.cuts[numbers.clone()],
            duration,
            thumbnails: self.thumbnails.map(|thumbnails| thumbnails.from(from)),
        })
    }

    /// Where the stretch begins and ends, in microseconds; no end: with the presentation.
    pub fn borders(&self, start: u64, end: u64) -> (u64, Option<u64>) {
        let Some(reference) = self.reference() else { return (start, Some(end)) };
        let times = self.times(reference);
        match within(&times, start, end) {
            Some(numbers) => (times[numbers.start], (numbers.end + 1 < times.len()).then(|| times[numbers.end])),
            None => (start, Some(end)),
        }
    }

    /// When each segment begins, and when the last one ends, in microseconds; 0 for the first. Where the reference has nothing,
    /// segments begin when it ends.
    fn times(&self, reference: TrackView<'_>) -> Vec<u64> {
        let scale = reference.track.timescale;
        let micros = |time: Ticks| {
            let presented = Ticks(time.0.saturating_add(reference.presentation_offset().0).max(0));
            rescale_nearest(presented, scale, Timescale::MICROS).map_or(u64::MAX, |time| time.0 as u64)
        };
        let end = reference.fragments.last().map_or(0, |last| micros(last.decode_end()));
        let begin = |&slot: &u32| {
            let at = reference.fragments.partition_point(|row| row.slot.get() < slot);
            reference.fragments.get(at).map_or(end, |row| micros(row.decode_time()))
        };
        let mut times: Vec<u64> = self.cuts.iter().map(begin).collect();
        if let Some(first) = times.first_mut() {
            *first = 0;
        }
        times.push(u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX).max(end));
        times
    }
}

/// Numbers of the segments that show anything between two instants.
fn within(times: &[u64], start: u64, end: u64) -> Option<Range<usize>> {
    let (&last, begins) = times.split_last()?;
    let first = begins.partition_point(|&begin| begin <= start).saturating_sub(1);
    let until = begins.partition_point(|&begin| begin < end);
    (start < last && first < until).then_some(first..until)
}

impl<'a> TrackView<'a> {
    /// Presentation time 0 on the clock of the track file, as manifests state it.
    pub fn start(self) -> Ticks {
        Ticks(self.time_offset.0.saturating_add(self.cut_off.0))
    }

    /// What a decode time (and composition offset) lacks to presentation time; see [`Track::presentation_offset`].
    pub fn presentation_offset(self) -> Ticks {
        Ticks(self.track.presentation_offset.0.saturating_sub(self.cut_off.0))
    }

    /// A composition offset as the stored file has it.
    pub fn stored_offset(self, sample: &Sample) -> i32 {
        i32::try_from(i64::from(sample.composition_offset.get()).saturating_add(self.reorder.0)).unwrap_or(i32::MAX)
    }

    /// In order, in one pass. Segments in which the track has nothing are left out.
    pub fn segments(self) -> impl Iterator<Item = Segment> + 'a {
        let (mut at, mut cut) = (0, 0);
        std::iter::from_fn(move || {
            let first = self.fragments.get(at)?;
            // The last cut at or before the fragment, and the slot that ends its segment.
            while self.cuts.get(cut + 1).is_some_and(|&next| next <= first.slot.get()) {
                cut += 1;
            }
            let end_slot = self.cuts.get(cut + 1).copied().unwrap_or(u32::MAX);
            let start = at;
            while self.fragments.get(at).is_some_and(|fragment| fragment.slot.get() < end_slot) {
                at += 1;
            }
            // A record whose slot is u32::MAX would not advance; the index never holds one.
            at = at.max(start + 1);
            Some(self.run(cut as u32, start..at))
        })
    }

    /// The segment that begins exactly at `time`.
    pub fn segment_at(self, time: Ticks) -> Option<Segment> {
        let first = self.fragments.binary_search_by_key(&time, Fragment::decode_time).ok()?;
        let slot = self.fragments[first].slot.get();
        let number = self.cuts.partition_point(|&cut| cut <= slot).checked_sub(1)?;
        let begins = first == 0 || self.fragments[first - 1].slot.get() < self.cuts[number];
        let end_slot = self.cuts.get(number + 1).copied().unwrap_or(u32::MAX);
        let end = first + self.fragments[first..].partition_point(|fragment| fragment.slot.get() < end_slot);
        begins.then(|| self.run(number as u32, first..end.max(first + 1)))
    }

    fn run(self, number: u32, fragments: Range<usize>) -> Segment {
        let (first, last) = (&self.fragments[fragments.start], &self.fragments[fragments.end - 1]);
        Segment {
            number,
            fragments: fragments.start as u32..fragments.end as u32,
            time: first.decode_time(),
            duration: Ticks(last.decode_end().0 - first.decode_time().0),
            file: first.file.get(),
            bytes: first.offset.get()..last.end_offset(),
            start: first.start(),
        }
    }

    /// A run of the first file: for what every file has, or the only one.
    pub fn extent(self, bytes: Range<u64>) -> Extent {
        self.extent_of(0, bytes)
    }

    /// A run of one of the files.
    pub fn extent_of(self, file: u32, bytes: Range<u64>) -> Extent {
        let file = self.files[file as usize].clone();
        Extent { file, offset: bytes.start, len: bytes.end.saturating_sub(bytes.start) }
    }

    /// Bytes of the track: header and fragments, or the text.
    pub fn size(self) -> u64 {
        match self.fragments {
            [] => self.files.first().map_or(0, |file| file.len()),
            fragments => self.init_size + fragments.iter().map(|fragment| u64::from(fragment.size.get())).sum::<u64>(),
        }
    }

    /// Whether every slot can be decoded without the one before.
    pub fn is_independent(self) -> bool {
        self.fragments.iter().all(|fragment| matches!(fragment.start(), Start::Closed | Start::Continued))
    }
}

/// Groups the fragments of the reference track into segments of about `target`: a segment ends where its length is
/// nearest to the target. Returns the first slot of each.
///
/// Nearest, not "at most": with key frames every 2.002 s and a target of 4 s, segments are 4.004 s, not 2.002 s.
pub fn group(reference: &[Fragment], timescale: Timescale, target: Duration) -> Vec<u32> {
    let target = timescale.ticks_floor(target).0.max(1);
    let mut cuts = Vec::new();
    let mut length = 0_i64;
    for slot in reference.chunk_by(|a, b| a.slot == b.slot) {
        let duration = slot.iter().fold(0_i64, |sum, fragment| sum.saturating_add(fragment.duration().0));
        let longer = length.saturating_add(duration);
        let overshoot = longer.saturating_sub(target);
        if cuts.is_empty() {
            cuts.push(0);
        } else if overshoot > 0 && overshoot > (target - length).abs() {
            cuts.push(slot[0].slot.get());
            length = 0;
        }
        length = length.saturating_add(duration);
    }
    if cuts.is_empty() {
        cuts.push(0);
    }
    cuts
}

/// The start of every segment on the reference track's timeline, in `to` ticks of presentation time, and the end of the
/// last: what text segments are cut at. The first is 0 even where the reference starts late. Of a stretch of a presentation they
/// are those of the whole.
pub fn boundaries(reference: TrackView<'_>, to: Timescale) -> Vec<Ticks> {
    let mut times: Vec<Ticks> = reference.segments().map(|segment| boundary(reference, segment.time, to)).collect();
    times.extend(reference.fragments.last().map(|last| boundary(reference, last.decode_end(), to)));
    times
}

/// One of the [`boundaries`], from the decode time of the reference's segment.
pub fn boundary(reference: TrackView<'_>, time: Ticks, to: Timescale) -> Ticks {
    let is_whole = reference.cut_off == Ticks(0);
    if is_whole && reference.fragments.first().is_some_and(|first| time <= first.decode_time()) {
        return Ticks(0);
    }
    let presented = Ticks(time.0.saturating_add(reference.track.presentation_offset.0).max(0));
    rescale_nearest(presented, reference.track.timescale, to).unwrap_or(Ticks(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragments(durations: &[u64]) -> Vec<Fragment> {
        let (mut time, mut offset) = (0, 500);
        durations
            .iter()
            .enumerate()
            .map(|(slot, &duration)| {
                let fragment = Fragment {
                    offset: offset.into(),
                    decode_time: time.into(),
                    duration: duration.into(),
                    size: 100.into(),
                    media_offset: 50.into(),
                    key_frame_size: 10.into(),
                    first_sample: 0.into(),
                    sample_count: 1.into(),
                    slot: (slot as u32).into(),
                    start: (Start::Closed as u32).into(),
                    file: 0.into(),
                };
                time += duration;
                offset += 100;
                fragment
            })
            .collect()
    }

    #[test]
    fn segments_end_nearest_to_the_target() {
        let cases: &[(&[u64], u64, &[u32])] = &[
            (&[2_002; 6], 4_000, &[0, 2, 4]),
            (&[2_000; 5], 4_000, &[0, 2, 4]),
            (&[5_000; 3], 4_000, &[0, 1, 2]),
            (&[1_000; 3], 4_000, &[0]),
            (&[3_000, 1_500, 500, 4_000], 4_000, &[0, 2]),
            (&[10_000, 100, 100], 4_000, &[0, 1]),
            (&[], 4_000, &[0]),
        ];
        for (durations, target, want) in cases {
            let got = group(&fragments(durations), Timescale::MILLIS, Duration::from_millis(*target));
            assert_eq!(got, *want, "{durations:?}");
        }
    }
}
