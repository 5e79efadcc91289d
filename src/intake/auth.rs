//! What a request presents to be let in (RFC 7617, RFC 6750; `?key=` for encoders that can do neither).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A key, and what the encoder calls itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The user name of basic authentication, empty otherwise. Says nothing about rights, but tells apart two encoders
    /// behind one address.
    pub user: String,
    pub key: Vec<u8>,
}

/// `None`: nothing was presented, or not in a way that is known here, so that the encoder is to be asked (401). The header
/// field counts before the parameter.
pub fn presented(authorization: Option<&[u8]>, query: Option<&str>) -> Option<Presented> {
    authorization.and_then(from_field).or_else(|| from_query(query?))
}

fn from_field(field: &[u8]) -> Option<Presented> {
    if let Some(token) = after_scheme(field, "bearer") {
        return Some(Presented { user: String::new(), key: token.to_vec() });
    }
    // What cannot be decoded is a wrong key, not a missing one: the encoder did answer.
    let decoded = STANDARD.decode(after_scheme(field, "basic")?).unwrap_or_default();
    let mut halves = decoded.splitn(2, |&byte| byte == b':');
    let user = String::from_utf8_lossy(halves.next().unwrap_or_default()).into_owned();
    Some(Presented { user, key: halves.next().unwrap_or_default().to_vec() })
}

/// What follows the scheme, whose name is case-insensitive (RFC 9110 §11.1).
pub fn after_scheme<'a>(field: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    let (name, rest) = field.split_at_checked(scheme.len())?;
    (name.eq_ignore_ascii_case(scheme.as_bytes()) && rest.first() == Some(&b' ')).then(|| rest.trim_ascii())
}

fn from_query(query: &str) -> Option<Presented> {
    let key = query.split('&').find_map(|pair| pair.strip_prefix("key="))?;
    Some(Presented { user: String::new(), key: key.as_bytes().to_vec() })
}

/// Takes as long whichever byte differs.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_where_encoders_put_them() {
        for (field, query, want) in [
            (None, None, None),
            (None, Some(""), None),
            (None, Some("a=b"), None),
            (None, Some("key=s3cret"), Some(("", "s3cret"))),
            (None, Some("a=b&key=s3cret&c"), Some(("", "s3cret"))),
            (None, Some("monkey=x"), None),
            (None, Some("key="), Some(("", ""))),
            (Some("Bearer s3cret"), None, Some(("", "s3cret"))),
            (Some("bearer  s3cret "), Some("key=other"), Some(("", "s3cret"))),
            (Some("Basic ZW5jb2RlcjpzM2NyZXQ="), None, Some(("encoder", "s3cret"))),
            (Some("basic OnMzY3JldA=="), None, Some(("", "s3cret"))),
            (Some("Basic YTpiOmM="), None, Some(("a", "b:c"))),
            (Some("Basic ZW5jb2Rlcg=="), None, Some(("encoder", ""))),
            (Some("Basic ???"), None, Some(("", ""))),
            (Some("Digest username=x"), None, None),
            (Some("Digest username=x"), Some("key=k"), Some(("", "k"))),
            (Some("Basic"), None, None),
            (Some("Bearer\ts3cret"), None, None),
            (Some(""), None, None),
        ] {
            let got = presented(field.map(str::as_bytes), query);
            let want = want.map(|(user, key)| Presented { user: user.to_owned(), key: key.as_bytes().to_vec() });
            assert_eq!(got, want, "{field:?} {query:?}");
        }
    }

    #[test]
    fn keys_are_compared_whole() {
        for (a, b, want) in
            [("", "", true), ("a", "a", true), ("a", "b", false), ("a", "ab", false), ("ab", "a", false)]
        {
            assert_eq!(same(a.as_bytes(), b.as_bytes()), want);
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(field: Vec<u8>, query in ".*") {
            let _ = presented(Some(&field), Some(&query));
            let _ = presented(Some(&[b"Basic ", &field[..]].concat()), None);
        }
    }
}
