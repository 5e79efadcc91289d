//! HLS with MPEG-TS segments of channels.

use crate::base::{Extent, Payload, Ticks, Timescale, Watermark};
use crate::http::{Kind, Request, Response};
use crate::live::Located;
use crate::media::broadcast::{Broadcast, BroadcastTrack, Position};
use crate::package::ts::live_url::Resource;
use crate::package::ts::url::Rendition;
use crate::package::ts::{self, LiveMedia, LivePart, LiveTracks, Making};

use super::super::Wait;
use super::super::representation::{Coding, Description, Representation};
use super::kept::{KeyRef, Text, Version};
use super::query::{BadQuery, Parameters};
use super::text::{damaged, mapped, unreadable};
use super::{
    HLS, Live, Outcome, PATIENCE_TARGETS, Source, number_at, range, seen, segment_cache_control, target_duration,
    whole_age,
};
use crate::package::live_url::Stretch;

/// RFC 8216bis §3.1.1.
const TRANSPORT_STREAM: &str = "video/mp2t";

/// A segment that is made of a channel's stored chunks: how it is answered, and what of.
pub struct Wanted {
    /// Of what it is made of, wherever that lies.
    pub key: Box<str>,
    content_type: &'static str,
    etag: String,
    cache_control: String,
    plan: Plan,
}

struct Plan {
    number: u64,
    /// On 90 kHz.
    slot: (Ticks, Ticks),
    main: Part,
    sound: Option<Part>,
    is_packed: bool,
}

/// What is stored of a track in a segment; it holds the files open.
struct Part {
    track: String,
    codec: String,
    language: String,
    timescale: Timescale,
    header: Extent,
    /// `None`: the track has nothing there.
    media: Option<Extent>,
}

impl Live {
    pub(super) fn transport<S: Source>(
        &self,
        request: &Request<'_>,
        channel: &str,
        source: &S,
        resource: Resource<'_>,
    ) -> Result<Outcome, BadQuery> {
        match resource {
            Resource::Multivariant => self.transport_multivariant(request, channel, source),
            Resource::MediaPlaylist { rendition } => self.transport_media(request, channel, source, rendition),
            Resource::Segment { rendition, number } => {
                Ok(self.transport_segment(channel, source, rendition, number, None))
            }
            Resource::Packed { track, packing, number } => {
                let rendition = Rendition { name: track, track, sound: None };
                Ok(self.transport_segment(channel, source, rendition, number, Some(packing)))
            }
        }
    }

    fn transport_multivariant<S: Source>(
        &self,
        request: &Request<'_>,
        channel: &str,
        source: &S,
    ) -> Result<Outcome, BadQuery> {
        let stretch = Parameters::of(request).stretch()?;
        let Some((broadcast, state)) = seen(source, stretch) else { return Ok(Outcome::Missing) };
        let mark = Position { number: broadcast.next, parts: 0 }.mark();
        let key = KeyRef { channel, track: "", text: Text::Transport, stretch };
        let age = whole_age(&broadcast);
        self.keep(request, key, Version { mark, state }, || {
            let broadcast = source.broadcast(range(stretch))?;
            let Some(text) = ts::live_multivariant(&broadcast, stretch) else {
                self.refuse(KeyRef { stretch: Stretch::default(), ..key }, &ts::live_refusal(&broadcast));
                return None;
            };
            Some((Kind::Multivariant, HLS, text, age))
        })
    }

    fn transport_media<S: Source>(
        &self,
        request: &Request<'_>,
        channel: &str,
        source: &S,
        rendition: Rendition<'_>,
    ) -> Result<Outcome, BadQuery> {
        let stretch = Parameters::of(request).stretch()?;
        let Some((broadcast, state)) = seen(source, stretch) else { return Ok(Outcome::Missing) };
        let Some(tracks) = LiveTracks::of(&broadcast, rendition) else { return Ok(Outcome::Missing) };
        let mark = Position { number: tracks.end(&broadcast), parts: 0 }.mark();
        let key = KeyRef { channel, track: rendition.name, text: Text::TransportMedia, stretch };
        let age = whole_age(&broadcast);
        let is_whole = stretch.start.is_none_or(|start| number_at(&broadcast, start) >= broadcast.first);
        let which = LiveMedia { stretch, is_whole, cues: source.cue_tags() };
        self.keep(request, key, Version { mark, state }, || {
            let broadcast = source.broadcast(range(stretch))?;
            let tracks = LiveTracks::of(&broadcast, rendition)?;
            Some((Kind::MediaPlaylist, HLS, ts::live_media(&broadcast, rendition, tracks, &which), age))
        })
    }

