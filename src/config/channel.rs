//! `[[channel]]`: a live channel, in the file or as JSON from the admin API. The same keys, read by the same code.

use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::section::{Notes, Section};
use super::{days, millis, minutes, value};
use crate::base::limits;
use crate::intake::{ChannelSetup, is_channel_name, is_publish_key};
use crate::media::captions;

/// Every channel of the file that has no mistake.
pub fn channels(root: &mut Section<'_, '_>) -> Vec<ChannelSetup> {
    let mut channels: Vec<ChannelSetup> = Vec::new();
    root.sections("channel", |mut section| {
        let Some(channel) = channel(&mut section) else { return section.finish() };
        if channels.iter().any(|other| other.name == channel.name) {
            section.problem("name", format!("there is another channel {:?}", channel.name));
        } else if channels.len() == limits::CHANNELS_MAX {
            section.problem("name", format!("one channel too many, expected at most {}", limits::CHANNELS_MAX));
        } else {
            channels.push(channel);
        }
        section.finish();
    });
    channels
}

/// As [`super::channel`].
pub fn from_json(keys: &serde_json::Map<String, serde_json::Value>) -> Result<ChannelSetup, Vec<String>> {
    // Null and what TOML cannot hold otherwise is a mistake of whoever asks.
    let text = toml::to_string(keys).map_err(|error| vec![error.to_string()])?;
    let table = DeTable::parse(&text).map_err(|error| vec![error.message().to_owned()])?;
    let notes = Notes::new("");
    let mut section = Section::root(&notes, table.get_ref());
    let channel = channel(&mut section);
    section.finish();
    let problems = notes.problems.into_inner();
    match channel {
        Some(channel) if problems.is_empty() => Ok(channel),
        _ => Err(problems.iter().map(|problem| format!("{}: {}", problem.key, problem.what)).collect()),
    }
}

const NAME: &str = "1 to 64 of A-Z a-z 0-9 _ -, the first a letter or a digit";
const KEY: &str = "1 to 128 of A-Z a-z 0-9 _ -";
const CAPTIONS: &str = "\"\" or channels of captions and their languages, such as \"CC1=en SERVICE1=en\"";
const ANCHOR: &str = "\"\" or seconds since 1970, such as \"1767225600\" or \"1767225600.5\"";

/// `None` where a key that has to be there is missing or wrong.
fn channel(section: &mut Section<'_, '_>) -> Option<ChannelSetup> {
    let name = section.text("name", NAME, |text| is_channel_name(text).then(|| text.to_owned()));
    let publish_key = section.text("publish_key", KEY, |text| is_publish_key(text).then(|| text.to_owned()));
    for (key, expected) in [("name", NAME), ("publish_key", KEY)] {
        if section.is_present() && !section.has(key) {
            section.problem(key, format!("missing, expected {expected}"));
        }
    }
    let segment = section.duration("segment", limits::LIVE_SEGMENT_DEFAULT, millis(500)..=minutes(1));
    let part = section.duration("part", limits::LIVE_PART_DEFAULT.min(segment), Duration::ZERO..=segment);
    // A part of a few milliseconds is a request for each frame and viewer.
    if !part.is_zero() && part < millis(100) {
        section.problem("part", format!("found {}, expected \"0s\" or at least 100ms", value::Written(part)));
    }
    let window = section.duration("window", limits::LIVE_WINDOW_DEFAULT, Duration::from_secs(10)..=days(365));
    if window < segment * 4 && section.has("window") {
        section.problem("window", format!("found {}, expected at least four segments", value::Written(window)));
    }
    let switch = |section: &mut Section<'_, '_>, key, default| {
        section
            .value(key, "true or false", |value| match value {
                DeValue::Boolean(truth) => Some(*truth),
                _ => None,
            })
            .unwrap_or(default)
    };
    let (takeover, standby) = (switch(section, "takeover", false), switch(section, "standby", true));
    let end = switch(section, "end", false);
    let anchor = section.text("anchor", ANCHOR, anchor).flatten();
    let (cue_tags, enabled) = (switch(section, "cue_tags", false), switch(section, "enabled", true));
    let captions = section.text("captions", CAPTIONS, captions::read).unwrap_or_default();
    Some(ChannelSetup {
        name: name?,
        publish_key: publish_key?,
        enabled,
        segment,
        part: (!part.is_zero()).then_some(part),
        window: window.max(segment * 4),
        takeover,
        standby,
        end,
        anchor,
        cue_tags,
        captions,
    })
}

fn anchor(text: &str) -> Option<Option<Duration>> {
    if text.is_empty() {
        return Some(None);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    Some(Some(Duration::new(seconds.parse().ok()?, nanos)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> Result<ChannelSetup, Vec<String>> {
        from_json(serde_json::from_str::<serde_json::Value>(text).unwrap().as_object().unwrap())
    }

    #[test]
    fn json_has_the_keys_of_the_file() {
        let channel =
            from(r#"{"name": "news", "publish_key": "k", "part": "0s", "end": true, "anchor": "5.25"}"#).unwrap();
        assert_eq!(
            channel,
            ChannelSetup {
                name: "news".to_owned(),
                publish_key: "k".to_owned(),
                enabled: true,
                segment: Duration::from_secs(2),
                part: None,
                window: Duration::from_secs(600),
                takeover: false,
                standby: true,
                end: true,
                anchor: Some(Duration::from_millis(5_250)),
                cue_tags: false,
                captions: Vec::new(),
            }
        );
    }

    #[test]
    fn mistakes_name_key_found_and_allowed() {
        for (text, want) in [
            (r#"{"publish_key": "k"}"#, format!("name: missing, expected {NAME}")),
            (r#"{"name": "news"}"#, format!("publish_key: missing, expected {KEY}")),
            (r#"{"name": "../x", "publish_key": "k"}"#, format!("name: found \"../x\", expected {NAME}")),
            (
                r#"{"name": "a", "publish_key": "k", "segment": 2}"#,
                "segment: found 2, expected a duration from 500ms to 1m such as \"4s\"".to_owned(),
            ),
            (
                r#"{"name": "a", "publish_key": "k", "segment": "1s", "part": "2s"}"#,
                "part: found \"2s\", expected a duration from 0s to 1s such as \"4s\"".to_owned(),
            ),
            (
                r#"{"name": "a", "publish_key": "k", "part": "20ms"}"#,
                "part: found 20ms, expected \"0s\" or at least 100ms".to_owned(),
            ),
            (
                r#"{"name": "a", "publish_key": "k", "segment": "10s", "window": "30s"}"#,
                "window: found 30s, expected at least four segments".to_owned(),
            ),
            (
                r#"{"name": "a", "publish_key": "k", "takeover": "yes"}"#,
                "takeover: found \"yes\", expected true or false".to_owned(),
            ),
            (
                r#"{"name": "a", "publish_key": "k", "anchor": "-1"}"#,
                format!("anchor: found \"-1\", expected {ANCHOR}"),
            ),
            (
                r#"{"name": "a", "publish_key": "k", "windw": "1h"}"#,
                "windw: unknown key; did you mean \"window\"?".to_owned(),
            ),
        ] {
            assert_eq!(from(text), Err(vec![want]), "{text}");
        }
        assert!(from(r#"{"name": null, "publish_key": {"a": [1, {"b": null}]}}"#).is_err());
    }
}
