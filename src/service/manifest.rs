//! A text that is rendered once and sent many times: a manifest of an asset, or a page.

use std::io::Write;
use std::sync::OnceLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::base::Payload;
use crate::base::limits::COMPRESS_INLINE_BYTES_MAX;
use crate::http::{Kind, Request};

use super::representation::{Coding, Description, Representation};

/// Plain and, once somebody accepted it, compressed; each with its ETag and its field lines in wire form.
#[derive(Debug)]
pub struct Manifest {
    text: Bytes,
    plain: Representation,
    /// `None` inside: compressing did not make it smaller.
    gzip: OnceLock<Option<Representation>>,
    label: Label,
}

/// What both forms have in common.
#[derive(Debug)]
pub struct Label {
    pub kind: Kind,
    pub content_type: &'static str,
    /// What the text was made from: begins both ETags, which end in a checksum of the text.
    pub source: String,
    /// Seconds since 1970.
    pub last_modified: Option<u64>,
    pub cache_control: String,
}

impl Manifest {
    pub fn new(label: Label, text: impl Into<Bytes>) -> Manifest {
        let text = text.into();
        let plain = label.represent(Coding::Identity, &text, text.clone());
        Manifest { text, plain, gzip: OnceLock::new(), label }
    }

    /// The form that the request wants; `None` if it has to be compressed first, which is more than a worker should do
    /// between two requests.
    ///
    /// Ranges are always of the plain form: the compressed one may differ between two builds of the server, and parts of
    /// different ones must not be put together.
    pub fn form(&self, request: &Request<'_>) -> Option<&Representation> {
        if !request.accepts_gzip || request.range.is_some() {
            return Some(&self.plain);
        }
        if self.text.len() <= COMPRESS_INLINE_BYTES_MAX {
            self.compress();
        }
        self.gzip.get().map(|compressed| compressed.as_ref().unwrap_or(&self.plain))
    }

    pub fn plain(&self) -> &Representation {
        &self.plain
    }

    /// Makes the compressed form unless there is one already. Some milliseconds of work for each megabyte.
    pub fn compress(&self) {
        self.gzip.get_or_init(|| {
            // The checksum in the ETag is of the text: what it names decodes to one thing, whoever compressed it.
            let compressed = gzip(&self.text);
            (compressed.len() < self.text.len())
                .then(|| self.label.represent(Coding::Gzip, &self.text, Bytes::from(compressed)))
        });
    }

    /// What this takes in a cache, with a compressed form that may come, in bytes: never less than it really is, and the
    /// same at any time.
    pub fn weight(&self) -> u64 {
        const FIELDS_AND_BOOKKEEPING: u64 = 2_048;
        2 * self.text.len() as u64 + FIELDS_AND_BOOKKEEPING
    }
}

impl Label {
    fn represent(&self, coding: Coding, text: &[u8], body: Bytes) -> Representation {
        let form = if coding == Coding::Gzip { "-gzip" } else { "" };
        Representation::new(
            Description {
                kind: self.kind,
                content_type: self.content_type,
                coding,
                etag: format_args!("{}-{:08x}{form}", self.source, crc32fast::hash(text)),
                last_modified: self.last_modified,
                cache_control: &self.cache_control,
            },
            Payload::from(body),
        )
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::default());
    encoder.write_all(text).and_then(|()| encoder.finish()).expect("memory takes what is written to it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request;
    use flate2::read::GzDecoder;
    use std::io::Read;

    fn page(text: String) -> Manifest {
        let label = Label {
            kind: Kind::Page,
            content_type: "text/html",
            source: "page".into(),
            last_modified: None,
            cache_control: "no-cache".into(),
        };
        Manifest::new(label, text)
    }

    fn form<'m>(manifest: &'m Manifest, fields: &str) -> Option<&'m Representation> {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        manifest.form(&request::parse(head.as_bytes()).unwrap().unwrap().0)
    }

    fn fields(form: &Representation) -> String {
        let request = b"GET / HTTP/1.0\r\n\r\n";
        let response = form.respond(&request::parse(request).unwrap().unwrap().0);
        String::from_utf8(response.fields.to_vec()).unwrap()
    }

    #[test]
    fn small_texts_are_compressed_when_asked_for_and_large_ones_elsewhere() {
        let small = page("text ".repeat(100));
        let compressed = fields(form(&small, "Accept-Encoding: gzip\r\n").unwrap());
        assert!(compressed.contains("Content-Encoding: gzip\r\n"), "{compressed}");
        let plain = fields(form(&small, "").unwrap());
        assert!(!plain.contains("Content-Encoding"), "{plain}");
        assert!(plain.contains("Vary: Accept-Encoding\r\n") && compressed.contains("Vary: Accept-Encoding\r\n"));
        let ranged = fields(form(&small, "Accept-Encoding: gzip\r\nRange: bytes=0-1\r\n").unwrap());
        assert_eq!(plain, ranged);

        let large = page("text ".repeat(COMPRESS_INLINE_BYTES_MAX));
        assert!(form(&large, "Accept-Encoding: gzip\r\n").is_none());
        large.compress();
        let compressed = fields(form(&large, "Accept-Encoding: gzip\r\n").unwrap());
        assert!(compressed.contains("-gzip\"\r\n"), "{compressed}");
    }

    #[test]
    fn what_does_not_get_smaller_stays_plain() {
        let short = page("x".into());
        assert!(!fields(form(&short, "Accept-Encoding: gzip\r\n").unwrap()).contains("gzip"));
    }

    #[test]
    fn compressed_bytes_decode_to_the_text() {
        let text = "#EXTINF:4.004,\nv1/0.m4s\n".repeat(1_000);
        let mut decoded = String::new();
        GzDecoder::new(gzip(text.as_bytes()).as_slice()).read_to_string(&mut decoded).unwrap();
        assert_eq!(decoded, text);
        assert!(gzip(text.as_bytes()).len() as u64 <= page(text).weight());
    }
}
