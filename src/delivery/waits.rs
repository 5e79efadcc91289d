//! Who waits for what to grow: this worker's side of the watches. However many requests wait for one live part, its writer
//! posts one message here.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use super::inbox::{Inbox, Message};
use super::tickets::{Outcome, TicketId, Tickets};
use crate::base::watch::Listener;
use crate::base::{Watch, Watermark};

/// Watches that somebody on this worker waits on.
pub(super) struct Waits {
    watched: RefCell<Slab<Watched>>,
    /// By the watch's address; it lives as long as its entry.
    places: RefCell<HashMap<usize, usize>>,
    listener: Arc<dyn Listener>,
}

struct Watched {
    watch: Arc<Watch>,
    waiting: Vec<Waiting>,
}

struct Waiting {
    target: u64,
    /// The tick after which it is told that its time is up.
    until: u32,
    ticket: TicketId,
}

impl Listener for Inbox {
    fn moved(&self, key: u64) {
        self.post(Message::Moved(key));
    }
}

impl Waits {
    pub(super) fn new(inbox: Arc<Inbox>) -> Waits {
        Waits { watched: RefCell::default(), places: RefCell::default(), listener: inbox }
    }

    /// Closes `ticket` when the mark is reached, or after `until`.
    pub(super) fn wait(&self, mark: Watermark, until: u32, ticket: TicketId, tickets: &Tickets) {
        let place = *self.places.borrow_mut().entry(address(&mark.watch)).or_insert_with(|| {
            let watch = mark.watch.clone();
            let place = self.watched.borrow_mut().insert(Watched { watch, waiting: Vec::new() });
            mark.watch.subscribe(self.listener.clone(), place as u64);
            place
        });
        self.watched.borrow_mut()[place].waiting.push(Waiting { target: mark.target, until, ticket });
        mark.watch.waiters_came(1);
        // It may have moved since it was looked at, and before anybody listened.
        if mark.is_reached() {
            self.moved(place as u64).into_iter().for_each(|ticket| tickets.close(ticket, Outcome::Done));
        }
    }

    /// A watch has moved: whose mark is reached, in the order they came. Their waits are over, and their tickets are to be
    /// closed. The key may be another watch's by now: looking at that one does no harm.
    pub(super) fn moved(&self, key: u64) -> Vec<TicketId> {
        let mut reached = Vec::new();
        self.settle(key as usize, |waiting, mark| {
            let is_reached = waiting.target <= mark;
            if is_reached {
                reached.push(waiting.ticket);
            }
            is_reached
        });
        reached
    }

    /// Ends the waits whose time is up at `tick`.
    pub(super) fn expire(&self, tick: u32, tickets: &Tickets) {
        self.settle_all(tickets, |waiting| tick.wrapping_sub(waiting.until) as i32 > 0);
    }

    /// Ends all waits: the worker stops.
    pub(super) fn expire_all(&self, tickets: &Tickets) {
        self.settle_all(tickets, |_| true);
    }

    /// Requests that wait.
    pub(super) fn len(&self) -> usize {
        self.watched.borrow().iter().map(|(_, watched)| watched.waiting.len()).sum()
    }

    fn settle_all(&self, tickets: &Tickets, is_over: impl Fn(&Waiting) -> bool) {
        let keys: Vec<usize> = self.watched.borrow().iter().map(|(key, _)| key).collect();
        for key in keys {
            self.settle(key, |waiting, mark| {
                let outcome = match waiting.target <= mark {
                    true => Outcome::Done,
                    false if is_over(waiting) => Outcome::Overdue,
                    false => return false,
                };
                tickets.close(waiting.ticket, outcome);
                true
            });
        }
    }

    /// Takes off those whose waits are over.
    fn settle(&self, key: usize, mut is_over: impl FnMut(&Waiting, u64) -> bool) {
        let mut all = self.watched.borrow_mut();
        let Some(watched) = all.get_mut(key) else { return };
        let (mark, before) = (watched.watch.mark(), watched.waiting.len());
        watched.waiting.retain(|waiting| !is_over(waiting, mark));
        watched.watch.waiters_left(before - watched.waiting.len());
        if watched.waiting.is_empty() {
            let watch = all.remove(key).watch;
            self.places.borrow_mut().remove(&address(&watch));
            watch.unsubscribe(&self.listener, key as u64);
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        for (key, watched) in self.watched.borrow().iter() {
            watched.watch.unsubscribe(&self.listener, key as u64);
            watched.watch.waiters_left(watched.waiting.len());
        }
    }
}

fn address(watch: &Arc<Watch>) -> usize {
    Arc::as_ptr(watch) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_end_when_their_mark_is_reached_or_their_time_is_up() {
        let inbox = Arc::new(Inbox::new().unwrap());
        let (waits, tickets) = (Waits::new(inbox.clone()), Tickets::default());
        let watch = Arc::new(Watch::new(10));
        let wait = |target, until| {
            let ticket = tickets.open();
            waits.wait(Watermark { watch: watch.clone(), target }, until, ticket, &tickets);
            ticket
        };
        let posted = || inbox.take().iter().filter(|message| matches!(message, Message::Moved(_))).count();
        assert_eq!((tickets.outcome(wait(10, 5)), waits.len()), (Some(Outcome::Done), 0), "reached already");
        let (near, far, late) = (wait(11, 5), wait(20, 5), wait(20, 90));
        assert_eq!(watch.waiters(), 3);
        watch.advance(11);
        assert_eq!(posted(), 1, "one message, however many wait");
        assert_eq!(waits.moved(0), [near]);
        tickets.close(near, Outcome::Done);
        assert_eq!([near, far, late].map(|id| tickets.outcome(id)), [Some(Outcome::Done), None, None]);
        assert_eq!(watch.waiters(), 2);
        waits.expire(5, &tickets);
        assert_eq!(tickets.outcome(far), None);
        waits.expire(6, &tickets);
        assert_eq!([far, late].map(|id| tickets.outcome(id)), [Some(Outcome::Overdue), None]);
        waits.expire_all(&tickets);
        assert_eq!((tickets.outcome(late), waits.len()), (Some(Outcome::Overdue), 0));
        watch.advance(30);
        assert_eq!((posted(), watch.waiters()), (0, 0), "nobody listens any more");
        wait(40, 5);
        drop(waits);
        assert_eq!(watch.waiters(), 0);
    }
}
