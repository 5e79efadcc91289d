//! One channel with its encoders, disk and viewers, in virtual time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use headwater::base::Ticks;
use headwater::http::{Response, Status};
use headwater::live::{ChannelWriter, Located, Options, Recovered, Redundancy, SessionId, Snapshot, SourceName};
use headwater::media::Kind;
use headwater::media::broadcast::{Mark, State};
use headwater::media::feed::{Event, Marker, Message};
use headwater::package::hls::{self, rules};
use headwater::service::live::{Live, Outcome};

use super::books::Books;
use super::disk::{Crash, Disk, Mood};
use super::encoder::{Encoder, Scene, serial};
use super::random::Random;
use super::transport::Old;
use super::viewer::{Stage, Taste, Viewer, ask, cues_of, describe, playlists, text_of};

pub struct World {
    pub now: Duration,
    pub random: Random,
    pub writer: ChannelWriter,
    pub disk: Disk,
    pub options: Options,
    pub encoders: Vec<Encoder>,
    /// Nothing of what these film arrives.
    pub away: Vec<SessionId>,
    pub scene: Scene,
    pub viewers: Vec<Viewer>,
    /// Of transport streams.
    pub old: Old,
    pub books: Books,
    service: Live,
    clocks: u64,
    /// Media time is the time of day: no encoder's clock was ever off.
    pub is_timely: bool,
    /// When a picture or sound of an encoder came last, or the process began after one had.
    heard: Option<Duration>,
    /// Since when all is as it should be.
    calm_since: Duration,
    /// How far each track was, when the calm had settled.
    progress: Vec<(String, f64)>,
    /// Until then, viewers may find that what they knew is gone.
    lossy_until: Duration,
    /// Marks that were sent and are to be shown, by when they take effect.
    marks: Vec<(Duration, u32)>,
    /// What was said in the calm, and when.
    cues: Vec<(Duration, u64)>,
    shown: Option<Arc<Snapshot>>,
    pub crashes: u64,
}

/// What it keeps is little, so that there is something to forget.
fn service() -> Live {
    Live::new(1 << 18, Response::error(Status::NOT_FOUND, "nothing is here", ""))
}

pub fn usual() -> Options {
    Options {
        name: "c".to_owned(),
        segment: Duration::from_secs(2),
        part: Some(Duration::from_millis(500)),
        window: Duration::from_secs(120),
        redundancy: Redundancy::Standby,
        end: false,
        anchor: None,
        cue_tags: false,
        captions: Arc::default(),
        sync: Duration::from_secs(1),
    }
}

/// Whether a channel has text, which is decided apart from all else.
pub fn has_text(seed: u64) -> bool {
    super::number("HEADWATER_SIMULATION_TEXT").map_or_else(|| Random::new(seed ^ TEXT).one_in(4), |wanted| wanted > 0.0)
}

const TEXT: u64 = 0x7e87 << 32;
/// Of the real recorder.
const TICK: Duration = Duration::from_millis(100);
/// All tracks are closed by then: after twice a slot and as far as a publisher may be ahead, counted from when samples that waited
/// for the grid were taken.
const SILENT: Duration = Duration::from_secs(21);
/// After a mishap, until everything is expected to go well again.
pub const SETTLE: Duration = Duration::from_secs(20);

