//! Writing an index, as `layout` draws it. Sample tables are copied from where the importer kept them, so that a track of
//! any length needs no memory for them.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use zerocopy::{FromZeros, IntoBytes};

use super::layout::{
    CHECKED_FROM, FileRecord, Header, MAGIC, READ_VERSION, ShortText, THUMBNAILS, Table, Text, ThumbnailRecord,
    TrackRecord, present,
};
use crate::media::thumbnails::{Grid, Sheet};
use crate::media::track::{Details, Role, VideoRange};
use crate::media::{Cue, Fragment, Sample, Track, captions};

/// One track to be written.
pub struct Entry<'a> {
    pub track: &'a Track,
    pub file_size: u64,
    pub init_size: u32,
    /// BLAKE3 of the track file.
    pub digest: [u8; 32],
    pub fragments: &'a [Fragment],
    /// [`Sample`] records, read from where the reader stands.
    pub samples: Box<dyn Read + 'a>,
    pub sample_count: u32,
    pub cues: &'a [Cue],
    /// Of a recorded track all its files; `file_size` and `digest` are those of the first.
    pub files: &'a [FileRecord],
}

/// Thumbnails to be written.
#[derive(Clone, Copy)]
pub struct ThumbnailEntry<'a> {
    pub id: &'a str,
    pub grid: Grid,
    pub sheets: &'a [Sheet],
    pub file_size: u64,
    /// BLAKE3 of the file of sheets.
    pub digest: [u8; 32],
}

/// Writes and syncs the index. Returns the BLAKE3 of everything the checksum covers: the content's identity.
pub fn write(path: &Path, entries: &mut [Entry<'_>], thumbnails: Option<ThumbnailEntry<'_>>) -> io::Result<[u8; 32]> {
    let mut strings = String::new();
    let mut records: Vec<TrackRecord> = entries.iter().map(|entry| record(entry, &mut strings)).collect();
    let mut last = thumbnails.map(|thumbnails| thumbnail_record(&thumbnails, &mut strings));
    let count = records.len() + usize::from(last.is_some());
    let mut at = (size_of::<Header>() + size_of::<TrackRecord>() * count + strings.len()) as u64;
    for (record, entry) in records.iter_mut().zip(entries.iter()) {
        record.fragments = table::<Fragment>(&mut at, entry.fragments.len())?;
        record.samples = table::<Sample>(&mut at, entry.sample_count as usize)?;
        record.cues = table::<Cue>(&mut at, entry.cues.len())?;
        if !entry.files.is_empty() {
            record.files = table::<FileRecord>(&mut at, entry.files.len())?;
        }
    }
    let sheets = thumbnails.map_or(&[][..], |thumbnails| thumbnails.sheets);
    if let Some(last) = &mut last {
        last.sheets = table::<Sheet>(&mut at, sheets.len())?;
    }
    let mut header = Header {
        magic: MAGIC,
        format: READ_VERSION.into(),
        tracks: u16::try_from(count).map_err(|_| too_large("tracks"))?.into(),
        checksum: 0.into(),
        length: at.into(),
        strings: u32::try_from(strings.len()).map_err(|_| too_large("strings"))?.into(),
        reserved: 0.into(),
    };
    let file = File::create_new(path)?;
    let mut out =
        Checked { out: BufWriter::with_capacity(1 << 20, file), crc: Default::default(), hash: blake3::Hasher::new() };
    out.out.write_all(&header.as_bytes()[..CHECKED_FROM])?;
    out.write(&header.as_bytes()[CHECKED_FROM..])?;
    out.write(records.as_bytes())?;
    last.iter().try_for_each(|last| out.write(last.as_bytes()))?;
    out.write(strings.as_bytes())?;
    let mut buffer = vec![0; 1 << 16];
    for entry in entries {
        out.write(entry.fragments.as_bytes())?;
        let mut left = u64::from(entry.sample_count) * size_of::<Sample>() as u64;
        while left > 0 {
            let want = left.min(buffer.len() as u64) as usize;
            entry.samples.read_exact(&mut buffer[..want])?;
            out.write(&buffer[..want])?;
            left -= want as u64;
        }
        out.write(entry.cues.as_bytes())?;
        out.write(entry.files.as_bytes())?;
    }
    out.write(sheets.as_bytes())?;
    let (crc, hash) = (out.crc.finalize(), out.hash.finalize().into());
    let mut file = out.out.into_inner().map_err(io::IntoInnerError::into_error)?;
    header.checksum = crc.into();
    file.seek(SeekFrom::Start(0))?;
    file.write_all(header.as_bytes())?;
    file.sync_all()?;
    Ok(hash)
}

struct Checked {
    out: BufWriter<File>,
    crc: crc32fast::Hasher,
    hash: blake3::Hasher,
}

impl Checked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }
}

