//! Runs what is profiled and adds up what is said of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use factory_build::package::{AnnotatedKernel, State};
use factory_ptx::ast::Module;
use factory_ptx::machine::{Checks, Class, Line, Options, Report, TensorType};
use factory_search::model::{
    LaunchProfile, LaunchShape, PROFILED, Target, estimate_launch, occupancy, of_report, profile_in_detail,
    roofline, tensor_operations,
};
use factory_search::toolchain::{EntryResources, Ptxas, Resources};
use factory_spec::{Arch, Sealed};

use super::{Facts, LaunchFacts, LineFacts, Pipe, TargetFacts, Totals};
use crate::arguments::Profile;
use crate::commands::run::prepare;
use crate::error::Error;
use crate::machine::LaunchError;
use crate::machine::fault::{FaultFacts, SourceFacts};
use crate::machine::program::execute;
use crate::package;

/// What ptxas says, or why it says nothing.
fn assemble(
    profile: &Profile,
    ptx: &str,
    arch: Option<Arch>,
) -> Result<Result<(Resources, String), String>, Error> {
    let ptxas = match Ptxas::find(&profile.ptxas)? {
        Ok(ptxas) => ptxas,
        Err(reason) => return Ok(Err(reason)),
    };
    let Some(arch) = arch else { return Ok(Err("the module's target is not known".to_owned())) };
    Ok(match ptxas.assemble(ptx, arch) {
        Ok(resources) => Ok((resources, format!("ptxas {}", ptxas.version()))),
        Err(factory_search::toolchain::AssembleError::Refused(message)) => {
            Err(format!("ptxas refuses it: {message}"))
        }
        Err(factory_search::toolchain::AssembleError::NotRun(message)) => Err(message),
    })
}

/// One launch that was run.
struct Ran<'a> {
    module: &'a Module,
    text: &'a str,
    path: &'a Path,
    entry: &'a str,
    report: &'a Report,
    factor: f64,
    shape: LaunchShape,
}

pub(super) fn of_file(profile: &Profile) -> Result<Facts, Error> {
    let prepared = prepare(&profile.launch)?;
    let launch = &prepared.launch;
    let grid: u64 = launch.grid.iter().map(|n| u64::from(*n)).product();
    // From the middle of the grid, as far as there is a limit.
    let blocks = profile.blocks.filter(|blocks| *blocks < grid).map(|blocks| {
        let start = (grid - blocks) / 2;
        start..start + blocks
    });
    let options = Options {
        checks: Checks::fast(),
        instruction_budget: profile.launch.budget,
        seed: profile.launch.seed,
        threads: profile.threads,
        traffic: true,
        blocks,
        ..Options::default()
    };
    let done = execute(&prepared.kernel, launch, &prepared.operands, &options)?;
    let report = match done.result {
        Ok(report) => report,
        Err(fault) => {
            let fault = FaultFacts::new(&fault, &prepared.kernel, &prepared.program);
            return Err(Error::Faulted { text: fault.render(&prepared.program, "") });
        }
    };
    let program = &prepared.program;
    let arch = program.module.target.first().and_then(|word| Arch::parse(word));
    let assembled = assemble(profile, &program.text, arch)?;
    let ran = Ran {
        module: &program.module,
        text: &program.text,
        path: &program.path,
        entry: &program.entry,
        report: &report,
        factor: grid as f64 / report.blocks_run.max(1) as f64,
        shape: LaunchShape {
            blocks: grid,
            threads: launch.block.iter().product(),
            cluster: launch.cluster.iter().product(),
            shared_bytes: prepared.kernel.static_shared() + launch.shared_bytes,
        },
    };
    let launches = vec![facts(&ran, &assembled, None)];
    Ok(Facts { subject: profile.launch.file.display().to_string(), sizes: None, variant: None, launches })
}

