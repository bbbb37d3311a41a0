//! Elementary functions in PTX.
//!
//! | function | method | relative error |
//! | --- | --- | --- |
//! | `exp` f32, fast | `ex2.approx(x log2 e)` | 1e-5 at the ends of the range, for outputs of 16 bits and less |
//! | `exp` f32, precise | the same, with the rounding error of the product put back | 3e-7 |
//! | `exp` f64 | Cody and Waite's reduction, Taylor series to r^13 | 4e-16 |
//! | `log` | exponent apart, 2 artanh(f / (2 + f)) as a series | 2e-7, 4e-16 |
//! | `tanh` | odd polynomial below 0.6, 1 - 2 / (exp(2x) + 1) above | 3e-7, 1e-15 |
//! | `erf`, `gelu` | odd polynomial below 0.75, erfc above ([`super::coefficients`]) | 5e-7, 4e-15 |
//! | `sin`, `cos` | reduction by pi/2 in f64, Taylor series | 2e-7 up to 2^50 (f32); 4e-16 up to 2^30 (f64) |
//! | `pow` f32 | exp(y log x) in f64 | 1e-7 |
//! | `pow` f64 | exp(y log x) | 2^-52 times the exponent's magnitude |
//!
//! Infinities and NaN come out as in IEEE 754; subnormals are kept.

use std::f64::consts;

use factory_ptx::builder::{B32, Entry, F32, F64, Float, Pred, Reg};

use super::coefficients as c;

const LN2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
const LN2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);

/// What f32 and f64 do differently.
pub(super) trait Math: Float {
    const TANH: &'static [f64];
    const ERF: &'static [f64];
    const ERFC: &'static [f64];
    /// Beyond it erfc is 0.
    const ERFC_END: f64;
    const ARTANH_TERMS: u32;
    const SIN_TERMS: u32;

    fn divide(e: &mut Entry, a: Reg<Self>, b: Reg<Self>, precise: bool) -> Reg<Self>;
    fn reciprocal(e: &mut Entry, a: Reg<Self>, precise: bool) -> Reg<Self>;
    fn rsqrt(e: &mut Entry, a: Reg<Self>, precise: bool) -> Reg<Self>;
    fn sqrt(e: &mut Entry, a: Reg<Self>) -> Reg<Self>;
    fn exp(e: &mut Entry, x: Reg<Self>, precise: bool) -> Reg<Self>;
    fn exp2(e: &mut Entry, x: Reg<Self>) -> Reg<Self>;
    /// `x = m * 2^k` with m in [sqrt(1/2), sqrt(2)); for positive finite x. Returns (m, k).
    fn split(e: &mut Entry, x: Reg<Self>) -> (Reg<Self>, Reg<Self>);
    /// `(r, quadrant)` with x = quadrant * pi/2 + r.
    fn quadrant(e: &mut Entry, x: Reg<Self>) -> (Reg<Self>, Reg<B32>);
    fn pow(e: &mut Entry, x: Reg<Self>, y: Reg<Self>) -> Reg<Self>;
}

/// Horner's scheme.
fn polynomial<F: Math>(e: &mut Entry, coefficients: &[f64], x: Reg<F>) -> Reg<F> {
    let mut value: Option<Reg<F>> = None;
    for &coefficient in coefficients.iter().rev() {
        let constant = F::constant(coefficient);
        value = Some(match value {
            None => e.copy(constant),
            Some(value) => e.fma(value, x, constant),
        });
    }
    value.expect("a polynomial has a coefficient")
}

impl Math for F32 {
    const TANH: &'static [f64] = c::TANH_F32;
    const ERF: &'static [f64] = c::ERF_F32;
    const ERFC: &'static [f64] = c::ERFC_F32;
    const ERFC_END: f64 = 10.5;
    const ARTANH_TERMS: u32 = 5;
    const SIN_TERMS: u32 = 5;

    fn divide(e: &mut Entry, a: Reg<F32>, b: Reg<F32>, precise: bool) -> Reg<F32> {
        if precise { e.div_rn(a, b) } else { e.div_full(a, b) }
    }

    fn reciprocal(e: &mut Entry, a: Reg<F32>, precise: bool) -> Reg<F32> {
        if precise { e.rcp_rn(a) } else { e.rcp_approx(a) }
    }

