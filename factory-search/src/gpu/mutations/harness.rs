//! A measurement on the device that does not exist, as [`super::super::session`] and [`super::super::clock`] make it on one
//! that does: the same rules in the same order.

use std::collections::BTreeMap;

use factory_spec::{BoundSpec, SizeValues, Spec};

use super::device::{Device, Habit, Kernel, Place, STILL};
use crate::gpu::figures::{
    self, Bound, Lag, LagLimits, Noise, Overhead, Rotation, WINDOW_BYTES, first_difference, median,
};
use crate::gpu::graph::{HEAD_START, head_start};
use crate::gpu::poison::Poison;
use crate::gpu::secret;
use crate::gpu::state::{DeviceState, DisturbanceLimits, Watched};
use crate::gpu::timing::{CandidateTiming, FinalMeasurement, MeasureError, MeasureOptions, Timing};
use crate::model::Target;
use crate::verdict::{Gate, Reason, Rejection};

/// Kernels that are measured somewhere.
pub(super) struct Trial {
    pub(super) place: Place,
    pub(super) kernels: Vec<Kernel>,
    pub(super) options: MeasureOptions,
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Verdict {
    pub(super) winners: Vec<&'static str>,
    pub(super) refused: Vec<&'static str>,
    /// Whether everything was refused, because the device was disturbed.
    pub(super) disturbed: bool,
    /// Seconds of the first winner.
    pub(super) seconds: f64,
    /// Differences up to this are none.
    pub(super) floor: f64,
}

/// The rules of the clock.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) rotation: fn(usize, usize, usize) -> Rotation,
    /// The set of an execution of a window.
    pub(super) set: fn(usize) -> usize,
    pub(super) held: fn(&Rotation) -> f64,
    pub(super) head_start: fn(f64) -> f64,
    pub(super) warm_up: fn(&[usize]) -> Vec<usize>,
    pub(super) turns: fn(usize, &[usize]) -> Vec<usize>,
    /// Whether what was kept in L2 is put out before a window.
    pub(super) drops_kept_lines: bool,
    /// What outputs hold before a window of a round.
    pub(super) poison: fn(usize) -> Option<Poison>,
    /// Whether outputs are looked at after a window of a round.
    pub(super) checked: fn(usize) -> bool,
    pub(super) differ: fn(&[u64], &[u64]) -> Option<usize>,
    pub(super) lag: fn(&mut Lag, f64, f64, &LagLimits) -> Option<f64>,
    pub(super) share: fn(&Overhead, f64, usize) -> f64,
    pub(super) survivors: fn(&[&[f64]], f64) -> Vec<bool>,
    pub(super) believed: fn(&[f64], &Bound, &str) -> Result<f64, Reason>,
    pub(super) final_seed: fn(u64) -> u64,
    pub(super) pair: fn(usize) -> [usize; 2],
    pub(super) noise: fn([Vec<f64>; 2]) -> Option<Noise>,
    pub(super) watched: fn(DeviceState, DeviceState, &DisturbanceLimits) -> Watched,
    pub(super) accepted: fn(FinalMeasurement, &MeasureOptions) -> Result<FinalMeasurement, MeasureError>,
    pub(super) conclude: fn(&mut Timing, &[usize], FinalMeasurement),
    pub(super) winners: fn(&Timing) -> Vec<usize>,
}

/// All of them as they are.
pub(super) const WHOLE: Rules = Rules {
    rotation: |set, l2, free| Rotation::new(set, l2, free, WINDOW_BYTES),
    set: |execution| execution,
    held: Rotation::held,
    head_start,
    warm_up: figures::warm_up,
    turns: figures::turns,
    drops_kept_lines: true,
    poison: |round| Some(Poison::BOTH[round % 2]),
    checked: |_| true,
    differ: first_difference,
    lag: Lag::add,
    share: Overhead::share,
    survivors: figures::survivors,
    believed: figures::believed,
    final_seed: |_| secret::draw(),
    pair: figures::pair,
    noise: Noise::of,
    watched: Watched::between,
    accepted: FinalMeasurement::accepted,
    conclude: Timing::conclude,
    winners: Timing::winners,
};

