//! Two origins fed by one encoder, one of them a little later than the other, with a slow disk, and crashing now and then:
//! what they publish is the same, byte for byte, but for what one of them missed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use headwater::base::{Ticks, Timescale};
use headwater::live::{ChannelWriter, Options, Recovered, SessionId, SourceName};
use headwater::media::Kind;
use headwater::media::feed::{Event, Marker, Message, TrackKey};
use headwater::package::dash;
use headwater::package::hls::{self, rules};
use headwater::package::live_url::Stretch;
use serde_json::Value;

use super::disk::{Crash, Disk};
use super::encoder::{Encoder, Scene};
use super::random::Random;
use super::viewer::describe;
use super::world::{has_text, usual};

struct Twin {
    writer: ChannelWriter,
    disk: Disk,
    options: Options,
    random: Random,
    /// How much later everything comes here.
    skew: Duration,
    session: Option<SessionId>,
    arriving: VecDeque<(Duration, Arrival)>,
    now: Duration,
    /// It was down before bit rates were measured: they are of other segments.
    is_unrated: bool,
    /// When the last sample came.
    heard: Duration,
    /// The encoder's number of its text, whether none of it was there after the last crash, and when something was first said since.
    text: Option<TrackKey>,
    has_lost_text: bool,
    said: Option<Duration>,
}

#[derive(Clone)]
enum Arrival {
    Connect(Vec<Event>),
    Disconnect,
    Event(Event),
}

const TICK: Duration = Duration::from_millis(100);
/// The encoder's only track of text.
const TEXT: &str = "t1";

impl Twin {
    fn new(options: &Options, seed: u64, skew: Duration, now: Duration) -> Twin {
        Twin {
            writer: ChannelWriter::new(options.clone(), Recovered::default(), now),
            disk: Disk::new(),
            options: options.clone(),
            random: Random::new(seed),
            skew,
            session: None,
            arriving: VecDeque::new(),
            now,
            is_unrated: false,
            heard: now,
            text: None,
            has_lost_text: false,
            said: None,
        }
    }

    fn send(&mut self, at: Duration, arrival: &Arrival) {
        self.arriving.push_back((at + self.skew, arrival.clone()));
    }

    fn run(&mut self, until: Duration) {
        while self.now < until {
            self.now += TICK;
            while self.arriving.front().is_some_and(|(at, _)| *at <= self.now) {
                let Some((_, arrival)) = self.arriving.pop_front() else { break };
                self.take(arrival);
                self.pump();
            }
            self.writer.tick(self.now);
            self.pump();
        }
    }

    fn take(&mut self, arrival: Arrival) {
        match (arrival, self.session) {
            (Arrival::Connect(formats), _) => {
                let session = self.writer.publish(SourceName::Main, self.now).expect("nobody else publishes");
                self.session = Some(session);
                for event in formats {
                    if let Event::Track { track, format } = &event
                        && format.kind == Kind::Text
                    {
                        self.text = Some(*track);
                    }
                    self.writer.feed(session, event, self.now).expect("it is wanted");
                }
            }
            (Arrival::Disconnect, Some(session)) => self.writer.unpublish(session, self.now),
            (Arrival::Event(event), Some(session)) => {
                self.heard = self.now;
                if let Event::Sample { track, .. } = &event
                    && self.text == Some(*track)
                {
                    self.said.get_or_insert(self.now);
                }
                self.writer.feed(session, event, self.now).expect("it is wanted");
            }
            (_, None) => {}
        }
    }

    fn pump(&mut self) {
        loop {
            while let Some(op) = self.writer.poll() {
                self.disk.begin(op, self.now, &mut self.random);
            }
            match self.disk.completed(self.now, &mut self.random) {
                Some((lane, outcome)) => self.writer.completed(lane, outcome),
                None => return,
            }
        }
    }

