//! Kernels that want to exhaust the machine: each ends with an error, or runs, within its budget and bounded memory.

use std::time::{Duration, Instant};

use factory_ptx::fuzz::{decode_any, parse_any, run_any};
use factory_ptx::machine::{Kernel, Launch, Memory, Options, run};
use factory_ptx::parse;

const HEAD: &str = ".version 9.0\n.target sm_90a\n.address_size 64\n";
/// What a launch of one of these may take, everything that runs beside it included.
const SECONDS: u64 = 20;
const MEBIBYTES: u64 = 1536;

/// The most memory that this process ever had, where the system tells.
fn peak_mebibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) >> 10
}

/// Parses and runs the entry `k`, without parameters; what became of it, in words (empty when it ran).
fn launch(text: &str, grid: [u32; 3], block: [u32; 3], cluster: [u32; 3], shared_bytes: u32) -> String {
    let start = Instant::now();
    let outcome = (|| {
        let module = parse(text).map_err(|errors| errors.to_string())?;
        let kernel = Kernel::new(&module, "k").map_err(|error| error.to_string())?;
        let launch = Launch { grid, block, cluster, shared_bytes, params: vec![0; kernel.params_size()] };
        let options = Options { instruction_budget: 100_000, ..Options::default() };
        run(&kernel, &launch, &mut Memory::new(), &options).map(drop).map_err(|stop| stop.to_string())
    })();
    assert!(start.elapsed() < Duration::from_secs(SECONDS), "took {:?}", start.elapsed());
    assert!(peak_mebibytes() < MEBIBYTES, "{} MiB", peak_mebibytes());
    outcome.err().unwrap_or_default()
}

fn alone(text: &str) -> String {
    launch(text, [1; 3], [32, 1, 1], [1; 3], 0)
}

fn body(statements: &str) -> String {
    format!("{HEAD}.visible .entry k() {{\n{statements}\nret;\n}}\n")
}

#[test]
fn absurd_registers() {
    let many = "add.u32 %r16000000, %r15999999, %r1;";
    let outcome = alone(&body(&format!(".reg .b32 %r<16000001>;\n{many}")));
    assert!(
        outcome.is_empty() || outcome.contains("registers") || outcome.contains("nobody wrote"),
        "{outcome}"
    );
    // As many as a warp can just hold, for 16 blocks of 1024 threads.
    let used: String = (0..20_000).map(|i| format!("mov.u32 %r{i}, {i};\n")).collect();
    let outcome =
        launch(&body(&format!(".reg .b32 %r<20000>;\n{used}")), [16, 1, 1], [1024, 1, 1], [16, 1, 1], 0);
    assert!(outcome.contains("allows"), "{outcome}");
}

#[test]
fn huge_variables() {
    for space in ["shared", "local", "global", "const"] {
        for size in ["1099511627776", "18446744073709551615", "4294967295", "2147483648"] {
            let name = format!(".{space} .align 16 .b8 big[{size}];");
            let use_it = ".reg .b64 %rd<2>;\nmov.u64 %rd1, big;\nst.u32 [%rd1], 1;";
            for text in [
                format!("{HEAD}{name}\n.visible .entry k() {{ {use_it} ret; }}"),
                body(&format!("{name}\n{use_it}")),
            ] {
                assert!(!alone(&text).is_empty(), "{space} {size}");
            }
        }
    }
    let outcome = alone(&format!(
        "{HEAD}.visible .entry k(.param .align 8 .b8 p[1073741824]) {{ .reg .b32 %r<2>; ld.param.u32 %r1, [p]; ret; }}"
    ));
    assert!(!outcome.is_empty());
    assert!(!launch(&body(""), [1; 3], [32, 1, 1], [1; 3], u32::MAX).is_empty());
}

