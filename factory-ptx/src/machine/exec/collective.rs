//! Shuffles, votes, matches, reductions over a warp.

use super::state::{State, Warp};
use super::step::Flow;
use super::{Trouble, Worker, plain_trouble};
use crate::machine::error::FaultKind;
use crate::machine::inst::{Inst, Kind, ReduceOp, Shuffle, ShuffleMode, WarpOp, WarpOpKind};
use crate::machine::lanes::{LANES, Lane, NONE};
use crate::machine::number::extremum;

/// The lanes of a mask, lowest first.
pub(super) fn lanes_of(mask: u32) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |lane| mask >> lane & 1 != 0)
}

impl Worker<'_> {
    /// Waits until all lanes that the member mask names, and that are alive, stand at this instruction.
    /// `None` when they do; otherwise the fragment was put aside.
    fn gather(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        base: usize,
        members: u32,
        active: u32,
    ) -> Result<bool, Trouble> {
        let masks = u32::load(&warp.words[base..], members);
        let mut wanted = 0;
        for lane in lanes_of(active) {
            if masks[lane] >> lane & 1 == 0 {
                let detail = format!("the lane is not in its own member mask {:#010x}", masks[lane]);
                return Err(plain_trouble(FaultKind::InactiveLane, lane as u32, detail));
            }
            wanted |= masks[lane];
        }
        // Lanes of a narrower group that stand here too are none of the group's business.
        if wanted & warp.live & !active != 0 {
            let fragment = &mut warp.fragments[chosen];
            if fragment.mask & wanted & !active != 0 {
                // Held back by the guard: they will never come.
                let lane = (fragment.mask & wanted & !active).trailing_zeros();
                let detail = "the member mask names this lane, and the guard keeps it from taking part";
                return Err(plain_trouble(FaultKind::InactiveLane, lane, detail));
            }
            fragment.state = State::Warp(wanted);
            return Ok(false);
        }
        if warp.diverged != u32::MAX {
            // Lanes have converged: what they did before is ordered.
            self.cluster.time += 1;
            for lane in lanes_of(active) {
                warp.converged[lane] = self.cluster.time;
            }
        }
        Ok(true)
    }

    /// `bar.warp.sync`: lanes may meet at different instructions. Whether all are there; those elsewhere go on.
    fn synchronise_lanes(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        base: usize,
        members: u32,
        active: u32,
    ) -> bool {
        let first = active.trailing_zeros() as usize & 31;
        let wanted = u32::load(&warp.words[base..], members)[first] & warp.live;
        let insts = &self.context.kernel.whole.code.insts;
        let stands = |fragment: &super::state::Fragment| {
            let here = &insts[fragment.pc as usize].kind;
            matches!(fragment.state, State::Warp(mask) if mask & wanted == wanted)
                && matches!(here, Kind::Warp(op) if op.op == WarpOpKind::Sync)
        };
        let others = warp.fragments.iter().enumerate().filter(|(index, _)| *index != chosen);
        let there = others
            .filter(|(_, fragment)| stands(fragment) && fragment.mask & wanted == fragment.mask)
            .fold(0, |mask, (_, fragment)| mask | fragment.mask);
        if there == 0 || (there | active) & wanted != wanted || active & !wanted != 0 {
            return false;
        }
        for index in 0..warp.fragments.len() {
            let fragment = warp.fragments[index];
            if index != chosen && stands(&fragment) && fragment.mask & wanted == fragment.mask {
                warp.fragments[index].state = State::Ready;
                warp.fragments[index].pc += 1;
            }
        }
        self.cluster.time += 1;
        for lane in lanes_of(wanted) {
            warp.converged[lane] = self.cluster.time;
        }
        true
    }

    pub(super) fn shuffle(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        base: usize,
        inst: &Inst,
        shuffle: &Shuffle,
        active: u32,
    ) -> Result<Flow, Trouble> {
        if !self.gather(warp, chosen, base, shuffle.members, active)? {
            return Ok(Flow::Stop);
        }
        let words = &mut warp.words[base..];
        let a = u32::load(words, inst.slots.a);
        let b = u32::load(words, inst.slots.b);
        let c = u32::load(words, inst.slots.c);
        let masks = u32::load(words, shuffle.members);
        let mut d = [0; LANES];
        let mut inside = 0;
        for lane in lanes_of(active) {
            let (delta, clamp) = (b[lane] & 31, c[lane] & 31);
            let segment = c[lane] >> 8 & 31;
            let lane32 = lane as u32;
            let max_lane = (lane32 & segment) | (clamp & !segment);
            let min_lane = lane32 & segment;
            let (source, valid) = match shuffle.mode {
                // For `.up` the clamp is the lowest lane.
                ShuffleMode::Up => {
                    (lane32.wrapping_sub(delta), lane32 as i32 - delta as i32 >= max_lane as i32)
                }
                ShuffleMode::Down => (lane32 + delta, lane32 + delta <= max_lane),
                ShuffleMode::Butterfly => (lane32 ^ delta, lane32 ^ delta <= max_lane),
                ShuffleMode::Index => {
                    let source = min_lane | (delta & !segment);
                    (source, source <= max_lane)
                }
            };
            let source = if valid { source & 31 } else { lane32 };
            if valid {
                inside |= 1 << lane;
            }
            if (active & masks[lane]) >> source & 1 == 0 {
                let detail = format!("it reads lane {source}, which does not take part");
                return Err(plain_trouble(FaultKind::InactiveLane, lane32, detail));
            }
            d[lane] = a[source as usize];
        }
        u32::store(words, inst.slots.d, active, &d);
        if shuffle.in_range != NONE {
            let word = &mut words[shuffle.in_range as usize];
            *word = *word & !active | inside & active;
        }
        Ok(Flow::Next)
    }

    pub(super) fn warp_op(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        base: usize,
        inst: &Inst,
        op: &WarpOp,
        active: u32,
    ) -> Result<Flow, Trouble> {
        if op.op == WarpOpKind::ActiveMask {
            u32::store(&mut warp.words[base..], inst.slots.d, active, &[active; LANES]);
            return Ok(Flow::Next);
        }
        if op.op == WarpOpKind::Sync && self.synchronise_lanes(warp, chosen, base, op.members, active) {
            return Ok(Flow::Next);
        }
        if !self.gather(warp, chosen, base, op.members, active)? {
            return Ok(Flow::Stop);
        }
        let slots = inst.slots;
        let words = &mut warp.words[base..];
        let masks = u32::load(words, op.members);
        let group = |lane: usize| masks[lane] & active;
        let predicate = |words: &[u32], negated: bool| {
            let bits = words[slots.a as usize];
            if negated { !bits } else { bits }
        };
        let put = |words: &mut [u32], slot: u32, bits: u32| {
            if slot != NONE {
                let word = &mut words[slot as usize];
                *word = *word & !active | bits & active;
            }
        };
        match op.op {
            WarpOpKind::Sync | WarpOpKind::ActiveMask => {}
            WarpOpKind::All { negated } => {
                let bits = predicate(words, negated);
                let all = lanes_of(active).filter(|lane| bits & group(*lane) == group(*lane));
                put(words, slots.d, all.fold(0, |mask, lane| mask | 1 << lane));
            }
            WarpOpKind::Any { negated } => {
                let bits = predicate(words, negated);
                let any = lanes_of(active).filter(|lane| bits & group(*lane) != 0);
                put(words, slots.d, any.fold(0, |mask, lane| mask | 1 << lane));
            }
            WarpOpKind::Uniform { negated } => {
                let bits = predicate(words, negated);
                let same = lanes_of(active)
                    .filter(|lane| bits & group(*lane) == 0 || bits & group(*lane) == group(*lane));
                put(words, slots.d, same.fold(0, |mask, lane| mask | 1 << lane));
            }
            WarpOpKind::Ballot { negated } => {
                let bits = predicate(words, negated);
                let mut d = [0; LANES];
                for lane in lanes_of(active) {
                    d[lane] = bits & group(lane);
                }
                u32::store(words, slots.d, active, &d);
            }
            WarpOpKind::MatchAny { wide } | WarpOpKind::MatchAll { wide } => {
                let a =
                    if wide { u64::load(words, slots.a) } else { u32::load(words, slots.a).map(u64::from) };
                let mut d = [0; LANES];
                let mut all = 0;
                for lane in lanes_of(active) {
                    let same = lanes_of(group(lane))
                        .filter(|other| a[*other] == a[lane])
                        .fold(0, |m, other| m | 1 << other);
                    if same == group(lane) {
                        all |= 1 << lane;
                    }
                    d[lane] = match op.op {
                        WarpOpKind::MatchAll { .. } if same != group(lane) => 0,
                        _ => same,
                    };
                }
                u32::store(words, slots.d, active, &d);
                if matches!(op.op, WarpOpKind::MatchAll { .. }) {
                    put(words, slots.e, all);
                }
            }
            WarpOpKind::Reduce(reduce) => {
                let a = u32::load(words, slots.a);
                let mut d = [0; LANES];
                for lane in lanes_of(active) {
                    let values = lanes_of(group(lane)).map(|other| a[other]);
                    d[lane] = fold(reduce, values);
                }
                u32::store(words, slots.d, active, &d);
            }
            WarpOpKind::Elect => {
                let mut d = [0; LANES];
                let mut elected = 0;
                for lane in lanes_of(active) {
                    let leader = group(lane).trailing_zeros();
                    d[lane] = leader;
                    elected |= 1 << leader;
                }
                u32::store(words, slots.d, active, &d);
                put(words, slots.e, elected);
            }
        }
        Ok(Flow::Next)
    }
}

