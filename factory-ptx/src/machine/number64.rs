//! f64 arithmetic as an H200 does it: NaNs that keep an operand's payload, and directed rounding, exactly.
//!
//! Directed modes are computed on integer significands: products of 106 bits, sums in 256 bits, quotients and roots with
//! a sticky bit, rounded once. Nearest is left to the host.

use super::number::{DOWN, NEAREST, UP};

/// The NaN that an invalid operation gives.
const INVALID: f64 = f64::from_bits(0xfff8_0000_0000_0000);
const FRACTION: u64 = (1 << 52) - 1;

/// A NaN made quiet.
#[inline(always)]
fn quiet(nan: f64) -> f64 {
    f64::from_bits(nan.to_bits() | 1 << 51)
}

/// The result of an operation on one operand: its NaN is the operand's.
#[inline(always)]
pub(crate) fn keep1(value: f64, a: f64) -> f64 {
    if !value.is_nan() {
        value
    } else if a.is_nan() {
        quiet(a)
    } else {
        INVALID
    }
}

/// The result of an operation on two operands: a NaN is the second's, or else the first's.
#[inline(always)]
pub(crate) fn keep2(value: f64, a: f64, b: f64) -> f64 {
    if !value.is_nan() {
        value
    } else if b.is_nan() {
        quiet(b)
    } else {
        keep1(value, a)
    }
}

/// The result of a fused multiply-add: a NaN is the second factor's, or else the addend's, or else the first factor's.
#[inline(always)]
pub(crate) fn keep3(value: f64, a: f64, b: f64, c: f64) -> f64 {
    if !value.is_nan() {
        value
    } else if b.is_nan() {
        quiet(b)
    } else {
        keep2(value, a, c)
    }
}

/// `-a` and `|a|` as the adder does them: a NaN keeps its sign.
#[inline(always)]
pub(crate) fn negate(a: f64) -> f64 {
    if a.is_nan() { quiet(a) } else { -a }
}

/// As [`negate`].
#[inline(always)]
pub(crate) fn absolute(a: f64) -> f64 {
    if a.is_nan() { quiet(a) } else { a.abs() }
}

/// Significand and exponent of a finite number: its magnitude is `significand * 2^exponent`.
fn split(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32;
    if exponent == 0 { (bits & FRACTION, -1074) } else { (bits & FRACTION | 1 << 52, exponent - 1075) }
}

/// `±significand * 2^exponent`, where the last bit may stand for a rest, rounded once.
fn round<const MODE: u8>(negative: bool, significand: u128, exponent: i32) -> f64 {
    if significand == 0 {
        return if negative { -0.0 } else { 0.0 };
    }
    let top = 127 - significand.leading_zeros() as i32 + exponent;
    let last = (top - 52).max(-1074);
    let drop = last - exponent;
    let (kept, rest, half) = match drop {
        ..=0 => ((significand << -drop) as u64, 0, 1),
        1..=127 => {
            let rest = significand & ((1 << drop) - 1);
            ((significand >> drop) as u64, rest, 1u128 << (drop - 1))
        }
        _ => (0, 1, 2),
    };
    let up = match MODE {
        NEAREST => rest > half || (rest == half && kept & 1 != 0),
        DOWN => negative && rest != 0,
        UP => !negative && rest != 0,
        _ => false,
    };
    let kept = kept + u64::from(up);
    // The implicit bit adds one to the exponent field by itself; a carry too.
    let field = (last + 1074) as u64;
    let code = (field << 52) + kept;
    let infinite = 0x7ff << 52;
    let code = if code >= infinite {
        let to_infinity = match MODE {
            NEAREST => true,
            DOWN => negative,
            UP => !negative,
            _ => false,
        };
        if to_infinity { infinite } else { infinite - 1 }
    } else {
        code
    };
    f64::from_bits(code | u64::from(negative) << 63)
}

/// 256 bits, high and low half.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wide(u128, u128);

impl Wide {
    fn shifted(value: u128, by: u32) -> Wide {
        match by {
            0 => Wide(0, value),
            1..=127 => Wide(value >> (128 - by), value << by),
            _ => Wide(value << (by - 128), 0),
        }
    }

    fn plus(self, other: Wide) -> Wide {
        let (low, carry) = self.1.overflowing_add(other.1);
        Wide(self.0 + other.0 + u128::from(carry), low)
    }

    fn minus(self, other: Wide) -> Wide {
        let (low, borrow) = self.1.overflowing_sub(other.1);
        Wide(self.0 - other.0 - u128::from(borrow), low)
    }

    /// The upper bits in 128, what is below in the last bit, and how many were dropped.
    fn squeezed(self) -> (u128, i32) {
        if self.0 == 0 {
            return (self.1, 0);
        }
        let drop = 128 - self.0.leading_zeros();
        let kept = if drop == 128 { self.0 } else { self.0 << (128 - drop) | self.1 >> drop };
        let rest = if drop == 128 { self.1 } else { self.1 & ((1 << drop) - 1) };
        (kept | u128::from(rest != 0), drop as i32)
    }
}

/// The farthest that two summands' last bits are held apart; what is farther below counts as a rest.
const APART: i32 = 130;

