//! One run on an H200 that says how good the generated RMSNorm is: every shape of the peers' table is searched with the
//! device gate and the clock, plain copies are timed beside it as a ceiling, and the raw samples go into a file.
//!
//! ```text
//! cargo run --release -p factory-search --example gpu_check -- --seconds 420 --json samples.json [--candidates 160] [--only 4096]
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use factory_search::gpu::{Gpu, MeasureOptions, Timing, time_candidates};
use factory_search::{
    Budget, Candidate, Event, GpuPolicy, Phase, PtxasPolicy, SearchOptions, Tunables, search,
};
use factory_spec::{Arch, BoundSpec, LaunchPlan, ParamPlan, SizeExpr, SizeValues, Spec, Variant};

/// The spec; `OVER` is replaced by one entry a shape.
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
values = [1e-6]

[reference]
program = '''
ms = mean(x * x, n)
y  = x * rsqrt(ms + eps) * w
'''

[better]
minimize = "time"
over = [OVER]

[targets]
arch = ["sm_90"]
"#;

const COPY: &str = r#"
[kernel]
name = "copy"
[sizes]
m = { min = 1 }
n = { min = 8, multiple_of = 8 }
[[arg]]
name = "x"
dtype = "bf16"
shape = ["m", "n"]
[[arg]]
name = "y"
dtype = "bf16"
shape = ["m", "n"]
role = "out"
[reference]
program = "y = x"
[targets]
arch = ["sm_90"]
"#;

/// Milliseconds on an H200 (driver 580.159.04, CUDA 13.0, 2026-11-22), bf16 in and out, f32 weight, forward: m, n, the best
/// plain copy, the best of QuACK 0.6.5 (also tuned), INT21 ffcd382, Liger 0.8.5 and torch.compile of PyTorch 2.11.
const PEERS: &[(u64, u64, f64, f64)] = &[
    (32768, 256, 0.00973, 0.01008),
    (32768, 512, 0.01752, 0.01822),
    (32768, 1024, 0.03341, 0.03431),
    (32768, 2048, 0.06442, 0.06524),
    (32768, 4096, 0.12723, 0.12899),
    (32768, 8192, 0.25101, 0.25094),
    (32768, 16384, 0.50005, 0.50805),
    (32768, 32768, 0.99838, 1.01199),
    (32768, 65536, 1.99787, 2.15498),
    (16384, 131072, 1.99769, 2.21557),
    (8192, 262144, 1.99731, 2.34833),
];

