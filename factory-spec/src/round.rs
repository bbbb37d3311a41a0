//! Rounding to the values of an element type, and the bytes that hold them.
//!
//! All conversions start from `f64` and round once, to nearest with ties to even: going through `f32` on the way to 16 or
//! 8 bits would round twice and differ from the right answer next to a tie.
//!
//! | type | beyond the largest value | NaN |
//! | --- | --- | --- |
//! | f32, f16, bf16 | infinity, from half a unit in the last place above the largest value on (IEEE 754) | stays NaN |
//! | f8e4m3, f8e5m2 | the largest value, also for infinities (`cvt.rn.satfinite`) | stays NaN |
//! | integers | the nearest limit | 0 (as `cvt.rni` of PTX) |
//!
//! Subnormals are values like any other: nothing is flushed to zero.

use crate::DType;
use crate::float8;

/// Twice 2^52 less its lowest half: the limits of `i64` that an `f64` can hold.
const I64_MAX: f64 = 9_223_372_036_854_774_784.0;

impl DType {
    /// The value of this type nearest to `value`, ties to even; see the module's table for overflow and NaN.
    ///
    /// `i64` saturates at 2^63 - 1024 above, the largest `i64` that an `f64` holds.
    pub fn round(self, value: f64) -> f64 {
        match self {
            DType::F64 => value,
            DType::F32 => f64::from(value as f32),
            DType::F16 => round_f16(value),
            DType::BF16 => round_bf16(value),
            DType::F8E4M3 => round_e4m3(value),
            DType::F8E5M2 => round_e5m2(value),
            DType::I8 | DType::U8 | DType::I32 | DType::U32 | DType::I64 => {
                let (low, high) = self.integer_limits();
                round_integer(value, low, high)
            }
        }
    }

    /// Rounds each value in place, as [`DType::round`] does.
    pub fn round_slice(self, values: &mut [f64]) {
        fn each(values: &mut [f64], f: impl Fn(f64) -> f64) {
            for value in values {
                *value = f(*value);
            }
        }
        match self {
            DType::F64 => {}
            DType::F32 => each(values, |value| f64::from(value as f32)),
            DType::F16 => each(values, round_f16),
            DType::BF16 => each(values, round_bf16),
            DType::F8E4M3 => each(values, round_e4m3),
            DType::F8E5M2 => each(values, round_e5m2),
            DType::I8 | DType::U8 | DType::I32 | DType::U32 | DType::I64 => {
                let (low, high) = self.integer_limits();
                each(values, |value| round_integer(value, low, high));
            }
        }
    }

