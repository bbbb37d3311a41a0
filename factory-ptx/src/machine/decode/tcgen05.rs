//! Tensor memory and the fifth-generation tensor core (PTX ISA 9.0, section 9.7.16).

use super::function::Decoder;
use super::words::{Words, unsupported};
use crate::ast::{Instruction, Operand, Type};
use crate::machine::error::Unsupported;
use crate::machine::inst::tcgen05::{
    CopyFormat, CopyShape, Factors, Left, Multiply, MultiplyKind, Tcgen05, Transfer, TransferShape,
};
use crate::machine::inst::{Kind, ReduceOp, Space};
use crate::machine::lanes::{NONE, Slots};
use crate::machine::report::Class;

const NO_SLOTS: Slots = Slots { d: NONE, a: NONE, b: NONE, c: NONE, e: NONE };

/// `.x1` to `.x128`
const REPEATS: [&str; 8] = ["x1", "x2", "x4", "x8", "x16", "x32", "x64", "x128"];

/// Whether `.cta_group::2` was said.
fn pair(i: &Instruction, words: &mut Words<'_>) -> Result<bool, Unsupported> {
    match words.take_one(&["cta_group::1", "cta_group::2"]) {
        Some(group) => Ok(group == 1),
        None => Err(unsupported(i, "`.cta_group::1` or `::2`")),
    }
}

