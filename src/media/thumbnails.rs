//! Thumbnails for scrubbing: small pictures at even intervals, gathered on sheets, as DASH-IF IOP §6.2.6 has them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::base::{Extent, Stored};

/// What all sheets of an asset have in common. Thumbnail n stands for the presentation from n times the interval on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Of one thumbnail, in pixels.
    pub width: u32,
    pub height: u32,
    /// Thumbnails of a sheet, from left to right and from top to bottom. The last sheet may have empty places at its end.
    pub columns: u32,
    pub rows: u32,
    /// Whole milliseconds.
    pub interval: Duration,
    /// Thumbnails of all sheets.
    pub count: u32,
}

/// One sheet: a JPEG file within the stored file. Sheets follow each other without gaps from the file's first byte on.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, PartialEq, Eq)]
#[repr(C)]
pub struct Sheet {
    /// In bytes.
    pub offset: U64,
    pub size: U32,
    pub reserved: U32,
}

/// The thumbnails of a presentation, or of a stretch of one.
#[derive(Clone, Copy)]
pub struct Thumbnails<'a> {
    /// Name within the asset, in URLs and as DASH Representation id.
    pub id: &'a str,
    pub grid: Grid,
    pub sheets: &'a [Sheet],
    pub file: &'a Arc<dyn Stored>,
    /// How much of the presentation before the stretch was cut off, in microseconds.
    pub cut_off: u64,
}

/// Where a thumbnail is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub sheet: u32,
    /// Of its upper left corner, in pixels.
    pub x: u32,
    pub y: u32,
}

impl Grid {
    /// Of a full sheet; at least 1.
    pub fn per_sheet(&self) -> u32 {
        self.columns.saturating_mul(self.rows).max(1)
    }

    pub fn sheets(&self) -> u32 {
        self.count.div_ceil(self.per_sheet())
    }

    /// At least 1, in microseconds.
    pub fn interval_micros(&self) -> u64 {
        u64::try_from(self.interval.as_micros()).unwrap_or(u64::MAX).max(1)
    }

    /// What a full sheet stands for, in microseconds.
    pub fn sheet_micros(&self) -> u64 {
        self.interval_micros().saturating_mul(u64::from(self.per_sheet()))
    }

    /// Width and height of every sheet, in pixels.
    pub fn sheet_size(&self) -> (u32, u32) {
        (self.width.saturating_mul(self.columns), self.height.saturating_mul(self.rows))
    }

    pub fn place(&self, number: u32) -> Place {
        let at = number % self.per_sheet();
        let columns = self.columns.max(1);
        Place { sheet: number / self.per_sheet(), x: at % columns * self.width, y: at / columns * self.height }
    }
}

impl<'a> Thumbnails<'a> {
    pub fn sheet(&self, number: u32) -> Option<Extent> {
        let sheet = self.sheets.get(number as usize)?;
        Some(Extent { file: self.file.clone(), offset: sheet.offset.get(), len: u64::from(sheet.size.get()) })
    }

    /// The same of a stretch that begins `micros` later.
    pub fn from(self, micros: u64) -> Thumbnails<'a> {
        Thumbnails { cut_off: self.cut_off.saturating_add(micros), ..self }
    }

    /// The sheets that show anything of a stretch of that many microseconds.
    pub fn sheets_of(&self, micros: u64) -> Range<u32> {
        let length = self.grid.sheet_micros();
        let end = self.cut_off.saturating_add(micros).div_ceil(length).min(u64::from(self.grid.sheets()));
        let first = (self.cut_off / length).min(end);
        first as u32..end as u32
    }

    /// Whether the stretch begins with the first thumbnail of a sheet.
    pub fn begins_with_sheet(&self) -> bool {
        self.cut_off.is_multiple_of(self.grid.sheet_micros())
    }

    /// Bytes of all sheets.
    pub fn size(&self) -> u64 {
        self.file.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid =
        Grid { width: 320, height: 180, columns: 3, rows: 6, interval: Duration::from_secs(10), count: 40 };

    #[test]
    fn places_are_from_left_to_right_and_from_top_to_bottom() {
        for (number, sheet, x, y) in
            [(0, 0, 0, 0), (2, 0, 640, 0), (3, 0, 0, 180), (17, 0, 640, 900), (18, 1, 0, 0), (39, 2, 0, 180)]
        {
            assert_eq!(GRID.place(number), Place { sheet, x, y }, "{number}");
        }
        assert_eq!((GRID.sheets(), GRID.sheet_micros(), GRID.sheet_size()), (3, 180_000_000, (960, 1_080)));
    }
}
