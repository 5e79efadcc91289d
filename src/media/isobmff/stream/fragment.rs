//! One `moof`, read as soon as it is there: which samples will come, and where in the stream.

use super::super::boxes::{Boxed, Boxes, Path};
use super::super::error;
use super::super::moof::{Base, Header as TrackFragment, Run, TFHD, TRAF, Traf, early_decode_time};
use super::super::samples::FLAG_NON_SYNC;
use super::clock::Stated;
use super::header::{Content, Header, Track};
use crate::base::limits::STREAM_SAMPLE_BYTES_MAX;

/// A sample to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Index into the header's tracks.
    pub track: usize,
    /// From the first byte of the request.
    pub offset: u64,
    pub size: u32,
    /// In track ticks, the edit list applied.
    pub decode_time: i64,
    /// `None` if it is nowhere stated.
    pub duration: Option<u32>,
    pub composition_offset: i32,
    pub is_sync: bool,
}

impl Planned {
    pub fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.size.into())
    }
}

/// `tfxd` of Smooth Streaming ([MS-SSTR] §2.2.4.4): when the fragment begins.
const TFXD: [u8; 16] = *b"\x6d\x1d\x9b\x05\x42\xd5\x44\xe6\x80\xe2\x14\x1d\xaf\xf7\x57\xb2";

/// The samples of all tracks by their place in the stream, at most `samples_max`. Clocks go on by what is in it.
pub fn plan(moof: &Boxed<'_>, header: &mut Header, samples_max: usize) -> Result<Vec<Planned>, error::Error> {
    let mut plan = Plan { moof: moof.clone(), position: moof.at, correction: None, samples: Vec::new(), samples_max };
    let defaults = header.defaults.clone();
    let mut number = 0;
    for child in moof.children() {
        let child = child?;
        if child.name != TRAF {
            continue;
        }
        number += 1;
        let path = moof.path.enter(TRAF, number);
        let fragment = TrackFragment::read(&child, path, &defaults)?;
        let id = fragment.defaults.track_id;
        let Some((index, track)) = header.tracks.iter_mut().enumerate().find(|(_, track)| track.id == id) else {
            let found = format_args!("track_ID {id}");
            return Err(error::Error::unexpected(path.enter(TFHD, 0), child.at, found, "one of the header's"));
        };
        plan.track_fragment(&child, path, fragment, index, track)?;
    }
    plan.in_order(&header.tracks)
}

struct Plan<'a> {
    moof: Boxed<'a>,
    /// Where the next sample lies if nothing else is said.
    position: u64,
    /// From a base that counts from elsewhere to one in this request.
    correction: Option<u64>,
    samples: Vec<Planned>,
    samples_max: usize,
}

impl<'a> Plan<'a> {
    fn end(&self) -> u64 {
        self.moof.at.saturating_add(self.moof.whole.len() as u64)
    }

    fn track_fragment(
        &mut self,
        child: &Boxed<'a>,
        path: Path,
        fragment: TrackFragment,
        index: usize,
        track: &mut Track,
    ) -> Result<(), error::Error> {
        let found = fragment.defaults.description;
        if let Some(expected) = track.description.filter(|&expected| expected != found) {
            let found = format_args!("sample description {found} of stsd");
            let expected = format_args!("{expected}, that of the header");
            return Err(error::Error::unexpected(path.enter(TFHD, 0), child.at, found, expected));
        }
        let (mut stated, mut presented) = (None, None);
        for part in Boxes::inside(child.body(), path) {
            let part = part?;
            match &part.name.0 {
                b"tfdt" => {
                    let time = early_decode_time(&part)?;
                    stated =
                        Some(u32::try_from(time).ok().filter(|_| part.full().is_ok_and(|(version, ..)| version == 0)))
                            .map(|short| short.map_or(Stated::Long(time), Stated::Short));
                }
                b"uuid" => presented = presented.or(smooth_time(&part)?),
                _ => {}
            }
        }
        let mut time = match (stated, presented) {
            (None, Some(_)) => {
                // It is the first sample's presentation time.
                let first =
                    Traf::new(child, path, fragment, 0).next_run()?.and_then(|mut run| run.row(&fragment.defaults));
                let offset = first.map_or(0, |first| i64::from(first.composition_offset));
                track.clock.begin(presented, track.timescale).saturating_sub(offset)
            }
            _ => track.clock.begin(stated, track.timescale),
        };
        if fragment.duration_is_empty {
            // §8.8.7.1: there are no samples for the default duration.
            time = time.saturating_add(fragment.defaults.duration.into());
        }
        let base = self.base(child, path, &fragment)?;
        self.position = base;
        let mut traf = Traf::new(child, path, fragment, base);
        while let Some(run) = traf.next_run()? {
            if run.left == 0 {
                continue;
            }
            match run.data_offset {
                Some(offset) => self.position = run.begin(base, offset)?,
                // Nothing says where the data is, so it is where it must be.
                None if self.position < self.end() => self.position = self.end().saturating_add(MDAT_HEADER),
                None => {}
            }
            time = self.run(run, &traf.header, index, track, time)?;
        }
        track.clock.end(time);
        Ok(())
    }

