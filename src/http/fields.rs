//! What the field lines of a request say, as far as the server acts on it.

use super::Status;
use super::request::{Body, Refusal, Request, RequestLine, Version, bad, is_host, refuse};

/// What the field lines say, gathered before it is judged together.
#[derive(Default)]
pub struct Fields<'b> {
    host: Option<&'b str>,
    content_length: Option<u64>,
    transfer_encoding: Option<Coding>,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    gzip: Option<u16>,
    identity: Option<u16>,
    any_coding: Option<u16>,
    range: Single<'b>,
    if_range: Single<'b>,
    if_match: Single<'b>,
    if_none_match: Option<&'b str>,
    if_modified_since: Single<'b>,
    if_unmodified_since: Single<'b>,
    user_agent: Option<&'b str>,
    referer: Option<&'b str>,
    origin: Option<&'b str>,
    access_control_method: Option<&'b str>,
    access_control_headers: Option<&'b str>,
}

/// A field of which there should be one line. Of two, neither counts: ranges and conditions may be ignored, and whoever sent
/// both cannot have meant either.
#[derive(Clone, Copy, Default)]
enum Single<'b> {
    #[default]
    Absent,
    Once(&'b str),
    Repeated,
}

impl<'b> Single<'b> {
    fn see(&mut self, value: &'b [u8]) {
        *self = match self {
            Single::Absent => Single::Once(text(value)),
            _ => Single::Repeated,
        };
    }

    fn value(self) -> Option<&'b str> {
        match self {
            Single::Once(value) => Some(value),
            Single::Absent | Single::Repeated => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Chunked,
    /// Chunked more than once, or an empty list: no way to tell where the body ends.
    Malformed,
    Unknown,
}

impl<'b> Fields<'b> {
    /// `bytes` are whole lines up to and including the empty one; `rows` has room for all of them.
    pub fn read(&mut self, bytes: &'b [u8], rows: &mut [httparse::Header<'b>]) -> Result<(), Refusal> {
        let lines = match httparse::parse_headers(bytes, rows) {
            Ok(httparse::Status::Complete((_, lines))) => lines,
            // The lines were found complete before.
            Ok(httparse::Status::Partial) => return Err(bad("the header fields are malformed")),
            Err(httparse::Error::HeaderName) => {
                return Err(bad("a header field's name is not a token followed by a colon"));
            }
            Err(httparse::Error::HeaderValue) => {
                return Err(bad("a header field's value contains a control character"));
            }
            Err(httparse::Error::TooManyHeaders) => {
                return Err(refuse(Status::HEADER_FIELDS_TOO_LARGE, "the request has too many header fields"));
            }
            Err(_) => return Err(bad("the header fields are malformed")),
        };
        lines.iter().try_for_each(|line| self.see(line.name, line.value))
    }

