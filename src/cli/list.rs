//! `headwater list`.

use std::io::{Write, stdout};
use std::path::PathBuf;

use indicatif::HumanBytes;
use serde::Serialize;

use super::Failure;
use super::track_text::{clock, thumbnails_json, track_json};
use crate::library::{Asset, Library, Options, Version};

/// List the assets of a library: name, version, length, tracks, size.
///
/// The version shown is the directory's; the one in URLs also depends on the segment length the server is set to. An asset
/// that cannot be opened is listed with the reason, and the exit status is still 0.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the library.
    #[arg(long, value_name = "DIR")]
    library: PathBuf,
    /// One JSON document instead of lines.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    name: String,
    version: String,
    #[serde(flatten)]
    state: State,
}

#[derive(Serialize)]
#[serde(untagged)]
enum State {
    Open {
        duration_seconds: f64,
        bytes: u64,
        published: u64,
        tracks: Vec<serde_json::Map<String, serde_json::Value>>,
        thumbnails: Option<serde_json::Value>,
    },
    Damaged {
        error: String,
    },
}

pub fn run(args: Args) -> Result<(), Failure> {
    let library = Library::open(&args.library, Options::default())?;
    let catalog = library.catalog();
    let mut out = stdout().lock();
    let mut rows = Vec::new();
    for entry in catalog.names().into_iter().filter_map(|name| catalog.find(name)) {
        let directory = library.directory(entry);
        let content = directory.file_name().and_then(|name| name.to_str()).and_then(Version::parse);
        let version = content.map_or_else(String::new, |version| version.to_string());
        // One at a time, and closed again: a library may hold more assets than a process may open files.
        let opened = content.map(|version| Asset::open(&directory, library.options().segment, version));
        let asset = match opened {
            Some(Ok(asset)) => asset,
            Some(Err(error)) if args.json => {
                rows.push(Row {
                    name: entry.name().to_owned(),
                    version,
                    state: State::Damaged { error: error.to_string() },
                });
                continue;
            }
            Some(Err(error)) => {
                writeln!(out, "{}  {version}  cannot be opened: {error}", entry.name())?;
                continue;
            }
            None => continue,
        };
        let presentation = asset.presentation();
        let sheets = presentation.thumbnails.map_or(0, |thumbnails| thumbnails.size());
        let bytes = presentation.tracks.iter().map(|view| view.size()).sum::<u64>() + sheets;
        if args.json {
            let state = State::Open {
                duration_seconds: presentation.duration.as_secs_f64(),
                bytes,
                published: asset.published(),
                tracks: presentation.tracks.iter().map(|view| track_json(view.track)).collect(),
                thumbnails: presentation.thumbnails.as_ref().map(thumbnails_json),
            };
            rows.push(Row { name: entry.name().to_owned(), version, state });
        } else {
            let thumbnails = presentation.thumbnails.map(|thumbnails| thumbnails.id);
            let tracks = presentation.tracks.iter().map(|view| view.track.id.as_str());
            let ids: Vec<&str> = tracks.chain(thumbnails).collect();
            let (length, size) = (clock(presentation.duration), HumanBytes(bytes));
            writeln!(out, "{}  {version}  {length}  {}  {size}", entry.name(), ids.join(" "))?;
        }
    }
    if args.json {
        serde_json::to_writer_pretty(&mut out, &rows)?;
        writeln!(out)?;
    }
    Ok(())
}