/// Measures the kernels of a trial twice.
pub(super) fn judge(rules: &Rules, trial: &Trial, random: u64) -> Verdict {
    let kernels: Vec<usize> = (0..trial.kernels.len()).collect();
    let mut timing = Session::new(rules, trial, None, random, &kernels).race();
    let finalists = timing.finalists(trial.options.finalists);
    let seed = (rules.final_seed)(trial.options.seed);
    let finale = Session::new(rules, trial, Some(seed), !random, &finalists).finale();
    match (rules.accepted)(finale, &trial.options) {
        Ok(finale) => (rules.conclude)(&mut timing, &finalists, finale),
        Err(_) => return Verdict { disturbed: true, ..Verdict::default() },
    }
    let winners = (rules.winners)(&timing);
    let name = |index: usize| trial.kernels[index].name;
    let seconds = |index: &usize| timing.candidates[*index].outcome.as_ref().ok().copied();
    Verdict {
        seconds: winners.first().and_then(seconds).unwrap_or(f64::NAN),
        winners: winners.into_iter().map(name).collect(),
        refused: kernels
            .into_iter()
            .filter(|&index| timing.candidates[index].outcome.is_err())
            .map(name)
            .collect(),
        disturbed: false,
        floor: timing.floor().unwrap_or(f64::NAN),
    }
}

/// Copies `x` to `y`, so that a set has `bytes` bytes.
fn copy(bytes: usize) -> (BoundSpec, SizeValues) {
    let text = "[kernel]\nname = \"t\"\n[sizes]\nn = { min = 1 }\n\
                [[arg]]\nname = \"x\"\ndtype = \"f32\"\nshape = [\"n\"]\n\
                [[arg]]\nname = \"y\"\ndtype = \"f32\"\nshape = [\"n\"]\nrole = \"out\"\n\
                [reference]\nprogram = \"y = x + x\"\n[targets]\narch = [\"sm_90\"]\n";
    let spec = Spec::parse(std::path::Path::new("t.toml"), text).expect("a spec");
    let spec = spec.bind(&BTreeMap::new()).expect("no types to bind");
    let sizes = spec.size_values(&BTreeMap::from([("n".to_owned(), bytes as u64 / 8)])).expect("sizes");
    (spec, sizes)
}

/// A kernel that takes part.
struct Runner {
    index: usize,
    head_start: f64,
    lag: Lag,
    samples: Vec<f64>,
    dropped: bool,
    refused: Option<Reason>,
}

struct Session<'a> {
    rules: &'a Rules,
    trial: &'a Trial,
    device: Device,
    seed: u64,
    rotation: Rotation,
    overhead: Overhead,
    bound: Bound,
    runners: Vec<Runner>,
}

