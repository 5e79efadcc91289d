//! SMIL files as streaming servers take them, and server manifests of Smooth Streaming (`.ism`), which are SMIL too: files,
//! with languages and names.

use super::xml::Element;
use super::{Error, Event, Input, Labels, Manifest, Named, Report};
use crate::media::isobmff::language;

/// More are no presentation.
const FILES_MAX: usize = 1_024;

pub fn read(manifest: &Manifest, report: Report<'_>) -> Result<Vec<Named>, Error> {
    let root = Element::parse(&manifest.text).map_err(|found| manifest.unexpected(found, "a SMIL document"))?;
    let mut inputs: Vec<Input> = Vec::new();
    // Of each input, how many of its audio tracks were named.
    let mut named: Vec<usize> = Vec::new();
    for element in root.descendants() {
        let is_media = matches!(element.name.as_str(), "video" | "audio" | "ref" | "text" | "textstream");
        let (true, Some(source)) = (is_media, element.attribute("src")) else { continue };
        // As some servers have it: what follows is an MP4 file.
        let path = manifest.resolve("", source.strip_prefix("mp4:").unwrap_or(source))?;
        let input = Input { path: path.clone(), labels: Labels::default(), audio: Vec::new() };
        if matches!(element.name.as_str(), "text" | "textstream") && input.subtitles().is_none() && !path.is_file() {
            report(Event::Note(&format!("{} left out: no such file of subtitles", path.display())));
            continue;
        }
        let at = match inputs.iter().position(|input| input.path == path) {
            Some(at) => at,
            None => {
                if inputs.len() == FILES_MAX {
                    return Err(manifest.unexpected(format!("more than {FILES_MAX} files"), "fewer"));
                }
                inputs.push(input);
                named.push(0);
                inputs.len() - 1
            }
        };
        let labels = labels(element);
        match element.name.as_str() {
            "audio" => {
                inputs[at].audio.push((named[at], labels));
                named[at] += 1;
            }
            // Of the sound beside a picture only the language is meant.
            "video" => inputs[at].labels.language = inputs[at].labels.language.take().or(labels.language),
            _ => inputs[at].labels = labels,
        }
    }
    Ok(inputs.into_iter().map(Named::File).collect())
}

fn labels(element: &Element) -> Labels {
    let first = |names: &[&str]| names.iter().find_map(|name| element.attribute(name)).filter(|it| !it.is_empty());
    let parameter = |name: &str| {
        let of = |parameter: &&Element| parameter.attribute("name") == Some(name);
        element.all("param").find(of).and_then(|parameter| parameter.attribute("value"))
    };
    let tag = first(&["systemLanguage", "system-language", "language", "lang"]).or_else(|| parameter("systemLanguage"));
    // trackName is an identifier in URLs, and for viewers only where there is no other.
    let name = first(&["title", "trackLabel"]).or_else(|| parameter("trackLabel"));
    Labels {
        language: tag.and_then(language::from_elng).filter(|tag| tag != "und"),
        name: name.filter(|name| name.len() <= 200 && !name.contains(char::is_control)).map(str::to_owned),
        role: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::*;

    fn inputs(text: &str) -> Result<Vec<String>, String> {
        let manifest = Manifest { path: "/x/a.smil".into(), format: Format::Smil, text: text.to_owned() };
        let found = read(&manifest, &mut |_| {}).map_err(|error| error.to_string())?;
        let shown = |named: &Named| match named {
            Named::File(input) => {
                let first = input.audio_labels(0);
                let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                format!("{} {} {}", input.path.display(), text(first.language), text(first.name))
            }
            other => format!("{other:?}"),
        };
        Ok(found.iter().map(shown).collect())
    }

    #[test]
    fn files_and_their_languages() {
        let smil = r#"<?xml version="1.0"?><smil title=""><body><switch>
            <video src="mp4:film_720.mp4" system-bitrate="2000000" height="720"/>
            <video src="mp4:film_360.mp4" system-bitrate="500000" system-language="deu"/>
            <textstream src="film.en.vtt" system-language="eng"/><textstream src="film.ismt"/>
            </switch></body></smil>"#;
        let want = ["/x/film_720.mp4 - -", "/x/film_360.mp4 de -", "/x/film.en.vtt en -"];
        assert_eq!(inputs(smil).unwrap(), want);
        let ism = r#"<smil xmlns="http://www.w3.org/2001/SMIL20/Language"><head/><body><switch>
            <video src="v1.ismv" systemBitrate="1"><param name="trackID" value="1" valuetype="data"/></video>
            <audio src="v1.ismv" systemBitrate="1" systemLanguage="fra"><param name="trackID" value="2"/></audio>
            <audio src="a.isma" systemBitrate="1" systemLanguage="en" title="Commentary"/></switch></body></smil>"#;
        assert_eq!(inputs(ism).unwrap(), ["/x/v1.ismv fr -", "/x/a.isma en Commentary"]);
        let outside = inputs(r#"<smil><video src="../b.mp4"/></smil>"#).unwrap_err();
        assert!(outside.starts_with("/x/a.smil: found \"../b.mp4\", expected a file in"), "{outside}");
        assert!(inputs("<smil><body>").unwrap_err().contains("XML that breaks off"));
    }
}
