//! Barriers, shuffles and clusters.

use super::class::{B32, F32, Pred, Reg, Src};
use super::entry::Entry;
use crate::ast::Operand;

impl Entry {
    /// Waits for every thread of the block.
    pub fn barrier(&mut self) {
        self.emit("bar", &["sync"], vec![Operand::Integer(0)]);
    }

    /// Waits at barrier `number` for `threads` threads (a multiple of the warp's 32).
    pub fn named_barrier(&mut self, number: impl Into<Src<B32>>, threads: u32) {
        self.emit("bar", &["sync"], vec![number.into().operand(), Operand::Integer(i128::from(threads))]);
    }

    /// The value of the lane whose number differs in the bits of `mask`; every lane of the warp takes part.
    pub fn shuffle_xor(&mut self, value: Reg<B32>, mask: u32) -> Reg<B32> {
        self.result(
            "shfl",
            &["sync", "bfly", "b32"],
            [value.operand(), number(mask), number(31), number(u32::MAX)],
        )
    }

    /// As [`Entry::shuffle_xor`] for a single.
    pub fn shuffle_xor_f32(&mut self, value: Reg<F32>, mask: u32) -> Reg<F32> {
        self.result(
            "shfl",
            &["sync", "bfly", "b32"],
            [value.operand(), number(mask), number(31), number(u32::MAX)],
        )
    }

    /// Whether the predicate holds in any lane of the warp; every lane takes part.
    pub fn vote_any(&mut self, value: Reg<Pred>) -> Reg<Pred> {
        self.result("vote", &["sync", "any", "pred"], [value.operand(), number(u32::MAX)])
    }

    /// Arrives at the cluster's barrier, releasing earlier writes.
    pub fn cluster_arrive(&mut self) {
        self.emit("barrier", &["cluster", "arrive", "aligned"], Vec::new());
    }

    /// Waits until every thread of the cluster has arrived, and acquires what they released.
    pub fn cluster_wait(&mut self) {
        self.emit("barrier", &["cluster", "wait", "aligned"], Vec::new());
    }

    /// Address of the same place in the shared memory of block `rank` of the cluster.
    pub fn map_shared(&mut self, address: Reg<B32>, rank: impl Into<Src<B32>>) -> Reg<B32> {
        self.result("mapa", &["shared::cluster", "u32"], [address.operand(), rank.into().operand()])
    }
}

fn number(value: u32) -> Operand {
    Operand::Integer(i128::from(value))
}
