//! A worker's own side.

use std::io::Write as _;
use std::sync::mpsc::{self, Receiver};

use factory_spec::{BoundSpec, SizeValues};

use super::frame;
use super::protocol::{About, Device, MARKER, Measure, Reply, Request, VERSION};
use super::role::{DeviceKind, Role};
use crate::candidate::Candidate;
use crate::cases::{Cases, PreparedCase, Recipe};
use crate::gates::machine::MachineGate;
use crate::gates::{self, Subject};
use crate::gpu::{self, Answer, Gpu, Judge, Outside, Question, WindowInputs, WindowOutputs};
use crate::verdict::{Reason, Rejection, Verdict};

/// Sets of cases that are kept: those of the search and those that were held out.
const KEPT: usize = 2;

/// Serves until standard input ends.
pub(super) fn serve(role: &Role) {
    // Whatever a program printed before is passed over, and nothing else is printed from here on.
    let mut output = std::io::stdout();
    if output.write_all(MARKER).and_then(|()| output.flush()).is_err() {
        return;
    }
    if let Err(message) = limit_memory(role.memory) {
        say(&Reply::Failed(message));
        return;
    }
    let requests = listen();
    let mut device = match open(role.device) {
        Ok(device) => device,
        Err(message) => {
            say(&Reply::Failed(message));
            return;
        }
    };
    say(&Reply::Ready(about(&device)));
    let mut held = Held { spec: None, cases: Vec::new() };
    // Ends with the channel; the listening thread ends the process before that when the search is gone.
    while let Ok(request) = requests.recv() {
        let reply = answer(request, &mut device, &mut held, &requests).unwrap_or_else(Reply::Failed);
        say(&reply);
    }
}

enum Opened {
    Machine,
    Gpu(Box<Gpu>),
}

fn open(kind: DeviceKind) -> Result<Opened, String> {
    Ok(match kind {
        DeviceKind::Machine => Opened::Machine,
        DeviceKind::Gpu(ordinal) => {
            let mut gpu = Gpu::open(ordinal)?;
            // A new process is a better cure than a new context.
            gpu.keep_one_context();
            Opened::Gpu(Box::new(gpu))
        }
    })
}

fn about(device: &Opened) -> About {
    let device = match device {
        Opened::Machine => {
            Device::Machine { cores: std::thread::available_parallelism().map_or(1, usize::from) }
        }
        Opened::Gpu(gpu) => Device::Gpu {
            name: gpu.name().to_owned(),
            driver: gpu.driver().to_owned(),
            capability: gpu.capability(),
            bus: gpu.place(),
        },
    };
    // A node of Slurm's has a name of its own, which need not be its host's.
    let node = std::env::var("SLURMD_NODENAME").ok();
    let host = node.unwrap_or_else(|| {
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
    });
    let version = env!("CARGO_PKG_VERSION").to_owned();
    About { protocol: VERSION, version, host, process: std::process::id(), device }
}

/// Lets the process have no more memory of its own than this. What the driver reserves without using is not counted.
fn limit_memory(bytes: Option<u64>) -> Result<(), String> {
    #[cfg(target_os = "linux")]
    if let Some(bytes) = bytes {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let maximum = getrlimit(Resource::Data).maximum;
        let current = Some(maximum.map_or(bytes, |maximum| bytes.min(maximum)));
        setrlimit(Resource::Data, Rlimit { current, maximum })
            .map_err(|error| format!("memory cannot be limited: {error}"))?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = bytes;
    Ok(())
}

/// Reads requests in a thread of its own, so that a search that ends takes a worker with it that waits for its GPU.
fn listen() -> Receiver<Request> {
    let (send, requests) = mpsc::channel();
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            match frame::read::<Request>(&mut input) {
                Ok(request) => {
                    if send.send(request).is_err() {
                        end_now();
                    }
                }
                Err(frame::FrameError::Closed) => end_now(),
                Err(error) => {
                    eprintln!("what came from the search: {error}");
                    std::process::exit(1);
                }
            }
        }
    });
    requests
}

