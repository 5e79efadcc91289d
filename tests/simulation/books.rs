//! What was ever shown of a channel, as long as it is in the window: every byte of it, and what must not change.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use headwater::live::Snapshot;
use headwater::media::Kind;
use headwater::media::broadcast::{Part, Position, State};
use headwater::media::feed::Event;
use headwater::media::isobmff::stream::Demuxer;
use headwater::package::hls::rules::{self, Checked};

use super::encoder::{SAYS_NOTHING, is_one_clock, serial};

/// Of one channel. Survives its process.
#[derive(Default)]
pub struct Books {
    first: u64,
    /// By track and number.
    parts: BTreeMap<String, BTreeMap<u64, Vec<Part>>>,
    highest: BTreeMap<String, Position>,
    /// Digests of what is behind a URL.
    bodies: BTreeMap<String, (u64, u64)>,
    /// By track, number and part: the first and the last frame, and whether all between are there.
    frames: BTreeMap<(String, u64, u32), (u64, u64)>,
    /// Playlists that kept to the rules, and were read by somebody else as well a moment ago.
    checked: VecDeque<(String, Arc<Checked>)>,
    pub verified: Verified,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Verified {
    pub snapshots: u64,
    pub playlists: u64,
    pub mpds: u64,
    pub parts: u64,
    pub segments: u64,
    pub frames: u64,
    pub waits: u64,
    pub stretches: u64,
}

impl Books {
    /// What every snapshot keeps to, beside what those before it said.
    pub fn snapshot(&mut self, snapshot: &Arc<Snapshot>) {
        let Some(broadcast) = snapshot.broadcast(None) else { return };
        self.verified.snapshots += 1;
        assert!(broadcast.first >= self.first, "the window went back: {} {}", broadcast.first, self.first);
        assert!(broadcast.first <= broadcast.next);
        self.first = broadcast.first;
        let (edge, fingerprint) = snapshot.edge().expect("something is published");
        assert_eq!(fingerprint, broadcast.fingerprint());
        for (short, whole) in edge.tracks.iter().zip(&broadcast.tracks) {
            assert_eq!(edge.listed(short), broadcast.listed(whole), "{}", whole.track.id);
        }
        for track in &broadcast.tracks {
            let (id, scale) = (&track.track.id, track.track.timescale);
            let parts = self.parts.entry(id.clone()).or_default();
            let mut before: Option<(u64, i64, u32)> = None;
            for segment in track.tail.iter().filter(|segment| segment.number >= broadcast.first) {
                let place = || format!("{id} {} at {}", segment.number, segment.time.0);
                if let Some((number, end, discontinuities)) = before {
                    assert!(number < segment.number && end <= segment.time.0, "{}: {number} ends {end}", place());
                    assert!(discontinuities <= segment.discontinuities, "{}", place());
                }
                assert!(segment.duration.0 > 0, "{}", place());
                let seconds = scale.seconds(segment.duration).round() as u32;
                assert!(seconds <= broadcast.grid.target, "{}: {:?}", place(), segment.duration);
                let mut at = segment.time.0;
                for (index, part) in segment.parts.iter().enumerate() {
                    assert_eq!(part.time.0, at, "{}.{index}", place());
                    at += part.duration.0;
                    let target = track.part_target.0;
                    assert!(part.duration.0 > 0 && part.duration.0 <= target, "{}.{index}: {part:?}", place());
                    let is_last = index + 1 == segment.parts.len();
                    assert!(
                        is_last || part.duration.0 * 100 >= target * 85,
                        "{}.{index}: {part:?} of {target}: {:?}",
                        place(),
                        segment.parts
                    );
                }
                assert_eq!(at, segment.time.0 + segment.duration.0, "{}", place());
                let seen = parts.entry(segment.number).or_default();
                assert!(
                    segment.parts.starts_with(seen),
                    "{}: published parts changed: {seen:?} {:?}",
                    place(),
                    segment.parts
                );
                if segment.parts.len() > seen.len() {
                    seen.clone_from(&segment.parts);
                }
                before = Some((segment.number, segment.time.0 + segment.duration.0, segment.discontinuities));
            }
            let listed = broadcast.listed(track);
            let highest = self.highest.entry(id.clone()).or_default();
            assert!(listed >= *highest, "{id} fell back from {highest:?} to {listed:?}");
            *highest = listed;
            parts.retain(|number, _| *number >= broadcast.first);
        }
        if broadcast.state == State::Ended {
            let open = broadcast.tracks.iter().flat_map(|track| track.tail).find(|segment| !segment.is_complete);
            assert!(open.is_none(), "ended with an open segment: {open:?}");
        }
    }

