//! Request bodies, which nothing here wants: where they end (RFC 9112 §6.3, §7.1), so that the next request is found.

use crate::base::limits::DISCARD_BODY_BYTES_MAX;

use super::Status;
use super::request::{Body, Refusal, bad, refuse};

/// What of a body is still to come. Framing is read as strictly as heads are: where two programs could disagree on the end
/// of a body, the connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discard {
    state: State,
    /// Bytes that may still be thrown away, framing included.
    budget: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Done,
    /// So many bytes of a body of known length.
    Length(u64),
    /// Hexadecimal digits of a chunk's size; how many there were.
    Size {
        size: u64,
        digits: u8,
    },
    /// What may follow the size, up to the end of the line.
    Extension {
        size: u64,
    },
    SizeFeed {
        size: u64,
    },
    /// So many bytes of a chunk.
    Data(u64),
    DataReturn,
    DataFeed,
    /// At the beginning of a line after the last chunk.
    Trailer,
    InTrailer,
    TrailerFeed,
    /// The line feed of the empty line.
    LastFeed,
    /// Nobody knows where the body ends.
    Failed(Refusal),
}

impl Default for Discard {
    fn default() -> Discard {
        Discard::new(Body::None)
    }
}

impl Discard {
    pub fn new(body: Body) -> Discard {
        let state = match body {
            Body::None | Body::Length(0) => State::Done,
            Body::Length(length) => State::Length(length),
            Body::Chunked => State::Size { size: 0, digits: 0 },
        };
        Discard { state, budget: DISCARD_BODY_BYTES_MAX }
    }

    /// Whether the next byte belongs to the next request.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How many of these bytes belong to the body: all of them, unless it ends before. After an error the connection has to
    /// be closed, and every further call gives the same error.
    pub fn skip(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        self.try_skip(bytes).inspect_err(|&refusal| self.state = State::Failed(refusal))
    }

    fn try_skip(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            let taken = match &mut self.state {
                State::Done => break,
                State::Length(left) | State::Data(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= taken as u64;
                    match self.state {
                        State::Length(0) => self.state = State::Done,
                        State::Data(0) => self.state = State::DataReturn,
                        _ => {}
                    }
                    taken
                }
                framing => {
                    *framing = framing.after(byte)?;
                    1
                }
            };
            let too_long =
                refuse(Status::CONTENT_TOO_LARGE, "the request body is longer than what is read and ignored");
            self.budget = self.budget.checked_sub(taken as u64).ok_or(too_long)?;
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(bytes.len() - rest.len())
    }
}

impl State {
    /// The state after one byte of framing.
    fn after(self, byte: u8) -> Result<State, Refusal> {
        let malformed = bad("the chunked body is malformed");
        match (self, byte) {
            (State::Failed(refusal), _) => Err(refusal),
            (State::Size { size, digits }, byte) if byte.is_ascii_hexdigit() => {
                // Sixteen digits fill the number; sizes that large are refused for being too long when they are read.
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                if digits == 16 {
                    Err(malformed)
                } else {
                    Ok(State::Size { size: size << 4 | digit, digits: digits + 1 })
                }
            }
            (State::Size { digits: 0, .. }, _) => Err(malformed),
            (State::Size { size, .. } | State::Extension { size }, b'\r') => Ok(State::SizeFeed { size }),
            // White space before the semicolon is not in the grammar, but "bad white space" to be put up with.
            (State::Size { size, .. }, b';' | b' ' | b'\t') => Ok(State::Extension { size }),
            (State::Extension { size }, byte) if is_text(byte) => Ok(State::Extension { size }),
            (State::SizeFeed { size: 0 }, b'\n') => Ok(State::Trailer),
            (State::SizeFeed { size }, b'\n') => Ok(State::Data(size)),
            (State::DataReturn, b'\r') => Ok(State::DataFeed),
            (State::DataFeed, b'\n') => Ok(State::Size { size: 0, digits: 0 }),
            (State::Trailer, b'\r') => Ok(State::LastFeed),
            (State::Trailer | State::InTrailer, byte) if is_text(byte) => Ok(State::InTrailer),
            (State::InTrailer, b'\r') => Ok(State::TrailerFeed),
            (State::TrailerFeed, b'\n') => Ok(State::Trailer),
            (State::LastFeed, b'\n') => Ok(State::Done),
            _ => Err(malformed),
        }
    }
}

