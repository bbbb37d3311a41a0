//! Tensors, devices, and the launch of verified kernels.
//!
//! - A [`Device`] is an NVIDIA GPU, opened through the driver at run time, or the PTX machine, which needs no GPU.
//!   [`Device::best`] takes what there is.
//! - A [`Tensor`] owns memory on a device; [`TensorRef`] and [`TensorMut`] borrow memory: of a tensor, of a cudarc slice or
//!   view, of a host slice. All are of one [`Element`] type and have a shape.
//! - [`kernel_factory`] turns a bodiless function into one that launches the kernel that the build script embedded, a
//!   [`KernelSource`]. [`KernelSource::prepare`] reads, verifies and loads it: once for a device and process. The
//!   outcome is a [`Prepared`] kernel, whose launches only check and queue.
//!
//! # Example
//!
//! `#[kernel_factory]` and the build script make a [`KernelSource`], and a function that launches it. This one was made by
//! hand, and says `y[i] = 2 * x[i]`:
//!
//! ```
//! use factory_runtime::{Device, Error, KernelSource, Tensor};
//! # use std::collections::BTreeMap;
//! # use factory_spec::{
//! #     Arch, CandidateCounts, Certificate, DType, Interface, InterfaceArg, Key, LaunchPlan, ParamPlan, Plan, Role, Size,
//! #     SizeExpr, SizeKind, TargetPlan, Variant,
//! # };
//!
//! const PTX: &str = "
//! .version 7.8
//! .target sm_90
//! .address_size 64
//!
//! .visible .entry double(.param .u64 param_x, .param .u64 param_y)
//! {
//!     .reg .b32 %r<2>;
//!     .reg .b64 %rd<6>;
//!     .reg .f32 %f<3>;
//!     mov.u32 %r1, %ctaid.x;
//!     mul.wide.u32 %rd1, %r1, 4;
//!     ld.param.u64 %rd2, [param_x];
//!     ld.param.u64 %rd3, [param_y];
//!     add.s64 %rd4, %rd2, %rd1;
//!     add.s64 %rd5, %rd3, %rd1;
//!     ld.global.f32 %f1, [%rd4];
//!     add.rn.f32 %f2, %f1, %f1;
//!     st.global.f32 [%rd5], %f2;
//!     ret;
//! }
//! ";
//! # fn double() -> &'static KernelSource {
//! #     let arg = |name: &str, role| InterfaceArg {
//! #         name: name.into(), dtype: DType::F32, shape: vec!["n".into()], row_stride: None, scalar: false, role,
//! #     };
//! #     let key = Key::of("double");
//! #     let interface = Interface {
//! #         schema: Interface::SCHEMA,
//! #         name: "double".into(),
//! #         key,
//! #         sizes: vec![Size { name: "n".into(), kind: SizeKind::Free { min: 1, max: Some(65535), multiple_of: 1 } }],
//! #         constraints: Vec::new(),
//! #         args: vec![arg("x", Role::In), arg("y", Role::Out)],
//! #     };
//! #     let launch = LaunchPlan {
//! #         entry: "double".into(),
//! #         grid: [SizeExpr::size("n"), SizeExpr::constant(1), SizeExpr::constant(1)],
//! #         block: [1; 3],
//! #         cluster: [1; 3],
//! #         shared_bytes: SizeExpr::constant(0),
//! #         programmatic: false,
//! #         params: ["x", "y"].map(|arg| ParamPlan::Pointer { arg: arg.into() }).into(),
//! #     };
//! #     let variant = Variant {
//! #         name: "all".into(), when: SizeExpr::constant(1), alignment: 4, scratch: Vec::new(), launches: vec![launch],
//! #     };
//! #     let target = TargetPlan { arch: Arch::Sm90, ptx: "sm_90.ptx".into(), variants: vec![variant] };
//! #     let plan = Plan { schema: Plan::SCHEMA, targets: vec![target] }.to_json();
//! #     let files = [("sm_90.ptx", PTX), ("plan.json", &plan)].map(|(name, text)| (name.into(), Key::of(text).to_string()));
//! #     let certificate = Certificate {
//! #         schema: Certificate::SCHEMA, name: "double".into(), key, meaning: key, bindings: BTreeMap::new(),
//! #         spec: String::new(), versions: BTreeMap::new(), seed: 0, candidates: CandidateCounts::default(),
//! #         gates: Vec::new(), figures: Vec::new(), files: files.into(),
//! #     };
//! #     Box::leak(Box::new(KernelSource {
//! #         name: "double", key: key.to_string().leak(), spec: interface.to_json().leak(), plan: plan.leak(),
//! #         certificate: certificate.to_json().leak(), ptx: &[("sm_90.ptx", PTX)], missing: None,
//! #     }))
//! # }
//!
//! let source: &'static KernelSource = double();
//! let device = Device::machine();
//! let kernel = source.prepare(&device)?;
//!
//! let x = Tensor::from_slice(&device, &[1.0f32, 2.5, -3.0], &[3])?;
//! let mut y = Tensor::<f32>::zeros(&device, &[3])?;
//! kernel.launch(device.stream(), &mut [(&x).into(), (&mut y).into()])?;
//! assert_eq!(y.to_vec()?, [2.0, 5.0, -6.0]);
//!
//! // What it was not verified for it does not accept.
//! let mut short = Tensor::<f32>::zeros(&device, &[2])?;
//! let refused = kernel.launch(device.stream(), &mut [(&x).into(), (&mut short).into()]);
//! assert!(matches!(refused, Err(Error::Shape { .. })));
//! # Ok::<(), Error>(())
//! ```
//!
//! # What a launch checks
//!
//! Number, kinds and types of the arguments; that shapes agree on every size; that the sizes lie in the domain that the
//! kernel was verified for; that tensors are contiguous (or of contiguous rows, all equally far apart, where the spec gives the argument a row stride), aligned, on the device, and that what is written overlaps with
//! nothing else. What a kernel was not verified for it does not accept: each refusal is an [`Error`] that names the kernel and
//! the argument. A launch that has no element to write does nothing and succeeds. What was found for some sizes is kept,
//! so that the next launch with them evaluates nothing, takes no lock and allocates nothing.
//!
//! # Order of work
//!
//! Work on one [`Stream`] happens in order. Across streams of one device cudarc keeps the order of reads and writes of each
//! tensor, slice or view. On the machine a launch has happened when it returns.
//!
//! # Without a GPU
//!
//! Nothing here panics or fails to compile where there is no driver: [`Device::cuda`] returns [`Error::DriverMissing`],
//! and [`Device::best`] goes on to the machine. `KERNEL_FACTORY_DEVICE` (`machine`, `cuda`, `cuda:1`) overrides it;
//! `KERNEL_FACTORY_MACHINE_CHECKS=all` makes the machine look for races and for reads of what nobody wrote.

mod argument;
mod compiled;
mod device;
mod dims;
mod driver;
mod element;
#[cfg(feature = "machine")]
mod emulated;
#[cfg(not(feature = "machine"))]
#[path = "no_machine.rs"]
mod emulated;
mod error;
mod module;
mod prepared;
mod resolved;
mod source;
mod stream;
mod tensor;
mod view;

pub use cudarc;
pub use factory_macros::kernel_factory;
pub use factory_spec::DType;
pub use half::{bf16, f16};

pub use argument::ArgValue;
pub use device::{Device, MachineOptions};
pub use dims::MAX_RANK;
pub use element::{Element, f8e4m3, f8e5m2};
pub use error::{CudaVersion, Error, Result};
pub use prepared::Prepared;
pub use source::{Cache, KernelSource};
pub use stream::Stream;
pub use tensor::Tensor;
pub use view::{TensorMut, TensorRef};
