//! Each gate refuses what it should, for the reason it should, and lets the honest twin pass.

use factory_search::cases::Cases;
use factory_search::gates::machine::MachineGate;
use factory_search::gates::{self, Subject};
use factory_search::{Candidate, Gate, Reason, Rejection, Verdict};
use factory_spec::{BoundSpec, SizeExpr};

use crate::kernels::{SCALE, bind, honest, scale, scale_ptx};

/// Runs the gates that need nothing, as a search does.
fn judge(spec: &BoundSpec, candidate: &Candidate) -> Result<u32, Rejection> {
    let subject = Subject::from(candidate);
    let module = gates::parse::parse(spec, &subject)?;
    gates::policy::policy(&module, &spec.better.allow)?;
    let cases = Cases::draw(spec, 7, &spec.better.over);
    let gate = MachineGate::new(spec, subject, &module, 7)?;
    gate.run_all(&cases, &cases.served(spec, &candidate.variant), 1)
}

fn refusal(candidate: &Candidate) -> Rejection {
    let spec = bind(SCALE);
    match judge(&spec, candidate) {
        Err(rejection) => rejection,
        Ok(cases) => panic!("it passed {cases} cases"),
    }
}

fn with(top: &str, before: &str, after: &str) -> Candidate {
    scale(scale_ptx(top, before, after))
}

#[test]
fn the_honest_kernel_passes_every_case() {
    let cases = judge(&bind(SCALE), &honest()).unwrap_or_else(|rejection| panic!("{rejection}"));
    assert!(cases >= 5, "{cases}");
}

#[test]
fn honest_uses_of_suspicious_things_pass() {
    let spec = bind(SCALE);
    // A declared constant table of a few coefficients, an L2 policy that evicts first, a shared tile with its barrier.
    let constants = with(
        ".const .align 4 .f32 one[1] = {0f3f800000};",
        "",
        "ld.const.f32 %f5, [one];\n    fma.rn.f32 %f3, %f2, %f1, %f5;",
    );
    judge(&spec, &constants).unwrap_or_else(|rejection| panic!("{rejection}"));
    let policy = with(
        "",
        "createpolicy.fractional.L2::evict_first.b64 %rd9, 1.0;",
        "ld.global.L2::cache_hint.f32 %f6, [%rd4], %rd9;",
    );
    judge(&spec, &policy).unwrap_or_else(|rejection| panic!("{rejection}"));
    let tile = with(
        "",
        "shl.b32 %r5, %r3, 2;\n    mov.u32 %r6, tile;\n    add.u32 %r7, %r6, %r5;\n    st.shared.f32 [%r7], %f4;\n    bar.sync 0;\n    \
         xor.b32 %r8, %r5, 1020;\n    add.u32 %r8, %r6, %r8;\n    ld.shared.f32 %f4, [%r8];",
        "",
    );
    judge(&spec, &tile).unwrap_or_else(|rejection| panic!("{rejection}"));
}

