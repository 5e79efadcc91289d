//! SubRip: what is written in it has no specification, so whatever players take is taken.

use super::{Fault, Place, Words, push_escaped, tidy};

const ARROW: &str = "-->";
const TIMES: &str = "a line such as 00:00:01,000 --> 00:00:04,000";

pub fn read(text: &str) -> Result<Vec<Words>, Fault> {
    let lines: Vec<&str> = text.lines().collect();
    let times: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].contains(ARROW)).collect();
    // Before the first cue there is its number, and nothing else.
    let first = times.first().copied().unwrap_or(lines.len());
    let stray = (0..first).find(|&at| !(lines[at].trim().is_empty() || at + 1 == first && is_number(lines[at])));
    if let Some(at) = stray {
        return Err(Fault::new(Place::Line(at as u32 + 1), lines[at], TIMES));
    }
    let mut words = Vec::with_capacity(times.len());
    for (number, &at) in times.iter().enumerate() {
        let next = times.get(number + 1).copied().unwrap_or(lines.len());
        // The number of the next cue stands right before its times.
        let end = if next < lines.len() && next > at + 1 && is_number(lines[next - 1]) { next - 1 } else { next };
        let place = Place::Line(at as u32 + 1);
        let (start, stop) = timings(lines[at]).ok_or_else(|| Fault::new(place, lines[at], TIMES))?;
        if stop < start {
            return Err(Fault::new(place, lines[at], "an end that is not before the start"));
        }
        let (settings, text) = cue_text(&lines[at + 1..end].join("\n"));
        if !text.is_empty() {
            words.push(Words { start, end: stop, settings, text });
        }
    }
    Ok(words)
}

fn is_number(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit())
}

/// Coordinates behind the times, which some programs write, are left out.
fn timings(line: &str) -> Option<(u64, u64)> {
    let (start, rest) = line.split_once(ARROW)?;
    let end = rest.split_ascii_whitespace().next()?;
    Some((timestamp(start.trim())?, timestamp(end)?))
}

/// `h:mm:ss,ttt` with a comma or a dot, in milliseconds; fewer digits of a fraction are tenths or hundredths.
fn timestamp(text: &str) -> Option<u64> {
    let (clock, fraction) = text.split_once([',', '.']).unwrap_or((text, "0"));
    let number = |part: &str, digits_max: usize| -> Option<u64> {
        let is_sound = (1..=digits_max).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        is_sound.then(|| part.parse().ok())?
    };
    let mut parts = clock.rsplit(':');
    let seconds = number(parts.next()?, 2)?;
    let minutes = number(parts.next()?, 2)?;
    let hours = parts.next().map_or(Some(0), |hours| number(hours, 6))?;
    let millis = number(fraction, 3)? * 10_u64.pow(3 - fraction.len() as u32);
    (parts.next().is_none() && minutes < 60 && seconds < 60)
        .then_some(((hours * 60 + minutes) * 60 + seconds) * 1_000 + millis)
}

/// Settings and text. Of tags `<b>`, `<i>` and `<u>` mean the same in WebVTT, of those of SubStation Alpha in braces `\an1` to
/// `\an9` says where the cue stands, as on a telephone's keypad turned over; others are left out.
pub fn cue_text(text: &str) -> (String, String) {
    let (mut out, mut settings, mut rest) = (String::with_capacity(text.len()), String::new(), text);
    while let Some(at) = rest.find(['<', '{', '&']) {
        push_escaped(&mut out, &rest[..at]);
        rest = &rest[at..];
        let closing = if rest.starts_with('{') { b'}' } else { b'>' };
        // A tag ends soon, and on its line.
        let behind = &rest.as_bytes()[1..];
        let end = memchr::memchr2(closing, b'\n', &behind[..behind.len().min(TAG_BYTES_MAX)]);
        let inside = end.filter(|&end| behind[end] == closing).map(|end| &rest[1..1 + end]);
        let taken = match (rest.as_bytes().first(), inside) {
            (Some(b'<'), Some(inside)) if is_tag(inside) => {
                if ["b", "i", "u", "/b", "/i", "/u"].contains(&inside.to_ascii_lowercase().as_str()) {
                    out.push('<');
                    out.push_str(&inside.to_ascii_lowercase());
                    out.push('>');
                }
                inside.len() + 2
            }
            (Some(b'{'), Some(inside)) if inside.starts_with('\\') => {
                if let Some(corner) = inside.split('\\').find_map(|word| word.strip_prefix("an")?.parse::<u8>().ok()) {
                    settings = corner_settings(corner);
                }
                inside.len() + 2
            }
            (Some(b'&'), _) => match REFERENCES.iter().find(|reference| rest.starts_with(**reference)) {
                Some(reference) => {
                    out.push_str(reference);
                    reference.len()
                }
                None => {
                    push_escaped(&mut out, "&");
                    1
                }
            },
            _ => {
                push_escaped(&mut out, &rest[..1]);
                1
            }
        };
        rest = &rest[taken..];
    }
    push_escaped(&mut out, rest);
    (settings, tidy(&out))
}

