//! Matrix fragments.

use super::function::Decoder;
use super::words::{Words, unsupported};
use crate::ast::{Instruction, Operand, Type};
use crate::machine::error::Unsupported;
use crate::machine::inst::matrix::{Arithmetic, Matrix, MatrixAccess, Method, Multiply};
use crate::machine::inst::{Kind, Space};
use crate::machine::lanes::{LANES, NONE, Slots};
use crate::machine::matrix::accumulate::{Model, Sum};
use crate::machine::matrix::format::Format;
use crate::machine::matrix::integer::Integer;
use crate::machine::matrix::layout::Layout;
use crate::machine::number;
use crate::machine::report::Class;

pub(super) const NO_SLOTS: Slots = Slots { d: NONE, a: NONE, b: NONE, c: NONE, e: NONE };

/// The number format that a type word stands for.
pub(super) fn format(ty: Type) -> Option<Format> {
    Some(match ty {
        Type::F16 => Format::F16,
        Type::BF16 => Format::BF16,
        Type::TF32 => Format::TF32,
        Type::E4M3 => Format::E4M3,
        Type::E5M2 => Format::E5M2,
        _ => return None,
    })
}

/// The integer that a type word stands for.
pub(super) fn integer(ty: Type) -> Option<Integer> {
    Some(match ty {
        Type::S8 => Integer { bits: 8, signed: true },
        Type::U8 => Integer { bits: 8, signed: false },
        Type::S4 => Integer { bits: 4, signed: true },
        Type::U4 => Integer { bits: 4, signed: false },
        _ => return None,
    })
}

/// Reads `m16n8k16`.
pub(super) fn shape(word: &str) -> Option<(usize, usize, usize)> {
    let (m, rest) = word.strip_prefix('m')?.split_once('n')?;
    let (n, k) = rest.split_once('k')?;
    Some((m.parse().ok()?, n.parse().ok()?, k.parse().ok()?))
}

