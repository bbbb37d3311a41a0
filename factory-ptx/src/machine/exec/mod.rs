//! Running a decoded kernel.
//!
//! A worker (one host thread) runs one cluster at a time, a block alone counting as a cluster of one, until it ends or
//! does nothing but poll memory: then the next one starts, up to as many as a GPU keeps resident (`residents`). Inside a
//! cluster warps take turns; a turn ends at a barrier, at `nanosleep`, or after a slice of instructions, so that warps
//! that wait for each other through memory cannot starve each other. A warp that has diverged is several fragments; the
//! one at the lowest address runs, fragments that meet merge, and a fragment that spins longer than a slice makes room
//! for the one that has waited longest.
//!
//! # What orders what
//!
//! Races are told by happens-before (`clock`), not by what happened to be executed first. Barriers of blocks and
//! clusters, mbarriers, fences with strong accesses and atomics (`sync`), and completions of asynchronous operations
//! (`pending`, `flight`) order; words of shared memory (`shadow`) and of global memory (`epoch`, `global`) remember who
//! accessed them. What is not told:
//!
//! - Clocks are those of warps, not of lanes: what one lane releases or acquires counts for its warp. Lanes that have
//!   diverged race in shared memory alone.
//! - A word remembers one write and, in global memory, one reader: of several earlier accesses that do not order each
//!   other, a later one is compared with the last. Stores to global memory of the value that is there already pass.
//! - `.cta` on an mbarrier that threads of other blocks use counts as `.cluster`, as existing code relies on it.
//! - A proxy fence counts anywhere between the write and the asynchronous operation, in any thread on the way. Between
//!   clusters proxies are not told apart.
//! - Releases are remembered at 65,536 addresses of global memory; beyond that its races are not told any more.

mod access;
mod atomic;
mod barrier;
mod bulk;
mod bulk_async;
mod bulk_move;
mod bulk_tensor;
mod call;
mod check;
mod clock;
mod collective;
mod copy;
mod count;
mod driver;
mod epoch;
mod flight;
mod global;
mod launch_control;
mod matrix;
mod mbarrier;
mod pending;
mod residents;
mod shadow;
mod spot;
mod state;
mod step;
mod sync;
mod tcgen05;
mod tcgen05_allocate;
mod tcgen05_async;
mod tcgen05_descriptor;
mod tcgen05_layout;
mod tcgen05_memory;
mod tcgen05_multiply;
mod wait;
mod wgmma;
mod wmma;

pub(crate) use driver::run;

use self::count::Sectors;
use std::sync::atomic::AtomicU8;

use self::epoch::{Epochs, Reader};
use self::spot::Spot;
use self::state::Cluster;
use self::sync::Syncs;
use self::wait::Waits;
use super::decode::ModuleVariable;
use super::error::FaultKind;
use super::kernel::Kernel;
use super::options::{Launch, Options};
use super::report::{Count, Counters, Traffic};

/// A run of global memory.
pub(crate) struct Region {
    pub(crate) base: u64,
    pub(crate) len: u64,
    pub(crate) data: *mut u8,
    /// A word (see `epoch`) for every 4 bytes, or null for inputs.
    pub(crate) shadow: *mut u32,
    /// For each chunk (see `epoch`): which halves of the table of epochs its words name.
    pub(crate) named: Vec<AtomicU8>,
    pub(crate) writable: bool,
    pub(crate) name: String,
}

/// What all workers share.
pub(crate) struct Context<'r> {
    pub(crate) kernel: &'r Kernel,
    pub(crate) launch: &'r Launch,
    pub(crate) options: &'r Options,
    /// In order of their addresses.
    pub(crate) regions: Vec<Region>,
    pub(crate) params: Vec<u8>,
    pub(crate) shared_bytes: usize,
    pub(crate) epochs: Epochs,
    pub(crate) syncs: Syncs,
}

// SAFETY: the regions' pointers are valid while the run borrows the memory, and every access through them by more
// than one thread is atomic (`read_raw`, `write_raw`, and the atomics of `atomic.rs`).
unsafe impl Sync for Context<'_> {}

/// One host thread's state.
pub(crate) struct Worker<'r> {
    context: &'r Context<'r>,
    epochs: Reader<'r>,
    cluster: Cluster,
    counters: Counters,
    counts: Vec<Count>,
    /// Of each instruction, as `counts`.
    traffic: Vec<Traffic>,
    /// The instruction that is executed, unless it is arithmetic.
    pc: u32,
    /// The block of the cluster whose warp has its turn.
    block: usize,
    sectors: Sectors,
    waits: Waits,
    last_spot: Option<Spot>,
    /// Whether bytes of shared memory may be in another state than written or not.
    any_copies: bool,
    executed: u64,
    clock: u64,
    /// State of what the seed decides.
    dice: u64,
    /// How often memory that others see was changed, threads exited or barriers were completed.
    changes: u64,
}

/// A fault in the making: the scheduler adds thread, block and instruction.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) kind: FaultKind,
    pub(crate) lane: Option<u32>,
    pub(crate) address: Option<u64>,
    pub(crate) buffer: Option<String>,
    pub(crate) detail: String,
}

impl Trouble {
    fn in_buffer(mut self, name: String) -> Trouble {
        self.buffer = Some(name);
        self
    }
}

fn trouble(kind: FaultKind, lane: u32, address: u64, detail: impl Into<String>) -> Trouble {
    Trouble { kind, lane: Some(lane), address: Some(address), buffer: None, detail: detail.into() }
}

fn plain_trouble(kind: FaultKind, lane: u32, detail: impl Into<String>) -> Trouble {
    Trouble { kind, lane: Some(lane), address: None, buffer: None, detail: detail.into() }
}

/// A copy of a module variable for one run.
pub(crate) struct ModuleMemory {
    words: Vec<u128>,
    shadow: Vec<u64>,
}

impl ModuleMemory {
    fn new(variable: &ModuleVariable) -> ModuleMemory {
        let mut words = vec![0u128; variable.bytes.len().div_ceil(16)];
        for (word, chunk) in words.iter_mut().zip(variable.bytes.chunks(16)) {
            let mut bytes = [0; 16];
            bytes[..chunk.len()].copy_from_slice(chunk);
            *word = u128::from_le_bytes(bytes);
        }
        ModuleMemory { words, shadow: vec![super::memory::BEFORE_WORDS; variable.bytes.len().div_ceil(8)] }
    }
}