/// `a * b + c` in a rounding mode.
pub(crate) fn fma64<const MODE: u8>(a: f64, b: f64, c: f64) -> f64 {
    let nearest = a.mul_add(b, c);
    if MODE == NEAREST || !a.is_finite() || !b.is_finite() || !c.is_finite() {
        return keep3(nearest, a, b, c);
    }
    let ((x, ex), (y, ey), (z, ez)) = (split(a), split(b), split(c));
    let negative = a.is_sign_negative() != b.is_sign_negative();
    let (mut product, mut at) = (u128::from(x) * u128::from(y), ex + ey);
    let (mut addend, mut to) = (u128::from(z), ez);
    if product == 0 && addend == 0 {
        let minus = if negative == c.is_sign_negative() { negative } else { MODE == DOWN };
        return if minus { -0.0 } else { 0.0 };
    }
    if product == 0 {
        return c;
    }
    if addend == 0 {
        return round::<MODE>(negative, product, at);
    }
    if to - at > APART {
        (product, at) = (1, to - APART);
    } else if at - to > APART {
        (addend, to) = (1, at - APART);
    }
    let low = at.min(to);
    let product = Wide::shifted(product, (at - low) as u32);
    let addend = Wide::shifted(addend, (to - low) as u32);
    let (sum, minus) = if negative == c.is_sign_negative() {
        (product.plus(addend), negative)
    } else if product == addend {
        return if MODE == DOWN { -0.0 } else { 0.0 };
    } else if product > addend {
        (product.minus(addend), negative)
    } else {
        (addend.minus(product), !negative)
    };
    let (significand, dropped) = sum.squeezed();
    round::<MODE>(minus, significand, low + dropped)
}

/// `a + b` in a rounding mode.
pub(crate) fn add64<const MODE: u8>(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        return keep2(f64::NAN, a, b);
    }
    fma64::<MODE>(a, 1.0, b)
}

/// `a - b` in a rounding mode.
pub(crate) fn sub64<const MODE: u8>(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        return keep2(f64::NAN, a, b);
    }
    fma64::<MODE>(a, 1.0, -b)
}

/// `a * b` in a rounding mode.
pub(crate) fn mul64<const MODE: u8>(a: f64, b: f64) -> f64 {
    let product = a * b;
    if MODE == NEAREST || !a.is_finite() || !b.is_finite() || a == 0.0 || b == 0.0 {
        return keep2(product, a, b);
    }
    let ((x, ex), (y, ey)) = (split(a), split(b));
    round::<MODE>(a.is_sign_negative() != b.is_sign_negative(), u128::from(x) * u128::from(y), ex + ey)
}

/// `a / b` in a rounding mode.
pub(crate) fn div64<const MODE: u8>(a: f64, b: f64) -> f64 {
    let nearest = a / b;
    if MODE == NEAREST || !a.is_finite() || !b.is_finite() || a == 0.0 || b == 0.0 {
        // A division is a subroutine on the GPU, and prefers the dividend's NaN.
        return keep2(nearest, b, a);
    }
    let ((x, ex), (y, ey)) = (split(a), split(b));
    // At least 60 bits of quotient, whatever the significands.
    let up = x.leading_zeros();
    let (dividend, divisor) = (u128::from(x << up) << 62, u128::from(y));
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    let significand = quotient << 1 | u128::from(rest != 0);
    let negative = a.is_sign_negative() != b.is_sign_negative();
    round::<MODE>(negative, significand, ex - ey - up as i32 - 63)
}

/// The square root in a rounding mode.
pub(crate) fn sqrt64<const MODE: u8>(a: f64) -> f64 {
    let nearest = a.sqrt();
    if MODE == NEAREST || !nearest.is_finite() || nearest == 0.0 {
        return keep1(nearest, a);
    }
    let (x, exponent) = split(a);
    let up = x.leading_zeros() as i32 + 60;
    // An even exponent; at least 122 bits under the root.
    let up = up - (exponent - up).rem_euclid(2);
    let (x, exponent) = (u128::from(x) << up, exponent - up);
    let root = x.isqrt();
    round::<MODE>(false, root << 1 | u128::from(root * root != x), exponent / 2 - 1)
}

#[cfg(test)]
mod tests {
    use super::{NEAREST, add64, div64, fma64, mul64, round, split, sqrt64};
    use crate::machine::number::{DOWN, UP, ZERO};

    /// The integer paths must agree with the host where both can answer: directed results enclose the nearest one, and
    /// are equal to it when it is exact.
    #[test]
    fn directed_results_enclose_the_nearest() {
        let mut state = 12345u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bits = state ^ state >> 29;
            // Exponents near each other, or anything.
            let value =
                f64::from_bits(if bits & 1 == 0 { bits & !(0x3ff << 52) | 0x1f0 << 53 } else { bits });
            if value.is_finite() { value } else { 1.5 }
        };
        for _ in 0..20_000 {
            let (a, b, c) = (next(), next(), next());
            let check = |down: f64, up: f64, zero: f64, nearest: f64| {
                assert!(down <= nearest && nearest <= up, "{a:e} {b:e} {c:e}: {down:e} {nearest:e} {up:e}");
                assert!(down == up || down.next_up() == up, "{a:e} {b:e} {c:e}: {down:e} {up:e}");
                assert_eq!(
                    zero.to_bits(),
                    if up <= 0.0 && up.is_sign_negative() { up } else { down }.to_bits()
                );
            };
            check(add64::<DOWN>(a, b), add64::<UP>(a, b), add64::<ZERO>(a, b), a + b);
            check(mul64::<DOWN>(a, b), mul64::<UP>(a, b), mul64::<ZERO>(a, b), a * b);
            check(div64::<DOWN>(a, b), div64::<UP>(a, b), div64::<ZERO>(a, b), a / b);
            check(fma64::<DOWN>(a, b, c), fma64::<UP>(a, b, c), fma64::<ZERO>(a, b, c), a.mul_add(b, c));
            let a = a.abs();
            check(sqrt64::<DOWN>(a), sqrt64::<UP>(a), sqrt64::<ZERO>(a), a.sqrt());
            let (significand, exponent) = split(a);
            assert_eq!(round::<NEAREST>(false, u128::from(significand), exponent).to_bits(), a.to_bits());
        }
    }
}