    /// `packing`: what its name says that it is, if it is packed audio.
    fn transport_segment<S: Source>(
        &self,
        channel: &str,
        source: &S,
        rendition: Rendition<'_>,
        number: u64,
        packing: Option<ts::Packing>,
    ) -> Outcome {
        // Runs may be missing: only tracks are asked for.
        let Some((broadcast, _)) = source.edge() else { return Outcome::Missing };
        let (main, sound, content_type) = match (LiveTracks::of(&broadcast, rendition), packing) {
            (Some(LiveTracks::Pictures { video, sound }), None) => (video, sound, TRANSPORT_STREAM),
            (Some(LiveTracks::Sound(live, found)), Some(named)) if found == named => (live, None, found.media_type()),
            _ => return Outcome::Missing,
        };
        let part = |live| self.part_of(&broadcast, source, live, number);
        let (main, sound) = match (part(main), sound.map(part)) {
            (Err(outcome), _) | (_, Some(Err(outcome))) => return outcome,
            (Ok(main), sound) => (main, sound.and_then(Result::ok)),
        };
        let media = |part: &Part| part.media.as_ref().map(|extent| (extent.offset, extent.len));
        let (video, audio) = (media(&main), sound.as_ref().and_then(media));
        // Nobody loads what EXT-X-GAP stands for.
        if video.is_none() && audio.is_none() {
            return Outcome::Missing;
        }
        for extent in [Some(&main), sound.as_ref()].into_iter().flatten().flat_map(Part::extents) {
            if extent.file.is_damaged() {
                return Outcome::Ready(damaged());
            }
            if extent.file.mapped().is_none() {
                return Outcome::Ready(unreadable(extent));
            }
        }
        let size = |media: Option<(u64, u64)>| media.map_or(0, |(_, len)| len);
        let extension = packing.map_or("ts", ts::Packing::extension);
        let at = |part: &Part, media: Option<(u64, u64)>| {
            // Files have names of their own for each format, and are only added to.
            let name = part.media.as_ref().map_or("", |extent| extent.file.name());
            format!("{name}@{}", media.map_or(0, |(offset, _)| offset))
        };
        let of_sound = sound.as_ref().map_or_else(String::new, |sound| at(sound, audio));
        let name = rendition.name;
        Outcome::Make(Box::new(Wanted {
            key: format!("live/{channel}/{name}/{number}.{extension} {} {of_sound}", at(&main, video)).into(),
            content_type,
            // The same on every server that has the same of it.
            etag: format!("ts-{name}-{number}-{:x}-{:x}", size(video), size(audio)),
            cache_control: segment_cache_control(&broadcast),
            plan: Plan {
                number,
                slot: (
                    broadcast.grid.start(number, Timescale::MPEG),
                    broadcast.grid.start(number.saturating_add(1), Timescale::MPEG),
                ),
                main,
                sound,
                is_packed: packing.is_some(),
            },
        }))
    }

    /// What of a segment is stored, once it is whole.
    fn part_of<S: Source>(
        &self,
        broadcast: &Broadcast<'_>,
        source: &S,
        live: &BroadcastTrack<'_>,
        number: u64,
    ) -> Result<Part, Outcome> {
        let track = live.track;
        let wait = |until| {
            let patience = target_duration(broadcast) * PATIENCE_TARGETS;
            Err(Outcome::Wait(Wait { until, patience, otherwise: Box::new(self.missing.clone()) }))
        };
        let media = match source.segment(&track.id, number) {
            Located::Whole(extent) => Some(extent),
            Located::Gap { .. } => None,
            Located::Growing(_) => {
                let Some(watch) = source.watch(&track.id) else { return Err(Outcome::Missing) };
                let target = Position { number: number.saturating_add(1), parts: 0 }.mark();
                return wait(Watermark { watch: watch.clone(), target });
            }
            Located::Later(until) => return wait(until),
            Located::Missing => return Err(Outcome::Missing),
        };
        let header = source.header(&track.id, number).ok_or(Outcome::Missing)?;
        Ok(Part {
            track: track.id.clone(),
            codec: track.codec.clone(),
            language: track.language.clone(),
            timescale: track.timescale,
            header,
            media,
        })
    }

    /// Says once why there is no such manifest.
    pub(super) fn refuse(&self, key: KeyRef<'_>, reason: &str) {
        if self.refused.get(&key).is_none() {
            self.refused.insert(key.to_owned(), ());
            tracing::warn!(channel = key.channel, "not found: {reason}");
        }
    }
}

impl Wanted {
    pub fn respond(&self, request: &Request<'_>, body: Payload) -> Response {
        let description = Description {
            kind: Kind::Segment,
            content_type: self.content_type,
            coding: Coding::Only,
            etag: format_args!("{}", self.etag),
            last_modified: None,
            cache_control: &self.cache_control,
        };
        Representation::new(description, body).respond(request)
    }

    /// What has to be in memory for it.
    pub fn sources(&self) -> Vec<Extent> {
        let parts = [Some(&self.plan.main), self.plan.sound.as_ref()];
        parts.into_iter().flatten().flat_map(Part::extents).cloned().collect()
    }

    /// Reads headers and chunks: to be called where waiting for the disk is allowed.
    pub fn making(&self) -> Result<Making<'_>, ts::Error> {
        let Plan { number, slot, main, sound, is_packed } = &self.plan;
        let main = main.stored();
        match is_packed {
            true => ts::live_packed(&main),
            false => ts::live_muxed(*number, *slot, &main, sound.as_ref().map(Part::stored).as_ref()),
        }
    }
}

impl Part {
    fn extents(&self) -> impl Iterator<Item = &Extent> {
        [Some(&self.header), self.media.as_ref()].into_iter().flatten()
    }

    fn stored(&self) -> LivePart<'_> {
        LivePart {
            track: &self.track,
            codec: &self.codec,
            language: &self.language,
            timescale: self.timescale,
            header: mapped(&self.header).unwrap_or_default(),
            media: self.media.as_ref().and_then(mapped).unwrap_or_default(),
        }
    }
}