fn too_large(what: &str) -> io::Error {
    io::Error::other(format!("too many {what} for one index"))
}

fn table<Row>(at: &mut u64, rows: usize) -> io::Result<Table> {
    let table = Table { offset: (*at).into(), rows: u32::try_from(rows).map_err(|_| too_large("rows"))?.into() };
    *at += (rows * size_of::<Row>()) as u64;
    Ok(table)
}

/// Adds a string to the string area.
fn text(value: &str, strings: &mut String) -> Text {
    let at = Text { offset: (strings.len() as u32).into(), len: (value.len() as u32).into() };
    strings.push_str(value);
    at
}

fn thumbnail_record(thumbnails: &ThumbnailEntry<'_>, strings: &mut String) -> ThumbnailRecord {
    let grid = thumbnails.grid;
    ThumbnailRecord {
        file_size: thumbnails.file_size.into(),
        digest: thumbnails.digest,
        width: grid.width.into(),
        height: grid.height.into(),
        columns: grid.columns.into(),
        rows: grid.rows.into(),
        interval_millis: u32::try_from(grid.interval.as_millis()).unwrap_or(u32::MAX).into(),
        count: grid.count.into(),
        id: text(thumbnails.id, strings),
        kind: THUMBNAILS,
        ..ThumbnailRecord::new_zeroed()
    }
}

