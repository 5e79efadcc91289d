//! The mapped index, opened: everything that is read from it later has been checked here once.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::layout::{
    CHECKED_FROM, FileRecord, Header, MAGIC, READ_VERSION, THUMBNAILS, Table, Text, ThumbnailRecord, TrackRecord,
    present,
};
use crate::base::limits::{SHEET_PIXELS_MAX, THUMBNAILS_MAX, TRACK_FILES_MAX, TRACKS_MAX};
use crate::base::{Extent, Stored, Ticks, Timescale};
use crate::media::fragment::Start;
use crate::media::thumbnails::{Grid, Sheet};
use crate::media::track::{Audio, Details, Kind, Role, Video, VideoRange};
use crate::media::{Cue, Fragment, Sample, Track, captions};
use crate::sys::{MappedFile, populate, residency};

/// Name of the index within a version's directory.
pub const FILE_NAME: &str = "index";

/// An open index. Its tables are slices of the mapping; reading them may wait for the disk.
pub struct Index {
    file: Arc<MappedFile>,
    contents: Contents,
}

/// What the records of an index say.
pub(super) struct Contents {
    pub tracks: Vec<IndexedTrack>,
    pub thumbnails: Option<IndexedThumbnails>,
}

/// The thumbnails of an asset, and where the table of their sheets lies.
#[derive(Clone, Debug)]
pub struct IndexedThumbnails {
    pub id: String,
    pub grid: Grid,
    /// Bytes of the file of sheets.
    pub file_size: u64,
    /// BLAKE3 of it.
    pub digest: [u8; 32],
    sheets: Range<usize>,
}

/// One track of an index, and where its tables lie.
#[derive(Clone, Debug)]
pub struct IndexedTrack {
    pub track: Track,
    /// Bytes of the track file when it was published.
    pub file_size: u64,
    pub init_size: u64,
    /// BLAKE3 of the track file.
    pub digest: [u8; 32],
    /// Bytes of each file that the track was recorded to, that are known never to change; `None` for an imported track.
    pub recorded: Option<Vec<u64>>,
    fragments: Range<usize>,
    samples: Range<usize>,
    cues: Range<usize>,
}

#[derive(Debug, Error)]
pub enum Error {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: not an index (magic {found:02x?})")]
    Magic { path: PathBuf, found: Vec<u8> },
    #[error("{path}: index format {found}, this build reads {READ_VERSION}; import the asset again")]
    Version { path: PathBuf, found: u16 },
    #[error("{path}: {found} bytes long, the index says {expected}")]
    Length { path: PathBuf, found: u64, expected: u64 },
    #[error("{path}: checksum {found:08x}, expected {expected:08x}")]
    Checksum { path: PathBuf, found: u32, expected: u32 },
    #[error("{path}: {reason}")]
    Corrupt { path: PathBuf, reason: String },
}

impl Index {
    /// Maps the index, verifies its checksum and checks every record.
    pub fn open(path: &Path) -> Result<Index, Error> {
        let file = MappedFile::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let contents = parse(path, file.bytes())?;
        Ok(Index { file: Arc::new(file), contents })
    }

    /// Whether the disk could not give what was read: see [`MappedFile::is_damaged`].
    pub fn is_damaged(&self) -> bool {
        self.file.is_damaged()
    }

    pub fn tracks(&self) -> &[IndexedTrack] {
        &self.contents.tracks
    }

    pub fn thumbnails(&self) -> Option<&IndexedThumbnails> {
        self.contents.thumbnails.as_ref()
    }

    pub fn sheets(&self, thumbnails: &IndexedThumbnails) -> &[Sheet] {
        rows(self.file.bytes(), &thumbnails.sheets)
    }

    /// Whether the tables still hold what was checked when it was opened. Ask after reading: of a file that was truncated
    /// meanwhile zeros are read.
    pub fn is_whole(&self) -> bool {
        self.file.is_whole()
    }

    /// Whether [`Index::fragments`] and [`Index::cues`] can be read without waiting for the disk.
    pub fn is_resident(&self) -> bool {
        self.described().all(|(offset, len)| residency::is_resident(self.file.fd(), offset, len))
    }

    /// Reads those tables in. Waits for the disk.
    pub fn read_in(&self) -> std::io::Result<()> {
        self.described().try_for_each(|(offset, len)| populate::read_in(self.file.fd(), offset, len))
    }

    #[cfg(test)]
    pub(super) fn forget(&self) {
        self.file.forget();
    }

