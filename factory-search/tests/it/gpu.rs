//! The device gate and the clock on a real GPU.
//!
//! Where there is none every test here says so and passes; with `KERNEL_FACTORY_TEST_GPU=require` it fails instead. They
//! print what they did and how long it took: run them with `--nocapture --test-threads 1`.

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use factory_search::cases::Cases;
use factory_search::gpu::{Gpu, MeasureOptions, Protection, final_measurement, secret_seed, time_candidates};
use factory_search::toolchain::Ptxas;
use factory_search::worker::{DeviceKind, Launcher, WorkerLimits, Workers};
use factory_search::{
    Candidate, Gate, Generator, Measurer, Proposer, PtxasPolicy, Reason, Rejection, Verdict,
};
use factory_spec::{Arch, BoundSpec, SizeValues};

use crate::kernels::{SCALE, bind, honest, scale, scale_ptx};
use crate::row_strides::{READS_GAPS, ROWS, WRITES_BANDS, WRITES_GAPS, rows};

/// The GPU, one test at a time.
fn gpu() -> Option<(Gpu, MutexGuard<'static, ()>)> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match Gpu::open(0) {
        Ok(gpu) => {
            println!("{}, driver {}, {}", gpu.name(), gpu.driver(), gpu.protection());
            Some((gpu, guard))
        }
        Err(message) => {
            let wanted = std::env::var("KERNEL_FACTORY_TEST_GPU").is_ok_and(|word| word == "require");
            assert!(!wanted, "a GPU is required: {message}");
            println!("not run: {message}");
            None
        }
    }
}

/// One worker with the GPU.
fn workers() -> Workers {
    let limits = WorkerLimits::default();
    let program = crate::isolation::this("isolation::worker");
    let launcher = Launcher::of_worker(Vec::new(), &program, DeviceKind::Gpu(0), limits);
    Workers::start(&[launcher], limits).unwrap_or_else(|message| panic!("{message}"))
}

/// [`SCALE`] with a tolerance so wide that only what the device gate looks for on purpose is refused.
fn wide(require: &str) -> BoundSpec {
    bind(
        &SCALE
            .replace("[better]\n", "tolerance = { max_relative = 1e-2 }\n[better]\n")
            .replace("minimize = \"time\"\n", &format!("minimize = \"time\"\n{require}\n")),
    )
}

fn with(top: &str, before: &str, after: &str) -> Candidate {
    scale(scale_ptx(top, before, after))
}

fn draw(spec: &BoundSpec, seed: u64) -> Cases {
    Cases::draw(spec, seed, &spec.better.over)
}

/// What the device gate says to a candidate that it must refuse, `None` if it passes it; then that the GPU still works.
fn refusal(gpu: &mut dyn Measurer, spec: &BoundSpec, what: &str, candidate: &Candidate) -> Option<Rejection> {
    let cases = draw(spec, 7);
    let started = Instant::now();
    let outcome = gpu.check(spec, &cases, candidate);
    let text = match &outcome {
        Ok(report) => format!("PASSED: {report}"),
        Err(rejection) => rejection.to_string(),
    };
    println!("{what}: {text} ({:.1} ms)", started.elapsed().as_secs_f64() * 1e3);
    if let Err(rejection) = gpu.check(spec, &cases, &honest()) {
        panic!("after `{what}` the honest kernel was refused: {rejection}");
    }
    outcome.err()
}

#[test]
fn the_honest_kernel_passes_fast_and_with_every_protection() {
    let Some((mut gpu, _guard)) = gpu() else { return };
    let spec = wide("require = [\"deterministic\"]");
    let cases = draw(&spec, 7);
    for turn in 0..5 {
        let started = Instant::now();
        let report = gpu
            .check(&spec, &cases, &honest())
            .unwrap_or_else(|rejection| panic!("turn {turn}: the honest kernel was refused: {rejection}"));
        println!("turn {turn}: {:.2} ms: {report}", started.elapsed().as_secs_f64() * 1e3);
        println!("{}", serde_json::to_string(&report).expect("a report is data"));
        assert!(report.scrubbed, "{report:?}");
        assert!(report.runs >= 4 * report.cases && report.repeats >= 12 && report.steps >= 8, "{report:?}");
        assert!(report.mute_steps * 2 < report.steps, "most changes must show: {report:?}");
        assert!(
            matches!(report.protection, Protection::Pages { read_only: true, .. }),
            "{:?}",
            report.protection
        );
    }
}

