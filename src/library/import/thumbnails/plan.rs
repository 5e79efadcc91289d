//! How many thumbnails, how large and on which sheets; and which pictures of the video have to be decoded for them.

use std::str::FromStr;
use std::time::Duration;

use crate::base::limits::{THUMBNAIL_INTERVAL_MAX, THUMBNAIL_INTERVAL_MIN, THUMBNAILS_MAX};
use crate::media::thumbnails::Grid;
use crate::media::track::Video;

/// What the user wants of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// One every so often; `None`: by the length of the presentation.
    pub interval: Option<Duration>,
    /// Pixels of the longer side; `None`: [`SIZE_DEFAULT`].
    pub size: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOption {
    #[error("unknown option {found:?}; known are interval= and size=")]
    Key { found: String },
    #[error(
        "interval {found:?} is not a length between {}s and {}s, such as 10s",
        THUMBNAIL_INTERVAL_MIN.as_secs(), THUMBNAIL_INTERVAL_MAX.as_secs()
    )]
    Interval { found: String },
    #[error("size {found:?} is not a number of pixels between {SIZE_MIN} and {SIZE_MAX}")]
    Size { found: String },
}

const SIZE_DEFAULT: u32 = 320;
const SIZE_MIN: u32 = 64;
const SIZE_MAX: u32 = 540;
/// No side of a sheet is longer: some television sets decode no larger pictures.
const SHEET_SIDE_MAX: u32 = 1_080;
/// Sides are even, as 4:2:0 wants, and at least so long however narrow the picture is.
const SIDE_MIN: u32 = 16;
/// The usual intervals, of which the first is taken that makes no more than [`USUAL_COUNT`], or the last.
const INTERVALS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10)];
/// One for every few pixels of a seek bar.
const USUAL_COUNT: u32 = 300;

const _: () = assert!(SIZE_DEFAULT <= SIZE_MAX && SIZE_MAX <= SHEET_SIDE_MAX && SIDE_MIN <= SIZE_MIN);
const _: () = assert!(SHEET_SIDE_MAX <= crate::base::limits::SHEET_PIXELS_MAX && USUAL_COUNT <= THUMBNAILS_MAX);

impl Wanted {
    /// Of the longer side, in pixels.
    pub fn size(&self) -> u32 {
        self.size.unwrap_or(SIZE_DEFAULT)
    }
}

impl FromStr for Wanted {
    type Err = BadOption;

    /// `interval=10s,size=240`; nothing at all is allowed too.
    fn from_str(text: &str) -> Result<Wanted, BadOption> {
        let mut wanted = Wanted::default();
        for option in text.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("interval", value)) => {
                    let seconds = value.strip_suffix('s').unwrap_or(value).parse::<f64>().ok();
                    let range = THUMBNAIL_INTERVAL_MIN.as_secs_f64()..=THUMBNAIL_INTERVAL_MAX.as_secs_f64();
                    let seconds = seconds.filter(|seconds| range.contains(seconds));
                    let seconds = seconds.ok_or_else(|| BadOption::Interval { found: value.to_owned() })?;
                    wanted.interval = Some(Duration::from_millis((seconds * 1e3).round() as u64));
                }
                Some(("size", value)) => {
                    let size = value.parse().ok().filter(|size| (SIZE_MIN..=SIZE_MAX).contains(size));
                    wanted.size = Some(size.ok_or_else(|| BadOption::Size { found: value.to_owned() })?);
                }
                _ => return Err(BadOption::Key { found: option.to_owned() }),
            }
        }
        Ok(wanted)
    }
}

/// More thumbnails than an asset may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("one every {} s makes {count} thumbnails, {THUMBNAILS_MAX} at most; interval= takes a longer one", interval.as_secs_f64())]
pub struct TooMany {
    pub interval: Duration,
    pub count: u64,
}

