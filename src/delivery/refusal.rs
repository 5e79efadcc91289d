//! Answers that the connection gives by itself: when there is no head, no room or no file. Never cached: they are about
//! this request, not about the resource.

use crate::base::limits;
use crate::http::{Response, Status};

const NO_STORE_FIELD: &str = "Cache-Control: no-store\r\n";

/// Above `connections_max`.
pub(super) fn overloaded() -> Response {
    let fields = format!("{NO_STORE_FIELD}Retry-After: {}\r\n", limits::RETRY_AFTER_SECS);
    Response::error(Status::SERVICE_UNAVAILABLE, "too many connections; try again later", &fields)
}

pub(super) fn head_timeout() -> Response {
    Response::error(Status::REQUEST_TIMEOUT, "the request head did not arrive in time", NO_STORE_FIELD)
}

pub(super) fn damaged() -> Response {
    Response::error(Status::INTERNAL_SERVER_ERROR, "a file of this asset is damaged", NO_STORE_FIELD)
}

pub(super) fn not_loaded() -> Response {
    Response::error(Status::INTERNAL_SERVER_ERROR, "what this answer needs could not be loaded", NO_STORE_FIELD)
}
