//! How long warps stand at barriers, estimated.
//!
//! The machine runs warps one after the other, so its own order says nothing about time. Instead each warp has a clock of
//! its own that counts the instructions it issued. A warp that comes to a barrier has waited, when it goes on, for as long
//! as its clock was behind that of the last one to come, and then takes over that clock. What releases other waits is
//! not seen here: those take what the other warps issued meanwhile, each on average.

use std::collections::HashMap;

use super::Worker;
use super::state::{State, Warp};

/// A barrier that warps wait at: block, number and generation, or the cluster's.
type Key = (usize, u8, u64);
/// The number that stands for the cluster's barrier.
const CLUSTER: u8 = u8::MAX;

/// A group of lanes that stands.
#[derive(Clone, Copy)]
struct Standing {
    pc: u32,
    key: Option<Key>,
    /// The warp's clock, and all instructions of the worker, when it came.
    clock: u64,
    executed: u64,
}

/// The clocks of the warps of one cluster, and who stands where.
#[derive(Default)]
pub(super) struct Waits {
    warps_a_block: usize,
    clocks: Vec<u64>,
    standing: Vec<Vec<Standing>>,
    /// The clock of the last one to come.
    released: HashMap<Key, u64>,
}

impl Waits {
    /// Forgets the cluster before.
    pub(super) fn restart(&mut self, blocks: usize, warps_a_block: usize) {
        self.warps_a_block = warps_a_block;
        self.clocks.clear();
        self.clocks.resize(blocks * warps_a_block, 0);
        self.standing.clear();
        self.standing.resize_with(blocks * warps_a_block, Vec::new);
        self.released.clear();
    }
}

impl Worker<'_> {
    /// After a fragment ran: `used` instructions went by for its warp, and some lanes may stand now.
    #[inline]
    pub(super) fn begin_waits(&mut self, warp: &Warp, used: u32) {
        let slot = warp.block * self.waits.warps_a_block + warp.index as usize;
        self.waits.clocks[slot] += u64::from(used);
        for fragment in &warp.fragments {
            let key = match fragment.state {
                State::Ready | State::Warp(_) => continue,
                State::Barrier { id, generation } => Some((warp.block, id, generation)),
                State::Cluster(generation) => Some((0, CLUSTER, generation)),
                #[allow(unreachable_patterns, reason = "states whose release is not seen")]
                _ => None,
            };
            let waits = &mut self.waits;
            if waits.standing[slot].iter().any(|standing| standing.pc == fragment.pc && standing.key == key) {
                continue;
            }
            let clock = waits.clocks[slot];
            if let Some(key) = key {
                let last = waits.released.entry(key).or_default();
                *last = clock.max(*last);
            }
            waits.standing[slot].push(Standing { pc: fragment.pc, key, clock, executed: self.executed });
        }
    }

    /// Before a warp runs: those of its lanes that stood and do no more have waited.
    #[inline]
    pub(super) fn end_waits(&mut self, warp: &Warp) {
        let slot = warp.block * self.waits.warps_a_block + warp.index as usize;
        if self.waits.standing[slot].is_empty() {
            return;
        }
        let others = (self.waits.clocks.len() as u64 - 1).max(1);
        let waits = &mut self.waits;
        let (traffic, executed) = (&mut self.traffic, self.executed);
        let (clocks, released) = (&mut waits.clocks, &waits.released);
        waits.standing[slot].retain(|standing| {
            let still = warp.fragments.iter().any(|fragment| {
                fragment.pc == standing.pc && !matches!(fragment.state, State::Ready | State::Warp(_))
            });
            if still {
                return true;
            }
            let until = match standing.key {
                Some(key) => released.get(&key).copied().unwrap_or(standing.clock),
                None => standing.clock + executed.saturating_sub(standing.executed) / others,
            };
            traffic[standing.pc as usize].waited += until.saturating_sub(standing.clock);
            clocks[slot] = clocks[slot].max(until);
            false
        });
    }
}
