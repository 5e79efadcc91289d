//! What of one track is on disk, and published.

use std::sync::Arc;

use bytes::Bytes;

use super::op::{FileName, FoundFile, Opened};
use super::segmenter::{Made, of_sequence};
use super::snapshot::{File, Place, size};
use crate::base::Ticks;
use crate::base::growing::{End, Progress};
use crate::base::limits::{LIVE_FILE_BYTES_MAX, LIVE_TAIL_SEGMENTS, LIVE_TAIL_SEGMENTS_MAX};
use crate::base::watch::Watch;
use crate::media::broadcast::{Journal, LEAD_SEGMENTS, Part, Position, SegmentRow, Span, TailSegment};

/// An initialisation segment.
#[derive(Debug)]
pub struct Init {
    /// Hash of the bytes, 16 hexadecimal digits.
    pub name: Arc<str>,
    pub bytes: Bytes,
}

impl Init {
    pub fn new(bytes: Bytes) -> Init {
        let name = blake3::hash(&bytes).to_hex()[..16].into();
        Init { name, bytes }
    }
}

/// Files of a track and its newest segments.
#[derive(Default)]
pub struct Shelf {
    pub files: Arc<Vec<Arc<File>>>,
    /// Beside `files`.
    books: Vec<Book>,
    pub tail: Vec<TailSegment>,
    pub places: Vec<Place>,
    pub watch: Arc<Watch>,
    /// Of the last segments, at most [`LEAD_SEGMENTS`], of files that are gone.
    pub lead: Arc<Vec<Span>>,
    /// A segment that could not be written to its end: the rest of it is dropped.
    lost: Option<u64>,
}

/// The rows of a file that a restart has found without all of them, and that nothing is added to any more.
struct Completed(Vec<SegmentRow>);

impl Journal for Completed {
    fn rows(&self) -> &[SegmentRow] {
        &self.0
    }
}

struct Book {
    name: FileName,
    /// In bytes.
    len: u64,
    /// Number of the last segment that began in it.
    last: u64,
}

impl Shelf {
    /// Puts back what was found. `discontinuities` of segments that have no row yet are told by their number. Segments
    /// without a row that others follow are complete; the rows they lack are returned. Readers see them before they are on
    /// disk.
    pub fn recover(
        found: Vec<FoundFile>,
        slot_of: impl Fn(Ticks) -> u64,
        discontinuities: impl Fn(u64) -> u32,
        part: Ticks,
    ) -> (Shelf, Vec<(FileName, SegmentRow)>) {
        let mut shelf = Shelf::default();
        let mut rows_missing = Vec::new();
        let mut files = Vec::new();
        for found in found {
            let init = Init::new(found.init.clone());
            let file = Arc::new(File {
                first: found.name.first,
                init: init.name,
                init_size: found.init.len() as u64,
                opened: found.opened,
            });
            let rows = file.opened.journal.rows();
            let rows = &rows[..found.rows.min(rows.len())];
            let mut last = rows.last().map_or(found.name.first, |row| row.number.get());
            for chunk in &found.chunks {
                let at = rows.partition_point(|row| row.end_offset() <= chunk.offset);
                let row = rows.get(at).filter(|row| row.offset.get() <= chunk.offset);
                let (number, index) = match row {
                    Some(row) => (row.number.get(), of_sequence(chunk.sequence, row.number.get()).1),
                    None => of_sequence(chunk.sequence, slot_of(chunk.time)),
                };
                last = last.max(number);
                shelf.found(&file, number, index, chunk, row, discontinuities(number), part);
            }
            files.push(file);
            shelf.books.push(Book { name: found.name, len: found.len, last });
        }
        shelf.files = Arc::new(files);
        // All but the newest are complete; those that a crash kept from their row get it now.
        let newest = shelf.tail.last().map(|segment| segment.number);
        for (segment, place) in shelf.tail.iter_mut().zip(&mut shelf.places) {
            if Some(segment.number) != newest && !segment.is_complete {
                segment.is_complete = true;
                place.progress = None;
                if let Some(at) = shelf.files.iter().position(|file| Arc::ptr_eq(file, &place.file)) {
                    rows_missing.push((shelf.books[at].name.clone(), row(segment, place)));
                }
            }
        }
        shelf.complete(&rows_missing);
        shelf.trim();
        (shelf, rows_missing)
    }