    /// Down for a while: what is sent meanwhile never arrives.
    fn crash(&mut self, down: Duration) {
        self.disk.crash(Crash::Process, &mut self.random);
        self.now += down;
        let recovered = self.disk.recover();
        let state = recovered.state.as_deref().and_then(|state| serde_json::from_slice::<Value>(state).ok());
        let is_rated = |track: &Value| track["rated"] == true && (track["kind"] != 0 || track["key_frame_size"] != 0);
        let tracks = state.as_ref().and_then(|state| state["tracks"].as_array());
        // There are pictures always; and before they are known, nothing is rated.
        let has_pictures = |tracks: &[Value]| tracks.iter().any(|track| track["kind"] == 0);
        self.is_unrated |= tracks.is_none_or(|tracks| !has_pictures(tracks) || !tracks.iter().all(is_rated));
        self.writer = ChannelWriter::new(self.options.clone(), recovered, self.now);
        self.arriving.clear();
        self.session = None;
        self.said = None;
        self.has_lost_text = self.text.is_some() && !self.manifests().contains_key(TEXT);
    }

    fn slot(&self) -> Duration {
        let snapshot = self.writer.channel().snapshot();
        snapshot.broadcast(None).map(|broadcast| broadcast.grid.slot_duration()).unwrap_or_default()
    }

    /// Playlists by track, and the MPD.
    fn manifests(&self) -> BTreeMap<String, String> {
        let snapshot = self.writer.channel().snapshot();
        let Some(broadcast) = snapshot.broadcast(None) else { return BTreeMap::new() };
        let mut found: BTreeMap<String, String> = broadcast
            .tracks
            .iter()
            .map(|track| (track.track.id.clone(), hls::live_media(&broadcast, track, &hls::Live::default())))
            .collect();
        for track in broadcast.of_kind(Kind::Video) {
            let text = hls::live_media_key_frames(&broadcast, track, &hls::Whole::default());
            found.insert(format!("{}.iframes", track.track.id), text);
        }
        found.insert("index.m3u8".to_owned(), hls::live_multivariant(&broadcast, Stretch::default()));
        found.insert("index.mpd".to_owned(), dash::live_mpd(&broadcast, Stretch::default()));
        found
    }

    /// Up to which segment it has no text, of which nothing was written before the crash: such a track begins with what is said
    /// first. What is said takes a slot or two until a part of it is published.
    fn speechless(&self, last: u64) -> Option<u64> {
        let snapshot = self.writer.channel().snapshot();
        let grid = snapshot.broadcast(None)?.grid;
        let of = |said: Duration| grid.number(Ticks(said.as_millis() as i64), Timescale::MILLIS);
        self.has_lost_text.then(|| self.said.map_or(last, of))
    }

    fn has_spoken(&self) -> bool {
        self.said.is_some_and(|said| self.now.saturating_sub(said) >= self.slot() * 3)
    }
}

#[derive(Debug, Default)]
pub struct Compared {
    pub hours: f64,
    pub crashes: u64,
    pub changes: u64,
    pub whole: u64,
    pub segments: u64,
}

