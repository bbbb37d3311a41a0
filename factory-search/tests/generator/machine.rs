//! Every program, in many configurations, at sizes with tails, on the PTX machine with all checks, against the oracle.

use std::collections::BTreeMap;

use factory_ptx::builder::Priority;
use factory_ptx::machine::{Checks, Kernel, Launch, Memory, Options, Stop, run};
use factory_search::Candidate;
use factory_search::gates::policy::policy;
use factory_search::generator::{Config, Space};
use factory_spec::compare::compare;
use factory_spec::draw::{Case, draw_cases, draw_inputs};
use factory_spec::oracle::evaluate;
use factory_spec::tolerance::tolerances_for;
use factory_spec::{Arch, BoundSpec, ParamPlan, Role, SizeExpr, SizeValues};

use crate::programs::{KEEPING, PROGRAMS, bound, keeping};

fn value(spec: &BoundSpec, sizes: &SizeValues, expression: &SizeExpr) -> i64 {
    let size = |name: &str| spec.size_id(name).map(|id| sizes[id] as i64);
    expression.eval(&size).unwrap_or_else(|error| panic!("`{expression}`: {error}"))
}

/// Runs a candidate on one case; `None` when it does not claim those sizes.
fn check(spec: &BoundSpec, candidate: &Candidate, case: &Case) -> Option<Result<(), String>> {
    if value(spec, &case.sizes, &candidate.variant.when) == 0 {
        return None;
    }
    Some(check_claimed(spec, candidate, case))
}

fn check_claimed(spec: &BoundSpec, candidate: &Candidate, case: &Case) -> Result<(), String> {
    let module = factory_ptx::parse(&candidate.ptx).map_err(|error| format!("parse: {error}"))?;
    factory_ptx::check(&module).map_err(|errors| format!("check: {errors:?}"))?;
    let inputs = draw_inputs(spec, case);
    let expected = evaluate(spec, &case.sizes, &inputs).map_err(|error| error.to_string())?;
    let tolerances = tolerances_for(spec, case, &inputs, &expected).map_err(|error| error.to_string())?;
    let mut buffers: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for (index, arg) in spec.args.iter().enumerate() {
        let id = factory_spec::ArgId(index as u32);
        let bytes = inputs
            .bytes(spec, id)
            .unwrap_or_else(|| vec![0xa5; spec.elements(arg, &case.sizes) * arg.dtype.size()]);
        buffers.insert(&arg.name, bytes);
    }
    let launch = &candidate.variant.launches[0];
    let kernel = Kernel::new(&module, &launch.entry).map_err(|error| format!("kernel: {error}"))?;
    {
        let mut memory = Memory::new();
        let mut addresses: BTreeMap<&str, u64> = BTreeMap::new();
        let mut scalars: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for (name, bytes) in &mut buffers {
            let arg = spec.arg(name).expect("buffers are of arguments");
            if arg.scalar {
                scalars.insert(name, bytes.clone());
                continue;
            }
            let address = match arg.role {
                Role::In => memory.input(name, bytes),
                Role::Out => memory.output(name, bytes),
                Role::InOut => memory.inout(name, bytes),
            };
            addresses.insert(name, address);
        }
        let mut params = vec![0; kernel.params_size()];
        for (layout, plan) in kernel.params().iter().zip(&launch.params) {
            let bytes = match plan {
                ParamPlan::Pointer { arg } => addresses[arg.as_str()].to_le_bytes().to_vec(),
                ParamPlan::Scalar { arg } => scalars[arg.as_str()].clone(),
                ParamPlan::Size { value: expression, .. } => {
                    value(spec, &case.sizes, expression).to_le_bytes().to_vec()
                }
                ParamPlan::Scratch { .. } | ParamPlan::TensorMap(_) => {
                    return Err("the generator asks for no scratch and no tensor maps".to_owned());
                }
            };
            if bytes.len() != layout.size {
                return Err(format!(
                    "parameter `{}` has {} bytes, not {}",
                    layout.name,
                    layout.size,
                    bytes.len()
                ));
            }
            params[layout.offset..layout.offset + layout.size].copy_from_slice(&bytes);
        }
        let grid = [0, 1, 2].map(|axis| value(spec, &case.sizes, &launch.grid[axis]) as u32);
        let launch = Launch {
            grid,
            block: launch.block,
            cluster: launch.cluster,
            shared_bytes: value(spec, &case.sizes, &launch.shared_bytes) as u32,
            params,
        };
        let options = Options { checks: Checks::all(), seed: case.seed, threads: 1, ..Options::default() };
        match run(&kernel, &launch, &mut memory, &options) {
            Ok(_) => {}
            Err(Stop::Fault(fault)) => return Err(format!("fault: {fault}")),
            Err(Stop::Machine(error)) => return Err(format!("machine: {error}")),
        }
        for (name, &address) in &addresses {
            if spec.arg(name).is_some_and(|arg| arg.role.writes())
                && let Some(range) = memory.unwritten(address)
            {
                return Err(format!("`{name}`: bytes {range:?} were not written"));
            }
        }
    }
    let actual: Vec<&[u8]> = spec.outputs().map(|(_, arg)| buffers[arg.name.as_str()].as_slice()).collect();
    compare(spec, case, &expected, &actual, &tolerances)
        .map(|_| ())
        .map_err(|mismatch| format!("wrong: {mismatch}"))
}