const RMSNORM: &str = r#"
[kernel]
name = "rmsnorm"
[sizes]
m = { min = 1 }
n = { min = 8, max = 262144, multiple_of = 8 }
[[arg]]
name = "x"
dtype = "bf16"
shape = ["m", "n"]
[[arg]]
name = "w"
dtype = "f32"
shape = ["n"]
[[arg]]
name = "y"
dtype = "bf16"
shape = ["m", "n"]
role = "out"
[[arg]]
name = "eps"
dtype = "f32"
values = [1e-6, 1e-5]
[reference]
program = '''
ms = mean(x * x, n)
y  = x * rsqrt(ms + eps) * w
'''
[better]
minimize = "time"
over = [{ m = 32768, n = 4096 }]
require = ["deterministic"]
[targets]
arch = ["sm_90"]
"#;

#[test]
fn generated_kernels_get_their_verdict_in_milliseconds() {
    let Some((mut gpu, _guard)) = gpu() else { return };
    let spec = bind(RMSNORM);
    let over = spec.better.over[0].clone();
    let generator = Generator::new(&spec).unwrap_or_else(|error| panic!("{error}"));
    let candidates: Vec<Candidate> = generator
        .propose(Arch::Sm90, &over)
        .into_iter()
        .take(24)
        .filter_map(|proposal| proposal.make().ok())
        .collect();
    let cases = draw(&spec, 3);
    let started = Instant::now();
    let served = cases.served(&spec, &candidates[0].variant);
    served.iter().for_each(|&index| {
        let _ = cases.all()[index].ready(&spec);
    });
    cases.starts(&served).into_iter().for_each(|index| {
        let _ = cases.all()[index].steps(&spec);
    });
    println!("oracle: {} cases in {:.0} ms", served.len(), started.elapsed().as_secs_f64() * 1e3);
    let mut times = Vec::new();
    for candidate in &candidates {
        let started = Instant::now();
        let outcome = gpu.check(&spec, &cases, candidate);
        let milliseconds = started.elapsed().as_secs_f64() * 1e3;
        match outcome {
            Ok(report) => {
                println!("{}: {milliseconds:.1} ms: {report}", candidate.id);
                times.push((report.loading.as_secs_f64() * 1e3, report.checking.as_secs_f64() * 1e3));
            }
            Err(rejection) => panic!("{}: {rejection}\n{}", candidate.id, candidate.ptx),
        }
    }
    let rest = &times[1..];
    let mean = |of: fn(&(f64, f64)) -> f64| rest.iter().map(of).sum::<f64>() / rest.len() as f64;
    let (loading, checking) = (mean(|times| times.0), mean(|times| times.1));
    println!("after the first: the driver's compiler {loading:.1} ms a candidate, the rest {checking:.1} ms");
    assert!(checking < 100.0, "{times:?}");
}

/// A kernel that the device gate must refuse.
struct Hostile {
    what: &'static str,
    top: &'static str,
    before: &'static str,
    after: String,
    /// Over [`wide`] with determinism required, instead of [`SCALE`].
    wide: bool,
    /// Reasons that will do, as the record names them.
    reasons: &'static [&'static str],
}

impl Hostile {
    fn candidate(&self) -> Candidate {
        with(self.top, self.before, &self.after)
    }
}

const KEPT: &str = ".global .align 8 .u64 kept_pointer[131072];\n.global .align 4 .f32 kept_first[131072];\n.global .align 4 .f32 kept[131072];";

