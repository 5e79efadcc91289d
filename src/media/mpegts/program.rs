//! One program: its streams, and the tracks they continue when the map changes.

use std::collections::BTreeMap;

use crate::base::limits;
use crate::media::feed::Event;
use crate::media::track::{Kind, Role};

use super::clock::Clock;
use super::packet::Packet;
use super::section::{Map, MapStream};
use super::sink::{Notices, TrackFacts};
use super::stream::{Found, Stream, identify, language};

/// The program that was chosen, if any.
#[derive(Debug, Default)]
pub struct Program {
    map: Option<Map>,
    streams: BTreeMap<u16, Stream>,
    clock: Clock,
    /// All tracks there have been; a track's key is its place.
    tracks: Vec<TrackFacts>,
}

impl Program {
    pub fn number(&self) -> Option<u16> {
        self.map.as_ref().map(|map| map.program)
    }

    /// Takes streams over from a map. `Err` is what the map has, if none of it is media that is supported.
    pub fn apply(&mut self, map: Map, events: &mut Vec<Event>, notices: &mut Notices) -> Result<(), String> {
        if self.map.as_ref() == Some(&map) {
            return Ok(());
        }
        let found: Vec<(&MapStream, Found)> = map.streams.iter().map(|stream| (stream, identify(stream))).collect();
        if !found.iter().any(|(_, found)| matches!(found, Found::Video(_) | Found::Audio(_))) {
            let has = found.iter().map(|(stream, found)| match found {
                Found::Unsupported(name) => name.clone(),
                _ => format!("stream type 0x{:02x}", stream.stream_type),
            });
            let has: Vec<String> = has.take(8).collect();
            self.leave(events, notices);
            return Err(if has.is_empty() { "no streams".to_owned() } else { has.join(" and ") });
        }
        let before = self.map.take().map(|map| map.streams).unwrap_or_default();
        let mut old = std::mem::take(&mut self.streams);
        let mut kept = BTreeMap::new();
        for (stream, _) in &found {
            // Nothing changes for a stream that is described as before.
            if before.contains(stream)
                && let Some(known) = old.remove(&stream.pid)
            {
                kept.insert(stream.pid, known);
            }
        }
        // What a stream that ends has left comes before anything of the stream that takes its place.
        old.values_mut().for_each(|stream| stream.flush(&mut self.clock, events, notices));
        let mut taken: Vec<u32> = kept.values().filter_map(|stream| stream.track.as_ref()).map(|it| it.key).collect();
        for (stream, found) in &found {
            if kept.contains_key(&stream.pid) {
                continue;
            }
            let kind = match found {
                Found::Video(_) => Some(Kind::Video),
                Found::Audio(_) => Some(Kind::Audio),
                Found::Metadata | Found::Splices => None,
                Found::Unsupported(name) => {
                    notices.add(super::Notice::Refused { pid: Some(stream.pid), found: name.clone() });
                    continue;
                }
            };
            let track = match kind {
                None => None,
                Some(kind) => match self.track(stream, kind, &taken) {
                    Some(track) => Some(track),
                    None => {
                        let found = format!("more than {} tracks", limits::TRACKS_MAX);
                        notices.add(super::Notice::Refused { pid: Some(stream.pid), found });
                        continue;
                    }
                },
            };
            taken.extend(track.as_ref().map(|track| track.key));
            kept.insert(stream.pid, Stream::new(found, track));
        }
        self.streams = kept;
        self.map = Some(map);
        Ok(())
    }

    /// The track that a stream continues: that of its PID, or else one of its kind, in its language if there is one. A
    /// playlist that goes over to other content (an advertisement) changes PIDs as it likes.
    fn track(&mut self, stream: &MapStream, kind: Kind, taken: &[u32]) -> Option<TrackFacts> {
        let (language, role) = language(stream).unwrap_or_else(|| ("und".to_owned(), Role::Main));
        let free = |track: &&TrackFacts| track.kind == kind && !taken.contains(&track.key);
        let candidates = || self.tracks.iter().filter(free);
        let found = candidates()
            .find(|track| track.pid == Some(stream.pid))
            .or_else(|| candidates().find(|track| track.language == language && track.role == role))
            .or_else(|| candidates().next());
        let key = match found {
            Some(track) => track.key,
            None if self.tracks.len() < limits::TRACKS_MAX => self.tracks.len() as u32,
            None => return None,
        };
        let track = TrackFacts { key, pid: Some(stream.pid), kind, language, role };
        match self.tracks.get_mut(key as usize) {
            Some(known) => *known = track.clone(),
            None => self.tracks.push(track.clone()),
        }
        Some(track)
    }

    /// Whether packets were missing before this one.
    pub fn packet(&mut self, packet: &Packet<'_>, events: &mut Vec<Event>, notices: &mut Notices) -> bool {
        let Some(stream) = self.streams.get_mut(&packet.pid) else { return false };
        stream.packet(packet, &mut self.clock, events, notices)
    }

    pub fn flush(&mut self, events: &mut Vec<Event>, notices: &mut Notices) {
        self.streams.values_mut().for_each(|stream| stream.flush(&mut self.clock, events, notices));
    }

    pub fn restart_clock(&mut self) {
        self.clock = Clock::default();
    }

    pub fn lose(&mut self) {
        self.streams.values_mut().for_each(Stream::lose);
    }

    /// The program is no longer there.
    pub fn leave(&mut self, events: &mut Vec<Event>, notices: &mut Notices) {
        self.flush(events, notices);
        self.map = None;
        self.streams.clear();
    }
}
