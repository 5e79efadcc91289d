use super::*;
use std::cell::Cell;

/// `count` times a megabyte of `byte`.
struct Megabytes {
    byte: u8,
    count: usize,
    is_sound: bool,
}

impl Make for Megabytes {
    fn advance(&mut self, out: &mut Vec<u8>) -> bool {
        let goes_on = self.count > 0;
        if goes_on {
            self.count -= 1;
            out.resize(out.len() + (1 << 20), self.byte);
        }
        goes_on
    }

    fn is_sound(&self) -> bool {
        self.is_sound
    }
}

fn made(byte: u8) -> Megabytes {
    Megabytes { byte, count: 3, is_sound: true }
}

fn derived(path: &Path, megabytes: u64) -> Derived {
    Derived::open(Options { path: Some(path.to_owned()), bytes_max: megabytes << 20, ..Options::default() })
}

fn payload(derived: &Derived, key: &str) -> Option<Payload> {
    match derived.find(key) {
        Some(Found::Made(payload)) => Some(payload),
        _ => None,
    }
}

fn files(path: &Path) -> Vec<String> {
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn bytes_of(path: &Path) -> u64 {
    // What is deleted meanwhile is gone.
    fs::read_dir(path).unwrap().filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
}

fn bytes(payload: &Payload) -> Vec<u8> {
    let [crate::base::Piece::Extent(extent)] = payload.pieces() else { panic!("{payload:?}") };
    fs::read(extent.file.name()).unwrap()
}

#[test]
fn what_was_made_is_sent_from_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("derived");
    let derived = derived(&path, 64);
    assert!(derived.find("a").is_none());
    let begun = Cell::new(0);
    for _ in 0..3 {
        derived
            .keep("a", || {
                begun.set(begun.get() + 1);
                made(7)
            })
            .unwrap();
    }
    assert_eq!(begun.get(), 1);
    let found = payload(&derived, "a").unwrap();
    assert_eq!((found.len(), bytes(&found)), (3 << 20, vec![7; 3 << 20]));
    assert_eq!(files(&path), ["0.made"]);
    let want = Figures {
        bytes: 3 << 20,
        bytes_max: 64 << 20,
        files: 1,
        hits: 1,
        misses: 1,
        made: 1,
        made_bytes: 3 << 20,
        opened: 2,
        ..Figures::default()
    };
    assert_eq!(derived.figures(), want);
}

#[test]
fn bytes_are_bounded_and_what_goes_is_deleted_once_it_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let derived = derived(directory.path(), 20);
    derived.keep("hot", || made(1)).unwrap();
    let sending = payload(&derived, "hot").unwrap();
    for number in 0..20_u8 {
        payload(&derived, "hot").expect("what is used stays");
        derived.keep(&format!("cold {number}"), || made(number)).unwrap();
        assert!(derived.figures().bytes <= 20 << 20 && files(directory.path()).len() <= 3, "{number}");
    }
    drop(sending);
    assert!(payload(&derived, "hot").is_some());
    // What is being sent stays as long.
    let last = payload(&derived, "cold 19").unwrap();
    for number in 20..30_u8 {
        derived.keep(&format!("cold {number}"), || made(number)).unwrap();
    }
    assert_eq!(bytes(&last), vec![19; 3 << 20]);
}

/// What had to go and is still being sent is on the disk too, and counts; when it is sent, there is room again.
#[test]
fn what_is_still_being_sent_counts() {
    let directory = tempfile::tempdir().unwrap();
    let derived = derived(directory.path(), 20);
    let mut sending = Vec::new();
    for number in 0..20_u8 {
        let key = number.to_string();
        derived.keep(&key, || made(number)).unwrap();
        sending.push(payload(&derived, &key).unwrap());
        assert!(derived.figures().bytes <= 20 << 20, "{number}");
        assert_eq!(derived.figures().bytes, bytes_of(directory.path()));
    }
    let is_file = |payload: &&Payload| matches!(payload.pieces(), [crate::base::Piece::Extent(_)]);
    assert_eq!(sending.iter().filter(is_file).count(), 6);
    drop(sending);
    derived.keep("new", || made(1)).unwrap();
    assert!(is_file(&&payload(&derived, "new").unwrap()));
    let figures = derived.figures();
    assert_eq!((figures.bytes, figures.files), (bytes_of(directory.path()), files(directory.path()).len()));
}

