//! Who asks: SigV4 signatures, basic and bearer authentication.

use std::cell::RefCell;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use tracing::warn;

use super::refusal::Refusal;
use crate::base::limits::STORE_CLOCK_SKEW_MAX;
use crate::http::sigv4::{self, Authorization, Payload, Signed};
use crate::intake::auth;
use crate::intake::gate::{Gate, Wrong};

/// A key pair.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub access_key_id: String,
    pub secret_access_key: String,
}

/// Secrets stay out of logs.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.access_key_id)
    }
}

/// Lets in whoever presents a credential, and holds up whoever guesses.
#[derive(Default)]
pub struct Access {
    gate: RefCell<Gate>,
}

/// What a request proved.
#[derive(Debug)]
pub struct Proved<'a> {
    pub access_key_id: &'a str,
    pub payload: Payload,
}

/// As SDKs sign for MediaStore; the region may be any.
const SERVICE: &str = "mediastore";

/// When a request came.
#[derive(Clone, Copy)]
pub struct Moment {
    /// Since 1970.
    pub unix: Duration,
    pub instant: Instant,
}

impl Access {
    /// `path` and `query` as they were sent.
    #[allow(clippy::too_many_arguments)]
    pub fn prove<'c>(
        &self,
        credentials: &'c [Credential],
        method: &str,
        path: &str,
        query: &str,
        headers: &HeaderMap,
        peer: IpAddr,
        now: Moment,
    ) -> Result<Proved<'c>, Refusal> {
        let field = headers.get(AUTHORIZATION).map(|value| value.as_bytes()).ok_or(Refusal::NoCredentials)?;
        let wait = self.gate.borrow_mut().wait(peer, now.instant);
        if let Some(wait) = wait {
            return Err(Refusal::Guessing { wait });
        }
        let proved = match auth::after_scheme(field, sigv4::ALGORITHM) {
            Some(parameters) => signed(credentials, parameters, method, path, query, headers, now.unix),
            None => presented(credentials, field),
        };
        let is_guess = matches!(proved, Err(Refusal::WrongCredentials | Refusal::Signature(sigv4::Error::Mismatch)));
        if let (true, Err(refusal)) = (is_guess, &proved) {
            let wrong = self.gate.borrow_mut().wrong(peer, now.instant);
            let more = if wrong == Wrong::Last { "; no more are taken from there for a while" } else { "" };
            warn!("store: {peer}: {refusal}{more}");
        }
        proved
    }
}

fn signed<'c>(
    credentials: &'c [Credential],
    parameters: &[u8],
    method: &str,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    now: Duration,
) -> Result<Proved<'c>, Refusal> {
    let malformed = sigv4::Error::Malformed { what: "it is not ASCII" };
    let authorization = Authorization::parse(str::from_utf8(parameters).map_err(|_| malformed)?)?;
    let fields = |name: &str| headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
    let request = Signed { method, path, query, fields: &fields };
    let credential = credentials
        .iter()
        .find(|credential| credential.access_key_id == authorization.access_key_id)
        .ok_or(Refusal::WrongCredentials)?;
    let payload = authorization.verify(&request, &credential.secret_access_key, SERVICE, now, STORE_CLOCK_SKEW_MAX)?;
    Ok(Proved { access_key_id: &credential.access_key_id, payload })
}

/// The id as user name and the secret as password, or the secret as bearer token.
fn presented<'c>(credentials: &'c [Credential], field: &[u8]) -> Result<Proved<'c>, Refusal> {
    let presented = auth::presented(Some(field), None).ok_or(Refusal::NoCredentials)?;
    let is_bearer = auth::after_scheme(field, "bearer").is_some();
    let is_right = |credential: &&Credential| {
        // All are compared, whichever is right.
        let same = auth::same(&presented.key, credential.secret_access_key.as_bytes());
        same && (is_bearer || presented.user == credential.access_key_id)
    };
    let right: Vec<&Credential> = credentials.iter().filter(is_right).collect();
    let credential = right.first().ok_or(Refusal::WrongCredentials)?;
    Ok(Proved { access_key_id: &credential.access_key_id, payload: Payload::Unsigned })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::INTAKE_WRONG_KEYS_MAX;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn plain_encoders_present_id_and_secret() {
        let credential =
            |id: &str, secret: &str| Credential { access_key_id: id.into(), secret_access_key: secret.into() };
        let access = Access::default();
        let credentials = [credential("A", "first"), credential("B", "second")];
        let now = Moment { unix: Duration::ZERO, instant: Instant::now() };
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let peer = |number: usize| IpAddr::V4((number as u32).into());
        for (number, (field, want)) in [
            (Some(basic("A:first")), Ok("A")),
            (Some(basic("B:second")), Ok("B")),
            (Some("Bearer second".to_owned()), Ok("B")),
            (Some(basic("A:second")), Err(403)),
            (Some(basic(":first")), Err(403)),
            (Some("Bearer third".to_owned()), Err(403)),
            (Some("Digest x".to_owned()), Err(401)),
            (Some("AWS4-HMAC-SHA256 nonsense".to_owned()), Err(400)),
            (None, Err(401)),
        ]
        .into_iter()
        .enumerate()
        {
            let mut headers = HeaderMap::new();
            if let Some(field) = &field {
                headers.insert(AUTHORIZATION, field.parse().unwrap());
            }
            let proved = access.prove(&credentials, "GET", "/", "", &headers, peer(number), now);
            let found = proved.as_ref().map(|proved| proved.access_key_id).map_err(|refusal| refusal.status().as_u16());
            assert_eq!(found, want, "{field:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, basic("A:guess").parse().unwrap());
        for _ in 0..INTAKE_WRONG_KEYS_MAX {
            assert!(access.prove(&credentials, "GET", "/", "", &headers, peer(99), now).is_err());
        }
        headers.insert(AUTHORIZATION, basic("A:first").parse().unwrap());
        let refusal = access.prove(&credentials, "GET", "/", "", &headers, peer(99), now).unwrap_err();
        assert_eq!(refusal.status().as_u16(), 429);
        assert!(access.prove(&credentials, "GET", "/", "", &headers, peer(98), now).is_ok());
    }
}