    /// Where the tables lie that answers are described from, and how long they are: not the samples, which are the most.
    fn described(&self) -> impl Iterator<Item = (u64, u64)> {
        let tables = self.tracks().iter().flat_map(|track| [&track.fragments, &track.cues]);
        let tables = tables.chain(self.thumbnails().map(|thumbnails| &thumbnails.sheets));
        tables.filter(|table| !table.is_empty()).map(|table| (table.start as u64, table.len() as u64))
    }

    pub fn fragments(&self, track: &IndexedTrack) -> &[Fragment] {
        rows(self.file.bytes(), &track.fragments)
    }

    pub fn samples(&self, track: &IndexedTrack) -> &[Sample] {
        rows(self.file.bytes(), &track.samples)
    }

    /// Where some rows of the sample table lie, which may not be in memory.
    pub fn sample_rows(&self, track: &IndexedTrack, rows: Range<u32>) -> Extent {
        const ROW_BYTES: u64 = size_of::<Sample>() as u64;
        let table = track.samples.start as u64..track.samples.end as u64;
        let at = |row: u32| (table.start + u64::from(row) * ROW_BYTES).min(table.end);
        let (offset, end) = (at(rows.start), at(rows.end));
        Extent { file: self.file.clone(), offset, len: end.saturating_sub(offset) }
    }

    pub fn cues(&self, track: &IndexedTrack) -> &[Cue] {
        rows(self.file.bytes(), &track.cues)
    }
}

/// `range` was checked by `parse`; a mapping never changes its length.
fn rows<'a, Row: FromBytes + Immutable + KnownLayout + Unaligned>(bytes: &'a [u8], range: &Range<usize>) -> &'a [Row] {
    bytes.get(range.clone()).and_then(|bytes| <[Row]>::ref_from_bytes(bytes).ok()).unwrap_or_default()
}

/// Checks a whole index. Pure, so that hostile bytes can be thrown at it.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Contents, Error> {
    let owned = || path.to_owned();
    let Ok((header, _)) = Header::ref_from_prefix(bytes) else {
        return Err(Error::Length { path: owned(), found: bytes.len() as u64, expected: size_of::<Header>() as u64 });
    };
    if header.magic != MAGIC {
        return Err(Error::Magic { path: owned(), found: header.magic.to_vec() });
    }
    if header.format.get() != READ_VERSION {
        return Err(Error::Version { path: owned(), found: header.format.get() });
    }
    if header.length.get() != bytes.len() as u64 {
        return Err(Error::Length { path: owned(), found: bytes.len() as u64, expected: header.length.get() });
    }
    let found = crc32fast::hash(&bytes[CHECKED_FROM..]);
    if found != header.checksum.get() {
        return Err(Error::Checksum { path: owned(), found, expected: header.checksum.get() });
    }
    // The checksum says that the bytes are what was written, not that what was written makes sense.
    records(header, bytes).map_err(|reason| Error::Corrupt { path: owned(), reason })
}

fn records(header: &Header, bytes: &[u8]) -> Result<Contents, String> {
    // Thumbnails are one record more.
    let count = usize::from(header.tracks.get());
    if !(1..=TRACKS_MAX + 1).contains(&count) {
        return Err(format!("{count} tracks, 1 to {TRACKS_MAX} allowed"));
    }
    let (records, rest) = <[TrackRecord]>::ref_from_prefix_with_elems(&bytes[size_of::<Header>()..], count)
        .map_err(|_| format!("{count} track records do not fit"))?;
    let strings = rest.get(..header.strings.get() as usize).ok_or("the string area does not fit")?;
    let strings = std::str::from_utf8(strings).map_err(|error| format!("string area: {error}"))?;
    let (records, last) = match records.split_last() {
        Some((last, rest)) if last.kind == THUMBNAILS => (rest, Some(last)),
        _ => (records, None),
    };
    let mut tracks: Vec<IndexedTrack> = Vec::with_capacity(count);
    for (number, record) in records.iter().enumerate() {
        let track =
            self::record(record, strings, bytes).map_err(|reason| format!("track record {number}: {reason}"))?;
        if tracks.iter().any(|other| other.track.id == track.track.id) {
            return Err(format!("track record {number}: id {} twice", track.track.id));
        }
        tracks.push(track);
    }
    if !(1..=TRACKS_MAX).contains(&tracks.len()) {
        return Err(format!("{} tracks, 1 to {TRACKS_MAX} allowed", tracks.len()));
    }
    let thumbnails = last.and_then(|last| ThumbnailRecord::ref_from_bytes(last.as_bytes()).ok());
    let thumbnails = thumbnails.map(|record| self::thumbnails(record, strings, bytes)).transpose();
    let thumbnails = thumbnails.map_err(|reason| format!("record of thumbnails: {reason}"))?;
    Ok(Contents { tracks, thumbnails })
}

