//! From a request to what is to be done about it, as a pure function of the request, the snapshots and the time.
//!
//! `answer` routes; [`playback`] knows what an asset's URLs answer, [`live`] what a channel's do, and [`objects`] what the object
//! store has; [`representation`] decides conditions and ranges.

#[cfg(test)]
mod conversations;
#[cfg(test)]
mod library_conversations;
pub mod live;
#[cfg(test)]
mod live_conversations;
mod making;
pub mod manifest;
pub mod movies;
#[cfg(test)]
mod object_conversations;
pub mod objects;
pub mod pages;
pub mod playback;
mod representation;
mod route;
pub mod selection;
#[cfg(test)]
mod transport_conversations;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use crate::base::limits::{MANIFEST_AGE_DEFAULT, MANIFEST_CACHE_BYTES_DEFAULT, MISSING_AGE_DEFAULT};
use crate::base::{Extent, Payload, Watermark};
use crate::http::request::Method;
use crate::http::{Kind, Request, Response, Status, response, uri};
use crate::library::catalog::{Catalog, State};
use crate::library::{Asset, Entry, Library};
use crate::live::Channels;
use crate::store::derived::{self, Derived};
use crate::store::objects::Object;

use crate::sys::populate;

pub use making::Job;
pub use manifest::Manifest;
pub use pages::Pages;

use making::Jobs;
use objects::StoreReads;
use playback::{Outcome, Playback};
use route::Route;

/// What a connection has to do to answer a request.
pub enum Answer {
    Ready(Response),
    /// Something slow has to happen first: give it to the helper pool, then ask again.
    Load(Load),
    /// It is not there yet, and will be soon: ask again when it has grown.
    Wait(Wait),
}

/// Waiting for something to grow.
pub struct Wait {
    pub until: Watermark,
    /// How long, from the first time the request was answered so.
    pub patience: Duration,
    /// What to answer after that.
    pub otherwise: Box<Response>,
}

/// Work that must not happen on a delivery worker.
pub enum Load {
    /// The asset is not open, or not in memory.
    Open(Arc<Entry>),
    /// A manifest is too large to be compressed in place.
    Compress(Arc<Manifest>),
    /// What the answer is described from is not in memory.
    Read(Vec<Extent>),
    /// The head of a progressive file has to be made of the asset's sample tables.
    Movie(Arc<movies::Order>, Arc<Asset>),
    /// The list of assets has to be written anew, and there may be many.
    List,
    /// The object is not open.
    Object(Arc<Object>),
    /// A segment has to be made of stored media.
    Make(Arc<Job>),
}

impl Load {
    /// The answer to the same request without it, if there is one: a cache that is too small may lose a manifest whenever it
    /// has been compressed.
    pub fn without(&self, request: &Request<'_>) -> Option<Response> {
        match self {
            Load::Open(_) | Load::List | Load::Object(_) | Load::Movie(..) | Load::Read(_) | Load::Make(_) => None,
            Load::Compress(manifest) => Some(manifest.plain().respond(request)),
        }
    }
}

/// What answers are made from; one per server, shared by all workers.
pub struct Service {
    pub library: Arc<Library>,
    /// Whoever receives channels adds them here.
    pub channels: Arc<Channels>,
    /// `None`: there is no object store.
    store: Option<Arc<StoreReads>>,
    pages: Pages,
    asset_list: bool,
    /// As of the catalog that stands beside it.
    listed: ArcSwapOption<(Arc<Catalog>, Arc<Manifest>)>,
    /// The same of channels, and their names.
    listed_channels: ArcSwapOption<(Vec<String>, Arc<Manifest>)>,
    playback: Playback,
    jobs: Jobs,
    live: live::Live,
    /// The same for every name that nothing has.
    missing: Response,
}

/// What an operator decides about answers.
pub struct Options {
    pub pages: Pages,
    /// Whether `/assets.json` and `/channels.json` list what there is, as the player page needs it. Names are no secret then.
    pub asset_list: bool,
    /// `max-age` of unversioned manifests, in whole seconds.
    pub manifest_age: Duration,
    /// `max-age` of 404, in whole seconds.
    pub missing_age: Duration,
    /// Bytes of rendered manifests that are kept, with their compressed forms: so many of assets, and as many of channels.
    pub manifest_cache_bytes: u64,
    /// Where segments are kept that have to be made.
    pub derived: derived::Options,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            pages: Pages::default(),
            asset_list: false,
            manifest_age: MANIFEST_AGE_DEFAULT,
            missing_age: MISSING_AGE_DEFAULT,
            manifest_cache_bytes: MANIFEST_CACHE_BYTES_DEFAULT,
            derived: derived::Options::default(),
        }
    }
}

/// The worker's clock, read once a turn.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Seconds since 1970.
    pub unix: u64,
    /// And milliseconds, below 1000.
    pub millis: u32,
}

