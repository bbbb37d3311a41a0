//! Thread-instructions a second that the machine runs, on a row-wise RMS normalisation.
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
    Ok(())
}
