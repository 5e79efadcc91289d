//! Breaks in a programme: which marks leave it, and which come back.

use std::time::Duration;

use super::broadcast::Mark;
use super::feed::Message;
use super::scte35;

/// What a mark is to the programme; others by their place among the marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splice {
    /// Out of the network: a break begins.
    Out {
        /// What ended it or took it back, if that is known.
        back: Option<usize>,
        /// Nothing has to: it is over after its duration.
        returns_by_itself: bool,
    },
    /// Back into the network.
    In {
        /// What it ended, if that is known still.
        out: Option<usize>,
    },
    /// Takes back a break that was announced, which then does not begin; or ends one that has begun.
    Cancel { out: usize },
    /// Anything else, and what is malformed, encrypted or cancels nothing that is known.
    Other,
}

/// Of each of the marks, which are in the order of their times. A return ends the last break before it that is of the same
/// command and event (ANSI/SCTE 35 §9.7.3.1, §10.3.3.1), and one only. So does what cancels an event (in the same places):
/// nothing else will say that the break is over.
pub fn splices(marks: &[Mark]) -> Vec<Splice> {
    let mut splices: Vec<Splice> = Vec::with_capacity(marks.len());
    let mut open: Vec<(usize, scte35::Splice)> = Vec::new();
    for (at, mark) in marks.iter().enumerate() {
        let read = match &mark.message {
            Message::Scte35(section) => scte35::read(section).ok(),
            Message::Event { .. } => None,
        };
        let ends = |splice: &scte35::Splice| {
            let of = |out: &scte35::Splice| (out.command, out.event) == (splice.command, splice.event);
            open.iter().rposition(|(_, out)| of(out))
        };
        let splice = match read {
            Some(splice @ scte35::Splice { is_cancelled: true, .. }) => {
                let goes_on = |&place: &usize| is_open(&marks[open[place].0], &open[place].1, mark.time);
                match ends(&splice).filter(goes_on).map(|place| open.remove(place).0) {
                    Some(out) => {
                        end(&mut splices, out, at);
                        Splice::Cancel { out }
                    }
                    None => Splice::Other,
                }
            }
            Some(splice @ scte35::Splice { is_out: Some(true), returns_by_itself, .. }) => {
                open.push((at, splice));
                Splice::Out { back: None, returns_by_itself }
            }
            Some(splice @ scte35::Splice { is_out: Some(false), .. }) => {
                let ended = ends(&splice).map(|place| open.remove(place).0);
                if let Some(out) = ended {
                    end(&mut splices, out, at);
                }
                Splice::In { out: ended }
            }
            _ => Splice::Other,
        };
        splices.push(splice);
    }
    splices
}

fn end(splices: &mut [Splice], out: usize, at: usize) {
    if let Some(Splice::Out { back, .. }) = splices.get_mut(out) {
        *back = Some(at);
    }
}

/// Whether a break that nothing has ended is not over by itself at `time`.
fn is_open(mark: &Mark, out: &scte35::Splice, time: Duration) -> bool {
    let until = mark.duration.filter(|_| out.returns_by_itself).and_then(|duration| mark.time.checked_add(duration));
    until.is_none_or(|until| until > time)
}

/// What something that cancels an event, and is told at `time`, is to the marks that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// A break, from then on: when it would begin, or at once where it has begun.
    At(Duration),
    /// That was told before.
    Already,
    /// Nothing that is known.
    Nothing,
}

/// What `splice` cancels.
pub fn cancelled(marks: &[Mark], splice: &scte35::Splice, time: Duration) -> Cancelled {
    let is_of = |mark: &Mark| match &mark.message {
        Message::Scte35(section) => {
            scte35::read(section).is_ok_and(|other| (other.command, other.event) == (splice.command, splice.event))
        }
        Message::Event { .. } => false,
    };
    let splices = splices(marks);
    let found = marks.iter().zip(&splices).rfind(|(mark, found)| **found != Splice::Other && is_of(mark));
    match found {
        Some((mark, Splice::Out { back: None, returns_by_itself })) => {
            let out = scte35::Splice { returns_by_itself: *returns_by_itself, ..*splice };
            let at = time.max(mark.time);
            if is_open(mark, &out, at) { Cancelled::At(at) } else { Cancelled::Nothing }
        }
        Some((_, Splice::Cancel { .. })) => Cancelled::Already,
        _ => Cancelled::Nothing,
    }
}

