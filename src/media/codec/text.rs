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
