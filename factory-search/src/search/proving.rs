//! The gates that cost more than a glance: the assembler, and every case on the machine.

use factory_spec::Arch;

use super::Run;
use super::entry::{Entry, ranked};
use crate::candidate::Candidate;
use crate::error::SearchError;
use crate::found::{Time, TimeBasis};
use crate::gates;
use crate::learn::View;
use crate::observer::{Event, Observer, Phase};
use crate::parallel;
use crate::screen::Screen;
use crate::toolchain::Resources;
use crate::verdict::{Gate, Rejection};

/// Candidates for each target and size that are assembled, so that their order rests on real registers.
const ASSEMBLED: usize = 12;

/// Registers a thread, of the entry that needs most.
pub(super) fn registers(resources: &Resources) -> Option<u32> {
    resources.values().map(|entry| entry.registers).max()
}

/// What the assembler and the model say of a candidate.
struct Assembled {
    registers: u32,
    seconds: f64,
    view: Option<View>,
}

impl Run<'_> {
    /// The variant that serves every size is proved before anything else: without it nothing can be sealed.
    pub(super) fn fallbacks(&self, screen: &Screen<'_>) -> Result<Vec<Candidate>, SearchError> {
        let made = parallel::map(
            self.threads,
            self.arches,
            |_, &arch| -> Result<Candidate, Rejection> {
                let candidate =
                    self.proposer.fallback(arch).map_err(|reason| Rejection::new(Gate::Generate, reason))?;
                let module = screen.read(&candidate)?;
                screen.quick(&candidate, &module)?;
                Ok(candidate)
            },
            |_, _| (),
        );
        self.arches
            .iter()
            .zip(made)
            .map(|(arch, made)| {
                made.map_err(|rejection| SearchError::Fallback {
                    kernel: self.spec.name.clone(),
                    arch: arch.to_string(),
                    rejection: Box::new(rejection),
                })
            })
            .collect()
    }

    /// For targets that nobody measures: assembles the best by the model, orders them again with real registers, and runs
    /// every case on the first that passes them all; where that one serves this one size alone, on the first after it
    /// that serves more.
    pub(super) fn prove_best(&self, screen: &Screen<'_>, pool: &mut [Entry], observer: &mut dyn Observer) {
        let groups: Vec<(Arch, usize)> =
            self.unmeasured().flat_map(|arch| (0..self.over.len()).map(move |over| (arch, over))).collect();
        observer.event(&Event::Phase { phase: Phase::Prove, total: groups.len() });
        self.prove_groups(screen, pool, &groups, observer);
    }

    /// The same for these targets and entries of `better.over`.
    pub(super) fn prove_groups(
        &self,
        screen: &Screen<'_>,
        pool: &mut [Entry],
        groups: &[(Arch, usize)],
        observer: &mut dyn Observer,
    ) {
        let chosen: Vec<usize> = groups
            .iter()
            .flat_map(|&(arch, over)| ranked(pool, arch, over).into_iter().take(ASSEMBLED))
            .collect();
        self.assemble(screen, pool, &chosen);
        let shared: &[Entry] = pool;
        let threads = self.threads_of_each(groups.len());
        let outcomes = parallel::map(
            self.threads.max(self.provers),
            groups,
            |_, &(arch, over)| {
                let mut outcomes: Vec<(usize, Result<u32, Rejection>)> = Vec::new();
                // Candidates that were assembled go first: their order rests on more. When time is over, those that need no
                // further proof do.
                let mut order = ranked(shared, arch, over);
                order.sort_by_key(|&index| shared[index].record.registers.is_none());
                if self.out_of_time() {
                    let known = |candidate: &Candidate| screen.is_proved(candidate);
                    order.sort_by_key(|&index| !shared[index].candidate.as_ref().is_some_and(known));
                }
                let mut passed = false;
                for index in order {
                    let Some(candidate) = &shared[index].candidate else { continue };
                    let roomy = self.is_roomy(&shared[index]);
                    if passed && !roomy {
                        continue;
                    }
                    let outcome =
                        screen.read(candidate).and_then(|module| screen.full(candidate, &module, threads));
                    passed |= outcome.is_ok();
                    let enough = outcome.is_ok() && roomy;
                    outcomes.push((index, outcome));
                    if enough {
                        break;
                    }
                }
                outcomes
            },
            |_, _| (),
        );
        self.note_proofs(pool, outcomes.into_iter().flatten(), observer);
    }

    /// Assembles these and runs every case on each.
    pub(super) fn prove_these(
        &self,
        screen: &Screen<'_>,
        pool: &mut [Entry],
        these: &[usize],
        observer: &mut dyn Observer,
    ) {
        self.assemble(screen, pool, these);
        let left: Vec<usize> =
            these.iter().copied().filter(|&index| pool[index].record.rejection.is_none()).collect();
        let shared: &[Entry] = pool;
        let threads = self.threads_of_each(left.len());
        let outcomes = parallel::map(
            self.threads.max(self.provers),
            &left,
            |_, &index| {
                let candidate = shared[index].candidate.as_ref()?;
                let outcome =
                    screen.read(candidate).and_then(|module| screen.full(candidate, &module, threads));
                Some((index, outcome))
            },
            |_, _| (),
        );
        self.note_proofs(pool, outcomes.into_iter().flatten(), observer);
    }

    /// Threads for each of so many proofs that are made side by side.
    fn threads_of_each(&self, proofs: usize) -> usize {
        (self.threads / proofs.max(1)).max(1)
    }

    fn note_proofs(
        &self,
        pool: &mut [Entry],
        outcomes: impl Iterator<Item = (usize, Result<u32, Rejection>)>,
        observer: &mut dyn Observer,
    ) {
        for (index, outcome) in outcomes {
            let entry = &mut pool[index];
            match outcome {
                Ok(_) => entry.proved = true,
                Err(rejection) => entry.refuse(rejection),
            }
            observer.event(&Event::Verdict { phase: Phase::Prove, record: &pool[index].record });
        }
    }

    /// Assembles these where there is an assembler, and estimates them again with the registers that it gave.
    fn assemble(&self, screen: &Screen<'_>, pool: &mut [Entry], these: &[usize]) {
        let Ok(ptxas) = self.ptxas else { return };
        let these: Vec<usize> =
            these.iter().copied().filter(|&index| pool[index].record.registers.is_none()).collect();
        let shared: &[Entry] = pool;
        let outcomes = parallel::map(
            self.threads,
            &these,
            |_, &index| -> Option<Result<Assembled, Rejection>> {
                let entry = &shared[index];
                let candidate = entry.candidate.as_ref()?;
                Some((|| {
                    let resources = gates::assemble::assemble(ptxas, &candidate.ptx, candidate.arch)?;
                    let module = screen.read(candidate)?;
                    let over = &self.over[entry.over];
                    let (profiles, estimate) = screen.detail(candidate, &module, over, Some(&resources))?;
                    let view = entry
                        .view
                        .is_some()
                        .then(|| View::new(&candidate.id, &candidate.tunables, &profiles, &estimate));
                    let registers = registers(&resources).unwrap_or(0);
                    Ok(Assembled { registers, seconds: estimate.seconds, view })
                })())
            },
            |_, _| (),
        );
        for (&index, outcome) in these.iter().zip(outcomes) {
            let entry = &mut pool[index];
            match outcome {
                Some(Ok(Assembled { registers, seconds, view })) => {
                    entry.record.registers = Some(registers);
                    entry.record.modelled = Some(Time { seconds, basis: TimeBasis::Modelled });
                    entry.view = view;
                }
                Some(Err(rejection)) => entry.refuse(rejection),
                None => {}
            }
        }
    }
}
