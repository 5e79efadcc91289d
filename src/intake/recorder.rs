//! The recorder of a channel: hands what publishers send to the channel's [`ChannelWriter`], and does on disk what that says.
//!
//! One task per channel, on the intake's thread. Writes and syncs go through the ring, what may wait otherwise (opening,
//! renaming, unlinking) to tokio's blocking threads: a slow disk under one channel holds up no other. A connection that
//! publishes feeds the task through a bounded queue, so that an encoder which sends faster than the disk takes waits.

mod disk;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::figures::Recorded;
use crate::base::limits::{LIVE_PENDING_BYTES_MAX, LIVE_SESSIONS_MAX};
use crate::live::{Channel, ChannelWriter, Failure, Lane, Options, Outcome, Refusal, SessionId, SourceName};
use crate::media::feed::Event;
use disk::Disk;
pub use disk::Error;
pub(in crate::intake) use disk::write_all;

/// One channel at work.
pub struct Recorder {
    writer: ChannelWriter,
    disk: Disk,
    messages: mpsc::Receiver<Message>,
    figures: Arc<Recorded>,
    /// When each part that is not done with was completed by a sample.
    made: VecDeque<Instant>,
    /// When a part was last lost because the disk was full.
    full: Option<Instant>,
}

/// Where connections come in. Cloned freely.
#[derive(Clone)]
pub struct Entrance {
    messages: mpsc::Sender<Message>,
    figures: Arc<Recorded>,
}

/// A publisher's hold on a channel, until dropped.
pub struct Publication {
    messages: mpsc::Sender<Message>,
    session: SessionId,
    refusal: Arc<OnceLock<Refusal>>,
    /// Kept back in the queue, so that leaving needs no waiting.
    leave: Option<mpsc::OwnedPermit<Message>>,
}

/// Why a publisher is not heard.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    #[error(transparent)]
    Refusal(#[from] Refusal),
    #[error("the channel is gone: it was removed, or the server stops")]
    Gone,
}

/// A session, and where its refusal is left when it is sent away.
type Admitted = (SessionId, Arc<OnceLock<Refusal>>);

enum Message {
    Publish { source: SourceName, answer: oneshot::Sender<Result<Admitted, Refusal>> },
    Feed { session: SessionId, event: Event, refusal: Arc<OnceLock<Refusal>>, at: Instant },
    Leave { session: SessionId },
    Configure(Options),
}

/// Events that wait in the queue of a channel, besides one place for each publisher to leave by.
const QUEUE_EVENTS: usize = 64;
/// Nothing is taken from the queue while the disk has so much to write.
const PENDING_BYTES_HIGH: usize = LIVE_PENDING_BYTES_MAX / 2;
const TICK: Duration = Duration::from_millis(100);
/// How long encoders are told that the disk is full, before what comes next is tried.
const FULL_TIME: Duration = Duration::from_secs(5);

impl Recorder {
    /// Opens the channel's directory, and goes on with what it finds there. Waits for the disk: not for the intake's thread
    /// while others are at work there.
    pub fn open(live: &Path, options: Options) -> Result<(Recorder, Entrance), Error> {
        let (disk, recovered) = Disk::open(live, &options.name)?;
        let writer = ChannelWriter::new(options, recovered, now());
        let (sender, messages) = mpsc::channel(QUEUE_EVENTS + LIVE_SESSIONS_MAX);
        let figures = Arc::<Recorded>::default();
        let entrance = Entrance { messages: sender, figures: figures.clone() };
        Ok((Recorder { writer, disk, messages, figures, made: VecDeque::new(), full: None }, entrance))
    }

    /// What viewers read.
    pub fn channel(&self) -> &Arc<Channel> {
        self.writer.channel()
    }

    /// Works until told to stop, or until nobody can come in any more; then writes and syncs what is left. Runs on a
    /// tokio-uring runtime.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut lanes = Lanes::default();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            lanes.begin(&mut self.writer, &self.disk);
            let has_room = self.writer.pending_bytes() < PENDING_BYTES_HIGH;
            tokio::select! {
                (lane, outcome) = lanes.completed() => self.completed(lane, outcome),
                message = self.messages.recv(), if has_room => match message {
                    Some(message) => self.take(message),
                    None => break,
                },
                _ = ticks.tick() => self.tick(),
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        self.messages.close();
        lanes.begin(&mut self.writer, &self.disk);
        while lanes.is_busy() {
            let (lane, outcome) = lanes.completed().await;
            // What a full disk refuses again and again does not keep the server from stopping.
            let failed = outcome.is_err();
            self.writer.completed(lane, outcome);
            if !failed {
                lanes.begin(&mut self.writer, &self.disk);
            }
        }
        self.disk.finish().await;
    }

