//! HLS push or DASH push: what one packager puts, told apart by what comes.
//!
//! Fragments are called the same in both (`init.mp4`, `1.m4s`), and the manifest that says which it is comes after the
//! first of them (ffmpeg). Headers tell nothing and are small, so they wait; the first fragment decides. Where the names
//! alone pair it with a header, as names of DASH do, it is DASH; where there is only the one header of its directory, as in
//! HLS, it is HLS. A fragment that has come before its header, on another connection, waits as well. Manifests say what
//! they are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::name::{self, Protocol};
use super::{dash_push, hls_push};
use crate::base::limits::{PUBLISHER_RENDITIONS_MAX, WAITING_AGE_MAX, WAITING_BYTES_MAX, WAITING_REQUESTS_MAX};
use crate::media::feed::Event;

/// What one encoder sends to one channel. Requests may overlap.
#[derive(Debug, Default)]
pub struct Publisher {
    hls: hls_push::Publisher,
    dash: dash_push::Publisher,
    style: Option<Style>,
    /// What came, or is coming, before anything had decided: by when it began.
    held: BTreeMap<u64, Held>,
    /// Of the next that is held.
    next: u64,
    notices: VecDeque<Notice>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Hls,
    Dash,
}

#[derive(Debug)]
struct Held {
    path: String,
    /// The name that DASH would give its rendition; `None` if it could not.
    rendition: Option<String>,
    is_header: bool,
    begun: Instant,
    body: BytesMut,
    is_finished: bool,
    progress: Progress,
}

#[derive(Debug, Default)]
enum Progress {
    #[default]
    Waiting,
    /// It is decided, and more of it comes.
    Reading(Request),
    /// What came of it makes no sense where it was decided to belong; whoever sends it is told with the next of it.
    Refused(Error),
}

/// A request that was begun.
#[derive(Debug)]
pub enum Request {
    Hls(hls_push::Request),
    Dash(dash_push::Request),
    /// By its key in `held`.
    Held(u64),
}

