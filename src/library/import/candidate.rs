//! The tracks of the source files that may become tracks of the asset.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::alignment::Rendition;
use super::input::Input;
use super::timeline::Timeline;
use super::{Error, Event, Report};
use crate::base::{Ticks, Timescale};
use crate::media::Track;
use crate::media::codec::{self, Description};
use crate::media::isobmff::{Handler, Movie, SourceSample, SourceTrack, TrackRole};
use crate::media::track::{Details, Kind, Role};
use crate::sys::MappedFile;

/// In a second.
const NANOS: i64 = Timescale::NANOS.per_second() as i64;

/// One source file, mapped.
pub struct SourceFile {
    /// For messages.
    pub name: String,
    /// For headers, tables and the first bytes of key frames.
    pub map: MappedFile,
    /// For copying: reading into a buffer that stays in the processor's cache takes half the time of writing from the
    /// mapping, and a file that somebody truncates meanwhile gives an error and no signal.
    pub file: File,
    found: State,
}

/// What tells whether a file is the same and unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    file: (u64, u64),
    len: u64,
    modified: (i64, i64),
}

impl State {
    fn of(metadata: &Metadata) -> State {
        State {
            file: (metadata.dev(), metadata.ino()),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// A track that is understood: what it is, and where its samples lie in time.
pub struct Candidate<'a> {
    /// Number of its source file.
    pub file: usize,
    pub source: SourceTrack<'a>,
    pub description: Description,
    pub timeline: Timeline,
    pub language: String,
    pub name: Option<String>,
    pub role: Role,
    /// For messages: file and track id.
    pub label: String,
}

impl SourceFile {
    pub fn open(path: &Path) -> Result<SourceFile, Error> {
        let failed = |source| Error::Source { path: path.to_owned(), source };
        // Before it is opened: opening a pipe waits for whoever writes to it.
        let kind = std::fs::metadata(path).map_err(failed)?.file_type();
        if kind.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        if !kind.is_file() {
            return Err(failed(io::Error::other("not a regular file; import reads some parts of a file twice")));
        }
        let file = File::open(path).map_err(failed)?;
        let found = State::of(&file.metadata().map_err(failed)?);
        let map = MappedFile::open(path).map_err(failed)?;
        Ok(SourceFile { name: path.display().to_string(), map, file, found })
    }

    pub fn is_same(&self, other: &SourceFile) -> bool {
        self.found.file == other.found.file
    }

    /// Refuses a file that was written to since it was opened: what was read of it at different times does not belong
    /// together.
    pub fn check_unchanged(&self) -> Result<(), Error> {
        let now = self.file.metadata().map_err(|source| Error::Source { path: self.name.clone().into(), source })?;
        let same = State::of(&now) == self.found && self.map.bytes().len() as u64 == self.found.len;
        if same && !self.map.is_damaged() { Ok(()) } else { Err(Error::Changed { file: self.name.clone() }) }
    }
}

impl<'a> Candidate<'a> {
    pub fn kind(&self) -> Kind {
        match self.description.details {
            Details::Video(_) => Kind::Video,
            Details::Audio(_) => Kind::Audio,
            Details::Text => Kind::Text,
        }
    }

    /// Surveys every video and audio track of a movie; what is no subtitles either is left out with a note. So is a track
    /// of a codec that is not known, if there is another of its kind: thumbnails beside the film, spatial sound beside
    /// stereo.
    pub fn all(
        file: usize,
        source: &'a SourceFile,
        movie: &Movie<'a>,
        input: &Input,
        report: Report<'_>,
    ) -> Result<Vec<Candidate<'a>>, Error> {
        let mut candidates = Vec::new();
        let mut audio_count = 0;
        let mut unknown = Vec::new();
        for track in movie.tracks() {
            let label = format!("{} track {}", source.name, track.id);
            match track.handler {
                Handler::Video | Handler::Audio => {}
                // See `text`.
                Handler::Subtitle => continue,
                Handler::Other(kind) => {
                    report(Event::Note(&format!("{label} left out: neither video, audio nor subtitles ({kind})")));
                    continue;
                }
            }
            let audio_number = audio_count;
            audio_count += usize::from(track.handler == Handler::Audio);
            let with_bytes = |sample: &Result<SourceSample, _>| sample.as_ref().map_or(true, |sample| sample.size > 0);
            let Some(first) = track.samples().find(with_bytes).transpose()? else {
                report(Event::Note(&format!("{label} left out: it has no samples")));
                continue;
            };
            match Self::survey(file, source, track, &first, input, audio_number, label) {
                Ok(candidate) => candidates.push(candidate),
                Err(Error::Codec(codec::Error::Codec { place, found, expected })) => {
                    unknown.push((track, place, found, expected));
                }
                Err(error) => return Err(error),
            }
        }
        for (track, place, found, expected) in unknown {
            if !candidates.iter().any(|candidate| candidate.source.handler == track.handler) {
                return Err(codec::Error::Codec { place, found, expected }.into());
            }
            let note = format!("{} track {} left out: {found}, not {expected}", source.name, track.id);
            report(Event::Note(&note));
        }
        Ok(candidates)
    }

    fn survey(
        file: usize,
        source: &'a SourceFile,
        track: &SourceTrack<'a>,
        first: &SourceSample,
        input: &Input,
        audio_number: usize,
        label: String,
    ) -> Result<Candidate<'a>, Error> {
        let bytes = source.map.bytes();
        let entry = track.sample_entry;
        let mut description = codec::describe(&source.name, entry.bytes, entry.offset, sample_bytes(bytes, first))?;
        let random_access = |sample: &SourceSample| description.random_access(sample_bytes(bytes, sample), sample.sync);
        let is_video = matches!(description.details, Details::Video(_));
        let timeline = Timeline::survey(
            || track.samples(),
            track.edit,
            track.timescale,
            is_video.then_some(&random_access as super::timeline::RandomAccess<'_>),
        )
        .map_err(|error| match error {
            super::timeline::Error::Source(error) => Error::Demux(error),
            other => {
                Error::Times { file: source.name.clone(), track: track.id, at: entry.offset, reason: other.to_string() }
            }
        })?;
        if let Details::Video(video) = &mut description.details {
            video.frame_rate = timeline.rate;
        }
        let labels = if is_video { Default::default() } else { input.audio_labels(audio_number) };
        let stated = track.roles.iter().find_map(TrackRole::role);
        Ok(Candidate {
            file,
            language: labels.language.unwrap_or_else(|| track.language.clone()),
            name: labels.name.or_else(|| track.name.clone()),
            role: labels.role.or(stated).unwrap_or_default(),
            source: track.clone(),
            description,
            timeline,
            label,
        })
    }

    /// Its key frames, as renditions are compared by them.
    pub fn rendition(&self) -> Rendition<'_> {
        let (num, den) = self.timeline.rate;
        Rendition {
            name: &self.label,
            keys: self.timeline.keys.iter().map(|key| self.timeline.presented_nanos(key.time)).collect(),
            half_frame: NANOS * i64::from(den) / (i64::from(num.max(1)) * 2),
            end: self.timeline.end_nanos(),
        }
    }

