//! What a playlist or manifest that was uploaded says of its segments: how long they are, and whether more are to come.

use std::time::Duration;

use m3u8_rs::Playlist;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// The duration of the longest segment. `None`: it lists no segments, or is complete, so that it will not be written again.
pub fn segment_duration(text: &[u8]) -> Option<Duration> {
    if text.trim_ascii_start().starts_with(b"#EXTM3U") { of_playlist(text) } else { of_mpd(text) }
}

/// RFC 8216bis: the target duration (§4.4.3.1), unless EXT-X-ENDLIST says that there will be no more (§4.4.3.4).
fn of_playlist(text: &[u8]) -> Option<Duration> {
    let Ok((_, Playlist::MediaPlaylist(playlist))) = m3u8_rs::parse_playlist(text) else { return None };
    let seconds = playlist.segments.iter().map(|segment| segment.duration).fold(0.0_f32, f32::max);
    (!playlist.end_list && seconds > 0.0).then(|| Duration::try_from_secs_f32(seconds).ok()).flatten()
}

/// ISO/IEC 23009-1 §5.3.1.2, §5.3.9: the longest duration that a template or a list of a dynamic MPD states.
fn of_mpd(text: &[u8]) -> Option<Duration> {
    let mut reader = Reader::from_str(str::from_utf8(text).ok()?);
    let (mut is_dynamic, mut longest, mut timescale) = (false, 0.0_f64, 1.0);
    loop {
        match reader.read_event() {
            Ok(Event::Start(element) | Event::Empty(element)) => match element.local_name().as_ref() {
                "MPD" => is_dynamic = attribute(&element, "type").is_some_and(|value| value == "dynamic"),
                "SegmentTemplate" | "SegmentList" => {
                    timescale = number(&element, "timescale").filter(|value| *value >= 1.0).unwrap_or(1.0);
                    longest = longest.max(number(&element, "duration").unwrap_or(0.0) / timescale);
                }
                "S" => longest = longest.max(number(&element, "d").unwrap_or(0.0) / timescale),
                _ => {}
            },
            Ok(Event::Eof) => break,
            Ok(_) => {}
            Err(_) => return None,
        }
    }
    (is_dynamic && longest > 0.0).then(|| Duration::try_from_secs_f64(longest).ok()).flatten()
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = element.attributes().with_checks(false).flatten().find(|found| found.key.as_ref() == name)?;
    Some(found.value.into_owned())
}

fn number(element: &BytesStart<'_>, name: &str) -> Option<f64> {
    attribute(element, name)?.parse::<u64>().ok().map(|value| value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        let hls = "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2.5,\na.ts\n#EXTINF:2.0,\nb.ts\n";
        let master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na.m3u8\n";
        let mpd = |kind: &str, inner: &str| {
            format!("<?xml version=\"1.0\"?><MPD type=\"{kind}\"><Period>{inner}</Period></MPD>")
        };
        let timeline = "<SegmentTemplate timescale=\"90000\"><SegmentTimeline><S t=\"0\" d=\"180000\" r=\"3\"/><S d=\"90000\"/>\
            </SegmentTimeline></SegmentTemplate>";
        for (text, want) in [
            (hls.to_owned(), Some(2_500)),
            (format!("{hls}#EXT-X-ENDLIST\n"), None),
            (master.to_owned(), None),
            (mpd("dynamic", "<SegmentTemplate timescale=\"1000\" duration=\"4000\"/>"), Some(4_000)),
            (mpd("dynamic", timeline), Some(2_000)),
            (mpd("static", timeline), None),
            (mpd("dynamic", "<SegmentTemplate timescale=\"0\" duration=\"2\"/>"), Some(2_000)),
            (mpd("dynamic", ""), None),
            ("<MPD".to_owned(), None),
            (String::new(), None),
            ("<MPD type=\"dynamic\"><S d=\"99999999999999999999\"/></MPD>".to_owned(), None),
        ] {
            assert_eq!(segment_duration(text.as_bytes()), want.map(Duration::from_millis), "{text}");
        }
    }

    proptest! {
        #[test]
        fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..200), start in 0_usize..3) {
            let start = [&b""[..], b"#EXTM3U\n", b"<MPD type=\"dynamic\">"][start];
            let _ = segment_duration(&[start, &bytes[..]].concat());
        }
    }
}
