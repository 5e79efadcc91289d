//! Heads of progressive files: made off the workers, and kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache;
use quick_cache::{OptionsBuilder, Weighter};

use crate::base::limits::PROGRESSIVE_CACHE_BYTES;
use crate::package::progressive::Movie;

use super::playback::Source;
use super::selection::Selection;

/// Which file of which asset. Two assets may hold the same version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub asset: Box<str>,
    pub version: Box<str>,
    /// [`Selection::canonical`].
    pub selection: Box<str>,
}

/// A file that somebody waits for.
#[derive(Debug)]
pub struct Order {
    key: Key,
    /// By its tracks.
    selection: Selection,
}

/// `None`: there is no such file, and the log says why.
pub type Made = Option<Arc<Movie>>;

pub struct Movies {
    made: Cache<Key, Made, Weight>,
    /// All who ask for the same wait for one.
    ordered: Mutex<HashMap<Key, Arc<Order>>>,
}

impl Default for Movies {
    fn default() -> Movies {
        const MOVIE_BYTES_TYPICAL: u64 = 1024 * 1024;
        let options = OptionsBuilder::new()
            // One, or each would keep its share of the bytes only, and there are large ones.
            .shards(1)
            .estimated_items_capacity((PROGRESSIVE_CACHE_BYTES / MOVIE_BYTES_TYPICAL) as usize)
            .weight_capacity(PROGRESSIVE_CACHE_BYTES)
            .build()
            .expect("both capacities are given");
        let made = Cache::with_options(options, Weight, Default::default(), Default::default());
        Movies { made, ordered: Mutex::default() }
    }
}

impl Movies {
    pub fn find(&self, key: &Key) -> Option<Made> {
        self.made.get(key)
    }

    /// To be given to [`Movies::make`] on a helper.
    pub fn order(&self, key: Key, selection: Selection) -> Arc<Order> {
        let mut ordered = self.ordered();
        ordered.entry(key.clone()).or_insert_with(|| Arc::new(Order { key, selection })).clone()
    }

    /// May wait for the disk. What was made of files that are not whole is thrown away: whoever asks next finds out.
    pub fn make<S: Source>(&self, order: &Order, source: &S) {
        let whole = source.presentation();
        let made = order.selection.of(&whole).and_then(|presentation| {
            Movie::new(&presentation)
                .inspect_err(|error| {
                    tracing::warn!(
                        asset = &*order.key.asset,
                        selection = &*order.key.selection,
                        "no progressive MP4: {error}"
                    );
                })
                .ok()
        });
        if source.is_whole() {
            self.made.insert(order.key.clone(), made.map(Arc::new));
        }
        // And those that a connection gave up before a helper had them.
        self.ordered().retain(|key, other| *key != order.key && Arc::strong_count(other) > 1);
    }

    fn ordered(&self) -> MutexGuard<'_, HashMap<Key, Arc<Order>>> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Made> for Weight {
    fn weight(&self, key: &Key, made: &Made) -> u64 {
        let names = key.asset.len() + key.version.len() + key.selection.len() + 256;
        names as u64 + made.as_ref().map_or(0, |movie| movie.weight())
    }
}
