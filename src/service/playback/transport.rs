//! HLS with MPEG-TS segments.

use crate::base::{Payload, Ticks};
use crate::http::{Kind, Request};
use crate::media::TrackView;
use crate::package::ts::url::{self, Rendition, Resource};
use crate::package::ts::{self, Packing};
use crate::store::derived::Found;

use super::{KeyRef, Outcome, Playback, Source, Text, VTT, Wanted, immutable, text_track};

/// RFC 8216bis §3.1.1.
const TRANSPORT_STREAM: &str = "video/mp2t";

/// A segment, before it is known whether it has been made.
enum Described {
    /// Of stored bytes.
    Stored { kind: Kind, content_type: &'static str, name: String, body: Payload },
    Made {
        content_type: &'static str,
        /// Below `ts/`.
        link: String,
        /// Of its ETag.
        name: String,
    },
}

impl Playback {
    pub(super) fn transport<S: Source>(
        &self,
        request: &Request<'_>,
        asset: &str,
        version: &str,
        resource: Resource<'_>,
        open: Option<&S>,
    ) -> Outcome {
        match resource {
            Resource::Multivariant => {
                let key = KeyRef { asset, version, text: Text::Transport, track: "", selection: "" };
                return self.manifest(request, key, open);
            }
            Resource::MediaPlaylist { rendition, .. } => {
                let key = KeyRef { asset, version, text: Text::TransportMedia, track: rendition.name, selection: "" };
                return self.manifest(request, key, open);
            }
            Resource::KeyFramePlaylist { track, .. } => {
                let key = KeyRef { asset, version, text: Text::TransportKeyFrames, track, selection: "" };
                return self.manifest(request, key, open);
            }
            _ => {}
        }
        let Some(source) = open else { return Outcome::Closed };
        let described = describe(source, version, resource);
        if source.is_damaged() {
            return Outcome::Damaged;
        }
        let (kind, content_type, name, body) = match described {
            None => return Outcome::Missing,
            Some(Described::Stored { kind, content_type, name, body }) => (kind, content_type, name, body),
            Some(Described::Made { content_type, link, name }) => match self.derived.find(&link) {
                Some(Found::Made(body)) => (Kind::Segment, content_type, name, body),
                Some(Found::Impossible) => return Outcome::Unmade,
                None => return Outcome::Make(Wanted { key: link.into() }),
            },
        };
        let etag = format_args!("{version}-ts-{name}");
        Outcome::Ready(immutable(source, kind, content_type, etag, body).respond(request))
    }
}

/// `None`: nothing has that name.
fn describe<S: Source>(source: &S, version: &str, resource: Resource<'_>) -> Option<Described> {
    match resource {
        Resource::Segment { rendition, time, .. } => {
            let link = |out: &mut String| url::push_segment(out, rendition, time, "ts");
            let name = format!("{}-{}", rendition.name, time.0);
            is_segment(source, rendition, time).then(|| made(version, TRANSPORT_STREAM, link, name))
        }
        Resource::Packed { track, packing, time, .. } => {
            let view: TrackView<'_> = source.track(track)?;
            let content_type = packing.media_type();
            let name = format!("{track}-{}", time.0);
            if packing == Packing::Aac {
                let is_there = ts::carries(&view, packing) && view.segment_at(time).is_some();
                let rendition = Rendition { name: track, track, sound: None };
                let link = |out: &mut String| url::push_segment(out, rendition, time, packing.extension());
                return is_there.then(|| made(version, content_type, link, name));
            }
            let body = ts::packed(&view, packing, time)?;
            Some(Described::Stored { kind: Kind::Segment, content_type, name, body })
        }
        Resource::KeyFrame { track, time, .. } => {
            let is_there = ts::has_key_frame(&source.track(track)?, time);
            let link = |out: &mut String| url::push_key_frame(out, track, time);
            is_there.then(|| made(version, TRANSPORT_STREAM, link, format!("{track}-iframe-{}", time.0)))
        }
        Resource::TextSegment { track, time, .. } => {
            let view = text_track(source, track)?;
            let body = ts::text_segment(&source.presentation(), &view, time)?;
            Some(Described::Stored { kind: Kind::Text, content_type: VTT, name: format!("{track}-{}", time.0), body })
        }
        Resource::Multivariant | Resource::MediaPlaylist { .. } | Resource::KeyFramePlaylist { .. } => None,
    }
}

fn made(version: &str, content_type: &'static str, push_link: impl Fn(&mut String), name: String) -> Described {
    let mut link = format!("{version}/");
    push_link(&mut link);
    Described::Made { content_type, link, name }
}

fn is_segment<S: Source>(source: &S, rendition: Rendition<'_>, time: Ticks) -> bool {
    let sound = rendition.sound.map(|sound| source.track(sound));
    match (source.track(rendition.track), sound) {
        (Some(view), None) => ts::has_segment(&source.presentation(), &view, None, time),
        (Some(view), Some(Some(sound))) => ts::has_segment(&source.presentation(), &view, Some(&sound), time),
        _ => false,
    }
}
