//! Conditional requests (RFC 9110 §13).

use super::{Request, date};

/// What tells two states of one resource apart.
#[derive(Clone, Copy, Debug)]
pub struct Validators<'a> {
    /// Strong, with its quotes.
    pub etag: &'a str,
    /// In seconds since 1970.
    pub last_modified: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request is answered as if it had no conditions.
    Proceed,
    /// 304
    NotModified,
    /// 412
    PreconditionFailed,
}

/// Evaluates the conditions of a GET or HEAD of a resource that exists, in the order of RFC 9110 §13.2.2.
pub fn evaluate(request: &Request<'_>, validators: Validators<'_>) -> Outcome {
    if let Some(tags) = request.if_match {
        if !lists(tags, validators.etag, Comparison::Strong) {
            return Outcome::PreconditionFailed;
        }
    } else if let (Some(since), Some(modified)) = (since(request.if_unmodified_since), validators.last_modified)
        && modified > since
    {
        return Outcome::PreconditionFailed;
    }
    if let Some(tags) = request.if_none_match {
        if lists(tags, validators.etag, Comparison::Weak) {
            return Outcome::NotModified;
        }
    } else if let (Some(since), Some(modified)) = (since(request.if_modified_since), validators.last_modified)
        && modified <= since
    {
        return Outcome::NotModified;
    }
    Outcome::Proceed
}

/// Whether a `Range` field is to be looked at: there is no `If-Range`, or what it names is still the current state.
pub fn range_applies(request: &Request<'_>, validators: Validators<'_>) -> bool {
    match request.if_range {
        None => true,
        Some(tag) if tag.starts_with('"') => tag == validators.etag,
        // Weak tags do not match strongly, and W/"…" is no date. A date must match exactly (§13.1.5).
        Some(date) => validators.last_modified.is_some() && date::parse(date) == validators.last_modified,
    }
}

/// What is not a date is ignored (§13.1.3, §13.1.4).
fn since(field: Option<&str>) -> Option<u64> {
    field.and_then(date::parse)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags is `*` or names `etag`. Stops where the list stops being one: tags may contain commas, so
/// there is no telling where the next would begin.
fn lists(tags: &str, etag: &str, comparison: Comparison) -> bool {
    if tags.trim_ascii() == "*" {
        return true;
    }
    let mut rest = tags;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (weak, tag) = match rest.strip_prefix("W/") {
            Some(tag) => (true, tag),
            None => (false, rest),
        };
        let Some(end) = tag.strip_prefix('"').and_then(|opaque| opaque.find('"')) else { return false };
        let (tag, after) = tag.split_at(end + 2);
        if tag == etag && (!weak || comparison == Comparison::Weak) {
            return true;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request;
    use proptest::prelude::*;

    const ETAG: &str = "\"v1\"";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const EXACT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sunday, 06-Nov-94 08:49:38 GMT";
    const VALIDATORS: Validators<'_> = Validators { etag: ETAG, last_modified: Some(784_111_777) };

    fn with<T>(fields: &str, check: impl FnOnce(&Request<'_>) -> T) -> T {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        check(&request::parse(head.as_bytes()).unwrap().unwrap().0)
    }

    #[test]
    fn conditions() {
        use Outcome::{NotModified, PreconditionFailed, Proceed};
        for (fields, want) in [
            (String::new(), Proceed),
            ("If-Match: \"v1\"\r\n".into(), Proceed),
            ("If-Match: *\r\n".into(), Proceed),
            ("If-Match: \"v0\", \"v1\"\r\n".into(), Proceed),
            ("If-Match: \"v0\"\r\n".into(), PreconditionFailed),
            ("If-Match: W/\"v1\"\r\n".into(), PreconditionFailed),
            ("If-Match: v1\r\n".into(), PreconditionFailed),
            ("If-None-Match: \"v1\"\r\n".into(), NotModified),
            ("If-None-Match: W/\"v1\"\r\n".into(), NotModified),
            ("If-None-Match: *\r\n".into(), NotModified),
            ("If-None-Match: \"a,b\" ,, W/\"x\",\"v1\"\r\n".into(), NotModified),
            ("If-None-Match: \"a,\\\"v1\\\"\"\r\n".into(), Proceed),
            ("If-None-Match: \"v0\"\r\n".into(), Proceed),
            ("If-None-Match: \"v0\r\n".into(), Proceed),
            (format!("If-Modified-Since: {BEFORE}\r\n"), Proceed),
            (format!("If-Modified-Since: {EXACT}\r\n"), NotModified),
            (format!("If-Modified-Since: {AFTER}\r\n"), NotModified),
            ("If-Modified-Since: yesterday\r\n".into(), Proceed),
            (format!("If-Unmodified-Since: {BEFORE}\r\n"), PreconditionFailed),
            (format!("If-Unmodified-Since: {EXACT}\r\n"), Proceed),
            ("If-Unmodified-Since: yesterday\r\n".into(), Proceed),
            // A tag decides, and the date beside it is not looked at.
            (format!("If-Match: \"v1\"\r\nIf-Unmodified-Since: {BEFORE}\r\n"), Proceed),
            (format!("If-None-Match: \"v0\"\r\nIf-Modified-Since: {EXACT}\r\n"), Proceed),
            // If-Match is looked at before If-None-Match.
            ("If-Match: \"v0\"\r\nIf-None-Match: \"v1\"\r\n".into(), PreconditionFailed),
            ("If-Match: \"v1\"\r\nIf-None-Match: \"v1\"\r\n".into(), NotModified),
        ] {
            assert_eq!(with(&fields, |request| evaluate(request, VALIDATORS)), want, "{fields}");
        }
    }

    #[test]
    fn if_range() {
        for (fields, want) in [
            (String::new(), true),
            ("If-Range: \"v1\"\r\n".into(), true),
            ("If-Range: \"v0\"\r\n".into(), false),
            ("If-Range: W/\"v1\"\r\n".into(), false),
            (format!("If-Range: {EXACT}\r\n"), true),
            (format!("If-Range: {AFTER}\r\n"), false),
            ("If-Range: v1\r\n".into(), false),
        ] {
            assert_eq!(with(&fields, |request| range_applies(request, VALIDATORS)), want, "{fields}");
        }
        let undated = Validators { etag: ETAG, last_modified: None };
        assert!(!with("If-Range: yesterday\r\n", |request| range_applies(request, undated)));
    }

    proptest! {
        #[test]
        fn any_list_may_come(tags in "[W/\", *a-c]{0,40}") {
            for comparison in [Comparison::Strong, Comparison::Weak] {
                let _ = lists(&tags, "\"a\"", comparison);
            }
        }

        #[test]
        fn a_tag_is_found_in_any_list(before in proptest::collection::vec("(W/)?\"[a-z, ]{0,5}\"", 0..5)) {
            let list = [before.join(","), "\"UNIQUE\"".into()].join(" , ");
            prop_assert!(lists(&list, "\"UNIQUE\"", Comparison::Strong));
        }
    }
}
