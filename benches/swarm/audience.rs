//! Thousands of viewers on one thread, each with a connection of its own and one request at a time.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::content::{Body, Name, Rendition, Verified};
use super::encoder::{Encoder, Log, Stream};
use super::latency::Latencies;
use super::playlist::{Playlist, Position};
use super::response::{Reader, Taken};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Waits for the playlist that has the next part, then takes the part.
    Hls,
    /// Takes segments while they are being made.
    Dash,
}

/// A channel that is being watched.
pub struct Channel<'a> {
    pub name: &'a str,
    pub streams: &'a [Stream],
    pub log: &'a Arc<Log>,
}

impl<'a> Channel<'a> {
    pub fn of(name: &'a str, encoder: &'a Encoder) -> Channel<'a> {
        Channel { name, streams: &encoder.streams, log: &encoder.log }
    }
}

/// What one viewer asked for and was given.
#[derive(Clone)]
pub struct Exchange {
    pub path: String,
    /// The response, from its head on.
    pub response: Vec<u8>,
    pub asked: Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// For what was there.
    Present,
    /// For a playlist that was waited for.
    Waiting,
    Part(Position),
}

/// What was measured since [`Audience::reset`].
#[derive(Default)]
pub struct Figures {
    /// From the last byte of a part at intake to the last byte of the playlist that lists it.
    pub playlists: Latencies,
    /// … to the last byte of the part.
    pub parts: Latencies,
    /// From the last byte of a segment at intake to its last byte at those who took it while it was made.
    pub segments: Latencies,
    /// … to the end of the response, which says that there is no more.
    pub segment_ends: Latencies,
    /// Bodies of playlists, parts and segments.
    pub bytes: u64,
    pub playlist_bytes: u64,
    pub part_bytes: u64,
}

pub struct Audience<'a> {
    server: SocketAddr,
    channels: Vec<Channel<'a>>,
    epoll: Epoll,
    viewers: Vec<Viewer>,
    shared: Shared,
    buffer: Vec<u8>,
    /// Of the first viewer.
    keeps_exchanges: bool,
}

struct Shared {
    renditions: Vec<Rendition>,
    /// By channel and track.
    places: HashMap<(usize, String), usize>,
    figures: Figures,
    /// Buffers for manifests and playlists that nobody is given just now: those of thousands are in no cache.
    texts: Vec<Vec<u8>>,
    /// Viewers whose request is for what is not there yet.
    waiting: usize,
}

struct Viewer {
    socket: TcpStream,
    kind: Kind,
    channel: usize,
    /// Which of the renditions, modulo how many there are.
    choice: usize,
    rendition: usize,
    track: String,
    reader: Reader,
    step: Step,
    /// Of a manifest or playlist, as far as it has come.
    text: Vec<u8>,
    /// How much of the body of media is there.
    taken: usize,
    /// When the last of it came.
    taken_at: Instant,
    /// HLS: what comes next. DASH: the number of the segment that does.
    next: Position,
    parts: VecDeque<(Position, String)>,
    /// DASH: segments since the MPD was read.
    since_mpd: u64,
    /// Of the last byte that came.
    alive: Instant,
    /// All it asked for, if it is the one that it is kept of.
    exchanges: Option<Vec<Exchange>>,
}

enum Step {
    Multivariant,
    Mpd,
    /// The playlist as it is.
    Join,
    /// The playlist with what comes next.
    Wait,
    Media(Name, Rc<RefCell<Body>>),
}

/// An MPD is read again after so many segments.
const MPD_EVERY: u64 = 4;
const READ_BYTES: usize = 256 * 1024;
/// Who hears nothing for so long is forgotten by the server.
const SILENCE_MAX: Duration = Duration::from_secs(6);
/// A part and more.
const REST_WITHIN: Duration = Duration::from_secs(1);

