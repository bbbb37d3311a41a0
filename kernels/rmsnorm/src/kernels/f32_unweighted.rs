//! Kernels of f32 elements without weights.

use factory_runtime::{TensorMut, TensorRef, kernel_factory};

#[kernel_factory(spec = "kernels/rms_norm_unweighted.toml")]
pub fn rms_norm_unweighted(x: TensorRef<'_, f32>, y: TensorMut<'_, f32>, rstd: TensorMut<'_, f32>, eps: f32);

#[kernel_factory(spec = "kernels/rms_norm_unweighted_backward.toml")]
pub fn rms_norm_unweighted_backward(
    x: TensorRef<'_, f32>,
    dy: TensorRef<'_, f32>,
    rstd: TensorRef<'_, f32>,
    dx: TensorMut<'_, f32>,
);
