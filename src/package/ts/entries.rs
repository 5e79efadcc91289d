//! The entries of a playlist whose segments hold pictures and, where there is one, their sound.

use crate::base::units::rescale_nearest;
use crate::base::{Ticks, Timescale};
use crate::media::{Fragment, Presentation, Segment, TrackView};
use crate::package::timeline;

/// One entry: segment n of the presentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// In microseconds of presentation time.
    pub start: u64,
    pub end: u64,
    /// What the segment is named by: decode time of its first picture, or the border on that clock where it has none.
    pub time: Ticks,
    pub video: Option<Segment>,
    pub audio: Option<Segment>,
}

impl Entry {
    pub fn is_gap(&self) -> bool {
        self.video.is_none() && self.audio.is_none()
    }

    pub fn micros(&self) -> u64 {
        self.end - self.start
    }
}

/// In order, up to where both tracks end. Sound goes on where there are no pictures.
pub(super) fn entries<'a>(
    presentation: &Presentation<'a>,
    picture: TrackView<'a>,
    sound: Option<TrackView<'a>>,
) -> impl Iterator<Item = Entry> + 'a {
    let mut videos = timeline::spans(presentation, picture);
    let mut audios = sound.map(|sound| timeline::spans(presentation, sound));
    let (mut at, mut number) = (0, 0);
    std::iter::from_fn(move || {
        let (video, audio) = (videos.next(), audios.as_mut().and_then(Iterator::next));
        // Where there are no pictures, their track does not know how long the sound is.
        let end = match (&video, &audio) {
            (Some(video), Some(audio)) if video.segment.is_none() && audio.segment.is_some() => audio.end,
            (Some(video), _) => video.end,
            (None, Some(audio)) => audio.end,
            (None, None) => return None,
        };
        let (start, end) = (at, end.max(at));
        let (video, audio) = (video.and_then(|span| span.segment), audio.and_then(|span| span.segment));
        let time = match (&video, sound.zip(audio.as_ref())) {
            (Some(segment), _) => segment.time,
            // By its sound, which is named alike in all of the presentation and in any stretch of it.
            (None, Some((sound, segment))) => {
                let heard = Ticks(segment.time.0.saturating_add(sound.track.presentation_offset.0));
                border(picture, heard, sound.track.timescale, number)
            }
            // Nobody loads a gap.
            (None, None) => border(picture, Ticks(i64::try_from(start).unwrap_or(i64::MAX)), Timescale::MICROS, number),
        };
        (at, number) = (end, number + 1);
        Some(Entry { start, end, time, video, audio })
    })
}

/// The entry that is named so, and how many segments are before it.
pub(super) fn find<'a>(
    presentation: &Presentation<'a>,
    picture: TrackView<'a>,
    sound: Option<TrackView<'a>>,
    time: Ticks,
) -> Option<(u64, Entry)> {
    let number = number(picture, sound, time)?;
    let Some(video) = numbered(picture, number) else {
        // Its border is that of all before it.
        let before = entries(presentation, picture, sound).take(number as usize);
        let ordinal = before.filter(|entry| !entry.is_gap()).count() as u64;
        return Some((ordinal, entries(presentation, picture, sound).nth(number as usize)?));
    };
    let end = Ticks(video.time.0.saturating_add(video.duration.0));
    let (start, end) = (timeline::presented(picture, video.time), timeline::presented(picture, end));
    let audio = sound.and_then(|sound| numbered(sound, number));
    Some((present(picture, sound, number), Entry { start, end, time, video: Some(video), audio }))
}

/// Which number the segment has that is named so. Costs as much as looking a segment up, whatever is asked for.
pub(super) fn number(picture: TrackView<'_>, sound: Option<TrackView<'_>>, time: Ticks) -> Option<u32> {
    if let Some(segment) = picture.segment_at(time) {
        return Some(segment.number);
    }
    let sound = sound?;
    let scale = sound.track.timescale;
    let heard = |time: Ticks| Ticks(time.0.saturating_add(sound.track.presentation_offset.0));
    // Names are less than their borders by the number of a segment at most, see `border`.
    let reach = time.0.saturating_add(i64::try_from(picture.cuts.len()).unwrap_or(i64::MAX));
    let at = |fragment: &Fragment| unshifted(picture, heard(fragment.decode_time()), scale);
    let first = sound.fragments.partition_point(|fragment| at(fragment) < time.0);
    let near = sound.fragments.get(first..)?.iter().take_while(|fragment| at(fragment) <= reach);
    let mut segments = near.filter_map(|fragment| sound.segment_at(fragment.decode_time()));
    let is_it = |segment: &Segment| {
        border(picture, heard(segment.time), scale, segment.number) == time
            && numbered(picture, segment.number).is_none()
    };
    segments.find(is_it).map(|segment| segment.number)
}

/// The segment of that number.
fn numbered(view: TrackView<'_>, number: u32) -> Option<Segment> {
    let slot = *view.cuts.get(number as usize)?;
    let first = view.fragments.partition_point(|fragment| fragment.slot.get() < slot);
    view.segment_at(view.fragments.get(first)?.decode_time()).filter(|segment| segment.number == number)
}

/// How many numbers before that one either track has something for.
fn present(picture: TrackView<'_>, sound: Option<TrackView<'_>>, number: u32) -> u64 {
    let mut pictures = numbers(picture, number).peekable();
    let mut count = 0;
    for heard in sound.into_iter().flat_map(|sound| numbers(sound, number)) {
        while pictures.next_if(|&seen| seen < heard).is_some() {
            count += 1;
        }
        let _ = pictures.next_if_eq(&heard);
        count += 1;
    }
    count + pictures.count() as u64
}

/// The numbers of its segments, up to one.
fn numbers(view: TrackView<'_>, end: u32) -> impl Iterator<Item = u32> {
    view.segments().map(|segment| segment.number).take_while(move |&number| number < end)
}

/// A border where there are no pictures, on the clock of their track file: what segment `number` is named by. Where a
/// later segment begins with a picture at that time, a little before it: no two have one name.
fn border(picture: TrackView<'_>, shown: Ticks, scale: Timescale, number: u32) -> Ticks {
    let ticks = unshifted(picture, shown, scale);
    let later = picture.segment_at(Ticks(ticks)).map_or(0, |later| later.number.saturating_sub(number));
    Ticks((ticks - i64::from(later)).max(0))
}

fn unshifted(picture: TrackView<'_>, shown: Ticks, scale: Timescale) -> i64 {
    let ticks = rescale_nearest(shown, scale, picture.track.timescale).map_or(i64::MAX, |ticks| ticks.0);
    ticks.saturating_sub(picture.track.presentation_offset.0).max(0)
}

/// A border in 90 kHz.
pub(super) fn stamp(micros: u64) -> i64 {
    let scaled = u128::from(micros) * u128::from(Timescale::MPEG.per_second()) / 1_000_000;
    i64::try_from(scaled).unwrap_or(i64::MAX)
}
