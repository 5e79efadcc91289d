//! Thumbnails for scrubbing, made of a track file that was just written: ffmpeg is given the key frames that are needed, and
//! gives sheets of JPEG back.

mod feed;
mod ffmpeg;
mod plan;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use feed::Feed;
pub use ffmpeg::Ffmpeg;
pub use plan::{BadOption, Wanted};

use super::output::Finished;
use super::{Event, Options, Report};
use crate::library::asset::{file_name, sheets_file_name};
use crate::library::folder;
use crate::media::jpeg::{self, Image};
use crate::media::thumbnails::{Grid, Sheet};
use crate::media::track::{Kind, Video, VideoRange};
use crate::store::TrackFile;
use crate::store::index_writer::ThumbnailEntry;

/// The one set that an asset has.
const ID: &str = "i1";

/// The file of sheets, written and synced.
pub struct Made {
    pub grid: Grid,
    pub bytes: u64,
    sheets: Vec<Sheet>,
    digest: [u8; 32],
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("thumbnails: no ffmpeg on PATH; install it, or import without --thumbnails")]
    Missing,
    #[error("thumbnails: ffmpeg cannot be started: {0}")]
    Start(io::Error),
    #[error("thumbnails: this ffmpeg has no filter {filter}; install a complete build")]
    Filter { filter: &'static str },
    #[error("thumbnails: ffmpeg failed ({ended}){}{reason}", if reason.is_empty() { "" } else { ": " })]
    Failed { ended: String, reason: String },
    #[error("thumbnails: ffmpeg did nothing for five minutes")]
    Stalled,
    #[error("thumbnails: ffmpeg did not say within half a minute which filters it has")]
    Silent,
    #[error("thumbnails: ffmpeg closed its output and did not end within ten seconds")]
    Lingers,
    #[error("thumbnails: ffmpeg writes no JPEG: {0}")]
    Output(jpeg::Error),
    #[error("thumbnails: ffmpeg stopped in the middle of a sheet")]
    Unfinished,
    #[error("thumbnails: ffmpeg made sheets of {found:?} pixels, {expected:?} were wanted")]
    Size { found: (u32, u32), expected: (u32, u32) },
    #[error("thumbnails: ffmpeg made {found} sheets, {expected} were wanted")]
    Count { found: usize, expected: u32 },
    #[error("thumbnails: the track cannot be read back: {0}")]
    Read(io::Error),
    #[error("thumbnails: {0}")]
    TooMany(#[from] plan::TooMany),
}

impl Error {
    fn start(error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::NotFound { Error::Missing } else { Error::Start(error) }
    }
}

impl Made {
    pub fn entry(&self) -> ThumbnailEntry<'_> {
        ThumbnailEntry { id: ID, grid: self.grid, sheets: &self.sheets, file_size: self.bytes, digest: self.digest }
    }
}

/// Makes them of one of the tracks, into `content`. `None` with a note if there is no video.
pub fn make(
    ffmpeg: &Ffmpeg,
    wanted: Wanted,
    tracks: &[Finished],
    content: &Path,
    duration: Duration,
    options: &Options,
    report: Report<'_>,
) -> Result<Option<Made>, super::Error> {
    let Some((track, video)) = best(wanted, tracks) else {
        report(Event::Note("no thumbnails: there is no video"));
        return Ok(None);
    };
    if video.range != VideoRange::Sdr && !ffmpeg.maps_tones {
        report(Event::Note("thumbnails in flat colours: they are of HDR, and this ffmpeg has no zscale and tonemap"));
    }
    let grid = plan::grid(wanted, duration, video).map_err(Error::from)?;
    let file = File::open(content.join(file_name(&track.track))).map_err(Error::Read)?;
    let feed = Feed::new(track, file).map_err(Error::Read)?;
    let keys = feed.keys().map_err(Error::Read)?;
    let samples = plan::samples(&grid, &keys, &|fragment| feed.count(fragment));
    let total = feed.size(&samples).map_err(Error::Read)?;

    let path = content.join(sheets_file_name(ID));
    let failed = |error| folder::Error::io("write", &path, error);
    let mut out = TrackFile::create(&path).map_err(failed)?;
    let (mut sheets, mut hash) = (Vec::new(), blake3::Hasher::new());
    let mut take = |image: Image| -> Result<(), super::Error> {
        let (found, expected) = ((image.width, image.height), grid.sheet_size());
        if found != expected {
            return Err(Error::Size { found, expected }.into());
        }
        let size = image.bytes.len() as u32;
        sheets.push(Sheet { offset: out.len().into(), size: size.into(), reserved: 0.into() });
        hash.update(&image.bytes);
        if let Some(writeback) = out.append(&image.bytes).map_err(failed)? {
            writeback.start();
        }
        Ok(())
    };
    let written = AtomicU64::new(0);
    let mut turn = || {
        options.check_stop()?;
        let done = written.load(Ordering::Relaxed);
        report(Event::Thumbnails { done, total });
        Ok(done)
    };
    let feeding = |pipe: &mut dyn io::Write| feed.write(&samples, pipe, &written);
    let ran = ffmpeg.run(&grid, video.range, feeding, &mut take, &mut turn);
    // Whoever stops the import may have stopped ffmpeg with it.
    options.check_stop()?;
    ran?;
    if sheets.len() != grid.sheets() as usize {
        return Err(Error::Count { found: sheets.len(), expected: grid.sheets() }.into());
    }
    let bytes = out.finish().map_err(failed)?;
    Ok(Some(Made { grid, bytes, sheets, digest: hash.finalize().into() }))
}

/// The smallest picture that is twice as large as a thumbnail, so that it is sharp, or the largest there is: SDR first, as
/// nothing has to be guessed of its colours then.
fn best(wanted: Wanted, tracks: &[Finished]) -> Option<(&Finished, &Video)> {
    let videos = tracks.iter().filter(|track| track.track.kind() == Kind::Video);
    let videos = videos.filter_map(|track| Some((track, track.track.video()?)));
    videos.min_by_key(|(_, video)| {
        let side = video.width.max(video.height);
        let missing = (2 * wanted.size()).saturating_sub(side);
        (video.range != VideoRange::Sdr, missing, side)
    })
}
