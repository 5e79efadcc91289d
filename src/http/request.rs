//! Request heads: checked byte by byte where httparse is lenient, then parsed by it.
//!
//! httparse accepts bare line feeds, any number of empty lines before the request and targets that are not ASCII, and it
//! knows no HTTP versions but 1.0 and 1.1. Two programs that disagree on where a request ends can be made to answer the
//! wrong one (request smuggling), so the request line and the line ends are checked here, and httparse is left the fields.
//!
//! Everything is judged from left to right: a head that is refused early is refused for the same reason as the whole would
//! have been.

use std::net::IpAddr;

use memchr::memchr;

use crate::base::limits::{HEAD_BYTES_MAX, HEADER_FIELDS_MAX, TARGET_BYTES_MAX};

use super::fields::Fields;
use super::{Response, Status};

/// A request head, borrowed from the connection's buffer. Only fields the server acts on or logs are kept.
///
/// A field value that is not UTF-8 is kept as the empty string, which no range and no condition matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'b> {
    pub method: Method<'b>,
    /// Target as sent, without the query; always starts with `/` (or is `*` for OPTIONS).
    pub path: &'b str,
    pub query: Option<&'b str>,
    /// HTTP/1.0 has no keep-alive unless asked for, and no chunked coding.
    pub version: Version,
    /// Whether the client will send another request on this connection.
    pub keep_alive: bool,
    pub body: Body,
    /// Of the target if that names one, else the field (RFC 9112 §3.2.2).
    pub host: Option<&'b str>,
    pub range: Option<&'b str>,
    pub if_range: Option<&'b str>,
    pub if_match: Option<&'b str>,
    pub if_none_match: Option<&'b str>,
    pub if_modified_since: Option<&'b str>,
    pub if_unmodified_since: Option<&'b str>,
    /// Whether `gzip` is acceptable for the response, and not less welcome than no coding (RFC 9110 §12.5.3).
    pub accepts_gzip: bool,
    pub expects_continue: bool,
    pub user_agent: Option<&'b str>,
    pub referer: Option<&'b str>,
    /// What a script of another page asks with (Fetch §3.2).
    pub origin: Option<&'b str>,
    /// What a preflight request asks for (Fetch §3.3.2).
    pub access_control_method: Option<&'b str>,
    pub access_control_headers: Option<&'b str>,
    /// Whom it came from; filled in by who has the connection.
    pub peer: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method<'b> {
    Get,
    Head,
    Options,
    /// Anything else, as sent.
    Other(&'b str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http10,
    Http11,
}

/// What follows the head on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    None,
    Length(u64),
    Chunked,
}

/// Why a head is not answered but refused. The connection is closed after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: Status,
    /// For the body of the answer and the log: one short sentence.
    pub reason: &'static str,
}

impl Refusal {
    /// The answer after which the connection is closed.
    pub fn response(self) -> Response {
        Response::error(self.status, self.reason, "Cache-Control: no-store\r\n")
    }
}

/// `Ok(None)`: incomplete, read more. `Ok(Some((request, len)))`: the head took `len` bytes of `bytes`.
///
/// No more than `HEAD_BYTES_MAX` bytes are looked at, so what is incomplete is incomplete below that length.
pub fn parse(bytes: &[u8]) -> Result<Option<(Request<'_>, usize)>, Refusal> {
    let head = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let Some(skipped) = empty_line(head)? else { return Ok(None) };
    let Some(line) = RequestLine::parse(&head[skipped..])? else { return Ok(None) };
    let fields = &head[skipped + line.len..];
    let Some((count, len)) = field_lines(fields)? else {
        if head.len() == HEAD_BYTES_MAX {
            return Err(refuse(Status::HEADER_FIELDS_TOO_LARGE, "the request head is too large"));
        }
        return Ok(None);
    };
    let mut found = Fields::default();
    // Initialising the array costs as much as parsing a small head, so there is one for what browsers send.
    if count <= 32 {
        found.read(&fields[..len], &mut [httparse::EMPTY_HEADER; 32])?;
    } else {
        found.read(&fields[..len], &mut [httparse::EMPTY_HEADER; HEADER_FIELDS_MAX])?;
    }
    Ok(Some((found.request(line)?, skipped + line.len + len)))
}

