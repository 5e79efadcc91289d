//! Which access unit a time stamp belongs to: the first that begins in the PES packet (ISO/IEC 13818-1 §2.4.3.7).

use std::collections::VecDeque;

use super::clock::Times;

/// Time stamps of PES packets that began, until something begins in them.
#[derive(Debug, Default)]
pub struct Stamps {
    waiting: VecDeque<(u64, Stamp)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    pub times: Option<Times>,
    /// random_access_indicator
    pub random_access: bool,
}

/// PES packets in a row in which nothing begins; the oldest are forgotten.
const WAITING_MAX: usize = 16;

impl Stamps {
    /// A PES packet begins at `position` of the elementary stream.
    pub fn begin(&mut self, position: u64, stamp: Stamp) {
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back((position, stamp));
    }

    /// Of the access unit that begins at `position`; nothing if another one began in the PES packet before it.
    pub fn take(&mut self, position: u64) -> Stamp {
        let mut found = Stamp::default();
        while let Some(&(begin, stamp)) = self.waiting.front()
            && begin <= position
        {
            self.waiting.pop_front();
            found = stamp;
        }
        found
    }

    /// Whether a PES packet begins there.
    pub fn begins_at(&self, position: u64) -> bool {
        self.waiting.iter().any(|(begin, _)| *begin == position)
    }

    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}
