//! `kill -9` at every point at which what a channel, a harvest or the list of channels has on disk has just changed
//! (`sys::crash`), while recording and while recovering: what viewers were told stays, numbering, window and archive go on.
#![cfg(debug_assertions)]

mod encoder;
mod server;
mod viewer;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fs, thread};

use headwater::library::{self, Folder, Library, State};

use encoder::{CHUNK_SECONDS, Encoder, SEGMENT_CHUNKS, TRACKS};
use server::{Place, Server};
use viewer::Viewer;

/// A point by its name, and at which passage.
type Point = (&'static str, u32);

/// Nothing takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const SEGMENT_SECONDS: u64 = CHUNK_SECONDS * SEGMENT_CHUNKS;
/// Segments in a file.
const FILE_SEGMENTS: u64 = 60 / SEGMENT_SECONDS;
/// Of the story, in chunks: the first file of each track is closed and, when the window, the tail and what gaps at its start go
/// on from have passed it, deleted.
const STORY_CHUNKS: u64 = 62;
/// Chunks that are sent before viewers have to see the first of them: a grid is learnt from two key frames, a part may end
/// with the next, and media begins with a key frame.
const LAG: u64 = 2 * SEGMENT_CHUNKS + 1;
/// At this chunk the first track changes its header.
const CHANGE: u64 = 13;

/// A channel's story: an encoder tells it, whatever happens to the server meanwhile.
struct Story<'a> {
    place: &'a Place,
    encoder: Encoder,
    /// Of each track that is sent.
    viewers: Vec<Viewer>,
    /// Number of the first chunk.
    start: u64,
    /// Chunks of each track that were sent.
    sent: Vec<u64>,
    /// How many of one track when the server was started.
    resumed: u64,
}

impl<'a> Story<'a> {
    fn new(place: &'a Place, tracks: usize) -> Story<'a> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let segment = now / SEGMENT_SECONDS - STORY_CHUNKS;
        // Two segments before a file ends.
        let segment = segment / FILE_SEGMENTS * FILE_SEGMENTS + FILE_SEGMENTS - 2;
        let start = segment * SEGMENT_CHUNKS;
        let encoder = Encoder::new(place.intake);
        Story {
            place,
            encoder,
            viewers: TRACKS[..tracks].iter().map(|track| Viewer::new(track)).collect(),
            start,
            sent: vec![0; tracks],
            resumed: 0,
        }
    }

    /// Tells it up to so many chunks of each track; to its end if these are all. `false` if the server has killed itself.
    fn go_on(&mut self, server: &mut Server<'_>, chunks: u64) -> bool {
        while let Some(track) =
            (0..self.sent.len()).min_by_key(|&track| self.sent[track]).filter(|&track| self.sent[track] < chunks)
        {
            if track == 0 && self.sent[0] == CHANGE {
                self.encoder.change();
            }
            let number = self.start + self.sent[track];
            let _ = self.encoder.send(track, number);
            self.sent[track] += 1;
            let is_due = self.sent[track] > self.resumed + LAG;
            let seen = number.saturating_sub(LAG);
            let (segment, part) = (seen / SEGMENT_CHUNKS, seen % SEGMENT_CHUNKS + 1);
            if !self.wait(server, |viewers| !is_due || viewers[track].has(segment, part as usize)) {
                return false;
            }
        }
        if chunks < STORY_CHUNKS {
            return true;
        }
        let _ = self.encoder.end(self.sent.len());
        self.wait(server, |viewers| viewers.iter().all(|viewer| viewer.is_ended))
    }

