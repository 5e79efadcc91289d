//! The rules of RFC 8216bis for the media playlists of a channel, checked over their text: by the tests here, and by whoever
//! simulates a channel. Knows nothing of how playlists are made.

use std::fmt::Write;
use std::sync::Arc;

/// What of a playlist has to agree with the playlists before it and beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    pub target: u64,
    pub media_sequence: u64,
    pub discontinuity_sequence: u64,
    pub server_control: String,
    /// Microseconds.
    pub part_target: Option<u64>,
    pub skipped: u64,
    pub is_ended: bool,
    /// EXT-X-I-FRAMES-ONLY.
    pub is_of_key_frames: bool,
    /// From number `media_sequence + skipped` on.
    pub segments: Vec<Segment>,
    /// Parts of the segment that is being made.
    pub open_parts: Vec<Part>,
    pub hint: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    pub uri: String,
    /// Microseconds.
    pub duration: u64,
    pub is_gap: bool,
    /// Discontinuity sequence number (§6.2.1).
    pub discontinuities: u64,
    pub map: Option<Arc<str>>,
    pub date: Option<String>,
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    pub uri: String,
    /// Microseconds.
    pub duration: u64,
    pub is_independent: bool,
    pub is_gap: bool,
}

/// Checks one playlist by itself; the error says which rule is broken and where.
pub fn check(text: &str) -> Result<Checked, String> {
    let checked = read(text)?;
    let mut wrong = String::new();
    let target = checked.target * 1_000_000;
    if checked.target == 0 {
        wrong += "§4.4.3.1: no EXT-X-TARGETDURATION\n";
    }
    for segment in &checked.segments {
        // §4.4.3.1: rounded to the nearest whole second.
        if (segment.duration + 500_000) / 1_000_000 > checked.target {
            let _ =
                writeln!(wrong, "§4.4.3.1: {} lasts {} µs, target {}", segment.uri, segment.duration, checked.target);
        }
        // §3.1: neither do transport streams need one, nor packed audio or WebVTT.
        let is_whole = [".ts", ".aac", ".ac3", ".ec3", ".mp3", ".vtt"].iter().any(|end| segment.uri.ends_with(end));
        if segment.map.is_none() && !segment.is_gap && !is_whole && checked.skipped == 0 {
            let _ = writeln!(wrong, "§4.4.4.5: {} has no EXT-X-MAP", segment.uri);
        }
        let sum: u64 = segment.parts.iter().map(|part| part.duration).sum();
        if !segment.parts.is_empty() && sum.abs_diff(segment.duration) > 1_000 {
            let _ = writeln!(wrong, "{}: parts last {sum} µs, the segment {}", segment.uri, segment.duration);
        }
    }
    let whole = checked.segments.iter().map(|segment| (segment.parts.as_slice(), true));
    for (parts, is_complete) in whole.chain([(checked.open_parts.as_slice(), false)]) {
        for (at, part) in parts.iter().enumerate() {
            let Some(limit) = checked.part_target else {
                let _ = writeln!(wrong, "§4.4.3.7: {} without EXT-X-PART-INF", part.uri);
                break;
            };
            // §4.4.4.9: at most the target, and at least 85% of it but for the last of a segment.
            if part.duration > limit {
                let _ = writeln!(wrong, "§4.4.4.9: {} lasts {} µs, PART-TARGET {limit}", part.uri, part.duration);
            }
            let is_last = at + 1 == parts.len();
            if !is_last && part.duration * 100 < limit * 85 || (!is_complete && part.duration == 0) {
                let _ = writeln!(wrong, "§4.4.4.9: {} lasts only {} µs of {limit}", part.uri, part.duration);
            }
        }
    }
    // §4.4.3.6: a segment is one picture, which has no parts.
    let has_parts = checked.hint.is_some()
        || checked.part_target.is_some()
        || checked
            .segments
            .iter()
            .map(|segment| &segment.parts)
            .chain([&checked.open_parts])
            .any(|parts| !parts.is_empty());
    if checked.is_of_key_frames && has_parts {
        wrong += "§4.4.3.6: parts of key frames\n";
    }
    // §6.2.2: parts are removed in order, and gone three target durations from the end.
    let listed: Vec<bool> =
        checked.segments.iter().map(|segment| !segment.parts.is_empty() || segment.is_gap).collect();
    if let Some(first) = checked.segments.iter().position(|segment| !segment.parts.is_empty()) {
        if listed[first..].iter().any(|listed| !listed) {
            wrong += "§6.2.2: parts are missing between others\n";
        }
        let after: u64 = checked.segments[first + 1..].iter().map(|segment| segment.duration).sum();
        let open: u64 = checked.open_parts.iter().map(|part| part.duration).sum();
        // A gap ends with its slot, and what follows it may begin a fraction of an audio frame before that.
        const OVERLAP: u64 = 100_000;
        if after + open >= 3 * target + OVERLAP {
            let _ = writeln!(wrong, "§6.2.2: parts are listed {} µs from the end", after + open);
        }
    }
    if let Some(limit) = checked.part_target {
        match attribute(&checked.server_control, "PART-HOLD-BACK").and_then(decimal) {
            // §4.4.3.8: at least two, should be three.
            Some(hold) if hold >= 3 * limit => {}
            other => {
                let _ = writeln!(wrong, "§4.4.3.8: PART-HOLD-BACK is {other:?}, PART-TARGET {limit}");
            }
        }
        // Nobody knows what comes after a segment that broke off, which its last part shows by being short, or a gap.
        let goes_on = checked.open_parts.last().is_some_and(|last| last.duration * 100 >= limit * 85);
        if checked.hint.is_none() && !checked.is_ended && goes_on {
            wrong += "§4.4.5.3: nothing is hinted\n";
        }
    }
    if let Some(until) = attribute(&checked.server_control, "CAN-SKIP-UNTIL").and_then(decimal)
        && until < 6 * target
    {
        let _ = writeln!(wrong, "§4.4.3.8: CAN-SKIP-UNTIL is {until} µs, target {target}");
    }
    if let Some(hold) = attribute(&checked.server_control, "HOLD-BACK").and_then(decimal)
        && hold < 3 * target
    {
        let _ = writeln!(wrong, "§4.4.3.8: HOLD-BACK is {hold} µs, target {target}");
    }
    if wrong.is_empty() { Ok(checked) } else { Err(format!("{wrong}\n{text}")) }
}

