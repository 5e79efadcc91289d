//! TTML2 (W3C) with text, as its profiles IMSC 1 and EBU-TT-D and the older DFXP use it.

mod style;
mod time;
pub mod write;

use std::collections::HashMap;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::base::limits::SUBTITLE_BYTES_MAX;
use crate::media::isobmff::language;

use super::{Face, Fault, Place, Words, tidy};

use style::Style;
use time::Clock;

/// A document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    pub words: Vec<Words>,
    /// BCP 47, of the whole.
    pub language: Option<String>,
}

/// Elements in each other, and `span`s and line breaks of one paragraph.
const DEPTH_MAX: usize = 64;
const RUNS_MAX: usize = 1_000;
/// What has no end, and nothing behind it that has one, is shown so long, in milliseconds.
const ENDLESS_MILLIS: u64 = 5_000;

/// When something is shown: milliseconds, and no end if none is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Interval {
    start: u64,
    end: Option<u64>,
}

impl Interval {
    fn holds(self, at: u64) -> bool {
        self.start <= at && self.end.is_none_or(|end| at < end)
    }
}

/// What an element hands down to those in it.
#[derive(Clone, Debug, Default)]
struct Level {
    kind: Kind,
    interval: Interval,
    /// With `timeContainer="seq"` each child begins where the one before it ended: there.
    next: Option<u64>,
    style: Style,
    preserves_space: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// The document, its body and its divisions.
    #[default]
    Block,
    Region,
    Paragraph,
    Span,
    /// Nothing in it is shown.
    Hidden,
}

/// Text of a paragraph that is shown and written alike.
struct Run {
    interval: Interval,
    face: Face,
    text: String,
}

#[derive(Default)]
struct Parser {
    clock: Clock,
    styles: HashMap<String, Style>,
    regions: HashMap<String, Style>,
    region: Option<String>,
    levels: Vec<Level>,
    runs: Vec<Run>,
    /// Without an end if they have none.
    words: Vec<(Interval, Words)>,
    /// Of what was written, in bytes.
    written: usize,
    language: Option<String>,
}

pub fn read(text: &str) -> Result<Document, Fault> {
    let mut reader = Reader::from_str(text);
    let mut parser = Parser::default();
    let mut is_document = false;
    loop {
        let place = Place::Byte(reader.buffer_position());
        let event = reader.read_event().map_err(|error| Fault::new(place, &error.to_string(), "XML"))?;
        let (element, is_empty) = match &event {
            Event::Start(element) => (element, false),
            Event::Empty(element) => (element, true),
            Event::End(_) => {
                parser.close(place)?;
                continue;
            }
            Event::Text(text) => {
                parser.text(&text.xml10_content(), place)?;
                continue;
            }
            Event::CData(text) => {
                parser.text(&text.xml10_content(), place)?;
                continue;
            }
            Event::GeneralRef(reference) => {
                let resolved = reference.resolve_char_ref().ok().flatten().map(String::from);
                let name: &str = reference;
                let resolved = resolved.or_else(|| quick_xml::escape::resolve_xml_entity(name).map(str::to_owned));
                let text = resolved.ok_or_else(|| Fault::new(place, name, "a reference that XML defines"))?;
                parser.text(&text, place)?;
                continue;
            }
            Event::Eof if !is_document => return Err(Fault::new(place, "nothing", "an element tt")),
            Event::Eof if !parser.levels.is_empty() => {
                return Err(Fault::new(place, "the end", "the end of every element"));
            }
            Event::Eof => return Ok(parser.finish()),
            _ => continue,
        };
        if !is_document {
            let name = element.local_name();
            if name.as_ref() != "tt" {
                return Err(Fault::new(place, name.as_ref(), "an element tt"));
            }
            is_document = true;
            parser.clock = Clock::read(|name| attribute(element, name))
                .map_err(|found| Fault::new(place, &found, "timeBase media or smpte, frameRate and tickRate from 1"))?;
            parser.language = attribute(element, "lang").and_then(|tag| language::from_elng(&tag));
        }
        parser.open(element, place)?;
        if is_empty {
            parser.close(place)?;
        }
    }
}

/// By its name without a prefix: documents of all the years differ in namespaces, not in names.
fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let found =
        element.attributes().with_checks(false).flatten().find(|found| found.key.local_name().as_ref() == name)?;
    found.normalized_value(XmlVersion::Implicit1_0).ok().map(|value| value.into_owned())
}

