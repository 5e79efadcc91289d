//! Subtitles of every kind that is taken in, as WebVTT: the one form in which they are stored.
//!
//! What WebVTT can say is kept: words, lines, italics, bold, underline, the eight colours it has classes for, and whether a
//! cue stands at the top or the bottom and to which side. Fonts, sizes, outlines and animation are not.

mod sample;
mod srt;
mod ttml;

use std::borrow::Cow;

use thiserror::Error;

use crate::base::limits::SUBTITLE_BYTES_MAX;

use super::webvtt::{self, Normalised};

pub use sample::{Coding, Samples};
pub use srt::cue_text as subrip_text;
pub use ttml::write::{Line, document as ttml_document};

/// What a subtitle file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    WebVtt,
    /// SubRip, `.srt`.
    SubRip,
    /// TTML2 and its profiles IMSC and EBU-TT-D, of text.
    Ttml,
}

/// Subtitles in normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subtitles {
    pub normalised: Normalised,
    /// BCP 47, if they say.
    pub language: Option<String>,
}

/// Why subtitles are refused; one line that names the file and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error(transparent)]
    WebVtt(#[from] webvtt::Error),
    #[error("{file}: found {found} bytes, expected subtitles of at most {SUBTITLE_BYTES_MAX}")]
    TooLarge { file: String, found: u64 },
    #[error(
        "{file}: found bytes that are neither UTF-8 nor UTF-16 with a byte order mark at byte {at}, expected {expected}"
    )]
    Encoding { file: String, at: u64, expected: &'static str },
    #[error("{file}: {place}: found {found}, expected {expected}")]
    Content { file: String, place: Place, found: String, expected: &'static str },
}

/// Where in the subtitles something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Line(u32),
    Byte(u64),
    /// Of a track, from 1.
    Sample(u32),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Line(line) => write!(f, "line {line}"),
            Place::Byte(at) => write!(f, "byte {at}"),
            Place::Sample(number) => write!(f, "sample {number}"),
        }
    }
}

/// What was found that should not be there, before anybody says in which file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    place: Place,
    found: String,
    expected: &'static str,
}

impl Fault {
    fn new(place: Place, found: &str, expected: &'static str) -> Fault {
        Fault { place, found: excerpt(found), expected }
    }

    fn of(self, file: &str) -> Error {
        let Fault { place, found, expected } = self;
        Error::Content { file: file.escape_debug().to_string(), place, found, expected }
    }
}

/// Words that are shown for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Words {
    /// Milliseconds.
    start: u64,
    end: u64,
    /// Of WebVTT §3.4.
    settings: String,
    /// WebVTT cue text: escaped, lines joined by LF, none of them empty.
    text: String,
}

/// Reads a whole file. `file` is its name for messages.
pub fn read(file: &str, bytes: &[u8], format: Format) -> Result<Subtitles, Error> {
    if bytes.len() as u64 > SUBTITLE_BYTES_MAX {
        return Err(Error::TooLarge { file: file.escape_debug().to_string(), found: bytes.len() as u64 });
    }
    let (words, language) = match format {
        Format::WebVtt => return Ok(Subtitles { normalised: webvtt::normalise(file, bytes)?, language: None }),
        Format::SubRip => {
            let text = decode(file, bytes, "SubRip subtitles")?;
            (srt::read(&text).map_err(|fault| fault.of(file))?, None)
        }
        Format::Ttml => {
            let document = ttml::read(&decode(file, bytes, "TTML")?).map_err(|fault| fault.of(file))?;
            (document.words, document.language)
        }
    };
    Ok(Subtitles { normalised: normalise(file, &words)?, language })
}

fn normalise(file: &str, words: &[Words]) -> Result<Normalised, webvtt::Error> {
    webvtt::normalise(file, write(words).as_bytes())
}

fn write(words: &[Words]) -> String {
    let mut text = String::from(webvtt::SIGNATURE);
    for cue in words {
        webvtt::write_timestamp(&mut text, cue.start);
        text.push_str(" --> ");
        webvtt::write_timestamp(&mut text, cue.end);
        for part in [" ", &cue.settings, "\n", &cue.text, "\n\n"] {
            text.push_str(part);
        }
    }
    text
}

