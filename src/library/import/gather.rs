//! The files that were given, as sources: opened, told apart by their first bytes, and rewritten where they are no ISO BMFF.

use std::path::PathBuf;

use super::candidate::SourceFile;
use super::cues::Found;
use super::input::{Input, Labels};
use super::manifest::{self, Named, Piece, Rendition};
use super::rewrite::{self, Clock, Spools};
use super::text::Text;
use super::{Error, Event, Report};
use crate::media::matroska;

/// All there is to import.
pub struct Gathered {
    pub sources: Vec<SourceFile>,
    /// Files of subtitles.
    pub texts: Vec<Text>,
    pub cues: Vec<Found>,
    /// Bytes that were read to rewrite them, which progress has counted.
    pub read: u64,
}

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Transport,
    Matroska,
    /// ISO BMFF, or what its reader will refuse by name.
    Other,
}

impl Container {
    fn of(bytes: &[u8]) -> Container {
        // A sync byte every 188 bytes, or 204 with parity; behind four bytes of time every 192 (ISO/IEC 13818-1 §2.4.3.2).
        let synced = |start: usize, step: usize| {
            let mut packets = (0..SYNCS).map(|packet| bytes.get(start + packet * step));
            bytes.len() > start && packets.all(|byte| byte.is_none_or(|&byte| byte == 0x47))
        };
        match () {
            () if bytes.starts_with(&matroska::SIGNATURE) => Container::Matroska,
            () if synced(0, 188) || synced(0, 204) || synced(4, 192) => Container::Transport,
            () => Container::Other,
        }
    }
}

/// Packets that are looked at.
const SYNCS: usize = 8;

/// Opens all inputs. `place` makes the directory for what is rewritten, `stop` ends it all.
pub fn gather(
    inputs: &[Input],
    place: &mut dyn FnMut() -> Result<PathBuf, Error>,
    stop: &dyn Fn() -> Result<(), Error>,
    report: Report<'_>,
) -> Result<Gathered, Error> {
    let mut opened = Opened::default();
    for input in inputs {
        if input.subtitles().is_some() && !input.path.is_dir() {
            opened.texts.push(Text::read(input)?);
            continue;
        }
        match manifest::expand(input, report)? {
            None => opened.file(input, report)?,
            Some(mut named) => {
                rewrite::measure_joins(&mut named, report)?;
                named.into_iter().try_for_each(|named| opened.named(named, report))?;
            }
        }
    }
    let Opened { materials, texts, cues } = opened;
    // What is rewritten is read twice: now, and when it is copied.
    let bytes = |material: &Material| material.len().saturating_mul(1 + u64::from(material.is_rewritten()));
    let total = materials.iter().map(bytes).fold(0, u64::saturating_add);
    let mut gathered = Gathered { sources: Vec::with_capacity(materials.len()), texts, cues, read: 0 };
    for (given, material) in materials.into_iter().enumerate() {
        let read = &mut gathered.read;
        let mut progress = |bytes: u64, report: Report<'_>| {
            *read += bytes;
            report(Event::Progress { done: *read, total });
            stop()
        };
        match material {
            Material::File(source, Container::Other) => gathered.sources.push(*source),
            Material::File(source, Container::Transport) => {
                let directory = place()?;
                let mut spools = Spools::new(&directory, &source.name, Clock::Encoder);
                rewrite::transport(&source, &mut spools, report, &mut progress)?;
                source.check_unchanged()?;
                gathered.add(spools, &source.input, &Labels::default(), given)?;
            }
            Material::File(source, Container::Matroska) => {
                let directory = place()?;
                let mut spools = Spools::new(&directory, &source.name, Clock::Presentation);
                let cues = rewrite::matroska(&source, &mut spools, report, &mut progress)?;
                source.check_unchanged()?;
                gathered.cues.extend(cues);
                gathered.add(spools, &source.input, &Labels::default(), given)?;
            }
            Material::Rendition(rendition, _) => {
                let directory = place()?;
                let mut spools = Spools::new(&directory, &rendition.name, Clock::Encoder);
                let cues = rewrite::pieces(&rendition, &mut spools, report, &mut progress)?;
                gathered.cues.extend(cues);
                let input = Input { path: PathBuf::new(), labels: Labels::default(), audio: Vec::new() };
                gathered.add(spools, &input, &rendition.labels, given)?;
            }
        }
    }
    Ok(gathered)
}

/// What there is, before anything is rewritten.
#[derive(Default)]
struct Opened {
    materials: Vec<Material>,
    texts: Vec<Text>,
    cues: Vec<Found>,
}

enum Material {
    File(Box<SourceFile>, Container),
    /// With the bytes of its segments, as far as they are known.
    Rendition(Rendition, u64),
}

impl Material {
    fn len(&self) -> u64 {
        match self {
            Material::File(source, _) => source.len(),
            Material::Rendition(_, len) => *len,
        }
    }

    fn is_rewritten(&self) -> bool {
        !matches!(self, Material::File(_, Container::Other))
    }
}

impl Opened {
    fn file(&mut self, input: &Input, report: Report<'_>) -> Result<(), Error> {
        let source = SourceFile::open(input, self.materials.len())?;
        // The same file and the same words about it: with other words the user means something by giving it twice.
        let mut files = self.materials.iter().filter_map(|material| match material {
            Material::File(file, _) => Some(file),
            Material::Rendition(..) => None,
        });
        match files.find(|other| other.is_same(&source) && other.input.says_the_same(input)) {
            Some(other) => {
                report(Event::Note(&format!("{} left out: the same file as {}", source.name, other.name)));
            }
            None => {
                let container = Container::of(source.map.bytes());
                self.materials.push(Material::File(Box::new(source), container));
            }
        }
        Ok(())
    }

    fn named(&mut self, named: Named, report: Report<'_>) -> Result<(), Error> {
        match named {
            Named::File(input) if input.subtitles().is_some() => self.texts.push(Text::read(&input)?),
            Named::File(input) => self.file(&input, report)?,
            Named::Text(rendition) => self.cues.push(rewrite::texts(&rendition)?),
            Named::Media(rendition) => {
                let len = |piece: &Piece| match &piece.part.range {
                    Some(range) => range.end.saturating_sub(range.start),
                    None => std::fs::metadata(&piece.part.path).map_or(0, |metadata| metadata.len()),
                };
                let len = rendition.pieces.iter().map(len).fold(0, u64::saturating_add);
                self.materials.push(Material::Rendition(rendition, len));
            }
        }
        Ok(())
    }
}

impl Gathered {
    /// What `labels` say of all tracks counts before what the tracks say.
    fn add(&mut self, spools: Spools<'_>, input: &Input, labels: &Labels, given: usize) -> Result<(), Error> {
        for track in spools.finish()? {
            let rewrite::Track { name, file, mut rewritten } = track;
            rewritten.labels = labels.clone().or(&rewritten.labels);
            let path = PathBuf::from(&name);
            let opened = SourceFile::of(name, file, input.clone(), given, Some(rewritten));
            self.sources.push(opened.map_err(|source| Error::Source { path, source })?);
        }
        Ok(())
    }
}
