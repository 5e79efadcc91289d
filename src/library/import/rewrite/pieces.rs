//! Renditions in segments: MPEG-TS, packed audio, fragmented MP4 or WebM, joined.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::matroska::matroska;
use super::transport::notes;
use super::{Error, Spools, spool};
use crate::base::limits::SUBTITLE_BYTES_MAX;
use crate::library::import::candidate::SourceFile;
use crate::library::import::cues::{Found, read_cues};
use crate::library::import::input::Input;
use crate::library::import::manifest::{Join, Part, Piece, Rendition, Shift};
use crate::library::import::{self, Clock, Report};
use crate::media::feed::Event;
use crate::media::isobmff::stream;
use crate::media::matroska::SIGNATURE;
use crate::media::mpegts::{self, PackedAudio};

pub enum Demuxer {
    Transport(Box<mpegts::Demuxer>),
    Packed(Box<PackedAudio>),
    Fragmented(Box<stream::Demuxer>, Option<Arc<Part>>),
}

/// Opens files of segments, of which several in a row are often the same.
#[derive(Default)]
pub struct Files(BTreeMap<PathBuf, SourceFile>);

impl Files {
    fn open(&mut self, part: &Part) -> Result<(&SourceFile, std::ops::Range<u64>), import::Error> {
        if !self.0.contains_key(&part.path) {
            // The ones before are not needed any more, but for one that holds them all.
            if self.0.len() >= FILES_MAX {
                self.close()?;
            }
            let input = Input { path: part.path.clone(), labels: Default::default(), audio: Vec::new() };
            self.0.insert(part.path.clone(), SourceFile::open(&input, 0)?);
        }
        let source = &self.0[&part.path];
        let range = part.range.clone().unwrap_or(0..source.len());
        if range.start > range.end || range.end > source.len() {
            return Err(Error::Range { file: source.name.clone(), range, len: source.len() }.into());
        }
        Ok((source, range))
    }

    pub fn demuxer(&mut self, name: &str, piece: &Piece) -> Result<Demuxer, import::Error> {
        let (source, range) = self.open(&piece.part)?;
        Ok(Demuxer::of(name, source, range.start, piece.header.is_some())?)
    }

    /// Takes a segment apart, and before it what has to be read first. `progress` is told how many bytes were read each time.
    pub fn feed(
        &mut self,
        piece: &Piece,
        demuxer: &mut Demuxer,
        take: &mut dyn FnMut(Event) -> Result<(), import::Error>,
        progress: &mut dyn FnMut(u64) -> Result<(), import::Error>,
    ) -> Result<(), import::Error> {
        if let (Demuxer::Fragmented(stream, last), Some(header)) = (&mut *demuxer, &piece.header)
            && last.as_ref() != Some(header)
        {
            let (source, range) = self.open(header)?;
            source.read(range, &mut |bytes| {
                stream.handle(Bytes::copy_from_slice(bytes)).map_err(|error| Error::in_piece(source, error))?;
                progress(bytes.len() as u64)
            })?;
            stream.finish().map_err(|error| Error::in_piece(source, error))?;
            *last = Some(header.clone());
        }
        let (source, range) = self.open(&piece.part)?;
        let mut events = Vec::new();
        source.read(range, &mut |bytes| {
            demuxer.push(source, bytes, &mut events)?;
            events.drain(..).try_for_each(&mut *take)?;
            progress(bytes.len() as u64)
        })?;
        demuxer.flush(source, &mut events)?;
        events.drain(..).try_for_each(&mut *take)
    }

    /// Looks that nobody wrote to them meanwhile.
    pub fn close(&mut self) -> Result<(), import::Error> {
        std::mem::take(&mut self.0).values().try_for_each(SourceFile::check_unchanged)
    }
}

const FILES_MAX: usize = 16;

