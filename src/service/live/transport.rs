//! HLS with MPEG-TS segments of channels.

use crate::base::{Extent, Payload, Ticks, Timescale};
use crate::http::{Kind, Request, Response};
use crate::live::Located;
use crate::media::broadcast::{Broadcast, BroadcastTrack, Position};
use crate::package::hls;
use crate::package::ts::live_url::Resource;
use crate::package::ts::url::Rendition;
use crate::package::ts::{self, LivePart, LiveTracks, Making};

use super::super::representation::{Coding, Description, Representation};
use super::kept::{KeyRef, Text, Version};
use super::key_frames::HEAD_BYTES;
use super::query::{BadQuery, Parameters};
use super::text::{damaged, mapped, unreadable};
use super::{HLS, Live, Outcome, Source, is_whole, range, seen, segment_cache_control, whole_age};
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
    form: Form,
}

#[derive(Clone, Copy)]
enum Form {
    Muxed,
    Packed,
    /// The first picture alone, for which so many bytes of the segment are read at most.
    KeyFrame {
        bytes: u64,
    },
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
            Resource::KeyFramePlaylist { track } => self.transport_key_frames(request, channel, source, track),
            Resource::KeyFrame { track, number } => Ok(self.transport_key_frame(channel, source, track, number)),
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
        let which = hls::Whole { stretch, is_whole: is_whole(&broadcast, stretch), cues: source.cue_tags() };
        self.keep(request, key, Version { mark, state }, || {
            let broadcast = source.broadcast(range(stretch))?;
            let tracks = LiveTracks::of(&broadcast, rendition)?;
            Some((Kind::MediaPlaylist, HLS, ts::live_media(&broadcast, rendition, tracks, &which), age))
        })
    }

    fn transport_key_frames<S: Source>(
        &self,
        request: &Request<'_>,
        channel: &str,
        source: &S,
        track: &str,
    ) -> Result<Outcome, BadQuery> {
        let stretch = Parameters::of(request).stretch()?;
        let Some((broadcast, state)) = seen(source, stretch) else { return Ok(Outcome::Missing) };
        let Some(live) = broadcast.track(track) else { return Ok(Outcome::Missing) };
        let mark = Position { number: broadcast.listed(live).number, parts: 0 }.mark();
        let key = KeyRef { channel, track, text: Text::TransportKeyFrames, stretch };
        let age = whole_age(&broadcast);
        let which = hls::Whole { stretch, is_whole: is_whole(&broadcast, stretch), cues: false };
        self.keep(request, key, Version { mark, state }, || {
            let broadcast = source.broadcast(range(stretch))?;
            let text = ts::live_media_key_frames(&broadcast, broadcast.track(track)?, &which)?;
            Some((Kind::MediaPlaylist, HLS, text, age))
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
        let sources = [Some(&main), sound.as_ref()];
        if let Some(outcome) = unreadable_of(sources.into_iter().flatten()) {
            return outcome;
        }
        let size = |media: Option<(u64, u64)>| media.map_or(0, |(_, len)| len);
        let extension = packing.map_or("ts", ts::Packing::extension);
        let of_sound = sound.as_ref().map_or_else(String::new, Part::place);
        let name = rendition.name;
        Outcome::Make(Box::new(Wanted {
            key: format!("live/{channel}/{name}/{number}.{extension} {} {of_sound}", main.place()).into(),
            content_type,
            // The same on every server that has the same of it.
            etag: format!("ts-{name}-{number}-{:x}-{:x}", size(video), size(audio)),
            cache_control: segment_cache_control(&broadcast),
            plan: Plan {
                number,
                slot: slot(&broadcast, number),
                main,
                sound,
                form: if packing.is_some() { Form::Packed } else { Form::Muxed },
            },
        }))
    }

    /// The key frame that a segment begins with.
    fn transport_key_frame<S: Source>(&self, channel: &str, source: &S, track: &str, number: u64) -> Outcome {
        let Some((broadcast, _)) = source.edge() else { return Outcome::Missing };
        let is_pictures = |live: &&BroadcastTrack<'_>| ts::live_carriage(live.track) == Some(ts::Carriage::Video);
        let Some(live) = broadcast.track(track).filter(is_pictures) else { return Outcome::Missing };
        let main = match self.part_of(&broadcast, source, live, number) {
            Ok(main) => main,
            Err(outcome) => return outcome,
        };
        // Nobody loads what EXT-X-GAP stands for.
        let Some(segment) = source.described(track, number).filter(|segment| segment.is_independent) else {
            return Outcome::Missing;
        };
        if let Some(outcome) = unreadable_of(std::iter::once(&main)) {
            return outcome;
        }
        let bytes = match segment.key_frame_size {
            0 => segment.size,
            size => segment.size.min(HEAD_BYTES + u64::from(size)),
        };
        Outcome::Make(Box::new(Wanted {
            key: format!("live/{channel}/{track}/{number}.iframe.ts {}", main.place()).into(),
            content_type: TRANSPORT_STREAM,
            etag: format!("ts-{track}-{number}-iframe"),
            cache_control: segment_cache_control(&broadcast),
            plan: Plan { number, slot: slot(&broadcast, number), main, sound: None, form: Form::KeyFrame { bytes } },
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
        let media = match source.segment(&track.id, number) {
            Located::Whole(extent) => Some(extent),
            Located::Gap { .. } => None,
            Located::Growing(_) => return Err(self.once_complete(source, broadcast, &track.id, number)),
            Located::Later(until) => return Err(self.later(broadcast, until)),
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
        let Plan { main, sound, form, .. } = &self.plan;
        match form {
            Form::KeyFrame { bytes } => {
                let begin = main.media.iter().map(|media| Extent { len: media.len.min(*bytes), ..media.clone() });
                std::iter::once(main.header.clone()).chain(begin).collect()
            }
            _ => [Some(main), sound.as_ref()].into_iter().flatten().flat_map(Part::extents).cloned().collect(),
        }
    }

    /// Reads headers and chunks: to be called where waiting for the disk is allowed.
    pub fn making(&self) -> Result<Making<'_>, ts::Error> {
        let Plan { number, slot, main, sound, form } = &self.plan;
        let main = main.stored();
        match form {
            Form::Packed => ts::live_packed(&main),
            Form::KeyFrame { .. } => ts::live_key_frame(*number, &main),
            Form::Muxed => ts::live_muxed(*number, *slot, &main, sound.as_ref().map(Part::stored).as_ref()),
        }
    }
}

/// On 90 kHz.
fn slot(broadcast: &Broadcast<'_>, number: u64) -> (Ticks, Ticks) {
    let start = |number| broadcast.grid.start(number, Timescale::MPEG);
    (start(number), start(number.saturating_add(1)))
}

/// The answer where what is stored cannot be read.
fn unreadable_of<'p>(parts: impl Iterator<Item = &'p Part>) -> Option<Outcome> {
    for extent in parts.flat_map(Part::extents) {
        if extent.file.is_damaged() {
            return Some(Outcome::Ready(damaged()));
        }
        if mapped(extent).is_none() {
            return Some(Outcome::Ready(unreadable(extent)));
        }
    }
    None
}

impl Part {
    /// Files have names of their own for each format, and are only added to.
    fn place(&self) -> String {
        self.media.as_ref().map_or_else(|| "@0".to_owned(), |media| format!("{}@{}", media.file.name(), media.offset))
    }

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
