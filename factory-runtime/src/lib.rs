//! Tensors, devices, and the launch of verified kernels.

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
