//! One track on its way into a nameless file of fragmented MP4.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Clock, Error, Labels, Rewritten, Track, ZERO_SECS};
use crate::base::limits::FRAGMENT_SAMPLES_MAX;
use crate::base::units::rescale_nearest;
use crate::base::{Ticks, Timescale};
use crate::library::import::manifest::Shift;
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
    stretch: Stretch,
}

/// Where the samples that come lie on the clock of the first, in ticks.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    /// What is added to their times.
    by: i64,
    from: Option<i64>,
    to: Option<i64>,
    /// Others were before it, and none of its own was yet.
    is_fresh: bool,
    /// What follows is presented behind `to`.
    is_over: bool,
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
            stretch: Stretch::default(),
        })
    }

    /// What comes next is on another clock; `to` is when it ends, on the first one, in nanoseconds.
    pub fn join(&mut self, shift: Shift, to: Option<i64>) {
        let ticks = |nanos| rescale_nearest(Ticks(nanos), Timescale::NANOS, self.format.timescale).map_or(0, |it| it.0);
        let is_fresh = self.held.is_some();
        self.stretch =
            Stretch { by: ticks(shift.by), from: shift.from.map(ticks), to: to.map(ticks), is_fresh, is_over: false };
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

    /// Time 0 of the presentation is this time of the source's clock.
    pub fn zero_at(&mut self, nanos: i64) {
        self.edit.start_delay_nanos = self.edit.start_delay_nanos.saturating_sub(nanos);
    }

    /// The presentation begins at this time of the source's clock, and what is before it is hidden: priming, by the edit
    /// list of a header.
    pub fn begin_at(&mut self, nanos: i64) {
        let start = rescale_nearest(Ticks(nanos), Timescale::NANOS, self.format.timescale).map_or(0, |ticks| ticks.0);
        let zero = ZERO_SECS * i64::from(self.format.timescale.per_second());
        self.edit = Edit { media_start: zero.saturating_add(start), start_delay_nanos: 0, presented: None };
    }

    pub fn push(&mut self, sample: feed::Sample) -> Result<(), Error> {
        let Some(sample) = self.place(sample)? else { return Ok(()) };
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

    /// A sample on the clock of the first stretch. `None` if it belongs to what is before or behind: media overlaps where it
    /// was joined, by priming and by frames of sound that no border falls between.
    fn place(&mut self, mut sample: feed::Sample) -> Result<Option<feed::Sample>, Error> {
        let Stretch { by, from, to, is_fresh, .. } = self.stretch;
        sample.decode_time = Ticks(sample.decode_time.0.saturating_add(by));
        let decoded = sample.decode_time.0;
        let presented = decoded.saturating_add(sample.composition_offset.into());
        let half = i64::from(sample.duration.unwrap_or(self.duration) / 2);
        let before = self.held.as_ref().filter(|_| is_fresh);
        if self.format.kind != Kind::Video {
            let end = before.map(|held| held.decode_time.0 + i64::from(held.duration.unwrap_or(self.duration)));
            let is_early = from.max(end).is_some_and(|floor| presented.saturating_add(half) < floor);
            if is_early || to.is_some_and(|to| presented.saturating_add(half) >= to) {
                return Ok(None);
            }
        } else {
            // What a key frame behind the end begins is not needed; what is in the group before it may be, for decoding.
            self.stretch.is_over |= sample.is_sync && to.is_some_and(|to| presented.saturating_add(half) >= to);
            if self.stretch.is_over || from.is_some_and(|from| presented.saturating_add(half) < from) {
                return Ok(None);
            }
            if is_fresh && from.is_some() && !sample.is_sync {
                let at = self.format.timescale.seconds(Ticks(presented));
                return Err(Error::Inside { track: self.name.clone(), at });
            }
        }
        self.stretch.is_fresh = false;
        // Pictures of which more are reordered than before are decoded a little earlier.
        if let Some(held) = &self.held
            && self.format.kind == Kind::Video
        {
            let late = held.decode_time.0 + 1 - decoded;
            if by != 0 && (1..=i64::from(self.format.timescale.per_second())).contains(&late) {
                sample.decode_time = Ticks(decoded + late);
                sample.composition_offset = sample.composition_offset.saturating_sub(late as i32);
            }
        }
        Ok(Some(sample))
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
pub fn nameless(directory: &Path) -> io::Result<File> {
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::media::track::Role;

    fn spool(kind: Kind) -> Spool {
        let format = Format {
            kind,
            timescale: Timescale::new(1_000).unwrap(),
            sample_entry: Bytes::from_static(b"\0\0\0\x08none"),
            language: "und".to_owned(),
            name: None,
            role: Role::Main,
            bit_rate: None,
        };
        Spool::create(&std::env::temp_dir(), "x track 1".to_owned(), format).unwrap()
    }

    /// Samples of 20 ms: when each is decoded, how much later it is presented, whether it begins a group of pictures.
    type Samples = [(i64, i32, bool)];

    /// When what is left of them is decoded and presented, behind a stretch up to 100 ms.
    fn joined(kind: Kind, shift: Shift, to: Option<i64>, samples: &Samples) -> Result<Vec<(i64, i64)>, String> {
        let mut spool = spool(kind);
        let sample = |&(time, offset, is_sync): &(i64, i32, bool)| feed::Sample {
            decode_time: Ticks(time),
            composition_offset: offset,
            duration: Some(20),
            is_sync,
            data: Bytes::from_static(b"x"),
        };
        spool.push(sample(&(80, 0, true))).unwrap();
        spool.join(shift, to);
        let mut placed = Vec::new();
        for one in samples {
            let Some(found) = spool.place(sample(one)).map_err(|error| error.to_string())? else { continue };
            placed.push((found.decode_time.0, found.decode_time.0 + i64::from(found.composition_offset)));
            spool.held = Some(found);
        }
        Ok(placed)
    }

    #[test]
    fn stretches_are_joined_without_overlap() {
        const MS: i64 = 1_000_000;
        let shift = |by: i64| Shift { by: by * MS, from: None };
        let stated = |by: i64, from: i64| Shift { by: by * MS, from: Some(from * MS) };
        // Name, kind, shift, end of the stretch, samples, what is left of them.
        type Row<'a> = (&'a str, Kind, Shift, Option<i64>, &'a Samples, &'a [(i64, i64)]);
        let cases: &[Row<'_>] = &[
            ("goes on", Kind::Audio, shift(0), None, &[(100, 0, true), (120, 0, true)], &[(100, 100), (120, 120)]),
            ("starts over", Kind::Audio, shift(100), None, &[(0, 0, true), (20, 0, true)], &[(100, 100), (120, 120)]),
            ("priming", Kind::Audio, shift(100), None, &[(-40, 0, true), (-20, 0, true), (0, 0, true)], &[(100, 100)]),
            ("a frame across", Kind::Audio, shift(100), None, &[(-11, 0, true), (9, 0, true)], &[(109, 109)]),
            (
                "less than half of it",
                Kind::Audio,
                shift(100),
                None,
                &[(-9, 0, true), (11, 0, true)],
                &[(91, 91), (111, 111)],
            ),
            (
                "a Period's sound",
                Kind::Audio,
                stated(100, 120),
                Some(160 * MS),
                &[(0, 0, true), (20, 0, true), (40, 0, true), (60, 0, true)],
                &[(120, 120), (140, 140)],
            ),
            (
                "a Period's pictures",
                Kind::Video,
                stated(100, 120),
                Some(200 * MS),
                &[(0, 0, true), (20, 0, true), (40, 40, false), (60, 0, false), (100, 0, true), (120, 0, false)],
                &[(120, 120), (140, 180), (160, 160)],
            ),
            (
                "decoded earlier than before",
                Kind::Video,
                shift(100),
                None,
                &[(-40, 40, true), (-20, 40, false), (0, 40, false)],
                &[(81, 100), (82, 120), (100, 140)],
            ),
        ];
        for (name, kind, shift, to, samples, want) in cases {
            assert_eq!(joined(*kind, *shift, *to, samples).as_deref(), Ok(*want), "{name}");
        }
        let inside = joined(Kind::Video, stated(100, 120), None, &[(0, 0, true), (20, 0, false)]).unwrap_err();
        assert_eq!(
            inside,
            "x track 1: a Period begins at 0.120 s, inside of a group of pictures; expected a key frame there"
        );
    }
}
