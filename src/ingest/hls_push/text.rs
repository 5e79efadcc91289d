//! Renditions of WebVTT (RFC 8216 §3.1.4): segments of cues, which become samples of a track (ISO/IEC 14496-30 §6).

use crate::base::limits::{CUES_AT_ONCE_MAX, SEGMENT_CUES_MAX, SEGMENT_TEXT_BYTES_MAX, SUBTITLE_BYTES_MAX};
use crate::base::{Ticks, Timescale};
use crate::media::Kind;
use crate::media::feed::{Event, Format, Sample};
use crate::media::isobmff::write::boxed;
use crate::media::track::Role;
use crate::media::webvtt::{self, Said};

use super::playlist::Labels;

/// What is known of one rendition.
#[derive(Debug, Default)]
pub struct Text {
    labels: Labels,
    /// The configuration and labels that were announced.
    announced: Option<(String, Labels)>,
    /// Where the newest sample ends, on the clock of the other renditions, in milliseconds.
    end: i64,
    is_ended: bool,
}

/// Bytes of one segment.
pub const SEGMENT_BYTES_MAX: usize = 1 << 20;
const _: () = assert!(SEGMENT_BYTES_MAX as u64 <= SUBTITLE_BYTES_MAX);

/// How long cues are shown after the last one of their segment begins, in milliseconds: what goes on longer is in later segments too
/// (RFC 8216 §3.5), and none of those waits for an end that is far away.
const LASTS_MAX: i64 = 20_000;

/// Of X-TIMESTAMP-MAP, in milliseconds: when the clock of 90 kHz and 33 bits starts over.
const WRAP: i64 = (1 << 33) / 90;

/// Whether these bytes begin a segment of it: the signature, behind a byte order mark perhaps.
pub fn is_begun_by(bytes: &[u8]) -> bool {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).starts_with(b"WEBVT")
}

