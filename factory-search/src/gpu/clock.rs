//! The clock: what [`crate::gpu`] promises.

use std::time::Instant;

use factory_spec::{BoundSpec, SizeValues};

use super::device::{Buffer, Gpu, Loaded, ReadyLaunch, Trouble};
use super::driver::{Driver, DriverError, Handle};
use super::sets::{Sets, Truth};
use crate::candidate::Candidate;
use crate::cases::Cases;
use crate::launch;
use crate::model::{Target, compulsory_bytes};
use crate::verdict::{Gate, Reason, Rejection};

/// What outputs hold before a window, in turn.
const POISONS: [u8; 2] = [0xff, 0x6d];
/// The memory's own rate is at most this much above what a plain copy reaches.
const CEILING: f64 = 1.15;

/// How to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeasureOptions {
    /// Seed of the data.
    pub seed: u64,
    /// Rounds of the first measurement.
    pub rounds: usize,
    /// Rounds of the second one, of the A/A run too.
    pub final_rounds: usize,
    /// How many candidates are measured a second time.
    pub finalists: usize,
    /// A candidate is dropped when its best sample is so many times the leader's median.
    pub hopeless: f64,
    /// Seconds after which no further round begins. Three rounds are always made.
    pub seconds: Option<f64>,
}

impl Default for MeasureOptions {
    fn default() -> Self {
        Self { seed: 1, rounds: 9, final_rounds: 11, finalists: 3, hopeless: 1.05, seconds: None }
    }
}

/// What became of one candidate.
#[derive(Clone, Debug)]
pub struct CandidateTiming {
    /// The candidate's name.
    pub id: String,
    /// Seconds of one execution: the median of the second measurement for finalists, else of the first.
    pub outcome: Result<f64, Rejection>,
    /// Samples of the first measurement: seconds of one execution, averaged over one window each.
    pub samples: Vec<f64>,
    /// Samples of the second measurement; empty for those that were no finalists.
    pub final_samples: Vec<f64>,
    /// Whether it was dropped before the first measurement ended.
    pub dropped: bool,
    /// Registers a thread, as the driver's compiler gave them (the most of all launches).
    pub registers: u32,
}

/// A measurement of several candidates at some sizes.
#[derive(Clone, Debug)]
pub struct Timing {
    /// One for each candidate, in their order.
    pub candidates: Vec<CandidateTiming>,
    /// How far two equal candidates came out apart, relative; `None` when there was no time for it.
    pub noise: Option<f64>,
    /// Buffer sets of a window.
    pub sets: usize,
    /// Whether a set was cold whenever its turn came.
    pub cold: bool,
    /// Seconds below which a time is not believed.
    pub bound: f64,
}

/// Times candidates at some sizes. Those that are wrong there are refused.
///
/// # Errors
/// Nothing could be measured at all: no memory, no oracle at these sizes, or the GPU is lost; in words.
pub fn time_candidates(
    gpu: &mut Gpu,
    spec: &BoundSpec,
    sizes: &SizeValues,
    candidates: &[&Candidate],
    options: &MeasureOptions,
) -> Result<Timing, String> {
    let label = launch::label(spec, sizes);
    let mut refused: Vec<Option<Rejection>> = vec![None; candidates.len()];
    loop {
        let alive: Vec<usize> = (0..candidates.len()).filter(|&index| refused[index].is_none()).collect();
        let outcome = Session { gpu, spec, sizes, label: &label, options, started: Instant::now() }.run(
            candidates,
            &alive,
            &mut refused,
        );
        match outcome {
            Ok(timing) => return Ok(timing),
            Err((None, trouble)) => {
                let rejection = gpu.rejection(Gate::Time, trouble, &label);
                return Err(rejection.reason.to_string());
            }
            // The context is lost with every buffer in it: start again without the one that did it.
            Err((Some(index), trouble)) => {
                let rejection = gpu.rejection(Gate::Time, trouble, &label);
                if matches!(rejection.reason, Reason::Infrastructure { .. }) {
                    return Err(rejection.reason.to_string());
                }
                refused[index] = Some(rejection);
            }
        }
    }
}