/// For a presentation of that length.
pub fn grid(wanted: Wanted, duration: Duration, video: &Video) -> Result<Grid, TooMany> {
    let count = |interval: Duration| {
        u64::try_from(duration.as_millis().div_ceil(interval.as_millis().max(1))).unwrap_or(u64::MAX).max(1)
    };
    let interval = wanted.interval.unwrap_or_else(|| {
        let fits = |interval: &Duration| count(*interval) <= u64::from(USUAL_COUNT);
        INTERVALS.into_iter().find(fits).unwrap_or_else(|| {
            // Whole seconds, for what lasts for days.
            let seconds = duration.as_millis().div_ceil(1_000 * u128::from(THUMBNAILS_MAX));
            Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)).max(INTERVALS[INTERVALS.len() - 1])
        })
    });
    let found = count(interval);
    let Some(count) = u32::try_from(found).ok().filter(|count| *count <= THUMBNAILS_MAX) else {
        return Err(TooMany { interval, count: found });
    };
    let (width, height) = sides(wanted.size(), video);
    let (columns, rows) = ((SHEET_SIDE_MAX / width).max(1), (SHEET_SIDE_MAX / height).max(1));
    // What fits on one sheet does not get a larger one than it needs.
    let columns = (f64::from(count).sqrt().ceil() as u32).max(count.div_ceil(rows)).min(columns);
    let rows = count.div_ceil(columns).min(rows);
    Ok(Grid { width, height, columns, rows, interval, count })
}

/// Width and height in the picture's shape as it is shown, not larger than it is.
fn sides(longer: u32, video: &Video) -> (u32, u32) {
    let width =
        f64::from(video.width.max(1)) * f64::from(video.pixel_aspect.0.max(1)) / f64::from(video.pixel_aspect.1.max(1));
    let height = f64::from(video.height.max(1));
    let scale = (f64::from(longer) / width.max(height)).min(1.0);
    let side = |length: f64| ((length * scale / 2.0).round() as u32 * 2).clamp(SIDE_MIN, longer & !1);
    (side(width), side(height))
}

