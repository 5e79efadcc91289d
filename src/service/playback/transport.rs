//! HLS with MPEG-TS segments.

use crate::base::{Payload, Ticks};
use crate::http::{Kind, Request};
use crate::media::TrackView;
use crate::package::ts::url::{Rendition, Resource};
use crate::package::ts::{self, Packing};
use crate::store::derived::Found;

use super::{KeyRef, Outcome, Playback, Source, Text, VTT, Wanted, immutable, text_track};

/// RFC 8216bis §3.1.1.
const TRANSPORT_STREAM: &str = "video/mp2t";

/// A segment, before it is known whether it has been made.
enum Described {
    /// Of stored bytes.
    Stored {
        kind: Kind,
        content_type: &'static str,
        name: String,
        body: Payload,
    },
    Made {
        content_type: &'static str,
        extension: &'static str,
        rendition: String,
        time: Ticks,
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
            _ => {}
        }
        let Some(source) = open else { return Outcome::Closed };
        let described = describe(source, resource);
        if source.is_damaged() {
            return Outcome::Damaged;
        }
        let (kind, content_type, name, body) = match described {
            None => return Outcome::Missing,
            Some(Described::Stored { kind, content_type, name, body }) => (kind, content_type, name, body),
            Some(Described::Made { content_type, extension, rendition, time }) => {
                let name = format!("{rendition}-{}", time.0);
                let key = format!("{version}/{name}.{extension}");
                match self.derived.find(&key) {
                    Some(Found::Made(body)) => (Kind::Segment, content_type, name, body),
                    Some(Found::Impossible) => return Outcome::Unmade,
                    None => {
                        return Outcome::Make(Wanted { key: key.into(), rendition: rendition.into(), time });
                    }
                }
            }
        };
        let etag = format_args!("{version}-ts-{name}");
        Outcome::Ready(immutable(source, kind, content_type, etag, body).respond(request))
    }
}

/// `None`: nothing has that name.
fn describe<S: Source>(source: &S, resource: Resource<'_>) -> Option<Described> {
    match resource {
        Resource::Segment { rendition, time, .. } => {
            let made = Described::Made {
                content_type: TRANSPORT_STREAM,
                extension: "ts",
                rendition: rendition.name.to_owned(),
                time,
            };
            is_segment(source, rendition, time).then_some(made)
        }
        Resource::Packed { track, packing, time, .. } => {
            let view: TrackView<'_> = source.track(track)?;
            let content_type = packing.media_type();
            if packing == Packing::Aac {
                let is_there = ts::carries(&view, packing) && view.segment_at(time).is_some();
                let rendition = track.to_owned();
                return is_there.then_some(Described::Made { content_type, extension: "aac", rendition, time });
            }
            let body = ts::packed(&view, packing, time)?;
            Some(Described::Stored { kind: Kind::Segment, content_type, name: format!("{track}-{}", time.0), body })
        }
        Resource::TextSegment { track, time, .. } => {
            let view = text_track(source, track)?;
            let body = ts::text_segment(&source.presentation(), &view, time)?;
            Some(Described::Stored { kind: Kind::Text, content_type: VTT, name: format!("{track}-{}", time.0), body })
        }
        Resource::Multivariant | Resource::MediaPlaylist { .. } => None,
    }
}

fn is_segment<S: Source>(source: &S, rendition: Rendition<'_>, time: Ticks) -> bool {
    let sound = rendition.sound.map(|sound| source.track(sound));
    match (source.track(rendition.track), sound) {
        (Some(view), None) => ts::has_segment(&source.presentation(), &view, None, time),
        (Some(view), Some(Some(sound))) => ts::has_segment(&source.presentation(), &view, Some(&sound), time),
        _ => false,
    }
}
