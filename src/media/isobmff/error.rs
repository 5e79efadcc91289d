//! What can be wrong with an input file, and where.

use std::fmt;

use thiserror::Error;

use crate::base::cursor::Short;

use super::boxes::{FourCc, Path};

/// One line that names the file, the box, its byte offset, what was found and what was expected.
#[derive(Debug, Error)]
pub struct Error(Box<Fault>);

#[derive(Debug)]
struct Fault {
    file: String,
    path: Path,
    at: Option<u64>,
    problem: Problem,
}

/// Every reason for which a file is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    #[error("not an MP4 or MOV file: found {found}, expected a box such as ftyp or moov")]
    NotMp4 { found: String },
    #[error("moov not found in {len} bytes; the recording was probably not finished{}", Cut(.cut))]
    NoMovie { len: u64, cut: Option<(FourCc, u64)> },
    #[error("no tracks found, expected at least one trak box")]
    NoTracks,
    #[error("the file is truncated: found {room} bytes to its end, expected a box of {size} bytes")]
    Truncated { size: u64, room: u64 },
    #[error("found a box of {size} bytes, expected at most the {room} left in its parent")]
    Oversized { size: u64, room: u64 },
    #[error("found {left} bytes left in the box, expected {wanted}")]
    Short { wanted: u64, left: u64 },
    #[error("found no {name} box, expected one")]
    Missing { name: &'static str },
    #[error("found encrypted media ({found}), expected it in the clear")]
    Encrypted { found: FourCc },
    #[error("found a compressed movie header (cmov), expected a plain one; write the file anew")]
    Compressed,
    #[error("found media kept in another file ({found}), expected all of it in this one")]
    External { found: FourCc },
    #[error(
        "sample {number} (from 0): found {size} bytes at byte {offset}, expected them inside the file's {len} bytes"
    )]
    SampleOutside { number: u64, offset: i128, size: u64, len: u64 },
    #[error("found {found}, expected {expected}")]
    Unexpected { found: String, expected: String },
}

/// The end of the message about a missing `moov`: the box that runs past the end, if that is why.
struct Cut<'a>(&'a Option<(FourCc, u64)>);

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((name, size)) => write!(f, " (or its end is missing: the last box, {name}, says {size} bytes)"),
            None => Ok(()),
        }
    }
}

impl Error {
    /// `at` is the byte the problem was found at, `None` where the whole file is meant.
    pub(super) fn new(path: Path, at: impl Into<Option<u64>>, problem: Problem) -> Error {
        Error(Box::new(Fault { file: String::new(), path, at: at.into(), problem }))
    }

    pub(super) fn unexpected(path: Path, at: u64, found: impl fmt::Display, expected: impl fmt::Display) -> Error {
        Error::new(path, at, Problem::Unexpected { found: found.to_string(), expected: expected.to_string() })
    }

    pub(super) fn short(path: Path, short: Short) -> Error {
        Error::new(path, short.at, Problem::Short { wanted: short.wanted, left: short.left })
    }

    /// Readers of boxes do not carry the file's name; it is put in on the way out.
    pub(super) fn in_file(mut self, file: &str) -> Error {
        self.0.file = file.to_owned();
        self
    }

    pub fn problem(&self) -> &Problem {
        &self.0.problem
    }

    /// Byte offset in the file, `None` where the whole file is meant.
    pub fn offset(&self) -> Option<u64> {
        self.0.at
    }

    /// The box, as `moov/trak[2]/mdia`; empty where the file itself is meant.
    pub fn path(&self) -> String {
        self.0.path.to_string()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { file, path, at, problem } = &*self.0;
        // A file name is from outside too: one line, whatever it holds.
        write!(f, "{}: ", file.escape_debug())?;
        match (path.is_root(), at) {
            (true, None) => {}
            (true, Some(at)) => write!(f, "at byte {at}: ")?,
            (false, None) => write!(f, "{path}: ")?,
            (false, Some(at)) => write!(f, "{path} at byte {at}: ")?,
        }
        write!(f, "{problem}")
    }
}
