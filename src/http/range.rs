//! Byte ranges (RFC 9110 §14).

use std::ops::Range;

use bytes::Bytes;

use crate::base::limits::RANGES_MAX;
use crate::base::payload::Body;
use crate::base::{Payload, Piece};

/// What of a representation is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The field is to be ignored: another unit, not the grammar, or ranges that only a mistake or an attack asks for.
    Whole,
    One(Range<u64>),
    /// At least two, in the order asked for.
    Many(Vec<Range<u64>>),
    /// 416.
    Unsatisfiable,
}

/// Reads a `Range` field against a representation of `len` bytes. The ranges returned are not empty and lie within it.
pub fn select(field: &str, len: u64) -> Selection {
    let Some((unit, set)) = field.split_once('=') else { return Selection::Whole };
    if !unit.trim_ascii().eq_ignore_ascii_case("bytes") {
        return Selection::Whole;
    }
    let mut first = None;
    let mut many = Vec::new();
    let mut asked = 0;
    for spec in set.split(',').map(str::trim_ascii).filter(|spec| !spec.is_empty()) {
        asked += 1;
        let Some(spec) = Spec::parse(spec) else { return Selection::Whole };
        if asked > RANGES_MAX {
            return Selection::Whole;
        }
        match (spec.resolve(len), &first) {
            (None, _) => {}
            (Some(range), None) => first = Some(range),
            (Some(range), Some(_)) => many.push(range),
        }
    }
    match first {
        None if asked == 0 => Selection::Whole,
        // Nothing of an empty representation can be named in a Content-Range, but all of it can be sent.
        None if len == 0 => Selection::Whole,
        None => Selection::Unsatisfiable,
        Some(range) if many.is_empty() => Selection::One(range),
        Some(range) => {
            many.insert(0, range);
            if is_abuse(&many, len) { Selection::Whole } else { Selection::Many(many) }
        }
    }
}

/// RFC 9110 §14.2 and §17.15: many small or overlapping ranges are an attempt to make a server send more than it has.
fn is_abuse(ranges: &[Range<u64>], len: u64) -> bool {
    let total = ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(range.end - range.start));
    let overlaps =
        |at: usize| ranges[..at].iter().any(|other| other.start < ranges[at].end && ranges[at].start < other.end);
    total > len || (1..ranges.len()).filter(|&at| overlaps(at)).count() > 1
}

/// One range as asked for, before the length is known.
enum Spec {
    /// First and last position, inclusive.
    Between(u64, u64),
    From(u64),
    Last(u64),
}

impl Spec {
    fn parse(spec: &str) -> Option<Spec> {
        let (first, last) = spec.split_once('-')?;
        match (first, last) {
            ("", last) => Some(Spec::Last(position(last)?)),
            (first, "") => Some(Spec::From(position(first)?)),
            (first, last) => {
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(Spec::Between(first, last))
            }
        }
    }

    /// `None` if nothing of it is there.
    fn resolve(self, len: u64) -> Option<Range<u64>> {
        let range = match self {
            Spec::Between(first, last) => first..last.saturating_add(1).min(len),
            Spec::From(first) => first..len,
            Spec::Last(count) => len.saturating_sub(count)..len,
        };
        (range.start < range.end).then_some(range)
    }
}