struct Arguments {
    seconds: f64,
    json: Option<PathBuf>,
    candidates: usize,
    only: Option<u64>,
    ordinal: usize,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments { seconds: 420.0, json: None, candidates: 160, only: None, ordinal: 0 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` wants a value"));
        let number = |text: String| text.parse::<f64>().map_err(|error| format!("`{text}`: {error}"));
        match word.as_str() {
            "--seconds" => parsed.seconds = number(value()?)?,
            "--candidates" => parsed.candidates = number(value()?)? as usize,
            "--only" => parsed.only = Some(number(value()?)? as u64),
            "--gpu" => parsed.ordinal = number(value()?)? as usize,
            "--json" => parsed.json = Some(PathBuf::from(value()?)),
            _ => {
                return Err(format!(
                    "`{word}` is not known; there are --seconds, --candidates, --only, --gpu and --json"
                ));
            }
        }
    }
    Ok(parsed)
}

fn bind(name: &str, text: &str) -> Result<BoundSpec, String> {
    let spec = Spec::parse(std::path::Path::new(name), text).map_err(|error| error.to_string())?;
    spec.bind(&BTreeMap::new()).map_err(|error| error.to_string())
}

fn sizes(spec: &BoundSpec, m: u64, n: u64) -> Result<SizeValues, String> {
    let free = BTreeMap::from([("m".to_owned(), m), ("n".to_owned(), n)]);
    spec.size_values(&free).map_err(|error| error.to_string())
}

fn main() -> Result<(), String> {
    let arguments = arguments()?;
    let started = Instant::now();
    let shapes: Vec<_> =
        PEERS.iter().filter(|(_, n, _, _)| arguments.only.is_none_or(|only| only == *n)).copied().collect();
    {
        let gpu = Gpu::open(arguments.ordinal)?;
        let (major, minor) = gpu.capability();
        println!("{}, {}, compute capability {major}.{minor}", gpu.name(), gpu.driver());
    }
    println!(
        "{:>6} x {:<6} | {:>9} {:>6} {:>7} {:>7} | {:>9} {:>6} | {:>6} {:>5} | winner",
        "m", "n", "ms", "TB/s", "% peer", "% copy", "copy ms", "TB/s", "A/A %", "tried"
    );
    let mut report = Vec::new();
    for (position, &(m, n, ceiling, peer)) in shapes.iter().enumerate() {
        let left = arguments.seconds - started.elapsed().as_secs_f64();
        if left < 5.0 {
            println!("{m:>6} x {n:<6} | not run: {:.0} s were up", arguments.seconds);
            continue;
        }
        let share = left / (shapes.len() - position) as f64;
        let outcome = shape(&arguments, m, n, ceiling, peer, share);
        match outcome {
            Ok(entry) => report.push(entry),
            Err(message) => println!("{m:>6} x {n:<6} | failed: {message}"),
        }
        if let Some(path) = &arguments.json {
            let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
            std::fs::write(path, text).map_err(|error| format!("`{}`: {error}", path.display()))?;
        }
    }
    println!("{:.0} s in all", started.elapsed().as_secs_f64());
    Ok(())
}

/// Searches one shape, times the best ones again beside copies, prints a line and returns the raw data.
fn shape(
    arguments: &Arguments,
    m: u64,
    n: u64,
    ceiling: f64,
    peer: f64,
    seconds: f64,
) -> Result<serde_json::Value, String> {
    let started = Instant::now();
    let spec = bind("rmsnorm.toml", &RMSNORM.replace("OVER", &format!("{{ m = {m}, n = {n} }}")))?;
    let options = SearchOptions {
        budget: Budget { candidates: arguments.candidates, seconds: Some(seconds * 0.8) },
        arches: vec![Arch::Sm90],
        gpu: GpuPolicy::Require(arguments.ordinal),
        ptxas: PtxasPolicy::Find,
        ..SearchOptions::default()
    };
    let mut notes = Vec::new();
    let found = search(&spec, &options, &mut |event: &Event<'_>| match event {
        Event::Verdict { phase: Phase::Measure, record } => {
            if let Some(rejection) = &record.rejection {
                notes.push(format!("{}: {rejection}", record.id));
            }
        }
        Event::NotRun { gate, reason } => notes.push(format!("{gate} did not run: {reason}")),
        Event::Note { message } => notes.push((*message).to_owned()),
        _ => {}
    })
    .map_err(|error| error.to_string())?;
    let winner = found
        .candidates
        .iter()
        .filter(|record| record.rejection.is_none())
        .filter_map(|record| Some((record, record.measured.as_ref()?.seconds)))
        .min_by(|a, b| a.1.total_cmp(&b.1));
    let copies = time_copies(arguments, m, n, (seconds - started.elapsed().as_secs_f64()).max(2.0));
    let copy = copies.as_ref().ok().and_then(fastest);
    for note in &notes {
        println!("    {note}");
    }
    let bytes = (2 * m * n * 2) as f64;
    let (record, time) = winner.ok_or("nothing could be measured")?;
    let rate = |seconds: f64| bytes / seconds * 1e-12;
    let copy_time = copy.as_ref().map_or(f64::NAN, |(_, seconds, _)| *seconds);
    println!(
        "{m:>6} x {n:<6} | {:>9.5} {:>6.2} {:>7.1} {:>7.1} | {:>9.5} {:>6.2} | {:>6.2} {:>5} | {} (modelled {:.5} ms, {:.1} s)",
        time * 1e3,
        rate(time),
        peer / (time * 1e3) * 100.0,
        copy_time / time * 100.0,
        copy_time * 1e3,
        rate(copy_time),
        copies.as_ref().ok().and_then(|timing| timing.floor()).unwrap_or(f64::NAN) * 100.0,
        found.candidates.len(),
        record.id,
        record.modelled.as_ref().map_or(f64::NAN, |time| time.seconds * 1e3),
        started.elapsed().as_secs_f64(),
    );
    if let Err(message) = &copies {
        println!("    copies: {message}");
    }
    let copies: Vec<serde_json::Value> = copies
        .iter()
        .flat_map(|timing| &timing.candidates)
        .map(|timing| {
            serde_json::json!({
                "id": timing.id,
                "seconds": timing.outcome.as_ref().ok(),
                "refused": timing.outcome.as_ref().err().map(ToString::to_string),
                "samples": timing.samples,
                "final_samples": timing.final_samples,
            })
        })
        .collect();
    Ok(serde_json::json!({
        "m": m, "n": n, "bytes": bytes,
        "winner": record.id, "seconds": time,
        "peer_seconds": peer * 1e-3, "peer_copy_seconds": ceiling * 1e-3,
        "copy": copy.map(|(id, seconds, _)| serde_json::json!({ "id": id, "seconds": seconds })),
        "copies": copies,
        "candidates": found.candidates,
        "notes": notes,
    }))
}

fn fastest(timing: &Timing) -> Option<(String, f64, usize)> {
    timing
        .candidates
        .iter()
        .filter_map(|candidate| {
            Some((candidate.id.clone(), *candidate.outcome.as_ref().ok()?, timing.rotation.sets))
        })
        .min_by(|a, b| a.1.total_cmp(&b.1))
}

/// Plain copies of our own: 1, 2 or 4 16-byte accesses a thread, several block sizes, a grid that covers the data once.
fn time_copies(arguments: &Arguments, m: u64, n: u64, seconds: f64) -> Result<Timing, String> {
    let spec = bind("copy.toml", COPY)?;
    let sizes = sizes(&spec, m, n)?;
    let mut gpu = Gpu::open(arguments.ordinal)?;
    let copies: Vec<Candidate> = [128, 256, 512]
        .into_iter()
        .flat_map(|threads| [1, 2, 4].map(|accesses| copy_kernel(threads, accesses)))
        .collect();
    let copies: Vec<&Candidate> = copies.iter().collect();
    let options = MeasureOptions { seconds: Some(seconds), ..MeasureOptions::default() };
    Ok(time_candidates(&mut gpu, &spec, &sizes, &copies, &options)?)
}

fn copy_kernel(threads: u32, accesses: u32) -> Candidate {
    let name = format!("copy_t{threads}_a{accesses}");
    let tile = threads * accesses * 16;
    let mut body = String::new();
    for access in 0..accesses {
        let at = access * threads * 16;
        let first = 4 * access + 1;
        body.push_str(&format!(
            "    add.u64 %rd{a}, %rd4, {at};\n    setp.lt.u64 %p{p}, %rd{a}, %rd3;\n    add.u64 %rd{x}, %rd1, %rd{a};\n    \
             @%p{p} ld.global.v4.b32 {{%r{r0}, %r{r1}, %r{r2}, %r{r3}}}, [%rd{x}];\n",
            a = 10 + 3 * access,
            x = 11 + 3 * access,
            p = access + 1,
            r0 = first,
            r1 = first + 1,
            r2 = first + 2,
            r3 = first + 3,
        ));
    }
    for access in 0..accesses {
        let first = 4 * access + 1;
        body.push_str(&format!(
            "    add.u64 %rd{y}, %rd2, %rd{a};\n    @%p{p} st.global.v4.b32 [%rd{y}], {{%r{r0}, %r{r1}, %r{r2}, %r{r3}}};\n",
            a = 10 + 3 * access,
            y = 12 + 3 * access,
            p = access + 1,
            r0 = first,
            r1 = first + 1,
            r2 = first + 2,
            r3 = first + 3,
        ));
    }
    let ptx = format!(
        ".version 7.8\n.target sm_90\n.address_size 64\n\n\
         .visible .entry {name}(\n    .param .u64 x,\n    .param .u64 y,\n    .param .u64 bytes\n)\n\
         .reqntid {threads}, 1, 1\n{{\n    .reg .pred %p<8>;\n    .reg .b32 %r<32>;\n    .reg .b32 %t<4>;\n    .reg .b64 %rd<32>;\n\
         \x20   ld.param.u64 %rd1, [x];\n    ld.param.u64 %rd2, [y];\n    ld.param.u64 %rd3, [bytes];\n\
         \x20   cvta.to.global.u64 %rd1, %rd1;\n    cvta.to.global.u64 %rd2, %rd2;\n\
         \x20   mov.u32 %t1, %ctaid.x;\n    mov.u32 %t2, %tid.x;\n\
         \x20   mul.wide.u32 %rd4, %t1, {tile};\n    mul.wide.u32 %rd5, %t2, 16;\n    add.u64 %rd4, %rd4, %rd5;\n\
         {body}    ret;\n}}\n"
    );
    let bytes = SizeExpr::size("m").mul(SizeExpr::size("n")).mul(2);
    let variant = Variant {
        name: name.clone(),
        when: SizeExpr::constant(1),
        alignment: 16,
        scratch: Vec::new(),
        launches: vec![LaunchPlan {
            entry: name.clone(),
            grid: [bytes.clone().ceil_div(i64::from(tile)), SizeExpr::constant(1), SizeExpr::constant(1)],
            block: [threads, 1, 1],
            cluster: [1, 1, 1],
            shared_bytes: SizeExpr::constant(0),
            programmatic: false,
            params: vec![
                ParamPlan::pointer("x"),
                ParamPlan::pointer("y"),
                ParamPlan::Size { value: bytes, bytes: 8 },
            ],
        }],
    };
    Candidate {
        image: None,
        id: name,
        proposer: "copy",
        tunables: Tunables::new(),
        arch: Arch::Sm90,
        ptx,
        variant,
        origin: Default::default(),
    }
}
