//! Subtitles in samples of a track: 3GPP timed text (3GPP TS 26.245, QuickTime text), WebVTT and TTML (ISO/IEC 14496-30).

use crate::base::cursor::{Cursor, Short};
use crate::base::limits::SUBTITLE_BYTES_MAX;

use super::{Error, Face, Fault, Place, Subtitles, Words, colour_of, excerpt, normalise, push_escaped, tidy, ttml};

/// What samples are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `tx3g`, and QuickTime's `text`, whose samples begin alike.
    TimedText,
    WebVtt,
    Ttml,
}

impl Coding {
    /// By the type of the sample entry.
    pub fn of(fourcc: [u8; 4]) -> Option<Coding> {
        match &fourcc {
            b"tx3g" | b"text" => Some(Coding::TimedText),
            b"wvtt" => Some(Coding::WebVtt),
            b"stpp" => Some(Coding::Ttml),
            _ => None,
        }
    }
}

/// Gathers the samples of a track.
pub struct Samples {
    coding: Coding,
    /// From what is said in samples to when they are presented, in milliseconds.
    shift: i64,
    words: Vec<Words>,
    number: u32,
    /// Of all words, in bytes.
    written: u64,
    /// Of all samples, in bytes: many may lie at one place of a file.
    read: u64,
    language: Option<String>,
}

/// Words that go on in the next sample are looked for among so many.
const SHOWN_AT_ONCE_MAX: usize = 16;
/// Of all samples: documents repeat what goes on.
const READ_BYTES_MAX: u64 = 8 * SUBTITLE_BYTES_MAX;
/// What a cue takes besides its words, in bytes.
const CUE_BYTES: u64 = 40;

impl Samples {
    /// `shift` is what makes a time within the track's media one of the presentation, in milliseconds.
    pub fn new(coding: Coding, shift: i64) -> Samples {
        Samples { coding, shift, words: Vec::new(), number: 0, written: 0, read: 0, language: None }
    }

    /// The next sample, presented from `start` to `end` milliseconds. `file` is a name for messages.
    pub fn push(&mut self, file: &str, start: u64, end: u64, data: &[u8]) -> Result<(), Error> {
        self.number = self.number.saturating_add(1);
        let place = Place::Sample(self.number);
        self.read = self.read.saturating_add(data.len() as u64);
        if self.read > READ_BYTES_MAX {
            return Err(Error::TooLarge { file: file.escape_debug().to_string(), found: self.read });
        }
        let words = match self.coding {
            Coding::TimedText => timed_text(data)
                .map_err(|_: Short| "timed text that is as long as it says")
                .map(|text| vec![Words { start, end, settings: String::new(), text }]),
            Coding::WebVtt => cues(data, start, end).map_err(|_: Short| "boxes of WebVTT that end with the sample"),
            Coding::Ttml => {
                let text = std::str::from_utf8(data)
                    .map_err(|_| Fault::new(place, "bytes that are not UTF-8", "a TTML document").of(file))?;
                let document = ttml::read(text).map_err(|fault| Fault { place, ..fault }.of(file))?;
                self.language = self.language.take().or(document.language);
                Ok(document.words.into_iter().filter_map(|words| self.within(words, start, end)).collect())
            }
        };
        let words = words.map_err(|expected| {
            let found = format!("{} bytes that begin {:02x?}", data.len(), data.get(..8).unwrap_or(data));
            Fault { place, found: excerpt(&found), expected }.of(file)
        })?;
        words
            .into_iter()
            .filter(|words| !words.text.is_empty() && words.end > words.start)
            .for_each(|words| self.add(words));
        if self.written > SUBTITLE_BYTES_MAX {
            return Err(Error::TooLarge { file: file.escape_debug().to_string(), found: self.written });
        }
        Ok(())
    }

    pub fn finish(self, file: &str) -> Result<Subtitles, Error> {
        Ok(Subtitles { normalised: normalise(file, &self.words)?, language: self.language })
    }

    /// A document's words count from the start of the media, and are shown while their sample is.
    fn within(&self, words: Words, start: u64, end: u64) -> Option<Words> {
        let shifted =
            |time: u64| u64::try_from(i64::try_from(time).unwrap_or(i64::MAX).saturating_add(self.shift)).unwrap_or(0);
        let (from, to) = (shifted(words.start).max(start), shifted(words.end).min(end));
        (from < to).then_some(Words { start: from, end: to, ..words })
    }

    /// What goes on in the next sample is one cue.
    fn add(&mut self, words: Words) {
        let goes_on = |other: &&mut Words| {
            other.end == words.start && other.text == words.text && other.settings == words.settings
        };
        match self.words.iter_mut().rev().take(SHOWN_AT_ONCE_MAX).find(goes_on) {
            Some(other) => other.end = words.end,
            None => {
                self.written += words.text.len() as u64 + CUE_BYTES;
                self.words.push(words);
            }
        }
    }
}

