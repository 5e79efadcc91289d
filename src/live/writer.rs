//! One channel being made: publishers' events in, disk operations and snapshots out.

use std::sync::Arc;
use std::time::Duration;

use super::channel::Channel;
use super::op::{Failure, Lane, Op, Outcome, Recovered};
use super::options::{Options, Refusal, SessionId, SourceName};
use super::snapshot::Snapshot;
use crate::media::feed::Event;

/// The state machine of one channel. All times are wall-clock time since 1970, and never read here.
///
/// Whoever drives it: call [`ChannelWriter::poll`] until it gives nothing after each of the other calls, do what it says,
/// and report back through [`ChannelWriter::completed`]. Call [`ChannelWriter::tick`] a few times a second.
pub struct ChannelWriter {
    channel: Arc<Channel>,
    options: Options,
}

impl ChannelWriter {
    /// Goes on with what was found on disk. The channel's snapshot has the recovered window at once.
    pub fn new(options: Options, recovered: Recovered, now: Duration) -> ChannelWriter {
        let _ = (recovered, now);
        let channel = Arc::new(Channel::new(&options.name, Snapshot::empty(Vec::new())));
        ChannelWriter { channel, options }
    }

    /// What readers hold; the same for as long as the writer lives.
    pub fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// A publisher wants in.
    pub fn publish(&mut self, source: SourceName, now: Duration) -> Result<SessionId, Refusal> {
        let _ = (source, now);
        Err(Refusal::Busy { channel: self.options.name.clone() })
    }

    /// What a publisher sends. An error: it is no longer wanted, and its connection is to be closed.
    pub fn feed(&mut self, session: SessionId, event: Event, now: Duration) -> Result<(), Refusal> {
        let _ = (session, event, now);
        Ok(())
    }

    /// A publisher is gone, whether it said goodbye or not.
    pub fn unpublish(&mut self, session: SessionId, now: Duration) {
        let _ = (session, now);
    }

    /// Time passes: silent tracks are closed, standbys step in, old files go, syncs are due.
    pub fn tick(&mut self, now: Duration) {
        let _ = now;
    }

    /// The next thing to do on disk that may be begun now.
    pub fn poll(&mut self) -> Option<Op> {
        None
    }

    /// How the operation of this lane went. What it made visible is published before this returns.
    pub fn completed(&mut self, lane: Lane, outcome: Result<Outcome, Failure>, now: Duration) {
        let _ = (lane, outcome, now);
    }

    /// Bytes that wait to be written. A driver stops reading from its publishers while this is high.
    pub fn pending_bytes(&self) -> usize {
        0
    }

    /// New options from the operator. The grid of a channel that has published stays.
    pub fn configure(&mut self, options: Options) {
        self.options = options;
    }
}
