//! What a candidate asks of the hardware at sizes that are too large to run: a few of its blocks, scaled.

use std::collections::BTreeSet;

use factory_ptx::ast::Module;
use factory_ptx::machine::{self, Checks, Memory, Options, Stop};
use factory_spec::{Arch, BoundSpec, Op, Reference, SizeId, SizeKind, SizeValues, Variant};

use super::chain::round_trips;
use super::estimate::LaunchProfile;
use super::target::Target;
use crate::launch::{self, Bindings};
use crate::toolchain::Resources;
use crate::verdict::Reason;

/// Elements of the largest tensor that a profile allocates. Only what the profiled blocks touch becomes real memory.
const ELEMENT_LIMIT: usize = 8 << 20;

/// Warp-instructions that a profile may take.
const BUDGET: u64 = 200_000_000;

/// Bytes that must move between memory and the chip: each input once, each output once.
pub(crate) fn compulsory_bytes(spec: &BoundSpec, sizes: &SizeValues) -> f64 {
    spec.args
        .iter()
        .filter(|arg| !arg.scalar)
        .map(|arg| {
            let bytes = spec.elements(arg, sizes) as f64 * arg.dtype.size() as f64;
            bytes * f64::from(u8::from(arg.role.reads()) + u8::from(arg.role.writes()))
        })
        .sum()
}

/// Profiles each launch of a variant at `sizes`. Registers come from ptxas where it ran, else from the registers that
/// the PTX declares, which is more than a compiler would take.
pub(crate) fn profile(
    spec: &BoundSpec,
    arch: Arch,
    module: &Module,
    variant: &Variant,
    resources: Option<&Resources>,
    sizes: &SizeValues,
) -> Result<Vec<LaunchProfile>, Reason> {
    let target = Target::of(arch);
    let small = shrink(spec, variant, sizes);
    let scale = elements(spec, sizes) as f64 / elements(spec, &small).max(1) as f64;
    let kernels = launch::kernels(module, variant)?;

    let mut buffers: Vec<Vec<u8>> = spec
        .args
        .iter()
        .map(
            |arg| {
                if arg.scalar { Vec::new() } else { vec![0; spec.elements(arg, &small) * arg.dtype.size()] }
            },
        )
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
    for (name, bytes) in launch::scratch_bytes(spec, &small, variant)? {
        let address = memory.scratch(&name, bytes);
        bindings.scratch.insert(name, address);
    }

    let mut profiles = Vec::new();
    for (plan, kernel) in variant.launches.iter().zip(&kernels) {
        let Some(real) = launch::dimensions(spec, sizes, plan, target.shared_bytes_of_block)? else {
            continue;
        };
        let Some(tried) = launch::dimensions(spec, &small, plan, target.shared_bytes_of_block)? else {
            continue;
        };
        let values = launch::parameters(spec, &small, plan, &bindings)?;
        let run = launch::machine_launch(kernel, plan, tried, &values)?;
        let cluster: u64 = plan.cluster.iter().map(|&x| u64::from(x)).product();
        // From the middle: the first and the last block of a grid are the least typical.
        let middle = (tried.blocks() / 2 / cluster.max(1)) * cluster.max(1);
        let options = Options {
            checks: Checks::fast(),
            instruction_budget: BUDGET,
            blocks: Some(middle..(middle + cluster.max(1)).min(tried.blocks()).max(middle + 1)),
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
        let mut profile = LaunchProfile::scaled(&report.counters, tried.blocks() as f64 / run_blocks * scale);
        profile.blocks = real.blocks();
        profile.threads = plan.block.iter().product();
        profile.cluster = cluster as u32;
        profile.shared_bytes = kernel.static_shared() + real.shared_bytes;
        let warps_run = f64::from(profile.threads.div_ceil(32).max(1)) * run_blocks;
        // Blocks of the real grid may do more rounds of their loop than those of the smaller one.
        let more = scale * tried.blocks() as f64 / real.blocks() as f64;
        if let Some(function) = module.function(&plan.entry) {
            profile.round_trips = round_trips(function, &report.lines) / warps_run * more;
        }
        match resources.and_then(|resources| resources.get(&plan.entry)) {
            Some(found) => {
                profile.registers = found.registers;
                profile.spill_bytes =
                    f64::from(found.spill_bytes) * f64::from(profile.threads) * real.blocks() as f64;
            }
            // Slots are counted before a compiler shares them; about half of them live at once in unrolled code. A
            // compiler spills rather than make a block that fits nowhere, so the guess is kept to what fits.
            None => {
                let warps = profile.threads.div_ceil(32).max(1);
                let most = (target.registers / (32 * warps) / 8 * 8).min(255);
                profile.registers = (report.counters.register_slots / 2 + 10).clamp(24, most.max(24));
            }
        }
        profiles.push(profile);
    }
    Ok(profiles)
}

fn elements(spec: &BoundSpec, sizes: &SizeValues) -> usize {
    spec.args.iter().map(|arg| spec.elements(arg, sizes)).max().unwrap_or(1)
}

/// Smaller sizes at which a block does the same: the sizes that nothing reduces over are halved, as long as the variant
/// still serves what comes out.
fn shrink(spec: &BoundSpec, variant: &Variant, sizes: &SizeValues) -> SizeValues {
    let reduced = reduced_sizes(spec);
    let mut now = sizes.clone();
    while elements(spec, &now) > ELEMENT_LIMIT {
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