    /// Appends the little-endian bytes of each value, rounded to this type, to `out`.
    pub fn encode(self, values: &[f64], out: &mut Vec<u8>) {
        out.reserve(values.len() * self.size());
        match self {
            DType::F64 => values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes())),
            DType::F32 => {
                values.iter().for_each(|value| out.extend_from_slice(&(*value as f32).to_le_bytes()))
            }
            DType::F16 => {
                values.iter().for_each(|value| out.extend_from_slice(&f16_bits(*value).to_le_bytes()))
            }
            DType::BF16 => {
                values.iter().for_each(|value| out.extend_from_slice(&bf16_bits(*value).to_le_bytes()))
            }
            DType::F8E4M3 => out.extend(values.iter().map(|value| float8::f64_to_e4m3_satfinite(*value))),
            DType::F8E5M2 => out.extend(values.iter().map(|value| float8::f64_to_e5m2_satfinite(*value))),
            DType::I8 => out.extend(values.iter().map(|value| self.round(*value) as i8 as u8)),
            DType::U8 => out.extend(values.iter().map(|value| self.round(*value) as u8)),
            DType::I32 => values
                .iter()
                .for_each(|value| out.extend_from_slice(&(self.round(*value) as i32).to_le_bytes())),
            DType::U32 => values
                .iter()
                .for_each(|value| out.extend_from_slice(&(self.round(*value) as u32).to_le_bytes())),
            DType::I64 => values
                .iter()
                .for_each(|value| out.extend_from_slice(&(self.round(*value) as i64).to_le_bytes())),
        }
    }

    /// Appends the values that little-endian `bytes` hold to `out`; bytes after the last whole element are left alone.
    ///
    /// An `i64` beyond 2^53 becomes the nearest `f64`.
    pub fn decode(self, bytes: &[u8], out: &mut Vec<f64>) {
        fn chunks<'a, const N: usize>(bytes: &'a [u8]) -> impl Iterator<Item = [u8; N]> + 'a {
            bytes.as_chunks::<N>().0.iter().copied()
        }
        out.reserve(bytes.len() / self.size());
        match self {
            DType::F64 => out.extend(chunks(bytes).map(f64::from_le_bytes)),
            DType::F32 => out.extend(chunks(bytes).map(|raw| f64::from(f32::from_le_bytes(raw)))),
            DType::F16 => out.extend(chunks(bytes).map(|raw| half::f16::from_le_bytes(raw).to_f64())),
            DType::BF16 => out.extend(
                chunks(bytes).map(|raw| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(raw)) << 16))),
            ),
            DType::F8E4M3 => out.extend(bytes.iter().map(|byte| f64::from(float8::e4m3_to_f32(*byte)))),
            DType::F8E5M2 => out.extend(bytes.iter().map(|byte| f64::from(float8::e5m2_to_f32(*byte)))),
            DType::I8 => out.extend(bytes.iter().map(|byte| f64::from(*byte as i8))),
            DType::U8 => out.extend(bytes.iter().map(|byte| f64::from(*byte))),
            DType::I32 => out.extend(chunks(bytes).map(|raw| f64::from(i32::from_le_bytes(raw)))),
            DType::U32 => out.extend(chunks(bytes).map(|raw| f64::from(u32::from_le_bytes(raw)))),
            DType::I64 => out.extend(chunks(bytes).map(|raw| i64::from_le_bytes(raw) as f64)),
        }
    }

    /// Unit roundoff: the largest relative error of rounding a normal value, 2^-p for p significant bits; 0 for integers.
    pub fn epsilon(self) -> f64 {
        match self {
            DType::F64 => 2f64.powi(-53),
            DType::F32 => 2f64.powi(-24),
            DType::F16 => 2f64.powi(-11),
            DType::BF16 => 2f64.powi(-8),
            DType::F8E4M3 => 2f64.powi(-4),
            DType::F8E5M2 => 2f64.powi(-3),
            DType::I8 | DType::U8 | DType::I32 | DType::U32 | DType::I64 => 0.0,
        }
    }

    /// The largest finite value (of `i64`: the largest that an `f64` holds).
    pub fn max_value(self) -> f64 {
        match self {
            DType::F64 => f64::MAX,
            DType::F32 => f64::from(f32::MAX),
            DType::F16 => 65504.0,
            DType::BF16 => (2.0 - 2f64.powi(-7)) * 2f64.powi(127),
            DType::F8E4M3 => 448.0,
            DType::F8E5M2 => 57344.0,
            DType::I8 | DType::U8 | DType::I32 | DType::U32 | DType::I64 => self.integer_limits().1,
        }
    }

    /// The smallest positive value that has all significant bits; 1 for integers.
    pub fn min_normal(self) -> f64 {
        match self {
            DType::F64 => f64::MIN_POSITIVE,
            DType::F32 | DType::BF16 => 2f64.powi(-126),
            DType::F16 | DType::F8E5M2 => 2f64.powi(-14),
            DType::F8E4M3 => 2f64.powi(-6),
            DType::I8 | DType::U8 | DType::I32 | DType::U32 | DType::I64 => 1.0,
        }
    }

    /// The smallest positive value; 1 for integers.
    pub fn min_positive(self) -> f64 {
        match self {
            DType::F64 => f64::from_bits(1),
            DType::F32 => 2f64.powi(-149),
            DType::F16 => 2f64.powi(-24),
            DType::BF16 => 2f64.powi(-133),
            DType::F8E4M3 => 2f64.powi(-9),
            DType::F8E5M2 => 2f64.powi(-16),
            DType::I8 | DType::U8 | DType::I32 | DType::U32 | DType::I64 => 1.0,
        }
    }

    fn integer_limits(self) -> (f64, f64) {
        match self {
            DType::I8 => (-128.0, 127.0),
            DType::U8 => (0.0, 255.0),
            DType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            DType::U32 => (0.0, f64::from(u32::MAX)),
            _ => (i64::MIN as f64, I64_MAX),
        }
    }
}

