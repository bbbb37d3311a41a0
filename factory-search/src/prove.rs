//! A whole plan is proved: the gates that need no GPU, on the very bytes that are sealed.

use std::collections::BTreeSet;

use factory_spec::{BoundSpec, GateRecord, Outcome, Plan, Sealed, SizeId, SizeValues, TargetPlan, Variant};

use crate::cases::{Cases, PreparedCase};
use crate::gates::machine::{MachineGate, run_ranked};
use crate::gates::{self, Subject};
use crate::launch;
use crate::parallel;
use crate::toolchain::{EntryResources, Ptxas};
use crate::verdict::{Gate, Reason, Rejection};

/// What a plan's gates say of one target.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    pub(crate) records: Vec<GateRecord>,
}

/// What the policy gate looked for.
fn allowed(spec: &BoundSpec) -> String {
    let names: Vec<String> = spec.better.allow.iter().map(ToString::to_string).collect();
    match names.is_empty() {
        true => "everything is on the allowlist".to_owned(),
        false => format!("everything is on the allowlist or allowed by the spec: {}", names.join(", ")),
    }
}

/// Runs parse, policy, assemble and machine on one target of a plan.
///
/// The machine runs every case on whatever variant serves it, and then each variant on its own: a variant that no case
/// would reach in the plan is not sealed unproved.
pub(crate) fn prove_target(
    spec: &BoundSpec,
    subject: &Subject<'_>,
    cases: &Cases,
    ptxas: Result<&Ptxas, &str>,
    threads: usize,
    seed: u64,
) -> Result<Proof, Rejection> {
    let target = Some(subject.arch);
    let passed = |gate: Gate, cases: u32, detail: String| GateRecord {
        gate: gate.name().to_owned(),
        target,
        outcome: Outcome::Passed { cases, detail },
    };
    let mut records = Vec::new();

    let module = gates::parse::parse(spec, subject)?;
    let entries = module.entries().count();
    records.push(passed(Gate::Parse, 0, format!("{entries} entries agree with the plan")));
    gates::policy::policy(&module, &spec.better.allow)?;
    records.push(passed(Gate::Policy, 0, allowed(spec)));

    match ptxas {
        Ok(ptxas) => {
            let resources = gates::assemble::assemble(ptxas, subject.ptx, subject.arch)?;
            let most = |of: fn(&EntryResources) -> u32| resources.values().map(of).max().unwrap_or(0);
            records.push(passed(
                Gate::Assemble,
                0,
                format!(
                    "ptxas {}: at most {} registers, {} bytes spilled, {} bytes of stack",
                    ptxas.version(),
                    most(|entry| entry.registers),
                    most(|entry| entry.spill_bytes),
                    most(|entry| entry.stack_bytes)
                ),
            ));
        }
        Err(reason) => {
            records.push(GateRecord {
                gate: Gate::Assemble.name().to_owned(),
                target,
                outcome: Outcome::NotRun { reason: reason.to_owned() },
            });
        }
    }

    // Every case on the plan as a launch would choose, then what was not reached on its own.
    let gate = MachineGate::new(spec, *subject, &module, seed)?;
    let all: Vec<usize> = (0..cases.all().len()).collect();
    let unserved = all.iter().find(|&&index| gate.variant_for(&cases.all()[index]).is_none());
    if let Some(&index) = unserved {
        // The last variant serves every size, so this is a broken plan and no gap of the cases.
        let message = format!("no variant serves {}", cases.all()[index].label);
        return Err(Rejection::new(Gate::Machine, Reason::Plan { message }));
    }
    let mut ran = Ran::default();
    let mut unreached: Vec<&Variant> = Vec::new();
    for (position, variant) in subject.variants.iter().enumerate() {
        let reached = |index: &usize| gate.variant_for(&cases.all()[*index]) == Some(position);
        let these: Vec<usize> = all.iter().copied().filter(reached).collect();
        match these.is_empty() {
            true => unreached.push(variant),
            false => drop(ran.note(variant, &these)),
        }
    }
    let mut gates: Vec<(MachineGate<'_>, Vec<usize>)> = vec![(gate, all)];
    for variant in unreached {
        let served = cases.served(spec, variant);
        if served.is_empty() {
            let when = variant.when.to_string();
            return Err(Rejection::new(Gate::Machine, Reason::NoCase { when }));
        }
        let fresh = ran.note(variant, &served);
        if !fresh.is_empty() {
            let alone = Subject { variants: std::slice::from_ref(variant), ..*subject };
            gates.push((MachineGate::new(spec, alone, &module, seed)?, fresh));
        }
    }
    run_all(&gates, cases, threads)?;
    let count: usize = gates.iter().map(|(_, indices)| indices.len()).sum();
    records.push(passed(
        Gate::Machine,
        count as u32,
        format!(
            "{} variants; all outputs written and right, no fault, seed {seed}{}",
            subject.variants.len(),
            gates[0].0.not_compared()
        ),
    ));
    Ok(Proof { records })
}

/// Runs the cases of all gates, the longest first, so that no thread waits for the end of one gate; the first refusal in the
/// order of the gates and of their cases.
fn run_all(gates: &[(MachineGate<'_>, Vec<usize>)], cases: &Cases, threads: usize) -> Result<(), Rejection> {
    let runs = gates.iter().flat_map(|(gate, indices)| indices.iter().map(move |&index| (gate, index)));
    let mut runs: Vec<(usize, &MachineGate<'_>, &PreparedCase)> =
        runs.enumerate().map(|(rank, (gate, index))| (rank, gate, &cases.all()[index])).collect();
    runs.sort_by_key(|(rank, _, case)| (std::cmp::Reverse(case.elements), *rank));
    run_ranked(&runs, threads)?;
    let orders = |_: usize, (gate, indices): &(MachineGate<'_>, Vec<usize>)| gate.orders(cases, indices);
    parallel::map(threads, gates, orders, |_, _| ()).into_iter().collect()
}

/// Which cases each program of a plan ran. Variants that differ in their conditions alone are the same program, and no
/// program runs a case twice.
#[derive(Default)]
struct Ran<'a> {
    programs: Vec<(&'a Variant, BTreeSet<usize>)>,
}

impl<'a> Ran<'a> {
    /// Notes that a variant runs these; those of them that its program did not run before.
    fn note(&mut self, variant: &'a Variant, these: &[usize]) -> Vec<usize> {
        let program = |variant: &'a Variant| (&variant.launches, &variant.scratch, variant.alignment);
        let at = self.programs.iter().position(|(other, _)| program(other) == program(variant));
        let at = at.unwrap_or_else(|| {
            self.programs.push((variant, BTreeSet::new()));
            self.programs.len() - 1
        });
        these.iter().copied().filter(|index| self.programs[at].1.insert(*index)).collect()
    }
}

/// What re-running the gates on a sealed kernel found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verified {
    /// Every gate, run or not, for each target.
    pub records: Vec<GateRecord>,
}

/// Runs parse, policy, assemble (with a ptxas) and machine again on a sealed kernel, with cases of this seed.
///
/// # Errors
/// The first refusal, with the target it is about.
pub fn verify(
    spec: &BoundSpec,
    sealed: &Sealed,
    ptxas: Result<&Ptxas, &str>,
    threads: usize,
    seed: u64,
) -> Result<Verified, (factory_spec::Arch, Rejection)> {
    let cases = cases_for_plan(spec, &sealed.plan, seed);
    let mut records = Vec::new();
    for target in &sealed.plan.targets {
        let ptx = sealed.ptx.get(&target.ptx).ok_or_else(|| {
            let message = format!("`{}` is not there", target.ptx);
            (target.arch, Rejection::new(Gate::Parse, Reason::Plan { message }))
        })?;
        let proof = prove_target(spec, &Subject::of_target(target, ptx), &cases, ptxas, threads, seed)
            .map_err(|rejection| (target.arch, rejection))?;
        records.extend(proof.records);
    }
    Ok(Verified { records })
}

/// Cases for a plan: the drawn ones, those near `better.over`, and sizes on both sides of each boundary between variants.
pub(crate) fn cases_for_plan(spec: &BoundSpec, plan: &Plan, seed: u64) -> Cases {
    let mut cases = Cases::draw(spec, seed, &spec.better.over);
    for target in &plan.targets {
        add_boundaries(spec, target, &mut cases, seed);
    }
    cases
}

/// Adds sizes at and next to each bound `size <= bound` that a variant's condition names, and for a variant that no case falls
/// under one that does.
pub(crate) fn add_boundaries(spec: &BoundSpec, target: &TargetPlan, cases: &mut Cases, seed: u64) {
    for variant in &target.variants {
        if cases.served(spec, variant).is_empty() {
            let small = spec.better.over.iter().filter(|over| launch::serves(spec, over, variant));
            if let Some(sizes) = small.map(|over| smallest_served(spec, over, variant)).next() {
                cases.add(spec, sizes, seed);
            }
        }
        for (name, bound) in upper_bounds(&variant.when) {
            let Some(id) = spec.size_id(&name) else { continue };
            let factory_spec::SizeKind::Free { multiple_of, .. } = spec.size(id).kind else { continue };
            let at = bound / multiple_of * multiple_of;
            for value in [at, at + multiple_of] {
                // Any case will do for the other sizes; the smallest keeps it cheap.
                let base =
                    cases.all().iter().min_by_key(|case| case.elements).map(|case| case.case.sizes.clone());
                if let Some(sizes) = base.and_then(|base| crate::model::with_size(spec, &base, id, value))
                    && spec.elements_of_all(&sizes) <= 1 << 21
                    && launch::chosen(spec, &sizes, &target.variants).is_some()
                {
                    cases.add(spec, sizes, seed ^ value);
                }
            }
        }
    }
}

/// Sizes of which each is as small as it can be, but for a few rows, while the variant still serves them.
fn smallest_served(spec: &BoundSpec, over: &SizeValues, variant: &Variant) -> SizeValues {
    let mut now = over.clone();
    for (index, size) in spec.sizes.iter().enumerate() {
        let factory_spec::SizeKind::Free { min, multiple_of, .. } = size.kind else { continue };
        let id = SizeId(index as u32);
        let least = min.max(3).next_multiple_of(multiple_of.max(1)).min(now[id]);
        let smaller = crate::model::with_size(spec, &now, id, least);
        now = smaller.filter(|smaller| launch::serves(spec, smaller, variant)).unwrap_or(now);
    }
    now
}

/// The bounds `size <= number` of a conjunction.
fn upper_bounds(when: &factory_spec::SizeExpr) -> Vec<(String, u64)> {
    use factory_spec::{SizeBinary, SizeExpr};
    match when {
        SizeExpr::Binary(SizeBinary::And, left, right) => {
            let mut bounds = upper_bounds(left);
            bounds.extend(upper_bounds(right));
            bounds
        }
        SizeExpr::Binary(SizeBinary::Le, left, right) => match (&**left, right.as_constant()) {
            (SizeExpr::Size(name), Some(bound)) if bound > 0 => vec![(name.clone(), bound.unsigned_abs())],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}
