//! Sample entries as files have them (ISO/IEC 14496-12 §12.1.3 and §12.2.3, QuickTime sound descriptions of all versions),
//! and as they go into a CMAF header.

use crate::base::cursor::Cursor;
use crate::media::isobmff::write::boxed;

use super::Fault;

/// A sample entry taken apart.
pub struct Entry<'a> {
    pub kind: [u8; 4],
    /// Of the entry in the file.
    pub offset: u64,
    pub fields: Fields,
    /// The boxes inside, of the entry and of a QuickTime `wave`.
    pub atoms: Vec<Atom<'a>>,
}

/// What the entry itself says. Codecs know better, and are asked first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fields {
    Visual { width: u16, height: u16 },
    Audio { channels: u32, sample_size: u16, sample_rate: u32 },
}

/// A box inside a sample entry.
#[derive(Clone, Copy, Debug)]
pub struct Atom<'a> {
    pub kind: [u8; 4],
    /// With its header.
    pub whole: &'a [u8],
    pub body: &'a [u8],
    /// Of the body in the file.
    pub offset: u64,
}

/// Children of one entry; real ones have fewer than ten.
const ATOMS_MAX: usize = 64;

/// Boxes that say something about the picture whatever the codec, kept as they are. `colr` is kept too, in its ISO form.
const VISUAL_KEPT: [&[u8; 4]; 12] =
    [b"pasp", b"clap", b"mdcv", b"clli", b"cclv", b"amve", b"SmDm", b"CoLL", b"dvcC", b"dvvC", b"dvwC", b"btrt"];

impl<'a> Atom<'a> {
    pub fn cursor(&self) -> Cursor<'a> {
        Cursor::new(self.body, self.offset)
    }
}

impl<'a> Entry<'a> {
    pub fn visual(kind: [u8; 4], body: Cursor<'a>, offset: u64) -> Result<Entry<'a>, Fault> {
        let mut body = body;
        body.skip(6 + 2 + 16)?;
        let (width, height) = (body.u16()?, body.u16()?);
        body.skip(4 + 4 + 4 + 2 + 32 + 2 + 2)?;
        let mut atoms = Vec::new();
        read_atoms(body, &mut atoms)?;
        Ok(Entry { kind, offset, fields: Fields::Visual { width, height }, atoms })
    }

    pub fn audio(kind: [u8; 4], body: Cursor<'a>, offset: u64) -> Result<Entry<'a>, Fault> {
        let mut body = body;
        body.skip(6 + 2)?;
        let version = body.u16()?;
        body.skip(2 + 4)?;
        let (mut channels, mut sample_size) = (u32::from(body.u16()?), body.u16()?);
        body.skip(2 + 2)?;
        let mut sample_rate = body.u32()? >> 16;
        let mut atoms = Vec::new();
        match version {
            // QuickTime version 1 has four more words. An AudioSampleEntryV1 of ISO/IEC 14496-12 has not, though it has
            // the same version: where boxes begin tells them apart.
            1 => {
                let mut extended = body.clone();
                let quicktime = extended.skip(16).is_ok() && read_atoms(extended.clone(), &mut atoms).is_ok();
                if !quicktime || atoms.is_empty() && !extended.is_empty() {
                    atoms.clear();
                    read_atoms(body, &mut atoms)?;
                }
            }
            2 => {
                body.skip(4)?;
                let rate = f64::from_bits(body.u64()?);
                // Casts of floats saturate: NaN is 0.
                sample_rate = rate as u32;
                channels = body.u32()?;
                body.skip(4)?;
                sample_size = body.u32()?.min(64) as u16;
                body.skip(4 + 4 + 4)?;
                read_atoms(body, &mut atoms)?;
            }
            _ => read_atoms(body, &mut atoms)?,
        }
        if let Some(wave) = atoms.iter().find(|atom| &atom.kind == b"wave").copied() {
            read_atoms(wave.cursor(), &mut atoms)?;
        }
        Ok(Entry { kind, offset, fields: Fields::Audio { channels, sample_size, sample_rate }, atoms })
    }

    pub fn find(&self, kind: &[u8; 4]) -> Option<Atom<'a>> {
        self.atoms.iter().find(|atom| &atom.kind == kind).copied()
    }

    /// The codec's configuration box, without which nothing can be decoded.
    pub fn configuration(&self, kind: &[u8; 4]) -> Result<Atom<'a>, Fault> {
        self.find(kind).ok_or_else(|| {
            let has: Vec<String> = self.atoms.iter().map(|atom| fourcc(&atom.kind)).collect();
            let found = if has.is_empty() { "no boxes".into() } else { has.join(", ") };
            Fault::new(self.offset, found, format!("a box {}", fourcc(kind)))
        })
    }

