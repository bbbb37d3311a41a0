//! Logic, shifts and bit fields.

use super::function::Decoder;
use super::integer::{by_bits, by_int};
use super::words::{Words, unsupported};
use crate::ast::{Instruction, Operand, Type};
use crate::machine::error::Unsupported;
use crate::machine::lanes::cold::{binary, quaternary, ternary, unary};
use crate::machine::lanes::{AluFn, NONE, Slots, predicate_and, predicate_nand, predicate_or, predicate_xor};
use crate::machine::report::Class;

/// `lop3` with any table.
#[inline(always)]
fn lop3(a: u32, b: u32, c: u32, table: u32) -> u32 {
    let mut result = 0;
    for index in 0..8 {
        let pick = |value: u32, bit: u32| if index & bit != 0 { value } else { !value };
        let chosen = 0u32.wrapping_sub(table >> index & 1);
        result |= pick(a, 4) & pick(b, 2) & pick(c, 1) & chosen;
    }
    result
}

/// `prmt` without a mode.
#[inline(always)]
fn permute(a: u32, b: u32, selector: u32) -> u32 {
    let bytes = u64::from(a) | u64::from(b) << 32;
    let mut result = 0;
    for index in 0..4 {
        let pick = selector >> (4 * index) & 0xf;
        let byte = (bytes >> (8 * (pick & 7))) as u8;
        let byte = if pick & 8 != 0 { ((byte as i8) >> 7) as u8 } else { byte };
        result |= u32::from(byte) << (8 * index);
    }
    result
}

/// `prmt` with a mode: the selector that the mode and the low two bits of `c` stand for.
#[inline(always)]
fn permute_mode(mode: u32, c: u32) -> u32 {
    const TABLE: [[u32; 4]; 6] = [
        [0x3210, 0x4321, 0x5432, 0x6543], // f4e
        [0x5670, 0x6701, 0x7012, 0x0123], // b4e
        [0x0000, 0x1111, 0x2222, 0x3333], // rc8
        [0x3210, 0x3211, 0x3222, 0x3333], // ecl
        [0x0000, 0x1110, 0x2210, 0x3210], // ecr
        [0x1010, 0x3232, 0x1010, 0x3232], // rc16
    ];
    TABLE[mode as usize % 6][(c & 3) as usize]
}

/// `fns`: the position of the n-th set bit from a base.
fn find_nth_set(mask: u32, base: u32, offset: i32) -> u32 {
    let base = base as i32;
    let (step, mut left, start) = match offset {
        0 => return if (0..32).contains(&base) && mask >> base & 1 != 0 { base as u32 } else { u32::MAX },
        _ => (offset.signum(), offset.unsigned_abs(), base),
    };
    let mut at = start;
    while (0..32).contains(&at) {
        if mask >> at & 1 != 0 {
            left -= 1;
            if left == 0 {
                return at as u32;
            }
        }
        at += step;
    }
    u32::MAX
}

