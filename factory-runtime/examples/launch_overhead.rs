//! What a launch through the wrapper costs beside a bare `cuLaunchKernel` of the same function with the same arguments.
//!
//! ```text
//! cargo run --release -p factory-runtime --example launch_overhead
//! ```
//!
//! On a GPU: batches of launches, a bare batch and a wrapped one in turn, in one run. The host's time for issuing a batch is
//! taken, the device is waited for outside of it; medians over batches. Without a GPU: the host's part alone, from the
//! arguments to the resolved launch, on the PTX machine.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::time::Instant;

use factory_runtime::{ArgValue, Cache, Device, Error, KernelSource, Prepared, Result, Tensor};
use factory_spec::{
    Arch, CandidateCounts, Certificate, DType, Interface, InterfaceArg, Key, LaunchPlan, ParamPlan, Plan,
    Role, Size, SizeExpr, SizeKind, TargetPlan, Variant, generated,
};

const ROWS: usize = 4;
const COLUMNS: usize = 256;
const LAUNCHES: usize = 200;
const BATCHES: usize = 400;
const WARM_UP: usize = 20;

/// With the arguments of a normalisation, and next to nothing to do: so that the GPU keeps up with the host.
const PTX: &str = ".version 7.8
.target sm_90
.address_size 64

.visible .entry touch(
    .param .u64 param_x, .param .u64 param_w, .param .u64 param_y, .param .f32 param_eps, .param .u32 param_m, .param .u32 param_n
)
{
    .reg .b32 %r<4>;
    .reg .b64 %rd<4>;
    .reg .f32 %f<2>;
    mov.u32 %r1, %tid.x;
    mov.u32 %r2, %ctaid.x;
    ld.param.u32 %r3, [param_n];
    mad.lo.u32 %r1, %r2, %r3, %r1;
    ld.param.u64 %rd1, [param_y];
    cvta.to.global.u64 %rd1, %rd1;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd3, %rd1, %rd2;
    ld.param.f32 %f1, [param_eps];
    st.global.f32 [%rd3], %f1;
    ret;
}
";

fn main() -> Result<()> {
    let source: &'static KernelSource = Box::leak(Box::new(source()));
    match Device::cuda(0) {
        Ok(device) => on_gpu(source, &device),
        Err(error) if error.is_no_gpu() => {
            println!("no GPU, so nothing to compare with: {error}");
            on_machine(source)
        }
        Err(error) => Err(error),
    }
}

/// Median, 10th and 90th percentile.
struct Spread(f64, f64, f64);

impl Spread {
    fn of(mut samples: Vec<f64>) -> Spread {
        samples.sort_by(f64::total_cmp);
        let at = |fraction: f64| samples[((samples.len() - 1) as f64 * fraction) as usize];
        Spread(at(0.5), at(0.1), at(0.9))
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:8.1} ns a launch (10%..90%: {:.1}..{:.1})", self.0, self.1, self.2)
    }
}