    fn rsqrt(e: &mut Entry, a: Reg<F32>, precise: bool) -> Reg<F32> {
        if precise {
            let root = e.sqrt_rn(a);
            e.rcp_rn(root)
        } else {
            e.rsqrt_approx(a)
        }
    }

    fn sqrt(e: &mut Entry, a: Reg<F32>) -> Reg<F32> {
        e.sqrt_rn(a)
    }

    fn exp(e: &mut Entry, x: Reg<F32>, precise: bool) -> Reg<F32> {
        let log2e = consts::LOG2_E as f32;
        if !precise {
            let scaled = e.mul(x, log2e);
            return e.ex2_approx(scaled);
        }
        // Inside the limits nothing is infinite, so the correction is not NaN; outside the result is 0 or infinite anyway.
        let x = e.max_nan(x, -110.0f32);
        let x = e.min_nan(x, 100.0f32);
        let scaled = e.mul_rn(x, log2e);
        let negated = e.neg(scaled);
        let rest = e.fma(x, log2e, negated);
        let rest = e.fma(x, (consts::LOG2_E - f64::from(log2e)) as f32, rest);
        let power = e.ex2_approx(scaled);
        let correction = e.fma(rest, consts::LN_2 as f32, 1.0f32);
        e.mul_rn(power, correction)
    }

    fn exp2(e: &mut Entry, x: Reg<F32>) -> Reg<F32> {
        e.ex2_approx(x)
    }

    fn split(e: &mut Entry, x: Reg<F32>) -> (Reg<F32>, Reg<F32>) {
        let subnormal = e.setp("lt", x, f32::MIN_POSITIVE);
        let lifted = e.mul_rn(x, 8_388_608.0f32);
        let x = e.select(lifted, x, subnormal);
        let lift = e.select(-23.0f32, 0.0f32, subnormal);
        let bits = e.bits_of_f32(x);
        let above = e.sub_s32(bits, 0x3f35_04f3);
        let exponent = e.shr_s32(above, 23);
        let shift = e.shl_b32(exponent, 23);
        let mantissa = e.sub_s32(bits, shift);
        let m = e.f32_of_bits(mantissa);
        let k = e.f32_from_s32(exponent);
        let k = e.add(k, lift);
        (m, k)
    }

    fn quadrant(e: &mut Entry, x: Reg<F32>) -> (Reg<F32>, Reg<B32>) {
        let x = e.f64_from_f32(x);
        let (r, quadrant) = F64::quadrant(e, x);
        (e.f32_from_f64(r), quadrant)
    }

    fn pow(e: &mut Entry, x: Reg<F32>, y: Reg<F32>) -> Reg<F32> {
        let x = e.f64_from_f32(x);
        let y = e.f64_from_f32(y);
        let power = F64::pow(e, x, y);
        e.f32_from_f64(power)
    }
}

impl Math for F64 {
    const TANH: &'static [f64] = c::TANH_F64;
    const ERF: &'static [f64] = c::ERF_F64;
    const ERFC: &'static [f64] = c::ERFC_F64;
    const ERFC_END: f64 = 27.5;
    const ARTANH_TERMS: u32 = 12;
    const SIN_TERMS: u32 = 9;

    fn divide(e: &mut Entry, a: Reg<F64>, b: Reg<F64>, _: bool) -> Reg<F64> {
        e.div_rn(a, b)
    }

    fn reciprocal(e: &mut Entry, a: Reg<F64>, _: bool) -> Reg<F64> {
        e.rcp_rn(a)
    }

    fn rsqrt(e: &mut Entry, a: Reg<F64>, _: bool) -> Reg<F64> {
        let root = e.sqrt_rn(a);
        e.rcp_rn(root)
    }

    fn sqrt(e: &mut Entry, a: Reg<F64>) -> Reg<F64> {
        e.sqrt_rn(a)
    }

    fn exp(e: &mut Entry, x: Reg<F64>, _: bool) -> Reg<F64> {
        let x = limit(e, x, -750.0, 710.0);
        let scaled = e.mul(x, consts::LOG2_E);
        let n = e.round_integral("rni", scaled);
        let negated = e.neg(n);
        let r = e.fma(negated, LN2_HIGH, x);
        let r = e.fma(negated, LN2_LOW, r);
        scaled_exp(e, r, n)
    }

