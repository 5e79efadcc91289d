//! Which stretch of a track an edit list presents, and when (ISO/IEC 14496-12 §8.6.6).

use crate::base::units::{gcd, rescale_ceil};
use crate::base::{Ticks, Timescale};

use super::movie::MovieTrack;

/// The timescale in which edits of all tracks are whole numbers, if it has 31 bits, for readers take it for signed; or else the
/// finest of theirs.
pub(super) fn movie_scale(tracks: &[MovieTrack<'_>]) -> Timescale {
    let scales = || tracks.iter().map(|track| track.timescale);
    let common = scales().try_fold(1_u32, |common, scale| {
        let scale = scale.per_second();
        (common / gcd(common, scale)).checked_mul(scale).filter(|&common| common <= i32::MAX as u32)
    });
    let common = common.filter(|_| !tracks.is_empty()).and_then(Timescale::new);
    common.or_else(|| scales().max_by_key(|scale| scale.per_second())).unwrap_or(Timescale::MILLIS)
}

/// What of a track is presented, and when, in its ticks.
pub(super) struct Presented {
    /// From presentation time 0 to the first sample.
    pub late: u64,
    /// The media time that is presented first, counted from the first decode time. Never less than the composition time of the
    /// first picture: FFmpeg, and so browsers, show that one where the edit begins, and not as much later as its media are.
    pub from: u64,
    pub length: u64,
}

impl Presented {
    pub fn of(track: &MovieTrack<'_>) -> Presented {
        let base = track.fragments.first().map_or(0, |first| first.decode_time().0);
        // The media time of presentation time 0.
        let zero = track.presentation_offset.0.saturating_add(base).saturating_neg().saturating_add(track.reorder.0);
        let (mut first, mut end) = (None, 0);
        for fragment in track.fragments {
            let mut time = fragment.decode_time().0 - base;
            for sample in track.samples_of(fragment) {
                let shown = time + track.offset(sample);
                first = Some(first.map_or(shown, |first| shown.min(first)));
                end = (shown + i64::from(sample.duration.get())).max(end);
                time += i64::from(sample.duration.get());
            }
        }
        let from = zero.max(first.unwrap_or(0)).max(0);
        let positive = |ticks: i64| u64::try_from(ticks).unwrap_or(0);
        Presented {
            late: if first.is_some() { positive(from.saturating_sub(zero)) } else { 0 },
            from: positive(from),
            length: positive(end.saturating_sub(from)),
        }
    }

    /// How late it begins, and how long it is.
    pub fn in_movie(&self, scale: Timescale, from: Timescale) -> (u64, u64) {
        (in_movie(scale, self.late, from), in_movie(scale, self.length, from))
    }
}

/// In the movie's timescale, rounded up, so that nothing presented is cut.
fn in_movie(scale: Timescale, ticks: u64, from: Timescale) -> u64 {
    let ticks = Ticks(i64::try_from(ticks).unwrap_or(i64::MAX));
    rescale_ceil(ticks, from, scale).map_or(0, |ticks| ticks.0.max(0) as u64)
}

#[cfg(test)]
mod tests {
    use crate::media::fragment::Start;
    use crate::media::{Fragment, Sample};

    use super::*;

    const MPEG: u32 = 90_000;

    fn track<'a>(timescale: u32, fragments: &'a [Fragment], samples: &'a [Sample]) -> MovieTrack<'a> {
        MovieTrack {
            header: &[],
            timescale: Timescale::new(timescale).unwrap(),
            clock: Timescale::new(timescale).unwrap(),
            fragments,
            samples,
            presentation_offset: Ticks(0),
            reorder: Ticks(0),
            enabled: true,
            alternate_group: 1,
        }
    }

    #[test]
    fn edits_begin_with_a_picture() {
        for (what, decode_time, presentation_offset, reorder, offsets, (late, from, length)) in [
            ("at once", 0, 0, 0, [0, 0, 0], (0, 0, 90)),
            ("priming", 0, -20, 0, [0, 0, 0], (0, 20, 70)),
            ("late", 25, 0, 0, [0, 0, 0], (25, 0, 90)),
            ("late with priming", 25, -20, 0, [0, 0, 0], (5, 0, 90)),
            ("reordered", 0, 0, 60, [0, 30, -60], (0, 60, 90)),
            ("reordered, by less late than that", 25, 0, 60, [0, 30, -60], (25, 60, 90)),
            ("reordered, by more late than that", 100, 0, 60, [0, 30, -60], (100, 60, 90)),
            ("reordered, offsets as stored", 0, -60, 0, [60, 90, 0], (0, 60, 90)),
            ("reordered, presented late as stored", 0, -40, 0, [60, 90, 0], (20, 60, 90)),
            ("hidden pictures", 0, -30, 60, [0, 30, -60], (0, 90, 60)),
            ("all hidden", 0, -1_000, 0, [0, 0, 0], (0, 1_000, 0)),
        ] {
            let samples = offsets.map(|offset: i32| Sample {
                size: 1.into(),
                duration: 30.into(),
                composition_offset: offset.into(),
                flags: 0.into(),
            });
            let fragment = Fragment {
                offset: 0.into(),
                decode_time: decode_time.into(),
                duration: 90.into(),
                size: 0.into(),
                media_offset: 0.into(),
                key_frame_size: 0.into(),
                first_sample: 0.into(),
                sample_count: 3.into(),
                slot: 0.into(),
                start: (Start::Closed as u32).into(),
                file: 0.into(),
            };
            let fragments = [fragment];
            let track = MovieTrack {
                presentation_offset: Ticks(presentation_offset),
                reorder: Ticks(reorder),
                ..track(MPEG, &fragments, &samples)
            };
            let found = Presented::of(&track);
            assert_eq!((found.late, found.from, found.length), (late, from, length), "{what}");
        }
    }

    #[test]
    fn the_movie_counts_in_what_all_tracks_count_in() {
        for (scales, expected) in [
            (&[][..], 1_000),
            (&[25], 25),
            (&[25, 24], 600),
            (&[12_800, 48_000], 192_000),
            (&[MPEG, 44_100, 48_000], 35_280_000),
            (&[10_000_000, 44_100], 10_000_000),
            (&[44_100, 10_000_000, 25], 10_000_000),
            (&[1, u32::MAX], u32::MAX),
        ] {
            let tracks: Vec<_> = scales.iter().map(|&scale| track(scale, &[], &[])).collect();
            assert_eq!(movie_scale(&tracks).per_second(), expected, "{scales:?}");
        }
    }
}
