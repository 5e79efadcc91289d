//! Viewers: what they ask for, how long they wait for it, and what they hold against what they are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headwater::base::growing::End;
use headwater::base::watch::Listener;
use headwater::base::{Extent, Growing, Piece, Watch, Watermark};
use headwater::http::{Response, Status, request};
use headwater::live::Channel;
use headwater::media::Kind;
use headwater::media::broadcast::State;
use headwater::package::hls::rules::{self, Checked};
use headwater::package::live_url;
use headwater::service::live::{Live, Outcome};

use super::books::{Books, frames};

/// What viewers see of the world.
pub struct Stage<'a> {
    pub service: &'a Live,
    pub channel: &'a Arc<Channel>,
    pub books: &'a mut Books,
    pub now: Duration,
    /// Encoders and disk do what they should, and have done so for a while.
    pub is_calm: bool,
    /// The channel goes by the time of day.
    pub is_timely: bool,
    /// Since a power loss or a failing disk, what viewers knew may be gone.
    pub is_lossy: bool,
}

impl Stage<'_> {
    pub fn describe(&self) -> String {
        describe(self.channel, self.now)
    }
}

/// Where a channel is.
pub fn describe(channel: &Channel, now: Duration) -> String {
    let snapshot = channel.snapshot();
    let Some(broadcast) = snapshot.broadcast(None) else { return "nothing is published".to_owned() };
    let mut text = format!("{:.1}: {} to {}", now.as_secs_f64(), broadcast.first, broadcast.next);
    for track in &broadcast.tracks {
        let segments: Vec<_> = track.tail.iter().map(|one| (one.number, one.is_complete, one.parts.len())).collect();
        text += &format!("; {} {segments:?}", track.track.id);
    }
    text
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taste {
    /// Waits for the playlist with the next part, then takes the part.
    Parts,
    /// The same, with delta updates.
    Deltas,
    /// Asks for the part that is hinted at before it asks for the playlist.
    Hints,
    /// Waits for whole segments.
    Segments,
    /// Low-latency DASH: takes the segment that is being made, by the clock.
    Dash,
}

pub struct Viewer {
    pub taste: Taste,
    /// Which track, modulo how many there are.
    pub choice: usize,
    pub track: String,
    pub kind: Kind,
    step: Step,
    init: (String, Vec<u8>),
    listed: Option<Arc<Checked>>,
    /// The segment and the part in it that come next.
    next: (u64, u32),
    /// When a part or segment came last.
    pub fed: Duration,
    bell: Arc<Bell>,
    waits: Option<Waiting>,
    /// DASH: what came of the segment that is followed.
    followed: u64,
    since_mpd: u64,
}

enum Step {
    /// Again at this time, from the beginning.
    Join(Duration),
    Playlist,
    Hint(String),
    /// DASH: the segment of that number.
    Segment(u64),
    Follow(u64, Growing),
    /// The channel has ended.
    Ended,
}

struct Waiting {
    until: Watermark,
    deadline: Duration,
    otherwise: Box<Response>,
}

#[derive(Default)]
struct Bell(AtomicBool);

impl Listener for Bell {
    fn moved(&self, _: u64) {
        self.0.store(true, Ordering::SeqCst);
    }
}

enum Answered {
    Ready(Response),
    Missing,
    Waits,
}

/// A player that was refused comes back.
const BACK_OFF: Duration = Duration::from_secs(1);
const MPD_EVERY: u64 = 16;

impl Viewer {
    pub fn new(taste: Taste, choice: usize, now: Duration) -> Viewer {
        Viewer {
            taste,
            choice,
            track: String::new(),
            kind: Kind::Video,
            step: Step::Join(now),
            init: Default::default(),
            listed: None,
            next: (0, 0),
            fed: now,
            bell: Arc::default(),
            waits: None,
            followed: 0,
            since_mpd: 0,
        }
    }

    /// The server is gone, and with it the connection; players ask the next one for what they wanted.
    pub fn disconnect(&mut self, is_lossy: bool, now: Duration) {
        if let Some(waits) = self.waits.take() {
            self.unsubscribe(&waits.until.watch);
        }
        if let Step::Follow(number, growing) = &self.step {
            self.unsubscribe(growing.progress.watch());
            self.step = Step::Segment(*number);
        }
        if is_lossy {
            self.listed = None;
            self.step = Step::Join(now);
        }
    }

    /// Does what can be done now.
    pub fn turn(&mut self, stage: &mut Stage<'_>) {
        let rung = self.bell.0.swap(false, Ordering::SeqCst);
        if let Some(waits) = &self.waits {
            let is_over = waits.deadline <= stage.now;
            if !rung && !is_over {
                assert!(!waits.until.is_reached(), "{}: {:?} was reached, and nobody woken", self.track, waits.until);
                return;
            }
            if is_over && !waits.until.is_reached() {
                let waits = self.waits.take().expect("it waits");
                self.unsubscribe(&waits.until.watch);
                self.in_vain(waits.otherwise.status, stage);
                return;
            }
        }
        // Whoever turns so often without waiting goes round in circles.
        for _ in 0..64 {
            if self.go(stage) {
                return;
            }
        }
        panic!("{:?} of {} goes round in circles", self.taste, self.track);
    }

    /// One request. Returns whether there is nothing more to do now.
    fn go(&mut self, stage: &mut Stage<'_>) -> bool {
        match &self.step {
            Step::Join(at) if *at > stage.now => true,
            Step::Join(_) if self.taste == Taste::Dash => self.join_dash(stage),
            Step::Join(_) => self.join(stage),
            Step::Playlist => self.playlist(stage),
            Step::Hint(uri) => self.hint(uri.clone(), stage),
            Step::Segment(number) => self.segment(*number, stage),
            Step::Follow(number, growing) => self.follow(*number, growing.clone(), stage),
            Step::Ended => {
                let is_over = stage.channel.snapshot().state() == State::Ended;
                if !is_over {
                    self.listed = None;
                    self.step = Step::Join(stage.now);
                }
                is_over
            }
        }
    }

    fn later(&mut self, stage: &Stage<'_>) -> bool {
        self.step = Step::Join(stage.now + BACK_OFF);
        true
    }

    /// Nothing came in time.
    fn in_vain(&mut self, status: Status, stage: &Stage<'_>) {
        assert!(matches!(status.0, 404 | 503), "waited in vain for {}", status.0);
        let what = format!("{:?} of {} waited in vain for {:?}", self.taste, self.track, self.next);
        assert!(!stage.is_calm, "{what}: {}", stage.describe());
        self.step = Step::Join(stage.now + BACK_OFF);
    }

    fn join(&mut self, stage: &mut Stage<'_>) -> bool {
        let text = match self.get("index.m3u8", stage) {
            Answered::Ready(response) => text_of(&response),
            _ => return self.later(stage),
        };
        let tracks = media_playlists(&text);
        assert!(!tracks.is_empty(), "{text}");
        self.choose(tracks[self.choice % tracks.len()].clone(), stage);
        let Answered::Ready(response) = self.get(&format!("{}.m3u8", self.track), stage) else {
            panic!("{} is in the multivariant playlist, and is not there", self.track);
        };
        self.take_playlist(&response, stage);
        if self.is_at_end() {
            self.step = Step::Ended;
            return true;
        }
        self.step = Step::Playlist;
        false
    }

    fn choose(&mut self, track: String, stage: &Stage<'_>) {
        if self.track != track {
            self.listed = None;
        }
        let snapshot = stage.channel.snapshot();
        if let Some(broadcast) = snapshot.broadcast(None)
            && let Some(found) = broadcast.track(&track)
        {
            self.kind = found.track.kind();
        }
        self.track = track;
    }

    fn is_at_end(&self) -> bool {
        self.listed.as_ref().is_some_and(|listed| listed.is_ended)
    }

    fn playlist(&mut self, stage: &mut Stage<'_>) -> bool {
        let (number, part) = self.next;
        let mut path = format!("{}.m3u8?_HLS_msn={number}", self.track);
        if self.taste != Taste::Segments {
            path += &format!("&_HLS_part={part}");
        }
        if self.taste == Taste::Deltas {
            path += "&_HLS_skip=YES";
        }
        let response = match self.get(&path, stage) {
            Answered::Waits => return true,
            Answered::Missing => {
                assert!(!stage.is_calm, "{path} is not there");
                self.listed = None;
                return self.later(stage);
            }
            Answered::Ready(response) if response.status == Status::OK => response,
            Answered::Ready(response) => {
                // What was shown before a crash that took it with it.
                assert!(stage.is_lossy, "{path}: {} {}", response.status.0, text_of(&response));
                self.listed = None;
                return self.later(stage);
            }
        };
        let asked = self.next;
        self.take_playlist(&response, stage);
        if self.is_at_end() {
            self.step = Step::Ended;
            return true;
        }
        let is_there = match self.taste {
            Taste::Segments => self.next.0 > asked.0,
            _ => self.next > asked,
        };
        assert!(
            is_there,
            "{path}: the playlist ends before {:?}: {}\n{}",
            self.next,
            stage.describe(),
            text_of(&response)
        );
        let hint = self.listed.as_ref().and_then(|listed| listed.hint.clone());
        self.step = match hint.filter(|_| self.taste == Taste::Hints) {
            Some(uri) => Step::Hint(uri),
            None => Step::Playlist,
        };
        false
    }

    /// Checks a playlist, and takes the media that is new in it.
    fn take_playlist(&mut self, response: &Response, stage: &mut Stage<'_>) {
        let text = text_of(response);
        let checked = stage.books.playlist(&text, &self.track);
        if let Some(before) = self.listed.as_ref().filter(|_| !stage.is_lossy) {
            rules::check_update(before, &checked).unwrap_or_else(|wrong| panic!("{}: {wrong}\n{text}", self.track));
        }
        stage.books.verified.playlists += 1;
        let open = checked.media_sequence + checked.skipped + checked.segments.len() as u64;
        let next = (open, checked.open_parts.len() as u32);
        let from = if self.listed.is_some() { self.next } else { next };
        if let Some(map) = checked.segments.iter().rev().find_map(|segment| segment.map.clone()) {
            self.header(&map, stage);
        }
        for (number, segment) in (checked.media_sequence + checked.skipped..).zip(&checked.segments) {
            if number < from.0 || segment.is_gap {
                continue;
            }
            if let Some(map) = segment.map.clone() {
                self.header(&map, stage);
            }
            let parts = if self.taste == Taste::Segments { &[][..] } else { &segment.parts };
            for (index, part) in (0..).zip(parts).filter(|(index, part)| (number, *index) >= from && !part.is_gap) {
                self.part(&part.uri, number, index, stage);
            }
            if parts.is_empty() || self.choice.is_multiple_of(3) {
                self.whole_segment(&segment.uri, number, stage);
            }
        }
        if self.taste != Taste::Segments && !self.init.0.is_empty() {
            for (index, part) in
                (0..).zip(&checked.open_parts).filter(|(index, part)| (open, *index) >= from && !part.is_gap)
            {
                self.part(&part.uri, open, index, stage);
            }
        }
        if self.listed.is_none() || next > self.next {
            self.fed = stage.now;
        }
        self.next = next;
        self.listed = Some(checked);
    }

    fn header(&mut self, uri: &str, stage: &mut Stage<'_>) {
        if self.init.0 == uri {
            return;
        }
        let Answered::Ready(response) = self.get(uri, stage) else { panic!("{uri} is listed, and is not there") };
        assert_eq!(response.status, Status::OK, "{uri}");
        let bytes = bytes_of(&response);
        stage.books.body(uri, &bytes, u64::MAX);
        self.init = (uri.to_owned(), bytes);
    }

    fn part(&mut self, uri: &str, number: u64, index: u32, stage: &mut Stage<'_>) {
        let Answered::Ready(response) = self.get(uri, stage) else { panic!("{uri} is listed, and is not there") };
        assert_eq!(response.status, Status::OK, "{uri}");
        let bytes = bytes_of(&response);
        assert!(!bytes.is_empty(), "{uri} is empty");
        stage.books.body(uri, &bytes, number);
        if self.header_is_of(number, stage) {
            stage.books.part(self.kind, &self.track, (number, index), &self.init.1, &bytes);
        }
    }

    /// Whether the initialisation segment at hand is that of the segment: the open one's is not listed before it is whole.
    fn header_is_of(&self, number: u64, stage: &Stage<'_>) -> bool {
        let snapshot = stage.channel.snapshot();
        let broadcast = snapshot.broadcast(None);
        let init = broadcast.as_ref().and_then(|broadcast| {
            let tail = broadcast.track(&self.track)?.tail;
            Some(&*tail.iter().find(|segment| segment.number == number)?.init)
        });
        init.is_some_and(|init| self.init.0.ends_with(&format!("/{init}.mp4")))
    }

    fn whole_segment(&mut self, uri: &str, number: u64, stage: &mut Stage<'_>) {
        let Answered::Ready(response) = self.get(uri, stage) else { panic!("{uri} is listed, and is not there") };
        assert_eq!(response.status, Status::OK, "{uri}");
        let bytes = bytes_of(&response);
        stage.books.body(uri, &bytes, number);
        stage.books.verified.segments += 1;
        if uri.ends_with(".vtt") {
            return;
        }
        // It is its parts, one after the other.
        let snapshot = stage.channel.snapshot();
        let broadcast = snapshot.broadcast(None).expect("it lists a segment");
        let parts = broadcast
            .track(&self.track)
            .and_then(|track| track.tail.iter().find(|segment| segment.number == number))
            .map(|segment| segment.parts.clone());
        if let Some(parts) = parts {
            let mut at = 0;
            for (index, part) in (0..).zip(&parts).filter(|(_, part)| part.size > 0) {
                let uri = format!("{}/{number}.{index}.m4s", self.track);
                let Answered::Ready(response) = self.get(&uri, stage) else { panic!("{uri} is not there") };
                let found = bytes_of(&response);
                assert_eq!(found.len(), part.size as usize, "{uri}");
                assert!(bytes[at..].starts_with(&found), "{uri} is not what its segment has there");
                at += found.len();
            }
            assert_eq!(at, bytes.len(), "{uri} is longer than its parts");
        }
    }

    fn hint(&mut self, uri: String, stage: &mut Stage<'_>) -> bool {
        match self.get(&uri, stage) {
            Answered::Waits => return true,
            Answered::Ready(response) => {
                assert_eq!(response.status, Status::OK, "{uri}");
                let bytes = bytes_of(&response);
                stage.books.body(&uri, &bytes, self.next.0);
            }
            // What was hinted at may turn out not to be (§6.2.6): the segment was cut short.
            Answered::Missing => {}
        }
        self.step = Step::Playlist;
        false
    }

    fn join_dash(&mut self, stage: &mut Stage<'_>) -> bool {
        let text = match self.get("index.mpd", stage) {
            Answered::Ready(response) => text_of(&response),
            _ => return self.later(stage),
        };
        let mpd = dash_mpd::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        stage.books.verified.mpds += 1;
        self.since_mpd = 0;
        if mpd.mpdtype.as_deref() == Some("static") {
            self.step = Step::Ended;
            return true;
        }
        let mut starts = mpd.periods.iter().map(|period| period.start.unwrap_or_default());
        let ascends = starts.next().is_some_and(|first| starts.try_fold(first, |a, b| (a < b).then_some(b)).is_some());
        assert!(ascends, "Periods do not ascend: {text}");
        let period = mpd.periods.last().expect("a Period");
        let all: Vec<_> =
            period.adaptations.iter().flat_map(|set| set.representations.iter().map(move |r| (set, r))).collect();
        assert!(!all.is_empty(), "a Period without Representations: {text}");
        let (set, representation) = all[self.choice % all.len()];
        let template = representation.SegmentTemplate.as_ref().or(set.SegmentTemplate.as_ref()).expect("a template");
        self.choose(representation.id.clone().expect("an id"), stage);
        let header =
            template.initialization.as_deref().expect("initialization").replace("$RepresentationID$", &self.track);
        self.header(&header, stage);
        let number = match (template.duration, &template.SegmentTimeline) {
            (Some(duration), None) => {
                let scale = template.timescale.unwrap_or(1) as f64;
                let elapsed = stage.now.as_secs_f64() - period.start.unwrap_or_default().as_secs_f64();
                (elapsed * scale / duration).floor() as u64 + template.startNumber.unwrap_or(1)
            }
            (None, Some(timeline)) => {
                let mut at = 0;
                let mut count = 0;
                for row in &timeline.segments {
                    let time = row.t.unwrap_or(at);
                    assert!(time >= at, "SegmentTimeline goes back: {text}");
                    let times = row.r.unwrap_or(0).max(0) as u64 + 1;
                    at = time + row.d * times;
                    count += times;
                }
                template.startNumber.unwrap_or(1) + count
            }
            other => panic!("neither duration nor timeline: {other:?}"),
        };
        // The clock of the channel need not be that of the viewer: what is being made is what is asked for.
        let snapshot = stage.channel.snapshot();
        let latest = snapshot.broadcast(None).and_then(|broadcast| {
            // A track that has fallen silent has gaps up to where the others are, and of text as much is known as was said.
            let newest = broadcast.track(&self.track)?.tail.last()?.number;
            Some(if self.kind == Kind::Text { broadcast.next } else { newest.max(broadcast.next) })
        });
        let latest = latest.unwrap_or(number);
        if stage.is_calm && stage.is_timely && template.duration.is_some() {
            // The last frame of a segment is here before the segment is over, and the first part of the next one is a part late.
            assert!(number.abs_diff(latest) <= 1, "{number} by the MPD, {latest} is being made: {text}");
        }
        self.step = Step::Segment(number.clamp(latest.saturating_sub(1), latest + 1));
        false
    }

    fn segment(&mut self, number: u64, stage: &mut Stage<'_>) -> bool {
        if stage.channel.snapshot().state() == State::Ended {
            self.settle();
            self.step = Step::Ended;
            return true;
        }
        // Players go by the clock, as text does not: it may be ahead of the others.
        let next = stage.channel.snapshot().broadcast(None).map_or(0, |broadcast| broadcast.next);
        if self.kind == Kind::Text && next < number {
            return true;
        }
        let uri = format!("{}/{number}.m4s", self.track);
        self.next = (number, 0);
        match self.get(&uri, stage) {
            Answered::Waits => true,
            Answered::Missing => {
                assert!(!stage.is_calm, "{uri} is not there: {}", stage.describe());
                self.later(stage)
            }
            Answered::Ready(response) => {
                assert_eq!(response.status, Status::OK, "{uri}");
                if let Some(growing) = response.growing {
                    self.followed = 0;
                    growing.progress.watch().subscribe(self.listener(), 0);
                    self.step = Step::Follow(number, *growing);
                    return false;
                }
                stage.books.body(&uri, &bytes_of(&response), number);
                self.done(number, stage)
            }
        }
    }

    fn follow(&mut self, number: u64, growing: Growing, stage: &mut Stage<'_>) -> bool {
        let (mark, end) = growing.progress.reached();
        assert!(mark - growing.start >= self.followed, "a segment that shrinks");
        self.followed = mark - growing.start;
        if end.is_none() {
            // As delivery: a run that does not grow is given up. Writers close silent segments before that.
            let is_over = stage.now.saturating_sub(self.fed) > Duration::from_secs(120);
            assert!(!(is_over && stage.is_calm), "{} {number} does not end", self.track);
            return true;
        }
        self.unsubscribe(growing.progress.watch());
        match end {
            Some(End::Complete(offset)) => {
                let bytes = growing.file.mapped().expect("mapped")[growing.start as usize..offset as usize].to_vec();
                stage.books.body(&format!("{}/{number}.m4s", self.track), &bytes, number);
                self.done(number, stage)
            }
            _ => self.later(stage),
        }
    }

    fn done(&mut self, number: u64, stage: &Stage<'_>) -> bool {
        self.fed = stage.now;
        self.since_mpd += 1;
        self.step = if self.since_mpd >= MPD_EVERY { Step::Join(stage.now) } else { Step::Segment(number + 1) };
        false
    }

    fn get(&mut self, path: &str, stage: &mut Stage<'_>) -> Answered {
        match ask(path, stage) {
            Outcome::Ready(response) => {
                self.settle();
                Answered::Ready(response)
            }
            Outcome::Missing => {
                self.settle();
                Answered::Missing
            }
            Outcome::Wait(wait) => {
                assert!(!wait.until.is_reached(), "{path} is to wait for what is there: {:?}", wait.until);
                let deadline = self.waits.as_ref().map_or(stage.now + wait.patience, |waits| waits.deadline);
                self.settle();
                stage.books.verified.waits += 1;
                wait.until.watch.subscribe(self.listener(), 0);
                self.waits = Some(Waiting { until: wait.until, deadline, otherwise: wait.otherwise });
                Answered::Waits
            }
            Outcome::Compress(_) | Outcome::Read(_) | Outcome::Make(_) => panic!("{path}: nobody asked for that"),
        }
    }

    fn settle(&mut self) {
        if let Some(waits) = self.waits.take() {
            self.unsubscribe(&waits.until.watch);
        }
    }

    fn listener(&self) -> Arc<dyn Listener> {
        self.bell.clone()
    }

    fn unsubscribe(&self, watch: &Watch) {
        watch.unsubscribe(&self.listener(), 0);
    }
}

pub fn ask(path: &str, stage: &Stage<'_>) -> Outcome {
    let head = format!("GET /live/c/{path} HTTP/1.1\r\nHost: h\r\n\r\n");
    let (request, _) = request::parse(head.as_bytes()).expect("a request").expect("a whole one");
    let below = request.path.strip_prefix("/live/c/").expect("of the channel");
    let resource = live_url::parse(below).unwrap_or_else(|| panic!("{path} is no URL of a channel"));
    let snapshot = stage.channel.snapshot();
    loop {
        match stage.service.answer(&request, "c", &*snapshot, resource, stage.now) {
            // As a helper of the delivery plane does.
            Outcome::Read(extents) => extents.iter().for_each(|extent| drop(bytes_of_extent(extent))),
            outcome => return outcome,
        }
    }
}

/// What is said in a segment of text: the same as it is stored and as WebVTT.
pub fn cues_of(track: &str, number: u64, init: &str, stage: &mut Stage<'_>) -> Vec<u64> {
    let bytes = |path: String, stage: &mut Stage<'_>| match ask(&path, stage) {
        Outcome::Ready(response) if response.status == Status::OK => bytes_of(&response),
        _ => panic!("{path} is not there"),
    };
    let [header, media, webvtt] = [
        bytes(format!("{track}/{init}.mp4"), stage),
        bytes(format!("{track}/{number}.m4s"), stage),
        bytes(format!("{track}/{number}.vtt"), stage),
    ];
    let found = frames(Kind::Text, &header, &media, &format!("{track} {number}"));
    let webvtt = String::from_utf8(webvtt).expect("WebVTT is text");
    let digits = webvtt.lines().filter(|line| line.len() == 16).filter_map(|line| u64::from_str_radix(line, 16).ok());
    assert_eq!(digits.collect::<Vec<_>>(), found, "{track}/{number}.vtt: {webvtt}");
    found
}

/// The names of the tracks in a multivariant playlist.
pub fn media_playlists(text: &str) -> Vec<String> {
    playlists(text).into_iter().filter(|name| !name.ends_with(KEY_FRAMES)).collect()
}

/// What the names of I-frame playlists end with.
pub const KEY_FRAMES: &str = ".iframes";

/// The names of all playlists in a multivariant playlist.
pub fn playlists(text: &str) -> Vec<String> {
    let quoted = text.split("URI=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let plain = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut found: Vec<String> =
        plain.chain(quoted).filter_map(|uri| Some(uri.split_once(".m3u8")?.0.to_owned())).collect();
    found.sort();
    found.dedup();
    found
}

pub fn text_of(response: &Response) -> String {
    String::from_utf8(bytes_of(response)).expect("text")
}

pub fn bytes_of(response: &Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in response.body.pieces() {
        match piece {
            Piece::Inline(inline) => bytes.extend_from_slice(inline),
            Piece::Extent(extent) => bytes.extend(bytes_of_extent(extent)),
        }
    }
    bytes
}

fn bytes_of_extent(extent: &Extent) -> Vec<u8> {
    extent.file.mapped().expect("mapped")[extent.offset as usize..extent.end() as usize].to_vec()
}
