//! Recordings that are older than they are: a window of a day, without waiting for a day.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use headwater::media::broadcast::SegmentRow;
use headwater::media::track::Kind;
use headwater::store::{ChannelDir, Journal};

/// Of a window of 24 hours each file holds an hour.
pub const HOURS: u64 = 23;
const SEGMENT_SECONDS: u64 = 2;
const SEGMENTS_EACH: u64 = 3_600 / SEGMENT_SECONDS;
const TICKS: u64 = 90_000;

/// Puts [`HOURS`] of files before what a channel has recorded, as it would have recorded them. Their media is a hole: nobody
/// reads it, and only its length is looked at.
pub fn age(live: &Path, channel: &str) -> Result<()> {
    let directory = ChannelDir::new(live, channel)?;
    let files = directory.all_files()?;
    let [newest] = &files[..] else { anyhow::bail!("{channel} has {} files, expected one", files.len()) };
    ensure!(newest.kind == Kind::Video, "{channel} has recorded {:?}", newest.kind);
    let rows = Journal::open(&newest.journal)?;
    let (first, size) = rows.first().map(|row| (*row, row.size.get())).context("a segment")?;
    ensure!(
        first.time.get() == newest.first * SEGMENT_SECONDS * TICKS,
        "segment {} is not where it should be",
        newest.first
    );
    let header = fs::read(&newest.media)?[..first.offset.get() as usize].to_vec();
    for hour in 1..=HOURS {
        let number = newest.first - hour * SEGMENTS_EACH;
        let files = directory.files(&newest.track, number, newest.kind)?;
        fs::write(&files.media, &header)?;
        let journal = Journal::create(&files.journal)?;
        let mut bytes = Vec::new();
        let mut offset = header.len() as u64;
        for number in number..number + SEGMENTS_EACH {
            let row = SegmentRow {
                number: number.into(),
                offset: offset.into(),
                time: (number * SEGMENT_SECONDS * TICKS).into(),
                ..first
            };
            bytes.extend(Journal::encode(row));
            offset += u64::from(size);
        }
        fs::File::options().write(true).open(&files.media)?.set_len(offset)?;
        let file = journal.file();
        file.writer()?.write_all_at(&bytes, headwater::base::Stored::len(&**file))?;
    }
    let mut state: serde_json::Value = serde_json::from_slice(&directory.state()?.context("a state")?)?;
    state["origin"] = (newest.first - HOURS * SEGMENTS_EACH).into();
    Ok(directory.save_state(&serde_json::to_vec(&state)?)?)
}

/// Segments of [`age`].
pub fn segments() -> u64 {
    HOURS * SEGMENTS_EACH
}
