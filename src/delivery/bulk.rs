//! One large send at a time: between two of them the worker looks at its ring, so that a playlist waits for one large send
//! at most, and not for those of all clients that happen to be ready.
//!
//! Smaller shares for everybody would do it too, and cost twice the CPU (see `limits::TURN_BYTES`).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::sys::Pollable;

/// Who may make the next large send of a worker.
#[derive(Default)]
pub(super) struct Bulk {
    /// Somebody made, or was granted, a large send since the ring was looked at.
    taken: Cell<bool>,
    waiting: RefCell<VecDeque<Waker>>,
    /// Numbers of those that began to wait, and of those that were granted their send, both in order.
    begun: Cell<u64>,
    granted: Cell<u64>,
    /// The task of [`Bulk::run`], while nothing is taken.
    resting: Cell<Option<Waker>>,
    ended: Cell<bool>,
}

impl Bulk {
    /// Whether a large send may be made right now. If not, [`Bulk::wait`].
    pub(super) fn try_take(&self) -> bool {
        if self.taken.replace(true) {
            return false;
        }
        if let Some(waker) = self.resting.take() {
            waker.wake();
        }
        true
    }

    /// Waits in line; then one large send may be made.
    pub(super) async fn wait(&self) {
        let number = self.begun.get();
        let mut queued = false;
        poll_fn(|context| {
            if !queued {
                queued = true;
                self.begun.set(number + 1);
                self.waiting.borrow_mut().push_back(context.waker().clone());
            }
            if self.granted.get() > number { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// No connection is left: [`Bulk::run`] returns.
    pub(super) fn end(&self) {
        self.ended.set(true);
        if let Some(waker) = self.resting.take() {
            waker.wake();
        }
    }

    /// Grants large sends, one per look at the ring, until the end. `ready` is always writable.
    pub(super) async fn run(&self, ready: &Pollable) {
        while !self.ended.get() {
            poll_fn(|context| {
                if self.taken.get() || self.ended.get() {
                    return Poll::Ready(());
                }
                self.resting.set(Some(context.waker().clone()));
                Poll::Pending
            })
            .await;
            // Completes after the worker has collected what else completed, and run it.
            ready.writable().await;
            let next = self.waiting.borrow_mut().pop_front();
            match next {
                // One that is gone meanwhile leaves its turn unused.
                Some(waker) => {
                    self.granted.set(self.granted.get() + 1);
                    waker.wake();
                }
                None => self.taken.set(false),
            }
        }
    }
}