/// A longer one is none.
const TAG_BYTES_MAX: usize = 256;

/// Those that WebVTT knows as well (§3.4).
const REFERENCES: [&str; 6] = ["&amp;", "&lt;", "&gt;", "&nbsp;", "&lrm;", "&rlm;"];

fn is_tag(inside: &str) -> bool {
    let name = inside.strip_prefix('/').unwrap_or(inside);
    let word: String = name.chars().take_while(char::is_ascii_alphanumeric).collect();
    ["b", "i", "u", "s", "font"].contains(&word.to_ascii_lowercase().as_str())
}

fn corner_settings(corner: u8) -> String {
    let mut settings = match corner {
        7..=9 => "line:0 ",
        4..=6 => "line:50% ",
        _ => "",
    }
    .to_owned();
    settings.push_str(match (1..=9).contains(&corner).then_some(corner % 3) {
        Some(1) => "align:start",
        Some(0) => "align:end",
        _ => "",
    });
    settings.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::write;
    use super::*;

    #[test]
    fn files() {
        for (name, input, want) in [
            ("nothing", "", "WEBVTT\n\n"),
            (
                "two",
                "1\n00:00:01,000 --> 00:00:02,500\nHello\nthere\n\n2\n00:00:03,000 --> 00:00:04,000\nBye\n",
                "WEBVTT\n\n00:00:01.000 --> 00:00:02.500 \nHello\nthere\n\n00:00:03.000 --> 00:00:04.000 \nBye\n\n",
            ),
            (
                "a number in the text and no blank line between",
                "1\n00:00:01,000 --> 00:00:02,000\n42\n2\n00:00:03,000 --> 00:00:04,000\nx",
                "WEBVTT\n\n00:00:01.000 --> 00:00:02.000 \n42\n\n00:00:03.000 --> 00:00:04.000 \nx\n\n",
            ),
            (
                "an empty line in the text",
                "1\n00:00:01,000 --> 00:00:02,000\na\n\nb\n\n2\n00:00:03,000 --> 00:00:04,000\n\n",
                "WEBVTT\n\n00:00:01.000 --> 00:00:02.000 \na\nb\n\n",
            ),
            (
                "tags",
                "1\n00:00:01,000 --> 00:00:02,000 X1:1 X2:2\n<I>a</I> <font color=\"#ff0000\">b</font> 1 < 2 & 3 &amp; <3 > {x}\n",
                "WEBVTT\n\n00:00:01.000 --> 00:00:02.000 \n<i>a</i> b 1 &lt; 2 &amp; 3 &amp; &lt;3 &gt; {x}\n\n",
            ),
            (
                "places",
                "1\n0:00:01.5 --> 0:00:02.25\n{\\an8}top\n\n2\n00:03 --> 00:04\n{\\an1\\b1}left\n",
                "WEBVTT\n\n00:00:01.500 --> 00:00:02.250 line:0\ntop\n\n00:00:03.000 --> 00:00:04.000 align:start\nleft\n\n",
            ),
        ] {
            assert_eq!(read(input).map(|words| write(&words)).as_deref(), Ok(want), "{name}");
        }
    }

    #[test]
    fn tags_without_an_end_take_no_time() {
        for (opening, escaped) in [("<", "&lt;"), ("{", "{")] {
            let text = format!("1\n00:00:01,000 --> 00:00:02,000\n{}\n", opening.repeat(1 << 20));
            assert_eq!(read(&text).unwrap()[0].text, escaped.repeat(1 << 20));
        }
    }

    #[test]
    fn what_is_refused() {
        for (input, line, expected) in [
            ("WEBVTT\n\n00:01.000 --> 00:02.000\n", 1, TIMES),
            ("no subtitles", 1, TIMES),
            ("1\n00:00:01,000 --> never\nx\n", 2, TIMES),
            ("1\n00:61:01,000 --> 00:62:00,000\nx\n", 2, TIMES),
            ("\n\n1\n00:00:02,000 --> 00:00:01,000\nx\n", 4, "an end that is not before the start"),
        ] {
            let fault = read(input).unwrap_err();
            assert_eq!((fault.place, fault.expected), (Place::Line(line), expected), "{input}");
        }
    }
}