#[test]
fn parse_refuses_what_disagrees_with_the_plan() {
    let parse = |candidate: &Candidate| {
        let rejection = refusal(candidate);
        assert_eq!(rejection.gate, Gate::Parse, "{rejection}");
        rejection.reason
    };
    assert!(matches!(parse(&scale("no ptx at all".to_owned())), Reason::NotPtx { .. }));
    assert!(matches!(parse(&with("", "frobnicate.u32 %r5, %r6;", "")), Reason::NotPtx { line: 30.., .. }));

    let mut other = honest();
    other.variant.launches[0].entry = "kernel_other".to_owned();
    assert!(matches!(parse(&other), Reason::EntryMissing { .. }));

    let idle = with(".visible .entry idle()\n{\n    ret;\n}", "", "");
    assert!(matches!(parse(&idle), Reason::EntryUnused { .. }));

    let mut fewer = honest();
    fewer.variant.launches[0].params.pop();
    assert!(matches!(parse(&fewer), Reason::Parameter { index: 3, .. }));

    let narrow = scale(scale_ptx("", "", "").replace(".param .u64 y", ".param .u32 y"));
    assert!(matches!(parse(&narrow), Reason::Parameter { index: 1, .. } | Reason::NotPtx { .. }));

    let mut swapped = honest();
    swapped.variant.launches[0].params.swap(1, 2);
    assert!(matches!(parse(&swapped), Reason::Parameter { index: 1, .. }));

    let target = scale(scale_ptx("", "", "").replace("sm_90", "sm_80"));
    assert!(matches!(parse(&target), Reason::Header { directive, .. } if directive == ".target"));
    let version = scale(scale_ptx("", "", "").replace(".version 7.8", ".version 9.3"));
    assert!(match parse(&version) {
        Reason::Header { directive, .. } => directive == ".version",
        other => matches!(other, Reason::NotPtx { .. }),
    });

    let mut large = honest();
    large.variant.launches[0].block = [2048, 1, 1];
    assert!(matches!(parse(&large), Reason::LaunchLimit { .. }));
    let required = scale(scale_ptx("", "", "").replace(")\n{", ")\n.reqntid 128\n{"));
    assert!(matches!(parse(&required), Reason::LaunchLimit { .. }));
}

/// A policy that whoever calls a function passes is none that is known.
#[test]
fn a_policy_does_not_come_from_a_caller() {
    let function = ".func keep(.reg .b64 policy, .reg .b64 at, .reg .pred never)\n{\n    .reg .f32 %g<2>;\n    \
                    createpolicy.fractional.L2::evict_first.b64 policy, 1.0;\n    \
                    ld.global.L2::cache_hint.f32 %g1, [at], policy;\n    ret;\n}";
    let rejection = refusal(&with(function, "", ""));
    assert_eq!(rejection.gate, Gate::Policy, "{rejection}");
    assert!(rejection.to_string().contains("does not come from `createpolicy`"), "{rejection}");
}

/// What is read may stay in the L2 where the spec says so, in one way alone; what is written may not.
#[test]
fn reads_that_stay_in_the_l2_are_for_specs_that_allow_them() {
    const LAST: &str = "createpolicy.fractional.L2::evict_last.b64 %rd9, 1.0;";
    const READS: &str = "ld.global.L2::cache_hint.f32 %f6, [%rd4], %rd9;";
    let spec = bind(&SCALE.replace("minimize = \"time\"", "allow = [\"l2_evict_last\"]"));
    judge(&spec, &with("", LAST, READS)).unwrap_or_else(|rejection| panic!("{rejection}"));
    let rejection = judge(&bind(SCALE), &with("", LAST, READS)).expect_err("the spec does not allow it");
    assert!(rejection.to_string().contains("across launches"), "{rejection}");
    let half = "createpolicy.fractional.L2::evict_first.b64 %rd9, 1.0;\n    ";
    let rows = [
        (LAST, "st.global.L2::cache_hint.f32 [%rd5], %f3, %rd9;", "keeps what it writes"),
        // Two policies in one register: what it holds is not told.
        (&format!("{half}{LAST}"), "st.global.L2::cache_hint.f32 [%rd5], %f3, %rd9;", "keeps what it writes"),
        (
            LAST,
            "cp.async.bulk.global.shared::cta.bulk_group.L2::cache_hint [%rd5], [%r6], 16, %rd9;",
            "keeps what",
        ),
        (
            LAST,
            "cp.reduce.async.bulk.global.shared::cta.bulk_group.L2::cache_hint.add.u32 [%rd5], [%r6], 16, %rd9;",
            "keeps what",
        ),
        (LAST, "red.global.add.L2::cache_hint.f32 [%rd5], %f3, %rd9;", "keeps what"),
        // What a register holds is not known where it has two names, or a guard may leave it as it was.
        (
            ".reg .v2 .b64 %v;\n    createpolicy.fractional.L2::evict_first.b64 %v.r, 1.0;\n    \
             createpolicy.fractional.L2::evict_last.b64 %v.x, 1.0;",
            "st.global.L2::cache_hint.f32 [%rd5], %f3, %v.r;",
            "does not come from",
        ),
        ("@%p1 createpolicy.fractional.L2::evict_last.b64 %rd9, 1.0;", READS, "does not come from"),
        ("createpolicy.range.global.L2::evict_last.b64 %rd9, [%rd4], 4, 4;", READS, "across launches"),
        ("prefetch.global.L2::evict_last [%rd4];", "", "warm a cache"),
        ("mov.u64 %rd9, 0x14f0000000000000;", READS, "createpolicy"),
    ];
    for (before, after, words) in rows {
        // Bulk copies are younger than the rest of the text.
        let text = scale_ptx("", before, after).replace(".version 7.8", ".version 8.0");
        let rejection = judge(&spec, &scale(text)).expect_err("it is not allowed");
        assert_eq!(rejection.gate, Gate::Policy, "{before} {after}: {rejection}");
        assert!(rejection.to_string().contains(words), "{before} {after}: {rejection}");
    }
}