    /// What a viewer sees: a picture that is turned by a quarter is as wide as it was coded high.
    fn shown(&self) -> Details {
        let mut details = self.description.details.clone();
        if let Details::Video(video) = &mut details
            && self.source.matrix.is_sideways()
        {
            (video.width, video.height) = (video.height, video.width);
            video.pixel_aspect = (video.pixel_aspect.1, video.pixel_aspect.0);
        }
        details
    }

    /// The track it becomes.
    pub fn track(&self, id: String) -> Track {
        Track {
            id,
            timescale: self.timeline.timescale,
            codec: self.description.codec.clone(),
            language: self.language.clone(),
            name: self.name.clone(),
            role: self.role,
            presentation_offset: Ticks(-self.timeline.priming),
            details: self.shown(),
        }
    }
}

/// The demuxer checked that samples lie within the file; one that does not reads as no bytes.
pub fn sample_bytes<'a>(file: &'a [u8], sample: &SourceSample) -> &'a [u8] {
    let start = usize::try_from(sample.offset).unwrap_or(usize::MAX);
    file.get(start..start.saturating_add(sample.size as usize)).unwrap_or_default()
}

/// Leaves out audio that is there more than once. Every rung of an MP4 ladder usually carries the same audio, which is one
/// rendition and not as many as there are rungs: of tracks of the same language, codec, channels, name and role in files
/// that also have video, the one with most bits is kept. Tracks of one file are never duplicates of each other, and a file
/// of audio alone was given for a reason: it goes only if its samples are the same.
pub fn without_duplicates<'a>(
    candidates: Vec<Candidate<'a>>,
    sources: &[SourceFile],
    report: Report<'_>,
) -> Vec<Candidate<'a>> {
    let with_video: Vec<usize> =
        candidates.iter().filter(|track| track.kind() == Kind::Video).map(|track| track.file).collect();
    let same = |a: &Candidate<'_>, b: &Candidate<'_>| {
        let (Details::Audio(a_audio), Details::Audio(b_audio)) = (&a.description.details, &b.description.details)
        else {
            return false;
        };
        let labels = a.language == b.language && a.name == b.name && a.role == b.role;
        let coding = a.description.codec == b.description.codec
            && a_audio.channels == b_audio.channels
            && a_audio.sample_rate == b_audio.sample_rate;
        let (long, short) =
            (a.timeline.end_nanos().max(b.timeline.end_nanos()), a.timeline.end_nanos().min(b.timeline.end_nanos()));
        let rungs = with_video.contains(&a.file) && with_video.contains(&b.file);
        let copy = || a.timeline.bytes == b.timeline.bytes && begin_alike(a, b, sources);
        a.file != b.file && labels && coding && long - short <= NANOS && (rungs || copy())
    };
    let mut kept: Vec<Candidate<'a>> = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        match kept.iter().position(|other| same(other, &candidate)) {
            None => kept.push(candidate),
            Some(at) => {
                let better = candidate.timeline.bytes > kept[at].timeline.bytes;
                let dropped = if better { std::mem::replace(&mut kept[at], candidate) } else { candidate };
                let text = format!("{} left out: the same audio as {}", dropped.label, kept[at].label);
                report(Event::Note(&text));
            }
        }
    }
    kept
}

