//! The clock: what [`crate::gpu`] promises.

use std::time::Instant;

use factory_spec::{BoundSpec, SizeValues};

use super::device::Gpu;
use super::judge::LocalJudge;
use super::secret;
use super::session::{Failure, Outside, Session};
use super::timing::{CandidateTiming, FinalMeasurement, MeasureError, MeasureOptions, Timing};
use super::turn::{Guard, Held};
use crate::candidate::Candidate;
use crate::cases::Cases;
use crate::launch;
use crate::verdict::{Gate, Reason, Rejection};

/// Times candidates at some sizes: races all, then measures the best ones again with [`final_measurement`], unless the options
/// ask for no finalists. Those that are wrong there are refused.
///
/// # Errors
/// Nothing could be measured at all: no memory, no oracle at these sizes, or the GPU is lost.
pub fn time_candidates(
    gpu: &mut Gpu,
    spec: &BoundSpec,
    sizes: &SizeValues,
    candidates: &[&Candidate],
    options: &MeasureOptions,
) -> Result<Timing, MeasureError> {
    let started = Instant::now();
    let mut timing = race_candidates(gpu, spec, sizes, candidates, &options.race())?;
    let finalists = timing.finalists(options.finalists);
    if finalists.is_empty() {
        return Ok(timing);
    }
    let chosen: Vec<&Candidate> = finalists.iter().map(|&index| candidates[index]).collect();
    let finale = final_measurement(gpu, spec, sizes, &chosen, &options.finale(started))?;
    timing.conclude(&finalists, finale);
    Ok(timing)
}

impl Timing {
    /// Positions of those that are worth a second measurement: the best of the race that were not dropped, at most `count`.
    pub fn finalists(&self, count: usize) -> Vec<usize> {
        let mut order: Vec<(usize, f64)> = self
            .candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| !candidate.dropped)
            .filter_map(|(index, candidate)| Some((index, *candidate.outcome.as_ref().ok()?)))
            .collect();
        order.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        order.into_iter().take(count).map(|(index, _)| index).collect()
    }

    /// Puts a second measurement of the candidates at these positions in the place of the first.
    pub fn conclude(&mut self, finalists: &[usize], finale: FinalMeasurement) {
        for (&index, measured) in finalists.iter().zip(finale.candidates) {
            let Some(candidate) = self.candidates.get_mut(index) else { continue };
            candidate.outcome = measured.outcome;
            candidate.final_samples = measured.final_samples;
            candidate.energy = measured.energy;
        }
        self.noise = finale.noise;
        self.finale = finale.finale;
        self.final_seed = Some(finale.seed);
    }
}

/// The first measurement: everybody takes turns, and those that cannot win any more leave.
///
/// # Errors
/// As [`time_candidates`].
pub fn race_candidates(
    gpu: &mut Gpu,
    spec: &BoundSpec,
    sizes: &SizeValues,
    candidates: &[&Candidate],
    options: &MeasureOptions,
) -> Result<Timing, MeasureError> {
    let judge = LocalJudge::new(spec, None);
    race_with(gpu, spec, sizes, candidates, options, Outside { judge: &judge, progress: &|_| () })
}

/// [`race_candidates`] with somebody else to say what is right.
pub(crate) fn race_with(
    gpu: &mut Gpu,
    spec: &BoundSpec,
    sizes: &SizeValues,
    candidates: &[&Candidate],
    options: &MeasureOptions,
    outside: Outside<'_>,
) -> Result<Timing, MeasureError> {
    let label = launch::label(spec, sizes);
    let mut refused: Vec<Option<Rejection>> = vec![None; candidates.len()];
    let held = turn(gpu, options, outside);
    // Taken out: after any failure there is none.
    let mut kept = gpu.bench.take();
    let (mut timing, bench) =
        with_retries(gpu, candidates.len(), &label, &mut refused, |gpu, alive, refused| {
            let mut session =
                Session::new(gpu, spec, sizes, &label, options, options.seed, kept.take(), outside)?;
            let timing = session.race(candidates, alive, refused)?;
            Ok((timing, session.into_bench()))
        })?;
    gpu.bench = outside.judge.remembers().then_some(bench);
    timing.race.turn = held.turn();
    Ok(timing)
}

