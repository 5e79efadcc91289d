//! Import and catalog together, on the sample media: what is imported is found, opened, replaced, removed and swept.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use headwater::library::folder::Published;
use headwater::library::import::{Event, Options as ImportOptions, Summary, import};
use headwater::library::{Entry, Folder, Library, Options, State, Watcher};
use headwater::media::fragment::Start;
use headwater::media::track::Role;
use headwater::media::{Kind, Presentation};

fn media(name: &str) -> String {
    format!("{}/tests/media/{name}", env!("CARGO_MANIFEST_DIR"))
}

const LADDER: [&str; 7] = [
    "video-180p.mp4",
    "video-360p.mp4",
    "video-270p.mp4",
    "audio-en.mp4",
    "audio-de.mp4",
    "subtitles.en.vtt",
    "subtitles.de.vtt",
];

fn options(library: &Path, asset: &str, inputs: &[String]) -> ImportOptions {
    ImportOptions {
        library: library.to_owned(),
        asset: asset.to_owned(),
        inputs: inputs.iter().map(|input| input.parse().unwrap()).collect(),
        segment: Duration::from_secs(4),
        now: 1_000,
        thumbnails: None,
        stop: Default::default(),
    }
}

fn run(library: &Path, asset: &str, inputs: &[String]) -> Result<Summary, String> {
    import(&options(library, asset, inputs), &mut |_| {}).map_err(|error| error.to_string())
}

fn sample(library: &Path, asset: &str, names: &[&str]) -> Summary {
    run(library, asset, &names.iter().map(|name| media(name)).collect::<Vec<_>>()).unwrap()
}

fn open(library: &Library, entry: &Arc<Entry>) -> Arc<headwater::library::Asset> {
    library.load(entry);
    match entry.state(1) {
        State::Open(asset) => asset,
        State::Closed => panic!("{} is closed", entry.name()),
        State::Damaged => panic!("{} is damaged", entry.name()),
    }
}

/// Everything below a directory but what belongs to the library itself.
fn leftovers(root: &Path) -> Vec<String> {
    let names = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".staging") || name.starts_with(".removed")).collect()
}

#[test]
fn a_ladder_becomes_one_presentation() {
    let root = tempfile::tempdir().unwrap();
    let summary = sample(root.path(), "film", &LADDER);
    assert_eq!(summary.published, Published::Added);
    let library = Library::open(root.path(), Options::default()).unwrap();
    let catalog = library.catalog();
    assert_eq!(catalog.names(), ["film"]);
    let entry = catalog.find("film").unwrap();
    assert!(matches!(entry.state(1), State::Closed));
    let asset = open(&library, entry);
    let presentation = asset.presentation();
    assert_eq!(presentation.version, entry.version());
    let ids: Vec<&str> = presentation.tracks.iter().map(|view| view.track.id.as_str()).collect();
    assert_eq!(ids, ["v1", "v2", "v3", "a1", "a2", "t1", "t2"]);
    let heights: Vec<u32> =
        presentation.of_kind(Kind::Video).filter_map(|view| Some(view.track.video()?.height)).collect();
    assert_eq!(heights, [360, 270, 180]);
    let languages: Vec<&str> = presentation.tracks[3..].iter().map(|view| view.track.language.as_str()).collect();
    assert_eq!(languages, ["en", "de", "en", "de"]);
    check_alignment(&presentation);
    assert_eq!(asset.track("a2").map(|view| view.track.id.clone()), Some("a2".to_owned()));
    assert!(asset.track("a3").is_none());
    for view in &presentation.tracks {
        let file = view.files[0].mapped().unwrap();
        match view.track.kind() {
            Kind::Text => assert!(file.starts_with(b"WEBVTT") && !view.cues.is_empty()),
            _ => {
                assert_eq!(&file[4..8], b"ftyp");
                for fragment in view.fragments {
                    let at = fragment.offset.get() as usize;
                    assert_eq!(&file[at + 4..at + 8], b"moof");
                    let media = at + fragment.media_offset.get() as usize;
                    assert_eq!(&file[media - 4..media], b"mdat");
                }
            }
        }
    }
}

