//! The store on a disk whose power goes at any moment: whatever was not synced may be there, in part, or not.
//!
//! Environment: HEADWATER_SIMULATIONS, how many seeds are run (default 150); HEADWATER_SIMULATION_SEED, the first.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::disk::{Disk, DiskFile};
use super::object::Meta;
use super::*;
use crate::base::Stored;

/// Splitmix64: the same on every machine.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

type Contents = Arc<Mutex<Contained>>;

#[derive(Default)]
struct Contained {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Since the last sync; a write of nothing cuts the file there.
    writes: Vec<(u64, Vec<u8>)>,
}

#[derive(Clone)]
enum Entry {
    File(Contents),
    Directory,
}

/// One change of a directory.
#[derive(Clone)]
enum Named {
    Add(PathBuf, Entry),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Default)]
struct State {
    now: BTreeMap<PathBuf, Entry>,
    synced: BTreeMap<PathBuf, Entry>,
    /// By directory, since it was last synced.
    changes: BTreeMap<PathBuf, Vec<Named>>,
    /// Operations until the power goes.
    left: u64,
}

#[derive(Clone, Default)]
struct Virtual(Arc<Mutex<State>>);

struct VirtualFile {
    disk: Virtual,
    contents: Contents,
}

fn apply(entries: &mut BTreeMap<PathBuf, Entry>, change: &Named) {
    match change {
        Named::Add(path, entry) => drop(entries.insert(path.clone(), entry.clone())),
        Named::Remove(path) => drop(entries.remove(path)),
        Named::Rename(from, to) => {
            if let Some(entry) = entries.remove(from) {
                entries.insert(to.clone(), entry);
            }
        }
    }
}

impl Virtual {
    /// Counts an operation; none happens after the last.
    fn tick(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.left = state.left.checked_sub(1).ok_or_else(|| io::Error::other("the power is gone"))?;
        Ok(())
    }

    fn change(&self, directory: &Path, change: Named) {
        let mut state = self.0.lock().unwrap();
        apply(&mut state.now, &change);
        state.changes.entry(directory.to_owned()).or_default().push(change);
    }