/// Whether the first samples of two tracks have the same bytes.
fn begin_alike(a: &Candidate<'_>, b: &Candidate<'_>, sources: &[SourceFile]) -> bool {
    fn bytes<'s>(track: &Candidate<'_>, sources: &'s [SourceFile]) -> Vec<Option<&'s [u8]>> {
        let samples = track.source.samples().map_while(Result::ok).take(SAMPLES_COMPARED);
        let source = sources.get(track.file);
        samples.map(|sample| Some(sample_bytes(source?.map.bytes(), &sample))).collect()
    }
    bytes(a, sources) == bytes(b, sources)
}

/// Several seconds: openings may be alike, or silent, for a while.
const SAMPLES_COMPARED: usize = 1_000;

/// Sound that is offered alike (language, name, role, coding) is taken for one sound in several bit rates, between which a
/// player switches as it likes. At nearly one bit rate there is nothing to choose: that is two sounds, say film and
/// commentary, and the second is offered as an alternate.
pub fn tell_apart(candidates: &mut [Candidate<'_>], report: Report<'_>) {
    let offered = |track: &Candidate<'_>| (track.language.clone(), track.name.clone(), track.role);
    let before: Vec<_> = candidates.iter().map(offered).collect();
    for at in 0..candidates.len() {
        let (earlier, [track, ..]) = candidates.split_at_mut(at) else { continue };
        let alike = |(number, other): &(usize, &Candidate<'_>)| {
            let (high, low) = (
                track.timeline.bits_per_second.max(other.timeline.bits_per_second),
                track.timeline.bits_per_second.min(other.timeline.bits_per_second),
            );
            matches!(track.description.details, Details::Audio(_))
                && before[*number] == before[at]
                && track.description.codec == other.description.codec
                && track.description.details == other.description.details
                && (high - low).saturating_mul(4) <= high
        };
        let count = earlier.iter().enumerate().filter(alike).count();
        if count == 0 {
            continue;
        }
        match (count, track.role) {
            (1, Role::Main) => track.role = Role::Alternate,
            _ => track.name = Some(format!("{} {}", track.name.as_deref().unwrap_or("Alternate"), count + 1)),
        }
        report(Event::Note(&format!(
            "{}: says the same of itself as another track; offered as an alternate",
            track.label
        )));
    }
}
