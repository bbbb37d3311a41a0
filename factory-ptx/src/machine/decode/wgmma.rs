//! `wgmma`: products of a warpgroup.

use super::Code;
use super::function::Decoder;
use super::matrix::{NO_SLOTS, format, integer, shape};
use super::words::{Words, unsupported};
use crate::ast::{Instruction, Operand, Type};
use crate::machine::error::Unsupported;
use crate::machine::inst::Kind;
use crate::machine::inst::matrix::{Arithmetic, GroupA, GroupMultiply, Matrix, Method, Rows};
use crate::machine::lanes::{LANES, NONE};
use crate::machine::matrix::accumulate::{Model, Sum};
use crate::machine::report::Class;

/// Joins slots that follow each other to runs of rows.
fn runs(slots: &[u32]) -> Vec<Rows> {
    let mut sorted = slots.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut rows: Vec<Rows> = Vec::new();
    for slot in sorted {
        match rows.last_mut() {
            Some((first, count)) if *first + *count * LANES as u32 == slot => *count += 1,
            _ => rows.push((slot, 1)),
        }
    }
    rows
}

/// Notes the slots that instructions from `start` on compute. Compilers move copies and constants of accumulators
/// behind a `wgmma.fence`, which ptxas takes as written before it; what is computed there is the program's own doing.
pub(super) fn note_computed(code: &mut Code, start: usize) {
    let mut slots = Vec::new();
    for (inst, moved) in code.insts[start..].iter().zip(&code.moves[start..]) {
        if *moved {
            continue;
        }
        if inst.slots.d != NONE {
            slots.push(inst.slots.d);
        }
        match &inst.kind {
            Kind::Load(access) | Kind::Parameter(access) => {
                slots.extend(access.elements.iter().map(|element| element.slot));
            }
            Kind::Atomic(atomic) => slots.extend(atomic.results.iter().map(|element| element.slot)),
            Kind::Call(call) => slots.extend(call.results.iter().map(|(slot, _)| *slot)),
            Kind::Matrix(op) => match &**op {
                Matrix::Load(access) => slots.extend(&access.registers),
                Matrix::Transpose(d, _) => slots.push(*d),
                Matrix::Multiply(multiply) => slots.extend(&multiply.d),
                _ => {}
            },
            _ => {}
        }
    }
    code.computed.extend(slots);
}

