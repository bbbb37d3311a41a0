//! What a run counted.

/// Classes of instructions, by the pipe that would run them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Integer and logic, moves, comparisons, selects.
    Integer,
    /// f32 arithmetic.
    F32,
    /// f64 arithmetic.
    F64,
    /// f16 and bf16 arithmetic, packed ones too.
    Half,
    /// rcp, rsqrt, sqrt, ex2, lg2, sin, cos, tanh.
    Special,
    /// Conversions between types.
    Conversion,
    /// Branches, calls, returns, exits.
    Control,
    /// Loads from global memory (and generic addresses that lie there).
    GlobalLoad,
    /// Stores to global memory.
    GlobalStore,
    /// Loads from shared memory.
    SharedLoad,
    /// Stores to shared memory.
    SharedStore,
    /// Local memory, either way.
    Local,
    /// Constant memory and parameters.
    Constant,
    /// Block and cluster barriers, fences.
    Barrier,
    /// shfl, vote, match, redux, elect, bar.warp.sync.
    Shuffle,
    /// Atomics and reductions in memory.
    Atomic,
    /// Asynchronous copies and their waits.
    Async,
    /// Tensor-core operations.
    Tensor,
}

impl Class {
    /// Every class, in order of its index.
    pub const ALL: [Class; 18] = [
        Class::Integer,
        Class::F32,
        Class::F64,
        Class::Half,
        Class::Special,
        Class::Conversion,
        Class::Control,
        Class::GlobalLoad,
        Class::GlobalStore,
        Class::SharedLoad,
        Class::SharedStore,
        Class::Local,
        Class::Constant,
        Class::Barrier,
        Class::Shuffle,
        Class::Atomic,
        Class::Async,
        Class::Tensor,
    ];

    /// Lower-case name: `integer`, `global_load`, …
    pub fn name(self) -> &'static str {
        match self {
            Class::Integer => "integer",
            Class::F32 => "f32",
            Class::F64 => "f64",
            Class::Half => "half",
            Class::Special => "special",
            Class::Conversion => "conversion",
            Class::Control => "control",
            Class::GlobalLoad => "global_load",
            Class::GlobalStore => "global_store",
            Class::SharedLoad => "shared_load",
            Class::SharedStore => "shared_store",
            Class::Local => "local",
            Class::Constant => "constant",
            Class::Barrier => "barrier",
            Class::Shuffle => "shuffle",
            Class::Atomic => "atomic",
            Class::Async => "async",
            Class::Tensor => "tensor",
        }
    }
}

/// Warp- and thread-instructions of one class or one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Instructions issued for a warp (guarded-off ones too: they are issued all the same).
    pub warp: u64,
    /// Lanes that executed them.
    pub thread: u64,
}

/// What a launch would ask of the hardware. All figures are sums over the blocks that were run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By class; index with `class as usize` or [`Counters::class`].
    pub classes: [Count; Class::ALL.len()],
    /// Warp-instructions of all classes.
    pub warp_instructions: u64,
    /// Thread-instructions of all classes.
    pub thread_instructions: u64,
    /// 32-byte sectors touched by global loads, each counted once an instruction.
    pub global_load_sectors_requested: u64,
    /// Sectors that the distinct bytes of each global load would fill if they lay together.
    pub global_load_sectors_needed: u64,
    /// Sectors touched by global stores.
    pub global_store_sectors_requested: u64,
    /// Sectors that the bytes of each global store would fill if they lay together.
    pub global_store_sectors_needed: u64,
    /// Bytes that threads loaded from global memory.
    pub global_load_bytes: u64,
    /// Bytes that threads stored to global memory.
    pub global_store_bytes: u64,
    /// Bytes that threads loaded from shared memory.
    pub shared_load_bytes: u64,
    /// Bytes that threads stored to shared memory.
    pub shared_store_bytes: u64,
    /// Shared-memory passes: one for each conflict-free part of an access (8- and 16-byte accesses have 2 and 4 parts).
    pub shared_passes: u64,
    /// Passes beyond the least that the access's width and lanes need.
    pub shared_bank_conflicts: u64,
    /// Bytes that cp.async and its kin brought to shared memory.
    pub async_bytes: u64,
    /// Branches at which a warp split.
    pub divergent_branches: u64,
    /// Block or cluster barriers completed, counted once a block.
    pub barriers: u64,
    /// Atomic operations of single threads.
    pub atomics: u64,
    /// Blocks run.
    pub blocks: u64,
    /// Warps run.
    pub warps: u64,
    /// 32-bit register slots that one thread of the deepest call chain declares and uses (an upper bound before
    /// register allocation).
    pub register_slots: u32,
    /// Shared memory of a block in bytes, static and dynamic.
    pub shared_bytes: u32,
}

impl Counters {
    /// The count of one class.
    pub fn class(&self, class: Class) -> Count {
        self.classes[class as usize]
    }

    /// Adds what another worker counted; the per-launch figures take the greater.
    pub(crate) fn merge(&mut self, other: &Counters) {
        for (mine, theirs) in self.classes.iter_mut().zip(&other.classes) {
            mine.warp += theirs.warp;
            mine.thread += theirs.thread;
        }
        self.warp_instructions += other.warp_instructions;
        self.thread_instructions += other.thread_instructions;
        self.global_load_sectors_requested += other.global_load_sectors_requested;
        self.global_load_sectors_needed += other.global_load_sectors_needed;
        self.global_store_sectors_requested += other.global_store_sectors_requested;
        self.global_store_sectors_needed += other.global_store_sectors_needed;
        self.global_load_bytes += other.global_load_bytes;
        self.global_store_bytes += other.global_store_bytes;
        self.shared_load_bytes += other.shared_load_bytes;
        self.shared_store_bytes += other.shared_store_bytes;
        self.shared_passes += other.shared_passes;
        self.shared_bank_conflicts += other.shared_bank_conflicts;
        self.async_bytes += other.async_bytes;
        self.divergent_branches += other.divergent_branches;
        self.barriers += other.barriers;
        self.atomics += other.atomics;
        self.blocks += other.blocks;
        self.warps += other.warps;
        self.register_slots = self.register_slots.max(other.register_slots);
        self.shared_bytes = self.shared_bytes.max(other.shared_bytes);
    }
}

/// What a run that was not stopped has to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The counters.
    pub counters: Counters,
    /// Blocks that were run.
    pub blocks_run: u64,
    /// Counts for each PTX line that was executed, in order of lines.
    pub lines: Vec<(u32, Count)>,
}