impl Text {
    /// Reads a whole segment. `now` is the newest time of the other renditions, in milliseconds of their clock.
    pub fn read(&mut self, path: &str, body: &[u8], now: Option<i64>) -> Result<Vec<Event>, webvtt::Error> {
        let file = webvtt::normalise(path, body)?;
        let mut cues: Vec<(i64, i64, Said<'_>)> = file
            .cues
            .iter()
            .take(SEGMENT_CUES_MAX)
            .filter_map(|cue| {
                let block = file.text.get(cue.offset.get() as usize..)?.get(..cue.size.get() as usize)?;
                let clamp = |millis: u64| i64::try_from(millis).ok().filter(|millis| *millis < 1 << 50);
                Some((clamp(cue.start.get())?, clamp(cue.end.get())?, webvtt::said(block)?))
            })
            .collect();
        cues.sort_by_key(|(start, ..)| *start);
        let header = file.cues.first().map_or(file.text.len(), |cue| cue.offset.get() as usize);
        let header = String::from_utf8_lossy(&file.text[..header]).trim_end_matches('\n').to_owned();
        let mut events: Vec<Event> = self.announce(header).into_iter().collect();
        self.is_ended = false;
        let first = cues.first().map_or(0, |(start, ..)| *start);
        let shift = shift(body, first, now);
        if first + shift + 2 * LASTS_MAX < self.end {
            // The packager has begun anew.
            self.end = first + shift;
        }
        let until = cues.iter().map(|(start, ..)| *start).max().unwrap_or(0).saturating_add(LASTS_MAX);
        let mut borders: Vec<i64> = cues.iter().flat_map(|(start, end, _)| [*start, (*end).min(until)]).collect();
        borders.sort_unstable();
        borders.dedup();
        let (mut next, mut bytes, mut active): (usize, usize, Vec<&(i64, i64, Said<'_>)>) = (0, 0, Vec::new());
        for (&from, &to) in borders.iter().zip(borders.iter().skip(1)) {
            active.retain(|(_, end, _)| *end > from);
            while let Some(cue) = cues.get(next).filter(|(start, ..)| *start <= from) {
                if active.len() < CUES_AT_ONCE_MAX && cue.1 > from {
                    active.push(cue);
                }
                next += 1;
            }
            let mut data = Vec::new();
            for (.., said) in &active {
                if bytes + data.len() + said.text.len() < SEGMENT_TEXT_BYTES_MAX {
                    push_cue(&mut data, said);
                }
            }
            // What an earlier segment said already is repeated where it goes on.
            let start = (from + shift).max(self.end);
            if !data.is_empty() && to + shift > start {
                bytes += data.len();
                events.push(sample(start, to + shift - start, data));
                self.end = to + shift;
            }
        }
        if let (true, Some(now)) = (cues.is_empty() && self.end == 0, now) {
            // Viewers are told of the rendition before anybody speaks.
            let mut nothing = Vec::new();
            boxed(&mut nothing, b"vtte", |_| {});
            events.push(sample(now, 1, nothing));
            self.end = now + 1;
        }
        Ok(events)
    }

    /// What a multivariant playlist says of it.
    pub fn label(&mut self, labels: Option<&Labels>) -> Option<Event> {
        self.labels = labels.cloned().unwrap_or_default();
        let header = self.announced.as_ref().map(|(header, _)| header.clone())?;
        self.announce(header)
    }

    /// Its playlist has said that nothing follows.
    pub fn finish(&mut self) -> Option<Event> {
        (!std::mem::replace(&mut self.is_ended, true)).then_some(Event::End)
    }

    fn announce(&mut self, header: String) -> Option<Event> {
        let said = Some((header, self.labels.clone()));
        if self.announced == said {
            return None;
        }
        self.announced = said;
        let (header, labels) = self.announced.as_ref()?;
        let mut entry = Vec::with_capacity(32 + header.len());
        boxed(&mut entry, b"wvtt", |out| {
            out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]); // data reference
            boxed(out, b"vttC", |out| out.extend_from_slice(header.as_bytes()));
        });
        let format = Format {
            kind: Kind::Text,
            timescale: Timescale::MILLIS,
            sample_entry: entry.into(),
            language: labels.language.clone().unwrap_or_else(|| "und".to_owned()),
            name: labels.name.clone(),
            role: labels.role.unwrap_or(Role::Main),
            bit_rate: None,
        };
        Some(Event::Track { track: 0, format })
    }
}

/// What makes cue times those of the other renditions, in milliseconds. Without X-TIMESTAMP-MAP both begin at 0 (§3.5).
fn shift(body: &[u8], first: i64, now: Option<i64>) -> i64 {
    let text = String::from_utf8_lossy(&body[..body.len().min(HEADER_BYTES)]);
    let map = text.lines().take_while(|line| !line.trim().is_empty());
    let map = map.filter_map(|line| line.strip_prefix("X-TIMESTAMP-MAP=")).next();
    let field = |name: &str| map?.split(',').find_map(|field| field.trim().strip_prefix(name)).map(str::trim);
    let local = field("LOCAL:").and_then(webvtt::timestamp).and_then(|millis| i64::try_from(millis).ok()).unwrap_or(0);
    let transport = field("MPEGTS:").and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or(0);
    let shift = (transport % (1 << 33) / 90) as i64 - local;
    // The others' clocks go on where 33 bits end.
    now.map_or(shift, |now| shift + (now - first - shift + WRAP / 2).div_euclid(WRAP) * WRAP)
}

/// Where X-TIMESTAMP-MAP is looked for.
const HEADER_BYTES: usize = 512;

fn sample(time: i64, duration: i64, data: Vec<u8>) -> Event {
    let sample = Sample {
        decode_time: Ticks(time),
        composition_offset: 0,
        duration: u32::try_from(duration).ok(),
        is_sync: true,
        data: data.into(),
    };
    Event::Sample { track: 0, sample }
}

fn push_cue(out: &mut Vec<u8>, said: &Said<'_>) {
    boxed(out, b"vttc", |out| {
        if let Some(identifier) = said.identifier {
            boxed(out, b"iden", |out| out.extend_from_slice(identifier.as_bytes()));
        }
        if !said.settings.is_empty() {
            boxed(out, b"sttg", |out| out.extend_from_slice(said.settings.as_bytes()));
        }
        boxed(out, b"payl", |out| out.extend_from_slice(said.text.as_bytes()));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds, length, and words of each sample.
    fn samples(events: &[Event]) -> Vec<(i64, u32, String)> {
        let sample = |event: &Event| match event {
            Event::Sample { sample, .. } => {
                let words = String::from_utf8_lossy(&sample.data).replace(|it: char| it.is_control(), "");
                Some((
                    sample.decode_time.0,
                    sample.duration.unwrap_or(0),
                    words.replace("vttc", "").replace("payl", ""),
                ))
            }
            _ => None,
        };
        events.iter().filter_map(sample).collect()
    }

    #[test]
    fn times_are_those_of_the_other_renditions() {
        let cue = "00:00:01.000 --> 00:00:02.500\nHello\n";
        for (header, now, want) in [
            ("", None, 1_000),
            ("", Some(900), 1_000),
            ("X-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\n", None, 11_000),
            ("X-TIMESTAMP-MAP=LOCAL:00:00:01.000,MPEGTS:900000\n", Some(10_000), 10_000),
            ("X-TIMESTAMP-MAP=LOCAL:00:00:00.000, MPEGTS:900000\n", Some(3 * WRAP), 3 * WRAP + 11_000),
            ("X-TIMESTAMP-MAP=MPEGTS:8589934000,LOCAL:0:00:00.000\n", Some(WRAP + 500), WRAP - 7 + 1_000),
            ("X-TIMESTAMP-MAP=nonsense\n", None, 1_000),
        ] {
            let mut text = Text::default();
            let events = text.read("a.vtt", format!("WEBVTT\n{header}\n{cue}").as_bytes(), now).unwrap();
            let got = samples(&events);
            assert_eq!((got.len(), got[0].1, got[0].2.as_str()), (1, 1_500, "Hello"), "{header}");
            assert!((got[0].0 - want).abs() <= 1, "{header} {now:?}: {} {want}", got[0].0);
        }
    }

    #[test]
    fn no_cue_keeps_later_ones_from_being_shown() {
        let mut text = Text::default();
        let far = "WEBVTT\n\n00:01.000 --> 99:59:59.000\nA\n";
        assert_eq!(
            samples(&text.read("s0.vtt", far.as_bytes(), Some(1_000)).unwrap()),
            [(1_000, 20_000, "A".to_owned())]
        );
        let next = "WEBVTT\n\n00:22.000 --> 00:23.000\nB\n";
        assert_eq!(
            samples(&text.read("s1.vtt", next.as_bytes(), Some(22_000)).unwrap()),
            [(22_000, 1_000, "B".to_owned())]
        );
        let late = "WEBVTT\n\n20:00.000 --> 20:01.000\nC\n";
        assert_eq!(samples(&text.read("s2.vtt", late.as_bytes(), Some(1_200_000)).unwrap()).len(), 1);
        // Anew, from 0.
        let anew = "WEBVTT\n\n00:02.000 --> 00:03.000\nD\n";
        assert_eq!(
            samples(&text.read("s0.vtt", anew.as_bytes(), Some(2_000)).unwrap()),
            [(2_000, 1_000, "D".to_owned())]
        );
    }

    /// Long cues beside many short ones: what is made of a segment stays small.
    #[test]
    fn a_segment_is_bounded() {
        let words = "w".repeat(8_000);
        let mut body = String::from("WEBVTT\n\n");
        (0..64).for_each(|_| body.push_str(&format!("00:00.000 --> 00:59.000\n{words}\n\n")));
        (0..12_000)
            .for_each(|at| body.push_str(&format!("00:{:02}.{:03} --> 00:59.999\ns\n\n", at / 1_000, at % 1_000)));
        let events = Text::default().read("s0.vtt", body.as_bytes(), None).unwrap();
        let bytes =
            events.iter().map(|event| if let Event::Sample { sample, .. } = event { sample.data.len() } else { 0 });
        assert!(bytes.sum::<usize>() < SEGMENT_TEXT_BYTES_MAX + 1_000_000);
    }

    #[test]
    fn cues_become_samples_without_overlap() {
        let mut text = Text::default();
        let first = "WEBVTT\n\n1\n00:01.000 --> 00:03.000 line:0\nA\n\n00:02.000 --> 00:05.000\nB\n";
        let events = text.read("s0.vtt", first.as_bytes(), Some(2_000)).unwrap();
        assert!(
            matches!(&events[0], Event::Track { track: 0, format } if format.kind == Kind::Text && format.language == "und")
        );
        let got = samples(&events);
        let times: Vec<_> = got.iter().map(|(time, duration, _)| (*time, *duration)).collect();
        assert_eq!(times, [(1_000, 1_000), (2_000, 1_000), (3_000, 2_000)]);
        assert!(got[1].2.contains('A') && got[1].2.contains('B') && got[2].2 == "B", "{got:?}");
        // The next segment repeats what is still shown, and announces nothing again.
        let second = "WEBVTT\n\n00:02.000 --> 00:05.000\nB\n\n00:05.500 --> 00:06.000\nC\n";
        let events = text.read("s1.vtt", second.as_bytes(), Some(6_000)).unwrap();
        assert_eq!(samples(&events), [(5_500, 500, "C".to_owned())]);
        let german = Labels { language: Some("de".to_owned()), ..Labels::default() };
        assert!(matches!(text.label(Some(&german)), Some(Event::Track { format, .. }) if format.language == "de"));
        assert_eq!(text.label(Some(&german)), None);
        assert_eq!((text.finish(), text.finish()), (Some(Event::End), None));
    }

    #[test]
    fn a_rendition_is_there_before_anybody_speaks() {
        let mut text = Text::default();
        let events = text.read("s0.vtt", b"WEBVTT\n\n", Some(7_000)).unwrap();
        assert_eq!(samples(&events).iter().map(|(time, ..)| *time).collect::<Vec<_>>(), [7_000]);
        assert!(samples(&text.read("s1.vtt", b"WEBVTT\n\n", Some(9_000)).unwrap()).is_empty());
        assert!(text.read("s2.vtt", b"WEBVTTX", None).is_err());
    }
}
