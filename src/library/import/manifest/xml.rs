//! XML documents, as trees of elements without their namespaces.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    attributes: Vec<(String, String)>,
    pub children: Vec<Element>,
    /// Directly in it.
    pub text: String,
}

const DEPTH_MAX: usize = 32;
const ELEMENTS_MAX: usize = 1 << 21;

/// The name of the outermost element.
pub fn root(text: &str) -> Option<String> {
    let mut reader = Reader::from_str(text);
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) | Event::Empty(element) => return Some(element.local_name().as_ref().to_owned()),
            Event::Eof => return None,
            _ => {}
        }
    }
}

impl Element {
    /// The outermost element of a document, or why there is none.
    pub fn parse(text: &str) -> Result<Element, String> {
        let mut reader = Reader::from_str(text);
        let mut open: Vec<Element> = Vec::new();
        let mut count = 0;
        loop {
            let at = reader.buffer_position();
            let event = reader.read_event().map_err(|error| format!("XML that breaks off at byte {at} ({error})"))?;
            let closed = match event {
                Event::Start(start) => {
                    open.push(Element::of(&start));
                    count += 1;
                    None
                }
                Event::Empty(start) => {
                    count += 1;
                    Some(Element::of(&start))
                }
                Event::End(_) => open.pop(),
                Event::Text(found) => {
                    if let Some(element) = open.last_mut() {
                        element.text.push_str(&found.xml10_content());
                    }
                    None
                }
                Event::GeneralRef(entity) => {
                    if let Some(element) = open.last_mut() {
                        element.text.push_str(match &entity[..] {
                            "amp" => "&",
                            "lt" => "<",
                            "gt" => ">",
                            "quot" => "\"",
                            "apos" => "'",
                            _ => "\u{fffd}",
                        });
                    }
                    None
                }
                Event::Eof => return Err(format!("XML that breaks off at byte {at}")),
                _ => None,
            };
            if open.len() > DEPTH_MAX || count > ELEMENTS_MAX {
                return Err(format!("more than {DEPTH_MAX} elements in each other, or more than {ELEMENTS_MAX}"));
            }
            if let Some(mut closed) = closed {
                closed.text = closed.text.trim().to_owned();
                match open.last_mut() {
                    Some(parent) => parent.children.push(closed),
                    None => return Ok(closed),
                }
            }
        }
    }

    fn of(start: &BytesStart<'_>) -> Element {
        let attributes = start.attributes().filter_map(Result::ok).filter_map(|attribute| {
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?.into_owned();
            Some((attribute.key.local_name().as_ref().to_owned(), value))
        });
        Element { name: start.local_name().as_ref().to_owned(), attributes: attributes.collect(), ..Element::default() }
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.attribute(name)?.trim().parse().ok()
    }

    pub fn child(&self, name: &str) -> Option<&Element> {
        self.all(name).next()
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// All that is in it, in the order of the document.
    pub fn descendants(&self) -> Vec<&Element> {
        let mut found = Vec::new();
        let mut waiting: Vec<&Element> = self.children.iter().rev().collect();
        while let Some(element) = waiting.pop() {
            found.push(element);
            waiting.extend(element.children.iter().rev());
        }
        found
    }
}
