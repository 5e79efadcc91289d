//! `headwater harvest`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::HumanBytes;

use super::Failure;
use super::track_text::clock;
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

/// RFC 3339, or seconds since 1970.
fn instant(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; expected one like 2026-05-01T20:15:00Z, or seconds since 1970");
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| wrong());
    }
    rfc3339(text).and_then(|nanos| u64::try_from(nanos).ok()).map(Duration::from_nanos).ok_or_else(wrong)
}

/// Nanoseconds since 1970.
fn rfc3339(text: &str) -> Option<i128> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?
    };
    let mark = |at: usize, allowed: &[u8]| text.as_bytes().get(at).filter(|byte| allowed.contains(byte));
    for (at, allowed) in [(4, &b"-"[..]), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":")] {
        mark(at, allowed)?;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let len = fraction.bytes().take_while(u8::is_ascii_digit).count();
        nanos = format!("{:0<9.9}", fraction.get(..len).filter(|digits| !digits.is_empty())?).parse::<i64>().ok()?;
        rest = &fraction[len..];
    }
    let offset = match (rest, rest.as_bytes()) {
        ("Z" | "z", _) => 0,
        (_, [sign @ (b'+' | b'-'), _, _, b':', _, _]) => {
            let at = text.len() - 5;
            let seconds = number(at..at + 2)? * 3_600 + number(at + 3..at + 5)? * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    // Days before the year and before the month, March being the first.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
            - 719_469;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants() {
        for (text, want) in [
            ("0", Some(0.0)),
            ("1777659300.5", Some(1_777_659_300.5)),
            ("1970-01-01T00:00:00Z", Some(0.0)),
            ("2000-02-29T12:00:00.25Z", Some(951_825_600.25)),
            ("2026-05-01T20:15:00+02:00", Some(1_777_659_300.0)),
            ("2026-05-01 12:45:00-05:30", Some(1_777_659_300.0)),
            ("2026-12-31T23:59:60Z", Some(1_798_761_600.0)),
            ("2026-02-29T00:00:00Z", None),
            ("2026-05-01T20:15:00", None),
            ("2026-05-01", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-05-01T20:15:00+0200", None),
            ("1969-12-31T23:59:59Z", None),
            ("-1", None),
            ("NaN", None),
            ("yesterday", None),
            ("2026-05-01T2é:15:00Z", None),
        ] {
            assert_eq!(instant(text).ok().map(|time| time.as_secs_f64()), want, "{text}");
        }
    }
}
