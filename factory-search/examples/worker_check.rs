//! Worker processes on a real GPU: what they cost, what they survive, and how quiet the clock is.
//!
//! ```text
//! cargo run --release -p factory-search --example worker_check -- --spec examples/rmsnorm/kernels/rmsnorm.toml --json out.json
//! ```
//!
//! 1. **Faults**: kernels that never end, read where nothing is, trap, or write beside their buffer, each between two honest
//!    ones, by one worker with a limit of some seconds. Every honest one must pass.
//! 2. **Verdicts**: seconds a candidate until the device gate has passed 64 generated ones, by one worker, by two on the same
//!    GPU, and by as many as a search starts; how long the driver's compiler took of that.
//! 3. **Floors**: the spec's best candidate against itself (A/A) at a small and at a large size.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use factory_search::cases::Cases;
use factory_search::gpu::MeasureOptions;
use factory_search::worker::{DeviceKind, Launcher, WorkerLimits, Workers};
use factory_search::{Candidate, Generator, HostProgram, Measurer as _, Proposer as _, Verdict};
use factory_spec::{Arch, BoundSpec, SizeValues, Spec};
use serde_json::{Value, json};

/// Candidates whose verdicts are timed.
const CANDIDATES: usize = 64;

fn main() -> ExitCode {
    factory_search::serve_if_asked();
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, String> {
    let mut spec = PathBuf::from("examples/rmsnorm/kernels/rmsnorm.toml");
    let mut json_file = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(word) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("`{word}` wants a value"));
        match word.as_str() {
            "--spec" => spec = value()?.into(),
            "--json" => json_file = Some(value()?),
            _ => return Err(format!("`{word}` is not known; there are --spec and --json")),
        }
    }
    let spec = Spec::read(&spec).map_err(|error| error.to_string())?;
    let spec = spec.bind(&BTreeMap::new()).map_err(|error| error.to_string())?;
    let (survived, faults) = faults()?;
    let verdicts = verdicts(&spec)?;
    let floors = floors(&spec)?;
    if let Some(file) = json_file {
        let text = json!({ "faults": faults, "verdicts": verdicts, "floors": floors });
        std::fs::write(&file, format!("{text:#}\n")).map_err(|error| format!("`{file}`: {error}"))?;
    }
    Ok(survived)
}

fn workers(count: usize, answer: Duration) -> Result<Workers, String> {
    let path = std::env::current_exe().map_err(|error| error.to_string())?;
    let program = HostProgram { path, arguments: Vec::new() };
    let limits = WorkerLimits { answer, ..WorkerLimits::default() };
    let launcher = Launcher::of_worker(Vec::new(), &program, DeviceKind::Gpu(0), limits);
    Workers::start(&vec![launcher; count], limits)
}

/// `y = x + 1`, small, and with `{FAULT}` to be filled in.
const SPEC: &str = r#"
[kernel]
name = "add_one"
[sizes]
n = { min = 1, max = 100000 }
[[arg]]
name = "x"
dtype = "f32"
shape = ["n"]
[[arg]]
name = "y"
dtype = "f32"
shape = ["n"]
role = "out"
[reference]
program = "y = x + 1"
[better]
minimize = "time"
over = [{ n = 65536 }]
[targets]
arch = ["sm_90"]
"#;

const FAULTS: [(&str, &str); 4] = [
    (
        "never ends",
        "again: ld.volatile.global.f32 %f9, [%rd9];\n setp.neu.f32 %q, %f9, 0f7f7fffff;\n @%q bra again;",
    ),
    (
        "reads where nothing is",
        "mov.u64 %rd8, 0x10;\n ld.global.f32 %f9, [%rd8];\n st.global.f32 [%rd10], %f9;",
    ),
    ("traps", "trap;"),
    ("writes far beside", "add.u64 %rd8, %rd10, 0x40000000;\n st.global.f32 [%rd8], 0f3f800000;"),
];

