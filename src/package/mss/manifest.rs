//! The client manifest ([MS-SSTR] §2.2.2).

use crate::base::{Extent, Ticks};
use crate::media::codec::private_data::{Media, PrivateData, is_expressible, private_data};
use crate::media::isobmff::stored;
use crate::media::track::{Role, Track};
use crate::media::{Kind, Presentation, Segment, TrackView};
use crate::package::xml::Xml;
use crate::package::{text, url};

use super::TIMESCALE;
use super::stream::{Level, Stream, streams};
use super::time::{Timeline, lead_in};

/// What has to be in memory to write the manifest: the stored headers.
pub fn headers(presentation: &Presentation<'_>) -> Vec<Extent> {
    let of = |view: &&TrackView<'_>| !view.fragments.is_empty() && is_expressible(&view.track.codec);
    presentation.tracks.iter().filter(of).map(|view| view.extent(0..view.init_size)).collect()
}

/// Its links are relative to `/vod/{asset}/index.ism/`. Of the whole, `shown` is what the manifest is of: some of the tracks, or a
/// stretch. Names, bit rates and times are the same whatever is shown, and so are the URLs of fragments: a stretch begins
/// when it does in the whole, like the archive of a broadcast. `None`: nothing that is shown can be expressed.
pub fn manifest<'a>(whole: &Presentation<'a>, shown: &Presentation<'a>) -> Option<String> {
    let timeline = Timeline::of(whole);
    let mut streams = streams(whole, timeline);
    for stream in &mut streams {
        let shown = |level: &Level<'a>| {
            let view = shown.track(&level.view.track.id)?;
            // Text has no fragments of its own.
            if view.fragments.is_empty() && view.track.kind() != Kind::Text {
                return None;
            }
            Some(Level { view, ..*level })
        };
        stream.levels = stream.levels.iter().filter_map(shown).collect();
    }
    let described: Vec<(Stream<'_>, Vec<(Level<'_>, PrivateData)>)> = streams
        .into_iter()
        .map(|stream| {
            let levels = stream.levels.iter().filter_map(|level| Some((*level, private(&level.view)?))).collect();
            (stream, levels)
        })
        .filter(|(_, levels): &(_, Vec<_>)| !levels.is_empty())
        .collect();
    // Text by itself is nothing to play.
    if described.iter().all(|(stream, _)| stream.levels[0].view.track.kind() == Kind::Text) {
        return None;
    }
    let duration = u64::try_from(shown.duration.as_nanos() / 100).unwrap_or(u64::MAX);
    let mut xml = Xml::new(1_024 + described.len() * (1_024 + shown.cuts.len() * 32));
    xml.open("SmoothStreamingMedia", |tag| {
        tag.integer("MajorVersion", 2).integer("MinorVersion", 2);
        tag.integer("TimeScale", TIMESCALE.per_second());
        tag.integer("Duration", duration.saturating_add(lead_in(shown)));
    });
    for (stream, levels) in &described {
        let rows: Vec<Row<'_>> =
            levels.iter().map(|(level, data)| Row { track: level.view.track, bitrate: level.bitrate, data }).collect();
        let link = url::smooth_template(shown.version, &stream.name);
        push_stream(&mut xml, &stream.name, &link, &rows, &borders(shown, &levels[0].0.view, timeline));
    }
    xml.close("SmoothStreamingMedia");
    Some(xml.finish())
}

fn private(view: &TrackView<'_>) -> Option<PrivateData> {
    if view.track.kind() == Kind::Text {
        return Some(text_data());
    }
    media_data(view.track, view.files.first()?.mapped()?.get(..view.init_size as usize)?)
}

pub(super) fn text_data() -> PrivateData {
    PrivateData { four_cc: "TTML", bytes: Vec::new(), media: Media::Text }
}

/// `None`, and why in the log, where the header says nothing that the protocol has words for.
pub(super) fn media_data(track: &Track, header: &[u8]) -> Option<PrivateData> {
    let channels = track.audio().map_or(0, |audio| audio.channels);
    let left_out = |why: &dyn std::fmt::Display| {
        tracing::warn!(track = track.id, "left out of the Smooth Streaming manifest: {why}");
    };
    let entry = stored::sample_entry(header).inspect_err(|error| left_out(error)).ok()?;
    private_data(&track.codec, entry, channels).inspect_err(|error| left_out(error)).ok()?
}