/// 3GPP TS 26.245 §5.17: a length, the text, then boxes, of which `styl` says how stretches of characters look.
fn timed_text(data: &[u8]) -> Result<String, Short> {
    let mut body = Cursor::new(data, 0);
    if body.is_empty() {
        return Ok(String::new());
    }
    let len = usize::from(body.u16()?);
    let bytes = body.take(len)?;
    let text: Vec<char> = match bytes {
        [0xFE, 0xFF, rest @ ..] => {
            let units = rest.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        bytes => String::from_utf8_lossy(bytes).chars().collect(),
    };
    let mut faces = vec![Face::default(); text.len()];
    // Records are in order, and none lies over another (§5.17.1.1).
    let mut styled = 0;
    while let Ok((kind, mut content)) = next_box(&mut body) {
        if &kind != b"styl" {
            continue;
        }
        for _ in 0..content.u16()? {
            let (from, to) = (usize::from(content.u16()?), usize::from(content.u16()?));
            content.skip(2)?; // font
            let bits = content.u8()?;
            content.skip(1)?; // size
            let face = Face {
                bold: bits & 1 != 0,
                italic: bits & 2 != 0,
                underline: bits & 4 != 0,
                colour: colour_of(content.u32()? >> 8),
            };
            let to = to.min(faces.len());
            faces.get_mut(from.max(styled).min(to)..to).unwrap_or_default().fill(face);
            styled = styled.max(to);
        }
    }
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    // A tag may not stand across lines that `tidy` joins anew, so a face begins again with each.
    while at < text.len() {
        let same = |&next: &usize| faces[next] == faces[at] && text[next] != '\n';
        let end = if text[at] == '\n' {
            at + 1
        } else {
            (at..text.len()).take_while(same).last().map_or(at + 1, |last| last + 1)
        };
        let run: String = text[at..end].iter().collect();
        faces[at].push(&mut out, &run.replace(['\r', '\0'], ""));
        at = end;
    }
    Ok(tidy(&out))
}

/// ISO/IEC 14496-30 §6.6: a box for each cue.
fn cues(data: &[u8], start: u64, end: u64) -> Result<Vec<Words>, Short> {
    let mut body = Cursor::new(data, 0);
    let mut words = Vec::new();
    while !body.is_empty() {
        let (kind, mut content) = next_box(&mut body)?;
        if &kind != b"vttc" {
            continue;
        }
        let mut cue = Words { start, end, ..Words::default() };
        while !content.is_empty() {
            let (kind, mut text) = next_box(&mut content)?;
            let text = String::from_utf8_lossy(text.rest());
            match &kind {
                b"payl" => cue.text = tidy(&cue_text(&text)),
                b"sttg" => cue.settings = text.replace("-->", "").split_whitespace().collect::<Vec<_>>().join(" "),
                _ => {}
            }
        }
        words.push(cue);
    }
    Ok(words)
}

/// Cue text as it is, but for what would end a cue.
fn cue_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (number, part) in text.split("-->").enumerate() {
        if number > 0 {
            push_escaped(&mut out, "-->");
        }
        out.push_str(part);
    }
    out.replace('\0', "\u{fffd}").replace("\r\n", "\n").replace('\r', "\n")
}

