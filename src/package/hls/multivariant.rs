//! The multivariant playlist.

use crate::media::track::{Video, VideoRange};
use crate::media::{Kind, Presentation, TrackView};
use crate::package::rate::Rate;
use crate::package::{timeline, url};

use super::VERSION;
use super::attributes::Attributes;
use super::rendition::{self, AudioGroup};

/// GROUP-ID of the subtitles.
const SUBTITLES: &str = "subtitles";

/// In bits per second. Players begin with the first variant they can play before they have measured anything, so the first
/// is the best one that a connection of this rate carries.
const FIRST_BANDWIDTH: u64 = 3_000_000;

/// One EXT-X-STREAM-INF.
struct Variant<'a, 'g> {
    /// Whose playlist is linked: video, or the audio itself.
    view: TrackView<'a>,
    audio: Option<&'g AudioGroup<'a>>,
    rate: Rate,
}

/// The multivariant playlist; its links are relative to `/vod/{asset}/`.
///
/// BANDWIDTH is the peak segment rate of the video plus the largest peak of any audio rendition in the group, AVERAGE-BANDWIDTH
/// the same with averages (RFC 8216bis §4.4.6.2); subtitles, some hundred bits per second, are not counted.
///
/// Order: the variant to begin with, then the others by track order (falling height), and within a track by audio group, AAC
/// first. To begin with: SDR H.264 with the first audio group if there is any such, at most [`FIRST_BANDWIDTH`], the best of
/// those, or the smallest if all need more.
pub fn multivariant(presentation: &Presentation<'_>) -> String {
    let target = timeline::target_seconds(timeline::longest(presentation));
    let groups = rendition::audio_groups(presentation);
    let variants = variants(presentation, &groups, target);
    let grouped = variants.iter().any(|variant| variant.audio.is_some());

    let mut out = String::with_capacity(512 + 256 * (variants.len() + presentation.tracks.len()));
    out.push_str("#EXTM3U\n#EXT-X-VERSION:");
    out.push_str(VERSION);
    out.push('\n');
    if presentation.tracks.iter().all(|view| timeline::is_independent(*view)) {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    for group in groups.iter().filter(|_| grouped) {
        rendition::push_audio(&mut out, presentation.version, group);
    }
    let subtitles = rendition::push_subtitles(&mut out, presentation, SUBTITLES);
    for variant in &variants {
        push_variant(&mut out, presentation, variant, subtitles);
    }
    out
}

fn variants<'a, 'g>(
    presentation: &Presentation<'a>,
    groups: &'g [AudioGroup<'a>],
    target: u64,
) -> Vec<Variant<'a, 'g>> {
    let audio: Vec<(&AudioGroup<'a>, Rate)> =
        groups.iter().map(|group| (group, group.rate(presentation, target))).collect();
    let mut variants = Vec::new();
    for view in presentation.of_kind(Kind::Video) {
        let rate = Rate::of(presentation, view, target);
        if audio.is_empty() {
            variants.push(Variant { view, audio: None, rate });
        }
        variants.extend(audio.iter().map(|(group, more)| Variant {
            view,
            audio: Some(*group),
            rate: rate.plus(*more),
        }));
    }
    if variants.is_empty() {
        // Audio only: the groups are the variants, and a group of one needs no rendition beside it.
        variants.extend(audio.iter().filter_map(|(group, rate)| {
            let (_, view) = group.members.first()?;
            Some(Variant { view: *view, audio: (group.members.len() > 1).then_some(*group), rate: *rate })
        }));
    }
    if let Some(first) = first(&variants, groups) {
        variants[..=first].rotate_right(1);
    }
    variants
}

fn first(variants: &[Variant<'_, '_>], groups: &[AudioGroup<'_>]) -> Option<usize> {
    let plain = |variant: &Variant<'_, '_>| {
        let first_group = variant.audio.is_none_or(|audio| groups.first().is_some_and(|group| audio.id == group.id));
        let widely = |video: &Video| video.range == VideoRange::Sdr && variant.view.track.codec.starts_with("avc");
        first_group && variant.view.track.video().is_none_or(widely)
    };
    let any_plain = variants.iter().any(plain);
    let fit = |variant: &Variant<'_, '_>| variant.rate.peak <= FIRST_BANDWIDTH;
    let all = || variants.iter().enumerate().filter(|(_, variant)| plain(variant) || !any_plain);
    // Of equal ones the first, in the order of tracks and groups.
    let best = all().rev().filter(|(_, variant)| fit(variant)).max_by_key(|(_, variant)| variant.rate.peak);
    best.or_else(|| all().min_by_key(|(_, variant)| variant.rate.peak)).map(|(at, _)| at)
}

fn push_variant(out: &mut String, presentation: &Presentation<'_>, variant: &Variant<'_, '_>, subtitles: bool) {
    let track = variant.view.track;
    let mut codecs = vec![track.codec.as_str()];
    if let Some(group) = variant.audio {
        codecs.extend(group.codecs().into_iter().filter(|codec| *codec != track.codec));
    }
    let mut line = Attributes::new(out, "#EXT-X-STREAM-INF");
    line.integer("BANDWIDTH", variant.rate.peak);
    line.integer("AVERAGE-BANDWIDTH", variant.rate.average);
    line.quoted("CODECS", &codecs.join(","));
    if let Some(video) = track.video() {
        push_video(&mut line, video);
    }
    if let Some(group) = variant.audio {
        line.quoted("AUDIO", &group.id);
    }
    if subtitles {
        line.quoted("SUBTITLES", SUBTITLES);
    }
    if track.video().is_some() {
        line.plain("CLOSED-CAPTIONS", "NONE");
    }
    line.end();
    out.push_str(&url::media_playlist(presentation.version, &track.id));
    out.push('\n');
}

fn push_video(line: &mut Attributes<'_>, video: &Video) {
    if let Some(supplemental) = &video.supplemental_codec {
        line.quoted("SUPPLEMENTAL-CODECS", supplemental);
    }
    // As it is to be displayed: non-square pixels widen or narrow the coded picture.
    let (wide, high) = (u64::from(video.pixel_aspect.0.max(1)), u64::from(video.pixel_aspect.1.max(1)));
    let width = (u64::from(video.width) * wide + high / 2) / high;
    line.plain("RESOLUTION", &format!("{width}x{}", video.height));
    let (frames, seconds) = (u64::from(video.frame_rate.0), u64::from(video.frame_rate.1.max(1)));
    let millis = (frames * 1_000 + seconds / 2) / seconds;
    line.plain("FRAME-RATE", &format!("{}.{:03}", millis / 1_000, millis % 1_000));
    line.plain(
        "VIDEO-RANGE",
        match video.range {
            VideoRange::Sdr => "SDR",
            VideoRange::Hlg => "HLG",
            VideoRange::Pq => "PQ",
        },
    );
}
