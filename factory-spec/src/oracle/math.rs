//! Elementary functions in f64 that give the same bits on every machine.
//!
//! The system's own `exp` and its kin differ between C libraries, and with them the expected values, the tolerances and
//! what a search finds. Those here use only operations that IEEE 754 defines exactly (+ - * / and sqrt, never fused), in
//! a fixed order. They have no branches and no tables, so that a loop over a slice becomes vector code.
//!
//! Relative error, measured against higher precision in the tests below: at most 4 units in the last place (1e-15) for
//! `exp`, `exp2`, `log`, `log2`, `tanh`, `sigmoid` and their compositions, subnormal results excepted. `erf`, `sin`,
//! `cos` and `pow` come from the `libm` crate (a port of musl's and FreeBSD's), which is pure Rust and has below 1 unit.

/// 1.5 * 2^52: adding it to |x| < 2^51 leaves the nearest integer in the low bits of the sum.
const SHIFT: f64 = 6_755_399_441_055_744.0;
/// The upper 32 bits of ln 2 (so that its product with an exponent is exact) and the rest.
const LN2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
const LN2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);

/// 2^n for an integer -1022 <= n <= 1023, given `n + SHIFT`.
#[inline(always)]
fn power_of_two(shifted: f64) -> f64 {
    f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52)
}

/// `value * 2^n` for an integral `n` in -2000..=2000, in two steps so that neither factor overflows.
#[inline(always)]
fn scale(value: f64, n: f64) -> f64 {
    let half = n * 0.5 + SHIFT;
    let rest = (n - (half - SHIFT)) + SHIFT;
    value * power_of_two(half) * power_of_two(rest)
}

#[inline(always)]
fn at_least(value: f64, low: f64) -> f64 {
    // A NaN compares false and stays.
    if value < low { low } else { value }
}

#[inline(always)]
fn at_most(value: f64, high: f64) -> f64 {
    if value > high { high } else { value }
}

/// e^r - 1 for |r| <= 0.35: the Taylor series to r^14, whose remainder is below 1e-18 of the result.
#[inline(always)]
fn expm1_reduced(r: f64) -> f64 {
    const C: [f64; 13] = [
        1.0 / 2.0,
        1.0 / 6.0,
        1.0 / 24.0,
        1.0 / 120.0,
        1.0 / 720.0,
        1.0 / 5_040.0,
        1.0 / 40_320.0,
        1.0 / 362_880.0,
        1.0 / 3_628_800.0,
        1.0 / 39_916_800.0,
        1.0 / 479_001_600.0,
        1.0 / 6_227_020_800.0,
        1.0 / 87_178_291_200.0,
    ];
    // Pairs first (Estrin): half as many operations wait for one another.
    let r2 = r * r;
    let r4 = r2 * r2;
    let p0 = (C[0] + C[1] * r) + (C[2] + C[3] * r) * r2;
    let p1 = (C[4] + C[5] * r) + (C[6] + C[7] * r) * r2;
    let p2 = (C[8] + C[9] * r) + (C[10] + C[11] * r) * r2 + C[12] * r4;
    r + r2 * (p0 + r4 * (p1 + r4 * p2))
}

/// Splits x into n and r with x = n ln 2 + r, |r| <= 0.35; |x| must be below 2^20.
#[inline(always)]
fn reduce(x: f64) -> (f64, f64) {
    let n = (x * std::f64::consts::LOG2_E + SHIFT) - SHIFT;
    (n, (x - n * LN2_HIGH) - n * LN2_LOW)
}

/// e^x
#[inline(always)]
pub(crate) fn exp(x: f64) -> f64 {
    let (n, r) = reduce(at_most(at_least(x, -750.0), 710.0));
    scale(1.0 + expm1_reduced(r), n)
}

/// 2^x, exact at integers
#[inline(always)]
pub(crate) fn exp2(x: f64) -> f64 {
    let x = at_most(at_least(x, -1080.0), 1025.0);
    let n = (x + SHIFT) - SHIFT;
    scale(1.0 + expm1_reduced((x - n) * std::f64::consts::LN_2), n)
}

/// e^x - 1 without cancellation next to zero, for x <= 0 (all that `tanh` needs)
#[inline(always)]
fn expm1_negative(x: f64) -> f64 {
    let (n, r) = reduce(at_least(x, -60.0));
    let power = power_of_two(n + SHIFT);
    power * expm1_reduced(r) + (power - 1.0)
}

