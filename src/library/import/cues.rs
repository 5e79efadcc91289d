//! Cues that inputs carry beside their media, in pieces or in blocks: until it is known when the presentation begins.

use super::Error;
use super::Zeros;
use super::input::Labels;
use super::rewrite::Clock;
use super::text::Text;
use crate::media::subtitles::{self, Format};
use crate::media::webvtt;

/// A track of them.
pub struct Found {
    /// For messages.
    pub name: String,
    pub labels: Labels,
    pub clock: Clock,
    /// In nanoseconds of it.
    pub cues: Vec<TimedCue>,
}

/// A cue as a container carries it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimedCue {
    pub start: i64,
    pub end: i64,
    /// What stands behind the times: `align:start line:0`.
    pub settings: String,
    /// Of WebVTT, without empty lines.
    pub text: String,
}

impl Found {
    pub fn finish(mut self, zeros: &Zeros) -> Result<Text, Error> {
        let zero = zeros.on(self.clock);
        if self.clock == Clock::Encoder {
            unwrap(&mut self.cues, zero);
        }
        let document = document(self.cues, zero);
        let subtitles = subtitles::read(&self.name, &document, Format::WebVtt)?;
        let Labels { language, name, role } = self.labels;
        Ok(Text::new(subtitles, language, name, role.unwrap_or_default()))
    }
}

/// X-TIMESTAMP-MAP tells 33 bits of the clock, and the media beside it all of it: the first cue is where that is nearest to the
/// beginning, each other one nearest to the one before.
fn unwrap(cues: &mut [TimedCue], zero: i64) {
    const TURN: i64 = (1 << 33) * 100_000 / 9;
    let mut near = zero;
    for cue in cues {
        let turns = near.saturating_sub(cue.start).saturating_add(TURN / 2).div_euclid(TURN);
        let by = turns.saturating_mul(TURN);
        (cue.start, cue.end) = (cue.start.saturating_add(by), cue.end.saturating_add(by));
        near = cue.start;
    }
}

/// A document of cues; what ends before the presentation begins is not in it.
fn document(mut cues: Vec<TimedCue>, zero: i64) -> Vec<u8> {
    cues.sort();
    // A cue that reaches into the next segment is in both.
    cues.dedup();
    let mut text = String::from(webvtt::SIGNATURE);
    for cue in cues.iter().filter(|cue| cue.end > zero && cue.end > cue.start) {
        let (start, end) = (stamp(cue.start.max(zero) - zero), stamp(cue.end - zero));
        let gap = if cue.settings.is_empty() { "" } else { " " };
        text.push_str(&format!("{start} --> {end}{gap}{}\n{}\n\n", cue.settings, cue.text));
    }
    text.into_bytes()
}