impl<'m> Decoder<'_, 'm> {
    pub(super) fn tcgen05(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        // What is collective is `.sync.aligned`; it says nothing that the machine does not check anyway.
        let _ = (words.take("sync"), words.take("aligned"));
        let operations = [
            "alloc",
            "dealloc",
            "relinquish_alloc_permit",
            "ld",
            "st",
            "wait::ld",
            "wait::st",
            "fence::before_thread_sync",
            "fence::after_thread_sync",
            "cp",
            "shift",
            "commit",
            "mma",
        ];
        let mut slots = NO_SLOTS;
        let op = match words.take_one(&operations).map(|index| operations[index]) {
            Some("alloc") => {
                let pair = pair(i, &mut words)?;
                let space = if words.take_one(&["shared::cta", "shared"]).is_some() {
                    Space::Shared
                } else {
                    Space::Generic
                };
                let _ = words.ty()?;
                let [address, columns] = i.operands.as_slice() else {
                    return Err(unsupported(i, "2 operands"));
                };
                slots.a = self.source(i, columns, Type::B32)?;
                Tcgen05::Allocate { pair, space, address: self.address(i, address)? }
            }
            Some("dealloc") => {
                let pair = pair(i, &mut words)?;
                let _ = words.ty()?;
                let [address, columns] = i.operands.as_slice() else {
                    return Err(unsupported(i, "2 operands"));
                };
                slots.a = self.source(i, address, Type::B32)?;
                slots.b = self.source(i, columns, Type::B32)?;
                Tcgen05::Deallocate { pair }
            }
            Some("relinquish_alloc_permit") => Tcgen05::Relinquish { pair: pair(i, &mut words)? },
            Some("wait::ld") => Tcgen05::WaitLoad,
            Some("wait::st") => Tcgen05::WaitStore,
            Some("fence::before_thread_sync") => Tcgen05::FenceBefore,
            Some("fence::after_thread_sync") => Tcgen05::FenceAfter,
            Some("ld") => Tcgen05::Load(self.transfer(i, &mut words, true)?),
            Some("st") => Tcgen05::Store(self.transfer(i, &mut words, false)?),
            Some("cp") => {
                let pair = pair(i, &mut words)?;
                let shape = match (
                    words.take_one(&["128x256b", "128x128b", "4x256b", "64x128b", "32x128b"]),
                    words.take_one(&["warpx2::02_13", "warpx2::01_23", "warpx4"]),
                ) {
                    (Some(0), None) => CopyShape::Rows128Bits256,
                    (Some(1), None) => CopyShape::Rows128Bits128,
                    (Some(2), None) => CopyShape::Rows4Bits256,
                    (Some(3), Some(0)) => CopyShape::Rows64Pairs02,
                    (Some(3), Some(1)) => CopyShape::Rows64Pairs01,
                    (Some(4), Some(2)) => CopyShape::Rows32ToAll,
                    _ => return Err(unsupported(i, "a shape and the multicast that belongs to it")),
                };
                let format = match (words.take("b8x16"), words.take_one(&["b6x16_p32", "b4x16_p64"])) {
                    (false, None) => CopyFormat::Plain,
                    (true, Some(0)) => CopyFormat::Six,
                    (true, Some(_)) => CopyFormat::Four,
                    _ => return Err(unsupported(i, "a destination format and a source format")),
                };
                let [target, descriptor] = i.operands.as_slice() else {
                    return Err(unsupported(i, "2 operands"));
                };
                slots.a = self.source(i, descriptor, Type::B64)?;
                Tcgen05::Copy { pair, shape, format, target: self.address(i, target)? }
            }
            Some("shift") => {
                let pair = pair(i, &mut words)?;
                let _ = words.take("down");
                let [target] = i.operands.as_slice() else { return Err(unsupported(i, "1 operand")) };
                Tcgen05::Shift { pair, target: self.address(i, target)? }
            }
            Some("commit") => {
                let pair = pair(i, &mut words)?;
                let _ = words.take("mbarrier::arrive::one");
                let space = if words.take("shared::cluster") { Space::SharedCluster } else { Space::Generic };
                let multicast = words.take("multicast::cluster");
                let _ = words.ty()?;
                let (address, mask) = match (i.operands.as_slice(), multicast) {
                    ([address], false) => (address, NONE),
                    ([address, mask], true) => (address, self.source(i, mask, Type::B16)?),
                    _ => return Err(unsupported(i, "a barrier, and with `.multicast::cluster` a mask")),
                };
                Tcgen05::Commit { pair, space, address: self.address(i, address)?, mask }
            }
            Some("mma") => Tcgen05::Multiply(self.tensor_multiply(i, &mut words, &mut slots)?),
            _ => return Err(unsupported(i, "this operation")),
        };
        words.finish()?;
        self.emit(Class::Tensor, Kind::Tcgen05(Box::new(op)), slots);
        Ok(())
    }

    /// `tcgen05.ld`, `tcgen05.ld.red`, `tcgen05.st`.
    fn transfer(
        &mut self,
        i: &'m Instruction,
        words: &mut Words<'_>,
        load: bool,
    ) -> Result<Transfer, Unsupported> {
        let reduced = words.take("red");
        let shape = words.take_one(&["16x64b", "16x128b", "16x256b", "32x32b", "16x32bx2"]);
        let Some(repeat) = words.take_one(&REPEATS) else { return Err(unsupported(i, "a repeat count")) };
        let packed = words.take(if load { "pack::16b" } else { "unpack::16b" });
        let mut operands = i.operands.as_slice();
        let mut vector = None;
        let mut reduce = None;
        if load {
            vector = operands.split_off_first();
        }
        if reduced {
            let maximum = words.take_one(&["min", "max"]);
            let (abs, nan) = (words.take("abs"), words.take("NaN"));
            let op = match (maximum, words.ty()?) {
                (Some(0), Type::U32) => ReduceOp::MinU,
                (Some(1), Type::U32) => ReduceOp::MaxU,
                (Some(0), Type::S32) => ReduceOp::MinS,
                (Some(1), Type::S32) => ReduceOp::MaxS,
                (Some(0), Type::F32) => ReduceOp::MinF { abs, nan },
                (Some(1), Type::F32) => ReduceOp::MaxF { abs, nan },
                _ => return Err(unsupported(i, "this reduction")),
            };
            let Some(result) = operands.split_off_first() else { return Err(unsupported(i, "a result")) };
            reduce = Some((op, self.dest(i, result, Type::B32)?));
        } else {
            let _ = words.ty()?;
        }
        let Some(address) = operands.split_off_first() else { return Err(unsupported(i, "an address")) };
        let shape = match shape {
            Some(0) => TransferShape::Lanes16Bits64,
            Some(1) => TransferShape::Lanes16Bits128,
            Some(2) => TransferShape::Lanes16Bits256,
            Some(3) => TransferShape::Lanes32Bits32,
            Some(_) => match operands.split_off_first() {
                Some(Operand::Integer(apart)) if (0..512).contains(apart) => {
                    TransferShape::Lanes16Bits32Twice(*apart as u32)
                }
                _ => return Err(unsupported(i, "a distance in columns")),
            },
            None => return Err(unsupported(i, "a shape")),
        };
        if !load {
            vector = operands.split_off_first();
        }
        let (Some(vector), []) = (vector, operands) else {
            return Err(unsupported(i, "registers and an address"));
        };
        let registers = self.elements(i, vector, Type::B32, load)?;
        let each = match shape {
            TransferShape::Lanes16Bits128 => 2,
            TransferShape::Lanes16Bits256 => 4,
            _ => 1,
        };
        if registers.len() != each << repeat || registers.len() > 128 {
            return Err(unsupported(i, format!("{} registers", each << repeat)));
        }
        Ok(Transfer { shape, packed, address: self.address(i, address)?, registers, reduce })
    }

    fn tensor_multiply(
        &mut self,
        i: &'m Instruction,
        words: &mut Words<'_>,
        slots: &mut Slots,
    ) -> Result<Multiply, Unsupported> {
        if words.take("sp") {
            return Err(unsupported(i, "structured sparsity on the tensor core"));
        }
        let weights = words.take("ws");
        let pair = pair(i, words)?;
        let scaled = words.take("block_scale");
        let kinds = [
            ("kind::f16", MultiplyKind::F16),
            ("kind::tf32", MultiplyKind::Tf32),
            ("kind::f8f6f4", MultiplyKind::F8F6F4),
            ("kind::i8", MultiplyKind::I8),
            ("kind::mxf8f6f4", MultiplyKind::MxF8F6F4),
            ("kind::mxf4", MultiplyKind::MxF4),
            ("kind::mxf4nvf4", MultiplyKind::MxF4NvF4),
        ];
        let Some(index) = words.take_one(&kinds.map(|(word, _)| word)) else {
            return Err(unsupported(i, "a kind"));
        };
        let kind = kinds[index].1;
        let sizes = ["scale_vec::1X", "scale_vec::2X", "scale_vec::4X", "block16", "block32"];
        let count = match (kind, words.take_one(&sizes)) {
            (MultiplyKind::MxF8F6F4, None | Some(0 | 4)) => 1,
            (MultiplyKind::MxF4, None | Some(1 | 4)) | (MultiplyKind::MxF4NvF4, Some(1 | 4)) => 2,
            (MultiplyKind::MxF4NvF4, Some(2 | 3)) => 4,
            (_, None) if !scaled => 0,
            _ => return Err(unsupported(i, "scale factors that go with the kind")),
        };
        if scaled != (count > 0) {
            return Err(unsupported(i, "`.block_scale` with kinds that have it alone"));
        }
        // A collector only allows the hardware to reuse what it has read.
        words.drop_all(|word| word.starts_with("collector::"));
        let shift_a = words.take("ashift");
        let mut operands = i.operands.as_slice();
        let mut next = || operands.split_off_first().ok_or_else(|| unsupported(i, "another operand"));
        let (target, left, right, descriptor) = (next()?, next()?, next()?, next()?);
        let left = match left {
            Operand::Address { .. } => Left::Tensor(self.address(i, left)?),
            left => Left::Shared(self.source(i, left, Type::B64)?),
        };
        slots.b = self.source(i, right, Type::B64)?;
        slots.c = self.source(i, descriptor, Type::B32)?;
        let mut factors = None;
        if scaled {
            let [a, b, rest @ ..] = operands else { return Err(unsupported(i, "scale factors")) };
            factors = Some(Factors { a: self.address(i, a)?, b: self.address(i, b)?, count });
            operands = rest;
        }
        let mut disabled = Vec::new();
        if let Some((Operand::Vector(masks), rest)) = operands.split_first() {
            if masks.len() != if pair { 8 } else { 4 } {
                return Err(unsupported(i, "a mask for each 32 lanes"));
            }
            for mask in masks {
                disabled.push(self.source(i, mask, Type::B32)?);
            }
            operands = rest;
        }
        let Some((enable, rest)) = operands.split_first() else {
            return Err(unsupported(i, "`enable-input-d`"));
        };
        let (enable, negated) = self.predicate(i, enable)?;
        slots.e = enable;
        let scale = match (rest, weights) {
            ([], _) => 0,
            ([Operand::Integer(scale)], false) if (0..16).contains(scale) => *scale as u32,
            (_, true) => return Err(unsupported(i, "zero-column masks")),
            _ => return Err(unsupported(i, "`scale-input-d` from 0 to 15")),
        };
        let target = self.address(i, target)?;
        Ok(Multiply { pair, kind, weights, shift_a, target, left, disabled, negated, scale, factors })
    }
}
