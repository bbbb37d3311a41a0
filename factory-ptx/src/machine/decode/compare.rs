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
    AluFn, NONE, Slots, binary, cold, compare, predicate_and, predicate_or, predicate_xor, ternary, unary,
};
use crate::machine::number::{bf16_to_f64, f16_to_f64, flush};
use crate::machine::report::Class;

/// Comparison words: ordered ones first, then unsigned spellings, unordered ones, `num` and `nan`.
const COMPARISONS: [&str; 18] = [
    "eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu",
    "num", "nan",
];

/// Makes a comparison of integers.
macro_rules! integer_comparison {
    ($op:expr, $T:ident) => {
        match $op {
            0 => Some(compare(|a: $T, b: $T| a == b)),
            1 => Some(compare(|a: $T, b: $T| a != b)),
            2 | 6 => Some(compare(|a: $T, b: $T| a < b)),
            3 | 7 => Some(compare(|a: $T, b: $T| a <= b)),
            4 | 8 => Some(compare(|a: $T, b: $T| a > b)),
            5 | 9 => Some(compare(|a: $T, b: $T| a >= b)),
            _ => None,
        }
    };
}

/// Makes a comparison of floats: `$map` turns a lane into what is compared.
macro_rules! float_comparison {
    ($op:expr, $T:ident, $map:expr, $compare:path) => {
        match $op {
            0 => Some($compare(|a: $T, b: $T| $map(a) == $map(b))),
            // `ne` is ordered: false when an operand is NaN.
            1 => Some($compare(|a: $T, b: $T| $map(a) < $map(b) || $map(a) > $map(b))),
            2 => Some($compare(|a: $T, b: $T| $map(a) < $map(b))),
            3 => Some($compare(|a: $T, b: $T| $map(a) <= $map(b))),
            4 => Some($compare(|a: $T, b: $T| $map(a) > $map(b))),
            5 => Some($compare(|a: $T, b: $T| $map(a) >= $map(b))),
            10 => Some($compare(|a: $T, b: $T| !($map(a) < $map(b) || $map(a) > $map(b)))),
            11 => Some($compare(|a: $T, b: $T| $map(a) != $map(b))),
            12 => Some($compare(|a: $T, b: $T| !($map(a) >= $map(b)))),
            13 => Some($compare(|a: $T, b: $T| !($map(a) > $map(b)))),
            14 => Some($compare(|a: $T, b: $T| !($map(a) <= $map(b)))),
            15 => Some($compare(|a: $T, b: $T| !($map(a) < $map(b)))),
            16 => Some($compare(|a: $T, b: $T| !$map(a).is_nan() && !$map(b).is_nan())),
            17 => Some($compare(|a: $T, b: $T| $map(a).is_nan() || $map(b).is_nan())),
            _ => None,
        }
    };
}

#[inline(always)]
fn same<T>(value: T) -> T {
    value
}

/// f16 to f64 with subnormals taken as zeros.
fn flushed16(bits: u16) -> f64 {
    f16_to_f64(super::half::flush16(bits))
}

