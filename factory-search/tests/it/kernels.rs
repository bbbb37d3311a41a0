//! Hand-made specs and kernels, and small changes to them.

use std::collections::BTreeMap;
use std::path::Path;

use factory_search::{Candidate, Tunables};
use factory_spec::{Arch, BoundSpec, DType, LaunchPlan, ParamPlan, SizeExpr, Spec, Variant};

pub(crate) fn bind(text: &str) -> BoundSpec {
    bind_with(text, &[])
}

pub(crate) fn bind_with(text: &str, bindings: &[(&str, DType)]) -> BoundSpec {
    let spec = Spec::parse(Path::new("test.toml"), text)
        .unwrap_or_else(|error| panic!("the spec is valid: {error}"));
    let bindings: BTreeMap<String, DType> =
        bindings.iter().map(|(name, dtype)| ((*name).to_owned(), *dtype)).collect();
    spec.bind(&bindings).unwrap_or_else(|error| panic!("the spec binds: {error}"))
}

/// `y = x * a + 1` over one size.
pub(crate) const SCALE: &str = r#"
[kernel]
name = "scale"
[sizes]
n = { min = 1, max = 100000 }
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
name = "a"
dtype = "f32"
values = [0.75, -3.0]
[reference]
program = "y = x * a + 1"
[correct]
cases = [{ n = 1 }, { n = 255 }, { n = 256 }, { n = 257 }, { n = 1000 }]
[better]
minimize = "time"
over = [{ n = 65536 }]
[targets]
arch = ["sm_90"]
"#;

/// The honest kernel for [`SCALE`]: one element a thread. `{BEFORE}`, `{AFTER}` and `{TOP}` are places for mutations.
const SCALE_PTX: &str = "\
.version 7.8
.target sm_90
.address_size 64
{TOP}
.visible .entry kernel_scale(
    .param .u64 x,
    .param .u64 y,
    .param .f32 a,
    .param .u32 n
)
{
    .reg .pred %p<4>;
    .reg .b32 %r<12>;
    .reg .f32 %f<8>;
    .reg .b64 %rd<12>;
    .shared .align 4 .b8 tile[1024];
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
    ld.param.f32 %f1, [a];
    ld.param.u32 %r1, [n];
    cvta.to.global.u64 %rd1, %rd1;
    cvta.to.global.u64 %rd2, %rd2;
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %tid.x;
    mad.lo.s32 %r4, %r2, 256, %r3;
    mul.wide.u32 %rd3, %r4, 4;
    add.u64 %rd4, %rd1, %rd3;
    add.u64 %rd5, %rd2, %rd3;
    mov.f32 %f4, 0f3f800000;
    setp.ge.u32 %p1, %r4, %r1;
    {BEFORE}
    @%p1 bra done;
    ld.global.f32 %f2, [%rd4];
    fma.rn.f32 %f3, %f2, %f1, %f4;
    {AFTER}
    st.global.f32 [%rd5], %f3;
done:
    ret;
}
";

/// The honest kernel's PTX with text put at its places.
pub(crate) fn scale_ptx(top: &str, before: &str, after: &str) -> String {
    SCALE_PTX.replace("{TOP}", top).replace("{BEFORE}", before).replace("{AFTER}", after)
}

/// A candidate for [`SCALE`].
pub(crate) fn scale(ptx: String) -> Candidate {
    let launch = LaunchPlan {
        entry: "kernel_scale".to_owned(),
        grid: [SizeExpr::size("n").ceil_div(256), SizeExpr::constant(1), SizeExpr::constant(1)],
        block: [256, 1, 1],
        cluster: [1, 1, 1],
        shared_bytes: SizeExpr::constant(0),
        programmatic: false,
        params: vec![
            ParamPlan::pointer("x"),
            ParamPlan::pointer("y"),
            ParamPlan::scalar("a"),
            ParamPlan::Size { value: SizeExpr::size("n"), bytes: 4 },
        ],
    };
    candidate("scale", ptx, launch)
}

/// A candidate of hand-made PTX with one launch, for all sizes and tensors that begin at 4 bytes.
pub(crate) fn candidate(name: &str, ptx: String, launch: LaunchPlan) -> Candidate {
    Candidate {
        image: None,
        id: name.to_owned(),
        proposer: "test",
        origin: Default::default(),
        tunables: Tunables::new(),
        arch: Arch::Sm90,
        ptx,
        variant: Variant {
            name: name.to_owned(),
            when: SizeExpr::constant(1),
            alignment: 4,
            scratch: Vec::new(),
            launches: vec![launch],
        },
    }
}

/// The honest candidate.
pub(crate) fn honest() -> Candidate {
    scale(scale_ptx("", "", ""))
}
