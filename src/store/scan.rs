//! What of a channel's track file survived: after `kill -9` everything that was written, after a power loss what was synced
//! and perhaps more, with holes of zeros in it. The journal says where complete segments lie; chunks behind its last row
//! are found by their boxes. Whatever is not whole is cut off, so that writing goes on behind it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::{GrowingFile, Journal};
use crate::base::Ticks;
use crate::base::limits::{FILE_CHUNKS_MAX, LIVE_TAIL_SEGMENTS};
use crate::media::broadcast::SegmentRow;
use crate::media::isobmff::{Chunk, chunk};
use crate::sys::MappedFile;

/// A track file, found again.
pub struct Recovered {
    pub file: Arc<GrowingFile>,
    pub journal: Journal,
    /// The initialisation segment at its start.
    pub init: Bytes,
    /// Of the last [`LIVE_TAIL_SEGMENTS`] rows, in order; none of a file that is settled.
    pub newest: Vec<FoundChunk>,
    /// Whole chunks behind the last row, in order, without gaps: of the segments that were not complete.
    pub tail: Vec<FoundChunk>,
}

/// One `moof` and its `mdat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundChunk {
    /// From the start of the file, in bytes.
    pub offset: u64,
    pub size: u32,
    /// `baseMediaDecodeTime`.
    pub time: Ticks,
    /// Of all samples, in track ticks.
    pub duration: Ticks,
    pub is_independent: bool,
    /// In bytes.
    pub first_sample_size: u32,
    /// `sequence_number` of `mfhd`, which tells the segment and the part.
    pub sequence: u32,
}

#[derive(Debug, Error)]
pub enum Error {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// How much of a file is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// It may have been written to shortly before the end: its newest segments are read.
    Newest,
    /// It was complete and synced long before: only lengths are compared.
    Settled,
}

/// Opens a track file and its journal after a restart, and cuts off what is not whole. Both files are to be appended to by
/// whoever calls, and are open nowhere else.
///
/// `None`: no chunk of the file is whole, or not even its initialisation segment, and nothing of it is worth keeping.
pub fn recover(media: &Path, journal_path: &Path, depth: Depth) -> Result<Option<Recovered>, Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { path, source }
    };
    let map = MappedFile::open(media).map_err(failed(media))?;
    let Ok(init_size) = chunk::header_len(map.bytes()) else { return Ok(None) };
    let journal = Journal::recover(journal_path).map_err(failed(journal_path))?;
    let count = sound_rows(map.bytes(), init_size, journal.rows(), depth);
    let journal = match count < journal.len() {
        true => journal.cut(journal_path, count).map_err(failed(journal_path))?,
        false => journal,
    };
    let from = journal.rows().last().map_or(init_size, SegmentRow::end_offset);
    let tail = chunks(map.bytes(), from);
    if journal.is_empty() && tail.is_empty() {
        return Ok(None);
    }
    let newest = match depth {
        Depth::Newest => journal.rows()[journal.len().saturating_sub(LIVE_TAIL_SEGMENTS)..]
            .iter()
            .flat_map(|row| chunks(&map.bytes()[..row.end_offset() as usize], row.offset.get()))
            .collect(),
        Depth::Settled => Vec::new(),
    };
    let init = Bytes::copy_from_slice(&map.bytes()[..init_size as usize]);
    let end = tail.last().map_or(from, |last| last.offset + u64::from(last.size));
    if map.is_damaged() {
        return Err(failed(media)(io::Error::other("was truncated while it was read")));
    }
    drop(map);
    let file = GrowingFile::resume(media, end).map_err(failed(media))?;
    Ok(Some(Recovered { file: Arc::new(file), journal, init, newest, tail }))
}

/// How many rows from the first on tell of bytes that are there.
fn sound_rows(file: &[u8], init_size: u64, rows: &[SegmentRow], depth: Depth) -> usize {
    let len = file.len() as u64;
    let there = |row: &SegmentRow| row.offset.get() >= init_size && row.end_offset() <= len;
    let count = rows.iter().position(|row| !there(row)).unwrap_or(rows.len());
    match depth {
        Depth::Settled => count,
        Depth::Newest => {
            let from = count.saturating_sub(ROWS_READ);
            let bad = rows[from..count].iter().position(|row| !is_whole(file, row));
            bad.map_or(count, |bad| from + bad)
        }
    }
}

/// Segments that are read to see whether they are whole: more than `sync` ever leaves unsynced, and what players will ask for
/// first.
const ROWS_READ: usize = LIVE_TAIL_SEGMENTS;

