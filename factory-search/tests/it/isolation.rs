//! Candidates in processes of their own: what hangs, dies or spoils its process costs itself alone.
//!
//! There is no GPU here. A double of a worker ([`double`]) speaks the protocol, leaves what the oracle expects, and does to
//! its own process what the candidate's name says. Workers with the PTX machine are the real ones.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use factory_search::cases::Cases;
use factory_search::gpu::{
    Bound, DeviceReport, Environment, FinalMeasurement, MeasureError, MeasureOptions, Overhead, Place,
    Protection, Question, Rotation, Timing, Watched,
};
use factory_search::worker::protocol::{About, Device, MARKER, Reply, Request, ShippedCandidate, VERSION};
use factory_search::worker::{DeviceKind, Launcher, Prover as _, WorkerLimits, Workers, frame};
use factory_search::{
    Budget, Candidate, GpuPolicy, HostProgram, Measurer as _, PtxasPolicy, Reason, Rejection, SearchError,
    SearchOptions, Silent, Verdict, WorkerOptions, search,
};
use factory_spec::{BoundSpec, SizeValues};
use serde_bytes::ByteBuf;

use crate::kernels::{SCALE, bind, honest};

/// Set in the double: a folder in which it counts what happened.
const DOUBLE: &str = "KERNEL_FACTORY_TEST_DOUBLE";

pub(crate) fn this(test: &str) -> HostProgram {
    let path = std::env::current_exe().expect("this test has a file");
    let arguments = [test, "--exact", "--nocapture", "--test-threads=1"].map(str::to_owned).to_vec();
    HostProgram { path, arguments }
}

fn limits() -> WorkerLimits {
    WorkerLimits { start: Duration::from_secs(60), answer: Duration::from_secs(2), memory: None }
}

/// A worker process, when this program is started as one.
#[test]
fn worker() {
    // Only then: a process that offers itself would be started without the arguments that lead to this test.
    if std::env::var_os("KERNEL_FACTORY_WORKER").is_some() {
        factory_search::serve_if_asked();
    }
}

/// A double of a worker with a GPU, when this program is started as one.
#[test]
fn double() {
    if let Some(folder) = std::env::var_os(DOUBLE) {
        Double { folder: Path::new(&folder), spec: None }.serve();
        std::process::exit(0);
    }
}

struct Double<'a> {
    folder: &'a Path,
    spec: Option<BoundSpec>,
}

fn say(reply: &Reply) {
    frame::write(&mut std::io::stdout().lock(), reply).expect("the parent listens");
}

fn named(candidates: &[ShippedCandidate], word: &str) -> bool {
    candidates.iter().any(|candidate| Candidate::from(candidate.clone()).id.contains(word))
}

fn hear() -> Request {
    frame::read(&mut std::io::stdin().lock()).unwrap_or_else(|_| std::process::exit(0))
}

