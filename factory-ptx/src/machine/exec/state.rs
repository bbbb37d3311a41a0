//! What a running cluster consists of: blocks, warps, and the groups of lanes that a warp is split into.

use std::cell::Cell;

use super::shadow::Entry;
use crate::machine::inst::BarrierKind;

/// Why a group of lanes does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    /// Stands at a warp-wide instruction until the lanes of the mask that are alive have come too.
    Warp(u32),
    /// Arrived at block barrier `id`, waits for the end of its `generation`.
    Barrier {
        id: u8,
        generation: u64,
    },
    /// Waits for the end of this generation of the cluster barrier.
    Cluster(u64),
}

/// Lanes of one warp that stand at one place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment {
    pub(super) pc: u32,
    pub(super) mask: u32,
    pub(super) frame: u32,
    pub(super) state: State,
    /// When it last ran, for fairness.
    pub(super) stamp: u64,
}

/// An activation of a function by some lanes of a warp.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    /// First word in the warp's register words.
    pub(super) base: usize,
    pub(super) function: u32,
    /// Lanes that are inside; 0 when the frame is free.
    pub(super) lanes: u32,
    pub(super) parent: u32,
    /// Where the caller goes on.
    pub(super) return_pc: u32,
    /// Offset of its local variables in each thread's local memory.
    pub(super) local: u64,
}

/// A cp.async that was issued and not waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingCopy {
    pub(super) lane: u8,
    pub(super) group: u32,
    pub(super) size: u8,
    /// Bytes that come from the source; the rest is zeros.
    pub(super) read: u8,
    pub(super) destination: u64,
    pub(super) source: u64,
}

#[derive(Default)]
pub(super) struct Warp {
    pub(super) index: u32,
    /// Which block of the cluster.
    pub(super) block: usize,
    pub(super) words: Vec<u32>,
    pub(super) frames: Vec<Frame>,
    pub(super) fragments: Vec<Fragment>,
    /// Lanes that the block's size gives to this warp.
    pub(super) exists: u32,
    /// Lanes that have not exited.
    pub(super) live: u32,
    pub(super) local: Vec<Cell<u128>>,
    pub(super) local_shadow: Vec<Cell<u8>>,
    /// Bytes of local memory of each lane.
    pub(super) local_size: usize,
    pub(super) copies: Vec<PendingCopy>,
    /// Number of the cp.async group that each lane is filling.
    pub(super) copy_group: [u32; 32],
    /// For each warp of the block, and then each rank of the cluster: up to when its accesses are ordered before what
    /// this warp does now.
    pub(super) seen: Vec<u32>,
    /// The least of `seen` over the others.
    pub(super) seen_all: u32,
    /// Lanes that have arrived at the cluster barrier and not waited yet.
    pub(super) cluster_arrived: u32,
    /// The generation of the cluster barrier in which they did.
    pub(super) arrived_generation: u64,
    pub(super) stamp: u64,
}

/// Block barrier.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockBarrier {
    /// Threads that make it complete; 0 when nobody has arrived.
    pub(super) expected: u32,
    pub(super) arrived: u32,
    pub(super) generation: u64,
    /// Lanes that have arrived, for each warp.
    pub(super) lanes: Vec<u32>,
    /// Warps that wait (do not only arrive).
    pub(super) kind: Option<BarrierKind>,
    pub(super) popc: u32,
    pub(super) and: bool,
    pub(super) or: bool,
    /// Results and the joined `seen` of the generation that ended last.
    pub(super) result: (u32, bool, bool),
    pub(super) joined: Vec<u32>,
    /// What those who arrived had seen.
    pub(super) joining: Vec<u32>,
    /// Where someone arrived, for reports.
    pub(super) pc: u32,
}

#[derive(Default)]
pub(super) struct Block {
    pub(super) id: [u32; 3],
    pub(super) rank: u32,
    pub(super) warps: Vec<Warp>,
    pub(super) shared: Vec<Cell<u128>>,
    pub(super) shared_shadow: Vec<Cell<u8>>,
    pub(super) races: Vec<Entry>,
    pub(super) barriers: Vec<BlockBarrier>,
    /// Did something that can order it after other blocks (atomics, fences).
    pub(super) synchronised: bool,
    /// Time up to which each warp's writes were released by a fence.
    pub(super) released: Vec<u32>,
}

/// Blocks that run together.
#[derive(Default)]
pub(super) struct Cluster {
    pub(super) blocks: Vec<Block>,
    /// Counts synchronisations; accesses carry it.
    pub(super) time: u32,
    pub(super) generation: u64,
    pub(super) arrived: u32,
    /// Time of the last completed cluster barrier.
    pub(super) joined: u32,
    /// Tag of this cluster's writes in global shadows.
    pub(super) tag: u8,
}
