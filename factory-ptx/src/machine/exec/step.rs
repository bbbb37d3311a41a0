//! The warp scheduler and the main loop.

use std::cell::Cell;

use super::state::{Fragment, Frame, State, Warp};
use super::{Trouble, Worker, plain_trouble, trouble};
use crate::machine::decode::{FUNCTION_WINDOW, Fill, LOCAL_LIMIT, LOCAL_START, SHARED_WINDOW, WINDOW};
use crate::machine::error::{Fault, FaultKind};
use crate::machine::inst::{Call, Inst, Kind, Space, Special};
use crate::machine::lanes::{LANES, Lane, NONE};

/// Instructions of one turn of a warp.
const SLICE: u32 = 4096;
/// Instructions that a fragment may run while others of its warp could run too.
const FRAGMENT_SLICE: u32 = 1024;
/// Deepest nesting of calls.
const CALL_LIMIT: usize = 512;
/// The most register words of one warp, all frames together.
const WORDS_LIMIT: usize = 1 << 24;

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
        let mut left = SLICE;
        while left > 0 {
            self.wake(warp);
            merge(warp);
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
            let mut budget = if others { left.min(FRAGMENT_SLICE) } else { left };
            let given = budget;
            warp.stamp += 1;
            warp.fragments[chosen].stamp = warp.stamp;
            self.run_fragment(warp, chosen, limit, &mut budget)?;
            let used = given - budget;
            self.executed += u64::from(used);
            left -= used.min(left);
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

    /// Runs one fragment until it stops, splits, reaches `limit` or uses up its budget.
    fn run_fragment(
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
                    match self.special(warp, chosen, base, inst, active).map_err(|trouble| (pc, trouble))? {
                        Flow::Next => pc += 1,
                        Flow::Stop => return Ok(()),
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
            Kind::Shuffle(shuffle) => return self.shuffle(warp, chosen, base, inst, shuffle, active),
            Kind::Warp(op) => return self.warp_op(warp, chosen, base, inst, op, active),
            Kind::Barrier(barrier) => return self.barrier(warp, chosen, base, inst, barrier, active),
            Kind::ClusterArrive => self.cluster_arrive(warp, active)?,
            Kind::ClusterWait => return self.cluster_wait(warp, chosen, active),
            Kind::Fence => self.fence(warp),
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
                self.exit(warp, chosen, active);
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
        warp.live &= !active;
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

    // --- Calls --------------------------------------------------------------------------------------------------

    fn call(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        base: usize,
        inst: &Inst,
        call: &Call,
        active: u32,
    ) -> Result<Flow, Trouble> {
        let pc = warp.fragments[chosen].pc;
        let first = active.trailing_zeros();
        let (function, mask) = match call.function {
            Some(function) => (function, active),
            None => {
                // Lanes that call the same function as the first one; the others come again to this instruction.
                let targets = u64::load(&warp.words[base..], inst.slots.a);
                let target = targets[first as usize & 31];
                let index = target.wrapping_sub(FUNCTION_WINDOW) / 16;
                let valid =
                    target >= FUNCTION_WINDOW && target % 16 == 0 && call.targets.contains(&(index as u32));
                if !valid {
                    return Err(trouble(
                        FaultKind::BadTarget,
                        first,
                        target,
                        "no function that can be called",
                    ));
                }
                let same = (0..LANES)
                    .filter(|lane| active >> lane & 1 != 0 && targets[*lane] == target)
                    .fold(0, |mask, lane| mask | 1 << lane);
                (index as u32, same)
            }
        };
        let callee = &self.context.kernel.whole.functions[function as usize];
        if callee.params.len() != call.arguments.len() || callee.returns.len() < call.results.len() {
            let detail = format!("`{}` takes {} arguments", callee.name, callee.params.len());
            return Err(plain_trouble(FaultKind::BadTarget, first, detail));
        }
        let caller = warp.fragments[chosen].frame;
        let local = warp.frames[caller as usize].local
            + self.context.kernel.whole.functions[warp.frames[caller as usize].function as usize].local;
        let frame = self
            .enter(warp, function, mask, local.next_multiple_of(16))
            .map_err(|detail| plain_trouble(FaultKind::CallDepth, first, detail))?;
        warp.frames[frame].parent = caller;
        warp.frames[frame].return_pc = pc + 1;
        let to = warp.frames[frame].base;
        for (from, param) in call.arguments.iter().zip(&callee.params) {
            copy_rows(
                &mut warp.words,
                base + from.0 as usize,
                to + param.0 as usize,
                from.1.min(param.1),
                mask,
            );
        }
        let rest = warp.fragments[chosen].mask & !mask;
        let stamp = warp.stamp;
        let entered = Fragment { pc: callee.start, mask, frame: frame as u32, state: State::Ready, stamp };
        if rest == 0 {
            warp.fragments[chosen] = entered;
        } else {
            let fragment = &mut warp.fragments[chosen];
            fragment.mask = rest;
            // Lanes that the guard held back go on behind the call; those with other targets call next.
            if rest & active == 0 {
                fragment.pc = pc + 1;
            } else if rest & !active != 0 {
                let behind = Fragment { pc: pc + 1, mask: rest & !active, ..*fragment };
                fragment.mask = rest & active;
                warp.fragments.push(behind);
            }
            warp.fragments.push(entered);
        }
        Ok(Flow::Stop)
    }

    fn do_return(&mut self, warp: &mut Warp, chosen: usize, active: u32) {
        let fragment = warp.fragments[chosen];
        let frame = warp.frames[fragment.frame as usize].clone();
        let insts = &self.context.kernel.whole.code.insts;
        let callee = &self.context.kernel.whole.functions[frame.function as usize];
        let parent = warp.frames[frame.parent as usize].base;
        if let Kind::Call(call) = &insts[frame.return_pc as usize - 1].kind {
            for (result, from) in call.results.iter().zip(&callee.returns) {
                let (source, target) = (frame.base + from.0 as usize, parent + result.0 as usize);
                copy_rows(&mut warp.words, source, target, result.1.min(from.1), active);
            }
        }
        let returned = Fragment { pc: frame.return_pc, mask: active, frame: frame.parent, ..fragment };
        let rest = fragment.mask & !active;
        if rest == 0 {
            warp.fragments[chosen] = returned;
        } else {
            warp.fragments[chosen].mask = rest;
            warp.fragments[chosen].pc += 1;
            warp.fragments.push(returned);
        }
        let frame = &mut warp.frames[fragment.frame as usize];
        frame.lanes &= !active;
        while warp.frames.len() > 1 && warp.frames.last().is_some_and(|frame| frame.lanes == 0) {
            if let Some(frame) = warp.frames.pop() {
                warp.words.truncate(frame.base);
            }
        }
    }

    /// Opens a frame of a function for some lanes.
    pub(super) fn enter(
        &mut self,
        warp: &mut Warp,
        function: u32,
        lanes: u32,
        local: u64,
    ) -> Result<usize, String> {
        let context = self.context;
        let decoded = &context.kernel.whole.functions[function as usize];
        let base = warp.words.len();
        if warp.frames.len() >= CALL_LIMIT || base + decoded.words as usize > WORDS_LIMIT {
            return Err(format!("more than {CALL_LIMIT} nested calls"));
        }
        let need = local + decoded.local;
        if need > LOCAL_LIMIT {
            return Err(format!("more than {LOCAL_LIMIT} bytes of local memory a thread"));
        }
        warp.words.resize(base + decoded.words as usize, 0);
        let words = &mut warp.words[base..];
        for &(slot, rows, value) in &decoded.image {
            let slot = slot as usize;
            if rows == 0 {
                words[slot] = value as u32;
                continue;
            }
            for row in 0..rows as usize {
                let part = if row < 2 { (value >> (32 * row)) as u32 } else { 0 };
                words[slot + row * LANES..slot + (row + 1) * LANES].fill(part);
            }
        }
        let linear = warp.index * LANES as u32;
        for &(slot, fill) in &decoded.fills {
            let slot = slot as usize;
            let block = &self.cluster.blocks[warp.block];
            let launch = context.launch;
            let [x, y, _] = launch.block;
            let value: u32 = match fill {
                Fill::IsExplicitCluster => {
                    words[slot] = if launch.cluster == [1, 1, 1] { 0 } else { u32::MAX };
                    continue;
                }
                Fill::Tid(axis) => {
                    for lane in 0..LANES {
                        let thread = linear + lane as u32;
                        words[slot + lane] = [thread % x, thread / x % y, thread / x / y][usize::from(axis)];
                    }
                    words[slot + LANES..slot + 2 * LANES].fill(0);
                    continue;
                }
                Fill::LaneId
                | Fill::LaneMaskEq
                | Fill::LaneMaskLt
                | Fill::LaneMaskLe
                | Fill::LaneMaskGt
                | Fill::LaneMaskGe => {
                    for lane in 0..LANES {
                        let bit = 1u32 << lane;
                        words[slot + lane] = match fill {
                            Fill::LaneId => lane as u32,
                            Fill::LaneMaskEq => bit,
                            Fill::LaneMaskLt => bit - 1,
                            Fill::LaneMaskLe => bit | (bit - 1),
                            Fill::LaneMaskGt => !(bit | (bit - 1)),
                            _ => !(bit - 1),
                        };
                    }
                    words[slot + LANES..slot + 2 * LANES].fill(0);
                    continue;
                }
                Fill::NTid(axis) => launch.block[usize::from(axis)],
                Fill::CtaId(axis) => block.id[usize::from(axis)],
                Fill::NCtaId(axis) => launch.grid[usize::from(axis)],
                Fill::WarpId => warp.index,
                Fill::NWarpId => launch.block.iter().product::<u32>().div_ceil(LANES as u32),
                Fill::SmId => {
                    let [gx, gy, _] = launch.grid.map(u64::from);
                    let [bx, by, bz] = block.id.map(u64::from);
                    ((bx + gx * (by + gy * bz)) % 132) as u32
                }
                Fill::NSmId => 132,
                Fill::GridId => 1,
                Fill::ClusterId(axis) => block.id[usize::from(axis)] / launch.cluster[usize::from(axis)],
                Fill::NClusterId(axis) => launch.grid[usize::from(axis)] / launch.cluster[usize::from(axis)],
                Fill::ClusterCtaId(axis) => block.id[usize::from(axis)] % launch.cluster[usize::from(axis)],
                Fill::ClusterNCtaId(axis) => launch.cluster[usize::from(axis)],
                Fill::ClusterCtaRank => block.rank,
                Fill::ClusterNCtaRank => launch.cluster.iter().product(),
                Fill::DynamicShared => launch.shared_bytes,
                Fill::TotalShared => context.shared_bytes as u32,
                Fill::Local(offset) => (LOCAL_START + local + offset) as u32,
            };
            words[slot..slot + LANES].fill(value);
            words[slot + LANES..slot + 2 * LANES].fill(0);
        }
        if decoded.local > 0 {
            grow_local(warp, need as usize);
            let size = warp.local_size;
            for lane in 0..LANES {
                if lanes >> lane & 1 != 0 {
                    let start = lane * size + local as usize;
                    let shadow = &warp.local_shadow[start..start + decoded.local as usize];
                    shadow.iter().for_each(|state| state.set(crate::machine::memory::NEVER));
                }
            }
        }
        warp.frames.push(Frame { base, function, lanes, parent: 0, return_pc: 0, local });
        Ok(warp.frames.len() - 1)
    }
}

/// Makes room for so many bytes of local memory a lane.
fn grow_local(warp: &mut Warp, need: usize) {
    if need <= warp.local_size {
        return;
    }
    let (old, new) = (warp.local_size, need.next_multiple_of(64));
    let mut data = vec![Cell::new(0u128); new * LANES / 16];
    let mut shadow = vec![Cell::new(0u8); new * LANES];
    for lane in 0..LANES {
        // Sizes are multiples of 64, so lanes begin at whole words.
        data[lane * new / 16..lane * new / 16 + old / 16]
            .clone_from_slice(&warp.local[lane * old / 16..(lane + 1) * old / 16]);
        shadow[lane * new..lane * new + old]
            .clone_from_slice(&warp.local_shadow[lane * old..(lane + 1) * old]);
    }
    warp.local = data;
    warp.local_shadow = shadow;
    warp.local_size = new;
}

/// Copies rows of some lanes between two places of a warp's words.
fn copy_rows(words: &mut [u32], from: usize, to: usize, rows: u32, mask: u32) {
    for row in 0..rows as usize {
        for lane in 0..LANES {
            if mask >> lane & 1 != 0 {
                words[to + row * LANES + lane] = words[from + row * LANES + lane];
            }
        }
    }
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

/// Merges fragments that stand at the same place of the same frame.
fn merge(warp: &mut Warp) {
    let mut index = 0;
    while index < warp.fragments.len() {
        let mut other = index + 1;
        while other < warp.fragments.len() {
            let (a, b) = (warp.fragments[index], warp.fragments[other]);
            let movable = |state| matches!(state, State::Ready | State::Warp(_));
            if a.pc == b.pc && a.frame == b.frame && movable(a.state) && movable(b.state) {
                warp.fragments[index].mask |= b.mask;
                warp.fragments[index].state = State::Ready;
                warp.fragments.swap_remove(other);
            } else {
                other += 1;
            }
        }
        index += 1;
    }
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