    /// Gives files other than the newest the rows they lack.
    fn complete(&mut self, rows_missing: &[(FileName, SegmentRow)]) {
        let files = Arc::make_mut(&mut self.files);
        let older = files.len().saturating_sub(1);
        for (file, book) in files.iter_mut().zip(&self.books).take(older) {
            let missing = rows_missing.iter().filter(|(name, _)| *name == book.name).map(|(_, row)| *row);
            let rows: Vec<_> = file.opened.journal.rows().iter().copied().chain(missing).collect();
            if rows.len() == file.opened.journal.rows().len() {
                continue;
            }
            let opened = Opened { media: file.opened.media.clone(), journal: Arc::new(Completed(rows)) };
            let whole = Arc::new(File { init: file.init.clone(), opened, ..**file });
            for place in self.places.iter_mut().filter(|place| Arc::ptr_eq(&place.file, file)) {
                place.file = whole.clone();
            }
            *file = whole;
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn found(
        &mut self,
        file: &Arc<File>,
        number: u64,
        index: u32,
        chunk: &super::FoundChunk,
        row: Option<&SegmentRow>,
        discontinuities: u32,
        part: Ticks,
    ) {
        if self.tail.last().is_none_or(|last| last.number != number) {
            let progress = row.is_none().then(|| Arc::new(Progress::new(chunk.offset)));
            self.tail.push(TailSegment {
                number,
                init: file.init.clone(),
                time: chunk.time,
                duration: Ticks(0),
                discontinuities: row.map_or(discontinuities, |row| row.discontinuities.get()),
                is_independent: row.map_or(chunk.is_independent, SegmentRow::is_independent),
                key_frame_size: match row {
                    Some(row) => row.key_frame_size(),
                    None if chunk.is_independent => chunk.first_sample_size,
                    None => 0,
                },
                is_complete: row.is_some(),
                parts: Vec::new(),
            });
            self.places.push(Place { file: file.clone(), offset: chunk.offset, progress });
        }
        let (Some(segment), Some(place)) = (self.tail.last_mut(), self.places.last()) else { return };
        // Holes are parts that have no chunk.
        while segment.parts.len() < index as usize {
            let time = Ticks(segment.time.0 + segment.duration.0);
            let hole = Part { offset: chunk.offset, size: 0, time, duration: part, is_independent: false };
            segment.parts.push(hole);
            segment.duration.0 += part.0;
        }
        let time = Ticks(segment.time.0 + segment.duration.0);
        let duration = Ticks((chunk.time.0 + chunk.duration.0 - time.0).max(0));
        segment.parts.push(Part {
            offset: chunk.offset,
            size: chunk.size,
            time,
            duration,
            is_independent: chunk.is_independent,
        });
        segment.duration.0 += duration.0;
        if let Some(progress) = &place.progress {
            progress.advance(chunk.offset + u64::from(chunk.size));
        }
    }

    /// The file that a part goes to, and where in it. `None`: a file has to be made first.
    pub fn place(&self, made: &Made, init: &Init, files_each: u64) -> Option<(FileName, u64)> {
        let (book, file) = (self.books.last()?, self.files.last()?);
        let begun = self.tail.last().is_some_and(|segment| segment.number == made.number);
        let is_of_file = book.name.first / files_each == made.number / files_each && book.len < LIVE_FILE_BYTES_MAX;
        let fits = file.init == init.name && is_of_file;
        (begun || fits).then(|| (book.name.clone(), book.len))
    }

    /// Whether the part belongs to a segment that was given up, or for which there is nothing to go on from.
    pub fn is_lost(&self, made: &Made) -> bool {
        self.lost == Some(made.number)
            || (made.index > 0 && self.tail.last().is_none_or(|segment| segment.number != made.number))
    }

    pub fn lose(&mut self, number: u64) {
        self.lost = Some(number);
    }

    pub fn created(&mut self, name: FileName, opened: Opened, init: &Init) {
        let init_size = init.bytes.len() as u64;
        self.books.push(Book { last: name.first, len: init_size, name: name.clone() });
        Arc::make_mut(&mut self.files).push(Arc::new(File {
            first: name.first,
            init: init.name.clone(),
            init_size,
            opened,
        }));
    }

    /// Whether a row still says something of what there is.
    pub fn wants(&self, file: &FileName, row: &SegmentRow) -> bool {
        let Some(at) = self.books.iter().position(|book| book.name == *file) else { return false };
        let number = row.number.get();
        let is_in_memory = self.tail.first().is_some_and(|first| first.number <= number);
        is_in_memory || self.files[at].opened.journal.rows().last().is_some_and(|last| last.number.get() >= number)
    }

    pub fn newest(&self) -> Option<&FileName> {
        self.books.last().map(|book| &book.name)
    }

    /// The file before the newest, which nothing is written to any more.
    pub fn previous(&self) -> Option<&FileName> {
        Some(&self.books.get(self.books.len().checked_sub(2)?)?.name)
    }

    /// A part is written, or is a hole.
    pub fn written(&mut self, made: &Made, discontinuities: u32) {
        let (Some(book), Some(file)) = (self.books.last_mut(), self.files.last()) else { return };
        let offset = book.len;
        book.len += u64::from(made.size);
        book.last = book.last.max(made.number);
        if self.tail.last().is_none_or(|segment| segment.number != made.number) {
            self.tail.push(TailSegment {
                number: made.number,
                init: file.init.clone(),
                time: made.segment_time,
                duration: Ticks(0),
                discontinuities,
                is_independent: made.segment_is_independent,
                key_frame_size: if made.segment_is_independent { made.first_sample_size } else { 0 },
                is_complete: false,
                parts: Vec::new(),
            });
            let progress = Some(Arc::new(Progress::new(offset)));
            self.places.push(Place { file: file.clone(), offset, progress });
        }
        let (Some(segment), Some(place)) = (self.tail.last_mut(), self.places.last()) else { return };
        segment.parts.push(Part {
            offset,
            size: made.size,
            time: made.time,
            duration: made.duration,
            is_independent: made.is_independent,
        });
        segment.duration.0 += made.duration.0;
        if let Some(progress) = &place.progress {
            progress.advance(offset + u64::from(made.size));
        }
    }

    /// The segment is complete. Returns the row it gets, unless nothing of it was written.
    pub fn end(&mut self, number: u64) -> Option<(FileName, SegmentRow)> {
        self.lost = None;
        let (segment, place) = (self.tail.last_mut()?, self.places.last_mut()?);
        if segment.number != number || segment.is_complete {
            return None;
        }
        segment.is_complete = true;
        let row = row(segment, place);
        let name = self.books.last()?.name.clone();
        self.trim();
        Some((name, row))
    }

    /// Ends what viewers follow of segments that stay as they are. As in [`Shelf::shown`], a complete one does once its row is
    /// on disk or another follows it, or the channel `is_over`: until then, a restart would go on with it.
    pub fn settle(&mut self, is_over: bool) {
        let newest = self.tail.last().map(|segment| segment.number);
        for (segment, place) in self.tail.iter().zip(&mut self.places).filter(|(segment, _)| segment.is_complete) {
            let is_settled = is_over || Some(segment.number) != newest || has_row(place, segment.number);
            if let Some(progress) = place.progress.take_if(|_| is_settled) {
                progress.finish(End::Complete(place.offset + size(segment)));
            }
        }
    }

    /// The tail as viewers are told: until its row is on disk, a crash would make the newest segment one that is being made
    /// again, and holes are nowhere on disk before something that follows them. If nothing follows, it would not.
    pub fn shown(&self, is_over: bool) -> Vec<TailSegment> {
        let mut tail = self.tail.clone();
        if let (Some(newest), Some(place), false) = (tail.last_mut(), self.places.last(), is_over) {
            newest.is_complete &= has_row(place, newest.number);
            while !newest.is_complete
                && newest.parts.len() > 1
                && newest.parts.last().is_some_and(|last| last.size == 0)
            {
                newest.duration.0 -= newest.parts.pop().map_or(0, |hole| hole.duration.0);
            }
        }
        tail
    }

    /// What has no row yet stays, or it would be a gap until it has one.
    fn trim(&mut self) {
        let surplus = self.tail.len().saturating_sub(LIVE_TAIL_SEGMENTS);
        let of_rows = self.tail.iter().zip(&self.places).take_while(|(segment, place)| has_row(place, segment.number));
        let surplus = of_rows.count().min(surplus).max(self.tail.len().saturating_sub(LIVE_TAIL_SEGMENTS_MAX));
        self.tail.drain(..surplus);
        self.places.drain(..surplus);
    }

    pub fn position(&self) -> Position {
        match self.tail.last() {
            None => Position::default(),
            Some(segment) if segment.is_complete => Position { number: segment.number + 1, parts: 0 },
            Some(segment) => Position { number: segment.number, parts: segment.parts.len() as u32 },
        }
    }

    /// Where the published media ends, in track ticks.
    pub fn end_time(&self) -> Option<Ticks> {
        self.tail.last().map(|segment| Ticks(segment.time.0 + segment.duration.0))
    }

    /// The number of the oldest segment.
    pub fn oldest(&self) -> Option<u64> {
        Some(self.books.first()?.name.first)
    }

    /// Takes the oldest file off if nothing in it has a number from `from` on, and it is not the newest.
    pub fn expire(&mut self, from: u64) -> Option<FileName> {
        let oldest = self.books.first()?;
        let in_tail = self
            .places
            .first()
            .is_some_and(|place| self.files.first().is_some_and(|file| Arc::ptr_eq(file, &place.file)));
        if self.books.len() < 2 || oldest.last >= from || in_tail {
            return None;
        }
        let file = Arc::make_mut(&mut self.files).remove(0);
        let (lead, rows) = (Arc::make_mut(&mut self.lead), file.opened.journal.rows());
        for row in &rows[rows.len().saturating_sub(LEAD_SEGMENTS as usize)..] {
            // A restart finds a file again that was not deleted yet.
            if lead.last().is_none_or(|last| last.number < row.number.get()) {
                lead.push(row.span());
            }
        }
        lead.drain(..lead.len().saturating_sub(LEAD_SEGMENTS as usize));
        Some(self.books.remove(0).name)
    }

    pub fn is_empty(&self) -> bool {
        self.tail.is_empty()
    }
}

fn has_row(place: &Place, number: u64) -> bool {
    let rows = place.file.opened.journal.rows();
    rows.last().is_some_and(|last| last.number.get() >= number)
}

fn row(segment: &TailSegment, place: &Place) -> SegmentRow {
    let clamped = |value: i64| u32::try_from(value.max(0)).unwrap_or(u32::MAX);
    SegmentRow {
        number: segment.number.into(),
        offset: place.offset.into(),
        time: (segment.time.0.max(0) as u64).into(),
        size: u32::try_from(size(segment)).unwrap_or(u32::MAX).into(),
        duration: clamped(segment.duration.0).into(),
        discontinuities: segment.discontinuities.into(),
        start: SegmentRow::start_of(segment.is_independent, segment.key_frame_size).into(),
        ..SegmentRow::default()
    }
    .sealed()
}