    fn completed(&mut self, lane: Lane, outcome: Completion) {
        let is_full = outcome.as_ref().err() == Some(&Failure::Full);
        let lost = self.writer.counts().lost;
        self.writer.completed(lane, outcome);
        if is_full && self.writer.counts().lost > lost {
            self.full = Some(Instant::now());
            self.figures.full.set(1);
        }
        self.count(Instant::now());
    }

    fn tick(&mut self) {
        self.writer.tick(now());
        let now = Instant::now();
        if self.full.is_some_and(|since| now.duration_since(since) >= FULL_TIME) {
            self.full = None;
            self.figures.full.set(0);
        }
        self.count(now);
    }

    /// `now`: when parts that were made by now were completed, or published.
    fn count(&mut self, now: Instant) {
        let counts = self.writer.counts();
        let waiting = usize::try_from(counts.parts_made - counts.parts_done).unwrap_or(usize::MAX);
        while self.made.len() > waiting {
            let made = self.made.pop_front().unwrap_or(now);
            let micros = now.saturating_duration_since(made).as_micros();
            self.figures.parts.record(u64::try_from(micros).unwrap_or(u64::MAX));
        }
        while self.made.len() < waiting {
            self.made.push_back(now);
        }
        self.figures.count(&counts);
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Publish { source, answer } => {
                let admitted = self.writer.publish(source, now());
                let session = admitted.as_ref().ok().copied();
                let gone = answer.send(admitted.map(|session| (session, Arc::default()))).is_err();
                if let (true, Some(session)) = (gone, session) {
                    self.writer.unpublish(session, now());
                }
            }
            Message::Feed { session, event, refusal, at } => {
                if let Err(reason) = self.writer.feed(session, event, now()) {
                    let _ = refusal.set(reason);
                }
                self.count(at);
            }
            Message::Leave { session } => self.writer.unpublish(session, now()),
            Message::Configure(options) => self.writer.configure(options),
        }
    }
}

impl Entrance {
    /// Asks for a place. What comes back is fed from one task, in order.
    pub async fn publish(&self, source: SourceName) -> Result<Publication, Refused> {
        let leave = self.messages.clone().reserve_owned().await.map_err(|_| Refused::Gone)?;
        let (answer, answered) = oneshot::channel();
        self.messages.send(Message::Publish { source, answer }).await.map_err(|_| Refused::Gone)?;
        let (session, refusal) = answered.await.map_err(|_| Refused::Gone)??;
        Ok(Publication { messages: self.messages.clone(), session, refusal, leave: Some(leave) })
    }

    pub fn figures(&self) -> &Recorded {
        &self.figures
    }

    pub async fn configure(&self, options: Options) -> Result<(), Refused> {
        self.messages.send(Message::Configure(options)).await.map_err(|_| Refused::Gone)
    }
}

impl Publication {
    /// Waits while the channel has more than it can write. An error may be of an earlier event: the connection is to be
    /// closed.
    pub async fn feed(&self, event: Event) -> Result<(), Refused> {
        self.check()?;
        let message = Message::Feed { session: self.session, event, refusal: self.refusal.clone(), at: Instant::now() };
        self.messages.send(message).await.map_err(|_| Refused::Gone)
    }

    /// Whether the channel still wants what comes: for a connection that is silent.
    pub fn check(&self) -> Result<(), Refused> {
        match self.refusal.get() {
            Some(refusal) => Err(refusal.clone().into()),
            None if self.messages.is_closed() => Err(Refused::Gone),
            None => Ok(()),
        }
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        if let Some(place) = self.leave.take() {
            place.send(Message::Leave { session: self.session });
        }
    }
}

type Completion = Result<Outcome, Failure>;

/// What is being done on disk: one operation in each lane.
#[derive(Default)]
struct Lanes {
    media: Option<JoinHandle<Completion>>,
    upkeep: Option<JoinHandle<Completion>>,
}

impl Lanes {
    /// Begins whatever may be begun.
    fn begin(&mut self, writer: &mut ChannelWriter, disk: &Disk) {
        while let Some(op) = writer.poll() {
            let lane = match op.lane() {
                Lane::Media => &mut self.media,
                Lane::Upkeep => &mut self.upkeep,
            };
            debug_assert!(lane.is_none(), "one at a time in a lane");
            let disk = disk.clone();
            *lane = Some(tokio_uring::spawn(async move { disk.perform(op).await }));
        }
    }

    fn is_busy(&self) -> bool {
        self.media.is_some() || self.upkeep.is_some()
    }

    /// Waits for either; for ever if there is nothing to wait for.
    async fn completed(&mut self) -> (Lane, Completion) {
        tokio::select! {
            completion = join(&mut self.media) => (Lane::Media, completion),
            completion = join(&mut self.upkeep) => (Lane::Upkeep, completion),
        }
    }
}

async fn join(lane: &mut Option<JoinHandle<Completion>>) -> Completion {
    let Some(task) = lane else { return std::future::pending().await };
    let joined = task.await;
    *lane = None;
    joined.unwrap_or_else(|error| Err(Failure::Broken(error.to_string())))
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
