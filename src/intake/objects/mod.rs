//! The object store's API on the intake listener: the MediaStore data plane under `/store/{container}`.
//!
//! ```text
//! access    signatures, basic and bearer authentication
//! put       uploads, also such as are read while they come
//! listing   pages of folders
//! body      objects that are read here and not at delivery
//! writer    the thread that makes changes survive, and the upkeep
//! refusal   what is told to whom, in the words of the API
//! ```

mod access;
mod body;
mod listing;
mod metrics;
mod put;
mod refusal;
mod writer;

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE,
    ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, ORIGIN, RANGE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tracing::{debug, error, info};

use crate::base::limits::{self, LOADS_MAX};
use crate::http::request::{self, Body as RequestBody, Version};
use crate::http::{Status, uri};
use crate::service::Now;
use crate::service::objects::{LookedUp, StoreReads};
use crate::store::objects::container::{Action, Caller, Container};
use crate::store::objects::path::{self, BadName};
use crate::store::objects::{Found, ObjectPath};

use access::{Access, Moment, Proved};
use body::FileBody;
use refusal::Refusal;
use writer::Writer;

pub use access::Credential;
pub use metrics::write_metrics;

/// What the store is started with.
#[derive(Clone)]
pub struct Setup {
    pub reads: Arc<StoreReads>,
    pub options: Options,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.options.fmt(f)
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    /// Whoever has one of them is let in.
    pub credentials: Vec<Credential>,
    /// Bytes.
    pub object_max: u64,
    /// Bytes a second that an upload has to bring, over [`limits::READ_RATE_WINDOW`]; 0: none.
    pub write_rate_min: u64,
    /// Whether chunked uploads can be read while they come, if they do not say.
    pub is_streaming_default: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            credentials: Vec::new(),
            object_max: limits::STORE_OBJECT_BYTES_DEFAULT,
            write_rate_min: limits::STORE_WRITE_RATE_MIN_DEFAULT,
            is_streaming_default: true,
        }
    }
}

/// The API, on the intake thread.
pub struct ObjectApi {
    reads: Arc<StoreReads>,
    /// Requests that are being answered keep what they began with.
    options: RefCell<Rc<Options>>,
    access: Access,
    writer: Writer,
    idle_timeout: Duration,
}

/// Of any answer of the intake listener.
pub type ResponseBody = Either<Full<Bytes>, FileBody>;

/// What a path names.
enum Place {
    Container(String),
    Object(ObjectPath),
}

impl Place {
    /// Of the path of a request, as it was sent.
    fn of(path: &str) -> Result<Place, Refusal> {
        let path = uri::decode(path)?;
        let below = path.strip_prefix(PREFIX).unwrap_or_default().trim_start_matches('/');
        let (container, rest) = below.split_once('/').unwrap_or((below, ""));
        path::check_container(container)?;
        Ok(match rest {
            "" => Place::Container(container.to_owned()),
            rest => Place::Object(ObjectPath::new(container, rest)?),
        })
    }

    fn container(&self) -> &str {
        match self {
            Place::Container(name) => name,
            Place::Object(path) => path.container(),
        }
    }
}

const PREFIX: &str = "/store";

/// Whether a request is for the store.
pub fn is_store(path: &str) -> bool {
    path.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Milliseconds since 1970.
fn now_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn moment() -> Moment {
    Moment { unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), instant: Instant::now() }
}

/// The thread's work, and the end that the API talks to.
pub fn writer(reads: Arc<StoreReads>) -> (WriterEnd, impl FnOnce() + Send + 'static) {
    let (sender, commands): (_, Receiver<writer::Command>) = std::sync::mpsc::channel();
    (WriterEnd(Writer(sender)), move || writer::run(&reads, &commands))
}

/// Passed on to the intake thread.
pub struct WriterEnd(Writer);

pub use writer::upkeep;

impl ObjectApi {
    pub fn new(setup: Setup, writer: WriterEnd, idle_timeout: Duration) -> ObjectApi {
        let options = RefCell::new(Rc::new(setup.options));
        ObjectApi { reads: setup.reads, options, access: Access::default(), writer: writer.0, idle_timeout }
    }

    /// For requests from now on.
    pub fn reload(&self, options: Options) {
        *self.options.borrow_mut() = Rc::new(options);
    }

    fn options(&self) -> Rc<Options> {
        self.options.borrow().clone()
    }