#[test]
fn what_is_sent_from_memory_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let derived = derived(directory.path(), 0);
    let (mut sending, mut refused) = (Vec::new(), 0);
    for number in 0..100_u8 {
        let key = number.to_string();
        match derived.keep(&key, || made(number)) {
            Ok(()) => sending.push(payload(&derived, &key).unwrap()),
            Err(Failure::NoRoom { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        assert!(derived.figures().memory_bytes <= DERIVED_SENT_MEMORY_BYTES_MAX);
    }
    assert_eq!((sending.len(), refused), (85, 15));
    drop(sending);
    derived.keep("new", || made(1)).unwrap();
    assert!(derived.figures().memory_bytes <= DERIVED_MEMORY_BYTES_MAX as u64);
}

/// Whoever uses it last: no worker waits for the disk.
#[test]
fn files_are_deleted_on_a_thread_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let derived = derived(directory.path(), 64);
    derived.keep("a", || made(1)).unwrap();
    let sending = payload(&derived, "a").unwrap();
    derived.forget("a");
    drop(sending);
    assert_eq!(files(directory.path()), ["0.made"], "not here");
    let disk = derived.disk().clone();
    let thread = std::thread::spawn(move || disk.run());
    for _ in 0..1_000 {
        if !files(directory.path()).is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
    assert!(files(directory.path()).is_empty());
    derived.keep("b", || made(1)).unwrap();
    let sending = payload(&derived, "b").unwrap();
    drop(derived);
    thread.join().unwrap();
    drop(sending);
    assert!(files(directory.path()).is_empty(), "what ends last leaves nothing");
}

#[test]
fn what_the_bound_has_no_place_for_is_sent_from_memory() {
    let directory = tempfile::tempdir().unwrap();
    let derived = derived(directory.path(), 2);
    for number in 0..30_u8 {
        let key = number.to_string();
        derived.keep(&key, || made(number)).unwrap();
        let found = payload(&derived, &key).unwrap();
        let [crate::base::Piece::Inline(inline)] = found.pieces() else { panic!("{found:?}") };
        assert_eq!(*inline, vec![number; 3 << 20]);
        assert!(files(directory.path()).is_empty(), "{number}");
    }
    let figures = derived.figures();
    assert_eq!((figures.made, figures.bytes, figures.unwritten), (30, 0, 0));
    assert!(figures.memory_bytes <= DERIVED_MEMORY_BYTES_MAX as u64, "{figures:?}");
}

#[test]
fn bytes_are_bounded_whoever_fills_it() {
    let directory = tempfile::tempdir().unwrap();
    let derived = derived(directory.path(), 20);
    let (writers, each) = (4, 25_u8);
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let (derived, path) = (&derived, directory.path());
            scope.spawn(move || {
                for number in 0..each {
                    let key = format!("{writer} {number}");
                    derived.keep(&key, || made(number)).unwrap();
                    assert_eq!(payload(derived, &key).map_or(3 << 20, |found| found.len()), 3 << 20);
                    // 12 MB of what is being written may be counted and not there.
                    assert!(derived.figures().bytes <= (20 + 2 * writers) << 20);
                    assert!(bytes_of(path) <= 20 << 20);
                }
            });
        }
    });
    let figures = derived.figures();
    assert_eq!(figures.files, files(directory.path()).len());
    assert_eq!((figures.made, figures.bytes), (100, bytes_of(directory.path())));
}

#[test]
fn what_an_earlier_process_left_is_deleted_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let others = ["+5.made", "007.made", "12.made.txt", "18446744073709551615.made", "film.made", "index"];
    for name in ["7.made", "12.made"].into_iter().chain(others) {
        fs::write(directory.path().join(name), "left").unwrap();
    }
    let derived = derived(directory.path(), 64);
    derived.keep("a", || made(1)).unwrap();
    derived.disk().sweep();
    let mut want: Vec<&str> = others.into_iter().chain(["13.made"]).collect();
    want.sort();
    assert_eq!(files(directory.path()), want);
    assert_eq!(bytes(&payload(&derived, "a").unwrap()).len(), 3 << 20);
}

#[test]
fn a_file_that_somebody_deleted_or_cut_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let derived = derived(directory.path(), 64);
    derived.keep("a", || made(1)).unwrap();
    let found = payload(&derived, "a").unwrap();
    let [crate::base::Piece::Extent(extent)] = found.pieces() else { panic!() };
    File::options().write(true).open(extent.file.name()).unwrap().set_len(1_000).unwrap();
    assert!(extent.file.mark_damaged());
    assert!(derived.find("a").is_none());
    derived.keep("a", || made(2)).unwrap();
    let found = payload(&derived, "a").unwrap();
    assert_eq!(bytes(&found), vec![2; 3 << 20]);
    // One of which the disk cannot read a part is as long as ever.
    let [crate::base::Piece::Extent(extent)] = found.pieces() else { panic!() };
    assert!(extent.file.mark_damaged() && !extent.file.mark_damaged(), "news once");
    assert!(derived.find("a").is_none());
    derived.keep("a", || made(3)).unwrap();
    assert_eq!(bytes(&payload(&derived, "a").unwrap()), vec![3; 3 << 20]);
}

#[test]
fn what_cannot_be_written_is_kept_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("not there/derived");
    let derived = derived(&path, 64);
    derived.keep("a", || made(5)).unwrap();
    let found = payload(&derived, "a").unwrap();
    let [crate::base::Piece::Inline(inline)] = found.pieces() else { panic!("{found:?}") };
    assert_eq!(*inline, vec![5; 3 << 20]);
    // Once there is room again, it is used.
    fs::create_dir_all(&path).unwrap();
    derived.keep("b", || made(6)).unwrap();
    assert_eq!(bytes(&payload(&derived, "b").unwrap()), vec![6; 3 << 20]);
    let large = || Megabytes { byte: 0, count: 65, is_sound: true };
    fs::remove_dir_all(&path).unwrap();
    fs::write(&path, "no directory").unwrap();
    assert!(matches!(derived.keep("c", large), Err(Failure::NoRoom { .. })));
    assert!(derived.find("c").is_none());
}

#[test]
fn nothing_is_kept_of_damage() {
    let directory = tempfile::tempdir().unwrap();
    let derived = derived(directory.path(), 64);
    let damaged = || Megabytes { byte: 0, count: 5, is_sound: false };
    assert!(matches!(derived.keep("a", damaged), Err(Failure::Damaged)));
    assert!(derived.find("a").is_none() && files(directory.path()).is_empty());
    derived.refuse("a");
    assert!(matches!(derived.find("a"), Some(Found::Impossible)));
}