/// Digits only; a number too large for any file is as good as the largest.
fn position(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.bytes().fold(0_u64, |so_far, digit| so_far.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

/// `Content-Range: bytes 0-99/1000` with its CRLF.
pub fn content_range(range: &Range<u64>, len: u64) -> String {
    format!("Content-Range: bytes {}-{}/{len}\r\n", range.start, range.end.saturating_sub(1))
}

/// `Content-Range: bytes */1000` with its CRLF, for 416.
pub fn unsatisfied(len: u64) -> String {
    format!("Content-Range: bytes */{len}\r\n")
}

/// Separates the parts of a `multipart/byteranges` body. It must not occur in them; media does not contain it by chance, and
/// whoever puts it there confuses only the clients of that file.
const BOUNDARY: &str = "headwater-5c1f0a9e7d3b4826";
/// The content type line that goes with [`multipart`], with its CRLF.
pub const MULTIPART_TYPE_FIELD: &str = "Content-Type: multipart/byteranges; boundary=headwater-5c1f0a9e7d3b4826\r\n";

/// The body of a 206 of several ranges (RFC 9110 §14.6): part heads inline, the parts themselves sliced from `body`.
///
/// `content_type` is the field line of the whole, with its CRLF.
pub fn multipart(ranges: &[Range<u64>], body: &impl Body, content_type: &str) -> Payload {
    let len = body.len();
    let mut payload = Payload::Empty;
    let mut opening = "--";
    for range in ranges {
        let head = format!("{opening}{BOUNDARY}\r\n{content_type}{}\r\n", content_range(range, len));
        payload.push(Piece::Inline(Bytes::from(head)));
        for piece in body.slice(range.clone()).pieces() {
            payload.push(piece.clone());
        }
        opening = "\r\n--";
    }
    payload.push(Piece::Inline(Bytes::from(format!("\r\n--{BOUNDARY}--\r\n"))));
    payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn selections() {
        use Selection::{Many, One, Unsatisfiable, Whole};
        for (field, len, want) in [
            ("bytes=0-0", 10, One(0..1)),
            ("bytes=2-5", 10, One(2..6)),
            ("bytes=2-99", 10, One(2..10)),
            ("bytes=7-", 10, One(7..10)),
            ("bytes=-3", 10, One(7..10)),
            ("bytes=-30", 10, One(0..10)),
            ("Bytes = 0-0", 10, One(0..1)),
            ("bytes=, 0-0 ,", 10, One(0..1)),
            ("bytes=0-18446744073709551615", 10, One(0..10)),
            ("bytes=0-99999999999999999999999", 10, One(0..10)),
            ("bytes=0-1,20-30", 10, One(0..2)),
            ("bytes=0-0,9-9", 10, Many(vec![0..1, 9..10])),
            ("bytes=9-9, -1 ,0-3", 10, Many(vec![9..10, 9..10, 0..4])),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=10-20,30-", 10, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=99999999999999999999999-", 10, Unsatisfiable),
            ("bytes=0-", 0, Whole),
            ("bytes=-5", 0, Whole),
            ("bytes=5-2", 10, Whole),
            ("bytes=", 10, Whole),
            ("bytes=,", 10, Whole),
            ("bytes=-", 10, Whole),
            ("bytes=a-b", 10, Whole),
            ("bytes=0-1,x", 10, Whole),
            ("bytes=+1-2", 10, Whole),
            ("bytes=1 -2", 10, Whole),
            ("bytes=--1", 10, Whole),
            ("bytes 0-1", 10, Whole),
            ("items=0-1", 10, Whole),
            ("", 10, Whole),
            // Asks for more than there is, or overlaps more than once.
            ("bytes=0-,0-", 10, Whole),
            ("bytes=0-3,1-2,2-3", 1_000, Whole),
        ] {
            assert_eq!(select(field, len), want, "{field} of {len}");
        }
        let many =
            |count: usize| format!("bytes={}", (0..count).map(|at| format!("{at}-{at}")).collect::<Vec<_>>().join(","));
        assert!(matches!(select(&many(RANGES_MAX), 1_000), Many(ranges) if ranges.len() == RANGES_MAX));
        assert_eq!(select(&many(RANGES_MAX + 1), 1_000), Whole);
    }

    #[test]
    fn parts() {
        let body = Payload::from(Bytes::from_static(b"0123456789"));
        let payload = multipart(&[0..2, 8..10], &body, "Content-Type: video/mp4\r\n");
        let text: Vec<u8> = payload
            .pieces()
            .iter()
            .flat_map(|piece| match piece {
                Piece::Inline(bytes) => bytes.to_vec(),
                Piece::Extent(_) => panic!("nothing was stored"),
            })
            .collect();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "--headwater-5c1f0a9e7d3b4826\r\nContent-Type: video/mp4\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n\
             --headwater-5c1f0a9e7d3b4826\r\nContent-Type: video/mp4\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n\
             --headwater-5c1f0a9e7d3b4826--\r\n"
        );
        assert!(MULTIPART_TYPE_FIELD.contains(BOUNDARY));
    }

    proptest! {
        #[test]
        fn what_is_selected_lies_within(field in "bytes=([0-9]{0,21}-[0-9]{0,21},? ?){0,20}", len in any::<u64>()) {
            let within = |range: &Range<u64>| range.start < range.end && range.end <= len;
            match select(&field, len) {
                Selection::One(range) => prop_assert!(within(&range)),
                Selection::Many(ranges) => prop_assert!(ranges.len() > 1 && ranges.iter().all(within)),
                Selection::Whole | Selection::Unsatisfiable => {}
            }
        }

        #[test]
        fn anything_may_come(field in "\\PC{0,60}", len in any::<u64>()) {
            let _ = select(&field, len);
        }
    }
}
