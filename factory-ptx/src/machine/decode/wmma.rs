//! `wmma`: the older matrix instructions, whose fragments have no layout that a program may know.

use super::function::Decoder;
use super::matrix::{NO_SLOTS, format, integer, shape};
use super::memory::space;
use super::words::{Words, unsupported};
use crate::ast::{Instruction, Type};
use crate::machine::error::Unsupported;
use crate::machine::inst::matrix::{
    Arithmetic, Fragment, FragmentAccess, FragmentMultiply, Matrix, Method, Part,
};
use crate::machine::inst::{Kind, Space};
use crate::machine::lanes::NONE;
use crate::machine::matrix::accumulate::{Model, Sum};
use crate::machine::number;
use crate::machine::report::Class;

type Shape = (usize, usize, usize);

/// The shapes that elements of this type come in.
fn shapes(ty: Type) -> &'static [Shape] {
    const WIDE: &[Shape] = &[(16, 16, 16), (8, 32, 16), (32, 8, 16)];
    match ty {
        Type::F16 | Type::BF16 | Type::S8 | Type::U8 => WIDE,
        Type::TF32 => &[(16, 16, 8)],
        Type::F64 => &[(8, 8, 4)],
        Type::S4 | Type::U4 => &[(8, 8, 32)],
        Type::B1 => &[(8, 8, 128)],
        _ => &[],
    }
}

/// What a fragment of a matrix of this many elements looks like. f16 operands always have 8 registers.
fn fragment(part: Part, (m, n, k): Shape, ty: Type) -> (Fragment, usize) {
    let (rows, columns) = match part {
        Part::A => (m, k),
        Part::B => (k, n),
        Part::C => (m, n),
    };
    let bits = ty.bits() as usize;
    let used = (rows * columns * bits / 1024).max(1);
    let registers = match (part, ty) {
        (Part::A | Part::B, Type::F16) => 8,
        (_, Type::F64) => used / 2,
        _ => used,
    };
    (Fragment { part, rows, columns, bits }, registers)
}

