//! Live channels: what encoders send becomes segments on a grid of media time, in files that grow.
//!
//! Nothing here opens a file, a socket or a clock. A [`ChannelWriter`] is told what happens (a publisher's events, the time,
//! how a disk operation went) and says what to do on disk ([`Op`]); `intake` does it. What viewers read is a [`Channel`]: an
//! immutable [`Snapshot`] that is swapped in whole, after the bytes it speaks of are written, and a watch per track.
//!
//! ```text
//! media::feed::Event
//!   → session      who publishes, who stands by
//!   → timeline     the publisher's clock → media time; jumps, gaps, lattice of frames
//!   → grid         where segments begin; decided once
//!   → segmenter    samples → parts → segments
//!   → Op::Append … Op::Row, and back as `completed`
//!   → snapshot     what viewers see; watches advance
//! ```

mod channel;
mod grid;
mod marks;
mod op;
mod options;
mod pieces;
mod received;
mod segmenter;
mod session;
mod shelf;
mod snapshot;
mod state;
mod timeline;
mod track;
mod writer;

pub use crate::store::scan::FoundChunk;
pub use channel::{Channel, Channels};
pub use op::{Failure, FileName, FoundFile, Lane, Op, Opened, Outcome, Recovered};
pub use options::{Options, Redundancy, Refusal, SessionId, SourceName};
pub use snapshot::{Located, Snapshot, TimeRange};
pub use writer::{ChannelWriter, Counts};
