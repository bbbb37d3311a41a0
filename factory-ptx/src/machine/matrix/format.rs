//! The number formats of matrix operands, taken apart for exact products.

use crate::machine::lanes::LANES;

/// Format of an element of A or B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    F16,
    BF16,
    /// In 32 bits, of which the lowest 13 do not count.
    TF32,
    E4M3,
    E5M2,
}

impl Format {
    /// Bits that an element takes in a register or in memory.
    pub(crate) fn bits(self) -> u32 {
        match self {
            Format::F16 | Format::BF16 => 16,
            Format::TF32 => 32,
            Format::E4M3 | Format::E5M2 => 8,
        }
    }

    /// Bits behind the point of the significand.
    pub(crate) fn fraction(self) -> u32 {
        match self {
            Format::F16 | Format::TF32 => 10,
            Format::BF16 => 7,
            Format::E4M3 => 3,
            Format::E5M2 => 2,
        }
    }
}

/// A number taken apart: the exponent (an `i16`) in the upper half, the signed significand (an `i16`, with the
/// format's fraction bits behind the point) in the lower one. Subnormals have the least exponent and a significand
/// below one.
pub(crate) type Packed = i32;

/// Exponent of a zero: below that of every product that is not zero.
pub(crate) const ZERO: i32 = -4096;
/// Exponent of an infinity; its significand is 1 or -1.
pub(crate) const INFINITY: i32 = 8192;
/// Exponent of a NaN.
pub(crate) const NAN: i32 = 8193;

/// The exponent of a number taken apart.
#[inline(always)]
pub(crate) fn exponent(packed: Packed) -> i32 {
    packed >> 16
}

/// The significand of a number taken apart.
#[inline(always)]
pub(crate) fn significand(packed: Packed) -> i32 {
    packed << 16 >> 16
}

/// Takes apart an element of `E` exponent bits and `M` fraction bits in the low bits of a word.
#[inline(always)]
fn unpack<const E: u32, const M: u32, const FINITE: bool>(bits: u32) -> Packed {
    let ones = (1 << E) - 1;
    let bias = (1 << (E - 1)) - 1;
    let field = (bits >> M & ones) as i32;
    let fraction = (bits & ((1 << M) - 1)) as i32;
    let negative = -((bits >> (E + M) & 1) as i32);
    let normal = i32::from(field != 0);
    let significand = fraction | normal << M;
    let mut exponent = field + (1 - normal) - bias;
    if significand == 0 {
        exponent = ZERO;
    }
    let mut signed = (significand ^ negative) - negative;
    if FINITE {
        if field == ones as i32 && fraction == (1 << M) - 1 {
            exponent = NAN;
        }
    } else if field == ones as i32 {
        exponent = if fraction == 0 { INFINITY } else { NAN };
        signed = 1 | negative;
    }
    exponent << 16 | signed & 0xffff
}

/// Takes apart one element in the low bits of a word.
#[inline(always)]
pub(crate) fn pack(format: Format, bits: u32) -> Packed {
    match format {
        Format::F16 => unpack::<5, 10, false>(bits),
        Format::BF16 => unpack::<8, 7, false>(bits),
        Format::TF32 => unpack::<8, 10, false>(bits >> 13),
        Format::E4M3 => unpack::<4, 3, true>(bits),
        Format::E5M2 => unpack::<5, 2, false>(bits),
    }
}

/// The same number with a significand of at least one, as a wider format holds the subnormals of a narrow one.
pub(crate) fn normalised(format: Format, packed: Packed) -> Packed {
    let (magnitude, top) = (significand(packed).unsigned_abs(), format.fraction());
    if magnitude == 0 || magnitude >> top != 0 || exponent(packed) >= INFINITY {
        return packed;
    }
    let up = magnitude.leading_zeros() - (31 - top);
    (exponent(packed) - up as i32) << 16 | (significand(packed) << up) & 0xffff
}

#[inline(always)]
fn pack_lanes(format: Format, words: &[u32; LANES], shift: u32) -> ([Packed; LANES], bool) {
    #[inline(always)]
    fn each(words: &[u32; LANES], f: impl Fn(u32) -> Packed) -> ([Packed; LANES], bool) {
        let mut row = [0; LANES];
        let mut greatest = i32::MIN;
        for (packed, &word) in row.iter_mut().zip(words) {
            *packed = f(word);
            greatest = greatest.max(*packed);
        }
        (row, greatest >= INFINITY << 16)
    }
    match format {
        Format::F16 => each(words, |word| unpack::<5, 10, false>(word >> shift)),
        Format::BF16 => each(words, |word| unpack::<8, 7, false>(word >> shift)),
        Format::TF32 => each(words, |word| unpack::<8, 10, false>(word >> 13)),
        Format::E4M3 => each(words, |word| unpack::<4, 3, true>(word >> shift)),
        Format::E5M2 => each(words, |word| unpack::<5, 2, false>(word >> shift)),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn pack_lanes_fast(format: Format, words: &[u32; LANES], shift: u32) -> ([Packed; LANES], bool) {
    pack_lanes(format, words, shift)
}

/// Takes apart a whole row of elements, each in the low bits of a word behind `shift` others; says whether one of
/// them is infinite or not a number.
pub(crate) fn pack_row(format: Format, words: &[u32; LANES], shift: u32) -> ([Packed; LANES], bool) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has it.
        return unsafe { pack_lanes_fast(format, words, shift) };
    }
    pack_lanes(format, words, shift)
}
