//! The device gate on a sealed kernel.

use factory_spec::{BoundSpec, GateRecord, Outcome, Sealed};

use crate::candidate::Candidate;
use crate::options::WorkerOptions;
use crate::prove::{Verified, cases_for_plan};
use crate::start;
use crate::verdict::{Gate, Reason, Rejection};

/// Runs the device gate on every variant that a GPU would launch, each on all cases that it serves: in a worker process where the
/// program can be started as one ([`crate::serve_if_asked`]), else in this one.
///
/// # Errors
/// The GPU cannot be used, has no target in the plan, or the gate refuses a variant.
pub fn verify_on_gpu(
    spec: &BoundSpec,
    sealed: &Sealed,
    ordinal: usize,
    seed: u64,
) -> Result<Verified, Rejection> {
    let infrastructure = |message: String| Rejection::new(Gate::Device, Reason::Infrastructure { message });
    let workers = WorkerOptions { gpus: 1, ..WorkerOptions::default() };
    let mut gpu = start::gpu(ordinal, &workers, &mut |_| ()).map_err(infrastructure)?;
    let (major, minor) = gpu.capability();
    let target = sealed.plan.target_for((major, minor)).ok_or_else(|| {
        infrastructure(format!(
            "the plan has no target for {} (compute capability {major}.{minor})",
            gpu.name()
        ))
    })?;
    let ptx = sealed
        .ptx
        .get(&target.ptx)
        .ok_or_else(|| infrastructure(format!("`{}` is not among the sealed files", target.ptx)))?;
    let cases = cases_for_plan(spec, &sealed.plan, seed);
    let mut count = 0;
    let mut protection = String::new();
    for variant in &target.variants {
        let candidate = Candidate {
            id: variant.name.clone(),
            proposer: "sealed",
            origin: Default::default(),
            tunables: Default::default(),
            arch: target.arch,
            ptx: ptx.clone(),
            variant: variant.clone(),
            image: None,
        };
        let report = gpu.check(spec, &cases, &candidate)?;
        count += report.cases;
        protection = report.to_string();
    }
    let detail = format!(
        "{} variants on {}, driver {}, seed {seed}; the last one: {protection}",
        target.variants.len(),
        gpu.name(),
        gpu.driver()
    );
    let record = GateRecord {
        gate: Gate::Device.name().to_owned(),
        target: Some(target.arch),
        outcome: Outcome::Passed { cases: count, detail },
    };
    Ok(Verified { records: vec![record] })
}