const ALLOW_FIELD: &str = "Allow: GET, HEAD, OPTIONS\r\n";
const NO_STORE_FIELD: &str = "Cache-Control: no-store\r\n";

impl Service {
    pub fn new(library: Arc<Library>, options: Options) -> Service {
        Service {
            library,
            channels: Arc::default(),
            store: None,
            pages: options.pages.with_policies(),
            asset_list: options.asset_list,
            listed: ArcSwapOption::empty(),
            listed_channels: ArcSwapOption::empty(),
            playback: Playback::new(options.manifest_age, options.manifest_cache_bytes, options.derived),
            jobs: Jobs::default(),
            live: live::Live::new(options.manifest_cache_bytes, missing(options.missing_age)),
            missing: missing(options.missing_age),
        }
    }

    /// The same, with an object store.
    pub fn with_store(self, store: Arc<StoreReads>) -> Service {
        Service { store: Some(store), ..self }
    }

    /// What is kept of segments that had to be made.
    pub fn derived(&self) -> &Derived {
        self.playback.derived()
    }

    /// Segments that are being made, and how many requests waited for one that was.
    pub fn jobs(&self) -> (usize, u64) {
        self.jobs.figures()
    }

    pub fn answer(&self, request: &Request<'_>, now: Now) -> Answer {
        match request.method {
            Method::Get | Method::Head => {}
            // Only the store has rules that depend on where.
            Method::Options if self.store.is_some() && request.path.starts_with("/store/") => {}
            Method::Options => return Answer::Ready(options()),
            Method::Other(_) => return Answer::Ready(method_not_allowed()),
        }
        let path = match uri::decode(request.path) {
            Ok(path) => path,
            Err(uri::BadPath::DotSegment | uri::BadPath::EncodedSlash) => return Answer::Ready(self.missing.clone()),
            Err(malformed) => return Answer::Ready(bad_request(&malformed)),
        };
        match Route::of(&path) {
            Some(Route::Store { below }) => match &self.store {
                Some(store) => store.answer(request, below, now, &self.missing),
                None => Answer::Ready(self.missing.clone()),
            },
            Some(Route::Vod { asset, resource }) => self.vod(request, now, asset, resource),
            Some(Route::Live { channel, resource }) => self.live(request, now, channel, resource),
            Some(Route::AssetList) if self.asset_list => match &*self.listed.load() {
                Some(listed) if Arc::ptr_eq(&listed.0, &self.library.catalog()) => document(&listed.1, request),
                _ => Answer::Load(Load::List),
            },
            Some(Route::ChannelList) if self.asset_list => document(&self.channel_list(), request),
            _ => match self.pages.find(&path) {
                Some(page) => document(page, request),
                None => Answer::Ready(self.missing.clone()),
            },
        }
    }

    fn vod(&self, request: &Request<'_>, now: Now, asset: &str, resource: route::Resource<'_>) -> Answer {
        let catalog = self.library.catalog();
        let entry = match playback::version(&resource) {
            Some(version) => catalog.find_version(asset, version),
            None => catalog.find(asset),
        };
        let Some(entry) = entry else { return Answer::Ready(self.missing.clone()) };
        let state = entry.state(now.unix);
        let open: Option<&Arc<Asset>> = match &state {
            State::Open(asset) => Some(asset),
            State::Closed => None,
            State::Damaged => return Answer::Ready(damaged()),
        };
        match self.playback.answer(request, asset, entry.version(), resource, open.map(|open| &**open)) {
            Outcome::Ready(response) => Answer::Ready(response),
            Outcome::Missing => Answer::Ready(self.missing.clone()),
            Outcome::Closed => Answer::Load(Load::Open(entry.clone())),
            Outcome::Damaged => {
                self.library.damaged(entry);
                Answer::Ready(damaged())
            }
            Outcome::Compress(manifest) => Answer::Load(Load::Compress(manifest)),
            Outcome::Read(extents) => Answer::Load(Load::Read(extents)),
            Outcome::Unmade => Answer::Ready(unmade()),
            Outcome::Make(wanted) => match open {
                Some(asset) => Answer::Load(Load::Make(self.jobs.join(wanted, entry, asset))),
                None => Answer::Load(Load::Open(entry.clone())),
            },
            Outcome::Movie(order) => match open {
                Some(asset) => Answer::Load(Load::Movie(order, asset.clone())),
                None => Answer::Load(Load::Open(entry.clone())),
            },
        }
    }

