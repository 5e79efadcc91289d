//! Who publishes a channel, and who stands by.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::options::{SessionId, SourceName};
use crate::base::limits::LIVE_STANDBY_BYTES_MAX;
use crate::media::Kind;
use crate::media::feed::{Event, Format, TrackKey};

/// A publisher that sends nothing for so long gives way to another.
pub const SILENCE: Duration = Duration::from_millis(1_500);

/// One publisher.
pub struct Session {
    pub id: SessionId,
    pub source: SourceName,
    pub is_active: bool,
    /// Track identifiers and formats, by the publisher's own numbers.
    pub tracks: BTreeMap<TrackKey, (Arc<str>, Format)>,
    /// When its newest sample came.
    pub heard: Duration,
    /// What came last from a publisher that stands by.
    pub kept: Kept,
}

/// Samples of the last seconds, so that the one who steps in can begin where the other ended.
#[derive(Default)]
pub struct Kept {
    events: VecDeque<(Duration, Event)>,
    bytes: usize,
}

impl Session {
    pub fn new(id: SessionId, source: SourceName, is_active: bool, now: Duration) -> Session {
        Session { id, source, is_active, tracks: BTreeMap::new(), heard: now, kept: Kept::default() }
    }

    pub fn is_silent(&self, now: Duration) -> bool {
        now.saturating_sub(self.heard) > SILENCE
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
/// have to be changed get a hash of what they were, so that two of them stay two.
pub fn name_of(name: &str) -> String {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        return name.to_owned();
    }
    let kept: String =
        name.chars().filter(|char| u8::try_from(*char).is_ok_and(allowed)).take(NAME_BYTES_MAX - 9).collect();
    let hash = &blake3::hash(name.as_bytes()).to_hex()[..8];
    if kept.is_empty() { format!("x-{hash}") } else { format!("{kept}-{hash}") }
}

const NAME_BYTES_MAX: usize = 24;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::base::Timescale;
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
