//! Kernels of f32 elements with f32 weights.

use factory_runtime::{TensorMut, TensorRef, kernel_factory};

#[kernel_factory(spec = "kernels/rms_norm.toml")]
pub fn rms_norm(x: TensorRef<'_, f32>, w: TensorRef<'_, f32>, y: TensorMut<'_, f32>, eps: f32, offset: f32);

#[kernel_factory(spec = "kernels/rms_norm_strided.toml")]
pub fn rms_norm_strided(
    x: TensorRef<'_, f32>,
    w: TensorRef<'_, f32>,
    y: TensorMut<'_, f32>,
    eps: f32,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_rstd.toml")]
pub fn rms_norm_rstd(
    x: TensorRef<'_, f32>,
    w: TensorRef<'_, f32>,
    y: TensorMut<'_, f32>,
    rstd: TensorMut<'_, f32>,
    eps: f32,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_bias.toml")]
pub fn rms_norm_bias(
    x: TensorRef<'_, f32>,
    w: TensorRef<'_, f32>,
    b: TensorRef<'_, f32>,
    y: TensorMut<'_, f32>,
    rstd: TensorMut<'_, f32>,
    eps: f32,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_backward.toml")]
pub fn rms_norm_backward(
    x: TensorRef<'_, f32>,
    w: TensorRef<'_, f32>,
    dy: TensorRef<'_, f32>,
    rstd: TensorRef<'_, f32>,
    dx: TensorMut<'_, f32>,
    dw: TensorMut<'_, f32>,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_bias_backward.toml")]
pub fn rms_norm_bias_backward(
    x: TensorRef<'_, f32>,
    w: TensorRef<'_, f32>,
    dy: TensorRef<'_, f32>,
    rstd: TensorRef<'_, f32>,
    dx: TensorMut<'_, f32>,
    dw: TensorMut<'_, f32>,
    db: TensorMut<'_, f32>,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_residual_backward.toml")]
pub fn rms_norm_residual_backward(
    x: TensorRef<'_, f32>,
    w: TensorRef<'_, f32>,
    dy: TensorRef<'_, f32>,
    rstd: TensorRef<'_, f32>,
    dresidual_out: TensorRef<'_, f32>,
    dx: TensorMut<'_, f32>,
    dw: TensorMut<'_, f32>,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_residual.toml")]
pub fn rms_norm_residual(
    x: TensorRef<'_, f32>,
    residual: TensorRef<'_, f32>,
    w: TensorRef<'_, f32>,
    y: TensorMut<'_, f32>,
    residual_out: TensorMut<'_, f32>,
    eps: f32,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_residual_rstd.toml")]
pub fn rms_norm_residual_rstd(
    x: TensorRef<'_, f32>,
    residual: TensorRef<'_, f32>,
    w: TensorRef<'_, f32>,
    y: TensorMut<'_, f32>,
    residual_out: TensorMut<'_, f32>,
    rstd: TensorMut<'_, f32>,
    eps: f32,
    offset: f32,
);
