//! The search itself.

use std::collections::BTreeMap;
use std::time::Instant;

use factory_spec::{Arch, BoundSpec, Metric, Minimize, Plan, Requirement, SizeValues, TargetPlan, admission};

use crate::candidate::{Candidate, Tunables};
use crate::cases::Cases;
use crate::certificate::{Evidence, ServedSizes, certificate};
use crate::compose::{Composed, compose, regions};
use crate::error::SearchError;
use crate::found::{CandidateRecord, Found, Time, TimeBasis};
use crate::gates::{self, Subject};
use crate::gpu::{Gpu, MeasureOptions};
use crate::launch;
use crate::observer::{Event, Observer, Phase};
use crate::options::{GpuPolicy, SearchOptions};
use crate::parallel;
use crate::proposer::{Proposal, Proposer};
use crate::prove::{add_boundaries, prove_target};
use crate::screen::Screen;
use crate::toolchain::Ptxas;
use crate::verdict::{Gate, Reason, Rejection, Verdict};

/// Candidates for each target and size that are assembled, so that their order rests on real registers.
const ASSEMBLED: usize = 12;
/// Candidates for each size that a GPU measures.
const MEASURED: usize = 24;

/// Searches with the generator for the best kernel of a spec.
///
/// # Errors
/// The spec is refused or declined, nothing passed, or a tool that was asked for does not work.
pub fn search(
    spec: &BoundSpec,
    options: &SearchOptions,
    observer: &mut dyn Observer,
) -> Result<Found, SearchError> {
    let generator = crate::from_generator::Generator::new(spec)?;
    search_with(spec, options, &generator, observer)
}

/// Searches with any proposer.
///
/// # Errors
/// The spec is refused, nothing passed, or a tool that was asked for does not work.
pub fn search_with(
    spec: &BoundSpec,
    options: &SearchOptions,
    proposer: &dyn Proposer,
    observer: &mut dyn Observer,
) -> Result<Found, SearchError> {
    let mut arches = options.arches.clone();
    arches.sort();
    arches.dedup();
    if !arches.is_empty() && arches != spec.targets {
        // A sealed kernel has every target of its spec, so other targets are another spec, with a key of its own.
        let narrowed = BoundSpec { targets: arches, ..spec.clone() };
        let options = SearchOptions { arches: Vec::new(), ..options.clone() };
        return search_with(&narrowed, &options, proposer, observer);
    }
    let started = Instant::now();
    observer.event(&Event::Phase { phase: Phase::Admit, total: 0 });
    check_objective(spec)?;
    admission::admit_with(spec, options.seed)
        .map_err(|refused| SearchError::Refused { kernel: spec.name.clone(), reason: refused.to_string() })?;
    let ptxas = Ptxas::find(&options.ptxas)?;
    if let Err(reason) = &ptxas {
        observer.event(&Event::NotRun { gate: Gate::Assemble, reason });
    }
    let arches = spec.targets.clone();
    let mut gpu = open_gpu(options, &arches)?;
    if let Err(reason) = &gpu {
        observer.event(&Event::NotRun { gate: Gate::Device, reason });
        observer.event(&Event::NotRun { gate: Gate::Time, reason });
    }
    let mut cases = Cases::draw(spec, options.seed, &spec.better.over);
    let over = sizes_to_optimise(spec, &cases)?;
    let run = Run {
        spec,
        options,
        proposer,
        ptxas: ptxas.as_ref().map_err(String::as_str),
        threads: options.worker_threads(),
        started,
        over: &over,
        arches: &arches,
    };
    let screen = Screen::new(spec, &cases, options.seed);
    let fallbacks = run.fallbacks(&screen)?;
    let mut pool = run.screen_all(&screen, observer);
    run.prove_best(&screen, &mut pool, gpu.is_ok(), observer);
    if let Ok(gpu) = &mut gpu {
        run.measure(gpu, &cases, &mut pool, observer);
    }
    let winners = run.winners(&pool, observer);
    drop(screen);
    run.seal(pool, &winners, &fallbacks, &mut cases, gpu.as_ref().map_err(String::as_str), observer)
}

