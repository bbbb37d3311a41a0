//! The search itself.
//!
//! Screen, prove and seal happen once for every target. Where something measures, its target goes through rounds in between
//! (`rounds`): a strategy of [`crate::learn`] says which candidates are proved and timed next, and which further
//! configurations are looked at.

mod entry;
mod proving;
mod rounds;
mod screening;
mod sealing;
mod share;
mod supply;

use std::time::Instant;

use factory_spec::{Arch, BoundSpec, Metric, Minimize, Requirement, SizeValues, admission};

use crate::cases::Cases;
use crate::error::SearchError;
use crate::found::Found;
use crate::learn::{Memory, Task};
use crate::measurer::Measurer;
use crate::observer::{Event, Observer, Phase};
use crate::options::{GpuPolicy, SearchOptions};
use crate::proposer::Proposer;
use crate::regions::serves_neighbours;
use crate::screen::Screen;
use crate::start;
use crate::toolchain::Ptxas;
use crate::verdict::Gate;
use crate::worker::Prover;

use entry::Entry;
use screening::Listed;
use share::Share;

/// Part of the time limit that measuring has where there are also targets that nothing measures.
const MEASURING: f64 = 0.85;

/// What a search works with.
pub struct Means<'a> {
    /// Brings candidates.
    pub proposer: &'a dyn Proposer,
    /// Times them; `None`: the GPU that the options ask for.
    pub measurer: Option<&'a mut dyn Measurer>,
    /// What earlier searches found out, and where this one is written down. It counts where something is measured: without
    /// that, the same spec, options and seed give the same bytes.
    pub memory: Option<&'a dyn Memory>,
    /// Runs candidates on the PTX machine; `None`: the workers of the options, or threads of this process.
    pub prover: Option<&'a dyn Prover>,
}

