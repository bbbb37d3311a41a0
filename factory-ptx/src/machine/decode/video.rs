//! Video instructions: parts of registers, packed bytes and half words, with saturation and a second operation.
//!
//! An H200 has few of them: ptxas turns the rest into several ordinary instructions, and where these give something else
//! than the PTX ISA's pseudocode, the machine gives what the H200 gives:
//! - saturation of a whole u32 makes negative values zero, and wraps beyond 2^32;
//! - saturation to a part takes negative values for large ones, so that they become the part's greatest value;
//! - `.h1` as destination gets the upper half of the value, not its lower one;
//! - `.min` and `.max` of u32 take a negative value for a large one.
//!
//! `vshl` with `.sat` or a second operation and `vmad` with a shift or `.po` are declined: what an H200 gives for them
//! follows no rule that we found.
//!
//! One function runs the scalar ones and one the packed ones; what an instruction says is packed into a constant that
//! they read. They are rare and hardware since sm_50 runs most of them as several ordinary instructions.

use super::function::Decoder;
use super::words::{Words, unsupported};
use crate::ast::{Instruction, Operand, Type};
use crate::machine::error::Unsupported;
use crate::machine::lanes::Slots;
use crate::machine::lanes::cold::quaternary;
use crate::machine::report::Class;

const OPERATIONS: [&str; 10] =
    ["vadd", "vsub", "vabsdiff", "vmin", "vmax", "vavrg", "vshl", "vshr", "vset", "vmad"];
const SET: u32 = 8;
const MULTIPLY: u32 = 9;
const COMPARISONS: [&str; 6] = ["eq", "ne", "lt", "le", "gt", "ge"];

/// What one instruction does; fits 64 bits.
#[derive(Clone, Copy, Default)]
struct Form {
    /// Index into [`OPERATIONS`].
    operation: u32,
    /// Index into [`COMPARISONS`], for `vset`.
    detail: u32,
    signed: [bool; 3],
    saturate: bool,
    /// `.wrap` of shifts.
    flag: bool,
    /// 0 none, 1 add, 2 min, 3 max.
    second: u32,
    /// Selectors of `d`, `a`, `b`. Scalar: 0 to 3 bytes, 4 and 5 half words, 6 all. Packed: three bits a lane, and for
    /// `d` a mask.
    selectors: [u32; 3],
}

impl Form {
    fn pack(self) -> u64 {
        let mut bits = u64::from(self.operation) | u64::from(self.detail) << 4;
        for (index, signed) in self.signed.into_iter().enumerate() {
            bits |= u64::from(signed) << (8 + index);
        }
        bits |= u64::from(self.saturate) << 11 | u64::from(self.flag) << 12 | u64::from(self.second) << 13;
        for (index, selector) in self.selectors.into_iter().enumerate() {
            bits |= u64::from(selector) << (16 + 16 * index);
        }
        bits
    }

    fn unpack(bits: u64) -> Form {
        let bit = |at: u32| bits >> at & 1 != 0;
        Form {
            operation: bits as u32 & 15,
            detail: (bits >> 4) as u32 & 15,
            signed: [bit(8), bit(9), bit(10)],
            saturate: bit(11),
            flag: bit(12),
            second: (bits >> 13) as u32 & 3,
            selectors: [16, 32, 48].map(|at| (bits >> at) as u32 & 0xffff),
        }
    }

    /// The operation on two lanes.
    fn apply(self, a: i64, b: i64) -> i64 {
        match self.operation {
            0 => a + b,
            1 => a - b,
            2 => (a - b).abs(),
            3 => a.min(b),
            4 => a.max(b),
            5 => (a + b + i64::from(a + b >= 0)) >> 1,
            6 | 7 => {
                let amount = if self.flag { b & 31 } else { b.min(32) };
                if self.operation == 6 { a << amount } else { a >> amount }
            }
            _ => i64::from(match self.detail {
                0 => a == b,
                1 => a != b,
                2 => a < b,
                3 => a <= b,
                4 => a > b,
                _ => a >= b,
            }),
        }
    }