    fn exp2(e: &mut Entry, x: Reg<F64>) -> Reg<F64> {
        let x = limit(e, x, -1080.0, 1025.0);
        let n = e.round_integral("rni", x);
        let r = e.sub_rn(x, n);
        let r = e.mul_rn(r, consts::LN_2);
        scaled_exp(e, r, n)
    }

    fn split(e: &mut Entry, x: Reg<F64>) -> (Reg<F64>, Reg<F64>) {
        let subnormal = e.setp("lt", x, f64::MIN_POSITIVE);
        let lifted = e.mul_rn(x, 18_014_398_509_481_984.0);
        let x = e.select(lifted, x, subnormal);
        let lift = e.select(-54.0, 0.0, subnormal);
        let bits = e.bits_of_f64(x);
        let (low, high) = e.split_b64(bits);
        let above = e.sub_s32(high, 0x3fe6_a09e);
        let exponent = e.shr_s32(above, 20);
        let shift = e.shl_b32(exponent, 20);
        let mantissa = e.sub_s32(high, shift);
        let joined = e.join_b64(low, mantissa);
        let m = e.f64_of_bits(joined);
        let k = e.f64_from_s32(exponent);
        let k = e.add(k, lift);
        (m, k)
    }

    fn quadrant(e: &mut Entry, x: Reg<F64>) -> (Reg<F64>, Reg<B32>) {
        // pi/2 in three parts of 53 bits each.
        const PARTS: [u64; 3] = [0x3ff9_21fb_5444_2d18, 0x3c91_a626_3314_5c07, 0xb91f_1976_b7ed_8fbc];
        let turns = e.mul(x, consts::FRAC_2_PI);
        let turns = e.round_integral("rni", turns);
        let negated = e.neg(turns);
        let mut r = x;
        for part in PARTS {
            r = e.fma(negated, f64::from_bits(part), r);
        }
        let quadrant = e.s64_from_f64(turns);
        (r, e.u32_from_u64(quadrant))
    }

    fn pow(e: &mut Entry, x: Reg<F64>, y: Reg<F64>) -> Reg<F64> {
        let magnitude = e.abs(x);
        let logarithm = log(e, magnitude);
        // 0 * infinity must not arise for a zero exponent; it is settled at the end.
        let product = e.mul_rn(logarithm, y);
        let power = F64::exp(e, product, true);
        // A negative base: NaN unless the exponent is whole, negative where it is odd.
        let whole_y = e.round_integral("rzi", y);
        let whole = e.setp("eq", whole_y, y);
        let half = e.mul(whole_y, 0.5);
        let whole_half = e.round_integral("rzi", half);
        let odd = e.setp("ne", whole_half, half);
        let bits = e.bits_of_f64(x);
        let negative = e.setp_s64("lt", bits, 0i64);
        let not_zero = e.setp("ne", x, 0.0);
        let finite = e.setp("ne", magnitude, f64::INFINITY);
        let opposite = e.neg(power);
        let flips = e.and_pred(negative, odd);
        let signed = e.select(opposite, power, flips);
        let fraction = e.not_pred(whole);
        let undefined = e.and_pred(negative, fraction);
        let undefined = e.and_pred(undefined, not_zero);
        let undefined = e.and_pred(undefined, finite);
        let value = e.select(f64::NAN, signed, undefined);
        // x^0 and 1^y are 1 whatever the other is; (-1)^infinity too.
        let zero_exponent = e.setp("eq", y, 0.0);
        let one = e.setp("eq", x, 1.0);
        let unit = e.setp("eq", magnitude, 1.0);
        let large_y = e.abs(y);
        let infinite = e.setp("eq", large_y, f64::INFINITY);
        let unit = e.and_pred(unit, infinite);
        let trivial = e.or_pred(zero_exponent, one);
        let trivial = e.or_pred(trivial, unit);
        e.select(1.0, value, trivial)
    }
}

