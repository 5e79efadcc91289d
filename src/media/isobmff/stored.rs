//! What a stored CMAF header holds, as [`super::write::header`] made it.

use super::boxes::{Boxed, Boxes};
use super::error::{Error, Problem};
use super::{FourCc, Path};

/// The first sample entry box: `moov/trak/mdia/minf/stbl/stsd/*`.
pub fn sample_entry(header: &[u8]) -> Result<&[u8], Error> {
    let mut found = find(Boxes::top_level(header, 0), Path::default(), b"moov")?;
    for name in [b"trak", b"mdia", b"minf", b"stbl", b"stsd"] {
        found = find(found.children(), found.path, name)?;
    }
    let (_, _, mut body) = found.full()?;
    found.read(body.u32())?;
    let missing = || Error::new(found.path, found.at, Problem::Missing { name: "sample entry" });
    Ok(Boxes::inside(body, found.path).next().ok_or_else(missing)??.whole)
}

/// Where the track's edit begins (`moov/trak/edts/elst`), in track ticks; 0 without one.
pub fn media_start(header: &[u8]) -> Result<i64, Error> {
    let moov = find(Boxes::top_level(header, 0), Path::default(), b"moov")?;
    let trak = find(moov.children(), moov.path, b"trak")?;
    let Ok(edts) = find(trak.children(), trak.path, b"edts") else { return Ok(0) };
    let elst = find(edts.children(), edts.path, b"elst")?;
    let (version, _, mut body) = elst.full()?;
    let rows = elst.read(body.u32())?;
    if rows == 0 {
        return Ok(0);
    }
    Ok(if version == 1 {
        elst.read(body.u64())?;
        elst.read(body.i64())?
    } else {
        elst.read(body.u32())?;
        i64::from(elst.read(body.i32())?)
    })
}

/// The first box of that name.
pub(super) fn find<'a>(boxes: Boxes<'a>, path: Path, name: &'static [u8; 4]) -> Result<Boxed<'a>, Error> {
    for found in boxes {
        let found = found?;
        if found.name == FourCc(*name) {
            return Ok(found);
        }
    }
    let name = std::str::from_utf8(name).unwrap_or_default();
    Err(Error::new(path, None, Problem::Missing { name }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timescale;
    use crate::media::Kind;
    use crate::media::isobmff::Matrix;
    use crate::media::isobmff::write::{Header, header};

    #[test]
    fn what_was_written_is_found() {
        let entry = [&[0, 0, 0, 12][..], b"tst1", b"body"].concat();
        for start in [0, 1_024, 1 << 40] {
            let written = header(&Header {
                timescale: Timescale::MILLIS,
                sample_entry: &entry,
                kind: Kind::Video,
                language: "en",
                name: None,
                media_start: start,
                width: 1,
                height: 1,
                matrix: Matrix::default(),
                default_duration: 1,
                fragment_duration_hint: None,
            });
            assert_eq!(media_start(&written).unwrap(), start as i64);
            assert_eq!(sample_entry(&written).unwrap(), entry);
            for cut in 0..written.len() {
                assert!(media_start(&written[..cut]).is_err() && sample_entry(&written[..cut]).is_err(), "{cut}");
            }
        }
    }
}
