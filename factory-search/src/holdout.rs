//! The holdout gate: cases of a secret seed, drawn when every candidate is frozen.
//!
//! Whoever proposes kernels may have seen verdicts on every case of the search's own seed. The seed of these is drawn by
//! the system once measuring is over, so no candidate was made in their light. It is written down, and
//! `cargo factory verify --gpu --seed N` runs the same cases again.

use factory_spec::{BoundSpec, GateRecord, Outcome, TargetPlan};

use crate::candidate::Candidate;
use crate::cases::Cases;
use crate::gpu;
use crate::measurer::Measurer;
use crate::prove::add_boundaries;
use crate::verdict::{Gate, Rejection};

/// Cases that no candidate was ever judged by.
pub(crate) struct HeldOut {
    seed: u64,
    cases: Cases,
}

impl HeldOut {
    /// Draws a seed and its cases.
    pub(crate) fn draw(spec: &BoundSpec) -> HeldOut {
        let seed = gpu::secret_seed();
        HeldOut { seed, cases: Cases::draw(spec, seed, &spec.better.over) }
    }

    /// Runs a candidate on them; whether there was a device to run them.
    ///
    /// # Errors
    /// The refusal, with the gate `Holdout`.
    pub(crate) fn check(
        &self,
        measurer: &mut dyn Measurer,
        spec: &BoundSpec,
        candidate: &Candidate,
    ) -> Result<bool, Rejection> {
        measurer.hold_out(spec, &self.cases, candidate).transpose().map(|report| report.is_some())
    }
}

/// Runs every variant of the very text that is sealed on cases of a secret seed of its own; `None` without a device.
///
/// # Errors
/// The first refusal.
pub(crate) fn hold_out_target(
    measurer: &mut dyn Measurer,
    spec: &BoundSpec,
    target: &TargetPlan,
    ptx: &str,
) -> Result<Option<GateRecord>, Rejection> {
    let HeldOut { seed, mut cases } = HeldOut::draw(spec);
    add_boundaries(spec, target, &mut cases, seed);
    let mut count = 0;
    let mut last = String::new();
    for variant in &target.variants {
        let candidate = Candidate {
            id: variant.name.clone(),
            proposer: "sealed",
            tunables: Default::default(),
            origin: Default::default(),
            arch: target.arch,
            ptx: ptx.to_owned(),
            variant: variant.clone(),
            image: None,
        };
        let Some(report) = measurer.hold_out(spec, &cases, &candidate).transpose()? else { return Ok(None) };
        count += report.cases;
        last = report.to_string();
    }
    let detail = format!(
        "{} variants on {}, driver {}, secret seed {seed} drawn after all were frozen; the last one: {last}",
        target.variants.len(),
        measurer.name(),
        measurer.driver()
    );
    Ok(Some(GateRecord {
        gate: Gate::Holdout.name().to_owned(),
        target: Some(target.arch),
        outcome: Outcome::Passed { cases: count, detail },
    }))
}
