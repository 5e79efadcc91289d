//! Thumbnails as WebVTT: each cue names a rectangle of a sheet (a media fragment, `#xywh=`, as players' plug-ins take it).

use std::fmt::Write;

use crate::media::{Presentation, Thumbnails};

use super::rate::Rate;
use super::url;

/// What the sheets of a stretch of so many microseconds need, loaded as they are played. The last counts as if it were full.
pub(super) fn rate(shown: &Thumbnails<'_>, micros: u64) -> Rate {
    let sheets = shown.sheets_of(micros);
    let sheets = shown.sheets.get(sheets.start as usize..sheets.end as usize).unwrap_or_default();
    let sizes = || sheets.iter().map(|sheet| u64::from(sheet.size.get()));
    let bits = |bytes: u64, micros: u64| {
        let bits = (u128::from(bytes) * 8_000_000).div_ceil(u128::from(micros.max(1)));
        u64::try_from(bits).unwrap_or(u64::MAX)
    };
    let length = shown.grid.sheet_micros();
    Rate {
        peak: bits(sizes().max().unwrap_or(0), length),
        average: bits(sizes().sum(), length.saturating_mul(sheets.len() as u64)),
    }
}

/// The map of all thumbnails of the presentation; its links are relative to `/vod/{asset}/`. `None` if it has none.
pub fn thumbnail_map(presentation: &Presentation<'_>) -> Option<String> {
    let shown = presentation.thumbnails?;
    let (grid, interval) = (shown.grid, shown.grid.interval_micros());
    let end = shown.cut_off.saturating_add(u64::try_from(presentation.duration.as_micros()).unwrap_or(u64::MAX));
    let first = shown.cut_off / interval;
    let count = end.div_ceil(interval).min(u64::from(grid.count));
    let mut out = String::with_capacity(16 + count.saturating_sub(first) as usize * 96);
    out.push_str("WEBVTT\n");
    for number in first..count {
        // What shows in the stretch of its time.
        let from = number.saturating_mul(interval).max(shown.cut_off) - shown.cut_off;
        let to = (number + 1).saturating_mul(interval).min(end) - shown.cut_off;
        let (from, to) = (from.div_ceil(1_000), to.div_ceil(1_000));
        let place = grid.place(number as u32);
        // Writing to a string does not fail.
        let _ = writeln!(out, "\n{} --> {}", clock(from), clock(to));
        let mut link = String::new();
        url::push_sheet(&mut link, shown.id, place.sheet);
        out.push_str(&url::versioned(presentation.version, &link));
        let _ = writeln!(out, "#xywh={},{},{},{}", place.x, place.y, grid.width, grid.height);
    }
    Some(out)
}

