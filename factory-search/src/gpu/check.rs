//! The device gate: the cases of the machine gate, on the GPU.
//!
//! Each case runs four times: over two poisons, with every tensor at the start of its room and at its end. All four must
//! leave guard bands and inputs alone and write every element; every one must agree with the oracle. Where the spec asks
//! for determinism all must agree in every bit, and so must repeats; where it does not, they must be as near to each other
//! as to what is right. Cases run in random order, each after shared memory and registers were scrubbed. Then come
//! sequences of calls on the same addresses with changed inputs ([`crate::cases::Step`]).

use std::fmt;
use std::time::{Duration, Instant};

use factory_spec::{BoundSpec, Requirement};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::device::{Gpu, Loaded, Trouble};
use super::familiar::Known;
use super::judge::{Judge, LocalJudge, Place, Question, Telling};
use super::memory::{Placement, Protection};
use super::poison::{self, Poison};
use super::runs::{Before, Ran, Runs, Wanted};
use super::secret::{self, Stream};
use super::stage::Stage;
use crate::candidate::Candidate;
use crate::cases::{Cases, PreparedCase};
use crate::parallel;
use crate::verdict::{Gate, Reason, Rejection, Verdict};

/// Further runs of a case that is repeated.
const REPEATS: usize = 12;
/// Elements of a case that is repeated, at most.
const REPEATED_ELEMENTS: usize = 1 << 16;
/// Launches before the first one that is looked at, at most.
const WARM_UPS: usize = 3;

/// What the device gate did for a candidate that passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// Cases.
    pub cases: u32,
    /// Executions that were checked, sequences and repeats included.
    pub runs: u32,
    /// Calls at the same addresses with changed inputs.
    pub steps: u32,
    /// Those among them that the answer of the call before would have passed, and that show nothing.
    pub mute_steps: u32,
    /// Executions that repeat another, to compare with it.
    pub repeats: u32,
    /// Whether all had to agree in every bit.
    pub deterministic: bool,
    /// How buffers were protected.
    pub protection: Protection,
    /// Whether shared memory and registers were scrubbed.
    pub scrubbed: bool,
    /// Seed of the order, the poison and the number of warm-ups, drawn by the system; for a replay.
    pub order_seed: u64,
    /// How long the driver took to compile and load it.
    pub loading: Duration,
    /// How long everything else took.
    pub checking: Duration,
}

impl fmt::Display for DeviceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cases, {} runs, {} of them repeats ({}), {} calls with changed inputs ({} of them mute); {}; {}",
            self.cases,
            self.runs,
            self.repeats,
            if self.deterministic { "equal in every bit" } else { "within the tolerance of each other" },
            self.steps,
            self.mute_steps,
            self.protection,
            if self.scrubbed { "scrubbed" } else { "shared memory not scrubbed: the device has too little" },
        )
    }
}

impl Gpu {
    /// Runs a candidate on every case that it serves.
    ///
    /// # Errors
    /// The first refusal. After an error that stays with the context, a new context was made; when that fails too the
    /// verdict is `Infrastructure`.
    pub fn check(
        &mut self,
        spec: &BoundSpec,
        cases: &Cases,
        candidate: &Candidate,
    ) -> Result<DeviceReport, Rejection> {
        self.check_as(Gate::Device, spec, cases, candidate, &LocalJudge::new(spec, Some(cases)))
    }

    /// The device gate on cases of a secret seed ([`crate::gpu::secret_seed`]).
    ///
    /// # Errors
    /// As [`Gpu::check`], with the gate `Holdout`.
    pub fn hold_out(
        &mut self,
        spec: &BoundSpec,
        cases: &Cases,
        candidate: &Candidate,
    ) -> Result<DeviceReport, Rejection> {
        self.check_as(Gate::Holdout, spec, cases, candidate, &LocalJudge::new(spec, Some(cases)))
    }

    /// The same with another judge, as one of the two gates.
    pub(crate) fn check_as(
        &mut self,
        gate: Gate,
        spec: &BoundSpec,
        cases: &Cases,
        candidate: &Candidate,
        judge: &dyn Judge,
    ) -> Result<DeviceReport, Rejection> {
        let mut stage = std::mem::take(&mut self.stage);
        stage.serve(spec);
        let outcome = self.check_cases(spec, cases, candidate, &mut stage, judge);
        match outcome {
            // With the context goes everything that is on the device.
            Err((Trouble::Driver(error), sizes)) if error.is_sticky() => {
                drop(stage);
                Err(self.rejection(gate, error.into(), &sizes))
            }
            // What was written where nothing may be, inputs above all, must not be there for the next candidate.
            Err((Trouble::Candidate(reason), sizes)) if reason.verdict() == Verdict::Unsafe => {
                drop(stage);
                Err(self.rejection(gate, Trouble::Candidate(reason), &sizes))
            }
            outcome => {
                self.stage = stage;
                outcome.map_err(|(trouble, sizes)| self.rejection(gate, trouble, &sizes))
            }
        }
    }