pub(super) fn fold(op: ReduceOp, values: impl Iterator<Item = u32>) -> u32 {
    let float = |bits: u32, abs: bool| f32::from_bits(if abs { bits & 0x7fff_ffff } else { bits });
    values
        .reduce(|a, b| match op {
            ReduceOp::Add => a.wrapping_add(b),
            ReduceOp::MinU => a.min(b),
            ReduceOp::MaxU => a.max(b),
            ReduceOp::MinS => (a as i32).min(b as i32) as u32,
            ReduceOp::MaxS => (a as i32).max(b as i32) as u32,
            ReduceOp::And => a & b,
            ReduceOp::Or => a | b,
            ReduceOp::Xor => a ^ b,
            ReduceOp::MinF { abs, nan: false } => {
                extremum::<false, false>(float(a, abs), float(b, abs)).to_bits()
            }
            ReduceOp::MinF { abs, nan: true } => {
                extremum::<false, true>(float(a, abs), float(b, abs)).to_bits()
            }
            ReduceOp::MaxF { abs, nan: false } => {
                extremum::<true, false>(float(a, abs), float(b, abs)).to_bits()
            }
            ReduceOp::MaxF { abs, nan: true } => {
                extremum::<true, true>(float(a, abs), float(b, abs)).to_bits()
            }
        })
        .unwrap_or(0)
}
