//! What the object store answers to who reads: `/store/{container}/{path}`.
//!
//! Policy of the container, the object or what has come of it so far, and the fields for scripts of other origins. An object
//! that is not open is opened by a helper first; so many are kept open, the least recently used are closed. Both planes
//! answer from here, each in its own words when something is not there.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use quick_cache::sync::Cache;

use crate::base::limits::{
    STORE_INLINE_BYTES_MAX, STORE_MANIFEST_AGE_DEFAULT, STORE_OBJECT_AGE_DEFAULT, STORE_OPEN_DEFAULT,
};
use crate::base::{Extent, Payload, Stored};
use crate::http::request::Method;
use crate::http::response::CORS_FIELDS;
use crate::http::{Kind, Request, Response, Status};
use crate::store::objects::container::{Action, Caller, Container, CorsRule};
use crate::store::objects::disk::ObjectFile;
use crate::store::objects::table::Usage;
use crate::store::objects::{Found, Object, ObjectPath, Objects, Settings, Upload};

use super::representation::{Coding, Description, Representation};
use super::{Answer, Load, Now};

/// The store, as far as it is read from.
pub struct StoreReads {
    objects: Arc<Objects>,
    open: Cache<u64, Arc<OpenObject>>,
    ages: ArcSwap<Ages>,
}

#[derive(Clone, Debug)]
pub struct Options {
    /// Objects that are open at once.
    pub open_max: usize,
    pub ages: Ages,
}

/// `max-age` of what came without `Cache-Control`, in whole seconds.
#[derive(Clone, Copy, Debug)]
pub struct Ages {
    /// Of playlists and manifests.
    pub manifest: Duration,
    /// Of everything else.
    pub object: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            open_max: STORE_OPEN_DEFAULT,
            ages: Ages { manifest: STORE_MANIFEST_AGE_DEFAULT, object: STORE_OBJECT_AGE_DEFAULT },
        }
    }
}

/// An object that can be sent.
pub struct OpenObject {
    object: Arc<Object>,
    /// `None`: its file is not what it has to be.
    representation: Option<Representation>,
    usage: Arc<Usage>,
}

/// What is there to answer with.
pub enum LookedUp {
    Missing,
    Open(Arc<OpenObject>),
    /// It has to be opened first.
    Closed(Arc<Object>),
    /// It is being uploaded.
    Growing(Arc<Upload>),
    Damaged,
}

const NO_STORE_FIELD: &str = "Cache-Control: no-store\r\n";
/// Sent with every answer of a container that has rules, for it depends on who asks (Fetch, "CORS protocol and HTTP caches").
const VARY_FIELD: &str = "Vary: Origin\r\n";

impl StoreReads {
    pub fn new(objects: Arc<Objects>, options: Options) -> StoreReads {
        StoreReads { objects, open: Cache::new(options.open_max), ages: ArcSwap::from_pointee(options.ages) }
    }

    /// Other settings from now on, also for what is there.
    pub fn reconfigure(&self, settings: Settings, ages: Ages) {
        self.objects.reconfigure(settings);
        self.ages.store(Arc::new(ages));
        // Their fields were made as it was.
        self.open.clear();
    }

    pub fn objects(&self) -> &Arc<Objects> {
        &self.objects
    }

    /// The answer to a reader at delivery. `below` is decoded; `missing` is said where nothing is.
    pub fn answer(&self, request: &Request<'_>, below: &str, now: Now, missing: &Response) -> Answer {
        let Some((container, path)) = below.split_once('/') else { return Answer::Ready(missing.clone()) };
        let all = self.objects.settings();
        let (Ok(path), Some(settings)) = (ObjectPath::new(container, path), all.container(container)) else {
            return Answer::Ready(missing.clone());
        };
        let response = if request.method == Method::Options {
            preflight(settings, request)
        } else if !settings.allows(Action::Read, Caller { key: None, address: request.peer }) {
            Response::error(Status::FORBIDDEN, "this container is not open to readers from there", NO_STORE_FIELD)
        } else {
            match self.look_up(&path, now) {
                LookedUp::Missing => missing.clone(),
                LookedUp::Open(open) => open.respond(request),
                LookedUp::Closed(object) => return Answer::Load(Load::Object(object)),
                LookedUp::Growing(upload) => self.follow(&upload),
                LookedUp::Damaged => damaged(),
            }
        };
        Answer::Ready(with_cors(response, settings, request))
    }

