//! The deadlines of a worker's connections: one slot each, looked at once a tick. A connection whose time is up is shut
//! down, which wakes its task; no connection has a timer of its own.

use std::cell::RefCell;
use std::net::IpAddr;
use std::os::fd::RawFd;

use slab::Slab;

pub(super) type SlotId = usize;

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Open as long as the slot is there: the connection gives the slot back before it closes its socket.
    pub(super) fd: RawFd,
    pub(super) phase: Phase,
    /// Tick at which the phase began.
    pub(super) since: u32,
    /// Whether a request was ever answered.
    pub(super) served: bool,
    pub(super) expired: Option<Expired>,
    /// Bytes the socket took in this phase.
    pub(super) sent: i64,
    /// How many of them had arrived when the rate was last looked at, less those that were on their way when the phase
    /// began. `None`: not looked at yet.
    pub(super) arrived: Option<i64>,
    pub(super) peer: IpAddr,
}

/// What the connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request.
    Idle,
    /// The rest of a head (or of a body that is thrown away).
    Head,
    /// The client to take bytes.
    Sending,
    /// A helper, or its turn on the worker: nothing the client could do anything about.
    Helper,
    /// Something to grow: a live part, a file that is being written. Whoever waits has a deadline of its own.
    Waiting,
    /// The client to close.
    Lingering,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    Head,
    Idle,
    SlowReader,
    Linger,
    /// The plane stops and will not wait any longer.
    Stop,
}

#[derive(Default)]
pub(super) struct Slots(RefCell<Slab<Slot>>);

impl Slots {
    pub(super) fn insert(&self, fd: RawFd, peer: IpAddr, phase: Phase, tick: u32) -> SlotId {
        self.0.borrow_mut().insert(Slot {
            fd,
            phase,
            since: tick,
            served: false,
            expired: None,
            sent: 0,
            arrived: None,
            peer,
        })
    }

    pub(super) fn remove(&self, id: SlotId) {
        self.0.borrow_mut().try_remove(id);
    }

    pub(super) fn with<R>(&self, id: SlotId, act: impl FnOnce(&mut Slot) -> R) -> R {
        act(&mut self.0.borrow_mut()[id])
    }

    /// A new phase begins now; going on in the same one does not start it anew.
    pub(super) fn enter(&self, id: SlotId, phase: Phase, tick: u32) {
        self.with(id, |slot| {
            if slot.phase != phase {
                (slot.phase, slot.since) = (phase, tick);
                (slot.sent, slot.arrived) = (0, None);
            }
        });
    }

    /// A request was answered: the next one has its own time, and so has waiting for it.
    pub(super) fn served(&self, id: SlotId, tick: u32) {
        self.with(id, |slot| {
            slot.served = true;
            if let Phase::Idle | Phase::Head = slot.phase {
                (slot.phase, slot.since) = (Phase::Idle, tick);
            }
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(super) fn for_each(&self, mut act: impl FnMut(&mut Slot)) {
        for (_, slot) in self.0.borrow_mut().iter_mut() {
            act(slot);
        }
    }
}
