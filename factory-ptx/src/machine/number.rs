//! Floating-point arithmetic as PTX defines it, for what Rust's operators do not say: rounding modes, narrow formats,
//! flushing, saturation, canonical NaNs, approximate functions.
//!
//! One idea serves every rounding mode and every format narrower than f64. The exact result of an addition,
//! multiplication or fused multiply-add of operands of 24 bits or fewer is held as an f64 *rounded to odd*: when the
//! f64 result is inexact, its last bit says so. Rounding that once more to at most 51 bits gives what rounding the
//! exact result would have given (Boldo and Melquiond, 2008), whatever the mode.

/// Rounding of the last step, as a const parameter.
pub(crate) const NEAREST: u8 = 0;
/// Towards zero.
pub(crate) const ZERO: u8 = 1;
/// Towards minus infinity.
pub(crate) const DOWN: u8 = 2;
/// Towards plus infinity.
pub(crate) const UP: u8 = 3;
/// To nearest, ties away from zero (`.rna`).
pub(crate) const AWAY: u8 = 4;

/// The NaN that f32 instructions give.
pub(crate) const F32_NAN: u32 = 0x7fff_ffff;
/// The NaN that f16 and bf16 instructions give.
pub(crate) const HALF_NAN: u16 = 0x7fff;

/// `value + error` rounded to odd, where `value` is the f64 nearest to the exact sum.
#[inline(always)]
fn to_odd(value: f64, error: f64) -> f64 {
    if error == 0.0 || !value.is_finite() || !error.is_finite() {
        return value;
    }
    let mut bits = value.to_bits();
    if (error < 0.0) != (value < 0.0) {
        bits -= 1;
    }
    f64::from_bits(bits | 1)
}

/// `a + b` rounded to odd.
#[inline(always)]
pub(crate) fn add_odd(a: f64, b: f64) -> f64 {
    to_odd(a + b, lost(a, b))
}

/// `a * b + c` rounded to odd; the product must be exact in f64 (operands of 24 bits or fewer).
#[inline(always)]
pub(crate) fn fma_odd(a: f64, b: f64, c: f64) -> f64 {
    add_odd(a * b, c)
}

/// `a / b` rounded to odd, for operands of 24 bits or fewer.
#[inline(always)]
pub(crate) fn div_odd(a: f64, b: f64) -> f64 {
    let quotient = a / b;
    if !quotient.is_finite() || quotient == 0.0 || !b.is_finite() {
        return quotient;
    }
    let remainder = (-quotient).mul_add(b, a);
    to_odd(quotient, if b < 0.0 { -remainder } else { remainder })
}

/// The square root rounded to odd, for operands of 24 bits or fewer.
#[inline(always)]
pub(crate) fn sqrt_odd(a: f64) -> f64 {
    let root = a.sqrt();
    if !root.is_finite() || root == 0.0 {
        return root;
    }
    to_odd(root, (-root).mul_add(root, a))
}

/// An f64 (exact or rounded to odd) as f32 in a rounding mode.
#[inline(always)]
pub(crate) fn to_f32<const MODE: u8>(value: f64) -> f32 {
    let nearest = value as f32;
    if MODE == NEAREST || !value.is_finite() {
        return nearest;
    }
    let back = f64::from(nearest);
    if MODE == AWAY {
        return narrow::<AWAY>(value, F32).map_or(nearest, f32::from_bits);
    }
    let bits = nearest.to_bits();
    let too_high = back > value;
    let too_low = back < value;
    let negative = value.is_sign_negative();
    let towards_zero = |bits: u32| f32::from_bits(bits - 1);
    let from_zero = |bits: u32| f32::from_bits(bits + 1);
    match MODE {
        ZERO if (too_high && !negative) || (too_low && negative) => towards_zero(bits),
        DOWN if too_high => {
            if nearest == 0.0 {
                f32::from_bits(0x8000_0001)
            } else if negative {
                from_zero(bits)
            } else {
                towards_zero(bits)
            }
        }
        UP if too_low => {
            if nearest == 0.0 {
                f32::from_bits(1)
            } else if negative {
                towards_zero(bits)
            } else {
                from_zero(bits)
            }
        }
        _ => nearest,
    }
}

