//! Rows that lie a stride apart: what lies between them is nobody's.

use factory_search::cases::Cases;
use factory_search::gates::machine::MachineGate;
use factory_search::gates::{self, Subject};
use factory_search::generator::Space;
use factory_search::model::{PROFILED, compulsory_bytes, profile};
use factory_search::{Candidate, Gate, Reason, Rejection, Verdict};
use factory_spec::{Arch, BoundSpec, LaunchPlan, ParamPlan, SizeExpr};

use crate::kernels::{bind, candidate};

/// `y = x * a + 1` over rows with strides.
pub(crate) const ROWS: &str = r#"
[kernel]
name = "rows"
[sizes]
m = { min = 0, max = 65536 }
n = { min = 1, max = 4096 }
xs = { min = 1, max = 65536 }
ys = { min = 1, max = 65536 }
[[arg]]
name = "x"
dtype = "f32"
shape = ["m", "n"]
row_stride = "xs"
[[arg]]
name = "y"
dtype = "f32"
shape = ["m", "n"]
row_stride = "ys"
role = "out"
[[arg]]
name = "a"
dtype = "f32"
values = [0.75, -3.0]
[reference]
program = "y = x * a + 1"
[correct]
cases = [{ m = 3, n = 5, xs = 5, ys = 5 }, { m = 3, n = 5, xs = 7, ys = 9 }, { m = 1, n = 8, xs = 64, ys = 8 }]
[better]
minimize = "time"
over = [{ m = 2048, n = 1024, xs = 3072, ys = 2048 }]
[targets]
arch = ["sm_90"]
"#;

/// One element a thread. `%r6` is its row and `%r7` its column, `%rd4` where it is read and `%rd5` where it is written; `%p1` is set
/// for the last element of every row but the last, behind which a gap may lie.
const PTX: &str = "\
.version 7.8
.target sm_90
.address_size 64
.visible .entry kernel_rows(
    .param .u64 x, .param .u64 y, .param .f32 a, .param .u32 n, .param .u32 xs, .param .u32 ys, .param .u32 count
)
{
    .reg .pred %p<6>;
    .reg .b32 %r<20>;
    .reg .f32 %f<8>;
    .reg .b64 %rd<12>;
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
    ld.param.f32 %f1, [a];
    ld.param.u32 %r1, [n];
    ld.param.u32 %r2, [xs];
    ld.param.u32 %r3, [ys];
    ld.param.u32 %r4, [count];
    cvta.to.global.u64 %rd1, %rd1;
    cvta.to.global.u64 %rd2, %rd2;
    mov.u32 %r8, %ctaid.x;
    mov.u32 %r9, %tid.x;
    mad.lo.u32 %r5, %r8, 128, %r9;
    setp.ge.u32 %p0, %r5, %r4;
    @%p0 bra done;
    div.u32 %r6, %r5, %r1;
    rem.u32 %r7, %r5, %r1;
    mad.lo.u32 %r10, %r6, %r2, %r7;
    mad.lo.u32 %r11, %r6, %r3, %r7;
    mul.wide.u32 %rd3, %r10, 4;
    add.u64 %rd4, %rd1, %rd3;
    mul.wide.u32 %rd3, %r11, 4;
    add.u64 %rd5, %rd2, %rd3;
    add.u32 %r12, %r7, 1;
    setp.eq.u32 %p1, %r12, %r1;
    add.u32 %r13, %r5, 1;
    setp.lt.and.u32 %p1, %r13, %r4, %p1;
    mov.f32 %f4, 0f3f800000;
    ld.global.f32 %f2, [%rd4];
    fma.rn.f32 %f3, %f2, %f1, %f4;
    {EXTRA}
    st.global.f32 [%rd5], %f3;
done:
    ret;
}
";

/// The candidate with something more before it writes.
pub(crate) fn rows(extra: &str) -> Candidate {
    let size = |name: &str| ParamPlan::Size { value: SizeExpr::size(name), bytes: 4 };
    let count = SizeExpr::parse("m * n").expect("an expression");
    let launch = LaunchPlan {
        entry: "kernel_rows".to_owned(),
        grid: [count.clone().ceil_div(128), SizeExpr::constant(1), SizeExpr::constant(1)],
        block: [128, 1, 1],
        cluster: [1, 1, 1],
        shared_bytes: SizeExpr::constant(0),
        programmatic: false,
        params: vec![
            ParamPlan::pointer("x"),
            ParamPlan::pointer("y"),
            ParamPlan::scalar("a"),
            size("n"),
            size("xs"),
            size("ys"),
            ParamPlan::Size { value: count, bytes: 4 },
        ],
    };
    candidate("rows", PTX.replace("{EXTRA}", extra), launch)
}