    /// Saturation of a packed lane to so many bits of the destination's type.
    fn clamp(self, value: i64, bits: u32) -> i64 {
        if !self.saturate {
            value
        } else if self.signed[0] {
            value.clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        } else {
            value.clamp(0, (1 << bits) - 1)
        }
    }

    /// Saturation of a scalar result.
    fn clamp_scalar(self, value: i64, bits: u32) -> i64 {
        match (self.saturate, self.signed[0], bits) {
            (false, ..) => value,
            (true, true, 32) => value.clamp(i64::from(i32::MIN), i64::from(i32::MAX)),
            (true, false, 32) => value.max(0),
            (true, signed, _) => i64::from((value as u32).min(u32::MAX >> (32 - bits + u32::from(signed)))),
        }
    }
}

/// Where a scalar selector begins and how many bits it takes.
fn part(selector: u32) -> (u32, u32) {
    match selector {
        0..=3 => (8 * selector, 8),
        4 | 5 => (16 * (selector - 4), 16),
        _ => (0, 32),
    }
}

/// So many low bits of a value, extended as its type says.
fn extend(value: u32, bits: u32, signed: bool) -> i64 {
    let up = 64 - bits;
    if signed { (u64::from(value) << up) as i64 >> up } else { (u64::from(value) << up >> up) as i64 }
}

fn scalar(a: u32, b: u32, c: u32, form: u64) -> u32 {
    let form = Form::unpack(form);
    let [to, from_a, from_b] = form.selectors.map(part);
    let x = extend(a >> from_a.0, from_a.1, form.signed[1]);
    let y = extend(b >> from_b.0, from_b.1, form.signed[2]);
    if form.operation == MULTIPLY {
        return multiply(x, y, c, form);
    }
    let value = form.clamp_scalar(form.apply(x, y), to.1);
    let third = extend(c, 32, form.signed[0]);
    let value = match (form.second, form.signed[0]) {
        (0, _) => value,
        (1, _) => value + third,
        (2, true) => extend(value as u32, 32, true).min(third),
        (_, true) => extend(value as u32, 32, true).max(third),
        (2, false) => (value as u64).min(third as u64) as i64,
        (_, false) => (value as u64).max(third as u64) as i64,
    } as u32;
    if to.1 == 32 {
        return value;
    }
    let mask = ((1u32 << to.1) - 1) << to.0;
    let value = if to == (16, 16) { value } else { value << to.0 };
    value & mask | c & !mask
}

/// `vmad`: the addend is taken as signed, also where the factors are not.
fn multiply(x: i64, y: i64, c: u32, form: Form) -> u32 {
    let sum = i128::from(x) * i128::from(y) + i128::from(c as i32);
    match (form.saturate, form.signed[1] || form.signed[2]) {
        (false, _) => sum as u32,
        (true, true) => sum.clamp(i128::from(i32::MIN), i128::from(i32::MAX)) as u32,
        (true, false) => sum.clamp(0, i128::from(u32::MAX)) as u32,
    }
}

fn packed<const BITS: u32>(a: u32, b: u32, c: u32, form: u64) -> u32 {
    let form = Form::unpack(form);
    let count = 32 / BITS;
    let both = u64::from(a) | u64::from(b) << 32;
    let ones = u32::MAX >> (32 - BITS);
    let mut result = if form.second == 1 { c } else { 0 };
    for lane in 0..count {
        let pick = |selector: u32, signed: bool| {
            extend((both >> (BITS * (selector >> (3 * lane) & 7))) as u32, BITS, signed)
        };
        let chosen = form.selectors[0] >> lane & 1 != 0;
        let value =
            form.apply(pick(form.selectors[1], form.signed[1]), pick(form.selectors[2], form.signed[2]));
        let value = form.clamp(value, BITS) as u32;
        if form.second == 1 {
            result = result.wrapping_add(if chosen { value } else { 0 });
        } else {
            let kept = if chosen { value & ones } else { c >> (BITS * lane) & ones };
            result |= kept << (BITS * lane);
        }
    }
    result
}

