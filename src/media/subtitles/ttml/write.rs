//! Cues of WebVTT as a TTML document (IMSC 1.1 Text Profile), for players that know no WebVTT.
//!
//! What is kept is what [`super::read`] reads: words, lines, bold, italics, underline, WebVTT's colours, languages, and whether a
//! cue stands at the top, in the middle or at the bottom, and to which side.

use crate::base::limits::SEGMENT_TEXT_BYTES_MAX;
use crate::base::xml::escaped;
use crate::media::webvtt::{Said, write_timestamp};

/// A cue within the document, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    pub start: u64,
    pub end: u64,
    pub said: Said<'a>,
}

const HEAD: &str = concat!(
    "<head><styling><style xml:id=\"s\" tts:fontFamily=\"proportionalSansSerif\" tts:fontSize=\"100%\" tts:color=\"white\" ",
    "tts:textAlign=\"center\"/></styling><layout>",
    "<region xml:id=\"top\" tts:origin=\"10% 5%\" tts:extent=\"80% 90%\" tts:displayAlign=\"before\"/>",
    "<region xml:id=\"middle\" tts:origin=\"10% 5%\" tts:extent=\"80% 90%\" tts:displayAlign=\"center\"/>",
    "<region xml:id=\"bottom\" tts:origin=\"10% 5%\" tts:extent=\"80% 90%\" tts:displayAlign=\"after\"/>",
    "</layout></head>"
);

/// `language` is a tag of BCP 47, or `und`. Cues with which the document would become larger than [`SEGMENT_TEXT_BYTES_MAX`] are
/// left out: markup is up to ten times as long here.
pub fn document<'a>(language: &str, lines: impl Iterator<Item = Line<'a>>) -> String {
    let language = if language == "und" { "" } else { language };
    let mut out = String::with_capacity(1_024);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<tt xmlns=\"http://www.w3.org/ns/ttml\" ");
    out.push_str("xmlns:tts=\"http://www.w3.org/ns/ttml#styling\" xmlns:ttp=\"http://www.w3.org/ns/ttml#parameter\" ");
    out.push_str("ttp:profile=\"http://www.w3.org/ns/ttml/profile/imsc1.1/text\" xml:space=\"preserve\" xml:lang=\"");
    out.push_str(&escaped(language));
    out.push_str("\">\n");
    out.push_str(HEAD);
    out.push_str("\n<body style=\"s\"><div>");
    for line in lines {
        let at = out.len();
        if push_line(&mut out, &line).is_none() {
            out.truncate(at);
        }
    }
    out.push_str("</div></body>\n</tt>\n");
    out
}

/// `None`: too much, of which some is written.
fn push_line(out: &mut String, line: &Line<'_>) -> Option<()> {
    if out.len() + line.said.text.len() > SEGMENT_TEXT_BYTES_MAX {
        return None;
    }
    out.push_str("\n<p begin=\"");
    write_timestamp(out, line.start);
    out.push_str("\" end=\"");
    write_timestamp(out, line.end);
    let setting =
        |name: &str| line.said.settings.split(' ').find_map(|setting| setting.strip_prefix(name)?.strip_prefix(':'));
    out.extend(["\" region=\"", setting("line").map_or("bottom", region)]);
    if let Some(align) = setting("align").filter(|align| ["start", "end", "left", "right"].contains(align)) {
        out.extend(["\" tts:textAlign=\"", align]);
    }
    out.push_str("\">");
    push_text(out, line.said.text)?;
    out.push_str("</p>");
    (out.len() <= SEGMENT_TEXT_BYTES_MAX).then_some(())
}

/// `line:0`, `line:-1`, `line:84.5%,end` (WebVTT §4.4): numbers count lines, from the bottom where they are negative.
fn region(line: &str) -> &'static str {
    const LINES: f64 = 15.0;
    let place = line.split(',').next().unwrap_or_default();
    let share = match place.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().ok(),
        // About 15 lines are a picture's height; -1 is the last one.
        None => place.parse::<f64>().ok().map(|line| (if line < 0.0 { LINES + line } else { line }) * 100.0 / LINES),
    };
    match share {
        Some(share) if share < 34.0 => "top",
        Some(share) if share < 67.0 => "middle",
        _ => "bottom",
    }
}

