//! Integer arithmetic.

use super::function::Decoder;
use super::words::{Words, unsupported};
use crate::ast::{Instruction, Type};
use crate::machine::error::Unsupported;
use crate::machine::lanes::{
    AluFn, NONE, Slots, binary, carrying, carrying3, cold, quaternary, ternary, unary,
};
use crate::machine::report::Class;

/// Chooses by integer type: `T` is the Rust type of the lanes. Those of 16 bits get the rare constructors.
macro_rules! by_int {
    ($ty:expr, $T:ident => $make:expr) => {
        match $ty {
            Type::U16 | Type::B16 => {
                #[allow(
                    unused_imports,
                    reason = "which of them the instruction needs is its own business"
                )]
                use $crate::machine::lanes::cold::{binary, compare, ternary, unary};
                type $T = u16;
                Some($make)
            }
            Type::S16 => {
                #[allow(
                    unused_imports,
                    reason = "which of them the instruction needs is its own business"
                )]
                use $crate::machine::lanes::cold::{binary, compare, ternary, unary};
                type $T = i16;
                Some($make)
            }
            Type::U32 | Type::B32 => {
                type $T = u32;
                Some($make)
            }
            Type::S32 => {
                type $T = i32;
                Some($make)
            }
            Type::U64 | Type::B64 => {
                type $T = u64;
                Some($make)
            }
            Type::S64 => {
                type $T = i64;
                Some($make)
            }
            _ => None,
        }
    };
}

/// Chooses by width alone, for what does not depend on the sign.
macro_rules! by_bits {
    ($ty:expr, $T:ident => $make:expr) => {
        match $ty {
            Type::U16 | Type::S16 | Type::B16 => {
                #[allow(
                    unused_imports,
                    reason = "which of them the instruction needs is its own business"
                )]
                use $crate::machine::lanes::cold::{binary, compare, ternary, unary};
                type $T = u16;
                Some($make)
            }
            Type::U32 | Type::S32 | Type::B32 => {
                type $T = u32;
                Some($make)
            }
            Type::U64 | Type::S64 | Type::B64 => {
                type $T = u64;
                Some($make)
            }
            _ => None,
        }
    };
}
pub(super) use {by_bits, by_int};

/// The type of twice the width.
fn doubled(ty: Type) -> Option<Type> {
    Some(match ty {
        Type::U16 => Type::U32,
        Type::S16 => Type::S32,
        Type::U32 => Type::U64,
        Type::S32 => Type::S64,
        _ => return None,
    })
}

/// Sign-extends the low 24 bits.
#[inline(always)]
fn low24(value: i32) -> i64 {
    i64::from(value << 8 >> 8)
}

/// How many sources an instruction has whose operands are of one type. A text may give it others: what it runs reads
/// exactly these.
fn sources_of(i: &Instruction) -> usize {
    match i.opcode.as_str() {
        "abs" | "neg" | "not" | "cnot" | "popc" | "clz" | "brev" | "bfind" | "rcp" | "sqrt" | "rsqrt"
        | "ex2" | "lg2" | "sin" | "cos" | "tanh" => 1,
        "mad" | "madc" | "mad24" | "fma" | "sad" | "prmt" => 3,
        // Those of f32 take three sources too, and their decoder counts them.
        "min" | "max" => i.operands.len().saturating_sub(1).clamp(2, 3),
        _ => 2,
    }
}

