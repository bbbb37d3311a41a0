//! Searches that measure and remember. The clock is a record, so no GPU is needed.

use std::collections::BTreeSet;

use factory_search::cases::Cases;
use factory_search::gpu::{MeasureOptions, Timing};
use factory_search::learn::replay::{by_model, replay};
use factory_search::learn::{Experience, Memory, Notebook, NotebookError, Recorded, Task, View};
use factory_search::{
    Budget, Candidate, Found, Generator, GpuPolicy, Means, Measurer, Proposer, PtxasPolicy, Reason,
    SearchOptions, Silent, TunableValue, Tunables, search_by,
};
use factory_spec::{Arch, BoundSpec, SizeValues};

use crate::kernels::bind;

const SPEC: &str = r#"
[kernel]
name = "norm"
[sizes]
m = { min = 1 }
n = { min = 8, multiple_of = 8 }
[[arg]]
name = "x"
dtype = "f32"
shape = ["m", "n"]
[[arg]]
name = "y"
dtype = "f32"
shape = ["m", "n"]
role = "out"
[reference]
program = "y = x * rsqrt(mean(x * x, n) + 1e-6)"
[better]
over = [{ m = 512, n = 1024 }]
[targets]
arch = ["sm_90"]
"#;

fn options(candidates: usize) -> SearchOptions {
    SearchOptions {
        budget: Budget { candidates, seconds: None },
        threads: 2,
        ptxas: PtxasPolicy::Off,
        gpu: GpuPolicy::Off,
        ..SearchOptions::default()
    }
}

fn number(tunables: &Tunables, name: &str) -> f64 {
    match tunables.get(name) {
        Some(TunableValue::Integer(value)) => *value as f64,
        _ => 0.0,
    }
}

/// Seconds as a device might take that the cost model does not know: it likes 64 threads a row.
fn seconds(tunables: &Tunables) -> f64 {
    let threads = (number(tunables, "threads") / 64.0).max(1.0 / 64.0).log2().abs();
    1e-5 * (1.0 + 0.2 * threads + 0.05 * number(tunables, "chunks").max(1.0).log2())
}

/// Every configuration of the spec, timed.
fn record(spec: &BoundSpec) -> Recorded {
    let generator = Generator::new(spec).unwrap_or_else(|error| panic!("{error}"));
    let mut recorded = Recorded::new("a record", "1.0", (9, 0));
    for sizes in &spec.better.over {
        let task = Task::of(spec, sizes);
        for proposal in generator.propose(Arch::Sm90, sizes) {
            let candidate = proposal.make().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(Some(&candidate.tunables), proposal.tunables(), "what is told is what is written");
            let view = View {
                id: candidate.id,
                tunables: candidate.tunables.clone(),
                modelled: 1.0,
                figures: Default::default(),
            };
            let seconds = Some(seconds(&candidate.tunables));
            recorded.add(&Experience { task: task.clone(), view, seconds });
        }
    }
    recorded
}

fn run(
    spec: &BoundSpec,
    measurer: &mut dyn Measurer,
    memory: Option<&dyn Memory>,
    candidates: usize,
) -> Found {
    run_with(spec, measurer, memory, &options(candidates))
}

