//! Descriptors that wake a ring: an eventfd for other threads, a timerfd for the clock.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// Wakes one worker from any thread.
#[derive(Debug)]
pub struct Wake(EventFd);

impl Wake {
    pub fn new() -> io::Result<Wake> {
        Ok(Wake(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?))
    }

    /// The worker will find the descriptor readable. Many calls before it looks count as one.
    pub fn wake(&self) {
        // EAGAIN would mean 2^64 unread wakes: it is readable then too.
        let _ = self.0.write(1);
    }

    /// Makes the descriptor unreadable until the next [`Wake::wake`].
    pub fn clear(&self) {
        let _ = self.0.read();
    }

    /// A second descriptor of the same eventfd, to wait on.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.0.as_fd().try_clone_to_owned()
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Becomes readable once per period.
#[derive(Debug)]
pub struct Ticker(TimerFd);

impl Ticker {
    pub fn new(period: Duration) -> io::Result<Ticker> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        timer.set(Expiration::Interval(TimeSpec::from(period)), TimerSetTimeFlags::empty())?;
        Ok(Ticker(timer))
    }

    /// Forgets the ticks that have passed.
    pub fn clear(&self) {
        let _ = self.0.wait();
    }

    /// A second descriptor of the same timer, to wait on.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.0.as_fd().try_clone_to_owned()
    }
}

impl AsFd for Ticker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