    /// Where a `traf` counts from.
    fn base(&mut self, child: &Boxed<'a>, path: Path, fragment: &TrackFragment) -> Result<u64, error::Error> {
        let Base::Offset(stated) = fragment.base else {
            return Ok(if fragment.base == Base::Moof { self.moof.at } else { self.position });
        };
        // It counts from the start of a file, which a request need not be: that of a segment, or the rest of a stream after
        // a reconnection. Writers mean their moof, or the data behind it; the first traf shows which.
        let correction = match self.correction {
            Some(correction) => correction,
            None if (self.moof.at..=self.end() + 2 * MDAT_HEADER).contains(&stated) => 0,
            None => {
                let first = Traf::new(child, path, *fragment, 0).next_run()?.and_then(|run| run.data_offset);
                let from_moof = first.is_some_and(|offset| i64::from(offset) >= self.moof.whole.len() as i64);
                let place = if from_moof { self.moof.at } else { self.end().saturating_add(MDAT_HEADER) };
                place.wrapping_sub(stated)
            }
        };
        self.correction = Some(correction);
        Ok(stated.wrapping_add(correction))
    }

    fn run(
        &mut self,
        mut run: Run<'a>,
        fragment: &TrackFragment,
        index: usize,
        track: &Track,
        mut time: i64,
    ) -> Result<i64, error::Error> {
        let (path, at) = (run.path, run.at);
        let refuse = |found: std::fmt::Arguments<'_>, expected: std::fmt::Arguments<'_>| {
            Err(error::Error::unexpected(path, at, found, expected))
        };
        // Runs state counts without rows, so this is what bounds the work.
        if run.left as usize > self.samples_max - self.samples.len() {
            let (left, max) = (run.left, self.samples_max);
            return refuse(format_args!("{left} samples more"), format_args!("at most {max} in one fragment"));
        }
        self.samples.reserve(run.left as usize);
        for _ in 0..run.left {
            let Some(row) = run.row(&fragment.defaults) else { break };
            let (offset, size) = (self.position, row.size);
            if size > STREAM_SAMPLE_BYTES_MAX {
                let expected = format_args!("at most {STREAM_SAMPLE_BYTES_MAX}");
                return refuse(format_args!("a sample of {size} bytes"), expected);
            }
            let next = (offset.checked_add(size.into()), time.checked_add(row.duration.into()));
            let (Some(end), Some(next)) = next else {
                return refuse(
                    format_args!("a sample at byte {offset} and time {time}"),
                    format_args!("less than 2^63"),
                );
            };
            if offset < self.end() {
                let expected = format_args!("one behind the moof, which ends at byte {}", self.end());
                return refuse(format_args!("a sample at byte {offset}"), expected);
            }
            self.samples.push(Planned {
                track: index,
                offset,
                size,
                decode_time: time.saturating_add(track.shift),
                duration: (row.duration > 0).then_some(row.duration),
                composition_offset: row.composition_offset,
                is_sync: row.flags & FLAG_NON_SYNC == 0,
            });
            self.position = end;
            time = next;
        }
        Ok(time)
    }

    /// What arrives can be passed on only if each track's samples lie in decode order, and none is within another.
    fn in_order(mut self, tracks: &[Track]) -> Result<Vec<Planned>, error::Error> {
        self.samples.retain(|sample| tracks.get(sample.track).is_some_and(|track| track.content != Content::Other));
        let backwards = |samples: &[Planned]| {
            let mut ends = vec![0; tracks.len()];
            samples.iter().find_map(|sample| {
                let end = ends.get_mut(sample.track)?;
                let before = std::mem::replace(end, sample.offset.saturating_add(sample.size.into()));
                (sample.offset < before).then_some((*sample, before))
            })
        };
        let within = |samples: &[Planned]| {
            let mut pairs = samples.iter().zip(samples.iter().skip(1));
            pairs.find_map(|(a, b)| Some((*b, a.end()?)).filter(|(b, end)| b.offset < *end))
        };
        let mut wrong = backwards(&self.samples);
        if wrong.is_none() {
            self.samples.sort_by_key(|sample| sample.offset);
            wrong = within(&self.samples);
        }
        match wrong {
            None => Ok(self.samples),
            Some((sample, end)) => {
                let found = format_args!("a sample at byte {} after one that ends at byte {end}", sample.offset);
                Err(error::Error::unexpected(self.moof.path, self.moof.at, found, "samples one behind the other"))
            }
        }
    }
}

const MDAT_HEADER: u64 = 8;

/// What `tfxd` says; `None` for another `uuid`. Writers state the negative times of priming as well.
fn smooth_time(uuid: &Boxed<'_>) -> Result<Option<Stated>, error::Error> {
    let mut body = uuid.body();
    if !body.take(16).is_ok_and(|kind| kind == TFXD) {
        return Ok(None);
    }
    let version = uuid.read(body.u8())?;
    uuid.read(body.u24())?;
    Ok(Some(match version {
        0 => Stated::Short(uuid.read(body.u32())?),
        _ => Stated::Long(uuid.read(body.u64())? as i64),
    }))
}