impl Gpu {
    /// The device gate for each candidate, then the clock for those that pass.
    ///
    /// # Errors
    /// As [`time_candidates`].
    pub fn check_and_time(
        &mut self,
        spec: &BoundSpec,
        cases: &Cases,
        sizes: &SizeValues,
        candidates: &[&Candidate],
        options: &MeasureOptions,
    ) -> Result<Timing, String> {
        let checked: Vec<Result<u32, Rejection>> =
            candidates.iter().map(|candidate| self.check(spec, cases, candidate)).collect();
        let passed: Vec<&Candidate> =
            candidates.iter().zip(&checked).filter(|(_, outcome)| outcome.is_ok()).map(|(c, _)| *c).collect();
        let mut timing = time_candidates(self, spec, sizes, &passed, options)?;
        let mut timed = std::mem::take(&mut timing.candidates).into_iter();
        for (candidate, outcome) in candidates.iter().zip(checked) {
            timing.candidates.push(match outcome {
                Ok(_) => timed.next().ok_or("a candidate that passed was not timed")?,
                Err(rejection) => CandidateTiming::refused(candidate, rejection),
            });
        }
        Ok(timing)
    }
}

impl CandidateTiming {
    fn refused(candidate: &Candidate, rejection: Rejection) -> CandidateTiming {
        CandidateTiming {
            id: candidate.id.clone(),
            outcome: Err(rejection),
            samples: Vec::new(),
            final_samples: Vec::new(),
            dropped: false,
            registers: 0,
        }
    }
}

/// The middle value; of an even number the mean of the two in the middle.
pub(super) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

struct Session<'a> {
    gpu: &'a Gpu,
    spec: &'a BoundSpec,
    sizes: &'a SizeValues,
    label: &'a str,
    options: &'a MeasureOptions,
    started: Instant,
}

/// A candidate that is ready to run on every set.
struct Runner {
    index: usize,
    launches: Vec<Vec<ReadyLaunch>>,
    graph: Graph,
    /// What its outputs must look like.
    fingerprints: Vec<u64>,
    samples: Vec<f64>,
    registers: u32,
    scratch: Vec<Buffer>,
    // Last: dropped after everything that refers to it.
    _loaded: Loaded,
}

/// Trouble, with the candidate whose fault it is.
type Failure = (Option<usize>, Trouble);

fn nobody(trouble: impl Into<Trouble>) -> Failure {
    (None, trouble.into())
}

