//! The sample tables of a progressive track (ISO/IEC 14496-12 §8.5 to §8.7 and §8.9), borrowed from the file.

use super::boxes::{Boxed, FourCc, Path, Table};
use super::error::{Error, Problem};
use super::groups::{Descriptions, Grouping, Groups};

/// `stbl`, less `stsd`. Every table lies inside its box; nothing is expanded.
#[derive(Clone, Debug)]
pub(super) struct Tables<'a> {
    pub path: Path,
    pub sizes: Sizes<'a>,
    /// `stts`: count, delta.
    pub durations: Table<'a, 8>,
    /// `ctts`: count, offset. Empty if every offset is 0.
    ///
    /// Offsets are read as signed whatever the version: QuickTime and many writers of version 0 mean it so, and 2^31
    /// ticks forward is no composition offset. `cslg` only states what follows from them (§8.6.1.4), so it is not read.
    pub offsets: Table<'a, 8>,
    /// `stsc`: first chunk, samples per chunk, sample description.
    pub chunks: Table<'a, 12>,
    pub chunk_offsets: ChunkOffsets<'a>,
    /// `stss`; without the box every sample is a sync sample (§8.6.2.1).
    pub sync: Option<Table<'a, 4>>,
    /// `stps` of QuickTime: partial sync samples, which is what it calls the start of an open GOP.
    pub partial: Table<'a, 4>,
    /// `sdtp`, one byte a sample; empty without it.
    pub dependencies: &'a [u8],
    pub groups: Groups<'a>,
    /// What the groups of fragments refer to as well.
    pub descriptions: [Option<Descriptions<'a>>; 3],
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Sizes<'a> {
    Constant { size: u32, count: u32 },
    Words(Table<'a, 4>),
    Shorts(Table<'a, 2>),
    Bytes(Table<'a, 1>),
    Nibbles { bytes: Table<'a, 1>, count: u32 },
}

impl Sizes<'_> {
    pub fn count(&self) -> u32 {
        // A table was counted by a 32-bit number, so its length fits.
        match self {
            Sizes::Constant { count, .. } | Sizes::Nibbles { count, .. } => *count,
            Sizes::Words(table) => table.rows.len() as u32,
            Sizes::Shorts(table) => table.rows.len() as u32,
            Sizes::Bytes(table) => table.rows.len() as u32,
        }
    }

    #[inline]
    pub fn size(&self, sample: u32) -> Option<u32> {
        let at = sample as usize;
        match self {
            Sizes::Constant { size, count } => (sample < *count).then_some(*size),
            Sizes::Words(table) => table.rows.get(at).map(|row| u32::from_be_bytes(*row)),
            Sizes::Shorts(table) => table.rows.get(at).map(|row| u32::from(u16::from_be_bytes(*row))),
            Sizes::Bytes(table) => table.rows.get(at).map(|row| u32::from(row[0])),
            // §8.7.3.3: the first of two is in the high bits.
            Sizes::Nibbles { bytes, count } if sample < *count => bytes
                .rows
                .get(at / 2)
                .map(|row| u32::from(if at.is_multiple_of(2) { row[0] >> 4 } else { row[0] & 15 })),
            Sizes::Nibbles { .. } => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ChunkOffsets<'a> {
    Short(Table<'a, 4>),
    Long(Table<'a, 8>),
}

impl ChunkOffsets<'_> {
    pub fn len(&self) -> usize {
        match self {
            ChunkOffsets::Short(table) => table.rows.len(),
            ChunkOffsets::Long(table) => table.rows.len(),
        }
    }

    #[inline]
    pub fn offset(&self, chunk: usize) -> Option<u64> {
        match self {
            ChunkOffsets::Short(table) => table.rows.get(chunk).map(|row| u64::from(u32::from_be_bytes(*row))),
            ChunkOffsets::Long(table) => table.rows.get(chunk).map(|row| u64::from_be_bytes(*row)),
        }
    }

    pub fn name(&self) -> FourCc {
        match self {
            ChunkOffsets::Short(_) => FourCc(*b"stco"),
            ChunkOffsets::Long(_) => FourCc(*b"co64"),
        }
    }

    pub fn row_at(&self, chunk: usize) -> u64 {
        match self {
            ChunkOffsets::Short(table) => table.row_at(chunk),
            ChunkOffsets::Long(table) => table.row_at(chunk),
        }
    }
}

impl<'a> Tables<'a> {
    /// A track without samples of its own in `moov`.
    pub fn empty(path: Path) -> Tables<'a> {
        Tables {
            path,
            sizes: Sizes::Constant { size: 0, count: 0 },
            durations: Table::empty(),
            offsets: Table::empty(),
            chunks: Table::empty(),
            chunk_offsets: ChunkOffsets::Short(Table::empty()),
            sync: None,
            partial: Table::empty(),
            dependencies: &[],
            groups: Groups::default(),
            descriptions: [None; 3],
        }
    }

    /// `fragmented`: the tables are required but empty (§8.8), and missing ones count as empty. `file_len` bounds what
    /// samples of one size may add up to. `iso`: `sdtp` has the leading flags, which QuickTime uses otherwise.
    pub fn read(stbl: &Boxed<'a>, fragmented: bool, file_len: u64, iso: bool) -> Result<Tables<'a>, Error> {
        let mut tables = Tables::empty(stbl.path);
        let (mut sizes, mut durations, mut chunks, mut chunk_offsets) = (None, None, None, None);
        let mut groupings = [None; 3];
        for child in stbl.children() {
            let child = child?;
            match &child.name.0 {
                b"stsz" => sizes = Some(constant_or_words(&child, file_len)?),
                b"stz2" => sizes = Some(compact(&child)?),
                b"stts" => durations = Some(counted(&child)?),
                b"ctts" => tables.offsets = counted(&child)?,
                b"stsc" => chunks = Some(counted(&child)?),
                b"stco" => chunk_offsets = Some(ChunkOffsets::Short(counted(&child)?)),
                b"co64" => chunk_offsets = Some(ChunkOffsets::Long(counted(&child)?)),
                b"stss" => tables.sync = Some(counted(&child)?),
                b"stps" => tables.partial = counted(&child)?,
                b"sdtp" if iso => tables.dependencies = child.full()?.2.rest(),
                b"sbgp" => Grouping::read(&child)?.keep(&mut groupings),
                b"sgpd" => Descriptions::read(&child)?.keep(&mut tables.descriptions),
                _ => {}
            }
        }
        tables.groups = Groups::of(&groupings, &tables.descriptions, &[None; 3]);
        if fragmented {
            tables.sizes = sizes.unwrap_or(tables.sizes);
            tables.durations = durations.unwrap_or(tables.durations);
            tables.chunks = chunks.unwrap_or(tables.chunks);
            tables.chunk_offsets = chunk_offsets.unwrap_or(tables.chunk_offsets);
            return Ok(tables);
        }
        let missing = |name| Error::new(stbl.path, stbl.at, Problem::Missing { name });
        tables.durations = durations.ok_or_else(|| missing("stts"))?;
        tables.chunks = chunks.ok_or_else(|| missing("stsc"))?;
        tables.sizes = sizes.ok_or_else(|| missing("stsz"))?;
        tables.chunk_offsets = chunk_offsets.ok_or_else(|| missing("stco or co64"))?;
        Ok(tables)
    }

    /// Composition offset of the first sample.
    pub fn first_offset(&self) -> i32 {
        self.offsets.rows.iter().map(pair).find(|(count, _)| *count > 0).map_or(0, |(_, offset)| offset as i32)
    }

    /// Sum of `stts`, in track ticks.
    pub fn duration(&self) -> Option<i64> {
        self.durations.rows.iter().try_fold(0_i64, |sum, row| {
            let (count, delta) = pair(row);
            sum.checked_add(i64::try_from(u64::from(count) * u64::from(delta)).ok()?)
        })
    }
}

/// Two 32-bit numbers.
#[inline]
pub(super) fn pair(row: &[u8; 8]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = *row;
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

/// A full box that is a count and as many rows.
fn counted<'a, const N: usize>(table: &Boxed<'a>) -> Result<Table<'a, N>, Error> {
    let (_, _, mut body) = table.full()?;
    let count = table.read(body.u32())?;
    table.table(&mut body, count)
}

/// `stsz` (§8.7.3.2).
fn constant_or_words<'a>(stsz: &Boxed<'a>, file_len: u64) -> Result<Sizes<'a>, Error> {
    let (_, _, mut body) = stsz.full()?;
    let at = body.position();
    let size = stsz.read(body.u32())?;
    let count = stsz.read(body.u32())?;
    if size == 0 {
        return stsz.table(&mut body, count).map(Sizes::Words);
    }
    // No table bounds this count, but the media it stands for does.
    let total = u64::from(size) * u64::from(count);
    if total > file_len {
        return Err(Error::unexpected(
            stsz.path,
            at,
            format_args!("{count} samples of {size} bytes"),
            format_args!("no more than the file's {file_len} bytes"),
        ));
    }
    Ok(Sizes::Constant { size, count })
}

/// `stz2` (§8.7.3.3).
fn compact<'a>(stz2: &Boxed<'a>) -> Result<Sizes<'a>, Error> {
    let (_, _, mut body) = stz2.full()?;
    let at = body.position();
    let bits = stz2.read(body.u32())? & 0xff;
    let count = stz2.read(body.u32())?;
    match bits {
        16 => stz2.table(&mut body, count).map(Sizes::Shorts),
        8 => stz2.table(&mut body, count).map(Sizes::Bytes),
        4 => stz2.table(&mut body, count.div_ceil(2)).map(|bytes| Sizes::Nibbles { bytes, count }),
        _ => Err(Error::unexpected(stz2.path, at, format_args!("sizes of {bits} bits"), "4, 8 or 16")),
    }
}
