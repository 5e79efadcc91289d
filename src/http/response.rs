//! What is sent back: a status, fields that are already in wire form, and a payload.

use bytes::Bytes;

use crate::base::{Growing, Payload};

use super::request::Version;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub u16);

/// What an answer is, for metrics and logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    Multivariant,
    MediaPlaylist,
    Mpd,
    SmoothManifest,
    Init,
    Segment,
    Text,
    /// Thumbnails.
    Image,
    /// A progressive file.
    Movie,
    Page,
    /// Of the object store.
    Object,
    /// Refusals, OPTIONS, everything else.
    #[default]
    Other,
}

impl Kind {
    pub const ALL: [Kind; 12] = [
        Kind::Multivariant,
        Kind::MediaPlaylist,
        Kind::Mpd,
        Kind::SmoothManifest,
        Kind::Init,
        Kind::Segment,
        Kind::Text,
        Kind::Image,
        Kind::Movie,
        Kind::Page,
        Kind::Object,
        Kind::Other,
    ];

    /// As metric label.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Multivariant => "multivariant",
            Kind::MediaPlaylist => "media_playlist",
            Kind::Mpd => "mpd",
            Kind::SmoothManifest => "smooth_manifest",
            Kind::Init => "init",
            Kind::Segment => "segment",
            Kind::Text => "text",
            Kind::Image => "image",
            Kind::Movie => "movie",
            Kind::Page => "page",
            Kind::Object => "object",
            Kind::Other => "other",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Response {
    pub status: Status,
    pub kind: Kind,
    /// Field lines in wire form, each with its CRLF, so that a cached answer is sent without formatting: everything but
    /// `Date`, `Connection`, `Content-Length` and `Server`, which [`Response::write_head`] adds.
    pub fields: Bytes,
    /// For HEAD the body is described too; the connection leaves it out.
    pub body: Payload,
    /// What goes on behind the body as it is written: nobody knows its length yet.
    pub growing: Option<Box<Growing>>,
}

/// How the client is told where the body ends (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length`.
    Length,
    Chunked,
    /// With the connection: HTTP/1.0 knows no chunked coding.
    Close,
}

/// What scripts of any page may do with any answer. Part of every answer's fields: a player that cannot read a refusal
/// reports a network error instead.
pub const CORS_FIELDS: &str = "Access-Control-Allow-Origin: *\r\n\
    Access-Control-Expose-Headers: Accept-Ranges, Content-Length, Content-Range, Date, ETag, Last-Modified\r\n";

impl Response {
    /// An error that a person may read: one line of text. `fields` are further field lines, each with its CRLF.
    pub fn error(status: Status, reason: &str, fields: &str) -> Response {
        let mut lines = String::with_capacity(256);
        lines.push_str("Content-Type: text/plain; charset=utf-8\r\n");
        lines.push_str(fields);
        lines.push_str(CORS_FIELDS);
        let body = Bytes::from([reason, "\n"].concat());
        Response { status, kind: Kind::Other, fields: Bytes::from(lines), body: Payload::from(body), growing: None }
    }

    pub fn framing(&self, version: Version) -> Framing {
        match (&self.growing, version) {
            (None, _) => Framing::Length,
            (Some(_), Version::Http11) => Framing::Chunked,
            (Some(_), Version::Http10) => Framing::Close,
        }
    }

    /// Appends the whole head, with the empty line. After [`Framing::Close`] the connection cannot be kept alive.
    ///
    /// `date` is now, as [`super::date::format`] writes it. `Connection: keep-alive` is said although HTTP/1.1 implies it:
    /// an HTTP/1.0 client that asked for it waits for the answer (RFC 9112 §9.3), and it costs a copy of 24 bytes.
    pub fn write_head(&self, out: &mut Vec<u8>, date: &[u8; 29], framing: Framing, keep_alive: bool) {
        out.reserve(self.fields.len() + HEAD_OVERHEAD_BYTES);
        self.status.write_line(out);
        out.extend_from_slice(date);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.fields);
        match framing {
            Framing::Length if self.status.has_content() => {
                out.extend_from_slice(b"Content-Length: ");
                write_decimal(out, self.body.len());
                out.extend_from_slice(b"\r\n");
            }
            Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Framing::Length | Framing::Close => {}
        }
        out.extend_from_slice(if keep_alive {
            b"Connection: keep-alive\r\n\r\n"
        } else {
            b"Connection: close\r\n\r\n"
        });
    }
}

/// Status line, Server, Date, Content-Length and Connection together, rounded up.
const HEAD_OVERHEAD_BYTES: usize = 192;

macro_rules! statuses {
    ($($name:ident = $code:literal $reason:literal),* $(,)?) => {
        impl Status {
            $(pub const $name: Status = Status($code);)*

            /// The status line and the two fields that are the same for all, up to the value of `Date`.
            fn opening(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(concat!(
                        "HTTP/1.1 ", stringify!($code), " ", $reason, "\r\nServer: Headwater\r\nDate: "
                    )),)*
                    _ => None,
                }
            }

            /// The reason phrase, empty for a code the server does not use.
            pub fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    _ => "",
                }
            }
        }

        #[cfg(test)]
        const ALL: &[Status] = &[$(Status::$name),*];
    };
}