/// An honest candidate of the generator with a fault at the top of its entry.
fn broken(honest: &Candidate, name: &str, fault: &str) -> Result<Candidate, String> {
    let entry = honest.ptx.find(".entry").ok_or("the PTX has no entry")?;
    let parameters: Vec<&str> = honest.ptx[entry..]
        .lines()
        .take_while(|line| !line.contains('{'))
        .filter(|line| line.contains(".param"))
        .filter_map(|line| line.split_whitespace().last().map(|word| word.trim_matches([',', ')'])))
        .collect();
    let [x, y, ..] = parameters[..] else { return Err("the entry has too few parameters".to_owned()) };
    let body = entry + honest.ptx[entry..].find('{').ok_or("the entry has no body")? + 1;
    let mut ptx = honest.ptx.clone();
    let text = format!(
        "\n.reg .f32 %f9;\n.reg .b64 %rd8, %rd9, %rd10;\n.reg .pred %q;\nld.param.u64 %rd9, [{x}];\nld.param.u64 %rd10, [{y}];\ncvta.to.global.u64 %rd9, %rd9;\ncvta.to.global.u64 %rd10, %rd10;\n{fault}\n"
    )
    .replace("%f9", "%faulty").replace("%rd8", "%here").replace("%rd9", "%from").replace("%rd10", "%into").replace("%q", "%quit");
    ptx.insert_str(body, &text);
    Ok(Candidate { id: name.to_owned(), ptx, ..honest.clone() })
}

fn faults() -> Result<(bool, Value), String> {
    let spec = Spec::parse(std::path::Path::new("add_one.toml"), SPEC).map_err(|error| error.to_string())?;
    let spec = spec.bind(&BTreeMap::new()).map_err(|error| error.to_string())?;
    let cases = Cases::draw(&spec, 1, &spec.better.over);
    let honest = generated(&spec, &spec.better.over[0], 1)?.pop().ok_or("nothing was generated")?;
    let mut workers = workers(1, Duration::from_secs(8))?;
    println!("{}, driver {}", workers.name(), workers.driver());
    let mut fine = true;
    let mut records = Vec::new();
    for (name, fault) in FAULTS {
        let bad = broken(&honest, name, fault)?;
        let started = Instant::now();
        let refused = workers.check(&spec, &cases, &bad);
        let seconds = started.elapsed().as_secs_f64();
        let restarted = Instant::now();
        let after = workers.check(&spec, &cases, &honest);
        let next = restarted.elapsed().as_secs_f64();
        let said = refused.as_ref().map_or_else(|rejection| rejection.to_string(), ToString::to_string);
        let verdict = refused.as_ref().err().map_or(Verdict::Pass, |rejection| rejection.verdict);
        let honest_passed = after.is_ok();
        fine &= honest_passed && verdict == Verdict::Unsafe;
        println!("{name:<24} {seconds:>6.2} s  {said}");
        if let Err(rejection) = &after {
            println!("  the honest one after it: {rejection}");
        }
        records.push(json!({
            "fault": name, "seconds": seconds, "verdict": verdict, "said": said,
            "honest_after_it": honest_passed, "seconds_of_that": next,
        }));
    }
    Ok((fine, Value::Array(records)))
}

/// Candidates of the generator, without those that need more than the device has.
fn generated(spec: &BoundSpec, sizes: &SizeValues, count: usize) -> Result<Vec<Candidate>, String> {
    let generator = Generator::new(spec).map_err(|reason| reason.to_string())?;
    let proposals = generator.propose(Arch::Sm90, sizes);
    Ok(proposals.iter().filter_map(|proposal| proposal.make().ok()).take(count).collect())
}