    fn find(&self, path: &Path) -> io::Result<Entry> {
        self.0.lock().unwrap().now.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open(&self, contents: Contents) -> Arc<dyn DiskFile> {
        Arc::new(VirtualFile { disk: self.clone(), contents })
    }

    /// What is on the disk when the power is back, and as many operations as it will last.
    fn after_power_loss(&self, rng: &mut Rng, left: u64) -> Virtual {
        let state = self.0.lock().unwrap();
        let mut entries = state.synced.clone();
        // Directories are independent of each other; the changes of one get to the disk in their order.
        for changes in state.changes.values() {
            let count = rng.below(changes.len() as u64 + 1) as usize;
            changes[..count].iter().for_each(|change| apply(&mut entries, change));
        }
        // What lies in a directory that is not there is lost.
        let names: Vec<PathBuf> = entries.keys().cloned().collect();
        for name in names {
            if name.ancestors().skip(1).any(|above| above != Path::new("/") && !entries.contains_key(above)) {
                entries.remove(&name);
            }
        }
        for entry in entries.values_mut() {
            if let Entry::File(contents) = entry {
                let contained = contents.lock().unwrap();
                let mut bytes = contained.synced.clone();
                for (at, written) in &contained.writes {
                    match rng.below(4) {
                        0 => {}
                        1 => {
                            // The file became longer, and its bytes did not get there.
                            let end = *at as usize + written.len();
                            bytes.resize(bytes.len().max(end), 0);
                        }
                        2 => write(&mut bytes, *at, &written[..rng.below(written.len() as u64 + 1) as usize]),
                        _ => write(&mut bytes, *at, written),
                    }
                }
                drop(contained);
                *contents = Arc::new(Mutex::new(Contained { now: bytes.clone(), synced: bytes, writes: Vec::new() }));
            }
        }
        Virtual(Arc::new(Mutex::new(State { now: entries.clone(), synced: entries, changes: BTreeMap::new(), left })))
    }

    /// The process ends, and the machine goes on.
    fn after_kill(&self, left: u64) -> Virtual {
        self.0.lock().unwrap().left = left;
        self.clone()
    }
}

fn write(bytes: &mut Vec<u8>, at: u64, written: &[u8]) {
    let (at, end) = (at as usize, at as usize + written.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(written);
}

fn above(path: &Path) -> PathBuf {
    path.parent().unwrap().to_owned()
}

impl Disk for Virtual {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.tick()?;
        if self.find(path).is_err() {
            self.change(&above(path), Named::Add(path.to_owned(), Entry::Directory));
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock().unwrap();
        let inside = state.now.keys().filter(|name| name.parent() == Some(path));
        Ok(inside.map(|name| name.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.find(path)? {
            Entry::File(contents) => Ok(contents.lock().unwrap().now.clone()),
            Entry::Directory => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.tick()?;
        if self.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.find(&above(path))?;
        let contents = Contents::default();
        self.change(&above(path), Named::Add(path.to_owned(), Entry::File(contents.clone())));
        Ok(self.open(contents))
    }

    fn resume(&self, path: &Path, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.tick()?;
        let Entry::File(contents) = self.find(path)? else { return Err(io::ErrorKind::IsADirectory.into()) };
        {
            let mut contained = contents.lock().unwrap();
            contained.now.truncate(len as usize);
            // A cut is made when the power is back: the next start makes it again if it is lost.
            contained.synced.truncate(len as usize);
        }
        Ok(self.open(contents))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.tick()?;
        self.find(from)?;
        self.change(&above(to), Named::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.tick()?;
        self.find(path)?;
        self.change(&above(path), Named::Remove(path.to_owned()));
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.tick()?;
        if !self.list(path)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.change(&above(path), Named::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.tick()?;
        let mut state = self.0.lock().unwrap();
        for change in state.changes.remove(path).unwrap_or_default() {
            apply(&mut state.synced, &change);
        }
        Ok(())
    }
}

impl DiskFile for VirtualFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let torn = self.disk.tick();
        let mut contained = self.contents.lock().unwrap();
        contained.writes.push((at, bytes.to_owned()));
        write(&mut contained.now, at, bytes);
        torn
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.tick()?;
        let mut contained = self.contents.lock().unwrap();
        contained.synced = contained.now.clone();
        contained.writes.clear();
        Ok(())
    }

    fn stored(self: Arc<Self>, _: u64) -> Option<Arc<dyn Stored>> {
        None
    }
}

fn body(seed: u64) -> Vec<u8> {
    let mut rng = Rng(seed);
    let len = 1 + rng.below(200);
    (0..len).map(|_| rng.next() as u8 | 1).collect()
}

/// Stands for SHA-256, which would make the simulation slow.
fn digest(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

/// What may be found at a path: the content that was acknowledged last, or what was tried after it.
#[derive(Default)]
struct Allowed(Vec<Option<u64>>);

struct World {
    rng: Rng,
    allowed: HashMap<ObjectPath, Allowed>,
    next_seed: u64,
}

impl World {
    fn path(&mut self) -> ObjectPath {
        let (folder, name) = (self.rng.below(3), self.rng.below(6));
        ObjectPath::new("c", &format!("{folder}/{name}")).unwrap()
    }

    /// Works until the power goes, or nothing is left to do.
    fn work(&mut self, objects: &Objects) {
        for _ in 0..60 {
            let mut batch: Vec<(Change, ObjectPath, Option<u64>)> = Vec::new();
            for _ in 0..1 + self.rng.below(4) {
                let path = self.path();
                if self.rng.below(5) == 0 {
                    if let Some(Found::Object(object)) = objects.find(&path, 0) {
                        batch.push((Change::Delete(object.id), path, None));
                    }
                    continue;
                }
                self.next_seed += 1;
                let (seed, id) = (self.next_seed, objects.allot());
                let bytes = body(seed);
                let Ok(file) = objects.create(id) else { return };
                // Some come in pieces, and some never come to their end.
                let half = bytes.len() / 2;
                let written =
                    file.write_at(&bytes[..half], 0).and_then(|()| file.write_at(&bytes[half..], half as u64));
                if written.is_err() || self.rng.below(8) == 0 {
                    objects.abandon(id);
                    continue;
                }
                let meta = objects.meta(Meta { content_type: format!("x/{}", seed % 3).into(), ..Meta::default() });
                let (len, digest) = (bytes.len() as u64, digest(&bytes));
                let written = Written { id, path: path.clone(), len, modified: seed, digest, meta, lifetime: 0 };
                let object = objects.object(written);
                batch.push((Change::Put(object, file), path, Some(seed)));
            }
            for (_, path, seed) in &batch {
                self.allowed.entry(path.clone()).or_insert_with(|| Allowed(vec![None])).0.push(*seed);
            }
            let changes: Vec<&Change> = batch.iter().map(|(change, ..)| change).collect();
            let results = objects.commit(&changes);
            for ((change, path, seed), result) in batch.iter().zip(results) {
                // A deletion of what another change of the batch has replaced leaves that.
                let is_gone = matches!(change, Change::Delete(_)) && objects.find(path, 0).is_some();
                if result.is_ok() && !is_gone {
                    let allowed = &mut self.allowed.get_mut(path).unwrap().0;
                    let at = allowed.iter().rposition(|other| other == seed).unwrap();
                    allowed.drain(..at);
                }
            }
            if self.rng.below(4) == 0 {
                objects.remove_garbage();
            }
            if self.rng.below(10) == 0 {
                let _ = objects.checkpoint();
            }
        }
    }

    /// Everything that is shown is whole, and is what it may be.
    fn check(&mut self, objects: &Objects, disk: &Virtual, context: &str) {
        for (path, allowed) in &mut self.allowed {
            let found = match objects.find(path, 0) {
                Some(Found::Object(object)) => {
                    let bytes = disk
                        .read(&objects.file(object.id))
                        .unwrap_or_else(|error| panic!("{context}: {path}: {error}"));
                    assert_eq!(
                        (bytes.len() as u64, digest(&bytes)),
                        (object.len, object.digest),
                        "{context}: {path} is not whole"
                    );
                    assert_eq!(&*object.meta.content_type, format!("x/{}", object.modified % 3), "{context}: {path}");
                    Some(object.modified)
                }
                Some(Found::Growing(_)) => panic!("{context}: {path} grows"),
                None => None,
            };
            assert!(allowed.0.contains(&found), "{context}: {path} is {found:?}, allowed are {:?}", allowed.0);
            // What was found once is what counts from now on.
            allowed.0 = vec![found];
        }
        let shown: usize = objects.table().all().count();
        assert_eq!(shown, self.allowed.values().filter(|allowed| allowed.0[0].is_some()).count(), "{context}");
    }
}

fn simulate(seed: u64, durability: Durability) {
    let mut world = World { rng: Rng(seed), allowed: HashMap::new(), next_seed: seed << 20 };
    let root = PathBuf::from("/store");
    let mut disk = Virtual::default();
    disk.0.lock().unwrap().synced.insert(root.clone(), Entry::Directory);
    disk.0.lock().unwrap().now.insert(root.clone(), Entry::Directory);
    for round in 0..6 {
        let context = format!("seed {seed}, round {round}");
        let left = match round {
            // The power may go while the store is opened, again and again.
            0..5 => 1 + world.rng.below(400),
            _ => u64::MAX,
        };
        disk = match durability {
            Durability::None => disk.after_kill(left),
            _ => disk.after_power_loss(&mut world.rng, left),
        };
        let options = Options { durability, ..Options::default() };
        let Ok(objects) = Objects::open(Arc::new(disk.clone()), &root, options) else { continue };
        world.check(&objects, &disk, &context);
        let _ = objects.remove_leftovers();
        world.check(&objects, &disk, &format!("{context}, leftovers removed"));
        if left == u64::MAX {
            let files = disk.0.lock().unwrap().now.values().filter(|entry| matches!(entry, Entry::File(_))).count();
            let journal = disk.list(&root.join("journal")).unwrap().len();
            assert_eq!(files - journal, objects.table().len(), "{context}: files are left over");
        }
        world.work(&objects);
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn nothing_acknowledged_is_lost_whenever_the_power_goes() {
    let first = number("HEADWATER_SIMULATION_SEED", 0);
    for seed in first..first + number("HEADWATER_SIMULATIONS", 150) {
        simulate(seed, Durability::Batched(Duration::from_millis(5)));
        simulate(seed, Durability::None);
    }
}
