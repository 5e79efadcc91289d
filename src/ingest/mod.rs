//! Protocols that bring media in, without sockets: bytes of requests and connections in, [`crate::media::feed`] out.

pub mod cmaf;
pub mod dash_push;
pub mod name;
pub mod renditions;
