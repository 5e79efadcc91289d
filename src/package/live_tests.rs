//! What must hold for the manifests of any channel.

use std::time::Duration;

use proptest::prelude::*;

use super::fixture::{Channel, FIRST};
use super::hls::rules::{self, Checked};
use super::hls::{self, Live};
use super::live_url::Stretch;
use super::ts;
use super::ts::url::Rendition;
use crate::media::broadcast::{Bitrate, Mark, State};
use crate::media::feed::Message;
use crate::media::fixture::splice_insert;

/// 13 frames of video and 24 of audio: four parts in a segment, the last one shorter.
const PART: Option<Duration> = Some(Duration::from_millis(520));

fn playlist(channel: &Channel, track: usize, which: &Live) -> String {
    let broadcast = channel.broadcast();
    hls::live_media(&broadcast, &broadcast.tracks[track], which)
}

fn checked(channel: &Channel, track: usize, which: &Live) -> Checked {
    rules::check(&playlist(channel, track, which)).unwrap_or_else(|wrong| panic!("{wrong}"))
}

#[test]
fn a_channel_that_grows_keeps_every_rule() {
    for part in [PART, None, Some(Duration::from_millis(333)), Some(Duration::from_millis(200))] {
        let mut before: Vec<Option<Checked>> = vec![None; 3];
        for segments in 1..30 {
            for parts in 0..=4 {
                let mut channel = Channel::news(segments, parts, part);
                channel.remove(2, FIRST + 9);
                channel.change(FIRST + 17);
                channel.first = FIRST + segments.saturating_sub(20);
                let now: Vec<Checked> = (0..3).map(|track| checked(&channel, track, &Live::default())).collect();
                for (before, after) in before.iter().zip(&now) {
                    let kept = before.as_ref().map(|before| rules::check_update(before, after));
                    assert_eq!(kept.unwrap_or(Ok(())), Ok(()), "{segments} {parts} {part:?}");
                    assert_eq!(rules::check_beside(&now[0], after), Ok(()), "{segments} {parts}");
                }
                before = now.into_iter().map(Some).collect();
            }
        }
    }
}

/// An entry for each segment with the number, length and discontinuities that it has, and a gap where it begins with no key
/// frame.
#[test]
fn key_frames_of_a_channel_that_grows_keep_every_rule() {
    for part in [PART, None] {
        let mut before: Vec<Option<Checked>> = vec![None; 4];
        for segments in 1..30 {
            for parts in [0, 1, 4] {
                let mut channel = Channel::news(segments, parts, part);
                channel.remove(0, FIRST + 9);
                channel.begin_dependent(0, FIRST + 12);
                channel.change(FIRST + 17);
                channel.first = FIRST + segments.saturating_sub(20);
                let broadcast = channel.broadcast();
                let which = hls::Whole::default();
                let now: Vec<Checked> = broadcast
                    .of_kind(crate::media::Kind::Video)
                    .flat_map(|live| {
                        let made = ts::live_media_key_frames(&broadcast, live, &which).expect("it is carried");
                        [hls::live_media_key_frames(&broadcast, live, &which), made]
                    })
                    .map(|text| rules::check(&text).unwrap_or_else(|wrong| panic!("{wrong}")))
                    .collect();
                for (before, after) in before.iter().zip(&now) {
                    let kept = before.as_ref().map(|before| rules::check_update(before, after));
                    assert_eq!(kept.unwrap_or(Ok(())), Ok(()), "{segments} {parts} {part:?}");
                    assert_eq!(rules::check_beside(&now[0], after), Ok(()), "{segments} {parts}");
                    assert!(after.is_of_key_frames);
                }
                let media = checked(&channel, 0, &Live::default());
                assert_eq!(now[0].segments.len(), media.segments.len(), "{segments} {parts}");
                for (number, (key, whole)) in (channel.first..).zip(now[0].segments.iter().zip(&media.segments)) {
                    let said = |segment: &rules::Segment| {
                        (segment.duration, segment.discontinuities, segment.date.clone(), segment.map.clone())
                    };
                    assert_eq!(said(key), said(whole), "{number}");
                    assert_eq!(key.is_gap, number == FIRST + 9 || number == FIRST + 12, "{number}");
                }
                before = now.into_iter().map(Some).collect();
            }
        }
    }
}