/// Whether a segment is a row of whole chunks.
fn is_whole(file: &[u8], row: &SegmentRow) -> bool {
    let end = row.end_offset();
    let mut at = row.offset.get();
    while at < end {
        match whole_chunk(file, at) {
            Some(chunk) => at = chunk.end(),
            None => return false,
        }
    }
    at == end
}

/// Whole chunks from byte `from` on, each behind the one before.
fn chunks(file: &[u8], from: u64) -> Vec<FoundChunk> {
    let (mut at, mut newest) = (from, None);
    let mut found = Vec::new();
    while found.len() < FILE_CHUNKS_MAX {
        // It may begin a little before the one before it ends, where a clock slipped.
        let ascends = |chunk: &Chunk<'_>| newest.is_none_or(|newest| chunk.time > newest);
        let Some(chunk) = whole_chunk(file, at).filter(ascends) else { break };
        let Ok(size) = u32::try_from(chunk.size) else { break };
        found.push(FoundChunk {
            offset: chunk.offset,
            size,
            time: chunk.time,
            duration: Ticks(chunk.duration as i64),
            is_independent: chunk.is_independent,
            first_sample_size: chunk.first_sample.len() as u32,
            sequence: chunk.sequence,
        });
        (at, newest) = (chunk.end(), Some(chunk.time));
    }
    found
}

fn whole_chunk(file: &[u8], at: u64) -> Option<Chunk<'_>> {
    Chunk::read(file, at).ok().filter(|chunk| !has_zeroed_block(file, chunk.offset as usize, chunk.end() as usize))
}

/// Whether a stretch holds a block that never reached the disk: the file was made longer, its bytes were not written. Media
/// is compressed, and has no 4096 zeros in a row where a block begins.
fn has_zeroed_block(file: &[u8], start: usize, end: usize) -> bool {
    let first = start.next_multiple_of(BLOCK_BYTES);
    (first..end).step_by(BLOCK_BYTES).any(|at| {
        // The last block may belong to the next chunk as well; a few zeros may be meant.
        end - at >= ZEROS_MIN && file[at..file.len().min(at + BLOCK_BYTES)].iter().all(|&byte| byte == 0)
    })
}

