//! The two 8-bit floating point formats of the OCP FP8 specification (revision 1.0).
//!
//! | format | exponent bias | largest value | smallest normal | smallest subnormal | infinities | NaN |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | E4M3 | 7 | 448 | 2^-6 | 2^-9 | none | `S.1111.111` |
//! | E5M2 | 15 | 57344 | 2^-14 | 2^-16 | `S.11111.00` | `S.11111.{01,10,11}` |
//!
//! Conversions towards 8 bits round to nearest even and saturate, as `cvt.rn.satfinite` of PTX does: whatever is larger
//! than the largest value, infinities included, becomes the largest value with the same sign; NaN becomes `0x7f`.

use crate::DType;

/// The value of an E4M3 number; every one is exact in `f32`.
pub fn e4m3_to_f32(bits: u8) -> f32 {
    if bits & 0x7f == 0x7f {
        return f32::NAN.copysign(sign_of(bits));
    }
    let exponent = (bits >> 3) & 0xf;
    let mantissa = bits & 7;
    let magnitude = match exponent {
        0 => f32::from(mantissa) * 2f32.powi(-9),
        _ => f32::from(8 + mantissa) * 2f32.powi(i32::from(exponent) - 10),
    };
    magnitude.copysign(sign_of(bits))
}

/// The value of an E5M2 number; every one is exact in `f32`.
pub fn e5m2_to_f32(bits: u8) -> f32 {
    let exponent = (bits >> 2) & 0x1f;
    let mantissa = bits & 3;
    let magnitude = match (exponent, mantissa) {
        (0x1f, 0) => f32::INFINITY,
        (0x1f, _) => f32::NAN,
        (0, _) => f32::from(mantissa) * 2f32.powi(-16),
        _ => f32::from(4 + mantissa) * 2f32.powi(i32::from(exponent) - 17),
    };
    magnitude.copysign(sign_of(bits))
}

/// The nearest E4M3 number, saturating at ±448.
pub fn f32_to_e4m3_satfinite(value: f32) -> u8 {
    f64_to_e4m3_satfinite(f64::from(value))
}

/// The nearest E5M2 number, saturating at ±57344.
pub fn f32_to_e5m2_satfinite(value: f32) -> u8 {
    f64_to_e5m2_satfinite(f64::from(value))
}

/// The nearest E4M3 number to an `f64`, in one rounding.
pub fn f64_to_e4m3_satfinite(value: f64) -> u8 {
    if value.is_nan() {
        return 0x7f;
    }
    pack(DType::F8E4M3.round(value), 3, 7)
}

/// The nearest E5M2 number to an `f64`, in one rounding.
pub fn f64_to_e5m2_satfinite(value: f64) -> u8 {
    if value.is_nan() {
        return 0x7f;
    }
    pack(DType::F8E5M2.round(value), 2, 15)
}

/// The bits of a value that is already one of the format's finite values.
fn pack(value: f64, mantissa_bits: u32, bias: i32) -> u8 {
    let sign = if value.is_sign_negative() { 0x80 } else { 0 };
    let bits = value.abs().to_bits();
    let exponent = (bits >> 52) as i32 - 1023;
    if exponent < 1 - bias {
        // Zero or a subnormal: a multiple of the smallest one.
        return sign | (value.abs() * 2f64.powi(bias - 1 + mantissa_bits as i32)) as u8;
    }
    let mantissa = ((bits >> (52 - mantissa_bits)) & ((1 << mantissa_bits) - 1)) as u8;
    sign | ((exponent + bias) as u8) << mantissa_bits | mantissa
}

fn sign_of(bits: u8) -> f32 {
    if bits & 0x80 == 0 { 1.0 } else { -1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every finite number of a format, ascending, by its bits.
    fn finite_magnitudes(decode: fn(u8) -> f32) -> Vec<(u8, f64)> {
        (0..0x80u8)
            .map(|bits| (bits, f64::from(decode(bits))))
            .filter(|(_, value)| value.is_finite())
            .collect()
    }

    #[test]
    fn every_number_survives_a_round_trip() {
        for bits in 0..=255u8 {
            let value = e4m3_to_f32(bits);
            if value.is_nan() {
                assert_eq!(bits & 0x7f, 0x7f);
                assert_eq!(f32_to_e4m3_satfinite(value), 0x7f);
            } else {
                assert_eq!(f32_to_e4m3_satfinite(value), bits);
            }
            let value = e5m2_to_f32(bits);
            if value.is_nan() {
                assert_eq!(f32_to_e5m2_satfinite(value), 0x7f);
            } else if value.is_infinite() {
                assert_eq!(f32_to_e5m2_satfinite(value), bits - 1, "saturates to the largest finite value");
            } else {
                assert_eq!(f32_to_e5m2_satfinite(value), bits);
            }
        }
    }

    #[test]
    fn halfway_goes_to_even_and_either_side_to_its_neighbour() {
        for (decode, encode) in [
            (e4m3_to_f32 as fn(u8) -> f32, f64_to_e4m3_satfinite as fn(f64) -> u8),
            (e5m2_to_f32, f64_to_e5m2_satfinite),
        ] {
            let numbers = finite_magnitudes(decode);
            assert!(numbers.windows(2).all(|pair| pair[0].1 < pair[1].1));
            for pair in numbers.windows(2) {
                let ((low_bits, low), (high_bits, high)) = (pair[0], pair[1]);
                let half = (low + high) / 2.0;
                let even = if low_bits % 2 == 0 { low_bits } else { high_bits };
                assert_eq!(encode(half), even);
                assert_eq!(encode(-half), even | 0x80);
                assert_eq!(encode(f64::from_bits(half.to_bits() - 1)), low_bits);
                assert_eq!(encode(f64::from_bits(half.to_bits() + 1)), high_bits);
            }
        }
    }

    #[test]
    fn limits_are_those_of_the_standard() {
        assert_eq!(e4m3_to_f32(0x7e), 448.0);
        assert_eq!(e4m3_to_f32(0x08), 2f32.powi(-6));
        assert_eq!(e4m3_to_f32(0x01), 2f32.powi(-9));
        assert_eq!(e5m2_to_f32(0x7b), 57344.0);
        assert_eq!(e5m2_to_f32(0x04), 2f32.powi(-14));
        assert_eq!(e5m2_to_f32(0x01), 2f32.powi(-16));
        for huge in [449.0, 465.0, 1e30, f64::INFINITY, f64::MAX] {
            assert_eq!(f64_to_e4m3_satfinite(huge), 0x7e);
            assert_eq!(f64_to_e4m3_satfinite(-huge), 0xfe);
        }
        for huge in [57345.0, 61440.0, 65536.0, f64::INFINITY, f64::MAX] {
            assert_eq!(f64_to_e5m2_satfinite(huge), 0x7b);
            assert_eq!(f64_to_e5m2_satfinite(-huge), 0xfb);
        }
        assert_eq!(f64_to_e4m3_satfinite(-0.0), 0x80);
        assert_eq!(f64_to_e4m3_satfinite(5e-324), 0);
    }
}