/// A QualityLevel as it is written.
pub(super) struct Row<'a> {
    pub track: &'a Track,
    pub bitrate: u64,
    pub data: &'a PrivateData,
}

/// Of at least one level. `link` is the template of its fragments, which begin and end at `borders`.
pub(super) fn push_stream(xml: &mut Xml, name: &str, link: &str, levels: &[Row<'_>], borders: &[(u64, u64)]) {
    let track = levels[0].track;
    xml.open("StreamIndex", |tag| {
        let kind = match track.kind() {
            Kind::Video => "video",
            Kind::Audio => "audio",
            Kind::Text => "text",
        };
        tag.set("Type", kind);
        if track.kind() == Kind::Text {
            // §2.2.2.3: captions are for those who do not hear, subtitles for those who do not understand.
            tag.set("Subtype", if track.role == Role::Caption { "CAPT" } else { "SUBT" });
        }
        tag.set("Name", name);
        if track.language != "und" && !track.language.is_empty() {
            tag.set("Language", &track.language);
        }
        tag.integer("Chunks", borders.len()).integer("QualityLevels", levels.len());
        let videos = || levels.iter().filter_map(|level| level.track.video());
        if let Some(largest) = videos().max_by_key(|video| video.height) {
            let (wide, high) = (u64::from(largest.pixel_aspect.0.max(1)), u64::from(largest.pixel_aspect.1.max(1)));
            tag.integer("MaxWidth", largest.width).integer("MaxHeight", largest.height);
            tag.integer("DisplayWidth", (u64::from(largest.width) * wide + high / 2) / high);
            tag.integer("DisplayHeight", largest.height);
        }
        tag.set("Url", link);
    });
    for (index, Row { track, bitrate, data }) in levels.iter().enumerate() {
        xml.empty("QualityLevel", |tag| {
            tag.integer("Index", index).integer("Bitrate", *bitrate).set("FourCC", data.four_cc);
            tag.set("CodecPrivateData", &hex(&data.bytes));
            if let Some(video) = track.video() {
                tag.integer("MaxWidth", video.width).integer("MaxHeight", video.height);
            }
            if let Some(audio) = track.audio() {
                tag.integer("SamplingRate", audio.sample_rate).integer("Channels", audio.channels);
                tag.integer("BitsPerSample", 16).integer("PacketSize", u32::from(audio.channels) * 2);
            }
            match data.media {
                Media::Video { length_size: 4 } => {}
                Media::Video { length_size } => {
                    tag.integer("NALUnitLengthField", length_size);
                }
                Media::Audio { tag: format } => {
                    tag.integer("AudioTag", format);
                }
                Media::Text => {}
            }
        });
    }
    push_fragments(xml, borders);
    xml.close("StreamIndex");
}

/// When each fragment begins and ends, in ticks of the manifest.
fn borders(presentation: &Presentation<'_>, view: &TrackView<'_>, timeline: Timeline) -> Vec<(u64, u64)> {
    if view.track.kind() == Kind::Text {
        let spans = text::spans(presentation, view);
        return spans.map(|span| (timeline.time(view, span.start), timeline.time(view, span.end))).collect();
    }
    let times = |segment: Segment| {
        let end = Ticks(segment.time.0.saturating_add(segment.duration.0));
        (timeline.time(view, segment.time), timeline.time(view, end))
    };
    view.segments().map(times).collect()
}

/// Consecutive fragments of one duration are one element (§2.2.2.6).
fn push_fragments(xml: &mut Xml, borders: &[(u64, u64)]) {
    let mut run: Option<(Option<u64>, u64, u32)> = None;
    let mut end = None;
    let mut push = |run: (Option<u64>, u64, u32)| {
        let (time, duration, count) = run;
        xml.empty("c", |tag| {
            if let Some(time) = time {
                tag.integer("t", time);
            }
            tag.integer("d", duration);
            if count > 1 {
                tag.integer("r", count);
            }
        });
    };
    for &(time, until) in borders {
        let follows = end == Some(time);
        end = Some(until);
        match &mut run {
            Some((_, duration, count)) if follows && *duration == until - time => *count += 1,
            _ => {
                run.into_iter().for_each(&mut push);
                run = Some(((!follows).then_some(time), until - time, 1));
            }
        }
    }
    run.into_iter().for_each(&mut push);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
        }
        text
    })
}
