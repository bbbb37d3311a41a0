//! The fifth-generation tensor core: which operation does what, and `tcgen05.ld` and `.st`.
//!
//! What is asynchronous here goes through two queues. `tcgen05.ld` and `.st` belong to their warp, until its
//! `tcgen05.wait`. `tcgen05.mma`, `.cp` and `.shift` belong to the thread that issued them, run in their order, and are
//! complete for whoever has seen the phase of an mbarrier that a later `tcgen05.commit` of that thread arrived at.
//! Every access to tensor memory is compared with the last ones to the same cells: see [`Worker::tensor_order`].

use super::clock::join_times;
use super::collective::fold;
use super::state::{PendingRegisters, State, Warp};
use super::step::Flow;
use super::tcgen05_layout::{half_distance, transfer_cell, transfer_lanes};
use super::tcgen05_memory::{COLUMNS, Mark, TensorMemory, split};
use super::{Trouble, Worker, plain_trouble, trouble};
use crate::machine::error::FaultKind;
use crate::machine::inst::Inst;
use crate::machine::inst::tcgen05::{Left, Tcgen05, Transfer, TransferShape};
use crate::machine::lanes::{LANES, Lane, NONE};

/// What a warp has done to tensor memory, and what it knows of others.
#[derive(Clone, Debug, Default)]
pub(super) struct TensorWarp {
    /// Loads and stores issued.
    pub(super) issued: u32,
    /// Up to which of them `tcgen05.wait::ld` and `::st` have waited.
    pub(super) loaded: u32,
    pub(super) stored: u32,
    /// At each `tcgen05.fence::before_thread_sync` and each wait: loads and stores issued before, and the time.
    pub(super) stamps: Vec<(u32, u32)>,
    /// What relaxed waits for mbarriers have learned, and as much of that as `tcgen05.fence::after_thread_sync` has
    /// ordered before what this warp does to tensor memory now. Waits that acquire need no fence.
    pub(super) learned: Vec<u32>,
    fenced: Vec<u32>,
    /// Time of the last `tcgen05.fence::before_thread_sync`.
    published: Option<u32>,
}

/// The group of registers that a `tcgen05.ld` will write: none of wgmma.
const UNTIL_WAIT: u32 = u32::MAX;

/// Keeps a register from being used before `tcgen05.wait::ld`.
fn expect_registers(warp: &mut Warp, first: usize) {
    warp.pending_registers.push(PendingRegisters { first, words: LANES, group: UNTIL_WAIT });
}

/// Registers that an operation names beside the slots of its instruction.
pub(super) fn registers(op: &Tcgen05) -> Vec<u32> {
    match op {
        Tcgen05::Load(transfer) | Tcgen05::Store(transfer) => {
            let mut slots: Vec<u32> = transfer.registers.iter().map(|register| register.slot).collect();
            slots.push(transfer.address.base);
            slots
        }
        Tcgen05::Allocate { address, .. } | Tcgen05::Commit { address, .. } => vec![address.base],
        Tcgen05::Copy { target, .. } | Tcgen05::Shift { target, .. } => vec![target.base],
        Tcgen05::Multiply(multiply) => {
            let mut slots = multiply.disabled.clone();
            slots.push(multiply.target.base);
            slots.push(match &multiply.left {
                Left::Shared(slot) => *slot,
                Left::Tensor(address) => address.base,
            });
            slots.extend(multiply.factors.iter().flat_map(|factors| [factors.a.base, factors.b.base]));
            slots
        }
        _ => Vec::new(),
    }
}

/// A kind of access to tensor memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    Read,
    Write,
}

/// Who touches tensor memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Toucher {
    /// `tcgen05.ld`, `.st`
    Transfer,
    /// `tcgen05.mma`, `.cp`, `.shift` of this lane.
    Tensor(u32),
}