    pub async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let origin = request.headers().get(ORIGIN).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let place = Place::of(&path);
        let settings =
            place.as_ref().ok().and_then(|place| self.reads.objects().settings().container(place.container()).cloned());
        let answered = match place {
            Ok(place) => self.take(request, &place, settings.as_ref(), peer).await.inspect_err(|refusal| {
                // Names that nobody configured and nothing is in are not counted one by one.
                if settings.is_some() && self.reads.objects().has_container(place.container()) {
                    let usage = self.reads.objects().table().usage_of(place.container());
                    if !matches!(refusal, Refusal::NoObject | Refusal::NoCredentials) {
                        usage.refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }),
            Err(refusal) => Err(refusal),
        };
        let mut response = answered.unwrap_or_else(|refusal| {
            match &refusal {
                refusal if refusal.is_fault() => error!("store: {method} {path} of {peer}: {refusal}"),
                Refusal::NoObject | Refusal::NoCredentials | Refusal::Range => {
                    debug!("store: {method} {path} of {peer}: {refusal}");
                }
                refusal => info!("store: {method} {path} of {peer}: {refusal}"),
            }
            refused(&refusal, &method)
        });
        if let (Some(settings), Some(origin)) = (&settings, &origin)
            && method != Method::OPTIONS
        {
            let lines = self.reads.cors_lines(settings, origin, method.as_str());
            append_lines(response.headers_mut(), lines.as_bytes());
        }
        Ok(response)
    }

    async fn take(
        &self,
        request: Request<Incoming>,
        place: &Place,
        settings: Option<&Container>,
        peer: SocketAddr,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let address = peer.ip().to_canonical();
        // Browsers ask before they authenticate.
        if request.method() == Method::OPTIONS {
            let container = place.container();
            let settings = settings.ok_or_else(|| Refusal::NoContainer { container: container.to_owned() })?;
            let asked = as_read(request.uri().path(), None, request.headers(), &Method::OPTIONS);
            return Ok(converted(self.reads.preflight(settings, &asked)));
        }
        let now = moment();
        let target = request.uri();
        let query = target.query().unwrap_or_default();
        let (options, method) = (self.options(), request.method().as_str());
        let proved =
            self.access.prove(&options.credentials, method, target.path(), query, request.headers(), address, now)?;
        let action = match *request.method() {
            Method::GET | Method::HEAD if matches!(place, Place::Container(_)) => Action::List,
            Method::GET | Method::HEAD => Action::Read,
            Method::PUT if matches!(place, Place::Object(_)) => Action::Write,
            Method::DELETE if matches!(place, Place::Object(_)) => Action::Delete,
            Method::PUT | Method::DELETE => return Err(Refusal::Name(BadName::Length { found: 0 })),
            _ => return Err(Refusal::Method),
        };
        let no_container = || Refusal::NoContainer { container: place.container().to_owned() };
        let settings = settings.ok_or_else(no_container)?;
        if !settings.allows(action, Caller { key: Some(proved.access_key_id), address: Some(address) }) {
            return Err(Refusal::Denied { action: action.name(), container: place.container().to_owned() });
        }
        if action != Action::Write && !self.reads.objects().has_container(place.container()) {
            return Err(no_container());
        }
        let usage = self.reads.objects().table().usage_of(place.container());
        match place {
            Place::Container(container) => {
                usage.lists.fetch_add(1, Ordering::Relaxed);
                Ok(json_response(&listing::page(self.reads.objects(), container, query, now_millis())?))
            }
            Place::Object(path) => match action {
                Action::Write => {
                    let Proved { payload, .. } = proved;
                    let object = self.put(request, path, settings, payload, &options).await?;
                    usage.writes.fetch_add(1, Ordering::Relaxed);
                    let digest = object.digest.to_string();
                    Ok(json_response(&json!({ "ContentSHA256": digest, "ETag": digest, "StorageClass": "TEMPORAL" })))
                }
                Action::Delete => {
                    self.delete(path).await?;
                    usage.deletes.fetch_add(1, Ordering::Relaxed);
                    Ok(Response::new(Either::Left(Full::default())))
                }
                Action::Read | Action::List => self.read(&request, path).await,
            },
        }
    }

    async fn read(&self, request: &Request<Incoming>, path: &ObjectPath) -> Result<Response<ResponseBody>, Refusal> {
        let is_head = request.method() == Method::HEAD;
        for _ in 0..LOADS_MAX {
            let now = moment().unix;
            let now = Now { unix: now.as_secs(), millis: now.subsec_millis() };
            match self.reads.look_up(path, now) {
                LookedUp::Missing => return Err(Refusal::NoObject),
                LookedUp::Damaged => return Err(Refusal::Damaged),
                LookedUp::Growing(upload) => {
                    let response = self.reads.follow(&upload);
                    return Ok(if is_head { head_of(response) } else { converted(response) });
                }
                LookedUp::Open(open) => {
                    let asked = as_read(request.uri().path(), None, request.headers(), request.method());
                    let response = open.respond(&asked);
                    return match response.status {
                        Status::RANGE_NOT_SATISFIABLE => Err(Refusal::Range),
                        Status::PRECONDITION_FAILED => Err(Refusal::Precondition),
                        Status::INTERNAL_SERVER_ERROR => Err(Refusal::Damaged),
                        _ if is_head => Ok(head_of(response)),
                        _ => Ok(converted(response)),
                    };
                }
                LookedUp::Closed(object) => {
                    let reads = self.reads.clone();
                    // One that is replaced meanwhile is looked up again.
                    let _ = tokio::task::spawn_blocking(move || reads.open(&object)).await;
                }
            }
        }
        Err(Refusal::NoObject)
    }

    async fn delete(&self, path: &ObjectPath) -> Result<(), Refusal> {
        match self.reads.objects().find(path, now_millis()) {
            Some(Found::Object(object)) => Ok(self.writer.delete(object.id).await.ok_or(Refusal::Stopping)??),
            Some(Found::Growing(_)) | None => Err(Refusal::NoObject),
        }
    }
}

/// A request as [`crate::service`] reads it.
fn as_read<'r>(
    path: &'r str,
    query: Option<&'r str>,
    headers: &'r HeaderMap,
    method: &'r Method,
) -> crate::http::Request<'r> {
    let field = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    crate::http::Request {
        method: match *method {
            Method::GET => request::Method::Get,
            Method::HEAD => request::Method::Head,
            Method::OPTIONS => request::Method::Options,
            _ => request::Method::Other(method.as_str()),
        },
        path,
        query,
        version: Version::Http11,
        keep_alive: true,
        body: RequestBody::None,
        host: None,
        range: field(RANGE),
        if_range: field(IF_RANGE),
        if_match: field(IF_MATCH),
        if_none_match: field(IF_NONE_MATCH),
        if_modified_since: field(IF_MODIFIED_SINCE),
        if_unmodified_since: field(IF_UNMODIFIED_SINCE),
        accepts_gzip: false,
        expects_continue: false,
        user_agent: None,
        referer: None,
        origin: field(ORIGIN),
        access_control_method: field(ACCESS_CONTROL_REQUEST_METHOD),
        access_control_headers: field(ACCESS_CONTROL_REQUEST_HEADERS),
        peer: None,
    }
}

