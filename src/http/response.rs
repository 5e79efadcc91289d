//! What is sent back: a status, fields that are already in wire form, and a payload.

use bytes::Bytes;

use crate::base::Payload;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub u16);

#[derive(Clone, Debug)]
pub struct Response {
    pub status: Status,
    /// Field lines in wire form, each with its CRLF, so that a cached answer is sent without formatting: everything but
    /// `Date`, `Connection`, `Content-Length` and `Server`, which [`Response::write_head`] adds.
    pub fields: Bytes,
    /// For HEAD the body is described too; the connection leaves it out.
    pub body: Payload,
}

impl Response {
    /// Appends the whole head, with the empty line.
    pub fn write_head(&self, out: &mut Vec<u8>, date: &[u8; 29], keep_alive: bool) {
        let _ = (out, date, keep_alive);
        todo!()
    }
}