/// Takes the answer of an earlier call where the pointer, and with `sample` the first element, are what they were then.
fn lookup(sample: bool) -> String {
    let first = if sample { "ld.global.f32 %f6, [%rd1];" } else { "mov.f32 %f6, 0f00000000;" };
    format!(
        "mul.wide.u32 %rd6, %r4, 8;\n    mov.u64 %rd7, kept_pointer;\n    add.u64 %rd7, %rd7, %rd6;\n    ld.global.u64 %rd8, [%rd7];\n    \
         mov.u64 %rd9, kept_first;\n    add.u64 %rd9, %rd9, %rd3;\n    ld.global.f32 %f5, [%rd9];\n    {first}\n    \
         mov.u64 %rd10, kept;\n    add.u64 %rd10, %rd10, %rd3;\n    \
         setp.ne.u64 %p2, %rd8, %rd1;\n    setp.neu.f32 %p3, %f5, %f6;\n    or.pred %p2, %p2, %p3;\n    \
         @!%p2 ld.global.f32 %f3, [%rd10];\n    @%p2 st.global.u64 [%rd7], %rd1;\n    @%p2 st.global.f32 [%rd9], %f6;\n    @%p2 st.global.f32 [%rd10], %f3;"
    )
}

/// What two threads write in turns may end any way.
const ELSEWHERE: &[&str] = &["device_fault", "guard_band", "mismatch", "not_deterministic"];
const OUTSIDE: &[&str] = &["device_fault", "mismatch"];
/// A thousandth more, now and then.
const CLOCK: &str = "mov.u32 %r9, %clock;\n    and.b32 %r9, %r9, 32;\n    setp.ne.u32 %p2, %r9, 0;\n    @%p2 mul.f32 %f3, %f3, 0f3f8020c5;";

fn hostile() -> Vec<Hostile> {
    let row = |what, before, after: &str, reasons| Hostile {
        what,
        top: "",
        before,
        after: after.to_owned(),
        wide: false,
        reasons,
    };
    let read = |offset: &str| {
        format!("ld.global.f32 %f5, [%rd4+{offset}];\n    fma.rn.f32 %f3, %f5, 0f00000000, %f3;")
    };
    vec![
        row("nothing written", "ret;", "", &["unwritten"]),
        row(
            "tail not written",
            "and.b32 %r9, %r1, 0xffffff00;\n    setp.ge.u32 %p1, %r4, %r9;",
            "",
            &["unwritten"],
        ),
        row(
            "last element not written",
            "sub.u32 %r9, %r1, 1;\n    setp.ge.u32 %p1, %r4, %r9;",
            "",
            &["unwritten"],
        ),
        row(
            "one element wrong",
            "",
            "sub.u32 %r9, %r1, 1;\n    setp.eq.u32 %p2, %r4, %r9;\n    @%p2 mul.f32 %f3, %f3, 0f3f810000;",
            &["mismatch"],
        ),
        row("one behind the end written", "", "st.global.f32 [%rd5+4], %f3;", ELSEWHERE),
        row("one before the start written", "", "st.global.f32 [%rd5+-4], %f3;", ELSEWHERE),
        row("a MiB behind the end written", "", "st.global.f32 [%rd5+1048576], %f3;", ELSEWHERE),
        row("an input written", "", "st.global.f32 [%rd4], %f4;", &["device_fault", "input_changed"]),
        row("one behind the end read", "", &read("4"), OUTSIDE),
        row("one before the start read", "", &read("-4"), OUTSIDE),
        row("3 MiB behind the end read", "", &read("3145728"), OUTSIDE),
        row(
            "shared memory that nobody wrote",
            "",
            "mov.u32 %r6, tile;\n    ld.shared.f32 %f5, [%r6];\n    fma.rn.f32 %f3, %f5, 0f00000000, %f3;",
            &["mismatch"],
        ),
        // A thousandth more over NaN: within the tolerance, and not within determinism.
        Hostile {
            wide: true,
            ..row(
                "the old output shows",
                "",
                "ld.global.f32 %f5, [%rd5];\n    setp.nan.f32 %p2, %f5, %f5;\n    @%p2 mul.f32 %f3, %f3, 0f3f8020c5;",
                &["poison_shows"],
            )
        },
        Hostile {
            wide: true,
            ..row("another answer each time", "", CLOCK, &["not_deterministic", "poison_shows"])
        },
        Hostile { top: KEPT, ..row("kept by pointer", "", &lookup(false), &["mismatch"]) },
        Hostile { top: KEPT, ..row("kept by pointer and first element", "", &lookup(true), &["mismatch"]) },
        Hostile {
            top: ".global .align 4 .u32 counter;",
            ..row(
                "right so many times",
                "mov.u64 %rd6, counter;\n    atom.global.add.u32 %r9, [%rd6], 1;\n    setp.gt.u32 %p2, %r9, 200000;\n    or.pred %p1, %p1, %p2;",
                "",
                &["unwritten", "mismatch"],
            )
        },
    ]
}

