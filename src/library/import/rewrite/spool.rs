//! One track on its way into a nameless file of fragmented MP4.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Clock, Error, Labels, Rewritten, Track, ZERO_SECS};
use crate::base::limits::FRAGMENT_SAMPLES_MAX;
use crate::base::units::rescale_nearest;
use crate::base::{Ticks, Timescale};
use crate::media::Sample;
use crate::media::codec::{self, Description};
use crate::media::feed::{self, Format};
use crate::media::isobmff::Edit;
use crate::media::isobmff::write::{self, Header};
use crate::media::track::{Details, Kind};

pub struct Spool {
    /// For messages.
    name: String,
    directory: PathBuf,
    format: Format,
    file: File,
    fragment: Fragment,
    fragments: u32,
    /// The last sample, until the next says how long it lasts.
    held: Option<feed::Sample>,
    /// Of the sample before it, in ticks.
    duration: u32,
    /// What is presented, and when.
    edit: Edit,
}

/// What is written next.
#[derive(Default)]
struct Fragment {
    /// In ticks, with [`ZERO_SECS`].
    decode_time: u64,
    samples: Vec<Sample>,
    data: Vec<u8>,
}

/// A fragment ends above this size, or with so many samples: reading tables from it is cheap, and so is holding it.
const FRAGMENT_BYTES: usize = 1 << 20;
const FRAGMENT_SAMPLES: usize = 1_024;
const _: () = assert!(FRAGMENT_SAMPLES <= FRAGMENT_SAMPLES_MAX);

/// In a second.
const NANOS: i64 = Timescale::NANOS.per_second() as i64;

const FLAGS_SYNC: u32 = 0x0200_0000;
const FLAGS_OTHER: u32 = 0x0101_0000;

impl Spool {
    pub fn create(directory: &Path, name: String, format: Format) -> Result<Spool, Error> {
        let failed = |source| Error::Write { directory: directory.to_owned(), source };
        let mut file = nameless(directory).map_err(failed)?;
        let header = write::header(&Header::new(format.kind, format.timescale, &format.sample_entry, "und"));
        file.write_all(&header).map_err(failed)?;
        Ok(Spool {
            name,
            directory: directory.to_owned(),
            format,
            file,
            fragment: Fragment::default(),
            fragments: 0,
            held: None,
            duration: 1,
            edit: Edit { media_start: 0, start_delay_nanos: -ZERO_SECS * NANOS, presented: None },
        })
    }

    pub fn kind(&self) -> Kind {
        self.format.kind
    }

    /// A track may say again what it is, and nothing else.
    pub fn go_on_as(&mut self, format: Format) -> Result<(), Error> {
        if format.sample_entry == self.format.sample_entry && format.timescale == self.format.timescale {
            return Ok(());
        }
        let at = self.held.as_ref().map_or(0.0, |held| self.format.timescale.seconds(held.decode_time));
        let (found, expected) = (self.describe(&format)?, self.describe(&self.format)?);
        // An announced bit rate changes nothing.
        if format.timescale == self.format.timescale && format.kind == Kind::Audio && found == expected {
            return Ok(());
        }
        let (mut found, mut expected) = (text(&found, &format), text(&expected, &self.format));
        if found == expected {
            (found, expected) =
                (format!("{found} with other parameter sets"), format!("{expected} with the same ones"));
        }
        Err(Error::Changed { track: self.name.clone(), at, found, expected })
    }

    fn describe(&self, format: &Format) -> Result<Description, Error> {
        let described = codec::describe(&self.name, &format.sample_entry, 0, &[])?;
        Ok(Description { sample_entry: Vec::new(), ..described })
    }

    /// Nothing before this time of the source's clock is presented, and nothing from `end` on.
    pub fn present(&mut self, start: i64, end: Option<i64>) {
        let zero = ZERO_SECS * i64::from(self.format.timescale.per_second());
        self.edit = Edit {
            media_start: zero.saturating_add(start).max(0),
            start_delay_nanos: rescale_nearest(Ticks(start), self.format.timescale, Timescale::NANOS)
                .map_or(0, |it| it.0),
            presented: end.map(|end| end.saturating_sub(start)),
        };
    }