impl<'m> Decoder<'_, 'm> {
    /// `wmma.*`
    pub(super) fn wmma(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let operation = words.take_one(&["load", "store", "mma"]);
        let bit_operation = words.take_one(&["xor", "and"]);
        let popc = words.take("popc");
        if !words.take("sync") {
            return Err(unsupported(i, "`.sync`"));
        }
        let _ = words.take("aligned");
        let found = words.left().iter().find_map(|word| Some((*word, shape(word)?)));
        let Some((word, size)) = found else { return Err(unsupported(i, "a shape")) };
        words.take(word);
        match operation {
            Some(2) => self.wmma_multiply(i, words, size, bit_operation.filter(|_| popc)),
            Some(operation) => self.wmma_access(i, words, size, operation == 0),
            None => Err(unsupported(i, "load, store or mma")),
        }
    }

    fn wmma_access(
        &mut self,
        i: &'m Instruction,
        mut words: Words<'m>,
        size: Shape,
        load: bool,
    ) -> Result<(), Unsupported> {
        let part = match words.take_one(&["a", "b", "c", "d"]) {
            Some(0) if load => Part::A,
            Some(1) if load => Part::B,
            Some(2) if load => Part::C,
            Some(3) if !load => Part::C,
            _ => return Err(unsupported(i, "a, b or c to load, d to store")),
        };
        let Some(order) = words.take_one(&["row", "col"]) else {
            return Err(unsupported(i, "`.row` or `.col`"));
        };
        let space = space(&mut words);
        if !matches!(space, Space::Generic | Space::Global | Space::Shared) {
            return Err(unsupported(i, "global or shared memory"));
        }
        let ty = words.ty()?;
        words.finish()?;
        let known = match part {
            Part::C => {
                matches!(ty, Type::F16 | Type::F32 | Type::S32 | Type::F64)
                    && [Type::F16, Type::TF32, Type::S4, Type::B1, Type::F64]
                        .iter()
                        .any(|ty| shapes(*ty).contains(&size))
            }
            _ => shapes(ty).contains(&size),
        };
        // Narrow elements lie along K.
        let along = (part == Part::A) == (order == 0);
        if !known || (ty.bits() < 8 && !along) {
            return Err(unsupported(i, "another shape or type"));
        }
        let (layout, registers) = fragment(part, size, ty);
        let (list, place) = if load { (0, 1) } else { (1, 0) };
        if !matches!(i.operands.len(), 2 | 3) {
            return Err(unsupported(i, "2 or 3 operands"));
        }
        let class = match ty {
            Type::F64 => Type::F64,
            Type::F32 if part == Part::C => Type::F32,
            _ => Type::B32,
        };
        let registers = self.fragment(i, &i.operands[list], class, registers, load)?;
        let address = self.address(i, &i.operands[place])?;
        let stride = match i.operands.get(2) {
            Some(operand) => self.source(i, operand, Type::B32)?,
            None => NONE,
        };
        let access = FragmentAccess { load, space, address, stride, by_rows: order == 0, layout, registers };
        let class = match (space, load) {
            (Space::Shared, true) => Class::SharedLoad,
            (Space::Shared, false) => Class::SharedStore,
            (_, true) => Class::GlobalLoad,
            (_, false) => Class::GlobalStore,
        };
        self.emit(class, Kind::Matrix(Box::new(Matrix::FragmentAccess(access))), NO_SLOTS);
        Ok(())
    }

    fn wmma_multiply(
        &mut self,
        i: &'m Instruction,
        mut words: Words<'m>,
        size: Shape,
        bit_operation: Option<usize>,
    ) -> Result<(), Unsupported> {
        words.drop_all(|word| matches!(word, "row" | "col"));
        let saturate = words.take("satfinite");
        let rounding = words.take_one(&["rn", "rz", "rm", "rp"]);
        let first = words.ty()?;
        let second = words.ty()?;
        // `.dtype.ctype` alone stands for f16 operands.
        let (d_type, a_type, b_type, c_type) = match words.another_type() {
            None => (first, Type::F16, Type::F16, second),
            Some(third) => (first, second, third, words.ty()?),
        };
        words.finish()?;
        let sum = |ty: Type| match ty {
            Type::F16 => Some(Sum::F16),
            Type::F32 => Some(Sum::F32),
            _ => None,
        };
        let arithmetic = match (format(a_type), integer(a_type), integer(b_type)) {
            (Some(format), ..) if a_type == b_type => {
                let (Some(c), Some(d)) = (sum(c_type), sum(d_type)) else {
                    return Err(unsupported(i, "these types of C and D"));
                };
                if a_type != Type::F16 && (c, d) != (Sum::F32, Sum::F32) {
                    return Err(unsupported(i, "C and D of `.f32`"));
                }
                Arithmetic::Float {
                    formats: (format, format),
                    method: Method::Units(Model::HALF),
                    sums: (c, d),
                }
            }
            (_, Some(a), Some(b)) if (c_type, d_type) == (Type::S32, Type::S32) && a.bits == b.bits => {
                Arithmetic::Integer { a, b, saturate }
            }
            _ if (a_type, b_type, c_type, d_type) == (Type::B1, Type::B1, Type::S32, Type::S32) => {
                match bit_operation {
                    Some(operation) => Arithmetic::Bits { and: operation == 1 },
                    None => return Err(unsupported(i, "`.xor.popc` or `.and.popc`")),
                }
            }
            _ if [a_type, b_type, c_type, d_type] == [Type::F64; 4] => Arithmetic::Double {
                rounding: [number::NEAREST, number::ZERO, number::DOWN, number::UP][rounding.unwrap_or(0)],
            },
            _ => return Err(unsupported(i, "these types")),
        };
        // On f16 results `.satfinite` would bound them; nvcc does not emit it.
        if !shapes(a_type).contains(&size) || (saturate && !matches!(arithmetic, Arithmetic::Integer { .. }))
        {
            return Err(unsupported(i, "another shape or other modifiers"));
        }
        let [d, a, b, c] = i.operands.as_slice() else { return Err(unsupported(i, "4 operands")) };
        let class = |ty: Type| match ty {
            Type::F64 | Type::F32 => ty,
            _ => Type::B32,
        };
        let operand_class = if a_type == Type::F64 { Type::F64 } else { Type::B32 };
        let (_, count) = fragment(Part::A, size, a_type);
        let a = self.fragment(i, a, operand_class, count, false)?;
        let (_, count) = fragment(Part::B, size, b_type);
        let b = self.fragment(i, b, operand_class, count, false)?;
        let (_, count) = fragment(Part::C, size, c_type);
        let c = self.fragment(i, c, class(c_type), count, false)?;
        let (_, count) = fragment(Part::C, size, d_type);
        let d = self.fragment(i, d, class(d_type), count, true)?;
        let multiply = FragmentMultiply { shape: size, arithmetic, a, b, c, d };
        self.emit(Class::Tensor, Kind::Matrix(Box::new(Matrix::FragmentMultiply(multiply))), NO_SLOTS);
        Ok(())
    }
}