#[test]
fn policy_refuses_what_only_a_cheat_needs() {
    // What, where it stands, and a word of the reason.
    let rows: &[(&str, &str, &str, &str)] = &[
        (".global .align 4 .u32 counter;", "", "", "outlives a launch"),
        (".visible .global .align 4 .f32 kept[16];", "", "", "outlives a launch"),
        (".const .align 4 .f32 answers[100] = {1.0};", "", "", "more than 256 bytes"),
        (".const .align 4 .f32 from_host[4];", "", "", "from outside"),
        (".extern .func (.param .b32 r) vprintf (.param .b64 f, .param .b64 v);", "", "", "not defined"),
        ("", "mov.u64 %rd9, %clock64;", "", "tells the time"),
        ("", "mov.u32 %r9, %clock;", "", "tells the time"),
        ("", "mov.u64 %rd9, %globaltimer;", "", "tells the time"),
        ("", "mov.u64 %rd9, %gridid;", "", "one launch from another"),
        ("", "mov.u32 %r9, %smid;", "", "where on the device"),
        ("", "mov.u32 %r9, %warpid;", "", "where on the device"),
        ("", "mov.u32 %r9, %envreg3;", "", "outside the plan"),
        ("", "mov.u32 %r9, %pm0;", "", "outside the plan"),
        ("", "@%p2 trap;", "", "nothing to stop for"),
        ("", "brkpt;", "", "debugger"),
        ("", "pmevent 1;", "", "profiler"),
        ("", "griddepcontrol.launch_dependents;", "", "past the end"),
        ("", "nanosleep.u32 100;", "", "time to pass"),
        ("", "prefetch.global.L2 [%rd4];", "", "warm a cache"),
        ("", "createpolicy.fractional.L2::evict_last.b64 %rd9, 1.0;", "", "across launches"),
        (
            "",
            "mov.u64 %rd9, 0x1000000000000000;",
            "ld.global.L2::cache_hint.f32 %f2, [%rd4], %rd9;",
            "createpolicy",
        ),
        ("", "ld.global.u32 %r9, [4096];", "", "by a number"),
        ("", "ld.param.u32 %r9, [n+4];", "", "beyond the parameter"),
        ("", "mov.u64 %rd9, x;\n    ld.param.u32 %r9, [%rd9];", "", "address of a parameter"),
    ];
    for (top, before, after, words) in rows {
        let rejection = refusal(&with(top, before, after));
        let text = rejection.to_string();
        let what = format!("{top}{before}{after}");
        assert_eq!(rejection.gate, Gate::Policy, "{what}: {text}");
        assert_eq!(rejection.verdict, Verdict::Gaming, "{what}: {text}");
        assert!(text.contains(words), "{what}: {text}");
    }
}

