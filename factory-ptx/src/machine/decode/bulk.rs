//! Bulk and tensor copies, `st.async`, `red.async`, `st.bulk`, `tensormap`.

use super::function::{Decoder, rows};
use super::memory::cache_words;
use super::words::{Words, unsupported};
use crate::ast::{Instruction, Operand, Type};
use crate::machine::error::Unsupported;
use crate::machine::inst::bulk::{AsyncReduce, AsyncStore, Bulk, BulkCopy, Reduction, Route, TensorCopy};
use crate::machine::inst::{Address, AtomicOp, AtomicType, Element, Kind, Space};
use crate::machine::lanes::{NONE, Slots};
use crate::machine::report::Class;
use crate::machine::tensor_map::Field;

const NO_SLOTS: Slots = Slots { d: NONE, a: NONE, b: NONE, c: NONE, e: NONE };
const COMPLETE: &str = "mbarrier::complete_tx::bytes";

/// Takes the operation of a reduction.
fn operation(words: &mut Words<'_>) -> Option<AtomicOp> {
    let ops = [
        ("add", AtomicOp::Add),
        ("min", AtomicOp::Min),
        ("max", AtomicOp::Max),
        ("inc", AtomicOp::Increment),
        ("dec", AtomicOp::Decrement),
        ("and", AtomicOp::And),
        ("or", AtomicOp::Or),
        ("xor", AtomicOp::Xor),
    ];
    ops.iter().find(|(word, _)| words.take(word)).map(|(_, op)| *op)
}

/// Whether `cp.reduce.async.bulk` (to global memory or not) and `red.async` know this combination, and the type as the
/// machine names it.
fn reduction(op: AtomicOp, ty: Type, global: bool) -> Option<Reduction> {
    use AtomicOp as O;
    let known = match op {
        O::Add => match ty {
            Type::U32 | Type::S32 | Type::U64 => true,
            Type::F16 | Type::BF16 | Type::F32 | Type::F64 => global,
            _ => false,
        },
        O::Min | O::Max => match ty {
            Type::U32 | Type::S32 => true,
            Type::U64 | Type::S64 | Type::F16 | Type::BF16 => global,
            _ => false,
        },
        O::Increment | O::Decrement => ty == Type::U32,
        O::And | O::Or | O::Xor => ty == Type::B32 || (global && ty == Type::B64),
        O::Exchange | O::CompareSwap => false,
    };
    let ty = match ty {
        Type::U32 => AtomicType::U32,
        Type::S32 => AtomicType::S32,
        Type::U64 => AtomicType::U64,
        Type::S64 => AtomicType::S64,
        Type::B32 => AtomicType::B32,
        Type::B64 => AtomicType::B64,
        Type::F16 => AtomicType::F16,
        Type::BF16 => AtomicType::BF16,
        Type::F32 => AtomicType::F32,
        Type::F64 => AtomicType::F64,
        _ => return None,
    };
    known.then_some(Reduction { op, ty, flush: false })
}

/// The operands one after the other.
struct Operands<'i> {
    instruction: &'i Instruction,
    left: &'i [Operand],
}

impl<'i> Operands<'i> {
    fn new(instruction: &'i Instruction) -> Operands<'i> {
        Operands { instruction, left: &instruction.operands }
    }

    fn next(&mut self, what: &str) -> Result<&'i Operand, Unsupported> {
        match self.left.split_first() {
            Some((first, rest)) => {
                self.left = rest;
                Ok(first)
            }
            None => Err(unsupported(self.instruction, what)),
        }
    }

    /// Nothing is left but a cache policy, where the form has one.
    fn finish(self, policy: bool) -> Result<(), Unsupported> {
        if self.left.len() == usize::from(policy) {
            Ok(())
        } else {
            Err(unsupported(self.instruction, "another number of operands"))
        }
    }
}

