//! One connection: requests in, answers out, in order.
//!
//! [`Connection::turn`] does everything that can be done without waiting and says what to wait for; [`Connection::run`]
//! waits. While it waits for a request a connection holds no buffer, so that an idle one costs little more than its task.

use std::future::poll_fn;
use std::net::{IpAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Instant;

use nix::errno::Errno;

use super::access_log::Entry;
use super::buffer::Buffer;
use super::refusal;
use super::send::{Record, Sending, Step, Turn};
use super::slots::{Expired, Phase, SlotId};
use super::tickets::{Outcome, TicketId};
use super::transport::Transport;
use super::worker::Worker;
use crate::base::{Extent, Payload, Piece, limits};
use crate::http::discard::Discard;
use crate::http::request::{self, Body, Method};
use crate::http::{Framing, Kind, Request, Response};
use crate::service::Answer;

pub(super) struct Connection {
    transport: Transport,
    worker: Rc<Worker>,
    slot: SlotId,
    /// Read and not yet used: the beginning of a head, or pipelined requests.
    rest: Box<[u8]>,
    /// The answer that is on its way out.
    sending: Option<Box<Sending>>,
    /// The stretch of a file a helper reads in for it.
    warming: Option<Box<Extent>>,
    /// When the request that something is loaded for was first asked, and how often that was done.
    asked: Option<Instant>,
    loads: u8,
    /// The tick at which that request began to wait for something to grow.
    waiting_since: Option<u32>,
    /// Not counted as open.
    refused: bool,
    life: Life,
    /// The idle time ran out: a request that came in at that moment is the last.
    ending: bool,
    /// What of a request body is still to be thrown away.
    discard: Discard,
    /// Of the answer that went out last.
    last: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Serving,
    /// Above the limit: the first request is answered 503.
    Refusing,
    /// The last answer is out; reads so that the client gets it, this many bytes more.
    Lingering {
        left: u64,
    },
}

/// What a turn ended with.
#[derive(Debug)]
enum Next {
    Readable,
    /// The same, after those who wait for what has just come.
    Unhurried,
    Writable,
    Helper(TicketId),
    /// A large send is to be made.
    Bulk,
    /// The connection could go on, and lets others go first.
    Later,
    Close,
}

/// What the wait ended with.
#[derive(Clone, Copy, Debug)]
enum Woken {
    Readable,
    Writable,
    Helper(Outcome),
    Bulk,
    Later,
}

impl Connection {
    pub(super) fn new(worker: Rc<Worker>, stream: TcpStream, peer: IpAddr) -> std::io::Result<Connection> {
        let connection = Connection::open(worker, stream, peer, Life::Serving, Phase::Idle)?;
        connection.worker.metrics.open.add(1);
        Ok(connection)
    }

    /// A connection that gets 503.
    pub(super) fn refused(worker: Rc<Worker>, stream: TcpStream, peer: IpAddr) -> std::io::Result<Connection> {
        let connection = Connection::open(worker, stream, peer, Life::Refusing, Phase::Lingering)?;
        connection.worker.refusing.update(|count| count + 1);
        Ok(connection)
    }

    fn open(
        worker: Rc<Worker>,
        stream: TcpStream,
        peer: IpAddr,
        life: Life,
        phase: Phase,
    ) -> std::io::Result<Connection> {
        let fd = stream.as_raw_fd();
        let transport = Transport::new(stream, worker.readiness.clone())?;
        let slot = worker.slots.insert(fd, peer, phase, worker.clock.ticks());
        Ok(Connection {
            transport,
            worker,
            slot,
            rest: Box::default(),
            sending: None,
            warming: None,
            asked: None,
            loads: 0,
            waiting_since: None,
            refused: life == Life::Refusing,
            life,
            ending: false,
            discard: Discard::default(),
            last: Kind::default(),
        })
    }

    /// Not an `async fn`: that would hold the connection twice, as its argument and as what it works on.
    #[allow(clippy::manual_async_fn)]
    pub(super) fn run(mut self) -> impl Future<Output = ()> {
        async move {
            let mut next = Next::Readable;
            loop {
                let woken = match next {
                    Next::Readable => {
                        self.transport.readable().await;
                        Woken::Readable
                    }
                    Next::Unhurried => {
                        self.worker.released().await;
                        next = Next::Readable;
                        continue;
                    }
                    Next::Writable => {
                        self.transport.writable().await;
                        Woken::Writable
                    }
                    Next::Helper(ticket) => Woken::Helper(self.worker.tickets.wait(ticket).await),
                    Next::Bulk => {
                        self.worker.bulk.wait().await;
                        Woken::Bulk
                    }
                    Next::Later => {
                        yield_once().await;
                        Woken::Later
                    }
                    Next::Close => return,
                };
                next = self.turn(woken);
            }
        }
    }

    fn turn(&mut self, woken: Woken) -> Next {
        // Taken: from now on the limits of what the connection does next hold.
        match self.worker.slots.with(self.slot, |slot| slot.expired.take()) {
            Some(Expired::SlowReader | Expired::Stop) => {
                self.reset();
                return Next::Close;
            }
            Some(Expired::Linger) => return Next::Close,
            Some(Expired::Head) if self.sending.is_none() => {
                let out = self.worker.take_head();
                let log = self.unreadable_entry();
                return self.refuse(out, refusal::head_timeout(), log);
            }
            Some(Expired::Idle) => self.ending = true,
            Some(Expired::Head) | None => {}
        }
        if let Life::Lingering { left } = self.life {
            return self.linger(left);
        }
        let mut budget = limits::TURN_BYTES;
        if let Some(mut sending) = self.sending.take() {
            match woken {
                Woken::Later => {}
                _ => sending.resumed(),
            }
            if let Some(stretch) = self.warming.take() {
                if let Woken::Helper(Outcome::Truncated) = woken {
                    return self.truncated(*sending, &stretch);
                }
                sending.warmed();
            } else if let Woken::Helper(Outcome::Overdue) = woken {
                return self.give_up(*sending);
            }
            if let Woken::Bulk = woken {
                sending.granted();
            }
            if let Some(next) = self.push(*sending, &mut budget) {
                return next;
            }
        }
        let mut buffer = self.worker.buffers.take(&std::mem::take(&mut self.rest));
        let next = self.read_and_answer(&mut buffer, woken, &mut budget);
        if !buffer.is_empty() && !matches!(next, Next::Close) {
            self.rest = buffer.rest();
        }
        self.worker.buffers.give_back(buffer);
        next
    }

    fn read_and_answer(&mut self, buffer: &mut Buffer, woken: Woken, budget: &mut u64) -> Next {
        if let Woken::Readable = woken {
            match buffer.receive(&self.transport) {
                Ok(0) => return Next::Close,
                Ok(_) => {}
                Err(Errno::EAGAIN | Errno::EINTR) => return Next::Readable,
                Err(_) => return Next::Close,
            }
        }
        let mut out = self.worker.take_head();
        for _ in 0..limits::TURN_REQUESTS_MAX {
            match self.discard.skip(buffer.bytes()) {
                Ok(skipped) => buffer.consume(skipped),
                // Its request has been answered, so there is nothing left to say.
                Err(_) => {
                    let sending = Sending::new(out, 0, Payload::Empty, None, false);
                    return self.push(sending, budget).unwrap_or(Next::Close);
                }
            };
            let bytes = buffer.bytes();
            let (mut request, len) = match if bytes.is_empty() { Ok(None) } else { request::parse(bytes) } {
                Ok(Some(parsed)) => parsed,
                Ok(None) => return self.await_request(out, buffer, budget),
                Err(refused) => {
                    let log = self.unreadable_entry();
                    return self.refuse(out, refused.response(), log);
                }
            };
            request.peer = Some(self.peer());
            let now = self.worker.clock.now();
            let answer = match self.life {
                Life::Refusing => Answer::Ready(refusal::overloaded()),
                _ => self.worker.shared.answers.answer(&request, self.worker.clock.wall(now)),
            };
            let response = match answer {
                Answer::Ready(response) => response,
                Answer::Load(load) if self.loads == limits::LOADS_MAX => {
                    load.without(&request).unwrap_or_else(refusal::not_loaded)
                }
                // What was answered already does not wait for it; then the request is asked again.
                Answer::Load(_) if !out.is_empty() => match self.flush(&mut out, budget) {
                    Some(next) => return next,
                    None => continue,
                },
                Answer::Wait(_) if !out.is_empty() => match self.flush(&mut out, budget) {
                    Some(next) => return next,
                    None => continue,
                },
                Answer::Wait(wait) => {
                    let since = *self.waiting_since.get_or_insert_with(|| self.worker.clock.ticks());
                    let waited = self.worker.clock.since(since);
                    match wait.patience.checked_sub(waited).filter(|_| !self.worker.is_stopping()) {
                        Some(patience) if !matches!(woken, Woken::Helper(Outcome::Overdue)) => {
                            self.worker.give_back_head(out);
                            self.enter(Phase::Waiting);
                            return Next::Helper(self.worker.wait_for(wait.until, patience));
                        }
                        _ => *wait.otherwise,
                    }
                }
                Answer::Load(load) => {
                    self.worker.give_back_head(out);
                    self.loads += 1;
                    self.asked.get_or_insert(now);
                    self.enter(Phase::Helper);
                    return Next::Helper(self.worker.load(load));
                }
            };
            self.loads = 0;
            // The time that a live edge takes to come is not the server's.
            let waited = self.waiting_since.take().is_some();
            let started = self.asked.take().filter(|_| !waited).unwrap_or(now);
            let body_fits = match request.body {
                Body::None => true,
                // The client may wait for 100 before it sends the body, or send it at once: there is no telling where the
                // next request begins (RFC 9110 §10.1.1).
                _ if request.expects_continue => false,
                Body::Length(len) => len <= limits::DISCARD_BODY_BYTES_MAX,
                Body::Chunked => true,
            };
            let discard = Discard::new(request.body);
            let framing = response.framing(request.version);
            let keep_alive = request.keep_alive && body_fits && framing != Framing::Close && !self.is_ending();
            let log = self.entry(&request);
            let own_head = out.len();
            response.write_head(&mut out, &self.worker.clock.date(), framing, keep_alive);
            let is_head = request.method == Method::Head;
            let body = if is_head { Payload::Empty } else { response.body };
            let growing = response.growing.filter(|_| !is_head);
            let record = Record { kind: response.kind, status: response.status, started, log };
            buffer.consume(len);
            self.discard = discard;
            let mut body = body;
            if keep_alive && growing.is_none() && !buffer.is_empty() {
                if gather(&mut out, &body, limits::GATHER_BYTES_MAX) {
                    let bytes = (out.len() - own_head) as u64;
                    self.done(record, bytes);
                    continue;
                }
            } else if gather(&mut out, &body, limits::ONE_SEND_BYTES_MAX) {
                body = Payload::Empty;
            } else if let Some(bytes) = body.pop_inline(limits::ONE_SEND_BYTES_MAX.saturating_sub(out.len())) {
                out.extend_from_slice(&bytes);
            }
            let mut sending = Sending::new(out, own_head, body, Some(record), keep_alive);
            if let Some(growing) = growing {
                sending.follow(growing, framing);
            }
            if let Some(next) = self.push(sending, budget) {
                return next;
            }
            out = self.worker.take_head();
        }
        self.flush(&mut out, budget).unwrap_or_else(|| {
            // There are more requests, and the socket may be nearly full: it is the client that is waited for.
            self.enter(Phase::Sending);
            Next::Writable
        })
    }

    /// There is no whole request in the buffer.
    fn await_request(&mut self, mut out: Vec<u8>, buffer: &Buffer, budget: &mut u64) -> Next {
        let flushed = self.flush(&mut out, budget);
        self.worker.give_back_head(out);
        flushed.unwrap_or_else(|| {
            if !buffer.is_empty() || !self.discard.is_done() {
                self.enter(Phase::Head);
                return Next::Readable;
            }
            self.enter(Phase::Idle);
            match self.last {
                Kind::Segment if self.worker.is_releasing() => Next::Unhurried,
                _ => Next::Readable,
            }
        })
    }

    /// Sends answers that were gathered.
    fn flush(&mut self, out: &mut Vec<u8>, budget: &mut u64) -> Option<Next> {
        if out.is_empty() {
            return None;
        }
        let sending = Sending::new(std::mem::take(out), 0, Payload::Empty, None, true);
        self.push(sending, budget)
    }

    /// Sends; `None` when everything is queued and the connection goes on.
    fn push(&mut self, mut sending: Sending, budget: &mut u64) -> Option<Next> {
        let before = *budget;
        let turn = Turn {
            bulk: &self.worker.bulk,
            warm: &self.worker.warm,
            tick: self.worker.clock.ticks(),
            reading: self.worker.shared.helpers.are_reading(),
            paced: self.worker.shared.paced,
        };
        let step = sending.step(&self.transport, budget, &turn);
        if let Some(ahead) = sending.take_ahead() {
            self.worker.shared.helpers.read(ahead, None);
        }
        let sent = before - *budget;
        self.worker.metrics.bytes.add(sent);
        match step {
            Step::Done => {
                let keep_alive = sending.keep_alive;
                let bytes = sending.bytes();
                if let Some(record) = sending.record.take() {
                    self.done(record, bytes);
                }
                self.worker.shared.helpers.let_go(sending.take_body());
                self.worker.give_back_head(sending.into_head());
                (!keep_alive).then(|| self.start_lingering())
            }
            Step::Writable => {
                self.enter(Phase::Sending);
                self.worker.slots.with(self.slot, |slot| slot.sent += sent as i64);
                self.sending = Some(Box::new(sending));
                Some(Next::Writable)
            }
            Step::Bulk => {
                self.enter(Phase::Helper);
                self.sending = Some(Box::new(sending));
                Some(Next::Bulk)
            }
            Step::Later => {
                self.enter(Phase::Sending);
                self.worker.slots.with(self.slot, |slot| slot.sent += sent as i64);
                self.sending = Some(Box::new(sending));
                Some(Next::Later)
            }
            Step::Cold(stretch) => {
                self.enter(Phase::Helper);
                self.sending = Some(Box::new(sending));
                self.warming = Some(Box::new(stretch.clone()));
                Some(Next::Helper(self.worker.read_in(stretch)))
            }
            Step::Growth(mark) => {
                self.enter(Phase::Waiting);
                self.sending = Some(Box::new(sending));
                Some(Next::Helper(self.worker.wait_for(mark, limits::FOLLOW_SILENCE_MAX)))
            }
            Step::GivenUp => Some(self.give_up(sending)),
            Step::Truncated(extent) => Some(self.truncated(sending, &extent)),
            Step::Broken => {
                self.abandon(&mut sending);
                Some(Next::Close)
            }
        }
    }

    /// The file is shorter than its asset says. 500 if that was found in time; otherwise the connection is reset, so that
    /// the client cannot take a part for the whole.
    fn truncated(&mut self, mut sending: Sending, extent: &Extent) -> Next {
        if extent.file.mark_damaged() {
            tracing::error!(?extent, "a file is shorter than its asset says: it was truncated or its disk fails");
        }
        self.worker.metrics.damaged.add(1);
        if sending.is_untouched() {
            let response = refusal::damaged();
            let date = self.worker.clock.date();
            sending.replace(
                |head| response.write_head(head, &date, Framing::Length, false),
                response.body.clone(),
                response.status,
            );
            let mut budget = limits::TURN_BYTES;
            return self.push(sending, &mut budget).unwrap_or(Next::Close);
        }
        self.abandon(&mut sending);
        self.reset();
        Next::Close
    }

    /// What is being followed will not be whole: the connection is reset, so that the client cannot take a part for it.
    fn give_up(&mut self, mut sending: Sending) -> Next {
        self.abandon(&mut sending);
        self.reset();
        Next::Close
    }

    /// Answers what cannot be served, and ends the connection.
    fn refuse(&mut self, mut out: Vec<u8>, response: Response, log: Option<Box<Entry>>) -> Next {
        let own_head = out.len();
        let started = self.worker.clock.now();
        response.write_head(&mut out, &self.worker.clock.date(), Framing::Length, false);
        let record = Record { kind: response.kind, status: response.status, started, log };
        let mut budget = limits::TURN_BYTES;
        let sending = Sending::new(out, own_head, response.body, Some(record), false);
        self.push(sending, &mut budget).unwrap_or(Next::Close)
    }

    /// Nothing more will be sent. Closing now would reset the connection if the client is still sending, and it might
    /// never see its last answer (RFC 9112 §9.6).
    fn start_lingering(&mut self) -> Next {
        self.life = match self.life {
            Life::Lingering { .. } => return Next::Close,
            _ => Life::Lingering { left: limits::LINGER_BYTES_MAX },
        };
        self.transport.finish_sending();
        self.rest = Box::default();
        self.enter(Phase::Lingering);
        Next::Readable
    }

    fn linger(&mut self, left: u64) -> Next {
        let mut buffer = self.worker.buffers.take(&[]);
        let read = buffer.receive(&self.transport);
        self.worker.buffers.give_back(buffer);
        match read {
            Err(Errno::EAGAIN | Errno::EINTR) => Next::Readable,
            Ok(read) if read > 0 && (read as u64) < left => {
                self.life = Life::Lingering { left: left - read as u64 };
                Next::Readable
            }
            _ => Next::Close,
        }
    }

    /// Whether this is the last answer whatever the client wants.
    fn is_ending(&self) -> bool {
        self.ending || self.life == Life::Refusing || self.worker.is_stopping()
    }

    fn reset(&self) {
        self.transport.reset_on_close();
    }

    fn enter(&self, phase: Phase) {
        self.worker.slots.enter(self.slot, phase, self.worker.clock.ticks());
    }

    /// An answer was queued to its last byte.
    fn done(&mut self, record: Record, bytes: u64) {
        self.last = record.kind;
        let micros = u64::try_from(record.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.worker.metrics.answered(record.kind, record.status, micros);
        self.worker.slots.served(self.slot, self.worker.clock.ticks());
        self.log(&record, bytes, micros);
    }

    /// An answer did not get out.
    fn abandon(&self, sending: &mut Sending) {
        let bytes = sending.bytes();
        self.worker.shared.helpers.let_go(sending.take_body());
        let Some(record) = sending.record.take() else { return };
        self.worker.metrics.aborted.add(1);
        self.worker.metrics.counted(record.kind, record.status);
        let micros = u64::try_from(record.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.log(&record, bytes, micros);
    }

    fn log(&self, record: &Record, bytes: u64, micros: u64) {
        if let (Some(log), Some(entry)) = (&self.worker.log, &record.log) {
            log.write(entry, &self.worker.clock.date(), record.status, bytes, micros);
        }
    }

    fn entry(&self, request: &Request<'_>) -> Option<Box<Entry>> {
        self.worker.log.as_ref().map(|_| Box::new(Entry::new(self.peer(), request)))
    }

    fn unreadable_entry(&self) -> Option<Box<Entry>> {
        self.worker.log.as_ref().map(|_| Box::new(Entry::unreadable(self.peer())))
    }

    fn peer(&self) -> IpAddr {
        self.worker.slots.with(self.slot, |slot| slot.peer)
    }
}

/// Ends after the other tasks that can run have run.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Appends an inline body to the head, if both stay below `bytes_max`; `false` if they do not, or it is not in memory.
fn gather(out: &mut Vec<u8>, body: &Payload, bytes_max: usize) -> bool {
    let inline = body.pieces().iter().all(|piece| matches!(piece, Piece::Inline(_)));
    if !inline || out.len() as u64 + body.len() > bytes_max as u64 {
        return false;
    }
    for piece in body.pieces() {
        if let Piece::Inline(bytes) = piece {
            out.extend_from_slice(bytes);
        }
    }
    true
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(mut sending) = self.sending.take() {
            self.abandon(&mut sending);
        }
        // Before the socket is closed: its descriptor may be another connection's from then on.
        self.worker.slots.remove(self.slot);
        if self.refused {
            self.worker.refusing.update(|count| count - 1);
        } else {
            self.worker.metrics.open.sub(1);
            self.worker.shared.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