/// A binary format no wider than f64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// Bits of the stored fraction.
    pub(crate) fraction: u32,
    /// Exponent of the least normal number.
    pub(crate) least: i32,
    /// The code that follows the greatest finite number (infinity, or where there is none the first NaN).
    pub(crate) overflow: u64,
    /// Whether `overflow` is an infinity.
    pub(crate) infinity: bool,
    /// Bits in all.
    pub(crate) bits: u32,
}

pub(crate) const F32: Format =
    Format { fraction: 23, least: -126, overflow: 0x7f80_0000, infinity: true, bits: 32 };
pub(crate) const F16: Format =
    Format { fraction: 10, least: -14, overflow: 0x7c00, infinity: true, bits: 16 };
pub(crate) const BF16: Format =
    Format { fraction: 7, least: -126, overflow: 0x7f80, infinity: true, bits: 16 };
pub(crate) const TF32: Format =
    Format { fraction: 10, least: -126, overflow: 0x3_fc00, infinity: true, bits: 19 };
pub(crate) const E4M3: Format = Format { fraction: 3, least: -6, overflow: 0x7f, infinity: false, bits: 8 };
pub(crate) const E5M2: Format = Format { fraction: 2, least: -14, overflow: 0x7c, infinity: true, bits: 8 };

/// Rounds a value to a format; `None` for a NaN. Values beyond the greatest finite number become infinity or, as
/// the mode has it (and always where the format has no infinity), the greatest finite number.
pub(crate) fn narrow<const MODE: u8>(value: f64, format: Format) -> Option<u32> {
    if value.is_nan() {
        return None;
    }
    let bits = value.to_bits();
    let negative = bits >> 63 != 0;
    let sign = u64::from(negative) << (format.bits - 1);
    let greatest = format.overflow - 1;
    let field = (bits >> 52 & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    let code = if field == 0x7ff {
        if format.infinity { format.overflow } else { greatest }
    } else {
        let (significand, exponent) =
            if field == 0 { (fraction, -1022) } else { (fraction | 1 << 52, field - 1023) };
        let base = exponent.max(format.least);
        let shift = base - format.fraction as i32 - exponent + 52;
        let (mut kept, rest, half) = if shift <= 0 {
            (significand << -shift, 0, 1)
        } else if shift > 62 {
            (0, significand, 1 << 62)
        } else {
            (significand >> shift, significand & ((1 << shift) - 1), 1 << (shift - 1))
        };
        let up = match MODE {
            NEAREST => rest > half || (rest == half && kept & 1 != 0),
            AWAY => rest >= half,
            DOWN => negative && rest != 0,
            UP => !negative && rest != 0,
            _ => false,
        };
        kept += u64::from(up);
        // A subnormal has no implicit bit, and a carry out of the fraction raises the exponent by itself.
        let code = ((base - format.least + 1) as u64) << format.fraction;
        let code = code + kept - (1 << format.fraction);
        if code >= format.overflow {
            let to_infinity = match MODE {
                NEAREST | AWAY => true,
                DOWN => negative,
                UP => !negative,
                _ => false,
            };
            if to_infinity && format.infinity { format.overflow } else { greatest }
        } else {
            code
        }
    };
    Some((sign | code) as u32)
}

/// f16 to f64, exactly.
#[inline(always)]
pub(crate) fn f16_to_f64(bits: u16) -> f64 {
    f64::from(half::f16::from_bits(bits).to_f32_const())
}

/// bf16 to f64, exactly.
#[inline(always)]
pub(crate) fn bf16_to_f64(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) << 16))
}

/// f16 or bf16 to f64, exactly.
#[inline(always)]
pub(crate) fn half_to_f64<const BRAIN: bool>(bits: u16) -> f64 {
    if BRAIN { bf16_to_f64(bits) } else { f16_to_f64(bits) }
}

/// f64 (exact or rounded to odd) to f16 or bf16; a NaN becomes the canonical one.
#[inline(always)]
pub(crate) fn half_from_f64<const BRAIN: bool, const MODE: u8>(value: f64) -> u16 {
    narrow::<MODE>(value, if BRAIN { BF16 } else { F16 }).map_or(HALF_NAN, |bits| bits as u16)
}

