//! Where every object is found: an ordered map in shards, each behind a lock that is held for microseconds.
//!
//! A shard holds all objects of the folders that fall to it, ordered by folder and name, so that a look-up and a page of a
//! listing each ask one shard. Which folders there are is known beside it, and changes seldom.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::object::{Meta, Object};
use super::path::{ObjectPath, Place};
use crate::base::Growing;

pub struct Table {
    shards: Vec<RwLock<Shard>>,
    hasher: RandomState,
    by_id: Mutex<BTreeMap<u64, Arc<Object>>>,
    /// How many objects and folders lie directly in each folder, none of them empty; by [`key`].
    folders: RwLock<BTreeMap<Box<str>, u64>>,
    usage: RwLock<HashMap<Box<str>, Arc<Usage>>>,
    bytes: AtomicU64,
}

/// What a container holds, and what was done to it since the start.
#[derive(Debug, Default)]
pub struct Usage {
    pub objects: AtomicU64,
    /// What they weigh.
    pub bytes: AtomicU64,
    /// Answered requests for objects, at delivery and intake.
    pub reads: AtomicU64,
    pub writes: AtomicU64,
    pub deletes: AtomicU64,
    pub lists: AtomicU64,
    /// Bytes of uploads that came.
    pub received: AtomicU64,
    /// Uploads that broke off.
    pub broken: AtomicU64,
    /// Requests that were not allowed or not understood.
    pub refused: AtomicU64,
    pub expired: AtomicU64,
    /// Uploads under way.
    pub uploading: AtomicU64,
}

#[derive(Default)]
struct Shard {
    objects: BTreeSet<ByPlace>,
    /// Uploads that can be read while they come; their paths have no object.
    growing: HashMap<ObjectPath, Arc<Upload>>,
}

/// An upload that can be read before it is complete.
#[derive(Debug)]
pub struct Upload {
    pub id: u64,
    pub path: ObjectPath,
    pub meta: Arc<Meta>,
    pub growing: Growing,
}

/// What has a path.
#[derive(Clone, Debug)]
pub enum Found {
    Object(Arc<Object>),
    Growing(Arc<Upload>),
}

/// One line of a listing.
#[derive(Clone, Debug)]
pub enum Item {
    Object(Arc<Object>),
    /// Its name, without slashes.
    Folder(String),
}

/// Where a listing goes on: behind what has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    Object(String),
    /// It comes behind an object of the same name.
    Folder(String),
}

impl After {
    fn name(&self) -> &str {
        match self {
            After::Object(name) | After::Folder(name) => name,
        }
    }
}

impl Item {
    pub fn after(&self) -> After {
        match self {
            Item::Object(object) => After::Object(object.path.name().to_owned()),
            Item::Folder(name) => After::Folder(name.clone()),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Item::Object(object) => object.path.name(),
            Item::Folder(name) => name,
        }
    }
}

struct ByPlace(Arc<Object>);

impl<'a> Borrow<dyn Place + 'a> for ByPlace {
    fn borrow(&self) -> &(dyn Place + 'a) {
        &self.0.path
    }
}

impl PartialEq for ByPlace {
    fn eq(&self, other: &ByPlace) -> bool {
        self.0.path == other.0.path
    }
}

impl Eq for ByPlace {}

impl PartialOrd for ByPlace {
    fn partial_cmp(&self, other: &ByPlace) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByPlace {
    fn cmp(&self, other: &ByPlace) -> std::cmp::Ordering {
        self.0.path.place().cmp(&other.0.path.place())
    }
}

const SHARDS: usize = 64;

impl Default for Table {
    fn default() -> Table {
        Table::filled(Vec::new())
    }
}

impl Table {
    /// Of objects with different paths, quickest if those of a folder come together.
    pub fn filled(objects: Vec<Arc<Object>>) -> Table {
        let hasher = RandomState::new();
        let mut table = Table {
            shards: Vec::new(),
            hasher,
            by_id: Mutex::default(),
            folders: RwLock::default(),
            usage: RwLock::default(),
            bytes: AtomicU64::new(0),
        };
        let mut shards: Vec<Vec<ByPlace>> = (0..SHARDS).map(|_| Vec::new()).collect();
        let mut run: Option<(usize, u64, Arc<Usage>)> = None;
        let mut last: Option<&Arc<Object>> = None;
        for object in &objects {
            let is_next = last.is_some_and(|last| last.path.folder() == object.path.folder());
            if !is_next {
                if let (Some(last), Some((_, count, _))) = (last, &run) {
                    table.add_folder(last.path.folder(), *count);
                }
                let shard = table.shard_of(object.path.folder());
                run = Some((shard, 0, table.usage_of(object.path.container())));
            }
            if let Some((shard, count, usage)) = &mut run {
                *count += 1;
                usage.objects.fetch_add(1, Ordering::Relaxed);
                usage.bytes.fetch_add(object.weight(), Ordering::Relaxed);
                table.bytes.fetch_add(object.weight(), Ordering::Relaxed);
                shards[*shard].push(ByPlace(object.clone()));
            }
            last = Some(object);
        }
        if let (Some(last), Some((_, count, _))) = (last, &run) {
            table.add_folder(last.path.folder(), *count);
        }
        table.shards = shards
            .into_iter()
            .map(|objects| RwLock::new(Shard { objects: objects.into_iter().collect(), growing: HashMap::new() }))
            .collect();
        // Sorted by numbers that lie side by side, not by what they point to.
        let mut by_id: Vec<(u64, Arc<Object>)> = objects.into_iter().map(|object| (object.id, object)).collect();
        by_id.sort_unstable_by_key(|(id, _)| *id);
        table.by_id = Mutex::new(by_id.into_iter().collect());
        table
    }

