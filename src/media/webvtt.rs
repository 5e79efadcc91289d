//! WebVTT files (W3C WebVTT), read and written in a normal form whose cues can be served from where they lie.

use std::fmt::Write;

use thiserror::Error;

use crate::base::limits::SUBTITLE_BYTES_MAX;

use super::fragment::Cue;

/// A subtitle file as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Normalised {
    /// The whole file: header, the comments, styles and regions before the first cue, cues by start time; lines end in LF.
    pub text: Vec<u8>,
    /// In the order of `text`, which is that of their start times.
    pub cues: Vec<Cue>,
}

/// Why a subtitle file is refused; one line that names the file and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error("{file}: found {found} bytes, expected a WebVTT file of at most {max}")]
    TooLarge { file: String, found: u64, max: u64 },
    #[error("{file}: found bytes that are not UTF-8 at byte {at}, expected WebVTT, which is UTF-8")]
    NotUtf8 { file: String, at: u64 },
    #[error("{file}: line 1: found \"{found}\", expected WEBVTT")]
    NotWebVtt { file: String, found: String },
    #[error("{file}: line {line}: found \"{found}\", expected {expected}")]
    BadCue { file: String, line: u32, found: String, expected: &'static str },
}

/// What every file in normal form begins with: styles and regions, which each segment repeats, follow it up to the first cue.
pub const SIGNATURE: &str = "WEBVTT\n\n";

/// Reads a file and writes it in normal form. `file` is its name for error messages.
///
/// `X-TIMESTAMP-MAP` is dropped: it ties cues to the clock of some transport stream, and a whole file is timed by itself.
pub fn normalise(file: &str, bytes: &[u8]) -> Result<Normalised, Error> {
    let file = || file.escape_debug().to_string();
    if bytes.len() as u64 > SUBTITLE_BYTES_MAX {
        return Err(Error::TooLarge { file: file(), found: bytes.len() as u64, max: SUBTITLE_BYTES_MAX });
    }
    let text =
        std::str::from_utf8(bytes).map_err(|error| Error::NotUtf8 { file: file(), at: error.valid_up_to() as u64 })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // W3C WebVTT §6.1: what a parser does to its input first.
    let text = text.replace('\0', "\u{fffd}").replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = Lines { text: &text, at: 0, number: 1 };
    let signature = lines.next().unwrap_or_default();
    if !signature.strip_prefix("WEBVTT").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return Err(Error::NotWebVtt { file: file(), found: excerpt(signature) });
    }
    // Text and lines of the header mean nothing to a player.
    while lines.next_if(|line| !line.is_empty() && !line.contains(ARROW)).is_some() {}
    let mut header = String::from(SIGNATURE);
    let mut cues = Vec::new();
    loop {
        while lines.next_if(str::is_empty).is_some() {}
        let number = lines.number;
        let bad = |found: &str, line, expected| Error::BadCue { file: file(), line, found: excerpt(found), expected };
        match Block::read(&mut lines).map_err(|(found, line, expected)| bad(found, line, expected))? {
            None => break,
            Some(Block::Cue(cue)) if cue.end < cue.start => {
                return Err(bad(cue.timing, cue.line, "an end that is not before the start"));
            }
            Some(Block::Cue(cue)) => cues.push(cue),
            // Styles and regions after the first cue have no effect (§6.1), so they must not be moved before it.
            Some(Block::Other(_)) if !cues.is_empty() => {}
            Some(Block::Other(text)) => {
                header.push_str(text);
                header.push_str("\n\n");
            }
            Some(Block::Unknown(text)) => {
                let first = text.lines().next().unwrap_or_default();
                return Err(bad(first, number, "a cue with a line such as 00:01.000 --> 00:04.000"));
            }
        }
    }
    // Stable: cues of one instant keep the order in which they were written, which is that of their layout.
    cues.sort_by_key(|cue| cue.start);
    Ok(write(header, &cues))
}

/// What a cue says besides when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said<'a> {
    pub identifier: Option<&'a str>,
    /// `align:start line:0`; empty for none.
    pub settings: &'a str,
    /// Cue text (§4.2.2) without empty lines; may be empty.
    pub text: &'a str,
}

