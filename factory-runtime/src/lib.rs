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
//! # What a launch checks
//!
//! Number, kinds and types of the arguments; that shapes agree on every size; that the sizes lie in the domain that the
//! kernel was verified for; that tensors are contiguous, aligned, on the device, and that what is written overlaps with
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
