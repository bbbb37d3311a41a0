//! Barriers of blocks and clusters, fences, and what they order.

use super::clock::Clock;
use super::state::{State, Warp};
use super::step::Flow;
use super::{Trouble, Worker, plain_trouble};
use crate::machine::error::FaultKind;
use crate::machine::inst::{Barrier, BarrierKind, Inst};
use crate::machine::lanes::{LANES, Lane, NONE};

impl Warp {
    /// Joins what others had seen into what this warp has seen.
    pub(super) fn see(&mut self, clock: &Clock, warps: u16) {
        self.clock.join(clock);
        self.update_seen_all(warps);
    }

    /// `warps`: of a block.
    pub(super) fn update_seen_all(&mut self, warps: u16) {
        let (first, me) = (self.block * usize::from(warps), self.index as usize);
        let own = self.clock.seen.iter().skip(first).take(usize::from(warps)).enumerate();
        self.seen_all =
            own.filter(|(index, _)| *index != me).map(|(_, seen)| *seen).min().unwrap_or(u32::MAX);
    }
}

impl Worker<'_> {
    pub(super) fn barrier(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        base: usize,
        inst: &Inst,
        barrier: &Barrier,
        active: u32,
    ) -> Result<Flow, Trouble> {
        let fragment = warp.fragments[chosen];
        let first = active.trailing_zeros();
        if barrier.aligned && warp.live & !active != 0 {
            if fragment.mask & !active & warp.live != 0 {
                let lane = (fragment.mask & !active).trailing_zeros();
                let detail = "the guard keeps this lane from a barrier that other lanes of its warp reach";
                return Err(plain_trouble(FaultKind::DivergentBarrier, lane, detail));
            }
            warp.fragments[chosen].state = State::Warp(warp.live);
            return Ok(Flow::Stop);
        }
        let words = &warp.words[base..];
        let ids = u32::load(words, inst.slots.a);
        let id = ids[first as usize & 31];
        let counts = (inst.slots.b != NONE).then(|| u32::load(words, inst.slots.b));
        let uniform = super::collective::lanes_of(active).all(|lane| {
            ids[lane] == id && counts.is_none_or(|counts| counts[lane] == counts[first as usize & 31])
        });
        if !uniform {
            let detail = "lanes of one warp name different barriers or thread counts";
            return Err(plain_trouble(FaultKind::DivergentBarrier, first, detail));
        }
        if id >= 16 {
            let detail = format!("barrier {id}: there are 16");
            return Err(plain_trouble(FaultKind::UndefinedOperand, first, detail));
        }
        let threads = self.context.launch.block.iter().product::<u32>();
        let whole = threads.next_multiple_of(LANES as u32);
        let expected = match counts {
            None => whole,
            Some(counts) => counts[first as usize & 31],
        };
        if expected == 0 || expected % 32 != 0 || expected > whole {
            let detail = format!("a thread count of {expected} (a multiple of 32 up to {whole} is needed)");
            return Err(plain_trouble(FaultKind::MismatchedBarrier, first, detail));
        }
        let predicate = match barrier.kind {
            BarrierKind::Popc { negated } | BarrierKind::And { negated } | BarrierKind::Or { negated } => {
                let bits = words[inst.slots.c as usize];
                if negated { !bits } else { bits }
            }
            _ => 0,
        };
        let block = &mut self.cluster.blocks[warp.block];
        let warps = block.warps.len();
        let state = &mut block.barriers[id as usize];
        if state.expected == 0 {
            state.expected = expected;
            state.arrived = 0;
            state.lanes = vec![0; warps];
            state.kind = None;
            state.popc = 0;
            state.and = true;
            state.or = false;
            state.joining = Clock::default();
        } else if state.expected != expected {
            let detail =
                format!("barrier {id} waits for {} threads, this arrival names {expected}", state.expected);
            return Err(plain_trouble(FaultKind::MismatchedBarrier, first, detail));
        }
        let arriving = barrier.kind == BarrierKind::Arrive;
        let discriminant = std::mem::discriminant(&barrier.kind);
        if !arriving {
            match &state.kind {
                Some(kind) if std::mem::discriminant(kind) != discriminant => {
                    let detail =
                        format!("barrier {id} is used as `sync` and as `red`, or with different reductions");
                    return Err(plain_trouble(FaultKind::MismatchedBarrier, first, detail));
                }
                _ => state.kind = Some(barrier.kind),
            }
        }
        let before = &mut state.lanes[warp.index as usize];
        if *before & active != 0 {
            let detail = format!("it arrives at barrier {id} again before the barrier has completed");
            return Err(plain_trouble(FaultKind::MismatchedBarrier, first, detail));
        }
        // Hardware counts whole warps: lanes that the block's size leaves out are there from the first arrival.
        let absent = if *before == 0 { (!warp.exists).count_ones() } else { 0 };
        let exited = if *before == 0 && !self.context.options.checks.exited_at_barrier {
            (warp.exists & !warp.live).count_ones()
        } else {
            0
        };
        *before |= active;
        state.arrived += active.count_ones() + absent + exited;
        state.popc += (predicate & active).count_ones();
        state.and &= predicate & active == active;
        state.or |= predicate & active != 0;
        state.pc = fragment.pc;
        let generation = state.generation;
        if state.arrived > expected {
            let detail =
                format!("{} threads arrive at barrier {id}, which waits for {expected}", state.arrived);
            return Err(plain_trouble(FaultKind::MismatchedBarrier, first, detail));
        }
        let complete = state.arrived == expected;
        self.release(warp);
        self.cluster.blocks[warp.block].barriers[id as usize].joining.join(&warp.clock);
        if !arriving {
            // Lanes that the guard held back go on; those that arrived wait.
            let rest = fragment.mask & !active;
            warp.fragments[chosen].state = State::Barrier { id: id as u8, generation };
            warp.fragments[chosen].mask = active;
            if rest != 0 {
                warp.fragments.push(super::state::Fragment {
                    pc: fragment.pc + 1,
                    mask: rest,
                    state: State::Ready,
                    ..fragment
                });
            }
        }
        if complete {
            self.complete_barrier(warp.block, id as usize);
        }
        Ok(if arriving { Flow::Next } else { Flow::Stop })
    }

    fn complete_barrier(&mut self, block: usize, id: usize) {
        let state = &mut self.cluster.blocks[block].barriers[id];
        state.result = (state.popc, state.and, state.or);
        state.joined = std::mem::take(&mut state.joining);
        state.expected = 0;
        state.generation += 1;
        self.cluster.time += 1;
        self.cluster.idle = 0;
        self.changes += 1;
        self.counters.barriers += 1;
    }

    /// Makes fragments ready whose barrier has completed.
    pub(super) fn wake(&mut self, warp: &mut Warp) {
        for index in 0..warp.fragments.len() {
            let fragment = warp.fragments[index];
            match fragment.state {
                State::Barrier { id, generation } => {
                    let state = &self.cluster.blocks[warp.block].barriers[usize::from(id)];
                    if state.generation == generation {
                        continue;
                    }
                    let (popc, and, or) = state.result;
                    warp.see(&state.joined, self.cluster.warps);
                    let base = warp.frames[fragment.frame as usize].base;
                    let inst = &self.context.kernel.whole.code.insts[fragment.pc as usize];
                    let words = &mut warp.words[base..];
                    if let crate::machine::inst::Kind::Barrier(barrier) = &inst.kind {
                        match barrier.kind {
                            BarrierKind::Popc { .. } => {
                                u32::store(words, inst.slots.d, fragment.mask, &[popc; LANES]);
                            }
                            BarrierKind::And { .. } if inst.slots.d != NONE => {
                                bool::store(words, inst.slots.d, fragment.mask, &[and; LANES]);
                            }
                            BarrierKind::Or { .. } if inst.slots.d != NONE => {
                                bool::store(words, inst.slots.d, fragment.mask, &[or; LANES]);
                            }
                            _ => {}
                        }
                    }
                    warp.fragments[index].state = State::Ready;
                    warp.fragments[index].pc += 1;
                }
                State::Cluster(generation) if self.cluster.generation != generation => {
                    warp.see(&self.cluster.joined, self.cluster.warps);
                    warp.fragments[index].state = State::Ready;
                    warp.fragments[index].pc += 1;
                }
                State::TensorMemory(changes) if self.cluster.tensor_changes != changes => {
                    warp.fragments[index].state = State::Ready;
                }
                State::Products(needed) if self.mates_have_issued(warp, needed) => {
                    warp.fragments[index].state = State::Ready;
                }
                State::Mbarrier { offset, phase } => {
                    let object = self.cluster.blocks[warp.block].mbarriers.get(&(offset as usize));
                    if object.is_none_or(|object| object.phase != phase) {
                        warp.fragments[index].state = State::Ready;
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether all lanes of the warp stand at an aligned instruction; otherwise those that do wait for the rest.
    pub(super) fn aligned(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        active: u32,
        what: &str,
    ) -> Result<bool, Trouble> {
        if warp.live & !active == 0 {
            return Ok(true);
        }
        let fragment = &mut warp.fragments[chosen];
        if fragment.mask & !active & warp.live != 0 {
            let lane = (fragment.mask & !active).trailing_zeros();
            let detail = format!("the guard keeps this lane from {what} that other lanes of its warp reach");
            return Err(plain_trouble(FaultKind::DivergentBarrier, lane, detail));
        }
        fragment.state = State::Warp(warp.live);
        Ok(false)
    }

    pub(super) fn cluster_arrive(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        active: u32,
        aligned: bool,
        relaxed: bool,
    ) -> Result<Flow, Trouble> {
        if aligned && !self.aligned(warp, chosen, active, "an aligned cluster barrier")? {
            return Ok(Flow::Stop);
        }
        if warp.cluster_arrived & active != 0 {
            let lane = (warp.cluster_arrived & active).trailing_zeros();
            let detail = "it arrives at the cluster barrier twice without a wait";
            return Err(plain_trouble(FaultKind::MismatchedBarrier, lane, detail));
        }
        if relaxed {
            // Only what a fence has released goes along.
            let agent = usize::from(self.agent(warp));
            warp.clock.see_done(agent, self.cluster.time);
            self.cluster.time += 1;
            let (inits, done) = (warp.clock.inits.clone(), warp.clock.done.clone());
            self.cluster.joining.join(&Clock { inits, done, ..Clock::default() });
            if let Some(fenced) = &warp.fenced[1] {
                self.cluster.joining.join(fenced);
            }
        } else {
            self.release(warp);
            self.cluster.joining.join(&warp.clock);
        }
        warp.cluster_arrived |= active;
        warp.arrived_generation = self.cluster.generation;
        self.cluster.arrived += active.count_ones();
        self.complete_cluster_barrier();
        Ok(Flow::Next)
    }

    /// Lanes exit: the cluster barrier does not wait for them.
    pub(super) fn cluster_exit(&mut self, warp: &Warp, exiting: u32) {
        let waiting = warp.arrived_generation == self.cluster.generation;
        let arrived = if waiting { warp.cluster_arrived & exiting } else { 0 };
        self.cluster.departed += arrived.count_ones();
        self.cluster.expected -= (exiting & !arrived).count_ones();
        self.complete_cluster_barrier();
    }

    fn complete_cluster_barrier(&mut self) {
        if self.cluster.arrived == self.cluster.expected && self.cluster.arrived > 0 {
            self.cluster.arrived = 0;
            self.cluster.expected -= self.cluster.departed;
            self.cluster.departed = 0;
            self.cluster.idle = 0;
            self.changes += 1;
            self.cluster.generation += 1;
            self.cluster.joined = std::mem::take(&mut self.cluster.joining);
            self.cluster.time += 1;
            self.counters.barriers += self.cluster.blocks.len() as u64;
        }
    }

    pub(super) fn cluster_wait(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        active: u32,
        aligned: bool,
    ) -> Result<Flow, Trouble> {
        if aligned && !self.aligned(warp, chosen, active, "an aligned cluster barrier")? {
            return Ok(Flow::Stop);
        }
        if warp.cluster_arrived & active != active {
            let lane = (active & !warp.cluster_arrived).trailing_zeros();
            let detail = "it waits at the cluster barrier without having arrived";
            return Err(plain_trouble(FaultKind::MismatchedBarrier, lane, detail));
        }
        warp.cluster_arrived &= !active;
        let fragment = warp.fragments[chosen];
        let generation = warp.arrived_generation;
        let rest = fragment.mask & !active;
        warp.fragments[chosen].mask = active;
        warp.fragments[chosen].state = State::Cluster(generation);
        if rest != 0 {
            warp.fragments.push(super::state::Fragment { pc: fragment.pc + 1, mask: rest, ..fragment });
        }
        Ok(Flow::Stop)
    }

    /// `setmaxnreg`: no effect on values, but wrong counts and lone warps are.
    pub(super) fn set_registers(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        active: u32,
        count: u32,
    ) -> Result<Flow, Trouble> {
        if !self.aligned(warp, chosen, active, "`setmaxnreg`")? {
            return Ok(Flow::Stop);
        }
        if !(24..=256).contains(&count) || !count.is_multiple_of(8) {
            let detail = format!("{count} registers (a multiple of 8 from 24 to 256)");
            return Err(plain_trouble(FaultKind::UndefinedOperand, active.trailing_zeros(), detail));
        }
        Ok(Flow::Next)
    }
}
