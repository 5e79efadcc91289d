//! Supplemental enhancement information, which H.264 (§7.3.2.3) and HEVC (§7.3.5) spell alike.

use super::bits::Bits;

/// payloadType of a recovery point in H.264 (§D.1.8).
pub const RECOVERY_POINT: u32 = 6;
/// payloadType of alternative transfer characteristics in both (H.264 §D.1.38, H.265 §D.2.38).
pub const ALTERNATIVE_TRANSFER: u32 = 147;

/// payloadType of registered user data in both (H.264 §D.1.6, H.265 §D.2.6): captions, among others.
pub const REGISTERED_USER_DATA: u32 = 4;

/// The payload of the first message of a type in a SEI unit, whose header is `header_size` bytes.
pub fn find(unit: &[u8], header_size: usize, wanted: u32) -> Option<Bits<'_>> {
    messages(unit, header_size).find(|(kind, _)| *kind == wanted).map(|(_, payload)| payload)
}

/// Type and payload of each message in a SEI unit. A payload goes on behind its end: what is in it says how long it is.
pub fn messages(unit: &[u8], header_size: usize) -> impl Iterator<Item = (u32, Bits<'_>)> {
    let mut bits = Bits::of_nal(unit.get(header_size..).unwrap_or_default());
    std::iter::from_fn(move || {
        // A message is at least two bytes; the trailing bits are one.
        if bits.remaining() <= 16 {
            return None;
        }
        let kind = number(&mut bits)?;
        let size = number(&mut bits)?;
        let payload = bits.clone();
        // One that ends behind the unit is the last.
        if size.checked_mul(8).and_then(|size| bits.skip(size)).is_none() {
            bits = Bits::of_nal(&[]);
        }
        Some((kind, payload))
    })
}

/// `payloadType` and `payloadSize`: a run of 255s and a last byte.
fn number(bits: &mut Bits<'_>) -> Option<u32> {
    let mut number = 0_u32;
    loop {
        let byte = bits.byte()?;
        number = number.checked_add(u32::from(byte))?;
        if byte != 255 {
            return Some(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_behind_others_and_sizes_are_followed() {
        let mut long = vec![6, 5, 255, 45];
        long.extend_from_slice(&[0xAA; 300]);
        long.extend_from_slice(&[147, 1, 18, 0x80]);
        let cases: &[(&[u8], Option<u8>)] = &[
            (&[6, 147, 1, 18, 0x80], Some(18)),
            (&long, Some(18)),
            (&[6, 5, 1, 147, 147, 1, 14, 0x80], Some(14)),
            (&[6, 5, 9, 147, 1, 18, 0x80], None),
            (&[6, 255, 255, 255], None),
            (&[6], None),
            (&[], None),
        ];
        for (unit, want) in cases {
            assert_eq!(find(unit, 1, ALTERNATIVE_TRANSFER).and_then(|mut bits| bits.byte()), *want, "{unit:x?}");
        }
    }
}
