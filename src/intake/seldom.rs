//! Log lines that anybody can cause: said now and then, with how often they were not. A flood is not to fill the disk.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

/// How often something is said.
#[derive(Default)]
pub struct Seldom {
    said: Cell<Option<Instant>>,
    unsaid: Cell<u64>,
}

/// What was not said since the last time; displays as the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsaid(u64);

pub const PAUSE: Duration = Duration::from_secs(10);

impl Seldom {
    /// Whether it is to be said at `now`.
    pub fn due(&self, now: Instant) -> Option<Unsaid> {
        if self.said.get().is_some_and(|said| now.duration_since(said) < PAUSE) {
            self.unsaid.set(self.unsaid.get() + 1);
            return None;
        }
        self.said.set(Some(now));
        Some(Unsaid(self.unsaid.take()))
    }
}

impl fmt::Display for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " (and {count} times since it was last said)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_line_now_and_then() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let due = |after: Duration| seldom.due(start + after).map(|unsaid| unsaid.to_string());
        assert_eq!(due(Duration::ZERO).as_deref(), Some(""));
        for millis in 0..500 {
            assert_eq!(due(Duration::from_millis(millis)), None);
        }
        assert_eq!(due(PAUSE).as_deref(), Some(" (and 500 times since it was last said)"));
        assert_eq!(due(PAUSE * 2).as_deref(), Some(""));
    }
}
