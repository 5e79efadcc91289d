//! What of a channel has to survive a restart beside its files: the decisions that were taken once and are kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Ticks, Timescale};
use crate::media::broadcast::{Bitrate, Grid, Mark, Span};
use crate::media::feed::{Format, Message};
use crate::media::track::{Kind, Role};

use super::timeline::Pace;

/// Written as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub version: u32,
    pub grid: Option<SavedGrid>,
    /// In units of 10 ms.
    pub anchor: Option<i64>,
    /// Whether what was published last came in pieces that are too long for parts.
    #[serde(default)]
    pub is_coarse: bool,
    /// Number of the channel's first segment.
    pub origin: u64,
    /// How far back viewers could go.
    #[serde(default)]
    pub window: Option<Duration>,
    /// From which segment on how many discontinuities there are, ascending.
    pub discontinuities: Vec<(u64, u32)>,
    pub tracks: Vec<SavedTrack>,
    #[serde(default)]
    pub marks: Vec<SavedMark>,
    /// Whether the encoder has ended the channel.
    #[serde(default)]
    pub is_ended: bool,
}

pub const VERSION: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedGrid {
    pub timescale: u32,
    pub slot: i64,
    pub phase: i64,
    pub target: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedTrack {
    pub id: String,
    pub kind: u8,
    pub input_timescale: u32,
    /// Hexadecimal.
    pub sample_entry: String,
    /// The beginning of the first sample, hexadecimal.
    pub first_sample: String,
    pub language: String,
    pub name: Option<String>,
    pub role: u8,
    pub bit_rate: Option<u32>,
    pub timescale: u32,
    pub frame: Option<i64>,
    pub reorder: i64,
    pub peak: u64,
    pub average: u64,
    /// Whether the bit rates are final.
    pub rated: bool,
    /// As in [`crate::media::broadcast::BroadcastTrack`]; 0 until it is.
    #[serde(default)]
    pub key_frame_size: u32,
    /// How much later its encoder's times are than where its frames were put, in track ticks.
    #[serde(default)]
    pub off: Option<i64>,
    /// Number, time and end of segments that were in files that are gone, in track ticks, ascending.
    #[serde(default)]
    pub lead: Vec<(u64, i64, i64)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedMark {
    pub id: String,
    /// Since 1970.
    pub time: Duration,
    pub duration: Option<Duration>,
    pub message: SavedMessage,
}

/// Bytes are hexadecimal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SavedMessage {
    Scte35(String),
    Event { scheme: String, value: String, id: u32, data: String },
}

const KINDS: [Kind; 3] = [Kind::Video, Kind::Audio, Kind::Text];
const ROLES: [Role; 6] =
    [Role::Main, Role::Alternate, Role::Commentary, Role::Description, Role::Forced, Role::Caption];

impl State {
    /// `None` for what this build did not write.
    pub fn read(json: &[u8]) -> Option<State> {
        serde_json::from_slice(json).ok().filter(|state: &State| state.version == VERSION)
    }

    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl SavedGrid {
    pub fn of(grid: &Grid) -> SavedGrid {
        SavedGrid {
            timescale: grid.timescale.per_second(),
            slot: grid.slot.0,
            phase: grid.phase.0,
            target: grid.target,
        }
    }

    /// `part` is the operator's, and may change.
    pub fn grid(&self, part: Option<std::time::Duration>) -> Option<Grid> {
        let grid = Grid {
            timescale: Timescale::new(self.timescale)?,
            slot: Ticks(self.slot),
            phase: Ticks(self.phase),
            target: self.target,
            part,
        };
        (self.slot > 0 && (0..self.slot).contains(&self.phase) && self.target > 0).then_some(grid)
    }
}

impl SavedTrack {
    pub fn of(id: &str, format: &Format, first_sample: &[u8], pace: &Pace, reorder: i64, rate: Bitrate) -> SavedTrack {
        SavedTrack {
            id: id.to_owned(),
            kind: KINDS.iter().position(|kind| *kind == format.kind).unwrap_or(0) as u8,
            input_timescale: format.timescale.per_second(),
            sample_entry: hex(&format.sample_entry),
            first_sample: hex(first_sample),
            language: format.language.clone(),
            name: format.name.clone(),
            role: ROLES.iter().position(|role| *role == format.role).unwrap_or(0) as u8,
            bit_rate: format.bit_rate,
            timescale: pace.timescale.per_second(),
            frame: pace.frame,
            reorder,
            peak: rate.peak,
            average: rate.average,
            rated: rate.is_settled,
            key_frame_size: 0,
            off: None,
            lead: Vec::new(),
        }
    }

    pub fn format(&self) -> Option<Format> {
        Some(Format {
            kind: *KINDS.get(usize::from(self.kind))?,
            timescale: Timescale::new(self.input_timescale)?,
            sample_entry: bytes(&self.sample_entry)?.into(),
            language: self.language.clone(),
            name: self.name.clone(),
            role: *ROLES.get(usize::from(self.role))?,
            bit_rate: self.bit_rate,
        })
    }

    pub fn first_sample(&self) -> Option<Vec<u8>> {
        bytes(&self.first_sample)
    }

    pub fn pace(&self) -> Option<Pace> {
        let frame = self.frame.filter(|frame| *frame > 0);
        Some(Pace { timescale: Timescale::new(self.timescale)?, frame })
    }

    pub fn lead(&self) -> Vec<Span> {
        self.lead.iter().map(|&(number, time, end)| Span { number, time: Ticks(time), end: Ticks(end) }).collect()
    }

    pub fn rate(&self) -> Bitrate {
        Bitrate { peak: self.peak, average: self.average, is_settled: self.rated }
    }
}

impl SavedMark {
    pub fn of(mark: &Mark) -> SavedMark {
        let message = match &mark.message {
            Message::Scte35(section) => SavedMessage::Scte35(hex(section)),
            Message::Event { scheme, value, id, data } => {
                SavedMessage::Event { scheme: scheme.clone(), value: value.clone(), id: *id, data: hex(data) }
            }
        };
        SavedMark { id: mark.id.clone(), time: mark.time, duration: mark.duration, message }
    }

    pub fn mark(&self) -> Option<Mark> {
        let message = match &self.message {
            SavedMessage::Scte35(section) => Message::Scte35(bytes(section)?.into()),
            SavedMessage::Event { scheme, value, id, data } => {
                Message::Event { scheme: scheme.clone(), value: value.clone(), id: *id, data: bytes(data)?.into() }
            }
        };
        Some(Mark { id: self.id.clone(), time: self.time, duration: self.duration, message })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
    digits.len().is_multiple_of(2).then(|| pairs.collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_read_again() {
        let format = Format {
            kind: Kind::Audio,
            timescale: Timescale::MILLIS,
            sample_entry: vec![0, 1, 0xFE].into(),
            language: "de".to_owned(),
            name: Some("Ton".to_owned()),
            role: Role::Description,
            bit_rate: Some(128_000),
        };
        let pace = Pace { timescale: Timescale::new(48_000).unwrap(), frame: Some(1_024) };
        let rate = Bitrate { peak: 130_000, average: 120_000, is_settled: true };
        let track = SavedTrack::of("a1", &format, &[7, 8], &pace, 0, rate);
        assert_eq!((track.format(), track.first_sample()), (Some(format), Some(vec![7, 8])));
        assert_eq!((track.pace(), track.rate()), (Some(pace), rate));
        let span = Span { number: 899, time: Ticks(5), end: Ticks(7) };
        assert_eq!(SavedTrack { lead: vec![(899, 5, 7)], ..track.clone() }.lead(), [span]);
        let messages = [
            Message::Scte35(vec![0xFC, 0x30].into()),
            Message::Event { scheme: "urn:x".to_owned(), value: "1".to_owned(), id: 7, data: vec![9].into() },
        ];
        let marks = messages.map(|message| Mark {
            id: "m".to_owned(),
            time: Duration::new(1_800_000_000, 40_000_000),
            duration: Some(Duration::from_secs(30)),
            message,
        });
        for mark in &marks {
            assert_eq!(SavedMark::of(mark).mark().as_ref(), Some(mark));
        }
        let state = State {
            version: VERSION,
            grid: Some(SavedGrid { timescale: 90_000, slot: 180_000, phase: 7, target: 2 }),
            anchor: Some(5),
            is_coarse: true,
            origin: 900,
            window: Some(Duration::from_secs(600)),
            discontinuities: vec![(901, 1)],
            tracks: vec![track],
            marks: marks.iter().map(SavedMark::of).collect(),
            is_ended: true,
        };
        assert_eq!(State::read(&state.write()), Some(state.clone()));
        for json in ["", "{}", "null", "{\"version\": 2}"] {
            assert_eq!(State::read(json.as_bytes()), None);
        }
        // Of before marks and the window were kept.
        let older =
            format!(r#"{{"version":{VERSION},"grid":null,"anchor":null,"origin":1,"discontinuities":[],"tracks":[]}}"#);
        assert!(State::read(older.as_bytes()).is_some_and(|state| !state.is_ended));
        // Of before sizes of key frames were, how times lie, and what lay before the oldest file.
        let json = String::from_utf8(state.write()).unwrap();
        let older = json.replace(",\"key_frame_size\":0,\"off\":null,\"lead\":[]", "");
        assert!(older.len() < json.len());
        assert_eq!(State::read(older.as_bytes()), Some(state.clone()));
        assert!(State::read(&State { version: 9, ..state }.write()).is_none());
        assert!(SavedGrid { timescale: 0, slot: 1, phase: 0, target: 1 }.grid(None).is_none());
        assert!(SavedGrid { timescale: 1, slot: 0, phase: 0, target: 1 }.grid(None).is_none());
    }
}
