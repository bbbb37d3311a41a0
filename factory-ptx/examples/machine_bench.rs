//! Thread-instructions a second that the machine runs, on a row-wise RMS normalisation; and what its tensor cores do.
//!
//! `cargo run --release -p factory-ptx --example machine_bench [rows] [columns]`

use std::fmt::Write;
use std::time::Instant;

use factory_ptx::machine::{Checks, Kernel, Launch, Memory, Options, run};

/// One row a block of 256 threads: a strided loop of 16-byte loads, a shuffle reduction, a second pass.
fn source() -> String {
    let mut text = String::from(
        ".version 7.8\n.target sm_90\n.address_size 64\n\
         .visible .entry rmsnorm(.param .u64 x, .param .u64 y, .param .u32 n)\n{\n\
         .reg .pred %p<4>; .reg .b32 %r<32>; .reg .b64 %rd<16>; .reg .f32 %f<64>;\n\
         .shared .align 4 .b8 partial[32];\n\
         ld.param.u64 %rd1, [x]; ld.param.u64 %rd2, [y]; ld.param.u32 %r1, [n];\n\
         mov.u32 %r2, %ctaid.x; mov.u32 %r3, %tid.x;\n\
         mul.wide.u32 %rd3, %r2, %r1; shl.b64 %rd3, %rd3, 2;\n\
         add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3;\n\
         mov.f32 %f0, 0f00000000; shl.b32 %r4, %r3, 2;\n\
         sum: setp.ge.u32 %p1, %r4, %r1; @%p1 bra summed;\n\
         mul.wide.u32 %rd6, %r4, 4; add.s64 %rd7, %rd4, %rd6;\n\
         ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd7];\n\
         fma.rn.f32 %f0, %f1, %f1, %f0; fma.rn.f32 %f0, %f2, %f2, %f0;\n\
         fma.rn.f32 %f0, %f3, %f3, %f0; fma.rn.f32 %f0, %f4, %f4, %f0;\n\
         add.u32 %r4, %r4, 1024; bra sum;\nsummed:\n",
    );
    for step in [16, 8, 4, 2, 1] {
        let _ = writeln!(
            text,
            "mov.b32 %r5, %f0; shfl.sync.bfly.b32 %r6, %r5, {step}, 31, 0xffffffff; mov.b32 %f5, %r6; add.f32 %f0, %f0, %f5;"
        );
    }
    text.push_str(
        "shr.u32 %r7, %r3, 5; shl.b32 %r8, %r7, 2; mov.u32 %r9, partial; add.u32 %r8, %r8, %r9;\n\
         st.shared.f32 [%r8], %f0; bar.sync 0;\n\
         ld.shared.v4.f32 {%f6, %f7, %f8, %f9}, [partial]; ld.shared.v4.f32 {%f10, %f11, %f12, %f13}, [partial+16];\n\
         add.f32 %f6, %f6, %f7; add.f32 %f8, %f8, %f9; add.f32 %f10, %f10, %f11; add.f32 %f12, %f12, %f13;\n\
         add.f32 %f6, %f6, %f8; add.f32 %f10, %f10, %f12; add.f32 %f6, %f6, %f10;\n\
         cvt.rn.f32.u32 %f14, %r1; div.rn.f32 %f6, %f6, %f14; add.f32 %f6, %f6, 0f3727c5ac; rsqrt.approx.f32 %f15, %f6;\n\
         shl.b32 %r4, %r3, 2;\n\
         scale: setp.ge.u32 %p1, %r4, %r1; @%p1 bra done;\n\
         mul.wide.u32 %rd6, %r4, 4; add.s64 %rd7, %rd4, %rd6; add.s64 %rd8, %rd5, %rd6;\n\
         ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd7];\n\
         mul.f32 %f1, %f1, %f15; mul.f32 %f2, %f2, %f15; mul.f32 %f3, %f3, %f15; mul.f32 %f4, %f4, %f15;\n\
         st.global.v4.f32 [%rd8], {%f1, %f2, %f3, %f4};\n\
         add.u32 %r4, %r4, 1024; bra scale;\ndone: ret;\n}\n",
    );
    text
}

/// Four independent `mma.sync` in a loop, on operands near one.
fn warp_products() -> String {
    let mut text = String::from(
        ".version 8.0\n.target sm_90a\n.address_size 64\n.visible .entry products(.param .u64 y, .param .u32 n)\n{\n\
         .reg .pred %p<4>; .reg .b32 %r<32>; .reg .b64 %rd<4>; .reg .f32 %f<32>;\n\
         ld.param.u64 %rd1, [y]; ld.param.u32 %r1, [n]; mov.u32 %r2, %tid.x; mul.wide.u32 %rd2, %r2, 4;\n\
         add.s64 %rd1, %rd1, %rd2; mad.lo.u32 %r3, %r2, 0x00310017, 0x2f003a01; xor.b32 %r4, %r3, 0x81018055;\n",
    );
    for register in 0..16 {
        let _ = writeln!(text, "mov.f32 %f{register}, 0f00000000;");
    }
    text.push_str("again:\n");
    for tile in 0..4 {
        let f = 4 * tile;
        let _ = writeln!(
            text,
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {{%f{f}, %f{}, %f{}, %f{}}}, {{%r3, %r4, %r4, %r3}}, {{%r3, %r4}}, \
             {{%f{f}, %f{}, %f{}, %f{}}};",
            f + 1,
            f + 2,
            f + 3,
            f + 1,
            f + 2,
            f + 3
        );
    }
    text.push_str(
        "sub.u32 %r1, %r1, 1; setp.ne.u32 %p1, %r1, 0; @%p1 bra again;\n\
         add.f32 %f0, %f0, %f4; add.f32 %f8, %f8, %f12; add.f32 %f0, %f0, %f8; st.global.f32 [%rd1], %f0; ret;\n}\n",
    );
    text
}

