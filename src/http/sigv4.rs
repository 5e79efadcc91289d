//! AWS Signature Version 4, as a server checks it: the canonical form of a request, and whether its signature was made with a
//! secret ("Create a signed AWS API request", AWS IAM User Guide). No clock: the time is an argument.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::uri;

/// The `Authorization` field of a signed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization<'a> {
    pub access_key_id: &'a str,
    /// `yyyymmdd`
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: [u8; 32],
}

/// What of a request was signed.
pub struct Signed<'a> {
    pub method: &'a str,
    /// As sent, with its escapes.
    pub path: &'a str,
    pub query: &'a str,
    /// Values of a field, in the order in which they came.
    pub fields: &'a dyn Fn(&str) -> Vec<&'a [u8]>,
}

/// What the sender said of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// It is not covered by the signature.
    Unsigned,
    /// It has to have this hash.
    Sha256([u8; 32]),
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error("Authorization: {what}")]
    Malformed { what: &'static str },
    #[error("the credential is for service {found:?}: expected {expected:?}")]
    Service { found: String, expected: &'static str },
    #[error("x-amz-date is missing, or no time such as 20261127T103000Z")]
    Date,
    #[error("the credential is of {found}, and x-amz-date of another day")]
    OtherDay { found: String },
    #[error("Signature expired or not yet valid: {found} is more than {} minutes from the clock of the server", .max.as_secs() / 60)]
    Skew { found: String, max: Duration },
    #[error("{name} has to be among the signed headers")]
    Unsigned { name: &'static str },
    #[error("x-amz-content-sha256 is {found:?}: expected UNSIGNED-PAYLOAD or 64 hexadecimal digits")]
    Payload { found: String },
    #[error("the signature does not match: check the secret access key and the signing method")]
    Mismatch,
}

pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// Fields that one signature may cover.
const SIGNED_HEADERS_MAX: usize = 100;

impl<'a> Authorization<'a> {
    /// What follows [`ALGORITHM`] and a space.
    pub fn parse(parameters: &'a str) -> Result<Authorization<'a>, Error> {
        let malformed = |what| Error::Malformed { what };
        let (mut credential, mut headers, mut signature) = (None, None, None);
        // Separated by commas, with spaces in most clients.
        for parameter in parameters.split(',') {
            let (name, value) = parameter.trim().split_once('=').ok_or(malformed("a parameter without a value"))?;
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut headers,
                "Signature" => &mut signature,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(malformed("a parameter twice"));
            }
        }
        let credential = credential.ok_or(malformed("Credential is missing"))?;
        let mut scope = credential.rsplitn(5, '/');
        let mut part = || scope.next().filter(|part| !part.is_empty());
        let (Some("aws4_request"), Some(service), Some(region), Some(date), Some(access_key_id)) =
            (part(), part(), part(), part(), part())
        else {
            return Err(malformed("the Credential is not id/date/region/service/aws4_request"));
        };
        let signed_headers: Vec<&str> = headers.ok_or(malformed("SignedHeaders is missing"))?.split(';').collect();
        if signed_headers.len() > SIGNED_HEADERS_MAX || !signed_headers.is_sorted() {
            return Err(malformed("SignedHeaders is not a sorted list"));
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(signature.ok_or(malformed("Signature is missing"))?, &mut bytes)
            .map_err(|_| malformed("the Signature is not 64 hexadecimal digits"))?;
        Ok(Authorization { access_key_id, date, region, service, signed_headers, signature: bytes })
    }

    /// Whether the request was signed with this secret, at most `skew` from `now` (since 1970), for this service and any
    /// region. What it says of its payload is for the caller to check.
    pub fn verify(
        &self,
        request: &Signed<'_>,
        secret: &str,
        service: &'static str,
        now: Duration,
        skew: Duration,
    ) -> Result<Payload, Error> {
        if self.service != service {
            return Err(Error::Service { found: self.service.to_owned(), expected: service });
        }
        let time = text((request.fields)("x-amz-date").first().copied()).ok_or(Error::Date)?;
        let then = seconds(time).ok_or(Error::Date)?;
        if !time.starts_with(self.date) || self.date.len() != 8 {
            return Err(Error::OtherDay { found: self.date.to_owned() });
        }
        if now.as_secs().abs_diff(then) > skew.as_secs() {
            return Err(Error::Skew { found: time.to_owned(), max: skew });
        }
        for name in ["host", "x-amz-date"] {
            if !self.signed_headers.contains(&name) {
                return Err(Error::Unsigned { name });
            }
        }
        let said = text((request.fields)("x-amz-content-sha256").first().copied());
        let scope = format!("{}/{}/{}/aws4_request", self.date, self.region, self.service);
        let key = signing_key(secret, self.date, self.region, self.service);
        let is_right = |payload: &str| {
            let canonical = self.canonical(request, payload);
            let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
            // Takes as long whichever byte differs.
            mac(&key, to_sign.as_bytes()).verify_slice(&self.signature).is_ok()
        };
        match said {
            Some(UNSIGNED_PAYLOAD) if is_right(UNSIGNED_PAYLOAD) => Ok(Payload::Unsigned),
            Some(UNSIGNED_PAYLOAD) => Err(Error::Mismatch),
            Some(said) => {
                let mut hash = [0; 32];
                hex::decode_to_slice(said, &mut hash).map_err(|_| Error::Payload { found: said.to_owned() })?;
                if is_right(said) { Ok(Payload::Sha256(hash)) } else { Err(Error::Mismatch) }
            }
            // Not every client says what it signed: a body that it left out, or none.
            None if is_right(UNSIGNED_PAYLOAD) => Ok(Payload::Unsigned),
            None => {
                let empty = Sha256::digest([]);
                if is_right(&hex::encode(empty)) { Ok(Payload::Sha256(empty.into())) } else { Err(Error::Mismatch) }
            }
        }
    }

    fn canonical(&self, request: &Signed<'_>, payload: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let mut line = |text: &[u8]| {
            out.extend_from_slice(text);
            out.push(b'\n');
        };
        line(request.method.as_bytes());
        line(canonical_path(request.path).as_bytes());
        line(canonical_query(request.query).as_bytes());
        for name in &self.signed_headers {
            let values: Vec<Vec<u8>> = (request.fields)(name).into_iter().map(trimmed).collect();
            line(&[name.as_bytes(), b":", &values.join(&b','), b""].concat());
        }
        line(b"");
        line(self.signed_headers.join(";").as_bytes());
        out.extend_from_slice(payload.as_bytes());
        out
    }
}

/// Clients escape the path they send once more, however they escaped it before (all services but S3). Dot segments never
/// come so far.
fn canonical_path(path: &str) -> String {
    let path = if path.is_empty() { "/" } else { path };
    // Repeated slashes are one to the clients that sign.
    let mut elements: Vec<String> = Vec::new();
    for element in path.split('/').filter(|element| !element.is_empty()) {
        elements.push(uri::encode_element(element).into_owned());
    }
    let end = if path.ends_with('/') && !elements.is_empty() { "/" } else { "" };
    format!("/{}{end}", elements.join("/"))
}

/// Names and values in their canonical escapes, sorted.
fn canonical_query(query: &str) -> String {
    let canonical = |text: &str| uri::encode_element(&percent_decode_str(text).decode_utf8_lossy()).into_owned();
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (canonical(name), canonical(value)))
        .collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Without white space at the ends, and with one space for every run of it.
fn trimmed(value: &[u8]) -> Vec<u8> {
    value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(&b' ')
}

fn text(value: Option<&[u8]>) -> Option<&str> {
    str::from_utf8(value?).ok()
}

fn mac(key: &[u8], message: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length of key is allowed");
    mac.update(message);
    mac
}

fn signing_key(secret: &str, date: &str, region: &str, service: &str) -> Vec<u8> {
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [date, region, service, "aws4_request"] {
        key = mac(&key, part.as_bytes()).finalize().into_bytes().to_vec();
    }
    key
}

/// `20261127T103000Z` in seconds since 1970.
fn seconds(time: &str) -> Option<u64> {
    let bytes = time.as_bytes();
    let is_formed = bytes.len() == 16
        && bytes.iter().enumerate().all(|(at, &byte)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
    if !is_formed {
        return None;
    }
    let [year, month, day] = [&time[..4], &time[4..6], &time[6..8]];
    let [hour, minute, second] = [&time[9..11], &time[11..13], &time[13..15]];
    crate::base::instant::read(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).map(|time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of the examples that AWS publishes.
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const NOW: Duration = Duration::from_secs(1_440_938_160);
    const SKEW: Duration = Duration::from_secs(900);

    struct Sent<'a> {
        method: &'a str,
        target: &'a str,
        fields: Vec<(&'a str, &'a str)>,
    }

    fn verify(sent: &Sent<'_>, authorization: &str, now: Duration) -> Result<Payload, Error> {
        let (path, query) = sent.target.split_once('?').unwrap_or((sent.target, ""));
        let fields = |name: &str| -> Vec<&[u8]> {
            sent.fields.iter().filter(|(field, _)| *field == name).map(|(_, value)| value.as_bytes()).collect()
        };
        let request = Signed { method: sent.method, path, query, fields: &fields };
        Authorization::parse(authorization)?.verify(&request, SECRET, "service", now, SKEW)
    }

    fn authorization(headers: &str, signature: &str) -> String {
        format!(
            "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={headers}, Signature={signature}"
        )
    }

    fn sent<'a>(method: &'a str, target: &'a str) -> Sent<'a> {
        let fields = vec![("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
        Sent { method, target, fields }
    }

    const EMPTY: Payload = Payload::Sha256([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae,
        0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    #[test]
    fn published_examples_verify() {
        for (method, target, signature) in [
            ("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "GET",
                "/?Param2=value2&Param1=value1",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
        ] {
            let field = authorization("host;x-amz-date", signature);
            assert_eq!(verify(&sent(method, target), &field, NOW), Ok(EMPTY), "{method} {target}");
            assert_eq!(verify(&sent("PUT", target), &field, NOW), Err(Error::Mismatch));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let right = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        let field = |headers: &str| authorization(headers, right);
        let request = sent("GET", "/");
        let late = NOW + SKEW + Duration::from_secs(1);
        let name = "x-amz-date";
        assert_eq!(verify(&request, &field("host;x-amz-date"), NOW + SKEW / 2), Ok(EMPTY));
        assert!(matches!(verify(&request, &field("host;x-amz-date"), late), Err(Error::Skew { .. })));
        assert!(matches!(verify(&request, &field("host;x-amz-date"), Duration::ZERO), Err(Error::Skew { .. })));
        assert_eq!(verify(&request, &field("host"), NOW), Err(Error::Unsigned { name }));
        assert!(matches!(verify(&request, &field("x-amz-date;host"), NOW), Err(Error::Malformed { .. })));
        let other = field("host;x-amz-date").replace("service/aws4", "s3/aws4");
        assert!(matches!(verify(&request, &other, NOW), Err(Error::Service { .. })));
        let other = field("host;x-amz-date").replace("20150830", "20150831");
        assert!(matches!(verify(&request, &other, NOW), Err(Error::OtherDay { .. })));
        let undated = Sent { fields: vec![("host", "h")], ..sent("GET", "/") };
        assert_eq!(verify(&undated, &field("host;x-amz-date"), NOW), Err(Error::Date));
        let mut strange = sent("GET", "/");
        strange.fields.push(("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"));
        assert!(matches!(verify(&strange, &field("host;x-amz-date"), NOW), Err(Error::Payload { .. })));
    }

    #[test]
    fn canonical_forms() {
        for (path, want) in [
            ("", "/"),
            ("/", "/"),
            ("/store/live/a%3Db.ts", "/store/live/a%253Db.ts"),
            ("/store/live/", "/store/live/"),
            ("/a//b", "/a/b"),
            ("/a~b", "/a~b"),
        ] {
            assert_eq!(canonical_path(path), want);
        }
        for (query, want) in [
            ("", ""),
            ("Path=a%2Fb&MaxResults=5", "MaxResults=5&Path=a%2Fb"),
            ("b&a=1&a=0", "a=0&a=1&b="),
            ("Path=/a", "Path=%2Fa"),
        ] {
            assert_eq!(canonical_query(query), want);
        }
        assert_eq!(trimmed(b"  a   b \t c "), b"a b c");
        for (time, want) in
            [("20150830T123600Z", Some(1_440_938_160)), ("2015-08-30T12Z", None), ("20151330T123600Z", None)]
        {
            assert_eq!(seconds(time), want);
        }
    }

    proptest! {
        #[test]
        fn anything_may_come(
            field in "(Credential|SignedHeaders|Signature)?[=,;/a-z0-9 ]{0,80}",
            path in "\\PC{0,20}",
            query in "\\PC{0,20}",
            value: Vec<u8>,
        ) {
            let fields = |_: &str| vec![&value[..]];
            let request = Signed { method: "GET", path: &path, query: &query, fields: &fields };
            if let Ok(authorization) = Authorization::parse(&field) {
                prop_assert!(authorization.verify(&request, SECRET, "service", NOW, SKEW).is_err());
            }
            let _ = (canonical_path(&path), canonical_query(&query), trimmed(&value));
        }
    }
}
