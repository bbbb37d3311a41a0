//! PTX is well formed and agrees with the plan.

use std::collections::BTreeSet;

use factory_ptx::ast::{Function, FunctionDirective, FunctionKind, Module, Type, Variable};
use factory_spec::{
    Arch, BoundSpec, LaunchPlan, MAP_ALIGNMENT, MAP_BYTES, MapBase, ParamPlan, Role, Variant,
};

use super::{Subject, dependent};
use crate::verdict::{Gate, Reason, Rejection};

/// Threads that a block may have.
const BLOCK_LIMIT: u64 = 1024;
/// Blocks that a cluster may have. The driver is asked for more than the portable 8, and a device may still refuse.
const CLUSTER_LIMIT: u64 = 16;
/// Newest PTX version that is accepted: what the newest driver in wide use compiles.
const NEWEST_VERSION: (u32, u32) = (9, 0);

/// Oldest PTX version that knows the target.
fn oldest_version(arch: Arch) -> (u32, u32) {
    match arch {
        Arch::Sm90 => (7, 8),
        Arch::Sm90a => (8, 0),
        _ => (8, 6),
    }
}

/// Parses the PTX, checks it against the table of forms and against the plan.
///
/// # Errors
/// The first disagreement.
pub fn parse(spec: &BoundSpec, subject: &Subject<'_>) -> Result<Module, Rejection> {
    let module = inspect(spec, subject).map_err(|reason| Rejection::new(Gate::Parse, reason))?;
    // A matter of policy that only the plan can settle.
    dependent::check(&module, subject.variants).map_err(|reason| Rejection::new(Gate::Policy, reason))?;
    Ok(module)
}

fn inspect(spec: &BoundSpec, subject: &Subject<'_>) -> Result<Module, Reason> {
    let module = factory_ptx::parse(subject.ptx).map_err(|errors| match errors.errors.first() {
        Some(first) => Reason::NotPtx { line: first.span.line, message: first.problem.to_string() },
        None => Reason::NotPtx { line: 0, message: errors.to_string() },
    })?;
    factory_ptx::check(&module).map_err(|errors| match errors.first() {
        Some(first) => Reason::NotPtx { line: first.span.line, message: first.fault.to_string() },
        None => Reason::NotPtx { line: 0, message: "the checker refused it without a reason".to_owned() },
    })?;
    check_header(&module, subject.arch)?;
    let mut launched = BTreeSet::new();
    for variant in subject.variants {
        if variant.launches.is_empty() {
            return Err(Reason::Plan { message: format!("the variant `{}` launches nothing", variant.name) });
        }
        for launch in &variant.launches {
            let entry = module
                .entries()
                .find(|function| function.name == launch.entry)
                .ok_or_else(|| Reason::EntryMissing { entry: launch.entry.clone() })?;
            check_params(spec, variant, launch, entry)?;
            check_bounds(launch, entry)?;
            launched.insert(launch.entry.as_str());
        }
    }
    if let Some(idle) = module.entries().find(|function| !launched.contains(function.name.as_str())) {
        return Err(Reason::EntryUnused { entry: idle.name.clone() });
    }
    if let Some(twice) = duplicate(&module) {
        return Err(Reason::NotPtx {
            line: twice.span.line,
            message: format!("`{}` is defined twice", twice.name),
        });
    }
    Ok(module)
}

fn duplicate(module: &Module) -> Option<&Function> {
    let mut seen = BTreeSet::new();
    module
        .functions()
        .filter(|function| function.body.is_some())
        .find(|function| !seen.insert(function.name.as_str()))
}

fn check_header(module: &Module, arch: Arch) -> Result<(), Reason> {
    let header = |directive: &'static str, found: String, allowed: String| {
        Err(Reason::Header { directive: directive.into(), found, allowed })
    };
    if module.target != [arch.name()] {
        return header(".target", module.target.join(", "), arch.name().to_owned());
    }
    if module.address_size != 64 {
        return header(".address_size", module.address_size.to_string(), "64".to_owned());
    }
    let oldest = oldest_version(arch);
    if module.version < oldest || module.version > NEWEST_VERSION {
        let show = |(major, minor): (u32, u32)| format!("{major}.{minor}");
        return header(
            ".version",
            show(module.version),
            format!("{} to {}", show(oldest), show(NEWEST_VERSION)),
        );
    }
    Ok(())
}

/// Number, order, size and kind of the parameters.
fn check_params(
    spec: &BoundSpec,
    variant: &Variant,
    launch: &LaunchPlan,
    entry: &Function,
) -> Result<(), Reason> {
    let disagree = |index: usize, declared: String, planned: String| {
        Err(Reason::Parameter { entry: launch.entry.clone(), index, declared, planned })
    };
    for index in 0..entry.params.len().max(launch.params.len()) {
        let (declared, planned) = match (entry.params.get(index), launch.params.get(index)) {
            (Some(declared), Some(planned)) => (declared, planned),
            (Some(declared), None) => return disagree(index, describe(declared), "absent".to_owned()),
            (None, Some(planned)) => {
                return disagree(index, "absent".to_owned(), describe_plan(spec, variant, planned)?);
            }
            (None, None) => break,
        };
        let wanted = describe_plan(spec, variant, planned)?;
        let bytes = match planned {
            ParamPlan::Pointer { .. } | ParamPlan::Scratch { .. } => 8,
            ParamPlan::TensorMap(_) if is_map(declared) => continue,
            ParamPlan::TensorMap(_) => return disagree(index, describe(declared), wanted),
            ParamPlan::Size { bytes, .. } => u64::from(*bytes),
            ParamPlan::Scalar { arg } => match spec.arg(arg) {
                Some(arg) => arg.dtype.size() as u64,
                None => return disagree(index, describe(declared), wanted),
            },
        };
        let plain = declared.array.is_empty() && declared.vector.is_none();
        let address_like = matches!(declared.ty, Type::U64 | Type::B64 | Type::S64);
        let needs_address = matches!(planned, ParamPlan::Pointer { .. } | ParamPlan::Scratch { .. });
        if !plain || u64::from(declared.ty.size()) != bytes || (needs_address && !address_like) {
            return disagree(index, describe(declared), wanted);
        }
    }
    Ok(())
}

