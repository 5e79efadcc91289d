//! Text in samples: WebVTT and TTML (ISO/IEC 14496-30).

use crate::base::cursor::Cursor;
use crate::media::track::Details;

use super::entry::{Atom, fourcc, read_atoms};
use super::{Description, Fault, Framing};

/// `wvtt` (§7.5): a `WVTTSampleEntry` is a plain text entry with its configuration.
pub fn describe_webvtt(whole: &[u8], body: Cursor<'_>, offset: u64) -> Result<Description, Fault> {
    let mut body = body;
    body.skip(6 + 2)?;
    let atoms = atoms(body)?;
    if !atoms.iter().any(|atom| &atom.kind == b"vttC") {
        let has: Vec<String> = atoms.iter().map(|atom| fourcc(&atom.kind)).collect();
        let found = if has.is_empty() { "no boxes".into() } else { has.join(", ") };
        return Err(Fault::new(offset, found, "a box vttC"));
    }
    Ok(description("wvtt".into(), whole))
}

/// `stpp` (ISO/IEC 14496-12 §12.6.3.2): three texts, then boxes.
pub fn describe_ttml(whole: &[u8], body: Cursor<'_>, offset: u64) -> Result<Description, Fault> {
    let mut body = body;
    body.skip(6 + 2)?;
    let namespace = text(&mut body)?;
    text(&mut body)?; // schema_location
    let auxiliary = text(&mut body)?;
    if !namespace.split_ascii_whitespace().any(|namespace| namespace.starts_with("http://www.w3.org/ns/ttml")) {
        return Err(Fault::new(offset, format!("namespace {namespace:?}"), "that of TTML"));
    }
    // The media type of a `mime` box names the profile; without one it is one of the two that CMAF knows (ISO/IEC
    // 23000-19 §11.3), of which that with images says what they are.
    let stated = atoms(body)?.iter().find(|atom| &atom.kind == b"mime").and_then(|mime| profile(mime.body.get(4..)?));
    let profile = stated.unwrap_or(if auxiliary.contains("image/") { "im1i" } else { "im1t" });
    Ok(description(format!("stpp.ttml.{profile}"), whole))
}

fn description(codec: String, whole: &[u8]) -> Description {
    Description {
        codec,
        details: Details::Text,
        sample_entry: whole.to_vec(),
        framing: Framing::Text,
        priming_hint: None,
    }
}

fn atoms(body: Cursor<'_>) -> Result<Vec<Atom<'_>>, Fault> {
    let mut atoms = Vec::new();
    read_atoms(body, &mut atoms)?;
    Ok(atoms)
}

/// Up to its NUL.
fn text<'a>(body: &mut Cursor<'a>) -> Result<&'a str, Fault> {
    let at = body.position();
    let mut ahead = body.clone();
    let bytes = ahead.rest();
    let len = memchr::memchr(0, bytes).ok_or_else(|| Fault::new(at, "a text without an end", "a NUL behind it"))?;
    body.skip(len + 1)?;
    bytes.get(..len).and_then(|text| std::str::from_utf8(text).ok()).ok_or_else(|| Fault::new(at, "bytes", "UTF-8"))
}

/// `application/ttml+xml;codecs=im1t`, possibly with several profiles.
fn profile(mime: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(mime.split(|&byte| byte == 0).next()?).ok()?;
    let (_, codecs) = text.split_once("codecs=")?;
    let first = codecs.trim_matches('"').split([',', '|', '+', '&', ';', '"', ' ']).next()?;
    let sound = first.len() == 4 && first.bytes().all(|byte| byte.is_ascii_alphanumeric());
    sound.then_some(first)
}

#[cfg(test)]
mod tests {
    use super::super::{describe, stated_bit_rate};
    use crate::media::isobmff::write::boxed;
    use crate::media::track::{Details, Kind};

    fn entry(kind: &[u8; 4], fields: &[u8], boxes: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut entry = Vec::new();
        boxed(&mut entry, kind, |out| {
            out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
            out.extend_from_slice(fields);
            for (name, body) in boxes {
                boxed(out, name, |out| out.extend_from_slice(body));
            }
        });
        entry
    }

    const TTML: &[u8] = b"http://www.w3.org/ns/ttml http://www.w3.org/ns/ttml#metadata\0\0\0";
    const IMAGES: &[u8] = b"http://www.w3.org/ns/ttml\0\0image/png\0";

    #[test]
    fn text_is_described_by_its_entry() {
        let mime = |text: &str| [&[0; 4], text.as_bytes(), &[0]].concat();
        for (name, entry, want) in [
            ("WebVTT", entry(b"wvtt", &[], &[(b"vttC", b"WEBVTT"), (b"btrt", &[0; 12])]), "wvtt"),
            ("TTML", entry(b"stpp", TTML, &[]), "stpp.ttml.im1t"),
            ("images", entry(b"stpp", IMAGES, &[]), "stpp.ttml.im1i"),
            (
                "profile",
                entry(b"stpp", TTML, &[(b"mime", &mime("application/ttml+xml;codecs=im2t"))]),
                "stpp.ttml.im2t",
            ),
            (
                "profiles",
                entry(b"stpp", TTML, &[(b"mime", &mime("application/ttml+xml; codecs=\"im1t|etd1\""))]),
                "stpp.ttml.im1t",
            ),
            (
                "no profile",
                entry(b"stpp", TTML, &[(b"mime", &mime("application/ttml+xml;codecs=/../"))]),
                "stpp.ttml.im1t",
            ),
            (
                "no configuration",
                entry(b"wvtt", &[], &[(b"vlab", b"x")]),
                "f: stsd/wvtt at byte 7: vlab; expected a box vttC",
            ),
            ("no boxes", entry(b"wvtt", &[], &[]), "f: stsd/wvtt at byte 7: no boxes; expected a box vttC"),
            (
                "other XML",
                entry(b"stpp", b"urn:x\0\0\0", &[]),
                "f: stsd/stpp at byte 7: namespace \"urn:x\"; expected that of TTML",
            ),
            (
                "cut",
                entry(b"stpp", b"http", &[]),
                "f: stsd/stpp at byte 23: a text without an end; expected a NUL behind it",
            ),
        ] {
            let got = match describe("f", &entry, 7, &[]) {
                Ok(described) => {
                    assert_eq!((described.details, described.sample_entry), (Details::Text, entry), "{name}");
                    described.codec
                }
                Err(error) => error.to_string(),
            };
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn stated_bit_rates_are_those_of_the_peak() {
        let rates = |peak: u32, average: u32| [[0; 4], peak.to_be_bytes(), average.to_be_bytes()].concat();
        for (name, kind, fields, boxes, want) in [
            ("peak", Kind::Video, 70, vec![(b"btrt", rates(9, 5))], Some(9)),
            ("average", Kind::Audio, 20, vec![(b"btrt", rates(0, 5))], Some(5)),
            ("neither", Kind::Audio, 20, vec![(b"btrt", rates(0, 0))], None),
            ("no box", Kind::Audio, 20, vec![], None),
            ("cut", Kind::Video, 70, vec![(b"btrt", vec![0, 0, 0, 0, 1])], None),
            ("too short", Kind::Video, 20, vec![], None),
        ] {
            let boxes: Vec<(&[u8; 4], &[u8])> = boxes.iter().map(|(name, body)| (*name, &body[..])).collect();
            assert_eq!(stated_bit_rate(&entry(b"abcd", &vec![0; fields], &boxes), kind), want, "{name}");
        }
    }
}
