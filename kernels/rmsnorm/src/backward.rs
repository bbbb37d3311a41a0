//! The functions of the backward pass.

use factory_runtime::{Element, Result, TensorMut, TensorRef};

use crate::dtypes::{Unweighted, Weighted, Wide};
use crate::rows::{matrix, matrix_mut, vector};

/// The gradients of [`rms_norm`](crate::rms_norm): `dx`, and `dw`, summed over the rows.
///
/// With `g = dy · (weight + offset)` and `h = x · rstd`, `dx = (g - h · mean(g · h)) · rstd` and `dw = Σ dy · h`. `x`, `dy` and
/// `dx` are `[…, n]`, `weight` and `dw` are `[n]`, `rstd` is `[…]`, as [`rms_norm_rstd`](crate::rms_norm_rstd) gave it.
///
/// # Errors
///
/// Shapes that do not agree, tensors that are not contiguous, aligned, apart and on one device, or what the driver says.
pub fn rms_norm_backward<'a, T: Weighted<W>, W: Element>(
    x: impl Into<TensorRef<'a, T>>,
    weight: impl Into<TensorRef<'a, W>>,
    dy: impl Into<TensorRef<'a, T>>,
    rstd: impl Into<TensorRef<'a, f32>>,
    dx: impl Into<TensorMut<'a, T>>,
    dw: impl Into<TensorMut<'a, W>>,
    offset: f32,
) -> Result<()> {
    <T as Weighted<W>>::backward(
        matrix(x.into())?,
        weight.into(),
        matrix(dy.into())?,
        vector(rstd.into())?,
        matrix_mut(dx.into())?,
        dw.into(),
        offset,
    )
}

/// The gradient of [`rms_norm_unweighted`](crate::rms_norm_unweighted).
///
/// With `h = x · rstd`, `dx = (dy - h · mean(dy · h)) · rstd`. `x`, `dy` and `dx` are `[…, n]`, `rstd` is `[…]`.
///
/// # Errors
///
/// Shapes that do not agree, tensors that are not contiguous, aligned, apart and on one device, or what the driver says.
pub fn rms_norm_unweighted_backward<'a, T: Unweighted>(
    x: impl Into<TensorRef<'a, T>>,
    dy: impl Into<TensorRef<'a, T>>,
    rstd: impl Into<TensorRef<'a, f32>>,
    dx: impl Into<TensorMut<'a, T>>,
) -> Result<()> {
    <T as Unweighted>::backward(
        matrix(x.into())?,
        matrix(dy.into())?,
        vector(rstd.into())?,
        matrix_mut(dx.into())?,
    )
}

/// The gradients of [`rms_norm_bias`](crate::rms_norm_bias): those of [`rms_norm_backward`], and `db = Σ dy`, `[n]`.
///
/// # Errors
///
/// Shapes that do not agree, tensors that are not contiguous, aligned, apart and on one device, or what the driver says.
#[expect(clippy::too_many_arguments, reason = "each is a tensor of its own")]
pub fn rms_norm_bias_backward<'a, T: Weighted<W>, W: Element>(
    x: impl Into<TensorRef<'a, T>>,
    weight: impl Into<TensorRef<'a, W>>,
    dy: impl Into<TensorRef<'a, T>>,
    rstd: impl Into<TensorRef<'a, f32>>,
    dx: impl Into<TensorMut<'a, T>>,
    dw: impl Into<TensorMut<'a, W>>,
    db: impl Into<TensorMut<'a, W>>,
    offset: f32,
) -> Result<()> {
    <T as Weighted<W>>::backward_bias(
        matrix(x.into())?,
        weight.into(),
        matrix(dy.into())?,
        vector(rstd.into())?,
        matrix_mut(dx.into())?,
        dw.into(),
        db.into(),
        offset,
    )
}

/// The gradients of [`rms_norm_residual`](crate::rms_norm_residual) with a residual of the elements' dtype.
///
/// `x` is what the forward pass gave as `residual_out`, `dresidual_out` its gradient, `[…, n]`. `dx` is that of
/// [`rms_norm_backward`] plus `dresidual_out`; it is the gradient of both the elements and the residual.
///
/// # Errors
///
/// Shapes that do not agree, tensors that are not contiguous, aligned, apart and on one device, or what the driver says.
#[expect(clippy::too_many_arguments, reason = "each is a tensor of its own")]
pub fn rms_norm_residual_backward<'a, T: Weighted<W>, W: Element>(
    x: impl Into<TensorRef<'a, T>>,
    weight: impl Into<TensorRef<'a, W>>,
    dy: impl Into<TensorRef<'a, T>>,
    rstd: impl Into<TensorRef<'a, f32>>,
    dresidual_out: impl Into<TensorRef<'a, T>>,
    dx: impl Into<TensorMut<'a, T>>,
    dw: impl Into<TensorMut<'a, W>>,
    offset: f32,
) -> Result<()> {
    <T as Weighted<W>>::backward_residual(
        matrix(x.into())?,
        weight.into(),
        matrix(dy.into())?,
        vector(rstd.into())?,
        matrix(dresidual_out.into())?,
        matrix_mut(dx.into())?,
        dw.into(),
        offset,
    )
}

/// The gradients of [`rms_norm_residual`](crate::rms_norm_residual) with a residual in f32.
///
/// As [`rms_norm_residual_backward`]; `x` and `dresidual_out` are in f32, and the gradient comes twice: `dx` in the elements'
/// dtype and `dresidual` in f32.
///
/// # Errors
///
/// Shapes that do not agree, tensors that are not contiguous, aligned, apart and on one device, or what the driver says.
#[expect(clippy::too_many_arguments, reason = "each is a tensor of its own")]
pub fn rms_norm_residual_backward_wide<'a, T: Wide<W>, W: Element>(
    x: impl Into<TensorRef<'a, f32>>,
    weight: impl Into<TensorRef<'a, W>>,
    dy: impl Into<TensorRef<'a, T>>,
    rstd: impl Into<TensorRef<'a, f32>>,
    dresidual_out: impl Into<TensorRef<'a, f32>>,
    dx: impl Into<TensorMut<'a, T>>,
    dresidual: impl Into<TensorMut<'a, f32>>,
    dw: impl Into<TensorMut<'a, W>>,
    offset: f32,
) -> Result<()> {
    <T as Wide<W>>::backward(
        matrix(x.into())?,
        weight.into(),
        matrix(dy.into())?,
        vector(rstd.into())?,
        matrix(dresidual_out.into())?,
        matrix_mut(dx.into())?,
        matrix_mut(dresidual.into())?,
        dw.into(),
        offset,
    )
}