#[test]
fn the_machine_refuses_wrong_and_unsafe_kernels() {
    let machine = |candidate: &Candidate| {
        let rejection = refusal(candidate);
        assert_eq!(rejection.gate, Gate::Machine, "{rejection}");
        rejection
    };
    let fault = |candidate: &Candidate, kind: &str| {
        let rejection = machine(candidate);
        assert_eq!(rejection.verdict, Verdict::Unsafe, "{rejection}");
        assert!(
            matches!(&rejection.reason, Reason::Fault { kind: found, .. } if found == kind),
            "{rejection}"
        );
    };
    // A wrong answer, everywhere and in one element.
    let wrong = machine(&with("", "", "add.f32 %f3, %f3, %f4;"));
    assert!(matches!(wrong.reason, Reason::Mismatch { .. }), "{wrong}");
    let one = machine(&with("", "", "setp.eq.u32 %p2, %r4, 253;\n    @%p2 mov.f32 %f3, 0f00000000;"));
    assert!(matches!(one.reason, Reason::Mismatch { .. }), "{one}");
    assert_eq!(one.verdict, Verdict::Wrong);
    // Nothing written, and the tail not written.
    let empty = machine(&with("", "ret;", ""));
    assert!(matches!(empty.reason, Reason::Unwritten { byte: 0, .. }), "{empty}");
    let tail = machine(&with("", "and.b32 %r9, %r1, 0xffffff00;\n    setp.ge.u32 %p1, %r4, %r9;", ""));
    assert!(matches!(tail.reason, Reason::Unwritten { .. }), "{tail}");
    // Half of the grid.
    let mut half = honest();
    half.variant.launches[0].grid[0] = SizeExpr::size("n").ceil_div(512);
    assert!(matches!(machine(&half).reason, Reason::Unwritten { .. }));
    // Beyond the end, either way; an input written; shared memory read before anybody wrote it; a missing barrier; a
    // barrier that not all reach; no end.
    fault(&with("", "ld.global.f32 %f5, [%rd4+4096];", ""), "out_of_bounds");
    fault(&with("", "", "st.global.f32 [%rd5+65536], %f3;"), "out_of_bounds");
    fault(&with("", "", "st.global.f32 [%rd4], %f4;"), "write_to_input");
    fault(
        &with("", "mov.u32 %r6, tile;\n    ld.shared.f32 %f5, [%r6];\n    add.f32 %f4, %f4, %f5;", ""),
        "uninitialised",
    );
    fault(
        &with(
            "",
            "shl.b32 %r5, %r3, 2;\n    mov.u32 %r6, tile;\n    add.u32 %r7, %r6, %r5;\n    st.shared.f32 [%r7], %f4;\n    \
             bar.sync 0;\n    st.shared.f32 [%r7], %f4;\n    xor.b32 %r8, %r5, 512;\n    add.u32 %r8, %r6, %r8;\n    ld.shared.f32 %f4, [%r8];",
            "",
        ),
        "shared_race",
    );
    fault(
        &with("", "again:\n    setp.lt.u32 %p2, %r1, 2000000000;\n    @%p2 bra again;", ""),
        "budget_exceeded",
    );
}

#[test]
fn a_candidate_that_serves_nothing_has_not_passed() {
    let mut nothing = honest();
    nothing.variant.when = SizeExpr::size("n").gt(1_000_000_000);
    let rejection = refusal(&nothing);
    assert!(matches!(rejection.reason, Reason::NoCase { .. }), "{rejection}");
    assert_ne!(rejection.verdict, Verdict::Pass);
}

#[test]
fn a_branch_on_a_size_between_the_drawn_ones_is_still_seen_at_the_timed_size() {
    // Right below 4096 elements, wrong above: the cases near `better.over` are there to see it.
    let rejection = refusal(&with("", "setp.gt.u32 %p2, %r1, 4096;\n    @%p2 mov.f32 %f4, 0f40000000;", ""));
    assert!(matches!(rejection.reason, Reason::Mismatch { .. }), "{rejection}");
}
