//! `headwater demo`: a small library, a live channel and a player page, with nothing installed and nothing configured.

mod encoder;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use encoder::Encoder;

use super::appliance::{Appliance, Setup};
use super::signals::Signals;
use super::{Failure, logging, player};
use crate::base::limits;
use crate::delivery;
use crate::library::import::thumbnails::Wanted;
use crate::library::import::{self, Event, Input};
use crate::live::Channels;
use crate::media::Kind;
use crate::service::{self, Pages};
use crate::store::derived;
use crate::sys::affinity;
use crate::{intake, library};

/// Show it: serve a small sample library, a live channel and a player page
///
/// Builds a library from sample media inside this binary, serves it, and publishes it over and over as a live channel too.
/// Prints the address of the player page and of the HLS and DASH manifests. Needs no configuration and leaves nothing
/// behind. With ffmpeg on PATH, the sample has thumbnails for scrubbing too. Stop it with Ctrl-C.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to serve it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Build the library in this directory and leave it there [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

const ASSET: &str = "sample";
const CHANNEL: &str = "sample";
/// How far back the channel can be watched.
const WINDOW: Duration = Duration::from_secs(180);
/// The assets can be watched without it.
const CHANNEL_PATIENCE: Duration = Duration::from_secs(10);
const CHANNEL_PERIOD: Duration = Duration::from_millis(10);

/// The sample media of the repository, made by `tests/media/make`.
const MEDIA: [(&str, &[u8]); 7] = [
    ("video-360p.mp4", include_bytes!("../../../tests/media/video-360p.mp4")),
    ("video-270p.mp4", include_bytes!("../../../tests/media/video-270p.mp4")),
    ("video-180p.mp4", include_bytes!("../../../tests/media/video-180p.mp4")),
    ("audio-en.mp4", include_bytes!("../../../tests/media/audio-en.mp4")),
    ("audio-de.mp4", include_bytes!("../../../tests/media/audio-de.mp4")),
    ("subtitles.en.vtt", include_bytes!("../../../tests/media/subtitles.en.vtt")),
    ("subtitles.de.vtt", include_bytes!("../../../tests/media/subtitles.de.vtt")),
];

/// Enough for a look, also on a machine with a hundred CPUs.
const WORKERS_MAX: usize = 4;

pub fn run(args: Args) -> Result<(), Failure> {
    logging::start("warn")?;
    let signals = Signals::take()?;
    let scratch = Scratch::new()?;
    let root = args.keep.unwrap_or_else(|| scratch.path.join("library"));
    let summary = build(&root, &scratch.path.join("media"))?;
    let (live, key) = (scratch.path.join("live"), random_key()?);
    let derived = derived::Options { path: Some(scratch.path.join("derived")), ..derived::Options::default() };
    fs::create_dir(&live)?;
    let setup = setup(args.listen, live, derived, &key)?;
    let appliance = Appliance::start(&root, setup, Some("choose another address with --listen"))?;
    let address = appliance.addresses().first().copied().unwrap_or(args.listen);
    let ingest = appliance.ingest().ok_or("nothing listens for the sample's live channel")?;
    let _encoder = Encoder::start(ingest, CHANNEL, &key, encoder::tapes(appliance.library(), ASSET)?)?;
    await_channel(appliance.channels());
    invite(&mut io::stdout().lock(), address, &summary, logging::has_colours(&io::stdout()))?;
    appliance.run(&signals, |_| {})
}

fn setup(listen: SocketAddr, live: PathBuf, derived: derived::Options, key: &str) -> Result<Setup, Failure> {
    let workers = affinity::allowed()?.cpus().len().clamp(1, WORKERS_MAX);
    let mut pages = Pages::default();
    pages.add("/", player::CONTENT_TYPE, player::page());
    Ok(Setup {
        delivery: delivery::Options {
            workers: vec![None; workers],
            listeners: vec![listen],
            connections_max: 256,
            ..delivery::Options::default()
        },
        intake: intake::Options {
            ingest: intake::IngestOptions {
                address: Some((Ipv4Addr::LOCALHOST, 0).into()),
                live,
                ..intake::IngestOptions::default()
            },
            channels: vec![intake::ChannelSetup { window: WINDOW, ..intake::ChannelSetup::named(CHANNEL, key) }],
            ..intake::Options::default()
        },
        library: library::Options::default(),
        service: service::Options { pages, asset_list: true, derived, ..service::Options::default() },
        store: None,
    })
}