/// Video is cut at the same instants, audio less than a frame after them, and segments lie side by side.
fn check_alignment(presentation: &Presentation<'_>) {
    let reference = presentation.reference().unwrap();
    let seconds = |view: &headwater::media::TrackView<'_>, ticks: i64| {
        view.track.timescale.seconds(headwater::base::Ticks(ticks + view.track.presentation_offset.0))
    };
    for view in presentation.tracks.iter().filter(|view| view.track.kind() != Kind::Text) {
        assert_eq!(view.fragments.len(), reference.fragments.len(), "{}", view.track.id);
        let tolerance = if view.track.kind() == Kind::Video { 0.001 } else { 0.025 };
        for (own, other) in view.fragments.iter().zip(reference.fragments).skip(1) {
            assert_eq!(own.slot, other.slot);
            assert_eq!(own.start(), Start::Closed);
            let apart = seconds(view, own.decode_time().0) - seconds(&reference, other.decode_time().0);
            assert!((-0.001..tolerance).contains(&apart), "{}: {apart}", view.track.id);
        }
        let times: Vec<u32> = view.segments().map(|segment| segment.number).collect();
        assert_eq!(times, (0..times.len() as u32).collect::<Vec<u32>>());
        let bytes: u64 = view.segments().map(|segment| segment.bytes.end - segment.bytes.start).sum();
        assert_eq!(bytes + view.init_size, view.files[0].len());
    }
}

#[test]
fn languages_names_and_duplicates() {
    let root = tempfile::tempdir().unwrap();
    let copies = root.path().join("sources");
    fs::create_dir(&copies).unwrap();
    let copy = copies.join("same.mp4");
    fs::copy(media("audio-en.mp4"), &copy).unwrap();
    let library = root.path().join("library");
    let mut notes = Vec::new();
    let inputs = [
        media("video-180p.mp4"),
        media("audio-en.mp4"),
        copy.display().to_string(),
        format!("{}:lang=pt-BR,name=Voz, do autor,role=commentary", copy.display()),
        format!("{}:role=caption", media("subtitles.en.vtt")),
    ];
    import(&options(&library, "film", &inputs), &mut |event| {
        if let Event::Note(text) = event {
            notes.push(text.to_owned());
        }
    })
    .unwrap();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("left out: the same audio as"), "{notes:?}");
    let library = Library::open(&library, Options::default()).unwrap();
    let asset = open(&library, library.catalog().find("film").unwrap());
    let tracks: Vec<(String, String, Option<String>)> = asset
        .presentation()
        .tracks
        .iter()
        .map(|view| (view.track.id.clone(), view.track.language.clone(), view.track.name.clone()))
        .collect();
    assert_eq!(tracks[2], ("a2".into(), "pt-BR".into(), Some("Voz, do autor".into())));
    assert_eq!((tracks[3].0.as_str(), tracks[3].1.as_str()), ("t1", "en"));
}

#[test]
fn versions_come_and_go() {
    let root = tempfile::tempdir().unwrap();
    let library =
        || Library::open(root.path(), Options { grace: Duration::from_secs(100), ..Options::default() }).unwrap();
    let first = sample(root.path(), "film", &LADDER[..1]);
    // The same content again changes nothing.
    let again = sample(root.path(), "film", &LADDER[..1]);
    assert_eq!((again.published, again.version), (Published::Unchanged, first.version));
    let server = library();
    let old = server.catalog().find("film").unwrap().clone();
    let held = open(&server, &old);
    let second = sample(root.path(), "film", &LADDER[1..2]);
    assert_eq!(second.published, Published::Replaced(first.version));
    server.rescan().unwrap();
    let new = server.catalog().find("film").unwrap().clone();
    assert_ne!(new.version(), old.version());
    // The old version is still found, open as it was; the one replaced is found after a restart, too.
    for server in [&server, &library()] {
        let catalog = server.catalog();
        assert_eq!(catalog.find("film").unwrap().version(), new.version());
        let found = catalog.find_version("film", old.version()).unwrap();
        open(server, found);
        assert!(catalog.find_version("film", "0000000000000000").is_none());
        assert!(catalog.find_version("other", old.version()).is_none());
    }
    // Back to the first: both are there, the second is the one on its way out.
    let back = sample(root.path(), "film", &LADDER[..1]);
    assert_eq!((back.published, back.version), (Published::Replaced(second.version), first.version));
    server.rescan().unwrap();
    assert_eq!(server.catalog().find("film").unwrap().version(), old.version());
    server.maintain(1_099).unwrap();
    assert!(server.catalog().find_version("film", new.version()).is_some());
    server.maintain(1_100).unwrap();
    assert!(server.catalog().find_version("film", new.version()).is_none());
    assert!(!root.path().join("film").join(second.version.as_str()).exists());
    assert!(root.path().join("film").join(first.version.as_str()).exists());
    // Removed: gone from the catalog; who holds it reads on.
    Folder::open(root.path()).unwrap().remove("film").unwrap();
    server.rescan().unwrap();
    assert!(server.catalog().is_empty());
    assert_eq!(held.presentation().tracks.len(), 1);
    assert_eq!(&held.presentation().tracks[0].files[0].mapped().unwrap()[4..8], b"ftyp");
    let missing = Folder::open(root.path()).unwrap().remove("film").unwrap_err().to_string();
    assert!(missing.ends_with("film: no asset of this name in the library"), "{missing}");
    assert_eq!(fs::read_dir(root.path().join(".replaced")).unwrap().count(), 0);
}