impl Double<'_> {
    fn serve(&mut self) {
        let mut output = std::io::stdout();
        output.write_all(MARKER).and_then(|()| output.flush()).expect("the parent listens");
        let device = Device::Gpu {
            name: "a double".to_owned(),
            driver: "1.0".to_owned(),
            capability: (9, 0),
            bus: "0000:00:00.0".to_owned(),
        };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let process = std::process::id();
        say(&Reply::Ready(About { protocol: VERSION, version, host: "here".to_owned(), process, device }));
        loop {
            let reply = match hear() {
                Request::Spec(shipped) => {
                    self.spec = Some(shipped.open().expect("the same spec"));
                    Reply::Accepted
                }
                Request::Check { cases, candidate, .. } => {
                    let cases = Cases::of(self.spec.as_ref().expect("a spec"), &cases);
                    self.check(&cases, &candidate.into())
                }
                Request::Race(measure) if named(&measure.candidates, "no-memory") => {
                    Reply::Raced(Box::new(Err(MeasureError::Failed {
                        message: "there is no memory".to_owned(),
                    })))
                }
                Request::Finale(measure) if named(&measure.candidates, "no-finale") => {
                    Reply::Measured(Box::new(Err(MeasureError::Failed {
                        message: "there is no memory".to_owned(),
                    })))
                }
                Request::Race(measure) => {
                    let times = self.times(measure.candidates, "race");
                    let mut timing = Timing::recorded(times, "a double", "1.0");
                    timing.environment.driver = std::process::id().to_string();
                    assert_eq!(measure.options.hopeless, f64::INFINITY, "it travels as it is");
                    Reply::Raced(Box::new(Ok(timing)))
                }
                Request::Finale(measure) => Reply::Measured(Box::new(Ok(FinalMeasurement {
                    candidates: self.times(measure.candidates, "finale"),
                    noise: None,
                    rotation: Rotation { sets: 1, set_bytes: 1, l2_bytes: 1, cold: true },
                    bound: Bound::default(),
                    overhead: Overhead::default(),
                    environment: Environment {
                        device: "a double".to_owned(),
                        driver: "1.0".to_owned(),
                        multiprocessors: 1,
                        persisting_l2: None,
                        protection: Protection::Bands { reason: "a double".to_owned() },
                        clock: "a double".to_owned(),
                    },
                    finale: Watched::default(),
                    seed: u64::from(std::process::id()),
                }))),
                other => Reply::Failed(format!("{other:?}")),
            };
            say(&reply);
        }
    }

    /// Whether this happens for the first time.
    fn first(&self, what: &str) -> bool {
        std::fs::File::create_new(self.folder.join(what)).is_ok()
    }

    fn suffer(&self, id: &str, when: &str) {
        if id.contains(&format!("hangs-in-{when}")) {
            std::thread::sleep(Duration::from_secs(600));
        }
        if id.contains(&format!("dies-in-{when}"))
            || (id.contains(&format!("dies-once-in-{when}")) && self.first(id))
        {
            std::process::abort();
        }
    }

    fn check(&self, cases: &Cases, candidate: &Candidate) -> Reply {
        let spec = self.spec.as_ref().expect("a spec");
        say(&Reply::At(0));
        self.suffer(&candidate.id, "check");
        let mut questions = Vec::new();
        for case in cases.served(spec, &candidate.variant) {
            let ready = cases.all()[case].ready(spec).expect("the oracle");
            let outputs = spec.outputs().map(|(id, arg)| {
                let mut bytes = Vec::new();
                let mut values = ready.expected.get(id).unwrap_or_default().to_vec();
                if candidate.id.contains("wrong") {
                    values.iter_mut().for_each(|value| *value += 1.0);
                }
                arg.dtype.encode(&values, &mut bytes);
                ByteBuf::from(bytes)
            });
            let place = Place { case, step: None };
            questions.push(Question::Right { place, outputs: outputs.collect() });
        }
        let count = questions.len();
        say(&Reply::Ask(questions));
        let Request::Answers(answers) = hear() else { panic!("no answers") };
        assert_eq!(answers.len(), count);
        let refused = answers.into_iter().find_map(Result::err);
        let spoils = candidate
            .id
            .contains("spoils")
            .then(|| Reason::GuardBand { sizes: "n=1".to_owned(), buffer: "y".to_owned() });
        let report = DeviceReport {
            cases: count as u32,
            runs: count as u32,
            steps: 0,
            mute_steps: 0,
            repeats: 0,
            deterministic: true,
            protection: Protection::Bands { reason: "a double".to_owned() },
            scrubbed: false,
            order_seed: u64::from(std::process::id()),
            loading: Duration::ZERO,
            checking: Duration::ZERO,
        };
        let spent = spoils.is_some();
        let outcome = match spoils.or(refused) {
            Some(reason) => Err(Rejection::new(factory_search::Gate::Device, reason)),
            None => Ok(report),
        };
        Reply::Checked { outcome, spent }
    }

    /// The last word of a name is its time in microseconds.
    fn times(
        &self,
        candidates: Vec<ShippedCandidate>,
        when: &str,
    ) -> Vec<factory_search::gpu::CandidateTiming> {
        let timed = candidates.into_iter().enumerate().map(|(index, candidate)| {
            let candidate = Candidate::from(candidate);
            say(&Reply::At(index));
            self.suffer(&candidate.id, when);
            let micros: f64 =
                candidate.id.rsplit('-').next().and_then(|last| last.parse().ok()).unwrap_or(9.0);
            let seconds = micros * 1e-6;
            let mut timing = factory_search::gpu::CandidateTiming::recorded(&candidate.id, Ok(seconds));
            if when == "finale" {
                // As few rounds as tell anything apart.
                timing.final_samples = vec![seconds; 6];
                timing.samples.clear();
            }
            timing
        });
        timed.collect()
    }
}

