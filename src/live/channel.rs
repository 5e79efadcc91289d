//! A channel as readers hold it, and the registry of all channels.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::snapshot::Snapshot;

/// One channel: its newest snapshot.
pub struct Channel {
    name: String,
    snapshot: ArcSwap<Snapshot>,
}

impl Channel {
    pub fn new(name: &str, snapshot: Snapshot) -> Channel {
        Channel { name: name.to_owned(), snapshot: ArcSwap::from_pointee(snapshot) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    pub(super) fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }
}

/// All channels by name. Reading takes no lock.
#[derive(Default)]
pub struct Channels {
    by_name: ArcSwap<BTreeMap<String, Arc<Channel>>>,
    /// Held while the map is changed.
    changing: Mutex<()>,
}

impl Channels {
    pub fn find(&self, name: &str) -> Option<Arc<Channel>> {
        self.by_name.load().get(name).cloned()
    }

    /// By name.
    pub fn all(&self) -> Vec<Arc<Channel>> {
        self.by_name.load().values().cloned().collect()
    }

    /// Adds a channel, in the place of one that has its name.
    pub fn insert(&self, channel: Arc<Channel>) {
        self.change(|channels| drop(channels.insert(channel.name.clone(), channel)));
    }

    pub fn remove(&self, name: &str) {
        self.change(|channels| drop(channels.remove(name)));
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Arc<Channel>>)) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut channels = BTreeMap::clone(&self.by_name.load());
        change(&mut channels);
        self.by_name.store(Arc::new(channels));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_and_go() {
        let channels = Channels::default();
        let channel = |name| Arc::new(Channel::new(name, Snapshot::empty(Vec::new())));
        let (first, second) = (channel("news"), channel("news"));
        channels.insert(first);
        channels.insert(channel("film"));
        channels.insert(second.clone());
        assert!(Arc::ptr_eq(&channels.find("news").unwrap(), &second));
        assert_eq!(
            channels.all().iter().map(|channel| channel.name().to_owned()).collect::<Vec<_>>(),
            ["film", "news"]
        );
        channels.remove("news");
        assert!(channels.find("news").is_none() && channels.find("film").is_some());
    }
}
