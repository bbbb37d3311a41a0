//! `mov`, packing and unpacking, `cvta` and its kin.

use super::compare::plain;
use super::function::{Decoder, rows};
use super::words::{Words, unsupported};
use super::{LOCAL_WINDOW, SHARED_WINDOW};
use crate::ast::{Instruction, Operand, Type};
use crate::machine::error::Unsupported;
use crate::machine::inst::{Kind, Space, Special};
use crate::machine::lanes::{NONE, Slots, binary, unary};
use crate::machine::report::Class;

impl<'m> Decoder<'_, 'm> {
    /// Copies a value of so many rows.
    pub(super) fn copy(&mut self, d: u32, a: u32, rows: u32, hidden: bool) {
        let alu = match rows {
            0 => crate::machine::lanes::predicate_and,
            1 => unary(|a: u32| a),
            2 => unary(|a: u64| a),
            _ => unary(|a: u128| a),
        };
        let slots = Slots { d, a, b: a, c: NONE, e: NONE };
        if hidden {
            self.hidden(Class::Integer, alu, slots);
        } else {
            self.alu(Class::Integer, alu, slots);
        }
    }

    pub(super) fn mov(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let ty = words.ty()?;
        words.finish()?;
        let [d, a] = i.operands.as_slice() else { return Err(unsupported(i, "2 operands")) };
        if ty == Type::Pred {
            let a = self.plain_predicate(i, a)?;
            let d = self.predicate_dest(i, d)?;
            self.move_predicate(i, d, a);
            return Ok(());
        }
        match (d, a) {
            (Operand::Vector(parts), _) if !matches!(a, Operand::Vector(_)) => self.unpack(i, ty, parts, a),
            (_, Operand::Vector(parts)) => self.pack(i, ty, d, parts),
            (_, Operand::Name(name)) if name.starts_with("%clock") || name.starts_with("%globaltimer") => {
                let special = match (name.as_str(), ty.bits()) {
                    ("%clock" | "%globaltimer_lo", 32) => Special::Clock,
                    ("%clock_hi" | "%globaltimer_hi", 32) => Special::ClockHigh,
                    ("%clock64" | "%globaltimer", 64) => Special::Clock64,
                    _ => return Err(unsupported(i, format!("`{name}` of this width"))),
                };
                let d = self.dest(i, d, plain(ty))?;
                self.emit(
                    Class::Integer,
                    Kind::Special(special),
                    Slots { d, a: NONE, b: NONE, c: NONE, e: NONE },
                );
                Ok(())
            }
            _ => {
                let a = self.source(i, a, ty)?;
                let d = self.dest(i, d, ty)?;
                if ty.bits() == 16 {
                    let slots = Slots { d, a, b: a, c: NONE, e: NONE };
                    self.alu(Class::Integer, unary(|a: u16| a), slots);
                } else {
                    self.copy(d, a, rows(ty), false);
                }
                Ok(())
            }
        }
    }

    /// `mov.b64 d, {a, b}` and its kin.
    fn pack(
        &mut self,
        i: &'m Instruction,
        ty: Type,
        d: &Operand,
        parts: &[Operand],
    ) -> Result<(), Unsupported> {
        let whole = ty.bits();
        let count = parts.len() as u32;
        if count == 0 || !whole.is_multiple_of(count) {
            return Err(unsupported(i, "parts that fill the whole"));
        }
        let part = match whole / count {
            8 => Type::B8,
            16 => Type::B16,
            32 => Type::B32,
            64 => Type::B64,
            _ => return Err(unsupported(i, "parts of 8, 16, 32 or 64 bits")),
        };
        let sources =
            parts.iter().map(|operand| self.source(i, operand, part)).collect::<Result<Vec<_>, _>>()?;
        let d = self.dest(i, d, plain(ty))?;
        // The destination may be one of the sources: pack into a fresh register, then move.
        let fresh = self.allocate_type(plain(ty))?.slot;
        for (index, a) in sources.iter().enumerate() {
            let bit = index as u32 * part.bits();
            let to = fresh + bit / 32 * 32;
            match part.bits() {
                32 | 64 => self.copy(to, *a, part.bits() / 32, true),
                bits => {
                    let alu = match (bits, bit % 32) {
                        (16, 0) => unary(|a: u16| u32::from(a)),
                        (16, _) => binary(|a: u32, d: u32| d & 0xffff | a << 16),
                        (_, 0) => unary(|a: u32| a & 0xff),
                        (_, 8) => binary(|a: u32, d: u32| d & 0xff | (a & 0xff) << 8),
                        (_, 16) => binary(|a: u32, d: u32| d & 0xffff | (a & 0xff) << 16),
                        (_, _) => binary(|a: u32, d: u32| d & 0xff_ffff | a << 24),
                    };
                    self.hidden(Class::Integer, alu, Slots { d: to, a: *a, b: to, c: NONE, e: NONE });
                }
            }
        }
        self.copy(d, fresh, rows(ty), false);
        Ok(())
    }

    /// `mov.b64 {a, b}, d` and its kin.
    fn unpack(
        &mut self,
        i: &'m Instruction,
        ty: Type,
        parts: &[Operand],
        a: &Operand,
    ) -> Result<(), Unsupported> {
        let whole = ty.bits();
        let count = parts.len() as u32;
        if count == 0 || !whole.is_multiple_of(count) {
            return Err(unsupported(i, "parts that fill the whole"));
        }
        let part = match whole / count {
            8 => Type::B8,
            16 => Type::B16,
            32 => Type::B32,
            64 => Type::B64,
            _ => return Err(unsupported(i, "parts of 8, 16, 32 or 64 bits")),
        };
        let a = self.source(i, a, plain(ty))?;
        // A destination may be the source: move it aside first.
        let fresh = self.allocate_type(plain(ty))?.slot;
        self.copy(fresh, a, rows(ty), true);
        let last = parts.iter().rposition(|operand| *operand != Operand::Discard).unwrap_or(0);
        for (index, operand) in parts.iter().enumerate() {
            if *operand == Operand::Discard {
                continue;
            }
            let bit = index as u32 * part.bits();
            let d = self.dest(i, operand, part)?;
            let from = fresh + bit / 32 * 32;
            let alu = match (part.bits(), bit % 32) {
                (64, _) => unary(|a: u64| a),
                (32, _) => unary(|a: u32| a),
                (16, 0) => unary(|a: u32| a & 0xffff),
                (16, _) => unary(|a: u32| a >> 16),
                (_, 0) => unary(|a: u32| a & 0xff),
                (_, 8) => unary(|a: u32| a >> 8 & 0xff),
                (_, 16) => unary(|a: u32| a >> 16 & 0xff),
                _ => unary(|a: u32| a >> 24),
            };
            let slots = Slots { d, a: from, b: from, c: NONE, e: NONE };
            if index == last {
                self.alu(Class::Integer, alu, slots);
            } else {
                self.hidden(Class::Integer, alu, slots);
            }
        }
        Ok(())
    }

    /// `cvta`, `isspacep`, `mapa`, `getctarank`.
    pub(super) fn address_form(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let class = Class::Integer;
        let to = words.take("to");
        let space = match words.take_one(&[
            "global",
            "shared",
            "shared::cta",
            "shared::cluster",
            "local",
            "const",
            "param",
            "param::entry",
        ]) {
            Some(0) => Space::Global,
            Some(1 | 2) => Space::Shared,
            Some(3) => Space::SharedCluster,
            Some(4) => Space::Local,
            Some(5) => Space::Const,
            Some(_) => Space::Param,
            None => Space::Generic,
        };
        if i.opcode == "isspacep" {
            words.finish()?;
            let [d, a] = i.operands.as_slice() else { return Err(unsupported(i, "2 operands")) };
            let a = self.source(i, a, Type::B64)?;
            let d = self.predicate_dest(i, d)?;
            self.emit(class, Kind::IsSpace(space), Slots { d, a, b: NONE, c: NONE, e: NONE });
            return Ok(());
        }
        let ty = words.ty()?;
        words.finish()?;
        if i.opcode == "mapa" || i.opcode == "getctarank" {
            let map = i.opcode == "mapa";
            let generic = space == Space::Generic;
            let wide = ty.bits() == 64;
            let d_ty = if map { ty } else { Type::B32 };
            let (Some(d), Some(a)) = (i.operands.first(), i.operands.get(1)) else {
                return Err(unsupported(i, "operands"));
            };
            let a = self.source(i, a, ty)?;
            let b = match i.operands.get(2) {
                Some(b) if map => self.source(i, b, Type::B32)?,
                None if !map => NONE,
                _ => return Err(unsupported(i, "another number of operands")),
            };
            let d = self.dest(i, d, d_ty)?;
            let kind =
                if map { Kind::MapShared { wide, generic } } else { Kind::ClusterRank { wide, generic } };
            self.emit(class, kind, Slots { d, a, b, c: NONE, e: NONE });
            return Ok(());
        }
        if ty.bits() != 64 {
            return Err(unsupported(i, "addresses of 64 bits"));
        }
        let [d, a] = i.operands.as_slice() else { return Err(unsupported(i, "2 operands")) };
        let a = self.source(i, a, Type::B64)?;
        let d = self.dest(i, d, Type::B64)?;
        let slots = Slots { d, a, b: a, c: NONE, e: NONE };
        let alu = match (space, to) {
            (Space::Shared | Space::SharedCluster, false) => unary(|a: u64| a.wrapping_add(SHARED_WINDOW)),
            (Space::Shared | Space::SharedCluster, true) => unary(|a: u64| a.wrapping_sub(SHARED_WINDOW)),
            (Space::Local, false) => unary(|a: u64| a.wrapping_add(LOCAL_WINDOW)),
            (Space::Local, true) => unary(|a: u64| a.wrapping_sub(LOCAL_WINDOW)),
            _ => unary(|a: u64| a),
        };
        self.alu(class, alu, slots);
        Ok(())
    }
}
