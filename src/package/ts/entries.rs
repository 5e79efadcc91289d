//! The entries of a playlist whose segments hold pictures and, where there is one, their sound.

use crate::base::units::rescale_nearest;
use crate::base::{Ticks, Timescale};
use crate::media::{Presentation, Segment, TrackView};
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
    let present = entries(presentation, picture, sound).filter(|entry| !entry.is_gap());
    present.enumerate().map(|(ordinal, entry)| (ordinal as u64, entry)).find(|(_, entry)| entry.time == time)
}

/// A border where there are no pictures, on the clock of their track file: what segment `number` is named by. Where a
/// later segment begins with a picture at that time, a little before it: no two have one name.
fn border(picture: TrackView<'_>, shown: Ticks, scale: Timescale, number: u32) -> Ticks {
    let ticks = rescale_nearest(shown, scale, picture.track.timescale).map_or(i64::MAX, |ticks| ticks.0);
    let ticks = ticks.saturating_sub(picture.track.presentation_offset.0).max(0);
    let later = picture.segment_at(Ticks(ticks)).map_or(0, |later| later.number.saturating_sub(number));
    Ticks((ticks - i64::from(later)).max(0))
}

/// A border in 90 kHz.
pub(super) fn stamp(micros: u64) -> i64 {
    let scaled = u128::from(micros) * u128::from(Timescale::MPEG.per_second()) / 1_000_000;
    i64::try_from(scaled).unwrap_or(i64::MAX)
}