    /// A `VisualSampleEntry` with the codec's `configuration` box, `colr` if there is one, and the boxes that are kept.
    pub fn normal_visual(
        &self,
        kind: &[u8; 4],
        size: (u32, u32),
        compressor: &str,
        configuration: &[u8],
        colr: Option<&[u8]>,
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + configuration.len());
        let size = (size.0.min(0xFFFF) as u16, size.1.min(0xFFFF) as u16);
        put_visual(&mut out, kind, size, compressor, |out| {
            out.extend_from_slice(configuration);
            out.extend_from_slice(colr.unwrap_or_default());
            for atom in self.atoms.iter().filter(|atom| VISUAL_KEPT.contains(&&atom.kind)) {
                boxed(out, &atom.kind, |out| out.extend_from_slice(atom.body));
            }
        });
        out
    }

    /// An `AudioSampleEntry` of version 0 with the codec's `configuration` box and `btrt`.
    pub fn normal_audio(
        &self,
        kind: &[u8; 4],
        channels: u16,
        sample_size: u16,
        sample_rate: u32,
        configuration: &[u8],
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + configuration.len());
        put_audio(&mut out, kind, channels, sample_size, sample_rate, |out| {
            out.extend_from_slice(configuration);
            if let Some(btrt) = self.find(b"btrt") {
                boxed(out, b"btrt", |out| out.extend_from_slice(btrt.body));
            }
        });
        out
    }
}

/// Appends a `VisualSampleEntry` whose boxes `fill` writes.
pub fn put_visual(
    out: &mut Vec<u8>,
    kind: &[u8; 4],
    size: (u16, u16),
    compressor: &str,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    boxed(out, kind, |out| {
        out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]); // reserved, data_reference_index
        out.extend_from_slice(&[0; 16]);
        out.extend_from_slice(&size.0.to_be_bytes());
        out.extend_from_slice(&size.1.to_be_bytes());
        out.extend_from_slice(&[0, 0x48, 0, 0, 0, 0x48, 0, 0, 0, 0, 0, 0, 0, 1]); // 72 dpi, one frame a sample
        let mut name = [0; 32];
        name[0] = compressor.len() as u8;
        name[1..][..compressor.len()].copy_from_slice(compressor.as_bytes());
        out.extend_from_slice(&name);
        out.extend_from_slice(&[0, 0x18, 0xFF, 0xFF]); // depth, pre_defined
        fill(out);
    });
}

/// Appends an `AudioSampleEntry` of version 0 whose boxes `fill` writes.
pub fn put_audio(
    out: &mut Vec<u8>,
    kind: &[u8; 4],
    channels: u16,
    sample_size: u16,
    sample_rate: u32,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    boxed(out, kind, |out| {
        out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&channels.to_be_bytes());
        out.extend_from_slice(&sample_size.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        // A rate that 16 bits cannot hold is left to the codec's configuration.
        let rate = u16::try_from(sample_rate).unwrap_or(0);
        out.extend_from_slice(&rate.to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        fill(out);
    });
}

/// Four characters as an error message shows them.
pub fn fourcc(kind: &[u8; 4]) -> String {
    kind.escape_ascii().to_string()
}

/// Appends the boxes of a list, which ends as QuickTime's do or with the bytes.
pub fn read_atoms<'a>(cursor: Cursor<'a>, atoms: &mut Vec<Atom<'a>>) -> Result<(), Fault> {
    let mut cursor = cursor;
    // QuickTime ends lists with four zero bytes, and some writers leave a few more.
    while cursor.remaining() >= 8 {
        let at = cursor.position();
        let mut header = cursor.clone();
        let mut size = u64::from(header.u32()?);
        let kind = *header.take(4)?.first_chunk().expect("took four bytes");
        let mut header_size = 8;
        match size {
            0 => break,
            1 => {
                size = header.u64()?;
                header_size = 16;
            }
            _ => {}
        }
        if size < header_size || size > cursor.remaining() as u64 {
            let found = format!("box {} of {size} bytes", fourcc(&kind));
            return Err(Fault::new(at, found, format!("{header_size} to {} bytes", cursor.remaining())));
        }
        if atoms.len() == ATOMS_MAX {
            return Err(Fault::new(at, format!("more than {ATOMS_MAX} boxes"), "fewer"));
        }
        let whole = cursor.take(size as usize)?;
        let body = whole.get(header_size as usize..).unwrap_or_default();
        atoms.push(Atom { kind, whole, body, offset: at + header_size });
    }
    Ok(())
}
