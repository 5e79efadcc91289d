//! What a request asks for in its query: directives of RFC 8216bis §6.2.5, and stretches of the past.

use std::borrow::Cow;
use std::time::Duration;

use thiserror::Error;

use crate::base::instant;
use crate::http::{Request, uri};
use crate::package::live_url::Stretch;

/// Why a query is refused; the display is the body of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadQuery {
    #[error("{name} is a decimal number without sign, not {found:?}")]
    Number { name: &'static str, found: String },
    #[error("{name} is given more than once")]
    Repeated { name: &'static str },
    #[error("_HLS_part needs _HLS_msn beside it")]
    PartAlone,
    #[error("_HLS_skip is YES or v2, not {found:?}")]
    Skip { found: String },
    #[error("_HLS_msn is {found}, which is more than two segments after the last one, {last}")]
    SegmentAhead { found: u64, last: u64 },
    #[error("_HLS_part is {found}, which is more than {limit} parts after the last one of that segment")]
    PartAhead { found: u32, limit: u32 },
    #[error("{name} is a date and time of ISO 8601 with a time zone, or seconds since 1970, not {found:?}")]
    Time { name: &'static str, found: String },
    #[error("end is not after start")]
    Order,
}

/// Directives of a playlist request (§6.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    pub number: Option<u64>,
    pub part: Option<u32>,
    pub skip: bool,
}

/// What may be asked in a query; names that mean nothing here are left out.
#[derive(Default)]
pub(super) struct Parameters<'q>([Given<'q>; NAMES.len()]);

/// RFC 8216bis §6.2.5, and our own.
const NAMES: [&str; 5] = ["start", "end", "_HLS_msn", "_HLS_part", "_HLS_skip"];
const START: usize = 0;
const END: usize = 1;
const MSN: usize = 2;
const PART: usize = 3;
const SKIP: usize = 4;

#[derive(Clone, Copy, Default)]
enum Given<'q> {
    #[default]
    Not,
    Once(&'q str),
    Repeatedly,
}

impl<'q> Parameters<'q> {
    pub fn of(request: &Request<'q>) -> Parameters<'q> {
        let mut parameters = Parameters::default();
        for (name, value) in request.query.into_iter().flat_map(uri::parameters) {
            if let Some(at) = NAMES.iter().position(|known| uri::is_named(name, known)) {
                parameters.0[at] = match parameters.0[at] {
                    Given::Not => Given::Once(value),
                    _ => Given::Repeatedly,
                };
            }
        }
        parameters
    }

    /// Of two values one would be ignored, and caches keep the answers apart.
    fn value(&self, at: usize) -> Result<Option<Cow<'q, str>>, BadQuery> {
        match self.0[at] {
            Given::Not => Ok(None),
            // What cannot be decoded means nothing below.
            Given::Once(value) => Ok(Some(uri::decode(value).unwrap_or(Cow::Borrowed(value)))),
            Given::Repeatedly => Err(BadQuery::Repeated { name: NAMES[at] }),
        }
    }

    pub fn directives(&self) -> Result<Directives, BadQuery> {
        let number = |at: usize| match self.value(at)? {
            None => Ok(None),
            Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                match text.parse::<u64>() {
                    // Far beyond anything there will be; more than that is refused as malformed.
                    Ok(number) if number < 1 << 51 => Ok(Some(number)),
                    _ => Err(BadQuery::Number { name: NAMES[at], found: excerpt(&text) }),
                }
            }
            Some(text) => Err(BadQuery::Number { name: NAMES[at], found: excerpt(&text) }),
        };
        let (msn, part) = (number(MSN)?, number(PART)?);
        if msn.is_none() && part.is_some() {
            return Err(BadQuery::PartAlone);
        }
        let skip = match self.value(SKIP)?.as_deref() {
            None => false,
            Some("YES" | "v2") => true,
            Some(text) => return Err(BadQuery::Skip { found: excerpt(text) }),
        };
        let part = part.map(|part| u32::try_from(part).unwrap_or(u32::MAX));
        Ok(Directives { number: msn, part, skip })
    }

    pub fn stretch(&self) -> Result<Stretch, BadQuery> {
        let time = |at: usize| match self.value(at)? {
            None => Ok(None),
            Some(text) => match moment(&text) {
                Some(time) => Ok(Some(time)),
                None => Err(BadQuery::Time { name: NAMES[at], found: excerpt(&text) }),
            },
        };
        let stretch = Stretch { start: time(START)?, end: time(END)? };
        match (stretch.start, stretch.end) {
            (Some(start), Some(end)) if end <= start => Err(BadQuery::Order),
            _ => Ok(stretch),
        }
    }
}

/// As much of a value as belongs into an answer.
fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

/// What [`instant::read`] takes, to a millisecond, so that few URLs name the same stretch.
fn moment(text: &str) -> Option<Duration> {
    const LEN_MAX: usize = 48;
    if text.len() > LEN_MAX {
        return None;
    }
    instant::read(text).and_then(|time| u64::try_from(time.as_millis()).ok()).map(Duration::from_millis)
}
