//! `headwater import`.

use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Failure;
use super::signals::Signals;
use super::track_text::{clock, thumbnails_line, track_line};
use crate::library::folder::Published;
use crate::library::import::thumbnails::Wanted;
use crate::library::import::{Event, Input, Options, import};

/// Add an asset to a library, or replace one.
///
/// The files are the renditions, audio languages and subtitles of one presentation: MP4, MOV, CMAF, MPEG-TS, Matroska or
/// WebM files with one or many tracks each, and subtitle files (WebVTT *.vtt, SubRip *.srt, TTML *.ttml, *.dfxp, *.itt or
/// *.xml). They are checked against each other and copied into the library; the sources are not needed afterwards. The
/// asset appears, or changes, in one step at the end: whatever happens before
/// leaves the library as it was. A running server shows it within a second, and players in the middle of a replaced
/// version finish it.
///
/// Content that is packaged already can be given whole: a directory with HLS or DASH, or its playlist or MPD; a SMIL file or
/// an .ism server manifest stands for the files it lists, with their languages and names. What a manifest names must lie in
/// its directory or below; nothing is fetched. Whatever is not MP4 is rewritten first, in the library's directory, which
/// needs room for it twice meanwhile; subtitles inside of Matroska become WebVTT.
///
/// Renditions of the video are cut at the key frames they all have. They must begin with the same frame, be equally long
/// (to within a second) and have enough key frames in common: where two common ones are more than 10 s and more than
/// twice the usual distance apart, the import is refused and says at which times the renditions part.
///
/// Languages and names come from the files. Where those are silent or wrong, options behind a colon say it: lang= is a
/// BCP 47 tag (a subtitle file named like subs.en.vtt needs none), name= is what viewers see in a menu, role= is main,
/// alternate, commentary, description, forced or caption. They apply to all audio tracks of the file; a1.lang=, a2.name=
/// and so on to one of several. Audio that every rung of a ladder carries is taken once, from the file where it has most
/// bits.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub struct Args {
    /// Directory of the library; created if it is missing.
    #[arg(long, value_name = "DIR")]
    library: PathBuf,
    /// What the asset is called in URLs: letters, digits, '.', '_' and '-', at most 200.
    #[arg(long, value_name = "NAME")]
    asset: String,
    /// Audio without video is cut into pieces of this length.
    #[arg(long, value_name = "SECONDS", default_value = "4", value_parser = seconds)]
    segment: Duration,
    /// Make thumbnails for scrubbing, with ffmpeg: one every interval= seconds, whose longer side has size= pixels
    /// [default: every 1 to 10 s by the length, 320 pixels].
    #[arg(long, value_name = "interval=SECONDS,size=PIXELS", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    thumbnails: Option<Wanted>,
    /// A source file, directory or manifest, with options: FILE[:lang=TAG,name=TEXT,role=ROLE].
    #[arg(required = true, value_name = "FILE")]
    files: Vec<Input>,
}

const EXAMPLE: &str = "\
Example:
  headwater import --library /var/lib/headwater/library --asset film 1080p.mp4 720p.mp4 \\
    english.m4a:lang=en 'deutsch.m4a:lang=de,name=Deutsch' \\
    'talk.m4a:lang=en,name=Commentary,role=commentary' subs.en.vtt subs.de.vtt:role=caption
  headwater import --library /var/lib/headwater/library --asset match /srv/old-origin/match/master.m3u8";

/// "4", "4s", "2.5s" or "500ms".
fn seconds(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let value = number.trim().parse::<f64>().ok().map(|value| value * unit);
    value
        .filter(|value| (0.5..=60.0).contains(value))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("{text:?} is not a length between 500ms and 60s"))
}

