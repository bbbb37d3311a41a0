//! What is counted: sectors, passes over banks, divergence, waiting, and where lines came from.

use factory_ptx::machine::{Class, Kernel, Launch, Memory, Options, Report, run};

const HEAD: &str = ".version 8.0\n.target sm_90\n.address_size 64\n";

/// Runs an entry `k` that takes one buffer of 64 KiB.
fn report(body: &str, grid: u32, block: u32) -> Report {
    let text = format!(
        "{HEAD}.visible .entry k(.param .u64 p)\n{{\n.reg .pred %p<4>; .reg .b32 %r<16>; .reg .b64 %rd<16>; .reg .f32 %f<8>;\n\
         .shared .align 16 .b8 s[32768];\n\
         ld.param.u64 %rd1, [p]; mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mov.u32 %r3, s;\n{body}\nret;\n}}\n"
    );
    let module = factory_ptx::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let kernel = Kernel::new(&module, "k").unwrap_or_else(|error| panic!("{error}"));
    let mut bytes = vec![0u8; 65536];
    let mut memory = Memory::new();
    let params = memory.inout("p", &mut bytes).to_le_bytes().to_vec();
    let launch = Launch::new([grid, 1, 1], [block, 1, 1], params);
    let options = Options { traffic: true, ..Options::default() };
    run(&kernel, &launch, &mut memory, &options).unwrap_or_else(|error| panic!("{error}"))
}

/// Stores of `word` from each of 32 lanes, `stride` bytes apart: passes and those beyond the least.
fn banks(stride: u32, word: &str, value: &str) -> (u64, u64) {
    let body = format!(
        "mul.lo.u32 %r4, %r1, {stride}; add.u32 %r4, %r4, %r3; mov.f32 %f1, 0f00000000; mov.f32 %f2, %f1;\n\
         mov.f32 %f3, %f1; mov.f32 %f4, %f1;\nst.shared.{word} [%r4], {value};"
    );
    let counters = report(&body, 1, 32).counters;
    (counters.shared_passes, counters.shared_bank_conflicts)
}

#[test]
fn passes_follow_the_width_of_the_access() {
    assert_eq!(banks(4, "f32", "%f1"), (1, 0));
    assert_eq!(banks(8, "f32", "%f1"), (2, 1));
    assert_eq!(banks(128, "f32", "%f1"), (32, 31));
    assert_eq!(banks(8, "v2.f32", "{%f1, %f2}"), (2, 0));
    assert_eq!(banks(16, "v2.f32", "{%f1, %f2}"), (4, 2));
    assert_eq!(banks(16, "v4.f32", "{%f1, %f2, %f3, %f4}"), (4, 0));
    // 8 lanes that lie 80 bytes apart touch every bank once.
    assert_eq!(banks(80, "v4.f32", "{%f1, %f2, %f3, %f4}"), (4, 0));
    assert_eq!(banks(128, "v4.f32", "{%f1, %f2, %f3, %f4}"), (32, 28));
}

#[test]
fn one_address_for_all_lanes_takes_one_pass() {
    let counters = report(
        "mov.f32 %f1, 0f00000000;\nst.shared.f32 [%r3], %f1;\nbar.warp.sync 0xffffffff;\nld.shared.f32 %f2, [%r3];",
        1,
        1,
    )
    .counters;
    assert_eq!((counters.shared_passes, counters.shared_bank_conflicts), (2, 0));
}

#[test]
fn sectors_are_distinct_for_blocks_and_launches() {
    // Each of two blocks of 64 threads loads the same 256 bytes twice.
    let body = "mul.wide.u32 %rd2, %r1, 4; add.u64 %rd3, %rd1, %rd2;\nld.global.f32 %f1, [%rd3];\nld.global.f32 %f2, [%rd3];";
    let counters = report(body, 2, 64).counters;
    assert_eq!(counters.global_load_sectors_requested, 32);
    assert_eq!(counters.block_load_sectors, 16);
    assert_eq!(counters.launch_load_sectors, 8);
    assert_eq!(counters.block_store_sectors, 0);
}

#[test]
fn lines_carry_what_their_instructions_did() {
    let report = report(
        "mul.wide.u32 %rd2, %r1, 32; add.u64 %rd3, %rd1, %rd2;\nld.global.f32 %f1, [%rd3];\n\
         setp.lt.u32 %p1, %r1, 3;\n@%p1 bra over;\nadd.f32 %f1, %f1, %f1;\nover:",
        1,
        32,
    );
    let load = report.lines.iter().find(|line| line.traffic.global_bytes > 0).expect("a load is counted");
    assert_eq!((load.traffic.sectors_requested, load.traffic.sectors_needed), (32, 4));
    assert_eq!(report.lines.iter().map(|line| line.traffic.divergent).sum::<u64>(), 1);
    assert_eq!(report.counters.divergent_branches, 1);
    assert_eq!(report.counters.class(Class::GlobalLoad).thread, 32);
    assert_eq!(report.sources(), []);
}

#[test]
fn early_warps_wait_for_late_ones() {
    // The second warp goes round 100 times before it comes.
    let body = "setp.lt.u32 %p1, %r1, 32; mov.u32 %r4, 0;\n@%p1 bra there;\n\
                again: add.u32 %r4, %r4, 1; setp.lt.u32 %p2, %r4, 100;\n@%p2 bra again;\nthere:\nbar.sync 0;";
    let waited = report(body, 1, 64).counters.waited;
    assert_eq!(waited, 300);
    assert_eq!(report("bar.sync 0;", 1, 256).counters.waited, 0);
}

#[test]
fn lines_name_the_source_that_they_came_from() {
    let text = format!(
        "{HEAD}.visible .entry k()\n{{\n.reg .b32 %r<4>;\n.loc 1 12 3\nmov.u32 %r1, 1;\nadd.u32 %r2, %r1, 1;\n\
         .loc 2 7 9, function_name $L__info_string0, inlined_at 1 13 5\nadd.u32 %r3, %r2, 1;\n.loc 1 14 1\nret;\n}}\n\
         .file 1 \"scale.cu\"\n.file 2 \"helper.cuh\"\n\
         .section .debug_str\n{{\n$L__info_string0:\n.b8 102,0\n}}\n"
    );
    let module = factory_ptx::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let kernel = Kernel::new(&module, "k").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(kernel.source(8).map(ToString::to_string).as_deref(), Some("scale.cu:12"));
    let inlined = kernel.source(11).map(ToString::to_string);
    assert_eq!(inlined.as_deref(), Some("helper.cuh:7 (inlined at scale.cu:13)"));
    assert_eq!(kernel.source(4), None);
    let launch = Launch::new([1, 1, 1], [32, 1, 1], Vec::new());
    let report = run(&kernel, &launch, &mut Memory::new(), &Options::default()).expect("it runs");
    let sources: Vec<(String, u64)> =
        report.sources().iter().map(|(source, line)| (source.to_string(), line.count.warp)).collect();
    assert_eq!(
        sources,
        [("helper.cuh:7", 1), ("scale.cu:12", 2), ("scale.cu:14", 1)].map(|(s, n)| (s.to_owned(), n))
    );
}