impl<'a> Audience<'a> {
    pub fn new(server: SocketAddr, channels: Vec<Channel<'a>>) -> Result<Audience<'a>> {
        let shared = Shared {
            renditions: Vec::new(),
            places: HashMap::new(),
            figures: Figures::default(),
            texts: Vec::new(),
            waiting: 0,
        };
        Ok(Audience {
            server,
            channels,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            viewers: Vec::new(),
            shared,
            buffer: vec![0; READ_BYTES],
            keeps_exchanges: false,
        })
    }

    /// Lets viewers in, evenly to all channels and renditions.
    pub fn admit(&mut self, kind: Kind, count: usize) -> Result<()> {
        for _ in 0..count {
            let number = self.viewers.len();
            let socket = TcpStream::connect(self.server).context("connecting a viewer")?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
            let mut viewer = Viewer {
                socket,
                kind,
                channel: number % self.channels.len(),
                choice: number / self.channels.len(),
                rendition: 0,
                track: String::new(),
                reader: Reader::default(),
                step: Step::Multivariant,
                text: Vec::new(),
                taken: 0,
                taken_at: Instant::now(),
                next: (0, 0),
                parts: VecDeque::new(),
                since_mpd: 0,
                alive: Instant::now(),
                exchanges: (number == 0 && self.keeps_exchanges).then(Vec::new),
            };
            let base = format!("/live/{}/", self.channels[viewer.channel].name);
            match kind {
                Kind::Hls => viewer.ask(&base, "index.m3u8", Step::Multivariant)?,
                Kind::Dash => viewer.ask(&base, "index.mpd", Step::Mpd)?,
            }
            self.viewers.push(viewer);
            // Nobody who is in is kept waiting by those who come.
            if number.is_multiple_of(64) {
                self.turn(Duration::ZERO)?;
            }
        }
        Ok(())
    }

    pub fn run(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.turn(left.min(Duration::from_millis(100)))?;
        }
        match self.viewers.iter().find(|viewer| viewer.alive.elapsed() > SILENCE_MAX) {
            None => Ok(()),
            Some(viewer) => {
                bail!("a viewer of {} got nothing for {SILENCE_MAX:?} while it {}", viewer.track, viewer.step)
            }
        }
    }

    pub fn reset(&mut self) {
        self.shared.figures = Figures::default();
    }

    pub fn figures(&mut self) -> &mut Figures {
        &mut self.shared.figures
    }

    /// Goes on until everybody has all there is, for [`REST_WITHIN`] at most.
    pub fn rest(&mut self) -> Result<()> {
        let until = Instant::now() + REST_WITHIN;
        while !self.is_all_waiting() && Instant::now() < until {
            self.turn(Duration::from_millis(1))?;
        }
        Ok(())
    }

    /// What came meanwhile is taken; then, from `begin` on, until everybody has the next part and waits for the one behind it.
    pub fn take_part(&mut self, begin: impl FnOnce()) -> Result<Figures> {
        self.turn(Duration::ZERO)?;
        self.rest()?;
        self.reset();
        begin();
        let until = Instant::now() + SILENCE_MAX;
        while self.shared.figures.parts.len() < self.viewers.len() || !self.is_all_waiting() {
            ensure!(Instant::now() < until, "not everybody had a part within {SILENCE_MAX:?}");
            self.turn(Duration::from_millis(100))?;
        }
        Ok(std::mem::take(&mut self.shared.figures))
    }

    /// Before anybody is let in: the first viewer's exchanges are wanted.
    pub fn keep_exchanges(&mut self) {
        self.keeps_exchanges = true;
    }

    /// What the first viewer asked for, in order, but for what it has not been given whole.
    pub fn exchanges(&mut self) -> Vec<Exchange> {
        let mut all = self.viewers.first_mut().and_then(|viewer| viewer.exchanges.take()).unwrap_or_default();
        all.pop();
        all
    }

    pub fn is_all_waiting(&self) -> bool {
        self.shared.waiting == self.viewers.len()
    }

    pub fn verified(&self) -> Verified {
        let mut sum = Verified::default();
        for Verified { playlists, parts, segments, joined, frames } in
            self.shared.renditions.iter().map(|all| all.verified)
        {
            sum.playlists += playlists;
            sum.parts += parts;
            sum.segments += segments;
            sum.joined += joined;
            sum.frames += frames;
        }
        sum
    }

    fn turn(&mut self, timeout: Duration) -> Result<()> {
        let mut events = [EpollEvent::empty(); 512];
        // A wait of less than a millisecond is none: who measures microseconds does not sleep here.
        let timeout = EpollTimeout::try_from(timeout.as_millis() as i32)?;
        let count = match self.epoll.wait(&mut events, timeout) {
            Err(nix::errno::Errno::EINTR) => 0,
            other => other?,
        };
        for event in &events[..count] {
            let viewer = &mut self.viewers[event.data() as usize];
            let channel = &self.channels[viewer.channel];
            let result = viewer.read(&mut self.buffer, channel, &mut self.shared);
            result
                .with_context(|| format!("{}: a {:?} viewer, while it {}", channel.name, viewer.kind, viewer.step))?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Multivariant => out.write_str("took the multivariant playlist"),
            Step::Mpd => out.write_str("took the MPD"),
            Step::Join => out.write_str("took a media playlist"),
            Step::Wait => out.write_str("waited for a media playlist"),
            Step::Media(name, _) => write!(out, "took {name:?}"),
        }
    }
}

