//! Encoders that film one scene: what a frame holds follows from when it was taken, whoever sends it.

use std::time::Duration;

use bytes::Bytes;
use headwater::base::{Ticks, Timescale};
use headwater::live::{SessionId, SourceName};
use headwater::media::Kind;
use headwater::media::codec::make;
use headwater::media::feed::{Event, Format, Sample};
use headwater::media::track::Role;

/// AVCDecoderConfigurationRecord: constrained baseline, 320×180.
const SMALL: [u8; 38] = [
    0x01, 0x42, 0xc0, 0x0c, 0xff, 0xe1, 0x00, 0x17, 0x67, 0x42, 0xc0, 0x0c, 0xda, 0x05, 0x06, 0x7e, 0x7c, 0x04, 0x40,
    0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0c, 0x83, 0xc5, 0x0a, 0xa8, 0x01, 0x00, 0x04, 0x68, 0xce, 0x0f, 0xc8,
];
/// High profile, 1920×1080.
const LARGE: [u8; 51] = [
    0x01, 0x64, 0x00, 0x28, 0xff, 0xe1, 0x00, 0x1e, 0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5,
    0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x03, 0x00, 0x20, 0x00, 0x00, 0x06, 0x41, 0xe3, 0x06, 0x32, 0xc0,
    0x01, 0x00, 0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8, 0xf8, 0x00,
];
/// AudioSpecificConfig: AAC-LC, mono, of 8 and 48 kHz.
const SPEECH: [u8; 2] = [0x15, 0x88];
const MUSIC: [u8; 2] = [0x11, 0x88];

/// Sample entry of WebVTT in ISO base media files (ISO/IEC 14496-30 §6.4).
pub const WEBVTT: &[u8] = b"\0\0\0\x1ewvtt\0\0\0\0\0\0\0\x01\0\0\0\x0evttCWEBVTT";
/// A sample that shows nothing (§6.6).
pub const SAYS_NOTHING: &[u8] = b"\0\0\0\x08vtte";

/// What a channel's encoders send.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// Milliseconds.
    pub frame: u64,
    /// Between key frames.
    pub group: u64,
    pub is_music: bool,
    pub has_video: bool,
    pub has_audio: bool,
    /// What is said, as WebVTT.
    pub has_text: bool,
    /// Times are the clock's, exactly, and durations are stated; else they are whole milliseconds, as RTMP has them.
    pub is_exact: bool,
}

#[derive(Clone, Debug)]
pub struct Encoder {
    pub session: SessionId,
    pub source: SourceName,
    pub scene: Scene,
    /// Added to the time of day for its timestamps, in milliseconds.
    pub offset: i64,
    /// Frames of clocks that do not belong together are not compared.
    pub clock: u64,
    pub is_large: bool,
    pub feeds: Vec<Feed>,
}

#[derive(Clone, Copy, Debug)]
pub struct Feed {
    pub kind: Kind,
    /// Frames since 1970.
    pub next: u64,
    pub is_muted: bool,
}

impl Encoder {
    pub fn new(
        session: SessionId,
        source: SourceName,
        scene: Scene,
        offset: i64,
        clock: u64,
        now: Duration,
    ) -> Encoder {
        let kinds = [(scene.has_video, Kind::Video), (scene.has_audio, Kind::Audio), (scene.has_text, Kind::Text)];
        let mut encoder = Encoder { session, source, scene, offset, clock, is_large: false, feeds: Vec::new() };
        encoder.feeds = kinds
            .into_iter()
            .filter(|(has, _)| *has)
            .map(|(_, kind)| Feed { kind, next: encoder.frames(kind, now), is_muted: false })
            .collect();
        encoder
    }

    /// Of all tracks, as a publisher says them first.
    pub fn formats(&self) -> Vec<Event> {
        (0..).zip(&self.feeds).map(|(track, feed)| Event::Track { track, format: self.format(feed.kind) }).collect()
    }

    fn format(&self, kind: Kind) -> Format {
        let entry = match (kind, self.is_large, self.scene.is_music) {
            (Kind::Text, ..) => WEBVTT.to_vec(),
            (Kind::Video, false, _) => make::avc_entry(&SMALL, 320, 180),
            (Kind::Video, true, _) => make::avc_entry(&LARGE, 1920, 1080),
            (_, _, false) => make::aac_entry(&SPEECH, 1),
            (_, _, true) => make::aac_entry(&MUSIC, 1),
        };
        Format {
            kind,
            timescale: self.timescale(kind),
            sample_entry: entry.into(),
            language: "und".to_owned(),
            name: None,
            role: Role::Main,
            bit_rate: None,
        }
    }

    fn timescale(&self, kind: Kind) -> Timescale {
        match (self.scene.is_exact, kind) {
            (false, _) | (_, Kind::Text) => Timescale::MILLIS,
            (true, Kind::Video) => Timescale::MPEG,
            (true, _) => Timescale::new(self.audio_rate() as u32).unwrap(),
        }
    }

    fn audio_rate(&self) -> u64 {
        if self.scene.is_music { 48_000 } else { 8_000 }
    }