pub fn run(args: Args) -> Result<(), Failure> {
    let started = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signal(stop.clone())?;
    let options = Options {
        library: args.library,
        asset: args.asset,
        inputs: args.files,
        segment: args.segment,
        thumbnails: args.thumbnails,
        now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()),
        stop,
    };
    let mut shown = Shown::new(&options.asset);
    let result = import(&options, &mut |event| shown.take(event));
    shown.finish();
    let summary = result?;
    for track in &summary.tracks {
        println!("  {}", track_line(&track.track, track.bytes, track.fragments, track.duration));
    }
    if let Some(thumbnails) = &summary.thumbnails {
        println!("  {}", thumbnails_line(&thumbnails.id, &thumbnails.grid, thumbnails.bytes));
    }
    let took = started.elapsed();
    let what = match summary.published {
        Published::Added => "added".to_owned(),
        Published::Replaced(old) => format!("replaced version {old}"),
        Published::Unchanged => "unchanged, it has this content already".to_owned(),
    };
    println!(
        "{}: {what}; version {}, {} tracks, {}, {} in {:.1} s ({}/s)",
        options.asset,
        summary.version,
        summary.tracks.len(),
        clock(summary.duration),
        HumanBytes(summary.bytes),
        took.as_secs_f64(),
        HumanBytes((summary.bytes as f64 / took.as_secs_f64().max(0.001)) as u64),
    );
    Ok(())
}

/// An import that is interrupted takes away what it has written so far. The second signal ends it at once, and leaves that
/// to whoever looks after the library next.
fn stop_on_signal(stop: Arc<AtomicBool>) -> Result<(), Failure> {
    // Before any other thread is started, so that none of them takes the signal.
    let signals = Signals::take()?;
    thread::spawn(move || {
        let wait = || while matches!(signals.wait(SIGNAL_TURN), Ok(None)) {};
        wait();
        stop.store(true, Ordering::Relaxed);
        wait();
        std::process::exit(1);
    });
    Ok(())
}

const SIGNAL_TURN: Duration = Duration::from_secs(3_600);

/// A bar on a terminal, otherwise a line now and then.
struct Shown {
    bar: ProgressBar,
    plain: Option<Plain>,
}

struct Plain {
    asset: String,
    last: Instant,
}

/// Between two lines of progress where there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

impl Shown {
    fn new(asset: &str) -> Shown {
        if !stderr().is_terminal() {
            let plain = Plain { asset: asset.to_owned(), last: Instant::now() };
            return Shown { bar: ProgressBar::hidden(), plain: Some(plain) };
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(8));
        let template = "{msg} {bar:32} {percent:>3}%  {bytes} of {total_bytes}  {binary_bytes_per_sec}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(format!("importing {asset}"));
        Shown { bar, plain: None }
    }

    fn take(&mut self, event: Event<'_>) {
        match (event, &mut self.plain) {
            (Event::Note(text), Some(_)) => eprintln!("{text}"),
            (Event::Note(text), None) => self.bar.println(text),
            (Event::Progress { done, total }, Some(plain)) => plain.line("importing", done, total),
            (Event::Thumbnails { done, total }, Some(plain)) => plain.line("thumbnails of", done, total),
            (Event::Progress { done, total }, None) => {
                self.bar.set_length(total);
                self.bar.set_position(done);
                if done == total {
                    self.bar.set_message("writing to disk");
                }
            }
            (Event::Thumbnails { done, total }, None) => {
                self.bar.set_length(total);
                self.bar.set_position(done);
                self.bar.set_message(if done == total { "writing to disk" } else { "making thumbnails" });
            }
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Plain {
    fn line(&mut self, what: &str, done: u64, total: u64) {
        if self.last.elapsed() >= PLAIN_INTERVAL && total > 0 {
            self.last = Instant::now();
            let percent = done * 100 / total;
            eprintln!("{what} {}: {percent}%, {} of {}", self.asset, HumanBytes(done), HumanBytes(total));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        for (text, want) in [
            ("4", Some(4_000)),
            ("2.5s", Some(2_500)),
            ("500ms", Some(500)),
            ("0", None),
            ("x", None),
            ("-4", None),
            ("NaN", None),
        ] {
            assert_eq!(seconds(text).ok(), want.map(Duration::from_millis), "{text}");
        }
    }
}