/// What comes of a rendition.
#[derive(Debug)]
pub enum Output {
    Event(Event),
    /// Something was left out: for the log.
    Notice(Notice),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    Transport(crate::media::mpegts::Notice),
    /// A fragment that was taken, and has waited for its header in vain.
    Orphan {
        path: String,
        bytes: usize,
    },
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Hls(#[from] hls_push::Error),
    #[error(transparent)]
    Dash(#[from] dash_push::Error),
    #[error("{path:?}: its header has not come, and {WAITING_BYTES_MAX} bytes wait for theirs already; send it again")]
    NoHeader { path: String },
    #[error("{path:?}: found more than {WAITING_BYTES_MAX} bytes, expected a header")]
    LongHeader { path: String },
}

impl Publisher {
    /// `name` is the path below the channel, percent-decoded.
    pub fn begin(&mut self, name: &str, now: Instant) -> Result<Request, Error> {
        self.forget_orphans(now);
        match (name::protocol(name), self.style) {
            // ffmpeg writes playlists beside the MPD, if it is told to: whoever sends an MPD packages DASH.
            (Protocol::DashPush, _) if name::is_manifest(name) => self.decide(Style::Dash),
            // A fragment has waited for it, though the others had told the style.
            (_, Some(Style::Dash))
                if name::is_header(name) && self.holds(false, name::of_segment(name).ok().as_ref()) =>
            {
                return Ok(self.hold(name, now));
            }
            (_, Some(_)) => {}
            (Protocol::HlsPush, None) => self.decide(Style::Hls),
            (_, None) => return self.begin_undecided(name, now),
        }
        match name::protocol(name) {
            Protocol::HlsPush => Ok(Request::Hls(self.hls.begin(name)?)),
            _ => self.begin_as(self.style.unwrap_or(Style::Hls), name),
        }
    }

    /// The next bytes of a request's body. After an error the request's other bytes are ignored.
    pub fn handle(&mut self, request: &mut Request, bytes: Bytes) -> Result<(), Error> {
        match request {
            Request::Hls(request) => Ok(self.hls.handle(request, bytes)?),
            Request::Dash(request) => Ok(self.dash.handle(request, bytes)?),
            Request::Held(number) => {
                let Some(held) = self.held.get_mut(number) else { return Ok(()) };
                if let Progress::Reading(_) = held.progress {
                    let Progress::Reading(mut request) = std::mem::take(&mut held.progress) else { return Ok(()) };
                    let taken = self.handle(&mut request, bytes);
                    self.held.entry(*number).and_modify(|held| held.progress = Progress::Reading(request));
                    return taken;
                }
                held.body.extend_from_slice(&bytes);
                if self.held.values().map(|held| held.body.len()).sum::<usize>() > WAITING_BYTES_MAX {
                    match self.style {
                        None => self.decide(Style::Hls),
                        // What was taken before goes on waiting.
                        Some(_) => return Err(self.refuse(*number)),
                    }
                }
                self.refused(*number)
            }
        }
    }

    /// The body is whole.
    pub fn finish(&mut self, request: Request) -> Result<(), Error> {
        match request {
            Request::Hls(request) => Ok(self.hls.finish(request)?),
            Request::Dash(request) => Ok(self.dash.finish(request)?),
            Request::Held(number) => {
                self.refused(number)?;
                if let Some(held) = self.held.get_mut(&number).filter(|held| held.is_waiting()) {
                    held.is_finished = true;
                    let rendition = if held.is_header { held.rendition.clone() } else { None };
                    // A fragment has waited for it.
                    if self.holds(false, rendition.as_ref()) {
                        self.decide(Style::Dash);
                        self.release();
                    }
                    return Ok(());
                }
                match self.held.remove(&number).map(|held| held.progress) {
                    Some(Progress::Reading(request)) => self.finish(request),
                    _ => Ok(()),
                }
            }
        }
    }

    /// The connection broke before the body was whole.
    pub fn abandon(&mut self, request: Request) {
        match request {
            Request::Hls(request) => self.hls.abandon(request),
            Request::Dash(request) => self.dash.abandon(request),
            Request::Held(number) => {
                if let Some(Progress::Reading(request)) = self.held.remove(&number).map(|held| held.progress) {
                    self.abandon(request);
                }
            }
        }
    }

    /// The next of what came of the requests, and the name of the rendition it is of.
    pub fn poll(&mut self) -> Option<(Arc<str>, Output)> {
        if let Some(notice) = self.notices.pop_front() {
            return Some((Arc::from(""), Output::Notice(notice)));
        }
        if let Some((name, event)) = self.dash.poll() {
            return Some((name, Output::Event(event)));
        }
        let (name, output) = self.hls.poll()?;
        let output = match output {
            hls_push::Output::Event(event) => Output::Event(event),
            hls_push::Output::Notice(notice) => Output::Notice(Notice::Transport(notice)),
        };
        Some((name, output))
    }

    fn begin_as(&mut self, style: Style, name: &str) -> Result<Request, Error> {
        Ok(match style {
            Style::Hls => Request::Hls(self.hls.begin(name)?),
            Style::Dash => Request::Dash(self.dash.begin(name)?),
        })
    }

    /// A header or a fragment, while nothing tells which style it is of.
    fn begin_undecided(&mut self, name: &str, now: Instant) -> Result<Request, Error> {
        let is_header = name::is_header(name);
        let rendition = name::of_segment(name).ok();
        let style = match is_header {
            true => None,
            false if self.holds(true, rendition.as_ref()) => Some(Style::Dash),
            false if self.holds(true, name::of_directory(name).ok().as_ref()) => Some(Style::Hls),
            // It has a header of its own, or is refused: then its encoder sends the header again (DASH-IF Live Media Ingest
            // §5.2), and that tells more.
            false if !self.held.values().any(|it| it.is_header) => return self.begin_as(Style::Hls, name),
            false => None,
        };
        let headers = self.held.values().filter(|it| it.is_header).count();
        let has_room = headers < PUBLISHER_RENDITIONS_MAX && self.held.len() - headers < WAITING_REQUESTS_MAX;
        if let Some(style) = style.or((!has_room).then_some(Style::Hls)) {
            self.decide(style);
            return self.begin_as(style, name);
        }
        Ok(self.hold(name, now))
    }

    fn hold(&mut self, name: &str, now: Instant) -> Request {
        let number = self.next;
        self.next += 1;
        let is_header = name::is_header(name);
        // An encoder that began anew sends its header once more.
        self.held.retain(|_, it| !(is_header && it.is_finished && it.path == name));
        let (path, rendition) = (name.to_owned(), name::of_segment(name).ok());
        let held = Held {
            path,
            rendition,
            is_header,
            begun: now,
            body: BytesMut::new(),
            is_finished: false,
            progress: Progress::Waiting,
        };
        self.held.insert(number, held);
        Request::Held(number)
    }

    /// Lets go of what has waited for its header for too long. A header tells nothing and is small, and the fragment that it
    /// waits for may last.
    fn forget_orphans(&mut self, now: Instant) {
        let notices = &mut self.notices;
        self.held.retain(|_, held| {
            let is_old = now.saturating_duration_since(held.begun) > WAITING_AGE_MAX;
            let is_orphan = is_old && held.is_finished && !held.is_header;
            if is_orphan {
                notices.push_back(Notice::Orphan { path: std::mem::take(&mut held.path), bytes: held.body.len() });
            }
            !is_orphan
        });
    }

    /// There is no more room.
    fn refuse(&mut self, number: u64) -> Error {
        match self.held.remove(&number) {
            Some(Held { path, is_header: true, .. }) => Error::LongHeader { path },
            held => Error::NoHeader { path: held.map(|held| held.path).unwrap_or_default() },
        }
    }

    /// Whether it was refused where it turned out to belong.
    fn refused(&mut self, number: u64) -> Result<(), Error> {
        if self.held.get(&number).is_some_and(|held| matches!(held.progress, Progress::Refused(_)))
            && let Some(Held { progress: Progress::Refused(error), .. }) = self.held.remove(&number)
        {
            return Err(error);
        }
        Ok(())
    }

    fn holds(&self, is_header: bool, rendition: Option<&String>) -> bool {
        let is_of = |held: &Held| held.is_header == is_header && held.rendition.as_ref() == rendition;
        rendition.is_some() && self.held.values().any(is_of)
    }

    fn decide(&mut self, style: Style) {
        if self.style.replace(style) != Some(style) {
            self.release();
        }
    }

    /// What was held goes where it belongs, headers first. A fragment of DASH whose header is still to come goes on waiting.
    fn release(&mut self) {
        let Some(style) = self.style else { return };
        let mut waiting: Vec<u64> = self.held.iter().filter(|(_, it)| it.is_waiting()).map(|(key, _)| *key).collect();
        waiting.sort_by_key(|key| !self.held[key].is_header);
        let mut headers = BTreeSet::new();
        for number in waiting {
            let Some(mut held) = self.held.remove(&number) else { continue };
            if held.is_header {
                headers.insert(held.rendition.clone());
            } else if style == Style::Dash && !headers.contains(&held.rendition) {
                self.held.insert(number, held);
                continue;
            }
            let begun = self.begin_as(style, &held.path).and_then(|mut request| {
                let taken = self.handle(&mut request, held.body.split().freeze());
                if let Err(error) = taken {
                    self.abandon(request);
                    return Err(error);
                }
                Ok(request)
            });
            match (begun, held.is_finished) {
                // Whoever sent it was answered.
                (Ok(request), true) => drop(self.finish(request)),
                (Err(_), true) => {}
                (begun, false) => {
                    held.progress = begun.map_or_else(Progress::Refused, Progress::Reading);
                    self.held.insert(number, held);
                }
            }
        }
    }
}

impl Held {
    fn is_waiting(&self) -> bool {
        matches!(self.progress, Progress::Waiting)
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Transport(notice) => notice.fmt(f),
            Notice::Orphan { path, bytes } => {
                let seconds = WAITING_AGE_MAX.as_secs();
                write!(f, "{path:?}: its header did not come within {seconds} s, {bytes} bytes of media are left out")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(publisher: &mut Publisher, name: &str) {
        let Ok(mut request) = publisher.begin(name, Instant::now()) else { return };
        let _ = publisher.handle(&mut request, Bytes::from_static(b"\0\0\0\x08ftyp"));
        let _ = publisher.finish(request);
    }

    #[test]
    fn what_comes_first_tells_the_style() {
        for (names, want) in [
            (&["init.mp4", "main0.m4s", "main.m3u8"][..], Some(Style::Hls)),
            (&["main0.m4s"], None),
            (&["main0.m4s", "init.mp4", "main1.m4s"], Some(Style::Hls)),
            (&["v0/init.mp4", "v0/data00.m4s"], Some(Style::Hls)),
            (&["main.m3u8"], Some(Style::Hls)),
            (&["seg0.ts"], Some(Style::Hls)),
            (&["init-stream0.m4s", "init-stream1.m4s", "chunk-stream0-00001.m4s", "main.mpd"], Some(Style::Dash)),
            (&["init-stream0.m4s", "chunk-stream0-00001.m4s", "main.mpd", "main.m3u8"], Some(Style::Dash)),
            (&["720p/init.mp4", "720p/1.m4s"], Some(Style::Dash)),
            (&["chunk-stream0-00001.m4s", "init-stream0.m4s"], None),
            (&["chunk-stream0-00001.m4s", "init-stream0.m4s", "chunk-stream0-00002.m4s"], Some(Style::Dash)),
            (&["init-stream1.m4s", "chunk-stream0-00001.m4s"], None),
            (&["init-stream1.m4s", "chunk-stream0-00001.m4s", "init-stream0.m4s"], Some(Style::Dash)),
            (&["init-stream1.m4s", "chunk-stream0-00001.m4s", "main.mpd"], Some(Style::Dash)),
            (&["init_0.mp4", "init_1.mp4", "out_0_1.m4s"], None),
            (&["init_0.mp4", "init_1.mp4", "out_0_1.m4s", "out_0.m3u8"], Some(Style::Hls)),
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
        let mut header = publisher.begin("init-stream0.m4s", Instant::now()).unwrap();
        publisher.handle(&mut header, Bytes::from_static(b"\0\0\0\x10ftyp")).unwrap();
        let segment = publisher.begin("chunk-stream0-1.m4s", Instant::now()).unwrap();
        assert!(matches!(segment, Request::Dash(_)));
        publisher.handle(&mut header, Bytes::from_static(b"isom\0\0\0\0")).unwrap();
        publisher.finish(header).unwrap();
        assert!(publisher.held.is_empty());
        publisher.abandon(segment);
    }

    /// In whichever order header and fragment of two renditions come, all that was not refused is there, and in its place.
    #[test]
    fn what_came_before_its_header_waits_for_it() {
        use crate::ingest::cmaf::tests::{header, media};
        let files = |number: u32| {
            let (init, chunk) = (format!("init-stream{number}.m4s"), format!("chunk-stream{number}-00001.m4s"));
            [(init, header()), (chunk, media(0))]
        };
        let [[init_0, chunk_0], [init_1, chunk_1]] = [files(0), files(1)];
        let manifest = ("main.mpd".to_owned(), b"<MPD type='dynamic'/>".to_vec());
        for (order, want) in [
            (vec![&init_0, &init_1, &chunk_0, &chunk_1, &manifest], 2),
            (vec![&init_1, &chunk_0, &init_0, &chunk_1], 2),
            (vec![&init_1, &chunk_0, &chunk_1, &init_0, &manifest], 2),
            // Nothing is known, so it is refused.
            (vec![&chunk_0, &init_0, &init_1, &chunk_1], 1),
        ] {
            let mut publisher = Publisher::default();
            let mut refused = 0;
            for (name, body) in &order {
                let mut request = publisher.begin(name, Instant::now()).unwrap();
                let taken = publisher.handle(&mut request, Bytes::copy_from_slice(body));
                refused += usize::from(taken.and_then(|()| publisher.finish(request)).is_err());
            }
            let mut samples: BTreeMap<String, usize> = BTreeMap::new();
            while let Some((name, output)) = publisher.poll() {
                if matches!(output, Output::Event(Event::Sample { .. })) {
                    *samples.entry(name.to_string()).or_default() += 1;
                }
            }
            let names: Vec<&String> = order.iter().map(|(name, _)| name).collect();
            let sound = samples.iter().all(|(name, count)| name.starts_with("stream") && *count == 3);
            assert!(sound && samples.len() == want && refused == 2 - want, "{names:?}: {samples:?} {refused}");
        }
    }

    /// What there is no room for is refused, so that its encoder sends it again; what was taken waits for its header still,
    /// but not for ever.
    #[test]
    fn what_cannot_wait_is_refused_and_what_waits_in_vain_is_let_go() {
        use crate::ingest::cmaf::tests::{header, media};
        let began = Instant::now();
        let all = |publisher: &mut Publisher, name: &str, body: Vec<u8>, now: Instant| {
            let mut request = publisher.begin(name, now)?;
            publisher.handle(&mut request, body.into())?;
            publisher.finish(request)
        };
        let notices = |publisher: &mut Publisher| {
            let outputs = std::iter::from_fn(|| publisher.poll());
            outputs.filter(|(_, output)| matches!(output, Output::Notice(Notice::Orphan { .. }))).count()
        };
        let undecided = || {
            let mut publisher = Publisher::default();
            all(&mut publisher, "init-stream1.m4s", header(), began).unwrap();
            all(&mut publisher, "chunk-stream0-1.m4s", media(0), began).unwrap();
            publisher
        };
        let mut publisher = undecided();
        let mut late = publisher.begin("chunk-stream2-1.m4s", began).unwrap();
        publisher.handle(&mut late, Bytes::from_static(b"\0\0\0\x08moof")).unwrap();
        all(&mut publisher, "main.mpd", b"<MPD type='dynamic'/>".to_vec(), began).unwrap();
        let more = publisher.handle(&mut late, vec![0; WAITING_BYTES_MAX].into());
        assert!(matches!(more, Err(Error::NoHeader { .. })), "{more:?}");
        publisher.abandon(late);
        // The other goes on where it was.
        all(&mut publisher, "init-stream0.m4s", header(), began).unwrap();
        let samples = std::iter::from_fn(|| publisher.poll());
        assert_eq!(
            samples
                .filter(|(name, output)| &**name == "stream0" && matches!(output, Output::Event(Event::Sample { .. })))
                .count(),
            3
        );
        // A header without end.
        let mut publisher = undecided();
        all(&mut publisher, "main.mpd", b"<MPD type='dynamic'/>".to_vec(), began).unwrap();
        let mut long = publisher.begin("init-stream0.m4s", began).unwrap();
        let more = publisher.handle(&mut long, vec![0; WAITING_BYTES_MAX].into());
        assert!(matches!(more, Err(Error::LongHeader { .. })), "{more:?}");
        // Too much before anything has decided: it is read as HLS, and who sends what is none is told.
        let mut publisher = undecided();
        let mut large = publisher.begin("chunk-stream2-1.m4s", began).unwrap();
        let more = publisher.handle(&mut large, vec![0; WAITING_BYTES_MAX].into());
        assert!(more.is_err(), "{more:?}");
        assert_eq!(publisher.style, Some(Style::Hls));
        // Nobody sends the header.
        for (after, want) in [(WAITING_AGE_MAX, 0), (WAITING_AGE_MAX + std::time::Duration::from_millis(1), 1)] {
            let mut publisher = undecided();
            publisher.begin("main.mpd", began + after).unwrap();
            assert_eq!(
                (notices(&mut publisher), publisher.holds(false, Some(&"stream0".to_owned()))),
                (want, want == 0)
            );
        }
    }

    proptest! {
        #[test]
        fn anything_may_be_put(puts in prop::collection::vec(
            (prop::sample::select(vec!["init.mp4", "init-0.m4s", "chunk-0-1.m4s", "a1.m4s", "a.m3u8", "a.mpd"]),
             prop::collection::vec(any::<u8>(), 0..64)), 0..12)) {
            let mut publisher = Publisher::default();
            let mut open = Vec::new();
            for (name, body) in puts {
                let Ok(mut request) = publisher.begin(name, Instant::now()) else { continue };
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