/// At the distance of slots, and not at all where there are not two of them.
#[test]
fn key_frames_are_offered_where_there_are_two() {
    type Change = fn(&mut Channel);
    let changes: [(&str, u64, Change, Option<u64>); 9] = [
        ("none", 0, |_| (), None),
        ("one", 1, |_| (), None),
        // 50 KB and a header of 112 bytes in 2 s.
        ("two", 2, |_| (), Some(200_448)),
        ("two, of which one begins with none", 2, |channel| channel.begin_dependent(0, FIRST), None),
        ("two and a gap", 3, |channel| channel.remove(0, FIRST + 1), Some(200_448)),
        ("one in the window", 3, |channel| channel.first += 2, None),
        ("one that all have passed", 2, |channel| channel.next -= 1, None),
        ("larger ones", 20, |channel| channel.tracks[0].key_frame_size = 99_888, Some(400_000)),
        // No more than the segments that they are parts of.
        ("not known", 20, |channel| channel.tracks[0].key_frame_size = 0, Some(4_200_000)),
    ];
    for (name, segments, change, want) in changes {
        let mut channel = Channel::news(segments, 2, PART);
        channel.tracks.remove(1);
        change(&mut channel);
        let broadcast = channel.broadcast();
        let text = hls::live_multivariant(&broadcast, Stretch::default());
        let line = text.lines().find(|line| line.starts_with("#EXT-X-I-FRAME-STREAM-INF"));
        let attributes = r#"CODECS="avc1.640028",RESOLUTION=1920x1080,VIDEO-RANGE=SDR,URI="v1.iframes.m3u8""#;
        let want = want.map(|rate| format!("#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={rate},{attributes}"));
        assert_eq!(line, want.as_deref(), "{name}");
        let text = ts::live_multivariant(&broadcast, Stretch::default()).expect("it is carried");
        assert_eq!(text.contains("I-FRAME"), want.is_some(), "{name}: {text}");
    }
}

/// The same numbers, times and discontinuities as the playlists beside them, in any state of the window.
#[test]
fn transport_streams_of_a_channel_that_grows_keep_every_rule() {
    for part in [PART, None] {
        let mut before: Vec<Option<Checked>> = vec![None; 4];
        for segments in 1..30 {
            for parts in [0, 1, 4] {
                let mut channel = Channel::news(segments, parts, part);
                channel.remove(2, FIRST + 9);
                // Of pictures too: nothing is left there.
                channel.remove(0, FIRST + 12);
                channel.remove(2, FIRST + 12);
                channel.change(FIRST + 17);
                channel.first = FIRST + segments.saturating_sub(20);
                let broadcast = channel.broadcast();
                let now: Vec<Checked> = ["v1.a1", "v2", "v2.a1", "a1"]
                    .into_iter()
                    .map(|name| {
                        let rendition = match name.split_once('.') {
                            Some((track, sound)) => Rendition { name, track, sound: Some(sound) },
                            None => Rendition { name, track: name, sound: None },
                        };
                        let tracks = ts::LiveTracks::of(&broadcast, rendition).expect("it is carried");
                        let text = ts::live_media(&broadcast, rendition, tracks, &hls::Whole::default());
                        rules::check(&text).unwrap_or_else(|wrong| panic!("{wrong}"))
                    })
                    .collect();
                for (before, after) in before.iter().zip(&now) {
                    let kept = before.as_ref().map(|before| rules::check_update(before, after));
                    assert_eq!(kept.unwrap_or(Ok(())), Ok(()), "{segments} {parts} {part:?}");
                    assert_eq!(rules::check_beside(&now[0], after), Ok(()), "{segments} {parts}");
                }
                let stored = checked(&channel, 0, &Live::default());
                assert_eq!(now[0].segments.len(), stored.segments.len(), "{segments} {parts}");
                for (number, (made, stored)) in (channel.first..).zip(now[0].segments.iter().zip(&stored.segments)) {
                    assert_eq!((made.duration, made.discontinuities), (stored.duration, stored.discontinuities));
                    // Sound alone is something: what is a gap beside it is none where it is muxed in.
                    assert_eq!(made.is_gap, number == FIRST + 12, "{number}");
                }
                before = now.into_iter().map(Some).collect();
            }
        }
    }
}

