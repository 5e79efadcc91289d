//! One TOML file, checked into the options of each module.
//!
//! Every key is optional, and every mistake is reported, not only the first. `config/headwater.toml` is the reference.

mod channel;
mod section;
mod store;
mod value;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use toml::de::{DeTable, DeValue};

use crate::base::limits;
use crate::intake::ChannelSetup;

pub use section::Problem;
use section::{Notes, Section};
pub use store::Store;
pub use value::{Bytes, CPU_MAX, Written};

/// Where `serve` and `check` look when they are not told.
pub const DEFAULT_PATH: &str = "/etc/headwater/headwater.toml";

/// The commented reference, which states every key with its default.
pub const REFERENCE: &str = include_str!("../../config/headwater.toml");

/// The whole file. [`Config::default`] is what an empty one means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub server: Server,
    /// Where players and CDNs connect; at least one, no two the same.
    pub listen: Vec<SocketAddr>,
    pub intake: Intake,
    pub admin: Admin,
    pub library: Library,
    pub live: Live,
    /// No two of the same name.
    pub channels: Vec<ChannelSetup>,
    /// `None`: there is no object store.
    pub store: Option<Store>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub workers: Workers,
    /// For the whole process, before it is lowered to what the limit on open files allows.
    pub connections_max: usize,
    pub head_timeout: Duration,
    pub idle_timeout: Duration,
    /// How long what is in flight has to finish after SIGTERM.
    pub stop_timeout: Duration,
    /// Bytes a second over [`limits::READ_RATE_WINDOW`]; 0 lets a client be as slow as it likes.
    pub read_rate_min: u64,
    /// Of accepted connections; the system's own if none is named.
    pub congestion_control: Option<String>,
    pub access_log: AccessLog,
    pub page: Page,
    /// The directory that `serve` locks.
    pub state: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One per CPU this process may use.
    All,
    /// As many, on the first CPUs this process may use.
    Count(usize),
    /// One on each of these; ascending.
    Cpus(Vec<usize>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    Off,
    Stdout,
    File(PathBuf),
}

/// What `/` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    Off,
    /// The player page, with the list of assets it needs.
    Player,
    /// An HTML file, read at start.
    File(PathBuf),
}

/// What encoders connect to. Listened on as soon as there is a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intake {
    /// HTTP ingest; `None` is off.
    pub address: Option<SocketAddr>,
    /// RTMP; `None` is off.
    pub rtmp: Option<SocketAddr>,
    /// Of either kind, before it is lowered to what the limit on open files allows.
    pub connections_max: usize,
    /// A connection that brings nothing for so long is closed.
    pub idle_timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    pub address: SocketAddr,
    /// What a request has to present (`Authorization: Bearer …`); there is one wherever the address is not loopback.
    pub token: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    pub path: PathBuf,
    /// Media time of a segment; the fragments of an asset decide what is possible.
    pub segment: Duration,
    /// How long a replaced version stays readable.
    pub grace: Duration,
    pub open_assets_max: usize,
    /// Bytes of rendered manifests that are kept, with their compressed forms.
    pub manifest_cache: u64,
    /// Where segments are kept that have to be made of stored media.
    pub derived_path: PathBuf,
    /// Bytes of them; 0: none are kept.
    pub derived_cache: u64,
    /// `max-age` of unversioned manifests, in whole seconds.
    pub manifest_age: Duration,
    /// `max-age` of 404, in whole seconds.
    pub missing_age: Duration,
}

/// Where channels are kept, and how safely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    pub path: PathBuf,
    /// What is older than this survives a power loss.
    pub sync: Duration,
}

impl Default for Config {
    fn default() -> Config {
        parse("").expect("an empty file has no mistakes")
    }
}

#[derive(Debug, Error)]
pub enum Error {
    #[error("{path}: {source}; --config names another file")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}", listed(.path, .problems))]
    Invalid { path: PathBuf, problems: Vec<Problem> },
}

/// One line a mistake.
fn listed(path: &Path, problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{}: {problem}", path.display())).collect::<Vec<_>>().join("\n")
}

pub fn load(path: &Path) -> Result<Config, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    parse(&text).map_err(|problems| Error::Invalid { path: path.to_owned(), problems })
}

/// One channel as the admin API is told of it: the keys of a `[[channel]]`, as JSON. Every mistake in it.
pub fn channel(keys: &serde_json::Map<String, serde_json::Value>) -> Result<ChannelSetup, Vec<String>> {
    channel::from_json(keys)
}

