//! Watermarks: numbers that only grow, and who waits for them.
//!
//! A [`Watch`] says how far something has come: bytes of a file that is being written, or parts of a live track. Whoever
//! makes it grow calls [`Watch::advance`]; that wakes each delivery worker with waiters once, however many requests wait
//! there. A worker keeps its own list of who waits for what, and subscribes once per watch while the list is not empty.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A growing number that others wait for. Begins at 0.
#[derive(Default)]
pub struct Watch {
    mark: AtomicU64,
    /// Workers with somebody waiting; few, and changed when the first one waits or the last one is gone.
    listeners: Mutex<Vec<(u64, Arc<dyn Listener>)>>,
    /// Whether there may be any, so that advancing without waiters takes no lock.
    listened: AtomicU64,
    /// Requests that wait, on all workers: for who wants to know, nothing depends on it.
    waiters: AtomicU64,
}

/// A worker, as far as a watch knows it.
pub trait Listener: Send + Sync {
    /// A watch the listener subscribed to under `key` has moved. Called by whoever advanced it; must not block.
    fn moved(&self, key: u64);
}

/// What a request waits for: the watch to reach `target`.
#[derive(Clone)]
pub struct Watermark {
    pub watch: Arc<Watch>,
    pub target: u64,
}

/// A mark no watch passes: what waited for is over, and everybody asks again.
pub const ENDED: u64 = u64::MAX;

impl Watch {
    pub fn new(mark: u64) -> Watch {
        Watch { mark: AtomicU64::new(mark), ..Watch::default() }
    }

    pub fn mark(&self) -> u64 {
        self.mark.load(Ordering::Acquire)
    }

    /// Raises the mark and wakes who listens. What the mark stands for has to be visible before: the bytes written, the
    /// snapshot stored. A lower mark changes nothing.
    pub fn advance(&self, mark: u64) {
        // Sequentially consistent with `subscribe`: either the listener sees the mark, or it is seen here.
        if self.mark.fetch_max(mark, Ordering::SeqCst) >= mark || self.listened.load(Ordering::SeqCst) == 0 {
            return;
        }
        for (key, listener) in self.listeners().iter() {
            listener.moved(*key);
        }
    }

    /// From now on `listener` is told under `key` when the mark moves. Look at the mark afterwards: it may have moved just
    /// before.
    pub fn subscribe(&self, listener: Arc<dyn Listener>, key: u64) {
        let mut listeners = self.listeners();
        listeners.push((key, listener));
        self.listened.store(listeners.len() as u64, Ordering::SeqCst);
    }

    pub fn unsubscribe(&self, listener: &Arc<dyn Listener>, key: u64) {
        let mut listeners = self.listeners();
        listeners.retain(|(other, known)| *other != key || !Arc::ptr_eq(known, listener));
        self.listened.store(listeners.len() as u64, Ordering::SeqCst);
    }

    /// Requests that wait for it at the moment.
    pub fn waiters(&self) -> u64 {
        self.waiters.load(Ordering::Relaxed)
    }

    /// Told by whoever keeps the list of them.
    pub fn waiters_came(&self, count: usize) {
        self.waiters.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub fn waiters_left(&self, count: usize) {
        self.waiters.fetch_sub(count as u64, Ordering::Relaxed);
    }

    fn listeners(&self) -> std::sync::MutexGuard<'_, Vec<(u64, Arc<dyn Listener>)>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.watch.mark(), self.target)
    }
}

impl Watermark {
    pub fn is_reached(&self) -> bool {
        self.watch.mark() >= self.target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Told(Mutex<Vec<u64>>);

    impl Listener for Told {
        fn moved(&self, key: u64) {
            self.0.lock().unwrap().push(key);
        }
    }

    #[test]
    fn listeners_are_told_of_growth_and_of_nothing_else() {
        let (watch, told) = (Watch::new(5), Arc::new(Told::default()));
        let listener: Arc<dyn Listener> = told.clone();
        watch.advance(6);
        watch.subscribe(listener.clone(), 1);
        watch.subscribe(listener.clone(), 2);
        for mark in [6, 3, 7, 7] {
            watch.advance(mark);
        }
        assert_eq!((watch.mark(), told.0.lock().unwrap().drain(..).collect::<Vec<_>>()), (7, vec![1, 2]));
        watch.unsubscribe(&listener, 1);
        watch.advance(8);
        watch.unsubscribe(&listener, 2);
        watch.advance(ENDED);
        assert_eq!((watch.mark(), told.0.lock().unwrap().as_slice()), (ENDED, &[2][..]));
    }
}
