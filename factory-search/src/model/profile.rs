//! What a candidate asks of the hardware at sizes that are too large to run: a few of its blocks, scaled.

use std::collections::BTreeSet;

use factory_ptx::ast::Module;
use factory_ptx::machine::{self, Checks, Memory, Options, Report, Stop};
use factory_spec::{Arch, BoundSpec, Op, Reference, SizeId, SizeKind, SizeValues, Variant};

use super::chain::round_trips;
use super::estimate::LaunchProfile;
use super::live::registers;
use super::target::Target;
use crate::launch::{self, Bindings};
use crate::toolchain::{EntryResources, Resources};
use crate::verdict::Reason;

/// Elements of the largest tensor of an ordinary profile. Only what the profiled blocks touch becomes real memory.
pub const PROFILED: usize = 8 << 20;

/// Warp-instructions that a profile may take.
const BUDGET: u64 = 200_000_000;

/// Bytes that must move between memory and the chip: each input once, each output once.
pub fn compulsory_bytes(spec: &BoundSpec, sizes: &SizeValues) -> f64 {
    spec.args
        .iter()
        .filter(|arg| !arg.scalar)
        .map(|arg| {
            let bytes = spec.elements(arg, sizes) as f64 * arg.dtype.size() as f64;
            bytes * f64::from(u8::from(arg.role.reads()) + u8::from(arg.role.writes()))
        })
        .sum()
}

/// Profiles each launch of a variant at `sizes`, which are shrunk to at most `most` elements a tensor where a block does the
/// same then. Registers come from ptxas where it ran, else from the registers that are live at once in the PTX.
///
/// # Errors
/// The plan does not fit the module or the sizes, or the machine refuses or faults a launch.
pub fn profile(
    spec: &BoundSpec,
    arch: Arch,
    module: &Module,
    variant: &Variant,
    resources: Option<&Resources>,
    sizes: &SizeValues,
    most: usize,
) -> Result<Vec<LaunchProfile>, Reason> {
    let profiled = profile_in_detail(spec, arch, module, variant, resources, sizes, most)?;
    Ok(profiled.into_iter().map(|profiled| profiled.profile).collect())
}

/// One launch: what a few of its blocks did, and what that means for all of them.
#[derive(Clone, Debug)]
pub struct Profiled {
    /// The entry.
    pub entry: String,
    /// What the blocks that were run did.
    pub report: Report,
    /// How many times that the whole launch does.
    pub factor: f64,
    /// The whole launch.
    pub profile: LaunchProfile,
}

/// As [`profile`], with everything that the machine counted.
///
/// # Errors
/// As [`profile`].
pub fn profile_in_detail(
    spec: &BoundSpec,
    arch: Arch,
    module: &Module,
    variant: &Variant,
    resources: Option<&Resources>,
    sizes: &SizeValues,
    most: usize,
) -> Result<Vec<Profiled>, Reason> {
    let target = Target::of(arch);
    let small = shrink(spec, variant, sizes, most);
    let scale = elements(spec, sizes) as f64 / elements(spec, &small).max(1) as f64;
    let kernels = launch::kernels(module, variant)?;

    let mut buffers: Vec<Vec<u8>> = spec
        .args
        .iter()
        .map(|arg| if arg.scalar { Vec::new() } else { vec![0; spec.span(arg, &small) * arg.dtype.size()] })
        .collect();
    let mut memory = Memory::new();
    let mut bindings = Bindings::default();
    for (arg, buffer) in spec.args.iter().zip(&mut buffers) {
        if arg.scalar {
            let mut bytes = Vec::new();
            arg.dtype.encode(&[arg.values.first().copied().unwrap_or(1.0)], &mut bytes);
            bindings.scalars.insert(arg.name.clone(), bytes);
            continue;
        }
        // Only counts matter here, so that an `inout` may be an output: its shadow is not filled.
        let address = if arg.role.writes() {
            memory.output(&arg.name, buffer)
        } else {
            memory.input(&arg.name, buffer)
        };
        bindings.pointers.insert(arg.name.clone(), address);
    }
    launch::machine_scratch(spec, &small, variant, &mut memory, &mut bindings)?;

    let mut profiles = Vec::new();
    for (plan, kernel) in variant.launches.iter().zip(&kernels) {
        let Some(real) = launch::dimensions(spec, sizes, plan, target.shared_bytes_of_block)? else {
            continue;
        };
        let Some(tried) = launch::dimensions(spec, &small, plan, target.shared_bytes_of_block)? else {
            continue;
        };
        let values = launch::parameters(spec, &small, variant, plan, &bindings, &launch::machine_map)?;
        let run = launch::machine_launch(kernel, plan, tried, &values)?;
        let cluster: u64 = plan.cluster.iter().map(|&x| u64::from(x)).product();
        // From the middle: the first and the last block of a grid are the least typical. Two clusters, to see what they
        // have in common.
        let size = cluster.max(1);
        let middle = (tried.blocks() / 2 / size) * size;
        let end = (middle + 2 * size).min(tried.blocks()).max(middle + 1);
        let options = Options {
            checks: Checks::fast(),
            instruction_budget: BUDGET,
            traffic: true,
            blocks: Some(end.saturating_sub(2 * size)..end),
            ..Options::default()
        };
        let report = machine::run(kernel, &run, &mut memory, &options).map_err(|stop| match stop {
            Stop::Fault(fault) => Reason::Fault {
                sizes: launch::label(spec, &small),
                kind: fault.kind.name().to_owned(),
                detail: format!("{fault}"),
            },
            Stop::Machine(error) => Reason::Unsupported { message: error.to_string() },
        })?;
        let run_blocks = report.blocks_run.max(1) as f64;
        let factor = tried.blocks() as f64 / run_blocks * scale;
        let shape = LaunchShape {
            blocks: real.blocks(),
            threads: plan.block.iter().product(),
            cluster: cluster as u32,
            shared_bytes: kernel.static_shared() + real.shared_bytes,
        };
        let found = resources.and_then(|resources| resources.get(&plan.entry));
        let profile = of_report(module, &plan.entry, &report, factor, shape, found, target);
        profiles.push(Profiled { entry: plan.entry.clone(), report, factor, profile });
    }
    Ok(profiles)
}