impl Viewer {
    fn ask(&mut self, base: &str, path: &str, step: Step) -> Result<()> {
        let head = format!("GET {base}{path} HTTP/1.1\r\nHost: origin.example.com\r\nUser-Agent: swarm\r\n\r\n");
        // One request at a time: the socket's buffer is empty.
        let written = self.socket.write(head.as_bytes())?;
        ensure!(written == head.len(), "{written} bytes of a request were taken");
        if let Some(exchanges) = &mut self.exchanges {
            let asked = match &step {
                Step::Wait => Asked::Waiting,
                Step::Media(Name::Part(position), _) => Asked::Part(*position),
                _ => Asked::Present,
            };
            exchanges.push(Exchange { path: format!("{base}{path}"), response: Vec::new(), asked });
        }
        self.step = step;
        self.taken = 0;
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8], channel: &Channel<'_>, shared: &mut Shared) -> Result<()> {
        let len = match self.socket.read(buffer) {
            Ok(0) => bail!("the connection was closed"),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.alive = Instant::now();
        let mut input = &buffer[..len];
        // One request at a time: all of it is the answer to the last.
        if let Some(exchange) = self.exchanges.as_mut().and_then(|all| all.last_mut()) {
            exchange.response.extend_from_slice(input);
        }
        while let Some(taken) = self.reader.take(&mut input)? {
            match taken {
                Taken::Head { status } => ensure!(status == 200, "status {status}"),
                Taken::Body(data) => match &self.step {
                    Step::Media(_, body) => {
                        body.borrow_mut().take(self.taken, data)?;
                        self.taken += data.len();
                        self.taken_at = self.alive;
                    }
                    _ => {
                        if self.text.capacity() == 0 {
                            self.text = shared.texts.pop().unwrap_or_default();
                        }
                        self.text.extend_from_slice(data);
                    }
                },
                Taken::End => self.finish(channel, shared)?,
            }
        }
        Ok(())
    }

    fn finish(&mut self, channel: &Channel<'_>, shared: &mut Shared) -> Result<()> {
        shared.figures.bytes += (self.text.len() + self.taken) as u64;
        let mut text = std::mem::take(&mut self.text);
        match std::mem::replace(&mut self.step, Step::Join) {
            Step::Multivariant => {
                let tracks: Vec<&str> = std::str::from_utf8(&text)?
                    .lines()
                    .filter(|line| !line.starts_with('#') && !line.is_empty())
                    .collect();
                let (expected, found) = (channel.streams.len(), tracks.len());
                ensure!(found == expected, "{found} renditions in the multivariant playlist, expected {expected}");
                let track = tracks[self.choice % found].strip_suffix(".m3u8").context("a media playlist's name")?;
                self.find(track, channel, shared);
                self.ask_playlist(shared, None)?;
            }
            Step::Mpd => {
                let mpd = Mpd::read(std::str::from_utf8(&text)?, self.choice)?;
                self.find(&mpd.track, channel, shared);
                self.since_mpd = 0;
                if self.next.0 == 0 {
                    self.next.0 = mpd.open_number(SystemTime::now())?;
                    self.ask_media(shared, Name::Header(mpd.header.clone()), &mpd.header)?;
                } else {
                    self.ask_segment(shared)?;
                }
            }
            Step::Join => {
                let playlist = shared.renditions[self.rendition].playlist(&text)?;
                self.next = playlist.next();
                self.ask_media(shared, Name::Header(playlist.map.clone()), &playlist.map)?;
            }
            Step::Wait => {
                shared.waiting -= 1;
                let rendition = &mut shared.renditions[self.rendition];
                let playlist = rendition.playlist(&text)?;
                let (asked, next) = (self.next, playlist.next());
                ensure!(next > asked, "asked for {asked:?}, the playlist ends before {next:?}");
                check_reports(&playlist, channel)?;
                if let Some(sent) = playlist.parts.last().and_then(|(position, _)| rendition.sent(*position)) {
                    shared.figures.playlists.push(sent.elapsed());
                    shared.figures.playlist_bytes = text.len() as u64;
                }
                let new = playlist.parts.iter().filter(|(position, _)| *position >= asked);
                self.parts.extend(new.map(|(position, part)| (*position, part.uri.clone())));
                self.next = next;
                self.go_on(shared)?;
            }
            Step::Media(name, body) => {
                let rendition = &mut shared.renditions[self.rendition];
                rendition.finish(&name, &body, self.taken)?;
                match name {
                    Name::Header(_) => {}
                    Name::Part(position) => {
                        shared.figures.part_bytes = self.taken as u64;
                        shared.figures.parts.extend(rendition.sent(position).map(|sent| sent.elapsed()));
                    }
                    Name::Segment(number) => {
                        self.next.0 = number + 1;
                        self.since_mpd += 1;
                        shared.waiting -= 1;
                        if let Some(sent) = rendition.sent_segment(number) {
                            shared.figures.segments.push(self.taken_at.saturating_duration_since(sent));
                            shared.figures.segment_ends.push(sent.elapsed());
                        }
                    }
                }
                self.go_on(shared)?;
            }
        }
        if text.capacity() > 0 {
            text.clear();
            shared.texts.push(text);
        }
        Ok(())
    }

