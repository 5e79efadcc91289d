//! Protocols that bring media in, without sockets and without a clock: bytes in, [`crate::media::feed`] out.

pub mod rtmp;