/// Ends the process although its main thread may be waiting for a kernel that never ends: whatever the driver would do at an
/// orderly exit would wait too.
fn end_now() -> ! {
    #[cfg(unix)]
    {
        use rustix::process::{Signal, getpid, kill_process};
        let _ = kill_process(getpid(), Signal::KILL);
    }
    std::process::exit(0)
}

fn say(reply: &Reply) {
    let mut output = std::io::stdout().lock();
    if let Err(error) = frame::write(&mut output, reply) {
        eprintln!("the search cannot be answered: {error}");
        std::process::exit(1);
    }
}

/// What a worker remembers between requests.
struct Held {
    spec: Option<BoundSpec>,
    cases: Vec<Cases>,
}

impl Held {
    fn spec_and_cases(&mut self, recipe: &Recipe) -> Result<(&BoundSpec, &Cases), String> {
        let spec = self.spec.as_ref().ok_or("no spec was sent")?;
        let found = self.cases.iter().position(|cases| cases.recipe() == recipe);
        let found = found.map_or_else(|| Cases::of(spec, recipe), |index| self.cases.remove(index));
        self.cases.truncate(KEPT - 1);
        self.cases.insert(0, found);
        Ok((spec, &self.cases[0]))
    }
}

fn answer(
    request: Request,
    device: &mut Opened,
    held: &mut Held,
    requests: &Receiver<Request>,
) -> Result<Reply, String> {
    match request {
        Request::Spec(shipped) => {
            held.cases.clear();
            held.spec = None;
            held.spec = Some(shipped.open().map_err(|error| error.to_string())?);
            Ok(Reply::Accepted)
        }
        Request::Prove { cases, seed, candidate } => {
            let (spec, cases) = held.spec_and_cases(&cases)?;
            Ok(Reply::Proved(prove(spec, cases, seed, &candidate.into())))
        }
        Request::Check { gate, cases, candidate } => {
            let gpu = device.gpu()?;
            let (spec, cases) = held.spec_and_cases(&cases)?;
            let judge = Remote { requests, of: Some((spec, cases)) };
            say(&Reply::At(0));
            let outcome = gpu.check_as(gate, spec, cases, &candidate.into(), &judge);
            // What our own tools failed at may fail again in a process that is short of something.
            let doubtful = [Verdict::Unsafe, Verdict::Infrastructure];
            let spent = gpu.is_spent()
                || outcome.as_ref().is_err_and(|rejection| doubtful.contains(&rejection.verdict));
            Ok(Reply::Checked { outcome, spent })
        }
        Request::Race(measure) => {
            let (gpu, spec) = (device.gpu()?, held.spec.as_ref().ok_or("no spec was sent")?);
            let timed = timed(gpu, spec, measure, requests, gpu::race_with);
            Ok(Reply::Raced(Box::new(timed)))
        }
        Request::Finale(measure) => {
            let (gpu, spec) = (device.gpu()?, held.spec.as_ref().ok_or("no spec was sent")?);
            let timed = timed(gpu, spec, measure, requests, gpu::finale_with);
            Ok(Reply::Measured(Box::new(timed)))
        }
        Request::Answers(_) | Request::Opened(_) | Request::Agrees(_) => {
            Err("an answer came that nobody waits for".to_owned())
        }
    }
}

impl Opened {
    fn gpu(&mut self) -> Result<&mut Gpu, String> {
        match self {
            Opened::Gpu(gpu) => Ok(gpu),
            Opened::Machine => Err("this worker has no GPU".to_owned()),
        }
    }
}

/// The machine interprets a candidate in safe code: nothing of this process is within its reach.
fn prove(spec: &BoundSpec, cases: &Cases, seed: u64, candidate: &Candidate) -> Result<u32, Rejection> {
    let subject = Subject::from(candidate);
    let module = gates::parse::parse(spec, &subject)?;
    gates::policy::policy(&module, &spec.better.allow)?;
    let gate = MachineGate::new(spec, subject, &module, seed)?;
    gate.run_all(cases, &cases.served(spec, &candidate.variant), 1)
}

