//! Protocols that bring media in, without sockets and without a clock: bytes of requests and connections in,
//! [`crate::media::feed`] out.

pub mod cmaf;
pub mod dash_push;
pub mod hls_push;
pub mod name;
pub mod push;
pub mod renditions;
pub mod rtmp;
