//! `headwater harvest`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::HumanBytes;

use super::Failure;
use super::track_text::clock;
use crate::base::instant;
use crate::config;
use crate::library::folder::Published;
use crate::library::harvest::{Options, harvest};

/// Make an asset of a stretch of a channel's past.
///
/// Whole segments are taken: those that any of the stretch lies in. Nothing is encoded again and no media is copied: the
/// asset shares the channel's files on disk, and keeps them when they leave the channel's window. The asset appears, or
/// changes, in one step at the end. A stretch in which a track changes its format is refused, and the time is said.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub struct Args {
    /// The server's configuration file, which says where the channels' recordings and the library are
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Directory of the channels' recordings, instead of the configuration's
    #[arg(long, value_name = "DIR")]
    live: Option<PathBuf>,
    /// Directory of the library, instead of the configuration's; created if it is missing. On the same file system.
    #[arg(long, value_name = "DIR")]
    library: Option<PathBuf>,
    /// The channel.
    #[arg(long, value_name = "NAME")]
    channel: String,
    /// Where the stretch begins: 2026-05-01T20:15:00Z, with an offset such as +02:00, or seconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    start: Duration,
    /// Where it ends.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    end: Duration,
    /// What the asset is called in URLs: letters, digits, '.', '_' and '-', at most 200.
    #[arg(long, value_name = "NAME")]
    asset: String,
}

const EXAMPLE: &str = "\
Example:
  headwater harvest --channel news --asset news-at-eight \\
    --start 2026-05-01T20:00:00+02:00 --end 2026-05-01T20:15:00+02:00";

pub fn run(args: Args) -> Result<(), Failure> {
    let (live, library) = match (args.live, args.library) {
        (Some(live), Some(library)) => (live, library),
        (live, library) => {
            let config = config::load(&args.config)?;
            (live.unwrap_or(config.live.path), library.unwrap_or(config.library.path))
        }
    };
    let options = Options {
        live,
        channel: args.channel,
        start: args.start,
        end: args.end,
        library,
        asset: args.asset,
        now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()),
    };
    let summary = harvest(&options)?;
    let what = match summary.published {
        Published::Added => "added".to_owned(),
        Published::Replaced(old) => format!("replaced version {old}"),
        Published::Unchanged => "unchanged, it has this content already".to_owned(),
    };
    println!(
        "{}: {what}; version {}, {} tracks, {} from {:.3} s since 1970, {} shared with the channel",
        options.asset,
        summary.version,
        summary.tracks.len(),
        clock(summary.duration),
        summary.start.as_secs_f64(),
        HumanBytes(summary.bytes),
    );
    Ok(())
}

fn instant(text: &str) -> Result<Duration, String> {
    instant::read(text)
        .ok_or_else(|| format!("{text:?} is no time; expected one like 2026-05-01T20:15:00Z, or seconds since 1970"))
}
