//! Where elementary streams put what they find.

use bytes::Bytes;

use crate::base::Timescale;
use crate::media::feed::{Event, Format, Sample, TrackKey};
use crate::media::track::{Kind, Role};

use super::Notice;

/// What is known of a track from outside its stream.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackFacts {
    pub key: TrackKey,
    /// For messages; `None` in packed audio, which has none.
    pub pid: Option<u16>,
    pub kind: Kind,
    pub language: String,
    pub role: Role,
}

/// Events of one track.
pub struct Sink<'a> {
    pub events: &'a mut Vec<Event>,
    pub notices: &'a mut Notices,
    pub track: &'a TrackFacts,
}

/// What went wrong without ending anything, for the log; a bounded number of them.
#[derive(Debug, Default)]
pub struct Notices {
    list: Vec<Notice>,
}

/// More at a time and the log has nothing to gain.
const NOTICES_MAX: usize = 32;

impl Notices {
    pub fn add(&mut self, notice: Notice) {
        if self.list.len() < NOTICES_MAX {
            self.list.push(notice);
        }
    }

    pub fn take(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.list)
    }
}

impl Sink<'_> {
    pub fn track(&mut self, timescale: Timescale, sample_entry: Bytes) {
        let TrackFacts { key, kind, language, role, .. } = self.track.clone();
        let format = Format { kind, timescale, sample_entry, language, name: None, role, bit_rate: None };
        self.events.push(Event::Track { track: key, format });
    }

    pub fn sample(&mut self, sample: Sample) {
        self.events.push(Event::Sample { track: self.track.key, sample });
    }

    pub fn refuse(&mut self, found: impl Into<String>) {
        self.notices.add(Notice::Refused { pid: self.track.pid, found: found.into() });
    }
}