/// Rounds to a format of `MANTISSA` stored bits whose normal exponents run from `MIN` to `MAX`, the exponent unbounded
/// above: a magnitude past the format's largest value means overflow. Branch free, so that loops over it vectorise.
///
/// Adding 2^(52 + q) to a magnitude below it makes the hardware round to multiples of 2^q, ties to even; q is the
/// exponent of one unit in the last place.
#[inline(always)]
fn round_magnitude<const MANTISSA: u64, const MIN: i64, const MAX: i64>(value: f64) -> f64 {
    // Larger than anything the format holds, and small enough that the sum below cannot overflow.
    let cap = f64::from_bits(((MAX + 1 + 1023) as u64) << 52);
    let magnitude = value.abs();
    let magnitude = if magnitude > cap { cap } else { magnitude };
    let lowest = ((MIN + 1023) as u64) << 52;
    let exponent = magnitude.to_bits() & 0x7ff0_0000_0000_0000;
    let exponent = if exponent < lowest { lowest } else { exponent };
    let shift = f64::from_bits(exponent + ((52 - MANTISSA) << 52));
    (magnitude + shift) - shift
}

#[inline(always)]
fn overflow_to(value: f64, rounded: f64, largest: f64, beyond: f64) -> f64 {
    let rounded = if rounded > largest { beyond } else { rounded };
    if value.is_nan() { value } else { rounded.copysign(value) }
}

#[inline(always)]
pub(crate) fn round_f16(value: f64) -> f64 {
    overflow_to(value, round_magnitude::<10, -14, 15>(value), 65504.0, f64::INFINITY)
}

#[inline(always)]
pub(crate) fn round_bf16(value: f64) -> f64 {
    const LARGEST: f64 = f64::from_bits(0x47ef_e000_0000_0000);
    overflow_to(value, round_magnitude::<7, -126, 127>(value), LARGEST, f64::INFINITY)
}

#[inline(always)]
pub(crate) fn round_e4m3(value: f64) -> f64 {
    overflow_to(value, round_magnitude::<3, -6, 8>(value), 448.0, 448.0)
}

#[inline(always)]
pub(crate) fn round_e5m2(value: f64) -> f64 {
    overflow_to(value, round_magnitude::<2, -14, 15>(value), 57344.0, 57344.0)
}

#[inline(always)]
fn round_integer(value: f64, low: f64, high: f64) -> f64 {
    if value.is_nan() {
        return 0.0;
    }
    // The sum removes the sign of a zero, which integers do not have.
    value.round_ties_even().clamp(low, high) + 0.0
}

fn bf16_bits(value: f64) -> u16 {
    if value.is_nan() {
        return 0x7fff;
    }
    // Exact: a bf16 is the upper half of an f32.
    ((round_bf16(value) as f32).to_bits() >> 16) as u16
}