/// Waits until no other search times on this GPU. Held until dropped.
fn turn(gpu: &Gpu, options: &MeasureOptions, outside: Outside<'_>) -> Held {
    // Whoever watches over this process hears of it meanwhile; nobody runs yet, so the first stands for all.
    Guard::of(&gpu.place()).take(options.seconds, &|| (outside.progress)(0))
}

/// The second measurement, of a few candidates, on data of a seed that the system draws now. It needs nothing of the first
/// one: a worker of its own makes it. Only its numbers are results.
///
/// # Errors
/// As [`time_candidates`], and when the device was disturbed and the options refuse that.
pub fn final_measurement(
    gpu: &mut Gpu,
    spec: &BoundSpec,
    sizes: &SizeValues,
    candidates: &[&Candidate],
    options: &MeasureOptions,
) -> Result<FinalMeasurement, MeasureError> {
    let judge = LocalJudge::new(spec, None);
    finale_with(gpu, spec, sizes, candidates, options, Outside { judge: &judge, progress: &|_| () })
}

/// [`final_measurement`] with somebody else to say what is right.
pub(crate) fn finale_with(
    gpu: &mut Gpu,
    spec: &BoundSpec,
    sizes: &SizeValues,
    candidates: &[&Candidate],
    options: &MeasureOptions,
    outside: Outside<'_>,
) -> Result<FinalMeasurement, MeasureError> {
    let label = launch::label(spec, sizes);
    let mut refused: Vec<Option<Rejection>> = vec![None; candidates.len()];
    let held = turn(gpu, options, outside);
    gpu.bench = None;
    let seed = secret::draw();
    let mut measured = with_retries(gpu, candidates.len(), &label, &mut refused, |gpu, alive, refused| {
        let mut session = Session::new(gpu, spec, sizes, &label, options, seed, None, outside)?;
        session.finale(candidates, alive, refused)
    })?;
    measured.finale.turn = held.turn();
    measured.accepted(options)
}

/// Runs a measurement, and again without the candidate that cost the context, until one ends.
fn with_retries<T>(
    gpu: &mut Gpu,
    count: usize,
    label: &str,
    refused: &mut [Option<Rejection>],
    mut measure: impl FnMut(&Gpu, &[usize], &mut [Option<Rejection>]) -> Result<T, Failure>,
) -> Result<T, MeasureError> {
    let failed = |rejection: &Rejection| MeasureError::Failed { message: rejection.reason.to_string() };
    loop {
        let alive: Vec<usize> = (0..count).filter(|&index| refused[index].is_none()).collect();
        match measure(gpu, &alive, refused) {
            Ok(measured) => return Ok(measured),
            Err((None, trouble)) => return Err(failed(&gpu.rejection(Gate::Time, trouble, label))),
            // The context is lost with every buffer in it: start again without the one that did it.
            Err((Some(index), trouble)) => {
                let rejection = gpu.rejection(Gate::Time, trouble, label);
                if gpu.is_spent() {
                    return Err(MeasureError::Lost { candidate: index, rejection: Box::new(rejection) });
                }
                if matches!(rejection.reason, Reason::Infrastructure { .. }) {
                    return Err(failed(&rejection));
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
    ) -> Result<Timing, MeasureError> {
        let checked: Vec<Result<(), Rejection>> =
            candidates.iter().map(|candidate| self.check(spec, cases, candidate).map(|_| ())).collect();
        let passed: Vec<&Candidate> =
            candidates.iter().zip(&checked).filter(|(_, outcome)| outcome.is_ok()).map(|(c, _)| *c).collect();
        // The refusals stand, whatever becomes of the clock.
        let mut timing = match time_candidates(self, spec, sizes, &passed, options) {
            Err(error) if passed.len() < candidates.len() => {
                let untimed = |candidate: &&Candidate| CandidateTiming::untimed(candidate, error.to_string());
                Timing::recorded(passed.iter().map(untimed).collect(), self.name(), self.driver())
            }
            timing => timing?,
        };
        let refused = checked.into_iter().map(Result::err).collect();
        timing.candidates = CandidateTiming::all(candidates, refused, std::mem::take(&mut timing.candidates))
            .map_err(|message| MeasureError::Failed { message })?;
        Ok(timing)
    }
}
