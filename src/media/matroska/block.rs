//! Blocks (RFC 9559 §10): a track's number, a time in 16 bits, and one frame or several laced together.

use super::Error;
use super::element::{Region, number};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    pub track: u64,
    /// To be added to the cluster's, in its ticks.
    pub time: i16,
    /// Of a SimpleBlock; a Block says it by what it refers to.
    pub is_key: bool,
    pub frames: Vec<&'a [u8]>,
}

impl<'a> Block<'a> {
    pub fn read(region: Region<'a>) -> Result<Block<'a>, Error> {
        let cut = |found: &str| Error::unexpected(region.file, region.at, found, "a whole block");
        let (track, length) =
            number(region.file, region.bytes, region.at)?.ok_or_else(|| cut("a block without a track number"))?;
        let Some((&[high, low, flags], data)) = region.bytes[length..].split_first_chunk() else {
            return Err(cut("a block that is cut short"));
        };
        let frames = match flags >> 1 & 3 {
            0 => Some(vec![data]),
            lacing => delace(region, lacing, data)?,
        };
        Ok(Block {
            track,
            time: i16::from_be_bytes([high, low]),
            is_key: flags & 0x80 != 0,
            frames: frames.ok_or_else(|| cut("laced frames that are longer than their block"))?,
        })
    }
}

const XIPH: u8 = 1;
const FIXED: u8 = 2;

/// §10.3. `None` if the sizes are more than there is.
fn delace<'a>(region: Region<'a>, lacing: u8, data: &'a [u8]) -> Result<Option<Vec<&'a [u8]>>, Error> {
    let Some((&count, mut rest)) = data.split_first() else { return Ok(None) };
    let count = usize::from(count) + 1;
    let mut sizes = Vec::with_capacity(count);
    match lacing {
        FIXED => sizes.resize(count - 1, rest.len() / count),
        XIPH => {
            while sizes.len() + 1 < count {
                let Some(end) = rest.iter().position(|&byte| byte != 0xFF) else { return Ok(None) };
                sizes.push(end * 255 + usize::from(rest[end]));
                rest = &rest[end + 1..];
            }
        }
        _ => {
            let mut size = 0_i64;
            while sizes.len() + 1 < count {
                let Some((value, length)) = number(region.file, rest, region.at)? else { return Ok(None) };
                // The first is a size, the others differences to the one before, in excess of half their range.
                let value = value as i64;
                let bias = if sizes.is_empty() { 0 } else { (1 << (7 * length - 1)) - 1 };
                size = size.saturating_add(value - bias);
                let Ok(now) = usize::try_from(size) else { return Ok(None) };
                sizes.push(now);
                rest = &rest[length..];
            }
        }
    }
    let mut frames = Vec::with_capacity(count);
    for size in sizes {
        let Some((frame, tail)) = rest.split_at_checked(size) else { return Ok(None) };
        frames.push(frame);
        rest = tail;
    }
    frames.push(rest);
    Ok(Some(frames))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sizes(bytes: &[u8]) -> Result<Vec<usize>, Error> {
        let block = Block::read(Region { file: "f", bytes, at: 0 })?;
        Ok(block.frames.iter().map(|frame| frame.len()).collect())
    }

    #[test]
    fn lacing() {
        // The examples of RFC 9559 §10.3: frames of 800, 500 and 1000 bytes.
        let body = vec![0; 2_300];
        for (name, head, want) in [
            ("none", &[0x81, 0, 0, 0x80][..], vec![2_300]),
            ("Xiph", &[0x81, 0, 0, 0x02, 2, 255, 255, 255, 35, 255, 245], vec![800, 500, 1_000]),
            ("EBML", &[0x81, 0, 0, 0x06, 2, 0x43, 0x20, 0x5E, 0xD3], vec![800, 500, 1_000]),
            ("fixed", &[0x81, 0, 0, 0x04, 3], vec![575; 4]),
        ] {
            assert_eq!(sizes(&[head, &body].concat()).unwrap(), want, "{name}");
            assert!(name == "none" || name == "fixed" || sizes(&[head, &body[..900]].concat()).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn nothing_from_outside_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = sizes(&bytes);
            let _ = sizes(&[&[0x81, 0, 0, 0x06], &bytes[..]].concat());
        }
    }
}
