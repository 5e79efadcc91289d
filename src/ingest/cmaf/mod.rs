//! DASH-IF Live Media Ingest, interface 1: a CMAF track by one POST or PUT that lasts, or by one for each segment.
//!
//! The name says which track, so that a connection that is lost goes on with the next of the same name; several tracks in
//! one request, as ffmpeg sends them, are taken apart.

#[cfg(test)]
pub(in crate::ingest) mod tests;

use std::sync::Arc;

use bytes::Bytes;

use crate::media::feed::Event;

pub use super::renditions::{Error, Request};
use super::{name, renditions::Renditions};

/// What one encoder sends to one channel. Requests may overlap.
#[derive(Debug, Default)]
pub struct Publisher {
    renditions: Renditions,
}

impl Publisher {
    /// `name` is the path below the channel, percent-decoded.
    pub fn begin(&mut self, name: &str) -> Result<Request, Error> {
        self.renditions.begin(&name::of_track(name)?)
    }

    /// The next bytes of a request's body. After an error the request's other bytes are ignored.
    pub fn handle(&mut self, request: &Request, bytes: Bytes) -> Result<(), Error> {
        self.renditions.handle(request, bytes)
    }

    /// The body is whole.
    pub fn finish(&mut self, request: &Request) -> Result<(), Error> {
        self.renditions.finish(request)
    }

    /// The connection broke before the body was whole.
    pub fn abandon(&mut self, request: &Request) {
        self.renditions.abandon(request);
    }

    /// The next event, and the name of the rendition it is of.
    pub fn poll(&mut self) -> Option<(Arc<str>, Event)> {
        self.renditions.poll()
    }
}
