//! What sending alone takes: a loop that does nothing but send the same bytes to as many sockets, on the server's CPU, while
//! the swarm's CPU reads them. Nobody asks for anything in between; [`super::replay`] is the loop that is asked.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::latency::Latencies;
use super::origin::SERVER_CPU;

/// The loop with its sockets, and those who read them.
pub struct Sends {
    readers: Vec<TcpStream>,
    epoll: Epoll,
    payload: Arc<[u8]>,
    buffer: Vec<u8>,
    /// Until it is to stop.
    go: Option<mpsc::Sender<()>>,
    sender: Option<JoinHandle<Result<()>>>,
}

const ROUND_WITHIN: Duration = Duration::from_secs(20);

impl Sends {
    pub fn start(viewers: usize, bytes: usize) -> Result<Sends> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let (mut readers, mut writers) = (Vec::new(), Vec::new());
        for number in 0..viewers {
            let reader = TcpStream::connect(address)?;
            let (writer, _) = listener.accept()?;
            for socket in [&reader, &writer] {
                socket.set_nodelay(true)?;
                socket.set_nonblocking(true)?;
            }
            epoll.add(&reader, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
            readers.push(reader);
            writers.push(writer);
        }
        let payload: Arc<[u8]> = (0..bytes).map(|at| at as u8).collect();
        let (go, begin) = mpsc::channel();
        let sender = {
            let payload = payload.clone();
            std::thread::spawn(move || -> Result<()> {
                super::pin(SERVER_CPU)?;
                while let Ok(()) = begin.recv() {
                    send(&mut writers, &payload)?;
                }
                Ok(())
            })
        };
        Ok(Sends { readers, epoll, payload, buffer: vec![0; 256 * 1024], go: Some(go), sender: Some(sender) })
    }

    /// Sends all of it to everybody: from before the first byte is sent to each reader's last byte.
    pub fn round(&mut self) -> Result<Latencies> {
        let (mut latencies, mut events) = (Latencies::default(), [EpollEvent::empty(); 512]);
        let mut taken = vec![0; self.readers.len()];
        let (mut left, started) = (taken.len(), Instant::now());
        self.go.as_ref().and_then(|go| go.send(()).ok()).context("the sender is gone")?;
        while left > 0 {
            ensure!(started.elapsed() < ROUND_WITHIN, "{left} readers were not done after {ROUND_WITHIN:?}");
            let count = self.epoll.wait(&mut events, EpollTimeout::from(100_u8))?;
            for event in &events[..count] {
                let number = event.data() as usize;
                let len = match self.readers[number].read(&mut self.buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    other => other?,
                };
                let at = taken[number];
                ensure!(
                    len > 0 && self.payload.get(at..at + len) == Some(&self.buffer[..len]),
                    "other bytes were sent"
                );
                taken[number] += len;
                if taken[number] == self.payload.len() {
                    latencies.push(started.elapsed());
                    left -= 1;
                }
            }
        }
        Ok(latencies)
    }

    pub fn stop(mut self) -> Result<()> {
        drop(self.go.take());
        match self.sender.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => bail!("the sender panicked"),
        }
    }
}

/// Round and round until all is sent: what a socket does not take now, it takes in the next round.
fn send(writers: &mut [TcpStream], payload: &[u8]) -> Result<()> {
    let mut left: Vec<(&mut TcpStream, usize)> = writers.iter_mut().map(|writer| (writer, 0)).collect();
    while !left.is_empty() {
        let mut failed = None;
        left.retain_mut(|(writer, sent)| match writer.write(&payload[*sent..]) {
            Ok(len) => {
                *sent += len;
                *sent < payload.len()
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(error) => {
                failed = Some(error);
                false
            }
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
    }
    Ok(())
}
