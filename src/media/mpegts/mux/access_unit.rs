//! Access units of H.264 and HEVC, from NAL units behind their lengths to a byte stream (ITU-T H.264 annex B, H.265
//! annex B).

use crate::media::codec::NalCodec;
use crate::media::codec::elementary::Nal;

const START_CODE: [u8; 4] = [0, 0, 0, 1];
/// Access unit delimiters that allow for any slices (ITU-T H.264 §7.3.2.4, H.265 §7.3.2.5).
const AVC_DELIMITER: [u8; 6] = [0, 0, 0, 1, 0x09, 0xF0];
const HEVC_DELIMITER: [u8; 7] = [0, 0, 0, 1, 0x46, 0x01, 0x50];

/// Appends a sample. Every access unit begins with a delimiter (ISO/IEC 13818-1 §2.14.1, §2.17.1), and one that decoding can
/// start at goes on with the parameter sets, unless it has its own. Of a sample that is damaged, what cannot be a NAL unit
/// is left out.
pub fn write(out: &mut Vec<u8>, config: &Nal, sample: &[u8], random_access: bool) {
    match config.codec {
        NalCodec::Avc => out.extend_from_slice(&AVC_DELIMITER),
        NalCodec::Hevc => out.extend_from_slice(&HEVC_DELIMITER),
    }
    let size = usize::from(config.length_size);
    if random_access && !units(sample, size).any(|unit| role(config.codec, unit[0]) == Role::SequenceParameters) {
        out.extend_from_slice(&config.parameter_sets);
    }
    for unit in units(sample, size).filter(|unit| role(config.codec, unit[0]) != Role::Delimiter) {
        out.extend_from_slice(&START_CODE);
        out.extend_from_slice(unit);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Delimiter,
    SequenceParameters,
    Other,
}

fn role(codec: NalCodec, first: u8) -> Role {
    match (codec, first & 0x1F, first >> 1 & 0x3F) {
        (NalCodec::Avc, 9, _) | (NalCodec::Hevc, _, 35) => Role::Delimiter,
        (NalCodec::Avc, 7, _) | (NalCodec::Hevc, _, 33) => Role::SequenceParameters,
        _ => Role::Other,
    }
}

/// None is empty.
fn units(sample: &[u8], length_size: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = sample;
    std::iter::from_fn(move || {
        loop {
            let (length, tail) = rest.split_at_checked(length_size).filter(|(length, _)| !length.is_empty())?;
            let length = length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
            let (unit, tail) = tail.split_at_checked(length)?;
            rest = tail;
            if !unit.is_empty() {
                return Some(unit);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_units() {
        let avc = |length_size| Nal { codec: NalCodec::Avc, length_size, parameter_sets: b"SETS".to_vec() };
        let hevc = Nal { codec: NalCodec::Hevc, length_size: 2, parameter_sets: b"SETS".to_vec() };
        type Row<'a> = (&'a str, Nal, &'a [u8], bool, &'a [&'a [u8]]);
        let cases: &[Row<'_>] = &[
            ("plain", avc(4), &[0, 0, 0, 2, 0x41, 7], false, &[&AVC_DELIMITER, &START_CODE, &[0x41, 7]]),
            ("key", avc(4), &[0, 0, 0, 2, 0x65, 7], true, &[&AVC_DELIMITER, b"SETS", &START_CODE, &[0x65, 7]]),
            ("its own delimiter", avc(1), &[2, 0x09, 0x10, 1, 0x41], false, &[&AVC_DELIMITER, &START_CODE, &[0x41]]),
            (
                "its own sets",
                avc(2),
                &[0, 1, 0x67, 0, 1, 0x65],
                true,
                &[&AVC_DELIMITER, &START_CODE, &[0x67], &START_CODE, &[0x65]],
            ),
            ("hevc", hevc.clone(), &[0, 1, 0x26], true, &[&HEVC_DELIMITER, b"SETS", &START_CODE, &[0x26]]),
            ("hevc delimiter", hevc, &[0, 1, 0x46, 0, 1, 0x02], false, &[&HEVC_DELIMITER, &START_CODE, &[0x02]]),
            ("empty unit", avc(1), &[0, 1, 0x41], false, &[&AVC_DELIMITER, &START_CODE, &[0x41]]),
            (
                "too long",
                avc(4),
                &[0, 0, 0, 1, 0x41, 0xFF, 0xFF, 0xFF, 0xFF, 1],
                false,
                &[&AVC_DELIMITER, &START_CODE, &[0x41]],
            ),
            ("cut in a length", avc(4), &[0, 0], false, &[&AVC_DELIMITER]),
            ("nothing", avc(4), &[], false, &[&AVC_DELIMITER]),
        ];
        for (name, config, sample, random_access, want) in cases {
            let mut out = Vec::new();
            write(&mut out, config, sample, *random_access);
            assert_eq!(out, want.concat(), "{name}");
        }
    }
}