/// Tags that are open at once; more are left out.
const DEPTH_MAX: usize = 16;

/// Cue text (WebVTT §6.4) as the content of `p`: always well-formed. `None`: too much, of which some is written.
fn push_text(out: &mut String, text: &str) -> Option<()> {
    let (mut open, mut rest): (Vec<&str>, &str) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        if out.len() > SEGMENT_TEXT_BYTES_MAX {
            return None;
        }
        match first {
            '<' => {
                // One that does not end takes all the rest.
                let (tag, behind) = rest[1..].split_once('>').unwrap_or((&rest[1..], ""));
                push_tag(out, tag, &mut open);
                rest = behind;
            }
            '&' => {
                let (character, len) = reference(rest).unwrap_or(('&', 1));
                out.push_str(&escaped(character.encode_utf8(&mut [0; 4])));
                rest = &rest[len..];
            }
            '\n' => {
                out.push_str("<br/>");
                rest = &rest[1..];
            }
            _ => {
                let end = rest.find(['<', '&', '\n']).unwrap_or(rest.len());
                out.push_str(&escaped(&rest[..end]));
                rest = &rest[end..];
            }
        }
    }
    open.iter().for_each(|_| out.push_str("</span>"));
    Some(())
}

fn push_tag<'a>(out: &mut String, tag: &'a str, open: &mut Vec<&'a str>) {
    if let Some(closed) = tag.strip_prefix('/') {
        // What was opened within it ends with it; an end without a beginning means nothing.
        if let Some(at) = open.iter().rposition(|name| *name == closed) {
            open.drain(at..).for_each(|_| out.push_str("</span>"));
        }
        return;
    }
    let (name, annotation) = tag.split_once([' ', '\t', '\n']).unwrap_or((tag, ""));
    let (name, classes) = name.split_once('.').unwrap_or((name, ""));
    if open.len() == DEPTH_MAX || !["b", "i", "u", "c", "v", "lang", "ruby", "rt"].contains(&name) {
        return;
    }
    open.push(name);
    out.push_str("<span");
    match name {
        "b" => out.push_str(" tts:fontWeight=\"bold\""),
        "i" => out.push_str(" tts:fontStyle=\"italic\""),
        "u" => out.push_str(" tts:textDecoration=\"underline\""),
        "lang" => out.extend([" xml:lang=\"", &escaped(annotation.trim()), "\""]),
        _ => {}
    }
    for (attribute, prefix) in [("color", ""), ("backgroundColor", "bg_")] {
        let is_colour = |colour: &&str| COLOURS.contains(colour);
        let said = classes.split('.').filter_map(|class| class.strip_prefix(prefix)).rfind(is_colour);
        if let Some(colour) = said {
            out.extend([" tts:", attribute, "=\"", colour, "\""]);
        }
    }
    out.push('>');
}

/// WebVTT §5.1; TTML (§8.3.12) calls them the same.
const COLOURS: [&str; 8] = ["white", "lime", "cyan", "red", "yellow", "magenta", "blue", "black"];

