//! A DASH packager that puts its files to a server: an MPD, headers, segments that arrive as they are made (ffmpeg
//! `-f dash -ldash 1 -streaming 1 -method PUT`).
//!
//! Which Representation a segment is of is told by its name, so that it need not wait for the MPD, which ffmpeg sends
//! after the first segment. The MPD says what names leave open: languages, roles, names of no usual form, and the end.

mod manifest;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use thiserror::Error as ThisError;

use crate::base::limits::PUSHED_MANIFEST_BYTES_MAX;
use crate::media::feed::Event;

use super::name;
use super::renditions::{self, Labels, Renditions};
use manifest::{Manifest, Template};

/// What one encoder sends to one channel. Requests may overlap. That it deletes old segments says nothing about the feed,
/// and is not for this module to know.
#[derive(Debug, Default)]
pub struct Publisher {
    renditions: Renditions,
    /// Of segments whose header has another name than they have.
    templates: Vec<(Template, String)>,
    labels: Vec<(String, Labels)>,
    is_ending: bool,
}

/// A request that was begun.
#[derive(Debug)]
pub enum Request {
    Media(renditions::Request),
    Manifest { directory: String, body: BytesMut },
}

/// Why a request is refused.
#[derive(Debug, ThisError)]
pub enum Error {
    #[error(transparent)]
    Media(#[from] renditions::Error),
    #[error("found an MPD of more than {PUSHED_MANIFEST_BYTES_MAX} bytes, expected a smaller one")]
    ManifestTooLarge,
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
}

impl Publisher {
    /// `name` is the path below the channel, percent-decoded.
    pub fn begin(&mut self, name: &str) -> Result<Request, Error> {
        if name.to_ascii_lowercase().ends_with(".mpd") {
            let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned();
            return Ok(Request::Manifest { directory, body: BytesMut::new() });
        }
        let stem = match self.templates.iter().find(|(template, _)| template.matches(name)) {
            Some((_, stem)) => stem.clone(),
            None => name::of_segment(name).map_err(renditions::Error::from)?,
        };
        let request = self.renditions.begin(&stem)?;
        if let Some((_, labels)) = self.labels.iter().find(|(labelled, _)| *labelled == stem) {
            self.renditions.label(&stem, labels.clone());
        }
        Ok(Request::Media(request))
    }

    /// The next bytes of a request's body. After an error the request's other bytes are ignored.
    pub fn handle(&mut self, request: &mut Request, bytes: Bytes) -> Result<(), Error> {
        match request {
            Request::Media(request) => Ok(self.renditions.handle(request, bytes)?),
            Request::Manifest { body, .. } if body.len() + bytes.len() > PUSHED_MANIFEST_BYTES_MAX => {
                Err(Error::ManifestTooLarge)
            }
            Request::Manifest { body, .. } => {
                body.extend_from_slice(&bytes);
                Ok(())
            }
        }
    }

    /// The body is whole.
    pub fn finish(&mut self, request: Request) -> Result<(), Error> {
        let result = match request {
            Request::Media(request) => self.renditions.finish(&request).map_err(Error::from),
            Request::Manifest { directory, body } => self.manifest(&directory, &body),
        };
        self.end_when_idle();
        result
    }

    /// The connection broke before the body was whole.
    pub fn abandon(&mut self, request: Request) {
        if let Request::Media(request) = request {
            self.renditions.abandon(&request);
            self.end_when_idle();
        }
    }

    /// The next event, and the name of the rendition it is of.
    pub fn poll(&mut self) -> Option<(Arc<str>, Event)> {
        self.renditions.poll()
    }

    fn manifest(&mut self, directory: &str, body: &[u8]) -> Result<(), Error> {
        let manifest = Manifest::read(directory, body)?;
        self.templates.clear();
        self.labels.clear();
        for representation in manifest.representations {
            let Some(header) = &representation.initialization else { continue };
            let Ok(stem) = name::of_segment(header) else { continue };
            self.renditions.label(&stem, representation.labels.clone());
            self.labels.push((stem.clone(), representation.labels));
            self.templates.extend(representation.media.map(|media| (media, stem)));
        }
        // The last MPD may overtake the last segments, which are on connections of their own.
        self.is_ending = manifest.is_static;
        Ok(())
    }

    fn end_when_idle(&mut self) {
        if self.is_ending && self.renditions.is_idle() {
            self.is_ending = false;
            self.renditions.end();
        }
    }
}