    fn see(&mut self, name: &str, value: &'b [u8]) -> Result<(), Refusal> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is("host") => self.see_host(value)?,
            5 if is("range") => self.range.see(value),
            6 if is("expect") => self.see_expect(value)?,
            6 if is("origin") => self.origin = str::from_utf8(value).ok(),
            7 if is("referer") => self.referer = str::from_utf8(value).ok(),
            8 if is("if-match") => self.if_match.see(value),
            8 if is("if-range") => self.if_range.see(value),
            10 if is("connection") => self.see_connection(value),
            10 if is("user-agent") => self.user_agent = str::from_utf8(value).ok(),
            // A list (RFC 9110 §13.1.2); of several lines one is enough, for a missed match only costs the body.
            13 if is("if-none-match") => self.if_none_match = self.if_none_match.or(Some(text(value))),
            14 if is("content-length") => self.see_content_length(value)?,
            15 if is("accept-encoding") => self.see_accept_encoding(value),
            17 if is("if-modified-since") => self.if_modified_since.see(value),
            17 if is("transfer-encoding") => self.see_transfer_encoding(value),
            19 if is("if-unmodified-since") => self.if_unmodified_since.see(value),
            29 if is("access-control-request-method") => self.access_control_method = str::from_utf8(value).ok(),
            30 if is("access-control-request-headers") => self.access_control_headers = str::from_utf8(value).ok(),
            _ => {}
        }
        Ok(())
    }

    /// RFC 9112 §3.2: more than one, or an invalid one, is to be answered with 400.
    fn see_host(&mut self, value: &'b [u8]) -> Result<(), Refusal> {
        if self.host.is_some() {
            return Err(bad("the request has more than one Host"));
        }
        match str::from_utf8(value) {
            Ok(host) if is_host(host) => self.host = Some(host),
            _ => return Err(bad("the Host is not a valid host")),
        }
        Ok(())
    }

    fn see_expect(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(refuse(Status::EXPECTATION_FAILED, "the only expectation this server meets is 100-continue"));
        }
        self.expects_continue = true;
        Ok(())
    }

    fn see_connection(&mut self, value: &[u8]) {
        for option in list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// RFC 9110 §8.6 lets a recipient take repeated equal lengths as one; nobody sends them but who wants to confuse a proxy.
    fn see_content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.content_length.is_some() {
            return Err(bad("the request has more than one Content-Length"));
        }
        let digits = |so_far: u64, &digit: &u8| match digit {
            b'0'..=b'9' => so_far.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
            _ => None,
        };
        match value.iter().try_fold(0, digits) {
            Some(length) if !value.is_empty() => self.content_length = Some(length),
            _ => return Err(bad("the Content-Length is not a number of bytes")),
        }
        Ok(())
    }

    fn see_transfer_encoding(&mut self, value: &[u8]) {
        let mut codings = list(value).peekable();
        if codings.peek().is_none() {
            self.transfer_encoding = self.transfer_encoding.or(Some(Coding::Malformed));
        }
        for coding in codings {
            self.transfer_encoding = Some(match (self.transfer_encoding, coding.eq_ignore_ascii_case(b"chunked")) {
                (None, true) => Coding::Chunked,
                (Some(Coding::Chunked | Coding::Malformed), true) => Coding::Malformed,
                _ => Coding::Unknown,
            });
        }
    }

    fn see_accept_encoding(&mut self, value: &[u8]) {
        for member in list(value) {
            let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let coding = parts.next().unwrap_or_default();
            let weight = parts.find_map(weight).unwrap_or(1_000);
            if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
                self.gzip = Some(weight);
            } else if coding.eq_ignore_ascii_case(b"identity") {
                self.identity = Some(weight);
            } else if coding == b"*" {
                self.any_coding = Some(weight);
            }
        }
    }

    pub fn request(self, line: RequestLine<'b>) -> Result<Request<'b>, Refusal> {
        if self.host.is_none() && line.version == Version::Http11 {
            return Err(bad("the request has no Host"));
        }
        let body = match (self.transfer_encoding, self.content_length) {
            (None, None) => Body::None,
            (None, Some(length)) => Body::Length(length),
            (Some(_), Some(_)) => return Err(bad("the request has both Transfer-Encoding and Content-Length")),
            // RFC 9112 §6.1: it may have come through something that does not know what it means.
            (Some(_), None) if line.version == Version::Http10 => {
                return Err(bad("HTTP/1.0 has no Transfer-Encoding"));
            }
            (Some(Coding::Chunked), None) => Body::Chunked,
            (Some(Coding::Malformed), None) => return Err(bad("the Transfer-Encoding is malformed")),
            (Some(Coding::Unknown), None) => {
                return Err(refuse(Status::NOT_IMPLEMENTED, "the only Transfer-Encoding this server knows is chunked"));
            }
        };
        let gzip = self.gzip.or(self.any_coding).unwrap_or(0);
        Ok(Request {
            method: line.method,
            path: line.path,
            query: line.query,
            version: line.version,
            keep_alive: !self.close && (self.keep_alive || line.version == Version::Http11),
            body,
            host: line.authority.or(self.host),
            range: self.range.value(),
            if_range: self.if_range.value(),
            if_match: self.if_match.value(),
            if_none_match: self.if_none_match,
            if_modified_since: self.if_modified_since.value(),
            if_unmodified_since: self.if_unmodified_since.value(),
            accepts_gzip: gzip > 0 && gzip >= self.identity.unwrap_or(0),
            // RFC 9110 §10.1.1: ignored in HTTP/1.0.
            expects_continue: self.expects_continue && line.version == Version::Http11,
            user_agent: self.user_agent,
            referer: self.referer,
            origin: self.origin,
            access_control_method: self.access_control_method,
            access_control_headers: self.access_control_headers,
            peer: None,
        })
    }
}

/// The members of a comma-separated list (RFC 9110 §5.6.1), empty ones left out.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// `q=0.5` in thousandths (RFC 9110 §12.4.2); `None` for another parameter, 0 for a weight that is none.
fn weight(parameter: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', value @ ..] = parameter else { return None };
    let (whole, fraction) = match value {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return Some(0),
    };
    let mut thousandths = u16::from(whole - b'0') * 1_000;
    for (digit, worth) in fraction.iter().zip([100, 10, 1]) {
        match digit {
            b'0'..=b'9' => thousandths += u16::from(digit - b'0') * worth,
            _ => return Some(0),
        }
    }
    Some(thousandths.min(1_000))
}

