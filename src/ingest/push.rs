//! HLS push or DASH push: what one packager puts, told apart by what comes.
//!
//! Fragments are called the same in both (`init.mp4`, `1.m4s`), and the manifest that says which it is comes after the
//! first of them (ffmpeg). Headers tell nothing and are small, so they wait; the first fragment decides. Where the names
//! alone pair it with a header, as names of DASH do, it is DASH; where they do not, only a playlist can say which header
//! it needs, so it is HLS. An MPD says so itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::name::{self, Protocol};
use super::{dash_push, hls_push};
use crate::media::feed::Event;

/// What one encoder sends to one channel. Requests may overlap.
#[derive(Debug, Default)]
pub struct Publisher {
    hls: hls_push::Publisher,
    dash: dash_push::Publisher,
    style: Option<Style>,
    /// While nothing has decided, by the name that DASH would give their rendition.
    headers: BTreeMap<String, Header>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Hls,
    Dash,
}

/// A header that came, or is coming, before it was known what for. HLS push has it already: it makes nothing of a header
/// by itself.
#[derive(Debug)]
struct Header {
    path: String,
    body: BytesMut,
    is_finished: bool,
    /// Once it turned out to be of DASH.
    dash: Option<dash_push::Request>,
}

/// A request that was begun.
#[derive(Debug)]
pub enum Request {
    Hls(hls_push::Request),
    Dash(dash_push::Request),
    /// By its key in `headers`.
    Header(String, hls_push::Request),
}

