//! Samples in decode order: where each lies and when it is due.

use std::slice;
use std::sync::Arc;

use super::boxes::{FourCc, Path};
use super::error::{Error, Problem};
use super::fragments::Fragments;
use super::groups::Groups;
use super::tables::{Tables, pair};

/// One sample of the source, in decode order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceSample {
    /// In the file; `offset + size` is inside it.
    pub offset: u64,
    /// In bytes.
    pub size: u32,
    /// In track ticks, before the edit list.
    pub decode_time: i64,
    /// In track ticks.
    pub duration: u32,
    /// Composition time less decode time, in track ticks.
    pub composition_offset: i32,
    pub sync: bool,
    /// `sample_flags` (ISO/IEC 14496-12 §8.8.3.1): those of a fragment, or made of `stss` and `sdtp`.
    pub flags: u32,
    /// Of a random access point by the `rap `, `roll` or `sync` sample groups (or QuickTime's `stps`): samples to decode
    /// before pictures are right; 0 for the start of an open GOP, whose leading pictures need the GOP before. A file may
    /// mark one as sync sample besides.
    pub recovery: Option<i16>,
}

/// `sample_depends_on` 2: on no other sample.
const FLAGS_SYNC: u32 = 0x0200_0000;
/// `sample_depends_on` 1, `sample_is_non_sync_sample`.
const FLAGS_OTHER: u32 = 0x0100_0000 | FLAG_NON_SYNC;
pub(super) const FLAG_NON_SYNC: u32 = 0x0001_0000;

/// Iterates over a track's samples: those of `moov`, then those of the fragments. Ends at the first error.
#[derive(Clone, Debug)]
pub struct Samples<'a> {
    file: Arc<str>,
    progressive: Option<Progressive<'a>>,
    fragments: Option<Fragments<'a>>,
}

impl<'a> Samples<'a> {
    pub(super) fn new(
        file: Arc<str>,
        tables: &Tables<'a>,
        file_len: u64,
        fragments: Option<Fragments<'a>>,
    ) -> Samples<'a> {
        Samples { file, progressive: Some(Progressive::new(tables.clone(), file_len)), fragments }
    }

    #[cold]
    fn fail(&mut self, error: Error) -> Error {
        self.progressive = None;
        self.fragments = None;
        error.in_file(&self.file)
    }
}

impl Iterator for Samples<'_> {
    type Item = Result<SourceSample, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(progressive) = &mut self.progressive {
            match progressive.next() {
                Ok(Some(sample)) => return Some(Ok(sample)),
                Ok(None) => {
                    let end = progressive.decode_time;
                    self.progressive = None;
                    if let Some(fragments) = &mut self.fragments {
                        fragments.continue_at(end);
                    }
                }
                Err(error) => return Some(Err(self.fail(error))),
            }
        }
        match self.fragments.as_mut()?.next() {
            Ok(Some(sample)) => Some(Ok(sample)),
            Ok(None) => {
                self.fragments = None;
                None
            }
            Err(error) => Some(Err(self.fail(error))),
        }
    }
}

/// Walks all tables of a `stbl` side by side.
#[derive(Clone, Debug)]
struct Progressive<'a> {
    file_len: u64,
    number: u32,
    count: u32,
    /// Of the next sample.
    decode_time: i64,
    offset: u64,
    /// Samples left in the chunk.
    chunk_left: u32,
    /// The next one, from 0, and the chunk that ends this row of `stsc`.
    chunk: usize,
    chunk_row_end: usize,
    samples_per_chunk: u32,
    chunk_rows: slice::Iter<'a, [u8; 12]>,
    duration: Run<'a>,
    composition: Option<Run<'a>>,
    sync: Option<Numbers<'a>>,
    partial: Option<Numbers<'a>>,
    groups: Option<Groups<'a>>,
    tables: Tables<'a>,
}

