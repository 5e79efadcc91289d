//! Marks on the timeline: EXT-X-DATERANGE (RFC 8216bis §4.4.5.1), and the older tags of advertisement insertion.

use std::collections::HashSet;
use std::fmt::Write;
use std::time::Duration;

use crate::media::breaks::{self, Splice};
use crate::media::broadcast::{Broadcast, Mark};
use crate::media::feed::Message;
use crate::package::{date, live_timeline};

use super::attributes::Attributes;
use super::media::push_seconds;

/// Every mark of which something lies in the playlists. They hold the same set in all renditions, and one is kept as long as
/// any of its range is in the window (§6.2.1, §6.2.4). What is finished is not changed by what the channel is told later.
pub fn push_date_ranges(out: &mut String, broadcast: &Broadcast<'_>) {
    let marks = broadcast.marks;
    let splices = breaks::splices(marks);
    let ranges = breaks::ranges(marks, &splices);
    let mut written: HashSet<&str> = HashSet::new();
    for (at, mark) in marks.iter().enumerate() {
        // §4.4.5.1: one identifier names one range.
        if live_timeline::is_within(broadcast, mark, ranges[at]) && written.insert(&mark.id) {
            match splices[at] {
                Splice::In { out: Some(begun) } => push_end(out, &marks[begun], mark, "SCTE35-IN"),
                Splice::Cancel { out: begun } => push_end(out, &marks[begun], mark, "SCTE35-CMD"),
                splice => push_date_range(out, mark, splice),
            }
        }
    }
}

/// The end of a break, also of one that is over before it begins: more of the range that its beginning has named (§4.4.5.1.1), with what has to be the same in both.
fn push_end(out: &mut String, begun: &Mark, mark: &Mark, name: &'static str) {
    let mut line = Attributes::new(out, "#EXT-X-DATERANGE");
    line.quoted("ID", &begun.id);
    line.quoted("START-DATE", &date::iso(micros(begun.time)));
    let mut seconds = String::new();
    push_seconds(&mut seconds, micros(mark.time.saturating_sub(begun.time)));
    line.plain("DURATION", &seconds);
    if let Message::Scte35(section) = &mark.message {
        line.plain(name, &hexadecimal(section));
    }
    line.end();
}

fn push_date_range(out: &mut String, mark: &Mark, splice: Splice) {
    let mut line = Attributes::new(out, "#EXT-X-DATERANGE");
    line.quoted("ID", &mark.id);
    if let Message::Event { scheme, .. } = &mark.message {
        line.quoted("CLASS", scheme);
    }
    line.quoted("START-DATE", &date::iso(micros(mark.time)));
    let is_out = matches!(splice, Splice::Out { .. });
    if let Some(duration) = mark.duration {
        let mut seconds = String::new();
        push_seconds(&mut seconds, micros(duration));
        // What an encoder announces for a break is what it plans; the return to the network says when it ended.
        line.plain(if is_out { "PLANNED-DURATION" } else { "DURATION" }, &seconds);
    }
    match &mark.message {
        Message::Scte35(section) => {
            let name = match splice {
                Splice::Out { .. } => "SCTE35-OUT",
                Splice::In { .. } => "SCTE35-IN",
                Splice::Cancel { .. } | Splice::Other => "SCTE35-CMD",
            };
            line.plain(name, &hexadecimal(section));
        }
        Message::Event { value, id, data, .. } => {
            line.quoted("X-VALUE", value);
            line.integer("X-ID", u64::from(*id));
            if !data.is_empty() {
                line.plain("X-DATA", &hexadecimal(data));
            }
        }
    }
    line.end();
}

/// EXT-X-CUE-OUT and EXT-X-CUE-IN of all marks, in the order of their times: found once, and looked up for each segment.
pub struct Cues(Vec<(u64, Cue)>);

#[derive(Clone, Copy)]
enum Cue {
    /// How long it is planned to be.
    Out(Option<Duration>),
    In,
}