/// From when to when each of the marks has something to say. A break and the return that ends it are one range. A break of
/// unknown length that nothing has ended lasts until something else is spliced, and without end while nothing is.
pub fn ranges(marks: &[Mark], splices: &[Splice]) -> Vec<(Duration, Duration)> {
    let planned = |mark: &Mark| mark.time.saturating_add(mark.duration.unwrap_or_default());
    let range = |at: usize| {
        let mark = &marks[at];
        match splices[at] {
            Splice::Out { back: Some(back), .. } => (mark.time, marks[back].time.max(planned(&marks[back]))),
            Splice::In { out: Some(out) } | Splice::Cancel { out } => {
                (marks[out].time, mark.time.max(planned(&marks[out])))
            }
            Splice::Out { back: None, .. } if mark.duration.is_none() => {
                let next = splices.iter().skip(at + 1).position(|splice| *splice != Splice::Other);
                (mark.time, next.map_or(Duration::MAX, |next| marks[at + 1 + next].time))
            }
            _ => (mark.time, planned(mark)),
        }
    };
    let longest = |(start, end): (Duration, Duration), at: usize| (start, end.max(planned(&marks[at])));
    (0..marks.len()).map(|at| longest(range(at), at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::fixture::splice_insert;

    /// A `splice_insert` that cancels an event.
    fn cancel(event: u8, seconds: u64) -> Mark {
        let command = [0, 0, 0, event, 0xFF];
        Mark {
            id: format!("cancel-{event}-{seconds}"),
            time: Duration::from_secs(seconds),
            duration: None,
            message: Message::Scte35(splice_insert(&command)),
        }
    }

    #[test]
    fn what_a_cancel_is_for() {
        let marks = [insert(1, true, None, 10), insert(2, true, None, 20), cancel(2, 20), insert(3, true, None, 30)];
        let splice =
            |event| scte35::Splice { command: 5, event: Some(event), is_cancelled: true, ..Default::default() };
        let at = |seconds| Cancelled::At(Duration::from_secs(seconds));
        for (event, told, want) in
            [(1, 15, at(15)), (1, 5, at(10)), (2, 15, Cancelled::Already), (3, 20, at(30)), (4, 20, Cancelled::Nothing)]
        {
            assert_eq!(cancelled(&marks, &splice(event), Duration::from_secs(told)), want, "{event} at {told}");
        }
    }

    /// A `splice_insert` at once.
    fn insert(event: u8, out: bool, duration: Option<u64>, seconds: u64) -> Mark {
        let flags = u8::from(out) << 7 | 0x5F | u8::from(duration.is_some()) << 5;
        let mut command = vec![0, 0, 0, event, 0x7F, flags];
        command.extend(
            duration.iter().flat_map(|seconds| ((0x7E << 32) | (seconds * 90_000)).to_be_bytes()[3..].to_vec()),
        );
        command.extend([0, 1, 0, 0]);
        Mark {
            id: format!("{event}-{seconds}"),
            time: Duration::from_secs(seconds),
            duration: duration.map(Duration::from_secs),
            message: Message::Scte35(splice_insert(&command)),
        }
    }

    #[test]
    fn returns_end_breaks_of_their_event() {
        let out = |back| Splice::Out { back, returns_by_itself: false };
        for (name, marks, want, ends) in [
            (
                "a pair",
                vec![insert(1, true, Some(30), 10), insert(1, false, None, 45)],
                vec![out(Some(1)), Splice::In { out: Some(0) }],
                vec![45, 45],
            ),
            (
                "one in another, and a return too many",
                vec![
                    insert(1, true, None, 10),
                    insert(2, true, Some(20), 20),
                    insert(2, false, None, 30),
                    insert(1, false, None, 40),
                    insert(1, false, None, 50),
                ],
                vec![
                    out(Some(3)),
                    out(Some(2)),
                    Splice::In { out: Some(1) },
                    Splice::In { out: Some(0) },
                    Splice::In { out: None },
                ],
                vec![40, 40, 40, 40, 50],
            ),
            (
                "of another event, and one event twice",
                vec![
                    insert(1, true, Some(10), 10),
                    insert(3, false, None, 15),
                    insert(1, true, None, 20),
                    insert(1, false, None, 30),
                ],
                vec![out(None), Splice::In { out: None }, out(Some(3)), Splice::In { out: Some(2) }],
                vec![20, 15, 30, 30],
            ),
            (
                "cancelled while it lasts, before it begins, and for nothing",
                vec![
                    insert(1, true, None, 10),
                    insert(2, true, Some(60), 20),
                    cancel(2, 20),
                    cancel(1, 30),
                    cancel(1, 40),
                ],
                vec![out(Some(3)), out(Some(2)), Splice::Cancel { out: 1 }, Splice::Cancel { out: 0 }, Splice::Other],
                vec![30, 80, 80, 30, 40],
            ),
            (
                "never ended",
                vec![insert(1, true, None, 10), insert(2, true, None, 20)],
                vec![out(None); 2],
                vec![20, u64::MAX],
            ),
        ] {
            let splices = splices(&marks);
            assert_eq!(splices, want, "{name}");
            let found: Vec<u64> = ranges(&marks, &splices).iter().map(|(_, end)| end.as_secs()).collect();
            assert_eq!(found, ends, "{name}");
        }
    }
}