/// Text of a file in UTF-8, or in UTF-16 with a byte order mark; without the mark, lines ending in LF.
fn decode<'a>(file: &str, bytes: &'a [u8], expected: &'static str) -> Result<Cow<'a, str>, Error> {
    let wrong = |at: usize| Error::Encoding { file: file.escape_debug().to_string(), at: at as u64, expected };
    let wide = |rest: &[u8], unit: fn([u8; 2]) -> u16| -> Result<Cow<'a, str>, Error> {
        let units = rest.chunks(2).map(|pair| unit([pair[0], pair.get(1).copied().unwrap_or(0)]));
        let mut text = String::with_capacity(rest.len() / 2);
        for (number, read) in char::decode_utf16(units).enumerate() {
            text.push(read.map_err(|_| wrong(2 + 2 * number))?);
        }
        Ok(Cow::Owned(text))
    };
    let text: Cow<'a, str> = match bytes {
        [0xFF, 0xFE, rest @ ..] => wide(rest, u16::from_le_bytes)?,
        [0xFE, 0xFF, rest @ ..] => wide(rest, u16::from_be_bytes)?,
        bytes => std::str::from_utf8(bytes).map_err(|error| wrong(error.valid_up_to()))?.into(),
    };
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => Cow::Owned(rest.to_owned()),
        None => text,
    };
    Ok(if text.contains(['\r', '\0']) {
        Cow::Owned(text.replace('\0', "\u{fffd}").replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        text
    })
}

/// Appends words as WebVTT cue text (§3.4: no `-->`, and what begins tags and references is escaped).
fn push_escaped(out: &mut String, words: &str) {
    for character in words.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            other => out.push(other),
        }
    }
}

/// Lines without blanks at their ends and without empty ones between: an empty line ends a cue.
fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

/// What was found, short enough for one line.
fn excerpt(found: &str) -> String {
    let mut short: String = found.chars().take(60).collect();
    if short.len() < found.len() {
        short.push('…');
    }
    short.escape_debug().to_string()
}

/// How words are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Face {
    bold: bool,
    italic: bool,
    underline: bool,
    /// One of [`COLOURS`].
    colour: Option<&'static str>,
}

/// The colours that WebVTT has classes for (§5.1), by their red, green and blue. White is how text is shown anyway.
const COLOURS: [(&str, u32); 7] = [
    ("lime", 0x00_FF00),
    ("cyan", 0x00_FFFF),
    ("red", 0xFF_0000),
    ("yellow", 0xFF_FF00),
    ("magenta", 0xFF_00FF),
    ("blue", 0x00_00FF),
    ("black", 0x00_0000),
];

fn colour_of(rgb: u32) -> Option<&'static str> {
    COLOURS.iter().find(|(_, value)| *value == rgb & 0xFF_FFFF).map(|(name, _)| *name)
}

