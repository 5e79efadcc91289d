//! One `moof` and the boxes in it (ISO/IEC 14496-12 §8.8), as they lie in the file.

use crate::base::cursor::Cursor;

use super::boxes::{Boxed, Boxes, FourCc, Path};
use super::error::{Error, Problem};
use super::groups::Groups;

/// One movie fragment, being walked.
#[derive(Clone, Debug)]
pub(super) struct Moof<'a> {
    pub at: u64,
    pub path: Path,
    pub children: Boxes<'a>,
    pub traf_number: u32,
    /// Whether some `traf` begins where the one before ends, so that all must be followed.
    pub chained: bool,
}

/// One track's part of it.
#[derive(Clone, Debug)]
pub(super) struct Traf<'a> {
    pub path: Path,
    pub children: Boxes<'a>,
    pub trun_number: u32,
    pub header: Header,
    pub base: u64,
    pub dependencies: &'a [u8],
    pub groups: Option<Groups<'a>>,
}

/// The rest of one `trun`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run<'a> {
    pub at: u64,
    pub path: Path,
    pub left: u32,
    pub rows: &'a [u8],
    pub row_size: usize,
    pub present: u32,
    pub first_flags: Option<u32>,
    pub data_offset: Option<i32>,
}

/// What a run says of one sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub duration: u32,
    pub size: u32,
    pub flags: u32,
    /// Version 0 says unsigned, but 2^31 ticks forward is no composition offset; writers mean it signed.
    pub composition_offset: i32,
}

/// `tfhd` over the defaults of `trex`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub base: Base,
    pub defaults: Defaults,
    pub duration_is_empty: bool,
}

/// Where offsets into the media count from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Offset(u64),
    Moof,
    /// The end of the `traf` before, or the `moof` for the first (§8.8.7.1).
    Chained,
}

/// `trex`: what samples are where neither `tfhd` nor `trun` says (§8.8.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Defaults {
    pub track_id: u32,
    pub description: u32,
    pub duration: u32,
    pub size: u32,
    pub flags: u32,
}

impl Defaults {
    pub fn read(trex: &Boxed<'_>) -> Result<Defaults, Error> {
        let (_, _, mut body) = trex.full()?;
        let mut word = || trex.read(body.u32());
        Ok(Defaults { track_id: word()?, description: word()?, duration: word()?, size: word()?, flags: word()? })
    }

    pub fn of(all: &[Defaults], track_id: u32) -> Defaults {
        all.iter()
            .find(|defaults| defaults.track_id == track_id)
            .copied()
            .unwrap_or(Defaults { track_id, ..Defaults::default() })
    }
}

impl<'a> Moof<'a> {
    pub fn enter(moof: &Boxed<'a>, number: u32) -> Result<Moof<'a>, Error> {
        let path = moof.path.numbered(number);
        let (mut chained, mut trafs) = (false, 0);
        for child in Boxes::inside(moof.body(), path) {
            let child = child?;
            if child.name == TRAF {
                trafs += 1;
                let base = Header::read(&child, path.enter(TRAF, trafs), &[])?.base;
                chained |= base == Base::Chained && trafs > 1;
            }
        }
        Ok(Moof { at: moof.at, path, children: Boxes::inside(moof.body(), path), traf_number: 0, chained })
    }
}

impl Header {
    pub fn read(traf: &Boxed<'_>, path: Path, defaults: &[Defaults]) -> Result<Header, Error> {
        for child in Boxes::inside(traf.body(), path) {
            let tfhd = child?;
            if tfhd.name != TFHD {
                continue;
            }
            let (_, flags, mut body) = tfhd.full()?;
            let mut defaults = Defaults::of(defaults, tfhd.read(body.u32())?);
            let mut base = if flags & TFHD_BASE_IS_MOOF != 0 { Base::Moof } else { Base::Chained };
            if flags & TFHD_BASE_OFFSET != 0 {
                base = Base::Offset(tfhd.read(body.u64())?);
            }
            for (bit, field) in [
                (TFHD_DESCRIPTION, &mut defaults.description),
                (TFHD_DURATION, &mut defaults.duration),
                (TFHD_SIZE, &mut defaults.size),
                (TFHD_FLAGS, &mut defaults.flags),
            ] {
                if flags & bit != 0 {
                    *field = tfhd.read(body.u32())?;
                }
            }
            return Ok(Header { base, defaults, duration_is_empty: flags & TFHD_DURATION_IS_EMPTY != 0 });
        }
        Err(Error::new(path, traf.at, Problem::Missing { name: "tfhd" }))
    }
}

impl<'a> Traf<'a> {
    pub fn new(traf: &Boxed<'a>, path: Path, header: Header, base: u64) -> Traf<'a> {
        let children = Boxes::inside(traf.body(), path);
        Traf { path, children, trun_number: 0, header, base, dependencies: &[], groups: None }
    }

    pub fn next_run(&mut self) -> Result<Option<Run<'a>>, Error> {
        for child in self.children.by_ref() {
            let child = child?;
            if child.name == TRUN {
                self.trun_number = self.trun_number.saturating_add(1);
                return Run::read(&child, self.path.enter(TRUN, self.trun_number)).map(Some);
            }
        }
        Ok(None)
    }
}

impl<'a> Run<'a> {
    pub fn read(trun: &Boxed<'a>, path: Path) -> Result<Run<'a>, Error> {
        let short = |short| Error::short(path, short);
        let (_, present, mut body) = trun.full()?;
        let left = body.u32().map_err(short)?;
        let field = |bit, body: &mut Cursor<'a>| {
            if present & bit == 0 { Ok(None) } else { body.u32().map(Some).map_err(short) }
        };
        let data_offset = field(TRUN_OFFSET, &mut body)?.map(|offset| offset as i32);
        let first_flags = field(TRUN_FIRST_FLAGS, &mut body)?;
        let fields = present & (TRUN_DURATION | TRUN_SIZE | TRUN_FLAGS | TRUN_COMPOSITION);
        let row_size = 4 * fields.count_ones() as usize;
        let rows = body.table(u64::from(left), row_size).map_err(short)?;
        Ok(Run { at: trun.at, path, left, rows, row_size, present, first_flags, data_offset })
    }