/// `hh:mm:ss.ttt` (WebVTT §4.1)
fn clock(millis: u64) -> String {
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::fixture::Fixture;
    use crate::media::webvtt;
    use crate::package::{Links, dash, hls};
    use proptest::prelude::*;

    /// The URL and rectangle that a map names for a time in milliseconds.
    fn at(map: &str, time: u64) -> Option<String> {
        let cues = webvtt::normalise("map", map.as_bytes()).unwrap();
        let cue = cues.cues.iter().find(|cue| cue.start.get() <= time && time < cue.end.get())?;
        let text = &cues.text[cue.offset.get() as usize..][..cue.size.get() as usize];
        String::from_utf8_lossy(text).lines().nth(1).map(str::to_owned)
    }

    #[test]
    fn clips_show_what_they_are_of() {
        // 60.06 s, a thumbnail a second, sheets of 18 s, segments of 4.004 s.
        let film = Fixture { duration: Some(Duration::from_millis(60_060)), ..Fixture::film(60) };
        let fixture = film.with_thumbnails(Duration::from_secs(1));
        let whole = fixture.presentation();
        for (start, end, time, want) in [
            (0, u64::MAX, 0, Some("0.jpg#xywh=0,0,320,180")),
            (0, u64::MAX, 19_999, Some("1.jpg#xywh=320,0,320,180")),
            (0, u64::MAX, 60_059, Some("3.jpg#xywh=0,360,320,180")),
            (0, u64::MAX, 60_060, None),
            // From 8.008 s on, to 20.02 s.
            (9_000_000, 17_000_000, 0, Some("0.jpg#xywh=640,360,320,180")),
            (9_000_000, 17_000_000, 991, Some("0.jpg#xywh=640,360,320,180")),
            (9_000_000, 17_000_000, 992, Some("0.jpg#xywh=0,540,320,180")),
            (9_000_000, 17_000_000, 12_011, Some("1.jpg#xywh=640,0,320,180")),
            (9_000_000, 17_000_000, 12_012, None),
        ] {
            let stretch = whole.stretch(start, end).unwrap();
            let map = thumbnail_map(&stretch).unwrap();
            let want = want.map(|place| format!("0123456789abcdef/i1/{place}"));
            assert_eq!(at(&map, time), want, "{start}..{end} at {time}: {map}");
        }
    }

    #[test]
    fn sheets_that_cannot_be_cut_are_left_out() {
        // 72.072 s; every 1.001 s, so that a sheet ends with a segment after 18.018 s, the ninth key frame, and 36.036 s.
        let film = Fixture::film_of(72, Duration::from_secs(2));
        let film = Fixture { duration: Some(Duration::from_millis(72_072)), ..film };
        let fixture = film.with_thumbnails(Duration::from_millis(1_001));
        let whole = fixture.presentation();
        for (start, end, numbers) in [
            (0, u64::MAX, Some(0..4)),
            (0, 20_000_000, Some(0..2)),
            (18_500_000, u64::MAX, Some(1..4)),
            (36_036_000, 37_000_000, Some(2..3)),
            (3_000_000, u64::MAX, None),
        ] {
            let stretch = whole.stretch(start, end).unwrap();
            let playlist = hls::media_thumbnails(&stretch);
            let sheets = playlist
                .as_deref()
                .map(|text| text.lines().filter(|line| line.ends_with(".jpg")).map(str::to_owned).collect::<Vec<_>>());
            let want = numbers.clone().map(|numbers| numbers.map(|number| format!("i1/{number}.jpg")).collect());
            assert_eq!(sheets, want, "{start}..{end}");
            let multivariant = hls::multivariant(&stretch, &Links::default());
            assert_eq!(multivariant.contains("#EXT-X-IMAGE-STREAM-INF:"), numbers.is_some());
            let mpd = dash::mpd(&stretch, &Links::default());
            let start = numbers.map(|numbers| format!("duration=\"18018\" startNumber=\"{}\"", numbers.start));
            assert_eq!(mpd.contains("thumbnail_tile"), start.is_some());
            assert!(mpd.contains(&start.unwrap_or_default()), "{mpd}");
        }
    }

    proptest! {
        #[test]
        fn every_instant_of_a_clip_has_its_thumbnail(
            start in 0_u64..60_000_000, length in 1_u64..60_000_000, millis in 1_000_u64..20_000, at_part in 0.0..1.0,
        ) {
            let fixture = Fixture::film(60).with_thumbnails(Duration::from_millis(millis));
            let whole = fixture.presentation();
            let stretch = whole.stretch(start, start + length).unwrap();
            let shown = stretch.thumbnails.unwrap();
            let time = ((stretch.duration.as_millis() as f64 - 1.0) * at_part) as u64;
            let number = (shown.cut_off / 1_000 + time) / millis;
            let near = |number: u64| {
                let place = shown.grid.place(number as u32);
                format!("0123456789abcdef/i1/{}.jpg#xywh={},{},320,180", place.sheet, place.x, place.y)
            };
            let found = at(&thumbnail_map(&stretch).unwrap(), time).unwrap();
            // Times of cues are whole milliseconds.
            prop_assert!(found == near(number) || found == near(number + 1) || found == near(number.saturating_sub(1)));
        }
    }
}