fn comparison(op: usize, ty: Type, ftz: bool) -> Option<AluFn> {
    match ty {
        Type::F32 if ftz => float_comparison!(op, f32, flush::<true>, cold::compare),
        Type::F32 => float_comparison!(op, f32, same, compare),
        Type::F64 => float_comparison!(op, f64, same, cold::compare),
        Type::F16 if ftz => float_comparison!(op, u16, flushed16, cold::compare),
        Type::F16 => float_comparison!(op, u16, f16_to_f64, cold::compare),
        Type::BF16 => float_comparison!(op, u16, bf16_to_f64, cold::compare),
        _ => by_int!(ty, T => integer_comparison!(op, T)).flatten(),
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

    /// Comparison word, what combines it with a predicate, `.ftz`.
    fn comparison_words(
        &mut self,
        i: &Instruction,
        words: &mut Words<'_>,
    ) -> Result<(usize, Option<AluFn>, bool), Unsupported> {
        let op = words.take_one(&COMPARISONS).ok_or_else(|| unsupported(i, "a comparison"))?;
        let combine: Option<AluFn> = match words.take_one(&["and", "or", "xor"]) {
            Some(0) => Some(predicate_and),
            Some(1) => Some(predicate_or),
            Some(2) => Some(predicate_xor),
            _ => None,
        };
        let ftz = words.take("ftz");
        Ok((op, combine, ftz))
    }

    /// A comparison into fresh predicates, combined with the predicate `c` where there is one: the slots of
    /// `a ? b ∘ c` and of `!(a ? b) ∘ c`.
    ///
    /// Fresh ones, because the instruction's own destinations may be the predicate that it combines with.
    fn compared(
        &mut self,
        class: Class,
        alu: AluFn,
        (a, b): (u32, u32),
        combine: Option<(AluFn, u32)>,
    ) -> Result<(u32, u32), Unsupported> {
        let yes = self.allocate_type(Type::Pred)?.slot;
        let no = self.allocate_type(Type::Pred)?.slot;
        self.hidden(class, alu, Slots { d: yes, a, b, c: NONE, e: no });
        if let Some((combine, c)) = combine {
            for d in [yes, no] {
                self.hidden(Class::Integer, combine, Slots { d, a: d, b: c, c: NONE, e: NONE });
            }
        }
        Ok((yes, no))
    }

    fn setp(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let (op, combine, ftz) = self.comparison_words(i, &mut words)?;
        let ty = words.ty()?;
        words.finish()?;
        let (p, q) = match i.operands.first() {
            Some(Operand::Pair(p, q)) => (self.predicate_dest(i, p)?, self.predicate_dest(i, q)?),
            Some(p) => (self.predicate_dest(i, p)?, NONE),
            None => return Err(unsupported(i, "operands")),
        };
        let combine = self.combination(i, combine)?;
        let packed = matches!(ty, Type::F16x2 | Type::BF16x2);
        if packed {
            // Low halves into `p`, high halves into `q`.
            let (low, high) = self.compared_halves(i, op, ty, ftz, combine)?;
            self.hidden(Class::Half, predicate_and, Slots { d: q, a: high, b: high, c: NONE, e: NONE });
            self.alu(Class::Half, predicate_and, Slots { d: p, a: low, b: low, c: NONE, e: NONE });
            return Ok(());
        }
        let (a, b) = (self.source(i, &i.operands[1], ty)?, self.source(i, &i.operands[2], ty)?);
        let class = class_of(ty);
        let alu = comparison(op, ty, ftz).ok_or_else(|| unsupported(i, "this comparison of this type"))?;
        if combine.is_none() {
            self.alu(class, alu, Slots { d: p, a, b, c: NONE, e: q });
            return Ok(());
        }
        let (yes, no) = self.compared(class, alu, (a, b), combine)?;
        self.hidden(class, predicate_and, Slots { d: q, a: no, b: no, c: NONE, e: NONE });
        self.alu(class, predicate_and, Slots { d: p, a: yes, b: yes, c: NONE, e: NONE });
        Ok(())
    }

    /// The fourth operand of a comparison that is combined with it.
    fn combination(
        &mut self,
        i: &'m Instruction,
        combine: Option<AluFn>,
    ) -> Result<Option<(AluFn, u32)>, Unsupported> {
        if i.operands.len() != 3 + usize::from(combine.is_some()) {
            return Err(unsupported(i, "another number of operands"));
        }
        combine.map(|combine| Ok((combine, self.plain_predicate(i, &i.operands[3])?))).transpose()
    }

    fn set(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let (op, combine, ftz) = self.comparison_words(i, &mut words)?;
        let (d_ty, ty) = (words.ty()?, words.ty()?);
        words.finish()?;
        let combine = self.combination(i, combine)?;
        if matches!(ty, Type::F16x2 | Type::BF16x2) {
            let choose = match d_ty {
                Type::U32 | Type::S32 => cold::binary(|low: bool, high: bool| halves(low, high, 0xffff)),
                Type::F16x2 => cold::binary(|low: bool, high: bool| halves(low, high, 0x3c00)),
                Type::BF16x2 => cold::binary(|low: bool, high: bool| halves(low, high, 0x3f80)),
                _ => return Err(unsupported(i, "a result of 32 bits")),
            };
            let (low, high) = self.compared_halves(i, op, ty, ftz, combine)?;
            let d = self.dest(i, &i.operands[0], Type::B32)?;
            self.alu(Class::Half, choose, Slots { d, a: low, b: high, c: NONE, e: NONE });
            return Ok(());
        }
        let choose = match d_ty {
            Type::F32 => unary(|yes: bool| if yes { 1.0f32 } else { 0.0 }),
            Type::U32 | Type::S32 => unary(|yes: bool| if yes { u32::MAX } else { 0 }),
            Type::U16 | Type::S16 => cold::unary(|yes: bool| if yes { u16::MAX } else { 0 }),
            Type::F16 => cold::unary(|yes: bool| if yes { 0x3c00u16 } else { 0 }),
            Type::BF16 => cold::unary(|yes: bool| if yes { 0x3f80u16 } else { 0 }),
            _ => return Err(unsupported(i, "a result of 16 or 32 bits")),
        };
        let (a, b) = (self.source(i, &i.operands[1], ty)?, self.source(i, &i.operands[2], ty)?);
        let alu = comparison(op, ty, ftz).ok_or_else(|| unsupported(i, "this comparison of this type"))?;
        let (yes, _) = self.compared(class_of(ty), alu, (a, b), combine)?;
        let d = self.dest(i, &i.operands[0], plain_float(d_ty))?;
        self.alu(class_of(ty), choose, Slots { d, a: yes, b: yes, c: NONE, e: NONE });
        Ok(())
    }

    /// Compares the low and the high halves of two registers: the slots of two predicates.
    fn compared_halves(
        &mut self,
        i: &'m Instruction,
        op: usize,
        ty: Type,
        ftz: bool,
        combine: Option<(AluFn, u32)>,
    ) -> Result<(u32, u32), Unsupported> {
        let half = if ty == Type::F16x2 { Type::F16 } else { Type::BF16 };
        let alu = comparison(op, half, ftz).ok_or_else(|| unsupported(i, "this comparison"))?;
        let (a, b) = (self.source(i, &i.operands[1], Type::B32)?, self.source(i, &i.operands[2], Type::B32)?);
        let (high_a, high_b) = (self.allocate_type(Type::B32)?.slot, self.allocate_type(Type::B32)?.slot);
        for (d, a) in [(high_a, a), (high_b, b)] {
            let shift = unary(|a: u32| a >> 16);
            self.hidden(Class::Integer, shift, Slots { d, a, b: NONE, c: NONE, e: NONE });
        }
        let (low, _) = self.compared(Class::Half, alu, (a, b), combine)?;
        let (high, _) = self.compared(Class::Half, alu, (high_a, high_b), combine)?;
        Ok((low, high))
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
                    // Zero counts as normal.
                    4 => unary(|a: $T| a.is_normal() || a == 0.0),
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

/// The value of true in each half that is true.
fn halves(low: bool, high: bool, one: u32) -> u32 {
    (if low { one } else { 0 }) | (if high { one << 16 } else { 0 })
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
