//! What the lanes of a warp, or the warps of a block, do together.

use super::function::Decoder;
use super::words::{Words, unsupported};
use crate::ast::{Instruction, Operand, Type};
use crate::machine::error::Unsupported;
use crate::machine::inst::mbarrier::Scope;
use crate::machine::inst::{
    Barrier, BarrierKind, FenceKind, Kind, ReduceOp, Shuffle, ShuffleMode, WarpOp, WarpOpKind,
};
use crate::machine::lanes::{NONE, Slots};
use crate::machine::report::Class;

const NO_SLOTS: Slots = Slots { d: NONE, a: NONE, b: NONE, c: NONE, e: NONE };

impl<'m> Decoder<'_, 'm> {
    pub(super) fn shuffle(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        if !words.take("sync") {
            return Err(unsupported(i, "`.sync` (the form without it is gone since sm_70)"));
        }
        let mode = match words.take_one(&["up", "down", "bfly", "idx"]) {
            Some(0) => ShuffleMode::Up,
            Some(1) => ShuffleMode::Down,
            Some(2) => ShuffleMode::Butterfly,
            Some(_) => ShuffleMode::Index,
            None => return Err(unsupported(i, "a mode")),
        };
        let _ = words.ty()?;
        words.finish()?;
        let [d, a, b, c, members] = i.operands.as_slice() else { return Err(unsupported(i, "5 operands")) };
        let (d, p) = match d {
            Operand::Pair(d, p) => (&**d, self.predicate_dest(i, p)?),
            d => (d, NONE),
        };
        let a = self.source(i, a, Type::B32)?;
        let b = self.source(i, b, Type::B32)?;
        let c = self.source(i, c, Type::B32)?;
        let members = self.source(i, members, Type::B32)?;
        let d = self.dest(i, d, Type::B32)?;
        let kind = Kind::Shuffle(Box::new(Shuffle { mode, in_range: p, members }));
        self.emit(Class::Shuffle, kind, Slots { d, a, b, c, e: NONE });
        Ok(())
    }

    fn warp_op(&mut self, members: u32, op: WarpOpKind, slots: Slots) {
        self.emit(Class::Shuffle, Kind::Warp(Box::new(WarpOp { members, op })), slots);
    }

    pub(super) fn vote(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let mut slots = NO_SLOTS;
        match i.opcode.as_str() {
            "activemask" => {
                let _ = words.ty()?;
                words.finish()?;
                let [d] = i.operands.as_slice() else { return Err(unsupported(i, "1 operand")) };
                slots.d = self.dest(i, d, Type::B32)?;
                let members = self.constant(0, 1)?;
                self.warp_op(members, WarpOpKind::ActiveMask, slots);
                return Ok(());
            }
            "elect" => {
                let _ = words.take("sync");
                words.finish()?;
                let [d, members] = i.operands.as_slice() else { return Err(unsupported(i, "2 operands")) };
                let Operand::Pair(d, p) = d else { return Err(unsupported(i, "`d|p`")) };
                slots.d = self.dest(i, d, Type::B32)?;
                slots.e = self.predicate_dest(i, p)?;
                let members = self.source(i, members, Type::B32)?;
                self.warp_op(members, WarpOpKind::Elect, slots);
                return Ok(());
            }
            _ => {}
        }
        if !words.take("sync") {
            return Err(unsupported(i, "`.sync` (the form without it is gone since sm_70)"));
        }
        match i.opcode.as_str() {
            "vote" => {
                let mode = words.take_one(&["all", "any", "uni", "ballot"]);
                let _ = words.ty()?;
                words.finish()?;
                let [d, a, members] = i.operands.as_slice() else { return Err(unsupported(i, "3 operands")) };
                let (a, negated) = self.predicate(i, a)?;
                slots.a = a;
                let members = self.source(i, members, Type::B32)?;
                let op = match mode {
                    Some(0) => WarpOpKind::All { negated },
                    Some(1) => WarpOpKind::Any { negated },
                    Some(2) => WarpOpKind::Uniform { negated },
                    Some(_) => WarpOpKind::Ballot { negated },
                    None => return Err(unsupported(i, "a mode")),
                };
                slots.d =
                    if mode == Some(3) { self.dest(i, d, Type::B32)? } else { self.predicate_dest(i, d)? };
                self.warp_op(members, op, slots);
            }
            "match" => {
                let all = words.take_one(&["any", "all"]) == Some(1);
                let ty = words.ty()?;
                words.finish()?;
                let wide = ty.bits() == 64;
                let [d, a, members] = i.operands.as_slice() else { return Err(unsupported(i, "3 operands")) };
                let d = match d {
                    Operand::Pair(d, p) => {
                        slots.e = self.predicate_dest(i, p)?;
                        &**d
                    }
                    d => d,
                };
                slots.a = self.source(i, a, ty)?;
                let members = self.source(i, members, Type::B32)?;
                slots.d = self.dest(i, d, Type::B32)?;
                let op = if all { WarpOpKind::MatchAll { wide } } else { WarpOpKind::MatchAny { wide } };
                self.warp_op(members, op, slots);
            }
            "redux" => {
                let op = words.take_one(&["add", "min", "max", "and", "or", "xor"]);
                let abs = words.take("abs");
                let nan = words.take("NaN");
                let ty = words.ty()?;
                words.finish()?;
                let op = match (op, ty) {
                    (Some(0), Type::U32 | Type::S32) => ReduceOp::Add,
                    (Some(1), Type::U32) => ReduceOp::MinU,
                    (Some(2), Type::U32) => ReduceOp::MaxU,
                    (Some(1), Type::S32) => ReduceOp::MinS,
                    (Some(2), Type::S32) => ReduceOp::MaxS,
                    (Some(1), Type::F32) => ReduceOp::MinF { abs, nan },
                    (Some(2), Type::F32) => ReduceOp::MaxF { abs, nan },
                    (Some(3), Type::B32) => ReduceOp::And,
                    (Some(4), Type::B32) => ReduceOp::Or,
                    (Some(5), Type::B32) => ReduceOp::Xor,
                    _ => return Err(unsupported(i, "this reduction")),
                };
                let [d, a, members] = i.operands.as_slice() else { return Err(unsupported(i, "3 operands")) };
                slots.a = self.source(i, a, ty)?;
                let members = self.source(i, members, Type::B32)?;
                slots.d = self.dest(i, d, ty)?;
                self.warp_op(members, WarpOpKind::Reduce(op), slots);
            }
            _ => return Err(unsupported(i, "this operation")),
        }
        Ok(())
    }

    /// `bar`, `barrier`, `barrier.cluster`.
    pub(super) fn barrier(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        if words.take("cluster") {
            let relaxed = words.take_one(&["release", "acquire", "relaxed"]) == Some(2);
            let aligned = words.take("aligned");
            let kind = match words.take_one(&["arrive", "wait"]) {
                Some(0) => Kind::ClusterArrive { aligned, relaxed },
                Some(_) => Kind::ClusterWait { aligned },
                None => return Err(unsupported(i, "arrive or wait")),
            };
            words.finish()?;
            self.emit(Class::Barrier, kind, NO_SLOTS);
            return Ok(());
        }
        let mut slots = NO_SLOTS;
        if words.take("warp") {
            let _ = words.take("sync");
            words.finish()?;
            let [members] = i.operands.as_slice() else { return Err(unsupported(i, "1 operand")) };
            let members = self.source(i, members, Type::B32)?;
            self.warp_op(members, WarpOpKind::Sync, slots);
            return Ok(());
        }
        let _ = words.take("cta");
        let aligned = words.take("aligned") || i.opcode == "bar";
        let kind = words.take_one(&["sync", "arrive", "red"]);
        let reduce = words.take_one(&["popc", "and", "or"]);
        if reduce.is_some() {
            let _ = words.ty()?;
        }
        words.finish()?;
        let mut operands = i.operands.as_slice();
        let kind = match (kind, reduce) {
            (Some(0), None) => BarrierKind::Sync,
            (Some(1), None) => BarrierKind::Arrive,
            (Some(2), Some(reduce)) => {
                let Some((d, rest)) = operands.split_first() else { return Err(unsupported(i, "operands")) };
                let Some((p, rest)) = rest.split_last() else { return Err(unsupported(i, "operands")) };
                operands = rest;
                let (c, negated) = self.predicate(i, p)?;
                slots.c = c;
                slots.d = if reduce == 0 { self.dest(i, d, Type::B32)? } else { self.predicate_dest(i, d)? };
                match reduce {
                    0 => BarrierKind::Popc { negated },
                    1 => BarrierKind::And { negated },
                    _ => BarrierKind::Or { negated },
                }
            }
            _ => return Err(unsupported(i, "sync, arrive or red")),
        };
        slots.a = match operands.first() {
            Some(id) => self.source(i, id, Type::B32)?,
            None => return Err(unsupported(i, "a barrier")),
        };
        if let Some(count) = operands.get(1) {
            slots.b = self.source(i, count, Type::B32)?;
        }
        if operands.len() > 2 || (kind == BarrierKind::Arrive && operands.len() != 2) {
            return Err(unsupported(i, "another number of operands"));
        }
        self.emit(Class::Barrier, Kind::Barrier(Box::new(Barrier { kind, aligned })), slots);
        Ok(())
    }

    /// `membar`, `fence`.
    pub(super) fn fence(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let kind = if words.take("proxy") {
            let released = words.take_one(&["acquire", "release"]);
            let restricted = words.left().iter().any(|word| word.starts_with("sync_restrict"));
            words.drop_all(|word| {
                word.starts_with("sync_restrict") || matches!(word, "cta" | "cluster" | "gpu" | "sys")
            });
            let tensor_map = words.take("tensormap::generic");
            let alias = words.take("alias");
            let asynchronous = words.take_one(&["async", "async::generic"]).is_some()
                || words.left().iter().any(|word| word.starts_with("async."));
            words.drop_all(|word| {
                word.starts_with("async.")
                    || matches!(word, "global" | "shared::cta" | "shared::cluster" | "shared")
            });
            match (tensor_map, alias, asynchronous) {
                (true, false, false) if released == Some(0) => FenceKind::TensorMapAcquire,
                (true, false, false) if released.is_some() => FenceKind::Other,
                (false, true, false) => FenceKind::Other,
                (false, false, true) if released.is_none() || restricted => FenceKind::ProxyAsync,
                _ => return Err(unsupported(i, "this proxy")),
            }
        } else if words.take("mbarrier_init") {
            let _ = (words.take("release"), words.take("cluster"));
            FenceKind::MbarrierInit
        } else if i.opcode == "membar" {
            let scope = match words.take_one(&["cta", "gl", "sys"]) {
                Some(0) => Scope::Block,
                Some(1) => Scope::Gpu,
                Some(_) => Scope::System,
                None => return Err(unsupported(i, "a level")),
            };
            FenceKind::Memory { scope, acquire: true, release: true }
        } else {
            let order = words.take_one(&["sc", "acq_rel", "acquire", "release"]);
            let restricted = words.left().iter().any(|word| word.starts_with("sync_restrict"));
            words.drop_all(|word| word.starts_with("sync_restrict"));
            let scope = super::mbarrier::scope(&mut words);
            let scope = scope.ok_or_else(|| unsupported(i, "a scope"))?;
            let _ = restricted;
            FenceKind::Memory { scope, acquire: order != Some(3), release: order != Some(2) }
        };
        words.finish()?;
        self.emit(Class::Barrier, Kind::Fence(kind), NO_SLOTS);
        Ok(())
    }

    /// `setmaxnreg`
    pub(super) fn set_registers(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let direction = words.take_one(&["inc", "dec"]);
        let aligned = words.take("sync") && words.take("aligned");
        let _ = words.ty()?;
        words.finish()?;
        let [Operand::Integer(count)] = i.operands.as_slice() else {
            return Err(unsupported(i, "a constant number of registers"));
        };
        if direction.is_none() || !aligned {
            return Err(unsupported(i, "`.inc` or `.dec`, and `.sync.aligned`"));
        }
        let count = u32::try_from(*count).unwrap_or(u32::MAX);
        self.emit(Class::Control, Kind::SetRegisters { count }, NO_SLOTS);
        Ok(())
    }
}
