//! A viewer of one track who remembers what it was told: what was published stays, in place and in bytes, and every playlist
//! keeps to the rules (RFC 8216bis).

use std::collections::{BTreeMap, BTreeSet};

use super::server::Server;

/// A segment as a playlist lists it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Listed {
    /// Empty of a segment that is being made.
    uri: String,
    seconds: f64,
    is_gap: bool,
    /// Discontinuities up to and with it.
    discontinuities: u64,
    parts: Vec<(String, f64)>,
}

pub struct Viewer {
    track: &'static str,
    first: u64,
    known: BTreeMap<u64, Listed>,
    /// Of what is listed.
    bytes: BTreeMap<String, Vec<u8>>,
    pub is_ended: bool,
}

/// What a window holds at least: of a track that is ahead of another it is more.
const WINDOW_SEGMENTS: usize = 6;

impl Viewer {
    pub fn new(track: &'static str) -> Viewer {
        Viewer { track, first: 0, known: BTreeMap::new(), bytes: BTreeMap::new(), is_ended: false }
    }

    /// Reads the playlist, if there is one, and looks whether it goes with what was known. `false`: there is none (yet).
    pub fn read(&mut self, server: &Server<'_>) -> bool {
        let Some(text) = server.text(&format!("/live/news/{}.m3u8", self.track)) else { return false };
        self.take(&text);
        let uris = |listed: &Listed| {
            let whole = (!listed.is_gap).then(|| listed.uri.clone());
            let uris = listed.parts.iter().map(|(uri, _)| uri.clone()).chain(whole);
            uris.filter(|uri| !uri.is_empty()).collect::<Vec<_>>()
        };
        let listed: BTreeSet<String> = self.known.values().flat_map(uris).collect();
        self.bytes.retain(|uri, _| listed.contains(uri));
        for uri in self.known.values().rev().take(2).flat_map(uris) {
            if !self.bytes.contains_key(&uri)
                && let Some(bytes) = server.fetch(&format!("/live/news/{uri}"))
            {
                self.bytes.insert(uri, bytes);
            }
        }
        true
    }

    /// After a restart: everything is there that was, at once. `false` if there is no playlist.
    pub fn returns(&mut self, server: &Server<'_>) -> bool {
        let Some((&last, _)) = self.known.last_key_value() else { return true };
        let (first, count) = (self.first, self.complete().min(WINDOW_SEGMENTS));
        let Some(text) = server.text(&format!("/live/news/{}.m3u8", self.track)) else {
            println!("no playlist of {}, which had {first} to {last}", self.track);
            return false;
        };
        self.take(&text);
        // What was written and not told any more moves the window, and does not make it shorter.
        assert!(self.last() >= last && self.complete() >= count, "{count} from {first} to {last} were listed: {text}");
        self.bytes.iter().all(|(uri, bytes)| {
            let found = server.fetch(&format!("/live/news/{uri}"));
            assert!(found.as_ref().is_none_or(|found| found == bytes), "{uri} has other bytes");
            if found.is_none() {
                println!("{uri} is gone ({}): {text}", bytes.len());
            }
            found.is_some()
        })
    }

    /// The archive: whatever of the stretch is in the window, and nothing else.
    pub fn looks_back(&mut self, server: &Server<'_>, segment_seconds: u64) {
        loop {
            self.read(server);
            let window = (self.first, self.last());
            let (start, end) = (window.0 * segment_seconds, (window.1 + 1) * segment_seconds);
            let path = format!("/live/news/{}.m3u8?start={start}&end={end}", self.track);
            let text = server.text(&path).unwrap_or_else(|| panic!("no {path}"));
            self.read(server);
            // What came last may have moved the window meanwhile.
            if window == (self.first, self.last()) {
                let numbers: Vec<u64> = parse(&text).2.into_keys().collect();
                return assert_eq!(numbers, (window.0..=window.1).collect::<Vec<_>>(), "{path}: {text}");
            }
        }
    }