fn on_gpu(source: &'static KernelSource, device: &Device) -> Result<()> {
    static CACHE: Cache = Cache::new();
    let prepared = source.prepare(device)?;
    let stream = device.stream();
    let (x, w, mut y) = tensors(device)?;
    let touch = Touch::new(&prepared, &x, &w, &mut y)?;
    let mut bare = Vec::new();
    let mut wrapped = Vec::new();
    let mut function = Vec::new();
    for batch in 0..BATCHES + WARM_UP {
        // Which one goes first changes from batch to batch.
        for turn in 0..3 {
            let start = Instant::now();
            match (batch + turn) % 3 {
                0 => (0..LAUNCHES).try_for_each(|_| touch.launch())?,
                1 => {
                    (0..LAUNCHES).try_for_each(|_| prepared.launch(stream, &mut arguments(&x, &w, &mut y)))?
                }
                _ => (0..LAUNCHES).try_for_each(|_| CACHE.launch(source, &mut arguments(&x, &w, &mut y)))?,
            }
            let nanoseconds = start.elapsed().as_nanos() as f64 / LAUNCHES as f64;
            stream.synchronize()?;
            if batch >= WARM_UP {
                [&mut bare, &mut wrapped, &mut function][(batch + turn) % 3].push(nanoseconds);
            }
        }
    }
    assert!(y.to_vec()?.iter().all(|&value| value == 0.25), "the kernel ran");
    let (bare, wrapped, function) = (Spread::of(bare), Spread::of(wrapped), Spread::of(function));
    println!(
        "{device}, driver for CUDA {}",
        device.driver_version().map(|version| version.to_string()).unwrap_or_default()
    );
    println!("{BATCHES} batches of {LAUNCHES} launches each, interleaved; medians of the host's time");
    println!("bare cuLaunchKernel   {bare}");
    println!("Prepared::launch      {wrapped}   ratio {:.3}", wrapped.0 / bare.0);
    println!("generated function    {function}   ratio {:.3}", function.0 / bare.0);
    Ok(())
}

/// The launch as one would write it by hand, everything that can be being done ahead.
struct Touch {
    function: *mut c_void,
    values: Box<[u64; 6]>,
}

impl Touch {
    fn new(prepared: &Prepared, x: &Tensor<f32>, w: &Tensor<f32>, y: &mut Tensor<f32>) -> Result<Touch> {
        use factory_runtime::cudarc::driver::{DevicePtr, DevicePtrMut};

        let missing = || Error::Missing { kernel: "touch", reason: "its entry is not loaded".to_owned() };
        let function = prepared.cuda_function("touch").ok_or_else(missing)?;
        let stream = prepared.device().stream().cuda_stream().cloned().ok_or_else(missing)?;
        let x = x.cuda_view()?.device_ptr(&stream).0;
        let w = w.cuda_view()?.device_ptr(&stream).0;
        let y = y.cuda_view_mut()?.device_ptr_mut(&stream).0;
        Ok(Touch {
            function,
            values: Box::new([x, w, y, u64::from(0.25f32.to_bits()), ROWS as u64, COLUMNS as u64]),
        })
    }