/// What comes of a rendition.
#[derive(Debug)]
pub enum Output {
    Event(Event),
    /// Something was left out: for the log.
    Notice(crate::media::mpegts::Notice),
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Hls(#[from] hls_push::Error),
    #[error(transparent)]
    Dash(#[from] dash_push::Error),
}

impl Publisher {
    /// `name` is the path below the channel, percent-decoded.
    pub fn begin(&mut self, name: &str) -> Result<Request, Error> {
        let style = match name::protocol(name) {
            Protocol::HlsPush => Style::Hls,
            // ffmpeg writes playlists beside the MPD, if it is told to: whoever sends an MPD packages DASH.
            Protocol::DashPush if name::is_manifest(name) => {
                self.decide(Style::Dash);
                Style::Dash
            }
            _ => match (self.style, name::is_header(name)) {
                (Some(style), _) => style,
                (None, true) => return self.header(name),
                (None, false) => self.style_of(name),
            },
        };
        if self.style.is_none() {
            self.decide(style);
        }
        Ok(match style {
            Style::Hls => Request::Hls(self.hls.begin(name)?),
            Style::Dash => Request::Dash(self.dash.begin(name)?),
        })
    }

    /// The next bytes of a request's body. After an error the request's other bytes are ignored.
    pub fn handle(&mut self, request: &mut Request, bytes: Bytes) -> Result<(), Error> {
        match request {
            Request::Hls(request) => Ok(self.hls.handle(request, bytes)?),
            Request::Dash(request) => Ok(self.dash.handle(request, bytes)?),
            Request::Header(key, request) => {
                match self.headers.get_mut(key) {
                    Some(Header { dash: Some(request), .. }) => return Ok(self.dash.handle(request, bytes)?),
                    Some(header) => header.body.extend_from_slice(&bytes),
                    None => {}
                }
                // Which bounds what a header may be.
                let taken = self.hls.handle(request, bytes);
                if taken.is_err() {
                    self.headers.remove(key);
                }
                Ok(taken?)
            }
        }
    }

    /// The body is whole.
    pub fn finish(&mut self, request: Request) -> Result<(), Error> {
        match request {
            Request::Hls(request) => Ok(self.hls.finish(request)?),
            Request::Dash(request) => Ok(self.dash.finish(request)?),
            Request::Header(key, request) => {
                let of_dash = self.headers.get_mut(&key).and_then(|header| {
                    header.is_finished = true;
                    header.dash.take()
                });
                if let Some(request) = of_dash {
                    self.headers.remove(&key);
                    return Ok(self.dash.finish(request)?);
                }
                Ok(self.hls.finish(request)?)
            }
        }
    }

    /// The connection broke before the body was whole.
    pub fn abandon(&mut self, request: Request) {
        match request {
            Request::Hls(request) => self.hls.abandon(request),
            Request::Dash(request) => self.dash.abandon(request),
            Request::Header(key, request) => {
                self.hls.abandon(request);
                if let Some(request) = self.headers.remove(&key).and_then(|header| header.dash) {
                    self.dash.abandon(request);
                }
            }
        }
    }

    /// The next of what came of the requests, and the name of the rendition it is of.
    pub fn poll(&mut self) -> Option<(Arc<str>, Output)> {
        if let Some((name, event)) = self.dash.poll() {
            return Some((name, Output::Event(event)));
        }
        let (name, output) = self.hls.poll()?;
        let output = match output {
            hls_push::Output::Event(event) => Output::Event(event),
            hls_push::Output::Notice(notice) => Output::Notice(notice),
        };
        Some((name, output))
    }

    fn header(&mut self, name: &str) -> Result<Request, Error> {
        let request = self.hls.begin(name)?;
        // A name that DASH could not use is no header of DASH.
        let Ok(key) = name::of_segment(name) else { return Ok(Request::Hls(request)) };
        if self.headers.len() >= HEADERS_MAX && !self.headers.contains_key(&key) {
            return Ok(Request::Hls(request));
        }
        let header = Header { path: name.to_owned(), body: BytesMut::new(), is_finished: false, dash: None };
        self.headers.insert(key.clone(), header);
        Ok(Request::Header(key, request))
    }

    fn style_of(&self, name: &str) -> Style {
        let is_paired = name::of_segment(name).is_ok_and(|key| self.headers.contains_key(&key));
        if is_paired { Style::Dash } else { Style::Hls }
    }

    /// Headers go where they belong.
    fn decide(&mut self, style: Style) {
        self.style = Some(style);
        let mut headers = std::mem::take(&mut self.headers);
        if style == Style::Hls {
            return;
        }
        headers.retain(|_, header| {
            if header.dash.is_some() {
                return true;
            }
            // Who sent it was answered, or is told of what follows.
            let Ok(mut request) = self.dash.begin(&header.path) else { return false };
            let _ = self.dash.handle(&mut request, header.body.split().freeze());
            if header.is_finished {
                let _ = self.dash.finish(request);
                return false;
            }
            header.dash = Some(request);
            true
        });
        self.headers = headers;
    }
}

/// Headers that wait: as many as one encoder may have renditions. Each is at most what HLS push takes for a header.
const HEADERS_MAX: usize = crate::base::limits::PUBLISHER_RENDITIONS_MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(publisher: &mut Publisher, name: &str) {
        let Ok(mut request) = publisher.begin(name) else { return };
        let _ = publisher.handle(&mut request, Bytes::from_static(b"\0\0\0\x08ftyp"));
        let _ = publisher.finish(request);
    }

    #[test]
    fn what_comes_first_tells_the_style() {
        for (names, want) in [
            (&["init.mp4", "main0.m4s", "main.m3u8"][..], Some(Style::Hls)),
            (&["main0.m4s"], Some(Style::Hls)),
            (&["v0/init.mp4", "v0/data00.m4s"], Some(Style::Hls)),
            (&["main.m3u8"], Some(Style::Hls)),
            (&["seg0.ts"], Some(Style::Hls)),
            (&["init-stream0.m4s", "init-stream1.m4s", "chunk-stream0-00001.m4s", "main.mpd"], Some(Style::Dash)),
            (&["init-stream0.m4s", "chunk-stream0-00001.m4s", "main.mpd", "main.m3u8"], Some(Style::Dash)),
            (&["720p/init.mp4", "720p/1.m4s"], Some(Style::Dash)),
            (&["main.mpd"], Some(Style::Dash)),
            (&["main.m3u8", "main.mpd"], Some(Style::Dash)),
            (&["init.mp4"], None),
        ] {
            let mut publisher = Publisher::default();
            names.iter().for_each(|name| put(&mut publisher, name));
            assert_eq!(publisher.style, want, "{names:?}");
        }
    }

    #[test]
    fn a_header_goes_on_where_it_turned_out_to_belong() {
        let mut publisher = Publisher::default();
        let mut header = publisher.begin("init-stream0.m4s").unwrap();
        publisher.handle(&mut header, Bytes::from_static(b"\0\0\0\x10ftyp")).unwrap();
        let segment = publisher.begin("chunk-stream0-1.m4s").unwrap();
        assert!(matches!(segment, Request::Dash(_)));
        publisher.handle(&mut header, Bytes::from_static(b"isom\0\0\0\0")).unwrap();
        publisher.finish(header).unwrap();
        assert!(publisher.headers.is_empty());
        publisher.abandon(segment);
    }

    proptest! {
        #[test]
        fn anything_may_be_put(puts in prop::collection::vec(
            (prop::sample::select(vec!["init.mp4", "init-0.m4s", "chunk-0-1.m4s", "a1.m4s", "a.m3u8", "a.mpd"]),
             prop::collection::vec(any::<u8>(), 0..64)), 0..12)) {
            let mut publisher = Publisher::default();
            let mut open = Vec::new();
            for (name, body) in puts {
                let Ok(mut request) = publisher.begin(name) else { continue };
                let _ = publisher.handle(&mut request, body.into());
                open.push(request);
                if open.len() > 2 {
                    let _ = publisher.finish(open.remove(0));
                }
            }
            open.into_iter().for_each(|request| publisher.abandon(request));
            while publisher.poll().is_some() {}
        }
    }
}