struct Bench {
    folder: tempfile::TempDir,
    spec: BoundSpec,
    cases: Cases,
    sizes: SizeValues,
}

impl Bench {
    fn new() -> Bench {
        let spec = bind(SCALE);
        let cases = Cases::draw(&spec, 1, &spec.better.over);
        let sizes = spec.better.over[0].clone();
        Bench { folder: tempfile::tempdir().expect("a folder"), spec, cases, sizes }
    }

    fn workers(&self, count: usize) -> Workers {
        let mut launcher =
            Launcher::of_worker(Vec::new(), &this("isolation::double"), DeviceKind::Gpu(0), limits());
        launcher.variables = vec![(DOUBLE.to_owned(), self.folder.path().display().to_string())];
        let launchers = vec![launcher; count];
        Workers::start(&launchers, limits()).expect("doubles start")
    }

    fn time(&self, workers: &mut Workers, names: &[&str]) -> Timing {
        let candidates: Vec<Candidate> =
            names.iter().map(|name| Candidate { id: (*name).to_owned(), ..honest() }).collect();
        let candidates: Vec<&Candidate> = candidates.iter().collect();
        let options = MeasureOptions { hopeless: f64::INFINITY, ..MeasureOptions::default() };
        let timing = workers.check_and_time(&self.spec, &self.cases, &self.sizes, &candidates, &options);
        timing.unwrap_or_else(|message| panic!("{message}"))
    }
}

fn reason(timing: &Timing, index: usize) -> &Reason {
    match &timing.candidates[index].outcome {
        Err(rejection) => &rejection.reason,
        Ok(seconds) => panic!("candidate {index} was timed: {seconds}"),
    }
}

#[test]
fn what_one_candidate_does_to_its_process_costs_no_other() {
    let bench = Bench::new();
    let mut workers = bench.workers(2);
    assert_eq!((workers.count(), workers.name()), (2, "a double"));
    let started = Instant::now();
    let names = [
        "a-5",
        "dies-in-check-1",
        "b-4",
        "hangs-in-check-1",
        "wrong-1",
        "spoils-1",
        "dies-once-in-check-3",
        "c-6",
    ];
    let timing = bench.time(&mut workers, &names);
    assert!(matches!(reason(&timing, 1), Reason::Crashed { .. }), "{}", reason(&timing, 1));
    assert!(matches!(reason(&timing, 3), Reason::Hang { seconds, .. } if *seconds == 2.0));
    assert!(matches!(reason(&timing, 4), Reason::Mismatch { .. }), "{}", reason(&timing, 4));
    assert!(matches!(reason(&timing, 5), Reason::GuardBand { .. }), "{}", reason(&timing, 5));
    for (index, micros) in [(0, 5.0), (2, 4.0), (6, 3.0), (7, 6.0)] {
        let seconds = timing.candidates[index].outcome.clone().unwrap_or_else(|error| panic!("{error}"));
        assert!((seconds - micros * 1e-6).abs() < 1e-12, "{index}: {seconds}");
    }
    assert_eq!(reason(&timing, 1).verdict(), Verdict::Unsafe);
    assert_eq!(reason(&timing, 3).verdict(), Verdict::Unsafe);
    assert!(started.elapsed() < Duration::from_secs(60), "a hang ends at its limit");
    // The best three were measured again, by a process that had run nobody before.
    let finalists: Vec<&str> = timing
        .candidates
        .iter()
        .filter(|candidate| !candidate.final_samples.is_empty())
        .map(|candidate| candidate.id.as_str())
        .collect();
    assert_eq!(finalists, ["a-5", "b-4", "dies-once-in-check-3"]);
    assert_ne!(timing.final_seed.map(|id| id.to_string()), Some(timing.environment.driver.clone()));
}