/// The GPU that the options ask for, or why there is none.
fn open_gpu(options: &SearchOptions, arches: &[Arch]) -> Result<Result<Gpu, String>, SearchError> {
    let ordinal = match options.gpu {
        GpuPolicy::Off => return Ok(Err("it was switched off".to_owned())),
        GpuPolicy::Auto => 0,
        GpuPolicy::Require(ordinal) => ordinal,
    };
    let opened = Gpu::open(ordinal).and_then(|gpu| {
        let (major, minor) = gpu.capability();
        match arches.iter().any(|arch| arch.runs_on((major, minor))) {
            true => Ok(gpu),
            false => {
                Err(format!("{} has compute capability {major}.{minor}, which no target runs on", gpu.name()))
            }
        }
    });
    match (opened, options.gpu) {
        (Err(message), GpuPolicy::Require(ordinal)) => Err(SearchError::Gpu { ordinal, message }),
        (opened, _) => Ok(opened),
    }
}

/// The entries of `better.over`, or the largest drawn case when the spec names none.
fn sizes_to_optimise(spec: &BoundSpec, cases: &Cases) -> Result<Vec<SizeValues>, SearchError> {
    if !spec.better.over.is_empty() {
        return Ok(spec.better.over.clone());
    }
    let largest = cases.all().iter().max_by_key(|case| case.elements);
    largest.map(|case| vec![case.case.sizes.clone()]).ok_or_else(|| SearchError::Over {
        kernel: spec.name.clone(),
        message: "it names no sizes, and no case could be drawn to take its place".to_owned(),
    })
}

/// One candidate on its way.
struct Entry {
    record: CandidateRecord,
    over: usize,
    candidate: Option<Candidate>,
    /// Whether it passed every gate that could be run for it.
    proved: bool,
}

impl Entry {
    fn refuse(&mut self, rejection: Rejection) {
        self.record.gate = rejection.gate;
        self.record.verdict = rejection.verdict;
        self.record.rejection = Some(rejection);
        self.proved = false;
    }

    fn seconds(&self) -> f64 {
        self.record.best_time().map_or(f64::INFINITY, |time| time.seconds)
    }
}

/// One search.
struct Run<'a> {
    spec: &'a BoundSpec,
    options: &'a SearchOptions,
    proposer: &'a dyn Proposer,
    ptxas: Result<&'a Ptxas, &'a str>,
    threads: usize,
    started: Instant,
    over: &'a [SizeValues],
    arches: &'a [Arch],
}