impl<'a> Means<'a> {
    /// A proposer, the GPU and the workers of the options, no memory.
    pub fn new(proposer: &'a dyn Proposer) -> Means<'a> {
        Means { proposer, measurer: None, memory: None, prover: None }
    }
}

/// Searches with the generator and the templates of the options for the best kernel of a spec.
///
/// # Errors
/// The spec is refused or declined, nothing passed, or a tool that was asked for does not work.
pub fn search(
    spec: &BoundSpec,
    options: &SearchOptions,
    observer: &mut dyn Observer,
) -> Result<Found, SearchError> {
    let proposers = crate::proposers::Proposers::of(spec, &options.templates, observer)?;
    search_with(spec, options, &proposers, observer)
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
    search_by(spec, options, Means::new(proposer), observer)
}

/// Searches with any proposer, measurer and memory.
///
/// # Errors
/// The spec is refused, nothing passed, or a tool that was asked for does not work.
pub fn search_by(
    spec: &BoundSpec,
    options: &SearchOptions,
    means: Means<'_>,
    observer: &mut dyn Observer,
) -> Result<Found, SearchError> {
    let mut arches = options.arches.clone();
    arches.sort();
    arches.dedup();
    if !arches.is_empty() && arches != spec.targets {
        // A sealed kernel has every target of its spec, so other targets are another spec, with a key of its own.
        let narrowed = BoundSpec { targets: arches, ..spec.clone() };
        let options = SearchOptions { arches: Vec::new(), ..options.clone() };
        return search_by(&narrowed, &options, means, observer);
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
    let Means { proposer, measurer, memory, prover } = means;
    let mut say = |message: &str| observer.event(&Event::Note { message });
    let machines = match prover {
        Some(_) => None,
        None => start::machines(&options.workers, &mut say)
            .map_err(|message| SearchError::Workers { kernel: spec.name.clone(), message })?,
    };
    let prover = prover.or(machines.as_ref().map(|workers| workers as &dyn Prover));
    let mut gpu;
    let mut measurer: Result<&mut dyn Measurer, String> = match measurer {
        Some(measurer) => {
            fits(measurer.name(), measurer.capability(), &arches).map(|()| measurer as &mut dyn Measurer)
        }
        None => {
            gpu = open_gpu(spec, options, &arches, &mut say)?;
            gpu.as_mut().map(|gpu| &mut **gpu as &mut dyn Measurer).map_err(|reason| reason.clone())
        }
    };
    if let Err(reason) = &measurer {
        observer.event(&Event::NotRun { gate: Gate::Device, reason });
        observer.event(&Event::NotRun { gate: Gate::Time, reason });
    }
    let mut cases = Cases::draw(spec, options.seed, &spec.better.over);
    let over = sizes_to_optimise(spec, &cases)?;
    let tasks: Vec<Task> = over.iter().map(|sizes| Task::of(spec, sizes)).collect();
    let capability = measurer.as_ref().ok().map(|measurer| measurer.capability());
    let run = Run {
        spec,
        options,
        proposer,
        memory,
        ptxas: ptxas.as_ref().map_err(String::as_str),
        threads: options.worker_threads(),
        provers: prover.map_or(0, Prover::at_once),
        started,
        over: &over,
        tasks: &tasks,
        arches: &arches,
        measured: capability
            .and_then(|capability| arches.iter().copied().filter(|arch| arch.runs_on(capability)).max()),
        device: measurer.as_ref().ok().map(|measurer| measurer.name().to_owned()),
    };
    let screen = Screen::new(spec, &cases, options.seed, run.measured, prover);
    let fallbacks = run.fallbacks(&screen)?;
    let Listed { work, reserves } = run.list(observer);
    let mut learned = None;
    let mut pool = Vec::new();
    match &mut measurer {
        Ok(measurer) => {
            learned = Some(run.rounds(&mut **measurer, &screen, &mut pool, reserves, observer));
            run.hold_out(&mut **measurer, &mut pool, observer);
            run.follow(&screen, &mut pool, work, observer);
        }
        Err(_) => run.screen_these(&screen, &mut pool, &work, 0, observer),
    }
    run.prove_best(&screen, &mut pool, observer);
    let winners = run.winners(&pool, observer);
    if let Some(learned) = &mut learned {
        let chosen = winners.values().flatten();
        learned.seeded_winners = chosen.filter(|&&index| pool[index].seeded).count();
    }
    drop(screen);
    let measurer = match &mut measurer {
        Ok(measurer) => Ok(&mut **measurer as &mut dyn Measurer),
        Err(reason) => Err(reason.as_str()),
    };
    let mut found = run.seal(pool, &winners, &fallbacks, &mut cases, measurer, observer)?;
    found.learned = learned;
    Ok(found)
}

/// The GPU that the options ask for, or why there is none.
fn open_gpu(
    spec: &BoundSpec,
    options: &SearchOptions,
    arches: &[Arch],
    say: &mut dyn FnMut(&str),
) -> Result<Result<Box<dyn Measurer>, String>, SearchError> {
    let ordinal = match options.gpu {
        GpuPolicy::Off => return Ok(Err("it was switched off".to_owned())),
        GpuPolicy::Auto => 0,
        GpuPolicy::Require(ordinal) => ordinal,
    };
    let workers = &options.workers;
    let launched = !workers.launcher.is_empty();
    if launched && workers.gpus == 0 && workers.machines > 0 && options.gpu == GpuPolicy::Auto {
        return Ok(Err("the launcher was given for the PTX machine alone".to_owned()));
    }
    let opened = start::gpu(ordinal, workers, say).and_then(|gpu| {
        fits(gpu.name(), gpu.capability(), arches)?;
        Ok(gpu)
    });
    match (opened, options.gpu) {
        (Err(message), _) if launched => Err(SearchError::Workers { kernel: spec.name.clone(), message }),
        (Err(message), GpuPolicy::Require(ordinal)) => Err(SearchError::Gpu { ordinal, message }),
        (opened, _) => Ok(opened),
    }
}

/// Whether a device runs one of the targets; why not, if not.
fn fits(name: &str, (major, minor): (u32, u32), arches: &[Arch]) -> Result<(), String> {
    match arches.iter().any(|arch| arch.runs_on((major, minor))) {
        true => Ok(()),
        false => Err(format!("{name} has compute capability {major}.{minor}, which no target runs on")),
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

/// One search.
struct Run<'a> {
    spec: &'a BoundSpec,
    options: &'a SearchOptions,
    proposer: &'a dyn Proposer,
    memory: Option<&'a dyn Memory>,
    ptxas: Result<&'a Ptxas, &'a str>,
    threads: usize,
    /// Candidates that are proved at once elsewhere.
    provers: usize,
    started: Instant,
    over: &'a [SizeValues],
    /// One for each entry of `over`.
    tasks: &'a [Task],
    arches: &'a [Arch],
    /// The target that is measured, if any.
    measured: Option<Arch>,
    /// The device that measures.
    device: Option<String>,
}

impl Run<'_> {
    fn out_of_time(&self) -> bool {
        self.is_past(self.options.budget.seconds)
    }

    /// The targets that nothing measures.
    fn unmeasured(&self) -> impl Iterator<Item = Arch> {
        self.arches.iter().copied().filter(|&arch| Some(arch) != self.measured)
    }

    /// Whether a candidate serves other sizes than those that it was made for.
    fn is_roomy(&self, entry: &Entry) -> bool {
        let candidate = entry.candidate.as_ref();
        candidate.is_some_and(|one| serves_neighbours(self.spec, &self.over[entry.over], &one.variant))
    }

    /// Whether so many seconds of the search are over.
    fn is_past(&self, until: Option<f64>) -> bool {
        until.is_some_and(|limit| self.started.elapsed().as_secs_f64() > limit)
    }

    /// The time of an entry of `better.over` from now on. Targets that nothing measures come last and need some of what there is.
    fn share_of_time(&self, over: usize, pace: Option<f64>) -> Share {
        let now = self.started.elapsed().as_secs_f64();
        let share = if self.unmeasured().next().is_some() { MEASURING } else { 1.0 };
        let limit = self.options.budget.seconds.map(|limit| limit * share);
        let whole = limit.map(|limit| ((limit - now) / (self.over.len() - over) as f64).max(0.0));
        Share::new(now, whole, pace)
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