impl<'m> Decoder<'_, 'm> {
    pub(super) fn bits(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let class = Class::Integer;
        match i.opcode.as_str() {
            "and" | "or" | "xor" | "not" | "cnot" => self.logic(i, words),
            "shl" => {
                let ty = words.ty()?;
                words.finish()?;
                let alu = by_bits!(ty, T => binary(|a: T, b: u32| {
                    if b < T::BITS { a << b } else { 0 }
                }));
                self.mixed(i, class, ty, &[ty, Type::U32], alu)
            }
            "shr" => {
                let ty = words.ty()?;
                words.finish()?;
                let alu = by_int!(ty, T => binary(|a: T, b: u32| {
                    if b < T::BITS { a >> b } else if T::MIN != 0 { a >> (T::BITS - 1) } else { 0 }
                }));
                self.mixed(i, class, ty, &[ty, Type::U32], alu)
            }
            "shf" => {
                let right = words.take_one(&["l", "r"]) == Some(1);
                let wrap = words.take_one(&["clamp", "wrap"]) == Some(1);
                let ty = words.ty()?;
                words.finish()?;
                let alu = match (right, wrap) {
                    (false, true) => ternary(|a: u32, b: u32, c: u32| {
                        (((u64::from(b) << 32 | u64::from(a)) << (c & 31)) >> 32) as u32
                    }),
                    (false, false) => ternary(|a: u32, b: u32, c: u32| {
                        (((u64::from(b) << 32 | u64::from(a)) << c.min(32)) >> 32) as u32
                    }),
                    (true, true) => ternary(|a: u32, b: u32, c: u32| {
                        ((u64::from(b) << 32 | u64::from(a)) >> (c & 31)) as u32
                    }),
                    (true, false) => ternary(|a: u32, b: u32, c: u32| {
                        ((u64::from(b) << 32 | u64::from(a)) >> c.min(32)) as u32
                    }),
                };
                self.mixed(i, class, ty, &[Type::B32, Type::B32, Type::U32], Some(alu))
            }
            "popc" | "clz" => {
                let ty = words.ty()?;
                words.finish()?;
                let alu = match (i.opcode.as_str(), ty) {
                    ("popc", Type::B32) => Some(unary(|a: u32| a.count_ones())),
                    ("popc", Type::B64) => Some(unary(|a: u64| a.count_ones())),
                    ("clz", Type::B32) => Some(unary(|a: u32| a.leading_zeros())),
                    ("clz", Type::B64) => Some(unary(|a: u64| a.leading_zeros())),
                    _ => None,
                };
                self.mixed(i, class, Type::U32, &[ty], alu)
            }
            "brev" => {
                let ty = words.ty()?;
                words.finish()?;
                self.same(i, class, ty, by_bits!(ty, T => unary(|a: T| a.reverse_bits())))
            }
            "bfind" => {
                let shift = words.take("shiftamt");
                let ty = words.ty()?;
                words.finish()?;
                let alu = match (ty, shift) {
                    (Type::U32, false) => Some(unary(|a: u32| 31u32.wrapping_sub(a.leading_zeros()))),
                    (Type::U64, false) => Some(unary(|a: u64| 63u32.wrapping_sub(a.leading_zeros()))),
                    (Type::S32, false) => {
                        Some(unary(|a: i32| 31u32.wrapping_sub(((a ^ (a >> 31)) as u32).leading_zeros())))
                    }
                    (Type::S64, false) => {
                        Some(unary(|a: i64| 63u32.wrapping_sub(((a ^ (a >> 63)) as u64).leading_zeros())))
                    }
                    (Type::U32, true) => {
                        Some(unary(|a: u32| if a == 0 { u32::MAX } else { a.leading_zeros() }))
                    }
                    (Type::U64, true) => {
                        Some(unary(|a: u64| if a == 0 { u32::MAX } else { a.leading_zeros() }))
                    }
                    (Type::S32, true) => Some(unary(|a: i32| {
                        let a = (a ^ (a >> 31)) as u32;
                        if a == 0 { u32::MAX } else { a.leading_zeros() }
                    })),
                    (Type::S64, true) => Some(unary(|a: i64| {
                        let a = (a ^ (a >> 63)) as u64;
                        if a == 0 { u32::MAX } else { a.leading_zeros() }
                    })),
                    _ => None,
                };
                self.mixed(i, class, Type::U32, &[ty], alu)
            }
            "bfe" => {
                let ty = words.ty()?;
                words.finish()?;
                let alu = match ty {
                    Type::U32 => Some(ternary(|a: u32, b: u32, c: u32| {
                        let (at, len) = (b & 255, c & 255);
                        let field = if at < 32 { a >> at } else { 0 };
                        if len < 32 { field & ((1 << len) - 1) } else { field }
                    })),
                    // Position and length have 8 bits in the 32-bit forms alone.
                    Type::U64 => Some(ternary(|a: u64, at: u32, len: u32| {
                        let field = if at < 64 { a >> at } else { 0 };
                        if len < 64 { field & ((1 << len) - 1) } else { field }
                    })),
                    Type::S32 => Some(ternary(|a: i32, b: u32, c: u32| {
                        extract_signed(i64::from(a), 32, b & 255, c & 255) as i32
                    })),
                    Type::S64 => {
                        Some(ternary(|a: i64, b: u32, c: u32| extract_signed(a, 64, b.min(255), c.min(255))))
                    }
                    _ => None,
                };
                self.mixed(i, class, ty, &[ty, Type::U32, Type::U32], alu)
            }
            "bfi" => {
                let ty = words.ty()?;
                words.finish()?;
                let alu = match ty {
                    Type::B32 => Some(quaternary(|a: u32, b: u32, c: u32, d: u32| {
                        insert(u64::from(a), u64::from(b), 32, c & 255, d & 255) as u32
                    })),
                    Type::B64 => Some(quaternary(|a: u64, b: u64, c: u32, d: u32| insert(a, b, 64, c, d))),
                    _ => None,
                };
                self.mixed(i, class, ty, &[ty, ty, Type::U32, Type::U32], alu)
            }
            "bmsk" => {
                let wrap = words.take_one(&["clamp", "wrap"]) == Some(1);
                let ty = words.ty()?;
                words.finish()?;
                let alu = if wrap {
                    binary(|a: u32, b: u32| (((1u64 << (b & 31)) - 1) << (a & 31)) as u32)
                } else {
                    binary(|a: u32, b: u32| {
                        let ones = (1u64 << b.min(32)) - 1;
                        if a < 32 { (ones << a) as u32 } else { 0 }
                    })
                };
                self.same(i, class, ty, Some(alu))
            }
            "szext" => {
                let wrap = words.take_one(&["clamp", "wrap"]) == Some(1);
                let ty = words.ty()?;
                words.finish()?;
                let alu = match (ty, wrap) {
                    (Type::U32, _) => Some(binary(move_szext_u)),
                    (Type::S32, true) => Some(binary(|a: u32, b: u32| sign_extend(a, b & 31))),
                    (Type::S32, false) => Some(binary(|a: u32, b: u32| sign_extend(a, b.min(32)))),
                    _ => None,
                };
                let alu = match (ty, wrap) {
                    (Type::U32, true) => Some(binary(|a: u32, b: u32| a & ((1u32 << (b & 31)) - 1))),
                    _ => alu,
                };
                self.same(i, class, ty, alu)
            }
            "fns" => {
                let ty = words.ty()?;
                words.finish()?;
                let alu = ternary(|a: u32, b: u32, c: i32| find_nth_set(a, b, c));
                self.mixed(i, class, ty, &[Type::B32, Type::B32, Type::S32], Some(alu))
            }
            "lop3" => self.lop3(i, words),
            "prmt" => {
                let mode = words.take_one(&["f4e", "b4e", "rc8", "ecl", "ecr", "rc16"]);
                let ty = words.ty()?;
                words.finish()?;
                match mode {
                    None => self.same(i, class, ty, Some(ternary(permute))),
                    Some(mode) => {
                        let e = self.constant(mode as u64, 1)?;
                        let [d, a, b, c] = i.operands.as_slice() else {
                            return Err(unsupported(i, "4 operands"));
                        };
                        let (a, b, c) =
                            (self.source(i, a, ty)?, self.source(i, b, ty)?, self.source(i, c, ty)?);
                        let d = self.dest(i, d, ty)?;
                        let alu = quaternary(|a: u32, b: u32, c: u32, mode: u32| {
                            permute(a, b, permute_mode(mode, c))
                        });
                        self.alu(class, alu, Slots { d, a, b, c, e });
                        Ok(())
                    }
                }
            }
            _ => Err(unsupported(i, "this bit operation")),
        }
    }

    fn logic(&mut self, i: &'m Instruction, mut words: Words<'_>) -> Result<(), Unsupported> {
        let ty = words.ty()?;
        words.finish()?;
        let opcode = i.opcode.as_str();
        if ty == Type::Pred {
            let alu: AluFn = match opcode {
                "and" => predicate_and,
                "or" => predicate_or,
                "xor" => predicate_xor,
                "not" => predicate_nand,
                _ => return Err(unsupported(i, "this operation on predicates")),
            };
            let (Some(d), Some(a)) = (i.operands.first(), i.operands.get(1)) else {
                return Err(unsupported(i, "operands"));
            };
            let a = self.plain_predicate(i, a)?;
            let b = match i.operands.get(2) {
                Some(b) => self.plain_predicate(i, b)?,
                None => a,
            };
            let d = self.predicate_dest(i, d)?;
            self.alu(Class::Integer, alu, Slots { d, a, b, c: NONE, e: NONE });
            return Ok(());
        }
        let alu = match opcode {
            "and" => by_bits!(ty, T => binary(|a: T, b: T| a & b)),
            "or" => by_bits!(ty, T => binary(|a: T, b: T| a | b)),
            "xor" => by_bits!(ty, T => binary(|a: T, b: T| a ^ b)),
            "not" => by_bits!(ty, T => unary(|a: T| !a)),
            _ => by_bits!(ty, T => unary(|a: T| T::from(a == 0))),
        };
        self.same(i, Class::Integer, ty, alu)
    }

    fn lop3(&mut self, i: &'m Instruction, mut words: Words<'_>) -> Result<(), Unsupported> {
        let combine = words.take_one(&["or", "and"]);
        let ty = words.ty()?;
        words.finish()?;
        // `lop3.or.b32 d|p, a, b, c, table, q`: `p` says whether the result is not zero, combined with `q`.
        let wanted = if combine.is_some() { 6 } else { 5 };
        if i.operands.len() != wanted {
            return Err(unsupported(i, format!("{wanted} operands")));
        }
        let Operand::Integer(table) = i.operands[4] else {
            return Err(unsupported(i, "a constant table"));
        };
        let [a, b, c] = [1, 2, 3].map(|at| self.source(i, &i.operands[at], ty));
        let (a, b, c) = (a?, b?, c?);
        if let Some(combine) = combine {
            let Operand::Pair(d, p) = &i.operands[0] else { return Err(unsupported(i, "`d|p`")) };
            let q = self.plain_predicate(i, &i.operands[5])?;
            let (d, p) = (self.dest(i, d, ty)?, self.predicate_dest(i, p)?);
            let e = self.constant((table & 0xff) as u64, 1)?;
            let result = self.allocate_type(Type::B32)?.slot;
            let some = self.allocate_type(Type::Pred)?.slot;
            self.hidden(Class::Integer, quaternary(lop3), Slots { d: result, a, b, c, e });
            let zero = self.constant(0, 1)?;
            let differs = crate::machine::lanes::cold::compare(|a: u32, b: u32| a != b);
            self.hidden(Class::Integer, differs, Slots { d: some, a: result, b: zero, c: NONE, e: NONE });
            let alu: AluFn = if combine == 0 { predicate_or } else { predicate_and };
            self.hidden(Class::Integer, alu, Slots { d: p, a: some, b: q, c: NONE, e: NONE });
            self.copy(d, result, 1, false);
            return Ok(());
        }
        let d = self.dest(i, &i.operands[0], ty)?;
        // The tables that compilers write most.
        let alu = match table & 0xff {
            0xc0 => ternary(|a: u32, b: u32, _: u32| a & b),
            0x80 => ternary(|a: u32, b: u32, c: u32| a & b & c),
            0xfe => ternary(|a: u32, b: u32, c: u32| a | b | c),
            0xf8 => ternary(|a: u32, b: u32, c: u32| a | (b & c)),
            0xea => ternary(|a: u32, b: u32, c: u32| (a & b) | c),
            0x96 => ternary(|a: u32, b: u32, c: u32| a ^ b ^ c),
            0x78 => ternary(|a: u32, b: u32, c: u32| a ^ (b & c)),
            0x6a => ternary(|a: u32, b: u32, c: u32| (a & b) ^ c),
            0xca => ternary(|a: u32, b: u32, c: u32| (a & b) | (!a & c)),
            _ => quaternary(lop3),
        };
        let e = self.constant((table & 0xff) as u64, 1)?;
        self.alu(Class::Integer, alu, Slots { d, a, b, c, e });
        Ok(())
    }
}