    fn launch(&self) -> Result<()> {
        use factory_runtime::cudarc::driver::sys;

        let mut params: [*mut c_void; 6] =
            std::array::from_fn(|index| std::ptr::from_ref(&self.values[index]).cast_mut().cast());
        let (rows, columns) = (ROWS as u32, COLUMNS as u32);
        let function: sys::CUfunction = self.function.cast();
        // SAFETY: the parameters are those of the entry, the tensors outlive the run, and the context is current: tensors
        // were just made on this thread.
        let code = unsafe {
            sys::cuLaunchKernel(
                function,
                rows,
                1,
                1,
                columns,
                1,
                1,
                0,
                std::ptr::null_mut(),
                params.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        match code {
            sys::CUresult::CUDA_SUCCESS => Ok(()),
            code => Err(Error::Cuda {
                call: "cuLaunchKernel",
                code: code as u32,
                name: format!("{code:?}"),
                context: String::new(),
            }),
        }
    }
}

fn on_machine(source: &'static KernelSource) -> Result<()> {
    let device = Device::machine();
    let prepared = source.prepare(&device)?;
    let (x, w, mut y) = tensors(&device)?;
    let mut samples = Vec::new();
    for batch in 0..BATCHES + WARM_UP {
        let start = Instant::now();
        for _ in 0..LAUNCHES {
            prepared.resolve(std::hint::black_box(&arguments(&x, &w, &mut y)))?;
        }
        if batch >= WARM_UP {
            samples.push(start.elapsed().as_nanos() as f64 / LAUNCHES as f64);
        }
    }
    println!("arguments to resolved launch, on the host: {}", Spread::of(samples));
    Ok(())
}

fn tensors(device: &Device) -> Result<(Tensor<f32>, Tensor<f32>, Tensor<f32>)> {
    Ok((
        Tensor::zeros(device, &[ROWS, COLUMNS])?,
        Tensor::zeros(device, &[COLUMNS])?,
        Tensor::zeros(device, &[ROWS, COLUMNS])?,
    ))
}

fn arguments<'a>(x: &'a Tensor<f32>, w: &'a Tensor<f32>, y: &'a mut Tensor<f32>) -> [ArgValue<'a>; 4] {
    [x.into(), w.into(), y.into(), 0.25f32.into()]
}

/// The kernel, sealed by hand.
fn source() -> KernelSource {
    let key = Key::of("launch_overhead");
    let tensor = |name: &str, shape: &[&str], role| InterfaceArg {
        name: name.to_owned(),
        dtype: DType::F32,
        shape: shape.iter().map(|&size| size.to_owned()).collect(),
        row_stride: None,
        scalar: false,
        role,
    };
    let free = |name: &str, multiple_of| Size {
        name: name.to_owned(),
        kind: SizeKind::Free { min: 1, max: Some(1 << 20), multiple_of },
    };
    let eps = InterfaceArg { scalar: true, ..tensor("eps", &[], Role::In) };
    let interface = Interface {
        schema: Interface::SCHEMA,
        name: "touch".to_owned(),
        key,
        sizes: vec![free("m", 1), free("n", 8)],
        constraints: Vec::new(),
        args: vec![
            tensor("x", &["m", "n"], Role::In),
            tensor("w", &["n"], Role::In),
            tensor("y", &["m", "n"], Role::Out),
            eps,
        ],
    };
    let pointer = |name: &str| ParamPlan::Pointer { arg: name.to_owned() };
    let size = |name: &str| ParamPlan::Size { value: SizeExpr::size(name), bytes: 4 };
    let launch = LaunchPlan {
        entry: "touch".to_owned(),
        grid: [SizeExpr::size("m"), SizeExpr::constant(1), SizeExpr::constant(1)],
        block: [COLUMNS as u32, 1, 1],
        cluster: [1, 1, 1],
        shared_bytes: SizeExpr::constant(0),
        programmatic: false,
        params: vec![
            pointer("x"),
            pointer("w"),
            pointer("y"),
            ParamPlan::Scalar { arg: "eps".to_owned() },
            size("m"),
            size("n"),
        ],
    };
    let variant = |name: &str, when: SizeExpr| Variant {
        name: name.to_owned(),
        when,
        alignment: 16,
        scratch: Vec::new(),
        launches: vec![launch.clone()],
    };
    // A condition that does not hold, and one that does, as real plans have them.
    let variants =
        vec![variant("large", SizeExpr::size("n").gt(8192)), variant("small", SizeExpr::constant(1))];
    let plan = Plan {
        schema: Plan::SCHEMA,
        targets: vec![TargetPlan { arch: Arch::Sm90, ptx: "sm_90.ptx".to_owned(), variants }],
    }
    .to_json();
    let digest = |text: &str| Key::of(text).to_string();
    let files =
        BTreeMap::from([("sm_90.ptx".to_owned(), digest(PTX)), (generated::PLAN.to_owned(), digest(&plan))]);
    let certificate = Certificate {
        schema: Certificate::SCHEMA,
        name: "touch".to_owned(),
        key,
        meaning: key,
        bindings: BTreeMap::new(),
        spec: String::new(),
        versions: BTreeMap::new(),
        seed: 0,
        candidates: CandidateCounts::default(),
        gates: Vec::new(),
        figures: Vec::new(),
        files,
    };
    KernelSource {
        name: "touch",
        key: key.to_string().leak(),
        spec: interface.to_json().leak(),
        plan: plan.leak(),
        certificate: certificate.to_json().leak(),
        ptx: &[("sm_90.ptx", PTX)],
        missing: None,
    }
}
