//! Styles (TTML2 §10), as far as WebVTT can say them.

use super::super::{COLOURS, Face, colour_of};

/// What an element, a style or a region says of how text looks and where it stands; `None`: nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Style {
    italic: Option<bool>,
    bold: Option<bool>,
    underline: Option<bool>,
    colour: Option<Option<&'static str>>,
    align: Option<&'static str>,
    place: Option<Place>,
    /// Upper edge and height of the region, in percent.
    origin: Option<f64>,
    extent: Option<f64>,
}

/// Where in its region text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Before,
    Center,
    After,
}

impl Style {
    pub fn read(said: impl Fn(&str) -> Option<String>) -> Style {
        let is = |name: &str, yes: &[&str]| said(name).map(|value| yes.contains(&value.trim()));
        Style {
            italic: is("fontStyle", &["italic", "oblique"]),
            bold: is("fontWeight", &["bold"]),
            underline: said("textDecoration")
                .map(|value| value.split_ascii_whitespace().any(|word| word == "underline")),
            colour: said("color").map(|value| colour(value.trim())),
            align: said("textAlign").and_then(|value| {
                ["start", "left", "center", "right", "end"].into_iter().find(|align| *align == value.trim())
            }),
            place: said("displayAlign").and_then(|value| match value.trim() {
                "before" => Some(Place::Before),
                "center" => Some(Place::Center),
                "after" => Some(Place::After),
                _ => None,
            }),
            origin: said("origin").and_then(|value| second_percentage(&value)),
            extent: said("extent").and_then(|value| second_percentage(&value)),
        }
    }

    /// With another that goes before.
    pub fn under(&self, other: Style) -> Style {
        Style {
            italic: other.italic.or(self.italic),
            bold: other.bold.or(self.bold),
            underline: other.underline.or(self.underline),
            colour: other.colour.or(self.colour),
            align: other.align.or(self.align),
            place: other.place.or(self.place),
            origin: other.origin.or(self.origin),
            extent: other.extent.or(self.extent),
        }
    }

    pub fn face(&self) -> Face {
        Face {
            bold: self.bold == Some(true),
            italic: self.italic == Some(true),
            underline: self.underline == Some(true),
            colour: self.colour.flatten(),
        }
    }

    /// WebVTT cue settings. Text in the lower half stands where text stands anyway, above whatever else is there.
    pub fn settings(&self) -> String {
        let mut settings = String::new();
        if let Some(top) = self.origin {
            let height = self.extent.unwrap_or(100.0 - top);
            let bottom = (top + height).min(100.0);
            let line = match self.place.unwrap_or(Place::Before) {
                Place::Before if top < 50.0 => Some(format!("line:{top:.0}%")),
                Place::Center if top + height / 2.0 < 75.0 => Some(format!("line:{:.0}%,center", top + height / 2.0)),
                Place::After if bottom < 50.0 => Some(format!("line:{bottom:.0}%,end")),
                _ => None,
            };
            settings.extend(line);
        }
        if let Some(align) = self.align.filter(|align| *align != "center") {
            settings.push_str(if settings.is_empty() { "align:" } else { " align:" });
            settings.push_str(align);
        }
        settings
    }
}

/// `#rrggbb`, `#rrggbbaa`, `rgb(r,g,b)` or a name; `None` inside: one that WebVTT has no class for, which is shown as text is.
fn colour(value: &str) -> Option<&'static str> {
    let value = value.to_ascii_lowercase();
    if let Some(digits) = value.strip_prefix('#') {
        return u32::from_str_radix(digits.get(..6)?, 16).ok().and_then(colour_of);
    }
    if let Some(parts) =
        value.strip_prefix("rgb(").or(value.strip_prefix("rgba(")).and_then(|rest| rest.strip_suffix(')'))
    {
        let mut parts = parts.split(',').map(|part| part.trim().parse::<u8>().ok());
        let mut next = || parts.next().flatten().map(u32::from);
        return colour_of(next()? << 16 | next()? << 8 | next()?);
    }
    let name = if value == "aqua" {
        "cyan"
    } else if value == "fuchsia" {
        "magenta"
    } else {
        &value
    };
    COLOURS.iter().map(|(known, _)| *known).find(|known| *known == name)
}

/// The second of `10% 80%`, which is the vertical one; other units are not known here.
fn second_percentage(value: &str) -> Option<f64> {
    let number: f64 = value.split_ascii_whitespace().nth(1)?.strip_suffix('%')?.parse().ok()?;
    (0.0..=100.0).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours() {
        for (value, want) in [
            ("#FFFF00", Some("yellow")),
            ("#00ff0080", Some("lime")),
            ("rgb(255, 0, 0)", Some("red")),
            ("aqua", Some("cyan")),
            ("white", None),
            ("#12", None),
            ("#gggggg", None),
            ("rgb(1,2)", None),
            ("rgb(256,0,0)", None),
        ] {
            assert_eq!(colour(value), want, "{value}");
        }
    }

    #[test]
    fn places() {
        let style = |place: &str, origin: &str, extent: &str| {
            let said = |name: &str| {
                let value = match name {
                    "displayAlign" => place,
                    "origin" => origin,
                    "extent" => extent,
                    _ => "",
                };
                (!value.is_empty()).then(|| value.to_owned())
            };
            Style::read(said).settings()
        };
        for (place, origin, extent, want) in [
            ("", "", "", ""),
            ("before", "10% 10%", "80% 10%", "line:10%"),
            ("before", "10% 80%", "80% 10%", ""),
            ("after", "10% 80%", "80% 10%", ""),
            ("after", "10% 5%", "80% 10%", "line:15%,end"),
            ("center", "0% 0%", "100% 100%", "line:50%,center"),
            ("after", "0px 0px", "100% 100%", ""),
            ("after", "0% NaN%", "100% 100%", ""),
        ] {
            assert_eq!(style(place, origin, extent), want, "{place} {origin} {extent}");
        }
    }
}
