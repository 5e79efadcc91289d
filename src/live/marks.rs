//! Marks of a channel: things to be done at a time, told by the encoder.

use std::sync::Arc;
use std::time::Duration;

use crate::base::limits::LIVE_MARKS_MAX;
use crate::media::breaks::{self, Cancelled};
use crate::media::broadcast::Mark;
use crate::media::feed::{Marker, Message};
use crate::media::scte35;

/// By time.
#[derive(Default)]
pub struct Marks {
    marks: Arc<[Mark]>,
}

impl Marks {
    /// As they were before a restart.
    pub fn restore(mut marks: Vec<Mark>) -> Marks {
        marks.truncate(LIVE_MARKS_MAX);
        marks.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        Marks { marks: marks.into() }
    }

    /// `time` is the marker's own on the channel's timeline; one that has none takes effect at once. Returns whether the
    /// marks are others now: encoders repeat what they tell, and twin encoders tell the same.
    pub fn add(&mut self, marker: &Marker, time: Option<Duration>, at_once: Duration) -> bool {
        let mut time = time.unwrap_or(at_once);
        let duration = marker.duration.map(|(duration, timescale)| timescale.duration(duration));
        let (name, duration) = match &marker.message {
            Message::Scte35(section) => match scte35::read(section) {
                Ok(splice) if splice.is_null => return false,
                Ok(splice) => {
                    let event = splice.event.map_or("x".to_owned(), |id| id.to_string());
                    let mut name = format!("scte35-{}-{event}", splice.command);
                    if splice.is_cancelled {
                        name.push_str("-cancel");
                        match breaks::cancelled(&self.marks, &splice, time) {
                            Cancelled::At(at) => time = at,
                            Cancelled::Already => return false,
                            Cancelled::Nothing => {}
                        }
                    }
                    (name, duration.or(splice.duration))
                }
                Err(_) => return false,
            },
            Message::Event { scheme, value, id, .. } => {
                let hash = blake3::hash(format!("{scheme} {value}").as_bytes()).to_hex();
                (format!("event-{}-{id}", &hash[..8]), duration)
            }
        };
        let id = format!("{name}-{}", time.as_millis());
        if self.marks.iter().any(|mark| mark.id == id) {
            return false;
        }
        let mut marks = self.marks.to_vec();
        let at = marks.partition_point(|mark| (mark.time, &mark.id) < (time, &id));
        marks.insert(at, Mark { id, time, duration, message: marker.message.clone() });
        if marks.len() > LIVE_MARKS_MAX {
            marks.remove(0);
        }
        self.marks = marks.into();
        true
    }

    pub fn forget_before(&mut self, time: Duration) {
        if self.marks.first().is_none_or(|mark| mark.time >= time) {
            return;
        }
        let ranges = breaks::ranges(&self.marks, &breaks::splices(&self.marks));
        if ranges.iter().any(|(_, end)| *end < time) {
            let kept = self.marks.iter().zip(&ranges).filter(|(_, (_, end))| *end >= time);
            self.marks = kept.map(|(mark, _)| mark.clone()).collect();
        }
    }

    pub fn shared(&self) -> Arc<[Mark]> {
        self.marks.clone()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::base::{Ticks, Timescale};
    use crate::media::fixture::splice_insert;

    /// `splice_insert` of event 1: out of the network without a duration, or cancelled.
    fn insert(is_cancelled: bool) -> Marker {
        let command: &[u8] = if is_cancelled { &[0, 0, 0, 1, 0xFF] } else { &[0, 0, 0, 1, 0x7F, 0xDF, 0, 1, 0, 0] };
        Marker { time: None, duration: None, message: Message::Scte35(splice_insert(command)) }
    }

    /// What cancels a break says so when it would begin, or ends it; told again, it says nothing new.
    #[test]
    fn a_cancelled_break_is_over() {
        let at = Duration::from_secs;
        for (told, ends) in [(15, 20), (30, 30)] {
            let mut marks = Marks::default();
            assert!(marks.add(&insert(false), Some(at(20)), at(0)));
            assert!(marks.add(&insert(true), None, at(told)));
            assert!(!marks.add(&insert(true), None, at(told + 1)));
            let times: Vec<u64> = marks.shared().iter().map(|mark| mark.time.as_secs()).collect();
            assert_eq!(times, [20, ends]);
            marks.forget_before(at(ends + 1));
            assert!(marks.shared().is_empty(), "it lasts no longer");
        }
    }

    #[test]
    fn marks_are_sorted_and_told_once() {
        let marker = |id| Marker {
            time: None,
            duration: Some((Ticks(90_000), Timescale::MPEG)),
            message: Message::Event { scheme: "urn:x".to_owned(), value: "1".to_owned(), id, data: Bytes::new() },
        };
        let mut marks = Marks::default();
        let at = Duration::from_secs;
        assert!(marks.add(&marker(1), Some(at(20)), at(0)));
        assert!(marks.add(&marker(2), Some(at(10)), at(0)));
        assert!(!marks.add(&marker(1), Some(at(20)), at(0)));
        assert!(marks.add(&marker(1), None, at(15)));
        let times = |marks: &Marks| marks.shared().iter().map(|mark| mark.time.as_secs()).collect::<Vec<_>>();
        assert_eq!(times(&marks), [10, 15, 20]);
        assert_eq!(marks.shared()[0].duration, Some(at(1)));
        marks.forget_before(at(12));
        assert_eq!(times(&marks), [15, 20]);
    }
}