fn f16_bits(value: f64) -> u16 {
    if value.is_nan() {
        return 0x7fff;
    }
    let rounded = round_f16(value);
    let sign = u16::from(rounded.is_sign_negative()) << 15;
    let magnitude = rounded.abs();
    if magnitude.is_infinite() {
        return sign | 0x7c00;
    }
    if magnitude < 2f64.powi(-14) {
        return sign | (magnitude * 2f64.powi(24)) as u16;
    }
    // Normal: rebias the exponent and keep the ten upper bits of the mantissa, which are all there is.
    let bits = magnitude.to_bits();
    sign | (((bits >> 42) as u16).wrapping_sub((1023 - 15) << 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(dtype: DType, value: f64) -> Vec<u8> {
        let mut bytes = Vec::new();
        dtype.encode(&[value], &mut bytes);
        bytes
    }

    fn decoded(dtype: DType, bytes: &[u8]) -> f64 {
        let mut values = Vec::new();
        dtype.decode(bytes, &mut values);
        assert_eq!(values.len(), 1);
        values[0]
    }

    #[test]
    fn every_16_bit_number_survives_a_round_trip() {
        for dtype in [DType::F16, DType::BF16] {
            for bits in 0..=u16::MAX {
                let value = decoded(dtype, &bits.to_le_bytes());
                if value.is_nan() {
                    assert!(decoded(dtype, &encoded(dtype, value)).is_nan());
                    continue;
                }
                assert_eq!(encoded(dtype, value), bits.to_le_bytes(), "{dtype:?} {bits:#06x}");
                assert_eq!(dtype.round(value).to_bits(), value.to_bits());
            }
        }
    }

    #[test]
    fn halfway_between_16_bit_numbers_goes_to_even() {
        for (dtype, infinity) in [(DType::F16, 0x7c00u16), (DType::BF16, 0x7f80)] {
            for bits in 0..infinity - 1 {
                let low = decoded(dtype, &bits.to_le_bytes());
                let high = decoded(dtype, &(bits + 1).to_le_bytes());
                let half = (low + high) / 2.0;
                let even = if bits % 2 == 0 { low } else { high };
                assert_eq!(dtype.round(half), even, "{dtype:?} {bits:#06x}");
                assert_eq!(dtype.round(-half), -even);
                assert_eq!(dtype.round(f64::from_bits(half.to_bits() - 1)), low);
                assert_eq!(dtype.round(f64::from_bits(half.to_bits() + 1)), high);
            }
            let largest = dtype.max_value();
            let unit = largest - decoded(dtype, &(infinity - 2).to_le_bytes());
            assert_eq!(decoded(dtype, &(infinity - 1).to_le_bytes()), largest);
            assert_eq!(dtype.round(largest + unit / 2.0), f64::INFINITY);
            assert_eq!(dtype.round(f64::from_bits((largest + unit / 2.0).to_bits() - 1)), largest);
            assert_eq!(dtype.round(-1e300), f64::NEG_INFINITY);
            assert_eq!(dtype.round(f64::INFINITY), f64::INFINITY);
        }
    }

    #[test]
    fn one_rounding_only() {
        // Just above a tie of bf16, by less than f32 can see: through f32 this would round down to even.
        let value = 1.0 + 2f64.powi(-8) + 2f64.powi(-40);
        assert_eq!(DType::BF16.round(value), 1.0 + 2f64.powi(-7));
        assert_eq!(DType::BF16.round(f64::from(value as f32)), 1.0);
        let value = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
        assert_eq!(DType::F16.round(value), 1.0 + 2f64.powi(-10));
        let value = 1.0 + 2f64.powi(-4) + 2f64.powi(-40);
        assert_eq!(DType::F8E4M3.round(value), 1.125);
        assert_eq!(DType::F8E4M3.round(1.0 + 2f64.powi(-4)), 1.0);
    }

    #[test]
    fn integers_round_to_even_and_saturate() {
        assert_eq!(DType::I32.round(2.5), 2.0);
        assert_eq!(DType::I32.round(-3.5), -4.0);
        assert_eq!(DType::I8.round(1e9), 127.0);
        assert_eq!(DType::I8.round(-1e9), -128.0);
        assert_eq!(DType::U8.round(-1.0), 0.0);
        assert_eq!(DType::U8.round(-0.25).to_bits(), 0, "no negative zero");
        assert_eq!(DType::U32.round(f64::INFINITY), 4_294_967_295.0);
        assert_eq!(DType::I64.round(f64::NAN), 0.0);
        assert_eq!(DType::I64.round(1e30), I64_MAX);
        assert_eq!(encoded(DType::I64, -1e30), i64::MIN.to_le_bytes());
        for dtype in [DType::I8, DType::U8, DType::I32, DType::U32] {
            for value in [dtype.max_value(), dtype.round(f64::NEG_INFINITY), 0.0, 1.0, 77.0] {
                assert_eq!(decoded(dtype, &encoded(dtype, value)), value);
            }
        }
        assert_eq!(decoded(DType::I64, &encoded(DType::I64, -(2f64.powi(53)))), -(2f64.powi(53)));
    }

    #[test]
    fn slices_round_as_single_values_do() {
        let values: Vec<f64> =
            (0..2000).map(|i| f64::from(i - 1000).powi(7) * 1e-9 + f64::from(i) * 1e-3).collect();
        for dtype in DType::ALL {
            let mut rounded = values.clone();
            dtype.round_slice(&mut rounded);
            for (value, rounded) in values.iter().zip(&rounded) {
                assert_eq!(dtype.round(*value).to_bits(), rounded.to_bits(), "{dtype:?} {value}");
                assert_eq!(
                    dtype.round(*rounded),
                    *rounded,
                    "{dtype:?} {value}: rounding twice changes nothing"
                );
            }
        }
    }

    #[test]
    fn facts_about_the_types_agree_with_rounding() {
        for dtype in DType::ALL {
            assert_eq!(dtype.round(dtype.max_value()), dtype.max_value());
            assert_eq!(dtype.round(dtype.min_normal()), dtype.min_normal());
            assert_eq!(dtype.round(dtype.min_positive()), dtype.min_positive());
            assert_eq!(dtype.round(dtype.min_positive() / 2.0), 0.0);
            if dtype.is_float() {
                assert_eq!(dtype.round(1.0 + dtype.epsilon()), 1.0, "a tie, to even");
                assert_eq!(dtype.round(1.0 + 2.0 * dtype.epsilon()), 1.0 + 2.0 * dtype.epsilon());
                assert!(dtype.round(f64::NAN).is_nan());
            }
        }
    }
}
