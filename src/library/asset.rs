//! An open asset: its index mapped, its track files open.

use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::version::Version;
use crate::base::{Extent, Stored, Ticks};
use crate::media::isobmff::stored::media_start;
use crate::media::presentation::group;
use crate::media::{Fragment, Kind, Presentation, Thumbnails, Track, TrackView};
use crate::store::index::{Error, FILE_NAME, Index, IndexedThumbnails, IndexedTrack};
use crate::sys::MappedFile;

/// Immutable; whoever holds it can serve it, whatever happens to the catalog meanwhile.
pub struct Asset {
    index: Index,
    /// In the order of the index's tracks and their files, then the file of sheets.
    files: Vec<Arc<MappedFile>>,
    /// The same files, as payloads hold them, by track.
    stored: Vec<Vec<Arc<dyn Stored>>>,
    /// The file of sheets, if there are thumbnails.
    sheets: Option<Arc<dyn Stored>>,
    /// As in [`TrackView`], by track.
    reorders: Vec<Ticks>,
    cuts: Vec<u32>,
    /// As URLs name it.
    version: Version,
    duration: Duration,
    published: u64,
}

/// What the files of a track are called within its version's directory, and how long each is to be; a recorded one is at
/// least so long.
pub fn files(indexed: &IndexedTrack) -> Vec<(String, u64)> {
    match &indexed.recorded {
        None => vec![(file_name(&indexed.track), indexed.file_size)],
        Some(sizes) => {
            let names = (0..sizes.len()).map(|number| recorded_file_name(&indexed.track, number));
            names.zip(sizes.iter().copied()).collect()
        }
    }
}

/// What the file of all sheets of thumbnails is called within its version's directory.
pub fn sheets_file_name(id: &str) -> String {
    format!("{id}.jpgs")
}

/// Whether a version's directory holds all that its index tells of.
pub fn is_whole(directory: &Path, index: &Index) -> bool {
    let len = |name: &str| fs::metadata(directory.join(name)).map(|file| file.len());
    let is_track_whole = |indexed: &IndexedTrack| {
        let mut files = files(indexed).into_iter();
        files.all(|(name, size)| len(&name).is_ok_and(|found| has_length(indexed, size, found)))
    };
    let has_sheets = |thumbnails: &IndexedThumbnails| {
        len(&sheets_file_name(&thumbnails.id)).is_ok_and(|found| found == thumbnails.file_size)
    };
    index.tracks().iter().all(is_track_whole) && index.thumbnails().is_none_or(has_sheets)
}

/// Whether a file is as it was published.
fn has_length(indexed: &IndexedTrack, published: u64, found: u64) -> bool {
    if indexed.recorded.is_some() { found >= published } else { found == published }
}

/// What one of the files of a recorded track is called.
pub fn recorded_file_name(track: &Track, number: usize) -> String {
    let name = file_name(track);
    match (number, name.split_once('.')) {
        (1.., Some((id, suffix))) => format!("{id}.{number}.{suffix}"),
        _ => name,
    }
}

/// What an imported track's file is called within its version's directory.
pub fn file_name(track: &Track) -> String {
    let suffix = match track.kind() {
        Kind::Video => "cmfv",
        Kind::Audio => "cmfa",
        Kind::Text => "vtt",
    };
    format!("{}.{suffix}", track.id)
}

impl Asset {
    /// Opens one version's directory. `segment` is about how long segments shall be; `version` is what URLs call it.
    ///
    /// Reads the whole index once. A track file that has not the length it was published with is an error: it was
    /// truncated, and players would wait for bytes that are not there.
    pub fn open(directory: &Path, segment: Duration, version: Version) -> Result<Asset, Error> {
        let path = directory.join(FILE_NAME);
        let index = Index::open(&path)?;
        let published = fs::metadata(&path).map_err(|source| Error::Io { path, source })?.mtime();
        let mut files: Vec<Arc<MappedFile>> = Vec::with_capacity(index.tracks().len());
        let mut stored = Vec::with_capacity(index.tracks().len());
        let mut reorders = Vec::with_capacity(index.tracks().len());
        for indexed in index.tracks() {
            let mut of_track: Vec<Arc<dyn Stored>> = Vec::new();
            for (name, size) in self::files(indexed) {
                let path = directory.join(name);
                let file = MappedFile::open(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
                if !has_length(indexed, size, file.len()) {
                    return Err(Error::Length { path, found: file.len(), expected: size });
                }
                let file = Arc::new(file);
                of_track.push(file.clone());
                files.push(file);
            }
            reorders.push(of_track.first().map_or(Ticks(0), |file| reorder_of(indexed, &**file)));
            stored.push(of_track);
        }
        let mut sheets: Option<Arc<dyn Stored>> = None;
        if let Some(thumbnails) = index.thumbnails() {
            let path = directory.join(sheets_file_name(&thumbnails.id));
            let file = MappedFile::open(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
            if file.len() != thumbnails.file_size {
                return Err(Error::Length { path, found: file.len(), expected: thumbnails.file_size });
            }
            let file = Arc::new(file);
            sheets = Some(file.clone());
            files.push(file);
        }
        let (cuts, duration) = (cuts(&index, segment), duration(&index));
        if index.tracks().iter().all(|indexed| indexed.track.kind() == Kind::Text) {
            let error = io::Error::other("neither video nor audio in it");
            return Err(Error::Io { path: directory.to_owned(), source: error });
        }
        Ok(Asset {
            index,
            files,
            stored,
            sheets,
            reorders,
            cuts,
            version,
            duration,
            published: u64::try_from(published).unwrap_or(0),
        })
    }

    pub fn presentation(&self) -> Presentation<'_> {
        Presentation {
            version: self.version.as_str(),
            tracks: (0..self.stored.len()).filter_map(|number| self.view(number)).collect(),
            cuts: &self.cuts,
            duration: self.duration,
            thumbnails: self.thumbnails(),
        }
    }

    /// Without building a [`Presentation`].
    pub fn thumbnails(&self) -> Option<Thumbnails<'_>> {
        let indexed = self.index.thumbnails()?;
        let file = self.sheets.as_ref()?;
        Some(Thumbnails { id: &indexed.id, grid: indexed.grid, sheets: self.index.sheets(indexed), file, cut_off: 0 })
    }