/// The shape of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaunchShape {
    /// Blocks of the grid.
    pub blocks: u64,
    /// Threads of a block.
    pub threads: u32,
    /// Blocks of a cluster.
    pub cluster: u32,
    /// Shared memory of a block, static and dynamic.
    pub shared_bytes: u32,
}

/// What a whole launch asks for, from what some of its blocks did: `factor` times as much. Registers are those that ptxas
/// says, or a guess.
pub fn of_report(
    module: &Module,
    entry: &str,
    report: &Report,
    factor: f64,
    shape: LaunchShape,
    resources: Option<&EntryResources>,
    target: &Target,
) -> LaunchProfile {
    let mut profile = LaunchProfile::scaled(&report.counters, factor);
    profile.blocks = shape.blocks;
    profile.threads = shape.threads;
    profile.cluster = shape.cluster;
    profile.shared_bytes = shape.shared_bytes;
    let warps = shape.threads.div_ceil(32).max(1);
    let counters = &report.counters;
    let of_blocks = (counters.block_load_sectors + counters.block_store_sectors) as f64 * 32.0;
    let of_all = (counters.launch_load_sectors + counters.launch_store_sectors) as f64 * 32.0;
    profile.block_bytes = of_blocks * factor;
    // What each cluster but the first touches again, shared out among its blocks.
    let (run, cluster) = (report.blocks_run.max(1) as f64, f64::from(shape.cluster.max(1)));
    profile.common_bytes = (of_blocks - of_all) / (run - cluster).max(1.0);
    if let Some(function) = module.function(entry) {
        // Blocks of the real grid may do more rounds of their loop than those that were run.
        let trips = round_trips(function, &report.lines) * factor;
        profile.round_trips = trips / (f64::from(warps) * shape.blocks.max(1) as f64);
    }
    match resources {
        Some(found) => {
            profile.registers = found.registers;
            profile.spill_bytes =
                f64::from(found.spill_bytes) * f64::from(shape.threads) * shape.blocks as f64;
        }
        // A compiler spills rather than make a block that fits nowhere, so the guess is kept to what fits.
        None => {
            let most = (target.registers / (32 * warps) / 8 * 8).min(255);
            let live = module.function(entry).map_or(0, registers);
            profile.registers = live.clamp(16, most.max(24));
        }
    }
    profile
}

fn elements(spec: &BoundSpec, sizes: &SizeValues) -> usize {
    spec.args.iter().map(|arg| spec.elements(arg, sizes)).max().unwrap_or(1)
}

/// Smaller sizes at which a block does the same: the sizes that nothing reduces over are halved, as long as the variant
/// still serves what comes out.
fn shrink(spec: &BoundSpec, variant: &Variant, sizes: &SizeValues, most: usize) -> SizeValues {
    let reduced = reduced_sizes(spec);
    let mut now = sizes.clone();
    while spec.args.iter().any(|arg| spec.span(arg, &now) > most) {
        let mut order: Vec<(bool, u64, SizeId)> = spec
            .sizes
            .iter()
            .enumerate()
            .filter(|(_, size)| matches!(size.kind, SizeKind::Free { .. }))
            .map(|(index, _)| SizeId(index as u32))
            .map(|id| (reduced.contains(&id), u64::MAX - now[id], id))
            .collect();
        order.sort();
        let smaller = order.iter().find_map(|(_, _, id)| {
            let candidate = halve(spec, &now, *id)?;
            launch::serves(spec, &candidate, variant).then_some(candidate)
        });
        match smaller {
            Some(sizes) => now = sizes,
            None => break,
        }
    }
    now
}

/// Sizes that some reduction of the program removes, or all free ones when the reference is no program.
pub(crate) fn reduced_sizes(spec: &BoundSpec) -> BTreeSet<SizeId> {
    let mut reduced = BTreeSet::new();
    match &spec.reference {
        Reference::Program(program) => {
            for node in &program.nodes {
                if let Op::Reduce { over, .. } = &node.op {
                    reduced.extend(over.iter().copied());
                }
            }
        }
        Reference::C(_) => reduced.extend((0..spec.sizes.len()).map(|index| SizeId(index as u32))),
    }
    reduced
}

/// The sizes with one free size halved, where the domain has such sizes.
pub(crate) fn halve(spec: &BoundSpec, sizes: &SizeValues, id: SizeId) -> Option<SizeValues> {
    let SizeKind::Free { min, multiple_of, .. } = spec.size(id).kind else { return None };
    let half = sizes[id] / 2 / multiple_of * multiple_of;
    if half < min.max(1) || half == sizes[id] { None } else { with_size(spec, sizes, id, half) }
}

/// The sizes with one free size replaced and derived ones computed again; `None` outside the domain.
pub(crate) fn with_size(spec: &BoundSpec, sizes: &SizeValues, id: SizeId, value: u64) -> Option<SizeValues> {
    let free = spec
        .sizes
        .iter()
        .enumerate()
        .filter(|(_, size)| matches!(size.kind, SizeKind::Free { .. }))
        .map(|(index, size)| (size.name.clone(), if index == id.index() { value } else { sizes.0[index] }))
        .collect();
    spec.size_values(&free).ok()
}
