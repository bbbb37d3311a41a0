//! The operation, and its part that runs without a GPU.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType, bail};
use factory_rmsnorm::{TensorMut, TensorRef, Weighted, bf16, f16};
use factory_runtime::Element;

/// RMSNorm over the last dimension, by a sealed kernel of `factory-rmsnorm`: `x / sqrt(mean(x²) + eps) * weight`.
///
/// As candle's operation it takes `x`, `[…, n]`, and the weight, `[n]`. On a GPU it reads and writes candle's own memory on
/// candle's own stream; on the CPU the same kernel runs on the PTX machine. It has no backward pass.
#[derive(Debug, Clone, Copy)]
pub struct RmsNorm {
    /// What is added to the mean square of a row.
    pub eps: f32,
}

/// [`RmsNorm`] as a function.
///
/// # Errors
///
/// Dtypes that there is no kernel for, tensors that are not contiguous or not aligned, shapes that do not agree, or what
/// the driver says.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    x.apply_op2(weight, RmsNorm { eps })
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "factory-rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = match (x.dtype(), weight.dtype()) {
            (DType::BF16, DType::F32) => self.on_host::<bf16, f32>(x, x_layout, weight, weight_layout),
            (DType::BF16, DType::BF16) => self.on_host::<bf16, bf16>(x, x_layout, weight, weight_layout),
            (DType::F16, DType::F32) => self.on_host::<f16, f32>(x, x_layout, weight, weight_layout),
            (DType::F16, DType::F16) => self.on_host::<f16, f16>(x, x_layout, weight, weight_layout),
            (DType::F32, DType::F32) => self.on_host::<f32, f32>(x, x_layout, weight, weight_layout),
            (x, weight) => no_kernel(x, weight),
        }?;
        Ok((y, x_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        crate::gpu::forward(self.eps, x, x_layout, weight, weight_layout)
    }
}

impl RmsNorm {
    /// On the PTX machine, which takes host memory as it is.
    fn on_host<T: WithDType + Weighted<W>, W: WithDType + Element>(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<CpuStorage> {
        let shape = rows(x_layout)?;
        let x = &x.as_slice::<T>()?[contiguous("x", x_layout)?];
        let weight = &weight.as_slice::<W>()?[contiguous("the weight", weight_layout)?];
        let mut y = vec![T::default(); x.len()];
        let output = TensorMut::from_slice(&mut y, &shape).map_err(refused)?;
        let x = TensorRef::from_slice(x, &shape).map_err(refused)?;
        let weight = TensorRef::from_slice(weight, weight_layout.dims()).map_err(refused)?;
        factory_rmsnorm::rms_norm(x, weight, output, self.eps, 0.0).map_err(refused)?;
        Ok(T::to_cpu_storage_owned(y))
    }
}

/// Which elements of its storage a tensor is, as long as they follow each other.
pub(crate) fn contiguous(what: &str, layout: &Layout) -> Result<std::ops::Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => bail!(
            "{what} is not contiguous: its shape is {:?}, its strides are {:?}; the kernels take rows that follow each other \
             and copy nothing\n\nhint: call `.contiguous()` on it first",
            layout.dims(),
            layout.stride()
        ),
    }
}

/// `[…, n]` as `[m, n]`.
pub(crate) fn rows(layout: &Layout) -> Result<[usize; 2]> {
    match layout.dims() {
        [outer @ .., n] => Ok([outer.iter().product(), *n]),
        [] => bail!(
            "x is a single number: there are no rows to normalise\n\nhint: its last dimension is what is normalised"
        ),
    }
}

/// The error for dtypes that no kernel serves.
pub(crate) fn no_kernel<T>(x: DType, weight: DType) -> Result<T> {
    bail!(
        "there is no kernel for elements of {x:?} with a weight of {weight:?}: elements are bf16, f16 or f32, the weight is f32 \
         or of their dtype\n\nhint: convert with `.to_dtype(…)` first"
    )
}