/// Nobody knows what comes after a segment that broke off, or behind a gap.
/// Segments are found by the clock as long as they lie on the grid within an eighth, and else in a timeline that lists what
/// is there, at the latency of whole segments.
#[test]
fn off_the_grid_dash_falls_back_to_a_timeline() {
    const LOW_LATENCY: [&str; 4] =
        ["low-latency-live", "availabilityTimeOffset", "<ServiceDescription", "availabilityTimeComplete=\"false\""];
    let part = Some(Duration::from_millis(500));
    let changed = FIRST + 12;
    // From which segment on, by how many milliseconds, after a discontinuity or not; what each Period is found by.
    for (from, millis, breaks, want) in [
        (FIRST, 0, false, &["clock"][..]),
        (FIRST, 250, false, &["clock"]),
        (FIRST, -250, false, &["clock"]),
        (FIRST, 252, false, &["timeline"]),
        (FIRST, -252, false, &["timeline"]),
        (FIRST + 19, 400, false, &["timeline"]),
        (changed, 100, true, &["clock", "clock"]),
        (changed, 900, true, &["clock", "timeline"]),
    ] {
        let mut channel = Channel::news(20, 2, part);
        channel.delay(from, millis);
        if breaks {
            channel.change(changed);
        }
        let mpd = super::dash::live_mpd(&channel.broadcast(), Stretch::default());
        let periods: Vec<&str> = mpd.split("<Period ").skip(1).collect();
        let found: Vec<&str> = periods
            .iter()
            .map(|period| if period.contains("<SegmentTimeline>") { "timeline" } else { "clock" })
            .collect();
        assert_eq!(found, want, "{from} {millis}: {mpd}");
        let is_low = *want.last().unwrap() == "clock";
        for word in LOW_LATENCY {
            // A Period that is over keeps how it was found.
            let is_of_period = word.starts_with("availability") && want.contains(&"clock");
            assert_eq!(mpd.contains(word), is_low || is_of_period, "{from} {millis}: {word} in {mpd}");
        }
        let delay = if is_low { "PT1.472001S" } else { "PT6S" };
        assert!(mpd.contains(&format!("suggestedPresentationDelay=\"{delay}\"")), "{from} {millis}: {mpd}");
        // All of what is listed is whole.
        if !is_low {
            let last = periods.last().unwrap();
            assert_eq!(last.matches("<SegmentTemplate").count(), 3, "{last}");
            assert!(!last.contains("availabilityTimeOffset"), "{last}");
        }
    }
    let mpd = super::dash::live_mpd(&Channel::news(20, 0, None).broadcast(), Stretch::default());
    assert!(mpd.contains("<SegmentTimeline>") && LOW_LATENCY.iter().all(|word| !mpd.contains(word)), "{mpd}");
}