    /// Turns trouble into a refusal, and gets over a lost context.
    pub(super) fn rejection(&mut self, gate: Gate, trouble: Trouble, sizes: &str) -> Rejection {
        let reason = match trouble {
            Trouble::Candidate(reason) => reason,
            Trouble::Driver(error) if error.is_sticky() && !self.renews() => {
                self.spent = true;
                Reason::DeviceFault {
                    sizes: sizes.to_owned(),
                    code: error.name.clone(),
                    message: format!("`{}` failed", error.call),
                }
            }
            Trouble::Driver(error) if error.is_sticky() => match self.renew() {
                Ok(()) => Reason::DeviceFault {
                    sizes: sizes.to_owned(),
                    code: error.name.clone(),
                    message: format!("`{}` failed; a new context was made", error.call),
                },
                Err(again) => Reason::Infrastructure {
                    message: format!("after {error} no new context could be made: {again}; start again"),
                },
            },
            // The kernel asks for more than the device gives a launch.
            Trouble::Driver(error) if matches!(error.code, 1 | 701) => {
                Reason::Plan { message: error.to_string() }
            }
            Trouble::Driver(error) => Reason::Infrastructure { message: error.to_string() },
        };
        Rejection::new(gate, reason)
    }

    fn check_cases(
        &self,
        spec: &BoundSpec,
        cases: &Cases,
        candidate: &Candidate,
        stage: &mut Stage,
        judge: &dyn Judge,
    ) -> Result<DeviceReport, (Trouble, String)> {
        let nowhere = |trouble: Trouble| (trouble, String::new());
        let served = cases.served(spec, &candidate.variant);
        if served.is_empty() {
            let when = candidate.variant.when.to_string();
            return Err(nowhere(Reason::NoCase { when }.into()));
        }
        let started = Instant::now();
        let loaded = Loaded::new(self, candidate).map_err(nowhere)?;
        let loading = started.elapsed();
        let order_seed = secret::draw();
        let runs = Runs {
            gpu: self,
            stage,
            spec,
            variant: &candidate.variant,
            loaded: &loaded,
            random: Stream(order_seed),
            scrubbed: true,
        };
        let report = DeviceReport {
            cases: served.len() as u32,
            runs: 0,
            steps: 0,
            mute_steps: 0,
            repeats: 0,
            deterministic: spec.better.require.contains(&Requirement::Deterministic),
            protection: self.protection().clone(),
            scrubbed: true,
            order_seed,
            loading,
            checking: Duration::ZERO,
        };
        let mut gate = DeviceGate { spec, cases, runs, report, judge };
        let outcome = gate.once_each(&served).and_then(|()| gate.in_sequence(&served));
        // The module is unloaded when this returns: nothing of it may be queued any more.
        let waited = self.wait();
        outcome?;
        waited.map_err(|error| nowhere(error.into()))?;
        gate.report.scrubbed = gate.runs.scrubbed;
        gate.report.checking = started.elapsed() - loading;
        Ok(gate.report)
    }
}

struct DeviceGate<'a> {
    spec: &'a BoundSpec,
    cases: &'a Cases,
    runs: Runs<'a>,
    report: DeviceReport,
    judge: &'a dyn Judge,
}

/// One of the four ways in which a case is run.
const WAYS: [(Placement, Poison); 4] = [
    (Placement::Start, Poison::NotANumber),
    (Placement::Start, Poison::Large),
    (Placement::End, Poison::NotANumber),
    (Placement::End, Poison::Large),
];

