//! How a picture is turned when it is shown: the transformation matrix of `tkhd` (ISO/IEC 14496-12 §8.3.2).

/// The matrix as nine numbers in file order `a b u c d v x y w`: turns by quarters, with or without mirroring, and where the
/// turned picture is put. Phones write their videos so. Others (scaling, skewing) are read as none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix([u32; 9]);

const ONE: u32 = 0x1_0000;
const MINUS_ONE: u32 = ONE.wrapping_neg();
const W_ONE: u32 = 0x4000_0000;

impl Default for Matrix {
    fn default() -> Matrix {
        Matrix([ONE, 0, 0, 0, ONE, 0, 0, 0, W_ONE])
    }
}

impl Matrix {
    /// `None` if it is cut short, or does more than turn and mirror.
    pub(super) fn read(bytes: &[u8]) -> Option<Matrix> {
        let words = bytes.as_chunks().0.get(..9)?;
        let mut matrix = [0; 9];
        matrix.iter_mut().zip(words).for_each(|(value, word)| *value = u32::from_be_bytes(*word));
        let [a, b, u, c, d, v, _, _, w] = matrix;
        let unit = |value: u32| value == ONE || value == MINUS_ONE;
        let upright = unit(a) && unit(d) && (b, c) == (0, 0);
        let turned = unit(b) && unit(c) && (a, d) == (0, 0);
        ((upright || turned) && (u, v, w) == (0, 0, W_ONE)).then_some(Matrix(matrix))
    }

    pub fn values(&self) -> [u32; 9] {
        self.0
    }

    /// Whether width and height change places.
    pub fn is_sideways(&self) -> bool {
        self.0[0] == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_read_and_nothing_else() {
        let quarter = [0, ONE, 0, MINUS_ONE, 0, 0, 180 << 16, 0, W_ONE];
        let half = [MINUS_ONE, 0, 0, 0, MINUS_ONE, 0, 320 << 16, 180 << 16, W_ONE];
        let mirrored = [MINUS_ONE, 0, 0, 0, ONE, 0, 320 << 16, 0, W_ONE];
        for (values, want) in [
            (Matrix::default().0, Some(false)),
            (quarter, Some(true)),
            (half, Some(false)),
            (mirrored, Some(false)),
            ([0; 9], None),
            ([2 * ONE, 0, 0, 0, 2 * ONE, 0, 0, 0, W_ONE], None),
            ([ONE, ONE, 0, ONE, ONE, 0, 0, 0, W_ONE], None),
            ([ONE, 0, 0, 0, ONE, 0, 0, 0, ONE], None),
        ] {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
            let read = Matrix::read(&bytes);
            assert_eq!(read.map(|matrix| matrix.is_sideways()), want, "{values:x?}");
            assert!(read.is_none_or(|matrix| matrix.values() == values));
            assert_eq!(Matrix::read(&bytes[..35]), None);
        }
    }
}