#[inline(always)]
fn move_szext_u(a: u32, b: u32) -> u32 {
    if b < 32 { a & ((1 << b) - 1) } else { a }
}

#[inline(always)]
fn sign_extend(value: u32, bits: u32) -> u32 {
    match bits {
        0 => 0,
        32.. => value,
        _ => ((value << (32 - bits)) as i32 >> (32 - bits)) as u32,
    }
}

/// `bfe` of a signed type: the sign is the field's last bit that lies inside the register.
#[inline(always)]
fn extract_signed(a: i64, width: u32, at: u32, len: u32) -> i64 {
    if len == 0 {
        return 0;
    }
    let sign = a >> (at + len - 1).min(width - 1) & 1 != 0;
    let field = if at < width { (a as u64 & (u64::MAX >> (64 - width))) >> at } else { 0 };
    let inside = width.saturating_sub(at).min(len);
    let ones = if inside < 64 { u64::MAX << inside } else { 0 };
    let field = if inside < 64 { field & !ones } else { field };
    (if sign { field | ones } else { field }) as i64
}

#[inline(always)]
fn insert(a: u64, b: u64, width: u32, at: u32, len: u32) -> u64 {
    if at >= width {
        return b;
    }
    let len = len.min(width - at);
    let ones = if len < 64 { (1 << len) - 1 } else { u64::MAX };
    b & !(ones << at) | (a & ones) << at
}
