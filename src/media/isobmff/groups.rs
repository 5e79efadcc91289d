//! Sample groups (ISO/IEC 14496-12 §8.9) that say where decoding can begin besides sync samples: `roll`, `rap ` and `sync`.

use std::slice;

use super::boxes::{Boxed, FourCc, Table};
use super::error::Error;
use super::tables::pair;

const KINDS: [FourCc; 3] = [FourCc(*b"rap "), FourCc(*b"roll"), FourCc(*b"sync")];

/// `sbgp`: runs of samples and the entry of `sgpd` they have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grouping<'a> {
    kind: FourCc,
    runs: Table<'a, 8>,
}

/// `sgpd`: what the entries say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptions<'a> {
    kind: FourCc,
    bytes: &'a [u8],
    /// Bytes from one entry to the next, and those before its content.
    stride: usize,
    lead: usize,
    /// Entry of samples in no run (version 2), 0 for none.
    default: u32,
}

impl<'a> Grouping<'a> {
    pub fn read(sbgp: &Boxed<'a>) -> Result<Grouping<'a>, Error> {
        let (version, _, mut body) = sbgp.full()?;
        let kind = FourCc(sbgp.read(body.u32())?.to_be_bytes());
        if version == 1 {
            sbgp.read(body.u32())?; // grouping_type_parameter
        }
        let count = sbgp.read(body.u32())?;
        Ok(Grouping { kind, runs: sbgp.table(&mut body, count)? })
    }

    /// Into the slot of its kind, unless one came before or it is of a kind that does not matter here.
    pub fn keep(self, slots: &mut [Option<Grouping<'a>>; 3]) {
        keep(slots, self.kind, self);
    }
}

impl<'a> Descriptions<'a> {
    pub fn read(sgpd: &Boxed<'a>) -> Result<Descriptions<'a>, Error> {
        let (version, _, mut body) = sgpd.full()?;
        let kind = FourCc(sgpd.read(body.u32())?.to_be_bytes());
        let length = if version >= 1 { Some(sgpd.read(body.u32())?) } else { None };
        let default = if version >= 2 { sgpd.read(body.u32())? } else { 0 };
        sgpd.read(body.u32())?; // entry_count: the bytes that follow bound it better
        let bytes = body.rest();
        let (stride, lead) = match length {
            // Version 0 has no lengths, so they are those of the kinds that are read.
            None => (if kind.0 == *b"roll" { 2 } else { 1 }, 0),
            // Entries with a length each: those of one kind are of one size.
            Some(0) => {
                let first = bytes.first_chunk().map_or(0, |length| u32::from_be_bytes(*length));
                ((first as usize).saturating_add(4), 4)
            }
            Some(length) => (length as usize, 0),
        };
        Ok(Descriptions { kind, bytes, stride, lead, default })
    }

    /// See [`Grouping::keep`].
    pub fn keep(self, slots: &mut [Option<Descriptions<'a>>; 3]) {
        keep(slots, self.kind, self);
    }

    /// Samples from entry `index` (from 1) to a correct picture, `None` if decoding cannot begin there.
    fn recovery(&self, index: u32) -> Option<i16> {
        let start = (index.checked_sub(1)? as usize).checked_mul(self.stride)?.checked_add(self.lead)?;
        let entry = self.bytes.get(start..)?;
        match &self.kind.0 {
            b"rap " => Some(0),
            // A negative distance is a pre-roll before the sample (§10.1), not a place to begin.
            b"roll" => {
                entry.first_chunk().map(|distance| i16::from_be_bytes(*distance)).filter(|&distance| distance >= 0)
            }
            // ISO/IEC 14496-15 §8.4.4: the NAL unit type, 21 for HEVC's clean random access.
            b"sync" => (entry.first()? & 0x3f == 21).then_some(0),
            _ => None,
        }
    }
}

fn keep<T>(slots: &mut [Option<T>; 3], kind: FourCc, value: T) {
    if let Some(slot) = KINDS.iter().position(|&known| known == kind).and_then(|at| slots.get_mut(at)) {
        slot.get_or_insert(value);
    }
}

/// Walks the runs of all kinds at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups<'a>([Option<Runs<'a>>; 3]);

#[derive(Clone, Debug)]
struct Runs<'a> {
    rows: slice::Iter<'a, [u8; 8]>,
    left: u32,
    recovery: Option<i16>,
    /// Outside every run.
    default: Option<i16>,
    descriptions: Option<Descriptions<'a>>,
    /// Of the fragment; its entries are numbered from 0x10001 (§8.9.4).
    local: Option<Descriptions<'a>>,
}

impl<'a> Groups<'a> {
    /// `local` is empty outside fragments.
    pub fn of(
        groupings: &[Option<Grouping<'a>>; 3],
        descriptions: &[Option<Descriptions<'a>>; 3],
        local: &[Option<Descriptions<'a>>; 3],
    ) -> Groups<'a> {
        Groups(std::array::from_fn(|kind| {
            let rows = groupings.get(kind)?.as_ref()?.runs.rows.iter();
            let descriptions = descriptions.get(kind).copied().flatten();
            let local = local.get(kind).copied().flatten();
            let default = descriptions.and_then(|descriptions| descriptions.recovery(descriptions.default));
            Some(Runs { rows, left: 0, recovery: None, default, descriptions, local })
        }))
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Of the next sample.
    #[inline]
    pub fn next(&mut self) -> Option<i16> {
        // Every kind steps, whichever of them has the answer.
        self.0.iter_mut().flatten().fold(None, |found, runs| {
            let next = runs.next();
            found.or(next)
        })
    }
}

impl Runs<'_> {
    #[inline]
    fn next(&mut self) -> Option<i16> {
        while self.left == 0 {
            let Some(row) = self.rows.next() else { return self.default };
            let (count, index) = pair(row);
            self.left = count;
            self.recovery = match index {
                0 => None,
                1..=0x10000 => self.descriptions.and_then(|descriptions| descriptions.recovery(index)),
                _ => self.local.and_then(|local| local.recovery(index - 0x10000)),
            };
        }
        self.left -= 1;
        self.recovery
    }
}