#[test]
fn what_a_killed_import_leaves_is_swept() {
    let root = tempfile::tempdir().unwrap();
    let folder = Folder::create(root.path()).unwrap();
    let version = sample(root.path(), "film", &LADDER[..1]).version;
    fs::create_dir_all(root.path().join(".staging-dead/content")).unwrap();
    fs::create_dir_all(root.path().join(".removed-dead/x")).unwrap();
    // Between two renames: a version that is neither current nor recorded, and a link not yet in place.
    let orphan = root.path().join("film/00112233aabbccdd");
    fs::create_dir(&orphan).unwrap();
    std::os::unix::fs::symlink("00112233aabbccdd", root.path().join("film/.current-dead")).unwrap();
    let alive = folder.stage().unwrap();
    let library = Library::open(root.path(), Options::default()).unwrap();
    library.maintain(5_000).unwrap();
    assert_eq!(leftovers(root.path()), [alive.path().file_name().unwrap().to_str().unwrap()]);
    assert!(orphan.exists() && !root.path().join("film/.current-dead").is_symlink());
    library.maintain(5_000 + 24 * 60 * 60).unwrap();
    assert!(!orphan.exists());
    drop(alive);
    assert_eq!(leftovers(root.path()), [""; 0]);
    assert_eq!(folder.current("film"), Some(version));
}

#[test]
fn damage_is_remembered_and_healed() {
    let root = tempfile::tempdir().unwrap();
    let summary = sample(root.path(), "film", &LADDER[..1]);
    let library = Library::open(root.path(), Options::default()).unwrap();
    let entry = library.catalog().find("film").unwrap().clone();
    let track = root.path().join("film").join(summary.version.as_str()).join("v1.cmfv");
    let len = fs::metadata(&track).unwrap().len();
    fs::File::options().write(true).open(&track).unwrap().set_len(len - 1).unwrap();
    assert!(matches!(entry.state(100), State::Closed));
    library.load(&entry);
    assert!(matches!(entry.state(109), State::Damaged));
    // Asked for again meanwhile: not tried. After ten seconds, it is.
    library.load(&entry);
    assert!(matches!(entry.state(100), State::Damaged));
    assert!(matches!(entry.state(110), State::Closed));
    library.load(&entry);
    assert!(matches!(entry.state(119), State::Damaged));
    // The same import again puts a whole copy in place of the damaged one.
    assert_eq!(sample(root.path(), "film", &LADDER[..1]).published, Published::Unchanged);
    assert_eq!(fs::metadata(&track).unwrap().len(), len);
    assert!(matches!(entry.state(200), State::Closed));
    library.load(&entry);
    assert!(matches!(entry.state(200), State::Open(_)));
    for file in ["index", "v1.cmfv"] {
        let path = root.path().join("film").join(summary.version.as_str()).join(file);
        fs::rename(&path, root.path().join("aside")).unwrap();
        let fresh = Library::open(root.path(), Options::default()).unwrap();
        let entry = fresh.catalog().find("film").unwrap().clone();
        fresh.load(&entry);
        assert!(matches!(entry.state(1), State::Damaged), "{file}");
        fs::rename(root.path().join("aside"), path).unwrap();
    }
}