/// A sample of the space: every so many, and one of each choice that the rest might miss.
fn sample(configurations: Vec<Config>, count: usize) -> Vec<Config> {
    let step = configurations.len().div_ceil(count).max(1);
    let mut seen = std::collections::BTreeSet::new();
    let mut chosen = Vec::new();
    for (index, config) in configurations.into_iter().enumerate() {
        let kind = (
            config.keep,
            config.weights,
            config.persistent.is_some(),
            config.stages,
            config.cluster,
            config.exact,
        );
        if index % step == 0 || seen.insert(kind) {
            chosen.push(config);
        }
    }
    chosen
}

/// The spec's own cases and some at the edges of the domain, small ones.
fn cases(spec: &BoundSpec) -> Vec<Case> {
    let all = draw_cases(spec, 7);
    let own = spec.correct.cases.len();
    let small =
        |case: &Case| spec.args.iter().map(|arg| spec.elements(arg, &case.sizes)).sum::<usize>() <= 20_000;
    let (own, drawn) = all.split_at(own.min(all.len()));
    own.iter().chain(drawn.iter().filter(|case| small(case)).take(6)).cloned().collect()
}

fn check_programs(part: usize, parts: usize) {
    let mut failures = Vec::new();
    let mut runs = 0;
    for (_, program) in PROGRAMS.iter().enumerate().filter(|(index, _)| index % parts == part) {
        let spec = bound(program);
        let space = Space::new(&spec).unwrap_or_else(|declined| panic!("{}: {declined}", program.name));
        let cases = cases(&spec);
        let mut candidates = vec![space.fallback(Arch::Sm90)];
        for config in space.coverage() {
            candidates.push(space.generate(&config, Arch::Sm90).expect("listed configurations suit"));
        }
        for over in &spec.better.over {
            for config in sample(space.configurations(Arch::Sm90, over), 6) {
                candidates.push(space.generate(&config, Arch::Sm90).expect("listed configurations suit"));
            }
        }
        candidates.sort_by(|a, b| a.id.cmp(&b.id));
        candidates.dedup_by(|a, b| a.id == b.id);
        for candidate in &candidates {
            let fallback = candidate.id.ends_with("_wide");
            for case in &cases {
                match check(&spec, candidate, case) {
                    None => assert!(
                        !fallback,
                        "{}: the fallback serves every size, and not {}",
                        program.name,
                        case.describe(&spec)
                    ),
                    Some(Ok(())) => runs += 1,
                    Some(Err(error)) => {
                        failures.push(format!(
                            "{} {} at {}: {error}",
                            program.name,
                            candidate.id,
                            case.describe(&spec)
                        ));
                        // One failure of a candidate says enough.
                        break;
                    }
                }
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} failures, {runs} runs were right:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(runs > 0);
}

/// Loads and asynchronous copies with a cache policy give what those without give.
#[test]
fn reads_that_stay_in_the_l2_are_right() {
    for name in KEEPING {
        let spec = keeping(name);
        let space = Space::new(&spec).unwrap_or_else(|declined| panic!("{name}: {declined}"));
        let mut keeping = space.configurations(Arch::Sm90, &spec.better.over[0]);
        keeping.retain(|config| config.load.priority == Priority::EvictLast);
        let cases = cases(&spec);
        let mut runs = 0;
        for config in sample(keeping, 4) {
            let candidate = space.generate(&config, Arch::Sm90).expect("listed configurations suit");
            let module =
                factory_ptx::parse(&candidate.ptx).unwrap_or_else(|errors| panic!("{config}: {errors}"));
            policy(&module, &spec.better.allow).unwrap_or_else(|rejection| panic!("{config}: {rejection}"));
            let refused = policy(&module, &[]).is_err();
            assert!(refused, "{name} {config}: nobody allowed it");
            for outcome in cases.iter().filter_map(|case| check(&spec, &candidate, case)) {
                outcome.unwrap_or_else(|error| panic!("{name} {config}: {error}"));
                runs += 1;
            }
        }
        assert!(runs > 8, "{name}: {runs} runs");
    }
}

/// What is written as well is not kept.
#[test]
fn arguments_that_are_written_too_do_not_stay_in_the_l2() {
    let spec = keeping("in_place");
    let space = Space::new(&spec).expect("the program is lowered");
    let configs = space.configurations(Arch::Sm90, &spec.better.over[0]);
    let last = configs.iter().filter(|config| config.load.priority == Priority::EvictLast);
    for config in last.step_by(9) {
        let candidate = space.generate(config, Arch::Sm90).expect("listed configurations suit");
        let module = factory_ptx::parse(&candidate.ptx).unwrap_or_else(|errors| panic!("{config}: {errors}"));
        policy(&module, &[]).unwrap_or_else(|rejection| panic!("{config}: {rejection}"));
    }
}

macro_rules! parts {
    ($($name:ident $part:literal;)*) => {$(
        #[test]
        fn $name() {
            check_programs($part, 4);
        }
    )*};
}

parts! {
    kernels_agree_with_the_oracle_1 0;
    kernels_agree_with_the_oracle_2 1;
    kernels_agree_with_the_oracle_3 2;
    kernels_agree_with_the_oracle_4 3;
}
