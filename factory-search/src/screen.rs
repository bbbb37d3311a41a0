//! What is done with every candidate, and what is remembered so that it is done once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use factory_ptx::ast::Module;
use factory_spec::{Arch, BoundSpec, SizeValues};

use crate::candidate::Candidate;
use crate::cases::Cases;
use crate::gates::machine::MachineGate;
use crate::gates::{self, Subject};
use crate::model::{self, Estimate, LaunchProfile, Target, estimate_variant};
use crate::toolchain::Resources;
use crate::verdict::{Gate, Reason, Rejection, Verdict};
use crate::worker::Prover;

type Shared<T> = Mutex<HashMap<[u8; 32], Arc<OnceLock<T>>>>;
type Profile = Result<Vec<LaunchProfile>, Reason>;

/// Runs gates and profiles, and remembers what they said about each body of PTX: the same body comes back for other
/// targets and other sizes.
pub(crate) struct Screen<'a> {
    pub(crate) spec: &'a BoundSpec,
    pub(crate) cases: &'a Cases,
    pub(crate) seed: u64,
    /// The target whose candidates a GPU runs, every case of them.
    measured: Option<Arch>,
    prover: Option<&'a dyn Prover>,
    quick: Shared<Result<(), Rejection>>,
    full: Shared<Result<u32, Rejection>>,
    profiles: Shared<Profile>,
}

/// How closely the machine looks at a candidate before anything else is done with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depth {
    /// How many cases are run, and how many elements they may have.
    pub(crate) cases: usize,
    pub(crate) elements: usize,
    /// How many threads all its launches may have, where there is a choice.
    pub(crate) threads: u64,
    /// Whether one is run where none is as small.
    pub(crate) always: bool,
    /// Elements of the largest tensor of a profile.
    pub(crate) profiled: usize,
}

const ALONE: Depth =
    Depth { cases: 3, elements: 12_000, threads: 1 << 20, always: true, profiled: model::PROFILED };
/// Where the machine's part is what keeps a GPU waiting that runs all cases right after. At long rows the smallest case and a
/// profile of the usual length took three quarters of what a core does for a candidate.
const BESIDE_A_GPU: Depth =
    Depth { cases: 1, elements: 4_000, threads: 1 << 16, always: false, profiled: model::PROFILED / 4 };

impl<'a> Screen<'a> {
    /// For the candidates of one search; of those for `measured` a GPU runs every case.
    pub(crate) fn new(
        spec: &'a BoundSpec,
        cases: &'a Cases,
        seed: u64,
        measured: Option<Arch>,
        prover: Option<&'a dyn Prover>,
    ) -> Self {
        Self {
            spec,
            cases,
            seed,
            measured,
            prover,
            quick: Mutex::default(),
            full: Mutex::default(),
            profiles: Mutex::default(),
        }
    }

    /// The gates that need no run: parse and policy.
    pub(crate) fn read(&self, candidate: &Candidate) -> Result<Module, Rejection> {
        let module = gates::parse::parse(self.spec, &Subject::from(candidate))?;
        gates::policy::policy(&module, &self.spec.better.allow)?;
        Ok(module)
    }

    fn depth(&self, candidate: &Candidate) -> Depth {
        if self.measured == Some(candidate.arch) { BESIDE_A_GPU } else { ALONE }
    }

    /// A few small cases on the machine, or one where a GPU runs all of them.
    pub(crate) fn quick(&self, candidate: &Candidate, module: &Module) -> Result<(), Rejection> {
        let depth = self.depth(candidate);
        once(&self.quick, machine_key(candidate, &depth), || {
            let gate = MachineGate::new(self.spec, Subject::from(candidate), module, self.seed)?;
            let few = self.cases.few(self.spec, &candidate.variant, depth);
            // None where all are large and a GPU runs them right after.
            if few.is_empty() && !depth.always {
                return Ok(());
            }
            gate.run_all(self.cases, &few, 1).map(|_| ())
        })
    }