#[test]
fn the_least_recently_used_is_closed() {
    let root = tempfile::tempdir().unwrap();
    for asset in ["a", "b", "c"] {
        sample(root.path(), asset, &["audio-en.mp4"]);
    }
    let library = Library::open(root.path(), Options { open_assets_max: 2, ..Options::default() }).unwrap();
    let entries: Vec<Arc<Entry>> =
        ["a", "b", "c"].iter().map(|name| library.catalog().find(name).unwrap().clone()).collect();
    let mut held = Vec::new();
    for (now, number) in [(1, 0), (2, 1), (3, 0), (4, 2)] {
        let entry = &entries[number];
        if let State::Closed = entry.state(now) {
            library.load(entry);
        }
        let State::Open(asset) = entry.state(now) else { panic!("{} is not open", entry.name()) };
        held.push(asset);
    }
    let open: Vec<bool> = entries.iter().map(|entry| matches!(entry.state(5), State::Open(_))).collect();
    assert_eq!((open, library.open_counts()), (vec![true, false, true], (2, 2)));
    // What was closed is still whole for those who hold it.
    assert!(held.iter().all(|asset| asset.presentation().tracks.len() == 1));
    // Track files are counted as well, and the newest is never the one that goes.
    let library = Library::open(root.path(), Options { open_tracks_max: 0, ..Options::default() }).unwrap();
    for name in ["a", "b"] {
        library.load(&library.catalog().find(name).unwrap().clone());
    }
    assert_eq!(library.open_counts(), (1, 1));
    assert!(matches!(library.catalog().find("b").unwrap().state(1), State::Open(_)));
}

