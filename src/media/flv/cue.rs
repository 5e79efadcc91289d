//! Cue messages: SCTE 35 as encoders send it over RTMP.
//!
//! There is no one form. A message may hold a whole `splice_info_section`, in base64, under a name that is the encoder's
//! own (`cue` in Adobe's onAdCue, as Azure and Wowza read it); then that is what counts. Or it spells the fields of a
//! splice_insert out (AWS Elemental's onCuePoint in SCTE 35 mode: milliseconds, relative to the message), or only says that
//! there is a break and how long (Adobe's simple mode, Elemental's and YouTube's onCuePoint: seconds); then the section is
//! written here, so that what comes out is one form.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use super::amf::Value;
use crate::base::{Ticks, Timescale};
use crate::media::feed::{Marker, Message};

/// Of ANSI/SCTE 35 §9.6.
const TABLE_ID: u8 = 0xFC;
/// Base64 of the longest section, 3 + 4093 bytes.
const ENCODED_BYTES_MAX: usize = 5464;

/// What a message of this name is, sent at `now`. `None` if it is nothing of SCTE 35.
pub fn read(name: &str, cue: &Value, now: Ticks) -> Option<Marker> {
    let parameters = cue.property("parameters");
    let property = |name: &str| cue.property(name).or_else(|| parameters?.property(name));
    let number = |name: &str| property(name).and_then(Value::number).filter(|number| number.is_finite());
    let is_scte = ["type", "name"].iter().any(|name| {
        let text = cue.property(name).and_then(Value::text).unwrap_or_default().to_ascii_lowercase();
        text.contains("scte35") || text == "com.youtube.cuepoint"
    });
    let at = |seconds: f64| millis(seconds * 1000.0);
    if let Some(section) = section(cue).or_else(|| section(parameters?)) {
        return Some(Marker {
            time: Some((number("time").map_or(now, at), Timescale::MILLIS)),
            duration: number("duration")
                .filter(|seconds| *seconds > 0.0)
                .map(|seconds| (at(seconds), Timescale::MILLIS)),
            message: Message::Scte35(section),
        });
    }
    // Adobe's simple mode needs no type.
    let simple = match property("cue").and_then(Value::text) {
        Some("SpliceOut") if name == "onAdCue" => Some(true),
        Some("SpliceIn") if name == "onAdCue" => Some(false),
        _ => None,
    };
    if !is_scte && simple.is_none() {
        return None;
    }
    let flag = |name: &str| property(name).and_then(Value::boolean);
    let out = flag("out_of_network_indicator").or(flag("cue_point_start")).or(simple);
    let duration = match (number("break_duration"), number("break_duration_sec").or(number("duration"))) {
        (Some(duration), _) => millis(duration),
        (None, Some(seconds)) => at(seconds),
        (None, None) => Ticks(0),
    };
    let time = match (number("pre_roll_time"), number("pre_roll_time_sec"), number("time")) {
        (Some(ahead), _, _) => Ticks(now.0.saturating_add(millis(ahead).0)),
        (None, Some(ahead), _) => Ticks(now.0.saturating_add(at(ahead).0)),
        (None, None, Some(time)) => at(time),
        (None, None, None) => now,
    };
    let splice = Splice {
        event_id: number("splice_event_id").map_or_else(|| event_id(property("id")), |id| id as u32),
        is_cancelled: flag("splice_event_cancel_indicator").unwrap_or(false),
        is_out: out.unwrap_or(duration.0 > 0),
        duration: (duration.0 > 0).then_some(duration),
        program_id: number("unique_program_id").unwrap_or_default() as u16,
        avail: (
            number("avail_num").unwrap_or_default() as u8,
            number("avails_expected").or(number("avail_expected")).unwrap_or_default() as u8,
        ),
    };
    Some(Marker {
        time: Some((time, Timescale::MILLIS)),
        duration: splice.duration.map(|duration| (duration, Timescale::MILLIS)),
        message: Message::Scte35(splice.section()),
    })
}

/// Casts of floats saturate; times beyond any stream's are cut to where adding them cannot overflow.
fn millis(millis: f64) -> Ticks {
    Ticks((millis.round() as i64).clamp(-(1 << 48), 1 << 48))
}

