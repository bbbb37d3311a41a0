//! The part of the operation that runs on a GPU: candle's memory and candle's stream, as the kernel takes them.

use candle_core::backend::BackendStorage;
use candle_core::cuda::CudaDType;
use candle_core::{CudaStorage, DType, Layout, Result, Shape};
use factory_rmsnorm::{TensorMut, TensorRef, kernels};
use factory_runtime::cudarc::driver::DeviceRepr;
use factory_runtime::{Element, Stream};

use crate::op::{contiguous, no_kernel, refused, rows};

/// Queues the kernel for these dtypes on the stream of `x`, and returns the memory that it will have written.
pub(crate) fn forward(
    eps: f32,
    x: &CudaStorage,
    x_layout: &Layout,
    weight: &CudaStorage,
    weight_layout: &Layout,
) -> Result<(CudaStorage, Shape)> {
    let arguments = Arguments { x, x_layout, weight, weight_layout };
    // The kernel is loaded by the first call for a device; later ones find it.
    macro_rules! launch {
        ($module:ident) => {
            arguments.launch(|stream, x, weight, y| {
                let kernel = kernels::$module::rms_norm::prepare(stream.device())?;
                kernel.launch(stream, x, weight, y, eps, 0.0)
            })
        };
    }
    let y = match (x.dtype(), weight.dtype()) {
        (DType::BF16, DType::F32) => launch!(bf16_f32),
        (DType::BF16, DType::BF16) => launch!(bf16_bf16),
        (DType::F16, DType::F32) => launch!(f16_f32),
        (DType::F16, DType::F16) => launch!(f16_f16),
        (DType::F32, DType::F32) => launch!(f32_f32),
        (x, weight) => no_kernel(x, weight),
    }?;
    Ok((y, x_layout.shape().clone()))
}

struct Arguments<'a> {
    x: &'a CudaStorage,
    x_layout: &'a Layout,
    weight: &'a CudaStorage,
    weight_layout: &'a Layout,
}

impl Arguments<'_> {
    /// Lends the kernel candle's inputs where they lie, and an output that candle allocates.
    fn launch<T, W>(
        &self,
        kernel: impl FnOnce(
            &Stream,
            TensorRef<'_, T>,
            TensorRef<'_, W>,
            TensorMut<'_, T>,
        ) -> factory_runtime::Result<()>,
    ) -> Result<CudaStorage>
    where
        T: Element + CudaDType + DeviceRepr,
        W: Element + CudaDType + DeviceRepr,
    {
        let shape = rows(self.x_layout)?;
        let device = self.x.device();
        // Made anew for each call, which costs little: candle's default stream is another one in each thread.
        let stream = Stream::from_cuda(device.cuda_stream()).map_err(refused)?;
        let x = self.x.as_cuda_slice::<T>()?.slice(contiguous("x", self.x_layout)?);
        let weight = self.weight.as_cuda_slice::<W>()?.slice(contiguous("the weight", self.weight_layout)?);
        // SAFETY: nobody reads the memory before the kernel has written all of it: it was verified to write every element
        // of its output, what follows on candle's stream waits for it, and where it is not launched the memory is freed.
        let mut y = unsafe { device.alloc::<T>(shape.iter().product()) }?;

        let x = TensorRef::from_cuda_view(&x, &shape).map_err(refused)?;
        let weight = TensorRef::from_cuda_view(&weight, self.weight_layout.dims()).map_err(refused)?;
        let output = TensorMut::from_cuda(&mut y, &shape).map_err(refused)?;
        kernel(&stream, x, weight, output).map_err(refused)?;
        Ok(T::wrap_cuda_slice(y, device.clone()))
    }
}
