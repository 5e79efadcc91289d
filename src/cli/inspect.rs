//! `headwater inspect`.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::Failure;
use super::track_text::{
    bit_rate, clock, details, kind_name, thumbnails_json, thumbnails_line, track_json, track_line,
};
use crate::base::limits::SEGMENT_DEFAULT;
use crate::library::import::Examined;
use crate::library::import::examine::{ExaminedTrack, Form};
use crate::library::{Asset, Version};
use crate::media::fragment::Start;
use crate::media::track::Kind;
use crate::media::{Presentation, TrackView};

/// Say what a media file or an asset holds: tracks, codecs, languages, fragments, and how the tracks are aligned.
///
/// Of whatever import takes it says what an import would find: key frames and their distances, priming, late starts, and
/// whether several video tracks could be renditions of one another. What is not MP4 is rewritten for that, to files without
/// a name in the directory for temporary ones (TMPDIR). Of an asset (its directory in the library, or one
/// version's) it says what is served.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A media file, a directory or manifest that import takes, an asset's directory, or a version's.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// One JSON document instead of lines.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<(), Failure> {
    let is_asset = ["current", "index"].iter().any(|name| args.path.join(name).exists());
    let (lines, document) = if args.path.is_dir() && is_asset {
        let directory = version_directory(&args.path)?;
        let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let version = Version::parse(name).unwrap_or(Version::of(&[0; 32]));
        let asset = Asset::open(&directory, SEGMENT_DEFAULT, version)?;
        of_asset(&args.path, version, &asset)
    } else {
        of_file(&args.path, &Examined::read(&args.path)?)
    };
    let mut out = stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &document)?;
        writeln!(out)?;
    } else {
        for line in lines {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// The asset's current version, or the directory itself.
fn version_directory(path: &Path) -> Result<PathBuf, Failure> {
    let current = path.join("current");
    if current.is_dir() {
        return Ok(current.canonicalize().map_err(|error| format!("{}: {error}", current.display()))?);
    }
    match path.join("index").is_file() {
        true => Ok(path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?),
        false => {
            Err(format!("{}: neither an asset nor a version of one (no current, no index)", path.display()).into())
        }
    }
}

/// Shortest, usual and longest of some lengths, in seconds.
#[derive(Clone, Copy, Default)]
struct Lengths {
    min: f64,
    median: f64,
    max: f64,
}

impl Lengths {
    fn of(mut seconds: Vec<f64>) -> Option<Lengths> {
        seconds.sort_by(f64::total_cmp);
        let (min, max) = (*seconds.first()?, *seconds.last()?);
        Some(Lengths { min, median: seconds[seconds.len() / 2], max })
    }

    fn text(self) -> String {
        if self.max - self.min < 0.0005 {
            return format!("every {:.3} s", self.median);
        }
        format!("usually every {:.3} s ({:.3} to {:.3} s)", self.median, self.min, self.max)
    }

    fn json(self) -> Value {
        json!({ "min": self.min, "median": self.median, "max": self.max })
    }
}

fn of_file(path: &Path, examined: &Examined) -> (Vec<String>, Value) {
    let form = match examined.form {
        Form::Fragmented => "fragmented MP4",
        Form::Progressive => "progressive MP4",
        Form::Rewritten => "not MP4, import rewrites it",
    };
    let mut lines = vec![format!("{}: {form}, {} tracks", path.display(), examined.tracks.len())];
    let mut tracks = Vec::new();
    for track in &examined.tracks {
        let distances = track.key_frames.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e9).collect();
        let distances = Lengths::of(distances);
        lines.push(file_track_line(track));
        if !track.key_frames.is_empty() {
            let many = match (track.key_frames.len(), distances) {
                (1, _) | (_, None) => "1 key frame".to_owned(),
                (count, Some(distances)) => format!("{count} key frames, {}", distances.text()),
            };
            lines.push(format!("      {many}; {}", open_text(track.open_starts, track.key_frames.len())));
        }
        let mut document = track_json(&track.track);
        document.insert("samples".into(), json!(track.samples));
        document.insert("bytes".into(), json!(track.bytes));
        document.insert("duration_seconds".into(), json!(track.duration.as_secs_f64()));
        document.insert("late_seconds".into(), json!(track.late.as_secs_f64()));
        document.insert("priming_seconds".into(), json!(track.priming.as_secs_f64()));
        document.insert("key_frames".into(), json!(track.key_frames.len()));
        document.insert("open_key_frames".into(), json!(track.open_starts));
        document.insert("key_frame_distance_seconds".into(), distances.map_or(Value::Null, Lengths::json));
        tracks.push(Value::Object(document));
    }
    let videos = examined.tracks.iter().filter(|track| track.track.kind() == Kind::Video).count();
    let common = match &examined.common {
        Ok(count) if videos > 1 => {
            lines.push(format!("the {videos} video tracks have {count} key frames in common"));
            json!({ "common_key_frames": count })
        }
        Ok(count) => json!({ "common_key_frames": count }),
        Err(reason) => {
            lines.push(format!("the video tracks are not renditions of one another: {reason}"));
            json!({ "refused": reason })
        }
    };
    lines.extend(examined.notes.iter().cloned());
    let document = json!({
        "path": path.display().to_string(),
        "fragmented": examined.form == Form::Fragmented,
        "rewritten": examined.form == Form::Rewritten,
        "tracks": tracks,
        "alignment": common,
        "notes": examined.notes,
    });
    (lines, document)
}

fn file_track_line(track: &ExaminedTrack) -> String {
    let info = &track.track;
    let mut parts = vec![format!("  track {} {} {}", info.id, kind_name(info), info.codec), details(info)];
    parts.push(info.language.clone());
    parts.extend(info.name.as_ref().map(|name| format!("{name:?}")));
    parts.push(clock(track.duration));
    parts.push(format!("{} samples", track.samples));
    parts.push(bit_rate(track.bytes as f64 * 8.0 / track.duration.as_secs_f64().max(0.001)));
    parts.push(HumanBytes(track.bytes).to_string());
    for (what, time) in [("starts late by", track.late), ("priming", track.priming)] {
        if time > Duration::ZERO {
            parts.push(format!("{what} {:.1} ms", time.as_secs_f64() * 1e3));
        }
    }
    parts.join("  ")
}

fn open_text(open: usize, count: usize) -> String {
    match open {
        0 => "all begin closed groups of pictures".to_owned(),
        open if open == count => "all begin open groups of pictures".to_owned(),
        open => format!("{open} begin open groups of pictures"),
    }
}

fn of_asset(path: &Path, version: Version, asset: &Asset) -> (Vec<String>, Value) {
    let presentation = asset.presentation();
    let thumbnails = presentation.thumbnails;
    let sheets = thumbnails.map_or(0, |thumbnails| thumbnails.size());
    let total = presentation.tracks.iter().map(|view| view.size()).sum::<u64>() + sheets;
    let mut lines = vec![format!(
        "{}: version {version}, {} tracks, {}, {}",
        path.display(),
        presentation.tracks.len(),
        clock(presentation.duration),
        HumanBytes(total)
    )];
    let mut tracks = Vec::new();
    for view in &presentation.tracks {
        let seconds = |view: &TrackView<'_>| view.track.timescale.seconds(presented_end(view));
        let duration = match view.track.kind() {
            Kind::Text => view.cues.last().map_or(0.0, |cue| cue.end_max.get() as f64 / 1e3),
            _ => seconds(view).max(0.0),
        };
        let length = Duration::from_secs_f64(duration.min(1e9));
        lines.push(format!("  {}", track_line(view.track, view.size(), view.fragments.len(), length)));
        let lengths = Lengths::of(
            view.fragments.iter().map(|fragment| view.track.timescale.seconds(fragment.duration())).collect(),
        );
        let open = view.fragments.iter().filter(|fragment| fragment.start() == Start::Open).count();
        if let (Some(lengths), Kind::Video) = (lengths, view.track.kind()) {
            lines.push(format!("      fragments {}; {}", lengths.text(), open_text(open, view.fragments.len())));
        }
        if view.track.kind() == Kind::Text {
            lines.push(format!("      {} cues", view.cues.len()));
        }
        let mut document = track_json(view.track);
        document.insert("bytes".into(), json!(view.size()));
        document.insert("duration_seconds".into(), json!(duration));
        document.insert("fragments".into(), json!(view.fragments.len()));
        document.insert("open_fragments".into(), json!(open));
        document.insert("samples".into(), json!(view.samples.len()));
        document.insert("cues".into(), json!(view.cues.len()));
        document.insert("fragment_seconds".into(), lengths.map_or(Value::Null, Lengths::json));
        tracks.push(Value::Object(document));
    }
    if let Some(thumbnails) = &thumbnails {
        lines.push(format!("  {}", thumbnails_line(thumbnails.id, &thumbnails.grid, thumbnails.size())));
    }
    let (aligned, alignment) = alignment(&presentation);
    lines.extend(aligned);
    let document = json!({
        "path": path.display().to_string(),
        "version": version.to_string(),
        "published": asset.published(),
        "duration_seconds": presentation.duration.as_secs_f64(),
        "bytes": total,
        "tracks": tracks,
        "thumbnails": thumbnails.as_ref().map(thumbnails_json),
        "alignment": alignment,
    });
    (lines, document)
}

fn presented_end(view: &TrackView<'_>) -> crate::base::Ticks {
    let end = view.fragments.last().map_or(0, |fragment| fragment.decode_end().0);
    crate::base::Ticks(end + view.track.presentation_offset.0)
}

/// How far the fragments of each track begin from those of the reference track in the same slot.
fn alignment(presentation: &Presentation<'_>) -> (Vec<String>, Value) {
    let Some(reference) = presentation.reference() else { return (Vec::new(), Value::Null) };
    let begin = |view: &TrackView<'_>, at: usize| {
        let time = view.fragments[at].decode_time().0 + view.track.presentation_offset.0;
        // Hidden samples in front of the first fragment do not count.
        view.track.timescale.seconds(crate::base::Ticks(time.max(0)))
    };
    let (mut lines, mut document) = (Vec::new(), Vec::new());
    for view in
        presentation.tracks.iter().filter(|view| view.track.id != reference.track.id && !view.fragments.is_empty())
    {
        let (mut shared, mut apart_max) = (0_usize, 0.0_f64);
        for (at, fragment) in view.fragments.iter().enumerate() {
            if let Ok(other) = reference.fragments.binary_search_by_key(&fragment.slot.get(), |other| other.slot.get())
            {
                shared += 1;
                apart_max = apart_max.max((begin(view, at) - begin(&reference, other)).abs());
            }
        }
        let all = if shared == view.fragments.len() { "all " } else { "" };
        lines.push(format!(
            "{} and {}: {all}{shared} of {} fragments side by side, at most {:.1} ms apart",
            view.track.id,
            reference.track.id,
            view.fragments.len(),
            apart_max * 1e3
        ));
        document.push(json!({
            "track": view.track.id,
            "reference": reference.track.id,
            "shared": shared,
            "apart_seconds_max": apart_max,
        }));
    }
    (lines, Value::Array(document))
}