/// A value for a run of samples, from rows of (count, value).
#[derive(Clone, Debug)]
struct Run<'a> {
    left: u32,
    value: u32,
    rows: slice::Iter<'a, [u8; 8]>,
}

impl<'a> Run<'a> {
    fn new(rows: &'a [[u8; 8]]) -> Run<'a> {
        Run { left: 0, value: 0, rows: rows.iter() }
    }

    #[inline]
    fn next(&mut self) -> Option<u32> {
        while self.left == 0 {
            (self.left, self.value) = pair(self.rows.next()?);
        }
        self.left -= 1;
        Some(self.value)
    }
}

/// Ascending sample numbers, counted from 1 in the file and from 0 here.
#[derive(Clone, Debug)]
struct Numbers<'a> {
    next: Option<u32>,
    rows: slice::Iter<'a, [u8; 4]>,
}

/// A list of sample numbers which goes back.
struct Unsorted;

impl<'a> Numbers<'a> {
    fn new(rows: &'a [[u8; 4]]) -> Numbers<'a> {
        let mut rows = rows.iter();
        Numbers { next: Self::row(&mut rows), rows }
    }

    fn row(rows: &mut slice::Iter<'a, [u8; 4]>) -> Option<u32> {
        // Numbers count from 1; a 0 in first place is taken for 1, and any other is found out as unsorted.
        rows.next().map(|row| u32::from_be_bytes(*row).saturating_sub(1))
    }

    #[inline]
    fn has(&mut self, number: u32) -> Result<bool, Unsorted> {
        if self.next != Some(number) {
            return Ok(false);
        }
        self.next = Self::row(&mut self.rows);
        match self.next {
            Some(next) if next <= number => Err(Unsorted),
            _ => Ok(true),
        }
    }
}

impl<'a> Progressive<'a> {
    fn new(tables: Tables<'a>, file_len: u64) -> Progressive<'a> {
        let partial = tables.partial.rows;
        Progressive {
            file_len,
            number: 0,
            count: tables.sizes.count(),
            decode_time: 0,
            offset: 0,
            chunk_left: 0,
            chunk: 0,
            chunk_row_end: 0,
            samples_per_chunk: 0,
            chunk_rows: tables.chunks.rows.iter(),
            duration: Run::new(tables.durations.rows),
            composition: (!tables.offsets.rows.is_empty()).then(|| Run::new(tables.offsets.rows)),
            sync: tables.sync.map(|sync| Numbers::new(sync.rows)),
            partial: (!partial.is_empty()).then(|| Numbers::new(partial)),
            groups: (!tables.groups.is_empty()).then(|| tables.groups.clone()),
            tables,
        }
    }

    #[inline]
    fn next(&mut self) -> Result<Option<SourceSample>, Error> {
        let number = self.number;
        if number >= self.count {
            return Ok(None);
        }
        while self.chunk_left == 0 {
            self.next_chunk()?;
        }
        let Some(size) = self.tables.sizes.size(number) else { return Ok(None) };
        let offset = self.offset;
        let end = match offset.checked_add(u64::from(size)) {
            Some(end) if end <= self.file_len => end,
            _ => return Err(self.outside(offset, size)),
        };
        let Some(duration) = self.duration.next() else {
            return Err(
                self.too_short(FourCc(*b"stts"), self.tables.durations.row_at(self.tables.durations.rows.len()))
            );
        };
        let decode_time = self.decode_time;
        let Some(next_time) = decode_time.checked_add(i64::from(duration)).filter(|_| duration <= i32::MAX as u32)
        else {
            return Err(self.bad_duration(duration));
        };
        let composition_offset = match &mut self.composition {
            None => 0,
            Some(run) => match run.next() {
                Some(offset) => offset as i32,
                None => {
                    let table = &self.tables.offsets;
                    return Err(self.too_short(FourCc(*b"ctts"), table.row_at(table.rows.len())));
                }
            },
        };
        let sync = match &mut self.sync {
            None => true,
            Some(numbers) => match numbers.has(number) {
                Ok(sync) => sync,
                Err(Unsorted) => return Err(self.unsorted(FourCc(*b"stss"))),
            },
        };
        let mut recovery = self.groups.as_mut().and_then(Groups::next);
        if let Some(partial) = &mut self.partial {
            match partial.has(number) {
                Ok(true) => recovery = recovery.or(Some(0)),
                Ok(false) => {}
                Err(Unsorted) => return Err(self.unsorted(FourCc(*b"stps"))),
            }
        }
        let flags = match self.tables.dependencies.get(number as usize) {
            // §8.6.4.3: the byte is the same eight bits as in sample_flags.
            Some(&dependencies) => (u32::from(dependencies) << 20) | if sync { 0 } else { FLAG_NON_SYNC },
            None if sync => FLAGS_SYNC,
            None => FLAGS_OTHER,
        };
        self.number = number + 1;
        self.chunk_left -= 1;
        self.offset = end;
        self.decode_time = next_time;
        Ok(Some(SourceSample { offset, size, decode_time, duration, composition_offset, sync, flags, recovery }))
    }

    fn next_chunk(&mut self) -> Result<(), Error> {
        let Some(offset) = self.tables.chunk_offsets.offset(self.chunk) else {
            let offsets = &self.tables.chunk_offsets;
            return Err(self.too_short(offsets.name(), offsets.row_at(offsets.len())));
        };
        while self.chunk >= self.chunk_row_end {
            self.next_chunk_row()?;
        }
        self.chunk += 1;
        self.offset = offset;
        self.chunk_left = self.samples_per_chunk;
        Ok(())
    }

    fn next_chunk_row(&mut self) -> Result<(), Error> {
        let rows = self.tables.chunks.rows;
        let index = rows.len() - self.chunk_rows.len();
        let Some(row) = self.chunk_rows.next() else {
            return Err(self.too_short(FourCc(*b"stsc"), self.tables.chunks.row_at(index)));
        };
        let [first, samples, _] = words(row);
        // A row holds until the next one's first chunk (§8.7.4.3), the last one for the rest.
        let end = match self.chunk_rows.as_slice().first().map(|next| words(next)[0]) {
            Some(next) => next.saturating_sub(1) as usize,
            None => self.tables.chunk_offsets.len(),
        };
        if first as usize != self.chunk + 1 {
            return Err(Error::unexpected(
                self.path(FourCc(*b"stsc")),
                self.tables.chunks.row_at(index),
                format_args!("first chunk {first}"),
                format_args!("{}", self.chunk + 1),
            ));
        }
        if end <= self.chunk {
            return Err(Error::unexpected(
                self.path(FourCc(*b"stsc")),
                self.tables.chunks.row_at(index + 1),
                format_args!("first chunk {} after {first}", end + 1),
                "a later one",
            ));
        }
        self.samples_per_chunk = samples;
        self.chunk_row_end = end;
        Ok(())
    }

    fn path(&self, name: FourCc) -> Path {
        self.tables.path.enter(name, 0)
    }

    #[cold]
    fn too_short(&self, name: FourCc, at: u64) -> Error {
        let (number, count) = (self.number, self.count);
        Error::unexpected(self.path(name), at, format_args!("its end after {number} samples"), format_args!("{count}"))
    }

    #[cold]
    fn outside(&self, offset: u64, size: u32) -> Error {
        let at = self.chunk.saturating_sub(1);
        let problem = Problem::SampleOutside {
            number: u64::from(self.number),
            offset: i128::from(offset),
            size: u64::from(size),
            len: self.file_len,
        };
        let offsets = &self.tables.chunk_offsets;
        Error::new(self.path(offsets.name()), offsets.row_at(at), problem)
    }

    #[cold]
    fn bad_duration(&self, duration: u32) -> Error {
        let table = &self.tables.durations;
        let at = table.row_at((table.rows.len() - self.duration.rows.len()).saturating_sub(1));
        let found = format_args!("sample duration {} at tick {}", duration as i32, self.decode_time);
        Error::unexpected(self.path(FourCc(*b"stts")), at, found, "one from 0 that does not overflow the time")
    }

    #[cold]
    fn unsorted(&self, name: FourCc) -> Error {
        let (table, left) = match name.0 {
            [b's', b't', b'p', b's'] => (Some(self.tables.partial), self.partial.as_ref()),
            _ => (self.tables.sync, self.sync.as_ref()),
        };
        let row = table.map_or(0, |table| table.rows.len()) - left.map_or(0, |numbers| numbers.rows.len());
        let at = table.map_or(0, |table| table.row_at(row.saturating_sub(1)));
        Error::unexpected(
            self.path(name),
            at,
            format_args!("a sample number not above {}", self.number + 1),
            "ascending ones",
        )
    }
}

/// Three 32-bit numbers.
fn words(row: &[u8; 12]) -> [u32; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *row;
    [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]), u32::from_be_bytes([i, j, k, l])]
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::fixture::{MEDIA, Node, add, bytes, full, leaf, progressive, remove, replace, words};
    use super::super::{Movie, SourceTrack};
    use super::*;

