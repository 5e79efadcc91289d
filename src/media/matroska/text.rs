//! Subtitles in blocks (Matroska codec specifications, subtitles): SubRip and WebVTT without their times.

use crate::media::feed::TrackKey;
use crate::media::subtitles::subrip_text;
use crate::media::track::Role;

/// A subtitle, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextCue {
    pub start: i64,
    pub end: i64,
    pub settings: String,
    /// WebVTT.
    pub text: String,
}

/// The subtitles of one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextTrack {
    pub key: TrackKey,
    pub language: String,
    pub name: Option<String>,
    pub role: Role,
    pub cues: Vec<TextCue>,
}

/// Without a duration, a subtitle stays for as long as people take to read one.
const CUE_NANOS: i64 = 5_000_000_000;

/// Of a block's only frame, and what is added to it. `None` if it says nothing.
pub fn cue(codec: &str, frame: &[u8], addition: &[u8], start: i64, duration: Option<i64>) -> Option<TextCue> {
    let text = String::from_utf8_lossy(frame).replace("\r\n", "\n").replace('\r', "\n");
    let addition = String::from_utf8_lossy(addition);
    let (settings, text) = match codec {
        "S_TEXT/UTF8" => subrip_text(&text),
        // Settings, identifier and comments, a line each, stand beside the text.
        "S_TEXT/WEBVTT" => (addition.lines().next().unwrap_or_default().to_owned(), text),
        // In WebM identifier and settings stand before it, a line each.
        _ => {
            let mut parts = text.splitn(3, '\n').skip(1);
            (parts.next().unwrap_or_default().to_owned(), parts.next().unwrap_or_default().to_owned())
        }
    };
    // An empty line would end the cue, and an arrow begin another.
    let text = text.replace("-->", "→");
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let end = start.checked_add(duration.filter(|&duration| duration > 0).unwrap_or(CUE_NANOS))?;
    let settings = settings.trim().replace("-->", "");
    (!lines.is_empty()).then(|| TextCue { start, end, settings, text: lines.join("\n") })
}