/// Checks what a later version of the same playlist may change (§6.2.1, §6.2.2).
pub fn check_update(before: &Checked, after: &Checked) -> Result<(), String> {
    let mut wrong = String::new();
    if before.target != after.target {
        wrong += "§6.2.1: EXT-X-TARGETDURATION changed\n";
    }
    if before.is_of_key_frames != after.is_of_key_frames {
        wrong += "§6.2.1: EXT-X-I-FRAMES-ONLY came or went\n";
    }
    if before.part_target.is_some() && after.part_target.is_some() && before.part_target != after.part_target {
        wrong += "§4.4.3.7: PART-TARGET changed\n";
    }
    if after.media_sequence < before.media_sequence || after.discontinuity_sequence < before.discontinuity_sequence {
        wrong += "§6.2.2: a sequence number decreased\n";
    }
    if before.is_ended && before.segments != after.segments {
        wrong += "§4.4.3.4: segments changed after EXT-X-ENDLIST\n";
    }
    let numbered = |number: u64| {
        let at = number.checked_sub(after.media_sequence + after.skipped)?;
        after.segments.get(at as usize)
    };
    let start = before.media_sequence + before.skipped;
    // Discontinuities that a delta update skips are known from the playlist that it updates.
    let is_delta = before.skipped > 0 || after.skipped > 0;
    let mut offset = (!is_delta).then_some(0);
    for (number, old) in (start..).zip(&before.segments) {
        let Some(new) = numbered(number) else {
            if number >= after.media_sequence + after.skipped {
                let _ = writeln!(wrong, "§6.2.1: {number} was listed and is no longer");
            }
            continue;
        };
        let apart = old.discontinuities as i64 - new.discontinuities as i64;
        let same = (&old.uri, old.duration, old.is_gap, *offset.get_or_insert(apart))
            == (&new.uri, new.duration, new.is_gap, apart);
        // Of a gap nothing is decoded.
        let is_other_map = !old.is_gap && old.map.is_some() && new.map.is_some() && old.map != new.map;
        if !same || is_other_map {
            let _ = writeln!(wrong, "§6.2.1: {number} changed from {old:?} to {new:?}");
        }
        // A channel that had no parts may come to have them.
        if before.part_target.is_some() && !new.parts.is_empty() && old.parts != new.parts {
            let _ = writeln!(wrong, "§6.2.1: parts of {number} changed from {:?} to {:?}", old.parts, new.parts);
        }
    }
    let open = before.media_sequence + before.skipped + before.segments.len() as u64;
    if let Some(new) = numbered(open)
        && !new.parts.is_empty()
        && !new.parts.starts_with(&before.open_parts)
    {
        let _ = writeln!(wrong, "§6.2.1: parts of {open} changed from {:?} to {:?}", before.open_parts, new.parts);
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Checks two renditions of one channel at about the same time (§6.2.4).
pub fn check_beside(a: &Checked, b: &Checked) -> Result<(), String> {
    let mut wrong = String::new();
    if (a.target, &a.server_control) != (b.target, &b.server_control) {
        let _ = writeln!(wrong, "§6.2.4: {} {} beside {} {}", a.target, a.server_control, b.target, b.server_control);
    }
    let first = (a.media_sequence + a.skipped).max(b.media_sequence + b.skipped);
    let from = |checked: &Checked| (first - checked.media_sequence - checked.skipped) as usize;
    let is_delta = a.skipped > 0 || b.skipped > 0;
    let of_b = b.segments.iter().skip(from(b));
    for (number, (x, y)) in (first..).zip(a.segments.iter().skip(from(a)).zip(of_b)) {
        if !is_delta && x.discontinuities != y.discontinuities {
            let _ = writeln!(wrong, "§6.2.4: {number} is after {} or {}", x.discontinuities, y.discontinuities);
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

fn read(text: &str) -> Result<Checked, String> {
    let mut lines = text.lines();
    if lines.next() != Some("#EXTM3U") {
        return Err(format!("§4.4.1.1: does not begin with EXTM3U\n{text}"));
    }
    let mut checked = Checked::default();
    let (mut next, mut discontinuities, mut map) = (Segment::default(), 0, None);
    let number = |value: &str| value.parse::<u64>().map_err(|_| format!("{value} is not a number"));
    for line in lines {
        // Much faster on a few bytes than a search for a character.
        let colon = line.bytes().position(|byte| byte == b':');
        let (tag, value) = colon.map_or((line, ""), |at| (&line[..at], &line[at + 1..]));
        match tag {
            "#EXT-X-TARGETDURATION" => checked.target = number(value)?,
            "#EXT-X-MEDIA-SEQUENCE" => checked.media_sequence = number(value)?,
            "#EXT-X-DISCONTINUITY-SEQUENCE" => {
                checked.discontinuity_sequence = number(value)?;
                discontinuities = checked.discontinuity_sequence;
            }
            "#EXT-X-SERVER-CONTROL" => checked.server_control = value.to_owned(),
            "#EXT-X-PART-INF" => checked.part_target = attribute(value, "PART-TARGET").and_then(decimal),
            "#EXT-X-SKIP" => {
                let skipped = attribute(value, "SKIPPED-SEGMENTS").ok_or("§4.4.5.2: SKIPPED-SEGMENTS is missing")?;
                checked.skipped = number(skipped)?;
            }
            "#EXT-X-DISCONTINUITY" => discontinuities += 1,
            "#EXT-X-MAP" => map = attribute(value, "URI").map(Arc::from),
            "#EXT-X-PROGRAM-DATE-TIME" => next.date = Some(value.to_owned()),
            "#EXT-X-GAP" => next.is_gap = true,
            "#EXT-X-PART" => next.parts.push(Part {
                uri: attribute(value, "URI").ok_or("§4.4.4.9: a part without URI")?.to_owned(),
                duration: attribute(value, "DURATION").and_then(decimal).ok_or("§4.4.4.9: a part without DURATION")?,
                is_independent: attribute(value, "INDEPENDENT") == Some("YES"),
                is_gap: attribute(value, "GAP") == Some("YES"),
            }),
            "#EXT-X-PRELOAD-HINT" => {
                if checked.hint.replace(attribute(value, "URI").unwrap_or_default().to_owned()).is_some() {
                    return Err(format!("§6.2.6: two hints of one type\n{text}"));
                }
            }
            "#EXT-X-ENDLIST" => checked.is_ended = true,
            "#EXT-X-I-FRAMES-ONLY" => checked.is_of_key_frames = true,
            "#EXTINF" => {
                let duration = value.split(',').next().unwrap_or_default();
                next.duration = decimal(duration).ok_or_else(|| format!("§4.4.4.1: {line}"))?;
            }
            _ if line.starts_with('#') || line.is_empty() => {}
            _ => {
                let mut segment = std::mem::take(&mut next);
                segment.uri = line.to_owned();
                segment.discontinuities = discontinuities;
                segment.map = map.clone();
                checked.segments.push(segment);
            }
        }
    }
    checked.open_parts = next.parts;
    Ok(checked)
}

/// The value of an attribute, without its quotes.
fn attribute<'v>(list: &'v str, name: &str) -> Option<&'v str> {
    let mut rest = list;
    while let Some((key, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, next) = quoted.split_once('"')?;
                (value, next.strip_prefix(',').unwrap_or(next))
            }
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key == name {
            return Some(value);
        }
        rest = next;
    }
    None
}

/// Seconds with up to six decimals, as microseconds.
fn decimal(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 6 {
        return None;
    }
    let digits = if fraction.is_empty() { 0 } else { fraction.parse::<u64>().ok()? };
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(digits * 10_u64.pow(6 - fraction.len() as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_rules_are_found() {
        let good = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n\
            #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5,HOLD-BACK=6\n\
            #EXT-X-PART-INF:PART-TARGET=0.5\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n\
            #EXT-X-MAP:URI=\"v1/x.mp4\"\n#EXTINF:2,\nv1/7.m4s\n\
            #EXT-X-PART:DURATION=0.5,URI=\"v1/8.0.m4s\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"v1/8.1.m4s\"\n";
        let checked = check(good).unwrap();
        assert_eq!((checked.segments.len(), checked.open_parts.len(), checked.media_sequence), (1, 1, 7));
        for (from, to) in [
            ("#EXTINF:2,", "#EXTINF:2.5,"),
            ("PART-HOLD-BACK=1.5", "PART-HOLD-BACK=1.2"),
            ("HOLD-BACK=6", "HOLD-BACK=5"),
            ("DURATION=0.5", "DURATION=0.500001"),
            ("#EXT-X-PRELOAD-HINT", "#EXT-X-OTHER"),
            ("#EXT-X-MAP", "#EXT-X-OTHER"),
            ("PART-INF", "OTHER"),
            ("#EXTM3U", "#EXTM3"),
            ("#EXT-X-MEDIA-SEQUENCE", "#EXT-X-I-FRAMES-ONLY\n#EXT-X-MEDIA-SEQUENCE"),
        ] {
            assert!(check(&good.replace(from, to)).is_err(), "{to}");
        }
        for (from, to, kept) in [
            ("SEQUENCE:7", "SEQUENCE:8", true),
            ("#EXTINF:2,", "#EXTINF:1.9,", false),
            ("SEQUENCE:7", "SEQUENCE:6", false),
            ("v1/x.mp4", "v1/y.mp4", false),
        ] {
            let mut after = check(&good.replace(from, to)).unwrap();
            if kept {
                after.segments.clear();
            }
            assert_eq!(check_update(&checked, &after).is_ok(), kept, "{to}");
        }
    }
}