pub fn simulate(seed: u64, hours: f64) -> Compared {
    let mut random = Random::new(seed ^ 0x7717);
    let begun = Duration::from_secs(1_800_000_000) + Duration::from_millis(random.below(100_000));
    let options = Options { window: Duration::from_secs(60), ..usual() };
    let is_fine = random.one_in(6);
    let scene = Scene {
        frame: if is_fine { 40 } else { 200 },
        group: if is_fine { 50 } else { 10 },
        is_music: is_fine,
        has_video: true,
        has_audio: true,
        has_text: has_text(seed),
        is_exact: random.one_in(2),
    };
    let skew = Duration::from_millis(random.below(4) * 100);
    let mut a = Twin::new(&options, seed + 1, Duration::ZERO, begun);
    let mut b = Twin::new(&options, seed + 2, skew, begun);
    let mut encoder = Encoder::new(SessionId(0), SourceName::Main, scene, 0, 1, begun);
    let (mut now, mut compared) = (begun, Compared::default());
    // Of segments that the second missed something of.
    let mut missed: Option<(u64, u64)> = None;
    let connect = |a: &mut Twin, b: &mut Twin, encoder: &Encoder, now| {
        for twin in [a, b] {
            twin.send(now, &Arrival::Connect(encoder.formats()));
        }
    };
    connect(&mut a, &mut b, &encoder, now);
    let end = begun + Duration::from_secs_f64(hours * 3_600.0);
    while now < end {
        let quiet = Duration::from_millis(1_000 + random.below(40_000));
        film(&mut encoder, &mut a, &mut b, &mut now, quiet, false);
        let which = random.below(8);
        if super::talk() > 0 {
            println!("{:.1} mishap {which} of twins", now.as_secs_f64());
        }
        match which {
            0 => {
                film(&mut encoder, &mut a, &mut b, &mut now, Duration::from_millis(100 * (1 + random.below(30))), true)
            }
            1 => {
                let lasts = Duration::from_secs(6 + random.below(20));
                film(&mut encoder, &mut a, &mut b, &mut now, lasts, true);
            }
            2 => {
                encoder.is_large = !encoder.is_large;
                compared.changes += 1;
                for event in encoder.formats() {
                    for twin in [&mut a, &mut b] {
                        twin.send(now, &Arrival::Event(event.clone()));
                    }
                }
                // The new format is learnt from a few frames.
                film(&mut encoder, &mut a, &mut b, &mut now, Duration::from_secs(10), false);
            }
            3 => {
                let message = Message::Event {
                    scheme: "urn:simulated".to_owned(),
                    value: String::new(),
                    id: random.below(1 << 30) as u32,
                    data: Default::default(),
                };
                let marker = Event::Marker(Marker { time: None, duration: None, message });
                for twin in [&mut a, &mut b] {
                    twin.send(now, &Arrival::Event(marker.clone()));
                }
            }
            4 => {
                for twin in [&mut a, &mut b] {
                    twin.send(now, &Arrival::Disconnect);
                }
                let away = Duration::from_secs(6 + random.below(20));
                film(&mut encoder, &mut a, &mut b, &mut now, away, true);
                connect(&mut a, &mut b, &encoder, now);
            }
            5 => b.disk.mood.slow = if b.disk.mood.slow == 0 { 300 } else { 0 },
            6 if missed.is_none() => {
                let down = Duration::from_millis(100 * random.below(80));
                // A track may be behind the others, on a slow disk.
                let first = last_numbers(&b).into_iter().min().unwrap_or(0);
                b.crash(down);
                compared.crashes += 1;
                film(&mut encoder, &mut a, &mut b, &mut now, down, false);
                // As an encoder with two outputs does it: it says again what it sends, and goes on with what comes then.
                b.arriving.clear();
                b.send(now, &Arrival::Connect(encoder.formats()));
                film(&mut encoder, &mut a, &mut b, &mut now, Duration::from_secs(8), false);
                missed = Some((first.saturating_sub(1), last_number(&a)));
            }
            _ => {}
        }
        // Both have had the same.
        let slow = std::mem::take(&mut b.disk.mood.slow);
        let mut settled = now + Duration::from_secs(1);
        // Who falls silent is closed by the clock, and the clocks of when each last heard something differ. So do those of who waits
        // in vain for a second key frame and makes do, counted from the first sample; and what is begun by that is closed by
        // the clock, too.
        let patience = a.slot().max(Duration::from_millis(1_500)) * 2;
        let (early, late) = (Duration::from_millis(500), Duration::from_secs(2));
        let waits = options.segment * 3;
        let unclear =
            [(a.heard + patience - early, a.heard + patience + late), (begun + waits, begun + waits + patience + late)];
        while let Some((_, clear)) = unclear.iter().find(|(from, to)| (*from..*to).contains(&settled)) {
            settled = *clear;
        }
        film(&mut encoder, &mut a, &mut b, &mut now, TICK, true);
        a.run(settled);
        b.run(settled);
        let left = settled.saturating_sub(now);
        film(&mut encoder, &mut a, &mut b, &mut now, left, true);
        b.disk.mood.slow = slow;
        compare(&a, &b, &mut missed, &mut compared);
    }
    compared.hours = (now - begun).as_secs_f64() / 3_600.0;
    compared
}

fn film(encoder: &mut Encoder, a: &mut Twin, b: &mut Twin, now: &mut Duration, lasts: Duration, is_away: bool) {
    let end = *now + lasts;
    while *now < end {
        *now += TICK;
        for event in encoder.film(*now, is_away) {
            for twin in [&mut *a, &mut *b] {
                twin.send(*now, &Arrival::Event(event.clone()));
            }
        }
        a.run(*now);
        b.run(*now);
    }
}