    /// How many frames were taken before then.
    fn frames(&self, kind: Kind, now: Duration) -> u64 {
        match kind {
            Kind::Video => (now.as_millis() as u64).div_ceil(self.scene.frame),
            Kind::Text => (now.as_millis() as u64).div_ceil(CUE),
            _ => (now.as_millis() * u128::from(self.audio_rate())).div_ceil(1_024_000) as u64,
        }
    }

    /// What it takes up to then, in the order of time; nothing of it is kept when it is `away`.
    pub fn film(&mut self, now: Duration, is_away: bool) -> Vec<Event> {
        let mut samples = Vec::new();
        for at in 0..self.feeds.len() {
            let Feed { kind, next, is_muted } = self.feeds[at];
            let end = self.frames(kind, now);
            self.feeds[at].next = end.max(next);
            if !is_away && !is_muted {
                let said = (next..end).filter(|frame| kind != Kind::Text || cue_lasts(*frame).is_some());
                samples.extend(said.map(|frame| self.sample(at as u32, kind, frame)));
            }
        }
        samples.sort_by_key(|(millis, _)| *millis);
        samples.into_iter().map(|(_, event)| event).collect()
    }

    /// A frame of video that nobody took, at another time.
    pub fn stray(&self, millis: i64) -> Option<Event> {
        let at = self.feeds.iter().position(|feed| feed.kind == Kind::Video)?;
        let (_, event) = self.sample(at as u32, Kind::Video, self.feeds[at].next);
        let Event::Sample { track, mut sample } = event else { return None };
        sample.decode_time.0 +=
            self.timescale(Kind::Video).ticks_floor(Duration::from_millis(millis.unsigned_abs())).0 * millis.signum();
        sample.is_sync = false;
        sample.data = picture(false, STRAY << CLOCK_SHIFT | self.feeds[at].next);
        Some(Event::Sample { track, sample })
    }

    fn sample(&self, track: u32, kind: Kind, frame: u64) -> (u64, Event) {
        let serial = self.clock << CLOCK_SHIFT | frame;
        let (millis, ticks, length, is_sync, data) = match kind {
            Kind::Video => {
                let millis = frame * self.scene.frame;
                let is_key = frame.is_multiple_of(self.scene.group);
                (millis, millis as i64 * 90, self.scene.frame as u32 * 90, is_key, picture(is_key, serial))
            }
            Kind::Text => {
                let millis = frame * CUE;
                (millis, millis as i64, cue_lasts(frame).unwrap_or(1), true, cue(serial))
            }
            Kind::Audio => {
                let ticks = frame * 1_024;
                let millis = ticks * 1_000 / self.audio_rate();
                (millis, ticks as i64, 1_024, true, sound(serial))
            }
        };
        let rate = i64::from(self.timescale(kind).per_second());
        let decode_time = match self.scene.is_exact && kind != Kind::Text {
            true => Ticks(ticks + self.offset * rate / 1_000),
            false => Ticks(millis as i64 + self.offset),
        };
        let duration = (self.scene.is_exact || kind == Kind::Text).then_some(length);
        (
            millis,
            Event::Sample { track, sample: Sample { decode_time, composition_offset: 0, duration, is_sync, data } },
        )
    }
}

const CLOCK_SHIFT: u32 = 48;
/// The clock of frames that belong to no other.
const STRAY: u64 = 0xffff;

/// A slice of one NAL unit.
fn picture(is_key: bool, serial: u64) -> Bytes {
    let unit = if is_key { 0x65 } else { 0x41 };
    let mut data = vec![0, 0, 0, 17, unit];
    data.extend(format!("{serial:016x}").bytes());
    data.into()
}

fn sound(serial: u64) -> Bytes {
    let mut data = vec![0x21];
    data.extend(format!("{serial:016x}").bytes());
    data.into()
}

/// From one moment at which something may be said to the next, in milliseconds.
const CUE: u64 = 1_000;

/// How long what is said then is shown, in milliseconds; now and then nothing is said for a while.
fn cue_lasts(number: u64) -> Option<u32> {
    let is_speech = (number / 25).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 62 != 0;
    let lasts = [2_500, 0, 0, 700, 1_000, 1_000, 0, 300, 0, 1_000][(number % 10) as usize];
    (is_speech && lasts > 0).then_some(lasts)
}

fn cue(serial: u64) -> Bytes {
    let mut data = b"\0\0\0\x20vttc\0\0\0\x18payl".to_vec();
    data.extend(format!("{serial:016x}").bytes());
    data.into()
}

/// Which frame it is.
pub fn serial(kind: Kind, data: &[u8]) -> Option<u64> {
    let digits = match (kind, data) {
        (Kind::Video, [0, 0, 0, 17, 0x65 | 0x41, digits @ ..]) => digits,
        (Kind::Audio, [0x21, digits @ ..]) => digits,
        (Kind::Text, data) => data.strip_prefix(b"\0\0\0\x20vttc\0\0\0\x18payl")?,
        _ => return None,
    };
    let text = std::str::from_utf8(digits).ok().filter(|text| text.len() == 16)?;
    u64::from_str_radix(text, 16).ok()
}

/// Whether the clocks of two frames are the same.
pub fn is_one_clock(a: u64, b: u64) -> bool {
    a >> CLOCK_SHIFT == b >> CLOCK_SHIFT
}
