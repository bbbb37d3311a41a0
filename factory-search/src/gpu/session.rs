//! One measurement: candidates that take turns over the same buffers.

use std::time::Instant;

use factory_spec::{BoundSpec, Requirement, SizeValues};

use super::bench::{Bench, Key};
use super::device::{Gpu, Loaded, ReadyLaunch, Trouble};
use super::driver::DriverError;
use super::figures::{
    Bound, Lag, Noise, believed, first_difference, median, pair, survivors, turns, warm_up,
};
use super::graph::Graph;
use super::helpers::Range;
use super::judge::Judge;
use super::kernels::Table;
use super::memory::{Placement, Room};
use super::nvml::Monitor;
use super::paired::LEAST_ROUNDS;
use super::poison::Poison;
use super::secret::{self, Stream};
use super::sets::{Kept, Sets};
use super::stage::bands;
use super::state::{DeviceState, Watched};
use super::timing::{CandidateTiming, Energy, Environment, FinalMeasurement, MeasureOptions, Spent, Timing};
use crate::candidate::Candidate;
use crate::launch;
use crate::model::Target;
use crate::verdict::{Gate, Reason, Rejection};

/// Rounds in which a random number of windows is run before the one that counts.
const UNEVEN_ROUNDS: usize = 3;
/// Part of the time limit after which the second measurement begins no further round; the rest is for the A/A run.
const FINAL_SHARE: f64 = 0.7;

impl Gpu {
    fn environment(&self) -> Environment {
        Environment {
            device: self.name().to_owned(),
            driver: self.driver().to_owned(),
            multiprocessors: self.multiprocessors,
            persisting_l2: self.persisting_l2(),
            protection: self.protection().clone(),
            clock: "events around a CUDA graph".to_owned(),
        }
    }
}

/// One measurement: its bench, its options, and whom it asks.
pub(super) struct Session<'a> {
    gpu: &'a Gpu,
    spec: &'a BoundSpec,
    sizes: &'a SizeValues,
    label: &'a str,
    options: &'a MeasureOptions,
    started: Instant,
    seed: u64,
    bench: Bench,
    bound: Bound,
    monitor: Result<Monitor, String>,
    random: Stream,
    judge: &'a dyn Judge,
    progress: &'a dyn Fn(usize),
    spent: Spent,
}

/// A candidate that is ready to run on every set.
struct Runner {
    index: usize,
    launches: Vec<Vec<ReadyLaunch>>,
    graph: Graph,
    /// What its outputs must look like.
    fingerprints: Vec<u64>,
    /// Outputs to be near to, where runs may differ and do.
    kept: Option<Vec<Kept>>,
    samples: Vec<f64>,
    lag: Lag,
    registers: u32,
    /// Address and bytes of each scratch buffer.
    scratch: Vec<(u64, usize)>,
    scratch_bands: Table,
    _rooms: Vec<Room>,
    // Last: dropped after everything that refers to it.
    _loaded: Loaded,
}

/// What a measurement asks and tells the outside.
#[derive(Clone, Copy)]
pub(crate) struct Outside<'a> {
    /// Knows what is right.
    pub(crate) judge: &'a dyn Judge,
    /// Is told which candidate is about to run.
    pub(crate) progress: &'a dyn Fn(usize),
}

/// Trouble, with the candidate whose fault it is.
pub(super) type Failure = (Option<usize>, Trouble);

fn nobody(trouble: impl Into<Trouble>) -> Failure {
    (None, trouble.into())
}

