//! `headwater check`: is the configuration right, and is this machine ready?

mod derived;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::statfs::{FsType, statfs};
use nix::unistd::{AccessFlags, Uid, access};

use super::appliance::{descriptors, free};
use super::{Failure, logging, serve};
use crate::base::limits;
use crate::config::{self, Bytes, Config};
use crate::store::objects::Durability;
use crate::sys::probe::{self, Ring};
use crate::sys::residency::{self, Source};
use crate::sys::{affinity, files_limit};

/// Check the configuration and this machine before serving
///
/// Reports every mistake in the configuration, then what the machine offers: io_uring, CPUs, open files, congestion control,
/// addresses, the library's directory and file system. Run it as the user who will run the server. Exit status 1 if
/// something would keep the server from running.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

pub fn run(args: Args) -> Result<(), Failure> {
    let mut report = Report::default();
    let config = match config::load(&args.config) {
        Ok(config) => {
            report.ok("configuration", format!("{}: no mistakes", args.config.display()));
            Some(config)
        }
        Err(config::Error::Invalid { path, problems }) => {
            for problem in problems {
                report.problem("configuration", format!("{}: {problem}", path.display()), "");
            }
            None
        }
        Err(error) => {
            report.problem("configuration", error.to_string(), "");
            None
        }
    };
    // With a file that cannot be used the machine is still looked at, for what the defaults need of it.
    let is_read = config.is_some();
    let config = config.unwrap_or_default();
    machine(&config, &mut report);
    if is_read {
        addresses(&config, &mut report);
        library(&config.library.path, &mut report);
        derived::look(&config.library, &mut report);
        state(&config.server.state, &mut report);
        channels(&config, &mut report);
        if let Some(objects) = &config.store {
            store(objects, &config, &mut report);
        }
    }
    report.write(&mut io::stdout().lock(), logging::has_colours(&io::stdout()))?;
    match report.problems() {
        0 => Ok(()),
        1 => Err("1 problem would keep the server from running".into()),
        count => Err(format!("{count} problems would keep the server from running").into()),
    }
}

fn machine(config: &Config, report: &mut Report) {
    let kernel = probe::kernel_release().unwrap_or_else(|error| error.to_string());
    match probe::ring() {
        Ring::Deferred => report.ok("io_uring", format!("as wanted, on Linux {kernel}")),
        Ring::Cooperative => report.note(
            "io_uring",
            format!("Linux {kernel} does not defer completions: about 30% more CPU for each small answer"),
            "run Linux 6.1 or newer",
        ),
        Ring::Plain => report.note(
            "io_uring",
            format!("Linux {kernel} has it without what makes it fast"),
            "run Linux 6.1 or newer",
        ),
        Ring::Unavailable(reason) => report.problem(
            "io_uring",
            reason,
            "set sysctl kernel.io_uring_disabled=0, and let containers and seccomp filters allow the io_uring system calls",
        ),
    }
    match affinity::allowed().map_err(|error| error.to_string()).and_then(|allowed| {
        let text = allowed.to_string();
        serve::workers(&config.server.workers, allowed)
            .map(|workers| (workers.len(), text))
            .map_err(|error| error.to_string())
    }) {
        Ok((workers, allowed)) => {
            report.ok("cpus", format!("{workers} workers, on CPUs this process may use ({allowed})"))
        }
        Err(error) => report.problem("cpus", error, ""),
    }
    open_files(config, report);
    congestion(config.server.congestion_control.as_deref(), report);
    match probe::backlog_max() {
        Some(backlog) if backlog < 1_024 => report.note(
            "backlog",
            format!("{backlog} connections at most wait to be accepted"),
            "set sysctl net.core.somaxconn=4096",
        ),
        _ => {}
    }
    match probe::kernel_tls() {
        true => report.ok("ktls", "the kernel can encrypt TLS (this build does not serve TLS yet)".to_owned()),
        false => report.note(
            "ktls",
            "the kernel does not offer TLS; of no consequence, as this build does not serve TLS yet".to_owned(),
            "",
        ),
    }
    clock(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), report);
}

