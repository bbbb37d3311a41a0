//! What a run counted.

use std::collections::BTreeMap;

use super::source::Source;

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

impl Count {
    /// Adds another's.
    pub fn add(&mut self, other: Count) {
        self.warp += other.warp;
        self.thread += other.thread;
    }
}

/// Types that tensor cores multiply, as far as their rates differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TensorType {
    /// f16 and bf16.
    Half,
    /// tf32.
    Tf32,
    /// f64.
    F64,
    /// 8-bit floats.
    F8,
    /// 8-bit integers.
    Int8,
    /// 6- and 4-bit floats, block-scaled ones too.
    F6F4,
    /// 4-bit integers and single bits.
    Narrow,
}

impl TensorType {
    /// Every type, in order of its index.
    pub const ALL: [TensorType; 7] = [
        TensorType::Half,
        TensorType::Tf32,
        TensorType::F64,
        TensorType::F8,
        TensorType::Int8,
        TensorType::F6F4,
        TensorType::Narrow,
    ];

    /// Lower-case name: `half`, `tf32`, …
    pub fn name(self) -> &'static str {
        match self {
            TensorType::Half => "half",
            TensorType::Tf32 => "tf32",
            TensorType::F64 => "f64",
            TensorType::F8 => "f8",
            TensorType::Int8 => "int8",
            TensorType::F6F4 => "f6f4",
            TensorType::Narrow => "narrow",
        }
    }
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
    /// Multiply-adds of tensor cores counted as two operations each, by type; index with `type as usize` or
    /// [`Counters::tensor`].
    pub tensor_operations: [u64; TensorType::ALL.len()],
    /// How long warps stood at barriers of blocks and clusters, in warp-instructions that the slowest warp had still to
    /// issue when they came (for other waits: that the others issued, each on average). An estimate: it takes every
    /// instruction for equally long.
    pub waited: u64,
    /// Distinct sectors that each block loaded, summed over blocks: what a first-level cache that keeps everything
    /// would miss. Only with [`Options::traffic`](super::Options::traffic).
    pub block_load_sectors: u64,
    /// Distinct sectors that each block stored, summed over blocks. Only with `Options::traffic`.
    pub block_store_sectors: u64,
    /// Distinct sectors that the launch loaded: what memory has to deliver at least. Only with `Options::traffic`.
    pub launch_load_sectors: u64,
    /// Distinct sectors that the launch stored. Only with `Options::traffic`.
    pub launch_store_sectors: u64,
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

    /// Operations of one type of tensor core.
    pub fn tensor(&self, ty: TensorType) -> u64 {
        self.tensor_operations[ty as usize]
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
        for (mine, theirs) in self.tensor_operations.iter_mut().zip(other.tensor_operations) {
            *mine += theirs;
        }
        self.waited += other.waited;
        self.block_load_sectors += other.block_load_sectors;
        self.block_store_sectors += other.block_store_sectors;
        self.launch_load_sectors += other.launch_load_sectors;
        self.launch_store_sectors += other.launch_store_sectors;
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
    /// What each PTX line did that was executed, in order of lines.
    pub lines: Vec<Line>,
    /// Families of instructions that ran and that the machine knows from the PTX ISA's description alone: what they
    /// give was never compared with hardware. Sorted.
    pub not_compared: Vec<&'static str>,
}

impl Report {
    /// The lines added up by the source line that they were compiled from, in order of files and lines. Lines without
    /// one are left out; columns and places of inlining are not told apart.
    pub fn sources(&self) -> Vec<(Source, Line)> {
        let mut sums: BTreeMap<(&str, u32), (Source, Line)> = BTreeMap::new();
        for line in &self.lines {
            let Some(source) = &line.source else { continue };
            let (_, sum) = sums.entry((&source.file, source.line)).or_insert_with(|| {
                let plain = Source { column: 0, inlined_at: None, ..source.clone() };
                (plain.clone(), Line { line: source.line, source: Some(plain), ..Line::default() })
            });
            sum.count.add(line.count);
            sum.traffic.add(&line.traffic);
        }
        sums.into_values().collect()
    }
}

/// What the instructions of one line did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The line of the PTX text.
    pub line: u32,
    /// Where it came from, when the module says so.
    pub source: Option<Source>,
    /// Instructions.
    pub count: Count,
    /// What they asked of memory and of others.
    pub traffic: Traffic,
}

/// What instructions asked of memory and how long they stood. Loads and stores are not told apart: an instruction is one or
/// the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// 32-byte sectors of global memory touched, each counted once an instruction.
    pub sectors_requested: u64,
    /// Sectors that the distinct bytes would fill if they lay together.
    pub sectors_needed: u64,
    /// Bytes of global memory that threads asked for.
    pub global_bytes: u64,
    /// Bytes of shared memory that threads asked for.
    pub shared_bytes: u64,
    /// Passes over the banks of shared memory.
    pub shared_passes: u64,
    /// Passes beyond the least.
    pub shared_bank_conflicts: u64,
    /// Bytes moved by asynchronous copies.
    pub async_bytes: u64,
    /// Atomic operations of single threads.
    pub atomics: u64,
    /// Operations of tensor cores.
    pub tensor_operations: u64,
    /// Times that a warp split here.
    pub divergent: u64,
    /// As [`Counters::waited`].
    pub waited: u64,
}

impl Traffic {
    /// Adds another's.
    pub fn add(&mut self, other: &Traffic) {
        self.sectors_requested += other.sectors_requested;
        self.sectors_needed += other.sectors_needed;
        self.global_bytes += other.global_bytes;
        self.shared_bytes += other.shared_bytes;
        self.shared_passes += other.shared_passes;
        self.shared_bank_conflicts += other.shared_bank_conflicts;
        self.async_bytes += other.async_bytes;
        self.atomics += other.atomics;
        self.tensor_operations += other.tensor_operations;
        self.divergent += other.divergent;
        self.waited += other.waited;
    }
}