pub(super) fn of_sealed(dir: &Path, profile: &Profile) -> Result<Facts, Error> {
    let (kernel, sealed) = find(dir, &profile.launch.file)?;
    let spec = &kernel.spec;
    let wrong = |message: String| Error::Launch(LaunchError::Profile { message });
    let mut free = BTreeMap::new();
    for part in profile.size.iter().flat_map(|text| text.split(',')) {
        let (name, value) = part
            .split_once('=')
            .ok_or_else(|| wrong(format!("`--size {part}`: `name=value` is expected")))?;
        let value =
            value.trim().parse().map_err(|_| wrong(format!("`--size {part}`: `{value}` is no number")))?;
        free.insert(name.trim().to_owned(), value);
    }
    let sizes = match (free.is_empty(), spec.better.over.first()) {
        (true, Some(over)) => over.clone(),
        _ => spec.size_values(&free).map_err(|error| wrong(error.to_string()))?,
    };
    let target = sealed
        .plan
        .target_for((9, 0))
        .or(sealed.plan.targets.first())
        .ok_or_else(|| wrong("the plan has no targets".to_owned()))?;
    let ptx = sealed.ptx.get(&target.ptx).ok_or_else(|| wrong(format!("`{}` is not there", target.ptx)))?;
    let module = factory_ptx::parse(ptx).map_err(|errors| wrong(errors.to_string()))?;
    let values: BTreeMap<String, u64> =
        spec.sizes.iter().zip(&sizes.0).map(|(size, value)| (size.name.clone(), *value)).collect();
    let variant = target
        .variants
        .iter()
        .find(|variant| {
            variant
                .when
                .eval(&|name: &str| values.get(name).and_then(|value| i64::try_from(*value).ok()))
                .is_ok_and(|v| v != 0)
        })
        .ok_or_else(|| wrong("no variant serves these sizes".to_owned()))?;
    let assembled = assemble(profile, ptx, Some(target.arch))?;
    let resources = assembled.as_ref().ok().map(|(resources, _)| resources);
    let profiled = profile_in_detail(spec, target.arch, &module, variant, resources, &sizes, PROFILED)
        .map_err(|reason| wrong(reason.to_string()))?;
    let path = PathBuf::from(&target.ptx);
    let compulsory = factory_search::model::compulsory_bytes(spec, &sizes);
    // Of several launches nobody knows which of them moves what; each then counts what it touched.
    let alone = profiled.len() == 1;
    let launches = profiled
        .iter()
        .map(|profiled| {
            let ran = Ran {
                module: &module,
                text: ptx,
                path: &path,
                entry: &profiled.entry,
                report: &profiled.report,
                factor: profiled.factor,
                shape: LaunchShape {
                    blocks: profiled.profile.blocks,
                    threads: profiled.profile.threads,
                    cluster: profiled.profile.cluster,
                    shared_bytes: profiled.profile.shared_bytes,
                },
            };
            facts(&ran, &assembled, alone.then_some(compulsory))
        })
        .collect();
    Ok(Facts {
        subject: spec.name.clone(),
        sizes: Some(crate::print::sizes(&values)),
        variant: Some(variant.name.clone()),
        launches,
    })
}

/// The sealed kernel of a name, or of a folder `kernels/<name>/<key>`.
fn find(dir: &Path, subject: &Path) -> Result<(AnnotatedKernel, Sealed), Error> {
    let folder = subject.join("plan.json").is_file();
    let root = if folder {
        subject.ancestors().nth(3).filter(|root| root.join("Cargo.toml").is_file())
    } else {
        None
    };
    let package = package::read(root.unwrap_or(dir))?;
    let name = subject.to_string_lossy().into_owned();
    let key = subject.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let matches = |kernel: &&AnnotatedKernel| match folder {
        true => kernel.key.short() == key,
        false => kernel.spec.name == name,
    };
    let Some(kernel) = package.kernels().iter().find(matches) else {
        let mut known: Vec<String> =
            package.kernels().iter().map(|kernel| kernel.spec.name.clone()).collect();
        known.dedup();
        return Err(Error::UnknownKernel { name, known_names: known });
    };
    match package.state(kernel) {
        State::Sealed(sealed) | State::Cached(sealed) => Ok((kernel.clone(), *sealed)),
        state => {
            let (word, detail) = crate::commands::status::describe(&state);
            Err(Error::Launch(LaunchError::Profile { message: format!("`{name}` is {word}: {detail}") }))
        }
    }
}

