//! Several workers that share one search.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use factory_spec::{BoundSpec, SizeValues};

use super::launcher::Launcher;
use super::patience::Patience;
use super::process::{Lost, Worker, WorkerLimits};
use super::protocol::{Device, Reply, Request};
use crate::candidate::Candidate;
use crate::cases::Cases;
use crate::gpu::{CandidateTiming, DeviceReport, Judge, LocalJudge, MeasureOptions, Timing, Windows};
use crate::measurer::Measurer;
use crate::parallel;
use crate::verdict::{Gate, Reason, Rejection, Verdict};

/// How often a candidate may be there when its process dies. Once may be the process's own fault.
pub(super) const DEATHS: usize = 2;
/// Where a process was that says nothing any more.
const CASES: &str = "in one of its cases";

/// Runs candidates on the PTX machine somewhere else.
pub trait Prover: Sync {
    /// Runs every case that a candidate serves; how many there were.
    ///
    /// # Errors
    /// The first refusal; `Infrastructure` where nothing is known of the candidate.
    fn prove(
        &self,
        spec: &BoundSpec,
        cases: &Cases,
        seed: u64,
        candidate: &Candidate,
    ) -> Result<u32, Rejection>;

    /// How many candidates it takes at once.
    fn at_once(&self) -> usize;
}

/// Workers of one kind.
pub struct Workers {
    pub(super) limits: WorkerLimits,
    pub(super) slots: Vec<Mutex<Slot>>,
    idle: Mutex<Idle>,
    returned: Condvar,
    device: Device,
    /// Which of them measures.
    pub(super) clock: usize,
    failed: Vec<String>,
    /// What passed the device gate: the cases, the candidate by name and content, and whether it was machine code.
    passed: Mutex<BTreeSet<Passed>>,
}

/// A search asks about the same candidate for several sizes, and the gate does not depend on them. What the driver's own
/// compiler makes of its text is not the machine code that ran in a round.
type Passed = ([u8; 32], String, [u8; 32], bool);

/// Who can be asked.
struct Idle {
    /// Slots that nobody has taken.
    free: Vec<usize>,
    /// How many slots there are whose workers could be started when that was last tried.
    alive: usize,
    /// Why the last one could not.
    trouble: String,
}

/// A place for a worker, which is started when it is needed.
pub(super) struct Slot {
    launcher: Launcher,
    pub(super) worker: Option<Worker>,
    /// What was evaluated for it, as long as it lives.
    pub(super) windows: Arc<Windows>,
    /// Which GPU it has: the host and the place on its bus.
    pub(super) place: (String, Option<String>),
    /// What its candidates run on, in words.
    kind: String,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("device", &self.device).field("count", &self.slots.len()).finish()
    }
}

impl Workers {
    /// Starts one worker for each launcher, all at once. Those that do not start are left out ([`Workers::failed`]).
    ///
    /// # Errors
    /// None starts; why, in words.
    pub fn start(launchers: &[Launcher], limits: WorkerLimits) -> Result<Workers, String> {
        let started: Vec<Result<Worker, String>> = std::thread::scope(|scope| {
            let threads: Vec<_> = launchers
                .iter()
                .map(|launcher| scope.spawn(move || Worker::start(launcher, limits)))
                .collect();
            let panicked = |_| Err("the thread that started it panicked".to_owned());
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
        });
        let mut slots: Vec<Slot> = Vec::new();
        let mut failed = Vec::new();
        let mut device: Option<Device> = None;
        for (launcher, worker) in launchers.iter().zip(started) {
            let worker = match worker {
                Ok(worker) => worker,
                Err(message) => {
                    failed.push(message);
                    continue;
                }
            };
            let (place, kind_of_it) = (worker.place(), kind(&worker.about.device).to_owned());
            // Verdicts of one device are not those of another.
            if device.as_ref().is_some_and(|first| kind(first) != kind(&worker.about.device)) {
                failed.push(format!(
                    "`{launcher}` has {}, and the others have not",
                    kind(&worker.about.device)
                ));
                continue;
            }
            device.get_or_insert_with(|| worker.about.device.clone());
            slots.push(Slot {
                launcher: launcher.clone(),
                worker: Some(worker),
                windows: Arc::default(),
                place,
                kind: kind_of_it,
            });
        }
        let none = || failed.first().cloned().unwrap_or_else(|| "no worker was asked for".to_owned());
        let device = device.ok_or_else(none)?;
        let (free, alive, trouble) = ((0..slots.len()).collect(), slots.len(), String::new());
        let idle = Mutex::new(Idle { free, alive, trouble });
        let slots = slots.into_iter().map(Mutex::new).collect();
        Ok(Workers {
            limits,
            slots,
            idle,
            returned: Condvar::new(),
            device,
            clock: 0,
            failed,
            passed: Mutex::default(),
        })
    }

    /// Why some workers did not start.
    pub fn failed(&self) -> &[String] {
        &self.failed
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.slots.len()
    }

