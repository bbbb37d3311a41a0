//! What a running cluster consists of: blocks, warps, and the groups of lanes that a warp is split into.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::clock::Clock;
use super::epoch::Own;
use super::mbarrier::Object;
use super::pending::Flight;
use super::shadow::Entry;
use super::sync::{Collected, Published};
use super::tcgen05::TensorWarp;
use super::tcgen05_async::TensorOperation;
use super::tcgen05_memory::TensorMemory;
use super::wgmma::{Products, Shared};
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
    /// Sleeps until this phase of the mbarrier at an offset of the own block's shared memory is over.
    Mbarrier {
        offset: u32,
        phase: u32,
    },
    /// Waits until the other warps of the warpgroup have issued so many `wgmma.mma_async`.
    Products(u64),
    /// Waits for tensor memory or for the peer block, until tensor memory has changed hands so often.
    TensorMemory(u64),
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
    /// Grows from copy to copy.
    pub(super) serial: u64,
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
    /// What is ordered before what this warp does now.
    pub(super) clock: Clock,
    /// The least time that it has seen of the other warps of its block.
    pub(super) seen_all: u32,
    /// Since when some of its lanes run apart; `u32::MAX` while they are together.
    pub(super) diverged: u32,
    /// When each lane last converged with others, while that is so.
    pub(super) converged: [u32; 32],
    /// What its last fence released to its block, its cluster, the device.
    pub(super) fenced: [Option<Arc<Clock>>; 3],
    /// What strong reads have found and no fence has made count.
    pub(super) collected: Collected,
    /// Agents of its asynchronous operations: for what they read and for what they write.
    pub(super) agents: Option<(u16, u16)>,
    /// Lanes that have arrived at the cluster barrier and not waited yet.
    pub(super) cluster_arrived: u32,
    /// The generation of the cluster barrier in which they did.
    pub(super) arrived_generation: u64,
    pub(super) stamp: u64,
    /// Number of the bulk async-group that each lane is filling.
    pub(super) bulk_group: [u32; 32],
    /// Number of the wgmma group that the warp is filling.
    pub(super) matrix_group: u32,
    /// Registers that belong to wgmma operations in flight: nobody else may touch them.
    pub(super) pending_registers: Vec<PendingRegisters>,
    pub(super) products: Products,
    /// Whether it executed anything, and whether it read memory in a way that others may be waited for with.
    pub(super) ran: bool,
    pub(super) polled: bool,
    /// Lanes whose wait for an mbarrier is to say "not yet".
    pub(super) timed_out: u32,
    pub(super) tensor: TensorWarp,
}

/// Registers that an operation in flight will write, in `Warp::words`.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingRegisters {
    /// First word.
    pub(super) first: usize,
    pub(super) words: usize,
    /// The wgmma group after whose end they are free again.
    pub(super) group: u32,
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
    pub(super) joined: Clock,
    /// What those who arrived had seen.
    pub(super) joining: Clock,
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
    /// Whether other blocks of the cluster have accessed its shared memory.
    pub(super) visited: bool,
    /// Whether asynchronous operations were to write to it.
    pub(super) received: bool,
    pub(super) barriers: Vec<BlockBarrier>,
    /// Live mbarrier objects by their offset.
    pub(super) mbarriers: BTreeMap<usize, Object>,
    pub(super) tensor: TensorMemory,
}

impl Block {
    /// Whether all its threads have exited.
    pub(super) fn is_over(&self) -> bool {
        self.warps.iter().all(|warp| warp.fragments.is_empty())
    }
}

/// Blocks that run together.
#[derive(Default)]
pub(super) struct Cluster {
    /// Operands of the last products of warpgroups.
    pub(super) operands: Vec<Shared>,
    pub(super) blocks: Vec<Block>,
    /// Counts synchronisations; accesses carry it.
    pub(super) time: u32,
    pub(super) generation: u64,
    pub(super) arrived: u32,
    /// Threads that the cluster barrier waits for: those that have not exited, or did so behind their arrival.
    pub(super) expected: u32,
    /// Of these, those that have exited.
    pub(super) departed: u32,
    /// What those who arrive at the cluster barrier had seen, and those who did so in the generation before.
    pub(super) joining: Clock,
    pub(super) joined: Clock,
    /// Place of the cluster in the grid.
    pub(super) position: u64,
    /// Warps of a block.
    pub(super) warps: u16,
    /// The next agent that is neither a warp nor given away.
    pub(super) next_agent: u16,
    /// Numbers of the agents' epochs of global memory.
    pub(super) own: Vec<Own>,
    /// What was released at places of shared memory.
    pub(super) syncs: HashMap<u64, Published>,
    pub(super) any_syncs: bool,
    /// Asynchronous operations that nobody has waited for, in the order of their issue.
    pub(super) flights: Vec<Flight>,
    /// Addresses of tensor maps in global memory that were changed and not acquired since.
    pub(super) changed_maps: Vec<u64>,
    /// Operations issued so far.
    pub(super) issued: u64,
    /// Turns given so far.
    pub(super) turns: u64,
    /// Everything that tensor cores were told to do.
    pub(super) tensor_operations: Vec<TensorOperation>,
    /// How often tensor memory has changed hands.
    pub(super) tensor_changes: u64,
    /// Whether `tcgen05` instructions are those of `.cta_group::2`, once one has said so.
    pub(super) tensor_pair: Option<bool>,
    /// How often nobody could go on since anything was achieved.
    pub(super) idle: u32,
    /// All its warps do is to poll memory.
    pub(super) spinning: bool,
}
