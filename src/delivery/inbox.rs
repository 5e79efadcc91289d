//! What other threads tell a worker.

use std::net::{IpAddr, TcpStream};
use std::sync::{Mutex, PoisonError};

use super::tickets::{Outcome, TicketId};
use crate::sys::Wake;

pub(super) enum Message {
    /// A helper has done what the ticket was for.
    Done(TicketId, Outcome),
    /// A watch that requests wait on has moved: the key of [`super::waits`].
    Moved(u64),
    /// A connection another worker accepted.
    Connection(TcpStream, IpAddr),
    /// Stop accepting, finish, end.
    Stop,
}

pub(super) struct Inbox {
    messages: Mutex<Vec<Message>>,
    wake: Wake,
}

impl Inbox {
    pub(super) fn new() -> std::io::Result<Inbox> {
        Ok(Inbox { messages: Mutex::default(), wake: Wake::new()? })
    }

    pub(super) fn post(&self, message: Message) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.push(message);
        // The first message wakes; those that follow before the worker looks are found with it.
        if messages.len() == 1 {
            self.wake.wake();
        }
    }

    /// For the worker, when the wake is readable.
    pub(super) fn take(&self) -> Vec<Message> {
        self.wake.clear();
        std::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn wake(&self) -> &Wake {
        &self.wake
    }
}
