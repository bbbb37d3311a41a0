//! Calls and returns: frames of registers and of local memory.

use std::cell::Cell;

use super::state::{Fragment, Frame, State, Warp};
use super::step::Flow;
use super::{Trouble, Worker, plain_trouble, trouble};
use crate::machine::decode::{FUNCTION_WINDOW, Fill, LOCAL_LIMIT, LOCAL_START};
use crate::machine::error::FaultKind;
use crate::machine::inst::{Call, Inst, Kind};
use crate::machine::lanes::{LANES, Lane};

/// Deepest nesting of calls.
const CALL_LIMIT: usize = 512;
/// The most register words of one warp, all frames together.
const WORDS_LIMIT: usize = 1 << 24;

impl Worker<'_> {
    pub(super) fn call(
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

    pub(super) fn do_return(&mut self, warp: &mut Warp, chosen: usize, active: u32) {
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
                // The warps that a multiprocessor has room for, not those of the block.
                Fill::NWarpId => 64,
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