/// What players jump over is as long as what is missing: that of the slots that tracks broke off in, too.
#[test]
fn lengths_of_gaps_add_up_to_the_hole() {
    const PICTURES: usize = 0;
    const SOUND: usize = 2;
    let at = |number: u64| FIRST + number;
    // Cuts of the segments beside a hole of all tracks: track, number, milliseconds of the slot. `missing` of each track; lengths
    // of the pictures' gaps in milliseconds, and of the sound's.
    type Cuts = &'static [(usize, u64, i64, i64)];
    for (name, cuts, missing, break_at, want) in [
        ("whole slots", &[][..], [5..8, 5..8], None, [&[2_000, 2_000, 2_000][..], &[2_000, 2_000, 2_000]]),
        (
            "a slot that breaks off",
            &[(PICTURES, 4, 0, 960), (SOUND, 4, 0, 960)],
            [5..9, 5..9],
            None,
            [&[2_499, 2_499, 2_040, 2_000], &[2_499, 2_499, 2_040, 2_000]],
        ),
        (
            "pictures end with the slot, and sound a little later",
            &[(SOUND, 5, 0, 64)],
            [5..8, 6..8],
            None,
            [&[64, 2_499, 2_499], &[2_499, 2_499]],
        ),
        (
            "sound comes back in the slot before",
            &[(SOUND, 7, 1_936, 2_000)],
            [5..8, 5..7],
            None,
            [&[2_000, 2_000, 2_000], &[2_000, 2_000]],
        ),
        (
            "the same behind a discontinuity",
            &[(SOUND, 7, 1_936, 2_000)],
            [5..8, 5..7],
            Some(6),
            [&[2_000, 2_000, 64], &[2_000, 2_000]],
        ),
        ("pictures alone", &[(PICTURES, 4, 0, 1_800)], [5..8, 5..5], None, [&[2_200, 2_000, 2_000], &[]]),
    ]
        as [(&str, Cuts, [std::ops::Range<u64>; 2], Option<u64>, [&[u64]; 2]); 6]
    {
        let mut channel = Channel::news(20, 0, PART);
        for (track, missing) in [(PICTURES, 0), (1, 0), (SOUND, 1)].map(|(track, of)| (track, missing[of].clone())) {
            missing.for_each(|number| channel.remove(track, at(number)));
        }
        for &(track, number, begin, end) in cuts {
            channel.cut(track, at(number), begin, end);
            if track == PICTURES {
                channel.cut(1, at(number), begin, end);
            }
        }
        let breaks: Vec<_> = break_at.map(|number| (at(number), 4)).into_iter().collect();
        for (track, want) in [PICTURES, SOUND].into_iter().zip(want) {
            let gaps = |first: u64| {
                channel.first = first;
                let mut broadcast = channel.broadcast();
                broadcast.discontinuities = &breaks;
                let text = hls::live_media(&broadcast, &broadcast.tracks[track], &Live::default());
                let found = rules::check(&text).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
                let gaps = found.segments.into_iter().filter(|segment| segment.is_gap);
                // To the nearest millisecond, sound being cut between its frames.
                gaps.map(|gap| (gap.uri, gap.duration / 1_000)).collect::<Vec<_>>()
            };
            let mut gaps = gaps;
            let whole = gaps(FIRST);
            let near = whole.iter().zip(want).all(|((_, found), want)| found.abs_diff(*want) <= 22);
            assert!(whole.len() == want.len() && near, "{name}, track {track}: {whole:?}, expected {want:?}");
            // They stay the same when what is before them leaves the window.
            for first in at(4)..at(9) {
                let left = gaps(first);
                assert!(whole.ends_with(&left), "{name}, track {track}, from {first}: {left:?}, was {whole:?}");
            }
        }
    }
}

#[test]
fn what_may_not_come_is_not_hinted_at() {
    for (track, breaks, is_gap, hint) in [
        (0, false, false, Some("v1/FIRST+9.0.m4s")),
        (0, true, false, None),
        (0, false, true, None),
        (2, true, false, None),
        (2, false, true, None),
    ] {
        let mut channel = Channel::news(9, 0, PART);
        if breaks {
            channel.break_off(track);
        }
        if is_gap {
            channel.remove(track, FIRST + 8);
        }
        let hint = hint.map(|hint| hint.replace("FIRST+9", &(FIRST + 9).to_string()));
        assert_eq!(checked(&channel, track, &Live::default()).hint, hint, "{track} {breaks} {is_gap}");
    }
}

#[test]
fn a_delta_update_is_the_end_of_the_whole() {
    let mut channel = Channel::news(40, 2, PART);
    channel.remove(2, FIRST + 31);
    channel.change(FIRST + 33);
    for track in 0..3 {
        let whole = playlist(&channel, track, &Live::default());
        let delta = playlist(&channel, track, &Live { skip: true, ..Live::default() });
        let (whole_rules, delta_rules) = (rules::check(&whole).unwrap(), rules::check(&delta).unwrap());
        assert!(delta.len() < whole.len() && delta.contains("#EXT-X-VERSION:9\n"), "{delta}");
        let skipped = delta_rules.skipped as usize;
        // Nothing within the skip boundary is left out (§6.2.5.1).
        let kept: u64 = delta_rules.segments.iter().map(|segment| segment.duration).sum();
        assert!(kept >= 12_000_000 && skipped > 20, "{kept} {skipped}");
        let after = delta.split_once("SKIPPED-SEGMENTS=").unwrap().1.split_once('\n').unwrap().1;
        // But for the initialisation segment, which is said again if it goes on.
        let (before, rest) = after.split_once("#EXT-X-MAP:").unwrap();
        let (map, rest) = rest.split_once('\n').unwrap();
        assert!(!before.contains(".m4s") && whole.contains(map), "{map}\n{whole}");
        let is_end = whole.ends_with(after) || whole.ends_with(&format!("{before}{rest}"));
        assert!(is_end, "{whole}\n{after}");
        assert_eq!(whole_rules.segments.len(), skipped + delta_rules.segments.len());
    }
    // Too short to skip anything: not offered, and ignored.
    let short = Channel::news(7, 2, PART);
    let plain = playlist(&short, 0, &Live::default());
    assert_eq!(plain, playlist(&short, 0, &Live { skip: true, ..Live::default() }));
    assert!(!plain.contains("CAN-SKIP-UNTIL"));
}