impl Parser {
    fn open(&mut self, element: &BytesStart<'_>, place: Place) -> Result<(), Fault> {
        if self.levels.len() == DEPTH_MAX {
            return Err(Fault::new(place, "elements in each other", "at most 64"));
        }
        let said = |name: &str| attribute(element, name);
        let above = self.levels.last().cloned().unwrap_or_default();
        let name = element.local_name();
        let own = Style::read(said);
        let referred = said("style").map(|names| self.referred(&names)).unwrap_or_default();
        let mut level = Level { kind: above.kind, preserves_space: above.preserves_space, ..Level::default() };
        match said("space").as_deref() {
            Some("preserve") => level.preserves_space = true,
            Some("default") => level.preserves_space = false,
            _ => {}
        }
        match (name.as_ref(), above.kind) {
            // A style in a region is the region's.
            ("style", Kind::Region) => {
                if let Some(region) = self.region.as_ref().and_then(|id| self.regions.get_mut(id)) {
                    *region = region.under(referred.under(own));
                }
                level.kind = Kind::Hidden;
            }
            ("style", _) => {
                if let Some(id) = said("id") {
                    self.styles.insert(id, referred.under(own));
                }
                level.kind = Kind::Hidden;
            }
            ("region", _) => {
                self.region = said("id");
                if let Some(id) = self.region.clone() {
                    self.regions.insert(id, referred.under(own));
                }
                level.kind = Kind::Region;
            }
            ("metadata", _) => level.kind = Kind::Hidden,
            ("head" | "styling" | "layout" | "tt", _) => level.interval = above.interval,
            ("body" | "div", Kind::Block) => {
                let region = said("region").and_then(|id| self.regions.get(&id)).cloned().unwrap_or_default();
                level.style = above.style.under(region).under(referred).under(own);
                (level.interval, level.next) = self.interval(element, &above, place)?;
            }
            ("p", Kind::Block) => {
                let region = said("region").and_then(|id| self.regions.get(&id)).cloned().unwrap_or_default();
                level.style = above.style.under(region).under(referred).under(own);
                (level.interval, level.next) = self.interval(element, &above, place)?;
                level.kind = Kind::Paragraph;
            }
            ("span", Kind::Paragraph | Kind::Span) => {
                level.style = above.style.under(referred).under(own);
                (level.interval, level.next) = self.interval(element, &above, place)?;
                level.kind = Kind::Span;
            }
            ("br", Kind::Paragraph | Kind::Span) => {
                self.run(above.interval, Face::default(), "\n".to_owned(), place)?;
                level.kind = Kind::Hidden;
            }
            _ => level.kind = Kind::Hidden,
        }
        self.levels.push(level);
        Ok(())
    }

    /// The styles of these names, the last before the others.
    fn referred(&self, names: &str) -> Style {
        let known = names.split_ascii_whitespace().filter_map(|name| self.styles.get(name));
        known.fold(Style::default(), |style, other| style.under(other.clone()))
    }

    /// When an element is shown, and where its children begin if they follow each other (TTML2 §12.2).
    fn interval(
        &self,
        element: &BytesStart<'_>,
        above: &Level,
        place: Place,
    ) -> Result<(Interval, Option<u64>), Fault> {
        let time = |name: &str| -> Result<Option<u64>, Fault> {
            let Some(text) = attribute(element, name) else { return Ok(None) };
            let read = self.clock.millis(text.trim());
            read.map(Some)
                .ok_or_else(|| Fault::new(place, &text, "a time such as 00:00:01.500, 00:00:01:12, 1.5s or 36t"))
        };
        let reference = above.next.unwrap_or(above.interval.start);
        let (begin, end, length) = (time("begin")?, time("end")?, time("dur")?);
        let start = reference.saturating_add(begin.unwrap_or(0));
        let ends = [
            end.map(|end| reference.saturating_add(end)),
            length.map(|length| start.saturating_add(length)),
            above.interval.end,
        ];
        let interval = Interval { start, end: ends.into_iter().flatten().min() };
        let follows = attribute(element, "timeContainer").is_some_and(|container| container == "seq");
        Ok((interval, follows.then_some(start)))
    }