    /// The next of the samples that are left; to count them is the caller's. `None` at the end of the rows.
    #[inline]
    pub fn row(&mut self, defaults: &Defaults) -> Option<Row> {
        let (mut duration, mut size, mut flags, mut composition) =
            (defaults.duration, defaults.size, defaults.flags, 0);
        if self.row_size > 0 {
            for (bit, field) in [
                (TRUN_DURATION, &mut duration),
                (TRUN_SIZE, &mut size),
                (TRUN_FLAGS, &mut flags),
                (TRUN_COMPOSITION, &mut composition),
            ] {
                if self.present & bit != 0 {
                    let (word, rest) = self.rows.split_first_chunk()?;
                    *field = u32::from_be_bytes(*word);
                    self.rows = rest;
                }
            }
        }
        if let Some(first) = self.first_flags.take() {
            flags = first;
        }
        Some(Row { duration, size, flags, composition_offset: composition as i32 })
    }

    /// Where the data of a run with a data offset begins.
    pub fn begin(&self, base: u64, data_offset: i32) -> Result<u64, Error> {
        base.checked_add_signed(i64::from(data_offset)).ok_or_else(|| {
            let found = format_args!("data offset {data_offset} from byte {base}");
            Error::unexpected(self.path, self.at, found, "a place in the file")
        })
    }

    /// Bytes of all samples.
    pub fn size(&self, header: &Header) -> u64 {
        if self.present & TRUN_SIZE == 0 {
            return u64::from(self.left) * u64::from(header.defaults.size);
        }
        let before = if self.present & TRUN_DURATION == 0 { 0 } else { 4 };
        self.rows.chunks_exact(self.row_size.max(1)).fold(0, |sum: u64, row| {
            let size =
                row.get(before..).and_then(|tail| tail.first_chunk()).map_or(0, |word| u32::from_be_bytes(*word));
            sum.saturating_add(u64::from(size))
        })
    }
}

/// `tfdt` (§8.8.12).
pub(super) fn decode_time(tfdt: &Boxed<'_>) -> Result<i64, Error> {
    let (at, time) = unsigned_time(tfdt)?;
    i64::try_from(time)
        .map_err(|_| Error::unexpected(tfdt.path, at, format_args!("decode time {time}"), "one below 2^63"))
}

/// The same of an encoder whose clock has just begun: the time is unsigned, but ffmpeg (`frag_discont`) writes that of audio
/// priming as it counts it, a little below 0.
pub(super) fn early_decode_time(tfdt: &Boxed<'_>) -> Result<i64, Error> {
    let (at, time) = unsigned_time(tfdt)?;
    let early = time.cast_signed();
    if early < -EARLY_MAX {
        let expected = "one below 2^63, or a little below 0 in 64 bits";
        return Err(Error::unexpected(tfdt.path, at, format_args!("decode time {time}"), expected));
    }
    Ok(early)
}

/// In track ticks: a second of the finest usual timescale.
const EARLY_MAX: i64 = 10_000_000;

fn unsigned_time(tfdt: &Boxed<'_>) -> Result<(u64, u64), Error> {
    let (version, _, mut body) = tfdt.full()?;
    let at = body.position();
    Ok((at, if version == 0 { tfdt.read(body.u32())?.into() } else { tfdt.read(body.u64())? }))
}

pub(super) const MOOF: FourCc = FourCc(*b"moof");
pub(super) const TRAF: FourCc = FourCc(*b"traf");
pub(super) const TFHD: FourCc = FourCc(*b"tfhd");
const TRUN: FourCc = FourCc(*b"trun");

// §8.8.7.1 and §8.8.8.1.
const TFHD_BASE_OFFSET: u32 = 0x1;
const TFHD_DESCRIPTION: u32 = 0x2;
const TFHD_DURATION: u32 = 0x8;
const TFHD_SIZE: u32 = 0x10;
const TFHD_FLAGS: u32 = 0x20;
const TFHD_DURATION_IS_EMPTY: u32 = 0x1_0000;
const TFHD_BASE_IS_MOOF: u32 = 0x2_0000;
const TRUN_OFFSET: u32 = 0x1;
const TRUN_FIRST_FLAGS: u32 = 0x4;
const TRUN_DURATION: u32 = 0x100;
const TRUN_SIZE: u32 = 0x200;
const TRUN_FLAGS: u32 = 0x400;
const TRUN_COMPOSITION: u32 = 0x800;
