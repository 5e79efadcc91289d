//! Who publishes a channel, and who stands by.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::options::{SessionId, SourceName};
use super::pieces::{Pieces, Verdict};
use super::timeline::{Nanos, to_nanos};
use crate::base::limits::{LIVE_JUMP, LIVE_SILENCE, LIVE_STANDBY_BYTES_MAX};
use crate::media::Kind;
use crate::media::feed::{Event, Format, Marker, TrackKey};

/// One publisher.
pub struct Session {
    pub id: SessionId,
    pub source: SourceName,
    pub is_active: bool,
    /// It has said so, and sent nothing since.
    pub has_ended: bool,
    /// Track identifiers and formats, by the publisher's own numbers.
    pub tracks: BTreeMap<TrackKey, (Arc<str>, Format)>,
    /// What it sends at once of video and sound, where that is said.
    pieces: BTreeMap<TrackKey, Pieces>,
    has_samples: bool,
    /// When its newest sample came.
    heard: Duration,
    burst: Option<Burst>,
    /// Markers that came before the first sample did.
    pub early: Vec<Marker>,
    /// What came last from a publisher that stands by.
    pub kept: Kept,
}

/// Samples that came without a pause.
struct Burst {
    begun: Duration,
    /// Times of the first and the newest of them, on the publisher's clock.
    first: Nanos,
    newest: Nanos,
}

/// What ends a burst: a pause of so long, or that it has gone on for so long. Then it is a stream in real time, and what it
/// once was ahead says nothing about when more is due.
const PAUSE: Duration = Duration::from_millis(250);
const BURST_MAX: Duration = Duration::from_secs(10);

/// Samples of the last seconds, so that the one who steps in can begin where the other ended.
#[derive(Default)]
pub struct Kept {
    events: VecDeque<(Duration, Event)>,
    bytes: usize,
}

impl Session {
    pub fn new(id: SessionId, source: SourceName, is_active: bool, now: Duration) -> Session {
        Session {
            id,
            source,
            is_active,
            has_ended: false,
            tracks: BTreeMap::new(),
            pieces: BTreeMap::new(),
            has_samples: false,
            heard: now,
            burst: None,
            early: Vec::new(),
            kept: Kept::default(),
        }
    }

    /// Something came.
    pub fn hear(&mut self, event: &Event, now: Duration) {
        let pause = now.saturating_sub(self.heard);
        self.heard = now;
        self.has_ended = matches!(event, Event::End);
        let (Event::Sample { track, .. } | Event::Chunk { track, .. }) = event else { return };
        let Some((_, format)) = self.tracks.get(track) else { return };
        let sample = match event {
            // Text is long, and comes beside the others.
            Event::Chunk { duration, .. } if format.kind != Kind::Text => {
                return self.pieces.entry(*track).or_default().add(*duration);
            }
            Event::Sample { sample, .. } => sample,
            _ => return,
        };
        self.has_samples = true;
        let time = to_nanos(sample.decode_time, format.timescale);
        match &mut self.burst {
            Some(burst)
                if pause <= PAUSE
                    && now.saturating_sub(burst.begun) <= BURST_MAX
                    && (time - burst.newest).unsigned_abs() <= LIVE_JUMP.as_nanos() =>
            {
                burst.newest = burst.newest.max(time);
            }
            burst => *burst = Some(Burst { begun: now, first: time, newest: time }),
        }
    }

    /// Whether what it sends can be published in parts of this length as they are made. `None`: it has sent nothing.
    pub fn brings_parts(&self, part: Duration) -> Option<Verdict> {
        let verdicts = self.pieces.values().map(|pieces| pieces.verdict(part));
        self.has_samples.then(|| verdicts.fold(Verdict::Short, Verdict::beside))
    }

    /// How far what came last is ahead of the time it took to come.
    pub fn ahead(&self) -> Duration {
        let Some(burst) = &self.burst else { return Duration::ZERO };
        let span = Duration::from_nanos(u64::try_from(burst.newest - burst.first).unwrap_or(0));
        span.saturating_sub(self.heard.saturating_sub(burst.begun)).min(LIVE_JUMP)
    }