/// Sheets fill their file, and are as many as the thumbnails take: URLs count them.
fn thumbnails(record: &ThumbnailRecord, strings: &str, bytes: &[u8]) -> Result<IndexedThumbnails, String> {
    let grid = Grid {
        width: record.width.get(),
        height: record.height.get(),
        columns: record.columns.get(),
        rows: record.rows.get(),
        interval: Duration::from_millis(record.interval_millis.get().into()),
        count: record.count.get(),
    };
    let sides = [grid.width.checked_mul(grid.columns), grid.height.checked_mul(grid.rows)];
    let fits = |side: Option<u32>| side.is_some_and(|side| (1..=SHEET_PIXELS_MAX).contains(&side));
    if !sides.into_iter().all(fits) || grid.interval.is_zero() || !(1..=THUMBNAILS_MAX).contains(&grid.count) {
        return Err(format!(
            "{grid:?}, a sheet is at most {SHEET_PIXELS_MAX} pixels wide and high, and there are at most {THUMBNAILS_MAX} \
             thumbnails"
        ));
    }
    let id = string(&record.id, strings)?;
    check_id(&id, 'i')?;
    let table = table::<Sheet>("sheet", &record.sheets, bytes)?;
    let sheets: &[Sheet] = rows(bytes, &table);
    if sheets.len() != grid.sheets() as usize {
        return Err(format!("{} sheets, {} thumbnails take {}", sheets.len(), grid.count, grid.sheets()));
    }
    let mut end = 0_u64;
    for (number, sheet) in sheets.iter().enumerate() {
        if sheet.offset.get() != end || sheet.size.get() == 0 {
            return Err(format!("sheet {number} of {} bytes at byte {}, not at {end}", sheet.size, sheet.offset));
        }
        end += u64::from(sheet.size.get());
    }
    match end == record.file_size.get() {
        true => Ok(IndexedThumbnails { id, grid, file_size: end, digest: record.digest, sheets: table }),
        false => Err(format!("sheets end at byte {end} of {}", record.file_size)),
    }
}

fn string(text: &Text, strings: &str) -> Result<String, String> {
    let (start, len) = (text.offset.get() as usize, text.len.get() as usize);
    let found = start.checked_add(len).and_then(|end| strings.get(start..end));
    found.map(str::to_owned).ok_or_else(|| format!("string {start}+{len} outside of the string area"))
}

