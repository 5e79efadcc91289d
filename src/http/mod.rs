//! HTTP/1.1 without sockets: heads in, heads out, ranges, conditions, dates (RFC 9110, RFC 9112), signatures.

pub mod conditional;
pub mod date;
pub mod discard;
mod fields;
pub mod range;
pub mod request;
pub mod response;
pub mod sigv4;
pub mod uri;

pub use request::Request;
pub use response::{Framing, Kind, Response, Status};