    fn close(&mut self, place: Place) -> Result<(), Fault> {
        let Some(level) = self.levels.pop() else { return Ok(()) };
        let above = self.levels.last_mut();
        let parent = above.as_ref().map(|above| above.kind);
        if let (Some(above), Some(end)) = (above, level.interval.end)
            && above.next.is_some()
            && level.kind != Kind::Hidden
        {
            above.next = Some(end);
        }
        match level.kind {
            Kind::Paragraph if parent == Some(Kind::Block) => self.paragraph(&level, place),
            _ => Ok(()),
        }
    }

    fn text(&mut self, text: &str, place: Place) -> Result<(), Fault> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        if !matches!(level.kind, Kind::Paragraph | Kind::Span) {
            return Ok(());
        }
        let (interval, face) = (level.interval, level.style.face());
        let text = if level.preserves_space { text.to_owned() } else { collapsed(text) };
        self.run(interval, face, text, place)
    }

    fn run(&mut self, interval: Interval, face: Face, text: String, place: Place) -> Result<(), Fault> {
        let count = self.runs.len();
        match self.runs.last_mut() {
            Some(last) if last.interval == interval && last.face == face => last.text.push_str(&text),
            _ if count == RUNS_MAX => return Err(Fault::new(place, "a paragraph", "at most 1000 spans in one")),
            _ => self.runs.push(Run { interval, face, text }),
        }
        Ok(())
    }

    /// What is shown of a paragraph changes where one of its spans begins or ends.
    fn paragraph(&mut self, level: &Level, place: Place) -> Result<(), Fault> {
        let runs = std::mem::take(&mut self.runs);
        let shown = |time: &u64| level.interval.holds(*time) || *time == level.interval.start;
        let mut times: Vec<u64> =
            runs.iter().flat_map(|run| [Some(run.interval.start), run.interval.end]).flatten().collect();
        times.push(level.interval.start);
        times.retain(shown);
        times.sort_unstable();
        times.dedup();
        let mut last: Option<(Interval, Words)> = None;
        for (number, &start) in times.iter().enumerate() {
            let end = times.get(number + 1).copied().or(level.interval.end);
            let mut text = String::new();
            for run in runs.iter().filter(|run| run.interval.holds(start)) {
                run.face.push(&mut text, &run.text);
            }
            self.written = self.written.saturating_add(text.len());
            if self.written as u64 > SUBTITLE_BYTES_MAX {
                return Err(Fault::new(place, "more text than a file may have", "16 MiB at most, spans repeated"));
            }
            let text = tidy(&text);
            match &mut last {
                Some((interval, words)) if interval.end == Some(start) && words.text == text => interval.end = end,
                _ => {
                    self.words.extend(last.take());
                    let words = Words { text, settings: level.style.settings(), ..Words::default() };
                    last = (!words.text.is_empty()).then_some((Interval { start, end }, words));
                }
            }
        }
        self.words.extend(last);
        Ok(())
    }

    fn finish(self) -> Document {
        let last = self.words.iter().flat_map(|(interval, _)| [Some(interval.start), interval.end]).flatten().max();
        let words = self.words.into_iter().map(|(Interval { start, end }, words)| {
            let end = end.unwrap_or_else(|| last.unwrap_or(0).max(start.saturating_add(ENDLESS_MILLIS)));
            Words { start, end: end.max(start), ..words }
        });
        Document { words: words.collect(), language: self.language.filter(|tag| tag != "und") }
    }
}