fn record(record: &TrackRecord, strings: &str, bytes: &[u8]) -> Result<IndexedTrack, String> {
    let text = |text: &Text| string(text, strings);
    let has = |bit: u8| record.present & bit != 0;
    if record.present & !present::ALL != 0 {
        return Err(format!("unknown optional fields {:#04x}", record.present));
    }
    let kind = match record.kind {
        0 => Kind::Video,
        1 => Kind::Audio,
        2 => Kind::Text,
        other => return Err(format!("unknown kind {other}")),
    };
    let timescale = Timescale::new(record.timescale.get()).ok_or("timescale 0")?;
    let id = text(&record.id)?;
    let letter = match kind {
        Kind::Video => 'v',
        Kind::Audio => 'a',
        Kind::Text => 't',
    };
    check_id(&id, letter)?;
    let details = match kind {
        Kind::Video => {
            let fraction = |name: &str, pair: [zerocopy::little_endian::U32; 2]| match (pair[0].get(), pair[1].get()) {
                (0, _) | (_, 0) => Err(format!("{name} {}/{}", pair[0], pair[1])),
                pair => Ok(pair),
            };
            Details::Video(Video {
                width: record.width.get(),
                height: record.height.get(),
                pixel_aspect: fraction("pixel aspect", record.pixel_aspect)?,
                frame_rate: fraction("frame rate", record.frame_rate)?,
                range: match record.range {
                    0 => VideoRange::Sdr,
                    1 => VideoRange::Hlg,
                    2 => VideoRange::Pq,
                    other => return Err(format!("unknown video range {other}")),
                },
                bit_depth: record.bit_depth,
                colour: (record.colour[0], record.colour[1], record.colour[2]),
                supplemental_codec: has(present::SUPPLEMENTAL_CODEC)
                    .then(|| text(&record.supplemental_codec))
                    .transpose()?,
                captions: {
                    let said =
                        Text { offset: record.captions.offset, len: u32::from(record.captions.len.get()).into() };
                    let said = text(&said)?;
                    captions::read(&said).ok_or_else(|| format!("captions {said:?}"))?
                },
            })
        }
        Kind::Audio => Details::Audio(Audio {
            sample_rate: record.sample_rate.get(),
            channels: record.channels.get(),
            channel_configuration: record.channel_configuration,
            dolby_channels: has(present::DOLBY_CHANNELS).then(|| record.dolby_channels.get()),
            joint_objects: has(present::JOINT_OBJECTS).then_some(record.joint_objects),
        }),
        Kind::Text => Details::Text,
    };
    let track = Track {
        id,
        timescale,
        codec: text(&record.codec)?,
        language: text(&record.language)?,
        name: has(present::NAME).then(|| text(&record.name)).transpose()?,
        role: match record.role {
            0 => Role::Main,
            1 => Role::Alternate,
            2 => Role::Commentary,
            3 => Role::Description,
            4 => Role::Forced,
            5 => Role::Caption,
            other => return Err(format!("unknown role {other}")),
        },
        presentation_offset: Ticks(record.presentation_offset.get()),
        details,
    };
    let indexed = IndexedTrack {
        track,
        file_size: record.file_size.get(),
        init_size: u64::from(record.init_size.get()),
        digest: record.digest,
        fragments: table::<Fragment>("fragment", &record.fragments, bytes)?,
        samples: table::<Sample>("sample", &record.samples, bytes)?,
        cues: table::<Cue>("cue", &record.cues, bytes)?,
        recorded: recorded(record, kind, bytes)?,
    };
    if indexed.init_size > indexed.file_size {
        return Err(format!("header of {} bytes in a file of {}", indexed.init_size, indexed.file_size));
    }
    let fragments = rows(bytes, &indexed.fragments);
    let samples = rows(bytes, &indexed.samples);
    match kind {
        Kind::Text if !fragments.is_empty() || !samples.is_empty() => return Err("a text track with fragments".into()),
        Kind::Text => check_cues(&indexed, rows(bytes, &indexed.cues))?,
        _ if !indexed.cues.is_empty() => return Err("cues in a track that is not text".into()),
        _ => check_fragments(&indexed, fragments, samples)?,
    }
    Ok(indexed)
}

fn recorded(record: &TrackRecord, kind: Kind, bytes: &[u8]) -> Result<Option<Vec<u64>>, String> {
    let count = record.files.rows.get() as usize;
    if count == 0 {
        return Ok(None);
    }
    if count > TRACK_FILES_MAX || kind == Kind::Text {
        return Err(format!("{count} files of one track, {TRACK_FILES_MAX} allowed, and one of text"));
    }
    let records: &[FileRecord] = rows(bytes, &table::<FileRecord>("file", &record.files, bytes)?);
    let sizes: Vec<u64> = records.iter().map(|file| file.size.get()).collect();
    match sizes.iter().all(|&size| size >= u64::from(record.init_size.get())) && sizes[0] == record.file_size.get() {
        true => Ok(Some(sizes)),
        false => Err(format!("files of {sizes:?} bytes, the first one of {}", record.file_size)),
    }
}

/// An id is a file name and a path element: nothing but its kind's letter and a number.
fn check_id(id: &str, letter: char) -> Result<(), String> {
    let number = id.strip_prefix(letter).unwrap_or_default();
    match !number.is_empty() && number.len() <= 4 && number.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(()),
        false => Err(format!("id {id:?}, expected {letter} and a number")),
    }
}

fn table<Row>(name: &str, table: &Table, bytes: &[u8]) -> Result<Range<usize>, String> {
    let start = usize::try_from(table.offset.get()).ok();
    let size = (table.rows.get() as usize).checked_mul(size_of::<Row>());
    let range = start.zip(size).and_then(|(start, size)| Some(start..start.checked_add(size)?));
    range.filter(|range| range.end <= bytes.len()).ok_or_else(|| {
        format!("{name} table of {} rows at byte {} lies outside of the index", table.rows, table.offset)
    })
}

/// Times are kept below this, so that sums of two never overflow.
const TICKS_MAX: i64 = 1 << 61;