/// Clamps, NaN stays.
fn limit(e: &mut Entry, x: Reg<F64>, low: f64, high: f64) -> Reg<F64> {
    let under = e.setp("lt", x, low);
    let x = e.select(low, x, under);
    let over = e.setp("gt", x, high);
    e.select(high, x, over)
}

/// e^r * 2^n for |r| <= 0.35 and integral n within twice the exponent's range.
fn scaled_exp(e: &mut Entry, r: Reg<F64>, n: Reg<F64>) -> Reg<F64> {
    let mut factorial = 1.0;
    let coefficients: Vec<f64> = (0..14)
        .map(|power| {
            if power > 0 {
                factorial *= f64::from(power);
            }
            1.0 / factorial
        })
        .collect();
    let mut value = polynomial(e, &coefficients, r);
    let n = e.s32_from_f64(n);
    let half = e.shr_s32(n, 1);
    let rest = e.sub_s32(n, half);
    let zero = e.copy::<B32>(0);
    for part in [half, rest] {
        let biased = e.add_s32(part, 1023);
        let high = e.shl_b32(biased, 20);
        let bits = e.join_b64(zero, high);
        let power = e.f64_of_bits(bits);
        value = e.mul_rn(value, power);
    }
    value
}

/// ln m for m in [sqrt(1/2), sqrt(2)).
fn log_reduced<F: Math>(e: &mut Entry, m: Reg<F>) -> Reg<F> {
    let f = e.sub_rn(m, F::constant(1.0));
    let above = e.add(f, F::constant(2.0));
    let s = F::divide(e, f, above, true);
    let z = e.mul(s, s);
    let coefficients: Vec<f64> = (1..=F::ARTANH_TERMS).map(|term| 2.0 / f64::from(2 * term + 1)).collect();
    let series = polynomial(e, &coefficients, z);
    let series = e.mul(series, z);
    // f - f^2/2 + s (f^2/2 + series): the exact leading term first, as 2s = f - s f.
    let half_square = e.mul_rn(f, f);
    let half_square = e.mul_rn(half_square, F::constant(0.5));
    let inner = e.add_rn(half_square, series);
    let negated = e.neg(half_square);
    let correction = e.fma(s, inner, negated);
    e.add_rn(f, correction)
}

fn log_special<F: Math>(e: &mut Entry, x: Reg<F>, value: Reg<F>) -> Reg<F> {
    let infinite = e.setp("eq", x, F::constant(f64::INFINITY));
    let value = e.select(x, value, infinite);
    let zero = e.setp("eq", x, F::constant(0.0));
    let value = e.select(F::constant(f64::NEG_INFINITY), value, zero);
    // Unordered: takes negative numbers and NaN.
    let outside = e.setp("ltu", x, F::constant(0.0));
    e.select(F::constant(f64::NAN), value, outside)
}

pub(super) fn log<F: Math>(e: &mut Entry, x: Reg<F>) -> Reg<F> {
    let (m, k) = F::split(e, x);
    let reduced = log_reduced(e, m);
    let (high, low) = if F::DIGITS > 24 {
        (LN2_HIGH, LN2_LOW)
    } else {
        // 15 bits, so that its product with an exponent is exact in f32.
        let high = 0.693_145_751_953_125;
        (high, consts::LN_2 - high)
    };
    let value = e.fma(k, F::constant(low), reduced);
    let value = e.fma(k, F::constant(high), value);
    log_special(e, x, value)
}

pub(super) fn log2<F: Math>(e: &mut Entry, x: Reg<F>) -> Reg<F> {
    let (m, k) = F::split(e, x);
    let reduced = log_reduced(e, m);
    let value = e.fma(reduced, F::constant(consts::LOG2_E), k);
    log_special(e, x, value)
}

pub(super) fn sigmoid<F: Math>(e: &mut Entry, x: Reg<F>, precise: bool) -> Reg<F> {
    let negated = e.neg(x);
    let power = F::exp(e, negated, precise);
    let below = e.add(power, F::constant(1.0));
    F::reciprocal(e, below, precise)
}

