//! One form of one resource, with everything decided but what the request's conditions and ranges make of it.

use std::fmt;
use std::io::Write;
use std::ops::Range;

use bytes::Bytes;

use crate::base::Payload;
use crate::base::payload::Body;
use crate::http::conditional::{self, Outcome, Validators};
use crate::http::range::{self, Selection};
use crate::http::request::Method;
use crate::http::response::CORS_FIELDS;
use crate::http::{Kind, Request, Response, Status, date};

/// Ready to be sent any number of times: its field lines are in wire form, and every answer that needs no others shares
/// them. What is different between 200 and 304 stands first, so that the fields of a 304 are the rest.
#[derive(Clone, Debug)]
pub struct Representation<B = Payload> {
    kind: Kind,
    fields: Bytes,
    /// `Content-Type` is the first line; where the next begins.
    type_end: usize,
    /// Where the fields begin that a 304 repeats (RFC 9110 §15.4.5).
    lasting_start: usize,
    /// Of the entity tag in the fields, with its quotes.
    etag: Range<usize>,
    last_modified: Option<u64>,
    body: B,
}

/// What a representation's fields say.
pub struct Description<'a> {
    pub kind: Kind,
    pub content_type: &'a str,
    pub coding: Coding,
    /// Without quotes; of characters that need no care (RFC 9110 §8.8.3).
    pub etag: fmt::Arguments<'a>,
    /// Seconds since 1970.
    pub last_modified: Option<u64>,
    /// The value of `Cache-Control`.
    pub cache_control: &'a str,
}

/// RFC 9110 §8.4, §12.5.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// There is only one form.
    Only,
    /// This is the plain form of what could be compressed.
    Identity,
    Gzip,
}

impl<B: Body> Representation<B> {
    pub fn new(description: Description<'_>, body: B) -> Representation<B> {
        Representation::with_cors(description, body, CORS_FIELDS)
    }

    /// `cors`: field lines that say what scripts of other pages may do.
    pub fn with_cors(description: Description<'_>, body: B, cors: &str) -> Representation<B> {
        let mut lines = Vec::with_capacity(512);
        lines.extend_from_slice(b"Content-Type: ");
        lines.extend_from_slice(description.content_type.as_bytes());
        lines.extend_from_slice(b"\r\n");
        let type_end = lines.len();
        if description.coding == Coding::Gzip {
            lines.extend_from_slice(b"Content-Encoding: gzip\r\n");
        } else {
            lines.extend_from_slice(b"Accept-Ranges: bytes\r\n");
        }
        let lasting_start = lines.len();
        lines.extend_from_slice(b"ETag: ");
        let etag_start = lines.len();
        write!(lines, "\"{}\"", description.etag).expect("memory takes what is written to it");
        let etag = etag_start..lines.len();
        if let Some(unix) = description.last_modified {
            lines.extend_from_slice(b"\r\nLast-Modified: ");
            lines.extend_from_slice(&date::format(unix));
        }
        lines.extend_from_slice(b"\r\nCache-Control: ");
        lines.extend_from_slice(description.cache_control.as_bytes());
        lines.extend_from_slice(b"\r\n");
        if description.coding != Coding::Only {
            lines.extend_from_slice(b"Vary: Accept-Encoding\r\n");
        }
        lines.extend_from_slice(cors.as_bytes());
        let (kind, last_modified) = (description.kind, description.last_modified);
        Representation { kind, fields: Bytes::from(lines), type_end, lasting_start, etag, last_modified, body }
    }

    /// The answer to a GET or HEAD that selected this form.
    pub fn respond(&self, request: &Request<'_>) -> Response {
        match conditional::evaluate(request, self.validators()) {
            Outcome::Proceed => {}
            Outcome::NotModified => {
                return self.response(Status::NOT_MODIFIED, self.fields.slice(self.lasting_start..), Payload::Empty);
            }
            Outcome::PreconditionFailed => {
                let reason = "a precondition of the request is not met";
                return Response::error(Status::PRECONDITION_FAILED, reason, "Cache-Control: no-store\r\n");
            }
        }
        match request.range {
            // RFC 9110 §14.2: a range of another method than GET is ignored.
            Some(field) if request.method == Method::Get && conditional::range_applies(request, self.validators()) => {
                self.respond_range(field)
            }
            _ => self.response(Status::OK, self.fields.clone(), self.body.whole()),
        }
    }

    fn respond_range(&self, field: &str) -> Response {
        let len = self.body.len();
        match range::select(field, len) {
            Selection::Whole => self.response(Status::OK, self.fields.clone(), self.body.whole()),
            Selection::One(range) => {
                let fields = [range::content_range(&range, len).as_bytes(), &self.fields].concat();
                self.response(Status::PARTIAL_CONTENT, Bytes::from(fields), self.body.slice(range))
            }
            Selection::Many(ranges) => {
                let (content_type, rest) = self.fields.split_at(self.type_end);
                let fields = [range::MULTIPART_TYPE_FIELD.as_bytes(), rest].concat();
                let body = range::multipart(&ranges, &self.body, &String::from_utf8_lossy(content_type));
                self.response(Status::PARTIAL_CONTENT, Bytes::from(fields), body)
            }
            Selection::Unsatisfiable => {
                let fields = [range::unsatisfied(len).as_str(), "Cache-Control: no-store\r\n"].concat();
                Response::error(Status::RANGE_NOT_SATISFIABLE, "the range asked for lies outside", &fields)
            }
        }
    }

    fn response(&self, status: Status, fields: Bytes, body: Payload) -> Response {
        Response { status, kind: self.kind, fields, body, growing: None }
    }

    fn validators(&self) -> Validators<'_> {
        let etag = str::from_utf8(&self.fields[self.etag.clone()]).unwrap_or_default();
        Validators { etag, last_modified: self.last_modified }
    }
}
