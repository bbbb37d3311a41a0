//! Hand-written kernels, sealed as the factory would seal them.

use std::collections::BTreeMap;

use factory_runtime::{Device, KernelSource};
use factory_spec::{
    Arch, CandidateCounts, Certificate, DType, Interface, InterfaceArg, Key, LaunchPlan, ParamPlan, Plan,
    Role, Scratch, Size, SizeExpr, SizeKind, TargetPlan, Variant, generated,
};

/// The places to test on: the machine with all its checks, and GPU 0 when there is one.
pub(crate) fn devices() -> Vec<Device> {
    let options = factory_runtime::MachineOptions::default().all_checks(true);
    let mut devices = vec![Device::machine(), Device::machine_with(options)];
    devices.extend(gpu());
    devices
}

/// GPU 0. A machine without one skips what is about GPUs alone, and says so.
pub(crate) fn gpu() -> Option<Device> {
    match Device::cuda(0) {
        Ok(device) => Some(device),
        Err(error) => {
            assert!(error.is_no_gpu(), "there is a GPU, but it does not work: {error}");
            eprintln!("skipped on a GPU: {error}");
            None
        }
    }
}

/// A kernel in the making.
pub(crate) struct Kernel {
    pub(crate) interface: Interface,
    pub(crate) plan: Plan,
    pub(crate) ptx: BTreeMap<String, String>,
}

pub(crate) fn expr(text: &str) -> SizeExpr {
    SizeExpr::parse(text).expect("a size expression of a test")
}

pub(crate) fn free(name: &str, min: u64, max: Option<u64>, multiple_of: u64) -> Size {
    Size { name: name.to_owned(), kind: SizeKind::Free { min, max, multiple_of } }
}

pub(crate) fn arg(name: &str, dtype: DType, shape: &[&str], role: Role) -> InterfaceArg {
    InterfaceArg {
        name: name.to_owned(),
        dtype,
        shape: shape.iter().map(|&name| name.to_owned()).collect(),
        row_stride: None,
        scalar: false,
        role,
    }
}

pub(crate) fn scalar(name: &str, dtype: DType) -> InterfaceArg {
    InterfaceArg {
        name: name.to_owned(),
        dtype,
        shape: Vec::new(),
        row_stride: None,
        scalar: true,
        role: Role::In,
    }
}

pub(crate) fn pointer(arg: &str) -> ParamPlan {
    ParamPlan::Pointer { arg: arg.to_owned() }
}

pub(crate) fn size(value: &str, bytes: u8) -> ParamPlan {
    ParamPlan::Size { value: expr(value), bytes }
}

pub(crate) fn launch(entry: &str, grid: &str, block: u32, params: Vec<ParamPlan>) -> LaunchPlan {
    LaunchPlan {
        entry: entry.to_owned(),
        grid: [expr(grid), SizeExpr::constant(1), SizeExpr::constant(1)],
        block: [block, 1, 1],
        cluster: [1, 1, 1],
        shared_bytes: SizeExpr::constant(0),
        programmatic: false,
        params,
    }
}

pub(crate) fn variant(name: &str, when: &str, alignment: u32, launches: Vec<LaunchPlan>) -> Variant {
    Variant { name: name.to_owned(), when: expr(when), alignment, scratch: Vec::new(), launches }
}

/// A module for sm_90 with these functions.
pub(crate) fn module(body: &str) -> String {
    format!(".version 7.8\n.target sm_90\n.address_size 64\n\n{body}")
}

impl Kernel {
    /// A kernel with one target, sm_90.
    pub(crate) fn new(
        name: &str,
        sizes: Vec<Size>,
        args: Vec<InterfaceArg>,
        variants: Vec<Variant>,
        ptx: &str,
    ) -> Kernel {
        let key = Key::of(&format!("{name} {sizes:?} {args:?} {variants:?}"));
        let interface = Interface {
            schema: Interface::SCHEMA,
            name: name.to_owned(),
            key,
            sizes,
            constraints: Vec::new(),
            args,
        };
        let plan = Plan {
            schema: Plan::SCHEMA,
            targets: vec![TargetPlan { arch: Arch::Sm90, ptx: "sm_90.ptx".to_owned(), variants }],
        };
        Kernel { interface, plan, ptx: BTreeMap::from([("sm_90.ptx".to_owned(), module(ptx))]) }
    }

    /// Sealed: with the digests of everything.
    pub(crate) fn seal(&self) -> &'static KernelSource {
        Box::leak(Box::new(self.source()))
    }

    pub(crate) fn source(&self) -> KernelSource {
        let plan = self.plan.to_json();
        let digest = |text: &str| Key::of(text).to_string();
        let mut files: BTreeMap<String, String> =
            self.ptx.iter().map(|(file, text)| (file.clone(), digest(text))).collect();
        files.insert(generated::PLAN.to_owned(), digest(&plan));
        let certificate = Certificate {
            schema: Certificate::SCHEMA,
            name: self.interface.name.clone(),
            key: self.interface.key,
            meaning: self.interface.key,
            bindings: BTreeMap::new(),
            spec: String::new(),
            versions: BTreeMap::new(),
            seed: 0,
            candidates: CandidateCounts::default(),
            gates: Vec::new(),
            figures: Vec::new(),
            files,
        };
        let ptx: Vec<(&'static str, &'static str)> =
            self.ptx.iter().map(|(file, text)| (leak(file), leak(text))).collect();
        KernelSource {
            name: leak(&self.interface.name),
            key: leak(&self.interface.key.to_string()),
            spec: leak(&self.interface.to_json()),
            plan: leak(&plan),
            certificate: leak(&certificate.to_json()),
            ptx: Box::leak(ptx.into_boxed_slice()),
            missing: None,
        }
    }
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