fn run_with(
    spec: &BoundSpec,
    measurer: &mut dyn Measurer,
    memory: Option<&dyn Memory>,
    options: &SearchOptions,
) -> Found {
    let generator = Generator::new(spec).unwrap_or_else(|error| panic!("{error}"));
    let means = Means { measurer: Some(measurer), memory, ..Means::new(&generator) };
    search_by(spec, options, means, &mut Silent).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_search_measures_in_rounds_and_the_fastest_measured_wins() {
    let spec = bind(SPEC);
    let mut recorded = record(&spec);
    let found = run(&spec, &mut recorded, None, 32);
    assert!(!found.modelled);
    assert!(found.candidates.len() <= 32, "{}", found.candidates.len());
    let distinct: BTreeSet<&String> = recorded.asked().iter().collect();
    assert!(distinct.len() <= 32, "{}", distinct.len());
    // Finalists are asked twice, nobody more often.
    assert!(recorded.asked().len() <= distinct.len() + 4, "{:?}", recorded.asked());
    let times: Vec<(f64, &str)> = found
        .candidates
        .iter()
        .filter_map(|record| Some((record.measured.as_ref()?.seconds, record.id.as_str())))
        .collect();
    let best = times.iter().map(|(seconds, _)| *seconds).fold(f64::INFINITY, f64::min);
    let of_winner = times.iter().find(|(_, id)| *id == found.winners[0]).map(|(seconds, _)| *seconds);
    assert_eq!(of_winner, Some(best));
    let figure = &found.sealed.certificate.figures[0];
    assert_eq!(figure.seconds, Some(best));
    assert!(found.sealed.certificate.measured().contains("a record"));
    // The same record gives the same search.
    let mut again = record(&spec);
    let second = run(&spec, &mut again, None, 32);
    assert_eq!(second.winners, found.winners);
    assert_eq!(again.asked(), recorded.asked());
}

#[test]
fn what_has_a_verdict_is_not_paid_for_again() {
    let spec = bind(SPEC);
    let notebook = Notebook::new();
    let mut recorded = record(&spec);
    run(&spec, &mut recorded, Some(&notebook), 32);
    let first: BTreeSet<String> = recorded.asked().iter().cloned().collect();
    let mut again = record(&spec);
    let found = run(&spec, &mut again, Some(&notebook), 32);
    let learned = found.learned.expect("something measured");
    assert!(learned.remembered >= first.len() / 2, "{learned:?}");
    let twice = again.asked().iter().filter(|id| first.contains(*id)).count();
    assert!(twice <= 4, "only finalists are timed again: {:?}", again.asked());
    assert!(learned.to_string().contains("not paid for again"), "{learned}");
}

#[test]
fn without_time_every_size_still_gets_a_candidate_and_with_memory_the_best_one_known() {
    let spec = bind(&SPEC.replace("{ m = 512, n = 1024 }", "{ m = 512, n = 1024 }, { m = 512, n = 2048 }"));
    let no_time = |candidates| SearchOptions {
        budget: Budget { candidates, seconds: Some(0.0) },
        ..options(candidates)
    };
    let mut recorded = record(&spec);
    let found = run_with(&spec, &mut recorded, None, &no_time(64));
    assert!(
        !recorded.asked().is_empty() && !found.winners.contains(&"fallback".to_owned()),
        "{:?}",
        found.winners
    );
    let timed = found.candidates.iter().filter(|record| record.measured.is_some());
    let sizes: BTreeSet<&String> = timed.map(|record| &record.sizes).collect();
    assert_eq!(sizes.len(), 2, "{sizes:?}");
    // A search that had time leaves its best to one that has none.
    let notebook = Notebook::new();
    let long = run(&spec, &mut record(&spec), Some(&notebook), 64);
    let short = run_with(&spec, &mut record(&spec), Some(&notebook), &no_time(64));
    let seconds = |found: &Found| -> Vec<Option<f64>> {
        found.sealed.certificate.figures.iter().map(|figure| figure.seconds).collect()
    };
    assert_eq!(seconds(&short), seconds(&long));
}

/// A recorded device with something that comes before each answer.
struct Before<F> {
    inner: Recorded,
    first: F,
}

impl<F: FnMut(&[&Candidate], &MeasureOptions) -> Result<(), String>> Measurer for Before<F> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn driver(&self) -> &str {
        self.inner.driver()
    }

    fn capability(&self) -> (u32, u32) {
        self.inner.capability()
    }

    fn check_and_time(
        &mut self,
        spec: &BoundSpec,
        cases: &Cases,
        sizes: &SizeValues,
        candidates: &[&Candidate],
        options: &MeasureOptions,
    ) -> Result<Timing, String> {
        (self.first)(candidates, options)?;
        self.inner.check_and_time(spec, cases, sizes, candidates, options)
    }
}

/// Rounds that would take all of the time leave some of it to the finals.
#[test]
fn a_search_that_time_ends_still_compares_its_best_side_by_side() {
    let spec = bind(SPEC);
    let options = SearchOptions { budget: Budget { candidates: 4000, seconds: Some(5.0) }, ..options(4000) };
    // How many were measured twice, side by side.
    let mut finals = Vec::new();
    let slowly = |candidates: &[&Candidate], options: &MeasureOptions| {
        std::thread::sleep(std::time::Duration::from_millis(20 * candidates.len() as u64));
        if options.finalists > 0 {
            finals.push(candidates.len());
        }
        Ok(())
    };
    let found = run_with(&spec, &mut Before { inner: record(&spec), first: slowly }, None, &options);
    let timed = found.candidates.iter().filter(|record| record.measured.is_some()).count();
    assert!(timed < 1000, "time ended it, after {timed} candidates");
    // Beside the best alone there would be one more at most, for sizes that the best does not serve.
    assert!(finals.len() == 1 && finals[0] > 2, "{finals:?}");
}

#[test]
fn a_lost_device_loses_nothing_that_was_measured_and_the_next_search_goes_on() {
    let spec = bind(SPEC);
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let path = folder.path().join("notes.jsonl");
    let open = || Notebook::open(&path).unwrap_or_else(|error| panic!("{error}"));
    let mut calls = 1usize;
    let mut lost = Before {
        inner: record(&spec),
        first: |_: &[&Candidate], _: &MeasureOptions| {
            calls = calls.checked_sub(1).ok_or("the device is lost")?;
            Ok(())
        },
    };
    let found = run(&spec, &mut lost, Some(&open()), 32);
    let measured = found.candidates.iter().filter(|record| record.measured.is_some()).count();
    assert_eq!(measured, 8, "one batch");
    assert!(!found.winners.is_empty());
    // A killed writer leaves half a line.
    let mut text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{error}"));
    text.push_str("{\"task\":{\"ker");
    std::fs::write(&path, text).unwrap_or_else(|error| panic!("{error}"));
    let before: BTreeSet<String> = lost.inner.asked().iter().cloned().collect();
    let mut recorded = record(&spec);
    let found = run(&spec, &mut recorded, Some(&open()), 32);
    assert!(found.learned.is_some_and(|learned| learned.remembered >= 8));
    let rounds = recorded.asked().len().saturating_sub(4);
    assert!(recorded.asked()[..rounds].iter().all(|id| !before.contains(id)), "{:?}", recorded.asked());
    // What came after the half line can be read.
    let experiences = open().experiences("a record").unwrap_or_else(|error| panic!("{error}"));
    assert!(experiences.len() > 8, "{}", experiences.len());
    assert!(open().experiences("another device").is_ok_and(|experiences| experiences.is_empty()));
}