impl Session<'_> {
    fn out_of_time(&self, share: f64) -> bool {
        self.options.seconds.is_some_and(|limit| self.started.elapsed().as_secs_f64() > limit * share)
    }

    fn run(
        &self,
        candidates: &[&Candidate],
        alive: &[usize],
        refused: &mut [Option<Rejection>],
    ) -> Result<Timing, Failure> {
        let (gpu, spec, seed) = (self.gpu, self.spec, self.options.seed);
        let mut sets = Sets::new(gpu, spec, self.sizes, seed).map_err(nobody)?;
        let mut truth = Truth::new(gpu, spec, self.sizes, &sets, seed).map_err(nobody)?;
        let inputs = sets.fingerprints(gpu, spec, false).map_err(nobody)?;
        let bound = self.bound(&sets);

        let mut runners = Vec::new();
        for &index in alive {
            let made = self.runner(index, candidates[index], &sets, &mut truth, &inputs);
            match self.own(index, made)? {
                Ok(runner) => runners.push(runner),
                Err(reason) => refused[index] = Some(Rejection::new(Gate::Time, reason)),
            }
        }
        // First measurement: everybody takes turns, the hopeless leave.
        let mut dropped = vec![false; candidates.len()];
        let mut racing: Vec<usize> = (0..runners.len()).collect();
        for round in 0..self.options.rounds {
            if round >= 3 && self.out_of_time(0.6) {
                break;
            }
            self.round(round, &racing, &mut runners, &sets, refused)?;
            racing.retain(|&slot| refused[runners[slot].index].is_none());
            if round >= 1 {
                let leader =
                    racing.iter().map(|&slot| median(&runners[slot].samples)).fold(f64::INFINITY, f64::min);
                racing.retain(|&slot| {
                    let best = runners[slot].samples.iter().copied().fold(f64::INFINITY, f64::min);
                    let stays = best <= leader * self.options.hopeless;
                    dropped[runners[slot].index] |= !stays;
                    stays
                });
            }
        }
        let mut first: Vec<(usize, Vec<f64>)> = Vec::new();
        for runner in &mut runners {
            let samples = std::mem::take(&mut runner.samples);
            if refused[runner.index].is_none() && median(&samples) < bound {
                let (sizes, seconds) = (self.label.to_owned(), median(&samples));
                refused[runner.index] =
                    Some(Rejection::new(Gate::Time, Reason::ImpossiblyFast { sizes, seconds, bound }));
            }
            first.push((runner.index, samples));
        }
        // Second measurement: the best ones on fresh data, and the best of all against itself.
        racing.retain(|&slot| refused[runners[slot].index].is_none());
        racing.sort_by(|&a, &b| median(&first[a].1).total_cmp(&median(&first[b].1)));
        racing.truncate(self.options.finalists.max(1));
        let mut noise = None;
        if !racing.is_empty() {
            sets.reseed(gpu, spec, seed ^ 0x5851_f42d_4c95_7f2d).map_err(nobody)?;
            let mut truth = Truth::new(gpu, spec, self.sizes, &sets, seed ^ 1).map_err(nobody)?;
            let inputs = sets.fingerprints(gpu, spec, false).map_err(nobody)?;
            for &slot in &racing {
                let index = runners[slot].index;
                let proved = self.prove(&mut runners[slot], &sets, &mut truth, &inputs);
                if let Err(reason) = self.own(index, proved)? {
                    refused[index] = Some(Rejection::new(Gate::Time, reason));
                }
            }
            racing.retain(|&slot| refused[runners[slot].index].is_none());
            for round in 0..self.options.final_rounds {
                if round >= 3 && self.out_of_time(0.85) {
                    break;
                }
                self.round(round, &racing, &mut runners, &sets, refused)?;
                racing.retain(|&slot| refused[runners[slot].index].is_none());
            }
            if let Some(&best) = racing.first() {
                noise = self.noise(best, &mut runners, &sets, refused)?;
            }
        }
        let mut timings = Vec::new();
        for (index, candidate) in candidates.iter().enumerate() {
            if let Some(rejection) = refused[index].take() {
                timings.push(CandidateTiming::refused(candidate, rejection));
                continue;
            }
            let slot = runners.iter().position(|runner| runner.index == index);
            let Some(slot) = slot else {
                let reason = Reason::Infrastructure { message: "it was not timed".to_owned() };
                timings.push(CandidateTiming::refused(candidate, Rejection::new(Gate::Time, reason)));
                continue;
            };
            let samples = std::mem::take(&mut first[slot].1);
            let final_samples = std::mem::take(&mut runners[slot].samples);
            let counted = if final_samples.is_empty() { &samples } else { &final_samples };
            timings.push(CandidateTiming {
                id: candidate.id.clone(),
                outcome: Ok(median(counted)),
                samples,
                final_samples,
                dropped: dropped[index],
                registers: runners[slot].registers,
            });
        }
        Ok(Timing { candidates: timings, noise, sets: sets.sets.len(), cold: sets.cold, bound })
    }

    /// Separates what is the candidate's own from what the whole measurement cannot survive.
    fn own<T>(&self, index: usize, result: Result<T, Trouble>) -> Result<Result<T, Reason>, Failure> {
        match result {
            Ok(value) => Ok(Ok(value)),
            Err(Trouble::Candidate(reason)) => Ok(Err(reason)),
            Err(Trouble::Driver(error)) if error.is_sticky() => Err((Some(index), error.into())),
            Err(Trouble::Driver(error)) if error.is_out_of_memory() => {
                Ok(Err(Reason::Infrastructure { message: error.to_string() }))
            }
            Err(Trouble::Driver(error)) => Ok(Err(Reason::DeviceFault {
                sizes: self.label.to_owned(),
                code: error.name.clone(),
                message: format!("`{}` failed", error.call),
            })),
        }
    }

    /// No honest execution is faster: every compulsory byte at the memory's own rate. What L2 may still hold of the
    /// window before is not charged.
    fn bound(&self, sets: &Sets) -> f64 {
        let target = if self.gpu.capability().0 >= 10 { &Target::B200 } else { &Target::H200 };
        let count = sets.sets.len() as f64;
        let held = 2.0 * self.gpu.l2_bytes as f64 / count;
        (compulsory_bytes(self.spec, self.sizes) - held).max(0.0) / (target.memory_bandwidth * CEILING)
    }

    fn runner(
        &self,
        index: usize,
        candidate: &Candidate,
        sets: &Sets,
        truth: &mut Truth,
        inputs: &[u64],
    ) -> Result<Runner, Trouble> {
        let (gpu, spec) = (self.gpu, self.spec);
        let loaded = Loaded::new(gpu, candidate)?;
        let mut scratch = Vec::new();
        let mut addresses = Vec::new();
        for (name, bytes) in launch::scratch_bytes(spec, self.sizes, &candidate.variant)? {
            let buffer = Buffer::new(gpu, bytes)?;
            addresses.push((name, buffer.address));
            scratch.push(buffer);
        }
        let mut launches = Vec::new();
        for set in &sets.sets {
            let mut bindings = set.bindings.clone();
            bindings.scratch.extend(addresses.iter().cloned());
            launches.push(loaded.prepare(gpu, spec, &candidate.variant, self.sizes, &bindings)?);
        }
        let graph = Graph::capture(gpu, &launches)?;
        let registers = loaded.facts.iter().map(|(_, registers, _)| *registers).max().unwrap_or(0);
        let mut runner = Runner {
            index,
            launches,
            graph,
            fingerprints: Vec::new(),
            samples: Vec::new(),
            registers,
            scratch,
            _loaded: loaded,
        };
        self.prove(&mut runner, sets, truth, inputs)?;
        Ok(runner)
    }

    /// Runs every set twice, over two poisons: outputs are right and do not depend on what was there, inputs stay.
    fn prove(
        &self,
        runner: &mut Runner,
        sets: &Sets,
        truth: &mut Truth,
        inputs: &[u64],
    ) -> Result<(), Trouble> {
        let (gpu, spec) = (self.gpu, self.spec);
        runner.fingerprints.clear();
        for poison in POISONS {
            self.reset(runner, sets, poison)?;
            // Plain launches here, graphs in the windows: both ways must give the same.
            for launch in runner.launches.iter().flatten() {
                launch.queue(gpu)?;
            }
            gpu.wait()?;
            let found = sets.fingerprints(gpu, spec, true)?;
            if runner.fingerprints.is_empty() {
                truth.check(gpu, spec, self.sizes, sets)?;
                runner.fingerprints = found;
            } else if let Some(position) = first_difference(&runner.fingerprints, &found) {
                let (sizes, output) = (self.label.to_owned(), Sets::output_at(spec, position));
                return Err(Reason::PoisonShows { sizes, output }.into());
            }
        }
        if let Some(position) = first_difference(inputs, &sets.fingerprints(gpu, spec, false)?) {
            let names: Vec<&str> = spec
                .args
                .iter()
                .filter(|arg| !arg.scalar && !arg.role.writes())
                .map(|arg| arg.name.as_str())
                .collect();
            let input = names.get(position % names.len().max(1)).copied().unwrap_or_default().to_owned();
            return Err(Reason::InputChanged { sizes: self.label.to_owned(), input }.into());
        }
        Ok(())
    }

    fn reset(&self, runner: &Runner, sets: &Sets, poison: u8) -> Result<(), DriverError> {
        for buffer in &runner.scratch {
            // SAFETY: the range is the whole allocation, and the stream is of this context.
            unsafe { self.gpu.driver.fill(buffer.address, poison, buffer.bytes, self.gpu.stream) }?;
        }
        sets.poison(self.gpu, self.spec, poison)
    }

    /// One window of each, in order in even rounds and in reversed order in odd ones.
    fn round(
        &self,
        round: usize,
        order: &[usize],
        runners: &mut [Runner],
        sets: &Sets,
        refused: &mut [Option<Rejection>],
    ) -> Result<(), Failure> {
        let mut order = order.to_vec();
        if round % 2 == 1 {
            order.reverse();
        }
        for slot in order {
            let index = runners[slot].index;
            let sample = self.window(&mut runners[slot], sets, POISONS[round % 2]);
            match self.own(index, sample)? {
                Ok(seconds) => runners[slot].samples.push(seconds),
                Err(reason) => refused[index] = Some(Rejection::new(Gate::Time, reason)),
            }
        }
        Ok(())
    }

    /// One window: poison, time one graph, check every output of it. Seconds of one execution.
    fn window(&self, runner: &mut Runner, sets: &Sets, poison: u8) -> Result<f64, Trouble> {
        self.reset(runner, sets, poison)?;
        let seconds = runner.graph.time(self.gpu)? / sets.sets.len() as f64;
        let found = sets.fingerprints(self.gpu, self.spec, true)?;
        if let Some(position) = first_difference(&runner.fingerprints, &found) {
            let (sizes, output) = (self.label.to_owned(), Sets::output_at(self.spec, position));
            return Err(Reason::TimedOutput { sizes, output }.into());
        }
        Ok(seconds)
    }

    /// The best candidate against itself, by the same protocol.
    fn noise(
        &self,
        slot: usize,
        runners: &mut [Runner],
        sets: &Sets,
        refused: &mut [Option<Rejection>],
    ) -> Result<Option<f64>, Failure> {
        let mut sides = [Vec::new(), Vec::new()];
        for round in 0..self.options.final_rounds {
            if round >= 3 && self.out_of_time(1.0) {
                break;
            }
            for turn in 0..2 {
                // A B, then B A.
                let side = (turn + round) % 2;
                let index = runners[slot].index;
                let sample = self.window(&mut runners[slot], sets, POISONS[round % 2]);
                match self.own(index, sample)? {
                    Ok(seconds) => sides[side].push(seconds),
                    Err(reason) => {
                        refused[index] = Some(Rejection::new(Gate::Time, reason));
                        return Ok(None);
                    }
                }
            }
        }
        let [a, b] = sides.map(|side| median(&side));
        Ok(Some((a / b - 1.0).abs()))
    }
}

