//! What a caller may choose about a search.

use std::path::PathBuf;

use factory_spec::Arch;

/// How much a search may spend.
///
/// Only the number of candidates is deterministic. A limit in seconds stops between two steps wherever the clock says so;
/// a search that it cut short says that in its certificate, and may name another winner when it is repeated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Configurations considered, over all sizes of `better.over` and for each target.
    pub candidates: usize,
    /// Seconds after which no further candidate is started. `None`: as long as it takes.
    pub seconds: Option<f64>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { candidates: 256, seconds: None }
    }
}

/// Where the assembler comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PtxasPolicy {
    /// `KERNEL_FACTORY_PTXAS`, `PATH`, `CUDA_HOME`, `/usr/local/cuda`, then pip's wheels; none is no error.
    #[default]
    Find,
    /// This file; it is an error when it does not run.
    At(PathBuf),
    /// Do not assemble. The certificate says so.
    Off,
}

/// Whether a GPU takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GpuPolicy {
    /// GPU 0 when there is one that works and the spec names its architecture; none is no error.
    #[default]
    Auto,
    /// This GPU; it is an error when it does not work.
    Require(usize),
    /// No GPU. The certificate says so.
    Off,
}

/// What a caller may choose about a search.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchOptions {
    /// Decides the cases that are drawn and the order in which configurations are tried.
    pub seed: u64,
    /// How much to spend.
    pub budget: Budget,
    /// Targets to search for; empty means those of the spec. Others than the spec's make it another spec: what is sealed
    /// then has the key of the spec with these targets.
    pub arches: Vec<Arch>,
    /// Threads that work at once; 0 means one for each core. Never changes the result.
    pub threads: usize,
    /// Where the assembler comes from.
    pub ptxas: PtxasPolicy,
    /// Whether a GPU takes part.
    pub gpu: GpuPolicy,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            budget: Budget::default(),
            arches: Vec::new(),
            threads: 0,
            ptxas: PtxasPolicy::Find,
            gpu: GpuPolicy::Auto,
        }
    }
}

impl SearchOptions {
    /// The number of threads to use.
    pub fn worker_threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}