#[test]
fn the_hint_is_the_part_that_comes_next() {
    for (parts, want) in [(0, "10.0"), (1, "10.1"), (3, "10.3"), (4, "11.0")] {
        let channel = Channel::news(10, parts, PART);
        for track in ["v1", "v2", "a1"] {
            let at = channel.tracks.iter().position(|owned| owned.track.id == track).unwrap();
            let (number, part) = want.split_once('.').unwrap();
            let want = format!("{track}/{}.{part}.m4s", FIRST + number.parse::<u64>().unwrap());
            assert_eq!(checked(&channel, at, &Live::default()).hint, Some(want), "{parts}");
        }
    }
}

#[test]
fn reports_follow_media_time() {
    for (parts, want) in [(0, (9, 3)), (1, (10, 0)), (2, (10, 1)), (4, (10, 3))] {
        let channel = Channel::news(10, parts, PART);
        let text = playlist(&channel, 0, &Live::default());
        let want =
            format!("#EXT-X-RENDITION-REPORT:URI=\"v2.m3u8\",LAST-MSN={},LAST-PART={}\n", FIRST + want.0, want.1);
        assert!(text.contains(&want), "{want}{text}");
        // What another track has got does not show.
        let mut behind = Channel::news(10, parts, PART);
        behind.tracks[2].tail.pop();
        behind.tracks[1].tail.pop();
        assert_eq!(text, playlist(&behind, 0, &Live::default()));
    }
}

/// Nobody waits for a part of which nobody knows whether it comes; all else is as it was.
#[test]
fn nothing_is_hinted_at_behind_a_whole_segment_while_nobody_sends() {
    for (parts, hints) in [(0, 0), (2, 1)] {
        let mut channel = Channel::news(12, parts, PART);
        let before = (playlist(&channel, 0, &Live::default()), channel.broadcast().fingerprint());
        assert!(before.0.contains("#EXT-X-PRELOAD-HINT"), "{}", before.0);
        channel.is_silent = true;
        let text = playlist(&channel, 0, &Live::default());
        assert_eq!(text.matches("#EXT-X-PRELOAD-HINT").count(), hints, "{parts}: {text}");
        let others =
            |text: &str| text.lines().filter(|line| !line.contains("HINT")).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(others(&text), others(&before.0));
        // It is not kept for those who asked before.
        assert_ne!(channel.broadcast().fingerprint(), before.1);
    }
}

#[test]
fn stretches_and_ends() {
    let start = Some(Duration::from_secs(FIRST * 2));
    for (stretch, ended, has, has_not) in [
        ((None, None), false, vec!["EXT-X-PRELOAD-HINT"], vec!["PLAYLIST-TYPE", "ENDLIST", "EXT-X-START"]),
        ((None, None), true, vec!["ENDLIST"], vec!["PLAYLIST-TYPE", "PRELOAD-HINT", "EXT-X-PART", "SERVER-CONTROL"]),
        (
            (start, None),
            false,
            vec!["PLAYLIST-TYPE:EVENT", "EXT-X-START:TIME-OFFSET=0", ".m3u8?start="],
            vec!["ENDLIST"],
        ),
        ((start, start), true, vec!["PLAYLIST-TYPE:VOD", "ENDLIST"], vec!["EXT-X-PART", "EXT-X-START"]),
    ] {
        let mut channel = Channel::news(12, 2, PART);
        if ended {
            channel.end();
        }
        let stretch = super::live_url::Stretch { start: stretch.0, end: stretch.1 };
        let text = playlist(&channel, 0, &Live { stretch, is_whole: true, ..Live::default() });
        assert!(has.iter().all(|tag| text.contains(tag)), "{has:?} {text}");
        assert!(!has_not.iter().any(|tag| text.contains(tag)), "{has_not:?} {text}");
    }
}

