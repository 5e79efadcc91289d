//! Marks on the timeline: EXT-X-DATERANGE (RFC 8216bis §4.4.5.1), and the older tags of advertisement insertion.

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
pub(super) fn push_date_ranges(out: &mut String, broadcast: &Broadcast<'_>) {
    let marks = broadcast.marks;
    let splices = breaks::splices(marks);
    let ranges = breaks::ranges(marks, &splices);
    let mut written: Vec<&str> = Vec::new();
    for (at, mark) in marks.iter().enumerate() {
        // §4.4.5.1: one identifier names one range.
        if live_timeline::is_within(broadcast, mark, ranges[at]) && !written.contains(&mark.id.as_str()) {
            match splices[at] {
                Splice::In { out: Some(begun) } => push_end(out, &marks[begun], mark, "SCTE35-IN"),
                Splice::Cancel { out: begun } => push_end(out, &marks[begun], mark, "SCTE35-CMD"),
                splice => push_date_range(out, mark, splice),
            }
            written.push(&mark.id);
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

/// EXT-X-CUE-OUT and EXT-X-CUE-IN before the segment in which a break begins or ends (`start..end`, in microseconds).
pub(super) fn push_cues(out: &mut String, broadcast: &Broadcast<'_>, start: u64, end: u64) {
    let marks = broadcast.marks;
    let inside = |time: Duration| (start..end).contains(&micros(time));
    let splices = breaks::splices(marks);
    let is_cancelled = |back: usize| matches!(splices[back], Splice::Cancel { .. });
    for (mark, splice) in marks.iter().zip(&splices).filter(|(mark, _)| inside(mark.time)) {
        match splice {
            // It does not begin.
            Splice::Out { back: Some(back), .. } if is_cancelled(*back) && marks[*back].time <= mark.time => {}
            Splice::Cancel { out } if mark.time <= marks[*out].time => {}
            Splice::Out { .. } => {
                out.push_str("#EXT-X-CUE-OUT");
                if let Some(duration) = mark.duration {
                    out.push(':');
                    push_seconds(out, micros(duration));
                }
                out.push('\n');
            }
            Splice::In { .. } | Splice::Cancel { .. } => out.push_str("#EXT-X-CUE-IN\n"),
            Splice::Other => {}
        }
    }
    for (mark, splice) in marks.iter().zip(&splices) {
        let (Splice::Out { returns_by_itself: true, back }, Some(duration)) = (splice, mark.duration) else { continue };
        if back.is_some_and(is_cancelled) {
            continue;
        }
        let Some(back) = mark.time.checked_add(duration).filter(|back| inside(*back)) else { continue };
        let is_told = |(other, splice): (&Mark, &Splice)| {
            let near = other.time > mark.time && other.time <= back.saturating_add(RETURN_SLACK);
            near && matches!(splice, Splice::In { .. })
        };
        if !marks.iter().zip(&splices).any(is_told) {
            out.push_str("#EXT-X-CUE-IN\n");
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