#[test]
fn one_of_many_opens_it() {
    let root = tempfile::tempdir().unwrap();
    sample(root.path(), "film", &LADDER[..1]);
    let library = Library::open(root.path(), Options::default()).unwrap();
    let entry = library.catalog().find("film").unwrap().clone();
    let assets: Vec<_> = thread::scope(|scope| {
        let open = || {
            library.load(&entry);
            match entry.state(1) {
                State::Open(asset) => asset,
                _ => panic!("not open"),
            }
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(assets.iter().all(|asset| Arc::ptr_eq(asset, &assets[0])));
}

#[test]
fn a_running_server_sees_changes_within_a_second() {
    let root = tempfile::tempdir().unwrap();
    sample(root.path(), "first", &["audio-en.mp4"]);
    let library = Arc::new(Library::open(root.path(), Options::default()).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let watching = thread::spawn({
        let (watcher, stop) = (Watcher::new(library.clone()), stop.clone());
        move || watcher.run(&stop)
    });
    let seen = |what: &str, done: &dyn Fn() -> bool| {
        let started = Instant::now();
        while !done() {
            assert!(started.elapsed() < Duration::from_secs(1), "{what}: not seen within a second");
            thread::sleep(Duration::from_millis(5));
        }
    };
    let version = |name: &str| library.catalog().find(name).map(|entry| entry.version().to_owned());
    sample(root.path(), "second", &["audio-en.mp4"]);
    seen("new asset", &|| version("second").is_some());
    // The first replacement creates the directory of records, the second one finds it.
    for (number, name) in ["audio-de.mp4", "audio-en.mp4"].iter().enumerate() {
        let before = version("first");
        sample(root.path(), "first", &[name]);
        seen(&format!("replacement {number}"), &|| version("first") != before);
    }
    Folder::open(root.path()).unwrap().remove("second").unwrap();
    seen("removal", &|| version("second").is_none());
    stop.store(true, Ordering::Relaxed);
    watching.join().unwrap();
}

#[test]
fn twenty_thousand_assets_are_read_in_no_time() {
    let root = tempfile::tempdir().unwrap();
    for number in 0..20_000 {
        let home = root.path().join(format!("asset-{number:05}"));
        fs::create_dir(&home).unwrap();
        std::os::unix::fs::symlink("0123456789abcdef", home.join("current")).unwrap();
    }
    let started = Instant::now();
    let library = Library::open(root.path(), Options::default()).unwrap();
    let took = started.elapsed();
    assert_eq!(library.catalog().len(), 20_000);
    // About 60 ms on an idle machine; tests run on busy ones, unoptimised.
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn refusals_are_one_line_and_leave_nothing() {
    let root = tempfile::tempdir().unwrap();
    let library = root.path().join("library");
    let whole = fs::read(media("video-180p.mp4")).unwrap();
    let source = root.path().join("source.mp4");
    let mut cases: Vec<(Vec<u8>, &str)> = vec![(Vec::new(), ""), (b"not a film".to_vec(), "")];
    cases.extend([100, 1_000, whole.len() / 2, whole.len() - 1].map(|len| (whole[..len].to_vec(), "")));
    for (bytes, want) in &cases {
        fs::write(&source, bytes).unwrap();
        let error = run(&library, "film", &[source.display().to_string()]).unwrap_err();
        assert!(error.starts_with(&source.display().to_string()) && !error.contains('\n'), "{error}");
        assert!(error.contains(want), "{error}");
    }
    for (inputs, asset, want) in [
        (vec![media("nothing.mp4")], "film", "nothing.mp4: No such file or directory"),
        (vec![media("")], "film", "no playlist, MPD or SMIL file"),
        (vec![media("subtitles.en.vtt")], "film", "nothing to import"),
        (vec![media("video-180p.mp4"), source.with_extension("vtt").display().to_string()], "film", "No such file"),
        (vec![media("video-180p.mp4")], "../film", "asset name \"../film\""),
        (vec![media("video-180p.mp4")], ".film", "asset name"),
        (vec![media("video-180p.mp4")], "", "asset name"),
        (vec![media("video-180p.mp4")], &"x".repeat(201), "asset name"),
    ] {
        let error = run(&library, asset, &inputs).unwrap_err();
        assert!(error.contains(want) && !error.contains('\n'), "{error}");
    }
    assert!(!library.exists() || fs::read_dir(&library).unwrap().all(|entry| entry.unwrap().file_name() == ".lock"));
}

#[test]
fn a_source_that_changes_meanwhile_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let library = root.path().join("library");
    let source = root.path().join("source.mp4");
    let append = |source: &Path| fs::OpenOptions::new().append(true).open(source).unwrap().set_len(1 << 20).unwrap();
    let truncate = |source: &Path| fs::OpenOptions::new().write(true).open(source).unwrap().set_len(9_000).unwrap();
    for change in [append as fn(&Path), truncate] {
        fs::copy(media("audio-en.mp4"), &source).unwrap();
        let mut once = Some(change);
        let result = import(&options(&library, "film", &[source.display().to_string()]), &mut |event| {
            if let (Event::Progress { .. }, Some(change)) = (event, once.take()) {
                change(&source);
            }
        });
        let error = result.unwrap_err().to_string();
        assert!(
            error.ends_with("source.mp4: was changed while it was imported; import it again when nobody writes to it"),
            "{error}"
        );
        assert_eq!(leftovers(&library), [""; 0]);
        assert!(!library.join("film").exists());
    }
}

#[test]
fn a_stopped_import_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let options = options(root.path(), "film", &[media("audio-en.mp4")]);
    let stop = options.stop.clone();
    let error = import(&options, &mut |event| {
        if let Event::Progress { .. } = event {
            stop.store(true, Ordering::Relaxed);
        }
    });
    assert_eq!(error.unwrap_err().to_string(), "stopped; the library is as it was");
    assert!(fs::read_dir(root.path()).unwrap().all(|entry| entry.unwrap().file_name() == ".lock"));
}

#[test]
fn a_replacement_that_cannot_be_recorded_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let before = sample(root.path(), "film", &LADDER[..1]).version;
    // What a full disk does: the record of the version on its way out cannot be written.
    fs::write(root.path().join(".replaced"), "").unwrap();
    run(root.path(), "film", &[media(LADDER[1])]).unwrap_err();
    assert_eq!(Folder::open(root.path()).unwrap().current("film"), Some(before));
    assert_eq!(fs::read_dir(root.path().join("film")).unwrap().count(), 2, "the version and the link to it");
    assert_eq!(leftovers(root.path()), [""; 0]);
    fs::remove_file(root.path().join(".replaced")).unwrap();
    // A record that a killed import was about to write.
    fs::create_dir(root.path().join(".replaced")).unwrap();
    fs::write(root.path().join(".replaced/film.0123456789abcdef.7.pending"), "").unwrap();
    let after = run(root.path(), "film", &[media(LADDER[1])]).unwrap();
    assert_eq!(after.published, Published::Replaced(before));
    let records = fs::read_dir(root.path().join(".replaced")).unwrap();
    let names: Vec<String> = records.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, [format!("film.{before}.1000")]);
}

#[test]
fn two_sounds_of_one_language_are_not_two_bit_rates_of_one() {
    let root = tempfile::tempdir().unwrap();
    let sound = |name: &str| format!("{}:lang=en,name=Sound", media(name));
    let copy = root.path().join("third.mp4");
    fs::copy(media("audio-de.mp4"), &copy).unwrap();
    let third = format!("{}:lang=en,name=Sound,role=alternate", copy.display());
    let inputs = [media("video-180p.mp4"), sound("audio-en.mp4"), sound("audio-de.mp4"), third];
    let summary = run(&root.path().join("library"), "film", &inputs).unwrap();
    let roles: Vec<Role> = summary.tracks.iter().map(|track| track.track.role).collect();
    assert_eq!(roles, [Role::Main, Role::Main, Role::Alternate, Role::Alternate]);
}

#[test]
fn a_file_given_twice_counts_once() {
    let root = tempfile::tempdir().unwrap();
    let mut notes = Vec::new();
    let video = media("video-180p.mp4");
    let inputs = [video.clone(), video.replace("/media/", "/media/../media/")];
    let summary = import(&options(root.path(), "film", &inputs), &mut |event| {
        if let Event::Note(text) = event {
            notes.push(text.to_owned());
        }
    });
    assert_eq!(summary.unwrap().tracks.len(), 1);
    assert!(notes.len() == 1 && notes[0].ends_with(&format!("left out: the same file as {video}")), "{notes:?}");
}

#[test]
fn times_that_nothing_bounds_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let source = root.path().join("source.mp4");
    for (name, delta, want) in [
        ("audio-en.mp4", 0x7fff_ffff_u32, " hours, 744 at most"),
        ("video-180p.mp4", 0x7fff_ffff, " hours, 744 at most"),
        ("audio-en.mp4", 0, "samples last 1 ticks together; most of them last no time at all"),
    ] {
        let mut bytes = fs::read(media(name)).unwrap();
        // Without its edit list, which would present the first seconds only.
        if let Some(at) = bytes.windows(4).position(|window| window == b"edts") {
            bytes[at..at + 4].copy_from_slice(b"free");
        }
        let at = bytes.windows(4).position(|window| window == b"stts").unwrap();
        let rows = u32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        for row in 0..rows {
            bytes[at + 16 + 8 * row..at + 20 + 8 * row].copy_from_slice(&delta.to_be_bytes());
        }
        fs::write(&source, bytes).unwrap();
        let error = run(root.path(), "film", &[source.display().to_string()]).unwrap_err();
        assert!(error.contains("source.mp4") && error.contains(want), "{error}");
    }
}