fn timed<T>(
    gpu: &mut Gpu,
    spec: &BoundSpec,
    measure: Measure,
    requests: &Receiver<Request>,
    how: impl for<'a> Fn(
        &mut Gpu,
        &BoundSpec,
        &SizeValues,
        &[&Candidate],
        &gpu::MeasureOptions,
        Outside<'a>,
    ) -> Result<T, gpu::MeasureError>,
) -> Result<T, gpu::MeasureError> {
    let candidates: Vec<Candidate> = measure.candidates.into_iter().map(Candidate::from).collect();
    let candidates: Vec<&Candidate> = candidates.iter().collect();
    let judge = Remote { requests, of: None };
    let progress = |index: usize| say(&Reply::At(index));
    let outside = Outside { judge: &judge, progress: &progress };
    how(gpu, spec, &SizeValues(measure.sizes), &candidates, &measure.options, outside)
}

/// The search, asked what is right.
struct Remote<'a> {
    requests: &'a Receiver<Request>,
    /// What runs are of, where questions are about cases.
    of: Option<(&'a BoundSpec, &'a Cases)>,
}

impl Remote<'_> {
    /// The case of a question about outputs that were found right before, in this process.
    fn case_of(&self, question: &Question) -> Option<(&PreparedCase, [u8; 32])> {
        let Question::Right { place, outputs } = question else { return None };
        let (spec, cases) = self.of?;
        let case = cases.all().get(place.case)?;
        let case = match place.step {
            None => case,
            Some(number) => &case.steps(spec).get(number)?.case,
        };
        Some((case, PreparedCase::digest(outputs)))
    }
}

/// An answer of the wrong kind means that the two sides do not understand each other any more.
fn out_of_turn() -> ! {
    eprintln!("the search said something else than an answer");
    std::process::exit(1);
}

impl Judge for Remote<'_> {
    fn ask(&self, questions: Vec<Question>) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> = Vec::new();
        let mut unknown = Vec::new();
        let mut cases = Vec::new();
        for question in questions {
            let case = self.case_of(&question);
            // Candidates that add in the same order leave the same bits: they are judged, and travel, once.
            let known = case.as_ref().and_then(|(case, digest)| case.known_right(digest));
            answers.push(known.map(Ok));
            if known.is_none() {
                unknown.push(question);
                cases.push(case);
            }
        }
        if unknown.is_empty() {
            return answers.into_iter().flatten().collect();
        }
        let count = unknown.len();
        say(&Reply::Ask(unknown));
        let told = match self.requests.recv() {
            Ok(Request::Answers(told)) if told.len() == count => told,
            _ => out_of_turn(),
        };
        for (case, answer) in cases.into_iter().zip(&told) {
            if let (Some((case, digest)), Ok(telling)) = (case, answer) {
                case.note_right(digest, *telling);
            }
        }
        let mut told = told.into_iter();
        answers.into_iter().filter_map(|answer| answer.or_else(|| told.next())).collect()
    }

    fn open(&self, number: usize, inputs: &WindowInputs) -> Result<Vec<f64>, Reason> {
        say(&Reply::Open { number, inputs: inputs.clone() });
        match self.requests.recv() {
            Ok(Request::Opened(opened)) => opened,
            _ => out_of_turn(),
        }
    }

    /// The search keeps windows as long as it has this process.
    fn remembers(&self) -> bool {
        true
    }

    fn agree(&self, windows: Vec<WindowOutputs>) -> Vec<Result<(), String>> {
        say(&Reply::Agree(windows));
        match self.requests.recv() {
            Ok(Request::Agrees(agrees)) => agrees,
            _ => out_of_turn(),
        }
    }
}
