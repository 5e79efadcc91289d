//! The multivariant playlist.

use crate::media::broadcast::Broadcast;
use crate::media::captions::{Caption, CaptionChannel};
use crate::media::track::{Video, VideoRange};
use crate::media::{Kind, Presentation};
use crate::package::live_url::{self, Stretch};
use crate::package::offer::{self, Offer};
use crate::package::rate::Rate;
use crate::package::{Links, timeline};

use super::attributes::Attributes;
use super::key_frames;
use super::live_text::is_webvtt;
use super::rendition::{self, AudioGroup, Link};
use super::thumbnails::push_thumbnail_stream;
use super::{VERSION, VERSION_WITH_SERVICES};

/// GROUP-ID of the subtitles.
const SUBTITLES: &str = "subtitles";
/// GROUP-ID of captions in the pictures.
const CAPTIONS: &str = "captions";

/// In bits per second. Players begin with the first variant they can play before they have measured anything, so the first
/// is the best one that a connection of this rate carries.
const FIRST_BANDWIDTH: u64 = 3_000_000;

/// One EXT-X-STREAM-INF.
struct Variant<'a, 'g> {
    /// Whose playlist is linked: video, or the audio itself.
    offer: Offer<'a>,
    audio: Option<&'g AudioGroup<'a>>,
    rate: Rate,
}

/// How text comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    /// Files of WebVTT, which have no codec.
    Files,
    /// Samples of ISO files, which CODECS names (RFC 8216bis §4.4.6.2).
    Samples,
}

/// Where the sound of a variant with pictures is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sound {
    /// In a group of renditions.
    Renditions,
    /// In the segments of the variant.
    Muxed,
}

/// What is known about captions in the pictures (CEA-608 and 708).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Captions<'a> {
    /// There are none, and players need not look.
    None,
    /// An encoder may begin to send them at any time.
    Unknown,
    Known(&'a [Caption]),
}