/// Reads the block of one [`Cue`] of a file in normal form. `None` for anything else: zeros of a file that was cut, say.
pub fn said(block: &[u8]) -> Option<Said<'_>> {
    let mut lines = Lines { text: std::str::from_utf8(block).ok()?, at: 0, number: 1 };
    match Block::read(&mut lines) {
        Ok(Some(Block::Cue(ParsedCue { identifier, settings, text, .. }))) => Some(Said { identifier, settings, text }),
        _ => None,
    }
}

const ARROW: &str = "-->";

struct ParsedCue<'a> {
    /// Presentation times, in milliseconds.
    start: u64,
    end: u64,
    identifier: Option<&'a str>,
    settings: &'a str,
    /// Lines joined by LF; may be empty.
    text: &'a str,
    timing: &'a str,
    line: u32,
}

/// Lines up to an empty one.
enum Block<'a> {
    Cue(ParsedCue<'a>),
    /// `NOTE`, `STYLE` or `REGION`.
    Other(&'a str),
    Unknown(&'a str),
}

impl<'a> Block<'a> {
    /// `lines` is at a line that is not empty, or at the end. An error is what was found, its line, what was expected.
    fn read(lines: &mut Lines<'a>) -> Result<Option<Block<'a>>, (&'a str, u32, &'static str)> {
        let start = lines.at;
        let (mut line, Some(first)) = (lines.number, lines.next()) else { return Ok(None) };
        let keyword = |word| first.strip_prefix(word).is_some_and(|rest: &str| rest.trim().is_empty());
        let is_note = first.strip_prefix("NOTE").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        let mut identifier = None;
        let mut timing = first;
        // A comment cannot hold an arrow, so lines with one make a cue whatever stands before (§6.1) - but a comment
        // that breaks the rule within its first line is still best taken for one.
        if is_note && first.contains(ARROW) || !first.contains(ARROW) {
            line = lines.number;
            match lines.next_if(|line| line.contains(ARROW)) {
                Some(second) => (identifier, timing) = (Some(first), second),
                None => {
                    let text = lines.text_block(start);
                    let known = is_note || keyword("STYLE") || keyword("REGION");
                    return Ok(Some(if known { Block::Other(text) } else { Block::Unknown(text) }));
                }
            }
        }
        let (start, end, settings) = timings(timing).ok_or((
            timing,
            line,
            "a line such as 00:01.000 --> 00:04.000, hours before the minutes",
        ))?;
        let text = lines.text_block(lines.at);
        Ok(Some(Block::Cue(ParsedCue { start, end, identifier, settings, text, timing, line })))
    }
}

/// Start, end and settings of a timing line.
fn timings(line: &str) -> Option<(u64, u64, &str)> {
    let (start, rest) = line.split_once(ARROW)?;
    let rest = rest.trim_matches(BLANK);
    let (end, settings) = rest.split_once(BLANK).unwrap_or((rest, ""));
    Some((timestamp(start.trim_matches(BLANK))?, timestamp(end)?, settings.trim_matches(BLANK)))
}

const BLANK: [char; 3] = [' ', '\t', '\u{c}'];

/// `hh:mm:ss.ttt`, hours optional and as many digits as they need (§4.1), in milliseconds.
pub fn timestamp(text: &str) -> Option<u64> {
    let digits = |part: &str, len| (part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit())).then_some(());
    let (rest, millis) = text.rsplit_once('.')?;
    let (rest, seconds) = rest.rsplit_once(':')?;
    let (hours, minutes) = rest.rsplit_once(':').unwrap_or(("00", rest));
    digits(millis, 3)?;
    digits(seconds, 2)?;
    digits(minutes, 2)?;
    // Nine digits are a hundred thousand years.
    digits(hours, hours.len().clamp(1, 9))?;
    let number = |part: &str| part.parse::<u64>().ok();
    let (minutes, seconds) = (number(minutes)?, number(seconds)?);
    (minutes < 60 && seconds < 60).then_some(())?;
    Some(((number(hours)? * 60 + minutes) * 60 + seconds) * 1_000 + number(millis)?)
}

fn write(header: String, cues: &[ParsedCue<'_>]) -> Normalised {
    let mut text = header;
    let mut table = Vec::with_capacity(cues.len());
    let mut end_max = 0;
    for cue in cues {
        let offset = text.len();
        if let Some(identifier) = cue.identifier {
            text.push_str(identifier);
            text.push('\n');
        }
        write_timestamp(&mut text, cue.start);
        text.push_str(" --> ");
        write_timestamp(&mut text, cue.end);
        for setting in cue.settings.split(BLANK).filter(|setting| !setting.is_empty()) {
            text.push(' ');
            text.push_str(setting);
        }
        text.push('\n');
        if !cue.text.is_empty() {
            text.push_str(cue.text);
            text.push('\n');
        }
        text.push('\n');
        end_max = cue.end.max(end_max);
        // The file is at most a few times SUBTITLE_BYTES_MAX, far below 4 GiB.
        table.push(Cue {
            start: cue.start.into(),
            end: cue.end.into(),
            offset: (offset as u32).into(),
            size: ((text.len() - offset) as u32).into(),
            end_max: end_max.into(),
        });
    }
    Normalised { text: text.into_bytes(), cues: table }
}

/// `hh:mm:ss.ttt`.
pub fn write_timestamp(text: &mut String, millis: u64) {
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    // Writing to a String cannot fail.
    let _ = write!(text, "{:02}:{:02}:{seconds:02}.{millis:03}", minutes / 60, minutes % 60);
}

/// What was found, short enough for one line.
fn excerpt(line: &str) -> String {
    let mut short: String = line.chars().take(60).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short.escape_debug().to_string()
}

/// Lines that end in LF, with one line of lookahead.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    /// Of the next line, from 1.
    number: u32,
}

impl<'a> Lines<'a> {
    fn peek(&self) -> Option<&'a str> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        Some(rest.split_once('\n').map_or(rest, |(line, _)| line))
    }

    fn next(&mut self) -> Option<&'a str> {
        let line = self.peek()?;
        self.at = (self.at + line.len() + 1).min(self.text.len());
        self.number += 1;
        Some(line)
    }

    fn next_if(&mut self, wanted: impl FnOnce(&str) -> bool) -> Option<&'a str> {
        if wanted(self.peek()?) { self.next() } else { None }
    }

    /// From `start` through the lines before an empty one, or one with an arrow, which begins another cue (§6.1).
    fn text_block(&mut self, start: usize) -> &'a str {
        while self.next_if(|line| !line.is_empty() && !line.contains(ARROW)).is_some() {}
        self.text.get(start..self.at).unwrap_or_default().trim_end_matches('\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(text: &str) -> String {
        match normalise("s.vtt", text.as_bytes()) {
            Ok(normalised) => String::from_utf8(normalised.text).unwrap(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn files_come_out_in_normal_form() {
        for (name, input, want) in [
            ("nothing", "WEBVTT", "WEBVTT\n\n"),
            (
                "mark and CRLF",
                "\u{feff}WEBVTT\r\n\r\n00:01.000 --> 00:02.500\r\nHi\r\n",
                "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\nHi\n\n",
            ),
            ("CR", "WEBVTT\r\r00:01.000 --> 00:02.000\ra\rb\r\r", "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\na\nb\n\n"),
            (
                "header text",
                "WEBVTT - Deutsch\nKind: captions\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\n\n",
                "WEBVTT\n\n",
            ),
            (
                "blocks",
                "WEBVTT\n\nNOTE a\nb\n\nSTYLE\n::cue { color: red }\n\nREGION\nid:x\n\n1\n00:01.000 --> 00:02.000\na\n\nNOTE gone\n\nSTYLE\nlate\n",
                "WEBVTT\n\nNOTE a\nb\n\nSTYLE\n::cue { color: red }\n\nREGION\nid:x\n\n1\n00:00:01.000 --> 00:00:02.000\na\n\n",
            ),
            (
                "order and settings",
                "WEBVTT\n\nb\n00:00:05.000 -->\t100:00:00.001  line:0   align:start \nlater\n\n\n\n00:01.000-->00:06.000\nearlier\n",
                "WEBVTT\n\n00:00:01.000 --> 00:00:06.000\nearlier\n\nb\n00:00:05.000 --> 100:00:00.001 line:0 align:start\nlater\n\n",
            ),
            (
                "no text",
                "WEBVTT\n\n00:01.000 --> 00:02.000\n\n00:03.000 --> 00:04.000\nx",
                "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\n\n00:00:03.000 --> 00:00:04.000\nx\n\n",
            ),
            (
                "no empty line",
                "WEBVTT\n00:01.000 --> 00:02.000\nx\n00:03.000 --> 00:04.000\ny",
                "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nx\n\n00:00:03.000 --> 00:00:04.000\ny\n\n",
            ),
            ("NUL", "WEBVTT\n\n00:01.000 --> 00:02.000\na\0", "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\na\u{fffd}\n\n"),
            ("comment with an arrow", "WEBVTT\n\nNOTE a --> b\n\n", "WEBVTT\n\nNOTE a --> b\n\n"),
            ("empty", "", "s.vtt: line 1: found \"\", expected WEBVTT"),
            ("other", "1\n00:00:01,000 --> 00:00:02,000\nsrt", "s.vtt: line 1: found \"1\", expected WEBVTT"),
            ("almost", "WEBVTTX", "s.vtt: line 1: found \"WEBVTTX\", expected WEBVTT"),
            (
                "comma",
                "WEBVTT\n\n1\n00:00:01,000 --> 00:00:02,000\n",
                "s.vtt: line 4: found \"00:00:01,000 --> 00:00:02,000\", expected a line such as 00:01.000 --> 00:04.000, hours before the minutes",
            ),
            (
                "minutes",
                "WEBVTT\n\n00:60:01.000 --> 01:00:02.000\n",
                "s.vtt: line 3: found \"00:60:01.000 --> 01:00:02.000\", expected a line such as 00:01.000 --> 00:04.000, hours before the minutes",
            ),
            (
                "backwards",
                "WEBVTT\n\n00:02.000 --> 00:01.000\nx",
                "s.vtt: line 3: found \"00:02.000 --> 00:01.000\", expected an end that is not before the start",
            ),
            (
                "debris",
                "WEBVTT\n\n00:02.000 --> 00:03.000\nx\n\nlost\ntext\n",
                "s.vtt: line 6: found \"lost\", expected a cue with a line such as 00:01.000 --> 00:04.000",
            ),
        ] {
            assert_eq!(normal(input), want, "{name}");
        }
    }

    #[test]
    fn input_is_bounded_and_utf8() {
        let error = normalise("s.vtt", b"\xef\xbb\xbfWEBVTT \xff").unwrap_err();
        assert_eq!(
            error.to_string(),
            "s.vtt: found bytes that are not UTF-8 at byte 10, expected WebVTT, which is UTF-8"
        );
        let large = vec![b'\n'; SUBTITLE_BYTES_MAX as usize + 1];
        let error = normalise("s.vtt", &large).unwrap_err();
        assert_eq!(error.to_string(), "s.vtt: found 16777217 bytes, expected a WebVTT file of at most 16777216");
    }

    #[test]
    fn blocks_say_what_they_say() {
        let said = |block: &[u8]| {
            super::said(block)
                .map(|said| (said.identifier.unwrap_or("-").to_owned(), said.settings.to_owned(), said.text.to_owned()))
        };
        for (block, want) in [
            (&b"00:00:01.000 --> 00:00:02.000\na\nb\n\n"[..], Some(("-", "", "a\nb"))),
            (b"id 1\n00:00:01.000 --> 00:00:02.000 line:0 align:start\n\n", Some(("id 1", "line:0 align:start", ""))),
            (b"NOTE a\n\n", None),
            (&[0; 40], None),
            (b"\xff", None),
            (b"", None),
        ] {
            let want =
                want.map(|(identifier, settings, text)| (identifier.to_owned(), settings.to_owned(), text.to_owned()));
            assert_eq!(said(block), want, "{}", block.escape_ascii());
        }
    }

    #[test]
    fn timestamps_are_strict() {
        for (text, want) in [
            ("00:00.000", Some(0)),
            ("59:59.999", Some(3_599_999)),
            ("1:00:00.000", Some(3_600_000)),
            ("999999999:00:00.000", Some(3_599_999_996_400_000)),
            ("9999999999:00:00.000", None),
            (":00:00.000", None),
            ("0:00.000", None),
            ("00:00.00", None),
            ("00:00:00:00.000", None),
            ("+1:00.000", None),
            ("00:60.000", None),
            ("", None),
        ] {
            assert_eq!(timestamp(text), want, "{text}");
        }
    }

    fn check(normalised: &Normalised) {
        let (mut before, mut end_max, mut offset) = (0, 0, None);
        for cue in &normalised.cues {
            let (start, end) = (cue.start.get(), cue.end.get());
            let range = cue.offset.get() as usize..(cue.offset.get() + cue.size.get()) as usize;
            assert!(start >= before && end >= start);
            before = start;
            end_max = end.max(end_max);
            assert_eq!(cue.end_max.get(), end_max);
            assert_eq!(*offset.get_or_insert(range.start), range.start, "cues follow each other");
            offset = Some(range.end);
            let block = std::str::from_utf8(&normalised.text[range]).unwrap();
            assert!(block.contains(ARROW) && block.ends_with("\n\n"), "{block:?}");
            // A segment is a header and blocks: each must stand on its own.
            let alone = normalise("cue", format!("WEBVTT\n\n{block}").as_bytes()).unwrap();
            assert_eq!((alone.cues.len(), alone.cues[0].start.get(), alone.cues[0].end.get()), (1, start, end));
            let said = said(block.as_bytes()).unwrap();
            let identifier = said.identifier.map(|identifier| format!("{identifier}\n")).unwrap_or_default();
            let (mut timing, gap) = (String::new(), if said.settings.is_empty() { "" } else { " " });
            write_timestamp(&mut timing, start);
            timing.push_str(" --> ");
            write_timestamp(&mut timing, end);
            let text = if said.text.is_empty() { String::new() } else { format!("{}\n", said.text) };
            assert_eq!(format!("{identifier}{timing}{gap}{}\n{text}\n", said.settings), block);
        }
        assert_eq!(offset.unwrap_or(normalised.text.len()), normalised.text.len());
        assert_eq!(normalise("again", &normalised.text).as_ref(), Ok(normalised));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_normalised(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = said(&bytes);
            let _ = normalise("s.vtt", &bytes);
        }

        #[test]
        fn what_is_accepted_is_in_normal_form(
            blocks in prop::collection::vec(
                prop_oneof![
                    6 => "([a-z0-9 é]{1,8}\n)?[0-9]?[0-9]:[0-5][0-9]:[0-5][0-9]\\.[0-9]{3}[ \t]{0,2}-->[ \t]{0,2}[1-9][0-9]{2}:[0-5][0-9]:00\\.[0-9]{3}( [a-z:%0-9 \t]{0,9})?(\n[a-zA-Z<>/& \u{0}\u{c}é]{1,9}){0,3}",
                    1 => "(NOTE|STYLE|REGION)(\n[a-z{}:>-]{1,6}){0,2}",
                    1 => "(NOTE [a-z>-]{0,6}|)",
                ],
                0..12,
            ),
            end in "(\n|\r\n|\r)",
            gap in "\n{1,3}",
        ) {
            let text = format!("WEBVTT\n\n{}\n", blocks.join(&format!("\n{gap}"))).replace('\n', &end);
            let normalised = normalise("s.vtt", text.as_bytes());
            if !text.contains("NOTE") && !text.contains("STYLE") && !text.contains("REGION") {
                let cues = blocks.iter().filter(|block| block.contains(ARROW)).count();
                prop_assert_eq!(normalised.as_ref().map(|normalised| normalised.cues.len()), Ok(cues));
            }
            if let Ok(normalised) = normalised {
                check(&normalised);
            }
        }

        #[test]
        fn cues_are_sorted(times in prop::collection::vec((0_u64..90, 0_u64..90, "[a-z ]{1,4}(\n[a-z]{1,4})?"), 0..30)) {
            let mut text = String::from("WEBVTT\n\n");
            for (start, length, words) in &times {
                let end = start + length;
                write!(text, "{:02}:{:02}.000 --> {:02}:{:02}.000\n{words}\n\n", start / 60, start % 60, end / 60, end % 60).unwrap();
            }
            let normalised = normalise("s.vtt", text.as_bytes()).unwrap();
            prop_assert_eq!(normalised.cues.len(), times.len());
            check(&normalised);
        }
    }
}
