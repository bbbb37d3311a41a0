//! Kernels of bf16 elements with f32 weights.

use factory_runtime::{TensorMut, TensorRef, bf16, kernel_factory};

#[kernel_factory(spec = "kernels/rms_norm.toml")]
pub fn rms_norm(x: TensorRef<'_, bf16>, w: TensorRef<'_, f32>, y: TensorMut<'_, bf16>, eps: f32, offset: f32);

#[kernel_factory(spec = "kernels/rms_norm_strided.toml")]
pub fn rms_norm_strided(
    x: TensorRef<'_, bf16>,
    w: TensorRef<'_, f32>,
    y: TensorMut<'_, bf16>,
    eps: f32,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_rstd.toml")]
pub fn rms_norm_rstd(
    x: TensorRef<'_, bf16>,
    w: TensorRef<'_, f32>,
    y: TensorMut<'_, bf16>,
    rstd: TensorMut<'_, f32>,
    eps: f32,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_bias.toml")]
pub fn rms_norm_bias(
    x: TensorRef<'_, bf16>,
    w: TensorRef<'_, f32>,
    b: TensorRef<'_, f32>,
    y: TensorMut<'_, bf16>,
    rstd: TensorMut<'_, f32>,
    eps: f32,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_backward.toml")]
pub fn rms_norm_backward(
    x: TensorRef<'_, bf16>,
    w: TensorRef<'_, f32>,
    dy: TensorRef<'_, bf16>,
    rstd: TensorRef<'_, f32>,
    dx: TensorMut<'_, bf16>,
    dw: TensorMut<'_, f32>,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_bias_backward.toml")]
pub fn rms_norm_bias_backward(
    x: TensorRef<'_, bf16>,
    w: TensorRef<'_, f32>,
    dy: TensorRef<'_, bf16>,
    rstd: TensorRef<'_, f32>,
    dx: TensorMut<'_, bf16>,
    dw: TensorMut<'_, f32>,
    db: TensorMut<'_, f32>,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_residual_backward.toml")]
pub fn rms_norm_residual_backward(
    x: TensorRef<'_, bf16>,
    w: TensorRef<'_, f32>,
    dy: TensorRef<'_, bf16>,
    rstd: TensorRef<'_, f32>,
    dresidual_out: TensorRef<'_, bf16>,
    dx: TensorMut<'_, bf16>,
    dw: TensorMut<'_, f32>,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_residual.toml")]
pub fn rms_norm_residual(
    x: TensorRef<'_, bf16>,
    residual: TensorRef<'_, bf16>,
    w: TensorRef<'_, f32>,
    y: TensorMut<'_, bf16>,
    residual_out: TensorMut<'_, bf16>,
    eps: f32,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_residual_rstd.toml")]
pub fn rms_norm_residual_rstd(
    x: TensorRef<'_, bf16>,
    residual: TensorRef<'_, bf16>,
    w: TensorRef<'_, f32>,
    y: TensorMut<'_, bf16>,
    residual_out: TensorMut<'_, bf16>,
    rstd: TensorMut<'_, f32>,
    eps: f32,
    offset: f32,
);

/// With the residual in f32.
pub mod wide {
    use factory_runtime::{TensorMut, TensorRef, bf16, kernel_factory};

    #[kernel_factory(spec = "kernels/rms_norm_residual.toml")]
    pub fn rms_norm_residual(
        x: TensorRef<'_, bf16>,
        residual: TensorRef<'_, f32>,
        w: TensorRef<'_, f32>,
        y: TensorMut<'_, bf16>,
        residual_out: TensorMut<'_, f32>,
        eps: f32,
        offset: f32,
    );

    #[kernel_factory(spec = "kernels/rms_norm_residual_rstd.toml")]
    pub fn rms_norm_residual_rstd(
        x: TensorRef<'_, bf16>,
        residual: TensorRef<'_, f32>,
        w: TensorRef<'_, f32>,
        y: TensorMut<'_, bf16>,
        residual_out: TensorMut<'_, f32>,
        rstd: TensorMut<'_, f32>,
        eps: f32,
        offset: f32,
    );

    #[kernel_factory(spec = "kernels/rms_norm_residual_backward_wide.toml")]
    pub fn rms_norm_residual_backward_wide(
        x: TensorRef<'_, f32>,
        w: TensorRef<'_, f32>,
        dy: TensorRef<'_, bf16>,
        rstd: TensorRef<'_, f32>,
        dresidual_out: TensorRef<'_, f32>,
        dx: TensorMut<'_, bf16>,
        dresidual: TensorMut<'_, f32>,
        dw: TensorMut<'_, f32>,
        offset: f32,
    );
}