fn stamp(nanos: i64) -> String {
    let millis = (nanos + 500_000) / 1_000_000;
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Appends the cues of a segment of WebVTT, and says whether they are on the clock of the media beside it: by
/// X-TIMESTAMP-MAP (RFC 8216 §3.5).
pub fn read_cues(name: &str, bytes: &[u8], cues: &mut Vec<TimedCue>) -> Result<bool, Error> {
    let map = String::from_utf8_lossy(bytes.get(..HEAD_BYTES).unwrap_or(bytes)).lines().find_map(timestamp_map);
    let normal = webvtt::normalise(name, bytes).map_err(subtitles::Error::from)?;
    let text = String::from_utf8_lossy(&normal.text);
    let shift = map.unwrap_or(0);
    for block in text.split("\n\n") {
        let Some((before, behind)) = block.split_once(" --> ") else { continue };
        let (times, body) = behind.split_once('\n').unwrap_or((behind, ""));
        let (end, settings) = times.split_once(' ').unwrap_or((times, ""));
        let start = before.rsplit('\n').next().and_then(nanos);
        let (Some(start), Some(end)) = (start, nanos(end)) else { continue };
        cues.push(TimedCue {
            start: start.saturating_add(shift),
            end: end.saturating_add(shift),
            settings: settings.to_owned(),
            text: body.trim_end_matches('\n').to_owned(),
        });
    }
    Ok(map.is_some())
}

const HEAD_BYTES: usize = 1_024;

/// What is added to times of cues, in nanoseconds.
fn timestamp_map(line: &str) -> Option<i64> {
    let (mut media, mut local) = (None, None);
    for part in line.strip_prefix("X-TIMESTAMP-MAP=")?.split(',') {
        let (key, value) = part.trim().split_once(':')?;
        match key {
            "MPEGTS" => media = value.parse::<i64>().ok().filter(|ticks| (0..1 << 33).contains(ticks)),
            "LOCAL" => local = nanos(value),
            _ => {}
        }
    }
    // 90 kHz, of which a tick is 11111.1 ns.
    Some(media? * 100_000 / 9 - local?)
}

/// `hh:mm:ss.mmm`, hours may be missing.
fn nanos(text: &str) -> Option<i64> {
    let (seconds, millis) = text.trim().split_once('.')?;
    let millis = millis.parse::<i64>().ok().filter(|_| millis.len() == 3)?;
    let parts = seconds.split(':').map(|part| part.parse::<i64>().ok().filter(|part| (0..100_000).contains(part)));
    let parts = parts.take(4).collect::<Option<Vec<i64>>>().filter(|parts| parts.len() <= 3)?;
    let seconds = parts.iter().fold(0, |sum, part| sum * 60 + part);
    Some((seconds * 1_000 + millis) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_of_33_bits_follow_the_clock() {
        const TURN: i64 = (1 << 33) * 100_000 / 9;
        let cue = |start: i64| TimedCue { start, end: start + 1, settings: String::new(), text: "x".into() };
        for (zero, starts, want) in [
            (0, vec![5, 9], vec![5, 9]),
            // The media beside it went on where 33 bits began anew.
            (TURN - 10, vec![TURN - 5, 3], vec![TURN - 5, TURN + 3]),
            // It counts from 1970.
            (7 * TURN + 100, vec![105, 4], vec![7 * TURN + 105, 7 * TURN + 4]),
        ] {
            let mut cues: Vec<TimedCue> = starts.into_iter().map(cue).collect();
            unwrap(&mut cues, zero);
            assert_eq!(cues.iter().map(|cue| cue.start).collect::<Vec<_>>(), want, "{zero}");
        }
        assert_eq!((nanos("1:2:3:4.000"), nanos("01:02:03.004")), (None, Some(3_723_004_000_000)));
    }

    #[test]
    fn segments_are_joined_on_the_clock_of_their_media() {
        let mut cues = Vec::new();
        let segment = |map: &str, cue: &str| format!("WEBVTT\n{map}\n\n{cue}\n\n").into_bytes();
        let map = "X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000";
        let one = "id\n00:00:01.000 --> 00:00:05.000 line:0\nÖ & <b>b</b>\nzwei";
        assert!(read_cues("a", &segment(map, one), &mut cues).unwrap());
        assert!(read_cues("b", &segment(map, one), &mut cues).unwrap());
        assert!(!read_cues("c", &segment("", "01:00.000 --> 01:02.000\nx"), &mut cues).unwrap());
        assert_eq!((cues.len(), cues[0].start, cues[0].settings.as_str()), (3, 11_000_000_000, "line:0"));
        let zeros = Zeros { presentation: None, encoder: Some(10_000_000_000) };
        let found =
            Found { name: "a".into(), labels: Labels::default(), clock: Clock::Encoder, cues: cues[..2].to_vec() };
        let text = found.finish(&zeros).unwrap();
        let text = String::from_utf8(text.bytes).unwrap();
        assert!(text.contains("00:00:01.000 --> 00:00:05.000 line:0\nÖ & <b>b</b>\nzwei\n"), "{text}");
        assert_eq!(text.matches("-->").count(), 1, "{text}");
    }
}