/// How many samples of each fragment have to be decoded, in decode order from the key frame on; 0 for most.
///
/// A thumbnail shows a picture of its own interval: the key frame that is nearest to the middle, if there is one. Only where
/// key frames are further apart is all behind one decoded, which `count` says for a fragment. `keys` are the times of the key
/// frames in microseconds, in order.
pub fn samples(grid: &Grid, keys: &[i64], count: &dyn Fn(usize) -> u32) -> Vec<u32> {
    let mut samples = vec![0; keys.len()];
    let interval = i64::try_from(grid.interval_micros()).unwrap_or(i64::MAX);
    for number in 0..i64::from(grid.count) {
        let (start, end) = (number.saturating_mul(interval), (number + 1).saturating_mul(interval));
        let middle = start + interval / 2;
        let within = keys.partition_point(|&key| key < start)..keys.partition_point(|&key| key < end);
        let nearest = within.min_by_key(|&key| keys[key].abs_diff(middle));
        // Nothing is shown before the first key frame.
        let before = || keys.partition_point(|&key| key <= middle).checked_sub(1);
        let (fragment, taken) = match (nearest, before()) {
            (Some(fragment), _) => (fragment, 1),
            (None, Some(fragment)) => (fragment, count(fragment)),
            (None, None) => continue,
        };
        samples[fragment] = taken.max(samples[fragment]);
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::fixture::video;
    use proptest::prelude::*;

    fn picture(width: u32, height: u32, pixel_aspect: (u32, u32)) -> Video {
        Video { pixel_aspect, ..video("v1", "avc1", width, height).video().unwrap().clone() }
    }

    #[test]
    fn sheets_fit_what_there_is() {
        let hd = picture(1_920, 1_080, (1, 1));
        for (seconds, picture, wanted, want) in [
            // Seconds; size of a thumbnail; columns and rows; interval and count.
            (1.0, &hd, "", (320, 180, 1, 1, 1_000, 1)),
            (6.2, &hd, "", (320, 180, 3, 3, 1_000, 7)),
            (20.1, &hd, "", (320, 180, 3, 6, 1_000, 21)),
            (600.0, &hd, "", (320, 180, 3, 6, 2_000, 300)),
            (600.1, &hd, "", (320, 180, 3, 6, 5_000, 121)),
            (10_800.0, &hd, "", (320, 180, 3, 6, 10_000, 1_080)),
            (86_400.0, &hd, "", (320, 180, 3, 6, 10_000, 8_640)),
            (31.0 * 86_400.0, &hd, "", (320, 180, 3, 6, 268_000, 9_995)),
            (60.0, &hd, "interval=2.5s,size=240", (240, 136, 4, 6, 2_500, 24)),
            (60.0, &hd, "interval=600", (320, 180, 1, 1, 600_000, 1)),
            (60.0, &picture(1_080, 1_920, (1, 1)), "", (180, 320, 6, 3, 1_000, 60)),
            (8.0, &picture(1_080, 1_920, (1, 1)), "", (180, 320, 3, 3, 1_000, 8)),
            // Anamorphic PAL, small pictures, and very wide ones.
            (9.0, &picture(720, 576, (64, 45)), "", (320, 180, 3, 3, 1_000, 9)),
            (9.0, &picture(160, 90, (1, 1)), "", (160, 90, 3, 3, 1_000, 9)),
            (9.0, &picture(4_000, 100, (1, 1)), "", (320, 16, 3, 3, 1_000, 9)),
            (0.0, &hd, "", (320, 180, 1, 1, 1_000, 1)),
        ] {
            let grid = grid(wanted.parse().unwrap(), Duration::from_secs_f64(seconds), picture).unwrap();
            let (width, height, columns, rows, millis, count) = want;
            let interval = Duration::from_millis(millis);
            assert_eq!(grid, Grid { width, height, columns, rows, interval, count }, "{seconds} s, {wanted}");
        }
        let error = grid("interval=1".parse().unwrap(), Duration::from_secs(10_001), &hd).unwrap_err();
        assert_eq!(
            error.to_string(),
            "one every 1 s makes 10001 thumbnails, 10000 at most; interval= takes a longer one"
        );
    }

    #[test]
    fn mistakes() {
        for (text, want) in [
            ("10s", "unknown option \"10s\"; known are interval= and size="),
            ("interval=0.5", "interval \"0.5\" is not a length between 1s and 600s, such as 10s"),
            ("interval=x", "interval \"x\" is not a length between 1s and 600s, such as 10s"),
            ("interval=NaN", "interval \"NaN\" is not a length between 1s and 600s, such as 10s"),
            ("size=63", "size \"63\" is not a number of pixels between 64 and 540"),
            ("size=541", "size \"541\" is not a number of pixels between 64 and 540"),
        ] {
            assert_eq!(text.parse::<Wanted>().unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn key_frames_are_enough_where_there_are_enough() {
        let hd = picture(1_920, 1_080, (1, 1));
        let seconds = |times: &[i64]| times.iter().map(|time| time * 1_000_000).collect::<Vec<_>>();
        for (keys, interval, length, want) in [
            // The key frame nearest to the middle.
            (&[0, 2, 4, 6, 8, 10, 12, 14][..], "10", 16, &[0, 0, 1, 0, 0, 0, 0, 1][..]),
            // Further apart than thumbnails: what is shown at 7.5 s is behind the first.
            (&[0, 10], "5", 15, &[18, 1]),
            // Later than the first thumbnails, and with nothing behind.
            (&[12], "5", 30, &[18]),
        ] {
            let wanted = format!("interval={interval}").parse().unwrap();
            let grid = grid(wanted, Duration::from_secs(length), &hd).unwrap();
            let keys = seconds(keys);
            assert_eq!(samples(&grid, &keys, &|_| 18), want, "{keys:?}");
        }
    }

    proptest! {
        #[test]
        fn sheets_are_bounded(
            width in 1_u32..20_000, height in 1_u32..20_000, aspect in (1_u32..100, 1_u32..100),
            millis in 0_u64..3_000_000_000, size in prop::option::of(SIZE_MIN..=SIZE_MAX),
        ) {
            let wanted = Wanted { interval: None, size };
            let grid = grid(wanted, Duration::from_millis(millis), &picture(width, height, aspect)).unwrap();
            prop_assert!(grid.count <= THUMBNAILS_MAX && grid.width.is_multiple_of(2) && grid.height.is_multiple_of(2));
            let (width, height) = grid.sheet_size();
            prop_assert!((1..=SHEET_SIDE_MAX).contains(&width) && (1..=SHEET_SIDE_MAX).contains(&height));
            let end = grid.interval.as_millis() as u64 * u64::from(grid.count);
            prop_assert!(end >= millis && end - millis <= grid.interval.as_millis() as u64);
        }
    }
}