fn record(entry: &Entry<'_>, strings: &mut String) -> TrackRecord {
    let mut text = |value: &str| text(value, strings);
    let track = entry.track;
    let mut record = TrackRecord {
        file_size: entry.file_size.into(),
        digest: entry.digest,
        presentation_offset: track.presentation_offset.0.into(),
        timescale: track.timescale.per_second().into(),
        init_size: entry.init_size.into(),
        id: text(&track.id),
        codec: text(&track.codec),
        language: text(&track.language),
        role: match track.role {
            Role::Main => 0,
            Role::Alternate => 1,
            Role::Commentary => 2,
            Role::Description => 3,
            Role::Forced => 4,
            Role::Caption => 5,
        },
        ..TrackRecord::new_zeroed()
    };
    if let Some(name) = &track.name {
        record.name = text(name);
        record.present |= present::NAME;
    }
    match &track.details {
        Details::Video(video) => {
            let pair = |(a, b): (u32, u32)| [a.into(), b.into()];
            record.kind = 0;
            record.width = video.width.into();
            record.height = video.height.into();
            record.pixel_aspect = pair(video.pixel_aspect);
            record.frame_rate = pair(video.frame_rate);
            record.range = match video.range {
                VideoRange::Sdr => 0,
                VideoRange::Hlg => 1,
                VideoRange::Pq => 2,
            };
            record.bit_depth = video.bit_depth;
            record.colour = [video.colour.0, video.colour.1, video.colour.2];
            if let Some(codec) = &video.supplemental_codec {
                record.supplemental_codec = text(codec);
                record.present |= present::SUPPLEMENTAL_CODEC;
            }
            if !video.captions.is_empty() {
                // At most 67 channels of at most 45 bytes each.
                let Text { offset, len } = text(&captions::write(&video.captions));
                record.captions = ShortText { offset, len: (len.get() as u16).into() };
            }
        }
        Details::Audio(audio) => {
            record.kind = 1;
            record.sample_rate = audio.sample_rate.into();
            record.channels = audio.channels.into();
            record.channel_configuration = audio.channel_configuration;
            if let Some(channels) = audio.dolby_channels {
                record.dolby_channels = channels.into();
                record.present |= present::DOLBY_CHANNELS;
            }
            if let Some(objects) = audio.joint_objects {
                record.joint_objects = objects;
                record.present |= present::JOINT_OBJECTS;
            }
        }
        Details::Text => record.kind = 2,
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Ticks, Timescale};
    use crate::media::fragment::Start;
    use crate::media::track::{Audio, Video};
    use crate::store::index::{Error, Index, parse};
    use proptest::prelude::*;
    use std::time::Duration;

    fn tracks() -> Vec<Track> {
        let track = |id: &str, details| Track {
            id: id.into(),
            timescale: Timescale::MPEG,
            codec: "avc1.64001f".into(),
            language: "en".into(),
            name: Some("Englisch".into()),
            role: Role::Commentary,
            presentation_offset: Ticks(-1_024),
            details,
        };
        vec![
            track(
                "v1",
                Details::Video(Video {
                    width: 1_280,
                    height: 720,
                    pixel_aspect: (4, 3),
                    frame_rate: (30_000, 1_001),
                    range: VideoRange::Hlg,
                    bit_depth: 10,
                    colour: (9, 18, 9),
                    supplemental_codec: Some("dvh1.08.07/db4h".into()),
                    captions: captions::read("CC1=en SERVICE2=pt-BR").unwrap(),
                }),
            ),
            track(
                "a1",
                Details::Audio(Audio {
                    sample_rate: 48_000,
                    channels: 6,
                    channel_configuration: 6,
                    dolby_channels: Some(0xf801),
                    joint_objects: Some(16),
                }),
            ),
            Track { name: None, ..track("t1", Details::Text) },
        ]
    }

    fn fragments() -> (Vec<Fragment>, Vec<Sample>) {
        let samples: Vec<Sample> = (0..6)
            .map(|number| Sample {
                size: (10 + number).into(),
                duration: 3_000.into(),
                composition_offset: (-500 + number as i32).into(),
                flags: 0x0101_0000.into(),
            })
            .collect();
        let (mut offset, mut fragments) = (700_u64, Vec::new());
        for (slot, rows) in samples.chunks(2).enumerate() {
            let media: u32 = rows.iter().map(|sample| sample.size.get()).sum();
            fragments.push(Fragment {
                offset: offset.into(),
                decode_time: (slot as u64 * 6_000).into(),
                duration: 6_000.into(),
                size: (media + 100).into(),
                media_offset: 100.into(),
                key_frame_size: rows[0].size,
                first_sample: (slot as u32 * 2).into(),
                sample_count: 2.into(),
                slot: (slot as u32 * 3).into(),
                start: (if slot == 1 { Start::Open } else { Start::Closed } as u32).into(),
                file: 0.into(),
            });
            offset += u64::from(media + 100);
        }
        (fragments, samples)
    }

    fn cues() -> Vec<Cue> {
        let cue = |start: u64, end: u64, end_max: u64| Cue {
            start: start.into(),
            end: end.into(),
            offset: 8.into(),
            size: 20.into(),
            end_max: end_max.into(),
        };
        vec![cue(0, 5_000, 5_000), cue(1_000, 2_000, 5_000)]
    }

    fn sheets() -> Vec<Sheet> {
        let sheet = |(offset, size): (u64, u32)| Sheet { offset: offset.into(), size: size.into(), reserved: 0.into() };
        [(0, 70_000), (70_000, 30_000)].map(sheet).to_vec()
    }

    const GRID: Grid =
        Grid { width: 320, height: 180, columns: 3, rows: 6, interval: Duration::from_millis(2_500), count: 19 };

    /// Writes an index of three tracks and thumbnails, `change`d before.
    fn written(change: impl FnOnce(&mut Vec<Fragment>, &mut Vec<Sample>, &mut Vec<Cue>)) -> Vec<u8> {
        let sheets = sheets();
        let thumbnails = ThumbnailEntry { id: "i1", grid: GRID, sheets: &sheets, file_size: 100_000, digest: [8; 32] };
        written_with(change, Some(thumbnails))
    }

    fn written_with(
        change: impl FnOnce(&mut Vec<Fragment>, &mut Vec<Sample>, &mut Vec<Cue>),
        thumbnails: Option<ThumbnailEntry<'_>>,
    ) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index");
        let tracks = tracks();
        let ((mut fragments, mut samples), mut cues) = (fragments(), cues());
        let file_size = fragments.last().unwrap().end_offset();
        change(&mut fragments, &mut samples, &mut cues);
        let mut entries: Vec<Entry<'_>> = tracks
            .iter()
            .map(|track| {
                let text = track.id == "t1";
                Entry {
                    track,
                    file_size: if text { 50 } else { file_size },
                    init_size: if text { 0 } else { 700 },
                    digest: [7; 32],
                    fragments: if text { &[] } else { &fragments },
                    samples: if text { Box::new(io::empty()) } else { Box::new(samples.as_bytes()) },
                    sample_count: if text { 0 } else { samples.len() as u32 },
                    cues: if text { &cues } else { &[] },
                    files: &[],
                }
            })
            .collect();
        write(&path, &mut entries, thumbnails).unwrap();
        std::fs::read(path).unwrap()
    }

    /// With the checksum put right, so that the checks behind it are reached.
    fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let crc = crc32fast::hash(&bytes[CHECKED_FROM..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index");
        std::fs::write(&path, written(|_, _, _| {})).unwrap();
        let index = Index::open(&path).unwrap();
        let read: Vec<Track> = index.tracks().iter().map(|indexed| indexed.track.clone()).collect();
        assert_eq!(read, tracks());
        let (fragments, samples) = fragments();
        for number in [0, 1] {
            assert_eq!(index.fragments(&index.tracks()[number]), fragments);
            assert_eq!(index.samples(&index.tracks()[number]), samples);
        }
        assert_eq!(index.cues(&index.tracks()[2]), cues());
        assert_eq!((index.tracks()[0].init_size, index.tracks()[0].digest), (700, [7; 32]));
        let thumbnails = index.thumbnails().unwrap();
        assert_eq!((thumbnails.id.as_str(), thumbnails.grid, thumbnails.digest), ("i1", GRID, [8; 32]));
        assert_eq!((index.sheets(thumbnails), thumbnails.file_size), (&sheets()[..], 100_000));
        std::fs::write(&path, written_with(|_, _, _| {}, None)).unwrap();
        assert!(Index::open(&path).unwrap().thumbnails().is_none());
    }

    #[test]
    fn thumbnails_that_make_no_sense_are_refused() {
        let good = sheets();
        let sheet = |offset: u64, size: u32| Sheet { offset: offset.into(), size: size.into(), reserved: 0.into() };
        let (hole, empty) = ([sheet(0, 1), sheet(2, 99_998)], [sheet(0, 100_000), sheet(100_000, 0)]);
        let entry = ThumbnailEntry { id: "i1", grid: GRID, sheets: &good, file_size: 100_000, digest: [8; 32] };
        let grid = |grid: Grid| ThumbnailEntry { grid, ..entry };
        for (want, entry) in [
            ("id \"t1\", expected i", ThumbnailEntry { id: "t1", ..entry }),
            ("2 sheets, 18 thumbnails take 1", grid(Grid { count: 18, ..GRID })),
            ("2 sheets, 37 thumbnails take 3", grid(Grid { count: 37, ..GRID })),
            ("count: 0", grid(Grid { count: 0, ..GRID })),
            ("interval: 0ns", grid(Grid { interval: Duration::ZERO, ..GRID })),
            ("at most 10000 thumbnails", grid(Grid { count: 10_001, ..GRID })),
            ("columns: 0", grid(Grid { columns: 0, ..GRID })),
            ("width: 1366", grid(Grid { width: 1_366, ..GRID })),
            ("height: 4294967295", grid(Grid { height: u32::MAX, ..GRID })),
            ("sheets end at byte 100000 of 99999", ThumbnailEntry { file_size: 99_999, ..entry }),
            ("sheet 1 of 99998 bytes at byte 2, not at 1", ThumbnailEntry { sheets: &hole, ..entry }),
            ("sheet 1 of 0 bytes", ThumbnailEntry { sheets: &empty, ..entry }),
        ] {
            let error = parse(Path::new("/x/index"), &written_with(|_, _, _| {}, Some(entry))).err().unwrap();
            let error = error.to_string();
            assert!(error.contains(want) && error.starts_with("/x/index: record of thumbnails: "), "{want}: {error}");
        }
    }

    #[test]
    fn an_index_tells_when_it_has_to_be_read_in_and_when_it_was_truncated() {
        // Not in /tmp: a memory file system has no cold pages.
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = directory.path().join("index");
        std::fs::write(&path, written(|_, _, _| {})).unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
        let index = Index::open(&path).unwrap();
        assert!(index.is_whole() && index.is_resident());
        index.forget();
        assert!(!index.is_resident());
        index.read_in().unwrap();
        assert!(index.is_resident());
        File::options().write(true).open(&path).unwrap().set_len(1_000).unwrap();
        assert!(!index.is_whole());
    }

    type Change = fn(&mut Vec<Fragment>, &mut Vec<Sample>, &mut Vec<Cue>);

    #[test]
    fn records_that_make_no_sense_are_refused() {
        let cases: &[(&str, Change)] = &[
            ("no fragments", |fragments, samples, _| (fragments.clear(), samples.clear()).0),
            ("slot out of order", |fragments, _, _| fragments[1].slot = 0.into()),
            ("slot out of order", |fragments, _, _| fragments[2].slot = u32::MAX.into()),
            ("offset", |fragments, _, _| fragments[1].offset = 5.into()),
            ("behind the track file", |fragments, _, _| fragments[2].size = u32::MAX.into()),
            ("decode time out of order", |fragments, _, _| fragments[2].decode_time = 6_001.into()),
            ("out of range", |fragments, _, _| fragments[2].decode_time = u64::MAX.into()),
            ("media outside", |fragments, _, _| fragments[0].media_offset = 5_000.into()),
            ("media outside", |fragments, _, _| fragments[0].key_frame_size = 5_000.into()),
            ("sample rows", |fragments, _, _| fragments[2].sample_count = 3.into()),
            ("sample rows", |fragments, _, _| fragments[2].first_sample = 0.into()),
            ("fill the media", |_, samples, _| samples[0].size = 1.into()),
            ("fill the duration", |_, samples, _| samples[0].duration = 1.into()),
            ("unknown start", |fragments, _, _| fragments[0].start = 2.into()),
            ("fragments have", |_, samples, _| samples.push(samples[0])),
            ("cue 1", |_, _, cues| cues[1].end_max = 2_000.into()),
            ("cue 0", |_, _, cues| cues.swap(0, 1)),
            ("cue 0", |_, _, cues| cues[0].size = 43.into()),
        ];
        for (want, change) in cases {
            let error = parse(Path::new("/x/index"), &written(change)).err().unwrap().to_string();
            assert!(error.contains(want) && error.starts_with("/x/index: "), "{want}: {error}");
        }
    }

    #[test]
    fn damage_is_found() {
        let good = written(|_, _, _| {});
        let path = Path::new("index");
        assert!(parse(path, &good).is_ok());
        for len in 0..good.len() {
            assert!(matches!(parse(path, &good[..len]), Err(Error::Length { .. })), "{len}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert!(parse(path, &bad).is_err(), "byte {at}");
        }
        let mut newer = good.clone();
        newer[8] = 2;
        let error = parse(path, &newer).err().unwrap();
        assert_eq!(error.to_string(), "index: index format 2, this build reads 1; import the asset again");
    }

    proptest! {
        #[test]
        fn hostile_bytes_behind_a_good_checksum_do_no_harm(
            changes in prop::collection::vec((16_usize..2_000, any::<u8>()), 1..8)
        ) {
            let mut bytes = written(|_, _, _| {});
            for (at, value) in changes {
                let len = bytes.len();
                bytes[16 + (at - 16) % (len - 16)] = value;
            }
            let _ = parse(Path::new("index"), &sealed(bytes));
        }

        #[test]
        fn any_bytes_do_no_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(Path::new("index"), &bytes);
            if bytes.len() >= 32 {
                let len = bytes.len() as u64;
                bytes[..8].copy_from_slice(&MAGIC);
                bytes[8..10].copy_from_slice(&1_u16.to_le_bytes());
                bytes[16..24].copy_from_slice(&len.to_le_bytes());
                bytes[10..12].copy_from_slice(&1_u16.to_le_bytes());
                let _ = parse(Path::new("index"), &sealed(bytes));
            }
        }
    }
}
