//! `ftyp` and `moov` of a progressive file (ISO/IEC 14496-12 §8.2 to §8.7), made of stored CMAF headers and sample tables.
//!
//! ```text
//! ftyp
//! moov
//!   mvhd
//!   trak           of each track, its stored boxes but for what is listed
//!     tkhd         with an id of its own, and a duration
//!     edts/elst    where presentation does not begin with the first sample
//!     mdia
//!       mdhd       with a duration
//!       minf/stbl  stsd as stored; stts ctts? stss? stsz stsc stco|co64
//! mdat             its header; the media follows
//! ```

use crate::base::units::rescale_nearest;
use crate::base::{Ticks, Timescale};
use crate::media::{Fragment, Sample};

use super::super::boxes::{Boxed, Boxes};
use super::super::error::Error;
use super::super::samples::FLAG_NON_SYNC;
use super::super::stored::find;
use super::super::{Matrix, Path};
use super::edit::{Presented, movie_scale};
use super::{boxed, full_boxed, put_u16, put_u32, put_u64};

/// A track that goes into the file.
#[derive(Clone, Copy)]
pub struct MovieTrack<'a> {
    /// The stored CMAF header: `ftyp` and `moov`.
    pub header: &'a [u8],
    pub timescale: Timescale,
    /// What the file counts its time in.
    pub clock: Timescale,
    /// Each is a chunk of the file.
    pub fragments: &'a [Fragment],
    /// All of the track's, as fragments number them.
    pub samples: &'a [Sample],
    /// What decode time and composition offset lack to presentation time, in track ticks.
    pub presentation_offset: Ticks,
    /// Added to every composition offset, and taken away by the edit list.
    pub reorder: Ticks,
    /// Of several tracks of a kind players show one: the one that is enabled (§8.3.2).
    pub enabled: bool,
    /// Tracks of one number are alternatives (§8.3.2).
    pub alternate_group: u16,
}

impl<'a> MovieTrack<'a> {
    /// To the nearest tick of the file's clock.
    fn on_clock(&self, ticks: u64) -> u64 {
        let nearest = i64::try_from(ticks).ok().and_then(|it| rescale_nearest(Ticks(it), self.timescale, self.clock));
        nearest.map_or(u64::MAX, |ticks| ticks.0 as u64)
    }

    pub(super) fn offset(&self, sample: &Sample) -> i64 {
        i64::from(sample.composition_offset.get()).saturating_add(self.reorder.0)
    }

    pub(super) fn samples_of(&self, fragment: &Fragment) -> &'a [Sample] {
        let start = fragment.first_sample.get() as usize;
        self.samples.get(start..start.saturating_add(fragment.sample_count.get() as usize)).unwrap_or_default()
    }
}

/// A fragment's media, as a chunk: which of the tracks it is of, and how many media bytes it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovieChunk {
    pub track: usize,
    pub bytes: u64,
}

