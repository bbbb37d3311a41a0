//! Comparisons and selections.

#![expect(
    clippy::neg_cmp_op_on_partial_ord,
    reason = "unordered comparisons are the negations of ordered ones"
)]

use super::function::Decoder;
use super::integer::by_int;
use super::words::{Words, unsupported};
use crate::ast::{Instruction, Operand, Type};
use crate::machine::error::Unsupported;
use crate::machine::lanes::{
    AluFn, Combine, NONE, Slots, binary, compare, predicate_and, set, ternary, unary,
};
use crate::machine::number::{bf16_to_f64, f16_to_f64, flush};
use crate::machine::report::Class;

/// Comparison words: ordered ones first, then unsigned spellings, unordered ones, `num` and `nan`.
const COMPARISONS: [&str; 18] = [
    "eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu",
    "num", "nan",
];

/// Makes a comparison of integers with `$make(closure)`.
macro_rules! integer_comparison {
    ($op:expr, $T:ident, $make:ident, $($args:expr),*) => {
        match $op {
            0 => Some($make($($args,)* |a: $T, b: $T| a == b)),
            1 => Some($make($($args,)* |a: $T, b: $T| a != b)),
            2 | 6 => Some($make($($args,)* |a: $T, b: $T| a < b)),
            3 | 7 => Some($make($($args,)* |a: $T, b: $T| a <= b)),
            4 | 8 => Some($make($($args,)* |a: $T, b: $T| a > b)),
            5 | 9 => Some($make($($args,)* |a: $T, b: $T| a >= b)),
            _ => None,
        }
    };
}

/// Makes a comparison of floats: `$map` turns a lane into what is compared.
macro_rules! float_comparison {
    ($op:expr, $T:ident, $map:expr, $make:ident, $($args:expr),*) => {
        match $op {
            0 => Some($make($($args,)* |a: $T, b: $T| $map(a) == $map(b))),
            // `ne` is ordered: false when an operand is NaN.
            1 => Some($make($($args,)* |a: $T, b: $T| $map(a) < $map(b) || $map(a) > $map(b))),
            2 => Some($make($($args,)* |a: $T, b: $T| $map(a) < $map(b))),
            3 => Some($make($($args,)* |a: $T, b: $T| $map(a) <= $map(b))),
            4 => Some($make($($args,)* |a: $T, b: $T| $map(a) > $map(b))),
            5 => Some($make($($args,)* |a: $T, b: $T| $map(a) >= $map(b))),
            10 => Some($make($($args,)* |a: $T, b: $T| !($map(a) < $map(b) || $map(a) > $map(b)))),
            11 => Some($make($($args,)* |a: $T, b: $T| $map(a) != $map(b))),
            12 => Some($make($($args,)* |a: $T, b: $T| !($map(a) >= $map(b)))),
            13 => Some($make($($args,)* |a: $T, b: $T| !($map(a) > $map(b)))),
            14 => Some($make($($args,)* |a: $T, b: $T| !($map(a) <= $map(b)))),
            15 => Some($make($($args,)* |a: $T, b: $T| !($map(a) < $map(b)))),
            16 => Some($make($($args,)* |a: $T, b: $T| !$map(a).is_nan() && !$map(b).is_nan())),
            17 => Some($make($($args,)* |a: $T, b: $T| $map(a).is_nan() || $map(b).is_nan())),
            _ => None,
        }
    };
}

#[inline(always)]
fn same<T>(value: T) -> T {
    value
}

fn comparison(op: usize, ty: Type, ftz: bool, combine: Combine) -> Option<AluFn> {
    match ty {
        Type::F32 if ftz => float_comparison!(op, f32, flush::<true>, compare, combine),
        Type::F32 => float_comparison!(op, f32, same, compare, combine),
        Type::F64 => float_comparison!(op, f64, same, compare, combine),
        Type::F16 => float_comparison!(op, u16, f16_to_f64, compare, combine),
        Type::BF16 => float_comparison!(op, u16, bf16_to_f64, compare, combine),
        _ => by_int!(ty, T => integer_comparison!(op, T, compare, combine)).flatten(),
    }
}

fn set_comparison(op: usize, ty: Type, ftz: bool, combine: Combine, float: bool) -> Option<AluFn> {
    match ty {
        Type::F32 if ftz => float_comparison!(op, f32, flush::<true>, set, combine, float),
        Type::F32 => float_comparison!(op, f32, same, set, combine, float),
        Type::F64 => float_comparison!(op, f64, same, set, combine, float),
        Type::F16 => float_comparison!(op, u16, f16_to_f64, set, combine, float),
        Type::BF16 => float_comparison!(op, u16, bf16_to_f64, set, combine, float),
        _ => by_int!(ty, T => integer_comparison!(op, T, set, combine, float)).flatten(),
    }
}