    pub fn find(&self, path: &ObjectPath) -> Option<Found> {
        let shard = self.read(path.folder());
        let key: &dyn Place = path;
        match shard.objects.get(key) {
            Some(found) => Some(Found::Object(found.0.clone())),
            None => shard.growing.get(key).cloned().map(Found::Growing),
        }
    }

    pub fn by_id(&self, id: u64) -> Option<Arc<Object>> {
        self.ids().get(&id).cloned()
    }

    /// The object that was made first, after that one.
    pub fn oldest(&self, after: Option<u64>) -> Option<Arc<Object>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.ids().range((from, Bound::Unbounded)).next().map(|(_, object)| object.clone())
    }

    pub fn len(&self) -> usize {
        self.ids().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What all objects weigh.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn usage(&self) -> Vec<(String, Arc<Usage>)> {
        let usage = self.usage.read().unwrap_or_else(PoisonError::into_inner);
        usage.iter().map(|(name, usage)| (name.to_string(), usage.clone())).collect()
    }

    pub fn has_container(&self, name: &str) -> bool {
        let usage = self.usage.read().unwrap_or_else(PoisonError::into_inner);
        usage.get(name).is_some_and(|usage| usage.objects.load(Ordering::Relaxed) > 0)
    }

    /// In place of what was at its path, which is returned.
    pub fn insert(&self, object: Arc<Object>) -> Option<Arc<Object>> {
        let replaced = {
            let mut shard = self.write(object.path.folder());
            let key: &dyn Place = &object.path;
            shard.growing.remove(key);
            shard.objects.replace(ByPlace(object.clone()))
        };
        let mut ids = self.ids();
        ids.insert(object.id, object.clone());
        if let Some(ByPlace(replaced)) = &replaced {
            ids.remove(&replaced.id);
        }
        drop(ids);
        match &replaced {
            Some(ByPlace(replaced)) => self.uncount(replaced),
            None => self.add_folder(object.path.folder(), 1),
        }
        let usage = self.usage_of(object.path.container());
        usage.objects.fetch_add(1, Ordering::Relaxed);
        usage.bytes.fetch_add(object.weight(), Ordering::Relaxed);
        self.bytes.fetch_add(object.weight(), Ordering::Relaxed);
        replaced.map(|replaced| replaced.0)
    }

    pub fn remove(&self, id: u64) -> Option<Arc<Object>> {
        let object = self.ids().remove(&id)?;
        {
            let mut shard = self.write(object.path.folder());
            let key: &dyn Place = &object.path;
            if shard.objects.get(key).is_some_and(|found| found.0.id == id) {
                shard.objects.remove(key);
            }
        }
        self.uncount(&object);
        self.remove_folder(object.path.folder());
        Some(object)
    }

    /// Shows an upload while its path has neither an object nor another that is shown.
    pub fn show(&self, upload: Arc<Upload>) -> bool {
        let mut shard = self.write(upload.path.folder());
        let key: &dyn Place = &upload.path;
        if shard.objects.contains(key) || shard.growing.contains_key(key) {
            return false;
        }
        shard.growing.insert(upload.path.clone(), upload);
        true
    }

    /// It is shown no more; another upload to its path may be by now.
    pub fn hide(&self, upload: &Arc<Upload>) {
        let mut shard = self.write(upload.path.folder());
        let key: &dyn Place = &upload.path;
        if shard.growing.get(key).is_some_and(|shown| Arc::ptr_eq(shown, upload)) {
            shard.growing.remove(key);
        }
    }

    /// What lies directly in a folder, which ends in a slash: up to `max` items whose names come after `after`, in the order
    /// of their bytes, objects before folders of the same name. Objects that `shown` refuses are passed over.
    pub fn list(&self, folder: &str, after: Option<&After>, max: usize, shown: impl Fn(&Object) -> bool) -> Vec<Item> {
        let mut items: Vec<Item> = Vec::new();
        {
            let shard = self.read(folder);
            let name = after.map_or("", After::name);
            let start: &dyn Place = &(folder, name);
            let from = match after {
                Some(_) => Bound::Excluded(start),
                None => Bound::Included(start),
            };
            let objects = shard.objects.range::<dyn Place, _>((from, Bound::Unbounded));
            let objects =
                objects.take_while(|object| object.0.path.folder() == folder).filter(|object| shown(&object.0));
            items.extend(objects.take(max).map(|object| Item::Object(object.0.clone())));
        }
        let folders = self.folders.read().unwrap_or_else(PoisonError::into_inner);
        let inside = key(folder);
        let mut at = match after {
            // The folder itself is no item.
            None => [&*inside, "\u{2}"].concat(),
            Some(After::Object(name)) => [&*inside, name].concat(),
            Some(After::Folder(name)) => [&*inside, name, "\u{2}"].concat(),
        };
        for _ in 0..max {
            let next = folders.range::<str, _>((Bound::Included(&*at), Bound::Unbounded)).next();
            let Some(below) = next.and_then(|(next, _)| next.strip_prefix(&*inside)) else { break };
            let name = below.split(SLASH).next().unwrap_or_default();
            at = [&*inside, name, "\u{2}"].concat();
            items.push(Item::Folder(name.to_owned()));
        }
        drop(folders);
        // Stable: an object stays in front of the folder of its name.
        items.sort_by(|a, b| a.name().cmp(b.name()));
        items.truncate(max);
        items
    }

    pub fn has_folder(&self, folder: &str) -> bool {
        self.folders.read().unwrap_or_else(PoisonError::into_inner).contains_key(&*key(folder))
    }

    /// All objects, those of a folder together; a shard at a time.
    pub fn all(&self) -> impl Iterator<Item = Arc<Object>> + '_ {
        self.shards.iter().flat_map(|shard| {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.objects.iter().map(|object| object.0.clone()).collect::<Vec<_>>()
        })
    }