impl DeviceGate<'_> {
    /// Every case in four ways and a few of them more often, in random order.
    fn once_each(&mut self, served: &[usize]) -> Result<(), (Trouble, String)> {
        let cases = self.cases;
        let case_at = |index: usize| &cases.all()[index];
        let mut wanted: Vec<(usize, usize, Wanted<'_>)> = Vec::new();
        for &index in served {
            for (way, (placement, poison)) in WAYS.into_iter().enumerate() {
                let case = case_at(index);
                wanted.push((index, way, Wanted { case, placement, poison, before: Before::Scrub }));
            }
        }
        for index in repeated(cases, served) {
            for turn in 0..REPEATS {
                let before = [Before::Nothing, Before::Unrelated, Before::Scrub][turn % 3];
                let (placement, poison) = WAYS[turn % WAYS.len()];
                let case = case_at(index);
                wanted.push((index, WAYS.len() + turn, Wanted { case, placement, poison, before }));
                self.report.repeats += 1;
            }
        }
        self.runs.random.shuffle(&mut wanted);
        self.report.runs += wanted.len() as u32;
        let warm_ups = self.runs.random.below(WARM_UPS + 1);
        self.runs.warm(&wanted[0].2, warm_ups)?;
        let list: Vec<Wanted<'_>> = wanted.iter().map(|(_, _, wanted)| *wanted).collect();
        let ran = self.runs.all(&list)?;
        let mut by_case: std::collections::BTreeMap<usize, Vec<(usize, Ran)>> = Default::default();
        for ((index, way, _), ran) in wanted.iter().zip(ran) {
            by_case.entry(*index).or_default().push((*way, ran));
        }
        let ran: Vec<(&PreparedCase, Vec<Ran>)> = served
            .iter()
            .map(|&index| {
                let mut ran = by_case.remove(&index).unwrap_or_default();
                ran.sort_by_key(|(way, _)| *way);
                (case_at(index), ran.into_iter().map(|(_, ran)| ran).collect())
            })
            .collect();
        self.agree(served, &ran)?;
        for (case, ran) in ran {
            self.note(case, ran, Telling(true));
        }
        Ok(())
    }

    /// Remembers what runs left, all of which is right.
    fn note(&mut self, case: &PreparedCase, ran: Vec<Ran>, telling: Telling) {
        let name = Stage::name(self.spec, case);
        let fresh: Vec<Ran> = ran.into_iter().filter(|one| one.known.is_none()).collect();
        let mut digests: Vec<(&[Vec<u8>], [u8; 32])> = Vec::new();
        for one in &fresh {
            let seen = digests.iter().find(|(outputs, _)| *outputs == one.outputs.as_slice());
            let bits = seen.map_or_else(|| PreparedCase::digest(&one.outputs), |(_, bits)| *bits);
            digests.push((&one.outputs, bits));
            self.runs.stage.familiar.note(&name, one.fingerprint.clone(), Known { bits, telling });
        }
    }

    /// Whether the runs of each case wrote everything, are right, and agree with each other. The first four are those of
    /// [`WAYS`].
    fn agree(&self, served: &[usize], ran: &[(&PreparedCase, Vec<Ran>)]) -> Result<(), (Trouble, String)> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let distinct =
            parallel::map(threads, ran, |_, (case, ran)| distinct(self.spec, case, ran), |_, _| ());
        let mut questions = Vec::new();
        let mut asked = Vec::new();
        let mut differing = Vec::new();
        for ((&index, (case, ran)), distinct) in served.iter().zip(ran).zip(distinct) {
            let distinct = distinct.map_err(|reason| (reason.into(), case.label.clone()))?;
            let place = Place { case: index, step: None };
            for &run in &distinct {
                questions.push(Question::Right { place, outputs: owned(&ran[run].outputs) });
                asked.push(case);
            }
            if distinct.len() > 1 {
                differing.push((place, case, ran, distinct));
            }
        }
        self.ask(questions, &asked)?;
        let mut questions = Vec::new();
        let mut asked = Vec::new();
        for (place, case, ran, distinct) in differing {
            if self.report.deterministic {
                return Err((disagreement(self.spec, case, ran).into(), case.label.clone()));
            }
            for &other in &distinct[1..] {
                let (first, second) = (owned(&ran[distinct[0]].outputs), owned(&ran[other].outputs));
                questions.push(Question::Near { place, first, second });
                asked.push(case);
            }
        }
        self.ask(questions, &asked).map(|_| ())
    }

    /// Asks the judge; the first refusal, with the case that it is about.
    fn ask(
        &self,
        questions: Vec<Question>,
        asked: &[&&PreparedCase],
    ) -> Result<Vec<Telling>, (Trouble, String)> {
        let count = questions.len();
        let answers = if count == 0 { Vec::new() } else { self.judge.ask(questions) };
        if answers.len() != count {
            let message = format!("{} of {count} questions were answered", answers.len());
            return Err((Reason::Infrastructure { message }.into(), String::new()));
        }
        let answers = answers.into_iter().zip(asked);
        answers.map(|(answer, case)| answer.map_err(|reason| (reason.into(), case.label.clone()))).collect()
    }

    /// Calls on the same addresses.
    fn in_sequence(&mut self, served: &[usize]) -> Result<(), (Trouble, String)> {
        let cases = self.cases;
        let mut questions = Vec::new();
        let mut asked = Vec::new();
        for (number, index) in cases.starts(served).into_iter().enumerate() {
            let start = &cases.all()[index];
            let failed = |trouble: Trouble| (trouble, start.label.clone());
            let steps = start.steps(self.spec);
            let alignment = self.runs.variant.alignment.max(1) as usize;
            let placement = [Placement::End, Placement::Start][number % 2];
            let Some(first) = steps.first() else { continue };
            let gpu = self.runs.gpu;
            let mut inputs = self
                .runs
                .stage
                .take_sequence(gpu, self.spec, &first.case, placement, alignment)
                .map_err(failed)?;
            for (number, step) in steps.iter().enumerate() {
                let key = self.runs.stage.key;
                inputs.rewrite(gpu, self.spec, &step.case, key).map_err(failed)?;
                let poison = Poison::BOTH[self.runs.random.below(2)];
                let before = [Before::Nothing, Before::Scrub][self.runs.random.below(2)];
                let ran = self.runs.on(&Wanted { case: &step.case, placement, poison, before }, &inputs)?;
                self.report.steps += 1;
                self.report.runs += 1;
                if let Some(Known { telling, .. }) = ran.known {
                    self.report.mute_steps += u32::from(!telling.0);
                    continue;
                }
                let place = Place { case: index, step: Some(number) };
                questions.push(Question::Right { place, outputs: owned(&ran.outputs) });
                asked.push((&step.case, ran));
            }
            self.runs.stage.keep_sequence(self.spec, &first.case, placement, alignment, inputs);
        }
        let cases: Vec<&&PreparedCase> = asked.iter().map(|(case, _)| case).collect();
        let answers = self.ask(questions, &cases)?;
        self.report.mute_steps += answers.iter().filter(|Telling(telling)| !telling).count() as u32;
        for ((case, ran), telling) in asked.into_iter().zip(answers) {
            self.note(case, vec![ran], telling);
        }
        Ok(())
    }
}