impl<'m> Decoder<'_, 'm> {
    pub(super) fn bulk(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let op = match i.opcode.as_str() {
            "st" if i.has("bulk") => self.store_bulk(i)?,
            "st" => self.store_async(i)?,
            "red" => self.reduce_async(i)?,
            "tensormap" if i.has("replace") => self.tensormap_replace(i)?,
            "tensormap" => self.tensormap_copy(i)?,
            _ if i.has("mbarrier") => self.copy_arrive(i)?,
            _ if i.has("commit_group") => {
                let mut words = Words::new(i);
                let _ = (words.take("async"), words.take("bulk"), words.take("commit_group"));
                words.finish()?;
                Bulk::Commit
            }
            _ if i.has("wait_group") => {
                let mut words = Words::new(i);
                let _ = (words.take("async"), words.take("bulk"), words.take("wait_group"));
                let read = words.take("read");
                words.finish()?;
                let Some(Operand::Integer(pending @ 0..=0xffff)) = i.operands.first() else {
                    return Err(unsupported(i, "a constant number of groups"));
                };
                Bulk::Wait { pending: *pending as u32, read }
            }
            _ if i.has("tensor") => self.tensor_copy(i)?,
            _ if i.has("prefetch") => {
                let mut words = Words::new(i);
                for word in ["async", "bulk", "prefetch", "L2", "global"] {
                    let _ = words.take(word);
                }
                let policy = words.left().contains(&"L2::cache_hint");
                cache_words(&mut words);
                words.finish()?;
                let mut operands = Operands::new(i);
                let source = self.address(i, operands.next("an address")?)?;
                let size = self.source(i, operands.next("a size")?, Type::B32)?;
                operands.finish(policy)?;
                Bulk::Prefetch { source, size }
            }
            _ => self.bulk_copy(i)?,
        };
        let class = match &op {
            Bulk::Replace { space: Space::Shared, .. } => Class::SharedStore,
            Bulk::Zero { .. } => Class::SharedStore,
            Bulk::Replace { .. } | Bulk::CopyMap { .. } => Class::GlobalStore,
            _ => Class::Async,
        };
        self.emit(class, Kind::Bulk(Box::new(op)), NO_SLOTS);
        Ok(())
    }

    fn bulk_copy(&mut self, i: &'m Instruction) -> Result<Bulk, Unsupported> {
        let mut words = Words::new(i);
        let reduce = words.take("reduce");
        if !words.take("async") || !words.take("bulk") {
            return Err(unsupported(i, "this kind of copy"));
        }
        let policy = words.left().contains(&"L2::cache_hint");
        cache_words(&mut words);
        let route = self.route(i, &mut words)?;
        let grouped = words.take("bulk_group");
        let barrier = words.take(COMPLETE);
        if grouped == barrier || grouped != (route == Route::SharedToGlobal) {
            return Err(unsupported(
                i,
                "a completion by mbarrier to shared memory, by group to global memory",
            ));
        }
        let multicast = words.take("multicast::cluster");
        let masked = words.take("cp_mask");
        if words.left().contains(&"ignore_oob") {
            return Err(unsupported(i, "bytes that are ignored out of bounds"));
        }
        let mut combine = None;
        if reduce {
            let op = operation(&mut words).ok_or_else(|| unsupported(i, "a reduction"))?;
            let noftz = words.take("noftz");
            let ty = words.ty()?;
            let half = matches!(ty, Type::F16 | Type::BF16);
            if op == AtomicOp::Add && half != noftz {
                return Err(unsupported(i, "`.noftz` on `.add` of f16 and bf16, and there alone"));
            }
            let found = reduction(op, ty, route == Route::SharedToGlobal);
            combine = Some(found.ok_or_else(|| unsupported(i, "this reduction of this type on this way"))?);
        }
        words.finish()?;
        let mut operands = Operands::new(i);
        let destination = self.address(i, operands.next("a destination")?)?;
        let source = self.address(i, operands.next("a source")?)?;
        let size = self.source(i, operands.next("a size")?, Type::B32)?;
        let barrier = if barrier { Some(self.address(i, operands.next("an mbarrier")?)?) } else { None };
        let mut mask = |decoder: &mut Self, there| match there {
            true => decoder.source(i, operands.next("a mask")?, Type::B16),
            false => Ok(NONE),
        };
        let multicast = mask(self, multicast)?;
        // The policy stands before the byte mask.
        if masked && policy {
            let _ = operands.next("a cache policy")?;
        }
        let byte_mask = if masked { self.source(i, operands.next("a mask")?, Type::B16)? } else { NONE };
        operands.finish(policy && !masked)?;
        Ok(Bulk::Copy(BulkCopy {
            route,
            destination,
            source,
            size,
            barrier,
            multicast,
            byte_mask,
            reduction: combine,
        }))
    }

    /// Takes destination and source.
    fn route(&mut self, i: &'m Instruction, words: &mut Words<'_>) -> Result<Route, Unsupported> {
        let spaces: Vec<&str> = words
            .left()
            .iter()
            .copied()
            .filter(|word| matches!(*word, "global" | "shared::cta" | "shared::cluster"))
            .collect();
        words.drop_all(|word| matches!(word, "global" | "shared::cta" | "shared::cluster"));
        match spaces.as_slice() {
            ["shared::cluster", "global"] => Ok(Route::GlobalToShared { cluster: true }),
            ["shared::cta", "global"] => Ok(Route::GlobalToShared { cluster: false }),
            ["shared::cluster", "shared::cta"] => Ok(Route::SharedToShared),
            ["global", "shared::cta"] => Ok(Route::SharedToGlobal),
            _ => Err(unsupported(i, "a way between global and shared memory")),
        }
    }

    fn tensor_copy(&mut self, i: &'m Instruction) -> Result<Bulk, Unsupported> {
        let mut words = Words::new(i);
        let reduce = words.take("reduce");
        let prefetch = words.take("prefetch");
        let _ = (words.take("async"), words.take("bulk"), words.take("tensor"));
        let rank = words.take_one(&["1d", "2d", "3d", "4d", "5d"]);
        let rank = 1 + rank.ok_or_else(|| unsupported(i, "1 to 5 dimensions"))?;
        let policy = words.left().contains(&"L2::cache_hint");
        let modes = ["im2col", "tile::gather4", "tile::scatter4"];
        if let Some(mode) = words.left().iter().find(|word| modes.iter().any(|mode| word.starts_with(mode))) {
            return Err(unsupported(i, format!("the mode `.{mode}`: the machine copies in tile mode")));
        }
        let _ = words.take("tile");
        let pair = words.take("cta_group::2");
        let _ = words.take("cta_group::1");
        cache_words(&mut words);
        let route = if prefetch {
            let _ = (words.take("L2"), words.take("global"));
            None
        } else {
            Some(self.route(i, &mut words)?)
        };
        if route == Some(Route::SharedToShared) {
            return Err(unsupported(i, "global memory on one side"));
        }
        let load = matches!(route, Some(Route::GlobalToShared { .. }));
        let grouped = words.take("bulk_group");
        let barrier = words.take(COMPLETE);
        if barrier != load || grouped != (route == Some(Route::SharedToGlobal)) {
            return Err(unsupported(
                i,
                "a completion by mbarrier to shared memory, by group to global memory",
            ));
        }
        let multicast = words.take("multicast::cluster");
        let reduction = if reduce {
            Some(operation(&mut words).ok_or_else(|| unsupported(i, "a reduction"))?)
        } else {
            None
        };
        words.finish()?;
        if reduce && route != Some(Route::SharedToGlobal) {
            return Err(unsupported(i, "a reduction into global memory"));
        }
        let mut operands = Operands::new(i);
        let mut tile = None;
        if load {
            tile = Some(self.address(i, operands.next("a destination")?)?);
        }
        let place = operands.next("a tensor map with coordinates")?;
        let Operand::TensorAddress(parts) = place else {
            return Err(unsupported(i, "a tensor map with coordinates"));
        };
        let [base, Operand::Vector(coordinates)] = parts.as_slice() else {
            return Err(unsupported(i, "a tensor map and one vector of coordinates"));
        };
        if coordinates.len() != rank {
            return Err(unsupported(i, format!("{rank} coordinates")));
        }
        let map = match base {
            Operand::Address { .. } => self.address(i, base)?,
            _ => Address { base: self.source(i, base, Type::B64)?, wide: true, offset: 0 },
        };
        let coordinates = coordinates
            .iter()
            .map(|coordinate| self.source(i, coordinate, Type::S32))
            .collect::<Result<_, _>>()?;
        if route == Some(Route::SharedToGlobal) {
            tile = Some(self.address(i, operands.next("a source")?)?);
        }
        let barrier = if barrier { Some(self.address(i, operands.next("an mbarrier")?)?) } else { None };
        let multicast =
            if multicast { self.source(i, operands.next("a mask of blocks")?, Type::B16)? } else { NONE };
        operands.finish(policy)?;
        Ok(Bulk::Tensor(TensorCopy { route, map, coordinates, tile, barrier, multicast, pair, reduction }))
    }

    fn tensormap_replace(&mut self, i: &'m Instruction) -> Result<Bulk, Unsupported> {
        let mut words = Words::new(i);
        let _ = (words.take("replace"), words.take("tile"), words.take("b1024"));
        let fields = [
            "global_address",
            "rank",
            "elemtype",
            "interleave_layout",
            "swizzle_mode",
            "swizzle_atomicity",
            "fill_mode",
            "box_dim",
            "global_dim",
            "global_stride",
            "element_stride",
        ];
        let field = words.take_one(&fields).ok_or_else(|| unsupported(i, "a field"))?;
        let space = if words.take("global") {
            Space::Global
        } else if words.take("shared::cta") {
            Space::Shared
        } else {
            Space::Generic
        };
        let ty = words.ty()?;
        words.finish()?;
        let wide = ty == Type::B64;
        if wide != matches!(field, 0 | 9) || !matches!(ty, Type::B32 | Type::B64) {
            return Err(unsupported(i, "this field with another type"));
        }
        let mut operands = Operands::new(i);
        let address = self.address(i, operands.next("an address")?)?;
        let mut ordinal = 0;
        if field >= 7 {
            let limit = if field == 9 { 4 } else { 5 };
            ordinal = match operands.next("the number of a dimension")? {
                Operand::Integer(number) if (0..limit).contains(number) => *number as usize,
                _ => return Err(unsupported(i, format!("a constant dimension below {limit}"))),
            };
        }
        let value = self.source(i, operands.next("a value")?, ty)?;
        operands.finish(false)?;
        let field = match field {
            0 => Field::GlobalAddress,
            1 => Field::Rank,
            2 => Field::ElementType,
            3 => Field::Interleave,
            4 => Field::SwizzleMode,
            5 => Field::SwizzleAtomicity,
            6 => Field::Fill,
            7 => Field::BoxDim(ordinal),
            8 => Field::GlobalDim(ordinal),
            9 => Field::GlobalStride(ordinal),
            _ => Field::ElementStride(ordinal),
        };
        Ok(Bulk::Replace { space, address, field, value, wide })
    }

    fn tensormap_copy(&mut self, i: &'m Instruction) -> Result<Bulk, Unsupported> {
        let mut words = Words::new(i);
        if !words.take("cp_fenceproxy") {
            return Err(unsupported(i, "this operation on tensor maps"));
        }
        for word in ["global", "shared::cta", "tensormap::generic", "release", "sync", "aligned"] {
            if !words.take(word) {
                return Err(unsupported(i, format!("`.{word}`")));
            }
        }
        let _ = words.take_one(&["cta", "cluster", "gpu", "sys"]);
        words.finish()?;
        let [destination, source, Operand::Integer(128)] = i.operands.as_slice() else {
            return Err(unsupported(i, "two addresses and a size of 128 bytes"));
        };
        Ok(Bulk::CopyMap { destination: self.address(i, destination)?, source: self.address(i, source)? })
    }

    /// `cp.async.mbarrier.arrive`
    fn copy_arrive(&mut self, i: &'m Instruction) -> Result<Bulk, Unsupported> {
        let mut words = Words::new(i);
        let _ = (words.take("async"), words.take("mbarrier"));
        if !words.take("arrive") {
            return Err(unsupported(i, "an arrival"));
        }
        let noinc = words.take("noinc");
        let space =
            if words.take_one(&["shared", "shared::cta"]).is_some() { Space::Shared } else { Space::Generic };
        let _ = words.take("b64");
        words.finish()?;
        let [address] = i.operands.as_slice() else { return Err(unsupported(i, "an address")) };
        Ok(Bulk::Arrive { space, address: self.address(i, address)?, noinc })
    }

    fn store_async(&mut self, i: &'m Instruction) -> Result<Bulk, Unsupported> {
        let mut words = Words::new(i);
        let _ = words.take("async");
        let barrier = self.async_words(i, &mut words)?;
        let (space, barrier) = barrier;
        let count = words.take_one(&["v2", "v4"]).map_or(1, |index| 2usize << index);
        let ty = words.ty()?;
        words.finish()?;
        let allowed = if barrier { matches!(ty.bits(), 32 | 64) } else { matches!(ty.bits(), 8..=64) };
        if !allowed || ty == Type::Pred || (!barrier && count > 1) {
            return Err(unsupported(i, "a type of 32 or 64 bits"));
        }
        let mut operands = Operands::new(i);
        let address = self.address(i, operands.next("an address")?)?;
        let elements = self.elements(i, operands.next("a value")?, ty, false)?;
        if elements.len() != count || elements.iter().any(|element| element.slot == NONE) {
            return Err(unsupported(i, format!("{count} registers")));
        }
        let barrier = if barrier { Some(self.address(i, operands.next("an mbarrier")?)?) } else { None };
        operands.finish(false)?;
        Ok(Bulk::Store(AsyncStore { space, address, size: ty.size() as u8, elements, barrier }))
    }

    /// Takes what `st.async` and `red.async` share: the space, and whether an mbarrier is told.
    fn async_words(
        &mut self,
        i: &'m Instruction,
        words: &mut Words<'_>,
    ) -> Result<(Space, bool), Unsupported> {
        let _ = words.take_one(&["weak", "relaxed", "release"]);
        let _ = words.take("mmio");
        let _ = words.take_one(&["cluster", "gpu", "sys"]);
        let barrier = words.take(COMPLETE);
        let space = match words.take_one(&["shared::cluster", "global"]) {
            Some(0) => Space::SharedCluster,
            Some(_) => Space::Global,
            None => Space::Generic,
        };
        if barrier == (space == Space::Global) {
            return Err(unsupported(i, "an mbarrier with shared memory, none with global memory"));
        }
        // Without a space the address is generic, and must lie in the cluster's shared memory.
        Ok((space, barrier))
    }

    fn reduce_async(&mut self, i: &'m Instruction) -> Result<Bulk, Unsupported> {
        let mut words = Words::new(i);
        let _ = words.take("async");
        let (space, barrier) = self.async_words(i, &mut words)?;
        let op = operation(&mut words).ok_or_else(|| unsupported(i, "a reduction"))?;
        let ty = words.ty()?;
        words.finish()?;
        let found = if barrier {
            reduction(op, ty, false)
        } else {
            // Global memory: add of integers alone (sm_100).
            match (op, ty) {
                (AtomicOp::Add, Type::S64) => Some(Reduction { op, ty: AtomicType::S64, flush: false }),
                (AtomicOp::Add, Type::U32 | Type::S32 | Type::U64) => reduction(op, ty, true),
                _ => None,
            }
        };
        let reduction = found.ok_or_else(|| unsupported(i, "this reduction of this type"))?;
        let mut operands = Operands::new(i);
        let address = self.address(i, operands.next("an address")?)?;
        let slot = self.source(i, operands.next("a value")?, ty)?;
        let operand = Element { slot, rows: rows(ty) as u8 };
        let barrier = if barrier { Some(self.address(i, operands.next("an mbarrier")?)?) } else { None };
        operands.finish(false)?;
        Ok(Bulk::Reduce(AsyncReduce { space, address, reduction, operand, barrier }))
    }

    /// `st.bulk`: only zeros can be stored.
    fn store_bulk(&mut self, i: &'m Instruction) -> Result<Bulk, Unsupported> {
        let mut words = Words::new(i);
        let _ = (words.take("bulk"), words.take("weak"));
        let space = if words.take("shared::cta") { Space::Shared } else { Space::Generic };
        words.finish()?;
        let [address, size, Operand::Integer(0)] = i.operands.as_slice() else {
            return Err(unsupported(i, "an address, a size and the value 0"));
        };
        let size = self.source(i, size, Type::B64)?;
        Ok(Bulk::Zero { space, address: self.address(i, address)?, size })
    }
}