statuses! {
    CONTINUE = 100 "Continue",
    OK = 200 "OK",
    NO_CONTENT = 204 "No Content",
    PARTIAL_CONTENT = 206 "Partial Content",
    NOT_MODIFIED = 304 "Not Modified",
    BAD_REQUEST = 400 "Bad Request",
    FORBIDDEN = 403 "Forbidden",
    NOT_FOUND = 404 "Not Found",
    METHOD_NOT_ALLOWED = 405 "Method Not Allowed",
    REQUEST_TIMEOUT = 408 "Request Timeout",
    PRECONDITION_FAILED = 412 "Precondition Failed",
    CONTENT_TOO_LARGE = 413 "Content Too Large",
    URI_TOO_LONG = 414 "URI Too Long",
    RANGE_NOT_SATISFIABLE = 416 "Range Not Satisfiable",
    EXPECTATION_FAILED = 417 "Expectation Failed",
    HEADER_FIELDS_TOO_LARGE = 431 "Request Header Fields Too Large",
    INTERNAL_SERVER_ERROR = 500 "Internal Server Error",
    NOT_IMPLEMENTED = 501 "Not Implemented",
    SERVICE_UNAVAILABLE = 503 "Service Unavailable",
    VERSION_NOT_SUPPORTED = 505 "HTTP Version Not Supported",
    INSUFFICIENT_STORAGE = 507 "Insufficient Storage",
}

impl Status {
    /// Whether the answer has a body, or would have one if it were not for HEAD (RFC 9110 §8.6: 204 must not say a length,
    /// and the length that a 304 may say is that of an answer nobody asked for).
    pub fn has_content(self) -> bool {
        self.0 >= 200 && self != Status::NO_CONTENT && self != Status::NOT_MODIFIED
    }

    fn write_line(self, out: &mut Vec<u8>) {
        match self.opening() {
            Some(opening) => out.extend_from_slice(opening.as_bytes()),
            None => out.extend_from_slice(format!("HTTP/1.1 {:03} \r\nServer: Headwater\r\nDate: ", self.0).as_bytes()),
        }
    }
}

/// Appends `number` in decimal digits.
pub fn write_decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";

    #[test]
    fn heads() {
        let body = Payload::from(Bytes::from_static(b"0123456789"));
        let fields = Bytes::from_static(b"Content-Type: video/mp4\r\n");
        let common = "Server: Headwater\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: video/mp4\r\n";
        for (status, keep_alive, first, last) in [
            (Status::OK, true, "HTTP/1.1 200 OK", "Content-Length: 10\r\nConnection: keep-alive\r\n\r\n"),
            (Status::OK, false, "HTTP/1.1 200 OK", "Content-Length: 10\r\nConnection: close\r\n\r\n"),
            (Status::NOT_MODIFIED, true, "HTTP/1.1 304 Not Modified", "Connection: keep-alive\r\n\r\n"),
            (Status::NO_CONTENT, true, "HTTP/1.1 204 No Content", "Connection: keep-alive\r\n\r\n"),
            (Status(599), false, "HTTP/1.1 599 ", "Content-Length: 10\r\nConnection: close\r\n\r\n"),
        ] {
            let mut out = b"before".to_vec();
            let response =
                Response { status, kind: Kind::Segment, fields: fields.clone(), body: body.clone(), growing: None };
            response.write_head(&mut out, DATE, Framing::Length, keep_alive);
            assert_eq!(String::from_utf8(out).unwrap(), format!("before{first}\r\n{common}{last}"));
        }
    }

    #[test]
    fn every_status_has_its_line_and_fits_what_is_reserved() {
        for &status in ALL {
            let mut out = Vec::new();
            status.write_line(&mut out);
            let line = String::from_utf8(out).unwrap();
            assert!(line.starts_with(&format!("HTTP/1.1 {} {}\r\n", status.0, status.reason())), "{line}");
            let rest = "Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 18446744073709551615\r\nConnection: keep-alive\r\n\r\n";
            assert!(line.len() + rest.len() <= HEAD_OVERHEAD_BYTES, "{line}");
        }
    }

    #[test]
    fn decimals() {
        for number in [0, 9, 10, 1_234_567_890, u64::MAX] {
            let mut out = Vec::new();
            write_decimal(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }

    #[test]
    fn errors_are_one_line_of_text() {
        let error = Response::error(Status::METHOD_NOT_ALLOWED, "GET only", "Allow: GET\r\n");
        let mut out = Vec::new();
        error.write_head(&mut out, DATE, Framing::Length, false);
        let head = String::from_utf8(out).unwrap();
        assert!(head.contains("\r\nAllow: GET\r\n"), "{head}");
        assert!(head.contains("\r\nContent-Length: 9\r\n"), "{head}");
        assert!(head.contains("\r\nAccess-Control-Allow-Origin: *\r\n"), "{head}");
    }
}
