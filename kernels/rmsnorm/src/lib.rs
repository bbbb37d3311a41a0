//! RMSNorm for NVIDIA GPUs, forward and backward, from kernels that are sealed inside this package: nothing is searched for
//! and nothing is compiled when it is built, and without a GPU the same kernels run on the PTX machine.
//!
//! Over the last dimension, of length `n`, of tensors of any rank (Zhang and Sennrich, 2019,
//! [arXiv 1910.07467](https://arxiv.org/abs/1910.07467)):
//!
//! ```text
//! rstd = 1 / sqrt(mean(x²) + eps)
//! y    = x · rstd · (weight + offset) [+ bias]
//! ```
//!
//! with `x + residual` in the place of `x` where there is a residual. An `offset` of 1 is for models that store the weight
//! minus one. What is summed is summed in f32, and what is stored is rounded once.
//!
//! | function | gives | takes besides `x` |
//! | --- | --- | --- |
//! | [`rms_norm`] | `y` | a weight |
//! | [`rms_norm_rstd`] | `y`, `rstd` | a weight |
//! | [`rms_norm_unweighted`] | `y`, `rstd` | |
//! | [`rms_norm_bias`] | `y`, `rstd` | a weight, a bias |
//! | [`rms_norm_residual`] | `y`, `residual_out` | a residual, a weight |
//! | [`rms_norm_residual_rstd`] | `y`, `residual_out`, `rstd` | a residual, a weight |
//! | [`rms_norm_backward`] | `dx`, `dw` | a weight, `dy`, `rstd` |
//! | [`rms_norm_unweighted_backward`] | `dx` | `dy`, `rstd` |
//! | [`rms_norm_bias_backward`] | `dx`, `dw`, `db` | a weight, `dy`, `rstd` |
//! | [`rms_norm_residual_backward`] | `dx`, which is `dresidual` too; `dw` | a weight, `dy`, `rstd`, `dresidual_out` |
//! | [`rms_norm_residual_backward_wide`] | `dx`, `dresidual` in f32, `dw` | the same |
//!
//! Elements are bf16, f16 or f32; weights f32 or of the elements' dtype; residuals too. The traits [`Unweighted`],
//! [`Weighted`], [`Residual`] and [`Wide`] say so to the compiler.
//!
//! Dimensions before the last one are rows, whatever they mean: `[tokens, heads, d]` with a weight of `[d]` normalises each
//! head. There may be none (then gradients of weights are zero), and up to 2^31 - 1; `n` is 1 to 262144. Tensors are contiguous
//! and start at multiples of 16 bytes, or of 4 where `n` is odd; anything else is an error, and nothing is copied. Outputs
//! are other memory than inputs.
//!
//! Gradients of weights are deterministic: the same bits for the same inputs on the same device.
//!
//! ```
//! use factory_rmsnorm::{bf16, rms_norm, Device, Tensor};
//!
//! let device = Device::best()?;
//! let x = Tensor::from_slice(&device, &[bf16::ONE; 2 * 3 * 64], &[2, 3, 64])?;
//! let weight = Tensor::from_slice(&device, &[0.5f32; 64], &[64])?;
//! let mut y = Tensor::zeros(&device, &[2, 3, 64])?;
//! rms_norm(&x, &weight, &mut y, 1e-6, 1.0)?;
//! assert_eq!(y.to_vec()?, [bf16::from_f32(1.5); 2 * 3 * 64]);
//! # Ok::<(), factory_runtime::Error>(())
//! ```
//!
//! The functions launch on the default stream of the tensors' device. [`kernels`] has the kernels themselves, with what was
//! proved and measured of each, to be prepared ahead of time and launched on other streams.

mod backward;
mod dtypes;
mod forward;
pub mod kernels;
mod rows;

pub use factory_runtime::{Device, Error, Result, Tensor, TensorMut, TensorRef, bf16, f16};

pub use backward::{
    rms_norm_backward, rms_norm_bias_backward, rms_norm_residual_backward, rms_norm_residual_backward_wide,
    rms_norm_unweighted_backward,
};
pub use dtypes::{Residual, Unweighted, Weighted, Wide};
pub use forward::{
    rms_norm, rms_norm_bias, rms_norm_residual, rms_norm_residual_rstd, rms_norm_rstd, rms_norm_unweighted,
};