impl<'m> Decoder<'_, 'm> {
    pub(super) fn compare(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        match i.opcode.as_str() {
            "setp" => self.setp(i),
            "set" => self.set(i),
            "selp" => self.selp(i),
            "slct" => self.slct(i),
            "testp" => self.testp(i),
            _ => Err(unsupported(i, "this comparison")),
        }
    }

    /// Comparison and combination words, `.ftz`: `(comparison, combination, ftz)`.
    fn comparison_words(
        &mut self,
        i: &Instruction,
        words: &mut Words<'_>,
    ) -> Result<(usize, Combine, bool, bool), Unsupported> {
        let op = words.take_one(&COMPARISONS).ok_or_else(|| unsupported(i, "a comparison"))?;
        let combine = words.take_one(&["and", "or", "xor"]);
        let ftz = words.take("ftz");
        let which = match combine {
            Some(1) => Combine::Or,
            Some(2) => Combine::Xor,
            _ => Combine::And,
        };
        Ok((op, which, combine.is_some(), ftz))
    }

    fn setp(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let (op, combine, combined, ftz) = self.comparison_words(i, &mut words)?;
        let ty = words.ty()?;
        words.finish()?;
        let (p, q) = match i.operands.first() {
            Some(Operand::Pair(p, q)) => (self.predicate_dest(i, p)?, self.predicate_dest(i, q)?),
            Some(p) => (self.predicate_dest(i, p)?, NONE),
            None => return Err(unsupported(i, "operands")),
        };
        if i.operands.len() != 3 + usize::from(combined) {
            return Err(unsupported(i, "another number of operands"));
        }
        let c = if combined {
            self.plain_predicate(i, &i.operands[3])?
        } else {
            self.constant(u64::from(u32::MAX), 0)?
        };
        let packed = matches!(ty, Type::F16x2 | Type::BF16x2);
        let (a, b) = if packed {
            (self.source(i, &i.operands[1], Type::B32)?, self.source(i, &i.operands[2], Type::B32)?)
        } else {
            (self.source(i, &i.operands[1], ty)?, self.source(i, &i.operands[2], ty)?)
        };
        if packed {
            // Low halves into `p`, high halves into `q`.
            let half = if ty == Type::F16x2 { Type::F16 } else { Type::BF16 };
            let alu = comparison(op, half, ftz, combine).ok_or_else(|| unsupported(i, "this comparison"))?;
            let (high_a, high_b) = (self.allocate_type(Type::B32)?.slot, self.allocate_type(Type::B32)?.slot);
            for (d, a) in [(high_a, a), (high_b, b)] {
                let shift = unary(|a: u32| a >> 16);
                self.hidden(Class::Integer, shift, Slots { d, a, b: NONE, c: NONE, e: NONE });
            }
            self.hidden(Class::Half, alu, Slots { d: q, a: high_a, b: high_b, c, e: NONE });
            self.alu(Class::Half, alu, Slots { d: p, a, b, c, e: NONE });
            return Ok(());
        }
        let alu =
            comparison(op, ty, ftz, combine).ok_or_else(|| unsupported(i, "this comparison of this type"))?;
        self.alu(class_of(ty), alu, Slots { d: p, a, b, c, e: q });
        Ok(())
    }

    fn set(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let (op, combine, combined, ftz) = self.comparison_words(i, &mut words)?;
        let (d_ty, ty) = (words.ty()?, words.ty()?);
        words.finish()?;
        let packed = matches!(ty, Type::F16x2 | Type::BF16x2);
        if i.operands.len() != 3 + usize::from(combined) || packed {
            return Err(unsupported(i, "set of packed halves"));
        }
        let c = if combined {
            self.plain_predicate(i, &i.operands[3])?
        } else {
            self.constant(u64::from(u32::MAX), 0)?
        };
        let (a, b) = (self.source(i, &i.operands[1], ty)?, self.source(i, &i.operands[2], ty)?);
        let float = d_ty == Type::F32;
        if !matches!(d_ty, Type::F32 | Type::U32 | Type::S32) {
            return Err(unsupported(i, "a result of 32 bits"));
        }
        let alu = set_comparison(op, ty, ftz, combine, float)
            .ok_or_else(|| unsupported(i, "this comparison of this type"))?;
        let d = self.dest(i, &i.operands[0], d_ty)?;
        self.alu(class_of(ty), alu, Slots { d, a, b, c, e: NONE });
        Ok(())
    }

    fn selp(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let ty = words.ty()?;
        words.finish()?;
        let alu = match ty.bits() {
            16 | 32 => Some(ternary(|a: u32, b: u32, p: bool| if p { a } else { b })),
            64 => Some(ternary(|a: u64, b: u64, p: bool| if p { a } else { b })),
            _ => None,
        };
        let ty = if ty == Type::F32 || ty == Type::F64 { ty } else { plain(ty) };
        self.mixed(i, Class::Integer, ty, &[ty, ty, Type::Pred], alu)
    }

    fn slct(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let ftz = words.take("ftz");
        let (ty, c) = (words.ty()?, words.ty()?);
        words.finish()?;
        let alu = match (ty.bits(), c) {
            (16 | 32, Type::S32) => Some(ternary(|a: u32, b: u32, c: i32| if c >= 0 { a } else { b })),
            (64, Type::S32) => Some(ternary(|a: u64, b: u64, c: i32| if c >= 0 { a } else { b })),
            (16 | 32, Type::F32) if ftz => {
                Some(ternary(|a: u32, b: u32, c: f32| if flush::<true>(c) >= 0.0 { a } else { b }))
            }
            (64, Type::F32) if ftz => {
                Some(ternary(|a: u64, b: u64, c: f32| if flush::<true>(c) >= 0.0 { a } else { b }))
            }
            (16 | 32, Type::F32) => Some(ternary(|a: u32, b: u32, c: f32| if c >= 0.0 { a } else { b })),
            (64, Type::F32) => Some(ternary(|a: u64, b: u64, c: f32| if c >= 0.0 { a } else { b })),
            _ => None,
        };
        self.mixed(i, Class::Integer, ty, &[ty, ty, c], alu)
    }

    fn testp(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let test = words
            .take_one(&["finite", "infinite", "number", "notanumber", "normal", "subnormal"])
            .ok_or_else(|| unsupported(i, "a test"))?;
        let ty = words.ty()?;
        words.finish()?;
        macro_rules! test {
            ($T:ident) => {
                match test {
                    0 => unary(|a: $T| a.is_finite()),
                    1 => unary(|a: $T| a.is_infinite()),
                    2 => unary(|a: $T| !a.is_nan()),
                    3 => unary(|a: $T| a.is_nan()),
                    4 => unary(|a: $T| a.is_normal()),
                    // Zero counts as subnormal here: the PTX ISA has no other class for it.
                    _ => unary(|a: $T| a.is_subnormal()),
                }
            };
        }
        let alu = match ty {
            Type::F32 => test!(f32),
            Type::F64 => test!(f64),
            _ => return Err(unsupported(i, "f32 or f64")),
        };
        let [d, a] = i.operands.as_slice() else { return Err(unsupported(i, "2 operands")) };
        let a = self.source(i, a, ty)?;
        let d = self.predicate_dest(i, d)?;
        self.alu(class_of(ty), alu, Slots { d, a, b: a, c: NONE, e: NONE });
        Ok(())
    }

    /// `mov.pred` and its kin.
    pub(super) fn move_predicate(&mut self, i: &Instruction, d: u32, a: u32) {
        let _ = i;
        self.alu(Class::Integer, predicate_and, Slots { d, a, b: a, c: NONE, e: NONE });
    }
}

fn class_of(ty: Type) -> Class {
    match ty {
        Type::F32 => Class::F32,
        Type::F64 => Class::F64,
        Type::F16 | Type::BF16 => Class::Half,
        _ => Class::Integer,
    }
}

/// The untyped form of a type.
pub(super) fn plain(ty: Type) -> Type {
    match ty.bits() {
        8 => Type::B8,
        16 => Type::B16,
        32 => Type::B32,
        64 => Type::B64,
        128 => Type::B128,
        _ => ty,
    }
}

/// The type that a conversion's operand has as a register: floats keep theirs, so that constants are read as such.
pub(super) fn plain_float(ty: Type) -> Type {
    if matches!(ty, Type::F32 | Type::F64) { ty } else { plain(ty) }
}

/// `copysign`
pub(super) fn copysign(ty: Type) -> Option<AluFn> {
    match ty {
        Type::F32 => Some(binary(|a: u32, b: u32| a & 0x8000_0000 | b & 0x7fff_ffff)),
        Type::F64 => Some(binary(|a: u64, b: u64| a & (1 << 63) | b & !(1 << 63))),
        _ => None,
    }
}