    fn wait(&mut self, server: &mut Server<'_>, is_done: impl Fn(&[Viewer]) -> bool) -> bool {
        let begun = Instant::now();
        loop {
            for viewer in &mut self.viewers {
                viewer.read(server);
            }
            if server.is_killed() {
                self.encoder.hang_up();
                return false;
            }
            if is_done(&self.viewers) {
                return true;
            }
            let listed = || server.text("/live/news/high.m3u8");
            assert!(begun.elapsed() < PATIENCE, "{:?} were sent: {}\n{:?}", self.sent, self.place.log(), listed());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// A server that was started after another was killed has what that had, at once. `false` if it has killed itself.
    fn returns(&mut self, server: &mut Server<'_>) -> bool {
        self.resumed = self.sent.iter().copied().max().unwrap_or(0);
        let is_there = self.viewers.iter_mut().all(|viewer| viewer.returns(server));
        // Who kills itself stops answering before its end is known.
        let begun = Instant::now();
        while !is_there && !server.is_killed() {
            assert!(begun.elapsed() < PATIENCE, "a playlist is gone: {}", self.place.log());
            thread::sleep(Duration::from_millis(5));
        }
        // A sample on a channel that has ended would begin it again; no viewer may have known of its end before.
        if self.viewers.iter().any(|viewer| viewer.is_ended) {
            self.sent.fill(STORY_CHUNKS);
        }
        is_there
    }

    /// Through one death after the other, and a little further.
    fn live_through(&mut self, deaths: &[Death], is_repeating: bool) {
        for death in deaths {
            let mut server = self.place.serve_so(Some(death.at), death.chance);
            if !server.is_killed() && self.returns(&mut server) {
                if death.chance == Chance::End {
                    assert!(self.go_on(&mut server, STORY_CHUNKS - 1));
                    assert!(!self.place.says_ended("state.json"));
                    fs::write(self.place.path("ending"), "").unwrap();
                }
                self.go_on(&mut server, STORY_CHUNKS);
            }
            // A slow disk has something to do when the story is over.
            let begun = Instant::now();
            while !server.is_killed() {
                assert!(begun.elapsed() < PATIENCE, "it never came by {:?}", death.at);
                thread::sleep(Duration::from_millis(5));
            }
            self.encoder.hang_up();
            if death.chance == Chance::End {
                let (old, new) = (self.place.says_ended("state.json"), self.place.says_ended("state.json.new"));
                let want = match death.at.0 {
                    "state created" => (false, false),
                    "state written" => (false, true),
                    _ => (true, false),
                };
                assert_eq!((old, new), want, "{death:?} was not the state's that says of the end");
            }
            death.tear.tear(self.place);
            if is_repeating {
                // What was on its way is sent again.
                self.sent.iter_mut().for_each(|sent| *sent = sent.saturating_sub(1));
            }
        }
        let mut server = self.place.serve(None);
        assert!(self.returns(&mut server));
        let chunks = STORY_CHUNKS.min(self.sent.iter().copied().max().unwrap_or(0) + 2 * LAG);
        assert!(self.go_on(&mut server, chunks));
        for viewer in &mut self.viewers {
            viewer.looks_back(&server, SEGMENT_SECONDS);
        }
        server.kill();
    }
}

/// An end of a server.
#[derive(Clone, Copy, Debug)]
struct Death {
    at: Point,
    tear: Tear,
    chance: Chance,
}

/// Which passages of a point count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Chance {
    Any,
    /// No file can be longer, in bytes: what is appended beyond that fails half way.
    NoRoom(u32),
    /// Those from when the encoder is at its end.
    End,
}

/// What a write leaves behind that is killed in the middle of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tear {
    None,
    Media,
    Journal,
    State,
}

impl Tear {
    fn tear(self, place: &Place) {
        let channel = place.path("live/news");
        let path = match self {
            Tear::None => return,
            Tear::Media => server::newest(&channel.join(TRACKS[0]), "cmfv"),
            Tear::Journal => server::newest(&channel.join(TRACKS[0]), "idx"),
            Tear::State => channel.join("state.json.new"),
        };
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 3).unwrap();
    }
}

const fn at(name: &'static str, passage: u32) -> Death {
    torn(name, passage, Tear::None)
}

const fn torn(name: &'static str, passage: u32, tear: Tear) -> Death {
    Death { at: (name, passage), tear, chance: Chance::Any }
}

const fn without_room(name: &'static str) -> Death {
    Death { at: (name, 1), tear: Tear::None, chance: Chance::NoRoom(ROOM_BYTES) }
}

const fn at_the_end(name: &'static str) -> Death {
    Death { at: (name, 1), tear: Tear::None, chance: Chance::End }
}

