//! What is imported: a file, and what the user says of its tracks where the file is silent or wrong.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::media::isobmff::language;
use crate::media::subtitles::Format;
use crate::media::track::Role;

/// `FILE[:KEY=VALUE,...]` as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub path: PathBuf,
    /// Of every audio track of the file, or of the subtitles in it.
    pub labels: Labels,
    /// Of its first, second, … audio track.
    pub audio: Vec<(usize, Labels)>,
}

/// What a viewer chooses a track by. `None`: as the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// BCP 47.
    pub language: Option<String>,
    pub name: Option<String>,
    pub role: Option<Role>,
}

impl Labels {
    /// What these do not say, `others` do.
    pub fn or(self, others: &Labels) -> Labels {
        Labels {
            language: self.language.or_else(|| others.language.clone()),
            name: self.name.or_else(|| others.name.clone()),
            role: self.role.or(others.role),
        }
    }
}

/// Why a command line argument is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "unknown option {found:?} of {path}; known are lang=, name=, role=, and a1.lang= and so on for one audio track of several"
    )]
    Key { path: String, found: String },
    #[error("language {found:?} of {path} is not a BCP 47 tag such as en, de or pt-BR")]
    Language { path: String, found: String },
    #[error("name {found:?} of {path}: control characters, or more than {NAME_CHARS_MAX} characters")]
    Name { path: String, found: String },
    #[error("role {found:?} of {path}; known are main, alternate, commentary, description, forced, caption")]
    Role { path: String, found: String },
    #[error("an empty file name")]
    Empty,
}

/// A name is for a menu.
const NAME_CHARS_MAX: usize = 200;

const ROLES: [(&str, Role); 6] = [
    ("main", Role::Main),
    ("alternate", Role::Alternate),
    ("commentary", Role::Commentary),
    ("description", Role::Description),
    ("forced", Role::Forced),
    ("caption", Role::Caption),
];

impl FromStr for Input {
    type Err = Error;

    /// A file that exists under the whole text is that file. Otherwise options begin at the last colon behind which an
    /// option's key stands, and values may hold commas and colons: a comma only ends a value if a key follows.
    fn from_str(text: &str) -> Result<Input, Error> {
        let plain = |path: &str| Input { path: path.into(), labels: Labels::default(), audio: Vec::new() };
        if text.is_empty() {
            return Err(Error::Empty);
        }
        let Some((path, options)) = split(text).filter(|_| !Path::new(text).exists()) else {
            return Ok(plain(text));
        };
        if path.is_empty() {
            return Err(Error::Empty);
        }
        let mut input = plain(path);
        let mut rest = options;
        while !rest.is_empty() {
            let end = rest
                .match_indices(',')
                .map(|(at, _)| at)
                .find(|&at| key(&rest[at + 1..]).is_some())
                .unwrap_or(rest.len());
            let (option, behind) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
            input.set(option)?;
            rest = behind;
        }
        Ok(input)
    }
}

/// Path and options, if there are options.
fn split(text: &str) -> Option<(&str, &str)> {
    // The first colon with a key behind it: names may hold colons, and so may values.
    let at = text.match_indices(':').map(|(at, _)| at).find(|&at| key(&text[at + 1..]).is_some())?;
    Some((&text[..at], &text[at + 1..]))
}

/// The key that a text begins with: letters, digits and dots up to an equals sign.
fn key(text: &str) -> Option<&str> {
    let (key, _) = text.split_once('=')?;
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    plain.then_some(key)
}