/// The same without its body, which is not read then.
fn head_of(response: crate::http::Response) -> Response<ResponseBody> {
    let length = response.growing.is_none().then(|| response.body.len());
    let body = crate::base::Payload::Empty;
    let mut head = converted(crate::http::Response { body, growing: None, ..response });
    if let Some(length) = length.filter(|_| head.status() != StatusCode::NOT_MODIFIED) {
        head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    head
}

/// What [`crate::service`] answered, as hyper sends it. The entity tag loses its quotes, as the API has it.
fn converted(response: crate::http::Response) -> Response<ResponseBody> {
    let body = match response.growing {
        Some(growing) => Either::Right(FileBody::following(*growing)),
        None if response.body.is_empty() => Either::Left(Full::default()),
        None => match &response.body {
            crate::base::Payload::One(crate::base::Piece::Inline(bytes)) => Either::Left(Full::new(bytes.clone())),
            _ => Either::Right(FileBody::of(response.body)),
        },
    };
    let mut converted = Response::new(body);
    *converted.status_mut() = StatusCode::from_u16(response.status.0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    append_lines(converted.headers_mut(), &response.fields);
    converted
}

/// Field lines in wire form. Those for scripts are added where the caller's origin is known.
fn append_lines(headers: &mut HeaderMap, lines: &[u8]) {
    for line in lines.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let value = match name.eq_ignore_ascii_case(ETAG.as_str().as_bytes()) {
            true => value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value),
            false => value,
        };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.insert(name, value);
        }
    }
}

fn json_response(value: &serde_json::Value) -> Response<ResponseBody> {
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(value.to_string()))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

fn refused(refusal: &Refusal, method: &Method) -> Response<ResponseBody> {
    let text = refusal.to_string();
    let mut response = json_response(&json!({ "__type": refusal.code(), "Message": text, "message": text }));
    if method == Method::HEAD {
        *response.body_mut() = Either::Left(Full::default());
    }
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(ERROR_TYPE, HeaderValue::from_static(refusal.code()));
    match refusal {
        Refusal::NoCredentials => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"store\", charset=\"UTF-8\""));
        }
        Refusal::Method => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, PUT, DELETE, OPTIONS"));
        }
        _ => {}
    }
    if let Some(seconds) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (path, want) in [
            ("/store/live", Ok("live")),
            ("/store/live/", Ok("live")),
            ("/store/live/a/b.ts", Ok("live/a/b.ts")),
            ("/store/live/a%3Db%3A.ts", Ok("live/a=b:.ts")),
            ("/store/l%69ve/a%7E.ts", Ok("live/a~.ts")),
            ("/store", Err(400)),
            ("/store/", Err(400)),
            ("/store/live/a%2Fb", Err(400)),
            ("/store/live/../b", Err(400)),
            ("/store/live/%2e%2e/b", Err(400)),
            ("/store/live/a//b", Err(400)),
            ("/store/live/a%00", Err(400)),
            ("/store/live/a%zz", Err(400)),
            ("/store/live/%ff", Err(400)),
            ("/store/a.b/c", Err(400)),
        ] {
            let place = Place::of(path);
            let found = match &place {
                Ok(Place::Container(name)) => Ok(name.as_str()),
                Ok(Place::Object(path)) => Ok(path.as_str()),
                Err(refusal) => Err(refusal.status().as_u16()),
            };
            assert_eq!(found, want, "{path}");
        }
        assert!(is_store("/store") && is_store("/store/x") && !is_store("/stores") && !is_store("/ingest/store"));
    }
}