    /// The presentation begins at this time of the source's clock, and what is before it is hidden: priming, by the edit
    /// list of a header.
    pub fn begin_at(&mut self, nanos: i64) {
        let start = rescale_nearest(Ticks(nanos), Timescale::NANOS, self.format.timescale).map_or(0, |ticks| ticks.0);
        let zero = ZERO_SECS * i64::from(self.format.timescale.per_second());
        self.edit = Edit { media_start: zero.saturating_add(start), start_delay_nanos: 0, presented: None };
    }

    pub fn push(&mut self, sample: feed::Sample) -> Result<(), Error> {
        let Some(held) = self.held.replace(sample) else { return Ok(()) };
        let next = self.held.as_ref().map_or(held.decode_time, |next| next.decode_time);
        let seconds = |time| self.format.timescale.seconds(time);
        let Some(duration) = next.0.checked_sub(held.decode_time.0).filter(|duration| *duration >= 0) else {
            let (before, found) = (seconds(held.decode_time), seconds(next));
            return Err(Error::Backwards { track: self.name.clone(), before, found });
        };
        match u32::try_from(duration) {
            Ok(duration) => {
                self.duration = duration;
                self.put(held, duration)
            }
            // A leap: what comes next begins a fragment of its own.
            Err(_) => {
                let duration = held.duration.unwrap_or(self.duration);
                self.put(held, duration)?;
                self.flush()
            }
        }
    }

    fn put(&mut self, sample: feed::Sample, duration: u32) -> Result<(), Error> {
        let size = u32::try_from(sample.data.len())
            .map_err(|_| Error::TooLarge { track: self.name.clone(), found: sample.data.len() as u64 })?;
        let fragment = &mut self.fragment;
        if fragment.samples.is_empty() {
            let zero = ZERO_SECS * i64::from(self.format.timescale.per_second());
            let time = sample.decode_time.0.checked_add(zero).and_then(|time| u64::try_from(time).ok());
            let out_of_range = Error::OutOfRange { track: self.name.clone(), found: sample.decode_time.0 };
            fragment.decode_time = time.ok_or(out_of_range)?;
        }
        fragment.samples.push(Sample {
            size: size.into(),
            duration: duration.into(),
            composition_offset: sample.composition_offset.into(),
            flags: if sample.is_sync || self.format.kind == Kind::Audio { FLAGS_SYNC } else { FLAGS_OTHER }.into(),
        });
        fragment.data.extend_from_slice(&sample.data);
        if fragment.data.len() >= FRAGMENT_BYTES || fragment.samples.len() >= FRAGMENT_SAMPLES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let Fragment { decode_time, samples, data } = &mut self.fragment;
        if samples.is_empty() {
            return Ok(());
        }
        self.fragments = self.fragments.wrapping_add(1);
        let mut head = Vec::new();
        write::fragment_header(self.fragments, *decode_time, samples, &mut head)
            .map_err(|_| Error::TooLarge { track: self.name.clone(), found: data.len() as u64 })?;
        let failed = |source| Error::Write { directory: self.directory.clone(), source };
        self.file.write_all(&head).and_then(|()| self.file.write_all(data)).map_err(failed)?;
        samples.clear();
        data.clear();
        Ok(())
    }

    pub fn finish(mut self, id: u32, audio_number: usize, clock: Clock) -> Result<Track, Error> {
        if let Some(held) = self.held.take() {
            let duration = held.duration.unwrap_or(self.duration);
            self.put(held, duration)?;
        }
        self.flush()?;
        let Format { language, name, role, .. } = self.format;
        let labels = Labels { language: Some(language).filter(|language| language != "und"), name, role: Some(role) };
        let rewritten = Rewritten { id, labels, edit: self.edit, clock, audio_number };
        Ok(Track { name: self.name, file: self.file, rewritten })
    }
}

/// A file that lives as long as it is open, and leaves nothing behind.
fn nameless(directory: &Path) -> io::Result<File> {
    let path = directory.join(format!(".headwater-{:016x}", RandomState::new().hash_one(0)));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// What viewers would call it.
fn text(description: &Description, format: &Format) -> String {
    match &description.details {
        Details::Video(video) => format!("{} of {}x{}", description.codec, video.width, video.height),
        Details::Audio(audio) => {
            format!("{} of {} Hz and {} channels", description.codec, audio.sample_rate, audio.channels)
        }
        Details::Text => format!("{} at {} ticks a second", description.codec, format.timescale.per_second()),
    }
}
