//! Running a decoded kernel.
//!
//! A worker (one host thread) runs one cluster at a time, a block alone counting as a cluster of one. Inside it warps
//! take turns; a turn ends at a barrier, at `nanosleep`, or after a slice of instructions, so that warps that wait for
//! each other through memory cannot starve each other. A warp that has diverged is several fragments; the one at the
//! lowest address runs, fragments that meet merge, and a fragment that spins longer than a slice makes room for the
//! one that has waited longest.

mod access;
mod atomic;
mod barrier;
mod check;
mod collective;
mod copy;
mod count;
mod driver;
mod shadow;
mod spot;
mod state;
mod step;

pub(crate) use driver::run;

use self::spot::Spot;
use self::state::Cluster;
use super::decode::ModuleVariable;
use super::error::FaultKind;
use super::kernel::Kernel;
use super::options::{Launch, Options};
use super::report::{Count, Counters};

/// A run of global memory.
pub(crate) struct Region {
    pub(crate) base: u64,
    pub(crate) len: u64,
    pub(crate) data: *mut u8,
    pub(crate) shadow: *mut u8,
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
}

// SAFETY: the regions' pointers are valid while the run borrows the memory, and every access through them by more
// than one thread is atomic (`read_raw`, `write_raw`, and the atomics of `atomic.rs`).
unsafe impl Sync for Context<'_> {}

/// One host thread's state.
pub(crate) struct Worker<'r> {
    context: &'r Context<'r>,
    cluster: Cluster,
    counters: Counters,
    counts: Vec<Count>,
    last_spot: Option<Spot>,
    /// Whether stores to global memory carry the tag of their cluster.
    tags_global: bool,
    /// Whether the kernel has cp.async at all.
    any_copies: bool,
    executed: u64,
    clock: u64,
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
    shadow: Vec<u8>,
}

impl ModuleMemory {
    fn new(variable: &ModuleVariable) -> ModuleMemory {
        let mut words = vec![0u128; variable.bytes.len().div_ceil(16)];
        for (word, chunk) in words.iter_mut().zip(variable.bytes.chunks(16)) {
            let mut bytes = [0; 16];
            bytes[..chunk.len()].copy_from_slice(chunk);
            *word = u128::from_le_bytes(bytes);
        }
        ModuleMemory { words, shadow: vec![super::memory::BEFORE; variable.bytes.len()] }
    }
}