    /// Counts a read if there is something.
    pub fn look_up(&self, path: &ObjectPath, now: Now) -> LookedUp {
        let now = now.unix * 1_000 + u64::from(now.millis);
        let object = match self.objects.find(path, now) {
            None => return LookedUp::Missing,
            Some(Found::Growing(upload)) => {
                self.objects.table().usage_of(path.container()).reads.fetch_add(1, Ordering::Relaxed);
                return LookedUp::Growing(upload);
            }
            Some(Found::Object(object)) => object,
        };
        match self.open.get(&object.id) {
            None => LookedUp::Closed(object),
            Some(open) if open.is_damaged() => LookedUp::Damaged,
            Some(open) => {
                open.usage.reads.fetch_add(1, Ordering::Relaxed);
                LookedUp::Open(open)
            }
        }
    }

    /// Opens an object: on a thread that may wait for the disk.
    pub fn open(&self, object: &Arc<Object>) {
        let path = self.objects.file(object.id);
        match ObjectFile::open(path) {
            Ok(file) => {
                let file = Arc::new(file);
                let bytes = (object.len <= STORE_INLINE_BYTES_MAX).then(|| file.read());
                match bytes.transpose() {
                    Ok(bytes) => self.insert(object.clone(), file, bytes.map(Bytes::from)),
                    Err(error) => self.broken(object, &error),
                }
            }
            Err(error) => self.broken(object, &error),
        }
    }

    /// An object has just been written, so that it is open already. `bytes`: all of it, if it is small.
    pub fn opened(&self, object: Arc<Object>, file: Arc<dyn Stored>, bytes: Option<Bytes>) {
        self.insert(object, file, bytes);
    }

    /// An object is gone: who is in the middle of it finishes it, and its file is closed then.
    pub fn forget(&self, id: u64) {
        self.open.remove(&id);
    }

    fn insert(&self, object: Arc<Object>, file: Arc<dyn Stored>, bytes: Option<Bytes>) {
        if file.len() != object.len {
            let text = format!("has {} bytes, expected {}", file.len(), object.len);
            return self.broken(&object, &std::io::Error::other(text));
        }
        let body = match bytes.filter(|bytes| bytes.len() as u64 <= STORE_INLINE_BYTES_MAX) {
            Some(bytes) => Payload::from(bytes),
            None => Payload::from(Extent { file, offset: 0, len: object.len }),
        };
        let cache_control = self.cache_control(&object.path, &object.meta.cache_control);
        let description = Description {
            kind: Kind::Object,
            content_type: content_type(&object.path, &object.meta.content_type),
            coding: Coding::Only,
            etag: format_args!("{}", object.digest),
            last_modified: Some(object.modified / 1_000),
            cache_control: &cache_control,
        };
        let has_rules = self.has_rules(&object.path);
        let representation = Representation::with_cors(description, body, if has_rules { "" } else { CORS_FIELDS });
        let usage = self.objects.table().usage_of(object.path.container());
        let open = OpenObject { object, representation: Some(representation), usage };
        self.open.insert(open.object.id, Arc::new(open));
    }

    fn broken(&self, object: &Arc<Object>, error: &std::io::Error) {
        // What was deleted a moment ago is nobody's concern.
        if self.objects.table().by_id(object.id).is_some() {
            tracing::error!(object = %object.path, file = %self.objects.file(object.id).display(), %error, "an object is damaged");
            let usage = self.objects.table().usage_of(object.path.container());
            let open = OpenObject { object: object.clone(), representation: None, usage };
            self.open.insert(object.id, Arc::new(open));
        }
    }

    /// What came so far, and what will come.
    pub fn follow(&self, upload: &Upload) -> Response {
        let has_rules = self.has_rules(&upload.path);
        let fields = format!(
            "Content-Type: {}\r\nCache-Control: {}\r\n{}",
            content_type(&upload.path, &upload.meta.content_type),
            self.cache_control(&upload.path, &upload.meta.cache_control),
            if has_rules { "" } else { CORS_FIELDS },
        );
        Response {
            status: Status::OK,
            kind: Kind::Object,
            fields: Bytes::from(fields),
            body: Payload::Empty,
            growing: Some(Box::new(upload.growing.clone())),
        }
    }

    /// The answer to a browser that asks before its script's request.
    pub fn preflight(&self, settings: &Container, request: &Request<'_>) -> Response {
        with_cors(preflight(settings, request), settings, request)
    }

    /// Field lines for a script of that origin, as answers other than those of [`StoreReads::answer`] need them.
    pub fn cors_lines(&self, settings: &Container, origin: &str, method: &str) -> String {
        if settings.cors.is_empty() {
            return CORS_FIELDS.to_owned();
        }
        let allowed = settings.cors_rule(origin, method).map(|rule| allowed_fields(origin, rule)).unwrap_or_default();
        allowed + VARY_FIELD
    }