/// f32 to a format of `FRACTION` bits and least exponent `LEAST`, nearest even, without branches: the bits but for the
/// sign, not cut at the greatest number. A NaN gives anything.
#[inline(always)]
fn narrow_nearest<const FRACTION: u32, const LEAST: i32>(magnitude: u32) -> u32 {
    let drop = 23 - FRACTION;
    // Of 1.0: where normal numbers begin, less one exponent for the implicit bit.
    let rebias = ((126 + LEAST) as u32) << 23;
    let even = magnitude >> drop & 1;
    let normal = magnitude.wrapping_sub(rebias).wrapping_add((1 << (drop - 1)) - 1 + even) >> drop;
    // A number whose last bit counts as much as the least subnormal does the rounding of those.
    let magic = ((127 + 23 + LEAST - FRACTION as i32) as u32) << 23;
    let subnormal = (f32::from_bits(magnitude) + f32::from_bits(magic)).to_bits().wrapping_sub(magic);
    if magnitude < ((127 + LEAST) as u32) << 23 { subnormal } else { normal }
}

/// f16 to f32 with the canonical NaN, as vectorisable arithmetic.
#[inline(always)]
pub(crate) fn f32_from_f16(bits: u16) -> f32 {
    let magnitude = u32::from(bits & 0x7fff) << 13;
    // The exponent's bias grows by 112; the multiplication does it for subnormals too.
    let finite = f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23);
    let code = if magnitude >= 0x0f80_0000 { 0x7f80_0000 } else { finite.to_bits() };
    let code = if magnitude > 0x0f80_0000 { F32_NAN } else { code | u32::from(bits & 0x8000) << 16 };
    f32::from_bits(code)
}

/// f32 to f16, nearest even, as vectorisable arithmetic.
#[inline(always)]
pub(crate) fn f16_from_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let code = narrow_nearest::<10, -14>(magnitude).min(0x7c00) | bits >> 16 & 0x8000;
    if magnitude > 0x7f80_0000 { HALF_NAN } else { code as u16 }
}

/// f32 to e4m3 (or e5m2), nearest even and saturating, as vectorisable arithmetic.
#[inline(always)]
pub(crate) fn float8_from_f32<const E5: bool>(value: f32) -> u32 {
    let bits = value.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let code = if E5 {
        narrow_nearest::<2, -14>(magnitude).min(0x7b)
    } else {
        narrow_nearest::<3, -6>(magnitude).min(0x7e)
    };
    if magnitude > 0x7f80_0000 { 0x7f } else { code | bits >> 24 & 0x80 }
}

/// f32 to bf16, nearest even, as vectorisable integer arithmetic.
#[inline(always)]
pub(crate) fn bf16_from_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
    if value.is_nan() { HALF_NAN } else { rounded }
}

/// Subnormals to zero of the same sign, where `FLUSH` says so.
#[inline(always)]
pub(crate) fn flush<const FLUSH: bool>(value: f32) -> f32 {
    if FLUSH && value.to_bits() & 0x7f80_0000 == 0 {
        f32::from_bits(value.to_bits() & 0x8000_0000)
    } else {
        value
    }
}

/// The rounded result of an f32 product, fused or not, or quotient with `.ftz`: what is below the least normal number
/// when it is rounded to 24 bits as if exponents had no end becomes zero, even if f32 would round it up to that number.
#[inline(always)]
pub(crate) fn flush_exact<const MODE: u8>(rounded: f32, exact: f64) -> f32 {
    // Far enough up for 24 bits, and back in the comparison.
    let scaled = to_f32::<MODE>(exact * f64::from(1u32 << 30));
    let tiny = scaled.abs() < f32::MIN_POSITIVE * (1u32 << 30) as f32;
    if tiny { f32::from_bits(rounded.to_bits() & 0x8000_0000) } else { rounded }
}

/// As [`flush_exact`] to nearest, without branches: `sum` is the exact result rounded to f64, `error` the rest.
#[inline(always)]
pub(crate) fn flush_near(rounded: f32, sum: f64, error: f64) -> f32 {
    // Half a unit of 24 bits below the least normal number: from here on rounding reaches it.
    const LEAST: f64 = f64::from_bits((1023 - 126) << 52) - f64::from_bits((1023 - 151) << 52);
    let below = error != 0.0 && (error < 0.0) != (sum < 0.0);
    let tiny = sum.abs() < LEAST || (sum.abs() == LEAST && below);
    if tiny { f32::from_bits(rounded.to_bits() & 0x8000_0000) } else { rounded }
}