impl<'m> Decoder<'_, 'm> {
    /// `wgmma.*`
    pub(super) fn group(&mut self, i: &'m Instruction, mut words: Words<'m>) -> Result<(), Unsupported> {
        let operation = words.take_one(&["fence", "commit_group", "wait_group", "mma_async"]);
        if words.left().iter().any(|word| word.starts_with("sp")) {
            return Err(unsupported(i, "sparse operands"));
        }
        if !words.take("sync") || !words.take("aligned") {
            return Err(unsupported(i, "`.sync.aligned`"));
        }
        let (class, op) = match operation {
            Some(0) => (Class::Barrier, Matrix::GroupFence),
            Some(1) => (Class::Async, Matrix::GroupCommit),
            Some(2) => match i.operands.as_slice() {
                [Operand::Integer(pending @ 0..=7)] => (Class::Async, Matrix::GroupWait(*pending as u32)),
                _ => return Err(unsupported(i, "a constant number of groups up to 7")),
            },
            Some(_) => return self.group_multiply(i, words),
            None => return Err(unsupported(i, "fence, mma_async, commit_group or wait_group")),
        };
        words.finish()?;
        if operation != Some(2) && !i.operands.is_empty() {
            return Err(unsupported(i, "no operands"));
        }
        self.emit(class, Kind::Matrix(Box::new(op)), NO_SLOTS);
        Ok(())
    }

    fn group_multiply(&mut self, i: &'m Instruction, mut words: Words<'m>) -> Result<(), Unsupported> {
        let found = words.left().iter().find_map(|word| Some((*word, shape(word)?)));
        let Some((word, (m, n, k))) = found else { return Err(unsupported(i, "a shape")) };
        words.take(word);
        let saturate = words.take("satfinite");
        let bits = words.take("and") && words.take("popc");
        let (d_type, a_type, b_type) = (words.ty()?, words.ty()?, words.ty()?);
        words.finish()?;
        let arithmetic = match (format(a_type), format(b_type), integer(a_type), integer(b_type)) {
            (Some(a), Some(b), ..) => {
                let sum = match d_type {
                    Type::F32 => Sum::F32,
                    Type::F16 if !matches!(a_type, Type::BF16 | Type::TF32) => Sum::F16,
                    _ => return Err(unsupported(i, "this type of D")),
                };
                let model = if a.bits() == 8 { Model::EIGHT_BITS } else { Model::HALF };
                Arithmetic::Float { formats: (a, b), method: Method::Units(model), sums: (sum, sum) }
            }
            (_, _, Some(a), Some(b)) if d_type == Type::S32 && a.bits == 8 => {
                Arithmetic::Integer { a, b, saturate }
            }
            _ if bits && (a_type, b_type, d_type) == (Type::B1, Type::B1, Type::S32) => {
                Arithmetic::Bits { and: true }
            }
            _ => return Err(unsupported(i, "these types")),
        };
        let width = a_type.bits() as usize;
        let float = matches!(arithmetic, Arithmetic::Float { .. });
        let mixed = a_type != b_type && width != 8;
        let widths = float || n <= 32 || n.is_multiple_of(16);
        if (m, k * width) != (64, 256)
            || !(8..=256).contains(&n)
            || !n.is_multiple_of(8)
            || mixed
            || !widths
            || width != b_type.bits() as usize
            || (saturate && !matches!(arithmetic, Arithmetic::Integer { .. }))
        {
            return Err(unsupported(i, "another shape or other types"));
        }
        // D, A, B, scale-d; for floats two signs; for 16-bit ones whether A (in shared memory) and B are transposed.
        let registers = matches!(i.operands.get(1), Some(Operand::Vector(_)));
        let transposes = if width == 16 { 2 - usize::from(registers) } else { 0 };
        let wanted = 4 + if float { 2 } else { 0 } + transposes;
        if i.operands.len() != wanted {
            return Err(unsupported(i, format!("{wanted} operands")));
        }
        let constant = |at: usize, allowed: [i128; 2]| match i.operands.get(at) {
            Some(Operand::Integer(value)) if allowed.contains(value) => Ok(*value == allowed[1]),
            _ => Err(unsupported(i, format!("{} or {} as operand {at}", allowed[0], allowed[1]))),
        };
        let (mut negate_a, mut negate_b, mut a_transposed, mut b_transposed) = (false, false, false, false);
        if float {
            negate_a = constant(4, [1, -1])?;
            negate_b = constant(5, [1, -1])?;
        }
        if transposes > 0 {
            b_transposed = constant(wanted - 1, [0, 1])?;
            if !registers {
                a_transposed = constant(wanted - 2, [0, 1])?;
            }
        }
        let per = if d_type == Type::F16 { 4 } else { 2 };
        let d_class = if d_type == Type::F32 { Type::F32 } else { Type::B32 };
        let d = self.fragment(i, &i.operands[0], d_class, n / per, true)?;
        let a = if registers {
            GroupA::Registers(self.fragment(i, &i.operands[1], Type::B32, 4, false)?)
        } else {
            let descriptor = self.source(i, &i.operands[1], Type::B64)?;
            GroupA::Shared { descriptor, transposed: a_transposed }
        };
        let b = self.source(i, &i.operands[2], Type::B64)?;
        let (adds, adds_negated) = self.predicate(i, &i.operands[3])?;
        let d_rows = runs(&d);
        let a_rows = if let GroupA::Registers(slots) = &a { runs(slots) } else { Vec::new() };
        self.code.products += 1;
        for rows in d_rows.iter().chain(&a_rows) {
            if !self.code.product_rows.contains(rows) {
                self.code.product_rows.push(*rows);
            }
        }
        let multiply = GroupMultiply {
            n,
            arithmetic,
            a,
            b,
            b_transposed,
            d,
            adds,
            adds_negated,
            negate_a,
            negate_b,
            d_rows,
            a_rows,
        };
        self.emit(Class::Tensor, Kind::Matrix(Box::new(Matrix::GroupMultiply(multiply.into()))), NO_SLOTS);
        Ok(())
    }
}