/// `y[i] = x[i] * w[i % n] * s` in f32 for `x`, `y` of shape `[m, n]` and `w` of shape `[n]`: one thread an element.
pub(crate) const SCALE: &str = r"
.visible .entry scale(
    .param .u64 param_x, .param .u64 param_w, .param .u64 param_y, .param .f32 param_s, .param .u32 param_n, .param .u64 param_count
)
{
    .reg .pred %p;
    .reg .b32 %r<6>;
    .reg .b64 %rd<12>;
    .reg .f32 %f<6>;
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %ntid.x;
    mov.u32 %r3, %tid.x;
    mad.lo.u32 %r4, %r1, %r2, %r3;
    cvt.u64.u32 %rd1, %r4;
    ld.param.u64 %rd2, [param_count];
    setp.ge.u64 %p, %rd1, %rd2;
    @%p bra done;
    ld.param.u32 %r5, [param_n];
    rem.u32 %r5, %r4, %r5;
    ld.param.u64 %rd3, [param_x];
    ld.param.u64 %rd4, [param_w];
    ld.param.u64 %rd5, [param_y];
    cvta.to.global.u64 %rd3, %rd3;
    cvta.to.global.u64 %rd4, %rd4;
    cvta.to.global.u64 %rd5, %rd5;
    shl.b64 %rd6, %rd1, 2;
    mul.wide.u32 %rd7, %r5, 4;
    add.s64 %rd8, %rd3, %rd6;
    add.s64 %rd9, %rd4, %rd7;
    add.s64 %rd10, %rd5, %rd6;
    ld.global.f32 %f1, [%rd8];
    ld.global.f32 %f2, [%rd9];
    ld.param.f32 %f3, [param_s];
    mul.rn.f32 %f4, %f1, %f2;
    mul.rn.f32 %f5, %f4, %f3;
    st.global.f32 [%rd10], %f5;
done:
    ret;
}
";

/// The kernel around [`SCALE`]: `scale(x, w, y, s)` with `n` in 4 to 4096, a multiple of 4.
pub(crate) fn scale() -> Kernel {
    let params = vec![
        pointer("x"),
        pointer("w"),
        pointer("y"),
        ParamPlan::Scalar { arg: "s".to_owned() },
        size("n", 4),
        size("m * n", 8),
    ];
    let args = vec![
        arg("x", DType::F32, &["m", "n"], Role::In),
        arg("w", DType::F32, &["n"], Role::In),
        arg("y", DType::F32, &["m", "n"], Role::Out),
        scalar("s", DType::F32),
    ];
    let launch = launch("scale", "ceil_div(m * n, 128)", 128, params);
    let sizes = vec![free("m", 1, None, 1), free("n", 4, Some(4096), 4)];
    Kernel::new("scale", sizes, args, vec![variant("plain", "1", 16, vec![launch])], SCALE)
}

/// Copies bytes, one a thread.
pub(crate) const COPY: &str = r"
.visible .entry copy(.param .u64 param_x, .param .u64 param_y, .param .u32 param_bytes)
{
    .reg .pred %p;
    .reg .b16 %h;
    .reg .b32 %r<6>;
    .reg .b64 %rd<6>;
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %ntid.x;
    mov.u32 %r3, %tid.x;
    mad.lo.u32 %r4, %r1, %r2, %r3;
    ld.param.u32 %r5, [param_bytes];
    setp.ge.u32 %p, %r4, %r5;
    @%p bra done;
    cvt.u64.u32 %rd1, %r4;
    ld.param.u64 %rd2, [param_x];
    ld.param.u64 %rd3, [param_y];
    cvta.to.global.u64 %rd2, %rd2;
    cvta.to.global.u64 %rd3, %rd3;
    add.s64 %rd4, %rd2, %rd1;
    add.s64 %rd5, %rd3, %rd1;
    ld.global.u8 %h, [%rd4];
    st.global.u8 [%rd5], %h;
done:
    ret;
}
";

/// `copy(x, y)` of `n` elements of any type.
pub(crate) fn copy(dtype: DType) -> Kernel {
    let bytes = format!("n * {}", dtype.size());
    let params = vec![pointer("x"), pointer("y"), size(&bytes, 4)];
    let launch = launch("copy", &format!("ceil_div({bytes}, 64)"), 64, params);
    let args = vec![arg("x", dtype, &["n"], Role::In), arg("y", dtype, &["n"], Role::Out)];
    let name = format!("copy_{dtype}");
    Kernel::new(&name, vec![free("n", 1, None, 1)], args, vec![variant("plain", "1", 1, vec![launch])], COPY)
}

/// `copy(x, y)` of bytes by way of two scratch buffers: three launches.
pub(crate) fn copy_through_scratch() -> Kernel {
    let mut kernel = copy(DType::U8);
    kernel.interface.name = "copy_through_scratch".to_owned();
    kernel.interface.key = Key::of("copy_through_scratch");
    let hop =
        |from: ParamPlan, to: ParamPlan| launch("copy", "ceil_div(n, 64)", 64, vec![from, to, size("n", 4)]);
    let buffer = |name: &str| ParamPlan::Scratch { name: name.to_owned() };
    let variant = &mut kernel.plan.targets[0].variants[0];
    variant.scratch = vec![
        Scratch { name: "a".to_owned(), bytes: expr("n"), zero: false },
        Scratch { name: "b".to_owned(), bytes: expr("n"), zero: false },
    ];
    variant.launches =
        vec![hop(pointer("x"), buffer("a")), hop(buffer("a"), buffer("b")), hop(buffer("b"), pointer("y"))];
    kernel
}