    /// One sample as `offset+size @decode/duration composition flags`.
    pub(in crate::media::isobmff) fn text(track: &SourceTrack<'_>) -> Vec<String> {
        let mut samples = track.samples();
        let text = samples.by_ref().map(|sample| match sample {
            Ok(sample) => {
                assert_eq!(sample.sync, sample.flags & FLAG_NON_SYNC == 0);
                let recovery = sample.recovery.map_or(String::new(), |distance| format!(" roll {distance}"));
                let SourceSample { offset, size, decode_time, duration, composition_offset, flags, .. } = sample;
                format!("{offset}+{size} @{decode_time}/{duration} {composition_offset:+} {flags:x}{recovery}")
            }
            Err(error) => error.to_string(),
        });
        let text = text.collect();
        assert!(samples.next().is_none(), "ends for good");
        text
    }

    fn of(file: &[Node], number: usize) -> Vec<String> {
        let bytes = bytes(file);
        match Movie::parse("f", &bytes) {
            Ok(movie) => text(&movie.tracks()[number]),
            Err(error) => vec![error.to_string()],
        }
    }

    const VIDEO: [&str; 5] = [
        "24+10 @0/100 +200 2000000",
        "34+20 @100/100 +300 1010000",
        "54+30 @200/100 +300 1010000",
        "100+40 @300/100 +0 2000000",
        "140+50 @400/50 +0 1010000",
    ];
    const STBL: &str = "moov/trak[1]/mdia/minf/stbl";