/// Our runtime's error as one of candle's.
pub(crate) fn refused(error: factory_runtime::Error) -> candle_core::Error {
    match error {
        // `contiguous` leaves such a view as it is.
        factory_runtime::Error::Alignment { .. } => {
            candle_core::Error::msg(format!("{error}; `.force_contiguous()` copies it to such a place"))
        }
        error => candle_core::Error::wrap(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{D, Device};

    const EPS: f32 = 1e-6;

    /// The CPU, and with the feature `cuda` GPU 0.
    fn devices() -> Result<Vec<Device>> {
        let mut devices = vec![Device::Cpu];
        if cfg!(feature = "cuda") {
            devices.push(Device::new_cuda(0)?);
        }
        Ok(devices)
    }

    /// What the operation says of tensors that it must refuse.
    fn refusal(x: &Tensor, weight: &Tensor) -> String {
        rms_norm(x, weight, EPS).expect_err("must be refused").to_string()
    }

    #[test]
    fn every_pair_of_dtypes_is_served() -> Result<()> {
        for device in devices()? {
            let x = Tensor::randn(0f32, 1.0, (2, 3, 64), &device)?;
            let weight = Tensor::randn(1f32, 0.1, 64, &device)?;
            for (elements, weights, tolerance) in [
                (DType::BF16, DType::F32, 0.004),
                (DType::BF16, DType::BF16, 0.004),
                (DType::F16, DType::F32, 0.0005),
                (DType::F16, DType::F16, 0.0005),
                (DType::F32, DType::F32, 0.000001),
            ] {
                let (x, weight) = (x.to_dtype(elements)?, weight.to_dtype(weights)?);
                let y = rms_norm(&x, &weight, EPS)?;
                assert_eq!((y.dtype(), y.dims()), (elements, x.dims()));
                let (x, weight) = (x.to_dtype(DType::F32)?, weight.to_dtype(DType::F32)?);
                let rms = (x.sqr()?.mean_keepdim(D::Minus1)? + f64::from(EPS))?.sqrt()?;
                let expected = x.broadcast_div(&rms)?.broadcast_mul(&weight)?;
                let difference = (y.to_dtype(DType::F32)? - &expected)?.abs()?;
                let errors = (difference / (expected.abs()? + 1e-3)?)?.flatten_all()?.to_vec1::<f32>()?;
                assert!(
                    errors.iter().all(|error| *error <= tolerance),
                    "{elements:?}, {weights:?}: {errors:?}"
                );
            }
        }
        Ok(())
    }

    #[test]
    fn a_view_of_whole_rows_is_taken_where_it_lies() -> Result<()> {
        for device in devices()? {
            let x = Tensor::randn(0f32, 1.0, (4, 64), &device)?;
            let weight = Tensor::ones(64, DType::F32, &device)?;
            let whole = rms_norm(&x, &weight, EPS)?.narrow(0, 1, 2)?.to_vec2::<f32>()?;
            let part = rms_norm(&x.narrow(0, 1, 2)?, &weight, EPS)?.to_vec2::<f32>()?;
            assert_eq!(whole, part);
        }
        Ok(())
    }

    #[test]
    fn what_cannot_be_taken_is_refused_with_a_hint() -> Result<()> {
        for device in devices()? {
            let ones = |shape: &[usize], dtype| Tensor::ones(shape, dtype, &device);
            let x = ones(&[2, 64], DType::F32)?;
            let weight = ones(&[64], DType::F32)?;

            let turned = ones(&[64, 64], DType::F32)?.t()?;
            assert!(refusal(&turned, &weight).contains("`.contiguous()`"));
            let column = ones(&[64, 2], DType::F32)?.narrow(1, 0, 1)?.squeeze(1)?;
            assert!(refusal(&x, &column).starts_with("the weight is not contiguous"));
            assert!(refusal(&ones(&[2, 64], DType::F64)?, &weight).contains("`.to_dtype(…)`"));
            assert!(refusal(&x, &ones(&[64], DType::BF16)?).contains("F32 with a weight of BF16"));
            assert!(refusal(&ones(&[2, 32], DType::F32)?, &weight).contains("`w`"));
            assert!(refusal(&ones(&[], DType::F32)?, &weight).contains("no rows"));
        }
        Ok(())
    }

    /// On the CPU every view has a place of its own.
    #[cfg(feature = "cuda")]
    #[test]
    fn a_view_at_an_odd_address_is_refused_and_the_hint_helps() -> Result<()> {
        let device = Device::new_cuda(0)?;
        let weight = Tensor::ones(20, DType::F32, &device)?;
        // 40 bytes from the start.
        let view = Tensor::ones((4, 20), DType::BF16, &device)?.narrow(0, 1, 2)?;
        assert!(refusal(&view, &weight).contains("`.force_contiguous()`"));
        assert_eq!(rms_norm(&view.force_contiguous()?, &weight, EPS)?.dims(), [2, 20]);
        Ok(())
    }
}
