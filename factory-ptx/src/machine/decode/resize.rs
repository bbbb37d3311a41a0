//! Conversions between integer types.

use super::function::Register;
use crate::ast::Type;
use crate::machine::lanes::cold::unary;
use crate::machine::lanes::{self, AluFn};

pub(super) fn is_signed(ty: Type) -> bool {
    matches!(ty, Type::S8 | Type::S16 | Type::S32 | Type::S64)
}

/// Least and greatest value of an integer type.
fn range(ty: Type) -> (i128, i128) {
    let bits = ty.bits();
    if is_signed(ty) { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// Integers: truncate or saturate, then extend to the register.
pub(super) fn integer_to_integer(d: Type, s: Type, sat: bool, register: Register) -> Option<AluFn> {
    if sat {
        let (low, high) = range(d);
        let (least, most) = range(s);
        if low > least || high < most {
            return saturating(d, s, register);
        }
    }
    let wide = register.rows() == 2;
    let word = register.ty.bits() <= 16;
    // The value as the narrower of the two types has it; widening follows the source's sign when it is the narrower.
    let narrower = if d.bits() <= s.bits() { d } else { s };
    macro_rules! cast {
        ($T:ident) => {
            if wide {
                if s.bits() == 64 { unary(|a: u64| a as $T as i64) } else { unary(|a: u32| a as $T as i64) }
            } else if word {
                unary(|a: u32| a as $T as u16)
            } else {
                unary(|a: u32| a as $T as i32)
            }
        };
    }
    // A widened signed source that lands in an unsigned type narrower than the register is cut to that type.
    if narrower == s && is_signed(s) && !is_signed(d) && d.bits() < register.ty.bits() {
        let alu = match (s, d, wide) {
            (Type::S8, Type::U16, false) => Some(unary(|a: u32| u32::from(a as i8 as u16))),
            (Type::S8, Type::U16, true) => Some(unary(|a: u32| u64::from(a as i8 as u16))),
            (Type::S8, Type::U32, _) => Some(unary(|a: u32| u64::from(a as i8 as u32))),
            (Type::S16, Type::U32, _) => Some(unary(|a: u32| u64::from(a as i16 as u32))),
            _ => None,
        };
        if alu.is_some() {
            return alu;
        }
    }
    // Same width: the destination's sign decides how it is extended.
    let view = if d.bits() == s.bits() { d } else { narrower };
    Some(match view {
        Type::U8 => cast!(u8),
        Type::S8 => cast!(i8),
        Type::U16 => cast!(u16),
        Type::S16 => cast!(i16),
        // The widenings of indices are everywhere.
        Type::U32 if wide && s.bits() == 32 => lanes::unary(|a: u32| u64::from(a)),
        Type::S32 if wide && s.bits() == 32 => lanes::unary(|a: i32| i64::from(a)),
        Type::U32 | Type::S32 if !wide && !word => lanes::unary(|a: u32| a),
        Type::U32 => cast!(u32),
        Type::S32 => cast!(i32),
        Type::U64 | Type::S64 => lanes::unary(|a: u64| a),
        _ => return None,
    })
}

fn saturating(d: Type, s: Type, register: Register) -> Option<AluFn> {
    let wide = register.rows() == 2;
    let word = register.ty.bits() <= 16;
    macro_rules! clamp {
        ($S:ident, $T:ident) => {{
            if wide {
                unary(|a: $S| (a as i128).clamp($T::MIN as i128, $T::MAX as i128) as i64)
            } else if word {
                unary(|a: $S| (a as i128).clamp($T::MIN as i128, $T::MAX as i128) as u16)
            } else {
                unary(|a: $S| (a as i128).clamp($T::MIN as i128, $T::MAX as i128) as i32)
            }
        }};
    }
    // The source's low byte: its register has more.
    macro_rules! from_byte {
        ($S:ident, $value:expr) => {{
            macro_rules! byte {
                ($T:ident) => {
                    if wide {
                        unary(|a: $S| $value(a).clamp($T::MIN as i128, $T::MAX as i128) as i64)
                    } else if word {
                        unary(|a: $S| $value(a).clamp($T::MIN as i128, $T::MAX as i128) as u16)
                    } else {
                        unary(|a: $S| $value(a).clamp($T::MIN as i128, $T::MAX as i128) as i32)
                    }
                };
            }
            match d {
                Type::U8 => byte!(u8),
                Type::S8 => byte!(i8),
                Type::U16 => byte!(u16),
                Type::U32 => byte!(u32),
                _ => byte!(u64),
            }
        }};
    }
    macro_rules! from {
        ($S:ident) => {
            match d {
                Type::U8 => clamp!($S, u8),
                Type::S8 => clamp!($S, i8),
                Type::U16 => clamp!($S, u16),
                Type::S16 => clamp!($S, i16),
                Type::U32 => clamp!($S, u32),
                Type::S32 => clamp!($S, i32),
                Type::U64 => clamp!($S, u64),
                _ => clamp!($S, i64),
            }
        };
    }
    Some(match s {
        Type::U8 => from_byte!(u32, |a: u32| i128::from(a as u8)),
        Type::S8 => from_byte!(u32, |a: u32| i128::from(a as i8)),
        Type::U16 => from!(u16),
        Type::S16 => from!(i16),
        Type::U32 => from!(u32),
        Type::S32 => from!(i32),
        Type::U64 => from!(u64),
        Type::S64 => from!(i64),
        _ => return None,
    })
}
