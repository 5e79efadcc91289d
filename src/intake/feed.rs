//! The way from connections to the task of a channel: one bounded queue, so that an encoder that sends faster than the disk
//! writes is slowed down by its own connection.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::live::{Refusal, SessionId, SourceName};
use crate::media::feed::Event;

/// Steps that wait for a channel's task.
const STEPS_MAX: usize = 256;

/// What a connection tells a channel's task.
pub enum Step {
    /// Somebody wants to publish under this name.
    Begin { source: SourceName, hold: Hold, answer: oneshot::Sender<Result<SessionId, Refusal>> },
    Event { session: SessionId, event: Event, arrived: Instant },
    /// The connection is gone, or nothing is expected from it any more.
    Leave { session: SessionId },
}

/// The sending end; a channel has as many as it has publishers.
#[derive(Clone)]
pub struct Feed {
    steps: mpsc::Sender<Step>,
}

/// What the channel's task has to say to a publisher after it was let in.
#[derive(Clone, Default)]
pub struct Hold {
    refusal: Rc<RefCell<Option<Refusal>>>,
}

/// A publisher that was let in; gone with the value.
pub struct Session {
    id: SessionId,
    hold: Hold,
    feed: Feed,
}

/// Why nothing more goes to a channel.
pub enum Lost {
    Refused(Refusal),
    /// The channel's task has ended.
    Stopped,
}

impl Feed {
    pub fn new() -> (Feed, mpsc::Receiver<Step>) {
        let (steps, received) = mpsc::channel(STEPS_MAX);
        (Feed { steps }, received)
    }

    pub async fn begin(&self, source: SourceName) -> Result<Session, Lost> {
        let (answer, answered) = oneshot::channel();
        let hold = Hold::default();
        self.steps.send(Step::Begin { source, hold: hold.clone(), answer }).await.map_err(|_| Lost::Stopped)?;
        match answered.await {
            Ok(Ok(id)) => Ok(Session { id, hold, feed: self.clone() }),
            Ok(Err(refusal)) => Err(Lost::Refused(refusal)),
            Err(_) => Err(Lost::Stopped),
        }
    }
}

impl Session {
    pub async fn send(&self, event: Event, arrived: Instant) -> Result<(), Lost> {
        if let Some(refusal) = self.hold.refusal() {
            return Err(Lost::Refused(refusal));
        }
        let step = Step::Event { session: self.id, event, arrived };
        self.feed.steps.send(step).await.map_err(|_| Lost::Stopped)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let step = Step::Leave { session: self.id };
        if let Err(mpsc::error::TrySendError::Full(step)) = self.feed.steps.try_send(step) {
            let steps = self.feed.steps.clone();
            tokio_uring::spawn(async move {
                let _ = steps.send(step).await;
            });
        }
    }
}

impl Hold {
    /// Events of this publisher are not wanted any longer: it is told when it sends the next.
    pub fn refuse(&self, refusal: Refusal) {
        self.refusal.replace(Some(refusal));
    }

    fn refusal(&self) -> Option<Refusal> {
        self.refusal.borrow().clone()
    }
}