impl Run<'_> {
    fn out_of_time(&self) -> bool {
        self.options.budget.seconds.is_some_and(|limit| self.started.elapsed().as_secs_f64() > limit)
    }

    /// The variant that serves every size is proved before anything else: without it nothing can be sealed.
    fn fallbacks(&self, screen: &Screen<'_>) -> Result<Vec<Candidate>, SearchError> {
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

    /// Lists configurations and runs the cheap gates on each.
    fn screen_all(&self, screen: &Screen<'_>, observer: &mut dyn Observer) -> Vec<Entry> {
        observer.event(&Event::Phase { phase: Phase::Enumerate, total: self.arches.len() * self.over.len() });
        let mut work: Vec<(Arch, usize, Proposal<'_>)> = Vec::new();
        for &arch in self.arches {
            for (over, sizes) in self.over.iter().enumerate() {
                let proposals = self.proposer.propose(arch, sizes);
                let share = self.options.budget.candidates / self.over.len();
                let extra = usize::from(over < self.options.budget.candidates % self.over.len());
                let configurations = proposals.len();
                let chosen = choose(proposals, (share + extra).max(1), self.options.seed ^ over as u64);
                observer.event(&Event::Enumerated {
                    arch,
                    sizes: &launch::label(self.spec, sizes),
                    configurations,
                    considered: chosen.len(),
                });
                work.extend(chosen.into_iter().map(|proposal| (arch, over, proposal)));
            }
        }
        observer.event(&Event::Phase { phase: Phase::Screen, total: work.len() });
        let mut best = vec![f64::INFINITY; self.over.len()];
        let entries = parallel::map(
            self.threads,
            &work,
            |index, (arch, over, proposal)| match self.out_of_time() {
                true => None,
                false => Some(self.screen_one(screen, index, *arch, *over, proposal)),
            },
            |_, entry: &Option<Entry>| {
                let Some(entry) = entry else { return };
                let record = &entry.record;
                observer.event(&Event::Verdict { phase: Phase::Screen, record });
                let seconds = entry.seconds();
                if record.arch == self.arches[0] && seconds < best[entry.over] {
                    best[entry.over] = seconds;
                    observer.event(&Event::Best { record, seconds, measured: false });
                }
            },
        );
        let listed = entries.len();
        let entries: Vec<Entry> = entries.into_iter().flatten().collect();
        if entries.len() < listed {
            let message = format!(
                "the limit of {} s was reached after {} of {listed} candidates; a search without it may find a better one",
                self.options.budget.seconds.unwrap_or_default(),
                entries.len()
            );
            observer.event(&Event::Note { message: &message });
        }
        entries
    }

    fn screen_one(
        &self,
        screen: &Screen<'_>,
        index: usize,
        arch: Arch,
        over: usize,
        proposal: &Proposal<'_>,
    ) -> Entry {
        let mut entry = Entry {
            record: CandidateRecord {
                id: format!("{}-{index}", self.proposer.name()),
                proposer: self.proposer.name(),
                arch,
                tunables: Tunables::new(),
                sizes: launch::label(self.spec, &self.over[over]),
                gate: Gate::Generate,
                verdict: Verdict::Pass,
                rejection: None,
                modelled: None,
                measured: None,
                registers: None,
            },
            over,
            candidate: None,
            proved: false,
        };
        let outcome = (|| -> Result<(Candidate, f64), Rejection> {
            let candidate = proposal.make().map_err(|reason| Rejection::new(Gate::Generate, reason))?;
            entry.record.id.clone_from(&candidate.id);
            entry.record.proposer = candidate.proposer;
            entry.record.tunables.clone_from(&candidate.tunables);
            let module = screen.read(&candidate)?;
            if !launch::serves(self.spec, &self.over[over], &candidate.variant) {
                let when = candidate.variant.when.to_string();
                let message = format!("it was proposed for {} but serves only `{when}`", entry.record.sizes);
                return Err(Rejection::new(Gate::Parse, Reason::Plan { message }));
            }
            screen.quick(&candidate, &module)?;
            let estimate = screen.estimate(&candidate, &module, &self.over[over], None)?;
            Ok((candidate, estimate.seconds))
        })();
        match outcome {
            Ok((candidate, seconds)) => {
                entry.record.gate = Gate::Machine;
                entry.record.modelled = Some(Time { seconds, basis: TimeBasis::Modelled });
                entry.candidate = Some(candidate);
            }
            Err(rejection) => entry.refuse(rejection),
        }
        entry
    }

    /// Positions of the candidates of one target and size that no gate refused, best first.
    fn ranked(&self, pool: &[Entry], arch: Arch, over: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..pool.len())
            .filter(|&index| {
                let entry = &pool[index];
                entry.record.arch == arch && entry.over == over && entry.record.rejection.is_none()
            })
            .collect();
        order.sort_by(|&a, &b| pool[a].seconds().total_cmp(&pool[b].seconds()).then(a.cmp(&b)));
        order
    }

    /// Assembles the best by the model, orders them again with real registers, and runs every case on the first that
    /// passes them all; on more of them when a GPU will choose.
    fn prove_best(&self, screen: &Screen<'_>, pool: &mut [Entry], gpu: bool, observer: &mut dyn Observer) {
        let groups: Vec<(Arch, usize)> =
            self.arches.iter().flat_map(|&arch| (0..self.over.len()).map(move |over| (arch, over))).collect();
        observer.event(&Event::Phase { phase: Phase::Prove, total: groups.len() });
        if let Ok(ptxas) = self.ptxas {
            let mut chosen: Vec<usize> = Vec::new();
            for &(arch, over) in &groups {
                chosen.extend(self.ranked(pool, arch, over).into_iter().take(if gpu {
                    MEASURED
                } else {
                    ASSEMBLED
                }));
            }
            let shared: &[Entry] = pool;
            let outcomes = parallel::map(
                self.threads,
                &chosen,
                |_, &index| -> Result<(u32, f64), Rejection> {
                    let entry = &shared[index];
                    let candidate = entry.candidate.as_ref().expect("a ranked candidate was written");
                    let resources = gates::assemble::assemble(ptxas, &candidate.ptx, candidate.arch)?;
                    let module = screen.read(candidate)?;
                    let estimate =
                        screen.estimate(candidate, &module, &self.over[entry.over], Some(&resources))?;
                    Ok((resources.values().map(|entry| entry.registers).max().unwrap_or(0), estimate.seconds))
                },
                |_, _| (),
            );
            for (index, outcome) in chosen.into_iter().zip(outcomes) {
                let entry = &mut pool[index];
                match outcome {
                    Ok((registers, seconds)) => {
                        entry.record.registers = Some(registers);
                        entry.record.modelled = Some(Time { seconds, basis: TimeBasis::Modelled });
                    }
                    Err(rejection) => entry.refuse(rejection),
                }
            }
        }
        let wanted = if gpu { MEASURED } else { 1 };
        let shared: &[Entry] = pool;
        let outcomes = parallel::map(
            self.threads,
            &groups,
            |_, &(arch, over)| {
                let mut outcomes: Vec<(usize, Result<u32, Rejection>)> = Vec::new();
                let ranked = self.ranked(shared, arch, over);
                // Candidates that were assembled go first: their order rests on more.
                let (assembled, rest): (Vec<usize>, Vec<usize>) =
                    ranked.into_iter().partition(|&index| shared[index].record.registers.is_some());
                for index in assembled.into_iter().chain(rest) {
                    let passed = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).count();
                    if passed >= wanted {
                        break;
                    }
                    let candidate = shared[index].candidate.as_ref().expect("a ranked candidate was written");
                    let outcome = screen.read(candidate).and_then(|module| screen.full(candidate, &module));
                    outcomes.push((index, outcome));
                }
                outcomes
            },
            |_, _| (),
        );
        for (index, outcome) in outcomes.into_iter().flatten() {
            let entry = &mut pool[index];
            match outcome {
                Ok(_) => entry.proved = true,
                Err(rejection) => entry.refuse(rejection),
            }
            observer.event(&Event::Verdict { phase: Phase::Prove, record: &pool[index].record });
        }
    }

    /// Checks and times the proved candidates on the GPU.
    fn measure(&self, gpu: &mut Gpu, cases: &Cases, pool: &mut [Entry], observer: &mut dyn Observer) {
        let capability = gpu.capability();
        let Some(arch) = self.arches.iter().copied().filter(|arch| arch.runs_on(capability)).max() else {
            return;
        };
        observer.event(&Event::Phase { phase: Phase::Measure, total: self.over.len() });
        for (over, sizes) in self.over.iter().enumerate() {
            let chosen: Vec<usize> =
                self.ranked(pool, arch, over).into_iter().filter(|&index| pool[index].proved).collect();
            let candidates: Vec<&Candidate> =
                chosen.iter().filter_map(|&index| pool[index].candidate.as_ref()).collect();
            let left = self
                .options
                .budget
                .seconds
                .map(|limit| (limit - self.started.elapsed().as_secs_f64()).max(1.0));
            let options = MeasureOptions {
                seed: self.options.seed,
                seconds: left.map(|left| left / (self.over.len() - over) as f64),
                ..MeasureOptions::default()
            };
            let outcomes = gpu.check_and_time(self.spec, cases, sizes, &candidates, &options);
            match outcomes {
                Err(message) => observer.event(&Event::NotRun { gate: Gate::Time, reason: &message }),
                Ok(timings) => {
                    for (index, timing) in chosen.into_iter().zip(timings.candidates) {
                        let entry = &mut pool[index];
                        match timing.outcome {
                            Ok(seconds) => {
                                entry.record.gate = Gate::Time;
                                entry.record.measured = Some(Time { seconds, basis: TimeBasis::Measured });
                            }
                            Err(rejection) => entry.refuse(rejection),
                        }
                        observer
                            .event(&Event::Verdict { phase: Phase::Measure, record: &pool[index].record });
                    }
                }
            }
            let best = self
                .ranked(pool, arch, over)
                .into_iter()
                .find(|&index| pool[index].record.measured.is_some());
            if let Some(index) = best {
                let record = &pool[index].record;
                observer.event(&Event::Best { record, seconds: pool[index].seconds(), measured: true });
            }
        }
    }

    /// For each target and size the position of the winner in the pool; `None` where only the fallback is left.
    fn winners(&self, pool: &[Entry], observer: &mut dyn Observer) -> BTreeMap<(Arch, usize), Option<usize>> {
        let mut winners = BTreeMap::new();
        for &arch in self.arches {
            for over in 0..self.over.len() {
                let ranked: Vec<usize> =
                    self.ranked(pool, arch, over).into_iter().filter(|&index| pool[index].proved).collect();
                // A measured time beats any modelled one: the two are not to be compared.
                let winner = ranked
                    .iter()
                    .copied()
                    .find(|&index| pool[index].record.measured.is_some())
                    .or_else(|| ranked.first().copied());
                if winner.is_none() {
                    let sizes = launch::label(self.spec, &self.over[over]);
                    let message =
                        format!("no candidate for {arch} at {sizes} passed; the fallback serves these sizes");
                    observer.event(&Event::Note { message: &message });
                }
                winners.insert((arch, over), winner);
            }
        }
        winners
    }

    /// Puts the winners into one plan, proves it and seals it.
    fn seal(
        &self,
        pool: Vec<Entry>,
        winners: &BTreeMap<(Arch, usize), Option<usize>>,
        fallbacks: &[Candidate],
        cases: &mut Cases,
        gpu: Result<&Gpu, &str>,
        observer: &mut dyn Observer,
    ) -> Result<Found, SearchError> {
        observer.event(&Event::Phase { phase: Phase::Seal, total: self.arches.len() });
        let mut targets = Vec::new();
        let mut ptx = BTreeMap::new();
        let mut evidence = Vec::new();
        let mut names = Vec::new();
        for (&arch, fallback) in self.arches.iter().zip(fallbacks) {
            let refused = |rejection: Rejection| SearchError::Plan {
                kernel: self.spec.name.clone(),
                arch: arch.to_string(),
                rejection: Box::new(rejection),
            };
            let chosen: Vec<Option<usize>> =
                (0..self.over.len()).map(|over| winners[&(arch, over)]).collect();
            let (composed, distinct) = self
                .compose(&pool, &chosen, fallback)
                .map_err(|reason| refused(Rejection::new(Gate::Parse, reason)))?;
            let file = format!("{arch}.ptx");
            let target = TargetPlan { arch, ptx: file.clone(), variants: composed.variants };
            add_boundaries(self.spec, &target, cases, self.options.seed);
            let subject = Subject::of_target(&target, &composed.ptx);
            let proof = prove_target(self.spec, &subject, cases, self.ptxas, self.threads, self.options.seed)
                .map_err(refused)?;
            if names.is_empty() {
                names = composed
                    .sources
                    .iter()
                    .map(|&source| {
                        distinct
                            .get(source)
                            .map_or_else(|| fallback.id.clone(), |&i| pool[i].record.id.clone())
                    })
                    .collect();
            }
            let served = (0..self.over.len())
                .map(|over| ServedSizes {
                    sizes: self.over[over].clone(),
                    time: chosen[over].and_then(|index| pool[index].record.best_time().cloned()),
                })
                .collect();
            evidence.push(Evidence { arch, proof, served });
            ptx.insert(file, composed.ptx);
            targets.push(target);
        }
        targets.sort_by_key(|target| target.arch);
        let plan = Plan { schema: Plan::SCHEMA, targets };
        plan.check_against(self.spec).map_err(|error| SearchError::Seal {
            kernel: self.spec.name.clone(),
            message: error.to_string(),
        })?;
        let candidates: Vec<CandidateRecord> = pool.into_iter().map(|entry| entry.record).collect();
        let modelled = candidates.iter().all(|record| record.measured.is_none());
        let certificate =
            certificate(self.spec, self.options, &candidates, &evidence, &plan, self.ptxas, gpu);
        let sealed = factory_spec::Sealed::new(plan, certificate, ptx);
        Ok(Found { sealed, candidates, winners: names, modelled })
    }

    /// One target's module and variants; the distinct winners by their position in the pool.
    fn compose(
        &self,
        pool: &[Entry],
        chosen: &[Option<usize>],
        fallback: &Candidate,
    ) -> Result<(Composed, Vec<usize>), Reason> {
        let mut distinct: Vec<usize> = Vec::new();
        let mut digests: Vec<[u8; 32]> = Vec::new();
        let mut served: Vec<(SizeValues, Option<usize>)> = Vec::new();
        let fallback_digest = fallback.digest();
        for (over, winner) in chosen.iter().enumerate() {
            let position = winner.and_then(|index| {
                let candidate = pool[index].candidate.as_ref()?;
                let digest = candidate.digest();
                if digest == fallback_digest {
                    return None;
                }
                Some(digests.iter().position(|known| *known == digest).unwrap_or_else(|| {
                    digests.push(digest);
                    distinct.push(index);
                    distinct.len() - 1
                }))
            });
            served.push((self.over[over].clone(), position));
        }
        let last = distinct.len();
        let served: Vec<(SizeValues, usize)> =
            served.into_iter().map(|(sizes, winner)| (sizes, winner.unwrap_or(last))).collect();
        let mut candidates: Vec<&Candidate> =
            distinct.iter().filter_map(|&index| pool[index].candidate.as_ref()).collect();
        candidates.push(fallback);
        let modules = candidates
            .iter()
            .map(|candidate| {
                factory_ptx::parse(&candidate.ptx)
                    .map_err(|errors| Reason::NotPtx { line: 0, message: errors.to_string() })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let composed = compose(self.spec, &candidates, modules, &regions(self.spec, &served))?;
        Ok((composed, distinct))
    }
}

/// Refuses what would otherwise be ignored. Generated kernels have no scratch, so every limit on it holds.
fn check_objective(spec: &BoundSpec) -> Result<(), SearchError> {
    let objective = |what: String| SearchError::Objective { kernel: spec.name.clone(), what };
    if spec.better.minimize != Minimize::Metric(Metric::Time) {
        return Err(objective(format!("minimize = \"{}\"", spec.better.minimize)));
    }
    for requirement in &spec.better.require {
        match requirement {
            Requirement::Deterministic | Requirement::AtMost { metric: Metric::Workspace, .. } => {}
            other => return Err(objective(other.to_string())),
        }
    }
    Ok(())
}

/// At most `count` proposals in their order: the first quarter as they come, because a proposer puts the likeliest first,
/// the rest drawn from what remains.
fn choose<'a>(proposals: Vec<Proposal<'a>>, count: usize, seed: u64) -> Vec<Proposal<'a>> {
    if proposals.len() <= count {
        return proposals;
    }
    let sure = count.div_ceil(4);
    let mut rest: Vec<usize> = (sure..proposals.len()).collect();
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    for position in 0..count - sure {
        let other = position + (split_mix(&mut state) % (rest.len() - position) as u64) as usize;
        rest.swap(position, other);
    }
    let mut keep = vec![false; proposals.len()];
    (0..sure).chain(rest.into_iter().take(count - sure)).for_each(|index| keep[index] = true);
    proposals.into_iter().zip(keep).filter_map(|(proposal, keep)| keep.then_some(proposal)).collect()
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