    #[test]
    fn tables_give_samples() {
        let audio: Vec<String> = (0..8)
            .map(|number| {
                let start = if number < 4 { 84 } else { 190 - 16 };
                format!("{}+4 @{}/1024 +0 2000000", start + 4 * number, 1_024 * number)
            })
            .collect();
        let file = progressive();
        assert_eq!(of(&file, 0), VIDEO);
        assert_eq!(of(&file, 1), audio);
        // The same tables in their other forms.
        for (table, node) in [
            ("stco", leaf(b"co64", words(&[0, 2, 0, MEDIA, 0, MEDIA + 76]))),
            ("stsz", leaf(b"stz2", [words(&[0, 8, 5]), vec![10, 20, 30, 40, 50]].concat())),
            ("stsz", leaf(b"stz2", [words(&[0, 16, 5]), vec![0, 10, 0, 20, 0, 30, 0, 40, 0, 50]].concat())),
            ("stsc", full(b"stsc", &[0, 3, 1, 3, 1, 2, 2, 1, 3, 9, 1])),
            ("stts", full(b"stts", &[0, 5, 0, 7, 1, 100, 0, 7, 3, 100, 9, 50])),
            ("ctts", full(b"ctts", &[0x0100_0000, 3, 1, 200, 2, 300, 2, 0])),
        ] {
            let mut file = progressive();
            replace(&mut file, &format!("{STBL}/{table}"), node);
            assert_eq!(of(&file, 0), VIDEO, "{table}");
        }
    }

