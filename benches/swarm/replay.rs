//! What the machine can do for the same viewers: a loop on the server's CPU that was told all answers beforehand.
//!
//! The viewers are the same in code, number and work: they wait for a playlist, verify it, ask for the part, verify that, and
//! wait for the next; they get the responses that the server gave, byte by byte, from a loop of epoll, recv and send that
//! looks a path up and does nothing else. What is left between the two is the server: its intake, snapshots, rules and
//! limits. A loop that only sends is no measure for it: nobody asks that loop for anything in between, so that it makes one
//! call where two answers to two requests take four, and its readers, on the other CPU, do a fraction of the work.
//!
//! It is as fast as a loop can be made: parts go by sendfile, in one call with their heads, and of those who wait a few are
//! answered at a time, so that what they ask for next is answered while their connections are in the CPU's caches.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::{Pid, gettid};

use headwater::sys::transfer;

use super::audience::{Asked, Exchange};
use super::encoder::{Log, PART_FRAMES, SEGMENT_FRAMES};
use super::origin::SERVER_CPU;

/// The loop, until it goes.
pub struct Replay {
    pub address: SocketAddr,
    /// Of the parts as they are released here.
    pub log: Arc<Log>,
    /// Parts that have come.
    due: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
    thread_id: Pid,
}

impl Replay {
    pub fn start(exchanges: Vec<Exchange>) -> Result<Replay> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (log, due, stopped) = (Arc::<Log>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let mut bare = Loop::new(listener, exchanges, log.clone())?;
        let (tell, told) = mpsc::channel();
        let thread = {
            let (due, stopped) = (due.clone(), stopped.clone());
            std::thread::spawn(move || {
                super::pin(SERVER_CPU)?;
                tell.send(gettid())?;
                bare.run(&due, &stopped)
            })
        };
        let thread_id = told.recv().context("the loop did not start")?;
        Ok(Replay { address, log, due, stopped, thread: Some(thread), thread_id })
    }

    /// Of the loop so far, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/self/task/{}/schedstat", self.thread_id))?;
        Ok(text.split(' ').next().context("schedstat")?.parse::<u64>()? as f64 / 1e9)
    }

    /// What is waited for comes, within [`LOOK`].
    pub fn release(&self) {
        self.due.fetch_add(1, Ordering::Relaxed);
    }

    pub fn stop(mut self) -> Result<()> {
        self.stopped.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => bail!("the loop panicked"),
        }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

struct Loop {
    listener: TcpListener,
    epoll: Epoll,
    connections: Vec<Connection>,
    /// Places of the answers, by path.
    places: HashMap<Vec<u8>, usize>,
    answers: Vec<Answer>,
    /// Waited for, in order: the answer, and how many parts it lists that were not listed before.
    releases: VecDeque<(usize, usize)>,
    /// To be given an answer that was released.
    released: VecDeque<(usize, usize)>,
    file: File,
    log: Arc<Log>,
}

struct Answer {
    response: Vec<u8>,
    /// Where it lies in the file, if it is better sent from there.
    filed: Option<u64>,
    /// Who waits for it, until it is released.
    waiting: Option<Vec<usize>>,
}

struct Connection {
    socket: TcpStream,
    answer: usize,
    /// How much of it is; nothing is asked before all of it is.
    sent: usize,
}

const FILED_BYTES_MIN: usize = 16 * 1024;
const RELEASED_AT_ONCE: usize = 32;
const LISTENER: u64 = u64::MAX;
/// How often it looks whether something is to come.
const LOOK: Duration = Duration::from_millis(10);