fn last_number(twin: &Twin) -> u64 {
    last_numbers(twin).into_iter().max().unwrap_or(0)
}

/// Of each track, that of its newest segment.
fn last_numbers(twin: &Twin) -> Vec<u64> {
    let snapshot = twin.writer.channel().snapshot();
    snapshot.broadcast(None).map_or(Vec::new(), |broadcast| {
        broadcast.tracks.iter().filter_map(|track| Some(track.tail.last()?.number)).collect()
    })
}

/// Without BANDWIDTH, AVERAGE-BANDWIDTH and `@bandwidth`.
fn without_rates(text: &str) -> String {
    let is_rate = |word: &str| word.to_ascii_uppercase().contains("BANDWIDTH=");
    text.split_inclusive([' ', ',', ':', '\n']).filter(|word| !is_rate(word)).collect()
}

fn compare(a: &Twin, b: &Twin, missed: &mut Option<(u64, u64)>, compared: &mut Compared) {
    let (ours, theirs) = (a.manifests(), b.manifests());
    let snapshot = a.writer.channel().snapshot();
    let first = snapshot.broadcast(None).map_or(0, |broadcast| broadcast.first);
    let speechless = b.speechless(last_number(a));
    if let (Some((_, to)), Some(speechless)) = (missed.as_mut(), speechless) {
        *to = speechless.max(*to);
    }
    let lacks_text = speechless.is_some() && !theirs.contains_key(TEXT) && !b.has_spoken();
    if missed.is_some_and(|(_, last)| last < first) {
        *missed = None;
    }
    let Some((from, to)) = *missed else {
        for (name, text) in &ours {
            let other = theirs.get(name).map_or("nothing", |text| text);
            let rates = |text: &str| if b.is_unrated { without_rates(text) } else { text.to_owned() };
            let [text, other] = [text.as_str(), other].map(rates);
            let differing = text.lines().zip(other.lines()).find(|(ours, theirs)| ours != theirs);
            assert!(
                text == other,
                "{name} of the twins differs in {differing:?}: {} {}\n{text}\n----\n{other}",
                describe(a.writer.channel(), a.now),
                describe(b.writer.channel(), b.now)
            );
        }
        assert_eq!(ours.len(), theirs.len());
        compared.whole += ours.len() as u64;
        return;
    };
    let is_listed = |name: &str| !(name.starts_with("index") || name == TEXT && lacks_text);
    for (name, text) in ours.iter().filter(|(name, _)| is_listed(name)) {
        let [ours, theirs] = [Some(text), theirs.get(name)].map(|text| {
            let text = text.unwrap_or_else(|| panic!("{name} is not there"));
            rules::check(text).unwrap_or_else(|wrong| panic!("{name}: {wrong}"))
        });
        let end = |listed: &rules::Checked| listed.media_sequence + listed.segments.len() as u64;
        assert_eq!(
            (end(&ours), ours.target, ours.part_target),
            (end(&theirs), theirs.target, theirs.part_target),
            "{name}: {}\n{}\n{:?}",
            describe(a.writer.channel(), a.now),
            describe(b.writer.channel(), b.now),
            b.writer.counts(),
        );
        // Who missed the first segments of all has none of them.
        let first = ours.media_sequence.max(theirs.media_sequence);
        assert!(ours.media_sequence == theirs.media_sequence || first <= to + 1, "{name}: {first}, missed up to {to}");
        let from_first = |listed: &rules::Checked| listed.segments[(first - listed.media_sequence) as usize..].to_vec();
        for (number, (a, b)) in (first..).zip(from_first(&ours).iter().zip(&from_first(&theirs))) {
            if number < from || number > to {
                assert_eq!((&a.uri, a.duration, a.is_gap), (&b.uri, b.duration, b.is_gap), "{name}");
                // How far back parts are listed depends on how long what follows lasts.
                let is_listed = !a.parts.is_empty() && !b.parts.is_empty();
                assert!(!is_listed || a.parts == b.parts, "{name} {}: {:?} {:?}", a.uri, a.parts, b.parts);
                compared.segments += 1;
            }
        }
    }
}
