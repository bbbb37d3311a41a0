//! A kernel small enough to be written by hand, and sealed without a search.

use std::collections::BTreeMap;
use std::path::Path;

use factory_spec::{
    Arch, BoundSpec, CandidateCounts, Certificate, GateRecord, LaunchPlan, Outcome, ParamPlan, Plan, Sealed,
    SizeExpr, Spec, TargetPlan, Variant,
};

/// `y = x * factor`, elementwise.
pub const SPEC: &str = r#"[kernel]
name = "scale"

[sizes]
n = { min = 1, max = 65536 }

[[arg]]
name = "x"
dtype = "f32"
shape = ["n"]

[[arg]]
name = "y"
dtype = "f32"
shape = ["n"]
role = "out"

[[arg]]
name = "factor"
dtype = "f32"

[reference]
program = "y = x * factor"

[better]
over = [{ n = 1024 }]

[targets]
arch = ["sm_90"]
"#;

/// The annotated signature that fits [`SPEC`].
pub const FUNCTION: &str = r#"
#[kernel_factory(spec = "kernels/scale.toml")]
pub fn scale(x: &Tensor<f32>, y: &mut Tensor<f32>, factor: f32);
"#;

const PTX: &str = "\
.version 7.8
.target sm_90
.address_size 64

.visible .entry kernel_scale(
    .param .u64 x,
    .param .u64 y,
    .param .f32 factor,
    .param .u32 n
)
.reqntid 128, 1, 1
{
    .reg .pred %p<2>;
    .reg .b32 %r<6>;
    .reg .f32 %f<4>;
    .reg .b64 %rd<8>;

    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
    ld.param.f32 %f1, [factor];
    ld.param.u32 %r1, [n];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.u32 %r5, %r2, %r3, %r4;
    setp.ge.u32 %p1, %r5, %r1;
    @%p1 bra done;
    cvta.to.global.u64 %rd3, %rd1;
    cvta.to.global.u64 %rd4, %rd2;
    mul.wide.u32 %rd5, %r5, 4;
    add.s64 %rd6, %rd3, %rd5;
    ld.global.f32 %f2, [%rd6];
    mul.rn.f32 %f3, %f2, %f1;
    add.s64 %rd7, %rd4, %rd5;
    st.global.f32 [%rd7], %f3;
done:
    ret;
}
";

/// The spec in `text`, with every dtype variable bound to its first choice.
///
/// # Panics
/// When it is no spec: a test means to have one.
pub fn bound(text: &str) -> BoundSpec {
    let spec = Spec::parse(Path::new("fixture.toml"), text).unwrap_or_else(|errors| panic!("{errors}"));
    let bindings = spec.all_bindings().remove(0);
    spec.bind(&bindings).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A kernel with the key of `spec`, which must have the arguments of [`SPEC`]. What it computes is `x * factor`,
/// whatever the spec says; its certificate says that nothing was checked.
pub fn seal(spec: &BoundSpec) -> Sealed {
    let one = || SizeExpr::constant(1);
    let blocks = SizeExpr::parse("ceil_div(n, 128)").expect("a size expression");
    let size = SizeExpr::parse("n").expect("a size expression");
    let variant = Variant {
        name: "only".to_owned(),
        when: one(),
        alignment: 4,
        scratch: Vec::new(),
        launches: vec![LaunchPlan {
            entry: "kernel_scale".to_owned(),
            grid: [blocks, one(), one()],
            block: [128, 1, 1],
            cluster: [1, 1, 1],
            shared_bytes: SizeExpr::constant(0),
            programmatic: false,
            params: vec![
                ParamPlan::pointer("x"),
                ParamPlan::pointer("y"),
                ParamPlan::scalar("factor"),
                ParamPlan::Size { value: size, bytes: 4 },
            ],
        }],
    };
    let plan = Plan {
        schema: Plan::SCHEMA,
        targets: vec![TargetPlan { arch: Arch::Sm90, ptx: "sm_90.ptx".to_owned(), variants: vec![variant] }],
    };
    let gate = |gate: &str| GateRecord {
        gate: gate.to_owned(),
        target: None,
        outcome: Outcome::NotRun { reason: "written by hand for a test".to_owned() },
    };
    let certificate = Certificate {
        schema: Certificate::SCHEMA,
        name: spec.name.clone(),
        key: spec.key(),
        meaning: spec.meaning(),
        bindings: spec.bindings.clone(),
        spec: spec.canonical(),
        versions: BTreeMap::new(),
        seed: 0,
        candidates: CandidateCounts::default(),
        gates: vec![gate("parse"), gate("machine")],
        figures: Vec::new(),
        files: BTreeMap::new(),
    };
    Sealed::new(plan, certificate, BTreeMap::from([("sm_90.ptx".to_owned(), PTX.to_owned())]))
}
