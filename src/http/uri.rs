//! Request targets as names: percent-decoding and what no name may contain (RFC 3986, RFC 9110 §4.2).

use std::borrow::Cow;

use thiserror::Error;

/// Why a path is not looked up; the display is the body of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadPath {
    #[error("a percent sign in the path is not followed by two hexadecimal digits")]
    Escape,
    #[error("the path is not UTF-8 once decoded")]
    Encoding,
    #[error("the path contains a control character")]
    Control,
    /// A proper path, but not of anything here.
    #[error("the path contains an encoded slash")]
    EncodedSlash,
    /// A proper path, but not of anything here.
    #[error("the path contains a . or .. element")]
    DotSegment,
}

/// The path with its escapes decoded, borrowed if it has none.
///
/// Dot segments are refused, not resolved: clients resolve them before they send (RFC 3986 §5.2.4), so one that arrives is an
/// attempt at something. An encoded slash would make two names of one.
pub fn decode(path: &str) -> Result<Cow<'_, str>, BadPath> {
    let decoded = match memchr::memchr(b'%', path.as_bytes()) {
        None => Cow::Borrowed(path),
        Some(first) => Cow::Owned(unescape(path, first)?),
    };
    let mut before = b' ';
    let mut has_dots = false;
    for &byte in decoded.as_bytes() {
        if byte.is_ascii_control() {
            return Err(BadPath::Control);
        }
        has_dots |= before == b'/' && byte == b'.';
        before = byte;
    }
    if has_dots && decoded.split('/').any(|element| element == "." || element == "..") {
        return Err(BadPath::DotSegment);
    }
    Ok(decoded)
}

fn unescape(path: &str, first: usize) -> Result<String, BadPath> {
    let (plain, mut rest) = path.as_bytes().split_at(first);
    let mut decoded = Vec::with_capacity(path.len());
    decoded.extend_from_slice(plain);
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let Some((&[high, low], tail)) = rest.split_first_chunk::<2>() else { return Err(BadPath::Escape) };
        let (Some(high), Some(low)) = (hex(high), hex(low)) else { return Err(BadPath::Escape) };
        rest = tail;
        match high << 4 | low {
            b'/' => return Err(BadPath::EncodedSlash),
            byte => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).map_err(|_| BadPath::Encoding)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// One path element as it is written in a URL: everything but unreserved characters is escaped (RFC 3986 §2.3).
pub fn encode_element(name: &str) -> Cow<'_, str> {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    if name.bytes().all(unreserved) {
        return Cow::Borrowed(name);
    }
    let mut encoded = String::with_capacity(name.len() * 3);
    for byte in name.bytes() {
        if unreserved(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            for nibble in [byte >> 4, byte & 15] {
                encoded.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
            }
        }
    }
    Cow::Owned(encoded)
}

/// Names and values of a query's parameters as sent, not decoded, in order. A name without `=` has the empty value.
pub fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Whether a parameter's name, as sent, is `name`: escapes make no other name of it (RFC 3986 §6.2.2.2).
pub fn is_named(sent: &str, name: &str) -> bool {
    sent == name || sent.contains('%') && decode(sent).is_ok_and(|sent| sent == name)
}

/// The value of a parameter as sent, not decoded; the first of several.
pub fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    parameters(query).find_map(|(key, value)| is_named(key, name).then_some(value))
}

/// Whether a query gives a parameter more than once.
pub fn is_repeated(query: &str, name: &str) -> bool {
    parameters(query).filter(|(key, _)| is_named(key, name)).count() > 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths() {
        for (path, want) in [
            ("/vod/big/index.m3u8", Ok("/vod/big/index.m3u8")),
            ("/vod/big%20buck%C3%A9/x", Ok("/vod/big bucké/x")),
            ("/%7euser/%2525", Ok("/~user/%25")),
            ("/a/.hidden/..x/x..", Ok("/a/.hidden/..x/x..")),
            ("/a%2Fb", Err(BadPath::EncodedSlash)),
            ("/a%2fb", Err(BadPath::EncodedSlash)),
            ("/a%00b", Err(BadPath::Control)),
            ("/a%0d%0ab", Err(BadPath::Control)),
            ("/a%7fb", Err(BadPath::Control)),
            ("/a/../b", Err(BadPath::DotSegment)),
            ("/a/%2e%2E/b", Err(BadPath::DotSegment)),
            ("/a/.%2e", Err(BadPath::DotSegment)),
            ("/./a", Err(BadPath::DotSegment)),
            ("/a/.", Err(BadPath::DotSegment)),
            ("/a%", Err(BadPath::Escape)),
            ("/a%2", Err(BadPath::Escape)),
            ("/a%g0", Err(BadPath::Escape)),
            ("/a%+1", Err(BadPath::Escape)),
            ("/a%ff", Err(BadPath::Encoding)),
        ] {
            assert_eq!(decode(path).as_deref(), want.as_ref().copied(), "{path}");
        }
    }

    #[test]
    fn parameters() {
        for (query, want) in
            [("start=1&end=2", Some("1")), ("xstart=1&start", Some("")), ("start=a=b", Some("a=b")), ("", None)]
        {
            assert_eq!(parameter(query, "start"), want, "{query}");
        }
    }

    proptest! {
        #[test]
        fn a_decoded_path_is_clean(path in "/[-a-z./%0-9A-F]{0,40}") {
            if let Ok(decoded) = decode(&path) {
                prop_assert!(!decoded.bytes().any(|byte| byte.is_ascii_control()));
                prop_assert!(!decoded.split('/').any(|element| element == ".." || element == "."));
                prop_assert_eq!(decoded.matches('/').count(), path.matches('/').count());
            }
        }

        #[test]
        fn an_encoded_element_is_decoded_to_itself(name in "[^/\\x00-\\x1f\\x7f]{3,20}") {
            let encoded = encode_element(&name);
            prop_assert_eq!(decode(&encoded).unwrap(), name.as_str());
        }

        #[test]
        fn anything_may_come(path in "\\PC{0,60}") {
            let _ = decode(&path);
        }
    }
}
