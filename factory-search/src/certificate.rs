//! What a search writes down about its winner.

use std::collections::BTreeMap;

use factory_spec::{
    Arch, Basis, BoundSpec, CandidateCounts, Certificate, Figure, GateRecord, Outcome, Plan, SizeValues,
};

use crate::found::{CandidateRecord, Time, TimeBasis};
use crate::launch;
use crate::measurer::Measurer;
use crate::model::{Target, compulsory_bytes};
use crate::options::SearchOptions;
use crate::prove::Proof;
use crate::toolchain::Ptxas;
use crate::verdict::{Gate, Verdict};

/// What is known of one target's plan.
pub(crate) struct Evidence {
    pub(crate) arch: Arch,
    pub(crate) proof: Proof,
    pub(crate) served: Vec<ServedSizes>,
    /// What the holdout gate said, where it ran; why it did not where it could have.
    pub(crate) holdout: Result<Option<GateRecord>, String>,
}

/// One entry of `better.over` and the time of its winner.
pub(crate) struct ServedSizes {
    pub(crate) sizes: SizeValues,
    pub(crate) time: Option<Time>,
    /// Whether the time is of the last call, in which the best were measured again side by side.
    pub(crate) last: bool,
}

/// The certificate of a plan. Nothing in it depends on the clock, the machine's paths or the number of threads.
pub(crate) fn certificate(
    spec: &BoundSpec,
    options: &SearchOptions,
    candidates: &[CandidateRecord],
    evidence: &[Evidence],
    plan: &Plan,
    ptxas: Result<&Ptxas, &str>,
    gpu: Result<&dyn Measurer, &str>,
) -> Certificate {
    let mut versions = BTreeMap::from([("kernel-factory".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    if let Ok(ptxas) = ptxas {
        versions.insert("ptxas".to_owned(), ptxas.version().to_owned());
    }
    if let Ok(gpu) = gpu {
        versions.insert("driver".to_owned(), gpu.driver().to_owned());
    }
    let mut refused: BTreeMap<String, u64> = BTreeMap::new();
    for record in candidates.iter().filter(|record| record.verdict != Verdict::Pass) {
        *refused.entry(record.gate.name().to_owned()).or_default() += 1;
    }
    let mut gates = Vec::new();
    let mut figures = Vec::new();
    for part in evidence {
        gates.extend(part.proof.records.iter().cloned());
        let measured = part.served.iter().filter(|served| is_measured(served.time.as_ref())).count() as u32;
        let last = part.served.iter().filter(|served| served.last).count();
        for gate in [Gate::Device, Gate::Time] {
            let outcome = match gpu {
                Err(reason) => Outcome::NotRun { reason: format!("no GPU took part: {reason}") },
                Ok(gpu) if !part.arch.runs_on(gpu.capability()) => {
                    Outcome::NotRun { reason: format!("{} does not run {} code", gpu.name(), part.arch) }
                }
                // A winner that could not be measured was chosen by the model.
                Ok(gpu) if (measured as usize) < part.served.len() => Outcome::NotRun {
                    reason: format!(
                        "on {}: {measured} of {} entries of `better.over` were measured",
                        gpu.name(),
                        part.served.len()
                    ),
                },
                // The times of the rounds order candidates and are no result.
                Ok(gpu) if gate == Gate::Time && last < part.served.len() => Outcome::NotRun {
                    reason: format!(
                        "on {}: {last} of {} winners were measured a second time",
                        gpu.name(),
                        part.served.len()
                    ),
                },
                Ok(gpu) => Outcome::Passed {
                    cases: measured,
                    detail: format!("each winner alone on {}, driver {}", gpu.name(), gpu.driver()),
                },
            };
            gates.push(GateRecord { gate: gate.name().to_owned(), target: Some(part.arch), outcome });
        }
        let holdout = part.holdout.as_ref();
        gates.push(holdout.ok().cloned().flatten().unwrap_or_else(|| {
            let reason = match (gpu, holdout) {
                (_, Err(reason)) => reason.clone(),
                (Err(reason), _) => format!("no GPU took part: {reason}"),
                (Ok(gpu), _) => format!("{} does not run {} code", gpu.name(), part.arch),
            };
            let outcome = Outcome::NotRun { reason };
            GateRecord { gate: Gate::Holdout.name().to_owned(), target: Some(part.arch), outcome }
        }));
        figures.extend(part.served.iter().map(|served| figure(spec, part.arch, served, plan, gpu)));
    }
    Certificate {
        schema: Certificate::SCHEMA,
        name: spec.name.clone(),
        key: spec.key(),
        meaning: spec.meaning(),
        bindings: spec.bindings.clone(),
        spec: spec.canonical(),
        versions,
        seed: options.seed,
        candidates: CandidateCounts { considered: candidates.len() as u64, refused },
        gates,
        figures,
        // Filled in when the certificate is sealed.
        files: BTreeMap::new(),
    }
}

fn is_measured(time: Option<&Time>) -> bool {
    time.is_some_and(|time| time.basis == TimeBasis::Measured)
}

fn figure(
    spec: &BoundSpec,
    arch: Arch,
    served: &ServedSizes,
    plan: &Plan,
    gpu: Result<&dyn Measurer, &str>,
) -> Figure {
    let variant = plan
        .target(arch)
        .and_then(|target| launch::chosen(spec, &served.sizes, &target.variants))
        .map(|variant| variant.name.clone());
    let bandwidth = Target::of(arch).memory_bandwidth;
    let basis = match gpu {
        Ok(gpu) if is_measured(served.time.as_ref()) => {
            Basis::Measured { device: gpu.name().to_owned(), driver: gpu.driver().to_owned() }
        }
        _ => Basis::Modelled,
    };
    // Three significant digits: a model has no more, and the bytes must not hang on the last bit of a power function.
    let rounded = |seconds: f64| -> f64 {
        if seconds > 0.0 { format!("{seconds:.2e}").parse().unwrap_or(seconds) } else { seconds }
    };
    Figure {
        target: arch,
        sizes: spec.named_values(&served.sizes),
        variant: variant.unwrap_or_default(),
        seconds: served.time.as_ref().map(|time| match time.basis {
            TimeBasis::Modelled => rounded(time.seconds),
            TimeBasis::Measured => time.seconds,
        }),
        roofline_seconds: Some(rounded(compulsory_bytes(spec, &served.sizes) / bandwidth)),
        basis,
    }
}
