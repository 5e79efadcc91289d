//! Signals, read when there is time for them instead of whenever they come.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// SIGTERM, SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Takes the signals for the calling thread and those it starts from now on: call this before any other is started.
    pub fn take() -> io::Result<Signals> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block()?;
        Ok(Signals { fd: SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)? })
    }

    /// Waits up to `timeout`. `None`: nothing came.
    pub fn wait(&self, timeout: Duration) -> io::Result<Option<Order>> {
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let Some(info) = self.fd.read_signal()? else { return Ok(None) };
        let hang_up = i32::try_from(info.ssi_signo).is_ok_and(|number| number == Signal::SIGHUP as i32);
        Ok(Some(if hang_up { Order::Reload } else { Order::Stop }))
    }
}

/// From now on a write beyond the longest file this process may have (RLIMIT_FSIZE, `LimitFSIZE=` of a unit) is an error of that
/// write, like a full disk, and does not end the process. For the calling thread and those it starts from now on.
pub fn outlive_long_files() -> io::Result<()> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGXFSZ);
    Ok(set.thread_block()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::raise;

    #[test]
    fn signals_become_orders() {
        // A thread of its own: the signals stay blocked in it.
        std::thread::spawn(|| {
            let signals = Signals::take().unwrap();
            assert_eq!(signals.wait(Duration::from_millis(1)).unwrap(), None);
            for (signal, order) in
                [(Signal::SIGTERM, Order::Stop), (Signal::SIGHUP, Order::Reload), (Signal::SIGINT, Order::Stop)]
            {
                raise(signal).unwrap();
                assert_eq!(signals.wait(Duration::from_secs(5)).unwrap(), Some(order));
            }
            assert_eq!(signals.wait(Duration::from_millis(1)).unwrap(), None);
        })
        .join()
        .unwrap();
    }
}