    pub fn is_silent(&self, now: Duration) -> bool {
        now.saturating_sub(self.heard) > LIVE_SILENCE + self.ahead()
    }

    /// The identifier of a track: from what the publisher calls things, never from when it came.
    pub fn track_id(&mut self, key: TrackKey, format: &Format) -> Arc<str> {
        if let Some((id, known)) = self.tracks.get_mut(&key)
            && known.kind == format.kind
        {
            *known = format.clone();
            return id.clone();
        }
        let others = self.tracks.iter().filter(|(other, (_, known))| **other != key && known.kind == format.kind);
        let number = others.count() + 1;
        let letter = match format.kind {
            Kind::Video => 'v',
            Kind::Audio => 'a',
            Kind::Text => 't',
        };
        let id = match &self.source {
            SourceName::Main => format!("{letter}{number}"),
            SourceName::Rendition(name) => format!("{}-{letter}{number}", name_of(name)),
            SourceName::Track(name) if self.tracks.keys().all(|other| *other == key) => name_of(name),
            SourceName::Track(name) => format!("{}-{}", name_of(name), self.tracks.len() + 1),
        };
        let id: Arc<str> = id.into();
        self.tracks.insert(key, (id.clone(), format.clone()));
        id
    }
}

impl Kept {
    /// Keeps a sample for `time`, within the bounds of memory.
    pub fn push(&mut self, event: Event, now: Duration, time: Duration) {
        self.bytes += size(&event);
        self.events.push_back((now, event));
        while self.bytes > LIVE_STANDBY_BYTES_MAX
            || self.events.front().is_some_and(|(came, _)| now.saturating_sub(*came) > time)
        {
            let Some((_, event)) = self.events.pop_front() else { break };
            self.bytes -= size(&event);
        }
    }

    pub fn take(&mut self) -> impl Iterator<Item = Event> {
        self.bytes = 0;
        std::mem::take(&mut self.events).into_iter().map(|(_, event)| event)
    }
}

fn size(event: &Event) -> usize {
    match event {
        Event::Sample { sample, .. } => sample.data.len() + 64,
        _ => 64,
    }
}

/// What may stand in a URL and in a path: `[A-Za-z0-9_-]{1,24}`, which leaves room for what is put behind it. Names that
/// have to be changed get a hash of what they were, so that two of them stay two. So does what a channel's own playlist is
/// called by: packagers like the name, and the multivariant playlist would list itself.
pub fn name_of(name: &str) -> String {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) && name != MULTIVARIANT {
        return name.to_owned();
    }
    let kept: String =
        name.chars().filter(|char| u8::try_from(*char).is_ok_and(allowed)).take(NAME_BYTES_MAX - 9).collect();
    let hash = &blake3::hash(name.as_bytes()).to_hex()[..8];
    if kept.is_empty() { format!("x-{hash}") } else { format!("{kept}-{hash}") }
}