fn first_difference(a: &[u64], b: &[u64]) -> Option<usize> {
    if a.len() != b.len() {
        return Some(0);
    }
    a.iter().zip(b).position(|(a, b)| a != b)
}

/// Launches on all sets as one graph, with the events around it.
struct Graph {
    driver: &'static Driver,
    graph: Handle,
    exec: Handle,
    events: [Handle; 2],
}

impl Graph {
    fn capture(gpu: &Gpu, launches: &[Vec<ReadyLaunch>]) -> Result<Graph, DriverError> {
        let null = std::ptr::null_mut();
        let mut this = Graph { driver: gpu.driver, graph: null, exec: null, events: [null; 2] };
        // SAFETY: stream and handles are of the current context; pointers are to live variables. A capture that was begun is
        // ended whatever the launches say.
        unsafe {
            // 1: only this thread is kept from calls that a capture forbids.
            gpu.driver.capture_begin(gpu.stream, 1)?;
            let queued = launches.iter().flatten().try_for_each(|launch| launch.queue(gpu));
            let ended = gpu.driver.capture_end(gpu.stream, &mut this.graph);
            queued?;
            ended?;
            gpu.driver.graph_instantiate(&mut this.exec, this.graph, 0)?;
            gpu.driver.graph_upload(this.exec, gpu.stream)?;
            for event in &mut this.events {
                gpu.driver.event_create(event, 0)?;
            }
        }
        gpu.wait()?;
        Ok(this)
    }

