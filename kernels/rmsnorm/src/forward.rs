//! The functions of the forward pass.

use factory_runtime::{Element, Result, TensorMut, TensorRef};

use crate::dtypes::{Residual, Unweighted, Weighted};
use crate::rows::{matrix, matrix_mut, vector_mut};

/// Normalises each row of `x` and multiplies it by `weight + offset`.
///
/// `x` and `y` are `[…, n]`, `weight` is `[n]`; `eps` is added to the mean square of a row. Rows of `x` and of `y` may lie apart,
/// each at a stride of its own, as [`TensorRef::columns`] gives them: such tensors have a kernel of their own.
///
/// # Errors
///
/// Shapes that do not agree, tensors that are not contiguous (rows that are not, of `x` and `y`), aligned, apart and on one device,
/// or what the driver says.
pub fn rms_norm<'a, T: Weighted<W>, W: Element>(
    x: impl Into<TensorRef<'a, T>>,
    weight: impl Into<TensorRef<'a, W>>,
    y: impl Into<TensorMut<'a, T>>,
    eps: f32,
    offset: f32,
) -> Result<()> {
    <T as Weighted<W>>::forward(matrix(x.into())?, weight.into(), matrix_mut(y.into())?, eps, offset)
}

/// [`rms_norm`] that also gives `rstd`, `[…]`: the scale of each row, which the backward pass needs.
///
/// # Errors
///
/// Shapes that do not agree, tensors that are not contiguous, aligned, apart and on one device, or what the driver says.
pub fn rms_norm_rstd<'a, T: Weighted<W>, W: Element>(
    x: impl Into<TensorRef<'a, T>>,
    weight: impl Into<TensorRef<'a, W>>,
    y: impl Into<TensorMut<'a, T>>,
    rstd: impl Into<TensorMut<'a, f32>>,
    eps: f32,
    offset: f32,
) -> Result<()> {
    <T as Weighted<W>>::forward_rstd(
        matrix(x.into())?,
        weight.into(),
        matrix_mut(y.into())?,
        vector_mut(rstd.into())?,
        eps,
        offset,
    )
}

/// Normalises each row of `x`, and gives `rstd`, the scale of each row.
///
/// `x` and `y` are `[…, n]`, `rstd` is `[…]`; `eps` is added to the mean square of a row.
///
/// # Errors
///
/// Shapes that do not agree, tensors that are not contiguous, aligned, apart and on one device, or what the driver says.
pub fn rms_norm_unweighted<'a, T: Unweighted>(
    x: impl Into<TensorRef<'a, T>>,
    y: impl Into<TensorMut<'a, T>>,
    rstd: impl Into<TensorMut<'a, f32>>,
    eps: f32,
) -> Result<()> {
    <T as Unweighted>::forward(matrix(x.into())?, matrix_mut(y.into())?, vector_mut(rstd.into())?, eps)
}

/// Normalises each row of `x`, multiplies it by `weight + offset` and adds `bias`; gives `rstd`, the scale of each row, too.
///
/// `x` and `y` are `[…, n]`, `weight` and `bias` are `[n]`, `rstd` is `[…]`; `eps` is added to the mean square of a row.
///
/// # Errors
///
/// Shapes that do not agree, tensors that are not contiguous, aligned, apart and on one device, or what the driver says.
pub fn rms_norm_bias<'a, T: Weighted<W>, W: Element>(
    x: impl Into<TensorRef<'a, T>>,
    weight: impl Into<TensorRef<'a, W>>,
    bias: impl Into<TensorRef<'a, W>>,
    y: impl Into<TensorMut<'a, T>>,
    rstd: impl Into<TensorMut<'a, f32>>,
    eps: f32,
    offset: f32,
) -> Result<()> {
    <T as Weighted<W>>::forward_bias(
        matrix(x.into())?,
        weight.into(),
        bias.into(),
        matrix_mut(y.into())?,
        vector_mut(rstd.into())?,
        eps,
        offset,
    )
}

/// Adds `residual` to `x`, gives the sum as `residual_out`, normalises each of its rows and multiplies it by `weight + offset`.
///
/// `x`, `residual`, `y` and `residual_out` are `[…, n]`, `weight` is `[n]`; `eps` is added to the mean square of a row. What is
/// normalised is the sum in f32, before it is rounded to the residual's dtype.
///
/// # Errors
///
/// Shapes that do not agree, tensors that are not contiguous, aligned, apart and on one device, or what the driver says.
pub fn rms_norm_residual<'a, T: Residual<W, R>, W: Element, R: Element>(
    x: impl Into<TensorRef<'a, T>>,
    residual: impl Into<TensorRef<'a, R>>,
    weight: impl Into<TensorRef<'a, W>>,
    y: impl Into<TensorMut<'a, T>>,
    residual_out: impl Into<TensorMut<'a, R>>,
    eps: f32,
    offset: f32,
) -> Result<()> {
    <T as Residual<W, R>>::forward(
        matrix(x.into())?,
        matrix(residual.into())?,
        weight.into(),
        matrix_mut(y.into())?,
        matrix_mut(residual_out.into())?,
        eps,
        offset,
    )
}

/// [`rms_norm_residual`] that also gives `rstd`, `[…]`: the scale of each row, which the backward pass needs.
///
/// # Errors
///
/// Shapes that do not agree, tensors that are not contiguous, aligned, apart and on one device, or what the driver says.
#[expect(clippy::too_many_arguments, reason = "each is a tensor of its own")]
pub fn rms_norm_residual_rstd<'a, T: Residual<W, R>, W: Element, R: Element>(
    x: impl Into<TensorRef<'a, T>>,
    residual: impl Into<TensorRef<'a, R>>,
    weight: impl Into<TensorRef<'a, W>>,
    y: impl Into<TensorMut<'a, T>>,
    residual_out: impl Into<TensorMut<'a, R>>,
    rstd: impl Into<TensorMut<'a, f32>>,
    eps: f32,
    offset: f32,
) -> Result<()> {
    <T as Residual<W, R>>::forward_rstd(
        matrix(x.into())?,
        matrix(residual.into())?,
        weight.into(),
        matrix_mut(y.into())?,
        matrix_mut(residual_out.into())?,
        vector_mut(rstd.into())?,
        eps,
        offset,
    )
}
