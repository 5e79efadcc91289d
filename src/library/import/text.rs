//! Subtitles: files of their own, and tracks of the source files.

use std::time::Duration;

use super::candidate::{SourceFile, sample_bytes};
use super::cues::Found;
use super::examine::ExaminedTrack;
use super::input::Labels;
use super::{Error, Event, Input, Report, Zeros};
use crate::base::units::rescale_nearest;
use crate::base::{Ticks, Timescale};
use crate::media::isobmff::{Handler, Movie, SourceTrack, TrackRole};
use crate::media::subtitles::{self, Coding, Samples, Subtitles};
use crate::media::track::{Details, Role};
use crate::media::{Cue, Track};
use crate::store::index_writer::Entry;

/// A subtitle track in normal form.
pub struct Text {
    /// Its id is that of the source, if it has one.
    pub track: Track,
    pub bytes: Vec<u8>,
    pub cues: Vec<Cue>,
}

impl Text {
    /// A file of subtitles.
    pub fn read(input: &Input) -> Result<Text, Error> {
        let source = SourceFile::open(input, 0)?;
        let format = input.subtitles().unwrap_or(subtitles::Format::WebVtt);
        let subtitles = subtitles::read(&source.name, source.map.bytes(), format)?;
        let labels = &input.labels;
        let language = labels.language.clone().or_else(|| input.language_of_name());
        Ok(Text::new(subtitles, language, labels.name.clone(), labels.role.unwrap_or_default()))
    }

