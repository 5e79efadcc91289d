//! Log lines that anybody can cause: said now and then, with how often they were not. A flood is not to fill the disk.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
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

/// What there is to say of one encoder's media: each thing once, however often it happens.
#[derive(Default)]
pub struct Remarks(RefCell<BTreeSet<String>>);

/// Different things that are said of one encoder.
const REMARKS_MAX: usize = 32;

impl Remarks {
    pub fn is_new(&self, remark: String) -> bool {
        let mut said = self.0.borrow_mut();
        said.len() < REMARKS_MAX && said.insert(remark)
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

    #[test]
    fn a_remark_is_made_once() {
        let remarks = Remarks::default();
        let new: Vec<_> = ["a", "a", "b", "a"].into_iter().map(|remark| remarks.is_new(remark.to_owned())).collect();
        assert_eq!(new, [true, false, true, false]);
        let many = (0..1_000).filter(|number| remarks.is_new(number.to_string())).count();
        assert_eq!(many, REMARKS_MAX - 2);
    }
}