impl<'m> Decoder<'_, 'm> {
    /// `d = f(sources…)`, all operands of one type.
    pub(super) fn same(
        &mut self,
        i: &Instruction,
        class: Class,
        ty: Type,
        alu: Option<AluFn>,
    ) -> Result<(), Unsupported> {
        let sources = vec![ty; sources_of(i)];
        self.mixed(i, class, ty, &sources, alu)
    }

    /// `d = f(sources…)` with a type for each operand.
    pub(super) fn mixed(
        &mut self,
        i: &Instruction,
        class: Class,
        d: Type,
        sources: &[Type],
        alu: Option<AluFn>,
    ) -> Result<(), Unsupported> {
        let alu = alu.ok_or_else(|| unsupported(i, "this operation for this type"))?;
        if i.operands.len() != sources.len() + 1 || sources.len() > 4 {
            return Err(unsupported(i, format!("{} operands", sources.len() + 1)));
        }
        let mut slots = [NONE; 4];
        for (index, ty) in sources.iter().enumerate() {
            slots[index] = if *ty == Type::Pred {
                self.plain_predicate(i, &i.operands[index + 1])?
            } else {
                self.source(i, &i.operands[index + 1], *ty)?
            };
        }
        let [a, b, c, e] = slots;
        let d = self.dest(i, &i.operands[0], d)?;
        self.alu(class, alu, Slots { d, a, b, c, e });
        Ok(())
    }

    pub(super) fn integer(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let opcode = i.opcode.as_str();
        let class = Class::Integer;
        match opcode {
            "add" | "sub" | "addc" | "subc" => self.add(i, words),
            "mul" | "mad" | "madc" => self.multiply(i, words),
            "mul24" | "mad24" => {
                let high = words.take_one(&["lo", "hi"]) == Some(1);
                let sat = words.take("sat");
                let ty = words.ty()?;
                words.finish()?;
                let mad = opcode == "mad24";
                let alu = match (ty, high, mad, sat) {
                    (Type::U32, false, false, false) => {
                        Some(binary(|a: u32, b: u32| (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff)))
                    }
                    (Type::S32, false, false, false) => {
                        Some(binary(|a: i32, b: i32| (low24(a) * low24(b)) as i32))
                    }
                    (Type::U32, true, false, false) => Some(binary(|a: u32, b: u32| {
                        ((u64::from(a & 0xff_ffff) * u64::from(b & 0xff_ffff)) >> 16) as u32
                    })),
                    (Type::S32, true, false, false) => {
                        Some(binary(|a: i32, b: i32| ((low24(a) * low24(b)) >> 16) as i32))
                    }
                    (Type::U32, false, true, false) => Some(ternary(|a: u32, b: u32, c: u32| {
                        (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff).wrapping_add(c)
                    })),
                    (Type::S32, false, true, false) => {
                        Some(ternary(|a: i32, b: i32, c: i32| ((low24(a) * low24(b)) as i32).wrapping_add(c)))
                    }
                    (Type::U32, true, true, false) => Some(ternary(|a: u32, b: u32, c: u32| {
                        (((u64::from(a & 0xff_ffff) * u64::from(b & 0xff_ffff)) >> 16) as u32).wrapping_add(c)
                    })),
                    (Type::S32, true, true, false) => Some(ternary(|a: i32, b: i32, c: i32| {
                        (((low24(a) * low24(b)) >> 16) as i32).wrapping_add(c)
                    })),
                    (Type::S32, true, true, true) => Some(ternary(|a: i32, b: i32, c: i32| {
                        (((low24(a) * low24(b)) >> 16) as i32).saturating_add(c)
                    })),
                    _ => None,
                };
                self.same(i, class, ty, alu)
            }
            "sad" => {
                let ty = words.ty()?;
                words.finish()?;
                let alu = by_int!(ty, T => cold::ternary(|a: T, b: T, c: T| {
                    c.wrapping_add(if a < b { b.wrapping_sub(a) } else { a.wrapping_sub(b) })
                }));
                self.same(i, class, ty, alu)
            }
            "div" | "rem" => {
                let ty = words.ty()?;
                words.finish()?;
                // Division by zero is undefined in PTX: an H200 gives all ones, for the remainder too.
                let alu = if opcode == "div" {
                    by_int!(ty, T => cold::binary(|a: T, b: T| if b == 0 { !0 } else { a.wrapping_div(b) }))
                } else {
                    by_int!(ty, T => cold::binary(|a: T, b: T| if b == 0 { !0 } else { a.wrapping_rem(b) }))
                };
                self.same(i, class, ty, alu)
            }
            "abs" | "neg" => {
                let ty = words.ty()?;
                words.finish()?;
                let alu = match (opcode, ty) {
                    ("abs", Type::S16) => Some(unary(|a: i16| a.wrapping_abs())),
                    ("abs", Type::S32) => Some(unary(|a: i32| a.wrapping_abs())),
                    ("abs", Type::S64) => Some(unary(|a: i64| a.wrapping_abs())),
                    ("neg", Type::S16) => Some(unary(|a: i16| a.wrapping_neg())),
                    ("neg", Type::S32) => Some(unary(|a: i32| a.wrapping_neg())),
                    ("neg", Type::S64) => Some(unary(|a: i64| a.wrapping_neg())),
                    _ => None,
                };
                self.same(i, class, ty, alu)
            }
            "min" | "max" => {
                let relu = words.take("relu");
                let ty = words.ty()?;
                words.finish()?;
                let max = opcode == "max";
                let alu = match (ty, relu) {
                    (Type::S32, true) if max => Some(binary(|a: i32, b: i32| a.max(b).max(0))),
                    (Type::S32, true) => Some(binary(|a: i32, b: i32| a.min(b).max(0))),
                    (Type::U16x2, false) if max => Some(cold::binary(|a, b| pairs(a, b, |a, b| a.max(b)))),
                    (Type::U16x2, false) => Some(cold::binary(|a, b| pairs(a, b, |a, b| a.min(b)))),
                    (Type::S16x2, false) if max => {
                        Some(cold::binary(|a, b| pairs(a, b, |a, b| (a as i16).max(b as i16) as u16)))
                    }
                    (Type::S16x2, false) => {
                        Some(cold::binary(|a, b| pairs(a, b, |a, b| (a as i16).min(b as i16) as u16)))
                    }
                    (Type::S16x2, true) if max => {
                        Some(cold::binary(|a, b| pairs(a, b, |a, b| (a as i16).max(b as i16).max(0) as u16)))
                    }
                    (Type::S16x2, true) => {
                        Some(cold::binary(|a, b| pairs(a, b, |a, b| (a as i16).min(b as i16).max(0) as u16)))
                    }
                    (_, true) => None,
                    _ if max => by_int!(ty, T => binary(|a: T, b: T| a.max(b))),
                    _ => by_int!(ty, T => binary(|a: T, b: T| a.min(b))),
                };
                self.same(i, class, ty, alu)
            }
            "dp4a" | "dp2a" => self.dot(i, words),
            _ => Err(unsupported(i, "this integer operation")),
        }
    }

    fn add(&mut self, i: &'m Instruction, mut words: Words<'_>) -> Result<(), Unsupported> {
        let class = Class::Integer;
        let (sat, cc) = (words.take("sat"), words.take("cc"));
        let ty = words.ty()?;
        words.finish()?;
        let subtract = i.opcode.starts_with("sub");
        let carry_in = i.opcode.ends_with('c');
        if !cc && !carry_in {
            let alu = match (ty, sat, subtract) {
                (Type::S32, true, false) => Some(binary(|a: i32, b: i32| a.saturating_add(b))),
                (Type::S32, true, true) => Some(binary(|a: i32, b: i32| a.saturating_sub(b))),
                (_, true, _) => None,
                (Type::U16x2 | Type::S16x2, _, false) => {
                    Some(cold::binary(|a, b| pairs(a, b, |a, b| a.wrapping_add(b))))
                }
                (_, _, false) => by_bits!(ty, T => binary(|a: T, b: T| a.wrapping_add(b))),
                (_, _, true) => by_bits!(ty, T => binary(|a: T, b: T| a.wrapping_sub(b))),
            };
            return self.same(i, class, ty, alu);
        }
        // The carry flag is a predicate of the function. Without a carry in it is cleared first; without `.cc` it is
        // kept by working on a copy.
        let flag = self.carry()?;
        let alu = match (ty.bits(), subtract) {
            (32, false) => carrying(|a: u32, b: u32, carry: bool| {
                let sum = u64::from(a) + u64::from(b) + u64::from(carry);
                (sum as u32, sum >> 32 != 0)
            }),
            (32, true) => carrying(|a: u32, b: u32, carry: bool| {
                let difference = u64::from(a).wrapping_sub(u64::from(b)).wrapping_sub(u64::from(carry));
                (difference as u32, difference >> 32 != 0)
            }),
            (64, false) => carrying(|a: u64, b: u64, carry: bool| {
                let sum = u128::from(a) + u128::from(b) + u128::from(carry);
                (sum as u64, sum >> 64 != 0)
            }),
            (64, true) => carrying(|a: u64, b: u64, carry: bool| {
                let difference = u128::from(a).wrapping_sub(u128::from(b)).wrapping_sub(u128::from(carry));
                (difference as u64, difference >> 64 != 0)
            }),
            _ => return Err(unsupported(i, "carry for this type")),
        };
        let [d, a, b] = self.three(i, ty)?;
        let e = self.flag(flag, carry_in, cc)?;
        self.alu(class, alu, Slots { d, a, b, c: NONE, e });
        Ok(())
    }

    /// The flag predicate to give to a carrying instruction.
    fn flag(&mut self, flag: u32, carry_in: bool, carry_out: bool) -> Result<u32, Unsupported> {
        let e = if carry_out { flag } else { self.allocate(1)? };
        let from = if carry_in { flag } else { self.constant(0, 0)? };
        if e != from {
            let copy = crate::machine::lanes::predicate_and;
            self.hidden(Class::Integer, copy, Slots { d: e, a: from, b: from, c: NONE, e: NONE });
        }
        Ok(e)
    }

    fn three(&mut self, i: &Instruction, ty: Type) -> Result<[u32; 3], Unsupported> {
        let [d, a, b] = i.operands.as_slice() else { return Err(unsupported(i, "3 operands")) };
        let (a, b) = (self.source(i, a, ty)?, self.source(i, b, ty)?);
        Ok([self.dest(i, d, ty)?, a, b])
    }

    fn multiply(&mut self, i: &'m Instruction, mut words: Words<'_>) -> Result<(), Unsupported> {
        let class = Class::Integer;
        let part = words.take_one(&["lo", "hi", "wide"]).ok_or_else(|| unsupported(i, "lo, hi or wide"))?;
        let (sat, cc) = (words.take("sat"), words.take("cc"));
        let ty = words.ty()?;
        words.finish()?;
        if i.opcode == "madc" || cc {
            return self.multiply_carry(i, ty, part, cc);
        }
        let add = i.opcode == "mad";
        if sat {
            let alu = (ty == Type::S32 && part == 1 && add).then(|| {
                ternary(|a: i32, b: i32, c: i32| {
                    (((i64::from(a) * i64::from(b)) >> 32) as i32).saturating_add(c)
                })
            });
            return self.same(i, class, ty, alu);
        }
        match (part, add) {
            (0, false) => self.same(i, class, ty, by_bits!(ty, T => binary(|a: T, b: T| a.wrapping_mul(b)))),
            (0, true) => {
                let alu = by_bits!(ty, T => ternary(|a: T, b: T, c: T| a.wrapping_mul(b).wrapping_add(c)));
                self.same(i, class, ty, alu)
            }
            (1, false) => {
                let alu = match ty {
                    Type::U16 => Some(binary(|a: u16, b: u16| ((u32::from(a) * u32::from(b)) >> 16) as u16)),
                    Type::S16 => Some(binary(|a: i16, b: i16| ((i32::from(a) * i32::from(b)) >> 16) as i16)),
                    Type::U32 => Some(binary(|a: u32, b: u32| ((u64::from(a) * u64::from(b)) >> 32) as u32)),
                    Type::S32 => Some(binary(|a: i32, b: i32| ((i64::from(a) * i64::from(b)) >> 32) as i32)),
                    Type::U64 => {
                        Some(binary(|a: u64, b: u64| ((u128::from(a) * u128::from(b)) >> 64) as u64))
                    }
                    Type::S64 => {
                        Some(binary(|a: i64, b: i64| ((i128::from(a) * i128::from(b)) >> 64) as i64))
                    }
                    _ => None,
                };
                self.same(i, class, ty, alu)
            }
            (1, true) => {
                let alu = match ty {
                    Type::U16 => Some(ternary(|a: u16, b: u16, c: u16| {
                        (((u32::from(a) * u32::from(b)) >> 16) as u16).wrapping_add(c)
                    })),
                    Type::S16 => Some(ternary(|a: i16, b: i16, c: i16| {
                        (((i32::from(a) * i32::from(b)) >> 16) as i16).wrapping_add(c)
                    })),
                    Type::U32 => Some(ternary(|a: u32, b: u32, c: u32| {
                        (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c)
                    })),
                    Type::S32 => Some(ternary(|a: i32, b: i32, c: i32| {
                        (((i64::from(a) * i64::from(b)) >> 32) as i32).wrapping_add(c)
                    })),
                    Type::U64 => Some(ternary(|a: u64, b: u64, c: u64| {
                        (((u128::from(a) * u128::from(b)) >> 64) as u64).wrapping_add(c)
                    })),
                    Type::S64 => Some(ternary(|a: i64, b: i64, c: i64| {
                        (((i128::from(a) * i128::from(b)) >> 64) as i64).wrapping_add(c)
                    })),
                    _ => None,
                };
                self.same(i, class, ty, alu)
            }
            _ => {
                let wide = doubled(ty).ok_or_else(|| unsupported(i, "a wide product of this type"))?;
                if add {
                    let alu = match ty {
                        Type::U16 => {
                            ternary(|a: u16, b: u16, c: u32| (u32::from(a) * u32::from(b)).wrapping_add(c))
                        }
                        Type::S16 => {
                            ternary(|a: i16, b: i16, c: i32| (i32::from(a) * i32::from(b)).wrapping_add(c))
                        }
                        Type::U32 => {
                            ternary(|a: u32, b: u32, c: u64| (u64::from(a) * u64::from(b)).wrapping_add(c))
                        }
                        _ => ternary(|a: i32, b: i32, c: i64| (i64::from(a) * i64::from(b)).wrapping_add(c)),
                    };
                    self.mixed(i, class, wide, &[ty, ty, wide], Some(alu))
                } else {
                    let alu = match ty {
                        Type::U16 => binary(|a: u16, b: u16| u32::from(a) * u32::from(b)),
                        Type::S16 => binary(|a: i16, b: i16| i32::from(a) * i32::from(b)),
                        Type::U32 => binary(|a: u32, b: u32| u64::from(a) * u64::from(b)),
                        _ => binary(|a: i32, b: i32| i64::from(a) * i64::from(b)),
                    };
                    self.mixed(i, class, wide, &[ty, ty], Some(alu))
                }
            }
        }
    }

    fn multiply_carry(
        &mut self,
        i: &'m Instruction,
        ty: Type,
        part: usize,
        cc: bool,
    ) -> Result<(), Unsupported> {
        let carry_in = i.opcode == "madc";
        macro_rules! mad {
            ($narrow:ty, $signed:ty, $wide:ty, $bits:literal, $high:expr, $sign:expr) => {
                carrying3(|a: $narrow, b: $narrow, c: $narrow, carry: bool| {
                    let product = if $sign {
                        ((a as $signed as $wide).wrapping_mul(b as $signed as $wide)) as $wide
                    } else {
                        (a as $wide).wrapping_mul(b as $wide)
                    };
                    let part = if $high { (product >> $bits) as $narrow } else { product as $narrow };
                    let (sum, first) = part.overflowing_add(c);
                    let (sum, second) = sum.overflowing_add(<$narrow>::from(carry));
                    (sum, first | second)
                })
            };
        }
        let alu = match (ty, part) {
            (Type::U32 | Type::S32, 0) => mad!(u32, i32, u64, 32, false, false),
            (Type::U32, 1) => mad!(u32, i32, u64, 32, true, false),
            (Type::S32, 1) => mad!(u32, i32, u64, 32, true, true),
            (Type::U64 | Type::S64, 0) => mad!(u64, i64, u128, 64, false, false),
            (Type::U64, 1) => mad!(u64, i64, u128, 64, true, false),
            (Type::S64, 1) => mad!(u64, i64, u128, 64, true, true),
            _ => return Err(unsupported(i, "carry for this type")),
        };
        let [d, a, b, c] = i.operands.as_slice() else { return Err(unsupported(i, "4 operands")) };
        let (a, b, c) = (self.source(i, a, ty)?, self.source(i, b, ty)?, self.source(i, c, ty)?);
        let d = self.dest(i, d, ty)?;
        let flag = self.carry()?;
        let e = self.flag(flag, carry_in, cc)?;
        self.alu(Class::Integer, alu, Slots { d, a, b, c, e });
        Ok(())
    }

    fn dot(&mut self, i: &'m Instruction, mut words: Words<'_>) -> Result<(), Unsupported> {
        let high = words.take_one(&["lo", "hi"]) == Some(1);
        let (ta, tb) = (words.ty()?, words.ty()?);
        words.finish()?;
        let signs = u32::from(ta == Type::S32) | u32::from(tb == Type::S32) << 1;
        let form = signs | u32::from(high) << 2 | u32::from(i.opcode == "dp2a") << 3;
        let form = self.constant(u64::from(form), 1)?;
        let [d, a, b, c] = i.operands.as_slice() else { return Err(unsupported(i, "4 operands")) };
        let (a, b, c) =
            (self.source(i, a, Type::B32)?, self.source(i, b, Type::B32)?, self.source(i, c, Type::B32)?);
        let d = self.dest(i, d, Type::B32)?;
        let alu = quaternary(|a: u32, b: u32, c: u32, form: u32| {
            let byte = |value: u32, index: u32, signed: bool| {
                let byte = (value >> (8 * index)) as u8;
                if signed { i32::from(byte as i8) } else { i32::from(byte) }
            };
            let (signed_a, signed_b) = (form & 1 != 0, form & 2 != 0);
            let mut sum = c;
            if form & 8 == 0 {
                for index in 0..4 {
                    let product = byte(a, index, signed_a) * byte(b, index, signed_b);
                    sum = sum.wrapping_add(product as u32);
                }
            } else {
                for index in 0..2 {
                    let word = (a >> (16 * index)) as u16;
                    let word = if signed_a { i32::from(word as i16) } else { i32::from(word) };
                    let product = word * byte(b, index + if form & 4 != 0 { 2 } else { 0 }, signed_b);
                    sum = sum.wrapping_add(product as u32);
                }
            }
            sum
        });
        self.alu(Class::Integer, alu, Slots { d, a, b, c, e: form });
        Ok(())
    }
}

/// Applies an operation to both 16-bit halves.
#[inline(always)]
pub(super) fn pairs(a: u32, b: u32, f: impl Fn(u16, u16) -> u16) -> u32 {
    u32::from(f(a as u16, b as u16)) | u32::from(f((a >> 16) as u16, (b >> 16) as u16)) << 16
}