/// What an f64 addition lost.
#[inline(always)]
pub(crate) fn lost(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let of_b = sum - a;
    (a - (sum - of_b)) + (b - of_b)
}

/// The result of an f32 instruction: flushed, saturated to [0, 1] (NaN to 0), its NaN canonical.
#[inline(always)]
pub(crate) fn finish<const FLUSH: bool, const SATURATE: bool>(value: f32) -> f32 {
    let value = flush::<FLUSH>(value);
    if SATURATE {
        if value > 0.0 { if value < 1.0 { value } else { 1.0 } } else { 0.0 }
    } else if value.is_nan() {
        f32::from_bits(F32_NAN)
    } else {
        value
    }
}

/// `min` and `max` of PTX: a NaN operand is ignored unless `NAN`; -0 is below +0.
#[inline(always)]
pub(crate) fn extremum<const MAX: bool, const NAN: bool>(a: f32, b: f32) -> f32 {
    let ordered = |value: f32| {
        let bits = value.to_bits() as i32;
        bits ^ (((bits >> 31) as u32) >> 1) as i32
    };
    let first = if MAX { ordered(a) >= ordered(b) } else { ordered(a) <= ordered(b) };
    let best = if first { a } else { b };
    let result = if a.is_nan() {
        b
    } else if b.is_nan() {
        a
    } else {
        best
    };
    if (NAN && (a.is_nan() || b.is_nan())) || result.is_nan() { f32::from_bits(F32_NAN) } else { result }
}

/// As [`extremum`], in f64.
#[inline(always)]
pub(crate) fn extremum64<const MAX: bool, const NAN: bool>(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        if NAN || (a.is_nan() && b.is_nan()) {
            return super::number64::keep2(f64::NAN, a, b);
        }
        return if a.is_nan() { b } else { a };
    }
    let ordered = |value: f64| {
        let bits = value.to_bits() as i64;
        bits ^ (((bits >> 63) as u64) >> 1) as i64
    };
    let first = if MAX { ordered(a) >= ordered(b) } else { ordered(a) <= ordered(b) };
    if first { a } else { b }
}

/// `2^x` in f64 to about 2e-13, without branches, the same on every platform.
#[inline(always)]
pub(crate) fn exp2(x: f64) -> f64 {
    let clamped = x.clamp(-1020.0, 1020.0);
    // Adding and subtracting 1.5 * 2^52 rounds to an integer; its low bits are that integer.
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    let shifted = clamped + MAGIC;
    let whole = shifted - MAGIC;
    let t = (clamped - whole) * std::f64::consts::LN_2;
    let mut sum = 1.0 / 3_628_800.0;
    sum = sum * t + 1.0 / 362_880.0;
    sum = sum * t + 1.0 / 40_320.0;
    sum = sum * t + 1.0 / 5_040.0;
    sum = sum * t + 1.0 / 720.0;
    sum = sum * t + 1.0 / 120.0;
    sum = sum * t + 1.0 / 24.0;
    sum = sum * t + 1.0 / 6.0;
    sum = sum * t + 0.5;
    sum = sum * t + 1.0;
    sum = sum * t + 1.0;
    let integer = shifted.to_bits().wrapping_sub(MAGIC.to_bits());
    let scale = f64::from_bits(integer.wrapping_add(1023) << 52);
    if x.is_nan() { x } else { sum * scale }
}

/// `log2(x)` in f64 for a positive finite `x`, to about 1e-15 relative, the same on every platform.
pub(crate) fn log2(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x.is_infinite() {
        return x;
    }
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut m = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1;
    }
    // log(m) = 2 atanh((m - 1) / (m + 1)), |argument| <= 0.172
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let mut sum = 1.0 / 21.0;
    for odd in [19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        sum = sum * square + 1.0 / odd;
    }
    exponent as f64 + 2.0 * s * sum * std::f64::consts::LOG2_E
}

/// `tanh(x)` in f64.
pub(crate) fn tanh(x: f64) -> f64 {
    if x.abs() < 1e-3 {
        return x * (1.0 - x * x / 3.0);
    }
    let twice = exp2(2.0 * x.abs() * std::f64::consts::LOG2_E);
    let value = 1.0 - 2.0 / (twice + 1.0);
    if x.is_nan() {
        x
    } else if x < 0.0 {
        -value
    } else {
        value
    }
}