fn text(value: &[u8]) -> &str {
    str::from_utf8(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::http::request::parse;

    /// The smallest request around some field lines.
    fn get(fields: &str) -> String {
        format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
    }

    fn status(head: &[u8]) -> u16 {
        match parse(head) {
            Ok(Some((_, len))) if len == head.len() => 200,
            Ok(_) => 0,
            Err(refusal) => refusal.status.0,
        }
    }

    #[test]
    fn fields() {
        for (fields, want) in [
            ("X: y\r\n", 200),
            ("X:\r\n", 200),
            ("X: caf\u{e9}\r\n", 200),
            ("X : y\r\n", 400),
            (": y\r\n", 400),
            ("X\r\n", 400),
            ("X: y\r\n z\r\n", 400),
            ("X: y\r\n\tz\r\n", 400),
            ("X: y\n", 400),
            ("X: y\rz\r\n", 400),
            ("X: y\r\r\n", 400),
            ("X: \0\r\n", 400),
            ("X: \x7f\r\n", 400),
            ("X(: y\r\n", 400),
            ("Host: h\r\n", 400),
            ("Expect: 100-Continue\r\n", 200),
            ("Expect: rain\r\n", 417),
            ("Content-Length: 0\r\n", 200),
            ("Content-Length: 18446744073709551615\r\n", 200),
            ("Content-Length: 18446744073709551616\r\n", 400),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", 400),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
            ("Content-Length: 5, 5\r\n", 400),
            ("Content-Length: +5\r\n", 400),
            ("Content-Length: -5\r\n", 400),
            ("Content-Length: 0x5\r\n", 400),
            ("Content-Length:\r\n", 400),
            ("Transfer-Encoding: Chunked\r\n", 200),
            ("Transfer-Encoding: chunked, chunked\r\n", 400),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Transfer-Encoding:\r\n", 400),
            ("Transfer-Encoding: gzip, chunked\r\n", 501),
            ("Transfer-Encoding: gzip\r\n", 501),
            ("Transfer-Encoding: xchunked\r\n", 501),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
            ("Content-Length: 5\r\nTransfer-Encoding: gzip\r\n", 400),
        ] {
            assert_eq!(status(get(fields).as_bytes()), want, "{fields:?}");
        }
    }

    #[test]
    fn hosts() {
        for (version, fields, want) in [
            ("1.1", "", 400),
            ("1.0", "", 200),
            ("1.1", "Host:\r\n", 200),
            ("1.1", "Host: [::1]:80\r\n", 200),
            ("1.1", "Host: a b\r\n", 400),
            ("1.1", "Host: a/b\r\n", 400),
            ("1.1", "Host: a@b\r\n", 400),
            ("1.0", "Host: a\r\nHost: a\r\n", 400),
            ("1.0", "Host: a\r\nTransfer-Encoding: chunked\r\n", 400),
        ] {
            let head = format!("GET / HTTP/{version}\r\n{fields}\r\n");
            assert_eq!(status(head.as_bytes()), want, "{version} {fields:?}");
        }
    }

    #[test]
    fn persistence() {
        for (version, fields, want) in [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: x, Close\r\n", false),
            ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
            ("1.1", "Connection: closer\r\n", true),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            let head = format!("GET / HTTP/{version}\r\nHost: h\r\n{fields}\r\n");
            assert_eq!(parse(head.as_bytes()).unwrap().unwrap().0.keep_alive, want, "{version} {fields:?}");
        }
    }

    #[test]
    fn compression() {
        for (fields, want) in [
            ("", false),
            ("Accept-Encoding:\r\n", false),
            ("Accept-Encoding: gzip\r\n", true),
            ("Accept-Encoding: X-GZIP\r\n", true),
            ("Accept-Encoding: deflate, br\r\n", false),
            ("Accept-Encoding: br\r\nAccept-Encoding: gzip\r\n", true),
            ("Accept-Encoding: *\r\n", true),
            ("Accept-Encoding: gzip;q=0\r\n", false),
            ("Accept-Encoding: gzip ; q=0.000\r\n", false),
            ("Accept-Encoding: gzip;q=0.001\r\n", true),
            ("Accept-Encoding: *;q=1, gzip;q=0\r\n", false),
            ("Accept-Encoding: *;q=0\r\n", false),
            ("Accept-Encoding: gzip;q=0.5, identity\r\n", false),
            ("Accept-Encoding: gzip, identity;q=0.5\r\n", true),
            ("Accept-Encoding: gzip;q=x\r\n", false),
            ("Accept-Encoding: gzipped\r\n", false),
        ] {
            assert_eq!(parse(get(fields).as_bytes()).unwrap().unwrap().0.accepts_gzip, want, "{fields:?}");
        }
    }

    #[test]
    fn repeated_and_unreadable_conditions_count_for_nothing() {
        let head = get("Range: bytes=0-1\r\nRange: bytes=2-3\r\nIf-None-Match: \"a\"\r\nIf-None-Match: \"b\"\r\n");
        let (request, _) = parse(head.as_bytes()).unwrap().unwrap();
        assert_eq!((request.range, request.if_none_match), (None, Some("\"a\"")));
        let head = b"GET / HTTP/1.0\r\nIf-Match: \"\xff\"\r\nUser-Agent: \xff\r\n\r\n";
        let (request, _) = parse(head).unwrap().unwrap();
        assert_eq!((request.if_match, request.user_agent), (Some(""), None));
    }
}
