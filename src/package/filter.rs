//! Which tracks a manifest shows: `aws.manifestfilter`, as AWS Elemental MediaPackage has it.
//!
//! A filter is a list of criteria, `video_height:240-720;audio_language:de,en`. A criterion is about tracks of one kind, and
//! keeps those of them that fit one of its values; others stay.

use std::fmt;

use thiserror::Error;

use crate::media::isobmff::language;
use crate::media::track::{Kind, Track, VideoRange};

/// Equal filters are written alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// By property, each once.
    criteria: Vec<Criterion>,
}

/// Why a filter is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadFilter {
    #[error("{found:?} is not a name, a colon and values")]
    Form { found: String },
    #[error("{found:?} is not one of {}", names())]
    Name { found: String },
    #[error("{name} is given more than once")]
    Repeated { name: &'static str },
    #[error("{name} is a number or a range of numbers such as 1-2, not {found:?}")]
    Range { name: &'static str, found: String },
    #[error("{name} is one of {allowed}, not {found:?}")]
    Word { name: &'static str, found: String, allowed: String },
    #[error("{name} is a language tag (RFC 5646), not {found:?}")]
    Language { name: &'static str, found: String },
    #[error("{name} has {found} values, {VALUES_MAX} allowed")]
    Values { name: &'static str, found: usize },
}

const VALUES_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Criterion {
    property: Property,
    wanted: Wanted,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Wanted {
    /// From and to, inclusive; in order.
    Ranges(Vec<(u64, u64)>),
    /// In lower case; in order.
    Words(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Property {
    VideoHeight,
    VideoBitrate,
    VideoFramerate,
    VideoCodec,
    VideoDynamicRange,
    AudioBitrate,
    AudioSampleRate,
    AudioChannels,
    AudioCodec,
    AudioLanguage,
    SubtitleLanguage,
}

/// How values are written.
enum Values {
    Integers,
    /// In thousandths.
    Decimals,
    Words(&'static [&'static str]),
    Languages,
}

const PROPERTIES: [(Property, &str, Kind, Values); 11] = [
    (Property::VideoHeight, "video_height", Kind::Video, Values::Integers),
    (Property::VideoBitrate, "video_bitrate", Kind::Video, Values::Integers),
    (Property::VideoFramerate, "video_framerate", Kind::Video, Values::Decimals),
    (Property::VideoCodec, "video_codec", Kind::Video, Values::Words(&["h264", "h265", "av1", "vp9"])),
    (Property::VideoDynamicRange, "video_dynamic_range", Kind::Video, Values::Words(&["sdr", "hlg", "hdr10"])),
    (Property::AudioBitrate, "audio_bitrate", Kind::Audio, Values::Integers),
    (Property::AudioSampleRate, "audio_sample_rate", Kind::Audio, Values::Integers),
    (Property::AudioChannels, "audio_channels", Kind::Audio, Values::Integers),
    (
        Property::AudioCodec,
        "audio_codec",
        Kind::Audio,
        Values::Words(&["aacl", "aach", "ac-3", "ec-3", "opus", "flac", "mp3"]),
    ),
    (Property::AudioLanguage, "audio_language", Kind::Audio, Values::Languages),
    (Property::SubtitleLanguage, "subtitle_language", Kind::Text, Values::Languages),
];

fn names() -> String {
    PROPERTIES.iter().map(|row| row.1).collect::<Vec<_>>().join(", ")
}

impl Filter {
    /// `text` is the parameter's value, decoded. White space around names and values, and case, count for nothing.
    pub fn parse(text: &str) -> Result<Filter, BadFilter> {
        let mut criteria: Vec<Criterion> = Vec::new();
        for part in text.split(';') {
            let form = || BadFilter::Form { found: excerpt(part) };
            let (name, values) = part.split_once(':').ok_or_else(form)?;
            let name = name.trim();
            let known = PROPERTIES.iter().find(|row| row.1.eq_ignore_ascii_case(name));
            let (property, name, _, kind) = known.ok_or_else(|| BadFilter::Name { found: excerpt(name) })?;
            if criteria.iter().any(|other| other.property == *property) {
                return Err(BadFilter::Repeated { name });
            }
            let found = values.split(',').count();
            if found > VALUES_MAX {
                return Err(BadFilter::Values { name, found });
            }
            criteria.push(Criterion { property: *property, wanted: Wanted::parse(name, kind, values)? });
        }
        criteria.sort_by_key(|criterion| criterion.property);
        Ok(Filter { criteria })
    }

    pub fn is_empty(&self) -> bool {
        self.criteria.is_empty()
    }

    /// `bandwidth`: the peak rate of the track in bits a second, as its manifest states it.
    pub fn keeps(&self, track: &Track, bandwidth: u64) -> bool {
        self.criteria.iter().all(|criterion| criterion.keeps(track, bandwidth))
    }
}

/// In one order, so that what is the same is cached once.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Criterion { property, wanted }) in self.criteria.iter().enumerate() {
            let (_, name, _, values) = &PROPERTIES[*property as usize];
            write!(f, "{}{name}:", if at == 0 { "" } else { ";" })?;
            match wanted {
                Wanted::Words(words) => f.write_str(&words.join(","))?,
                Wanted::Ranges(ranges) => {
                    let number = |value: u64| match values {
                        Values::Decimals => format!("{}.{:03}", value / 1_000, value % 1_000),
                        _ => value.to_string(),
                    };
                    let ranges: Vec<_> =
                        ranges.iter().map(|&(from, to)| format!("{}-{}", number(from), number(to))).collect();
                    f.write_str(&ranges.join(","))?;
                }
            }
        }
        Ok(())
    }
}

impl Wanted {
    fn parse(name: &'static str, kind: &Values, values: &str) -> Result<Wanted, BadFilter> {
        let values = values.split(',').map(str::trim);
        match kind {
            Values::Integers | Values::Decimals => {
                let is_decimal = matches!(kind, Values::Decimals);
                let mut ranges = values
                    .map(|value| {
                        let (from, to) = value.split_once('-').unwrap_or((value, value));
                        let both = number(from.trim(), is_decimal).zip(number(to.trim(), is_decimal));
                        let wrong = || BadFilter::Range { name, found: excerpt(value) };
                        both.filter(|(from, to)| from <= to).ok_or_else(wrong)
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                ranges.sort_unstable();
                // Those that touch are one.
                ranges.dedup_by(|next, range| {
                    let touches = next.0 <= range.1.saturating_add(1);
                    range.1 = if touches { range.1.max(next.1) } else { range.1 };
                    touches
                });
                Ok(Wanted::Ranges(ranges))
            }
            Values::Words(allowed) => {
                let word = |value: &str| {
                    let value = value.to_ascii_lowercase();
                    let wrong = || BadFilter::Word { name, found: excerpt(&value), allowed: allowed.join(", ") };
                    if allowed.contains(&value.as_str()) { Ok(value) } else { Err(wrong()) }
                };
                words(values.map(word))
            }
            Values::Languages => words(values.map(|value| {
                let wrong = || BadFilter::Language { name, found: excerpt(value) };
                language::from_elng(value).map(|tag| tag.to_ascii_lowercase()).ok_or_else(wrong)
            })),
        }
    }
}

fn words(words: impl Iterator<Item = Result<String, BadFilter>>) -> Result<Wanted, BadFilter> {
    let mut words = words.collect::<Result<Vec<_>, _>>()?;
    words.sort_unstable();
    words.dedup();
    Ok(Wanted::Words(words))
}

/// Digits, at most 15, and up to three decimals if there may be any.
fn number(text: &str, is_decimal: bool) -> Option<u64> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    if !(1..=15).contains(&whole.len()) || !(1..=3).contains(&decimals.len()) || !digits(whole) || !digits(decimals) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    match is_decimal {
        true => Some(whole * 1_000 + format!("{decimals:0<3}").parse::<u64>().ok()?),
        false => (!text.contains('.')).then_some(whole),
    }
}

impl Criterion {
    fn keeps(&self, track: &Track, bandwidth: u64) -> bool {
        if track.kind() != PROPERTIES[self.property as usize].2 {
            return true;
        }
        match &self.wanted {
            Wanted::Ranges(ranges) => {
                let value = self.property.measure(track, bandwidth);
                ranges.iter().any(|&(from, to)| (from..=to).contains(&value))
            }
            Wanted::Words(words) => words.iter().any(|word| self.property.is(track, word)),
        }
    }
}

impl Property {
    fn measure(self, track: &Track, bandwidth: u64) -> u64 {
        let video = |of: fn(&crate::media::track::Video) -> u64| track.video().map_or(0, of);
        let audio = |of: fn(&crate::media::track::Audio) -> u64| track.audio().map_or(0, of);
        match self {
            Property::VideoHeight => video(|video| u64::from(video.height)),
            Property::VideoFramerate => video(|video| {
                let (frames, seconds) = (u64::from(video.frame_rate.0), u64::from(video.frame_rate.1.max(1)));
                (frames * 1_000 + seconds / 2) / seconds
            }),
            Property::AudioSampleRate => audio(|audio| u64::from(audio.sample_rate)),
            Property::AudioChannels => audio(|audio| u64::from(audio.channels)),
            _ => bandwidth,
        }
    }

    fn is(self, track: &Track, word: &str) -> bool {
        let codec = track.codec.to_ascii_lowercase();
        let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| codec.starts_with(prefix));
        match (self, word) {
            (Property::VideoCodec, "h264") => starts(&["avc1", "avc3"]),
            (Property::VideoCodec, "h265") => starts(&["hvc1", "hev1", "dvh1", "dvhe"]),
            (Property::VideoCodec, "av1") => starts(&["av01", "dav1"]),
            (Property::VideoCodec, "vp9") => starts(&["vp09"]),
            (Property::VideoDynamicRange, _) => {
                let range = match track.video().map(|video| video.range) {
                    Some(VideoRange::Hlg) => "hlg",
                    Some(VideoRange::Pq) => "hdr10",
                    _ => "sdr",
                };
                range == word
            }
            (Property::AudioCodec, "aacl") => codec == "mp4a.40.2",
            (Property::AudioCodec, "aach") => matches!(codec.as_str(), "mp4a.40.5" | "mp4a.40.29"),
            (Property::AudioCodec, "mp3") => matches!(codec.as_str(), "mp4a.40.34" | "mp4a.69" | "mp4a.6b" | "mp3"),
            (Property::AudioCodec, _) => codec == word,
            // RFC 4647 §3.3.1: `pt` is all there is of Portuguese.
            (Property::AudioLanguage | Property::SubtitleLanguage, _) => {
                let tag = track.language.to_ascii_lowercase();
                tag.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            }
            _ => false,
        }
    }
}

/// As much of a value as belongs into an answer.
fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::fixture::{Fixture, audio, row, video};
    use proptest::prelude::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (at, row) in PROPERTIES.iter().enumerate() {
            assert_eq!(row.0 as usize, at, "{}", row.1);
        }
    }

    #[test]
    fn filters_keep_what_fits() {
        let mut fixture = Fixture::default();
        for (id, codec, height) in
            [("v1", "hvc1.2.4.L120.90", 1080), ("v2", "avc1.64001f", 720), ("v3", "avc1.64001e", 360)]
        {
            fixture = fixture.with_track(video(id, codec, height * 16 / 9, height), vec![row(0, 0, 30_000, 1_000)]);
        }
        for (id, codec, language, channels) in
            [("a1", "mp4a.40.2", "en", 2), ("a2", "ec-3", "en-US", 6), ("a3", "mp4a.40.5", "de", 2)]
        {
            fixture = fixture.with_track(audio(id, codec, language, channels), vec![row(0, 0, 48_000, 100)]);
        }
        let fixture = fixture.with_text("t1", "en", &[(0, 1, "x")]).with_text("t2", "fr", &[(0, 1, "x")]);
        let presentation = fixture.presentation();
        for (filter, want) in [
            ("video_height:240-720", "v2 v3 a1 a2 a3 t1 t2"),
            ("video_height:1080", "v1 a1 a2 a3 t1 t2"),
            ("VIDEO_HEIGHT: 0-400 , 1000-2000", "v1 v3 a1 a2 a3 t1 t2"),
            ("video_codec:h264", "v2 v3 a1 a2 a3 t1 t2"),
            ("video_codec:H265,H264", "v1 v2 v3 a1 a2 a3 t1 t2"),
            ("video_framerate:29.97-30", "v1 v2 v3 a1 a2 a3 t1 t2"),
            ("video_framerate:0-29.969", "a1 a2 a3 t1 t2"),
            ("video_bitrate:0-7999", "a1 a2 a3 t1 t2"),
            ("video_bitrate:8000", "v1 v2 v3 a1 a2 a3 t1 t2"),
            ("video_dynamic_range:hdr10", "a1 a2 a3 t1 t2"),
            ("audio_language:en;subtitle_language:fr,de", "v1 v2 v3 a1 a2 t2"),
            ("audio_language:eng", "v1 v2 v3 a1 a2 t1 t2"),
            ("audio_language:en-us", "v1 v2 v3 a2 t1 t2"),
            ("audio_codec:AACL,EC-3;audio_channels:1-2", "v1 v2 v3 a1 t1 t2"),
            ("audio_codec:aach", "v1 v2 v3 a3 t1 t2"),
            ("audio_sample_rate:0-44100;video_height:9", "t1 t2"),
        ] {
            let parsed = Filter::parse(filter).unwrap();
            let kept = presentation.tracks.iter().filter(|view| parsed.keeps(view.track, 8_000));
            assert_eq!(kept.map(|view| view.track.id.as_str()).collect::<Vec<_>>().join(" "), want, "{filter}");
        }
    }

    #[test]
    fn nonsense_is_named() {
        for (filter, want) in [
            ("", "\"\" is not a name, a colon and values"),
            ("video_height", "\"video_height\" is not a name, a colon and values"),
            ("video_height:1;", "\"\" is not a name, a colon and values"),
            ("video_height:", "video_height is a number or a range of numbers such as 1-2, not \"\""),
            ("video_height:720-240", "video_height is a number or a range of numbers such as 1-2, not \"720-240\""),
            ("video_height:1.5", "video_height is a number or a range of numbers such as 1-2, not \"1.5\""),
            ("video_height:-1", "video_height is a number or a range of numbers such as 1-2, not \"-1\""),
            (
                "audio_channels:99999999999999999999",
                "audio_channels is a number or a range of numbers such as 1-2, not \"99999999999999999999\"",
            ),
            ("video_height:1;video_height:2", "video_height is given more than once"),
            ("video_codec:mpeg2", "video_codec is one of h264, h265, av1, vp9, not \"mpeg2\""),
            ("audio_language:e n", "audio_language is a language tag (RFC 5646), not \"e n\""),
        ] {
            assert_eq!(Filter::parse(filter).unwrap_err().to_string(), want, "{filter}");
        }
        assert!(
            Filter::parse("height:1").unwrap_err().to_string().starts_with("\"height\" is not one of video_height, ")
        );
        let many = format!("video_height:{}", vec!["1"; 65].join(","));
        assert_eq!(Filter::parse(&many), Err(BadFilter::Values { name: "video_height", found: 65 }));
    }

    #[test]
    fn what_is_the_same_is_written_alike() {
        for filter in [
            "audio_language:en,de;video_height:240-720,1080",
            "video_height:1080-1080 , 240-720;audio_language:DE,en,en",
            "Audio_Language:deu,eng; Video_Height:240-720,01080",
        ] {
            let text = Filter::parse(filter).unwrap().to_string();
            assert_eq!(text, "video_height:240-720,1080-1080;audio_language:de,en", "{filter}");
        }
        assert_eq!(Filter::parse("video_framerate:23.976-30").unwrap().to_string(), "video_framerate:23.976-30.000");
    }

    proptest! {
        #[test]
        fn anything_may_come(text in "\\PC{0,80}") {
            let _ = Filter::parse(&text);
        }

        #[test]
        fn written_filters_read_back(
            text in "(video_height|audio_channels|video_framerate):[0-9]{1,5}(-9{6})?(,[0-9]{1,4}){0,3}(;audio_language:[a-z]{2,3}(,[a-z]{2}-[A-Z]{2})?)?",
        ) {
            let filter = Filter::parse(&text).unwrap();
            prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
        }
    }
}
