//! RTMP (Adobe's Real Time Messaging Protocol 1.0, December 2012; Enhanced RTMP v2), as far as an encoder needs it that
//! publishes.
//!
//! ```text
//! socket → Connection::handle_input → handshake → chunk::Reader → messages
//!     commands   → answers, Event::Publish, Event::Unpublish
//!     media      → media::flv::Demuxer → Event::Media
//! socket ← Connection::poll_output  ← chunk::Writer
//! ```
//!
//! Own code: `rml_rtmp`, the sans-IO crate there is, bounds neither chunk streams nor the nesting of AMF, and knows nothing
//! of Enhanced RTMP.

mod chunk;
mod connection;
mod handshake;
mod target;

use thiserror::Error;

pub use connection::{Connection, Event, Refusal, StreamId};
pub use target::Target;

use crate::base::limits::{RTMP_CHUNK_STREAMS_MAX, RTMP_COMMAND_BYTES_MAX, RTMP_OUTPUT_BYTES_MAX, RTMP_STREAMS_MAX};
use crate::media::flv::amf;

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error("handshake begins 0x{found:02x}; expected version 3 of RTMP, in the clear")]
    Version { found: u8 },
    #[error("a message of {found} bytes; at most {max} are taken")]
    MessageSize { found: u32, max: usize },
    #[error("a command of {found} bytes; at most {RTMP_COMMAND_BYTES_MAX} are taken")]
    CommandSize { found: usize },
    #[error("unfinished messages of more than {max} bytes together")]
    Partial { max: usize },
    #[error("more than {RTMP_CHUNK_STREAMS_MAX} chunk streams")]
    ChunkStreams,
    #[error("chunk stream {id} goes on with a chunk of type {format}, but has not begun")]
    NoHeader { id: u32, format: u8 },
    #[error("chunk size {found}; expected at least 1")]
    ChunkSize { found: u32 },
    #[error("control message {kind} of {found} bytes; expected {expected}")]
    Control { kind: u8, found: usize, expected: usize },
    #[error("more than {RTMP_STREAMS_MAX} message streams")]
    Streams,
    #[error("{what} before connect")]
    NotConnected { what: String },
    #[error("a command that is none: {0}")]
    Command(#[from] amf::Error),
    #[error("more than {RTMP_OUTPUT_BYTES_MAX} bytes of answers not taken")]
    Output,
}
