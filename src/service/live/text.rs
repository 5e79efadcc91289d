//! Segments and parts of WebVTT, made of the ones that are stored.

use std::sync::Once;

use bytes::Bytes;

use super::super::Wait;
use super::super::representation::{Coding, Description, Representation};
use super::{Live, NO_STORE_FIELD, Outcome, Source, patience, segment_cache_control};
use crate::base::limits::RETRY_AFTER_SECS;
use crate::base::{Extent, Payload, Watermark};
use crate::http::{Kind, Request, Response, Status};
use crate::live::Located;
use crate::media::broadcast::Position;
use crate::package::hls;

const VTT: &str = "text/vtt; charset=utf-8";

impl Live {
    /// A segment or part of WebVTT, made of the one that is stored.
    pub(super) fn text<S: Source>(
        &self,
        request: &Request<'_>,
        source: &S,
        (track, number): (&str, u64),
        located: Located,
        etag: std::fmt::Arguments<'_>,
    ) -> Outcome {
        let Some((broadcast, _)) = source.broadcast(None).zip(source.edge()) else { return Outcome::Missing };
        let found = broadcast.track(track).filter(|live| hls::is_webvtt(live.track));
        let Some(live) = found else { return Outcome::Missing };
        let (scale, patience) = (live.track.timescale, patience(&broadcast, live));
        let wait = |until| Outcome::Wait(Wait { until, patience, otherwise: Box::new(self.missing.clone()) });
        let text = match located {
            Located::Whole(extent) => {
                // What has left the window is still there, and of the same format as what comes after it.
                let init = live.segments(number).next().and_then(|segment| source.init(track, segment.init));
                let Some(init) = init else { return Outcome::Missing };
                let needed = [&init, &extent];
                if needed.iter().any(|extent| extent.file.is_damaged()) {
                    return Outcome::Ready(damaged());
                }
                let absent: Vec<Extent> =
                    needed.into_iter().filter(|extent| !source.is_resident(extent)).cloned().collect();
                if !absent.is_empty() {
                    return Outcome::Read(absent);
                }
                let (Some(header), Some(media)) = (mapped(&init), mapped(&extent)) else {
                    return Outcome::Ready(unreadable(&extent));
                };
                let Some(text) = hls::live_text_segment(header, media, scale) else {
                    if extent.file.mark_damaged() {
                        tracing::error!(
                            ?extent,
                            "text of a channel is not what was written: it was cut or its disk fails"
                        );
                    }
                    return Outcome::Ready(damaged());
                };
                text
            }
            Located::Gap { time, .. } => hls::live_text_gap(time, scale),
            // It is asked for before it is listed: when it is whole.
            Located::Growing(_) => {
                let target = Position { number: number.saturating_add(1), parts: 0 }.mark();
                let Some(watch) = source.watch(track) else { return Outcome::Missing };
                return wait(Watermark { watch: watch.clone(), target });
            }
            Located::Later(until) => return wait(until),
            Located::Missing => return Outcome::Missing,
        };
        let cache_control = segment_cache_control(&broadcast);
        let description = Description {
            kind: Kind::Text,
            content_type: VTT,
            coding: Coding::Only,
            etag,
            last_modified: None,
            cache_control: &cache_control,
        };
        let body = Payload::from(Bytes::from(text));
        Outcome::Ready(Representation::new(description, body).respond(request))
    }
}

/// Zeros where the file was cut; `None` where it is not mapped.
pub(super) fn mapped(extent: &Extent) -> Option<&[u8]> {
    extent.file.mapped()?.get(usize::try_from(extent.offset).ok()?..usize::try_from(extent.end()).ok()?)
}

pub(super) fn damaged() -> Response {
    Response::error(Status::INTERNAL_SERVER_ERROR, "the files of this channel are damaged", NO_STORE_FIELD)
}

/// There is nothing wrong with the file; it is the process that has no room for it. Said once, as it concerns all files that
/// are opened from then on.
pub(super) fn unreadable(extent: &Extent) -> Response {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::error!(
            ?extent,
            "a file is not mapped, so nothing can be made of it: the process maps too many, see vm.max_map_count"
        );
    });
    let fields = format!("{NO_STORE_FIELD}Retry-After: {RETRY_AFTER_SECS}\r\n");
    Response::error(Status::SERVICE_UNAVAILABLE, "what this is made of cannot be read at the moment", &fields)
}
