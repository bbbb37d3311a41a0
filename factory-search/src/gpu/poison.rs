//! What memory holds before a launch.
//!
//! Two poisons, because a kernel that leaves an element alone, or reads it first, gives different outputs over each: one is
//! NaN in the output's type, the other large and finite. Their free bits are drawn anew for every launch, so that no kernel
//! can know poison when it sees it, and no right answer is poison twice.

use factory_spec::DType;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Poison {
    NotANumber,
    Large,
}

impl Poison {
    pub(super) const BOTH: [Poison; 2] = [Poison::NotANumber, Poison::Large];

    /// A word of it. Memory holds the word at every multiple of 4, so elements narrower than a word take its halves or
    /// bytes, and wider ones repeat it.
    pub(super) fn word(self, dtype: DType, random: u64) -> u32 {
        let free = (random ^ (random >> 32)) as u32;
        let (set, mask) = match (self, dtype) {
            // The exponent is all ones and the mantissa's first bit is set: quiet, with any payload and sign.
            (Self::NotANumber, DType::F32) => (0x7fc0_0000, 0x803f_ffff),
            (Self::NotANumber, DType::F64) => (0x7ff8_0000, 0x8007_ffff),
            (Self::NotANumber, DType::BF16) => (0x7fc0_7fc0, 0x803f_803f),
            (Self::NotANumber, DType::F16) => (0x7e00_7e00, 0x81ff_81ff),
            // One NaN of either sign is all that f8e4m3 has.
            (Self::NotANumber, DType::F8E4M3 | DType::F8E5M2) => (0x7f7f_7f7f, 0x8080_8080),
            (Self::Large, DType::F32) => (0x6d00_0000, 0x80ff_ffff),
            (Self::Large, DType::F64) => (0x6d00_0000, 0x80ff_ffff),
            (Self::Large, DType::BF16) => (0x6d00_6d00, 0x80ff_80ff),
            (Self::Large, DType::F16) => (0x6c00_6c00, 0x83ff_83ff),
            (Self::Large, DType::F8E4M3 | DType::F8E5M2) => (0x6868_6868, 0x8383_8383),
            // Integers have no NaN: any number, and in the other poison one that differs in the topmost bits.
            (Self::NotANumber, _) => (0x8080_8080, 0x7f7f_7f7f & 0x3f3f_3f3f),
            (Self::Large, _) => (0x4040_4040, 0x3f3f_3f3f),
        };
        set | (free & mask)
    }
}

/// Whether an element is what poison left there. `address` is the element's own.
pub(super) fn is_poison(element: &[u8], address: u64, word: u32) -> bool {
    let bytes = word.to_le_bytes();
    element.iter().enumerate().all(|(index, byte)| *byte == bytes[(address as usize + index) % 4])
}

/// The first element that holds the poison of either run in both: nobody wrote it.
pub(super) fn unwritten(size: usize, first: (&[u8], u64, u32), second: (&[u8], u64, u32)) -> Option<usize> {
    let pairs = first.0.chunks_exact(size).zip(second.0.chunks_exact(size));
    pairs.enumerate().find_map(|(index, (a, b))| {
        let offset = (index * size) as u64;
        (is_poison(a, first.1 + offset, first.2) && is_poison(b, second.1 + offset, second.2))
            .then_some(index)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(poison: Poison, dtype: DType, random: u64) -> Vec<f64> {
        let bytes: Vec<u8> =
            std::iter::repeat_n(poison.word(dtype, random).to_le_bytes(), 2).flatten().collect();
        let mut values = Vec::new();
        dtype.decode(&bytes, &mut values);
        values
    }

    #[test]
    fn one_poison_is_nan_and_the_other_large_in_every_type() {
        for dtype in DType::ALL {
            for random in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef, 0xffff_ffff] {
                let (nan, large) =
                    (values(Poison::NotANumber, dtype, random), values(Poison::Large, dtype, random));
                if dtype.is_float() {
                    assert!(nan.iter().all(|x| x.is_nan()), "{dtype:?} {random:#x}: {nan:?}");
                    let least = dtype.max_value().sqrt().min(1e20);
                    assert!(
                        large.iter().all(|x| x.is_finite() && x.abs() >= least),
                        "{dtype:?} {random:#x}: {large:?}"
                    );
                } else {
                    assert!(nan.iter().zip(&large).all(|(a, b)| a != b), "{dtype:?} {random:#x}");
                }
            }
        }
    }

    #[test]
    fn the_free_bits_change_the_word() {
        for dtype in DType::ALL {
            for poison in Poison::BOTH {
                let words: std::collections::BTreeSet<u32> =
                    (0..64u64).map(|n| poison.word(dtype, n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
                assert!(words.len() > 8, "{dtype:?} {poison:?}: {}", words.len());
            }
        }
    }

    #[test]
    fn an_element_that_kept_both_poisons_was_not_written() {
        let (a, b) = (0x7fc0_1234u32, 0x6d00_4321u32);
        let mut first: Vec<u8> = std::iter::repeat_n(a.to_le_bytes(), 4).flatten().collect();
        let mut second: Vec<u8> = std::iter::repeat_n(b.to_le_bytes(), 4).flatten().collect();
        assert_eq!(unwritten(4, (&first, 16, a), (&second, 32, b)), Some(0));
        first[..8].fill(1);
        second[..8].fill(1);
        assert_eq!(unwritten(4, (&first, 16, a), (&second, 32, b)), Some(2));
        // The answer may be one of the poisons, as long as it is so over both.
        second[8..].copy_from_slice(&first[8..]);
        assert_eq!(unwritten(4, (&first, 16, a), (&second, 32, b)), None);
        // Halves follow the address.
        assert!(is_poison(&a.to_le_bytes()[2..], 2, a) && !is_poison(&a.to_le_bytes()[2..], 4, a));
    }
}