#[test]
fn hostile_kernels_are_kernels() {
    // Without a GPU too: a typing error would be refused for the wrong reason.
    let ptxas = Ptxas::find(&PtxasPolicy::Find).unwrap_or_else(|error| panic!("{error}"));
    for row in hostile() {
        let candidate = row.candidate();
        let module =
            factory_ptx::parse(&candidate.ptx).unwrap_or_else(|error| panic!("{}: {error}", row.what));
        factory_ptx::check(&module).unwrap_or_else(|error| panic!("{}: {error:?}", row.what));
        if let Ok(ptxas) = &ptxas {
            factory_search::gates::assemble::assemble(ptxas, &candidate.ptx, Arch::Sm90)
                .unwrap_or_else(|rejection| panic!("{}: {rejection}", row.what));
        }
    }
}

#[test]
fn hostile_kernels_are_refused_for_what_they_do() {
    let Some((gpu, _guard)) = gpu() else { return };
    // Some of them cost a process its context, so they run as in a search: in workers.
    drop(gpu);
    let mut gpu = workers();
    let mut wrong = Vec::new();
    for row in hostile() {
        let spec = if row.wide { wide("require = [\"deterministic\"]") } else { bind(SCALE) };
        let Some(rejection) = refusal(&mut gpu, &spec, row.what, &row.candidate()) else {
            wrong.push(format!("{}: it passed", row.what));
            continue;
        };
        let reason = serde_json::to_value(&rejection.reason).expect("a reason is data");
        let name = reason["reason"].as_str().unwrap_or_default();
        if !row.reasons.contains(&name) || rejection.gate != Gate::Device {
            wrong.push(format!("{}: {rejection}: `{name}` is not one of {:?}", row.what, row.reasons));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn runs_may_differ_a_little_where_the_spec_lets_them() {
    let Some((mut gpu, _guard)) = gpu() else { return };
    let loose = wide("");
    let report = gpu.check(&loose, &draw(&loose, 7), &with("", "", CLOCK));
    println!("not deterministic, and need not be: {report:?}");
    assert!(report.is_ok_and(|report| !report.deterministic));
    let sizes = loose.better.over[0].clone();
    let timing =
        time_candidates(&mut gpu, &loose, &sizes, &[&with("", "", CLOCK)], &MeasureOptions::default())
            .unwrap_or_else(|error| panic!("{error}"));
    assert!(timing.candidates[0].outcome.is_ok(), "{:?}", timing.candidates[0].outcome);
}

#[test]
fn guard_bands_stand_in_where_pages_cannot_be_mapped() {
    let Some((mut gpu, _guard)) = gpu() else { return };
    gpu.use_bands();
    let spec = bind(SCALE);
    let report =
        gpu.check(&spec, &draw(&spec, 7), &honest()).unwrap_or_else(|rejection| panic!("{rejection}"));
    println!("{report}");
    assert!(
        matches!(&report.protection, Protection::Bands { reason } if reason == "asked for"),
        "{report:?}"
    );
    let reason = |gpu: &mut Gpu, what: &str, after: &str| {
        let rejection = refusal(gpu, &spec, what, &with("", "", after));
        rejection.unwrap_or_else(|| panic!("{what}: it passed")).reason
    };
    let behind = reason(&mut gpu, "one behind the end written", "st.global.f32 [%rd5+4], %f3;");
    let seen = matches!(
        behind,
        Reason::GuardBand { .. } | Reason::Mismatch { .. } | Reason::NotDeterministic { .. }
    );
    assert!(seen, "{behind}");
    let far = "setp.eq.u32 %p2, %r4, 0;\n    @%p2 st.global.f32 [%rd5+-1024], %f3;";
    let far = reason(&mut gpu, "far before the start written", far);
    assert!(matches!(far, Reason::GuardBand { .. }), "{far}");
    let input = reason(&mut gpu, "input written", "st.global.f32 [%rd4], %f4;");
    assert!(matches!(input, Reason::InputChanged { .. }), "{input}");
}

#[test]
fn the_scrub_reaches_every_multiprocessor() {
    let Some((gpu, _guard)) = gpu() else { return };
    let (reached, all, registers) = gpu.scrub_coverage().unwrap_or_else(|message| panic!("{message}"));
    println!("scrubbed {reached} of {all} multiprocessors, {registers} registers a thread");
    assert_eq!(reached, all);
    assert!(registers >= 224, "ptxas kept only {registers} registers alive");
}

#[test]
fn cases_of_a_secret_seed_are_drawn_anew() {
    let Some((mut gpu, _guard)) = gpu() else { return };
    let spec = bind(SCALE);
    let seed = secret_seed();
    assert_ne!(seed, secret_seed());
    let cases = draw(&spec, seed);
    let report =
        gpu.hold_out(&spec, &cases, &honest()).unwrap_or_else(|rejection| panic!("seed {seed}: {rejection}"));
    println!("seed {seed}: {report}");
    let wrong = with("", "", "add.f32 %f3, %f3, %f4;");
    let rejection = gpu.hold_out(&spec, &cases, &wrong).expect_err("a wrong kernel");
    assert_eq!((rejection.gate, rejection.verdict), (Gate::Holdout, Verdict::Wrong), "{rejection}");
}

/// [`SCALE`] over so many elements.
fn large(n: u64) -> (BoundSpec, SizeValues) {
    let text = SCALE.replace("max = 100000", "max = 1000000000").replace("n = 65536", &format!("n = {n}"));
    let spec = bind(&text);
    let sizes = spec.better.over[0].clone();
    (spec, sizes)
}

fn named(name: &str, mut candidate: Candidate) -> Candidate {
    candidate.id = name.to_owned();
    candidate
}

#[test]
fn the_clock_tells_twins_from_slow_ones_and_says_how_well() {
    let Some((mut gpu, _guard)) = gpu() else { return };
    // About 10 microseconds, 100 and 1000 on an H200.
    for (n, limit) in [(5_000_000, 0.02), (50_000_000, 0.01), (450_000_000, 0.01)] {
        let (spec, sizes) = large(n);
        let first = named("first", honest());
        let twin = named("twin", honest());
        // Reads everything sixteen times.
        let again =
            "ld.volatile.global.f32 %f5, [%rd4];\n    fma.rn.f32 %f3, %f5, 0f00000000, %f3;\n    ".repeat(16);
        let slow = named("slow", with("", "", &again));
        let options = MeasureOptions { energy_seconds: Some(1.0), ..MeasureOptions::default() };
        let started = Instant::now();
        let timing = time_candidates(&mut gpu, &spec, &sizes, &[&first, &twin, &slow], &options)
            .unwrap_or_else(|error| panic!("n = {n}: {error}"));
        println!(
            "n = {n}: {:.1} s\n{}",
            started.elapsed().as_secs_f64(),
            serde_json::to_string(&timing).expect("a timing is data")
        );
        assert!(timing.rotation.cold, "{:?}", timing.rotation);
        assert_eq!(timing.environment.persisting_l2.unwrap_or(0), 0);
        let floor = timing.floor().expect("an A/A run");
        let seconds = |index: usize| {
            *timing.candidates[index]
                .outcome
                .as_ref()
                .unwrap_or_else(|rejection| panic!("n = {n}: {rejection}"))
        };
        println!(
            "n = {n}: {:.3} and {:.3} us, A/A floor {:.3}%, bound {:.3} us, overhead {:?}, race {:?}, finale {:?}",
            seconds(0) * 1e6,
            seconds(1) * 1e6,
            floor * 100.0,
            timing.bound.seconds * 1e6,
            timing.overhead,
            timing.race,
            timing.finale,
        );
        for candidate in &timing.candidates {
            println!("  {}: energy {:?}", candidate.id, candidate.energy);
        }
        assert!(floor < limit, "A/A floor {floor} at n = {n}");
        assert!(
            (seconds(0) / seconds(1) - 1.0).abs() < 3.0 * limit,
            "twins: {} and {}",
            seconds(0),
            seconds(1)
        );
        assert!(timing.winners().iter().all(|&index| index < 2), "{:?}", timing.winners());
        assert!(timing.bound.seconds < seconds(0), "an honest time is above the bound");
        assert!(timing.final_seed.is_some() && timing.candidates[0].final_samples.len() >= 3);
    }
}

/// Half of what the sets hold to read fits into the L2: whoever found there what its last window kept would be some 20 % faster.
#[test]
fn what_was_kept_in_the_l2_makes_no_later_window_faster() {
    let Some((mut gpu, _guard)) = gpu() else { return };
    let text = SCALE
        .replace("max = 100000", "max = 1000000000")
        .replace("n = 65536", "n = 2000000")
        .replace("minimize = \"time\"", "allow = [\"l2_evict_last\"]");
    let spec = bind(&text);
    let policy = "createpolicy.fractional.L2::evict_last.b64 %rd9, 1.0;";
    let keeping = scale_ptx("", policy, "")
        .replace("ld.global.f32 %f2, [%rd4];", "ld.global.L2::cache_hint.f32 %f2, [%rd4], %rd9;");
    let (keeps, plain) = (named("keeps", scale(keeping)), named("plain", honest()));
    let options = MeasureOptions { window_bytes: 0, ..MeasureOptions::default() };
    let timing = time_candidates(&mut gpu, &spec, &spec.better.over[0], &[&keeps, &plain], &options)
        .unwrap_or_else(|error| panic!("{error}"));
    let seconds = timing.candidates.iter().map(|candidate| match &candidate.outcome {
        Ok(seconds) => *seconds,
        Err(rejection) => panic!("{}: {rejection}", candidate.id),
    });
    let seconds: Vec<f64> = seconds.collect();
    println!("keeps {:.3} us, plain {:.3} us, {:?}", seconds[0] * 1e6, seconds[1] * 1e6, timing.rotation);
    assert!(timing.rotation.cold, "{:?}", timing.rotation);
    // Reading so is up to 4 % faster by itself.
    assert!(seconds[0] > 0.92 * seconds[1], "{seconds:?}");
}

#[test]
fn a_second_measurement_stands_alone() {
    let Some((mut gpu, _guard)) = gpu() else { return };
    let (spec, sizes) = large(20_000_000);
    let one = honest();
    let options = MeasureOptions { final_rounds: 5, ..MeasureOptions::default() };
    let [a, b] = [0, 1].map(|_| {
        let measured =
            final_measurement(&mut gpu, &spec, &sizes, &[&one], &options).unwrap_or_else(|e| panic!("{e}"));
        let seconds =
            *measured.candidates[0].outcome.as_ref().unwrap_or_else(|rejection| panic!("{rejection}"));
        println!("seed {}: {:.3} us, {:?}", measured.seed, seconds * 1e6, measured.finale);
        (measured.seed, seconds)
    });
    assert_ne!(a.0, b.0, "fresh data each time");
    assert!((a.1 / b.1 - 1.0).abs() < 0.05, "{a:?} {b:?}");
}

#[test]
fn what_cheats_while_it_is_timed_is_refused() {
    let Some((gpu, _guard)) = gpu() else { return };
    // One of them costs a process its context.
    drop(gpu);
    let mut gpu = workers();
    let (spec, sizes) = large(1_000_000);
    let refused = |gpu: &mut Workers, what: &str, candidate: Candidate| -> Rejection {
        let honest = named("honest", honest());
        let timing = gpu
            .time(&spec, &sizes, &[&candidate, &honest], &MeasureOptions::default())
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(timing.candidates[1].outcome.is_ok(), "{what}: {:?}", timing.candidates[1].outcome);
        let rejection = timing.candidates[0].outcome.clone().expect_err(what);
        println!("{what}: {rejection}");
        rejection
    };
    // Right until it has run for 300 launches of these sizes: some windows.
    let later = with(
        ".global .align 4 .u32 counter;",
        "mov.u64 %rd6, counter;\n    atom.global.add.u32 %r9, [%rd6], 1;\n    setp.gt.u32 %p2, %r9, 300000000;\n    or.pred %p1, %p1, %p2;",
        "",
    );
    let later = refused(&mut gpu, "right so many times", later);
    assert!(matches!(later.reason, Reason::TimedOutput { .. }), "{later}");
    let branch = with("", "", "setp.gt.u32 %p2, %r1, 900000;\n    @%p2 mul.f32 %f3, %f3, 0f3f810000;");
    let branch = refused(&mut gpu, "wrong at the timed size alone", branch);
    assert!(matches!(branch.reason, Reason::Mismatch { .. }), "{branch}");
    let behind = with(
        "",
        "",
        "sub.u32 %r9, %r1, 1;\n    setp.eq.u32 %p2, %r4, %r9;\n    @%p2 st.global.f32 [%rd5+8], %f3;",
    );
    let behind = refused(&mut gpu, "writes behind the end", behind);
    assert!(matches!(behind.reason, Reason::GuardBand { .. } | Reason::DeviceFault { .. }), "{behind}");
    let input = refused(&mut gpu, "writes an input", with("", "", "st.global.f32 [%rd4], %f4;"));
    assert!(matches!(input.reason, Reason::InputChanged { .. } | Reason::DeviceFault { .. }), "{input}");
}

#[test]
fn memory_between_rows_stays_as_it_was() {
    let Some((mut gpu, _guard)) = gpu() else { return };
    let spec = bind(ROWS);
    let cases = draw(&spec, 7);
    let report = gpu.check(&spec, &cases, &rows("")).unwrap_or_else(|rejection| panic!("{rejection}"));
    println!("rows: {report}");
    let mut reason = |extra: &str| {
        let rejection = gpu.check(&spec, &cases, &rows(extra)).expect_err(extra);
        println!("{extra}: {rejection}");
        rejection.reason
    };
    let written = reason(WRITES_GAPS);
    assert!(matches!(&written, Reason::RowGap { output, .. } if output == "y"), "{written}");
    let read = reason(READS_GAPS);
    assert!(matches!(read, Reason::Mismatch { .. }), "{read}");
    // What leaves the bytes that are there anyway shows on the machine alone.
    println!(
        "bytes of bands: {:?}",
        gpu.check(&spec, &cases, &rows(WRITES_BANDS)).map(|report| report.to_string())
    );

    let sizes = spec.better.over[0].clone();
    let named = |name: &str, extra: &str| named(name, rows(extra));
    let candidates =
        [named("honest", ""), named("writes", WRITES_GAPS), named("reads", READS_GAPS), named("twin", "")];
    let all: Vec<&Candidate> = candidates.iter().collect();
    let timing = time_candidates(&mut gpu, &spec, &sizes, &all, &MeasureOptions::default())
        .unwrap_or_else(|error| panic!("{error}"));
    let outcome = |index: usize| timing.candidates[index].outcome.clone();
    println!("timed: {:?}", timing.candidates.iter().map(|one| &one.outcome).collect::<Vec<_>>());
    assert!(outcome(0).is_ok() && outcome(3).is_ok());
    assert!(matches!(outcome(1), Err(Rejection { reason: Reason::RowGap { .. }, .. })));
    assert!(matches!(outcome(2), Err(Rejection { reason: Reason::Mismatch { .. }, .. })));
}