    fn add_folder(&self, folder: &str, children: u64) {
        let folder = key(folder);
        let mut folders = self.folders.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = folders.get_mut(&*folder) {
            *count += children;
            return;
        }
        folders.insert(folder.as_str().into(), children);
        // Each folder that is new is a child of the one above it.
        let mut below = folder.as_str();
        while let Some(above) = parent(below) {
            if let Some(count) = folders.get_mut(above) {
                *count += 1;
                return;
            }
            folders.insert(above.into(), 1);
            below = above;
        }
    }

    fn remove_folder(&self, folder: &str) {
        let folder = key(folder);
        let mut folders = self.folders.write().unwrap_or_else(PoisonError::into_inner);
        let mut at = Some(folder.as_str());
        while let Some(folder) = at {
            match folders.get_mut(folder) {
                Some(count) if *count > 1 => {
                    *count -= 1;
                    return;
                }
                _ => folders.remove(folder),
            };
            at = parent(folder);
        }
    }

    fn uncount(&self, object: &Object) {
        let usage = self.usage_of(object.path.container());
        usage.objects.fetch_sub(1, Ordering::Relaxed);
        usage.bytes.fetch_sub(object.weight(), Ordering::Relaxed);
        self.bytes.fetch_sub(object.weight(), Ordering::Relaxed);
    }

    /// Of a container that is there, or is about to be.
    pub fn usage_of(&self, container: &str) -> Arc<Usage> {
        if let Some(usage) = self.usage.read().unwrap_or_else(PoisonError::into_inner).get(container) {
            return usage.clone();
        }
        let mut all = self.usage.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(container.into()).or_default().clone()
    }

    fn shard_of(&self, folder: &str) -> usize {
        self.hasher.hash_one(folder) as usize % SHARDS
    }