/// Splits a positive finite x into an exponent and (m - 1) with m in [sqrt(1/2), sqrt(2)).
#[inline(always)]
fn split(x: f64) -> (f64, f64) {
    const SUBNORMAL: f64 = f64::MIN_POSITIVE;
    let scaled = if x < SUBNORMAL { x * 18_014_398_509_481_984.0 } else { x };
    let lift = if x < SUBNORMAL { 54.0 } else { 0.0 };
    // Adding the distance from sqrt(1/2) to 1 carries into the exponent exactly when the mantissa is sqrt(2) or more.
    const OFFSET: u64 = 0x3ff0_0000_0000_0000 - 0x3fe6_a09e_667f_3bcd;
    let bits = scaled.to_bits().wrapping_add(OFFSET);
    let exponent =
        f64::from_bits((bits >> 52) | 0x4330_0000_0000_0000) - 4_503_599_627_370_496.0 - 1023.0 - lift;
    let mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff).wrapping_add(0x3fe6_a09e_667f_3bcd));
    (exponent, mantissa - 1.0)
}

/// ln(1 + f) for f in [sqrt(1/2) - 1, sqrt(2) - 1]: the series of 2 artanh(s), s = f / (2 + f), to s^23. Returned as a
/// leading part and a correction.
#[inline(always)]
fn log1p_reduced(f: f64) -> (f64, f64) {
    let s = f / (2.0 + f);
    let z = s * s;
    let z2 = z * z;
    let z4 = z2 * z2;
    let low = (2.0 / 3.0 + z * (2.0 / 5.0)) + z2 * (2.0 / 7.0 + z * (2.0 / 9.0));
    let middle = (2.0 / 11.0 + z * (2.0 / 13.0)) + z2 * (2.0 / 15.0 + z * (2.0 / 17.0));
    let high = (2.0 / 19.0 + z * (2.0 / 21.0)) + z2 * (2.0 / 23.0);
    let series = z * (low + z4 * (middle + z4 * high));
    // f - f^2/2 + s (f^2/2 + series): the exact leading term first, as 2s = f - s f.
    let half_square = 0.5 * f * f;
    (f, s * (half_square + series) - half_square)
}

/// What a logarithm gives outside the positive finite numbers, else `value`.
#[inline(always)]
fn log_special(x: f64, value: f64) -> f64 {
    let value = if x == f64::INFINITY { x } else { value };
    let value = if x == 0.0 { f64::NEG_INFINITY } else { value };
    let value = if x < 0.0 { f64::NAN } else { value };
    if x.is_nan() { x } else { value }
}

/// Natural logarithm
#[inline(always)]
pub(crate) fn log(x: f64) -> f64 {
    let (n, f) = split(x);
    let (lead, correction) = log1p_reduced(f);
    log_special(x, n * LN2_HIGH + (lead + (correction + n * LN2_LOW)))
}

/// Logarithm to base 2, exact at powers of two
#[inline(always)]
pub(crate) fn log2(x: f64) -> f64 {
    /// log2(e) less its nearest f64
    const LOG2_E_LOW: f64 = f64::from_bits(0x3c77_77d0_ffda_0d24);
    let (n, f) = split(x);
    let (lead, correction) = log1p_reduced(f);
    let log = lead + correction;
    let rest = (lead - log) + correction;
    let scaled = log * std::f64::consts::LOG2_E + (rest * std::f64::consts::LOG2_E + log * LOG2_E_LOW);
    log_special(x, n + scaled)
}

/// Hyperbolic tangent
#[inline(always)]
pub(crate) fn tanh(x: f64) -> f64 {
    let e = expm1_negative(-2.0 * x.abs());
    (-e / (2.0 + e)).copysign(x)
}

/// 1 / (1 + e^-x)
#[inline(always)]
pub(crate) fn sigmoid(x: f64) -> f64 {
    let e = exp(-x.abs());
    let numerator = if x < 0.0 { e } else { 1.0 };
    numerator / (1.0 + e)
}

/// x sigmoid(x); NaN at minus infinity, as `x / (1 + exp(-x))` is
#[inline(always)]
pub(crate) fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

