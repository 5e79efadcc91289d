//! Answers that the connection gives by itself: to heads it cannot read, and when there is no room or no file.

use bytes::Bytes;

use crate::base::limits;
use crate::http::{Kind, Response, Status};

/// A refusal with one sentence as body. Never cached: it is about this request, not about the resource.
pub(super) fn refusal(status: Status, reason: &'static str) -> Response {
    Response {
        status,
        kind: Kind::Other,
        fields: Bytes::from_static(b"Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"),
        body: Bytes::from(format!("{reason}\n")).into(),
    }
}

/// Above `connections_max`.
pub(super) fn overloaded() -> Response {
    let mut response = refusal(Status(503), "too many connections; try again later");
    let fields = [&response.fields[..], format!("Retry-After: {}\r\n", limits::RETRY_AFTER_SECS).as_bytes()].concat();
    response.fields = fields.into();
    response
}

pub(super) fn head_timeout() -> Response {
    refusal(Status(408), "the request head did not arrive in time")
}

pub(super) fn damaged() -> Response {
    refusal(Status(500), "a file of this asset is damaged")
}

pub(super) fn not_loaded() -> Response {
    refusal(Status(500), "what this answer needs could not be loaded")
}

pub(super) fn head_too_large() -> Response {
    refusal(Status(431), "the request head is too large")
}
