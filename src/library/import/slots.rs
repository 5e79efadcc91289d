//! The asset's common instants, at which fragments of all tracks begin.

use std::time::Duration;

use super::alignment::{self, Rendition};
use super::candidate::Candidate;
use crate::media::track::Kind;

/// Instants, and where each video rendition begins its fragments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// Presentation time of each instant, in nanoseconds, ascending.
    pub times: Vec<i64>,
    /// For each video rendition in order: slot and source row of each of its fragments.
    pub video: Vec<Vec<(u32, u32)>>,
}

/// Audio that begins earlier or ends later than the video by less than this is put into the fragment next to it.
const STRAY_NANOS: i64 = 1_000_000_000;
/// Relations between the tracks of a presentation that are no more than rounding.
const SLACK_NANOS: i64 = 1_000;

impl Slots {
    /// Cuts at the key frames common to all video renditions; where there is no video, every `segment`.
    pub fn plan(
        video: &[&Candidate<'_>],
        audio: &[&Candidate<'_>],
        segment: Duration,
    ) -> Result<Slots, alignment::Error> {
        let renditions: Vec<Rendition<'_>> = video.iter().map(|track| track.rendition()).collect();
        let common = alignment::common(&renditions)?;
        let instants: Vec<i64> = common.iter().map(|instant| renditions[0].keys[instant[0]]).collect();
        let audio_end = audio.iter().map(|track| track.timeline.end_nanos()).max().unwrap_or(0);
        let audio_start = audio.iter().map(|track| track.timeline.nanos(track.timeline.delay)).min();
        let video_end = renditions.iter().map(|rendition| rendition.end).max().unwrap_or(0);
        let (before, times) = around(instants, audio_start, audio_end, video_end, segment);
        let video = video
            .iter()
            .enumerate()
            .map(|(number, track)| {
                let row = |instant: &Vec<usize>| track.timeline.keys[instant[number]].row;
                common.iter().enumerate().map(|(slot, instant)| (before + slot as u32, row(instant))).collect()
            })
            .collect();
        Ok(Slots { times, video })
    }

    /// Whether a sample presented at `time` belongs to a slot behind this one.
    pub fn is_behind(&self, slot: u32, time: i64) -> bool {
        self.times.get(slot as usize + 1).is_some_and(|&next| time.saturating_add(SLACK_NANOS) >= next)
    }
}

/// Adds instants every `segment` where there is audio and no video. Returns how many come before the video's.
fn around(
    instants: Vec<i64>,
    audio_start: Option<i64>,
    audio_end: i64,
    video_end: i64,
    segment: Duration,
) -> (u32, Vec<i64>) {
    let step = i64::try_from(segment.as_nanos()).unwrap_or(i64::MAX).max(STRAY_NANOS / 4);
    let first = instants.first().copied();
    let mut times = Vec::new();
    // Before a late video, from 0; everywhere if there is none.
    let end = match first {
        Some(first) if audio_start.is_some_and(|start| start + STRAY_NANOS <= first) => first,
        Some(_) => 0,
        None => audio_end,
    };
    let mut at = 0_i64;
    while at < end && (at == 0 || end - at >= STRAY_NANOS.min(step)) {
        times.push(at);
        at = at.saturating_add(step);
    }
    if first.is_none() && times.is_empty() {
        times.push(0);
    }
    let before = times.len() as u32;
    times.extend(&instants);
    if first.is_some() {
        let mut at = video_end;
        while audio_end.saturating_sub(at) >= STRAY_NANOS {
            times.push(at);
            at = at.saturating_add(step);
        }
    }
    (before, times)
}

/// The order of tracks in an asset: the tallest and best video first.
pub fn by_quality(a: &Candidate<'_>, b: &Candidate<'_>) -> std::cmp::Ordering {
    let rank = |track: &Candidate<'_>| {
        let size = match &track.description.details {
            crate::media::track::Details::Video(video) => (video.height, video.width),
            _ => (0, 0),
        };
        (size, track.timeline.bits_per_second)
    };
    match (a.kind(), b.kind()) {
        (Kind::Video, Kind::Video) => rank(b).cmp(&rank(a)),
        (a, b) => a.cmp(&b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_cover_audio_around_the_video() {
        let seconds = |list: &[i64]| list.iter().map(|second| second * 1_000_000_000).collect::<Vec<i64>>();
        for (video, video_end, audio, want) in [
            // Audio alone: every 4 s, no stub of less than a second at the end.
            (vec![], 0, Some((0, 13)), (3, vec![0, 4, 8, 12])),
            (vec![], 0, Some((0, 12)), (3, vec![0, 4, 8])),
            (vec![], 0, Some((0, 0)), (1, vec![0])),
            // Video alone, and with audio of the same length.
            (vec![0, 2], 4, None, (0, vec![0, 2])),
            (vec![0, 2], 4, Some((0, 4)), (0, vec![0, 2])),
            // A late video, a long audio.
            (vec![6, 8], 10, Some((0, 10)), (2, vec![0, 4, 6, 8])),
            (vec![0, 2], 4, Some((0, 13)), (0, vec![0, 2, 4, 8, 12])),
        ] {
            let (start, end) =
                audio.map_or((None, 0), |(start, end)| (Some(start * 1_000_000_000), end * 1_000_000_000));
            let (before, times) =
                around(seconds(&video), start, end, video_end * 1_000_000_000, Duration::from_secs(4));
            let want_before = if video.is_empty() { times.len() as u32 } else { want.0 };
            assert_eq!((before, times), (want_before, seconds(&want.1)), "{video:?} {audio:?}");
        }
    }
}
