//! MPEG transport streams (ISO/IEC 13818-1), as they arrive: bytes in, [`Event`]s out.
//!
//! [`Demuxer`] takes pieces of any size and gives the same events however they are cut. Times of video and of marks count
//! in 90 kHz, those of audio in its samples (`audio` says why). [`PackedAudio`] does the same for the audio without a
//! container that HLS renditions may have.

mod audio;
mod clock;
#[cfg(test)]
pub(crate) mod fixture;
pub mod mux;
mod packed;
mod packet;
mod pes;
mod program;
mod section;
mod sink;
mod splice;
mod stamps;
mod stream;
#[cfg(test)]
mod tests;
mod video;

use std::collections::BTreeMap;

use thiserror::Error;

use crate::base::limits;
use crate::media::codec;

use super::feed::Event;

pub use packed::PackedAudio;

use packet::{Counter, Framing, Packet, Step};
use program::Program;
use section::{Assembler, Association, Map};
use sink::Notices;

/// Why a stream cannot be taken at all.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error(
        "no transport stream packets in {searched} bytes, which end before 0x{found}; expected 0x47 every 188, 192 or 204"
    )]
    NoPackets { searched: usize, found: String },
    #[error("no program with media that is supported: {found}; expected {}", SUPPORTED)]
    NoMedia { found: String },
    #[error("audio begins {found}; expected an ID3 tag with PRIV {}", packed::OWNER)]
    NoTimestamp { found: String },
    #[error("an ID3 tag of {found} bytes; expected at most {}", limits::TS_METADATA_BYTES_MAX)]
    LongTag { found: usize },
    #[error("packed audio that begins 0x{found}; expected AAC in ADTS, AC-3, E-AC-3 or MP3")]
    NoAudio { found: String },
}

/// What was left out, for the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Notice {
    #[error("{}{found} is left out; supported are {}", place(pid), SUPPORTED)]
    Refused { pid: Option<u16>, found: String },
    #[error("{}{error}", place(pid))]
    ParameterSets { pid: Option<u16>, error: codec::Error },
    #[error("{}packets are missing; what they belonged to is dropped", place(pid))]
    Lost { pid: Option<u16> },
}

const SUPPORTED: &str = "H.264, HEVC, AAC in ADTS, AC-3, E-AC-3, MP3, Opus, timed ID3 and SCTE 35";

fn place(pid: &Option<u16>) -> String {
    pid.map(|pid| format!("PID {pid}: ")).unwrap_or_default()
}

/// Takes a transport stream apart: the first of its programs that has media.
#[derive(Debug, Default)]
pub struct Demuxer {
    framing: Framing,
    state: State,
}

/// All that comes after the packets have been found.
#[derive(Debug, Default)]
struct State {
    association: Tables,
    /// Section number → program numbers and the PIDs of their maps.
    sections: BTreeMap<u8, Vec<(u16, u16)>>,
    maps: BTreeMap<u16, Tables>,
    /// Programs without anything that is supported, and what they have instead.
    barren: BTreeMap<u16, String>,
    program: Program,
    notices: Notices,
    losses: u64,
}

#[derive(Debug, Default)]
struct Tables {
    counter: Counter,
    assembler: Assembler,
}

/// The PID of the program association table.
const ASSOCIATION_PID: u16 = 0;
const NULL_PID: u16 = 0x1FFF;

impl Demuxer {
    /// Takes the bytes that come next and appends what they complete to `events`. After an error nothing more will come of
    /// this stream.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), Error> {
        let Demuxer { framing, state } = self;
        framing.push(bytes, |step| state.step(step, events))
    }

    /// A segment, or the stream, ends here: what has arrived is complete. Packets that follow may begin anew, with tracks
    /// and clock going on.
    pub fn flush(&mut self, events: &mut Vec<Event>) -> Result<(), Error> {
        let Demuxer { framing, state } = self;
        let result = framing.flush(|step| state.step(step, events));
        state.program.flush(events, &mut state.notices);
        state.association = Tables::default();
        state.maps.values_mut().for_each(|tables| *tables = Tables::default());
        result
    }

    /// Behind a flush: what comes next counts from anywhere, and is no lap of the clock before.
    pub fn restart_clock(&mut self) {
        self.state.program.restart_clock();
    }

    /// The bytes end in the middle: what is in progress is given up.
    pub fn lose(&mut self) {
        self.framing = Framing::default();
        self.state.program.lose();
        self.state.association = Tables::default();
        self.state.maps.values_mut().for_each(|tables| *tables = Tables::default());
    }

    /// What was left out since the last time; no more than a few are kept.
    pub fn notices(&mut self) -> Vec<Notice> {
        self.state.notices.take()
    }

    /// How often packets were missing, by their continuity counters.
    pub fn losses(&self) -> u64 {
        self.state.losses
    }
}