/// A server should skip one empty line before the request line: some clients send one after a body (RFC 9112 §2.2).
/// Returns its length, `None` if it cannot be told yet.
fn empty_line(head: &[u8]) -> Result<Option<usize>, Refusal> {
    match head {
        [] | [b'\r'] | [b'\r', b'\n'] => Ok(None),
        [b'\r', b'\n', b'\r' | b'\n', ..] => Err(bad("more than one empty line before the request")),
        [b'\r', b'\n', ..] => Ok(Some(2)),
        [b'\r' | b'\n', ..] => Err(bad("a line does not end in CR LF")),
        _ => Ok(Some(0)),
    }
}

/// Longest method this server looks at; registered ones are at most 17 bytes.
const METHOD_BYTES_MAX: usize = 32;
const VERSION_BYTES: usize = b"HTTP/1.1\r\n".len();
/// A request line is judged before the limit on the whole head can be.
const _: () = assert!(METHOD_BYTES_MAX + TARGET_BYTES_MAX + VERSION_BYTES + 4 <= HEAD_BYTES_MAX);

#[derive(Clone, Copy)]
pub(super) struct RequestLine<'b> {
    pub method: Method<'b>,
    pub path: &'b str,
    pub query: Option<&'b str>,
    pub authority: Option<&'b str>,
    pub version: Version,
    /// With its CRLF.
    len: usize,
}