/// The first property that is a whole section, in base64 or (which no specification has) as it is.
fn section(value: &Value) -> Option<Bytes> {
    let Value::Object(properties) = value else { return None };
    properties.iter().find_map(|(_, value)| {
        let Value::String(text) = value else { return None };
        if is_section(text) {
            return Some(Bytes::copy_from_slice(text));
        }
        let text = text.trim_ascii();
        // Every section begins with 0xFC: with a slash, in base64.
        if text.first() != Some(&b'/') || text.len() > ENCODED_BYTES_MAX {
            return None;
        }
        BASE64_STANDARD.decode(text).ok().filter(|section| is_section(section)).map(Bytes::from)
    })
}

fn is_section(bytes: &[u8]) -> bool {
    match bytes {
        [TABLE_ID, high, low, rest @ ..] => rest.len() == usize::from(high & 15) << 8 | usize::from(*low),
        _ => false,
    }
}

/// Numbers as they are; of names, a number that stays the same: messages with the same name are of the same event.
fn event_id(id: Option<&Value>) -> u32 {
    match id {
        Some(Value::Number(number)) => *number as u32,
        Some(Value::String(text)) => {
            let digits = str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
            digits.unwrap_or_else(|| crc32_mpeg(text))
        }
        _ => 0,
    }
}

/// What a `splice_insert` is written from.
struct Splice {
    event_id: u32,
    is_cancelled: bool,
    is_out: bool,
    /// In milliseconds.
    duration: Option<Ticks>,
    program_id: u16,
    avail: (u8, u8),
}

impl Splice {
    /// A `splice_info_section` with a `splice_insert` of the immediate kind (ANSI/SCTE 35 §9.6, §9.7.3): when it takes
    /// effect is said by the marker around it, on the publisher's clock.
    fn section(&self) -> Bytes {
        let mut command = self.event_id.to_be_bytes().to_vec();
        command.push(if self.is_cancelled { 0xFF } else { 0x7F });
        if !self.is_cancelled {
            // out_of_network, program_splice, duration, splice_immediate
            let flags = u8::from(self.is_out) << 7 | 0x40 | u8::from(self.duration.is_some()) << 5 | 0x10 | 0x0F;
            command.push(flags);
            if let Some(duration) = self.duration {
                let ticks = (duration.0 as u64).saturating_mul(90).min((1 << 33) - 1);
                command.extend_from_slice(&(0xFE_u64 << 32 | ticks).to_be_bytes()[3..]); // auto_return
            }
            command.extend_from_slice(&self.program_id.to_be_bytes());
            command.extend_from_slice(&[self.avail.0, self.avail.1]);
        }
        // protocol_version, no encryption, pts_adjustment 0, cw_index, tier 0xFFF, splice_command_length and type
        let mut body = vec![0, 0, 0, 0, 0, 0, 0, 0xFF, 0xF0, command.len() as u8, 5];
        body.extend_from_slice(&command);
        body.extend_from_slice(&[0, 0]); // descriptor_loop_length
        let mut section = vec![TABLE_ID, 0x30, body.len() as u8 + 4];
        section.extend_from_slice(&body);
        let crc = crc32_mpeg(&section);
        section.extend_from_slice(&crc.to_be_bytes());
        section.into()
    }
}