    /// Whether so many parts of a segment are listed, or that it is complete.
    pub fn has(&self, number: u64, parts: usize) -> bool {
        let is_there = |listed: &Listed| !listed.uri.is_empty() || listed.parts.len() >= parts;
        self.last() > number || self.known.get(&number).is_some_and(is_there)
    }

    fn complete(&self) -> usize {
        self.known.values().filter(|listed| !listed.uri.is_empty()).count()
    }

    pub fn last(&self) -> u64 {
        self.known.last_key_value().map_or(0, |(number, _)| *number)
    }

    fn take(&mut self, text: &str) {
        let (first, is_ended, found) = parse(text);
        assert!(first >= self.first, "the window begins at {first}, and began at {}: {text}", self.first);
        assert!(is_ended || !self.is_ended, "the channel had ended: {text}");
        for (number, was) in self.known.range(first..) {
            let Some(now) = found.get(number) else { panic!("segment {number} is gone: {was:?}\n{text}") };
            assert_eq!(now.discontinuities, was.discontinuities, "discontinuities of segment {number}: {text}");
            if !was.uri.is_empty() {
                assert_eq!(
                    (&now.uri, now.seconds, now.is_gap),
                    (&was.uri, was.seconds, was.is_gap),
                    "segment {number}: {text}"
                );
            }
            // Parts of older segments are listed no more.
            if !now.parts.is_empty() {
                assert!(now.parts.starts_with(&was.parts), "parts of segment {number} were {:?}: {text}", was.parts);
            }
        }
        (self.first, self.is_ended, self.known) = (first, is_ended, found);
    }
}

/// The media sequence, whether it has ended, and what is listed.
fn parse(text: &str) -> (u64, bool, BTreeMap<u64, Listed>) {
    let tag =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).and_then(|value| value.strip_prefix(':'));
    let number = |name: &str| tag(name).map(|value| value.parse::<u64>().unwrap());
    let attribute = |line: &str, name: &str| {
        let value = line.split([',', ':']).find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.trim_matches('"').to_owned())
    };
    let first = number("#EXT-X-MEDIA-SEQUENCE").unwrap_or(0);
    let target = number("#EXT-X-TARGETDURATION").expect("EXT-X-TARGETDURATION") as f64;
    let part_target = tag("#EXT-X-PART-INF").and_then(|line| attribute(line, "PART-TARGET"));
    let part_target: f64 = part_target.map_or(0.0, |value| value.parse().unwrap());
    let (mut found, mut next) = (BTreeMap::new(), first);
    let mut listed =
        Listed { discontinuities: number("#EXT-X-DISCONTINUITY-SEQUENCE").unwrap_or(0), ..Listed::default() };
    for line in text.lines() {
        if line == "#EXT-X-DISCONTINUITY" {
            listed.discontinuities += 1;
        } else if line == "#EXT-X-GAP" {
            listed.is_gap = true;
        } else if let Some(value) = line.strip_prefix("#EXTINF:") {
            listed.seconds = value.split(',').next().unwrap().parse().unwrap();
            assert!(listed.seconds > 0.0 && listed.seconds.round() <= target, "{line}: {text}");
        } else if line.starts_with("#EXT-X-PART:") {
            let seconds: f64 = attribute(line, "DURATION").unwrap().parse().unwrap();
            assert!(seconds > 0.0 && seconds <= part_target + 1e-6, "{line}: {text}");
            let uri = if line.contains("GAP=YES") { String::new() } else { attribute(line, "URI").unwrap() };
            listed.parts.push((uri, seconds));
        } else if !line.is_empty() && !line.starts_with('#') {
            let parts: f64 = listed.parts.iter().map(|(_, seconds)| seconds).sum();
            assert!(
                listed.parts.is_empty() || (parts - listed.seconds).abs() < 0.002,
                "{line}: its parts are {parts} s: {text}"
            );
            let discontinuities = listed.discontinuities;
            found.insert(next, Listed { uri: line.to_owned(), ..std::mem::take(&mut listed) });
            (next, listed.discontinuities) = (next + 1, discontinuities);
        }
    }
    if !listed.parts.is_empty() {
        found.insert(next, listed);
    }
    (first, text.contains("#EXT-X-ENDLIST"), found)
}