    /// What changes with a table added, removed or replaced: the tail of each line.
    #[test]
    fn tables_change_samples() {
        type Change = fn(&mut Vec<Node>);
        let cases: &[(&str, Change, [&str; 5])] = &[
            (
                "no stss, no ctts",
                |file| {
                    remove(file, &format!("{STBL}/stss"));
                    remove(file, &format!("{STBL}/ctts"));
                },
                ["/100 +0 2000000", "/100 +0 2000000", "/100 +0 2000000", "/100 +0 2000000", "/50 +0 2000000"],
            ),
            (
                "empty stss, empty ctts",
                |file| {
                    replace(file, &format!("{STBL}/stss"), full(b"stss", &[0, 0]));
                    replace(file, &format!("{STBL}/ctts"), full(b"ctts", &[0, 0]));
                },
                ["/100 +0 1010000", "/100 +0 1010000", "/100 +0 1010000", "/100 +0 1010000", "/50 +0 1010000"],
            ),
            (
                "negative offsets",
                |file| replace(file, &format!("{STBL}/ctts"), full(b"ctts", &[0, 2, 1, 0, 4, -100_i32 as u32])),
                ["+0 2000000", "-100 1010000", "-100 1010000", "-100 2000000", "-100 1010000"],
            ),
            (
                "sdtp, cut short",
                |file| add(file, STBL, leaf(b"sdtp", [0, 0, 0, 0, 0x24, 0x18, 0x58])),
                ["+200 2400000", "+300 1810000", "+300 5810000", "+0 2000000", "+0 1010000"],
            ),
            (
                "roll",
                |file| {
                    add(
                        file,
                        STBL,
                        leaf(
                            b"sgpd",
                            [words(&[0x0100_0000]), b"roll".to_vec(), words(&[2, 2]), vec![0, 7, 0xff, 0xfe]].concat(),
                        ),
                    );
                    add(
                        file,
                        STBL,
                        leaf(b"sbgp", [words(&[0]), b"roll".to_vec(), words(&[4, 1, 0, 1, 1, 1, 2, 1, 3])].concat()),
                    );
                },
                ["2000000", "1010000 roll 7", "1010000", "2000000", "1010000"],
            ),
            (
                "rap and sync, the first of a kind counts",
                |file| {
                    add(
                        file,
                        STBL,
                        leaf(b"sbgp", [words(&[0x0100_0000]), b"rap ".to_vec(), words(&[7, 2, 2, 0, 1, 1])].concat()),
                    );
                    add(file, STBL, leaf(b"sbgp", [words(&[0]), b"rap ".to_vec(), words(&[1, 5, 1])].concat()));
                    add(file, STBL, leaf(b"sbgp", [words(&[0]), b"sync".to_vec(), words(&[2, 4, 1, 1, 2])].concat()));
                    add(file, STBL, leaf(b"sgpd", [words(&[0]), b"rap ".to_vec(), words(&[1]), vec![0x80]].concat()));
                    add(
                        file,
                        STBL,
                        leaf(
                            b"sgpd",
                            [words(&[0x0100_0000]), b"sync".to_vec(), words(&[0, 2, 1]), vec![19, 0, 0, 0, 1, 21]]
                                .concat(),
                        ),
                    );
                },
                ["2000000", "1010000", "1010000 roll 0", "2000000", "1010000 roll 0"],
            ),
            (
                "default group",
                |file| {
                    add(file, STBL, leaf(b"sbgp", [words(&[0]), b"roll".to_vec(), words(&[1, 3, 0])].concat()));
                    add(
                        file,
                        STBL,
                        leaf(
                            b"sgpd",
                            [words(&[0x0200_0000]), b"roll".to_vec(), words(&[2, 1, 1]), vec![0, 3]].concat(),
                        ),
                    );
                },
                ["2000000", "1010000", "1010000", "2000000 roll 3", "1010000 roll 3"],
            ),
            (
                "partial sync samples",
                |file| add(file, STBL, full(b"stps", &[0, 1, 3])),
                ["2000000", "1010000", "1010000 roll 0", "2000000", "1010000"],
            ),
        ];
        for (name, change, want) in cases {
            let mut file = progressive();
            change(&mut file);
            let got = of(&file, 0);
            assert_eq!(got.len(), 5, "{name}: {got:?}");
            for (got, want) in got.iter().zip(want) {
                assert!(got.ends_with(want), "{name}: {got} should end in {want}");
            }
        }
    }

