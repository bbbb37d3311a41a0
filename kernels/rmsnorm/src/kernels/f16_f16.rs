//! Kernels of f16 elements with f16 weights.

use factory_runtime::{TensorMut, TensorRef, f16, kernel_factory};

#[kernel_factory(spec = "kernels/rms_norm.toml")]
pub fn rms_norm(x: TensorRef<'_, f16>, w: TensorRef<'_, f16>, y: TensorMut<'_, f16>, eps: f32, offset: f32);

#[kernel_factory(spec = "kernels/rms_norm_strided.toml")]
pub fn rms_norm_strided(
    x: TensorRef<'_, f16>,
    w: TensorRef<'_, f16>,
    y: TensorMut<'_, f16>,
    eps: f32,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_rstd.toml")]
pub fn rms_norm_rstd(
    x: TensorRef<'_, f16>,
    w: TensorRef<'_, f16>,
    y: TensorMut<'_, f16>,
    rstd: TensorMut<'_, f32>,
    eps: f32,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_bias.toml")]
pub fn rms_norm_bias(
    x: TensorRef<'_, f16>,
    w: TensorRef<'_, f16>,
    b: TensorRef<'_, f16>,
    y: TensorMut<'_, f16>,
    rstd: TensorMut<'_, f32>,
    eps: f32,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_backward.toml")]
pub fn rms_norm_backward(
    x: TensorRef<'_, f16>,
    w: TensorRef<'_, f16>,
    dy: TensorRef<'_, f16>,
    rstd: TensorRef<'_, f32>,
    dx: TensorMut<'_, f16>,
    dw: TensorMut<'_, f16>,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_bias_backward.toml")]
pub fn rms_norm_bias_backward(
    x: TensorRef<'_, f16>,
    w: TensorRef<'_, f16>,
    dy: TensorRef<'_, f16>,
    rstd: TensorRef<'_, f32>,
    dx: TensorMut<'_, f16>,
    dw: TensorMut<'_, f16>,
    db: TensorMut<'_, f16>,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_residual_backward.toml")]
pub fn rms_norm_residual_backward(
    x: TensorRef<'_, f16>,
    w: TensorRef<'_, f16>,
    dy: TensorRef<'_, f16>,
    rstd: TensorRef<'_, f32>,
    dresidual_out: TensorRef<'_, f16>,
    dx: TensorMut<'_, f16>,
    dw: TensorMut<'_, f16>,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_residual.toml")]
pub fn rms_norm_residual(
    x: TensorRef<'_, f16>,
    residual: TensorRef<'_, f16>,
    w: TensorRef<'_, f16>,
    y: TensorMut<'_, f16>,
    residual_out: TensorMut<'_, f16>,
    eps: f32,
    offset: f32,
);

#[kernel_factory(spec = "kernels/rms_norm_residual_rstd.toml")]
pub fn rms_norm_residual_rstd(
    x: TensorRef<'_, f16>,
    residual: TensorRef<'_, f16>,
    w: TensorRef<'_, f16>,
    y: TensorMut<'_, f16>,
    residual_out: TensorMut<'_, f16>,
    rstd: TensorMut<'_, f32>,
    eps: f32,
    offset: f32,
);

/// With the residual in f32.
pub mod wide {
    use factory_runtime::{TensorMut, TensorRef, f16, kernel_factory};

    #[kernel_factory(spec = "kernels/rms_norm_residual.toml")]
    pub fn rms_norm_residual(
        x: TensorRef<'_, f16>,
        residual: TensorRef<'_, f32>,
        w: TensorRef<'_, f16>,
        y: TensorMut<'_, f16>,
        residual_out: TensorMut<'_, f32>,
        eps: f32,
        offset: f32,
    );

    #[kernel_factory(spec = "kernels/rms_norm_residual_rstd.toml")]
    pub fn rms_norm_residual_rstd(
        x: TensorRef<'_, f16>,
        residual: TensorRef<'_, f32>,
        w: TensorRef<'_, f16>,
        y: TensorMut<'_, f16>,
        residual_out: TensorMut<'_, f32>,
        rstd: TensorMut<'_, f32>,
        eps: f32,
        offset: f32,
    );

    #[kernel_factory(spec = "kernels/rms_norm_residual_backward_wide.toml")]
    pub fn rms_norm_residual_backward_wide(
        x: TensorRef<'_, f32>,
        w: TensorRef<'_, f16>,
        dy: TensorRef<'_, f16>,
        rstd: TensorRef<'_, f32>,
        dresidual_out: TensorRef<'_, f32>,
        dx: TensorMut<'_, f16>,
        dresidual: TensorMut<'_, f32>,
        dw: TensorMut<'_, f16>,
        offset: f32,
    );
}