    /// Whether its container says which scripts may read it.
    fn has_rules(&self, path: &ObjectPath) -> bool {
        self.objects.settings().container(path.container()).is_some_and(|container| !container.cors.is_empty())
    }

    /// The value that was kept, or what goes without saying.
    fn cache_control(&self, path: &ObjectPath, said: &str) -> String {
        if !said.is_empty() {
            return said.to_owned();
        }
        let ages = self.ages.load();
        let age = if path.is_manifest() { ages.manifest } else { ages.object };
        format!("max-age={}", age.as_secs())
    }
}

impl OpenObject {
    pub fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// With ranges and conditions.
    pub fn respond(&self, request: &Request<'_>) -> Response {
        self.representation.as_ref().map_or_else(damaged, |representation| representation.respond(request))
    }

    fn is_damaged(&self) -> bool {
        self.representation.is_none()
    }
}

fn damaged() -> Response {
    Response::error(Status::INTERNAL_SERVER_ERROR, "the file of this object is damaged", NO_STORE_FIELD)
}

/// The type that was kept, or what the name says.
pub fn content_type<'a>(path: &ObjectPath, said: &'a str) -> &'a str {
    if !said.is_empty() {
        return said;
    }
    let ending = path.name().rsplit_once('.').map_or("", |(_, ending)| ending);
    match ending.to_ascii_lowercase().as_str() {
        "m3u8" | "m3u" => "application/vnd.apple.mpegurl",
        "mpd" => "application/dash+xml",
        "ts" => "video/mp2t",
        "mp4" | "m4s" | "m4v" | "cmfv" => "video/mp4",
        "m4a" | "cmfa" => "audio/mp4",
        "cmft" => "application/mp4",
        "aac" => "audio/aac",
        "mp3" => "audio/mpeg",
        "webm" => "video/webm",
        "vtt" => "text/vtt",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}

/// Where a container has rules, they say what a script may see; otherwise the answer says so itself.
fn with_cors(response: Response, settings: &Container, request: &Request<'_>) -> Response {
    if settings.cors.is_empty() {
        return response;
    }
    let method = match request.method {
        Method::Options => {
            return Response { fields: [&response.fields[..], VARY_FIELD.as_bytes()].concat().into(), ..response };
        }
        Method::Head => "HEAD",
        _ => "GET",
    };
    // Errors came with what holds for all.
    let own = String::from_utf8_lossy(&response.fields).replace(CORS_FIELDS, "");
    let rule = request.origin.and_then(|origin| Some((origin, settings.cors_rule(origin, method)?)));
    let allowed = rule.map(|(origin, rule)| allowed_fields(origin, rule)).unwrap_or_default();
    Response { fields: Bytes::from([own.as_str(), &allowed, VARY_FIELD].concat()), ..response }
}

/// Names that a field may hold; the origin is the sender's own.
fn allowed_fields(origin: &str, rule: &CorsRule) -> String {
    let expose = match &rule.expose[..] {
        [] => String::new(),
        names => format!("Access-Control-Expose-Headers: {}\r\n", names.join(", ")),
    };
    let is_for_all = rule.origins.iter().any(|pattern| pattern == "*");
    format!("Access-Control-Allow-Origin: {}\r\n{expose}", if is_for_all { "*" } else { origin })
}

/// Fetch §4.8: what may be asked for, by the rule that allows it.
fn preflight(settings: &Container, request: &Request<'_>) -> Response {
    if settings.cors.is_empty() {
        return super::options();
    }
    let method = request.access_control_method.unwrap_or("GET");
    let rule = request.origin.and_then(|origin| Some((origin, settings.cors_rule(origin, method)?)));
    let headers = request.access_control_headers.unwrap_or_default();
    let (status, fields) = match rule.filter(|(_, rule)| rule.allows_headers(headers)) {
        Some((origin, rule)) => (
            Status::NO_CONTENT,
            format!(
                "Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Allow-Methods: {}\r\n{}Access-Control-Max-Age: {}\r\n",
                rule.methods.join(", "),
                if headers.is_empty() { String::new() } else { format!("Access-Control-Allow-Headers: {headers}\r\n") },
                rule.max_age
            ),
        ),
        None => (Status::FORBIDDEN, String::new()),
    };
    Response {
        status,
        kind: Kind::Other,
        fields: Bytes::from([&fields, super::ALLOW_FIELD, NO_STORE_FIELD].concat()),
        body: Payload::Empty,
        growing: None,
    }
}
