//! A run of a file that is still being written, for followers that take the bytes as they come.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::Stored;
use super::watch::{ENDED, Watch};

/// A run of bytes from `start` to wherever the writer ends it: a live segment being made, an object being uploaded, a
/// cache being filled.
#[derive(Clone)]
pub struct Growing {
    pub file: Arc<dyn Stored>,
    pub start: u64,
    pub progress: Arc<Progress>,
}

/// How far the run has come, shared by its writer and its followers.
pub struct Progress {
    /// Offset in the file up to which bytes may be read; [`ENDED`] once the run is complete or given up.
    watch: Arc<Watch>,
    end: OnceLock<End>,
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At this offset in the file.
    Complete(u64),
    /// The writer gave up: followers must not take what they have for the whole.
    Broken,
}

impl fmt::Debug for Growing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}..], {:?}", self.file.name(), self.start, self.progress.reached())
    }
}

impl Progress {
    /// Bytes below `offset` may be read.
    pub fn new(offset: u64) -> Progress {
        Progress { watch: Arc::new(Watch::new(offset)), end: OnceLock::new() }
    }

    /// What followers wait on: its mark is the offset up to which bytes may be read, or [`ENDED`].
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Bytes below `offset` may be read now; they are written, and will not change.
    pub fn advance(&self, offset: u64) {
        self.watch.advance(offset);
    }

    /// Nothing follows. The first end counts.
    pub fn finish(&self, end: End) {
        let _ = self.end.set(end);
        self.watch.advance(ENDED);
    }

    /// Up to where bytes may be read, and how the run ended if it has.
    pub fn reached(&self) -> (u64, Option<End>) {
        // The mark first: an end that is set later is found when its advance wakes the follower.
        let mark = self.watch.mark();
        match self.end.get() {
            Some(End::Complete(offset)) => (*offset, Some(End::Complete(*offset))),
            Some(End::Broken) => (if mark == ENDED { 0 } else { mark }, Some(End::Broken)),
            None => (mark, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_grows_and_ends_once() {
        let progress = Progress::new(100);
        assert_eq!(progress.reached(), (100, None));
        progress.advance(150);
        assert_eq!(progress.reached(), (150, None));
        progress.finish(End::Complete(180));
        progress.finish(End::Broken);
        assert_eq!(progress.reached(), (180, Some(End::Complete(180))));
        assert_eq!(progress.watch().mark(), ENDED);
    }
}