    /// The track of this id, without building a [`Presentation`].
    pub fn track(&self, id: &str) -> Option<TrackView<'_>> {
        self.view(self.index.tracks().iter().position(|indexed| indexed.track.id == id)?)
    }

    /// Where some rows of a track's sample table lie: they may not be in memory, whatever [`Asset::is_resident`] says.
    pub fn sample_rows(&self, id: &str, rows: Range<u32>) -> Option<Extent> {
        let indexed = self.index.tracks().iter().find(|indexed| indexed.track.id == id)?;
        Some(self.index.sample_rows(indexed, rows))
    }

    fn view(&self, number: usize) -> Option<TrackView<'_>> {
        let indexed = self.index.tracks().get(number)?;
        Some(TrackView {
            track: &indexed.track,
            files: self.stored.get(number)?,
            time_offset: match indexed.recorded {
                Some(_) => Ticks(indexed.track.presentation_offset.0.saturating_neg()),
                None => Ticks(0),
            },
            reorder: *self.reorders.get(number)?,
            cut_off: Ticks(0),
            init_size: indexed.init_size,
            fragments: self.index.fragments(indexed),
            samples: self.index.samples(indexed),
            cues: self.index.cues(indexed),
            cuts: &self.cuts,
        })
    }

    /// Whether the index or a track file was truncated, or could not be read, while it was open: ask after reading, and throw
    /// away what was made from it.
    pub fn is_damaged(&self) -> bool {
        self.index.is_damaged() || self.has_damaged_track()
    }

    pub(super) fn has_damaged_track(&self) -> bool {
        self.files.iter().any(|file| file.is_damaged())
    }

    /// The same, of all that may be read: see [`Index::is_whole`].
    pub fn is_whole(&self) -> bool {
        self.index.is_whole()
    }

    /// Whether answers can be described without waiting for the disk.
    pub fn is_resident(&self) -> bool {
        self.index.is_resident()
    }

    /// Reads in what answers are described from. Waits for the disk.
    pub fn read_in(&self) -> io::Result<()> {
        self.index.read_in()
    }

    /// When the version was published, in seconds since 1970: `Last-Modified`.
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Open files beside the index, for limits and figures.
    pub fn track_count(&self) -> usize {
        self.files.len()
    }
}

/// The part of a video track's edit that is not priming (see `import::timeline`), by its initialisation segment.
pub(super) fn reorder(header: &[u8], presentation_offset: Ticks) -> Ticks {
    let start = media_start(header).unwrap_or(0);
    Ticks(start.saturating_add(presentation_offset.0).clamp(0, i64::from(i32::MAX)))
}

/// The same. Recorded tracks are as their encoder made them.
fn reorder_of(indexed: &IndexedTrack, file: &dyn Stored) -> Ticks {
    let header = file.mapped().and_then(|bytes| bytes.get(..usize::try_from(indexed.init_size).ok()?));
    match (&indexed.recorded, indexed.track.kind(), header) {
        (None, Kind::Video, Some(header)) => reorder(header, indexed.track.presentation_offset),
        _ => Ticks(0),
    }
}

/// The first slot of every segment: grouped by the reference track, and beyond its end by the track that lasts longest.
fn cuts(index: &Index, segment: Duration) -> Vec<u32> {
    let tracks = || index.tracks().iter().map(|indexed| (indexed.track.timescale, index.fragments(indexed)));
    let Some((timescale, reference)) = tracks().find(|(_, fragments)| !fragments.is_empty()) else {
        return vec![0];
    };
    let last = |fragments: &[Fragment]| fragments.last().map(|fragment| fragment.slot.get());
    let mut cuts = group(reference, timescale, segment);
    let end = last(reference);
    if let Some((timescale, longest)) = tracks().max_by_key(|(_, fragments)| last(fragments))
        && last(longest) > end
    {
        let rest = &longest[longest.partition_point(|fragment| Some(fragment.slot.get()) <= end)..];
        // `group` begins every list with slot 0.
        let first = rest.first().map(|fragment| fragment.slot.get());
        cuts.extend(first.into_iter().chain(group(rest, timescale, segment).into_iter().skip(1)));
    }
    // A segment is one extent: where any track goes on in another file, all of them have a border.
    let borders = tracks().flat_map(|(_, fragments)| {
        fragments.windows(2).filter(|pair| pair[0].file != pair[1].file).map(|pair| pair[1].slot.get())
    });
    cuts.extend(borders);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// Of the track that is presented longest; subtitles do not count, their last cue may show for hours.
fn duration(index: &Index) -> Duration {
    let presented = index.tracks().iter().filter_map(|indexed| {
        let end = index.fragments(indexed).last()?.decode_end().0;
        Some(indexed.track.timescale.duration(Ticks(end + indexed.track.presentation_offset.0)))
    });
    presented.max().unwrap_or_default()
}