/// Until the channel can be watched: who opens what the invitation names finds it.
fn await_channel(channels: &Channels) {
    let since = Instant::now();
    let is_there = || channels.find(CHANNEL).is_some_and(|channel| channel.snapshot().broadcast(None).is_some());
    while !is_there() && since.elapsed() < CHANNEL_PATIENCE {
        std::thread::sleep(CHANNEL_PERIOD);
    }
}

/// For nobody but this process's own encoder.
fn random_key() -> io::Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Imports the sample media, which lies in `media` meanwhile; with thumbnails, if this machine has an ffmpeg that makes them.
fn build(root: &Path, media: &Path) -> Result<import::Summary, Failure> {
    fs::create_dir(media)?;
    let mut inputs: Vec<Input> = Vec::new();
    for (name, bytes) in MEDIA {
        let path = media.join(name);
        fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        inputs.push(path.to_string_lossy().parse()?);
    }
    let mut options = import::Options {
        library: root.to_owned(),
        asset: ASSET.to_owned(),
        inputs,
        segment: limits::SEGMENT_DEFAULT,
        thumbnails: Some(Wanted::default()),
        now: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        stop: Default::default(),
    };
    let mut note = |event: Event<'_>| {
        if let Event::Note(line) = event {
            tracing::warn!("{line}");
        }
    };
    let summary = match import::import(&options, &mut note) {
        Err(import::Error::Thumbnails(_)) => {
            options.thumbnails = None;
            import::import(&options, &mut note)?
        }
        result => result?,
    };
    fs::remove_dir_all(media)?;
    Ok(summary)
}

/// What to open, and what to try.
fn invite(out: &mut impl Write, address: SocketAddr, summary: &import::Summary, colours: bool) -> io::Result<()> {
    let (bold, plain) = if colours { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let base = format!("http://{}", reachable(address));
    let count = |kind: Kind, one: &str, many: &str| {
        let count = summary.tracks.iter().filter(|track| track.track.kind() == kind).count();
        format!("{count} {}", if count == 1 { one } else { many })
    };
    writeln!(
        out,
        "{bold}Headwater{plain} serves a sample of {} s, at will and as a live channel: {}, {}, {}.\n",
        summary.duration.as_secs(),
        count(Kind::Video, "rendition", "renditions"),
        count(Kind::Audio, "audio language", "audio languages"),
        count(Kind::Text, "subtitle language", "subtitle languages"),
    )?;
    for (label, line) in [
        ("Player", format!("{bold}{base}/{plain}")),
        ("HLS", format!("{base}/vod/{ASSET}/index.m3u8")),
        ("MPEG-DASH", format!("{base}/vod/{ASSET}/index.mpd")),
        ("Live HLS", format!("{base}/live/{CHANNEL}/index.m3u8")),
        ("Live DASH", format!("{base}/live/{CHANNEL}/index.mpd")),
    ] {
        writeln!(out, "  {label:11}{line}")?;
    }
    if address.ip().is_unspecified() {
        writeln!(out, "\nOther machines reach it under this one's name or address, on port {}.", address.port())?;
    }
    writeln!(out, "\nCtrl-C stops it.")?;
    out.flush()
}

/// An address that a browser on this machine can open.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// A directory of our own, gone with the value.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new() -> Result<Scratch, Failure> {
        let template = std::env::temp_dir().join("headwater-demo-XXXXXX");
        let path = nix::unistd::mkdtemp(&template)
            .map_err(|error| format!("{}: {error}; TMPDIR names another directory", template.display()))?;
        Ok(Scratch { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!("{}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_small_and_complete() {
        let bytes: usize = MEDIA.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes < 3_000_000, "{bytes} bytes");
        let scratch = Scratch::new().unwrap();
        let path = scratch.path.clone();
        let root = path.join("library");
        let summary = build(&root, &path.join("media")).unwrap();
        let count = |kind| summary.tracks.iter().filter(|track| track.track.kind() == kind).count();
        assert_eq!((count(Kind::Video), count(Kind::Audio), count(Kind::Text)), (3, 2, 2));
        assert!(summary.duration.as_secs() >= 20, "{:?}", summary.duration);
        assert!(!path.join("media").exists());

        let mut text = Vec::new();
        invite(&mut text, "0.0.0.0:80".parse().unwrap(), &summary, false).unwrap();
        let text = String::from_utf8(text).unwrap();
        for part in
            ["3 renditions, 2 audio languages, 2 subtitle languages", "http://127.0.0.1:80/vod/sample/index.mpd\n"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn addresses_that_browsers_can_open() {
        for (address, want) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:8080", "[::1]:8080"), ("10.0.0.1:9", "10.0.0.1:9")]
        {
            assert_eq!(reachable(address.parse().unwrap()).to_string(), want);
        }
    }
}