/// Whether the runs of one case wrote everything; one run for each of the outputs that they left and that are not known to be
/// right.
fn distinct(spec: &BoundSpec, case: &PreparedCase, ran: &[Ran]) -> Result<Vec<usize>, Reason> {
    let Some(ways) = ran.get(..WAYS.len()) else {
        let message = format!("{}: {} of {} runs came back", case.label, ran.len(), WAYS.len());
        return Err(Reason::Infrastructure { message });
    };
    // Whoever left poison, or something else, left other bits than those that are known.
    if ran.iter().all(|one| one.known.is_some()) {
        return Ok(Vec::new());
    }
    for pair in ways.chunks(2) {
        written(spec, case, &pair[0], &pair[1])?;
    }
    let mut distinct: Vec<usize> = Vec::new();
    for (index, one) in ran.iter().enumerate() {
        if !distinct.iter().any(|&known| ran[known].outputs == one.outputs) {
            distinct.push(index);
        }
    }
    Ok(distinct)
}

fn owned(outputs: &[Vec<u8>]) -> Vec<ByteBuf> {
    outputs.iter().map(|bytes| ByteBuf::from(bytes.as_slice())).collect()
}

/// The cases that are run more often: the smallest and the largest that are not too large.
fn repeated(cases: &Cases, served: &[usize]) -> Vec<usize> {
    let mut fit: Vec<usize> = served
        .iter()
        .copied()
        .filter(|&index| (1..=REPEATED_ELEMENTS).contains(&cases.all()[index].elements))
        .collect();
    fit.sort_by_key(|&index| (cases.all()[index].elements, index));
    match fit.as_slice() {
        [] => Vec::new(),
        [only] => vec![*only],
        [first, .., last] => vec![*first, *last],
    }
}