fn open_files(config: &Config, report: &mut Report) {
    let limit = match files_limit::current() {
        Ok(limit) => limit.hard,
        Err(error) => return report.problem("open files", error.to_string(), ""),
    };
    let wanted = config.server.connections_max;
    match descriptors(limit, limits::OPEN_TRACKS_MAX) {
        Err(error) => report.problem("open files", error.to_string(), ""),
        Ok(shares) if wanted > shares.connections => report.note(
            "open files",
            format!(
                "the limit is {limit}: server.connections_max will be lowered from {wanted} to {}",
                shares.connections
            ),
            &format!(
                "raise it (LimitNOFILE, ulimit -Hn) to {}, or lower server.connections_max",
                wanted + limits::OPEN_TRACKS_MAX + limits::DESCRIPTOR_RESERVE
            ),
        ),
        Ok(_) => report.ok("open files", format!("the limit is {limit}, enough for {wanted} connections")),
    }
}

fn congestion(configured: Option<&str>, report: &mut Report) {
    const TOPIC: &str = "congestion";
    let available = probe::congestion_available();
    let has = |name: &str| available.iter().any(|other| other == name);
    let default = probe::congestion_default();
    match configured {
        Some(name) if !has(name) => report.problem(
            TOPIC,
            format!("server.congestion_control: found {name:?}, this kernel has {}", available.join(", ")),
            &format!("modprobe tcp_{name}, or name one of these"),
        ),
        Some(name) => report.ok(TOPIC, format!("{name}, as configured")),
        None if default == "bbr" => report.ok(TOPIC, "bbr is the system's default".to_owned()),
        None if has("bbr") => report.note(
            TOPIC,
            format!("{default} is the system's default; bbr is gentler on lossy last miles"),
            "set server.congestion_control = \"bbr\", or sysctl net.ipv4.tcp_congestion_control=bbr",
        ),
        None => report.note(
            TOPIC,
            format!("{default} is the system's default, and bbr is not available"),
            "modprobe tcp_bbr, then set server.congestion_control = \"bbr\"",
        ),
    }
}

/// Dates in answers come from the clock; a machine without a battery starts in the past.
fn clock(since_1970: Duration, report: &mut Report) {
    const EARLIEST: Duration = Duration::from_secs(1_735_689_600); // 2025-01-01
    if since_1970 < EARLIEST {
        report.problem(
            "clock",
            "the clock stands before 2025".to_owned(),
            "set it, and run chrony or systemd-timesyncd",
        );
        return;
    }
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    match fs::read_to_string(source).unwrap_or_default().trim() {
        name @ ("hpet" | "acpi_pm") => report.note(
            "clock",
            format!("clock source {name}: reading the time costs a microsecond or more"),
            "find out why the kernel does not trust the TSC (dmesg)",
        ),
        "" => report.ok("clock", "set".to_owned()),
        name => report.ok("clock", format!("set; clock source {name}")),
    }
}

fn addresses(config: &Config, report: &mut Report) {
    // A server that is running has its addresses itself.
    let running = serve::lock(&config.server.state).is_err_and(|error| error.is_locked());
    let all: Vec<(&str, SocketAddr)> =
        config.listen.iter().map(|&address| ("listen", address)).chain([("admin", config.admin.address)]).collect();
    // Encoders are listened for as soon as there is a channel or a store.
    let encoders = [("ingest", config.intake.address), ("rtmp", config.intake.rtmp)];
    let encoders = encoders.into_iter().filter_map(|(topic, address)| Some((topic, address?)));
    let is_open = |topic: &str| !config.channels.is_empty() || (topic == "ingest" && config.store.is_some());
    let all = all.into_iter().chain(encoders.filter(|(topic, _)| is_open(topic)));
    for (topic, address) in all {
        match free(address, None) {
            Ok(()) => report.ok(topic, address.to_string()),
            Err(_) if running => report.ok(topic, format!("{address}, where headwater is running")),
            Err(error) => report.problem(topic, error.to_string(), ""),
        }
    }
}