fn verdicts(spec: &BoundSpec) -> Result<Value, String> {
    let mut candidates = Vec::new();
    for sizes in &spec.better.over {
        candidates.extend(generated(spec, sizes, CANDIDATES.div_ceil(spec.better.over.len()))?);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut counts = vec![1, 2, (cores / 3).clamp(1, 8)];
    counts.dedup();
    let mut records = Vec::new();
    for count in counts {
        let workers = workers(count, Duration::from_secs(60))?;
        // Cases of its own: what is known of right outputs is found out anew.
        let cases = Cases::draw(spec, 1 + count as u64, &spec.better.over);
        let warm = workers.check_one(spec, &cases, &candidates[0]);
        warm.map_err(|rejection| rejection.to_string())?;
        let next = AtomicUsize::new(0);
        let reports = Mutex::new(Vec::new());
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| {
                    loop {
                        let Some(candidate) = candidates.get(next.fetch_add(1, Ordering::Relaxed)) else {
                            return;
                        };
                        let outcome = workers.check_one(spec, &cases, candidate);
                        reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(outcome);
                    }
                });
            }
        });
        let seconds = started.elapsed().as_secs_f64() / candidates.len() as f64;
        let reports = reports.into_inner().map_err(|_| "a thread panicked")?;
        let passed: Vec<_> = reports.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
        let median = |of: &dyn Fn(&factory_search::gpu::DeviceReport) -> Duration| {
            let mut all: Vec<Duration> = passed.iter().map(|report| of(report)).collect();
            all.sort();
            all.get(all.len() / 2).copied().unwrap_or_default().as_secs_f64()
        };
        let (loading, checking) = (median(&|report| report.loading), median(&|report| report.checking));
        println!(
            "{count} workers: {:.1} ms a verdict of {} candidates ({} passed); one took the driver's compiler {:.1} ms, the rest {:.1} ms",
            seconds * 1e3,
            candidates.len(),
            passed.len(),
            loading * 1e3,
            checking * 1e3,
        );
        records.push(json!({
            "workers": count, "seconds_a_verdict": seconds, "candidates": candidates.len(),
            "passed": passed.len(), "loading_median": loading, "checking_median": checking,
            "all": passed.iter().map(|report| json!([report.loading.as_secs_f64(), report.checking.as_secs_f64()])).collect::<Vec<_>>(),
        }));
    }
    Ok(Value::Array(records))
}

fn floors(spec: &BoundSpec) -> Result<Value, String> {
    let mut workers = workers(1, Duration::from_secs(60))?;
    let cases = Cases::draw(spec, 1, &spec.better.over);
    let mut records = Vec::new();
    for sizes in &spec.better.over {
        let candidates = generated(spec, sizes, 8)?;
        let candidates: Vec<&Candidate> = candidates.iter().collect();
        let options = MeasureOptions { final_rounds: 31, finalists: 1, ..MeasureOptions::default() };
        let timing = workers.check_and_time(spec, &cases, sizes, &candidates, &options)?;
        let Some(noise) = &timing.noise else { continue };
        let seconds = noise.sides.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        println!(
            "A/A at {:?}: {:.2} us, the two sides {:.3} % apart, floor {:.3} %",
            sizes.0,
            seconds * 1e6,
            noise.difference * 100.0,
            noise.floor * 100.0
        );
        records
            .push(json!({ "sizes": sizes.0, "seconds": seconds, "noise": noise, "finale": timing.finale }));
    }
    Ok(Value::Array(records))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_ptx() {
        let spec = Spec::parse(std::path::Path::new("add_one.toml"), SPEC).expect("a spec");
        let spec = spec.bind(&BTreeMap::new()).expect("nothing to bind");
        let honest = generated(&spec, &spec.better.over[0], 1).expect("a candidate").remove(0);
        for (name, fault) in FAULTS {
            let bad = broken(&honest, name, fault).expect("an entry");
            if let Err(errors) = factory_ptx::parse(&bad.ptx) {
                panic!("{name}: {errors}\n{}", bad.ptx);
            }
        }
    }
}