/// Four `wgmma.mma_async` of 128 columns in a loop, both operands in shared memory with a swizzle of 128 bytes.
fn group_products() -> String {
    let d: Vec<String> = (0..64).map(|register| format!("%f{register}")).collect();
    let d = d.join(", ");
    let mut text = String::from(
        ".version 8.0\n.target sm_90a\n.address_size 64\n.visible .entry products(.param .u64 y, .param .u32 n)\n{\n\
         .reg .pred %p<4>; .reg .b32 %r<32>; .reg .b64 %rd<32>; .reg .f32 %f<64>; .shared .align 1024 .b8 s[24576];\n\
         ld.param.u64 %rd1, [y]; ld.param.u32 %r1, [n]; mov.u32 %r2, %tid.x; mul.wide.u32 %rd2, %r2, 4;\n\
         add.s64 %rd1, %rd1, %rd2; mad.lo.u32 %r3, %r2, 0x00310017, 0x2f003a01; mov.u32 %r5, s; shl.b32 %r6, %r2, 2;\n\
         add.u32 %r6, %r6, %r5; mov.u32 %r7, 0;\n\
         fill: st.shared.b32 [%r6], %r3; xor.b32 %r3, %r3, 0x81018055; add.u32 %r6, %r6, 512; add.u32 %r7, %r7, 1;\n\
         setp.lt.u32 %p1, %r7, 48; @%p1 bra fill;\n\
         fence.proxy.async; bar.sync 0; setp.eq.u32 %p2, %r2, %r2;\n\
         cvt.u64.u32 %rd3, %r5; shr.u64 %rd3, %rd3, 4; or.b64 %rd4, %rd3, 0x4000004000010000; add.s64 %rd5, %rd4, 512;\n",
    );
    for register in 0..64 {
        let _ = writeln!(text, "mov.f32 %f{register}, 0f00000000;");
    }
    text.push_str("again: wgmma.fence.sync.aligned;\n");
    for step in 0..4 {
        let _ = writeln!(
            text,
            "add.s64 %rd6, %rd4, {0}; add.s64 %rd7, %rd5, {0};\n\
             wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {{{d}}}, %rd6, %rd7, %p2, 1, 1, 0, 0;",
            2 * step
        );
    }
    text.push_str(
        "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;\n\
         sub.u32 %r1, %r1, 1; setp.ne.u32 %p1, %r1, 0; @%p1 bra again; st.global.f32 [%rd1], %f0; ret;\n}\n",
    );
    text
}

/// Runs `steps` rounds of a program's products on one core and prints how fast.
fn products(name: &str, text: &str, steps: u32, operations: f64) -> Result<(), Box<dyn std::error::Error>> {
    let module = factory_ptx::parse(text)?;
    let kernel = Kernel::new(&module, "products")?;
    for (mode, checks) in [("bounds only", Checks::fast()), ("all checks", Checks::all())] {
        let mut y = vec![0u8; 512];
        let mut memory = Memory::new();
        let mut params = memory.output("y", &mut y).to_le_bytes().to_vec();
        params.extend(steps.to_le_bytes());
        let launch = Launch::new([1, 1, 1], [128, 1, 1], params);
        let options = Options { checks, threads: 1, ..Options::default() };
        let start = Instant::now();
        run(&kernel, &launch, &mut memory, &options)?;
        let seconds = start.elapsed().as_secs_f64();
        println!("{name}, {mode}, 1 thread: {:.2} GFLOP/s", f64::from(steps) * operations / seconds / 1e9);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let rows: usize = arguments.next().map_or(Ok(512), |word| word.parse())?;
    let columns: usize = arguments.next().map_or(Ok(4096), |word| word.parse())?;
    let module = factory_ptx::parse(&source())?;
    let kernel = Kernel::new(&module, "rmsnorm")?;
    let x: Vec<u8> = (0..rows * columns).flat_map(|i| ((i % 17) as f32 - 8.0).to_le_bytes()).collect();
    for (name, checks) in [("bounds only", Checks::fast()), ("all checks", Checks::all())] {
        for threads in [1, 2] {
            let mut y = vec![0u8; x.len()];
            let mut memory = Memory::new();
            let mut params = memory.input("x", &x).to_le_bytes().to_vec();
            params.extend(memory.output("y", &mut y).to_le_bytes());
            params.extend((columns as u32).to_le_bytes());
            let launch = Launch::new([rows as u32, 1, 1], [256, 1, 1], params);
            let options = Options { checks, threads, ..Options::default() };
            let start = Instant::now();
            let report = run(&kernel, &launch, &mut memory, &options)?;
            let seconds = start.elapsed().as_secs_f64();
            let instructions = report.counters.thread_instructions;
            println!(
                "{name}, {threads} thread(s): {instructions} thread-instructions in {:.1} ms: {:.0} million a second",
                seconds * 1e3,
                instructions as f64 / seconds / 1e6
            );
        }
    }
    products("mma.sync m16n8k16", &warp_products(), 2000, 4.0 * 4.0 * 4096.0)?;
    products("wgmma m64n128k16", &group_products(), 100, 4.0 * 2.0 * 64.0 * 128.0 * 16.0)
}
