//! Why a request to the store is refused, and what it is told: the one place where that becomes a status and an error code of
//! the data API.

use std::time::Duration;

use hyper::StatusCode;
use thiserror::Error;

use crate::base::limits;
use crate::http::sigv4;
use crate::http::uri::BadPath;
use crate::store::objects::CommitError;
use crate::store::objects::path::BadName;

#[derive(Debug, Error)]
pub enum Refusal {
    #[error("credentials are needed: a signature, or basic or bearer authentication")]
    NoCredentials,
    #[error("there is no such access key id, or it has another secret")]
    WrongCredentials,
    #[error("too many wrong credentials from this address; try again in {} s", .wait.as_secs() + 1)]
    Guessing { wait: Duration },
    #[error("{0}")]
    Signature(#[from] sigv4::Error),
    #[error("the policy of container {container} does not allow to {action}")]
    Denied { action: &'static str, container: String },
    #[error("{0}")]
    Path(#[from] BadPath),
    #[error("{0}")]
    Name(#[from] BadName),
    #[error("{name}: found {found:?}, expected {expected}")]
    Parameter { name: &'static str, found: String, expected: &'static str },
    #[error("no container {container}")]
    NoContainer { container: String },
    #[error("no object at this path")]
    NoObject,
    #[error("the requested content range is not valid")]
    Range,
    #[error("a precondition of the request is not met")]
    Precondition,
    #[error("objects have at most {max} bytes")]
    TooLarge { max: u64 },
    #[error("GET, HEAD, PUT, DELETE and OPTIONS only")]
    Method,
    #[error("x-amz-content-sha256 is not the hash of what came")]
    Digest,
    #[error("nothing came for {} s", .after.as_secs())]
    Silent { after: Duration },
    #[error("fewer than {min} bytes a second came")]
    Slow { min: u64 },
    #[error("the connection broke: {0}")]
    Broken(hyper::Error),
    #[error("{0}")]
    Commit(#[from] CommitError),
    #[error("the file of this object is damaged")]
    Damaged,
    #[error("the server stops")]
    Stopping,
}

impl Refusal {
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::NoCredentials => StatusCode::UNAUTHORIZED,
            Refusal::Signature(sigv4::Error::Malformed { .. } | sigv4::Error::Payload { .. })
            | Refusal::Path(_)
            | Refusal::Name(_)
            | Refusal::Parameter { .. }
            | Refusal::Digest
            | Refusal::Broken(_) => StatusCode::BAD_REQUEST,
            Refusal::WrongCredentials | Refusal::Signature(_) | Refusal::Denied { .. } => StatusCode::FORBIDDEN,
            Refusal::Guessing { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::NoContainer { .. } | Refusal::NoObject => StatusCode::NOT_FOUND,
            Refusal::Range => StatusCode::RANGE_NOT_SATISFIABLE,
            Refusal::Precondition => StatusCode::PRECONDITION_FAILED,
            Refusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Silent { .. } | Refusal::Slow { .. } => StatusCode::REQUEST_TIMEOUT,
            Refusal::Commit(error) if error.is_full() => StatusCode::INSUFFICIENT_STORAGE,
            Refusal::Commit(_) | Refusal::Damaged => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What SDKs make their exceptions of (`x-amzn-ErrorType`): those of the API where it has one, else those that are common
    /// to AWS services.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NoCredentials => "MissingAuthenticationTokenException",
            Refusal::WrongCredentials => "UnrecognizedClientException",
            Refusal::Guessing { .. } => "ThrottlingException",
            Refusal::Signature(sigv4::Error::Malformed { .. }) => "IncompleteSignatureException",
            Refusal::Signature(_) => "InvalidSignatureException",
            Refusal::Denied { .. } => "AccessDeniedException",
            Refusal::Path(_) | Refusal::Name(_) | Refusal::Parameter { .. } => "ValidationException",
            Refusal::NoContainer { .. } => "ContainerNotFoundException",
            Refusal::NoObject => "ObjectNotFoundException",
            Refusal::Range => "RequestedRangeNotSatisfiableException",
            Refusal::Precondition => "PreconditionFailedException",
            Refusal::TooLarge { .. } => "RequestEntityTooLargeException",
            Refusal::Method => "MethodNotAllowedException",
            Refusal::Digest => "XAmzContentSHA256Mismatch",
            Refusal::Silent { .. } | Refusal::Slow { .. } => "RequestTimeoutException",
            Refusal::Broken(_) => "IncompleteBodyException",
            Refusal::Commit(error) if error.is_full() => "InsufficientStorageException",
            Refusal::Commit(_) | Refusal::Damaged => "InternalServerError",
            Refusal::Stopping => "ServiceUnavailableException",
        }
    }

    /// Whether the client did nothing wrong and may come back soon.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Refusal::Guessing { wait } => Some(wait.as_secs() + 1),
            Refusal::Stopping => Some(u64::from(limits::RETRY_AFTER_SECS)),
            Refusal::Commit(error) if error.is_full() => Some(u64::from(limits::RETRY_AFTER_SECS)),
            _ => None,
        }
    }

    /// Whether somebody should look at it.
    pub fn is_fault(&self) -> bool {
        self.status().is_server_error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;

    #[test]
    fn statuses_and_codes() {
        let disk = |kind: io::ErrorKind| Refusal::Commit(CommitError::Disk(Arc::new(kind.into())));
        for (refusal, status, code) in [
            (Refusal::NoCredentials, 401, "MissingAuthenticationTokenException"),
            (Refusal::NoObject, 404, "ObjectNotFoundException"),
            (Refusal::NoContainer { container: "c".into() }, 404, "ContainerNotFoundException"),
            (Refusal::Range, 416, "RequestedRangeNotSatisfiableException"),
            (Refusal::Name(BadName::Empty), 400, "ValidationException"),
            (Refusal::Path(BadPath::EncodedSlash), 400, "ValidationException"),
            (Refusal::Signature(sigv4::Error::Mismatch), 403, "InvalidSignatureException"),
            (Refusal::TooLarge { max: 5 }, 413, "RequestEntityTooLargeException"),
            (Refusal::Slow { min: 128 }, 408, "RequestTimeoutException"),
            (disk(io::ErrorKind::StorageFull), 507, "InsufficientStorageException"),
            (Refusal::Commit(CommitError::Full { capacity: 5 }), 507, "InsufficientStorageException"),
            (disk(io::ErrorKind::Other), 500, "InternalServerError"),
        ] {
            assert_eq!((refusal.status().as_u16(), refusal.code()), (status, code), "{refusal}");
        }
    }
}