#[test]
fn endless_loops_and_recursion() {
    for statements in [
        "L: bra L;",
        ".reg .pred %p<2>;\nsetp.eq.u32 %p1, 1, 2;\nL: @%p1 ret;\nbra L;",
        "L: bar.sync 0;\nbra L;",
        "L: nanosleep.u32 1000000;\nbra L;",
        "L: barrier.cluster.arrive;\nbarrier.cluster.wait;\nbra L;",
        "L: wgmma.fence.sync.aligned;\nwgmma.commit_group.sync.aligned;\nbra L;",
        "L: cp.async.commit_group;\ncp.async.bulk.commit_group;\nbra L;",
        ".shared .align 8 .b64 m;\n.reg .b64 %rd<2>;\nmbarrier.init.shared.b64 [m], 1;\nL: mbarrier.arrive.shared.b64 %rd1, [m];\nbra L;",
    ] {
        let outcome = launch(&body(statements), [2, 1, 1], [128, 1, 1], [2, 1, 1], 0);
        assert!(outcome.contains("instructions") || outcome.contains("mbarrier"), "{statements}: {outcome}");
    }
    let recursive = |frame: &str| {
        format!(
            "{HEAD}.func f();\n.func f() {{ {frame} call f, (); ret; }}\n.visible .entry k() {{ call f, (); ret; }}\n"
        )
    };
    assert!(!alone(&recursive("")).is_empty());
    let registers = ".reg .b32 %r<4000>;\nadd.u32 %r3999, %r1, %r2;";
    assert!(!alone(&recursive(registers)).is_empty());
    let frame = ".local .align 16 .b8 frame[400000];\n.reg .b64 %rd<2>;\nmov.u64 %rd1, frame;\nst.local.u32 [%rd1+399996], 1;";
    assert!(!launch(&recursive(frame), [1; 3], [1024, 1, 1], [1; 3], 0).is_empty());
}

#[test]
fn giant_grids_end_with_the_budget() {
    let outcome = launch(&body(""), [2_147_483_647, 65_535, 65_535], [1, 1, 1], [1; 3], 0);
    assert!(outcome.contains("instructions"), "{outcome}");
    assert!(!launch(&body(""), [u32::MAX; 3], [u32::MAX; 3], [u32::MAX; 3], 0).is_empty());
    assert!(!launch(&body(""), [0; 3], [0; 3], [0; 3], 0).is_empty());
}

#[test]
fn giant_operands_and_tables() {
    let elements = vec!["%r1"; 100_000].join(", ");
    assert!(!alone(&body(&format!(".reg .b32 %r<4>;\nmov.b32 {{{elements}}}, %r2;"))).is_empty());
    assert!(!alone(&body(&format!(".reg .b32 %r<4>;\nld.shared.v4.u32 {{{elements}}}, [0];"))).is_empty());
    let targets = vec!["L"; 200_000].join(", ");
    let table = format!(
        ".reg .b32 %r<2>;\nmov.u32 %r1, 199999;\nT: .branchtargets {targets};\nbrx.idx %r1, T;\nL: mov.u32 %r1, 0;"
    );
    assert_eq!(alone(&body(&table)), "");
    let arguments = vec!["p"; 50_000].join(", ");
    let call = format!("{{ .param .b32 p;\nst.param.b32 [p], 1;\ncall f, ({arguments}); }}");
    let function = ".func f(.param .b32 a) { ret; }\n";
    assert!(!alone(&format!("{HEAD}{function}.visible .entry k() {{ {call} ret; }}")).is_empty());
}

#[test]
fn long_files() {
    let labels: String = (0..1_000_000).map(|i| format!("L{i}:")).collect();
    assert_eq!(alone(&body(&labels)), "");
    let lines = "add.u32 %r1, %r2, 1;\n".repeat(50_000);
    assert_eq!(alone(&body(&format!(".reg .b32 %r<3>;\nmov.u32 %r2, 5;\n{lines}"))), "");
    let name = "n".repeat(4_000_000);
    assert_eq!(alone(&body(&format!(".reg .b32 {name};\nmov.u32 {name}, 1;"))), "");
    let values = "7,".repeat(400_000);
    assert_eq!(
        alone(&format!("{HEAD}.global .b32 x[] = {{{values}7}};\n.visible .entry k() {{ ret; }}")),
        ""
    );
    let functions: String = (0..20_000).map(|i| format!(".func f{i}() {{ ret; }}\n")).collect();
    assert_eq!(alone(&format!("{HEAD}{functions}.visible .entry k() {{ call f19999, (); ret; }}")), "");
    let nested = format!("{}ret;{}", "{ .reg .b32 %x; mov.u32 %x, 1; ".repeat(30), "}".repeat(30));
    assert_eq!(alone(&body(&nested)), "");
}

#[test]
fn bytes_that_are_no_text() {
    let mut bytes = body("mov.u32 %r1, 1;").into_bytes();
    bytes[80] = 0xff;
    bytes[85] = 0;
    for bytes in [bytes, vec![0xff; 100_000], vec![0; 100_000], b"\xef\xbb\xbf.version 9.0\n".to_vec()] {
        parse_any(&bytes);
        assert_eq!(decode_any(&bytes), 0);
        assert_eq!(run_any(&bytes), 0);
    }
}
