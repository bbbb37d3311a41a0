//! Tensors, devices, and the launch of verified kernels.

mod argument;
mod device;
mod dims;
mod driver;
mod element;
mod error;
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
pub use source::{Cache, KernelSource, Prepared};
pub use stream::Stream;
pub use tensor::Tensor;
pub use view::{TensorMut, TensorRef};
