//! How a kernel is launched, and how the machine is to run it.

use std::ops::Range;

/// One launch of a kernel, as `cuLaunchKernelEx` would be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y, z; at most 1024 in all.
    pub block: [u32; 3],
    /// Blocks of a cluster in x, y, z; `[1, 1, 1]` is none. Must divide the grid; at most 16 in all.
    pub cluster: [u32; 3],
    /// Dynamic shared memory of a block in bytes.
    pub shared_bytes: u32,
    /// The parameters, laid out as [`Kernel::params`](super::Kernel::params) says.
    pub params: Vec<u8>,
}

impl Launch {
    /// A launch of `grid` blocks of `block` threads, with no cluster and no dynamic shared memory.
    pub fn new(grid: [u32; 3], block: [u32; 3], params: Vec<u8>) -> Launch {
        Launch { grid, block, cluster: [1, 1, 1], shared_bytes: 0, params }
    }
}

/// Which checks are made beside bounds, alignment, writes to inputs and barriers, which always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Conflicting accesses to shared, distributed and global memory that nothing orders; accesses that an
    /// asynchronous operation's completion, or a proxy fence, should stand before.
    pub races: bool,
    /// Reads of bytes that nobody wrote, in every space.
    pub uninitialised: bool,
    /// `bar.sync` without a count while threads of the block have exited.
    pub exited_at_barrier: bool,
}

impl Checks {
    /// Everything.
    pub const fn all() -> Checks {
        Checks { races: true, uninitialised: true, exited_at_barrier: true }
    }

    /// Bounds, alignment, writes to inputs and barriers alone.
    pub const fn fast() -> Checks {
        Checks { races: false, uninitialised: false, exited_at_barrier: false }
    }
}

/// How the machine runs a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What is checked.
    pub checks: Checks,
    /// Warp-instructions (one instruction of up to 32 threads) that the whole launch may take.
    pub instruction_budget: u64,
    /// Chooses the order of blocks and of warps, where warps take turns, and when asynchronous operations take effect
    /// (soon, later, as late as they can); a correct kernel gives the same result for every seed. 0 is the plain order.
    pub seed: u64,
    /// Host threads; blocks (clusters) are shared out among them. 0 means as many as the host has.
    pub threads: usize,
    /// Counts distinct sectors of blocks and of the launch too, for 8 more bytes of memory a sector and thread.
    pub traffic: bool,
    /// Only these blocks, counted with x fastest (rounded outwards to whole clusters), as for a profile.
    pub blocks: Option<Range<u64>>,
    /// Blocks that are resident at a time, rounded up to one cluster: a block that only polls memory makes room for the next
    /// one until there are so many. Fewer show a kernel that waits for blocks which nothing promises to have started.
    pub resident_blocks: u64,
}

impl Default for Options {
    /// All checks, 10^10 warp-instructions, plain order, one host thread, all blocks, as many of them resident as an H100
    /// keeps with one on each multiprocessor.
    fn default() -> Options {
        Options {
            checks: Checks::all(),
            instruction_budget: 10_000_000_000,
            seed: 0,
            threads: 1,
            traffic: false,
            blocks: None,
            resident_blocks: 132,
        }
    }
}