/// Everything before the media. `chunks` are in the order of the file; of each track there are as many as fragments, in order.
///
/// # Errors
/// A stored header that is not one.
pub fn movie(tracks: &[MovieTrack<'_>], chunks: &[MovieChunk]) -> Result<Vec<u8>, Error> {
    let media: u64 = chunks.iter().map(|chunk| chunk.bytes).sum();
    // 32-bit offsets as long as the last is one whatever the header's size is, which is below 2^31.
    let wide = media >= 1 << 31;
    let scale = movie_scale(tracks);
    let mut places = vec![Vec::new(); tracks.len()];
    let mut at = 0;
    for chunk in chunks {
        if let Some(places) = places.get_mut(chunk.track) {
            places.push(at);
        }
        at += chunk.bytes;
    }
    let mut out = Vec::new();
    boxed(&mut out, b"ftyp", |out| {
        out.extend_from_slice(b"isom\0\0\x02\0isomiso6mp41");
    });
    // Where the offsets stand, to be moved by the size of all that comes before the media.
    let mut tables = Vec::new();
    let mut result = Ok(());
    boxed(&mut out, b"moov", |out| {
        let ends = tracks.iter().map(|track| {
            let (late, shown) = Presented::of(track).in_movie(scale, track.timescale);
            late + shown
        });
        let duration = ends.max();
        mvhd(out, scale, duration.unwrap_or(0), tracks.len() as u32 + 1);
        for (number, (track, places)) in tracks.iter().zip(&places).enumerate() {
            let written = trak(out, track, number as u32 + 1, scale, &mut |out| {
                let kind = if wide { b"co64" } else { b"stco" };
                full_boxed(out, kind, 0, 0, |out| {
                    put_u32(out, places.len() as u32);
                    tables.push((out.len(), places.len()));
                    for &place in places {
                        if wide { put_u64(out, place) } else { put_u32(out, place as u32) }
                    }
                });
            });
            result = std::mem::replace(&mut result, Ok(())).and(written);
        }
    });
    result?;
    match u32::try_from(media + 8) {
        Ok(size) => put_u32(&mut out, size),
        Err(_) => put_u32(&mut out, 1),
    }
    out.extend_from_slice(b"mdat");
    if media + 8 > u64::from(u32::MAX) {
        put_u64(&mut out, media + 16);
    }
    let head = out.len() as u64;
    for (at, rows) in tables {
        if wide {
            out[at..at + rows * 8].as_chunks_mut().0.iter_mut().for_each(|row: &mut [u8; 8]| {
                *row = (u64::from_be_bytes(*row) + head).to_be_bytes();
            });
        } else {
            out[at..at + rows * 4].as_chunks_mut().0.iter_mut().for_each(|row: &mut [u8; 4]| {
                *row = (u32::from_be_bytes(*row).wrapping_add(head as u32)).to_be_bytes();
            });
        }
    }
    Ok(out)
}

fn mvhd(out: &mut Vec<u8>, scale: Timescale, duration: u64, next_id: u32) {
    full_boxed(out, b"mvhd", 1, 0, |out| {
        put_u64(out, 0);
        put_u64(out, 0);
        put_u32(out, scale.per_second());
        put_u64(out, duration);
        put_u32(out, 0x1_0000);
        put_u16(out, 0x100);
        out.extend_from_slice(&[0; 10]);
        Matrix::default().values().iter().for_each(|&value| put_u32(out, value));
        out.extend_from_slice(&[0; 24]);
        put_u32(out, next_id);
    });
}

fn child<'a>(parent: &Boxed<'a>, name: &'static [u8; 4]) -> Result<Boxed<'a>, Error> {
    find(parent.children(), parent.path, name)
}

fn trak(
    out: &mut Vec<u8>,
    track: &MovieTrack<'_>,
    id: u32,
    scale: Timescale,
    offsets: &mut dyn FnMut(&mut Vec<u8>),
) -> Result<(), Error> {
    let moov = find(Boxes::top_level(track.header, 0), Path::default(), b"moov")?;
    let stored = child(&moov, b"trak")?;
    let mdia = child(&stored, b"mdia")?;
    let minf = child(&mdia, b"minf")?;
    let stbl = child(&minf, b"stbl")?;
    let stsd = child(&stbl, b"stsd")?;
    let presented = Presented::of(track);
    let (late, shown) = presented.in_movie(scale, track.timescale);
    let mut result = Ok(());
    let mut keep = |written: Result<(), Error>| result = std::mem::replace(&mut result, Ok(())).and(written);
    boxed(out, b"trak", |out| {
        keep(tkhd(out, &stored, track, id, late + shown));
        if (late, presented.from) != (0, 0) {
            boxed(out, b"edts", |out| {
                full_boxed(out, b"elst", 1, 0, |out| {
                    put_u32(out, if late > 0 { 2 } else { 1 });
                    if late > 0 {
                        put_u64(out, late);
                        put_u64(out, u64::MAX); // media_time −1: nothing is presented
                        put_u32(out, 0x1_0000);
                    }
                    put_u64(out, shown);
                    put_u64(out, track.on_clock(presented.from));
                    put_u32(out, 0x1_0000);
                });
            });
        }
        boxed(out, b"mdia", |out| {
            keep(copy(out, &mdia, |out, found| match &found.name.0 {
                b"mdhd" => mdhd(out, found, track),
                b"minf" => {
                    let mut written = Ok(());
                    boxed(out, b"minf", |out| {
                        written = copy(out, found, |out, found| {
                            if &found.name.0 != b"stbl" {
                                return Ok(false);
                            }
                            boxed(out, b"stbl", |out| {
                                out.extend_from_slice(stsd.whole);
                                tables(out, track);
                                offsets(out);
                            });
                            Ok(true)
                        });
                    });
                    written.map(|()| true)
                }
                _ => Ok(false),
            }));
        });
        keep(copy(out, &stored, |_, found| Ok(matches!(&found.name.0, b"tkhd" | b"edts" | b"mdia"))));
    });
    result
}

/// Copies the children of a box, but those that `instead` writes or leaves out.
fn copy<'a>(
    out: &mut Vec<u8>,
    parent: &Boxed<'a>,
    mut instead: impl FnMut(&mut Vec<u8>, &Boxed<'a>) -> Result<bool, Error>,
) -> Result<(), Error> {
    for found in parent.children() {
        let found = found?;
        if !instead(out, &found)? {
            out.extend_from_slice(found.whole);
        }
    }
    Ok(())
}

fn tkhd(out: &mut Vec<u8>, stored: &Boxed<'_>, track: &MovieTrack<'_>, id: u32, duration: u64) -> Result<(), Error> {
    let found = child(stored, b"tkhd")?;
    let (version, _, mut body) = found.full()?;
    found.read(body.skip(if version == 1 { 32 } else { 20 }))?;
    found.read(body.skip(12))?;
    let rest = body.rest(); // volume, reserved, matrix, width, height
    full_boxed(out, b"tkhd", 1, if track.enabled { 7 } else { 6 }, |out| {
        put_u64(out, 0);
        put_u64(out, 0);
        put_u32(out, id);
        put_u32(out, 0);
        put_u64(out, duration);
        out.extend_from_slice(&[0; 8]);
        put_u16(out, 0); // layer
        put_u16(out, track.alternate_group);
        out.extend_from_slice(rest);
    });
    Ok(())
}

fn mdhd(out: &mut Vec<u8>, found: &Boxed<'_>, track: &MovieTrack<'_>) -> Result<bool, Error> {
    let (version, _, mut body) = found.full()?;
    found.read(body.skip(if version == 1 { 28 } else { 16 }))?;
    let language = found.read(body.u16())?;
    let ends = track.fragments.first().zip(track.fragments.last());
    let duration = ends.map_or(0, |(first, last)| last.decode_end().0.saturating_sub(first.decode_time().0));
    full_boxed(out, b"mdhd", 1, 0, |out| {
        put_u64(out, 0);
        put_u64(out, 0);
        put_u32(out, track.clock.per_second());
        put_u64(out, track.on_clock(duration.max(0) as u64));
        put_u16(out, language);
        put_u16(out, 0);
    });
    Ok(true)
}

/// Appends rows of (count, value), equal neighbours as one, and sets their number.
struct Runs {
    count_at: usize,
    rows: u32,
    run: Option<(u32, u32)>,
}

impl Runs {
    fn new(out: &mut Vec<u8>) -> Runs {
        let count_at = out.len();
        put_u32(out, 0);
        Runs { count_at, rows: 0, run: None }
    }

    fn push(&mut self, out: &mut Vec<u8>, value: u32) {
        match &mut self.run {
            Some((count, same)) if *same == value => *count += 1,
            run => {
                if let Some((count, value)) = run.replace((1, value)) {
                    self.row(out, count, value);
                }
            }
        }
    }

    fn row(&mut self, out: &mut Vec<u8>, count: u32, value: u32) {
        put_u32(out, count);
        put_u32(out, value);
        self.rows += 1;
    }

    fn end(mut self, out: &mut Vec<u8>) {
        if let Some((count, value)) = self.run.take() {
            self.row(out, count, value);
        }
        out[self.count_at..self.count_at + 4].copy_from_slice(&self.rows.to_be_bytes());
    }
}

/// Everything but where chunks are (§8.6.1, §8.6.2, §8.7.3, §8.7.4).
fn tables(out: &mut Vec<u8>, track: &MovieTrack<'_>) {
    let fragments = track.fragments;
    let samples = || fragments.iter().flat_map(|fragment| track.samples_of(fragment));
    full_boxed(out, b"stts", 0, 0, |out| {
        let mut runs = Runs::new(out);
        let mut time = 0_u64;
        let mut push = |out: &mut Vec<u8>, duration: u32| {
            let start = time;
            time = time.saturating_add(duration.into());
            // What is rounded does not add up.
            let lasts = track.on_clock(time).saturating_sub(track.on_clock(start));
            runs.push(out, if track.clock == track.timescale { duration } else { lasts as u32 });
        };
        for (at, fragment) in fragments.iter().enumerate() {
            // A hole before the next fragment belongs to the last sample.
            let next = fragments.get(at + 1).map_or(fragment.decode_end(), Fragment::decode_time);
            let hole = u32::try_from(next.0.saturating_sub(fragment.decode_end().0)).unwrap_or(0);
            if let Some((last, rest)) = track.samples_of(fragment).split_last() {
                rest.iter().for_each(|sample| push(out, sample.duration.get()));
                push(out, last.duration.get().saturating_add(hole));
            }
        }
        runs.end(out);
    });
    if samples().any(|sample| track.offset(sample) != 0) {
        let negative = samples().any(|sample| track.offset(sample) < 0);
        full_boxed(out, b"ctts", u8::from(negative), 0, |out| {
            let mut runs = Runs::new(out);
            samples().for_each(|sample| runs.push(out, track.offset(sample) as u32));
            runs.end(out);
        });
    }
    let is_sync = |sample: &Sample| sample.flags.get() & FLAG_NON_SYNC == 0;
    if !samples().all(is_sync) {
        full_boxed(out, b"stss", 0, 0, |out| {
            let count_at = out.len();
            put_u32(out, 0);
            let mut count = 0_u32;
            for (number, sample) in samples().enumerate() {
                if is_sync(sample) {
                    put_u32(out, number as u32 + 1);
                    count += 1;
                }
            }
            out[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
        });
    }
    let count = samples().count() as u32;
    let size = samples().next().map_or(0, |first| first.size.get());
    full_boxed(out, b"stsz", 0, 0, |out| {
        if size != 0 && samples().all(|sample| sample.size.get() == size) {
            put_u32(out, size);
            put_u32(out, count);
        } else {
            put_u32(out, 0);
            put_u32(out, count);
            samples().for_each(|sample| put_u32(out, sample.size.get()));
        }
    });
    full_boxed(out, b"stsc", 0, 0, |out| {
        let count_at = out.len();
        put_u32(out, 0);
        let (mut rows, mut before) = (0_u32, None);
        for (number, fragment) in fragments.iter().enumerate() {
            if before != Some(fragment.sample_count) {
                put_u32(out, number as u32 + 1);
                put_u32(out, fragment.sample_count.get());
                put_u32(out, 1);
                rows += 1;
                before = Some(fragment.sample_count);
            }
        }
        out[count_at..count_at + 4].copy_from_slice(&rows.to_be_bytes());
    });
}

#[cfg(test)]
mod tests {
    use mp4_atom::{Moov, ReadFrom};

    use super::*;
    use crate::media::Kind;
    use crate::media::fragment::Start;
    use crate::media::isobmff::write::{Header, header};

    const KEY: u32 = 0x0200_0000;
    const INTER: u32 = 0x0101_0000;

    fn sample(size: u32, duration: u32, composition_offset: i32, flags: u32) -> Sample {
        Sample {
            size: size.into(),
            duration: duration.into(),
            composition_offset: composition_offset.into(),
            flags: flags.into(),
        }
    }

    /// Fragments of `counts` samples each, the first at `time`, the others behind each other but for a hole before the last.
    fn fragments(samples: &[Sample], counts: &[u32], mut time: u64, hole: u64) -> Vec<Fragment> {
        let mut first = 0;
        let mut rows = Vec::new();
        for (at, &count) in counts.iter().enumerate() {
            let of = &samples[first as usize..(first + count) as usize];
            let duration: u64 = of.iter().map(|sample| u64::from(sample.duration.get())).sum();
            time += if at > 0 && at + 1 == counts.len() { hole } else { 0 };
            rows.push(Fragment {
                offset: 0.into(),
                decode_time: time.into(),
                duration: duration.into(),
                size: 0.into(),
                media_offset: 0.into(),
                key_frame_size: 0.into(),
                first_sample: first.into(),
                sample_count: count.into(),
                slot: (at as u32).into(),
                start: (Start::Closed as u32).into(),
                file: 0.into(),
            });
            first += count;
            time += duration;
        }
        rows
    }

    fn stored(kind: Kind, timescale: u32) -> Vec<u8> {
        let entry = [&[0, 0, 0, 8][..], b"tst1"].concat();
        header(&Header {
            timescale: Timescale::new(timescale).unwrap(),
            sample_entry: &entry,
            kind,
            language: "en",
            name: Some("English"),
            media_start: 0,
            width: 640,
            height: 360,
            matrix: Matrix::default(),
            default_duration: 1,
            fragment_duration_hint: None,
        })
    }

    #[test]
    fn another_reader_reads_what_was_written() {
        let (picture, sound) = (stored(Kind::Video, 1_000), stored(Kind::Audio, 500));
        let pictures =
            [sample(100, 40, 80, KEY), sample(10, 40, -40, INTER), sample(20, 40, 0, INTER), sample(90, 40, 0, KEY)];
        let sounds = [sample(7, 10, 0, KEY); 5];
        let (rows, other) = (fragments(&pictures, &[3, 1], 5_000, 20), fragments(&sounds, &[2, 3], 0, 0));
        let track = |header, timescale, fragments, samples, offset| MovieTrack {
            header,
            timescale: Timescale::new(timescale).unwrap(),
            clock: Timescale::new(timescale).unwrap(),
            fragments,
            samples,
            presentation_offset: Ticks(offset),
            reorder: Ticks(0),
            enabled: true,
            alternate_group: 1,
        };
        let tracks = [
            // Time 0 is 80 ticks into the track; the other begins 15 ticks late.
            track(picture.as_slice(), 1_000, rows.as_slice(), pictures.as_slice(), -5_080),
            track(sound.as_slice(), 500, other.as_slice(), sounds.as_slice(), 15),
        ];
        let sizes = [(0, 130), (1, 14), (0, 90), (1, 21)];
        let chunks = sizes.map(|(track, bytes)| MovieChunk { track, bytes });
        let file = movie(&tracks, &chunks).unwrap();
        let head = file.len() as u32;
        let mut rest = file.as_slice();
        mp4_atom::Ftyp::read_from(&mut rest).unwrap();
        let moov = Moov::read_from(&mut rest).unwrap();
        assert_eq!(rest, [&[0, 0, 1, 7][..], b"mdat"].concat());
        let [video, audio] = &moov.trak[..] else { panic!("{} tracks", moov.trak.len()) };
        assert_eq!((video.tkhd.track_id, audio.tkhd.track_id, moov.mvhd.next_track_id), (1, 2, 3));
        assert_eq!((u32::from(video.tkhd.width.integer()), audio.mdia.mdhd.timescale), (640, 500));
        assert_eq!(audio.mdia.mdhd.language, "eng");
        let stbl = &video.mdia.minf.stbl;
        let rows = stbl.stts.entries.iter().map(|row| (row.sample_count, row.sample_delta)).collect::<Vec<_>>();
        assert_eq!(rows, [(2, 40), (1, 60), (1, 40)], "the hole belongs to the sample before");
        let offsets = stbl.ctts.as_ref().unwrap().entries.iter().map(|row| (row.sample_count, row.sample_offset));
        assert_eq!(offsets.collect::<Vec<_>>(), [(1, 80), (1, -40), (2, 0)]);
        assert_eq!(stbl.stss.as_ref().unwrap().entries, [1, 4]);
        assert_eq!(stbl.stco.as_ref().unwrap().entries, [head, head + 144]);
        let edits = |trak: &mp4_atom::Trak| {
            let rows = trak.edts.as_ref().unwrap().elst.as_ref().unwrap().entries.clone();
            rows.iter().map(|row| (row.segment_duration, row.media_time)).collect::<Vec<_>>()
        };
        // The last picture ends at 180, of which 80 are not presented; 30 ms before the sound, which lasts 100.
        assert_eq!(edits(video), [(100, Some(80))]);
        assert_eq!(edits(audio), [(30, None), (100, Some(0))]);
        assert_eq!((moov.mvhd.duration, audio.tkhd.duration), (130, 130));
        let stbl = &audio.mdia.minf.stbl;
        assert!(stbl.ctts.is_none() && stbl.stss.is_none());
        assert_eq!(stbl.stsc.entries.len(), 2);
        assert_eq!(stbl.stco.as_ref().unwrap().entries, [head + 130, head + 234]);
    }

    /// 1024 samples of sound in ticks of 100 ns, of which a frame is hidden.
    #[test]
    fn time_is_counted_on_the_clock_of_the_file() {
        let sound = stored(Kind::Audio, 10_000_000);
        let samples = [213_333, 213_333, 213_334, 213_333].map(|ticks| sample(7, ticks, 0, KEY));
        let rows = fragments(&samples, &[2, 2], 0, 0);
        let track = MovieTrack {
            header: &sound,
            timescale: Timescale::new(10_000_000).unwrap(),
            clock: Timescale::new(48_000).unwrap(),
            fragments: &rows,
            samples: &samples,
            presentation_offset: Ticks(-213_333),
            reorder: Ticks(0),
            enabled: true,
            alternate_group: 2,
        };
        let file = movie(&[track], &[MovieChunk { track: 0, bytes: 14 }; 2]).unwrap();
        let mut rest = file.as_slice();
        mp4_atom::Ftyp::read_from(&mut rest).unwrap();
        let moov = Moov::read_from(&mut rest).unwrap();
        let trak = &moov.trak[0];
        assert_eq!((trak.mdia.mdhd.timescale, trak.mdia.mdhd.duration), (48_000, 4_096));
        let rows = trak.mdia.minf.stbl.stts.entries.iter().map(|row| (row.sample_count, row.sample_delta));
        assert_eq!(rows.collect::<Vec<_>>(), [(4, 1_024)]);
        let edits = &trak.edts.as_ref().unwrap().elst.as_ref().unwrap().entries;
        assert_eq!((edits.len(), edits[0].media_time), (1, Some(1_024)));
    }

    #[test]
    fn more_than_32_bits_have_64() {
        let picture = stored(Kind::Video, 1_000);
        let samples = [sample(1, 40, 0, KEY); 2];
        let rows = fragments(&samples, &[1, 1], 0, 0);
        let track = MovieTrack {
            header: &picture,
            timescale: Timescale::MILLIS,
            clock: Timescale::MILLIS,
            fragments: &rows,
            samples: &samples,
            presentation_offset: Ticks(0),
            reorder: Ticks(0),
            enabled: true,
            alternate_group: 1,
        };
        let chunks = [MovieChunk { track: 0, bytes: 3 << 30 }; 2];
        let file = movie(&[track], &chunks).unwrap();
        let mut rest = file.as_slice();
        mp4_atom::Ftyp::read_from(&mut rest).unwrap();
        let moov = Moov::read_from(&mut rest).unwrap();
        assert_eq!(rest, [&[0, 0, 0, 1][..], b"mdat", &((6_u64 << 30) + 16).to_be_bytes()].concat());
        let head = file.len() as u64;
        assert_eq!(moov.trak[0].mdia.minf.stbl.co64.as_ref().unwrap().entries, [head, head + (3 << 30)]);
        assert!(moov.trak[0].edts.is_none());
    }

    #[test]
    fn a_header_that_is_none_is_an_error() {
        let picture = stored(Kind::Video, 1_000);
        for cut in 0..picture.len() {
            let track = MovieTrack {
                header: &picture[..cut],
                timescale: Timescale::MILLIS,
                clock: Timescale::MILLIS,
                fragments: &[],
                samples: &[],
                presentation_offset: Ticks(0),
                reorder: Ticks(0),
                enabled: true,
                alternate_group: 1,
            };
            assert!(movie(&[track], &[]).is_err(), "{cut}");
        }
    }
}
