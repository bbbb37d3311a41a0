//! Kernels of bf16 elements without weights.

use factory_runtime::{TensorMut, TensorRef, bf16, kernel_factory};

#[kernel_factory(spec = "kernels/rms_norm_unweighted.toml")]
pub fn rms_norm_unweighted(
    x: TensorRef<'_, bf16>,
    y: TensorMut<'_, bf16>,
    rstd: TensorMut<'_, f32>,
    eps: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_unweighted_backward.toml")]
pub fn rms_norm_unweighted_backward(
    x: TensorRef<'_, bf16>,
    dy: TensorRef<'_, bf16>,
    rstd: TensorRef<'_, f32>,
    dx: TensorMut<'_, bf16>,
);