/// Two chunks of a track and a half.
const ROOM_BYTES: u32 = 15_000;

/// While recording: at which passages.
const RECORDING: [(&str, &[u32]); 16] = [
    ("channel directory made", &[1]),
    ("track directory made", &[1, 2]),
    ("track directory synced", &[1]),
    ("state created", &[1, 2, 3]),
    ("state written", &[1, 3]),
    ("state renamed", &[1, 2, 3]),
    ("track file created", &[1, 4]),
    ("header written", &[1, 3, 5]),
    ("journal created", &[1, 3]),
    ("journal begun", &[2, 5]),
    ("part written", &[1, 2, 3, 10, 31]),
    ("row written", &[1, 2, 13]),
    ("media synced", &[1, 2]),
    ("journal synced", &[1, 2]),
    ("journal deleted", &[1, 2]),
    ("track file deleted", &[1, 2]),
];

/// Writes that are cut off or fail, the end of the channel, and deaths while the one before is recovered from.
const RECOVERING: [&[Death]; 19] = [
    &[without_room("part torn")],
    &[without_room("part torn"), at("file cut", 1)],
    &[without_room("part cut")],
    &[without_room("part cut"), at("part written", 1)],
    &[at_the_end("state created")],
    &[at_the_end("state written")],
    &[at_the_end("state renamed")],
    &[at("journal created", 3), at("journal deleted", 1)],
    &[torn("header written", 3, Tear::Media), at("track file deleted", 1)],
    &[at("journal created", 3), at("journal begun", 1)],
    &[at("header written", 3), at("journal created", 1)],
    &[torn("part written", 9, Tear::Media), at("file cut", 1)],
    &[torn("part written", 1, Tear::Media), at("part written", 1)],
    &[torn("row written", 5, Tear::Journal), at("file cut", 1)],
    &[torn("state written", 2, Tear::State), at("state created", 1)],
    &[at("journal deleted", 1), at("journal created", 1)],
    &[at("journal deleted", 1), at("journal begun", 1)],
    &[at("journal deleted", 1), at("row written", 1)],
    &[
        at("part written", 12),
        at("state renamed", 1),
        at("part written", 2),
        at("row written", 1),
        at("media synced", 1),
    ],
];

#[test]
fn killed_at_every_point_of_a_channel() {
    let recording =
        RECORDING.iter().flat_map(|(name, passages)| passages.iter().map(|&passage| vec![at(name, passage)]));
    let rounds: Vec<Vec<Death>> = recording.chain(RECOVERING.iter().map(|deaths| deaths.to_vec())).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let number = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(deaths) = rounds.get(number)
                {
                    println!("{deaths:?}");
                    let place = Place::new();
                    // Whose file the last write went to is known if there is one track.
                    let is_torn = deaths.iter().any(|death| death.tear != Tear::None);
                    let tracks = if is_torn { 1 } else { TRACKS.len() };
                    Story::new(&place, tracks).live_through(deaths, number % 2 == 0);
                }
            });
        }
    });
}

const WORKERS: usize = 3;

/// While a stretch is harvested: of an asset that is new, and of one that is there with another stretch.
const HARVESTING: [(&str, u32, bool); 12] = [
    ("staging made", 1, false),
    ("recording linked", 1, false),
    ("recording linked", 2, false),
    ("index written", 1, false),
    ("content named", 1, false),
    ("asset named", 1, false),
    ("record made", 1, true),
    ("version named", 1, true),
    ("link made", 1, true),
    ("version switched", 1, true),
    ("record named", 1, true),
    ("index written", 1, true),
];