fn library(path: &Path, report: &mut Report) {
    const TOPIC: &str = "library";
    let metadata = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => return report.problem(TOPIC, format!("library.path: {} is not a directory", path.display()), ""),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.parent().is_some_and(Path::is_dir) => {
            return report.note(TOPIC, format!("{} is not there; serve makes it, empty", path.display()), "");
        }
        Err(error) => return report.problem(TOPIC, format!("library.path: {}: {error}", path.display()), ""),
    };
    if let Err(error) = access(path, AccessFlags::R_OK | AccessFlags::X_OK) {
        let advice = "make the directory readable for the server's user";
        return report.problem(TOPIC, format!("library.path: {}: {error}", path.display()), advice);
    }
    match access(path, AccessFlags::W_OK) {
        Ok(()) => report.ok(TOPIC, format!("{}: readable and writable", path.display())),
        Err(_) => report.note(
            TOPIC,
            format!("{}: this user (uid {}) may not write", path.display(), Uid::current()),
            "replaced versions and leftovers of imports stay on disk unless the server's user owns the library",
        ),
    }
    file_system(path, report);
    residency_of(path, metadata.uid(), report);
}

fn file_system(path: &Path, report: &mut Report) {
    const TOPIC: &str = "disk";
    let found = match statfs(path) {
        Ok(found) => found,
        Err(error) => return report.note(TOPIC, format!("{}: {error}", path.display()), ""),
    };
    let block = u64::try_from(found.block_size()).unwrap_or(0);
    let (free, size) = (found.blocks_available() * block, found.blocks() * block);
    let name = file_system_name(found.filesystem_type());
    let text = format!("{name}, {} of {} free", Rounded(free), Rounded(size));
    match name {
        _ if size > 0 && free < size / 50 => {
            report.note(TOPIC, format!("{text}: less than 2%"), "imports will fail soon; delivery goes on")
        }
        "nfs" | "fuse" | "smb" => report.note(
            TOPIC,
            text,
            "files on the network do not announce changes by other machines: new assets show after up to a minute",
        ),
        "tmpfs" => report.note(TOPIC, text, "this is memory: the library is gone after a restart of the machine"),
        _ => report.ok(TOPIC, text),
    }
}

fn file_system_name(kind: FsType) -> &'static str {
    match u64::try_from(kind.0).unwrap_or(0) & 0xffff_ffff {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x2fc1_2fc1 => "zfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0x6969 => "nfs",
        0x6573_5546 => "fuse",
        0xff53_4d42 | 0xfe53_4d42 => "smb",
        0xf2f5_2010 => "f2fs",
        _ => "unknown file system",
    }
}

/// Whether the kernel tells this user the truth about what is in the page cache.
fn residency_of(library: &Path, owner: u32, report: &mut Report) {
    const TOPIC: &str = "page cache";
    let Some(path) = some_track_file(library) else {
        return report.ok(TOPIC, "nothing to ask about: the library is empty".to_owned());
    };
    let (file, metadata) = match File::open(&path).and_then(|file| Ok((file.metadata()?, file))) {
        Ok((metadata, file)) => (file, metadata),
        Err(error) => {
            let advice = "make the library's files readable for the server's user";
            return report.problem(TOPIC, format!("{}: {error}", path.display()), advice);
        }
    };
    if metadata.uid() != owner {
        report.note(
            TOPIC,
            format!("{} belongs to uid {}, the library to uid {owner}", path.display(), metadata.uid()),
            &format!("chown -R {owner} {}", library.display()),
        );
    }
    match residency::source(file.as_fd()) {
        Source::Cachestat => report.ok(TOPIC, "cachestat tells what is in memory".to_owned()),
        Source::Samples => report.note(
            TOPIC,
            "cachestat is not there, or not for this user: what is in memory is found out by reading samples"
                .to_owned(),
            "let the server's user own the library, on Linux 6.5 or newer",
        ),
    }
}

/// Any media file of a current version.
fn some_track_file(library: &Path) -> Option<PathBuf> {
    let current =
        fs::read_dir(library).ok()?.flatten().map(|entry| entry.path().join("current")).find(|path| path.is_dir())?;
    let is_track = |path: &PathBuf| path.extension().is_some_and(|extension| extension != "vtt") && path.is_file();
    fs::read_dir(current).ok()?.flatten().map(|entry| entry.path()).find(is_track)
}

fn state(path: &Path, report: &mut Report) {
    const TOPIC: &str = "state";
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => {
            report.problem(TOPIC, format!("server.state: {} is not a directory", path.display()), "")
        }
        Ok(_) if access(path, AccessFlags::W_OK | AccessFlags::X_OK).is_err() => report.problem(
            TOPIC,
            format!("server.state: {}: this user (uid {}) may not write", path.display(), Uid::current()),
            "chown it, or set server.state to another directory",
        ),
        Ok(_) => report.ok(TOPIC, path.display().to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.parent().is_some_and(Path::is_dir) => {
            report.ok(TOPIC, format!("{}: serve makes it", path.display()))
        }
        Err(error) => report.problem(
            TOPIC,
            format!("server.state: {}: {error}", path.display()),
            "make it, owned by the server's user",
        ),
    }
}