/// Every mistake in the text, in its order.
pub fn parse(text: &str) -> Result<Config, Vec<Problem>> {
    let notes = Notes::new(text);
    let config = read(&notes, text);
    let mut problems = notes.problems.into_inner();
    if problems.is_empty() {
        return Ok(config);
    }
    problems.sort_by_key(|problem| problem.line);
    Err(problems)
}

fn read(notes: &Notes<'_>, text: &str) -> Config {
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in syntax {
        notes.problem(error.span(), "", format!("not TOML: {}", error.message().replace('\n', " ")));
    }
    let mut root = Section::root(notes, document.get_ref());
    let mut library = library(root.section("library"));
    // Two servers on one library meet there, and it is writable by who owns the library.
    let server = server(root.section("server"), &library.path);
    let listen = listen(&mut root);
    let intake = intake(root.section("intake"), &listen);
    let admin = admin(root.section("admin"), &listen, &intake);
    let live = live(root.section("live"));
    let channels = channel::channels(&mut root);
    let store = store::store(&mut root);
    root.finish();
    // Ages are sent as whole seconds (RFC 9111 §1.2.2).
    for age in [&mut library.manifest_age, &mut library.missing_age] {
        *age = Duration::from_secs(age.as_secs());
    }
    Config { server, listen, intake, admin, library, live, channels, store }
}

fn server(mut section: Section<'_, '_>, library: &Path) -> Server {
    let server = Server {
        workers: section
            .value("workers", "\"all\", a number from 1 to 1024, or a CPU list such as \"2-7,10\"", workers)
            .unwrap_or(Workers::All),
        connections_max: section.count("connections_max", limits::CONNECTIONS_DEFAULT, 16..=10_000_000),
        head_timeout: section.duration("head_timeout", limits::HEAD_TIMEOUT_DEFAULT, millis(100)..=minutes(10)),
        idle_timeout: section.duration("idle_timeout", limits::IDLE_TIMEOUT_DEFAULT, millis(100)..=minutes(60)),
        stop_timeout: section.duration("stop_timeout", limits::STOP_TIMEOUT_DEFAULT, Duration::ZERO..=minutes(60)),
        read_rate_min: section.size("read_rate_min", limits::READ_RATE_MIN_DEFAULT, 0..=1 << 30),
        congestion_control: section
            .text("congestion_control", "\"system\" or a name such as \"bbr\"", congestion_control)
            .unwrap_or(None),
        access_log: section
            .text("access_log", "\"off\", \"stdout\" or the absolute path of a file", |text| match text {
                "off" => Some(AccessLog::Off),
                "stdout" => Some(AccessLog::Stdout),
                path => path.starts_with('/').then(|| AccessLog::File(path.into())),
            })
            .unwrap_or(AccessLog::Off),
        page: section
            .text("page", "\"off\", \"player\" or the absolute path of an HTML file", |text| match text {
                "off" => Some(Page::Off),
                "player" => Some(Page::Player),
                path => path.starts_with('/').then(|| Page::File(path.into())),
            })
            .unwrap_or(Page::Off),
        state: section.path("state").unwrap_or_else(|| library.to_owned()),
    };
    section.finish();
    server
}

fn workers(value: &DeValue<'_>) -> Option<Workers> {
    match value {
        DeValue::String(text) if text == "all" => Some(Workers::All),
        DeValue::String(text) => value::cpus(text).map(Workers::Cpus),
        DeValue::Integer(count) => {
            let count = usize::from_str_radix(count.as_str(), count.radix()).ok()?;
            (1..=1024).contains(&count).then_some(Workers::Count(count))
        }
        _ => None,
    }
}

/// A name as the kernel has them (TCP_CA_NAME_MAX is 16 with the zero at its end); whether this one has it is known at start.
fn congestion_control(text: &str) -> Option<Option<String>> {
    let named = (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    named.then(|| (text != "system").then(|| text.to_owned()))
}

fn listen(root: &mut Section<'_, '_>) -> Vec<SocketAddr> {
    let mut listen: Vec<SocketAddr> = Vec::new();
    let rows = root.sections("listen", |mut section| {
        match section.text("address", ADDRESS, address) {
            Some(address) if listen.contains(&address) => {
                section.problem("address", format!("{address} is listened on twice"))
            }
            Some(address) => listen.push(address),
            None if section.is_present() && !section.has("address") => {
                section.problem("address", format!("missing, expected {ADDRESS}"))
            }
            None => {}
        }
        section.finish();
    });
    if rows.is_empty() {
        listen.push(SocketAddr::from(([0, 0, 0, 0], 8080)));
    }
    listen
}

const ADDRESS: &str = "an address and a port such as \"0.0.0.0:8080\" or \"[::]:8080\"";

fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok().filter(|address: &SocketAddr| address.port() != 0)
}

