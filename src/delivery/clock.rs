//! The worker's clock: wall time for dates and freshness, read from the system once a second; a coarse count of ticks for
//! deadlines.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::http::date;
use crate::service::Now;

pub(super) struct Clock {
    /// Wall time and its `Date` field hold until then.
    until: Cell<Instant>,
    unix: Cell<u64>,
    date: Cell<[u8; date::LEN]>,
    tick: Duration,
    ticks: Cell<u32>,
}

impl Clock {
    pub(super) fn new(tick: Duration) -> Clock {
        let clock = Clock {
            until: Cell::new(Instant::now()),
            unix: Cell::new(0),
            date: Cell::new([0; date::LEN]),
            tick,
            ticks: Cell::new(0),
        };
        clock.read_wall();
        clock
    }

    /// The moment, with wall time brought up to date.
    pub(super) fn now(&self) -> Instant {
        let now = Instant::now();
        if now >= self.until.get() {
            self.read_wall();
        }
        now
    }

    fn read_wall(&self) {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let rest = Duration::from_secs(1).saturating_sub(Duration::from_nanos(unix.subsec_nanos().into()));
        self.until.set(Instant::now() + rest);
        self.unix.set(unix.as_secs());
        self.date.set(date::format(unix.as_secs()));
    }

    /// Wall time at `now`, which [`Clock::now`] gave.
    pub(super) fn wall(&self, now: Instant) -> Now {
        let left = self.until.get().saturating_duration_since(now).as_millis() as u32;
        Now { unix: self.unix.get(), millis: 1_000_u32.saturating_sub(left).min(999) }
    }

    /// The value of a `Date` field as of the last [`Clock::now`].
    pub(super) fn date(&self) -> [u8; date::LEN] {
        self.date.get()
    }

    pub(super) fn advance(&self) {
        self.ticks.set(self.ticks.get().wrapping_add(1));
    }

    /// Ticks since the worker started.
    pub(super) fn ticks(&self) -> u32 {
        self.ticks.get()
    }

    /// The time since a tick, less than one of them short.
    pub(super) fn since(&self, tick: u32) -> Duration {
        self.tick * self.ticks().wrapping_sub(tick)
    }

    /// Ticks that take at least `duration`, counted from the middle of one.
    pub(super) fn ticks_ceil(&self, duration: Duration) -> u32 {
        let ticks = duration.as_nanos().div_ceil(self.tick.as_nanos().max(1));
        u32::try_from(ticks).unwrap_or(u32::MAX - 1).saturating_add(1)
    }
}