#[test]
fn killed_at_every_point_of_a_harvest() {
    let place = Place::new();
    let mut story = Story::new(&place, TRACKS.len());
    let mut server = place.serve(None);
    assert!(story.go_on(&mut server, 8 * SEGMENT_CHUNKS));
    let at = |segment: u64| Duration::from_secs((story.start / SEGMENT_CHUNKS + segment) * SEGMENT_SECONDS);
    let (old, new) = ((at(2), at(4)), (at(3), at(5)));
    for (name, passage, is_there) in HARVESTING {
        let folder = Folder::open(&place.path("library")).unwrap();
        let _ = folder.remove("kept");
        if is_there {
            let (status, said) = place.harvest(old, None);
            assert!(status.success(), "{said}");
        }
        let before = asset(&place);
        let (status, said) = place.harvest(new, Some((name, passage)));
        assert!(server::is_kill(status), "it never came by {name} {passage}: {status} {said}");
        let between = asset(&place);
        let (status, said) = place.harvest(new, None);
        assert!(status.success(), "after {name}: {said}");
        let after = asset(&place);
        assert!(after.is_some() && after != before, "after {name}: {after:?}, {before:?} before");
        assert!(between == before || between == after, "after {name}: {between:?} is neither {before:?} nor {after:?}");
        folder.sweep().unwrap();
        let left = fs::read_dir(place.path("library")).unwrap().flatten().map(|entry| entry.file_name());
        let left: Vec<_> = left.filter(|name| name.to_string_lossy().contains("staging")).collect();
        assert!(left.is_empty(), "after {name}: {left:?}");
    }
    // The channel has lost nothing by it, and what was kept outlives it.
    assert!(story.go_on(&mut server, STORY_CHUNKS));
    server.kill();
    fs::remove_dir_all(place.path("live")).unwrap();
    assert!(asset(&place).is_some());
}

/// The current version of the asset, which must be whole: its index and the length of every file are checked by opening it.
fn asset(place: &Place) -> Option<String> {
    let library = Library::open(&place.path("library"), library::Options::default()).unwrap();
    let catalog = library.catalog();
    let entry = catalog.find("kept")?;
    library.load(entry);
    assert!(matches!(entry.state(1), State::Open(_)), "version {} cannot be opened", entry.version());
    Some(entry.version().to_owned())
}

#[test]
fn killed_at_every_point_of_the_list_of_channels() {
    let place = Place::new();
    let put = |name: &str, window: &str| {
        let body = format!("{{\"publish_key\": \"{}\", \"window\": \"{window}\"}}", encoder::KEY);
        server::ask(place.admin, "PUT", &format!("/api/channels/{name}"), &body).ok().map(|(status, _)| status)
    };
    let window = |name: &str| {
        let (status, body) = server::get(place.admin, &format!("/api/channels/{name}")).unwrap();
        (status == 200).then(|| String::from_utf8(body).unwrap())
    };
    for (number, point) in ["channels created", "channels written", "channels renamed"].into_iter().enumerate() {
        let (name, other) = (format!("made-{number}"), format!("other-{number}"));
        let mut server = place.serve(Some((point, 3)));
        assert_eq!(put(&name, "1m"), Some(201), "{point}");
        let made = window(&name);
        assert_eq!(put(&other, "1m"), Some(201), "{point}");
        assert_eq!(put(&name, "2m"), None, "it never came by {point}");
        server.is_gone();
        let server = place.serve(None);
        let found = window(&name);
        assert!(found.is_some() && window(&other).is_some(), "after {point}: what was acknowledged is gone");
        if point != "channels renamed" {
            assert_eq!(found, made, "after {point}");
        }
        assert_eq!(put(&name, "2m"), Some(200), "after {point}");
        server.kill();
    }
}

/// No point is left out.
#[test]
fn every_point_has_its_death() {
    let recording = RECORDING.iter().map(|(name, _)| *name);
    let recovering = RECOVERING.iter().flat_map(|deaths| deaths.iter().map(|death| death.at.0));
    let tried: BTreeSet<&str> = recording.chain(recovering).chain(HARVESTING.iter().map(|row| row.0)).collect();
    let (mut named, mut directories) = (BTreeSet::new(), vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")]);
    while let Some(directory) = directories.pop() {
        for path in fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            named
                .extend(source.split("crash::point(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    let missing: Vec<_> =
        named.iter().filter(|name| !tried.contains(name.as_str()) && !name.starts_with("channels ")).collect();
    assert!(named.len() > 20 && missing.is_empty(), "{missing:?} of {named:?}");
}