impl Cues {
    pub fn of(marks: &[Mark]) -> Cues {
        let splices = breaks::splices(marks);
        let returns: Vec<Duration> = marks
            .iter()
            .zip(&splices)
            .filter(|(_, splice)| matches!(splice, Splice::In { .. }))
            .map(|(mark, _)| mark.time)
            .collect();
        let cancelled = |back: Option<usize>| {
            back.filter(|&at| matches!(splices[at], Splice::Cancel { .. })).map(|at| marks[at].time)
        };
        let mut cues = Vec::new();
        for (mark, splice) in marks.iter().zip(&splices) {
            match splice {
                // It does not begin.
                Splice::Out { back, .. } if cancelled(*back).is_some_and(|at| at <= mark.time) => {}
                Splice::Cancel { out } if mark.time <= marks[*out].time => {}
                Splice::Cancel { .. } => cues.push((micros(mark.time), Cue::In)),
                Splice::Out { returns_by_itself, back } => {
                    cues.push((micros(mark.time), Cue::Out(mark.duration)));
                    if cancelled(*back).is_some() {
                        continue;
                    }
                    let back = mark.duration.filter(|_| *returns_by_itself).and_then(|it| mark.time.checked_add(it));
                    let Some(back) = back else { continue };
                    // Marks are in the order of their times.
                    let next = returns.get(returns.partition_point(|time| *time <= mark.time));
                    if next.is_none_or(|next| *next > back.saturating_add(RETURN_SLACK)) {
                        cues.push((micros(back), Cue::In));
                    }
                }
                Splice::In { .. } => cues.push((micros(mark.time), Cue::In)),
                Splice::Other => {}
            }
        }
        cues.sort_by_key(|(time, _)| *time);
        Cues(cues)
    }

    /// Before the segment in which a break begins or ends (`start..end`, in microseconds).
    pub fn push(&self, out: &mut String, start: u64, end: u64) {
        let first = self.0.partition_point(|(time, _)| *time < start);
        for (_, cue) in self.0[first..].iter().take_while(|(time, _)| *time < end) {
            match cue {
                Cue::Out(None) => out.push_str("#EXT-X-CUE-OUT\n"),
                Cue::Out(Some(duration)) => {
                    out.push_str("#EXT-X-CUE-OUT:");
                    push_seconds(out, micros(*duration));
                    out.push('\n');
                }
                Cue::In => out.push_str("#EXT-X-CUE-IN\n"),
            }
        }
    }
}

/// A return to the network that is told so near to the end of a break that ends by itself is the same.
const RETURN_SLACK: Duration = Duration::from_secs(1);

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// §4.2: a hexadecimal sequence.
fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("0x");
    for byte in bytes {
        let _ = write!(text, "{byte:02X}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::fixture::splice_insert;

    /// A `splice_insert` of this event: out for so many seconds, returning by itself, or back.
    fn mark(event: u8, seconds: u64, out: Option<u64>) -> Mark {
        let flags = if out.is_some() { 0x7F | 0x80 } else { 0x5F };
        let mut command = vec![0, 0, 0, event, 0x7F, flags];
        command.extend(
            out.map(|seconds| ((0xFE << 32) | (seconds * 90_000)).to_be_bytes()[3..].to_vec()).unwrap_or_default(),
        );
        command.extend([0, 1, 0, 0]);
        Mark {
            id: format!("{event}-{seconds}"),
            time: Duration::from_secs(seconds),
            duration: out.map(Duration::from_secs),
            message: Message::Scte35(splice_insert(&command)),
        }
    }

    #[test]
    fn cues_stand_in_the_order_of_their_times() {
        for (name, marks, want) in [
            ("a break that returns by itself", vec![mark(1, 3, Some(4))], ["", "OUT:4", "", "IN", ""]),
            ("one that is told to", vec![mark(1, 3, Some(4)), mark(1, 8, None)], ["", "OUT:4", "", "", "IN"]),
            ("one that is told much later", vec![mark(1, 3, Some(2)), mark(1, 9, None)], ["", "OUT:2", "IN", "", "IN"]),
            (
                "one after the other",
                vec![mark(1, 0, Some(2)), mark(2, 3, Some(1))],
                ["OUT:2", "IN OUT:1", "IN", "", ""],
            ),
            (
                "in one segment",
                vec![mark(1, 1, Some(1)), mark(2, 3, Some(4)), mark(2, 4, None)],
                ["OUT:1", "IN OUT:4", "IN", "", ""],
            ),
            ("only a return", vec![mark(1, 9, None)], ["", "", "", "", "IN"]),
        ] {
            let cues = Cues::of(&marks);
            let told = |segment: u64| {
                let mut out = String::new();
                cues.push(&mut out, segment * 2_000_000, (segment + 1) * 2_000_000);
                let lines = out.lines().map(|line| line.strip_prefix("#EXT-X-CUE-").unwrap_or(line));
                lines.collect::<Vec<_>>().join(" ")
            };
            assert_eq!([0, 1, 2, 3, 4].map(told), want, "{name}");
        }
    }
}