/// A register's name and its selector, where it has one of this letter.
fn selector(operand: &Operand) -> (Operand, Option<&str>) {
    if let Operand::Name(name) = operand
        && let Some((register, selector)) = name.rsplit_once('.')
        && selector.starts_with(['b', 'h'])
        && selector.len() > 1
        && selector[1..].bytes().all(|byte| byte.is_ascii_digit())
    {
        return (Operand::Name(register.to_owned()), Some(selector));
    }
    (operand.clone(), None)
}

impl<'m> Decoder<'_, 'm> {
    pub(super) fn video(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let (name, lanes) = match i.opcode.as_bytes().last() {
            Some(b'2') => (&i.opcode[..i.opcode.len() - 1], 2),
            Some(b'4') => (&i.opcode[..i.opcode.len() - 1], 4),
            _ => (i.opcode.as_str(), 1),
        };
        let operation = OPERATIONS.iter().position(|known| *known == name);
        let operation = operation.ok_or_else(|| unsupported(i, "this video operation"))? as u32;
        let mut form = Form { operation, ..Form::default() };
        form.saturate = words.take("sat");
        if operation == SET {
            let comparison = words.take_one(&COMPARISONS);
            form.detail = comparison.ok_or_else(|| unsupported(i, "a comparison"))? as u32;
        }
        form.flag = words.take("wrap");
        let _ = words.take("clamp");
        form.second = words.take_one(&["add", "min", "max"]).map_or(0, |index| index as u32 + 1);
        let first = if operation == SET { 1 } else { 0 };
        for index in first..3 {
            form.signed[index] = match words.ty()? {
                Type::S32 => true,
                Type::U32 => false,
                _ => return Err(unsupported(i, "u32 or s32")),
            };
        }
        words.finish()?;
        if operation == SET {
            form.signed[0] = form.signed[1] || form.signed[2];
        }
        if name == "vshl" && (form.saturate || form.second != 0) {
            return Err(unsupported(i, "`vshl` without saturation and without a second operation"));
        }
        let wanted = 3..=4;
        if !wanted.contains(&i.operands.len()) {
            return Err(unsupported(i, "3 or 4 operands"));
        }
        let mut slots = [0u32; 4];
        for (index, operand) in i.operands.iter().enumerate() {
            let (operand, text) = selector(operand);
            if index < 3 {
                let chosen =
                    if lanes == 1 { scalar_selector(text) } else { packed_selector(text, index, lanes) };
                form.selectors[index] = chosen.ok_or_else(|| unsupported(i, "this selector"))?;
            } else if text.is_some() {
                return Err(unsupported(i, "no selector on the last operand"));
            }
            slots[index] = if index == 0 {
                self.dest(i, &operand, Type::B32)?
            } else {
                self.source(i, &operand, Type::B32)?
            };
        }
        if i.operands.len() == 3 {
            slots[3] = self.constant(0, 1)?;
        }
        let e = self.constant(form.pack(), 2)?;
        let alu = match lanes {
            1 => quaternary(scalar),
            2 => quaternary(packed::<16>),
            _ => quaternary(packed::<8>),
        };
        let [d, a, b, c] = slots;
        self.alu(Class::Integer, alu, Slots { d, a, b, c, e });
        Ok(())
    }
}

fn scalar_selector(text: Option<&str>) -> Option<u32> {
    Some(match text {
        None => 6,
        Some("b0") => 0,
        Some("b1") => 1,
        Some("b2") => 2,
        Some("b3") => 3,
        Some("h0") => 4,
        Some("h1") => 5,
        Some(_) => return None,
    })
}

/// Lanes from the left are the upper ones; the destination's digits are the lanes that are written.
fn packed_selector(text: Option<&str>, operand: usize, lanes: u32) -> Option<u32> {
    let digits: Vec<u32> = match text {
        Some(text) => text.bytes().skip(1).map(|digit| u32::from(digit - b'0')).collect(),
        None if operand == 2 => (lanes..2 * lanes).rev().collect(),
        None => (0..lanes).rev().collect(),
    };
    if operand == 0 {
        return digits.iter().try_fold(0, |mask, digit| (*digit < lanes).then_some(mask | 1 << digit));
    }
    if digits.len() != lanes as usize || digits.iter().any(|digit| *digit >= 2 * lanes) {
        return None;
    }
    Some(digits.iter().fold(0, |all, digit| all << 3 | digit))
}
