//! What seeds choose, and what a deadlock report says.

use factory_ptx::machine::{Fault, Kernel, Launch, Memory, Options, Stop, run};

const HEAD: &str = ".version 8.0\n.target sm_90\n.address_size 64\n";

fn execute(body: &str, grid: u32, block: u32, words: usize, seed: u64) -> Result<Vec<u32>, Box<Fault>> {
    let text = format!(
        "{HEAD}.visible .entry kernel(.param .u64 y)\n{{\n.reg .pred %p<8>; .reg .b32 %r<16>; .reg .b64 %rd<8>;\n\
         ld.param.u64 %rd1, [y];\n{body}\n}}\n"
    );
    let module = factory_ptx::parse(&text).expect("the program is well formed");
    let kernel = Kernel::new(&module, "kernel").expect("the machine runs it");
    let mut y = vec![0u8; 4 * words];
    {
        let mut memory = Memory::new();
        let params = memory.inout("y", &mut y).to_le_bytes().to_vec();
        let launch = Launch::new([grid, 1, 1], [block, 1, 1], params);
        match run(&kernel, &launch, &mut memory, &Options { seed, ..Options::default() }) {
            Ok(_) => {}
            Err(Stop::Fault(fault)) => return Err(fault),
            Err(stop) => panic!("{stop}"),
        }
    }
    Ok(y.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
}

/// Each warp takes a ticket: which one depends on the order, and seeds show it.
#[test]
fn an_order_dependent_kernel_gives_itself_away() {
    let body = "mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 31; setp.ne.u32 %p1, %r2, 0; @%p1 bra done;\n\
                atom.global.add.u32 %r3, [%rd1], 1;\n\
                shr.u32 %r4, %r1, 5; mov.u32 %r5, %ctaid.x; shl.b32 %r5, %r5, 3; add.u32 %r4, %r4, %r5;\n\
                mul.wide.u32 %rd2, %r4, 4; add.s64 %rd3, %rd1, %rd2; st.global.u32 [%rd3+4], %r3;\n\
                done: ret;";
    let mut results: Vec<Vec<u32>> =
        (0..6).map(|seed| execute(body, 4, 256, 33, seed).expect("nothing is wrong with it")).collect();
    assert_eq!(results[0][1..], (0..32).collect::<Vec<u32>>(), "seed 0 is the plain order");
    results.sort();
    results.dedup();
    assert_eq!(results.len(), 6, "every seed has an order of its own");
}

#[test]
fn a_seed_repeats_itself() {
    let body = "mov.u32 %r1, %ctaid.x; atom.global.add.u32 %r3, [%rd1], 1; mul.wide.u32 %rd2, %r1, 4;\n\
                add.s64 %rd3, %rd1, %rd2; st.global.u32 [%rd3+4], %r3; ret;";
    for seed in 0..4 {
        assert_eq!(execute(body, 16, 1, 17, seed), execute(body, 16, 1, 17, seed));
    }
}

#[test]
fn a_deadlock_report_says_who_waits_for_what() {
    let body = ".shared .align 8 .b64 full; .shared .align 8 .b64 empty;\n\
                mov.u32 %r1, %tid.x; setp.ne.u32 %p1, %r1, 0; @%p1 bra ready;\n\
                mbarrier.init.shared.b64 [full], 2; mbarrier.init.shared.b64 [empty], 1;\n\
                ready: bar.sync 0; setp.ge.u32 %p2, %r1, 32; @%p2 bra consumer;\n\
                @!%p1 mbarrier.arrive.expect_tx.shared.b64 %rd2, [full], 4096;\n\
                producing: mbarrier.try_wait.parity.shared.b64 %p3, [empty], 0; @!%p3 bra producing;\n\
                bra done;\n\
                consumer: mbarrier.try_wait.parity.shared.b64 %p3, [full], 0; @!%p3 bra consumer;\n\
                done: ret;";
    for seed in 0..8 {
        let fault = execute(body, 1, 64, 1, seed).expect_err("it cannot end");
        assert_eq!(fault.kind.name(), "deadlock");
        for part in [
            "32 threads wait for the end of phase 0 (parity 0) of the mbarrier in `full`",
            "1 of 2 arrivals and 4096 bytes are missing",
            "32 threads wait for the end of phase 0 (parity 0) of the mbarrier in `empty`",
            "1 of 1 arrivals and 0 bytes are missing",
        ] {
            assert!(fault.detail.contains(part), "seed {seed}: `{part}` is not in: {}", fault.detail);
        }
    }
}

/// Numbers by which the machine tells accesses apart come round many times here, with more host threads than any machine has
/// cores, so that some are held up between reading a number and using it.
#[test]
fn many_host_threads_invent_no_race() {
    let text = format!(
        "{HEAD}.visible .entry kernel(.param .u64 y)\n{{\n.reg .pred %p<8>; .reg .b16 %h<4>; .reg .b32 %r<16>; .reg .b64 %rd<8>;\n\
         ld.param.u64 %rd1, [y]; mov.u32 %r1, %tid.x; and.b32 %r1, %r1, 31; setp.ge.u32 %p1, %r1, 3; @%p1 bra done;\n\
         mov.u32 %r2, %ctaid.x; mov.u32 %r3, %tid.x; shr.u32 %r3, %r3, 5; mad.lo.u32 %r2, %r2, 8, %r3;\n\
         mad.lo.u32 %r2, %r2, 3, %r1; mul.wide.u32 %rd2, %r2, 2; add.s64 %rd3, %rd1, %rd2;\n\
         cvt.u16.u32 %h1, %r2; st.global.u16 [%rd3], %h1; ld.global.u16 %h2, [%rd3]; add.u16 %h2, %h2, 1;\n\
         st.global.u16 [%rd3], %h2;\ndone: ret;\n}}\n"
    );
    let module = factory_ptx::parse(&text).expect("the program is well formed");
    let kernel = Kernel::new(&module, "kernel").expect("the machine runs it");
    let blocks = 20_000;
    for seed in 0..3 {
        let mut y = vec![0u8; blocks * 8 * 3 * 2];
        let mut memory = Memory::new();
        let params = memory.inout("y", &mut y).to_le_bytes().to_vec();
        let launch = Launch::new([blocks as u32, 1, 1], [256, 1, 1], params);
        let options = Options { seed, threads: 64, ..Options::default() };
        run(&kernel, &launch, &mut memory, &options).unwrap_or_else(|stop| panic!("seed {seed}: {stop}"));
        drop(memory);
        let right =
            |(index, bytes): (usize, &[u8; 2])| u16::from_le_bytes(*bytes) == (index as u16).wrapping_add(1);
        assert!(y.as_chunks::<2>().0.iter().enumerate().all(right), "seed {seed}");
    }
}