/// Shorter keys are guessed sooner than anybody reads the log.
const KEY_BYTES_LEAST: usize = 12;

fn channels(config: &Config, report: &mut Report) {
    const TOPIC: &str = "channels";
    let path = &config.live.path;
    match fs::metadata(path) {
        _ if config.channels.is_empty() => return,
        Ok(metadata) if !metadata.is_dir() => {
            report.problem(TOPIC, format!("live.path: {} is not a directory", path.display()), "")
        }
        Ok(_) if access(path, AccessFlags::W_OK | AccessFlags::X_OK).is_err() => report.problem(
            TOPIC,
            format!("live.path: {}: this user (uid {}) may not write", path.display(), Uid::current()),
            "chown it, or set live.path to another directory",
        ),
        Ok(_) => report.ok(TOPIC, format!("{}, in {}", config.channels.len(), path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.parent().is_some_and(Path::is_dir) => {
            report.ok(TOPIC, format!("{}, in {}: serve makes it", config.channels.len(), path.display()))
        }
        Err(error) => report.problem(
            TOPIC,
            format!("live.path: {}: {error}", path.display()),
            "make it, owned by the server's user",
        ),
    }
    for channel in config.channels.iter().filter(|channel| channel.publish_key.len() < KEY_BYTES_LEAST) {
        report.note(
            TOPIC,
            format!("the publish key of {} has {} characters", channel.name, channel.publish_key.len()),
            &format!("take {KEY_BYTES_LEAST} or more, so that nobody guesses it"),
        );
    }
    if config.channels.iter().any(|channel| channel.enabled) && config.intake.address.or(config.intake.rtmp).is_none() {
        report.note(TOPIC, "intake.address and intake.rtmp are off: no encoder can send to them".to_owned(), "");
    }
}

/// Of objects: as of keys of channels.
const SECRET_BYTES_LEAST: usize = 16;

fn store(store: &config::Store, config: &Config, report: &mut Report) {
    const TOPIC: &str = "store";
    let path = &store.path;
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => {
            report.problem(TOPIC, format!("store.path: {} is not a directory", path.display()), "")
        }
        Ok(_) if access(path, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK).is_err() => report.problem(
            TOPIC,
            format!("store.path: {}: this user (uid {}) may not read and write", path.display(), Uid::current()),
            "chown it, or set store.path to another directory",
        ),
        Ok(_) => {
            report.ok(TOPIC, format!("{}: readable and writable", path.display()));
            file_system(path, report);
            if let Ok(found) = statfs(path) {
                let size = found.blocks() * u64::try_from(found.block_size()).unwrap_or(0);
                if store.capacity.is_some_and(|capacity| capacity > size) {
                    report.note(
                        TOPIC,
                        format!("store.capacity is more than the disk has, {}", Rounded(size)),
                        "lower it",
                    );
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.parent().is_some_and(Path::is_dir) => {
            report.ok(TOPIC, format!("{}: serve makes it", path.display()))
        }
        Err(error) => report.problem(
            TOPIC,
            format!("store.path: {}: {error}", path.display()),
            "make it, owned by the server's user",
        ),
    }
    if store.credentials.is_empty() {
        report.note(
            TOPIC,
            "there are no [[store.credentials]]: nobody can write".to_owned(),
            "add a pair of access_key_id and secret_access_key",
        );
    }
    for credential in store.credentials.iter().filter(|pair| pair.secret_access_key.len() < SECRET_BYTES_LEAST) {
        report.note(
            TOPIC,
            format!("the secret of {} has {} characters", credential.access_key_id, credential.secret_access_key.len()),
            &format!("take {SECRET_BYTES_LEAST} or more, so that nobody guesses it"),
        );
    }
    if store.durability == Durability::None {
        report.note(
            TOPIC,
            "store.sync is \"none\": objects of the last seconds are lost with the power".to_owned(),
            "set it to \"5ms\", the default, unless they can be made again",
        );
    }
    if config.intake.address.is_none() {
        report.note(TOPIC, "intake.address is off: nobody can send to the store".to_owned(), "");
    }
}

/// A size to one decimal, for people.
struct Rounded(u64);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("TiB", 40), ("GiB", 30), ("MiB", 20)];
        match units.iter().find(|(_, shift)| self.0 >> shift > 0) {
            Some((unit, shift)) => write!(f, "{:.1} {unit}", self.0 as f64 / (1_u64 << shift) as f64),
            None => Bytes(self.0).fmt(f),
        }
    }
}

/// What was found, in the order in which it was looked at.
#[derive(Default)]
struct Report {
    findings: Vec<Finding>,
}

struct Finding {
    level: Level,
    topic: &'static str,
    text: String,
    /// What to change; may be empty.
    advice: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Ok,
    /// It runs, but not as well as it could.
    Note,
    /// It does not run.
    Problem,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Problem => "problem",
        }
    }

    /// ANSI: green, yellow, red.
    fn colour(self) -> &'static str {
        match self {
            Level::Ok => "\x1b[32m",
            Level::Note => "\x1b[33m",
            Level::Problem => "\x1b[1;31m",
        }
    }
}