fn next_box<'a>(body: &mut Cursor<'a>) -> Result<([u8; 4], Cursor<'a>), Short> {
    let size = body.u32()?;
    let kind = body.u32()?.to_be_bytes();
    let len = (size as usize).saturating_sub(8);
    Ok((kind, body.section(len)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::isobmff::write::boxed;
    use proptest::prelude::*;

    fn timed(text: &[u8], styles: &[(u16, u16, u8, u32)]) -> Vec<u8> {
        let mut sample = (text.len() as u16).to_be_bytes().to_vec();
        sample.extend_from_slice(text);
        if !styles.is_empty() {
            boxed(&mut sample, b"styl", |out| {
                out.extend_from_slice(&(styles.len() as u16).to_be_bytes());
                for (from, to, face, colour) in styles {
                    for field in [*from, *to, 1] {
                        out.extend_from_slice(&field.to_be_bytes());
                    }
                    out.extend_from_slice(&[*face, 18]);
                    out.extend_from_slice(&colour.to_be_bytes());
                }
            });
        }
        sample
    }

    fn cue(parts: &[(&[u8; 4], &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        boxed(&mut out, b"vttc", |out| {
            for (kind, text) in parts {
                boxed(out, kind, |out| out.extend_from_slice(text.as_bytes()));
            }
        });
        out
    }

    /// Samples of a second each, one after the other.
    fn text(coding: Coding, shift: i64, samples: &[Vec<u8>]) -> String {
        let mut gathered = Samples::new(coding, shift);
        for (second, sample) in samples.iter().enumerate() {
            if let Err(error) = gathered.push("f", second as u64 * 1_000, second as u64 * 1_000 + 1_000, sample) {
                return error.to_string();
            }
        }
        String::from_utf8(gathered.finish("f").unwrap().normalised.text).unwrap().replacen("WEBVTT\n\n", "", 1)
    }

    #[test]
    fn samples() {
        let document = |words: &str| {
            format!("<tt xmlns=\"http://www.w3.org/ns/ttml\"><body><div>{words}</div></body></tt>").into_bytes()
        };
        for (name, coding, shift, samples, want) in [
            (
                "timed text",
                Coding::TimedText,
                0,
                vec![
                    timed(b"a & b", &[]),
                    timed(b"", &[]),
                    vec![],
                    timed("é\nfé".as_bytes(), &[(0, 1, 2, 0), (2, 4, 5, 0xFF00_00FF)]),
                ],
                "00:00:00.000 --> 00:00:01.000\na &amp; b\n\n00:00:03.000 --> 00:00:04.000\n<c.black><i>é</i></c>\n<c.red><b><u>fé</u></b></c>\n\n",
            ),
            (
                "UTF-16",
                Coding::TimedText,
                0,
                vec![timed(&[0xFE, 0xFF, 0, b'a', 0x20, 0xAC], &[])],
                "00:00:00.000 --> 00:00:01.000\na€\n\n",
            ),
            (
                "a cue that goes on beside another",
                Coding::WebVtt,
                0,
                vec![
                    cue(&[(b"iden", "1"), (b"sttg", "line:0\nalign:start"), (b"payl", "<b>a</b> --> \n\nb")]),
                    [cue(&[(b"sttg", "line:0 align:start"), (b"payl", "<b>a</b> --> \n\nb")]), cue(&[(b"payl", "c")])]
                        .concat(),
                    b"\0\0\0\x08vtte".to_vec(),
                ],
                "00:00:00.000 --> 00:00:02.000 line:0 align:start\n<b>a</b> --&gt;\nb\n\n00:00:01.000 --> 00:00:02.000\nc\n\n",
            ),
            (
                "documents that repeat what goes on",
                Coding::Ttml,
                -10_000,
                vec![
                    document("<p begin=\"10.5s\" end=\"11.5s\">a</p>"),
                    document("<p begin=\"10.5s\" end=\"11.5s\">a</p><p begin=\"11.8s\">b</p>"),
                ],
                "00:00:00.500 --> 00:00:01.500\na\n\n00:00:01.800 --> 00:00:02.000\nb\n\n",
            ),
            (
                "cut",
                Coding::TimedText,
                0,
                vec![timed(b"a", &[]), vec![0, 9, b'a']],
                "f: sample 2: found 3 bytes that begin [00, 09, 61], expected timed text that is as long as it says",
            ),
            (
                "cut box",
                Coding::WebVtt,
                0,
                vec![b"\0\0\0\x10vttc".to_vec()],
                "f: sample 1: found 8 bytes that begin [00, 00, 00, 10, 76, 74, 74, 63], expected boxes of WebVTT that end with the sample",
            ),
            ("no document", Coding::Ttml, 0, vec![b"<x/>".to_vec()], "f: sample 1: found x, expected an element tt"),
        ] {
            assert_eq!(text(coding, shift, &samples), want, "{name}");
        }
    }

    /// IMSC of images: the pictures stand behind the document, in the same sample.
    #[test]
    fn a_document_with_pictures_is_refused() {
        let mut data = b"<tt xmlns=\"http://www.w3.org/ns/ttml\"><body/></tt>".to_vec();
        data.extend_from_slice(b"\x89PNG\r\n\x1a\n");
        let error = Samples::new(Coding::Ttml, 0).push("f", 0, 1_000, &data).unwrap_err();
        assert_eq!(error.to_string(), "f: sample 1: found bytes that are not UTF-8, expected a TTML document");
    }

    proptest! {
        #[test]
        fn any_sample_may_come(data in proptest::collection::vec(any::<u8>(), 0..80), styled in any::<bool>()) {
            let data = if styled { timed(&data, &[(1, 3, 7, 9), (u16::MAX, 0, 1, 1)]) } else { data };
            for coding in [Coding::TimedText, Coding::WebVtt, Coding::Ttml] {
                let mut samples = Samples::new(coding, -5);
                let _ = samples.push("f", 0, 10, &data);
                let _ = samples.push("f", 10, 20, &data);
                samples.finish("f").unwrap();
            }
        }
    }
}
