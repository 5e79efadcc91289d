//! What of an MPD (ISO/IEC 23009-1) a receiver of its segments needs.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use thiserror::Error as ThisError;

use crate::base::limits::PUBLISHER_RENDITIONS_MAX;
use crate::media::isobmff::language;
use crate::media::track::Role;

use super::Labels;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Nothing follows any more.
    pub is_static: bool,
    pub representations: Vec<Representation>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Representation {
    /// The name of its header, below the channel.
    pub initialization: Option<String>,
    pub media: Option<Template>,
    pub labels: Labels,
}

/// A name with numbers or times in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Digits,
}

/// Why an MPD is refused.
#[derive(Debug, ThisError)]
pub enum Error {
    #[error("the MPD is not XML: {0}")]
    Xml(String),
    #[error("found {found} in place of an MPD element, expected one")]
    NotMpd { found: String },
    #[error("found more than {PUBLISHER_RENDITIONS_MAX} Representations, expected fewer")]
    TooMany,
}

/// What an element hands down to those in it (§5.3.9.1, §5.3.7).
#[derive(Clone, Debug, Default)]
struct Inherited {
    initialization: Option<String>,
    media: Option<String>,
    language: Option<String>,
    role: Option<Role>,
    /// Of a Representation.
    id: String,
    bandwidth: Option<u32>,
}

/// MPD, Period, AdaptationSet, Representation, SegmentTemplate, SegmentTimeline, S, and some for what is not known.
const DEPTH_MAX: usize = 16;

impl Manifest {
    /// `directory` is where the MPD lies below the channel: its names count from there.
    pub fn read(directory: &str, bytes: &[u8]) -> Result<Manifest, Error> {
        let text = std::str::from_utf8(bytes).map_err(|error| Error::Xml(error.to_string()))?;
        let mut reader = Reader::from_str(text);
        let mut manifest = Manifest::default();
        let mut levels: Vec<Inherited> = Vec::new();
        let mut is_mpd = false;
        loop {
            let event = reader.read_event().map_err(|error| Error::Xml(error.to_string()))?;
            let (element, is_empty) = match &event {
                Event::Start(element) => (element, false),
                Event::Empty(element) => (element, true),
                Event::End(element) => {
                    let closed = levels.pop();
                    if let (b"Representation", Some(closed)) = (element.local_name().as_ref().as_bytes(), closed) {
                        manifest.add(directory, &closed)?;
                    }
                    continue;
                }
                Event::Eof if is_mpd => return Ok(manifest),
                Event::Eof => return Err(Error::NotMpd { found: "nothing".into() }),
                _ => continue,
            };
            let name = element.local_name();
            if !is_mpd {
                if name.as_ref() != "MPD" {
                    let found = name.as_ref().chars().take(32).collect::<String>().escape_debug().to_string();
                    return Err(Error::NotMpd { found });
                }
                is_mpd = true;
                // §5.3.1.2: static is also what is not said.
                manifest.is_static = attribute(element, "type").is_none_or(|kind| kind == "static");
            }
            if levels.len() == DEPTH_MAX {
                return Err(Error::Xml(format!("more than {DEPTH_MAX} elements in each other")));
            }
            let mut level = levels.last().cloned().unwrap_or_default();
            match name.as_ref() {
                "AdaptationSet" | "Representation" => {
                    let tag = attribute(element, "lang").and_then(|tag| language::from_elng(&tag));
                    level.language = tag.filter(|tag| tag != "und").or(level.language);
                    level.id = attribute(element, "id").unwrap_or_default();
                    level.bandwidth = attribute(element, "bandwidth").and_then(|rate| rate.parse().ok());
                }
                // These say something about the element that they are in.
                "SegmentTemplate" => {
                    if let Some(parent) = levels.last_mut() {
                        parent.initialization = attribute(element, "initialization").or(parent.initialization.take());
                        parent.media = attribute(element, "media").or(parent.media.take());
                    }
                }
                "Role" => {
                    let scheme = attribute(element, "schemeIdUri").unwrap_or_default();
                    let value = attribute(element, "value").unwrap_or_default();
                    if let (Some(parent), "urn:mpeg:dash:role:2011") = (levels.last_mut(), scheme.as_str()) {
                        parent.role = parent.role.or(Role::of_dash(&value));
                    }
                }
                _ => {}
            }
            match (is_empty, name.as_ref()) {
                (false, _) => levels.push(level),
                (true, "Representation") => manifest.add(directory, &level)?,
                (true, _) => {}
            }
        }
    }

    fn add(&mut self, directory: &str, level: &Inherited) -> Result<(), Error> {
        if self.representations.len() == PUBLISHER_RENDITIONS_MAX {
            return Err(Error::TooMany);
        }
        let template = |text: &String| Template::read(directory, text, &level.id, level.bandwidth);
        self.representations.push(Representation {
            initialization: level.initialization.as_ref().and_then(template).and_then(Template::into_name),
            media: level.media.as_ref().and_then(template),
            labels: Labels { language: level.language.clone(), role: level.role },
        });
        Ok(())
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = element.try_get_attribute(name).ok()??;
    found.normalized_value(XmlVersion::Implicit1_0).ok().map(|value| value.into_owned())
}

impl Template {
    /// §5.3.9.4.4. `None` if it is none.
    fn read(directory: &str, text: &str, id: &str, bandwidth: Option<u32>) -> Option<Template> {
        let mut pieces = vec![Piece::Text(if directory.is_empty() { String::new() } else { format!("{directory}/") })];
        for (index, part) in text.split('$').enumerate() {
            let piece = match (index % 2, part.split('%').next().unwrap_or_default()) {
                (0, _) => Piece::Text(part.into()),
                (_, "") => Piece::Text("$".into()),
                (_, "RepresentationID") => Piece::Text(id.into()),
                (_, "Bandwidth") => Piece::Text(bandwidth?.to_string()),
                (_, "Number" | "Time" | "SubNumber") => Piece::Digits,
                _ => return None,
            };
            match (pieces.last_mut(), piece) {
                (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
                (_, piece) => pieces.push(piece),
            }
        }
        Some(Template(pieces))
    }

    /// If it is of one name only.
    fn into_name(self) -> Option<String> {
        match self.0.into_iter().collect::<Vec<_>>().as_slice() {
            [Piece::Text(name)] => Some(name.clone()),
            _ => None,
        }
    }

    pub fn matches(&self, name: &str) -> bool {
        let mut rest = name;
        for piece in &self.0 {
            let left = match piece {
                Piece::Text(text) => rest.strip_prefix(text.as_str()),
                Piece::Digits => {
                    let left = rest.trim_start_matches(|character: char| character.is_ascii_digit());
                    (left.len() < rest.len()).then_some(left)
                }
            };
            match left {
                Some(left) => rest = left,
                None => return false,
            }
        }
        rest.is_empty()
    }
}