    /// All there are: to `texts`, which are files, come `cues` and the subtitle tracks of the sources. Every rung of a ladder
    /// may carry the same ones.
    pub fn gather(
        texts: &mut Vec<Text>,
        cues: Vec<Found>,
        sources: &[SourceFile],
        movies: &[Movie<'_>],
        zeros: &Zeros,
        report: Report<'_>,
    ) -> Result<(), Error> {
        let mut others = cues.into_iter().map(|found| found.finish(zeros)).collect::<Result<Vec<_>, _>>()?;
        for (source, movie) in sources.iter().zip(movies) {
            others.extend(Text::all(source, movie, zeros, report));
        }
        for text in others {
            if !texts.iter().any(|other| other.is_same(&text)) {
                texts.push(text);
            }
        }
        Ok(())
    }

    /// The subtitle tracks of a movie. One that cannot be read, or says nothing, is left out with a note.
    fn all(source: &SourceFile, movie: &Movie<'_>, zeros: &Zeros, report: Report<'_>) -> Vec<Text> {
        let mut texts = Vec::new();
        for track in movie.tracks().iter().filter(|track| track.handler == Handler::Subtitle) {
            let label = source.label(track.id);
            match Text::of_track(source, track, &label, zeros) {
                Ok(text) if text.cues.is_empty() => {
                    report(Event::Note(&format!("{label} left out: subtitles without a word")));
                }
                Ok(text) => texts.push(text),
                Err(reason) => report(Event::Note(&format!("{label} left out: {reason}"))),
            }
        }
        texts
    }

    fn of_track(source: &SourceFile, track: &SourceTrack<'_>, label: &str, zeros: &Zeros) -> Result<Text, String> {
        let fourcc = track.sample_entry.fourcc;
        let coding = Coding::of(fourcc)
            .ok_or_else(|| format!("subtitles as {}; known are tx3g, text, wvtt and stpp", fourcc.escape_ascii()))?;
        let rewritten = source.rewritten.as_ref();
        let zero = zeros.on(rewritten.map(|rewritten| rewritten.clock).unwrap_or_default());
        let edit = rewritten.map_or(track.edit, |rewritten| rewritten.edit);
        let end = edit.presented.map(|length| edit.media_start.saturating_add(length));
        let millis = |time: i64| {
            let shown = Ticks(time.saturating_sub(edit.media_start));
            let nanos = rescale_nearest(shown, track.timescale, Timescale::NANOS).map_or(0, |nanos| nanos.0);
            nanos.saturating_add(edit.start_delay_nanos).saturating_sub(zero).div_euclid(1_000_000)
        };
        let mut gathered = Samples::new(coding, millis(0));
        for sample in track.samples() {
            let sample = sample.map_err(|error| error.to_string())?;
            let from = sample.decode_time.saturating_add(i64::from(sample.composition_offset));
            let to = from.saturating_add(i64::from(sample.duration));
            let (from, to) = (millis(from.max(edit.media_start)), millis(end.map_or(to, |end| to.min(end))));
            let Ok(to) = u64::try_from(to) else { continue };
            let from = u64::try_from(from).unwrap_or(0);
            if from < to {
                let bytes = sample_bytes(source.map.bytes(), &sample);
                gathered.push(label, from, to, bytes).map_err(|error| error.to_string())?;
            }
        }
        let subtitles = gathered.finish(label).map_err(|error| error.to_string())?;
        let stated = track.roles.iter().find_map(TrackRole::role);
        let role = stated.unwrap_or(if is_forced(track) { Role::Forced } else { Role::Main });
        let language = Some(track.language.clone()).filter(|tag| tag != "und");
        let own = Labels { language, name: track.name.clone(), role: Some(role) };
        let labels = rewritten.map(|rewritten| rewritten.labels.clone()).unwrap_or_default().or(&own);
        let text = Text::new(subtitles, labels.language, labels.name, labels.role.unwrap_or_default());
        Ok(Text { track: Track { id: track.id.to_string(), ..text.track }, ..text })
    }

    /// What is said from outside goes before what the subtitles say of themselves.
    pub fn new(subtitles: Subtitles, language: Option<String>, name: Option<String>, role: Role) -> Text {
        let language = language.or(subtitles.language);
        Text {
            track: Track {
                id: String::new(),
                timescale: Timescale::MILLIS,
                codec: "wvtt".to_owned(),
                language: language.unwrap_or_else(|| "und".to_owned()),
                name,
                role,
                presentation_offset: Ticks(0),
                details: Details::Text,
            },
            bytes: subtitles.normalised.text,
            cues: subtitles.normalised.cues,
        }
    }

    /// Its part of an index.
    pub fn entry(&self) -> Entry<'_> {
        Entry {
            track: &self.track,
            file_size: self.bytes.len() as u64,
            init_size: 0,
            digest: blake3::hash(&self.bytes).into(),
            fragments: &[],
            samples: Box::new(std::io::empty()),
            sample_count: 0,
            cues: &self.cues,
            files: &[],
        }
    }

    /// Whether a viewer could not tell them apart: every rung of a ladder may carry the same.
    fn is_same(&self, other: &Text) -> bool {
        self.bytes == other.bytes && self.track.language == other.track.language && self.track.role == other.track.role
    }

    pub fn examined(&self) -> ExaminedTrack {
        let first = self.cues.first().map_or(0, |cue| cue.start.get());
        let last = self.cues.last().map_or(0, |cue| cue.end_max.get());
        ExaminedTrack {
            track: self.track.clone(),
            samples: u32::try_from(self.cues.len()).unwrap_or(u32::MAX),
            bytes: self.bytes.len() as u64,
            duration: Duration::from_millis(last.saturating_sub(first)),
            late: Duration::from_millis(first),
            priming: Duration::ZERO,
            key_frames: Vec::new(),
            open_starts: 0,
        }
    }
}

/// `displayFlags` of 3GPP timed text: every sample is to be shown where the viewer's language is not spoken (QuickTime File
/// Format, "Subtitle sample data").
fn is_forced(track: &SourceTrack<'_>) -> bool {
    const ALL_FORCED: u32 = 0xC000_0000;
    let flags =
        track.sample_entry.bytes.get(16..20).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
    &track.sample_entry.fourcc == b"tx3g" && flags & ALL_FORCED == ALL_FORCED
}
