//! `esds`: the elementary stream descriptor of MPEG-4 systems (ISO/IEC 14496-1 §7.2.6), read and written.

use crate::base::cursor::Cursor;
use crate::media::isobmff::write::full_boxed;

use super::Fault;

const ES_DESCRIPTOR: u8 = 3;
const DECODER_CONFIG: u8 = 4;
const DECODER_SPECIFIC: u8 = 5;
const SYNC_LAYER_CONFIG: u8 = 6;
const AUDIO_STREAM: u8 = 5;

/// What is used of an elementary stream descriptor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stream<'a> {
    /// objectTypeIndication (<https://mp4ra.org/registered-types/object-types>).
    pub object_type: u8,
    /// Where `object_type` lies in the file.
    pub offset: u64,
    /// In bytes, 24 bits.
    pub buffer_size: u32,
    /// In bits a second, as are averages; 0 if unknown.
    pub bitrate_max: u32,
    pub bitrate_average: u32,
    /// DecoderSpecificInfo, empty if there is none.
    pub specific: &'a [u8],
    pub specific_offset: u64,
}

impl<'a> Stream<'a> {
    /// Reads the body of an `esds` box.
    pub fn read(body: Cursor<'a>) -> Result<Stream<'a>, Fault> {
        let mut cursor = body;
        cursor.skip(4)?;
        let mut descriptor = expect(&mut cursor, ES_DESCRIPTOR, "an ES_Descriptor (tag 3)")?;
        descriptor.skip(2)?;
        let flags = descriptor.u8()?;
        if flags & 0x80 != 0 {
            descriptor.skip(2)?; // dependsOn_ES_ID
        }
        if flags & 0x40 != 0 {
            let length = usize::from(descriptor.u8()?);
            descriptor.skip(length)?; // URLstring
        }
        if flags & 0x20 != 0 {
            descriptor.skip(2)?; // OCR_ES_ID
        }
        let mut config = expect(&mut descriptor, DECODER_CONFIG, "a DecoderConfigDescriptor (tag 4)")?;
        let offset = config.position();
        let object_type = config.u8()?;
        config.skip(1)?;
        let (buffer_size, bitrate_max, bitrate_average) = (config.u24()?, config.u32()?, config.u32()?);
        let specific_offset = config.position();
        let (mut specific, mut specific_at) = (&[][..], specific_offset);
        if !config.is_empty() {
            let mut info = expect(&mut config, DECODER_SPECIFIC, "DecoderSpecificInfo (tag 5)")?;
            specific_at = info.position();
            specific = info.rest();
        }
        Ok(Stream {
            object_type,
            offset,
            buffer_size,
            bitrate_max,
            bitrate_average,
            specific,
            specific_offset: specific_at,
        })
    }

    /// An `esds` box as ISO/IEC 14496-14 §5.6 has it: ES_ID 0, predefined sync layer 2.
    pub fn write(&self) -> Vec<u8> {
        let mut config = vec![self.object_type, AUDIO_STREAM << 2 | 1];
        config.extend_from_slice(&self.buffer_size.to_be_bytes()[1..]);
        config.extend_from_slice(&self.bitrate_max.to_be_bytes());
        config.extend_from_slice(&self.bitrate_average.to_be_bytes());
        if !self.specific.is_empty() {
            put(&mut config, DECODER_SPECIFIC, self.specific);
        }
        let mut descriptor = vec![0, 0, 0];
        put(&mut descriptor, DECODER_CONFIG, &config);
        put(&mut descriptor, SYNC_LAYER_CONFIG, &[2]);
        let mut esds = Vec::with_capacity(descriptor.len() + 20);
        full_boxed(&mut esds, b"esds", 0, 0, |out| put(out, ES_DESCRIPTOR, &descriptor));
        esds
    }
}

fn expect<'a>(cursor: &mut Cursor<'a>, tag: u8, expected: &str) -> Result<Cursor<'a>, Fault> {
    let at = cursor.position();
    let found = cursor.u8()?;
    if found != tag {
        return Err(Fault::new(at, format!("descriptor tag {found}"), expected));
    }
    // Seven bits a byte, at most four (§8.3.3).
    let mut size = 0;
    for _ in 0..4 {
        let byte = cursor.u8()?;
        size = size << 7 | usize::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Ok(cursor.section(size)?)
}

fn put(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    let size = body.len() as u32;
    for shift in [21, 14, 7] {
        if size >> shift != 0 {
            out.push((size >> shift) as u8 & 0x7F | 0x80);
        }
    }
    out.push(size as u8 & 0x7F);
    out.extend_from_slice(body);
}