    #[test]
    fn tables_that_contradict_each_other_are_named() {
        let stbl = "moov/trak[1]/mdia/minf/stbl";
        for (node, good, want) in [
            (full(b"stts", &[0, 1, 4, 100]), 4, "stts+24: found its end after 4 samples, expected 5"),
            (
                full(b"stts", &[0, 1, 5, u32::MAX]),
                0,
                "stts+16: found sample duration -1 at tick 0, expected one from 0 that does not overflow the time",
            ),
            (full(b"ctts", &[0, 1, 2, 100]), 2, "ctts+24: found its end after 2 samples, expected 5"),
            (full(b"stss", &[0, 3, 1, 4, 4]), 3, "stss+24: found a sample number not above 4, expected ascending ones"),
            (full(b"stss", &[0, 2, 1, 0]), 0, "stss+20: found a sample number not above 1, expected ascending ones"),
            (full(b"stsc", &[0, 1, 2, 3, 1]), 0, "stsc+16: found first chunk 2, expected 1"),
            (full(b"stsc", &[0, 2, 1, 3, 1, 1, 2, 1]), 0, "stsc+28: found first chunk 1 after 1, expected a later one"),
            (full(b"stsc", &[0, 1, 1, 2, 1]), 4, "stco+24: found its end after 4 samples, expected 5"),
            (full(b"stsc", &[0, 0]), 0, "stsc+16: found its end after 0 samples, expected 5"),
            (full(b"stsc", &[0, 1, 1, 0, 1]), 0, "stco+24: found its end after 0 samples, expected 5"),
            (
                full(b"stco", &[0, 2, MEDIA, 0xffff_fff0]),
                3,
                "stco+20: sample 3 (from 0): found 40 bytes at byte 4294967280, expected them inside the file's LEN bytes",
            ),
            (
                full(b"stsz", &[0, 0, 5, 10, 20, 2000, 40, 50]),
                2,
                "stco+16: sample 2 (from 0): found 2000 bytes at byte 54, expected them inside the file's LEN bytes",
            ),
        ] {
            let mut file = progressive();
            let name = std::str::from_utf8(&node.name).unwrap().to_owned();
            replace(&mut file, &format!("{stbl}/{name}"), node);
            let got = of(&file, 0);
            let bytes = bytes(&file);
            let want = want.replace("LEN", &bytes.len().to_string());
            let (place, rest) = want.split_once(": ").unwrap();
            let (table, from_box) = place.split_once('+').unwrap();
            // The first box of that name is the video track's.
            let at = bytes.windows(4).position(|window| window == table.as_bytes()).unwrap() - 4;
            let at = at + from_box.parse::<usize>().unwrap();
            let want = format!("f: moov/trak[1]/mdia/minf/stbl/{table} at byte {at}: {rest}");
            assert_eq!((got.len() - 1, got.last()), (good, Some(&want)), "{got:?}");
        }
    }
}