/// `xml:space="default"`: any white space is one blank.
fn collapsed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_ascii_whitespace() {
            true if out.ends_with(' ') => {}
            true => out.push(' '),
            false => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::write;
    use super::*;

    fn document(head: &str, body: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><tt xmlns=\"http://www.w3.org/ns/ttml\" xmlns:tts=\"http://www.w3.org/ns/ttml#styling\" \
             xmlns:ttp=\"http://www.w3.org/ns/ttml#parameter\" xml:lang=\"de\" {head}<body>{body}</body></tt>"
        )
    }

    #[test]
    fn documents() {
        let plain = ">";
        let styled = "><head><styling><style xml:id=\"s0\" tts:color=\"#ffff00ff\"/><style xml:id=\"s1\" style=\"s0\" \
                      tts:fontStyle=\"italic\"/></styling><layout><region xml:id=\"top\" tts:origin=\"10% 5%\" tts:extent=\"80% 20%\"/>\
                      <region xml:id=\"low\" tts:textAlign=\"start\"><style tts:displayAlign=\"after\" tts:origin=\"10% 70%\" \
                      tts:extent=\"80% 25%\"/></region></layout></head>";
        for (name, head, body, want) in [
            ("nothing", plain, "", ""),
            (
                "lines and white space",
                plain,
                "<div><p begin=\"00:00:01.000\" end=\"00:00:02.5\">\n  Hello &amp;\n  more<br/>\n <span>there</span>\n</p></div>",
                "00:00:01.000 --> 00:00:02.500 \nHello &amp; more\nthere\n\n",
            ),
            (
                "offsets, and times within times",
                plain,
                "<div begin=\"10s\"><p begin=\"500ms\" dur=\"1.5s\">a</p><p begin=\"0.1m\" end=\"7s\">b &lt; c</p></div>",
                "00:00:10.500 --> 00:00:12.000 \na\n\n00:00:16.000 --> 00:00:17.000 \nb &lt; c\n\n",
            ),
            (
                "frames and ticks",
                "ttp:frameRate=\"30\" ttp:frameRateMultiplier=\"1000 1001\" ttp:tickRate=\"10000000\">",
                "<div><p begin=\"00:00:01:15\" end=\"90f\">a</p><p begin=\"40000000t\" end=\"50000000t\">b</p></div>",
                "00:00:01.501 --> 00:00:03.003 \na\n\n00:00:04.000 --> 00:00:05.000 \nb\n\n",
            ),
            (
                "one after the other",
                plain,
                "<div timeContainer=\"seq\"><p dur=\"1s\">a</p><p begin=\"1s\" dur=\"2s\">b</p></div>",
                "00:00:00.000 --> 00:00:01.000 \na\n\n00:00:02.000 --> 00:00:04.000 \nb\n\n",
            ),
            (
                "spans that come and go",
                plain,
                "<p begin=\"1s\" end=\"5s\"><span end=\"3s\">a</span><br/><span begin=\"1s\">b</span></p>",
                "00:00:01.000 --> 00:00:02.000 \na\n\n00:00:02.000 --> 00:00:04.000 \na\nb\n\n00:00:04.000 --> 00:00:05.000 \nb\n\n",
            ),
            (
                "styles and regions",
                styled,
                "<p region=\"top\" begin=\"1s\" end=\"2s\"><span style=\"s1\">a</span> <span tts:fontWeight=\"bold\">b</span></p>\
                 <p region=\"low\" begin=\"3s\" end=\"4s\"><span tts:color=\"red\" tts:textDecoration=\"underline\">c</span></p>",
                "00:00:01.000 --> 00:00:02.000 line:5%\n<c.yellow><i>a</i></c> <b>b</b>\n\n\
                 00:00:03.000 --> 00:00:04.000 align:start\n<c.red><u>c</u></c>\n\n",
            ),
            (
                "no end",
                plain,
                "<p begin=\"1s\">a</p><p begin=\"2s\" end=\"30s\">b</p>",
                "00:00:01.000 --> 00:00:30.000 \na\n\n00:00:02.000 --> 00:00:30.000 \nb\n\n",
            ),
            (
                "metadata",
                plain,
                "<p begin=\"1s\" end=\"2s\"><metadata>no</metadata>a<set/></p>",
                "00:00:01.000 --> 00:00:02.000 \na\n\n",
            ),
        ] {
            let read = read(&document(head, body)).unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
            assert_eq!(write(&read.words), format!("WEBVTT\n\n{want}"), "{name}");
            assert_eq!(read.language.as_deref(), Some("de"), "{name}");
        }
    }

    #[test]
    fn what_is_refused() {
        let deep = format!("<tt>{}", "<a>".repeat(DEPTH_MAX));
        let many = document(">", &format!("<p>{}</p>", "<span begin=\"1s\">a</span>b".repeat(RUNS_MAX)));
        for (input, found) in [
            ("", "nothing"),
            ("<html/>", "html"),
            ("<tt><body>", "the end"),
            ("<tt><body></div></tt>", "ill-formed document: expected `</body>`, but `</div>` was fo…"),
            (&document(">", "<p begin=\"noon\">a</p>"), "noon"),
            (&document("ttp:timeBase=\"clock\">", ""), "timeBase clock"),
            (&document("ttp:frameRate=\"0\">", ""), "frameRate 0"),
            (&document(">", "<p>&nbsp;</p>"), "nbsp"),
            (&deep, "elements in each other"),
            (&many, "a paragraph"),
        ] {
            assert_eq!(read(input).unwrap_err().found, found, "{input}");
        }
    }
}