/// x Φ(x) = x (1 + erf(x / sqrt 2)) / 2, through erfc below zero so that the left tail keeps its digits
#[inline(always)]
pub(crate) fn gelu(x: f64) -> f64 {
    0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points all over the range, dense near zero.
    fn points(limit: f64) -> impl Iterator<Item = f64> {
        let mut state = 1u64;
        (0..200_000).map(move |i| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let unit = (state >> 11) as f64 / 2f64.powi(53) * 2.0 - 1.0;
            if i % 2 == 0 { unit * limit } else { unit.powi(9) * limit }
        })
    }

    fn assert_close(name: &str, x: f64, got: f64, expected: f64) {
        if got == expected {
            return;
        }
        if expected.abs() < f64::MIN_POSITIVE {
            assert!((got - expected).abs() <= 1e-320, "{name}({x:e}) = {got:e}, not {expected:e}");
            return;
        }
        let error = ((got - expected) / expected).abs();
        assert!(error <= 1e-15, "{name}({x:e}) = {got:e}, not {expected:e}: {error:e}");
    }

    #[test]
    fn functions_agree_with_independent_implementations() {
        for x in points(745.0) {
            assert_close("exp", x, exp(x), libm::exp(x));
            assert_close("exp2", x, exp2(x), libm::exp2(x));
            assert_close("log", x, log(x.abs()), libm::log(x.abs()));
            assert_close("log2", x, log2(x.abs()), libm::log2(x.abs()));
        }
        for x in points(30.0) {
            assert_close("tanh", x, tanh(x), libm::tanh(x));
            let reference =
                if x < 0.0 { libm::exp(x) / (1.0 + libm::exp(x)) } else { 1.0 / (1.0 + libm::exp(-x)) };
            assert_close("sigmoid", x, sigmoid(x), reference);
        }
        for x in points(1.0) {
            let near_one = 1.0 + x * 0.3;
            assert_close("log", near_one, log(near_one), libm::log(near_one));
            assert_close("log2", near_one, log2(near_one), libm::log2(near_one));
        }
    }

    #[test]
    fn special_values() {
        assert_eq!(exp(f64::NEG_INFINITY), 0.0);
        assert_eq!(exp(f64::INFINITY), f64::INFINITY);
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1e300), 0.0);
        assert_eq!(exp(1e300), f64::INFINITY);
        assert_close("exp", 709.78, exp(709.78), libm::exp(709.78));
        assert_eq!(exp2(f64::INFINITY), f64::INFINITY);
        assert_eq!(exp2(f64::NEG_INFINITY), 0.0);
        for n in -1074..1024 {
            assert_eq!(exp2(f64::from(n)), libm::ldexp(1.0, n));
            assert_eq!(log2(libm::ldexp(1.0, n)), f64::from(n));
        }
        assert_eq!(log(0.0), f64::NEG_INFINITY);
        assert_eq!(log(-0.0), f64::NEG_INFINITY);
        assert_eq!(log(f64::INFINITY), f64::INFINITY);
        assert_eq!(log(1.0), 0.0);
        assert!(log(-1.0).is_nan() && log2(-1.0).is_nan());
        assert_eq!(tanh(f64::INFINITY), 1.0);
        assert_eq!(tanh(f64::NEG_INFINITY), -1.0);
        assert_eq!(tanh(-0.0).to_bits(), (-0.0f64).to_bits());
        assert_eq!(tanh(1e-300), 1e-300);
        assert_eq!(sigmoid(f64::NEG_INFINITY), 0.0);
        assert_eq!(sigmoid(f64::INFINITY), 1.0);
        assert_eq!(silu(f64::INFINITY), f64::INFINITY);
        assert_eq!(gelu(f64::INFINITY), f64::INFINITY);
        assert!(gelu(-20.0) < 0.0 && gelu(-20.0) > -1e-80);
        for f in [exp, exp2, log, log2, tanh, sigmoid, silu, gelu] {
            assert!(f(f64::NAN).is_nan());
        }
    }

    #[test]
    fn bits_are_pinned() {
        // The same on every machine: a change here changes expected values everywhere.
        let mut hash = 0u64;
        for x in points(20.0) {
            for y in [exp(x), exp2(x), log(x.abs()), log2(x.abs()), tanh(x), sigmoid(x), silu(x), gelu(x)] {
                hash = (hash ^ y.to_bits()).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
            }
        }
        assert_eq!(hash, 0xcbde_ab50_d7d2_e74f, "{hash:#x}");
    }
}
