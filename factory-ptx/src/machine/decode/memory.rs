//! Loads, stores, atomics, asynchronous copies.

use super::function::{Decoder, rows};
use super::words::{Words, unsupported};
use crate::ast::{AddressBase, Instruction, Operand, Type};
use crate::machine::error::Unsupported;
use crate::machine::inst::mbarrier::Scope;
use crate::machine::inst::{Access, Atomic, AtomicOp, AtomicType, CopyAsync, Element, Kind, Space};
use crate::machine::lanes::{NONE, Slots, binary, unary};
use crate::machine::report::Class;

const NO_SLOTS: Slots = Slots { d: NONE, a: NONE, b: NONE, c: NONE, e: NONE };

/// Takes the state space.
pub(super) fn space(words: &mut Words<'_>) -> Space {
    let spaces = [
        ("global", Space::Global),
        ("shared", Space::Shared),
        ("shared::cta", Space::Shared),
        ("shared::cluster", Space::SharedCluster),
        ("local", Space::Local),
        ("const", Space::Const),
        ("param", Space::Param),
        ("param::entry", Space::Param),
        ("param::func", Space::Param),
    ];
    spaces.iter().find(|(word, _)| words.take(word)).map_or(Space::Generic, |(_, space)| *space)
}

/// Takes cache operators, eviction priorities and prefetch sizes: they have no effect on values.
pub(super) fn cache_words(words: &mut Words<'_>) {
    words.drop_all(|word| {
        matches!(word, "ca" | "cg" | "cs" | "lu" | "cv" | "wb" | "wt" | "nc")
            || word.starts_with("L1::")
            || word.starts_with("L2::")
    });
}

/// What an access orders.
pub(super) struct Ordering {
    pub(super) strong: bool,
    pub(super) acquire: bool,
    pub(super) release: bool,
    pub(super) scope: Scope,
}

/// Takes `.weak`, `.volatile`, `.relaxed`, … and the scope.
pub(super) fn ordering(words: &mut Words<'_>) -> Ordering {
    let volatile = words.take_one(&["volatile", "mmio"]).is_some();
    let strong = words.take("relaxed") || volatile;
    let order = words.take_one(&["acquire", "release", "acq_rel"]);
    let _ = words.take("weak");
    // A volatile access is a relaxed one with system scope; atomics without a scope have that of the device.
    let scope = super::mbarrier::scope(words).unwrap_or(if volatile { Scope::System } else { Scope::Gpu });
    Ordering {
        strong: strong || order.is_some(),
        acquire: matches!(order, Some(0 | 2)),
        release: matches!(order, Some(1 | 2)),
        scope,
    }
}

