//! The bodies of the fuzz targets over mutated programs of the corpus, for some seconds, always with the same seeds.

use std::time::{Duration, Instant};

use factory_ptx::fuzz::{Random, decode_any, mutated, parse_any, run_any};

const PROGRAMS: [&str; 14] = [
    include_str!("../corpus/cuda/atomics.ptx"),
    include_str!("../corpus/cuda/barriers.ptx"),
    include_str!("../corpus/cuda/bulk.ptx"),
    include_str!("../corpus/cuda/calls.ptx"),
    include_str!("../corpus/cuda/control.ptx"),
    include_str!("../corpus/cuda/copies.ptx"),
    include_str!("../corpus/cuda/gemm.ptx"),
    include_str!("../corpus/cuda/mma.ptx"),
    include_str!("../corpus/cuda/replaced.ptx"),
    include_str!("../corpus/cuda/ring.ptx"),
    include_str!("../corpus/cuda/scan.ptx"),
    include_str!("../corpus/cuda/tensors.ptx"),
    include_str!("../corpus/run/faults.ptx"),
    include_str!("../corpus/run/tcgen05_gemm.ptx"),
];

/// Runs a body over mutated programs for two seconds and at most 600 of them, but for 30 at least.
fn hammer(name: &str, seed: u64, mut body: impl FnMut(&[u8])) {
    let mut random = Random::new(seed);
    let start = Instant::now();
    let mut executions = 0;
    while (start.elapsed() < Duration::from_secs(2) && executions < 600) || executions < 30 {
        let program = PROGRAMS[random.below(PROGRAMS.len())];
        let other = PROGRAMS[random.below(PROGRAMS.len())];
        let bytes = mutated(program, other, &mut random);
        let begun = Instant::now();
        body(&bytes);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(30), "{name}: {took:?} for\n{}", String::from_utf8_lossy(&bytes));
        executions += 1;
    }
    println!("{name}: {executions} executions");
}

#[test]
fn parser_survives() {
    hammer("parse", 1, parse_any);
}

#[test]
fn decoder_survives() {
    hammer("decode", 2, |bytes| _ = decode_any(bytes));
}

#[test]
fn machine_survives() {
    hammer("run", 3, |bytes| _ = run_any(bytes));
}

#[test]
fn whole_programs_run() {
    let decoded: usize = PROGRAMS.iter().map(|program| decode_any(program.as_bytes())).sum();
    assert!(decoded > 60, "only {decoded} kernels decode: the fuzz body tests nothing");
}
