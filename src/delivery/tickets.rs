//! A connection that waits for a helper, or for something to grow, holds a ticket; the inbox brings the outcome.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use slab::Slab;

pub(super) type TicketId = usize;

/// How a helper's work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As wanted; or it failed in a way that trying to send will tell.
    Done,
    /// The file is shorter than the catalog says.
    Truncated,
    /// What was waited for did not come in time.
    Overdue,
}

#[derive(Default)]
pub(super) struct Tickets(RefCell<Slab<Ticket>>);

enum Ticket {
    Open,
    Awaited(Waker),
    Closed(Outcome),
    /// The connection is gone, the outcome will be forgotten.
    Abandoned,
}

impl Tickets {
    pub(super) fn open(&self) -> TicketId {
        self.0.borrow_mut().insert(Ticket::Open)
    }

    /// Called once per ticket, when its message arrives.
    pub(super) fn close(&self, id: TicketId, outcome: Outcome) {
        let mut tickets = self.0.borrow_mut();
        let Some(ticket) = tickets.get_mut(id) else { return };
        match std::mem::replace(ticket, Ticket::Closed(outcome)) {
            Ticket::Awaited(waker) => waker.wake(),
            Ticket::Abandoned => drop(tickets.remove(id)),
            Ticket::Open | Ticket::Closed(_) => {}
        }
    }

    /// Ends all waits. What still comes for one of these tickets is ignored, or is taken for the outcome of a later one,
    /// whose connection then looks again.
    pub(super) fn close_all(&self, outcome: Outcome) {
        let open: Vec<TicketId> = self.0.borrow().iter().map(|(id, _)| id).collect();
        for id in open {
            if !matches!(self.0.borrow()[id], Ticket::Closed(_)) {
                self.close(id, outcome);
            }
        }
    }

    pub(super) async fn wait(&self, id: TicketId) -> Outcome {
        let mut abandon = Abandon { tickets: self, id: Some(id) };
        let outcome = poll_fn(|context| {
            let mut tickets = self.0.borrow_mut();
            match &mut tickets[id] {
                Ticket::Closed(outcome) => {
                    let outcome = *outcome;
                    tickets.remove(id);
                    Poll::Ready(outcome)
                }
                ticket => {
                    *ticket = Ticket::Awaited(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
        abandon.id = None;
        outcome
    }
}

#[cfg(test)]
impl Tickets {
    pub(super) fn outcome(&self, id: TicketId) -> Option<Outcome> {
        match self.0.borrow().get(id) {
            Some(Ticket::Closed(outcome)) => Some(*outcome),
            _ => None,
        }
    }
}

struct Abandon<'t> {
    tickets: &'t Tickets,
    id: Option<TicketId>,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let mut tickets = self.tickets.0.borrow_mut();
        match &tickets[id] {
            Ticket::Closed(_) => drop(tickets.remove(id)),
            _ => tickets[id] = Ticket::Abandoned,
        }
    }
}