/// The character that a reference at the beginning stands for, and how many bytes it is long.
fn reference(text: &str) -> Option<(char, usize)> {
    const REFERENCE_BYTES_MAX: usize = 10;
    let end = text.bytes().take(REFERENCE_BYTES_MAX).position(|byte| byte == b';')?;
    let name = text.get(1..end)?;
    let character = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        "lrm" => '\u{200e}',
        "rlm" => '\u{200f}',
        _ => {
            let digits = name.strip_prefix('#')?;
            let value = match digits.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(value)?
        }
    };
    Some((character, end + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> String {
        let mut out = String::new();
        push_text(&mut out, text).unwrap();
        out
    }

    /// As many as can be in a segment, of what becomes longest: what does not fit is left out whole, and what does is said.
    #[test]
    fn a_document_is_bounded() {
        let (long, short) = ("<b>".repeat(4_000), "<i>x</i>'".to_owned());
        let huge = "&#39;".repeat(SEGMENT_TEXT_BYTES_MAX);
        let texts: Vec<&str> =
            [huge.as_str()].into_iter().chain([long.as_str(), &short].into_iter().cycle().take(4_095)).collect();
        let lines = (0..).zip(&texts).map(|(at, text)| Line {
            start: at,
            end: at + 1,
            said: Said { identifier: None, settings: "", text },
        });
        let document = document("en", lines);
        assert!(document.len() < SEGMENT_TEXT_BYTES_MAX + 1_000, "{}", document.len());
        let read = super::super::read(&document).unwrap();
        assert!(read.words.len() > 100, "{}", read.words.len());
    }

    #[test]
    fn cue_text_becomes_content() {
        for (cue, want) in [
            ("a &amp; b\n<i>c</i>", "a &amp; b<br/><span tts:fontStyle=\"italic\">c</span>"),
            (
                "<c.yellow.bg_black><b>x</c>y",
                "<span tts:color=\"yellow\" tts:backgroundColor=\"black\"><span tts:fontWeight=\"bold\">x</span></span>y",
            ),
            ("<v.loud Mary Ann>Hi <00:00:01.000>there", "<span>Hi there</span>"),
            ("<lang en-GB>cor</lang></b>", "<span xml:lang=\"en-GB\">cor</span>"),
            ("AT&T &nope; &#65;&#x1F3AC;&nbsp;&#0;&#xD800;", "AT&amp;T &amp;nope; A🎬\u{a0}\u{fffd}&amp;#xD800;"),
            ("a < b", "a "),
            ("\u{1}'\"", "\u{fffd}&apos;&quot;"),
        ] {
            assert_eq!(text(cue), want, "{cue}");
        }
    }

    #[test]
    fn places() {
        for (line, want) in [
            ("0", "top"),
            ("-1", "bottom"),
            ("-4", "bottom"),
            ("-5", "middle"),
            ("-9", "middle"),
            ("-10", "top"),
            ("-15", "top"),
            ("-99,end", "top"),
            ("7", "middle"),
            ("14", "bottom"),
            ("5%,start", "top"),
            ("50%", "middle"),
            ("90.5%,end", "bottom"),
            ("x", "bottom"),
        ] {
            assert_eq!(region(line), want, "{line}");
        }
    }

    proptest! {
        /// Whatever cues say, the document is read, with the words and times that went in.
        #[test]
        fn documents_are_read(cues in prop::collection::vec((0_u64..90_000, 1_u64..9_000, "([a-z]{1,5}|<[/a-z.]{0,7}>|<|&[a-z#0-9]{0,4};|&|\n[a-z]|\\PC){0,9}", "(line:[0-9]%|align:end|[ -~]{0,9})"), 0..6)) {
            let line = |(start, length, text, settings): &(u64, u64, String, String)| -> (u64, u64, String, String) {
                (*start, start + length, text.clone(), settings.clone())
            };
            let lines: Vec<_> = cues.iter().map(line).collect();
            let said = lines.iter().map(|(start, end, text, settings)| Line {
                start: *start,
                end: *end,
                said: Said { identifier: None, settings, text },
            });
            let document = document("en", said);
            let read = super::super::read(&document).map_err(|fault| TestCaseError::fail(format!("{fault:?}\n{document}")))?;
            prop_assert_eq!(read.language.as_deref(), Some("en"));
            for words in &read.words {
                prop_assert!(lines.iter().any(|(start, end, ..)| (words.start, words.end) == (*start, *end)), "{document}");
            }
            for (start, end, text, _) in &lines {
                let is_plain = text.bytes().any(|byte| byte.is_ascii_lowercase()) && !text.contains(['<', '&']);
                prop_assert!(!is_plain || read.words.iter().any(|words| (words.start, words.end) == (*start, *end)), "{document}");
            }
        }
    }
}
