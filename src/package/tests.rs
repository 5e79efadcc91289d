//! What must hold for the manifests of any asset.

use std::time::Duration;

use proptest::prelude::*;

use crate::base::{Ticks, Timescale};
use crate::media::fixture::{Fixture, audio, row, video};
use crate::media::fragment::Fragment;
use crate::media::{Kind, Presentation, TrackView};

use super::url::Resource;
use super::{Addressing, Links, dash, hls, ts, url};

const SCALES: [u32; 9] = [1_000, 12_800, 24_000, 30_000, 44_100, 48_000, 90_000, 1_000_000, 10_000_000];

/// Fragments at common instants (in milliseconds), of which some are missing and the first may be late.
fn table(scale: u32, instants: &[u64], missing: &[bool], late: u64, grain: u64) -> Vec<Fragment> {
    let grain = grain.max(1);
    let at = |millis: u64| (millis * u64::from(scale) / 1_000).div_ceil(grain) * grain;
    let mut rows = Vec::new();
    for (slot, pair) in instants.windows(2).enumerate() {
        let first_present = rows.is_empty();
        let start = at(pair[0]) + if first_present { late.min(at(pair[1]) - at(pair[0])) } else { 0 };
        let duration = at(pair[1]) - start;
        if duration > 0 && !missing.get(slot).copied().unwrap_or(false) {
            rows.push(row(slot as u32, start, duration, 1_000 + (duration % 7_919) as u32));
        }
    }
    rows
}

prop_compose! {
    fn fixtures()(
        lengths in prop::collection::vec(200_u64..9_000, 1..40),
        scales in prop::array::uniform4(prop::sample::select(&SCALES[..])),
        missing in prop::collection::vec(prop::bool::weighted(0.15), 40),
        late in 0_u64..200_000,
        priming in 0_i64..3_000,
        (has_video, has_text) in (any::<bool>(), any::<bool>()),
        target in 500_u64..12_000,
    ) -> Fixture {
        let mut instants = vec![0];
        for length in &lengths {
            instants.push(instants[instants.len() - 1] + length);
        }
        let mut fixture = Fixture::default();
        let none = [];
        if has_video {
            for (id, scale) in [("v1", scales[0]), ("v2", scales[0]), ("v3", scales[1])] {
                let mut track = video(id, "avc1.64001f", 1280, 720);
                track.timescale = Timescale::new(scale).unwrap();
                fixture = fixture.with_track(track, table(scale, &instants, &none, 0, 1));
            }
        }
        for (id, scale, missing) in [("a1", scales[2], &none[..]), ("a2", scales[3], &missing[..])] {
            let mut track = audio(id, "mp4a.40.2", id, 2);
            track.timescale = Timescale::new(scale).unwrap();
            track.presentation_offset = Ticks(-priming.min(i64::from(scale) / 20));
            let late = if missing.is_empty() { 0 } else { late };
            let rows = table(scale, &instants, missing, late, u64::from(scale) / 50);
            if !rows.is_empty() {
                fixture = fixture.with_track(track, rows);
            }
        }
        if has_text {
            fixture = fixture.with_text("t1", "en", &[(0, 900, "a"), (100, 90_000, "b"), (5_000, 6_000, "c")]);
        }
        fixture.with_segment(Duration::from_millis(target))
    }
}

struct Entry {
    micros: u64,
    gap: bool,
    uri: String,
}

fn entries(playlist: &str) -> (u64, Vec<Entry>) {
    let Ok(m3u8_rs::Playlist::MediaPlaylist(parsed)) = m3u8_rs::parse_playlist_res(playlist.as_bytes()) else {
        panic!("not a media playlist:\n{playlist}");
    };
    // Durations are read from the text: the parser keeps them as f32.
    let micros = playlist.lines().filter_map(|line| line.strip_prefix("#EXTINF:")).map(|line| {
        let number = line.trim_end_matches(',');
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        whole.parse::<u64>().unwrap() * 1_000_000 + format!("{fraction:0<6}").parse::<u64>().unwrap()
    });
    let gap = |segment: &m3u8_rs::MediaSegment| segment.unknown_tags.iter().any(|tag| tag.tag == "X-GAP");
    let entries = micros.zip(&parsed.segments).map(|(micros, segment)| Entry {
        micros,
        gap: gap(segment),
        uri: segment.uri.clone(),
    });
    (parsed.target_duration, entries.collect())
}

