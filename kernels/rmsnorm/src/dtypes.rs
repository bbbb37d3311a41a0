//! Which dtypes there are kernels for, as traits that lead from types to kernels.

use factory_runtime::{Element, Result, TensorMut, TensorRef, bf16, f16};

use crate::kernels;

/// Elements for which there are kernels without a weight: bf16, f16, f32.
///
/// The methods of these traits are the kernels themselves, over matrices; the functions of this crate call them.
pub trait Unweighted: Element {
    #[doc(hidden)]
    fn forward(
        x: TensorRef<'_, Self>,
        y: TensorMut<'_, Self>,
        rstd: TensorMut<'_, f32>,
        eps: f32,
    ) -> Result<()>;
    #[doc(hidden)]
    fn backward(
        x: TensorRef<'_, Self>,
        dy: TensorRef<'_, Self>,
        rstd: TensorRef<'_, f32>,
        dx: TensorMut<'_, Self>,
    ) -> Result<()>;
}

/// Elements for which there are kernels with a weight of `W`: that is f32, or the dtype of the elements.
pub trait Weighted<W: Element>: Unweighted {
    #[doc(hidden)]
    fn forward(
        x: TensorRef<'_, Self>,
        w: TensorRef<'_, W>,
        y: TensorMut<'_, Self>,
        eps: f32,
        offset: f32,
    ) -> Result<()>;
    #[doc(hidden)]
    fn forward_rstd(
        x: TensorRef<'_, Self>,
        w: TensorRef<'_, W>,
        y: TensorMut<'_, Self>,
        rstd: TensorMut<'_, f32>,
        eps: f32,
        offset: f32,
    ) -> Result<()>;
    #[doc(hidden)]
    fn forward_bias(
        x: TensorRef<'_, Self>,
        w: TensorRef<'_, W>,
        b: TensorRef<'_, W>,
        y: TensorMut<'_, Self>,
        rstd: TensorMut<'_, f32>,
        eps: f32,
        offset: f32,
    ) -> Result<()>;
    #[doc(hidden)]
    fn backward(
        x: TensorRef<'_, Self>,
        w: TensorRef<'_, W>,
        dy: TensorRef<'_, Self>,
        rstd: TensorRef<'_, f32>,
        dx: TensorMut<'_, Self>,
        dw: TensorMut<'_, W>,
        offset: f32,
    ) -> Result<()>;
    #[doc(hidden)]
    #[expect(clippy::too_many_arguments, reason = "they are the kernel's")]
    fn backward_bias(
        x: TensorRef<'_, Self>,
        w: TensorRef<'_, W>,
        dy: TensorRef<'_, Self>,
        rstd: TensorRef<'_, f32>,
        dx: TensorMut<'_, Self>,
        dw: TensorMut<'_, W>,
        db: TensorMut<'_, W>,
        offset: f32,
    ) -> Result<()>;
    #[doc(hidden)]
    #[expect(clippy::too_many_arguments, reason = "they are the kernel's")]
    fn backward_residual(
        x: TensorRef<'_, Self>,
        w: TensorRef<'_, W>,
        dy: TensorRef<'_, Self>,
        rstd: TensorRef<'_, f32>,
        dresidual_out: TensorRef<'_, Self>,
        dx: TensorMut<'_, Self>,
        dw: TensorMut<'_, W>,
        offset: f32,
    ) -> Result<()>;
}

/// Elements for which there are kernels with a weight of `W` and a residual of `R`: that is f32, or the dtype of the elements.
pub trait Residual<W: Element, R: Element>: Weighted<W> {
    #[doc(hidden)]
    fn forward(
        x: TensorRef<'_, Self>,
        residual: TensorRef<'_, R>,
        w: TensorRef<'_, W>,
        y: TensorMut<'_, Self>,
        residual_out: TensorMut<'_, R>,
        eps: f32,
        offset: f32,
    ) -> Result<()>;
    #[doc(hidden)]
    #[expect(clippy::too_many_arguments, reason = "they are the kernel's")]
    fn forward_rstd(
        x: TensorRef<'_, Self>,
        residual: TensorRef<'_, R>,
        w: TensorRef<'_, W>,
        y: TensorMut<'_, Self>,
        residual_out: TensorMut<'_, R>,
        rstd: TensorMut<'_, f32>,
        eps: f32,
        offset: f32,
    ) -> Result<()>;
}