    fn live(
        &self,
        request: &Request<'_>,
        now: Now,
        channel: &str,
        resource: crate::package::live_url::Resource<'_>,
    ) -> Answer {
        let Some(channel) = self.channels.find(channel) else { return Answer::Ready(self.missing.clone()) };
        let now = Duration::from_secs(now.unix) + Duration::from_millis(u64::from(now.millis));
        match self.live.answer(request, channel.name(), &*channel.snapshot(), resource, now) {
            live::Outcome::Ready(response) => Answer::Ready(response),
            live::Outcome::Missing => Answer::Ready(self.missing.clone()),
            live::Outcome::Wait(wait) => Answer::Wait(wait),
            live::Outcome::Compress(manifest) => Answer::Load(Load::Compress(manifest)),
            live::Outcome::Read(extents) => Answer::Load(Load::Read(extents)),
            live::Outcome::Make(wanted) => match self.derived().find(&wanted.key) {
                Some(derived::Found::Made(body)) => Answer::Ready(wanted.respond(request, body)),
                Some(derived::Found::Impossible) => Answer::Ready(unmade()),
                None => Answer::Load(Load::Make(self.jobs.join_live(wanted, channel.name()))),
            },
        }
    }

    /// Channels of which there is something to see; written anew when those are others.
    fn channel_list(&self) -> Arc<Manifest> {
        let channels = self.channels.all();
        let shown = channels.iter().filter(|channel| channel.snapshot().edge().is_some());
        let names: Vec<String> = shown.map(|channel| channel.name().to_owned()).collect();
        match &*self.listed_channels.load() {
            Some(listed) if listed.0 == names => return listed.1.clone(),
            _ => {}
        }
        let list = Arc::new(pages::channel_list(&names.iter().map(String::as_str).collect::<Vec<_>>()));
        self.listed_channels.store(Some(Arc::new((names, list.clone()))));
        list
    }

    /// Runs on the helper pool; may block. Never panics on what it finds on disk.
    pub fn load(&self, load: Load) {
        match load {
            Load::Open(entry) => self.library.load(&entry),
            Load::Compress(manifest) => manifest.compress(),
            Load::Read(extents) => read_in(&extents),
            Load::Make(job) => self.jobs.run(&job, self.playback.derived(), &self.library),
            Load::Movie(order, asset) => self.playback.movies.make(&order, &*asset),
            Load::Object(object) => {
                if let Some(store) = &self.store {
                    store.open(&object);
                }
            }
            Load::List => {
                let catalog = Arc::clone(&self.library.catalog());
                let list = Arc::new(pages::asset_list(&catalog.names()));
                self.listed.store(Some(Arc::new((catalog, list))));
            }
        }
    }
}

/// What cannot be read is marked, and whoever asks next finds out.
fn read_in(extents: &[Extent]) {
    for extent in extents {
        if let Err(error) = populate::read_in(extent.file.fd(), extent.offset, extent.len)
            && extent.file.mark_damaged()
        {
            tracing::error!(extent = ?extent, %error, "reading failed");
        }
    }
}

fn document(page: &Arc<Manifest>, request: &Request<'_>) -> Answer {
    match page.form(request) {
        Some(form) => Answer::Ready(form.respond(request)),
        None => Answer::Load(Load::Compress(page.clone())),
    }
}

fn missing(age: Duration) -> Response {
    let cache_control = format!("Cache-Control: max-age={}\r\n", age.as_secs());
    Response::error(Status::NOT_FOUND, "nothing is here", &cache_control)
}

/// RFC 9110 §15.5.6: with what is allowed instead.
fn method_not_allowed() -> Response {
    let fields = [ALLOW_FIELD, NO_STORE_FIELD].concat();
    Response::error(Status::METHOD_NOT_ALLOWED, "this server reads requests of method GET, HEAD and OPTIONS", &fields)
}

fn bad_request(reason: &uri::BadPath) -> Response {
    Response::error(Status::BAD_REQUEST, &reason.to_string(), NO_STORE_FIELD)
}

fn damaged() -> Response {
    Response::error(Status::INTERNAL_SERVER_ERROR, "the files of this asset are damaged", NO_STORE_FIELD)
}

fn unmade() -> Response {
    Response::error(Status::INTERNAL_SERVER_ERROR, "this segment cannot be made of what is stored", NO_STORE_FIELD)
}

/// To any OPTIONS: what may be asked for here, for clients and for browsers that ask before a script's request (Fetch
/// §4.8). Players send CMCD as header fields (CTA-5004), each of which needs a permission.
fn options() -> Response {
    const PREFLIGHT_FIELDS: &str = "Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n\
        Access-Control-Allow-Headers: *, Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, If-Range, \
        Cache-Control, CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status\r\n\
        Access-Control-Max-Age: 86400\r\n";
    let fields = [ALLOW_FIELD, PREFLIGHT_FIELDS, response::CORS_FIELDS].concat();
    Response {
        status: Status::NO_CONTENT,
        kind: Kind::Other,
        fields: Bytes::from(fields),
        body: Payload::Empty,
        growing: None,
    }
}
