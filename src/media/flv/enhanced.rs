//! What the enhanced headers of audio and video have in common (Enhanced RTMP v2, "Enhanced Audio", "Enhanced Video"):
//! modifiers before, a FourCC, and several tracks in one message.

use bytes::{Buf, Bytes};

use super::Error;

/// AudioPacketType and VideoPacketType agree in these.
pub const SEQUENCE_START: u8 = 0;
pub const CODED_FRAMES: u8 = 1;
pub const SEQUENCE_END: u8 = 2;
const MOD_EX: u8 = 7;

// AvMultitrackType.
const ONE_TRACK: u8 = 0;
const MANY_TRACKS_MANY_CODECS: u8 = 2;

/// One track's part of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    pub kind: u8,
    pub fourcc: [u8; 4],
    /// 0 if the message is of one track and names none.
    pub track: u8,
    pub body: Bytes,
}

/// Reads on behind the first byte, the low four bits of which are the packet type. `multitrack` is the packet type that says
/// there are several tracks.
pub fn packets(tag: &'static str, kind: u8, multitrack: u8, body: Bytes) -> Result<Vec<Packet>, Error> {
    let (mut kind, mut body) = (kind, body);
    while kind == MOD_EX {
        kind = skip_modifier(tag, &mut body)?;
    }
    if kind != multitrack {
        let fourcc = fourcc(tag, &mut body)?;
        return Ok(vec![Packet { kind, fourcc, track: 0, body }]);
    }
    let byte = take(tag, &mut body, 1)?[0];
    let (arrangement, kind) = (byte >> 4, byte & 15);
    if kind == multitrack || arrangement > MANY_TRACKS_MANY_CODECS {
        let found = format!("multitrack type {arrangement} of packet type {kind}");
        return Err(Error::Malformed { tag, found, expected: "one or many tracks of packets" });
    }
    let shared = if arrangement == MANY_TRACKS_MANY_CODECS { None } else { Some(fourcc(tag, &mut body)?) };
    let mut packets = Vec::new();
    while !body.is_empty() {
        let fourcc = match shared {
            Some(fourcc) => fourcc,
            None => self::fourcc(tag, &mut body)?,
        };
        let track = take(tag, &mut body, 1)?[0];
        let size = if arrangement == ONE_TRACK {
            body.len()
        } else {
            let size = take(tag, &mut body, 3)?;
            usize::from(size[0]) << 16 | usize::from(size[1]) << 8 | usize::from(size[2])
        };
        packets.push(Packet { kind, fourcc, track, body: take(tag, &mut body, size)? });
    }
    Ok(packets)
}

/// A modifier, and the packet type behind it. The only one there is refines the timestamp by less than a millisecond, which
/// is finer than the feed's clock: frames are put on their grid later, more exactly than either.
fn skip_modifier(tag: &'static str, body: &mut Bytes) -> Result<u8, Error> {
    let mut size = usize::from(take(tag, body, 1)?[0]) + 1;
    if size == 256 {
        size = usize::from(take(tag, body, 2)?.get_u16()) + 1;
    }
    take(tag, body, size)?;
    Ok(take(tag, body, 1)?[0] & 15)
}

fn fourcc(tag: &'static str, body: &mut Bytes) -> Result<[u8; 4], Error> {
    Ok(*take(tag, body, 4)?.first_chunk().expect("took four bytes"))
}

/// The next `size` bytes of a tag.
pub fn take(tag: &'static str, body: &mut Bytes, size: usize) -> Result<Bytes, Error> {
    match size <= body.len() {
        true => Ok(body.split_to(size)),
        false => Err(Error::Short { tag, length: body.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MULTITRACK: u8 = 6;

    /// Kind, code, track and body.
    type Flat = (u8, String, u8, Vec<u8>);

    fn read(bytes: &'static [u8]) -> Result<Vec<Flat>, Error> {
        let packets = packets("video", bytes[0] & 15, MULTITRACK, Bytes::from_static(&bytes[1..]))?;
        let flat = |packet: Packet| {
            (packet.kind, packet.fourcc.escape_ascii().to_string(), packet.track, packet.body.to_vec())
        };
        Ok(packets.into_iter().map(flat).collect())
    }

    #[test]
    fn arrangements() {
        for (bytes, want) in [
            (&b"\x81av01xyz"[..], vec![(1, "av01", 0, "xyz")]),
            // TimestampOffsetNano of three bytes, then coded frames.
            (b"\x87\x02\0\0\x64\x01hvc1x", vec![(1, "hvc1", 0, "x")]),
            // Two modifiers.
            (b"\x87\0\xAA\x07\x02\0\0\x64\x03hvc1x", vec![(3, "hvc1", 0, "x")]),
            // One track, many tracks, many tracks of many codecs.
            (b"\x86\x01av01\x03xyz", vec![(1, "av01", 3, "xyz")]),
            (b"\x86\x11av01\0\0\0\x01x\x01\0\0\x02yz", vec![(1, "av01", 0, "x"), (1, "av01", 1, "yz")]),
            (b"\x86\x21av01\0\0\0\x01xhvc1\x07\0\0\x01y", vec![(1, "av01", 0, "x"), (1, "hvc1", 7, "y")]),
        ] {
            let want: Vec<_> = want
                .into_iter()
                .map(|(kind, fourcc, track, body)| (kind, fourcc.to_owned(), track, body.as_bytes().to_vec()))
                .collect();
            assert_eq!(read(bytes), Ok(want), "{}", bytes.escape_ascii());
        }
        for bytes in [&b"\x81av0"[..], b"\x87\xFF\0", b"\x86\x16", b"\x86\x31av01", b"\x86\x11av01\0\0\0\x09x", b"\x86"]
        {
            assert!(read(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        let mut long = vec![0x87, 0xFF, 0x01, 0x00];
        long.extend_from_slice(&[0; 257]);
        long.extend_from_slice(b"\x01av01x");
        assert_eq!(read(long.leak()), Ok(vec![(1, "av01".into(), 0, b"x".to_vec())]));
    }
}