    /// On which hosts they are, with the GPU's place on the bus; one for each worker.
    pub fn places(&self) -> Vec<String> {
        let place = |slot: &Mutex<Slot>| {
            let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            let (host, bus) = &slot.place;
            bus.as_ref().map_or_else(|| host.clone(), |bus| format!("{host} {bus}"))
        };
        self.slots.iter().map(place).collect()
    }

    /// What candidates run on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Waits for a worker that nobody has; why not, when none can be started any more.
    fn take(&self) -> Result<Taken<'_>, String> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(index) = idle.free.pop() {
                let slot = self.slots[index].lock().unwrap_or_else(PoisonError::into_inner);
                return Ok(Taken { workers: self, index, slot, trouble: None });
            }
            if idle.alive == 0 {
                return Err(idle.trouble.clone());
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives every place another chance: a node may be back.
    fn revive(&mut self) {
        let idle = self.idle.get_mut().unwrap_or_else(PoisonError::into_inner);
        idle.free = (0..self.slots.len()).collect();
        idle.alive = self.slots.len();
    }

    fn passed(&self) -> MutexGuard<'_, BTreeSet<Passed>> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks whichever worker is free. One that cannot be started is left out from then on, and another one asked.
    fn ask(&self, spec: &BoundSpec, request: &Request, judge: Option<&dyn Judge>) -> Result<Reply, Lost> {
        loop {
            let mut taken = self.take().map_err(Lost::NotStarted)?;
            match taken.slot.ask(self.limits, spec, request, judge) {
                Err(Lost::NotStarted(message)) => taken.trouble = Some(message),
                reply => {
                    if matches!(reply, Ok(Reply::Checked { spent: true, .. })) {
                        taken.slot.end();
                    }
                    return reply;
                }
            }
        }
    }

    /// The device gate, on whichever worker is free: several threads may ask at once.
    ///
    /// # Errors
    /// The refusal; what became of the worker is part of it.
    pub fn check_one(
        &self,
        spec: &BoundSpec,
        cases: &Cases,
        candidate: &Candidate,
    ) -> Result<DeviceReport, Rejection> {
        self.check(Gate::Device, spec, cases, candidate)
    }

    fn check(
        &self,
        gate: Gate,
        spec: &BoundSpec,
        cases: &Cases,
        candidate: &Candidate,
    ) -> Result<DeviceReport, Rejection> {
        let judge = LocalJudge::new(spec, Some(cases));
        let request = Request::Check { gate, cases: cases.recipe().clone(), candidate: candidate.into() };
        let broken = |message: String| Err(Rejection::new(gate, Reason::Infrastructure { message }));
        let (mut guilty, mut nobody) = (0, 0);
        loop {
            let reason = match self.ask(spec, &request, Some(&judge)) {
                // Tools of ours that fail in one process may work in the next.
                Ok(Reply::Checked { outcome: Err(rejection), .. })
                    if rejection.verdict == Verdict::Infrastructure && nobody + 1 < DEATHS =>
                {
                    nobody += 1;
                    continue;
                }
                Ok(Reply::Checked { outcome, .. }) => return outcome,
                Ok(_) => return broken("the worker gave an answer to another question".to_owned()),
                Err(Lost::NotStarted(message) | Lost::Failed(message)) => return broken(message),
                // It had not begun yet: whatever happened is not its doing.
                Err(Lost::Hung { at: None }) => {
                    return broken("the worker gave no answer before the candidate ran".to_owned());
                }
                Err(Lost::Died { at: None, message }) => {
                    nobody += 1;
                    if nobody >= DEATHS {
                        return broken(message);
                    }
                    continue;
                }
                // Once may be the doing of another candidate on the same GPU.
                Err(Lost::Hung { at: Some(_) }) => self.hang(CASES.to_owned()),
                Err(Lost::Died { at: Some(_), message }) => {
                    Reason::Crashed { sizes: CASES.to_owned(), message }
                }
            };
            guilty += 1;
            if guilty >= DEATHS {
                return Err(Rejection::new(gate, reason));
            }
        }
    }

    pub(super) fn hang(&self, sizes: String) -> Reason {
        Reason::Hang { sizes, seconds: self.limits.answer.as_secs_f64() }
    }
}

fn kind(device: &Device) -> &str {
    match device {
        Device::Machine { .. } => "the PTX machine",
        Device::Gpu { name, .. } => name,
    }
}

impl Slot {
    /// Asks its worker, which is started first where there is none. A worker that is lost is dropped, and with it its
    /// whole process group.
    pub(super) fn ask(
        &mut self,
        limits: WorkerLimits,
        spec: &BoundSpec,
        request: &Request,
        judge: Option<&dyn Judge>,
    ) -> Result<Reply, Lost> {
        let worker = match &mut self.worker {
            Some(worker) => worker,
            none => {
                let worker = Worker::start(&self.launcher, limits).map_err(Lost::NotStarted)?;
                let found = kind(&worker.about.device);
                // A launcher may well give the next one another GPU.
                if found != self.kind {
                    return Err(Lost::NotStarted(format!(
                        "`{}` has {found} now, and had {}",
                        self.launcher, self.kind
                    )));
                }
                self.place = worker.place();
                none.insert(worker)
            }
        };
        let reply = worker.ask(spec, request, judge);
        if matches!(reply, Err(Lost::Hung { .. } | Lost::Died { .. })) {
            self.end();
        }
        reply
    }