impl Face {
    /// Words in this face, in WebVTT's tags.
    fn push(self, out: &mut String, words: &str) {
        if words.trim().is_empty() {
            out.push_str(words);
            return;
        }
        let tags = [(self.bold, "b"), (self.italic, "i"), (self.underline, "u")];
        if let Some(colour) = self.colour {
            out.push_str("<c.");
            out.push_str(colour);
            out.push('>');
        }
        for (_, tag) in tags.iter().filter(|(is_set, _)| *is_set) {
            out.extend(["<", tag, ">"]);
        }
        push_escaped(out, words);
        for (_, tag) in tags.iter().rev().filter(|(is_set, _)| *is_set) {
            out.extend(["</", tag, ">"]);
        }
        if self.colour.is_some() {
            out.push_str("</c>");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encodings() {
        let wide = |text: &str, unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(unit).collect()
        };
        let srt = "1\r\n00:00:01,000 --> 00:00:02,000\r\nGrüße 🎬\r\n";
        let want = "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nGrüße 🎬\n\n";
        for bytes in [
            srt.as_bytes().to_vec(),
            ["\u{feff}".as_bytes(), srt.as_bytes()].concat(),
            wide(srt, u16::to_le_bytes),
            wide(srt, u16::to_be_bytes),
        ] {
            let read = read("s.srt", &bytes, Format::SubRip).unwrap();
            assert_eq!(String::from_utf8(read.normalised.text).unwrap(), want);
        }
        let latin = b"1\n00:00:01,000 --> 00:00:02,000\nGr\xfc\xdfe\n";
        let error = read("s.srt", latin, Format::SubRip).unwrap_err().to_string();
        assert!(error.contains("at byte 34, expected SubRip subtitles"), "{error}");
        let error = read("s.srt", &[0xFF, 0xFE, 0x00, 0xD8], Format::SubRip).unwrap_err().to_string();
        assert!(error.contains("at byte 2,"), "{error}");
    }

    #[test]
    fn faces() {
        for (face, want) in [
            (Face::default(), "a &lt; b"),
            (Face { italic: true, bold: true, ..Face::default() }, "<b><i>a &lt; b</i></b>"),
            (Face { underline: true, colour: colour_of(0xFFFF00), ..Face::default() }, "<c.yellow><u>a &lt; b</u></c>"),
            (Face { colour: colour_of(0x123456), ..Face::default() }, "a &lt; b"),
        ] {
            let mut out = String::new();
            face.push(&mut out, "a < b");
            assert_eq!(out, want);
        }
    }

    /// Files that are made to cost more than they weigh.
    #[test]
    fn hostile_files_are_read_or_refused() {
        let document = |head: &str, body: &str| {
            format!("{head}<tt xmlns=\"http://www.w3.org/ns/ttml\"><body><div>{body}</div></body></tt>")
        };
        let times = "00:00:01,000 --> 00:00:02,000\n";
        let entities: String =
            (0..10).map(|level| format!("<!ENTITY e{} \"&e{level};&e{level};\">", level + 1)).collect();
        let spans = "<span begin=\"1ms\" end=\"2ms\">a</span><span begin=\"3ms\"/>".repeat(450);
        let styles: String = (0..20_000).map(|id| format!("s{id} ")).collect();
        for (name, format, text, want) in [
            (
                "entities",
                Format::Ttml,
                document(&format!("<!DOCTYPE tt [{entities}]>"), "<p>&e9;</p>"),
                Err("found e9"),
            ),
            (
                "an outside entity",
                Format::Ttml,
                document("<!DOCTYPE tt [<!ENTITY f SYSTEM \"file:///etc/passwd\">]>", "<p>&f;</p>"),
                Err("found f"),
            ),
            ("depth", Format::Ttml, document("", &"<div>".repeat(100_000)), Err("at most 64")),
            (
                "attributes",
                Format::Ttml,
                document("", &format!("<p end=\"1s\" {}>a</p>", "a=\"\" ".repeat(100_000))),
                Ok(1),
            ),
            (
                "styles",
                Format::Ttml,
                document("", &format!("<p end=\"1s\" style=\"{styles}\">a</p>").repeat(20)),
                Ok(20),
            ),
            ("changes", Format::Ttml, document("", &format!("<p end=\"9s\">{spans}</p>").repeat(20)), Ok(20)),
            ("late", Format::Ttml, document("", "<p begin=\"100000h\" end=\"999999999h\">a</p>"), Err("999999999h")),
            ("open tags", Format::SubRip, format!("1\n{times}{}", "<i".repeat(500_000)), Ok(1)),
            ("open braces", Format::SubRip, format!("1\n{times}{}", "{\\".repeat(500_000)), Ok(1)),
            ("ampersands", Format::SubRip, format!("1\n{times}{}", "&".repeat(500_000)), Ok(1)),
            ("arrows", Format::SubRip, format!("1\n{times}{}", "-->\n".repeat(500_000)), Err("line 3")),
            ("a line", Format::SubRip, "x".repeat(5_000_000), Err("…")),
            ("late", Format::SubRip, "9999999:00:00,000 --> 9999999:00:01,000\na".to_owned(), Err("line 1")),
            ("late", Format::WebVtt, "WEBVTT\n\n00:00.000 --> 999999999:00:00.000\na".to_owned(), Ok(1)),
            ("later", Format::WebVtt, "WEBVTT\n\n00:00.000 --> 9999999999:00:00.000\na".to_owned(), Err("line 3")),
            ("a header", Format::WebVtt, format!("WEBVTT\n\nSTYLE\n{}", "a\n".repeat(500_000)), Ok(0)),
        ] {
            let read = read("f", text.as_bytes(), format).map(|read| read.normalised.cues.len());
            match (read, want) {
                (Ok(found), Ok(want)) => assert_eq!(found, want, "{name}"),
                (Err(error), Err(want)) => {
                    let error = error.to_string();
                    assert!(error.contains(want) && error.len() < 300, "{name}: {error}");
                }
                (read, want) => panic!("{name}: {read:?}, expected {want:?}"),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn anything_may_come(text in "\\PC{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for format in [Format::WebVtt, Format::SubRip, Format::Ttml] {
                let _ = read("f", text.as_bytes(), format);
                let _ = read("f", &bytes, format);
            }
        }

        /// Pieces of subtitles in any order: what comes out is WebVTT.
        #[test]
        fn what_comes_out_is_webvtt(
            pieces in proptest::collection::vec(prop_oneof![
                Just("1\n"), Just("\n"), Just("00:00:01,000 --> 00:00:02,000\n"), Just("-->"), Just("<i>"), Just("</b>"), Just("{\\an8}"),
                Just("words & more\n"), Just("<tt xmlns='http://www.w3.org/ns/ttml'>"), Just("<body>"), Just("<p begin='1s' end='2s'>"),
                Just("<span begin='0.5s'>"), Just("</span>"), Just("</p>"), Just("</body>"), Just("</tt>"), Just("<br/>"), Just("&#10;&#10;"),
            ], 0..30)
        ) {
            let text = pieces.concat();
            for format in [Format::SubRip, Format::Ttml] {
                if let Ok(read) = read("f", text.as_bytes(), format) {
                    let again = webvtt::normalise("f", &read.normalised.text).unwrap();
                    prop_assert_eq!(again, read.normalised);
                }
            }
        }
    }
}
