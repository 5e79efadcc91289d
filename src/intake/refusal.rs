//! Why an encoder is sent away, and what it is told: the one place where that becomes an HTTP status.

use std::time::Duration;

use hyper::StatusCode;
use thiserror::Error;

use super::recorder::Refused;
use crate::base::limits;
use crate::ingest::{cmaf, dash_push, hls_push, push, renditions};
use crate::live;
use crate::media::isobmff::stream;

#[derive(Debug, Error)]
pub enum Refusal {
    #[error("a publish key is needed: as basic password, as bearer token, or as ?key=")]
    NoKey,
    #[error("this is not the publish key of channel {channel}")]
    WrongKey { channel: String },
    #[error("too many wrong keys from this address; try again in {} s", .wait.as_secs() + 1)]
    Guessing { wait: Duration },
    #[error("there is no channel {channel}")]
    NoChannel { channel: String },
    #[error("channel {channel} is not enabled")]
    Disabled { channel: String },
    #[error("the disk is full, and nothing of the channel's past is left to make room; what came was not kept")]
    Full,
    #[error("the channel was stopped")]
    Stopped,
    #[error("nothing here; encoders send to /ingest/{{channel}}/{{name}}, or over RTMP to live/{{channel}}")]
    NoPlace,
    #[error("POST, PUT and DELETE only; players get the channel elsewhere")]
    Method,
    #[error("this server takes no connections of encoders beyond the {max} it has")]
    Connections { max: usize },
    #[error("nothing came for {} s", .after.as_secs())]
    Silent { after: Duration },
    #[error("the connection broke: {0}")]
    Broken(hyper::Error),
    #[error(transparent)]
    Live(#[from] live::Refusal),
    #[error(transparent)]
    Cmaf(#[from] cmaf::Error),
    #[error(transparent)]
    Push(#[from] push::Error),
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        match refused {
            Refused::Refusal(refusal) => Refusal::Live(refusal),
            Refused::Gone => Refusal::Stopped,
        }
    }
}

impl Refusal {
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::NoKey => StatusCode::UNAUTHORIZED,
            Refusal::WrongKey { .. } | Refusal::Disabled { .. } => StatusCode::FORBIDDEN,
            Refusal::Guessing { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::NoChannel { .. } | Refusal::NoPlace => StatusCode::NOT_FOUND,
            Refusal::Stopped | Refusal::Connections { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Full => StatusCode::INSUFFICIENT_STORAGE,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Silent { .. } => StatusCode::REQUEST_TIMEOUT,
            Refusal::Broken(_) => StatusCode::BAD_REQUEST,
            Refusal::Live(refusal) => of_live(refusal),
            Refusal::Cmaf(error) | Refusal::Push(push::Error::Dash(dash_push::Error::Media(error))) => of_media(error),
            Refusal::Push(push::Error::Dash(dash_push::Error::ManifestTooLarge)) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Push(push::Error::Dash(dash_push::Error::Manifest(_))) => StatusCode::BAD_REQUEST,
            Refusal::Push(push::Error::Hls(error)) => of_hls(error),
            // §5.2: its encoder sends the header again, and the fragment behind it.
            Refusal::Push(push::Error::NoHeader { .. }) => StatusCode::PRECONDITION_FAILED,
            Refusal::Push(push::Error::LongHeader { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }

    /// Whether the encoder did nothing wrong and may come back soon.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Refusal::Guessing { wait } => Some(wait.as_secs() + 1),
            Refusal::Stopped | Refusal::Full | Refusal::Connections { .. } => Some(u64::from(limits::RETRY_AFTER_SECS)),
            _ => None,
        }
    }
}

/// Another publisher is in the way, or was put in this one's place: nothing that the encoder could send would help.
fn of_live(refusal: &live::Refusal) -> StatusCode {
    match refusal {
        live::Refusal::Busy { .. } | live::Refusal::Displaced { .. } | live::Refusal::Ended { .. } => {
            StatusCode::CONFLICT
        }
        live::Refusal::TooMany { .. } => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// DASH-IF Live Media Ingest §5.2: a source that gets 412 sends its header again.
fn of_media(error: &renditions::Error) -> StatusCode {
    match error {
        renditions::Error::Stream(stream::Error::NoHeader { .. }) => StatusCode::PRECONDITION_FAILED,
        renditions::Error::Superseded { .. } => StatusCode::CONFLICT,
        renditions::Error::TooMany => StatusCode::SERVICE_UNAVAILABLE,
        renditions::Error::Name(_) | renditions::Error::Stream(_) => StatusCode::BAD_REQUEST,
    }
}

fn of_hls(error: &hls_push::Error) -> StatusCode {
    match error {
        hls_push::Error::NoHeader { .. } | hls_push::Error::Fragmented(stream::Error::NoHeader { .. }) => {
            StatusCode::PRECONDITION_FAILED
        }
        hls_push::Error::Superseded { .. } => StatusCode::CONFLICT,
        hls_push::Error::LongPlaylist { .. } | hls_push::Error::LongHeader { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        hls_push::Error::TooMany { .. } => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::cmaf::Publisher;
    use bytes::Bytes;

    #[test]
    fn statuses() {
        let channel = || "news".to_owned();
        let of_bytes = |bytes: &'static [u8]| {
            let mut publisher = Publisher::default();
            let request = publisher.begin("video.cmfv").unwrap();
            let result =
                publisher.handle(&request, Bytes::from_static(bytes)).and_then(|()| publisher.finish(&request));
            Refusal::Cmaf(result.unwrap_err())
        };
        for (refusal, status, retry) in [
            (Refusal::NoKey, 401, None),
            (Refusal::WrongKey { channel: channel() }, 403, None),
            (Refusal::Guessing { wait: Duration::from_millis(5_500) }, 429, Some(6)),
            (Refusal::NoChannel { channel: channel() }, 404, None),
            (Refusal::Stopped, 503, Some(5)),
            (Refusal::Push(push::Error::Dash(dash_push::Error::ManifestTooLarge)), 413, None),
            (Refusal::Push(push::Error::NoHeader { path: channel() }), 412, None),
            (Refusal::Push(push::Error::LongHeader { path: channel() }), 413, None),
            (Refusal::Full, 507, Some(5)),
            (Refusal::Silent { after: Duration::from_secs(60) }, 408, None),
            (Refusal::Live(live::Refusal::Busy { channel: channel() }), 409, None),
            (of_bytes(b"\0\0\0\x08moof\0\0\0\x08mdat"), 412, None),
            (of_bytes(b"\0\0\0\x01nonsense"), 400, None),
        ] {
            assert_eq!((refusal.status().as_u16(), refusal.retry_after()), (status, retry), "{refusal}");
        }
    }
}
