//! `cargo factory profile`: what a kernel asks of a GPU, line by line, and how near to its roofs that could come.

mod measure;
mod show;

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::arguments::Profile;
use crate::error::Error;
use crate::machine::fault::SourceFacts;
use crate::print::Output;

/// Everything that is said of one launch.
#[derive(Serialize)]
struct LaunchFacts {
    entry: String,
    grid_blocks: u64,
    block_threads: u32,
    cluster_blocks: u32,
    /// Blocks that were run; the figures are scaled to the whole grid.
    blocks_run: u64,
    registers: u32,
    /// Where the registers come from: ptxas with its version, or an estimate
    registers_from: String,
    spill_bytes_a_thread: Option<u32>,
    shared_bytes: u32,
    totals: Totals,
    /// Instructions by the pipe that runs them.
    pipes: Vec<Pipe>,
    /// Operations of tensor cores by type.
    tensor_operations: Vec<(&'static str, f64)>,
    /// The lines of the PTX file, most warp-instructions first.
    lines: Vec<LineFacts>,
    /// The lines of the CUDA source, when the PTX names them.
    sources: Vec<LineFacts>,
    targets: Vec<TargetFacts>,
}

#[derive(Serialize)]
struct Totals {
    warp_instructions: f64,
    thread_instructions: f64,
    global_load_bytes: f64,
    global_store_bytes: f64,
    /// 32-byte sectors that accesses touch, and that their bytes would fill.
    sectors_requested: f64,
    sectors_needed: f64,
    /// Bytes of distinct sectors, of each block and of the launch: what L1 and memory see at least.
    block_bytes: f64,
    launch_bytes: f64,
    shared_bytes: f64,
    shared_passes: f64,
    shared_bank_conflicts: f64,
    async_bytes: f64,
    atomics: f64,
    barriers: f64,
    /// Estimated instructions for which warps stood at barriers.
    waited: f64,
    divergent_branches: f64,
}

#[derive(Serialize)]
struct Pipe {
    name: &'static str,
    warp: f64,
    thread: f64,
}

#[derive(Serialize)]
struct LineFacts {
    line: u32,
    file: Option<String>,
    text: String,
    source: Option<SourceFacts>,
    warp: f64,
    thread: f64,
    sectors_requested: f64,
    sectors_needed: f64,
    shared_passes: f64,
    shared_bank_conflicts: f64,
    tensor_operations: f64,
    divergent: f64,
    waited: f64,
}

#[derive(Serialize)]
struct TargetFacts {
    name: &'static str,
    /// Blocks and warps of a multiprocessor at once.
    blocks: u32,
    warps: u32,
    /// Of the warps that it has room for.
    occupancy: f64,
    occupancy_limit: &'static str,
    /// Seconds that each resource alone would need, the longest first.
    roofs: Vec<(&'static str, f64)>,
    /// Operations a byte of memory traffic, tensor cores' and ordinary ones together.
    operations_a_byte: Option<f64>,
    /// What the model says; none when a block does not fit.
    modelled_seconds: Option<f64>,
}

#[derive(Serialize)]
struct Facts {
    /// The PTX file, or the kernel's name.
    subject: String,
    /// Sizes of a sealed kernel.
    sizes: Option<String>,
    /// The sealed variant that serves them.
    variant: Option<String>,
    launches: Vec<LaunchFacts>,
}

pub(crate) fn run(dir: &Path, profile: &Profile, output: Output) -> Result<ExitCode, Error> {
    let is_ptx = profile.launch.file.extension().is_some_and(|extension| extension == "ptx");
    let facts = if is_ptx { measure::of_file(profile)? } else { measure::of_sealed(dir, profile)? };
    output.show(&facts, |facts| show::show(facts, profile.lines))?;
    Ok(ExitCode::SUCCESS)
}