impl Report {
    fn ok(&mut self, topic: &'static str, text: String) {
        self.findings.push(Finding { level: Level::Ok, topic, text, advice: String::new() });
    }

    fn note(&mut self, topic: &'static str, text: String, advice: &str) {
        self.findings.push(Finding { level: Level::Note, topic, text, advice: advice.to_owned() });
    }

    fn problem(&mut self, topic: &'static str, text: String, advice: &str) {
        self.findings.push(Finding { level: Level::Problem, topic, text, advice: advice.to_owned() });
    }

    fn problems(&self) -> usize {
        self.findings.iter().filter(|finding| finding.level == Level::Problem).count()
    }

    fn write(&self, out: &mut impl Write, colours: bool) -> io::Result<()> {
        for finding in &self.findings {
            let (start, end) = if colours { (finding.level.colour(), "\x1b[0m") } else { ("", "") };
            writeln!(out, "{start}{:8}{end} {:14} {}", finding.level.word(), finding.topic, finding.text)?;
            if !finding.advice.is_empty() {
                writeln!(out, "{:24}→ {}", "", finding.advice)?;
            }
        }
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(look: impl FnOnce(&mut Report)) -> Vec<Level> {
        let mut report = Report::default();
        look(&mut report);
        report.findings.iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn a_report_reads_like_a_table() {
        let mut report = Report::default();
        report.ok("io_uring", "fine".to_owned());
        report.note("disk", "nearly full".to_owned(), "clean up");
        report.problem("library", "not there".to_owned(), "");
        assert_eq!(report.problems(), 1);
        let mut text = Vec::new();
        report.write(&mut text, false).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "ok       io_uring       fine\n\
             note     disk           nearly full\n                        → clean up\n\
             problem  library        not there\n"
        );
    }

    #[test]
    fn libraries() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(levels(|report| library(&dir.path().join("new"), report)), [Level::Note]);
        assert_eq!(levels(|report| library(&dir.path().join("none/new"), report)), [Level::Problem]);
        assert_eq!(levels(|report| library(&file, report)), [Level::Problem]);
        assert_eq!(levels(|report| library(dir.path(), report))[0], Level::Ok);
    }

    #[test]
    fn state_directories() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(levels(|report| state(dir.path(), report)), [Level::Ok]);
        assert_eq!(levels(|report| state(&dir.path().join("new"), report)), [Level::Ok]);
        assert_eq!(levels(|report| state(&dir.path().join("none/new"), report)), [Level::Problem]);
        assert_eq!(levels(|report| state(&file, report)), [Level::Problem]);
    }

    #[test]
    fn clocks_and_congestion_controls() {
        assert_eq!(levels(|report| clock(Duration::ZERO, report)), [Level::Problem]);
        assert_ne!(levels(|report| clock(Duration::from_secs(2_000_000_000), report)), [Level::Problem]);
        assert_eq!(levels(|report| congestion(Some("no_such"), report)), [Level::Problem]);
        let default = probe::congestion_default();
        assert_eq!(levels(|report| congestion(Some(&default), report)), [Level::Ok]);
    }
}