impl Input {
    fn set(&mut self, option: &str) -> Result<(), Error> {
        let path = self.path.display().to_string();
        let unknown = || Error::Key { path: path.clone(), found: option.to_owned() };
        let (key, value) = option.split_once('=').ok_or_else(unknown)?;
        let (labels, key) = match key.split_once('.') {
            None => (&mut self.labels, key),
            Some((track, key)) => {
                let number = track.strip_prefix('a').and_then(|number| number.parse::<usize>().ok());
                let number = number.and_then(|number| number.checked_sub(1)).ok_or_else(unknown)?;
                let at = self.audio.iter().position(|(other, _)| *other == number).unwrap_or_else(|| {
                    self.audio.push((number, Labels::default()));
                    self.audio.len() - 1
                });
                (&mut self.audio[at].1, key)
            }
        };
        match key {
            "lang" | "language" => {
                let found = || Error::Language { path: path.clone(), found: value.to_owned() };
                labels.language = Some(language_tag(value).ok_or_else(found)?);
            }
            "name" => {
                if value.chars().count() > NAME_CHARS_MAX || value.contains(char::is_control) {
                    return Err(Error::Name { path, found: value.to_owned() });
                }
                labels.name = Some(value.to_owned()).filter(|name| !name.is_empty());
            }
            "role" => {
                let role = ROLES.iter().find(|(name, _)| *name == value).map(|(_, role)| *role);
                labels.role = Some(role.ok_or_else(|| Error::Role { path: path.clone(), found: value.to_owned() })?);
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }

    /// What the user says of the file's audio track of this number, from 0.
    pub fn audio_labels(&self, number: usize) -> Labels {
        let own = self.audio.iter().find(|(track, _)| *track == number).map(|(_, labels)| labels.clone());
        own.unwrap_or_default().or(&self.labels)
    }

    /// Whether two arguments differ in no more than the file's name.
    pub fn says_the_same(&self, other: &Input) -> bool {
        self.labels == other.labels && self.audio == other.audio
    }

    /// What it is written in, by its name, if it is a file of subtitles.
    pub fn subtitles(&self) -> Option<Format> {
        match self.path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "vtt" | "webvtt" => Some(Format::WebVtt),
            "srt" => Some(Format::SubRip),
            "ttml" | "dfxp" | "itt" | "xml" => Some(Format::Ttml),
            _ => None,
        }
    }

    /// `subs.en.vtt`: what stands between the last two dots, if it is a language.
    pub fn language_of_name(&self) -> Option<String> {
        let stem = self.path.file_stem()?.to_str()?;
        let (rest, tag) = stem.rsplit_once('.')?;
        // "part.three.vtt" names no language: primary subtags in use have two or three letters.
        let primary = tag.split('-').next().unwrap_or_default();
        (!rest.is_empty() && (2..=3).contains(&primary.len())).then(|| language_tag(tag)).flatten()
    }
}

/// A BCP 47 tag in its shortest form.
fn language_tag(text: &str) -> Option<String> {
    language::from_elng(text).filter(|tag| (2..=8).contains(&tag.split('-').next().unwrap_or_default().len()))
}

/// How a role is written on the command line.
pub fn role_name(role: Role) -> &'static str {
    ROLES.iter().find(|(_, other)| *other == role).map_or("main", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(language: &str, name: &str, role: Option<Role>) -> Labels {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Labels { language: text(language), name: text(name), role }
    }

    #[test]
    fn arguments() {
        for (text, path, want) in [
            ("a.mp4", "a.mp4", labels("", "", None)),
            ("/x/12:30.mp4", "/x/12:30.mp4", labels("", "", None)),
            ("a.mp4:lang=de", "a.mp4", labels("de", "", None)),
            ("a.mp4:lang=deu,name=Deutsch", "a.mp4", labels("de", "Deutsch", None)),
            (
                "12:30.mp4:name=Ja, nein: vielleicht,role=commentary",
                "12:30.mp4",
                labels("", "Ja, nein: vielleicht", Some(Role::Commentary)),
            ),
            ("a.mp4:name=\"Ö\" 🎬 <&>", "a.mp4", labels("", "\"Ö\" 🎬 <&>", None)),
            ("s.vtt:lang=pt-BR,role=forced", "s.vtt", labels("pt-BR", "", Some(Role::Forced))),
        ] {
            let input: Input = text.parse().unwrap();
            assert_eq!((input.path.to_str().unwrap(), &input.labels), (path, &want), "{text}");
        }
        let input: Input = "m.mp4:lang=en,a2.lang=fr,a2.name=Français,a3.role=description".parse().unwrap();
        assert_eq!(input.audio_labels(0), labels("en", "", None));
        assert_eq!(input.audio_labels(1), labels("fr", "Français", None));
        assert_eq!(input.audio_labels(2), labels("en", "", Some(Role::Description)));
    }

    #[test]
    fn mistakes() {
        for (text, want) in [
            ("", "an empty file name"),
            (":lang=de", "an empty file name"),
            ("a.mp4:lang=", "language \"\" of a.mp4"),
            ("a.mp4:lang=german!", "language \"german!\" of a.mp4"),
            ("a.mp4:role=star", "role \"star\" of a.mp4; known are main"),
            ("a.mp4:name=a\nb", "name \"a\\nb\" of a.mp4: control characters"),
            (&format!("a.mp4:name={}", "é".repeat(201)), "name \"ééé"),
            ("a.mp4:title=x", "unknown option \"title=x\" of a.mp4; known are lang="),
            ("a.mp4:a0.lang=de", "unknown option \"a0.lang=de\""),
        ] {
            let error = text.parse::<Input>().unwrap_err().to_string();
            assert!(error.starts_with(want), "{text}: {error}");
        }
    }

    #[test]
    fn subtitle_names() {
        for (name, want) in [
            ("subs.en.vtt", Some("en")),
            ("movie.eng.vtt", Some("en")),
            ("a.b.pt-BR.VTT", Some("pt-BR")),
            ("subs.vtt", None),
            ("part.three.vtt", None),
            (".en.vtt", None),
        ] {
            let input: Input = name.parse().unwrap();
            assert!(input.subtitles().is_some());
            assert_eq!(input.language_of_name().as_deref(), want, "{name}");
        }
    }
}
