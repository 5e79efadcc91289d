//! What sending alone takes: a loop that does nothing but send the same bytes to as many sockets, on the server's CPU, while
//! the swarm's CPU reads them. Nobody asks for anything in between; [`super::replay`] is the loop that is asked.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::latency::Latencies;
use super::origin::SERVER_CPU;

const ROUND_WITHIN: Duration = Duration::from_secs(20);

/// From before the first byte is sent to each reader's last byte, `rounds` times.
pub fn measure(viewers: usize, bytes: usize, rounds: usize) -> Result<Latencies> {
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
    let payload: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
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
    let (mut latencies, mut buffer) = (Latencies::default(), vec![0; 256 * 1024]);
    let mut events = [EpollEvent::empty(); 512];
    for _ in 0..rounds {
        let mut taken = vec![0; viewers];
        let (mut left, started) = (viewers, Instant::now());
        go.send(()).context("the sender is gone")?;
        while left > 0 {
            ensure!(started.elapsed() < ROUND_WITHIN, "{left} readers were not done after {ROUND_WITHIN:?}");
            let count = epoll.wait(&mut events, EpollTimeout::from(100_u8))?;
            for event in &events[..count] {
                let number = event.data() as usize;
                let len = match readers[number].read(&mut buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    other => other?,
                };
                let at = taken[number];
                ensure!(len > 0 && payload.get(at..at + len) == Some(&buffer[..len]), "other bytes were sent");
                taken[number] += len;
                if taken[number] == bytes {
                    latencies.push(started.elapsed());
                    left -= 1;
                }
            }
        }
        // As between parts.
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(go);
    match sender.join() {
        Ok(result) => result.map(|()| latencies),
        Err(_) => bail!("the sender panicked"),
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