impl Warp {
    /// Whether this warp knows that everything up to a time has happened at a place of `seen`.
    pub(super) fn tensor_knows(&self, place: usize, time: u32) -> bool {
        let known = |seen: &[u32]| seen.get(place).is_some_and(|seen| time <= *seen);
        known(&self.clock.seen) || known(&self.tensor.fenced)
    }

    /// What an arrival that does not release tells of this warp's tensor memory: all up to its last
    /// `tcgen05.fence::before_thread_sync`. `None` when it has used none. `own`: its agent.
    pub(super) fn tensor_publishes(&self, own: usize) -> Option<Vec<u32>> {
        let time = self.tensor.published?;
        let mut known = self.tensor.fenced.clone();
        if known.len() <= own {
            known.resize(own + 1, 0);
        }
        known[own] = known[own].max(time);
        Some(known)
    }
}

impl Worker<'_> {
    pub(super) fn tcgen05(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        base: usize,
        inst: &Inst,
        op: &Tcgen05,
        active: u32,
    ) -> Result<Flow, Trouble> {
        if let Some(pair) = op.pair() {
            let group = 1 + u32::from(pair);
            if *self.cluster.tensor_pair.get_or_insert(pair) != pair {
                let detail = format!("`.cta_group::{group}` in a kernel that has used the other one");
                return Err(plain_trouble(FaultKind::TensorMemory, active.trailing_zeros(), detail));
            }
        }
        let collective = matches!(
            op,
            Tcgen05::Allocate { .. }
                | Tcgen05::Deallocate { .. }
                | Tcgen05::Relinquish { .. }
                | Tcgen05::Load(_)
                | Tcgen05::Store(_)
                | Tcgen05::WaitLoad
                | Tcgen05::WaitStore
        );
        if collective && !self.whole_warp(warp, chosen, active)? {
            return Ok(Flow::Stop);
        }
        match op {
            Tcgen05::Allocate { pair, space, address } => {
                return self.tensor_allocate(warp, chosen, base, inst, *pair, (*space, address), active);
            }
            Tcgen05::Deallocate { pair } => {
                return self.tensor_deallocate(warp, chosen, base, inst, *pair, active);
            }
            Tcgen05::Relinquish { .. } => {
                self.cluster.blocks[warp.block].tensor.relinquished = true;
            }
            Tcgen05::Load(transfer) => self.tensor_load(warp, base, transfer, active)?,
            Tcgen05::Store(transfer) => self.tensor_store(warp, base, transfer, active)?,
            Tcgen05::WaitLoad => {
                warp.tensor.loaded = warp.tensor.issued;
                warp.pending_registers.retain(|registers| registers.group != UNTIL_WAIT);
                self.tensor_stamp(warp);
            }
            Tcgen05::WaitStore => {
                warp.tensor.stored = warp.tensor.issued;
                self.tensor_stamp(warp);
            }
            Tcgen05::FenceBefore => {
                self.tensor_stamp(warp);
                warp.tensor.published = Some(self.cluster.time);
                self.cluster.time += 1;
            }
            Tcgen05::FenceAfter => {
                let learned = std::mem::take(&mut warp.tensor.learned);
                join_times(&mut warp.tensor.fenced, &learned);
            }
            Tcgen05::Copy { pair, shape, format, target } => {
                self.tensor_copy(warp, base, inst, (*pair, *shape, *format), target, active)?;
            }
            Tcgen05::Shift { pair, target } => self.tensor_shift(warp, base, *pair, target, active)?,
            Tcgen05::Multiply(multiply) => self.tensor_multiply(warp, base, inst, multiply, active)?,
            Tcgen05::Commit { pair, space, address, mask } => {
                self.tensor_commit(warp, base, *pair, (*space, address), *mask, active)?;
            }
        }
        Ok(Flow::Next)
    }

    /// Whether all lanes of the warp are here, as `.sync.aligned` asks; puts the fragment aside when some may still come.
    fn whole_warp(&mut self, warp: &mut Warp, chosen: usize, active: u32) -> Result<bool, Trouble> {
        if warp.exists & !warp.live != 0 {
            let lane = (warp.exists & !warp.live).trailing_zeros();
            let detail = format!("lane {lane} has exited, and the instruction is one of the whole warp");
            return Err(plain_trouble(FaultKind::InactiveLane, active.trailing_zeros(), detail));
        }
        if warp.live & !active == 0 {
            return Ok(true);
        }
        let held = warp.fragments[chosen].mask & !active & warp.live;
        if held != 0 {
            let detail =
                "the guard keeps this lane from an instruction of the whole warp that other lanes reach";
            return Err(plain_trouble(FaultKind::DivergentBarrier, held.trailing_zeros(), detail));
        }
        warp.fragments[chosen].state = State::Warp(warp.live);
        Ok(false)
    }

    /// Notes the time up to which the loads and stores of a warp are behind it.
    fn tensor_stamp(&mut self, warp: &mut Warp) {
        if warp.tensor.stamps.last().is_none_or(|(issued, _)| *issued != warp.tensor.issued) {
            warp.tensor.stamps.push((warp.tensor.issued, self.cluster.time));
        }
    }

    /// The one value that all active lanes have in a slot.
    pub(super) fn uniform(
        &self,
        warp: &Warp,
        base: usize,
        slot: u32,
        active: u32,
        what: &str,
    ) -> Result<u32, Trouble> {
        let values = u32::load(&warp.words[base..], slot);
        let first = active.trailing_zeros();
        let value = values[first as usize & 31];
        match (0..LANES).find(|lane| active >> lane & 1 != 0 && values[*lane] != value) {
            None => Ok(value),
            Some(lane) => {
                let detail = format!("lanes of one warp name different {what}: {value} and {}", values[lane]);
                Err(plain_trouble(FaultKind::UndefinedOperand, lane as u32, detail))
            }
        }
    }

    /// Checks where a transfer points, and what it meets there. Gives lane and column of its address.
    fn tensor_transfer(
        &mut self,
        warp: &mut Warp,
        base: usize,
        transfer: &Transfer,
        active: u32,
        touch: Touch,
    ) -> Result<(usize, usize), Trouble> {
        let lanes = super::spot::addresses(&warp.words[base..], &transfer.address, active);
        let first = active.trailing_zeros();
        let address = lanes[first as usize & 31];
        let fail = |kind, detail: String| Err(trouble(kind, first, address, detail));
        if lanes.iter().any(|other| *other != address) {
            return fail(
                FaultKind::UndefinedOperand,
                "lanes of one warp name different tensor-memory addresses".to_owned(),
            );
        }
        let (lane, column) = split(address as u32);
        let quarter = 32 * (warp.index as usize % 4);
        let fits = lane == quarter || (lane == quarter + 16 && transfer_lanes(transfer.shape) == 16);
        if !fits {
            return fail(
                FaultKind::TensorMemory,
                format!(
                    "lane {lane}: warp {} reaches lanes {quarter} to {}, and an access of {} lanes begins at a \
                     multiple of that",
                    warp.index,
                    quarter + 31,
                    transfer_lanes(transfer.shape)
                ),
            );
        }
        let count = transfer.registers.len();
        let logical = match transfer.shape {
            TransferShape::Lanes32Bits32 | TransferShape::Lanes16Bits32Twice(_) => count,
            _ => 2 * count,
        };
        let columns = if transfer.packed { 2 * logical } else { logical };
        let mut starts = vec![column];
        if let TransferShape::Lanes16Bits32Twice(apart) = transfer.shape {
            starts.push(column + apart as usize);
        }
        for start in starts {
            for at in start..start + columns {
                for group in (lane..lane + transfer_lanes(transfer.shape)).step_by(16) {
                    self.tensor_order(warp, warp.block, group, at, touch, Toucher::Transfer)
                        .map_err(|(kind, detail)| trouble(kind, first, address, detail))?;
                }
            }
        }
        warp.tensor.issued += 1;
        let mark = Mark::Warp { warp: warp.index as u8, number: warp.tensor.issued };
        let memory = &mut self.cluster.blocks[warp.block].tensor;
        for thread in 0..LANES {
            // Marks are kept for 16 lanes at a time.
            if thread % 16 != 0 {
                continue;
            }
            for at in 0..columns {
                let at = column + at + half_distance(transfer.shape, thread);
                let group = if transfer_lanes(transfer.shape) == 32 { lane + thread } else { lane };
                match touch {
                    Touch::Read => memory.mark_read(group, at, mark),
                    Touch::Write => memory.mark_write(group, at, mark),
                }
            }
        }
        Ok((lane, column))
    }

    fn tensor_load(
        &mut self,
        warp: &mut Warp,
        base: usize,
        transfer: &Transfer,
        active: u32,
    ) -> Result<(), Trouble> {
        let (lane, column) = self.tensor_transfer(warp, base, transfer, active, Touch::Read)?;
        let memory = &self.cluster.blocks[warp.block].tensor;
        let check = self.context.options.checks.uninitialised;
        let mut folded = [0; LANES];
        for (index, register) in transfer.registers.iter().enumerate() {
            let mut values = [0; LANES];
            for thread in 0..LANES {
                let (row, at) = transfer_cell(transfer.shape, thread, index);
                let half = column + half_distance(transfer.shape, thread);
                let read = |at: usize| {
                    if check && !memory.is_written(lane + row, at) {
                        let detail =
                            format!("nobody wrote lane {}, column {at} of tensor memory", lane + row);
                        return Err(plain_trouble(FaultKind::Uninitialised, thread as u32, detail));
                    }
                    Ok(memory.cell(lane + row, at))
                };
                values[thread] = if transfer.packed {
                    read(half + 2 * at)? & 0xffff | read(half + 2 * at + 1)? << 16
                } else {
                    read(half + at)?
                };
                if let Some((op, _)) = transfer.reduce {
                    let before = (index > 0).then_some(folded[thread]);
                    folded[thread] = fold(op, before.into_iter().chain([values[thread]]));
                }
            }
            if register.slot != NONE {
                u32::store(&mut warp.words[base..], register.slot, active, &values);
                expect_registers(warp, base + register.slot as usize);
            }
        }
        if let Some((_, slot)) = transfer.reduce {
            u32::store(&mut warp.words[base..], slot, active, &folded);
            expect_registers(warp, base + slot as usize);
        }
        Ok(())
    }

    fn tensor_store(
        &mut self,
        warp: &mut Warp,
        base: usize,
        transfer: &Transfer,
        active: u32,
    ) -> Result<(), Trouble> {
        let (lane, column) = self.tensor_transfer(warp, base, transfer, active, Touch::Write)?;
        let memory = &mut self.cluster.blocks[warp.block].tensor;
        for (index, register) in transfer.registers.iter().enumerate() {
            let values = u32::load(&warp.words[base..], register.slot);
            for thread in 0..LANES {
                let (row, at) = transfer_cell(transfer.shape, thread, index);
                let half = column + half_distance(transfer.shape, thread);
                if transfer.packed {
                    memory.set(lane + row, half + 2 * at, values[thread] & 0xffff);
                    memory.set(lane + row, half + 2 * at + 1, values[thread] >> 16);
                } else {
                    memory.set(lane + row, half + at, values[thread]);
                }
            }
        }
        Ok(())
    }

    /// The tensor memory of a block.
    pub(super) fn tensor_memory(&self, block: usize) -> &TensorMemory {
        &self.cluster.blocks[block].tensor
    }

    /// Whether an access to a cell of a block's tensor memory may be made now: the column must belong to somebody, and
    /// what touched the cell last must be complete for who touches it, or be one that runs before it anyway.
    ///
    /// Operations of one thread's tensor core run in the order of their issue. Loads and stores are complete behind
    /// their `tcgen05.wait`; for another warp a synchronisation behind that must have been seen too.
    pub(super) fn tensor_order(
        &self,
        warp: &Warp,
        block: usize,
        lane: usize,
        column: usize,
        touch: Touch,
        who: Toucher,
    ) -> Result<(), (FaultKind, String)> {
        let memory = self.tensor_memory(block);
        if column >= COLUMNS || !memory.allocated(column) {
            let detail = format!("column {column} of tensor memory is not allocated");
            return Err((FaultKind::TensorMemory, detail));
        }
        let (write, read) = memory.marks(lane, column);
        let earlier = [(write, Touch::Write), (read, Touch::Read)];
        let conflicts = if touch == Touch::Write { &earlier[..] } else { &earlier[..1] };
        for (mark, before) in conflicts {
            match *mark {
                Mark::None => {}
                Mark::Warp { warp: other, number } => {
                    self.after_transfer(warp, block, (other, number), *before, column)?;
                }
                Mark::Tensor(number) => self.after_tensor(warp, number, who, *before, column)?,
            }
        }
        Ok(())
    }

    fn after_transfer(
        &self,
        warp: &Warp,
        block: usize,
        (other, number): (u8, u32),
        before: Touch,
        column: usize,
    ) -> Result<(), (FaultKind, String)> {
        let own = block == warp.block && u32::from(other) == warp.index;
        // The warp that runs is not in its place.
        let state =
            if own { &warp.tensor } else { &self.cluster.blocks[block].warps[usize::from(other)].tensor };
        let (waited, name) = match before {
            Touch::Read => (state.loaded, "ld"),
            Touch::Write => (state.stored, "st"),
        };
        let what =
            format!("column {column} of tensor memory is touched by a `tcgen05.{name}` of warp {other}");
        if number > waited {
            let detail = format!("{what} that no `tcgen05.wait::{name}` has waited for");
            return Err((FaultKind::AsyncNotWaited, detail));
        }
        if own || !self.context.options.checks.races {
            return Ok(());
        }
        let behind = state.stamps.partition_point(|(issued, _)| *issued < number);
        let ordered = state
            .stamps
            .get(behind)
            .is_some_and(|(_, time)| self.tensor_saw(warp, block, u32::from(other), *time));
        if ordered {
            return Ok(());
        }
        let detail = format!("{what}, and no synchronisation lies between");
        Err((FaultKind::TensorMemoryRace, detail))
    }

    /// Whether a warp knows what another one had done at a time.
    fn tensor_saw(&self, warp: &Warp, block: usize, other: u32, time: u32) -> bool {
        warp.tensor_knows(block * usize::from(self.cluster.warps) + other as usize, time)
    }

    fn after_tensor(
        &self,
        warp: &Warp,
        number: u32,
        who: Toucher,
        before: Touch,
        column: usize,
    ) -> Result<(), (FaultKind, String)> {
        let Some(operation) = self.cluster.tensor_operations.get(number as usize) else { return Ok(()) };
        if let Toucher::Tensor(lane) = who
            && (operation.block, operation.warp, operation.lane) == (warp.block, warp.index, lane)
        {
            return Ok(());
        }
        let agent = self.cluster.tensor_agent(operation.block);
        if operation.complete.is_some_and(|time| warp.tensor_knows(agent, time)) {
            return Ok(());
        }
        // Another thread's operations run in the order of their issue when a synchronisation says so.
        if matches!(who, Toucher::Tensor(_))
            && (self.tensor_saw(warp, operation.block, operation.warp, operation.issued)
                || (operation.block, operation.warp) == (warp.block, warp.index))
        {
            return Ok(());
        }
        let line = self.context.kernel.whole.code.debug.get(operation.pc as usize).copied().unwrap_or(0);
        let verb = if before == Touch::Write { "writes" } else { "reads" };
        let detail = format!(
            "the {} of line {line} {verb} column {column} of tensor memory, and no `tcgen05.commit` to an mbarrier \
             that this thread has waited for is behind it",
            operation.name
        );
        Err((FaultKind::AsyncNotWaited, detail))
    }
}