    fn find(&mut self, track: &str, channel: &Channel<'_>, shared: &mut Shared) {
        let new = shared.renditions.len();
        self.rendition = *shared.places.entry((self.channel, track.to_owned())).or_insert(new);
        if self.rendition == new {
            shared.renditions.push(Rendition::new(channel.name, channel.streams, channel.log));
        }
        track.clone_into(&mut self.track);
    }

    fn go_on(&mut self, shared: &mut Shared) -> Result<()> {
        match self.kind {
            Kind::Hls => match self.parts.pop_front() {
                Some((position, uri)) => self.ask_media(shared, Name::Part(position), &uri),
                None => {
                    shared.waiting += 1;
                    self.ask_playlist(shared, Some(self.next))
                }
            },
            Kind::Dash if self.since_mpd == MPD_EVERY => {
                let base = shared.renditions[self.rendition].base.clone();
                self.ask(&base, "index.mpd", Step::Mpd)
            }
            Kind::Dash => self.ask_segment(shared),
        }
    }

    fn ask_segment(&mut self, shared: &mut Shared) -> Result<()> {
        shared.waiting += 1;
        let uri = format!("{}/{}.m4s", self.track, self.next.0);
        self.ask_media(shared, Name::Segment(self.next.0), &uri)
    }

    fn ask_playlist(&mut self, shared: &Shared, next: Option<Position>) -> Result<()> {
        let (path, step) = match next {
            None => (format!("{}.m3u8", self.track), Step::Join),
            Some((number, part)) => (format!("{}.m3u8?_HLS_msn={number}&_HLS_part={part}", self.track), Step::Wait),
        };
        self.ask(&shared.renditions[self.rendition].base, &path, step)
    }

    fn ask_media(&mut self, shared: &mut Shared, name: Name, uri: &str) -> Result<()> {
        let rendition = &mut shared.renditions[self.rendition];
        let body = rendition.body(&name);
        self.ask(&rendition.base, uri, Step::Media(name, body))
    }
}

/// §4.4.5.4: one for each other rendition, none of them behind by more than a segment.
fn check_reports(playlist: &Playlist, channel: &Channel<'_>) -> Result<()> {
    let (found, expected) = (playlist.reports.len(), channel.streams.len() - 1);
    ensure!(found == expected, "{found} rendition reports, expected {expected}");
    let (open, _) = playlist.next();
    for (uri, number, part) in &playlist.reports {
        ensure!(number.abs_diff(open) <= 1, "{uri} is said to be at {number}.{part}, this one at {open}");
    }
    Ok(())
}

/// What a viewer of low-latency DASH takes from an MPD.
struct Mpd {
    track: String,
    /// URL of the initialisation segment.
    header: String,
    /// In seconds.
    segment: f64,
    start_number: u64,
    /// Of the Period, since 1970, in seconds.
    start: f64,
}

impl Mpd {
    fn read(text: &str, choice: usize) -> Result<Mpd> {
        let mpd = dash_mpd::parse(text).with_context(|| text.to_owned())?;
        ensure!(mpd.mpdtype.as_deref() == Some("dynamic"), "an MPD of type {:?}", mpd.mpdtype);
        let period = mpd.periods.last().context("a Period")?;
        let all: Vec<_> =
            period.adaptations.iter().flat_map(|set| set.representations.iter().map(move |one| (set, one))).collect();
        let (set, representation) = all.get(choice % all.len().max(1)).context("a Representation")?;
        let template =
            representation.SegmentTemplate.as_ref().or(set.SegmentTemplate.as_ref()).context("a SegmentTemplate")?;
        let track = representation.id.clone().context("Representation@id")?;
        let duration =
            template.duration.context("SegmentTemplate@duration: segments that lie on the grid are numbered")?;
        ensure!(template.availabilityTimeOffset.is_some_and(|offset| offset > 0.0), "no availabilityTimeOffset");
        ensure!(template.media.as_deref() == Some("$RepresentationID$/$Number$.m4s"), "media is {:?}", template.media);
        let since = mpd.availabilityStartTime.context("availabilityStartTime")?.timestamp_millis() as f64 / 1e3;
        Ok(Mpd {
            header: template.initialization.as_deref().context("initialization")?.replace("$RepresentationID$", &track),
            track,
            segment: duration / template.timescale.unwrap_or(1) as f64,
            start_number: template.startNumber.unwrap_or(1),
            start: since + period.start.map_or(0.0, |start| start.as_secs_f64()),
        })
    }

    /// The segment that is being made (ISO/IEC 23009-1 §A.3.4).
    fn open_number(&self, now: SystemTime) -> Result<u64> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
        Ok(((now - self.start) / self.segment).floor() as u64 + self.start_number)
    }
}