    fn read(&self, folder: &str) -> RwLockReadGuard<'_, Shard> {
        self.shards[self.shard_of(folder)].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, folder: &str) -> RwLockWriteGuard<'_, Shard> {
        self.shards[self.shard_of(folder)].write().unwrap_or_else(PoisonError::into_inner)
    }

    fn ids(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Object>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In keys of folders a character below all others stands for the slash, so that they are in the order of their names: `a`,
/// what is in it, `a-b`.
const SLASH: char = '\u{1}';

fn key(folder: &str) -> String {
    folder.replace('/', "\u{1}")
}

/// The key of the folder above one that is not a container's.
fn parent(key: &str) -> Option<&str> {
    let inner = key.strip_suffix(SLASH)?;
    Some(&inner[..inner.rfind(SLASH)? + 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::objects::object::{Digest, NEVER};
    use proptest::prelude::*;

    fn object(id: u64, path: &str) -> Arc<Object> {
        let path = ObjectPath::parse(path).unwrap();
        let meta = Arc::new(Meta::default());
        Arc::new(Object {
            id,
            path,
            len: 5_000,
            modified: 0,
            digest: Digest([0; 32]),
            meta,
            lifetime: 0,
            expires: NEVER.into(),
        })
    }

    fn names(items: &[Item]) -> String {
        let shown = |item: &Item| match item {
            Item::Object(object) => object.path.name().to_owned(),
            Item::Folder(name) => format!("{name}/"),
        };
        items.iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    const PATHS: [&str; 9] = ["c/a", "c/a/b", "c/a/c/d", "c/a-b/x", "c/a.ts", "c/b", "c/z/y/x/w", "d/a", "c/a/c.ts"];

    #[test]
    fn folders_and_objects_are_listed_in_order_and_in_pages() {
        let filled = Table::filled(PATHS.iter().enumerate().map(|(id, path)| object(id as u64, path)).collect());
        let table = Table::default();
        for (id, path) in PATHS.iter().enumerate() {
            assert!(table.insert(object(id as u64, path)).is_none());
        }
        for table in [&filled, &table] {
            for (folder, want) in [
                ("c/", "a a/ a-b/ a.ts b z/"),
                ("c/a/", "b c/ c.ts"),
                ("c/z/", "y/"),
                ("c/z/y/x/", "w"),
                ("d/", "a"),
                ("e/", ""),
                ("c/a.ts/", ""),
            ] {
                assert_eq!(names(&table.list(folder, None, 100, |_| true)), want, "{folder}");
                let (mut pages, mut after) = (Vec::new(), None);
                loop {
                    let page = table.list(folder, after.as_ref(), 1, |_| true);
                    let Some(last) = page.last() else { break };
                    after = Some(last.after());
                    pages.extend(page);
                }
                assert_eq!(names(&pages), want, "{folder} in pages");
            }
            assert_eq!(table.list("c/", None, 100, |object| object.id % 2 == 0).len(), 4 + 1);
            assert_eq!((table.len(), table.bytes()), (9, 9 * 8_192));
            assert!(table.has_container("d") && !table.has_container("e") && table.has_folder("c/z/y/"));
        }
    }

    #[test]
    fn empty_folders_are_gone() {
        let table = Table::default();
        for (id, path) in PATHS.iter().enumerate() {
            table.insert(object(id as u64, path));
        }
        assert_eq!(table.insert(object(20, "c/z/y/x/w")).unwrap().id, 6);
        assert!(table.remove(6).is_none());
        assert_eq!(table.oldest(None).unwrap().id, 0);
        assert_eq!(table.oldest(Some(5)).unwrap().id, 7);
        assert!(table.remove(20).is_some());
        assert!(!table.has_folder("c/z/") && table.has_folder("c/a/c/"));
        for id in [0, 1, 2, 3, 4, 5, 7, 8] {
            assert!(table.remove(id).is_some(), "{id}");
        }
        assert!(table.is_empty() && table.bytes() == 0 && !table.has_folder("c/") && !table.has_container("c"));
        assert!(table.list("c/", None, 9, |_| true).is_empty());
    }

    proptest! {
        #[test]
        fn pages_hold_what_a_plain_list_holds(
            paths in prop::collection::btree_set("c(/[a-b.]{1,2}){1,3}", 0..20),
            page in 1_usize..4,
        ) {
            let paths: Vec<String> = paths.into_iter().filter(|path| ObjectPath::parse(path).is_ok()).collect();
            let table = Table::default();
            for (id, path) in paths.iter().enumerate() {
                table.insert(object(id as u64, path));
            }
            let mut want = BTreeSet::new();
            for path in &paths {
                match path[2..].split_once('/') {
                    Some((folder, _)) => want.insert((folder.to_owned(), 1)),
                    None => want.insert((path[2..].to_owned(), 0)),
                };
            }
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let items = table.list("c/", after.as_ref(), page, |_| true);
                prop_assert!(items.len() <= page);
                let Some(last) = items.last() else { break };
                after = Some(last.after());
                found.extend(items.iter().map(|item| (item.name().to_owned(), i32::from(matches!(item, Item::Folder(_))))));
            }
            prop_assert_eq!(found, want.into_iter().collect::<Vec<_>>());
        }
    }
}