fn intake(mut section: Section<'_, '_>, listen: &[SocketAddr]) -> Intake {
    let mut listener = |key: &'static str, port: u16| {
        let found = section.text(key, &format!("\"off\", or {ADDRESS}"), |text| match text {
            "off" => Some(None),
            text => address(text).map(Some),
        });
        found.unwrap_or(Some(SocketAddr::from(([0, 0, 0, 0], port))))
    };
    let (http, rtmp) = (listener("address", 8081), listener("rtmp", 1935));
    for (key, address) in [("address", http), ("rtmp", rtmp)] {
        if let Some(address) = address.filter(|address| section.has(key) && listen.contains(address)) {
            section.problem(key, format!("{address} is also an address of [[listen]]"));
        }
    }
    if let Some(address) = http.filter(|_| http == rtmp) {
        section.problem("rtmp", format!("{address} is also intake.address"));
    }
    let intake = Intake {
        address: http,
        rtmp,
        connections_max: section.count("connections_max", limits::INTAKE_CONNECTIONS_DEFAULT, 1..=100_000),
        idle_timeout: section.duration(
            "idle_timeout",
            limits::INTAKE_IDLE_TIMEOUT_DEFAULT,
            Duration::from_secs(1)..=minutes(60),
        ),
    };
    section.finish();
    intake
}

fn live(mut section: Section<'_, '_>) -> Live {
    let live = Live {
        path: section.path("path").unwrap_or_else(|| PathBuf::from("/var/lib/headwater/live")),
        sync: section.duration("sync", limits::LIVE_SYNC_DEFAULT, millis(100)..=minutes(1)),
    };
    section.finish();
    live
}

fn admin(mut section: Section<'_, '_>, listen: &[SocketAddr], intake: &Intake) -> Admin {
    let default = SocketAddr::from(([127, 0, 0, 1], 8082));
    let address = section.text("address", ADDRESS, address).unwrap_or(default);
    // What may stand in a header field as a bearer token (RFC 6750 §2.1), long enough not to be guessed.
    let token = section.text("token", "\"\" (none) or 16 to 256 of A-Z a-z 0-9 - . _ ~ + / =", |text| {
        let allowed = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
        (text.is_empty() || (allowed && (16..=256).contains(&text.len()))).then(|| text.to_owned())
    });
    let token = token.filter(|token| !token.is_empty());
    if token.is_none() && !section.has("token") && !address.ip().is_loopback() {
        section.problem("address", format!("{address} is not a loopback address, so admin.token has to be set"));
    } else if token.is_none() && section.has("token") && !address.ip().is_loopback() {
        section.problem("token", format!("none, but {address} is not a loopback address: expected a token"));
    }
    if listen.contains(&address) {
        section.problem("address", format!("{address} is also an address of [[listen]]"));
    } else if [intake.address, intake.rtmp].contains(&Some(address)) {
        section.problem("address", format!("{address} is also an address of [intake]"));
    }
    section.finish();
    Admin { address, token }
}

fn library(mut section: Section<'_, '_>) -> Library {
    let path = section.path("path").unwrap_or_else(|| PathBuf::from("/var/lib/headwater/library"));
    let library = Library {
        derived_path: section.path("derived_path").unwrap_or_else(|| path.join(".derived")),
        derived_cache: section.size("derived_cache", limits::DERIVED_BYTES_DEFAULT, 0..=1 << 50),
        path,
        segment: section.duration("segment", limits::SEGMENT_DEFAULT, millis(500)..=minutes(1)),
        grace: section.duration("grace", limits::GRACE_DEFAULT, Duration::ZERO..=days(365)),
        open_assets_max: section.count("open_assets_max", limits::OPEN_ASSETS_DEFAULT, 1..=8_000),
        manifest_cache: section.size("manifest_cache", limits::MANIFEST_CACHE_BYTES_DEFAULT, 1 << 20..=1 << 40),
        manifest_age: section.duration("manifest_age", limits::MANIFEST_AGE_DEFAULT, Duration::ZERO..=days(365)),
        missing_age: section.duration("missing_age", limits::MISSING_AGE_DEFAULT, Duration::ZERO..=days(365)),
    };
    section.finish();
    library
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

#[cfg(test)]
mod tests;