impl<'m> Decoder<'_, 'm> {
    pub(super) fn matrix(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        if i.opcode == "wgmma" {
            return self.group(i, words);
        }
        if words.left().iter().any(|word| word.starts_with("sp")) {
            return Err(unsupported(i, "sparse operands"));
        }
        if !words.take("sync") {
            return Err(unsupported(i, "`.sync`"));
        }
        let _ = words.take("aligned");
        match i.opcode.as_str() {
            "mma" => self.mma(i, words),
            "movmatrix" => {
                if !(words.take("m8n8") && words.take("trans") && words.take("b16")) {
                    return Err(unsupported(i, "`.m8n8.trans.b16`"));
                }
                words.finish()?;
                let [d, a] = i.operands.as_slice() else { return Err(unsupported(i, "2 operands")) };
                let a = self.source(i, a, Type::B32)?;
                let d = self.dest(i, d, Type::B32)?;
                self.emit(Class::Shuffle, Kind::Matrix(Box::new(Matrix::Transpose(d, a))), NO_SLOTS);
                Ok(())
            }
            _ => self.matrix_access(i, words),
        }
    }

    /// `ldmatrix`, `stmatrix`.
    fn matrix_access(&mut self, i: &'m Instruction, mut words: Words<'m>) -> Result<(), Unsupported> {
        if !words.take("m8n8") || !words.take("b16") {
            return Err(unsupported(i, "matrices other than `.m8n8` of `.b16`"));
        }
        let Some(count) = words.take_one(&["x1", "x2", "x4"]) else {
            return Err(unsupported(i, "`.x1`, `.x2` or `.x4`"));
        };
        let transposed = words.take("trans");
        let space = match words.take_one(&["shared", "shared::cta"]) {
            Some(_) => Space::Shared,
            None => Space::Generic,
        };
        words.finish()?;
        let [first, second] = i.operands.as_slice() else { return Err(unsupported(i, "2 operands")) };
        let load = i.opcode == "ldmatrix";
        let (list, place) = if load { (first, second) } else { (second, first) };
        let registers: Vec<u32> =
            self.elements(i, list, Type::B32, load)?.iter().map(|element| element.slot).collect();
        if registers.len() != 1 << count || (!load && registers.contains(&NONE)) {
            return Err(unsupported(i, format!("{} registers", 1 << count)));
        }
        let address = self.address(i, place)?;
        let access = MatrixAccess { space, address, transposed, registers };
        let (class, op) = if load {
            (Class::SharedLoad, Matrix::Load(access))
        } else {
            (Class::SharedStore, Matrix::Store(access))
        };
        self.emit(class, Kind::Matrix(Box::new(op)), NO_SLOTS);
        Ok(())
    }

    /// The rows of a fragment: `count` registers of this type, two rows for an f64.
    pub(super) fn fragment(
        &mut self,
        i: &'m Instruction,
        operand: &'m Operand,
        ty: Type,
        count: usize,
        write: bool,
    ) -> Result<Vec<u32>, Unsupported> {
        let elements = self.elements(i, operand, ty, write)?;
        if elements.len() != count {
            return Err(unsupported(i, format!("{count} registers in each such operand")));
        }
        let mut rows = Vec::with_capacity(2 * count);
        for element in elements {
            if element.slot == NONE {
                return Err(unsupported(i, "a register instead of `_`"));
            }
            rows.push(element.slot);
            if ty == Type::F64 {
                rows.push(element.slot + LANES as u32);
            }
        }
        Ok(rows)
    }

    /// `mma.sync`
    fn mma(&mut self, i: &'m Instruction, mut words: Words<'m>) -> Result<(), Unsupported> {
        let found = words.left().iter().find_map(|word| Some((*word, shape(word)?)));
        let Some((word, (m, n, k))) = found else { return Err(unsupported(i, "a shape")) };
        words.take(word);
        let orders: Vec<bool> = words
            .left()
            .iter()
            .filter(|word| matches!(**word, "row" | "col"))
            .map(|word| *word == "row")
            .collect();
        words.drop_all(|word| matches!(word, "row" | "col"));
        let [a_rows, b_rows] = orders[..] else { return Err(unsupported(i, "`.row` or `.col` twice")) };
        let saturate = words.take("satfinite");
        let rounding = words.take_one(&["rn", "rz", "rm", "rp"]);
        let bit_operation = words.take_one(&["xor", "and"]);
        let popc = words.take("popc");
        let (d_type, a_type, b_type, c_type) = (words.ty()?, words.ty()?, words.ty()?, words.ty()?);
        words.finish()?;
        let sum = |ty: Type| match ty {
            Type::F16 => Some(Sum::F16),
            Type::F32 => Some(Sum::F32),
            _ => None,
        };
        let quads = (m, n, k) == (8, 8, 4) && a_type == Type::F16;
        let layout = if quads { Layout::Quads { a_rows, b_rows } } else { Layout::Grouped };
        if !quads && (!a_rows || b_rows) {
            return Err(unsupported(i, "A by rows and B by columns"));
        }
        let bits = a_type.bits() as usize;
        let arithmetic = match (format(a_type), format(b_type), integer(a_type), integer(b_type)) {
            (Some(a), Some(b), ..) => {
                let (Some(c), Some(d)) = (sum(c_type), sum(d_type)) else {
                    return Err(unsupported(i, "these types of C and D"));
                };
                let method = match a.bits() {
                    8 => Method::Halves(Model { block: k / 2, ..Model::HALF }),
                    _ if quads => Method::Chain,
                    _ => Method::Units(Model::HALF),
                };
                Arithmetic::Float { formats: (a, b), method, sums: (c, d) }
            }
            (_, _, Some(a), Some(b)) => Arithmetic::Integer { a, b, saturate },
            _ if a_type == Type::B1 && b_type == Type::B1 && popc => match bit_operation {
                Some(operation) => Arithmetic::Bits { and: operation == 1 },
                None => return Err(unsupported(i, "`.xor` or `.and`")),
            },
            _ if [a_type, b_type, c_type, d_type] == [Type::F64; 4] => Arithmetic::Double {
                rounding: [number::NEAREST, number::ZERO, number::DOWN, number::UP][rounding.unwrap_or(0)],
            },
            _ => return Err(unsupported(i, "these types of A and B")),
        };
        let bits_of_c = match arithmetic {
            Arithmetic::Integer { .. } | Arithmetic::Bits { .. }
                if c_type != Type::S32 || d_type != Type::S32 =>
            {
                return Err(unsupported(i, "C and D of `.s32`"));
            }
            _ => c_type.bits() as usize,
        };
        let shapes: &[(usize, usize, usize)] = match arithmetic {
            Arithmetic::Double { .. } => &[(8, 8, 4), (16, 8, 4), (16, 8, 8), (16, 8, 16)],
            _ => match bits {
                32 => &[(16, 8, 4), (16, 8, 8)],
                16 if a_type == Type::F16 => &[(8, 8, 4), (16, 8, 8), (16, 8, 16)],
                16 => &[(16, 8, 8), (16, 8, 16)],
                8 if format(a_type).is_some() => &[(16, 8, 16), (16, 8, 32)],
                8 => &[(8, 8, 16), (16, 8, 16), (16, 8, 32)],
                4 => &[(8, 8, 32), (16, 8, 32), (16, 8, 64)],
                _ => &[(8, 8, 128), (16, 8, 128), (16, 8, 256)],
            },
        };
        let mixed = a_type != b_type && !(bits <= 8 && b_type.bits() as usize == bits);
        let extra = (saturate && !matches!(arithmetic, Arithmetic::Integer { .. }))
            || (rounding.is_some() && !matches!(arithmetic, Arithmetic::Double { .. }))
            || ((popc || bit_operation.is_some()) && !matches!(arithmetic, Arithmetic::Bits { .. }));
        if !shapes.contains(&(m, n, k)) || mixed || extra || (!quads && c_type != d_type) {
            return Err(unsupported(i, "another shape, another type or other modifiers"));
        }
        if quads && (c_type, d_type) == (Type::F32, Type::F16) {
            return Err(unsupported(i, "D of `.f32` where C is"));
        }
        let [d, a, b, c] = i.operands.as_slice() else { return Err(unsupported(i, "4 operands")) };
        let double = matches!(arithmetic, Arithmetic::Double { .. });
        let per = if double { 64 } else { 32 };
        let in_type = if double { Type::F64 } else { Type::B32 };
        // `m8n8k4` of f16 is four products at once.
        let products = if quads { 4 } else { 1 };
        let registers = |elements: usize, bits: usize| products * elements * bits / per / LANES;
        let out_type = |ty: Type| {
            if double {
                Type::F64
            } else if ty == Type::F16 {
                Type::B32
            } else {
                ty
            }
        };
        let a = self.fragment(i, a, in_type, registers(m * k, bits), false)?;
        let b = self.fragment(i, b, in_type, registers(k * n, bits), false)?;
        let c = self.fragment(i, c, out_type(c_type), registers(m * n, bits_of_c), false)?;
        let d = self.fragment(i, d, out_type(d_type), registers(m * n, d_type.bits() as usize), true)?;
        let multiply = Multiply { shape: (m, n, k), layout, arithmetic, a, b, c, d };
        self.emit(Class::Tensor, Kind::Matrix(Box::new(Matrix::Multiply(multiply))), NO_SLOTS);
        Ok(())
    }
}
