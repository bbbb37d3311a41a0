//! The fused multiply-add of f64 in every rounding mode, from integers.

use crate::machine::number;

/// A finite number as an integer times a power of two.
fn open(value: f64) -> (u128, i32) {
    let bits = value.to_bits();
    let field = (bits >> 52 & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    let significand = if field == 0 { fraction } else { fraction | 1 << 52 };
    (u128::from(significand), field.max(1) - 1075)
}

/// Shifts right; what falls out leaves a one in the last place.
fn jam(value: u128, by: u32) -> u128 {
    match by {
        0 => value,
        1..=127 => value >> by | u128::from(value << (128 - by) != 0),
        _ => u128::from(value != 0),
    }
}

/// `a * b + c`, rounded once as the mode (of [`number`]) says.
pub(crate) fn fused(a: f64, b: f64, c: f64, mode: u8) -> f64 {
    if a.is_nan() || b.is_nan() || c.is_nan() {
        // The first NaN in this order, made quiet.
        let found = [b, c, a].into_iter().find(|value| value.is_nan()).unwrap_or(f64::NAN);
        return f64::from_bits(found.to_bits() | 1 << 51);
    }
    let nearest = a.mul_add(b, c);
    if mode == number::NEAREST || !(a.is_finite() && b.is_finite() && c.is_finite()) {
        return nearest;
    }
    let (ma, ea) = open(a);
    let (mb, eb) = open(b);
    let (mut x, mut ex) = (ma * mb, ea + eb);
    let (mut y, mut ey) = open(c);
    let x_negative = a.is_sign_negative() != b.is_sign_negative();
    let y_negative = c.is_sign_negative();
    if x == 0 || y == 0 {
        if x == 0 && y == 0 {
            let negative = if x_negative == y_negative { x_negative } else { mode == number::DOWN };
            return if negative { -0.0 } else { 0.0 };
        }
        if x == 0 {
            return c;
        }
        ey = ex;
    }
    // Both with their leading one in bit 124 (or zero), the smaller one moved down: at least 18 bits are left below
    // the last place of the product when nothing cancels, and nothing falls out when much cancels.
    let up = x.leading_zeros() - 3;
    x <<= up;
    ex -= up as i32;
    if y != 0 {
        let up = y.leading_zeros() - 3;
        y <<= up;
        ey -= up as i32;
    }
    let scale = ex.max(ey);
    x = jam(x, (scale - ex) as u32);
    y = jam(y, (scale - ey) as u32);
    let (total, negative) = if x_negative == y_negative || y == 0 {
        (x + y, x_negative)
    } else if x >= y {
        (x - y, x_negative)
    } else {
        (y - x, y_negative)
    };
    if total == 0 {
        return if mode == number::DOWN { -0.0 } else { 0.0 };
    }
    round(total, scale, negative, mode)
}

/// `±total · 2^scale` in a directed mode.
fn round(total: u128, scale: i32, negative: bool, mode: u8) -> f64 {
    let away = match mode {
        number::DOWN => negative,
        number::UP => !negative,
        _ => false,
    };
    let sign = u64::from(negative) << 63;
    let top = 127 - total.leading_zeros() as i32;
    let last = (top + scale).max(-1022) - 52;
    let drop = last - scale;
    let (mut bits, inexact) = match drop {
        128.. => (0, true),
        1.. => (total >> drop, total << (128 - drop) != 0),
        _ => (total << -drop, false),
    };
    if inexact && away {
        bits += 1;
    }
    // A significand that became 2^53 goes on into the exponent field; so does one that became normal.
    let field = (last + 1075 - 1) as u64;
    let value = (field << 52) + bits as u64;
    if value >= 0x7ff0_0000_0000_0000 {
        let infinite = away || (!inexact && bits == 0);
        return f64::from_bits(sign | if infinite { 0x7ff0_0000_0000_0000 } else { 0x7fef_ffff_ffff_ffff });
    }
    f64::from_bits(sign | value)
}