#[test]
fn candidates_that_all_hang_do_not_cost_their_limit_each() {
    let bench = Bench::new();
    let mut workers = bench.workers(2);
    let names = ["a-5", "hangs-in-check-1", "hangs-in-check-2", "hangs-in-check-3", "hangs-in-check-4"];
    let names: Vec<&str> = names.into_iter().chain(["hangs-in-check-5"; 20]).chain(["late-6"]).collect();
    let started = Instant::now();
    let timing = bench.time(&mut workers, &names);
    // Five hang at most, as two are run at once, and each is given two seconds twice: less than half a minute of two workers'.
    assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
    assert!(timing.candidates[0].outcome.is_ok(), "who was right before is timed");
    let hung = (0..names.len()).filter(|&index| {
        matches!(&timing.candidates[index].outcome, Err(rejection) if matches!(rejection.reason, Reason::Hang { .. }))
    });
    assert!((4..=5).contains(&hung.count()));
    let last = reason(&timing, names.len() - 1);
    assert!(
        matches!(last, Reason::Infrastructure { message } if message.contains("of the batch hung")),
        "{last}"
    );
}

#[test]
fn who_dies_or_hangs_while_it_is_timed_is_refused_and_the_others_are_timed() {
    let bench = Bench::new();
    let mut workers = bench.workers(1);
    let timing = bench.time(
        &mut workers,
        &["a-5", "dies-in-race-1", "dies-once-in-race-7", "hangs-in-race-2", "dies-in-finale-3", "b-6"],
    );
    assert!(matches!(reason(&timing, 1), Reason::Crashed { .. }), "{}", reason(&timing, 1));
    assert!(matches!(reason(&timing, 3), Reason::Hang { .. }), "{}", reason(&timing, 3));
    assert!(matches!(reason(&timing, 4), Reason::Crashed { .. }), "{}", reason(&timing, 4));
    for index in [0, 2, 5] {
        assert!(timing.candidates[index].outcome.is_ok(), "{:?}", timing.candidates[index]);
    }
    assert_eq!(timing.winners(), [0]);
}

/// A double behind a launcher that works once.
fn once(bench: &Bench) -> Launcher {
    let once = bench.folder.path().join("once");
    let script = format!(
        "mkdir '{}' 2>/dev/null || {{ echo 'no node left' >&2; exit 7; }}; exec \"$@\"",
        once.display()
    );
    let words = ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec();
    let mut launcher = Launcher::of_worker(words, &this("isolation::double"), DeviceKind::Gpu(0), limits());
    launcher.variables = vec![(DOUBLE.to_owned(), bench.folder.path().display().to_string())];
    launcher
}

#[test]
fn nothing_is_known_of_candidates_when_workers_cannot_be_had_any_more() {
    let bench = Bench::new();
    let mut workers = Workers::start(&[once(&bench)], limits()).expect("the first one starts");
    let candidates = ["dies-in-check-1", "a-5"].map(|name| Candidate { id: name.to_owned(), ..honest() });
    let candidates: Vec<&Candidate> = candidates.iter().collect();
    let options = MeasureOptions::default();
    let error = workers
        .check_and_time(&bench.spec, &bench.cases, &bench.sizes, &candidates, &options)
        .expect_err("there is no second worker");
    assert!(error.contains("no node left") && error.contains("exit status: 7"), "{error}");
}

#[test]
fn the_others_do_the_work_of_a_worker_that_does_not_come_back() {
    let bench = Bench::new();
    let mut good = once(&bench);
    good.words.clear();
    // The one that does not come back would have the clock.
    let mut workers = Workers::start(&[once(&bench), good], limits()).expect("both start");
    assert_eq!(workers.count(), 2);
    let timing = bench.time(&mut workers, &["dies-in-check-1", "a-5", "b-4", "dies-in-race-1", "c-6", "d-7"]);
    for index in [1, 2, 4, 5] {
        assert!(timing.candidates[index].outcome.is_ok(), "{index}: {:?}", timing.candidates[index].outcome);
    }
    assert!(matches!(reason(&timing, 0), Reason::Crashed { .. }), "{}", reason(&timing, 0));
    assert!(matches!(reason(&timing, 3), Reason::Crashed { .. }), "{}", reason(&timing, 3));
}