/// Segments are served as one extent from the first fragment's start to the last one's end, slots are compared with
/// `u32::MAX` for "no further cut", and sample rows are sliced by the numbers of their fragment: all of that is proved here.
fn check_fragments(indexed: &IndexedTrack, fragments: &[Fragment], samples: &[Sample]) -> Result<(), String> {
    if fragments.is_empty() {
        return Err("no fragments".into());
    }
    if indexed.track.presentation_offset.0.abs() > TICKS_MAX {
        return Err(format!("presentation offset {}", indexed.track.presentation_offset.0));
    }
    let sizes = indexed.recorded.as_deref().unwrap_or(std::slice::from_ref(&indexed.file_size));
    let is_recorded = indexed.recorded.is_some();
    let (mut file, mut offset) = (None, indexed.init_size);
    let mut time = 0_i64;
    let mut row = 0_usize;
    let mut slot_min = 0_u32;
    for (number, fragment) in fragments.iter().enumerate() {
        let wrong = |what: &str, found: u64| Err(format!("fragment {number}: {what} {found}"));
        let slot = fragment.slot.get();
        let continues = is_recorded && number > 0 && fragment.start() == Start::Continued;
        let slots = if continues { slot_min - 1..slot_min } else { slot_min..u32::MAX };
        if !slots.contains(&slot) {
            return wrong("slot out of order:", u64::from(slot));
        }
        slot_min = slot + 1;
        let number_of_file = fragment.file.get();
        let is_next = match file {
            None => number_of_file == 0,
            Some(before) => number_of_file == before || !continues && number_of_file == before + 1,
        };
        let Some(&size) = sizes.get(number_of_file as usize).filter(|_| is_next) else {
            return wrong("file out of order:", u64::from(number_of_file));
        };
        // The first fragment of a recorded file lies anywhere behind its header.
        let free = is_recorded && file != Some(number_of_file);
        let follows = if free { fragment.offset.get() >= indexed.init_size } else { fragment.offset.get() == offset };
        if !follows {
            return wrong("does not follow the one before: offset", fragment.offset.get());
        }
        (file, offset) = (Some(number_of_file), fragment.end_offset());
        if offset > size {
            return wrong("ends behind the track file at", offset);
        }
        if fragment.decode_time.get() > TICKS_MAX as u64 || fragment.duration.get() > TICKS_MAX as u64 {
            return wrong("decode time or duration out of range:", fragment.decode_time.get());
        }
        if fragment.decode_time().0 < time || (number > 0 && fragment.duration.get() == 0) {
            return wrong("decode time out of order:", fragment.decode_time.get());
        }
        time = fragment.decode_end().0;
        if !continues && fragment.start.get() != Start::Closed as u32 && fragment.start.get() != Start::Open as u32 {
            return wrong("unknown start", u64::from(fragment.start.get()));
        }
        let media = fragment.size.get().checked_sub(fragment.media_offset.get());
        let Some(media) = media.filter(|&media| fragment.key_frame_size.get() <= media) else {
            return wrong("media outside of the fragment: starts at", u64::from(fragment.media_offset.get()));
        };
        let end = row.saturating_add(fragment.sample_count.get() as usize);
        if fragment.first_sample.get() as usize != row || fragment.sample_count.get() == 0 || end > samples.len() {
            return wrong("sample rows out of order: first is", u64::from(fragment.first_sample.get()));
        }
        let (mut size, mut duration) = (0_u64, 0_u64);
        for sample in &samples[row..end] {
            size += u64::from(sample.size.get());
            duration += u64::from(sample.duration.get());
        }
        if size != u64::from(media) {
            return wrong("samples do not fill the media bytes: they have", size);
        }
        if duration != fragment.duration.get() {
            return wrong("samples do not fill the duration: they last", duration);
        }
        row = end;
    }
    if row != samples.len() {
        return Err(format!("{} samples, the fragments have {row}", samples.len()));
    }
    if file.is_none_or(|file| file as usize + 1 != sizes.len()) {
        return Err(format!("{} files, the fragments are in fewer", sizes.len()));
    }
    if !is_recorded && offset != indexed.file_size {
        return Err(format!("fragments end at byte {offset} of {}", indexed.file_size));
    }
    Ok(())
}

fn check_cues(indexed: &IndexedTrack, cues: &[Cue]) -> Result<(), String> {
    let (mut start, mut end_max) = (0, 0);
    for (number, cue) in cues.iter().enumerate() {
        end_max = cue.end.get().max(end_max);
        let bytes_end = u64::from(cue.offset.get()) + u64::from(cue.size.get());
        let times = cue.start.get() >= start && cue.start <= cue.end && cue.end.get() <= TICKS_MAX as u64;
        if !times || cue.end_max.get() != end_max || bytes_end > indexed.file_size {
            return Err(format!("cue {number} out of order or out of bounds"));
        }
        start = cue.start.get();
    }
    Ok(())
}