/// Takes the segments of a rendition apart, one after the other; subtitles that were found are returned.
pub fn pieces(
    rendition: &Rendition,
    spools: &mut Spools<'_>,
    report: Report<'_>,
    progress: &mut dyn FnMut(u64, Report<'_>) -> Result<(), import::Error>,
) -> Result<Vec<Found>, import::Error> {
    let mut files = Files::default();
    if let Some(first) = rendition.pieces.first() {
        let (source, range) = files.open(first.header.as_deref().unwrap_or(&first.part))?;
        if source.map.bytes().get(range.start as usize..).is_some_and(|bytes| bytes.starts_with(&SIGNATURE)) {
            return webm(rendition, files, spools, report, progress);
        }
    }
    let mut demuxer = None;
    let mut losses = 0;
    let mut joins = rendition.joins.iter().peekable();
    let until = |join: Option<&&Join>| join.and_then(|join| join.shift?.from);
    spools.join(Shift { by: 0, from: None }, until(joins.peek()));
    for (number, piece) in rendition.pieces.iter().enumerate() {
        if let Some(join) = joins.next_if(|join| join.piece == number) {
            if let Some(demuxer) = &mut demuxer {
                Demuxer::restart_clock(demuxer);
            }
            spools.join(join.shift.unwrap_or(Shift { by: 0, from: None }), until(joins.peek()));
        }
        let demuxer = match &mut demuxer {
            Some(demuxer) => demuxer,
            none => none.insert(files.demuxer(&rendition.name, piece)?),
        };
        files.feed(piece, demuxer, &mut |event| Ok(spools.take(event)?), &mut |bytes| progress(bytes, report))?;
        notes(&piece.part.path.display().to_string(), demuxer.notices(), report);
        if demuxer.losses() > losses {
            losses = demuxer.losses();
            report(import::Event::Note(&format!("{}: packets are missing", piece.part.path.display())));
        }
    }
    if let Some(Demuxer::Fragmented(..)) = demuxer {
        spools.begin_at(rendition.start);
    }
    files.close()?;
    Ok(Vec::new())
}

/// Segments of WebM behind their header are a file of WebM.
fn webm(
    rendition: &Rendition,
    mut files: Files,
    spools: &mut Spools<'_>,
    report: Report<'_>,
    progress: &mut dyn FnMut(u64, Report<'_>) -> Result<(), import::Error>,
) -> Result<Vec<Found>, import::Error> {
    let failed = |source| Error::Write { directory: spools.directory().to_owned(), source };
    if !rendition.joins.is_empty() {
        let reason = "found segments of WebM in several Periods, expected them in one".to_owned();
        return Err(Error::Piece { file: rendition.name.clone(), reason }.into());
    }
    let mut joined = spool::nameless(spools.directory()).map_err(failed)?;
    let mut header: Option<&Part> = None;
    // No byte is needed twice: a manifest that names one file again and again does not fill the disk.
    let (mut named, mut there, mut seen) = (0_u64, 0_u64, BTreeSet::new());
    for piece in &rendition.pieces {
        let own = piece.header.as_deref();
        if header.is_some() && own != header {
            let name = own.map_or_else(String::new, |part| format!(" {}", part.path.display()));
            let reason =
                format!("found another initialisation segment{name} on the way, expected the first to the end");
            return Err(Error::Piece { file: rendition.name.clone(), reason }.into());
        }
        for part in own.filter(|_| header.is_none()).into_iter().chain([&piece.part]) {
            let (source, range) = files.open(part)?;
            there += if seen.insert(&part.path) { source.len() } else { 0 };
            named += range.end - range.start;
            if named > there {
                let reason = "found bytes that the manifest names again, expected each once".to_owned();
                return Err(Error::Piece { file: source.name.clone(), reason }.into());
            }
            source.read(range, &mut |bytes| {
                joined.write_all(bytes).map_err(failed)?;
                progress(0, report)
            })?;
        }
        header = own;
    }
    files.close()?;
    let input = Input { path: PathBuf::new(), labels: rendition.labels.clone(), audio: Vec::new() };
    let name = rendition.name.clone();
    let source = SourceFile::of(name, joined, input, 0, None).map_err(failed)?;
    let texts = matroska(&source, spools, report, progress)?;
    spools.zero_at(rendition.start);
    Ok(texts)
}

impl Demuxer {
    fn of(name: &str, source: &SourceFile, at: u64, has_header: bool) -> Result<Demuxer, Error> {
        let bytes = source.map.bytes().get(at as usize..).unwrap_or_default();
        let is_box = matches!(
            bytes.get(4..8),
            Some(b"ftyp" | b"styp" | b"moov" | b"moof" | b"sidx" | b"emsg" | b"prft" | b"free")
        );
        match bytes {
            _ if has_header || is_box => Ok(Demuxer::Fragmented(Box::new(stream::Demuxer::new(name)), None)),
            _ if PackedAudio::is_begun_by(bytes) => Ok(Demuxer::Packed(Box::default())),
            [0x47, ..] | [_, _, _, _, 0x47, ..] => Ok(Demuxer::Transport(Box::default())),
            _ => {
                let found: String = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
                Err(Error::Segment { file: source.name.clone(), at, found })
            }
        }
    }

    fn push(&mut self, source: &SourceFile, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), Error> {
        match self {
            Demuxer::Transport(demuxer) => demuxer.push(bytes, events).map_err(|error| Error::in_piece(source, error)),
            Demuxer::Packed(demuxer) => demuxer.push(bytes, events).map_err(|error| Error::in_piece(source, error)),
            Demuxer::Fragmented(demuxer, _) => {
                let result = demuxer.handle(Bytes::copy_from_slice(bytes));
                events.extend(std::iter::from_fn(|| demuxer.poll()));
                result.map_err(|error| Error::in_piece(source, error))
            }
        }
    }

    fn flush(&mut self, source: &SourceFile, events: &mut Vec<Event>) -> Result<(), Error> {
        match self {
            Demuxer::Transport(demuxer) => demuxer.flush(events).map_err(|error| Error::in_piece(source, error)),
            Demuxer::Packed(demuxer) => {
                demuxer.flush(events);
                Ok(())
            }
            Demuxer::Fragmented(demuxer, _) => {
                let result = demuxer.finish();
                events.extend(std::iter::from_fn(|| demuxer.poll()));
                result.map_err(|error| Error::in_piece(source, error))
            }
        }
    }

    /// What comes next counts from anywhere.
    fn restart_clock(&mut self) {
        match self {
            Demuxer::Transport(demuxer) => demuxer.restart_clock(),
            Demuxer::Packed(demuxer) => demuxer.restart_clock(),
            // States its times in full, or in 32 bits that are near to those before or are taken as they are.
            Demuxer::Fragmented(..) => {}
        }
    }

    fn notices(&mut self) -> Vec<mpegts::Notice> {
        match self {
            Demuxer::Transport(demuxer) => demuxer.notices(),
            Demuxer::Packed(demuxer) => demuxer.notices(),
            Demuxer::Fragmented(..) => Vec::new(),
        }
    }

    fn losses(&self) -> u64 {
        match self {
            Demuxer::Transport(demuxer) => demuxer.losses(),
            _ => 0,
        }
    }
}

/// Joins the segments of subtitles.
pub fn texts(rendition: &Rendition) -> Result<Found, import::Error> {
    let mut files = Files::default();
    let (mut cues, mut clock, mut bytes) = (Vec::new(), None, 0);
    let (mut joins, mut shift) = (rendition.joins.iter().peekable(), 0);
    for (number, piece) in rendition.pieces.iter().enumerate() {
        if let Some(join) = joins.next_if(|join| join.piece == number) {
            shift = join.shift.map_or(0, |shift| shift.by);
        }
        let (source, range) = files.open(&piece.part)?;
        let mut text = Vec::new();
        bytes += range.end - range.start;
        if bytes > SUBTITLE_BYTES_MAX {
            return Err(Error::Subtitles { name: rendition.name.clone() }.into());
        }
        source.read(range, &mut |bytes| {
            text.extend_from_slice(bytes);
            Ok(())
        })?;
        let before = cues.len();
        let map = read_cues(&source.name, &text, &mut cues)?;
        for cue in &mut cues[before..] {
            (cue.start, cue.end) = (cue.start.saturating_add(shift), cue.end.saturating_add(shift));
        }
        clock.get_or_insert(if map { Clock::Encoder } else { Clock::Presentation });
    }
    files.close()?;
    let (name, labels) = (rendition.name.clone(), rendition.labels.clone());
    Ok(Found { name, labels, clock: clock.unwrap_or_default(), cues })
}