/// What may stand in a line (RFC 9110 §5.5).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bodies() {
        let done = |len| Ok((len, true));
        let more = |len| Ok((len, false));
        for (body, bytes, want) in [
            (Body::None, "GET", done(0)),
            (Body::Length(0), "GET", done(0)),
            (Body::Length(5), "helloGET", done(5)),
            (Body::Length(5), "hell", more(4)),
            (Body::Chunked, "5\r\nhello\r\n0\r\n\r\nGET", done(15)),
            (Body::Chunked, "0\r\n\r\n", done(5)),
            (Body::Chunked, "000\r\n\r\n", done(7)),
            (Body::Chunked, "A;x=\"y\"\r\n0123456789\r\n0 ;z\r\nX: y\r\nZ: \t\r\n\r\nGET", done(41)),
            (Body::Chunked, "5\r\nhello\r\n0\r\n", more(13)),
            (Body::Chunked, "\r\n", Err(400)),
            (Body::Chunked, "zz\r\n", Err(400)),
            (Body::Chunked, "+5\r\nhello", Err(400)),
            (Body::Chunked, "0x5\r\nhello", Err(400)),
            (Body::Chunked, "5\nhello", Err(400)),
            (Body::Chunked, "5\r\nhello!\r\n", Err(400)),
            (Body::Chunked, "5\r\nhello\n", Err(400)),
            (Body::Chunked, "5;\n\r\nhello", Err(400)),
            (Body::Chunked, "5;\0\r\nhello", Err(400)),
            (Body::Chunked, "0\r\nX: y\n\r\n", Err(400)),
            (Body::Chunked, "0\r\n\n", Err(400)),
            (Body::Chunked, "ffffffffffffffff\r\nx", more(19)),
            (Body::Chunked, "ffffffffffffffff0\r\nx", Err(400)),
        ] {
            let mut discard = Discard::new(body);
            let got = discard.skip(bytes.as_bytes()).map(|len| (len, discard.is_done()));
            assert_eq!(got.map_err(|refusal| refusal.status.0), want, "{body:?} {bytes:?}");
        }
    }

    #[test]
    fn long_bodies_are_given_up() {
        let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
        for (body, bytes) in
            [(Body::Length(u64::MAX), "x".repeat(1024)), (Body::Chunked, chunk), (Body::Chunked, "0\r\nX".into())]
        {
            let mut discard = Discard::new(body);
            let mut bytes = bytes;
            let mut skipped = 0;
            let refused = loop {
                match discard.skip(bytes.as_bytes()) {
                    Ok(len) => skipped += len as u64,
                    Err(refusal) => break refusal,
                }
                if bytes.starts_with('0') {
                    bytes = "X: y".into(); // a trailer without end
                }
            };
            assert_eq!(refused.status, Status::CONTENT_TOO_LARGE);
            assert_eq!(discard.skip(b"x"), Err(refused));
            assert!(skipped <= DISCARD_BODY_BYTES_MAX);
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_arrive(
            sizes in prop::collection::vec(1_usize..200, 0..5),
            at in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let chunks: String = sizes.iter().map(|&size| format!("{size:x}\r\n{}\r\n", "x".repeat(size))).collect();
            let body = format!("{chunks}0\r\nTrailer: x\r\n\r\n");
            let bytes = format!("{body}GET / HTTP/1.1\r\n");
            let mut cuts: Vec<usize> = at.iter().map(|at| at.index(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut discard = Discard::new(Body::Chunked);
            let mut skipped = 0;
            for pair in cuts.windows(2) {
                skipped += discard.skip(&bytes.as_bytes()[pair[0]..pair[1]]).unwrap();
            }
            prop_assert!(discard.is_done());
            prop_assert_eq!(skipped, body.len());
        }

        #[test]
        fn anything_may_come(bytes in "[0-9a-f\r\n; xX:]{0,80}") {
            let _ = Discard::new(Body::Chunked).skip(bytes.as_bytes());
        }
    }
}