/// Whether a parameter is what a tensor map is passed as.
fn is_map(declared: &Variable) -> bool {
    declared.size() == Some(MAP_BYTES as u64)
        && declared.vector.is_none()
        && declared.align.is_some_and(|align| u64::from(align).is_multiple_of(MAP_ALIGNMENT))
}

fn describe(declared: &Variable) -> String {
    let mut text = format!(".{}", declared.ty.name());
    if let Some(align) = declared.align {
        text = format!(".align {align} {text}");
    }
    if let Some(vector) = declared.vector {
        text = format!(".v{vector} {text}");
    }
    for dimension in &declared.array {
        match dimension {
            Some(size) => text.push_str(&format!("[{size}]")),
            None => text.push_str("[]"),
        }
    }
    text
}

fn describe_plan(spec: &BoundSpec, variant: &Variant, planned: &ParamPlan) -> Result<String, Reason> {
    let unknown =
        |what: &str, name: &str| Reason::Plan { message: format!("{what} `{name}` does not exist") };
    Ok(match planned {
        ParamPlan::Pointer { arg } => {
            let found = spec.arg(arg).ok_or_else(|| unknown("the argument", arg))?;
            if found.scalar {
                return Err(Reason::Plan { message: format!("`{arg}` is a scalar and has no address") });
            }
            let kind = if found.role == Role::In { "input" } else { "output" };
            format!("the address of the {kind} `{arg}` (64 bits)")
        }
        ParamPlan::Scalar { arg } => {
            let found = spec.arg(arg).ok_or_else(|| unknown("the argument", arg))?;
            if !found.scalar {
                return Err(Reason::Plan { message: format!("`{arg}` is a tensor, not a scalar") });
            }
            format!("the scalar `{arg}` ({} bits)", found.dtype.size() * 8)
        }
        ParamPlan::Size { value, bytes } => {
            if !matches!(bytes, 4 | 8) {
                return Err(Reason::Plan {
                    message: format!("a size is passed in {bytes} bytes; 4 and 8 are possible"),
                });
            }
            format!("the size `{value}` ({} bits)", u32::from(*bytes) * 8)
        }
        ParamPlan::Scratch { name } => {
            if !variant.scratch.iter().any(|scratch| scratch.name == *name) {
                return Err(unknown("the scratch buffer", name));
            }
            format!("the address of the scratch buffer `{name}` (64 bits)")
        }
        ParamPlan::TensorMap(map) => {
            let over = match &map.over {
                MapBase::Arg(arg) => format!("`{arg}`"),
                MapBase::Scratch(name) => format!("the scratch buffer `{name}`"),
            };
            format!("a tensor map over {over} (.align {MAP_ALIGNMENT} .b8[{MAP_BYTES}])")
        }
    })
}

/// Blocks and clusters fit the target and what the entry says about itself.
fn check_bounds(launch: &LaunchPlan, entry: &Function) -> Result<(), Reason> {
    debug_assert_eq!(entry.kind, FunctionKind::Entry);
    let limit = |what: &str, asked: u64, limit: u64| {
        Err(Reason::LaunchLimit { entry: launch.entry.clone(), what: what.to_owned(), asked, limit })
    };
    let threads: u64 = launch.block.iter().map(|&x| u64::from(x)).product();
    if threads == 0 || threads > BLOCK_LIMIT {
        return limit("the number of threads of a block", threads, BLOCK_LIMIT);
    }
    if launch.block[2] > 64 {
        return limit("the third dimension of a block", u64::from(launch.block[2]), 64);
    }
    let cluster: u64 = launch.cluster.iter().map(|&x| u64::from(x)).product();
    if cluster == 0 || cluster > CLUSTER_LIMIT {
        return limit("the number of blocks of a cluster", cluster, CLUSTER_LIMIT);
    }
    let padded = |values: &[u32]| -> [u64; 3] {
        let at = |axis: usize| values.get(axis).copied().map_or(1, u64::from);
        [at(0), at(1), at(2)]
    };
    let block = launch.block.map(u64::from);
    for directive in &entry.directives {
        match directive {
            FunctionDirective::ReqNTid(values) if padded(values) != block => {
                return limit(
                    "a block (`.reqntid` wants exactly its own)",
                    threads,
                    padded(values).iter().product(),
                );
            }
            FunctionDirective::MaxNTid(values) if threads > padded(values).iter().product() => {
                return limit("a block (`.maxntid`)", threads, padded(values).iter().product());
            }
            FunctionDirective::ReqNCtaPerCluster(values)
                if padded(values) != launch.cluster.map(u64::from) =>
            {
                return limit(
                    "a cluster (`.reqnctapercluster` wants exactly its own)",
                    cluster,
                    padded(values).iter().product(),
                );
            }
            _ => {}
        }
    }
    Ok(())
}