    /// Every case on the machine, on so many threads where no prover takes it; how many there were.
    pub(crate) fn full(
        &self,
        candidate: &Candidate,
        module: &Module,
        threads: usize,
    ) -> Result<u32, Rejection> {
        once(&self.full, machine_key(candidate, &()), || {
            if let Some(prover) = self.prover {
                match prover.prove(self.spec, self.cases, self.seed, candidate) {
                    // It is lost, or the candidate was too much for it: this process can do it too.
                    Err(rejection) if rejection.verdict == Verdict::Infrastructure => {}
                    outcome => return outcome,
                }
            }
            let gate = MachineGate::new(self.spec, Subject::from(candidate), module, self.seed)?;
            gate.run_all(self.cases, &self.cases.served(self.spec, &candidate.variant), threads)
        })
    }

    /// Whether it passed every case on the machine before, for whatever target.
    pub(crate) fn is_proved(&self, candidate: &Candidate) -> bool {
        let full = self.full.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        full.get(&machine_key(candidate, &())).and_then(|cell| cell.get()).is_some_and(Result::is_ok)
    }

    /// What the candidate asks of the hardware at these sizes.
    pub(crate) fn profile(&self, candidate: &Candidate, module: &Module, over: &SizeValues) -> Profile {
        let most = self.depth(candidate).profiled;
        once(&self.profiles, machine_key(candidate, &(over, most)), || {
            model::profile(self.spec, candidate.arch, module, &candidate.variant, None, over, most)
        })
    }

    /// What the candidate asks of the hardware at these sizes, and the modelled time that comes of it.
    pub(crate) fn detail(
        &self,
        candidate: &Candidate,
        module: &Module,
        over: &SizeValues,
        resources: Option<&Resources>,
    ) -> Result<(Vec<LaunchProfile>, Estimate), Rejection> {
        let refuse = |reason| Rejection::new(Gate::Machine, reason);
        let mut profiles = self.profile(candidate, module, over).map_err(refuse)?;
        if let Some(resources) = resources {
            for (profile, launch) in profiles.iter_mut().zip(&candidate.variant.launches) {
                if let Some(found) = resources.get(&launch.entry) {
                    profile.registers = found.registers;
                    profile.spill_bytes =
                        f64::from(found.spill_bytes) * f64::from(profile.threads) * profile.blocks as f64;
                }
            }
        }
        let compulsory = model::compulsory_bytes(self.spec, over);
        let estimate = estimate_variant(&profiles, compulsory, Target::of(candidate.arch));
        let estimate = estimate.ok_or_else(|| {
            let entry =
                candidate.variant.launches.first().map(|launch| launch.entry.clone()).unwrap_or_default();
            let (asked, limit) = profiles.first().map_or((0, 0), |profile| {
                (
                    u64::from(profile.registers) * u64::from(profile.threads),
                    u64::from(Target::of(candidate.arch).registers),
                )
            });
            refuse(Reason::LaunchLimit {
                entry,
                what: "what a block needs of a multiprocessor (registers)".to_owned(),
                asked,
                limit,
            })
        })?;
        Ok((profiles, estimate))
    }
}

/// Computes a value once for each key; others that want it at the same time wait for it.
fn once<T: Clone>(map: &Shared<T>, key: [u8; 32], compute: impl FnOnce() -> T) -> T {
    let cell = {
        let mut map = map.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Arc::clone(map.entry(key).or_default())
    };
    cell.get_or_init(compute).clone()
}

/// What decides how a candidate runs on the machine, its code and its plan, but not `.version` and `.target`; and what it is
/// asked, since of a candidate for the target that is measured less is.
fn machine_key(candidate: &Candidate, asked: &dyn std::fmt::Debug) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for line in candidate.ptx.lines() {
        let trimmed = line.trim_start();
        if !trimmed.starts_with(".version") && !trimmed.starts_with(".target") {
            hash.update(line.as_bytes());
            hash.update([b'\n']);
        }
    }
    hash.update(format!("{:?}", candidate.variant));
    hash.update(format!("{asked:?}"));
    hash.finalize().into()
}