impl World {
    /// Of a kind that the seed decides.
    pub fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let options = Options {
            part: [Some(500), Some(1_000), Some(500), None][random.below(4) as usize].map(Duration::from_millis),
            window: Duration::from_secs([30, 120, 120, 600][random.below(4) as usize]),
            redundancy: [Redundancy::Standby, Redundancy::Standby, Redundancy::Takeover, Redundancy::Refuse]
                [random.below(4) as usize],
            end: random.one_in(3),
            cue_tags: random.one_in(2),
            ..usual()
        };
        let is_fine = random.one_in(6);
        let medium = random.below(8);
        let scene = Scene {
            frame: if is_fine { 40 } else { 200 },
            group: if is_fine { 50 } else { 10 },
            is_music: is_fine,
            has_video: medium != 0,
            has_audio: medium != 1,
            has_text: has_text(seed),
            is_exact: random.one_in(2),
        };
        World::with(random, options, scene)
    }

    fn with(mut random: Random, options: Options, scene: Scene) -> World {
        let now = Duration::from_secs(1_800_000_000) + Duration::from_millis(random.below(100_000));
        World::at(now, random, options, scene)
    }

    pub fn at(now: Duration, random: Random, options: Options, scene: Scene) -> World {
        let mut world = World {
            now,
            writer: ChannelWriter::new(options.clone(), Recovered::default(), now),
            disk: Disk::new(),
            options,
            encoders: Vec::new(),
            away: Vec::new(),
            scene,
            viewers: Vec::new(),
            old: Old::default(),
            books: Books::default(),
            service: service(),
            clocks: 0,
            is_timely: true,
            heard: None,
            calm_since: now,
            progress: Vec::new(),
            lossy_until: Duration::ZERO,
            marks: Vec::new(),
            cues: Vec::new(),
            shown: None,
            crashes: 0,
            random,
        };
        let tastes = match world.options.part {
            Some(_) => {
                &[Taste::Parts, Taste::Parts, Taste::Deltas, Taste::Hints, Taste::Segments, Taste::Dash, Taste::Dash][..]
            }
            None => &[Taste::Segments, Taste::Segments, Taste::Dash],
        };
        world.viewers = (0..).zip(tastes).map(|(choice, &taste)| Viewer::new(taste, choice, now)).collect();
        world
    }

    /// Encoders whose timestamps are the time of day and `offset` milliseconds: one for all tracks, or one for each.
    pub fn connect_all(&mut self, is_ladder: bool, offset: i64) {
        self.clocks += 1;
        let sound = Scene { has_video: false, ..self.scene };
        let picture = Scene { has_audio: false, has_text: false, ..self.scene };
        match is_ladder && self.scene.has_video && self.scene.has_audio {
            true => {
                for (name, scene) in [("high", picture), ("low", picture), ("sound", sound)] {
                    self.connect(SourceName::Rendition(name.to_owned()), scene, offset);
                }
            }
            false => self.connect(SourceName::Main, self.scene, offset),
        }
    }

    pub fn connect(&mut self, source: SourceName, scene: Scene, offset: i64) {
        let session = self.writer.publish(source.clone(), self.now).expect("nobody else publishes that");
        let encoder = Encoder::new(session, source, scene, offset, self.clocks, self.now);
        self.announce(&encoder);
        self.encoders.push(encoder);
    }

    pub fn announce(&mut self, encoder: &Encoder) {
        for event in encoder.formats() {
            self.writer.feed(encoder.session, event, self.now).expect("it is wanted");
        }
    }

    pub fn new_clock(&mut self) -> u64 {
        self.clocks += 1;
        self.clocks
    }

    pub fn disconnect_all(&mut self) {
        for encoder in std::mem::take(&mut self.encoders) {
            self.writer.unpublish(encoder.session, self.now);
        }
        self.away.clear();
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    pub fn step(&mut self) {
        self.now += TICK;
        for at in 0..self.encoders.len() {
            let is_away = self.away.contains(&self.encoders[at].session);
            let session = self.encoders[at].session;
            for event in self.encoders[at].film(self.now, is_away) {
                if let Event::Sample { sample, .. } = &event
                    && let Some(cue) = serial(Kind::Text, &sample.data)
                    && self.is_calm()
                {
                    self.cues.push((self.now, cue));
                }
                if matches!(&event, Event::Sample { sample, .. } if serial(Kind::Text, &sample.data).is_none()) {
                    self.heard = Some(self.now);
                }
                self.writer.feed(session, event, self.now).expect("it is wanted");
                self.pump();
            }
        }
        self.writer.tick(self.now);
        self.pump();
        self.watch();
        if self.now.subsec_millis() < TICK.as_millis() as u32 {
            self.compare_tracks();
        }
        if self.progress.is_empty() && self.is_calm() {
            self.progress = self.ends();
        }
    }

    /// Whether nothing has gone wrong for so long that nothing may be wrong.
    pub fn is_calm(&self) -> bool {
        self.now.saturating_sub(self.calm_since) > SETTLE
            && self.disk.mood == Mood::default()
            && !self.encoders.is_empty()
            && self.away.is_empty()
            && self.encoders.iter().all(|encoder| encoder.feeds.iter().all(|feed| !feed.is_muted))
    }

    pub fn pump(&mut self) {
        loop {
            while let Some(op) = self.writer.poll() {
                self.disk.begin(op, self.now, &mut self.random);
            }
            match self.disk.completed(self.now, &mut self.random) {
                Some((lane, outcome)) => self.writer.completed(lane, outcome),
                None => return,
            }
            self.look();
        }
    }

    /// Looks at what is published, if it is news.
    fn look(&mut self) {
        let snapshot = self.writer.channel().snapshot();
        if self.shown.as_ref().is_some_and(|shown| Arc::ptr_eq(shown, &snapshot)) {
            return;
        }
        if super::talk() > 1 {
            println!("{}", describe(self.writer.channel(), self.now));
        }
        self.books.snapshot(&snapshot);
        if let Some(broadcast) = snapshot.broadcast(None) {
            let from =
                broadcast.grid.timescale.duration(broadcast.grid.start(broadcast.first, broadcast.grid.timescale));
            self.marks.retain(|(time, _)| *time >= from);
            for (time, event) in &self.marks {
                let is_shown = |mark: &Mark| matches!(&mark.message, Message::Event { id, .. } if id == event);
                assert!(broadcast.marks.iter().any(is_shown), "the mark {event} at {time:?} is gone");
            }
        }
        self.shown = Some(snapshot);
    }

    fn watch(&mut self) {
        self.look();
        let mut viewers = std::mem::take(&mut self.viewers);
        let mut old = std::mem::take(&mut self.old);
        self.staged(|stage| {
            viewers.iter_mut().for_each(|viewer| viewer.turn(stage));
            old.turn(stage);
        });
        (self.viewers, self.old) = (viewers, old);
        if self.is_calm() {
            let patience = Duration::from_secs(12);
            let is_over = self.writer.channel().snapshot().state() == State::Ended;
            for viewer in self.viewers.iter().filter(|_| !is_over) {
                let hungry = self.now.saturating_sub(viewer.fed.max(self.calm_since + SETTLE));
                assert!(
                    hungry <= patience,
                    "a {:?} viewer of {} got nothing for {hungry:?}",
                    viewer.taste,
                    viewer.track
                );
            }
        }
    }

    pub fn staged<T>(&mut self, act: impl FnOnce(&mut Stage<'_>) -> T) -> T {
        let is_calm = self.is_calm();
        act(&mut Stage {
            service: &self.service,
            channel: self.writer.channel(),
            books: &mut self.books,
            now: self.now,
            is_calm,
            is_timely: self.is_timely,
            is_lossy: self.now < self.lossy_until,
        })
    }

    /// What happens now is no calm; before it, there was.
    pub fn disturb(&mut self) {
        self.judge_calm();
        self.calm_since = self.now;
        self.progress.clear();
        self.cues.clear();
    }

    /// The mishap is over.
    pub fn settle(&mut self) {
        self.calm_since = self.now;
        self.progress.clear();
        self.cues.clear();
    }

    /// Through a calm, every track went on, and not a frame is missing.
    fn judge_calm(&mut self) {
        let elapsed = self.now.saturating_sub(self.calm_since + SETTLE).as_secs_f64();
        if !self.is_calm() || elapsed < 10.0 {
            return;
        }
        self.judge_text();
        let ends = self.ends();
        assert!(!ends.is_empty(), "nothing is published after {elapsed} s of calm");
        for (id, end) in &ends {
            let Some((_, before)) = self.progress.iter().find(|(known, _)| known == id) else { continue };
            let place = self.writer.counts();
            // Text is ahead by what is said, and where nothing is it comes two segments later.
            let late = if id.ends_with("t1") { 9.0 } else { 6.0 };
            assert!(
                end - before > elapsed - late,
                "{id} went on by {} s in {elapsed} s: {place:?} {}",
                end - before,
                describe(self.writer.channel(), self.now)
            );
        }
        // Who takes every part of these two has had them all.
        let tracks: Vec<String> = self
            .viewers
            .iter()
            .filter(|viewer| viewer.taste == Taste::Parts && viewer.kind != Kind::Text)
            .map(|viewer| viewer.track.clone())
            .collect();
        for track in tracks {
            let Some((first, last, before)) = self.books.unbroken(&track) else { continue };
            let is_video = track.contains('v') && !track.starts_with("sound");
            let each = match (is_video, self.scene.is_music) {
                (true, _) => self.scene.frame as f64 / 1e3,
                (false, true) => 1_024.0 / 48_000.0,
                (false, false) => 1_024.0 / 8_000.0,
            };
            let lasts = (last - first) as f64 * each;
            // What has left the window is forgotten here, too.
            let elapsed = elapsed.min(self.options.window.as_secs_f64());
            assert!(
                lasts > elapsed - 6.0,
                "{track}: {lasts} s without a missing frame, in {elapsed} s of calm: {before}; {}",
                describe(self.writer.channel(), self.now)
            );
        }
    }

    /// What was said in the calm is shown, as it is stored and as WebVTT.
    fn judge_text(&mut self) {
        // What has left the window is not there any more, and what was said just now is not there yet.
        let (behind, margin) = (Duration::from_secs(8), Duration::from_secs(10));
        let is_due = |said: Duration| said + behind < self.now && said + self.options.window > self.now + margin;
        let cues = std::mem::take(&mut self.cues);
        let due: BTreeSet<u64> = cues.iter().filter(|(said, _)| is_due(*said)).map(|(_, cue)| *cue).collect();
        let tracks: Vec<String> = self.ends().into_iter().map(|(id, _)| id).filter(|id| id.ends_with("t1")).collect();
        for track in tracks {
            let snapshot = self.writer.channel().snapshot();
            let broadcast = snapshot.broadcast(None).expect("it has a track");
            let listed = broadcast.track(&track).expect("it is published");
            let init = listed.tail.last().map(|segment| segment.init.clone()).expect("it ends somewhere");
            let numbers: Vec<_> = listed.segments(0).filter(|one| one.is_complete).map(|one| one.number).collect();
            let shown: BTreeSet<u64> =
                self.staged(|stage| numbers.iter().flat_map(|&number| cues_of(&track, number, &init, stage)).collect());
            let missing: Vec<_> = due.difference(&shown).collect();
            assert!(
                missing.is_empty(),
                "{track}: {missing:x?} is not shown: {}",
                describe(self.writer.channel(), self.now)
            );
        }
    }

    /// In seconds, of the tracks that are being sent.
    fn ends(&self) -> Vec<(String, f64)> {
        let snapshot = self.writer.channel().snapshot();
        let Some(broadcast) = snapshot.broadcast(None) else { return Vec::new() };
        let sources: Vec<String> = self
            .encoders
            .iter()
            .flat_map(|encoder| {
                let prefix = match &encoder.source {
                    SourceName::Rendition(name) => format!("{name}-"),
                    _ => String::new(),
                };
                let video = encoder.scene.has_video.then(|| format!("{prefix}v1"));
                let audio = encoder.scene.has_audio.then(|| format!("{prefix}a1"));
                let text = encoder.scene.has_text.then(|| format!("{prefix}t1"));
                video.into_iter().chain(audio).chain(text)
            })
            .collect();
        let end = |id: &String| {
            let track = broadcast.track(id)?;
            let last = track.tail.last()?;
            Some((id.clone(), track.track.timescale.seconds(Ticks(last.time.0 + last.duration.0))))
        };
        sources.iter().filter_map(end).collect()
    }

    /// The process or the power ends, and a new process begins.
    pub fn crash(&mut self, crash: Crash) {
        let was_failing = self.disk.is_state_stale;
        self.crashes += 1;
        self.disk.crash(crash, &mut self.random);
        let recovered = self.disk.recover();
        self.writer = ChannelWriter::new(self.options.clone(), recovered, self.now);
        self.service = service();
        let is_lossy = crash == Crash::Power || was_failing;
        if is_lossy {
            self.lossy_until = self.now + Duration::from_secs(60);
            self.books.forget();
            self.old.forget();
            self.marks.clear();
        }
        for viewer in &mut self.viewers {
            viewer.disconnect(is_lossy, self.now);
        }
        self.encoders.clear();
        self.away.clear();
        self.heard = self.heard.map(|_| self.now);
        self.shown = None;
        self.look();
        self.pump();
        self.watch();
    }

    /// A mark that takes effect at once.
    pub fn mark(&mut self) {
        let Some(session) = self.encoders.first().map(|encoder| encoder.session) else { return };
        let id = self.random.below(1 << 30) as u32;
        let message =
            Message::Event { scheme: "urn:simulated".to_owned(), value: String::new(), id, data: Default::default() };
        let marker = Marker { time: None, duration: None, message };
        self.writer.feed(session, Event::Marker(marker), self.now).expect("it is wanted");
        self.pump();
        let snapshot = self.writer.channel().snapshot();
        let Some(broadcast) = snapshot.broadcast(None) else { return };
        let is_it = |mark: &&Mark| matches!(&mark.message, Message::Event { id: other, .. } if *other == id);
        // It has been told only once it is on disk.
        let is_saved = self.disk.mood == Mood::default();
        if let Some(mark) = broadcast.marks.iter().find(is_it).filter(|_| is_saved) {
            self.marks.push((mark.time, id));
        }
    }

    /// The playlists of all tracks belong together, and what they list is there.
    fn compare_tracks(&mut self) {
        let snapshot = self.writer.channel().snapshot();
        let Some(broadcast) = snapshot.broadcast(None) else { return };
        let mut first: Option<Arc<rules::Checked>> = None;
        for track in &broadcast.tracks {
            let id = &track.track.id;
            let text = hls::live_media(&broadcast, track, &hls::Live::default());
            let checked = self.books.playlist(&text, id);
            // Who asks for what never comes would wait in vain. Of text, what is said may end later.
            let is_silent =
                self.heard.is_some_and(|heard| self.now - heard > SILENT) && self.disk.mood == Mood::default();
            let is_whole = checked.open_parts.is_empty() && track.track.kind() != Kind::Text;
            assert!(
                !(is_silent && is_whole) || checked.hint.is_none(),
                "{id}: {:?} is hinted at, and nobody sends",
                checked.hint
            );
            for part in checked.segments.iter().flat_map(|segment| &segment.parts).chain(&checked.open_parts) {
                let place = part.uri.rsplit_once('/').and_then(|(_, name)| name.rsplit_once('.')?.0.split_once('.'));
                let (number, index) = place.expect("a part's name has its segment's number and its own");
                let there = snapshot.part(id, number.parse().expect("a number"), index.parse().expect("an index"));
                assert_eq!(matches!(there, Located::Whole(_)), !part.is_gap, "{id}: {part:?}");
            }
            for (number, segment) in (checked.media_sequence..).zip(&checked.segments) {
                let is_right = match snapshot.segment(id, number) {
                    Located::Gap { .. } => segment.is_gap,
                    Located::Whole(_) => !segment.is_gap,
                    _ => false,
                };
                assert!(is_right, "{id}: {segment:?}: {}", describe(self.writer.channel(), self.now));
            }
            if let Some(other) = &first {
                rules::check_beside(other, &checked).unwrap_or_else(|wrong| panic!("{id}: {wrong}\n{text}"));
            }
            first.get_or_insert(checked);
        }
    }

    /// Somebody looks at a stretch of the window, which may begin before it and end after it.
    pub fn look_back(&mut self) {
        let snapshot = self.writer.channel().snapshot();
        let Some(broadcast) = snapshot.broadcast(None) else { return };
        let slot = broadcast.grid.slot_duration().as_millis() as u64;
        let begins = broadcast.first * slot;
        let lasts = (broadcast.next - broadcast.first) * slot + 1;
        let start = begins + self.random.below(lasts) - 5_000.min(begins);
        let end = start + 1 + self.random.below(lasts + 10_000);
        let is_open = self.random.one_in(3);
        let query = match is_open {
            true => format!("?start={}.{:03}", start / 1_000, start % 1_000),
            false => format!("?start={}.{:03}&end={}.{:03}", start / 1_000, start % 1_000, end / 1_000, end % 1_000),
        };
        let channel_ended = broadcast.state == State::Ended;
        let first = broadcast.first;
        drop(broadcast);
        self.staged(|stage| {
            let Outcome::Ready(response) = ask(&format!("index.m3u8{query}"), stage) else { return };
            let text = text_of(&response);
            assert_eq!(response.status.0, 200, "{query}: {text}");
            // Whether each track has more than there is of the stretch, and whether that is told to be all.
            let mut ends = Vec::new();
            for name in playlists(&text) {
                let Outcome::Ready(response) = ask(&format!("{name}.m3u8{query}"), stage) else {
                    panic!("{name}{query} is listed, and is not there")
                };
                let text = text_of(&response);
                let of_stretch = stage.books.playlist(&text, &format!("{name}{query}"));
                let Outcome::Ready(response) = ask(&format!("{name}.m3u8"), stage) else { panic!("{name} is gone") };
                let whole = stage.books.playlist(&text_of(&response), &name);
                assert!(of_stretch.media_sequence >= first, "{query}: {text}");
                // The same segments, as they are listed at the live edge.
                let skip = (of_stretch.media_sequence - whole.media_sequence) as usize;
                for (a, b) in of_stretch.segments.iter().zip(whole.segments.iter().skip(skip)) {
                    assert_eq!((&a.uri, a.duration, a.is_gap), (&b.uri, b.duration, b.is_gap), "{query}: {text}");
                }
                let last = of_stretch.media_sequence + of_stretch.segments.len() as u64;
                let edge = whole.media_sequence + whole.segments.len() as u64;
                // A track that has not come to its beginning yet has nothing of it.
                assert!(last <= edge || of_stretch.segments.is_empty(), "{query} goes on behind the live edge: {text}");
                ends.push((last < edge, of_stretch.is_ended));
                for segment in of_stretch.segments.iter().filter(|segment| !segment.is_gap) {
                    let found =
                        matches!(ask(&segment.uri, stage), Outcome::Ready(response) if response.status.0 == 200);
                    assert!(found, "{} is listed for {query}, and is not there", segment.uri);
                }
            }
            // It ends for all at once: where one track broke off before the others, what it may still bring is waited for.
            let is_past = !is_open && ends.iter().all(|(is_past, _)| *is_past);
            let is_ended = ends.iter().all(|(_, is_ended)| *is_ended);
            assert!(!is_past || is_ended || channel_ended, "{query} is over, and not ended: {text} {ends:?}");
            if let Outcome::Ready(response) = ask(&format!("index.mpd{query}"), stage) {
                let text = text_of(&response);
                dash_mpd::parse(&text).unwrap_or_else(|error| panic!("{query}: {error}\n{text}"));
            }
            stage.books.verified.stretches += 1;
        });
    }
}