impl<'a> Captions<'a> {
    /// Of pictures that were looked through.
    fn of(found: &'a [Caption]) -> Captions<'a> {
        if found.is_empty() { Captions::None } else { Captions::Known(found) }
    }

    fn of_broadcast(broadcast: &Broadcast<'a>) -> Captions<'a> {
        if broadcast.captions.is_empty() { Captions::Unknown } else { Captions::Known(broadcast.captions) }
    }
}

/// The multivariant playlist of an asset; its links are relative to `/vod/{asset}/`, or to `single/` below it.
pub fn multivariant(presentation: &Presentation<'_>, links: &Links) -> String {
    let target = timeline::target_seconds(timeline::longest(presentation));
    let offers = offer::of_presentation(presentation, target);
    let independent = presentation.tracks.iter().all(|view| timeline::is_independent(*view));
    let link = |track: &str| links.media_playlist(presentation.version, track);
    let found = offer::captions(&offers);
    let mut out = render(&offers, &link, independent, Captions::of(&found), Text::Files, Sound::Renditions);
    key_frames::push_streams(&mut out, presentation, links);
    push_thumbnail_stream(&mut out, presentation, |id| links.thumbnail_playlist(presentation.version, id));
    out
}

/// The multivariant playlist of transport streams. `link` takes a track, or the tracks of a muxed variant: `v1.a1`.
pub fn transport_multivariant(offers: &[Offer<'_>], link: Link<'_>, independent: bool, sound: Sound) -> String {
    let found = offer::captions(offers);
    render(offers, link, independent, Captions::of(&found), Text::Files, sound)
}

/// Where the sound of transport streams is: with the pictures unless a viewer has a choice.
pub fn sound(offers: &[Offer<'_>]) -> Sound {
    let is_one_line = rendition::audio_groups(offers).iter().all(|group| group.members.len() == 1);
    let has_pictures = offer::of_kind(offers, Kind::Video).next().is_some();
    if is_one_line && has_pictures { Sound::Muxed } else { Sound::Renditions }
}

/// The multivariant playlist of a channel, or of a stretch of it; its links are relative to `/live/{channel}/`.
///
/// Whether segments are independent is left to the media playlists: here it would be a promise about those to come.
pub fn live_multivariant(broadcast: &Broadcast<'_>, stretch: Stretch) -> String {
    let offers = offer::of_broadcast(broadcast);
    let link = |track: &str| live_url::media_playlist(track, stretch);
    let captions = Captions::of_broadcast(broadcast);
    let mut out = render(&offers, &link, false, captions, Text::Samples, Sound::Renditions);
    key_frames::push_live_streams(&mut out, broadcast, stretch);
    out
}

/// The same of transport streams: of what they carry of it.
pub fn live_transport_multivariant(
    broadcast: &Broadcast<'_>,
    offers: &[Offer<'_>],
    link: Link<'_>,
    sound: Sound,
) -> String {
    render(offers, link, false, Captions::of_broadcast(broadcast), Text::Files, sound)
}

/// BANDWIDTH is the peak segment rate of the video plus the largest peak of any audio rendition in the group, AVERAGE-BANDWIDTH
/// the same with averages (RFC 8216bis §4.4.6.2); subtitles, some hundred bits per second, are not counted.
///
/// Order: the variant to begin with, then the others by track order (falling height), and within a track by audio group, AAC
/// first. To begin with: SDR H.264 with the first audio group if there is any such, at most [`FIRST_BANDWIDTH`], the best of
/// those, or the smallest if all need more.
fn render(
    offers: &[Offer<'_>],
    link: Link<'_>,
    independent: bool,
    captions: Captions<'_>,
    text: Text,
    sound: Sound,
) -> String {
    let groups = rendition::audio_groups(offers);
    let variants = variants(offers, &groups);
    let grouped = sound == Sound::Renditions && variants.iter().any(|variant| variant.audio.is_some());

    let mut out = String::with_capacity(512 + 256 * (variants.len() + offers.len()));
    out.push_str("#EXTM3U\n#EXT-X-VERSION:");
    let is_service = |caption: &Caption| matches!(caption.channel, CaptionChannel::Service(_));
    out.push_str(match captions {
        Captions::Known(captions) if captions.iter().any(is_service) => VERSION_WITH_SERVICES,
        _ => VERSION,
    });
    out.push('\n');
    if independent {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    for group in groups.iter().filter(|_| grouped) {
        rendition::push_audio(&mut out, group, link);
    }
    let subtitles = rendition::push_subtitles(&mut out, offers, SUBTITLES, link);
    if let Captions::Known(captions) = captions {
        rendition::push_captions(&mut out, captions, CAPTIONS);
    }
    let mut text_codecs: Vec<&str> = Vec::new();
    for Offer { track, .. } in offer::of_kind(offers, Kind::Text).filter(|_| text == Text::Samples) {
        // Segments of WebVTT are of no codec.
        if !is_webvtt(track) && !text_codecs.contains(&track.codec.as_str()) {
            text_codecs.push(&track.codec);
        }
    }
    for variant in &variants {
        push_variant(&mut out, variant, subtitles.then_some(&text_codecs), captions, sound, link);
    }
    out
}

fn variants<'a, 'g>(offers: &[Offer<'a>], groups: &'g [AudioGroup<'a>]) -> Vec<Variant<'a, 'g>> {
    let audio: Vec<(&AudioGroup<'a>, Rate)> = groups.iter().map(|group| (group, group.rate())).collect();
    let mut variants = Vec::new();
    for offer in offer::of_kind(offers, Kind::Video) {
        if audio.is_empty() {
            variants.push(Variant { offer, audio: None, rate: offer.rate });
        }
        variants.extend(audio.iter().map(|(group, more)| Variant {
            offer,
            audio: Some(*group),
            rate: offer.rate.plus(*more),
        }));
    }
    if variants.is_empty() {
        // Audio only: the groups are the variants, and a group of one needs no rendition beside it.
        variants.extend(audio.iter().filter_map(|(group, rate)| {
            let (_, offer) = group.members.first()?;
            Some(Variant { offer: *offer, audio: (group.members.len() > 1).then_some(*group), rate: *rate })
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
        let widely = |video: &Video| video.range == VideoRange::Sdr && variant.offer.track.codec.starts_with("avc");
        first_group && variant.offer.track.video().is_none_or(widely)
    };
    let any_plain = variants.iter().any(plain);
    let fit = |variant: &Variant<'_, '_>| variant.rate.peak <= FIRST_BANDWIDTH;
    let all = || variants.iter().enumerate().filter(|(_, variant)| plain(variant) || !any_plain);
    // Of equal ones the first, in the order of tracks and groups.
    let best = all().rev().filter(|(_, variant)| fit(variant)).max_by_key(|(_, variant)| variant.rate.peak);
    best.or_else(|| all().min_by_key(|(_, variant)| variant.rate.peak)).map(|(at, _)| at)
}

/// `subtitles`: the codecs of the group of subtitles, if there is one.
fn push_variant(
    out: &mut String,
    variant: &Variant<'_, '_>,
    subtitles: Option<&Vec<&str>>,
    captions: Captions<'_>,
    sound: Sound,
    link: Link<'_>,
) {
    let track = variant.offer.track;
    let mut codecs = vec![track.codec.as_str()];
    if let Some(group) = variant.audio {
        codecs.extend(group.codecs().into_iter().filter(|codec| *codec != track.codec));
    }
    codecs.extend(subtitles.into_iter().flatten());
    let mut line = Attributes::new(out, "#EXT-X-STREAM-INF");
    line.integer("BANDWIDTH", variant.rate.peak);
    line.integer("AVERAGE-BANDWIDTH", variant.rate.average);
    line.quoted("CODECS", &codecs.join(","));
    if let Some(video) = track.video() {
        push_video(&mut line, video);
    }
    if let Some(group) = variant.audio.filter(|_| sound == Sound::Renditions) {
        line.quoted("AUDIO", &group.id);
    }
    if subtitles.is_some() {
        line.quoted("SUBTITLES", SUBTITLES);
    }
    match captions {
        Captions::None if track.video().is_some() => line.plain("CLOSED-CAPTIONS", "NONE"),
        Captions::Known(_) if track.video().is_some() => line.quoted("CLOSED-CAPTIONS", CAPTIONS),
        _ => {}
    }
    line.end();
    let muxed = variant.audio.filter(|_| sound == Sound::Muxed).and_then(|group| group.members.first());
    out.push_str(&match muxed {
        Some((_, sound)) => link(&format!("{}.{}", track.id, sound.track.id)),
        None => link(&track.id),
    });
    out.push('\n');
}

fn push_video(line: &mut Attributes<'_>, video: &Video) {
    if let Some(supplemental) = &video.supplemental_codec {
        line.quoted("SUPPLEMENTAL-CODECS", supplemental);
    }
    push_size(line, video);
    let (frames, seconds) = (u64::from(video.frame_rate.0), u64::from(video.frame_rate.1.max(1)));
    let millis = (frames * 1_000 + seconds / 2) / seconds;
    // Of a live track whose frames come unevenly it is not known.
    if millis > 0 {
        line.plain("FRAME-RATE", &format!("{}.{:03}", millis / 1_000, millis % 1_000));
    }
    push_range(line, video);
}

/// What a line of key frames says of them (§4.4.6.3): they have no rate.
pub(super) fn push_resolution(line: &mut Attributes<'_>, video: &Video) {
    push_size(line, video);
    push_range(line, video);
}

/// As it is to be displayed: non-square pixels widen or narrow the coded picture.
fn push_size(line: &mut Attributes<'_>, video: &Video) {
    let (wide, high) = (u64::from(video.pixel_aspect.0.max(1)), u64::from(video.pixel_aspect.1.max(1)));
    let width = (u64::from(video.width) * wide + high / 2) / high;
    line.plain("RESOLUTION", &format!("{width}x{}", video.height));
}

fn push_range(line: &mut Attributes<'_>, video: &Video) {
    line.plain(
        "VIDEO-RANGE",
        match video.range {
            VideoRange::Sdr => "SDR",
            VideoRange::Hlg => "HLG",
            VideoRange::Pq => "PQ",
        },
    );
}