impl<'a> Session<'a> {
    fn new(
        rules: &'a Rules,
        trial: &'a Trial,
        second: Option<u64>,
        random: u64,
        kernels: &[usize],
    ) -> Session<'a> {
        let Trial { place, options, .. } = trial;
        let rotation = (rules.rotation)(place.set_bytes, place.l2_bytes, place.free);
        let seed = second.unwrap_or(options.seed);
        let mut device =
            Device::new(*place, second.is_some(), seed, random, trial.kernels.len(), rotation.sets);
        let mut head_start = HEAD_START;
        let mut empty = |kernels: usize| -> Vec<f64> {
            let times = (0..12).map(|_| {
                let window = device.empty(kernels, head_start);
                head_start = (rules.head_start)(window.host);
                window.seconds
            });
            times.skip(3).collect()
        };
        let (one, many) = (empty(1), empty(64));
        let (window_seconds, kernel_seconds) = Overhead::of(&one, &many, 64);
        let (spec, sizes) = copy(place.set_bytes);
        Session {
            rules,
            trial,
            device,
            seed,
            rotation,
            overhead: Overhead { window_seconds, kernel_seconds, ..Overhead::default() },
            bound: Bound::new(&spec, &sizes, &Target::H200, (rules.held)(&rotation)),
            runners: kernels
                .iter()
                .map(|&index| Runner {
                    index,
                    head_start: HEAD_START,
                    lag: Lag::NONE,
                    samples: Vec::new(),
                    dropped: false,
                    refused: None,
                })
                .collect(),
        }
    }

    fn race(mut self) -> Timing {
        let mut racing = self.warm();
        for round in 0..self.trial.options.rounds {
            self.round(round, &mut racing);
            let samples: Vec<&[f64]> = racing.iter().map(|&slot| &self.runners[slot].samples[..]).collect();
            let mut stay = (self.rules.survivors)(&samples, self.trial.options.hopeless).into_iter();
            racing.retain(|&slot| {
                let stays = stay.next().unwrap_or(true);
                self.runners[slot].dropped |= !stays;
                stays
            });
        }
        let candidates = self.candidates(|timing, samples| timing.samples = samples);
        Timing {
            rotation: self.rotation,
            bound: self.bound,
            overhead: self.overhead,
            ..Timing::recorded(candidates, "none", "none")
        }
    }

    fn finale(mut self) -> FinalMeasurement {
        let mut racing = self.warm();
        for round in 0..self.trial.options.final_rounds {
            self.round(round, &mut racing);
        }
        let time = |slot: &usize| median(&self.runners[*slot].samples);
        let best = racing.iter().copied().min_by(|a, b| time(a).total_cmp(&time(b)));
        let noise = best.and_then(|best| self.noise(best));
        let Place { after, .. } = self.trial.place;
        let finale = (self.rules.watched)(STILL, after, &self.trial.options.disturbed);
        let candidates = self.candidates(|timing, samples| timing.final_samples = samples);
        FinalMeasurement {
            noise,
            rotation: self.rotation,
            bound: self.bound,
            overhead: self.overhead,
            environment: Timing::recorded(Vec::new(), "none", "none").environment,
            finale,
            seed: self.seed,
            candidates,
        }
    }

    fn warm(&mut self) -> Vec<usize> {
        let racing: Vec<usize> = (0..self.runners.len()).collect();
        for slot in (self.rules.warm_up)(&racing) {
            self.run(slot);
        }
        racing
    }

    fn run(&mut self, slot: usize) -> crate::gpu::graph::Window {
        let sets: Vec<usize> = (0..self.rotation.sets).map(self.rules.set).collect();
        let runner = &mut self.runners[slot];
        let kernel = &self.trial.kernels[runner.index];
        let window = self.device.window(runner.index, kernel, &sets, runner.head_start);
        runner.head_start = (self.rules.head_start)(window.host);
        window
    }

    fn round(&mut self, round: usize, racing: &mut Vec<usize>) {
        for slot in (self.rules.turns)(round, racing) {
            match self.window(slot, round) {
                Ok(seconds) => self.runners[slot].samples.push(seconds),
                Err(reason) => self.runners[slot].refused = Some(reason),
            }
        }
        racing.retain(|&slot| self.runners[slot].refused.is_none());
    }

    fn window(&mut self, slot: usize, round: usize) -> Result<f64, Reason> {
        // For kernels of a spec that allows it.
        let keeps = self.trial.kernels.iter().any(|kernel| matches!(kernel.habit, Habit::KeepsLines));
        if keeps && self.rules.drops_kept_lines {
            self.device.drop_kept_lines();
        }
        if let Some(poison) = (self.rules.poison)(round) {
            self.device.poison(poison);
        }
        let window = self.run(slot);
        let right: Vec<u64> =
            (0..self.rotation.sets).map(|execution| self.device.right((self.rules.set)(execution))).collect();
        let found: Vec<u64> = (0..self.rotation.sets)
            .map(|execution| self.device.outputs[(self.rules.set)(execution)])
            .collect();
        let sizes = String::new();
        if (self.rules.checked)(round) && (self.rules.differ)(&right, &found).is_some() {
            return Err(Reason::TimedOutput { sizes, output: "y".to_owned() });
        }
        let lag = &mut self.runners[slot].lag;
        match (self.rules.lag)(lag, window.lag, window.seconds, &self.trial.options.lag) {
            Some(seconds) => Err(Reason::OutlivesWindow { sizes, seconds, window: window.seconds }),
            None => Ok((self.rules.share)(&self.overhead, window.seconds, self.rotation.sets)),
        }
    }

    fn noise(&mut self, slot: usize) -> Option<Noise> {
        let mut sides = [Vec::new(), Vec::new()];
        for round in 0..self.trial.options.final_rounds {
            for side in (self.rules.pair)(round) {
                sides[side].push(self.window(slot, round).ok()?);
            }
        }
        (self.rules.noise)(sides)
    }

    fn candidates(&mut self, finish: impl Fn(&mut CandidateTiming, Vec<f64>)) -> Vec<CandidateTiming> {
        let runners = std::mem::take(&mut self.runners).into_iter();
        let timing = |runner: Runner| {
            let believed = (self.rules.believed)(&runner.samples, &self.bound, "");
            let outcome = match runner.refused {
                Some(reason) => Err(reason),
                None => believed,
            };
            let outcome = outcome.map_err(|reason| Rejection::new(Gate::Time, reason));
            let mut timing = CandidateTiming::recorded(self.trial.kernels[runner.index].name, outcome);
            timing.samples.clear();
            timing.dropped = runner.dropped;
            finish(&mut timing, runner.samples);
            timing
        };
        runners.map(timing).collect()
    }
}
