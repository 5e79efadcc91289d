//! What `udta` says about a track (ISO/IEC 14496-12 §8.10 and the QuickTime File Format): a name, roles, priming.

use crate::media::track::Role;

use super::boxes::{Boxed, Boxes, FourCc};

/// A statement about what a track is for (§8.10.4), as `urn:mpeg:dash:role:2011` and `caption`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackRole {
    pub scheme: String,
    pub value: String,
}

impl TrackRole {
    /// What it says, if it says it in DASH's scheme.
    pub fn role(&self) -> Option<Role> {
        if self.scheme == "urn:mpeg:dash:role:2011" { Role::of_dash(&self.value) } else { None }
    }
}

/// Of one track.
#[derive(Clone, Debug, Default)]
pub(super) struct UserData {
    pub name: Option<String>,
    pub roles: Vec<TrackRole>,
}

/// A name is for a menu; a longer one is something else.
const NAME_CHARS_MAX: usize = 200;
const ROLES_MAX: usize = 16;

impl UserData {
    /// User data decides nothing that matters, and writers disagree about its forms: what cannot be read is left out.
    pub fn read(udta: &Boxed<'_>) -> UserData {
        let mut data = UserData::default();
        for child in udta.children().map_while(Result::ok) {
            match &child.name.0 {
                b"name" => data.name = name_text(child.body().rest()).or(data.name.take()),
                // QuickTime: length and language before each text.
                b"\xa9nam" => {
                    let mut body = child.body();
                    let text = body.u16().and_then(|len| body.skip(2).and_then(|()| body.take(usize::from(len))));
                    data.name = data.name.take().or_else(|| name_text(text.ok()?));
                }
                b"titl" => {
                    // 3GPP TS 26.244 §8.2: language, then the text.
                    if let Ok((_, _, mut body)) = child.full() {
                        data.name =
                            data.name.take().or_else(|| body.skip(2).ok().and_then(|()| name_text(body.rest())));
                    }
                }
                b"kind" if data.roles.len() < ROLES_MAX => data.roles.extend(role(&child)),
                _ => {}
            }
        }
        data
    }
}

fn role(kind: &Boxed<'_>) -> Option<TrackRole> {
    let (_, _, mut body) = kind.full().ok()?;
    let mut texts = body.rest().split(|&byte| byte == 0).map(name_text);
    let scheme = texts.next()??;
    Some(TrackRole { scheme, value: texts.next().flatten().unwrap_or_default() })
}

/// Text up to a NUL, without control characters, `None` if nothing is left.
fn name_text(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.split(|&byte| byte == 0).next()?;
    let text = std::str::from_utf8(bytes.get(..NAME_CHARS_MAX * 4).unwrap_or(bytes)).ok()?.trim();
    let sound = !text.is_empty() && text.chars().count() <= NAME_CHARS_MAX && !text.contains(char::is_control);
    sound.then(|| text.to_owned())
}

/// The name of a handler (§8.4.3), if it says something about the track: most only name the program that wrote it.
pub(super) fn handler_name(bytes: &[u8]) -> Option<String> {
    // QuickTime has a length before the text instead of a NUL behind it.
    let text = match bytes.split_first() {
        Some((&len, text)) if usize::from(len) == text.len() => text,
        _ => bytes,
    };
    let name = name_text(text)?;
    let lower = name.to_ascii_lowercase();
    let programs = ["handler", "core media", "gpac", "google", "mainconcept", "bento4", "l-smash", "shaka"];
    let kinds = ["vide", "soun", "text", "sbtl", "subt", "video", "audio", "sound", "subtitle", "subtitles", "main"];
    let says_nothing = kinds.contains(&lower.as_str()) || programs.iter().any(|program| lower.contains(program));
    // Names like `film.264#video:fps=25` are input files of a packager.
    (!says_nothing && !name.contains(['#', '@', '/', '\\'])).then_some(name)
}

/// The value of `iTunSMPB` in the movie's `udta/meta/ilst`.
pub(super) fn smpb(udta: &Boxed<'_>) -> Option<String> {
    let meta = child(udta.children(), b"meta")?;
    // A full box in ISO files, a plain one in QuickTime's.
    let plain = meta.body().rest().get(4..8).is_some_and(|name| name == b"hdlr");
    let list = if plain { meta.children() } else { Boxes::inside(meta.full().ok()?.2, meta.path) };
    let items = child(list, b"ilst")?;
    let mut items = items.children().map_while(Result::ok).filter(|item| item.name == FourCc(*b"----"));
    items.find_map(|item| {
        let name = child(item.children(), b"name")?;
        if name.full().ok()?.2.rest() != b"iTunSMPB" {
            return None;
        }
        let (_, _, mut body) = child(item.children(), b"data")?.full().ok()?;
        body.skip(4).ok()?; // locale
        name_text(body.rest())
    })
}

fn child<'a>(boxes: Boxes<'a>, name: &[u8; 4]) -> Option<Boxed<'a>> {
    boxes.map_while(Result::ok).find(|child| child.name.0 == *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_that_name_programs_name_no_track() {
        for (bytes, want) in [
            (&b"VideoHandler\0"[..], None),
            (b"SoundHandler", None),
            (b"\x12Core Media Video\r\n", None),
            (b"\x10Core Media Video", None),
            (b"GPAC ISO Video Handler\0", None),
            (b"film.264#video:fps=25@GPAC\0", None),
            (b"", None),
            (b"\0", None),
            (b"\xff\xfe\0", None),
            (b"Director's commentary\0", Some("Director's commentary")),
            (b"\x07English", Some("English")),
            (b"Soundtrack", Some("Soundtrack")),
            (b"a\nb", None),
        ] {
            assert_eq!(handler_name(bytes).as_deref(), want, "{}", bytes.escape_ascii());
        }
    }
}