pub(super) fn tanh<F: Math>(e: &mut Entry, x: Reg<F>, precise: bool) -> Reg<F> {
    let magnitude = e.abs(x);
    let double = e.add(magnitude, magnitude);
    let power = F::exp(e, double, precise);
    let below = e.add(power, F::constant(1.0));
    let part = F::reciprocal(e, below, precise);
    let large = e.fma(part, F::constant(-2.0), F::constant(1.0));
    let large = e.copysign(x, large);
    let square = e.mul(x, x);
    let near = polynomial(e, F::TANH, square);
    let near = e.mul(near, x);
    let small = e.setp("lt", magnitude, F::constant(0.6));
    e.select(near, large, small)
}

/// erfc(t) for t >= 0.
fn erfc<F: Math>(e: &mut Entry, t: Reg<F>, precise: bool) -> Reg<F> {
    let beyond = e.setp("gt", t, F::constant(F::ERFC_END));
    let t = e.select(F::constant(F::ERFC_END), t, beyond);
    let upper = e.sub(t, F::constant(2.0));
    let lower = e.add(t, F::constant(2.0));
    let inverse = F::reciprocal(e, lower, precise);
    let q = e.mul(upper, inverse);
    let value = polynomial(e, F::ERFC, q);
    let square = e.mul_rn(t, t);
    let negative = e.neg(square);
    let rest = e.fma(t, t, negative);
    let power = F::exp(e, negative, precise);
    // exp(-(square + rest)) = power * (1 - rest)
    let negative_rest = e.neg(rest);
    let power = e.fma(power, negative_rest, power);
    let below = e.fma(t, F::constant(2.0), F::constant(1.0));
    let inverse = F::reciprocal(e, below, precise);
    let scaled = e.mul(value, inverse);
    let value = e.mul(scaled, power);
    e.select(F::constant(0.0), value, beyond)
}

pub(super) fn erf<F: Math>(e: &mut Entry, x: Reg<F>, precise: bool) -> Reg<F> {
    let magnitude = e.abs(x);
    let tail = erfc(e, magnitude, precise);
    let far = e.sub(F::constant(1.0), tail);
    let far = e.copysign(x, far);
    let square = e.mul(x, x);
    let near = polynomial(e, F::ERF, square);
    let near = e.mul(near, x);
    let small = e.setp("lt", magnitude, F::constant(0.75));
    e.select(near, far, small)
}

/// x times the normal distribution function, relative accuracy kept in the lower tail.
pub(super) fn gelu<F: Math>(e: &mut Entry, x: Reg<F>, precise: bool) -> Reg<F> {
    let z = e.mul(x, F::constant(consts::FRAC_1_SQRT_2));
    let magnitude = e.abs(z);
    let tail = erfc(e, magnitude, precise);
    let half = e.mul(tail, F::constant(0.5));
    let upper = e.sub(F::constant(1.0), half);
    let negative = e.setp("lt", x, F::constant(0.0));
    let distribution = e.select(half, upper, negative);
    e.mul(x, distribution)
}

/// Sine, or cosine where `shift` is 1.
pub(super) fn sine<F: Math>(e: &mut Entry, x: Reg<F>, shift: i32) -> Reg<F> {
    let (r, quadrant) = F::quadrant(e, x);
    let quadrant = e.add_s32(quadrant, shift);
    let square = e.mul(r, r);
    let series = |first: f64, start: u32| -> Vec<f64> {
        let mut term = first;
        (0..F::SIN_TERMS)
            .map(|index| {
                let value = term;
                let base = start + 2 * index;
                term /= -(f64::from(base + 1) * f64::from(base + 2));
                value
            })
            .collect()
    };
    let sine = polynomial(e, &series(1.0, 1), square);
    let sine = e.mul(sine, r);
    let cosine = polynomial(e, &series(1.0, 0), square);
    let odd = e.and_b32(quadrant, 1);
    let odd: Reg<Pred> = e.setp_s32("ne", odd, 0);
    let value = e.select(cosine, sine, odd);
    let upper = e.and_b32(quadrant, 2);
    let upper = e.setp_s32("ne", upper, 0);
    let opposite = e.neg(value);
    let value = e.select(opposite, value, upper);
    // Infinities: the reduction gives NaN for them already; NaN stays.
    let nothing = e.sub(x, x);
    let finite = e.setp("eq", nothing, F::constant(0.0));
    e.select(value, F::constant(f64::NAN), finite)
}