/// Nearest microsecond of presentation time.
fn micros(view: &TrackView<'_>, decode_time: Ticks) -> u64 {
    let ticks = (decode_time.0 + view.track.presentation_offset.0).max(0) as u128;
    let scale = u128::from(view.track.timescale.per_second());
    ((ticks * 2_000_000 + scale) / (2 * scale)) as u64
}

fn segment_urls(presentation: &Presentation<'_>, view: &TrackView<'_>) -> Vec<String> {
    let (_, entries) = entries(&hls::media(presentation, view));
    let present = entries.into_iter().filter(|entry| !entry.gap);
    present.map(|entry| format!("{}/{}", presentation.version, entry.uri)).collect()
}

proptest! {
    #[test]
    fn playlists_tell_the_fragment_table(fixture in fixtures()) {
        let presentation = fixture.presentation();
        let reference = presentation.reference().unwrap();
        let mut targets = Vec::new();
        for view in &presentation.tracks {
            let (target, entries) = entries(&hls::media(&presentation, view));
            targets.push(target);
            for entry in &entries {
                prop_assert!((entry.micros + 500_000) / 1_000_000 <= target, "{} in {target}", entry.micros);
            }
            let timed = if view.track.kind() == Kind::Text { &reference } else { view };
            let end = timed.fragments.last().unwrap().decode_end();
            prop_assert_eq!(entries.iter().map(|entry| entry.micros).sum::<u64>(), micros(timed, end), "{}", view.track.id);
            if view.track.kind() == Kind::Text {
                continue;
            }
            let starts: Vec<Ticks> = reference.segments().map(|segment| segment.time).collect();
            let (mut at, mut end) = (0_u64, None);
            let mut segments = view.segments().peekable();
            for (number, entry) in entries.iter().enumerate() {
                // Side by side with the reference: 20 ms of frame and 50 ms of priming apart at most.
                let apart = at.abs_diff(micros(&reference, starts[number]));
                prop_assert!(apart <= 70_001, "{} {}: {} µs apart", view.track.id, number, apart);
                let present = segments.peek().is_some_and(|next| next.number as usize == number);
                prop_assert_eq!(entry.gap, !present, "{} {}", view.track.id, number);
                if let Some(segment) = segments.next_if(|_| present) {
                    // Without a hole before it, a segment begins at its first sample.
                    if number > 0 && end == Some(segment.time.0) {
                        prop_assert_eq!(at, micros(view, segment.time));
                    }
                    end = Some(segment.time.0 + segment.duration.0);
                }
                at += entry.micros;
            }
            prop_assert!(segments.next().is_none());
        }
        targets.dedup();
        prop_assert_eq!(targets.len(), 1);
        let every = presentation.tracks.iter().flat_map(|view| super::timeline::spans(&presentation, *view));
        prop_assert_eq!(super::timeline::longest(&presentation), every.map(|span| span.micros()).max().unwrap());
    }

    /// What a clip links to is what all of it links to: segments have one name, and files one index.
    #[test]
    fn a_clip_names_what_is_there(fixture in fixtures(), start in 0..60_000_000_u64, length in 1..60_000_000_u64) {
        let whole = fixture.presentation();
        let Some(clip) = whole.stretch(start, start + length) else { return Ok(()) };
        for view in clip.tracks.iter().filter(|view| view.track.kind() == Kind::Video) {
            let sounds = clip.of_kind(Kind::Audio).map(|sound| format!("{}-{}", view.track.id, sound.track.id));
            for name in sounds.chain([view.track.id.clone()]) {
                let rendition = ts::url::Rendition::parse(&name).unwrap();
                let names = |presentation: &Presentation<'_>| -> Vec<String> {
                    let (_, entries) = entries(&ts::media(presentation, rendition).unwrap());
                    entries.into_iter().filter(|entry| !entry.gap).map(|entry| entry.uri).collect()
                };
                let all = names(&whole);
                for name in names(&clip) {
                    prop_assert!(all.contains(&name), "{name} is none of {all:?}");
                }
            }
        }
        let single = Links { addressing: Addressing::SingleFile, ..Links::default() };
        let ranges = |mpd: String| -> Vec<(String, String)> {
            let files = mpd.split("<Representation").skip(1).filter(|text| text.contains("indexRange"));
            let between = |text: &str, from: &str, to: &str| text.split_once(from).unwrap().1.split_once(to).unwrap().0.to_owned();
            files.map(|text| (between(text, "id=\"", "\""), between(text, "indexRange=\"", "\""))).collect()
        };
        let all = ranges(dash::mpd(&whole, &single));
        for range in ranges(dash::stretch_mpd(&clip, &whole, &single)) {
            prop_assert!(all.contains(&range), "{range:?} is none of {all:?}");
        }
    }

    #[test]
    fn every_link_leads_to_something(fixture in fixtures()) {
        let presentation = fixture.presentation();
        let multivariant = hls::multivariant(&presentation, &Links::default());
        let Ok(m3u8_rs::Playlist::MasterPlaylist(parsed)) = m3u8_rs::parse_playlist_res(multivariant.as_bytes()) else {
            panic!("not a multivariant playlist:\n{multivariant}");
        };
        let i_frames = parsed.variants.iter().filter(|variant| variant.is_i_frame);
        let mut frames: Vec<&str> = i_frames.map(|variant| variant.uri.as_str()).collect();
        frames.dedup();
        let videos = presentation.of_kind(Kind::Video).filter(|view| super::key_frame::has_trick_play(*view));
        let want: Vec<String> = videos.map(|view| url::key_frame_playlist(presentation.version, &view.track.id)).collect();
        prop_assert_eq!(frames, want);
        let renditions = parsed.alternatives.iter().filter_map(|media| media.uri.as_deref());
        let mut linked: Vec<&str> = parsed.variants.iter().filter(|variant| !variant.is_i_frame).map(|variant| variant.uri.as_str()).chain(renditions).collect();
        linked.sort_unstable();
        linked.dedup();
        let mut want: Vec<String> =
            presentation.tracks.iter().map(|view| url::media_playlist(presentation.version, &view.track.id)).collect();
        want.sort_unstable();
        prop_assert_eq!(linked, want);

        for view in &presentation.tracks {
            for link in segment_urls(&presentation, view) {
                let found = match url::parse(&link) {
                    Some(Resource::Segment { version, track, time }) => {
                        prop_assert_eq!((version, track), (presentation.version, view.track.id.as_str()));
                        view.segment_at(time).is_some()
                    }
                    Some(Resource::TextSegment { time, .. }) => hls::text_segment(&presentation, view, time).is_some(),
                    _ => false,
                };
                prop_assert!(found, "{link}");
            }
        }
    }

    #[test]
    fn hls_and_dash_name_the_same_segments(fixture in fixtures()) {
        let presentation = fixture.presentation();
        let mpd = dash_mpd::parse(&dash::mpd(&presentation, &Links::default())).unwrap();
        let mut seen = Vec::new();
        for set in &mpd.periods[0].adaptations {
            for representation in &set.representations {
                let id = representation.id.clone().unwrap();
                if id.ends_with("-key") {
                    continue;
                }
                let view = presentation.track(&id).unwrap();
                seen.push(id.clone());
                let template = representation.SegmentTemplate.as_ref().or(set.SegmentTemplate.as_ref()).unwrap();
                let init = template.initialization.as_ref().unwrap().replace("$RepresentationID$", &id);
                let version = presentation.version;
                prop_assert_eq!(url::parse(&init), Some(Resource::Init { version, track: &id }));
                prop_assert_eq!(template.timescale, Some(u64::from(view.track.timescale.per_second())));
                let mut rows = Vec::new();
                let mut at = 0;
                for run in &template.SegmentTimeline.as_ref().unwrap().segments {
                    at = run.t.unwrap_or(at);
                    for _ in 0..=run.r.unwrap_or(0) {
                        rows.push((at, run.d));
                        at += run.d;
                    }
                }
                let media = template.media.as_ref().unwrap().replace("$RepresentationID$", &id);
                let links: Vec<String> = rows.iter().map(|row| media.replace("$Time$", &row.0.to_string())).collect();
                if view.track.kind() == Kind::Text {
                    // One name, as fragments and as WebVTT.
                    for (row, link) in rows.iter().zip(&links) {
                        let time = Ticks(row.0 as i64);
                        prop_assert_eq!(url::parse(link), Some(Resource::Segment { version, track: &id, time }));
                        let span = super::text::span_at(&presentation, &view, time).unwrap();
                        prop_assert_eq!(span.end, Ticks((row.0 + row.1) as i64));
                        prop_assert!(hls::text_segment(&presentation, &view, time).is_some());
                    }
                    continue;
                }
                let table: Vec<(u64, u64)> =
                    view.segments().map(|segment| (segment.time.0 as u64, segment.duration.0 as u64)).collect();
                prop_assert_eq!(&rows, &table);
                prop_assert_eq!(links, segment_urls(&presentation, &view));
            }
        }
        seen.sort_unstable();
        let mut want: Vec<&str> = presentation.tracks.iter().map(|view| view.track.id.as_str()).collect();
        want.sort_unstable();
        prop_assert_eq!(seen, want);
    }
}