    pub(super) fn end(&mut self) {
        self.worker = None;
        self.windows = Arc::default();
    }
}

/// A worker that somebody has.
struct Taken<'a> {
    workers: &'a Workers,
    index: usize,
    slot: MutexGuard<'a, Slot>,
    /// Why it cannot be started.
    trouble: Option<String>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut idle = self.workers.idle.lock().unwrap_or_else(PoisonError::into_inner);
        match self.trouble.take() {
            // Who takes it now waits until the slot itself is let go, which is next.
            None => idle.free.push(self.index),
            Some(trouble) => {
                idle.alive -= 1;
                idle.trouble = trouble;
            }
        }
        // All of them: when none is left, nobody has to wait any longer.
        self.workers.returned.notify_all();
    }
}

impl Prover for Workers {
    fn prove(
        &self,
        spec: &BoundSpec,
        cases: &Cases,
        seed: u64,
        candidate: &Candidate,
    ) -> Result<u32, Rejection> {
        let request = Request::Prove { cases: cases.recipe().clone(), seed, candidate: candidate.into() };
        let broken = |message| Err(Rejection::new(Gate::Machine, Reason::Infrastructure { message }));
        // The machine interprets a candidate, which cannot reach the process: what becomes of that says nothing about it.
        match self.ask(spec, &request, None) {
            Ok(Reply::Proved(outcome)) => outcome,
            Ok(_) => broken("the worker gave an answer to another question".to_owned()),
            Err(Lost::NotStarted(message) | Lost::Failed(message) | Lost::Died { message, .. }) => {
                broken(message)
            }
            Err(Lost::Hung { .. }) => broken(self.hang(CASES.to_owned()).to_string()),
        }
    }

    fn at_once(&self) -> usize {
        self.count()
    }
}

impl Measurer for Workers {
    fn name(&self) -> &str {
        kind(&self.device)
    }

    fn driver(&self) -> &str {
        match &self.device {
            Device::Machine { .. } => "none",
            Device::Gpu { driver, .. } => driver,
        }
    }

    fn capability(&self) -> (u32, u32) {
        match &self.device {
            Device::Machine { .. } => (0, 0),
            Device::Gpu { capability, .. } => *capability,
        }
    }

    fn check_and_time(
        &mut self,
        spec: &BoundSpec,
        cases: &Cases,
        sizes: &SizeValues,
        candidates: &[&Candidate],
        options: &MeasureOptions,
    ) -> Result<Timing, String> {
        self.revive();
        let started = std::time::Instant::now();
        let patience = Patience::new(options.seconds);
        let of = cases.recipe().digest(spec);
        let check = |_, candidate: &&Candidate| {
            let key = (of, candidate.id.clone(), candidate.digest(), candidate.image.is_some());
            if self.passed().contains(&key) {
                return Ok(());
            }
            let check = || Workers::check(self, Gate::Device, spec, cases, candidate).map(|_| ());
            let outcome = patience.with(Gate::Device, check);
            if outcome.is_ok() {
                self.passed().insert(key);
            }
            outcome
        };
        let checked = parallel::map(self.count(), candidates, check, |_, _| ());
        let checking = started.elapsed().as_secs_f64();
        // When no worker can be had, nothing is known about any candidate.
        if let Some(Err(rejection)) = checked.first()
            && checked.iter().all(|outcome| {
                matches!(outcome, Err(Rejection { reason: Reason::Infrastructure { .. }, .. }))
            })
        {
            return Err(rejection.reason.to_string());
        }
        let outcomes = candidates.iter().zip(&checked);
        let passed: Vec<&Candidate> =
            outcomes.filter(|(_, outcome)| outcome.is_ok()).map(|(candidate, _)| *candidate).collect();
        let mut timing = match passed.is_empty() {
            true => Timing::recorded(Vec::new(), self.name(), self.driver()),
            // The refusals stand, whatever becomes of the clock.
            false => self.time(spec, sizes, &passed, options).unwrap_or_else(|message| {
                let untimed = |candidate: &&Candidate| CandidateTiming::untimed(candidate, message.clone());
                Timing::recorded(passed.iter().map(untimed).collect(), self.name(), self.driver())
            }),
        };
        timing.spent.checking = checking;
        let refused = checked.into_iter().map(Result::err).collect();
        timing.candidates =
            CandidateTiming::all(candidates, refused, std::mem::take(&mut timing.candidates))?;
        Ok(timing)
    }

    fn check(
        &mut self,
        spec: &BoundSpec,
        cases: &Cases,
        candidate: &Candidate,
    ) -> Result<DeviceReport, Rejection> {
        Workers::check(self, Gate::Device, spec, cases, candidate)
    }

    fn hold_out(
        &mut self,
        spec: &BoundSpec,
        cases: &Cases,
        candidate: &Candidate,
    ) -> Option<Result<DeviceReport, Rejection>> {
        Some(Workers::check(self, Gate::Holdout, spec, cases, candidate))
    }
}