impl<'m> Decoder<'_, 'm> {
    /// `ld`, `ldu`, `st`.
    pub(super) fn load_store(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let load = i.opcode != "st";
        let Ordering { strong, acquire, release, scope } = ordering(&mut words);
        let space = self::space(&mut words);
        cache_words(&mut words);
        let hint = words.take("unified");
        if hint {
            return Err(unsupported(i, "unified memory"));
        }
        let count = match words.take_one(&["v2", "v4", "v8"]) {
            None => 1,
            Some(index) => 2usize << index,
        };
        let ty = words.ty()?;
        words.finish()?;
        if !matches!(ty.bits(), 8 | 16 | 32 | 64 | 128) {
            return Err(unsupported(i, "a type of 8 to 128 bits"));
        }
        // A cache policy may follow; it has no effect on values.
        if i.operands.len() < 2 || i.operands.len() > 3 {
            return Err(unsupported(i, "2 operands"));
        }
        let (value, place) =
            if load { (&i.operands[0], &i.operands[1]) } else { (&i.operands[1], &i.operands[0]) };
        let elements = self.elements(i, value, ty, load)?;
        if elements.len() != count {
            return Err(unsupported(i, format!("{count} registers")));
        }
        if let Operand::Address { base: AddressBase::Name(name), offset } = place
            && let Some((slot, size)) = self.param_rows(name)
        {
            return self.frame_param(i, load, ty, &elements, slot, size, *offset);
        }
        let address = self.address(i, place)?;
        let half = load
            && matches!(value, Operand::Name(name) if self.register(name).is_some_and(|r| r.ty.bits() == 16));
        let access = Box::new(Access {
            space,
            address,
            size: ty.size() as u8,
            signed: matches!(ty, Type::S8 | Type::S16 | Type::S32),
            half,
            elements,
            strong,
            scope,
            acquire,
            release,
        });
        let class = match (space, load) {
            (Space::Shared | Space::SharedCluster, true) => Class::SharedLoad,
            (Space::Shared | Space::SharedCluster, false) => Class::SharedStore,
            (Space::Local, _) => Class::Local,
            (Space::Const | Space::Param, _) => Class::Constant,
            (_, true) => Class::GlobalLoad,
            (_, false) => Class::GlobalStore,
        };
        let kind = if !load {
            Kind::Store(access)
        } else if space == Space::Param && address.base == NONE {
            Kind::Parameter(access)
        } else {
            Kind::Load(access)
        };
        self.emit(class, kind, NO_SLOTS);
        Ok(())
    }

    /// `ld.param` and `st.param` of a call's parameters: they are rows of the frame.
    #[expect(clippy::too_many_arguments, reason = "the parts of one instruction")]
    fn frame_param(
        &mut self,
        i: &'m Instruction,
        load: bool,
        ty: Type,
        elements: &[Element],
        slot: u32,
        size: u64,
        offset: i64,
    ) -> Result<(), Unsupported> {
        let bytes = u64::from(ty.size());
        let end = offset.checked_add((bytes * elements.len() as u64) as i64);
        if offset < 0 || end.is_none_or(|end| end as u64 > size) {
            return Err(unsupported(i, "an offset inside the parameter"));
        }
        for (index, element) in elements.iter().enumerate() {
            if element.slot == NONE {
                continue;
            }
            let at = offset as u64 + index as u64 * bytes;
            let row = slot + (at / 4) as u32 * 32;
            let hidden = index + 1 < elements.len();
            if bytes >= 4 {
                if !at.is_multiple_of(4) {
                    return Err(unsupported(i, "an aligned parameter"));
                }
                let rows = rows(ty);
                if load {
                    self.copy(element.slot, row, rows, hidden);
                } else {
                    self.copy(row, element.slot, rows, hidden);
                }
                continue;
            }
            let shift = (at % 4 * 8) as u32;
            let amount = self.constant(u64::from(shift), 1)?;
            let slots = |d, a, c| Slots { d, a, b: amount, c, e: NONE };
            let (alu, slots) = match (load, ty) {
                (true, Type::S8) => (
                    binary(|a: u32, b: u32| i32::from((a >> b) as i8) as u32),
                    slots(element.slot, row, NONE),
                ),
                (true, Type::S16) => (
                    binary(|a: u32, b: u32| i32::from((a >> b) as i16) as u32),
                    slots(element.slot, row, NONE),
                ),
                (true, _) if bytes == 1 => {
                    (binary(|a: u32, b: u32| a >> b & 0xff), slots(element.slot, row, NONE))
                }
                (true, _) => (binary(|a: u32, b: u32| a >> b & 0xffff), slots(element.slot, row, NONE)),
                (false, _) if bytes == 1 => (
                    crate::machine::lanes::ternary(|a: u32, b: u32, d: u32| {
                        d & !(0xff << b) | (a & 0xff) << b
                    }),
                    slots(row, element.slot, row),
                ),
                (false, _) => (
                    crate::machine::lanes::ternary(|a: u32, b: u32, d: u32| {
                        d & !(0xffff << b) | (a & 0xffff) << b
                    }),
                    slots(row, element.slot, row),
                ),
            };
            if hidden {
                self.hidden(Class::Integer, alu, slots);
            } else {
                self.alu(Class::Integer, alu, slots);
            }
            if load && element.rows == 2 {
                // Sign or zero into the upper half.
                let high = element.slot + 32;
                let alu = if matches!(ty, Type::S8 | Type::S16) {
                    unary(|a: u32| ((a as i32) >> 31) as u32)
                } else {
                    unary(|_: u32| 0u32)
                };
                self.hidden(
                    Class::Integer,
                    alu,
                    Slots { d: high, a: element.slot, b: NONE, c: NONE, e: NONE },
                );
            }
        }
        Ok(())
    }

    /// `atom` and `red`.
    pub(super) fn atomic(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        if words.take("async") {
            return Err(unsupported(i, "asynchronous reductions"));
        }
        let Ordering { acquire, release, scope, .. } = ordering(&mut words);
        let space = self::space(&mut words);
        cache_words(&mut words);
        let _ = words.take("noftz");
        let op = match words.take_one(&["exch", "cas", "and", "or", "xor", "add", "inc", "dec", "min", "max"])
        {
            Some(0) => AtomicOp::Exchange,
            Some(1) => AtomicOp::CompareSwap,
            Some(2) => AtomicOp::And,
            Some(3) => AtomicOp::Or,
            Some(4) => AtomicOp::Xor,
            Some(5) => AtomicOp::Add,
            Some(6) => AtomicOp::Increment,
            Some(7) => AtomicOp::Decrement,
            Some(8) => AtomicOp::Min,
            Some(9) => AtomicOp::Max,
            _ => return Err(unsupported(i, "an atomic operation")),
        };
        let count = match words.take_one(&["v2", "v4", "v8"]) {
            None => 1,
            Some(index) => 2usize << index,
        };
        let ty = words.ty()?;
        words.finish()?;
        let atomic = match ty {
            Type::B16 => AtomicType::B16,
            Type::B32 => AtomicType::B32,
            Type::B64 => AtomicType::B64,
            Type::B128 => AtomicType::B128,
            Type::U32 => AtomicType::U32,
            Type::S32 => AtomicType::S32,
            Type::U64 => AtomicType::U64,
            Type::S64 => AtomicType::S64,
            Type::F16 => AtomicType::F16,
            Type::F16x2 => AtomicType::F16x2,
            Type::BF16 => AtomicType::BF16,
            Type::BF16x2 => AtomicType::BF16x2,
            Type::F32 => AtomicType::F32,
            Type::F64 => AtomicType::F64,
            _ => return Err(unsupported(i, "an atomic on this type")),
        };
        let float = matches!(
            atomic,
            AtomicType::F16
                | AtomicType::F16x2
                | AtomicType::BF16
                | AtomicType::BF16x2
                | AtomicType::F32
                | AtomicType::F64
        );
        let bits = matches!(atomic, AtomicType::B16 | AtomicType::B128);
        let allowed = match op {
            AtomicOp::Exchange | AtomicOp::CompareSwap => !float,
            AtomicOp::Add => !bits,
            AtomicOp::Min | AtomicOp::Max => !bits && !matches!(atomic, AtomicType::F32 | AtomicType::F64),
            AtomicOp::And | AtomicOp::Or | AtomicOp::Xor => !float && !bits,
            AtomicOp::Increment | AtomicOp::Decrement => atomic == AtomicType::U32,
        };
        if !allowed {
            return Err(unsupported(i, "this operation on this type"));
        }
        let lanes = match ty {
            Type::F32 | Type::F64 => ty,
            _ => super::compare::plain(ty),
        };
        let results_count = usize::from(i.opcode == "atom");
        let wanted = results_count + 2 + usize::from(op == AtomicOp::CompareSwap);
        if i.operands.len() != wanted && i.operands.len() != wanted + 1 {
            return Err(unsupported(i, format!("{wanted} operands")));
        }
        let results =
            if results_count == 1 { self.elements(i, &i.operands[0], lanes, true)? } else { Vec::new() };
        let address = self.address(i, &i.operands[results_count])?;
        let operands = self.elements(i, &i.operands[results_count + 1], lanes, false)?;
        if operands.len() != count || (results_count == 1 && results.len() != count) {
            return Err(unsupported(i, format!("{count} registers")));
        }
        let third = if op == AtomicOp::CompareSwap {
            let slot = self.source(i, &i.operands[results_count + 2], lanes)?;
            Some(Element { slot, rows: rows(lanes) as u8 })
        } else {
            None
        };
        let atomic =
            Atomic { op, ty: atomic, space, address, results, operands, third, scope, acquire, release };
        self.emit(Class::Atomic, Kind::Atomic(Box::new(atomic)), NO_SLOTS);
        Ok(())
    }

    /// `cp.async` and its groups.
    pub(super) fn copy_async(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        if !words.take("async") {
            return Err(unsupported(i, "this kind of copy"));
        }
        match words.take_one(&["commit_group", "wait_group", "wait_all"]) {
            Some(0) => {
                words.finish()?;
                self.emit(Class::Async, Kind::CopyCommit, NO_SLOTS);
                return Ok(());
            }
            Some(1) => {
                words.finish()?;
                let Some(Operand::Integer(pending @ 0..=0xffff)) = i.operands.first() else {
                    return Err(unsupported(i, "a constant number of groups"));
                };
                self.emit(Class::Async, Kind::CopyWait { pending: *pending as u32, all: false }, NO_SLOTS);
                return Ok(());
            }
            Some(_) => {
                words.finish()?;
                self.emit(Class::Async, Kind::CopyWait { pending: 0, all: true }, NO_SLOTS);
                return Ok(());
            }
            None => {}
        }
        if words.left().iter().any(|word| matches!(*word, "bulk" | "mbarrier" | "tensor")) {
            return Err(unsupported(i, "bulk copies and memory barriers"));
        }
        let _ = words.take_one(&["ca", "cg"]);
        let _ = words.take_one(&["shared", "shared::cta"]);
        let _ = words.take("global");
        let hint = words.left().contains(&"L2::cache_hint");
        cache_words(&mut words);
        words.finish()?;
        let mut operands = i.operands.as_slice();
        if hint {
            operands = operands.split_last().map_or(operands, |(_, rest)| rest);
        }
        let (Some(destination), Some(source), Some(Operand::Integer(size @ (4 | 8 | 16)))) =
            (operands.first(), operands.get(1), operands.get(2))
        else {
            return Err(unsupported(i, "a size of 4, 8 or 16 bytes"));
        };
        let destination = self.address(i, destination)?;
        let source = self.address(i, source)?;
        let mut copy = CopyAsync {
            destination,
            source,
            size: *size as u8,
            source_size: NONE,
            ignore: NONE,
            ignore_negated: false,
        };
        match operands.get(3) {
            None => {}
            Some(Operand::Not(_)) => (copy.ignore, copy.ignore_negated) = self.predicate(i, &operands[3])?,
            Some(Operand::Name(name)) if self.register(name).is_some_and(|r| r.ty == Type::Pred) => {
                (copy.ignore, copy.ignore_negated) = self.predicate(i, &operands[3])?;
            }
            Some(operand) => copy.source_size = self.source(i, operand, Type::B32)?,
        }
        if operands.len() > 4 {
            return Err(unsupported(i, "fewer operands"));
        }
        self.emit(Class::Async, Kind::CopyAsync(Box::new(copy)), NO_SLOTS);
        Ok(())
    }

    /// `prefetch`, `discard`, `applypriority`, `createpolicy`: no effect on values.
    pub(super) fn hint(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        if i.opcode == "createpolicy" {
            if let Some(d) = i.operands.first() {
                let zero = self.constant(0, 2)?;
                let d = self.dest(i, d, Type::B64)?;
                self.copy(d, zero, 2, false);
            }
            return Ok(());
        }
        self.emit(Class::Integer, Kind::Nop, NO_SLOTS);
        Ok(())
    }
}