/// Writes into the gap behind each row of the output, where there is one.
pub(crate) const WRITES_GAPS: &str =
    "setp.gt.and.u32 %p2, %r3, %r1, %p1;\n    @%p2 st.global.f32 [%rd5+4], %f3;";
/// The same with the bytes of guard bands.
pub(crate) const WRITES_BANDS: &str = "setp.gt.and.u32 %p2, %r3, %r1, %p1;\n    mov.b32 %f5, 0fffffffff;\n    @%p2 st.global.f32 [%rd5+4], %f5;";
/// Reads the gap behind each row of the input, and makes something of it.
pub(crate) const READS_GAPS: &str = "setp.gt.and.u32 %p2, %r2, %r1, %p1;\n    @%p2 ld.global.f32 %f5, [%rd4+4];\n    \
     @%p2 fma.rn.f32 %f3, %f5, 0f00000000, %f3;";

fn judge(spec: &BoundSpec, candidate: &Candidate) -> Result<u32, Rejection> {
    let subject = Subject::from(candidate);
    let module = gates::parse::parse(spec, &subject)?;
    gates::policy::policy(&module, &spec.better.allow)?;
    let cases = Cases::draw(spec, 7, &spec.better.over);
    let gate = MachineGate::new(spec, subject, &module, 7)?;
    gate.run_all(&cases, &cases.served(spec, &candidate.variant), 1)
}

fn refusal(extra: &str) -> Rejection {
    match judge(&bind(ROWS), &rows(extra)) {
        Err(rejection) => rejection,
        Ok(cases) => panic!("it passed {cases} cases"),
    }
}

#[test]
fn an_honest_kernel_passes_with_and_without_gaps() {
    let spec = bind(ROWS);
    let cases = judge(&spec, &rows("")).unwrap_or_else(|rejection| panic!("{rejection}"));
    assert!(cases >= 20, "{cases}");
}

#[test]
fn what_writes_between_rows_is_refused_whatever_it_writes() {
    for extra in [WRITES_GAPS, WRITES_BANDS] {
        let rejection = refusal(extra);
        assert_eq!((rejection.gate, rejection.verdict), (Gate::Machine, Verdict::Unsafe), "{rejection}");
        assert!(matches!(&rejection.reason, Reason::RowGap { output, .. } if output == "y"), "{rejection}");
    }
}

#[test]
fn what_reads_between_rows_is_refused() {
    let rejection = refusal(READS_GAPS);
    assert_eq!(rejection.gate, Gate::Machine, "{rejection}");
    assert!(
        matches!(&rejection.reason, Reason::Fault { kind, .. } if kind == "uninitialised"),
        "{rejection}"
    );
}

#[test]
fn what_takes_rows_for_dense_is_refused() {
    let mut dense = rows("");
    for param in &mut dense.variant.launches[0].params {
        if let ParamPlan::Size { value, .. } = param
            && ["xs", "ys"].iter().any(|name| *value == SizeExpr::size(*name))
        {
            *value = SizeExpr::size("n");
        }
    }
    let rejection = judge(&bind(ROWS), &dense).expect_err("rows lie elsewhere");
    assert!(
        matches!(rejection.reason, Reason::Fault { .. } | Reason::RowGap { .. } | Reason::Unwritten { .. }),
        "{rejection}"
    );
}

#[test]
fn every_row_must_be_written() {
    let rejection = refusal("setp.eq.u32 %p3, %r6, 2;\n    @%p3 bra done;");
    assert!(matches!(&rejection.reason, Reason::Unwritten { output, .. } if output == "y"), "{rejection}");
}

#[test]
fn the_generator_says_that_it_does_not_serve_them() {
    let spec = bind(ROWS);
    let Err(declined) = Space::new(&spec) else { panic!("it takes them") };
    assert_eq!(
        declined.to_string(),
        "the generator does not take this program: the rows of `x` lie a stride apart, and only dense tensors are lowered: templates \
         serve this spec"
    );
}

#[test]
fn compulsory_bytes_are_those_of_the_rows_and_the_profile_runs() {
    let spec = bind(ROWS);
    let sizes = &spec.better.over[0];
    assert_eq!(compulsory_bytes(&spec, sizes), 2.0 * 4.0 * 2048.0 * 1024.0);
    let candidate = rows("");
    let module = factory_ptx::parse(&candidate.ptx).expect("PTX");
    let profiles = profile(&spec, Arch::Sm90, &module, &candidate.variant, None, sizes, PROFILED)
        .unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(profiles.len(), 1);
}
