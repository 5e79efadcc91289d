//! `kill -9` at any instant of an import leaves the library as it was, and the next import sweeps what is left.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use headwater::library::{Folder, Library, Options, State};

fn media(name: &str) -> String {
    format!("{}/tests/media/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn importer(library: &Path, files: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.args(["import", "--asset", "film", "--library"]).arg(library).args(files.iter().map(|file| media(file)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

const OLD: [&str; 2] = ["video-180p.mp4", "audio-en.mp4"];
const NEW: [&str; 4] = ["video-360p.mp4", "video-270p.mp4", "audio-de.mp4", "subtitles.en.vtt"];
const KILLS: u32 = 60;

/// The current version, which must be whole: its index and the length of every file are checked by opening it.
fn current(root: &Path) -> Option<String> {
    let library = Library::open(root, Options::default()).unwrap();
    let catalog = library.catalog();
    let entry = catalog.find("film")?;
    library.load(entry);
    match entry.state(1) {
        State::Open(_) => Some(entry.version().to_owned()),
        _ => panic!("version {} of the library cannot be opened", entry.version()),
    }
}

fn staged(root: &Path) -> usize {
    let names = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".staging-")).count()
}

#[test]
fn killed_at_any_instant() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().join("library");
    // How long an import takes here tells where the instants are.
    let started = Instant::now();
    assert!(importer(&root, &NEW).status().unwrap().success());
    let whole = started.elapsed();
    let new = current(&root).unwrap();
    assert!(importer(&root, &OLD).status().unwrap().success());
    let old = current(&root).unwrap();
    let (mut kept, mut replaced) = (0, 0);
    // Further instants are tried where imports have become slower meanwhile.
    for number in 0..4 * KILLS {
        if number >= KILLS && replaced > 0 {
            break;
        }
        let mut child = importer(&root, &NEW).spawn().unwrap();
        thread::sleep(whole * number / (KILLS - 10));
        // It may be done already.
        let _ = child.kill();
        child.wait().unwrap();
        let found = current(&root).expect("the asset is gone");
        match found == new {
            true => replaced += 1,
            false => kept += 1,
        }
        assert!(found == new || found == old, "neither the old nor the new version: {found}");
        if found == new {
            assert!(importer(&root, &OLD).status().unwrap().success());
            assert_eq!(current(&root).as_ref(), Some(&old));
        }
    }
    assert!(kept > 0 && replaced > 0, "no instants hit: {kept} kept, {replaced} replaced");
    // The next import sweeps; the versions of imports killed between two renames are kept for players, then expire.
    assert!(importer(&root, &NEW).status().unwrap().success());
    assert_eq!((staged(&root), current(&root)), (0, Some(new)));
    let library = Library::open(&root, Options { grace: Duration::ZERO, ..Options::default() }).unwrap();
    library.maintain(u64::MAX / 2).unwrap();
    library.maintain(u64::MAX / 2).unwrap();
    let home: Vec<_> = fs::read_dir(root.join("film")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(home.len(), 2, "current and one version expected: {home:?}");
}

#[test]
fn a_new_asset_is_there_whole_or_not_at_all() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().join("library");
    let started = Instant::now();
    assert!(importer(&root, &OLD).status().unwrap().success());
    let whole = started.elapsed();
    for number in 0..KILLS / 2 {
        if current(&root).is_some() {
            Folder::open(&root).unwrap().remove("film").unwrap();
        }
        let mut child = importer(&root, &OLD).spawn().unwrap();
        thread::sleep(whole * number / (KILLS / 2 - 5));
        let _ = child.kill();
        child.wait().unwrap();
        // Opens it, if it is there.
        current(&root);
    }
    assert!(importer(&root, &OLD).status().unwrap().success());
    assert_eq!(staged(&root), 0);
}