/// Elements that are narrower than a residual in f32: bf16, f16.
pub trait Wide<W: Element>: Residual<W, f32> {
    #[doc(hidden)]
    #[expect(clippy::too_many_arguments, reason = "they are the kernel's")]
    fn backward(
        x: TensorRef<'_, f32>,
        w: TensorRef<'_, W>,
        dy: TensorRef<'_, Self>,
        rstd: TensorRef<'_, f32>,
        dresidual_out: TensorRef<'_, f32>,
        dx: TensorMut<'_, Self>,
        dresidual: TensorMut<'_, f32>,
        dw: TensorMut<'_, W>,
        offset: f32,
    ) -> Result<()>;
}

macro_rules! unweighted {
    ($($element:ty, $module:ident;)*) => {$(
        impl Unweighted for $element {
            fn forward(
                x: TensorRef<'_, Self>,
                y: TensorMut<'_, Self>,
                rstd: TensorMut<'_, f32>,
                eps: f32,
            ) -> Result<()> {
                kernels::$module::rms_norm_unweighted(x, y, rstd, eps)
            }

            fn backward(
                x: TensorRef<'_, Self>,
                dy: TensorRef<'_, Self>,
                rstd: TensorRef<'_, f32>,
                dx: TensorMut<'_, Self>,
            ) -> Result<()> {
                kernels::$module::rms_norm_unweighted_backward(x, dy, rstd, dx)
            }
        }
    )*};
}

unweighted! {
    bf16, bf16_unweighted;
    f16, f16_unweighted;
    f32, f32_unweighted;
}

macro_rules! weighted {
    ($($element:ty, $weight:ty, $module:ident;)*) => {$(
        impl Weighted<$weight> for $element {
            fn forward(
                x: TensorRef<'_, Self>,
                w: TensorRef<'_, $weight>,
                y: TensorMut<'_, Self>,
                eps: f32,
                offset: f32,
            ) -> Result<()> {
                if x.is_contiguous() && y.is_contiguous() {
                    kernels::$module::rms_norm(x, w, y, eps, offset)
                } else {
                    kernels::$module::rms_norm_strided(x, w, y, eps, offset)
                }
            }

            fn forward_rstd(
                x: TensorRef<'_, Self>,
                w: TensorRef<'_, $weight>,
                y: TensorMut<'_, Self>,
                rstd: TensorMut<'_, f32>,
                eps: f32,
                offset: f32,
            ) -> Result<()> {
                kernels::$module::rms_norm_rstd(x, w, y, rstd, eps, offset)
            }

            fn forward_bias(
                x: TensorRef<'_, Self>,
                w: TensorRef<'_, $weight>,
                b: TensorRef<'_, $weight>,
                y: TensorMut<'_, Self>,
                rstd: TensorMut<'_, f32>,
                eps: f32,
                offset: f32,
            ) -> Result<()> {
                kernels::$module::rms_norm_bias(x, w, b, y, rstd, eps, offset)
            }

            fn backward(
                x: TensorRef<'_, Self>,
                w: TensorRef<'_, $weight>,
                dy: TensorRef<'_, Self>,
                rstd: TensorRef<'_, f32>,
                dx: TensorMut<'_, Self>,
                dw: TensorMut<'_, $weight>,
                offset: f32,
            ) -> Result<()> {
                kernels::$module::rms_norm_backward(x, w, dy, rstd, dx, dw, offset)
            }

            fn backward_bias(
                x: TensorRef<'_, Self>,
                w: TensorRef<'_, $weight>,
                dy: TensorRef<'_, Self>,
                rstd: TensorRef<'_, f32>,
                dx: TensorMut<'_, Self>,
                dw: TensorMut<'_, $weight>,
                db: TensorMut<'_, $weight>,
                offset: f32,
            ) -> Result<()> {
                kernels::$module::rms_norm_bias_backward(x, w, dy, rstd, dx, dw, db, offset)
            }

            fn backward_residual(
                x: TensorRef<'_, Self>,
                w: TensorRef<'_, $weight>,
                dy: TensorRef<'_, Self>,
                rstd: TensorRef<'_, f32>,
                dresidual_out: TensorRef<'_, Self>,
                dx: TensorMut<'_, Self>,
                dw: TensorMut<'_, $weight>,
                offset: f32,
            ) -> Result<()> {
                kernels::$module::rms_norm_residual_backward(x, w, dy, rstd, dresidual_out, dx, dw, offset)
            }
        }
    )*};
}