#[test]
fn what_is_not_a_file_is_refused_at_once() {
    let root = tempfile::tempdir().unwrap();
    for name in ["pipe.mp4", "pipe.vtt"] {
        let pipe = root.path().join(name);
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let inputs = [media("video-180p.mp4"), pipe.display().to_string()];
        let error = run(&root.path().join("library"), "film", &inputs).unwrap_err();
        assert!(error.contains(name) && error.contains("not a regular file"), "{error}");
    }
    let error = run(&root.path().join("library"), "film", &["/dev/zero".to_owned()]).unwrap_err();
    assert!(error.contains("/dev/zero: not a regular file"), "{error}");
}

#[test]
fn files_named_like_leftovers_are_left_alone() {
    let root = tempfile::tempdir().unwrap();
    for name in [".staging-note", ".removed-note"] {
        fs::write(root.path().join(name), "mine").unwrap();
    }
    std::os::unix::fs::symlink("/", root.path().join(".staging-link")).unwrap();
    sample(root.path(), "film", &LADDER[..1]);
    assert_eq!(Folder::open(root.path()).unwrap().sweep().unwrap(), 0);
    assert_eq!(leftovers(root.path()).len(), 3);
}

#[test]
fn mutated_sources_are_imported_or_refused_but_never_panic() {
    let root = tempfile::tempdir().unwrap();
    let whole = fs::read(media("audio-en.mp4")).unwrap();
    let source = root.path().join("source.mp4");
    // The tables lie in front or at the end; a fixed sequence of numbers decides what changes.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let mut imported = 0;
    for _ in 0..150 {
        let mut bytes = whole.clone();
        for _ in 0..=next(4) {
            let at = if next(2) == 0 { next(4_096) } else { whole.len() - 1 - next(4_096) };
            bytes[at] = [0, 1, 0x7f, 0x80, 0xff, next(256) as u8][next(6)];
        }
        fs::write(&source, &bytes).unwrap();
        match run(&root.path().join("library"), "film", &[source.display().to_string()]) {
            Ok(_) => imported += 1,
            Err(error) => assert!(!error.contains('\n'), "{error}"),
        }
        assert_eq!(leftovers_if_any(&root.path().join("library")), [""; 0]);
    }
    let library = Library::open(&root.path().join("library"), Options::default()).unwrap();
    // Whatever was accepted can be opened: the index writer and its reader agree.
    let catalog = library.catalog();
    assert!(imported > 0);
    open(&library, catalog.find("film").unwrap());
}

fn leftovers_if_any(root: &Path) -> Vec<String> {
    if root.exists() { leftovers(root) } else { Vec::new() }
}
