//! From a request to what is to be done about it, as a pure function of the request, the snapshots and the time.

pub mod playback;

use std::sync::Arc;

use crate::http::{Request, Response};
use crate::library::{Entry, Library};

/// What a connection has to do to answer a request.
pub enum Answer {
    Ready(Response),
    /// Something slow has to happen first: give it to the helper pool, then ask again.
    Load(Load),
}

/// Work that must not happen on a delivery worker.
pub enum Load {
    /// The asset is not open.
    Open(Arc<Entry>),
    /// A manifest is too large to be compressed in place.
    Compress(Arc<playback::Manifest>),
}

/// What answers are made from; one per server, shared by all workers.
pub struct Service {
    pub library: Arc<Library>,
}

/// The worker's clock, read once a turn.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Seconds since 1970.
    pub unix: u64,
}

impl Service {
    pub fn answer(&self, request: &Request<'_>, now: Now) -> Answer {
        let _ = (request, now);
        todo!()
    }

    /// Runs on the helper pool; may block. Never panics on what it finds on disk.
    pub fn load(&self, load: Load) {
        let _ = load;
        todo!()
    }
}