const NAME_BYTES_MAX: usize = 24;
/// Stem of `index.m3u8`, where media playlists are `{track}.m3u8`.
const MULTIVARIANT: &str = "index";

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::base::{Ticks, Timescale};
    use crate::media::feed::Sample;
    use crate::media::track::Role;

    fn format(kind: Kind) -> Format {
        Format {
            kind,
            timescale: Timescale::MILLIS,
            sample_entry: Bytes::new(),
            language: "und".to_owned(),
            name: None,
            role: Role::Main,
            bit_rate: None,
        }
    }

    #[test]
    fn tracks_are_named_by_their_source() {
        for (source, want) in [
            (SourceName::Main, ["v1", "a1", "a2"]),
            (SourceName::Rendition("720p".to_owned()), ["720p-v1", "720p-a1", "720p-a2"]),
            (SourceName::Track("video".to_owned()), ["video", "video-2", "video-3"]),
            (SourceName::Track("index".to_owned()), ["index-aaa6dc8a", "index-aaa6dc8a-2", "index-aaa6dc8a-3"]),
        ] {
            let mut session = Session::new(SessionId(1), source, true, Duration::ZERO);
            let kinds = [Kind::Video, Kind::Audio, Kind::Audio];
            let ids = |session: &mut Session| {
                let named = kinds.iter().zip(0..).map(|(kind, key)| session.track_id(key, &format(*kind)).to_string());
                named.collect::<Vec<_>>()
            };
            assert_eq!(ids(&mut session), want);
            assert_eq!(ids(&mut session), want, "again");
        }
    }

    #[test]
    fn silence_begins_when_what_was_sent_has_passed() {
        let at = Duration::from_millis;
        let format = format(Kind::Video);
        // When each run of frames, 40 ms apart, comes: milliseconds, frames, and how long it takes to come.
        for (name, runs, last, want) in [
            ("a frame at a time", &[(0, 100, 4_000)][..], 3_960, LIVE_SILENCE),
            ("segments of 6 s, each at once", &[(0, 150, 0), (6_000, 150, 0)], 6_000, LIVE_SILENCE + at(5_960)),
            ("a segment in twice its time", &[(0, 50, 4_000)], 3_920, LIVE_SILENCE),
            ("chunks", &[(0, 12, 0), (480, 12, 0), (960, 12, 0)], 960, LIVE_SILENCE + at(440)),
            ("5 s at the start, long ago", &[(0, 125, 0), (10, 500, 20_000)], 19_970, LIVE_SILENCE),
        ] {
            let mut session = Session::new(SessionId(1), SourceName::Main, true, Duration::ZERO);
            session.track_id(0, &format);
            let mut frame = 0;
            for &(begin, frames, takes) in runs {
                for number in 0..frames {
                    let sample = Sample {
                        decode_time: Ticks(frame * 40),
                        composition_offset: 0,
                        duration: None,
                        is_sync: false,
                        data: Bytes::new(),
                    };
                    frame += 1;
                    session.hear(&Event::Sample { track: 0, sample }, at(begin + number * takes / frames));
                }
            }
            assert!(!session.is_silent(at(last) + want), "{name}");
            assert!(session.is_silent(at(last) + want + at(45)), "{name}");
        }
    }

    #[test]
    fn parts_are_for_who_sends_pieces_that_are_short_enough() {
        let at = Duration::from_millis;
        let sample =
            Sample { decode_time: Ticks(0), composition_offset: 0, duration: None, is_sync: true, data: Bytes::new() };
        let sample = Event::Sample { track: 0, sample };
        let chunk = |track, duration| Event::Chunk { track, duration };
        // What is said before the first sample, and what of it for parts of half a second. Track 1 is text.
        for (said, want) in [
            (&[][..], Verdict::Short),
            (&[chunk(0, Some(at(480)))], Verdict::Unsure { long: false }),
            (&[chunk(0, Some(at(1_920)))], Verdict::Unsure { long: true }),
            (&[chunk(0, None)], Verdict::Long),
            (&[chunk(1, None)], Verdict::Short),
        ] {
            let mut session = Session::new(SessionId(1), SourceName::Main, true, Duration::ZERO);
            session.track_id(0, &format(Kind::Audio));
            session.track_id(1, &format(Kind::Text));
            said.iter().for_each(|event| session.hear(event, Duration::ZERO));
            assert_eq!(session.brings_parts(at(500)), None, "{said:?}");
            session.hear(&sample, Duration::ZERO);
            assert_eq!(session.brings_parts(at(500)), Some(want), "{said:?}");
        }
    }

    #[test]
    fn odd_names_are_mapped() {
        assert_eq!(name_of("Video_1-b"), "Video_1-b");
        let long = "x".repeat(300);
        for name in ["", "a/b", "a.b", "ä", "../..", &long] {
            let mapped = name_of(name);
            assert!(mapped.len() <= NAME_BYTES_MAX && name_of(&mapped) == mapped, "{name} {mapped}");
        }
        assert_ne!(name_of("a/b"), name_of("a.b"));
    }
}