/// Two runs over different poisons: no element may hold both.
fn written(spec: &BoundSpec, case: &PreparedCase, first: &Ran, second: &Ran) -> Result<(), Reason> {
    for (position, (_, arg)) in spec.outputs().enumerate() {
        let (Some(word), Some(other)) = (first.poisons[position].1, second.poisons[position].1) else {
            continue;
        };
        let size = arg.dtype.size();
        let a = (first.outputs[position].as_slice(), first.poisons[position].0, word);
        let b = (second.outputs[position].as_slice(), second.poisons[position].0, other);
        if let Some(element) = poison::unwritten(size, a, b) {
            return Err(Reason::Unwritten {
                sizes: case.label.clone(),
                output: arg.name.clone(),
                byte: (element * size) as u64,
            });
        }
    }
    Ok(())
}

/// Runs that should be equal and are not: what it depends on, as far as the four ways tell.
fn disagreement(spec: &BoundSpec, case: &PreparedCase, ran: &[Ran]) -> Reason {
    let names: Vec<&str> = spec.outputs().map(|(_, arg)| arg.name.as_str()).collect();
    let differs = |a: &Ran, b: &Ran| a.outputs.iter().zip(&b.outputs).position(|(a, b)| a != b);
    let sizes = case.label.clone();
    let name = |position: Option<usize>| {
        position.and_then(|position| names.get(position)).copied().unwrap_or_default().to_owned()
    };
    let [nan, large, nan_again, large_again, ..] = ran else {
        return Reason::NotDeterministic { sizes, output: name(Some(0)) };
    };
    let by_poison = differs(nan, large);
    if by_poison.is_some() && differs(nan, nan_again).is_none() && differs(large, large_again).is_none() {
        return Reason::PoisonShows { sizes, output: name(by_poison) };
    }
    let first = ran[1..].iter().find_map(|other| differs(&ran[0], other));
    Reason::NotDeterministic { sizes, output: name(first) }
}

#[cfg(test)]
mod tests {
    use super::super::familiar::Fingerprint;
    use super::*;
    use std::collections::BTreeMap;

    fn spec() -> BoundSpec {
        let text = "[kernel]\nname = \"copy\"\n[sizes]\nn = { min = 1 }\n\
            [[arg]]\nname = \"x\"\ndtype = \"f32\"\nshape = [\"n\"]\n[[arg]]\nname = \"y\"\ndtype = \"f32\"\nshape = [\"n\"]\nrole = \"out\"\n\
            [reference]\nprogram = \"y = x\"\n[targets]\narch = [\"sm_90\"]\n";
        let spec = factory_spec::Spec::parse(std::path::Path::new("test.toml"), text).expect("a spec");
        spec.bind(&BTreeMap::new()).expect("no types to bind")
    }

    fn case(spec: &BoundSpec) -> PreparedCase {
        let sizes = spec.size_values(&BTreeMap::from([("n".to_owned(), 8)])).expect("sizes");
        PreparedCase::new(spec, crate::cases::case_at(spec, sizes, 1))
    }

    fn ran(byte: u8, word: u32) -> Ran {
        let fingerprint = Fingerprint { starts: vec![0], digests: vec![u64::from(byte)] };
        Ran { outputs: vec![vec![byte; 32]], fingerprint, known: None, poisons: vec![(256, Some(word))] }
    }

    #[test]
    fn what_two_poisons_left_is_unwritten() {
        let spec = spec();
        let case = case(&spec);
        let (a, b) = (0x7fc0_0001u32, 0x6d00_0002u32);
        let (mut first, mut second) = (ran(1, a), ran(1, b));
        assert!(written(&spec, &case, &first, &second).is_ok());
        first.outputs[0][12..16].copy_from_slice(&a.to_le_bytes());
        second.outputs[0][12..16].copy_from_slice(&b.to_le_bytes());
        let reason = written(&spec, &case, &first, &second).expect_err("element 3 was not written");
        assert!(matches!(&reason, Reason::Unwritten { byte: 12, output, .. } if output == "y"), "{reason}");
        // What is read as well as written holds its old data before, and no poison.
        second.poisons[0].1 = None;
        assert!(written(&spec, &case, &first, &second).is_ok());
    }

    #[test]
    fn runs_that_differ_by_their_poison_say_so_and_others_are_not_deterministic() {
        let spec = spec();
        let case = case(&spec);
        let of = |bytes: [u8; 5]| disagreement(&spec, &case, &bytes.map(|byte| ran(byte, 0)));
        assert!(matches!(of([1, 2, 1, 2, 1]), Reason::PoisonShows { .. }));
        assert!(matches!(of([1, 1, 2, 2, 1]), Reason::NotDeterministic { .. }));
        assert!(matches!(of([1, 1, 1, 1, 3]), Reason::NotDeterministic { .. }));
    }
}
