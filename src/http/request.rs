//! Request heads: checked byte by byte where httparse is lenient, then parsed by it.

use super::Status;

/// A request head, borrowed from the connection's buffer. Only fields the server acts on or logs are kept.
#[derive(Clone, Debug)]
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
    pub host: Option<&'b str>,
    pub range: Option<&'b str>,
    pub if_range: Option<&'b str>,
    pub if_match: Option<&'b str>,
    pub if_none_match: Option<&'b str>,
    pub if_modified_since: Option<&'b str>,
    pub if_unmodified_since: Option<&'b str>,
    /// Whether `gzip` is acceptable for the response (RFC 9110 §12.5.3).
    pub accepts_gzip: bool,
    pub expects_continue: bool,
    pub user_agent: Option<&'b str>,
    pub referer: Option<&'b str>,
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

/// `Ok(None)`: incomplete, read more. `Ok(Some((request, len)))`: the head took `len` bytes of `bytes`.
pub fn parse(bytes: &[u8]) -> Result<Option<(Request<'_>, usize)>, Refusal> {
    let _ = bytes;
    todo!()
}