weighted! {
    bf16, f32, bf16_f32;
    bf16, bf16, bf16_bf16;
    f16, f32, f16_f32;
    f16, f16, f16_f16;
    f32, f32, f32_f32;
}

macro_rules! residual {
    ($($element:ty, $weight:ty, $residual:ty, $($module:ident)::+;)*) => {$(
        impl Residual<$weight, $residual> for $element {
            fn forward(
                x: TensorRef<'_, Self>,
                residual: TensorRef<'_, $residual>,
                w: TensorRef<'_, $weight>,
                y: TensorMut<'_, Self>,
                residual_out: TensorMut<'_, $residual>,
                eps: f32,
                offset: f32,
            ) -> Result<()> {
                kernels::$($module)::+::rms_norm_residual(x, residual, w, y, residual_out, eps, offset)
            }

            fn forward_rstd(
                x: TensorRef<'_, Self>,
                residual: TensorRef<'_, $residual>,
                w: TensorRef<'_, $weight>,
                y: TensorMut<'_, Self>,
                residual_out: TensorMut<'_, $residual>,
                rstd: TensorMut<'_, f32>,
                eps: f32,
                offset: f32,
            ) -> Result<()> {
                kernels::$($module)::+::rms_norm_residual_rstd(x, residual, w, y, residual_out, rstd, eps, offset)
            }
        }
    )*};
}

residual! {
    bf16, f32, bf16, bf16_f32;
    bf16, f32, f32, bf16_f32::wide;
    bf16, bf16, bf16, bf16_bf16;
    bf16, bf16, f32, bf16_bf16::wide;
    f16, f32, f16, f16_f32;
    f16, f32, f32, f16_f32::wide;
    f16, f16, f16, f16_f16;
    f16, f16, f32, f16_f16::wide;
    f32, f32, f32, f32_f32;
}

macro_rules! wide {
    ($($element:ty, $weight:ty, $module:ident;)*) => {$(
        impl Wide<$weight> for $element {
            fn backward(
                x: TensorRef<'_, f32>,
                w: TensorRef<'_, $weight>,
                dy: TensorRef<'_, Self>,
                rstd: TensorRef<'_, f32>,
                dresidual_out: TensorRef<'_, f32>,
                dx: TensorMut<'_, Self>,
                dresidual: TensorMut<'_, f32>,
                dw: TensorMut<'_, $weight>,
                offset: f32,
            ) -> Result<()> {
                kernels::$module::wide::rms_norm_residual_backward_wide(
                    x, w, dy, rstd, dresidual_out, dx, dresidual, dw, offset,
                )
            }
        }
    )*};
}

wide! {
    bf16, f32, bf16_f32;
    bf16, bf16, bf16_bf16;
    f16, f32, f16_f32;
    f16, f16, f16_f16;
}