    /// What a playlist says, if it keeps to the rules.
    pub fn playlist(&mut self, text: &str, place: &str) -> Arc<Checked> {
        if let Some((_, checked)) = self.checked.iter().find(|(known, _)| known == text) {
            return checked.clone();
        }
        let checked = Arc::new(rules::check(text).unwrap_or_else(|wrong| panic!("{place}: {wrong}\n{text}")));
        self.checked.truncate(15);
        self.checked.push_front((text.to_owned(), checked.clone()));
        checked
    }

    /// A power loss took the newest: what was shown of it may be made anew.
    pub fn forget(&mut self) {
        *self = Books { verified: self.verified, ..Books::default() };
    }

    /// What is behind a URL is the same whoever asks, and whenever.
    pub fn body(&mut self, url: &str, bytes: &[u8], number: u64) {
        let mut digest = DefaultHasher::new();
        bytes.hash(&mut digest);
        let digest = digest.finish();
        match self.bodies.get(url) {
            Some((known, _)) => assert_eq!(*known, digest, "{url} has other bytes than before"),
            None => drop(self.bodies.insert(url.to_owned(), (digest, number))),
        }
        if self.bodies.len() > 4_096 {
            let first = self.first;
            self.bodies.retain(|_, (_, number)| *number >= first);
            self.frames.retain(|(_, number, _), _| *number >= first);
        }
    }

    /// Looks into a part: the frames that were sent, in order and each once.
    pub fn part(&mut self, kind: Kind, track: &str, (number, part): (u64, u32), init: &[u8], bytes: &[u8]) {
        let key = (track.to_owned(), number, part);
        if self.frames.contains_key(&key) {
            return;
        }
        let found = frames(kind, init, bytes, &format!("{track} {number}.{part}"));
        self.verified.parts += 1;
        self.verified.frames += found.len() as u64;
        // Of text, what is shown longer is said again in the part that follows, and where nothing is shown nothing is said.
        let is_text = kind == Kind::Text;
        let (Some(&first), Some(&last)) = (found.first(), found.last()) else { return };
        let before = self.frames.range(..&key).next_back().filter(|((other, ..), _)| other == track);
        if let Some((place, (_, before))) = before
            && is_one_clock(*before, first)
        {
            let ascends = *before < first || is_text && *before == first;
            assert!(ascends, "{key:?} begins with frame {first:x}, {place:?} ends with {before:x}");
        }
        let after = self.frames.range(&key..).next().filter(|((other, ..), _)| other == track);
        if let Some((place, (after, _))) = after
            && is_one_clock(*after, last)
        {
            let ascends = last < *after || is_text && last == *after;
            assert!(ascends, "{key:?} ends with frame {last:x}, {place:?} begins with {after:x}");
        }
        self.frames.insert(key, (first, last));
    }

    /// The frames of a track's parts that follow each other without one missing, back from its newest; and what lies before.
    pub fn unbroken(&self, track: &str) -> Option<(u64, u64, String)> {
        let end = (track.to_owned(), u64::MAX, 0);
        let mut parts = self.frames.range(..end).rev().take_while(|((other, ..), _)| other == track);
        let (_, &(mut first, last)) = parts.next()?;
        for (place, &(begins, ends)) in parts {
            if ends + 1 != first || !is_one_clock(begins, ends) {
                return Some((first, last, format!("{place:?} ends with {ends:x}, then comes {first:x}")));
            }
            first = begins;
        }
        Some((first, last, "nothing is known".to_owned()))
    }
}

/// Which frames, or of text cues, a part or a segment holds.
pub fn frames(kind: Kind, init: &[u8], bytes: &[u8], place: &str) -> Vec<u64> {
    let mut demuxer = Demuxer::new(place);
    for input in [init, bytes] {
        demuxer.handle(Bytes::copy_from_slice(input)).unwrap_or_else(|error| panic!("{place}: {error}"));
    }
    demuxer.finish().unwrap_or_else(|error| panic!("{place}: {error}"));
    let mut found = Vec::new();
    let mut time = None;
    while let Some(event) = demuxer.poll() {
        let Event::Sample { sample, .. } = event else { continue };
        assert!(time.is_none_or(|time| time < sample.decode_time), "{place}: times do not ascend");
        time = Some(sample.decode_time);
        if kind == Kind::Text && sample.data == SAYS_NOTHING {
            continue;
        }
        let frame = serial(kind, &sample.data).unwrap_or_else(|| panic!("{place}: {:?} was never sent", sample.data));
        let before = found.last().copied();
        let is_again = kind == Kind::Text && before == Some(frame);
        let follows = before.is_none_or(|before| before < frame || !is_one_clock(before, frame)) || is_again;
        assert!(follows, "{place}: frame {frame:x} at {} follows {found:x?} {time:?}", sample.decode_time.0);
        found.push(frame);
    }
    assert!(!found.is_empty() || kind == Kind::Text, "{place}: no frames");
    found.dedup();
    found
}