impl<'b> RequestLine<'b> {
    /// `None` while incomplete.
    fn parse(head: &'b [u8]) -> Result<Option<RequestLine<'b>>, Refusal> {
        let Some((method, at)) = method(head)? else { return Ok(None) };
        let Some(target) = target(&head[at..])? else { return Ok(None) };
        let at = at + target.len() + 1;
        let Some(version) = version(&head[at..])? else { return Ok(None) };
        let (authority, path, query) = split_target(target, method)?;
        Ok(Some(RequestLine { method, path, query, authority, version, len: at + VERSION_BYTES }))
    }
}

/// The method and where the target begins.
fn method(head: &[u8]) -> Result<Option<(Method<'_>, usize)>, Refusal> {
    let end = match head.iter().take(METHOD_BYTES_MAX + 1).position(|&byte| !is_token(byte)) {
        Some(end) if end > 0 && head[end] == b' ' => end,
        Some(_) => return Err(bad("the method is not a token followed by one space")),
        None if head.len() > METHOD_BYTES_MAX => {
            return Err(refuse(Status::NOT_IMPLEMENTED, "the method is longer than any this server knows"));
        }
        None => return Ok(None),
    };
    let method = match &head[..end] {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"OPTIONS" => Method::Options,
        other => Method::Other(str::from_utf8(other).map_err(|_| bad("the method is not a token"))?),
    };
    Ok(Some((method, end + 1)))
}

/// What precedes the space before the version.
fn target(bytes: &[u8]) -> Result<Option<&str>, Refusal> {
    let window = &bytes[..bytes.len().min(TARGET_BYTES_MAX + 1)];
    let Some(end) = window.iter().position(|&byte| !TARGET[usize::from(byte)]) else {
        if window.len() > TARGET_BYTES_MAX {
            return Err(refuse(Status::URI_TOO_LONG, "the request target is too long"));
        }
        return Ok(None);
    };
    match window[end] {
        b' ' if end > 0 => str::from_utf8(&window[..end]).map(Some).map_err(|_| bad("the request target is not ASCII")),
        b' ' => Err(bad("the request target is not surrounded by single spaces")),
        b'\r' | b'\n' => Err(bad("the request line names no HTTP version")),
        _ => Err(bad("the request target contains a character that no URI has")),
    }
}

/// The version and the end of the line, `VERSION_BYTES` long.
fn version(bytes: &[u8]) -> Result<Option<Version>, Refusal> {
    let malformed = bad("the request line does not end in an HTTP version and CR LF");
    let line = &bytes[..bytes.len().min(VERSION_BYTES)];
    for (at, &byte) in line.iter().enumerate() {
        let fits = match at {
            5 | 7 => byte.is_ascii_digit(),
            _ => byte == b"HTTP/1.1\r\n"[at],
        };
        if !fits {
            return Err(malformed);
        }
    }
    if line.len() < VERSION_BYTES {
        return Ok(None);
    }
    match (line[5], line[7]) {
        (b'1', b'0') => Ok(Some(Version::Http10)),
        // A minor version is compatible with those before it (RFC 9110 §2.5).
        (b'1', _) => Ok(Some(Version::Http11)),
        _ => Err(refuse(Status::VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.0 and HTTP/1.1")),
    }
}

/// Authority, path and query of the forms of RFC 9112 §3.2 that an origin server is sent.
fn split_target<'b>(
    target: &'b str,
    method: Method<'_>,
) -> Result<(Option<&'b str>, &'b str, Option<&'b str>), Refusal> {
    if target.starts_with('/') {
        let (path, query) = split_query(target);
        return Ok((None, path, query));
    }
    if target == "*" {
        return match method {
            Method::Options => Ok((None, "*", None)),
            _ => Err(bad("the request target is * but the method is not OPTIONS")),
        };
    }
    if method == Method::Other("CONNECT") {
        return Err(refuse(Status::NOT_IMPLEMENTED, "this server is no proxy"));
    }
    let Some((scheme, rest)) = target.split_once("://") else {
        return Err(bad("the request target is neither a path nor an absolute URI"));
    };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(bad("the request target is an absolute URI of an unknown scheme"));
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    // User information is for phishing, not for HTTP (RFC 9110 §4.2.4); `is_host` has no @.
    if authority.is_empty() || !is_host(authority) {
        return Err(bad("the request target names no valid host"));
    }
    let (path, query) = split_query(rest);
    let path = match (path, method) {
        // The last proxy was to turn an absolute form without a path into an asterisk (RFC 9112 §3.2.4).
        ("", Method::Options) if query.is_none() => "*",
        ("", _) => "/",
        _ => path,
    };
    Ok((Some(authority), path, query))
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

/// How many field lines there are and how long they are together, with the empty line that ends them. `None` while that has
/// not come.
fn field_lines(bytes: &[u8]) -> Result<Option<(usize, usize)>, Refusal> {
    let (mut count, mut at) = (0, 0);
    loop {
        let rest = &bytes[at..];
        let Some(feed) = memchr(b'\n', rest) else { return Ok(None) };
        let Some(line) = rest[..feed].strip_suffix(b"\r") else { return Err(bad("a line does not end in CR LF")) };
        at += feed + 1;
        match line.first() {
            None => return Ok(Some((count, at))),
            // Also white space before the first field, which proxies have disagreed on (RFC 9112 §2.2, §5.2).
            Some(b' ' | b'\t') => return Err(bad("a field is folded over two lines")),
            Some(_) if count == HEADER_FIELDS_MAX => {
                return Err(refuse(Status::HEADER_FIELDS_TOO_LARGE, "the request has too many header fields"));
            }
            Some(_) => count += 1,
        }
    }
}

/// `uri-host [ ":" port ]`, possibly empty (RFC 9110 §7.2), as far as its characters show.
pub(super) fn is_host(host: &str) -> bool {
    host.bytes().all(|byte| HOST[usize::from(byte)])
}

fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

const fn table(punctuation: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < punctuation.len() {
        table[punctuation[at] as usize] = true;
        at += 1;
    }
    table
}

/// RFC 9110 §5.6.2.
static TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~");
/// Unreserved characters, sub-delimiters, escapes, and what writes IPv6 and a port (RFC 3986 §3.2.2).
static HOST: [bool; 256] = table(b"-._~!$&'()*+,;=%:[]");
/// Visible ASCII but `#`: fragments are never sent (RFC 9112 §3.2). `"<>\^`{|}` are in no URI either, but in the queries of
/// many clients, and harmless.
static TARGET: [bool; 256] = table(b"!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~");

pub(super) const fn bad(reason: &'static str) -> Refusal {
    refuse(Status::BAD_REQUEST, reason)
}

pub(super) const fn refuse(status: Status, reason: &'static str) -> Refusal {
    Refusal { status, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
    fn a_browsers_request() {
        let head = b"GET /vod/big/index.m3u8?a=b?c HTTP/1.1\r\nHost: example.com:8080\r\nUser-Agent: X/1 (y)\r\n\
            Accept: */*\r\nReferer: http://example.com/\r\nOrigin: http://example.com\r\nAccept-Encoding: gzip, deflate, br\r\nRange:\t bytes=0-1 \r\n\
            If-None-Match: \"a\"\r\nConnection: keep-alive\r\n\r\nGET";
        let (request, len) = parse(head).unwrap().unwrap();
        assert_eq!(len, head.len() - 3);
        let want = Request {
            method: Method::Get,
            path: "/vod/big/index.m3u8",
            query: Some("a=b?c"),
            version: Version::Http11,
            keep_alive: true,
            body: Body::None,
            host: Some("example.com:8080"),
            range: Some("bytes=0-1"),
            if_range: None,
            if_match: None,
            if_none_match: Some("\"a\""),
            if_modified_since: None,
            if_unmodified_since: None,
            accepts_gzip: true,
            expects_continue: false,
            user_agent: Some("X/1 (y)"),
            referer: Some("http://example.com/"),
            origin: Some("http://example.com"),
            access_control_method: None,
            access_control_headers: None,
            peer: None,
        };
        assert_eq!(request, want);
    }

    #[test]
    fn request_lines() {
        for (line, want) in [
            ("GET / HTTP/1.1", 200),
            ("\r\nGET / HTTP/1.1", 200),
            ("GET / HTTP/1.7", 200),
            ("GET /%20|{}\"?<>^` HTTP/1.1", 200),
            ("get / HTTP/1.1", 200),
            ("M-SEARCH / HTTP/1.1", 200),
            ("OPTIONS * HTTP/1.1", 200),
            ("GET http://h/ HTTP/1.1", 200),
            ("GET HTTPS://h HTTP/1.1", 200),
            ("\r\n\r\nGET / HTTP/1.1", 400),
            ("\nGET / HTTP/1.1", 400),
            ("\rGET / HTTP/1.1", 400),
            (" GET / HTTP/1.1", 400),
            ("GET  / HTTP/1.1", 400),
            ("GET /  HTTP/1.1", 400),
            ("GET / HTTP/1.1 ", 400),
            ("GET\t/ HTTP/1.1", 400),
            ("GET /a b HTTP/1.1", 400),
            ("GET /\t HTTP/1.1", 400),
            ("GET /#a HTTP/1.1", 400),
            ("GET /\u{e9} HTTP/1.1", 400),
            ("GET /\0 HTTP/1.1", 400),
            ("GET /\x7f HTTP/1.1", 400),
            ("GET a HTTP/1.1", 400),
            ("GET * HTTP/1.1", 400),
            ("GET ftp://h/ HTTP/1.1", 400),
            ("GET http:/// HTTP/1.1", 400),
            ("GET http://user@h/ HTTP/1.1", 400),
            ("GET /", 400),
            ("GET", 400),
            ("GE(T / HTTP/1.1", 400),
            ("GET / HTTP/1.10", 400),
            ("GET / HTTP/1.x", 400),
            ("GET / http/1.1", 400),
            ("GET / HTTP/11", 400),
            ("\x16\x03\x01\x02", 400),
            ("CONNECT h:80 HTTP/1.1", 501),
            ("PRI * HTTP/2.0", 505),
            ("GET / HTTP/2.0", 505),
            ("GET / HTTP/0.9", 505),
        ] {
            assert_eq!(status(format!("{line}\r\nHost: h\r\n\r\n").as_bytes()), want, "{line:?}");
        }
    }

    #[test]
    fn targets() {
        for (line, path, query, host) in [
            ("GET /a/b?c", "/a/b", Some("c"), "h"),
            ("GET /?", "/", Some(""), "h"),
            ("GET //a", "//a", None, "h"),
            ("GET http://x.org:81/a?b", "/a", Some("b"), "x.org:81"),
            ("GET http://x.org", "/", None, "x.org"),
            ("GET http://x.org?b", "/", Some("b"), "x.org"),
            ("OPTIONS http://x.org", "*", None, "x.org"),
            ("OPTIONS *", "*", None, "h"),
        ] {
            let head = format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n");
            let (request, _) = parse(head.as_bytes()).unwrap().unwrap();
            assert_eq!((request.path, request.query, request.host), (path, query, Some(host)), "{line}");
        }
    }

    #[test]
    fn limits() {
        let line = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(len - 1));
        let many = |count: usize| get(&"X: y\r\n".repeat(count - 1));
        let long = |len: usize| get(&format!("X: {}\r\n", "y".repeat(len - get("X: \r\n").len())));
        let endless = |start: &str, byte: &str| format!("{start}{}", byte.repeat(2 * HEAD_BYTES_MAX));
        for (head, want) in [
            (line(TARGET_BYTES_MAX), 200),
            (line(TARGET_BYTES_MAX + 1), 414),
            (endless("GET /", "a"), 414),
            (endless("GET /", "\r\n"), 400),
            (endless("", "A"), 501),
            (format!("{} / HTTP/1.1\r\nHost: h\r\n\r\n", "A".repeat(METHOD_BYTES_MAX)), 200),
            (format!("{} / HTTP/1.1\r\nHost: h\r\n\r\n", "A".repeat(METHOD_BYTES_MAX + 1)), 501),
            (many(HEADER_FIELDS_MAX), 200),
            (many(HEADER_FIELDS_MAX + 1), 431),
            (long(HEAD_BYTES_MAX), 200),
            (long(HEAD_BYTES_MAX + 1), 431),
            (endless("GET / HTTP/1.1\r\nX: ", "y"), 431),
            (endless("GET / HTTP/1.1\r\n", "X: y\r\n"), 431),
        ] {
            assert_eq!(status(head.as_bytes()), want, "{} bytes: {:.60}", head.len(), head);
        }
    }

    /// What is refused early is refused as the whole would have been, and nothing short of the whole is answered.
    fn prefixes_agree(head: &[u8]) -> Result<(), TestCaseError> {
        let whole = parse(head);
        let len = match &whole {
            Ok(Some((_, len))) => *len,
            _ => head.len(),
        };
        for end in 0..len {
            match parse(&head[..end]) {
                Ok(None) => {}
                Ok(Some(_)) => prop_assert!(false, "answered {end} of {len} bytes"),
                Err(refusal) => prop_assert_eq!(Some(&refusal), whole.as_ref().err(), "at {} of {}", end, len),
            }
        }
        Ok(())
    }

    fn lines() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "GET",
            "OPTIONS",
            " ",
            "/",
            "*",
            "http://h",
            "HTTP/1.1",
            "HTTP/1.0",
            "HTTP/2.0",
            "\r\n",
            "\r\n",
            "\n",
            "\r",
            ":",
            "Host: h\r\n",
            "Host",
            "Content-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\n",
            "X: y",
            "\t",
            "\0",
            "\u{e9}",
            "GET / HTTP/1.1\r\n",
            "Range: bytes=0-1\r\n",
            "Expect: 100-continue\r\n",
            "\r\n\r\n",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn prefixes_of_valid_heads(path in "/[a-z0-9/%.]{0,30}", names in prop::collection::vec("[A-Za-z-]{1,20}", 0..6)) {
            let fields: String = names.iter().map(|name| format!("X{name}: some value\r\n")).collect();
            let head = format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
            prop_assert_eq!(status(head.as_bytes()), 200);
            prefixes_agree(head.as_bytes())?;
        }

        #[test]
        fn prefixes_of_anything_like_a_head(head in lines()) {
            prefixes_agree(head.as_bytes())?;
        }

        #[test]
        fn a_changed_byte(at in 0_usize..100, byte in any::<u8>()) {
            let mut head = get("Range: bytes=0-1\r\nAccept-Encoding: gzip;q=0.5\r\nIf-None-Match: \"a\"\r\n").into_bytes();
            let at = at % head.len();
            head[at] = byte;
            prefixes_agree(&head)?;
        }

        #[test]
        fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prefixes_agree(&bytes)?;
        }
    }
}