fn facts(
    ran: &Ran<'_>,
    assembled: &Result<(Resources, String), String>,
    compulsory: Option<f64>,
) -> LaunchFacts {
    let resources: Option<&EntryResources> =
        assembled.as_ref().ok().and_then(|(resources, _)| resources.get(ran.entry));
    let model = |target: &Target| {
        of_report(ran.module, ran.entry, ran.report, ran.factor, ran.shape, resources, target)
    };
    let profile = model(&Target::H200);
    let counters = &ran.report.counters;
    let times = |value: u64| value as f64 * ran.factor;
    let launch_bytes = times(counters.launch_load_sectors + counters.launch_store_sectors) * 32.0;
    let compulsory = compulsory.unwrap_or(launch_bytes);
    let tensor = tensor_operations(counters, ran.factor);
    let totals = Totals {
        warp_instructions: times(counters.warp_instructions),
        thread_instructions: times(counters.thread_instructions),
        global_load_bytes: times(counters.global_load_bytes),
        global_store_bytes: times(counters.global_store_bytes),
        sectors_requested: times(
            counters.global_load_sectors_requested + counters.global_store_sectors_requested,
        ),
        sectors_needed: times(counters.global_load_sectors_needed + counters.global_store_sectors_needed),
        block_bytes: profile.block_bytes,
        launch_bytes: compulsory,
        shared_bytes: times(counters.shared_load_bytes + counters.shared_store_bytes),
        shared_passes: times(counters.shared_passes),
        shared_bank_conflicts: times(counters.shared_bank_conflicts),
        async_bytes: times(counters.async_bytes),
        atomics: times(counters.atomics),
        barriers: times(counters.barriers),
        waited: times(counters.waited),
        divergent_branches: times(counters.divergent_branches),
    };
    let pipes = Class::ALL
        .into_iter()
        .map(|class| (class, counters.class(class)))
        .filter(|(_, count)| count.warp > 0)
        .map(|(class, count)| Pipe {
            name: class.name(),
            warp: times(count.warp),
            thread: times(count.thread),
        });
    let text_lines: Vec<&str> = ran.text.lines().collect();
    let text_of = |line: u32| {
        let text = (line as usize).checked_sub(1).and_then(|index| text_lines.get(index));
        text.map(|text| text.trim().chars().take(200).collect()).unwrap_or_default()
    };
    let mut lines: Vec<LineFacts> =
        ran.report.lines.iter().map(|line| line_facts(line, ran, text_of(line.line), None)).collect();
    let mut sources: Vec<LineFacts> = ran
        .report
        .sources()
        .iter()
        .map(|(source, line)| {
            let place = SourceFacts::new(source, ran.path);
            line_facts(line, ran, place.text.clone().unwrap_or_default(), Some(place.file))
        })
        .collect();
    for lines in [&mut lines, &mut sources] {
        lines.sort_by(|a, b| b.warp.total_cmp(&a.warp).then(a.line.cmp(&b.line)));
    }
    let targets = Target::ALL.map(|target| {
        target_facts(
            &model(target),
            compulsory,
            &tensor,
            counters.thread_instructions as f64 * ran.factor,
            target,
        )
    });
    LaunchFacts {
        entry: ran.entry.to_owned(),
        grid_blocks: ran.shape.blocks,
        block_threads: ran.shape.threads,
        cluster_blocks: ran.shape.cluster,
        blocks_run: ran.report.blocks_run,
        registers: profile.registers,
        registers_from: match (resources, assembled) {
            (Some(_), Ok((_, version))) => version.clone(),
            (_, Err(reason)) => format!("an estimate: {reason}"),
            _ => "an estimate: ptxas does not name the entry".to_owned(),
        },
        spill_bytes_a_thread: resources.map(|found| found.spill_bytes),
        shared_bytes: ran.shape.shared_bytes,
        totals,
        pipes: pipes.collect(),
        tensor_operations: TensorType::ALL
            .into_iter()
            .zip(tensor)
            .filter(|(_, operations)| *operations > 0.0)
            .map(|(ty, operations)| (ty.name(), operations))
            .collect(),
        lines,
        sources,
        targets: targets.into(),
    }
}

fn line_facts(line: &Line, ran: &Ran<'_>, text: String, file: Option<String>) -> LineFacts {
    let times = |value: u64| value as f64 * ran.factor;
    let source = match file {
        Some(_) => None,
        None => line.source.as_ref().map(|source| SourceFacts::new(source, ran.path)),
    };
    LineFacts {
        line: line.line,
        file,
        text,
        source,
        warp: times(line.count.warp),
        thread: times(line.count.thread),
        sectors_requested: times(line.traffic.sectors_requested),
        sectors_needed: times(line.traffic.sectors_needed),
        shared_passes: times(line.traffic.shared_passes),
        shared_bank_conflicts: times(line.traffic.shared_bank_conflicts),
        tensor_operations: times(line.traffic.tensor_operations),
        divergent: times(line.traffic.divergent),
        waited: times(line.traffic.waited),
    }
}

fn target_facts(
    profile: &LaunchProfile,
    compulsory: f64,
    tensor: &[f64; TensorType::ALL.len()],
    instructions: f64,
    target: &'static Target,
) -> TargetFacts {
    let held = occupancy(profile, target);
    let warps = held.blocks * profile.threads.div_ceil(32);
    let roofs = roofline(profile, compulsory, tensor, target);
    TargetFacts {
        name: target.name,
        blocks: held.blocks,
        warps,
        occupancy: f64::from(warps) / f64::from(target.threads / 32),
        occupancy_limit: held.limit,
        roofs: roofs.roofs.iter().map(|roof| (roof.name, roof.seconds)).collect(),
        operations_a_byte: (compulsory > 0.0)
            .then(|| (instructions + tensor.iter().sum::<f64>()) / compulsory),
        modelled_seconds: estimate_launch(profile, compulsory, target).map(|estimate| estimate.seconds),
    }
}