impl Loop {
    fn new(listener: TcpListener, exchanges: Vec<Exchange>, log: Arc<Log>) -> Result<Loop> {
        listener.set_nonblocking(true)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        let (mut places, mut answers, mut releases) = (HashMap::new(), Vec::new(), VecDeque::new());
        let (mut first, mut file) = (None, tempfile::tempfile()?);
        for (at, Exchange { path, response, asked }) in exchanges.into_iter().enumerate() {
            let waiting = (asked == Asked::Waiting).then(Vec::new);
            match asked {
                Asked::Present => {}
                Asked::Waiting => releases.push_back((at, 0)),
                Asked::Part((number, part)) => {
                    first.get_or_insert((number * SEGMENT_FRAMES) / PART_FRAMES + part);
                    releases.back_mut().context("a part that no playlist listed")?.1 += 1;
                }
            }
            let filed = match response.len() >= FILED_BYTES_MIN {
                true => Some(file.stream_position()?),
                false => None,
            };
            if filed.is_some() {
                file.write_all(&response)?;
            }
            places.insert(path.into_bytes(), at);
            answers.push(Answer { response, filed, waiting });
        }
        log.begin(first.context("a part")?, 1);
        let (connections, released) = (Vec::new(), VecDeque::new());
        Ok(Loop { listener, epoll, connections, places, answers, releases, released, file, log })
    }

    fn run(&mut self, due: &AtomicUsize, stopped: &AtomicBool) -> Result<()> {
        let (mut events, mut buffer) = ([EpollEvent::empty(); 512], vec![0; 4096]);
        let mut come = 0;
        while !stopped.load(Ordering::Relaxed) {
            if come < due.load(Ordering::Relaxed) {
                come += 1;
                self.release()?;
            }
            for (number, answer) in self.released.drain(..self.released.len().min(RELEASED_AT_ONCE)).collect::<Vec<_>>()
            {
                self.answer(number, answer)?;
            }
            let left = if self.released.is_empty() { LOOK } else { Duration::ZERO };
            let count = match self.epoll.wait(&mut events, EpollTimeout::try_from(left.as_millis() as i32)?) {
                Err(nix::errno::Errno::EINTR) => 0,
                other => other?,
            };
            for event in &events[..count] {
                match event.data() {
                    LISTENER => self.accept()?,
                    number => self.serve(number as usize, &mut buffer)?,
                }
            }
        }
        Ok(())
    }

    fn release(&mut self) -> Result<()> {
        let (answer, parts) = self.releases.pop_front().context("nothing is left to come")?;
        let now = Instant::now();
        (0..parts).for_each(|_| self.log.push(0, now));
        let waiting = self.answers[answer].waiting.take().unwrap_or_default();
        self.released.extend(waiting.into_iter().map(|number| (number, answer)));
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let socket = match self.listener.accept() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                other => other?.0,
            };
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
            self.epoll.add(&socket, EpollEvent::new(flags, self.connections.len() as u64))?;
            self.connections.push(Connection { socket, answer: 0, sent: usize::MAX });
        }
    }

    fn serve(&mut self, number: usize, buffer: &mut [u8]) -> Result<()> {
        let connection = &mut self.connections[number];
        if connection.sent < self.answers[connection.answer].response.len() {
            return self.send(number);
        }
        let len = match connection.socket.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            // Gone.
            Ok(0) | Err(_) => return Ok(()),
            Ok(len) => len,
        };
        let request = &buffer[..len];
        ensure!(request.ends_with(b"\r\n\r\n"), "a request of {len} bytes without an end");
        let path = request.split(|byte| *byte == b' ').nth(1).context("a path")?;
        // What comes behind the last is waited for in vain.
        let Some(&answer) = self.places.get(path) else { return Ok(()) };
        match &mut self.answers[answer].waiting {
            Some(waiting) => {
                waiting.push(number);
                Ok(())
            }
            None => self.answer(number, answer),
        }
    }

    fn answer(&mut self, number: usize, answer: usize) -> Result<()> {
        (self.connections[number].answer, self.connections[number].sent) = (answer, 0);
        self.send(number)
    }

    fn send(&mut self, number: usize) -> Result<()> {
        let Connection { socket, answer, sent } = &mut self.connections[number];
        let Answer { response, filed, .. } = &self.answers[*answer];
        while *sent < response.len() {
            let result = match filed {
                Some(at) => {
                    transfer::send_file(socket.as_fd(), self.file.as_fd(), at + *sent as u64, response.len() - *sent)
                        .map_err(Into::into)
                }
                None => socket.write(&response[*sent..]),
            };
            match result {
                Ok(len) => *sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