/// The check sum of MPEG-2 sections (ISO/IEC 13818-1 annex A): not reflected, not inverted.
fn crc32_mpeg(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of ANSI/SCTE 35 §14.1: a time_signal with a segmentation descriptor.
    const SECTION: &str = "/DA0AAAAAAAA///wBQb+cr0AUAAeAhxDVUVJSAAAjn/PAAGlmbAICAAAAAAsoKGKNAIAmsnRfg==";

    fn number(number: f64) -> Value {
        Value::Number(number)
    }

    /// Time, duration and section of a marker.
    fn flat(marker: Option<Marker>) -> Option<(i64, Option<i64>, Vec<u8>)> {
        let Marker { time, duration, message: Message::Scte35(section) } = marker? else { panic!("not of SCTE 35") };
        Some((time?.0.0, duration.map(|(ticks, _)| ticks.0), section.to_vec()))
    }

    #[test]
    fn sections_in_base64_are_taken_under_any_name() {
        let section = BASE64_STANDARD.decode(SECTION).unwrap();
        assert_eq!(crc32_mpeg(&section), 0, "of a section with its check sum");
        let text = Value::string;
        for (name, cue, time, duration) in [
            (
                "onAdCue",
                Value::object([
                    ("type", text("scte35")),
                    ("cue", text(SECTION)),
                    ("id", text("1207959695")),
                    ("duration", number(30.5)),
                    ("time", number(12.25)),
                ]),
                12_250,
                Some(30_500),
            ),
            (
                "onCuePoint",
                Value::object([
                    ("name", text("scte35")),
                    ("type", text("event")),
                    ("parameters", Value::object([("message", text(SECTION)), ("duration", number(0.0))])),
                ]),
                5000,
                None,
            ),
            ("onTextData", Value::object([("data", Value::String(section.clone()))]), 5000, None),
        ] {
            assert_eq!(flat(read(name, &cue, Ticks(5000))), Some((time, duration, section.clone())), "{name}");
        }
    }

    #[test]
    fn fields_become_a_splice_insert() {
        let text = Value::string;
        let elemental = Value::object([
            ("type", text("scte35")),
            (
                "parameters",
                Value::object([
                    ("messageType", text("splice_insert")),
                    ("splice_command_type", number(5.0)),
                    ("splice_event_id", number(4242.0)),
                    ("splice_event_cancel_indicator", Value::Boolean(false)),
                    ("out_of_network_indicator", Value::Boolean(true)),
                    ("splice_immediate", Value::Boolean(false)),
                    ("pre_roll_time", number(4000.0)),
                    ("break_duration", number(60_000.0)),
                    ("unique_program_id", number(7.0)),
                    ("avail_num", number(1.0)),
                    ("avail_expected", number(2.0)),
                ]),
            ),
        ]);
        let simple = Value::object([
            ("cue", text("SpliceOut")),
            ("id", text("event-a")),
            ("duration", number(15.0)),
            ("time", number(100.0)),
        ]);
        let youtube = Value::object([
            ("type", text("com.youtube.cuepoint")),
            ("pre_roll_time_sec", number(2.5)),
            ("cue_point_start", Value::Boolean(true)),
            ("break_duration_sec", number(30.0)),
            ("splice_event_id", number(3.0)),
        ]);
        for (name, cue, time, duration, id, tail) in [
            ("onCuePoint", &elemental, 9000, Some(60_000), 4242, &[0, 7, 1, 2][..]),
            ("onAdCue", &simple, 100_000, Some(15_000), crc32_mpeg(b"event-a"), &[0, 0, 0, 0]),
            ("onCuePoint", &youtube, 7500, Some(30_000), 3, &[0, 0, 0, 0]),
        ] {
            let (at, length, section) = flat(read(name, cue, Ticks(5000))).unwrap();
            assert_eq!((at, length), (time, duration), "{name}");
            assert!(is_section(&section) && crc32_mpeg(&section) == 0, "{section:02x?}");
            assert_eq!(section[13], 5, "splice_insert");
            assert_eq!(section[14..18], u32::to_be_bytes(id));
            assert_eq!(section[18..20], [0x7F, 0xFF], "out, whole programme, with a duration, immediate");
            let ticks = (duration.unwrap() * 90) as u32;
            assert_eq!(section[20..25], [&[0xFE][..], &ticks.to_be_bytes()].concat());
            assert_eq!(section[25..29], *tail);
        }
        let cancel = Value::object([
            ("type", text("scte35")),
            ("splice_event_id", number(1.0)),
            ("splice_event_cancel_indicator", number(1.0)),
        ]);
        let (_, duration, section) = flat(read("onCuePoint", &cancel, Ticks(0))).unwrap();
        assert_eq!((duration, &section[14..19]), (None, &[0, 0, 0, 1, 0xFF][..]));
        assert!(is_section(&section) && crc32_mpeg(&section) == 0);
    }

    #[test]
    fn other_cues_are_nothing() {
        for (name, cue) in [
            ("onCuePoint", Value::object([("name", Value::string("chapter")), ("type", Value::string("navigation"))])),
            ("onTextData", Value::object([("text", Value::string("/hello"))])),
            ("onCuePoint", Value::object([("cue", Value::string("SpliceOut"))])),
            ("onAdCue", Value::Null),
        ] {
            assert_eq!(read(name, &cue, Ticks(0)), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn numbers_of_any_size_are_taken(numbers in proptest::collection::vec(any::<f64>(), 7), now: i64) {
            let names = ["pre_roll_time", "break_duration", "splice_event_id", "avail_num", "unique_program_id", "time", "duration"];
            let mut properties = vec![("type".to_owned(), Value::string("scte35"))];
            properties.extend(names.iter().zip(numbers).map(|(name, number)| ((*name).to_owned(), Value::Number(number))));
            let (_, _, section) = flat(read("onCuePoint", &Value::Object(properties), Ticks(now))).unwrap();
            prop_assert!(is_section(&section) && crc32_mpeg(&section) == 0);
        }
    }
}