impl State {
    fn step(&mut self, step: Step<'_>, events: &mut Vec<Event>) -> Result<(), Error> {
        match step {
            // What is missing shows in the continuity counters.
            Step::Lost => Ok(()),
            Step::Packet(bytes) => match Packet::read(bytes) {
                Some(packet) => self.packet(&packet, events),
                None => Ok(()),
            },
        }
    }

    fn packet(&mut self, packet: &Packet<'_>, events: &mut Vec<Event>) -> Result<(), Error> {
        match packet.pid {
            NULL_PID => Ok(()),
            ASSOCIATION_PID => {
                let mut found = Vec::new();
                self.association.push(packet, |section| found.extend(Association::read(section)));
                found.into_iter().try_for_each(|section| self.associate(section, events))
            }
            pid => {
                if let Some(tables) = self.maps.get_mut(&pid) {
                    let mut found = Vec::new();
                    tables.push(packet, |section| found.extend(Map::read(section)));
                    return found.into_iter().try_for_each(|map| self.map(pid, map, events));
                }
                let is_lost = self.program.packet(packet, events, &mut self.notices);
                self.losses += u64::from(is_lost);
                Ok(())
            }
        }
    }

    fn associate(&mut self, section: Association, events: &mut Vec<Event>) -> Result<(), Error> {
        let Association { number, mut programs } = section;
        programs.truncate(limits::TS_PROGRAMS_MAX);
        if self.sections.get(&number) == Some(&programs) {
            return Ok(());
        }
        // A table that changes begins with its first section.
        if number == 0 {
            self.sections.clear();
        }
        self.sections.insert(number, programs);
        let listed: Vec<(u16, u16)> = self.sections.values().flatten().copied().take(limits::TS_PROGRAMS_MAX).collect();
        let is_listed = |program: u16| listed.iter().any(|(number, _)| *number == program);
        self.maps.retain(|pid, _| listed.iter().any(|(_, map)| map == pid));
        for &(_, pid) in &listed {
            self.maps.entry(pid).or_default();
        }
        self.barren.retain(|&program, _| is_listed(program));
        if self.program.number().is_some_and(|number| !is_listed(number)) {
            self.program.leave(events, &mut self.notices);
        }
        Ok(())
    }

    fn map(&mut self, pid: u16, map: Map, events: &mut Vec<Event>) -> Result<(), Error> {
        let listed = || self.sections.values().flatten();
        if !listed().any(|&listed| listed == (map.program, pid)) {
            return Ok(());
        }
        let number = map.program;
        if self.program.number().is_some_and(|chosen| chosen != number) {
            return Ok(());
        }
        let programs = listed().count().min(limits::TS_PROGRAMS_MAX);
        match self.program.apply(map, events, &mut self.notices) {
            Ok(()) => {
                self.barren.remove(&number);
                Ok(())
            }
            Err(found) => {
                self.barren.insert(number, found);
                if self.barren.len() < programs {
                    return Ok(());
                }
                let found = self.barren.iter().map(|(program, found)| format!("program {program} has {found}"));
                Err(Error::NoMedia { found: found.collect::<Vec<_>>().join(", ") })
            }
        }
    }
}

impl Tables {
    fn push(&mut self, packet: &Packet<'_>, section: impl FnMut(&[u8])) {
        if packet.payload.is_empty() || packet.is_scrambled {
            return;
        }
        match self.counter.next(packet) {
            packet::Continuity::Repeated => return,
            packet::Continuity::Lost => self.assembler.lose(),
            packet::Continuity::Next => {}
        }
        self.assembler.push(packet.unit_start, packet.payload, section);
    }
}
