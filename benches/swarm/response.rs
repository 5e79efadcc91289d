//! An HTTP/1.1 response that arrives over time.

use anyhow::{Context, Result, bail, ensure};

/// Where in a response the next byte is.
#[derive(Debug)]
pub enum Reader {
    Head(Vec<u8>),
    /// So much of the body is to come.
    Length(u64),
    /// In the line before a chunk, so far this (RFC 9112 §7.1).
    Size(Vec<u8>),
    Chunk(u64),
    /// In the line end behind a chunk, or behind the last one.
    ChunkEnd {
        left: u8,
        is_last: bool,
    },
}

pub enum Taken<'a> {
    Head { status: u16 },
    Body(&'a [u8]),
    End,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader::Head(Vec::new())
    }
}

impl Reader {
    /// Takes from the input what can be taken at once. `None`: more is needed.
    pub fn take<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Taken<'a>>> {
        loop {
            match self {
                Reader::Length(0) => {
                    *self = Reader::default();
                    return Ok(Some(Taken::End));
                }
                _ if input.is_empty() => return Ok(None),
                Reader::Head(held) => {
                    let before = held.len();
                    held.extend_from_slice(&input[..input.len().min(HEAD_BYTES_MAX)]);
                    let mut headers = [httparse::EMPTY_HEADER; 32];
                    let mut head = httparse::Response::new(&mut headers);
                    let httparse::Status::Complete(len) = head.parse(held)? else {
                        ensure!(held.len() < HEAD_BYTES_MAX, "a head of more than {HEAD_BYTES_MAX} bytes");
                        *input = &[];
                        return Ok(None);
                    };
                    let value = |name: &str| {
                        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
                        found.and_then(|header| std::str::from_utf8(header.value).ok())
                    };
                    let status = head.code.context("a status")?;
                    let next = match (value("transfer-encoding"), value("content-length")) {
                        (Some("chunked"), None) => Reader::Size(Vec::new()),
                        (None, Some(length)) => Reader::Length(length.parse()?),
                        other => bail!("a response framed by {other:?}"),
                    };
                    *input = &input[len - before..];
                    *self = next;
                    return Ok(Some(Taken::Head { status }));
                }
                Reader::Length(left) | Reader::Chunk(left) if *left > 0 => {
                    let len = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let (data, rest) = input.split_at(len);
                    *left -= len as u64;
                    *input = rest;
                    return Ok(Some(Taken::Body(data)));
                }
                Reader::Length(_) | Reader::Chunk(_) => *self = Reader::ChunkEnd { left: 2, is_last: false },
                Reader::Size(line) => {
                    let (&byte, rest) = input.split_first().context("a byte")?;
                    *input = rest;
                    line.push(byte);
                    ensure!(line.len() <= 18, "a chunk size of {} bytes", line.len());
                    if let Some(digits) = line.strip_suffix(b"\r\n") {
                        let size = u64::from_str_radix(std::str::from_utf8(digits)?, 16)?;
                        *self =
                            if size == 0 { Reader::ChunkEnd { left: 2, is_last: true } } else { Reader::Chunk(size) };
                    }
                }
                Reader::ChunkEnd { left, is_last } => {
                    let (&byte, rest) = input.split_first().context("a byte")?;
                    *input = rest;
                    ensure!(
                        byte == if *left == 2 { b'\r' } else { b'\n' },
                        "a chunk that does not end where it should"
                    );
                    *left -= 1;
                    if *left == 0 {
                        let is_last = *is_last;
                        *self = if is_last { Reader::default() } else { Reader::Size(Vec::new()) };
                        if is_last {
                            return Ok(Some(Taken::End));
                        }
                    }
                }
            }
        }
    }
}

const HEAD_BYTES_MAX: usize = 16 * 1024;