/// Shaka Player moves renditions by their dates: what begins together has to say so to the millisecond.
#[test]
fn renditions_of_a_stretch_have_the_same_dates() {
    let dates = |text: &str| -> Vec<String> {
        let values = text.lines().filter_map(|line| line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:"));
        values.map(str::to_owned).collect()
    };
    let stretch = super::live_url::Stretch { start: Some(Duration::from_secs(FIRST * 2)), end: None };
    for first in FIRST..FIRST + 8 {
        for (change, count) in [(FIRST + 40, 1), (first, 1), (first + 3, 2)] {
            let mut channel = Channel::news(16, 2, PART);
            (channel.first, channel.next) = (first, first + 5);
            channel.change(change);
            channel.end();
            let of = |track, stretch| dates(&playlist(&channel, track, &Live { stretch, ..Live::default() }));
            let video = of(0, stretch);
            assert_eq!(video.len(), count, "{video:?}");
            for track in 1..3 {
                assert_eq!(of(track, stretch), video, "{change}");
            }
            // At the live edge each says when its first frame is.
            assert!(of(2, super::live_url::Stretch::default()).len() > count);
        }
    }
}

/// A part for which nothing came has no bytes: players are told not to ask for it (§4.4.4.9).
#[test]
fn holes_are_parts_that_are_not_there() {
    let mut channel = Channel::news(10, 3, PART);
    for (segment, part) in [(6, 1), (7, 2)] {
        let parts = &mut channel.tracks[0].tail[segment].parts;
        (parts[part].size, parts[part].is_independent) = (0, false);
    }
    let checked = checked(&channel, 0, &Live::default());
    let listed: Vec<_> = checked.segments.iter().map(|segment| &segment.parts).chain([&checked.open_parts]).collect();
    let gaps: Vec<_> = listed.iter().flat_map(|parts| parts.iter()).filter(|part| part.is_gap).collect();
    let uris: Vec<_> = gaps.iter().map(|part| part.uri.clone()).collect();
    assert_eq!(uris, [format!("v1/{}.1.m4s", FIRST + 9), format!("v1/{}.2.m4s", FIRST + 10)]);
}

/// Which sounds are the same is decided once: before their rates are settled there is one, whatever they seem to be, and
/// afterwards it stays as it is, also where a restarted server would measure otherwise.
#[test]
fn sounds_are_told_apart_once_their_rates_are_settled() {
    for (name, rates, is_settled, want) in [
        ("first guesses", [48_000, 128_000], false, 1),
        ("of one rate, measured", [124_000, 130_000], true, 1),
        ("of two rates", [48_000, 64_000], true, 2),
    ] {
        let mut channel = Channel::news(5, 2, PART);
        channel.add(crate::media::fixture::audio("a2", "mp4a.40.2", "en", 2), 1_024, 5, 2);
        for (owned, average) in channel.tracks[2..].iter_mut().zip(rates) {
            owned.rate = Bitrate { peak: average, average, is_settled };
        }
        let text = hls::live_multivariant(&channel.broadcast(), Stretch::default());
        assert_eq!(text.matches("TYPE=AUDIO").count(), want, "{name}: {text}");
    }
}

/// What is told of a channel later leaves what was finished as it was.
#[test]
fn marks_after_the_end_of_a_stretch_are_none_of_its() {
    let mut channel = Channel::news(20, 2, PART);
    let mark = |id: u32, slots: u64, seconds: u64| Mark {
        id: format!("mark-{id}"),
        time: Duration::from_secs((FIRST + slots) * 2),
        duration: Some(Duration::from_secs(seconds)),
        message: Message::Event { scheme: "urn:example".into(), value: String::new(), id, data: bytes::Bytes::new() },
    };
    channel.marks = vec![mark(1, 2, 1), mark(2, 4, 4), mark(3, 9, 1), mark(4, 10, 1), mark(5, 30, 1)];
    (channel.first, channel.next) = (FIRST + 5, FIRST + 10);
    for (ended, want) in [(true, vec![2, 3]), (false, vec![2, 3, 4, 5])] {
        channel.state = if ended { State::Ended } else { State::Ongoing };
        let text = playlist(&channel, 0, &Live::default());
        let mpd = super::dash::live_mpd(&channel.broadcast(), Default::default());
        for id in 1..=5 {
            let is_wanted = want.contains(&id);
            assert_eq!(text.contains(&format!("ID=\"mark-{id}\"")), is_wanted, "{id} {ended} {text}");
            assert_eq!(mpd.contains(&format!("id=\"{id}\" contentEncoding")), is_wanted, "{id} {ended} {mpd}");
        }
    }
}

/// A break that is taken back before it begins is none; one that has begun is over when it is taken back.
#[test]
fn cancelled_breaks() {
    let mark = |id: &str, slots: u64, duration: Option<u64>, command: &[u8]| Mark {
        id: id.to_owned(),
        time: Duration::from_secs((FIRST + slots) * 2),
        duration: duration.map(Duration::from_secs),
        message: Message::Scte35(splice_insert(command)),
    };
    let open: &[u8] = &[0, 0, 0, 1, 0x7F, 0xDF, 0, 1, 0, 0];
    // Returns by itself after 8 s.
    let timed: &[u8] = &[0, 0, 0, 1, 0x7F, 0xFF, 0xFE, 0, 0x0A, 0xFC, 0x80, 0, 1, 0, 0];
    let cancel: &[u8] = &[0, 0, 0, 1, 0xFF];
    for (marks, cues, range) in [
        (vec![mark("a", 4, None, open), mark("a-cancel", 4, None, cancel)], "", "DURATION=0"),
        (vec![mark("a", 4, Some(8), timed), mark("a-cancel", 4, None, cancel)], "", "DURATION=0"),
        (
            vec![mark("a", 4, None, open), mark("a-cancel", 7, None, cancel)],
            "4 #EXT-X-CUE-OUT 7 #EXT-X-CUE-IN",
            "DURATION=6",
        ),
        (
            vec![mark("a", 4, Some(8), timed), mark("a-cancel", 7, None, cancel)],
            "4 #EXT-X-CUE-OUT:8 7 #EXT-X-CUE-IN",
            "DURATION=6",
        ),
        (vec![mark("a", 4, Some(8), timed)], "4 #EXT-X-CUE-OUT:8 8 #EXT-X-CUE-IN", "PLANNED-DURATION=8"),
        (vec![mark("a-cancel", 4, None, cancel)], "", "SCTE35-CMD"),
    ] {
        let mut channel = Channel::news(12, 2, PART);
        channel.marks = marks;
        let text = playlist(&channel, 0, &Live { cues: true, ..Live::default() });
        let mut segment = 0;
        let mut found = Vec::new();
        for line in text.lines() {
            segment += usize::from(line.starts_with("#EXTINF"));
            if line.starts_with("#EXT-X-CUE") {
                found.push(format!("{segment} {line}"));
            }
        }
        assert_eq!(found.join(" "), cues, "{text}");
        let ranges: Vec<&str> = text.lines().filter(|line| line.starts_with("#EXT-X-DATERANGE")).collect();
        assert_eq!(ranges.len(), channel.marks.len(), "{text}");
        assert!(ranges.last().unwrap().contains(range), "{range} {text}");
        assert!(ranges.iter().all(|line| !line.contains("SCTE35-IN")));
    }
}

proptest! {
    #[test]
    fn any_channel_keeps_the_rules(
        segments in 1_u64..40,
        parts in 0_usize..5,
        removed in proptest::collection::vec((0_usize..3, 0_u64..40), 0..12),
        change in 0_u64..60,
        first in 0_u64..30,
        part in prop::option::of(100_u64..1_500),
        skip: bool,
    ) {
        let mut channel = Channel::news(segments, parts, part.map(Duration::from_millis));
        for (track, number) in removed {
            channel.remove(track, FIRST + number.min(segments - 1));
        }
        channel.change(FIRST + change);
        channel.first = FIRST + first.min(segments - 1);
        let whole: Vec<Checked> = (0..3).map(|track| checked(&channel, track, &Live::default())).collect();
        for (track, whole_of_track) in whole.iter().enumerate() {
            prop_assert_eq!(rules::check_beside(&whole[0], whole_of_track), Ok(()));
            let other = checked(&channel, track, &Live { skip, ..Live::default() });
            prop_assert_eq!(rules::check_update(whole_of_track, &other), Ok(()));
        }
    }
}
