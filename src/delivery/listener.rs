//! Taking connections from one listening socket of one worker.

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::worker::Worker;
use crate::base::limits;
use crate::sys::Pollable;
use crate::sys::socket::{self, AcceptFailure};

pub(super) struct Listener {
    socket: TcpListener,
    ready: Pollable,
}

impl Listener {
    pub(super) fn new(socket: TcpListener) -> std::io::Result<Listener> {
        let ready = Pollable::new(socket.as_fd().try_clone_to_owned()?)?;
        Ok(Listener { socket, ready })
    }

    /// Accepts until the plane stops.
    pub(super) async fn accept(&self, worker: &Rc<Worker>) {
        while !worker.is_stopping() {
            self.ready.readable().await;
            if let Err(AcceptFailure::Exhausted) = self.accept_some(worker) {
                // Connections that end meanwhile make room.
                worker.next_tick().await;
            }
        }
    }

    /// Accepts what waits in the queue.
    pub(super) fn drain(&self, worker: &Rc<Worker>) {
        while let Ok(limits::TURN_ACCEPTS_MAX) = self.accept_some(worker) {}
    }

    /// No more connections; wakes [`Listener::accept`].
    pub(super) fn close(&self) {
        socket::shutdown(self.socket.as_raw_fd(), socket::Shutdown::Both);
    }

    /// Accepts up to a turn's worth; how many there were.
    fn accept_some(&self, worker: &Rc<Worker>) -> Result<usize, AcceptFailure> {
        for count in 0..limits::TURN_ACCEPTS_MAX {
            match socket::accept(&self.socket) {
                Ok(Some((stream, peer))) => {
                    worker.metrics.accepted.add(1);
                    let shared = &worker.shared;
                    if shared.connections.fetch_add(1, Ordering::Relaxed) < shared.options.connections_max {
                        worker.place(stream, peer.ip());
                    } else {
                        shared.connections.fetch_sub(1, Ordering::Relaxed);
                        worker.refuse(stream, peer.ip());
                    }
                }
                Ok(None) => return Ok(count),
                Err(error) => match AcceptFailure::of(&error) {
                    AcceptFailure::Connection => {}
                    AcceptFailure::Closed => return Err(AcceptFailure::Closed),
                    AcceptFailure::Exhausted => {
                        tracing::error!(%error, "cannot accept connections");
                        return Err(AcceptFailure::Exhausted);
                    }
                },
            }
        }
        Ok(limits::TURN_ACCEPTS_MAX)
    }
}
