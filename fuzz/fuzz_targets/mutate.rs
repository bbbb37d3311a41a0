//! Programs of the corpus, changed as the fuzzer's numbers say, through the machine.
#![no_main]

use factory_ptx::fuzz::{Random, mutated, run_any};

const PROGRAMS: [&str; 6] = [
    include_str!("../../factory-ptx/tests/corpus/cuda/bulk.ptx"),
    include_str!("../../factory-ptx/tests/corpus/cuda/gemm.ptx"),
    include_str!("../../factory-ptx/tests/corpus/cuda/mma.ptx"),
    include_str!("../../factory-ptx/tests/corpus/cuda/ring.ptx"),
    include_str!("../../factory-ptx/tests/corpus/cuda/scan.ptx"),
    include_str!("../../factory-ptx/tests/corpus/run/faults.ptx"),
];

libfuzzer_sys::fuzz_target!(|numbers: (u8, u8, u64)| {
    let (first, second, seed) = numbers;
    let pick = |number: u8| PROGRAMS[usize::from(number) % PROGRAMS.len()];
    run_any(&mutated(pick(first), pick(second), &mut Random::new(seed)));
});