    /// Seconds of one run of the graph.
    fn time(&self, gpu: &Gpu) -> Result<f64, DriverError> {
        let [start, end] = self.events;
        let mut milliseconds = 0.0f32;
        // SAFETY: events, graph and stream are of the current context; the pointer is to a live float.
        unsafe {
            gpu.driver.event_record(start, gpu.stream)?;
            gpu.driver.graph_launch(self.exec, gpu.stream)?;
            gpu.driver.event_record(end, gpu.stream)?;
            gpu.driver.event_synchronize(end)?;
            gpu.driver.event_elapsed(&mut milliseconds, start, end)?;
        }
        Ok(f64::from(milliseconds) * 1e-3)
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: nobody uses the handles any more; null ones are left out. A lost context refuses, harmlessly.
        unsafe {
            for event in self.events.into_iter().filter(|event| !event.is_null()) {
                let _ = self.driver.event_destroy(event);
            }
            if !self.exec.is_null() {
                let _ = self.driver.graph_exec_destroy(self.exec);
            }
            if !self.graph.is_null() {
                let _ = self.driver.graph_destroy(self.graph);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn fingerprints_of_another_number_differ() {
        assert_eq!(first_difference(&[1, 2], &[1, 2]), None);
        assert_eq!(first_difference(&[1, 2], &[1, 3]), Some(1));
        assert_eq!(first_difference(&[1, 2], &[1]), Some(0));
    }
}
