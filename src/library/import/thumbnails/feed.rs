//! The pictures that are decoded, as one fragmented MP4: the track file's header, and of each fragment its first samples.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::{FromZeros, IntoBytes};

use crate::base::units::rescale_nearest;
use crate::base::{Ticks, Timescale};
use crate::library::asset::reorder;
use crate::library::import::output::Finished;
use crate::media::isobmff::write::fragment_header;
use crate::media::{Fragment, Sample};

/// A finished track file, read back.
pub struct Feed<'a> {
    track: &'a Finished,
    file: File,
    header: Vec<u8>,
    /// As in [`crate::media::TrackView`].
    reorder: Ticks,
}

/// Bytes that are read and written at once.
const PIECE_BYTES: usize = 256 * 1024;

impl<'a> Feed<'a> {
    pub fn new(track: &'a Finished, file: File) -> io::Result<Feed<'a>> {
        let mut header = vec![0; track.init_size as usize];
        file.read_exact_at(&mut header, 0)?;
        let reorder = reorder(&header, track.track.presentation_offset);
        Ok(Feed { track, file, header, reorder })
    }

    /// When the key frame of each fragment is shown, in microseconds.
    pub fn keys(&self) -> io::Result<Vec<i64>> {
        let key = |fragment: &Fragment| Ok(self.shown(fragment, self.rows(fragment, 1)?.first().into_iter())[0]);
        self.track.fragments.iter().map(key).collect()
    }

    /// Samples of a fragment. Pictures are shown in another order than they are decoded in, so that none can be left out before
    /// the end.
    pub fn count(&self, fragment: usize) -> u32 {
        self.track.fragments[fragment].sample_count.get()
    }

    /// Bytes of media that go with so many samples of each fragment.
    pub fn size(&self, samples: &[u32]) -> io::Result<u64> {
        let taken = self.track.fragments.iter().zip(samples).filter(|(_, count)| **count > 0);
        let size = |(fragment, &count): (&Fragment, &u32)| Ok(media_bytes(&self.rows(fragment, count)?));
        taken.map(size).sum()
    }

    /// Writes header and fragments; `samples` says how many of each. What was written is counted as it goes.
    pub fn write(&self, samples: &[u32], out: &mut dyn Write, written: &AtomicU64) -> io::Result<()> {
        out.write_all(&self.header)?;
        let (mut head, mut buffer) = (Vec::new(), vec![0; PIECE_BYTES]);
        for (number, (fragment, &count)) in self.track.fragments.iter().zip(samples).enumerate() {
            if count == 0 {
                continue;
            }
            let mut rows = self.rows(fragment, count)?;
            for row in &mut rows {
                let stored = i64::from(row.composition_offset.get()).saturating_add(self.reorder.0);
                row.composition_offset = i32::try_from(stored).unwrap_or(i32::MAX).into();
            }
            head.clear();
            fragment_header(number as u32 + 1, fragment.decode_time.get(), &rows, &mut head)
                .map_err(io::Error::other)?;
            out.write_all(&head)?;
            let mut at = fragment.offset.get() + u64::from(fragment.media_offset.get());
            let mut left = media_bytes(&rows);
            while left > 0 {
                let piece = &mut buffer[..left.min(PIECE_BYTES as u64) as usize];
                self.file.read_exact_at(piece, at)?;
                out.write_all(piece)?;
                (at, left) = (at + piece.len() as u64, left - piece.len() as u64);
                written.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// The first rows of a fragment in the sample table.
    fn rows(&self, fragment: &Fragment, count: u32) -> io::Result<Vec<Sample>> {
        let mut rows = vec![Sample::new_zeroed(); count.min(fragment.sample_count.get()) as usize];
        let at = u64::from(fragment.first_sample.get()) * size_of::<Sample>() as u64;
        self.track.samples.read_exact_at(rows.as_mut_bytes(), at)?;
        Ok(rows)
    }

    /// When samples that follow each other from the start of a fragment are shown, in microseconds.
    fn shown<'r>(&self, fragment: &Fragment, rows: impl Iterator<Item = &'r Sample>) -> Vec<i64> {
        let track = &self.track.track;
        let mut decode_time = fragment.decode_time().0.saturating_add(track.presentation_offset.0);
        let shown = |row: &Sample| {
            let time = Ticks(decode_time.saturating_add(i64::from(row.composition_offset.get())));
            decode_time = decode_time.saturating_add(i64::from(row.duration.get()));
            rescale_nearest(time, track.timescale, Timescale::MICROS).map_or(i64::MAX, |time| time.0)
        };
        rows.map(shown).collect()
    }
}

fn media_bytes(rows: &[Sample]) -> u64 {
    rows.iter().map(|row| u64::from(row.size.get())).sum()
}
