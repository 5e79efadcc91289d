//! Bit by bit: the syntax elements of parameter sets and frame headers. `None` is the end of the data, or a code longer
//! than any value the specifications allow; what to say about it is left to who knows the structure.

/// Most significant bit first, over bytes from outside.
#[derive(Clone, Debug)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    current: u8,
    /// Bits of `current` not yet taken.
    left: u8,
    /// Whether `emulation_prevention_three_byte`s are skipped.
    escaped: bool,
    zeros: u8,
}

impl<'a> Bits<'a> {
    pub fn new(bytes: &'a [u8]) -> Bits<'a> {
        Bits { bytes, at: 0, current: 0, left: 0, escaped: false, zeros: 0 }
    }

    /// The payload of a NAL unit, after its header: emulation prevention is undone (ITU-T H.264 §7.4.1, H.265 §7.4.2).
    pub fn of_nal(bytes: &'a [u8]) -> Bits<'a> {
        Bits { escaped: true, ..Bits::new(bytes) }
    }

    fn fetch(&mut self) -> Option<()> {
        let mut byte = *self.bytes.get(self.at)?;
        self.at += 1;
        if self.escaped {
            if self.zeros >= 2 && byte == 3 {
                byte = *self.bytes.get(self.at)?;
                self.at += 1;
                self.zeros = 0;
            }
            self.zeros = if byte == 0 { (self.zeros + 1).min(2) } else { 0 };
        }
        (self.current, self.left) = (byte, 8);
        Some(())
    }

    /// The next `count` bits, at most 32.
    pub fn take(&mut self, count: u32) -> Option<u32> {
        debug_assert!(count <= 32);
        let (mut value, mut wanted) = (0_u64, count);
        while wanted > 0 {
            if self.left == 0 {
                self.fetch()?;
            }
            let taken = wanted.min(u32::from(self.left));
            let rest = u32::from(self.left) - taken;
            value = value << taken | u64::from(u32::from(self.current) >> rest & ((1 << taken) - 1));
            self.left = rest as u8;
            wanted -= taken;
        }
        Some(value as u32)
    }

    pub fn flag(&mut self) -> Option<bool> {
        Some(self.take(1)? == 1)
    }

    pub fn byte(&mut self) -> Option<u8> {
        Some(self.take(8)? as u8)
    }

    pub fn skip(&mut self, count: u32) -> Option<()> {
        let mut count = count;
        while count > 0 {
            let step = count.min(32);
            self.take(step)?;
            count -= step;
        }
        Some(())
    }

    /// `ue(v)`: at most 2³² − 2.
    pub fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        // zeros is at most 31: the sum is at most 2^32 - 2.
        Some(((1_u64 << zeros) - 1 + u64::from(self.take(zeros)?)) as u32)
    }

    /// `ue(v)` with the largest value its semantics allow.
    pub fn ue_max(&mut self, max: u32) -> Option<u32> {
        self.ue().filter(|&value| value <= max)
    }

    /// `se(v)`.
    pub fn se(&mut self) -> Option<i64> {
        let code = i64::from(self.ue()?);
        Some(if code % 2 == 0 { -(code / 2) } else { code / 2 + 1 })
    }

    /// Not counting emulation prevention.
    pub fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.at) * 8 + usize::from(self.left)
    }

    /// Goes on at the next byte boundary.
    pub fn align(&mut self) {
        self.left = 0;
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Writes what [`Bits`] reads.
    #[derive(Default)]
    pub struct Writer {
        bits: Vec<bool>,
    }

    impl Writer {
        pub fn put(&mut self, value: u64, count: u32) -> &mut Writer {
            self.bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
            self
        }

        pub fn ue(&mut self, value: u64) -> &mut Writer {
            let length = (value + 1).ilog2();
            self.put(0, length).put(value + 1, length + 1)
        }

        pub fn se(&mut self, value: i64) -> &mut Writer {
            self.ue(if value > 0 { 2 * value - 1 } else { -2 * value } as u64)
        }

        pub fn bytes(&self) -> Vec<u8> {
            let byte = |bits: &[bool]| (0..8).fold(0, |byte, at| byte << 1 | u8::from(bits.get(at) == Some(&true)));
            self.bits.chunks(8).map(byte).collect()
        }

        /// With emulation prevention, as in a NAL unit.
        pub fn escaped(&self) -> Vec<u8> {
            let mut out: Vec<u8> = Vec::new();
            for byte in self.bytes() {
                if out.ends_with(&[0, 0]) && byte <= 3 {
                    out.push(3);
                }
                out.push(byte);
            }
            out
        }
    }

    #[test]
    fn exponential_golomb_codes() {
        // 1 | 010 | 011 | 00100 | 00101 -> 0 1 2 3 4 (ITU-T H.264 table 9-2)
        let bytes = [0b1010_0110, 0b0100_0010, 0b1000_0000];
        let mut bits = Bits::new(&bytes);
        assert_eq!([(); 5].map(|()| bits.ue()), [Some(0), Some(1), Some(2), Some(3), Some(4)]);
        let mut bits = Bits::new(&bytes);
        assert_eq!([(); 5].map(|()| bits.se()), [Some(0), Some(1), Some(-1), Some(2), Some(-2)]);
        assert_eq!(Bits::new(&[0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF]).ue(), Some(u32::MAX - 1));
        assert_eq!(Bits::new(&[0; 16]).ue(), None, "no code is that long");
        assert_eq!(Bits::new(&[0]).ue(), None);
    }

    #[test]
    fn emulation_prevention_is_undone_only_in_nal_units() {
        let bytes = [0x00, 0x00, 0x03, 0x01, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03];
        let mut nal = Bits::of_nal(&bytes);
        let read: Vec<u8> = std::iter::from_fn(|| nal.byte()).collect();
        assert_eq!(read, [0, 0, 1, 0, 0, 0, 0]);
        let mut raw = Bits::new(&bytes);
        assert_eq!(raw.take(32), Some(0x0000_0301));
        assert_eq!(raw.remaining(), 48);
    }
}
