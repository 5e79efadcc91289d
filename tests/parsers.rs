//! m3u8-rs and dash-mpd read every manifest of `tests/golden`, and find in it what its text says.

use std::collections::BTreeSet;
use std::path::Path;

use m3u8_rs::{MasterPlaylist, MediaPlaylist, Playlist};

/// (golden file, name of the manifest, its text)
fn manifests() -> Vec<(String, String, String)> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(golden).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        for part in text.split("\n==> ").skip(1) {
            let (name, text) = part.split_once('\n').unwrap();
            found.push((file.clone(), name.to_owned(), format!("{}\n", text.trim_end())));
        }
    }
    found
}

fn lines<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.strip_prefix(start))
}

fn names(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// The number behind each of these.
fn numbers(text: &str, key: &str) -> Vec<u64> {
    let digits = |rest: &str| rest.split(|it: char| !it.is_ascii_digit()).next().unwrap_or_default().to_owned();
    text.split(key).skip(1).filter_map(|rest| digits(rest).parse().ok()).collect()
}

fn number(text: &str, tag: &str) -> Option<u64> {
    lines(text, tag).next().map(|value| value.parse().unwrap())
}

fn check_multivariant(playlist: &MasterPlaylist, text: &str, what: &str) {
    let (variants, key_frames): (Vec<_>, Vec<_>) = playlist.variants.iter().partition(|variant| !variant.is_i_frame);
    let uris: Vec<&str> = variants.iter().map(|variant| variant.uri.as_str()).collect();
    assert_eq!(uris, names(text), "{what}: variants");
    assert_eq!(key_frames.len(), lines(text, "#EXT-X-I-FRAME-STREAM-INF:").count(), "{what}: I-frame playlists");
    for (tag, found) in [("#EXT-X-STREAM-INF:", &variants), ("#EXT-X-I-FRAME-STREAM-INF:", &key_frames)] {
        let said: Vec<u64> = lines(text, tag).map(|line| numbers(&format!(",{line}"), ",BANDWIDTH=")[0]).collect();
        assert_eq!(found.iter().map(|variant| variant.bandwidth).collect::<Vec<_>>(), said, "{what}: {tag}");
    }
    assert_eq!(playlist.alternatives.len(), lines(text, "#EXT-X-MEDIA:").count(), "{what}: renditions");
    for media in &playlist.alternatives {
        let line = format!("TYPE={},GROUP-ID=\"{}\",NAME=\"{}\"", media.media_type, media.group_id, media.name);
        assert!(lines(text, "#EXT-X-MEDIA:").any(|other| other.starts_with(&line)), "{what}: {line}");
        let uri = media.uri.as_ref().map(|uri| format!("URI=\"{uri}\""));
        assert!(uri.is_none_or(|uri| text.contains(&uri)), "{what}: {line}");
    }
}

fn check_media(playlist: &MediaPlaylist, text: &str, what: &str) {
    let uris: Vec<&str> =
        playlist.segments.iter().map(|segment| segment.uri.as_str()).filter(|it| !it.is_empty()).collect();
    assert_eq!(uris, names(text), "{what}: segments");
    assert_eq!(Some(playlist.target_duration), number(text, "#EXT-X-TARGETDURATION:"), "{what}: target duration");
    assert_eq!(playlist.media_sequence, number(text, "#EXT-X-MEDIA-SEQUENCE:").unwrap_or(0), "{what}: numbers");
    let seconds = |text: &str| text.split(',').next().and_then(|it| it.parse::<f64>().ok()).unwrap();
    let said: f64 = lines(text, "#EXTINF:").map(seconds).sum();
    let found: f64 = playlist.segments.iter().map(|segment| f64::from(segment.duration)).sum();
    assert!((said - found).abs() < 0.01, "{what}: lasts {found} s, the text says {said} s");
    let tags = |tag: &str| text.lines().filter(|line| line.starts_with(tag)).count();
    let segments = |is: fn(&m3u8_rs::MediaSegment) -> bool| playlist.segments.iter().filter(|it| is(it)).count();
    assert_eq!(segments(|it| it.byte_range.is_some()), tags("#EXT-X-BYTERANGE:"), "{what}: byte ranges");
    assert_eq!(
        segments(|it| it.discontinuity),
        text.lines().filter(|it| *it == "#EXT-X-DISCONTINUITY").count(),
        "{what}: discontinuities"
    );
    assert_eq!(segments(|it| it.map.is_some()), tags("#EXT-X-MAP:"), "{what}: initialisation segments");
    assert_eq!(playlist.end_list, tags("#EXT-X-ENDLIST") == 1, "{what}: the end");
    assert_eq!(playlist.i_frames_only, tags("#EXT-X-I-FRAMES-ONLY") == 1, "{what}: only key frames");
}

fn check_mpd(text: &str, what: &str) {
    let mpd = dash_mpd::parse(text).unwrap_or_else(|error| panic!("{what}: {error}\n{text}"));
    assert_eq!(dash_mpd::check_conformity(&mpd), Vec::<String>::new(), "{what}\n{text}");
    let attribute = |key: &str| {
        let behind = text.split_once(&format!(" {key}=\"")).map(|(_, rest)| rest);
        behind.and_then(|rest| rest.split('"').next()).map(str::to_owned)
    };
    assert_eq!(mpd.mpdtype, attribute("type"), "{what}: type");
    let lasts = attribute("mediaPresentationDuration").map(|text| text.trim_start_matches("PT").to_owned());
    match (mpd.mediaPresentationDuration, lasts) {
        (None, None) => {}
        (Some(found), Some(said)) => {
            let mut seconds = 0.0;
            let mut rest = said.as_str();
            for (unit, length) in [('H', 3_600.0), ('M', 60.0), ('S', 1.0)] {
                if let Some((number, behind)) = rest.split_once(unit) {
                    seconds += number.parse::<f64>().unwrap() * length;
                    rest = behind;
                }
            }
            assert!((found.as_secs_f64() - seconds).abs() < 0.001, "{what}: lasts {found:?}, the text says {said}");
        }
        other => panic!("{what}: lasts {other:?}"),
    }
    assert_eq!(mpd.periods.len(), text.matches("<Period ").count(), "{what}: Periods");
    let sets: Vec<_> = mpd.periods.iter().flat_map(|period| &period.adaptations).collect();
    assert_eq!(sets.len(), text.matches("<AdaptationSet ").count(), "{what}: AdaptationSets");
    let representations: Vec<_> = sets.iter().flat_map(|set| &set.representations).collect();
    let said: Vec<&str> =
        text.split("<Representation id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let found: Vec<&str> = representations.iter().filter_map(|found| found.id.as_deref()).collect();
    assert_eq!(found, said, "{what}: Representations");
    let bandwidths: Vec<u64> = representations.iter().filter_map(|found| found.bandwidth).collect();
    assert_eq!(bandwidths, numbers(text, " bandwidth=\""), "{what}: bit rates");
    let templates = sets.iter().map(|set| set.SegmentTemplate.as_ref());
    let templates = templates.chain(representations.iter().map(|found| found.SegmentTemplate.as_ref())).flatten();
    let (mut segments, mut ticks) = (0, 0);
    for row in templates.filter_map(|template| template.SegmentTimeline.as_ref()).flat_map(|line| &line.segments) {
        let count = u64::try_from(row.r.unwrap_or(0)).unwrap() + 1;
        segments += count;
        ticks += count * row.d;
    }
    let rows = || text.split("<S ").skip(1).map(|row| row.split('>').next().unwrap());
    let of = |row: &str, key: &str| numbers(&format!(" {row}"), key).first().copied();
    let count = |row: &str| of(row, " r=\"").unwrap_or(0) + 1;
    assert_eq!(segments, rows().map(count).sum::<u64>(), "{what}: segments");
    assert_eq!(ticks, rows().map(|row| count(row) * of(row, " d=\"").unwrap()).sum::<u64>(), "{what}: ticks");
}

#[test]
fn every_golden_manifest_is_read() {
    let mut seen = BTreeSet::new();
    for (file, name, text) in manifests() {
        let what = format!("{file} {name}");
        let path = name.split('?').next().unwrap();
        match path.rsplit('.').next() {
            Some("mpd") => {
                check_mpd(&text, &what);
                seen.insert("MPD");
            }
            Some("m3u8") => {
                let playlist = m3u8_rs::parse_playlist_res(text.as_bytes());
                match playlist.unwrap_or_else(|error| panic!("{what}: {error}\n{text}")) {
                    Playlist::MasterPlaylist(playlist) => {
                        assert!(path.ends_with("index.m3u8"), "{what}");
                        check_multivariant(&playlist, &text, &what);
                        seen.insert("multivariant");
                    }
                    Playlist::MediaPlaylist(playlist) => {
                        assert!(!path.ends_with("index.m3u8"), "{what}");
                        check_media(&playlist, &text, &what);
                        seen.insert(if playlist.end_list { "on demand" } else { "live" });
                    }
                }
            }
            // Smooth Streaming and thumbnails.
            _ => assert!(path.ends_with("Manifest") || name.contains(".vtt"), "{what}: nobody reads it"),
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["MPD", "live", "multivariant", "on demand"]);
}
