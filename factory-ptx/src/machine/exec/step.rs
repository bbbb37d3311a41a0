//! The warp scheduler and the main loop.

use super::collective::lanes_of;
use super::state::{Fragment, State, Warp};
use super::{Trouble, Worker, plain_trouble, trouble};
use crate::machine::decode::{SHARED_WINDOW, WINDOW};
use crate::machine::error::{Fault, FaultKind};
use crate::machine::inst::{Inst, Kind, Space, Special};
use crate::machine::lanes::{LANES, Lane, NONE};

/// Instructions of one turn of a warp.
const SLICE: u32 = 4096;
/// The same while all that the cluster's warps do is to poll memory.
const SPIN_SLICE: u32 = 256;
/// Instructions that a fragment may run before the others of its warp, if they can run, have their turn.
const FRAGMENT_SLICE: u32 = 1024;

/// What an instruction means for the fragment that ran it.
pub(super) enum Flow {
    /// On to the next instruction.
    Next,
    /// The fragment's state was set; the scheduler decides.
    Stop,
}

impl Worker<'_> {
    /// Gives a warp one turn. Returns whether it executed anything.
    pub(super) fn turn(&mut self, block: usize, index: usize) -> Result<bool, Fault> {
        let mut warp = std::mem::take(&mut self.cluster.blocks[block].warps[index]);
        let before = self.executed;
        self.block = block;
        let result = self.run_warp(&mut warp);
        let result = result.map_err(|(pc, trouble)| self.fault(&warp, pc, trouble));
        self.cluster.blocks[block].warps[index] = warp;
        result.map(|()| self.executed != before)
    }

    /// Completes a fault with who and where.
    pub(super) fn fault(&self, warp: &Warp, pc: u32, trouble: Trouble) -> Fault {
        let code = &self.context.kernel.whole.code;
        let lane = trouble.lane.unwrap_or(warp.exists.trailing_zeros().min(31));
        let linear = warp.index * LANES as u32 + lane;
        let [x, y, _] = self.context.launch.block;
        Fault {
            kind: trouble.kind,
            thread: [linear % x, linear / x % y, linear / x / y],
            block: self.cluster.blocks[warp.block].id,
            line: code.debug.get(pc as usize).copied().unwrap_or(0),
            instruction: code.texts.get(pc as usize).cloned().unwrap_or_default(),
            address: trouble.address,
            buffer: trouble.buffer,
            detail: trouble.detail,
        }
    }

    fn run_warp(&mut self, warp: &mut Warp) -> Result<(), (u32, Trouble)> {
        // Where turns change is a choice of the seed.
        let seed = self.context.options.seed;
        let mut left = if seed == 0 { SLICE } else { SLICE >> (self.random() % 12) };
        if self.cluster.spinning || warp.polled {
            left = left.min(SPIN_SLICE);
        }
        while left > 0 {
            self.wake(warp);
            self.end_waits(warp);
            let merged = merge(warp);
            if merged != 0 || (warp.fragments.len() > 1) != (warp.diverged != u32::MAX) {
                self.note_convergence(warp, merged);
            }
            let Some(chosen) = choose(warp) else { return Ok(()) };
            let (pc, frame) = (warp.fragments[chosen].pc, warp.fragments[chosen].frame);
            // Up to where it can run before it may meet another fragment.
            let mut limit = u32::MAX;
            let mut others = false;
            for (index, other) in warp.fragments.iter().enumerate() {
                if index != chosen && matches!(other.state, State::Ready | State::Warp(_)) {
                    others |= other.state == State::Ready;
                    if other.pc > pc && other.frame == frame {
                        limit = limit.min(other.pc);
                    }
                }
            }
            let mut budget = left.min(FRAGMENT_SLICE);
            let given = budget;
            warp.stamp += 1;
            warp.fragments[chosen].stamp = warp.stamp;
            if warp.pending_registers.is_empty() {
                self.run_fragment::<false>(warp, chosen, limit, &mut budget)?;
            } else {
                self.run_fragment::<true>(warp, chosen, limit, &mut budget)?;
            }
            let used = given - budget;
            self.executed += u64::from(used);
            self.begin_waits(warp, used);
            left -= used.min(left);
            if warp.polled {
                left = left.min(SPIN_SLICE);
            }
            if others && budget == 0 {
                // It used up its slice beside others: let the one that waited longest go first.
                warp.stamp += 1 << 32;
            }
            if self.executed > self.context.options.instruction_budget {
                let detail =
                    format!("the launch may take {} instructions", self.context.options.instruction_budget);
                let pc = warp.fragments.get(chosen).map_or(pc, |fragment| fragment.pc);
                return Err((pc, plain_trouble(FaultKind::BudgetExceeded, 0, detail)));
            }
            if warp.fragments.is_empty() || budget == u32::MAX {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Lanes of a warp have come together, or apart.
    fn note_convergence(&mut self, warp: &mut Warp, merged: u32) {
        self.cluster.time += 1;
        let time = self.cluster.time;
        if warp.fragments.len() <= 1 {
            warp.diverged = u32::MAX;
            return;
        }
        if warp.diverged == u32::MAX {
            warp.diverged = time;
            warp.converged = [time; LANES];
        }
        for lane in lanes_of(merged) {
            warp.converged[lane] = time;
        }
    }

    /// Runs one fragment until it stops, splits, reaches `limit` or uses up its budget. `CHECKED` when some registers
    /// belong to operations in flight.
    fn run_fragment<const CHECKED: bool>(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        limit: u32,
        budget: &mut u32,
    ) -> Result<(), (u32, Trouble)> {
        let context = self.context;
        let insts: &[Inst] = &context.kernel.whole.code.insts;
        let Fragment { mut pc, mask, frame, .. } = warp.fragments[chosen];
        let base = warp.frames[frame as usize].base;
        loop {
            if *budget == 0 {
                break;
            }
            *budget -= 1;
            let inst = &insts[pc as usize];
            let mut active = mask;
            if inst.guard != NONE {
                let bits = warp.words[base + inst.guard as usize];
                active &= if inst.guard_negated { !bits } else { bits };
            }
            let count = &mut self.counts[pc as usize];
            count.warp += 1;
            count.thread += u64::from(active.count_ones());
            if CHECKED && active != 0 {
                check_registers(warp, base, inst, active).map_err(|trouble| (pc, trouble))?;
            }
            match &inst.kind {
                Kind::Alu => {
                    if active != 0 {
                        // SAFETY: the decoder took the function from `unary` and its kin.
                        unsafe { (inst.alu)(&mut warp.words[base..], &inst.slots, active) };
                    }
                    pc += 1;
                }
                Kind::Branch(target) => {
                    if active == mask {
                        pc = *target;
                    } else if active == 0 {
                        pc += 1;
                    } else {
                        self.counters.divergent_branches += 1;
                        self.traffic[pc as usize].divergent += 1;
                        let stamp = warp.stamp;
                        warp.fragments[chosen].mask = mask & !active;
                        warp.fragments[chosen].pc = pc + 1;
                        warp.fragments.push(Fragment {
                            pc: *target,
                            mask: active,
                            frame,
                            state: State::Ready,
                            stamp,
                        });
                        return Ok(());
                    }
                }
                _ if active == 0 => pc += 1,
                _ => {
                    warp.fragments[chosen].pc = pc;
                    self.pc = pc;
                    match self.special(warp, chosen, base, inst, active).map_err(|trouble| (pc, trouble))? {
                        Flow::Next => pc += 1,
                        Flow::Stop => return Ok(()),
                    }
                    if warp.pending_registers.is_empty() == CHECKED {
                        break;
                    }
                }
            }
            if pc >= limit {
                break;
            }
        }
        warp.fragments[chosen].pc = pc;
        Ok(())
    }

    /// Everything that is neither an ALU instruction nor a plain branch.
    fn special(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        base: usize,
        inst: &Inst,
        active: u32,
    ) -> Result<Flow, Trouble> {
        match &inst.kind {
            Kind::Alu | Kind::Branch(_) | Kind::Nop => {}
            Kind::Load(access) => self.load(warp, base, access, active)?,
            Kind::Parameter(access) => self.load(warp, base, access, active)?,
            Kind::Store(access) => self.store(warp, base, access, active)?,
            Kind::Atomic(atomic) => self.atomic(warp, base, atomic, active)?,
            Kind::Mbarrier(op) => return self.mbarrier(warp, chosen, base, inst, op, active),
            Kind::Bulk(op) => return self.bulk(warp, chosen, base, inst, op, active),
            Kind::Matrix(op) => return self.matrix(warp, chosen, base, inst, op, active),
            Kind::LaunchControl(op) => self.launch_control(warp, base, inst, op, active)?,
            Kind::Tcgen05(op) => return self.tcgen05(warp, chosen, base, inst, op, active),
            Kind::Shuffle(shuffle) => return self.shuffle(warp, chosen, base, inst, shuffle, active),
            Kind::Warp(op) => return self.warp_op(warp, chosen, base, inst, op, active),
            Kind::Barrier(barrier) => return self.barrier(warp, chosen, base, inst, barrier, active),
            Kind::ClusterArrive { aligned, relaxed } => {
                return self.cluster_arrive(warp, chosen, active, *aligned, *relaxed);
            }
            Kind::ClusterWait { aligned } => return self.cluster_wait(warp, chosen, active, *aligned),
            Kind::SetRegisters { count } => return self.set_registers(warp, chosen, active, *count),
            Kind::Fence(fence) => self.fence(warp, fence),
            Kind::CopyAsync(copy) => self.copy_async(warp, base, copy, active)?,
            Kind::CopyCommit => {
                for lane in 0..LANES {
                    warp.copy_group[lane] += active >> lane & 1;
                }
            }
            Kind::CopyWait { pending, all } => self.copy_wait(warp, *pending, *all, active)?,
            Kind::Special(special) => {
                self.clock += 1;
                let now = self.clock + self.executed;
                let words = &mut warp.words[base..];
                match special {
                    Special::Clock => u32::store(words, inst.slots.d, active, &[now as u32; LANES]),
                    Special::ClockHigh => {
                        u32::store(words, inst.slots.d, active, &[(now >> 32) as u32; LANES])
                    }
                    Special::Clock64 => u64::store(words, inst.slots.d, active, &[now; LANES]),
                }
            }
            Kind::MapShared { wide, generic } => {
                self.map_shared(warp, base, inst, active, *wide, *generic)?
            }
            Kind::ClusterRank { wide, generic } => {
                let words = &mut warp.words[base..];
                let a = if *wide {
                    u64::load(words, inst.slots.a)
                } else {
                    u32::load(words, inst.slots.a).map(u64::from)
                };
                let own = self.cluster.blocks[warp.block].rank;
                let ranks = a.map(|address| {
                    let address = if *generic { address.wrapping_sub(SHARED_WINDOW) } else { address };
                    match (address >> super::spot::RANK_SHIFT) as u32 {
                        0 => own,
                        rank => rank - 1,
                    }
                });
                u32::store(words, inst.slots.d, active, &ranks);
            }
            Kind::IsSpace(space) => self.is_space(warp, base, inst, active, *space),
            Kind::Yield => {
                // Ends the turn, so that whoever is waited for can go on.
                warp.fragments[chosen].pc += 1;
                warp.stamp += 1 << 32;
                return Ok(Flow::Stop);
            }
            Kind::BranchTable(targets) => return branch_table(warp, chosen, base, inst, targets, active),
            Kind::Call(call) => return self.call(warp, chosen, base, inst, call, active),
            Kind::Return => {
                self.do_return(warp, chosen, active);
                return Ok(Flow::Stop);
            }
            Kind::Exit => {
                if !self.cluster.flights.is_empty() {
                    self.check_exit(warp, active)?;
                }
                self.exit(warp, chosen, active);
                if warp.live == 0 {
                    self.check_block_exit(warp)?;
                }
                return Ok(Flow::Stop);
            }
            Kind::Trap => {
                let lane = active.trailing_zeros();
                return Err(plain_trouble(FaultKind::Trap, lane, "the program ended itself"));
            }
        }
        Ok(Flow::Next)
    }

    fn exit(&mut self, warp: &mut Warp, chosen: usize, active: u32) {
        let fragment = &mut warp.fragments[chosen];
        fragment.mask &= !active;
        fragment.pc += 1;
        if fragment.mask == 0 {
            warp.fragments.swap_remove(chosen);
        }
        self.cluster_exit(warp, active & warp.live);
        warp.live &= !active;
        self.changes += 1;
        // Whoever waits for lanes that are gone looks again.
        for fragment in &mut warp.fragments {
            if matches!(fragment.state, State::Warp(_)) {
                fragment.state = State::Ready;
            }
        }
    }

    fn is_space(&self, warp: &mut Warp, base: usize, inst: &Inst, active: u32, space: Space) {
        let words = &mut warp.words[base..];
        let inside = u64::load(words, inst.slots.a).map(|address| {
            let shared = address.wrapping_sub(SHARED_WINDOW);
            let local = address.wrapping_sub(crate::machine::decode::LOCAL_WINDOW) < WINDOW;
            let param = address.wrapping_sub(crate::machine::decode::PARAM_WINDOW) < WINDOW;
            match space {
                Space::Shared => shared < 1 << super::spot::RANK_SHIFT,
                Space::SharedCluster => shared < WINDOW,
                Space::Local => local,
                Space::Param => param,
                Space::Global | Space::Const => {
                    let constant = self.context.kernel.whole.variables.iter().any(|variable| {
                        !variable.writable
                            && address.wrapping_sub(variable.address) < variable.bytes.len() as u64
                    });
                    shared >= WINDOW && !local && constant == (space == Space::Const)
                }
                Space::Generic => true,
            }
        });
        bool::store(words, inst.slots.d, active, &inside);
    }

    fn map_shared(
        &self,
        warp: &mut Warp,
        base: usize,
        inst: &Inst,
        active: u32,
        wide: bool,
        generic: bool,
    ) -> Result<(), Trouble> {
        let words = &mut warp.words[base..];
        let a =
            if wide { u64::load(words, inst.slots.a) } else { u32::load(words, inst.slots.a).map(u64::from) };
        let ranks = u32::load(words, inst.slots.b);
        let mut result = [0; LANES];
        for lane in 0..LANES {
            if active >> lane & 1 == 0 {
                continue;
            }
            if ranks[lane] as usize >= self.cluster.blocks.len() {
                let detail =
                    format!("rank {} in a cluster of {} blocks", ranks[lane], self.cluster.blocks.len());
                return Err(trouble(FaultKind::UndefinedOperand, lane as u32, a[lane], detail));
            }
            let window = if generic { SHARED_WINDOW } else { 0 };
            let inside = a[lane].wrapping_sub(window) & ((1 << super::spot::RANK_SHIFT) - 1);
            result[lane] = window + inside + ((u64::from(ranks[lane]) + 1) << super::spot::RANK_SHIFT);
        }
        if wide {
            u64::store(words, inst.slots.d, active, &result);
        } else {
            u32::store(words, inst.slots.d, active, &result.map(|value| value as u32));
        }
        Ok(())
    }
}

/// Whether an instruction names a register that an operation in flight will write. wgmma instructions look for
/// themselves: they may go on accumulating.
#[cold]
fn check_registers(warp: &Warp, base: usize, inst: &Inst, active: u32) -> Result<(), Trouble> {
    let slots = &inst.slots;
    let mut named = vec![slots.d, slots.a, slots.b, slots.c, slots.e];
    match &inst.kind {
        Kind::Matrix(_) => return Ok(()),
        Kind::Load(access) | Kind::Store(access) | Kind::Parameter(access) => {
            named.push(access.address.base);
            named.extend(access.elements.iter().map(|element| element.slot));
        }
        Kind::Atomic(atomic) => {
            named.push(atomic.address.base);
            named.extend(atomic.results.iter().chain(&atomic.operands).map(|element| element.slot));
        }
        Kind::Tcgen05(op) => named.extend(super::tcgen05::registers(op)),
        Kind::Call(call) => named.extend(call.arguments.iter().map(|(slot, _)| *slot)),
        _ => {}
    }
    let touched = named.into_iter().filter(|slot| *slot != NONE).any(|slot| {
        let word = base + slot as usize;
        warp.pending_registers
            .iter()
            .any(|pending| word >= pending.first && word - pending.first < pending.words)
    });
    if touched {
        let detail = "a register that a wgmma or tcgen05.ld in flight will write is used before \
                      `wgmma.wait_group` or `tcgen05.wait::ld`";
        return Err(plain_trouble(FaultKind::AsyncNotWaited, active.trailing_zeros(), detail));
    }
    Ok(())
}

fn branch_table(
    warp: &mut Warp,
    chosen: usize,
    base: usize,
    inst: &Inst,
    targets: &[u32],
    active: u32,
) -> Result<Flow, Trouble> {
    let indices = u32::load(&warp.words[base..], inst.slots.a);
    let fragment = warp.fragments[chosen];
    let mut left = active;
    let mut parts = Vec::new();
    while left != 0 {
        let first = left.trailing_zeros();
        let index = indices[first as usize & 31];
        let Some(target) = targets.get(index as usize) else {
            let detail = format!("index {index} into a table of {} labels", targets.len());
            return Err(plain_trouble(FaultKind::BadTarget, first, detail));
        };
        let same = (0..LANES)
            .filter(|lane| left >> lane & 1 != 0 && indices[*lane] == index)
            .fold(0, |mask, lane| mask | 1 << lane);
        left &= !same;
        parts.push(Fragment { pc: *target, mask: same, ..fragment });
    }
    let rest = fragment.mask & !active;
    if rest != 0 {
        parts.push(Fragment { pc: fragment.pc + 1, mask: rest, ..fragment });
    }
    warp.fragments.swap_remove(chosen);
    warp.fragments.extend(parts);
    Ok(Flow::Stop)
}

/// Merges fragments that stand at the same place of the same frame. Their lanes.
fn merge(warp: &mut Warp) -> u32 {
    let mut merged = 0;
    let mut index = 0;
    while index < warp.fragments.len() {
        let mut other = index + 1;
        while other < warp.fragments.len() {
            let (a, b) = (warp.fragments[index], warp.fragments[other]);
            let movable = |state| matches!(state, State::Ready | State::Warp(_));
            if a.pc == b.pc && a.frame == b.frame && movable(a.state) && movable(b.state) {
                warp.fragments[index].mask |= b.mask;
                merged |= warp.fragments[index].mask;
                warp.fragments[index].state = State::Ready;
                warp.fragments.swap_remove(other);
            } else {
                other += 1;
            }
        }
        index += 1;
    }
    merged
}

/// The fragment to run: the lowest program counter, unless one has waited for more than a slice of another.
fn choose(warp: &Warp) -> Option<usize> {
    let ready = || warp.fragments.iter().enumerate().filter(|(_, fragment)| fragment.state == State::Ready);
    let starved = ready().filter(|(_, fragment)| fragment.stamp >> 32 != warp.stamp >> 32);
    starved
        .min_by_key(|(_, fragment)| fragment.stamp)
        .or_else(|| ready().min_by_key(|(_, fragment)| fragment.pc))
        .map(|(index, _)| index)
}
