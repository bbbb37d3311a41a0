//! The tunables of one kernel.

use std::fmt;

use factory_ptx::builder::{LoadHint, Priority, StoreHint};

use crate::candidate::{TunableValue, Tunables};

/// Where a row stays between the passes over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Keep {
    /// In registers, as loaded.
    Packed,
    /// In registers, as computed: what a pass has worked out, later passes use.
    Values,
    /// In shared memory, brought there by asynchronous copies.
    Shared,
    /// Nowhere: every pass reads it again.
    Reread,
}

impl Keep {
    fn name(self) -> &'static str {
        match self {
            Keep::Packed => "packed",
            Keep::Values => "values",
            Keep::Shared => "shared",
            Keep::Reread => "reread",
        }
    }
}

/// When operands that are the same for every row are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Weights {
    /// With the row, before anything is computed.
    Early,
    /// In the pass that needs them.
    Late,
    /// Once a block, before its first row (persistent grids).
    Resident,
}

impl Weights {
    fn name(self) -> &'static str {
        match self {
            Weights::Early => "early",
            Weights::Late => "late",
            Weights::Resident => "resident",
        }
    }
}

/// Every tunable of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Config {
    /// Elements of each operand that a thread loads at a time: a power of two up to 16.
    pub vector: u32,
    /// Threads a row within one block.
    pub threads: u32,
    /// Rows that a block works on at a time.
    pub rows: u32,
    /// Vectors a thread of each row (or, with [`Keep::Reread`] and without reductions, of each tile).
    pub chunks: u32,
    /// Whether the row is exactly as long as the threads' chunks, so that nothing is tested.
    pub exact: bool,
    /// Where a row stays between passes.
    pub keep: Keep,
    /// When row-invariant operands are loaded.
    pub weights: Weights,
    /// Blocks (or clusters) of a persistent grid; none: one block for each group of rows.
    pub persistent: Option<u32>,
    /// Rows of [`Keep::Shared`] in flight or at work, the current one included.
    pub stages: u32,
    /// Blocks a cluster, which share a row.
    pub cluster: u32,
    /// Hint for loads of operands that are read once.
    pub load: LoadHint,
    /// Hint for stores.
    pub store: StoreHint,
    /// `.maxnreg`, if any.
    pub max_registers: Option<u32>,
    /// `.minnctapersm`, if any.
    pub min_blocks: Option<u32>,
    /// Whether sizes and rows may exceed 31 bits; for the fallback.
    pub wide: bool,
}

impl Config {
    /// Threads a block.
    pub fn block(&self) -> u32 {
        self.threads * self.rows
    }

    /// Columns that one pass over the chunks covers, of the whole cluster.
    pub fn capacity(&self) -> u64 {
        u64::from(self.vector) * u64::from(self.threads) * u64::from(self.chunks) * u64::from(self.cluster)
    }

    /// The tunables by name.
    pub fn tunables(&self) -> Tunables {
        let mut tunables = Tunables::new();
        let mut put = |name: &str, value: TunableValue| {
            tunables.insert(name.to_owned(), value);
        };
        put("vector", self.vector.into());
        put("threads", self.threads.into());
        put("rows", self.rows.into());
        put("chunks", self.chunks.into());
        put("exact", self.exact.into());
        put("keep", self.keep.name().into());
        put("weights", self.weights.name().into());
        put("persistent", self.persistent.unwrap_or(0).into());
        put("stages", self.stages.into());
        put("cluster", self.cluster.into());
        put("load", priority(self.load.priority).into());
        put("prefetch", self.load.prefetch_128.into());
        put("store", priority(self.store.priority).into());
        put("max_registers", self.max_registers.unwrap_or(0).into());
        put("min_blocks", self.min_blocks.unwrap_or(0).into());
        tunables
    }
}

fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Normal => "normal",
        Priority::Streaming => "cs",
        Priority::NoAllocate => "no_allocate",
        Priority::EvictFirst => "evict_first",
        Priority::EvictLast => "evict_last",
    }
}

impl fmt::Display for Config {
    /// A name for entries and candidates: letters, digits and `_`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}_t{}_r{}_c{}", self.vector, self.threads, self.rows, self.chunks)?;
        write!(f, "_{}_{}", self.keep.name(), self.weights.name())?;
        if self.exact {
            f.write_str("_exact")?;
        }
        if let Some(blocks) = self.persistent {
            write!(f, "_p{blocks}")?;
        }
        if self.stages > 1 {
            write!(f, "_s{}", self.stages)?;
        }
        if self.cluster > 1 {
            write!(f, "_k{}", self.cluster)?;
        }
        if self.load.priority != Priority::Normal {
            write!(f, "_l{}", priority(self.load.priority).replace('_', ""))?;
        }
        if self.load.prefetch_128 {
            f.write_str("_pf")?;
        }
        if self.store.priority != Priority::Normal {
            write!(f, "_s{}", priority(self.store.priority).replace('_', ""))?;
        }
        if let Some(registers) = self.max_registers {
            write!(f, "_m{registers}")?;
        }
        if let Some(blocks) = self.min_blocks {
            write!(f, "_b{blocks}")?;
        }
        if self.wide {
            f.write_str("_wide")?;
        }
        Ok(())
    }
}