const BLOCK_BYTES: usize = 4096;
const ZEROS_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Stored;
    use crate::media::Sample;
    use crate::media::isobmff::write::fragment_header;
    use proptest::prelude::*;
    use std::fs;

    const HEADER: &[u8] = b"\0\0\0\x0cftypiso6\0\0\0\x0cmoov\0\0\0\0";

    fn chunk(number: u64, size: u32) -> Vec<u8> {
        let sample = Sample { size: size.into(), duration: 3_000.into(), ..Default::default() };
        let mut bytes = Vec::new();
        fragment_header(number as u32 + 1, number * 6_000, &[sample, sample], &mut bytes).unwrap();
        bytes.extend((0..2 * size).map(|at| at as u8 | 1));
        bytes
    }

    /// A file of `count` chunks, two to a segment, with a journal of the segments that are complete but for the last
    /// `missing`.
    fn written(dir: &Path, sizes: &[u32], missing: usize) -> (PathBuf, PathBuf, Vec<u64>) {
        let (media, journal_path) = (dir.join("7.cmfv"), dir.join("7.idx"));
        let _ = (fs::remove_file(&media), fs::remove_file(&journal_path));
        let (mut bytes, mut ends) = (HEADER.to_vec(), vec![HEADER.len() as u64]);
        for (number, &size) in sizes.iter().enumerate() {
            bytes.extend(chunk(number as u64, size));
            ends.push(bytes.len() as u64);
        }
        fs::write(&media, &bytes).unwrap();
        let journal = Journal::create(&journal_path).unwrap();
        for segment in 0..(sizes.len() / 2).saturating_sub(missing) {
            let (start, end) = (ends[segment * 2], ends[segment * 2 + 2]);
            let row = SegmentRow {
                number: (7 + segment as u64).into(),
                offset: start.into(),
                size: ((end - start) as u32).into(),
                time: (segment as u64 * 12_000).into(),
                duration: 12_000.into(),
                ..SegmentRow::default()
            };
            journal.append(row).unwrap();
        }
        (media, journal_path, ends)
    }

    #[test]
    fn what_was_written_behind_the_last_row_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (media, journal, ends) = written(dir.path(), &[3_000; 7], 1);
        for depth in [Depth::Newest, Depth::Settled] {
            let found = recover(&media, &journal, depth).unwrap().unwrap();
            assert_eq!((found.journal.len(), found.init.len(), found.file.len()), (2, 24, *ends.last().unwrap()));
            let tail: Vec<(u64, i64)> = found.tail.iter().map(|part| (part.offset, part.time.0)).collect();
            assert_eq!(tail, [(ends[4], 24_000), (ends[5], 30_000), (ends[6], 36_000)]);
            assert!(found.tail.iter().all(|chunk| chunk.duration == Ticks(6_000) && chunk.is_independent));
            let newest: Vec<u32> = found.newest.iter().map(|chunk| chunk.sequence).collect();
            assert_eq!(newest, if depth == Depth::Newest { vec![1, 2, 3, 4] } else { vec![] });
        }
        // Without its journal, all of it is found.
        fs::remove_file(&journal).unwrap();
        let found = recover(&media, &journal, Depth::Newest).unwrap().unwrap();
        assert_eq!((found.journal.len(), found.tail.len()), (0, 7));
    }

    /// The power goes at every byte of the last chunks: what is left is whole, and nothing whole is lost.
    #[test]
    fn cut_off_anywhere_whole_chunks_are_left() {
        let dir = tempfile::tempdir().unwrap();
        let (media, journal_path, ends) = written(dir.path(), &[40, 50, 60, 70, 80], 0);
        let (bytes, rows) = (fs::read(&media).unwrap(), fs::read(&journal_path).unwrap());
        for len in 0..=bytes.len() {
            fs::write(&media, &bytes[..len]).unwrap();
            fs::write(&journal_path, &rows).unwrap();
            let Some(found) = recover(&media, &journal_path, Depth::Newest).unwrap() else {
                assert!((len as u64) < ends[1], "{len}");
                continue;
            };
            let whole = ends.iter().filter(|&&end| end <= len as u64).count() - 1;
            let segments = (whole / 2).min(2);
            assert_eq!((found.journal.len(), found.tail.len()), (segments, whole - 2 * segments), "{len}");
            assert_eq!(fs::metadata(&media).unwrap().len(), ends[whole], "{len}");
            assert_eq!(found.file.len(), ends[whole], "{len}");
            // Once more finds the same.
            drop(found);
            let again = recover(&media, &journal_path, Depth::Newest).unwrap().unwrap();
            assert_eq!((again.journal.len(), again.tail.len()), (segments, whole - 2 * segments), "{len}");
        }
    }

    #[test]
    fn blocks_of_zeros_are_no_media() {
        let dir = tempfile::tempdir().unwrap();
        let (media, journal_path, ends) = written(dir.path(), &[9_000; 5], 0);
        let (bytes, rows) = (fs::read(&media).unwrap(), fs::read(&journal_path).unwrap());
        for block in 0..bytes.len().div_ceil(BLOCK_BYTES) {
            let mut lost = bytes.clone();
            let range = block * BLOCK_BYTES..bytes.len().min((block + 1) * BLOCK_BYTES);
            lost[range.clone()].fill(0);
            fs::write(&media, &lost).unwrap();
            fs::write(&journal_path, &rows).unwrap();
            let whole = ends.iter().skip(1).filter(|&&end| end <= range.start as u64).count();
            let Some(found) = recover(&media, &journal_path, Depth::Newest).unwrap() else {
                assert_eq!(whole, 0);
                continue;
            };
            // Rows stand for both their chunks: one whose second is lost goes, and its first is found again.
            assert_eq!(found.journal.len() * 2 + found.tail.len(), whole, "block {block}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            rows in prop::collection::vec((any::<u64>(), any::<u32>()), 0..4),
            from in 0_u64..500,
        ) {
            let _ = chunks(&bytes, from);
            let rows: Vec<SegmentRow> = rows
                .iter()
                .map(|&(offset, size)| SegmentRow { offset: offset.into(), size: size.into(), ..Default::default() })
                .collect();
            let _ = sound_rows(&bytes, 8, &rows, Depth::Newest);
        }

        #[test]
        fn damage_never_shows_half_a_chunk(at in 24_usize..1_500, value: u8) {
            let mut bytes = HEADER.to_vec();
            (0..5).for_each(|number| bytes.extend(chunk(number, 100)));
            let len = bytes.len();
            bytes[at % len] = value;
            for part in chunks(&bytes, 24) {
                let end = part.offset + u64::from(part.size);
                prop_assert!(end <= len as u64 && Chunk::read(&bytes, part.offset).unwrap().end() == end);
            }
        }
    }
}
