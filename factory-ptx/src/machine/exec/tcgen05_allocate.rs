//! Who holds columns of tensor memory: `tcgen05.alloc`, `.dealloc`, and what is left at the end (PTX ISA 9.0, section
//! 9.7.16.7.1).

use super::access::write_raw;
use super::spot::{SpotKind, addresses};
use super::state::{State, Warp};
use super::step::Flow;
use super::tcgen05_memory::{Allocation, Request, split};
use super::{Trouble, Worker, plain_trouble, trouble};
use crate::machine::error::{Fault, FaultKind};
use crate::machine::inst::{Address, Inst, Space};
use crate::machine::lanes::LANES;

impl Worker<'_> {
    /// The other block of a pair: the one whose rank differs in the lowest bit.
    pub(super) fn tensor_peer(&self, warp: &Warp, lane: u32) -> Result<usize, Trouble> {
        let peer = warp.block ^ 1;
        if peer < self.cluster.blocks.len() {
            return Ok(peer);
        }
        let detail = "`.cta_group::2` needs clusters of an even number of blocks";
        Err(plain_trouble(FaultKind::TensorMemory, lane, detail))
    }

    /// Puts a fragment to sleep until tensor memory has changed hands.
    fn tensor_sleep(&self, warp: &mut Warp, chosen: usize) -> Flow {
        warp.fragments[chosen].state = State::TensorMemory(self.cluster.tensor_changes);
        Flow::Stop
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one instruction")]
    pub(super) fn tensor_allocate(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        base: usize,
        inst: &Inst,
        pair: bool,
        (space, address): (Space, &Address),
        active: u32,
    ) -> Result<Flow, Trouble> {
        let first = active.trailing_zeros();
        let fail = |kind, detail: String| Err(plain_trouble(kind, first, detail));
        let columns = self.uniform(warp, base, inst.slots.a, active, "numbers of columns")? as usize;
        if !columns.is_power_of_two() || !(32..=512).contains(&columns) {
            return fail(
                FaultKind::UndefinedOperand,
                format!("{columns} columns (a power of two from 32 to 512 is needed)"),
            );
        }
        let memory = &self.cluster.blocks[warp.block].tensor;
        if memory.relinquished {
            return fail(
                FaultKind::TensorMemory,
                "the block has given up the right to allocate (`tcgen05.relinquish_alloc_permit`)".to_owned(),
            );
        }
        if let Some(last) = memory.last
            && columns > last
        {
            return fail(
                FaultKind::TensorMemory,
                format!("{columns} columns behind an allocation of {last}: later ones must not be larger"),
            );
        }
        let (number, pc) = (warp.index, self.pc);
        let allocation = |place| Allocation { first: place, columns, pair, warp: number, pc };
        let place = if pair {
            let peer = self.tensor_peer(warp, first)?;
            match self.tensor_join(warp, peer, Request::Allocate(columns), first)? {
                Joined::Granted(place) => place,
                Joined::Waiting => return Ok(self.tensor_sleep(warp, chosen)),
                Joined::Both => {
                    let memory = &self.cluster.blocks[warp.block].tensor;
                    let free = memory.find(columns, Some(&self.cluster.blocks[peer].tensor));
                    let Some(place) = free else { return Ok(self.tensor_sleep(warp, chosen)) };
                    let (mine, theirs) = (allocation(place), allocation(place));
                    let other = &mut self.cluster.blocks[peer].tensor;
                    let warp_there = other.request.take().map_or(0, |(_, warp)| warp);
                    other.allocate(Allocation { warp: warp_there, ..theirs });
                    other.granted = Some(place);
                    self.cluster.blocks[warp.block].tensor.allocate(mine);
                    self.cluster.tensor_changes += 1;
                    place
                }
            }
        } else {
            let Some(place) = memory.find(columns, None) else {
                return Ok(self.tensor_sleep(warp, chosen));
            };
            let mine = allocation(place);
            self.cluster.blocks[warp.block].tensor.allocate(mine);
            place
        };
        let lanes = addresses(&warp.words[base..], address, 1 << first);
        let run = self.run_of(warp, space, &lanes, 1 << first, 4)?;
        if run.spot.kind != SpotKind::Shared(warp.block) {
            let detail = "the address of the allocation goes to the block's own shared memory";
            return Err(trouble(FaultKind::OutOfBounds, first, lanes[first as usize & 31], detail));
        }
        self.check_write(warp, &run, 4, &lanes, false)?;
        let at = run.offsets[first as usize & (LANES - 1)];
        // SAFETY: `run_of` was asked for four bytes from here.
        unsafe { write_raw::<4>(run.spot.data.add(at), place as u64) };
        Ok(Flow::Next)
    }

    pub(super) fn tensor_deallocate(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        base: usize,
        inst: &Inst,
        pair: bool,
        active: u32,
    ) -> Result<Flow, Trouble> {
        let first = active.trailing_zeros();
        let address = self.uniform(warp, base, inst.slots.a, active, "tensor-memory addresses")?;
        let columns = self.uniform(warp, base, inst.slots.b, active, "numbers of columns")? as usize;
        let (lane, place) = split(address);
        let fail = |detail: String| Err(trouble(FaultKind::TensorMemory, first, u64::from(address), detail));
        if pair && self.cluster.blocks[warp.block].tensor.granted == Some(place) {
            // The peer has come, and has freed both sides.
            self.cluster.blocks[warp.block].tensor.granted = None;
            return Ok(Flow::Next);
        }
        let memory = &self.cluster.blocks[warp.block].tensor;
        let Some(held) = memory.allocations.iter().find(|held| held.first == place && lane == 0) else {
            return fail(format!(
                "no allocation begins at lane {lane}, column {place} (was it deallocated before?)"
            ));
        };
        if held.columns != columns || held.pair != pair {
            return fail(format!(
                "the allocation has {} columns and `.cta_group::{}`, {columns} and {} are named",
                held.columns,
                1 + u32::from(held.pair),
                1 + u32::from(pair)
            ));
        }
        self.tensor_idle(warp, place, columns, first)?;
        if pair {
            let peer = self.tensor_peer(warp, first)?;
            match self.tensor_join(warp, peer, Request::Deallocate { first: place, columns }, first)? {
                Joined::Granted(_) => return Ok(Flow::Next),
                Joined::Waiting => return Ok(self.tensor_sleep(warp, chosen)),
                Joined::Both => {
                    let other = &mut self.cluster.blocks[peer].tensor;
                    other.request = None;
                    other.free(place, columns);
                    other.granted = Some(place);
                }
            }
        }
        self.cluster.blocks[warp.block].tensor.free(place, columns);
        self.cluster.tensor_changes += 1;
        Ok(Flow::Next)
    }

    /// Whether everything that touched these columns is complete for the warp that frees them.
    fn tensor_idle(&self, warp: &Warp, place: usize, columns: usize, lane: u32) -> Result<(), Trouble> {
        let busy = self.tensor_memory(warp.block).tensor_marks(place, columns).find(|number| {
            let operation = self.cluster.tensor_operations.get(*number as usize);
            operation.is_some_and(|operation| {
                let agent = self.cluster.tensor_agent(operation.block);
                operation.complete.is_none_or(|time| !warp.tensor_knows(agent, time))
            })
        });
        let Some(number) = busy else { return Ok(()) };
        let operation = &self.cluster.tensor_operations[number as usize];
        let line = self.context.kernel.whole.code.debug.get(operation.pc as usize).copied().unwrap_or(0);
        let detail = format!(
            "the {} of line {line} works on these columns, and this warp has not seen it complete",
            operation.name
        );
        Err(plain_trouble(FaultKind::AsyncNotWaited, lane, detail))
    }

    /// Meets the peer's warp at a collective operation of a pair.
    fn tensor_join(
        &mut self,
        warp: &Warp,
        peer: usize,
        request: Request,
        lane: u32,
    ) -> Result<Joined, Trouble> {
        let memory = &mut self.cluster.blocks[warp.block].tensor;
        if let Some(place) = memory.granted.take() {
            return Ok(Joined::Granted(place));
        }
        match self.cluster.blocks[peer].tensor.request {
            Some((theirs, _)) if theirs == request => {
                self.cluster.blocks[warp.block].tensor.request = None;
                Ok(Joined::Both)
            }
            Some((theirs, other)) => {
                let detail =
                    format!("warp {other} of the peer block stands at {theirs:?}, this one at {request:?}");
                Err(plain_trouble(FaultKind::TensorMemory, lane, detail))
            }
            None => {
                if self.cluster.blocks[peer].warps.iter().all(|warp| warp.fragments.is_empty()) {
                    let detail = "the peer block has exited";
                    return Err(plain_trouble(FaultKind::TensorMemory, lane, detail));
                }
                self.cluster.blocks[warp.block].tensor.request = Some((request, warp.index));
                Ok(Joined::Waiting)
            }
        }
    }

    /// At the end of a cluster: tensor memory that nobody has freed.
    pub(super) fn tensor_leak(&self) -> Option<Fault> {
        for block in &self.cluster.blocks {
            if let Some(held) = block.tensor.allocations.first() {
                let detail = format!(
                    "{} columns of tensor memory that this warp allocated were not deallocated when the block ended",
                    held.columns
                );
                let warp = &block.warps[held.warp as usize];
                return Some(self.fault(
                    warp,
                    held.pc,
                    plain_trouble(FaultKind::TensorMemoryLeak, 0, detail),
                ));
            }
        }
        None
    }
}

/// How the meeting of a pair stands.
enum Joined {
    /// The peer was here last and has done it for both.
    Granted(usize),
    /// The peer has not come.
    Waiting,
    /// Both are here.
    Both,
}