impl<'a> Session<'a> {
    /// A measurement on data of this seed, on the bench of an earlier one if that serves.
    #[expect(clippy::too_many_arguments, reason = "they are what a measurement consists of")]
    pub(super) fn new(
        gpu: &'a Gpu,
        spec: &'a BoundSpec,
        sizes: &'a SizeValues,
        label: &'a str,
        options: &'a MeasureOptions,
        seed: u64,
        kept: Option<Bench>,
        Outside { judge, progress }: Outside<'a>,
    ) -> Result<Session<'a>, Failure> {
        let started = Instant::now();
        let persisting = gpu.persisting_l2().unwrap_or(0);
        if persisting != 0 {
            let message =
                format!("{persisting} bytes of L2 are set aside for persisting lines; they must be none");
            return Err(nobody(Reason::Infrastructure { message }));
        }
        let key = Key::new(spec, sizes, seed, options.window_bytes);
        let kept = match kept {
            Some(bench) => bench.serves(gpu, &key).map_err(nobody)?.then_some(bench),
            None => None,
        };
        let bench = match kept {
            Some(bench) => bench,
            None => Bench::new(gpu, spec, key, judge).map_err(nobody)?,
        };
        let monitor = gpu.bus().map_err(|error| error.to_string()).and_then(|bus| Monitor::of(&bus));
        let target = if gpu.capability().0 >= 10 { &Target::B200 } else { &Target::H200 };
        let bound = Bound::new(spec, sizes, target, bench.sets.rotation.held());
        let random = Stream(secret::draw());
        let spent = Spent { buffers: started.elapsed().as_secs_f64(), ..Spent::default() };
        Ok(Session {
            gpu,
            spec,
            sizes,
            label,
            options,
            started,
            seed,
            bench,
            bound,
            monitor,
            random,
            judge,
            progress,
            spent,
        })
    }

    /// What the next one may use, if this one ended well.
    pub(super) fn into_bench(self) -> Bench {
        self.bench
    }

    fn out_of_time(&self, share: f64) -> bool {
        self.options.seconds.is_some_and(|limit| self.started.elapsed().as_secs_f64() > limit * share)
    }

    /// Everybody takes turns, and those that cannot win any more leave.
    pub(super) fn race(
        &mut self,
        candidates: &[&Candidate],
        alive: &[usize],
        refused: &mut [Option<Rejection>],
    ) -> Result<Timing, Failure> {
        let mut runners = self.runners(candidates, alive, refused)?;
        let mut dropped = vec![false; candidates.len()];
        let mut racing: Vec<usize> = (0..runners.len()).collect();
        let before = self.warm(&racing, &runners)?;
        for round in 0..self.options.rounds {
            if round >= 3 && self.out_of_time(1.0) {
                break;
            }
            self.round(round, &racing, &mut runners, refused)?;
            racing.retain(|&slot| refused[runners[slot].index].is_none());
            let samples: Vec<&[f64]> = racing.iter().map(|&slot| runners[slot].samples.as_slice()).collect();
            let mut stay = survivors(&samples, self.options.hopeless).into_iter();
            racing.retain(|&slot| {
                let stays = stay.next().unwrap_or(true);
                dropped[runners[slot].index] |= !stays;
                stays
            });
        }
        let so_far = self.spent.buffers + self.spent.readying;
        self.spent.racing = self.started.elapsed().as_secs_f64() - so_far;
        // Whoever comes next shall not pay for it.
        self.drop_kept_lines().map_err(nobody)?;
        let race = self.watched(before);
        let timings = self.timings(candidates, &mut runners, refused, |timing, samples| {
            timing.0.dropped = dropped[timing.1];
            timing.0.samples = samples;
        });
        Ok(Timing {
            candidates: timings,
            noise: None,
            rotation: self.bench.sets.rotation,
            bound: self.bound,
            overhead: self.bench.overhead,
            environment: self.gpu.environment(),
            race,
            finale: Watched::default(),
            final_seed: None,
            spent: self.spent,
        })
    }

    /// A few candidates take turns to the end, then the best one against itself.
    pub(super) fn finale(
        &mut self,
        candidates: &[&Candidate],
        alive: &[usize],
        refused: &mut [Option<Rejection>],
    ) -> Result<FinalMeasurement, Failure> {
        let mut runners = self.runners(candidates, alive, refused)?;
        let mut racing: Vec<usize> = (0..runners.len()).collect();
        let before = self.warm(&racing, &runners)?;
        for round in 0..self.options.final_rounds {
            if round >= LEAST_ROUNDS && self.out_of_time(FINAL_SHARE) {
                break;
            }
            self.round(round, &racing, &mut runners, refused)?;
            racing.retain(|&slot| refused[runners[slot].index].is_none());
        }
        let time = |slot: &usize| median(&runners[*slot].samples);
        let best = racing.iter().copied().min_by(|a, b| time(a).total_cmp(&time(b)));
        let noise = match best {
            Some(best) => self.noise(best, &mut runners, refused)?,
            None => None,
        };
        self.drop_kept_lines().map_err(nobody)?;
        let finale = self.watched(before);
        let mut energies = vec![None; candidates.len()];
        if let Some(seconds) = self.options.energy_seconds {
            for &slot in &racing {
                let index = runners[slot].index;
                (self.progress)(index);
                let measured = self.energy(&mut runners[slot], seconds);
                match self.own(index, measured)? {
                    Ok(energy) => energies[index] = energy,
                    Err(reason) => refused[index] = Some(Rejection::new(Gate::Time, reason)),
                }
            }
        }
        let timings = self.timings(candidates, &mut runners, refused, |timing, samples| {
            timing.0.energy = energies[timing.1];
            timing.0.final_samples = samples;
        });
        Ok(FinalMeasurement {
            candidates: timings,
            noise,
            rotation: self.bench.sets.rotation,
            bound: self.bound,
            overhead: self.bench.overhead,
            environment: self.gpu.environment(),
            finale,
            seed: self.seed,
        })
    }

    /// Makes every candidate ready; those that are wrong at these sizes are refused.
    fn runners(
        &mut self,
        candidates: &[&Candidate],
        alive: &[usize],
        refused: &mut [Option<Rejection>],
    ) -> Result<Vec<Runner>, Failure> {
        let mut runners = Vec::new();
        for &index in alive {
            (self.progress)(index);
            let made = self.runner(index, candidates[index]);
            match self.own(index, made)? {
                Ok(runner) => runners.push(runner),
                Err(reason) => refused[index] = Some(Rejection::new(Gate::Time, reason)),
            }
        }
        self.spent.readying = self.started.elapsed().as_secs_f64() - self.spent.buffers;
        Ok(runners)
    }

    /// Runs windows until clocks are what they will be, and reads the device's state.
    fn warm(&self, racing: &[usize], runners: &[Runner]) -> Result<Option<DeviceState>, Failure> {
        for slot in warm_up(racing) {
            (self.progress)(runners[slot].index);
            let failed = |error: DriverError| (Some(runners[slot].index), Trouble::from(error));
            runners[slot].graph.queue(self.gpu).map_err(failed)?;
            self.gpu.wait().map_err(failed)?;
        }
        Ok(self.monitor.as_ref().ok().map(Monitor::state))
    }

    fn watched(&self, before: Option<DeviceState>) -> Watched {
        match (&self.monitor, before) {
            (Ok(monitor), Some(before)) => Watched::between(before, monitor.state(), &self.options.disturbed),
            (Err(message), _) => Watched { unknown: Some(message.clone()), ..Watched::default() },
            (Ok(_), None) => Watched::default(),
        }
    }

    /// The outcome of each candidate: the median of its samples, unless that is impossible.
    fn timings(
        &self,
        candidates: &[&Candidate],
        runners: &mut [Runner],
        refused: &mut [Option<Rejection>],
        mut finish: impl FnMut((&mut CandidateTiming, usize), Vec<f64>),
    ) -> Vec<CandidateTiming> {
        let mut timings = Vec::new();
        for (index, candidate) in candidates.iter().enumerate() {
            let runner = runners.iter_mut().find(|runner| runner.index == index);
            let samples = runner.as_ref().map_or_else(Vec::new, |runner| runner.samples.clone());
            let believed = believed(&samples, &self.bound, self.label);
            let outcome = match refused[index].take() {
                Some(rejection) => Err(rejection),
                None => believed.map_err(|reason| Rejection::new(Gate::Time, reason)),
            };
            let mut timing = CandidateTiming {
                id: candidate.id.clone(),
                outcome,
                samples: Vec::new(),
                final_samples: Vec::new(),
                dropped: false,
                registers: runner.map_or(0, |runner| runner.registers),
                energy: None,
            };
            finish((&mut timing, index), samples);
            timings.push(timing);
        }
        timings
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

    fn runner(&mut self, index: usize, candidate: &Candidate) -> Result<Runner, Trouble> {
        let (gpu, spec) = (self.gpu, self.spec);
        let loaded = Loaded::new(gpu, candidate)?;
        let mut rooms = Vec::new();
        let mut scratch = Vec::new();
        let mut around: Vec<Range> = Vec::new();
        let mut addresses = Vec::new();
        for (name, bytes) in launch::scratch_bytes(spec, self.sizes, &candidate.variant)? {
            let room = Room::new(gpu, bytes)?;
            let address = room.address + room.offset(bytes, 256, Placement::End) as u64;
            around.extend(bands(&room, address, bytes));
            addresses.push((name, address));
            scratch.push((address, bytes));
            rooms.push(room);
        }
        let scratch_bands = Table::new(gpu, &around)?;
        scratch_bands.poison(gpu)?;
        let mut launches = Vec::new();
        for set in &self.bench.sets.sets {
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
            kept: None,
            samples: Vec::new(),
            lag: Lag::NONE,
            registers,
            scratch,
            scratch_bands,
            _rooms: rooms,
            _loaded: loaded,
        };
        self.prove(&mut runner)?;
        Ok(runner)
    }

    /// Runs every set over two poisons: outputs are right and do not depend on what was there, inputs and bands stay. Where
    /// the spec lets runs differ, they must be as near to each other as to what is right.
    fn prove(&mut self, runner: &mut Runner) -> Result<(), Trouble> {
        let (gpu, spec) = (self.gpu, self.spec);
        gpu.scrub()?;
        runner.fingerprints = self.plain(runner, Poison::NotANumber)?;
        let asked = Instant::now();
        self.compare(&runner.fingerprints)?;
        self.spent.comparing += asked.elapsed().as_secs_f64();
        let found = self.plain(runner, Poison::Large)?;
        let Some(position) = first_difference(&runner.fingerprints, &found) else {
            return self.untouched(runner);
        };
        let (sizes, output) = (self.label.to_owned(), Sets::output_at(spec, position));
        if spec.better.require.contains(&Requirement::Deterministic) {
            let again = self.plain(runner, Poison::NotANumber)?;
            return Err(match first_difference(&runner.fingerprints, &again) {
                None => Reason::PoisonShows { sizes, output },
                Some(_) => Reason::NotDeterministic { sizes, output },
            }
            .into());
        }
        self.compare(&found)?;
        runner.fingerprints = found;
        runner.kept = Some(self.bench.sets.keep(gpu, spec)?);
        self.plain(runner, Poison::NotANumber)?;
        match self.same(runner) {
            Err(Trouble::Candidate(Reason::TimedOutput { sizes, output })) => {
                let message = format!("`{output}` of two executions");
                return Err(Reason::Unsteady { sizes, message }.into());
            }
            other => other?,
        }
        self.untouched(runner)
    }

    /// What is in the first set now is right; `fingerprints` are the outputs'.
    fn compare(&mut self, fingerprints: &[u64]) -> Result<(), Trouble> {
        let Bench { truth, sets, .. } = &mut self.bench;
        let compared = truth.check(self.gpu, self.spec, self.sizes, sets, fingerprints, self.judge);
        // Whole tensors are compared with another candidate's. Where what is between their rows differs, that is what is wrong.
        if let Err(Trouble::Candidate(Reason::Mismatch { .. })) = &compared {
            self.rows_alone()?;
        }
        compared
    }

    /// Nobody wrote between the rows of outputs.
    fn rows_alone(&self) -> Result<(), Trouble> {
        match self.bench.sets.torn(self.gpu, self.spec)? {
            None => Ok(()),
            Some(output) => Err(Reason::RowGap { sizes: self.label.to_owned(), output, byte: 0 }.into()),
        }
    }

    /// Plain launches on every set, over one poison; what the outputs look like. Windows use graphs: both ways must give the
    /// same.
    fn plain(&mut self, runner: &Runner, poison: Poison) -> Result<Vec<u64>, Trouble> {
        self.reset(runner, poison)?;
        for launch in runner.launches.iter().flatten() {
            launch.queue(self.gpu)?;
        }
        self.gpu.wait()?;
        Ok(self.bench.sets.fingerprints(self.gpu, true)?)
    }

    /// Inputs and bands are as they were.
    fn untouched(&self, runner: &Runner) -> Result<(), Trouble> {
        let (gpu, spec) = (self.gpu, self.spec);
        let names =
            || spec.args.iter().filter(|arg| !arg.scalar && !arg.role.writes()).map(|arg| arg.name.as_str());
        if let Some(position) =
            first_difference(&self.bench.inputs, &self.bench.sets.fingerprints(gpu, false)?)
        {
            let count = names().count().max(1);
            let input = names().nth(position % count).unwrap_or_default().to_owned();
            return Err(Reason::InputChanged { sizes: self.label.to_owned(), input }.into());
        }
        if let Some(buffer) = self.bench.sets.strays(gpu)? {
            // The next candidate must not answer for it.
            self.bench.sets.mend(gpu)?;
            return Err(Reason::GuardBand { sizes: self.label.to_owned(), buffer }.into());
        }
        self.rows_alone()?;
        if runner.scratch_bands.strays(gpu)?.iter().any(|count| *count != 0) {
            let buffer = "a scratch buffer".to_owned();
            return Err(Reason::GuardBand { sizes: self.label.to_owned(), buffer }.into());
        }
        Ok(())
    }

    fn reset(&mut self, runner: &Runner, poison: Poison) -> Result<(), DriverError> {
        for (address, bytes) in &runner.scratch {
            let word = poison.word(factory_spec::DType::F32, self.random.next());
            self.gpu.poison_range(*address, *bytes, word)?;
        }
        self.bench.sets.poison(self.gpu, self.spec, poison, &mut self.random)
    }

    fn drop_kept_lines(&self) -> Result<(), DriverError> {
        self.bench.kept_lines.as_ref().map_or(Ok(()), |lines| lines.drop_all(self.gpu))
    }

    /// One window of each.
    fn round(
        &mut self,
        round: usize,
        order: &[usize],
        runners: &mut [Runner],
        refused: &mut [Option<Rejection>],
    ) -> Result<(), Failure> {
        for slot in turns(round, order) {
            let index = runners[slot].index;
            (self.progress)(index);
            // How many launches went before says nothing about which one counts.
            let uneven = if round < UNEVEN_ROUNDS { self.random.below(2) } else { 0 };
            let sample = self.window(&mut runners[slot], Poison::BOTH[round % 2], uneven);
            match self.own(index, sample)? {
                Ok(seconds) => runners[slot].samples.push(seconds),
                Err(reason) => refused[index] = Some(Rejection::new(Gate::Time, reason)),
            }
        }
        Ok(())
    }

    /// One window: poison, time one graph, check every output of it. Seconds of one execution.
    fn window(&mut self, runner: &mut Runner, poison: Poison, before: usize) -> Result<f64, Trouble> {
        for _ in 0..before {
            runner.graph.queue(self.gpu)?;
        }
        self.drop_kept_lines()?;
        self.reset(runner, poison)?;
        let window = runner.graph.time(self.gpu)?;
        self.same(runner)?;
        if let Some(seconds) = runner.lag.add(window.lag, window.seconds, &self.options.lag) {
            let (sizes, window) = (self.label.to_owned(), window.seconds);
            return Err(Reason::OutlivesWindow { sizes, seconds, window }.into());
        }
        Ok(self.bench.overhead.share(window.seconds, self.bench.sets.rotation.sets))
    }

    /// Every output is what the checked launch left, or as near to it as the spec lets runs be.
    fn same(&self, runner: &Runner) -> Result<(), Trouble> {
        let found = self.bench.sets.fingerprints(self.gpu, true)?;
        let Some(first) = first_difference(&runner.fingerprints, &found) else { return Ok(()) };
        let position = match &runner.kept {
            None => Some(first),
            Some(kept) => {
                let differing: Vec<bool> =
                    runner.fingerprints.iter().zip(&found).map(|(a, b)| a != b).collect();
                Sets::strayed(self.gpu, self.spec, kept, &self.bench.truth, &differing)?
            }
        };
        let Some(position) = position else { return Ok(()) };
        let (sizes, output) = (self.label.to_owned(), Sets::output_at(self.spec, position));
        Err(Reason::TimedOutput { sizes, output }.into())
    }

    /// The best candidate against itself, by the same protocol.
    fn noise(
        &mut self,
        slot: usize,
        runners: &mut [Runner],
        refused: &mut [Option<Rejection>],
    ) -> Result<Option<Noise>, Failure> {
        let mut sides = [Vec::new(), Vec::new()];
        for round in 0..self.options.final_rounds {
            if round >= LEAST_ROUNDS && self.out_of_time(1.0) {
                break;
            }
            for side in pair(round) {
                let index = runners[slot].index;
                (self.progress)(index);
                let sample = self.window(&mut runners[slot], Poison::BOTH[round % 2], 0);
                match self.own(index, sample)? {
                    Ok(seconds) => sides[side].push(seconds),
                    Err(reason) => {
                        refused[index] = Some(Rejection::new(Gate::Time, reason));
                        return Ok(None);
                    }
                }
            }
        }
        Ok(Noise::of(sides))
    }

    /// Runs windows back to back and reads the device's energy counter. What the last window left is checked. `None` where
    /// the device does not tell.
    fn energy(&mut self, runner: &mut Runner, seconds: f64) -> Result<Option<Energy>, Trouble> {
        let told = self.monitor.as_ref().ok().and_then(Monitor::joules).is_some();
        // A window may find what the one before it kept in the L2.
        if !told || self.bench.kept_lines.is_some() {
            return Ok(None);
        }
        self.reset(runner, Poison::Large)?;
        // The counter moves in steps of many milliseconds: both ends of the run are where it moves.
        let mut first: Option<(Instant, f64)> = None;
        let mut last: Option<(Instant, f64)> = None;
        let (mut windows, mut counted) = (0u64, 0u64);
        let mut seen = self.monitor.as_ref().ok().and_then(Monitor::joules);
        let started = Instant::now();
        while started.elapsed().as_secs_f64() < 2.0 * seconds + 1.0 {
            runner.graph.queue(self.gpu)?;
            self.gpu.wait()?;
            windows += 1;
            let now = self.monitor.as_ref().ok().and_then(Monitor::joules);
            if now == seen {
                continue;
            }
            seen = now;
            let Some(joules) = now else { break };
            match first {
                None => (first, windows) = (Some((Instant::now(), joules)), 0),
                Some((since, _)) => {
                    (last, counted) = (Some((Instant::now(), joules)), windows);
                    if since.elapsed().as_secs_f64() >= seconds {
                        break;
                    }
                }
            }
        }
        // What is read as well as written has changed in every window but the first: nothing to compare with.
        if self.spec.args.iter().all(|arg| !(arg.role.reads() && arg.role.writes())) {
            self.same(runner)?;
        }
        let (Some((since, from)), Some((until, to))) = (first, last) else { return Ok(None) };
        let executions = counted * self.bench.sets.rotation.sets as u64;
        let (joules, seconds) = (to - from, until.duration_since(since).as_secs_f64());
        if executions == 0 || seconds <= 0.0 {
            return Ok(None);
        }
        Ok(Some(Energy { joules: joules / executions as f64, watts: joules / seconds, seconds, executions }))
    }
}