#[test]
fn a_file_that_is_no_notebook_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let path = folder.path().join("notes.jsonl");
    std::fs::write(&path, "{}\n").unwrap_or_else(|error| panic!("{error}"));
    match Notebook::open(&path) {
        Err(NotebookError::Note { line: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refusal_is_remembered_with_its_verdict() {
    let reason = Reason::Remembered { verdict: factory_search::Verdict::Wrong, message: "off by one".into() };
    assert_eq!(reason.verdict(), factory_search::Verdict::Wrong);
    assert_eq!(reason.to_string(), "off by one (found by an earlier search)");
}

/// Candidates of a task whose best ones the cost model ranks last: it does not see what `cluster` brings.
fn misjudged(kernel: &str, length: f64) -> Vec<Experience> {
    let task = Task {
        kernel: kernel.to_owned(),
        meaning: kernel.to_owned(),
        sizes: format!("n={length}"),
        traits: [("reduced".to_owned(), length)].into(),
    };
    let mut all = Vec::new();
    for cluster in [1i64, 2, 4, 8] {
        for threads in [32i64, 64, 128, 256, 512, 1024] {
            for chunks in [1i64, 2, 4, 8, 16] {
                let tunables = Tunables::from([
                    ("cluster".to_owned(), cluster.into()),
                    ("threads".to_owned(), threads.into()),
                    ("chunks".to_owned(), chunks.into()),
                ]);
                let spread = (threads as f64 / 256.0).log2().abs() + (chunks as f64 / 2.0).log2().abs();
                let modelled = 1e-5 * length * (1.0 + 0.1 * spread + 0.2 * (cluster as f64).log2());
                let real = 1e-5 * length * (1.0 + 0.1 * spread + 0.3 * (3.0 - (cluster as f64).log2()));
                let id = format!("k{cluster}_t{threads}_c{chunks}");
                let view = View { id, tunables, modelled, figures: Default::default() };
                all.push(Experience { task: task.clone(), view, seconds: Some(real) });
            }
        }
    }
    all
}

#[test]
fn what_the_model_gets_wrong_is_found_out_and_memory_knows_it_beforehand() {
    let here = misjudged("here", 12.0);
    let memory: Vec<Experience> = [misjudged("near", 11.0), misjudged("far", 16.0)].concat();
    let best = here.iter().filter_map(|record| record.seconds).fold(f64::INFINITY, f64::min);
    let limit = here.len();
    let by_model = by_model(&here, limit).needed(best, 0.02).expect("the model gets there in the end");
    for seed in 0..3 {
        let needed = |memory: &[Experience]| {
            replay(&here, memory, 8, limit, seed).needed(best, 0.02).expect("everything was measured")
        };
        let (empty, full) = (needed(&[]), needed(&memory));
        assert!(empty < by_model / 2, "seed {seed}: {empty} of {by_model}");
        assert!(full <= 8 && full <= empty, "seed {seed}: {full} with memory, {empty} without");
        assert_eq!(replay(&here, &memory, 8, limit, seed), replay(&here, &memory, 8, limit, seed));
    }
    // Memory of the same task is no memory of another one.
    let own = replay(&here, &here, 8, limit, 0);
    assert_eq!(own, replay(&here, &[], 8, limit, 0));
}

/// A device that is never there when something is to be measured.
struct Absent;

impl Measurer for Absent {
    fn name(&self) -> &str {
        "a record"
    }

    fn driver(&self) -> &str {
        "1.0"
    }

    fn capability(&self) -> (u32, u32) {
        (9, 0)
    }

    fn check_and_time(
        &mut self,
        _: &BoundSpec,
        _: &factory_search::cases::Cases,
        _: &factory_spec::SizeValues,
        _: &[&factory_search::Candidate],
        _: &factory_search::gpu::MeasureOptions,
    ) -> Result<factory_search::gpu::Timing, String> {
        Err("it fell off the bus".to_owned())
    }
}

#[test]
fn when_nothing_can_be_measured_the_best_by_the_model_is_proved_and_wins() {
    let spec = bind(SPEC);
    let found = run(&spec, &mut Absent, None, 32);
    assert!(found.modelled);
    let proved = found.candidates.iter().find(|record| record.id == found.winners[0]);
    assert!(proved.is_some(), "a candidate and not the fallback: {:?}", found.winners);
}