#[test]
fn refusals_stand_when_the_clock_fails() {
    let bench = Bench::new();
    let mut workers = bench.workers(1);
    let timing = bench.time(&mut workers, &["wrong-1", "no-memory-5"]);
    assert!(matches!(reason(&timing, 0), Reason::Mismatch { .. }), "{}", reason(&timing, 0));
    assert!(reason(&timing, 1).to_string().contains("there is no memory"), "{}", reason(&timing, 1));
    let timing = bench.time(&mut workers, &["dies-in-race-1", "no-finale-2", "a-3", "b-4", "c-5"]);
    assert!(matches!(reason(&timing, 0), Reason::Crashed { .. }), "{}", reason(&timing, 0));
    for index in 1..4 {
        let said = reason(&timing, index);
        assert_eq!(said.verdict(), Verdict::Infrastructure, "{said}");
        assert!(said.to_string().contains("second measurement did not happen"), "{said}");
    }
    assert!(timing.candidates[4].outcome.is_ok(), "who was no finalist has its first time");
}

#[test]
fn what_lost_workers_cannot_prove_is_proved_here() {
    let spec = bind(SCALE);
    let alone = search(&spec, &options(WorkerOptions::default()), &mut Silent).expect("a winner");
    // They start, and die of the first candidate.
    let workers = WorkerOptions {
        machines: 2,
        program: Some(this("isolation::worker")),
        limits: WorkerLimits { memory: Some(8 << 20), ..limits() },
        ..WorkerOptions::default()
    };
    let shared = search(&spec, &options(workers), &mut Silent).expect("a winner");
    assert_eq!(shared.winners, alone.winners);
    assert_eq!(shared.sealed.plan, alone.sealed.plan);
}

#[test]
fn a_launcher_that_fails_is_an_error_of_the_search_that_names_it() {
    let workers = WorkerOptions {
        machines: 2,
        launcher: vec!["false".to_owned()],
        program: Some(this("isolation::worker")),
        ..WorkerOptions::default()
    };
    let error = search(&bind(SCALE), &options(workers), &mut Silent).expect_err("no worker starts");
    assert!(matches!(error, SearchError::Workers { .. }), "{error}");
    assert!(error.to_string().contains("`false env KERNEL_FACTORY_WORKER=machine"), "{error}");
}

fn options(workers: WorkerOptions) -> SearchOptions {
    SearchOptions {
        budget: Budget { candidates: 12, seconds: None },
        threads: 2,
        ptxas: PtxasPolicy::Off,
        gpu: GpuPolicy::Off,
        workers,
        ..SearchOptions::default()
    }
}

#[test]
fn workers_with_the_machine_give_the_bytes_that_this_process_gives() {
    let spec = bind(SCALE);
    let alone = search(&spec, &options(WorkerOptions::default()), &mut Silent).expect("a winner");
    // A login that prints something before the worker speaks disturbs nobody.
    let words =
        ["sh", "-c", "echo 'Welcome to node {worker}'; exec \"$@\"", "sh"].map(str::to_owned).to_vec();
    let workers = WorkerOptions {
        machines: 2,
        launcher: words,
        program: Some(this("isolation::worker")),
        ..WorkerOptions::default()
    };
    let shared = search(&spec, &options(workers), &mut Silent).expect("a winner");
    assert_eq!(shared.winners, alone.winners);
    assert_eq!(shared.sealed.ptx, alone.sealed.ptx);
    assert_eq!(shared.sealed.plan, alone.sealed.plan);
}

#[test]
fn a_worker_with_the_machine_refuses_as_this_process_does_and_keeps_to_its_memory() {
    let spec = bind(SCALE);
    let cases = Cases::draw(&spec, 1, &spec.better.over);
    let start = |memory| {
        let limits = WorkerLimits { memory, answer: Duration::from_secs(60), ..limits() };
        let launcher =
            Launcher::of_worker(Vec::new(), &this("isolation::worker"), DeviceKind::Machine, limits);
        Workers::start(&[launcher], limits).expect("a worker starts")
    };
    let workers = start(None);
    assert!(workers.prove(&spec, &cases, 1, &honest()).expect("an honest kernel") > 5);
    let late = Candidate { ptx: honest().ptx.replace("fma.rn.f32", "mul.lo.s32"), ..honest() };
    let refused = workers.prove(&spec, &cases, 1, &late).expect_err("not even PTX");
    assert_ne!(refused.verdict, Verdict::Infrastructure, "{refused}");
    // A process that may have 8 MB cannot even read the cases; it dies, which is not the candidate's fault.
    let poor = start(Some(8 << 20));
    let refused = poor.prove(&spec, &cases, 1, &honest()).expect_err("no memory");
    assert_eq!(refused.verdict, Verdict::Infrastructure, "{refused}");
}
